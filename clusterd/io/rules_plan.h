/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_PLAN_H
#define CLUSTERD_IO_RULES_PLAN_H

/*
 * Pure: wanted state -> nftables objects as plain values, and the difference of two such lists.
 * Knows netfilter's vocabulary (families, registers, payload bases) but neither sockets nor bytes.
 *
 * A plan is everything but the buckets: tables, counters, sets, chains, rules, and the elements of
 * the small sets.  The buckets, thousands of them, are one array of codes per service, and their
 * difference is the difference of two arrays.
 *
 * Way of a packet in 'netdev clusterd':
 *
 *   inK, in_DEV (one per      IPv4: goto ip4; address . protocol . port -> svc4/svc6 -> goto sI_4 / sI_6
 *   interface, tunnel device)  ranges: explicit rules; fragments: frag4/frag6; other packets for a VIP:
 *                              vip4/vip6; ARP and ND for a VIP that one node answers for: arp, nd
 *   sI_4, sI_6                 jhash -> map sI_b: bucket -> code -> map sI_a: code -> chain
 *                              a miss in either map: count as foreign, drop
 *   sI_mine, sI_toN, ...       what bucket_action says: rules_action.c
 *   sI_e4, sI_e6               the same for ICMP errors, by the packet they are about; map sI_m
 *   sI_p4, sI_p6               the same for ICMP echo, by address
 *   check                      leave it to conntrack (inet clusterd)
 *
 * Two maps, because an element that holds a verdict makes the kernel walk the whole graph at each
 * commit, once for every element of every map on the way; elements that hold a number do not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "io/rules.h"

enum rules_family {			/* NFPROTO_* */
	RULES_INET = 1, RULES_IP = 2, RULES_ARP = 3, RULES_NETDEV = 5, RULES_IP6 = 10,
};

/* In the order in which they must be added: each refers only to earlier kinds. */
enum rules_kind { OBJ_TABLE, OBJ_COUNTER, OBJ_SET, OBJ_CHAIN, OBJ_ELEM, OBJ_RULE };

#define OBJ_NAME 24
#define KEY_MAX  40	/* IPv6 flow: address, port, address, port */

struct rules_obj {
	uint8_t kind;			/* enum rules_kind */
	uint8_t family;			/* enum rules_family */
	char table[16];
	char name[OBJ_NAME];		/* own; of an element its set's, of a rule its chain's */
	union {
		struct { uint32_t flags; } table;		/* NFT_TABLE_F_* */
		struct {
			uint32_t flags;		/* NFT_SET_* */
			uint32_t key_type, key_len, data_type, data_len; /* types: nft's numbers */
			uint32_t size;		/* most elements, 0: no bound */
			uint32_t host_order;	/* key is a number in this machine's order */
			uint32_t timeout_ms;	/* of elements without one of their own; 0: none */
		} set;
		struct {
			int32_t hook;		/* -1: not a base chain */
			int32_t prio;
			uint32_t nat;		/* type nat; else filter */
			char device[IFNAME_SIZE];
		} chain;
		struct {
			uint32_t key_len, data_len;
			uint8_t key[KEY_MAX];
			uint8_t data[4];	/* if data_len: of a map of numbers */
			char chain[OBJ_NAME];	/* if not "": verdict goto */
		} elem;
		struct { uint32_t first, n; } rule;	/* in plan->expr */
	} u;
};

enum rules_expr_op {
	EXPR_META,		/* meta 'key' -> reg */
	EXPR_META_SET,		/* reg -> meta 'key' */
	EXPR_PAYLOAD,		/* base, offset, len -> reg */
	EXPR_PAYLOAD_SET,	/*
				 * reg -> base, offset, len; key: checksum offset + 1, or 0;
				 * reg2 = 1: also in the pseudo-header's checksum
				 */
	EXPR_CMP,		/* reg eq/ne data[len]: go on if true */
	EXPR_RANGE,		/* data[len] <= reg <= more[len] */
	EXPR_MASK,		/* reg = (reg & data) ^ more, len bytes */
	EXPR_IMM,		/* data[len] -> reg */
	EXPR_LOOKUP,		/* reg in set 'name': go on if found */
	EXPR_MAP,		/* reg -> set 'name' -> reg */
	EXPR_VMAP,		/* reg -> set 'name' -> verdict */
	EXPR_JHASH,		/* jhash(reg.., len, seed 'more') mod 'key' -> reg */
	EXPR_CT_STATE,		/* -> reg */
	EXPR_COUNTER,		/* named counter 'name' */
	EXPR_FWD,		/* to address reg2 by device reg; key = NFPROTO_* */
	EXPR_VERDICT,		/* key = verdict; goto 'name' */
	EXPR_DUP,		/* families ip, ip6: copy to next hop reg by device reg2 */
	EXPR_NUMGEN,		/* random mod 'key' -> reg */
	EXPR_DYNSET,		/* update set or map 'name': key in reg, data in reg2 (0: none), 'key' = timeout ms;
				   base = NFT_DYNSET_OP_DELETE: remove it */
	EXPR_EXTHDR,		/* IPv6 extension header 'key' (protocol): offset, len -> reg */
	EXPR_TCPOPT_SET,	/* reg -> TCP option 'key': offset, len (maxseg: only lowers) */
	EXPR_QUEUE,		/* numbers offset .. offset + len - 1, by CPU, no bypass */
	EXPR_QUEUE_XT,		/* the same by xt_NFQUEUE through nft_compat (target revision 3) */
	EXPR_RESET,		/* a TCP reset to the sender; the packet is dropped */
	EXPR_DNAT_PORT,		/* nat chains: to port reg of the same address; key = NFPROTO_* */
	EXPR_NOTRACK,		/* conntrack leaves the packet alone */
};

#define REG(n) (8u + (n))	/* NFT_REG32_00.. */

struct rules_expr {
	uint8_t op;		/* enum rules_expr_op */
	uint8_t reg, reg2;
	uint8_t base;		/* NFT_PAYLOAD_*; of a compare NFT_CMP_EQ or NFT_CMP_NEQ */
	uint16_t offset, len;
	uint32_t key;
	uint8_t data[16], more[16];
	char name[OBJ_NAME];
};

/* Everything zeroed before it is filled in: two plans are equal if their bytes are. */
struct rules_plan {
	unsigned int n_obj, room_obj, n_expr, room_expr;
	struct rules_obj *obj;	/* the rules of a chain follow the chain */
	struct rules_expr *expr;
	bool failed;		/* out of memory: the plan is not to be used */
};

void rules_plan_free(struct rules_plan *p);

/*
 * Each fills an empty (all-zero) plan.  0, -ENOMEM, or -EINVAL for a name or number that the kernel
 * objects cannot hold.  'ifindex': one per service.
 */
int rules_plan_live(struct rules_plan *p, const struct rules_want *want, const int *ifindex);
int rules_plan_guard(struct rules_plan *p, const struct rules_want *want);
int rules_plan_lease(struct rules_plan *p, char (*interfaces)[IFNAME_SIZE], unsigned int n);

#define LEASE_TABLE "clusterd_lease"
#define LEASE_SET   "lease"
#define LEASE_KEY   RULES_MARK_BASE

bool rules_plan_equal(const struct rules_plan *a, const struct rules_plan *b);

enum rules_verb {
	VERB_ADD,
	VERB_DEL,
	VERB_FLUSH,	/* remove all rules of a chain */
	VERB_REPLACE,	/* of a table: remove it, if there is one, and add it empty */
};

struct rules_op {
	uint8_t verb;
	const struct rules_plan *plan;	/* that 'obj' belongs to */
	const struct rules_obj *obj;
};

struct rules_diff {
	struct rules_op *op;
	unsigned int n, room;
	unsigned int n_pre;	/* ops before this index precede the buckets, the rest follow */
	bool rebuild;		/* something cannot be changed in place: the tables start afresh */
	bool failed;
};

/*
 * Elements that the kernel puts into a dynamic set by itself are in no plan: no difference adds or
 * removes them, and only a rebuild loses them.
 *
 * What makes the kernel's 'have' into 'want'.  'have' NULL: not known, replace all tables.
 * The diff points into both plans.  0 or -ENOMEM.
 */
int rules_plan_diff(struct rules_diff *d, const struct rules_plan *have,
		    const struct rules_plan *want);
void rules_diff_free(struct rules_diff *d);

/* One bucket of service 's' as its map sI_b holds it; 0: no element (foreign). */
uint16_t rules_code(const struct rules_service *s, const struct bucket_action *a);

/* One bucket of the old table as map sI_o holds it; 0: no element (nobody, or this node itself). */
uint16_t rules_old_code(uint8_t owner, uint8_t self);

/*
 * The next piece of the difference of two code arrays: the first index after 'from' such that
 * [from, index) has at most 'max' differing buckets, and '*n' of them.  'total' when done.
 */
uint32_t rules_chunk(const uint16_t *have, const uint16_t *want, uint32_t total, uint32_t from,
		     uint32_t max, uint32_t *n);

/* One line per object, for golden files and messages. */
void rules_plan_print(const struct rules_plan *p, FILE *out);
/* "rule 3 of chain s0_to2 in table netdev clusterd". */
void rules_obj_str(const struct rules_plan *p, const struct rules_obj *o, char *buf, size_t size);
/* The kernel module that the object needs most, or "". */
const char *rules_obj_module(const struct rules_plan *p, const struct rules_obj *o);

#endif

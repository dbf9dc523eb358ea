/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_MK_H
#define CLUSTERD_IO_RULES_MK_H

/*
 * Words for rules_build.c to write a plan with.  Every call appends to the plan; when memory runs
 * out, 'failed' is set in it and the rest does nothing.
 *
 *   mk_table() opens a table, mk_chain() or mk_base_chain() a chain in it, mk_rule() a rule in that
 *   chain; the calls below mk_rule() append expressions to it.  The helpers that begin with is_ use
 *   REG(0), so whatever shall survive them belongs elsewhere.
 */

#include "io/rules_plan.h"

/* nft's own numbers for data types (its include/datatype.h); they only tell nft how to print. */
enum {
	TYPE_IPADDR = 7, TYPE_IP6ADDR = 8, TYPE_ETHERADDR = 9, TYPE_PROTO = 12, TYPE_SERVICE = 13,
	TYPE_MARK = 19, TYPE_IFINDEX = 20,
};
#define TYPE_CONCAT3(a, b, c) ((uint32_t)(a) << 12 | (uint32_t)(b) << 6 | (uint32_t)(c))
#define TYPE_CONCAT2(a, b) ((uint32_t)(a) << 6 | (uint32_t)(b))
#define TYPE_CONCAT4(a, b, c, d) (TYPE_CONCAT3(a, b, c) << 6 | (uint32_t)(d))
#define DATA_VERDICT 0xffffff00u	/* NFT_DATA_VERDICT */

struct rules_mk {
	struct rules_plan *p;
	uint8_t family;
	const char *table;
	char chain[OBJ_NAME];		/* of the rule being built */
	struct rules_obj *rule;
};

struct rules_obj *mk_add_obj(struct rules_mk *b, enum rules_kind kind, const char *name);
void mk_table(struct rules_mk *b, enum rules_family family, const char *name, uint32_t flags);
void mk_base_chain(struct rules_mk *b, const char *name, int hook, int prio, const char *device);
void mk_nat_chain(struct rules_mk *b, const char *name, int hook, int prio);
void mk_chain(struct rules_mk *b, const char *name);
void mk_set(struct rules_mk *b, const char *name, uint32_t key_type, uint32_t key_len);
void mk_map(struct rules_mk *b, const char *name, uint32_t key_type, uint32_t key_len,
	    uint32_t data_type);
/*
 * The set added last holds 'size' elements at most.  This gives the kernel's hash of a fixed size, which
 * is faster than the one that grows, and has a fast version for keys of 4 bytes.
 */
void mk_bound(struct rules_mk *b, uint32_t size);
/*
 * A set (data_type 0) or map that rules fill (mk_dynset): its elements live 'timeout_ms' (at least
 * 1) if the rule says nothing else; 'size' is the most it holds.
 */
void mk_dynamic(struct rules_mk *b, const char *name, uint32_t key_type, uint32_t key_len,
		uint32_t data_type, uint32_t size, uint32_t timeout_ms);
void mk_elem(struct rules_mk *b, const char *set_name, const void *key, uint32_t len,
	     const char *to);
/* Of a map of numbers. */
void mk_elem_number(struct rules_mk *b, const char *map, const void *key, uint32_t len,
		    uint32_t data);
void mk_elem_once(struct rules_mk *b, const char *set_name, const void *key, uint32_t len);
void mk_rule(struct rules_mk *b);
void mk_expr(struct rules_mk *b, const struct rules_expr *e);
void mk_set_name(struct rules_expr *e, const char *name);
void mk_meta(struct rules_mk *b, uint32_t key, uint8_t reg);
void mk_payload(struct rules_mk *b, uint8_t base, uint16_t offset, uint16_t len, uint8_t reg);
void mk_cmp(struct rules_mk *b, uint8_t how, uint8_t reg, const void *data, uint16_t len);
void mk_cmp8(struct rules_mk *b, uint8_t reg, uint8_t v);
void mk_cmp32(struct rules_mk *b, uint8_t reg, uint32_t host_order);
void mk_range(struct rules_mk *b, uint8_t reg, const void *lo, const void *hi, uint16_t len);
void mk_mask32(struct rules_mk *b, uint8_t reg, uint32_t mask, uint32_t xor);
void mk_mask8(struct rules_mk *b, uint8_t reg, uint8_t mask);
void mk_imm(struct rules_mk *b, uint8_t reg, const void *data, uint16_t len);
void mk_lookup(struct rules_mk *b, enum rules_expr_op op, uint8_t reg, const char *name);
void mk_verdict(struct rules_mk *b, int code);
void mk_go(struct rules_mk *b, const char *to);
void mk_counter(struct rules_mk *b, const char *name);
void mk_is_protocol(struct rules_mk *b, uint16_t ethertype);
void mk_is_l4proto(struct rules_mk *b, uint8_t proto);
void mk_is_nfproto(struct rules_mk *b, uint8_t proto);
void mk_is_mark(struct rules_mk *b, uint32_t mark);
void mk_set_mark(struct rules_mk *b, uint32_t mark);
void mk_to_stack(struct rules_mk *b, uint32_t mark);
/* Go on if (mark & mask) == value. */
void mk_is_mark_bits(struct rules_mk *b, uint32_t mask, uint32_t value);
/* mark = (mark & mask) ^ xor */
void mk_change_mark(struct rules_mk *b, uint32_t mask, uint32_t xor);
/* One copy to the next hop in 'addr' by the device (index) in 'dev'; the packet itself goes on. */
void mk_dup(struct rules_mk *b, uint8_t addr, uint8_t dev);
void mk_random(struct rules_mk *b, uint32_t mod, uint8_t reg);
/* Adds or renews, with new data if 'data' is not 0; ends the rule if there is no room. */
void mk_dynset(struct rules_mk *b, const char *name, uint8_t key, uint8_t data,
	       uint32_t timeout_ms);
/* Removes the element, if there is one; 'data' must be loaded for maps, whatever it is. */
void mk_dynset_delete(struct rules_mk *b, const char *name, uint8_t key, uint8_t data);
/* Of IPv6 extension header 'proto', if there is one; else the rule ends. */
void mk_exthdr(struct rules_mk *b, uint8_t proto, uint16_t offset, uint16_t len, uint8_t reg);
/* Lowers TCP's maximum segment size to 'mss'; where there is none the rule ends. */
void mk_lower_mss(struct rules_mk *b, uint16_t mss);
/* To queues first .. first + n - 1 by CPU; 'xt': no "queue" in nft.  Nobody listens: dropped. */
void mk_queue(struct rules_mk *b, uint16_t first, uint16_t n, bool xt);
/* Answers with a TCP reset, and drops. */
void mk_reset(struct rules_mk *b);
/*
 * In a nat chain: to the port (network order) in 'port', of the same address.  nft's "redirect" takes an
 * address of the interface instead, and drops the packet if that (a tunnel, say) has none.
 */
void mk_dnat_port(struct rules_mk *b, bool v4, uint8_t port);
/* Before conntrack (priority raw): it will not look at the packet. */
void mk_notrack(struct rules_mk *b);

#endif

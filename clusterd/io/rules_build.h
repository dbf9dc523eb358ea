/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_BUILD_H
#define CLUSTERD_IO_RULES_BUILD_H

/*
 * What the builders of the rule sets share.  Each appends its tables to the plan:
 *
 *   rules_ingress.c  netdev clusterd: what arrives, as far as the bucket
 *   rules_action.c   its chains for what is done then
 *   rules_icmp.c     its chains for packets to a VIP that no service is for
 *   rules_frag.c     its chains for fragments
 *   rules_sched.c    its chains for services with a scheduler, and the flow maps
 *   rules_stack.c    inet, ip, ip6, arp clusterd: behind conntrack, and on the way out
 *   rules_sorry.c    inet clusterd: services that no node is fit for
 *   rules_guard.c    the guard and the lease table
 */

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "io/rules_mk.h"

#define ACCEPT_LEASED (RULES_MARK_ACCEPT | RULES_MARK_LEASED)
#define CHECK_LEASED  (RULES_MARK_CHECK | RULES_MARK_LEASED)
#define QUEUE_LEASED  (RULES_MARK_QUEUE | RULES_MARK_LEASED)
#define HAND_LEASED   (RULES_MARK_HAND | RULES_MARK_LEASED)
/* Parts of a mark that mk_is_mark_bits() looks at. */
#define MARK_CODE     (RULES_MARK_OURS | 0xfu)		/* whatever service and node it names */
#define MARK_NODE     0x0000ff00u
#define MARK_SERVICE  0x000f0000u

/* Priorities.  The kernel's: raw -300, conntrack -200, mangle -150, dstnat -100. */
enum {
	PRIO_LIVE_INGRESS = -10, PRIO_LEASE_INGRESS = 10,
	PRIO_RAW = -300, PRIO_LIVE_CHECK = -150, PRIO_QUEUE = -147, PRIO_HAND = -145, PRIO_GUARD = -140,
	PRIO_SORRY = -130, PRIO_SORRY_NAT = -100,
	PRIO_LIVE_DF = -10, PRIO_LIVE_OUT = 0, PRIO_GUARD_OUT = 10,
};

/* Offsets of header fields (RFC 791, 8200, 826, 4861, 9293). */
enum {
	IP4_LENGTH = 2, IP4_FLAGS = 6, IP4_CSUM = 10, IP4_SADDR = 12, IP4_DADDR = 16, IP6_LENGTH = 4,
	IP6_SADDR = 8, IP6_DADDR = 24,
	TH_SPORT = 0, TH_DPORT = 2, TCP_FLAGS = 13, ICMP_TYPE = 0, ETH_SADDR = 6,
	ARP_OP = 6, ARP_SHA = 8, ARP_SPA = 14, ARP_TPA = 24,
	ND_FLAGS = 4, ND_TARGET = 8, ND_OPT = 24, ND_OPT_MAC = 26, ICMP6_CSUM = 2,
	IP4_TTL = 8, IP6_HOPS = 7,
	VXLAN_VNI = 12,		/* from the UDP header on: 3 bytes, and one that is 0 */
};

#define TCP_SYN_MASK 0x17	/* FIN SYN RST ACK */
#define TCP_SYN_ONLY 0x02

/*
 * Bounds of sets and maps.  What a transaction removes before it adds leaves its place free, but
 * nothing here shall depend on that order: twice what is needed.
 */
#define BOUND_SPARE 2u
#define BOUND_CODES (BOUND_SPARE * (1 + 5 * (NODES_MAX + 1)))	/* rules_code(): 5 kinds have a 'to' */
#define BOUND_PEERS (BOUND_SPARE * 2 * NODES_MAX)	/* two devices per peer, or one address */

/* Name of an object of service 'i': "s3_mine". */
#define NAME(buf, i, what) (snprintf(buf, sizeof(buf), "s%u_" what, i), (buf))

static inline bool is4(const struct addr *a)
{
	return a->family == AF_INET;
}

/* The sets "vips4" and "vips6" of all VIPs of all services. */
void build_vip_sets(struct rules_mk *b, const struct rules_want *w, bool v6_too);
/* ip daddr @name, resp. ip6 daddr @name, in a family that sees all protocols. */
void build_to_vip(struct rules_mk *b, bool v4, const char *name);
/* Calls 'f' for each different VIP of 'family', with the first service that has it. */
void build_each_vip(struct rules_mk *b, const struct rules_want *w, int family,
		    void (*f)(struct rules_mk *b, const struct rules_service *s,
			      const struct addr *vip));
/* Can packets be marked QUEUE or HAND, or CHECK with a node?  Never with flood and a hash alone. */
bool build_hands_on(const struct rules_want *w);
/*
 * VIPs that only their holder may answer for, which the mark of the packet tells (announce; route
 * has no holder).  The set "gated4" or "gated6" in this table, false if there is no such VIP; then
 * the rules: a neighbour solicitation or advertisement for one of gated6, resp. ARP about one of
 * gated4, ends here.
 */
bool build_gate_set(struct rules_mk *b, const struct rules_want *w, bool v4);
void build_nd_gate(struct rules_mk *b);
void build_arp_gate(struct rules_mk *b);
/* Rules: packets over lo go on; packets for a VIP end here. */
void build_accept_loopback(struct rules_mk *b);
void build_vip_drop(struct rules_mk *b);
/*
 * The client has answered our SYN-ACK, with an ACK that fits.  "Established" alone is also what conntrack
 * says of any ACK of a connection that both sides have only asked for.
 */
void build_ct_assured(struct rules_mk *b);
/* ct state has one of 'bits'. */
void build_ct_state(struct rules_mk *b, uint32_t bits);
#define CT_KNOWN (NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED))
/*
 * Rule: ICMPv6 of 'type' that speaks for 'vip': an advertisement of it, or a solicitation from it, with a
 * link-layer address option in its usual place (the only one the kernel itself makes).
 */
void build_nd_match(struct rules_mk *b, uint8_t type, const struct addr *vip);
/* Rule: ARP sent with 'vip' as its sender. */
void build_arp_match(struct rules_mk *b, const struct addr *vip);

/*
 * In the middle of a rule: the IPv4 packet, about to be handed on, may be fragmented from here on.
 * The ipip driver copies DF to the outer header, and drops what does not fit.  Uses REG(0).
 */
void build_clear_df(struct rules_mk *b);

/* ---- netdev clusterd ---- */

/* Dispatch announce or route: packets arrive at any node and are handed on. */
bool build_handed(const struct rules_service *s);
/* Does a scheduler pick the node?  Then rules_sched.c makes the chains. */
static inline bool build_scheduled(const struct rules_service *s)
{
	return s->conf->sched != SCHED_HASH;
}
/* There are flows of before a change of the hash, which the old owners may still have. */
bool build_has_old(const struct rules_service *s);
/* The peer with this id if its packets can be told; else NULL. */
const struct rules_peer *build_peer(const struct rules_service *s, unsigned int id);
/*
 * In how many ways packets come from 'peer' (a tunnel device for each IP version: 2); NULL: any peer (1).
 * build_from() goes on if it came in way 0 .. n-1: a rule for each.
 */
unsigned int build_ways(const struct rules_service *s, const struct rules_peer *peer);
void build_from(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		const struct rules_peer *peer, unsigned int way);
/* Go on if TCP with SYN and neither ACK, RST nor FIN. */
void build_syn(struct rules_mk *b);
/* Ends of a rule: count as foreign and drop; count as accepted and accept. */
void build_drop(struct rules_mk *b, unsigned int i);
void build_accept(struct rules_mk *b, unsigned int i);
/* Bucket of source address and, 'port', source port -> REG(8); uses those below. */
void build_hash(struct rules_mk *b, uint32_t seed, uint32_t buckets, bool port, bool v4);
/* reg &= mask, 2 bytes in network order. */
void build_mask16(struct rules_mk *b, uint8_t reg, uint16_t mask);
/* Code in REG(8): leaves it in the mark too, goes where 'map' says. */
void build_go_by_code(struct rules_mk *b, const char *map);
/* (protocol, destination port) rules for the port ranges of 'i': goto 'to'. */
void build_ranges(struct rules_mk *b, unsigned int i, const struct conf_service *s, bool v4,
		  const char *to);
/* Two maps, for build_ports(), of all ports of all services. */
void build_port_maps(struct rules_mk *b, const struct rules_want *w, const char *map4,
		     const char *map6);
/* Elements of 'map' for single ports: address . protocol . port -> goto 'to'. */
void build_ports(struct rules_mk *b, const struct rules_service *s, bool v4, const char *map,
		 const char *to);
/* Has service 'i' a VIP of this version, and is there none of them in another service? */
bool build_has_vip(const struct rules_service *s, bool v4);
bool build_alone(const struct rules_want *w, unsigned int i, bool v4);

void build_peers_set(struct rules_mk *b, unsigned int i, const struct rules_service *s);
/*
 * The chains sI_mine, sI_forN, ... of rules_action.c, in the map sI_a (code -> chain); of a service with
 * a scheduler in sI_p (only ICMP echo goes there).  ICMP errors in announce and route: sI_m.
 */
void build_actions(struct rules_mk *b, unsigned int i, const struct rules_service *s, int ifindex);
/* rules_sched.c: all elements of sI_a and, in announce and route, sI_m, and the chains they name. */
void build_sched(struct rules_mk *b, const struct rules_want *w, unsigned int i);

/* Sets, maps and chains for all services; then the rules of base chains that lead there. */
void build_vip_chains(struct rules_mk *b, const struct rules_want *w);
void build_frag_chains(struct rules_mk *b, const struct rules_want *w);
void build_fragments(struct rules_mk *b, bool v4);	/* v4: IPv4 packets only come here */
void build_neighbours(struct rules_mk *b, const struct rules_want *w, bool arp);

void build_ingress(struct rules_mk *b, const struct rules_want *w, const int *ifindex);
/* In table inet clusterd. */
void build_sorry(struct rules_mk *b, const struct rules_want *w);
void build_stack(struct rules_mk *b, const struct rules_want *w, const int *ifindex);
/* The plan, or -ENOMEM with the plan freed. */
int build_finish(struct rules_plan *p);

#endif

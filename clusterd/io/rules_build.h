/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_BUILD_H
#define CLUSTERD_IO_RULES_BUILD_H

/*
 * What the builders of the rule sets share.  Each appends its tables to the plan:
 *
 *   rules_ingress.c  netdev clusterd: what arrives
 *   rules_sched.c    its chains for services with a scheduler, and the flow maps
 *   rules_stack.c    inet, ip, ip6, arp clusterd: behind conntrack, and on the way out
 *   rules_guard.c    the guard and the lease table
 */

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "io/rules_mk.h"

#define ACCEPT_LEASED (RULES_MARK_ACCEPT | RULES_MARK_LEASED)
#define CHECK_LEASED  (RULES_MARK_CHECK | RULES_MARK_LEASED)

/* Priorities.  The kernel's: raw -300, conntrack -200, mangle -150. */
enum {
	PRIO_LIVE_INGRESS = -10, PRIO_LEASE_INGRESS = 10,
	PRIO_LIVE_CHECK = -150, PRIO_GUARD = -140,
	PRIO_LIVE_OUT = 0, PRIO_GUARD_OUT = 10,
};

/* Offsets of header fields (RFC 791, 8200, 826, 4861, 9293). */
enum {
	IP4_SADDR = 12, IP4_DADDR = 16, IP6_SADDR = 8, IP6_DADDR = 24,
	TH_SPORT = 0, TH_DPORT = 2, TCP_FLAGS = 13, ICMP_TYPE = 0, ETH_SADDR = 6,
	ARP_SHA = 8, ARP_SPA = 14, ND_TARGET = 8, ND_OPT = 24, ND_OPT_MAC = 26, ICMP6_CSUM = 2,
};

#define TCP_SYN_MASK 0x17	/* FIN SYN RST ACK */
#define TCP_SYN_ONLY 0x02

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
/* Calls 'f' for each different VIP of 'family'. */
void build_each_vip(struct rules_mk *b, const struct rules_want *w, int family,
		    void (*f)(struct rules_mk *b, const struct addr *vip));
/* Rules: packets over lo go on; packets for a VIP end here. */
void build_accept_loopback(struct rules_mk *b);
void build_vip_drop(struct rules_mk *b);
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

void build_ingress(struct rules_mk *b, const struct rules_want *w, const int *ifindex);
void build_stack(struct rules_mk *b, const struct rules_want *w);
/* The plan, or -ENOMEM with the plan freed. */
int build_finish(struct rules_plan *p);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rule sets themselves: wanted state -> plan.  What each piece is for: see rules_plan.h. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter_arp.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_build.h"

/* The sets 'v4' and 'v6' of all VIPs of all services. */
void build_vip_sets(struct rules_mk *b, const struct rules_want *w, bool v6_too)
{
	unsigned int i, k;

	mk_set(b, "vips4", TYPE_IPADDR, 4);
	if (v6_too)
		mk_set(b, "vips6", TYPE_IP6ADDR, 16);
	for (i = 0; i < w->n_services; i++) {
		const struct conf_service *s = w->service[i].conf;

		for (k = 0; k < s->n_vips; k++) {
			if (is4(&s->vip[k]))
				mk_elem_once(b, "vips4", s->vip[k].b, 4);
			else if (v6_too)
				mk_elem_once(b, "vips6", s->vip[k].b, 16);
		}
	}
}

/* ip daddr @vips4, resp. ip6 daddr @vips6, in a family that sees all protocols */
void build_to_vip(struct rules_mk *b, bool v4, const char *name)
{
	if (b->family == RULES_NETDEV)
		mk_is_protocol(b, v4 ? ETH_P_IP : ETH_P_IPV6);
	else
		mk_is_nfproto(b, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, v4 ? 4 : 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), name);
}

/* Packets for a VIP end here. */
void build_vip_drop(struct rules_mk *b)
{
	mk_rule(b);
	build_to_vip(b, true, "vips4");
	mk_counter(b, "stopped");
	mk_verdict(b, NF_DROP);
	mk_rule(b);
	build_to_vip(b, false, "vips6");
	mk_counter(b, "stopped");
	mk_verdict(b, NF_DROP);
}

void build_accept_loopback(struct rules_mk *b)
{
	uint32_t lo = 1;	/* lo's index in every network namespace */

	mk_rule(b);
	mk_meta(b, NFT_META_IIF, REG(0));
	mk_cmp32(b, REG(0), lo);
	mk_verdict(b, NF_ACCEPT);
}

void build_ct_state(struct rules_mk *b, uint32_t bits)
{
	uint32_t zero = 0;

	mk_expr(b, &(struct rules_expr){ .op = EXPR_CT_STATE, .key = NFT_CT_STATE, .reg = REG(0) });
	mk_mask32(b, REG(0), bits, 0);
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &zero, 4);
}

void build_ct_assured(struct rules_mk *b)
{
	uint32_t zero = 0;

	mk_expr(b, &(struct rules_expr){ .op = EXPR_CT_STATE, .key = NFT_CT_STATUS, .reg = REG(0) });
	mk_mask32(b, REG(0), IPS_ASSURED, 0);
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &zero, 4);
}

void build_nd_match(struct rules_mk *b, uint8_t type, const struct addr *vip)
{
	mk_rule(b);
	mk_is_l4proto(b, IPPROTO_ICMPV6);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, 1, REG(0));
	mk_cmp8(b, REG(0), type);
	if (type == 136)
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_TARGET, 16, REG(4));
	else
		mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP6_SADDR, 16, REG(4));
	mk_cmp(b, NFT_CMP_EQ, REG(4), vip->b, 16);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_OPT, 1, REG(0));
	mk_cmp8(b, REG(0), type == 136 ? 2 : 1);
}

void build_each_vip(struct rules_mk *b, const struct rules_want *w, int family,
		    void (*f)(struct rules_mk *b, const struct rules_service *s,
			      const struct addr *vip))
{
	unsigned int i, k, m, n;

	for (i = 0; i < w->n_services; i++) {
		for (k = 0; k < w->service[i].conf->n_vips; k++) {
			const struct addr *vip = &w->service[i].conf->vip[k];
			bool seen = false;

			for (m = 0; m <= i && !seen; m++)
				for (n = 0; n < (m < i ? w->service[m].conf->n_vips : k); n++)
					seen |= !addr_cmp(vip, &w->service[m].conf->vip[n]);
			if (!seen && vip->family == family)
				f(b, &w->service[i], vip);
		}
	}
}

void build_arp_match(struct rules_mk *b, const struct addr *vip)
{
	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SPA, 4, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), vip->b, 4);
}

bool build_hands_on(const struct rules_want *w)
{
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		if (build_handed(&w->service[i]) || w->service[i].conf->sched != SCHED_HASH)
			return true;
	return false;
}

bool build_gate_set(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	const char *name = v4 ? "gated4" : "gated6";
	unsigned int i, k;
	bool any = false;

	for (i = 0; i < w->n_services; i++) {
		const struct conf_service *s = w->service[i].conf;

		for (k = 0; k < s->n_vips && build_handed(&w->service[i]); k++) {
			if (is4(&s->vip[k]) != v4)
				continue;
			if (!any)
				mk_set(b, name, v4 ? TYPE_IPADDR : TYPE_IP6ADDR, v4 ? 4 : 16);
			any = true;
			mk_elem_once(b, name, s->vip[k].b, v4 ? 4 : 16);
		}
	}
	return any;
}

void build_clear_df(struct rules_mk *b)
{
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP4_FLAGS, 2, REG(0));
	mk_mask32(b, REG(0), htonl(0xbfff0000u), 0);	/* bytes as they came */
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 2,
			.base = NFT_PAYLOAD_NETWORK_HEADER, .offset = IP4_FLAGS,
			.key = IP4_CSUM + 1 });
}

/*
 * In a family that sees all protocols.  Advertisements too: what the holder announces is no news
 * for nodes that have the address as well, and their kernels would complain of it.
 */
void build_nd_gate(struct rules_mk *b)
{
	uint8_t lo = 135, hi = 136;

	mk_rule(b);
	mk_is_nfproto(b, NFPROTO_IPV6);
	mk_is_l4proto(b, IPPROTO_ICMPV6);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, 1, REG(0));
	mk_range(b, REG(0), &lo, &hi, 1);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_TARGET, 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), "gated6");
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

/* Replies too: somebody else's announcement of a VIP is no news for who has it. */
void build_arp_gate(struct rules_mk *b)
{
	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_TPA, 4, REG(0));
	mk_lookup(b, EXPR_LOOKUP, REG(0), "gated4");
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

int build_finish(struct rules_plan *p)
{
	if (!p->failed)
		return 0;
	rules_plan_free(p);
	return -ENOMEM;
}

int rules_plan_live(struct rules_plan *p, const struct rules_want *want, const int *ifindex)
{
	struct rules_mk b = { .p = p };
	unsigned int i, k;

	if (want->n_services > SERVICES_MAX)
		return -EINVAL;
	for (i = 0; i < want->n_services; i++) {
		const struct rules_service *s = &want->service[i];

		/* the kernel refuses a modulus of 1 */
		if (s->buckets < 2 || s->buckets > BUCKETS_MAX || s->n_peers > NODES_MAX ||
		    strnlen(s->interface, IFNAME_SIZE) == IFNAME_SIZE)
			return -EINVAL;
		if (s->old.owner && (s->old.buckets < 2 || s->old.buckets > BUCKETS_MAX))
			return -EINVAL;
		for (k = 0; k < s->n_peers; k++)
			if (strnlen(s->peer[k].dev4, IFNAME_SIZE) == IFNAME_SIZE ||
			    strnlen(s->peer[k].dev6, IFNAME_SIZE) == IFNAME_SIZE ||
			    s->peer[k].id == NOBODY || s->peer[k].id > NODES_MAX)
				return -EINVAL;
	}
	build_ingress(&b, want, ifindex);
	build_stack(&b, want, ifindex);
	return build_finish(p);
}

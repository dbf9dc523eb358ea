/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guard, which outlives the daemon, and the lease table, which belongs to the heartbeat. */
#include <errno.h>
#include <net/if_arp.h>
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

#define ND_SOLICITED 0x40	/* RFC 4861 section 4.4 */

static void nd_guard_rules(struct rules_mk *b, const struct rules_service *s,
			   const struct addr *vip)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t mac[6];
	unsigned int i;

	if (build_handed(s))
		return;
	addr_shared_mac(vip, s->conf->mac == MAC_UNICAST, mac);
	for (i = 0; i < 2; i++) {
		build_nd_match(b, types[i], vip);
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_OPT_MAC, 6, REG(0));
		mk_cmp(b, NFT_CMP_NEQ, REG(0), mac, 6);
		mk_counter(b, "silenced");
		mk_verdict(b, NF_DROP);
	}
}

static void arp_guard_rule(struct rules_mk *b, const struct rules_service *s,
			   const struct addr *vip)
{
	uint8_t mac[6];

	if (build_handed(s))
		return;
	addr_shared_mac(vip, s->conf->mac == MAC_UNICAST, mac);
	build_arp_match(b, vip);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SHA, 6, REG(0));
	mk_cmp(b, NFT_CMP_NEQ, REG(0), mac, 6);
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

/*
 * For VIPs that only their holder answers for: no question in the VIP's name, and no announcement
 * that nobody asked for, which the kernel makes when a bond changes its active link.
 * An answer needs no rule: the question was let in.
 */
static void nd_out_gate(struct rules_mk *b)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t zero = 0;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		bool solicitation = types[i] == 135;

		mk_rule(b);
		mk_is_l4proto(b, IPPROTO_ICMPV6);
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, 1, REG(0));
		mk_cmp8(b, REG(0), types[i]);
		if (solicitation) {
			mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP6_SADDR, 16, REG(4));
		} else {
			mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_FLAGS, 1, REG(0));
			mk_mask8(b, REG(0), ND_SOLICITED);
			mk_cmp(b, NFT_CMP_EQ, REG(0), &zero, 1);
			mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_TARGET, 16, REG(4));
		}
		mk_lookup(b, EXPR_LOOKUP, REG(4), "gated6");
		mk_counter(b, "silenced");
		mk_verdict(b, NF_DROP);
	}
}

static void arp_out_gate(struct rules_mk *b)
{
	uint16_t request = htons(ARPOP_REQUEST);

	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_OP, 2, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), &request, 2);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SPA, 4, REG(0));
	mk_lookup(b, EXPR_LOOKUP, REG(0), "gated4");
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

/* The same gate in each family: what the live tables and the lease let in goes on, unmarked. */
static void let_in_rule(struct rules_mk *b)
{
	mk_rule(b);
	mk_is_mark(b, ACCEPT_LEASED);
	mk_set_mark(b, 0);	/* nobody downstream shall see our mark */
	mk_verdict(b, NF_ACCEPT);
}

static void inet_guard(struct rules_mk *b, const struct rules_want *want)
{
	bool gate;

	mk_table(b, RULES_INET, "clusterd_guard", 0);
	mk_add_obj(b, OBJ_COUNTER, "stopped");
	mk_add_obj(b, OBJ_COUNTER, "waiting");
	build_vip_sets(b, want, true);
	gate = build_gate_set(b, want, false);
	if (gate)
		mk_add_obj(b, OBJ_COUNTER, "silenced");
	/* Behind conntrack and the live check: one chain less for every packet that is let in. */
	mk_base_chain(b, "in", NF_INET_PRE_ROUTING, PRIO_GUARD, NULL);
	let_in_rule(b);
	/*
	 * Nobody decided: the live table is gone.  The conntrack state only picks the counter; that
	 * it is asked for here keeps conntrack running while no live table does.
	 */
	mk_rule(b);
	mk_is_mark_bits(b, MARK_CODE, CHECK_LEASED);
	build_ct_state(b, CT_KNOWN);
	mk_counter(b, "waiting");
	mk_verdict(b, NF_DROP);
	/* Any other mark of ours: nobody took it, out of the queue or to a peer. */
	mk_rule(b);
	mk_is_mark_bits(b, RULES_MARK_OURS & ~RULES_MARK_LEASED, RULES_MARK_BASE);
	mk_counter(b, "stopped");
	mk_verdict(b, NF_DROP);
	build_accept_loopback(b);
	if (gate)
		build_nd_gate(b);
	build_vip_drop(b);
}

int rules_plan_guard(struct rules_plan *p, const struct rules_want *want)
{
	struct rules_mk b = { .p = p };
	bool gate;

	if (want->n_services > SERVICES_MAX)
		return -EINVAL;
	inet_guard(&b, want);

	mk_table(&b, RULES_IP6, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "silenced");
	gate = build_gate_set(&b, want, false);
	mk_base_chain(&b, "out", NF_INET_LOCAL_OUT, PRIO_GUARD_OUT, NULL);
	build_each_vip(&b, want, AF_INET6, nd_guard_rules);
	if (gate)
		nd_out_gate(&b);

	mk_table(&b, RULES_ARP, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "silenced");
	gate = build_gate_set(&b, want, true);
	if (gate) {
		mk_base_chain(&b, "in", NF_ARP_IN, PRIO_GUARD_OUT, NULL);
		let_in_rule(&b);
		build_arp_gate(&b);
	}
	mk_base_chain(&b, "out", NF_ARP_OUT, PRIO_GUARD_OUT, NULL);
	build_each_vip(&b, want, AF_INET, arp_guard_rule);
	if (gate)
		arp_out_gate(&b);
	return build_finish(p);
}

int rules_plan_lease(struct rules_plan *p, char (*dev)[IFNAME_SIZE], unsigned int n)
{
	struct rules_mk b = { .p = p };
	char name[OBJ_NAME];
	unsigned int i;

	mk_table(&b, RULES_NETDEV, LEASE_TABLE, NFT_TABLE_F_OWNER);
	mk_add_obj(&b, OBJ_COUNTER, "lapsed");
	mk_set(&b, LEASE_SET, TYPE_MARK, 4);
	if (!p->failed)
		p->obj[p->n_obj - 1].u.set.flags = NFT_SET_TIMEOUT;
	mk_chain(&b, "valid");
	mk_rule(&b);
	mk_meta(&b, NFT_META_MARK, REG(0));
	mk_mask32(&b, REG(0), RULES_MARK_OURS, 0);
	mk_lookup(&b, EXPR_LOOKUP, REG(0), LEASE_SET);
	mk_change_mark(&b, ~RULES_MARK_LEASED, RULES_MARK_LEASED);	/* node and service stay */
	mk_verdict(&b, NF_ACCEPT);
	mk_rule(&b);
	mk_counter(&b, "lapsed");
	mk_verdict(&b, NF_DROP);
	for (i = 0; i < n; i++) {
		if (strnlen(dev[i], IFNAME_SIZE) == IFNAME_SIZE) {
			rules_plan_free(p);
			return -EINVAL;
		}
		snprintf(name, sizeof(name), "in%u", i);
		mk_base_chain(&b, name, NF_NETDEV_INGRESS, PRIO_LEASE_INGRESS, dev[i]);
		mk_rule(&b);
		mk_is_mark_bits(&b, RULES_MARK_OURS, LEASE_KEY);
		mk_go(&b, "valid");
	}
	return build_finish(p);
}

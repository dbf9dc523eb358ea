/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guard, which outlives the daemon, and the lease table, which belongs to the heartbeat. */
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

static void nd_guard_rules(struct rules_mk *b, const struct addr *vip)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t mac[6];
	unsigned int i;

	addr_flood_mac(vip, mac);
	for (i = 0; i < 2; i++) {
		build_nd_match(b, types[i], vip);
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_OPT_MAC, 6, REG(0));
		mk_cmp(b, NFT_CMP_NEQ, REG(0), mac, 6);
		mk_counter(b, "silenced");
		mk_verdict(b, NF_DROP);
	}
}

static void arp_guard_rule(struct rules_mk *b, const struct addr *vip)
{
	uint8_t mac[6];

	addr_flood_mac(vip, mac);
	build_arp_match(b, vip);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SHA, 6, REG(0));
	mk_cmp(b, NFT_CMP_NEQ, REG(0), mac, 6);
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

int rules_plan_guard(struct rules_plan *p, const struct rules_want *want)
{
	struct rules_mk b = { .p = p };

	if (want->n_services > SERVICES_MAX)
		return -EINVAL;
	mk_table(&b, RULES_INET, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "stopped");
	mk_add_obj(&b, OBJ_COUNTER, "waiting");
	build_vip_sets(&b, want, true);
	/* Behind conntrack and the live check: one chain less for every packet that is let in. */
	mk_base_chain(&b, "in", NF_INET_PRE_ROUTING, PRIO_GUARD, NULL);
	mk_rule(&b);
	mk_is_mark(&b, ACCEPT_LEASED);
	mk_set_mark(&b, 0);	/* nobody downstream shall see our mark */
	mk_verdict(&b, NF_ACCEPT);
	/*
	 * Nobody decided: the live table is gone.  The conntrack state only picks the counter; that
	 * it is asked for here keeps conntrack running while no live table does.
	 */
	mk_rule(&b);
	mk_is_mark(&b, CHECK_LEASED);
	build_ct_state(&b, CT_KNOWN);
	mk_counter(&b, "waiting");
	mk_verdict(&b, NF_DROP);
	mk_rule(&b);
	mk_is_mark(&b, CHECK_LEASED);
	mk_counter(&b, "stopped");
	mk_verdict(&b, NF_DROP);
	build_accept_loopback(&b);
	build_vip_drop(&b);

	mk_table(&b, RULES_IP6, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "silenced");
	mk_base_chain(&b, "out", NF_INET_LOCAL_OUT, PRIO_GUARD_OUT, NULL);
	build_each_vip(&b, want, AF_INET6, nd_guard_rules);

	mk_table(&b, RULES_ARP, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "silenced");
	mk_base_chain(&b, "out", NF_ARP_OUT, PRIO_GUARD_OUT, NULL);
	build_each_vip(&b, want, AF_INET, arp_guard_rule);
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
	mk_mask32(&b, REG(0), ~15u, 0);
	mk_lookup(&b, EXPR_LOOKUP, REG(0), LEASE_SET);
	mk_meta(&b, NFT_META_MARK, REG(0));
	mk_mask32(&b, REG(0), ~RULES_MARK_LEASED, RULES_MARK_LEASED);
	mk_expr(&b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					  .reg = REG(0) });
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
		mk_meta(&b, NFT_META_MARK, REG(0));
		mk_mask32(&b, REG(0), ~15u, 0);
		mk_cmp32(&b, REG(0), LEASE_KEY);
		mk_go(&b, "valid");
	}
	return build_finish(p);
}

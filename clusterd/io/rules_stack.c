/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Behind conntrack, and on the way out: the live tables of the families inet, ip6 and arp. */
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

static void nd_set_rules(struct rules_mk *b, const struct addr *vip)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t mac[6];
	unsigned int i;

	addr_flood_mac(vip, mac);
	for (i = 0; i < 2; i++) {
		build_nd_match(b, types[i], vip);
		mk_imm(b, REG(0), mac, 6);
		mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 6,
				.base = NFT_PAYLOAD_TRANSPORT_HEADER, .offset = ND_OPT_MAC,
				.key = ICMP6_CSUM + 1 });
	}
}

static void arp_set_rule(struct rules_mk *b, const struct addr *vip)
{
	uint8_t mac[6];

	addr_flood_mac(vip, mac);
	build_arp_match(b, vip);
	mk_imm(b, REG(0), mac, 6);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 6,
			.base = NFT_PAYLOAD_NETWORK_HEADER, .offset = ARP_SHA });
}

void build_stack(struct rules_mk *b, const struct rules_want *w)
{
	mk_table(b, RULES_INET, "clusterd", NFT_TABLE_F_OWNER);
	mk_add_obj(b, OBJ_COUNTER, "unknown");
	mk_add_obj(b, OBJ_COUNTER, "stopped");
	build_vip_sets(b, w, true);
	mk_base_chain(b, "in", NF_INET_PRE_ROUTING, PRIO_LIVE_CHECK, NULL);
	mk_rule(b);
	mk_is_mark(b, ACCEPT_LEASED);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	mk_is_mark(b, CHECK_LEASED);
	build_ct_state(b, CT_KNOWN);
	mk_set_mark(b, ACCEPT_LEASED);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	mk_is_mark(b, CHECK_LEASED);
	mk_counter(b, "unknown");
	mk_verdict(b, NF_DROP);
	/* What the guard says as well, so that nothing slips through where it was flushed away. */
	build_accept_loopback(b);
	build_vip_drop(b);
	/* A table of its own family: what IPv4 sends does not pass here. */
	mk_table(b, RULES_IP6, "clusterd", NFT_TABLE_F_OWNER);
	mk_base_chain(b, "out", NF_INET_LOCAL_OUT, PRIO_LIVE_OUT, NULL);
	build_each_vip(b, w, AF_INET6, nd_set_rules);
	mk_table(b, RULES_ARP, "clusterd", NFT_TABLE_F_OWNER);
	mk_base_chain(b, "out", NF_ARP_OUT, PRIO_LIVE_OUT, NULL);
	build_each_vip(b, w, AF_INET, arp_set_rule);
}

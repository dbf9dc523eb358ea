/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Behind conntrack, and on the way out: the live tables of the families inet, ip, ip6 and arp. */
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

static void nd_set_rules(struct rules_mk *b, const struct rules_service *s, const struct addr *vip)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t mac[6];
	unsigned int i;

	if (build_handed(s))
		return;
	addr_shared_mac(vip, s->conf->mac == MAC_UNICAST, mac);
	for (i = 0; i < 2; i++) {
		build_nd_match(b, types[i], vip);
		mk_imm(b, REG(0), mac, 6);
		mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 6,
				.base = NFT_PAYLOAD_TRANSPORT_HEADER, .offset = ND_OPT_MAC,
				.key = ICMP6_CSUM + 1 });
	}
}

static void arp_set_rule(struct rules_mk *b, const struct rules_service *s, const struct addr *vip)
{
	uint8_t mac[6];

	if (build_handed(s))
		return;
	addr_shared_mac(vip, s->conf->mac == MAC_UNICAST, mac);
	build_arp_match(b, vip);
	mk_imm(b, REG(0), mac, 6);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 6,
			.base = NFT_PAYLOAD_NETWORK_HEADER, .offset = ARP_SHA });
}

/*
 * A node that looks for its client asks with the address that it answers from.  Whoever hears that
 * learns a wrong MAC for the VIP, so it asks in its own name.
 */
static void nd_own_rule(struct rules_mk *b, const struct rules_service *s, const struct addr *vip)
{
	if (!build_handed(s))
		return;
	mk_rule(b);
	mk_is_l4proto(b, IPPROTO_ICMPV6);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, 1, REG(0));
	mk_cmp8(b, REG(0), 135);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP6_SADDR, 16, REG(4));
	mk_cmp(b, NFT_CMP_EQ, REG(4), vip->b, 16);
	if (s->own6.family != AF_INET6) {
		mk_verdict(b, NF_DROP);
		return;
	}
	mk_imm(b, REG(4), s->own6.b, 16);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(4), .reg2 = 1,
			.len = 16, .base = NFT_PAYLOAD_NETWORK_HEADER, .offset = IP6_SADDR });
}

static void arp_own_rule(struct rules_mk *b, const struct rules_service *s, const struct addr *vip)
{
	uint16_t request = htons(ARPOP_REQUEST);

	if (!build_handed(s))
		return;
	build_arp_match(b, vip);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_OP, 2, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), &request, 2);
	if (s->own4.family != AF_INET) {
		mk_verdict(b, NF_DROP);
		return;
	}
	mk_imm(b, REG(0), s->own4.b, 4);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 4,
			.base = NFT_PAYLOAD_NETWORK_HEADER, .offset = ARP_SPA });
}

/* ---- marks ---- */

/* What conntrack does not know goes to userspace, or to the node that may know it, or nowhere. */
static void second_chance_rules(struct rules_mk *b, const struct rules_want *w)
{
	char name[OBJ_NAME];
	unsigned int i;

	mk_rule(b);
	mk_is_mark_bits(b, ~MARK_SERVICE, CHECK_LEASED | RULES_MARK_NODE(RULES_NODE_QUEUE));
	mk_change_mark(b, ~0xfu, RULES_MARK_QUEUE & 0xfu);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	mk_is_mark_bits(b, ~MARK_SERVICE, CHECK_LEASED);	/* no node */
	mk_counter(b, "unknown");
	mk_verdict(b, NF_DROP);
	for (i = 0; i < w->n_services; i++) {
		mk_rule(b);
		mk_is_mark_bits(b, ~MARK_NODE, CHECK_LEASED | RULES_MARK_SERVICE(i));
		mk_counter(b, NAME(name, i, "second"));
		mk_change_mark(b, ~0xfu, RULES_MARK_HAND & 0xfu);
		mk_verdict(b, NF_ACCEPT);
	}
	mk_rule(b);
	mk_is_mark_bits(b, MARK_CODE, QUEUE_LEASED);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	mk_is_mark_bits(b, MARK_CODE, HAND_LEASED);
	mk_verdict(b, NF_ACCEPT);
}

static void check_rules(struct rules_mk *b, const struct rules_want *w)
{
	bool more = build_hands_on(w);

	mk_rule(b);
	mk_is_mark(b, ACCEPT_LEASED);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	if (more)
		mk_is_mark_bits(b, MARK_CODE, CHECK_LEASED);
	else
		mk_is_mark(b, CHECK_LEASED);
	build_ct_state(b, CT_KNOWN);
	build_ct_assured(b);
	mk_set_mark(b, ACCEPT_LEASED);
	mk_verdict(b, NF_ACCEPT);
	if (more)
		second_chance_rules(b, w);
	mk_rule(b);
	if (more)	/* a service that there is not */
		mk_is_mark_bits(b, MARK_CODE, CHECK_LEASED);
	else
		mk_is_mark(b, CHECK_LEASED);
	mk_counter(b, "unknown");
	mk_verdict(b, NF_DROP);
}

/* ---- vxlan ---- */

#define VNI_MASK htonl(0xffffff00u)

static void member_sets(struct rules_mk *b, const struct rules_want *w)
{
	unsigned int i;

	mk_add_obj(b, OBJ_COUNTER, "forged");
	mk_set(b, "vnis", TYPE_MARK, 4);
	for (i = 0; i < w->n_members; i++) {
		uint32_t vni = htonl(w->member[i].vni << 8);

		if (vni)
			mk_elem_once(b, "vnis", &vni, 4);
	}
	for (int v4 = 1; v4 >= 0; v4--) {
		uint32_t size = v4 ? 4 : 16;

		mk_set(b, v4 ? "members4" : "members6",
		       TYPE_CONCAT2(v4 ? TYPE_IPADDR : TYPE_IP6ADDR, TYPE_MARK), size + 4);
		for (i = 0; i < w->n_members; i++) {
			uint32_t vni = htonl(w->member[i].vni << 8);
			uint8_t key[KEY_MAX] = { 0 };

			if (is4(&w->member[i].addr) != v4 || !vni)
				continue;
			memcpy(key, w->member[i].addr.b, size);
			memcpy(key + size, &vni, 4);
			mk_elem_once(b, v4 ? "members4" : "members6", key, size + 4);
		}
	}
}

static void vxlan_match(struct rules_mk *b, const struct rules_want *w)
{
	uint16_t port = htons(w->vxlan_port);

	mk_is_l4proto(b, IPPROTO_UDP);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), &port, 2);
}

/*
 * Only peers may put packets into our tunnels; other people's networks on that port go on.
 * Should an outer packet be for a VIP, the guard still drops it.
 */
static void member_rules(struct rules_mk *b, const struct rules_want *w)
{
	for (int v4 = 1; v4 >= 0; v4--) {
		uint8_t vni = v4 ? REG(5) : REG(8);

		mk_rule(b);
		mk_is_nfproto(b, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
		vxlan_match(b, w);
		mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_SADDR : IP6_SADDR, v4 ? 4 : 16,
			   REG(4));
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, VXLAN_VNI, 4, vni);
		mk_mask32(b, vni, VNI_MASK, 0);
		mk_lookup(b, EXPR_LOOKUP, REG(4), v4 ? "members4" : "members6");
		mk_verdict(b, NF_ACCEPT);
	}
	mk_rule(b);
	vxlan_match(b, w);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, VXLAN_VNI, 4, REG(4));
	mk_mask32(b, REG(4), VNI_MASK, 0);
	mk_lookup(b, EXPR_LOOKUP, REG(4), "vnis");
	mk_counter(b, "forged");
	mk_verdict(b, NF_DROP);
}

/* ---- outer packets of tunnels ---- */

static bool has_vxlan(const struct rules_want *w)
{
	return w->n_members && w->vxlan_port;
}

static bool has_ipip(const struct rules_want *w)
{
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		if (w->service[i].conf->redirect == REDIRECT_IPIP)
			return w->n_members;
	return false;
}

static bool has_member(const struct rules_want *w, bool v4)
{
	unsigned int i;

	for (i = 0; i < w->n_members; i++)
		if (is4(&w->member[i].addr) == v4)
			return true;
	return false;
}

/* The rest of a rule that knows the protocol. */
static void untracked_end(struct rules_mk *b, bool v4, bool out)
{
	uint16_t at = v4 ? out ? IP4_DADDR : IP4_SADDR : out ? IP6_DADDR : IP6_SADDR;

	mk_is_nfproto(b, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, at, v4 ? 4 : 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), v4 ? "ends4" : "ends6");
	mk_notrack(b);
	mk_verdict(b, NF_ACCEPT);
}

static void untracked_chain(struct rules_mk *b, const struct rules_want *w, bool out)
{
	static const uint8_t inner[] = { IPPROTO_IPIP, IPPROTO_IPV6 };	/* of ipip, sit, ip6tnl */
	unsigned int k;

	mk_base_chain(b, out ? "raw_out" : "raw_in", out ? NF_INET_LOCAL_OUT : NF_INET_PRE_ROUTING,
		      PRIO_RAW, NULL);
	for (int v4 = 1; v4 >= 0; v4--) {
		if (!has_member(w, v4))
			continue;
		for (k = 0; has_ipip(w) && k < sizeof(inner); k++) {
			mk_rule(b);
			mk_is_l4proto(b, inner[k]);
			untracked_end(b, v4, out);
		}
		if (has_vxlan(w)) {
			mk_rule(b);
			vxlan_match(b, w);
			untracked_end(b, v4, out);
		}
	}
}

/*
 * Conntrack has nothing to say about a tunnel's packet: the connection is inside, and that is looked at
 * as ever.  It would cost more than the rules, and an entry for every port that vxlan hashes to.
 */
static void untracked_tunnels(struct rules_mk *b, const struct rules_want *w)
{
	unsigned int i;

	if (!has_ipip(w) && !has_vxlan(w))
		return;
	for (int v4 = 1; v4 >= 0; v4--) {
		const char *name = v4 ? "ends4" : "ends6";

		if (!has_member(w, v4))
			continue;
		mk_set(b, name, v4 ? TYPE_IPADDR : TYPE_IP6ADDR, v4 ? 4 : 16);
		mk_bound(b, BOUND_PEERS);
		for (i = 0; i < w->n_members; i++)
			if (is4(&w->member[i].addr) == v4)
				mk_elem_once(b, name, w->member[i].addr.b, v4 ? 4 : 16);
	}
	untracked_chain(b, w, true);
	untracked_chain(b, w, false);
}

static void inet_table(struct rules_mk *b, const struct rules_want *w)
{
	char name[OBJ_NAME];
	unsigned int i;
	bool gate;

	mk_table(b, RULES_INET, "clusterd", NFT_TABLE_F_OWNER);
	mk_add_obj(b, OBJ_COUNTER, "unknown");
	mk_add_obj(b, OBJ_COUNTER, "stopped");
	for (i = 0; i < w->n_services && build_hands_on(w); i++)
		mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "second"));
	build_vip_sets(b, w, true);
	gate = build_gate_set(b, w, false);
	if (gate)
		mk_add_obj(b, OBJ_COUNTER, "silenced");
	if (has_vxlan(w))
		member_sets(b, w);
	untracked_tunnels(b, w);
	mk_base_chain(b, "in", NF_INET_PRE_ROUTING, PRIO_LIVE_CHECK, NULL);
	check_rules(b, w);
	/* What the guard says as well, so that nothing slips through where it was flushed away. */
	build_accept_loopback(b);
	if (has_vxlan(w))
		member_rules(b, w);
	if (gate)
		build_nd_gate(b);
	build_vip_drop(b);
	build_sorry(b, w);
}

/* ---- families ip and ip6 ---- */

static void queue_chain(struct rules_mk *b, const struct rules_want *w)
{
	mk_base_chain(b, "queued", NF_INET_PRE_ROUTING, PRIO_QUEUE, NULL);
	/* What nobody knows anybody can send, in masses: it must not stand in front of new flows. */
	if (w->n_queues) {
		mk_rule(b);
		mk_is_mark_bits(b, ~MARK_SERVICE, QUEUE_LEASED | RULES_MARK_NODE(RULES_NODE_QUEUE));
		mk_queue(b, (uint16_t)(w->queue + w->n_queues), 1, w->queue_xt);
	}
	mk_rule(b);
	mk_is_mark_bits(b, MARK_CODE, QUEUE_LEASED);
	if (w->n_queues)	/* nobody listens: the kernel drops */
		mk_queue(b, w->queue, w->n_queues, w->queue_xt);
	else
		mk_verdict(b, NF_DROP);
}

/* The device by which a peer gets packets that are handed on; 0: there is no way. */
static int way_out(const struct rules_service *s, const struct rules_peer *peer, bool v4,
		   int ifindex)
{
	if ((v4 ? peer->addr4.family : peer->addr6.family) == 0)
		return 0;
	if (s->conf->redirect == REDIRECT_DIRECT)
		return ifindex;
	return v4 ? peer->ifindex4 : peer->ifindex6;
}

/* 'dup' itself sets DF, so it is cleared behind that, from what still has its mark. */
static bool keeps_mark(const struct rules_service *s, bool v4)
{
	return v4 && s->conf->redirect == REDIRECT_IPIP;
}

static void df_chain(struct rules_mk *b, const struct rules_want *w)
{
	unsigned int i;

	for (i = 0; i < w->n_services && !keeps_mark(&w->service[i], true); i++)
		;
	if (i == w->n_services)
		return;
	mk_base_chain(b, "df", NF_INET_POST_ROUTING, PRIO_LIVE_DF, NULL);
	mk_rule(b);
	mk_is_mark_bits(b, MARK_CODE, HAND_LEASED);
	build_clear_df(b);
	mk_set_mark(b, 0);
}

static void peer_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		       const struct rules_peer *peer, bool v4, int dev)
{
	uint32_t key = RULES_MARK_SERVICE(i) | RULES_MARK_NODE(peer->id);
	const struct addr *to = v4 ? &peer->addr4 : &peer->addr6;
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_hand%u", i, peer->id);
	mk_chain(b, name);
	mk_rule(b);
	if (!keeps_mark(s, v4))
		mk_set_mark(b, 0);
	mk_imm(b, REG(4), to->b, v4 ? 4 : 16);
	mk_imm(b, REG(0), &dev, 4);
	mk_dup(b, REG(4), REG(0));
	mk_verdict(b, NF_DROP);		/* the copy is on its way */
	mk_elem(b, "peers", &key, 4, name);
}

/* 'dup' takes one from the TTL but does not look whether anything is left. */
static void ttl_rule(struct rules_mk *b, bool v4)
{
	uint8_t lo = 0, hi = 1;

	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_TTL : IP6_HOPS, 1, REG(0));
	mk_range(b, REG(0), &lo, &hi, 1);
	mk_counter(b, "lost");
	mk_verdict(b, NF_DROP);
}

static void hand_chains(struct rules_mk *b, const struct rules_want *w, const int *ifindex, bool v4)
{
	unsigned int i, k;

	mk_add_obj(b, OBJ_COUNTER, "lost");
	mk_map(b, "peers", TYPE_MARK, 4, DATA_VERDICT);
	for (i = 0; i < w->n_services; i++) {
		const struct rules_service *s = &w->service[i];

		for (k = 0; k < s->n_peers; k++) {
			int dev = way_out(s, &s->peer[k], v4, ifindex[i]);

			if (dev)
				peer_chain(b, i, s, &s->peer[k], v4, dev);
		}
	}
	mk_chain(b, "on");
	ttl_rule(b, v4);
	mk_rule(b);
	mk_meta(b, NFT_META_MARK, REG(0));
	mk_mask32(b, REG(0), MARK_SERVICE | MARK_NODE, 0);
	mk_lookup(b, EXPR_VMAP, REG(0), "peers");
	mk_rule(b);
	mk_counter(b, "lost");
	mk_verdict(b, NF_DROP);
	mk_base_chain(b, "hand", NF_INET_PRE_ROUTING, PRIO_HAND, NULL);
	mk_rule(b);
	mk_is_mark_bits(b, MARK_CODE, HAND_LEASED);
	mk_go(b, "on");
}

static bool any_mss(const struct rules_want *w, bool v4)
{
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		if (v4 ? w->service[i].mss4 : w->service[i].mss6)
			return true;
	return false;
}

/* SYN and SYN+ACK that this node sends from a VIP: what the client sends must fit a tunnel. */
static void mss_chain(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	uint8_t zero = 0;
	unsigned int i, k;
	char name[OBJ_NAME];

	for (i = 0; i < w->n_services; i++) {
		const struct conf_service *s = w->service[i].conf;

		if (!(v4 ? w->service[i].mss4 : w->service[i].mss6))
			continue;
		mk_set(b, NAME(name, i, "mss"), v4 ? TYPE_IPADDR : TYPE_IP6ADDR, v4 ? 4 : 16);
		for (k = 0; k < s->n_vips; k++)
			if (is4(&s->vip[k]) == v4)
				mk_elem_once(b, name, s->vip[k].b, v4 ? 4 : 16);
	}
	mk_base_chain(b, "mss", NF_INET_LOCAL_OUT, PRIO_LIVE_OUT, NULL);
	for (i = 0; i < w->n_services; i++) {
		uint16_t mss = v4 ? w->service[i].mss4 : w->service[i].mss6;

		if (!mss)
			continue;
		mk_rule(b);
		mk_is_l4proto(b, IPPROTO_TCP);
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1, REG(0));
		mk_mask8(b, REG(0), TCP_SYN_ONLY);
		mk_cmp(b, NFT_CMP_NEQ, REG(0), &zero, 1);
		mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_SADDR : IP6_SADDR, v4 ? 4 : 16,
			   REG(4));
		mk_lookup(b, EXPR_LOOKUP, REG(4), NAME(name, i, "mss"));
		mk_lower_mss(b, mss);
	}
}

static void ip_tables(struct rules_mk *b, const struct rules_want *w, const int *ifindex)
{
	bool hands_on = build_hands_on(w);

	for (int v4 = 1; v4 >= 0; v4--) {
		bool mss = any_mss(w, v4);

		/* IPv6's is always there: what IPv4 sends does not pass its "out" */
		if (v4 && !hands_on && !mss)
			continue;
		mk_table(b, v4 ? RULES_IP : RULES_IP6, "clusterd", NFT_TABLE_F_OWNER);
		if (hands_on) {
			queue_chain(b, w);
			hand_chains(b, w, ifindex, v4);
			if (v4)
				df_chain(b, w);
		}
		if (mss)
			mss_chain(b, w, v4);
		if (v4)
			continue;
		mk_base_chain(b, "out", NF_INET_LOCAL_OUT, PRIO_LIVE_OUT, NULL);
		build_each_vip(b, w, AF_INET6, nd_set_rules);
		build_each_vip(b, w, AF_INET6, nd_own_rule);
	}
}

static void arp_table(struct rules_mk *b, const struct rules_want *w)
{
	mk_table(b, RULES_ARP, "clusterd", NFT_TABLE_F_OWNER);
	if (build_gate_set(b, w, true)) {
		mk_add_obj(b, OBJ_COUNTER, "silenced");
		mk_base_chain(b, "in", NF_ARP_IN, PRIO_LIVE_OUT, NULL);
		mk_rule(b);
		mk_is_mark(b, ACCEPT_LEASED);
		mk_verdict(b, NF_ACCEPT);
		build_arp_gate(b);
	}
	mk_base_chain(b, "out", NF_ARP_OUT, PRIO_LIVE_OUT, NULL);
	build_each_vip(b, w, AF_INET, arp_set_rule);
	build_each_vip(b, w, AF_INET, arp_own_rule);
}

void build_stack(struct rules_mk *b, const struct rules_want *w, const int *ifindex)
{
	inet_table(b, w);
	ip_tables(b, w, ifindex);
	arp_table(b, w);
}

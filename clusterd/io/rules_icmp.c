/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netdev clusterd: what is for a VIP but for no port of a service.
 *
 *   errors about our own packets   flood: every node takes its copy; announce, route: the node that has
 *                                  the connection, by the packet that the error is about (err4, err6)
 *   echo requests                  exactly one node: the owner of the bucket of the source address, in
 *                                  the first service with this VIP (map echo4, echo6)
 *   questions of ARP and ND        announce, route: the node that holds the VIP, if any (chains arp,
 *                                  nd); others' answers: nobody
 *
 * All else is dropped.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_build.h"

enum { ARP_OP_REQUEST = 1 };

/* Behind the 8 bytes of the ICMP header (RFC 792, 4443): the packet that we had sent. */
enum {
	IN4_IHL = 8, IN4_FRAG = 14, IN4_PROTO = 17, IN4_SADDR = 20, IN4_DADDR = 24,
	IN4_SPORT = 28, IN4_DPORT = 30,		/* a header without options */
	IN6_PROTO = 14, IN6_SADDR = 16, IN6_DADDR = 32, IN6_SPORT = 48, IN6_DPORT = 50,
};

static void th(struct rules_mk *b, uint16_t offset, uint16_t len, uint8_t reg)
{
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, offset, len, reg);
}

static void icmp_type(struct rules_mk *b, uint8_t proto, uint8_t lo, uint8_t hi)
{
	mk_rule(b);
	mk_is_l4proto(b, proto);
	th(b, ICMP_TYPE, 1, REG(0));
	if (lo == hi)
		mk_cmp8(b, REG(0), lo);
	else
		mk_range(b, REG(0), &lo, &hi, 1);
}

static void daddr(struct rules_mk *b, bool v4, uint8_t reg)
{
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, v4 ? 4 : 16, reg);
}

static bool any_service(const struct rules_want *w, bool handed)
{
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		if (build_handed(&w->service[i]) == handed)
			return true;
	return false;
}

static void other_rule(struct rules_mk *b)
{
	mk_rule(b);
	mk_counter(b, "other");
	mk_verdict(b, NF_DROP);
}

/* ---- errors ---- */

/* An option in the inner IPv4 header would move the ports, later fragments have none: dropped. */
static void inner_plain(struct rules_mk *b)
{
	uint16_t zero = 0;

	th(b, IN4_IHL, 1, REG(0));
	mk_cmp8(b, REG(0), 0x45);
	th(b, IN4_FRAG, 2, REG(0));
	build_mask16(b, REG(0), 0x1fff);
	mk_cmp(b, NFT_CMP_EQ, REG(0), &zero, 2);
}

static void inner_ranges(struct rules_mk *b, unsigned int i, const struct conf_service *s, bool v4,
			 const char *to)
{
	char name[OBJ_NAME];
	unsigned int n;

	for (n = 0; n < s->n_ports; n++) {
		uint16_t lo = htons(s->port[n].lo), hi = htons(s->port[n].hi);

		if (lo == hi)
			continue;
		mk_rule(b);
		if (v4)
			inner_plain(b);
		th(b, v4 ? IN4_SADDR : IN6_SADDR, v4 ? 4 : 16, REG(4));
		mk_lookup(b, EXPR_LOOKUP, REG(4), v4 ? NAME(name, i, "v4") : NAME(name, i, "v6"));
		th(b, v4 ? IN4_PROTO : IN6_PROTO, 1, REG(0));
		mk_cmp8(b, REG(0), s->port[n].proto);
		th(b, v4 ? IN4_SPORT : IN6_SPORT, 2, REG(0));
		mk_range(b, REG(0), &lo, &hi, 2);
		mk_go(b, to);
	}
}

/* err4, err6: service of the inner packet. */
static void error_chain(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	uint8_t size = v4 ? 4 : 16;
	char to[OBJ_NAME];
	unsigned int i;

	mk_chain(b, v4 ? "err4" : "err6");
	mk_rule(b);
	if (v4)
		inner_plain(b);
	th(b, v4 ? IN4_SADDR : IN6_SADDR, size, REG(0));
	th(b, v4 ? IN4_PROTO : IN6_PROTO, 1, REG(size / 4));
	th(b, v4 ? IN4_SPORT : IN6_SPORT, 2, REG(size / 4 + 1));
	mk_lookup(b, EXPR_VMAP, REG(0), v4 ? "esvc4" : "esvc6");
	for (i = 0; i < w->n_services; i++) {
		if (!build_handed(&w->service[i]))
			continue;
		snprintf(to, sizeof(to), "s%u_e%d", i, v4 ? 4 : 6);
		inner_ranges(b, i, w->service[i].conf, v4, to);
	}
	other_rule(b);
}

/* sI_e4, sI_e6: the bucket of the inner packet's destination, our client. */
static void error_hash_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			     bool v4)
{
	bool port = s->hash == HASH_SOURCE_PORT;
	uint8_t size = v4 ? 4 : 16;
	struct rules_expr e = { .op = EXPR_JHASH, .reg = REG(0), .reg2 = REG(8),
				.len = (uint16_t)(size + (port ? 4 : 0)), .key = s->buckets };
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_e%d", i, v4 ? 4 : 6);
	mk_chain(b, name);
	mk_rule(b);
	th(b, v4 ? IN4_DADDR : IN6_DADDR, size, REG(0));
	if (port)
		th(b, v4 ? IN4_DPORT : IN6_DPORT, 2, REG(size / 4));
	memcpy(e.more, &s->seed, 4);
	mk_expr(b, &e);
	mk_lookup(b, EXPR_MAP, REG(8), NAME(name, i, "b"));
	build_go_by_code(b, NAME(name, i, "m"));
	mk_rule(b);
	build_drop(b, i);
}

static void error_chains(struct rules_mk *b, const struct rules_want *w)
{
	char to[OBJ_NAME];
	unsigned int i;

	build_port_maps(b, w, "esvc4", "esvc6");
	for (i = 0; i < w->n_services; i++) {
		const struct rules_service *s = &w->service[i];

		if (!build_handed(s))
			continue;
		error_hash_chain(b, i, s, true);
		error_hash_chain(b, i, s, false);
		build_ports(b, s, true, "esvc4", NAME(to, i, "e4"));
		build_ports(b, s, false, "esvc6", NAME(to, i, "e6"));
	}
	error_chain(b, w, true);
	error_chain(b, w, false);
}

/* ---- sets and chains ---- */

static void echo_maps(struct rules_mk *b, const struct rules_want *w)
{
	char to[OBJ_NAME];
	unsigned int i, k, j, n;

	mk_map(b, "echo4", TYPE_IPADDR, 4, DATA_VERDICT);
	mk_bound(b, BOUND_SPARE * SERVICES_MAX * VIPS_MAX);
	mk_map(b, "echo6", TYPE_IP6ADDR, 16, DATA_VERDICT);
	mk_bound(b, BOUND_SPARE * SERVICES_MAX * VIPS_MAX);
	for (i = 0; i < w->n_services; i++) {
		const struct conf_service *s = w->service[i].conf;

		for (k = 0; k < s->n_vips; k++) {
			const struct addr *a = &s->vip[k];
			bool seen = false;

			for (j = 0; j < i; j++)
				for (n = 0; n < w->service[j].conf->n_vips; n++)
					seen |= !addr_cmp(a, &w->service[j].conf->vip[n]);
			snprintf(to, sizeof(to), "s%u_p%d", i, is4(a) ? 4 : 6);
			if (!seen)
				mk_elem(b, is4(a) ? "echo4" : "echo6", a->b, (uint32_t)addr_size(a),
					to);
		}
	}
}

static bool is_front(const struct rules_want *w, const struct addr *a)
{
	unsigned int i, k;

	for (i = 0; i < w->n_services; i++)
		for (k = 0; build_handed(&w->service[i]) && k < w->service[i].conf->n_vips; k++)
			if (!addr_cmp(a, &w->service[i].conf->vip[k]))
				return true;
	return false;
}

/* front4/6: the VIPs of announce and route; held4/6: those that we answer for. */
static void front_sets(struct rules_mk *b, const struct rules_want *w)
{
	unsigned int i, k;

	mk_set(b, "front4", TYPE_IPADDR, 4);
	mk_set(b, "front6", TYPE_IP6ADDR, 16);
	mk_set(b, "held4", TYPE_IPADDR, 4);
	mk_set(b, "held6", TYPE_IP6ADDR, 16);
	for (i = 0; i < w->n_services; i++)
		for (k = 0; build_handed(&w->service[i]) && k < w->service[i].conf->n_vips; k++) {
			const struct addr *a = &w->service[i].conf->vip[k];

			mk_elem_once(b, is4(a) ? "front4" : "front6", a->b, (uint32_t)addr_size(a));
		}
	for (i = 0; i < w->n_held; i++)
		if (is_front(w, &w->held[i]))
			mk_elem_once(b, is4(&w->held[i]) ? "held4" : "held6", w->held[i].b,
				     (uint32_t)addr_size(&w->held[i]));
}

static void vip_chain(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	static const uint8_t types4[][2] = { { 3, 3 }, { 11, 12 } };	/* too big among the first */
	static const uint8_t types6[][2] = { { 1, 4 } };
	const uint8_t (*t)[2] = v4 ? types4 : types6;
	unsigned int n = v4 ? 2 : 1, i;
	uint8_t proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	mk_chain(b, v4 ? "vip4" : "vip6");
	for (i = 0; any_service(w, true) && i < n; i++) {
		icmp_type(b, proto, t[i][0], t[i][1]);
		daddr(b, v4, REG(4));
		mk_lookup(b, EXPR_LOOKUP, REG(4), v4 ? "front4" : "front6");
		mk_go(b, v4 ? "err4" : "err6");
	}
	for (i = 0; any_service(w, false) && i < n; i++) {
		icmp_type(b, proto, t[i][0], t[i][1]);
		mk_to_stack(b, RULES_MARK_ACCEPT);
	}
	if (!v4) {
		icmp_type(b, proto, 135, 136);	/* what is about a front's VIP went to "nd" */
		mk_to_stack(b, RULES_MARK_ACCEPT);
	}
	icmp_type(b, proto, v4 ? 8 : 128, v4 ? 8 : 128);
	daddr(b, v4, REG(4));
	mk_lookup(b, EXPR_VMAP, REG(4), v4 ? "echo4" : "echo6");
	other_rule(b);
}

static void silenced_rule(struct rules_mk *b)
{
	mk_rule(b);
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

static void neighbour_chains(struct rules_mk *b)
{
	uint16_t request = htons(ARP_OP_REQUEST);

	mk_add_obj(b, OBJ_COUNTER, "silenced");
	mk_chain(b, "arp");
	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_OP, 2, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), &request, 2);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_TPA, 4, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), "held4");
	mk_to_stack(b, RULES_MARK_ACCEPT);
	silenced_rule(b);
	mk_chain(b, "nd");
	mk_rule(b);
	th(b, ICMP_TYPE, 1, REG(0));
	mk_cmp8(b, REG(0), 135);
	th(b, ND_TARGET, 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), "held6");
	mk_to_stack(b, RULES_MARK_ACCEPT);
	silenced_rule(b);
}

void build_vip_chains(struct rules_mk *b, const struct rules_want *w)
{
	echo_maps(b, w);
	if (any_service(w, true)) {
		front_sets(b, w);
		neighbour_chains(b);
		error_chains(b, w);
	}
	vip_chain(b, w, true);
	vip_chain(b, w, false);
}

void build_neighbours(struct rules_mk *b, const struct rules_want *w, bool arp)
{
	if (!any_service(w, true))
		return;
	icmp_type(b, IPPROTO_ICMPV6, 135, 136);
	mk_is_protocol(b, ETH_P_IPV6);
	th(b, ND_TARGET, 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), "front6");
	if (arp) {
		mk_go(b, "nd");
		mk_rule(b);
		mk_is_protocol(b, ETH_P_ARP);
		mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_TPA, 4, REG(4));
		mk_lookup(b, EXPR_LOOKUP, REG(4), "front4");
		mk_go(b, "arp");
	} else {	/* out of a tunnel: not a neighbour */
		mk_counter(b, "silenced");
		mk_verdict(b, NF_DROP);
	}
}

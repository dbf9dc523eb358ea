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

static bool is4(const struct addr *a)
{
	return a->family == AF_INET;
}

/* Name of an object of service 'i': "s3_mine". */
#define NAME(buf, i, what) (snprintf(buf, sizeof(buf), "s%u_" what, i), (buf))

/* The sets 'v4' and 'v6' of all VIPs of all services. */
static void vip_sets(struct rules_mk *b, const struct rules_want *w, bool v6_too)
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
static void to_vip(struct rules_mk *b, bool v4, const char *name)
{
	if (b->family == RULES_NETDEV)
		mk_is_protocol(b, v4 ? ETH_P_IP : ETH_P_IPV6);
	else
		mk_is_nfproto(b, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, v4 ? 4 : 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), name);
}

/* ---- netdev clusterd ---- */

/* TCP other than a SYN: conntrack shall decide. */
static void established_rule(struct rules_mk *b)
{
	uint8_t syn = TCP_SYN_ONLY;

	mk_rule(b);
	mk_is_l4proto(b, IPPROTO_TCP);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1, REG(0));
	mk_mask8(b, REG(0), TCP_SYN_MASK);
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &syn, 1);
	mk_go(b, "check");
}

static void from_peer(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	mk_payload(b, NFT_PAYLOAD_LL_HEADER, ETH_SADDR, 6, REG(0));
	mk_lookup(b, EXPR_LOOKUP, REG(0), NAME(name, i, "peers"));
}

static void accept_rule_end(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	mk_counter(b, NAME(name, i, "accepted"));
	mk_to_stack(b, RULES_MARK_ACCEPT);
}

static void drop_rule(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	mk_rule(b);
	mk_counter(b, NAME(name, i, "foreign"));
	mk_verdict(b, NF_DROP);
}

static bool mac_known(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return memcmp(mac, none, 6) != 0;
}

static void hand_over_rule(struct rules_mk *b, unsigned int i, const struct addr *to, int ifindex)
{
	bool v4 = is4(to);
	char name[OBJ_NAME];

	mk_rule(b);
	mk_is_protocol(b, v4 ? ETH_P_IP : ETH_P_IPV6);
	mk_counter(b, NAME(name, i, "handed"));
	mk_imm(b, REG(0), &ifindex, 4);
	mk_imm(b, REG(4), to->b, v4 ? 4 : 16);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_FWD, .reg = REG(0), .reg2 = REG(4),
				      .key = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6 });
}

/* A chain for each peer, and for each 'to' that is no known peer (which then only drops). */
static void leaving_chains(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			   int ifindex)
{
	char name[OBJ_NAME], act[OBJ_NAME];
	uint64_t used = 0;
	unsigned int k;
	uint32_t bucket;

	for (bucket = 0; bucket < s->buckets; bucket++)
		if (s->action[bucket].state == BUCKET_LEAVING)
			used |= node_bit(s->action[bucket].to);
	for (k = 0; k < s->n_peers; k++)
		used |= node_bit(s->peer[k].id);
	for (; used; used &= used - 1) {
		unsigned int id = mask_lowest(used);
		const struct rules_peer *peer = NULL;
		uint32_t code = rules_code(&(struct bucket_action){ BUCKET_LEAVING, (uint8_t)id });

		for (k = 0; k < s->n_peers; k++)
			if (s->peer[k].id == id && mac_known(s->peer[k].mac))
				peer = &s->peer[k];
		snprintf(name, sizeof(name), "s%u_to%u", i, id);
		mk_chain(b, name);
		established_rule(b);
		if (peer) {
			mk_rule(b);	/* handed to us: final, else packets go in circles */
			from_peer(b, i);
			mk_verdict(b, NF_DROP);
			if (peer->addr4.family)
				hand_over_rule(b, i, &peer->addr4, ifindex);
			if (peer->addr6.family)
				hand_over_rule(b, i, &peer->addr6, ifindex);
		}
		drop_rule(b, i);
		mk_elem(b, NAME(act, i, "a"), &code, 4, name);
	}
}

static void action_chain(struct rules_mk *b, unsigned int i, enum bucket_state state,
			 const char *what)
{
	uint32_t code = rules_code(&(struct bucket_action){ (uint8_t)state, NOBODY });
	char name[OBJ_NAME], act[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_%s", i, what);
	mk_chain(b, name);
	if (state != BUCKET_MINE)
		established_rule(b);
	if (state != BUCKET_DRAINING) {
		mk_rule(b);
		if (state == BUCKET_ARRIVING)
			from_peer(b, i);
		accept_rule_end(b, i);
	}
	if (state == BUCKET_ARRIVING || state == BUCKET_DRAINING)
		drop_rule(b, i);
	mk_elem(b, NAME(act, i, "a"), &code, 4, name);
}

static void hash_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s, bool v4)
{
	bool port = s->conf->hash == HASH_SOURCE_PORT;
	uint16_t size = v4 ? 4 : 16;
	struct rules_expr e = { .op = EXPR_JHASH, .reg = REG(0), .reg2 = REG(8),
				.len = (uint16_t)(size + (port ? 4 : 0)), .key = s->buckets };
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_%d", i, v4 ? 4 : 6);
	mk_chain(b, name);
	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_SADDR : IP6_SADDR, size, REG(0));
	if (port)
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_SPORT, 2, REG(size / 4));
	memcpy(e.more, &s->seed, 4);
	mk_expr(b, &e);
	mk_lookup(b, EXPR_MAP, REG(8), NAME(name, i, "b"));
	/* The code takes the way over the mark only because nft dies of a map within a map. */
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					 .reg = REG(8) });
	mk_meta(b, NFT_META_MARK, REG(0));
	mk_lookup(b, EXPR_VMAP, REG(0), NAME(name, i, "a"));
	drop_rule(b, i);
}

static void service_sets(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	char name[OBJ_NAME];
	unsigned int k;

	mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "accepted"));
	mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "foreign"));
	mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "handed"));
	mk_map(b, NAME(name, i, "b"), TYPE_MARK, 4, TYPE_MARK);
	if (!b->p->failed)	/* a bound gives the kernel's fixed-size hash, its fastest */
		b->p->obj[b->p->n_obj - 1].u.set.size = s->buckets;
	mk_map(b, NAME(name, i, "a"), TYPE_MARK, 4, DATA_VERDICT);
	mk_set(b, NAME(name, i, "peers"), TYPE_ETHERADDR, 6);
	for (k = 0; k < s->n_peers; k++)
		if (mac_known(s->peer[k].mac))
			mk_elem_once(b, NAME(name, i, "peers"), s->peer[k].mac, 6);
	mk_set(b, NAME(name, i, "v4"), TYPE_IPADDR, 4);
	mk_set(b, NAME(name, i, "v6"), TYPE_IP6ADDR, 16);
	for (k = 0; k < s->conf->n_vips; k++) {
		const struct addr *a = &s->conf->vip[k];

		mk_elem_once(b, is4(a) ? NAME(name, i, "v4") : NAME(name, i, "v6"), a->b,
			  (uint32_t)addr_size(a));
	}
}

/* Single ports as elements of svc4/svc6: address, protocol and port, each padded to 4 bytes. */
static void service_ports(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	unsigned int k, n;
	char name[OBJ_NAME];

	for (k = 0; k < s->conf->n_vips; k++) {
		const struct addr *a = &s->conf->vip[k];
		uint32_t size = (uint32_t)addr_size(a);

		snprintf(name, sizeof(name), "s%u_%d", i, is4(a) ? 4 : 6);
		for (n = 0; n < s->conf->n_ports; n++) {
			const struct conf_port *port = &s->conf->port[n];
			uint16_t be = htons(port->lo);
			uint8_t key[KEY_MAX] = { 0 };

			if (port->lo != port->hi)
				continue;
			memcpy(key, a->b, size);
			key[size] = port->proto;
			memcpy(key + size + 4, &be, 2);
			mk_elem(b, is4(a) ? "svc4" : "svc6", key, size + 8, name);
		}
	}
}

static void range_rules(struct rules_mk *b, unsigned int i, const struct conf_service *s, bool v4)
{
	unsigned int n;
	char name[OBJ_NAME], to[OBJ_NAME];

	snprintf(to, sizeof(to), "s%u_%d", i, v4 ? 4 : 6);
	for (n = 0; n < s->n_ports; n++) {
		uint16_t lo = htons(s->port[n].lo), hi = htons(s->port[n].hi);

		if (lo == hi)
			continue;
		mk_rule(b);
		to_vip(b, v4, v4 ? NAME(name, i, "v4") : NAME(name, i, "v6"));
		mk_is_l4proto(b, s->port[n].proto);
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(0));
		mk_range(b, REG(0), &lo, &hi, 2);
		mk_go(b, to);
	}
}

static void service_map_rule(struct rules_mk *b, bool v4)
{
	uint16_t size = v4 ? 4 : 16;

	mk_rule(b);
	mk_is_protocol(b, v4 ? ETH_P_IP : ETH_P_IPV6);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, size, REG(0));
	mk_meta(b, NFT_META_L4PROTO, REG(size / 4));
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(size / 4 + 1));
	mk_lookup(b, EXPR_VMAP, REG(0), v4 ? "svc4" : "svc6");
}

static void ingress_chain(struct rules_mk *b, const struct rules_want *w, unsigned int k,
			  const char *device)
{
	unsigned int i;
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "in%u", k);
	mk_base_chain(b, name, NF_NETDEV_INGRESS, PRIO_LIVE_INGRESS, device);
	if (w->early) {
		mk_rule(b);
		mk_is_mark(b, RULES_MARK_ACCEPT);
		mk_verdict(b, NF_ACCEPT);
	}
	service_map_rule(b, true);
	service_map_rule(b, false);
	for (i = 0; i < w->n_services; i++) {
		range_rules(b, i, w->service[i].conf, true);
		range_rules(b, i, w->service[i].conf, false);
	}
	mk_rule(b);
	to_vip(b, true, "vips4");
	mk_go(b, "vip4");
	mk_rule(b);
	to_vip(b, false, "vips6");
	mk_go(b, "vip6");
}

static void icmp_rule(struct rules_mk *b, uint8_t proto, uint8_t lo, uint8_t hi)
{
	mk_rule(b);
	mk_is_l4proto(b, proto);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, 1, REG(0));
	if (lo == hi)
		mk_cmp8(b, REG(0), lo);
	else
		mk_range(b, REG(0), &lo, &hi, 1);
	mk_to_stack(b, RULES_MARK_ACCEPT);
}

/* What is for a VIP but for no service: errors about our connections, neighbour discovery. */
static void vip_chains(struct rules_mk *b)
{
	mk_chain(b, "vip4");
	icmp_rule(b, IPPROTO_ICMP, 3, 3);	/* unreachable, fragmentation needed */
	icmp_rule(b, IPPROTO_ICMP, 11, 12);	/* time exceeded, parameter problem */
	mk_rule(b);
	mk_counter(b, "other");
	mk_verdict(b, NF_DROP);
	mk_chain(b, "vip6");
	icmp_rule(b, IPPROTO_ICMPV6, 1, 4);	/* the errors, packet too big among them */
	icmp_rule(b, IPPROTO_ICMPV6, 135, 136);	/* neighbour solicitation, advertisement */
	mk_rule(b);
	mk_counter(b, "other");
	mk_verdict(b, NF_DROP);
}

/* Each interface once, in order of first use.  Returns how many. */
static unsigned int interfaces(const struct rules_want *w, const char *dev[SERVICES_MAX])
{
	unsigned int n = 0, i, k;

	for (i = 0; i < w->n_services; i++) {
		for (k = 0; k < n && strcmp(dev[k], w->service[i].interface); k++)
			;
		if (k == n)
			dev[n++] = w->service[i].interface;
	}
	return n;
}

static void netdev_table(struct rules_mk *b, const struct rules_want *w, const int *ifindex)
{
	const char *dev[SERVICES_MAX];
	unsigned int n = interfaces(w, dev), i;

	mk_table(b, RULES_NETDEV, "clusterd", NFT_TABLE_F_OWNER);
	mk_add_obj(b, OBJ_COUNTER, "other");
	vip_sets(b, w, true);
	mk_map(b, "svc4", TYPE_CONCAT3(TYPE_IPADDR, TYPE_PROTO, TYPE_SERVICE), 12, DATA_VERDICT);
	mk_map(b, "svc6", TYPE_CONCAT3(TYPE_IP6ADDR, TYPE_PROTO, TYPE_SERVICE), 24, DATA_VERDICT);
	mk_chain(b, "check");
	mk_rule(b);
	mk_to_stack(b, RULES_MARK_CHECK);
	vip_chains(b);
	for (i = 0; i < w->n_services; i++) {
		const struct rules_service *s = &w->service[i];

		service_sets(b, i, s);
		action_chain(b, i, BUCKET_MINE, "mine");
		action_chain(b, i, BUCKET_ARRIVING, "arriving");
		action_chain(b, i, BUCKET_ADOPTING, "adopting");
		action_chain(b, i, BUCKET_DRAINING, "draining");
		leaving_chains(b, i, s, ifindex[i]);
		hash_chain(b, i, s, true);
		hash_chain(b, i, s, false);
		service_ports(b, i, s);
	}
	for (i = 0; i < n; i++)
		ingress_chain(b, w, i, dev[i]);
}

/* ---- inet clusterd ---- */

/* Packets for a VIP end here. */
static void vip_drop_rules(struct rules_mk *b)
{
	mk_rule(b);
	to_vip(b, true, "vips4");
	mk_counter(b, "stopped");
	mk_verdict(b, NF_DROP);
	mk_rule(b);
	to_vip(b, false, "vips6");
	mk_counter(b, "stopped");
	mk_verdict(b, NF_DROP);
}

static void accept_loopback(struct rules_mk *b)
{
	uint32_t lo = 1;	/* lo's index in every network namespace */

	mk_rule(b);
	mk_meta(b, NFT_META_IIF, REG(0));
	mk_cmp32(b, REG(0), lo);
	mk_verdict(b, NF_ACCEPT);
}

static void ct_state(struct rules_mk *b, uint32_t bits)
{
	uint32_t zero = 0;

	mk_expr(b, &(struct rules_expr){ .op = EXPR_CT_STATE, .reg = REG(0) });
	mk_mask32(b, REG(0), bits, 0);
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &zero, 4);
}

#define CT_KNOWN (NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED))

/*
 * ICMPv6 of 'type' that speaks for 'vip': an advertisement of it, or a solicitation from it, with a
 * link-layer address option in its usual place (the only one the kernel itself makes).
 */
static void nd_match(struct rules_mk *b, uint8_t type, const struct addr *vip)
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

static void nd_set_rules(struct rules_mk *b, const struct addr *vip)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t mac[6];
	unsigned int i;

	addr_flood_mac(vip, mac);
	for (i = 0; i < 2; i++) {
		nd_match(b, types[i], vip);
		mk_imm(b, REG(0), mac, 6);
		mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 6,
				.base = NFT_PAYLOAD_TRANSPORT_HEADER, .offset = ND_OPT_MAC,
				.key = ICMP6_CSUM + 1 });
	}
}

static void nd_guard_rules(struct rules_mk *b, const struct addr *vip)
{
	static const uint8_t types[] = { 135, 136 };
	uint8_t mac[6];
	unsigned int i;

	addr_flood_mac(vip, mac);
	for (i = 0; i < 2; i++) {
		nd_match(b, types[i], vip);
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ND_OPT_MAC, 6, REG(0));
		mk_cmp(b, NFT_CMP_NEQ, REG(0), mac, 6);
		mk_counter(b, "silenced");
		mk_verdict(b, NF_DROP);
	}
}

/* Calls 'f' for each different VIP of 'family'. */
static void each_vip(struct rules_mk *b, const struct rules_want *w, int family,
		     void (*f)(struct rules_mk *b, const struct addr *vip))
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
				f(b, vip);
		}
	}
}

static void inet_table(struct rules_mk *b, const struct rules_want *w)
{
	mk_table(b, RULES_INET, "clusterd", NFT_TABLE_F_OWNER);
	mk_add_obj(b, OBJ_COUNTER, "unknown");
	mk_add_obj(b, OBJ_COUNTER, "stopped");
	vip_sets(b, w, true);
	mk_base_chain(b, "in", NF_INET_PRE_ROUTING, PRIO_LIVE_CHECK, NULL);
	mk_rule(b);
	mk_is_mark(b, ACCEPT_LEASED);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	mk_is_mark(b, CHECK_LEASED);
	ct_state(b, CT_KNOWN);
	mk_set_mark(b, ACCEPT_LEASED);
	mk_verdict(b, NF_ACCEPT);
	mk_rule(b);
	mk_is_mark(b, CHECK_LEASED);
	mk_counter(b, "unknown");
	mk_verdict(b, NF_DROP);
	/* What the guard says as well, so that nothing slips through where it was flushed away. */
	accept_loopback(b);
	vip_drop_rules(b);
	/* A table of its own family: what IPv4 sends does not pass here. */
	mk_table(b, RULES_IP6, "clusterd", NFT_TABLE_F_OWNER);
	mk_base_chain(b, "out", NF_INET_LOCAL_OUT, PRIO_LIVE_OUT, NULL);
	each_vip(b, w, AF_INET6, nd_set_rules);
}

/* ---- arp ---- */

static void arp_match(struct rules_mk *b, const struct addr *vip)
{
	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SPA, 4, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), vip->b, 4);
}

static void arp_set_rule(struct rules_mk *b, const struct addr *vip)
{
	uint8_t mac[6];

	addr_flood_mac(vip, mac);
	arp_match(b, vip);
	mk_imm(b, REG(0), mac, 6);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(0), .len = 6,
			.base = NFT_PAYLOAD_NETWORK_HEADER, .offset = ARP_SHA });
}

static void arp_guard_rule(struct rules_mk *b, const struct addr *vip)
{
	uint8_t mac[6];

	addr_flood_mac(vip, mac);
	arp_match(b, vip);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, ARP_SHA, 6, REG(0));
	mk_cmp(b, NFT_CMP_NEQ, REG(0), mac, 6);
	mk_counter(b, "silenced");
	mk_verdict(b, NF_DROP);
}

static int finish(struct rules_plan *p)
{
	if (!p->failed)
		return 0;
	rules_plan_free(p);
	return -ENOMEM;
}

int rules_plan_live(struct rules_plan *p, const struct rules_want *want, const int *ifindex)
{
	struct rules_mk b = { .p = p };
	unsigned int i;

	if (want->n_services > SERVICES_MAX)
		return -EINVAL;
	for (i = 0; i < want->n_services; i++) {
		const struct rules_service *s = &want->service[i];

		/* the kernel refuses a modulus of 1 */
		if (s->buckets < 2 || s->buckets > BUCKETS_MAX || s->n_peers > NODES_MAX ||
		    strnlen(s->interface, IFNAME_SIZE) == IFNAME_SIZE)
			return -EINVAL;
	}
	netdev_table(&b, want, ifindex);
	inet_table(&b, want);
	mk_table(&b, RULES_ARP, "clusterd", NFT_TABLE_F_OWNER);
	mk_base_chain(&b, "out", NF_ARP_OUT, PRIO_LIVE_OUT, NULL);
	each_vip(&b, want, AF_INET, arp_set_rule);
	return finish(p);
}

int rules_plan_guard(struct rules_plan *p, const struct rules_want *want)
{
	struct rules_mk b = { .p = p };

	if (want->n_services > SERVICES_MAX)
		return -EINVAL;
	mk_table(&b, RULES_INET, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "stopped");
	mk_add_obj(&b, OBJ_COUNTER, "waiting");
	vip_sets(&b, want, true);
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
	ct_state(&b, CT_KNOWN);
	mk_counter(&b, "waiting");
	mk_verdict(&b, NF_DROP);
	mk_rule(&b);
	mk_is_mark(&b, CHECK_LEASED);
	mk_counter(&b, "stopped");
	mk_verdict(&b, NF_DROP);
	accept_loopback(&b);
	vip_drop_rules(&b);

	mk_table(&b, RULES_IP6, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "silenced");
	mk_base_chain(&b, "out", NF_INET_LOCAL_OUT, PRIO_GUARD_OUT, NULL);
	each_vip(&b, want, AF_INET6, nd_guard_rules);

	mk_table(&b, RULES_ARP, "clusterd_guard", 0);
	mk_add_obj(&b, OBJ_COUNTER, "silenced");
	mk_base_chain(&b, "out", NF_ARP_OUT, PRIO_GUARD_OUT, NULL);
	each_vip(&b, want, AF_INET, arp_guard_rule);
	return finish(p);
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
	return finish(p);
}

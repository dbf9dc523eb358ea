/* SPDX-License-Identifier: GPL-2.0-or-later */
/* netdev clusterd: what arrives, from the interface to the bucket. */
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_build.h"

bool build_has_vip(const struct rules_service *s, bool v4)
{
	unsigned int k;

	for (k = 0; k < s->conf->n_vips; k++)
		if (is4(&s->conf->vip[k]) == v4)
			return true;
	return false;
}

bool build_alone(const struct rules_want *w, unsigned int i, bool v4)
{
	const struct conf_service *a = w->service[i].conf;
	unsigned int j, k, n;

	for (j = 0; j < w->n_services; j++) {
		const struct conf_service *c = w->service[j].conf;

		for (k = 0; k < a->n_vips; k++)
			for (n = 0; j != i && n < c->n_vips; n++)
				if (is4(&a->vip[k]) == v4 && !addr_cmp(&a->vip[k], &c->vip[n]))
					return false;
	}
	return true;
}

void build_hash(struct rules_mk *b, uint32_t seed, uint32_t buckets, bool port, bool v4)
{
	uint16_t size = v4 ? 4 : 16;
	struct rules_expr e = { .op = EXPR_JHASH, .reg = REG(0), .reg2 = REG(8),
				.len = (uint16_t)(size + (port ? 4 : 0)), .key = buckets };

	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_SADDR : IP6_SADDR, size, REG(0));
	if (port)
		mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_SPORT, 2, REG(size / 4));
	memcpy(e.more, &seed, 4);
	mk_expr(b, &e);
}

void build_mask16(struct rules_mk *b, uint8_t reg, uint16_t mask)
{
	struct rules_expr e = { .op = EXPR_MASK, .reg = reg, .len = 2 };
	uint16_t be = htons(mask);

	memcpy(e.data, &be, 2);
	mk_expr(b, &e);
}

void build_go_by_code(struct rules_mk *b, const char *map)
{
	/* The code takes the way over the mark only because nft dies of a map within a map. */
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					 .reg = REG(8) });
	mk_meta(b, NFT_META_MARK, REG(0));
	mk_lookup(b, EXPR_VMAP, REG(0), map);
}

/* While the hash changes nobody takes new flows, whoever handed them over. */
static void freeze_rules(struct rules_mk *b)
{
	uint8_t tcp = IPPROTO_TCP;

	mk_rule(b);
	build_syn(b);
	mk_counter(b, "frozen");
	mk_verdict(b, NF_DROP);
	mk_rule(b);
	mk_meta(b, NFT_META_L4PROTO, REG(0));
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &tcp, 1);
	mk_counter(b, "frozen");
	mk_verdict(b, NF_DROP);
}

/* sI_4, sI_6: by the service's hash; sI_p4, sI_p6: ICMP echo, by address, whatever the scheduler. */
static void hash_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s, bool v4,
		       bool echo)
{
	const char *actions = echo && build_scheduled(s) ? "p" : "a";
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_%s%d", i, echo ? "p" : "", v4 ? 4 : 6);
	mk_chain(b, name);
	if (s->freeze)
		freeze_rules(b);
	mk_rule(b);
	build_hash(b, s->seed, s->buckets, s->hash == HASH_SOURCE_PORT && !echo, v4);
	mk_lookup(b, EXPR_MAP, REG(8), NAME(name, i, "b"));
	snprintf(name, sizeof(name), "s%u_%s", i, actions);
	build_go_by_code(b, name);
	mk_rule(b);
	build_drop(b, i);
}

static void service_maps(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	char name[OBJ_NAME];

	mk_map(b, NAME(name, i, "b"), TYPE_MARK, 4, TYPE_MARK);
	mk_bound(b, s->buckets);
	if (build_has_old(s)) {
		mk_map(b, NAME(name, i, "o"), TYPE_MARK, 4, TYPE_MARK);
		mk_bound(b, s->old.buckets);
	}
	mk_map(b, NAME(name, i, "a"), TYPE_MARK, 4, DATA_VERDICT);
	mk_bound(b, BOUND_CODES);
	if (build_scheduled(s)) {
		mk_map(b, NAME(name, i, "p"), TYPE_MARK, 4, DATA_VERDICT);
		mk_bound(b, BOUND_CODES);
	}
	if (build_handed(s)) {
		mk_map(b, NAME(name, i, "m"), TYPE_MARK, 4, DATA_VERDICT);
		mk_bound(b, BOUND_CODES);
	}
}

static void service_sets(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	char name[OBJ_NAME];
	unsigned int k;

	mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "accepted"));
	mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "foreign"));
	mk_add_obj(b, OBJ_COUNTER, NAME(name, i, "handed"));
	service_maps(b, i, s);
	build_peers_set(b, i, s);
	mk_set(b, NAME(name, i, "v4"), TYPE_IPADDR, 4);
	mk_set(b, NAME(name, i, "v6"), TYPE_IP6ADDR, 16);
	for (k = 0; k < s->conf->n_vips; k++) {
		const struct addr *a = &s->conf->vip[k];

		mk_elem_once(b, is4(a) ? NAME(name, i, "v4") : NAME(name, i, "v6"), a->b,
			  (uint32_t)addr_size(a));
	}
}

void build_port_maps(struct rules_mk *b, const struct rules_want *w, const char *map4,
		     const char *map6)
{
	uint32_t n = 0, bound = 64;
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		n += w->service[i].conf->n_vips * w->service[i].conf->n_ports;
	while (bound < BOUND_SPARE * n)
		bound *= 2;
	mk_map(b, map4, TYPE_CONCAT3(TYPE_IPADDR, TYPE_PROTO, TYPE_SERVICE), 12, DATA_VERDICT);
	mk_bound(b, bound);
	mk_map(b, map6, TYPE_CONCAT3(TYPE_IP6ADDR, TYPE_PROTO, TYPE_SERVICE), 24, DATA_VERDICT);
	mk_bound(b, bound);
}

/* The key is address, protocol and port, each padded to 4 bytes. */
void build_ports(struct rules_mk *b, const struct rules_service *s, bool v4, const char *map,
		 const char *to)
{
	unsigned int k, n;

	for (k = 0; k < s->conf->n_vips; k++) {
		const struct addr *a = &s->conf->vip[k];
		uint32_t size = (uint32_t)addr_size(a);

		for (n = 0; is4(a) == v4 && n < s->conf->n_ports; n++) {
			const struct conf_port *port = &s->conf->port[n];
			uint16_t be = htons(port->lo);
			uint8_t key[KEY_MAX] = { 0 };

			if (port->lo != port->hi)
				continue;
			memcpy(key, a->b, size);
			key[size] = port->proto;
			memcpy(key + size + 4, &be, 2);
			mk_elem(b, map, key, size + 8, to);
		}
	}
}

void build_ranges(struct rules_mk *b, unsigned int i, const struct conf_service *s, bool v4,
		  const char *to)
{
	unsigned int n;
	char name[OBJ_NAME];

	for (n = 0; n < s->n_ports; n++) {
		uint16_t lo = htons(s->port[n].lo), hi = htons(s->port[n].hi);

		if (lo == hi)
			continue;
		mk_rule(b);
		build_to_vip(b, v4, v4 ? NAME(name, i, "v4") : NAME(name, i, "v6"));
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
	if (!v4)
		mk_is_protocol(b, ETH_P_IPV6);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, size, REG(0));
	mk_meta(b, NFT_META_L4PROTO, REG(size / 4));
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(size / 4 + 1));
	mk_lookup(b, EXPR_VMAP, REG(0), v4 ? "svc4" : "svc6");
}

static bool any_vip(const struct rules_want *w, bool v4)
{
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		if (build_has_vip(&w->service[i], v4))
			return true;
	return false;
}

/* All that is the same for all interfaces.  IPv4 comes to a chain of its own: one test of the version. */
static void version_rules(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	unsigned int i;
	char to[OBJ_NAME];

	build_fragments(b, v4);
	service_map_rule(b, v4);
	for (i = 0; i < w->n_services; i++)
		build_ranges(b, i, w->service[i].conf, v4, v4 ? NAME(to, i, "4") : NAME(to, i, "6"));
}

static void to_vip_rule(struct rules_mk *b, bool v4)
{
	mk_rule(b);
	build_to_vip(b, v4, v4 ? "vips4" : "vips6");
	mk_go(b, v4 ? "vip4" : "vip6");
}

static void ip4_chain(struct rules_mk *b, const struct rules_want *w)
{
	if (!any_vip(w, true))
		return;
	mk_chain(b, "ip4");
	version_rules(b, w, true);
	to_vip_rule(b, true);
}

static bool any_handed(const struct rules_want *w)
{
	unsigned int i;

	for (i = 0; i < w->n_services; i++)
		if (build_handed(&w->service[i]))
			return true;
	return false;
}

/*
 * A switch floods frames for a MAC that it does not know (any more: the front has just died), and every
 * node would take its copy for its own.  Where packets are handed on, a frame is for whom it is addressed to.
 */
static void strays(struct rules_mk *b, const struct rules_want *w)
{
	unsigned int i, k, v;

	for (v = 0; v < 2; v++)
		mk_set(b, v ? "hvips6" : "hvips4", v ? TYPE_IP6ADDR : TYPE_IPADDR, v ? 16 : 4);
	for (i = 0; i < w->n_services; i++) {
		const struct conf_service *s = w->service[i].conf;

		for (k = 0; build_handed(&w->service[i]) && k < s->n_vips; k++)
			mk_elem_once(b, is4(&s->vip[k]) ? "hvips4" : "hvips6", s->vip[k].b,
				     (uint32_t)addr_size(&s->vip[k]));
	}
	mk_chain(b, "stray");
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		build_to_vip(b, !v, v ? "hvips6" : "hvips4");
		mk_counter(b, "other");
		mk_verdict(b, NF_DROP);
	}
}

static void stray_rule(struct rules_mk *b)
{
	struct rules_expr e = { .op = EXPR_VERDICT, .key = (uint32_t)NFT_JUMP };
	uint8_t host = PACKET_HOST;

	mk_rule(b);
	mk_meta(b, NFT_META_PKTTYPE, REG(0));
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &host, 1);
	mk_set_name(&e, "stray");
	mk_expr(b, &e);
}

/* What comes out of a tunnel was not seen by the fast path, and is no neighbour's question. */
static void ingress_chain(struct rules_mk *b, const struct rules_want *w, const char *name,
			  const char *device, bool tunnel)
{
	mk_base_chain(b, name, NF_NETDEV_INGRESS, PRIO_LIVE_INGRESS, device);
	if (w->early && !tunnel) {
		mk_rule(b);
		mk_is_mark(b, RULES_MARK_ACCEPT);
		mk_verdict(b, NF_ACCEPT);
	}
	if (any_handed(w) && !tunnel)
		stray_rule(b);
	if (any_vip(w, true)) {
		mk_rule(b);
		mk_is_protocol(b, ETH_P_IP);
		mk_go(b, "ip4");
	}
	if (any_vip(w, false))
		version_rules(b, w, false);
	build_neighbours(b, w, !tunnel);
	if (any_vip(w, false))
		to_vip_rule(b, false);
}

/* Each name once, in order of first use. */
static unsigned int add_name(char (*name)[IFNAME_SIZE], unsigned int n, unsigned int max,
			     const char *dev)
{
	unsigned int k;

	for (k = 0; k < n && strcmp(name[k], dev); k++)
		;
	if (k < n || n == max)
		return n;
	snprintf(name[n], IFNAME_SIZE, "%s", dev);
	return n + 1;
}

static unsigned int service_devices(const struct rules_want *w, char (*name)[IFNAME_SIZE],
				    unsigned int max)
{
	unsigned int n = 0, i;

	for (i = 0; i < w->n_services; i++)
		n = add_name(name, n, max, w->service[i].interface);
	return n;
}

unsigned int rules_interfaces(const struct rules_want *w, char (*name)[IFNAME_SIZE],
			      unsigned int max)
{
	unsigned int n = service_devices(w, name, max), i, k;

	for (i = 0; i < w->n_services; i++) {
		const struct rules_service *s = &w->service[i];

		for (k = 0; s->conf->redirect != REDIRECT_DIRECT && k < s->n_peers; k++) {
			if (s->peer[k].ifindex4)
				n = add_name(name, n, max, s->peer[k].dev4);
			if (s->peer[k].ifindex6)
				n = add_name(name, n, max, s->peer[k].dev6);
		}
	}
	return n;
}

static void base_chains(struct rules_mk *b, const struct rules_want *w)
{
	static_assert(OBJ_NAME >= IFNAME_SIZE + 3, "room for the chains of tunnel devices");
	char dev[RULES_INTERFACES_MAX][IFNAME_SIZE], name[OBJ_NAME];
	unsigned int n = service_devices(w, dev, RULES_INTERFACES_MAX), i;
	unsigned int all = rules_interfaces(w, dev, RULES_INTERFACES_MAX);

	for (i = 0; i < all; i++) {
		/* Tunnels come and go one by one: no other's chain shall change its name. */
		if (i < n)
			snprintf(name, sizeof(name), "in%u", i);
		else
			snprintf(name, sizeof(name), "in_%.15s", dev[i]);
		ingress_chain(b, w, name, dev[i], i >= n);
	}
}

void build_ingress(struct rules_mk *b, const struct rules_want *w, const int *ifindex)
{
	unsigned int i;
	char name[OBJ_NAME];

	mk_table(b, RULES_NETDEV, "clusterd", NFT_TABLE_F_OWNER);
	mk_add_obj(b, OBJ_COUNTER, "other");
	mk_add_obj(b, OBJ_COUNTER, "frozen");
	build_vip_sets(b, w, true);
	build_port_maps(b, w, "svc4", "svc6");
	mk_chain(b, "check");
	mk_rule(b);
	mk_to_stack(b, RULES_MARK_CHECK);
	for (i = 0; i < w->n_services; i++) {
		const struct rules_service *s = &w->service[i];

		service_sets(b, i, s);
		build_actions(b, i, s, ifindex[i]);
		if (build_scheduled(s))
			build_sched(b, w, i);
		hash_chain(b, i, s, true, false);
		hash_chain(b, i, s, false, false);
		hash_chain(b, i, s, true, true);
		hash_chain(b, i, s, false, true);
		build_ports(b, s, true, "svc4", NAME(name, i, "4"));
		build_ports(b, s, false, "svc6", NAME(name, i, "6"));
	}
	build_vip_chains(b, w);
	build_frag_chains(b, w);
	if (any_handed(w))
		strays(b, w);
	ip4_chain(b, w);
	base_chains(b, w);
}

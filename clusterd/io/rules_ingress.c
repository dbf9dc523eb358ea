/* SPDX-License-Identifier: GPL-2.0-or-later */
/* netdev clusterd: what arrives at the interfaces. */
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
	build_to_vip(b, true, "vips4");
	mk_go(b, "vip4");
	mk_rule(b);
	build_to_vip(b, false, "vips6");
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

void build_ingress(struct rules_mk *b, const struct rules_want *w, const int *ifindex)
{
	const char *dev[SERVICES_MAX];
	unsigned int n = interfaces(w, dev), i;

	mk_table(b, RULES_NETDEV, "clusterd", NFT_TABLE_F_OWNER);
	mk_add_obj(b, OBJ_COUNTER, "other");
	build_vip_sets(b, w, true);
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

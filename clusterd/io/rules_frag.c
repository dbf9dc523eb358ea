/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netdev clusterd: fragments.  Only the first one of a datagram has ports; it goes the way that the
 * whole datagram would, and leaves its code behind (map sI_frag4, sI_frag6: source, destination,
 * protocol, id -> code; IPv6 has no protocol there).  The others find the code and go the same way:
 * to the stack, whose reassembly gives the whole the first one's mark, or to the peer, who has seen the
 * first one as well.
 *
 * A service that hashes addresses only, with VIPs of its own, needs no memory: all fragments are hashed.
 * ICMP likewise: only echo can be large.
 *
 * Out of order: a fragment that overtakes the first one of its datagram is dropped, and with it the
 * datagram.  TCP sends it again; UDP's users live with loss, and networks that reorder the fragments
 * of one datagram are rare.  The same when the memory is full: FRAG_MAX datagrams in FRAG_MS.
 *
 * A first fragment too short for a TCP header is nobody's (RFC 1858): dropped.  What is behind the IP
 * packet in the frame, which Ethernet may have padded, thus cannot pass for its flags.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_build.h"

#define FRAG_MAX 16384u
#define FRAG_MS  30000u		/* as long as Linux keeps them for reassembly */

enum { IP4_ID = 4, FRAG6_OFFSET = 2, FRAG6_ID = 4 };
enum { IP4_LEAST = 20 + 20, IP6_LEAST = 8 + 20 };

static bool by_address(const struct rules_want *w, unsigned int i, bool v4)
{
	return w->service[i].hash == HASH_SOURCE && !build_scheduled(&w->service[i]) &&
	       build_alone(w, i, v4);
}

static bool remembers(const struct rules_want *w, unsigned int i, bool v4)
{
	return build_has_vip(&w->service[i], v4) && !by_address(w, i, v4);
}

/* Go on if the packet, of that version, is a fragment, resp. one without ports ('later'). */
static void is_fragment(struct rules_mk *b, bool v4, bool later)
{
	uint32_t zero = 0;

	if (v4) {	/* with the id before it: the kernel masks 4 bytes, no fewer, without a call */
		mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP4_ID, 4, REG(0));
		mk_mask32(b, REG(0), htonl(later ? 0x1fff : 0x3fff), 0);
		mk_cmp(b, NFT_CMP_NEQ, REG(0), &zero, 4);
		return;
	}
	mk_exthdr(b, IPPROTO_FRAGMENT, FRAG6_OFFSET, 2, REG(0));
	if (!later)
		return;
	build_mask16(b, REG(0), 0xfff8);
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &zero, 2);
}

/* Which datagram: REG(0) .. */
static void load_key(struct rules_mk *b, bool v4)
{
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_SADDR : IP6_SADDR, v4 ? 4 : 16, REG(0));
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, v4 ? 4 : 16,
		   v4 ? REG(1) : REG(4));
	if (v4) {
		mk_meta(b, NFT_META_L4PROTO, REG(2));
		mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP4_ID, 2, REG(3));
	} else {
		mk_exthdr(b, IPPROTO_FRAGMENT, FRAG6_ID, 4, REG(8));
	}
}

static void remember_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s, bool v4)
{
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_frag%d", i, v4 ? 4 : 6);
	if (v4)
		mk_dynamic(b, name, TYPE_CONCAT4(TYPE_IPADDR, TYPE_IPADDR, TYPE_PROTO, TYPE_SERVICE),
			   16, TYPE_MARK, FRAG_MAX, FRAG_MS);
	else
		mk_dynamic(b, name, TYPE_CONCAT3(TYPE_IP6ADDR, TYPE_IP6ADDR, TYPE_MARK), 36,
			   TYPE_MARK, FRAG_MAX, FRAG_MS);
	snprintf(name, sizeof(name), "s%u_f%d", i, v4 ? 4 : 6);
	mk_chain(b, name);
	mk_rule(b);
	build_hash(b, s->seed, s->buckets, s->hash == HASH_SOURCE_PORT, v4);
	mk_lookup(b, EXPR_MAP, REG(8), NAME(name, i, "b"));
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					 .reg = REG(8) });
	load_key(b, v4);
	mk_meta(b, NFT_META_MARK, REG(12));
	snprintf(name, sizeof(name), "s%u_frag%d", i, v4 ? 4 : 6);
	/* An update keeps the old code, and clients use an identification again. */
	mk_dynset_delete(b, name, REG(0), REG(12));
	mk_dynset(b, name, REG(0), REG(12), FRAG_MS);
	mk_rule(b);
	if (build_scheduled(s)) {	/* the code is in the mark */
		mk_meta(b, NFT_META_MARK, REG(0));
		mk_lookup(b, EXPR_VMAP, REG(0), NAME(name, i, "g"));
		mk_rule(b);
		build_drop(b, i);
		return;
	}
	mk_go(b, v4 ? NAME(name, i, "4") : NAME(name, i, "6"));
}

static void short_rule(struct rules_mk *b, bool v4)
{
	uint16_t zero = 0, most = htons((v4 ? IP4_LEAST : IP6_LEAST) - 1);

	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_LENGTH : IP6_LENGTH, 2, REG(0));
	mk_range(b, REG(0), &zero, &most, 2);
	mk_counter(b, "other");
	mk_verdict(b, NF_DROP);
}

/* frag4, frag6: first fragments for a VIP.  Of services without memory: as anything else. */
static void first_chain(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	uint8_t size = v4 ? 4 : 16;
	char to[OBJ_NAME];
	unsigned int i;

	mk_chain(b, v4 ? "frag4" : "frag6");
	mk_rule(b);
	is_fragment(b, v4, true);
	mk_go(b, v4 ? "later4" : "later6");
	short_rule(b, v4);
	mk_rule(b);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, size, REG(0));
	mk_meta(b, NFT_META_L4PROTO, REG(size / 4));
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(size / 4 + 1));
	mk_lookup(b, EXPR_VMAP, REG(0), v4 ? "fsvc4" : "fsvc6");
	for (i = 0; i < w->n_services; i++) {
		snprintf(to, sizeof(to), "s%u_%s%d", i, remembers(w, i, v4) ? "f" : "", v4 ? 4 : 6);
		build_ranges(b, i, w->service[i].conf, v4, to);
		build_ports(b, &w->service[i], v4, v4 ? "fsvc4" : "fsvc6", to);
	}
	mk_rule(b);
	mk_go(b, v4 ? "vip4" : "vip6");
}

static void later_chain(struct rules_mk *b, const struct rules_want *w, bool v4)
{
	struct rules_expr e = { .op = EXPR_MAP, .reg = REG(0), .reg2 = REG(8) };
	uint16_t at = v4 ? IP4_DADDR : IP6_DADDR, size = v4 ? 4 : 16;
	char name[OBJ_NAME];
	unsigned int i;

	mk_chain(b, v4 ? "later4" : "later6");
	mk_rule(b);
	mk_is_l4proto(b, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, at, size, REG(4));
	mk_lookup(b, EXPR_VMAP, REG(4), v4 ? "echo4" : "echo6");
	for (i = 0; i < w->n_services; i++) {
		if (!build_has_vip(&w->service[i], v4))
			continue;
		mk_rule(b);
		if (by_address(w, i, v4)) {
			mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, at, size, REG(4));
			mk_lookup(b, EXPR_LOOKUP, REG(4), v4 ? NAME(name, i, "v4") :
				  NAME(name, i, "v6"));
			mk_go(b, v4 ? NAME(name, i, "4") : NAME(name, i, "6"));
			continue;
		}
		load_key(b, v4);
		snprintf(name, sizeof(name), "s%u_frag%d", i, v4 ? 4 : 6);
		mk_set_name(&e, name);
		mk_expr(b, &e);
		build_go_by_code(b, build_scheduled(&w->service[i]) ? NAME(name, i, "g") :
				 NAME(name, i, "a"));
	}
	mk_rule(b);
	mk_counter(b, "fragments");
	mk_verdict(b, NF_DROP);
}

void build_frag_chains(struct rules_mk *b, const struct rules_want *w)
{
	unsigned int i, v;

	mk_add_obj(b, OBJ_COUNTER, "fragments");
	build_port_maps(b, w, "fsvc4", "fsvc6");
	for (v = 0; v < 2; v++) {
		for (i = 0; i < w->n_services; i++)
			if (remembers(w, i, !v))
				remember_chain(b, i, &w->service[i], !v);
		later_chain(b, w, !v);
		first_chain(b, w, !v);
	}
}

/* Before the services: they would find the ports of a first fragment, too. */
void build_fragments(struct rules_mk *b, bool v4)
{
	mk_rule(b);
	if (!v4)
		mk_is_protocol(b, ETH_P_IPV6);
	is_fragment(b, v4, false);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, v4 ? 4 : 16, REG(4));
	mk_lookup(b, EXPR_LOOKUP, REG(4), v4 ? "vips4" : "vips6");
	mk_go(b, v4 ? "frag4" : "frag6");
}

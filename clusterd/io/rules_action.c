/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netdev clusterd: what happens to a packet once its bucket is known.  One row per kind of action;
 * "from X": X itself handed the packet over; "new": a SYN, everything that is not TCP; "mid": other TCP,
 * also with flags that cannot be read.
 *
 *                              new                              mid
 *   sI_mine                    accept                           accept
 *   sI_for<to>  announce, route  from a peer: drop; else fwd to   the same
 *   sI_ado<to>                 accept                           sI_chk<to>
 *   sI_to<to>                  fwd to                           sI_chk<to>
 *   sI_gave<to> announce, route  from <to>: drop; else fwd to     sI_chk<to>
 *                                (two layouts: from a peer)
 *   sI_arr<to>                 from <to>: accept; else fwd to   sI_chk<to>
 *   sI_none                    drop                             check
 *   sI_ado0                    accept                           check, or sI_old4/6
 *   sI_chk<to>                                                  CHECK; unknown: to <to>, except if
 *                                                               it came from there
 *
 * In flood every node has a copy of its own: sI_for and sI_chk do not exist, mid is always "check",
 * sI_to<to> drops what any peer handed over, sI_arr<to> drops what <to> has not.
 *
 * Three hops at most: the front, the owner to be, the old owner and back to the owner to be, which may
 * take new flows only from the old one's hand (sI_arr, sI_to).  What is mid-stream never goes back, nor
 * does anything once the new owner takes it by itself (sI_gave): if each believes that the other has the
 * bucket, because one of them is not up to date, nothing is to go to and fro between them.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_build.h"

bool build_handed(const struct rules_service *s)
{
	return s->conf->dispatch != DISPATCH_FLOOD;
}

bool build_has_old(const struct rules_service *s)
{
	return s->old.owner && build_handed(s);
}

/* Do the codes say 'to' of every state? */
static bool keeps_to(const struct rules_service *s)
{
	return build_handed(s) || build_scheduled(s);
}

/* Is draining another thing here than leaving, or than the same for all? */
static bool draining_differs(const struct rules_service *s)
{
	return build_handed(s) != build_scheduled(s);
}

uint16_t rules_code(const struct rules_service *s, const struct bucket_action *a)
{
	switch ((enum bucket_state)a->state) {
	case BUCKET_FOREIGN:
		return keeps_to(s) && a->to != NOBODY ? (uint16_t)(0x400 + a->to) : 0;
	case BUCKET_MINE:
		return 1;
	case BUCKET_ARRIVING:
		return (uint16_t)(0x200 + a->to);
	case BUCKET_ADOPTING:
		return (uint16_t)(0x300 + (keeps_to(s) ? a->to : NOBODY));
	case BUCKET_DRAINING:
		if (draining_differs(s))
			return (uint16_t)(0x500 + a->to);
		return (uint16_t)(0x100 + (keeps_to(s) ? a->to : NOBODY));
	case BUCKET_LEAVING:
		return (uint16_t)(0x100 + a->to);
	case BUCKET_STATES_N:
		break;
	}
	return 0;
}

uint16_t rules_old_code(uint8_t owner, uint8_t self)
{
	return owner == self ? 0 : (uint16_t)RULES_MARK_NODE(owner);
}

static bool mac_known(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return memcmp(mac, none, 6) != 0;
}

unsigned int build_ways(const struct rules_service *s, const struct rules_peer *peer)
{
	if (!peer)
		return 1;
	if (peer->gone)
		return 0;
	if (s->conf->redirect == REDIRECT_DIRECT)
		return mac_known(peer->mac);
	return (peer->ifindex4 != 0) + (peer->ifindex6 && peer->ifindex6 != peer->ifindex4);
}

const struct rules_peer *build_peer(const struct rules_service *s, unsigned int id)
{
	unsigned int k;

	for (k = 0; k < s->n_peers; k++)
		if (s->peer[k].id == id && build_ways(s, &s->peer[k]))
			return &s->peer[k];
	return NULL;
}

void build_from(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		const struct rules_peer *peer, unsigned int way)
{
	bool direct = s->conf->redirect == REDIRECT_DIRECT;
	uint8_t host = PACKET_HOST;
	char name[OBJ_NAME];

	/* Not what the switch flooded on its way to another node; else the chain "stray" has seen to it. */
	if (direct && !build_handed(s)) {
		mk_meta(b, NFT_META_PKTTYPE, REG(0));
		mk_cmp(b, NFT_CMP_EQ, REG(0), &host, 1);
	}
	if (direct)
		mk_payload(b, NFT_PAYLOAD_LL_HEADER, ETH_SADDR, 6, REG(0));
	else
		mk_meta(b, NFT_META_IIF, REG(0));
	if (!peer)
		mk_lookup(b, EXPR_LOOKUP, REG(0), NAME(name, i, "peers"));
	else if (direct)
		mk_cmp(b, NFT_CMP_EQ, REG(0), peer->mac, 6);
	else
		mk_cmp32(b, REG(0), (uint32_t)(way || !peer->ifindex4 ? peer->ifindex6 :
					       peer->ifindex4));
}

void build_peers_set(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	bool direct = s->conf->redirect == REDIRECT_DIRECT;
	char name[OBJ_NAME];
	unsigned int k;

	NAME(name, i, "peers");
	if (direct)
		mk_set(b, name, TYPE_ETHERADDR, 6);
	else
		mk_set(b, name, TYPE_IFINDEX, 4);
	mk_bound(b, BOUND_PEERS);
	for (k = 0; k < s->n_peers; k++) {
		const struct rules_peer *p = &s->peer[k];

		if (p->gone)
			continue;
		if (direct && mac_known(p->mac))
			mk_elem_once(b, name, p->mac, 6);
		if (!direct && p->ifindex4)
			mk_elem_once(b, name, &p->ifindex4, 4);
		if (!direct && p->ifindex6)
			mk_elem_once(b, name, &p->ifindex6, 4);
	}
}

void build_syn(struct rules_mk *b)
{
	mk_is_l4proto(b, IPPROTO_TCP);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1, REG(0));
	mk_mask8(b, REG(0), TCP_SYN_MASK);
	mk_cmp8(b, REG(0), TCP_SYN_ONLY);
}

void build_drop(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	mk_counter(b, NAME(name, i, "foreign"));
	mk_verdict(b, NF_DROP);
}

void build_accept(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	mk_counter(b, NAME(name, i, "accepted"));
	mk_to_stack(b, RULES_MARK_ACCEPT);
}

/* ---- pieces ---- */

static void start(struct rules_mk *b, bool syn)
{
	mk_rule(b);
	if (syn)
		build_syn(b);
}

static void tcp_goes(struct rules_mk *b, const char *to)
{
	mk_rule(b);
	mk_is_l4proto(b, IPPROTO_TCP);
	mk_go(b, to);
}

static const char *chain(char *buf, unsigned int i, const char *what, unsigned int id)
{
	snprintf(buf, OBJ_NAME, "s%u_%s%u", i, what, id);
	return buf;
}

static void element(struct rules_mk *b, const struct rules_service *s, unsigned int i,
		    enum bucket_state state, unsigned int to, const char *go)
{
	uint32_t code = rules_code(s, &(struct bucket_action){ (uint8_t)state, (uint8_t)to });
	char name[OBJ_NAME];

	mk_elem(b, !build_scheduled(s) ? NAME(name, i, "a") : NAME(name, i, "p"), &code, 4,
		go);
}

/* What happens to ICMP errors; only in announce and route. */
static void element_mid(struct rules_mk *b, const struct rules_service *s, unsigned int i,
			enum bucket_state state, unsigned int to, const char *go)
{
	uint32_t code = rules_code(s, &(struct bucket_action){ (uint8_t)state, (uint8_t)to });
	char name[OBJ_NAME];

	if (build_handed(s) && !build_scheduled(s))
		mk_elem(b, NAME(name, i, "m"), &code, 4, go);
}

/* Go on if the packet is of that version.  It is for a VIP of 's': often there is but one. */
static void is_version(struct rules_mk *b, const struct rules_service *s, bool v4)
{
	if (build_has_vip(s, !v4))
		mk_is_protocol(b, v4 ? ETH_P_IP : ETH_P_IPV6);
}

static void hand_over_rule(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			   const struct addr *to, int ifindex)
{
	bool v4 = is4(to);
	char name[OBJ_NAME];

	mk_rule(b);
	is_version(b, s, v4);
	mk_counter(b, NAME(name, i, "handed"));
	if (s->conf->redirect != REDIRECT_DIRECT)	/* the code: no tunnel's route shall depend on it */
		mk_set_mark(b, 0);
	if (v4 && s->conf->redirect == REDIRECT_IPIP)
		build_clear_df(b);
	mk_imm(b, REG(0), &ifindex, 4);
	mk_imm(b, REG(4), to->b, v4 ? 4 : 16);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_FWD, .reg = REG(0), .reg2 = REG(4),
				      .key = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6 });
}

/* ---- the chains ---- */

/*
 * 'fwd' drops without a word what the device does not take; 'dup', behind prerouting, tells the sender.
 * Only where mid-stream packets are handed on at all.
 */
static void large_rule(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		       const struct rules_peer *p, bool v4)
{
	/* total length (RFC 791), payload length (RFC 8200 section 3) */
	uint16_t most = htons((uint16_t)(v4 ? p->mtu : p->mtu - 40));

	if (!p->mtu || !build_handed(s))
		return;
	mk_rule(b);
	is_version(b, s, v4);
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_LENGTH : IP6_LENGTH, 2, REG(0));
	mk_cmp(b, NFT_CMP_GT, REG(0), &most, 2);
	mk_to_stack(b, RULES_MARK_HAND | RULES_MARK_NODE(p->id) | RULES_MARK_SERVICE(i));
}

static void fwd_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		      const struct rules_peer *p, int ifindex)
{
	bool direct = s->conf->redirect == REDIRECT_DIRECT;
	int dev4 = direct ? ifindex : p->ifindex4, dev6 = direct ? ifindex : p->ifindex6;
	char name[OBJ_NAME];

	mk_chain(b, chain(name, i, "fwd", p->id));
	if (build_has_vip(s, true))
		large_rule(b, i, s, p, true);
	if (build_has_vip(s, false))
		large_rule(b, i, s, p, false);
	if (build_has_vip(s, true) && p->addr4.family && dev4)
		hand_over_rule(b, i, s, &p->addr4, dev4);
	if (build_has_vip(s, false) && p->addr6.family && dev6)
		hand_over_rule(b, i, s, &p->addr6, dev6);
	mk_rule(b);
	build_drop(b, i);
}

static void chk_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		      const struct rules_peer *p)
{
	char name[OBJ_NAME];
	unsigned int k;

	mk_chain(b, chain(name, i, "chk", p->id));
	for (k = 0; k < build_ways(s, p); k++) {
		mk_rule(b);
		build_from(b, i, s, p, k);
		mk_go(b, "check");
	}
	mk_rule(b);
	mk_to_stack(b, RULES_MARK_CHECK | RULES_MARK_NODE(p->id) | RULES_MARK_SERVICE(i));
}

static void for_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		      const struct rules_peer *p)
{
	char name[OBJ_NAME], fwd[OBJ_NAME];

	mk_chain(b, chain(name, i, "for", p->id));
	mk_rule(b);
	build_from(b, i, s, NULL, 0);
	build_drop(b, i);
	mk_rule(b);
	mk_go(b, chain(fwd, i, "fwd", p->id));
	element(b, s, i, BUCKET_FOREIGN, p->id, name);
	element_mid(b, s, i, BUCKET_FOREIGN, p->id, name);
}

/*
 * Also back to who handed it over: a front that is to take the bucket asks the old owner first.  In
 * flood what a peer handed over is final.
 */
static void leaving_new(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			const struct rules_peer *p, bool syn)
{
	char fwd[OBJ_NAME];

	if (!build_handed(s)) {
		start(b, syn);
		build_from(b, i, s, NULL, 0);
		build_drop(b, i);
	}
	start(b, syn);
	mk_go(b, chain(fwd, i, "fwd", p->id));
}

/*
 * While the layout changes nothing moves, and yet all but the owner are draining: as what a peer hands
 * to a node that is not the owner is final else, it is here.
 */
static void draining_new(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			 const struct rules_peer *p, bool syn)
{
	const struct rules_peer *from = build_has_old(s) ? NULL : p;
	char fwd[OBJ_NAME];
	unsigned int k;

	for (k = 0; k < build_ways(s, from); k++) {
		start(b, syn);
		build_from(b, i, s, from, k);
		build_drop(b, i);
	}
	start(b, syn);
	mk_go(b, chain(fwd, i, "fwd", p->id));
}

static void arriving_new(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			 const struct rules_peer *p, bool syn)
{
	char fwd[OBJ_NAME];
	unsigned int k;

	for (k = 0; k < build_ways(s, p); k++) {
		start(b, syn);
		build_from(b, i, s, p, k);
		build_accept(b, i);
	}
	start(b, syn);
	if (build_handed(s))
		mk_go(b, chain(fwd, i, "fwd", p->id));
	else
		build_drop(b, i);
}

static void adopting_chain(struct rules_mk *b, unsigned int i, const char *name, const char *mid4,
			   const char *mid6)
{
	mk_chain(b, name);
	start(b, true);
	build_accept(b, i);
	if (mid4 != mid6) {
		mk_rule(b);
		mk_is_l4proto(b, IPPROTO_TCP);
		mk_is_protocol(b, ETH_P_IP);
		mk_go(b, mid4);
	}
	tcp_goes(b, mid6);
	start(b, false);
	build_accept(b, i);
}

static void peer_chains(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			const struct rules_peer *p, int ifindex)
{
	char name[OBJ_NAME], chk[OBJ_NAME] = "check";

	fwd_chain(b, i, s, p, ifindex);
	if (build_handed(s))
		for_chain(b, i, s, p);
	if (keeps_to(s)) {
		chain(chk, i, "chk", p->id);
		chk_chain(b, i, s, p);
		adopting_chain(b, i, chain(name, i, "ado", p->id), chk, chk);
		element(b, s, i, BUCKET_ADOPTING, p->id, name);
		element_mid(b, s, i, BUCKET_ADOPTING, p->id, chk);
	}
	mk_chain(b, chain(name, i, "to", p->id));
	leaving_new(b, i, s, p, true);
	tcp_goes(b, chk);
	leaving_new(b, i, s, p, false);
	element(b, s, i, BUCKET_LEAVING, p->id, name);
	element_mid(b, s, i, BUCKET_LEAVING, p->id, chk);
	if (build_handed(s) && draining_differs(s)) {
		mk_chain(b, chain(name, i, "gave", p->id));
		draining_new(b, i, s, p, true);
		tcp_goes(b, chk);
		draining_new(b, i, s, p, false);
		element(b, s, i, BUCKET_DRAINING, p->id, name);
		element_mid(b, s, i, BUCKET_DRAINING, p->id, chk);
	}
	mk_chain(b, chain(name, i, "arr", p->id));
	arriving_new(b, i, s, p, true);
	tcp_goes(b, chk);
	arriving_new(b, i, s, p, false);
	element(b, s, i, BUCKET_ARRIVING, p->id, name);
	element_mid(b, s, i, BUCKET_ARRIVING, p->id, chk);
}

/*
 * A connection of before a change of the hash: asks the old table who had it.  Old owner unknown, or
 * this node: no element, plain "check".
 */
static void old_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s, bool v4)
{
	char name[OBJ_NAME];

	snprintf(name, sizeof(name), "s%u_old%d", i, v4 ? 4 : 6);
	mk_chain(b, name);
	mk_rule(b);
	build_hash(b, s->seed, s->old.buckets, s->old.hash == HASH_SOURCE_PORT, v4);
	mk_lookup(b, EXPR_MAP, REG(8), NAME(name, i, "o"));
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					 .reg = REG(8) });
	mk_change_mark(b, RULES_MARK_NODE(0xff), RULES_MARK_CHECK | RULES_MARK_SERVICE(i));
	mk_verdict(b, NF_ACCEPT);	/* no flooded frame: its packet type is right already */
	mk_rule(b);
	mk_go(b, "check");
}

/* Codes whose 'to' no chain is for: elements only, as far as there are such buckets. */
static void unknown_elements(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	static const uint8_t states[] = {
		BUCKET_LEAVING, BUCKET_DRAINING, BUCKET_ARRIVING, BUCKET_ADOPTING, BUCKET_FOREIGN,
	};
	uint64_t used[BUCKET_STATES_N] = { 0 };
	char none[OBJ_NAME], ado[OBJ_NAME];
	unsigned int k, id;
	uint32_t n;

	NAME(none, i, "none");
	NAME(ado, i, "ado0");
	for (n = 0; n < s->buckets; n++) {
		const struct bucket_action *a = &s->action[n];

		if (a->to >= 1 && a->to <= NODES_MAX && a->state < BUCKET_STATES_N)
			used[a->state] |= node_bit(a->to);
	}
	if (keeps_to(s) && !draining_differs(s))
		used[BUCKET_LEAVING] |= used[BUCKET_DRAINING];
	if (!build_handed(s) || !draining_differs(s))
		used[BUCKET_DRAINING] = 0;
	if (!keeps_to(s))
		used[BUCKET_ADOPTING] = 0;
	if (!build_handed(s))
		used[BUCKET_FOREIGN] = 0;
	for (k = 0; k < sizeof(states); k++) {
		const char *go = states[k] == BUCKET_ADOPTING ? ado : none;

		for (; used[states[k]]; used[states[k]] &= used[states[k]] - 1) {
			id = mask_lowest(used[states[k]]);
			if (build_peer(s, id))
				continue;
			element(b, s, i, states[k], id, go);
			element_mid(b, s, i, states[k], id, "check");
		}
	}
}

void build_actions(struct rules_mk *b, unsigned int i, const struct rules_service *s, int ifindex)
{
	char name[OBJ_NAME], old4[OBJ_NAME] = "check", old6[OBJ_NAME];
	const char *old = old4;
	unsigned int k;

	mk_chain(b, NAME(name, i, "mine"));
	mk_rule(b);
	build_accept(b, i);
	element(b, s, i, BUCKET_MINE, NOBODY, name);
	element_mid(b, s, i, BUCKET_MINE, NOBODY, name);
	mk_chain(b, NAME(name, i, "none"));
	start(b, true);
	build_drop(b, i);
	tcp_goes(b, "check");
	start(b, false);
	build_drop(b, i);
	element(b, s, i, BUCKET_LEAVING, NOBODY, name);
	element(b, s, i, BUCKET_ARRIVING, NOBODY, name);
	element_mid(b, s, i, BUCKET_LEAVING, NOBODY, "check");
	element_mid(b, s, i, BUCKET_ARRIVING, NOBODY, "check");
	if (build_handed(s) && draining_differs(s)) {
		element(b, s, i, BUCKET_DRAINING, NOBODY, name);
		element_mid(b, s, i, BUCKET_DRAINING, NOBODY, "check");
	}
	if (build_has_old(s)) {
		old_chain(b, i, s, true);
		old_chain(b, i, s, false);
		NAME(old4, i, "old4");
		old = NAME(old6, i, "old6");
	}
	adopting_chain(b, i, NAME(name, i, "ado0"), old4, old);
	element(b, s, i, BUCKET_ADOPTING, NOBODY, name);
	element_mid(b, s, i, BUCKET_ADOPTING, NOBODY, "check");
	for (k = 0; k < s->n_peers; k++)
		if (build_ways(s, &s->peer[k]))
			peer_chains(b, i, s, &s->peer[k], ifindex);
	unknown_elements(b, i, s);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netdev clusterd: services whose scheduler is not the hash.  The owner of a bucket is the director
 * of its flows: it says which node serves each one, and remembers it in a map, sI_fm4 and sI_fm6
 * (client . port . VIP . port . protocol -> node).  What a peer hands over to a node that is not
 * the director is final.
 *
 *   sI_find     (called) a flow of the map, TCP or UDP: renew it, go to its node; else come back
 *   sI_lose     (called) the map forgets the flow, if it has it
 *   sI_new      a node for a new flow.  Probability: a random slot of sI_w, remembered; least-conn:
 *               QUEUE
 *   sI_take     SYN: lose it; remember this node, accept
 *   sI_final    SYN (lose it) or not TCP: accept; other TCP: CHECK
 *
 *                            new                          mid-stream
 *   sI_dmine     find, else  sI_new                       CHECK, else to the queue: clusterd asks
 *   sI_dado<to>  find, else  sI_new                       sI_chk<to>
 *   sI_dto<to>   from <to>   SYN: lose it; accept         find unless it says <to>, else CHECK
 *                else        SYN: lose it; fwd to         find, else sI_chk<to>; flood: CHECK
 *   sI_ddra<to>  flood only; from <to> as sI_dto, else drop: <to> has a copy of its own
 *   sI_darr<to>  from <to>   sI_take                      CHECK
 *                else        fwd to                       sI_chk<to>; both: drop in flood
 *   sI_dfor<to>  from a peer: sI_final, else fwd to; flood: drop
 *   sI_dnone     <to> not known: drop; find, else CHECK
 *
 * No circles: a director's choice is final with everybody but the former and the future director of
 * the bucket, and those two never give back to each other what they got from each other.
 *
 * The map outlives connections by far, and clients use their ports again: a SYN that another director
 * has decided about, or is going to, leaves nothing here of what was decided before.  When this node
 * directs the flow, now or later, its packets would go to the node of then and end there.
 *
 * Fragments go to userspace whole (sI_g instead of sI_a): behind the queue they are one datagram
 * again.
 *
 * A new flow is remembered for a minute only, so that a flood of SYNs cannot fill the map for an
 * hour; the first packet that follows makes it a whole life.  When the map is full new flows are
 * not remembered: mid-stream packets then find their node by asking.
 */
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "core/sched.h"
#include "io/rules_build.h"
#include "io/rules_sched.h"

enum { KEY = REG(0), NODE = REG(12) };	/* registers: the key takes up to 11 */

/* Behind the 8 bytes of the ICMP header: the packet that we had sent (as in rules_icmp.c). */
enum {
	IN4_PROTO = 17, IN4_SADDR = 20, IN4_DADDR = 24, IN4_SPORT = 28, IN4_DPORT = 30,
	IN6_PROTO = 14, IN6_SADDR = 16, IN6_DADDR = 32, IN6_SPORT = 48, IN6_DPORT = 50,
};

static const char *numbered(char *buf, unsigned int i, const char *what, unsigned int id)
{
	snprintf(buf, OBJ_NAME, "s%u_%s%u", i, what, id);
	return buf;
}

static const char *map_name(char *buf, unsigned int i, bool v4)
{
	return numbered(buf, i, "fm", v4 ? 4 : 6);
}

static uint8_t proto_reg(bool v4)
{
	return REG(v4 ? 4 : 10);
}

/* The key of the map, from the packet: later fragments have no ports and end the rule. */
static void load_key(struct rules_mk *b, bool v4)
{
	uint8_t size = v4 ? 4 : 16, words = v4 ? 1 : 4;

	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_SADDR : IP6_SADDR, size, KEY);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_SPORT, 2, (uint8_t)(KEY + words));
	mk_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IP4_DADDR : IP6_DADDR, size,
		   (uint8_t)(KEY + words + 1));
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, (uint8_t)(KEY + 2 * words + 1));
	mk_meta(b, NFT_META_L4PROTO, proto_reg(v4));
}

/* The key of the flow that an ICMP error is about. */
static void load_inner_key(struct rules_mk *b, bool v4)
{
	uint8_t size = v4 ? 4 : 16, words = v4 ? 1 : 4, th = NFT_PAYLOAD_TRANSPORT_HEADER;

	mk_payload(b, th, v4 ? IN4_DADDR : IN6_DADDR, size, KEY);
	mk_payload(b, th, v4 ? IN4_DPORT : IN6_DPORT, 2, (uint8_t)(KEY + words));
	mk_payload(b, th, v4 ? IN4_SADDR : IN6_SADDR, size, (uint8_t)(KEY + words + 1));
	mk_payload(b, th, v4 ? IN4_SPORT : IN6_SPORT, 2, (uint8_t)(KEY + 2 * words + 1));
	mk_payload(b, th, v4 ? IN4_PROTO : IN6_PROTO, 1, proto_reg(v4));
}

/* Node of the flow -> mark.  nft dies of a map within a map, so the node travels in the mark. */
static void node_to_mark(struct rules_mk *b, unsigned int i, bool v4)
{
	struct rules_expr e = { .op = EXPR_MAP, .reg = KEY, .reg2 = NODE };
	char name[OBJ_NAME];

	mk_set_name(&e, map_name(name, i, v4));
	mk_expr(b, &e);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK, .reg = NODE });
}

static void remember(struct rules_mk *b, unsigned int i, bool v4, uint32_t ms)
{
	char name[OBJ_NAME];

	mk_meta(b, NFT_META_MARK, NODE);
	mk_dynset(b, map_name(name, i, v4), KEY, NODE, ms);
}

static void is_ip(struct rules_mk *b, bool v4)
{
	mk_is_protocol(b, v4 ? ETH_P_IP : ETH_P_IPV6);
}

static void call(struct rules_mk *b, const char *chain)
{
	struct rules_expr e = { .op = EXPR_VERDICT, .key = (uint32_t)NFT_JUMP };

	mk_set_name(&e, chain);
	mk_expr(b, &e);
}

static void go_to_node(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	mk_meta(b, NFT_META_MARK, REG(0));
	mk_lookup(b, EXPR_VMAP, REG(0), NAME(name, i, "n"));
}

static void tcp(struct rules_mk *b)
{
	mk_rule(b);
	mk_is_l4proto(b, IPPROTO_TCP);
}

static void syn(struct rules_mk *b)
{
	mk_rule(b);
	build_syn(b);
}

static void go(struct rules_mk *b, const char *to)
{
	mk_rule(b);
	mk_go(b, to);
}

static void drop(struct rules_mk *b, unsigned int i)
{
	mk_rule(b);
	build_drop(b, i);
}

/* ---- helpers' chains ---- */

static void lose(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];

	call(b, NAME(name, i, "lose"));
}

/* The kernel wants data here too, as for "update"; whatever is in the mark. */
static void lose_chain(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];
	unsigned int v;

	mk_chain(b, NAME(name, i, "lose"));
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_key(b, !v);
		mk_meta(b, NFT_META_MARK, NODE);
		mk_dynset_delete(b, map_name(name, i, !v), KEY, NODE);
	}
}

static void find_chains(struct rules_mk *b, unsigned int i)
{
	static const struct { uint8_t proto; uint32_t ms; } life[] = {
		{ IPPROTO_TCP, RULES_FLOW_TCP_MS }, { IPPROTO_UDP, RULES_FLOW_UDP_MS },
	};
	char name[OBJ_NAME], hit[OBJ_NAME];
	unsigned int v, k;

	mk_chain(b, NAME(name, i, "find"));
	for (v = 0; v < 2; v++)
		for (k = 0; k < 2; k++) {
			mk_rule(b);
			is_ip(b, !v);
			load_key(b, !v);
			mk_cmp8(b, proto_reg(!v), life[k].proto);
			node_to_mark(b, i, !v);
			remember(b, i, !v, life[k].ms);
			mk_go(b, NAME(hit, i, "hit"));
		}
	/* A node that is no more: forgotten, and back to whoever called. */
	mk_chain(b, NAME(hit, i, "hit"));
	mk_rule(b);
	go_to_node(b, i);
	mk_rule(b);
	lose(b, i);
}

/* A client uses its port again, and the node of then gets nothing new. */
static void fresh_chains(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME], gone[OBJ_NAME];
	unsigned int v;

	NAME(gone, i, "gone");
	mk_chain(b, gone);
	mk_rule(b);
	lose(b, i);
	go(b, NAME(name, i, "new"));
	mk_chain(b, NAME(name, i, "fresh"));
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_key(b, !v);
		node_to_mark(b, i, !v);
		mk_meta(b, NFT_META_MARK, REG(0));
		mk_lookup(b, EXPR_LOOKUP, REG(0), NAME(name, i, "z"));
		mk_go(b, gone);
	}
}

static void error_chain(struct rules_mk *b, unsigned int i)
{
	char name[OBJ_NAME];
	unsigned int v;

	mk_chain(b, NAME(name, i, "derr"));
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_inner_key(b, !v);
		node_to_mark(b, i, !v);
		go_to_node(b, i);
	}
	go(b, "check");
}

static void to_queue(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	mk_rule(b);
	if (w->n_queues)
		mk_to_stack(b, RULES_MARK_QUEUE | RULES_MARK_SERVICE(i));
	else
		build_drop(b, i);
}

static void new_chain(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	struct rules_expr slot = { .op = EXPR_MAP, .reg = REG(0), .reg2 = NODE };
	char name[OBJ_NAME];
	unsigned int v;

	mk_chain(b, NAME(name, i, "new"));
	if (w->service[i].conf->sched == SCHED_LEAST_CONN) {
		to_queue(b, w, i);
		return;
	}
	mk_rule(b);
	mk_random(b, SCHED_SLOTS, REG(0));
	mk_set_name(&slot, NAME(name, i, "w"));
	mk_expr(b, &slot);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK, .reg = NODE });
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_key(b, !v);
		remember(b, i, !v, RULES_FLOW_NEW_MS);
	}
	/* Another CPU may have been faster: what the map says counts. */
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_key(b, !v);
		node_to_mark(b, i, !v);
	}
	mk_rule(b);
	go_to_node(b, i);
	drop(b, i);
}

static void take_chains(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	char name[OBJ_NAME], mine[OBJ_NAME];
	uint32_t self = w->self;
	unsigned int v;

	NAME(mine, i, "mine");
	mk_chain(b, NAME(name, i, "take"));
	syn(b);
	lose(b, i);	/* an update renews what is there, and changes nothing */
	mk_rule(b);
	mk_set_mark(b, self);
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_key(b, !v);
		remember(b, i, !v, RULES_FLOW_NEW_MS);
	}
	go(b, mine);

	mk_chain(b, NAME(name, i, "final"));
	syn(b);
	lose(b, i);
	syn(b);
	mk_go(b, mine);
	tcp(b);
	mk_go(b, "check");
	go(b, mine);
}

/* ---- what a bucket's state means ---- */

static void elem(struct rules_mk *b, const struct rules_service *s, unsigned int i,
		 enum bucket_state state, unsigned int to, const char *whole, const char *fragments)
{
	uint32_t code = rules_code(s, &(struct bucket_action){ (uint8_t)state, (uint8_t)to });
	char name[OBJ_NAME];

	mk_elem(b, NAME(name, i, "a"), &code, 4, whole);
	mk_elem(b, NAME(name, i, "g"), &code, 4, fragments);
}

static void elem_error(struct rules_mk *b, const struct rules_service *s, unsigned int i,
		       enum bucket_state state, unsigned int to, const char *go_to)
{
	uint32_t code = rules_code(s, &(struct bucket_action){ (uint8_t)state, (uint8_t)to });
	char name[OBJ_NAME];

	if (build_handed(s))
		mk_elem(b, NAME(name, i, "m"), &code, 4, go_to);
}

static void director_chains(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	const struct rules_service *s = &w->service[i];
	uint32_t ask = RULES_MARK_CHECK | RULES_MARK_SERVICE(i) |
		       (w->n_queues ? RULES_MARK_NODE(RULES_NODE_QUEUE) : 0);
	char name[OBJ_NAME], frag[OBJ_NAME], to[OBJ_NAME];

	mk_chain(b, NAME(frag, i, "dfrag"));
	to_queue(b, w, i);
	mk_chain(b, NAME(name, i, "dmine"));
	syn(b);
	call(b, NAME(to, i, "fresh"));
	mk_rule(b);
	call(b, NAME(to, i, "find"));
	syn(b);
	mk_go(b, NAME(to, i, "new"));
	tcp(b);
	mk_to_stack(b, ask);
	go(b, to);
	elem(b, s, i, BUCKET_MINE, NOBODY, name, frag);
	elem(b, s, i, BUCKET_ADOPTING, NOBODY, name, frag);
	NAME(to, i, "derr");
	elem_error(b, s, i, BUCKET_MINE, NOBODY, to);
	elem_error(b, s, i, BUCKET_ADOPTING, NOBODY, to);

	mk_chain(b, NAME(name, i, "dnone"));
	syn(b);
	build_drop(b, i);
	tcp(b);
	call(b, NAME(to, i, "find"));
	tcp(b);
	mk_go(b, "check");
	drop(b, i);
	elem(b, s, i, BUCKET_LEAVING, NOBODY, name, name);
	elem(b, s, i, BUCKET_ARRIVING, NOBODY, name, name);
	elem_error(b, s, i, BUCKET_LEAVING, NOBODY, "check");
	elem_error(b, s, i, BUCKET_ARRIVING, NOBODY, "check");
}

/* Rules: packets that 'p' itself handed over go 'to'. */
static void from_goes(struct rules_mk *b, unsigned int i, const struct rules_service *s,
		      const struct rules_peer *p, const char *to)
{
	for (unsigned int k = 0; k < build_ways(s, p); k++) {
		mk_rule(b);
		build_from(b, i, s, p, k);
		mk_go(b, to);
	}
}

static void adopting_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			   const struct rules_peer *p)
{
	char name[OBJ_NAME], to[OBJ_NAME];

	mk_chain(b, numbered(name, i, "dado", p->id));
	syn(b);
	call(b, NAME(to, i, "fresh"));
	mk_rule(b);
	call(b, NAME(to, i, "find"));
	syn(b);
	mk_go(b, NAME(to, i, "new"));
	tcp(b);
	mk_go(b, numbered(to, i, "chk", p->id));
	go(b, NAME(to, i, "new"));
	elem(b, s, i, BUCKET_ADOPTING, p->id, name, NAME(to, i, "dfrag"));
	elem_error(b, s, i, BUCKET_ADOPTING, p->id, NAME(to, i, "derr"));
}

/* What the new director hands back: chosen for us, or known to us as the old director. */
static void back_chain(struct rules_mk *b, unsigned int i, const struct rules_peer *p)
{
	char name[OBJ_NAME], to[OBJ_NAME];
	unsigned int v;

	NAME(to, i, "mine");
	mk_chain(b, numbered(name, i, "back", p->id));
	syn(b);
	lose(b, i);
	syn(b);
	mk_go(b, to);
	for (v = 0; v < 2; v++) {
		mk_rule(b);
		is_ip(b, !v);
		load_key(b, !v);
		mk_cmp8(b, proto_reg(!v), IPPROTO_TCP);
		node_to_mark(b, i, !v);
		mk_is_mark(b, p->id);
		mk_go(b, "check");
	}
	tcp(b);
	call(b, NAME(name, i, "find"));
	tcp(b);
	mk_go(b, "check");
	go(b, to);
}

static void leaving_chains(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			   const struct rules_peer *p)
{
	char name[OBJ_NAME], back[OBJ_NAME], fwd[OBJ_NAME], to[OBJ_NAME];

	back_chain(b, i, p);
	numbered(back, i, "back", p->id);
	mk_chain(b, numbered(name, i, "dto", p->id));
	from_goes(b, i, s, p, back);
	syn(b);
	lose(b, i);
	syn(b);
	mk_go(b, numbered(fwd, i, "fwd", p->id));
	tcp(b);
	call(b, NAME(to, i, "find"));
	tcp(b);
	mk_go(b, build_handed(s) ? numbered(to, i, "chk", p->id) : "check");
	go(b, fwd);
	elem(b, s, i, BUCKET_LEAVING, p->id, name, name);
	elem_error(b, s, i, BUCKET_LEAVING, p->id, NAME(to, i, "derr"));
	if (build_handed(s))
		return;		/* draining has the same code */
	mk_chain(b, numbered(name, i, "ddra", p->id));
	from_goes(b, i, s, p, back);
	drop(b, i);
	elem(b, s, i, BUCKET_DRAINING, p->id, name, name);
}

static void arriving_chains(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			    const struct rules_peer *p)
{
	char name[OBJ_NAME], got[OBJ_NAME], fwd[OBJ_NAME], to[OBJ_NAME];

	mk_chain(b, numbered(got, i, "got", p->id));
	syn(b);
	mk_go(b, NAME(to, i, "take"));
	tcp(b);
	mk_go(b, "check");
	go(b, to);

	mk_chain(b, numbered(name, i, "darr", p->id));
	from_goes(b, i, s, p, got);
	if (build_handed(s)) {
		syn(b);
		mk_go(b, numbered(fwd, i, "fwd", p->id));
		tcp(b);
		mk_go(b, numbered(to, i, "chk", p->id));
		go(b, fwd);
	} else {
		drop(b, i);
	}
	elem(b, s, i, BUCKET_ARRIVING, p->id, name, name);
	elem_error(b, s, i, BUCKET_ARRIVING, p->id, numbered(to, i, "chk", p->id));
}

static void foreign_chain(struct rules_mk *b, unsigned int i, const struct rules_service *s,
			  const struct rules_peer *p)
{
	char name[OBJ_NAME], to[OBJ_NAME];

	mk_chain(b, numbered(name, i, "dfor", p->id));
	from_goes(b, i, s, NULL, NAME(to, i, "final"));
	if (build_handed(s))
		go(b, numbered(to, i, "fwd", p->id));
	else
		drop(b, i);
	elem(b, s, i, BUCKET_FOREIGN, p->id, name, name);
	if (!build_handed(s))
		return;
	mk_chain(b, numbered(to, i, "dfer", p->id));
	from_goes(b, i, s, NULL, "check");
	go(b, numbered(name, i, "fwd", p->id));
	elem_error(b, s, i, BUCKET_FOREIGN, p->id, to);
}

/* Buckets with a 'to' that is no peer: elements only, as far as there are such buckets. */
static void unknown_elements(struct rules_mk *b, unsigned int i, const struct rules_service *s)
{
	uint64_t used[BUCKET_STATES_N] = { 0 };
	char none[OBJ_NAME], mine[OBJ_NAME], frag[OBJ_NAME], final[OBJ_NAME], err[OBJ_NAME];
	unsigned int state, id;
	uint32_t n;

	for (n = 0; n < s->buckets; n++) {
		const struct bucket_action *a = &s->action[n];

		if (a->to >= 1 && a->to <= NODES_MAX && a->state < BUCKET_STATES_N)
			used[a->state] |= node_bit(a->to);
	}
	if (build_handed(s)) {		/* one code for both */
		used[BUCKET_LEAVING] |= used[BUCKET_DRAINING];
		used[BUCKET_DRAINING] = 0;
	}
	used[BUCKET_MINE] = 0;
	NAME(none, i, "dnone");
	NAME(mine, i, "dmine");
	NAME(frag, i, "dfrag");
	NAME(final, i, "dfor0");
	NAME(err, i, "derr");
	mk_chain(b, final);
	from_goes(b, i, s, NULL, NAME(final, i, "final"));
	drop(b, i);
	NAME(final, i, "dfor0");
	for (state = 0; state < BUCKET_STATES_N; state++)
		for (; used[state]; used[state] &= used[state] - 1) {
			bool adopting = state == BUCKET_ADOPTING;
			const char *to = adopting ? mine : state == BUCKET_FOREIGN ? final : none;

			id = mask_lowest(used[state]);
			if (build_peer(s, id))
				continue;
			elem(b, s, i, (enum bucket_state)state, id, to, adopting ? frag : to);
			elem_error(b, s, i, (enum bucket_state)state, id, adopting ? err : "check");
		}
}

/* ---- maps ---- */

static void node_map(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	const struct rules_service *s = &w->service[i];
	char name[OBJ_NAME], to[OBJ_NAME];
	uint32_t id = w->self;
	unsigned int k;

	mk_map(b, NAME(name, i, "n"), TYPE_MARK, 4, DATA_VERDICT);
	mk_elem(b, name, &id, 4, NAME(to, i, "mine"));
	for (k = 0; k < s->n_peers; k++) {
		if (!build_ways(s, &s->peer[k]))
			continue;
		id = s->peer[k].id;
		mk_elem(b, name, &id, 4, numbered(to, i, "fwd", id));
	}
}

/* sI_z: nodes that get nothing new, as far as they are there. */
static void idle_set(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	const struct rules_service *s = &w->service[i];
	char name[OBJ_NAME];
	uint32_t id;

	mk_set(b, NAME(name, i, "z"), TYPE_MARK, 4);
	for (id = 1; id <= NODES_MAX; id++)
		if (!s->weight[id] && (id == w->self || build_peer(s, id)))
			mk_elem_once(b, name, &id, 4);
}

static void slot_map(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	const struct rules_service *s = &w->service[i];
	uint16_t weight[NODES_MAX + 1];
	uint8_t slot[SCHED_SLOTS];
	char name[OBJ_NAME];
	unsigned int id;
	uint32_t k;

	memcpy(weight, s->weight, sizeof(weight));
	for (id = 0; id <= NODES_MAX; id++)
		if (id != w->self && !(id && build_peer(s, id)))
			weight[id] = 0;
	mk_map(b, NAME(name, i, "w"), TYPE_MARK, 4, TYPE_MARK);
	if (!b->p->failed)
		b->p->obj[b->p->n_obj - 1].u.set.size = SCHED_SLOTS;
	if (!sched_slots(weight, slot))
		return;		/* no node may get new flows: no slot, dropped */
	for (k = 0; k < SCHED_SLOTS; k++)
		mk_elem_number(b, name, &k, 4, slot[k]);
}

#define TYPE_FLOW(address) \
	(TYPE_CONCAT4(address, TYPE_SERVICE, address, TYPE_SERVICE) << 6 | TYPE_PROTO)

void build_sched(struct rules_mk *b, const struct rules_want *w, unsigned int i)
{
	const struct rules_service *s = &w->service[i];
	char name[OBJ_NAME];
	unsigned int k;

	mk_dynamic(b, map_name(name, i, true), TYPE_FLOW(TYPE_IPADDR), RULES_FLOW_KEY4, TYPE_MARK,
		   RULES_FLOWS_MAX, RULES_FLOW_NEW_MS);
	mk_dynamic(b, map_name(name, i, false), TYPE_FLOW(TYPE_IP6ADDR), RULES_FLOW_KEY6, TYPE_MARK,
		   RULES_FLOWS_MAX, RULES_FLOW_NEW_MS);
	mk_map(b, NAME(name, i, "g"), TYPE_MARK, 4, DATA_VERDICT);
	node_map(b, w, i);
	idle_set(b, w, i);
	if (s->conf->sched == SCHED_PROBABILITY)
		slot_map(b, w, i);
	lose_chain(b, i);
	find_chains(b, i);
	fresh_chains(b, i);
	error_chain(b, i);
	new_chain(b, w, i);
	take_chains(b, w, i);
	director_chains(b, w, i);
	for (k = 0; k < s->n_peers; k++) {
		if (!build_ways(s, &s->peer[k]))
			continue;
		adopting_chain(b, i, s, &s->peer[k]);
		leaving_chains(b, i, s, &s->peer[k]);
		arriving_chains(b, i, s, &s->peer[k]);
		foreign_chain(b, i, s, &s->peer[k]);
	}
	unknown_elements(b, i, s);
}

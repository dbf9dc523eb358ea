/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The kernels: who accepts what at this instant, which connections exist, and the promises.
 * A bucket is looked at again whenever anything changes that could change the answer: a table, a
 * lease's begin or end.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

bool kernel_leased(const struct sim *s, const struct node *n)
{
	return n->table && n->klease_end > s->now;
}

static enum bucket_state state_of(const struct sim *s, const struct node *n, unsigned int service,
				  uint32_t key)
{
	return (enum bucket_state)packet_action(s, n, service, key).state;
}

/* Every node gets its own copy. */
static uint64_t flood_acceptors(const struct sim *s, unsigned int service, uint32_t key)
{
	uint64_t mask = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		const struct node *n = &s->node[i], *to;
		struct bucket_action a = packet_action(s, n, service, key), b;

		if (!kernel_leased(s, n) || n->k[service].freeze)
			continue;
		switch ((enum bucket_state)a.state) {
		case BUCKET_MINE:
		case BUCKET_ADOPTING:
			mask |= node_bit(i);
			break;
		case BUCKET_LEAVING:
			to = &s->node[a.to];
			if (to->id == NOBODY || !s->path[i][to->id] || !kernel_leased(s, to))
				break;
			b = packet_action(s, to, service, key);
			if (b.state == BUCKET_ARRIVING && b.to == i)
				mask |= node_bit(to->id);
			break;
		case BUCKET_FOREIGN:
		case BUCKET_ARRIVING:
		case BUCKET_DRAINING:
		case BUCKET_STATES_N:
			break;
		}
	}
	return mask;
}

/* 'lost': there is a front whose SYNs come to nothing. */
static uint64_t handed_acceptors(struct sim *s, unsigned int service, uint32_t key, bool *lost)
{
	uint64_t mask = 0;

	*lost = false;
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct walk w;

		if (!s->node[i].table)
			continue;
		w = packet_walk(s, service, key, i, NOBODY);
		if (w.fate == FATE_SERVED)
			mask |= node_bit(w.at);
		else if (w.fate == FATE_DROPPED && packet_front(s, &s->node[i]))
			*lost = true;
	}
	return mask;
}

/* Nodes at which a new connection would end up that starts now. */
uint64_t kernel_acceptors(struct sim *s, unsigned int service, uint32_t key)
{
	bool lost;

	return s->handed >> service & 1 ? handed_acceptors(s, service, key, &lost) :
					  flood_acceptors(s, service, key);
}

static void describe(const struct sim *s, unsigned int service, uint32_t b, char *out, size_t size)
{
	size_t n = 0;

	*out = 0;
	for (unsigned int i = 1; i <= s->p.n_nodes && n + 40 < size; i++) {
		const struct node *k = &s->node[i];

		if (k->table)
			n += (size_t)snprintf(out + n, size - n, " n%u:%s%u%s%s", i,
					      bucket_state_str(state_of(s, k, service, b)),
					      packet_action(s, k, service, b).to,
					      k->k[service].freeze ? "(frozen)" : "",
					      kernel_leased(s, k) ? "" : "(unleased)");
	}
}

/* ---- connections ---- */

static bool flow_serves(enum bucket_state st)
{
	return st != BUCKET_FOREIGN;
}

/* A packet in the middle of 'f': 0 served, 1 not answered, 2 reset by another node. */
static int flow_flooded(const struct sim *s, const struct flow *f)
{
	const struct node *h = &s->node[f->holder];

	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (i != f->holder && kernel_leased(s, &s->node[i]) &&
		    state_of(s, &s->node[i], f->service, f->key) == BUCKET_MINE)
			return 2;
	return kernel_leased(s, h) && flow_serves(state_of(s, h, f->service, f->key)) ? 0 : 1;
}

/* From whichever front it comes. */
static int flow_handed(struct sim *s, const struct flow *f)
{
	int worst = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct walk w;

		if (!s->node[i].table)
			continue;
		w = packet_walk(s, f->service, f->key, i, f->holder);
		if (w.fate == FATE_RESET)
			return 2;
		if (w.fate == FATE_DROPPED && packet_front(s, &s->node[i]))
			worst = 1;
	}
	return worst;
}

static int flow_state(struct sim *s, const struct flow *f)
{
	return s->handed >> f->service & 1 ? flow_handed(s, f) : flow_flooded(s, f);
}

static void check_flows(struct sim *s, unsigned int service, uint32_t b)
{
	for (struct flow **p = &s->flows[service][b]; *p; ) {
		struct flow *f = *p;
		int st = flow_state(s, f);
		enum flow_rule rule = f->forced ? FLOW_ANY : s->node[f->holder].flow_rule;

		/* An heir's: not all fronts may know it yet. */
		if (st == 1 && s->handed >> service & 1 && s->gap_limit[service][b] && !s->strict)
			rule = FLOW_NO_RESET;

		if ((st == 2 && rule != FLOW_ANY) || (st == 1 && rule == FLOW_STRICT)) {
			char text[200];

			describe(s, service, b, text, sizeof(text));
			sim_fail(s, f->holder, "connection %u of bucket %u/%u %s:%s", f->id, service, b,
				 st == 2 ? "is reset" : "is not served", text);
		}
		if (st != 2) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		free(f);
		s->n_flows--;
		s->n_resets++;
	}
}

/* Where a SYN ends up; handed: one that comes in at any node whose kernel has tables. */
static unsigned int syn_ends(struct sim *s, unsigned int service, uint32_t key)
{
	unsigned int front = (unsigned int)(s->rng2 >> 33) % s->p.n_nodes + 1;
	struct walk w;

	s->rng2 = s->rng2 * UINT64_C(6364136223846793005) + 1442695040888963407;
	if (!(s->handed >> service & 1))
		return mask_lowest(kernel_acceptors(s, service, key));
	for (unsigned int i = 0; i < s->p.n_nodes && !s->node[front].table; i++)
		front = front % s->p.n_nodes + 1;
	w = packet_walk(s, service, key, front, NOBODY);
	return w.fate == FATE_SERVED ? w.at : NOBODY;
}

void flow_on_syn(struct sim *s)
{
	unsigned int service = (unsigned int)rnd_in(s, 0, s->p.n_services - 1);
	uint32_t b = (uint32_t)rnd_in(s, 0, s->p.keys - 1);
	unsigned int to = syn_ends(s, service, b);
	int64_t life = rnd_in(s, 1, s->p.flow_mean) + rnd_in(s, 1, s->p.flow_mean);
	struct flow *f;

	if (s->no_syn)
		return;
	post(s, s->now + rnd_in(s, 1, 2 * s->p.syn_every), EV_SYN, 0, 0, 0, NULL);
	s->n_syns++;
	if (!to) {
		s->n_lost_syns++;
		return;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		abort();
	f->id = ++s->next_flow;
	f->service = (uint8_t)service;
	f->key = b;
	f->holder = (uint8_t)to;
	f->next = s->flows[service][b];
	s->flows[service][b] = f;
	s->n_flows++;
	post(s, s->now + life, EV_FLOW_END, 0, 0, (uint64_t)f->id << 32 | service << 16 | b, NULL);
}

/* Removes the flows that the caller means. */
static void flow_remove(struct sim *s, struct flow **p, unsigned int holder, uint32_t id)
{
	while (*p) {
		struct flow *f = *p;

		if ((holder && f->holder == holder) || (id && f->id == id) || (!holder && !id)) {
			*p = f->next;
			free(f);
			s->n_flows--;
		} else {
			p = &f->next;
		}
	}
}

void flow_on_end(struct sim *s, uint64_t id)
{
	flow_remove(s, &s->flows[id >> 16 & 0xffff][id & 0xffff], 0, (uint32_t)(id >> 32));
}

void flow_drop_node(struct sim *s, unsigned int node)
{
	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.keys; b++)
			flow_remove(s, &s->flows[v][b], node, 0);
}

void flow_drop_all(struct sim *s)
{
	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.keys; b++)
			flow_remove(s, &s->flows[v][b], 0, 0);
}

static void unmix_forced(struct sim *s, unsigned int node)
{
	const struct repl *r = agent_repl(s->node[node].agent);
	const struct layout *l = repl_layout(r);

	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t k = 0; k < s->p.keys; k++)
			for (struct flow *f = s->flows[v][k]; f; f = f->next)
				if (f->holder == node && node !=
				    repl_get_bucket(r, v, key_bucket(s, l->buckets, l->hash[v], k))->owner)
					f->forced = true;
}

/* Its drain_timeout is over: these connections may be cut. */
void flow_forced(struct sim *s, unsigned int node, const struct msg *m)
{
	const struct layout *l = repl_layout(agent_repl(s->node[node].agent));
	unsigned int v = m->u.drained.service;

	if (m->type == MSG_UNMIXED && m->u.unmixed.forced)
		unmix_forced(s, node);
	if (m->type != MSG_DRAINED || !m->u.drained.forced || v >= s->p.n_services)
		return;
	for (uint32_t b = 0; b < s->p.keys; b++) {
		uint32_t k = key_bucket(s, l->buckets, l->hash[v], b);

		if (m->u.drained.bitmap[k / 8] >> k % 8 & 1)
			for (struct flow *f = s->flows[v][b]; f; f = f->next)
				if (f->holder == node)
					f->forced = true;
	}
}

/* ---- the promises ---- */

void kernel_check(struct sim *s, unsigned int service, uint32_t b)
{
	bool lost = false;
	uint64_t mask = s->handed >> service & 1 ? handed_acceptors(s, service, b, &lost) :
						   flood_acceptors(s, service, b);
	bool gap = lost || !mask;
	int64_t *since = &s->gap_since[service][b];
	char text[300];

	if (mask & (mask - 1) && !s->p.ignore_quorum) {
		describe(s, service, b, text, sizeof(text));
		sim_fail(s, 0, "bucket %u/%u is accepted by two nodes:%s", service, b, text);
	}
	if (s->must_own[service][b] && mask && !mask_has(mask, s->must_own[service][b])) {
		describe(s, service, b, text, sizeof(text));
		sim_fail(s, 0, "bucket %u/%u left node %u without need:%s", service, b,
			 s->must_own[service][b], text);
	}
	if (gap && !*since) {
		*since = s->now;
		if (s->gaps_watched && s->gap_limit[service][b] == 0) {
			describe(s, service, b, text, sizeof(text));
			sim_fail(s, 0, "bucket %u/%u is not accepted any more:%s", service, b, text);
		}
	} else if (!gap && *since) {
		int64_t lasted = s->now - *since;

		*since = 0;
		if (s->gaps_watched && s->gap_limit[service][b] >= 0 && lasted > s->worst_gap)
			s->worst_gap = lasted;
	}
	if (s->flows[service][b])
		check_flows(s, service, b);
}

static bool answered(const struct sim *s, unsigned int vip)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (kernel_leased(s, &s->node[i]) && s->node[i].held >> vip & 1)
			return true;
	return false;
}

static void check_holders(struct sim *s)
{
	for (unsigned int v = 0; v < s->n_vips; v++) {
		int64_t *since = &s->unheld_since[v];

		if (answered(s, v))
			*since = 0;
		else if (!*since)
			*since = s->now;
		if (s->gaps_watched && s->unheld_limit >= 0 && *since && s->now - *since > s->unheld_limit)
			sim_fail(s, 0, "nobody has answered for VIP %u for %lld ms", v,
				 (long long)(s->now - *since) / 1000);
	}
}

void kernel_check_all(struct sim *s)
{
	check_holders(s);
	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.keys; b++)
			kernel_check(s, v, b);
}

/* Every millisecond: what has been unaccepted for too long by now. */
void kernel_check_gaps(struct sim *s)
{
	if (!s->gaps_watched)
		return;
	check_holders(s);
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		for (uint32_t b = 0; b < s->p.keys; b++) {
			int64_t limit = s->gap_limit[v][b], since = s->gap_since[v][b];
			char text[300];

			if (limit < 0 || !since || s->now - since <= limit)
				continue;
			describe(s, v, b, text, sizeof(text));
			sim_fail(s, 0, "bucket %u/%u has not been accepted for %lld ms:%s", v, b,
				 (long long)(s->now - since) / 1000, text);
		}
	}
}

/*
 * From now on: the buckets of 'owners' may be unaccepted for at most 'limit', those of all others
 * for no moment.  'same_owner': those others do not move either.  limit <0: stops watching.
 */
void kernel_watch_gaps(struct sim *s, int64_t limit, uint64_t owners, bool same_owner)
{
	s->gaps_watched = limit >= 0;
	/* Where a VIP moves, nobody may answer for it for a moment: clients know the answer by now. */
	s->unheld_limit = limit + 60 * MS;
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		for (uint32_t b = 0; b < s->p.keys; b++) {
			uint64_t mask = kernel_acceptors(s, v, b);
			bool affected = mask & owners || !mask;

			s->gap_limit[v][b] = affected ? limit : 0;
			s->must_own[v][b] = (uint8_t)(limit < 0 || affected || !same_owner
						      ? 0 : mask_lowest(mask));
		}
	}
}

/* ---- the lease ---- */

bool kernel_renew(struct sim *s, struct node *n, int64_t ms, bool start)
{
	bool had = kernel_leased(s, n);
	int64_t local = node_local(n, s->now) + ms * 1000;

	if (!start && !had)
		return false;
	/* The transaction takes a moment; the timer fires early rather than late. */
	n->klease_end = node_global(n, local) + rnd_in(s, 0, 300) - rnd_in(s, 0, 4000);
	post(s, n->klease_end, EV_KLEASE_END, n->id, n->life, 0, NULL);
	if (!had)
		kernel_check_all(s);
	return true;
}

void kernel_end(struct sim *s, struct node *n)
{
	if (n->klease_end > s->now)
		n->klease_end = s->now;
	kernel_check_all(s);
}

/* The sockets are closed: owned tables go with them. */
void kernel_vanish(struct sim *s, struct node *n)
{
	n->table = n->installing = false;
	n->klease_end = 0;
	memset(n->k, 0, sizeof(n->k));
	n->held = 0;
	kernel_check_all(s);
}

/* ---- the table ---- */

static uint32_t chunk_of(struct sim *s)
{
	/* Mostly one transaction; or a few; or, the worst case, bucket by bucket. */
	uint32_t all = s->p.buckets * s->p.n_services;

	switch (rnd(s) % 4) {
	case 0:
		return all / 16 ? all / 16 : 1;
	case 1:
		return all / 3;
	default:
		return all;
	}
}

static void compile(struct sim *s, struct node *n, unsigned int v, struct ktable *t)
{
	const struct repl *r = agent_repl(n->agent);
	const struct layout *l = repl_layout(r), *old = repl_old_layout(r);

	memset(t, 0, sizeof(*t));
	if (l->buckets > SIM_BUCKETS)
		sim_fail(s, n->id, "a layout of %u buckets", l->buckets);
	t->buckets = l->buckets;
	t->hash = l->hash[v];
	t->freeze = repl_freeze(r);
	compile_service(r, v, n->id, agent_lost(n->agent), t->act);
	if (!old)
		return;
	t->old_buckets = old->buckets;
	t->old_hash = old->hash[v];
	memcpy(t->old_owner, repl_old_owner(r, v), old->buckets);
}

void kernel_install(struct sim *s, struct node *n)
{
	if (n->installing || !agent_wants_install(n->agent))
		return;
	for (unsigned int v = 0; v < s->p.n_services; v++)
		compile(s, n, v, &n->next[v]);
	n->next_held = 0;
	for (unsigned int v = 0; v < s->n_vips; v++)
		if (repl_holder(agent_repl(n->agent), v, agent_lost(n->agent)) == n->id)
			n->next_held |= 1u << v;
	n->installing = true;
	n->install_version = agent_version(n->agent);
	n->install_pos = 0;
	n->install_step = chunk_of(s);
	post(s, s->now + rnd_in(s, 300, rnd_chance(s, 100) ? 15 * MS : 3 * MS), EV_INSTALL, n->id,
	     n->life, 0, NULL);
}

/* What goes for a service as a whole; with another layout all buckets are exchanged at once. */
static void install_service(struct sim *s, struct node *n, unsigned int v)
{
	struct ktable *t = &n->k[v], *next = &n->next[v];
	bool other = t->buckets != next->buckets || t->hash != next->hash;

	if (!other && t->freeze == next->freeze && t->old_buckets == next->old_buckets)
		return;
	if (other) {
		*t = *next;
	} else {
		t->freeze = next->freeze;
		t->old_buckets = next->old_buckets;
		t->old_hash = next->old_hash;
		memcpy(t->old_owner, next->old_owner, sizeof(t->old_owner));
	}
	for (uint32_t k = 0; k < s->p.keys; k++)
		kernel_check(s, v, k);
}

static void check_bucket(struct sim *s, const struct node *n, unsigned int v, uint32_t b)
{
	const struct ktable *t = &n->k[v];

	if (s->p.keys == t->buckets && !t->hash) {
		kernel_check(s, v, b);
		return;
	}
	for (uint32_t k = 0; k < s->p.keys; k++)
		if (key_bucket(s, t->buckets, t->hash, k) == b)
			kernel_check(s, v, k);
}

void kernel_on_install(struct sim *s, struct node *n)
{
	uint32_t buckets = n->next[0].buckets, all = buckets * s->p.n_services;
	uint32_t end = n->install_pos + n->install_step;

	if (n->install_pos == 0) {
		n->held = n->next_held;
		for (unsigned int v = 0; v < s->p.n_services; v++)
			install_service(s, n, v);
		check_holders(s);
	}
	for (; n->install_pos < all && n->install_pos < end; n->install_pos++) {
		/* an odd stride: the mix of old and new is not just "first half, second half" */
		uint32_t at = (uint32_t)((uint64_t)n->install_pos * 37 % all);
		unsigned int v = at / buckets;
		uint32_t b = at % buckets;

		if (!memcmp(&n->k[v].act[b], &n->next[v].act[b], sizeof(n->k[v].act[b])))
			continue;
		n->k[v].act[b] = n->next[v].act[b];
		check_bucket(s, n, v, b);
	}
	if (n->install_pos < all) {
		post(s, s->now + rnd_in(s, 50, 1200), EV_INSTALL, n->id, n->life, 0, NULL);
		return;
	}
	/* The acknowledgement is read a little later. */
	if (n->install_pos == all) {
		n->install_pos++;
		post(s, s->now + rnd_in(s, 50, 1000), EV_INSTALL, n->id, n->life, 0, NULL);
		return;
	}
	n->installing = false;
	trace(s, n->id, "installed version %llu", (unsigned long long)n->install_version);
	agent_installed(n->agent, n->install_version, node_ms(s, n));
	node_settle(s, n);
}

/* ---- counting flows ---- */

void kernel_count(struct sim *s, struct node *n)
{
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		uint8_t *wanted;

		if (n->counting[v])
			continue;
		wanted = calloc(1, SIM_BUCKETS / 8);
		if (!wanted)
			abort();
		if (!agent_count_wanted(n->agent, v, wanted, node_ms(s, n))) {
			free(wanted);
			continue;
		}
		n->counting[v] = true;
		n->count_layout[v] = *repl_layout(agent_repl(n->agent));
		/* first the dump is taken, at some moment; later it has been read */
		post(s, s->now + rnd_in(s, 100, 5 * MS), EV_COUNTED, n->id, n->life, v, wanted);
	}
}

void kernel_on_counted(struct sim *s, struct node *n, unsigned int service, uint8_t *p)
{
	bool dumped = service & 0x100;

	service &= 0xff;
	if (!dumped) {
		const struct layout *l = &n->count_layout[service];

		for (uint32_t k = 0; k < s->p.keys; k++)
			for (const struct flow *f = s->flows[service][k]; f; f = f->next) {
				uint32_t b = key_bucket(s, l->buckets, l->hash[service], k);

				if (f->holder == n->id)
					p[b / 8] &= (uint8_t)~(1 << b % 8);
			}
		post(s, s->now + rnd_in(s, 100, 5 * MS), EV_COUNTED, n->id, n->life, service | 0x100, p);
		return;
	}
	n->counting[service] = false;
	agent_counted(n->agent, service, p, node_ms(s, n));
	free(p);
	node_settle(s, n);
}

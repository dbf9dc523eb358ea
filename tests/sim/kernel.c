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

static enum bucket_state state_of(const struct node *n, unsigned int service, uint32_t b)
{
	return (enum bucket_state)n->act[service][b].state;
}

/* Nodes at which a new connection would end up that starts now. */
uint64_t kernel_acceptors(const struct sim *s, unsigned int service, uint32_t b)
{
	uint64_t mask = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		const struct node *n = &s->node[i], *to;

		if (!kernel_leased(s, n))
			continue;
		switch (state_of(n, service, b)) {
		case BUCKET_MINE:
		case BUCKET_ADOPTING:
			mask |= node_bit(i);
			break;
		case BUCKET_LEAVING:
			to = &s->node[n->act[service][b].to];
			if (to->id == NOBODY || !s->path[i][to->id] || !kernel_leased(s, to))
				break;
			if (state_of(to, service, b) == BUCKET_ARRIVING)
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

static void describe(const struct sim *s, unsigned int service, uint32_t b, char *out, size_t size)
{
	size_t n = 0;

	*out = 0;
	for (unsigned int i = 1; i <= s->p.n_nodes && n + 40 < size; i++) {
		const struct node *k = &s->node[i];

		if (k->table)
			n += (size_t)snprintf(out + n, size - n, " n%u:%s%s", i,
					      bucket_state_str(state_of(k, service, b)),
					      kernel_leased(s, k) ? "" : "(unleased)");
	}
}

/* ---- connections ---- */

static bool flow_serves(enum bucket_state st)
{
	return st != BUCKET_FOREIGN;
}

/* A packet in the middle of 'f': 0 served, 1 not answered, 2 reset by another node. */
static int flow_state(const struct sim *s, const struct flow *f)
{
	const struct node *h = &s->node[f->holder];

	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (i != f->holder && kernel_leased(s, &s->node[i]) &&
		    state_of(&s->node[i], f->service, f->bucket) == BUCKET_MINE)
			return 2;
	return kernel_leased(s, h) && flow_serves(state_of(h, f->service, f->bucket)) ? 0 : 1;
}

static void check_flows(struct sim *s, unsigned int service, uint32_t b)
{
	for (struct flow **p = &s->flows[service][b]; *p; ) {
		struct flow *f = *p;
		int st = flow_state(s, f);
		enum flow_rule rule = f->forced ? FLOW_ANY : s->node[f->holder].flow_rule;

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

void flow_on_syn(struct sim *s)
{
	unsigned int service = (unsigned int)rnd_in(s, 0, s->p.n_services - 1);
	uint32_t b = (uint32_t)rnd_in(s, 0, s->p.buckets - 1);
	uint64_t to = kernel_acceptors(s, service, b);
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
	f->bucket = b;
	f->holder = (uint8_t)mask_lowest(to);
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
		for (uint32_t b = 0; b < s->p.buckets; b++)
			flow_remove(s, &s->flows[v][b], node, 0);
}

void flow_drop_all(struct sim *s)
{
	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.buckets; b++)
			flow_remove(s, &s->flows[v][b], 0, 0);
}

/* Its drain_timeout is over: these connections may be cut. */
void flow_forced(struct sim *s, unsigned int node, const struct msg *m)
{
	unsigned int v = m->u.drained.service;

	if (!m->u.drained.forced || v >= s->p.n_services)
		return;
	for (uint32_t b = 0; b < s->p.buckets; b++)
		if (m->u.drained.bitmap[b / 8] >> b % 8 & 1)
			for (struct flow *f = s->flows[v][b]; f; f = f->next)
				if (f->holder == node)
					f->forced = true;
}

/* ---- the promises ---- */

void kernel_check(struct sim *s, unsigned int service, uint32_t b)
{
	uint64_t mask = kernel_acceptors(s, service, b);
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
	if (!mask && !*since) {
		*since = s->now;
		if (s->gaps_watched && s->gap_limit[service][b] == 0) {
			describe(s, service, b, text, sizeof(text));
			sim_fail(s, 0, "bucket %u/%u is not accepted any more:%s", service, b, text);
		}
	} else if (mask && *since) {
		int64_t gap = s->now - *since;

		*since = 0;
		if (s->gaps_watched && s->gap_limit[service][b] >= 0 && gap > s->worst_gap)
			s->worst_gap = gap;
	}
	if (s->flows[service][b])
		check_flows(s, service, b);
}

void kernel_check_all(struct sim *s)
{
	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.buckets; b++)
			kernel_check(s, v, b);
}

/* Every millisecond: what has been unaccepted for too long by now. */
void kernel_check_gaps(struct sim *s)
{
	if (!s->gaps_watched)
		return;
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		for (uint32_t b = 0; b < s->p.buckets; b++) {
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
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		for (uint32_t b = 0; b < s->p.buckets; b++) {
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
	memset(n->act, 0, sizeof(n->act));
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

void kernel_install(struct sim *s, struct node *n)
{
	if (n->installing || !agent_wants_install(n->agent))
		return;
	for (unsigned int v = 0; v < s->p.n_services; v++)
		compile_service(agent_repl(n->agent), v, n->id, agent_lost(n->agent), n->next[v]);
	n->installing = true;
	n->install_version = agent_version(n->agent);
	n->install_pos = 0;
	n->install_step = chunk_of(s);
	post(s, s->now + rnd_in(s, 300, rnd_chance(s, 100) ? 15 * MS : 3 * MS), EV_INSTALL, n->id,
	     n->life, 0, NULL);
}

void kernel_on_install(struct sim *s, struct node *n)
{
	uint32_t all = s->p.buckets * s->p.n_services, end = n->install_pos + n->install_step;

	for (; n->install_pos < all && n->install_pos < end; n->install_pos++) {
		/* an odd stride: the mix of old and new is not just "first half, second half" */
		uint32_t at = (uint32_t)((uint64_t)n->install_pos * 37 % all);
		unsigned int v = at / s->p.buckets;
		uint32_t b = at % s->p.buckets;

		if (!memcmp(&n->act[v][b], &n->next[v][b], sizeof(n->act[v][b])))
			continue;
		n->act[v][b] = n->next[v][b];
		kernel_check(s, v, b);
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
		wanted = calloc(1, s->p.buckets / 8);
		if (!wanted)
			abort();
		if (!agent_count_wanted(n->agent, v, wanted, node_ms(s, n))) {
			free(wanted);
			continue;
		}
		n->counting[v] = true;
		/* first the dump is taken, at some moment; later it has been read */
		post(s, s->now + rnd_in(s, 100, 5 * MS), EV_COUNTED, n->id, n->life, v, wanted);
	}
}

void kernel_on_counted(struct sim *s, struct node *n, unsigned int service, uint8_t *p)
{
	bool dumped = service & 0x100;

	service &= 0xff;
	if (!dumped) {
		for (uint32_t b = 0; b < s->p.buckets; b++)
			for (const struct flow *f = s->flows[service][b]; f; f = f->next)
				if (f->holder == n->id)
					p[b / 8] &= (uint8_t)~(1 << b % 8);
		post(s, s->now + rnd_in(s, 100, 5 * MS), EV_COUNTED, n->id, n->life, service | 0x100, p);
		return;
	}
	n->counting[service] = false;
	agent_counted(n->agent, service, p, node_ms(s, n));
	free(p);
	node_settle(s, n);
}

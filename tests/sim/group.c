/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Corosync and its closed process groups, as measured (DESIGN, facts) and as totem promises:
 *
 *  - One total order per ring.  A process's join and leave are messages in that order, too.
 *  - Any broken path inside a ring takes the token away: nothing is ordered any more, until either
 *    the path heals or, token + consensus later, every component forms a ring of its own.
 *  - Nodes that go together from one ring to the next deliver the same messages before it.  Of
 *    messages from nodes that do not come along, each part may have got others.
 *  - A component where not everybody reaches everybody forms no ring: either all of it stalls, or
 *    (sim_params.flap) rings of those that do reach each other come and go.
 *  - A view that removes and adds processes comes as two views, the smaller one first.
 */

#include <stdlib.h>
#include <string.h>

#include "core/agent_priv.h"
#include "sim.h"
#include "wire/msg.h"

static bool conn(const struct sim *s, unsigned int a, unsigned int b)
{
	return s->node[a].corosync && s->node[b].corosync &&
	       (a == b || (s->path[a][b] && s->path[b][a]));
}

static bool clique(const struct sim *s, uint64_t set)
{
	for (uint64_t x = set; x; x &= x - 1)
		for (uint64_t y = x & (x - 1); y; y &= y - 1)
			if (!conn(s, mask_lowest(x), mask_lowest(y)))
				return false;
	return true;
}

static bool intact(const struct sim *s, const struct ring *r)
{
	if (r->ghosts || !clique(s, r->nodes))
		return false;
	return mask_count(r->nodes) > 1 || s->node[mask_lowest(r->nodes)].corosync;
}

static struct entry *entry_new(enum entry_type type, unsigned int from, size_t size)
{
	struct entry *e = calloc(1, sizeof(*e) + size);

	if (!e)
		abort();
	e->type = type;
	e->from = (uint8_t)from;
	e->size = size;
	e->refs = 1;
	return e;
}

static void entry_put(struct entry *e)
{
	if (e && --e->refs == 0)
		free(e);
}

/* ---- delivery: ring -> a node's corosync -> its process ---- */

static void read_soon(struct sim *s, struct node *n, struct entry *e)
{
	fifo_push(&n->queue, e);
	if (n->running)
		post(s, s->now, EV_CONSUME, n->id, n->life, 0, NULL);
	else
		entry_put(fifo_pop(&n->queue));
}

static void deliver(struct sim *s, struct node *n, struct entry *e, int64_t t)
{
	struct inbox *in = malloc(sizeof(*in));

	if (!in)
		abort();
	if (t < n->deliver_t)
		t = n->deliver_t;
	n->deliver_t = t;
	*in = (struct inbox){ .e = e, .t = t };
	e->refs++;
	fifo_push(&n->inbox, in);
	post(s, t, EV_DELIVER, n->id, n->coro_life, 0, NULL);
}

static void deliver_first(struct sim *s, struct node *n)
{
	struct inbox *in = fifo_pop(&n->inbox);

	if (in->e->index > n->delivered)
		n->delivered = in->e->index;
	if (n->cpg_joined)
		read_soon(s, n, in->e);
	else
		entry_put(in->e);
	free(in);
}

void group_on_deliver(struct sim *s, struct node *n)
{
	while (n->inbox.n && ((struct inbox *)fifo_at(&n->inbox, 0))->t <= s->now)
		deliver_first(s, n);
}

static void consume_msg(struct sim *s, struct node *n, const struct entry *e)
{
	struct msg m;

	if (msg_decode(&m, CLUSTER, e->data, e->size) != 0 || m.from != e->from)
		sim_fail(s, n->id, "a message of node %u does not decode", e->from);
	/* A pointer into the message must not outlive the call. */
	uint8_t *copy = malloc(e->size);

	if (!copy)
		abort();
	memcpy(copy, e->data, e->size);
	msg_decode(&m, CLUSTER, copy, e->size);
	agent_message(n->agent, &m, node_ms(s, n));
	memset(copy, 0xee, e->size);
	free(copy);
}

static void check_digest(struct sim *s, struct node *n)
{
	const struct repl *r = agent_repl(n->agent);
	struct agent_status st;
	struct digest_seen d = { .view = n->tail ? n->tail : n->view, .epoch = repl_epoch(r), .lineage = repl_lineage(r),
				 .digest = repl_digest(r) };

	if (!repl_valid(r))
		sim_fail(s, n->id, "invalid replicated state (epoch %llu)",
			 (unsigned long long)d.epoch);
	agent_get_status(n->agent, &st);
	/* Before the exchange has decided, its old state is not refuted yet, and not acted upon. */
	if (!st.synced || !n->view_majority || !exchange_settled(n->agent))
		return;
	for (unsigned int i = s->n_digests; i-- > 0 && s->n_digests - i < 500; ) {
		const struct digest_seen *o = &s->digests[i];

		if (o->view != d.view || o->epoch != d.epoch || o->lineage != d.lineage)
			continue;
		if (o->digest != d.digest)
			sim_fail(s, n->id, "another digest at epoch %llu of view %u than a peer",
				 (unsigned long long)d.epoch, d.view);
		return;
	}
	if (s->n_digests == s->size_digests) {
		s->size_digests = s->size_digests ? 2 * s->size_digests : 1024;
		s->digests = realloc(s->digests, s->size_digests * sizeof(*s->digests));
		if (!s->digests)
			abort();
	}
	s->digests[s->n_digests++] = d;
}

/* The process reads what its corosync has for it. */
void group_consume(struct sim *s, struct node *n)
{
	struct entry *e;

	while ((e = fifo_pop(&n->queue))) {
		switch (e->type) {
		case ENTRY_MSG:
			consume_msg(s, n, e);
			break;
		case ENTRY_VIEW:
			trace(s, n->id, "view %u members %llx crashed %llx", e->view,
			      (unsigned long long)e->members, (unsigned long long)e->crashed);
			n->view = e->view;
			if (!n->tail_open)
				n->tail = 0;
			n->view_majority = 2 * mask_count(e->members) > s->p.n_nodes;
			agent_view(n->agent, e->members, e->crashed, node_ms(s, n));
			break;
		case ENTRY_UP:
			agent_group_up(n->agent, node_ms(s, n));
			break;
		case ENTRY_DOWN:
			trace(s, n->id, "group down");
			n->view_majority = false;
			agent_group_down(n->agent, node_ms(s, n));
			break;
		case ENTRY_TAIL:
			if (e->view)
				n->tail = e->view;
			n->tail_open = e->view != 0;
			break;
		case ENTRY_JOIN:
		case ENTRY_LEAVE:
			abort();
		}
		entry_put(e);
		check_digest(s, n);
	}
	node_settle(s, n);
}

/* ---- order ---- */

static void push_all(struct sim *s, struct ring *r, uint64_t to, struct entry *e, int64_t spread)
{
	for (uint64_t x = to & r->nodes; x; x &= x - 1) {
		struct node *n = &s->node[mask_lowest(x)];

		if (n->ring == r)
			deliver(s, n, e, s->now + rnd_in(s, 100, spread));
	}
}

static void order_in(struct sim *s, struct ring *r, struct entry *e)
{
	if (e->type == ENTRY_JOIN || e->type == ENTRY_LEAVE) {
		uint64_t bit = node_bit(e->from), before = r->procs;
		struct entry *v;

		if (!(before & bit) == (e->type == ENTRY_LEAVE)) {
			entry_put(e);	/* a ring formed meanwhile took it into account */
			return;
		}
		v = entry_new(ENTRY_VIEW, e->from, 0);
		r->procs = e->type == ENTRY_JOIN ? r->procs | bit : r->procs & ~bit;
		r->proc_life[e->from] = s->node[e->from].join_life;
		v->members = r->procs;
		v->crashed = e->type == ENTRY_LEAVE ? bit & before : 0;
		v->view = r->view = ++s->next_view;
		v->index = ++r->n_ordered;
		s->n_views++;
		push_all(s, r, r->procs, v, 1500);
		entry_put(v);
		entry_put(e);
		return;
	}
	e->index = ++r->n_ordered;
	push_all(s, r, r->procs, e, rnd_chance(s, 20) ? 10 * MS : 900);
	entry_put(e);
}

void group_on_order(struct sim *s, struct node *n, struct entry *e)
{
	if (n->ring->stalled)
		fifo_push(&n->ring->held, e);
	else
		order_in(s, n->ring, e);
}

/* Hands 'e' to the node's corosync; what one process sends stays in order. */
static void submit(struct sim *s, struct node *n, struct entry *e)
{
	int64_t t = s->now + rnd_in(s, 100, rnd_chance(s, 50) ? 5000 : 1000);

	if (t < n->order_t)
		t = n->order_t;
	n->order_t = t;
	post(s, t, EV_ORDER, n->id, n->coro_life, 0, e);
}

void group_send(struct sim *s, struct node *n, const struct msg *m)
{
	static uint8_t buf[MSG_SIZE_MAX];
	size_t size = msg_encode(m, CLUSTER, buf, sizeof(buf));
	struct entry *e;

	if (!size || m->from != n->id)
		sim_fail(s, n->id, "message %s cannot be encoded", msg_type_str(m->type));
	if (!n->cpg_joined)
		return;
	trace(s, n->id, "sends %s", msg_type_str(m->type));
	e = entry_new(ENTRY_MSG, n->id, size);
	memcpy(e->data, buf, size);
	submit(s, n, e);
}

/* ---- processes come and go ---- */

void group_connect_later(struct sim *s, struct node *n)
{
	if (!n->running || !n->corosync || n->cpg_joined || n->connecting)
		return;
	n->connecting = true;
	/* At start at once, later it may be in the middle of a pause between two tries. */
	post(s, s->now + rnd_in(s, MS, n->was_connected ? 2 * SEC : 50 * MS), EV_CONNECT, n->id,
	     n->life, 0, NULL);
}

void group_on_connect(struct sim *s, struct node *n)
{
	n->connecting = false;
	if (!n->corosync || n->cpg_joined)
		return;
	n->cpg_joined = n->was_connected = true;
	n->join_life = n->life;
	read_soon(s, n, entry_new(ENTRY_UP, n->id, 0));
	submit(s, n, entry_new(ENTRY_JOIN, n->id, 0));
}

/* The corosync of that node notices that its client is gone. */
void group_proc_gone(struct sim *s, struct node *n)
{
	if (!n->cpg_joined)
		return;
	n->cpg_joined = false;
	submit(s, n, entry_new(ENTRY_LEAVE, n->id, 0));
	group_connect_later(s, n);	/* a new process may have been faster */
}

static void inbox_clear(struct node *n)
{
	struct inbox *in;

	while ((in = fifo_pop(&n->inbox))) {
		entry_put(in->e);
		free(in);
	}
}

static struct ring *ring_new(struct sim *s, uint64_t nodes)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->id = ++s->next_ring;
	r->nodes = nodes;
	r->next = s->rings;
	s->rings = r;
	return r;
}

static void ring_free(struct ring *r)
{
	struct entry *e;

	while ((e = fifo_pop(&r->held)))
		entry_put(e);
	free(r->held.p);
	free(r);
}

/* Rings without a node left in them. */
static void rings_sweep(struct sim *s)
{
	for (struct ring **p = &s->rings; *p; ) {
		struct ring *r = *p;
		bool used = false;

		for (unsigned int i = 1; i <= s->p.n_nodes; i++)
			used |= s->node[i].ring == r;
		if (used) {
			p = &r->next;
		} else {
			*p = r->next;
			ring_free(r);
		}
	}
}

void corosync_start(struct sim *s, struct node *n)
{
	if (n->corosync || !n->power)
		return;
	trace(s, n->id, "corosync starts");
	n->corosync = true;
	n->coro_life++;
	n->order_t = n->deliver_t = 0;
	n->delivered = 0;
	n->ring = ring_new(s, node_bit(n->id));
	group_connect_later(s, n);
	group_topology(s);
}

void corosync_die(struct sim *s, struct node *n)
{
	if (!n->corosync)
		return;
	trace(s, n->id, "FAULT corosync dies");
	n->corosync = false;
	n->coro_life++;
	inbox_clear(n);
	n->ring->ghosts |= node_bit(n->id);
	n->ring = NULL;
	if (n->cpg_joined && n->running)
		read_soon(s, n, entry_new(ENTRY_DOWN, n->id, 0));
	n->cpg_joined = false;
	rings_sweep(s);
	group_topology(s);
}

/* ---- rings ---- */

void group_topology(struct sim *s)
{
	post(s, s->now + rnd_in(s, 0, 3 * MS), EV_STALL, 0, 0, 0, NULL);
	post(s, s->now + rnd_in(s, 10 * MS, 50 * MS), EV_REFORM, 0, 0, 0, NULL);
	post(s, s->now + rnd_in(s, 100 * MS, 1600 * MS), EV_REFORM, 0, 0, 1, NULL);
	post(s, s->now + s->p.token + s->p.consensus + rnd_in(s, 10 * MS, 40 * MS), EV_REFORM, 0, 0,
	     1, NULL);
}

void group_on_stall(struct sim *s)
{
	for (struct ring *r = s->rings; r; r = r->next) {
		if (intact(s, r)) {
			r->broken_since = 0;
		} else {
			if (!r->broken_since)
				r->broken_since = s->now;
			r->stalled = true;
		}
	}
}

static void resume(struct sim *s, struct ring *r)
{
	struct entry *e;

	r->stalled = false;
	r->broken_since = 0;
	while ((e = fifo_pop(&r->held)))
		order_in(s, r, e);
}

static void mark_tail(struct sim *s, struct node *n, uint32_t tail)
{
	struct entry *mark;

	if (!n->cpg_joined)
		return;
	mark = entry_new(ENTRY_TAIL, 0, 0);
	mark->view = tail;
	read_soon(s, n, mark);
}

/* What part 'p' of the old ring still delivers in it. */
static void flush_part(struct sim *s, struct ring *r, uint64_t p)
{
	uint32_t delivered = 0;
	uint64_t coin = rnd(s);

	for (uint64_t x = p; x; x &= x - 1) {
		const struct node *n = &s->node[mask_lowest(x)];

		if (n->delivered > delivered)
			delivered = n->delivered;
	}
	uint32_t tail = ++s->next_view;

	for (uint64_t x = p; x; x &= x - 1) {
		struct node *n = &s->node[mask_lowest(x)];
		unsigned int left = n->inbox.n;

		/* From here on parts may differ: a view of their own for the comparison of digests. */
		mark_tail(s, n, tail);
		while (left--) {
			struct inbox *in = fifo_at(&n->inbox, 0);
			const struct entry *e = in->e;

			if (e->index <= delivered || mask_has(p, e->from) ||
			    e->type == ENTRY_VIEW || coin >> e->index % 64 & 1) {
				deliver_first(s, n);
				continue;
			}
			trace(s, n->id, "never gets message %u of node %u", e->index, e->from);
			fifo_pop(&n->inbox);
			entry_put(in->e);
			free(in);
		}
		mark_tail(s, n, 0);
	}
}

static void push_view(struct sim *s, struct ring *r, uint64_t to, uint64_t members, uint64_t crashed,
		      uint32_t view)
{
	struct entry *v = entry_new(ENTRY_VIEW, 0, 0);

	v->members = members;
	v->crashed = crashed;
	v->view = view;
	for (uint64_t x = to; x; x &= x - 1)
		deliver(s, &s->node[mask_lowest(x)], v, s->now + rnd_in(s, 0, 30 * MS));
	entry_put(v);
	s->n_views++;
}

/* The messages that the part's senders have not got rid of go along, or are lost. */
static void take_held(struct sim *s, struct ring *from, uint64_t p, struct ring *to, bool may_lose)
{
	unsigned int n = from->held.n;

	while (n--) {
		struct entry *e = fifo_pop(&from->held);

		if (!mask_has(p, e->from)) {
			fifo_push(&from->held, e);
		} else if (e->type != ENTRY_MSG || (may_lose && rnd_chance(s, 100))) {
			trace(s, e->from, "message is lost at the view change");
			entry_put(e);
		} else {
			fifo_push(&to->held, e);
		}
	}
}

static void form(struct sim *s, uint64_t target)
{
	struct ring *n = ring_new(s, target);
	uint64_t procs = 0;

	for (uint64_t x = target; x; x &= x - 1)
		if (s->node[mask_lowest(x)].cpg_joined)
			procs |= x & -x;
	for (uint64_t x = procs; x; x &= x - 1)
		n->proc_life[mask_lowest(x)] = s->node[mask_lowest(x)].join_life;
	n->procs = procs;
	n->view = ++s->next_view;
	for (uint64_t todo = target; todo; ) {
		struct ring *r = s->node[mask_lowest(todo)].ring;
		uint64_t p = 0, stay, left, joined;

		for (uint64_t x = todo; x; x &= x - 1)
			if (s->node[mask_lowest(x)].ring == r)
				p |= x & -x;
		todo &= ~p;
		flush_part(s, r, p);
		for (uint64_t x = p; x; x &= x - 1) {
			s->node[mask_lowest(x)].ring = n;
			s->node[mask_lowest(x)].delivered = 0;
		}
		stay = r->procs & p & procs;
		for (uint64_t x = stay; x; x &= x - 1)	/* another process there is another member */
			if (r->proc_life[mask_lowest(x)] != n->proc_life[mask_lowest(x)])
				stay &= ~(x & -x);
		left = r->procs & ~stay;
		joined = procs & ~stay;
		r->ghosts |= p;
		take_held(s, r, p, n, left || joined);
		if (left && joined)
			push_view(s, n, stay, stay, left & p, ++s->next_view);
		if (left || joined)
			push_view(s, n, procs & p, procs, joined ? 0 : left & p, n->view);
	}
	trace(s, 0, "ring of %llx, processes %llx", (unsigned long long)target,
	      (unsigned long long)procs);
	rings_sweep(s);
	resume(s, n);
}

static uint64_t component(const struct sim *s, unsigned int i)
{
	uint64_t c = node_bit(i), old;

	do {
		old = c;
		for (uint64_t x = old; x; x &= x - 1)
			for (unsigned int j = 1; j <= s->p.n_nodes; j++)
				if (conn(s, mask_lowest(x), j))
					c |= node_bit(j);
	} while (c != old);
	return c;
}

/* Nobody is missing in 'target' who was lost less than token + consensus ago. */
static bool loss_confirmed(struct sim *s, uint64_t target)
{
	for (uint64_t x = target; x; x &= x - 1) {
		const struct ring *r = s->node[mask_lowest(x)].ring;
		int64_t due;

		if (!(r->nodes & ~target))
			continue;
		if (!r->broken_since && s->p.flap)
			continue;	/* somebody's join message reached it */
		if (!r->broken_since)
			return false;
		due = r->broken_since + s->p.token + s->p.consensus;
		if (s->now < due) {
			post(s, due + rnd_in(s, 10 * MS, 40 * MS), EV_REFORM, 0, 0, 1, NULL);
			return false;
		}
	}
	return true;
}

static void reform_to(struct sim *s, uint64_t target, bool merge)
{
	struct ring *r = s->node[mask_lowest(target)].ring;

	if (r->nodes == target && !r->ghosts) {
		if (r->stalled)
			resume(s, r);
		return;
	}
	if (merge && loss_confirmed(s, target))
		form(s, target);
}

/* A random set of nodes of 'c' who all reach each other. */
static uint64_t random_clique(struct sim *s, uint64_t c)
{
	uint64_t set = 0;

	for (unsigned int k = 0; k < 4 * s->p.n_nodes + 16; k++) {
		unsigned int i = (unsigned int)rnd_in(s, 1, s->p.n_nodes);

		if (mask_has(c, i) && clique(s, set | node_bit(i)))
			set |= node_bit(i);
	}
	return set ? set : c & -c;
}

void group_on_reform(struct sim *s)
{
	uint64_t todo = 0;

	group_on_stall(s);
	for (struct ring *r = s->rings; r; r = r->next)
		if (r->stalled && intact(s, r))
			resume(s, r);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (s->node[i].corosync)
			todo |= node_bit(i);
	while (todo) {
		uint64_t c = component(s, mask_lowest(todo));

		todo &= ~c;
		if (clique(s, c)) {
			reform_to(s, c, true);
			continue;
		}
		if (!s->p.flap || s->now < s->next_flap)
			continue;
		s->next_flap = s->now + rnd_in(s, 200 * MS, 800 * MS);
		while (c) {
			uint64_t part = random_clique(s, c);

			reform_to(s, part, true);
			c &= ~part;
		}
		if (!s->reform_posted) {
			s->reform_posted = true;
			post(s, s->now + rnd_in(s, 300 * MS, 2500 * MS), EV_REFORM, 0, 0, 2, NULL);
		}
	}
}

void group_free(struct sim *s)
{
	while (s->rings) {
		struct ring *r = s->rings;

		s->rings = r->next;
		ring_free(r);
	}
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct entry *e;

		inbox_clear(&s->node[i]);
		while ((e = fifo_pop(&s->node[i].queue)))
			entry_put(e);
		free(s->node[i].inbox.p);
		free(s->node[i].queue.p);
	}
}

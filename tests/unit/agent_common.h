/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_AGENT_COMMON_H
#define TESTS_UNIT_AGENT_COMMON_H

/* One to three agents on a bus, with fake lease machines and kernels. */

#include "core/agent.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_MAX 3
#define BUCKETS 64
#define QUEUE 256
#define STEP_MS 10

/* A message on the bus, with copies of what it borrowed, and those who are to get it. */
struct letter {
	struct msg m;
	uint64_t to;
	uint8_t data[SNAP_CHUNK];
};

/* One node: an agent, and fakes for its lease machine and its kernel. */
struct box {
	unsigned int id;
	struct agent *a;
	struct agent_params p;
	uint64_t view;			/* members, as the bus sees it; 0: down */
	uint32_t lease_term;		/* admitted; 0: none */
	uint32_t peer_term[N_MAX + 1];	/* LCMD_SET_PEER */
	uint64_t dead;
	bool no_lease, no_install, no_discard;
	unsigned int n_sent[MSG_TYPES_N], n_cmd[LCMD_CLEARED + 1];
	struct msg last[MSG_TYPES_N];
	struct lease_cmd last_cmd[LCMD_CLEARED + 1];
	unsigned int n_event;
	char events[64][32];
	struct agent_event about[64];	/* theirs; name and text are gone */
	bool stopped;
	uint8_t flows[BUCKETS / 4];	/* bit set: the kernel has live flows of that bucket */
};

static struct box box[N_MAX + 1];
static struct letter *queue;
static unsigned int n_queued, n_nodes;
static bool held;		/* the bus delivers nothing */
static int64_t now;

/* ---- the world around an agent ---- */

static inline void on_send(void *arg, const struct msg *m)
{
	struct box *x = arg;
	struct letter *l = &queue[n_queued++];

	assert_true(n_queued <= QUEUE);
	assert_int_equal(m->from, x->id);
	x->n_sent[m->type]++;
	x->last[m->type] = *m;
	l->m = *m;
	l->to = x->view;
	if (m->type == MSG_SNAP) {
		memcpy(l->data, m->u.snap.data, m->u.snap.size);
		l->m.u.snap.data = l->data;
	} else if (m->type == MSG_DRAINED) {
		memcpy(l->data, m->u.drained.bitmap, m->u.drained.size);
		l->m.u.drained.bitmap = l->data;
	} else if (m->type == MSG_IDLE) {
		memcpy(l->data, m->u.idle.bitmap, m->u.idle.size);
		l->m.u.idle.bitmap = l->data;
	}
}

static inline void fenced(struct box *x)
{
	struct lease_event e = { .type = LEASE_EV_FENCED, .node = (uint8_t)x->id, .term = x->lease_term };

	if (!x->lease_term)
		return;
	x->lease_term = 0;
	agent_lease_event(x->a, &e, now);
}

static inline void leased(struct box *x)
{
	struct lease_event e = { .type = LEASE_EV_LEASED, .node = (uint8_t)x->id, .term = x->lease_term };

	agent_lease_event(x->a, &e, now);
}

/* Commands are answered after the call in which they came, as the other thread does. */
static struct { struct box *x; struct lease_cmd c; } todo[QUEUE];
static unsigned int n_todo;

static inline void on_lease(void *arg, const struct lease_cmd *c)
{
	struct box *x = arg;

	x->n_cmd[c->type]++;
	x->last_cmd[c->type] = *c;
	assert_true(n_todo < QUEUE);
	todo[n_todo].x = x;
	todo[n_todo++].c = *c;
	/* Promise: a term starts only on the table that goes with it. */
	if (c->type == LCMD_ADMIT)
		assert_false(agent_wants_install(x->a));
}

static inline void run_commands(void)
{
	for (unsigned int i = 0; i < n_todo; i++) {
		struct box *x = todo[i].x;
		struct lease_cmd c = todo[i].c;

		switch (c.type) {
		case LCMD_SET_PEER:
			x->peer_term[c.node] = c.term;
			break;
		case LCMD_DEAD:
			x->dead = c.mask;
			break;
		case LCMD_ADMIT:
			x->lease_term = c.term;
			if (!x->no_lease)
				leased(x);
			break;
		case LCMD_FENCE:
			fenced(x);
			break;
		case LCMD_DISCARD:
			agent_discarded(x->a, &c, !x->no_discard, now);
			break;
		case LCMD_CLEARED:
			break;
		}
	}
	n_todo = 0;
}

static inline void on_event(void *arg, const struct agent_event *e)
{
	struct box *x = arg;

	assert_true(e->text[0] && !strchr(e->text, '\n'));
	assert_true(e->node <= N_MAX && e->by <= N_MAX && e->service >= -1 && e->service < 1);
	x->about[x->n_event % 64] = *e;
	snprintf(x->events[x->n_event++ % 64], sizeof(x->events[0]), "%s", e->name);
}

static inline void on_stopped(void *arg)
{
	((struct box *)arg)->stopped = true;
}

static const struct agent_ops ops = { on_send, on_lease, on_event, on_stopped };

static inline bool saw(const struct box *x, const char *name)
{
	for (unsigned int i = 0; i < 64; i++)
		if (!strcmp(x->events[i], name))
			return true;
	return false;
}

/* How often that event was seen, of those that are still remembered; '*last': the latest. */
static inline unsigned int events_of(const struct box *x, const char *name, struct agent_event *last)
{
	unsigned int n = 0;

	*last = (struct agent_event){ .service = -1 };
	for (unsigned int i = x->n_event > 64 ? x->n_event - 64 : 0; i < x->n_event; i++)
		if (!strcmp(x->events[i % 64], name)) {
			n++;
			*last = x->about[i % 64];
		}
	return n;
}

/* ---- the bus ---- */

/* What a letter borrows lies in it, wherever it lies now. */
static inline void own_bits(struct letter *l)
{
	if (l->m.type == MSG_SNAP)
		l->m.u.snap.data = l->data;
	else if (l->m.type == MSG_DRAINED)
		l->m.u.drained.bitmap = l->data;
	else if (l->m.type == MSG_IDLE)
		l->m.u.idle.bitmap = l->data;
}

static inline void deliver_one(void)
{
	static struct letter l;

	l = queue[0];
	own_bits(&l);
	memmove(queue, queue + 1, --n_queued * sizeof(*queue));
	for (unsigned int i = 0; i < n_queued; i++)
		own_bits(&queue[i]);
	for (unsigned int i = 1; i <= n_nodes; i++)
		if (mask_has(l.to, i) && box[i].a && mask_has(box[i].view, l.m.from))
			agent_message(box[i].a, &l.m, now);
	run_commands();
}

static inline void deliver(void)
{
	while (n_queued && !held)
		deliver_one();
}

static inline void count_flows(struct box *x)
{
	uint8_t wanted[BUCKETS / 4], empty[BUCKETS / 4];

	if (!agent_count_wanted(x->a, 0, wanted, now))
		return;
	for (unsigned int i = 0; i < sizeof(empty); i++)
		empty[i] = wanted[i] & (uint8_t)~x->flows[i];
	agent_counted(x->a, 0, empty, now);
}

static inline void turn(void)
{
	deliver();
	for (unsigned int i = 1; i <= n_nodes; i++) {
		struct box *x = &box[i];

		if (!x->a)
			continue;
		if (agent_wants_install(x->a) && !x->no_install)
			agent_installed(x->a, agent_version(x->a), now);
		count_flows(x);
		if (now >= agent_deadline(x->a))
			agent_tick(x->a, now);
		run_commands();
	}
	deliver();
	assert_true(n_todo == 0);
}

static inline void run(int64_t ms)
{
	for (int64_t end = now + ms; now < end; now += STEP_MS)
		turn();
}

static inline void view(uint64_t members, uint64_t crashed)
{
	deliver();
	for (unsigned int i = 1; i <= n_nodes; i++)
		if (mask_has(members, i))
			box[i].view = members;
	for (unsigned int i = 1; i <= n_nodes; i++)
		if (mask_has(members, i) && box[i].a) {
			agent_view(box[i].a, members, crashed, now);
			run_commands();
		}
}

static inline void start(unsigned int i, uint64_t incarnation)
{
	struct box *x = &box[i];

	*x = (struct box){ .id = i };
	x->p = (struct agent_params){
		.repl = { .n_nodes = (uint8_t)n_nodes, .n_services = 1, .layout = { .buckets = BUCKETS }, .salt = { 3 } },
		.self = (uint8_t)i, .incarnation = incarnation, .config = 77, .weight = 100,
		.failback_delay_ms = 500, .drain_timeout_ms = 3000, .grace_ms = 1000,
	};
	for (unsigned int j = 1; j <= n_nodes; j++)
		snprintf(x->p.node_name[j], NAME_SIZE, "n%u", j);
	snprintf(x->p.service_name[0], NAME_SIZE, "web");
}

static inline void boot(unsigned int i)
{
	assert_int_equal(agent_new(&box[i].a, &box[i].p, &ops, &box[i]), 0);
	agent_group_up(box[i].a, now);
	agent_reachable(box[i].a, true, now);
}

static inline void kill_box(unsigned int i)
{
	agent_free(box[i].a);
	box[i].a = NULL;
	box[i].view = 0;
	box[i].lease_term = 0;
}

static inline int setup(void **state)
{
	(void)state;
	queue = calloc(QUEUE, sizeof(*queue));
	n_queued = n_todo = 0;
	held = false;
	now = 1000000;
	memset(box, 0, sizeof(box));
	return queue ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 1; i <= N_MAX; i++)
		agent_free(box[i].a);
	free(queue);
	return 0;
}

static inline void cluster(unsigned int n)
{
	n_nodes = n;
	for (unsigned int i = 1; i <= n; i++) {
		start(i, 100 * i);
		boot(i);
	}
}

static inline uint64_t all(void)
{
	return (UINT64_C(1) << n_nodes) - 1;
}

static inline const struct repl *repl(unsigned int i)
{
	return agent_repl(box[i].a);
}

static inline uint32_t owned(unsigned int by, unsigned int at)
{
	return repl_owned(repl(at), 0, by);
}

static inline const char *silent(unsigned int i)
{
	struct agent_status s;

	agent_get_status(box[i].a, &s);
	return s.why_silent;
}

static inline void same_state(void)
{
	for (unsigned int i = 2; i <= n_nodes; i++)
		if (box[i].a && box[1].a && mask_has(box[1].view, i))
			assert_int_equal(repl_digest(repl(i)), repl_digest(repl(1)));
}

static inline void running(unsigned int n)
{
	cluster(n);
	view(all(), 0);
	run(6000);
	for (unsigned int i = 1; i <= n; i++) {
		assert_null(silent(i));
		assert_in_range(owned(i, 1), BUCKETS / n, BUCKETS / n + 1);
	}
	assert_int_equal(repl_moving(repl(1), 0), 0);
	same_state();
}

static inline void lost_at(unsigned int i, unsigned int node)
{
	struct lease_event e = { .type = LEASE_EV_LOST, .node = (uint8_t)node,
				 .term = repl_get_node(repl(i), node)->term };

	agent_lease_event(box[i].a, &e, now);
	run_commands();
}

#endif

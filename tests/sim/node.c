/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * One machine: a clock of its own, corosync, and clusterd with its two threads, the main one (agent)
 * and the heartbeat (lease), which talk through queues.  Freezing stops both threads and lets
 * everything pile up; hanging stops the main one only.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

int64_t node_local(const struct node *n, int64_t t)
{
	return n->offset + t + t * n->ppm / 1000000;
}

int64_t node_ms(const struct sim *s, const struct node *n)
{
	return node_local(n, s->now) / 1000;
}

int64_t node_global(const struct node *n, int64_t local)
{
	int64_t t = (local - n->offset) * 1000000 / (1000000 + n->ppm) - 2;

	while (node_local(n, t) < local)
		t++;
	return t;
}

/* How late a thread runs that a timer should have woken. */
static int64_t lateness(struct sim *s)
{
	if (s->p.late && rnd_chance(s, 20))
		return rnd_in(s, MS, 20 * MS);
	return rnd_in(s, 0, 300);
}

static void lease_reschedule(struct sim *s, struct node *n)
{
	int64_t local = lease_deadline(&n->lease), t;

	if (local == INT64_MAX)
		return;
	t = node_global(n, local);
	if (t < s->now)
		t = s->now;
	/* A tick that comes in time anyway is not worth another. */
	if (n->lease_at >= s->now && n->lease_at <= t)
		return;
	n->lease_at = t;
	post(s, t + lateness(s), EV_LEASE_TICK, n->id, n->life, (uint64_t)t, NULL);
}

static void queue_note(struct sim *s, struct node *n, bool to_agent, const struct note *note)
{
	struct note *copy = malloc(sizeof(*copy));
	int64_t *last = to_agent ? &n->to_agent_t : &n->to_lease_t;
	int64_t t = s->now + rnd_in(s, 50, 1000);

	if (!copy)
		abort();
	*copy = *note;
	fifo_push(to_agent ? &n->to_agent : &n->to_lease, copy);
	*last = t > *last ? t : *last;
	post(s, *last, to_agent ? EV_TO_AGENT : EV_TO_LEASE, n->id, n->life, 0, NULL);
}

static bool has_event(const struct lease_out *out, enum lease_event_type type)
{
	for (unsigned int i = 0; i < out->n_events; i++)
		if (out->event[i].type == type)
			return true;
	return false;
}

static const char *const event_names[] = { "leased", "fenced", "lost", "expired", "recovered" };

/* Does what the lease machine wants done. */
void node_lease_out(struct sim *s, struct node *n, struct lease_out *out)
{
	bool lapsed = false;

	if (out->end)
		kernel_end(s, n);
	if (out->renew) {
		int64_t ms = (out->until_us - node_local(n, s->now)) / 1000;

		lapsed = ms <= 0 || !kernel_renew(s, n, ms, has_event(out, LEASE_EV_LEASED));
	}
	for (unsigned int i = 0; i < out->n_events; i++) {
		struct note note = { .type = TO_EVENT, .ev = out->event[i] };

		trace(s, n->id, "lease: %s node %u term %u gen %u", event_names[note.ev.type],
		      note.ev.node, note.ev.term, note.ev.gen);
		queue_note(s, n, true, &note);
	}
	if (out->send && !n->lease.stopped)
		net_hello_round(s, n, s->p.n_nodes == 2 && s->p.tiebreak == LEASE_TIE_WITNESS);
	if (lapsed) {
		struct lease_out after = { 0 };

		lease_lapsed(&n->lease, node_local(n, s->now), &after);
		if (after.end)
			kernel_end(s, n);
		after.renew = after.send = false;
		node_lease_out(s, n, &after);
		return;
	}
	bool reachable = lease_reachable(&n->lease, node_local(n, s->now));

	if (reachable != n->reachable) {
		struct note note = { .type = TO_REACHABLE, .yes = reachable };

		n->reachable = reachable;
		queue_note(s, n, true, &note);
	}
	bool alone = lease_alone(&n->lease, node_local(n, s->now));

	if (alone != n->alone) {
		struct note note = { .type = TO_ALONE, .yes = alone };

		n->alone = alone;
		queue_note(s, n, true, &note);
	}
	lease_reschedule(s, n);
}

static void lease_tick_now(struct sim *s, struct node *n)
{
	struct lease_out out = { 0 };

	lease_tick(&n->lease, node_local(n, s->now), &out);
	node_lease_out(s, n, &out);
}

void node_to_lease(struct sim *s, struct node *n, const struct lease_cmd *cmd)
{
	struct note note = { .type = TO_CMD, .cmd = *cmd };

	queue_note(s, n, false, &note);
}

/* The heartbeat thread takes one command. */
static void run_command(struct sim *s, struct node *n)
{
	struct note *note = fifo_pop(&n->to_lease);
	const struct lease_cmd *c = &note->cmd;
	int64_t now = node_local(n, s->now);
	struct lease_out out = { 0 };
	struct note answer = { .type = TO_DISCARDED };

	switch (c->type) {
	case LCMD_SET_PEER:
		lease_set_peer(&n->lease, c->node, c->term, c->incarnation, now, &out);
		break;
	case LCMD_DEAD:
		lease_set_dead(&n->lease, c->mask);
		break;
	case LCMD_ADMIT:
		trace(s, n->id, "lease: admitted to term %u", c->term);
		lease_admit(&n->lease, c->term, now, &out);
		break;
	case LCMD_FENCE:
		trace(s, n->id, "lease: told to give up");
		lease_fence(&n->lease, now, &out);
		break;
	case LCMD_DISCARD:
		answer.yes = lease_discard(&n->lease, c->by, c->node, c->term, c->gen);
		answer.cmd = *c;
		queue_note(s, n, true, &answer);
		break;
	case LCMD_CLEARED:
		trace(s, n->id, "lease: clears node %u gen %u", c->node, c->gen);
		lease_cleared(&n->lease, c->node, c->term, c->gen, now);
		break;
	}
	free(note);
	node_lease_out(s, n, &out);
}

/* The main thread reads one note of the heartbeat thread. */
static void run_note(struct sim *s, struct node *n)
{
	struct note *note = fifo_pop(&n->to_agent);
	int64_t now = node_ms(s, n);

	switch (note->type) {
	case TO_EVENT:
		agent_lease_event(n->agent, &note->ev, now);
		break;
	case TO_REACHABLE:
		agent_reachable(n->agent, note->yes, now);
		break;
	case TO_ALONE:
		agent_alone(n->agent, note->yes, now);
		break;
	case TO_DISCARDED:
		agent_discarded(n->agent, &note->cmd, note->yes, now);
		break;
	case TO_CMD:
		abort();
	}
	free(note);
	node_settle(s, n);
}

static void agent_reschedule(struct sim *s, struct node *n)
{
	int64_t ms = agent_deadline(n->agent), t;

	if (ms == INT64_MAX)
		return;
	t = node_global(n, ms * 1000);
	if (t <= s->now)
		t = s->now + 100;
	if (n->agent_at > s->now && n->agent_at <= t)
		return;
	n->agent_at = t;
	post(s, t + lateness(s), EV_AGENT_TICK, n->id, n->life, (uint64_t)t, NULL);
}

void node_settle(struct sim *s, struct node *n)
{
	if (!n->running)
		return;
	agent_tick(n->agent, node_ms(s, n));
	if (!n->running)	/* its clean stop was complete */
		return;
	kernel_install(s, n);
	kernel_count(s, n);
	agent_reschedule(s, n);
}

/* ---- what the agent wants done ---- */

struct sim_arg { struct sim *s; struct node *n; };
static struct sim_arg sim_args[SIM_NODES + 1];

static void op_send(void *arg, const struct msg *m)
{
	struct sim_arg *a = arg;

	if (m->type == MSG_DRAINED || m->type == MSG_UNMIXED)
		flow_forced(a->s, a->n->id, m);
	if (m->type == MSG_LOAD)
		load_told(a->s, a->n);
	group_send(a->s, a->n, m);
}

static void op_lease(void *arg, const struct lease_cmd *cmd)
{
	struct sim_arg *a = arg;

	node_to_lease(a->s, a->n, cmd);
}

static void op_event(void *arg, const struct agent_event *e)
{
	struct sim_arg *a = arg;

	trace(a->s, a->n->id, "* %s: %s", e->name, e->text);
}

static void op_stopped(void *arg)
{
	struct sim_arg *a = arg;

	trace(a->s, a->n->id, "has stopped");
	a->s->n_stops++;
	post(a->s, a->s->now, EV_START, a->n->id, a->n->life, 1, NULL);
}

static const struct agent_ops ops = {
	.send = op_send, .lease = op_lease, .event = op_event, .stopped = op_stopped,
};

static void agent_make(struct sim *s, struct node *n)
{
	struct agent_params p = {
		.repl = { .n_nodes = (uint8_t)s->p.n_nodes, .n_services = (uint8_t)s->p.n_services,
			  .layout = n->file, .ignore_quorum = s->p.ignore_quorum,
			  .salt = { 0x1234567, 0x89abcde }, .n_vips = (uint16_t)s->n_vips },
		.self = n->id, .incarnation = n->incarnation, .config = 0xc0ffee,
		.weight = n->weight, .failback = s->p.failback,
		.failback_delay_ms = s->p.failback_delay_ms,
		.drain_timeout_ms = s->p.drain_timeout_ms, .grace_ms = s->p.grace_ms,
		.slow_start_ms = s->p.slow_start_ms, .busy = s->p.busy,
		.weights_interval_ms = { s->p.interval_ms },
	};

	p.repl.policy[0] = (struct repl_policy){ .ops = s->p.policy, .step = s->p.step,
						 .process_memory_kb = 3500, .connections_per_minute = 2000 };

	for (unsigned int v = 0; v < s->p.n_services; v++) {
		p.link[v] = (struct link){ .mac = { 2, 0, 0, 0, (uint8_t)v, n->id },
					   .addr4 = { .family = 2, .b = { 10, 77, (uint8_t)v, n->id } } };
	}
	for (unsigned int v = 0; v < s->n_vips; v++)
		p.repl.vip_salt[v] = 0x9e3779b9u * (v + 1);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		snprintf(p.node_name[i], sizeof(p.node_name[i]), "n%u", i);
	for (unsigned int v = 0; v < s->p.n_services; v++)
		snprintf(p.service_name[v], sizeof(p.service_name[v]), "s%u", v);
	sim_args[n->id] = (struct sim_arg){ s, n };
	if (agent_new(&n->agent, &p, &ops, &sim_args[n->id]) != 0)
		sim_fail(s, n->id, "agent_new() failed");
	for (unsigned int v = 0; v < s->p.n_services; v++)
		agent_set_link(n->agent, v, &p.link[v]);
}

/* ---- life and death ---- */

void node_start(struct sim *s, struct node *n)
{
	struct lease_params p = {
		.self = n->id, .n_nodes = (uint8_t)s->p.n_nodes, .lease_us = s->p.lease,
		.ignore_quorum = s->p.ignore_quorum, .tiebreak = s->p.tiebreak,
	};

	if (n->running || !n->power)
		return;
	n->life++;
	n->running = true;
	n->frozen = n->main_hung = n->reachable = n->alone = n->connecting = n->was_connected = false;
	/* As the daemon takes it from the real time clock: it grows, and means nothing else. */
	n->incarnation = (uint64_t)s->now + 1 + (uint64_t)n->life;
	p.incarnation = n->incarnation;
	trace(s, n->id, "starts, incarnation %llu", (unsigned long long)n->incarnation);
	n->lease_at = n->agent_at = -1;
	n->tail = 0;
	n->tail_open = false;
	n->to_agent_t = n->to_lease_t = 0;
	memset(n->counting, 0, sizeof(n->counting));
	memset(n->k, 0, sizeof(n->k));
	n->held = 0;
	n->table = true;
	n->installing = false;
	n->klease_end = 0;
	lease_init(&n->lease, &p, node_local(n, s->now));
	agent_make(s, n);
	if (s->p.loads)
		load_begin(s, n);
	node_settle(s, n);
	lease_tick_now(s, n);
	group_connect_later(s, n);
}

static void clear_queues(struct node *n)
{
	void *p;

	while ((p = fifo_pop(&n->to_agent)))
		free(p);
	while ((p = fifo_pop(&n->to_lease)))
		free(p);
	for (unsigned int i = 0; i < n->n_deferred; i++)
		free(n->deferred[i].p);
	n->n_deferred = 0;
	while ((p = fifo_pop(&n->queue))) {
		struct entry *e = p;

		if (--e->refs == 0)
			free(e);
	}
}

/* The process is gone; its corosync sees it a little later. */
void node_kill(struct sim *s, struct node *n)
{
	if (!n->running)
		return;
	n->running = n->frozen = n->main_hung = false;
	n->life++;
	clear_queues(n);
	kernel_vanish(s, n);
	agent_free(n->agent);
	n->agent = NULL;
	n->view_majority = false;
	if (n->corosync)
		post(s, s->now + rnd_in(s, MS, 5 * MS), EV_PROC_GONE, n->id, n->coro_life, 0, NULL);
}

void node_power_off(struct sim *s, struct node *n)
{
	if (!n->power)
		return;
	trace(s, n->id, "FAULT power off");
	n->power = false;
	node_kill(s, n);
	corosync_die(s, n);
	flow_drop_node(s, n->id);
}

void node_power_on(struct sim *s, struct node *n, int64_t corosync_in, int64_t start_in)
{
	if (n->power)
		return;
	trace(s, n->id, "power on");
	n->power = n->wanted = true;
	post(s, s->now + corosync_in, EV_COROSYNC, n->id, 0, 1, NULL);
	post(s, s->now + start_in, EV_START, n->id, 0, 0, NULL);
}

/* The operator has changed the file, and tells the daemon. */
void node_reload(struct sim *s, struct node *n, const struct layout *file)
{
	n->file = *file;
	if (!n->running)
		return;
	trace(s, n->id, "reload: %u buckets, hash %u", file->buckets, file->hash[0]);
	if (agent_propose_layout(n->agent, file, node_ms(s, n)))
		sim_fail(s, n->id, "agent_propose_layout() failed");
	node_settle(s, n);
}

static void run_deferred(struct sim *s, struct node *n)
{
	struct event *list = n->deferred;
	unsigned int k = n->n_deferred;

	n->deferred = NULL;
	n->n_deferred = n->size_deferred = 0;
	for (unsigned int i = 0; i < k; i++)
		post(s, s->now + rnd_in(s, 0, 500), list[i].type, list[i].node, list[i].life, list[i].u,
		     list[i].p);
	free(list);
}

void node_freeze(struct sim *s, struct node *n, bool frozen)
{
	if (!n->running || n->frozen == frozen)
		return;
	trace(s, n->id, "FAULT %s", frozen ? "SIGSTOP" : "SIGCONT");
	n->frozen = frozen;
	if (!frozen)
		run_deferred(s, n);
}

void node_hang_main(struct sim *s, struct node *n, bool hung)
{
	if (!n->running || n->main_hung == hung)
		return;
	trace(s, n->id, "FAULT main thread %s", hung ? "hangs" : "goes on");
	n->main_hung = hung;
	if (hung)
		post(s, s->now + s->p.hang, EV_HANG, n->id, n->life, 0, NULL);
	else
		run_deferred(s, n);
	if (!hung && n->lease.stopped) {
		struct lease_out out = { 0 };

		lease_stop(&n->lease, false, node_local(n, s->now), &out);
		node_lease_out(s, n, &out);
	}
}

static void on_hang(struct sim *s, struct node *n)
{
	struct lease_out out = { 0 };

	if (!n->main_hung)
		return;
	trace(s, n->id, "lease: main thread hangs, stops");
	lease_stop(&n->lease, true, node_local(n, s->now), &out);
	node_lease_out(s, n, &out);
}

/* ---- events ---- */

static bool of_heartbeat(enum ev_type t)
{
	return t == EV_LEASE_TICK || t == EV_HELLO || t == EV_WITNESS || t == EV_TO_LEASE ||
	       t == EV_HANG;
}

static bool of_main(enum ev_type t)
{
	return t == EV_AGENT_TICK || t == EV_TO_AGENT || t == EV_CONSUME || t == EV_INSTALL ||
	       t == EV_COUNTED || t == EV_CONNECT || t == EV_START || t == EV_RELOAD ||
	       t == EV_SAMPLE;
}

#define SOCKET_BUFFER 300	/* HELLOs that a kernel keeps for a process that does not read */

static bool defer(struct node *n, const struct event *e)
{
	if (!(n->frozen && (of_heartbeat(e->type) || of_main(e->type))) &&
	    !(n->main_hung && of_main(e->type)))
		return false;
	if (e->type == EV_HELLO && n->n_deferred > SOCKET_BUFFER) {
		free(e->p);
		return true;
	}
	if (n->n_deferred == n->size_deferred) {
		n->size_deferred = n->size_deferred ? 2 * n->size_deferred : 64;
		n->deferred = realloc(n->deferred, n->size_deferred * sizeof(*n->deferred));
		if (!n->deferred)
			abort();
	}
	n->deferred[n->n_deferred++] = *e;
	return true;
}

static void handle_node(struct sim *s, struct node *n, struct event *e)
{
	switch (e->type) {
	case EV_LEASE_TICK:
		if ((int64_t)e->u == n->lease_at) {
			n->lease_at = -1;
			lease_tick_now(s, n);
		}
		break;
	case EV_AGENT_TICK:
		if ((int64_t)e->u == n->agent_at) {
			n->agent_at = -1;
			node_settle(s, n);
		}
		break;
	case EV_HELLO:
		net_on_hello(s, n, e->p, e->u);
		free(e->p);
		break;
	case EV_WITNESS:
		net_on_witness(s, n, e->u);
		break;
	case EV_TO_AGENT:
		run_note(s, n);
		break;
	case EV_TO_LEASE:
		run_command(s, n);
		break;
	case EV_HANG:
		on_hang(s, n);
		break;
	case EV_KLEASE_END:
		if (n->klease_end == s->now)
			kernel_check_all(s);
		break;
	case EV_INSTALL:
		kernel_on_install(s, n);
		break;
	case EV_COUNTED:
		kernel_on_counted(s, n, (unsigned int)e->u, e->p);
		break;
	case EV_ORDER:
		group_on_order(s, n, e->p);
		break;
	case EV_DELIVER:
		group_on_deliver(s, n);
		break;
	case EV_CONSUME:
		group_consume(s, n);
		break;
	case EV_PROC_GONE:
		group_proc_gone(s, n);
		break;
	case EV_CONNECT:
		group_on_connect(s, n);
		break;
	case EV_COROSYNC:
		if (e->u)
			corosync_start(s, n);
		else
			corosync_die(s, n);
		break;
	case EV_START:
		if (!e->u) {
			node_start(s, n);
			break;
		}
		node_kill(s, n);	/* the end of a clean stop */
		if (n->wanted)		/* the scenario has changed its mind meanwhile */
			post(s, s->now + 200 * MS, EV_START, n->id, 0, 0, NULL);
		break;
	case EV_RELOAD:
		node_reload(s, n, e->p);
		free(e->p);
		break;
	case EV_SAMPLE:
		load_on_sample(s, n);
		break;
	case EV_REFORM:
	case EV_STALL:
	case EV_SYN:
	case EV_FLOW_END:
	case EV_LINK:
		abort();
	}
}

void node_handle(struct sim *s, struct event *e)
{
	struct node *n = &s->node[e->node];

	switch (e->type) {
	case EV_REFORM:
		if (e->u == 2)
			s->reform_posted = false;
		group_on_reform(s);
		return;
	case EV_STALL:
		group_on_stall(s);
		return;
	case EV_SYN:
		flow_on_syn(s);
		return;
	case EV_FLOW_END:
		flow_on_end(s, e->u);
		return;
	case EV_LINK: {		/* a flapping path: u = from, to, how often still */
		unsigned int a = e->u & 0xff, b = e->u >> 8 & 0xff;
		uint64_t left = e->u >> 16;

		net_cut_both(s, a, b, s->path[a][b] && left);
		if (left)
			post(s, s->now + rnd_in(s, 20 * MS, 1500 * MS), EV_LINK, 0, 0,
			     (left - 1) << 16 | b << 8 | a, NULL);
		return;
	}
	case EV_LEASE_TICK:
	case EV_AGENT_TICK:
	case EV_HELLO:
	case EV_WITNESS:
	case EV_TO_AGENT:
	case EV_TO_LEASE:
	case EV_HANG:
	case EV_KLEASE_END:
	case EV_INSTALL:
	case EV_COUNTED:
	case EV_ORDER:
	case EV_DELIVER:
	case EV_CONSUME:
	case EV_PROC_GONE:
	case EV_CONNECT:
	case EV_COROSYNC:
	case EV_START:
	case EV_RELOAD:
	case EV_SAMPLE:
		break;
	}
	if (!defer(n, e))
		handle_node(s, n, e);
}

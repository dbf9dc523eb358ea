/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads: telling ours, and what the coordinator makes of all: REWEIGH, slow start, failback of a
 * cluster that is not busy.
 */
#include <string.h>

#include "core/agent_priv.h"

#define OLD_MS     60000	/* a sample that is older says nothing */
#define RAMP_STEPS 9		/* from RAMP_FULL / 10 to RAMP_FULL */
#define AGAIN_MS   300		/* as REPEAT_MS in agent.c */

/* ---- what is known of each node ---- */

void agent_sample(struct agent *a, const struct sample *s, int64_t now)
{
	struct heard *own = &a->heard[a->p.self];
	struct msg m = { .type = MSG_LOAD };
	bool news = report_sample(&a->report, s, now, &own->s);
	own->any = true;
	own->at = now;
	if (!news)
		return;
	if (!a->up || !mask_has(a->members, a->p.self)) {
		report_failed(&a->report);
		return;
	}
	m.u.load = own->s;
	agent_send(a, &m);
}

const struct sample *agent_sample_of(const struct agent *a, unsigned int id, int64_t now)
{
	const struct heard *h = &a->heard[id <= NODES_MAX ? id : NOBODY];

	return h->any && now - h->at <= OLD_MS ? &h->s : NULL;
}

void load_message(struct agent *a, const struct msg *m, int64_t now)
{
	if (m->from != a->p.self)	/* of ourselves we know more */
		a->heard[m->from] = (struct heard){ .any = true, .at = now, .s = m->u.load };
}

/* Whoever went away comes back as another one; whoever comes has heard nothing yet. */
void load_view(struct agent *a, uint64_t old, uint64_t members)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		if (i != a->p.self && !mask_has(members, i))
			a->heard[i].any = false;
	if (members & ~old)
		report_again(&a->report);
}

/* Between two REWEIGHs of that service. */
static uint32_t interval(const struct agent *a, unsigned int service)
{
	const struct clusterd_policy_ops *ops = a->p.repl.policy[service].ops;
	uint32_t ms = a->p.weights_interval_ms[service];

	return ms || !ops ? ms : ops->interval_ms;
}

void load_state_loaded(struct agent *a, int64_t now)
{
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		a->next_reweigh[s] = now + interval(a, s);
	memset(a->next_ramp, 0, sizeof(a->next_ramp));
}

/* ---- REWEIGH ---- */

static void fill_sample(struct policy_sample *p, unsigned int id, unsigned int service,
			const struct sample *s)
{
	*p = (struct policy_sample){
		.node = (uint8_t)id, .load = s->load, .cpu_idle = s->cpu_idle, .blocked = s->blocked,
		.swapping = s->swapping, .mem_free_kb = s->mem_free_kb, .conns = s->conns[service],
	};
}

static void reweigh(struct agent *a, unsigned int service, int64_t now)
{
	struct msg m = { .type = MSG_REWEIGH, .from = a->p.self, .incarnation = a->p.incarnation };

	a->next_reweigh[service] = now + interval(a, service);
	m.u.reweigh.service = (uint8_t)service;
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++) {
		const struct sample *s = agent_sample_of(a, i, now);

		if (s && repl_get_node(a->repl, i)->state == NODE_ONLINE)
			fill_sample(&m.u.reweigh.node[m.u.reweigh.n++], i, service, s);
	}
	if (m.u.reweigh.n && repl_reweigh_needed(a->repl, &m))
		agent_send(a, &m);
}

/* Nothing is on the move, and no returned node waits for its share: plans are this file's to cause. */
static bool at_rest(const struct agent *a)
{
	return !repl_plan(a->repl) && repl_rehash_phase(a->repl) == REHASH_NONE && !a->due_quiet;
}

static void tick_reweigh(struct agent *a, int64_t now)
{
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		if (a->p.repl.policy[s].ops && now >= a->next_reweigh[s])
			reweigh(a, s, now);
}

void load_reweighed(struct agent *a, const struct repl_note *n, int64_t now)
{
	/* Whoever is the coordinator next keeps to the same rhythm. */
	a->next_reweigh[n->n] = now + interval(a, n->n);
	if (!n->arg)
		return;
	a->reweighed[n->n] = now;
	a->next_count[n->n] = 0;
	agent_plan_soon(a, now + IDLE_MS);
}

bool load_wants_idle(const struct agent *a, unsigned int service, int64_t now)
{
	const struct repl_params *p = &a->p.repl;
	uint32_t buckets = repl_layout(a->repl)->buckets, target[NODES_MAX + 1];
	struct weights w = { { 0 } };

	if (!a->reweighed[service] || now - a->reweighed[service] >= IDLE_MS || repl_plan(a->repl))
		return false;
	for (unsigned int i = 1; i <= p->n_nodes; i++)
		w.w[i] = repl_weight(a->repl, service, i);
	assign_targets(&w, buckets, p->salt[service], target);
	return target[a->p.self] < repl_owned(a->repl, service, a->p.self);
}

/* ---- slow start ---- */

/* All watch the clocks, the coordinator speaks: as with GRACE_END. */
static void tick_ramp(struct agent *a, unsigned int id, bool speaks, int64_t now)
{
	const struct repl_node *n = repl_get_node(a->repl, id);
	struct msg m = { .type = MSG_ORDER };

	if (n->state != NODE_ONLINE || n->hold_back || n->ramp >= RAMP_FULL) {
		a->next_ramp[id] = 0;
		return;
	}
	if (!a->next_ramp[id] || a->due_quiet)	/* begins with the first share, not before that is planned */
		load_ramped(a, id, now);
	if (now < a->next_ramp[id] || !speaks)
		return;
	a->next_ramp[id] = now + AGAIN_MS;
	m.u.order.type = ORDER_RAMP;
	m.u.order.node = (uint8_t)id;
	m.u.order.value = RAMP_FULL;
	if (a->p.slow_start_ms && n->ramp + RAMP_FULL / 10 < RAMP_FULL)
		m.u.order.value = (uint16_t)(n->ramp + RAMP_FULL / 10);
	agent_send(a, &m);
}

void load_ramped(struct agent *a, unsigned int node, int64_t now)
{
	a->next_ramp[node] = now + a->p.slow_start_ms / RAMP_STEPS;
}

/* ---- failback = never-while-busy ---- */

/* Who has only just come knows of nobody yet; a node that never says anything is not waited for. */
static bool calm(const struct agent *a, int64_t now)
{
	bool patient = now - a->wait_since < OLD_MS;

	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++) {
		const struct sample *s = agent_sample_of(a, i, now);

		if (repl_get_node(a->repl, i)->state == NODE_ONLINE && (s ? s->load > a->p.busy : patient))
			return false;
	}
	return true;
}

static void tick_failback(struct agent *a, bool speaks, int64_t now)
{
	struct msg m = { .type = MSG_ORDER };
	bool waits = false;

	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		waits |= repl_get_node(a->repl, i)->state == NODE_ONLINE &&
			 repl_get_node(a->repl, i)->hold_back;
	if (a->p.failback != AGENT_FAILBACK_NEVER_BUSY || !waits) {
		a->wait_since = a->calm_since = 0;
		return;
	}
	if (!a->wait_since)
		a->wait_since = now;
	if (!calm(a, now))
		a->calm_since = 0;
	else if (!a->calm_since)
		a->calm_since = now;
	if (!a->calm_since || now - a->calm_since < a->p.failback_delay_ms || !speaks ||
	    !agent_due(&a->failback, repl_online(a->repl), now))
		return;
	m.u.order.type = ORDER_FAILBACK;
	a->n_ordered++;
	agent_send(a, &m);
}

void load_tick(struct agent *a, int64_t now)
{
	bool in_step = agent_in_step(a) && a->ex->phase == EX_IDLE;
	bool speaks = in_step && agent_coordinator(a) == a->p.self && at_rest(a);

	if (!in_step)
		return;
	if (speaks)
		tick_reweigh(a, now);
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		tick_ramp(a, i, speaks, now);
	tick_failback(a, agent_coordinator(a) == a->p.self, now);
}

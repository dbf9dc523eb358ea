/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "core/agent_priv.h"

#define REPEAT_MS      300	/* a message that does not show is sent again after that */
#define DIGEST_MS      10000
#define FENCE_MEMORY_MS 60000
#define UNLEASED_MS    3000	/* admitted, and still no lease: others may be waiting for us */

/* ---- small things ---- */

const char *agent_name(const struct agent *a, unsigned int id)
{
	return id <= NODES_MAX && a->p.node_name[id][0] ? a->p.node_name[id] : "?";
}

void agent_event(struct agent *a, int priority, const char *name, struct about about,
		 const char *fmt, ...)
{
	char text[EVENT_TEXT];
	const struct agent_event e = {
		.priority = priority, .name = name, .text = text, .node = about.node, .by = about.by,
		.service = (int8_t)((int)about.service - 1), .buckets = about.buckets,
	};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	a->ops->event(a->arg, &e);
}

void agent_send(struct agent *a, struct msg *m)
{
	if (!a->up)
		return;
	m->from = a->p.self;
	m->incarnation = a->p.incarnation;
	a->ops->send(a->arg, m);
}

bool agent_due(struct sent *s, uint64_t what, int64_t now)
{
	if (s->what == what && now < s->again)
		return false;
	s->what = what;
	s->again = now + REPEAT_MS;
	return true;
}

bool agent_quorate(const struct agent *a)
{
	if (!a->up || !mask_has(a->members, a->p.self))
		return false;
	if (repl_majority(a->repl, a->members))
		return true;
	/*
	 * Two nodes, one gone: whoever has the tie-break goes on alone.  "Gone" is not the group's word
	 * (its side of the cut may be alive, and leased): the other's lease must be over, or its process
	 * dead; and if we know nothing of it, because we have just begun, it must not be heard.
	 */
	unsigned int other = 3u - a->p.self;

	if (a->p.repl.n_nodes != 2 || mask_count(a->members) != 1)
		return false;
	if (mask_has(a->lost | a->crashed, other))
		return a->reachable;
	return a->alone && repl_get_node(a->repl, other)->state != NODE_ONLINE;
}

bool agent_self_online(const struct agent *a)
{
	const struct repl_node *n = repl_get_node(a->repl, a->p.self);

	return n->state == NODE_ONLINE && n->incarnation == a->p.incarnation;
}

unsigned int agent_coordinator(const struct agent *a)
{
	return mask_lowest(repl_online(a->repl) & a->members);
}

/* While the exchange has not found out whose state counts, ours may be an old one. */
bool agent_in_step(const struct agent *a)
{
	return a->synced && agent_quorate(a) && exchange_settled(a);
}

/* In step until now, for the exchange to come: one that is cut short changes nothing. */
static bool was_primary(const struct agent *a)
{
	return a->synced && agent_quorate(a) && (exchange_settled(a) || a->primary);
}

static void tables_changed(struct agent *a)
{
	a->version++;
}

static void command(struct agent *a, struct lease_cmd cmd)
{
	a->ops->lease(a->arg, &cmd);
}

/* ---- the lease machine follows the replicated state ---- */

static void follow_peer(struct agent *a, unsigned int id)
{
	const struct repl_node *n = repl_get_node(a->repl, id);
	uint32_t term = n->state == NODE_ONLINE ? n->term : 0;

	if (mask_has(a->lost, id) && term != a->lost_term[id]) {
		a->lost &= ~node_bit(id);
		tables_changed(a);
	}
	if (term == a->told_term[id] && n->incarnation == a->told_incarnation[id])
		return;
	a->told_term[id] = term;
	a->told_incarnation[id] = n->incarnation;
	a->clear[id].active = false;
	command(a, (struct lease_cmd){ .type = LCMD_SET_PEER, .node = (uint8_t)id, .term = term,
				       .incarnation = n->incarnation });
}

static void follow_self(struct agent *a)
{
	uint32_t term = agent_self_online(a) ? repl_get_node(a->repl, a->p.self)->term : 0;

	if (a->term && term != a->term) {
		a->fenced_term = a->term;
		a->term = 0;
		a->leased = false;
		command(a, (struct lease_cmd){ .type = LCMD_FENCE });
	}
	/* A new term starts only on a table that belongs to it. */
	if (term && !a->term && term != a->fenced_term && a->installed == a->version && !a->stopping) {
		a->term = term;
		a->admitted_at = a->last_tick;
		command(a, (struct lease_cmd){ .type = LCMD_ADMIT, .term = term });
	}
}

static void follow(struct agent *a)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		if (i != a->p.self)
			follow_peer(a, i);
	if (repl_dead(a->repl) != a->told_dead) {
		a->told_dead = repl_dead(a->repl);
		command(a, (struct lease_cmd){ .type = LCMD_DEAD, .mask = a->told_dead });
	}
	follow_self(a);
}

/* ---- applying the group's messages ---- */

void agent_apply(struct agent *a, const struct msg *m, int64_t now)
{
	struct repl_fx fx;

	if (repl_apply(a->repl, m, &fx)) {
		a->n_bad++;
		return;
	}
	if (m->type == MSG_ORDER && m->from == a->p.self && m->incarnation == a->p.incarnation &&
	    m->u.order.type != ORDER_LEAVE && m->u.order.type != ORDER_RAMP)
		a->n_back++;
	for (unsigned int i = 0; i < fx.n_notes; i++)
		agent_follow_note(a, &fx.note[i], now);
	if (fx.tables)
		tables_changed(a);
	if (fx.changed) {
		layout_follow(a, now);
		follow(a);
		fitness_ring(a, false);
	}
}

/* Crashed, and its connections wait for it. */
static bool awaited(const struct agent *a, unsigned int id)
{
	return repl_awaits(a->repl, id) ||
	       (mask_has(repl_mixed(a->repl), id) && repl_get_node(a->repl, id)->state != NODE_ONLINE);
}

void agent_state_loaded(struct agent *a, int64_t now)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		a->grace_end[i] = awaited(a, i) ? now + a->p.grace_ms : 0;
	a->due_quiet = now + a->p.failback_delay_ms;
	tables_changed(a);
	load_state_loaded(a, now);
	layout_follow(a, now);
	follow(a);
	fitness_ring(a, true);
}

/* ---- clearing a sticky expiry ---- */

static void clear_request(struct agent *a, const struct msg *m)
{
	/* The answer comes from the lease machine: only it knows what it counts on. */
	command(a, (struct lease_cmd){ .type = LCMD_DISCARD, .by = m->from, .node = m->u.clear.node,
				       .term = m->u.clear.term, .gen = m->u.clear.gen });
}

void agent_discarded(struct agent *a, const struct lease_cmd *cmd, bool ok, int64_t now)
{
	struct msg m = { .type = MSG_CLEAR_ACK };

	(void)now;
	if (!ok || (mask_has(a->lost, cmd->node) && a->lost_term[cmd->node] == cmd->term))
		return;
	m.u.clear.by = cmd->by;
	m.u.clear.node = cmd->node;
	m.u.clear.term = cmd->term;
	m.u.clear.gen = cmd->gen;
	agent_send(a, &m);
}

static void clear_ack(struct agent *a, const struct msg *m)
{
	struct clear *c = &a->clear[m->u.clear.node];

	if (m->u.clear.by != a->p.self || !c->active || c->term != m->u.clear.term ||
	    c->gen != m->u.clear.gen)
		return;
	c->acks |= node_bit(m->from);
}

static void clear_tick(struct agent *a, unsigned int id, int64_t now)
{
	struct clear *c = &a->clear[id];

	if (!c->active || !agent_in_step(a))
		return;
	if (!(repl_online(a->repl) & ~node_bit(id) & ~c->acks)) {
		c->active = false;
		command(a, (struct lease_cmd){ .type = LCMD_CLEARED, .node = (uint8_t)id,
					       .term = c->term, .gen = c->gen });
		return;
	}
	if (now < c->again)
		return;
	c->again = now + 2 * REPEAT_MS;
	struct msg m = { .type = MSG_CLEAR_REQ };

	m.u.clear.by = a->p.self;
	m.u.clear.node = (uint8_t)id;
	m.u.clear.term = c->term;
	m.u.clear.gen = c->gen;
	agent_send(a, &m);
}

/* ---- inputs ---- */

static void compare_digest(struct agent *a, const struct msg *m, int64_t now)
{
	unsigned int lead = agent_coordinator(a);

	/* The sender was there when it sent: whoever is not yet, when it arrives, has missed something. */
	bool behind = m->u.digest.epoch > repl_epoch(a->repl);

	if (m->from == a->p.self || exchange_void(a, m))
		return;
	if (!behind && (m->u.digest.epoch != repl_epoch(a->repl) ||
			m->u.digest.digest == repl_digest(a->repl)))
		return;
	if (!behind && m->from != lead && a->p.self != lead)
		return;
	a->n_mismatch++;
	agent_event(a, LOG_ERR, "DIGEST_MISMATCH", ABOUT(.node = m->from), "%s holds another state at epoch %llu: %s",
		    agent_name(a, m->from), (unsigned long long)m->u.digest.epoch,
		    behind || m->from == lead ? "taking a fresh copy" : "it has to take a fresh copy");
	if (behind || m->from == lead) {
		command(a, (struct lease_cmd){ .type = LCMD_FENCE });
		exchange_heal(a, now);
	}
}

static bool ids_ok(const struct agent *a, const struct msg *m)
{
	if (m->from < 1 || m->from > a->p.repl.n_nodes)
		return false;
	if (m->type == MSG_CLEAR_REQ || m->type == MSG_CLEAR_ACK)
		return m->u.clear.node >= 1 && m->u.clear.node <= a->p.repl.n_nodes &&
		       m->u.clear.by >= 1 && m->u.clear.by <= a->p.repl.n_nodes &&
		       m->u.clear.node != m->u.clear.by;
	return true;
}

void agent_message(struct agent *a, const struct msg *m, int64_t now)
{
	if (!ids_ok(a, m)) {
		a->n_bad++;
		return;
	}
	exchange_saw(a, m);
	switch (m->type) {
	case MSG_ROUND:
	case MSG_STATE:
	case MSG_SNAP:
		exchange_message(a, m, now);
		break;
	case MSG_CLEAR_REQ:
		if (a->synced)
			clear_request(a, m);
		break;
	case MSG_CLEAR_ACK:
		clear_ack(a, m);
		break;
	case MSG_LOAD:
		load_message(a, m, now);
		break;
	case MSG_DIGEST:
		if (agent_in_step(a))
			compare_digest(a, m, now);
		break;
	case MSG_READY:
	case MSG_FAIL:
	case MSG_BYE:
	case MSG_PLAN:
	case MSG_ACK:
	case MSG_LEFT:
	case MSG_ADOPTED:
	case MSG_DRAINED:
	case MSG_GRACE_END:
	case MSG_ORDER:
	case MSG_LAYOUT:
	case MSG_UNMIXED:
	case MSG_REWEIGH:
	case MSG_IDLE:
	case MSG_HEALTH:
		/* Only the majority's side may change the state; and an operator who knows better. */
		if (exchange_void(a, m))
			break;
		if (agent_in_step(a) || (a->synced && m->type == MSG_ORDER &&
				   m->u.order.type == ORDER_TAKEOVER))
			agent_apply(a, m, now);
		break;
	case MSG_NONE:
	case MSG_TYPES_N:
		a->n_bad++;
		break;
	}
}

void agent_group_up(struct agent *a, int64_t now)
{
	(void)now;
	a->up = true;
}

void agent_group_down(struct agent *a, int64_t now)
{
	(void)now;
	a->up = false;
	a->members = 0;
	/* What the others do from now on we do not see: they may go on, or begin anew. */
	a->primary = false;
	a->ex->phase = EX_IDLE;
}

/* A crash is told by all that saw it: whoever of them dies next, the word is out. */
static void tell_crashed(struct agent *a, uint64_t crashed)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++) {
		const struct repl_node *n = repl_get_node(a->repl, i);
		struct msg m = { .type = MSG_FAIL };

		if (!mask_has(crashed, i) || i == a->p.self || n->state != NODE_ONLINE)
			continue;
		m.u.fail.node = (uint8_t)i;
		m.u.fail.kind = FAIL_CRASH;
		m.u.fail.term = n->term;
		agent_send(a, &m);
	}
}

void agent_view(struct agent *a, uint64_t members, uint64_t crashed, int64_t now)
{
	uint64_t old = a->members;

	if (old)
		a->primary = was_primary(a);
	a->members = members;
	a->crashed = (a->crashed | crashed) & ~members;
	load_view(a, old, members);
	/* We were not there: we know nothing of this view's past, whoever was in our last one. */
	exchange_view(a, mask_has(old, a->p.self) ? old : 0, members, now);
	if (a->synced)
		tell_crashed(a, crashed & ~members);
}

static void lease_lost(struct agent *a, const struct lease_event *e)
{
	const struct repl_node *n = repl_get_node(a->repl, e->node);

	if (n->state != NODE_ONLINE || n->term != e->term || mask_has(a->lost, e->node))
		return;
	a->lost |= node_bit(e->node);
	a->lost_term[e->node] = e->term;
	tables_changed(a);
	agent_event(a, LOG_WARNING, "LEASE_LOST", ABOUT(.node = e->node),
		    "the lease of %s is over: its heirs act", agent_name(a, e->node));
}

static void lease_fenced(struct agent *a, const struct lease_event *e, int64_t now)
{
	a->leased = false;
	if (now - a->last_fence > FENCE_MEMORY_MS)
		a->fences = 0;
	a->last_fence = now;
	a->fences += a->fences < 5;
	a->ready.again = now + (100 << a->fences);
	if (a->term == e->term)
		a->term = 0;
	a->fenced_term = e->term;
	agent_event(a, LOG_WARNING, "FENCED", ABOUT(.node = a->p.self), "this node's lease is over: it serves nothing");
}

void agent_lease_event(struct agent *a, const struct lease_event *e, int64_t now)
{
	switch (e->type) {
	case LEASE_EV_LEASED:
		if (e->term != a->term)
			break;
		a->leased = true;
		agent_event(a, LOG_NOTICE, "LEASED", ABOUT(.node = a->p.self), "this node serves its buckets");
		break;
	case LEASE_EV_FENCED:
		lease_fenced(a, e, now);
		break;
	case LEASE_EV_LOST:
		lease_lost(a, e);
		break;
	case LEASE_EV_EXPIRED:
		agent_event(a, LOG_INFO, "SILENT", ABOUT(.node = e->node),
			    "nothing heard from %s for longer than its lease", agent_name(a, e->node));
		break;
	case LEASE_EV_RECOVERED:
		a->clear[e->node] = (struct clear){ .active = true, .term = e->term, .gen = e->gen,
						    .again = now };
		break;
	}
}

void agent_reachable(struct agent *a, bool yes, int64_t now)
{
	(void)now;
	a->reachable = yes;
}

void agent_alone(struct agent *a, bool yes, int64_t now)
{
	(void)now;
	a->alone = yes;
}

void agent_hold(struct agent *a, bool hold)
{
	a->held = hold;
}

void agent_set_link(struct agent *a, unsigned int service, const struct link *link)
{
	a->p.link[service] = *link;
}

void agent_installed(struct agent *a, uint64_t version, int64_t now)
{
	(void)now;
	a->installed = version;
	if (version == a->version)
		follow_self(a);
}

/* ---- timers ---- */

static void tick_ready(struct agent *a, int64_t now)
{
	struct msg m = { .type = MSG_READY };

	if (!agent_in_step(a) || agent_self_online(a) || a->stopping || a->held || !a->reachable ||
	    a->ex->phase != EX_IDLE || a->installed != a->version || now < a->ready.again)
		return;
	a->ready.again = now + (repl_get_node(a->repl, a->p.self)->refused ? 2000 : 500);
	m.u.ready.config = a->p.config;
	m.u.ready.weight = a->p.weight;
	m.u.ready.hold_back = a->p.failback != AGENT_FAILBACK_AUTO;
	m.u.ready.slow = a->p.slow_start_ms > 0;
	m.u.ready.n_links = a->p.repl.n_services;
	memcpy(m.u.ready.link, a->p.link, sizeof(m.u.ready.link));
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		m.u.ready.health[s] = (uint8_t)a->health[s];
	agent_send(a, &m);
}

/* A plan waits for every admitted node, and one without a lease cannot take part: step back. */
static void tick_unleased(struct agent *a, int64_t now)
{
	if (!a->term || a->leased || now - a->admitted_at < UNLEASED_MS)
		return;
	a->admitted_at = now;
	command(a, (struct lease_cmd){ .type = LCMD_FENCE });
}

static void tick_fail(struct agent *a, int64_t now)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++) {
		const struct repl_node *n = repl_get_node(a->repl, i);
		/* Of ourselves we say it when the lease of the term that the group believes in is over. */
		bool self = i == a->p.self && agent_self_online(a) && n->term == a->fenced_term;
		struct msg m = { .type = MSG_FAIL };

		if (!(mask_has(a->lost, i) || self) || !agent_in_step(a) || !agent_due(&a->fail[i], n->term, now))
			continue;
		m.u.fail.node = (uint8_t)i;
		m.u.fail.kind = self ? FAIL_SELF : FAIL_LEASE;
		m.u.fail.term = n->term;
		agent_send(a, &m);
	}
}

/* What the plan under way waits for from us, once our kernel has it. */
static void tick_plan_steps(struct agent *a, int64_t now)
{
	uint64_t plan = repl_plan(a->repl);
	struct msg m = { .type = MSG_NONE };

	/* Without a lease we could not take what would be handed to us from the next phase on. */
	if (!plan || !agent_in_step(a) || !agent_self_online(a) || a->installed != a->version || !a->leased)
		return;
	m.u.plan.plan = plan;
	if (repl_plan_ack(a->repl) && !mask_has(repl_plan_acks(a->repl), a->p.self) &&
	    agent_due(&a->ack, repl_plan_ack(a->repl), now)) {
		m.type = MSG_ACK;
		m.u.plan.plan = repl_plan_ack(a->repl);
		agent_send(a, &m);
		m.u.plan.plan = plan;
	}
	if (repl_count(a->repl, PHASE_HANDOFF, a->p.self, NOBODY) && agent_due(&a->left, plan, now)) {
		m.type = MSG_LEFT;
		agent_send(a, &m);
	}
	/* When all old owners have left: ADOPTED speaks for all our new buckets, and one that comes
	 * to ADOPT while it is on its way would not be in our kernel yet. */
	if (repl_count(a->repl, PHASE_ADOPT, a->p.self, NOBODY) &&
	    !repl_count(a->repl, PHASE_HANDOFF, NOBODY, a->p.self) && agent_due(&a->adopted, plan, now)) {
		m.type = MSG_ADOPTED;
		agent_send(a, &m);
	}
}

static void tick_plan(struct agent *a, int64_t now)
{
	bool soon = a->due_soon && now >= a->due_soon, quiet = a->due_quiet && now >= a->due_quiet;
	struct msg m = { .type = MSG_PLAN };

	if ((!soon && !quiet) || !agent_in_step(a) || repl_plan(a->repl) || a->ex->phase != EX_IDLE)
		return;
	if (!repl_plan_needed(a->repl)) {
		a->due_soon = soon ? 0 : a->due_soon;
		a->due_quiet = quiet ? 0 : a->due_quiet;
		return;
	}
	/* All watch, the coordinator speaks: if it dies, the next one is already counting. */
	a->due_soon = now + REPEAT_MS;
	if (agent_coordinator(a) == a->p.self)
		agent_send(a, &m);
}

static void tick_grace(struct agent *a, int64_t now)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++) {
		struct msg m = { .type = MSG_GRACE_END };

		if (!a->grace_end[i] || now < a->grace_end[i])
			continue;
		if (!awaited(a, i)) {
			a->grace_end[i] = 0;
			continue;
		}
		a->grace_end[i] = now + REPEAT_MS;
		m.u.grace.node = (uint8_t)i;
		if (agent_in_step(a) && agent_coordinator(a) == a->p.self)
			agent_send(a, &m);
	}
}

static void tick_digest(struct agent *a, int64_t now)
{
	struct msg m = { .type = MSG_DIGEST };

	if (now < a->next_digest)
		return;
	a->next_digest = now + DIGEST_MS;
	if (!agent_in_step(a) || !agent_self_online(a) || a->ex->phase != EX_IDLE)
		return;
	m.u.digest.epoch = repl_epoch(a->repl);
	m.u.digest.digest = repl_digest(a->repl);
	agent_send(a, &m);
}

/* Is there another node that our buckets of that service could go to? */
static bool somebody_takes(struct agent *a, unsigned int service)
{
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		if (i != a->p.self && repl_weight(a->repl, service, i))
			return true;
	return false;
}

static bool nobody_else(struct agent *a)
{
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		if (somebody_takes(a, s))
			return false;
	return true;
}

/* Does anything of ours still depend on this node's kernel? */
static bool anything_here(struct agent *a)
{
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		if (repl_owned(a->repl, s, a->p.self) && somebody_takes(a, s))
			return true;
	return repl_count(a->repl, PHASE_DRAIN, NOBODY, a->p.self) ||
	       repl_count(a->repl, PHASE_ADOPT, NOBODY, a->p.self) ||
	       repl_count(a->repl, PHASE_PREPARE, NOBODY, a->p.self) ||
	       repl_count(a->repl, PHASE_HANDOFF, NOBODY, a->p.self);
}

static void tick_stop(struct agent *a, int64_t now)
{
	const struct repl_node *n = repl_get_node(a->repl, a->p.self);
	struct msg m = { .type = MSG_ORDER };

	if (!a->stopping || a->stopped)
		return;
	if (!a->bye_sent) {
		bool handing = agent_in_step(a) && agent_self_online(a) && a->leased && now < a->stop_deadline &&
			       !nobody_else(a);

		if (handing && !n->leaving && agent_due(&a->leave, 1, now)) {
			m.u.order.type = ORDER_LEAVE;
			m.u.order.node = a->p.self;
			agent_send(a, &m);
		}
		if (handing && (!n->leaving || anything_here(a)))
			return;
		a->bye_sent = true;
		a->bye_deadline = now + 1000;
		command(a, (struct lease_cmd){ .type = LCMD_FENCE });
		m.type = MSG_BYE;
		agent_send(a, &m);
	}
	if (n->state == NODE_ONLINE && agent_in_step(a) && now < a->bye_deadline)
		return;
	a->stopped = true;
	a->ops->stopped(a->arg);
}

void agent_tick(struct agent *a, int64_t now)
{
	a->last_tick = now;
	exchange_tick(a, now);
	tick_unleased(a, now);
	tick_fail(a, now);
	tick_plan_steps(a, now);
	layout_tick(a, now);
	tick_ready(a, now);
	fitness_tick(a, now);
	load_tick(a, now);
	tick_plan(a, now);
	drain_tick(a, now);
	tick_grace(a, now);
	for (unsigned int i = 1; i <= a->p.repl.n_nodes; i++)
		clear_tick(a, i, now);
	tick_digest(a, now);
	tick_stop(a, now);
}

int64_t agent_deadline(const struct agent *a)
{
	bool busy = a->up && (a->ex->phase != EX_IDLE || !a->synced || !agent_self_online(a) || a->lost ||
			      repl_plan(a->repl) || repl_rehash(a->repl) || a->due_soon || a->stopping);

	/* Coarse on purpose: nothing here is urgent, what is comes as an input. */
	return a->last_tick + (busy ? 20 : 100);
}

/* ---- operator ---- */

int agent_order(struct agent *a, enum order_type type, unsigned int node, uint16_t value,
		const char **why, int64_t now)
{
	struct msg m = { .type = MSG_ORDER };

	(void)now;
	if (type >= ORDER_TYPES_N || (type != ORDER_FAILBACK && (node < 1 || node > a->p.repl.n_nodes))) {
		*why = "no such node";
		return -EINVAL;
	}
	if (type == ORDER_TAKEOVER && node == a->p.self) {
		*why = "this node is alive: it cannot be declared dead";
		return -EINVAL;
	}
	if (type == ORDER_TAKEOVER && mask_has(a->members, node)) {
		*why = "that node is in the group: it is alive";
		return -EINVAL;
	}
	if (!a->up)
		*why = "corosync is not there";
	else if (!a->synced)
		*why = "this node is not in step with the group yet";
	else if (!agent_quorate(a) && type != ORDER_TAKEOVER)
		*why = "there is no majority of nodes in the group";
	else
		*why = NULL;
	if (*why)
		return -EAGAIN;
	m.u.order.type = (uint8_t)type;
	m.u.order.node = (uint8_t)node;
	m.u.order.value = type == ORDER_TAKEOVER ? (uint16_t)repl_get_node(a->repl, node)->term : value;
	a->n_ordered++;
	agent_send(a, &m);
	return 0;
}

uint32_t agent_preview(struct agent *a, enum order_type order, unsigned int node, uint16_t value,
		       void (*cb)(void *arg, unsigned int service, uint32_t bucket, unsigned int from,
				  unsigned int to), void *arg)
{
	return repl_preview(a->repl, order, node, value, cb, arg);
}

void agent_stop(struct agent *a, int64_t now)
{
	if (a->stopping)
		return;
	a->stopping = true;
	a->stop_deadline = now + a->p.drain_timeout_ms + 10000;
}

/* ---- life and status ---- */

/* The window of what is told suits the slowest policy: faster ones go by what is of this moment. */
static uint32_t report_interval(const struct agent_params *p)
{
	uint32_t most = 0;

	for (unsigned int s = 0; s < p->repl.n_services; s++) {
		const struct clusterd_policy_ops *ops = p->repl.policy[s].ops;
		uint32_t ms = !ops ? 0 : p->weights_interval_ms[s] ? p->weights_interval_ms[s] : ops->interval_ms;

		most = ms > most ? ms : most;
	}
	return most >= 1000 ? most : 60000;
}

int agent_new(struct agent **out, const struct agent_params *p, const struct agent_ops *ops, void *arg)
{
	struct agent *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->p = *p;
	a->ops = ops;
	a->arg = arg;
	a->version = 1;
	report_init(&a->report, report_interval(p));
	err = repl_new(&a->repl, &p->repl);
	if (!err)
		err = exchange_new(a);
	a->want = p->repl.layout;
	a->bitmap = calloc(1, BUCKETS_MAX / 8);
	a->forced = calloc(1, BUCKETS_MAX / 8);
	if (!err && (!a->bitmap || !a->forced))
		err = -ENOMEM;
	if (err) {
		agent_free(a);
		return err;
	}
	*out = a;
	return 0;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	exchange_free(a);
	repl_free(a->repl);
	free(a->bitmap);
	free(a->forced);
	free(a);
}

void agent_reconf(struct agent *a, const struct agent_params *p)
{
	a->p.failback = p->failback;
	a->p.failback_delay_ms = p->failback_delay_ms;
	a->p.drain_timeout_ms = p->drain_timeout_ms;
	a->p.grace_ms = p->grace_ms;
	a->p.weight = p->weight;
	a->p.slow_start_ms = p->slow_start_ms;
	a->p.busy = p->busy;
	memcpy(a->p.weights_interval_ms, p->weights_interval_ms, sizeof(a->p.weights_interval_ms));
}

uint64_t agent_version(const struct agent *a) { return a->version; }
bool agent_wants_install(const struct agent *a) { return a->installed != a->version; }
uint64_t agent_lost(const struct agent *a) { return a->lost; }
const struct repl *agent_repl(const struct agent *a) { return a->repl; }

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an applied message did: told to the operator, and which timers it starts. */
#include <syslog.h>

#include "core/agent_priv.h"

#define SOON_MS  20	/* orders are carried out at once, but several together in one plan */
#define FIRST_MS 400	/* nodes of a cluster that starts come together */

void agent_plan_soon(struct agent *a, int64_t at)
{
	if (!a->due_soon || at < a->due_soon)
		a->due_soon = at;
}

static const char *const fail_text[] = {
	[FAIL_LEASE] = "its lease is over", [FAIL_CRASH] = "its daemon died", [FAIL_SELF] = "it is fenced",
};

static const char *const order_text[] = {
	[ORDER_DRAIN] = "drain", [ORDER_UNDRAIN] = "undrain", [ORDER_WEIGHT] = "weight",
	[ORDER_CONF_WEIGHT] = "configured weight", [ORDER_FAILBACK] = "failback",
	[ORDER_LEAVE] = "leave", [ORDER_TAKEOVER] = "takeover", [ORDER_RAMP] = "slow start of",
};

static void note_admitted(struct agent *a, const struct repl_note *n, int64_t now)
{
	bool unowned = false;

	for (unsigned int s = 0; s < a->p.repl.n_services && !unowned; s++)
		unowned = repl_owned(a->repl, s, NOBODY) != 0;
	/* Traffic that nobody serves waits for no delay; nor do connections waiting for their node. */
	if (repl_count(a->repl, PHASE_GRACE, NOBODY, n->node))
		agent_plan_soon(a, now);
	else if (unowned && n->arg)
		agent_plan_soon(a, now + SOON_MS);
	else if (!n->arg)
		agent_plan_soon(a, now + FIRST_MS);
	else
		a->due_quiet = now + a->p.failback_delay_ms;
	a->grace_end[n->node] = 0;
	agent_event(a, LOG_NOTICE, n->arg ? "FAIL_BACK" : "ADMITTED", ABOUT(.node = n->node),
		    "%s is admitted, term %u", agent_name(a, n->node), n->n);
}

static void note_failed(struct agent *a, const struct repl_note *n, int64_t now)
{
	a->due_quiet = now + a->p.failback_delay_ms;
	if (n->arg == FAIL_CRASH)
		a->grace_end[n->node] = now + a->p.grace_ms;
	agent_event(a, LOG_WARNING, "FAIL_DOWN", ABOUT(.node = n->node, .by = n->by),
		    "%s is down, %s, says %s", agent_name(a, n->node), fail_text[n->arg],
		    agent_name(a, n->by));
}

static void note_layout(struct agent *a, const struct repl_note *n, int64_t now)
{
	const struct about of = { .node = n->node };

	if (n->type == NOTE_LAYOUT && n->n)
		agent_event(a, LOG_INFO, "LAYOUT", of, "%s wants another layout of %u buckets",
			    agent_name(a, n->node), n->n);
	else if (n->type == NOTE_LAYOUT)
		agent_event(a, LOG_INFO, "LAYOUT", of, "%s wants no other layout any more",
			    agent_name(a, n->node));
	else if (n->type == NOTE_FREEZE)
		agent_event(a, LOG_NOTICE, "REHASH", ABOUT(0),
			    "all nodes want %u buckets or another hash: going over", n->n);
	else if (n->type == NOTE_SWITCH)
		agent_event(a, LOG_NOTICE, "REHASH", ABOUT(0),
			    "the new layout, %u buckets, is in force", n->n);
	else if (n->type == NOTE_MIX_FORCED)
		agent_event(a, LOG_WARNING, "DRAIN_TIMEOUT", of,
			    "%s still had connections of the old layout: they will be reset",
			    agent_name(a, n->node));
	else
		agent_event(a, LOG_INFO, "REHASH", ABOUT(0), "nothing is left of the old layout");
	if (n->type == NOTE_MIX_END)	/* what had to wait for it */
		agent_plan_soon(a, now + SOON_MS);
}

static void note_drained(struct agent *a, const struct repl_note *n)
{
	const struct about of = { .node = n->node, .service = OF_SERVICE(n->arg), .buckets = n->n };

	if (n->type == NOTE_DRAINED)
		agent_event(a, LOG_INFO, "DRAINED", of, "%s has no connections left in %u buckets",
			    agent_name(a, n->node), n->n);
	else if (repl_fit(a->repl, n->arg, n->node))
		agent_event(a, LOG_WARNING, "DRAIN_TIMEOUT", of,
			    "%s still had connections in %u buckets: they will be reset",
			    agent_name(a, n->node), n->n);
	else
		agent_event(a, LOG_INFO, "DRAINED", of,
			    "%s does not serve and gives up its connections in %u buckets",
			    agent_name(a, n->node), n->n);
}

static void note_moves(struct agent *a, const struct repl_note *n)
{
	const struct about of = { .node = n->node, .by = n->by, .buckets = n->n };

	if (n->type == NOTE_TAKEN)
		agent_event(a, LOG_WARNING, "TAKE_OVER", of, "%s takes %u buckets of %s",
			    n->by ? agent_name(a, n->by) : "nobody", n->n, agent_name(a, n->node));
	else if (n->type == NOTE_PLAN)
		agent_event(a, n->n ? LOG_INFO : LOG_DEBUG, "PLAN", of, "%u buckets are going to move, says %s", n->n,
			    agent_name(a, n->by));
	else if (n->type == NOTE_SHARE_BACK)
		agent_event(a, LOG_NOTICE, "FAIL_BACK_OK", of, "%s has its share again, %u buckets",
			    agent_name(a, n->node), n->n);
	else
		agent_event(a, LOG_INFO, "MOVE", of, "%u buckets move now", n->n);
}

static void note_order(struct agent *a, const struct repl_note *n, int64_t now)
{
	agent_plan_soon(a, now + SOON_MS);
	if (n->arg != ORDER_RAMP) {
		agent_event(a, LOG_NOTICE, "ORDER", ABOUT(.node = n->node, .by = n->by),
			    "%s%s%s, given at %s", order_text[n->arg], n->node ? " " : "",
			    n->node ? agent_name(a, n->node) : "", agent_name(a, n->by));
		return;
	}
	load_ramped(a, n->node, now);
	if (n->n >= RAMP_FULL)	/* the steps before are no news */
		agent_event(a, LOG_NOTICE, "SLOW_START_END", ABOUT(.node = n->node),
			    "%s has its whole share again", agent_name(a, n->node));
}

static void note_reweigh(struct agent *a, const struct repl_note *n, int64_t now)
{
	const struct about of = { .node = n->node, .by = n->by, .service = OF_SERVICE(n->n) };

	if (n->node)	/* one of these for each node that loses its whole share, or has one again */
		agent_event(a, LOG_NOTICE, "REWEIGH", of, "%s: %s gets %s", a->p.service_name[n->n],
			    agent_name(a, n->node), repl_get_node(a->repl, n->node)->factor[n->n] ?
			    "work again" : "no new work, it is overloaded");
	else
		agent_event(a, LOG_DEBUG, "REWEIGH", of, "%s: weights follow the loads%s",
			    a->p.service_name[n->n], n->arg ? ", buckets will move" : "");
	load_reweighed(a, n, now);
}

void agent_follow_note(struct agent *a, const struct repl_note *n, int64_t now)
{
	switch (n->type) {
	case NOTE_ADMITTED:
		note_admitted(a, n, now);
		break;
	case NOTE_FAILED:
		note_failed(a, n, now);
		break;
	case NOTE_REFUSED:
		agent_event(a, LOG_ERR, "REFUSED", ABOUT(.node = n->node),
			    "%s has another configuration and is not admitted", agent_name(a, n->node));
		break;
	case NOTE_BYE:
		a->due_quiet = now + a->p.failback_delay_ms;
		agent_event(a, LOG_NOTICE, "LEFT", ABOUT(.node = n->node), "%s has stopped",
			    agent_name(a, n->node));
		break;
	case NOTE_PLAN:
	case NOTE_MOVED:
	case NOTE_TAKEN:
	case NOTE_SHARE_BACK:
		note_moves(a, n);
		break;
	case NOTE_DRAINED:
	case NOTE_DRAIN_FORCED:
		note_drained(a, n);
		/* Who is not fit has given up, or what he owned was waiting for others: that is urgent. */
		agent_plan_soon(a, n->type == NOTE_DRAIN_FORCED && !repl_fit(a->repl, n->arg, n->node) ?
				now : now + 1000);
		break;
	case NOTE_GRACE_END:
		agent_plan_soon(a, now + a->p.failback_delay_ms);
		agent_event(a, LOG_NOTICE, "GRACE_END", ABOUT(.node = n->node, .buckets = n->n),
			    "%s has not come back in time for its connections", agent_name(a, n->node));
		break;
	case NOTE_LAYOUT:
	case NOTE_FREEZE:
	case NOTE_SWITCH:
	case NOTE_MIX_FORCED:
	case NOTE_MIX_END:
		note_layout(a, n, now);
		break;
	case NOTE_ORDER:
		note_order(a, n, now);
		break;
	case NOTE_HEALTH:
	case NOTE_SORRY:
		agent_plan_soon(a, now);
		fitness_note(a, n);
		break;
	case NOTE_REWEIGH:
		note_reweigh(a, n, now);
		break;
	}
}

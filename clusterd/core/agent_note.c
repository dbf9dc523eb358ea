/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an applied message did: told to the operator, and which timers it starts. */
#include <syslog.h>

#include "core/agent_priv.h"

#define SOON_MS  20	/* orders are carried out at once, but several together in one plan */
#define FIRST_MS 400	/* nodes of a cluster that starts come together */

static void plan_soon(struct agent *a, int64_t at)
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
	[ORDER_LEAVE] = "leave", [ORDER_TAKEOVER] = "takeover",
};

static void note_admitted(struct agent *a, const struct repl_note *n, int64_t now)
{
	bool unowned = false;

	for (unsigned int s = 0; s < a->p.repl.n_services && !unowned; s++)
		unowned = repl_owned(a->repl, s, NOBODY) != 0;
	/* Traffic that nobody serves waits for no delay; nor do connections waiting for their node. */
	if (repl_count(a->repl, PHASE_GRACE, NOBODY, n->node))
		plan_soon(a, now);
	else if (unowned && n->arg)
		plan_soon(a, now + SOON_MS);
	else if (!n->arg)
		plan_soon(a, now + FIRST_MS);
	else
		a->due_quiet = now + a->p.failback_delay_ms;
	a->grace_end[n->node] = 0;
	agent_event(a, LOG_NOTICE, n->arg ? "FAIL_BACK" : "ADMITTED", "%s is admitted, term %u",
		    agent_name(a, n->node), n->n);
}

static void note_failed(struct agent *a, const struct repl_note *n, int64_t now)
{
	a->due_quiet = now + a->p.failback_delay_ms;
	if (n->arg == FAIL_CRASH)
		a->grace_end[n->node] = now + a->p.grace_ms;
	agent_event(a, LOG_WARNING, "FAIL_DOWN", "%s is down, %s, says %s", agent_name(a, n->node),
		    fail_text[n->arg], agent_name(a, n->by));
}

static void note_layout(struct agent *a, const struct repl_note *n, int64_t now)
{
	if (n->type == NOTE_LAYOUT && n->n)
		agent_event(a, LOG_INFO, "LAYOUT", "%s wants another layout of %u buckets",
			    agent_name(a, n->node), n->n);
	else if (n->type == NOTE_LAYOUT)
		agent_event(a, LOG_INFO, "LAYOUT", "%s wants no other layout any more",
			    agent_name(a, n->node));
	else if (n->type == NOTE_FREEZE)
		agent_event(a, LOG_NOTICE, "REHASH", "all nodes want %u buckets or another hash: going over",
			    n->n);
	else if (n->type == NOTE_SWITCH)
		agent_event(a, LOG_NOTICE, "REHASH", "the new layout, %u buckets, is in force", n->n);
	else if (n->type == NOTE_MIX_FORCED)
		agent_event(a, LOG_WARNING, "DRAIN_TIMEOUT",
			    "%s still had connections of the old layout: they will be reset",
			    agent_name(a, n->node));
	else
		agent_event(a, LOG_INFO, "REHASH", "nothing is left of the old layout");
	if (n->type == NOTE_MIX_END)	/* what had to wait for it */
		plan_soon(a, now + SOON_MS);
}

static void note_moves(struct agent *a, const struct repl_note *n)
{
	if (n->type == NOTE_TAKEN)
		agent_event(a, LOG_WARNING, "TAKE_OVER", "%s takes %u buckets of %s",
			    n->by ? agent_name(a, n->by) : "nobody", n->n, agent_name(a, n->node));
	else if (n->type == NOTE_PLAN)
		agent_event(a, LOG_INFO, "PLAN", "%u buckets are going to move, says %s", n->n,
			    agent_name(a, n->by));
	else if (n->type == NOTE_MOVED)
		agent_event(a, LOG_INFO, "MOVE", "%u buckets move now", n->n);
	else if (n->type == NOTE_DRAIN_FORCED)
		agent_event(a, LOG_WARNING, "DRAIN_TIMEOUT",
			    "%s still had connections in %u buckets: they will be reset",
			    agent_name(a, n->node), n->n);
	else
		agent_event(a, LOG_INFO, "DRAINED", "%s has no connections left in %u buckets",
			    agent_name(a, n->node), n->n);
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
		agent_event(a, LOG_ERR, "REFUSED", "%s has another configuration and is not admitted",
			    agent_name(a, n->node));
		break;
	case NOTE_BYE:
		a->due_quiet = now + a->p.failback_delay_ms;
		agent_event(a, LOG_NOTICE, "LEFT", "%s has stopped", agent_name(a, n->node));
		break;
	case NOTE_PLAN:
	case NOTE_MOVED:
	case NOTE_TAKEN:
		note_moves(a, n);
		break;
	case NOTE_DRAINED:
	case NOTE_DRAIN_FORCED:
		note_moves(a, n);
		plan_soon(a, now + 1000);
		break;
	case NOTE_GRACE_END:
		plan_soon(a, now + a->p.failback_delay_ms);
		agent_event(a, LOG_NOTICE, "GRACE_END",
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
		plan_soon(a, now + SOON_MS);
		agent_event(a, LOG_NOTICE, "ORDER", "%s %s, given at %s", order_text[n->arg],
			    n->node ? agent_name(a, n->node) : "", agent_name(a, n->by));
		break;
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which services are fit to serve here, and at our left neighbour; who is whose neighbour. */
#include <syslog.h>

#include "core/agent_priv.h"

void agent_health(struct agent *a, unsigned int service, enum fitness h, int64_t now)
{
	(void)now;
	if (service < a->p.repl.n_services)
		a->health[service] = h;
}

static unsigned int left_of_us(const struct agent *a)
{
	unsigned int left, right;

	repl_ring(a->repl, a->p.self, &left, &right);
	return left;
}

void agent_peer_health(struct agent *a, unsigned int service, unsigned int node, bool reachable,
		       int64_t now)
{
	(void)now;
	if (service >= a->p.repl.n_services || !node || node != left_of_us(a))
		return;
	a->peer[service].node = node;
	a->peer[service].unreachable = !reachable;
}

static void send_health(struct agent *a, unsigned int service, unsigned int node, enum fitness h)
{
	struct msg m = { .type = MSG_HEALTH };

	m.u.health.service = (uint8_t)service;
	m.u.health.node = (uint8_t)node;
	m.u.health.health = (uint8_t)h;
	agent_send(a, &m);
}

static void tick_own(struct agent *a, unsigned int service, int64_t now)
{
	enum fitness h = a->health[service];

	if (repl_get_node(a->repl, a->p.self)->health[service] != h &&
	    agent_due(&a->health_sent[service], 1 + (uint64_t)h, now))
		send_health(a, service, a->p.self, h);
}

static void tick_peer(struct agent *a, unsigned int service, unsigned int left, int64_t now)
{
	struct peer_seen *p = &a->peer[service];

	if (!left)
		return;
	bool said = repl_get_node(a->repl, left)->seen_down[service] == a->p.self;

	/* If nobody else could take what it has, the group does not listen to us. */
	if (said == p->unreachable || (p->unreachable && !repl_another_fit(a->repl, service, left)) ||
	    !agent_due(&p->sent, 1 + (uint64_t)p->unreachable, now))
		return;
	send_health(a, service, left, p->unreachable ? FITNESS_DOWN : FITNESS_UP);
}

void fitness_tick(struct agent *a, int64_t now)
{
	unsigned int left = left_of_us(a);

	/* Of a new neighbour we have seen nothing yet; nor of one that is back, whatever we are meanwhile. */
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		if (a->peer[s].node != left)
			a->peer[s] = (struct peer_seen){ .node = left };
	if (!agent_in_step(a) || !agent_self_online(a))
		return;
	for (unsigned int s = 0; s < a->p.repl.n_services; s++) {
		tick_own(a, s, now);
		tick_peer(a, s, left, now);
	}
}

/* ---- events ---- */

static void note_sorry(struct agent *a, const struct repl_note *n)
{
	if (n->arg)
		agent_event(a, LOG_ERR, "SORRY", ABOUT(.service = OF_SERVICE(n->n)),
			    "no node is fit for %s: its clients are turned away",
			    a->p.service_name[n->n]);
	else
		agent_event(a, LOG_NOTICE, "SORRY_END", ABOUT(.service = OF_SERVICE(n->n)),
			    repl_online(a->repl) ? "%s has nodes that are fit again" :
			    "%s has no nodes at all, nobody is turned away any more",
			    a->p.service_name[n->n]);
}

void fitness_note(struct agent *a, const struct repl_note *n)
{
	static const char *const name[FITNESS_N] = {
		[FITNESS_UP] = "SERVICE_UP", [FITNESS_WORKS] = "SERVICE_WORKS",
		[FITNESS_DOWN] = "SERVICE_DOWN",
	};
	static const char *const own[FITNESS_N] = {
		[FITNESS_UP] = "is fit again", [FITNESS_WORKS] = "works, but takes no new connections",
		[FITNESS_DOWN] = "does not serve",
	};

	if (n->type == NOTE_SORRY) {
		note_sorry(a, n);
		return;
	}
	const struct about of = { .node = n->node, .by = n->by, .service = OF_SERVICE(n->n) };
	const char *service = a->p.service_name[n->n];
	int priority = n->arg == FITNESS_UP ? LOG_NOTICE : LOG_WARNING;

	if (n->by == n->node)
		agent_event(a, priority, name[n->arg], of, "%s at %s %s", service,
			    agent_name(a, n->node), own[n->arg]);
	else if (n->arg == FITNESS_UP)	/* by nobody: the ring has changed */
		agent_event(a, priority, name[n->arg], of, "%s at %s may try again%s%s", service,
			    agent_name(a, n->node), n->by ? ", says " : "",
			    n->by ? agent_name(a, n->by) : "");
	else
		agent_event(a, priority, name[n->arg], of, "%s at %s does not answer %s", service,
			    agent_name(a, n->node), agent_name(a, n->by));
}

/* ---- the ring ---- */

static bool neighbours_in(uint64_t mask, unsigned int x, unsigned int y)
{
	return mask_has(mask, x) && mask_has(mask, y) && (mask_next(mask, x) == y || mask_next(mask, y) == x);
}

void fitness_ring(struct agent *a, bool loaded)
{
	uint64_t was = a->ring, is = repl_online(a->repl);

	if (was == is)
		return;
	a->ring = is;
	for (uint64_t x = is; x && !loaded; x &= x - 1) {
		unsigned int id = mask_lowest(x), right = mask_next(is, id);

		/* Of two, each is the other's right one: that is one pair. */
		if (right == id || neighbours_in(was, id, right) || (mask_count(is) == 2 && right < id))
			continue;
		agent_event(a, LOG_INFO, "REBUILD", ABOUT(.node = (uint8_t)id, .by = (uint8_t)right),
			    "%s and %s are neighbours now", agent_name(a, id), agent_name(a, right));
	}
}

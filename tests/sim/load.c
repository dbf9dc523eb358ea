/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What nodes see of themselves and of their left neighbours, once a second.  Load: the service's
 * demand by the share that the node's kernel takes and by its capacity, other things besides, with
 * the inertia of connections that go on for a while, and noise.
 */

#include <stdio.h>
#include <string.h>

#include "core/report.h"
#include "sim.h"

#define FALL      3		/* as PEERCHECK_FALL */
#define TRIAL     (5 * SEC)	/* PEERCHECK_TRIAL_MS, shorter */
#define TRIAL_MAX (20 * SEC)

/* Draws for loads are no part of what else happens. */
static int64_t rnd3(struct sim *s, int64_t low, int64_t high)
{
	uint64_t rng = s->rng;
	int64_t x;

	s->rng = s->rng3;
	x = rnd_in(s, low, high);
	s->rng3 = s->rng;
	s->rng = rng;
	return x;
}

static unsigned int taken(const struct sim *s, const struct node *n)
{
	unsigned int count = 0;

	if (!kernel_leased(s, n))
		return 0;
	for (uint32_t b = 0; b < n->k[0].buckets; b++)
		count += n->k[0].act[b].state == BUCKET_MINE || n->k[0].act[b].state == BUCKET_ADOPTING;
	return count;
}

static int64_t target(const struct sim *s, const struct node *n)
{
	uint32_t buckets = n->k[0].buckets ? n->k[0].buckets : 1;
	int64_t work = (int64_t)s->demand * s->p.n_nodes * taken(s, n) * 1000 / buckets;
	int64_t load = work * 1000 / n->capacity + n->extra * 1000;

	return load > 1000000 ? 1000000 : load;
}

static void sample(struct sim *s, struct node *n)
{
	int64_t seen;
	struct sample m = { 0 };

	n->load += (target(s, n) - n->load) / 2;
	seen = n->load / 1000 + rnd3(s, -(int64_t)s->noise, s->noise);
	seen = seen < 0 ? 0 : seen > 1000 ? 1000 : seen;
	m.load = (uint16_t)seen;
	m.cpu_idle = (uint16_t)(1000 - seen);
	m.mem_free_kb = 500000 + 400000 * (uint32_t)((1050 - seen) / 100);	/* at rest it is the same */
	m.conns[0] = taken(s, n) * s->demand / 100;
	agent_sample(n->agent, &m, node_ms(s, n));
}

/* Can the left neighbour be reached?  The verdict is for the group to have; see clusterd/peercheck.c. */
static void look_left(struct sim *s, struct node *n, unsigned int v)
{
	const struct repl *r = agent_repl(n->agent);
	struct watch *w = &n->watch[v];
	unsigned int left, right;

	repl_ring(r, n->id, &left, &right);
	if (left != w->left)
		*w = (struct watch){ .left = left, .trial = TRIAL };
	if (w->down && s->now >= w->trial_at) {
		w->down = false;
		w->silent = 0;
		agent_peer_health(n->agent, v, left, true, node_ms(s, n));
	}
	if (!left || w->down || !kernel_leased(s, n) || !repl_owned(r, v, left))
		return;
	if (!s->node[left].unreachable[v] && kernel_leased(s, &s->node[left])) {
		w->silent = 0;
		w->trial = TRIAL;
		return;
	}
	if (++w->silent < FALL)
		return;
	w->down = true;
	w->trial_at = s->now + w->trial;
	w->trial = 2 * w->trial > TRIAL_MAX ? TRIAL_MAX : 2 * w->trial;
	trace(s, n->id, "cannot reach service %u of n%u", v, left);
	agent_peer_health(n->agent, v, left, false, node_ms(s, n));
}

void load_begin(struct sim *s, struct node *n)
{
	n->load = 0;
	n->told_ms = -1;
	memset(n->watch, 0, sizeof(n->watch));
	agent_hold(n->agent, true);	/* until the checks have looked once */
	post(s, s->now + rnd3(s, 0, SEC), EV_SAMPLE, n->id, n->life, 0, NULL);
}

void load_on_sample(struct sim *s, struct node *n)
{
	n->n_samples++;
	sample(s, n);
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		agent_health(n->agent, v, n->fit[v], node_ms(s, n));
		look_left(s, n, v);
	}
	agent_hold(n->agent, false);
	post(s, s->now + SEC + rnd3(s, 0, 20 * MS), EV_SAMPLE, n->id, n->life, 0, NULL);
	node_settle(s, n);
}

/* The traffic that report.h promises. */
void load_told(struct sim *s, struct node *n)
{
	int64_t ms = node_ms(s, n);

	if (n->told_ms >= 0 && ms - n->told_ms < REPORT_MIN_MS)
		sim_fail(s, n->id, "tells its load %lld ms after the last time",
			 (long long)(ms - n->told_ms));
	n->told_ms = ms;
	n->n_told++;
}

void load_fit(struct sim *s, struct node *n, unsigned int service, enum fitness h)
{
	trace(s, n->id, "service %u is %s", service, fitness_str(h));
	n->fit[service] = h;
	if (!n->running || n->frozen || n->main_hung)
		return;		/* it is seen later */
	agent_health(n->agent, service, h, node_ms(s, n));
	node_settle(s, n);
}

static bool service_well(struct sim *s, const struct repl *r, unsigned int v, char *why, size_t size)
{
	bool fit = false, online = false, weight = false;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		weight |= repl_node_weight(r, i) != 0;
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		online |= s->node[i].wanted;
		/* All drained: the buckets stay with whoever has them. */
		fit |= s->node[i].wanted && s->node[i].fit[v] == FITNESS_UP &&
		       (!weight || repl_node_weight(r, i)) && !s->node[i].unreachable[v];
	}
	if (online && repl_sorry(r, v) == fit) {
		snprintf(why, size, "service %u: sorry %d", v, repl_sorry(r, v));
		return false;
	}
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		const struct node *n = &s->node[i];
		const struct repl_node *k = repl_get_node(r, i);

		if (!n->wanted)
			continue;
		if (k->health[v] != n->fit[v] || (k->seen_down[v] && !n->unreachable[v]))
			snprintf(why, size, "service %u of n%u counts as %s%s", v, i,
				 fitness_str((enum fitness)k->health[v]), k->seen_down[v] ? ", not reached" : "");
		else if (n->fit[v] != FITNESS_UP && fit && weight && repl_owned(r, v, i))
			snprintf(why, size, "n%u has buckets of service %u and is not fit", i, v);
		else if (k->ramp != RAMP_FULL && !k->hold_back)
			snprintf(why, size, "n%u has %u of its share", i, k->ramp);
		else
			continue;
		return false;
	}
	return true;
}

bool load_well(struct sim *s, const struct repl *r, char *why, size_t size)
{
	for (unsigned int v = 0; s->p.loads && v < s->p.n_services; v++)
		if (!service_well(s, r, v, why, size))
			return false;
	return true;
}

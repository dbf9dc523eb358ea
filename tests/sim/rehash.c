/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The operator changes the hash or the number of buckets, file by file, while the cluster works. */

#include <stdlib.h>
#include <string.h>

#include "script.h"

#define FREEZE_MAX (150 * MS)	/* for so long new connections may wait */

static struct layout other_layout(struct sim *s, const struct layout *than)
{
	struct layout l;

	do {
		l = (struct layout){ .buckets = UINT32_C(64) << rnd_in(s, 0, 2) };
		l.hash[0] = rnd_chance(s, 400);
		l.hash[1] = s->p.n_services > 1 && rnd_chance(s, 300);
	} while (layout_equal(&l, than));
	return l;
}

static void reload_later(struct sim *s, unsigned int i, int64_t in, const struct layout *l)
{
	struct layout *copy = malloc(sizeof(*copy));

	if (!copy)
		abort();
	*copy = *l;
	post(s, s->now + in, EV_RELOAD, i, 0, 0, copy);
}

static void reload_all(struct sim *s, int64_t spread, const struct layout *l)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		reload_later(s, i, rnd_in(s, 0, spread), l);
}

static void begin(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes);
	s->p.keys = REHASH_KEYS;
	boot(s);
}

static uint64_t everybody(const struct sim *s)
{
	return (UINT64_C(1) << s->p.n_nodes) - 1;
}

/* Nobody fails: no connection is lost, new ones wait for a moment only. */
void sc_rehash(struct sim *s, unsigned int nodes)
{
	begin(s, nodes ? nodes : (unsigned int)rnd_in(s, 1, 5));
	all_flows(s, FLOW_STRICT);
	kernel_watch_gaps(s, FREEZE_MAX, everybody(s), false);
	s->strict = true;
	for (unsigned int k = (unsigned int)rnd_in(s, 1, 3); k--; ) {
		struct layout l = other_layout(s, &nd(s, 1)->file);

		if (rnd_chance(s, 400))
			order(s, ORDER_WEIGHT, pick(s), (uint16_t)rnd_in(s, 20, 300));
		sim_run(s, rnd_in(s, 0, 60 * MS));
		reload_all(s, rnd_chance(s, 500) ? 20 * MS : 2 * SEC, &l);
		sim_run(s, rnd_in(s, 0, 2 * SEC));
		if (rnd_chance(s, 300))
			order(s, ORDER_DRAIN, pick(s), 0);
		sim_run(s, 2 * SEC);
		settle(s, 40 * SEC);
	}
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		order(s, ORDER_UNDRAIN, i, 0);
	settle(s, 40 * SEC);
	s->strict = false;
	heal(s);
}

/* All are reloaded, and one daemon dies at any instant of the change and comes back at once. */
void sc_rehash_crash(struct sim *s, unsigned int nodes)
{
	unsigned int victim;
	struct layout l;

	begin(s, nodes);
	victim = pick(s);
	all_flows(s, FLOW_STRICT);
	nd(s, victim)->flow_rule = FLOW_NO_RESET;
	kernel_watch_gaps(s, 2 * s->p.lease + SLACK + FREEZE_MAX, everybody(s), false);
	l = other_layout(s, &nd(s, 1)->file);
	reload_all(s, 10 * MS, &l);
	sim_run(s, 10 * MS + rnd_in(s, 0, rnd_chance(s, 700) ? 30 * MS : 2 * SEC));
	trace(s, victim, "FAULT SIGKILL");
	node_kill(s, nd(s, victim));
	post(s, s->now + rnd_in(s, 80 * MS, 200 * MS), EV_START, victim, 0, 0, NULL);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

/* Anything may fail; the files are the same in the end. */
void sc_rehash_loss(struct sim *s, unsigned int nodes)
{
	struct layout l;

	begin(s, nodes ? nodes : (unsigned int)rnd_in(s, 2, 5));
	l = other_layout(s, &nd(s, 1)->file);
	reload_all(s, rnd_chance(s, 700) ? 10 * MS : SEC, &l);
	sim_run(s, rnd_in(s, 0, rnd_chance(s, 700) ? 60 * MS : 2 * SEC));
	for (unsigned int k = (unsigned int)rnd_in(s, 1, 3); k--; ) {
		fault(s, pick(s), (unsigned int)rnd_in(s, 0, 5));
		sim_run(s, rnd_in(s, 0, rnd_chance(s, 500) ? 100 * MS : 4 * SEC));
		if (rnd_chance(s, 300)) {
			l = other_layout(s, &l);
			reload_all(s, 50 * MS, &l);
		} else if (rnd_chance(s, 300)) {
			struct layout odd = other_layout(s, &l);

			reload_later(s, pick(s), rnd_in(s, 0, 50 * MS), &odd);
		}
	}
	heal(s);
}

void random_reload(struct sim *s)
{
	uint64_t rng = s->rng;
	struct layout l;

	if (s->p.keys != REHASH_KEYS)
		return;
	s->rng = s->rng2;
	l = other_layout(s, &nd(s, 1)->file);
	if (rnd_chance(s, 150))
		reload_all(s, 100 * MS, &l);
	else if (rnd_chance(s, 100))
		reload_later(s, pick(s), 0, &l);
	s->rng2 = s->rng;
	s->rng = rng;
}

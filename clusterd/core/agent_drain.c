/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Draining: which connections of moved buckets are still here, and for how long they may be. */
#include <string.h>

#include "core/agent_priv.h"

#define COUNT_MS 500	/* between two looks at the draining connections */

static int64_t drain_deadline(struct agent *a, uint32_t since, int64_t now)
{
	struct drain_clock *oldest = &a->clocks[0];

	for (unsigned int i = 0; i < DRAIN_CLOCKS; i++) {
		struct drain_clock *c = &a->clocks[i];

		if (c->deadline && c->since == since)
			return c->deadline;
		if (c->deadline < oldest->deadline)
			oldest = c;
	}
	*oldest = (struct drain_clock){ .since = since, .deadline = now + a->p.drain_timeout_ms };
	return oldest->deadline;
}

/* Moved by the plan under way: some may still hand new flows to us, which we hand on. */
static bool needed(const struct agent *a, const struct repl_bucket *k)
{
	uint64_t plan = repl_plan(a->repl);

	return plan && (int32_t)(k->since - (uint32_t)plan) > 0;
}

static bool draining_here(const struct agent *a, const struct repl_bucket *k)
{
	return k->other == a->p.self &&
	       (k->phase == PHASE_GRACE || (k->phase == PHASE_DRAIN && !needed(a, k)));
}

bool agent_count_wanted(struct agent *a, unsigned int service, uint8_t *wanted, int64_t now)
{
	uint32_t n = 0, buckets = repl_layout(a->repl)->buckets;

	if (now < a->next_count[service])
		return false;
	a->next_count[service] = now + COUNT_MS;
	if (!agent_in_step(a) || !agent_self_online(a))
		return false;
	memset(wanted, 0, buckets / 8);
	a->counted_epoch[service] = repl_epoch(a->repl);
	a->counted_switch[service] = repl_switched(a->repl);
	if (repl_old_layout(a->repl))
		return layout_count_wanted(a, service, wanted) != 0;
	for (uint32_t b = 0; b < buckets; b++) {
		if (!draining_here(a, repl_get_bucket(a->repl, service, b)))
			continue;
		wanted[b / 8] |= (uint8_t)(1u << (b % 8));
		n++;
	}
	return n != 0;
}

static void send_drained(struct agent *a, unsigned int service, const uint8_t *bitmap, bool forced)
{
	struct msg m = { .type = MSG_DRAINED };

	m.u.drained.service = (uint8_t)service;
	m.u.drained.epoch = a->counted_epoch[service];
	m.u.drained.forced = forced;
	m.u.drained.size = repl_layout(a->repl)->buckets / 8;
	m.u.drained.bitmap = bitmap;
	agent_send(a, &m);
}

void agent_counted(struct agent *a, unsigned int service, const uint8_t *empty, int64_t now)
{
	uint32_t n = 0, n_forced = 0, buckets = repl_layout(a->repl)->buckets;

	if (a->counted_switch[service] != repl_switched(a->repl))
		return;		/* its bits were other buckets */
	if (repl_old_layout(a->repl)) {
		layout_counted(a, service, empty, now);
		return;
	}
	memset(a->bitmap, 0, buckets / 8);
	memset(a->forced, 0, buckets / 8);
	for (uint32_t b = 0; b < buckets; b++) {
		const struct repl_bucket *k = repl_get_bucket(a->repl, service, b);
		uint8_t bit = (uint8_t)(1u << (b % 8));

		if (!draining_here(a, k))
			continue;
		if (empty[b / 8] & bit) {
			a->bitmap[b / 8] |= bit;
			n++;
		} else if (now >= drain_deadline(a, k->since, now)) {
			a->forced[b / 8] |= bit;
			n_forced++;
		}
	}
	if (n)
		send_drained(a, service, a->bitmap, false);
	if (n_forced)
		send_drained(a, service, a->forced, true);
}

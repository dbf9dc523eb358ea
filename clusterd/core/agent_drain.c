/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which connections of moved buckets are still here, and for how long they may be; idle buckets. */
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

/* Of a service that is down here nobody waits for connections: drain_tick() gives them up. */
static bool worth_counting(const struct agent *a, const struct repl_bucket *k, bool down, bool idle)
{
	if (k->phase == PHASE_STABLE)
		return idle && k->owner == a->p.self;
	return !down && draining_here(a, k);
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
	bool down = repl_down(a->repl, service, a->p.self), idle = load_wants_idle(a, service, now);

	for (uint32_t b = 0; b < buckets; b++) {
		if (!worth_counting(a, repl_get_bucket(a->repl, service, b), down, idle))
			continue;
		wanted[b / 8] |= (uint8_t)(1u << (b % 8));
		n++;
	}
	return n != 0;
}

static void send_drained(struct agent *a, unsigned int service, uint64_t epoch, const uint8_t *bitmap,
			 bool forced)
{
	struct msg m = { .type = MSG_DRAINED };

	m.u.drained.service = (uint8_t)service;
	m.u.drained.epoch = epoch;
	m.u.drained.forced = forced;
	m.u.drained.size = repl_layout(a->repl)->buckets / 8;
	m.u.drained.bitmap = bitmap;
	agent_send(a, &m);
}

/*
 * Not worth waiting for: the service is down here, or it is down at the new owner and we are not fit to
 * have the bucket back (if we are, a plan does that), so that nobody could take it while we wait.
 */
static bool hopeless(const struct agent *a, unsigned int service, const struct repl_bucket *k)
{
	return draining_here(a, k) &&
	       (repl_down(a->repl, service, a->p.self) ||
		(repl_down(a->repl, service, k->owner) && !repl_fit(a->repl, service, a->p.self)));
}

void drain_tick(struct agent *a, int64_t now)
{
	if (!agent_in_step(a) || !agent_self_online(a) || repl_old_layout(a->repl))
		return;
	for (unsigned int s = 0; s < a->p.repl.n_services; s++) {
		uint32_t n = 0, last = 0, buckets = repl_layout(a->repl)->buckets;

		if (repl_fit(a->repl, s, a->p.self) || !repl_moving(a->repl, s))
			continue;
		memset(a->forced, 0, buckets / 8);
		for (uint32_t b = 0; b < buckets; b++) {
			const struct repl_bucket *k = repl_get_bucket(a->repl, s, b);

			if (!hopeless(a, s, k))
				continue;
			a->forced[b / 8] |= (uint8_t)(1u << (b % 8));
			if (!n++ || (int32_t)(k->since - last) > 0)
				last = k->since;
		}
		if (n && agent_due(&a->given_up[s], 1 + (uint64_t)last, now))
			send_drained(a, s, repl_epoch(a->repl), a->forced, true);
	}
}

/* Asked for as load_wants_idle() wished; by now the plan may have begun, then it is too late. */
static void tell_idle(struct agent *a, unsigned int service, const uint8_t *empty, int64_t now)
{
	uint32_t n = 0, buckets = repl_layout(a->repl)->buckets;
	struct msg m = { .type = MSG_IDLE };

	if (!load_wants_idle(a, service, now))
		return;
	memset(a->bitmap, 0, buckets / 8);
	for (uint32_t b = 0; b < buckets; b++) {
		const struct repl_bucket *k = repl_get_bucket(a->repl, service, b);
		uint8_t bit = (uint8_t)(1u << (b % 8));

		if (k->phase != PHASE_STABLE || k->owner != a->p.self || !(empty[b / 8] & bit))
			continue;
		a->bitmap[b / 8] |= bit;
		n++;
	}
	m.u.idle.service = (uint8_t)service;
	m.u.idle.epoch = a->counted_epoch[service];
	m.u.idle.size = buckets / 8;
	m.u.idle.bitmap = a->bitmap;
	if (n)
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
		send_drained(a, service, a->counted_epoch[service], a->bitmap, false);
	if (n_forced)
		send_drained(a, service, a->counted_epoch[service], a->forced, true);
	tell_idle(a, service, empty, now);
}

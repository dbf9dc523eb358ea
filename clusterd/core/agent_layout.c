/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This node's part in a change of the layout; see repl_layout.c for the whole. */
#include <errno.h>
#include <string.h>

#include "core/agent_priv.h"

int agent_propose_layout(struct agent *a, const struct layout *layout, int64_t now)
{
	if (!layout_valid(layout))
		return -EINVAL;
	a->want = *layout;
	a->want_sent.again = now;
	return 0;
}

void layout_follow(struct agent *a, int64_t now)
{
	if (!mask_has(repl_mixed(a->repl), a->p.self))	/* admitted again, it counts again */
		a->mixed_empty = 0;
	if (a->followed == repl_switched(a->repl))
		return;
	a->followed = repl_switched(a->repl);
	a->mixed_deadline = now + a->p.drain_timeout_ms;
	a->mixed_empty = 0;
	memset(a->next_count, 0, sizeof(a->next_count));
}

/* Our wish has arrived: it is in force, or the group knows it. */
static bool known(const struct agent *a)
{
	const struct repl_node *n = repl_get_node(a->repl, a->p.self);

	if (layout_equal(&a->want, repl_layout(a->repl)))
		return !n->proposed;
	return n->proposed && layout_equal(&a->want, &n->wanted);
}

static void tick_want(struct agent *a, int64_t now)
{
	struct msg m = { .type = MSG_LAYOUT };

	if (!agent_in_step(a) || !agent_self_online(a) || known(a) ||
	    !agent_due(&a->want_sent, a->want.buckets, now))
		return;
	m.u.layout = a->want;
	agent_send(a, &m);
}

/*
 * Admitted, and the kernel has our tables.  Without a lease it takes nothing, which is as good as
 * frozen; and nobody is admitted meanwhile, for whom the lease may have to wait.
 */
static bool ready_for_step(const struct agent *a)
{
	return agent_in_step(a) && agent_self_online(a) && a->installed == a->version;
}

static void tick_freeze(struct agent *a, int64_t now)
{
	struct msg m = { .type = MSG_ACK };

	if (!repl_rehash_ack(a->repl) || !ready_for_step(a) ||
	    mask_has(repl_rehash_acks(a->repl), a->p.self) ||
	    !agent_due(&a->freeze_ack, repl_rehash_ack(a->repl), now))
		return;
	m.u.plan.plan = repl_rehash_ack(a->repl);
	agent_send(a, &m);
}

static void tick_mixed(struct agent *a, int64_t now)
{
	uint32_t all = (UINT32_C(1) << a->p.repl.n_services) - 1;
	bool empty = a->mixed_empty == all;
	struct msg m = { .type = MSG_UNMIXED };

	/* With the kernel on it: nobody hands on by the old layout when the mixture ends. */
	if (repl_rehash_phase(a->repl) != REHASH_MIXED || !mask_has(repl_mixed(a->repl), a->p.self) ||
	    !ready_for_step(a) || (!empty && now < a->mixed_deadline) ||
	    !agent_due(&a->unmixed, repl_rehash(a->repl), now))
		return;
	m.u.unmixed.rehash = repl_rehash(a->repl);
	m.u.unmixed.forced = !empty;
	agent_send(a, &m);
}

void layout_tick(struct agent *a, int64_t now)
{
	tick_want(a, now);
	tick_freeze(a, now);
	tick_mixed(a, now);
}

static bool elsewhere(const struct agent *a, unsigned int service, uint32_t b)
{
	return repl_get_bucket(a->repl, service, b)->owner != a->p.self;
}

uint32_t layout_count_wanted(struct agent *a, unsigned int service, uint8_t *wanted)
{
	uint32_t n = 0, buckets = repl_layout(a->repl)->buckets;

	if (!mask_has(repl_mixed(a->repl), a->p.self))
		return 0;
	for (uint32_t b = 0; b < buckets; b++)
		if (elsewhere(a, service, b)) {
			wanted[b / 8] |= (uint8_t)(1u << (b % 8));
			n++;
		}
	if (!n)
		a->mixed_empty |= 1u << service;
	return n;
}

void layout_counted(struct agent *a, unsigned int service, const uint8_t *empty, int64_t now)
{
	uint32_t buckets = repl_layout(a->repl)->buckets;

	(void)now;
	for (uint32_t b = 0; b < buckets; b++)
		if (elsewhere(a, service, b) && !(empty[b / 8] & (1u << (b % 8))))
			return;
	a->mixed_empty |= 1u << service;
}

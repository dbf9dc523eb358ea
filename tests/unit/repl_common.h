/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_REPL_COMMON_H
#define TESTS_UNIT_REPL_COMMON_H

/* Messages, and states in each phase, for the tests of core/repl. */

#include "core/repl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 4
#define BUCKETS 64
#define CONFIG 77

#define STUB_BROKEN 1	/* mem_free_kb: makes the policy break its word */

/* What is left of a node that is 'load' busy; of whom nothing is known, what it had. */
static inline void stub_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	for (uint32_t i = 0; i < in->n; i++) {
		const struct clusterd_policy_node *n = &in->node[i];

		factor[i] = !n->known ? n->factor : n->load > 1000 ? 0 : 1000 - n->load;
		if (n->known && n->mem_free_kb == STUB_BROKEN)
			factor[i] = CLUSTERD_FACTOR_MAX + 1;
	}
}

static const struct clusterd_policy_ops stub_policy = { .factors = stub_factors, .interval_ms = 1000 };

/* The buckets of the first service follow its policy, of the second one its scheduler does. */
static const struct repl_params params = { .n_nodes = N, .n_services = 2, .layout = { .buckets = BUCKETS },
					   .salt = { 1, 2 }, .n_vips = 5,
					   .vip_salt = { 11, 12, 13, 14, 15 },
					   .policy = { { .ops = &stub_policy, .step = 100 },
						       { .ops = &stub_policy, .step = 100, .direct = true } } };
static struct repl_fx fx;
static uint8_t all_ones[BUCKETS];

/* ---- messages ---- */

static inline struct msg base(enum msg_type t, unsigned int from)
{
	return (struct msg){ .type = t, .from = (uint8_t)from, .incarnation = from * 100 };
}

static inline struct msg ready_as(unsigned int from, uint64_t incarnation, bool hold_back)
{
	struct msg m = base(MSG_READY, from);

	m.incarnation = incarnation;
	m.u.ready.config = CONFIG;
	m.u.ready.weight = 100;
	m.u.ready.hold_back = hold_back;
	m.u.ready.n_links = 2;
	m.u.ready.link[0].mac[5] = (uint8_t)from;
	return m;
}

static inline struct msg ready(unsigned int from)
{
	return ready_as(from, from * 100, false);
}

static inline struct msg fail_of(const struct repl *r, unsigned int node, enum fail_kind kind)
{
	struct msg m = base(MSG_FAIL, node == 1 ? 2 : 1);

	m.u.fail.node = (uint8_t)node;
	m.u.fail.kind = (uint8_t)kind;
	m.u.fail.term = repl_get_node(r, node)->term;
	return m;
}

static inline struct msg plan_step(enum msg_type t, unsigned int from, uint64_t plan)
{
	struct msg m = base(t, from);

	m.u.plan.plan = plan;
	return m;
}

static inline struct msg drained(unsigned int from, unsigned int service, uint64_t epoch, const uint8_t *bits)
{
	struct msg m = base(MSG_DRAINED, from);

	m.u.drained.service = (uint8_t)service;
	m.u.drained.epoch = epoch;
	m.u.drained.size = BUCKETS / 8;
	m.u.drained.bitmap = bits;
	return m;
}

static inline struct msg order(unsigned int from, enum order_type t, unsigned int node, uint16_t value)
{
	struct msg m = base(MSG_ORDER, from);

	m.u.order.type = (uint8_t)t;
	m.u.order.node = (uint8_t)node;
	m.u.order.value = value;
	return m;
}

static inline struct msg health(unsigned int from, unsigned int service, unsigned int node,
				enum fitness h)
{
	struct msg m = base(MSG_HEALTH, from);

	m.u.health.service = (uint8_t)service;
	m.u.health.node = (uint8_t)node;
	m.u.health.health = (uint8_t)h;
	return m;
}

/* load[0] is node 1's; -1: nothing is known of it. */
static inline struct msg reweigh(unsigned int service, const int *load, unsigned int n)
{
	struct msg m = base(MSG_REWEIGH, 1);

	m.u.reweigh.service = (uint8_t)service;
	for (unsigned int i = 0; i < n; i++)
		if (load[i] >= 0)
			m.u.reweigh.node[m.u.reweigh.n++] = (struct policy_sample){
				.node = (uint8_t)(i + 1), .load = (uint16_t)load[i] };
	return m;
}

static inline struct msg idle(unsigned int from, unsigned int service, uint64_t epoch, const uint8_t *bits,
			      uint32_t size)
{
	struct msg m = base(MSG_IDLE, from);

	m.u.idle.service = (uint8_t)service;
	m.u.idle.epoch = epoch;
	m.u.idle.size = size;
	m.u.idle.bitmap = bits;
	return m;
}

static inline struct msg grace_end(unsigned int node)
{
	struct msg m = base(MSG_GRACE_END, node == 1 ? 2 : 1);

	m.u.grace.node = (uint8_t)node;
	return m;
}

/* Applies; what was not changed must be the same bit for bit; what was, valid. */
static inline void apply(struct repl *r, struct msg m)
{
	uint64_t digest = repl_digest(r), epoch = repl_epoch(r);

	assert_int_equal(repl_apply(r, &m, &fx), 0);
	assert_true(repl_valid(r));
	assert_int_equal(repl_epoch(r), epoch + fx.changed);
	assert_int_equal(repl_digest(r) != digest, fx.changed);
}

static inline void ignored(struct repl *r, struct msg m)
{
	apply(r, m);
	assert_false(fx.changed);
	assert_false(fx.tables);
	assert_int_equal(fx.n_notes, 0);
}

static inline void malformed(struct repl *r, struct msg m)
{
	uint64_t digest = repl_digest(r);

	assert_int_equal(repl_apply(r, &m, &fx), -EBADMSG);
	assert_int_equal(repl_digest(r), digest);
}

static inline struct repl *fresh(void)
{
	struct repl *r;

	assert_int_equal(repl_new(&r, &params), 0);
	return r;
}

static inline void all_ack(struct repl *r)
{
	uint64_t plan = repl_plan_ack(r);

	for (unsigned int i = 1; i <= N; i++)
		if (mask_has(repl_online(r), i)) {
			struct msg m = plan_step(MSG_ACK, i, plan);

			m.incarnation = repl_get_node(r, i)->incarnation;
			apply(r, m);
		}
}

static inline void all_leave(struct repl *r)
{
	uint64_t plan = repl_plan(r);

	for (unsigned int i = 1; i <= N; i++)
		apply(r, plan_step(MSG_LEFT, i, plan));
}

static inline void all_adopt(struct repl *r)
{
	uint64_t plan = repl_plan(r);

	for (unsigned int i = 1; i <= N; i++)
		apply(r, plan_step(MSG_ADOPTED, i, plan));
}

static inline void all_drain(struct repl *r)
{
	for (unsigned int i = 1; i <= N; i++)
		for (unsigned int s = 0; s < params.n_services; s++) {
			struct msg m = drained(i, s, repl_epoch(r), all_ones);

			m.u.drained.size = repl_layout(r)->buckets / 8;
			apply(r, m);
		}
}

/* One plan from beginning to end. */
static inline void replan(struct repl *r)
{
	apply(r, base(MSG_PLAN, 1));
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	all_ack(r);
	all_drain(r);
	assert_int_equal(repl_plan(r), 0);
	assert_int_equal(repl_moving(r, 0) + repl_moving(r, 1), 0);
}

static inline struct repl *settled(unsigned int nodes)
{
	struct repl *r = fresh();

	for (unsigned int i = 1; i <= nodes; i++)
		apply(r, ready(i));
	replan(r);
	assert_false(repl_plan_needed(r));
	return r;
}

/* Three nodes settled, node 4 comes; stops in that phase. */
static inline struct repl *in_phase(enum repl_phase p)
{
	struct repl *r = settled(3);

	if (p == PHASE_STABLE)
		return r;
	if (p == PHASE_GRACE) {
		apply(r, fail_of(r, 3, FAIL_CRASH));
		return r;
	}
	apply(r, ready(4));
	apply(r, base(MSG_PLAN, 1));
	if (p == PHASE_PREPARE)
		return r;
	all_ack(r);
	if (p == PHASE_HANDOFF)
		return r;
	all_leave(r);
	if (p == PHASE_ADOPT)
		return r;
	all_adopt(r);
	return r;
}

/* The first bucket of service 0 in that phase. */
static inline uint32_t find(const struct repl *r, enum repl_phase p)
{
	for (uint32_t b = 0; b < BUCKETS; b++)
		if (repl_get_bucket(r, 0, b)->phase == p)
			return b;
	fail_msg("no bucket in phase %s", repl_phase_str(p));
	return 0;
}

/* What can happen to the two parties of a bucket. */
enum act { FAIL_OWNER, CRASH_OWNER, FAIL_OTHER, CRASH_OTHER, ALL_LEFT, ALL_ADOPTED, ALL_DRAINED, ALL_ACK,
	   READY_OWNER, READY_OTHER, BYE_OWNER, BYE_OTHER, ACTS };

static inline void act_on(struct repl *r, enum act a, unsigned int owner, unsigned int other)
{
	switch (a) {
	case FAIL_OWNER:
		apply(r, fail_of(r, owner, FAIL_LEASE));
		break;
	case CRASH_OWNER:
		apply(r, fail_of(r, owner, FAIL_CRASH));
		break;
	case FAIL_OTHER:
		apply(r, fail_of(r, other, FAIL_LEASE));
		break;
	case CRASH_OTHER:
		apply(r, fail_of(r, other, FAIL_CRASH));
		break;
	case ALL_LEFT:
		all_leave(r);
		break;
	case ALL_ADOPTED:
		all_adopt(r);
		break;
	case ALL_DRAINED:
		all_drain(r);
		break;
	case ALL_ACK:
		all_ack(r);
		break;
	case READY_OWNER:
		apply(r, ready_as(owner, owner * 100 + 1, false));
		break;
	case READY_OTHER:
		apply(r, ready_as(other, other * 100 + 1, false));
		break;
	case BYE_OWNER:
		apply(r, base(MSG_BYE, owner));
		break;
	case BYE_OTHER:
		apply(r, base(MSG_BYE, other));
		break;
	case ACTS:
		break;
	}
}

#endif

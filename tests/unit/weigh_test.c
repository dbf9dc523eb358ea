// SPDX-License-Identifier: GPL-2.0-or-later
/* Weights, health, factors, idle buckets, slow start, preview: core/weigh.c through repl_apply(). */
#include "repl_common.h"

#include "core/repl_priv.h"

#define MANY 4096
#define STEP 10		/* per mille: 40 buckets of 4096 */
#define LIMIT (MANY * STEP / 1000)

static uint64_t seed = 1;

static uint32_t rnd(void)	/* splitmix64 */
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(z >> 32);
}

/* ---- larger clusters ---- */

static struct repl *cluster(unsigned int nodes)
{
	struct repl_params p = { .n_nodes = (uint8_t)nodes, .n_services = 2, .layout = { .buckets = MANY },
				 .salt = { 1, 2 },
				 .policy = { { .ops = &stub_policy, .step = STEP },
					     { .ops = &stub_policy, .step = STEP, .direct = true } } };
	struct repl *r;

	assert_int_equal(repl_new(&r, &p), 0);
	for (unsigned int i = 1; i <= nodes; i++)
		apply(r, ready(i));
	return r;
}

static void from_all(struct repl *r, enum msg_type t, uint64_t plan)
{
	for (uint64_t x = repl_online(r); x; x &= x - 1) {
		struct msg m = plan_step(t, mask_lowest(x), plan);

		m.incarnation = repl_get_node(r, mask_lowest(x))->incarnation;
		repl_apply(r, &m, &fx);
	}
}

/* One plan until it is closed and drained, in whichever layout; returns how many buckets moved. */
static uint32_t run_plan(struct repl *r)
{
	uint8_t full[MANY / 8];
	uint32_t moves = 0;

	memset(full, 255, sizeof(full));
	apply(r, base(MSG_PLAN, 1));
	for (unsigned int i = 0; i < fx.n_notes; i++)
		moves += fx.note[i].type == NOTE_PLAN ? fx.note[i].n : 0;
	from_all(r, MSG_ACK, repl_plan_ack(r));
	from_all(r, MSG_LEFT, repl_plan(r));
	from_all(r, MSG_ADOPTED, repl_plan(r));
	from_all(r, MSG_ACK, repl_plan_ack(r));
	assert_int_equal(repl_plan(r), 0);
	for (uint64_t x = repl_online(r); x; x &= x - 1)
		for (unsigned int s = 0; s < 2; s++) {
			struct msg m = drained(mask_lowest(x), s, repl_epoch(r), full);

			m.u.drained.size = repl_layout(r)->buckets / 8;
			repl_apply(r, &m, &fx);
		}
	assert_true(repl_valid(r));
	return moves;
}

static void shares_are_within_one_percent_of_ideal(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 40; round++) {
		unsigned int n = 2 + rnd() % 15;
		struct repl *r = cluster(n);
		double ideal[NODES_MAX + 1], sum = 0;
		int load[NODES_MAX];

		for (unsigned int i = 1; i <= n; i++) {
			unsigned int own = 20 + rnd() % (round % 2 ? 100 : 981);

			load[i - 1] = (int)(rnd() % 900);
			apply(r, order(1, ORDER_WEIGHT, i, (uint16_t)own));
			sum += ideal[i] = own * (1000.0 - load[i - 1]);
		}
		for (unsigned int k = 0; k < 200; k++) {	/* until the steps have led there */
			struct msg m = reweigh(0, load, n);

			if (!repl_reweigh_needed(r, &m))
				break;
			apply(r, m);
		}
		run_plan(r);
		for (unsigned int i = 1; i <= n; i++) {
			double want = MANY * ideal[i] / sum, is = repl_owned(r, 0, i);

			/* A part of a step may stay, and a bucket is a bucket. */
			if (is > want * 1.01 + LIMIT / 16 + 1 || is < want * 0.99 - LIMIT / 16 - 1)
				fail_msg("node %u of %u: %g buckets, ideal %g", i, n, is, want);
		}
		/* And by the weights that are in force: nothing but rounding. */
		sum = 0;
		for (unsigned int i = 1; i <= n; i++)
			sum += repl_weight(r, 0, i);
		for (unsigned int i = 1; i <= n; i++) {
			double want = MANY * repl_weight(r, 0, i) / sum, off = repl_owned(r, 0, i) - want;

			assert_true(off < 1 && off > -1);
		}
		/* Without factors weights alone say it, within 1 %. */
		sum = 0;
		for (unsigned int i = 1; i <= n; i++)
			sum += repl_node_weight(r, i);
		for (unsigned int i = 1; i <= n; i++) {
			double want = MANY * repl_node_weight(r, i) / sum;
			double off = repl_owned(r, 1, i) - want;

			assert_true(off < 1 && off > -1);
			assert_true(want < 100 || (off < want / 100 && off > -want / 100));
		}
		repl_free(r);
	}
}

/* ---- weights ---- */

static void effective_weight_is_the_product_of_all(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	assert_int_equal(repl_weight(r, 0, 2), 1000);
	assert_int_equal(repl_node_weight(r, 2), 100);
	assert_int_equal(repl_weight(r, 0, 4), 0);		/* not admitted */
	assert_int_equal(repl_node_weight(r, 4), 0);
	r->node[2].ramp = 500;
	assert_int_equal(repl_weight(r, 0, 2), 500);
	assert_int_equal(repl_weight(r, 1, 2), 500);
	r->node[2].factor[0] = r->node[2].factor[1] = 100;
	assert_int_equal(repl_weight(r, 0, 2), 50);
	assert_int_equal(repl_weight(r, 1, 2), 500);		/* its owners only direct */
	assert_int_equal(repl_serve_weight(r, 1, 2), 50);
	assert_int_equal(repl_serve_weight(r, 0, 2), 50);
	r->node[2].ramp = 1;
	r->node[2].factor[0] = 1;
	assert_int_equal(repl_weight(r, 0, 2), 1);		/* not nothing */
	r->node[2].factor[0] = r->node[2].factor[1] = 0;
	assert_int_equal(repl_weight(r, 0, 2), 0);
	assert_int_equal(repl_weight(r, 1, 2), 1);
	assert_int_equal(repl_serve_weight(r, 1, 2), 0);
	apply(r, order(1, ORDER_WEIGHT, 3, 1000));
	assert_int_equal(repl_weight(r, 0, 3), 10000);
	apply(r, order(1, ORDER_DRAIN, 3, 0));
	assert_int_equal(repl_weight(r, 0, 3), 0);
	assert_int_equal(repl_weight(r, 1, 3), 0);
	repl_free(r);
}

static void services_are_weighed_apart(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint32_t before = repl_owned(r, 1, 2);

	apply(r, health(2, 0, 2, FITNESS_WORKS));
	replan(r);
	assert_int_equal(repl_owned(r, 0, 2), 0);
	assert_int_equal(repl_owned(r, 1, 2), before);
	/* Nor is it an heir there. */
	for (uint32_t b = 0; b < BUCKETS; b++)
		assert_int_not_equal(repl_heir(r, 0, b, node_bit(1)), 2);
	apply(r, fail_of(r, 1, FAIL_LEASE));
	assert_int_equal(repl_owned(r, 0, 3), BUCKETS);
	assert_true(repl_owned(r, 1, 2) > before);
	repl_free(r);
}

/* Who is taken when better ones are not there: each step of that. */
static void worse_nodes_are_taken_when_no_better_is_left(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	r->node[1].factor[0] = 0;
	r->node[2].hold_back = true;
	assert_int_equal(repl_weight(r, 0, 1), 0);
	assert_int_equal(repl_weight(r, 0, 2), 0);
	apply(r, health(3, 0, 3, FITNESS_DOWN));
	assert_int_equal(repl_weight(r, 0, 2), 1000);		/* rather than who gets nothing by policy */
	assert_int_equal(repl_weight(r, 0, 1), 0);
	assert_int_equal(repl_weight(r, 0, 3), 0);
	assert_int_equal(repl_weight(r, 1, 3), 1000);		/* of the other service nobody is unfit */
	assert_int_equal(repl_weight(r, 1, 2), 0);
	apply(r, health(2, 0, 2, FITNESS_DOWN));
	assert_int_equal(repl_weight(r, 0, 1), 1000);		/* rather than who is not fit */
	assert_int_equal(repl_weight(r, 0, 2), 0);
	assert_false(repl_sorry(r, 0));
	apply(r, health(1, 0, 1, FITNESS_DOWN));
	assert_true(repl_sorry(r, 0));
	assert_int_equal(repl_weight(r, 0, 1), 0);		/* now as if all were fit */
	assert_int_equal(repl_weight(r, 0, 2), 0);
	assert_int_equal(repl_weight(r, 0, 3), 1000);
	repl_free(r);
}

static void scheduler_of_a_direct_service_sees_health_and_factors_at_once(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, health(2, 0, 2, FITNESS_WORKS));
	assert_false(fx.tables);			/* buckets move by plan */
	apply(r, health(2, 0, 2, FITNESS_UP));
	assert_false(fx.tables);
	apply(r, health(2, 1, 2, FITNESS_WORKS));
	assert_true(fx.tables);
	assert_int_equal(repl_serve_weight(r, 1, 2), 0);
	assert_false(repl_plan_needed(r));
	apply(r, reweigh(1, (const int[]){ 0, 0, 600 }, 3));
	assert_true(fx.tables);
	assert_int_equal(fx.note[0].type, NOTE_REWEIGH);
	assert_int_equal(fx.note[0].n, 1);
	assert_int_equal(fx.note[0].arg, 0);		/* nothing moves */
	assert_int_equal(repl_serve_weight(r, 1, 3), 400);
	assert_false(repl_plan_needed(r));
	apply(r, reweigh(0, (const int[]){ 0, 0, 600 }, 3));
	assert_false(fx.tables);
	assert_int_equal(fx.note[0].arg, 1);
	assert_true(repl_plan_needed(r));
	apply(r, order(1, ORDER_WEIGHT, 1, 50));
	assert_true(fx.tables);
	assert_int_equal(repl_serve_weight(r, 1, 1), 500);
	repl_free(r);
}

static void holders_do_not_care_for_services(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint8_t was[HOLDERS_MAX], is[HOLDERS_MAX];

	repl_holders(r, 0, was);
	apply(r, health(2, 0, 2, FITNESS_DOWN));
	apply(r, health(2, 1, 2, FITNESS_DOWN));
	replan(r);
	repl_holders(r, 0, is);
	assert_memory_equal(was, is, params.n_vips);
	repl_free(r);
}

/* ---- health ---- */

static void own_verdict_counts_once_and_for_one_process(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m = health(2, 0, 2, FITNESS_DOWN);

	ignored(r, health(2, 0, 2, FITNESS_UP));		/* as it is */
	m.incarnation++;
	ignored(r, m);
	ignored(r, health(4, 0, 4, FITNESS_DOWN));		/* not admitted */
	apply(r, health(2, 0, 2, FITNESS_DOWN));
	assert_int_equal(fx.n_notes, 1);
	assert_int_equal(fx.note[0].type, NOTE_HEALTH);
	assert_int_equal(fx.note[0].node, 2);
	assert_int_equal(fx.note[0].by, 2);
	assert_int_equal(fx.note[0].n, 0);
	assert_int_equal(fx.note[0].arg, FITNESS_DOWN);
	assert_false(repl_fit(r, 0, 2));
	assert_true(repl_fit(r, 1, 2));
	ignored(r, health(2, 0, 2, FITNESS_DOWN));
	apply(r, health(2, 0, 2, FITNESS_WORKS));		/* not fit before, not fit now: but another */
	assert_int_equal(fx.note[0].arg, FITNESS_WORKS);
	apply(r, ready_as(2, 999, false));
	assert_true(repl_fit(r, 0, 2));
	malformed(r, health(2, 2, 2, FITNESS_DOWN));
	malformed(r, health(2, 0, 0, FITNESS_DOWN));
	malformed(r, health(2, 0, N + 1, FITNESS_DOWN));
	malformed(r, health(2, 0, 2, FITNESS_N));
	malformed(r, health(3, 0, 2, FITNESS_WORKS));		/* a neighbour cannot know */
	repl_free(r);
}

/* READY says what its checks have found: a dead service gets nothing for not a moment. */
static void node_that_comes_with_a_dead_service_is_not_fit(void **state)
{
	struct msg m = ready_as(3, 301, false);
	uint32_t n[2];

	(void)state;
	struct repl *r = settled(3);

	apply(r, fail_of(r, 3, FAIL_LEASE));
	n[0] = repl_owned(r, 0, 1);
	n[1] = repl_owned(r, 1, 1);
	apply(r, health(1, 0, 1, FITNESS_DOWN));
	apply(r, health(2, 0, 2, FITNESS_DOWN));
	assert_true(repl_sorry(r, 0));
	m.u.ready.health[0] = FITNESS_DOWN;
	apply(r, m);
	assert_false(repl_fit(r, 0, 3));
	assert_true(repl_fit(r, 1, 3));
	assert_true(repl_sorry(r, 0));
	assert_int_equal(fx.n_notes, 2);			/* and none of SORRY */
	assert_int_equal(fx.note[0].type, NOTE_ADMITTED);
	assert_int_equal(fx.note[1].type, NOTE_HEALTH);
	assert_int_equal(fx.note[1].node, 3);
	assert_int_equal(fx.note[1].by, 3);
	assert_int_equal(fx.note[1].n, 0);
	assert_int_equal(fx.note[1].arg, FITNESS_DOWN);
	apply(r, health(1, 0, 1, FITNESS_UP));
	apply(r, health(2, 0, 2, FITNESS_UP));
	replan(r);
	assert_int_equal(repl_owned(r, 0, 3), 0);
	assert_true(repl_owned(r, 1, 3) > 0);
	assert_true(n[0] > 0 && n[1] > repl_owned(r, 1, 1));
	/* As it was before: no news.  UP: it may just not know yet. */
	m.incarnation++;
	apply(r, m);
	for (unsigned int i = 0; i < fx.n_notes; i++)
		assert_int_not_equal(fx.note[i].type, NOTE_HEALTH);
	assert_false(repl_fit(r, 0, 3));
	m.incarnation++;
	m.u.ready.health[0] = FITNESS_UP;
	apply(r, m);
	for (unsigned int i = 0; i < fx.n_notes; i++)
		assert_int_not_equal(fx.note[i].type, NOTE_HEALTH);
	assert_true(repl_fit(r, 0, 3));
	m.incarnation++;
	m.u.ready.health[1] = FITNESS_N;
	malformed(r, m);
	m.u.ready.health[1] = FITNESS_DOWN;			/* of a service that it does not name */
	m.u.ready.n_links = 1;
	apply(r, m);
	assert_true(repl_fit(r, 1, 3));
	repl_free(r);
}

static void only_the_right_neighbour_may_call_a_node_down(void **state)
{
	(void)state;
	struct repl *r = settled(3);		/* 1 -> 2 -> 3 -> 1 */
	struct msg m = health(3, 0, 2, FITNESS_DOWN);

	ignored(r, health(1, 0, 2, FITNESS_DOWN));		/* its left one */
	ignored(r, health(4, 0, 3, FITNESS_DOWN));		/* not admitted */
	ignored(r, health(3, 0, 4, FITNESS_DOWN));
	m.incarnation++;
	ignored(r, m);
	ignored(r, health(3, 0, 2, FITNESS_UP));		/* as it is */
	apply(r, health(3, 0, 2, FITNESS_DOWN));
	assert_int_equal(fx.n_notes, 1);
	assert_int_equal(fx.note[0].type, NOTE_HEALTH);
	assert_int_equal(fx.note[0].node, 2);
	assert_int_equal(fx.note[0].by, 3);
	assert_int_equal(fx.note[0].arg, FITNESS_DOWN);
	assert_false(repl_fit(r, 0, 2));
	assert_true(repl_fit(r, 1, 2));
	assert_int_equal(repl_weight(r, 0, 2), 0);
	ignored(r, health(3, 0, 2, FITNESS_DOWN));
	ignored(r, health(1, 0, 2, FITNESS_UP));		/* not its to say */
	/* What the node says itself comes on top; it is fit when both say so. */
	apply(r, health(2, 0, 2, FITNESS_DOWN));
	apply(r, health(3, 0, 2, FITNESS_UP));
	assert_int_equal(fx.n_notes, 0);			/* still not fit */
	assert_false(repl_fit(r, 0, 2));
	apply(r, health(2, 0, 2, FITNESS_UP));
	assert_true(repl_fit(r, 0, 2));
	apply(r, health(3, 0, 2, FITNESS_DOWN));
	apply(r, health(3, 0, 2, FITNESS_UP));
	assert_int_equal(fx.note[0].arg, FITNESS_UP);
	assert_int_equal(fx.note[0].by, 3);
	assert_true(repl_fit(r, 0, 2));
	/* Around the end of the ring. */
	apply(r, health(1, 0, 3, FITNESS_DOWN));
	assert_false(repl_fit(r, 0, 3));
	repl_free(r);
}

static void neighbour_never_takes_the_last_fit_node_away(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, health(1, 0, 1, FITNESS_DOWN));
	apply(r, order(1, ORDER_DRAIN, 3, 0));			/* fit, but gets no work */
	ignored(r, health(3, 0, 2, FITNESS_DOWN));
	apply(r, order(1, ORDER_UNDRAIN, 3, 0));
	apply(r, health(3, 0, 2, FITNESS_DOWN));
	assert_false(repl_sorry(r, 0));
	/* The other one gives up: what a neighbour says is not worth a cluster that serves nothing. */
	apply(r, health(3, 0, 3, FITNESS_WORKS));
	assert_true(repl_fit(r, 0, 2));
	assert_false(repl_sorry(r, 0));
	assert_int_equal(fx.n_notes, 2);
	assert_int_equal(fx.note[1].type, NOTE_HEALTH);
	assert_int_equal(fx.note[1].node, 2);
	assert_int_equal(fx.note[1].by, NOBODY);
	assert_int_equal(fx.note[1].arg, FITNESS_UP);
	ignored(r, health(3, 0, 2, FITNESS_DOWN));
	repl_free(r);
}

static void verdict_is_void_when_its_author_is_the_neighbour_no_more(void **state)
{
	enum { ADMITTED, AUTHOR_FAILS, AUTHOR_LEAVES, AUTHOR_RESTARTS, NODE_RESTARTS, OTHER_FAILS, CASES };

	(void)state;
	for (unsigned int c = 0; c < CASES; c++) {
		struct repl *r = fresh();

		apply(r, ready(1));
		apply(r, ready(2));
		apply(r, ready(4));			/* 4 is right of 2 until 3 comes */
		if (c != ADMITTED)
			apply(r, ready(3));
		bool told = false;
		unsigned int by = c == ADMITTED ? 4 : 3;

		apply(r, health(by, 0, 2, FITNESS_DOWN));
		assert_int_equal(repl_get_node(r, 2)->seen_down[0], by);
		switch (c) {
		case ADMITTED:
			apply(r, ready(3));
			break;
		case AUTHOR_FAILS:
			apply(r, fail_of(r, 3, FAIL_LEASE));
			break;
		case AUTHOR_LEAVES:
			apply(r, base(MSG_BYE, 3));
			break;
		case AUTHOR_RESTARTS:
			apply(r, ready_as(3, 999, false));
			break;
		case NODE_RESTARTS:
			apply(r, ready_as(2, 999, false));
			break;
		case OTHER_FAILS:
			apply(r, fail_of(r, 1, FAIL_LEASE));
			assert_int_equal(repl_get_node(r, 2)->seen_down[0], 3);
			assert_false(repl_fit(r, 0, 2));
			repl_free(r);
			continue;
		}
		assert_int_equal(repl_get_node(r, 2)->seen_down[0], NOBODY);
		assert_true(repl_fit(r, 0, 2));
		for (unsigned int i = 0; i < fx.n_notes; i++)
			told |= fx.note[i].type == NOTE_HEALTH && fx.note[i].node == 2 &&
				fx.note[i].by == NOBODY && fx.note[i].arg == FITNESS_UP;
		assert_int_equal(told, c != NODE_RESTARTS);	/* that is another one */
		repl_free(r);
	}
}

/* A planned move is under way or draining, and the new owner's service goes: who gave it takes it back. */
static void bucket_goes_back_from_a_node_that_is_not_fit(void **state)
{
	uint32_t moved;

	(void)state;
	struct repl *r = in_phase(PHASE_DRAIN);

	moved = repl_count(r, PHASE_DRAIN, 4, NOBODY);
	assert_true(moved > 0);
	all_ack(r);						/* the plan is over, connections are not */
	apply(r, order(1, ORDER_DRAIN, 1, 0));			/* has no weight, but is fit */
	assert_true(repl_count(r, PHASE_DRAIN, 4, 1) > 0);
	apply(r, health(2, 0, 2, FITNESS_WORKS));		/* does not get its back */
	uint32_t of_2 = 0, first = repl_owned(r, 0, 4);

	for (uint32_t b = 0; b < BUCKETS; b++) {
		const struct repl_bucket *k = repl_get_bucket(r, 0, b);

		of_2 += k->phase == PHASE_DRAIN && k->other == 2;
	}
	apply(r, health(4, 0, 4, FITNESS_DOWN));
	assert_true(repl_plan_needed(r));
	apply(r, base(MSG_PLAN, 1));
	for (uint32_t b = 0; b < BUCKETS; b++) {
		const struct repl_bucket *k = repl_get_bucket(r, 0, b);

		if (k->owner != 4)
			continue;
		if (k->other == 2) {
			assert_int_equal(k->phase, PHASE_DRAIN);
		} else {
			assert_int_equal(k->phase, PHASE_PREPARE);
			assert_true(k->flows);
		}
		assert_int_equal(repl_get_bucket(r, 1, b)->flows, false);	/* of the other service */
	}
	/* The owner fails in between: who has the connections keeps them. */
	struct repl *q = fresh();
	uint8_t *buf = malloc(repl_save_max(r));

	assert_int_equal(repl_load(q, buf, repl_save(r, buf, repl_save_max(r))), 0);
	apply(q, fail_of(q, 4, FAIL_LEASE));
	for (uint32_t b = 0; b < BUCKETS; b++) {
		const struct repl_bucket *was = repl_get_bucket(r, 0, b), *k = repl_get_bucket(q, 0, b);

		if (was->phase == PHASE_PREPARE && was->flows && k->owner != was->other) {
			assert_int_equal(k->phase, PHASE_DRAIN);
			assert_int_equal(k->other, was->other);
			assert_false(k->flows);
		}
	}
	free(buf);
	repl_free(q);
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	all_ack(r);
	assert_int_equal(repl_plan(r), 0);
	assert_int_equal(repl_owned(r, 0, 4), of_2);
	assert_true(of_2 < first);
	repl_free(r);
}

/* ... but from nobody else, nor when there is nobody better to go to. */
static void bucket_stays_where_it_drains_to_otherwise(void **state)
{
	(void)state;
	/* Its new owner is drained by order: the connections end in their time. */
	struct repl *r = in_phase(PHASE_DRAIN);

	all_ack(r);
	apply(r, order(1, ORDER_DRAIN, 4, 0));
	apply(r, base(MSG_PLAN, 1));
	assert_int_equal(repl_count(r, PHASE_PREPARE, 4, NOBODY), 0);
	repl_free(r);
	/* A direct service does not care. */
	r = in_phase(PHASE_DRAIN);
	all_ack(r);
	apply(r, health(4, 1, 4, FITNESS_DOWN));
	assert_false(repl_plan_needed(r));
	repl_free(r);
	/* Who is fit may get no work, who may is not fit: the buckets must not go to and fro. */
	r = in_phase(PHASE_DRAIN);
	all_ack(r);
	for (unsigned int i = 1; i <= 3; i++)
		apply(r, order(1, ORDER_DRAIN, i, 0));
	apply(r, health(4, 0, 4, FITNESS_DOWN));
	assert_true(repl_sorry(r, 0));
	apply(r, base(MSG_PLAN, 1));
	assert_int_equal(repl_count(r, PHASE_PREPARE, 4, NOBODY), 0);
	repl_free(r);
}

static void sorry_begins_and_ends_with_a_note(void **state)
{
	(void)state;
	struct repl *r = settled(2);

	assert_false(repl_sorry(r, 0));
	apply(r, health(1, 0, 1, FITNESS_WORKS));
	assert_int_equal(fx.n_notes, 1);
	apply(r, health(2, 0, 2, FITNESS_DOWN));
	assert_true(repl_sorry(r, 0));
	assert_false(repl_sorry(r, 1));
	assert_true(fx.tables);
	assert_int_equal(fx.n_notes, 2);
	assert_int_equal(fx.note[1].type, NOTE_SORRY);
	assert_int_equal(fx.note[1].n, 0);
	assert_int_equal(fx.note[1].arg, 1);
	/* Buckets stay spread as if all were fit. */
	assert_int_equal(repl_weight(r, 0, 1), 1000);
	assert_int_equal(repl_weight(r, 0, 2), 1000);
	apply(r, ready(3));
	assert_int_equal(fx.note[1].type, NOTE_SORRY);
	assert_int_equal(fx.note[1].arg, 0);
	assert_false(repl_sorry(r, 0));
	assert_true(fx.tables);
	apply(r, fail_of(r, 3, FAIL_LEASE));
	assert_true(repl_sorry(r, 0));
	apply(r, health(1, 0, 1, FITNESS_UP));
	assert_false(repl_sorry(r, 0));
	assert_int_equal(fx.note[1].arg, 0);
	/* All drained: whoever is there and fit still serves what it has. */
	apply(r, order(1, ORDER_DRAIN, 1, 0));
	assert_true(repl_sorry(r, 0));			/* 2 gets the work, and is not fit */
	apply(r, order(1, ORDER_DRAIN, 2, 0));
	assert_false(repl_sorry(r, 0));
	apply(r, health(1, 0, 1, FITNESS_DOWN));
	assert_true(repl_sorry(r, 0));
	repl_free(r);
	r = fresh();
	assert_false(repl_sorry(r, 0));
	repl_free(r);
}

static void ring_is_of_the_admitted_nodes(void **state)
{
	(void)state;
	struct repl_params p = { .n_nodes = 64, .layout = { .buckets = BUCKETS } };
	unsigned int left, right;
	struct repl *r;

	assert_int_equal(repl_new(&r, &p), 0);
	repl_ring(r, 5, &left, &right);
	assert_true(left == NOBODY && right == NOBODY);
	apply(r, ready(5));
	repl_ring(r, 5, &left, &right);
	assert_true(left == NOBODY && right == NOBODY);
	repl_ring(r, 1, &left, &right);
	assert_true(left == 5 && right == 5);
	apply(r, ready(64));
	repl_ring(r, 5, &left, &right);
	assert_true(left == 64 && right == 64);
	apply(r, ready(1));
	repl_ring(r, 5, &left, &right);
	assert_true(left == 1 && right == 64);
	repl_ring(r, 64, &left, &right);
	assert_true(left == 5 && right == 1);
	repl_ring(r, 1, &left, &right);
	assert_true(left == 64 && right == 5);
	repl_ring(r, 30, &left, &right);		/* if it came */
	assert_true(left == 5 && right == 64);
	repl_free(r);
}

/* ---- factors ---- */

static void reweigh_moves_no_more_than_a_step(void **state)
{
	uint32_t largest = 0, total = 0, applied = 0;

	(void)state;
	for (unsigned int round = 0; round < 30; round++) {
		unsigned int n = 2 + rnd() % 8;
		struct repl *r = cluster(n);
		int load[NODES_MAX];

		run_plan(r);
		for (unsigned int i = 1; i <= n && round % 3 == 0; i++)
			apply(r, order(1, ORDER_WEIGHT, i, (uint16_t)(1 + rnd() % 1000)));
		if (repl_plan_needed(r))
			run_plan(r);
		for (unsigned int k = 0; k < 30; k++) {
			if (k % 10 == 0)
				for (unsigned int i = 0; i < n; i++)
					load[i] = rnd() % 9 ? (int)(rnd() % 1000) : -1;
			struct msg m = reweigh(0, load, n);
			bool needed = repl_reweigh_needed(r, &m);
			uint64_t epoch = repl_epoch(r);

			apply(r, m);
			assert_int_equal(fx.changed, needed);
			assert_int_equal(repl_epoch(r), epoch + needed);
			if (!repl_plan_needed(r))
				continue;
			uint32_t moves = run_plan(r);

			largest = moves > largest ? moves : largest;
			total += moves;
			applied++;
			if (moves > LIMIT)
				fail_msg("round %u, %u: %u buckets", round, k, moves);
		}
		repl_free(r);
	}
	assert_true(applied > 300);
	assert_true(largest >= LIMIT - 2);	/* the step is used as far as it goes */
	assert_true(total / applied > LIMIT / 2);
}

static void steady_load_settles_and_stays(void **state)
{
	static const int load[] = { 100, 700, 400, 0, 850 };
	unsigned int k;

	(void)state;
	struct repl *r = cluster(5);

	run_plan(r);
	for (k = 0; k < 100; k++) {
		struct msg m = reweigh(0, load, 5);

		if (!repl_reweigh_needed(r, &m))
			break;
		apply(r, m);
		run_plan(r);
	}
	/* A third of the buckets has to move, 1 % each time. */
	assert_true(k > 20 && k < 60);
	for (unsigned int i = 1; i <= 5; i++) {
		int off = (int)repl_owned(r, 0, i) - MANY * (1000 - load[i - 1]) / 2950;

		assert_true(off <= LIMIT / 16 + 1 && off >= -LIMIT / 16 - 1);
	}
	/* Small changes do not count, larger ones do. */
	ignored(r, reweigh(0, (const int[]){ 101, 700, 400, 0, 850 }, 5));
	apply(r, reweigh(0, (const int[]){ 200, 700, 400, 0, 850 }, 5));
	assert_true(fx.changed);
	assert_int_equal(fx.n_notes, 1);
	assert_int_equal(fx.note[0].type, NOTE_REWEIGH);
	assert_int_equal(fx.note[0].node, NOBODY);
	assert_int_equal(fx.note[0].by, 1);
	assert_int_equal(fx.note[0].arg, 1);
	repl_free(r);
}

/* 1 per mille of 64 buckets is none: then one goes at a time. */
static void smallest_step_is_one_bucket(void **state)
{
	struct repl_params p = params;
	struct repl *r;
	unsigned int moved = 0;

	(void)state;
	p.policy[0].step = 1;
	assert_int_equal(repl_new(&r, &p), 0);
	for (unsigned int i = 1; i <= 2; i++)
		apply(r, ready(i));
	run_plan(r);
	for (unsigned int k = 0; k < 40; k++) {
		apply(r, reweigh(0, (const int[]){ 0, 500 }, 2));
		if (!fx.changed)
			break;
		if (repl_plan_needed(r)) {
			uint32_t n = run_plan(r);

			assert_true(n <= 1);
			moved += n;
		}
	}
	assert_int_equal(moved, 32 - 21);
	repl_free(r);
}

static void factor_that_goes_to_zero_is_halved_at_once(void **state)
{
	static const int load[] = { 0, 0, 0, 1000 };
	uint32_t before = MANY / 4, first;
	unsigned int k;

	(void)state;
	struct repl *r = cluster(4);

	run_plan(r);
	apply(r, reweigh(0, load, 4));
	assert_int_equal(fx.n_notes, 1);			/* not there yet */
	assert_int_equal(repl_get_node(r, 4)->factor[0], 500);
	run_plan(r);
	first = repl_owned(r, 0, 4);
	assert_true(first <= before * 4 / 7 + 1);		/* 500 of 3500 */
	for (k = 1; k < 12 && repl_get_node(r, 4)->factor[0]; k++) {
		before = repl_get_node(r, 4)->factor[0];
		apply(r, reweigh(0, load, 4));
		assert_true(repl_get_node(r, 4)->factor[0] <= before / 2);
		run_plan(r);
	}
	assert_int_equal(repl_get_node(r, 4)->factor[0], 0);
	assert_int_equal(repl_owned(r, 0, 4), 0);
	assert_true(k < 9);
	ignored(r, reweigh(0, load, 4));
	/* And back, step by step; the first one is worth a line. */
	apply(r, reweigh(0, (const int[]){ 0, 0, 0, 0 }, 4));
	assert_int_equal(fx.n_notes, 2);
	assert_int_equal(fx.note[1].type, NOTE_REWEIGH);
	assert_int_equal(fx.note[1].node, 4);
	assert_true(run_plan(r) <= LIMIT);
	/* A direct service: at once. */
	apply(r, reweigh(1, load, 4));
	assert_int_equal(repl_get_node(r, 4)->factor[1], 0);
	assert_int_equal(fx.n_notes, 2);
	assert_int_equal(fx.note[1].node, 4);
	repl_free(r);
}

static void policy_that_breaks_its_word_changes_nothing(void **state)
{
	static const int zero[] = { 1000, 1000, 1000 };
	struct msg m;

	(void)state;
	struct repl *r = settled(3);

	ignored(r, reweigh(0, zero, 3));			/* all 0 */
	m = reweigh(0, (const int[]){ 0, 500, 900 }, 3);
	m.u.reweigh.node[1].mem_free_kb = STUB_BROKEN;
	assert_false(repl_reweigh_needed(r, &m));
	ignored(r, m);
	ignored(r, reweigh(0, (const int[]){ -1, -1, -1 }, 3));	/* nothing is known: as it is */
	m = reweigh(0, (const int[]){ 0, 500, 900 }, 3);
	m.incarnation++;
	ignored(r, m);
	m = reweigh(0, (const int[]){ 0, 500, 900 }, 3);
	m.from = 4;						/* not admitted */
	m.incarnation = 400;
	ignored(r, m);
	m = reweigh(2, zero, 3);
	malformed(r, m);
	assert_false(repl_reweigh_needed(r, &m));
	m = reweigh(0, (const int[]){ 0, 1001, 0 }, 3);
	malformed(r, m);
	assert_false(repl_reweigh_needed(r, &m));
	m = reweigh(0, zero, 3);
	m.u.reweigh.node[1].cpu_idle = 1001;
	malformed(r, m);
	m = reweigh(0, zero, 3);
	m.u.reweigh.node[2].node = 2;				/* twice */
	malformed(r, m);
	m.u.reweigh.node[2].node = N + 1;
	malformed(r, m);
	m = reweigh(0, zero, 3);
	m.u.reweigh.n = NODES_MAX + 1;
	malformed(r, m);
	repl_free(r);
}

static struct clusterd_policy_node asked[NODES_MAX];
static uint32_t n_asked, asked_memory, asked_rate;

static void spy_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	assert_int_equal(in->size, sizeof(*in));
	n_asked = in->n;
	memcpy(asked, in->node, in->n * sizeof(*asked));
	asked_memory = in->process_memory_kb;
	asked_rate = in->connections_per_minute;
	for (uint32_t i = 0; i < in->n; i++)
		factor[i] = 2;
}

static void policy_is_asked_about_those_that_take_part(void **state)
{
	static const struct clusterd_policy_ops spy = { .factors = spy_factors };
	struct repl_params p = params;
	struct msg m;
	struct repl *r;

	(void)state;
	p.policy[0] = (struct repl_policy){ .ops = &spy, .step = 100, .process_memory_kb = 3500,
					    .connections_per_minute = 2000 };
	p.policy[1].ops = NULL;
	assert_int_equal(repl_new(&r, &p), 0);
	for (unsigned int i = 1; i <= 4; i++)
		apply(r, ready(i));
	apply(r, order(1, ORDER_DRAIN, 1, 0));
	apply(r, order(1, ORDER_WEIGHT, 4, 7));
	r->node[4].factor[0] = 990;
	r->node[1].factor[0] = 123;
	m = base(MSG_REWEIGH, 1);
	m.u.reweigh.n = 3;
	m.u.reweigh.node[0] = (struct policy_sample){ .node = 1, .load = 1 };
	m.u.reweigh.node[1] = (struct policy_sample){ .node = 2, .load = 1 };
	m.u.reweigh.node[2] = (struct policy_sample){ .node = 4, .load = 11, .cpu_idle = 12, .blocked = 13,
						      .swapping = 14, .mem_free_kb = 15, .conns = 16 };
	ignored(r, m);		/* all alike: 990 to 1000 is not worth it */
	assert_int_equal(n_asked, 3);
	assert_int_equal(asked_memory, 3500);
	assert_int_equal(asked_rate, 2000);
	assert_true(asked[0].id == 2 && asked[0].known && asked[0].load == 1 && asked[0].base == 100);
	assert_true(asked[1].id == 3 && !asked[1].known && asked[1].load == 0 && asked[1].factor == 1000);
	assert_true(asked[2].id == 4 && asked[2].known && asked[2].base == 7 && asked[2].factor == 990 &&
		    asked[2].load == 11 && asked[2].cpu_idle == 12 && asked[2].blocked == 13 &&
		    asked[2].swapping == 14 && asked[2].mem_free_kb == 15 && asked[2].connections == 16);
	r->node[4].factor[0] = 0;
	apply(r, m);
	assert_int_equal(r->node[1].factor[0], 123);	/* takes no part */
	m.u.reweigh.service = 1;			/* static */
	ignored(r, m);
	repl_free(r);
}

/* A returning node keeps what the policy said; another configuration begins anew. */
static void factors_last_as_long_as_the_configuration(void **state)
{
	(void)state;
	struct repl *r = settled(2);

	for (unsigned int i = 0; i < 10; i++)
		apply(r, reweigh(0, (const int[]){ 0, 800 }, 2));
	uint16_t factor = repl_get_node(r, 2)->factor[0];

	assert_true(factor < 1000);
	apply(r, fail_of(r, 2, FAIL_LEASE));
	apply(r, ready_as(2, 999, false));
	assert_int_equal(repl_get_node(r, 2)->factor[0], factor);
	apply(r, fail_of(r, 2, FAIL_LEASE));
	apply(r, fail_of(r, 1, FAIL_LEASE));
	struct msg m = ready_as(2, 1000, false);

	m.u.ready.config = CONFIG + 1;
	apply(r, m);
	assert_int_equal(repl_get_node(r, 2)->factor[0], CLUSTERD_FACTOR_MAX);
	repl_free(r);
}

/* ---- idle buckets ---- */

static unsigned int n_idle(const struct repl *r, unsigned int service)
{
	unsigned int n = 0;

	for (uint32_t b = 0; b < BUCKETS; b++)
		n += repl_get_bucket(r, service, b)->idle;
	return n;
}

static void idle_buckets_go_first_and_once(void **state)
{
	uint8_t bits[BUCKETS / 8] = { 0 };
	unsigned int marked = 0, gone = 0;

	(void)state;
	struct repl *r = settled(2);

	for (uint32_t b = 0; b < BUCKETS; b++)		/* every third one of node 1 */
		if (repl_get_bucket(r, 0, b)->owner == 1 && b % 3 == 0) {
			bits[b / 8] |= (uint8_t)(1u << (b % 8));
			marked++;
		}
	apply(r, idle(1, 0, repl_epoch(r), bits, sizeof(bits)));
	assert_false(fx.tables);
	assert_int_equal(n_idle(r, 0), marked);
	assert_int_equal(n_idle(r, 1), 0);
	ignored(r, idle(1, 0, repl_epoch(r), bits, sizeof(bits)));
	apply(r, order(1, ORDER_WEIGHT, 1, 60));
	apply(r, base(MSG_PLAN, 1));
	uint32_t moves = repl_count(r, PHASE_PREPARE, 1, 2);
	uint32_t of_0 = 0;

	for (uint32_t b = 0; b < BUCKETS; b++) {
		const struct repl_bucket *k = repl_get_bucket(r, 0, b);
		bool was = bits[b / 8] & (1u << (b % 8));

		of_0 += k->phase == PHASE_PREPARE;
		gone += k->phase == PHASE_PREPARE && was;
		assert_false(k->idle);			/* the next plan does not go by it */
	}
	assert_true(moves > 0 && of_0 > 0);
	assert_int_equal(gone, of_0 < marked ? of_0 : marked);
	repl_free(r);
}

static void stale_or_foreign_idle_buckets_do_not_count(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint64_t counted = repl_epoch(r);
	struct msg m;

	apply(r, idle(1, 0, counted, all_ones, BUCKETS / 8));
	for (uint32_t b = 0; b < BUCKETS; b++)
		assert_int_equal(repl_get_bucket(r, 0, b)->idle, repl_get_bucket(r, 0, b)->owner == 1);
	ignored(r, idle(4, 0, repl_epoch(r), all_ones, BUCKETS / 8));	/* not admitted */
	m = idle(2, 0, repl_epoch(r), all_ones, BUCKETS / 8);
	m.incarnation++;
	ignored(r, m);
	ignored(r, idle(2, 0, repl_epoch(r) + 1, all_ones, BUCKETS / 8));	/* of the future */
	malformed(r, idle(2, 2, repl_epoch(r), all_ones, BUCKETS / 8));
	malformed(r, idle(2, 0, repl_epoch(r), all_ones, BUCKETS / 8 + 8));
	malformed(r, idle(2, 0, repl_epoch(r), all_ones, 8 * BUCKETS));
	/* The heir of a bucket did not count its flows when they were another's. */
	apply(r, fail_of(r, 3, FAIL_LEASE));
	ignored(r, idle(2, 0, counted, all_ones, BUCKETS / 8));
	apply(r, idle(2, 0, repl_epoch(r), all_ones, BUCKETS / 8));
	/* Nor did who got it from nobody. */
	struct repl *young = fresh();

	apply(young, ready(1));
	apply(young, base(MSG_PLAN, 1));
	counted = repl_epoch(young);
	apply(young, plan_step(MSG_ACK, 1, repl_plan_ack(young)));
	assert_int_equal(repl_owned(young, 0, 1), BUCKETS);
	ignored(young, idle(1, 0, counted, all_ones, BUCKETS / 8));
	apply(young, idle(1, 0, repl_epoch(young), all_ones, BUCKETS / 8));
	repl_free(young);
	/* Nor did who has adopted it. */
	apply(r, ready_as(3, 301, false));
	apply(r, base(MSG_PLAN, 1));
	assert_int_equal(n_idle(r, 0), 0);
	all_ack(r);
	m = idle(3, 0, repl_epoch(r), all_ones, BUCKETS / 8);
	m.incarnation = 301;
	all_leave(r);
	all_adopt(r);
	all_ack(r);
	all_drain(r);
	assert_true(repl_owned(r, 0, 3) > 0);
	ignored(r, m);
	m.u.idle.epoch = repl_epoch(r);
	apply(r, m);
	assert_int_equal(n_idle(r, 0), repl_owned(r, 0, 3));
	repl_free(r);
}

static void change_of_the_layout_forgets_what_was_idle(void **state)
{
	(void)state;
	struct repl *r = settled(2);
	uint64_t counted = repl_epoch(r);

	apply(r, idle(1, 0, counted, all_ones, BUCKETS / 8));
	assert_true(n_idle(r, 0) > 0);
	for (unsigned int i = 1; i <= 2; i++) {
		struct msg m = base(MSG_LAYOUT, i);

		m.u.layout.buckets = 2 * BUCKETS;
		apply(r, m);
	}
	assert_int_equal(repl_rehash_phase(r), REHASH_FREEZE);
	assert_int_equal(n_idle(r, 0), 0);
	ignored(r, idle(1, 0, repl_epoch(r), all_ones, BUCKETS / 8));
	for (unsigned int i = 1; i <= 2; i++)
		apply(r, plan_step(MSG_ACK, i, repl_rehash_ack(r)));
	ignored(r, idle(1, 0, counted, all_ones, BUCKETS / 8));		/* not even its size is wrong */
	malformed(r, idle(1, 0, repl_epoch(r), all_ones, BUCKETS / 8));
	for (unsigned int i = 1; i <= 2; i++)
		apply(r, plan_step(MSG_ACK, i, repl_rehash_ack(r)));
	for (unsigned int i = 1; i <= 2; i++) {
		struct msg m = base(MSG_UNMIXED, i);

		m.u.unmixed.rehash = repl_rehash(r);
		apply(r, m);
	}
	assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
	apply(r, idle(1, 0, repl_epoch(r), all_ones, 2 * BUCKETS / 8));
	repl_free(r);
}

/* ---- coming back ---- */

static struct msg slow_ready(unsigned int from, uint64_t incarnation)
{
	struct msg m = ready_as(from, incarnation, false);

	m.u.ready.slow = true;
	return m;
}

static unsigned int share_backs(unsigned int node, uint32_t *buckets)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < fx.n_notes; i++)
		if (fx.note[i].type == NOTE_SHARE_BACK) {
			assert_int_equal(fx.note[i].node, node);
			*buckets = fx.note[i].n;
			n++;
		}
	return n;
}

/* A plan until its end; notes of its last message stay in 'fx'. */
static void plan_to_its_end(struct repl *r)
{
	apply(r, base(MSG_PLAN, 1));
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	for (unsigned int i = 1; i <= N && repl_plan(r); i++)
		if (mask_has(repl_online(r), i)) {
			struct msg m = plan_step(MSG_ACK, i, repl_plan_ack(r));

			m.incarnation = repl_get_node(r, i)->incarnation;
			apply(r, m);
		}
	assert_int_equal(repl_plan(r), 0);
}

static void returning_node_begins_with_a_small_share(void **state)
{
	uint32_t owned = 0, back = 0;

	(void)state;
	struct repl *r = fresh();

	for (unsigned int i = 1; i <= 3; i++)
		apply(r, slow_ready(i, i * 100));
	assert_int_equal(repl_get_node(r, 3)->ramp, RAMP_FULL);	/* nobody has been here before */
	assert_false(repl_get_node(r, 3)->returning);
	replan(r);
	apply(r, fail_of(r, 3, FAIL_LEASE));
	apply(r, slow_ready(3, 301));
	assert_int_equal(repl_get_node(r, 3)->ramp, 100);
	assert_true(repl_get_node(r, 3)->returning);
	assert_int_equal(repl_weight(r, 0, 3), 100);
	for (uint16_t ramp = 100; ramp <= RAMP_FULL; ramp = (uint16_t)(ramp + 100)) {
		if (ramp > 100) {
			apply(r, order(1, ORDER_RAMP, 3, ramp));
			assert_int_equal(fx.note[0].type, NOTE_ORDER);
		}
		plan_to_its_end(r);
		assert_int_equal(share_backs(3, &back), ramp == RAMP_FULL);
		all_drain(r);
		assert_true(repl_owned(r, 0, 3) > owned);
		owned = repl_owned(r, 0, 3);
	}
	assert_int_equal(back, repl_owned(r, 0, 3) + repl_owned(r, 1, 3));
	assert_true(back >= 2 * (BUCKETS / 3));
	assert_false(repl_get_node(r, 3)->returning);
	ignored(r, order(1, ORDER_RAMP, 3, 500));		/* late: it is there already */
	ignored(r, order(1, ORDER_RAMP, 4, 500));		/* not admitted */
	malformed(r, order(1, ORDER_RAMP, 3, 0));
	malformed(r, order(1, ORDER_RAMP, 3, RAMP_FULL + 1));
	malformed(r, order(1, ORDER_RAMP, 0, 500));
	/* A crash is no cold start: its connections wait for it. */
	apply(r, fail_of(r, 3, FAIL_CRASH));
	apply(r, slow_ready(3, 302));
	assert_int_equal(repl_get_node(r, 3)->ramp, RAMP_FULL);
	assert_true(repl_get_node(r, 3)->returning);
	repl_free(r);
}

static void share_is_back_when_it_is(void **state)
{
	uint32_t back = 0;

	(void)state;
	struct repl *r = settled(3);

	/* Not while it is held back, though plans go by. */
	apply(r, fail_of(r, 3, FAIL_LEASE));
	apply(r, ready_as(3, 301, true));
	plan_to_its_end(r);
	assert_int_equal(share_backs(3, &back), 0);
	assert_true(repl_get_node(r, 3)->returning);
	all_drain(r);
	apply(r, order(1, ORDER_FAILBACK, 0, 0));
	plan_to_its_end(r);
	assert_int_equal(share_backs(3, &back), 1);
	assert_int_equal(back, repl_owned(r, 0, 3) + repl_owned(r, 1, 3));
	all_drain(r);
	/* Nor while it is drained. */
	apply(r, order(1, ORDER_DRAIN, 2, 0));
	apply(r, fail_of(r, 2, FAIL_LEASE));
	apply(r, ready_as(2, 201, false));
	plan_to_its_end(r);
	assert_int_equal(share_backs(2, &back), 0);
	all_drain(r);
	apply(r, order(1, ORDER_UNDRAIN, 2, 0));
	/* It comes in the middle of a plan: that one is not yet its own. */
	apply(r, base(MSG_PLAN, 1));
	apply(r, fail_of(r, 2, FAIL_LEASE));
	apply(r, ready_as(2, 202, false));
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	all_ack(r);
	assert_int_equal(repl_plan(r), 0);
	assert_true(repl_get_node(r, 2)->returning);
	all_drain(r);
	plan_to_its_end(r);
	assert_false(repl_get_node(r, 2)->returning);
	/* Another one fails in between: the share is larger now, and comes with the next plan. */
	all_drain(r);
	apply(r, ready(4));
	plan_to_its_end(r);
	all_drain(r);
	apply(r, fail_of(r, 3, FAIL_LEASE));
	apply(r, ready_as(3, 302, false));
	apply(r, base(MSG_PLAN, 1));
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	apply(r, fail_of(r, 4, FAIL_LEASE));
	all_ack(r);
	assert_int_equal(repl_plan(r), 0);
	assert_int_equal(repl_owned(r, 0, 3), 20);	/* with what it inherited; a third is 21 */
	assert_true(repl_get_node(r, 3)->returning);
	all_drain(r);
	/* A failure in between takes the promise back. */
	all_drain(r);
	apply(r, fail_of(r, 1, FAIL_LEASE));
	apply(r, ready_as(1, 101, false));
	apply(r, fail_of(r, 1, FAIL_LEASE));
	assert_false(repl_get_node(r, 1)->returning);
	repl_free(r);
}

/* ---- dry run ---- */

struct forecast { uint8_t from[2][BUCKETS], to[2][BUCKETS]; uint32_t n; };

static void foresee(void *arg, unsigned int service, uint32_t b, unsigned int from, unsigned int to)
{
	struct forecast *f = arg;

	assert_int_equal(f->to[service][b], 0);		/* once each */
	f->from[service][b] = (uint8_t)from;
	f->to[service][b] = (uint8_t)to;
	f->n++;
}

static void preview_is_what_the_plan_then_does(void **state)
{
	static const struct { enum order_type type; unsigned int node; uint16_t value; } try[] = {
		{ ORDER_DRAIN, 1, 0 }, { ORDER_UNDRAIN, 2, 0 }, { ORDER_WEIGHT, 3, 400 },
		{ ORDER_WEIGHT, 1, 0 }, { ORDER_WEIGHT, 1, ORDER_AUTO }, { ORDER_FAILBACK, 0, 0 },
		{ ORDER_DRAIN, 4, 0 },
	};
	uint32_t total = 0;

	(void)state;
	for (unsigned int t = 0; t < sizeof(try) / sizeof(*try); t++)
		for (unsigned int c = 0; c < 4; c++) {
			static struct forecast f;
			struct repl *r = settled(4);

			memset(&f, 0, sizeof(f));
			apply(r, order(1, ORDER_DRAIN, 2, 0));
			replan(r);
			apply(r, fail_of(r, 3, FAIL_LEASE));
			apply(r, ready_as(3, 301, c & 1));		/* held back */
			if (c & 2)
				apply(r, fail_of(r, 4, FAIL_CRASH));	/* GRACE */
			if (c == 3)
				apply(r, ready_as(4, 401, false));
			apply(r, idle(1, 0, repl_epoch(r), all_ones, BUCKETS / 8));
			uint64_t digest = repl_digest(r);
			uint32_t n = repl_preview(r, try[t].type, try[t].node, try[t].value, foresee, &f);

			assert_int_equal(repl_digest(r), digest);
			assert_true(repl_valid(r));
			assert_int_equal(n, f.n);
			assert_int_equal(n, repl_preview(r, try[t].type, try[t].node, try[t].value, NULL, NULL));
			total += n;
			apply(r, order(1, try[t].type, try[t].node, try[t].value));
			if (!repl_plan_needed(r)) {
				assert_int_equal(n, 0);
				repl_free(r);
				continue;
			}
			apply(r, base(MSG_PLAN, 1));
			assert_int_equal(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY), n);
			for (unsigned int s = 0; s < 2; s++)
				for (uint32_t b = 0; b < BUCKETS; b++) {
					const struct repl_bucket *k = repl_get_bucket(r, s, b);

					if (k->phase != PHASE_PREPARE) {
						assert_int_equal(f.to[s][b], 0);
						continue;
					}
					assert_int_equal(k->owner, f.from[s][b]);
					assert_int_equal(k->other, f.to[s][b]);
				}
			repl_free(r);
		}
	assert_true(total > 500);
	struct repl *r = settled(2);

	assert_int_equal(repl_preview(r, ORDER_TAKEOVER, 1, 0, NULL, NULL), 0);
	assert_int_equal(repl_preview(r, ORDER_DRAIN, 0, 0, NULL, NULL), 0);
	assert_int_equal(repl_preview(r, ORDER_DRAIN, N + 1, 0, NULL, NULL), 0);
	repl_free(r);
}

/* ---- snapshots ---- */

/* A state with something in every field that this file is about. */
static struct repl *colourful(void)
{
	struct repl *r = settled(4);

	apply(r, fail_of(r, 4, FAIL_LEASE));
	apply(r, slow_ready(4, 401));
	apply(r, health(1, 0, 1, FITNESS_WORKS));
	apply(r, health(2, 1, 2, FITNESS_DOWN));
	apply(r, health(3, 0, 2, FITNESS_DOWN));
	apply(r, reweigh(0, (const int[]){ 0, 300, 900, 200 }, 4));
	apply(r, reweigh(1, (const int[]){ 0, 300, 900, 200 }, 4));
	apply(r, idle(3, 1, repl_epoch(r), all_ones, BUCKETS / 8));
	return r;
}

static void snapshot_holds_it_all(void **state)
{
	(void)state;
	for (unsigned int planning = 0; planning < 2; planning++) {
		struct repl *r = colourful(), *other = settled(2);
		uint8_t *buf = malloc(repl_save_max(r));

		if (planning)
			apply(r, base(MSG_PLAN, 1));
		size_t size = repl_save(r, buf, repl_save_max(r));

		assert_true(size > 0);
		assert_int_equal(repl_load(other, buf, size), 0);
		assert_int_equal(repl_digest(other), repl_digest(r));
		for (unsigned int i = 1; i <= N; i++) {
			const struct repl_node *a = repl_get_node(r, i), *b = repl_get_node(other, i);

			assert_int_equal(a->ramp, b->ramp);
			assert_int_equal(a->returning, b->returning);
			assert_memory_equal(a->health, b->health, sizeof(a->health));
			assert_memory_equal(a->seen_down, b->seen_down, sizeof(a->seen_down));
			assert_memory_equal(a->factor, b->factor, 2 * sizeof(a->factor[0]));
		}
		for (unsigned int s = 0; s < 2; s++) {
			assert_int_equal(r->alive[s], other->alive[s]);
			assert_int_equal(r->moved[s], other->moved[s]);
			assert_memory_equal(&r->hw[s], &other->hw[s], sizeof(r->hw[s]));
			assert_memory_equal(&r->hw_next[s], &other->hw_next[s], sizeof(r->hw_next[s]));
			for (uint32_t b = 0; b < BUCKETS; b++)
				assert_int_equal(repl_get_bucket(r, s, b)->idle,
						 repl_get_bucket(other, s, b)->idle);
		}
		free(buf);
		repl_free(r);
		repl_free(other);
	}
}

/* Each of these is in the digest, and what cannot be is refused. */
static void every_field_is_in_the_digest_and_checked(void **state)
{
	enum { RAMP, RAMP_ZERO, RAMP_ABOVE, RAMP_GONE, HEALTH, HEALTH_ABOVE, SEEN, SEEN_WRONG, FACTOR,
	       FACTOR_ABOVE, RETURNING, WEIGHT, WEIGHT_ABOVE, ALIVE, ALIVE_GONE, MOVED, MOVED_LATER, IDLE,
	       IDLE_NOBODY, CONF_ABOVE, ORDER_ABOVE, HW_ABOVE, CASES };

	(void)state;
	for (unsigned int c = 0; c < CASES; c++) {
		struct repl *r = colourful(), *other = fresh();
		uint64_t digest = repl_digest(r), empty = repl_digest(other);
		uint8_t *buf = malloc(repl_save_max(r));
		bool good = false;

		switch (c) {
		case RAMP: r->node[4].ramp = 200; good = true; break;
		case RAMP_ZERO: r->node[4].ramp = 0; break;
		case RAMP_ABOVE: r->node[4].ramp = 1001; break;
		case RAMP_GONE:
			apply(r, fail_of(r, 4, FAIL_LEASE));
			r->node[4].ramp = 100;
			break;
		case HEALTH: r->node[1].health[1] = FITNESS_WORKS; good = true; break;
		case HEALTH_ABOVE: r->node[1].health[1] = FITNESS_N; break;
		case SEEN: r->node[2].seen_down[0] = NOBODY; good = true; break;
		case SEEN_WRONG: r->node[2].seen_down[0] = 4; break;
		case FACTOR: r->node[3].factor[1]++; good = true; break;
		case FACTOR_ABOVE: r->node[3].factor[1] = 1001; break;
		case RETURNING: r->node[4].returning = false; good = true; break;
		case WEIGHT: r->hw_next[1].w[2] ^= 1; good = true; break;
		case WEIGHT_ABOVE: r->hw_next[1].w[2] = 10001; break;
		case HW_ABOVE: r->hw[1].w[2] = 10001; break;
		case ALIVE: r->alive[1] ^= node_bit(1); good = true; break;
		case ALIVE_GONE:
			apply(r, fail_of(r, 4, FAIL_LEASE));
			r->alive[1] |= node_bit(4);
			break;
		case MOVED: r->moved[1]--; good = true; break;
		case MOVED_LATER: r->moved[1] = r->epoch + 1; break;
		case IDLE: r->bucket[0][find(r, PHASE_STABLE)].idle = true; good = true; break;
		case IDLE_NOBODY: r->bucket[0][0] = (struct repl_bucket){ .idle = true }; break;
		case CONF_ABOVE: r->node[1].weight_conf = 1001; break;
		case ORDER_ABOVE: r->node[1].weight_order = 1001; break;
		}
		assert_int_not_equal(repl_digest(r), digest);
		size_t size = repl_save(r, buf, repl_save_max(r));

		assert_true(size > 0);
		if (repl_valid(r) != good || repl_load(other, buf, size) != (good ? 0 : -EBADMSG))
			fail_msg("case %u", c);
		assert_int_equal(repl_digest(other), good ? repl_digest(r) : empty);
		free(buf);
		repl_free(r);
		repl_free(other);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_within_one_percent_of_ideal),
		cmocka_unit_test(effective_weight_is_the_product_of_all),
		cmocka_unit_test(services_are_weighed_apart),
		cmocka_unit_test(worse_nodes_are_taken_when_no_better_is_left),
		cmocka_unit_test(scheduler_of_a_direct_service_sees_health_and_factors_at_once),
		cmocka_unit_test(holders_do_not_care_for_services),
		cmocka_unit_test(own_verdict_counts_once_and_for_one_process),
		cmocka_unit_test(node_that_comes_with_a_dead_service_is_not_fit),
		cmocka_unit_test(only_the_right_neighbour_may_call_a_node_down),
		cmocka_unit_test(neighbour_never_takes_the_last_fit_node_away),
		cmocka_unit_test(verdict_is_void_when_its_author_is_the_neighbour_no_more),
		cmocka_unit_test(bucket_goes_back_from_a_node_that_is_not_fit),
		cmocka_unit_test(bucket_stays_where_it_drains_to_otherwise),
		cmocka_unit_test(sorry_begins_and_ends_with_a_note),
		cmocka_unit_test(ring_is_of_the_admitted_nodes),
		cmocka_unit_test(reweigh_moves_no_more_than_a_step),
		cmocka_unit_test(steady_load_settles_and_stays),
		cmocka_unit_test(smallest_step_is_one_bucket),
		cmocka_unit_test(factor_that_goes_to_zero_is_halved_at_once),
		cmocka_unit_test(policy_that_breaks_its_word_changes_nothing),
		cmocka_unit_test(policy_is_asked_about_those_that_take_part),
		cmocka_unit_test(factors_last_as_long_as_the_configuration),
		cmocka_unit_test(idle_buckets_go_first_and_once),
		cmocka_unit_test(stale_or_foreign_idle_buckets_do_not_count),
		cmocka_unit_test(change_of_the_layout_forgets_what_was_idle),
		cmocka_unit_test(returning_node_begins_with_a_small_share),
		cmocka_unit_test(share_is_back_when_it_is),
		cmocka_unit_test(preview_is_what_the_plan_then_does),
		cmocka_unit_test(snapshot_holds_it_all),
		cmocka_unit_test(every_field_is_in_the_digest_and_checked),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

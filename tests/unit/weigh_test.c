// SPDX-License-Identifier: GPL-2.0-or-later
/* Weights, health, the ring, slow start, preview, and all that in snapshots: core/weigh.c by repl_apply(). */
#include "repl_common.h"

#include "core/repl_priv.h"

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

/* Who gave it works, though not well: better than a new owner that does not serve at all. */
static void bucket_goes_back_to_a_node_that_works(void **state)
{
	struct repl *r = in_phase(PHASE_DRAIN);
	uint32_t n = 0;

	(void)state;
	all_ack(r);
	apply(r, health(1, 0, 1, FITNESS_WORKS));
	apply(r, health(4, 0, 4, FITNESS_WORKS));
	assert_true(repl_count(r, PHASE_DRAIN, 4, 1) > 0);
	apply(r, base(MSG_PLAN, 1));
	for (uint32_t b = 0; b < BUCKETS; b++)			/* both work: it stays */
		n += repl_get_bucket(r, 0, b)->phase == PHASE_PREPARE && repl_get_bucket(r, 0, b)->other == 1;
	assert_int_equal(n, 0);
	repl_free(r);

	r = in_phase(PHASE_DRAIN);
	all_ack(r);
	apply(r, health(1, 0, 1, FITNESS_WORKS));
	apply(r, health(4, 0, 4, FITNESS_DOWN));
	apply(r, base(MSG_PLAN, 1));
	for (uint32_t b = 0; b < BUCKETS; b++) {
		const struct repl_bucket *k = repl_get_bucket(r, 0, b);

		n += k->phase == PHASE_PREPARE && k->owner == 4 && k->other == 1 && k->flows;
		assert_false(k->phase == PHASE_DRAIN && k->owner == 4 && k->other == 1);
	}
	assert_true(n > 0);
	repl_free(r);
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
	apply(r, health(2, 0, 2, FITNESS_DOWN));		/* does not get its back */
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
		cmocka_unit_test(bucket_goes_back_to_a_node_that_works),
		cmocka_unit_test(bucket_stays_where_it_drains_to_otherwise),
		cmocka_unit_test(sorry_begins_and_ends_with_a_note),
		cmocka_unit_test(ring_is_of_the_admitted_nodes),
		cmocka_unit_test(returning_node_begins_with_a_small_share),
		cmocka_unit_test(share_is_back_when_it_is),
		cmocka_unit_test(preview_is_what_the_plan_then_does),
		cmocka_unit_test(snapshot_holds_it_all),
		cmocka_unit_test(every_field_is_in_the_digest_and_checked),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

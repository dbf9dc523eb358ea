// SPDX-License-Identifier: GPL-2.0-or-later
/* How shares follow the loads: REWEIGH, IDLE, and the plans after them; core/weigh.c by repl_apply(). */
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

/* Those that the policy gave nothing are all that is left: they have even shares, and go on from there. */
static void factors_rise_from_all_zero(void **state)
{
	static const int load[] = { -1, 0, 900 };
	unsigned int k;

	(void)state;
	struct repl *r = cluster(3);

	run_plan(r);
	r->node[2].factor[0] = r->node[3].factor[0] = 0;
	apply(r, fail_of(r, 1, FAIL_LEASE));
	run_plan(r);
	assert_int_equal(repl_owned(r, 0, 3), MANY / 2);
	for (k = 0; k < 100; k++) {
		struct msg m = reweigh(0, load, 3);

		m.from = 2;
		m.incarnation = 200;
		apply(r, m);
		if (!fx.changed)
			break;
		assert_true(run_plan(r) <= LIMIT);
	}
	assert_true(k > 30 && k < 60);
	assert_true(repl_owned(r, 0, 3) < MANY / 11 + LIMIT);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_within_one_percent_of_ideal),
		cmocka_unit_test(reweigh_moves_no_more_than_a_step),
		cmocka_unit_test(steady_load_settles_and_stays),
		cmocka_unit_test(smallest_step_is_one_bucket),
		cmocka_unit_test(factor_that_goes_to_zero_is_halved_at_once),
		cmocka_unit_test(factors_rise_from_all_zero),
		cmocka_unit_test(policy_that_breaks_its_word_changes_nothing),
		cmocka_unit_test(policy_is_asked_about_those_that_take_part),
		cmocka_unit_test(factors_last_as_long_as_the_configuration),
		cmocka_unit_test(idle_buckets_go_first_and_once),
		cmocka_unit_test(stale_or_foreign_idle_buckets_do_not_count),
		cmocka_unit_test(change_of_the_layout_forgets_what_was_idle),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

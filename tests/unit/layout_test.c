// SPDX-License-Identifier: GPL-2.0-or-later
/* The layout changes for all at once. */
#include "repl_common.h"

static const struct layout twice = { .buckets = 2 * BUCKETS }, other_hash = { .buckets = BUCKETS, .hash = { 1 } };

static struct msg of(const struct repl *r, enum msg_type t, unsigned int from)
{
	struct msg m = base(t, from);

	m.incarnation = repl_get_node(r, from)->incarnation;
	return m;
}

static struct msg want(const struct repl *r, unsigned int from, const struct layout *l)
{
	struct msg m = of(r, MSG_LAYOUT, from);

	m.u.layout = *l;
	return m;
}

static struct msg ack(const struct repl *r, unsigned int from)
{
	struct msg m = of(r, MSG_ACK, from);

	m.u.plan.plan = repl_rehash_ack(r);
	return m;
}

static struct msg unmixed(const struct repl *r, unsigned int from, bool forced)
{
	struct msg m = of(r, MSG_UNMIXED, from);

	m.u.unmixed.rehash = repl_rehash(r);
	m.u.unmixed.forced = forced;
	return m;
}

static void all_want(struct repl *r, const struct layout *l)
{
	for (uint64_t x = repl_online(r); x; x &= x - 1)
		apply(r, want(r, mask_lowest(x), l));
}

static void all_freeze(struct repl *r)
{
	for (uint64_t x = repl_online(r); x; x &= x - 1)
		apply(r, ack(r, mask_lowest(x)));
}

static struct repl *frozen(const struct layout *l)
{
	struct repl *r = settled(3);

	all_want(r, l);
	assert_true(repl_freeze(r));
	return r;
}

static struct repl *mixed(const struct layout *l)
{
	struct repl *r = frozen(l);

	all_freeze(r);
	all_freeze(r);
	assert_int_equal(repl_rehash_phase(r), REHASH_MIXED);
	return r;
}

static void all_unmix(struct repl *r)
{
	for (uint64_t x = repl_online(r); x; x &= x - 1)
		apply(r, unmixed(r, mask_lowest(x), false));
}

static bool noted(enum repl_note_type t)
{
	for (unsigned int i = 0; i < fx.n_notes; i++)
		if (fx.note[i].type == t)
			return true;
	return false;
}

/* ---- the beginning ---- */

static void begins_when_all_admitted_nodes_want_the_same(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, want(r, 1, &twice));
	ignored(r, want(r, 1, &twice));
	apply(r, want(r, 3, &twice));
	apply(r, want(r, 2, &other_hash));
	assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
	apply(r, want(r, 2, &twice));
	assert_true(repl_freeze(r));
	assert_true(fx.tables && noted(NOTE_FREEZE));
	assert_int_equal(repl_rehash(r), repl_epoch(r));
	assert_true(layout_equal(repl_layout(r), &params.layout));
	repl_free(r);
}

static void node_that_fails_is_not_asked(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, want(r, 1, &twice));
	apply(r, want(r, 2, &twice));
	apply(r, fail_of(r, 3, FAIL_LEASE));
	assert_true(repl_freeze(r));
	repl_free(r);
}

static void proposal_can_be_taken_back_and_dies_with_its_process(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m = want(r, 2, &twice);

	apply(r, want(r, 1, &twice));
	apply(r, want(r, 1, &params.layout));
	assert_false(repl_get_node(r, 1)->proposed);
	ignored(r, want(r, 1, &params.layout));
	apply(r, m);
	apply(r, ready_as(2, 201, false));
	assert_false(repl_get_node(r, 2)->proposed);
	ignored(r, m);				/* of the process before */
	m.from = 4;
	ignored(r, m);				/* not admitted */
	m = want(r, 1, &twice);
	m.u.layout.buckets = 96;
	malformed(r, m);
	repl_free(r);
}

static void waits_until_nothing_moves(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_PREPARE; p < PHASE_GRACE; p++) {
		struct repl *r = in_phase(p);

		all_want(r, &twice);
		assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
		all_ack(r);
		all_leave(r);
		all_adopt(r);
		all_ack(r);
		assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
		all_drain(r);
		assert_true(repl_freeze(r));
		repl_free(r);
	}
}

static void change_does_not_wait_for_a_crashed_node_to_come_back(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_GRACE);
	uint32_t waiting = repl_count(r, PHASE_GRACE, NOBODY, 3);
	struct msg m = ready_as(3, 301, false);

	all_want(r, &twice);
	assert_true(repl_freeze(r));
	all_freeze(r);
	all_freeze(r);
	assert_int_equal(repl_count(r, PHASE_GRACE, NOBODY, 3), 2 * waiting);
	apply(r, m);
	all_unmix(r);
	replan(r);
	assert_true(repl_owned(r, 0, 3) + repl_owned(r, 1, 3) >= 2 * waiting);
	repl_free(r);
}

/* ---- the freeze ---- */

static void frozen_cluster_plans_nothing_and_admits_nobody(void **state)
{
	(void)state;
	struct repl *r = frozen(&twice);

	apply(r, order(1, ORDER_DRAIN, 2, 0));
	assert_false(repl_plan_needed(r));
	ignored(r, base(MSG_PLAN, 1));
	ignored(r, ready(4));
	assert_false(repl_get_node(r, 4)->refused);
	repl_free(r);
}

static void switches_with_the_last_ack_of_those_that_are_left(void **state)
{
	(void)state;
	struct repl *r = frozen(&twice);
	struct msg m = ack(r, 1);

	apply(r, m);
	ignored(r, m);
	m.from = 2;				/* of a process before */
	m.incarnation = 199;
	ignored(r, m);
	m = ack(r, 2);
	m.u.plan.plan--;
	ignored(r, m);
	apply(r, ack(r, 2));
	assert_true(repl_freeze(r));
	apply(r, fail_of(r, 3, FAIL_LEASE));
	assert_int_equal(repl_rehash_phase(r), REHASH_SWITCH);
	assert_true(repl_freeze(r) && fx.tables);
	assert_true(layout_equal(repl_layout(r), &twice));
	assert_true(layout_equal(repl_old_layout(r), &params.layout));
	assert_int_equal(repl_switched(r), repl_epoch(r));
	assert_int_equal(repl_mixed(r), 3);
	for (unsigned int i = 1; i <= 3; i++)
		assert_false(repl_get_node(r, i)->proposed);
	/* New flows wait until all have the new tables. */
	ignored(r, ready(4));
	ignored(r, unmixed(r, 1, false));
	apply(r, ack(r, 1));
	m = ack(r, 2);
	m.u.plan.plan = repl_rehash(r);		/* of the freeze */
	ignored(r, m);
	assert_true(repl_freeze(r));
	apply(r, ack(r, 2));
	assert_false(repl_freeze(r));
	assert_true(fx.tables);
	assert_int_equal(repl_rehash_phase(r), REHASH_MIXED);
	repl_free(r);
}

static void restarted_node_does_not_hold_up_the_freeze(void **state)
{
	(void)state;
	struct repl *r = frozen(&twice);

	apply(r, ack(r, 1));
	apply(r, ready_as(2, 201, false));	/* says that its older process is gone, is not taken yet */
	assert_int_equal(repl_get_node(r, 2)->state, NODE_FAILED);
	apply(r, ack(r, 3));
	assert_int_equal(repl_rehash_phase(r), REHASH_SWITCH);
	/* It may come back for its connections: old flows of its buckets are asked for there. */
	assert_int_equal(repl_mixed(r), 7);
	for (uint32_t b = 0; b < 2 * BUCKETS; b++)
		if (repl_get_bucket(r, 0, b)->phase == PHASE_GRACE)
			assert_int_equal(repl_old_owner(r, 0)[b / 2], 2);
	assert_true(repl_count(r, PHASE_GRACE, NOBODY, 2) > 0);
	repl_free(r);
}

static void freeze_ends_when_nobody_is_left(void **state)
{
	(void)state;
	struct repl *r = frozen(&twice);

	for (unsigned int i = 1; i <= 3; i++)
		apply(r, fail_of(r, i, FAIL_LEASE));
	assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
	assert_true(layout_equal(repl_layout(r), &params.layout));
	apply(r, ready_as(2, 201, false));
	all_want(r, &twice);
	all_freeze(r);
	all_freeze(r);
	assert_true(layout_equal(repl_layout(r), &twice));
	repl_free(r);
}

/* ---- the switch ---- */

static void owners_are_carried_over(void **state)
{
	static const struct layout to[] = {
		{ .buckets = BUCKETS, .hash = { 1, 1 } }, { .buckets = 2 * BUCKETS }, { .buckets = 8 * BUCKETS },
	};
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct repl *r = settled(3);
		uint8_t before[2][BUCKETS];

		for (unsigned int s = 0; s < 2; s++)
			for (uint32_t b = 0; b < BUCKETS; b++)
				before[s][b] = repl_get_bucket(r, s, b)->owner;
		all_want(r, &to[i]);
		all_freeze(r);
		for (unsigned int s = 0; s < 2; s++) {
			assert_memory_equal(repl_old_owner(r, s), before[s], BUCKETS);
			for (uint32_t b = 0; b < to[i].buckets; b++)
				assert_int_equal(repl_get_bucket(r, s, b)->owner,
						 before[s][b * BUCKETS / to[i].buckets]);
		}
		all_freeze(r);
		all_unmix(r);
		assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
		/* and back again: halving keeps the first of each pair */
		all_want(r, &params.layout);
		all_freeze(r);
		for (unsigned int s = 0; s < 2; s++)
			for (uint32_t b = 0; b < BUCKETS; b++)
				assert_int_equal(repl_get_bucket(r, s, b)->owner, before[s][b]);
		all_freeze(r);
		all_unmix(r);
		assert_int_equal(repl_moving(r, 0) + repl_moving(r, 1), 0);
		repl_free(r);
	}
}

static void counts_of_before_the_switch_mean_nothing(void **state)
{
	(void)state;
	struct repl *r = frozen(&twice);
	uint64_t epoch = repl_epoch(r);

	apply(r, fail_of(r, 3, FAIL_CRASH));
	all_freeze(r);
	all_freeze(r);
	apply(r, ready_as(3, 301, false));
	ignored(r, drained(3, 0, epoch, all_ones));
	repl_free(r);
}

/* ---- mixed ---- */

static void ends_when_all_have_said_so(void **state)
{
	(void)state;
	struct repl *r = mixed(&twice);
	struct msg m = unmixed(r, 1, false);

	assert_false(repl_plan_needed(r));
	m.u.unmixed.rehash++;
	ignored(r, m);
	apply(r, unmixed(r, 1, false));
	ignored(r, unmixed(r, 1, false));
	apply(r, unmixed(r, 3, true));
	assert_true(noted(NOTE_MIX_FORCED));
	assert_non_null(repl_old_owner(r, 0));
	apply(r, unmixed(r, 2, false));
	assert_true(fx.tables && noted(NOTE_MIX_END));
	assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
	assert_null(repl_old_layout(r));
	assert_null(repl_old_owner(r, 0));
	repl_free(r);
}

static void crashed_node_is_waited_for_while_its_connections_are(void **state)
{
	(void)state;
	struct repl *r = mixed(&twice);

	apply(r, fail_of(r, 3, FAIL_CRASH));
	all_unmix(r);
	assert_int_equal(repl_mixed(r), 4);
	assert_int_equal(repl_rehash_phase(r), REHASH_MIXED);
	apply(r, grace_end(3));
	assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
	repl_free(r);

	r = mixed(&twice);
	apply(r, fail_of(r, 3, FAIL_LEASE));
	all_unmix(r);
	assert_int_equal(repl_rehash_phase(r), REHASH_NONE);
	repl_free(r);
}

static void who_is_admitted_meanwhile_is_asked_as_well(void **state)
{
	(void)state;
	struct repl *r = mixed(&twice);
	struct msg m = ready(4);

	apply(r, m);
	assert_int_equal(repl_mixed(r), 15);
	for (unsigned int i = 1; i <= 3; i++)
		apply(r, unmixed(r, i, false));
	assert_int_equal(repl_rehash_phase(r), REHASH_MIXED);
	apply(r, unmixed(r, 4, false));
	assert_true(repl_plan_needed(r));
	repl_free(r);
}

static void next_change_waits_for_the_end_of_this_one(void **state)
{
	(void)state;
	struct repl *r = mixed(&twice);

	all_want(r, &other_hash);
	assert_int_equal(repl_rehash_phase(r), REHASH_MIXED);
	all_unmix(r);
	assert_true(repl_freeze(r));
	assert_true(layout_equal(repl_layout(r), &twice));
	repl_free(r);
}

static void snapshot_carries_it(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct repl *r = i == 0 ? settled(3) : i < 3 ? frozen(&twice) : mixed(&twice), *o;
		size_t max = repl_save_max(r), size;
		uint8_t *buf = malloc(max);

		if (i == 0)
			apply(r, want(r, 2, &other_hash));
		if (i == 2)
			all_freeze(r);
		o = mixed(&other_hash);
		size = repl_save(r, buf, max);
		assert_true(size > 0);
		assert_int_equal(repl_load(o, buf, size), 0);
		assert_int_equal(repl_digest(o), repl_digest(r));
		if (i == 1)
			all_freeze(o);
		if (i)
			all_freeze(o);
		if (i)
			all_unmix(o);
		assert_int_equal(repl_rehash_phase(o), REHASH_NONE);
		free(buf);
		repl_free(r);
		repl_free(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_when_all_admitted_nodes_want_the_same),
		cmocka_unit_test(node_that_fails_is_not_asked),
		cmocka_unit_test(proposal_can_be_taken_back_and_dies_with_its_process),
		cmocka_unit_test(waits_until_nothing_moves),
		cmocka_unit_test(change_does_not_wait_for_a_crashed_node_to_come_back),
		cmocka_unit_test(frozen_cluster_plans_nothing_and_admits_nobody),
		cmocka_unit_test(switches_with_the_last_ack_of_those_that_are_left),
		cmocka_unit_test(restarted_node_does_not_hold_up_the_freeze),
		cmocka_unit_test(freeze_ends_when_nobody_is_left),
		cmocka_unit_test(owners_are_carried_over),
		cmocka_unit_test(counts_of_before_the_switch_mean_nothing),
		cmocka_unit_test(ends_when_all_have_said_so),
		cmocka_unit_test(crashed_node_is_waited_for_while_its_connections_are),
		cmocka_unit_test(who_is_admitted_meanwhile_is_asked_as_well),
		cmocka_unit_test(next_change_waits_for_the_end_of_this_one),
		cmocka_unit_test(snapshot_carries_it),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

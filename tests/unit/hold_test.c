// SPDX-License-Identifier: GPL-2.0-or-later
/* Who answers for which VIP. */
#include "repl_common.h"

#define VIPS 5		/* params.n_vips */

static unsigned int held(const struct repl *r, unsigned int node)
{
	unsigned int n = 0;

	for (unsigned int v = 0; v < VIPS; v++)
		n += repl_holder(r, v, 0) == node;
	return n;
}

/* The greatest and the smallest number that the nodes in 'among' hold differ by one at most. */
static void assert_even(const struct repl *r, uint64_t among)
{
	unsigned int low = VIPS, high = 0, sum = 0;

	for (uint64_t x = among; x; x &= x - 1) {
		unsigned int n = held(r, mask_lowest(x));

		low = n < low ? n : low;
		high = n > high ? n : high;
		sum += n;
	}
	assert_int_equal(sum, VIPS);
	assert_in_range(high - low, 0, 1);
}

static void remember(const struct repl *r, uint8_t holder[VIPS])
{
	for (unsigned int v = 0; v < VIPS; v++)
		holder[v] = (uint8_t)repl_holder(r, v, 0);
}

static unsigned int changed(const struct repl *r, const uint8_t holder[VIPS])
{
	unsigned int n = 0;

	for (unsigned int v = 0; v < VIPS; v++)
		n += repl_holder(r, v, 0) != holder[v];
	return n;
}

static void first_node_answers_for_all_at_once(void **state)
{
	(void)state;
	struct repl *r = fresh();

	assert_int_equal(held(r, NOBODY), VIPS);
	apply(r, ready(3));
	assert_true(fx.tables);
	assert_int_equal(held(r, 3), VIPS);
	apply(r, base(MSG_BYE, 3));
	assert_int_equal(held(r, NOBODY), VIPS);
	repl_free(r);
}

static void others_get_their_part_by_plan_with_the_fewest_moves(void **state)
{
	(void)state;
	struct repl *r = fresh();
	uint8_t before[VIPS];

	apply(r, ready(1));
	replan(r);
	apply(r, ready(2));
	assert_int_equal(held(r, 1), VIPS);	/* not before a plan */
	assert_true(repl_plan_needed(r));
	remember(r, before);
	apply(r, base(MSG_PLAN, 1));
	assert_even(r, 3);
	assert_int_equal(changed(r, before), 2);
	remember(r, before);
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	assert_int_equal(changed(r, before), 0);
	all_ack(r);
	all_drain(r);
	apply(r, ready(3));
	apply(r, ready(4));
	replan(r);
	assert_even(r, 15);
	assert_int_equal(changed(r, before), 2);
	assert_false(repl_plan_needed(r));
	repl_free(r);
}

static void plan_is_needed_for_holders_alone(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, fail_of(r, 3, FAIL_LEASE));
	apply(r, ready_as(3, 301, false));
	assert_int_equal(held(r, 3), 0);
	replan(r);
	assert_true(held(r, 3) > 0);
	/* Drained and back before any bucket was moved. */
	apply(r, order(1, ORDER_DRAIN, 3, 0));
	apply(r, order(1, ORDER_UNDRAIN, 3, 0));
	assert_int_equal(held(r, 3), 0);
	assert_true(repl_plan_needed(r));
	apply(r, base(MSG_PLAN, 1));
	assert_int_equal(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY), 0);
	assert_even(r, 7);
	all_ack(r);
	assert_int_equal(repl_plan(r), 0);
	repl_free(r);
}

static void lost_holder_is_replaced_by_who_has_fewest_and_nothing_else_moves(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint8_t before[VIPS];

	for (unsigned int gone = 1; gone <= 2; gone++) {
		unsigned int had = held(r, gone);

		remember(r, before);
		apply(r, fail_of(r, gone, gone == 1 ? FAIL_LEASE : FAIL_CRASH));
		assert_int_equal(held(r, gone), 0);
		assert_int_equal(changed(r, before), had);
		assert_even(r, gone == 1 ? 6 : 4);
	}
	repl_free(r);
}

static void drained_or_leaving_node_gives_up_at_once_and_gets_back_by_plan(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, order(1, ORDER_DRAIN, 2, 0));
	assert_true(fx.tables);
	assert_int_equal(held(r, 2), 0);
	assert_even(r, 5);
	apply(r, order(1, ORDER_UNDRAIN, 2, 0));
	assert_int_equal(held(r, 2), 0);
	replan(r);
	assert_even(r, 7);
	apply(r, order(3, ORDER_LEAVE, 3, 0));
	assert_true(repl_get_node(r, 3)->leaving);
	assert_int_equal(held(r, 3), 0);
	repl_free(r);
}

static void node_without_weight_holds_only_if_nobody_else_can(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, order(1, ORDER_WEIGHT, 2, 0));
	assert_true(held(r, 2) > 0);		/* no hurry: it answers as well as before */
	replan(r);
	assert_int_equal(held(r, 2), 0);
	apply(r, fail_of(r, 1, FAIL_LEASE));
	assert_int_equal(held(r, 3), VIPS);
	apply(r, order(2, ORDER_DRAIN, 3, 0));
	assert_int_equal(held(r, 2), VIPS);	/* rather than one that is drained */
	apply(r, fail_of(r, 2, FAIL_LEASE));
	assert_int_equal(held(r, 3), VIPS);	/* nobody else is admitted */
	apply(r, ready_as(2, 201, false));
	assert_int_equal(held(r, 2), VIPS);
	repl_free(r);
}

static void returned_node_waits_for_failback(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, fail_of(r, 2, FAIL_LEASE));
	replan(r);
	apply(r, ready_as(2, 201, true));
	assert_false(repl_plan_needed(r));
	apply(r, fail_of(r, 1, FAIL_LEASE));	/* not even then, while another one can */
	assert_int_equal(held(r, 3), VIPS);
	apply(r, order(3, ORDER_FAILBACK, 0, 0));
	replan(r);
	assert_even(r, 6);
	repl_free(r);
}

/* What everyone does by itself when a lease has ended is what the group will say. */
static void lost_means_what_fail_will_do(void **state)
{
	unsigned int tried = 0;

	(void)state;
	srand(7);
	for (unsigned int round = 0; round < 300; round++) {
		struct repl *r = fresh();
		uint8_t expect[HOLDERS_MAX];
		unsigned int gone;

		for (unsigned int k = 0; k < 25; k++) {
			unsigned int i = 1 + (unsigned int)rand() % N;

			switch (rand() % 7) {
			case 0:
			case 1:
				apply(r, ready_as(i, i * 100 + k, rand() % 4 == 0));
				break;
			case 2:
				apply(r, fail_of(r, i, rand() % 3));
				break;
			case 3:
				apply(r, order(i, rand() % 2 ? ORDER_DRAIN : ORDER_UNDRAIN,
					       1 + (unsigned int)rand() % N, 0));
				break;
			case 4:
				apply(r, order(i, ORDER_WEIGHT, 1 + (unsigned int)rand() % N,
					       (uint16_t)(rand() % 3 * 50)));
				break;
			default:
				apply(r, base(MSG_PLAN, i));
				all_ack(r);
				break;
			}
		}
		gone = 1 + (unsigned int)rand() % N;
		if (mask_has(repl_online(r), gone)) {
			repl_holders(r, node_bit(gone), expect);
			for (unsigned int v = 0; v < VIPS; v++)
				assert_int_equal(repl_holder(r, v, node_bit(gone)), expect[v]);
			apply(r, fail_of(r, gone, rand() % 3));
			for (unsigned int v = 0; v < VIPS; v++)
				assert_int_equal(repl_holder(r, v, 0), expect[v]);
			tried++;
		}
		repl_free(r);
	}
	assert_true(tried > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_node_answers_for_all_at_once),
		cmocka_unit_test(others_get_their_part_by_plan_with_the_fewest_moves),
		cmocka_unit_test(plan_is_needed_for_holders_alone),
		cmocka_unit_test(lost_holder_is_replaced_by_who_has_fewest_and_nothing_else_moves),
		cmocka_unit_test(drained_or_leaving_node_gives_up_at_once_and_gets_back_by_plan),
		cmocka_unit_test(node_without_weight_holds_only_if_nobody_else_can),
		cmocka_unit_test(returned_node_waits_for_failback),
		cmocka_unit_test(lost_means_what_fail_will_do),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The agents' part in a change of the layout. */
#include "agent_common.h"

static const struct layout twice = { .buckets = 2 * BUCKETS };

static void propose(unsigned int i, const struct layout *l)
{
	assert_int_equal(agent_propose_layout(box[i].a, l, now), 0);
}

static void all_propose(void)
{
	for (unsigned int i = 1; i <= n_nodes; i++)
		propose(i, &twice);
}

static bool waits(unsigned int i)
{
	struct agent_status s;

	agent_get_status(box[i].a, &s);
	return s.layout_waits;
}

static void reload_of_all_nodes_changes_the_layout(void **state)
{
	(void)state;
	running(3);
	propose(1, &twice);
	propose(2, &twice);
	run(2000);
	assert_true(waits(1) && !waits(3));
	assert_int_equal(box[1].n_sent[MSG_LAYOUT], 1);	/* once is enough */
	assert_int_equal(repl_layout(repl(1))->buckets, BUCKETS);
	propose(3, &twice);
	run(2000);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_false(waits(i));
		assert_int_equal(repl_layout(repl(i))->buckets, 2 * BUCKETS);
		assert_int_equal(repl_rehash_phase(repl(i)), REHASH_NONE);
		assert_null(silent(i));
	}
	same_state();
}

static void wish_is_repeated_until_it_shows_and_can_be_taken_back(void **state)
{
	const struct layout first = { .buckets = BUCKETS };

	(void)state;
	running(3);
	box[1].view = 0;			/* what it says goes nowhere */
	propose(1, &twice);
	run(1000);
	assert_in_range(box[1].n_sent[MSG_LAYOUT], 3, 5);
	box[1].view = all();
	run(500);
	assert_true(repl_get_node(repl(2), 1)->proposed);
	propose(1, &first);
	run(500);
	assert_false(repl_get_node(repl(2), 1)->proposed);
	assert_false(waits(1));
	assert_int_equal(agent_propose_layout(box[1].a, &(struct layout){ .buckets = 63 }, now), -EINVAL);
}

static void nobody_says_frozen_before_its_kernel_is(void **state)
{
	unsigned int acks;

	(void)state;
	running(3);
	acks = box[2].n_sent[MSG_ACK];
	box[2].no_install = true;
	all_propose();
	run(1000);
	assert_true(repl_freeze(repl(1)));
	assert_int_equal(box[2].n_sent[MSG_ACK], acks);
	box[2].no_install = false;
	run(1000);
	assert_false(repl_freeze(repl(1)));
	assert_int_equal(repl_layout(repl(2))->buckets, 2 * BUCKETS);
}

static void layouts_stay_mixed_while_connections_live_elsewhere(void **state)
{
	uint32_t b = 0;

	(void)state;
	running(3);
	all_propose();
	while (repl_get_bucket(repl(1), 0, b / 2)->owner == 1)
		b += 2;
	box[1].flows[b / 8] = (uint8_t)(1u << b % 8);	/* in the new count: not its bucket */
	run(2000);
	assert_int_equal(repl_rehash_phase(repl(2)), REHASH_MIXED);
	assert_int_equal(repl_mixed(repl(2)), 1);
	box[1].flows[b / 8] = 0;
	run(1000);
	assert_int_equal(repl_rehash_phase(repl(2)), REHASH_NONE);
	assert_false(box[1].last[MSG_UNMIXED].u.unmixed.forced);
}

static void drain_timeout_ends_the_mixture(void **state)
{
	(void)state;
	running(3);
	all_propose();
	memset(box[3].flows, 255, sizeof(box[3].flows));
	run(2500);				/* drain_timeout 3 s */
	assert_int_equal(repl_rehash_phase(repl(2)), REHASH_MIXED);
	run(1500);
	assert_int_equal(repl_rehash_phase(repl(2)), REHASH_NONE);
	assert_true(box[3].last[MSG_UNMIXED].u.unmixed.forced);
	assert_true(saw(&box[2], "DRAIN_TIMEOUT"));
}

static void node_that_started_with_the_new_file_works_by_the_layout_in_force(void **state)
{
	(void)state;
	running(3);
	kill_box(2);
	view(5, 2);
	lost_at(1, 2);
	lost_at(3, 2);
	run(500);
	start(2, 201);
	box[2].p.repl.layout = twice;
	boot(2);
	view(all(), 0);
	run(4000);
	assert_null(silent(2));
	assert_true(waits(2));
	assert_int_equal(repl_layout(repl(2))->buckets, BUCKETS);
	assert_true(repl_get_node(repl(1), 2)->proposed);
	propose(1, &twice);
	propose(3, &twice);
	run(4000);
	assert_null(silent(2));
	assert_int_equal(repl_layout(repl(2))->buckets, 2 * BUCKETS);
	same_state();
}

/* Cut off while the others changed over; its file is of before. */
static void node_that_was_away_during_the_change_follows(void **state)
{
	(void)state;
	running(3);
	view(3, 0);
	box[3].view = 4;
	agent_view(box[3].a, 4, 0, now);
	fenced(&box[3]);
	lost_at(1, 3);
	lost_at(2, 3);
	propose(1, &twice);
	propose(2, &twice);
	run(3000);
	assert_int_equal(repl_layout(repl(1))->buckets, 2 * BUCKETS);
	assert_int_equal(repl_layout(repl(3))->buckets, BUCKETS);
	view(all(), 0);
	run(5000);
	assert_null(silent(3));
	assert_int_equal(repl_layout(repl(3))->buckets, 2 * BUCKETS);
	assert_true(waits(3));
	propose(3, &twice);
	run(500);
	assert_false(waits(3));
	same_state();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reload_of_all_nodes_changes_the_layout),
		T(wish_is_repeated_until_it_shows_and_can_be_taken_back),
		T(nobody_says_frozen_before_its_kernel_is),
		T(layouts_stay_mixed_while_connections_live_elsewhere),
		T(drain_timeout_ends_the_mixture),
		T(node_that_started_with_the_new_file_works_by_the_layout_in_force),
		T(node_that_was_away_during_the_change_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What a node says of its services when it asks to be admitted, and when it does not ask yet. */
#include "agent_common.h"

static void two(void)
{
	n_nodes = 2;
	for (unsigned int i = 1; i <= 2; i++) {
		start(i, 100 * i);
		boot(i);
	}
}

static bool online(unsigned int at, unsigned int id)
{
	return repl_get_node(agent_repl(box[at].a), id)->state == NODE_ONLINE;
}

static void a_held_node_does_not_ask_to_be_admitted(void **state)
{
	(void)state;
	two();
	agent_hold(box[2].a, true);
	view(all(), 0);
	run(5000);
	assert_true(online(1, 1));
	assert_false(online(1, 2));
	assert_int_equal(box[2].n_sent[MSG_READY], 0);
	agent_hold(box[2].a, false);
	run(1000);
	assert_true(online(1, 2));
}

static void ready_carries_the_verdicts_of_the_checks(void **state)
{
	(void)state;
	two();
	agent_health(box[2].a, 0, FITNESS_DOWN, now);
	view(all(), 0);
	run(5000);
	assert_true(online(1, 2));
	assert_int_equal(box[2].last[MSG_READY].u.ready.health[0], FITNESS_DOWN);
	assert_int_equal(box[1].last[MSG_READY].u.ready.health[0], FITNESS_UP);
	assert_false(repl_fit(agent_repl(box[1].a), 0, 2));
	assert_int_equal(repl_owned(agent_repl(box[1].a), 0, 2), 0);
	assert_int_equal(box[2].n_sent[MSG_HEALTH], 0);	/* READY has said it */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_held_node_does_not_ask_to_be_admitted),
		T(ready_carries_the_verdicts_of_the_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

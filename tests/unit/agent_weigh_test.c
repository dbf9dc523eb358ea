// SPDX-License-Identifier: GPL-2.0-or-later
/* Loads and fitness: what the agent tells, and what it makes of what others tell. */
#include "agent_common.h"

/* Shares by what is left of each node; who swaps gets nothing. */
static void by_load(const struct clusterd_policy_in *in, uint32_t *factor)
{
	for (uint32_t i = 0; i < in->n; i++)
		factor[i] = !in->node[i].known ? in->node[i].factor :
			    in->node[i].swapping ? 0 : 1000 - in->node[i].load;
}

static const struct clusterd_policy_ops policy = { .factors = by_load, .interval_ms = 2000 };

static void weighted(unsigned int n)
{
	n_nodes = n;
	for (unsigned int i = 1; i <= n; i++) {
		start(i, 100 * i);
		box[i].p.repl.policy[0] = (struct repl_policy){ .ops = &policy, .step = 250 };
		box[i].p.weights_interval_ms[0] = 2000;
		box[i].p.busy = 700;
		boot(i);
	}
	view(all(), 0);
	run(6000);
}

static void load(unsigned int i, uint16_t value)
{
	struct sample s = { .load = value, .cpu_idle = (uint16_t)(1000 - value), .mem_free_kb = 500000 };

	agent_sample(box[i].a, &s, now);
}

/* Once a second, for that long. */
static void loads(const uint16_t *value, int64_t ms)
{
	for (int64_t end = now + ms; now < end; ) {
		for (unsigned int i = 1; i <= n_nodes; i++)
			if (box[i].a)
				load(i, value[i]);
		run(1000);
	}
}

static const uint16_t even[] = { 0, 300, 300, 300 }, first_busy[] = { 0, 800, 300, 300 };

/* ---- loads ---- */

static void loads_are_told_when_they_are_news_and_kept_by_all(void **state)
{
	(void)state;
	weighted(3);
	loads(even, 20000);
	assert_int_equal(box[1].n_sent[MSG_LOAD], 1);
	for (unsigned int i = 1; i <= 3; i++)
		for (unsigned int j = 1; j <= 3; j++)
			assert_int_equal(agent_sample_of(box[i].a, j, now)->load, 300);
	load(2, 330);			/* no news, but we know it ourselves */
	run(100);
	assert_int_equal(agent_sample_of(box[2].a, 2, now)->load, 310);
	assert_int_equal(agent_sample_of(box[1].a, 2, now)->load, 300);
	loads(even, 60000);
	assert_in_range(box[1].n_sent[MSG_LOAD], 3, 4);
}

static void old_samples_and_those_of_lost_nodes_say_nothing(void **state)
{
	(void)state;
	weighted(3);
	loads(even, 2000);
	kill_box(3);
	view(3, 0);
	assert_null(agent_sample_of(box[1].a, 3, now));
	assert_non_null(agent_sample_of(box[1].a, 2, now));
	run(61000);
	assert_null(agent_sample_of(box[1].a, 2, now));
	assert_null(agent_sample_of(box[1].a, 1, now));
	assert_null(agent_sample_of(box[1].a, 64, now));
	assert_null(agent_sample_of(box[1].a, 200, now));
}

static void newcomers_are_told_again_and_what_got_lost_too(void **state)
{
	(void)state;
	weighted(3);
	loads(even, 3000);
	kill_box(3);
	view(3, 0);
	run(100);
	start(3, 301);
	boot(3);
	view(7, 0);
	run(500);
	assert_null(agent_sample_of(box[3].a, 1, now));
	loads(even, 2000);
	assert_non_null(agent_sample_of(box[3].a, 1, now));
	agent_group_down(box[2].a, now);
	unsigned int before = box[2].n_sent[MSG_LOAD];

	load(2, 900);
	agent_group_up(box[2].a, now);
	agent_view(box[2].a, 7, 0, now);
	run(1000);
	load(2, 900);
	assert_int_equal(box[2].n_sent[MSG_LOAD], before + 1);
}

static void coordinator_reweighs_once_per_interval_and_buckets_follow(void **state)
{
	uint32_t had;

	(void)state;
	weighted(3);
	loads(even, 10000);
	assert_int_equal(box[1].n_sent[MSG_REWEIGH], 0);	/* it would change nothing */
	had = owned(1, 1);
	unsigned int plans = box[1].n_sent[MSG_PLAN];

	while (!box[1].n_sent[MSG_REWEIGH]) {
		load(1, 800);
		run(STEP_MS);
	}
	for (unsigned int k = 0; k < 190; k++) {		/* nearly the interval */
		load(1, 800);
		run(STEP_MS);
	}
	assert_int_equal(box[1].n_sent[MSG_REWEIGH], 1);
	assert_true(owned(1, 1) < had);
	assert_true(had - owned(1, 1) <= BUCKETS / 4);		/* step */
	assert_int_equal(box[1].n_sent[MSG_PLAN], plans + 1);
	loads(first_busy, 20000);
	assert_in_range(box[1].n_sent[MSG_REWEIGH], 1, 11);
	assert_int_equal(box[2].n_sent[MSG_REWEIGH] + box[3].n_sent[MSG_REWEIGH], 0);
	assert_true(owned(1, 1) < BUCKETS / 5);
	unsigned int before = box[1].n_sent[MSG_REWEIGH];

	loads(first_busy, 20000);				/* it has settled */
	assert_int_equal(box[1].n_sent[MSG_REWEIGH], before);
	assert_int_equal(box[1].last[MSG_REWEIGH].u.reweigh.n, 3);
	assert_true(saw(&box[2], "REWEIGH"));
	same_state();
}

static void next_coordinator_keeps_the_rhythm(void **state)
{
	static const uint16_t second_busy[] = { 0, 0, 900, 300 };

	(void)state;
	weighted(3);
	for (unsigned int i = 1; i <= 3; i++) {
		box[i].p.weights_interval_ms[0] = 8000;
		agent_reconf(box[i].a, &box[i].p);
	}
	loads(even, 2000);
	while (!box[1].n_sent[MSG_REWEIGH])
		loads(first_busy, 1000);
	int64_t since = now;

	kill_box(1);
	view(6, 0);
	lost_at(2, 1);
	while (!box[2].n_sent[MSG_REWEIGH]) {
		loads(second_busy, 1000);
		assert_true(now - since < 20000);
	}
	assert_true(now - since > 6000);
	assert_int_equal(box[2].last[MSG_REWEIGH].u.reweigh.n, 2);	/* of the lost one nothing is known */
	same_state();
}

static void who_loses_all_work_is_news(void **state)
{
	struct agent_event e;

	(void)state;
	weighted(3);
	loads(even, 3000);
	unsigned int before = events_of(&box[1], "REWEIGH", &e);

	for (unsigned int k = 0; k < 10; k++) {
		struct sample s = { .load = 300, .cpu_idle = 700, .mem_free_kb = 500000, .swapping = 9 };

		agent_sample(box[3].a, &s, now);
		run(1000);
	}
	assert_true(events_of(&box[1], "REWEIGH", &e) > before);
	bool found = false;

	for (unsigned int i = 0; i < 64; i++)
		found |= !strcmp(box[1].events[i], "REWEIGH") && box[1].about[i].node == 3 &&
			 box[1].about[i].priority == 5 && box[1].about[i].service == 0;
	assert_true(found);
	assert_int_equal(repl_get_node(repl(2), 3)->factor[0], 0);
}

static void idle_buckets_go_first(void **state)
{
	uint8_t was[BUCKETS];

	(void)state;
	weighted(3);
	loads(even, 4000);
	for (uint32_t b = 0; b < BUCKETS; b++)
		was[b] = repl_get_bucket(repl(1), 0, b)->owner;
	memset(box[1].flows, 0x55, sizeof(box[1].flows));	/* every other one */
	while (!box[1].n_sent[MSG_REWEIGH])
		loads(first_busy, 1000);
	run(2000);
	assert_int_equal(box[1].n_sent[MSG_IDLE], 1);
	assert_int_equal(box[2].n_sent[MSG_IDLE] + box[3].n_sent[MSG_IDLE], 0);	/* they lose none */
	unsigned int moved = 0, busy = 0, idle = 0;

	for (uint32_t b = 0; b < BUCKETS; b++) {
		idle += was[b] == 1 && b % 2;
		if (was[b] != 1 || repl_get_bucket(repl(1), 0, b)->owner == 1)
			continue;
		moved++;
		busy += b % 2 == 0;
	}
	assert_true(moved > 0);
	assert_int_equal(busy, moved > idle ? moved - idle : 0);
	same_state();
}

static void nothing_is_reweighed_while_a_returned_node_waits(void **state)
{
	(void)state;
	weighted(3);
	loads(even, 3000);
	kill_box(3);
	view(3, 0);
	lost_at(1, 3);
	loads(even, 3000);
	for (unsigned int i = 1; i <= 2; i++) {
		box[i].p.failback_delay_ms = 6000;
		agent_reconf(box[i].a, &box[i].p);
	}
	start(3, 301);
	box[3].p = box[1].p;
	box[3].p.self = 3;
	box[3].p.incarnation = 301;
	boot(3);
	view(7, 0);
	while (silent(3))
		run(STEP_MS);
	unsigned int before = box[1].n_sent[MSG_REWEIGH];

	loads(first_busy, 5000);
	assert_int_equal(box[1].n_sent[MSG_REWEIGH], before);
	assert_int_equal(owned(3, 1), 0);
	loads(first_busy, 10000);
	assert_true(box[1].n_sent[MSG_REWEIGH] > before);
	assert_true(owned(3, 1) > 0);
}

/* ---- coming back ---- */

static void returns(unsigned int i)
{
	struct agent_params p = box[1].p;

	p.self = (uint8_t)i;
	p.incarnation = 100 * i + 1;
	kill_box(i);
	view(all() & ~node_bit(i), 0);
	lost_at(i == 1 ? 2 : 1, i);
	run(3000);
	start(i, p.incarnation);
	box[i].p = p;
	boot(i);
	view(all(), 0);
	while (silent(i))
		run(STEP_MS);
}

/* However long a node waits for its share, it begins with the first step of it. */
static void slow_start_waits_for_failback_delay(void **state)
{
	(void)state;
	cluster(3);
	for (unsigned int i = 1; i <= 3; i++) {
		box[i].p.slow_start_ms = 9000;
		box[i].p.failback_delay_ms = 5000;
		agent_reconf(box[i].a, &box[i].p);
	}
	view(7, 0);
	run(12000);
	returns(3);
	run(4000);
	assert_int_equal(owned(3, 1), 0);
	for (unsigned int i = 0; i < 200 && !owned(3, 1); i++)
		run(STEP_MS);
	run(800);	/* of 1000 */
	assert_int_equal(repl_get_node(repl(1), 3)->ramp, RAMP_FULL / 10);
	assert_in_range(owned(3, 1), 1, BUCKETS / 16);
	run(10000);
	assert_int_equal(repl_get_node(repl(1), 3)->ramp, RAMP_FULL);
}

static void slow_start_takes_its_time(void **state)
{
	struct agent_event e;

	(void)state;
	cluster(3);
	for (unsigned int i = 1; i <= 3; i++) {
		box[i].p.slow_start_ms = 9000;
		agent_reconf(box[i].a, &box[i].p);
	}
	view(7, 0);
	run(6000);
	assert_int_equal(repl_get_node(repl(1), 2)->ramp, RAMP_FULL);	/* a new cluster does not wait */
	returns(3);
	assert_int_equal(repl_get_node(repl(1), 3)->ramp, RAMP_FULL / 10);
	run(1000);
	assert_in_range(owned(3, 1), 1, BUCKETS / 16);
	run(4000);
	assert_in_range(repl_get_node(repl(1), 3)->ramp, 400, 600);
	assert_in_range(owned(3, 1), BUCKETS / 8, BUCKETS / 4);
	unsigned int orders = box[1].n_sent[MSG_ORDER];

	run(6000);
	assert_int_equal(repl_get_node(repl(1), 3)->ramp, RAMP_FULL);
	assert_true(owned(3, 1) >= BUCKETS / 3);
	assert_in_range(box[1].n_sent[MSG_ORDER] - orders, 4, 6);
	assert_int_equal(box[2].n_sent[MSG_ORDER] + box[3].n_sent[MSG_ORDER], 0);
	assert_int_equal(events_of(&box[2], "SLOW_START_END", &e), 1);
	assert_int_equal(e.node, 3);
	assert_int_equal(events_of(&box[2], "ORDER", &e), 0);
	assert_int_equal(events_of(&box[2], "FAIL_BACK", &e), 1);
	assert_int_equal(events_of(&box[2], "FAIL_BACK_OK", &e), 1);
	assert_int_equal(e.node, 3);
	assert_true(e.buckets > 0);
	struct agent_status s;

	agent_get_status(box[1].a, &s);
	assert_int_equal(s.orders_back, s.orders_sent);
	same_state();
}

static void never_while_busy_waits_for_all_to_be_calm(void **state)
{
	(void)state;
	cluster(3);
	for (unsigned int i = 1; i <= 3; i++) {
		box[i].p.failback = AGENT_FAILBACK_NEVER_BUSY;
		box[i].p.busy = 700;
		agent_reconf(box[i].a, &box[i].p);
	}
	view(7, 0);
	run(6000);
	static const uint16_t busy[] = { 0, 200, 701, 200 }, just[] = { 0, 200, 700, 200 };

	returns(3);
	assert_true(repl_get_node(repl(1), 3)->hold_back);
	loads(busy, 10000);
	assert_int_equal(owned(3, 1), 0);
	assert_int_equal(box[1].n_sent[MSG_ORDER], 0);
	/* 701 is no news after 700, but on its way down it is */
	static const uint16_t low[] = { 0, 200, 500, 200 };

	loads(low, 3000);
	assert_false(repl_get_node(repl(1), 3)->hold_back);
	assert_true(owned(3, 1) >= BUCKETS / 3);
	assert_int_equal(box[2].n_sent[MSG_ORDER] + box[3].n_sent[MSG_ORDER], 0);
	struct agent_status s;

	agent_get_status(box[1].a, &s);
	assert_int_equal(s.orders_back, s.orders_sent);
	returns(2);
	loads(just, 4000);
	assert_true(owned(2, 1) >= BUCKETS / 3);
	same_state();
}

static void coordinator_that_has_just_come_takes_silence_for_busy(void **state)
{
	(void)state;
	cluster(3);
	for (unsigned int i = 1; i <= 3; i++) {
		box[i].p.failback = AGENT_FAILBACK_NEVER_BUSY;
		box[i].p.busy = 700;
		agent_reconf(box[i].a, &box[i].p);
	}
	view(7, 0);
	run(6000);
	returns(1);				/* nobody has told it anything yet */
	run(3000);
	assert_int_equal(owned(1, 1), 0);
	static const uint16_t busy[] = { 0, 200, 900, 900 };

	loads(busy, 5000);
	assert_int_equal(owned(1, 1), 0);
	kill_box(3);				/* one that never says anything is not waited for */
	view(3, 0);
	lost_at(2, 3);
	start(3, 302);
	box[3].p = box[2].p;
	box[3].p.self = 3;
	box[3].p.incarnation = 302;
	boot(3);
	view(7, 0);
	for (unsigned int k = 0; k < 50; k++) {
		load(1, 200);
		load(2, 200);
		run(1000);
	}
	assert_int_equal(owned(1, 1), 0);
	for (unsigned int k = 0; k < 15; k++) {
		load(1, 200);
		load(2, 200);
		run(1000);
	}
	assert_true(owned(1, 1) >= BUCKETS / 3);
	same_state();
}

/* ---- health ---- */

static void service_that_works_leaves_as_a_planned_move(void **state)
{
	struct agent_event e;

	(void)state;
	running(3);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	agent_health(box[2].a, 0, FITNESS_WORKS, now);
	run(200);
	assert_int_equal(owned(2, 1), 0);
	run(1000);
	assert_true(repl_count(repl(1), PHASE_DRAIN, NOBODY, 2) > 0);	/* its connections go on */
	assert_int_equal(events_of(&box[1], "SERVICE_WORKS", &e), 1);
	assert_int_equal(e.node, 2);
	assert_int_equal(e.by, 2);
	assert_int_equal(e.service, 0);
	memset(box[2].flows, 0, sizeof(box[2].flows));
	agent_health(box[2].a, 0, FITNESS_UP, now);
	run(3000);
	assert_true(owned(2, 1) >= BUCKETS / 3);
	assert_int_equal(events_of(&box[3], "SERVICE_UP", &e), 1);
	assert_int_equal(box[2].n_sent[MSG_HEALTH], 2);
	same_state();
}

static void service_that_is_down_is_given_up_at_once(void **state)
{
	(void)state;
	running(3);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	agent_health(box[2].a, 0, FITNESS_DOWN, now);
	run(200);
	assert_int_equal(owned(2, 1), 0);
	assert_int_equal(repl_count(repl(1), PHASE_DRAIN, NOBODY, NOBODY), 0);
	assert_true(box[2].last[MSG_DRAINED].u.drained.forced);
	assert_int_equal(box[2].n_sent[MSG_DRAINED], 1);
	assert_false(saw(&box[1], "DRAIN_TIMEOUT"));		/* nobody has waited */
	/* A stop of such a node has nothing to hand over. */
	agent_stop(box[2].a, now);
	run(500);
	assert_true(box[2].stopped);
	same_state();
}

static void verdict_is_repeated_until_it_shows_and_outlives_a_return(void **state)
{
	(void)state;
	running(3);
	box[2].view = 0;			/* what it says goes nowhere */
	agent_health(box[2].a, 0, FITNESS_DOWN, now);
	run(1000);
	assert_in_range(box[2].n_sent[MSG_HEALTH], 3, 5);
	box[2].view = all();
	run(500);
	assert_false(repl_fit(repl(1), 0, 2));
	unsigned int before = box[2].n_sent[MSG_HEALTH];

	run(2000);
	assert_int_equal(box[2].n_sent[MSG_HEALTH], before);
	fenced(&box[2]);			/* admitted again, the service still does not serve */
	run(4000);
	assert_null(silent(2));
	assert_false(repl_fit(repl(1), 0, 2));
	assert_int_equal(owned(2, 1), 0);
	same_state();
}

static void nobody_fit_is_sorry_and_nothing_moves(void **state)
{
	struct agent_event e;

	(void)state;
	running(3);
	for (unsigned int i = 1; i <= 3; i++)
		agent_health(box[i].a, 0, FITNESS_DOWN, now);
	run(3000);
	assert_true(repl_sorry(repl(2), 0));
	assert_int_equal(events_of(&box[3], "SORRY", &e), 1);
	assert_int_equal(e.service, 0);
	for (unsigned int i = 1; i <= 3; i++)
		assert_in_range(owned(i, 1), BUCKETS / 3, BUCKETS / 3 + 1);
	agent_stop(box[2].a, now);		/* that must not wait for anybody to be fit */
	run(2000);
	assert_true(box[2].stopped);
	agent_health(box[1].a, 0, FITNESS_UP, now);
	run(2000);
	assert_int_equal(events_of(&box[3], "SORRY_END", &e), 1);
	assert_int_equal(owned(1, 1), BUCKETS);
	agent_stop(box[1].a, now);		/* the only fit one: the rest says sorry */
	run(3000);
	assert_true(box[1].stopped);
	assert_int_equal(owned(3, 3), BUCKETS);
}

static void neighbour_that_cannot_be_reached_loses_its_buckets(void **state)
{
	struct agent_event e;

	(void)state;
	running(3);
	agent_peer_health(box[1].a, 0, 2, false, now);	/* 3 is the left one of 1: not for it to say */
	run(500);
	assert_int_equal(box[1].n_sent[MSG_HEALTH], 0);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	agent_peer_health(box[3].a, 0, 2, false, now);
	run(300);
	assert_int_equal(owned(2, 1), 0);
	assert_int_equal(repl_count(repl(1), PHASE_DRAIN, NOBODY, NOBODY), 0);
	assert_int_equal(box[3].n_sent[MSG_HEALTH], 1);
	assert_int_equal(events_of(&box[1], "SERVICE_DOWN", &e), 1);
	assert_int_equal(e.node, 2);
	assert_int_equal(e.by, 3);
	agent_peer_health(box[3].a, 0, 2, true, now);
	run(3000);
	assert_true(owned(2, 1) >= BUCKETS / 3);
	assert_int_equal(box[3].n_sent[MSG_HEALTH], 2);
	same_state();
}

static void verdict_of_who_is_no_neighbour_any_more_is_void(void **state)
{
	(void)state;
	running(3);
	agent_peer_health(box[3].a, 0, 2, false, now);
	run(300);
	assert_int_equal(owned(2, 1), 0);
	kill_box(3);
	view(3, 0);
	lost_at(1, 3);
	run(3000);
	assert_int_equal(owned(2, 1), BUCKETS / 2);
	start(3, 301);
	boot(3);
	view(7, 0);
	run(4000);
	assert_true(owned(2, 1) >= BUCKETS / 3);	/* nor does it come back with it */
	same_state();
}

static void last_fit_node_is_not_accused(void **state)
{
	(void)state;
	running(2);
	agent_health(box[1].a, 0, FITNESS_DOWN, now);
	run(1000);
	assert_int_equal(owned(2, 1), BUCKETS);
	unsigned int before = box[1].n_sent[MSG_HEALTH];

	agent_peer_health(box[1].a, 0, 2, false, now);
	run(3000);
	assert_int_equal(box[1].n_sent[MSG_HEALTH], before);
	assert_int_equal(owned(2, 1), BUCKETS);
	agent_health(box[1].a, 0, FITNESS_UP, now);
	run(1000);
	assert_int_equal(owned(1, 1), BUCKETS);		/* now somebody else can take them */
}

/* ---- the ring ---- */

static void ring_is_told_once_per_new_pair(void **state)
{
	struct agent_event e;

	(void)state;
	running(3);
	for (unsigned int i = 1; i <= 3; i++)
		box[i].n_event = 0;
	kill_box(2);
	view(5, 0);
	lost_at(3, 2);
	run(1000);
	assert_int_equal(events_of(&box[1], "FAIL_DOWN", &e), 1);
	assert_int_equal(e.node, 2);
	assert_int_equal(e.by, 3);
	assert_true(events_of(&box[1], "TAKE_OVER", &e) >= 1);
	assert_int_equal(e.node, 2);
	assert_true(e.by == 1 || e.by == 3);
	assert_true(e.buckets > 0);
	assert_int_equal(events_of(&box[1], "REBUILD", &e), 0);	/* of three they were neighbours before */
	start(2, 201);
	boot(2);
	view(7, 0);
	run(3000);
	assert_int_equal(events_of(&box[1], "REBUILD", &e), 2);	/* 1 and 2, 2 and 3 */
	assert_int_equal(e.node, 2);
	assert_int_equal(e.by, 3);
	assert_int_equal(events_of(&box[1], "FAIL_BACK", &e), 1);
	assert_int_equal(e.node, 2);
	assert_int_equal(events_of(&box[1], "FAIL_BACK_OK", &e), 1);
	assert_int_equal(e.node, 2);
	assert_int_equal(e.buckets, owned(2, 1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(loads_are_told_when_they_are_news_and_kept_by_all),
		T(old_samples_and_those_of_lost_nodes_say_nothing),
		T(newcomers_are_told_again_and_what_got_lost_too),
		T(coordinator_reweighs_once_per_interval_and_buckets_follow),
		T(next_coordinator_keeps_the_rhythm),
		T(who_loses_all_work_is_news),
		T(idle_buckets_go_first),
		T(nothing_is_reweighed_while_a_returned_node_waits),
		T(slow_start_takes_its_time), T(slow_start_waits_for_failback_delay),
		T(never_while_busy_waits_for_all_to_be_calm),
		T(coordinator_that_has_just_come_takes_silence_for_busy),
		T(service_that_works_leaves_as_a_planned_move),
		T(service_that_is_down_is_given_up_at_once),
		T(verdict_is_repeated_until_it_shows_and_outlives_a_return),
		T(nobody_fit_is_sorry_and_nothing_moves),
		T(neighbour_that_cannot_be_reached_loses_its_buckets),
		T(verdict_of_who_is_no_neighbour_any_more_is_void),
		T(last_fit_node_is_not_accused),
		T(ring_is_told_once_per_new_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "agent_common.h"

/* ---- starting ---- */

static void one_node_starts_and_owns_everything(void **state)
{
	(void)state;
	running(1);
	assert_int_equal(owned(1, 1), BUCKETS);
	assert_string_equal(agent_node_state(box[1].a, 1), "online");
	assert_true(saw(&box[1], "LEASED"));
}

static void three_nodes_start_together_and_share(void **state)
{
	(void)state;
	running(3);
	for (unsigned int i = 1; i <= 3; i++)
		for (unsigned int j = 1; j <= 3; j++)
			assert_int_equal(box[i].peer_term[j],
					 i == j ? 0 : repl_get_node(repl(1), j)->term);
}

static void those_of_a_cluster_that_starts_make_one_plan_together(void **state)
{
	(void)state;
	cluster(3);
	agent_reachable(box[2].a, false, now);
	agent_reachable(box[3].a, false, now);
	view(7, 0);
	run(100);
	agent_reachable(box[2].a, true, now);
	run(200);
	agent_reachable(box[3].a, true, now);
	run(5000);
	assert_true(owned(3, 1) >= BUCKETS / 3);
	assert_int_equal(box[1].n_sent[MSG_PLAN], 1);
	assert_int_equal(box[2].n_sent[MSG_PLAN] + box[3].n_sent[MSG_PLAN], 0);
}

static void a_minority_serves_nothing_and_says_why(void **state)
{
	(void)state;
	cluster(3);
	view(1, 0);
	run(5000);
	assert_string_equal(silent(1), "there is no majority of nodes in the group");
	assert_int_equal(box[1].n_sent[MSG_READY], 0);
	assert_int_equal(box[1].n_cmd[LCMD_ADMIT], 0);
	const char *why = NULL;

	assert_int_equal(agent_order(box[1].a, ORDER_DRAIN, 1, 0, &why, now), -EAGAIN);
	assert_non_null(why);
}

static void ready_needs_reachability_step_and_an_installed_table(void **state)
{
	(void)state;
	cluster(3);
	agent_reachable(box[1].a, false, now);
	box[2].no_install = true;
	view(7, 0);
	run(3000);
	assert_int_equal(box[1].n_sent[MSG_READY], 0);
	assert_string_equal(silent(1),
			    "too few nodes answer this node's heartbeat (is the UDP port open?)");
	assert_int_equal(box[2].n_sent[MSG_READY], 0);
	assert_string_equal(silent(2), "the kernel's rules are not installed");
	assert_null(silent(3));
	agent_reachable(box[1].a, true, now);
	box[2].no_install = false;
	run(8000);
	assert_null(silent(1));
	assert_null(silent(2));
}

static void a_term_starts_only_on_a_table_that_belongs_to_it(void **state)
{
	(void)state;
	cluster(1);
	view(1, 0);
	while (!box[1].n_sent[MSG_READY]) {
		turn();
		now += STEP_MS;
	}
	box[1].no_install = true;
	run(2000);
	assert_true(repl_online(repl(1)) == 1);
	assert_int_equal(box[1].n_cmd[LCMD_ADMIT], 0);
	box[1].no_install = false;
	run(STEP_MS);
	assert_int_equal(box[1].n_cmd[LCMD_ADMIT], 1);
	assert_int_equal(box[1].last_cmd[LCMD_ADMIT].term, repl_get_node(repl(1), 1)->term);
}

static void joiner_gets_the_snapshot_and_replays_what_came_between(void **state)
{
	const char *why;

	(void)state;
	cluster(3);
	agent_free(box[3].a);
	box[3].a = NULL;
	view(3, 0);
	run(5000);
	assert_null(silent(1));
	start(3, 300);
	boot(3);
	deliver();
	held = true;
	view(7, 0);
	/* Behind the STATE messages, before the snapshot that they give rise to. */
	assert_int_equal(agent_order(box[1].a, ORDER_WEIGHT, 2, 250, &why, now), 0);
	held = false;
	deliver();
	assert_int_equal(box[1].n_sent[MSG_SNAP] + box[2].n_sent[MSG_SNAP], 1);
	struct agent_status s;

	agent_get_status(box[3].a, &s);
	assert_int_equal(s.snapshots_loaded, 1);
	assert_true(s.synced);
	assert_int_equal(repl_get_node(repl(3), 2)->weight_order, 250);
	same_state();
	run(8000);
	assert_null(silent(3));
	assert_true(owned(2, 3) > owned(1, 3));
	same_state();
}

static void minority_with_another_configuration_stays_joining_with_a_reason(void **state)
{
	(void)state;
	cluster(3);
	kill_box(3);
	start(3, 300);
	box[3].p.config = 78;
	boot(3);
	view(7, 0);
	run(6000);
	assert_null(silent(1));
	assert_null(silent(2));
	assert_string_equal(silent(3), "this node's clusterd.ini differs from the cluster's");
	assert_int_equal(box[3].n_sent[MSG_READY], 0);
	assert_string_equal(agent_node_state(box[1].a, 3), "joining");
	assert_int_equal(owned(3, 1), 0);
	assert_int_equal(owned(1, 1) + owned(2, 1), BUCKETS);
}

/* ---- failures ---- */

static void lost_lease_is_acted_on_at_once_and_told_until_it_shows(void **state)
{
	(void)state;
	running(3);
	held = true;			/* the group stalls */
	uint64_t version = agent_version(box[1].a);

	lost_at(1, 3);
	assert_int_equal(agent_lost(box[1].a), node_bit(3));
	assert_true(agent_version(box[1].a) > version);		/* our own kernel does not wait */
	assert_true(agent_wants_install(box[1].a));
	assert_string_equal(agent_node_state(box[1].a, 3), "failed");
	unsigned int before = box[1].n_sent[MSG_FAIL];

	run(2000);
	assert_in_range(box[1].n_sent[MSG_FAIL] - before, 4, 8);
	assert_int_equal(box[1].last[MSG_FAIL].u.fail.kind, FAIL_LEASE);
	assert_int_equal(box[2].n_sent[MSG_FAIL], 0);
	assert_int_equal(repl_get_node(repl(1), 3)->state, NODE_ONLINE);
	held = false;
	deliver();
	assert_int_equal(repl_get_node(repl(2), 3)->state, NODE_FAILED);
	assert_int_equal(agent_lost(box[1].a), 0);
	assert_int_equal(owned(3, 2), 0);
	before = box[1].n_sent[MSG_FAIL];
	kill_box(3);
	view(3, 0);
	run(2000);
	assert_int_equal(box[1].n_sent[MSG_FAIL], before);
}

static void a_word_about_an_earlier_term_is_not_acted_on(void **state)
{
	(void)state;
	running(3);
	struct lease_event e = { .type = LEASE_EV_LOST, .node = 3,
				 .term = repl_get_node(repl(1), 3)->term - 1 };

	agent_lease_event(box[1].a, &e, now);
	assert_int_equal(agent_lost(box[1].a), 0);
	run(1000);
	assert_int_equal(box[1].n_sent[MSG_FAIL], 0);
}

static void fenced_node_says_so_itself_and_comes_back_with_a_new_term(void **state)
{
	(void)state;
	running(3);
	uint32_t term = box[2].lease_term;

	fenced(&box[2]);
	assert_non_null(silent(2));
	run(50);
	assert_int_equal(box[2].n_sent[MSG_FAIL], 1);
	assert_int_equal(box[2].last[MSG_FAIL].u.fail.kind, FAIL_SELF);
	assert_int_equal(box[2].last[MSG_FAIL].u.fail.term, term);
	assert_int_equal(owned(2, 1), 0);
	run(3000);
	assert_true(box[2].lease_term && box[2].lease_term != term);
	assert_null(silent(2));
	run(4000);
	assert_true(owned(2, 1) >= BUCKETS / 3);
	same_state();
}

static void repeated_fencing_slows_the_return_down(void **state)
{
	int64_t wait[4];

	(void)state;
	running(3);
	for (unsigned int i = 0; i < 4; i++) {
		int64_t at = now;

		fenced(&box[2]);
		while (!box[2].lease_term) {
			run(STEP_MS);
			assert_true(now - at < 10000);
		}
		wait[i] = now - at;
	}
	assert_true(wait[3] > 2 * wait[0]);
}

static void crash_is_told_by_all_who_saw_it_and_the_grace_ends(void **state)
{
	(void)state;
	running(3);
	kill_box(3);
	view(3, node_bit(3));
	assert_int_equal(box[1].n_sent[MSG_FAIL], 1);
	assert_int_equal(box[2].n_sent[MSG_FAIL], 1);
	assert_int_equal(box[2].last[MSG_FAIL].u.fail.kind, FAIL_CRASH);
	deliver();
	assert_true(repl_count(repl(1), PHASE_GRACE, NOBODY, 3) > 0);
	run(700);
	assert_true(repl_count(repl(1), PHASE_GRACE, NOBODY, 3) > 0);
	run(600);
	assert_int_equal(repl_count(repl(1), PHASE_GRACE, NOBODY, 3), 0);
	assert_int_equal(box[2].n_sent[MSG_GRACE_END], 0);	/* the coordinator says it */
	run(3000);
	assert_int_equal(owned(1, 2), BUCKETS / 2);
	same_state();
}

static void crashed_daemon_back_within_the_grace_gets_its_very_buckets(void **state)
{
	uint8_t was[BUCKETS];

	(void)state;
	running(3);
	for (uint32_t b = 0; b < BUCKETS; b++)
		was[b] = repl_get_bucket(repl(1), 0, b)->owner;
	kill_box(3);
	view(3, node_bit(3));
	run(100);
	start(3, 301);
	boot(3);
	view(7, 0);
	run(400);
	/* Connections that wait are no matter of failback_delay. */
	assert_true(repl_count(repl(1), PHASE_GRACE, NOBODY, NOBODY) == 0);
	run(3000);
	for (uint32_t b = 0; b < BUCKETS; b++)
		assert_int_equal(repl_get_bucket(repl(1), 0, b)->owner, was[b]);
	assert_null(silent(3));
	same_state();
}

static void coordinator_that_dies_is_replaced(void **state)
{
	(void)state;
	running(3);
	kill_box(1);
	view(6, 0);
	lost_at(2, 1);
	run(6000);
	struct agent_status s;

	agent_get_status(box[3].a, &s);
	assert_int_equal(s.coordinator, 2);
	assert_true(box[2].n_sent[MSG_PLAN] > 0);
	assert_int_equal(owned(2, 3), BUCKETS / 2);
}

/* ---- clearing ---- */

static void recovered(unsigned int at, unsigned int node, uint32_t gen)
{
	struct lease_event e = { .type = LEASE_EV_RECOVERED, .node = (uint8_t)node, .gen = gen,
				 .term = repl_get_node(repl(at), node)->term };

	agent_lease_event(box[at].a, &e, now);
}

static void clearing_needs_the_word_of_every_admitted_node(void **state)
{
	(void)state;
	running(3);
	box[2].no_discard = true;		/* it has counted the report already */
	recovered(1, 3, 4);
	run(2000);
	assert_true(box[1].n_sent[MSG_CLEAR_REQ] >= 2);		/* asked again */
	assert_int_equal(box[2].last_cmd[LCMD_DISCARD].by, 1);
	assert_int_equal(box[2].last_cmd[LCMD_DISCARD].node, 3);
	assert_int_equal(box[2].last_cmd[LCMD_DISCARD].gen, 4);
	assert_int_equal(box[1].n_cmd[LCMD_CLEARED], 0);
	box[2].no_discard = false;
	run(2000);
	assert_int_equal(box[1].n_cmd[LCMD_CLEARED], 1);
	assert_int_equal(box[1].last_cmd[LCMD_CLEARED].node, 3);
	assert_int_equal(box[1].last_cmd[LCMD_CLEARED].gen, 4);
	assert_true(box[1].n_sent[MSG_CLEAR_ACK] > 0);		/* its own word counts as well */
	unsigned int before = box[1].n_sent[MSG_CLEAR_REQ];

	run(2000);
	assert_int_equal(box[1].n_sent[MSG_CLEAR_REQ], before);
}

static void who_has_inherited_gives_no_word(void **state)
{
	(void)state;
	running(3);
	lost_at(2, 3);
	held = true;			/* its FAIL is not through yet */
	recovered(1, 3, 1);
	run(100);
	struct lease_cmd c = { .type = LCMD_DISCARD, .by = 1, .node = 3, .gen = 1,
			       .term = repl_get_node(repl(2), 3)->term };
	unsigned int before = box[2].n_sent[MSG_CLEAR_ACK];

	agent_discarded(box[2].a, &c, true, now);
	assert_int_equal(box[2].n_sent[MSG_CLEAR_ACK], before);
	c.term--;			/* about another term it has no objection */
	agent_discarded(box[2].a, &c, true, now);
	assert_int_equal(box[2].n_sent[MSG_CLEAR_ACK], before + 1);
}

/* ---- digests ---- */

static void digest_mismatch_is_noticed_and_healed(void **state)
{
	struct agent_status s;

	(void)state;
	running(3);
	/* A bit of node 3's memory falls over: it applies something that nobody sent. */
	struct msg m = { .type = MSG_ORDER, .from = 2, .incarnation = 200 };
	struct msg n = m;

	m.u.order.type = n.u.order.type = ORDER_WEIGHT;
	m.u.order.node = n.u.order.node = 2;
	m.u.order.value = 7;
	n.u.order.value = 8;
	agent_message(box[3].a, &m, now);
	agent_message(box[1].a, &n, now);
	agent_message(box[2].a, &n, now);
	run_commands();
	assert_int_equal(repl_epoch(repl(1)), repl_epoch(repl(3)));
	assert_int_not_equal(repl_digest(repl(1)), repl_digest(repl(3)));
	struct msg d = { .type = MSG_DIGEST, .from = 1, .incarnation = 100 };

	d.u.digest.epoch = repl_epoch(repl(1));
	d.u.digest.digest = repl_digest(repl(1));
	agent_message(box[3].a, &d, now);
	run_commands();
	assert_int_equal(box[3].lease_term, 0);			/* silent while it knows nothing */
	agent_get_status(box[3].a, &s);
	assert_int_equal(s.digest_mismatches, 1);
	uint64_t loaded = s.snapshots_loaded;

	assert_false(s.synced);
	assert_true(saw(&box[3], "DIGEST_MISMATCH"));
	run(8000);
	agent_get_status(box[3].a, &s);
	assert_true(s.synced);
	assert_true(s.snapshots_loaded > loaded);
	assert_null(silent(3));
	same_state();
}

static void digests_are_compared_every_ten_seconds(void **state)
{
	(void)state;
	running(2);
	unsigned int before = box[1].n_sent[MSG_DIGEST];

	run(30000);
	assert_in_range(box[1].n_sent[MSG_DIGEST] - before, 2, 4);
}

/* ---- orders ---- */

static void order(unsigned int at, enum order_type t, unsigned int node, uint16_t value)
{
	const char *why = NULL;

	assert_int_equal(agent_order(box[at].a, t, node, value, &why, now), 0);
}

static void drain_moves_all_away_and_waits_for_connections(void **state)
{
	(void)state;
	running(3);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	order(1, ORDER_DRAIN, 2, 0);
	run(1500);
	assert_int_equal(owned(2, 1), 0);
	assert_true(repl_count(repl(1), PHASE_DRAIN, NOBODY, 2) > 0);
	assert_string_equal(agent_node_state(box[3].a, 2), "draining");
	box[2].flows[0] = 0;			/* the connections of eight buckets end */
	run(600);
	memset(box[2].flows, 0, sizeof(box[2].flows));
	run(600);
	assert_int_equal(repl_count(repl(1), PHASE_DRAIN, NOBODY, NOBODY), 0);
	assert_string_equal(agent_node_state(box[3].a, 2), "drained");
	assert_false(box[2].last[MSG_DRAINED].u.drained.forced);
	assert_int_equal(box[2].lease_term != 0, 1);
	order(3, ORDER_UNDRAIN, 2, 0);
	run(3000);
	assert_true(owned(2, 1) >= BUCKETS / 3);
}

static void drain_timeout_is_forced(void **state)
{
	(void)state;
	running(3);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	order(1, ORDER_DRAIN, 2, 0);
	run(2800);
	assert_true(repl_count(repl(1), PHASE_DRAIN, NOBODY, 2) > 0);
	run(1500);
	assert_int_equal(repl_count(repl(1), PHASE_DRAIN, NOBODY, NOBODY), 0);
	assert_true(box[2].last[MSG_DRAINED].u.drained.forced);
	assert_true(saw(&box[1], "DRAIN_TIMEOUT"));
}

static void orders_that_make_no_sense_are_refused_with_a_reason(void **state)
{
	const char *why;

	(void)state;
	running(3);
	why = NULL;
	assert_int_equal(agent_order(box[1].a, ORDER_DRAIN, 4, 0, &why, now), -EINVAL);
	assert_non_null(why);
	why = NULL;
	assert_int_equal(agent_order(box[1].a, ORDER_TAKEOVER, 1, 0, &why, now), -EINVAL);
	assert_non_null(why);
	why = NULL;
	assert_int_equal(agent_order(box[1].a, ORDER_TAKEOVER, 2, 0, &why, now), -EINVAL);
	assert_non_null(why);
	why = NULL;
	agent_group_down(box[1].a, now);
	assert_int_equal(agent_order(box[1].a, ORDER_DRAIN, 2, 0, &why, now), -EAGAIN);
	assert_string_equal(why, "corosync is not there");
}

static void takeover_lets_a_minority_go_on(void **state)
{
	(void)state;
	running(3);
	kill_box(2);
	kill_box(3);
	view(1, 0);
	fenced(&box[1]);
	agent_reachable(box[1].a, false, now);
	run(3000);
	assert_non_null(silent(1));
	order(1, ORDER_TAKEOVER, 2, 0);
	run(200);
	assert_non_null(silent(1));		/* one of the two that remain may still be alive */
	order(1, ORDER_TAKEOVER, 3, 0);
	deliver();
	run_commands();
	assert_int_equal(box[1].dead, 6);
	agent_reachable(box[1].a, true, now);
	run(6000);
	assert_null(silent(1));
	assert_int_equal(owned(1, 1), BUCKETS);
	/* Back again: alive by its own READY. */
	start(2, 201);
	boot(2);
	view(3, 0);
	run(6000);
	assert_null(silent(2));
	assert_int_equal(box[1].dead, 4);
	assert_int_equal(owned(2, 1), BUCKETS / 2);
}

static void failback_waits_for_its_delay_or_for_the_operator(void **state)
{
	(void)state;
	for (unsigned int manual = 0; manual < 2; manual++) {
		teardown(NULL);
		setup(NULL);
		running(3);
		kill_box(3);
		view(3, 0);
		lost_at(1, 3);
		run(3000);
		start(3, 301);
		box[3].p.failback = manual ? AGENT_FAILBACK_MANUAL : AGENT_FAILBACK_AUTO;
		boot(3);
		view(7, 0);
		while (silent(3))
			run(STEP_MS);
		run(400);
		assert_int_equal(owned(3, 1), 0);
		run(3000);
		if (manual) {
			assert_int_equal(owned(3, 1), 0);
			order(1, ORDER_FAILBACK, 0, 0);
			run(2000);
		}
		assert_true(owned(3, 1) >= BUCKETS / 3);
		same_state();
	}
}

/* ---- stopping ---- */

static void clean_stop_hands_over_drains_says_bye_and_stops(void **state)
{
	(void)state;
	running(3);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	agent_stop(box[2].a, now);
	run(1500);
	assert_int_equal(box[2].n_sent[MSG_ORDER] > 0, 1);
	assert_int_equal(owned(2, 1), 0);
	assert_false(box[2].stopped);		/* its connections go on */
	assert_int_equal(box[2].n_sent[MSG_BYE], 0);
	assert_true(box[2].lease_term != 0);
	memset(box[2].flows, 0, sizeof(box[2].flows));
	run(1500);
	assert_int_equal(box[2].n_sent[MSG_BYE], 1);
	assert_true(box[2].stopped);
	assert_int_equal(box[2].lease_term, 0);
	assert_int_equal(repl_get_node(repl(1), 2)->state, NODE_OFFLINE);
	assert_int_equal(repl_count(repl(1), PHASE_GRACE, NOBODY, NOBODY), 0);
	kill_box(2);
	view(5, 0);
	run(1000);
	assert_string_equal(agent_node_state(box[1].a, 2), "offline");
	assert_int_equal(owned(1, 1) + owned(3, 1), BUCKETS);
	assert_int_equal(box[1].n_sent[MSG_FAIL], 0);
}

static void stop_of_the_last_node_waits_for_nobody(void **state)
{
	(void)state;
	running(1);
	agent_stop(box[1].a, now);
	run(100);
	assert_true(box[1].stopped);
	assert_int_equal(box[1].n_sent[MSG_BYE], 1);
}

static void stop_without_the_group_is_done_soon(void **state)
{
	(void)state;
	running(3);
	agent_group_down(box[2].a, now);
	box[2].view = 0;
	agent_stop(box[2].a, now);
	run(200);
	assert_true(box[2].stopped);
	assert_int_equal(box[2].lease_term, 0);
}

static void stop_under_connections_that_never_end_is_forced(void **state)
{
	(void)state;
	running(3);
	memset(box[2].flows, 255, sizeof(box[2].flows));
	agent_stop(box[2].a, now);
	run(6000);
	assert_true(box[2].stopped);
	assert_true(saw(&box[1], "DRAIN_TIMEOUT"));
}

/* ---- the group comes and goes ---- */

static void merge_takes_the_majoritys_state(void **state)
{
	(void)state;
	running(3);
	view(node_bit(3), 0);
	view(3, 0);
	order(1, ORDER_WEIGHT, 1, 300);
	run(500);
	fenced(&box[3]);
	run(2000);
	assert_int_equal(box[3].n_sent[MSG_FAIL], 0);	/* it has no group to say it to */
	view(7, 0);
	run(8000);
	assert_int_equal(repl_get_node(repl(3), 1)->weight_order, 300);
	assert_null(silent(3));
	same_state();
}

static void corosync_restarting_under_all_loses_nothing(void **state)
{
	(void)state;
	running(3);
	order(1, ORDER_WEIGHT, 1, 300);
	run(5000);
	for (unsigned int i = 1; i <= 3; i++) {
		agent_group_down(box[i].a, now);
		box[i].view = 0;
	}
	run(1000);
	for (unsigned int i = 1; i <= 3; i++)
		agent_group_up(box[i].a, now);
	view(7, 0);
	run(6000);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_int_equal(repl_get_node(repl(i), 1)->weight_order, 300);
		assert_null(silent(i));
	}
	same_state();
}

static void bad_messages_are_counted_and_harm_nothing(void **state)
{
	struct agent_status s;

	(void)state;
	running(2);
	uint64_t digest = repl_digest(repl(1));
	struct msg m = { .type = MSG_PLAN, .from = 3 };

	agent_message(box[1].a, &m, now);
	m.from = 0;
	agent_message(box[1].a, &m, now);
	m = (struct msg){ .type = MSG_CLEAR_REQ, .from = 2 };
	m.u.clear.by = 2;
	m.u.clear.node = 60;
	agent_message(box[1].a, &m, now);
	m.u.clear.node = 2;
	agent_message(box[1].a, &m, now);
	m = (struct msg){ .type = MSG_TYPES_N, .from = 2 };
	agent_message(box[1].a, &m, now);
	m = (struct msg){ .type = MSG_FAIL, .from = 2 };
	agent_message(box[1].a, &m, now);
	agent_get_status(box[1].a, &s);
	assert_int_equal(s.messages_bad, 6);
	assert_int_equal(repl_digest(repl(1)), digest);
	assert_null(silent(1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_node_starts_and_owns_everything),
		T(three_nodes_start_together_and_share),
		T(those_of_a_cluster_that_starts_make_one_plan_together),
		T(a_minority_serves_nothing_and_says_why),
		T(ready_needs_reachability_step_and_an_installed_table),
		T(a_term_starts_only_on_a_table_that_belongs_to_it),
		T(joiner_gets_the_snapshot_and_replays_what_came_between),
		T(minority_with_another_configuration_stays_joining_with_a_reason),
		T(lost_lease_is_acted_on_at_once_and_told_until_it_shows),
		T(a_word_about_an_earlier_term_is_not_acted_on),
		T(fenced_node_says_so_itself_and_comes_back_with_a_new_term),
		T(repeated_fencing_slows_the_return_down),
		T(crash_is_told_by_all_who_saw_it_and_the_grace_ends),
		T(crashed_daemon_back_within_the_grace_gets_its_very_buckets),
		T(coordinator_that_dies_is_replaced),
		T(clearing_needs_the_word_of_every_admitted_node),
		T(who_has_inherited_gives_no_word),
		T(digest_mismatch_is_noticed_and_healed),
		T(digests_are_compared_every_ten_seconds),
		T(drain_moves_all_away_and_waits_for_connections),
		T(drain_timeout_is_forced),
		T(orders_that_make_no_sense_are_refused_with_a_reason),
		T(takeover_lets_a_minority_go_on),
		T(failback_waits_for_its_delay_or_for_the_operator),
		T(clean_stop_hands_over_drains_says_bye_and_stops),
		T(stop_of_the_last_node_waits_for_nobody),
		T(stop_without_the_group_is_done_soon),
		T(stop_under_connections_that_never_end_is_forced),
		T(merge_takes_the_majoritys_state),
		T(corosync_restarting_under_all_loses_nothing),
		T(bad_messages_are_counted_and_harm_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

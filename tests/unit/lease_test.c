// SPDX-License-Identifier: GPL-2.0-or-later
#include "lease_common.h"

/* ---- our own lease ---- */

static void needs_a_majority_of_grants(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= N_MAX; n++)
		for (unsigned int grants = 0; grants < n; grants++) {
			setup(n);
			struct lease_out out = { 0 };

			lease_admit(&node[1], 7, now, &out);
			note(1, &out);
			lease_begin_round(&node[1], now);
			for (unsigned int k = 1; k <= grants; k++)
				hear(k + 1, 0, 1, node[1].seq);
			assert_int_equal(node[1].leased, 2 * (grants + 1) > n);
			assert_int_equal(kernel_until[1] != 0, 2 * (grants + 1) > n);
		}
}

static void grant_counts_from_when_the_echoed_hello_was_sent(void **state)
{
	(void)state;
	setup(3);
	admit(1, 1);
	lease_begin_round(&node[1], now);
	int64_t sent = now;

	now += 100 * MS;
	hear(2, 0, 1, node[1].seq);
	assert_true(node[1].leased);
	assert_int_equal(kernel_until[1], sent + LEASE);

	setup(3);
	admit(1, 1);
	lease_begin_round(&node[1], now);
	now += LEASE;
	hear(2, 0, 1, node[1].seq);
	assert_false(node[1].leased);
	assert_int_equal(kernel_until[1], 0);
}

static void lease_ends_with_the_grant_that_completes_the_majority(void **state)
{
	(void)state;
	setup(5);
	admit(1, 1);
	int64_t first = now;

	lease_begin_round(&node[1], now);
	hear(2, 0, 1, node[1].seq);
	now += 10 * MS;
	lease_begin_round(&node[1], now);
	hear(3, 0, 1, node[1].seq);
	hear(3, 0, 2, node[1].seq);	/* twice from the same node is one grant */
	/* Three needed with our own: the older one of the two best decides. */
	assert_int_equal(node[1].until_us, first + LEASE);
	hear(4, 0, 1, node[1].seq);
	assert_int_equal(node[1].until_us, now + LEASE);
}

static void lapse_is_final_until_a_new_term(void **state)
{
	(void)state;
	up(3);
	isolate(1, true);
	run(LEASE + 2 * STEP);
	assert_false(node[1].leased);
	assert_int_equal(n_events[1][LEASE_EV_FENCED], 1);
	assert_int_equal(last_event[1][LEASE_EV_FENCED].term, 1);
	assert_int_equal(kernel_until[1], 0);
	isolate(1, false);
	for (unsigned int j = 2; j <= 3; j++)	/* even if everybody granted again at once */
		node[j].peer[1].grant = GRANT_GRANTING;
	run(10 * LEASE);
	assert_false(node[1].leased);
	assert_int_equal(kernel_until[1], 0);
	set_peers(1, 9);
	admit(1, 9);
	run(2 * STEP);
	assert_true(node[1].leased);
	assert_int_equal(last_event[1][LEASE_EV_LEASED].term, 9);
}

static void echoes_of_hellos_from_before_the_admission_do_not_count(void **state)
{
	(void)state;
	setup(3);
	lease_begin_round(&node[1], now);
	admit(1, 1);		/* sends a round of its own: later number */
	hear(2, 0, 1, 1);
	hear(3, 0, 1, 1);
	assert_false(node[1].leased);
	assert_true(lease_reachable(&node[1], now));
	hear(2, 0, 2, node[1].seq);
	assert_true(node[1].leased);
}

static void echo_that_was_never_sent_or_long_ago_does_not_count(void **state)
{
	(void)state;
	setup(3);
	admit(1, 1);
	hear(2, 0, 1, node[1].seq + 1);
	assert_false(node[1].leased);
	uint64_t old = node[1].seq;

	for (unsigned int i = 0; i < LEASE_SENT; i++)
		lease_begin_round(&node[1], now);
	hear(2, 0, 2, old);		/* its place in the ring has another's time now */
	assert_false(node[1].leased);
	hear(2, 0, 3, node[1].seq);
	assert_true(node[1].leased);
}

static void echo_for_an_earlier_process_does_not_count(void **state)
{
	(void)state;
	setup(3);
	admit(1, 1);
	struct hello h = { .from = 2, .to = 1, .incarnation = 2000, .seq = 1, .echo_incarnation = 999,
			   .echo_seq = node[1].seq };
	struct lease_out out = { 0 };

	lease_heard_hello(&node[1], &h, false, now, &out);
	assert_false(node[1].leased);
}

static void replayed_stale_and_foreign_hellos_are_ignored_and_counted(void **state)
{
	(void)state;
	up(3);
	struct hello h;
	struct lease_out out = { 0 };
	struct lease before;

	lease_hello(&node[2], 1, &h);
	before = node[1];
	lease_heard_hello(&node[1], &h, false, now, &out);		/* the very same */
	assert_int_equal(node[1].n_replayed, before.n_replayed + 1);
	h.seq -= 5;
	lease_heard_hello(&node[1], &h, false, now, &out);		/* overtaken */
	assert_int_equal(node[1].n_replayed, before.n_replayed + 2);
	h.seq += 1000;
	h.incarnation--;
	lease_heard_hello(&node[1], &h, false, now, &out);		/* a process of before */
	assert_int_equal(node[1].n_stale, before.n_stale + 1);
	h.incarnation++;
	h.to = 3;
	lease_heard_hello(&node[1], &h, false, now, &out);		/* not for us */
	h.to = 1;
	h.from = 1;
	lease_heard_hello(&node[1], &h, false, now, &out);		/* from ourselves */
	h.from = 4;
	lease_heard_hello(&node[1], &h, false, now, &out);		/* not configured */
	h.from = 0;
	lease_heard_hello(&node[1], &h, false, now, &out);
	assert_int_equal(node[1].n_stale, before.n_stale + 5);
	assert_memory_equal(node[1].peer, before.peer, sizeof(before.peer));
	assert_int_equal(node[1].until_us, before.until_us);
	assert_int_equal(out.n_events, 0);
	assert_false(out.renew || out.end || out.send);
}

static void machine_whose_clock_went_back_is_heard_after_a_silence(void **state)
{
	(void)state;
	setup(3);
	admit(1, 1);
	hear(2, 0, 5, 0);
	struct hello h = { .from = 2, .to = 1, .incarnation = 1999, .seq = 1, .echo_incarnation = 1000 };
	struct lease_out out = { 0 };

	h.echo_seq = node[1].seq;
	now += 10 * LEASE;
	lease_heard_hello(&node[1], &h, false, now, &out);
	assert_int_equal(node[1].n_stale, 1);
	now++;
	lease_begin_round(&node[1], now);
	h.echo_seq = node[1].seq;
	lease_heard_hello(&node[1], &h, false, now, &out);
	assert_int_equal(node[1].n_stale, 1);
	assert_true(node[1].leased);
	hear(2, 0, 6, 0);		/* the process of before, should it live: newer is newer */
	assert_int_equal(node[1].peer[2].hello_incarnation, 2000);
}

static void fenced_while_waiting_never_opens_the_kernel(void **state)
{
	(void)state;
	setup(3);
	isolate(1, true);
	set_peers(1, 1);
	admit(1, 1);
	struct lease_out out = { 0 };

	lease_fence(&node[1], now, &out);
	assert_int_equal(out.n_events, 1);
	assert_int_equal(out.event[0].type, LEASE_EV_FENCED);
	isolate(1, false);
	run(LEASE);
	assert_int_equal(kernel_until[1], 0);
}

static void kernel_is_told_well_before_its_lease_ends(void **state)
{
	(void)state;
	up(5);
	unsigned int rounds = n_rounds[1], before = n_renewals;

	for (unsigned int i = 0; i < 2000; i++) {
		run(MS);
		for (unsigned int j = 1; j <= 5; j++)
			assert_true(kernel_until[j] - now >= LEASE * 2 / 5 - 2 * MS);
	}
	rounds = n_rounds[1] - rounds;
	assert_in_range(rounds, 2000 * MS / STEP - 1, 2000 * MS / STEP + 1);
	/* ... and not with every HELLO that comes in, which would be four times as often. */
	assert_in_range(n_renewals - before, 5 * rounds * 9 / 10, 5 * rounds * 14 / 10);
}

static void deadline_is_the_next_thing_that_happens(void **state)
{
	(void)state;
	up(3);
	assert_true(lease_deadline(&node[1]) <= now + STEP);
	isolate(1, true);
	struct lease_out out = { 0 };

	lease_stop(&node[1], true, now, &out);
	/* No heartbeat any more: our own end, then the expiry of the others' grants. */
	assert_int_equal(lease_deadline(&node[1]), node[1].until_us);
	now = node[1].until_us;
	lease_tick(&node[1], now, &out);
	assert_true(out.end);
	int64_t last = node[1].peer[2].granted_us;

	if (node[1].peer[3].granted_us < last)
		last = node[1].peer[3].granted_us;
	assert_int_equal(lease_deadline(&node[1]), last + LEASE + MARGIN);
	now = last + 2 * LEASE + MARGIN;
	lease_tick(&node[1], now, &out);
	assert_int_equal(node[1].peer[2].grant, GRANT_EXPIRED);
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
	assert_int_equal(lease_deadline(&node[1]), INT64_MAX);
}

static void hung_daemon_stops_heartbeat_and_lease(void **state)
{
	(void)state;
	up(3);
	struct lease_out out = { 0 };

	lease_stop(&node[1], true, now, &out);
	perform(1, &out);
	unsigned int rounds = n_rounds[1];
	int64_t told = kernel_until[1];

	run(MS);
	while (kernel_until[1]) {
		assert_int_equal(kernel_until[1], told);	/* never made longer */
		assert_true(now <= told);
		run(MS);
	}
	run(2 * LEASE);
	assert_int_equal(n_rounds[1], rounds);
	assert_int_equal(n_events[1][LEASE_EV_FENCED], 1);
	assert_int_equal(n_events[2][LEASE_EV_LOST], 1);
	assert_int_equal(last_event[2][LEASE_EV_LOST].node, 1);
	memset(&out, 0, sizeof(out));
	lease_stop(&node[1], false, now, &out);
	perform(1, &out);
	run(LEASE);
	assert_true(n_rounds[1] > rounds);
	assert_false(node[1].leased);
	assert_true(node[2].leased && node[3].leased);
}

static void a_node_that_was_stopped_wakes_up_fenced_whatever_waits_for_it(void **state)
{
	(void)state;
	up(3);
	/* Echoes of its last HELLO that were sent while it slept: fresh by sequence, old by time. */
	struct hello h2, h3;
	struct lease_out out = { 0 };
	int64_t until = node[1].until_us;

	halted = node_bit(1);
	run(STEP);
	lease_hello(&node[2], 1, &h2);
	lease_hello(&node[3], 1, &h3);
	now = until;
	lease_heard_hello(&node[1], &h2, false, now, &out);
	lease_heard_hello(&node[1], &h3, false, now, &out);
	assert_false(node[1].leased);
	assert_true(out.end);
	assert_false(out.renew);
	assert_int_equal(out.event[0].type, LEASE_EV_FENCED);

	/* The kernel may also be first to say so. */
	up(3);
	memset(&out, 0, sizeof(out));
	lease_lapsed(&node[1], now, &out);
	assert_true(out.end);
	run(LEASE);
	assert_false(node[1].leased);
}

static void a_long_sleep_is_not_followed_by_a_burst(void **state)
{
	(void)state;
	up(3);
	halted = node_bit(1);
	run(20 * LEASE);
	halted = 0;
	unsigned int rounds = n_rounds[1];

	run(STEP);
	/* One heartbeat; and the words about two expired grants, which go out together. */
	assert_in_range(n_rounds[1] - rounds, 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(needs_a_majority_of_grants),
		cmocka_unit_test(grant_counts_from_when_the_echoed_hello_was_sent),
		cmocka_unit_test(lease_ends_with_the_grant_that_completes_the_majority),
		cmocka_unit_test(lapse_is_final_until_a_new_term),
		cmocka_unit_test(echoes_of_hellos_from_before_the_admission_do_not_count),
		cmocka_unit_test(echo_that_was_never_sent_or_long_ago_does_not_count),
		cmocka_unit_test(echo_for_an_earlier_process_does_not_count),
		cmocka_unit_test(replayed_stale_and_foreign_hellos_are_ignored_and_counted),
		cmocka_unit_test(machine_whose_clock_went_back_is_heard_after_a_silence),
		cmocka_unit_test(fenced_while_waiting_never_opens_the_kernel),
		cmocka_unit_test(kernel_is_told_well_before_its_lease_ends),
		cmocka_unit_test(deadline_is_the_next_thing_that_happens),
		cmocka_unit_test(hung_daemon_stops_heartbeat_and_lease),
		cmocka_unit_test(a_node_that_was_stopped_wakes_up_fenced_whatever_waits_for_it),
		cmocka_unit_test(a_long_sleep_is_not_followed_by_a_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

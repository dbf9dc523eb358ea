// SPDX-License-Identifier: GPL-2.0-or-later
#include "lease_common.h"

/* ---- grants to peers ---- */

static void silent_peer_expires_after_lease_and_margin_and_the_word_goes_out_at_once(void **state)
{
	(void)state;
	up(3);
	isolate(3, true);
	int64_t last = node[1].peer[3].granted_us;

	now = last + LEASE + MARGIN - 1;
	struct lease_out out = { 0 };

	lease_tick(&node[1], now, &out);
	assert_int_equal(node[1].peer[3].grant, GRANT_GRANTING);
	now++;
	node[1].next_hello_us = now + STEP;
	memset(&out, 0, sizeof(out));
	assert_true(lease_deadline(&node[1]) <= now);
	lease_tick(&node[1], now, &out);
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
	assert_true(out.send);
	bool told = false;

	for (unsigned int k = 0; k < out.n_events; k++)
		told |= out.event[k].type == LEASE_EV_EXPIRED && out.event[k].node == 3;
	assert_true(told);
	struct hello h;

	lease_hello(&node[1], 2, &h);
	assert_int_equal(h.n_reports, 2);	/* node 2's HELLOs did not run here: also silent */
	assert_int_equal(h.report[1].node, 3);
	assert_int_equal(h.report[1].term, 3);
	assert_int_equal(h.report[1].gen, 1);
}

static void lost_needs_ourselves_and_a_majority(void **state)
{
	(void)state;
	up(5);
	/* Nodes 1 and 2 do not hear node 5: two of five are too few. */
	cut_pair(1, 5, true);
	cut_pair(2, 5, true);
	run(4 * LEASE);
	assert_int_equal(node[1].peer[5].grant, GRANT_EXPIRED);
	assert_int_equal(n_events[1][LEASE_EV_LOST] + n_events[2][LEASE_EV_LOST], 0);
	assert_true(node[5].leased);
	/* Three of five: lost for those three, not for node 4, which heard it a moment ago. */
	cut_pair(3, 5, true);
	run(LEASE + MARGIN + STEP);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(n_events[i][LEASE_EV_LOST], 1);
	assert_int_equal(n_events[4][LEASE_EV_LOST], 0);
	assert_false(node[5].leased);
}

static void lost_comes_after_the_lost_node_is_silent(void **state)
{
	(void)state;
	for (unsigned int n = 3; n <= N_MAX; n++)
		for (unsigned int shift = 0; shift < STEP / MS; shift++) {
			up(n);
			run(shift * MS);
			isolate(n, true);
			int64_t start = now;

			while (!n_events[1][LEASE_EV_LOST]) {
				run(MS);
				assert_true(now - start < 2 * LEASE);
			}
			assert_int_equal(kernel_until[n], 0);
			assert_int_equal(last_event[1][LEASE_EV_LOST].node, n);
			assert_int_equal(last_event[1][LEASE_EV_LOST].term, n);
			for (unsigned int i = 1; i < n; i++)
				assert_true(node[i].leased);
		}
}

static void a_single_cut_path_interrupts_nobody(void **state)
{
	(void)state;
	up(3);
	cut_pair(1, 3, true);
	run(20 * LEASE);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_true(node[i].leased);
		assert_int_equal(n_events[i][LEASE_EV_LOST], 0);
		assert_int_equal(n_events[i][LEASE_EV_FENCED], 0);
	}
}

static void one_way_cut_silences_the_unheard_node_first(void **state)
{
	(void)state;
	up(3);
	cut[3][1] = cut[3][2] = true;		/* it hears, but is not heard */
	while (!n_events[1][LEASE_EV_LOST])
		run(MS);
	assert_int_equal(kernel_until[3], 0);
	run(4 * LEASE);
	assert_true(node[1].leased && node[2].leased);

	up(3);
	/* it is heard, but does not hear: it stops itself */
	cut[1][3] = cut[2][3] = true;
	run(4 * LEASE);
	assert_false(node[3].leased);
	assert_true(node[1].leased && node[2].leased);
}

/* Node 1's own grant to node 3 has expired; a report of node 2 about it. */
static struct lease_out hear_report(uint64_t seq, uint64_t echo, uint32_t term, uint32_t gen)
{
	struct hello h = { .from = 2, .to = 1, .incarnation = 2000, .term = 2, .seq = seq,
			   .echo_incarnation = echo ? 1000 : 0, .echo_seq = echo, .n_reports = 1,
			   .report = { { .node = 3, .term = term, .gen = gen } } };
	struct lease_out out = { 0 };

	lease_heard_hello(&node[1], &h, false, now, &out);
	note(1, &out);
	return out;
}

static void expire_3_at_1(void)
{
	up(3);
	cut_pair(1, 3, true);
	run(2 * LEASE);
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
	halted = ~UINT64_C(0);		/* from here on by hand */
	lease_begin_round(&node[1], now);
}

static void report_counts_only_while_fresh_and_for_the_present_term(void **state)
{
	(void)state;
	expire_3_at_1();
	/* answers nothing of ours: how old is it? */
	hear_report(1000, 0, 3, 1);
	assert_false(node[1].peer[3].lost);
	hear_report(1001, node[1].seq, 2, 1);		/* of an earlier term of node 3 */
	assert_false(node[1].peer[3].lost);
	hear_report(1002, node[1].seq, 3, 1);
	assert_true(node[1].peer[3].lost);

	/* The other order: its report came first and has aged when ours is due. */
	up(3);
	halted = ~UINT64_C(0);
	lease_begin_round(&node[1], now);
	struct lease_out out = { 0 };
	int64_t sent = now;

	hear_report(1000, node[1].seq, 3, 1);
	/* ours expires when the report has just aged */
	node[1].peer[3].granted_us = now - MARGIN;
	now = sent + LEASE;
	lease_tick(&node[1], now, &out);
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
	assert_false(node[1].peer[3].lost);

	up(3);
	halted = ~UINT64_C(0);
	lease_begin_round(&node[1], now);
	sent = now;
	hear_report(1000, node[1].seq, 3, 1);
	node[1].peer[3].granted_us = now - MARGIN - 1;
	now = sent + LEASE - 1;
	lease_tick(&node[1], now, &out);
	assert_true(node[1].peer[3].lost);
}

static void expired_is_sticky_and_grants_nothing(void **state)
{
	(void)state;
	up(3);
	cut_pair(1, 3, true);
	run(2 * LEASE);
	cut_pair(1, 3, false);
	for (unsigned int i = 0; i < 1000; i++) {
		struct hello h;

		run(MS);
		lease_hello(&node[1], 3, &h);
		assert_int_equal(h.echo_seq, 0);
		lease_hello(&node[1], 2, &h);
		assert_true(h.echo_seq != 0);
		assert_int_equal(h.n_reports, 1);
	}
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
	/* It is heard again for a whole lease: worth asking the others, once. */
	assert_int_equal(n_events[1][LEASE_EV_RECOVERED], 1);
	assert_int_equal(last_event[1][LEASE_EV_RECOVERED].node, 3);
	assert_int_equal(last_event[1][LEASE_EV_RECOVERED].gen, node[1].peer[3].gen);
}

static void flapping_path_does_not_count_as_recovered(void **state)
{
	(void)state;
	up(3);
	cut_pair(1, 3, true);
	run(2 * LEASE);
	for (unsigned int i = 0; i < 10; i++) {
		cut_pair(1, 3, false);
		run(LEASE * 8 / 10);
		cut_pair(1, 3, true);
		run(LEASE * 3 / 2);
	}
	assert_int_equal(n_events[1][LEASE_EV_RECOVERED], 0);
}

static void discard_takes_back_a_report_and_older_ones_but_no_newer(void **state)
{
	(void)state;
	expire_3_at_1();
	assert_true(lease_discard(&node[1], 2, 3, 3, 5));
	assert_true(lease_discard(&node[1], 2, 3, 3, 4));	/* late: takes nothing back */
	hear_report(1000, node[1].seq, 3, 4);
	hear_report(1001, node[1].seq, 3, 5);
	assert_false(node[1].peer[3].lost);
	hear_report(1002, node[1].seq, 3, 6);
	assert_true(node[1].peer[3].lost);
	/* Too late: we may have inherited on that word. */
	assert_false(lease_discard(&node[1], 2, 3, 3, 6));
	/* Of another term: nothing to do with it. */
	assert_true(lease_discard(&node[1], 2, 3, 2, 6));
}

static void discards_die_with_the_process_that_asked_for_them(void **state)
{
	(void)state;
	expire_3_at_1();
	assert_true(lease_discard(&node[1], 2, 3, 3, 5));
	/* Node 2 was restarted: it counts its reports from 1 again, and means them. */
	struct hello h = { .from = 2, .to = 1, .incarnation = 2001, .term = 9, .seq = 1,
			   .echo_incarnation = 1000, .echo_seq = node[1].seq, .n_reports = 1,
			   .report = { { .node = 3, .term = 3, .gen = 1 } } };
	struct lease_out out = { 0 };

	lease_heard_hello(&node[1], &h, false, now, &out);
	assert_true(node[1].peer[3].lost);
}

static void cleared_grants_again_only_after_a_pause(void **state)
{
	(void)state;
	up(3);
	cut_pair(1, 3, true);
	run(2 * LEASE);
	cut_pair(1, 3, false);
	run(3 * LEASE);
	uint32_t gen = node[1].peer[3].gen;
	struct hello h;

	lease_cleared(&node[1], 3, 3, gen + 1, now);	/* about another report */
	lease_cleared(&node[1], 3, 2, gen, now);	/* of another term */
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
	lease_cleared(&node[1], 3, 3, gen, now);
	assert_int_equal(node[1].peer[3].grant, GRANT_CLEARING);
	int64_t start = now;

	while (now < start + LEASE + MARGIN) {
		lease_hello(&node[1], 3, &h);
		assert_int_equal(h.echo_seq, 0);
		assert_int_equal(h.n_reports, 0);
		run(MS);
	}
	run(2 * MS);
	assert_int_equal(node[1].peer[3].grant, GRANT_GRANTING);
	run(STEP);
	lease_hello(&node[1], 3, &h);
	assert_true(h.echo_seq != 0);
	/* The next silence is another report. */
	cut_pair(1, 3, true);
	run(2 * LEASE);
	assert_int_equal(node[1].peer[3].gen, gen + 1);
}

static void a_lost_peer_is_never_cleared(void **state)
{
	(void)state;
	up(3);
	isolate(3, true);
	run(2 * LEASE);
	assert_true(node[1].peer[3].lost);
	isolate(3, false);
	run(4 * LEASE);
	assert_int_equal(n_events[1][LEASE_EV_RECOVERED], 0);
	lease_cleared(&node[1], 3, 3, node[1].peer[3].gen, now);
	assert_int_equal(node[1].peer[3].grant, GRANT_EXPIRED);
}

static void new_process_grants_nothing_before_the_old_ones_reports_are_forgotten(void **state)
{
	struct lease_params p = { .self = 1, .n_nodes = 3, .lease_us = LEASE, .incarnation = 1001 };
	struct lease_out out = { 0 };
	struct hello h;

	(void)state;
	up(3);
	/* Restarted in no time and at once in step: what it said as 1000 may still be counted. */
	lease_init(&node[1], &p, now);
	lease_set_peer(&node[1], 2, 2, 2000, now, &out);
	lease_set_peer(&node[1], 3, 3, 3000, now, &out);
	int64_t start = now;

	while (now < start + LEASE + MARGIN) {
		lease_hello(&node[1], 3, &h);
		assert_int_equal(h.echo_seq, 0);
		run(MS);
	}
	run(2 * STEP);
	lease_hello(&node[1], 3, &h);
	assert_true(h.echo_seq != 0);
}

static void only_the_admitted_process_in_its_term_is_granted(void **state)
{
	(void)state;
	setup(3);
	struct lease_out out = { 0 };
	struct hello h;

	lease_set_peer(&node[1], 2, 2, 2000, now, &out);
	hear(2, 5, 1, 0);			/* a term that the group did not give */
	lease_hello(&node[1], 2, &h);
	assert_int_equal(h.echo_seq, 0);
	assert_int_equal(node[1].n_foreign_term, 1);
	hear(2, 2, 2, 0);
	lease_hello(&node[1], 2, &h);
	assert_int_equal(h.echo_seq, 2);
	assert_int_equal(h.echo_incarnation, 2000);
	/* no term: a sign of life that nothing can be made of */
	hear(2, 0, 3, 0);
	lease_hello(&node[1], 2, &h);
	assert_int_equal(h.echo_seq, 3);
	/* HELLOs without its term do not keep its grant up. */
	int64_t end = now + LEASE + MARGIN;

	for (uint64_t seq = 4; now < end; now += STEP)
		hear(2, 0, seq++, 0);
	memset(&out, 0, sizeof(out));
	lease_tick(&node[1], now, &out);
	assert_int_equal(node[1].peer[2].grant, GRANT_EXPIRED);
	/* Another process: neither grants nor excuses. */
	struct hello other = { .from = 2, .to = 1, .incarnation = 2001, .term = 2, .seq = 1 };

	lease_set_peer(&node[1], 2, 3, 2000, now, &out);
	lease_heard_hello(&node[1], &other, false, now, &out);
	lease_hello(&node[1], 2, &h);
	assert_int_equal(h.echo_seq, 0);
}


static void declared_dead_nodes_do_not_count(void **state)
{
	(void)state;
	up(3);
	isolate(1, true);
	run(2 * LEASE);
	assert_false(node[1].leased);
	assert_false(lease_reachable(&node[1], now));
	lease_set_dead(&node[1], node_bit(2) | node_bit(3) | node_bit(1));
	assert_true(lease_reachable(&node[1], now));
	admit(1, 5);
	run(STEP);
	assert_true(node[1].leased);

	/* The grant of a dead one is no vote, its report neither. */
	setup(3);
	admit(1, 1);
	lease_set_dead(&node[1], node_bit(2));
	hear(2, 0, 1, node[1].seq);
	assert_false(node[1].leased);
	hear(3, 0, 1, node[1].seq);
	assert_true(node[1].leased);
	expire_3_at_1();
	lease_set_dead(&node[1], node_bit(2));
	hear_report(1000, node[1].seq, 3, 1);
	assert_false(node[1].peer[3].lost);
}

/* ---- two nodes ---- */

static void up2(enum lease_tiebreak tie)
{
	setup_with(2, tie, false);
	admit_all();
	run(10 * STEP);
	assert_true(node[1].leased && node[2].leased);
}

static void two_nodes_without_tiebreak_stop_both_and_inherit_nothing(void **state)
{
	(void)state;
	up2(LEASE_TIE_NONE);
	cut_pair(1, 2, true);
	run(4 * LEASE);
	assert_false(node[1].leased || node[2].leased);
	assert_int_equal(n_events[1][LEASE_EV_LOST] + n_events[2][LEASE_EV_LOST], 0);
}

static void tiebreak_lowest_lets_node_1_live_alone_and_not_node_2(void **state)
{
	(void)state;
	up2(LEASE_TIE_LOWEST);
	cut_pair(1, 2, true);
	while (!n_events[1][LEASE_EV_LOST])
		run(MS);
	assert_int_equal(kernel_until[2], 0);
	run(4 * LEASE);
	assert_true(node[1].leased);
	assert_false(node[2].leased);
	assert_int_equal(n_events[2][LEASE_EV_LOST], 0);
}

static void witness_answers(unsigned int i)
{
	struct lease_out out = { 0 };

	lease_heard_witness(&node[i], node[i].seq, now, &out);
	perform(i, &out);
}

static void reflect(unsigned int from, unsigned int to)
{
	struct lease_out out = { 0 };
	struct hello h;

	lease_hello(&node[from], to, &h);
	lease_heard_hello(&node[to], &h, true, now, &out);
	perform(to, &out);
}

static void witness_counts_only_when_hellos_are_proven_to_pass_through_it(void **state)
{
	(void)state;
	for (unsigned int proven = 0; proven < 2; proven++) {
		up2(LEASE_TIE_WITNESS);
		if (proven)
			reflect(2, 1);
		cut_pair(1, 2, true);
		for (unsigned int k = 0; k < 4 * LEASE / MS; k++) {
			run(MS);
			witness_answers(1);
			if (n_events[1][LEASE_EV_LOST])
				assert_int_equal(kernel_until[2], 0);
		}
		assert_int_equal(node[1].leased, proven);
		assert_int_equal(n_events[1][LEASE_EV_LOST], proven);
		assert_false(node[2].leased);	/* it has no witness */
	}
}

static void silent_witness_is_no_vote(void **state)
{
	(void)state;
	up2(LEASE_TIE_WITNESS);
	reflect(2, 1);
	cut_pair(1, 2, true);
	run(4 * LEASE);
	assert_false(node[1].leased || node[2].leased);
	assert_int_equal(n_events[1][LEASE_EV_LOST], 0);
}

static void old_proof_of_the_witness_does_not_count(void **state)
{
	(void)state;
	up2(LEASE_TIE_WITNESS);
	reflect(2, 1);
	run(6000 * MS);
	cut_pair(1, 2, true);
	for (unsigned int k = 0; k < 4 * LEASE / MS; k++) {
		run(MS);
		witness_answers(1);
	}
	assert_false(node[1].leased);
}

static void answer_of_the_witness_counts_from_when_it_was_asked(void **state)
{
	(void)state;
	up2(LEASE_TIE_WITNESS);
	reflect(2, 1);
	struct lease_out out = { 0 };
	uint64_t seq = node[1].seq;
	int64_t sent = node[1].sent_us[seq % LEASE_SENT];

	now += 20 * MS;
	lease_heard_witness(&node[1], seq, now, &out);
	assert_int_equal(node[1].witness_until_us, sent + LEASE);
	lease_heard_witness(&node[1], seq + 1, now, &out);	/* was never asked */
	assert_int_equal(node[1].witness_until_us, sent + LEASE);
}

static void ignored_quorum_needs_nobody(void **state)
{
	(void)state;
	setup_with(3, LEASE_TIE_NONE, true);
	isolate(1, true);
	admit_all();
	run(2 * STEP);
	assert_true(node[1].leased);
	run(4 * LEASE);
	assert_true(node[1].leased);
	assert_int_equal(n_events[1][LEASE_EV_LOST], 2);
	assert_true(lease_reachable(&node[1], now));
}

static void reachable_says_whether_a_lease_could_be_had(void **state)
{
	(void)state;
	setup(5);
	assert_false(lease_reachable(&node[1], now));
	/* nobody admitted: HELLOs without a term are answered all the same */
	run(3 * STEP);
	assert_true(lease_reachable(&node[1], now));
	cut_pair(1, 2, true);
	cut_pair(1, 3, true);
	run(2 * LEASE);
	assert_true(lease_reachable(&node[1], now));
	cut_pair(1, 4, true);
	run(2 * LEASE);
	assert_false(lease_reachable(&node[1], now));
}

/* Random cuts, one way or both, clocks of one percent apart: LOST only about silent nodes. */
static void random_cuts_never_make_a_leaseholder_lost(void **state)
{
	(void)state;
	unsigned int lost = 0;

	srand(1);
	for (unsigned int round = 0; round < 30; round++) {
		up(3 + round % 4);
		for (unsigned int k = 0; k < 2000; k++) {
			if (rand() % 100 == 0)
				cut[1 + rand() % (int)n_nodes][1 + rand() % (int)n_nodes] = rand() % 2;
			run(MS);
			for (unsigned int i = 1; i <= n_nodes; i++)
				for (unsigned int j = 1; j <= n_nodes; j++) {
					if (j == i || !node[i].peer[j].lost)
						continue;
					lost++;
					assert_int_equal(node[i].peer[j].term, j);
					assert_false(node[j].term == j && kernel_until[j] > now);
				}
		}
	}
	assert_true(lost > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silent_peer_expires_after_lease_and_margin_and_the_word_goes_out_at_once),
		cmocka_unit_test(lost_needs_ourselves_and_a_majority),
		cmocka_unit_test(lost_comes_after_the_lost_node_is_silent),
		cmocka_unit_test(a_single_cut_path_interrupts_nobody),
		cmocka_unit_test(one_way_cut_silences_the_unheard_node_first),
		cmocka_unit_test(report_counts_only_while_fresh_and_for_the_present_term),
		cmocka_unit_test(expired_is_sticky_and_grants_nothing),
		cmocka_unit_test(flapping_path_does_not_count_as_recovered),
		cmocka_unit_test(discard_takes_back_a_report_and_older_ones_but_no_newer),
		cmocka_unit_test(discards_die_with_the_process_that_asked_for_them),
		cmocka_unit_test(cleared_grants_again_only_after_a_pause),
		cmocka_unit_test(a_lost_peer_is_never_cleared),
		cmocka_unit_test(new_process_grants_nothing_before_the_old_ones_reports_are_forgotten),
		cmocka_unit_test(only_the_admitted_process_in_its_term_is_granted),
		cmocka_unit_test(declared_dead_nodes_do_not_count),
		cmocka_unit_test(two_nodes_without_tiebreak_stop_both_and_inherit_nothing),
		cmocka_unit_test(tiebreak_lowest_lets_node_1_live_alone_and_not_node_2),
		cmocka_unit_test(witness_counts_only_when_hellos_are_proven_to_pass_through_it),
		cmocka_unit_test(silent_witness_is_no_vote),
		cmocka_unit_test(old_proof_of_the_witness_does_not_count),
		cmocka_unit_test(answer_of_the_witness_counts_from_when_it_was_asked),
		cmocka_unit_test(ignored_quorum_needs_nobody),
		cmocka_unit_test(reachable_says_whether_a_lease_could_be_had),
		cmocka_unit_test(random_cuts_never_make_a_leaseholder_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

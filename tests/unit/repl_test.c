// SPDX-License-Identifier: GPL-2.0-or-later
#include "repl_common.h"

static uint8_t some[BUCKETS / 8];

/* ---- every phase and every message ---- */

static const char *const act_name[ACTS] = {
	"lease of owner", "crash of owner", "lease of other", "crash of other", "LEFT", "ADOPTED", "DRAINED",
	"ACK", "READY of owner's new process", "READY of other's new process", "BYE of owner",
	"BYE of other",
};

/* Who owns it afterwards. */
enum who { OWNER, OTHER, HEIR, NOONE };
struct expect { enum repl_phase phase; enum who owner, other; };

#define SAME(p) { PHASE_##p, OWNER, OTHER }
#define TO(p, o, x) { PHASE_##p, o, x }

/* In STABLE there is no other: its rows are those of a third node. */
static const struct expect table[PHASES_N][ACTS] = {
	[PHASE_STABLE] = {
		TO(STABLE, HEIR, NOONE), TO(GRACE, HEIR, OWNER), TO(STABLE, OWNER, NOONE),
		TO(STABLE, OWNER, NOONE), TO(STABLE, OWNER, NOONE), TO(STABLE, OWNER, NOONE),
		TO(STABLE, OWNER, NOONE), TO(STABLE, OWNER, NOONE), TO(GRACE, HEIR, OWNER),
		TO(STABLE, OWNER, NOONE), TO(STABLE, HEIR, NOONE), TO(STABLE, OWNER, NOONE),
	},
	[PHASE_PREPARE] = {
		TO(STABLE, HEIR, NOONE), TO(GRACE, HEIR, OWNER), TO(STABLE, OWNER, NOONE),
		TO(STABLE, OWNER, NOONE), SAME(PREPARE), SAME(PREPARE), SAME(PREPARE), SAME(HANDOFF),
		TO(GRACE, HEIR, OWNER), TO(STABLE, OWNER, NOONE), TO(STABLE, HEIR, NOONE),
		TO(STABLE, OWNER, NOONE),
	},
	[PHASE_HANDOFF] = {
		TO(STABLE, OTHER, NOONE), TO(GRACE, OTHER, OWNER), TO(STABLE, OWNER, NOONE),
		TO(GRACE, OWNER, OTHER), TO(ADOPT, OTHER, OWNER), SAME(HANDOFF), SAME(HANDOFF),
		SAME(HANDOFF), TO(GRACE, OTHER, OWNER), TO(GRACE, OWNER, OTHER),
		TO(STABLE, OTHER, NOONE), TO(STABLE, OWNER, NOONE),
	},
	/* The owner is the new one here; an heir may be the old one, which then needs not drain. */
	[PHASE_ADOPT] = {
		TO(DRAIN, HEIR, OTHER), TO(DRAIN, HEIR, OTHER), TO(STABLE, OWNER, NOONE),
		TO(GRACE, OWNER, OTHER), SAME(ADOPT), SAME(DRAIN), SAME(ADOPT), SAME(ADOPT),
		TO(DRAIN, HEIR, OTHER), TO(GRACE, OWNER, OTHER), TO(DRAIN, HEIR, OTHER),
		TO(STABLE, OWNER, NOONE),
	},
	[PHASE_DRAIN] = {
		TO(DRAIN, HEIR, OTHER), TO(DRAIN, HEIR, OTHER), TO(STABLE, OWNER, NOONE),
		TO(GRACE, OWNER, OTHER), SAME(DRAIN), SAME(DRAIN), TO(STABLE, OWNER, NOONE), SAME(DRAIN),
		TO(DRAIN, HEIR, OTHER), TO(GRACE, OWNER, OTHER), TO(DRAIN, HEIR, OTHER),
		TO(STABLE, OWNER, NOONE),
	},
	/* The other is dead already: its failures say nothing new, its READY waits for PLAN. */
	[PHASE_GRACE] = {
		TO(GRACE, HEIR, OTHER), TO(GRACE, HEIR, OTHER), SAME(GRACE), SAME(GRACE), SAME(GRACE),
		SAME(GRACE), TO(STABLE, OWNER, NOONE), SAME(GRACE), TO(GRACE, HEIR, OTHER), SAME(GRACE),
		TO(GRACE, HEIR, OTHER), SAME(GRACE),
	},
};

static void every_phase_meets_every_message(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++)
		for (enum act a = 0; a < ACTS; a++) {
			struct repl *r = in_phase(p);
			uint32_t b = find(r, p);
			struct repl_bucket was = *repl_get_bucket(r, 0, b), is;
			unsigned int other = was.other ? was.other : was.owner % 3 + 1, heir;
			const struct expect *e = &table[p][a];

			heir = repl_heir(r, 0, b, node_bit(was.owner));
			act_on(r, a, was.owner, other);
			is = *repl_get_bucket(r, 0, b);
			enum repl_phase want = e->phase;
			unsigned int owner = e->owner == OWNER ? was.owner : e->owner == OTHER ? other : heir;
			unsigned int left = e->other == NOONE ? NOBODY :
					    e->other == OWNER ? was.owner : other;

			if (owner == left) {	/* the heir is whoever still had the connections */
				want = PHASE_STABLE;
				left = NOBODY;
			}
			if (is.phase != want || is.owner != owner || is.other != left)
				fail_msg("%s, %s: is %s %u %u, should be %s %u %u", repl_phase_str(p),
					 act_name[a], repl_phase_str(is.phase), is.owner, is.other,
					 repl_phase_str(want), owner, left);
			repl_free(r);
		}
}

/* All pairs of acts from every phase: nothing but validity, in all the corners in between. */
static void every_pair_of_messages_leaves_a_valid_state(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++)
		for (enum act a = 0; a < ACTS * ACTS; a++) {
			struct repl *r = in_phase(p);
			struct repl_bucket k = *repl_get_bucket(r, 0, find(r, p));
			unsigned int other = k.other ? k.other : k.owner % 3 + 1;

			act_on(r, a / ACTS, k.owner, other);
			act_on(r, a % ACTS, k.owner, other);
			repl_free(r);
		}
}

/* ---- admission ---- */

static void first_node_gets_everything_and_the_second_half_of_it(void **state)
{
	(void)state;
	struct repl *r = fresh();

	assert_false(repl_plan_needed(r));
	ignored(r, base(MSG_PLAN, 1));
	apply(r, ready(2));
	assert_int_equal(fx.note[0].type, NOTE_ADMITTED);
	assert_int_equal(fx.note[0].arg, 0);
	assert_int_not_equal(repl_get_node(r, 2)->term, 0);
	assert_int_equal(repl_owned(r, 0, 2), 0);
	replan(r);
	assert_int_equal(repl_owned(r, 0, 2), BUCKETS);
	assert_int_equal(repl_owned(r, 1, 2), BUCKETS);
	apply(r, ready(1));
	replan(r);
	assert_int_equal(repl_owned(r, 0, 1), BUCKETS / 2);
	assert_int_equal(repl_owned(r, 1, 2), BUCKETS / 2);
	repl_free(r);
}

static void ready_repeated_is_ignored_and_a_new_process_takes_the_place_of_the_old(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint32_t term = repl_get_node(r, 3)->term;

	ignored(r, ready(3));
	apply(r, ready_as(3, 301, false));
	assert_int_not_equal(repl_get_node(r, 3)->term, term);
	assert_int_equal(repl_get_node(r, 3)->incarnation, 301);
	assert_int_equal(repl_get_node(r, 3)->state, NODE_ONLINE);
	assert_true(repl_count(r, PHASE_GRACE, NOBODY, 3) > 0);
	assert_int_equal(repl_owned(r, 0, 3), 0);
	repl_free(r);
}

static void node_with_another_configuration_is_refused_and_noted_once(void **state)
{
	(void)state;
	struct repl *r = settled(2);
	struct msg m = ready(3);

	m.u.ready.config = CONFIG + 1;
	apply(r, m);
	assert_true(repl_get_node(r, 3)->refused);
	assert_int_equal(fx.n_notes, 1);
	assert_int_equal(fx.note[0].type, NOTE_REFUSED);
	assert_int_equal(repl_get_node(r, 3)->state, NODE_OFFLINE);
	ignored(r, m);
	assert_int_equal(repl_config(r), CONFIG);
	apply(r, ready(3));		/* corrected */
	assert_false(repl_get_node(r, 3)->refused);
	assert_int_equal(repl_get_node(r, 3)->state, NODE_ONLINE);
	/* With nobody there, the first one says what counts. */
	for (unsigned int i = 1; i <= 3; i++)
		apply(r, base(MSG_BYE, i));
	apply(r, m);
	assert_int_equal(repl_get_node(r, 3)->state, NODE_ONLINE);
	assert_int_equal(repl_config(r), CONFIG + 1);
	repl_free(r);
}

static void refused_restart_is_gone_all_the_same(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m = ready_as(3, 301, false);

	m.u.ready.config = CONFIG + 1;
	apply(r, m);
	assert_int_equal(repl_get_node(r, 3)->state, NODE_FAILED);
	assert_int_equal(repl_owned(r, 0, 3) + repl_owned(r, 1, 3), 0);
	repl_free(r);
}

/* ---- failures ---- */

static void stale_words_are_ignored(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m = fail_of(r, 3, FAIL_LEASE);

	m.u.fail.term--;
	ignored(r, m);
	m.u.fail.term += 2;
	ignored(r, m);
	m.u.fail.node = 4;		/* never admitted */
	ignored(r, m);
	m = base(MSG_BYE, 3);
	m.incarnation++;		/* of another process */
	ignored(r, m);
	ignored(r, base(MSG_BYE, 4));
	ignored(r, grace_end(3));
	repl_free(r);

	r = in_phase(PHASE_PREPARE);
	uint64_t plan = repl_plan(r);

	ignored(r, plan_step(MSG_ACK, 1, plan - 1));
	ignored(r, plan_step(MSG_ACK, 1, plan + 1));
	ignored(r, plan_step(MSG_LEFT, 1, plan));	/* not everyone knows of it yet */
	ignored(r, plan_step(MSG_ADOPTED, 4, plan));
	m = plan_step(MSG_ACK, 1, plan);
	m.incarnation++;
	ignored(r, m);
	apply(r, plan_step(MSG_ACK, 1, plan));
	ignored(r, plan_step(MSG_ACK, 1, plan));	/* repeated */
	ignored(r, base(MSG_PLAN, 1));			/* one at a time */
	repl_free(r);

	r = in_phase(PHASE_HANDOFF);
	plan = repl_plan(r);
	ignored(r, plan_step(MSG_LEFT, 1, plan - 1));
	ignored(r, plan_step(MSG_ADOPTED, 4, plan));	/* nobody has left */
	ignored(r, plan_step(MSG_LEFT, 4, plan));	/* it has nothing to leave */
	repl_free(r);

	r = in_phase(PHASE_DRAIN);
	ignored(r, plan_step(MSG_ACK, 1, repl_plan(r)));	/* of its beginning, not of its end */
	repl_free(r);
}

static void plan_ends_when_all_know_that_all_has_moved(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_DRAIN);
	uint64_t end = repl_plan_ack(r);

	assert_true(end > repl_plan(r));
	assert_int_equal(repl_plan_acks(r), 0);
	for (unsigned int i = 1; i <= 3; i++)
		apply(r, plan_step(MSG_ACK, i, end));
	assert_true(repl_plan(r) != 0);
	apply(r, fail_of(r, 4, FAIL_LEASE));	/* a failed one is not asked */
	assert_int_equal(repl_plan(r), 0);
	assert_int_equal(repl_plan_ack(r), 0);
	repl_free(r);

	/* Nothing moves: nobody needs to know. */
	r = settled(3);
	apply(r, order(1, ORDER_WEIGHT, 1, 101));
	for (unsigned int i = 1; i <= 3; i++)
		apply(r, order(1, ORDER_WEIGHT, i, 200));
	apply(r, base(MSG_PLAN, 1));
	assert_int_equal(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY), 0);
	all_ack(r);
	assert_int_equal(repl_plan(r), 0);
	repl_free(r);
}

static void flows_counted_before_the_drain_began_do_not_end_it(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_ADOPT);
	uint64_t before = repl_epoch(r);

	all_adopt(r);
	uint32_t b = find(r, PHASE_DRAIN);
	unsigned int old = repl_get_bucket(r, 0, b)->other, nu = repl_get_bucket(r, 0, b)->owner;

	ignored(r, drained(old, 0, before, all_ones));
	ignored(r, drained(nu, 0, repl_epoch(r), all_ones));		/* not its to say */
	memset(some, 0, sizeof(some));
	ignored(r, drained(old, 0, repl_epoch(r), some));
	some[b / 8] = (uint8_t)(1u << (b % 8));
	apply(r, drained(old, 0, repl_epoch(r), some));
	assert_int_equal(fx.n_notes, 1);
	assert_int_equal(fx.note[0].type, NOTE_DRAINED);
	assert_int_equal(fx.note[0].n, 1);
	assert_int_equal(repl_get_bucket(r, 0, b)->phase, PHASE_STABLE);
	assert_int_equal(repl_get_bucket(r, 0, b)->owner, nu);
	struct msg m = drained(old, 1, repl_epoch(r), all_ones);

	m.u.drained.forced = true;
	apply(r, m);
	assert_int_equal(fx.note[0].type, NOTE_DRAIN_FORCED);
	repl_free(r);
}

static void failure_touches_the_buckets_of_that_node_only(void **state)
{
	(void)state;
	struct repl *r = settled(4);
	uint8_t was[BUCKETS];

	for (uint32_t b = 0; b < BUCKETS; b++)
		was[b] = repl_get_bucket(r, 0, b)->owner;
	apply(r, fail_of(r, 2, FAIL_LEASE));
	for (uint32_t b = 0; b < BUCKETS; b++) {
		unsigned int is = repl_get_bucket(r, 0, b)->owner;

		if (was[b] == 2)
			assert_true(is != 2 && is != NOBODY);
		else
			assert_int_equal(is, was[b]);
	}
	repl_free(r);
}

static void last_node_leaves_nothing_owned(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++) {
		struct repl *r = in_phase(p);

		for (unsigned int i = 1; i <= N; i++)
			if (mask_has(repl_online(r), i))
				apply(r, fail_of(r, i, i % 2 ? FAIL_LEASE : FAIL_CRASH));
		assert_int_equal(repl_online(r), 0);
		assert_int_equal(repl_owned(r, 0, NOBODY), BUCKETS);
		assert_int_equal(repl_plan(r), 0);
		apply(r, ready_as(2, 999, false));
		replan(r);
		assert_int_equal(repl_owned(r, 0, 2), BUCKETS);
		repl_free(r);
	}
}

static void crashed_node_back_in_time_gets_its_very_buckets_for_its_connections(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint8_t was[2][BUCKETS];
	uint32_t n = 0;

	for (unsigned int s = 0; s < 2; s++)
		for (uint32_t b = 0; b < BUCKETS; b++)
			was[s][b] = repl_get_bucket(r, s, b)->owner;
	apply(r, fail_of(r, 3, FAIL_CRASH));
	/* Failback by hand does not hold back a node whose connections wait. */
	apply(r, ready_as(3, 301, true));
	assert_false(repl_get_node(r, 3)->hold_back);
	ignored(r, grace_end(3));		/* it is back */
	apply(r, base(MSG_PLAN, 1));
	for (unsigned int s = 0; s < 2; s++)
		for (uint32_t b = 0; b < BUCKETS; b++) {
			const struct repl_bucket *k = repl_get_bucket(r, s, b);

			if (was[s][b] != 3) {
				assert_int_equal(k->phase, PHASE_STABLE);
				continue;
			}
			n++;
			assert_int_equal(k->phase, PHASE_PREPARE);
			assert_int_equal(k->other, 3);
			assert_true(k->flows);
		}
	assert_true(n > 0);
	all_ack(r);
	all_leave(r);
	all_adopt(r);
	all_drain(r);
	for (unsigned int s = 0; s < 2; s++)
		for (uint32_t b = 0; b < BUCKETS; b++)
			assert_int_equal(repl_get_bucket(r, s, b)->owner, was[s][b]);
	repl_free(r);
}

static void crashed_node_that_crashes_again_while_coming_back_is_awaited_again(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, fail_of(r, 3, FAIL_CRASH));
	apply(r, ready_as(3, 301, false));
	apply(r, base(MSG_PLAN, 1));
	apply(r, fail_of(r, 3, FAIL_CRASH));
	assert_true(repl_count(r, PHASE_GRACE, NOBODY, 3) > 0);
	apply(r, grace_end(3));
	assert_int_equal(fx.note[0].type, NOTE_GRACE_END);
	assert_int_equal(repl_count(r, PHASE_GRACE, NOBODY, NOBODY), 0);
	repl_free(r);
}

static void crashed_node_that_is_lost_before_its_buckets_are_given_back_is_not_awaited(void **state)
{
	(void)state;
	for (enum fail_kind why = FAIL_LEASE; why <= FAIL_SELF; why++) {
		struct repl *r = settled(3);

		apply(r, fail_of(r, 3, FAIL_CRASH));
		apply(r, ready_as(3, 301, false));
		apply(r, fail_of(r, 3, why));
		/* A second crash is one from which it may come back; there is a GRACE_END for that. */
		assert_int_equal(repl_count(r, PHASE_GRACE, NOBODY, 3) > 0, why == FAIL_CRASH);
		apply(r, grace_end(3));
		assert_int_equal(repl_moving(r, 0) + repl_moving(r, 1), 0);
		repl_free(r);
	}
}

static void takeover_counts_the_dead_out_until_they_return(void **state)
{
	(void)state;
	struct repl *r = settled(4);

	assert_false(repl_majority(r, node_bit(1) | node_bit(2)));
	uint16_t term = (uint16_t)repl_get_node(r, 3)->term;

	/* the living do not bury themselves */
	ignored(r, order(1, ORDER_TAKEOVER, 1, term));
	/* meant an earlier one: it is back */
	ignored(r, order(1, ORDER_TAKEOVER, 3, term - 1));
	apply(r, order(1, ORDER_TAKEOVER, 3, term));
	assert_int_equal(repl_dead(r), node_bit(3));
	assert_int_equal(repl_get_node(r, 3)->state, NODE_FAILED);
	assert_int_equal(repl_owned(r, 0, 3), 0);
	assert_true(repl_majority(r, node_bit(1) | node_bit(2)));
	assert_false(repl_majority(r, node_bit(1) | node_bit(3)));
	ignored(r, order(1, ORDER_TAKEOVER, 3, 0));
	apply(r, ready_as(3, 301, false));
	assert_int_equal(repl_dead(r), 0);
	repl_free(r);
}

/* ---- orders ---- */

static void held_back_node_owns_nothing_until_failback(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < 2; how++) {
		struct repl *r = settled(3);

		apply(r, fail_of(r, 3, FAIL_LEASE));
		replan(r);
		apply(r, ready_as(3, 301, true));
		assert_true(repl_get_node(r, 3)->hold_back);
		assert_int_equal(repl_weight(r, 0, 3), 0);
		assert_false(repl_plan_needed(r));
		ignored(r, base(MSG_PLAN, 1));
		apply(r, how ? order(1, ORDER_UNDRAIN, 3, 0) : order(1, ORDER_FAILBACK, 0, 0));
		assert_int_equal(repl_weight(r, 0, 3), 1000);
		replan(r);
		assert_in_range(repl_owned(r, 0, 3), BUCKETS / 3, BUCKETS / 3 + 1);
		ignored(r, order(1, ORDER_FAILBACK, 0, 0));
		repl_free(r);
	}
}

static void a_new_node_is_not_held_back_nor_the_only_one_left(void **state)
{
	(void)state;
	struct repl *r = settled(2);

	apply(r, ready_as(3, 300, true));
	assert_false(repl_get_node(r, 3)->hold_back);
	apply(r, fail_of(r, 3, FAIL_LEASE));
	apply(r, ready_as(3, 301, true));
	assert_true(repl_get_node(r, 3)->hold_back);
	apply(r, fail_of(r, 1, FAIL_LEASE));
	apply(r, fail_of(r, 2, FAIL_LEASE));
	replan(r);
	assert_int_equal(repl_owned(r, 0, 3), BUCKETS);
	repl_free(r);
}

static void drain_gives_all_away_and_undrain_takes_the_share_again(void **state)
{
	(void)state;
	struct repl *r = settled(3);

	apply(r, order(1, ORDER_DRAIN, 2, 0));
	assert_int_equal(fx.note[0].type, NOTE_ORDER);
	assert_int_equal(fx.note[0].node, 2);
	assert_int_equal(fx.note[0].arg, ORDER_DRAIN);
	ignored(r, order(1, ORDER_DRAIN, 2, 0));
	replan(r);
	assert_int_equal(repl_owned(r, 0, 2) + repl_owned(r, 1, 2), 0);
	apply(r, fail_of(r, 2, FAIL_LEASE));		/* an order outlives its node's process */
	apply(r, ready_as(2, 201, false));
	assert_int_equal(repl_weight(r, 0, 2), 0);
	apply(r, order(1, ORDER_UNDRAIN, 2, 0));
	replan(r);
	assert_in_range(repl_owned(r, 0, 2), BUCKETS / 3, BUCKETS / 3 + 1);
	repl_free(r);
}

static void drained_node_inherits_nothing(void **state)
{
	(void)state;
	struct repl *r = settled(4);

	apply(r, order(1, ORDER_DRAIN, 2, 0));
	replan(r);
	apply(r, fail_of(r, 1, FAIL_LEASE));
	assert_int_equal(repl_owned(r, 0, 2) + repl_owned(r, 1, 2), 0);
	repl_free(r);
}

static void when_all_are_drained_everything_stays(void **state)
{
	(void)state;
	struct repl *r = settled(2);

	apply(r, order(1, ORDER_DRAIN, 1, 0));
	apply(r, order(1, ORDER_DRAIN, 2, 0));
	assert_false(repl_plan_needed(r));
	ignored(r, base(MSG_PLAN, 1));
	assert_int_equal(repl_owned(r, 0, 1), BUCKETS / 2);
	repl_free(r);
}

static void weights_shift_shares_and_auto_means_as_configured(void **state)
{
	(void)state;
	struct repl *r = settled(2);

	apply(r, order(1, ORDER_WEIGHT, 2, 300));
	assert_int_equal(repl_weight(r, 0, 2), 3000);
	replan(r);
	assert_int_equal(repl_owned(r, 0, 2), BUCKETS * 3 / 4);
	/* speaks for its sender, whatever it names */
	apply(r, order(2, ORDER_CONF_WEIGHT, 1, 50));
	assert_int_equal(repl_weight(r, 0, 1), 1000);
	assert_int_equal(repl_weight(r, 0, 2), 3000);
	apply(r, order(1, ORDER_WEIGHT, 2, ORDER_AUTO));
	assert_int_equal(repl_weight(r, 0, 2), 500);
	ignored(r, order(1, ORDER_WEIGHT, 2, 1001));		/* no weight: as configured */
	apply(r, order(2, ORDER_CONF_WEIGHT, 0, 5000));
	assert_int_equal(repl_weight(r, 0, 2), 10000);
	apply(r, order(1, ORDER_WEIGHT, 2, 0));
	replan(r);
	assert_int_equal(repl_owned(r, 0, 2), 0);
	repl_free(r);
}

static void leave_is_a_drain_that_ends_with_the_process(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m = order(2, ORDER_LEAVE, 1, 0);

	m.incarnation++;
	ignored(r, m);					/* of another process */
	/* speaks for its sender, whatever it names */
	apply(r, order(2, ORDER_LEAVE, 1, 0));
	assert_true(repl_get_node(r, 2)->leaving);
	assert_false(repl_get_node(r, 1)->leaving);
	replan(r);
	assert_int_equal(repl_owned(r, 0, 2), 0);
	apply(r, base(MSG_BYE, 2));
	assert_int_equal(repl_get_node(r, 2)->state, NODE_OFFLINE);
	assert_int_equal(fx.n_notes, 1);
	assert_int_equal(fx.note[0].type, NOTE_BYE);
	apply(r, ready_as(2, 201, false));
	assert_false(repl_get_node(r, 2)->leaving);
	assert_int_equal(repl_weight(r, 0, 2), 1000);
	repl_free(r);
}

static void malformed_messages_change_nothing(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m;

	malformed(r, base(MSG_PLAN, 0));
	malformed(r, base(MSG_PLAN, N + 1));
	malformed(r, base(MSG_NONE, 1));
	malformed(r, base(MSG_TYPES_N, 1));
	malformed(r, base((enum msg_type)200, 1));
	malformed(r, base(MSG_STATE, 1));
	malformed(r, base(MSG_DIGEST, 1));
	m = fail_of(r, 3, FAIL_LEASE);
	m.u.fail.node = 0;
	malformed(r, m);
	m.u.fail.node = N + 1;
	malformed(r, m);
	m = fail_of(r, 3, FAIL_SELF + 1);
	malformed(r, m);
	m = ready(4);
	m.u.ready.n_links = SERVICES_MAX + 1;
	malformed(r, m);
	m = drained(1, 2, 0, all_ones);
	malformed(r, m);
	m = drained(1, 0, 0, all_ones);
	m.u.drained.size--;
	malformed(r, m);
	malformed(r, grace_end(0));
	malformed(r, grace_end(N + 1));
	malformed(r, order(1, ORDER_TYPES_N, 1, 0));
	malformed(r, order(1, ORDER_DRAIN, 0, 0));
	malformed(r, order(1, ORDER_DRAIN, N + 1, 0));
	malformed(r, order(1, ORDER_TAKEOVER, 255, 0));
	repl_free(r);
}

static void impossible_sizes_are_refused(void **state)
{
	(void)state;
	struct repl *r;
	struct repl_params p = params;

	p.n_nodes = 0;
	assert_int_equal(repl_new(&r, &p), -EINVAL);
	p.n_nodes = NODES_MAX + 1;
	assert_int_equal(repl_new(&r, &p), -EINVAL);
	p = params;
	p.layout.buckets = 96;
	assert_int_equal(repl_new(&r, &p), -EINVAL);
	p.layout.buckets = 2 * BUCKETS_MAX;
	assert_int_equal(repl_new(&r, &p), -EINVAL);
	p = params;
	p.n_services = SERVICES_MAX + 1;
	assert_int_equal(repl_new(&r, &p), -EINVAL);
	repl_free(NULL);
}

/* ---- plans ---- */

static void each_failed_ack_is_not_waited_for(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_PREPARE);
	uint64_t plan = repl_plan(r);

	for (unsigned int i = 2; i <= N; i++)
		apply(r, plan_step(MSG_ACK, i, plan));
	assert_true(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY) > 0);
	apply(r, fail_of(r, 1, FAIL_LEASE));
	assert_int_equal(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY), 0);
	assert_true(repl_count(r, PHASE_HANDOFF, NOBODY, NOBODY) > 0);
	repl_free(r);
}

static void who_is_admitted_during_a_plan_has_to_know_it_too(void **state)
{
	(void)state;
	struct repl *r = settled(2);

	apply(r, ready(3));
	apply(r, base(MSG_PLAN, 1));
	apply(r, ready(4));
	for (unsigned int i = 1; i <= 3; i++)
		apply(r, plan_step(MSG_ACK, i, repl_plan(r)));
	assert_true(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY) > 0);
	apply(r, plan_step(MSG_ACK, 4, repl_plan(r)));
	assert_int_equal(repl_count(r, PHASE_PREPARE, NOBODY, NOBODY), 0);
	/* its share comes with the next plan */
	assert_int_equal(repl_owned(r, 0, 4), 0);
	all_leave(r);
	all_adopt(r);
	all_ack(r);
	all_drain(r);
	replan(r);
	assert_int_equal(repl_owned(r, 0, 4), BUCKETS / 4);
	repl_free(r);
}

static void node_without_buckets_inherits_only_after_all_know_that_it_may(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	uint32_t b;

	apply(r, ready(4));
	for (b = 0; b < BUCKETS; b++) {
		assert_int_not_equal(repl_heir(r, 0, b, node_bit(1) | node_bit(2) | node_bit(3)), 4);
		assert_false(repl_inherits(r, 0, b, 4, node_bit(1) | node_bit(2) | node_bit(3)));
	}
	apply(r, base(MSG_PLAN, 1));
	all_ack(r);
	assert_int_equal(repl_heir(r, 0, 0, node_bit(1) | node_bit(2) | node_bit(3)), 4);
	repl_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_phase_meets_every_message),
		cmocka_unit_test(every_pair_of_messages_leaves_a_valid_state),
		cmocka_unit_test(first_node_gets_everything_and_the_second_half_of_it),
		cmocka_unit_test(ready_repeated_is_ignored_and_a_new_process_takes_the_place_of_the_old),
		cmocka_unit_test(node_with_another_configuration_is_refused_and_noted_once),
		cmocka_unit_test(refused_restart_is_gone_all_the_same),
		cmocka_unit_test(stale_words_are_ignored),
		cmocka_unit_test(flows_counted_before_the_drain_began_do_not_end_it),
		cmocka_unit_test(plan_ends_when_all_know_that_all_has_moved),
		cmocka_unit_test(failure_touches_the_buckets_of_that_node_only),
		cmocka_unit_test(last_node_leaves_nothing_owned),
		cmocka_unit_test(crashed_node_back_in_time_gets_its_very_buckets_for_its_connections),
		cmocka_unit_test(crashed_node_that_crashes_again_while_coming_back_is_awaited_again),
		cmocka_unit_test(crashed_node_that_is_lost_before_its_buckets_are_given_back_is_not_awaited),
		cmocka_unit_test(takeover_counts_the_dead_out_until_they_return),
		cmocka_unit_test(held_back_node_owns_nothing_until_failback),
		cmocka_unit_test(a_new_node_is_not_held_back_nor_the_only_one_left),
		cmocka_unit_test(drain_gives_all_away_and_undrain_takes_the_share_again),
		cmocka_unit_test(drained_node_inherits_nothing),
		cmocka_unit_test(when_all_are_drained_everything_stays),
		cmocka_unit_test(weights_shift_shares_and_auto_means_as_configured),
		cmocka_unit_test(leave_is_a_drain_that_ends_with_the_process),
		cmocka_unit_test(malformed_messages_change_nothing),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(each_failed_ack_is_not_waited_for),
		cmocka_unit_test(who_is_admitted_during_a_plan_has_to_know_it_too),
		cmocka_unit_test(node_without_buckets_inherits_only_after_all_know_that_it_may),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

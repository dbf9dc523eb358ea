// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/compile.h"

#include "repl_common.h"

#define F BUCKET_FOREIGN
#define M BUCKET_MINE
#define A BUCKET_ARRIVING
#define D BUCKET_ADOPTING
#define L BUCKET_LEAVING
#define R BUCKET_DRAINING

static const struct { enum bucket_state owner, other; } table[PHASES_N] = {
	[PHASE_STABLE]  = { M, F },
	[PHASE_PREPARE] = { M, A },	/* old owner, new one */
	[PHASE_HANDOFF] = { L, A },
	[PHASE_ADOPT]   = { D, L },	/* new owner, old one */
	[PHASE_DRAIN]   = { D, R },
	[PHASE_GRACE]   = { D, F },	/* heir, the crashed one */
};

static void check(const struct repl *r, uint32_t b, unsigned int self, uint64_t lost,
		  enum bucket_state state, unsigned int to)
{
	struct bucket_action a = compile_bucket(r, 0, b, self, lost);

	if (a.state != state || a.to != to)
		fail_msg("bucket %u (%s) at %u, lost %llx: is %s %u, should be %s %u", b,
			 repl_phase_str(repl_get_bucket(r, 0, b)->phase), self, (unsigned long long)lost,
			 bucket_state_str(a.state), a.to, bucket_state_str(state), to);
}

static void each_phase_gives_owner_and_other_their_state_and_all_others_nothing(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++) {
		struct repl *r = in_phase(p);

		for (uint32_t b = 0; b < BUCKETS; b++) {
			const struct repl_bucket *k = repl_get_bucket(r, 0, b);

			for (unsigned int self = 1; self <= N; self++) {
				enum bucket_state s = self == k->owner ? table[k->phase].owner :
						      self == k->other ? table[k->phase].other : F;

				/* The crashed one is not there. */
				unsigned int to = self != k->owner ? k->owner :
						  s == L || (s == D && k->phase != PHASE_GRACE) ? k->other : NOBODY;

				check(r, b, self, 0, s, to);
			}
		}
		repl_free(r);
	}
}

static void returning_node_arrives_for_its_connections_and_the_heir_keeps_off_them(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_GRACE);
	uint32_t b = find(r, PHASE_GRACE);
	unsigned int heir = repl_get_bucket(r, 0, b)->owner;

	apply(r, ready_as(3, 301, false));
	check(r, b, 3, 0, R, heir);		/* back: its connections are accepted at once */
	check(r, b, heir, 0, D, 3);		/* ... and handed to it */
	check(r, b, heir, node_bit(3), D, NOBODY);	/* ... unless it is lost again */
	apply(r, base(MSG_PLAN, 1));
	assert_true(repl_get_bucket(r, 0, b)->flows);
	check(r, b, 3, 0, A, heir);
	check(r, b, heir, 0, D, 3);	/* not MINE: unknown packets are not its own */
	all_ack(r);
	check(r, b, 3, 0, A, heir);
	check(r, b, heir, 0, L, 3);
	repl_free(r);
}

/* A draining bucket whose heir is the old owner, or is not. */
static uint32_t drains(const struct repl *r, bool to_old)
{
	for (uint32_t b = 0; b < BUCKETS; b++) {
		const struct repl_bucket *k = repl_get_bucket(r, 0, b);

		if (k->phase == PHASE_DRAIN &&
		    (repl_heir(r, 0, b, node_bit(k->owner)) == k->other) == to_old)
			return b;
	}
	fail_msg("no such bucket");
	return 0;
}

static void one_drained(struct repl *r, uint32_t b)
{
	uint8_t bits[BUCKETS / 8] = { 0 };

	bits[b / 8] = (uint8_t)(1u << (b % 8));
	apply(r, drained(repl_get_bucket(r, 0, b)->other, 0, repl_epoch(r), bits));
}

static void is_bucket(const struct repl *r, uint32_t b, enum repl_phase p, const unsigned int who[3])
{
	const struct repl_bucket *k = repl_get_bucket(r, 0, b);

	assert_int_equal(k->phase, p);
	assert_int_equal(k->owner, who[0]);
	assert_int_equal(k->other, who[1]);
	assert_int_equal(k->third, who[2]);
}

/* Both the old owner and the new one have connections when the new one crashes. */
static void crash_in_the_middle_of_a_drain_forgets_neither_of_them(void **state)
{
	static uint8_t snapshot[BUCKETS_MAX];
	(void)state;
	for (unsigned int back = 0; back < 3; back++) {	/* not; before DRAINED; after it */
		struct repl *r = in_phase(PHASE_DRAIN), *copy = fresh();
		uint32_t b = drains(r, false), easy = drains(r, true);
		unsigned int nu = repl_get_bucket(r, 0, b)->owner, old = repl_get_bucket(r, 0, b)->other;
		unsigned int other = repl_get_bucket(r, 0, easy)->other;
		unsigned int heir = repl_heir(r, 0, b, node_bit(nu));
		size_t n;

		apply(r, fail_of(r, nu, FAIL_CRASH));
		is_bucket(r, easy, PHASE_GRACE, (unsigned int[]){ other, nu, NOBODY });
		is_bucket(r, b, PHASE_DRAIN, (unsigned int[]){ heir, old, nu });
		assert_true(repl_awaits(r, nu) && repl_awaits(r, NOBODY) && !repl_awaits(r, old));
		check(r, b, heir, 0, D, old);
		check(r, b, old, 0, R, heir);
		check(r, b, old, node_bit(heir), repl_heir(r, 0, b, node_bit(heir)) == old ? D : R,
		      repl_heir(r, 0, b, node_bit(heir)) == old ? NOBODY :
		      repl_heir(r, 0, b, node_bit(heir)));
		n = repl_save(r, snapshot, sizeof(snapshot));
		assert_int_equal(repl_load(copy, snapshot, n), 0);
		is_bucket(copy, b, PHASE_DRAIN, (unsigned int[]){ heir, old, nu });
		assert_true(repl_digest(copy) == repl_digest(r));
		if (back == 1) {
			apply(r, ready_as(nu, nu * 100 + 1, false));
			check(r, b, nu, 0, R, heir);
			one_drained(r, b);
			is_bucket(r, b, PHASE_DRAIN, (unsigned int[]){ heir, nu, NOBODY });
			check(r, b, nu, 0, R, heir);
			check(r, b, heir, 0, D, nu);
			one_drained(r, b);
		} else if (back == 2) {
			one_drained(r, b);
			is_bucket(r, b, PHASE_GRACE, (unsigned int[]){ heir, nu, NOBODY });
			check(r, b, heir, 0, D, NOBODY);
			apply(r, ready_as(nu, nu * 100 + 1, false));
			check(r, b, nu, 0, R, heir);
			one_drained(r, b);
		} else {
			apply(r, grace_end(nu));
			assert_false(repl_awaits(r, nu) || repl_awaits(r, NOBODY));
			is_bucket(r, b, PHASE_DRAIN, (unsigned int[]){ heir, old, NOBODY });
			one_drained(r, b);
		}
		is_bucket(r, b, PHASE_STABLE, (unsigned int[]){ heir, NOBODY, NOBODY });
		check(r, b, heir, 0, M, NOBODY);
		repl_free(copy);
		repl_free(r);
	}
}

static void whose_machine_is_gone_is_no_third(void **state)
{
	(void)state;
	for (enum fail_kind why = FAIL_LEASE; why <= FAIL_SELF; why++) {
		struct repl *r = in_phase(PHASE_DRAIN);
		uint32_t b = drains(r, false);
		unsigned int nu = repl_get_bucket(r, 0, b)->owner, old = repl_get_bucket(r, 0, b)->other;
		unsigned int heir = repl_heir(r, 0, b, node_bit(nu));

		apply(r, fail_of(r, nu, FAIL_CRASH));
		apply(r, ready_as(nu, nu * 100 + 1, false));
		apply(r, fail_of(r, nu, why));
		is_bucket(r, b, PHASE_DRAIN,
			  (unsigned int[]){ heir, old, why == FAIL_CRASH ? nu : NOBODY });
		/* the old owner goes first: then it is its turn */
		apply(r, fail_of(r, old, FAIL_LEASE));
		if (why == FAIL_CRASH)
			is_bucket(r, b, PHASE_GRACE, (unsigned int[]){ heir, nu, NOBODY });
		else
			is_bucket(r, b, PHASE_STABLE, (unsigned int[]){ heir, NOBODY, NOBODY });
		repl_free(r);
	}
}

static void node_that_is_not_admitted_takes_nothing(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct bucket_action action[BUCKETS];

	apply(r, fail_of(r, 2, FAIL_CRASH));
	for (unsigned int self = 1; self <= N; self++) {
		unsigned int taken = 0;

		compile_service(r, 0, self, node_bit(1) | node_bit(3), action);
		for (uint32_t b = 0; b < BUCKETS; b++) {
			unsigned int owner = repl_get_bucket(r, 0, b)->owner;

			taken += action[b].state != F;
			/* All are lost: nobody to hand to; else that one. */
			if (action[b].state == F)
				assert_int_equal(action[b].to, NOBODY);
			if (self == 2 || self == 4)
				check(r, b, self, 0, F, owner);
		}
		if (self == 2 || self == 4)
			assert_int_equal(taken, 0);
		else
			assert_true(taken > 0);
	}
	repl_free(r);
}

static void unowned_buckets_are_nobodys(void **state)
{
	(void)state;
	struct repl *r = fresh();

	apply(r, ready(1));
	for (uint32_t b = 0; b < BUCKETS; b++)
		check(r, b, 1, 0, F, NOBODY);
	apply(r, base(MSG_PLAN, 1));
	for (uint32_t b = 0; b < BUCKETS; b++)
		check(r, b, 1, 0, A, NOBODY);
	repl_free(r);
}

static void heir_of_a_lost_owner_acts_without_a_word_from_the_group(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++) {
		struct repl *r = in_phase(p);
		unsigned int acting = 0;

		for (uint32_t b = 0; b < BUCKETS; b++) {
			struct repl_bucket k = *repl_get_bucket(r, 0, b);
			uint64_t lost = node_bit(k.owner);

			for (unsigned int self = 1; self <= N; self++) {
				if (self == k.owner || !repl_inherits(r, 0, b, self, lost))
					continue;
				acting++;
				/* Somebody alive may still hold connections: resets would kill them. */
				bool others = k.phase == PHASE_GRACE ||
					      ((k.phase == PHASE_ADOPT || k.phase == PHASE_DRAIN) &&
					       k.other != self);

				check(r, b, self, lost, others ? D : M,
				      others && k.phase != PHASE_GRACE ? k.other : NOBODY);
				/* All others, front or party, hand new flows to the heir. */
				for (unsigned int i = 1; i <= N; i++) {
					struct bucket_action a = compile_bucket(r, 0, b, i, lost);

					if (i != self && i != k.owner && a.state != D)
						assert_int_equal(a.to, self);
				}
				/* ... unless that one is lost as well. */
				if ((k.phase == PHASE_ADOPT || k.phase == PHASE_DRAIN) && others &&
				    repl_inherits(r, 0, b, self, lost | node_bit(k.other)))
					check(r, b, self, lost | node_bit(k.other), M, NOBODY);
			}
		}
		assert_true(acting > 0);
		repl_free(r);
	}
}

static void bucket_whose_heir_may_not_act_has_nobody(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_PREPARE);
	uint32_t b = find(r, PHASE_PREPARE);
	struct repl_bucket k = *repl_get_bucket(r, 0, b);
	unsigned int heir = repl_heir(r, 0, b, node_bit(k.owner));

	assert_int_not_equal(heir, 4);		/* who has no weight yet, so that nobody may */
	assert_int_equal(k.other, 4);
	check(r, b, heir, node_bit(k.owner), F, NOBODY);
	check(r, b, 4, node_bit(k.owner), A, NOBODY);
	repl_free(r);
}

static void mixed_layouts_let_everybody_keep_what_it_knows(void **state)
{
	(void)state;
	struct repl *r = settled(3);
	struct msg m = base(MSG_LAYOUT, 1);

	m.u.layout = (struct layout){ .buckets = 2 * BUCKETS };
	for (unsigned int i = 1; i <= 3; i++) {
		m.from = (uint8_t)i;
		m.incarnation = i * 100;
		apply(r, m);
	}
	assert_true(repl_freeze(r));
	for (uint32_t b = 0; b < BUCKETS; b++) {
		unsigned int owner = repl_get_bucket(r, 0, b)->owner;

		for (unsigned int self = 1; self <= 3; self++)
			check(r, b, self, 0, self == owner ? D : R, self == owner ? NOBODY : owner);
	}
	for (unsigned int k = 0; k < 2; k++) {
		m = base(MSG_ACK, 1);
		m.u.plan.plan = repl_rehash_ack(r);
		for (unsigned int i = 1; i <= 3; i++) {
			m.from = (uint8_t)i;
			m.incarnation = i * 100;
			apply(r, m);
		}
	}
	assert_false(repl_freeze(r));
	assert_non_null(repl_old_layout(r));
	for (uint32_t b = 0; b < 2 * BUCKETS; b++) {
		unsigned int owner = repl_get_bucket(r, 0, b)->owner, heir = repl_heir(r, 0, b, node_bit(owner));

		assert_int_equal(owner, repl_old_owner(r, 0)[b / 2]);
		for (unsigned int self = 1; self <= 3; self++) {
			check(r, b, self, 0, self == owner ? D : R, self == owner ? NOBODY : owner);
			if (self != owner)
				check(r, b, self, node_bit(owner), self == heir ? D : R,
				      self == heir ? NOBODY : heir);
		}
		check(r, b, 4, 0, F, owner);		/* a front that is not admitted */
	}
	repl_free(r);
}

static void whole_service_is_each_of_its_buckets(void **state)
{
	(void)state;
	struct repl *r = in_phase(PHASE_HANDOFF);
	struct bucket_action action[BUCKETS];

	for (unsigned int s = 0; s < 2; s++)
		for (unsigned int self = 1; self <= N; self++) {
			compile_service(r, s, self, node_bit(1), action);
			for (uint32_t b = 0; b < BUCKETS; b++) {
				struct bucket_action a = compile_bucket(r, s, b, self, node_bit(1));

				assert_memory_equal(&a, &action[b], sizeof(a));
			}
		}
	repl_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_phase_gives_owner_and_other_their_state_and_all_others_nothing),
		cmocka_unit_test(returning_node_arrives_for_its_connections_and_the_heir_keeps_off_them),
		cmocka_unit_test(crash_in_the_middle_of_a_drain_forgets_neither_of_them),
		cmocka_unit_test(whose_machine_is_gone_is_no_third),
		cmocka_unit_test(node_that_is_not_admitted_takes_nothing),
		cmocka_unit_test(unowned_buckets_are_nobodys),
		cmocka_unit_test(heir_of_a_lost_owner_acts_without_a_word_from_the_group),
		cmocka_unit_test(bucket_whose_heir_may_not_act_has_nobody),
		cmocka_unit_test(mixed_layouts_let_everybody_keep_what_it_knows),
		cmocka_unit_test(whole_service_is_each_of_its_buckets),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

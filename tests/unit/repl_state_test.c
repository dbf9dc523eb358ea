// SPDX-License-Identifier: GPL-2.0-or-later
#include "repl_common.h"

static uint64_t seed;

static uint32_t rnd(void)	/* splitmix64 */
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(z >> 32);
}

/* ---- snapshots ---- */

static uint8_t *snapshot(const struct repl *r, size_t *size)
{
	uint8_t *buf = malloc(repl_save_max(r));

	assert_non_null(buf);
	*size = repl_save(r, buf, repl_save_max(r));
	assert_true(*size > 0);
	return buf;
}

static void snapshot_round_trip_gives_the_same_digest_and_the_same_future(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++) {
		struct repl *r = in_phase(p), *other = settled(4);
		size_t size, again;
		uint8_t *buf, *twice;

		apply(r, idle(2, 0, repl_epoch(r), all_ones, BUCKETS / 8));
		apply(r, health(1, 0, 1, FITNESS_WORKS));
		apply(r, reweigh(0, (const int[]){ 0, 500, 1000 }, 3));
		apply(r, reweigh(1, (const int[]){ 0, 500, 1000 }, 3));
		apply(r, order(1, ORDER_WEIGHT, 2, 33));
		apply(r, order(1, ORDER_DRAIN, 1, 0));
		buf = snapshot(r, &size);
		assert_int_equal(repl_load(other, buf, size), 0);
		assert_int_equal(repl_digest(other), repl_digest(r));
		twice = snapshot(other, &again);
		assert_int_equal(again, size);
		assert_memory_equal(buf, twice, size);
		for (enum act a = 0; a < ACTS; a++) {
			act_on(r, a, 1, 3);
			act_on(other, a, 1, 3);
			assert_int_equal(repl_digest(other), repl_digest(r));
		}
		free(buf);
		free(twice);
		repl_free(r);
		repl_free(other);
	}
}

static void every_truncation_of_a_snapshot_is_refused(void **state)
{
	(void)state;
	for (enum repl_phase p = PHASE_STABLE; p < PHASES_N; p++) {
		struct repl *r = in_phase(p), *other = settled(2);
		uint64_t digest = repl_digest(other);
		size_t size;
		uint8_t *buf = snapshot(r, &size);

		for (size_t n = 0; n < size; n++) {
			/* so that a sanitizer sees each overrun */
			uint8_t *cut = malloc(n ? n : 1);

			memcpy(cut, buf, n);
			assert_int_equal(repl_load(other, cut, n), -EBADMSG);
			assert_int_equal(repl_digest(other), digest);
			free(cut);
		}
		assert_int_equal(repl_save(r, buf, size - 1), 0);
		free(buf);
		repl_free(r);
		repl_free(other);
	}
}

static void snapshot_of_another_shape_is_refused(void **state)
{
	(void)state;
	struct repl_params p = params;
	struct repl *r = settled(3), *other;
	size_t size;
	uint8_t *buf = snapshot(r, &size);

	p.layout.buckets *= 2;		/* that of the snapshot comes with it */
	assert_int_equal(repl_new(&other, &p), 0);
	assert_int_equal(repl_load(other, buf, size), 0);
	assert_int_equal(repl_digest(other), repl_digest(r));
	assert_int_equal(repl_layout(other)->buckets, BUCKETS);
	repl_free(other);
	p = params;
	p.n_vips = 4;
	assert_int_equal(repl_new(&other, &p), 0);
	assert_int_equal(repl_load(other, buf, size), -EBADMSG);
	repl_free(other);
	p = params;
	p.n_services = 1;
	assert_int_equal(repl_new(&other, &p), 0);
	assert_int_equal(repl_load(other, buf, size), -EBADMSG);
	repl_free(other);
	p = params;
	p.n_nodes++;
	assert_int_equal(repl_new(&other, &p), 0);
	assert_int_equal(repl_load(other, buf, size), -EBADMSG);
	repl_free(other);
	free(buf);
	repl_free(r);
}

static struct msg random_message(const struct repl *r);

static void corrupted_snapshot_is_refused_or_valid_and_usable(void **state)
{
	unsigned int refused = 0, taken = 0;

	(void)state;
	seed = 5;
	for (unsigned int round = 0; round < 4000; round++) {
		struct repl *r = in_phase(rnd() % PHASES_N), *other = fresh();
		uint64_t empty = repl_digest(other);
		size_t size;
		uint8_t *buf = snapshot(r, &size);

		for (unsigned int k = 1 + rnd() % 3; k; k--)
			buf[rnd() % size] ^= (uint8_t)(1u << rnd() % 8);
		if (repl_load(other, buf, size)) {
			assert_int_equal(repl_digest(other), empty);
			refused++;
		} else {
			taken++;
			assert_true(repl_valid(other));
			for (unsigned int k = 0; k < 20; k++) {
				struct msg m = random_message(other);

				repl_apply(other, &m, &fx);
				assert_true(repl_valid(other));
			}
		}
		free(buf);
		repl_free(r);
		repl_free(other);
	}
	assert_true(refused > 100 && taken > 100);
}

/* ---- random messages ---- */

static struct msg random_message(const struct repl *r)
{
	static uint8_t bits[BUCKETS / 4];
	unsigned int from = 1 + rnd() % N, node = 1 + rnd() % N;
	struct msg m;

	switch (rnd() % 42) {
	case 0: case 1:
		m = ready_as(from, from * 100 + rnd() % 3, rnd() % 4 == 0);
		m.u.ready.config += rnd() % 20 == 0;
		m.u.ready.slow = rnd() % 2;
		m.u.ready.health[rnd() % 2] = rnd() % (FITNESS_N + (rnd() % 20 == 0));
		return m;
	case 2:
		m = fail_of(r, node, rnd() % 3);
		m.u.fail.term -= rnd() % 8 == 0;
		return m;
	case 3:
		m = base(MSG_BYE, from);
		m.incarnation = repl_get_node(r, from)->incarnation + (rnd() % 3 != 0);
		return m;
	case 4: case 5:
		return base(MSG_PLAN, from);
	case 6: case 7: case 8: case 9: case 10: case 11: case 33: case 34: case 35: case 36: case 37:
		m = plan_step(MSG_ACK, from, repl_plan_ack(r) + (rnd() % 8 == 0));
		m.incarnation = repl_get_node(r, from)->incarnation;
		return m;
	case 12: case 13: case 14:
		return plan_step(MSG_LEFT, from, repl_plan(r) + (rnd() % 8 == 0));
	case 15: case 16: case 17:
		return plan_step(MSG_ADOPTED, from, repl_plan(r) + (rnd() % 8 == 0));
	case 18: case 19:
		for (unsigned int i = 0; i < sizeof(bits); i++)
			bits[i] = (uint8_t)rnd();
		m = drained(from, rnd() % 3, repl_epoch(r) - rnd() % 8, rnd() % 2 ? bits : all_ones);
		m.u.drained.forced = rnd() % 4 == 0;
		if (repl_layout(r)->buckets <= 8 * sizeof(bits))
			m.u.drained.size = repl_layout(r)->buckets / 8;
		return m;
	case 20:
		return grace_end(node);
	case 21: case 22:
		m = base(MSG_LAYOUT, from);
		m.incarnation = repl_get_node(r, from)->incarnation + (rnd() % 8 == 0);
		m.u.layout.buckets = BUCKETS << (repl_switched(r) / 8 % 2);
		m.u.layout.hash[0] = rnd() % 16 == 0;
		return m;
	case 23: case 24:
		m = plan_step(MSG_ACK, from, repl_rehash_ack(r) + (rnd() % 8 == 0));
		m.incarnation = repl_get_node(r, from)->incarnation;
		return m;
	case 25:
		m = base(MSG_UNMIXED, from);
		m.incarnation = repl_get_node(r, from)->incarnation;
		m.u.unmixed.rehash = repl_rehash(r) + (rnd() % 8 == 0);
		m.u.unmixed.forced = rnd() % 2;
		return m;
	case 26: case 27: case 28:
		if (rnd() % 2) {
			m = health(from, rnd() % 3, from, rnd() % (FITNESS_N + (rnd() % 20 == 0)));
		} else {	/* mostly of the left neighbour */
			unsigned int left, right;

			repl_ring(r, from, &left, &right);
			m = health(from, rnd() % 2, rnd() % 4 && left ? left : node,
				   rnd() % 3 ? FITNESS_DOWN : FITNESS_UP);
		}
		m.incarnation = repl_get_node(r, from)->incarnation + (rnd() % 8 == 0);
		return m;
	case 29: case 30: {
		int load[N];

		for (unsigned int i = 0; i < N; i++)
			load[i] = rnd() % 6 == 0 ? -1 : rnd() % 4 == 0 ? 1000 : (int)(rnd() % (1001 + (rnd() % 99 == 0)));
		m = reweigh(rnd() % 2 + (rnd() % 50 == 0), load, N);
		m.from = (uint8_t)from;
		m.incarnation = repl_get_node(r, from)->incarnation + (rnd() % 8 == 0);
		return m;
	}
	case 31:
		for (unsigned int i = 0; i < sizeof(bits); i++)
			bits[i] = (uint8_t)rnd();
		m = idle(from, rnd() % 2, repl_epoch(r) - rnd() % 4 + (rnd() % 9 == 0), bits, BUCKETS / 8);
		m.incarnation = repl_get_node(r, from)->incarnation + (rnd() % 8 == 0);
		if (repl_layout(r)->buckets <= 8 * sizeof(bits))
			m.u.idle.size = repl_layout(r)->buckets / 8;
		return m;
	case 32:
		return order(from, ORDER_RAMP, node, (uint16_t)(rnd() % 5 * 250 + (rnd() % 20 == 0)));
	default:
		m = order(from, rnd() % (ORDER_TYPES_N + (rnd() % 10 == 0)), node, (uint16_t)(rnd() % 300));
		if (m.u.order.type == ORDER_LEAVE)
			m.incarnation = repl_get_node(r, from)->incarnation + (rnd() % 3 != 0);
		else if (m.u.order.type == ORDER_DRAIN && rnd() % 2)
			m.u.order.type = ORDER_UNDRAIN;
		return m;
	}
}

static void replicas_fed_the_same_messages_stay_the_same(void **state)
{
	unsigned int changed = 0, seen[PHASES_N] = { 0 }, rehash[4] = { 0 }, idles = 0, verdicts = 0;
	unsigned int sorry = 0, ramps = 0, factors = 0, notes[NOTE_SORRY + 1] = { 0 };

	(void)state;
	for (unsigned int round = 0; round < 5; round++) {
		struct repl *a = fresh(), *b = fresh();

		seed = 1000 * round;
		for (unsigned int k = 0; k < 10000; k++) {
			struct msg m = random_message(a);
			struct repl_fx other;
			int err = repl_apply(a, &m, &fx);

			assert_int_equal(repl_apply(b, &m, &other), err);
			assert_int_equal(fx.changed, other.changed);
			assert_int_equal(fx.n_notes, other.n_notes);
			assert_true(repl_valid(a));
			assert_int_equal(repl_digest(a), repl_digest(b));
			changed += fx.changed;
			rehash[repl_rehash_phase(a)]++;
			sorry += repl_sorry(a, 0);
			for (unsigned int i = 0; i < fx.n_notes; i++)
				notes[fx.note[i].type]++;
			for (unsigned int i = 1; i <= N; i++) {
				verdicts += repl_get_node(a, i)->seen_down[0] != NOBODY;
				ramps += repl_get_node(a, i)->ramp != RAMP_FULL;
				factors += repl_get_node(a, i)->factor[0] != CLUSTERD_FACTOR_MAX;
			}
			for (uint32_t i = 0; i < BUCKETS; i++)
				idles += repl_get_bucket(a, 0, i)->idle;
			for (uint32_t i = 0; i < BUCKETS; i += 7)
				seen[repl_get_bucket(a, 0, i)->phase]++;
			if (k % 500 == 0) {		/* one of them joins again by snapshot */
				size_t size;
				uint8_t *buf = snapshot(a, &size);

				repl_reset(b);
				assert_int_equal(repl_load(b, buf, size), 0);
				free(buf);
			}
		}
		repl_free(a);
		repl_free(b);
	}
	assert_true(changed > 9000);
	assert_true(rehash[REHASH_FREEZE] > 100 && rehash[REHASH_SWITCH] > 100 && rehash[REHASH_MIXED] > 100);
	for (unsigned int p = 0; p < PHASES_N; p++)
		assert_true(seen[p] > 100);
	assert_true(idles > 100 && verdicts > 100 && sorry > 100 && ramps > 100 && factors > 100);
	for (unsigned int n = 0; n <= NOTE_SORRY; n++)
		if (!notes[n])
			fail_msg("note %u never came", n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshot_round_trip_gives_the_same_digest_and_the_same_future),
		cmocka_unit_test(every_truncation_of_a_snapshot_is_refused),
		cmocka_unit_test(snapshot_of_another_shape_is_refused),
		cmocka_unit_test(corrupted_snapshot_is_refused_or_valid_and_usable),
		cmocka_unit_test(replicas_fed_the_same_messages_stay_the_same),
	};

	memset(all_ones, 255, sizeof(all_ones));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

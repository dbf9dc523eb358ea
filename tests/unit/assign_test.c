// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/jhash.h"

static struct assign_scratch scratch;
static uint8_t owner[BUCKETS_MAX], next[BUCKETS_MAX], pinned[BUCKETS_MAX], aux[BUCKETS_MAX];
static uint64_t seed;

static uint32_t rnd(void)	/* splitmix64 */
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)(z >> 32);
}

static uint64_t rnd64(void)
{
	uint64_t high = rnd();

	return high << 32 | rnd();
}

static struct weights equal(unsigned int nodes, uint16_t weight)
{
	struct weights w = { 0 };

	for (unsigned int id = 1; id <= nodes; id++)
		w.w[id] = weight;
	return w;
}

static struct weights random_weights(void)
{
	struct weights w = { 0 };
	unsigned int nodes = 1 + rnd() % NODES_MAX, range = rnd() % 3 ? 200 : 65536;

	for (unsigned int id = 1; id <= nodes; id++)
		w.w[id] = (uint16_t)(rnd() % 5 ? rnd() % range : 0);
	return w;
}

static void count(const uint8_t *table, uint32_t buckets, uint32_t have[NODES_MAX + 1])
{
	memset(have, 0, (NODES_MAX + 1) * sizeof(*have));
	for (uint32_t b = 0; b < buckets; b++)
		have[table[b]]++;
}

static uint32_t digest(const uint8_t *table, uint32_t buckets)
{
	uint32_t h = 2166136261u;	/* FNV-1a */

	for (uint32_t b = 0; b < buckets; b++)
		h = (h ^ table[b]) * 16777619u;
	return h;
}

static uint32_t share(uint32_t buckets, uint32_t salt, const struct weights *w)
{
	uint32_t moves = assign_share(owner, NULL, NULL, buckets, salt, w, next, &scratch);

	memcpy(owner, next, buckets);
	return moves;
}

/* log2 of the table and the lines between, against a bitwise logarithm (squaring). */
static uint64_t neglog2_slow(uint32_t u)
{
	uint64_t v = ((uint64_t)u << 1) + 1, out;
	unsigned int top = 63 - (unsigned int)__builtin_clzll(v);
	unsigned __int128 m = (unsigned __int128)v << (62 - top);	/* 1 <= m / 2^62 < 2 */

	out = (uint64_t)(33 - top) << 26;
	for (unsigned int bit = 26; bit-- > 0;) {
		m = m * m >> 62;
		if (m >> 63) {
			m >>= 1;
			out -= UINT64_C(1) << bit;
		}
	}
	return out;
}

static void neglog2_near(uint32_t u)
{
	int64_t diff = (int64_t)assign_neglog2(u) - (int64_t)neglog2_slow(u);

	assert_in_range(diff + (1 << 10), 0, 1 << 11);
}

static void test_neglog2(void **state)
{
	assert_int_equal(assign_neglog2(0), 33u << 26);
	assert_int_equal(assign_neglog2(UINT32_MAX), 1);
	assert_in_range(assign_neglog2(UINT32_C(1) << 31), (1 << 26) - 1, 1 << 26);
	seed = 1;
	for (unsigned int bit = 0; bit < 32; bit++) {
		neglog2_near(UINT32_C(1) << bit);
		neglog2_near((UINT32_C(1) << bit) - 1);
	}
	for (unsigned int i = 0; i < 100000; i++) {
		uint32_t u = rnd() >> rnd() % 32;

		neglog2_near(u);
		if (u < UINT32_MAX)
			assert_true(assign_neglog2(u) >= assign_neglog2(u + 1));
	}
}

static void test_targets_by_hand(void **state)
{
	struct weights w = { .w = { [1] = 50, [2] = 100, [3] = 100 } };
	uint32_t t[NODES_MAX + 1];

	/* 64 * {50,100,100}/250 = 12.8, 25.6, 25.6: two left over, for .8 and one of the .6 */
	assign_targets(&w, 64, 7, t);
	assert_int_equal(t[1], 13);
	assert_int_equal(t[2] + t[3], 51);
	assert_true(t[2] == 25 || t[2] == 26);

	/* 4096 * {5,3,1}/9 = 2275.56, 1365.33, 455.11 */
	w = (struct weights){ .w = { [4] = 5, [9] = 3, [64] = 1 } };
	assign_targets(&w, 4096, 7, t);
	assert_int_equal(t[4], 2276);
	assert_int_equal(t[9], 1365);
	assert_int_equal(t[64], 455);

	/* 64 * {6,3,1}/10 = 38.4, 19.2, 6.4: one left over, for one of the .4 */
	w = (struct weights){ .w = { [1] = 6, [2] = 3, [3] = 1 } };
	assign_targets(&w, 64, 7, t);
	assert_int_equal(t[2], 19);
	assert_int_equal(t[1] + t[3], 45);

	/* 65536 over three: one gets 21846, the choice is by salt and every node is chosen by some */
	unsigned int extra[4] = { 0 };

	w = equal(3, 100);
	for (uint32_t salt = 0; salt < 300; salt++) {
		assign_targets(&w, 65536, salt, t);
		assert_int_equal(t[1] + t[2] + t[3], 65536);
		for (unsigned int id = 1; id <= 3; id++) {
			assert_in_range(t[id], 21845, 21846);
			extra[id] += t[id] - 21845;
		}
	}
	for (unsigned int id = 1; id <= 3; id++)
		assert_in_range(extra[id], 60, 140);

	/* the greatest numbers there are, and a weight too small for a bucket */
	w = equal(NODES_MAX, UINT16_MAX);
	assign_targets(&w, 65536, 7, t);
	for (unsigned int id = 1; id <= NODES_MAX; id++)
		assert_int_equal(t[id], 1024);
	w.w[5] = 1;
	assign_targets(&w, 64, 7, t);
	assert_int_equal(t[5], 0);
}

static void test_targets_random(void **state)
{
	seed = 2;
	for (unsigned int i = 0; i < 20000; i++) {
		struct weights w = random_weights();
		uint32_t buckets = 64u << rnd() % 11, t[NODES_MAX + 1], sum = 0;
		uint64_t whole = 0, least_up = UINT64_MAX, most_down = 0;

		for (unsigned int id = 1; id <= NODES_MAX; id++)
			whole += w.w[id];
		assign_targets(&w, buckets, rnd(), t);
		assert_int_equal(t[NOBODY], whole ? 0 : buckets);
		for (unsigned int id = 0; id <= NODES_MAX; id++)
			sum += t[id];
		assert_int_equal(sum, buckets);
		for (unsigned int id = 1; whole && id <= NODES_MAX; id++) {
			uint64_t floor = (uint64_t)buckets * w.w[id] / whole;
			uint64_t rest = (uint64_t)buckets * w.w[id] % whole;

			assert_true(t[id] == floor || (rest && t[id] == floor + 1));
			if (t[id] > floor && rest < least_up)
				least_up = rest;
			if (t[id] == floor && rest > most_down)
				most_down = rest;
		}
		/* nobody was rounded down with a greater remainder than one that was rounded up */
		assert_true(most_down <= least_up);
	}
}

/* Any table, any weights: exact targets, as few moves as the excess, givers and takers only. */
static void test_share_random(void **state)
{
	seed = 3;
	for (unsigned int i = 0; i < 3000; i++) {
		struct weights w = random_weights();
		uint32_t buckets = 64u << rnd() % 6, salt = rnd(), moves, moved = 0, excess = 0;
		uint32_t have[NODES_MAX + 1], want[NODES_MAX + 1], got[NODES_MAX + 1];
		unsigned int spread = 1 + rnd() % (NODES_MAX + 1);

		for (uint32_t b = 0; b < buckets; b++)
			owner[b] = (uint8_t)(rnd() % spread);
		count(owner, buckets, have);
		assign_targets(&w, buckets, salt, want);
		memset(next, 0xff, buckets);
		moves = assign_share(owner, NULL, NULL, buckets, salt, &w, next, &scratch);
		count(next, buckets, got);
		assert_memory_equal(got, want, sizeof(got));
		for (unsigned int id = 0; id <= NODES_MAX; id++)
			excess += have[id] > want[id] ? have[id] - want[id] : 0;
		for (uint32_t b = 0; b < buckets; b++) {
			if (next[b] == owner[b])
				continue;
			moved++;
			assert_true(have[owner[b]] > want[owner[b]]);
			assert_true(have[next[b]] < want[next[b]]);
		}
		assert_int_equal(moves, excess);
		assert_int_equal(moved, excess);

		/* done means done; and in place is the same */
		assert_int_equal(assign_share(next, NULL, NULL, buckets, salt, &w, aux, &scratch), 0);
		assert_memory_equal(aux, next, buckets);
		assert_int_equal(assign_share(owner, NULL, NULL, buckets, salt, &w, owner, &scratch), moves);
		assert_memory_equal(owner, next, buckets);
	}
}

static void test_share_no_weight(void **state)
{
	struct weights w = equal(3, 100);
	uint32_t have[NODES_MAX + 1];

	memset(owner, NOBODY, 4096);
	assert_int_equal(share(4096, 1, &w), 4096);
	w.w[2] = 0;
	share(4096, 1, &w);
	count(owner, 4096, have);
	assert_int_equal(have[2], 0);
	assert_int_equal(have[1], 2048);

	w = equal(0, 0);
	w.w[NOBODY] = 9;	/* not looked at */
	assert_int_equal(share(4096, 1, &w), 4096);
	count(owner, 4096, have);
	assert_int_equal(have[NOBODY], 4096);
	assert_int_equal(share(4096, 1, &w), 0);
	assert_int_equal(assign_heir(5, 1, &w, 0), NOBODY);
}

static void test_share_pinned(void **state)
{
	seed = 4;
	for (unsigned int i = 0; i < 3000; i++) {
		struct weights w = random_weights();
		uint32_t buckets = 64u << rnd() % 5, salt = rnd(), moves, moved = 0, could = 0, lack = 0;
		uint32_t have[NODES_MAX + 1], want[NODES_MAX + 1], got[NODES_MAX + 1];
		uint32_t loose[NODES_MAX + 1] = { 0 };
		unsigned int spread = 1 + rnd() % (NODES_MAX + 1), part = 1 + rnd() % 6;

		for (uint32_t b = 0; b < buckets; b++) {
			owner[b] = (uint8_t)(rnd() % spread);
			pinned[b] = (uint8_t)(rnd() % part ? 0xfe : 0);
			loose[owner[b]] += !pinned[b];
		}
		count(owner, buckets, have);
		assign_targets(&w, buckets, salt, want);
		moves = assign_share(owner, pinned, NULL, buckets, salt, &w, next, &scratch);
		count(next, buckets, got);
		for (uint32_t b = 0; b < buckets; b++) {
			assert_true(!pinned[b] || next[b] == owner[b]);
			moved += next[b] != owner[b];
		}
		for (unsigned int id = 0; id <= NODES_MAX; id++) {
			uint32_t excess = have[id] > want[id] ? have[id] - want[id] : 0;

			could += excess < loose[id] ? excess : loose[id];
			lack += have[id] < want[id] ? want[id] - have[id] : 0;
		}
		assert_int_equal(moves, could);
		assert_int_equal(moved, could);
		/* nobody past its target, and the shortage is spread in proportion */
		for (unsigned int id = 0; id <= NODES_MAX; id++) {
			if (have[id] >= want[id]) {
				assert_in_range(got[id], want[id], have[id]);
			} else {
				uint64_t fair = (uint64_t)could * (want[id] - have[id]) / lack;

				assert_in_range(got[id], have[id] + fair, have[id] + fair + 1);
				assert_true(got[id] <= want[id]);
			}
		}
		/* a pinned bucket that need not move changes nothing */
		memset(pinned, 0, buckets);
		assign_share(owner, pinned, NULL, buckets, salt, &w, next, &scratch);
		assign_share(owner, NULL, NULL, buckets, salt, &w, aux, &scratch);
		assert_memory_equal(next, aux, buckets);
	}
}

/* first[] says which buckets go, not how many go nor to whom how many; and not those that are pinned. */
static void test_share_first(void **state)
{
	static uint8_t first[BUCKETS_MAX];
	unsigned int used = 0, short_of = 0;

	seed = 14;
	for (unsigned int i = 0; i < 3000; i++) {
		struct weights w = random_weights();
		uint32_t buckets = 64u << rnd() % 5, salt = rnd(), moves;
		uint32_t plain[NODES_MAX + 1], got[NODES_MAX + 1];
		uint32_t gone[NODES_MAX + 1] = { 0 }, ready[NODES_MAX + 1] = { 0 };
		uint32_t gone_first[NODES_MAX + 1] = { 0 };
		unsigned int spread = 1 + rnd() % (NODES_MAX + 1), part = 1 + rnd() % 6;

		for (uint32_t b = 0; b < buckets; b++) {
			owner[b] = (uint8_t)(rnd() % spread);
			first[b] = (uint8_t)(rnd() % part ? 0 : 0x80);
			pinned[b] = rnd() % 8 == 0;
			ready[owner[b]] += first[b] && !pinned[b];
		}
		moves = assign_share(owner, pinned, NULL, buckets, salt, &w, aux, &scratch);
		assert_int_equal(assign_share(owner, pinned, first, buckets, salt, &w, next, &scratch), moves);
		count(aux, buckets, plain);
		count(next, buckets, got);
		assert_memory_equal(plain, got, sizeof(got));
		for (uint32_t b = 0; b < buckets; b++) {
			assert_true(!pinned[b] || next[b] == owner[b]);
			gone[owner[b]] += next[b] != owner[b];
			gone_first[owner[b]] += next[b] != owner[b] && first[b];
		}
		for (unsigned int id = 0; id <= NODES_MAX; id++) {
			assert_int_equal(gone_first[id], gone[id] < ready[id] ? gone[id] : ready[id]);
			used += gone_first[id] != 0;
			short_of += gone[id] > ready[id] && ready[id];
		}
		/* in place, and with none or all of them first: as without */
		memcpy(aux, owner, buckets);
		assign_share(aux, pinned, first, buckets, salt, &w, aux, &scratch);
		assert_memory_equal(aux, next, buckets);
		assign_share(owner, pinned, NULL, buckets, salt, &w, aux, &scratch);
		memset(first, (int)(i & 1), buckets);
		assign_share(owner, pinned, first, buckets, salt, &w, next, &scratch);
		assert_memory_equal(aux, next, buckets);
	}
	assert_true(used > 1000 && short_of > 1000);
}

/* Only proportions count: weights that are ten times finer give the same layouts and the same heirs. */
static void test_scale(void **state)
{
	unsigned int full = 0;

	seed = 15;
	for (unsigned int i = 0; i < 3000; i++) {
		struct weights w = random_weights(), fine = { 0 };
		uint32_t buckets = 64u << rnd() % 7, salt = rnd(), a[NODES_MAX + 1], b[NODES_MAX + 1];
		uint64_t lost = rnd64() & rnd64() & rnd64();

		for (unsigned int id = 1; id <= NODES_MAX; id++) {
			if (i % 10 == 0)	/* as large as they get, and all of them */
				w.w[id] = (uint16_t)(990 + rnd() % 11);
			w.w[id] %= 1001;
			full += w.w[id] == 1000;
			fine.w[id] = (uint16_t)(10 * w.w[id]);
		}
		for (uint32_t k = 0; k < buckets; k++)
			owner[k] = (uint8_t)(rnd() % (NODES_MAX + 1));
		assign_targets(&w, buckets, salt, a);
		assign_targets(&fine, buckets, salt, b);
		assert_memory_equal(a, b, sizeof(a));
		assert_int_equal(assign_share(owner, NULL, NULL, buckets, salt, &w, next, &scratch),
				 assign_share(owner, NULL, NULL, buckets, salt, &fine, aux, &scratch));
		assert_memory_equal(next, aux, buckets);
		for (uint32_t k = 0; k < 64; k++)
			assert_int_equal(assign_heir(k, salt, &w, lost), assign_heir(k, salt, &fine, lost));
	}
	assert_true(full > 100);
}

/* Equal weights: a node goes and comes back; nothing moves between the others, and it knows its own. */
static void test_return(void **state)
{
	for (unsigned int nodes = 2; nodes <= NODES_MAX; nodes++) {
		struct weights w = equal(nodes, 100);
		uint32_t buckets = 4096, own = 0, same = 0, t[NODES_MAX + 1];
		unsigned int back = nodes % 2 ? nodes : 1 + nodes / 2;

		memset(owner, NOBODY, buckets);
		for (unsigned int up = 1; up <= nodes; up++) {	/* they come one by one */
			struct weights some = equal(up, 100);

			memcpy(aux, owner, buckets);
			share(buckets, 77, &some);
			for (uint32_t b = 0; b < buckets; b++)
				assert_true(owner[b] == aux[b] || owner[b] == up);
		}
		memcpy(pinned, owner, buckets);		/* the table with all of them */
		w.w[back] = 0;
		for (uint32_t b = 0; b < buckets; b++)
			if (owner[b] == back)
				owner[b] = (uint8_t)assign_heir(b, 77, &w, node_bit(back));
		share(buckets, 77, &w);
		memcpy(aux, owner, buckets);
		w.w[back] = 100;
		assign_targets(&w, buckets, 77, t);
		assert_int_equal(share(buckets, 77, &w), t[back]);
		for (uint32_t b = 0; b < buckets; b++) {
			assert_true(owner[b] == aux[b] || owner[b] == back);
			own += pinned[b] == back;
			same += pinned[b] == back && owner[b] == back;
		}
		/* the last to come had chosen by the same hash, so it finds most of its own */
		if (back == nodes)
			assert_true(same * 100 >= own * (nodes <= 11 ? 90 : 40));
	}
}

/*
 * With unequal weights largest remainders may raise a third node's target by one when another comes
 * (the "new states paradox"); never by more.
 */
static void test_return_unequal(void **state)
{
	seed = 5;
	for (unsigned int i = 0; i < 3000; i++) {
		struct weights w = random_weights();
		uint32_t buckets = 64u << rnd() % 7, before[NODES_MAX + 1], after[NODES_MAX + 1];
		unsigned int back = 1 + rnd() % NODES_MAX;
		uint32_t gained[NODES_MAX + 1] = { 0 };

		w.w[back] = 0;
		assign_targets(&w, buckets, 5, before);
		if (before[NOBODY])
			continue;
		memset(owner, NOBODY, buckets);
		share(buckets, 5, &w);
		memcpy(aux, owner, buckets);
		w.w[back] = (uint16_t)(1 + rnd() % 200);
		assign_targets(&w, buckets, 5, after);
		share(buckets, 5, &w);
		for (uint32_t b = 0; b < buckets; b++)
			if (owner[b] != aux[b] && owner[b] != back)
				gained[owner[b]]++;
		for (unsigned int id = 1; id <= NODES_MAX; id++) {
			assert_true(gained[id] <= 1);
			assert_true(!gained[id] || after[id] == before[id] + 1);
		}
	}
}

/* Which buckets move depends on the table, not on how it came about; and not on their numbers. */
static void test_share_is_a_function(void **state)
{
	struct weights w = equal(8, 100);
	uint32_t low = 0, moves;

	seed = 6;
	memset(owner, 1, 4096);
	moves = assign_share(owner, NULL, NULL, 4096, 9, &w, next, &scratch);
	assert_int_equal(moves, 4096 - 512);
	for (unsigned int i = 0; i < 3; i++) {
		memset(&scratch, (int)rnd(), sizeof(scratch));
		assign_share(owner, NULL, NULL, 4096, 9, &w, aux, &scratch);
		assert_memory_equal(next, aux, 4096);
	}
	for (uint32_t b = 0; b < 2048; b++)
		low += next[b] == 1;
	assert_in_range(low, 200, 312);
	assign_share(owner, NULL, NULL, 4096, 10, &w, aux, &scratch);
	assert_memory_not_equal(next, aux, 4096);
}

static void test_heir_monotone(void **state)
{
	unsigned int same = 0;

	seed = 7;
	for (unsigned int i = 0; i < 100000; i++) {
		struct weights w = random_weights();
		uint32_t b = rnd() % BUCKETS_MAX, salt = rnd();
		uint64_t a = rnd64() & rnd64(), more = a | (rnd64() & rnd64());
		uint64_t c = rnd64() & rnd64();
		unsigned int heir = assign_heir(b, salt, &w, a), far = assign_heir(b, salt, &w, more);
		unsigned int other = assign_heir(b, salt, &w, c);

		if (heir != NOBODY) {
			assert_false(mask_has(a, heir));
			assert_true(w.w[heir] > 0);
		} else {
			assert_int_equal(far, NOBODY);
		}
		if (!mask_has(more, heir))
			assert_int_equal(far, heir);
		/* two survivors with views a and c: either the same heir, or one has lost the other's */
		if (heir != NOBODY && other != NOBODY && heir != other)
			assert_true(mask_has(a, other) || mask_has(c, heir));
		same += heir == other;
		assert_int_equal(heir, assign_heir(b, salt, &w, a));
	}
	assert_in_range(same, 20000, 90000);	/* the cases above were not all of one kind */
}

static void test_heir_none(void **state)
{
	struct weights w = equal(64, 100);

	assert_int_equal(assign_heir(1, 2, &w, UINT64_MAX), NOBODY);
	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		assert_int_equal(assign_heir(1, 2, &w, ~node_bit(id)), id);
		w.w[id] = 0;
		assert_int_equal(assign_heir(1, 2, &w, ~node_bit(id)), NOBODY);
	}
}

/* Heirs follow the weights: within 2 % plus four standard deviations, and chi-square overall. */
static void even(const struct weights *w, const uint32_t *have, uint32_t total, uint64_t lost)
{
	uint64_t whole = 0;
	double chi = 0;
	unsigned int nodes = 0;

	for (unsigned int id = 1; id <= NODES_MAX; id++)
		whole += mask_has(lost, id) ? 0 : w->w[id];
	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		double want = (double)total * w->w[id] / (double)whole, diff;

		if (mask_has(lost, id) || !w->w[id]) {
			assert_int_equal(have[id], 0);
			continue;
		}
		diff = have[id] - want;
		nodes++;
		chi += diff * diff / want;
		assert_true(diff * diff <= 16 * want || diff * diff <= 0.0004 * want * want);
	}
	/* mean n - 1, deviation sqrt(2 (n - 1)): 5 deviations away */
	assert_true((chi - (nodes - 1)) * (chi - (nodes - 1)) <= 25 * 2 * nodes);
}

static void test_heir_even(void **state)
{
	static const uint16_t set[][NODES_MAX + 1] = {
		{ 0, 100, 100, 100 }, { 0, 100, 100, 50 }, { 0, 1, 2, 3, 4, 5 }, { 0, 1000, 10, 100 },
		{ 0, 65535, 32768, 16384 }, { 0, 100, 0, 1, 100 },
	};
	uint32_t have[NODES_MAX + 1];
	struct weights w;

	for (unsigned int i = 0; i < sizeof(set) / sizeof(set[0]) + 1; i++) {
		if (i < sizeof(set) / sizeof(set[0]))
			memcpy(w.w, set[i], sizeof(w.w));
		else
			w = equal(64, 100);
		for (uint32_t salt = 0; salt < 4; salt++) {
			for (uint32_t b = 0; b < BUCKETS_MAX; b++)
				next[b] = (uint8_t)assign_heir(b, salt, &w, 0);
			count(next, BUCKETS_MAX, have);
			even(&w, have, BUCKETS_MAX, 0);
		}
	}
}

/* The nodes came one by one and took their shares: the heirs of each one's buckets are even still. */
static void test_heir_of_shares_even(void **state)
{
	for (unsigned int nodes = 3; nodes <= 5; nodes++) {
		struct weights w = equal(nodes, 100);

		memset(owner, NOBODY, BUCKETS_MAX);
		for (unsigned int up = 1; up <= nodes; up++) {
			struct weights some = equal(up, 100);

			share(BUCKETS_MAX, 3, &some);
		}
		for (unsigned int gone = 1; gone <= nodes; gone++) {
			uint32_t have[NODES_MAX + 1] = { 0 }, total = 0;

			for (uint32_t b = 0; b < BUCKETS_MAX; b++) {
				if (owner[b] != gone)
					continue;
				have[assign_heir(b, 3, &w, node_bit(gone))]++;
				total++;
			}
			even(&w, have, total, node_bit(gone));
		}
	}
}

/* What versions of clusterd agree on.  If this fails, the protocol version must be raised. */
static void test_golden(void **state)
{
	struct weights w = { .w = { [1] = 100, [2] = 100, [3] = 50, [4] = 0, [64] = 300 } };
	uint32_t t[NODES_MAX + 1];

	assert_int_equal(hash2(1, 2, 3), 0xbf2de348);
	assert_int_equal(assign_neglog2(0x12345678), 0xf4151ed);
	for (uint32_t b = 0; b < 4096; b++)
		next[b] = (uint8_t)assign_heir(b, 0xc1d, &w, node_bit(2));
	assert_int_equal(digest(next, 4096), 0x243fc3f5);
	assign_targets(&w, 4096, 0xc1d, t);
	assert_int_equal(t[1], 745);
	assert_int_equal(t[2], 745);
	assert_int_equal(t[3], 372);
	memset(owner, NOBODY, 4096);
	share(4096, 0xc1d, &w);
	assert_int_equal(digest(owner, 4096), 0x5bbe6694);
	w.w[2] = 0;
	share(4096, 0xc1d, &w);
	assert_int_equal(digest(owner, 4096), 0x9ccf452e);
	w.w[2] = 100;
	share(4096, 0xc1d, &w);
	assert_int_equal(digest(owner, 4096), 0xfa2b84ce);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neglog2),
		cmocka_unit_test(test_targets_by_hand),
		cmocka_unit_test(test_targets_random),
		cmocka_unit_test(test_share_random),
		cmocka_unit_test(test_share_no_weight),
		cmocka_unit_test(test_share_pinned),
		cmocka_unit_test(test_share_first),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_return),
		cmocka_unit_test(test_return_unequal),
		cmocka_unit_test(test_share_is_a_function),
		cmocka_unit_test(test_heir_monotone),
		cmocka_unit_test(test_heir_none),
		cmocka_unit_test(test_heir_even),
		cmocka_unit_test(test_heir_of_shares_even),
		cmocka_unit_test(test_golden),
	};

	return cmocka_run_group_tests_name("assign", tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policies that come with clusterd: 'load' and 'wlc' in a closed loop with modelled nodes, the
 * memory policies against values computed by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "plug/plugin.h"

extern const struct clusterd_plugin clusterd_plugin_policy_load, clusterd_plugin_policy_wlc,
	clusterd_plugin_policy_memory_1, clusterd_plugin_policy_memory_2;

static const struct clusterd_plugin *const all[] = {
	&clusterd_plugin_policy_load, &clusterd_plugin_policy_wlc,
	&clusterd_plugin_policy_memory_1, &clusterd_plugin_policy_memory_2,
};

#define N_MAX 64u

static uint64_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 32);
}

static void ask(const struct clusterd_plugin *p, const struct clusterd_policy_node *node, uint32_t n,
		uint32_t *factor)
{
	struct clusterd_policy_in in = { .size = sizeof(in), .n = n, .node = node,
					 .process_memory_kb = 3500, .connections_per_minute = 2000 };

	p->policy->factors(&in, factor);
}

/* ---- a cluster whose nodes answer to their shares ---- */

struct world {
	const struct clusterd_plugin *policy;
	uint32_t n, step;		/* step: per mille of the whole that may move per interval; 0: all */
	double speed[N_MAX];		/* 1: the load of a share s is s * demand */
	double demand;
	uint32_t noise;			/* measured values are off by up to that */
	struct clusterd_policy_node node[N_MAX];
	double seen[N_MAX];		/* measured in the interval before, under the factors of then */
	double moved;			/* share that has moved, all in all */
	double most;			/* in one interval */
};

static void world_init(struct world *w, const struct clusterd_plugin *policy, uint32_t n,
		       double demand, uint32_t step)
{
	memset(w, 0, sizeof(*w));
	w->policy = policy;
	w->n = n;
	w->demand = demand;
	w->step = step;
	for (uint32_t i = 0; i < n; i++) {
		w->speed[i] = 1;
		w->node[i] = (struct clusterd_policy_node){ .id = i + 1, .base = 100, .factor = 1000,
							    .known = 1 };
		w->seen[i] = -1;
	}
}

static void shares(const struct world *w, double *s)
{
	double sum = 0;

	for (uint32_t i = 0; i < w->n; i++)
		sum += w->node[i].base * (double)w->node[i].factor;
	for (uint32_t i = 0; i < w->n; i++)
		s[i] = w->node[i].base * (double)w->node[i].factor / sum;
}

/* What a node would measure now, without noise: load in per mille, or connections. */
static double busy(const struct world *w, uint32_t i)
{
	double s[N_MAX];

	shares(w, s);
	return s[i] * w->demand / w->speed[i];
}

static double moves(const struct world *w, const double *before)
{
	double after[N_MAX], sum = 0;

	shares(w, after);
	for (uint32_t i = 0; i < w->n; i++)
		sum += after[i] > before[i] ? after[i] - before[i] : 0;
	return sum;
}

/* As the host does it: part of the way, so that no more than 'step' moves. */
static void follow(struct world *w, const uint32_t *factor)
{
	uint32_t old[N_MAX];
	double before[N_MAX], m = 0;

	shares(w, before);
	for (uint32_t i = 0; i < w->n; i++)
		old[i] = w->node[i].factor;
	for (int part = 64; part >= 0; part--) {
		for (uint32_t i = 0; i < w->n; i++)
			w->node[i].factor = (uint32_t)((int64_t)old[i] +
						       ((int64_t)factor[i] - old[i]) * part / 64);
		m = moves(w, before);
		if (!w->step || m <= w->step / 1000.0)
			break;
	}
	w->moved += m;
	w->most = m > w->most ? m : w->most;
}

static void interval(struct world *w)
{
	uint32_t factor[N_MAX];
	double now[N_MAX];

	for (uint32_t i = 0; i < w->n; i++) {
		double x = w->seen[i] < 0 ? busy(w, i) : w->seen[i];

		if (w->noise)
			x += (double)(rnd() % (2 * w->noise + 1)) - w->noise;
		x = x < 0 ? 0 : x;
		w->node[i].load = x > 1000 ? 1000 : (uint32_t)x;
		w->node[i].connections = (uint32_t)x;
		now[i] = busy(w, i);
	}
	ask(w->policy, w->node, w->n, factor);
	follow(w, factor);
	memcpy(w->seen, now, sizeof(now));
}

static double spread(const struct world *w)
{
	double min = 1e9, max = 0;

	for (uint32_t i = 0; i < w->n; i++) {
		double x = busy(w, i) * 100 / w->node[i].base;

		min = x < min ? x : min;
		max = x > max ? x : max;
	}
	return max - min;
}

/*
 * Node 0 has half the speed.  Its share must go down to where the spread is below a third, and never
 * up again on the way or later: no swinging, with or without a limit on what moves at a time.
 */
static void half_speed(const struct clusterd_plugin *policy, uint32_t n, double demand, uint32_t step)
{
	struct world w;
	double start, least = 1;
	int when = -1;

	world_init(&w, policy, n, demand, step);
	w.speed[0] = 0.5;
	start = spread(&w);
	for (int t = 0; t < 300; t++) {
		double s[N_MAX];

		interval(&w);
		shares(&w, s);
		assert_true(s[0] <= least + 0.002);
		least = s[0] < least ? s[0] : least;
		if (when < 0 && spread(&w) < start / 3)
			when = t;
	}
	print_message("%s: %u nodes, demand %.0f, step %u: spread %.0f -> %.0f, a third after %d\n",
		      policy->name, n, demand, step, start, spread(&w), when);
	assert_true(spread(&w) < start / 3);
	assert_true(when >= 0 && when < 80);
	if (step)
		assert_true(w.most <= step / 1000.0);
	/* settled: nothing moves any more */
	w.moved = 0;
	for (int t = 0; t < 100; t++)
		interval(&w);
	assert_true(w.moved == 0);
}

static void test_half_speed(void **state)
{
	for (uint32_t step = 0; step <= 20; step += 10) {
		half_speed(all[0], 2, 1300, step);
		half_speed(all[0], 2, 700, step);
		half_speed(all[0], 2, 400, step);
		half_speed(all[0], 4, 2000, step);
		half_speed(all[0], 8, 4500, step);
		half_speed(all[1], 2, 3000, step);
		half_speed(all[1], 8, 30000, step);
	}
}

/* Speeds of all sorts, no limit on moves: settles, and within the band. */
static void test_speeds(void **state)
{
	static const double speed[] = { 1, 0.5, 2, 0.25, 1.5, 1, 0.75, 3 };
	struct world w;
	double start;

	for (unsigned int p = 0; p < 2; p++) {
		world_init(&w, all[p], 8, p ? 40000 : 3000, 0);
		memcpy(w.speed, speed, sizeof(speed));
		start = spread(&w);
		for (int t = 0; t < 100; t++)
			interval(&w);
		assert_true(spread(&w) < start / 3);
		w.moved = 0;
		for (int t = 0; t < 100; t++)
			interval(&w);
		assert_true(w.moved == 0);
	}
}

/* Saturated nodes all say 1000; what is measurable decides. */
static void test_overload(void **state)
{
	struct world w;

	world_init(&w, all[0], 2, 1900, 10);
	w.speed[0] = 0.25;
	for (int t = 0; t < 200; t++)
		interval(&w);
	/* 0 is at 1000 until it has next to nothing; 1 has as much as it can take */
	assert_true(busy(&w, 1) > 900);
	world_init(&w, all[0], 2, 4000, 10);
	for (int t = 0; t < 50; t++)
		interval(&w);
	assert_int_equal(w.node[0].factor, 1000);
	assert_int_equal(w.node[1].factor, 1000);
}

static void test_noise(void **state)
{
	struct world w;

	seed = 7;
	world_init(&w, all[0], 4, 2400, 10);
	w.speed[2] = 0.5;
	w.noise = 60;
	for (int t = 0; t < 200; t++)
		interval(&w);
	w.moved = w.most = 0;
	for (int t = 0; t < 200; t++) {
		interval(&w);
		assert_true(spread(&w) < 120);
	}
	print_message("noise 60: %.1f per mille move per interval\n", w.moved * 1000 / 200);
	assert_true(w.moved > 0 && w.moved * 1000 / 200 < 3);
}

/* Equal nodes under a rising and falling load: equal shares all the time. */
static void test_ramp(void **state)
{
	struct world w;

	world_init(&w, all[0], 4, 0, 10);
	for (int t = 0; t < 200; t++) {
		w.demand = t < 100 ? t * 40 : (200 - t) * 40;
		interval(&w);
	}
	assert_true(w.moved == 0);
}

/* A node falls ill (something else eats its processors), keeps a trickle, gets well, gets its share back. */
static void test_sick(void **state)
{
	struct world w;
	uint32_t least;

	world_init(&w, all[0], 4, 1600, 10);
	for (int t = 0; t < 20; t++)
		interval(&w);
	assert_int_equal(w.node[1].factor, 1000);
	w.speed[1] = 0.001;
	for (int t = 0; t < 200; t++)
		interval(&w);
	least = w.node[1].factor;
	assert_in_range(least, 20, 30);
	w.speed[1] = 1;
	for (int t = 0; t < 400; t++)
		interval(&w);
	assert_in_range(w.node[1].factor, 850, 1000);
	assert_true(spread(&w) < 60);
}

/* Two nodes with weights 100 and 300 and equal speed: the connections are 1 : 3 already. */
static void test_wlc_base(void **state)
{
	struct world w;

	world_init(&w, all[1], 2, 8000, 10);
	w.node[1].base = 300;
	for (int t = 0; t < 50; t++)
		interval(&w);
	assert_true(w.moved == 0);
	w.speed[1] = 0.5;
	for (int t = 0; t < 200; t++)
		interval(&w);
	assert_true(busy(&w, 0) * 3 > busy(&w, 1) * 0.8);
	assert_true(busy(&w, 0) * 3 < busy(&w, 1) * 1.25);
}

/* ---- single steps ---- */

static struct clusterd_policy_node a_node(uint32_t id, uint32_t factor, uint32_t load)
{
	return (struct clusterd_policy_node){ .id = id, .base = 100, .factor = factor, .known = 1,
					      .load = load, .connections = load };
}

static void test_load_steps(void **state)
{
	struct clusterd_policy_node n[3] = { a_node(1, 1000, 90), a_node(2, 500, 10),
					     a_node(3, 20, 99) };
	uint32_t f[3];

	/* idle: as it is */
	ask(all[0], n, 3, f);
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 500);
	assert_int_equal(f[2], 20);
	/* within the band of 1/16 of 500: as it is */
	n[0].load = 500;
	n[1].load = 525;
	n[2].load = 475;
	ask(all[0], n, 3, f);
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 500);
	assert_int_equal(f[2], 20);
	/* by hand: mean 500; 800: 1 - 0.2 * 300/800 = 0.925; 200: 1 + 0.2 * 300/500 = 1.12 */
	n[0].load = 800;
	n[1].load = 500;
	n[2].load = 200;
	ask(all[0], n, 3, f);
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 541);	/* 500 / 0.925 */
	assert_int_equal(f[2], 24);	/* 20 * 1.12 / 0.925 */
	/* the floor holds, and from nothing a way leads up */
	n[2].load = 1000;
	ask(all[0], n, 3, f);
	assert_int_equal(f[2], 20);
	n[2].factor = 0;
	n[2].load = 0;
	ask(all[0], n, 3, f);
	assert_in_range(f[2], 21, 40);
	/* not known: 1000 stays next to what is 1 - 0.2 * 400/800 and 1 + 0.2 * 300/400 */
	n[0].load = 700;
	n[0].factor = 1000;
	n[1].load = 100;
	n[1].factor = 1000;
	n[2] = (struct clusterd_policy_node){ .id = 3, .base = 100, .factor = 1000, .load = 1000 };
	ask(all[0], n, 3, f);
	assert_int_equal(f[0], 796);	/* (1 - 0.085) / 1.15 */
	assert_int_equal(f[1], 1000);
	assert_int_equal(f[2], 870);	/* 1 / 1.15 */
	/* nobody is known */
	n[0].known = n[1].known = 0;
	ask(all[0], n, 3, f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(f[i], 1000);
}

static void test_wlc_steps(void **state)
{
	struct clusterd_policy_node n[2] = { a_node(1, 1000, 31), a_node(2, 1000, 0) };
	uint32_t f[2];

	ask(all[1], n, 2, f);		/* too few to tell */
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 1000);
	n[0].connections = 110;		/* within a tenth */
	n[1].connections = 92;
	ask(all[1], n, 2, f);
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 1000);
	n[0].connections = 300;		/* 0.9 and 1.1 */
	n[1].connections = 100;
	ask(all[1], n, 2, f);
	assert_int_equal(f[0], 849);	/* mean 200: (1 - 0.066) / 1.1 */
	assert_int_equal(f[1], 1000);
	n[0].base = 300;		/* as the weights say */
	ask(all[1], n, 2, f);
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 1000);
}

static struct clusterd_policy_node mem(uint32_t id, uint32_t free_kb, uint32_t idle)
{
	return (struct clusterd_policy_node){ .id = id, .base = 100, .factor = 1000, .known = 1,
					      .mem_free_kb = free_kb, .cpu_idle = idle };
}

static void test_memory_1(void **state)
{
	/* The paper's mean values under WLC: 16193.8 / 3500 = 4.63, so 5 to 1. */
	struct clusterd_policy_node n[4] = { mem(1, 129680, 1000), mem(2, 145874, 1000),
					     mem(3, 131000, 1000), mem(4, 164680, 1000) };
	uint32_t f[4];

	ask(all[2], n, 2, f);
	assert_int_equal(f[0], 200);
	assert_int_equal(f[1], 1000);
	/* 1, 5, (1320 / 3500 = 0.38: at least) 1, 10 */
	ask(all[2], n, 4, f);
	assert_int_equal(f[0], 100);
	assert_int_equal(f[1], 500);
	assert_int_equal(f[2], 100);
	assert_int_equal(f[3], 1000);
	/* idle counts for a tenth: 10 * 0.9 = 9 and 5 * 0.95 = 4.75; 4.75 / 9, 1 / 9 */
	n[3].cpu_idle = 0;
	n[1].cpu_idle = 500;
	ask(all[2], n, 4, f);
	assert_int_equal(f[0], 111);
	assert_int_equal(f[1], 528);
	assert_int_equal(f[3], 1000);
	/* who waits for the disk or swaps gets nothing; who is not known as much as the least: 1 of 5 * 0.95 */
	n[3].blocked = 1;
	ask(all[2], n, 4, f);
	assert_int_equal(f[3], 0);
	assert_int_equal(f[0], 211);
	assert_int_equal(f[1], 1000);
	n[3].blocked = 0;
	n[3].swapping = 7;
	n[2].known = 0;
	n[2].swapping = 9;
	ask(all[2], n, 4, f);
	assert_int_equal(f[3], 0);
	assert_int_equal(f[2], 211);
	/* equal: equal; all suffer: all nothing */
	n[0] = mem(1, 5000, 300);
	n[1] = mem(2, 5000, 300);
	ask(all[2], n, 2, f);
	assert_int_equal(f[0], 1000);
	assert_int_equal(f[1], 1000);
	n[0].blocked = n[1].swapping = 1;
	ask(all[2], n, 2, f);
	assert_int_equal(f[0], 0);
	assert_int_equal(f[1], 0);
	ask(all[2], n, 1, f);
	assert_int_equal(f[0], 0);
}

static void test_memory_2(void **state)
{
	/* d = 4.626, K = 2000 / 4.626 = 432.3, weights 432.3 and 437.0 */
	struct clusterd_policy_node n[3] = { mem(1, 129680, 0), mem(2, 145874, 1000),
					     mem(3, 0, 0) };
	uint32_t f[3];

	ask(all[3], n, 2, f);
	assert_int_equal(f[0], 989);
	assert_int_equal(f[1], 1000);
	/* d = 400, K = 5: 5, 5 + 100, 5 + 400 of 405 */
	n[0] = mem(1, 1400000, 0);
	n[1] = mem(2, 1750000, 0);
	n[2] = mem(3, 2800000, 0);
	ask(all[3], n, 3, f);
	assert_int_equal(f[0], 12);
	assert_int_equal(f[1], 259);
	assert_int_equal(f[2], 1000);
	n[2].swapping = 1;		/* 5 and 105: its memory is still the measure */
	ask(all[3], n, 3, f);
	assert_int_equal(f[0], 48);
	assert_int_equal(f[1], 1000);
	assert_int_equal(f[2], 0);
	n[2].known = 0;			/* d = 100, K = 20: 20 and 120; the third as the first */
	ask(all[3], n, 3, f);
	assert_int_equal(f[0], 167);
	assert_int_equal(f[1], 1000);
	assert_int_equal(f[2], 167);
	n[0] = n[1] = n[2] = mem(1, 7, 7);
	ask(all[3], n, 3, f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(f[i], 1000);
}

/* ---- everything that fits into the fields ---- */

static uint32_t odd_value(uint32_t max)
{
	switch (rnd() % 4) {
	case 0:
		return 0;
	case 1:
		return max;
	case 2:
		return max ? max - 1 : 0;
	}
	return max == UINT32_MAX ? rnd() : rnd() % (max + 1);
}

/* Its load is known, its memory is not: neither without work, nor with all of it. */
static void test_memory_not_told(void **state)
{
	struct clusterd_policy_node n[3] = {
		{ .id = 1, .base = 100, .factor = 1000, .known = 1, .cpu_idle = 500, .mem_free_kb = 100000 },
		{ .id = 2, .base = 100, .factor = 1000, .known = 1, .cpu_idle = 500, .mem_free_kb = 200000 },
		{ .id = 3, .base = 100, .factor = 1000, .known = 1, .cpu_idle = 500 },
	};
	struct clusterd_policy_in in = { .size = sizeof(in), .n = 3, .node = n, .process_memory_kb = 10000,
					 .connections_per_minute = 20 };
	uint32_t f[3];

	(void)state;
	for (unsigned int p = 2; p < 4; p++) {
		n[0].swapping = n[1].swapping = 0;
		all[p]->policy->factors(&in, f);
		assert_int_equal(f[1], 1000);
		assert_in_range(f[0], 50, 999);
		assert_int_equal(f[2], f[0]);
		n[0].swapping = n[1].swapping = 1;
		all[p]->policy->factors(&in, f);
		assert_int_equal(f[0], 0);
		assert_int_equal(f[1], 0);
		assert_int_equal(f[2], 1000);
	}
}

static void test_any(void **state)
{
	for (unsigned int round = 0; round < 20000; round++) {
		const struct clusterd_plugin *p = all[round % 4];
		struct clusterd_policy_node n[N_MAX];
		uint32_t f[N_MAX + 1], again[N_MAX], max = 0;
		struct clusterd_policy_in in = {
			.size = sizeof(in), .n = 1 + rnd() % N_MAX, .node = n,
			.process_memory_kb = odd_value(UINT32_MAX),
			.connections_per_minute = odd_value(UINT32_MAX),
		};

		memset(f, 0xff, sizeof(f));
		for (uint32_t i = 0; i < in.n; i++)
			n[i] = (struct clusterd_policy_node){
				.id = i + 1, .base = 1 + odd_value(999), .factor = odd_value(1000),
				.known = rnd() % 8 != 0, .load = odd_value(1000),
				.cpu_idle = odd_value(1000), .mem_free_kb = odd_value(UINT32_MAX),
				.blocked = rnd() % 8 ? 0 : odd_value(65535),
				.swapping = rnd() % 8 ? 0 : odd_value(65535),
				.connections = odd_value(UINT32_MAX),
			};
		p->policy->factors(&in, f);
		p->policy->factors(&in, again);
		assert_memory_equal(f, again, in.n * sizeof(f[0]));
		assert_int_equal(f[in.n], UINT32_MAX);
		for (uint32_t i = 0; i < in.n; i++) {
			assert_true(f[i] <= CLUSTERD_FACTOR_MAX);
			max = f[i] > max ? f[i] : max;
			if (round % 4 < 2 && n[i].factor)
				assert_true(f[i] >= 20);
			if (round % 4 >= 2 && n[i].known)
				assert_true((f[i] == 0) == (n[i].blocked || n[i].swapping));
		}
		assert_true(max == CLUSTERD_FACTOR_MAX || max == 0);
	}
}

static void test_descriptors(void **state)
{
	static const char *const name[] = { "load", "wlc", "memory-1", "memory-2" };

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(all[i]->abi, CLUSTERD_PLUGIN_ABI);
		assert_int_equal(all[i]->size, sizeof(struct clusterd_plugin));
		assert_int_equal(all[i]->kind, CLUSTERD_POLICY);
		assert_string_equal(all[i]->name, name[i]);
		assert_null(all[i]->observer);
		assert_int_equal(all[i]->policy->interval_ms, i < 2 ? 5000 : 60000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_half_speed),
		cmocka_unit_test(test_speeds),
		cmocka_unit_test(test_overload),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_ramp),
		cmocka_unit_test(test_sick),
		cmocka_unit_test(test_wlc_base),
		cmocka_unit_test(test_load_steps),
		cmocka_unit_test(test_wlc_steps),
		cmocka_unit_test(test_memory_1),
		cmocka_unit_test(test_memory_2),
		cmocka_unit_test(test_memory_not_told),
		cmocka_unit_test(test_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

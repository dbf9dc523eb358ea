// SPDX-License-Identifier: GPL-2.0-or-later
/* When a node tells its load, and what it tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/report.h"

static struct report r;
static struct sample in, out;
static int64_t now;

static int setup(void **state)
{
	(void)state;
	report_init(&r, 60000);
	in = (struct sample){ .load = 100, .cpu_idle = 900, .mem_free_kb = 800000 };
	now = 5000000;
	return 0;
}

static bool tell(void)
{
	now += 1000;
	return report_sample(&r, &in, now, &out);
}

/* It settles: whatever was news has been told. */
static void told(void)
{
	for (unsigned int i = 0; i < 40; i++)
		tell();
	while (!tell())
		;
}

/* As if it had been there for long. */
static bool tell_load(uint16_t load)
{
	in.load = load;
	r.load = load * 1024u;
	return tell();
}

static void first_sample_is_told(void **state)
{
	(void)state;
	assert_true(tell());
	assert_int_equal(out.load, 100);
	assert_int_equal(out.cpu_idle, 900);
	assert_int_equal(out.mem_free_kb, 800000);
	assert_false(tell());
}

static void at_rest_it_is_told_once_per_refresh(void **state)
{
	(void)state;
	told();
	uint64_t n = r.n_told;

	for (unsigned int i = 0; i < 300; i++)
		tell();
	assert_int_equal(r.n_told - n, 10);
}

static void step_of_the_load_is_news_and_less_is_not(void **state)
{
	(void)state;
	told();
	assert_false(tell_load(125));
	assert_false(tell_load(76));
	assert_true(tell_load(126));
	assert_int_equal(out.load, 126);
	assert_false(tell_load(151));
	assert_true(tell_load(152));
	in.load = 600;
	told();
	assert_false(tell_load(660));	/* of a large one, a tenth */
	assert_false(tell_load(540));
	assert_true(tell_load(661));
}

static void threshold_is_news_once_and_has_hysteresis(void **state)
{
	(void)state;
	in.load = 240;
	told();
	assert_true(tell_load(250));
	assert_false(tell_load(249));	/* to and fro around it */
	assert_false(tell_load(251));
	assert_false(tell_load(225));
	assert_false(tell_load(250));
	assert_true(tell_load(224));
	assert_false(tell_load(249));
	assert_true(tell_load(250));
}

static void never_more_often_than_the_least_interval(void **state)
{
	uint64_t n;

	(void)state;
	told();
	n = r.n_told;
	for (unsigned int i = 0; i < 1000; i++) {	/* 100 s of a load that jumps, ten times a second */
		in.load = i % 50 < 25 ? 1000 : 0;
		now += 100;
		report_sample(&r, &in, now, &out);
	}
	assert_in_range(r.n_told - n, 70, 100);
}

static void load_is_smoothed(void **state)
{
	unsigned int low = 1000, high = 0;
	uint64_t n;

	(void)state;
	in.load = 500;
	told();
	n = r.n_told;
	for (unsigned int i = 0; i < 60; i++) {
		in.load = i % 2 ? 540 : 460;
		tell();
		low = out.load < low ? out.load : low;
		high = out.load > high ? out.load : high;
	}
	assert_in_range(r.n_told - n, 1, 2);	/* the refresh */
	assert_in_range(low, 475, 500);
	assert_in_range(high, 500, 525);
	in.load = 1000;
	for (unsigned int i = 0; i < 6; i++)
		tell();
	assert_in_range(out.load, 930, 970);
	for (unsigned int i = 0; i < 20; i++)
		tell();
	assert_int_equal(out.load, 1000);	/* it gets there */
	in.load = 0;
	for (unsigned int i = 0; i < 25; i++)
		tell();
	assert_int_equal(out.load, 0);
}

static void idle_time_memory_and_connections_have_steps_of_their_own(void **state)
{
	(void)state;
	told();
	in.conns[1] = 8;
	assert_false(tell());
	in.conns[1] = 9;
	assert_true(tell());
	in.conns[1] = 800;
	assert_true(tell());
	in.conns[1] = 900;
	assert_false(tell());
	in.conns[1] = 699;
	assert_true(tell());
	in.kbps[1] = 1000000;		/* nothing goes by that */
	assert_false(tell());
	in.mem_free_kb = 710000;
	for (unsigned int i = 0; i < 28; i++)
		assert_false(tell());
	told();
	in.mem_free_kb = 400000;
	unsigned int n = 0;

	while (!tell())
		n++;
	assert_true(n < 15);		/* an average, so not at once; but not by the refresh */
	told();
	in.cpu_idle = 700;
	n = 0;
	while (!tell())
		n++;
	assert_true(n < 20);
}

static void averages_are_of_four_samples_five_seconds_apart(void **state)
{
	static const uint16_t idle[] = { 0, 100, 200, 300, 400, 500, 600 };

	(void)state;
	for (unsigned int i = 0; i < 7; i++) {
		in.cpu_idle = idle[i];
		in.mem_free_kb = 1000u * (i + 1);
		for (unsigned int k = 0; k < 5; k++) {
			tell();
			in.cpu_idle = 999;	/* between the slots nothing counts */
		}
		if (i == 0)
			assert_int_equal(out.cpu_idle, 0);
		if (i == 1)		/* the first one is not counted as soon as there is another */
			assert_int_equal(out.cpu_idle, 100);
	}
	assert_int_equal(out.cpu_idle, 450);
	assert_int_equal(out.mem_free_kb, 5500);
}

static void worst_of_the_blocked_and_swapping_counts(void **state)
{
	(void)state;
	told();
	for (unsigned int k = 0; k < 5; k++)
		tell();
	in.blocked = 3;
	in.swapping = 70;
	while (!tell())
		;
	assert_int_equal(out.blocked, 3);
	assert_int_equal(out.swapping, 70);
	in.blocked = in.swapping = 0;
	tell();
	unsigned int n = 0;

	while (!tell())			/* in force until it leaves the window */
		n++;
	assert_in_range(n, 14, 21);
	assert_int_equal(out.blocked, 0);
	assert_int_equal(out.swapping, 0);
}

static void what_did_not_get_through_is_told_again(void **state)
{
	(void)state;
	told();
	assert_true(tell_load(400));
	uint64_t n = r.n_told;

	report_failed(&r);
	assert_int_equal(r.n_told, n - 1);
	assert_true(tell());
	assert_false(tell());
	report_again(&r);
	assert_true(tell());
	assert_false(tell());
	report_again(&r);
	now += 1000;
	assert_true(report_sample(&r, &in, now, &out));
	report_again(&r);
	assert_false(report_sample(&r, &in, now + REPORT_MIN_MS - 1, &out));
	assert_true(report_sample(&r, &in, now + REPORT_MIN_MS, &out));
}

static void own_status_is_filled_when_nothing_is_told(void **state)
{
	(void)state;
	told();
	in.kbps[0] = 77;
	assert_false(tell_load(110));
	assert_int_equal(out.load, 110);
	assert_int_equal(out.kbps[0], 77);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(first_sample_is_told),
		T(at_rest_it_is_told_once_per_refresh),
		T(step_of_the_load_is_news_and_less_is_not),
		T(threshold_is_news_once_and_has_hysteresis),
		T(never_more_often_than_the_least_interval),
		T(load_is_smoothed),
		T(idle_time_memory_and_connections_have_steps_of_their_own),
		T(averages_are_of_four_samples_five_seconds_apart),
		T(worst_of_the_blocked_and_swapping_counts),
		T(what_did_not_get_through_is_told_again),
		T(own_status_is_filled_when_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

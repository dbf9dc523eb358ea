// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checks in virtual time, with a service that answers, works badly, refuses or hangs from a given
 * moment on.  Numbers of ms throughout.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/health.h"
#include "plug/plugin.h"

#define HANGS (-2)			/* as an answer: none */
#define LATER (-3)			/* none from here: the test answers itself */

/* What the service under check i does: the answer to looks that begin. */
static struct {
	int answer;
	int64_t takes;			/* until it comes */
	int64_t answer_at;		/* one is on its way, or INT64_MAX */
	int next_answer;
	bool looking;
	int64_t look_at[4096];
	unsigned int looks, given_up, acts, attempt;
	int act_answer;			/* 1: done well at once, 0: failed at once, LATER */
	int64_t act_at[64];
} svc[CHECKS_MAX];

static struct health *h;
static int64_t now;
static int64_t late;			/* how late each tick is */
static enum fitness verdict[SERVICES_MAX];
static int64_t verdict_at[SERVICES_MAX];
static unsigned int verdicts;
static char events[4096];

static void op_look(void *arg, unsigned int i)
{
	assert_ptr_equal(arg, svc);
	assert_false(svc[i].looking);
	svc[i].looking = true;
	if (svc[i].looks < 4096)
		svc[i].look_at[svc[i].looks] = now;
	svc[i].looks++;
	svc[i].answer_at = INT64_MAX;
	if (svc[i].answer == HANGS || svc[i].answer == LATER)
		return;
	svc[i].next_answer = svc[i].answer;
	if (svc[i].takes) {
		svc[i].answer_at = now + svc[i].takes;
		return;
	}
	svc[i].looking = false;
	health_result(h, i, svc[i].answer, now);
}

static void op_give_up(void *arg, unsigned int i)
{
	assert_true(svc[i].looking);
	svc[i].looking = false;
	svc[i].answer_at = INT64_MAX;
	svc[i].given_up++;
}

static void op_act(void *arg, unsigned int i, unsigned int attempt)
{
	svc[i].act_at[svc[i].acts++] = now;
	svc[i].attempt = attempt;
	if (svc[i].act_answer != LATER)
		health_acted(h, i, svc[i].act_answer, now);
}

static void op_verdict(void *arg, unsigned int s, enum fitness f)
{
	assert_int_not_equal(verdict[s], f);
	verdict[s] = f;
	verdict_at[s] = now;
	verdicts++;
}

static void op_event(void *arg, unsigned int i, int priority, const char *name)
{
	size_t len = strlen(events);

	assert_in_range(priority, 0, 7);
	snprintf(events + len, sizeof(events) - len, "%u:%s ", i, name);
}

static const struct health_ops ops = {
	.look = op_look, .give_up = op_give_up, .act = op_act, .verdict = op_verdict, .event = op_event,
};

static const struct health_check plain = {
	.interval_ms = 1000, .timeout_ms = 500, .rise = 2, .fall = 3, .action_tries = 3,
	.action_backoff_ms = 5000,
};
static const int fresh[CHECKS_MAX] = { [0 ... CHECKS_MAX - 1] = -1 };

/* As it is when a daemon starts: nothing has been set yet. */
static void begin_start(void)
{
	health_free(h);
	memset(svc, 0, sizeof(svc));
	memset(verdict, 0, sizeof(verdict));
	for (unsigned int i = 0; i < CHECKS_MAX; i++) {
		svc[i].answer = CLUSTERD_FIT;
		svc[i].answer_at = INT64_MAX;
	}
	now = 1000000;
	late = 0;
	verdicts = 0;
	*events = '\0';
	assert_int_equal(health_new(&h, &ops, svc), 0);
	assert_true(health_deadline(h) == INT64_MAX);
}

static void begin(void)
{
	begin_start();
	health_set(h, NULL, NULL, 0, now);
	assert_true(health_settled(h));
}

static void begin_with(const struct health_check *c)
{
	begin();
	health_set(h, c, fresh, 1, now);
}

static int64_t next_answer(unsigned int *which)
{
	int64_t at = INT64_MAX;

	for (unsigned int i = 0; i < CHECKS_MAX; i++)
		if (svc[i].looking && svc[i].answer_at < at) {
			at = svc[i].answer_at;
			*which = i;
		}
	return at;
}

/* Lets everything happen that happens before 'until' (not at it). */
static void run_until(int64_t until)
{
	unsigned int i = 0, stuck = 0;
	int64_t last = -1;

	for (;;) {
		int64_t answer = next_answer(&i), deadline = health_deadline(h);
		int64_t tick = deadline < INT64_MAX ? deadline + late : deadline;
		int64_t at = answer < tick ? answer : tick;

		if (at >= until)
			break;
		if (at > now)
			now = at;
		stuck = now == last ? stuck + 1 : 0;
		last = now;
		assert_true(stuck < 500);	/* time goes on */
		if (answer < tick) {
			svc[i].looking = false;
			svc[i].answer_at = INT64_MAX;
			health_result(h, i, svc[i].next_answer, now);
		} else {
			health_tick(h, now);
		}
	}
	now = until;
}

static struct health_status status(unsigned int i)
{
	struct health_status st;

	health_get(h, i, &st);
	return st;
}

static void test_cadence(void **state)
{
	begin_with(&plain);
	assert_false(status(0).known);
	assert_int_equal(status(0).value, -1);
	svc[0].takes = 37;
	late = 3;				/* must not add up */
	run_until(now + 600000);
	assert_int_equal(svc[0].looks, 600);
	for (unsigned int i = 0; i < 600; i++)
		assert_int_equal(svc[0].look_at[i], 1000003 + 1000 * (int64_t)i);
	assert_true(status(0).known);
	assert_int_equal(status(0).state, CHECK_GOOD);
	assert_int_equal(status(0).passed, 600);
	assert_int_equal(status(0).looks, 600);
	assert_int_equal(status(0).late, 0);
	assert_int_equal(verdicts, 0);
	assert_string_equal(events, "");
}

static void test_spread(void **state)
{
	struct health_check list[CHECKS_MAX];

	begin();
	for (unsigned int i = 0; i < CHECKS_MAX; i++) {
		list[i] = plain;
		list[i].service = (uint8_t)(i % SERVICES_MAX);
		list[i].interval_ms = 6400;
	}
	health_set(h, list, fresh, CHECKS_MAX, now);
	run_until(now + 6400 * 3);
	for (unsigned int i = 0; i < CHECKS_MAX; i++) {
		assert_int_equal(svc[i].looks, 3);
		assert_int_equal(svc[i].look_at[0], 1000000 + 100 * i);
		assert_int_equal(svc[i].look_at[2], 1000000 + 100 * i + 12800);
	}
}

/* Many checks wake the daemon 20 times a second, however many they are. */
static void test_batches(void **state)
{
	struct health_check list[CHECKS_MAX];
	unsigned int wakeups = 0;

	begin();
	for (unsigned int i = 0; i < CHECKS_MAX; i++) {
		list[i] = plain;
		list[i].interval_ms = i % 2 ? 200 : 1000;
		list[i].timeout_ms = 100;
	}
	health_set(h, list, fresh, CHECKS_MAX, now);
	for (int64_t end = now + 4000; health_deadline(h) < end; wakeups++) {
		now = health_deadline(h);
		health_tick(h, now);
	}
	assert_in_range(wakeups, 4 * 10, 4 * 20);
	for (unsigned int i = 0; i < CHECKS_MAX; i++)
		assert_int_equal(svc[i].looks, i % 2 ? 20 : 4);
}

/* A daemon starts: the first look of each check is at once and says how it is. */
static void test_start(void **state)
{
	struct health_check list[4] = { plain, plain, plain, plain };

	begin_start();
	assert_true(health_settled(h));
	for (uint8_t i = 0; i < 4; i++) {
		list[i].service = i;
		list[i].fall = 5;
		list[i].rise = 5;
	}
	svc[0].takes = 100;
	svc[1].answer = CLUSTERD_WORKS;
	svc[2].answer = CLUSTERD_DEAD;
	svc[3].answer = HANGS;
	health_set(h, list, fresh, 4, now);
	assert_false(health_settled(h));
	assert_true(health_deadline(h) <= now);
	health_tick(h, now);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(svc[i].look_at[0], now);
	assert_int_equal(verdict[1], FITNESS_WORKS);
	assert_int_equal(verdict[2], FITNESS_DOWN);
	assert_false(health_settled(h));
	assert_false(status(0).known);
	run_until(now + 101);
	assert_true(status(0).known);
	assert_int_equal(status(0).state, CHECK_GOOD);
	assert_false(health_settled(h));
	run_until(now + 400);
	assert_true(health_settled(h));
	assert_int_equal(verdict[3], FITNESS_DOWN);
	assert_int_equal(verdict_at[3], 1000500);
	assert_int_equal(verdicts, 3);
	assert_string_equal(events, "1:CHECK_FAILED 2:CHECK_FAILED 3:CHECK_FAILED ");
	/* From then on as usual, spread. */
	run_until(now + 4000);
	assert_int_equal(svc[0].look_at[1], 1000250);
	assert_int_equal(svc[1].look_at[1], 1000500);
	assert_int_equal(svc[2].look_at[1], 1000750);
	assert_int_equal(svc[3].look_at[1], 1001000);
	assert_int_equal(svc[0].look_at[4], 1003250);
	svc[1].answer = svc[2].answer = svc[3].answer = CLUSTERD_FIT;
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 3000);
	assert_int_equal(verdicts, 3);		/* rise and fall are 5 */
	run_until(now + 3000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	assert_int_equal(verdict[1], FITNESS_UP);
	assert_int_equal(verdict[2], FITNESS_UP);
	assert_int_equal(verdict[3], FITNESS_UP);
}

static void test_start_with_action(void **state)
{
	static const int keep[2] = { 0, -1 };
	struct health_check list[2] = { plain, plain };

	list[0].action = true;
	begin_start();
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = LATER;
	health_set(h, list, fresh, 1, now);
	run_until(now + 10);
	assert_int_equal(svc[0].acts, 1);	/* tried at once, and no share meanwhile */
	assert_int_equal(verdict[0], FITNESS_WORKS);

	/* What a reload adds is not waited for, and has 'fall' looks. */
	begin_start();
	svc[0].answer = svc[1].answer = LATER;
	health_set(h, list, fresh, 1, now);
	health_tick(h, now);
	health_set(h, list, keep, 2, now);
	assert_false(health_settled(h));
	health_result(h, 0, CLUSTERD_FIT, now);
	svc[0].looking = false;
	assert_true(health_settled(h));
	run_until(now + 600);
	assert_true(svc[1].looking);
	health_result(h, 1, CLUSTERD_DEAD, now);
	svc[1].looking = false;
	assert_int_equal(verdicts, 0);
	assert_int_equal(status(1).failed, 1);

	/* Nor is a check that is gone. */
	begin_start();
	svc[0].answer = LATER;
	health_set(h, list, fresh, 1, now);
	health_tick(h, now);
	health_set(h, list, fresh, 1, now);
	assert_true(health_settled(h));
}

/* The service turns bad 'after' its first good look began.  Returns how long the verdict took. */
static int64_t time_to_verdict(const struct health_check *c, int answer, int64_t after)
{
	int64_t bad;

	begin_with(c);
	svc[0].takes = c->interval_ms / 20;
	run_until(now + 10 * (int64_t)c->interval_ms);
	bad = now + after;
	run_until(bad);
	svc[0].answer = answer;
	run_until(bad + 2 * (int64_t)c->fall * c->interval_ms + c->interval_ms);
	assert_int_equal(verdict[0], answer == CLUSTERD_WORKS ? FITNESS_WORKS : FITNESS_DOWN);
	assert_int_equal(verdicts, 1);
	assert_string_equal(events, "0:CHECK_FAILED ");
	assert_int_equal(status(0).state, CHECK_BAD);
	return verdict_at[0] - bad;
}

/*
 * Whenever it happens, the verdict is there after fall x interval, and not after a blip: the
 * failures span at least (fall - 1) x interval less one timeout.
 */
static void test_in_time(void **state)
{
	static const int answers[] = { HANGS, CLUSTERD_DEAD, CLUSTERD_WORKS };
	static const uint16_t falls[] = { 1, 2, 3, 4, 5, 10, 100 };
	static const uint32_t intervals[] = { 50, 97, 1000 };
	int64_t longest = 0;

	for (size_t f = 0; f < 7; f++)
	for (size_t k = 0; k < 3; k++)
	for (uint32_t part = 1; part <= 4; part++)
	for (size_t a = 0; a < 3; a++) {
		struct health_check c = plain;
		int64_t span, most, step = intervals[k] / 40 + 1, least;

		c.interval_ms = intervals[k];
		c.timeout_ms = intervals[k] * part / 4;
		c.fall = falls[f];
		span = (int64_t)c.fall * c.interval_ms;
		most = c.fall > 1 ? span : span + c.timeout_ms;
		least = (c.fall - 1) * (int64_t)c.interval_ms - health_timeout_ms(&c);
		for (int64_t after = 0; after < c.interval_ms; after += step) {
			int64_t took = time_to_verdict(&c, answers[a], after);

			/* A look that was under way finds it out at its end. */
			if (took > most || took < least)
				fail_msg("interval %u timeout %u fall %u answer %d after %d: %d",
					 c.interval_ms, c.timeout_ms, c.fall, answers[a],
					 (int)after, (int)took);
			if (c.interval_ms == 1000 && c.fall == 3 && took > longest)
				longest = took;
		}
	}
	assert_in_range(longest, 2900, 3000);
}

static void test_timeout_fits(void **state)
{
	struct health_check c = plain;

	assert_int_equal(health_timeout_ms(&c), 500);
	c.timeout_ms = 1000;
	assert_int_equal(health_timeout_ms(&c), 666);
	c.fall = 2;
	assert_int_equal(health_timeout_ms(&c), 500);
	c.fall = 1;
	assert_int_equal(health_timeout_ms(&c), 1000);
	c.fall = 1000;
	assert_int_equal(health_timeout_ms(&c), 999);
}

/* A few ms of our own per tick stay a few ms. */
static void test_in_time_though_we_are_slow(void **state)
{
	struct health_check c = plain;
	int64_t bad;

	c.fall = 10;
	c.timeout_ms = 1000;
	begin_with(&c);
	run_until(now + 10500);
	late = 4;
	bad = now;
	svc[0].answer = HANGS;
	run_until(bad + 20000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	assert_in_range(verdict_at[0] - bad, 9000, 10000 + 11 * 2 * 4);
}

static void test_rise(void **state)
{
	int64_t good;

	begin_with(&plain);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 20000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	assert_int_equal(status(0).verdict, FITNESS_DOWN);
	assert_in_range(svc[0].looks, 20, 22);	/* faster while it counts only */
	assert_int_equal(status(0).value, CLUSTERD_DEAD);
	svc[0].answer = CLUSTERD_FIT;
	good = now;
	run_until(good + 10000);
	assert_int_equal(verdict[0], FITNESS_UP);
	assert_in_range(verdict_at[0] - good, 1000, 2000);
	assert_string_equal(events, "0:CHECK_FAILED 0:CHECK_OK ");
	assert_int_equal(verdicts, 2);
	assert_int_equal(status(0).since, verdict_at[0]);
}

/* One or two failures of three are nothing, and the interval is back after a success. */
static void test_blip(void **state)
{
	begin_with(&plain);
	run_until(now + 2500);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 1500);			/* two looks: on time, and a hurried one */
	assert_int_equal(status(0).failed, 2);
	svc[0].answer = CLUSTERD_FIT;
	run_until(1000000 + 100500);
	assert_int_equal(svc[0].look_at[3], 1003000);
	assert_int_equal(svc[0].look_at[4], 1003750);
	assert_int_equal(svc[0].look_at[5], 1004500);
	assert_int_equal(svc[0].look_at[6], 1005000);
	assert_int_equal(svc[0].look_at[7], 1006000);
	assert_int_equal(svc[0].looks, 102);
	assert_int_equal(verdicts, 0);
	assert_string_equal(events, "");
}

static void test_flapping(void **state)
{
	static const int down[] = { CLUSTERD_DEAD, HANGS, CLUSTERD_WORKS, 1, 999 };

	for (size_t k = 0; k < 5; k++) {
		begin_with(&plain);
		for (unsigned int i = 0; i < 500; i++) {
			svc[0].answer = i % 2 ? CLUSTERD_FIT : down[k];
			while (svc[0].looks == i)
				run_until(now + 10);
		}
		assert_int_equal(verdicts, 0);
		assert_string_equal(events, "");
	}
	/* Nor does a bad one turn good. */
	begin_with(&plain);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 5000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	for (unsigned int i = svc[0].looks, n = i + 100; i < n; i++) {
		svc[0].answer = i % 2 ? CLUSTERD_FIT : CLUSTERD_WORKS;
		while (svc[0].looks == i)
			run_until(now + 10);
	}
	assert_int_equal(verdicts, 1);
	assert_int_equal(verdict[0], FITNESS_DOWN);
}

static void test_late_answer(void **state)
{
	begin_with(&plain);
	svc[0].answer = HANGS;
	run_until(now + 600);
	assert_int_equal(svc[0].given_up, 1);
	assert_int_equal(status(0).late, 1);
	health_result(h, 0, CLUSTERD_FIT, now);	/* nobody has asked */
	assert_int_equal(status(0).failed, 1);
	assert_int_equal(status(0).passed, 0);
	health_result(h, 1, CLUSTERD_FIT, now);	/* there is no such check */
	health_result(h, 4000000000u, CLUSTERD_FIT, now);
	/* An answer that we read late, before the tick, is one. */
	svc[0].answer = LATER;
	run_until(now + 1000);
	while (!svc[0].looking)
		run_until(now + 10);
	health_result(h, 0, CLUSTERD_FIT, now + 700);
	svc[0].looking = false;
	assert_int_equal(status(0).passed, 1);
	assert_int_equal(status(0).late, svc[0].given_up);
}

static void test_result_twice(void **state)
{
	begin_with(&plain);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 1);
	assert_int_equal(status(0).failed, 1);
	for (unsigned int i = 0; i < 5; i++)
		health_result(h, 0, CLUSTERD_DEAD, now);
	assert_int_equal(status(0).failed, 1);
	assert_int_equal(verdicts, 0);
}

/* The service's verdict is that of its worst check. */
static void test_worst(void **state)
{
	struct health_check list[3] = { plain, plain, plain };

	list[2].service = 5;
	begin();
	health_set(h, list, fresh, 3, now);
	svc[0].answer = 999;
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_WORKS);
	svc[1].answer = CLUSTERD_DEAD;
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	svc[1].answer = CLUSTERD_FIT;
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_WORKS);
	svc[0].answer = CLUSTERD_FIT;
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_UP);
	assert_int_equal(verdict[5], FITNESS_UP);
	assert_int_equal(verdicts, 4);
}

static void test_gets_worse(void **state)
{
	begin_with(&plain);
	svc[0].answer = CLUSTERD_WORKS;
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_WORKS);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 1900);
	assert_int_equal(verdict[0], FITNESS_WORKS);
	run_until(now + 1200);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	svc[0].answer = CLUSTERD_WORKS;		/* its connections were given up: no way back but GOOD */
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	svc[0].answer = CLUSTERD_FIT;
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_UP);
	assert_string_equal(events, "0:CHECK_FAILED 0:CHECK_OK ");
	svc[0].answer = CLUSTERD_WORKS;		/* what was is forgotten */
	run_until(now + 10000);
	assert_int_equal(verdict[0], FITNESS_WORKS);
}

/* Dead now and then, but not 'fall' times in a row. */
static void test_dead_at_times(void **state)
{
	static const int pattern[] = {
		CLUSTERD_DEAD, CLUSTERD_DEAD, CLUSTERD_WORKS,
		CLUSTERD_DEAD, CLUSTERD_DEAD, CLUSTERD_FIT,
	};

	begin_with(&plain);
	svc[0].answer = CLUSTERD_WORKS;
	run_until(now + 5500);
	for (unsigned int i = 0; i < 60; i++) {
		svc[0].answer = pattern[i % 6];
		run_until(now + 1000);
	}
	assert_int_equal(verdict[0], FITNESS_WORKS);
	assert_int_equal(verdicts, 1);
}

static void test_on_fail(void **state)
{
	static const struct {
		enum health_on_fail mode;
		int answer;
		enum fitness want;
	} t[] = {
		{ HEALTH_ON_FAIL_AUTO, CLUSTERD_DEAD, FITNESS_DOWN },
		{ HEALTH_ON_FAIL_AUTO, CLUSTERD_WORKS, FITNESS_WORKS },
		{ HEALTH_ON_FAIL_DRAIN, CLUSTERD_DEAD, FITNESS_WORKS },
		{ HEALTH_ON_FAIL_DRAIN, CLUSTERD_WORKS, FITNESS_WORKS },
		{ HEALTH_ON_FAIL_NOW, CLUSTERD_DEAD, FITNESS_DOWN },
		{ HEALTH_ON_FAIL_NOW, CLUSTERD_WORKS, FITNESS_DOWN },
	};

	for (size_t i = 0; i < 6; i++) {
		struct health_check c = plain;

		c.on_fail = t[i].mode;
		begin_with(&c);
		svc[0].answer = t[i].answer;
		run_until(now + 10000);
		assert_int_equal(verdict[0], t[i].want);
		assert_int_equal(status(0).verdict, t[i].want);
	}
}

static struct health_check with_action(void)
{
	struct health_check c = plain;

	c.action = true;
	return c;
}

/* It works: the share stays until the first try has failed.  It is dead: it leaves at once. */
static void test_share_during_repair(void **state)
{
	struct health_check c = with_action();

	begin_with(&c);
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = LATER;
	run_until(now + 60000);
	assert_int_equal(svc[0].acts, 1);
	assert_int_equal(status(0).state, CHECK_REPAIR);
	assert_int_equal(verdicts, 0);
	health_acted(h, 0, true, now);
	run_until(now + 4000);			/* rise x interval, then failures count */
	assert_int_equal(verdicts, 0);
	run_until(now + 2000);
	assert_int_equal(verdict[0], FITNESS_WORKS);

	begin_with(&c);
	svc[0].answer = CLUSTERD_DEAD;
	svc[0].act_answer = LATER;
	run_until(now + 3000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	assert_int_equal(verdict_at[0], svc[0].act_at[0]);

	/* Or while it is repaired. */
	begin_with(&c);
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = LATER;
	run_until(now + 10000);
	assert_int_equal(verdicts, 0);
	svc[0].answer = HANGS;
	run_until(now + 4000);
	assert_int_equal(verdict[0], FITNESS_DOWN);

	/* An action that fails is of no use: at once. */
	begin_with(&c);
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = 0;
	run_until(now + 3000);
	assert_int_equal(svc[0].acts, 1);
	assert_int_equal(verdict[0], FITNESS_WORKS);
	assert_int_equal(verdict_at[0], svc[0].act_at[0]);

	/* A planned move of what is dead begins at once as well. */
	c.on_fail = HEALTH_ON_FAIL_DRAIN;
	begin_with(&c);
	svc[0].answer = CLUSTERD_DEAD;
	svc[0].act_answer = LATER;
	run_until(now + 3000);
	assert_int_equal(verdict[0], FITNESS_WORKS);

	/* "now" is now. */
	c.on_fail = HEALTH_ON_FAIL_NOW;
	begin_with(&c);
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = LATER;
	run_until(now + 3000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
}

static void test_repaired(void **state)
{
	struct health_check c = with_action();

	begin_with(&c);
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = LATER;
	run_until(now + 3000);
	assert_int_equal(svc[0].acts, 1);
	run_until(now + 3000);
	health_acted(h, 0, true, now);
	svc[0].answer = CLUSTERD_FIT;
	run_until(now + 10000);
	assert_int_equal(status(0).state, CHECK_GOOD);
	assert_int_equal(status(0).tries, 0);
	assert_int_equal(svc[0].acts, 1);
	assert_int_equal(verdicts, 0);		/* nobody has noticed */
	assert_string_equal(events, "0:CHECK_FAILED 0:REPAIR 0:CHECK_OK ");
	/* The tries begin anew. */
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 4000);
	assert_int_equal(svc[0].acts, 2);
	assert_int_equal(svc[0].attempt, 1);
}

static void test_tries(void **state)
{
	struct health_check c = with_action();
	struct health_status st;

	for (int works = 0; works < 2; works++) {
		begin_with(&c);
		svc[0].answer = CLUSTERD_DEAD;
		svc[0].act_answer = works;	/* it ends well, and helps nothing; or it fails */
		run_until(now + 200000);
		st = status(0);
		assert_int_equal(svc[0].acts, 3);
		assert_int_equal(svc[0].attempt, 3);
		/* First look that fails after the backoff: 5 s, 10 s. */
		assert_in_range(svc[0].act_at[1] - svc[0].act_at[0], 5000, 6000);
		assert_in_range(svc[0].act_at[2] - svc[0].act_at[1], 10000, 11000);
		assert_int_equal(st.state, CHECK_BAD);
		assert_true(st.given_up);
		assert_int_equal(st.tries, 3);
		/* The last try has its chance, too. */
		assert_in_range(st.since - svc[0].act_at[2], works ? 4000 : 0, works ? 6000 : 0);
		assert_string_equal(events, "0:CHECK_FAILED 0:REPAIR 0:REPAIR 0:REPAIR "
				    "0:REPAIR_FAILED ");
		assert_int_equal(verdicts, 1);
		svc[0].answer = CLUSTERD_FIT;
		run_until(now + 3000);
		assert_int_equal(verdict[0], FITNESS_UP);
		assert_false(status(0).given_up);
	}
}

/* Without backoff an action still gets 'rise' intervals, and then 'fall' failures count. */
static void test_no_backoff(void **state)
{
	struct health_check c = with_action();

	c.action_backoff_ms = 0;
	begin_with(&c);
	svc[0].answer = CLUSTERD_DEAD;
	svc[0].act_answer = 1;
	run_until(now + 100000);
	assert_int_equal(svc[0].acts, 3);
	assert_in_range(svc[0].act_at[1] - svc[0].act_at[0], 4000, 5000);
	assert_in_range(svc[0].act_at[2] - svc[0].act_at[1], 4000, 5000);
}

static void test_backoff_ends_at_10_minutes(void **state)
{
	struct health_check c = with_action();

	c.action_tries = 60;
	begin_with(&c);
	svc[0].answer = CLUSTERD_DEAD;
	svc[0].act_answer = 1;
	run_until(now + 10 * 3600 * 1000);
	assert_true(svc[0].acts > 20);
	for (unsigned int i = 2; i < svc[0].acts; i++) {
		int64_t want = i < 8 ? 5000 << (i - 1) : 600000;

		assert_in_range(svc[0].act_at[i] - svc[0].act_at[i - 1], want, want + 1000);
	}
	assert_int_equal(verdicts, 1);
}

/* A service that never gets good again is given up, though it never fails 'fall' times in a row. */
static void test_flaps_during_repair(void **state)
{
	struct health_check c = with_action();

	begin_with(&c);
	svc[0].answer = CLUSTERD_WORKS;
	svc[0].act_answer = 1;
	run_until(now + 3000);
	for (unsigned int i = svc[0].looks, n = i + 100; i < n; i++) {
		svc[0].answer = i % 2 ? CLUSTERD_FIT : CLUSTERD_WORKS;
		while (svc[0].looks == i)
			run_until(now + 10);
	}
	assert_int_equal(svc[0].acts, 3);
	assert_true(status(0).given_up);
	assert_int_equal(verdict[0], FITNESS_WORKS);
}

static void test_acted_without_act(void **state)
{
	struct health_check c = with_action();

	begin_with(&c);
	health_acted(h, 0, false, now);
	health_acted(h, 63, true, now);
	health_acted(h, 4000000000u, true, now);
	assert_string_equal(events, "");
	svc[0].answer = CLUSTERD_DEAD;
	svc[0].act_answer = LATER;
	run_until(now + 3000);
	svc[0].answer = CLUSTERD_FIT;
	run_until(now + 3000);
	assert_int_equal(status(0).state, CHECK_GOOD);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 3000);
	assert_int_equal(svc[0].acts, 1);	/* the first one still runs */
	health_acted(h, 0, true, now);
	run_until(now + 1000);
	assert_int_equal(svc[0].acts, 2);
}

/* Checks keep what is known of them, whatever their new number. */
static void test_reload(void **state)
{
	struct health_check list[3] = { plain, plain, plain };
	static const int keep[3] = { 2, -1, 0 };

	list[2].service = 1;
	begin();
	health_set(h, list, fresh, 3, now);
	svc[2].answer = CLUSTERD_DEAD;
	run_until(now + 20000);
	assert_int_equal(verdict[1], FITNESS_DOWN);
	/* 2 becomes 0, and service 2 instead of 1; 1 goes; 0 becomes 2. */
	list[0].service = 2;
	list[2].service = 0;
	svc[0].answer = CLUSTERD_DEAD;
	svc[2].answer = CLUSTERD_FIT;
	svc[0].looks = 0;
	health_set(h, list, keep, 3, now);
	assert_int_equal(verdict[1], FITNESS_UP);
	assert_int_equal(verdict[2], FITNESS_DOWN);
	assert_int_equal(status(0).state, CHECK_BAD);
	assert_false(status(1).known);
	assert_true(status(2).known);
	assert_in_range(status(2).passed, 20, 21);
	run_until(now + 10000);
	assert_int_equal(svc[0].looks, 10);	/* the rhythm is as it was */
	health_set(h, NULL, NULL, 0, now);
	assert_int_equal(verdict[2], FITNESS_UP);
	assert_true(health_deadline(h) == INT64_MAX);
}

static void test_reload_during_look(void **state)
{
	static const int keep[1] = { 0 };
	struct health_check c = plain;

	c.fall = 1;
	begin_with(&c);
	svc[0].answer = LATER;
	run_until(now + 100);
	assert_true(svc[0].looking);
	health_set(h, &c, keep, 1, now);
	/* Its answer still counts... */
	health_result(h, 0, CLUSTERD_FIT, now);
	svc[0].looking = false;
	assert_int_equal(status(0).passed, 1);
	run_until(now + 1000);
	assert_true(svc[0].looking);
	/* ... but when it never comes, that says nothing. */
	health_set(h, &c, keep, 1, now);
	svc[0].answer = CLUSTERD_FIT;
	run_until(now + 800);
	assert_int_equal(verdicts, 0);
	assert_int_equal(svc[0].given_up, 1);
	assert_int_equal(status(0).passed, 2);
	assert_int_equal(status(0).late, 0);
	/* The next one is an ordinary one. */
	svc[0].answer = HANGS;
	run_until(now + 2000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
}

static void test_reload_of_interval(void **state)
{
	static const int keep[1] = { 0 };
	struct health_check c = plain;

	c.interval_ms = 3600000;
	begin_with(&c);
	run_until(now + 5000);
	assert_int_equal(svc[0].looks, 1);
	health_set(h, &plain, keep, 1, now);
	run_until(now + 10500);
	assert_int_equal(svc[0].looks, 11);
	health_set(h, &c, keep, 1, now);	/* at most one look more, then hourly */
	run_until(now + 7200000);
	assert_in_range(svc[0].looks, 13, 14);
	/* While failures are counted. */
	svc[0].answer = CLUSTERD_DEAD;
	while (!status(0).failed)
		run_until(now + 1000);
	health_set(h, &plain, keep, 1, now);
	run_until(now + 3000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
}

static void test_reload_of_action(void **state)
{
	static const int keep[1] = { 0 };
	struct health_check c = with_action();

	begin_with(&plain);
	svc[0].answer = CLUSTERD_DEAD;
	svc[0].act_answer = 0;
	run_until(now + 5000);
	assert_int_equal(status(0).state, CHECK_BAD);
	health_set(h, &c, keep, 1, now);
	assert_int_equal(status(0).state, CHECK_REPAIR);
	run_until(now + 1000);
	assert_int_equal(svc[0].acts, 1);
	run_until(now + 60000);
	assert_int_equal(svc[0].acts, 3);
	assert_true(status(0).given_up);
	c.action_tries = 4;			/* another one is allowed */
	health_set(h, &c, keep, 1, now);
	assert_false(status(0).given_up);
	run_until(now + 1000);
	assert_int_equal(svc[0].acts, 4);
	assert_true(status(0).given_up);
	c.action_tries = 9;
	health_set(h, &c, keep, 1, now);
	health_set(h, &plain, keep, 1, now);
	assert_int_equal(status(0).state, CHECK_BAD);
	run_until(now + 60000);
	assert_int_equal(svc[0].acts, 4);
	assert_int_equal(verdicts, 1);
	assert_int_equal(verdict[0], FITNESS_DOWN);

	/* What the last try had to wait for does not matter to a new one. */
	c.action_tries = 1;
	c.action_backoff_ms = 600000;
	begin_with(&c);
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 5000);
	assert_true(status(0).given_up);
	c.action_tries = 2;
	health_set(h, &c, keep, 1, now);
	run_until(now + 1000);
	assert_int_equal(svc[0].acts, 2);
}

/* The clock stands still, goes back, or we slept: one look, no burst, no failure that is ours. */
static void test_clock(void **state)
{
	unsigned int looks;
	int64_t slept;

	begin_with(&plain);
	run_until(now + 2500);
	looks = svc[0].looks;
	for (unsigned int i = 0; i < 1000; i++)
		health_tick(h, now);
	for (unsigned int i = 0; i < 1000; i++)
		health_tick(h, now - i * 1000);
	health_tick(h, 0);
	health_tick(h, INT64_MIN);
	assert_int_equal(svc[0].looks, looks);
	assert_int_equal(health_deadline(h), 1003000);

	now += 86400000ll * 365;
	for (unsigned int i = 0; i < 10; i++)
		health_tick(h, now);
	assert_int_equal(svc[0].looks, looks + 1);
	assert_int_equal(health_deadline(h), now + 500);	/* the rhythm is as before */

	/* In the middle of a look. */
	svc[0].answer = LATER;
	run_until(now + 700);
	assert_true(svc[0].looking);
	looks = svc[0].looks;
	now += 3600000;
	svc[0].answer = CLUSTERD_FIT;
	health_tick(h, now);
	assert_int_equal(svc[0].given_up, 1);
	assert_int_equal(svc[0].looks, looks + 1);
	assert_int_equal(status(0).failed, 0);
	assert_int_equal(status(0).late, 0);
	assert_int_equal(health_deadline(h) % 1000, 0);		/* and the rhythm */

	/* While failures were counted: the rest takes its time. */
	svc[0].answer = CLUSTERD_DEAD;
	run_until(now + 1100);
	assert_int_equal(status(0).failed, 1);
	now += 3600000;
	slept = now;
	looks = svc[0].looks;
	for (unsigned int i = 0; i < 10; i++)
		health_tick(h, now);
	assert_int_equal(svc[0].looks, looks + 1);
	assert_int_equal(verdicts, 0);
	run_until(now + 3000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	assert_in_range(verdict_at[0] - slept, 400, 1000);

	/* Answers with the time of yesterday. */
	svc[0].answer = LATER;
	run_until(now + 1000);
	svc[0].looking = false;
	health_result(h, 0, CLUSTERD_FIT, now);
	run_until(now + 1000);
	assert_true(svc[0].looking);
	svc[0].looking = false;
	health_result(h, 0, CLUSTERD_FIT, now - 86400000);
	assert_int_equal(verdict[0], FITNESS_UP);
	assert_in_range(now - status(0).since, 0, 1000);

	/* The first failure is seen late: the next look does not follow at once. */
	begin_with(&plain);
	run_until(now + 2500);
	svc[0].answer = CLUSTERD_DEAD;
	now += 1400;
	health_tick(h, now);
	assert_int_equal(status(0).failed, 1);
	assert_int_equal(health_deadline(h), now + 750);

	/* And hanging. */
	begin_with(&plain);
	run_until(now + 2500);
	svc[0].answer = HANGS;
	run_until(now + 600);
	now += 7200000;
	health_tick(h, now);
	assert_int_equal(status(0).failed, 0);
	slept = now;
	run_until(now + 4000);
	assert_int_equal(verdict[0], FITNESS_DOWN);
	assert_in_range(verdict_at[0] - slept, 1500, 3000);
}

/* Never a deadline in the past that a tick leaves there, never two looks of a check at once. */
static void test_random(void **state)
{
	static const int answers[] = {
		CLUSTERD_FIT, CLUSTERD_FIT, CLUSTERD_WORKS, CLUSTERD_DEAD, HANGS, -5, 100000,
	};
	struct health_check list[CHECKS_MAX];
	unsigned int before = 0;
	uint32_t x = 7;

	begin();
	for (unsigned int round = 0; round < 300; round++) {
		unsigned int n = (x >> 9) % (CHECKS_MAX + 1);
		int keep[CHECKS_MAX];

		for (unsigned int i = 0; i < CHECKS_MAX; i++) {
			x = x * 1103515245 + 12345;
			list[i] = (struct health_check){
				.service = (uint8_t)(x >> 8) % SERVICES_MAX,
				.interval_ms = 50 + (x >> 12) % 2000,
				.rise = 1 + (x >> 5) % 3, .fall = 1 + (x >> 17) % 4,
				.on_fail = (x >> 20) % 3, .action = (x >> 23) % 2,
				.action_tries = 1 + (x >> 3) % 3,
				.action_backoff_ms = (x >> 11) % 3000,
			};
			list[i].timeout_ms = 1 + list[i].interval_ms / (1 + (x >> 7) % 4);
			keep[i] = round && (x >> 25) % 4 ? (int)i : -1;
			svc[i].answer = answers[(x >> 13) % 7];
			svc[i].takes = (x >> 15) % 4 ? 0 : (x >> 14) % 700;
			svc[i].act_answer = (int)((x >> 16) % 2);
		}
		/* What the world does at a reload: numbers stay, new ones begin anew. */
		for (unsigned int i = 0; i < CHECKS_MAX; i++) {
			if (i >= before)
				keep[i] = -1;
			if (i >= n || keep[i] < 0)
				svc[i].looking = false;
		}
		before = n;
		health_set(h, list, keep, n, now);
		for (unsigned int k = 0; k < 20; k++) {
			run_until(now + 100);
			for (unsigned int i = 0; i < CHECKS_MAX; i++)
				svc[i].acts = svc[i].acts > 60 ? 0 : svc[i].acts;
		}
		late = (x >> 19) % 3 ? 0 : 30;
		if (!((x >> 21) % 9))
			now += 100000;
		for (unsigned int i = 0; i < n; i++) {
			struct health_status st = status(i);

			assert_true(st.state != CHECK_GOOD || st.verdict == FITNESS_UP);
			assert_true(st.late <= st.looks);
			assert_true(st.verdict <= verdict[list[i].service]);
			assert_true(!st.given_up || st.state == CHECK_BAD);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cadence),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_start_with_action),
		cmocka_unit_test(test_in_time),
		cmocka_unit_test(test_timeout_fits),
		cmocka_unit_test(test_in_time_though_we_are_slow),
		cmocka_unit_test(test_rise),
		cmocka_unit_test(test_blip),
		cmocka_unit_test(test_flapping),
		cmocka_unit_test(test_late_answer),
		cmocka_unit_test(test_result_twice),
		cmocka_unit_test(test_worst),
		cmocka_unit_test(test_gets_worse),
		cmocka_unit_test(test_dead_at_times),
		cmocka_unit_test(test_on_fail),
		cmocka_unit_test(test_share_during_repair),
		cmocka_unit_test(test_repaired),
		cmocka_unit_test(test_tries),
		cmocka_unit_test(test_no_backoff),
		cmocka_unit_test(test_backoff_ends_at_10_minutes),
		cmocka_unit_test(test_flaps_during_repair),
		cmocka_unit_test(test_acted_without_act),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_during_look),
		cmocka_unit_test(test_reload_of_interval),
		cmocka_unit_test(test_reload_of_action),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_random),
	};
	int failed = cmocka_run_group_tests_name("health", tests, NULL, NULL);

	health_free(h);
	return failed;
}

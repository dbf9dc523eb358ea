/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease in the kernel: one element that times out.
 *
 * The time that the kernel counts starts when it reads the message, and our sendmsg may wait for
 * somebody else's commit before that.  So each batch carries the generation that was current when
 * its timeout was computed: if a commit came between, the kernel refuses the batch, and the next
 * try asks for what is left of the time.
 *
 * Between the look at the clock and the kernel's reading this process can also be stopped or have
 * no CPU.  So the clock is asked again afterwards, and an element that was given too much is replaced
 * at once by one with what is left.  After all that it outlives the moment of the call + 'ms' by at
 * most SLACK_US, which the kernel's timer (up to 4 ms early) eats up.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "io/rules.h"
#include "io/rules_nl.h"
#include "io/rules_plan.h"

#ifndef ERESTART
#define ERESTART 85
#endif

#define SLACK_US 3000
#define TRIES    1000	/* the time is the bound that counts */

struct lease_table {
	struct rules_nl *nl;
	struct rules_batch batch;
	int64_t until_us;		/* of the call under way */
	int64_t asked_us;		/* when the batch's timeout was computed */
	bool renew;
};

static int64_t now_us(void)
{
	struct timespec ts;

	/* boottime would count suspend, but the kernel's element timer does not: same clock here */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void lease_table_close(struct lease_table *t)
{
	if (!t)
		return;
	rules_batch_free(&t->batch);
	rules_nl_close(t->nl);
	free(t);
}

int lease_table_open(struct lease_table **out, char (*interfaces)[IFNAME_SIZE], unsigned int n)
{
	struct lease_table *t = calloc(1, sizeof(*t));
	struct rules_plan plan = { 0 };
	struct rules_diff d = { 0 };
	struct rules_result res;
	unsigned int i;
	int ret;

	if (!t)
		return -ENOMEM;
	ret = rules_nl_open(&t->nl);
	if (!ret)
		ret = rules_plan_lease(&plan, interfaces, n);
	if (!ret)
		ret = rules_plan_diff(&d, NULL, &plan);
	if (!ret) {
		rules_batch_begin(&t->batch);
		for (i = 0; i < d.n; i++)
			rules_batch_op(&t->batch, &d.op[i]);
		rules_batch_end(&t->batch);
		ret = rules_nl_commit(t->nl, &t->batch, TRIES, NULL, NULL, &res);
	}
	rules_diff_free(&d);
	rules_plan_free(&plan);
	if (ret)
		lease_table_close(t);
	else
		*out = t;
	return ret == -ERESTART ? -EAGAIN : ret;
}

/* Before each try: what is left of the time goes into the batch. */
static int prepare(void *arg)
{
	struct lease_table *t = arg;
	int64_t now = now_us(), left_ms = (t->until_us - now) / 1000;

	t->asked_us = now;
	if (left_ms <= 0)
		return -ETIMEDOUT;
	rules_batch_begin(&t->batch);
	if (t->renew)
		rules_batch_lease(&t->batch, 0);
	rules_batch_lease(&t->batch, (uint32_t)left_ms);
	rules_batch_end(&t->batch);
	return t->batch.failed ? -ENOMEM : 0;
}

static int grant(struct lease_table *t, uint32_t ms, bool renew)
{
	int64_t now = now_us();
	struct rules_result res;
	bool given = false;
	int ret;

	if (!ms)
		return -EINVAL;
	t->until_us = now + (int64_t)ms * 1000;
	t->renew = renew;
	ret = prepare(t);
	while (!ret) {
		ret = rules_nl_commit(t->nl, &t->batch, TRIES, prepare, t, &res);
		if (ret || now_us() - t->asked_us <= SLACK_US)
			break;
		t->renew = true;
		given = true;
		ret = prepare(t);
	}
	if (ret && given)
		lease_table_end(t);	/* it has too much, and cannot be put right in time */
	if (ret == -ERESTART || ret == -EAGAIN || (ret && given))
		return -ETIMEDOUT;
	return ret;
}

int lease_table_start(struct lease_table *t, uint32_t ms)
{
	int ret = grant(t, ms, false);

	/* one that has not run out yet is replaced */
	return ret == -EEXIST ? grant(t, ms, true) : ret;
}

int lease_table_renew(struct lease_table *t, uint32_t ms)
{
	return grant(t, ms, true);
}

int lease_table_end(struct lease_table *t)
{
	struct rules_result res;
	int ret;

	rules_batch_begin(&t->batch);
	rules_batch_lease(&t->batch, 0);
	rules_batch_end(&t->batch);
	ret = rules_nl_commit(t->nl, &t->batch, TRIES, NULL, NULL, &res);
	return ret == -ENOENT ? 0 : ret == -ERESTART ? -EAGAIN : ret;
}

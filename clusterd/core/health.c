// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/health.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "plug/plugin.h"

#define BACKOFF_MAX_MS 600000
/*
 * A look whose time is over by more than this when the tick comes says nothing about the service:
 * this daemon slept (a machine that was suspended, SIGSTOP).  Its lease is over as well.
 */
#define OVERSLEPT_MS 1000
#define BATCH_MS 50

struct check {
	struct health_check conf;
	uint32_t timeout_ms;		/* health_timeout_ms() */

	enum check_state state;
	int64_t since;
	bool known;
	bool down;			/* bad, and dead 'fall' times in a row since it was good */
	bool held;			/* the first repair: works, so its share waits for the outcome */
	bool given_up;
	uint16_t passed, failed, dead;	/* in a row */
	int value;
	uint32_t looks, late;

	/*
	 * Looks by interval begin at grid, grid + interval, ...; 'next' is the next look, there or, while
	 * failures are counted towards 'fall', earlier: see hurry().
	 */
	int64_t next, grid;
	int64_t due;			/* when 'fall' failures must have been counted */
	bool looking;
	bool hurried;			/* this look is not on the grid */
	bool orphan;			/* begun before health_set(): it may never be answered */
	bool first;			/* of the first set, and its first look has not ended yet */
	int64_t began, late_at;

	bool acting;
	uint16_t tries;
	uint16_t fruitless;		/* failures that count since the last action has ended */
	int64_t settled;		/* failures count from then on */
	int64_t again;			/* no other action before */
};

struct health {
	const struct health_ops *ops;
	void *arg;
	unsigned int n;
	struct check check[CHECKS_MAX];
	enum fitness told[SERVICES_MAX];
	bool was_set;
	int64_t now;
};

const char *check_state_str(enum check_state s)
{
	switch (s) {
	case CHECK_GOOD: return "good";
	case CHECK_BAD: return "bad";
	case CHECK_REPAIR: return "repair";
	}
	assert(!"state");
	return NULL;
}

uint32_t health_timeout_ms(const struct health_check *c)
{
	uint32_t most = c->interval_ms;

	/*
	 * Just after a good look the service hangs.  The next look begins one interval later, and 'fall'
	 * looks that take their whole time must fit into what is left of fall x interval.
	 */
	if (c->fall > 1)
		most = (uint32_t)((uint64_t)c->interval_ms * (c->fall - 1u) / c->fall);
	if (c->timeout_ms < most)
		most = c->timeout_ms;
	return most ? most : 1;
}

static void count(uint16_t *row)
{
	if (*row < UINT16_MAX)
		++*row;
}

/* A clock that goes back stands still here. */
static int64_t clock_forward(struct health *h, int64_t now)
{
	if (now > h->now)
		h->now = now;
	return h->now;
}

static unsigned int number(const struct health *h, const struct check *c)
{
	return (unsigned int)(c - h->check);
}

static void tell_event(struct health *h, const struct check *c, int priority, const char *name)
{
	h->ops->event(h->arg, number(h, c), priority, name);
}

static enum fitness verdict(const struct check *c)
{
	enum fitness f = c->down ? FITNESS_DOWN : FITNESS_WORKS;

	if (c->state == CHECK_GOOD)
		return FITNESS_UP;
	switch (c->conf.on_fail) {
	case HEALTH_ON_FAIL_AUTO:
		break;
	case HEALTH_ON_FAIL_DRAIN:
		f = FITNESS_WORKS;
		break;
	case HEALTH_ON_FAIL_NOW:
		f = FITNESS_DOWN;
		break;
	}
	return c->held && !c->down && f == FITNESS_WORKS ? FITNESS_UP : f;
}

static void tell_verdicts(struct health *h)
{
	enum fitness worst[SERVICES_MAX] = { FITNESS_UP };

	for (unsigned int i = 0; i < h->n; i++) {
		enum fitness f = verdict(&h->check[i]), *w = &worst[h->check[i].conf.service];

		if (f > *w)
			*w = f;
	}
	for (unsigned int s = 0; s < SERVICES_MAX; s++) {
		if (worst[s] == h->told[s])
			continue;
		h->told[s] = worst[s];
		h->ops->verdict(h->arg, s, worst[s]);
	}
}

static void set_state(struct check *c, enum check_state state, int64_t now)
{
	if (c->state != state)
		c->since = now;
	c->state = state;
}

/* ---- when ---- */

/* Are failures being counted that are no verdict yet? */
static bool counting(const struct check *c)
{
	return c->state == CHECK_GOOD && c->failed && c->failed < c->conf.fall;
}

/*
 * A look has failed at 'now' and 'left' more make the verdict.  Evenly, but so that there is time
 * even if each of them takes its whole timeout.
 */
static void hurry(struct check *c, int64_t now)
{
	int64_t left = c->conf.fall - c->failed, timeout = c->timeout_ms;
	int64_t interval = c->conf.interval_ms, even, latest;

	if (c->due - left * timeout + interval < now)	/* we are late ourselves: no burst */
		c->due = now + left * interval;
	even = now + (c->due - timeout - now) / left;
	latest = c->due - left * timeout;
	c->next = even < latest ? even : latest;
}

static void begin_look(struct health *h, struct check *c, int64_t now)
{
	int64_t interval = c->conf.interval_ms;

	c->hurried = counting(c);
	if (!c->hurried) {
		c->grid = c->next + (now - c->next) / interval * interval;	/* what was missed is */
		c->next = c->grid + interval;
	}
	c->looking = true;
	c->orphan = false;
	c->began = now;
	c->late_at = now + c->timeout_ms;
	c->looks++;
	h->ops->look(h->arg, number(h, c));	/* may answer at once */
}

/* After a look that has ended at 'now'. */
static void plan_next(struct check *c, int64_t now)
{
	int64_t interval = c->conf.interval_ms;

	if (counting(c)) {
		if (!c->hurried)
			c->due = c->began + (c->conf.fall - c->failed) * interval;
		hurry(c, now);
	} else if (c->hurried) {
		c->next = c->grid + ((now - c->grid) / interval + 1) * interval;
	}
}

/* ---- what follows ---- */

static void act(struct health *h, struct check *c)
{
	c->tries++;
	c->acting = true;
	tell_event(h, c, LOG_NOTICE, "REPAIR");
	h->ops->act(h->arg, number(h, c), c->tries);	/* may answer at once */
}

static void give_up(struct health *h, struct check *c, int64_t now)
{
	set_state(c, CHECK_BAD, now);
	c->given_up = true;
	c->held = false;
	tell_event(h, c, LOG_ERR, "REPAIR_FAILED");
	tell_verdicts(h);
}

/* Another failure, and the last action has ended: try again, wait, or give up. */
static void repair(struct health *h, struct check *c, int64_t now)
{
	if (c->tries && now >= c->settled)
		count(&c->fruitless);
	if (c->tries && c->fruitless < c->conf.fall)
		return;
	if (c->tries) {
		c->held = false;
		tell_verdicts(h);
	}
	if (c->tries >= c->conf.action_tries)
		give_up(h, c, now);
	else if (!c->tries || now >= c->again)
		act(h, c);
}

static void turn_good(struct health *h, struct check *c, int64_t now)
{
	set_state(c, CHECK_GOOD, now);
	c->down = c->held = c->given_up = false;
	c->tries = 0;
	tell_event(h, c, LOG_NOTICE, "CHECK_OK");
	tell_verdicts(h);
}

static void turn_bad(struct health *h, struct check *c, bool first, int64_t now)
{
	set_state(c, c->conf.action ? CHECK_REPAIR : CHECK_BAD, now);
	c->known = true;
	c->held = c->conf.action && !first;	/* there is no share yet that could stay */
	c->tries = 0;
	tell_event(h, c, LOG_WARNING, "CHECK_FAILED");
}

static void passed(struct health *h, struct check *c, bool first, int64_t now)
{
	count(&c->passed);
	c->failed = c->dead = 0;
	if (c->passed < c->conf.rise && !first)
		return;
	c->known = true;
	if (c->state != CHECK_GOOD)
		turn_good(h, c, now);
}

static void failed(struct health *h, struct check *c, bool dead, bool first, int64_t now)
{
	c->passed = 0;
	count(&c->failed);
	if (dead)
		count(&c->dead);
	else
		c->dead = 0;
	if (c->state == CHECK_GOOD && c->failed < c->conf.fall && !first)
		return;
	if (c->state == CHECK_GOOD)
		turn_bad(h, c, first, now);
	/* Once it was dead its connections are lost; that it works a little brings none back. */
	if (c->dead >= c->conf.fall || (first && dead))
		c->down = true;
	tell_verdicts(h);
	if (c->state == CHECK_REPAIR && !c->acting)
		repair(h, c, now);
}

static void ended(struct health *h, struct check *c, int value, int64_t now)
{
	bool first = c->first;

	c->looking = c->first = false;
	c->value = value;
	if (value >= CLUSTERD_FIT)
		passed(h, c, first, now);
	else
		failed(h, c, value <= CLUSTERD_DEAD, first, now);
	plan_next(c, now);
}

static void time_over(struct health *h, struct check *c, int64_t now)
{
	bool says_nothing = c->orphan || now - c->late_at > OVERSLEPT_MS;

	c->looking = false;
	h->ops->give_up(h->arg, number(h, c));
	if (says_nothing) {
		c->next = c->hurried ? now : c->grid;
		return;
	}
	c->late++;
	ended(h, c, CLUSTERD_DEAD, now);
}

/* ---- from outside ---- */

int health_new(struct health **out, const struct health_ops *ops, void *arg)
{
	struct health *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->ops = ops;
	h->arg = arg;
	h->now = INT64_MIN;
	*out = h;
	return 0;
}

void health_free(struct health *h)
{
	free(h);
}

/*
 * Looks are spread, but in batches: each wake-up of the daemon costs more than a look, and most answers of
 * this machine's own services are there before the next look of the batch has begun.
 */
static int64_t batch(int64_t ms)
{
	return ms / BATCH_MS * BATCH_MS;
}

static void check_new(struct check *c, unsigned int i, unsigned int n, bool first, int64_t now)
{
	int64_t interval = c->conf.interval_ms;

	c->state = CHECK_GOOD;
	c->since = now;
	c->value = -1;
	c->first = first;
	c->next = now + batch(interval * i / n);
	if (first)		/* due since then: at once, and the second look is at its place */
		c->next = now + batch(interval * (i + 1) / n) - interval;
}

/* 'c' goes on with another configuration. */
static void check_changed(struct check *c, int64_t now)
{
	int64_t interval = c->conf.interval_ms;

	if (c->looking)
		c->orphan = true;
	if (c->next > now + interval)
		c->next = now + interval;
	if (counting(c)) {
		c->due = now + (c->conf.fall - c->failed) * interval;
		hurry(c, now);
	}
	if (c->state == CHECK_REPAIR && !c->conf.action) {
		set_state(c, CHECK_BAD, now);
		c->held = false;
	} else if (c->state == CHECK_BAD && c->conf.action && c->tries < c->conf.action_tries) {
		/* There is something to try now.  Its share has left already. */
		set_state(c, CHECK_REPAIR, now);
		c->given_up = false;
		c->fruitless = c->conf.fall;
		c->settled = c->again = now;
	}
}

void health_set(struct health *h, const struct health_check *check, const int *keep, unsigned int n,
		int64_t now)
{
	struct check old[CHECKS_MAX];
	unsigned int n_old = h->n;

	assert(n <= CHECKS_MAX);
	now = clock_forward(h, now);
	memcpy(old, h->check, sizeof(old));
	memset(h->check, 0, sizeof(h->check));
	h->n = n;
	for (unsigned int i = 0; i < n; i++) {
		struct check *c = &h->check[i];

		assert(check[i].service < SERVICES_MAX && check[i].interval_ms && check[i].rise &&
		       check[i].fall && (!check[i].action || check[i].action_tries));
		if (keep[i] >= 0) {
			assert((unsigned int)keep[i] < n_old);
			*c = old[keep[i]];
		}
		c->conf = check[i];
		c->timeout_ms = health_timeout_ms(&c->conf);
		if (keep[i] >= 0)
			check_changed(c, now);
		else
			check_new(c, i, n, !h->was_set, now);
	}
	h->was_set = true;
	tell_verdicts(h);
}

void health_result(struct health *h, unsigned int check, int value, int64_t now)
{
	now = clock_forward(h, now);
	if (check < h->n && h->check[check].looking)
		ended(h, &h->check[check], value, now);
}

void health_acted(struct health *h, unsigned int check, bool ok, int64_t now)
{
	struct check *c;
	int64_t backoff;

	now = clock_forward(h, now);
	if (check >= h->n || !h->check[check].acting)
		return;
	c = &h->check[check];
	c->acting = false;
	if (c->state != CHECK_REPAIR)
		return;
	backoff = c->conf.action_backoff_ms;
	for (unsigned int i = 1; i < c->tries && backoff < BACKOFF_MAX_MS; i++)
		backoff *= 2;
	c->again = now + (backoff < BACKOFF_MAX_MS ? backoff : BACKOFF_MAX_MS);
	c->settled = now;
	c->fruitless = 0;
	if (ok) {
		c->settled += (int64_t)c->conf.rise * c->conf.interval_ms;
		return;
	}
	/* It says itself that it was of no use: no need to wait for more failures. */
	c->fruitless = c->conf.fall;
	c->held = false;
	if (c->tries >= c->conf.action_tries)
		give_up(h, c, now);
	else
		tell_verdicts(h);
}

void health_tick(struct health *h, int64_t now)
{
	now = clock_forward(h, now);
	for (unsigned int i = 0; i < h->n; i++) {
		struct check *c = &h->check[i];

		if (c->looking && now >= c->late_at)
			time_over(h, c, now);
		if (!c->looking && now >= c->next)
			begin_look(h, c, now);
	}
}

bool health_settled(const struct health *h)
{
	for (unsigned int i = 0; i < h->n; i++)
		if (h->check[i].first)
			return false;
	return true;
}

int64_t health_deadline(const struct health *h)
{
	int64_t first = INT64_MAX;

	for (unsigned int i = 0; i < h->n; i++) {
		const struct check *c = &h->check[i];
		int64_t at = c->looking ? c->late_at : c->next;

		if (at < first)
			first = at;
	}
	return first;
}

void health_get(const struct health *h, unsigned int check, struct health_status *out)
{
	const struct check *c;

	assert(check < h->n);
	c = &h->check[check];
	*out = (struct health_status){
		.state = c->state, .known = c->known, .verdict = verdict(c), .passed = c->passed,
		.failed = c->failed, .value = c->value, .tries = c->tries, .given_up = c->given_up,
		.looks = c->looks, .late = c->late, .since = c->since,
	};
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_HEALTH_H
#define CLUSTERD_CORE_HEALTH_H

/*
 * The checks of this node: when to look, what their results mean, what to do about it.  Pure; 'now'
 * in ms, monotonic; effects are values.  Whoever runs the checks (observe.c) asks, acts and answers.
 *
 *            fall failures                                    no tries left
 *   GOOD ---------------------> BAD --tries left--> REPAIR ------------------> BAD, said to be given up
 *     ^    (no action: straight   ^                   |  action, then backoff (doubled each time)
 *     |     to BAD)               |                   |
 *     +--- rise successes --------+-------------------+
 *
 * With an action the service keeps its buckets while the first REPAIR lasts only if it still WORKS;
 * if it is DEAD they leave at once, whatever is tried.  An action that has ended gives the check
 * 'rise' intervals before failures count; 'fall' of them, and the backoff, lead to another try.  One
 * that failed is known to be of no use at once.
 *
 * When:  a look begins every 'interval_ms'.  After a first failure looks come faster, so that the
 * verdict is there fall x interval after the service went bad, timeouts of the last look included
 * (fall = 1: interval + timeout).  A look that we could not end in time, because we did not run, does
 * not count; nor are looks made up for.
 */

#include "core/msg.h"

#define CHECKS_MAX 64

enum health_on_fail {
	HEALTH_ON_FAIL_AUTO,	/* as the check says: DEAD -> DOWN, else WORKS */
	HEALTH_ON_FAIL_DRAIN,	/* always a planned move */
	HEALTH_ON_FAIL_NOW,	/* always at once */
};

struct health_check {		/* of the configuration */
	uint8_t service;
	uint32_t interval_ms, timeout_ms;	/* timeout <= interval */
	uint16_t rise, fall;		/* >= 1 */
	enum health_on_fail on_fail;
	bool action;			/* there is one to try */
	uint16_t action_tries;		/* >= 1 */
	uint32_t action_backoff_ms;	/* after the first try; doubles, up to 10 minutes */
};

/*
 * What a look really gets: the timeout, but with fall > 1 no more than interval x (fall - 1) / fall, or
 * the verdict about a service that hangs could not be there in time.
 */
uint32_t health_timeout_ms(const struct health_check *c);

enum check_state { CHECK_GOOD, CHECK_BAD, CHECK_REPAIR };
const char *check_state_str(enum check_state s);	/* "good", "bad", "repair" */

struct health_status {		/* for 'clusterctl status' */
	enum check_state state;
	bool known;			/* it has given a verdict yet: rise or fall reached once */
	enum fitness verdict;		/* what it contributes to its service */
	uint16_t passed, failed;	/* in a row */
	int value;			/* of the last result; -1: none */
	uint16_t tries;			/* of the action since it was good */
	bool given_up;
	uint32_t looks, late;		/* since the start: looks, of these without an answer in time */
	int64_t since;			/* of 'state' */
};

struct health;

struct health_ops {
	/* Begin a look: answer with health_result(), or the timeout will. */
	void (*look)(void *arg, unsigned int check);
	/* The look is late and counts as DEAD: give it up. */
	void (*give_up)(void *arg, unsigned int check);
	/* Run the check's action; answer with health_acted(). */
	void (*act)(void *arg, unsigned int check, unsigned int attempt);
	/* The verdict about a service has changed: worst of its checks. */
	void (*verdict)(void *arg, unsigned int service, enum fitness h);
	/*
	 * Worth an event, once per change: 'name' is "CHECK_FAILED", "CHECK_OK", "REPAIR",
	 * "REPAIR_FAILED" (no tries left).
	 */
	void (*event)(void *arg, unsigned int check, int priority, const char *name);
};

/* 'ops', 'arg' borrowed until health_free().  0, -ENOMEM. */
int health_new(struct health **out, const struct health_ops *ops, void *arg);
void health_free(struct health *h);
/*
 * The list of checks, from a configuration.  keep[i] is the number that check i had before, or -1: it
 * is new and begins as GOOD with unknown verdict (a service is fit until a check says otherwise);
 * first looks are spread over one interval.  Services that lose their last check become UP.
 * The first call after health_new() is different, because a node that starts must not take traffic for
 * a service that is dead: its checks look at once, and the first result of each is its verdict.
 * A look or action that is under way goes on under the new number; a look that nobody answers any more
 * is begun again and does not count, an action must be answered.  No give_up() for what is gone.
 */
void health_set(struct health *h, const struct health_check *check, const int *keep, unsigned int n,
		int64_t now);
/* Has every check of that first call a verdict?  True if there was none. */
bool health_settled(const struct health *h);
/* value: CLUSTERD_DEAD .. CLUSTERD_FIT of plug/plugin.h.  Ignored when no look is under way. */
void health_result(struct health *h, unsigned int check, int value, int64_t now);
void health_acted(struct health *h, unsigned int check, bool ok, int64_t now);
void health_tick(struct health *h, int64_t now);
/* When to tick next; INT64_MAX: never. */
int64_t health_deadline(const struct health *h);
void health_get(const struct health *h, unsigned int check, struct health_status *out);

#endif

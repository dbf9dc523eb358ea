/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_REPORT_H
#define CLUSTERD_CORE_REPORT_H

/*
 * When does a node tell the group how loaded it is?  Pure; 'now' in ms, monotonic.
 *
 * Only when that is news: the load has crossed one of the thresholds (with hysteresis), or something
 * has moved by more than a step since it was told last, or processes begin or cease to hang or to
 * swap; and slowly again anyhow.  Never more often
 * than once per REPORT_MIN_MS, so that the traffic of the group is bounded: n nodes send at most n
 * messages of about 200 bytes per second, and at rest n per REPORT_REFRESH_MS.
 *
 * The load is smoothed: a third of what is new each time, so that noise of a second is damped to less
 * than half, and a step is there after some seconds.
 *
 * What is told of memory and processes is what the paper behind the memory policies does: of the last
 * five samples, taken every interval / 12 (5 s of a minute), the oldest is dropped; the rest is
 * averaged, of blocked and swapping the worst counts.
 */

#include "core/msg.h"

#define REPORT_MIN_MS     1000
#define REPORT_REFRESH_MS 30000
#define REPORT_THRESHOLDS { 250, 500, 700, 850, 950 }	/* of the load; 25 back before it counts as below again */
/*
 * Less than twice the band of policy-load.c at any load: or the policy would go on by what was told
 * until it has gone through the band, and come back, and so on.
 */
#define REPORT_STEP_LOAD  25		/* or a tenth, if that is more */
#define REPORT_STEP_IDLE  100
#define REPORT_STEP_SHARE 8	/* 1/8 of memory or connections, and more than 8 connections */

struct report {
	struct sample told;
	bool any;			/* something was told */
	bool again;			/* tell it again, news or not */
	int64_t told_at;
	unsigned int level;		/* thresholds that the load is above */
	unsigned int told_level;	/* ... that it was above when it was told */
	uint32_t load;			/* smoothed, times 1024 */
	/* the window for the averages */
	struct sample ring[5];
	unsigned int n_ring, at;
	int64_t ring_at;
	uint32_t spacing_ms;
	uint64_t n_told, n_seen;	/* for status and tests */
};

/* 'interval_ms' of the memory policies, 60000 unless configured; >= 1000. */
void report_init(struct report *r, uint32_t interval_ms);
/*
 * A new sample of this node, about once a second.  True: it is time to tell; '*out' is what.  'out' is
 * filled in any case (for this node's own status).
 */
bool report_sample(struct report *r, const struct sample *s, int64_t now, struct sample *out);
/* It was not told after all (the group is down): tell at the next sample. */
void report_failed(struct report *r);
/* Somebody has come who did not hear it: tell again, as soon as REPORT_MIN_MS allows. */
void report_again(struct report *r);

#endif

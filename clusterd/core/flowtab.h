/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_FLOWTAB_H
#define CLUSTERD_CORE_FLOWTAB_H

/*
 * Pure: what is known in userspace about flows.  Three areas of fixed size, so that what anybody
 * can fill cannot push out what only members can:
 *
 *   KNOWN   told by peers                      needs a peer's word; long life
 *   PICKED  decided here for a SYN             a SYN flood fills it, the oldest go: then only what the
 *                                              kernel's map does not have yet is lost
 *   ASKED   unknown, the peers were asked      a flood of spoofed ACKs fills it; asks are budgeted
 *
 * A flow is in one area only.  Each area is hashed with a secret seed into rows of 8; a full row
 * loses the entry that expires first.  All memory is taken by flowtab_new().
 *
 *            SYN: flowtab_pick()                    flowtab_learn()
 *   absent ----------------------> PICKED ----------------------------> KNOWN
 *      |                                                                  ^
 *      +--- flowtab_ask(): budget left ---> ASKED ---- flowtab_learn() ---+
 *
 * Time is 'now_ms', any monotonic clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/flow.h"

struct flowtab;

struct flowtab_params {
	/* most entries, rounded up to a power of two, at least 8 */
	uint32_t known, picked, asked;
	uint32_t known_ms, picked_ms;	/* lives, from the last use */
	uint32_t asks_per_s, asks_burst;
	uint32_t again_ms;		/* earliest second ask about one flow */
	uint32_t give_up_ms;		/* no more asks after this since the first */
	uint32_t forget_ms;		/* since the first ask; then it is asked about anew */
	uint32_t seed;			/* must not be guessable from outside */
};

/* NULL: out of memory. */
struct flowtab *flowtab_new(const struct flowtab_params *p);
void flowtab_free(struct flowtab *t);
/* Another give_up_ms from now on; forget_ms should be well above it. */
void flowtab_set_give_up(struct flowtab *t, uint32_t ms);

/*
 * The flow's node, from KNOWN or PICKED, or NOBODY; prolongs its life.  '*retell': a second has
 * passed since it came here or since the last time this was true: the kernel should know it by now,
 * and does not.
 */
unsigned int flowtab_find(struct flowtab *t, const struct flow *f, int64_t now_ms, bool *retell);

/* Remembers a decision made here (f->node).  The flow must not be there: flowtab_find() said so. */
void flowtab_pick(struct flowtab *t, const struct flow *f, int64_t now_ms);

/* A peer says where the flow ends (f->node): KNOWN from now on, whatever was there before. */
void flowtab_learn(struct flowtab *t, const struct flow *f, int64_t now_ms);

/* Forgets it wherever it is: its node is no more. */
void flowtab_drop(struct flowtab *t, const struct flow *f);

enum flowtab_ask {
	FLOWTAB_ASK,		/* ask the peers now */
	FLOWTAB_WAIT,		/* they were asked a moment ago */
	FLOWTAB_LOST,		/* nobody answered in time */
	FLOWTAB_NO_BUDGET,	/* too many unknown flows in this second: nothing was remembered */
};
/* A packet of a flow that is not there: shall the peers be asked? */
enum flowtab_ask flowtab_ask(struct flowtab *t, const struct flow *f, int64_t now_ms);

/* Entries that have not expired. */
struct flowtab_counts { uint32_t known, picked, asked; };
void flowtab_count(const struct flowtab *t, int64_t now_ms, struct flowtab_counts *out);
/* All memory that it will ever have. */
size_t flowtab_bytes(const struct flowtab *t);

#endif

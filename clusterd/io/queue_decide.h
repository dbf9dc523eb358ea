/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_QUEUE_DECIDE_H
#define CLUSTERD_IO_QUEUE_DECIDE_H

/*
 * Pure: one packet from the queue -> one verdict, and perhaps something to tell the main thread.
 * io/queue reads the packets and gives the verdicts.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/flowtab.h"
#include "io/queue.h"

/*
 * Reads the flow of an IP packet ('size' bytes of it, the beginning) into 'f' (service and node are
 * not touched).  '*is_new': a SYN, or UDP.  False: garbled, cut off within a header that counts, a
 * later fragment, or neither TCP nor UDP.  IPv6 extension headers are followed (RFC 8200), up to 8.
 */
bool queue_parse(const uint8_t *packet, size_t size, struct flow *f, bool *is_new);

struct queue_decider {
	uint8_t self;
	struct flowtab *flows;
	struct queue_table table;	/* n_services 0: all is dropped */
	/* new flows of this and of the last second or so: they may not be in the counts yet */
	uint32_t picks[SERVICES_MAX][NODES_MAX + 1], before[SERVICES_MAX][NODES_MAX + 1];
	int64_t aged_ms;
	uint32_t tie;			/* counts decisions, and is random at the start */
	int64_t resets_ms;		/* since when n_resets counts */
	unsigned int n_resets;		/* packets let in so that the stack answers with a reset */
	struct queue_stats stats;
	uint64_t decided[SERVICES_MAX], dropped[SERVICES_MAX];
};

struct queue_verdict {
	bool accept;
	uint32_t mark;			/* if accept */
	bool teach, ask;		/* tell the main thread about 'flow' */
	struct flow flow;
};

/* 'mark' is the packet's. */
struct queue_verdict queue_decide(struct queue_decider *d, uint32_t mark, const uint8_t *packet,
				  size_t size, int64_t now_ms);
void queue_decide_table(struct queue_decider *d, const struct queue_table *table, int64_t now_ms);

#endif

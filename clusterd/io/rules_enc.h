/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_ENC_H
#define CLUSTERD_IO_RULES_ENC_H

/*
 * Pure: operations -> the bytes of one nf_tables batch (begin, messages, end), which goes to the
 * kernel in one sendmsg.  Messages are numbered in nlmsg_seq: begin is 0, the last one
 * is end.
 */

#include <stdint.h>

#include "io/rules_plan.h"

struct rules_batch {
	uint8_t *buf;
	size_t used, room;
	/* what message 'seq' is about; obj NULL: begin, end, buckets, a table by name */
	struct rules_batch_what {
		const struct rules_plan *plan;
		const struct rules_obj *obj;
	} *what;
	unsigned int n, room_what;	/* messages so far, begin included */
	bool failed;			/* out of memory: not to be sent */
};

/* Starts anew; keeps the memory of earlier use. */
void rules_batch_begin(struct rules_batch *b);
void rules_batch_op(struct rules_batch *b, const struct rules_op *op);
/*
 * The differing buckets of [from, to) in a map of service 'service': deletions, then additions.
 * 'map': 'b' (sI_b, bucket -> code) or 'o' (sI_o, bucket of the old table -> code).
 */
void rules_batch_buckets(struct rules_batch *b, unsigned int service, char map,
			 const uint16_t *have, const uint16_t *want, uint32_t from, uint32_t to);
/* Removes a table by name. */
void rules_batch_del_table(struct rules_batch *b, uint8_t family, const char *name);
/*
 * One element of a map of numbers in netdev clusterd that rules fill, too: added if it is not there
 * (another number there: EBUSY), living 'timeout_ms', or removed (not there: ENOENT).
 */
void rules_batch_number(struct rules_batch *b, bool add, const char *map, const void *key,
			uint32_t key_size, uint32_t number, uint32_t timeout_ms);
/* The lease: one element that lives 'ms' (0: removal). */
void rules_batch_lease(struct rules_batch *b, uint32_t ms);
/* Sealed: nothing can be added any more. */
void rules_batch_end(struct rules_batch *b);
/* The generation that the kernel's rules must be of, else it refuses the batch (ERESTART). */
void rules_batch_genid(struct rules_batch *b, uint32_t genid);
void rules_batch_free(struct rules_batch *b);

#endif

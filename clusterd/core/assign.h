/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_ASSIGN_H
#define CLUSTERD_CORE_ASSIGN_H

/*
 * Who gets which bucket (DESIGN "Assignment").  Pure functions of their arguments: integers only, so
 * that every node and every compiler computes the same.  What they return is an agreement between
 * versions: a change here is a change of the protocol (tests/unit/assign_test.c pins values).
 *
 * 'salt' is the same on all nodes; different services use different ones, so that their layouts differ.
 */

#include "core/types.h"

/* Weight of each node, 0..10000, indexed by node id; 0 = takes nothing.  w[NOBODY] is not looked at. */
struct weights {
	uint16_t w[NODES_MAX + 1];
};

/*
 * The node that inherits 'bucket' when the nodes in the mask 'lost' are gone: the first one not lost
 * in the bucket's weighted rendezvous order over all nodes with a weight.  NOBODY if none is left.
 *
 * Monotone: the order does not depend on 'lost', so a larger set never changes the heir of a bucket
 * whose heir is not in it.  Two survivors with different views (and equal weights tables) therefore
 * never both inherit the bucket of a node that both have lost, unless one counts the other as lost.
 */
unsigned int assign_heir(uint32_t bucket, uint32_t salt, const struct weights *w, uint64_t lost);

/* -log2((u + 1/2) / 2^32) in units of 2^-26, to 2^-16; never 0.  The score behind assign_heir(). */
uint32_t assign_neglog2(uint32_t u);

/*
 * How many of 'buckets' (<= BUCKETS_MAX) each node should own: proportional to weight, largest
 * remainder, equal remainders by hash of (node, salt).  target[NOBODY] is 0, or 'buckets' if no node
 * has a weight: the sum is always 'buckets'.
 */
void assign_targets(const struct weights *w, uint32_t buckets, uint32_t salt,
		    uint32_t target[NODES_MAX + 1]);

/* Room to work for assign_share(), 1 MiB, owned by the caller.  Needs no initialisation. */
struct assign_scratch {
	uint64_t key[2][BUCKETS_MAX];
	uint32_t count[3][1 << 11];
};

/*
 * The planned layout: fills next[0..buckets-1] with the node that should own each bucket, and
 * returns in how many it differs from 'owner' (values <= NODES_MAX, NOBODY = not owned).  The result
 * has exactly the assign_targets(), by the fewest moves: a node that has more than its target gives
 * just the excess, one that has less takes just what it lacks, all others are left alone.  Which
 * buckets go is decided by hash of (bucket, node), so a node that goes and comes back gets back
 * most of the very buckets that it had (over 90 % among a few nodes, half among 64).
 *
 * pinned[b] != 0: bucket b must stay with its owner now (NULL: none is pinned).  If that keeps a node
 * above its target, the nodes below theirs are left short in proportion to what they lack; the sum
 * of distances from the targets is the smallest possible.
 *
 * first[b] != 0: of the buckets that a node could give, these go before others (NULL: none).
 *
 * 'next' may be the same array as 'owner'.
 */
uint32_t assign_share(const uint8_t *owner, const uint8_t *pinned, const uint8_t *first,
		      uint32_t buckets, uint32_t salt, const struct weights *w, uint8_t *next,
		      struct assign_scratch *s);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_REPL_PRIV_H
#define CLUSTERD_CORE_REPL_PRIV_H

/* Shared by repl.c (messages) and repl_snap.c (digest, snapshot, invariants). */

#include "core/repl.h"

struct repl {
	struct repl_params p;
	uint64_t epoch, lineage, config, dead;
	uint64_t plan;			/* epoch of the plan under way; 0: none */
	bool preparing;			/* the plan waits for ACKs: both sets of weights count */
	uint64_t acks;
	uint64_t alive;			/* nodes that can be heirs: had weight at the last commit, not failed since */
	struct weights hw, hw_next;	/* behind heir(): committed, and by the plan under way */
	struct repl_node node[NODES_MAX + 1];
	struct repl_bucket *bucket[SERVICES_MAX];
	/* room to work */
	uint8_t *owner, *pinned, *next;
	struct assign_scratch *scratch;
	struct repl *spare;		/* where a snapshot is read to; has none of these itself */
};

/* Mask of all configured nodes. */
uint64_t repl_all_nodes(const struct repl *r);
/* Mask of the nodes that have a weight in 'w'. */
uint64_t repl_weight_mask(const struct weights *w, unsigned int n_nodes);
/* One step of a 64-bit hash. */
uint64_t repl_mix(uint64_t h, uint64_t v);
/* Differs when a field of the node does; padding does not count. */
uint64_t repl_node_digest(const struct repl *r, const struct repl_node *n);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_REPL_PRIV_H
#define CLUSTERD_CORE_REPL_PRIV_H

/*
 * Shared by repl.c (messages), repl_hold.c (holders), repl_layout.c (change of the layout) and
 * repl_snap.c (digest, snapshot, invariants).
 */

#include "core/repl.h"

struct repl {
	struct repl_params p;
	uint64_t epoch, lineage, config, dead;
	uint64_t plan;			/* epoch of the plan under way; 0: none */
	bool preparing;			/* the plan waits for ACKs: both sets of weights count */
	uint64_t closing;		/* all has moved, the plan waits for ACKs of that: since then; else 0 */
	uint64_t acks;
	uint64_t alive;			/* nodes that can be heirs: had weight at the last commit, not failed since */
	struct weights hw, hw_next;	/* behind heir(): committed, and by the plan under way */
	struct repl_node node[NODES_MAX + 1];
	uint8_t holder[HOLDERS_MAX];
	/* The layout in force, and the rehash under way: its epoch; who has ACKed (FREEZE, SWITCH), ... */
	struct layout layout;
	enum repl_rehash rehash_phase;
	uint64_t rehash, rehash_acks;
	struct layout coming;		/* ... what is to come (FREEZE), ... */
	struct layout old;		/* ... what was, and who may still live by it (SWITCH, MIXED) */
	uint64_t mixed;
	uint64_t switched;		/* epoch of the last change */
	/*
	 * Tables have room for BUCKETS_MAX, so that nothing is allocated later: untouched pages of the
	 * greater part cost nothing.
	 */
	struct repl_bucket *bucket[SERVICES_MAX];
	uint8_t *old_owner;		/* SWITCH, MIXED: [service][BUCKETS_MAX] */
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

/* What a plan would go by, if the nodes in 'without' were not admitted. */
void repl_plan_weights(const struct repl *r, uint64_t without, struct weights *w);

/* repl_hold.c */
/* After any other change: no VIP without a holder that may be one.  True if that changed something. */
bool repl_hold(struct repl *r);
/* Where a plan would put the VIPs.  True if that is not where they are. */
bool repl_hold_plan(const struct repl *r, uint8_t holder[HOLDERS_MAX]);

/* repl_layout.c */
void repl_note(struct repl_fx *fx, enum repl_note_type type, unsigned int node, unsigned int by,
	       uint32_t n, uint32_t arg);
int repl_apply_layout(struct repl *r, const struct msg *m, struct repl_fx *fx);
void repl_apply_unmixed(struct repl *r, const struct msg *m, struct repl_fx *fx);
void repl_apply_rehash_ack(struct repl *r, const struct msg *m, struct repl_fx *fx);
/* A node was admitted, or is not any more ('back': it may come back for its connections). */
void repl_layout_admitted(struct repl *r, unsigned int id);
void repl_layout_without(struct repl *r, unsigned int id, bool back);
/* After any other change: what is due of the rehash. */
/* The new layout is in force, and the old one not forgotten. */
static inline bool repl_two_layouts(const struct repl *r)
{ return r->rehash_phase == REHASH_SWITCH || r->rehash_phase == REHASH_MIXED; }
void repl_layout_step(struct repl *r, struct repl_fx *fx);
bool repl_layout_sound(const struct repl *r);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_REPL_PRIV_H
#define CLUSTERD_CORE_REPL_PRIV_H

/*
 * Shared by repl.c (messages), weigh.c (weights), repl_hold.c (holders), repl_layout.c (change of the
 * layout) and repl_snap.c (digest, snapshot, invariants).
 */

#include "core/repl.h"

struct repl {
	struct repl_params p;
	uint64_t epoch, lineage, config, dead;
	uint64_t plan;			/* epoch of the plan under way; 0: none */
	bool preparing;			/* the plan waits for ACKs: both sets of weights count */
	uint64_t closing;		/* all has moved, the plan waits for ACKs of that: since then; else 0 */
	uint64_t acks;
	/* By service: nodes that can be heirs: had weight at the last commit, not failed since; */
	uint64_t alive[SERVICES_MAX];
	/* ... the weights behind heir(): committed, and by the plan under way; */
	struct weights hw[SERVICES_MAX], hw_next[SERVICES_MAX];
	uint64_t moved[SERVICES_MAX];	/* ... epoch in which a bucket changed its owner last */
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
	uint8_t *owner, *pinned, *first, *next;
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

/* The sender of 'm' is admitted, as the very process that sent it. */
static inline bool repl_admitted(const struct repl *r, const struct msg *m)
{
	const struct repl_node *n = &r->node[m->from];

	return n->state == NODE_ONLINE && n->incarnation == m->incarnation;
}

/* weigh.c */
#define WEIGHT_MAX 1000		/* of a node, by configuration or order */
/* By configuration or order; 0: it gets no new work. */
uint16_t repl_own_weight(const struct repl_node *n);
/* What a plan would go by for the buckets of a service, if the nodes in 'without' were not admitted. */
void repl_plan_weights(const struct repl *r, unsigned int service, uint64_t without,
		       struct weights *w);
/* The nodes' own, whatever the services: returned ones wait for 'failback', unless nobody else is left. */
void repl_node_weights(const struct repl *r, uint64_t without, struct weights *w);
/* Fills r->next for one service; returns the number of buckets that a plan would move. */
uint32_t repl_share(struct repl *r, unsigned int s, const struct weights *w);
/* After that: the node to which a plan would move the bucket, NOBODY if it stays. */
unsigned int repl_goes_to(const struct repl *r, unsigned int s, uint32_t b, const struct weights *w);
/* DRAIN, UNDRAIN, WEIGHT and FAILBACK (any node id); other orders: nothing. */
void repl_set_order(struct repl *r, enum order_type order, unsigned int node, uint16_t value);
/* A plan has ended: who has its share back? */
void repl_share_back(struct repl *r, struct repl_fx *fx);
/* What a new process says of its services, along with its READY. */
void repl_take_health(struct repl *r, const struct msg *m, struct repl_fx *fx);
int repl_apply_health(struct repl *r, const struct msg *m, struct repl_fx *fx);
int repl_apply_idle(struct repl *r, const struct msg *m, struct repl_fx *fx);
int repl_apply_reweigh(struct repl *r, const struct msg *m, struct repl_fx *fx);
/* What others said of 'id', and it of others, is void: it is another process. */
void repl_forget_verdicts(struct repl *r, unsigned int id, struct repl_fx *fx);
/* May what a neighbour said (seen_down) still count? */
bool repl_verdict_stands(const struct repl *r, unsigned int service, unsigned int id);
/* After any other change: no verdict that may not count. */
void repl_health_step(struct repl *r, struct repl_fx *fx);
void repl_forget_idle(struct repl *r);
/* What may change by any message, and matters to the rules or is to be told. */
struct repl_look {
	uint64_t plan, serve;		/* serve: digest of the schedulers' weights */
	uint32_t sorry;			/* bit per service */
};
void repl_look(const struct repl *r, struct repl_look *l);

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

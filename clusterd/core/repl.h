/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_REPL_H
#define CLUSTERD_CORE_REPL_H

/*
 * The replicated state: which nodes are admitted, and who owns which bucket of each service.
 *
 * Every node applies the same messages in the same order and must end in the same state, bit for
 * bit; repl_digest() lets them prove it.  No clock, no randomness, no I/O, no allocation after
 * repl_new(), nothing local to a node.  There is no "now" on purpose.
 *
 * A node:
 *               READY                FAIL, READY of a new incarnation        READY
 *   OFFLINE ------------> ONLINE ------------------------------> FAILED -----------> ONLINE ...
 *      ^                    |   BYE
 *      +--------------------+
 *   Each admission has a term (made of lineage and epoch, none comes twice), each lease belongs to one.
 *
 * A bucket (owner takes new flows; 'other' is the second party of a move):
 *
 *   STABLE --PLAN--> PREPARE --all ACK--> HANDOFF --LEFT--> ADOPT --ADOPTED--> DRAIN --DRAINED--> STABLE
 *   owner: old       old                  old               new                new                new
 *   other: -         new                  new               old                old                -
 *
 *   GRACE: owner is the heir of 'other', which crashed and may come back for its connections.
 *   A new owner that crashes during ADOPT or DRAIN is the 'third', for the old one has connections too
 *   and the heir can ask only one: when the old one is DRAINED or gone, 'third' is 'other' of GRACE,
 *   or of DRAIN if it is back.  Nobody resets its connections meanwhile; where packets are handed on,
 *   only those that come in at 'third' itself reach it.  A second crash forgets the first one's.
 *   PLAN takes two more ways: GRACE --> PREPARE when 'other' is back, and DRAIN --> PREPARE when the
 *   service at the owner is not fit any more, and at 'other' it is: 'other' gets the bucket back.
 *
 * The rule behind PREPARE: a survivor may inherit by lease, without a word from the group, so it may
 * act on an old table.  Before a bucket can be accepted by its new owner, every admitted node's
 * kernel has acknowledged that the bucket is on the move; a node that knows that leaves it to the
 * two parties (repl_inherits()).  The weights behind heir() change by the same barrier.
 * The plan ends by another one: when all is in DRAIN, every admitted node ACKs once more.  Only then
 * may a bucket be DRAINED: who still hands packets to the old owner needs it to hand them on.
 *
 * The layout, i.e. how packets become bucket numbers, changes for the whole cluster:
 *
 *   NONE --every admitted node wants the same other layout, nothing moves--> FREEZE --all ACK-->
 *   SWITCH --all ACK--> MIXED --all UNMIXED--> NONE
 *   FREEZE, SWITCH: nobody takes new flows, nobody is admitted.  SWITCH, MIXED: the new layout is in
 *   force; what lives elsewhere by the old one goes on there.  No plan begins before it is over.
 *
 * Weights follow what nodes say of themselves, and buckets follow the weights by plans only:
 *
 *   HEALTH   A node says it of itself.  Its right neighbour in the ring may say DOWN of it too, which
 *            stands as long as it is that neighbour and another node is fit.  A new process is what
 *            its READY says.
 *   REWEIGH  The policy is asked about the admitted nodes with a weight of their own.  What it wants is
 *            scaled so that the largest factor is 1000.  Nothing changes if it gives more than 1000 or
 *            all 0, nor if less than 1/16 of 'step' would move and no factor goes to or from 0.
 *            The factors go there at once in a 'direct' service; else as far as 'step' of the
 *            buckets go (at least one), in a straight line between the old and the new factors.
 *            But a factor that goes to 0 is at least halved each time, whatever that moves.
 *   IDLE     These buckets go first in the next plan.  Void if a bucket of the service, or the layout,
 *            has changed its owner since the flows were counted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/assign.h"
#include "core/msg.h"
#include "core/types.h"
#include "plug/plugin.h"

enum repl_node_state { NODE_OFFLINE, NODE_ONLINE, NODE_FAILED };

enum repl_phase { PHASE_STABLE, PHASE_PREPARE, PHASE_HANDOFF, PHASE_ADOPT, PHASE_DRAIN, PHASE_GRACE,
		  PHASES_N };
const char *repl_phase_str(enum repl_phase p);

struct repl_node {
	uint8_t state;			/* enum repl_node_state */
	bool drain;			/* by order */
	bool leaving;			/* clean stop under way */
	bool hold_back;			/* returned, waits for 'failback' */
	bool ever;			/* was admitted before */
	bool refused;			/* asked for admission with another configuration */
	bool proposed;			/* ONLINE, and wants another layout: 'wanted' */
	uint16_t weight_conf, weight_order;	/* weight_order: ORDER_AUTO = none */
	uint16_t ramp;			/* slow start: 1..RAMP_FULL of its share */
	bool returning;			/* was here before, and has not got its share back yet */
	uint8_t health[SERVICES_MAX];	/* enum fitness: by its own checks */
	uint8_t seen_down[SERVICES_MAX];	/* the neighbour that cannot reach the service here; NOBODY */
	uint16_t factor[SERVICES_MAX];	/* 0..1000 of its weight: by the service's policy */
	uint32_t term;
	uint64_t incarnation;
	struct layout wanted;
	struct link link[SERVICES_MAX];
};

struct repl_bucket {
	uint8_t owner, other;
	uint8_t phase;			/* enum repl_phase */
	uint8_t third;			/* DRAIN: was owner, crashed, may have live flows as well; NOBODY */
	bool flows;			/* PREPARE, HANDOFF: 'other' has live flows, crashed or not drained */
	bool idle;			/* STABLE: its owner said so; the next plan takes these first, and forgets */
	uint32_t since;			/* epoch (low bits) of entering DRAIN */
};

/* How the shares of a service follow the loads. */
struct repl_policy {
	/* Of plug/plugin.h; NULL: weights are static.  The same on all nodes, as is all of this. */
	const struct clusterd_policy_ops *ops;
	uint32_t process_memory_kb, connections_per_minute;
	uint16_t step;			/* of the buckets that may move by one REWEIGH: 1..1000 per mille */
	/* The factors are for a scheduler of new connections: no bucket moves for them, they count at once. */
	bool direct;
};

struct repl_params {
	uint8_t n_nodes, n_services;
	struct layout layout;		/* of an empty state; later see repl_layout() */
	bool ignore_quorum;
	uint32_t salt[SERVICES_MAX];	/* the same on all nodes: from the service's name */
	struct repl_policy policy[SERVICES_MAX];
	uint16_t n_vips;		/* different VIPs of announce services; <= HOLDERS_MAX */
	uint32_t vip_salt[HOLDERS_MAX];	/* the same on all nodes: from the address */
};

/* What an application of a message did, for the log and the events list. */
enum repl_note_type {
	NOTE_ADMITTED, NOTE_REFUSED, NOTE_FAILED, NOTE_BYE, NOTE_PLAN, NOTE_MOVED, NOTE_DRAINED,
	NOTE_DRAIN_FORCED, NOTE_GRACE_END, NOTE_ORDER, NOTE_TAKEN,
	NOTE_LAYOUT, NOTE_FREEZE, NOTE_SWITCH, NOTE_MIX_FORCED, NOTE_MIX_END,
	NOTE_HEALTH, NOTE_REWEIGH, NOTE_SHARE_BACK, NOTE_SORRY,
};
struct repl_note {
	enum repl_note_type type;
	uint8_t node, by;
	/* ADMITTED, FAILED: term; ORDER: value; LAYOUT, FREEZE, SWITCH: of the layout; others: */
	uint32_t n;		/* buckets */
	/*
	 * ADMITTED: 1 = it was here before; FAILED: fail_kind; ORDER: order_type; HEALTH (n: service;
	 * by: who says so; NOBODY: its neighbour does not say DOWN any more): enum fitness; SORRY (n:
	 * service): 1 = no node is fit for it, 0 = over; REWEIGH (n: service; by: whose message; node:
	 * NOBODY, and once more for each node whose factor goes to or from 0): 1 = buckets will move.
	 */
	uint32_t arg;
};
struct repl_fx {
	bool changed;			/* state (and digest) changed */
	/* Buckets may compile differently; or holders, a scheduler's weights or repl_sorry() have changed. */
	bool tables;
	unsigned int n_notes;
	struct repl_note note[2 * NODES_MAX + 8];
};

struct repl;

/* 0, -EINVAL, -ENOMEM.  Starts empty, epoch 0. */
int repl_new(struct repl **out, const struct repl_params *p);
void repl_free(struct repl *r);
/* Back to the empty state. */
void repl_reset(struct repl *r);

/*
 * Applies one replicated message.  A message that makes no sense now is ignored on every node alike.
 * 'fx' is overwritten.  0, or -EBADMSG if the message is malformed (state unchanged).
 */
int repl_apply(struct repl *r, const struct msg *m, struct repl_fx *fx);

uint64_t repl_epoch(const struct repl *r);
/*
 * Which history this is: a majority that has forgotten everything (all its processes died) begins
 * another one.  Whoever did not forget must not win over it later: the greater number, which comes
 * from the founder's incarnation, is the younger history.  0: none yet.
 */
uint64_t repl_lineage(const struct repl *r);
uint64_t repl_digest(const struct repl *r);
uint64_t repl_config(const struct repl *r);	/* configuration digest of the cluster, 0: none yet */
const struct repl_params *repl_get_params(const struct repl *r);
const struct repl_node *repl_get_node(const struct repl *r, unsigned int id);
const struct repl_bucket *repl_get_bucket(const struct repl *r, unsigned int service, uint32_t b);
uint64_t repl_online(const struct repl *r);	/* mask of NODE_ONLINE */
uint64_t repl_dead(const struct repl *r);	/* mask of nodes that the operator declared dead */
/* ---- weights ---- */
#define WEIGHT_SCALE 10		/* effective weights are that many times finer than configured ones */
/*
 * That PLAN would use for the buckets of that service: weight by configuration or order, x slow start
 * x the policy's factor, x WEIGHT_SCALE; 0 while the service is not fit there.  If no node is fit for
 * it, as if all were: the buckets are then spread for what repl_sorry() says.  In a 'direct' service
 * health and factor do not count: its owners only direct.  A fit node that waits for failback, or has
 * factor 0, goes before one that is not fit.
 */
uint16_t repl_weight(const struct repl *r, unsigned int service, unsigned int id);
/* The share of new connections that a scheduler should give it; 0: none.  Same scale. */
uint16_t repl_serve_weight(const struct repl *r, unsigned int service, unsigned int id);
/* The node's own, 0..1000, whatever its services: by configuration or order, 0 if drained or not admitted. */
uint16_t repl_node_weight(const struct repl *r, unsigned int id);
/* Fit to serve: by its own checks, and its neighbour's.  Admitted or not. */
bool repl_fit(const struct repl *r, unsigned int service, unsigned int id);
/* Does not serve at all, or its neighbour cannot reach it: no connections there are worth waiting for. */
bool repl_down(const struct repl *r, unsigned int service, unsigned int id);
/* A node besides 'but' may get work and is fit for it. */
bool repl_another_fit(const struct repl *r, unsigned int service, unsigned int but);
/*
 * No node that may get work is fit for the service.  If none may get any (all are drained), no
 * admitted one; false if none is admitted.
 */
bool repl_sorry(const struct repl *r, unsigned int service);
/*
 * Would this REWEIGH change anything?  The coordinator asks before it multicasts one.  Scratch use only.
 */
bool repl_reweigh_needed(struct repl *r, const struct msg *m);

/*
 * The ring of the admitted nodes, by ascending id: '*left' is the next lower one of 'id', '*right' the
 * next higher one, around the end.  NOBODY if there is no other.  'id' need not be admitted.
 */
void repl_ring(const struct repl *r, unsigned int id, unsigned int *left, unsigned int *right);

/*
 * Dry run: what would move if 'order' (DRAIN, UNDRAIN, WEIGHT, FAILBACK; others: nothing) came now, by a
 * plan that nothing disturbs.  'cb' (may be NULL) is called for each bucket that would change its
 * owner, and must not change 'r'; 'from' may be NOBODY.  Returns how many.
 * Scratch use only, state unchanged.
 */
uint32_t repl_preview(struct repl *r, enum order_type order, unsigned int node, uint16_t value,
		      void (*cb)(void *arg, unsigned int service, uint32_t bucket, unsigned int from,
				 unsigned int to), void *arg);
/* Nodes that count for a majority: configured, not declared dead. */
bool repl_majority(const struct repl *r, uint64_t members);

uint64_t repl_plan(const struct repl *r);	/* epoch of the plan under way, 0: none */
/* What an ACK must name now: the plan in PREPARE, its end when nothing is left to do; 0: none is due. */
uint64_t repl_plan_ack(const struct repl *r);
uint64_t repl_plan_acks(const struct repl *r);
/* Buckets (all services) in 'phase' with that owner / that other; NOBODY: any. */
uint32_t repl_count(const struct repl *r, enum repl_phase phase, unsigned int owner, unsigned int other);
/* Does a bucket wait for the connections of 'id' (NOBODY: of any), which crashed and may be back by now? */
bool repl_awaits(const struct repl *r, unsigned int id);
uint32_t repl_owned(const struct repl *r, unsigned int service, unsigned int owner);
uint32_t repl_moving(const struct repl *r, unsigned int service);	/* not STABLE */
uint32_t repl_draining(const struct repl *r, unsigned int service);	/* of these: DRAIN */
/*
 * Would PLAN do anything now, to buckets or to holders?  (scratch use only, state unchanged)
 */
bool repl_plan_needed(struct repl *r);

/* Heir of a bucket by the committed weights, with those nodes lost besides the failed ones. */
unsigned int repl_heir(const struct repl *r, unsigned int service, uint32_t b, uint64_t lost);
/*
 * May 'self' take new flows of this bucket on its own account because all who could are in 'lost'
 * (nodes whose leases a majority has seen end)?  Never true for two nodes at once, whatever prefix
 * of the order each has seen.
 */
bool repl_inherits(const struct repl *r, unsigned int service, uint32_t b, unsigned int self,
		   uint64_t lost);

/* ---- who answers ARP and ND for a VIP (dispatch = announce) ---- */

/*
 * The node that answers for VIP number 'vip' (< n_vips), NOBODY if none is admitted.  A holder that
 * fails, drains or leaves is replaced at once; spreading evenly and giving back happen by PLAN.
 * With 'lost', what FAIL of these will make of it.  Two nodes may believe to be the holder for a
 * moment: a holder only hands on, it is no harm.
 */
unsigned int repl_holder(const struct repl *r, unsigned int vip, uint64_t lost);
/* All at once: fills holder[0 .. n_vips). */
void repl_holders(const struct repl *r, uint64_t lost, uint8_t holder[HOLDERS_MAX]);

/* ---- the layout ---- */

enum repl_rehash { REHASH_NONE, REHASH_FREEZE, REHASH_SWITCH, REHASH_MIXED };
/* In force: all bucket numbers here are by it. */
const struct layout *repl_layout(const struct repl *r);
enum repl_rehash repl_rehash_phase(const struct repl *r);
uint64_t repl_rehash(const struct repl *r);		/* epoch in which the rehash began, 0: none */
/* What an ACK must name now: of FREEZE and SWITCH; 0: none is due. */
uint64_t repl_rehash_ack(const struct repl *r);
uint64_t repl_rehash_acks(const struct repl *r);
/* SWITCH, MIXED: nodes that may still hold flows of the old layout elsewhere than the new one says. */
uint64_t repl_mixed(const struct repl *r);
/* Epoch of the last change of the layout; 0: never. */
uint64_t repl_switched(const struct repl *r);
/* FREEZE, SWITCH: every new flow is to be dropped. */
bool repl_freeze(const struct repl *r);
/* SWITCH, MIXED: the layout before; else NULL. */
const struct layout *repl_old_layout(const struct repl *r);
/* SWITCH, MIXED: by old bucket, who owned it (may be gone by now); else NULL.  Good until the next repl_apply(). */
const uint8_t *repl_old_owner(const struct repl *r, unsigned int service);

/* Snapshot: canonical bytes.  repl_save() needs repl_save_max() bytes of room. */
size_t repl_save_max(const struct repl *r);
size_t repl_save(const struct repl *r, uint8_t *buf, size_t size);
/* -EBADMSG: unchanged. */
int repl_load(struct repl *r, const uint8_t *buf, size_t size);

/* True if every invariant holds; for assert and the simulator. */
bool repl_valid(const struct repl *r);

#endif

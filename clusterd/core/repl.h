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
 *
 * The rule behind PREPARE: a survivor may inherit by lease, without a word from the group, so it may
 * act on an old table.  Before a bucket can be accepted by its new owner, every admitted node's
 * kernel has acknowledged that the bucket is on the move; a node that knows that leaves it to the
 * two parties (repl_inherits()).  The weights behind heir() change by the same barrier.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/assign.h"
#include "core/msg.h"
#include "core/types.h"

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
	uint16_t weight_conf, weight_order;	/* weight_order: ORDER_AUTO = none */
	uint32_t term;
	uint64_t incarnation;
	struct link link[SERVICES_MAX];
};

struct repl_bucket {
	uint8_t owner, other;
	uint8_t phase;			/* enum repl_phase */
	bool flows;			/* PREPARE, HANDOFF: 'other' has live flows of before a crash */
	uint32_t since;			/* epoch (low bits) of entering DRAIN */
};

struct repl_params {
	uint8_t n_nodes, n_services;
	uint32_t buckets;
	bool ignore_quorum;
	uint32_t salt[SERVICES_MAX];	/* the same on all nodes: from the service's name */
};

/* What an application of a message did, for the log and the events list. */
enum repl_note_type {
	NOTE_ADMITTED, NOTE_REFUSED, NOTE_FAILED, NOTE_BYE, NOTE_PLAN, NOTE_MOVED, NOTE_DRAINED,
	NOTE_DRAIN_FORCED, NOTE_GRACE_END, NOTE_ORDER, NOTE_TAKEN,
};
struct repl_note {
	enum repl_note_type type;
	uint8_t node, by;
	uint32_t n;		/* ADMITTED, FAILED: term; ORDER: value; others: buckets */
	uint32_t arg;		/* ADMITTED: 1 = it was here before; FAILED: fail_kind; ORDER: order_type */
};
struct repl_fx {
	bool changed;			/* state (and digest) changed */
	bool tables;			/* buckets may compile differently */
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
uint16_t repl_weight(const struct repl *r, unsigned int id);	/* that PLAN would use */
/* Nodes that count for a majority: configured, not declared dead. */
bool repl_majority(const struct repl *r, uint64_t members);

uint64_t repl_plan(const struct repl *r);	/* epoch of the plan under way, 0: none */
uint64_t repl_plan_acks(const struct repl *r);
/* Buckets (all services) in 'phase' with that owner / that other; NOBODY: any. */
uint32_t repl_count(const struct repl *r, enum repl_phase phase, unsigned int owner, unsigned int other);
uint32_t repl_owned(const struct repl *r, unsigned int service, unsigned int owner);
uint32_t repl_moving(const struct repl *r, unsigned int service);	/* not STABLE */
uint32_t repl_draining(const struct repl *r, unsigned int service);	/* of these: DRAIN */
/* Would PLAN do anything now?  (scratch use only, state unchanged) */
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

/* Snapshot: canonical bytes.  repl_save() needs repl_save_max() bytes of room. */
size_t repl_save_max(const struct repl *r);
size_t repl_save(const struct repl *r, uint8_t *buf, size_t size);
/* -EBADMSG: unchanged. */
int repl_load(struct repl *r, const uint8_t *buf, size_t size);

/* True if every invariant holds; for assert and the simulator. */
bool repl_valid(const struct repl *r);

#endif

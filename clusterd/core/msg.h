/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_MSG_H
#define CLUSTERD_CORE_MSG_H

/*
 * The messages of the group, as values.  wire/msg.h turns them into bytes and back.
 * Numbers go on the wire: append only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/types.h"
#include "util/addr.h"

#define MSG_VERSION 3
#define MSG_SIZE_MAX 60000		/* bytes of one encoded message */
#define SNAP_CHUNK   32768		/* bytes of snapshot in one MSG_SNAP */

/* X(NAME, text, replicated: changes the replicated state) */
#define MSG_TYPES(X) \
	X(ROUND,     "round",     false) /* start a state exchange; u.round is its name */ \
	X(STATE,     "state",     false) /* what the sender held where the exchange began */ \
	X(SNAP,      "snap",      false) /* a piece of the winner's state */ \
	X(READY,     "ready",     true)  /* sender is silent, in step, and wants to be admitted */ \
	X(FAIL,      "fail-down", true)  /* u.fail.node has no lease in that term any more */ \
	X(BYE,       "bye",       true)  /* sender has stopped and is silent */ \
	X(PLAN,      "plan",      true)  /* even the shares out now */ \
	X(ACK,       "ack",       true)  /* sender's kernel knows the plan */ \
	X(LEFT,      "left",      true)  /* sender's kernel hands new flows of its moving buckets on */ \
	X(ADOPTED,   "adopted",   true)  /* sender's kernel takes new flows of its new buckets */ \
	X(DRAINED,   "drained",   true)  /* sender holds no flow of these buckets any more */ \
	X(GRACE_END, "grace-end", true)  /* a crashed node has not come back in time */ \
	X(ORDER,     "order",     true)  /* an operator's order */ \
	X(CLEAR_REQ, "clear-req", false) /* sender wants to grant to u.clear.node again */ \
	X(CLEAR_ACK, "clear-ack", false) /* sender has inherited nothing from it */ \
	X(DIGEST,    "digest",    false) /* for comparison */ \
	X(LAYOUT,    "layout",    true)  /* sender's configuration wants this layout */ \
	X(UNMIXED,   "unmixed",   true)  /* sender holds no flow that only the old layout explains */ \
	X(LOAD,      "load",      false) /* how loaded the sender is */ \
	X(REWEIGH,   "reweigh",   true)  /* factors of one service, from these samples */ \
	X(IDLE,      "idle",      true)  /* sender owns these buckets, and no flow lives in them */ \
	X(HEALTH,    "health",    true)  /* a service at a node is fit, or not */

enum msg_type {
	MSG_NONE,
#define X(name, text, repl) MSG_##name,
	MSG_TYPES(X)
#undef X
	MSG_TYPES_N
};

enum fail_kind {
	FAIL_LEASE,	/* a majority's grants have expired */
	FAIL_CRASH,	/* its process died, its machine lives: hold back resets for a while */
	FAIL_SELF,	/* it says so itself: it is silent */
};

enum order_type {
	ORDER_DRAIN, ORDER_UNDRAIN,	/* node */
	ORDER_WEIGHT,			/* node, value 0..1000, or ORDER_AUTO: as configured */
	ORDER_CONF_WEIGHT,		/* sender's configured weight is now 'value' */
	ORDER_FAILBACK,			/* let returned nodes take their share */
	ORDER_LEAVE,			/* sender is going to stop */
	ORDER_TAKEOVER,			/* the operator vouches that 'node' is dead; value: low bits of its term */
	ORDER_RAMP,			/* slow start: node takes 'value' (1..RAMP_FULL) of RAMP_FULL of its share */
	ORDER_TYPES_N
};
#define ORDER_AUTO 0xffff
#define RAMP_FULL  1000

/* A service at a node: what its checks say. */
enum fitness {
	FITNESS_UP,
	FITNESS_WORKS,	/* it serves, but should not get new work: its buckets leave as a planned move */
	FITNESS_DOWN,	/* it does not serve: as before, and nobody waits for its connections */
	FITNESS_N
};
const char *fitness_str(enum fitness f);	/* "up", "works", "down" */

/* What a node tells of itself; averages and worst cases as core/report.h makes them. */
struct sample {
	uint16_t load;			/* 0..1000: the busiest of its monitors */
	uint16_t cpu_idle;		/* 0..1000 */
	uint32_t mem_free_kb;
	uint16_t blocked, swapping;	/* worst of the last ones, cut off at 65535 */
	uint32_t conns[SERVICES_MAX];	/* live connections */
	uint32_t kbps[SERVICES_MAX];	/* 1000 bit/s in and out, of the last seconds */
};
/* As a policy is asked about a node; see clusterd_policy_node. */
struct policy_sample {
	uint8_t node;			/* its id */
	uint16_t load, cpu_idle, blocked, swapping;
	uint32_t mem_free_kb, conns;
};

/* How peers reach a node on one service's interface. */
struct link { uint8_t mac[6]; struct addr addr4, addr6; };

struct msg {
	enum msg_type type;
	uint8_t from;			/* node id, checked against the transport's */
	uint64_t incarnation;		/* of the sender */
	union {
		uint32_t round;
		struct {
			uint32_t round;
			uint64_t epoch, digest, lineage;
			uint64_t config;	/* conf_digest() of the sender */
			uint64_t dead;		/* repl_dead() */
			bool primary;		/* it was in step in a quorate view until now */
		} state;
		struct {
			uint32_t round;
			uint32_t index;		/* messages of this view that the state contains */
			uint32_t offset, total;	/* bytes */
			uint32_t size;
			const uint8_t *data;	/* borrowed */
		} snap;
		struct {
			uint64_t config;	/* conf_digest() */
			uint16_t weight;
			bool hold_back;		/* failback is not auto */
			bool slow;		/* slow_start: if it was here before, it begins with a small share */
			uint8_t n_links;	/* = services */
			struct link link[SERVICES_MAX];
			uint8_t health[SERVICES_MAX];	/* enum fitness, of as many; 0 beyond */
		} ready;
		struct { uint8_t node, kind; uint32_t term; } fail;
		/* ACK, LEFT, ADOPTED: the plan's epoch (ACK: or the rehash's); PLAN: unused */
		struct { uint64_t plan; } plan;
		struct {
			uint8_t service;
			uint64_t epoch;		/* state in which the flows were counted */
			bool forced;		/* drain_timeout, not empty */
			uint32_t size;		/* bytes of 'bitmap' = buckets / 8 */
			const uint8_t *bitmap;	/* borrowed */
		} drained;
		struct { uint8_t node; } grace;
		struct { uint8_t type, node; uint16_t value; } order;
		struct { uint8_t by, node; uint32_t term, gen; } clear;
		struct { uint64_t epoch, digest; } digest;
		struct layout layout;
		struct {
			uint64_t rehash;	/* repl_rehash() */
			bool forced;		/* drain_timeout: some are still there */
		} unmixed;
		struct sample load;
		struct {
			uint8_t service, n;	/* n: nodes that something is known of */
			struct policy_sample node[NODES_MAX];	/* ascending ids */
		} reweigh;
		struct {
			uint8_t service;
			uint64_t epoch;		/* state in which the flows were counted */
			uint32_t size;		/* bytes of 'bitmap' = buckets / 8 */
			const uint8_t *bitmap;	/* borrowed */
		} idle;
		/* node == from: its own checks.  Else what its right neighbour sees: UP or DOWN only. */
		struct { uint8_t service, node, health; } health;
	} u;
};

const char *msg_type_str(enum msg_type t);
bool msg_is_replicated(enum msg_type t);

#endif

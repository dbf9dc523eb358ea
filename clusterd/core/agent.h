/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_AGENT_H
#define CLUSTERD_CORE_AGENT_H

/*
 * The local half: everything one node decides for itself and in time.  Pure as well: time is an
 * argument, effects are values; the daemon and the simulator perform them.  It can change the
 * replicated state only by multicasting a message and applying it when it comes back.
 *
 * It holds the repl and drives:
 *  - the state exchange after a view with newcomers: everyone tells what it held where the view (or
 *    a repeated ROUND) began; when a majority has spoken, the newest state wins, its lowest holder
 *    multicasts a snapshot, and whoever differs loads it and replays what came since;
 *  - admission: in step, tables installed, peers reachable -> READY -> term -> lease;
 *  - moves: ACK, LEFT, ADOPTED once the kernel holds the table; DRAINED from conntrack counts;
 *  - failures: LOST -> inherit at once in our own kernel, FAIL to the group;
 *  - clearing of sticky expiries: CLEAR_REQ, CLEAR_ACK of every admitted node, then grant again;
 *  - as coordinator (lowest admitted node in the view): PLAN after quiet time, GRACE_END;
 *  - change of the layout: says which one our configuration wants, ACK of the freeze once the
 *    kernel has it, UNMIXED from conntrack counts;
 *  - loads: tells ours when core/report.h says so; as coordinator: REWEIGH once per interval of a
 *    service's policy if that changes anything, slow start, failback of a cluster that is not busy;
 *  - health: what our checks say, and what we see of our left neighbour, until the group has it;
 *  - digest comparison and healing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/lease.h"
#include "core/msg.h"
#include "core/repl.h"

struct agent;

enum agent_failback { AGENT_FAILBACK_AUTO, AGENT_FAILBACK_MANUAL, AGENT_FAILBACK_NEVER_BUSY };

struct agent_params {
	struct repl_params repl;
	uint8_t self;
	uint64_t incarnation;
	uint64_t config;		/* conf_digest(): all that must be the same everywhere; not the layout */
	uint16_t weight;
	struct link link[SERVICES_MAX];
	char node_name[NODES_MAX + 1][NAME_SIZE];	/* for events; "" = by number */
	char service_name[SERVICES_MAX][NAME_SIZE];
	/* may change by agent_reconf() */
	enum agent_failback failback;
	uint32_t failback_delay_ms, drain_timeout_ms, grace_ms, slow_start_ms;
	uint16_t busy;			/* load 0..1000 above which the cluster counts as busy */
	uint32_t weights_interval_ms[SERVICES_MAX];	/* between two REWEIGHs */
};

/* ---- effects ---- */
enum lease_cmd_type {
	LCMD_SET_PEER,		/* node, term, incarnation */
	LCMD_DEAD,		/* mask */
	LCMD_ADMIT,		/* term */
	LCMD_FENCE,
	LCMD_DISCARD,		/* by, node, term, gen; answer: agent_discarded() */
	LCMD_CLEARED,		/* node, term, gen */
};
struct lease_cmd {
	enum lease_cmd_type type;
	uint8_t node, by;
	uint32_t term, gen;
	uint64_t incarnation, mask;
};

#define EVENT_TEXT 160
/* For 'clusterctl events', the log and the notify hook. */
struct agent_event {
	int priority;			/* as in syslog(3) */
	const char *name;		/* static: FAIL_DOWN, TAKE_OVER, ...; see clusterctl(8) */
	const char *text;		/* one line, for the call */
	uint8_t node;			/* whom it is about; NOBODY: the cluster */
	uint8_t by;			/* who noticed, ordered, or took over; NOBODY */
	int8_t service;			/* index; -1: none */
	uint32_t buckets;		/* how many it concerns; 0: none, or not known */
};
struct agent_ops {
	/* Multicast.  May fail silently (group down): the agent repeats what matters. */
	void (*send)(void *arg, const struct msg *m);
	/* To the lease machine, in this order. */
	void (*lease)(void *arg, const struct lease_cmd *cmd);
	void (*event)(void *arg, const struct agent_event *e);
	/* A clean stop is complete: nothing is owned or drained here any more; BYE was sent. */
	void (*stopped)(void *arg);
};

/* 'ops' and 'arg' are borrowed until agent_free().  0, -EINVAL, -ENOMEM. */
int agent_new(struct agent **out, const struct agent_params *p, const struct agent_ops *ops,
	      void *arg);
void agent_free(struct agent *a);
void agent_reconf(struct agent *a, const struct agent_params *p);

/* ---- inputs; 'now' in ms, monotonic ---- */
void agent_group_up(struct agent *a, int64_t now);
void agent_group_down(struct agent *a, int64_t now);
void agent_view(struct agent *a, uint64_t members, uint64_t crashed, int64_t now);
/* 'm->from' was checked against the transport.  Members of our view only. */
void agent_message(struct agent *a, const struct msg *m, int64_t now);
void agent_lease_event(struct agent *a, const struct lease_event *e, int64_t now);
void agent_discarded(struct agent *a, const struct lease_cmd *cmd, bool ok, int64_t now);
/* From lease_reachable(), whenever it changed. */
void agent_reachable(struct agent *a, bool yes, int64_t now);
/* From lease_alone(), whenever it changed. */
void agent_alone(struct agent *a, bool yes, int64_t now);
/* Links (MAC, addresses) found on the service interfaces: before the first tick, or when changed. */
void agent_set_link(struct agent *a, unsigned int service, const struct link *link);
/* Timers.  Call at agent_deadline() or later; and after every batch of the inputs above. */
void agent_tick(struct agent *a, int64_t now);
int64_t agent_deadline(const struct agent *a);

/* ---- load and health of this node ---- */
/*
 * While held, this node does not ask to be admitted: it waits for the first results of its checks.  At
 * first: not held.
 */
void agent_hold(struct agent *a, bool hold);
/* What the monitors say now; about once a second.  Whether the group hears of it is core/report.h's matter. */
void agent_sample(struct agent *a, const struct sample *s, int64_t now);
/* The last one that a node told ('id' may be self: the last one given); NULL: none, or it is older than a minute. */
const struct sample *agent_sample_of(const struct agent *a, unsigned int id, int64_t now);
/* Verdict of our checks of that service: repeated until the group has it.  At first: UP. */
void agent_health(struct agent *a, unsigned int service, enum fitness h, int64_t now);
/*
 * Of the peer check: can we, its right neighbour, reach that service of our left one ('node')?  Said
 * again whenever it changes; a verdict about somebody who is not our left neighbour is dropped.
 */
void agent_peer_health(struct agent *a, unsigned int service, unsigned int node, bool reachable,
		       int64_t now);

/* ---- the kernel's table ---- */
/* Differs from the last installed version: compile_service() with agent_lost() and install. */
uint64_t agent_version(const struct agent *a);
bool agent_wants_install(const struct agent *a);
uint64_t agent_lost(const struct agent *a);
const struct repl *agent_repl(const struct agent *a);
/* The kernel now holds what compiled at 'version'. */
void agent_installed(struct agent *a, uint64_t version, int64_t now);

/* ---- draining ---- */
/*
 * True if flows should be counted now; fills 'wanted' (bit per bucket of repl_layout(): room for
 * BUCKETS_MAX / 8 bytes) of that service with the buckets that this node is draining, or that are not
 * its own while the layouts are mixed, or that it owns while a REWEIGH is about to take some from it.  Answer with agent_counted(): 'empty' bitmap of those without
 * any live flow.
 */
bool agent_count_wanted(struct agent *a, unsigned int service, uint8_t *wanted, int64_t now);
void agent_counted(struct agent *a, unsigned int service, const uint8_t *empty, int64_t now);

/* ---- operator ---- */
/* 0, or -EAGAIN (not in step with the group: nothing done; '*why' says so), -EINVAL. */
int agent_order(struct agent *a, enum order_type type, unsigned int node, uint16_t value,
		const char **why, int64_t now);
/*
 * After a reload: our configuration has that layout now.  It comes into force when all admitted nodes
 * want it; see repl_layout().  Replaces what was wanted before; wanting the one in force takes a
 * proposal back.  At first, agent_params.repl.layout is wanted.  0, -EINVAL.
 */
int agent_propose_layout(struct agent *a, const struct layout *layout, int64_t now);
/* repl_preview() of this node's state. */
uint32_t agent_preview(struct agent *a, enum order_type order, unsigned int node, uint16_t value,
		       void (*cb)(void *arg, unsigned int service, uint32_t bucket, unsigned int from,
				  unsigned int to), void *arg);
/* Clean stop: hands over, drains, BYE, then ops->stopped(). */
void agent_stop(struct agent *a, int64_t now);

/* ---- for status ---- */
struct agent_status {
	bool group_up, synced, quorate, leased, fenced;	/* fenced = !leased */
	uint64_t members;		/* of the view */
	unsigned int coordinator;
	const char *why_silent;		/* static text: why this node serves nothing; NULL: it serves */
	uint64_t digest_mismatches, snapshots_loaded, messages_bad;
	uint64_t orders_sent, orders_back;	/* by agent_order() here; and come back in the order */
	bool layout_waits;		/* our configuration wants another layout than the one in force */
};
void agent_get_status(const struct agent *a, struct agent_status *s);
/* "online", "joining", "draining", "drained", "offline", "failed" */
const char *agent_node_state(const struct agent *a, unsigned int id);

#endif

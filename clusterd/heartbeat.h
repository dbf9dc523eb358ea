/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_HEARTBEAT_H
#define CLUSTERD_HEARTBEAT_H

/*
 * The thread that keeps this node's lease, and watches the others': it runs core/lease, sends and
 * hears HELLOs and renews the lease in the kernel.  It waits for nothing else in the daemon: no
 * mutex, no log, no memory from the heap that it would share; only two nonblocking socketpairs
 * join it to the main thread:
 *
 *   main --- commands (struct lease_cmd, in order) ---> heartbeat
 *   main <-- events (in order) ------------------------ heartbeat
 *
 * It looks after the main thread too: when heartbeat_alive() was not called for 'hang_ms', its
 * HELLOs stop, and with them the grants that this node gives and gets.
 *
 * All functions are for the main thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/agent.h"
#include "core/lease.h"
#include "io/hellosock.h"
#include "io/rules.h"

struct heartbeat;

struct heartbeat_params {
	struct lease_params lease;
	uint32_t hang_ms;
	struct hellosock *sock;		/* both are the heartbeat's from the call on, */
	struct lease_table *table;	/* also if it fails */
};

enum heartbeat_event_type {
	HEARTBEAT_LEASE,		/* 'lease' */
	HEARTBEAT_REACHABLE,		/* 'yes' = lease_reachable(), which has changed */
	HEARTBEAT_ALONE,		/* 'yes' = lease_alone(), likewise */
	HEARTBEAT_DISCARDED,		/* answer to LCMD_DISCARD: 'cmd', 'yes' = done */
	HEARTBEAT_LOG,			/* 'level' as syslog, 'text' */
};

#define HEARTBEAT_TEXT 128
struct heartbeat_event {
	enum heartbeat_event_type type;
	bool yes;
	int level;
	struct lease_event lease;
	struct lease_cmd cmd;
	char text[HEARTBEAT_TEXT];
};

/* Copied while the thread runs on: each number is right by itself. */
struct heartbeat_peer {
	int64_t heard_us;		/* last accepted HELLO; 0: none yet */
	int64_t grant_until_us;		/* its grant to us */
	bool granted;			/* we grant to it */
};
struct heartbeat_status {
	int64_t now_us;			/* when this was copied; same clock as the others */
	int64_t lease_until_us;		/* 0: no lease */
	int64_t witness_until_us;
	bool reachable, hung, realtime;
	uint64_t stale, replayed, foreign_term, events_lost;
	struct hellosock_counters net;
	struct heartbeat_peer peer[NODES_MAX + 1];
};

/* 0 or -errno, with '*why' set to a static text. */
int heartbeat_start(struct heartbeat **out, const struct heartbeat_params *p, const char **why);
/* Ends the lease and the thread.  NULL is fine. */
void heartbeat_stop(struct heartbeat *hb);

/* Readable when there are events. */
int heartbeat_fd(const struct heartbeat *hb);
/* 1: '*e' is the next event; 0: none. */
int heartbeat_next(struct heartbeat *hb, struct heartbeat_event *e);

/* In order; queued while the thread is behind.  -ENOBUFS: too far behind, the command is lost. */
int heartbeat_command(struct heartbeat *hb, const struct lease_cmd *cmd);
int heartbeat_set_hang(struct heartbeat *hb, uint32_t hang_ms);
/* The main thread is alive.  To be called at least every hang_ms / 2; sends what was queued. */
void heartbeat_alive(struct heartbeat *hb);

void heartbeat_get_status(struct heartbeat *hb, struct heartbeat_status *out);

#endif

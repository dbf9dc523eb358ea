/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_TURN_H
#define CLUSTERD_TURN_H

/*
 * The main loop, and the one place that performs the effects of core/agent.  One turn:
 *
 *   inputs    group messages and views, heartbeat events, control requests, signals
 *   agent     agent_tick(): decides, once for everything that came
 *   rules     the kernel gets the table of that version; only then the agent hears that it has it
 *   flows     draining buckets are counted
 *   group     what was said on the way goes out
 *   status    systemd
 *
 * It turns at least every hang / 4, and tells the heartbeat so.
 */

#include "conf/conf.h"
#include "io/key.h"
#include "setup.h"

struct turn;

struct turn_params {
	const char *conf_path;		/* for reload; borrowed */
	const struct conf *conf;	/* copied */
	unsigned int self;
	const char *interface;		/* that holds this node's address */
	const struct key *key;		/* for the call */
	uint64_t incarnation;
};

/* Prepares everything without touching the kernel.  0 or -errno, logged. */
int turn_new(struct turn **out, const struct turn_params *p);
/*
 * setup_begin() and setup_open() with what this configuration wants, every bucket foreign.  'setup' is
 * borrowed until turn_free(), its 'lease' taken over by turn_start().  0 or -errno, logged.
 */
int turn_setup(struct turn *t, struct setup *setup, bool afresh);
/*
 * Starts heartbeat, control socket and group; READY=1.  SIGTERM, SIGINT and SIGHUP must be blocked.
 * 0 or -errno, logged.
 */
int turn_start(struct turn *t);
/* Until a stop is complete.  The daemon's exit status. */
int turn_run(struct turn *t);
/* Ends the lease, leaves the group, removes the socket.  NULL is fine. */
void turn_free(struct turn *t);

#endif

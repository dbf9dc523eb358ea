/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_GROUP_H
#define CLUSTERD_IO_GROUP_H

/*
 * Corosync's closed process group: views and messages in one total order.
 *
 * Never sleeps and never blocks in a callback: CS_ERR_TRY_AGAIN queues the message (bounded) and
 * group_tick() tries again.  When corosync goes away the group reports 'down', and group_tick()
 * reconnects with backoff (100 ms .. 2 s).  Only group.c includes corosync's headers.
 *
 * What cannot be helped from here: libcpg waits for corosync's answer when it connects, joins and
 * multicasts (a shared-memory round trip, tens of microseconds).  A corosync that is alive but
 * stopped (SIGSTOP) blocks those calls until it goes on or dies.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/types.h"

#define GROUP_MESSAGE_MAX 60000

struct group;

struct group_ops {
	/*
	 * The membership as of now in the total order.  'members': nodes with a process in the group.
	 * 'crashed': of the nodes gone since the last view, those whose process died while their
	 * corosync lives (CPG_REASON_PROCDOWN, or a leave).  Always the member list, never the
	 * join/leave lists, decides 'members'.
	 */
	void (*view)(void *arg, uint64_t members, uint64_t crashed);
	/* One message in order, own ones included.  'from': corosync nodeid, checked 1..NODES_MAX. */
	void (*message)(void *arg, unsigned int from, const void *data, size_t size);
	/* Connected and joined / connection lost (all views and messages before it stay valid). */
	void (*up)(void *arg, unsigned int local_id);
	void (*down)(void *arg, const char *why);
	/*
	 * The connection is lost although corosync lives.  Corosync is going to tell the group that
	 * this process has died, and the others act on that at once: it must not go on serving.
	 * Called before the connection is closed; must not return.
	 */
	void (*broken)(void *arg, const char *why);
	/* corosync's own idea of quorum, for display only. */
	void (*quorum)(void *arg, bool quorate);
};

struct group_counters {
	uint64_t sent, received;	/* messages; own ones are received too */
	uint64_t try_again;		/* times that corosync asked to wait */
	uint64_t dropped_full;		/* group_send() refused: the queue was full */
	uint64_t dropped_down;		/* queued ones that a lost connection took along */
	uint64_t foreign;		/* members and messages with a nodeid outside 1..NODES_MAX */
};

/* 'name': the group becomes "clusterd:NAME".  No connection is attempted before group_tick(). */
int group_open(struct group **out, const char *name, const struct group_ops *ops, void *arg);
/* Leaves the group.  NULL is fine. */
void group_close(struct group *g);

/* fd to poll for reading, or -1 while there is no connection; may change after any call. */
int group_fd(const struct group *g);
/* The quorum connection's fd, or -1. */
int group_quorum_fd(const struct group *g);
/*
 * Delivers at most 'budget' callbacks' worth of what is there, and 'down' after them when the
 * connection is lost.  1: the budget is used up, there may be more; 0: nothing more, or no
 * connection.  Callbacks may call anything here but group_dispatch, group_tick and group_close.
 */
int group_dispatch(struct group *g, unsigned int budget);
/*
 * (Re)connects when due, flushes the queue.  Returns ms until it wants to be called again, or -1.
 * To be called once per turn, after everything that may have sent.
 */
int group_tick(struct group *g, int64_t now_ms);
/*
 * Queues or sends one message (1..GROUP_MESSAGE_MAX bytes).  0; -ENOTCONN before 'up' and after a
 * loss (corosync would drop it without a word); -ENOBUFS: the queue is full; -EMSGSIZE.
 * What is still queued when the connection is lost is dropped: it was meant for that membership.
 */
int group_send(struct group *g, const void *data, size_t size);
void group_counters(const struct group *g, struct group_counters *out);
/* Why there is no connection (or the last reason there was none); "" if there never was one. */
const char *group_strerror(const struct group *g);

#endif

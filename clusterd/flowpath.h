/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_FLOWPATH_H
#define CLUSTERD_FLOWPATH_H

/*
 * Which node serves which flow, for services with a scheduler: joins the queue's thread, the peers
 * (io/flowsock), conntrack and the kernel's flow maps.
 *
 *   queue --flows to teach--> flow maps          queue --unknown flows--> ask the peers
 *   peers' answers -> flow maps and queue        peers' questions -> conntrack -> answers
 *   new buckets -> ask the peers for their flows loads of all nodes -> the queue's scheduler
 *
 * It answers path probes of 'clusterctl doctor' as well, and sends them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/types.h"

struct turn;
struct ctl_path;
struct ctl_queue;

/*
 * How many NFQUEUEs this configuration needs, their first number, and whether the kernel has native
 * 'queue': into t->want.  Opens the socket to the peers and, where needed, the queues: before the first
 * rules_commit().  0 or -errno, logged.
 */
int flowpath_open(struct turn *t);
void flowpath_close(struct turn *t);
/* Descriptors to poll for reading; -1: none. */
int flowpath_fd(const struct turn *t);
int flowpath_queue_fd(const struct turn *t);
void flowpath_dispatch(struct turn *t);
void flowpath_queue_dispatch(struct turn *t);
/* The kernel holds t->action: asks for the flows of buckets that this node directs from now on. */
void flowpath_installed(struct turn *t, int64_t now);
/* Repeats, answers, tells loads.  At every turn. */
void flowpath_tick(struct turn *t, int64_t now);
int64_t flowpath_deadline(const struct turn *t);

/*
 * Live connections of each service at this node, of a second ago at most: one dump of conntrack, or
 * what a scheduler has had counted.  0, or -errno with 'conns' as they were.
 */
int flowpath_connections(struct turn *t, uint32_t conns[SERVICES_MAX], int64_t now);

/* For ctl_ctx. */
int flowpath_queue_stats(struct turn *t, unsigned int service, struct ctl_queue *out);
void flowpath_path_start(struct turn *t);
void flowpath_path(struct turn *t, unsigned int node, struct ctl_path *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_PLUG_NOTIFY_H
#define CLUSTERD_PLUG_NOTIFY_H

/*
 * The notify hook: a program that is run once for each event, [cluster] notify = exec:PATH.  One at a
 * time, in the order of the events, without arguments, and with what happened in its environment:
 *   CLUSTERD_EVENT, CLUSTERD_TEXT, CLUSTERD_PRIORITY (0..7), CLUSTERD_TIME (ms since 1970),
 *   CLUSTERD_CLUSTER, CLUSTERD_LOCAL, and as far as there are any CLUSTERD_NODE, CLUSTERD_BY,
 *   CLUSTERD_SERVICE, CLUSTERD_BUCKETS.
 * One that takes longer than NOTIFY_TIMEOUT_MS is killed.  NOTIFY_QUEUE events wait; when more come the
 * oldest are dropped, which the log says.  Events of priority LOG_DEBUG are not told.
 */

#include <systemd/sd-event.h>

#define NOTIFY_TIMEOUT_MS 10000
#define NOTIFY_QUEUE      64

struct agent_event;
struct conf;
struct notify;

/*
 * 'c' gives the names and may change in between, 'self' is our node id; 'event' and 'c' are borrowed
 * until notify_free().  0, -ENOMEM.  Runs nothing before notify_set().
 */
int notify_new(struct notify **out, sd_event *event, const struct conf *c, unsigned int self);
/* Kills what runs; what waits is not told any more.  NULL is fine. */
void notify_free(struct notify *n);

/*
 * The program from now on: an absolute path, copied; "" or NULL: none, and what waits is dropped.  One
 * that runs goes on to its end.  -ENAMETOOLONG: more than CONF_TEXT, nothing is changed.
 */
int notify_set(struct notify *n, const char *path);

/* It happened now.  All is copied. */
void notify_add(struct notify *n, const struct agent_event *event);

#endif

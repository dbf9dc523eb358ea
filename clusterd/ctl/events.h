/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_EVENTS_H
#define CLUSTERD_CTL_EVENTS_H

/*
 * The last EVENTS_KEPT events of this node, for 'clusterctl events'.  Not thread-safe: the main
 * thread only.  What it prints:
 *   {"seq":7,"time_ms":1700000000000,"priority":5,"name":"TAKE_OVER","text":"...",
 *    "node":"n3","by":"n1","service":"web","buckets":1365}
 * node, by and service are null, buckets 0 where there is none.
 */

#include <jansson.h>
#include <stdint.h>

#define EVENTS_KEPT 512

struct agent_event;
struct events;

/* 'follow' (may be NULL) is called for each new event with its JSON, borrowed for the call. */
int events_new(struct events **out, void (*follow)(void *arg, const json_t *event), void *arg);
void events_free(struct events *e);

/*
 * 'realtime_ms' since 1970.  Texts are copied, cut where too long; bytes that are not printable ASCII
 * become '?'.  'c' gives the names of nodes and services.
 */
struct conf;
void events_add(struct events *e, const struct conf *c, int64_t realtime_ms,
		const struct agent_event *event);

/* All that is kept, oldest first: a new array, or NULL without memory. */
json_t *events_json(const struct events *e);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_STATUS_H
#define CLUSTERD_CTL_STATUS_H

/*
 * The state as JSON (DESIGN "Contract"): what 'clusterctl --json' prints.  New references; NULL
 * without memory.  A key, once published, keeps its meaning; new ones may be added.
 */

#include <jansson.h>

#include "ctl/ctx.h"

json_t *status_all(const struct ctl_ctx *x);		/* cluster, local, nodes, services */
json_t *status_nodes(const struct ctl_ctx *x);		/* local, nodes */
json_t *status_services(const struct ctl_ctx *x);	/* local, services with counters */

/*
 * {"service","buckets","nodes":{id:name},"owner":[id of bucket 0, 1, ...; 0: nobody],
 *  "states":{state on this node: count},"moving":[[bucket,owner,other,phase,state], ...]}
 */
json_t *status_buckets(const struct ctl_ctx *x, unsigned int service);

/*
 * The node that takes new flows of that bucket: the table's owner, or, while that one is lost and
 * the group has not said so yet, the survivor that inherits.  NOBODY if there is none.
 */
unsigned int status_owner(const struct ctl_ctx *x, unsigned int service, uint32_t bucket);

/* The layout in force and a rehash under way; without a callback the configuration's. */
void status_layout(const struct ctl_ctx *x, struct ctl_layout *out);

/* Name of a node as JSON; null for NOBODY. */
json_t *status_name(const struct ctl_ctx *x, unsigned int node);

/*
 * How fit a service is: sets in 'o' {"health":{node: "up", "works", "down"; "seen_down": its neighbour
 * cannot reach it; null: the node is not admitted},"seen_down":{node: neighbour},"sorry":bool}.
 * 0, or -1 without memory.
 */
int status_health(const struct ctl_ctx *x, unsigned int service, json_t *o);

/* 0..1000 as a number from 0 to 1. */
json_t *status_load(unsigned int value);

/* For ctl_ctx.load; 'arg' is not looked at. */
double status_local_load(void *arg);

#endif

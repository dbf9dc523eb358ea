/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_FLOWLIST_H
#define CLUSTERD_CTL_FLOWLIST_H

/* 'clusterctl flows' and 'clusterctl counters': this node's view. */

#include <jansson.h>

#include "ctl/ctx.h"

#define FLOWLIST_LIMIT     1000		/* without --limit */
#define FLOWLIST_LIMIT_MAX 20000	/* a reply has to fit (CTL_REPLY_MAX) */

/*
 * Connections that do not follow their bucket, of one service or (service < 0) of all:
 *   "redirected"  in the flow map of a service with a scheduler, with the node that serves it
 *   "kept"        lives here although its bucket is another node's (scheduler = hash)
 * The whole reply, a refusal as well.
 */
json_t *flowlist_reply(const struct ctl_ctx *x, int service, unsigned int limit);

/* {"local","services":[{"name","accepted","foreign","handed","second","unknown","queue"}]} */
json_t *flowlist_counters(const struct ctl_ctx *x);

#endif

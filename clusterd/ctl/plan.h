/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_PLAN_H
#define CLUSTERD_CTL_PLAN_H

/*
 * 'clusterctl plan': what an order would move, without giving it.
 *   {"order":"drain","node":"n3","weight":null,
 *    "moves":[{"service":"web","from":"n3","to":"n1","buckets":683,"connections":120,"kbps":4500}],
 *    "total":{"buckets":1365,"connections":240,"kbps":9000}}
 * from and to are null for nobody.  Connections and traffic are estimates: those of the giving node, as
 * it told them last, times the part of its buckets that moves; null: it has told nothing lately.
 */

#include <jansson.h>

#include "ctl/ctx.h"

/* A whole reply, also where it is a refusal. */
json_t *plan_reply(const struct ctl_ctx *x, const char *const *arg, unsigned int n_args);

#endif

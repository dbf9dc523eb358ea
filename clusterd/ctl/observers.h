/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_OBSERVERS_H
#define CLUSTERD_CTL_OBSERVERS_H

/* Monitors and checks as JSON.  New references; NULL without memory. */

#include <jansson.h>

#include "ctl/ctx.h"

/*
 * {"local","monitors":[{"name","type","value": 0..1000 or null,"weight": percent,"load": what it counts
 *  for, 0..1 or null,"why","age_ms","open","cpu_us"}],
 *  "nodes":[{"name","load","cpu_idle","mem_free_kb","blocked","swapping","connections":{service: n},
 *  "kbps":{service: n}}]}; null: the node has told nothing lately
 *  (mem_free_kb: or has no monitor for that)
 */
json_t *observers_monitors(const struct ctl_ctx *x);

/*
 * {"local","checks":[{"name","type","service","state","for_ms","known","verdict","value","passed",
 *  "failed","why","action","tries","given_up","looks","late","open","cpu_us"}],
 *  "services":[{"name", and what status_health() sets}]}
 */
json_t *observers_checks(const struct ctl_ctx *x);

#endif

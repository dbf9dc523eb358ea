/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_SCHED_H
#define CLUSTERD_CORE_SCHED_H

/*
 * Pure: which node serves a new flow.  Arrays are by node id (index 0 unused); a weight of 0 means
 * no new flows.
 */

#include <stdint.h>

#include "core/types.h"

#define SCHED_SLOTS 1024

/*
 * Least connections: the node whose conns/weight is smallest, compared exactly.  Among equals the
 * one that 'tie', a hash or a counter, points at.  NOBODY if no node has a weight.
 */
unsigned int sched_least_conn(const uint16_t weight[NODES_MAX + 1],
			      const uint32_t conns[NODES_MAX + 1], uint32_t tie);

/*
 * Probability: every slot gets a node, each node its share by weight (largest remainder, ties to
 * the lower id), in runs by node id, so that a small change of weight changes few slots.  False,
 * and all slots NOBODY, if no node has a weight.
 */
bool sched_slots(const uint16_t weight[NODES_MAX + 1], uint8_t slot[SCHED_SLOTS]);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef POLICY_MEMORY_H
#define POLICY_MEMORY_H

/* What the policies 'memory-1' and 'memory-2' share.  Pure, integers only. */

#include <stdbool.h>

#include "plug/plugin.h"

#define MEMORY_NODES_MAX 64u

/* A node without a monitor of its memory tells a load, but 0 for that: nobody runs with none at all. */
static inline bool memory_known(const struct clusterd_policy_node *p)
{
	return p->known && p->mem_free_kb;
}

/* The least and the most free memory of the nodes that are known; false: none is. */
static inline bool memory_range(const struct clusterd_policy_in *in, uint32_t *min, uint32_t *max)
{
	bool any = false;

	for (uint32_t i = 0; i < in->n && i < MEMORY_NODES_MAX; i++) {
		const struct clusterd_policy_node *p = &in->node[i];

		if (!memory_known(p))
			continue;
		*min = any && *min < p->mem_free_kb ? *min : p->mem_free_kb;
		*max = any && *max > p->mem_free_kb ? *max : p->mem_free_kb;
		any = true;
	}
	return any;
}

/* Processes wait for the disk, or memory is short already: no new work, however much is free. */
static inline bool memory_suffers(const struct clusterd_policy_node *p)
{
	return p->blocked > 0 || p->swapping > 0;
}

/*
 * Weights below 2^53 -> factors: in proportion, the largest becomes 1000, what is not 0 stays at least 1.
 * A node that is not known, or not its memory, gets the least weight of those that are and have any: it
 * may well serve, but nobody has seen that it has more room than the others.
 */
static inline void memory_scale(const struct clusterd_policy_in *in, uint64_t *w, uint32_t *factor)
{
	uint32_t n = in->n < MEMORY_NODES_MAX ? in->n : MEMORY_NODES_MAX;
	uint64_t min = 0, max = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!memory_known(&in->node[i]) || !w[i])
			continue;
		min = min && min < w[i] ? min : w[i];
		max = max > w[i] ? max : w[i];
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct clusterd_policy_node *p = &in->node[i];

		if (!p->known)
			w[i] = min;
		else if (!memory_known(p) && !memory_suffers(p))
			w[i] = min ? min : 1;
		max = max > w[i] ? max : w[i];
	}
	for (uint32_t i = 0; i < n; i++) {
		factor[i] = max ? (uint32_t)((w[i] * CLUSTERD_FACTOR_MAX + max / 2) / max) : 0;
		if (w[i] && !factor[i])
			factor[i] = 1;
	}
}

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy 'memory-2': weights by free memory, once a minute, in small steps.  The second of the two
 * formulas of the paper on dynamic weights for an LVS cluster, for any number of nodes:
 *
 *     d_i = (free_i - free_min) / P,   d = the largest d_i,   K = R / d,   w_i = K + d_i,
 *     w_i = 0   where processes are blocked or pages are swapped,
 *
 * all in thousandths; d = 0: all are equal.  P is what one process of the service takes
 * ([service] process_memory), R how many connections a node gets per minute
 * (connections_per_minute).  The smaller the difference, the larger K, and the closer the weights.
 */

#include "policy_memory.h"

static void memory_2_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	uint64_t w[MEMORY_NODES_MAX] = { 0 };
	uint64_t p = in->process_memory_kb ? in->process_memory_kb : 1;
	uint32_t min = 0, max = 0;
	uint64_t d, k;

	memory_range(in, &min, &max);
	d = (max - min) * (uint64_t)1000 / p;
	k = d ? in->connections_per_minute * (uint64_t)1000000 / d : 1;
	for (uint32_t i = 0; i < in->n && i < MEMORY_NODES_MAX; i++) {
		const struct clusterd_policy_node *node = &in->node[i];

		if (!memory_known(node) || memory_suffers(node))
			continue;
		w[i] = k + (node->mem_free_kb - min) * (uint64_t)1000 / p;
		if (!w[i])
			w[i] = 1;	/* the least free one, R is tiny beside d: a share all the same */
	}
	memory_scale(in, w, factor);
}

static const struct clusterd_policy_ops memory_2_ops = {
	.factors = memory_2_factors,
	.interval_ms = 60000,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_POLICY,
	.name = "memory-2",
	.version = "1",
	.summary = "shares by free memory in small steps",
	.policy = &memory_2_ops,
};

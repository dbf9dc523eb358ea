/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy 'memory-1': weights by free memory, once a minute.  The first of the two formulas of the
 * paper on dynamic weights for an LVS cluster, for any number of nodes:
 *
 *     w_i = 1                              for the node with the least free memory,
 *     w_i = (free_i - free_min) / P        for the others, rounded, at least 1,
 *     w_i = 0                              where processes are blocked or pages are swapped,
 *
 * and a tenth of w_i depends on how idle the processors are: w_i * (0.9 + 0.1 * idle_i).  P is what one
 * more process of the service takes ([service] process_memory), so a weight is the number of
 * processes that the node has room for beyond the one with the least.  Small differences make large
 * ratios; 'memory-2' is less nervous.
 *
 * The paper sets such a weight in a scheduler of connections; here it is the factor of the node's
 * share, scaled so that the largest is 1000.
 */

#include "policy_memory.h"

static void memory_1_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	uint64_t w[MEMORY_NODES_MAX] = { 0 };
	uint64_t p = in->process_memory_kb ? in->process_memory_kb : 1;
	uint32_t min = 0, max = 0;

	memory_range(in, &min, &max);
	for (uint32_t i = 0; i < in->n && i < MEMORY_NODES_MAX; i++) {
		const struct clusterd_policy_node *node = &in->node[i];
		uint32_t idle = node->cpu_idle < 1000 ? node->cpu_idle : 1000;
		uint64_t more;

		if (!memory_known(node) || memory_suffers(node))
			continue;
		more = (node->mem_free_kb - min + p / 2) / p;
		w[i] = (more ? more : 1) * (9000 + idle);	/* in 1/10000 */
	}
	memory_scale(in, w, factor);
}

static const struct clusterd_policy_ops memory_1_ops = {
	.factors = memory_1_factors,
	.interval_ms = 60000,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_POLICY,
	.name = "memory-1",
	.version = "1",
	.summary = "shares by free memory: processes that a node has room for beyond the fullest",
	.policy = &memory_1_ops,
};

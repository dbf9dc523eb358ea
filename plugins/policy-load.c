/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy 'load': shares follow the loads until all nodes are equally busy.
 *
 * x_i of policy_control.h is the node's load, 0..1000.  A node within 1/16 of the mean is left
 * alone, but within 15 always and beyond 50 never.  While no node's load reaches 100 the factors stay:
 * what an idle machine does is its own housekeeping, and says nothing about its speed.
 *
 * A node that was slow and is well again has less load than the others at its small share, so its
 * factor rises by the same rule.
 */

#include "policy_control.h"

#define LOAD_IDLE     100
#define LOAD_BAND_MIN 15
#define LOAD_BAND_MAX 50

static void load_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	uint64_t x[CONTROL_NODES_MAX] = { 0 };
	uint64_t sum = 0, max = 0, mean, band;
	uint32_t known = 0;

	for (uint32_t i = 0; i < in->n && i < CONTROL_NODES_MAX; i++) {
		if (!in->node[i].known)
			continue;
		x[i] = in->node[i].load;
		max = x[i] > max ? x[i] : max;
		sum += x[i];
		known++;
	}
	if (!known || max < LOAD_IDLE) {
		control_keep(in, factor);
		return;
	}
	mean = (sum + known / 2) / known;
	band = mean / 16;
	band = band < LOAD_BAND_MIN ? LOAD_BAND_MIN : band > LOAD_BAND_MAX ? LOAD_BAND_MAX : band;
	control_factors(in, x, mean, band, factor);
}

static const struct clusterd_policy_ops load_ops = {
	.factors = load_factors,
	.interval_ms = 5000,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_POLICY,
	.name = "load",
	.version = "1",
	.summary = "shares follow the loads until all nodes are equally busy",
	.policy = &load_ops,
};

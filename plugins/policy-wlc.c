/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy 'wlc', weighted least connections: the nodes' live connections become proportional to their
 * weights by configuration.
 *
 * x_i of policy_control.h is connections / base, in thousandths.  Buckets are not connections: within
 * a tenth of the mean nothing moves, for clients are not equal, and neither while no node has 32
 * connections, for then one more or less is a large part.
 */

#include "policy_control.h"

#define WLC_FEW      32
#define WLC_BAND_DIV 10

static void wlc_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	uint64_t x[CONTROL_NODES_MAX] = { 0 };
	uint64_t sum = 0, mean;
	uint32_t known = 0, most = 0;

	for (uint32_t i = 0; i < in->n && i < CONTROL_NODES_MAX; i++) {
		const struct clusterd_policy_node *p = &in->node[i];

		if (!p->known)
			continue;
		x[i] = p->connections * (uint64_t)1000 / (p->base ? p->base : 1);
		most = p->connections > most ? p->connections : most;
		sum += x[i];
		known++;
	}
	if (!known || most < WLC_FEW) {
		control_keep(in, factor);
		return;
	}
	mean = (sum + known / 2) / known;
	control_factors(in, x, mean, mean / WLC_BAND_DIV, factor);
}

static const struct clusterd_policy_ops wlc_ops = {
	.factors = wlc_factors,
	.interval_ms = 5000,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_POLICY,
	.name = "wlc",
	.version = "1",
	.summary = "weighted least connections: live connections in proportion to the weights",
	.policy = &wlc_ops,
};

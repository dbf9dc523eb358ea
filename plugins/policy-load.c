/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policy 'load': shares follow the loads until all nodes are equally busy.
 *
 * x_i of policy_control.h is the node's load, 0..1000.  A node within 1/16 of the mean is left
 * alone, but within 15 always and beyond 50 never.  While no node's load reaches 100 the factors stay:
 * what an idle machine does is its own housekeeping, and says nothing about its speed.
 *
 * Nodes that are far from the others do not count for the mean: one that is always busy would put all
 * the others far from it, and each whim of theirs would move buckets.
 *
 * A node that was slow and is well again has less load than the others at its small share, so its
 * factor rises by the same rule.
 */

#include <stdlib.h>

#include "policy_control.h"

#define LOAD_IDLE     100
#define LOAD_BAND_MIN 15
#define LOAD_BAND_MAX 50
#define LOAD_FAR      4		/* bands */

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t band_of(uint64_t mean)
{
	return mean / 16 < LOAD_BAND_MIN ? LOAD_BAND_MIN : mean / 16 > LOAD_BAND_MAX ? LOAD_BAND_MAX : mean / 16;
}

/* Of 'n' nodes, at least one: the mean of those that are not far from the median; of all if none is near. */
static uint64_t usual(uint64_t *v, uint32_t n)
{
	uint64_t all = 0, sum = 0, median;
	uint32_t near = 0;

	qsort(v, n, sizeof(v[0]), ascending);
	median = (v[(n - 1) / 2] + v[n / 2] + 1) / 2;
	for (uint32_t i = 0; i < n; i++) {
		all += v[i];
		if ((v[i] > median ? v[i] - median : median - v[i]) > LOAD_FAR * band_of(median))
			continue;
		sum += v[i];
		near++;
	}
	return near ? (sum + near / 2) / near : (all + n / 2) / n;
}

static void load_factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
	uint64_t x[CONTROL_NODES_MAX] = { 0 }, v[CONTROL_NODES_MAX], max = 0, mean;
	uint32_t known = 0;

	for (uint32_t i = 0; i < in->n && i < CONTROL_NODES_MAX; i++) {
		if (!in->node[i].known)
			continue;
		x[i] = in->node[i].load;
		max = x[i] > max ? x[i] : max;
		v[known++] = x[i];
	}
	if (!known || max < LOAD_IDLE) {
		control_keep(in, factor);
		return;
	}
	mean = usual(v, known);
	control_factors(in, x, mean, band_of(mean), factor);
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

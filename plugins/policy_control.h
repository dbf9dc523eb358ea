/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef POLICY_CONTROL_H
#define POLICY_CONTROL_H

/*
 * The controller of the policies 'load' and 'wlc': equals out one number x_i per node, of which all
 * that is assumed is that it grows with the node's share.  Pure, integers only.
 *
 * Each time, with m the mean of x over the nodes that are known,
 *
 *     factor_i' = factor_i * (1 + G * (m - x_i) / max(m, x_i)),   G = 0.2
 *
 * and then all are scaled so that the largest is 1000.  In logarithms, near the mean, that is an
 * integrator with gain G.  When x is one interval older than the factors, z^2 - z + G = 0 rules what
 * happens next: its roots are real, so nothing swings, as long as G <= 1/4.  One call changes a
 * factor by a fifth at most, whatever x says.
 *
 * A node whose x is within 'band' of the mean keeps its factor: that is noise, and moving buckets
 * is not free.
 */

#include "plug/plugin.h"

#define CONTROL_NODES_MAX 64u
#define CONTROL_GAIN      200	/* G in thousandths */
/*
 * What a node keeps that is always above the mean: a trickle, by whose fate its recovery is seen, and
 * from which five steps up make a share again.
 */
#define CONTROL_FLOOR     20u

/* The factor in force times 1000 and corrected; x and mean below 2^50. */
static inline uint64_t control_step(uint32_t factor, uint64_t x, uint64_t mean, uint64_t band)
{
	uint64_t f = (factor < CONTROL_FLOOR ? CONTROL_FLOOR : factor) * (uint64_t)1000;
	uint64_t off = x > mean ? x - mean : mean - x;
	uint64_t by;

	if (off <= band)
		return f;
	/* 'off' is at most the larger one, so this is at most f / 5. */
	by = f / 1000 * (CONTROL_GAIN * off / (x > mean ? x : mean));
	return x > mean ? f - by : f + by;
}

/* v -> factors: in proportion, the largest becomes 1000, none that has anything less than the floor. */
static inline void control_scale(const uint64_t *v, uint32_t n, uint32_t *factor)
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < n; i++)
		max = v[i] > max ? v[i] : max;
	for (uint32_t i = 0; i < n; i++) {
		factor[i] = max ? (uint32_t)((v[i] * CLUSTERD_FACTOR_MAX + max / 2) / max) : 0;
		if (v[i] && factor[i] < CONTROL_FLOOR)
			factor[i] = CONTROL_FLOOR;
	}
}

/* A node that is not known keeps what it has, in proportion.  x[i] of those means nothing. */
static inline void control_factors(const struct clusterd_policy_in *in, const uint64_t *x,
				   uint64_t mean, uint64_t band, uint32_t *factor)
{
	uint64_t v[CONTROL_NODES_MAX];

	for (uint32_t i = 0; i < in->n && i < CONTROL_NODES_MAX; i++) {
		const struct clusterd_policy_node *p = &in->node[i];

		v[i] = p->known ? control_step(p->factor, x[i], mean, band) :
				  p->factor * (uint64_t)1000;
	}
	control_scale(v, in->n < CONTROL_NODES_MAX ? in->n : CONTROL_NODES_MAX, factor);
}

/* Nothing is to change: the factors in force, scaled. */
static inline void control_keep(const struct clusterd_policy_in *in, uint32_t *factor)
{
	uint64_t v[CONTROL_NODES_MAX];

	for (uint32_t i = 0; i < in->n && i < CONTROL_NODES_MAX; i++)
		v[i] = in->node[i].factor * (uint64_t)1000;
	control_scale(v, in->n < CONTROL_NODES_MAX ? in->n : CONTROL_NODES_MAX, factor);
}

#endif

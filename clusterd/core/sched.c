/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/sched.h"

#include <assert.h>
#include <string.h>

unsigned int sched_least_conn(const uint16_t weight[NODES_MAX + 1],
			      const uint32_t conns[NODES_MAX + 1], uint32_t tie)
{
	unsigned int best = NOBODY, id, equal[NODES_MAX], n = 0;

	for (id = 1; id <= NODES_MAX; id++) {
		uint64_t mine, least;

		if (!weight[id])
			continue;
		/* conns/weight of the one against the other, multiplied out */
		mine = best == NOBODY ? 0 : (uint64_t)conns[id] * weight[best];
		least = best == NOBODY ? 0 : (uint64_t)conns[best] * weight[id];
		if (best == NOBODY || mine < least) {
			best = id;
			n = 0;
		}
		if (mine <= least)
			equal[n++] = id;
	}
	return best == NOBODY ? NOBODY : equal[tie % n];
}

bool sched_slots(const uint16_t weight[NODES_MAX + 1], uint8_t slot[SCHED_SLOTS])
{
	uint32_t share[NODES_MAX + 1] = { 0 }, rest[NODES_MAX + 1] = { 0 };
	uint32_t total = 0, given = 0, at = 0;
	unsigned int id, best;

	memset(slot, NOBODY, SCHED_SLOTS);
	for (id = 1; id <= NODES_MAX; id++)
		total += weight[id];
	if (!total)
		return false;
	for (id = 1; id <= NODES_MAX; id++) {
		share[id] = SCHED_SLOTS * (uint32_t)weight[id] / total;
		rest[id] = SCHED_SLOTS * (uint32_t)weight[id] % total;
		given += share[id];
	}
	for (; given < SCHED_SLOTS; given++) {
		best = NOBODY;
		for (id = 1; id <= NODES_MAX; id++)
			if (rest[id] && (best == NOBODY || rest[id] > rest[best]))
				best = id;
		assert(best != NOBODY);		/* the remainders add up to a multiple of 'total' */
		share[best]++;
		rest[best] = 0;
	}
	for (id = 1; id <= NODES_MAX; id++)
		for (; share[id]; share[id]--)
			slot[at++] = (uint8_t)id;
	assert(at == SCHED_SLOTS);
	return true;
}

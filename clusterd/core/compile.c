/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/compile.h"

static struct bucket_action act(enum bucket_state s, unsigned int to)
{
	return (struct bucket_action){ .state = (uint8_t)s, .to = (uint8_t)to };
}

/* We act for a lost owner: does somebody alive hold old connections of the bucket? */
static struct bucket_action inherit(const struct repl_bucket *k, unsigned int self, uint64_t lost)
{
	if (k->phase == PHASE_GRACE)
		return act(BUCKET_ADOPTING, NOBODY);
	if ((k->phase == PHASE_ADOPT || k->phase == PHASE_DRAIN) && k->other != self &&
	    !mask_has(lost, k->other))
		return act(BUCKET_ADOPTING, NOBODY);
	return act(BUCKET_MINE, NOBODY);
}

struct bucket_action compile_bucket(const struct repl *r, unsigned int service, uint32_t b,
				    unsigned int self, uint64_t lost)
{
	const struct repl_bucket *k = repl_get_bucket(r, service, b);
	bool owner = k->owner == self, other = k->other == self;

	/* Not admitted: the lease is closed anyway; let the table not wait for it with old claims. */
	if (repl_get_node(r, self)->state != NODE_ONLINE)
		return act(BUCKET_FOREIGN, NOBODY);
	if (repl_inherits(r, service, b, self, lost))
		return inherit(k, self, lost);
	if (!owner && !other)
		return act(BUCKET_FOREIGN, NOBODY);
	switch ((enum repl_phase)k->phase) {
	case PHASE_STABLE:
		return act(owner ? BUCKET_MINE : BUCKET_FOREIGN, NOBODY);
	case PHASE_PREPARE:
		if (other)
			return act(BUCKET_ARRIVING, NOBODY);
		return act(k->flows ? BUCKET_ADOPTING : BUCKET_MINE, NOBODY);
	case PHASE_HANDOFF:
		return other ? act(BUCKET_ARRIVING, NOBODY) : act(BUCKET_LEAVING, k->other);
	case PHASE_ADOPT:
		return owner ? act(BUCKET_ADOPTING, NOBODY) : act(BUCKET_LEAVING, k->owner);
	case PHASE_DRAIN:
	case PHASE_GRACE:
		return act(owner ? BUCKET_ADOPTING : BUCKET_DRAINING, NOBODY);
	case PHASES_N:
		break;
	}
	return act(BUCKET_FOREIGN, NOBODY);
}

void compile_service(const struct repl *r, unsigned int service, unsigned int self, uint64_t lost,
		     struct bucket_action *action)
{
	uint32_t n = repl_get_params(r)->buckets;

	for (uint32_t b = 0; b < n; b++)
		action[b] = compile_bucket(r, service, b, self, lost);
}

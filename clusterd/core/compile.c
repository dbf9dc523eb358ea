/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/compile.h"

static struct bucket_action act(enum bucket_state s, unsigned int to)
{
	return (struct bucket_action){ .state = (uint8_t)s, .to = (uint8_t)to };
}

/* Who takes new flows of the bucket now. */
static unsigned int taker(const struct repl *r, unsigned int service, uint32_t b,
			  const struct repl_bucket *k, uint64_t lost)
{
	unsigned int heir;

	if (!mask_has(lost, k->owner))
		return k->owner;
	heir = k->phase == PHASE_HANDOFF ? k->other : repl_heir(r, service, b, lost);
	return heir && repl_inherits(r, service, b, heir, lost) ? heir : NOBODY;
}

/* The second party, as one who may still know connections of the bucket. */
static unsigned int knower(const struct repl *r, const struct repl_bucket *k, uint64_t lost)
{
	return k->other && repl_get_node(r, k->other)->state == NODE_ONLINE && !mask_has(lost, k->other) ?
	       k->other : NOBODY;
}

/* We act for a lost owner: does somebody alive hold old connections of the bucket? */
static struct bucket_action inherit(const struct repl *r, const struct repl_bucket *k,
				    unsigned int self, uint64_t lost)
{
	if (k->phase == PHASE_GRACE && k->other != self)
		return act(BUCKET_ADOPTING, knower(r, k, lost));
	if ((k->phase == PHASE_ADOPT || k->phase == PHASE_DRAIN) && k->other != self &&
	    !mask_has(lost, k->other))
		return act(BUCKET_ADOPTING, k->other);
	if (k->third && k->third != self)
		return act(BUCKET_ADOPTING, NOBODY);
	return act(BUCKET_MINE, NOBODY);
}

/*
 * The layout changes: a flow can be anywhere.  Whoever knows it serves it, nobody resets it, and who
 * gets it from one that goes by the other layout asks further.
 */
static struct bucket_action mixed(unsigned int self, unsigned int to)
{
	return to == self ? act(BUCKET_ADOPTING, NOBODY) : act(BUCKET_DRAINING, to);
}

static struct bucket_action party(const struct repl *r, const struct repl_bucket *k, bool owner,
				  unsigned int to, uint64_t lost)
{
	switch ((enum repl_phase)k->phase) {
	case PHASE_STABLE:
		return owner ? act(BUCKET_MINE, NOBODY) : act(BUCKET_FOREIGN, to);
	case PHASE_PREPARE:
		if (!owner)
			return act(BUCKET_ARRIVING, to);
		return k->flows ? act(BUCKET_ADOPTING, knower(r, k, lost)) : act(BUCKET_MINE, NOBODY);
	case PHASE_HANDOFF:
		return owner ? act(BUCKET_LEAVING, k->other) : act(BUCKET_ARRIVING, to);
	case PHASE_ADOPT:
		return owner ? act(BUCKET_ADOPTING, knower(r, k, lost)) : act(BUCKET_LEAVING, to);
	case PHASE_DRAIN:
	case PHASE_GRACE:
		return owner ? act(BUCKET_ADOPTING, knower(r, k, lost)) : act(BUCKET_DRAINING, to);
	case PHASES_N:
		break;
	}
	return act(BUCKET_FOREIGN, NOBODY);
}

struct bucket_action compile_bucket(const struct repl *r, unsigned int service, uint32_t b,
				    unsigned int self, uint64_t lost)
{
	const struct repl_bucket *k = repl_get_bucket(r, service, b);
	unsigned int to = taker(r, service, b, k, lost);

	/* Not admitted: the lease is closed anyway, but as a front it hands on. */
	if (repl_get_node(r, self)->state != NODE_ONLINE)
		return act(BUCKET_FOREIGN, to);
	if (repl_rehash_phase(r) != REHASH_NONE)
		return mixed(self, to);
	if (to == self && k->owner != self)
		return inherit(r, k, self, lost);
	if (k->third == self)	/* back for its connections, and not its turn yet */
		return act(BUCKET_DRAINING, to);
	if (k->owner != self && k->other != self)
		return act(BUCKET_FOREIGN, to);
	return party(r, k, k->owner == self, to, lost);
}

void compile_service(const struct repl *r, unsigned int service, unsigned int self, uint64_t lost,
		     struct bucket_action *action)
{
	uint32_t n = repl_layout(r)->buckets;

	for (uint32_t b = 0; b < n; b++)
		action[b] = compile_bucket(r, service, b, self, lost);
}

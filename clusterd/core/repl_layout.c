/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of the layout (how packets become bucket numbers), for the whole cluster at one message.
 *
 * No kernel may take a new flow by the new layout while another takes some by the old one: the same
 * flow could be two nodes'.  So nobody takes any, from the moment at which all have ACKed the freeze
 * until all have ACKed the new tables (a front that goes by the old ones would not find a new flow).
 * What is established goes on wherever it is: everybody accepts what its conntrack knows, asks the
 * others about the rest, and nobody resets anything.
 */
#include <errno.h>
#include <string.h>

#include "core/repl_priv.h"

const struct layout *repl_layout(const struct repl *r) { return &r->layout; }
enum repl_rehash repl_rehash_phase(const struct repl *r) { return r->rehash_phase; }
uint64_t repl_rehash(const struct repl *r) { return r->rehash; }
uint64_t repl_rehash_acks(const struct repl *r) { return r->rehash_acks; }
uint64_t repl_mixed(const struct repl *r) { return r->mixed; }
uint64_t repl_switched(const struct repl *r) { return r->switched; }

bool repl_freeze(const struct repl *r)
{
	return r->rehash_phase == REHASH_FREEZE || r->rehash_phase == REHASH_SWITCH;
}

uint64_t repl_rehash_ack(const struct repl *r)
{
	return r->rehash_phase == REHASH_FREEZE ? r->rehash :
	       r->rehash_phase == REHASH_SWITCH ? r->switched : 0;
}

const struct layout *repl_old_layout(const struct repl *r)
{
	return repl_two_layouts(r) ? &r->old : NULL;
}

const uint8_t *repl_old_owner(const struct repl *r, unsigned int service)
{
	return repl_two_layouts(r) ? r->old_owner + (size_t)service * BUCKETS_MAX : NULL;
}

void repl_note(struct repl_fx *fx, enum repl_note_type type, unsigned int node, unsigned int by,
	       uint32_t n, uint32_t arg)
{
	if (fx->n_notes < sizeof(fx->note) / sizeof(fx->note[0]))
		fx->note[fx->n_notes++] = (struct repl_note){
			.type = type, .node = (uint8_t)node, .by = (uint8_t)by, .n = n, .arg = arg };
}

/* ---- messages ---- */

static void forget(struct repl_node *n)
{
	n->proposed = false;
	memset(&n->wanted, 0, sizeof(n->wanted));
}

int repl_apply_layout(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	struct repl_node *n = &r->node[m->from];
	uint64_t before = repl_node_digest(r, n);

	if (!layout_valid(&m->u.layout))
		return -EBADMSG;
	if (!repl_admitted(r, m))
		return 0;
	forget(n);
	if (!layout_equal(&m->u.layout, &r->layout)) {
		n->proposed = true;
		n->wanted = m->u.layout;
	}
	fx->changed = before != repl_node_digest(r, n);
	if (fx->changed)
		repl_note(fx, NOTE_LAYOUT, m->from, NOBODY, n->proposed ? n->wanted.buckets : 0, 0);
	return 0;
}

void repl_apply_rehash_ack(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	if (!m->u.plan.plan || m->u.plan.plan != repl_rehash_ack(r) || !repl_admitted(r, m) ||
	    mask_has(r->rehash_acks, m->from))
		return;
	r->rehash_acks |= node_bit(m->from);
	fx->changed = true;
}

void repl_apply_unmixed(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	if (r->rehash_phase != REHASH_MIXED || m->u.unmixed.rehash != r->rehash || !repl_admitted(r, m) ||
	    !mask_has(r->mixed, m->from))
		return;
	r->mixed &= ~node_bit(m->from);
	fx->changed = true;
	if (m->u.unmixed.forced)
		repl_note(fx, NOTE_MIX_FORCED, m->from, NOBODY, 0, 0);
}

void repl_layout_admitted(struct repl *r, unsigned int id)
{
	forget(&r->node[id]);
	/* Its conntrack may hold flows of before: its machine need not have been away. */
	if (repl_two_layouts(r))
		r->mixed |= node_bit(id);
}

void repl_layout_without(struct repl *r, unsigned int id, bool back)
{
	forget(&r->node[id]);
	r->rehash_acks &= ~node_bit(id);
	if (!back)
		r->mixed &= ~node_bit(id);
}

/* ---- the steps ---- */

/* All admitted nodes want the same other layout. */
static bool agreed(const struct repl *r, uint64_t online)
{
	const struct repl_node *first = &r->node[mask_lowest(online)];

	for (uint64_t x = online; x; x &= x - 1) {
		const struct repl_node *n = &r->node[mask_lowest(x)];

		if (!n->proposed || !layout_equal(&n->wanted, &first->wanted))
			return false;
	}
	return online != 0;
}

/* GRACE does not count: what is waited for could be long, and needs nothing that the change spoils. */
static bool at_rest(const struct repl *r)
{
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++)
			if (r->bucket[s][b].phase != PHASE_STABLE && r->bucket[s][b].phase != PHASE_GRACE)
				return false;
	return !r->plan;
}

static void freeze(struct repl *r, const struct repl_node *first, struct repl_fx *fx)
{
	repl_forget_idle(r);
	r->coming = first->wanted;
	r->rehash_phase = REHASH_FREEZE;
	r->rehash = r->epoch + 1;
	r->rehash_acks = 0;
	fx->tables = true;
	repl_note(fx, NOTE_FREEZE, NOBODY, NOBODY, r->coming.buckets, 0);
}

/* New bucket b is given to whoever has bucket b * N / N'.  In place, hence from the right end. */
static void remap(struct repl_bucket *k, uint8_t *old_owner, uint32_t from, uint32_t to)
{
	for (uint32_t b = 0; b < from; b++)	/* all flows of a GRACE bucket are of before the crash */
		old_owner[b] = k[b].phase == PHASE_GRACE ? k[b].other : k[b].owner;
	for (uint32_t i = 0; i < to; i++) {
		uint32_t b = to > from ? to - 1 - i : i;

		k[b] = k[(uint64_t)b * from / to];
	}
}

static void switch_over(struct repl *r, uint64_t online, struct repl_fx *fx)
{
	r->old = r->layout;
	r->layout = r->coming;
	r->mixed = online;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		remap(r->bucket[s], r->old_owner + (size_t)s * BUCKETS_MAX, r->old.buckets,
		      r->layout.buckets);
		for (uint32_t b = 0; b < r->layout.buckets; b++)
			if (r->bucket[s][b].phase == PHASE_GRACE)
				r->mixed |= node_bit(r->bucket[s][b].other);
	}
	for (uint64_t x = online; x; x &= x - 1) {
		struct repl_node *n = &r->node[mask_lowest(x)];

		if (layout_equal(&n->wanted, &r->layout))
			forget(n);
	}
	r->rehash_phase = REHASH_SWITCH;
	r->rehash_acks = 0;
	r->switched = r->epoch + 1;
	memset(&r->coming, 0, sizeof(r->coming));
	fx->tables = true;
	repl_note(fx, NOTE_SWITCH, NOBODY, NOBODY, r->layout.buckets, 0);
}

static void thaw(struct repl *r, struct repl_fx *fx)
{
	r->rehash_phase = REHASH_MIXED;
	r->rehash_acks = 0;
	fx->tables = true;
}

static void end(struct repl *r, struct repl_fx *fx)
{
	r->rehash_phase = REHASH_NONE;
	r->rehash = r->rehash_acks = r->mixed = 0;
	memset(&r->coming, 0, sizeof(r->coming));
	memset(&r->old, 0, sizeof(r->old));
	fx->tables = true;
	repl_note(fx, NOTE_MIX_END, NOBODY, NOBODY, 0, 0);
}

void repl_layout_step(struct repl *r, struct repl_fx *fx)
{
	uint64_t online = repl_online(r);

	bool all = online && !(online & ~r->rehash_acks);

	if (r->rehash_phase == REHASH_FREEZE && all)
		switch_over(r, online, fx);
	else if (r->rehash_phase == REHASH_SWITCH && all)
		thaw(r, fx);
	if (r->rehash_phase != REHASH_NONE && (!online || (r->rehash_phase == REHASH_MIXED && !r->mixed)))
		end(r, fx);
	if (r->rehash_phase == REHASH_NONE && agreed(r, online) && at_rest(r))
		freeze(r, &r->node[mask_lowest(online)], fx);
}

bool repl_layout_sound(const struct repl *r)
{
	uint64_t online = repl_online(r);

	if (!layout_valid(&r->layout) || (r->rehash_acks & ~online) || (r->mixed & ~repl_all_nodes(r)))
		return false;
	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		const struct repl_node *n = &r->node[i];

		if (n->proposed && (n->state != NODE_ONLINE || !layout_valid(&n->wanted) ||
				    layout_equal(&n->wanted, &r->layout)))
			return false;
	}
	switch (r->rehash_phase) {
	case REHASH_NONE:
		return !r->rehash && !r->rehash_acks && !r->mixed;
	case REHASH_FREEZE:
		return r->rehash && !r->plan && !r->mixed && online && layout_valid(&r->coming);
	case REHASH_SWITCH:
	case REHASH_MIXED:
		return r->rehash && !r->plan && r->mixed && online && layout_valid(&r->old) &&
		       (!r->rehash_acks || r->rehash_phase == REHASH_SWITCH) && r->switched > r->rehash;
	}
	return false;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicated state as a whole: its digest, its snapshot, its invariants. */
#include <errno.h>
#include <string.h>

#include "core/repl_priv.h"
#include "util/buf.h"

#define SNAPSHOT_VERSION 4

uint64_t repl_mix(uint64_t h, uint64_t v)
{
	h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ (h >> 32);
}

static uint64_t mix_addr(uint64_t h, const struct addr *a)
{
	h = repl_mix(h, a->family);
	for (unsigned int i = 0; i < 16; i += 8) {
		uint64_t v = 0;

		for (unsigned int j = 0; j < 8; j++)
			v = v << 8 | a->b[i + j];
		h = repl_mix(h, v);
	}
	return h;
}

static uint64_t mix_layout(uint64_t h, const struct layout *l)
{
	h = repl_mix(h, l->buckets);
	for (unsigned int i = 0; i < SERVICES_MAX; i++)
		h = repl_mix(h, l->hash[i]);
	return h;
}

static uint64_t mix_node(uint64_t h, const struct repl_node *n, unsigned int n_services)
{
	h = repl_mix(h, (uint64_t)n->state | (uint64_t)n->drain << 8 | (uint64_t)n->leaving << 9 |
		   (uint64_t)n->hold_back << 10 | (uint64_t)n->ever << 11 | (uint64_t)n->refused << 12 |
		   (uint64_t)n->proposed << 13 | (uint64_t)n->returning << 14 |
		   (uint64_t)n->weight_conf << 16 | (uint64_t)n->weight_order << 32 |
		   (uint64_t)n->ramp << 48);
	h = repl_mix(repl_mix(h, n->term), n->incarnation);
	h = mix_layout(h, &n->wanted);
	for (unsigned int s = 0; s < n_services; s++) {
		h = repl_mix(h, (uint64_t)n->health[s] | (uint64_t)n->seen_down[s] << 8 |
			   (uint64_t)n->factor[s] << 16);
		for (unsigned int i = 0; i < 6; i++)
			h = repl_mix(h, n->link[s].mac[i]);
		h = mix_addr(mix_addr(h, &n->link[s].addr4), &n->link[s].addr6);
	}
	return h;
}

static uint64_t mix_rehash(uint64_t h, const struct repl *r)
{
	h = repl_mix(repl_mix(repl_mix(h, r->rehash_phase), r->rehash), r->rehash_acks);
	h = repl_mix(repl_mix(h, r->mixed), r->switched);
	if (r->rehash_phase == REHASH_FREEZE)
		return mix_layout(h, &r->coming);
	if (!repl_two_layouts(r))
		return h;
	h = mix_layout(h, &r->old);
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->old.buckets; b++)
			h = repl_mix(h, repl_old_owner(r, s)[b]);
	return h;
}

uint64_t repl_digest(const struct repl *r)
{
	uint64_t h = repl_mix(repl_mix(repl_mix(r->p.n_vips, r->p.n_nodes), r->p.n_services), r->epoch);

	h = repl_mix(repl_mix(repl_mix(h, r->lineage), r->config), r->dead);
	h = repl_mix(repl_mix(repl_mix(h, r->plan), r->preparing ? 1 : r->closing), r->acks);
	for (unsigned int s = 0; s < r->p.n_services; s++)
		h = repl_mix(repl_mix(h, r->alive[s]), r->moved[s]);
	h = mix_rehash(mix_layout(h, &r->layout), r);
	for (unsigned int v = 0; v < r->p.n_vips; v++)
		h = repl_mix(h, r->holder[v]);
	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		for (unsigned int s = 0; s < r->p.n_services; s++)
			h = repl_mix(h, (uint64_t)r->hw[s].w[i] << 16 | r->hw_next[s].w[i]);
		h = mix_node(h, &r->node[i], r->p.n_services);
	}
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			const struct repl_bucket *k = &r->bucket[s][b];

			h = repl_mix(h, (uint64_t)k->owner | (uint64_t)k->other << 8 |
				   (uint64_t)k->third << 16 | (uint64_t)k->phase << 24 |
				   (uint64_t)k->flows << 28 | (uint64_t)k->idle << 29 | (uint64_t)k->since << 32);
		}
	return h;
}

size_t repl_save_max(const struct repl *r)
{
	return 512 + HOLDERS_MAX + r->p.n_services * 16u +
	       (size_t)r->p.n_nodes * (96 + r->p.n_services * 64u) +
	       (size_t)r->p.n_services * BUCKETS_MAX * 8;
}

static void put_addr(struct buf_w *w, const struct addr *a)
{
	buf_put8(w, a->family);
	buf_put(w, a->b, sizeof(a->b));
}

static void get_addr(struct buf_r *r, struct addr *a)
{
	a->family = buf_get8(r);
	buf_get(r, a->b, sizeof(a->b));
}

static void put_layout(struct buf_w *w, const struct layout *l)
{
	buf_put32(w, l->buckets);
	buf_put(w, l->hash, sizeof(l->hash));
}

static void get_layout(struct buf_r *r, struct layout *l)
{
	l->buckets = buf_get32(r);
	buf_get(r, l->hash, sizeof(l->hash));
}

static void save_node(const struct repl *r, struct buf_w *w, unsigned int i)
{
	const struct repl_node *n = &r->node[i];

	buf_put8(w, n->state);
	buf_put8(w, (uint8_t)(n->drain | n->leaving << 1 | n->hold_back << 2 | n->ever << 3 |
			      n->refused << 4 | n->proposed << 5 | n->returning << 6));
	buf_put16(w, n->weight_conf);
	buf_put16(w, n->weight_order);
	buf_put16(w, n->ramp);
	buf_put32(w, n->term);
	buf_put64(w, n->incarnation);
	if (n->proposed)
		put_layout(w, &n->wanted);
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		buf_put16(w, r->hw[s].w[i]);
		buf_put16(w, r->hw_next[s].w[i]);
		buf_put8(w, n->health[s]);
		buf_put8(w, n->seen_down[s]);
		buf_put16(w, n->factor[s]);
		buf_put(w, n->link[s].mac, 6);
		put_addr(w, &n->link[s].addr4);
		put_addr(w, &n->link[s].addr6);
	}
}

static void save_rehash(const struct repl *r, struct buf_w *w)
{
	buf_put8(w, (uint8_t)r->rehash_phase);
	buf_put64(w, r->switched);
	if (r->rehash_phase == REHASH_NONE)
		return;
	buf_put64(w, r->rehash);
	buf_put64(w, r->rehash_acks);
	if (r->rehash_phase == REHASH_FREEZE) {
		put_layout(w, &r->coming);
		return;
	}
	buf_put64(w, r->mixed);
	put_layout(w, &r->old);
	for (unsigned int s = 0; s < r->p.n_services; s++)
		buf_put(w, repl_old_owner(r, s), r->old.buckets);
}

size_t repl_save(const struct repl *r, uint8_t *buf, size_t size)
{
	struct buf_w w = buf_writer(buf, size);

	buf_put8(&w, SNAPSHOT_VERSION);
	buf_put8(&w, r->p.n_nodes);
	buf_put8(&w, r->p.n_services);
	put_layout(&w, &r->layout);
	buf_put64(&w, r->epoch);
	buf_put64(&w, r->lineage);
	buf_put64(&w, r->config);
	buf_put64(&w, r->dead);
	buf_put64(&w, r->plan);
	buf_put8(&w, r->preparing);
	buf_put64(&w, r->closing);
	buf_put64(&w, r->acks);
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		buf_put64(&w, r->alive[s]);
		buf_put64(&w, r->moved[s]);
	}
	save_rehash(r, &w);
	buf_put16(&w, r->p.n_vips);
	buf_put(&w, r->holder, r->p.n_vips);
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		save_node(r, &w, i);
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			const struct repl_bucket *k = &r->bucket[s][b];

			buf_put8(&w, k->owner);
			buf_put8(&w, (uint8_t)(k->phase | k->flows << 4 | k->idle << 5));
			if (k->phase != PHASE_STABLE) {
				buf_put8(&w, k->other);
				buf_put8(&w, k->third);
				buf_put32(&w, k->since);
			}
		}
	return w.err ? 0 : w.pos;
}

static void load_node(struct repl *r, struct buf_r *b, unsigned int i, bool *bad)
{
	struct repl_node *n = &r->node[i];

	n->state = buf_get8(b);
	uint8_t f = buf_get8(b);

	n->drain = f & 1;
	n->leaving = f >> 1 & 1;
	n->hold_back = f >> 2 & 1;
	n->ever = f >> 3 & 1;
	n->refused = f >> 4 & 1;
	n->proposed = f >> 5 & 1;
	n->returning = f >> 6 & 1;
	n->weight_conf = buf_get16(b);
	n->weight_order = buf_get16(b);
	n->ramp = buf_get16(b);
	n->term = buf_get32(b);
	n->incarnation = buf_get64(b);
	memset(&n->wanted, 0, sizeof(n->wanted));
	if (n->proposed)
		get_layout(b, &n->wanted);
	*bad |= n->state > NODE_FAILED || f > 127;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		r->hw[s].w[i] = buf_get16(b);
		r->hw_next[s].w[i] = buf_get16(b);
		n->health[s] = buf_get8(b);
		n->seen_down[s] = buf_get8(b);
		n->factor[s] = buf_get16(b);
		buf_get(b, n->link[s].mac, 6);
		get_addr(b, &n->link[s].addr4);
		get_addr(b, &n->link[s].addr6);
	}
}

static void load_bucket(struct repl_bucket *k, struct buf_r *b, unsigned int n_nodes, bool *bad)
{
	memset(k, 0, sizeof(*k));
	k->owner = buf_get8(b);
	uint8_t f = buf_get8(b);

	k->phase = f & 15;
	k->flows = f >> 4 & 1;
	k->idle = f >> 5 & 1;
	if (k->phase != PHASE_STABLE) {
		k->other = buf_get8(b);
		k->third = buf_get8(b);
		k->since = buf_get32(b);
	}
	*bad |= k->owner > n_nodes || k->other > n_nodes || k->third > n_nodes ||
		k->phase >= PHASES_N || f > 63;
}

static bool load_rehash(struct repl *r, struct buf_r *b)
{
	uint8_t phase = buf_get8(b);
	bool bad = phase > REHASH_MIXED;

	r->rehash_phase = bad ? REHASH_NONE : (enum repl_rehash)phase;
	r->switched = buf_get64(b);
	r->rehash = r->rehash_acks = r->mixed = 0;
	memset(&r->coming, 0, sizeof(r->coming));
	memset(&r->old, 0, sizeof(r->old));
	if (phase == REHASH_NONE || bad)
		return !bad;
	r->rehash = buf_get64(b);
	r->rehash_acks = buf_get64(b);
	if (phase == REHASH_FREEZE) {
		get_layout(b, &r->coming);
		return true;
	}
	r->mixed = buf_get64(b);
	get_layout(b, &r->old);
	if (b->err || !layout_valid(&r->old))
		return false;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		uint8_t *owner = r->old_owner + (size_t)s * BUCKETS_MAX;

		buf_get(b, owner, r->old.buckets);
		for (uint32_t i = 0; i < r->old.buckets; i++)
			bad |= owner[i] > r->p.n_nodes;
	}
	return !bad;
}

/* Reads into 'r' itself; the caller has kept what was there. */
static bool load_all(struct repl *r, struct buf_r *b)
{
	bool bad = false;

	if (buf_get8(b) != SNAPSHOT_VERSION || buf_get8(b) != r->p.n_nodes ||
	    buf_get8(b) != r->p.n_services)
		return false;
	get_layout(b, &r->layout);
	if (b->err || !layout_valid(&r->layout))
		return false;
	r->epoch = buf_get64(b);
	r->lineage = buf_get64(b);
	r->config = buf_get64(b);
	r->dead = buf_get64(b);
	r->plan = buf_get64(b);
	r->preparing = buf_get8(b) != 0;
	r->closing = buf_get64(b);
	r->acks = buf_get64(b);
	bad |= ((r->dead | r->acks) & ~repl_all_nodes(r)) != 0;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		r->alive[s] = buf_get64(b);
		r->moved[s] = buf_get64(b);
		bad |= (r->alive[s] & ~repl_all_nodes(r)) != 0;
	}
	if (!load_rehash(r, b) || buf_get16(b) != r->p.n_vips)
		return false;
	buf_get(b, r->holder, r->p.n_vips);
	for (unsigned int v = 0; v < r->p.n_vips; v++)
		if (r->holder[v] > r->p.n_nodes)
			return false;
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		load_node(r, b, i, &bad);
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t k = 0; k < r->layout.buckets; k++)
			load_bucket(&r->bucket[s][k], b, r->p.n_nodes, &bad);
	return !bad && !b->err && !buf_left(b) && repl_valid(r);
}

int repl_load(struct repl *r, const uint8_t *buf, size_t size)
{
	struct buf_r b = buf_reader(buf, size);
	struct repl *t = r->spare, keep = *r;

	if (!load_all(t, &b))
		return -EBADMSG;
	*r = *t;
	t->old_owner = keep.old_owner;
	r->owner = keep.owner;
	r->pinned = keep.pinned;
	r->first = keep.first;
	r->next = keep.next;
	r->scratch = keep.scratch;
	r->spare = t;
	memcpy(t->bucket, keep.bucket, sizeof(t->bucket));
	return 0;
}

uint64_t repl_node_digest(const struct repl *r, const struct repl_node *n)
{
	return mix_node(0, n, r->p.n_services);
}

static bool holders_sound(const struct repl *r, uint64_t online)
{
	for (unsigned int v = 0; v < r->p.n_vips; v++)
		if (online ? !mask_has(online, r->holder[v]) : r->holder[v] != NOBODY)
			return false;
	return true;
}

/* Between two plans a bucket only waits for a node that crashed. */
static bool bucket_sound(const struct repl *r, const struct repl_bucket *k)
{
	if (k->third && (k->phase != PHASE_DRAIN || k->third == k->owner || k->third == k->other))
		return false;
	if (r->rehash_phase != REHASH_NONE)
		return (k->phase == PHASE_STABLE || k->phase == PHASE_GRACE) && !k->idle;
	return !k->idle || (k->phase == PHASE_STABLE && k->owner != NOBODY);
}

static bool node_sound(const struct repl *r, unsigned int id)
{
	const struct repl_node *n = &r->node[id];
	bool online = n->state == NODE_ONLINE;

	if (n->weight_conf > WEIGHT_MAX || (n->weight_order > WEIGHT_MAX && n->weight_order != ORDER_AUTO))
		return false;
	if (n->ramp < 1 || n->ramp > RAMP_FULL || (!online && (n->ramp != RAMP_FULL || n->returning)))
		return false;
	for (unsigned int s = 0; s < r->p.n_services; s++)
		if (r->hw[s].w[id] > WEIGHT_MAX * WEIGHT_SCALE ||
		    r->hw_next[s].w[id] > WEIGHT_MAX * WEIGHT_SCALE ||
		    n->factor[s] > CLUSTERD_FACTOR_MAX || n->health[s] >= FITNESS_N ||
		    (n->seen_down[s] != NOBODY && !repl_verdict_stands(r, s, id)))
			return false;
	return true;
}

/* Who may be an heir, now or when the plan is known to all. */
static uint64_t heirs(const struct repl *r, unsigned int s)
{
	return r->alive[s] | (r->preparing ? repl_weight_mask(&r->hw_next[s], r->p.n_nodes) : 0);
}

static bool phase_sound(const struct repl *r, const struct repl_bucket *k, uint64_t online,
			uint64_t heir)
{
	bool owned = mask_has(online, k->owner), other = mask_has(online, k->other);

	switch ((enum repl_phase)k->phase) {
	case PHASE_STABLE:
		return k->other == NOBODY && (owned || k->owner == NOBODY) && !k->flows;
	case PHASE_PREPARE:
		return r->preparing && other && (owned || k->owner == NOBODY);
	case PHASE_HANDOFF:
		return r->plan && !r->preparing && other && owned;
	case PHASE_ADOPT:
		return r->plan && !r->preparing && other && owned && !k->flows;
	case PHASE_DRAIN:
		return other && owned && !k->flows;
	case PHASE_GRACE:
		/* Who is awaited is heir of nothing before a plan has given it back. */
		return owned && k->other != NOBODY && !mask_has(heir, k->other) && !k->flows;
	case PHASES_N:
		break;
	}
	return false;
}

bool repl_valid(const struct repl *r)
{
	uint64_t online = repl_online(r);

	if (!repl_layout_sound(r) || !holders_sound(r, online))
		return false;
	if ((r->acks & ~online) || (r->preparing && !r->plan) ||
	    (r->closing && (!r->plan || r->preparing)))
		return false;
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		if (!node_sound(r, i))
			return false;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		uint64_t heir = heirs(r, s);

		if ((heir & ~online) || r->moved[s] > r->epoch)
			return false;
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			const struct repl_bucket *k = &r->bucket[s][b];

			if (!phase_sound(r, k, online, heir) || !bucket_sound(r, k) ||
			    (k->owner && k->owner == k->other))
				return false;
		}
	}
	return true;
}

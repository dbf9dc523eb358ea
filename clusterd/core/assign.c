// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/assign.h"

#include <assert.h>
#include <string.h>

#include "util/jhash.h"

/*
 * The three uses of the hash must not know of each other.  If share picked the buckets that a node
 * ranks first as an heir, what stays behind would be those that it ranks last, and the heirs of the
 * node that gave them would be anything but even.
 */
#define SALT_SHARE	0x73686172u
#define SALT_TARGET	0x74617267u

#define LOG_BITS	26	/* fraction bits of the logarithm */
#define STEP_BITS	7	/* the table has 2^7 steps, linear between them */
#define REST_BITS	(32 - STEP_BITS)

/* log2(1 + i / 128) in units of 2^-26, rounded to nearest. */
static const uint32_t log_table[(1 << STEP_BITS) + 1] = {
	0x0000000, 0x00b7f28, 0x016e797, 0x02239a4, 0x02d75a7, 0x0389bf5, 0x043ace2, 0x04ea8bf,
	0x0598fdc, 0x0646286, 0x06f2109, 0x079cbb0, 0x08462c4, 0x08ee68d, 0x099574f, 0x0a3b550,
	0x0ae00d2, 0x0b83a17, 0x0c2615f, 0x0cc76e8, 0x0d67af1, 0x0e06db6, 0x0ea4f72, 0x0f4205f,
	0x0fde0b6, 0x10790ae, 0x111307e, 0x11ac05b, 0x124407b, 0x12db110, 0x137124d, 0x1406464,
	0x149a785, 0x152dbe0, 0x15c01a4, 0x16518fe, 0x16e221d, 0x1771d2c, 0x1800a56, 0x188e9c7,
	0x191bba9, 0x19a8024, 0x1a33761, 0x1abe188, 0x1b47ebf, 0x1bd0f2f, 0x1c592fb, 0x1ce0a49,
	0x1d6753e, 0x1ded3fd, 0x1e726aa, 0x1ef6d67, 0x1f7a857, 0x1ffd79a, 0x207fb51, 0x210139e,
	0x21820a0, 0x2202276, 0x228193f, 0x230051a, 0x237e624, 0x23fbc7a, 0x247883b, 0x24f4981,
	0x2570069, 0x25ead0f, 0x2664f8d, 0x26de7ff, 0x275767f, 0x27cfb27, 0x2847610, 0x28be753,
	0x2934f09, 0x29aad4b, 0x2a20231, 0x2a94dd2, 0x2b09045, 0x2b7c9a2, 0x2bef9ff, 0x2c62172,
	0x2cd4012, 0x2d455f4, 0x2db632d, 0x2e267d3, 0x2e963fb, 0x2f057b8, 0x2f7431f, 0x2fe2644,
	0x305013b, 0x30bd416, 0x3129ee9, 0x31961c7, 0x3201cc3, 0x326cfee, 0x32d7b5a, 0x3341f1a,
	0x33abb40, 0x3414fdb, 0x347dcfe, 0x34e62ba, 0x354e11f, 0x35b583d, 0x361c825, 0x36830e7,
	0x36e9292, 0x374ed36, 0x37b40e4, 0x3818da9, 0x387d394, 0x38e12b6, 0x3944b1c, 0x39a7cd4,
	0x3a0a7ee, 0x3a6cc76, 0x3acea7c, 0x3b3020d, 0x3b91335, 0x3bf1e04, 0x3c52286, 0x3cb20c8,
	0x3d118d6, 0x3d70abf, 0x3dcf68e, 0x3e2dc50, 0x3e8bc11, 0x3ee95de, 0x3f469c2, 0x3fa37ca,
	0x4000000,
};

uint32_t assign_neglog2(uint32_t u)
{
	uint64_t v = ((uint64_t)u << 1) + 1;	/* (u + 1/2) / 2^32 = v / 2^33, strictly within 0..1 */
	unsigned int top = 63 - (unsigned int)__builtin_clzll(v);
	uint32_t frac = (uint32_t)(v << (32 - top));	/* below the leading one, which falls off */
	unsigned int step = frac >> REST_BITS;
	uint64_t rest = frac & ((UINT32_C(1) << REST_BITS) - 1);
	uint64_t rise = log_table[step + 1] - log_table[step];

	return ((33 - top) << LOG_BITS) - log_table[step] - (uint32_t)((rise * rest) >> REST_BITS);
}

/*
 * Weighted rendezvous: -log(uniform) / weight is an exponential variable of rate 'weight', and the
 * least of several such is any one of them with probability weight / sum of weights.
 */
unsigned int assign_heir(uint32_t bucket, uint32_t salt, const struct weights *w, uint64_t lost)
{
	unsigned int best = NOBODY;
	uint64_t best_log = 0, best_weight = 0;
	uint32_t best_hash = 0;

	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		uint64_t mine, theirs;
		uint32_t hash, log;

		if (!w->w[id] || mask_has(lost, id))
			continue;
		hash = hash2(bucket, id, salt);
		log = assign_neglog2(hash);
		/* log / weight < best_log / best_weight, without dividing: 32 + 14 bits */
		mine = log * best_weight;
		theirs = best_log * w->w[id];
		if (best == NOBODY || mine < theirs || (mine == theirs && hash < best_hash)) {
			best = id;
			best_hash = hash;
			best_log = log;
			best_weight = w->w[id];
		}
	}
	return best;
}

/*
 * Splits 'total' in proportion to part[], largest remainder; equal remainders by hash, then by id.
 * All zero if all parts are.  If total <= sum of parts, nobody gets more than its part: a part that
 * divides evenly has remainder 0 and there are always enough others.
 */
static void apportion(const uint32_t part[NODES_MAX + 1], uint32_t total, uint32_t salt,
		      uint32_t out[NODES_MAX + 1])
{
	uint64_t rest[NODES_MAX + 1], whole = 0;
	uint32_t hash[NODES_MAX + 1], left = total;

	for (unsigned int id = 0; id <= NODES_MAX; id++)
		whole += part[id];
	memset(out, 0, (NODES_MAX + 1) * sizeof(*out));
	if (!whole)
		return;

	for (unsigned int id = 0; id <= NODES_MAX; id++) {
		out[id] = (uint32_t)((uint64_t)total * part[id] / whole);
		rest[id] = (uint64_t)total * part[id] % whole;
		hash[id] = hash2(id, 0, salt ^ SALT_TARGET);
		left -= out[id];
	}
	for (; left; left--) {
		unsigned int best = 0;

		for (unsigned int id = 1; id <= NODES_MAX; id++)
			if (rest[id] > rest[best] || (rest[id] == rest[best] && hash[id] < hash[best]))
				best = id;
		assert(rest[best]);
		out[best]++;
		rest[best] = 0;
	}
}

void assign_targets(const struct weights *w, uint32_t buckets, uint32_t salt,
		    uint32_t target[NODES_MAX + 1])
{
	uint32_t part[NODES_MAX + 1] = { 0 };
	bool any = false;

	assert(buckets <= BUCKETS_MAX);
	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		part[id] = w->w[id];
		any |= w->w[id] != 0;
	}
	/* Nobody is then the only one to take something: the rest needs no special case. */
	if (!any)
		part[NOBODY] = 1;
	apportion(part, buckets, salt, target);
}

struct plan {
	uint32_t give[NODES_MAX + 1];
	uint32_t take[NODES_MAX + 1];
	uint32_t moves;			/* sum of give[], and of take[] */
};

/* How many buckets each node gives and takes; NOBODY counts as a node. */
static void plan_moves(struct plan *p, const uint8_t *owner, const uint8_t *pinned,
		       uint32_t buckets, uint32_t salt, const struct weights *w)
{
	uint32_t have[NODES_MAX + 1] = { 0 }, fixed[NODES_MAX + 1] = { 0 };
	uint32_t target[NODES_MAX + 1], lack[NODES_MAX + 1] = { 0 };

	for (uint32_t b = 0; b < buckets; b++) {
		assert(owner[b] <= NODES_MAX);
		have[owner[b]]++;
		if (pinned && pinned[b])
			fixed[owner[b]]++;
	}
	assign_targets(w, buckets, salt, target);

	memset(p, 0, sizeof(*p));
	for (unsigned int id = 0; id <= NODES_MAX; id++) {
		if (have[id] > target[id]) {
			uint32_t excess = have[id] - target[id], loose = have[id] - fixed[id];

			p->give[id] = excess < loose ? excess : loose;
			p->moves += p->give[id];
		} else {
			lack[id] = target[id] - have[id];
		}
	}
	/* have[] and target[] have the same sum: without pins all of lack[] is met. */
	apportion(lack, p->moves, salt, p->take);
}

/* The only node that takes, or NOBODY if several do (or nobody does). */
static unsigned int plan_sole_taker(const struct plan *p)
{
	unsigned int sole = NOBODY;

	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		if (!p->take[id])
			continue;
		if (sole != NOBODY)
			return NOBODY;
		sole = id;
	}
	return sole;
}

/*
 * Collects every bucket that may go as hash << 32 | bucket in key[0], and counts the hash's digits
 * (11, 11 and 10 bits).  The hash is of the bucket and the taker when there is but one, so that it
 * gets back what it had; else of the bucket and the giver.
 */
static uint32_t collect(struct assign_scratch *s, const struct plan *p, const uint8_t *owner,
			const uint8_t *pinned, uint32_t buckets, uint32_t salt)
{
	unsigned int taker = plan_sole_taker(p);
	uint32_t n = 0;

	memset(s->count, 0, sizeof(s->count));
	for (uint32_t b = 0; b < buckets; b++) {
		uint32_t hash;

		if (!p->give[owner[b]] || (pinned && pinned[b]))
			continue;
		hash = hash2(b, taker != NOBODY ? taker : owner[b], salt ^ SALT_SHARE);
		s->key[0][n++] = (uint64_t)hash << 32 | b;
		s->count[0][hash & 0x7ff]++;
		s->count[1][(hash >> 11) & 0x7ff]++;
		s->count[2][hash >> 22]++;
	}
	return n;
}

/* Radix sort by hash; stable, so equal hashes stay in the order of the buckets.  Ends in key[1]. */
static const uint64_t *sort_keys(struct assign_scratch *s, uint32_t n)
{
	for (unsigned int pass = 0; pass < 3; pass++) {
		const uint64_t *from = s->key[pass & 1];
		uint64_t *to = s->key[!(pass & 1)];
		uint32_t *count = s->count[pass], sum = 0;

		for (unsigned int i = 0; i < 1 << 11; i++) {
			uint32_t c = count[i];

			count[i] = sum;
			sum += c;
		}
		for (uint32_t i = 0; i < n; i++)
			to[count[(from[i] >> (32 + 11 * pass)) & 0x7ff]++] = from[i];
	}
	return s->key[1];
}

/*
 * Carries the plan out with the buckets key[0..n), in their order, as far as it goes: with those in
 * first[] or with the others.  No bucket is looked at twice, as 'next' may be 'owner'.
 */
static void give(struct plan *p, const uint64_t *key, uint32_t n, const uint8_t *first, bool others,
		 const uint8_t *owner, uint8_t *next)
{
	unsigned int taker = 0;

	for (uint32_t i = 0; i < n && p->moves; i++) {
		uint32_t b = (uint32_t)key[i];

		if (!(first && first[b]) != others || !p->give[owner[b]])
			continue;
		while (!p->take[taker])
			taker++;
		p->give[owner[b]]--;
		p->take[taker]--;
		p->moves--;
		next[b] = (uint8_t)taker;
	}
}

uint32_t assign_share(const uint8_t *owner, const uint8_t *pinned, const uint8_t *first,
		      uint32_t buckets, uint32_t salt, const struct weights *w, uint8_t *next,
		      struct assign_scratch *s)
{
	const uint64_t *key;
	struct plan p;
	uint32_t n, moves;

	plan_moves(&p, owner, pinned, buckets, salt, w);
	memmove(next, owner, buckets);
	if (!p.moves)
		return 0;

	n = collect(s, &p, owner, pinned, buckets, salt);
	key = sort_keys(s, n);
	moves = p.moves;
	if (first)
		give(&p, key, n, first, false, owner, next);
	give(&p, key, n, first, true, owner, next);
	assert(!p.moves);
	return moves;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/flowtab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/jhash.h"

#define WAYS      8
#define RETELL_MS 1000
#define SIZE_MAX_ENTRIES (UINT32_C(1) << 24)

/* What makes two flows the same; padding would spoil comparing and hashing by bytes. */
struct key {
	uint8_t service, proto, family, zero;
	uint8_t client[16], vip[16];
	uint16_t sport, dport;
};
_Static_assert(sizeof(struct key) == 40, "no padding");

struct entry {
	int64_t expires_ms;		/* <= now: free */
	int64_t told_ms;		/* the kernel was told last; ASKED: last ask */
	int64_t first_ms;		/* ASKED: first ask */
	struct key key;
	uint8_t node;
};

struct area {
	struct entry *entry;
	uint32_t mask;			/* rows - 1 */
};

struct flowtab {
	struct flowtab_params p;
	struct area known, picked, asked;
	/* thousandths of an ask that may still be made */
	int64_t budget, budget_ms;
	size_t bytes;
};

static bool area_new(struct flowtab *t, struct area *a, uint32_t want)
{
	uint32_t rows = 1;

	while (rows * WAYS < want && rows * WAYS < SIZE_MAX_ENTRIES)
		rows *= 2;
	a->entry = calloc((size_t)rows * WAYS, sizeof(*a->entry));
	a->mask = rows - 1;
	t->bytes += (size_t)rows * WAYS * sizeof(*a->entry);
	for (size_t i = 0; a->entry && i < (size_t)rows * WAYS; i++)
		a->entry[i].expires_ms = INT64_MIN;
	return a->entry;
}

struct flowtab *flowtab_new(const struct flowtab_params *p)
{
	struct flowtab *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->p = *p;
	t->bytes = sizeof(*t);
	t->budget = (int64_t)p->asks_burst * 1000;
	t->budget_ms = INT64_MIN;
	if (!area_new(t, &t->known, p->known) || !area_new(t, &t->picked, p->picked) ||
	    !area_new(t, &t->asked, p->asked)) {
		flowtab_free(t);
		return NULL;
	}
	return t;
}

void flowtab_free(struct flowtab *t)
{
	if (!t)
		return;
	free(t->known.entry);
	free(t->picked.entry);
	free(t->asked.entry);
	free(t);
}

void flowtab_set_give_up(struct flowtab *t, uint32_t ms)
{
	t->p.give_up_ms = ms;
}

size_t flowtab_bytes(const struct flowtab *t)
{
	return t->bytes;
}

static struct key make_key(const struct flow *f)
{
	struct key k = { .service = f->service, .proto = f->proto, .family = f->client.family,
			 .sport = f->sport, .dport = f->dport };

	memcpy(k.client, f->client.b, sizeof(k.client));
	memcpy(k.vip, f->vip.b, sizeof(k.vip));
	return k;
}

static struct entry *row_of(const struct flowtab *t, const struct area *a, const struct key *k)
{
	return a->entry + (size_t)(jhash(k, sizeof(*k), t->p.seed) & a->mask) * WAYS;
}

/* The entry, expired or not, or NULL. */
static struct entry *lookup(const struct flowtab *t, const struct area *a, const struct key *k)
{
	struct entry *row = row_of(t, a, k);

	for (unsigned int i = 0; i < WAYS; i++)
		if (row[i].expires_ms != INT64_MIN && !memcmp(&row[i].key, k, sizeof(*k)))
			return &row[i];
	return NULL;
}

/* Its entry, or the one that expires first, emptied. */
static struct entry *take(struct flowtab *t, struct area *a, const struct key *k)
{
	struct entry *row = row_of(t, a, k), *e = lookup(t, a, k);

	if (!e) {
		e = row;
		for (unsigned int i = 1; i < WAYS; i++)
			if (row[i].expires_ms < e->expires_ms)
				e = &row[i];
	}
	memset(e, 0, sizeof(*e));
	e->key = *k;
	return e;
}

static void empty(struct entry *e)
{
	if (e)
		e->expires_ms = INT64_MIN;
}

static bool live(const struct entry *e, int64_t now_ms)
{
	return e && e->expires_ms > now_ms;
}

unsigned int flowtab_find(struct flowtab *t, const struct flow *f, int64_t now_ms, bool *retell)
{
	struct key k = make_key(f);
	struct entry *e = lookup(t, &t->known, &k);
	uint32_t life = t->p.known_ms;

	*retell = false;
	if (!live(e, now_ms)) {
		e = lookup(t, &t->picked, &k);
		life = t->p.picked_ms;
	}
	if (!live(e, now_ms))
		return NOBODY;
	e->expires_ms = now_ms + life;
	if (now_ms - e->told_ms >= RETELL_MS) {
		e->told_ms = now_ms;
		*retell = true;
	}
	return e->node;
}

static void put(struct flowtab *t, struct area *a, const struct flow *f, int64_t now_ms,
		uint32_t life_ms)
{
	struct key k = make_key(f);
	struct entry *e = take(t, a, &k);

	assert(f->node != NOBODY && f->node <= NODES_MAX);
	e->node = f->node;
	e->told_ms = now_ms;
	e->expires_ms = now_ms + life_ms;
}

void flowtab_pick(struct flowtab *t, const struct flow *f, int64_t now_ms)
{
	struct key k = make_key(f);

	/* A new connection where an unknown one was: the question has answered itself. */
	empty(lookup(t, &t->asked, &k));
	put(t, &t->picked, f, now_ms, t->p.picked_ms);
}

void flowtab_learn(struct flowtab *t, const struct flow *f, int64_t now_ms)
{
	struct key k = make_key(f);

	empty(lookup(t, &t->picked, &k));
	empty(lookup(t, &t->asked, &k));
	put(t, &t->known, f, now_ms, t->p.known_ms);
}

void flowtab_drop(struct flowtab *t, const struct flow *f)
{
	struct key k = make_key(f);

	empty(lookup(t, &t->known, &k));
	empty(lookup(t, &t->picked, &k));
	empty(lookup(t, &t->asked, &k));
}

/* A token bucket: a thousand for each ask. */
static bool spend(struct flowtab *t, int64_t now_ms)
{
	int64_t most = (int64_t)t->p.asks_burst * 1000, per_ms = t->p.asks_per_s;

	if (t->budget_ms == INT64_MIN)
		t->budget_ms = now_ms;
	if (now_ms > t->budget_ms) {
		/* a long pause must not overflow */
		if (per_ms && now_ms - t->budget_ms > most / per_ms)
			t->budget = most;
		else
			t->budget += (now_ms - t->budget_ms) * per_ms;
		if (t->budget > most)
			t->budget = most;
		t->budget_ms = now_ms;
	}
	if (t->budget < 1000)
		return false;
	t->budget -= 1000;
	return true;
}

enum flowtab_ask flowtab_ask(struct flowtab *t, const struct flow *f, int64_t now_ms)
{
	struct key k = make_key(f);
	struct entry *e = lookup(t, &t->asked, &k);

	if (live(e, now_ms)) {
		if (now_ms - e->first_ms >= t->p.give_up_ms)
			return FLOWTAB_LOST;
		if (now_ms - e->told_ms < t->p.again_ms)
			return FLOWTAB_WAIT;
		if (!spend(t, now_ms))
			return FLOWTAB_NO_BUDGET;
		e->told_ms = now_ms;
		return FLOWTAB_ASK;
	}
	if (!spend(t, now_ms))
		return FLOWTAB_NO_BUDGET;
	e = take(t, &t->asked, &k);
	e->first_ms = e->told_ms = now_ms;
	e->expires_ms = now_ms + t->p.forget_ms;
	return FLOWTAB_ASK;
}

static uint32_t count(const struct area *a, int64_t now_ms)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ((size_t)a->mask + 1) * WAYS; i++)
		n += a->entry[i].expires_ms > now_ms;
	return n;
}

void flowtab_count(const struct flowtab *t, int64_t now_ms, struct flowtab_counts *out)
{
	*out = (struct flowtab_counts){ .known = count(&t->known, now_ms),
					.picked = count(&t->picked, now_ms),
					.asked = count(&t->asked, now_ms) };
}

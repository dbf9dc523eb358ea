/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/report.h"

#include <string.h>

#define BACK 25		/* so far below a threshold the load counts as below it again */
#define SLOTS (sizeof(((struct report *)0)->ring) / sizeof(((struct report *)0)->ring[0]))

static const uint16_t threshold[] = REPORT_THRESHOLDS;
#define LEVELS (sizeof(threshold) / sizeof(threshold[0]))

void report_init(struct report *r, uint32_t interval_ms)
{
	*r = (struct report){ .spacing_ms = interval_ms / 12 };
}

static void follow_level(struct report *r, unsigned int load)
{
	while (r->level < LEVELS && load >= threshold[r->level])
		r->level++;
	while (r->level && load + BACK < threshold[r->level - 1])
		r->level--;
}

static unsigned int smooth(struct report *r, unsigned int load)
{
	int64_t x = (int64_t)load * 1024;

	r->load = (uint32_t)(r->n_seen == 1 ? x : (2 * (int64_t)r->load + x + 1) / 3);
	return (r->load + 512) / 1024;
}

static void remember(struct report *r, const struct sample *s, int64_t now)
{
	if (r->n_ring && now - r->ring_at < r->spacing_ms)
		return;
	r->ring_at = now;
	r->ring[r->at] = *s;
	r->at = (r->at + 1) % SLOTS;
	r->n_ring += r->n_ring < SLOTS;
}

/* All but the oldest, which may be of another time; the first one is better than none. */
static void average(const struct report *r, struct sample *out)
{
	unsigned int n = r->n_ring > 1 ? r->n_ring - 1 : 1;
	uint64_t idle = 0, mem = 0;

	out->blocked = out->swapping = 0;
	for (unsigned int i = 1; i <= n; i++) {
		const struct sample *s = &r->ring[(r->at + SLOTS - i) % SLOTS];

		idle += s->cpu_idle;
		mem += s->mem_free_kb;
		out->blocked = s->blocked > out->blocked ? s->blocked : out->blocked;
		out->swapping = s->swapping > out->swapping ? s->swapping : out->swapping;
	}
	out->cpu_idle = (uint16_t)((idle + n / 2) / n);
	out->mem_free_kb = (uint32_t)((mem + n / 2) / n);
}

static bool moved(uint32_t is, uint32_t was, uint32_t step)
{
	return (is > was ? is - was : was - is) > step;
}

static bool news(const struct report *r, const struct sample *s)
{
	const struct sample *t = &r->told;
	uint32_t load_step = t->load / 10 > REPORT_STEP_LOAD ? t->load / 10 : REPORT_STEP_LOAD;

	if (r->level != r->told_level || moved(s->load, t->load, load_step) ||
	    moved(s->cpu_idle, t->cpu_idle, REPORT_STEP_IDLE) ||
	    moved(s->mem_free_kb, t->mem_free_kb, t->mem_free_kb / REPORT_STEP_SHARE) ||
	    !s->blocked != !t->blocked || !s->swapping != !t->swapping)
		return true;
	for (unsigned int i = 0; i < SERVICES_MAX; i++) {
		uint32_t step = t->conns[i] / REPORT_STEP_SHARE;

		if (moved(s->conns[i], t->conns[i], step > 8 ? step : 8))
			return true;
	}
	return false;
}

bool report_sample(struct report *r, const struct sample *s, int64_t now, struct sample *out)
{
	r->n_seen++;
	remember(r, s, now);
	*out = *s;
	average(r, out);
	out->load = (uint16_t)smooth(r, s->load);
	follow_level(r, out->load);
	if (r->any && (now - r->told_at < REPORT_MIN_MS ||
		       (!r->again && now - r->told_at < REPORT_REFRESH_MS && !news(r, out))))
		return false;
	r->any = true;
	r->again = false;
	r->told = *out;
	r->told_at = now;
	r->told_level = r->level;
	r->n_told++;
	return true;
}

void report_failed(struct report *r)
{
	if (!r->any)
		return;
	r->any = false;
	r->n_told--;
}

void report_again(struct report *r)
{
	r->again = true;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t rnd(struct sim *s)
{
	uint64_t z = s->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

int64_t rnd_in(struct sim *s, int64_t low, int64_t high)
{
	return low + (int64_t)(rnd(s) % (uint64_t)(high - low + 1));
}

bool rnd_chance(struct sim *s, unsigned int per_mille)
{
	return rnd(s) % 1000 < per_mille;
}

static bool before(const struct event *a, const struct event *b)
{
	return a->t != b->t ? a->t < b->t : a->seq < b->seq;
}

void post(struct sim *s, int64_t t, enum ev_type type, unsigned int node, uint32_t life, uint64_t u,
	  void *p)
{
	struct event e = { .t = t < s->now ? s->now : t, .seq = s->seq++, .type = type,
			   .node = (uint8_t)node, .life = life, .u = u, .p = p };
	unsigned int i = s->n_heap++;

	if (s->n_heap > s->size_heap) {
		s->size_heap = s->size_heap ? 2 * s->size_heap : 1024;
		s->heap = realloc(s->heap, s->size_heap * sizeof(*s->heap));
		if (!s->heap)
			abort();
	}
	while (i && before(&e, &s->heap[(i - 1) / 2])) {
		s->heap[i] = s->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->heap[i] = e;
}

static struct event heap_pop(struct sim *s)
{
	struct event top = s->heap[0], last = s->heap[--s->n_heap];
	unsigned int i = 0;

	for (;;) {
		unsigned int c = 2 * i + 1;

		if (c >= s->n_heap)
			break;
		if (c + 1 < s->n_heap && before(&s->heap[c + 1], &s->heap[c]))
			c++;
		if (before(&last, &s->heap[c]))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	s->heap[i] = last;
	return top;
}

/* Survives the death of the process, but not that of its corosync. */
static bool of_corosync(enum ev_type t)
{
	return t == EV_ORDER || t == EV_DELIVER || t == EV_PROC_GONE;
}

/* One event, if there is one up to that time. */
bool sim_step(struct sim *s, int64_t until)
{
	if (!s->n_heap || s->heap[0].t > until) {
		s->now = until;
		return false;
	}
	struct event e = heap_pop(s);

	s->now = e.t;
	s->n_events++;
	if (e.life && e.life != (of_corosync(e.type) ? s->node[e.node].coro_life
						     : s->node[e.node].life))
		free(e.p);
	else
		node_handle(s, &e);
	return true;
}

void sim_run(struct sim *s, int64_t duration)
{
	int64_t until = s->now + duration, check = s->now;

	while (sim_step(s, until)) {
		if (s->now - check >= MS) {
			check = s->now;
			kernel_check_gaps(s);
		}
	}
	kernel_check_gaps(s);
}

void fifo_push(struct fifo *f, void *p)
{
	if (f->n == f->size) {
		unsigned int size = f->size ? 2 * f->size : 16;
		void **q = malloc(size * sizeof(*q));

		if (!q)
			abort();
		for (unsigned int i = 0; i < f->n; i++)
			q[i] = fifo_at(f, i);
		free(f->p);
		f->p = q;
		f->size = size;
		f->head = 0;
	}
	f->p[(f->head + f->n++) % f->size] = p;
}

void *fifo_pop(struct fifo *f)
{
	void *p;

	if (!f->n)
		return NULL;
	p = f->p[f->head];
	f->head = (f->head + 1) % f->size;
	f->n--;
	return p;
}

static void format(struct sim *s, unsigned int node, char *out, size_t size, const char *fmt,
		   va_list ap)
{
	int n = snprintf(out, size, "%10.3f ms  ", (double)s->now / 1000);

	n += node ? snprintf(out + n, size - (size_t)n, "n%-2u ", node)
		  : snprintf(out + n, size - (size_t)n, "    ");
	vsnprintf(out + n, size - (size_t)n, fmt, ap);
}

void sim_trace(struct sim *s, unsigned int node, const char *fmt, ...)
{
	char *line = s->lines[s->n_lines++ % TRACE_LINES];
	va_list ap;

	va_start(ap, fmt);
	format(s, node, line, sizeof(s->lines[0]), fmt, ap);
	va_end(ap);
	if (s->verbose > 1)
		puts(line);
}

void sim_fail(struct sim *s, unsigned int node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(s, node, s->failure, sizeof(s->failure), fmt, ap);
	va_end(ap);
	longjmp(*s->on_fail, 1);
}

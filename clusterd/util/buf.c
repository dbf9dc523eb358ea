// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/buf.h"

#include <string.h>

void buf_put(struct buf_w *w, const void *data, size_t size)
{
	if (w->err || size > w->size - w->pos) {
		w->err = true;
		return;
	}
	if (!size)	/* memcpy() from NULL is undefined even for 0 bytes */
		return;
	memcpy(w->p + w->pos, data, size);
	w->pos += size;
}

/* The low 'size' bytes of 'v', most significant first. */
static void put_int(struct buf_w *w, uint64_t v, size_t size)
{
	uint8_t b[8];

	for (size_t i = 0; i < size; i++)
		b[i] = (uint8_t)(v >> (8 * (size - 1 - i)));
	buf_put(w, b, size);
}

void buf_put8(struct buf_w *w, uint8_t v) { put_int(w, v, 1); }
void buf_put16(struct buf_w *w, uint16_t v) { put_int(w, v, 2); }
void buf_put32(struct buf_w *w, uint32_t v) { put_int(w, v, 4); }
void buf_put64(struct buf_w *w, uint64_t v) { put_int(w, v, 8); }

void buf_get(struct buf_r *r, void *data, size_t size)
{
	if (!size)
		return;
	if (r->err || size > r->size - r->pos) {
		r->err = true;
		memset(data, 0, size);
		return;
	}
	memcpy(data, r->p + r->pos, size);
	r->pos += size;
}

static uint64_t get_int(struct buf_r *r, size_t size)
{
	uint8_t b[8];
	uint64_t v = 0;

	buf_get(r, b, size);
	for (size_t i = 0; i < size; i++)
		v = v << 8 | b[i];
	return v;
}

uint8_t buf_get8(struct buf_r *r) { return (uint8_t)get_int(r, 1); }
uint16_t buf_get16(struct buf_r *r) { return (uint16_t)get_int(r, 2); }
uint32_t buf_get32(struct buf_r *r) { return (uint32_t)get_int(r, 4); }
uint64_t buf_get64(struct buf_r *r) { return get_int(r, 8); }

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_UTIL_BUF_H
#define CLUSTERD_UTIL_BUF_H

/*
 * Bounded writer and reader for bytes on the wire, network order.  An overrun sets 'err' and every
 * later call is a no-op (writers) or gives zeros (readers): check 'err' once, at the end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf_w { uint8_t *p; size_t size, pos; bool err; };
struct buf_r { const uint8_t *p; size_t size, pos; bool err; };

static inline struct buf_w buf_writer(void *p, size_t size)
{ return (struct buf_w){ .p = p, .size = size }; }
static inline struct buf_r buf_reader(const void *p, size_t size)
{ return (struct buf_r){ .p = p, .size = size }; }

void buf_put(struct buf_w *w, const void *data, size_t size);
void buf_put8(struct buf_w *w, uint8_t v);
void buf_put16(struct buf_w *w, uint16_t v);
void buf_put32(struct buf_w *w, uint32_t v);
void buf_put64(struct buf_w *w, uint64_t v);

void buf_get(struct buf_r *r, void *data, size_t size);
uint8_t buf_get8(struct buf_r *r);
uint16_t buf_get16(struct buf_r *r);
uint32_t buf_get32(struct buf_r *r);
uint64_t buf_get64(struct buf_r *r);
static inline size_t buf_left(const struct buf_r *r) { return r->size - r->pos; }

#endif

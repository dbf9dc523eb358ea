// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/reach_segment.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "util/buf.h"
#include "util/csum.h"

#define IP4       20
#define IP6       40
#define TCP       20
#define MSS       536	/* nothing is going to be sent */
#define TTL       64
#define DONT_FRAG 0x4000	/* then the identification may be 0 (RFC 6864) */

static void put_tcp(struct buf_w *w, const struct reach_segment *s, size_t size)
{
	uint32_t sum = IPPROTO_TCP + (uint32_t)size;
	uint8_t *tcp = w->p + w->pos;

	buf_put16(w, s->sport);
	buf_put16(w, s->dport);
	buf_put32(w, s->seq);
	buf_put32(w, s->ack);
	buf_put8(w, (uint8_t)(size / 4 << 4));
	buf_put8(w, s->flags);
	buf_put16(w, s->flags & REACH_RST ? 0 : 1024);
	buf_put32(w, 0);	/* checksum, urgent pointer */
	if (size > TCP) {
		buf_put16(w, 0x0204);	/* maximum segment size */
		buf_put16(w, MSS);
	}
	sum = csum_add(sum, s->from.b, addr_size(&s->from));
	sum = csum_add(sum, s->to.b, addr_size(&s->to));
	csum_put(tcp + 16, csum_add(sum, tcp, size));
}

size_t reach_build(uint8_t out[REACH_PACKET_MAX], const struct reach_segment *s)
{
	struct buf_w w = buf_writer(out, REACH_PACKET_MAX);
	size_t size = s->flags & REACH_SYN ? TCP + 4 : TCP;
	bool v4 = s->from.family != AF_INET6;

	memset(out, 0, REACH_PACKET_MAX);
	if (v4) {
		buf_put16(&w, 0x4500);
		buf_put16(&w, (uint16_t)(IP4 + size));
		buf_put16(&w, 0);
		buf_put16(&w, DONT_FRAG);
		buf_put8(&w, TTL);
		buf_put8(&w, IPPROTO_TCP);
		buf_put16(&w, 0);
	} else {
		buf_put32(&w, 0x60000000);
		buf_put16(&w, (uint16_t)size);
		buf_put8(&w, IPPROTO_TCP);
		buf_put8(&w, TTL);
	}
	buf_put(&w, s->from.b, addr_size(&s->from));
	buf_put(&w, s->to.b, addr_size(&s->to));
	if (v4)
		csum_put(out + 10, csum_add(0, out, IP4));
	put_tcp(&w, s, size);
	assert(!w.err);
	return w.pos;
}

int reach_read(const uint8_t *in, size_t size, struct reach_segment *s)
{
	struct buf_r r;
	size_t head;

	memset(s, 0, sizeof(*s));
	if (size >= IP6 && in[0] >> 4 == 6 && in[6] == IPPROTO_TCP) {
		head = IP6;
		s->from.family = s->to.family = AF_INET6;
		memcpy(s->from.b, in + 8, 16);
		memcpy(s->to.b, in + 24, 16);
	} else if (size >= IP4 && in[0] >> 4 == 4 && in[9] == IPPROTO_TCP &&
		   !((in[6] << 8 | in[7]) & 0x1fff)) {
		head = (size_t)(in[0] & 15) * 4;
		s->from.family = s->to.family = AF_INET;
		memcpy(s->from.b, in + 12, 4);
		memcpy(s->to.b, in + 16, 4);
	} else {
		return -EBADMSG;
	}
	if (head < IP4 || size < head + TCP)
		return -EBADMSG;
	r = buf_reader(in + head, size - head);
	s->sport = buf_get16(&r);
	s->dport = buf_get16(&r);
	s->seq = buf_get32(&r);
	s->ack = buf_get32(&r);
	(void)buf_get8(&r);	/* length of the header */
	s->flags = buf_get8(&r);
	return 0;
}

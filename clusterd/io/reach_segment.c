// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/reach_segment.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define MSS 536u	/* nothing is going to be sent */
#define TTL 64

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* 'size' is even. */
static uint32_t add(uint32_t sum, const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i += 2)
		sum += get16(p + i);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t put_tcp(uint8_t *p, const struct reach_segment *s)
{
	size_t size = s->flags & REACH_SYN ? 24 : 20, alen = addr_size(&s->from);
	uint32_t sum = IPPROTO_TCP + (uint32_t)size;

	put16(p, s->sport);
	put16(p + 2, s->dport);
	put32(p + 4, s->seq);
	put32(p + 8, s->ack);
	p[12] = (uint8_t)(size / 4 << 4);
	p[13] = s->flags;
	put16(p + 14, s->flags & REACH_RST ? 0 : 1024);
	if (size == 24) {
		p[20] = 2;	/* maximum segment size */
		p[21] = 4;
		put16(p + 22, MSS);
	}
	sum = add(sum, s->from.b, alen);
	sum = add(sum, s->to.b, alen);
	put16(p + 16, fold(add(sum, p, size)));
	return size;
}

size_t reach_build(uint8_t out[REACH_PACKET_MAX], const struct reach_segment *s)
{
	size_t size;

	memset(out, 0, REACH_PACKET_MAX);
	if (s->from.family == AF_INET6) {
		size = put_tcp(out + 40, s);
		out[0] = 0x60;
		put16(out + 4, (uint32_t)size);
		out[6] = IPPROTO_TCP;
		out[7] = TTL;
		memcpy(out + 8, s->from.b, 16);
		memcpy(out + 24, s->to.b, 16);
		return 40 + size;
	}
	size = 20 + put_tcp(out + 20, s);
	out[0] = 0x45;
	put16(out + 2, (uint32_t)size);
	out[6] = 0x40;		/* do not fragment: then the identification may be 0 (RFC 6864) */
	out[8] = TTL;
	out[9] = IPPROTO_TCP;
	memcpy(out + 12, s->from.b, 4);
	memcpy(out + 16, s->to.b, 4);
	put16(out + 10, fold(add(0, out, 20)));
	return size;
}

int reach_read(const uint8_t *in, size_t size, struct reach_segment *s)
{
	size_t head;

	memset(s, 0, sizeof(*s));
	if (size >= 40 && in[0] >> 4 == 6 && in[6] == IPPROTO_TCP) {
		head = 40;
		s->from.family = s->to.family = AF_INET6;
		memcpy(s->from.b, in + 8, 16);
		memcpy(s->to.b, in + 24, 16);
	} else if (size >= 20 && in[0] >> 4 == 4 && in[9] == IPPROTO_TCP && !(get16(in + 6) & 0x1fff)) {
		head = (size_t)(in[0] & 15) * 4;
		s->from.family = s->to.family = AF_INET;
		memcpy(s->from.b, in + 12, 4);
		memcpy(s->to.b, in + 16, 4);
	} else {
		return -EBADMSG;
	}
	if (head < 20 || size < head + 20)
		return -EBADMSG;
	in += head;
	s->sport = get16(in);
	s->dport = get16(in + 2);
	s->seq = get32(in + 4);
	s->ack = get32(in + 8);
	s->flags = in[13];
	return 0;
}

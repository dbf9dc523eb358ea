/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packets of the peer check: against others whose checksums were computed elsewhere, and hostile ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>

#include "io/reach_segment.h"

/* 10.77.0.3:20001 to 10.77.0.250:80, SYN, MSS 536. */
static const uint8_t syn4[] = {
	0x45, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0x25, 0x36, 0x0a, 0x4d, 0x00, 0x03,
	0x0a, 0x4d, 0x00, 0xfa, 0x4e, 0x21, 0x00, 0x50, 0xde, 0xad, 0xbe, 0xef, 0x00, 0x00, 0x00, 0x00,
	0x60, 0x02, 0x04, 0x00, 0x96, 0x1d, 0x00, 0x00, 0x02, 0x04, 0x02, 0x18,
};
/* fd77::3 port 52767 to fd77::250 port 65535, RST. */
static const uint8_t rst6[] = {
	0x60, 0x00, 0x00, 0x00, 0x00, 0x14, 0x06, 0x40, 0xfd, 0x77, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xfd, 0x77, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x50, 0xce, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x00, 0x00, 0x00, 0x00, 0x50, 0x04, 0x00, 0x00, 0xe4, 0x7e, 0x00, 0x00,
};

static struct reach_segment segment(bool v6)
{
	struct reach_segment s = { .sport = v6 ? 52767 : 20001, .dport = v6 ? 65535 : 80,
				   .seq = v6 ? 0xffffffff : 0xdeadbeef,
				   .flags = v6 ? REACH_RST : REACH_SYN };

	assert_int_equal(addr_parse(&s.from, v6 ? "fd77::3" : "10.77.0.3"), 0);
	assert_int_equal(addr_parse(&s.to, v6 ? "fd77::250" : "10.77.0.250"), 0);
	return s;
}

static void build_makes_known_packets(void **state)
{
	struct reach_segment s4 = segment(false), s6 = segment(true);
	uint8_t out[REACH_PACKET_MAX];

	(void)state;
	memset(out, 0xff, sizeof(out));
	assert_int_equal(reach_build(out, &s4), sizeof(syn4));
	assert_memory_equal(out, syn4, sizeof(syn4));
	memset(out, 0xff, sizeof(out));
	assert_int_equal(reach_build(out, &s6), sizeof(rst6));
	assert_memory_equal(out, rst6, sizeof(rst6));
}

/* From a buffer of just that size, so that the sanitizer sees what is read behind it. */
static int read_exact(const uint8_t *in, size_t size, struct reach_segment *s)
{
	uint8_t *copy = malloc(size ? size : 1);
	int ret;

	memcpy(copy, in, size);
	ret = reach_read(copy, size, s);
	free(copy);
	return ret;
}

static void is_same(const struct reach_segment *a, const struct reach_segment *b)
{
	assert_int_equal(addr_cmp(&a->from, &b->from), 0);
	assert_int_equal(addr_cmp(&a->to, &b->to), 0);
	assert_int_equal(a->sport, b->sport);
	assert_int_equal(a->dport, b->dport);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->ack, b->ack);
	assert_int_equal(a->flags, b->flags);
}

static void read_finds_what_was_built(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2000; i++) {
		struct reach_segment s = segment(i % 2), got;
		uint8_t out[REACH_PACKET_MAX];

		s.sport = (uint16_t)random();
		s.dport = (uint16_t)random();
		s.seq = (uint32_t)random() * 2;
		s.ack = (uint32_t)random() * 2;
		s.flags = (uint8_t)(random() & (REACH_SYN | REACH_RST | REACH_ACK));
		s.from.b[random() % (i % 2 ? 16 : 4)] = (uint8_t)random();
		assert_int_equal(read_exact(out, reach_build(out, &s), &got), 0);
		is_same(&got, &s);
	}
}

/* The sum over header and pseudo-header is all ones, whatever is in it. */
static void checksums_hold(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2000; i++) {
		bool v6 = i % 2;
		struct reach_segment s = segment(v6);
		size_t ip = v6 ? 40 : 20, alen = v6 ? 16 : 4, size;
		uint8_t out[REACH_PACKET_MAX];
		uint32_t sum = 0, head = 0;

		for (unsigned int k = 0; k < alen; k++)
			s.to.b[k] = (uint8_t)random();
		s.seq = (uint32_t)random() * 2;
		s.flags = i % 3 ? REACH_SYN : REACH_RST;
		size = reach_build(out, &s);
		for (size_t k = v6 ? 8 : 12; k < size; k += 2)	/* both addresses, then TCP */
			sum += (uint32_t)(out[k] << 8 | out[k + 1]);
		sum += IPPROTO_TCP + (uint32_t)(size - ip);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal(sum, 0xffff);
		for (size_t k = 0; k < 20 && !v6; k += 2)
			head += (uint32_t)(out[k] << 8 | out[k + 1]);
		while (head >> 16)
			head = (head & 0xffff) + (head >> 16);
		assert_int_equal(head, v6 ? 0 : 0xffff);
	}
}

static void read_refuses_what_is_cut(void **state)
{
	struct reach_segment s;

	(void)state;
	for (size_t n = 0; n < 40; n++)
		assert_int_equal(read_exact(syn4, n, &s), -EBADMSG);
	assert_int_equal(read_exact(syn4, 40, &s), 0);
	for (size_t n = 0; n < 60; n++)
		assert_int_equal(read_exact(rst6, n, &s), -EBADMSG);
	assert_int_equal(read_exact(rst6, 60, &s), 0);
}

static void read_refuses_what_is_odd(void **state)
{
	uint8_t in[128] = { 0 };
	struct reach_segment s;

	(void)state;
	memcpy(in, syn4, sizeof(syn4));
	for (unsigned int ihl = 0; ihl < 16; ihl++) {	/* with options, up to 60 bytes of header */
		in[0] = (uint8_t)(0x40 | ihl);
		for (size_t n = 0; n <= 100; n++)
			assert_int_equal(read_exact(in, n, &s),
					 ihl >= 5 && n >= ihl * 4 + 20 ? 0 : -EBADMSG);
	}
	in[0] = 0x45;
	in[7] = 1;		/* not the first fragment: there are no ports in it */
	assert_int_equal(read_exact(in, sizeof(syn4), &s), -EBADMSG);
	in[7] = 0;
	in[6] = 0x20;		/* the first one of several: there are */
	assert_int_equal(read_exact(in, sizeof(syn4), &s), 0);
	in[9] = IPPROTO_UDP;
	assert_int_equal(read_exact(in, sizeof(syn4), &s), -EBADMSG);
	memcpy(in, rst6, sizeof(rst6));
	in[6] = IPPROTO_HOPOPTS;
	assert_int_equal(read_exact(in, sizeof(rst6), &s), -EBADMSG);
	for (unsigned int version = 0; version < 16; version++) {
		memcpy(in, rst6, sizeof(rst6));
		in[0] = (uint8_t)(version << 4);
		if (version != 6)	/* as IPv4 it has no header length */
			assert_int_equal(read_exact(in, sizeof(rst6), &s), -EBADMSG);
	}
}

static void read_survives_noise(void **state)
{
	uint8_t in[128];
	struct reach_segment s;

	(void)state;
	for (unsigned int i = 0; i < 100000; i++) {
		size_t n = (size_t)random() % sizeof(in);

		for (size_t k = 0; k < n; k++)
			in[k] = (uint8_t)random();
		if (n && i % 2)
			in[0] = i % 4 == 1 ? 0x45 : 0x60;
		if (n > 9 && i % 3 == 0)
			in[6] = in[9] = IPPROTO_TCP;
		int ret = read_exact(in, n, &s);

		assert_true(ret == 0 || ret == -EBADMSG);
		assert_true(ret || s.from.family == s.to.family);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(build_makes_known_packets),
		cmocka_unit_test(read_finds_what_was_built),
		cmocka_unit_test(checksums_hold),
		cmocka_unit_test(read_refuses_what_is_cut),
		cmocka_unit_test(read_refuses_what_is_odd),
		cmocka_unit_test(read_survives_noise),
	};

	srandom(7);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

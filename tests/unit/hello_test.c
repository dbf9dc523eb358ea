/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nettle/hmac.h>

#include "wire/hello.h"

static const struct hello sample = {
	.from = 3, .to = 2,
	.incarnation = 0x1112131415161718, .term = 0x01020304, .seq = 0x2122232425262728,
	.echo_incarnation = 0x3132333435363738, .echo_seq = 0x4142434445464748,
	.n_reports = 2,
	.report = { { 1, 0x51525354, 0x61626364 }, { 64, 7, 0xffffffff } },
};

/* Made by another implementation (Python's struct and hmac) from the layout in wire/hello.h. */
static const uint8_t golden[] = {
	0x43, 0x44, 0x48, 0x42, 0x01, 0x03, 0x02, 0x02, 0x01, 0x02, 0x03, 0x04,
	0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24,
	0x25, 0x26, 0x27, 0x28, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
	0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x00, 0x00, 0x00, 0x00,
	0x01, 0x51, 0x52, 0x53, 0x54, 0x61, 0x62, 0x63, 0x64, 0x40, 0x00, 0x00,
	0x00, 0x07, 0xff, 0xff, 0xff, 0xff, 0x68, 0x09, 0x8e, 0xc6, 0xbf, 0x1b,
	0x0b, 0x47, 0xc9, 0x64, 0xff, 0x3a, 0xec, 0x2e, 0x87, 0xa1,
};

static uint8_t key[HELLO_KEY_SIZE];

static int setup(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	return 0;
}

static void assert_same(const struct hello *a, const struct hello *b)
{
	assert_int_equal(a->from, b->from);
	assert_int_equal(a->to, b->to);
	assert_int_equal(a->incarnation, b->incarnation);
	assert_int_equal(a->term, b->term);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->echo_incarnation, b->echo_incarnation);
	assert_int_equal(a->echo_seq, b->echo_seq);
	assert_int_equal(a->n_reports, b->n_reports);
	for (unsigned int i = 0; i < a->n_reports; i++) {
		assert_int_equal(a->report[i].node, b->report[i].node);
		assert_int_equal(a->report[i].term, b->report[i].term);
		assert_int_equal(a->report[i].gen, b->report[i].gen);
	}
}

/* Puts a right HMAC under bytes that a key holder would not send. */
static void sign(uint8_t *p, size_t size)
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, sizeof(key), key);
	hmac_sha256_update(&ctx, size - HELLO_MAC_SIZE, p);
	hmac_sha256_digest(&ctx, HELLO_MAC_SIZE, p + size - HELLO_MAC_SIZE);
}

static void golden_bytes(void **state)
{
	uint8_t buf[HELLO_SIZE_MAX];
	struct hello h;

	(void)state;
	assert_int_equal(hello_encode(&sample, key, buf, sizeof(buf)), sizeof(golden));
	assert_memory_equal(buf, golden, sizeof(golden));
	assert_int_equal(hello_decode(&h, key, golden, sizeof(golden)), 0);
	assert_same(&h, &sample);
}

static void largest_and_smallest(void **state)
{
	uint8_t buf[HELLO_SIZE_MAX];
	struct hello h = sample, got;

	(void)state;
	h.n_reports = NODES_MAX;
	for (unsigned int i = 0; i < NODES_MAX; i++)
		h.report[i] = (struct hello_report){ (uint8_t)(i + 1), i, ~i };
	assert_int_equal(hello_encode(&h, key, buf, sizeof(buf)), HELLO_SIZE_MAX);
	assert_true(HELLO_SIZE_MAX < 1400);
	assert_int_equal(hello_decode(&got, key, buf, HELLO_SIZE_MAX), 0);
	assert_same(&got, &h);

	h.n_reports = 0;
	assert_int_equal(hello_encode(&h, key, buf, sizeof(buf)),
			 HELLO_HEAD_SIZE + HELLO_MAC_SIZE);
	assert_int_equal(hello_decode(&got, key, buf, HELLO_HEAD_SIZE + HELLO_MAC_SIZE), 0);
	assert_same(&got, &h);
}

static void every_truncation_is_refused(void **state)
{
	struct hello h;

	(void)state;
	for (size_t n = 0; n < sizeof(golden); n++) {
		/* A copy of its own, so that the address sanitizer sees a read past the end. */
		uint8_t *p = malloc(n ? n : 1);

		assert_non_null(p);
		memcpy(p, golden, n);
		assert_int_equal(hello_decode(&h, key, p, n), -EBADMSG);
		free(p);
	}
}

static void longer_is_refused(void **state)
{
	uint8_t buf[sizeof(golden) + 1] = { 0 };
	struct hello h;

	(void)state;
	memcpy(buf, golden, sizeof(golden));
	assert_int_equal(hello_decode(&h, key, buf, sizeof(buf)), -EBADMSG);
}

static void every_flipped_bit_is_refused(void **state)
{
	struct hello h, untouched;

	(void)state;
	memset(&untouched, 0x5a, sizeof(untouched));
	for (size_t i = 0; i < sizeof(golden) * 8; i++) {
		uint8_t buf[sizeof(golden)];
		int err;

		memcpy(buf, golden, sizeof(golden));
		buf[i / 8] ^= (uint8_t)(1 << i % 8);
		memcpy(&h, &untouched, sizeof(h));
		err = hello_decode(&h, key, buf, sizeof(buf));
		if (i / 8 < 4 || i / 8 == 7)		/* magic, n_reports (wrong length) */
			assert_int_equal(err, -EBADMSG);
		else if (i / 8 == 4)
			assert_int_equal(err, -EPROTO);
		else
			assert_int_equal(err, -EACCES);
		assert_memory_equal(&h, &untouched, sizeof(h));
	}
}

static void foreign_key_is_refused(void **state)
{
	struct hello h;

	(void)state;
	for (unsigned int i = 0; i < sizeof(key) * 8; i++) {
		uint8_t k[sizeof(key)];

		memcpy(k, key, sizeof(k));
		k[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(hello_decode(&h, k, golden, sizeof(golden)), -EACCES);
	}
}

static void wrong_content_with_right_hmac_is_refused(void **state)
{
	static const struct { size_t at; uint8_t value; } bad[] = {
		{ 5, 0 }, { 5, 65 }, { 5, 255 }, { 6, 0 }, { 6, 65 },	/* from, to */
		{ 44, 1 }, { 47, 1 },					/* flags */
		{ 48, 0 }, { 48, 65 }, { 57, 0 }, { 57, 200 },		/* reported nodes */
	};
	uint8_t buf[sizeof(golden)];
	struct hello h;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(buf, golden, sizeof(golden));
		buf[bad[i].at] = bad[i].value;
		sign(buf, sizeof(buf));
		assert_int_equal(hello_decode(&h, key, buf, sizeof(buf)), -EBADMSG);
	}
	/* The helper signs rightly: without a change it is accepted. */
	memcpy(buf, golden, sizeof(golden));
	sign(buf, sizeof(buf));
	assert_int_equal(hello_decode(&h, key, buf, sizeof(buf)), 0);
}

static void too_many_reports_with_right_hmac_is_refused(void **state)
{
	uint8_t buf[HELLO_SIZE_MAX + HELLO_REPORT_SIZE] = { 0 };
	struct hello h = sample;

	(void)state;
	h.n_reports = 0;
	hello_encode(&h, key, buf, sizeof(buf));
	buf[7] = NODES_MAX + 1;
	for (unsigned int i = 0; i <= NODES_MAX; i++)
		buf[HELLO_HEAD_SIZE + i * HELLO_REPORT_SIZE] = 1;
	sign(buf, sizeof(buf));
	assert_int_equal(hello_decode(&h, key, buf, sizeof(buf)), -EBADMSG);
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Random datagrams, half of them signed: never a read outside, never a value out of range. */
static void random_bytes(void **state)
{
	uint64_t s = 0x9e3779b97f4a7c15;
	unsigned int accepted = 0;

	(void)state;
	for (unsigned int turn = 0; turn < 20000; turn++) {
		size_t size = rnd(&s) % (HELLO_SIZE_MAX + 20);
		uint8_t *p = malloc(size ? size : 1);
		struct hello h;

		assert_non_null(p);
		for (size_t i = 0; i < size; i++)
			p[i] = (uint8_t)rnd(&s);
		if (size >= HELLO_HEAD_SIZE + HELLO_MAC_SIZE && rnd(&s) % 2) {
			size_t n = (size - HELLO_HEAD_SIZE - HELLO_MAC_SIZE) / HELLO_REPORT_SIZE;

			memcpy(p, golden, 5);
			p[5] = (uint8_t)(1 + rnd(&s) % 70);
			p[6] = (uint8_t)(1 + rnd(&s) % 70);
			p[7] = (uint8_t)n;
			memset(p + 44, 0, 4);
			for (size_t i = 0; i < n && HELLO_HEAD_SIZE + i * 9 < size; i++)
				p[HELLO_HEAD_SIZE + i * 9] = (uint8_t)(1 + rnd(&s) % 64);
			if (n <= NODES_MAX)
				size = HELLO_HEAD_SIZE + n * 9 + HELLO_MAC_SIZE;
			sign(p, size);
		}
		if (hello_decode(&h, key, p, size) == 0) {
			uint8_t again[HELLO_SIZE_MAX];

			accepted++;
			assert_int_equal(hello_encode(&h, key, again, sizeof(again)), size);
			assert_memory_equal(again, p, size);
		}
		free(p);
	}
	assert_in_range(accepted, 5000, 15000);	/* the loop really reaches the far end */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_bytes),
		cmocka_unit_test(largest_and_smallest),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(longer_is_refused),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(foreign_key_is_refused),
		cmocka_unit_test(wrong_content_with_right_hmac_is_refused),
		cmocka_unit_test(too_many_reports_with_right_hmac_is_refused),
		cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

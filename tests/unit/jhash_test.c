// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * jhash() against published lookup3 vectors and against vectors made with the macros of the
 * kernel's include/linux/jhash.h.  The kernel itself is asked in the namespace tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "util/jhash.h"

static void test_lookup3(void **state)
{
	static const char text[] = "Four score and seven years ago";	/* lookup3.c, driver5() */

	assert_int_equal(jhash(text, 30, 0), 0x17770551);
	assert_int_equal(jhash(text, 30, 1), 0xcd628161);
	assert_int_equal(jhash("", 0, 0), 0xdeadbeef);
	assert_int_equal(jhash("", 0, 0xdeadbeef), 0xbd5b7dde);
}

static void test_every_tail(void **state)
{
	/* Of the bytes 1, 2, ..., size; the seeds are 0 and 0xdecafbad. */
	static const struct { size_t size; uint32_t plain, seeded; } v[] = {
		{ 0, 0xdeadbeef, 0xbd78ba9c },	{ 1, 0x04ec883b, 0xd34653c0 },
		{ 2, 0x217670cf, 0x478efcef },	{ 3, 0x3e2a886b, 0x5d6c5dcb },
		{ 4, 0x043fcddd, 0xe205f519 },	{ 5, 0xf85554a4, 0xdd3b6b1a },
		{ 6, 0x491fd335, 0x2b0c8210 },	{ 7, 0xf0f71a09, 0xab255d93 },
		{ 8, 0x5143bb19, 0x8e57d282 },	{ 9, 0xebaa5ff4, 0x8a410a32 },
		{ 10, 0x1a10151a, 0xf76594ab },	{ 11, 0x1894f68c, 0x09bb5f5d },
		{ 12, 0x2471b813, 0xdcc70e68 },	{ 13, 0xe7d7a0e5, 0x3de573fa },
		{ 14, 0xf182ac92, 0x7396032a },	{ 15, 0x0cbbe541, 0x9b930763 },
		{ 16, 0x29fb5548, 0x5a3e97e2 },	{ 17, 0x173811e1, 0xdad8331b },
		{ 18, 0xcd7bb81d, 0xa2413536 },	{ 19, 0x0cf2dd4c, 0x469770b8 },
		{ 20, 0x500af16b, 0xc2c77849 },	{ 21, 0x267232ba, 0x1ec2f967 },
		{ 22, 0x8dcd91e2, 0x414dfb26 },	{ 23, 0x1ed8d063, 0x35fb5954 },
		{ 24, 0xa1188176, 0x0cd4a8ac },	{ 25, 0x7d6fb9a4, 0xd44fe21b },
	};
	uint8_t key[26], shifted[27];	/* 'shifted': the same bytes at an odd address */

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = shifted[i + 1] = (uint8_t)(i + 1);
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		assert_int_equal(jhash(key, v[i].size, 0), v[i].plain);
		assert_int_equal(jhash(key, v[i].size, 0xdecafbad), v[i].seeded);
		assert_int_equal(jhash(shifted + 1, v[i].size, 0), v[i].plain);
	}
}

static void test_scale(void **state)
{
	assert_int_equal(reciprocal_scale(0, 4096), 0);
	assert_int_equal(reciprocal_scale(UINT32_MAX, 4096), 4095);
	assert_int_equal(reciprocal_scale(0x80000000, 4096), 2048);
	assert_int_equal(reciprocal_scale(4097, 4096), 0);	/* not the remainder */
}

static void test_bucket_layout(void **state)
{
	struct addr v4, v6;

	assert_int_equal(addr_parse(&v4, "10.77.0.9"), 0);
	assert_int_equal(addr_parse(&v6, "fd77::9"), 0);
	/* The keys: 0a4d0009 c0010000, 0a4d0009, fd77...0009 c0010000, fd77...0009. */
	assert_int_equal(jhash_bucket(&v4, 0xc001, true, 4096, 0x1234), 1867);
	assert_int_equal(jhash_bucket(&v4, 0xc001, false, 4096, 0x1234), 4063);
	assert_int_equal(jhash_bucket(&v6, 0xc001, true, 4096, 0x1234), 3663);
	assert_int_equal(jhash_bucket(&v6, 0xc001, false, 4096, 0x1234), 3150);
}

static void test_buckets_are_even(void **state)
{
	unsigned int count[64] = { 0 };
	struct addr a;

	assert_int_equal(addr_parse(&a, "192.0.2.7"), 0);
	for (unsigned int port = 1024; port < 1024 + 6400; port++) {
		uint32_t b = jhash_bucket(&a, (uint16_t)port, true, 64, 99);

		assert_in_range(b, 0, 63);
		count[b]++;
	}
	for (unsigned int i = 0; i < 64; i++)	/* mean 100, deviation 10 */
		assert_in_range(count[i], 50, 150);
}

/* hash2() is part of the agreed decisions: two versions that differ here would disagree. */
static void test_hash2_is_fixed(void **state)
{
	assert_int_equal(hash2(0, 0, 0), 0x63852afc);	/* murmur3 of eight zero bytes */
	assert_int_equal(hash2(1, 2, 3), 0xbf2de348);
	assert_int_equal(hash2(2, 1, 3), 0x4dc185db);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup3),
		cmocka_unit_test(test_every_tail),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_bucket_layout),
		cmocka_unit_test(test_buckets_are_even),
		cmocka_unit_test(test_hash2_is_fixed),
	};

	return cmocka_run_group_tests_name("jhash", tests, NULL, NULL);
}

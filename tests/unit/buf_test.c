// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "util/buf.h"

static void test_round_trip(void **state)
{
	static const uint8_t want[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'a', 'b' };
	uint8_t bytes[17], two[2];
	struct buf_w w = buf_writer(bytes, sizeof(bytes));
	struct buf_r r = buf_reader(bytes, sizeof(bytes));

	buf_put8(&w, 0x01);
	buf_put16(&w, 0x0203);
	buf_put32(&w, 0x04050607);
	buf_put64(&w, 0x08090a0b0c0d0e0f);
	buf_put(&w, "ab", 2);
	buf_put(&w, NULL, 0);
	assert_false(w.err);
	assert_int_equal(w.pos, sizeof(bytes));
	assert_memory_equal(bytes, want, sizeof(want));

	assert_int_equal(buf_get8(&r), 0x01);
	assert_int_equal(buf_get16(&r), 0x0203);
	assert_int_equal(buf_get32(&r), 0x04050607);
	assert_true(buf_get64(&r) == 0x08090a0b0c0d0e0f);
	assert_int_equal(buf_left(&r), 2);
	buf_get(&r, two, 2);
	assert_memory_equal(two, "ab", 2);
	assert_int_equal(buf_left(&r), 0);
	assert_false(r.err);
}

static void test_writer_overrun_is_sticky(void **state)
{
	uint8_t bytes[6];
	struct buf_w w = buf_writer(bytes, 5);

	memset(bytes, 0xee, sizeof(bytes));
	buf_put32(&w, 0);
	buf_put16(&w, 0);		/* one byte too many: none is written */
	assert_true(w.err);
	assert_int_equal(w.pos, 4);
	assert_int_equal(bytes[4], 0xee);
	buf_put8(&w, 0);		/* would fit, but the record is broken already */
	assert_int_equal(w.pos, 4);
	assert_int_equal(bytes[4], 0xee);
	assert_int_equal(bytes[5], 0xee);
}

static void test_reader_overrun_gives_zeros(void **state)
{
	static const uint8_t bytes[] = { 0xff, 0xff, 0xff };
	struct buf_r r = buf_reader(bytes, sizeof(bytes));
	uint8_t out[4] = { 9, 9, 9, 9 }, zero[4] = { 0 };

	assert_int_equal(buf_get16(&r), 0xffff);
	assert_int_equal(buf_get16(&r), 0);
	assert_true(r.err);
	assert_int_equal(buf_get8(&r), 0);	/* one byte is left, but not to be trusted */
	buf_get(&r, out, sizeof(out));
	assert_memory_equal(out, zero, sizeof(out));
	assert_true(r.err);
}

static void test_huge_size_does_not_wrap(void **state)
{
	uint8_t bytes[4] = { 0 };
	struct buf_w w = buf_writer(bytes, sizeof(bytes));

	buf_put8(&w, 1);
	buf_put(&w, bytes, SIZE_MAX);
	assert_true(w.err);
	assert_int_equal(w.pos, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_writer_overrun_is_sticky),
		cmocka_unit_test(test_reader_overrun_gives_zeros),
		cmocka_unit_test(test_huge_size_does_not_wrap),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}

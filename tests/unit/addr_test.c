// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "util/addr.h"

static struct addr parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text), 0);
	return a;
}

static void test_parse(void **state)
{
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", " ::1",
		"01.2.3.4", "fe80::1%eth0", "::g", "1:2:3:4:5:6:7", "host", "1.2.3.4/24", "[::1]" };
	static const struct { const char *in, *out; } good[] = {
		{ "10.77.0.1", "10.77.0.1" },
		{ "FD77:0:0::250", "fd77::250" },
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
	};
	char s[ADDR_STR];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct addr a = { .family = 77, .b = { 1, 2 } }, before = a;

		assert_int_equal(addr_parse(&a, bad[i]), -EINVAL);
		assert_memory_equal(&a, &before, sizeof(a));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct addr a = parse(good[i].in);

		assert_string_equal(addr_str(&a, s), good[i].out);
	}
}

static void test_none(void **state)
{
	struct addr a = { 0 };
	char s[ADDR_STR];

	assert_string_equal(addr_str(&a, s), "-");
	assert_int_equal(addr_size(&a), 0);
	assert_true(addr_is_special(&a));
}

static void test_ipv4_rest_is_zero(void **state)
{
	struct addr a;
	uint8_t zero[12] = { 0 };

	memset(&a, 0xff, sizeof(a));
	assert_int_equal(addr_parse(&a, "10.1.2.3"), 0);
	assert_int_equal(addr_size(&a), 4);
	assert_memory_equal(a.b + 4, zero, 12);
}

static void test_cmp(void **state)
{
	struct addr a = parse("10.0.0.1"), b = parse("10.0.0.2"), c = parse("::1"), a2 = a;

	assert_true(addr_cmp(&a, &b) < 0);
	assert_true(addr_cmp(&b, &a) > 0);
	assert_int_equal(addr_cmp(&a, &a2), 0);
	assert_true(addr_cmp(&b, &c) < 0);	/* AF_INET < AF_INET6 */
	assert_true(addr_cmp(&c, &b) > 0);
}

static void test_special(void **state)
{
	static const char *const special[] = { "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9",
		"224.0.0.1", "239.1.1.1", "255.255.255.255", "::", "::1", "ff02::1",
		"::ffff:10.0.0.1" };
	static const char *const plain[] = { "10.0.0.1", "126.1.1.1", "128.0.0.1", "223.1.1.1",
		"169.254.1.1", "::2", "fe80::1", "fd77::250", "2001:db8::1" };

	for (size_t i = 0; i < sizeof(special) / sizeof(*special); i++) {
		struct addr a = parse(special[i]);

		assert_true(addr_is_special(&a));
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		struct addr a = parse(plain[i]);

		assert_false(addr_is_special(&a));
	}
}

static void test_flood_mac(void **state)
{
	struct addr a = parse("10.205.1.250"), b = parse("fd77::12:3456:250");
	uint8_t mac[6];

	addr_flood_mac(&a, mac);	/* the top bit of the second byte does not fit in 23 bits */
	assert_memory_equal(mac, "\x01\x00\x5e\x4d\x01\xfa", 6);
	addr_flood_mac(&b, mac);
	assert_memory_equal(mac, "\x33\x33\x34\x56\x02\x50", 6);
}

static void test_shared_mac(void **state)
{
	struct addr a = parse("10.205.1.250"), b = parse("fd77::12:3456:250");
	uint8_t mac[6];

	addr_shared_mac(&a, true, mac);
	assert_memory_equal(mac, "\x02\xc1\x0a\xcd\x01\xfa", 6);
	addr_shared_mac(&b, true, mac);
	assert_memory_equal(mac, "\x02\xc1\x34\x56\x02\x50", 6);
	addr_shared_mac(&a, false, mac);
	assert_memory_equal(mac, "\x01\x00\x5e\x4d\x01\xfa", 6);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_ipv4_rest_is_zero),
		cmocka_unit_test(test_cmp),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_flood_mac),
		cmocka_unit_test(test_shared_mac),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}

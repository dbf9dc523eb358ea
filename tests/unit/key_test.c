/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/key.h"

#define TEXT "0123456789abcdef0123456789abcdef"

static char dir[] = "/tmp/clusterd-key-XXXXXX";
static char path[64];

static void put(const void *data, size_t size, mode_t mode)
{
	FILE *f;

	unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/key", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

/* Computed by another implementation (Python's hmac). */
static void golden_derivation(void **state)
{
	static const uint8_t want[32] = {
		0x8e, 0xdb, 0x7a, 0x83, 0x88, 0x89, 0xbb, 0x48, 0xcd, 0x83, 0x9d, 0xbb,
		0x2a, 0xac, 0x6c, 0x02, 0x30, 0x55, 0x39, 0x35, 0x1b, 0xd7, 0x55, 0xb1,
		0x36, 0x6b, 0x3a, 0x32, 0xf8, 0x61, 0x51, 0x1d,
	};
	char why[KEY_WHY_SIZE];
	struct key k;

	(void)state;
	put(TEXT, 32, 0400);
	assert_int_equal(key_read(&k, path, "web", why), 0);
	assert_string_equal(why, "");
	assert_memory_equal(k.hello, want, 32);
	assert_int_equal(key_seed(&k, "www"), 0xefe674bd);
	assert_int_not_equal(key_seed(&k, "ww"), 0xefe674bd);
}

static void bound_to_cluster_and_file(void **state)
{
	char why[KEY_WHY_SIZE];
	struct key a, b;

	(void)state;
	put(TEXT, 32, 0400);
	assert_int_equal(key_read(&a, path, "web", why), 0);
	assert_int_equal(key_read(&b, path, "web2", why), 0);
	assert_memory_not_equal(a.hello, b.hello, 32);
	assert_int_not_equal(key_seed(&a, "www"), key_seed(&b, "www"));
	put("1" TEXT, 33, 0400);
	assert_int_equal(key_read(&b, path, "web", why), 0);
	assert_memory_not_equal(a.hello, b.hello, 32);
}

static void newline_of_an_editor_does_not_count(void **state)
{
	char why[KEY_WHY_SIZE];
	struct key a, b;

	(void)state;
	put(TEXT, 32, 0400);
	assert_int_equal(key_read(&a, path, "web", why), 0);
	put(TEXT "\r\n", 34, 0400);
	assert_int_equal(key_read(&b, path, "web", why), 0);
	assert_memory_equal(a.hello, b.hello, 32);
	/* In a binary key a newline at the end is part of the key. */
	put("\x80" TEXT, 33, 0400);
	assert_int_equal(key_read(&a, path, "web", why), 0);
	put("\x80" TEXT "\n", 34, 0400);
	assert_int_equal(key_read(&b, path, "web", why), 0);
	assert_memory_not_equal(a.hello, b.hello, 32);
}

static void sizes(void **state)
{
	static uint8_t big[KEY_SIZE_MAX + 1];
	char why[KEY_WHY_SIZE];
	struct key k;

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)i;
	put(big, 0, 0400);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
	assert_non_null(strstr(why, path));
	assert_non_null(strstr(why, "has 0 bytes"));
	put(big, 31, 0400);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
	assert_non_null(strstr(why, "has 31 bytes"));
	put(TEXT + 1, 31, 0400);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
	put(&TEXT "\n"[1], 32, 0400);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
	put(big, KEY_SIZE_MAX, 0400);
	assert_int_equal(key_read(&k, path, "web", why), 0);
	put(big, KEY_SIZE_MAX + 1, 0400);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
	assert_non_null(strstr(why, "longer than 4096"));
}

static void no_secret(void **state)
{
	char why[KEY_WHY_SIZE];
	uint8_t zero[128] = { 0 };
	struct key k;

	(void)state;
	put(zero, sizeof(zero), 0400);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
	assert_non_null(strstr(why, "repeated"));
}

static void open_to_others_is_a_warning(void **state)
{
	char why[KEY_WHY_SIZE];
	struct key k;

	(void)state;
	put(TEXT, 32, 0444);
	assert_int_equal(key_read(&k, path, "web", why), 1);
	assert_non_null(strstr(why, "0444"));
	assert_int_equal(key_seed(&k, "www"), 0xefe674bd);
}

static void not_there_not_a_file(void **state)
{
	char why[KEY_WHY_SIZE];
	struct key k;

	(void)state;
	unlink(path);
	assert_int_equal(key_read(&k, path, "web", why), -ENOENT);
	assert_non_null(strstr(why, path));
	assert_int_equal(key_read(&k, dir, "web", why), -EINVAL);
	assert_non_null(strstr(why, "not a regular file"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(key_read(&k, path, "web", why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_derivation),
		cmocka_unit_test(bound_to_cluster_and_file),
		cmocka_unit_test(newline_of_an_editor_does_not_count),
		cmocka_unit_test(sizes),
		cmocka_unit_test(no_secret),
		cmocka_unit_test(open_to_others_is_a_warning),
		cmocka_unit_test(not_there_not_a_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

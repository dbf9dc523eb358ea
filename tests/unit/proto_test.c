/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/proto.h"

struct pair { int a, b; };	/* we write into a and read from b, both nonblocking */

static int setup(void **state)
{
	static struct pair p;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd))
		return -1;
	p = (struct pair){ .a = fd[0], .b = fd[1] };
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	close(p->a);
	close(p->b);
	return 0;
}

static void put(struct pair *p, const char *text)
{
	assert_int_equal(write(p->a, text, strlen(text)), strlen(text));
}

static void partial_reads(void **state)
{
	static const char text[] = "{\"cmd\":\"status\"}\n";
	struct pair *p = *state;
	struct proto_in in;
	char *line, one[2] = "";
	size_t len, i;

	proto_in_init(&in, CTL_REQUEST_MAX);
	assert_int_equal(proto_in_read(&in, p->b), -EAGAIN);
	for (i = 0; text[i]; i++) {
		assert_int_equal(proto_in_line(&in, &line, &len), 0);
		one[0] = text[i];
		put(p, one);
		assert_int_equal(proto_in_read(&in, p->b), 1);
	}
	assert_int_equal(proto_in_line(&in, &line, &len), 1);
	assert_int_equal(len, strlen(text) - 1);
	assert_string_equal(line, "{\"cmd\":\"status\"}");
	assert_int_equal(proto_in_line(&in, &line, &len), 0);
	proto_in_free(&in);
}

static void several_lines_in_one_read(void **state)
{
	struct pair *p = *state;
	struct proto_in in;
	char *line;
	size_t len;

	proto_in_init(&in, CTL_REQUEST_MAX);
	put(p, "one\n\ntwo\nthr");
	assert_int_equal(proto_in_read(&in, p->b), 12);
	assert_int_equal(proto_in_line(&in, &line, &len), 1);
	assert_string_equal(line, "one");
	assert_int_equal(proto_in_line(&in, &line, &len), 1);
	assert_string_equal(line, "");
	assert_int_equal(proto_in_line(&in, &line, &len), 1);
	assert_string_equal(line, "two");
	assert_int_equal(proto_in_line(&in, &line, &len), 0);
	put(p, "ee\n");
	assert_int_equal(proto_in_read(&in, p->b), 3);
	assert_int_equal(proto_in_line(&in, &line, &len), 1);
	assert_string_equal(line, "three");
	shutdown(p->a, SHUT_WR);
	assert_int_equal(proto_in_read(&in, p->b), 0);
	assert_int_equal(proto_in_line(&in, &line, &len), 0);
	proto_in_free(&in);
}

/* Reads all that is there; what the last read said. */
static ssize_t read_all(struct proto_in *in, int fd)
{
	ssize_t n;

	while ((n = proto_in_read(in, fd)) > 0)
		;
	return n;
}

static void longest_line_fits_a_longer_one_does_not(void **state)
{
	struct pair *p = *state;
	char text[CTL_REQUEST_MAX + 2], *line;
	struct proto_in in;
	size_t len;

	memset(text, 'x', sizeof(text));
	text[CTL_REQUEST_MAX - 1] = '\n';
	text[CTL_REQUEST_MAX] = '\0';
	proto_in_init(&in, CTL_REQUEST_MAX);
	put(p, text);
	assert_int_equal(read_all(&in, p->b), -EMSGSIZE);	/* full, but there is a line in it */
	assert_int_equal(proto_in_line(&in, &line, &len), 1);
	assert_int_equal(len, CTL_REQUEST_MAX - 1);
	assert_int_equal(proto_in_line(&in, &line, &len), 0);

	text[CTL_REQUEST_MAX - 1] = 'x';
	text[CTL_REQUEST_MAX] = '\n';
	text[CTL_REQUEST_MAX + 1] = '\0';
	put(p, text);
	assert_int_equal(read_all(&in, p->b), -EMSGSIZE);
	assert_int_equal(proto_in_line(&in, &line, &len), -EMSGSIZE);
	assert_true(in.size <= CTL_REQUEST_MAX);
	proto_in_free(&in);
}

static void garbage_is_named(void **state)
{
	static const struct { const char *text; size_t len; } bad[] = {
		{ "", 0 }, { "hello", 5 }, { "[1]", 3 }, { "{\"cmd\":1", 8 }, { "{} {}", 5 },
		{ "{\"a\":1,\"a\":2}", 13 }, { "{\"a\":\"\xff\"}", 9 }, { "{}\0{}", 5 }, { "\"x\"", 3 },
	};
	char why[200];
	json_t *json;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		json = proto_parse(bad[i].text, bad[i].len, why, sizeof(why));
		if (json)
			fail_msg("accepted: %s", bad[i].text);
		assert_true(strlen(why) > 10);
	}
	json = proto_parse("{\"cmd\":\"x\"}", 11, why, sizeof(why));
	assert_non_null(json);
	json_decref(json);
}

/* Any bytes at all: no crash (the sanitizer builds look closer), and never a line beyond the limit. */
static void random_bytes(void **state)
{
	struct pair *p = *state;
	struct proto_in in;
	char buf[997], why[200], *line;
	unsigned int seed = 1, round, i;
	size_t len;
	int ret;

	proto_in_init(&in, CTL_REQUEST_MAX);
	for (round = 0; round < 2000; round++) {
		for (i = 0; i < sizeof(buf); i++)
			buf[i] = (char)(rand_r(&seed) % 97 ? rand_r(&seed) : '\n');
		assert_int_equal(write(p->a, buf, sizeof(buf)), sizeof(buf));
		do {
			while ((ret = proto_in_line(&in, &line, &len)) > 0) {
				assert_true(len < CTL_REQUEST_MAX);
				json_decref(proto_parse(line, len, why, sizeof(why)));
			}
			assert_int_equal(ret, 0);
		} while (proto_in_read(&in, p->b) > 0);
	}
	proto_in_free(&in);
}

static void output_is_bounded_and_resumes(void **state)
{
	struct pair *p = *state;
	struct proto_out out;
	struct proto_in in;
	char big[60000], why[200], *line = NULL;
	json_t *json, *back;
	ssize_t left;
	size_t len, sent = 0;
	int small = 4096;

	setsockopt(p->a, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	json = json_pack("{s:s, s:f}", "big", big, "load", 0.04);
	proto_out_init(&out, 100000);
	assert_int_equal(proto_out_json(&out, json), 0);
	len = out.len;
	assert_int_equal(proto_out_json(&out, json), -ENOBUFS);
	assert_int_equal(out.len, len);		/* unchanged */

	proto_in_init(&in, CTL_REPLY_MAX);
	left = proto_out_write(&out, p->a);
	assert_true(left > 0);			/* the socket takes only a part of it */
	while (!proto_in_line(&in, &line, &len)) {
		left = proto_out_write(&out, p->a);
		assert_true(left >= 0 || left == -EAGAIN);
		assert_true(read_all(&in, p->b) == -EAGAIN);
		assert_true(++sent < 1000);
	}
	back = proto_parse(line, len, why, sizeof(why));
	assert_true(json_equal(json, back));
	assert_non_null(strstr(line, "\"load\":0.04}"));
	assert_int_equal(proto_out_left(&out), 0);
	json_decref(json);
	json_decref(back);
	proto_in_free(&in);
	proto_out_free(&out);
}

static void writing_to_nobody_is_an_error_not_a_signal(void **state)
{
	struct pair *p = *state;
	struct proto_out out;
	json_t *json = json_object();

	shutdown(p->a, SHUT_WR);
	proto_out_init(&out, 100);
	assert_int_equal(proto_out_json(&out, json), 0);
	assert_int_equal(proto_out_write(&out, p->a), -EPIPE);
	json_decref(json);
	proto_out_free(&out);
}

static void refusals(void **state)
{
	json_t *j = proto_error(CTL_USAGE, "no node is called '%s'", "n9");

	(void)state;
	assert_true(json_is_false(json_object_get(j, "ok")));
	assert_int_equal(json_integer_value(json_object_get(j, "code")), CTL_USAGE);
	assert_string_equal(json_string_value(json_object_get(j, "error")), "no node is called 'n9'");
	json_decref(j);
	j = proto_error(CTL_FAILED, "%s", "\xff\xfe");
	assert_non_null(json_string_value(json_object_get(j, "error")));
	json_decref(j);
	j = proto_result(NULL);
	assert_true(json_is_false(json_object_get(j, "ok")));
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(partial_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(several_lines_in_one_read, setup, teardown),
		cmocka_unit_test_setup_teardown(longest_line_fits_a_longer_one_does_not, setup, teardown),
		cmocka_unit_test(garbage_is_named),
		cmocka_unit_test_setup_teardown(random_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(output_is_bounded_and_resumes, setup, teardown),
		cmocka_unit_test_setup_teardown(writing_to_nobody_is_an_error_not_a_signal, setup, teardown),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The responder of sorry = redirect, over real sockets; where the client meant to go is made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include "io/sorry.h"

#define A "http://a.example/away"
#define B "https://b.example/"

static struct sorry *sorry;
static uint16_t port;		/* it listens there */
static _Atomic(uint16_t) meant;	/* the client meant the VIP's port; 0: nobody sent it here */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(meant) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(meant) };
	bool v4 = level == SOL_IP && name == SO_ORIGINAL_DST;

	if (!v4 && !(level == SOL_IPV6 && name == IP6T_SO_ORIGINAL_DST))
		return __real_getsockopt(fd, level, name, value, size);
	if (!meant) {
		errno = ENOENT;
		return -1;
	}
	inet_pton(AF_INET, "10.77.0.250", &in.sin_addr);
	inet_pton(AF_INET6, "fd77::250", &in6.sin6_addr);
	if (v4)
		memcpy(value, &in, sizeof(in));
	else
		memcpy(value, &in6, sizeof(in6));
	return 0;
}

/* To the responder; -1 if it takes no connection. */
static int call(bool v6)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in6.sin6_addr = in6addr_loopback;
	if (!connect(fd, v6 ? (void *)&in6 : (void *)&in, v6 ? sizeof(in6) : sizeof(in)))
		return fd;
	close(fd);
	return -1;
}

/* All that comes back until it closes, up to 3 s; the same buffer each time. */
static const char *answer(int fd)
{
	static char got[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;
	ssize_t r = 1;

	while (r > 0 && n < sizeof(got) - 1 && poll(&p, 1, 3000) == 1) {
		r = read(fd, got + n, sizeof(got) - 1 - n);
		n += r > 0 ? (size_t)r : 0;
	}
	got[n] = '\0';
	close(fd);
	return got;
}

static void put(int fd, const char *text, size_t size)
{
	while (size) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;		/* it has had enough */
		text += n;
		size -= (size_t)n;
	}
}

static const char *get(bool v6, const char *request)
{
	int fd = call(v6);

	assert_true(fd >= 0);
	put(fd, request, strlen(request));
	return answer(fd);
}

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static int setup(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t size = sizeof(in);
	struct sorry_target t[3] = { { .lo = 80, .hi = 80, .url = A }, { .lo = 80, .hi = 80, .url = A },
				     { .lo = 8000, .hi = 8009, .url = B } };
	const char *why;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	if (bind(fd, (void *)&in, sizeof(in)) || getsockname(fd, (void *)&in, &size))
		return -1;
	close(fd);
	port = ntohs(in.sin_port);
	addr_parse(&t[0].vip, "10.77.0.250");
	addr_parse(&t[1].vip, "fd77::250");
	addr_parse(&t[2].vip, "10.77.0.250");
	meant = 80;
	return sorry_open(&sorry, port, &why) || sorry_set(sorry, t, 3);
}

static int teardown(void **state)
{
	(void)state;
	sorry_close(sorry);
	sorry = NULL;
	return 0;
}

static void sends_clients_away(void **state)
{
	uint64_t before = sorry_answered(sorry);

	(void)state;
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		const char *got = get(v6, "GET /some/page HTTP/1.1\r\nHost: x\r\n\r\n");

		assert_true(begins(got, "HTTP/1.1 302 "));
		assert_non_null(strstr(got, "\r\nLocation: " A "\r\n"));
		assert_non_null(strstr(got, "\r\nRetry-After: 10\r\n"));
		assert_non_null(strstr(got, "\r\nCache-Control: no-store\r\n"));
		assert_non_null(strstr(got, "not available"));
	}
	assert_int_equal(sorry_answered(sorry), before + 2);
}

static void goes_by_address_and_port(void **state)
{
	static const struct { uint16_t port; bool v6; const char *url; } c[] = {
		{ 80, false, A }, { 80, true, A }, { 8000, false, B }, { 8009, false, B },
		{ 8010, false, NULL }, { 7999, false, NULL }, { 8000, true, NULL }, { 0, false, NULL },
		{ 0, true, NULL },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		char want[64] = "HTTP/1.1 503 ";
		const char *got;

		meant = c[i].port;
		got = get(c[i].v6, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		if (c[i].url)
			snprintf(want, sizeof(want), "\r\nLocation: %s\r\n", c[i].url);
		assert_non_null(strstr(got, want));
		assert_int_equal(!strstr(got, "Location:"), !c[i].url);
	}
}

static void follows_a_new_list(void **state)
{
	struct sorry_target t = { .lo = 1, .hi = 65535, .url = B };
	char url[] = "http://c.example/";

	(void)state;
	addr_parse(&t.vip, "10.77.0.250");
	assert_int_equal(sorry_set(sorry, &t, 1), 0);
	assert_non_null(strstr(get(false, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "Location: " B));
	t.url = url;
	assert_int_equal(sorry_set(sorry, &t, 1), 0);
	memset(url, 'x', sizeof(url) - 1);	/* it has a copy */
	assert_non_null(strstr(get(false, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "Location: http://c.example/"));
	assert_int_equal(sorry_set(sorry, NULL, 0), 0);
	assert_true(begins(get(false, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 503 "));
	assert_int_equal(sorry_set(sorry, &t, SORRY_TARGETS_MAX + 1), -EINVAL);
}

static void takes_any_method(void **state)
{
	const char *got = get(false, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
	char *body = calloc(1, 300000);
	int fd = call(false);

	(void)state;
	assert_true(begins(got, "HTTP/1.1 302 "));
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	memset(body, 'b', 300000 - 1);
	put(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 299999\r\n\r\n", 52);
	put(fd, body, 299999);
	assert_true(begins(answer(fd), "HTTP/1.1 302 "));
	free(body);
}

/* Whatever they send, the next client gets its answer. */
static void survives_nonsense(void **state)
{
	static const char tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	char *line = malloc(100000);
	int fd;

	(void)state;
	memset(line, 'a', 100000);
	memcpy(line, "GET /", 5);
	fd = call(false);
	put(fd, line, 100000);		/* a line without an end */
	assert_false(begins(answer(fd), "HTTP/1.1 302"));
	memcpy(line, "GET / HTTP/1.1\r\nX: ", 19);
	fd = call(true);
	put(fd, line, 100000);
	assert_false(begins(answer(fd), "HTTP/1.1 302"));
	free(line);
	fd = call(false);
	put(fd, tls, sizeof(tls));
	shutdown(fd, SHUT_WR);
	assert_false(begins(answer(fd), "HTTP/1.1 302"));
	fd = call(false);
	put(fd, "GET / HTTP/1.1\r\nHo", 18);
	close(fd);
	assert_true(begins(get(false, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 302 "));
}

/* Clients that say nothing do not keep others out for long, nor does the end wait for them. */
static void does_not_wait_for_the_silent(void **state)
{
	int fd[SORRY_MAX_CONNECTIONS + 20];
	const unsigned int n = sizeof(fd) / sizeof(fd[0]);
	bool served = false;

	(void)state;
	for (unsigned int i = 0; i < n; i++)
		fd[i] = call(false);
	for (unsigned int i = 0; i < 40 && !served; i++) {
		int one = call(false);

		if (one >= 0) {
			put(one, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
			served = begins(answer(one), "HTTP/1.1 302 ");
		}
		usleep(200000);
	}
	assert_true(served);
	for (unsigned int i = 0; i < n; i += 2)
		if (fd[i] >= 0)
			close(fd[i]);
	assert_int_equal(teardown(NULL), 0);
	for (unsigned int i = 1; i < n; i += 2)
		if (fd[i] >= 0)
			close(fd[i]);
	assert_int_equal(setup(NULL), 0);
}

static void says_that_the_port_is_in_use(void **state)
{
	struct sorry *other = (void *)1;
	const char *why = NULL;

	(void)state;
	assert_int_equal(sorry_open(&other, port, &why), -EADDRINUSE);
	assert_null(other);
	assert_non_null(strstr(why, "sorry_port"));
	sorry_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sends_clients_away, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_by_address_and_port, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_a_new_list, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_any_method, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(does_not_wait_for_the_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(says_that_the_port_is_in_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

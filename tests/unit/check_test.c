/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check-tcp and check-dns against servers in this process, in a network namespace of its own. */
#include "check_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/stat.h>

/* ---- a TCP server that says what it is told to ---- */

struct speaker {
	int listener;
	const char *hears, *says;	/* waits for 'hears' first; then says it in pieces of 'piece' bytes */
	size_t piece;
	pthread_t thread;
};

static void *speak(void *arg)
{
	struct speaker *s = arg;
	size_t got, said, len;
	char buf[256];
	ssize_t r;
	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		for (got = 0; s->hears && got < strlen(s->hears); got += (size_t)r) {
			r = recv(fd, buf + got, sizeof(buf) - got, 0);
			if (r <= 0)
				break;
		}
		if (s->hears && (got != strlen(s->hears) || memcmp(buf, s->hears, got))) {
			close(fd);
			continue;
		}
		len = strlen(s->says);
		for (said = 0; said < len; said += s->piece) {
			send(fd, s->says + said, len - said < s->piece ? len - said : s->piece,
			     MSG_NOSIGNAL);
			if (s->piece < len)
				usleep(5000);
		}
		shutdown(fd, SHUT_WR);
		recv(fd, buf, sizeof(buf), 0);
		close(fd);
	}
	return NULL;
}

static void speaker_start(struct speaker *s, char port[8])
{
	s->listener = fake_listener(port, 64);
	assert_int_equal(pthread_create(&s->thread, NULL, speak, s), 0);
}

static void speaker_stop(struct speaker *s)
{
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
}

static void test_tcp_values(void **state)
{
	struct clusterd_inst *i;
	char port[8];
	int fd = fake_listener(port, 64);

	i = fake_open("tcp", "@service", "web", "@address", "127.0.0.1", "@port", port, "@proto",
		      "tcp", "@interface", "", NULL);
	expect_look(i, 300, CLUSTERD_FIT, "");
	expect_look(i, 300, CLUSTERD_FIT, "");
	close(fd);
	expect_look(i, 300, CLUSTERD_DEAD, "connection refused");
	fake_close(i);

	/* Nothing answers: a route to nowhere. */
	i = fake_open("tcp", "@port", port, "address", "192.0.2.1", NULL);
	expect_look(i, 100, CLUSTERD_DEAD, "no connection within 100 ms");
	expect_look(i, 100, CLUSTERD_DEAD, "no connection within 100 ms");
	fake_close(i);
	i = fake_open("tcp", "@port", port, "address", "198.51.100.1", NULL);
	expect_look(i, 100, CLUSTERD_DEAD, "no route to the address");
	fake_close(i);

	i = fake_open("tcp", "port", "7", "address", "::1", NULL);
	expect_look(i, 100, CLUSTERD_DEAD, "connection refused");
	fake_close(i);
}

static void test_tcp_talk(void **state)
{
	struct speaker s = { .hears = "hello\r\n", .says = "220 mail\r\nmore", .piece = 100 };
	struct clusterd_inst *i;
	char port[8];

	speaker_start(&s, port);
	i = fake_open("tcp", "address", "127.0.0.1", "port", port, "send", "hello\\r\\n", "expect",
		      "220 mail\\x0d\\n", NULL);
	expect_look(i, 500, CLUSTERD_FIT, "");
	s.piece = 1;
	expect_look(i, 500, CLUSTERD_FIT, "");
	fake_close(i);
	i = fake_open("tcp", "address", "127.0.0.1", "port", port, "send", "hello\\r\\n", "expect",
		      "220 male", NULL);
	expect_look(i, 500, CLUSTERD_WORKS, "not the expected one");
	fake_close(i);
	/* The answer ends too early. */
	i = fake_open("tcp", "address", "127.0.0.1", "port", port, "send", "hello\\r\\n", "expect",
		      "220 mail\\r\\nmore and", NULL);
	expect_look(i, 500, CLUSTERD_WORKS, "not the expected one");
	fake_close(i);
	/* Closed at once. */
	i = fake_open("tcp", "address", "127.0.0.1", "port", port, "send", "hullo\\r\\n", "expect",
		      "220 mail", NULL);
	expect_look(i, 500, CLUSTERD_DEAD, "closed without an answer");
	fake_close(i);
	/* It waits for more than we say: connects, and then nothing (a stopped process looks so). */
	i = fake_open("tcp", "address", "127.0.0.1", "port", port, "expect", "220", NULL);
	expect_look(i, 60, CLUSTERD_DEAD, "connected, but no answer within 60 ms");
	fake_close(i);
	speaker_stop(&s);
}

/* A port out of the range that the kernel chooses from is not reached by ourselves. */
static void test_tcp_itself(void **state)
{
	struct clusterd_inst *i;
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "w");

	assert_non_null(f);
	fprintf(f, "40000 40000");
	assert_int_equal(fclose(f), 0);
	i = fake_open("tcp", "address", "127.0.0.1", "port", "40000", NULL);
	expect_look(i, 100, CLUSTERD_DEAD, "connection refused");
	fake_close(i);
	f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "w");
	fprintf(f, "32768 60999");
	assert_int_equal(fclose(f), 0);
}

static void *take_all(void *arg)
{
	int fd;

	while ((fd = accept(*(int *)arg, NULL, NULL)) >= 0)
		close(fd);
	return NULL;
}

static void test_tcp_many(void **state)
{
	struct clusterd_inst *i;
	pthread_t thread;
	int listener, before, k;
	int64_t cpu;
	char port[8];

	listener = fake_listener(port, 4096);
	pthread_create(&thread, NULL, take_all, &listener);
	i = fake_open("tcp", "address", "127.0.0.1", "port", port, NULL);
	assert_int_equal(fake_look(i, 300), CLUSTERD_FIT);
	before = fake_fds();
	cpu = thread_cpu_us();
	for (k = 0; k < 10000; k++) {
		if (fake_look(i, 1000) != CLUSTERD_FIT)
			fail_msg("look %d: %s", k, i->why);
	}
	print_message("tcp: %.1f us of CPU per look\n", (double)(thread_cpu_us() - cpu) / 10000);
	fake_close(i);
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
	assert_true(fake_fds() <= before + 1);
	assert_int_equal(time_wait(), 0);
}

/* Given up in between, and closed in between: nothing is left, nothing is reported. */
static void test_tcp_stop(void **state)
{
	struct clusterd_inst *i = fake_open("tcp", "port", "7", "address", "192.0.2.1", NULL);
	int before = fake_fds();

	i->ops->start(i->priv, 1000);
	assert_int_equal(fake_fds(), before + 1);
	i->ops->stop(i->priv);
	assert_int_equal(fake_fds(), before);
	assert_int_equal(i->n, 0);
	assert_true(i->timer_at < 0);
	i->ops->stop(i->priv);
	i->ops->start(i->priv, 1000);
	i->ops->start(i->priv, 1000);
	assert_int_equal(fake_fds(), before + 1);
	assert_int_equal(i->reports, 0);
	fake_close(i);
	assert_int_equal(fake_fds(), before);

	/* The host closes the instance while it is told. */
	i = fake_open("tcp", "port", "7", "address", "127.0.0.1", NULL);
	i->close_in_report = true;
	assert_int_equal(fake_look(i, 100), CLUSTERD_DEAD);
	free(i);
}

#define has(text, part) do { \
		const char *has_ = (text); \
		if (!strstr(has_, part) || (!(part)[0] && has_[0])) \
			fail_msg("\"%s\" has no \"%s\"", has_, part); \
	} while (0)

static void test_tcp_options(void **state)
{
	const char *a = "@address", *v = "192.0.2.1", *p = "@port";

	has(fake_validate("tcp", a, v, p, "80", "@later", "x", NULL), "");
	has(fake_validate("tcp", a, v, p, "80", "@proto", "udp", NULL), "port: is missing");
	has(fake_validate("tcp", a, v, p, "80", "@proto", "udp", "port", "53", NULL), "");
	has(fake_validate("tcp", a, v, NULL), "port: is missing");
	has(fake_validate("tcp", "port", "80", NULL), "address: is missing");
	has(fake_validate("tcp", a, v, "prot", "80", NULL), "prot: unknown key; did you mean \"port\"?");
	has(fake_validate("tcp", a, v, "colour", "80", NULL),
	    "colour: unknown key; tcp has: address port send expect");
	has(fake_validate("tcp", a, v, "port", "0", NULL), "port: must be a number from 1 to 65535");
	has(fake_validate("tcp", a, v, "port", "65536", NULL), "port: must be");
	has(fake_validate("tcp", a, v, "port", "80x", NULL), "port: must be");
	has(fake_validate("tcp", a, v, "port", "-1", NULL), "port: must be");
	has(fake_validate("tcp", a, v, "port", "99999999999999999999", NULL), "port: must be");
	has(fake_validate("tcp", a, v, "port", "80", "port", "81", NULL), "port: given twice");
	has(fake_validate("tcp", "address", "localhost", "port", "80", NULL), "names are not looked up");
	has(fake_validate("tcp", a, v, p, "80", "send", "a\\q", NULL), "send: knows");
	has(fake_validate("tcp", a, v, p, "80", "expect", "a\\x1", NULL), "expect: knows");
	has(fake_validate("tcp", a, v, p, "80", "expect", "", NULL), "expect: must have 1 to 256");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp_values),
		cmocka_unit_test(test_tcp_talk),
		cmocka_unit_test(test_tcp_itself),
		cmocka_unit_test(test_tcp_many),
		cmocka_unit_test(test_tcp_stop),
		cmocka_unit_test(test_tcp_options),
	};

	if (fake_netns() < 0)
		return 1;
	if (system("ip link add d0 type veth peer name d1 && ip link set d1 up &&"
		   " ip link set d0 up arp off && ip route add 192.0.2.0/24 dev d0") != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

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

/* ---- dns ---- */

static struct {
	int fd;
	char port[8];
	pthread_t thread;
	int rcode, answers, type;	/* answers: records in it; -1: none at all */
	bool stranger;			/* an answer to something else goes before it */
	size_t cut;			/* so many bytes are missing */
	unsigned char rdata[16];
	size_t rdata_size;
} dns;

static void *dns_thread(void *arg)
{
	unsigned char b[1024], first[1024];
	struct sockaddr_in from;
	socklen_t len;
	ssize_t r;
	size_t n;
	int k;

	for (;;) {
		len = sizeof(from);
		r = recvfrom(dns.fd, b, sizeof(b), 0, (struct sockaddr *)&from, &len);
		if (r <= 0)
			return NULL;
		if (dns.answers < 0)
			continue;
		n = (size_t)r;
		b[2] |= 0x80;
		b[3] = (unsigned char)dns.rcode;
		b[7] = (unsigned char)dns.answers;
		for (k = 0; k < dns.answers; k++) {
			const unsigned char rr[] = { 0xc0, 12, 0, (unsigned char)dns.type, 0, 1, 0, 0, 0, 9,
						     0, (unsigned char)dns.rdata_size };
			memcpy(b + n, rr, sizeof(rr));
			memcpy(b + n + sizeof(rr), dns.rdata, dns.rdata_size);
			if (k)
				b[n + sizeof(rr)] ^= 0xff;
			n += sizeof(rr) + dns.rdata_size;
		}
		if (dns.stranger) {
			memcpy(first, b, n);
			first[0] ^= 1;	/* another id */
			first[3] = 2;
			sendto(dns.fd, first, n, 0, (struct sockaddr *)&from, len);
			memcpy(first, b, n);
			first[14] ^= 1;	/* another name */
			first[3] = 2;
			sendto(dns.fd, first, n, 0, (struct sockaddr *)&from, len);
			sendto(dns.fd, "", 0, 0, (struct sockaddr *)&from, len);
		}
		b[13] ^= 0x20;		/* upper case is the same name */
		sendto(dns.fd, b, n - dns.cut, 0, (struct sockaddr *)&from, len);
	}
}

static int dns_setup(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);

	dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(dns.fd, (struct sockaddr *)&in, len) < 0 ||
	    getsockname(dns.fd, (struct sockaddr *)&in, &len) < 0)
		return -1;
	snprintf(dns.port, sizeof(dns.port), "%d", ntohs(in.sin_port));
	return pthread_create(&dns.thread, NULL, dns_thread, NULL);
}

static int dns_teardown(void **state)
{
	shutdown(dns.fd, SHUT_RDWR);
	pthread_join(dns.thread, NULL);
	return close(dns.fd);
}

static void dns_says(int rcode, int answers, int type, const char *address)
{
	dns.rcode = rcode;
	dns.answers = answers;
	dns.type = type;
	dns.rdata_size = strchr(address, ':') ? 16 : 4;
	assert_int_equal(inet_pton(strchr(address, ':') ? AF_INET6 : AF_INET, address, dns.rdata), 1);
}

static void dns_looks(const char *key, const char *arg, const char *key2, const char *arg2, int value,
		      const char *why)
{
	struct clusterd_inst *i = fake_open("dns", "@address", "127.0.0.1", "port", dns.port, "name",
					    "www.example", key, arg, key ? key2 : NULL, arg2, NULL);

	expect_look(i, 150, value, why);
	expect_look(i, 150, value, why);
	assert_int_equal(i->n, 0);
	assert_true(i->timer_at < 0);
	fake_close(i);
}

static void test_dns_values(void **state)
{
	struct clusterd_inst *i;

	dns_says(0, 1, 1, "192.0.2.7");
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_FIT, "");
	dns_looks("expect", "192.0.2.7", NULL, NULL, CLUSTERD_FIT, "");
	dns_looks("expect", "192.0.2.8", NULL, NULL, CLUSTERD_WORKS, "expected address is not in");
	dns_looks("record", "AAAA", NULL, NULL, CLUSTERD_WORKS, "no AAAA record in the answer");
	dns.answers = 2;
	dns_looks("expect", "63.0.2.7", NULL, NULL, CLUSTERD_FIT, "");
	dns_says(0, 1, 28, "2001:db8::7");
	dns_looks("record", "aaaa", "expect", "2001:db8::7", CLUSTERD_FIT, "");
	dns_looks("record", "aaaa", "expect", "2001:db8::8", CLUSTERD_WORKS, "not in the answer");
	dns.stranger = true;
	dns_looks("record", "aaaa", NULL, NULL, CLUSTERD_FIT, "");
	dns.stranger = false;
	dns_says(2, 0, 1, "0.0.0.0");
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_WORKS, "SERVFAIL");
	dns.rcode = 3;
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_WORKS, "NXDOMAIN");
	dns.rcode = 11;
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_WORKS, "response code 11");
	dns.rcode = 0;
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_WORKS, "no A record");
	dns_says(0, 1, 1, "192.0.2.7");
	dns.cut = 3;
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_WORKS, "the answer is not DNS");
	dns.cut = 0;
	dns.answers = -1;
	dns_looks(NULL, NULL, NULL, NULL, CLUSTERD_DEAD, "no answer within 150 ms");

	i = fake_open("dns", "server", "127.0.0.1", "port", "1", "name", ".", "record", "NS", NULL);
	expect_look(i, 150, CLUSTERD_DEAD, "connection refused");
	expect_look(i, 150, CLUSTERD_DEAD, "connection refused");
	fake_close(i);
	i = fake_open("dns", "server", "::1", "name", "a.example.", NULL);
	expect_look(i, 150, CLUSTERD_DEAD, "connection refused");
	fake_close(i);
	i = fake_open("dns", "server", "198.51.100.1", "name", "a.example.", NULL);
	expect_look(i, 150, CLUSTERD_DEAD, "no route");
	fake_close(i);
}

static void test_dns_many(void **state)
{
	struct clusterd_inst *i;
	int before, k;
	int64_t cpu;

	dns_says(0, 1, 1, "192.0.2.7");
	i = fake_open("dns", "server", "127.0.0.1", "port", dns.port, "name", "www.example", NULL);
	before = fake_fds();
	cpu = thread_cpu_us();
	for (k = 0; k < 10000; k++) {
		if (fake_look(i, 1000) != CLUSTERD_FIT)
			fail_msg("look %d: %s", k, i->why);
	}
	print_message("dns: %.1f us of CPU per look\n", (double)(thread_cpu_us() - cpu) / 10000);
	assert_int_equal(fake_fds(), before);
	i->ops->start(i->priv, 1000);
	i->ops->stop(i->priv);
	assert_int_equal(fake_fds(), before);
	assert_int_equal(i->reports, 0);
	i->close_in_report = true;
	assert_int_equal(fake_look(i, 1000), CLUSTERD_FIT);
	free(i);
}

static void test_dns_options(void **state)
{
	const char *a = "@address", *v = "192.0.2.1", *n = "name";

	has(fake_validate("dns", a, v, NULL), "name: is missing");
	has(fake_validate("dns", n, "a.example", NULL), "server: is missing");
	has(fake_validate("dns", a, v, n, "a..example", NULL), "name: is no domain name");
	has(fake_validate("dns", a, v, n, "a.example", "record", "AAA", NULL), "record: must be A, AAAA");
	has(fake_validate("dns", a, v, n, "a.example", "expect", "::1", NULL), "expect: is an address");
	has(fake_validate("dns", a, v, n, "a.example", "record", "MX", "expect", v, NULL), "expect: is an");
	has(fake_validate("dns", a, v, n, "a.example", "record", "AAAA", "expect", "::1", NULL), "");
	has(fake_validate("dns", a, v, n, "a.example", "sever", v, NULL), "did you mean \"server\"?");
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
		cmocka_unit_test_setup_teardown(test_dns_values, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_dns_many, dns_setup, dns_teardown),
		cmocka_unit_test(test_dns_options),
	};

	if (fake_netns() < 0)
		return 1;
	if (system("ip link add d0 type veth peer name d1 && ip link set d1 up &&"
		   " ip link set d0 up arp off && ip route add 192.0.2.0/24 dev d0") != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check-http against a server in this process, check-https against openssl s_server. */
#include "check_host.h"

#include <pthread.h>

/* ---- a web server: the path says what happens ---- */

static struct { int listener; char port[8]; pthread_t thread; } web;

static void answer(int fd, const char *head, const char *body, size_t size)
{
	char text[512];
	int len = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", head, size);

	send(fd, text, (size_t)len, MSG_NOSIGNAL);
	send(fd, body, size, MSG_NOSIGNAL);
}

static void drip(int fd)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";

	send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
	while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		usleep(10000);
}

static void serve(int fd, const char *request)
{
	static char big[300000];
	const char *path = strchr(request, ' ') + 1;
	struct linger reset = { 1, 0 };

	if (!strncmp(path, "/ok ", 4)) {
		answer(fd, "200 OK", "hello world\nsecond line\n", 24);
	} else if (!strncmp(path, "/echo", 5)) {
		answer(fd, "200 OK", request, strlen(request));
	} else if (!strncmp(path, "/500 ", 5)) {
		answer(fd, "500 Oops", "no", 2);
	} else if (!strncmp(path, "/204 ", 5)) {
		answer(fd, "204 Nothing", "", 0);
	} else if (!strncmp(path, "/away ", 6)) {
		answer(fd, "302 Found\r\nLocation: /500", "", 0);
	} else if (!strncmp(path, "/big ", 5)) {
		memset(big, 'b', sizeof(big));
		memcpy(big + 1000, "early", 5);
		memcpy(big + 200000, "late", 4);
		answer(fd, "200 OK", big, sizeof(big));
	} else if (!strncmp(path, "/nul ", 5)) {
		answer(fd, "200 OK", "a\0hidden", 8);
	} else if (!strncmp(path, "/garbage ", 9)) {
		send(fd, "220 mail ready\r\n\r\n", 18, MSG_NOSIGNAL);
	} else if (!strncmp(path, "/cut ", 5)) {
		send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", 44, MSG_NOSIGNAL);
	} else if (!strncmp(path, "/drip ", 6)) {
		drip(fd);
	} else if (!strncmp(path, "/reset ", 7)) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		return;
	} else if (!strncmp(path, "/never ", 7)) {
		recv(fd, big, 1, 0);
	}
	shutdown(fd, SHUT_WR);
	recv(fd, big, 1, 0);
}

static void *web_thread(void *arg)
{
	struct timeval patience = { .tv_sec = 3 };
	char request[4096];
	size_t got;
	ssize_t r;
	int fd;

	while ((fd = accept(web.listener, NULL, NULL)) >= 0) {
		got = 0;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		do {
			r = recv(fd, request + got, sizeof(request) - 1 - got, 0);
			got += r > 0 ? (size_t)r : 0;
			request[got] = '\0';
		} while (r > 0 && !strstr(request, "\r\n\r\n"));
		if (r > 0)
			serve(fd, request);
		close(fd);
	}
	return NULL;
}

static int web_start(void **state)
{
	web.listener = fake_listener(web.port, 1024);
	return pthread_create(&web.thread, NULL, web_thread, NULL);
}

static int web_stop(void **state)
{
	shutdown(web.listener, SHUT_RDWR);
	pthread_join(web.thread, NULL);
	return close(web.listener);
}

static void once(int value, const char *why, const char *path, const char *key, const char *arg)
{
	struct clusterd_inst *i = fake_open("http", "@address", "127.0.0.1", "@port", web.port, "path",
					    path, key, arg, NULL);

	expect_look(i, 200, value, why);
	expect_look(i, 200, value, why);
	assert_int_equal(i->n, 0);
	assert_true(i->timer_at < 0);
	fake_close(i);
}

static void test_status(void **state)
{
	once(CLUSTERD_FIT, "", "/ok", NULL, NULL);
	once(CLUSTERD_WORKS, "status 500, not 200-399", "/500", NULL, NULL);
	once(CLUSTERD_WORKS, "status 500, not 200", "/500", "status", "200");
	once(CLUSTERD_FIT, "", "/500", "status", "500-599");
	/* Not followed: the other one would be a 500. */
	once(CLUSTERD_FIT, "", "/away", NULL, NULL);
	once(CLUSTERD_WORKS, "status 302, not 200-299", "/away", "status", "200-299");
	once(CLUSTERD_FIT, "", "/204", "status", "204");
	once(CLUSTERD_FIT, "", "/ok", "method", "HEAD");
	once(CLUSTERD_FIT, "", "/echo?a=b&c=../x", "body", "GET /echo?a=b&c=../x HTTP/1.1");
}

static void test_body(void **state)
{
	once(CLUSTERD_FIT, "", "/ok", "body", "lo wor");
	once(CLUSTERD_WORKS, "status 200, but the body does not match", "/ok", "body", "Hello");
	once(CLUSTERD_FIT, "", "/ok", "body_regex", "^se+cond (line|row)$");
	once(CLUSTERD_WORKS, "the body does not match", "/ok", "body_regex", "^world");
	once(CLUSTERD_FIT, "", "/nul", "body", "hidden");
	once(CLUSTERD_FIT, "", "/nul", "body_regex", "hid+en$");
	once(CLUSTERD_WORKS, "does not match", "/204", "body", "x");
	/* Of 300 kB, what is in the first 64 KiB. */
	once(CLUSTERD_FIT, "", "/big", NULL, NULL);
	once(CLUSTERD_FIT, "", "/big", "body", "early");
	once(CLUSTERD_WORKS, "does not match", "/big", "body", "late");
}

static void test_max_body(void **state)
{
	struct clusterd_inst *i;

	i = fake_open("http", "address", "127.0.0.1", "port", web.port, "path", "/big", "body", "late",
		      "max_body", "250000", NULL);
	expect_look(i, 500, CLUSTERD_FIT, "");
	fake_close(i);
	i = fake_open("http", "address", "127.0.0.1", "port", web.port, "path", "/big", "body",
		      "early", "max_body", "1004", NULL);
	expect_look(i, 500, CLUSTERD_WORKS, "does not match");
	fake_close(i);
}

static void test_dead(void **state)
{
	struct clusterd_inst *i;

	once(CLUSTERD_DEAD, "connected, but no answer within 200 ms", "/never", NULL, NULL);
	once(CLUSTERD_DEAD, "no complete answer within 200 ms", "/drip", NULL, NULL);
	once(CLUSTERD_DEAD, "the answer is not HTTP", "/garbage", NULL, NULL);
	once(CLUSTERD_DEAD, "connection closed without an answer", "/close", NULL, NULL);
	once(CLUSTERD_DEAD, "connection reset", "/reset", NULL, NULL);
	once(CLUSTERD_WORKS, "the answer is cut off", "/cut", NULL, NULL);
	i = fake_open("http", "address", "127.0.0.1", "port", "1", NULL);
	expect_look(i, 200, CLUSTERD_DEAD, "connection refused");
	fake_close(i);
	i = fake_open("http", "address", "192.0.2.1", "port", "80", NULL);
	expect_look(i, 100, CLUSTERD_DEAD, "no connection within 100 ms");
	fake_close(i);
	i = fake_open("http", "address", "::1", "port", "1", NULL);
	expect_look(i, 200, CLUSTERD_DEAD, "connection refused");
	fake_close(i);
}

/* The name is not looked up, and no proxy is asked, whatever the environment says. */
static void test_host(void **state)
{
	struct clusterd_inst *i;
	char want[64];

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	snprintf(want, sizeof(want), "Host: shop.example:%s", web.port);
	i = fake_open("http", "address", "127.0.0.1", "port", web.port, "path", "/echo", "host",
		      "shop.example", "body", want, NULL);
	expect_look(i, 200, CLUSTERD_FIT, "");
	fake_close(i);
	snprintf(want, sizeof(want), "Host: 127.0.0.1:%s", web.port);
	once(CLUSTERD_FIT, "", "/echo", "body", want);
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
}

static void test_stop(void **state)
{
	struct clusterd_inst *i = fake_open("http", "address", "127.0.0.1", "port", web.port, "path",
					    "/never", NULL);
	int before = fake_fds(), k;

	for (k = 0; k < 3; k++) {
		i->ops->start(i->priv, 1000);
		fake_step(i, fake_now(i) + 50);
		fake_step(i, fake_now(i) + 50);
		assert_int_equal(i->n, 1);
		i->ops->stop(i->priv);
		assert_int_equal(i->n, 0);
		assert_true(i->timer_at < 0);
	}
	i->ops->stop(i->priv);
	i->ops->start(i->priv, 1000);
	i->ops->start(i->priv, 1000);
	fake_step(i, fake_now(i) + 50);
	assert_int_equal(i->reports, 0);
	i->n = 0;
	fake_close(i);
	usleep(20000);
	/* Of a server's side nothing is open either: its fd is in this process. */
	assert_true(fake_fds() <= before);

	i = fake_open("http", "port", "1", "address", "127.0.0.1", NULL);
	i->close_in_report = true;
	assert_int_equal(fake_look(i, 100), CLUSTERD_DEAD);
	free(i);
}

static void test_many(void **state)
{
	struct clusterd_inst *i = fake_open("http", "address", "127.0.0.1", "port", web.port, "path",
					    "/ok", "body", "world", NULL);
	int before, k, waiting;
	int64_t cpu;

	waiting = time_wait();
	assert_int_equal(fake_look(i, 1000), CLUSTERD_FIT);
	before = fake_fds();
	cpu = thread_cpu_us();
	for (k = 0; k < 10000; k++) {
		if (fake_look(i, 1000) != CLUSTERD_FIT)
			fail_msg("look %d: %s", k, i->why);
	}
	print_message("http: %.1f us of CPU per look\n", (double)(thread_cpu_us() - cpu) / 10000);
	fake_close(i);
	assert_true(fake_fds() <= before + 1);
	assert_true(time_wait() <= waiting);
}

/* ---- TLS ---- */

static struct { char dir[32], good[64], other[64]; pid_t server; } tls;

static int tls_start(void **state)
{
	char cmd[1024], key[64], key2[64];

	strcpy(tls.dir, "/tmp/check_http.XXXXXX");
	if (!mkdtemp(tls.dir))
		return -1;
	snprintf(tls.good, sizeof(tls.good), "%s/good.pem", tls.dir);
	snprintf(tls.other, sizeof(tls.other), "%s/other.pem", tls.dir);
	snprintf(key, sizeof(key), "%s/good.key", tls.dir);
	snprintf(key2, sizeof(key2), "%s/other.key", tls.dir);
	snprintf(cmd, sizeof(cmd), "cd %s && for n in good other; do openssl req -x509 -newkey "
		 "ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$n.example -addext "
		 "subjectAltName=DNS:$n.example -keyout $n.key -out $n.pem 2>/dev/null || exit 1; done",
		 tls.dir);
	if (system(cmd) != 0)
		return -1;
	tls.server = fork();
	if (!tls.server) {
		freopen("/dev/null", "r", stdin);
		execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:4433", "-cert",
		       tls.other, "-key", key2, "-servername", "good.example", "-cert2", tls.good,
		       "-key2", key, "-www", "-quiet", (char *)NULL);
		_exit(127);
	}
	return tls.server > 0 ? 0 : -1;
}

static int tls_stop(void **state)
{
	char cmd[64];

	kill(tls.server, SIGKILL);
	waitpid(tls.server, NULL, 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", tls.dir);
	return system(cmd);
}

static void tls_ready(void)
{
	struct clusterd_inst *i = fake_open("https", "address", "127.0.0.1", "port", "4433", "verify", "no",
					    NULL);
	int k;

	for (k = 0; k < 200 && fake_look(i, 2000) != CLUSTERD_FIT; k++)
		usleep(20000);
	fake_close(i);
}

static void test_tls(void **state)
{
	struct clusterd_inst *i;
	int k, fds;

	tls_ready();
	i = fake_open("https", "address", "127.0.0.1", "port", "4433", "host", "good.example",
		      "ca_file", tls.good, "body", "s_server", NULL);
	expect_look(i, 2000, CLUSTERD_FIT, "");
	fake_close(i);

	/* Not trusted: by what the system trusts, by the other one's file. */
	i = fake_open("https", "address", "127.0.0.1", "port", "4433", "host", "good.example", NULL);
	expect_look(i, 2000, CLUSTERD_WORKS, "certificate");
	fake_close(i);
	/* The name is asked for (SNI): with another one the server shows its other certificate. */
	i = fake_open("https", "address", "127.0.0.1", "port", "4433", "host", "other.example",
		      "ca_file", tls.other, NULL);
	expect_look(i, 2000, CLUSTERD_FIT, "");
	fake_close(i);
	i = fake_open("https", "address", "127.0.0.1", "port", "4433", "host", "wrong.example",
		      "ca_file", tls.other, NULL);
	expect_look(i, 2000, CLUSTERD_WORKS, "wrong.example");
	fake_close(i);
	i = fake_open("https", "address", "127.0.0.1", "port", "4433", "verify", "no", "status", "200",
		      NULL);
	expect_look(i, 2000, CLUSTERD_FIT, "");
	fds = fake_fds();
	for (k = 0; k < 20; k++)
		expect_look(i, 2000, CLUSTERD_FIT, "");
	assert_int_equal(fake_fds(), fds);
	fake_close(i);
	/* A server that speaks no TLS. */
	i = fake_open("https", "address", "127.0.0.1", "port", web.port, "verify", "no", NULL);
	expect_look(i, 200, CLUSTERD_DEAD, "connected, but no answer");
	fake_close(i);
	/* Stopped: accepts (the kernel does), but says nothing. */
	kill(tls.server, SIGSTOP);
	i = fake_open("https", "address", "127.0.0.1", "port", "4433", "verify", "no", NULL);
	expect_look(i, 200, CLUSTERD_DEAD, "connected, but no answer within 200 ms");
	fake_close(i);
	kill(tls.server, SIGCONT);
}

static void tls_cost(const char *what, const char *key, const char *value, int want)
{
	struct clusterd_inst *i = fake_open("https", "address", "127.0.0.1", "port", "4433", "host",
					    "good.example", key, value, NULL);
	int64_t cpu = thread_cpu_us();
	int k;

	assert_int_equal(fake_look(i, 2000), want);
	print_message("https, %s: first look %.1f us of CPU", what, (double)(thread_cpu_us() - cpu));
	cpu = thread_cpu_us();
	for (k = 0; k < 200; k++)
		assert_int_equal(fake_look(i, 2000), want);
	print_message(", then %.1f us\n", (double)(thread_cpu_us() - cpu) / 200);
	fake_close(i);
}

static void test_tls_many(void **state)
{
	int before;

	tls_ready();
	before = fake_fds();
	tls_cost("verify = no", "verify", "no", CLUSTERD_FIT);
	tls_cost("ca_file", "ca_file", tls.good, CLUSTERD_FIT);
	tls_cost("the system's authorities", NULL, NULL, CLUSTERD_WORKS);
	assert_int_equal(fake_fds(), before);
}

/* ---- options ---- */

static void wrong(const char *plugin, const char *key, const char *value, const char *why)
{
	const char *got = fake_validate(plugin, "@address", "192.0.2.1", "@port", "80", "@proto", "tcp",
					key, value, NULL);

	if (!strstr(got, why) || (!why[0] && got[0]))
		fail_msg("%s = %s: \"%s\", not \"%s\"", key, value, got, why);
}

static void test_options(void **state)
{
	struct clusterd_option opt[] = { { "address", "127.0.0.1" }, { "port", "1" },
					 { "ca_file", "/nonexistent" } };
	void *priv;

	wrong("http", "path", "/a/b?c=d%20", "");
	wrong("http", "path", "a", "path: must begin with /");
	wrong("http", "path", "/a b", "path: must begin with /");
	wrong("http", "path", "/a\r\nX: y", "path: must not have control characters");
	wrong("http", "host", "a.example", "");
	wrong("http", "host", "a.example:80", "host: must be a host name");
	wrong("http", "host", "user@a", "host: must be a host name");
	wrong("http", "method", "HEAD", "");
	wrong("http", "method", "POST", "method: must be GET or HEAD");
	wrong("http", "status", "200", "");
	wrong("http", "status", "200-299", "");
	wrong("http", "status", "299-200", "status: must be");
	wrong("http", "status", "200,201", "status: must be");
	wrong("http", "status", "099", "status: must be");
	wrong("http", "status", "200-600", "status: must be");
	wrong("http", "body_regex", "a(b|c)", "");
	wrong("http", "body_regex", "a(b", "body_regex: Unmatched (");
	wrong("http", "body_regex", "(a)\\1", "body_regex: has a back reference");
	wrong("http", "body_regex", "a\\\\1", "");
	wrong("http", "max_body", "0", "max_body: must be a number from 1 to 1048576");
	wrong("http", "verify", "no", "verify: unknown key");
	wrong("https", "verify", "no", "");
	wrong("https", "verify", "false", "verify: must be yes or no");
	wrong("https", "ca_file", "ca.pem", "ca_file: must be an absolute path");
	wrong("https", "cafile", "/ca.pem", "cafile: unknown key; did you mean \"ca_file\"?");
	assert_non_null(strstr(fake_validate("http", "@address", "::1", "@port", "80", "method", "HEAD",
					     "body", "x", NULL), "HEAD has no body"));
	assert_non_null(strstr(fake_validate("https", "@address", "::1", "@port", "80", "verify", "no",
					     "ca_file", "/x", NULL), "means nothing"));
	assert_int_equal(fake_plugin("https")->observer->open(&priv, &fake_host, NULL, opt, 3),
			 -ENOENT);
}

int main(void)
{
	const struct CMUnitTest http[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_max_body),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_options),
		cmocka_unit_test_setup_teardown(test_tls, tls_start, tls_stop),
		cmocka_unit_test_setup_teardown(test_tls_many, tls_start, tls_stop),
	};

	if (fake_netns() < 0)
		return 1;
	if (system("ip link add d0 type veth peer name d1 && ip link set d1 up &&"
		   " ip link set d0 up arp off && ip route add 192.0.2.0/24 dev d0") != 0)
		return 1;
	return cmocka_run_group_tests(http, web_start, web_stop);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io/sockets against this machine's kernel, on addresses of lo: which connections end, and which go on. */
#include "kernel_test.h"

#include <sys/resource.h>
#include <time.h>

#include "io/sockets.h"

#define V4 "10.9.0.1"
#define V6 "fd09::1"
#define OTHER "10.9.0.2"

static struct conf_service conf;
static struct sockaddr_storage ss;

static int listener(int family, bool only, uint16_t port)
{
	struct addr any = { .family = (uint8_t)family };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, v6only = only;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	if (fd < 0 || bind(fd, (void *)&ss, fill_addr(&ss, &any, port)) || listen(fd, 8192))
		die("listen");
	return fd;
}

static int call(const char *vip, uint16_t port)
{
	struct addr to = A(vip);
	int fd = socket(to.family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (void *)&ss, fill_addr(&ss, &to, port)))
		die("connect");
	return fd;
}

static uint16_t port_of(int fd)
{
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (void *)&ss, &len))
		die("getsockname");
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port :
		     ((struct sockaddr_in6 *)&ss)->sin6_port);
}

/* Has the client been reset? */
static bool is_reset(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 20) == 1 && read(fd, &c, 1) < 0 && errno == ECONNRESET;
}

static unsigned int asked;

static bool any(void *arg, const struct addr *client, uint16_t port)
{
	asked++;
	return true;
}

struct one { struct addr client; uint16_t port; };

static bool is_one(void *arg, const struct addr *client, uint16_t port)
{
	const struct one *o = arg;

	return !addr_cmp(client, &o->client) && port == o->port;
}

/* IPv4 by a socket of its own and by one that serves both; IPv6. */
static void check_families(void)
{
	static const struct { const char *what, *vip; int family; bool only; } c[] = {
		{ "IPv4", V4, AF_INET, true }, { "IPv6", V6, AF_INET6, true },
		{ "IPv4 at a socket for both", V4, AF_INET6, false },
	};

	for (unsigned int i = 0; i < 3; i++) {
		int server = listener(c[i].family, c[i].only, 80);
		int accepted = call(c[i].vip, 80), waiting = call(c[i].vip, 80), closing = call(c[i].vip, 80);
		struct one o = { A(c[i].vip), port_of(accepted) };
		int at = accept(server, NULL, NULL), n;
		char ch;

		n = sockets_abort(&conf, is_one, &o);
		ok(n == 1 && is_reset(accepted) && !is_reset(waiting), "%s: one of three is reset", c[i].what);
		ok(read(at, &ch, 1) < 0 && errno == ECONNABORTED, "... its program is told");
		shutdown(closing, SHUT_WR);
		n = sockets_abort(&conf, any, NULL);
		ok(n == 2 && is_reset(waiting) && is_reset(closing),
		   "... those nobody has accepted yet, and half closed ones: %d", n);
		ok(sockets_abort(&conf, any, NULL) == 0, "... nothing is left");
		close(at);
		close(accepted);
		accepted = call(c[i].vip, 80);
		for (n = 0; n < 3; n++)		/* two that have ended wait before it */
			at = accept(server, NULL, NULL);
		ok(at >= 0 && write(at, "x", 1) == 1 && read(accepted, &ch, 1) == 1,
		   "... the listener goes on");
		sockets_abort(&conf, any, NULL);
		close(at);
		close(accepted);
		close(waiting);
		close(closing);
		close(server);
	}
}

/* Other addresses and ports of this machine, and connections that it has to elsewhere. */
static void check_others(void)
{
	int server = listener(AF_INET, true, 80), second = listener(AF_INET, true, 90);
	int mine = call(V4, 80), other = call(OTHER, 80), port = call(V4, 90), n;

	asked = 0;
	n = sockets_abort(&conf, any, NULL);
	ok(n == 1 && asked == 1 && is_reset(mine), "only the VIP's port is asked about: %u", asked);
	ok(!is_reset(other) && !is_reset(port), "another address, another port: left alone");
	conf.port[1] = (struct conf_port){ IPPROTO_UDP, 90, 90 };
	conf.n_ports = 2;
	ok(sockets_abort(&conf, any, NULL) == 0 && !is_reset(port), "the same port of UDP: left alone");
	conf.port[1] = (struct conf_port){ IPPROTO_TCP, 85, 90 };
	n = sockets_abort(&conf, any, NULL);
	ok(n == 1 && is_reset(port), "a range of ports");
	conf.n_ports = 1;
	close(mine);
	close(other);
	close(port);
	close(server);
	close(second);
}

static void check_many(void)
{
	enum { N = 5000 };
	static int fd[N];
	int server = listener(AF_INET, true, 80), n, rest;
	int64_t start;

	for (int i = 0; i < N; i++)
		fd[i] = call(V4, 80);
	start = now_ms();
	n = sockets_abort(&conf, any, NULL);
	start = now_ms() - start;
	rest = sockets_abort(&conf, any, NULL);
	ok(n == SOCKETS_ABORT_MAX && rest == N - n, "%d connections: %d in %ld ms, then %d", N, n,
	   (long)start, rest);
	for (int i = 0; i < N; i++)
		close(fd[i]);
	close(server);
}

int main(void)
{
	struct rlimit files = { 20000, 20000 };

	alarm(60);
	new_ns();
	setrlimit(RLIMIT_NOFILE, &files);
	run("sysctl -qw net.core.somaxconn=8192; ip link set lo up; ip addr add " V4 "/32 dev lo; "
	    "ip addr add " OTHER "/32 dev lo; ip addr add " V6 "/128 dev lo nodad");
	conf = (struct conf_service){
		.name = "web", .n_vips = 2, .vip = { A(V4), A(V6) }, .n_ports = 1,
		.port = { { IPPROTO_TCP, 80, 80 } },
	};
	if (sockets_abort(&conf, any, NULL) == -EOPNOTSUPP) {
		printf("skip - this kernel ends no sockets\n");
		return 77;
	}
	check_families();
	check_others();
	check_many();
	return failed != 0;
}

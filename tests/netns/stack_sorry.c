/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include "stack_lab.h"
#include "stack_sorry.h"

#define S     FLOOD
#define SORRY 5409
#define CPORT 6100

enum outcome { SERVED, SORRY_SERVED, REFUSED, SILENCE };
static const char *const outcome_str[] = { "served", "led to the responder", "refused", "no answer" };

static int responder = -1;	/* at the node, of the family under test */

static int listen_on(int family, uint16_t port)
{
	struct addr any = { .family = (uint8_t)family };
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(&ss, any, port);
	int fd, one = 1;

	enter(NODE);
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len) || listen(fd, 16))
		die("listen");
	return fd;
}

/* From that namespace to the VIP's port 80; from 'sport' if it is not 0. */
static int call(int which, int family, uint16_t sport)
{
	struct addr any = { .family = (uint8_t)family };
	struct linger none = { .l_onoff = 1 };		/* close() resets: the port is free again */
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(&ss, any, sport);
	int fd, one = 1;

	enter(which);
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	if (sport && bind(fd, (void *)&ss, len))
		die("bind");
	len = sock_addr(&ss, vip(family, S), 80);
	if (connect(fd, (void *)&ss, len) && errno != EINPROGRESS)
		die("connect");
	return fd;
}

/* What became of it; '*at' the node's end of it, if there is one, else -1. */
static enum outcome outcome(int family, int fd, int *at)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	*at = -1;
	if (poll(&p, 1, WAIT_MS) != 1)
		return SILENCE;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err)
		return err == ECONNREFUSED ? REFUSED : SILENCE;
	if (readable(tcp[family == AF_INET6], 50)) {
		*at = accept(tcp[family == AF_INET6], NULL, NULL);
		return SERVED;
	}
	*at = accept(responder, NULL, NULL);
	return *at < 0 ? SILENCE : SORRY_SERVED;
}

/* Where the client of a redirected connection meant to go. */
static bool meant_the_vip(int family, int fd)
{
	struct addr want_vip = vip(family, S);
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	if (family == AF_INET)
		return !getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &in, &len) && in.sin_port == htons(80) &&
		       !memcmp(&in.sin_addr, want_vip.b, 4);
	len = sizeof(in6);
	return !getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, &in6, &len) &&
	       in6.sin6_port == htons(80) && !memcmp(&in6.sin6_addr, want_vip.b, 16);
}

/* A few bytes there and back. */
static bool talks(int client, int node)
{
	char c = 0;

	return write(client, "x", 1) == 1 && readable(node, WAIT_MS) && read(node, &c, 1) == 1 && c == 'x' &&
	       write(node, "y", 1) == 1 && readable(client, WAIT_MS) && read(client, &c, 1) == 1 && c == 'y';
}

static void again(enum rules_sorry sorry)
{
	service[S].sorry = sorry;
	service[S].sorry_port = SORRY;
	live_close();
	live_open();
}

static void end(int fd, int at)
{
	close(fd);
	if (at >= 0)
		close(at);
	usleep(20000);		/* the reset arrives */
}

/* A new connection of the client, from a port that it has used before. */
static void check_new(int family, enum outcome wanted, const char *what)
{
	enum outcome got;
	int fd, at;

	fd = call(CLIENT, family, CPORT);
	got = outcome(family, fd, &at);
	ok(got == wanted, "%s, %s: a new connection: %s", ip_str(family), what, outcome_str[got]);
	if (wanted == SORRY_SERVED)
		ok(got == wanted && meant_the_vip(family, at) && talks(fd, at),
		   "... which knows whom the client meant");
	end(fd, at);
}

/* The interface has no address of its own, as a tunnel's end. */
static void check_no_address(void)
{
	enter(NODE);
	/* The client's Ethernet address is not asked for meanwhile: there is no address to ask from. */
	MUST("m=$(ip neigh show 10.77.0.9 dev eth0 | grep -o '..:..:..:..:..:..'); [ \"$m\" ] && "
	     "ip addr del 10.77.0.1/24 dev eth0; ip route add 10.77.0.0/24 dev eth0; "
	     "ip neigh replace 10.77.0.9 lladdr $m dev eth0 nud permanent");
	check_new(AF_INET, SORRY_SERVED, "sorry = redirect, no address on the interface");
	enter(NODE);
	MUST("ip neigh change 10.77.0.9 dev eth0 nud stale; ip route del 10.77.0.0/24 dev eth0; "
	     "ip addr add 10.77.0.1/24 dev eth0");
}

void check_sorry(int family)
{
	static const struct { enum rules_sorry sorry; enum outcome wanted; const char *what; } c[] = {
		{ RULES_SORRY_RESET, REFUSED, "sorry = reset" },
		{ RULES_SORRY_DROP, SILENCE, "sorry = drop" },
		{ RULES_SORRY_REDIRECT, SORRY_SERVED, "sorry = redirect" },
		{ RULES_SORRY_NONE, SERVED, "a node is fit again" },
	};
	struct conf_service *conf = (struct conf_service *)service[S].conf;
	int old, old_at, fd, at;
	enum outcome got;

	conf->n_ports = 2;
	conf->port[1] = (struct conf_port){ IPPROTO_UDP, PORT, PORT };
	responder = listen_on(family, SORRY);
	again(RULES_SORRY_NONE);
	mark_vip(RULES_MARK_ACCEPT, family, S);
	old = call(CLIENT, family, 0);
	got = outcome(family, old, &old_at);
	ok(got == SERVED && served(family, S), "%s: while a node is fit: %s", ip_str(family), outcome_str[got]);
	for (unsigned int i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		bool none = c[i].sorry == RULES_SORRY_NONE;

		again(c[i].sorry);
		check_new(family, c[i].wanted, c[i].what);
		ok(got == SERVED && talks(old, old_at), "... an established one goes on");
		ok(served(family, S) == none, "... a datagram: %s", none ? "served" : "dropped");
		enter(NODE);
		ok(sh("nft list ruleset 2>/dev/null | grep -q sorry") == none, "... its rules are %s",
		   none ? "gone" : "there");
		if (c[i].sorry == RULES_SORRY_REDIRECT && family == AF_INET)
			check_no_address();
		/* This node's own checks must see the service as it is. */
		fd = call(NODE, family, 0);
		ok(outcome(family, fd, &at) == SERVED, "... this node itself is served");
		end(fd, at);
	}
	end(old, old_at);
	close(responder);
	conf->n_ports = 1;
	no_mark();
	again(RULES_SORRY_NONE);
}

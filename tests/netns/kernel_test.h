/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_NETNS_KERNEL_TEST_H
#define TESTS_NETNS_KERNEL_TEST_H

/* What a test program against the kernel needs; each includes it once. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "util/addr.h"

static unsigned int failed;

static inline void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	fputs(good ? "ok - " : "not ok - ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	failed += !good;
}

static inline void die(const char *what)
{
	printf("not ok - set-up failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline void run(const char *fmt, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	fflush(stdout);
	if (system(command) != 0)
		die(command);
}

/* What 'command' prints; to be freed. */
static inline char *output(const char *command)
{
	size_t size = 0, got;
	char *text = NULL, chunk[4096];
	FILE *p = popen(command, "r"), *f = open_memstream(&text, &size);

	if (!p || !f)
		die(command);
	while ((got = fread(chunk, 1, sizeof(chunk), p)) > 0)
		fwrite(chunk, 1, got, f);
	pclose(p);
	fclose(f);
	return text;
}

static inline bool prints(const char *command, const char *want)
{
	char *text = output(command);
	bool found = strstr(text, want) != NULL;

	free(text);
	return found;
}

static inline struct addr A(const char *text)
{
	struct addr a;

	if (addr_parse(&a, text) < 0)
		die(text);
	return a;
}

static inline void go(int ns)
{
	if (setns(ns, CLONE_NEWNET) < 0)
		die("setns");
}

/* A new network namespace, which this process then is in. */
static inline int new_ns(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0) {
		printf("skip - no network namespace: %s\n", strerror(errno));
		exit(77);
	}
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("namespace");
	return fd;
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline socklen_t fill_addr(struct sockaddr_storage *ss, const struct addr *a, uint16_t port)
{
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *s4 = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = a->family;
	if (a->family == AF_INET) {
		s4->sin_port = htons(port);
		memcpy(&s4->sin_addr, a->b, 4);
		return sizeof(*s4);
	}
	s6->sin6_port = htons(port);
	memcpy(&s6->sin6_addr, a->b, 16);
	return sizeof(*s6);
}

/* Sees every frame of the interface of the present namespace; not blocking. */
static inline int packet_socket(const char *interface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(interface) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) < 0)
		die(interface);
	return fd;
}

#endif

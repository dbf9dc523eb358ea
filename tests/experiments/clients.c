// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Clients who come whether or not the site is slow: one request per connection, at random (Poisson)
 * moments, the same sequence for the same seed.
 *
 *   clients SECONDS RATE SEED ADDRESS[,ADDRESS...] WEIGHT:PATH...
 *       RATE per second in all; the addresses are asked in turn.
 *
 * Each second one line: {"t": second, "sent": N, "ok": N, "failed": N, "ms": mean time of the answers,
 * "worst": of the slowest}.  Those that had no answer after 10 s have failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX   4096
#define TIMEOUT_US  10000000
#define PATHS_MAX   16
#define TARGETS_MAX 64

struct conn {
	int fd;
	int64_t start;
	const char *path;
	bool asked, good;
};

static struct conn conn[CONNS_MAX];
static int free_list[CONNS_MAX], n_free;
static int ep;
static uint64_t rnd_state;
static unsigned long sent, ok, failed;
static double ms_sum, ms_worst;

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* 0 < it < 1; splitmix64 */
static double rnd(void)
{
	uint64_t z = rnd_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return ((double)((z ^ z >> 31) >> 11) + 0.5) / 9007199254740992.0;
}

static void end(struct conn *c, bool good)
{
	double ms = (double)(now_us() - c->start) / 1000;

	close(c->fd);
	c->fd = -1;
	free_list[n_free++] = (int)(c - conn);
	if (!good) {
		failed++;
		return;
	}
	ok++;
	ms_sum += ms;
	ms_worst = ms > ms_worst ? ms : ms_worst;
}

static void begin(const struct sockaddr_in *to, const char *path)
{
	struct conn *c;
	struct epoll_event e = { .events = EPOLLOUT };

	sent++;
	if (!n_free) {
		failed++;
		return;
	}
	c = &conn[free_list[--n_free]];
	*c = (struct conn){ .start = now_us(), .path = path,
			    .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
	e.data.ptr = c;
	if (c->fd < 0 || (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) < 0)
		end(c, false);
}

static void ready(struct conn *c)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	static char text[65536];
	ssize_t n;

	if (!c->asked) {
		n = snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\nHost: site\r\n\r\n", c->path);
		if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
			end(c, false);
			return;
		}
		c->asked = true;
		epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
		return;
	}
	while ((n = recv(c->fd, text, sizeof(text), 0)) > 0)
		c->good |= n >= 12 && !memcmp(text, "HTTP/1.", 7) && !memcmp(text + 8, " 200", 4);
	if (n == 0 || errno != EAGAIN)
		end(c, n == 0 && c->good);
}

static void tell(int second)
{
	printf("{\"t\": %d, \"sent\": %lu, \"ok\": %lu, \"failed\": %lu, \"ms\": %.2f, \"worst\": %.1f}\n",
	       second, sent, ok, failed, ok ? ms_sum / (double)ok : 0, ms_worst);
	fflush(stdout);
	sent = ok = failed = 0;
	ms_sum = ms_worst = 0;
}

struct mix {
	const char *path;
	double upto;
};

static unsigned int read_mix(struct mix *mix, char **argv, unsigned int n)
{
	double all = 0;

	for (unsigned int i = 0; i < n; i++) {
		char *path;

		all += strtod(argv[i], &path);
		if (*path != ':' || n > PATHS_MAX) {
			fprintf(stderr, "clients: WEIGHT:PATH, not %s\n", argv[i]);
			exit(2);
		}
		mix[i] = (struct mix){ .path = path + 1, .upto = all };
	}
	for (unsigned int i = 0; i < n; i++)
		mix[i].upto /= all;
	return n;
}

static unsigned int read_targets(struct sockaddr_in *to, char *list)
{
	unsigned int n = 0;

	for (char *save, *s = strtok_r(list, ",", &save); s && n < TARGETS_MAX; s = strtok_r(NULL, ",", &save)) {
		to[n] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(80) };
		if (inet_pton(AF_INET, s, &to[n++].sin_addr) != 1) {
			fprintf(stderr, "clients: no address: %s\n", s);
			exit(2);
		}
	}
	return n;
}

static void expire(int64_t now)
{
	for (unsigned int i = 0; i < CONNS_MAX; i++)
		if (conn[i].fd >= 0 && now - conn[i].start > TIMEOUT_US)
			end(&conn[i], false);
}

int main(int argc, char **argv)
{
	static struct sockaddr_in to[TARGETS_MAX];
	static struct mix mix[PATHS_MAX];
	unsigned int n_mix, n_to, turn = 0, m;
	int seconds, second = 0;
	double rate, next;
	int64_t start;

	if (argc < 6) {
		fprintf(stderr, "usage: clients SECONDS RATE SEED ADDRESS[,ADDRESS...] WEIGHT:PATH...\n");
		return 2;
	}
	seconds = atoi(argv[1]);
	rate = atof(argv[2]);
	rnd_state = (uint64_t)atoll(argv[3]);
	n_to = read_targets(to, argv[4]);
	n_mix = read_mix(mix, argv + 5, (unsigned int)argc - 5);
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (int i = CONNS_MAX; i--; free_list[n_free++] = i)
		conn[i].fd = -1;
	start = now_us();
	next = 0;
	while (second < seconds) {
		struct epoll_event e[64];
		double t = (double)(now_us() - start) / 1e6;
		int n;

		for (; next <= t; next -= log(rnd()) / rate) {
			double x = rnd();

			for (m = 0; m + 1 < n_mix && x > mix[m].upto; m++)
				;
			begin(&to[turn++ % n_to], mix[m].path);
		}
		n = epoll_wait(ep, e, 64, (int)((next - t) * 1000) > 20 ? 20 : (int)((next - t) * 1000) + 1);
		for (int i = 0; i < n; i++)
			ready(e[i].data.ptr);
		if (t >= second + 1) {
			tell(second++);
			expire(now_us());
		}
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CHECK_HOST_H
#define CHECK_HOST_H

/*
 * A host for one instance of a check, for tests: poll() instead of the main loop.  It loads the plugin
 * from build/plugins, and holds it to the rules of plugin.h: one answer per look, no watch left behind
 * after it, no fd closed while it is watched.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "plug/plugin.h"

struct clusterd_inst {
	const struct clusterd_observer_ops *ops;
	void *priv;
	struct pollfd fd[65];		/* the last one is for the program */
	size_t n;
	int64_t timer_at;		/* -1: none */
	bool looking, close_in_report;
	int value;
	char why[256];
	unsigned int reports;		/* while no look was under way */
	pid_t child;			/* 0: none */
	int64_t kill_at;
	char out[4097];
	size_t out_size;
	int out_fd;
};

static inline int64_t fake_now(struct clusterd_inst *i)
{
	struct timespec ts;

	(void)i;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void __attribute__((format(printf, 3, 4))) fake_log(struct clusterd_inst *i, int priority,
							   const char *fmt, ...)
{
	(void)i; (void)priority; (void)fmt;
}

static inline int fake_watch(struct clusterd_inst *i, int fd, short events)
{
	size_t k;

	assert_true(fd >= 0);
	for (k = 0; k < i->n && i->fd[k].fd != fd; k++)
		;
	if (k == i->n && !events)
		return 0;
	if (k == i->n) {
		assert_true(i->n < 64);
		i->n++;
	}
	/* The plugin says "not any more" while the fd is still its own. */
	assert_true(fcntl(fd, F_GETFD) >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	i->fd[k] = (struct pollfd) { .fd = fd, .events = events };
	if (!events)
		i->fd[k] = i->fd[--i->n];
	return 0;
}

static inline void fake_timer(struct clusterd_inst *i, int ms)
{
	i->timer_at = ms < 0 ? -1 : fake_now(i) + ms;
}

static inline void fake_close(struct clusterd_inst *i)
{
	if (i->child > 0) {
		kill(i->child, SIGKILL);
		waitpid(i->child, NULL, 0);
		close(i->out_fd);
	}
	i->ops->close(i->priv);
	free(i);
}

static inline void fake_report(struct clusterd_inst *i, int value, const char *why)
{
	if (!i->looking) {
		i->reports++;
		return;
	}
	i->looking = false;
	i->value = value;
	snprintf(i->why, sizeof(i->why), "%s", why ? why : "");
	assert_null(strchr(i->why, '\n'));
	if (i->close_in_report)		/* as health may: the plugin must not touch its state any more */
		i->ops->close(i->priv);
}

static inline int fake_run(struct clusterd_inst *i, const char *const argv[], const char *const env[],
		    int timeout_ms)
{
	int p[2];

	if (i->child)
		return -EBUSY;
	if (access(argv[0], X_OK) < 0)
		return -errno;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	i->child = fork();
	assert_true(i->child >= 0);
	if (!i->child) {
		setpgid(0, 0);
		dup2(p[1], 1);
		execve(argv[0], (char **)(uintptr_t)argv, (char **)(uintptr_t)env);
		_exit(127);
	}
	close(p[1]);
	i->out_fd = p[0];
	i->out_size = 0;
	i->kill_at = fake_now(i) + timeout_ms;
	return 0;
}

/* The program's output until it ends; blocks no longer than it may run. */
static inline void fake_reap(struct clusterd_inst *i)
{
	int64_t left = i->kill_at - fake_now(i);
	struct pollfd p = { .fd = i->out_fd, .events = POLLIN };
	int status = -1;
	char more[4096];
	size_t room;
	ssize_t r;

	if (left > 0 && poll(&p, 1, (int)left) > 0) {
		r = read(i->out_fd, more, sizeof(more));
		if (r > 0) {
			room = sizeof(i->out) - 1 - i->out_size;
			room = (size_t)r < room ? (size_t)r : room;
			memcpy(i->out + i->out_size, more, room);
			i->out_size += room;
			return;
		}
		waitpid(i->child, &status, 0);
	} else {
		kill(-i->child, SIGKILL);
		waitpid(i->child, NULL, 0);
	}
	close(i->out_fd);
	i->child = 0;
	i->out[i->out_size] = '\0';
	i->ops->done(i->priv, status, i->out, i->out_size);
}

static inline int64_t fake_connections(struct clusterd_inst *i, const char *service)
{
	(void)i; (void)service;
	return -1;
}

static inline unsigned int fake_capacity(struct clusterd_inst *i)
{
	(void)i;
	return 100;
}

static const struct clusterd_host fake_host = {
	.size = sizeof(struct clusterd_host),
	.log = fake_log, .now_ms = fake_now, .watch = fake_watch, .timer = fake_timer,
	.report = fake_report, .run = fake_run, .connections = fake_connections,
	.capacity = fake_capacity,
};

/* ---- for tests ---- */

static inline const struct clusterd_plugin *fake_plugin(const char *name)
{
	const struct clusterd_plugin *p;
	char path[PATH_MAX], self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	void *so;

	assert_true(len > 0);
	self[len] = '\0';
	snprintf(path, sizeof(path), "%.3000s/../plugins/check-%s.so", dirname(self), name);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!so)
		fail_msg("%s", dlerror());
	p = dlsym(so, "clusterd_plugin");
	assert_non_null(p);
	assert_int_equal(p->abi, CLUSTERD_PLUGIN_ABI);
	assert_int_equal(p->kind, CLUSTERD_CHECK);
	assert_string_equal(p->name, name);
	return p;
}

/* Options as a list "key", "value", ..., NULL. */
static inline size_t fake_options(struct clusterd_option opt[32], va_list ap)
{
	const char *key;
	size_t n = 0;

	while ((key = va_arg(ap, const char *)) != NULL) {
		opt[n].key = key;
		opt[n++].value = va_arg(ap, const char *);
	}
	return n;
}

/* "" if the options are right, else "key: sentence". */
static inline const char *fake_validate(const char *plugin, ...)
{
	static char text[512];
	struct clusterd_option opt[32];
	const char *bad = NULL;
	char err[256] = "";
	va_list ap;
	size_t n;
	int ret;

	va_start(ap, plugin);
	n = fake_options(opt, ap);
	va_end(ap);
	ret = fake_plugin(plugin)->observer->validate(opt, n, &bad, err, sizeof(err));
	if (!ret)
		return "";
	assert_int_equal(ret, -EINVAL);
	assert_true(err[0] != '\0');
	snprintf(text, sizeof(text), "%s: %s", bad ? bad : "-", err);
	return text;
}

static inline struct clusterd_inst *fake_open(const char *plugin, ...)
{
	struct clusterd_inst *i = calloc(1, sizeof(*i));
	const struct clusterd_plugin *p = fake_plugin(plugin);
	struct clusterd_option opt[32];
	const char *bad = NULL;
	char err[256] = "";
	va_list ap;
	size_t n;

	assert_non_null(i);
	va_start(ap, plugin);
	n = fake_options(opt, ap);
	va_end(ap);
	if (p->observer->validate(opt, n, &bad, err, sizeof(err)))
		fail_msg("%s: %s", bad, err);
	i->ops = p->observer;
	i->timer_at = -1;
	assert_int_equal(p->observer->open(&i->priv, &fake_host, i, opt, n), 0);
	return i;
}

static inline void fake_step(struct clusterd_inst *i, int64_t until)
{
	struct pollfd p[65];
	size_t n = i->n, k;
	int64_t now = fake_now(i), at = until;
	int fd;

	if (i->child > 0) {
		fake_reap(i);
		return;
	}
	memcpy(p, i->fd, n * sizeof(*p));
	if (i->timer_at >= 0 && i->timer_at < at)
		at = i->timer_at;
	poll(p, n, at > now ? (int)(at - now) : 0);
	for (k = 0; k < n; k++) {
		if (!p[k].revents || k >= i->n || i->fd[k].fd != p[k].fd)
			continue;
		fd = p[k].fd;
		assert_false(p[k].revents & POLLNVAL);
		i->ops->io(i->priv, fd, p[k].revents);
		return;			/* what else is ready comes next time */
	}
	if (i->timer_at >= 0 && fake_now(i) >= i->timer_at) {
		i->timer_at = -1;
		i->ops->timer(i->priv);
	}
}

/* One look: its value, or -1 when it was late and the host gave up. */
static inline int fake_look(struct clusterd_inst *i, int timeout_ms)
{
	int64_t until = fake_now(i) + timeout_ms;

	i->looking = true;
	i->value = -2;
	i->why[0] = '\0';
	i->ops->start(i->priv, timeout_ms);
	while (i->looking && fake_now(i) < until)
		fake_step(i, until);
	if (!i->looking)
		return i->value;
	if (i->ops->stop)
		i->ops->stop(i->priv);
	i->looking = false;
	return -1;
}

static inline void expect_look(struct clusterd_inst *i, int timeout_ms, int value, const char *why)
{
	int got = fake_look(i, timeout_ms);

	if (got != value || !strstr(i->why, why) || (!why[0] && i->why[0]))
		fail_msg("%d \"%s\", not %d \"%s\"", got, i->why, value, why);
}

/* How many fds this process has. */
static inline int fake_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static inline int64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static inline int64_t thread_cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/* A network of our own with lo up; -1: not allowed to. */
static inline int fake_netns(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd, ret;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		perror("no network namespace");
		return -1;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ret = ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return ret;
}

/* A TCP listener at 127.0.0.1; its port in *port. */
static inline int fake_listener(char port[8], int backlog)
{
	struct sockaddr_storage ss = { .ss_family = AF_INET };
	unsigned char *raw = (unsigned char *)&ss;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = 16;

	raw[4] = 127;
	raw[7] = 1;
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	snprintf(port, 8, "%d", raw[2] << 8 | raw[3]);
	return fd;
}

/* Sockets in TIME-WAIT. */
static inline int time_wait(void)
{
	char line[256];
	FILE *f = fopen("/proc/net/tcp", "r");
	int n = 0;

	while (fgets(line, sizeof(line), f))
		n += strlen(line) > 36 && !strncmp(line + 34, "06", 2);
	fclose(f);
	return n;
}

#endif

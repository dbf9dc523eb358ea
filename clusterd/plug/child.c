// SPDX-License-Identifier: GPL-2.0-or-later
#include "plug/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"

#define ENV_MAX 64
#define TURN_BYTES 65536	/* taken from one pipe at once: a flood must not hold the loop */
#define LINES_BYTES (1 << 20)	/* of stderr, in which lines are looked for and counted */
#define FREE_BYTES (16 << 20)	/* of a pipe, as fast as they come; beyond that ... */
#define TURNS 4			/* ... so often ... */
#define TURNS_US 50000		/* ... in that time: a flood must not cost a processor either */
#define CHUNK 8192
#define LINE_MAX_LEN 400

/*
 * The process: outlives 'struct child' when nobody waits any more, until the kernel says that it is
 * gone.  Owned by its event source (sd_event_source_set_destroy_callback).
 */
struct leader {
	pid_t pid;
	int pidfd;
	sd_event_source *source;
	struct child *child;		/* NULL: nobody waits */
};

struct child {
	struct leader *leader;		/* NULL: it has ended */
	struct child_quota *quota, own_quota;
	int fd[2];			/* read ends: stdout, stderr; -1: closed */
	sd_event_source *source[2], *timeout;
	void (*done)(void *arg, int status, const char *out, size_t size);
	void *arg;
	bool in_done, free_wanted, keeps_rest;
	char name[64];
	char out[CHILD_OUT_MAX + 1];
	size_t size;
	char line[LINE_MAX_LEN + 1];	/* of stderr, not complete yet */
	size_t len;
	size_t taken[2];		/* bytes */
	bool slow[2];			/* more than FREE_BYTES */
};

enum { OUT, ERR };

/* ---- what it prints ---- */

bool child_quota_take(struct child_quota *q, int64_t now, unsigned int *dropped)
{
	*dropped = 0;
	if (now >= q->until_ms) {
		*dropped = q->dropped;
		q->dropped = q->lines = 0;
		q->until_ms = now + CHILD_QUOTA_MS;
	}
	if (q->lines == CHILD_QUOTA_LINES) {
		q->dropped++;
		return false;
	}
	q->lines++;
	return true;
}

static void line_end(struct child *c)
{
	unsigned int dropped;

	c->line[c->len] = '\0';
	if (c->len && child_quota_take(c->quota, now_ms(), &dropped)) {
		if (dropped)
			log_msg(LOG_NOTICE, "program", "%s: %u lines were not shown", c->name, dropped);
		log_msg(LOG_NOTICE, "program", "%s: %s", c->name, c->line);
	}
	c->len = 0;
}

static void take(struct child *c, int which, const char *data, size_t size)
{
	size_t i;

	if (which == OUT) {
		if (size > CHILD_OUT_MAX - c->size)
			size = CHILD_OUT_MAX - c->size;
		memcpy(c->out + c->size, data, size);
		c->size += size;
		return;
	}
	for (i = 0; i < size && c->taken[ERR] <= LINES_BYTES; i++) {
		if (data[i] == '\n' || c->len == LINE_MAX_LEN)
			line_end(c);
		if (data[i] != '\n')
			c->line[c->len++] = data[i];
	}
}

static void close_pipe(struct child *c, int which)
{
	c->source[which] = sd_event_source_disable_unref(c->source[which]);
	if (c->fd[which] >= 0)
		close(c->fd[which]);
	c->fd[which] = -1;
}

static void slow_down(struct child *c, int which)
{
	if (c->slow[which] || !c->source[which] || c->taken[which] <= FREE_BYTES)
		return;
	c->slow[which] = true;
	sd_event_source_set_ratelimit(c->source[which], TURNS_US, TURNS);
}

static void read_pipe(struct child *c, int which)
{
	char chunk[CHUNK];
	size_t sum = 0;
	ssize_t n;

	while (c->fd[which] >= 0 && sum < TURN_BYTES) {
		n = read(c->fd[which], chunk, sizeof(chunk));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_pipe(c, which);
			return;
		}
		take(c, which, chunk, (size_t)n);
		sum += (size_t)n;
		c->taken[which] += (size_t)n;
		if ((size_t)n < sizeof(chunk))
			return;
	}
}

static int on_pipe(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct child *c = arg;
	int which = fd == c->fd[OUT] ? OUT : ERR;

	read_pipe(c, which);
	slow_down(c, which);
	return 0;
}

/* ---- its end ---- */

/* All pipes and timers go before the owner hears of it; nothing below may touch 'c' after done(). */
static void finish(struct child *c, int status)
{
	read_pipe(c, OUT);
	read_pipe(c, ERR);
	line_end(c);
	close_pipe(c, OUT);
	close_pipe(c, ERR);
	c->timeout = sd_event_source_disable_unref(c->timeout);
	c->leader = NULL;
	c->in_done = true;
	c->done(c->arg, status, c->out, c->size);
	c->in_done = false;
	if (c->free_wanted)
		free(c);
}

static void leader_destroy(void *arg)
{
	struct leader *l = arg;

	close(l->pidfd);
	free(l);
}

/* As long as it has not been waited for its number is its own, and its group's. */
static void kill_group(const struct leader *l)
{
	kill(-l->pid, SIGKILL);
}

static int on_leader(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct leader *l = arg;
	struct child *c = l->child;
	siginfo_t si = { 0 };
	int status = -1;

	if (!c || !c->keeps_rest)
		kill_group(l);
	if (waitid(P_PIDFD, (id_t)l->pidfd, &si, WEXITED | WNOHANG) == 0) {
		if (!si.si_pid)
			return 0;		/* not yet */
		status = si.si_code == CLD_EXITED ? W_EXITCODE(si.si_status, 0) :
			 W_EXITCODE(0, si.si_status) | (si.si_code == CLD_DUMPED ? WCOREFLAG : 0);
	}
	if (c) {
		sd_event_source_disable_unref(s);
		finish(c, status);
	} else {
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
		sd_event_source_set_floating(s, false);	/* the loop was its last owner */
	}
	return 0;
}

/* Nobody waits for it any more: killed, and left to the loop until the kernel is done with it. */
static void leader_abandon(struct leader *l)
{
	kill_group(l);
	l->child = NULL;
	sd_event_source_set_floating(l->source, true);
	sd_event_source_unref(l->source);
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *arg)
{
	struct child *c = arg;

	/* Told at once: a process that sleeps in the kernel may take as long as it likes to die. */
	leader_abandon(c->leader);
	finish(c, -1);
	return 0;
}

void child_free(struct child *c)
{
	if (!c)
		return;
	if (c->in_done) {
		c->free_wanted = true;
		return;
	}
	if (c->leader)
		leader_abandon(c->leader);
	close_pipe(c, OUT);
	close_pipe(c, ERR);
	sd_event_source_disable_unref(c->timeout);
	free(c);
}

/* ---- its beginning ---- */

/* A pipe whose ends are not 0, 1 or 2: spawn() puts others there, in an order of its own. */
static int make_pipe(int fd[2])
{
	int i, high;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	for (i = 0; i < 2; i++) {
		if (fd[i] > STDERR_FILENO)
			continue;
		high = fcntl(fd[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (high < 0) {
			high = -errno;
			close(fd[0]);
			close(fd[1]);
			fd[0] = fd[1] = -1;
			return high;
		}
		close(fd[i]);
		fd[i] = high;
	}
	fcntl(fd[0], F_SETFL, O_NONBLOCK);	/* ours only: the other end is another description */
	return 0;
}

static int make_env(const char *const *more, const char *env[ENV_MAX])
{
	size_t n = 0;

	for (; more && *more; more++) {
		if (n + 3 > ENV_MAX)
			return -E2BIG;
		env[n++] = *more;
	}
	env[n++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	env[n++] = "LANG=C.UTF-8";
	env[n] = NULL;
	return 0;
}

static int set_attr(posix_spawnattr_t *attr)
{
	struct sched_param none = { 0 };
	sigset_t all, empty;

	sigfillset(&all);
	sigemptyset(&empty);
	posix_spawnattr_setsigdefault(attr, &all);
	posix_spawnattr_setsigmask(attr, &empty);
	posix_spawnattr_setschedpolicy(attr, SCHED_OTHER);
	posix_spawnattr_setschedparam(attr, &none);
	return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
					POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSCHEDULER);
}

static int set_files(posix_spawn_file_actions_t *files, int out, int err)
{
	int r;

	r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	r = r ? r : posix_spawn_file_actions_adddup2(files, out, STDOUT_FILENO);
	r = r ? r : posix_spawn_file_actions_adddup2(files, err, STDERR_FILENO);
	r = r ? r : posix_spawn_file_actions_addchdir_np(files, "/");
	/* Ours are close-on-exec; what a library opened need not be. */
	return r ? r : posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
}

static int spawn(const struct child_params *p, int out, int err, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	const char *env[ENV_MAX];
	int r;

	r = make_env(p->env, env);
	if (r < 0)
		return r;
	if (posix_spawnattr_init(&attr) != 0)
		return -ENOMEM;
	r = posix_spawn_file_actions_init(&files);
	if (!r) {
		r = set_attr(&attr);
		r = r ? r : set_files(&files, out, err);
		r = r ? r : posix_spawn(pid, p->argv[0], &files, &attr, (char **)p->argv, (char **)env);
		posix_spawn_file_actions_destroy(&files);
	}
	posix_spawnattr_destroy(&attr);
	return -r;
}

/*
 * What spawn() cannot set.  The dynamic linker of the new program takes longer than this.  Failure
 * would only mean that it runs as we do.
 */
static void make_ordinary(pid_t pid)
{
	char path[40];
	ssize_t n;
	int fd;

	if (getpriority(PRIO_PROCESS, 0) != 0)
		setpriority(PRIO_PROCESS, (id_t)pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = write(fd, "0", 1);
	(void)n;
	close(fd);
}

/* Takes over the process: from here on somebody waits for it.  -errno: it is dead and buried. */
static int leader_new(struct leader **out, sd_event *event, pid_t pid)
{
	struct leader *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (!l)
		goto fail;
	l->pid = pid;
	l->pidfd = pidfd_open(pid, 0);		/* close-on-exec */
	if (l->pidfd < 0) {
		r = -errno;
		goto fail;
	}
	r = sd_event_add_io(event, &l->source, l->pidfd, EPOLLIN, on_leader, l);
	if (r < 0) {
		close(l->pidfd);
		goto fail;
	}
	sd_event_source_set_destroy_callback(l->source, leader_destroy);
	*out = l;
	return 0;
fail:
	free(l);
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

static int add_sources(struct child *c, const struct child_params *p)
{
	int which, r;

	for (which = OUT; which <= ERR; which++) {
		r = sd_event_add_io(p->event, &c->source[which], c->fd[which], EPOLLIN, on_pipe, c);
		if (r < 0)
			return r;
		/* After everything else that is ready: a flood waits, not the cluster. */
		sd_event_source_set_priority(c->source[which], SD_EVENT_PRIORITY_NORMAL + 10);
	}
	return sd_event_add_time_relative(p->event, &c->timeout, CLOCK_MONOTONIC,
					  (uint64_t)p->timeout_ms * 1000, 1000, on_timeout, c);
}

int child_run(struct child **out, const struct child_params *p)
{
	int r, so[2] = { -1, -1 }, se[2] = { -1, -1 };
	struct child *c;
	pid_t pid;

	*out = NULL;
	if (!p->argv[0] || p->argv[0][0] != '/' || p->timeout_ms <= 0)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->done = p->done;
	c->arg = p->arg;
	c->keeps_rest = p->keeps_rest;
	c->quota = p->quota ? p->quota : &c->own_quota;
	snprintf(c->name, sizeof(c->name), "%s", p->name);
	r = make_pipe(so);
	if (!r)
		r = make_pipe(se);
	c->fd[OUT] = so[0];
	c->fd[ERR] = se[0];
	if (!r)
		r = spawn(p, so[1], se[1], &pid);
	if (so[1] >= 0)
		close(so[1]);
	if (se[1] >= 0)
		close(se[1]);
	if (!r) {
		make_ordinary(pid);
		r = leader_new(&c->leader, p->event, pid);
	}
	if (!r) {
		c->leader->child = c;
		r = add_sources(c, p);
	}
	if (r < 0) {
		child_free(c);
		return r;
	}
	*out = c;
	return 0;
}

/* ---- words ---- */

const char *child_status_str(int status, char buf[CHILD_STATUS_STR])
{
	const char *sig;

	if (status == -1) {
		snprintf(buf, CHILD_STATUS_STR, "took too long");
	} else if (WIFSIGNALED(status)) {
		sig = sigabbrev_np(WTERMSIG(status));
		if (sig)
			snprintf(buf, CHILD_STATUS_STR, "killed by SIG%s", sig);
		else
			snprintf(buf, CHILD_STATUS_STR, "killed by signal %d", WTERMSIG(status));
	} else {
		snprintf(buf, CHILD_STATUS_STR, "exit status %d", WEXITSTATUS(status));
	}
	return buf;
}

const char *child_error_str(const char *path, int error)
{
	struct stat st;

	switch (-error) {
	case ENOENT:
		return stat(path, &st) == 0 ? "the interpreter in its first line does not exist" :
					      "it does not exist";
	case EACCES:
		if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
			return "it is not a file";
		return "it is not executable (chmod +x), or its file system is mounted noexec";
	case ENOEXEC:
		return "it is no program: a script begins with a line like #!/bin/sh";
	case EINVAL:
		return "its path must begin with /";
	default:
		return strerror(-error);
	}
}

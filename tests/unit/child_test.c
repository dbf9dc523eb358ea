/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "plug/child.h"
#include "util/log.h"

static char dir[] = "/tmp/clusterd-child-XXXXXX";
static sd_event *event;

struct result {
	struct child *child;
	int ends, status;
	char out[CHILD_OUT_MAX + 1];
	size_t size;
	bool free_in_done;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static const char *file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *script_mode(const char *text, mode_t mode)
{
	FILE *f;
	const char *path = file("script");

	unlink(path);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static const char *script(const char *body)
{
	char text[1024];

	snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
	return script_mode(text, 0755);
}

static void done(void *arg, int status, const char *out, size_t size)
{
	struct result *r = arg;

	r->ends++;
	r->status = status;
	r->size = size;
	assert_true(size <= CHILD_OUT_MAX);
	assert_int_equal(out[size], '\0');
	memcpy(r->out, out, size + 1);
	if (r->free_in_done) {
		child_free(r->child);
		r->child = NULL;
	}
}

static bool keeps_rest;

static int start(struct result *r, const char *path, const char *const *env, int timeout_ms)
{
	const char *const argv[] = { path, "one", "two words", NULL };
	struct child_params p = { .event = event, .name = "check test", .argv = argv, .env = env,
				  .timeout_ms = timeout_ms, .keeps_rest = keeps_rest, .done = done,
				  .arg = r };

	memset(r, 0, sizeof(*r));
	return child_run(&r->child, &p);
}

/* Until it has ended, at most 'ms'.  How long it took. */
static int64_t wait_for(struct result *r, int64_t ms)
{
	int64_t begin = now_ms();

	while (!r->ends && now_ms() - begin < ms)
		assert_true(sd_event_run(event, 10000) >= 0);
	return now_ms() - begin;
}

/* Lets the loop bury what was killed. */
static void settle(int ms)
{
	int64_t begin = now_ms();

	while (now_ms() - begin < ms)
		assert_true(sd_event_run(event, 5000) >= 0);
}

static void run_env(struct result *r, const char *body, const char *const *env)
{
	assert_int_equal(start(r, script(body), env, 5000), 0);
	wait_for(r, 6000);
	assert_int_equal(r->ends, 1);
	child_free(r->child);
	r->child = NULL;
}

static void run(struct result *r, const char *body)
{
	run_env(r, body, NULL);
}

static bool no_children(void)
{
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/fd");

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The number that a script has written into a file. */
static pid_t read_pid(const char *name)
{
	FILE *f = fopen(file(name), "re");
	int pid = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

/* It is gone or about to be: a zombie that init has not waited for yet is as good. */
static bool is_dead(pid_t pid)
{
	char path[64], state = 'X';
	FILE *f;
	int i;

	for (i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		f = fopen(path, "re");
		if (!f)
			return true;
		if (fscanf(f, "%*d %*s %c", &state) != 1)
			state = 'X';
		fclose(f);
		if (state == 'Z' || state == 'X')
			return true;
		usleep(10000);
	}
	return false;
}

/* stderr into a file while 'body' runs; what came out. */
static const char *log_of(const char *body, char *text, size_t size)
{
	struct result r;
	int saved = dup(2), fd = open(file("log"), O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	assert_true(saved >= 0 && fd >= 0);
	dup2(fd, 2);
	run(&r, body);
	dup2(saved, 2);
	close(saved);
	n = pread(fd, text, size - 1, 0);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* ---- */

static void output_and_status(void **state)
{
	const char *const env[] = { "CLUSTERD_NODE=n1", "X=a b", NULL };
	struct result r;
	char text[CHILD_STATUS_STR];

	run_env(&r, "echo \"$1|$2|$CLUSTERD_NODE|$X|$LANG\"; exit 3", env);
	assert_string_equal(r.out, "one|two words|n1|a b|C.UTF-8\n");
	assert_string_equal(child_status_str(r.status, text), "exit status 3");
	run(&r, ":");
	assert_int_equal(r.status, 0);
	assert_int_equal(r.size, 0);
	run(&r, "kill -SEGV $$");
	assert_true(WIFSIGNALED(r.status));
	assert_string_equal(child_status_str(r.status, text), "killed by SIGSEGV");
	assert_string_equal(child_status_str(-1, text), "took too long");
	assert_true(no_children());
}

static void oom_score(const char *score)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "we");

	assert_non_null(f);
	fputs(score, f);
	fclose(f);
}

static void nothing_inherited(void **state)
{
	struct result r, mask;
	struct sigaction ign = { .sa_handler = SIG_IGN }, old;
	int stray = open("/dev/null", O_RDONLY);	/* a library's, without close-on-exec */
	sigset_t set, before;
	int was = getpriority(PRIO_PROCESS, 0);
	struct sched_param rt = { .sched_priority = 1 }, none = { 0 };

	assert_true(stray > 2);
	setenv("SECRET", "1", 1);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	sigaction(SIGPIPE, &ign, &old);
	setpriority(PRIO_PROCESS, 0, was - 1);
	sched_setscheduler(0, SCHED_FIFO, &rt);		/* may be refused: then it shows less */
	oom_score("300");		/* up needs no privilege */
	run(&r, "echo $(ls /proc/self/fd)${SECRET}; "
	    "sed -n 's/^SigIgn://p' /proc/$$/status; "
	    "sed 's/.*) //' /proc/$$/stat | cut -d' ' -f3,4,17,39; echo $$; pwd; cat /proc/$$/oom_score_adj; "
	    "readlink /proc/$$/fd/0");
	/* Not by a shell, which empties the mask. */
	assert_int_equal(start(&mask, script_mode("#!/usr/bin/awk -f\nBEGIN { while (getline <\"/proc/self/status\") "
						  "if (/^SigBlk/) print $2 }\n", 0755), NULL, 5000), 0);
	wait_for(&mask, 6000);
	child_free(mask.child);
	oom_score("0");
	sched_setscheduler(0, SCHED_OTHER, &none);
	setpriority(PRIO_PROCESS, 0, was);
	sigaction(SIGPIPE, &old, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	unsetenv("SECRET");
	close(stray);

	char *line[7], *save = NULL;
	int i, group, session, nice, policy, pid;

	for (i = 0; i < 7; i++) {
		line[i] = strtok_r(i ? NULL : r.out, "\n", &save);
		assert_non_null(line[i]);
	}
	/* 3 is the directory that ls reads. */
	assert_string_equal(line[0], "0 1 2 3");
	assert_string_equal(mask.out, "0000000000000000\n");
	/* 32 and 33 are glibc's own, and what it makes of them. */
	assert_int_equal(strtoull(line[1], NULL, 16) & ~0x180000000ull, 0);
	assert_int_equal(sscanf(line[2], "%d %d %d %d", &group, &session, &nice, &policy), 4);
	pid = atoi(line[3]);
	assert_int_equal(group, pid);
	assert_int_equal(session, pid);
	assert_int_equal(nice, 0);
	assert_int_equal(policy, SCHED_OTHER);
	assert_string_equal(line[4], "/");
	assert_string_equal(line[5], "0");
	assert_string_equal(line[6], "/dev/null");
}

static void hang_is_killed(void **state)
{
	struct result r;
	int64_t took;

	/* Deaf to everything that can be ignored, with a child that holds the pipes. */
	assert_int_equal(start(&r, script("trap '' TERM HUP INT; sleep 1000 & echo $! >$(dirname $0)/pid; echo x; wait"),
			       NULL, 200), 0);
	took = wait_for(&r, 3000);
	assert_int_equal(r.ends, 1);
	assert_int_equal(r.status, -1);
	assert_string_equal(r.out, "x\n");
	assert_true(took >= 190 && took < 1500);
	assert_true(is_dead(read_pid("pid")));
	child_free(r.child);
	settle(50);
	assert_true(no_children());
}

static void left_behind_is_killed(void **state)
{
	struct result r;
	int64_t begin = now_ms();

	/* It would keep stdout open for ever: the end is that of the leader. */
	run(&r, "(trap '' HUP; sleep 1000) & echo $! >$(dirname $0)/pid; echo done");
	assert_true(now_ms() - begin < 2000);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "done\n");
	assert_true(is_dead(read_pid("pid")));
}

/* An action starts a service in the background, as init scripts do. */
static void left_behind_stays_if_wanted(void **state)
{
	struct result r;
	pid_t pid;

	keeps_rest = true;
	run(&r, "sleep 30 & echo $! >$(dirname $0)/pid");
	assert_int_equal(r.status, 0);
	pid = read_pid("pid");
	usleep(50000);
	assert_int_equal(kill(pid, 0), 0);
	assert_false(is_dead(pid));
	kill(pid, SIGKILL);
	/* Its time is up: then nothing stays. */
	assert_int_equal(start(&r, script("sleep 30 & echo $! >$(dirname $0)/pid; sleep 1000"), NULL, 300), 0);
	wait_for(&r, 6000);
	child_free(r.child);
	settle(100);
	keeps_rest = false;
	assert_int_equal(r.ends, 1);
	assert_int_equal(r.status, -1);
	assert_true(is_dead(read_pid("pid")));
}

/* What the header says is out of reach: it neither delays the end nor dies. */
static void daemon_stays(void **state)
{
	struct result r;
	int64_t begin = now_ms();
	pid_t pid;

	run(&r, "setsid sh -c 'echo $$ >'$(dirname $0)'/pid; exec sleep 30' & "
	    "while ! test -s $(dirname $0)/pid; do sleep 0.02; done; sleep 0.05");
	assert_true(now_ms() - begin < 4000);
	assert_int_equal(r.status, 0);
	pid = read_pid("pid");
	usleep(50000);
	assert_int_equal(kill(pid, 0), 0);
	kill(pid, SIGKILL);
}

static int ticks;
static int64_t worst, last;

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	int64_t now = now_ms();

	if (ticks++ && now - last > worst)
		worst = now - last;
	last = now;
	sd_event_source_set_time_relative(s, 5000);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static void flood_is_cut(void **state)
{
	struct result r;
	sd_event_source *tick;
	size_t i;

	log_setup(LOG_ERR, false);		/* what it says there is not to be read */
	ticks = 0;
	worst = 0;
	assert_true(sd_event_add_time_relative(event, &tick, CLOCK_MONOTONIC, 5000, 1000, on_tick, NULL) >= 0);
	assert_int_equal(start(&r, script("head -c 20000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' e >&2"),
			       NULL, 20000), 0);
	wait_for(&r, 20000);
	sd_event_source_disable_unref(tick);
	log_setup(LOG_INFO, false);
	assert_int_equal(r.ends, 1);
	assert_int_equal(r.status, 0);		/* it could write all of it */
	assert_int_equal(r.size, CHILD_OUT_MAX);
	for (i = 0; i < r.size; i++)
		assert_int_equal(r.out[i], 'x');
	print_message("# flood: the loop came round after %d ms at worst\n", (int)worst);
	assert_true(ticks > 2);
	assert_true(worst < 300);
	child_free(r.child);
}

/* One that never ends costs little more than one that sleeps. */
static void flood_is_cheap(void **state)
{
	struct timespec before, after;
	struct result r;
	int64_t ms;

	log_setup(LOG_ERR, false);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	assert_int_equal(start(&r, script("yes e >&2"), NULL, 1000), 0);
	wait_for(&r, 20000);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	log_setup(LOG_INFO, false);
	assert_int_equal(r.status, -1);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	print_message("# flood: a second of it took %d ms\n", (int)ms);
	assert_true(ms < 200);
	child_free(r.child);
	settle(50);		/* the loop buries it */
}

static void cannot_start(void **state)
{
	static const struct { const char *text; mode_t mode; int error; const char *why; } rows[] = {
		{ "#!/bin/sh\n", 0644, -EACCES, "not executable" },
		{ "#!/no/such/interpreter\n", 0755, -ENOENT, "interpreter" },
		{ "echo hello\n", 0755, -ENOEXEC, "#!/bin/sh" },
		{ "", 0755, -ENOEXEC, "#!/bin/sh" },
	};
	unsigned int fds = count_fds();
	const char *path;
	struct result r;
	size_t i;
	int n;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		path = script_mode(rows[i].text, rows[i].mode);
		n = start(&r, path, NULL, 1000);
		assert_int_equal(n, rows[i].error);
		assert_null(r.child);
		assert_non_null(strstr(child_error_str(path, n), rows[i].why));
	}
	n = start(&r, "/no/such/file", NULL, 1000);
	assert_int_equal(n, -ENOENT);
	assert_non_null(strstr(child_error_str("/no/such/file", n), "does not exist"));
	n = start(&r, dir, NULL, 1000);
	assert_int_equal(n, -EACCES);
	assert_non_null(strstr(child_error_str(dir, n), "not a file"));
	assert_int_equal(start(&r, "relative", NULL, 1000), -EINVAL);
	assert_int_equal(start(&r, "/bin/true", NULL, 0), -EINVAL);
	settle(20);
	assert_int_equal(r.ends, 0);
	assert_int_equal(count_fds(), fds);
	assert_true(no_children());
}

static void freed_while_it_runs(void **state)
{
	unsigned int fds = count_fds();
	struct result r;

	assert_int_equal(start(&r, script("echo $$ >$(dirname $0)/pid; exec sleep 1000"), NULL, 60000), 0);
	settle(150);
	child_free(r.child);
	child_free(NULL);
	assert_true(is_dead(read_pid("pid")));
	settle(50);
	assert_int_equal(r.ends, 0);
	assert_int_equal(count_fds(), fds);
	assert_true(no_children());
}

static void freed_in_done(void **state)
{
	struct result r;

	assert_int_equal(start(&r, script("echo x"), NULL, 5000), 0);
	r.free_in_done = true;
	wait_for(&r, 6000);
	assert_string_equal(r.out, "x\n");
	assert_int_equal(start(&r, script("sleep 1000"), NULL, 50), 0);
	r.free_in_done = true;
	wait_for(&r, 6000);
	assert_int_equal(r.status, -1);
	settle(50);
	assert_true(no_children());
}

static void stderr_to_log(void **state)
{
	char text[8192];
	char *p;
	int n = 0;

	log_of("echo 'first line' >&2; printf 'no newline' >&2", text, sizeof(text));
	assert_non_null(strstr(text, "check test: first line\n"));
	assert_non_null(strstr(text, "check test: no newline\n"));
	log_of("i=0; while [ $i -lt 1000 ]; do echo \"line $i\"; i=$((i+1)); done >&2", text, sizeof(text));
	for (p = text; (p = strstr(p, "line ")); p++)
		n++;
	assert_int_equal(n, CHILD_QUOTA_LINES);
	/* No way to forge a line of the log. */
	log_of("printf 'a\\r\\033[2Jb\\n' >&2", text, sizeof(text));
	assert_non_null(strstr(text, "a??[2Jb\n"));
}

static void quota(void **state)
{
	struct child_quota q = { 0 };
	unsigned int dropped, i;

	for (i = 0; i < CHILD_QUOTA_LINES; i++)
		assert_true(child_quota_take(&q, 5, &dropped));
	for (i = 0; i < 7; i++)
		assert_false(child_quota_take(&q, 5 + CHILD_QUOTA_MS - 1, &dropped));
	assert_true(child_quota_take(&q, 5 + CHILD_QUOTA_MS, &dropped));
	assert_int_equal(dropped, 7);
	assert_true(child_quota_take(&q, 5 + CHILD_QUOTA_MS, &dropped));
	assert_int_equal(dropped, 0);
}

static void thousand_runs(void **state)
{
	struct result r;
	unsigned int fds, i;
	struct rusage a, b;
	struct timespec from, to;
	int64_t worst_us = 0, us;

	run(&r, ":");
	fds = count_fds();
	getrusage(RUSAGE_SELF, &a);
	for (i = 0; i < 1000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		assert_int_equal(start(&r, "/bin/true", NULL, 5000), 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
		worst_us = us > worst_us ? us : worst_us;
		wait_for(&r, 6000);
		assert_int_equal(r.ends, 1);
		assert_int_equal(r.status, 0);
		child_free(r.child);
	}
	getrusage(RUSAGE_SELF, &b);
	assert_int_equal(count_fds(), fds);
	assert_true(no_children());
	us = (b.ru_utime.tv_sec - a.ru_utime.tv_sec + b.ru_stime.tv_sec - a.ru_stime.tv_sec) * 1000000ll +
	     b.ru_utime.tv_usec - a.ru_utime.tv_usec + b.ru_stime.tv_usec - a.ru_stime.tv_usec;
	print_message("# a run costs us %d us of processor time; starting took %d us at worst\n",
		      (int)(us / 1000), (int)worst_us);
}

/* The loop may end while what was killed is still about to die. */
static void loop_ends_first(void **state)
{
	struct result r;
	sd_event *own, *shared = event;

	assert_true(sd_event_new(&own) >= 0);
	event = own;
	assert_int_equal(start(&r, script("exec sleep 1000"), NULL, 60000), 0);
	child_free(r.child);
	event = shared;
	assert_null(sd_event_unref(own));
	assert_true(waitpid(-1, NULL, 0) > 0);
	assert_true(no_children());
}

static int setup(void **state)
{
	return mkdtemp(dir) && sd_event_new(&event) >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = { "script", "pid", "log" };
	size_t i;

	sd_event_unref(event);
	for (i = 0; i < 3; i++)
		unlink(file(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_status),
		cmocka_unit_test(nothing_inherited),
		cmocka_unit_test(hang_is_killed),
		cmocka_unit_test(left_behind_is_killed),
		cmocka_unit_test(left_behind_stays_if_wanted),
		cmocka_unit_test(daemon_stays),
		cmocka_unit_test(flood_is_cut),
		cmocka_unit_test(flood_is_cheap),
		cmocka_unit_test(cannot_start),
		cmocka_unit_test(freed_while_it_runs),
		cmocka_unit_test(freed_in_done),
		cmocka_unit_test(stderr_to_log),
		cmocka_unit_test(quota),
		cmocka_unit_test(thousand_runs),
		cmocka_unit_test(loop_ends_first),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

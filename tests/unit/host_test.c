/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "plug/host.h"

#define WATCH_TRIES 70

static sd_event *event;
static struct host *host;

/* ---- a plugin that does what the test says ---- */

struct probe {			/* the last instance's; tests have one or two */
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	char key[16], value[16];
	int starts, stops, closes, ios, timers, dones;
	int timeout, status;
	short revents;
	char out[64];
};
static struct probe probe;
static int open_fails;			/* so often, with EADDRINUSE */
static void (*in_start)(struct probe *p);
static void (*in_io)(struct probe *p, int fd);
static void (*in_timer)(struct probe *p);
static void (*in_done)(struct probe *p);

static int p_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err, size_t err_size)
{
	return 0;
}

static int p_open(void **priv, const struct clusterd_host *h, struct clusterd_inst *inst,
		  const struct clusterd_option *opt, size_t n)
{
	if (open_fails > 0) {
		open_fails--;
		h->timer(inst, 1);	/* sloppy: left behind */
		return -EADDRINUSE;
	}
	memset(&probe, 0, sizeof(probe));
	probe.host = h;
	probe.inst = inst;
	if (n) {
		snprintf(probe.key, sizeof(probe.key), "%s", opt[n - 1].key);
		snprintf(probe.value, sizeof(probe.value), "%s", opt[n - 1].value);
	}
	*priv = &probe;
	return 0;
}

static void p_close(void *priv)
{
	struct probe *p = priv;

	if (p->closes++)
		return;			/* of two that share the probe: it is about the other one */
	/* Last wishes are not granted. */
	p->host->report(p->inst, 1000, "too late");
	p->host->timer(p->inst, 1);
}

static void p_start(void *priv, int timeout_ms)
{
	struct probe *p = priv;

	p->starts++;
	p->timeout = timeout_ms;
	if (in_start)
		in_start(p);
}

static void p_stop(void *priv)
{
	struct probe *p = priv;

	p->stops++;
	p->host->report(p->inst, 1000, "not to be said");
}

static void p_io(void *priv, int fd, short revents)
{
	struct probe *p = priv;

	p->ios++;
	p->revents = revents;
	if (in_io)
		in_io(p, fd);
}

static void p_timer(void *priv)
{
	struct probe *p = priv;

	p->timers++;
	if (in_timer)
		in_timer(p);
}

static void p_done(void *priv, int status, const char *out, size_t size)
{
	struct probe *p = priv;

	p->dones++;
	p->status = status;
	snprintf(p->out, sizeof(p->out), "%s", out);
	if (in_done)
		in_done(p);
}

static const struct clusterd_observer_ops ops = {
	.validate = p_validate, .open = p_open, .close = p_close, .start = p_start, .stop = p_stop,
	.io = p_io, .timer = p_timer, .done = p_done,
};
static const struct clusterd_observer_ops bare = {
	.validate = p_validate, .open = p_open, .close = p_close, .start = p_start,
};
#define HEAD .abi = CLUSTERD_PLUGIN_ABI, .size = sizeof(struct clusterd_plugin), .name = "p", .version = "1", .summary = ""
static const struct clusterd_plugin check = { HEAD, .kind = CLUSTERD_CHECK, .observer = &ops };
static const struct clusterd_plugin monitor = { HEAD, .kind = CLUSTERD_MONITOR, .observer = &ops };
static const struct clusterd_plugin bare_check = { HEAD, .kind = CLUSTERD_CHECK, .observer = &bare };

/* ---- its user ---- */

static struct user {
	int reports, value, facts;
	unsigned int tag;
	char why[256];
	enum clusterd_fact fact;
	uint64_t fact_value;
	struct clusterd_inst *close_it;		/* in the report */
	struct clusterd_inst *start_it, *stop_it;
} user;

static void on_report(void *arg, unsigned int tag, int value, const char *why)
{
	struct user *u = arg;
	struct clusterd_inst *inst;

	u->reports++;
	u->tag = tag;
	u->value = value;
	snprintf(u->why, sizeof(u->why), "%s", why);
	inst = u->close_it;
	u->close_it = NULL;
	host_close(inst);
	inst = u->start_it;
	u->start_it = NULL;
	if (inst)
		host_start(inst, 77);
	inst = u->stop_it;
	u->stop_it = NULL;
	if (inst)
		host_stop(inst);
}

static void on_fact(void *arg, unsigned int tag, enum clusterd_fact fact, uint64_t value)
{
	struct user *u = arg;

	u->facts++;
	u->fact = fact;
	u->fact_value = value;
}

static int64_t connections(void *arg, const char *service)
{
	return strcmp(service, "web") == 0 ? 42 : -1;
}

static const struct host_ops host_ops = { .connections = connections };

static struct clusterd_inst *open_one(const struct clusterd_plugin *plugin)
{
	static const struct clusterd_option opt[] = { { "@service", "web" }, { "port", "80" } };
	struct host_open o = { .plugin = plugin, .section = "check web", .opt = opt, .n_opt = 2, .tag = 9,
			       .report = on_report, .fact = on_fact, .arg = &user };
	struct clusterd_inst *inst;

	memset(&user, 0, sizeof(user));
	in_start = in_timer = in_done = NULL;
	in_io = NULL;
	host_open(host, &inst, &o);
	assert_non_null(inst);
	return inst;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* Until '*what' is not 'was' any more, or for 'ms'. */
static void turn_until(const int *what, int was, int ms)
{
	int64_t begin = now_ms();

	while ((!what || *what == was) && now_ms() - begin < ms)
		assert_true(sd_event_run(event, 5000) >= 0);
}

static void turn(int ms)
{
	turn_until(NULL, 0, ms);
}

/* What goes to the log from here to log_end(). */
static int log_saved;
static FILE *log_file;
static char log_text[4096];

static void log_begin(void)
{
	log_file = tmpfile();
	assert_non_null(log_file);
	log_saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
	dup2(fileno(log_file), 2);
}

static const char *log_end(void)
{
	ssize_t n;

	dup2(log_saved, 2);
	close(log_saved);
	n = pread(fileno(log_file), log_text, sizeof(log_text) - 1, 0);
	log_text[n > 0 ? n : 0] = '\0';
	fclose(log_file);
	return log_text;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* ---- reports ---- */

static void say_ok(struct probe *p)
{
	p->host->report(p->inst, CLUSTERD_FIT, "fine\nreally\t!\n");
	p->host->report(p->inst, CLUSTERD_DEAD, "second answer");
}

static void one_answer_per_question(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	assert_true(host_is_open(inst));
	assert_string_equal(probe.key, "port");
	assert_string_equal(probe.value, "80");
	probe.host->report(inst, CLUSTERD_DEAD, "nobody has asked");
	assert_int_equal(user.reports, 0);
	in_start = say_ok;
	host_start(inst, 250);
	assert_int_equal(probe.timeout, 250);
	assert_int_equal(user.reports, 1);
	assert_int_equal(user.value, CLUSTERD_FIT);
	assert_int_equal(user.tag, 9);
	assert_string_equal(user.why, "fine really !");
	/* Given up: too late is too late, also from within stop(). */
	in_start = NULL;
	host_start(inst, 250);
	host_stop(inst);
	assert_int_equal(probe.stops, 1);
	probe.host->report(inst, CLUSTERD_DEAD, "late");
	assert_int_equal(user.reports, 1);
	host_close(inst);
	assert_int_equal(probe.closes, 1);
	assert_int_equal(user.reports, 1);
}

static void values_and_facts(void **state)
{
	static const struct { const struct clusterd_plugin *plugin; int said, counts; } rows[] = {
		{ &check, 1, CLUSTERD_WORKS }, { &check, 999, CLUSTERD_WORKS }, { &check, 0, 0 },
		{ &check, -1, 0 }, { &check, 1001, 1000 }, { &monitor, 1, 1 }, { &monitor, 999, 999 },
		{ &monitor, -2147483647, 0 }, { &monitor, 2147483647, 1000 },
	};
	struct clusterd_inst *inst;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		log_begin();
		inst = open_one(rows[i].plugin);
		host_start(inst, 100);
		probe.host->report(inst, rows[i].said, NULL);
		assert_int_equal(user.reports, 1);
		assert_int_equal(user.value, rows[i].counts);
		assert_string_equal(user.why, "");
		host_start(inst, 100);
		probe.host->report(inst, rows[i].said, NULL);
		assert_int_equal(user.reports, 2);
		host_close(inst);
		assert_int_equal(count(log_end(), "not from 0 to 1000"), rows[i].said < 0 || rows[i].said > 1000);
	}
	inst = open_one(&monitor);
	host_start(inst, 100);
	probe.host->fact(inst, CLUSTERD_MEM_FREE_KB, 1ull << 40);
	assert_int_equal(user.fact, CLUSTERD_MEM_FREE_KB);
	assert_true(user.fact_value == 1ull << 40);
	probe.host->fact(inst, CLUSTERD_CPU_IDLE, 5000);
	assert_true(user.fact_value == 1000);
	probe.host->fact(inst, (enum clusterd_fact)99, 1);
	assert_int_equal(user.facts, 2);
	/* A monitor may go on by itself until it is stopped. */
	probe.host->report(inst, 5, "");
	probe.host->report(inst, 6, "");
	assert_int_equal(user.reports, 2);
	host_stop(inst);
	probe.host->report(inst, 7, "");
	assert_int_equal(user.reports, 2);
	host_close(inst);
}

static void what_the_host_knows(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	assert_int_equal(probe.host->size, sizeof(struct clusterd_host));
	assert_int_equal(probe.host->connections(inst, "web"), 42);
	assert_int_equal(probe.host->connections(inst, "other"), -1);
	assert_int_equal(probe.host->capacity(inst), 250);
	assert_in_range(probe.host->now_ms(inst), now_ms() - 1000, now_ms());
	host_close(inst);
}

/* ---- closing where it hurts ---- */

static void closed_in_its_report(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	in_start = say_ok;
	user.close_it = inst;
	host_start(inst, 100);
	assert_int_equal(user.reports, 1);
	assert_int_equal(probe.closes, 1);
}

static void say_ok_timer(struct probe *p)
{
	say_ok(p);
	p->host->timer(p->inst, 1);
	assert_int_equal(p->host->watch(p->inst, 0, POLLIN), 0);
	assert_true(p->closes || p->host->run(p->inst, (const char *const[]){ "/bin/true", NULL }, NULL, 100) < 0);
}

static void closed_in_a_timer(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	in_timer = say_ok_timer;
	host_start(inst, 100);
	probe.host->timer(inst, 1);
	user.close_it = inst;
	turn_until(&probe.closes, 0, 2000);
	assert_int_equal(probe.closes, 1);
	assert_int_equal(probe.timers, 1);
	turn(20);
	assert_int_equal(probe.timers, 1);
}

static void closed_in_done(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	in_done = say_ok;
	host_start(inst, 100);
	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/bin/true", NULL }, NULL, 5000), 0);
	user.close_it = inst;
	turn_until(&probe.closes, 0, 5000);
	assert_int_equal(probe.closes, 1);
	assert_int_equal(user.reports, 1);
}

static void another_is_closed(void **state)
{
	struct clusterd_inst *other = open_one(&check), *inst = open_one(&check);

	in_start = say_ok;
	user.close_it = other;
	host_start(inst, 100);
	assert_int_equal(user.reports, 1);
	host_close(inst);
}

/* The next question in the answer to the last: after the plugin has finished its sentence. */
static void started_in_its_report(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	in_start = say_ok;
	user.start_it = inst;
	host_start(inst, 100);
	assert_int_equal(probe.starts, 2);
	assert_int_equal(probe.timeout, 77);
	assert_int_equal(user.reports, 2);
	user.stop_it = inst;
	host_start(inst, 100);
	assert_int_equal(probe.stops, 0);
	host_close(inst);
}

static void host_closes_all(void **state)
{
	struct host *own;
	struct host *shared = host;

	assert_int_equal(host_new(&own, event, 100, NULL, NULL), 0);
	host = own;
	open_one(&check);
	open_one(&monitor);
	assert_int_equal(probe.host->connections(probe.inst, "web"), -1);
	assert_int_equal(probe.host->run(probe.inst, (const char *const[]){ "/bin/sleep", "1000", NULL }, NULL, 60000), 0);
	host_free(own);
	host_free(NULL);
	host = shared;
	assert_int_equal(probe.closes, 2);	/* both: the probe is one */
	turn(50);
	assert_int_equal(probe.dones, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* ---- fds and timer ---- */

static void read_some(struct probe *p, int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		p->host->watch(p->inst, fd, 0);
}

static void watches(void **state)
{
	struct clusterd_inst *inst = open_one(&check);
	int fd[2], many[WATCH_TRIES], i, r = 0;

	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	in_io = read_some;
	assert_int_equal(probe.host->watch(inst, fd[0], POLLIN), 0);
	turn(20);
	assert_int_equal(probe.ios, 0);
	assert_int_equal(write(fd[1], "ab", 2), 2);
	turn_until(&probe.ios, 0, 1000);
	turn(20);
	assert_int_equal(probe.ios, 2);
	assert_true(probe.revents & POLLIN);
	close(fd[1]);
	turn(20);
	assert_int_equal(probe.ios, 3);
	assert_true(probe.revents & POLLHUP);

	/* Changed, ended, ended again. */
	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	in_io = NULL;
	probe.ios = 0;
	assert_int_equal(probe.host->watch(inst, fd[1], POLLIN), 0);
	turn(20);
	assert_int_equal(probe.ios, 0);
	assert_int_equal(probe.host->watch(inst, fd[1], POLLOUT), 0);
	turn_until(&probe.ios, 0, 1000);
	assert_int_equal(probe.revents, POLLOUT);
	assert_int_equal(probe.host->watch(inst, fd[1], 0), 0);
	assert_int_equal(probe.host->watch(inst, fd[1], 0), 0);
	i = probe.ios;
	turn(20);
	assert_int_equal(probe.ios, i);

	/* Closed without a word, and the number comes again. */
	assert_int_equal(probe.host->watch(inst, fd[1], POLLIN), 0);
	i = fd[1];
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fd[1], i);
	probe.ios = 0;
	assert_int_equal(probe.host->watch(inst, fd[1], POLLOUT), 0);
	turn_until(&probe.ios, 0, 1000);
	assert_true(probe.ios > 0);
	probe.host->watch(inst, fd[1], 0);

	/* Nonsense. */
	assert_int_equal(probe.host->watch(inst, -1, POLLIN), -EINVAL);
	assert_int_equal(probe.host->watch(inst, fd[0], POLLPRI), -EINVAL);
	assert_int_equal(probe.host->watch(inst, 9999, POLLIN), -EINVAL);
	i = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(probe.host->watch(inst, i, POLLIN), -EINVAL);
	close(i);

	for (i = 0; i < WATCH_TRIES; i++) {
		many[i] = fcntl(fd[0], F_DUPFD_CLOEXEC, 3);
		r = probe.host->watch(inst, many[i], POLLIN);
		assert_int_equal(r, i < 64 ? 0 : -ENOSPC);
	}
	host_close(inst);
	for (i = 0; i < WATCH_TRIES; i++)
		close(many[i]);
	close(fd[0]);
	close(fd[1]);
}

static void timer(void **state)
{
	struct clusterd_inst *inst = open_one(&check);
	int64_t begin = now_ms();

	probe.host->timer(inst, 5000);
	probe.host->timer(inst, 30);
	turn_until(&probe.timers, 0, 2000);
	assert_true(now_ms() - begin >= 29 && now_ms() - begin < 1000);
	turn(50);
	assert_int_equal(probe.timers, 1);
	probe.host->timer(inst, 1);
	probe.host->timer(inst, -1);
	turn(20);
	assert_int_equal(probe.timers, 1);
	probe.host->timer(inst, 0);
	turn_until(&probe.timers, 1, 1000);
	assert_int_equal(probe.timers, 2);
	host_close(inst);
}

/* What it has no callback for it does not get. */
static void no_callbacks(void **state)
{
	struct clusterd_inst *inst = open_one(&bare_check);
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(probe.host->watch(inst, fd[1], POLLOUT), -EINVAL);
	log_begin();
	probe.host->timer(inst, 1);
	turn(20);
	assert_int_equal(count(log_end(), "check web: no timer: the plugin has no timer()"), 1);
	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/bin/true", NULL }, NULL, 100), -EINVAL);
	host_start(inst, 100);
	host_stop(inst);
	host_close(inst);
	close(fd[0]);
	close(fd[1]);
}

/* ---- programs ---- */

static void programs(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/bin/echo", "hi", NULL }, NULL, 5000), 0);
	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/bin/echo", "ho", NULL }, NULL, 5000), -EBUSY);
	turn_until(&probe.dones, 0, 5000);
	assert_string_equal(probe.out, "hi\n");
	assert_int_equal(probe.status, 0);
	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/bin/sleep", "100", NULL }, NULL, 50), 0);
	turn_until(&probe.dones, 1, 5000);
	assert_int_equal(probe.status, -1);
	log_begin();
	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/no/such", NULL }, NULL, 50), -ENOENT);
	assert_int_equal(probe.host->run(inst, (const char *const[]){ "/no/such", NULL }, NULL, 50), -ENOENT);
	assert_int_equal(count(log_end(), "check web: /no/such cannot be run: it does not exist"), 1);
	assert_int_equal(probe.dones, 2);
	host_close(inst);
}

static int runs_left;

static void run_again(struct probe *p)
{
	if (runs_left-- > 0)
		assert_int_equal(p->host->run(p->inst, (const char *const[]){ "/bin/true", NULL }, NULL, 5000), 0);
}

static void next_program_in_done(void **state)
{
	struct clusterd_inst *inst = open_one(&check);
	int i;

	runs_left = 3;
	in_done = run_again;
	run_again(&probe);
	for (i = 0; i < 3; i++)
		turn_until(&probe.dones, i, 5000);
	assert_int_equal(probe.dones, 3);
	host_close(inst);
}

/* ---- what goes wrong ---- */

static void open_fails_and_is_tried_again(void **state)
{
	struct clusterd_inst *inst;
	int64_t begin = now_ms();

	log_begin();
	open_fails = 1;
	memset(&probe, 0, sizeof(probe));
	inst = open_one(&check);
	assert_false(host_is_open(inst));
	user.start_it = inst;			/* a user in a hurry */
	host_start(inst, 100);
	assert_int_equal(user.reports, 1);
	assert_int_equal(user.value, CLUSTERD_DEAD);
	assert_string_equal(user.why, "cannot be opened: Address already in use");
	host_stop(inst);
	turn(50);
	assert_int_equal(probe.timers, 0);
	while (!host_is_open(inst) && now_ms() - begin < 12000)
		sd_event_run(event, 100000);
	assert_true(host_is_open(inst));
	assert_true(now_ms() - begin >= 9900);
	assert_string_equal(probe.value, "80");	/* the options were kept */
	host_close(inst);
	open_fails = 1;
	inst = open_one(&monitor);
	host_start(inst, 100);
	assert_int_equal(user.reports, 0);
	user.close_it = NULL;
	host_close(inst);
	log_end();
	assert_int_equal(count(log_text, "check web: cannot be opened: Address already in use; tried again every 10 s"), 2);
	assert_int_equal(count(log_text, "check web: open now"), 1);
}

static void closed_when_told_that_it_is_not_open(void **state)
{
	struct clusterd_inst *inst;

	log_begin();
	open_fails = 1;
	inst = open_one(&check);
	memset(&probe, 0, sizeof(probe));
	user.close_it = inst;
	host_start(inst, 100);
	assert_int_equal(user.reports, 1);
	assert_int_equal(probe.closes, 0);
	log_end();
}

static void sleep_long(struct probe *p)
{
	usleep(60000);
}

static void burn(struct probe *p)
{
	struct timespec ts;
	int64_t until;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	until = ts.tv_sec * 1000000000ll + ts.tv_nsec + 20000000;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	while (ts.tv_sec * 1000000000ll + ts.tv_nsec < until);
}

static void say_and_burn(struct probe *p)
{
	burn(p);
	say_ok(p);
}

static void blocking_is_said_once(void **state)
{
	struct clusterd_inst *inst = open_one(&check);

	log_begin();
	in_start = sleep_long;
	host_start(inst, 100);
	host_start(inst, 100);
	assert_true(host_cpu_us(inst) < 20000);
	log_end();
	assert_int_equal(count(log_text, "check web: start() blocked the daemon for "), 1);
	host_close(inst);
}

static void on_report_burns(void *arg, unsigned int tag, int value, const char *why)
{
	burn(NULL);
	burn(NULL);
	burn(NULL);
}

/* Its own time, not that of those it reports to. */
static void processor_time(void **state)
{
	static const struct clusterd_option none[1];
	struct host_open o = { .plugin = &check, .section = "check web", .opt = none, .n_opt = 0,
			       .report = on_report_burns };
	struct clusterd_inst *inst;

	log_begin();
	assert_int_equal(host_open(host, &inst, &o), 0);
	in_start = say_and_burn;
	host_start(inst, 100);
	assert_in_range(host_cpu_us(inst), 19000, 45000);
	host_start(inst, 100);
	assert_in_range(host_cpu_us(inst), 39000, 90000);
	host_close(inst);
	log_end();
}

static void log_is_limited(void **state)
{
	struct clusterd_inst *inst = open_one(&check);
	int i;

	log_begin();
	for (i = 0; i < 1000; i++)
		probe.host->log(inst, 0, "line %d of it", i);
	log_end();
	assert_int_equal(count(log_text, "of it"), 10);
	assert_int_equal(count(log_text, "<3>plugin: check web: line 0 of it\n"), 1);
	host_close(inst);
}

static int setup(void **state)
{
	return sd_event_new(&event) >= 0 && host_new(&host, event, 250, &host_ops, NULL) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	host_free(host);
	sd_event_unref(event);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_answer_per_question),
		cmocka_unit_test(values_and_facts),
		cmocka_unit_test(what_the_host_knows),
		cmocka_unit_test(closed_in_its_report),
		cmocka_unit_test(closed_in_a_timer),
		cmocka_unit_test(closed_in_done),
		cmocka_unit_test(another_is_closed),
		cmocka_unit_test(started_in_its_report),
		cmocka_unit_test(host_closes_all),
		cmocka_unit_test(watches),
		cmocka_unit_test(timer),
		cmocka_unit_test(no_callbacks),
		cmocka_unit_test(programs),
		cmocka_unit_test(next_program_in_done),
		cmocka_unit_test(open_fails_and_is_tried_again),
		cmocka_unit_test(closed_when_told_that_it_is_not_open),
		cmocka_unit_test(blocking_is_said_once),
		cmocka_unit_test(processor_time),
		cmocka_unit_test(log_is_limited),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

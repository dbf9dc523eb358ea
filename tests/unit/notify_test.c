/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of the notify hook; the programs themselves are made up here (plug/child.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "core/agent.h"
#include "plug/child.h"
#include "plug/notify.h"

/* ---- a made-up child ---- */

struct child { struct child_params p; };

static struct { unsigned int runs, frees; int err; char path[64], env[16][200]; unsigned int n_env;
		struct child *now; } seen;

int child_run(struct child **out, const struct child_params *p)
{
	assert_null(seen.now);		/* one at a time */
	seen.runs++;
	if (seen.err)
		return seen.err;
	assert_int_equal(p->timeout_ms, NOTIFY_TIMEOUT_MS);
	assert_null(p->argv[1]);
	snprintf(seen.path, sizeof(seen.path), "%s", p->argv[0]);
	for (seen.n_env = 0; p->env[seen.n_env]; seen.n_env++)
		snprintf(seen.env[seen.n_env], sizeof(seen.env[0]), "%s", p->env[seen.n_env]);
	seen.now = *out = calloc(1, sizeof(**out));
	(*out)->p = *p;
	return 0;
}

void child_free(struct child *c)
{
	if (!c)
		return;
	assert_ptr_equal(c, seen.now);
	seen.frees++;
	seen.now = NULL;
	free(c);
}

const char *child_status_str(int status, char buf[CHILD_STATUS_STR])
{
	snprintf(buf, CHILD_STATUS_STR, "status %d", status);
	return buf;
}

const char *child_error_str(const char *path, int error)
{
	return error == -ENOENT ? "it does not exist" : "it is not executable";
}

static void end(int status)
{
	struct child *c = seen.now;

	assert_non_null(c);
	c->p.done(c->p.arg, status, "", 0);
}

/* ---- */

static struct conf conf;
static sd_event *loop;
static struct notify *hook;
static int stderr_was, log_fd;
static char log_path[] = "/tmp/clusterd-notify-XXXXXX";

static int setup(void **state)
{
	memset(&seen, 0, sizeof(seen));
	memset(&conf, 0, sizeof(conf));
	strcpy(conf.name, "web");
	conf.n_nodes = 3;
	for (unsigned int i = 0; i < 3; i++)
		snprintf(conf.node[i].name, NAME_SIZE, "n%u", i + 1);
	conf.n_services = 1;
	strcpy(conf.service[0].name, "www");
	strcpy(log_path + strlen(log_path) - 6, "XXXXXX");
	log_fd = mkstemp(log_path);
	stderr_was = dup(STDERR_FILENO);
	if (log_fd < 0 || sd_event_new(&loop) < 0 || notify_new(&hook, loop, &conf, 2))
		return -1;
	dup2(log_fd, STDERR_FILENO);
	return notify_set(hook, "/usr/local/bin/hook");
}

static int teardown(void **state)
{
	notify_free(hook);
	sd_event_unref(loop);
	dup2(stderr_was, STDERR_FILENO);
	close(stderr_was);
	close(log_fd);
	unlink(log_path);
	return seen.now ? -1 : 0;
}

/* How often that is in the log. */
static unsigned int logged(const char *part)
{
	static char text[65536];
	ssize_t len = pread(log_fd, text, sizeof(text) - 1, 0);
	unsigned int n = 0;

	assert_true(len >= 0);
	text[len] = '\0';
	for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
		n++;
	return n;
}

static void add(const char *name)
{
	const struct agent_event e = { .priority = LOG_NOTICE, .name = name, .text = "text",
				       .service = -1 };

	notify_add(hook, &e);
}

static const char *var(const char *name)
{
	size_t len = strlen(name);

	for (unsigned int i = 0; i < seen.n_env; i++)
		if (!strncmp(seen.env[i], name, len) && seen.env[i][len] == '=')
			return seen.env[i] + len + 1;
	return NULL;
}

static void the_environment_says_it_all(void **state)
{
	char text[EVENT_TEXT + 100];
	struct agent_event e = { .priority = LOG_WARNING, .name = "TAKE_OVER",
				 .text = "n1 takes \"over\" $(id)", .node = 3, .by = 1, .service = 0,
				 .buckets = 1365 };
	struct timespec ts;
	int64_t now, told;

	notify_add(hook, &e);
	assert_string_equal(seen.path, "/usr/local/bin/hook");
	assert_int_equal(seen.n_env, 10);
	assert_string_equal(var("CLUSTERD_EVENT"), "TAKE_OVER");
	assert_string_equal(var("CLUSTERD_TEXT"), "n1 takes \"over\" $(id)");
	assert_string_equal(var("CLUSTERD_PRIORITY"), "4");
	assert_string_equal(var("CLUSTERD_CLUSTER"), "web");
	assert_string_equal(var("CLUSTERD_LOCAL"), "n2");
	assert_string_equal(var("CLUSTERD_NODE"), "n3");
	assert_string_equal(var("CLUSTERD_BY"), "n1");
	assert_string_equal(var("CLUSTERD_SERVICE"), "www");
	assert_string_equal(var("CLUSTERD_BUCKETS"), "1365");
	clock_gettime(CLOCK_REALTIME, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	told = strtoll(var("CLUSTERD_TIME"), NULL, 10);
	assert_true(told <= now && told > now - 10000);
	end(0);
	/* What there is none of is not set; names that are gone are none. */
	e = (struct agent_event){ .priority = LOG_INFO, .name = "X", .text = "", .service = 1, .by = 4 };
	notify_add(hook, &e);
	assert_int_equal(seen.n_env, 6);
	assert_string_equal(var("CLUSTERD_TEXT"), "");
	assert_null(var("CLUSTERD_NODE"));
	assert_null(var("CLUSTERD_BY"));
	assert_null(var("CLUSTERD_SERVICE"));
	assert_null(var("CLUSTERD_BUCKETS"));
	end(0);
	/* Everything as long as can be. */
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memset(conf.node[1].name, 'y', NAME_SIZE - 1);
	memset(conf.name, 'z', NAME_SIZE - 1);
	memset(conf.service[0].name, 's', NAME_SIZE - 1);
	e = (struct agent_event){ .priority = 0, .name = "A_NAME_OF_THIRTY_ONE_CHARACTERS", .text = text,
				  .node = 2, .by = 2, .buckets = UINT32_MAX };
	notify_add(hook, &e);
	assert_int_equal(seen.n_env, 10);
	assert_string_equal(var("CLUSTERD_BUCKETS"), "4294967295");
	assert_int_equal(strlen(var("CLUSTERD_TEXT")), EVENT_TEXT);
	assert_int_equal(strlen(var("CLUSTERD_SERVICE")), NAME_SIZE - 1);
	end(0);
}

static void one_after_the_other_in_order(void **state)
{
	add("A");
	add("B");
	add("C");
	assert_int_equal(seen.runs, 1);
	assert_string_equal(var("CLUSTERD_EVENT"), "A");
	end(0);
	assert_string_equal(var("CLUSTERD_EVENT"), "B");
	add("D");
	end(1 << 8);		/* that it failed changes nothing for the next */
	assert_string_equal(var("CLUSTERD_EVENT"), "C");
	end(-1);
	assert_string_equal(var("CLUSTERD_EVENT"), "D");
	end(0);
	assert_int_equal(seen.runs, 4);
	assert_int_equal(seen.frees, 4);
	assert_null(seen.now);
	assert_int_equal(logged("for B: status 256"), 1);
	assert_int_equal(logged("for C"), 0);	/* one line in ten seconds */
}

static void a_slow_one_loses_the_oldest(void **state)
{
	char name[16];
	unsigned int i;

	for (i = 0; i < NOTIFY_QUEUE + 6; i++) {	/* one runs, 64 wait, 5 are too many */
		snprintf(name, sizeof(name), "E%u", i);
		add(name);
	}
	assert_int_equal(seen.runs, 1);
	assert_string_equal(var("CLUSTERD_EVENT"), "E0");
	for (i = 6; i < NOTIFY_QUEUE + 6; i++) {
		end(0);
		snprintf(name, sizeof(name), "E%u", i);
		assert_string_equal(var("CLUSTERD_EVENT"), name);
	}
	end(0);
	assert_null(seen.now);
	assert_int_equal(logged("is too slow: 64 events wait, the oldest were dropped: 1\n"), 1);
	assert_int_equal(logged("too slow"), 1);
}

static void one_that_cannot_be_started(void **state)
{
	seen.err = -ENOENT;
	for (unsigned int i = 0; i < 100; i++)
		add("A");
	assert_int_equal(seen.runs, 100);	/* tried for each: it may be there again */
	assert_int_equal(logged("/usr/local/bin/hook, for A: it does not exist"), 1);
	assert_int_equal(logged("\n"), 1);
	seen.err = 0;
	add("B");
	assert_string_equal(var("CLUSTERD_EVENT"), "B");
	/* It goes away while others wait. */
	add("C");
	add("D");
	seen.err = -EACCES;
	end(0);
	assert_int_equal(seen.runs, 103);
	assert_null(seen.now);
}

static void it_can_be_changed(void **state)
{
	char path[CONF_TEXT + 1];

	add("A");
	add("B");
	add("C");
	assert_int_equal(notify_set(hook, "/other"), 0);
	end(0);
	assert_string_equal(seen.path, "/other");
	assert_string_equal(var("CLUSTERD_EVENT"), "B");
	assert_int_equal(notify_set(hook, ""), 0);
	assert_non_null(seen.now);		/* B goes on to its end */
	end(0);
	assert_null(seen.now);
	add("D");
	assert_int_equal(notify_set(hook, NULL), 0);
	add("E");
	assert_int_equal(seen.runs, 2);
	memset(path, '/', CONF_TEXT);
	path[CONF_TEXT] = '\0';
	assert_int_equal(notify_set(hook, path), -ENAMETOOLONG);
	assert_int_equal(notify_set(hook, "/third"), 0);
	add("F");
	assert_string_equal(seen.path, "/third");
	/* The end of all, with one that runs and one that waits: teardown() looks. */
	add("G");
}

static void debug_events_are_not_told(void **state)
{
	const struct agent_event e = { .priority = LOG_DEBUG, .name = "REWEIGH", .text = "",
				       .service = -1 };

	notify_add(hook, &e);
	assert_int_equal(seen.runs, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_environment_says_it_all, setup, teardown),
		cmocka_unit_test_setup_teardown(one_after_the_other_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_one_loses_the_oldest, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_cannot_be_started, setup, teardown),
		cmocka_unit_test_setup_teardown(it_can_be_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(debug_events_are_not_told, setup, teardown),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}

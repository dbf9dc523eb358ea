/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The notify hook with real programs. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "core/agent.h"
#include "plug/notify.h"

static struct conf conf;
static sd_event *loop;
static struct notify *hook;
static char dir[] = "/tmp/clusterd-hook-XXXXXX", script[64], out[64];

static int group_setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(script, sizeof(script), "%s/hook", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	return 0;
}

static int group_teardown(void **state)
{
	unlink(script);
	unlink(out);
	return rmdir(dir);
}

static int setup(void **state)
{
	strcpy(conf.name, "web");
	conf.n_nodes = 1;
	strcpy(conf.node[0].name, "n1");
	unlink(out);
	return sd_event_new(&loop) < 0 || notify_new(&hook, loop, &conf, 1) ? -1 : notify_set(hook, script);
}

static int teardown(void **state)
{
	notify_free(hook);
	sd_event_unref(loop);
	return 0;
}

static void write_hook(const char *text)
{
	FILE *f = fopen(script, "w");

	assert_non_null(f);
	fprintf(f, "#!/bin/sh\nO='%s'\n%s\n", out, text);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(script, 0755), 0);
}

/* Turns the loop until the hooks have written that many lines, 10 s at most. */
static const char *written(unsigned int lines)
{
	static char text[4096];

	for (unsigned int i = 0; i < 1000; i++) {
		FILE *f = fopen(out, "r");
		size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
		unsigned int n = 0;

		if (f)
			fclose(f);
		text[len] = '\0';
		for (const char *p = text; (p = strchr(p, '\n')); p++)
			n++;
		if (n >= lines)
			return text;
		assert_true(sd_event_run(loop, 10000) >= 0);
	}
	fail_msg("%u lines are not there: %s", lines, text);
	return NULL;
}

static void add(const char *name, unsigned int node)
{
	const struct agent_event e = { .priority = LOG_NOTICE, .name = name, .text = "it's; \"so\"",
				       .node = (uint8_t)node, .service = -1 };

	notify_add(hook, &e);
}

static void they_run_in_order(void **state)
{
	/* The first one is the slowest. */
	write_hook("[ $CLUSTERD_EVENT = A ] && sleep 0.3\n"
		   "echo \"$# $CLUSTERD_EVENT ${CLUSTERD_NODE-none} $CLUSTERD_TEXT $CLUSTERD_LOCAL\" >>$O\n"
		   "exit 3");
	add("A", 1);
	add("B", NOBODY);
	add("C", 1);
	assert_string_equal(written(3), "0 A n1 it's; \"so\" n1\n0 B none it's; \"so\" n1\n"
			    "0 C n1 it's; \"so\" n1\n");
}

static void what_runs_at_the_end_is_killed(void **state)
{
	write_hook("echo $$ >>$O; sleep 60; echo late >>$O");
	add("A", 1);
	add("B", 1);
	pid_t pid = (pid_t)atoi(written(1));

	assert_true(pid > 1);
	assert_int_equal(kill(pid, 0), 0);
	notify_free(hook);
	hook = NULL;
	for (unsigned int i = 0; i < 100 && !kill(pid, 0); i++)
		sd_event_run(loop, 10000);	/* reaps it */
	assert_int_equal(kill(pid, 0), -1);
}

static void one_that_is_not_there(void **state)
{
	unlink(script);
	add("A", 1);
	add("B", 1);
	write_hook("echo $CLUSTERD_EVENT >>$O");
	add("C", 1);
	assert_string_equal(written(1), "C\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(they_run_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(what_runs_at_the_end_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_is_not_there, setup, teardown),
	};

	return cmocka_run_group_tests_name("notify_run", tests, group_setup, group_teardown);
}

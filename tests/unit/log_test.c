/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events on their way to the journal, before a made-up journal in a mount namespace of its own. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/log.h"

#define JOURNAL "/run/systemd/journal/socket"

static int journal = -1;		/* what sd-journal sends to */
static int out = -1, stderr_was;	/* a file in place of stderr */
static char path[] = "/run/stderr-XXXXXX";
static const char *why_not;

/* Nothing of this is seen outside: /run is a file system of our own until the process ends. */
static int group_setup(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = JOURNAL };

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755")) {
		why_not = strerror(errno);
		return 0;
	}
	if (mkdir("/run/systemd", 0755) || mkdir("/run/systemd/journal", 0755))
		return -1;
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	out = mkstemp(path);
	return out < 0 || bind(journal, (struct sockaddr *)&addr, sizeof(addr)) ? -1 : 0;
}

static int setup(void **state)
{
	char stream[64];
	struct stat st;

	if (why_not)
		return 0;
	stderr_was = dup(STDERR_FILENO);
	if (ftruncate(out, 0) || dup2(out, STDERR_FILENO) < 0 || fstat(out, &st))
		return -1;
	lseek(out, 0, SEEK_SET);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return setenv("JOURNAL_STREAM", stream, 1);
}

static int teardown(void **state)
{
	if (why_not)
		return 0;
	dup2(stderr_was, STDERR_FILENO);
	return close(stderr_was);
}

static void need_journal(void)
{
	if (!why_not)
		return;
	fprintf(stderr, "skipped: no mount namespace: %s\n", why_not);
	skip();
}

/* What the journal got, fields in lines; "" if nothing. */
static const char *got(void)
{
	static char text[8192];
	ssize_t len = recv(journal, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

static const char *printed(void)
{
	static char text[8192];
	ssize_t len = pread(out, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

static void fields_go_to_the_journal(void **state)
{
	struct log_event e = { .name = "TAKE_OVER", .node = "n3", .by = "n1", .service = "web",
			       .buckets = 1365 };

	need_journal();
	log_setup(LOG_INFO, false);
	log_event(LOG_WARNING, "cluster", &e, "n1 takes over from n3");
	assert_string_equal(got(), "MESSAGE=cluster: TAKE_OVER: n1 takes over from n3\n"
			    "PRIORITY=4\n"
			    "SYSLOG_IDENTIFIER=clusterd\n"
			    "CLUSTERD_EVENT=TAKE_OVER\n"
			    "CLUSTERD_NODE=n3\n"
			    "CLUSTERD_BY=n1\n"
			    "CLUSTERD_SERVICE=web\n"
			    "CLUSTERD_BUCKETS=1365\n");
	/* What there is none of is no field, and nobody forges one. */
	e = (struct log_event){ .name = "X", .node = "", .by = NULL };
	log_event(LOG_INFO, "cluster", &e, "a\nCLUSTERD_NODE=n9");
	assert_string_equal(got(), "MESSAGE=cluster: X: a?CLUSTERD_NODE=n9\n"
			    "PRIORITY=6\n"
			    "SYSLOG_IDENTIFIER=clusterd\n"
			    "CLUSTERD_EVENT=X\n");
	assert_string_equal(printed(), "");	/* once is enough */
	/* The level counts here as well. */
	log_event(LOG_DEBUG, "cluster", &e, "not said");
	assert_string_equal(got(), "");
	/* What is no event goes where it always went. */
	log_msg(LOG_ERR, "start", "said");
	assert_string_equal(printed(), "<3>start: said\n");
}

static void texts_that_are_too_long_are_cut(void **state)
{
	static char text[5000];
	const struct log_event e = { .name = "X", .service = text };
	const char *journalled;

	need_journal();
	memset(text, 'x', sizeof(text) - 1);
	log_setup(LOG_INFO, false);
	log_event(LOG_INFO, "cluster", &e, text);
	journalled = got();
	assert_non_null(strstr(journalled, "\nCLUSTERD_SERVICE=xxx"));
	assert_true(strlen(journalled) < 2200);
}

/* Only the journal's own stream is the journal: what a shell redirects is not, whatever it inherited. */
static void stderr_that_is_no_journal(void **state)
{
	static const char *const streams[] = { "1:2", "", "x", NULL };
	const struct log_event e = { .name = "FAIL_DOWN", .node = "n3" };

	need_journal();
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		if (streams[i])
			setenv("JOURNAL_STREAM", streams[i], 1);
		else
			unsetenv("JOURNAL_STREAM");
		assert_int_equal(ftruncate(out, 0), 0);
		lseek(out, 0, SEEK_SET);
		log_setup(LOG_INFO, false);
		log_event(LOG_NOTICE, "cluster", &e, "n3 is gone");
		assert_string_equal(printed(), "<5>cluster: FAIL_DOWN: n3 is gone\n");
		assert_string_equal(got(), "");
	}
}

/* journald restarts: its socket is there and nobody listens. */
static void a_journal_that_is_away(void **state)
{
	const struct log_event e = { .name = "FAIL_DOWN", .node = "n3" };

	need_journal();
	log_setup(LOG_INFO, false);
	close(journal);
	log_event(LOG_NOTICE, "cluster", &e, "n3 is gone");
	assert_string_equal(printed(), "<5>cluster: FAIL_DOWN: n3 is gone\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(fields_go_to_the_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(texts_that_are_too_long_are_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(stderr_that_is_no_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(a_journal_that_is_away, setup, teardown),
	};

	return cmocka_run_group_tests_name("log", tests, group_setup, NULL);
}

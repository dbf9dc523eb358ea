/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io/unit against a systemd of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>

#include <cmocka.h>

#include "fake_systemd.h"
#include "io/unit.h"

static struct { unsigned int calls; char why[256]; bool free_it; struct unit_restart *r; } told;

static void on_done(void *arg, const char *why)
{
	assert_ptr_equal(arg, &told);
	told.calls++;
	snprintf(told.why, sizeof(told.why), "%s", why ? why : "(fine)");
	if (told.free_it) {
		unit_restart_free(told.r);
		told.r = NULL;
	}
}

static void run_for(sd_event *e, int ms)
{
	uint64_t now, until;

	sd_event_now(e, CLOCK_MONOTONIC, &until);
	for (now = until, until += (uint64_t)ms * 1000; now < until && !told.calls;) {
		assert_true(sd_event_run(e, until - now) >= 0);
		sd_event_now(e, CLOCK_MONOTONIC, &now);
	}
}

static void restart(int timeout_ms, bool free_it, const char *want)
{
	sd_event *e;

	assert_true(sd_event_new(&e) >= 0);
	memset(&told, 0, sizeof(told));
	told.free_it = free_it;
	assert_int_equal(unit_restart(&told.r, e, fake->address, "nginx.service", timeout_ms, on_done,
				      &told), 0);
	assert_int_equal(told.calls, 0);
	run_for(e, 3000);
	assert_int_equal(told.calls, 1);
	assert_string_equal(told.why, want);
	/* Whatever comes now, it is over. */
	sd_event_run(e, 20000);
	sd_event_run(e, 0);
	assert_int_equal(told.calls, 1);
	unit_restart_free(told.r);
	sd_event_unref(e);
}

static void test_results(void **state)
{
	int k;

	for (k = 0; k < 2; k++) {
		restart(2000, k, "(fine)");
		assert_string_equal(fake->restarted, "nginx.service");
		fake->other_job = 1;
		restart(2000, k, "(fine)");
		strcpy(fake->result, "failed");
		restart(2000, k, "job result failed");
		strcpy(fake->result, "canceled");
		restart(2000, k, "job result canceled");
		strcpy(fake->result, "");
		restart(50, k, "took too long");
		strcpy(fake->result, "done");
		fake->other_job = 0;
		strcpy(fake->error, "org.freedesktop.systemd1.NoSuchUnit");
		restart(2000, k, "org.freedesktop.systemd1.NoSuchUnit: because");
		strcpy(fake->error, "");
		fake->hang_up = 1;
		restart(2000, k, "the bus to systemd is gone");
		fake->hang_up = 0;
	}
	assert_int_equal(fake->restarts, 14);
}

static int fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_bus(void **state)
{
	struct unit_restart *r;
	sd_event *e;
	int before = fds(), k;

	for (k = 0; k < 100; k++)
		restart(2000, k & 1, "(fine)");
	assert_int_equal(fds(), before);

	/* Given up: nobody is told. */
	assert_true(sd_event_new(&e) >= 0);
	memset(&told, 0, sizeof(told));
	strcpy(fake->result, "");
	assert_int_equal(unit_restart(&r, e, fake->address, "a.service", 1000, on_done, &told), 0);
	run_for(e, 50);
	unit_restart_free(r);
	run_for(e, 50);
	assert_int_equal(told.calls, 0);
	strcpy(fake->result, "done");

	/* Stopped: nothing is answered.  Killed: there is no bus; then there is one again. */
	fake_systemd_signal(SIGSTOP);
	restart(50, true, "took too long");
	fake_systemd_signal(SIGCONT);
	fake_systemd_kill();
	memset(&told, 0, sizeof(told));
	assert_int_equal(unit_restart(&r, e, fake->address, "a.service", 1000, on_done, &told),
			 -ECONNREFUSED);
	assert_int_equal(unit_restart(&r, e, "unix:path=/nonexistent/bus", "a.service", 1000, on_done,
				      &told), -ENOENT);
	assert_true(unit_restart(&r, e, "rubbish", "a.service", 1000, on_done, &told) < 0);
	assert_int_equal(told.calls, 0);
	unit_restart_free(NULL);
	assert_int_equal(fake_systemd_run(), 0);
	restart(2000, false, "(fine)");

	/* The system's bus is where the environment says. */
	setenv("DBUS_SYSTEM_BUS_ADDRESS", fake->address, 1);
	memset(&told, 0, sizeof(told));
	assert_int_equal(unit_restart(&r, e, NULL, "b.service", 1000, on_done, &told), 0);
	run_for(e, 1000);
	assert_string_equal(told.why, "(fine)");
	assert_string_equal(fake->restarted, "b.service");
	unit_restart_free(r);
	sd_event_unref(e);
	assert_int_equal(fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_results, fake_systemd_start, fake_systemd_stop),
		cmocka_unit_test_setup_teardown(test_bus, fake_systemd_start, fake_systemd_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

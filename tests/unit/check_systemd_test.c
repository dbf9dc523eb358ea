/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check-systemd against a systemd of our own. */
#include "check_host.h"
#include "fake_systemd.h"

static int setup(void **state)
{
	return fake_systemd_start(state) || setenv("DBUS_SYSTEM_BUS_ADDRESS", fake->address, 1);
}

static void says(struct clusterd_inst *i, const char *active, int value, const char *why)
{
	snprintf(fake->active, sizeof(fake->active), "%s", active);
	expect_look(i, 1000, value, why);
	assert_true(i->timer_at < 0);
}

static void test_values(void **state)
{
	struct clusterd_inst *i = fake_open("systemd", "@service", "web", "unit", "nginx", NULL);

	says(i, "active", CLUSTERD_FIT, "");
	assert_string_equal(fake->asked, "/org/freedesktop/systemd1/unit/nginx_2eservice");
	says(i, "reloading", CLUSTERD_FIT, "");
	says(i, "activating", CLUSTERD_WORKS, "nginx.service is activating");
	says(i, "deactivating", CLUSTERD_WORKS, "nginx.service is deactivating");
	says(i, "failed", CLUSTERD_DEAD, "nginx.service is failed");
	says(i, "inactive", CLUSTERD_DEAD, "nginx.service is inactive");
	strcpy(fake->load, "not-found");
	says(i, "inactive", CLUSTERD_DEAD, "there is no unit nginx.service");
	strcpy(fake->load, "masked");
	says(i, "inactive", CLUSTERD_DEAD, "nginx.service is inactive, masked");
	says(i, "something", CLUSTERD_DEAD, "nginx.service is something");
	strcpy(fake->error, "org.freedesktop.systemd1.NoSuchUnit");
	says(i, "active", CLUSTERD_DEAD, "there is no unit nginx.service");
	strcpy(fake->error, "");
	says(i, "active", CLUSTERD_FIT, "");
	fake_close(i);
	i = fake_open("systemd", "unit", "a-b@1.socket", NULL);
	says(i, "active", CLUSTERD_FIT, "");
	assert_string_equal(fake->asked, "/org/freedesktop/systemd1/unit/a_2db_401_2esocket");
	fake_close(i);
}

/* Nobody answers: that says nothing of the service, for three looks. */
static void silent(struct clusterd_inst *i, int last, const char *why)
{
	int k;

	for (k = 0; k < 3; k++)
		expect_look(i, 60, last, why);
	expect_look(i, 60, CLUSTERD_WORKS, why);
	expect_look(i, 60, CLUSTERD_WORKS, why);
	assert_true(i->timer_at < 0);
}

static void test_lost(void **state)
{
	struct clusterd_inst *i = fake_open("systemd", "unit", "nginx.service", NULL);
	int before = fake_fds();

	says(i, "active", CLUSTERD_FIT, "");
	fake_systemd_kill();
	silent(i, CLUSTERD_FIT, "systemd does not answer");
	assert_int_equal(fake_fds(), before);
	assert_int_equal(i->n, 0);
	assert_int_equal(fake_systemd_run(), 0);
	says(i, "failed", CLUSTERD_DEAD, "nginx.service is failed");
	fake_systemd_signal(SIGSTOP);
	silent(i, CLUSTERD_DEAD, "systemd does not answer within 60 ms");
	fake_systemd_signal(SIGCONT);
	says(i, "active", CLUSTERD_FIT, "");
	/* The bus answers, systemd does not. */
	fake->active[0] = '\0';
	silent(i, CLUSTERD_FIT, "systemd does not answer within 60 ms");
	says(i, "active", CLUSTERD_FIT, "");
	strcpy(fake->error, "org.freedesktop.DBus.Error.ServiceUnknown");
	silent(i, CLUSTERD_FIT, "systemd does not answer: org.freedesktop.DBus.Error.ServiceUnknown");
	strcpy(fake->error, "");

	/* Lost while nobody looks: noticed, not reported. */
	says(i, "active", CLUSTERD_FIT, "");
	fake_systemd_kill();
	assert_int_equal(i->n, 1);
	fake_step(i, fake_now(i) + 500);
	assert_int_equal(i->n, 0);
	assert_int_equal(i->reports, 0);
	fake_close(i);

	/* From the start: nothing is known of the service. */
	i = fake_open("systemd", "unit", "nginx.service", NULL);
	expect_look(i, 60, CLUSTERD_WORKS, "systemd does not answer: Connection refused");
	fake_close(i);
	assert_int_equal(fake_systemd_run(), 0);
}

static void test_many(void **state)
{
	struct clusterd_inst *i = fake_open("systemd", "unit", "nginx.service", NULL);
	int before, k;
	int64_t cpu;

	says(i, "active", CLUSTERD_FIT, "");
	before = fake_fds();
	cpu = thread_cpu_us();
	for (k = 0; k < 10000; k++) {
		if (fake_look(i, 1000) != CLUSTERD_FIT)
			fail_msg("look %d: %s", k, i->why);
	}
	print_message("systemd: %.1f us of CPU per look\n", (double)(thread_cpu_us() - cpu) / 10000);
	assert_int_equal(fake_fds(), before);
	assert_int_equal(fake->connections, 1);

	/* Given up, and asked again: the late answer is not taken for the new one. */
	strcpy(fake->active, "failed");
	fake_systemd_signal(SIGSTOP);
	i->ops->start(i->priv, 1000);
	i->ops->stop(i->priv);
	fake_systemd_signal(SIGCONT);
	usleep(50000);
	says(i, "active", CLUSTERD_FIT, "");
	assert_int_equal(i->reports, 0);
	i->close_in_report = true;
	assert_int_equal(fake_look(i, 1000), CLUSTERD_FIT);
	free(i);
	assert_int_equal(fake_fds(), before - 2);
}

static void test_options(void **state)
{
	const char *bad[] = { "a b.service", "../x", "-x.service", "a/b.service", ".service" };
	size_t k;

	for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
		assert_string_equal(fake_validate("systemd", "unit", bad[k], NULL),
				    "unit: is no name of a unit; write it as nginx.service");
	assert_string_equal(fake_validate("systemd", NULL), "unit: is missing; systemd needs it");
	assert_string_equal(fake_validate("systemd", "units", "a", NULL),
			    "units: unknown key; did you mean \"unit\"?");
	assert_string_equal(fake_validate("systemd", "unit", "a-\\x2d@b:c_.path", NULL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_values, setup, fake_systemd_stop),
		cmocka_unit_test_setup_teardown(test_lost, setup, fake_systemd_stop),
		cmocka_unit_test_setup_teardown(test_many, setup, fake_systemd_stop),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

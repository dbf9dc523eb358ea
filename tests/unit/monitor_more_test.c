/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors of connections, interfaces, and by a program. */
#include "monitor_common.h"

extern const struct clusterd_plugin clusterd_plugin_monitor_conn, clusterd_plugin_monitor_net,
	clusterd_plugin_monitor_exec;

#define CONN (&clusterd_plugin_monitor_conn)
#define NET  (&clusterd_plugin_monitor_net)
#define EXEC (&clusterd_plugin_monitor_exec)

#define STAT "/sys/class/net/eth0/statistics"

static struct clusterd_inst in;

/* ---- conn ---- */

static void test_conn(void **state)
{
	assert_int_equal(start(&in, CONN, PAIRS("service=web", "capacity=400")), 0);
	assert_false(look(&in, 0));		/* not known yet: said once */
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	in.connections = 100;
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	assert_string_equal(in.why, "100 of 400 connections");
	in.connections = 0;
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 0);
	in.connections = INT64_MAX;
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	stop(&in);
}

/* A node of capacity 200 takes twice as many; one of 1 still takes one. */
static void test_conn_capacity(void **state)
{
	struct clusterd_option opt[] = { { "service", "web" }, { "capacity", "10" } };

	memset(&in, 0, sizeof(in));
	in.plugin = CONN;
	in.capacity = 200;
	assert_int_equal(CONN->observer->open(&in.priv, &fake_host, &in, opt, 2), 0);
	in.connections = 10;
	assert_true(look(&in, 0));
	assert_int_equal(in.value, 500);
	stop(&in);
	in.capacity = 1;
	assert_int_equal(CONN->observer->open(&in.priv, &fake_host, &in, opt, 2), 0);
	in.connections = 1;
	assert_true(look(&in, 0));
	assert_int_equal(in.value, 1000);
	stop(&in);
}

#define MUST_CAPACITY "must be a number from 1 to 1000000000: the connections that count as full load"

static void test_conn_options(void **state)
{
	assert_bad(CONN, NO_PAIRS, "service: is missing: must be the name of a service");
	assert_bad(CONN, PAIRS("service=web"), "capacity: is missing: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("service="), "service: must be the name of a service");
	assert_bad(CONN, PAIRS("service=web", "capacity=0"), "capacity: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("service=web", "capacity=1000000001"), "capacity: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("service=web", "capacity=99999999999999999999"), "capacity: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("service=web", "capacity= 5"), "capacity: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("service=web", "capacity=5x"), "capacity: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("service=web", "capacity=-5"), "capacity: " MUST_CAPACITY);
	assert_bad(CONN, PAIRS("x=1"), "x: unknown key; this monitor has: service, capacity");
}

/* ---- net ---- */

static void bytes(const char *rx, const char *tx)
{
	put(STAT "/rx_bytes", rx);
	put(STAT "/tx_bytes", tx);
}

static void test_net(void **state)
{
	bytes("1000\n", "5000\n");
	assert_int_equal(start(&in, NET, PAIRS("interface=eth0", "speed=100")), 0);
	assert_false(look(&in, 0));
	/* 100 Mbit/s are 12500 bytes per ms: 1250000 bytes in 200 ms are half of it */
	bytes("1251000\n", "6000\n");
	assert_true(look(&in, 200));
	assert_int_equal(in.value, 500);
	assert_string_equal(in.why, "50 of 100 Mbit/s in");
	bytes("1251000\n", "3131000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	assert_string_equal(in.why, "25 of 100 Mbit/s out");
	assert_false(look(&in, 0));
	/* the interface is another one; the clock goes back */
	bytes("0\n", "0\n");
	assert_false(look(&in, 1000));
	assert_false(look(&in, -5000));
	bytes("1250000\n", "0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	bytes("18446744073709551615\n", "0\n");		/* no such growth */
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 0);
	assert_int_equal(in.logs, 0);
	bytes("garbage\n", "0\n");
	assert_false(look(&in, 1000));
	bytes("", "");
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	assert_string_equal(in.log, "the counters of eth0 cannot be read: no numbers");
	stop(&in);
}

static void test_net_speed(void **state)
{
	bytes("0\n", "0\n");
	assert_int_equal(start(&in, NET, PAIRS("interface=eth0")), -ENODATA);
	assert_string_equal(in.log, "the speed of eth0 is not known: set 'speed' to its Mbit/s, or bring its link up");
	put("/sys/class/net/eth0/speed", "-1\n");
	assert_int_equal(start(&in, NET, PAIRS("interface=eth0")), -ENODATA);
	put("/sys/class/net/eth0/speed", "4294967295\n");
	assert_int_equal(start(&in, NET, PAIRS("interface=eth0")), -ENODATA);
	put("/sys/class/net/eth0/speed", "1000\n");
	assert_int_equal(start(&in, NET, PAIRS("interface=eth0")), 0);
	look(&in, 0);
	bytes("12500000\n", "0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	/* it comes back at a tenth of the speed, and is asked after a minute; unknown: what was known */
	put("/sys/class/net/eth0/speed", "100\n");
	bytes("25000000\n", "0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	look(&in, 60000);
	bytes("31250000\n", "0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	put("/sys/class/net/eth0/speed", "-1\n");
	look(&in, 60000);
	bytes("37500000\n", "0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	stop(&in);
	gone(STAT "/tx_bytes");
	assert_int_equal(start(&in, NET, PAIRS("interface=eth0")), -ENOENT);
	assert_string_equal(in.log, STAT "/tx_bytes: No such file or directory");
}

static void test_net_capacity(void **state)
{
	struct clusterd_option opt[] = { { "interface", "eth0" }, { "speed", "1000000" } };

	bytes("0\n", "0\n");
	memset(&in, 0, sizeof(in));
	in.plugin = NET;
	in.capacity = 10000;
	assert_int_equal(NET->observer->open(&in.priv, &fake_host, &in, opt, 2), 0);
	look(&in, 0);
	bytes("0\n", "625000000000000\n");	/* half of 100 Tbit/s for 100 s */
	assert_true(look(&in, 100000));
	assert_int_equal(in.value, 500);
	stop(&in);
}

#define MUST_INTERFACE "must be the name of an interface, such as eth0"
#define MUST_SPEED "must be a number from 1 to 1000000: Mbit/s"

static void test_net_options(void **state)
{
	assert_bad(NET, NO_PAIRS, "interface: is missing: " MUST_INTERFACE);
	assert_bad(NET, PAIRS("interface="), "interface: " MUST_INTERFACE);
	assert_bad(NET, PAIRS("interface=.."), "interface: " MUST_INTERFACE);
	assert_bad(NET, PAIRS("interface=../x"), "interface: " MUST_INTERFACE);
	assert_bad(NET, PAIRS("interface=0123456789abcdef"), "interface: " MUST_INTERFACE);
	assert_bad(NET, PAIRS("interface=eth0", "speed=0"), "speed: " MUST_SPEED);
	assert_bad(NET, PAIRS("interface=eth0", "speed=1Gbit"), "speed: " MUST_SPEED);
	assert_bad(NET, PAIRS("interface=eth0", "speed=1000001"), "speed: " MUST_SPEED);
	assert_bad(NET, PAIRS("device=eth0"), "device: unknown key; this monitor has: interface, speed");
}

/* ---- exec ---- */

static bool done(int status, const char *out)
{
	unsigned int before = in.reports;

	EXEC->observer->done(in.priv, status, out, strlen(out));
	return in.reports != before;
}

static void test_exec(void **state)
{
	static const char *const bad[] = {
		"", "\n", "x\n", "-1\n", "1001\n", "12x\n", "12.5\n", "load 5\n", "99999999999999999999\n",
		"\x01\x02\xff\n", "\n500\n",
	};

	assert_int_equal(start(&in, EXEC, PAIRS("path=/bin/x", "arg1=a b", "arg2=-c")), 0);
	assert_false(look(&in, 1000));
	assert_int_equal(in.runs, 1);
	assert_string_equal(in.argv, "[/bin/x][a b][-c]");
	assert_int_equal(in.timeout_ms, 1000);
	assert_true(done(0, "500 the queue is long\nmore\n"));
	assert_int_equal(in.value, 500);
	assert_string_equal(in.why, "the queue is long");
	assert_true(done(0, " 0"));
	assert_int_equal(in.value, 0);
	assert_string_equal(in.why, "");
	assert_true(done(0, "1000\t\x1b[31mred \xc3\xa4\r\n"));
	assert_int_equal(in.value, 1000);
	assert_string_equal(in.why, "?[31mred \xc3\xa4");
	assert_int_equal(in.logs, 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(done(0, bad[i]));
	assert_int_equal(in.logs, 1);		/* once, not once per look */
	assert_true(done(0, "7"));
	assert_false(done(0, "much\n"));
	assert_int_equal(in.logs, 2);
	assert_string_equal(in.log, "/bin/x: its first line must be a number from 0 to 1000 and a text, not 'much'");
	assert_false(done(-1, "500\n"));
	assert_string_equal(in.log, "/bin/x took too long and was killed");
	assert_false(done(3 << 8, "500\n"));
	assert_string_equal(in.log, "/bin/x ended with status 3");
	assert_false(done(9, "500\n"));
	assert_string_equal(in.log, "/bin/x was ended by signal 9");
	assert_int_equal(in.logs, 5);
	/* not there, as the host says; the one before is still running */
	in.run_result = -ENOENT;
	look(&in, 1000);
	in.run_result = -EBUSY;
	look(&in, 1000);
	assert_int_equal(in.logs, 5);
	stop(&in);
	assert_int_equal(start(&in, EXEC, PAIRS("path=/bin/x", "arg1=1", "arg2=2", "arg3=3", "arg4=")), 0);
	look(&in, 0);
	assert_string_equal(in.argv, "[/bin/x][1][2][3][]");
	stop(&in);
}

static void test_exec_options(void **state)
{
	assert_bad(EXEC, NO_PAIRS, "path: is missing: must be the absolute path of a program");
	assert_bad(EXEC, PAIRS("path=x"), "path: must be the absolute path of a program");
	assert_bad(EXEC, PAIRS("path=/"), "path: must be the absolute path of a program");
	assert_bad(EXEC, PAIRS("path=/bin/"), "path: must be the absolute path of a program");
	assert_bad(EXEC, PAIRS("path=/x", "arg2=b"), "arg2: needs 'arg1' as well");
	assert_bad(EXEC, PAIRS("path=/x", "arg5=b"),
		   "arg5: unknown key; this monitor has: path, arg1, arg2, arg3, arg4");
}

static void test_descriptors(void **state)
{
	const struct clusterd_plugin *const all[] = { CONN, NET, EXEC };

	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(all[i]->abi, CLUSTERD_PLUGIN_ABI);
		assert_int_equal(all[i]->size, sizeof(struct clusterd_plugin));
		assert_int_equal(all[i]->kind, CLUSTERD_MONITOR);
		assert_null(all[i]->policy);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_descriptors),
		T(test_conn), T(test_conn_capacity), T(test_conn_options),
		T(test_net), T(test_net_speed), T(test_net_capacity), T(test_net_options),
		T(test_exec), T(test_exec_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

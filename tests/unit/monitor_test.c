/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitors of processors, memory, pressure and disks.
 * "monitor_test bench" looks at the real /proc and says what a look costs.
 */
#include "monitor_common.h"

#include <time.h>

extern const struct clusterd_plugin clusterd_plugin_monitor_cpu, clusterd_plugin_monitor_disk,
	clusterd_plugin_monitor_memory, clusterd_plugin_monitor_psi, clusterd_plugin_monitor_net;

#define CPU    (&clusterd_plugin_monitor_cpu)
#define DISK   (&clusterd_plugin_monitor_disk)
#define MEMORY (&clusterd_plugin_monitor_memory)
#define PSI    (&clusterd_plugin_monitor_psi)

#define CG "/sys/fs/cgroup/web"
#define MUST_CGROUP "must be the directory of a control group, such as /sys/fs/cgroup/web"
#define HUGE_NUMBER "99999999999999999999999999"

static struct clusterd_inst in;

/* ---- cpu ---- */

static void test_cpu_machine(void **state)
{
	put("/proc/stat", "cpu  100 0 100 1000 50 0 0 0 7 0\ncpu0 1 2 3 4 5\nintr 1 2 3\nprocs_running 1\n"
	    "procs_blocked 3\n");
	assert_int_equal(start(&in, CPU, NO_PAIRS), 0);
	assert_false(look(&in, 0));		/* nothing to compare with */
	assert_true(in.has_fact[CLUSTERD_BLOCKED]);
	assert_int_equal(in.fact[CLUSTERD_BLOCKED], 3);
	/* user 20, system 10, irq 5, steal 15 = 50 busy of 200; iowait is idle */
	put("/proc/stat", "cpu  120 0 110 1100 100 5 0 15 7 0\nprocs_blocked 0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	assert_int_equal(in.fact[CLUSTERD_CPU_IDLE], 750);
	assert_int_equal(in.fact[CLUSTERD_BLOCKED], 0);
	assert_string_equal(in.why, "25.0 % of all processors busy");
	/* no tick in between: no value, and the next one is right */
	assert_false(look(&in, 1));
	/* iowait goes backwards, as the kernel says it may: 60 of 60 */
	put("/proc/stat", "cpu  160 0 130 1100 90 5 0 15 7 0\nprocs_blocked 0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	/* all go backwards: no value, then from there */
	put("/proc/stat", "cpu  1 0 1 10 0 0 0 0 0 0\n");
	assert_false(look(&in, 1000));
	put("/proc/stat", "cpu  1 0 1 20 0 0 0 0 0 0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 0);
	assert_int_equal(in.logs, 0);
	/* an old kernel: four times and iowait */
	put("/proc/stat", "cpu  11 0 1 30 0");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	/* a jump beyond all bounds in one field is no time */
	put("/proc/stat", "cpu  18446744073709551615 0 2 31 0 0 0 0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	assert_int_equal(in.logs, 0);
	put("/proc/stat", "cpu  19 0 3 50 " HUGE_NUMBER " 0 0 0\n");
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	stop(&in);
}

/* What is left of a line that is too long is no line of its own. */
static void test_cpu_cut(void **state)
{
	static char text[6000];

	for (int at = 4080; at < 4110; at++) {
		memset(text, 'x', (size_t)at);
		strcpy(text + at, "procs_blocked 77\ncpu  1 2 3 4 5 6 7 8\nprocs_blocked 5\n");
		put("/proc/stat", text);
		assert_int_equal(start(&in, CPU, NO_PAIRS), 0);
		look(&in, 0);
		assert_int_equal(in.fact[CLUSTERD_BLOCKED], 5);
		stop(&in);
	}
}

/* The rest of the file is long: interrupts of a large machine. */
static void test_cpu_long(void **state)
{
	static char text[200000];
	size_t len = 0;

	for (int t = 0; t < 2; t++) {
		len = (size_t)snprintf(text, sizeof(text), "cpu  %d 0 0 100 0 0 0 0\nintr", 100 + t * 30);
		for (int i = 0; i < 20000; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, " %d", i);
		snprintf(text + len, sizeof(text) - len, "\nctxt 5\nprocs_blocked 12\nsoftirq 1");
		put("/proc/stat", text);
		if (t == 0)
			assert_int_equal(start(&in, CPU, NO_PAIRS), 0);
		assert_int_equal(look(&in, 1000), t);
		assert_int_equal(in.fact[CLUSTERD_BLOCKED], 12);
	}
	assert_int_equal(in.value, 1000);
	stop(&in);
}

static void test_cpu_garbage(void **state)
{
	static const char *const bad[] = {
		"", "\n\n", "cpu", "cpu \n", "cpu  1 2 3\n", "cpu  a b c d e f\n", "cpux 1 2 3 4 5 6 7 8\n",
		"cpu  1 2 3 " HUGE_NUMBER " 5 6 7 8\n", "cpu  -1 -2 -3 -4 -5\n", "\xff\xfe\x01",
	};

	put("/proc/stat", "cpu  0 0 0 0 0 0 0 0\n");
	assert_int_equal(start(&in, CPU, NO_PAIRS), 0);
	look(&in, 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put("/proc/stat", bad[i]);
		assert_false(look(&in, 1000));
	}
	/* one trouble, one line */
	assert_int_equal(in.logs, 1);
	assert_string_equal(in.log, "/proc/stat: no line 'cpu' with its times");
	/* it gets well: first there must be two looks again */
	put("/proc/stat", "cpu  100 0 0 100 0 0 0 0\n");
	assert_false(look(&in, 1000));
	put("/proc/stat", "cpu  110 0 0 130 0 0 0 0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	/* and the next trouble is said again */
	put("/proc/stat", "");
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 2);
	stop(&in);
	gone("/proc/stat");
	assert_int_equal(start(&in, CPU, NO_PAIRS), -ENOENT);
	assert_string_equal(in.log, "/proc/stat: No such file or directory");
}

static void test_cpu_v2(void **state)
{
	put(CG "/cpu.stat", "usage_usec 5000000\nuser_usec 1\nsystem_usec 2\n");
	put(CG "/cpu.max", "50000 100000\n");
	assert_int_equal(start(&in, CPU, PAIRS("cgroup=" CG)), 0);
	assert_false(look(&in, 0));
	put(CG "/cpu.stat", "usage_usec 5100000\n");
	assert_true(look(&in, 1000));		/* 100 ms of 500 ms */
	assert_int_equal(in.value, 200);
	assert_int_equal(in.fact[CLUSTERD_CPU_IDLE], 800);
	assert_false(in.has_fact[CLUSTERD_BLOCKED]);
	assert_string_equal(in.why, "20.0 % of the group's limit busy");
	put(CG "/cpu.stat", "usage_usec 5900000\n");
	assert_true(look(&in, 1000));		/* a burst: more than the limit */
	assert_int_equal(in.value, 1000);
	/* the limit changes while it runs, and goes */
	put(CG "/cpu.max", "400000 100000\n");
	put(CG "/cpu.stat", "usage_usec 6900000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	put(CG "/cpu.max", "max 100000\n");
	put(CG "/cpu.stat", "usage_usec 7900000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, (1000 + sysconf(_SC_NPROCESSORS_ONLN) / 2) / sysconf(_SC_NPROCESSORS_ONLN));
	assert_string_equal(in.why + strlen(in.why) - 22, "of all processors busy");
	/* the clock stands still: the next look counts all */
	put(CG "/cpu.max", "100000 100000\n");
	put(CG "/cpu.stat", "usage_usec 8100000\n");
	assert_false(look(&in, 0));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 200);
	put(CG "/cpu.stat", "usage_usec 7900000\n");
	assert_false(look(&in, 1000));
	/* the clock stands still; it jumps back; far ahead; the group is another one */
	assert_false(look(&in, 0));
	put(CG "/cpu.max", "100000 100000\n");
	assert_false(look(&in, -500000));
	put(CG "/cpu.stat", "usage_usec 8000000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	assert_false(look(&in, 2000000000));
	put(CG "/cpu.stat", "usage_usec 1000\n");
	assert_false(look(&in, 1000));
	put(CG "/cpu.stat", "usage_usec 301000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 300);
	assert_int_equal(in.logs, 0);
	/* limits that are none */
	put(CG "/cpu.max", "100000 0\n");
	put(CG "/cpu.stat", "usage_usec 401000\n");
	assert_true(look(&in, 1000));
	put(CG "/cpu.max", HUGE_NUMBER " 1\n");
	put(CG "/cpu.stat", "usage_usec 501000\n");
	assert_true(look(&in, 1000));
	assert_string_equal(in.why + strlen(in.why) - 22, "of all processors busy");
	put(CG "/cpu.max", "18446744073709551 1\n");
	assert_true(look(&in, 1000));
	assert_string_equal(in.why + strlen(in.why) - 22, "of all processors busy");
	put(CG "/cpu.max", "1 " "18446744073709551615\n");
	put(CG "/cpu.stat", "usage_usec 601000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	put(CG "/cpu.stat", "user_usec 501000\n");
	assert_false(look(&in, 1000));
	assert_string_equal(in.log, CG "/cpu.stat: no usage in it");
	stop(&in);
}

static void test_cpu_v1(void **state)
{
	static const char *const pairs[] = { "cgroup=" CG "/acct", "cpu_cgroup=" CG "/cpu", NULL };

	assert_int_equal(start(&in, CPU, pairs), -ENOENT);
	assert_string_equal(in.log, CG "/acct: no control group: it has neither cpu.stat nor cpuacct.usage "
			    "(No such file or directory)");
	put(CG "/acct/cpuacct.usage", "7000000000\n");
	assert_int_equal(start(&in, CPU, pairs), -ENOENT);
	assert_string_equal(in.log, CG "/cpu/cpu.cfs_quota_us: No such file or directory");
	put(CG "/cpu/cpu.cfs_quota_us", "25000\n");
	put(CG "/cpu/cpu.cfs_period_us", "50000\n");
	assert_int_equal(start(&in, CPU, pairs), 0);
	assert_false(look(&in, 0));
	put(CG "/acct/cpuacct.usage", "7100000000\n");
	assert_true(look(&in, 400));		/* 100 of 200 ms */
	assert_int_equal(in.value, 500);
	put(CG "/cpu/cpu.cfs_quota_us", "-1\n");
	put(CG "/acct/cpuacct.usage", "7200000000\n");
	assert_true(look(&in, 1000));
	assert_string_equal(in.why + strlen(in.why) - 22, "of all processors busy");
	put(CG "/acct/cpuacct.usage", "garbage\n");
	assert_false(look(&in, 1000));
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	stop(&in);
	/* without a quota to be seen: against all, and it says so */
	assert_int_equal(start(&in, CPU, PAIRS("cgroup=" CG "/acct")), 0);
	assert_int_equal(in.logs, 1);
	stop(&in);
}

/* A group that is removed and made again is found again. */
static void test_cpu_again(void **state)
{
	put(CG "/cpu.stat", "usage_usec 5000000\n");
	put(CG "/cpu.max", "50000 100000\n");
	assert_int_equal(start(&in, CPU, PAIRS("cgroup=" CG)), 0);
	look(&in, 0);
	/* as the kernel does it: what was open cannot be read any more */
	for (int fd = 3; fd < 64; fd++) {
		char link[64], path[200] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, CG)) {
			int bad = open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC);

			bad = bad < 0 ? dup(1) : bad;
			dup2(bad, fd);
			close(bad);
		}
	}
	gone(CG "/cpu.stat");
	/* the path is something else for a while, then nothing */
	put(CG "/cpu.stat/x", "");
	assert_false(look(&in, 1000));
	assert_string_equal(in.log, CG "/cpu.stat: Is a directory");
	gone(CG "/cpu.stat/x");
	gone(CG "/cpu.stat");
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	put(CG "/cpu.stat", "usage_usec 0\n");
	assert_false(look(&in, 1000));
	put(CG "/cpu.stat", "usage_usec 250000\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	stop(&in);
}

static void test_cpu_options(void **state)
{
	assert_bad(CPU, PAIRS("group=x"), "group: unknown key; this monitor has: cgroup, cpu_cgroup");
	assert_bad(CPU, PAIRS("cgroup=web"), "cgroup: " MUST_CGROUP);
	assert_bad(CPU, PAIRS("cgroup=/sys/fs/cgroupx"), "cgroup: " MUST_CGROUP);
	assert_bad(CPU, PAIRS("cgroup=/sys/fs/cgroup/../../etc"), "cgroup: " MUST_CGROUP);
	assert_bad(CPU, PAIRS("cpu_cgroup=/sys/fs/cgroup/x"), "cpu_cgroup: needs 'cgroup' as well");
}

/* ---- memory ---- */

#define INFO(total, available) \
	"MemTotal:       " total " kB\nMemFree: 1 kB\nMemAvailable:   " available " kB\nBuffers: 1 kB\n"

static void test_memory_machine(void **state)
{
	put("/proc/meminfo", INFO("8000", "6000"));
	put("/proc/vmstat", "nr_free_pages 5\npswpin 100\npswpout 200\npgfault 5\n");
	assert_int_equal(start(&in, MEMORY, NO_PAIRS), 0);
	assert_true(look(&in, 0));
	assert_int_equal(in.value, 250);
	assert_int_equal(in.fact[CLUSTERD_MEM_FREE_KB], 6000);
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 0);	/* what was before counts not */
	assert_false(in.has_fact[CLUSTERD_BLOCKED]);
	put("/proc/vmstat", "pswpin 103\npswpout 204\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 7);
	assert_int_equal(in.value, 900);
	assert_string_equal(in.why, "5 of 7 MB free, swapping");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	put("/proc/meminfo", INFO("8000", "200"));
	put("/proc/vmstat", "pswpin 104\npswpout 204\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 975);
	/* counters anew */
	put("/proc/vmstat", "pswpin 4\npswpout 4\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 0);
	put("/proc/meminfo", INFO("8000", "9000"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 0);
	assert_int_equal(in.fact[CLUSTERD_MEM_FREE_KB], 8000);
	put("/proc/meminfo", INFO("8000", "0"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	assert_int_equal(in.logs, 0);
	stop(&in);
}

static void test_memory_garbage(void **state)
{
	static const char *const bad[] = {
		"", "MemTotal: 8000 kB\nMemFree: 1 kB\n", "MemAvailable: 1 kB\n", INFO("0", "0"),
		INFO("x", "y"), INFO(HUGE_NUMBER, "1"), INFO("18446744073709551614", "1"), "MemTotal",
	};

	put("/proc/meminfo", INFO("8000", "6000"));
	assert_int_equal(start(&in, MEMORY, NO_PAIRS), 0);
	/* no vmstat: said once, the rest goes on */
	assert_true(look(&in, 0));
	assert_true(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	assert_string_equal(in.log, "/proc/vmstat: No such file or directory: swapping is not seen");
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put("/proc/meminfo", bad[i]);
		assert_false(look(&in, 1000));
	}
	assert_int_equal(in.logs, 2);
	/* vmstat appears, without those fields, then with one */
	put("/proc/meminfo", INFO("8000", "6000"));
	put("/proc/vmstat", "nr_free_pages 1\n");
	assert_true(look(&in, 1000));
	put("/proc/vmstat", "pswpin 5\n");
	assert_true(look(&in, 1000));
	put("/proc/vmstat", "pswpin 5\npswpout 7\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 0);
	put("/proc/vmstat", "pswpin 5\npswpout 8\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 1);
	stop(&in);
	gone("/proc/meminfo");
	assert_int_equal(start(&in, MEMORY, NO_PAIRS), -ENOENT);
	assert_string_equal(in.log, "/proc/meminfo: No such file or directory");
}

static void test_memory_v2(void **state)
{
	put("/proc/meminfo", INFO("1000000", "500000"));
	assert_int_equal(start(&in, MEMORY, PAIRS("cgroup=" CG)), -ENOENT);
	put(CG "/memory.current", "83886080\n");	/* 80 MB, 16 of them can be dropped; of 128 */
	put(CG "/memory.max", "134217728\n");
	put(CG "/memory.stat", "anon 1\ninactive_file 16777216\nactive_file 1\n");
	assert_int_equal(start(&in, MEMORY, PAIRS("cgroup=" CG)), 0);
	assert_true(look(&in, 0));
	assert_int_equal(in.value, 500);
	assert_int_equal(in.fact[CLUSTERD_MEM_FREE_KB], 65536);
	assert_string_equal(in.why, "64 of 128 MB free");
	/* no limit: all of the machine, 1000000 kB - 65536 kB */
	put(CG "/memory.max", "max\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_MEM_FREE_KB], 1000000 - 65536);
	assert_int_equal(in.value, 1000 - 934);
	/* above its limit, as when that was lowered */
	put(CG "/memory.max", "4096\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	assert_int_equal(in.fact[CLUSTERD_MEM_FREE_KB], 0);
	stop(&in);
	/* swapping by the growth of its swap */
	put(CG "/memory.max", "134217728\n");
	put(CG "/memory.swap.current", "40960\n");
	assert_int_equal(start(&in, MEMORY, PAIRS("cgroup=" CG)), 0);
	assert_true(look(&in, 0));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 0);
	put(CG "/memory.swap.current", "81920\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 40960 / sysconf(_SC_PAGESIZE));
	assert_int_equal(in.value, 900);
	put(CG "/memory.swap.current", "0\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	/* the kernel counts: that goes first */
	put(CG "/memory.stat", "inactive_file 16777216\npswpin 10\npswpout 20\n");
	assert_true(look(&in, 1000));
	put(CG "/memory.stat", "inactive_file 16777216\npswpin 11\npswpout 22\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 3);
	assert_int_equal(in.logs, 0);
	/* what is not there */
	put(CG "/memory.stat", "anon 5\n");
	assert_false(look(&in, 1000));
	put(CG "/memory.stat", "inactive_file 5\n");
	put(CG "/memory.current", "");
	assert_false(look(&in, 1000));
	put(CG "/memory.current", "5\n");
	put(CG "/memory.max", "minimum\n");
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	stop(&in);
	gone(CG "/memory.stat");
	assert_int_equal(start(&in, MEMORY, PAIRS("cgroup=" CG)), -ENOENT);
	assert_string_equal(in.log, CG "/memory.stat: No such file or directory");
}

static void test_memory_v1(void **state)
{
	put("/proc/meminfo", INFO("1000000", "500000"));
	put(CG "/memory.usage_in_bytes", "83886080\n");
	put(CG "/memory.limit_in_bytes", "134217728\n");
	put(CG "/memory.stat", "inactive_file 1\ntotal_inactive_file 16777216\ntotal_swap 8192\n");
	assert_int_equal(start(&in, MEMORY, PAIRS("cgroup=" CG)), 0);
	assert_true(look(&in, 0));
	assert_int_equal(in.value, 500);
	put(CG "/memory.stat", "inactive_file 1\ntotal_inactive_file 16777216\ntotal_swap 49152\n");
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_SWAPPING], 40960 / sysconf(_SC_PAGESIZE));
	put(CG "/memory.limit_in_bytes", "9223372036854771712\n");	/* no limit */
	assert_true(look(&in, 1000));
	assert_int_equal(in.fact[CLUSTERD_MEM_FREE_KB], 1000000 - 65536);
	stop(&in);
	put("/proc/meminfo", "MemFree: 5 kB\n");
	assert_int_equal(start(&in, MEMORY, PAIRS("cgroup=" CG)), -EPROTO);
	assert_string_equal(in.log, "/proc/meminfo: no MemTotal in it");
	assert_bad(MEMORY, PAIRS("cgroup=x"), "cgroup: " MUST_CGROUP);
	assert_bad(MEMORY, PAIRS("limit=5"), "limit: unknown key; this monitor has: cgroup");
}

/* ---- psi ---- */

#define LINE(kind, total) kind " avg10=1.00 avg60=2.00 avg300=3.00 total=" total "\n"

static void test_psi(void **state)
{
	put("/proc/pressure/cpu", LINE("some", "1000000") LINE("full", "0"));
	assert_int_equal(start(&in, PSI, NO_PAIRS), 0);
	assert_false(look(&in, 0));
	put("/proc/pressure/cpu", LINE("some", "1250000") LINE("full", "0"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	assert_string_equal(in.why, "some waited for cpu 25.0 % of the time");
	assert_false(look(&in, 0));
	assert_false(look(&in, -10));		/* back in time: begins anew */
	put("/proc/pressure/cpu", LINE("some", "9250000"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	put("/proc/pressure/cpu", LINE("some", "5"));
	assert_false(look(&in, 1000));
	put("/proc/pressure/cpu", LINE("some", "100005"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	assert_int_equal(in.logs, 0);
	put("/proc/pressure/cpu", LINE("full", "100005"));
	assert_false(look(&in, 1000));
	put("/proc/pressure/cpu", "some avg10=0.00\n");
	assert_false(look(&in, 1000));
	put("/proc/pressure/cpu", LINE("some", HUGE_NUMBER));
	assert_false(look(&in, 1000));
	put("/proc/pressure/cpu", LINE("some", ""));
	assert_false(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	assert_string_equal(in.log, "/proc/pressure/cpu: no line 'some' with a total");
	stop(&in);
	/* the others */
	put("/proc/pressure/io", LINE("some", "0") LINE("full", "0"));
	assert_int_equal(start(&in, PSI, PAIRS("resource=io", "kind=full")), 0);
	look(&in, 0);
	put("/proc/pressure/io", LINE("some", "500000") LINE("full", "100000"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	stop(&in);
	put(CG "/cpu.pressure", LINE("some", "0") LINE("full", "0"));
	assert_int_equal(start(&in, PSI, PAIRS("cgroup=" CG, "kind=full")), 0);
	look(&in, 0);
	put(CG "/cpu.pressure", LINE("some", "500000") LINE("full", "100000"));
	assert_true(look(&in, 500));
	assert_int_equal(in.value, 200);
	stop(&in);
}

static void test_psi_options(void **state)
{
	assert_bad(PSI, PAIRS("resource=net"), "resource: must be cpu, memory or io");
	assert_bad(PSI, PAIRS("kind=most"), "kind: must be some or full");
	assert_bad(PSI, PAIRS("cgroup=/"), "cgroup: " MUST_CGROUP);
	assert_bad(PSI, PAIRS("avg=10"), "avg: unknown key; this monitor has: resource, kind, cgroup");
	assert_bad(PSI, PAIRS("kind=full"),
		   "kind: 'full' of the machine's processors is always 0: use 'some', or name a 'cgroup'");
	assert_int_equal(start(&in, PSI, PAIRS("resource=memory")), -ENOENT);
	assert_string_equal(in.log, "/proc/pressure/memory: No such file or directory; the kernel needs "
			    "CONFIG_PSI, and maybe psi=1 on its command line");
}

/* ---- disk ---- */

#define D(major, name, ticks) "   " major "       0 " name " 1 2 3 4 5 6 7 8 0 " ticks " 11 12 13 14 15 16 17\n"

static void test_disk(void **state)
{
	put("/sys/block/sda", "");
	put("/sys/block/cciss!c0d0", "");
	put("/sys/block/loop0", "");
	put("/sys/block/dm-0", "");
	put("/proc/diskstats", D("7", "loop0", "0") D("8", "sda", "1000") D("8", "sda1", "0")
	    D("253", "dm-0", "0") D("104", "cciss/c0d0", "50"));
	assert_int_equal(start(&in, DISK, NO_PAIRS), 0);
	assert_false(look(&in, 0));
	put("/proc/diskstats", D("7", "loop0", "900") D("8", "sda", "1250") D("8", "sda1", "900")
	    D("253", "dm-0", "900") D("104", "cciss/c0d0", "60"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 250);
	assert_string_equal(in.why, "sda busy 25.0 % of the time");
	put("/proc/diskstats", D("8", "sda", "1250") D("104", "cciss/c0d0", "560"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 500);
	assert_false(look(&in, 0));
	/* a bit more than there was time */
	put("/proc/diskstats", D("8", "sda", "2258") D("104", "cciss/c0d0", "560"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 1000);
	/* another disk of that name: the other one counts */
	put("/proc/diskstats", D("8", "sda", "5") D("104", "cciss/c0d0", "660"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	/* a new one appears, one goes and comes back */
	put("/sys/block/sdb", "");
	put("/proc/diskstats", D("8", "sda", "5") D("8", "sdb", "900"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 0);
	put("/proc/diskstats", D("8", "sda", "5") D("8", "sdb", "1600") D("104", "cciss/c0d0", "1660"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 700);
	assert_int_equal(in.logs, 0);
	stop(&in);
}

static void test_disk_wrap(void **state)
{
	put("/proc/diskstats", D("8", "sda", "4294967200") D("8", "sdb", "7"));
	assert_int_equal(start(&in, DISK, PAIRS("device=sda")), 0);
	assert_false(look(&in, 0));
	put("/proc/diskstats", D("8", "sda", "4") D("8", "sdb", "900"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);	/* 96 + 4 */
	/* time runs backwards, or jumps */
	put("/proc/diskstats", D("8", "sda", "104"));
	assert_false(look(&in, -1000));
	put("/proc/diskstats", D("8", "sda", "204"));
	assert_true(look(&in, 1000));
	assert_int_equal(in.value, 100);
	stop(&in);
}

static void test_disk_garbage(void **state)
{
	static const char *const bad[] = {
		"", "8 0 sda\n", "8 0 sda 1 2 3 4 5 6 7 8 9\n", "sda 1 2 3 4 5 6 7 8 9 10 11 12 13\n",
		D("8", "sda", "x"), D("8", "sda", HUGE_NUMBER), D("8", "sda", "4294967296"),
		D("8", "averyveryverylongnameofadiskthatdoesnotexist", "5"), "\xff\xff\n",
	};

	put("/proc/diskstats", D("8", "sda", "100") D("8", "vdb", "5"));
	assert_int_equal(start(&in, DISK, PAIRS("device= sda , vdb")), 0);
	assert_false(look(&in, 0));
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put("/proc/diskstats", bad[i]);
		assert_false(look(&in, 1000));
	}
	assert_int_equal(in.logs, 1);
	assert_string_equal(in.log, "/proc/diskstats: no disk with statistics in it");
	put("/proc/diskstats", D("8", "sda", "100") D("8", "vdb", "5"));
	assert_false(look(&in, 1000));
	put("/proc/diskstats", D("8", "sda", "200") D("8", "vdb", "5"));
	assert_true(look(&in, 1000));
	/* one of them goes: said once, the other one counts */
	in.logs = 0;
	for (int i = 0; i < 5; i++) {
		put("/proc/diskstats", i % 2 ? D("8", "sda", "300") : D("8", "sda", "200"));
		look(&in, 1000);
	}
	assert_int_equal(in.logs, 1);
	assert_string_equal(in.log, "device 'vdb' is not in /proc/diskstats any more");
	stop(&in);
	assert_int_equal(start(&in, DISK, PAIRS("device=sda,sdx")), -ENODEV);
	assert_string_equal(in.log, "device 'sdx' is not in /proc/diskstats");
	gone("/proc/diskstats");
	assert_int_equal(start(&in, DISK, NO_PAIRS), -ENOENT);
	assert_string_equal(in.log, "/proc/diskstats: No such file or directory");
}

#define MUST_DISK "must be names of disks as in /proc/diskstats, such as: sda, nvme0n1"

static void test_disk_options(void **state)
{
	assert_bad(DISK, PAIRS("device="), "device: " MUST_DISK);
	assert_bad(DISK, PAIRS("device= , "), "device: " MUST_DISK);
	assert_bad(DISK, PAIRS("device=/dev/sda"), "device: " MUST_DISK);
	assert_bad(DISK, PAIRS("device=sda;sdb"), "device: " MUST_DISK);
	assert_bad(DISK, PAIRS("device=a234567890123456789012345678901x"), "device: " MUST_DISK);
	assert_bad(DISK, PAIRS("disk=sda"), "disk: unknown key; this monitor has: device");
}

/* More disks than there is room for: the first ones count, and it is said. */
static void test_disk_many(void **state)
{
	static char text[60000];
	size_t len = 0;

	for (int i = 0; i < 300; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/block/x%d", i);
		put(path, "");
		len += (size_t)snprintf(text + len, sizeof(text) - len, " 9 0 x%d 1 2 3 4 5 6 7 8 9 10 11\n", i);
	}
	put("/proc/diskstats", text);
	assert_int_equal(start(&in, DISK, NO_PAIRS), 0);
	assert_false(look(&in, 0));
	assert_true(look(&in, 1000));
	assert_int_equal(in.logs, 1);
	assert_int_equal(in.value, 0);
	stop(&in);
}

/* Files stay open: a look opens none, and closing leaves none behind. */
static void test_files(void **state)
{
	unsigned int opens;
	int fd = dup(0), after;

	close(fd);
	put("/proc/stat", "cpu  1 2 3 4 5 6 7 8\n");
	put("/proc/meminfo", INFO("8000", "6000"));
	put("/proc/vmstat", "pswpin 1\npswpout 2\n");
	put("/proc/diskstats", D("8", "sda", "100"));
	put("/sys/block/sda", "");
	put("/proc/pressure/cpu", LINE("some", "5"));
	put(CG "/cpu.stat", "usage_usec 5\n");
	put(CG "/memory.current", "5\n");
	put(CG "/memory.max", "max\n");
	put(CG "/memory.stat", "inactive_file 5\n");
	for (int k = 0; k < 6; k++) {
		const struct clusterd_plugin *const p[] = { CPU, DISK, MEMORY, PSI, CPU, MEMORY };

		assert_int_equal(start(&in, p[k], k < 4 ? NO_PAIRS : PAIRS("cgroup=" CG)), 0);
		opens = fake_opens;
		for (int t = 0; t < 5; t++)
			look(&in, 1000);
		assert_int_equal(fake_opens, opens);
		stop(&in);
		after = dup(0);
		close(after);
		assert_int_equal(after, fd);
	}
}

/* ---- what a look costs here ---- */

static void bench_one(const struct clusterd_plugin *p, const char *const *pairs, const char *name)
{
	struct timespec a, b;
	const int n = 2000;

	if (start(&in, p, pairs) < 0) {
		printf("%-24s cannot be opened here\n", name);
		return;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (int i = 0; i < n; i++)
		look(&in, 1000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	printf("%-24s %6.1f us per look, %u reports, last: %s%s%s\n", name,
	       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1000 / n,
	       in.reports, in.why, in.logs ? "; " : "", in.log);
	stop(&in);
}

static int bench(void)
{
	bench_one(CPU, NO_PAIRS, "cpu");
	bench_one(CPU, PAIRS("cgroup=/sys/fs/cgroup/cpuacct"), "cpu, cgroup v1");
	bench_one(CPU, PAIRS("cgroup=/sys/fs/cgroup/unified"), "cpu, cgroup v2");
	bench_one(DISK, NO_PAIRS, "disk");
	bench_one(MEMORY, NO_PAIRS, "memory");
	bench_one(MEMORY, PAIRS("cgroup=/sys/fs/cgroup/memory"), "memory, cgroup v1");
	bench_one(PSI, NO_PAIRS, "psi");
	bench_one(&clusterd_plugin_monitor_net, PAIRS("interface=lo", "speed=1000"), "net");
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(test_cpu_machine), T(test_cpu_cut), T(test_cpu_long), T(test_cpu_garbage), T(test_cpu_v2), T(test_cpu_v1),
		T(test_cpu_again), T(test_cpu_options),
		T(test_memory_machine), T(test_memory_garbage), T(test_memory_v2), T(test_memory_v1),
		T(test_psi), T(test_psi_options),
		T(test_disk), T(test_disk_wrap), T(test_disk_garbage), T(test_disk_options), T(test_disk_many),
		T(test_files),
	};

	if (argc > 1 && strcmp(argv[1], "bench") == 0)
		return bench();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check-exec, check-link and check-disk: programs, veth pairs and small file systems of our own. */
#include "check_host.h"

#include <pthread.h>
#include <sys/mount.h>
#include <sys/stat.h>

static char dir[] = "/tmp/check_local.XXXXXX";

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd) != 0)
		fail_msg("%s", cmd);
}

static void refuses(const char *got, const char *want)
{
	if (!strstr(got, want) || (!want[0] && got[0]))
		fail_msg("\"%s\", not \"%s\"", got, want);
}

/* ---- exec ---- */

static const char *script(const char *text)
{
	static char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/script", dir);
	unlink(path);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fchmod(fileno(f), 0700), 0);
	assert_int_equal(fclose(f), 0);
	return path;
}

static void runs(const char *text, int value, const char *why)
{
	struct clusterd_inst *i = fake_open("exec", "@service", "web", "@address", "192.0.2.1", "@port",
					    "80", "path", script(text), "arg1", "one", "arg2", "", "arg3",
					    "3 three", NULL);

	expect_look(i, 2000, value, why);
	expect_look(i, 2000, value, why);
	fake_close(i);
}

static void test_exec(void **state)
{
	struct clusterd_inst *i;
	int k;

	runs("exit 0", CLUSTERD_FIT, "");
	runs("echo all is well; echo more", CLUSTERD_FIT, "all is well");
	runs("echo too busy; exit 1", CLUSTERD_WORKS, "too busy");
	runs("exit 1", CLUSTERD_WORKS, "exit status 1");
	runs("echo gone; exit 2", CLUSTERD_DEAD, "gone");
	runs("exit 77", CLUSTERD_DEAD, "exit status 77");
	runs("kill -SEGV $$", CLUSTERD_DEAD, "killed by SIGSEGV");
	runs("printf 'a\\033[31mb\\tc'; exit 1", CLUSTERD_WORKS, "a?[31mb?c");
	runs("echo $# $1 $2 $3; exit 1", CLUSTERD_WORKS, "3 one 3 three");
	runs("echo $CLUSTERD_SERVICE $CLUSTERD_ADDRESS $CLUSTERD_PORT; exit 1", CLUSTERD_WORKS,
	     "web 192.0.2.1 80");
	runs("yes | head -c 100000", CLUSTERD_FIT, "y");

	i = fake_open("exec", "path", script("sleep 100"), NULL);
	for (k = 0; k < 3; k++)
		expect_look(i, 60, CLUSTERD_DEAD, "did not end within 60 ms");
	/* Given up by the host: the next look does not start another one beside it. */
	i->ops->start(i->priv, 100);
	i->ops->stop(i->priv);
	expect_look(i, 50, CLUSTERD_DEAD, "cannot start the program: the last one still runs");
	fake_close(i);
	i = fake_open("exec", "path", "/nonexistent/program", NULL);
	expect_look(i, 50, CLUSTERD_DEAD, "cannot start the program: No such file or directory");
	fake_close(i);
}

static void test_exec_options(void **state)
{
	refuses(fake_validate("exec", NULL), "path: is missing; exec needs it");
	refuses(fake_validate("exec", "path", "bin/true", NULL), "path: must be an absolute path");
	refuses(fake_validate("exec", "path", "/bin/true", "arg1", "a", "arg2", "b", NULL), "");
	refuses(fake_validate("exec", "path", "/bin/true", "arg2", "b", NULL), "arg2: needs arg1");
	refuses(fake_validate("exec", "path", "/bin/true", "args", "b", NULL),
		"args: unknown key; did you mean \"arg1\"?");
}

/* ---- link ---- */

static void test_link(void **state)
{
	struct clusterd_inst *i;
	int before, k;
	int64_t cpu;

	sh("ip link add v0 type veth peer name v1");
	i = fake_open("link", "@interface", "v0", NULL);
	before = fake_fds();
	expect_look(i, 50, CLUSTERD_DEAD, "v0 is down");
	sh("ip link set v0 up");
	expect_look(i, 50, CLUSTERD_DEAD, "v0 has no carrier");
	sh("ip link set v1 up");
	for (k = 0; k < 100 && fake_look(i, 50) != CLUSTERD_FIT; k++)
		usleep(20000);		/* the kernel tells of a carrier at most once a second */
	expect_look(i, 50, CLUSTERD_FIT, "");
	cpu = thread_cpu_us();
	for (k = 0; k < 10000; k++)
		fake_look(i, 50);
	print_message("link: %.2f us of CPU per look\n", (double)(thread_cpu_us() - cpu) / 10000);
	assert_int_equal(fake_fds(), before);
	sh("ip link set v1 down");
	for (k = 0; k < 100 && fake_look(i, 50) == CLUSTERD_FIT; k++)
		usleep(20000);
	expect_look(i, 50, CLUSTERD_DEAD, "v0 has no carrier");
	sh("ip link del v0");
	expect_look(i, 50, CLUSTERD_DEAD, "v0: no such interface");
	fake_close(i);
	i = fake_open("link", "@interface", "v0", "interface", "lo", NULL);
	expect_look(i, 50, CLUSTERD_FIT, "");
	fake_close(i);

	refuses(fake_validate("link", "@interface", "", NULL), "");
	refuses(fake_validate("link", "interface", "a123456789012345", NULL), "interface: must have 1 to 15");
	refuses(fake_validate("link", "iface", "eth0", NULL), "iface: unknown key; did you mean \"interface\"?");
}

/* ---- disk ---- */

static struct { pthread_mutex_t lock; int error; unsigned int calls; } disk = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

/* The disk: stands still while the test holds the lock. */
int fsync(int fd) __attribute__((visibility("default")));
int fsync(int fd)
{
	int error;

	pthread_mutex_lock(&disk.lock);
	disk.calls++;
	error = disk.error;
	pthread_mutex_unlock(&disk.lock);
	errno = error;
	return error ? -1 : 0;
}

static int files_in(const char *path)
{
	char cmd[256];
	FILE *f;
	int n = -1;

	snprintf(cmd, sizeof(cmd), "ls -A %s | wc -l", path);
	f = popen(cmd, "re");
	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	pclose(f);
	return n;
}

static void looks(const char *path, const char *key, const char *arg, int value, const char *why)
{
	struct clusterd_inst *i = fake_open("disk", "path", path, key, arg, NULL);

	expect_look(i, 1000, value, why);
	expect_look(i, 1000, value, why);
	fake_close(i);
}

static void test_disk_values(void **state)
{
	char path[64], gone[80];

	snprintf(path, sizeof(path), "%s/fs", dir);
	snprintf(gone, sizeof(gone), "%s/gone", path);
	mkdir(path, 0700);
	assert_int_equal(mount("none", path, "tmpfs", 0, "size=4M,nr_inodes=100"), 0);
	disk.calls = 0;
	looks(path, NULL, NULL, CLUSTERD_FIT, "");
	assert_int_equal(disk.calls, 2);
	assert_int_equal(files_in(path), 0);
	looks(path, "write", "no", CLUSTERD_FIT, "");
	assert_int_equal(disk.calls, 2);
	looks(path, "free", "3M", CLUSTERD_FIT, "");
	looks(path, "free", "5M", CLUSTERD_WORKS, "4 MB free, less than 5 MB");
	looks(gone, NULL, NULL, CLUSTERD_DEAD, "cannot look: No such file or directory");

	sh("head -c 3000000 /dev/zero > %s/a", path);
	looks(path, NULL, NULL, CLUSTERD_FIT, "");
	looks(path, "free", "30%", CLUSTERD_WORKS, "1 MB free, less than 30%");
	sh("head -c 8000000 /dev/zero > %s/a 2>/dev/null || :", path);
	looks(path, "free", "0%", CLUSTERD_WORKS, "full");
	looks(path, "write", "no", CLUSTERD_WORKS, "0 MB free, less than 5%");
	unlink(path);
	sh("rm %s/a && cd %s && for i in $(seq 96); do : > $i; done", path, path);
	looks(path, NULL, NULL, CLUSTERD_WORKS, "inodes free, less than 5%");
	looks(path, "free", "1M", CLUSTERD_FIT, "");
	sh("rm %s/*", path);
	assert_int_equal(mount("none", path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	looks(path, NULL, NULL, CLUSTERD_WORKS, "read-only");
	looks(path, "write", "no", CLUSTERD_FIT, "");
	assert_int_equal(umount(path), 0);

	disk.error = EIO;
	looks(dir, "free", "1%", CLUSTERD_DEAD, "cannot write: Input/output error");
	disk.error = 0;
	looks(dir, "free", "1%", CLUSTERD_FIT, "");
}

static int threads(void)
{
	return files_in("/proc/$PPID/task");
}

/* A disk that stands still holds one thread, however often we look, and nothing else. */
static void test_disk_stuck(void **state)
{
	struct clusterd_inst *i = fake_open("disk", "path", dir, "free", "1%", NULL);
	int k, before = threads(), fds = fake_fds();

	pthread_mutex_lock(&disk.lock);
	expect_look(i, 50, CLUSTERD_DEAD, "the disk did not answer within 50 ms");
	for (k = 0; k < 20; k++)
		expect_look(i, 50, CLUSTERD_DEAD, "still waiting for the disk, for 0 s now");
	assert_int_equal(threads(), before + 1);
	assert_int_equal(i->n, 0);
	pthread_mutex_unlock(&disk.lock);
	for (k = 0; k < 100 && fake_look(i, 50) != CLUSTERD_FIT; k++)
		usleep(10000);
	expect_look(i, 500, CLUSTERD_FIT, "");

	/* Given up by the host, and closed while the thread is held: it cleans up when it can. */
	pthread_mutex_lock(&disk.lock);
	i->ops->start(i->priv, 1000);
	i->ops->stop(i->priv);
	assert_int_equal(i->n, 0);
	assert_int_equal(i->reports, 0);
	expect_look(i, 50, CLUSTERD_DEAD, "still waiting");
	fake_close(i);
	i = fake_open("disk", "path", dir, "free", "1%", NULL);
	i->ops->start(i->priv, 1000);
	i->n = 0;
	fake_close(i);
	assert_int_equal(threads(), before + 2);
	pthread_mutex_unlock(&disk.lock);
	for (k = 0; k < 100 && threads() > before; k++)
		usleep(10000);
	assert_int_equal(threads(), before);
	assert_int_equal(fake_fds(), fds);
}

static void test_disk_many(void **state)
{
	struct clusterd_inst *i = fake_open("disk", "path", dir, "free", "1%", NULL);
	int before = fake_fds(), k;
	int64_t cpu = cpu_us();

	for (k = 0; k < 10000; k++) {
		if (fake_look(i, 2000) != CLUSTERD_FIT)
			fail_msg("look %d: %s", k, i->why);
	}
	print_message("disk: %.1f us of CPU per look, with its thread\n",
		      (double)(cpu_us() - cpu) / 10000);
	fake_close(i);
	for (k = 0; k < 100 && fake_fds() != before; k++)
		usleep(10000);		/* the last thread lets go of its job */
	assert_int_equal(fake_fds(), before);
	assert_int_equal(files_in(dir), 2);	/* "fs" and "script" */

	i = fake_open("disk", "path", dir, "free", "1%", NULL);
	i->close_in_report = true;
	assert_int_equal(fake_look(i, 1000), CLUSTERD_FIT);
	free(i);
}

static void test_disk_options(void **state)
{
	static const char *const good[] = { "0%", "5%", "99%", "1", "200M", "10G", "1T", "4K" };
	static const char *const bad[] = { "100%", "5 %", "M", "1X", "-1", "1MB", "9999999999999", "%" };
	size_t k;

	for (k = 0; k < sizeof(good) / sizeof(good[0]); k++)
		refuses(fake_validate("disk", "path", "/", "free", good[k], NULL), "");
	for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
		refuses(fake_validate("disk", "path", "/", "free", bad[k], NULL), "free: must be a share");
	refuses(fake_validate("disk", NULL), "path: is missing");
	refuses(fake_validate("disk", "path", "var", NULL), "path: must be an absolute path");
	refuses(fake_validate("disk", "path", "/", "write", "maybe", NULL), "write: must be yes or no");
	refuses(fake_validate("disk", "paht", "/", NULL), "paht: unknown key; did you mean \"path\"?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_options),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_disk_values),
		cmocka_unit_test(test_disk_stuck),
		cmocka_unit_test(test_disk_many),
		cmocka_unit_test(test_disk_options),
	};
	char cmd[64];
	int ret;

	if (fake_netns() < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(dir))
		return 1;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd) || ret;
}

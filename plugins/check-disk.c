/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-disk: is there room where the service keeps its files, and can it write there?
 *
 * A disk that does not answer holds whoever asks, for ever.  Each look is therefore made by a thread of
 * its own, which shares nothing with the instance but one job.  As long as a thread is held no other is
 * started: the next looks answer at once.  The job belongs to whoever lets go of it last.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "check_options.h"

#define BLOCK 4096

struct job {
	atomic_int users;		/* the instance, the thread */
	int event;			/* readable once 'done' */
	atomic_bool done;
	/* What to do. */
	bool write;
	/* What came of it: valid once 'done'. */
	const char *step;		/* that 'err' is of */
	int err;
	struct statvfs fs;
	char path[];
};

struct disk {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	char *path;
	bool write;
	long percent;			/* of the space and of the inodes; 0: 'bytes' counts */
	uint64_t bytes;
	struct job *job;		/* NULL: none is under way */
	int64_t since_ms;		/* when it began */
	bool looking;
	int timeout_ms;
};

static const struct check_rule rules[] = {
	{ "path", CHECK_PATH, 0, 0, true },
	{ "free", CHECK_TEXT, 1, 20, false },
	{ "write", CHECK_YESNO, 0, 0, false },
};

/* "5%" or "200M". */
static bool read_free(const char *s, long *percent, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(s, "0123456789");
	const char *unit;
	char number[16];
	long v;

	if (!digits || digits > 12)
		return false;
	snprintf(number, sizeof(number), "%.*s", (int)digits, s);
	s += digits;
	*percent = 0;
	*bytes = 0;
	if (!strcmp(s, "%"))
		return check_number(number, 0, 99, percent);
	if (!check_number(number, 0, 1L << 40, &v))
		return false;
	*bytes = (uint64_t)v;
	if (!*s)
		return true;
	unit = strchr(units, *s);
	if (!unit || s[1] || v >= 1L << 20)
		return false;
	*bytes <<= 10 * (unit - units + 1);
	return true;
}

static int disk_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t err_size)
{
	int ret = check_options(rules, sizeof(rules) / sizeof(rules[0]), "disk", opt, n, bad, err,
				err_size);
	const char *v = check_get(opt, n, "free");
	uint64_t bytes;
	long percent;

	if (!ret && v && !read_free(v, &percent, &bytes)) {
		*bad = "free";
		snprintf(err, err_size, "must be a share of 0%% to 99%%, or a size as 200M (K, M, G, T)");
		ret = -EINVAL;
	}
	return ret;
}

/* ---- the thread ---- */

static void job_unref(struct job *j)
{
	if (j && atomic_fetch_sub(&j->users, 1) == 1) {
		close(j->event);
		free(j);
	}
}

static int failed(struct job *j, const char *step)
{
	j->step = step;
	j->err = errno;
	return -1;
}

/* The file has no name for longer than it takes to create it: nothing is left if we die. */
static int try_write(struct job *j)
{
	static const char block[BLOCK] = "written by clusterd, to see whether this disk still can";
	char name[4160];
	ssize_t r;
	int fd, ret = 0;

	snprintf(name, sizeof(name), "%s/.clusterd-check-XXXXXX", j->path);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return failed(j, "cannot create a file");
	if (unlink(name) < 0)
		ret = failed(j, "cannot remove a file");
	r = ret ? 0 : write(fd, block, sizeof(block));
	if (!ret && r != (ssize_t)sizeof(block)) {
		if (r >= 0)
			errno = ENOSPC;
		ret = failed(j, "cannot write");
	}
	if (!ret && fsync(fd) < 0)
		ret = failed(j, "cannot write");
	close(fd);
	return ret;
}

static void *job_thread(void *arg)
{
	struct job *j = arg;
	uint64_t one = 1;

	if (statvfs(j->path, &j->fs) < 0)
		failed(j, "cannot look");
	else if (j->write && !(j->fs.f_flag & ST_RDONLY))
		try_write(j);
	atomic_store(&j->done, true);
	if (write(j->event, &one, sizeof(one)) < 0)
		j->err = errno;		/* cannot be: the counter is 0 */
	job_unref(j);
	return NULL;
}

static int start_thread(struct job *j)
{
	struct sched_param normal = { 0 };
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	/* The daemon may run with a priority that a disk has no need of. */
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
	pthread_attr_setschedparam(&attr, &normal);
	/* Signals are for the main loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, &attr, job_thread, j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -ret;
}

static int job_start(struct job **out, const char *path, bool with_write)
{
	size_t len = strlen(path);
	struct job *j = calloc(1, sizeof(*j) + len + 1);
	int ret;

	if (!j)
		return -ENOMEM;
	memcpy(j->path, path, len + 1);
	j->write = with_write;
	atomic_init(&j->users, 2);
	j->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->event < 0) {
		ret = -errno;
		free(j);
		return ret;
	}
	ret = start_thread(j);
	if (ret) {
		close(j->event);
		free(j);
		return ret;
	}
	*out = j;
	return 0;
}

/* ---- the instance ---- */

static int disk_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	const char *space = check_get(opt, n, "free"), *path = check_get(opt, n, "path");
	struct disk *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->host = host;
	d->inst = inst;
	d->write = check_yes(check_get(opt, n, "write"), true);
	if (!space || !read_free(space, &d->percent, &d->bytes))
		d->percent = 5;
	d->path = path ? strdup(path) : NULL;
	if (!d->path) {
		free(d);
		return -ENOMEM;
	}
	*priv = d;
	return 0;
}

/* Does not wait for the thread: it lets go of the job when it can. */
static void disk_close(void *priv)
{
	struct disk *d = priv;

	job_unref(d->job);
	free(d->path);
	free(d);
}

static bool too_full(uint64_t avail, uint64_t used, long percent)
{
	return avail * 100 < (avail + used) * (uint64_t)percent;
}

static int judge_space(const struct disk *d, const struct statvfs *fs, char *why, size_t size)
{
	uint64_t used = fs->f_blocks - fs->f_bfree, bytes = (uint64_t)fs->f_bavail * fs->f_frsize;

	/* In percent as df(1) shows it: of what is not reserved. */
	if (d->percent && too_full(fs->f_bavail, used, d->percent)) {
		snprintf(why, size, "%llu MB free, less than %ld%%",
			 (unsigned long long)(bytes >> 20), d->percent);
		return CLUSTERD_WORKS;
	}
	if (!d->percent && bytes < d->bytes) {
		snprintf(why, size, "%llu MB free, less than %llu MB",
			 (unsigned long long)(bytes >> 20), (unsigned long long)(d->bytes >> 20));
		return CLUSTERD_WORKS;
	}
	/* Some file systems have no fixed number of inodes: they say 0. */
	if (d->percent && fs->f_files &&
	    too_full(fs->f_favail, fs->f_files - fs->f_ffree, d->percent)) {
		snprintf(why, size, "%llu inodes free, less than %ld%%",
			 (unsigned long long)fs->f_favail, d->percent);
		return CLUSTERD_WORKS;
	}
	return CLUSTERD_FIT;
}

static int judge(const struct disk *d, const struct job *j, char *why, size_t size)
{
	bool full = j->err == ENOSPC || j->err == EDQUOT;

	if (full || j->err == EROFS || (!j->err && j->write && (j->fs.f_flag & ST_RDONLY))) {
		snprintf(why, size, "%s", full ? "full" : "read-only");
		return CLUSTERD_WORKS;
	}
	if (j->err) {
		snprintf(why, size, "%s: %s", j->step, strerror(j->err));
		return CLUSTERD_DEAD;
	}
	return judge_space(d, &j->fs, why, size);
}

static void disk_stop(void *priv)
{
	struct disk *d = priv;

	if (!d->looking)
		return;
	d->looking = false;
	d->host->watch(d->inst, d->job->event, 0);
	d->host->timer(d->inst, -1);
}

static void disk_start(void *priv, int timeout_ms)
{
	struct disk *d = priv;
	char why[80];
	int ret;

	disk_stop(d);
	if (d->job && atomic_load(&d->job->done)) {
		job_unref(d->job);
		d->job = NULL;
	}
	if (d->job) {
		snprintf(why, sizeof(why), "still waiting for the disk, for %lld s now",
			 (long long)(d->host->now_ms(d->inst) - d->since_ms) / 1000);
		return d->host->report(d->inst, CLUSTERD_DEAD, why);
	}
	d->timeout_ms = timeout_ms;
	d->since_ms = d->host->now_ms(d->inst);
	ret = job_start(&d->job, d->path, d->write);
	if (!ret) {
		d->looking = true;
		ret = d->host->watch(d->inst, d->job->event, POLLIN);
		d->host->timer(d->inst, check_before(timeout_ms));
	}
	if (ret) {
		disk_stop(d);
		d->host->report(d->inst, CLUSTERD_DEAD, strerror(-ret));
	}
}

static void disk_io(void *priv, int fd, short revents)
{
	struct disk *d = priv;
	char why[160] = "";
	int value;

	if (!d->looking || !atomic_load(&d->job->done))
		return;
	disk_stop(d);
	value = judge(d, d->job, why, sizeof(why));
	job_unref(d->job);
	d->job = NULL;
	d->host->report(d->inst, value, why[0] ? why : NULL);
}

static void disk_timer(void *priv)
{
	struct disk *d = priv;
	char why[80];

	if (!d->looking)
		return;
	disk_stop(d);
	snprintf(why, sizeof(why), "the disk did not answer within %d ms", d->timeout_ms);
	d->host->report(d->inst, CLUSTERD_DEAD, why);
}

static const struct clusterd_observer_ops ops = {
	.validate = disk_validate,
	.open = disk_open,
	.close = disk_close,
	.start = disk_start,
	.stop = disk_stop,
	.io = disk_io,
	.timer = disk_timer,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = "disk",
	.version = "1",
	.summary = "looks whether a directory can be written to and has room",
	.observer = &ops,
};

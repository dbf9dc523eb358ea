/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_PLUG_CHILD_H
#define CLUSTERD_PLUG_CHILD_H

/*
 * Programs that others wrote: scripts of checks and monitors, actions, notify hooks.  The one place
 * that starts any.  posix_spawn() with vfork semantics: no fork without exec, no fd but 0, 1 and 2 gets
 * into it.  A session and process group of its own, default signals and mask, working directory /,
 * stdin from /dev/null, SCHED_OTHER at nice 0, not spared by the OOM killer, stderr into the log, cut
 * and rate limited.  It and its whole group are killed when its time is up, and what is left of the
 * group when it ends; zombies are ours alone (waitid on a pidfd).
 *
 * A process that leaves the group (setsid(), a shell with 'set -m') is out of reach.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define CHILD_OUT_MAX 4096

/* How much of stderr gets into the log: so many lines in so long, then only their number. */
#define CHILD_QUOTA_LINES 10
#define CHILD_QUOTA_MS 10000
struct child_quota { int64_t until_ms; unsigned int lines, dropped; };
/* True if one more line may go out at 'now_ms'; '*dropped' of the last period, to be told along. */
bool child_quota_take(struct child_quota *q, int64_t now_ms, unsigned int *dropped);

struct child;

struct child_params {
	sd_event *event;		/* borrowed until child_free() */
	const char *name;		/* for the log, copied */
	const char *const *argv;	/* argv[0] absolute; only for the call */
	const char *const *env;		/* "NAME=value" besides PATH, LANG=C.UTF-8; NULL: none; for the call */
	int timeout_ms;			/* > 0 */
	bool keeps_rest;		/* what it leaves behind when it ends by itself lives on: it may start daemons */
	struct child_quota *quota;	/* for runs in a row to share; until child_free(); NULL: its own */
	/*
	 * The end: 'status' as of waitpid(2), -1 if it took too long.  'out': the first CHILD_OUT_MAX bytes
	 * of stdout, NUL-terminated.  child_free() is allowed in it.
	 */
	void (*done)(void *arg, int status, const char *out, size_t size);
	void *arg;
};

/* 0, -EINVAL, -ENOENT, -EACCES, -ENOEXEC, -EMFILE, -ENOMEM, ...: nothing was started. */
int child_run(struct child **out, const struct child_params *p);
/* Kills it if it still runs; done() is not called.  NULL is fine. */
void child_free(struct child *c);

/* "exit status 3", "killed by SIGTERM", "took too long"; for the log. */
#define CHILD_STATUS_STR 40
const char *child_status_str(int status, char buf[CHILD_STATUS_STR]);

/* Why 'path' could not be started ('error': what child_run() said) and what to do, for the log. */
const char *child_error_str(const char *path, int error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_UNIT_H
#define CLUSTERD_IO_UNIT_H

/*
 * action = restart:UNIT.  Asks systemd over D-Bus (org.freedesktop.systemd1.Manager.RestartUnit, mode
 * "replace", org.freedesktop.systemd1(5)) and waits for JobRemoved of that job.  Asynchronous, on the
 * main loop's sd-event.  The bus is opened at the first use, and again after it was lost.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

struct unit_restart;

/*
 * 0, or -errno: nothing was asked, 'done' is not called.  'done': 'why' is NULL when the job's result
 * was "done", else a text ("job result failed", D-Bus error name, "took too long").  'address': D-Bus
 * address of systemd's bus, NULL: the system bus (tests use their own).
 */
int unit_restart(struct unit_restart **out, sd_event *event, const char *address, const char *unit,
		 int timeout_ms, void (*done)(void *arg, const char *why), void *arg);
/* Does not wait for it any more; done() is not called.  NULL is fine; allowed in done(). */
void unit_restart_free(struct unit_restart *r);

#endif

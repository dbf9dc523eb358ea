/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_PLUG_HOST_H
#define CLUSTERD_PLUG_HOST_H

/*
 * Runs instances of observers: everything that struct clusterd_host promises, on the main loop's
 * sd-event.  It decides nothing: results go to its user.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "plug/plugin.h"
#include "util/log.h"

struct host;

struct host_ops {
	/* As clusterd_host.connections. */
	int64_t (*connections)(void *arg, const char *service);
};

/* Borrows all until host_free().  0, -ENOMEM. */
int host_new(struct host **out, sd_event *event, unsigned int capacity_percent,
	     const struct host_ops *ops, void *arg);
/* Closes what is open. */
void host_free(struct host *h);

/*
 * Called for each report; value 0..1000 whatever the plugin said, 'why' is never NULL ("").  'tag' as
 * given to host_open().  host_close() of this or another instance is allowed in it.
 */
typedef void (*host_report_cb)(void *arg, unsigned int tag, int value, const char *why);
typedef void (*host_fact_cb)(void *arg, unsigned int tag, enum clusterd_fact fact, uint64_t value);

struct host_open {
	const struct clusterd_plugin *plugin;	/* registry_find(): an observer */
	const char *section;		/* "check web-http", for the log; copied */
	const struct clusterd_option *opt;
	size_t n_opt;
	unsigned int tag;
	host_report_cb report;
	host_fact_cb fact;		/* NULL: not wanted */
	void *arg;
};
/*
 * 0 or the plugin's -errno, logged: then it is tried again every 10 s, and until it is open looks
 * are answered with CLUSTERD_DEAD (a check) or not at all (a monitor).  '*out' NULL: -ENOMEM, no
 * instance.
 */
int host_open(struct host *h, struct clusterd_inst **out, const struct host_open *p);
void host_close(struct clusterd_inst *inst);	/* NULL is fine */
bool host_is_open(const struct clusterd_inst *inst);

/*
 * ops->start(); a report that comes from now on is its answer, maybe before this returns.  Allowed in a
 * report: it happens when the plugin has returned.
 */
void host_start(struct clusterd_inst *inst, int timeout_ms);
/* ops->stop(), and no report counts until the next start. */
void host_stop(struct clusterd_inst *inst);

/* CPU time that callbacks of this instance have taken since it was opened, us; programs not counted. */
uint64_t host_cpu_us(const struct clusterd_inst *inst);

#endif

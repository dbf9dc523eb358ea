/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "io/unit.h"

#define DEST "org.freedesktop.systemd1"
#define PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"

/*
 * A bus of its own for each restart: they are rare, and nothing has to be kept or noticed in between.
 * The slots of matches and calls belong to the bus and go with it.
 */
struct unit_restart {
	sd_bus *bus;
	sd_event_source *timer;
	char *job;		/* object path of our job; NULL: systemd has not answered yet */
	void (*done)(void *arg, const char *why);
	void *arg;
};

/* The last thing that is done with 'r': done() may free it. */
static int end(struct unit_restart *r, const char *why)
{
	void (*done)(void *, const char *) = r->done;

	r->done = NULL;
	sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
	if (done)
		done(r->arg, why);
	return 0;
}

static int on_removed(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct unit_restart *r = arg;
	const char *path, *unit, *result;
	char why[64];
	uint32_t id;

	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	/* systemd answers our call before it tells of the job's end. */
	if (!r->job || strcmp(path, r->job) != 0)
		return 0;
	snprintf(why, sizeof(why), "job result %s", result);
	return end(r, strcmp(result, "done") ? why : NULL);
}

static int on_restart(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const sd_bus_error *error = sd_bus_message_get_error(m);
	struct unit_restart *r = arg;
	const char *path;
	char why[300];

	if (error) {
		snprintf(why, sizeof(why), "%s: %s", error->name, error->message ? error->message : "");
		return end(r, why);
	}
	if (sd_bus_message_read(m, "o", &path) < 0)
		return end(r, "systemd answers in another way than expected");
	r->job = strdup(path);
	return r->job ? 0 : end(r, "out of memory");
}

/* Hello and AddMatch: if the bus does not let us, we would wait in vain. */
static int on_match(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const sd_bus_error *error = sd_bus_message_get_error(m);

	return error ? end(arg, error->name) : 0;
}

static int on_disconnected(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	return end(arg, "the bus to systemd is gone");
}

static int on_late(sd_event_source *s, uint64_t usec, void *arg)
{
	return end(arg, "took too long");
}

static int open_bus(sd_bus **bus, const char *address)
{
	int ret;

	if (!address)
		return sd_bus_open_system(bus);
	ret = sd_bus_new(bus);
	if (ret >= 0)
		ret = sd_bus_set_address(*bus, address);
	if (ret >= 0)
		ret = sd_bus_set_bus_client(*bus, true);
	if (ret >= 0)
		ret = sd_bus_start(*bus);
	return ret;
}

/*
 * All calls go out at once, in order: the match is in force when the job is made.  systemd sends
 * signals to those who subscribed, or who made the job; which of both a version does is no matter then.
 */
static int ask(struct unit_restart *r, const char *unit)
{
	int ret;

	ret = sd_bus_match_signal(r->bus, NULL, "org.freedesktop.DBus.Local", NULL,
				  "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, r);
	if (ret >= 0)
		ret = sd_bus_match_signal_async(r->bus, NULL, DEST, PATH, MANAGER, "JobRemoved",
						on_removed, on_match, r);
	if (ret >= 0)
		ret = sd_bus_call_method_async(r->bus, NULL, DEST, PATH, MANAGER, "Subscribe", NULL,
					       NULL, NULL);
	if (ret >= 0)
		ret = sd_bus_call_method_async(r->bus, NULL, DEST, PATH, MANAGER, "RestartUnit",
					       on_restart, r, "ss", unit, "replace");
	return ret;
}

int unit_restart(struct unit_restart **out, sd_event *event, const char *address, const char *unit,
		 int timeout_ms, void (*done)(void *arg, const char *why), void *arg)
{
	struct unit_restart *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->done = done;
	r->arg = arg;
	ret = open_bus(&r->bus, address);
	if (ret >= 0)
		ret = ask(r, unit);
	if (ret >= 0)
		ret = sd_bus_attach_event(r->bus, event, SD_EVENT_PRIORITY_NORMAL);
	if (ret >= 0)
		ret = sd_event_add_time_relative(event, &r->timer, CLOCK_MONOTONIC,
						 (uint64_t)timeout_ms * 1000, 0, on_late, r);
	if (ret < 0) {
		unit_restart_free(r);
		return ret;
	}
	*out = r;
	return 0;
}

void unit_restart_free(struct unit_restart *r)
{
	if (!r)
		return;
	sd_event_source_disable_unref(r->timer);
	if (r->bus) {
		/* Nothing of it is waited for: what is not sent yet is not sent any more. */
		sd_bus_detach_event(r->bus);
		sd_bus_close_unref(r->bus);
	}
	free(r->job);
	free(r);
}

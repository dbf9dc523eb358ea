/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-systemd: is a unit active?  Asks systemd over the system bus (org.freedesktop.systemd1(5)):
 * one property per look, by the unit's own object path, which systemd loads if need be.
 *
 * A bus that is lost, or a systemd that is busy, says nothing of the service: the last value stays for
 * KEEP looks, then it is CLUSTERD_WORKS.  The bus is opened again at the next look.
 */
#include <fcntl.h>
#include <poll.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "check_options.h"

#define DEST "org.freedesktop.systemd1"
#define UNIT_PATH "/org/freedesktop/systemd1/unit"
#define KEEP 3

struct unit {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	char name[256];
	char *path;			/* its object */
	sd_bus *bus;			/* NULL: not open */
	int own;			/* a duplicate of the fd of 'bus', watched; -1: none */
	sd_bus_slot *slot;		/* the question under way */
	bool looking;
	int timeout_ms;
	/* Set by the answer, read when libsystemd has returned. */
	bool answered, lost;
	int value;
	char why[400];
	/* What to say while nobody answers. */
	int last;
	unsigned int unanswered;	/* looks since then */
};

static const struct check_rule rules[] = {
	{ "unit", CHECK_TEXT, 1, 240, true },
};

static bool is_unit(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")] ==
	       '\0' && s[0] != '.' && s[0] != '-';
}

static int unit_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t err_size)
{
	int ret = check_options(rules, sizeof(rules) / sizeof(rules[0]), "systemd", opt, n, bad, err,
				err_size);

	if (!ret && !is_unit(check_get(opt, n, "unit"))) {
		*bad = "unit";
		snprintf(err, err_size, "is no name of a unit; write it as nginx.service");
		ret = -EINVAL;
	}
	return ret;
}

static int unit_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	const char *name = check_get(opt, n, "unit");
	struct unit *u = name ? calloc(1, sizeof(*u)) : NULL;
	int ret;

	if (!u)
		return name ? -ENOMEM : -EINVAL;
	u->host = host;
	u->inst = inst;
	u->own = -1;
	u->last = CLUSTERD_WORKS;
	u->unanswered = KEEP;
	/* As systemctl does. */
	snprintf(u->name, sizeof(u->name), "%s%s", name, strchr(name, '.') ? "" : ".service");
	ret = sd_bus_path_encode(UNIT_PATH, u->name, &u->path);
	if (ret < 0) {
		free(u);
		return ret;
	}
	*priv = u;
	return 0;
}

static void drop_bus(struct unit *u)
{
	if (u->own >= 0) {
		u->host->watch(u->inst, u->own, 0);
		close(u->own);
	}
	u->own = -1;
	u->slot = sd_bus_slot_unref(u->slot);
	u->bus = sd_bus_close_unref(u->bus);
}

static void unit_close(void *priv)
{
	struct unit *u = priv;

	if (u->own >= 0)
		close(u->own);
	sd_bus_slot_unref(u->slot);
	sd_bus_close_unref(u->bus);
	free(u->path);
	free(u);
}

static void unit_stop(void *priv)
{
	struct unit *u = priv;

	if (!u->looking)
		return;
	u->looking = false;
	u->slot = sd_bus_slot_unref(u->slot);
	u->host->timer(u->inst, -1);
}

/* The last thing that is done with 'u'. */
static void finish(struct unit *u, int value, const char *why)
{
	unit_stop(u);
	u->last = value;
	u->unanswered = 0;
	u->host->report(u->inst, value, why);
}

static void unanswered(struct unit *u, const char *why)
{
	unit_stop(u);
	if (u->unanswered < KEEP)
		u->unanswered++;
	else
		u->last = CLUSTERD_WORKS;
	u->host->report(u->inst, u->last, why);
}

static int ask(struct unit *u, const char *property);

static int on_load_state(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct unit *u = arg;
	const char *state;

	u->answered = true;
	u->value = CLUSTERD_DEAD;
	if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_enter_container(m, 'v', "s") < 0 ||
	    sd_bus_message_read(m, "s", &state) < 0 || !strcmp(state, "loaded"))
		snprintf(u->why, sizeof(u->why), "%s is inactive", u->name);
	else if (!strcmp(state, "not-found"))
		snprintf(u->why, sizeof(u->why), "there is no unit %s", u->name);
	else
		snprintf(u->why, sizeof(u->why), "%s is inactive, %.20s", u->name, state);
	return 0;
}

static void on_error(struct unit *u, const sd_bus_error *error)
{
	/* From systemd itself, about the unit; all others are about the way to it. */
	static const char *const about_unit[] = {
		DEST ".NoSuchUnit", DEST ".LoadFailed", "org.freedesktop.DBus.Error.UnknownObject",
		"org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.UnknownInterface",
	};
	size_t i;

	u->answered = u->lost = true;
	snprintf(u->why, sizeof(u->why), "systemd does not answer: %.100s", error->name);
	for (i = 0; i < sizeof(about_unit) / sizeof(about_unit[0]); i++) {
		if (strcmp(error->name, about_unit[i]) != 0)
			continue;
		u->lost = false;
		u->value = CLUSTERD_DEAD;
		snprintf(u->why, sizeof(u->why), "there is no unit %s", u->name);
	}
}

/* Does not report: the host may close the instance then, and libsystemd is still at work here. */
static int on_active_state(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct unit *u = arg;
	const char *state;

	if (sd_bus_message_is_method_error(m, NULL)) {
		on_error(u, sd_bus_message_get_error(m));
		return 0;
	}
	if (sd_bus_message_enter_container(m, 'v', "s") < 0 || sd_bus_message_read(m, "s", &state) < 0) {
		u->answered = u->lost = true;
		snprintf(u->why, sizeof(u->why), "systemd answers in another way than expected");
		return 0;
	}
	if (!strcmp(state, "inactive") && ask(u, "LoadState") >= 0)
		return 0;
	u->answered = true;
	u->value = CLUSTERD_DEAD;
	if (!strcmp(state, "active") || !strcmp(state, "reloading") || !strcmp(state, "refreshing"))
		u->value = CLUSTERD_FIT;
	else if (!strcmp(state, "activating") || !strcmp(state, "deactivating"))
		u->value = CLUSTERD_WORKS;
	snprintf(u->why, sizeof(u->why), "%s is %.20s", u->name, state);
	return 0;
}

static int ask(struct unit *u, const char *property)
{
	u->slot = sd_bus_slot_unref(u->slot);
	return sd_bus_call_method_async(u->bus, &u->slot, DEST, u->path,
					"org.freedesktop.DBus.Properties", "Get",
					!strcmp(property, "LoadState") ? on_load_state : on_active_state,
					u, "ss", DEST ".Unit", property);
}

/* Lets libsystemd do what can be done now, and then tells what came of it. */
static void pump(struct unit *u)
{
	int ret, turns, events;

	for (turns = 0; turns < 64; turns++) {
		ret = sd_bus_process(u->bus, NULL);
		if (ret <= 0)
			break;
	}
	events = ret < 0 ? ret : sd_bus_get_events(u->bus);
	/* A duplicate, because libsystemd closes its own when the connection ends. */
	if (events >= 0 && u->own < 0) {
		u->own = fcntl(sd_bus_get_fd(u->bus), F_DUPFD_CLOEXEC, 3);
		events = u->own < 0 ? -errno : events;
	}
	if (events >= 0)
		events = u->host->watch(u->inst, u->own, (short)(events & (POLLIN | POLLOUT)));
	if (events < 0)
		drop_bus(u);
	if (!u->looking)
		return;
	if (u->answered && !u->lost)
		finish(u, u->value, u->value == CLUSTERD_FIT ? NULL : u->why);
	else if (u->answered)
		unanswered(u, u->why);
	else if (events < 0)
		unanswered(u, "systemd does not answer: the bus is gone");
}

static void unit_start(void *priv, int timeout_ms)
{
	struct unit *u = priv;
	char why[100];
	int ret = 0;

	unit_stop(u);
	u->answered = u->lost = false;
	u->timeout_ms = timeout_ms;
	if (!u->bus)
		ret = sd_bus_open_system(&u->bus);
	if (ret >= 0)
		ret = ask(u, "ActiveState");
	if (ret < 0) {
		drop_bus(u);
		snprintf(why, sizeof(why), "systemd does not answer: %s", strerror(-ret));
		return unanswered(u, why);
	}
	u->looking = true;
	u->host->timer(u->inst, check_before(timeout_ms));
	pump(u);
}

static void unit_io(void *priv, int fd, short revents)
{
	struct unit *u = priv;

	if (u->bus && fd == u->own)
		pump(u);
}

/* The bus is opened anew as well: whoever sits at its other end may be gone without a word. */
static void unit_timer(void *priv)
{
	struct unit *u = priv;
	char why[64];

	if (!u->looking)
		return;
	drop_bus(u);
	snprintf(why, sizeof(why), "systemd does not answer within %d ms", u->timeout_ms);
	unanswered(u, why);
}

static const struct clusterd_observer_ops ops = {
	.validate = unit_validate,
	.open = unit_open,
	.close = unit_close,
	.start = unit_start,
	.stop = unit_stop,
	.io = unit_io,
	.timer = unit_timer,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = "systemd",
	.version = "1",
	.summary = "asks systemd whether a unit is active",
	.observer = &ops,
};

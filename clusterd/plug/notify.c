// SPDX-License-Identifier: GPL-2.0-or-later
#include "plug/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/conf.h"
#include "core/agent.h"
#include "plug/child.h"
#include "util/log.h"

#define SAY_EVERY_MS 10000
#define VARIABLES 10

/* "NAME=value", NUL-terminated, one after the other; EVENT_TEXT is the longest by far. */
struct waiting { size_t used; char env[EVENT_TEXT + VARIABLES * 64]; };

struct notify {
	sd_event *event;
	const struct conf *conf;
	unsigned int self;
	char path[CONF_TEXT];
	struct child *child;		/* the one that runs, for 'running' */
	char running[NAME_SIZE];
	unsigned int first, n;		/* of the ring */
	struct waiting ring[NOTIFY_QUEUE];
	struct log_limit said_dropped, said_failed;
};

int notify_new(struct notify **out, sd_event *event, const struct conf *c, unsigned int self)
{
	struct notify *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->event = event;
	n->conf = c;
	n->self = self;
	*out = n;
	return 0;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	child_free(n->child);
	free(n);
}

static int64_t now_ms(struct notify *n)
{
	uint64_t now = 0;

	sd_event_now(n->event, CLOCK_MONOTONIC, &now);
	return (int64_t)(now / 1000);
}

/* A hook that is broken fails for every event: do not fill the log with it. */
static void say_failed(struct notify *n, const char *what)
{
	uint64_t more;

	if (!log_allow(&n->said_failed, now_ms(n), SAY_EVERY_MS, &more))
		return;
	if (more)
		log_msg(LOG_WARNING, "notify", "%s, for %s: %s (and %" PRIu64 " more since the last "
			"such line)", n->path, n->running, what, more);
	else
		log_msg(LOG_WARNING, "notify", "%s, for %s: %s", n->path, n->running, what);
}

static void begin(struct notify *n);

static void done(void *arg, int status, const char *out, size_t size)
{
	struct notify *n = arg;
	char text[CHILD_STATUS_STR];

	child_free(n->child);
	n->child = NULL;
	if (status)
		say_failed(n, child_status_str(status, text));
	begin(n);
}

/* The oldest that waits; if it cannot be started, the next one. */
static void begin(struct notify *n)
{
	const char *env[VARIABLES + 1], *argv[] = { n->path, NULL };
	struct child_params p = {
		.event = n->event, .name = "notify", .argv = argv, .env = env,
		.timeout_ms = NOTIFY_TIMEOUT_MS, .done = done, .arg = n,
	};

	while (n->n && !n->child) {
		struct waiting *w = &n->ring[n->first];
		unsigned int i = 0;
		int err;

		for (size_t at = 0; at < w->used; at += strlen(w->env + at) + 1)
			env[i++] = w->env + at;
		env[i] = NULL;
		n->first = (n->first + 1) % NOTIFY_QUEUE;
		n->n--;
		snprintf(n->running, sizeof(n->running), "%s", strchr(env[0], '=') + 1);
		err = child_run(&n->child, &p);
		if (!err)
			return;
		n->child = NULL;
		say_failed(n, child_error_str(n->path, err));
	}
}

int notify_set(struct notify *n, const char *path)
{
	if (!path)
		path = "";
	if (strlen(path) >= sizeof(n->path))
		return -ENAMETOOLONG;
	strcpy(n->path, path);
	if (!*path)
		n->n = 0;
	return 0;
}

static void add(struct waiting *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Cuts what does not fit: then it is shorter, never wrong in form. */
static void add(struct waiting *w, const char *fmt, ...)
{
	size_t room = sizeof(w->env) - w->used;
	va_list ap;
	int len;

	if (room < 2)
		return;
	va_start(ap, fmt);
	len = vsnprintf(w->env + w->used, room, fmt, ap);
	va_end(ap);
	if (len >= 0)
		w->used += ((size_t)len < room ? (size_t)len : room - 1) + 1;
}

static void add_name(struct waiting *w, const char *key, const char *name)
{
	if (*name)
		add(w, "%s=%s", key, name);
}

static void fill(struct waiting *w, const struct conf *c, unsigned int self,
		 const struct agent_event *e)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	w->used = 0;
	add(w, "CLUSTERD_EVENT=%s", e->name);
	add(w, "CLUSTERD_TEXT=%.*s", EVENT_TEXT, e->text);
	add(w, "CLUSTERD_PRIORITY=%d", e->priority & 7);
	add(w, "CLUSTERD_TIME=%" PRId64, (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
	add(w, "CLUSTERD_CLUSTER=%s", c->name);
	add_name(w, "CLUSTERD_LOCAL", conf_node_name(c, self));
	add_name(w, "CLUSTERD_NODE", conf_node_name(c, e->node));
	add_name(w, "CLUSTERD_BY", conf_node_name(c, e->by));
	add_name(w, "CLUSTERD_SERVICE", conf_service_name(c, e->service));
	if (e->buckets)
		add(w, "CLUSTERD_BUCKETS=%" PRIu32, e->buckets);
}

void notify_add(struct notify *n, const struct agent_event *event)
{
	uint64_t more;

	if (!*n->path || event->priority >= LOG_DEBUG)
		return;
	if (n->n == NOTIFY_QUEUE) {
		n->first = (n->first + 1) % NOTIFY_QUEUE;
		n->n--;
		if (log_allow(&n->said_dropped, now_ms(n), SAY_EVERY_MS, &more))
			log_msg(LOG_WARNING, "notify", "%s is too slow: %d events wait, the "
				"oldest were dropped: %" PRIu64, n->path, NOTIFY_QUEUE, more + 1);
	}
	fill(&n->ring[(n->first + n->n) % NOTIFY_QUEUE], n->conf, n->self, event);
	n->n++;
	begin(n);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/events.h"

#include <errno.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "core/agent.h"

#define NAME_LEN 32

struct event {
	uint64_t seq;
	int64_t realtime_ms;
	int priority;
	uint32_t buckets;
	char name[NAME_LEN], text[EVENT_TEXT];
	char node[NAME_SIZE], by[NAME_SIZE], service[NAME_SIZE];	/* "": none */
};

struct events {
	void (*follow)(void *arg, const json_t *event);
	void *arg;
	uint64_t n;			/* ever added; event number i is ring[i % EVENTS_KEPT] */
	struct event ring[EVENTS_KEPT];
};

int events_new(struct events **out, void (*follow)(void *arg, const json_t *event), void *arg)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->follow = follow;
	e->arg = arg;
	*out = e;
	return 0;
}

void events_free(struct events *e)
{
	free(e);
}

static void copy_clean(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; from[i] && i + 1 < size; i++)
		to[i] = from[i] >= ' ' && from[i] < 0x7f ? from[i] : '?';
	to[i] = '\0';
}

static json_t *name_json(const char *name)
{
	return *name ? json_string(name) : json_null();
}

static json_t *event_json(const struct event *ev)
{
	return json_pack("{s:I, s:I, s:i, s:s, s:s, s:o, s:o, s:o, s:I}", "seq", (json_int_t)ev->seq,
			 "time_ms", (json_int_t)ev->realtime_ms, "priority", ev->priority,
			 "name", ev->name, "text", ev->text, "node", name_json(ev->node),
			 "by", name_json(ev->by), "service", name_json(ev->service),
			 "buckets", (json_int_t)ev->buckets);
}

void events_add(struct events *e, const struct conf *c, int64_t realtime_ms,
		const struct agent_event *event)
{
	struct event *ev = &e->ring[e->n % EVENTS_KEPT];
	json_t *json;

	ev->seq = ++e->n;
	ev->realtime_ms = realtime_ms;
	ev->priority = event->priority;
	ev->buckets = event->buckets;
	copy_clean(ev->name, sizeof(ev->name), event->name);
	copy_clean(ev->text, sizeof(ev->text), event->text);
	copy_clean(ev->node, sizeof(ev->node), conf_node_name(c, event->node));
	copy_clean(ev->by, sizeof(ev->by), conf_node_name(c, event->by));
	copy_clean(ev->service, sizeof(ev->service), conf_service_name(c, event->service));
	if (!e->follow)
		return;
	json = event_json(ev);
	if (json)
		e->follow(e->arg, json);
	json_decref(json);
}

json_t *events_json(const struct events *e)
{
	uint64_t i = e->n > EVENTS_KEPT ? e->n - EVENTS_KEPT : 0;
	json_t *array = json_array();

	for (; array && i < e->n; i++) {
		if (json_array_append_new(array, event_json(&e->ring[i % EVENTS_KEPT]))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

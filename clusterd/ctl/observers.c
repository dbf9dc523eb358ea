// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/observers.h"

#include <time.h>

#include "core/repl.h"
#include "ctl/status.h"

static json_t *text_or_null(const char *text)
{
	return text && *text ? json_string(text) : json_null();
}

static json_t *monitor(const struct ctl_monitor *m)
{
	bool known = m->value >= 0;

	return json_pack("{s:s, s:s, s:o, s:i, s:o, s:o, s:o, s:b, s:I}", "name", m->name, "type",
			 m->type, "value", known ? json_integer(m->value) : json_null(), "weight",
			 (int)m->weight, "load",
			 known ? status_load((unsigned int)m->value * m->weight / 100) : json_null(),
			 "why", text_or_null(m->why), "age_ms",
			 known ? json_integer((json_int_t)m->age_ms) : json_null(), "open", m->open,
			 "cpu_us", (json_int_t)m->cpu_us);
}

/* {service: number} */
static json_t *per_service(const struct ctl_ctx *x, const uint32_t *n)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < x->conf->n_services; i++)
		json_object_set_new(o, x->conf->service[i].name, json_integer(n[i]));
	return o;
}

static json_t *told(const struct ctl_ctx *x, unsigned int id)
{
	const struct sample *s = x->sample ? x->sample(x->arg, id) : NULL;

	if (!s)
		return json_pack("{s:o, s:n, s:n, s:n, s:n, s:n, s:n, s:n}", "name",
				 status_name(x, id), "load", "cpu_idle", "mem_free_kb", "blocked",
				 "swapping", "connections", "kbps");
	/* No node has no memory: none of its monitors tells. */
	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:o}", "name", status_name(x, id),
			 "load", status_load(s->load), "cpu_idle", status_load(s->cpu_idle),
			 "mem_free_kb", s->mem_free_kb ? json_integer(s->mem_free_kb) : json_null(), "blocked", (int)s->blocked,
			 "swapping", (int)s->swapping, "connections", per_service(x, s->conns), "kbps",
			 per_service(x, s->kbps));
}

json_t *observers_monitors(const struct ctl_ctx *x)
{
	/* One more: without a section for it, clusterd adds the monitor of the processors. */
	struct ctl_monitor m[MONITORS_MAX + 1];
	unsigned int n = x->monitors ? x->monitors(x->arg, m, MONITORS_MAX + 1) : 0;
	json_t *array = json_array(), *nodes = json_array();

	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(array, monitor(&m[i]));
	for (unsigned int id = 1; id <= x->conf->n_nodes; id++)
		json_array_append_new(nodes, told(x, id));
	return json_pack("{s:o, s:o, s:o}", "local", status_name(x, x->self), "monitors", array,
			 "nodes", nodes);
}

static json_t *check(const struct ctl_check *k, int64_t now)
{
	const struct health_status *h = &k->health;
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:s}", "name", k->name, "type", k->type,
			      "service", k->service, "state", check_state_str(h->state), "for_ms",
			      (json_int_t)(now - h->since), "known", h->known, "verdict",
			      fitness_str(h->verdict));

	if (!o)
		return NULL;
	json_object_set_new(o, "value", h->value < 0 ? json_null() : json_integer(h->value));
	json_object_set_new(o, "passed", json_integer(h->passed));
	json_object_set_new(o, "failed", json_integer(h->failed));
	json_object_set_new(o, "why", text_or_null(k->why));
	json_object_set_new(o, "action", text_or_null(k->action));
	json_object_set_new(o, "tries", json_integer(h->tries));
	json_object_set_new(o, "given_up", json_boolean(h->given_up));
	json_object_set_new(o, "looks", json_integer(h->looks));
	json_object_set_new(o, "late", json_integer(h->late));
	json_object_set_new(o, "open", json_boolean(k->open));
	json_object_set_new(o, "cpu_us", json_integer((json_int_t)k->cpu_us));
	return o;
}

json_t *observers_checks(const struct ctl_ctx *x)
{
	struct ctl_check k[CHECKS_MAX];
	unsigned int n = x->checks ? x->checks(x->arg, k, CHECKS_MAX) : 0;
	json_t *array = json_array(), *services = json_array(), *o;
	struct timespec ts;
	int64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(array, check(&k[i], now));
	for (unsigned int i = 0; i < x->conf->n_services; i++) {
		o = json_pack("{s:s}", "name", x->conf->service[i].name);
		if (o)
			status_health(x, i, o);
		json_array_append_new(services, o);
	}
	return json_pack("{s:o, s:o, s:o}", "local", status_name(x, x->self), "checks", array,
			 "services", services);
}

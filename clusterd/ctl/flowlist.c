// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/flowlist.h"

#include <netinet/in.h>
#include <string.h>

#include "core/compile.h"
#include "ctl/proto.h"
#include "ctl/status.h"
#include "ctl/trace.h"
#include "util/jhash.h"

struct list {
	const struct ctl_ctx *x;
	struct ctl_layout layout;
	json_t *flows;
	unsigned int service;		/* that is being walked */
	unsigned int limit;
	bool cut, failed;
};

/* False: no more fit. */
static bool add(struct list *l, const struct flow *f, const char *kind, unsigned int owner,
		uint32_t expires_ms)
{
	char client[ENDPOINT_STR], vip[ENDPOINT_STR];
	json_t *o;

	if (json_array_size(l->flows) >= l->limit) {
		l->cut = true;
		return false;
	}
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I}", "service",
		      l->x->conf->service[l->service].name, "kind", kind, "proto",
		      f->proto == IPPROTO_UDP ? "udp" : "tcp", "client",
		      endpoint_str(&f->client, f->sport, client), "vip",
		      endpoint_str(&f->vip, f->dport, vip), "node", status_name(l->x, f->node),
		      "owner", status_name(l->x, owner), "expires_ms", (json_int_t)expires_ms);
	if (!o || json_array_append_new(l->flows, o)) {
		l->failed = true;
		return false;
	}
	return true;
}

static uint32_t bucket_of(const struct list *l, const struct flow *f)
{
	return jhash_bucket(&f->client, f->sport, l->layout.now.hash[l->service] == HASH_SOURCE_PORT,
			    l->layout.now.buckets, l->x->seed[l->service]);
}

static bool add_redirected(void *arg, const struct flow *f, uint32_t expires_ms)
{
	struct list *l = arg;
	unsigned int director = status_owner(l->x, l->service, bucket_of(l, f));

	/* What stays here is not redirected. */
	return f->node == l->x->self || add(l, f, "redirected", director, expires_ms);
}

static bool add_kept(void *arg, const struct flow *f, uint32_t expires_ms)
{
	struct list *l = arg;
	unsigned int owner = status_owner(l->x, l->service, bucket_of(l, f));
	struct flow here = *f;

	here.node = (uint8_t)l->x->self;
	return owner == l->x->self || add(l, &here, "kept", owner, expires_ms);
}

/* 0, -errno. */
static int walk(struct list *l, unsigned int service)
{
	const struct ctl_ctx *x = l->x;

	l->service = service;
	if (x->conf->service[service].sched != SCHED_HASH)
		return x->flows ? x->flows(x->arg, service, add_redirected, l) : 0;
	return x->connections ? x->connections(x->arg, service, add_kept, l) : 0;
}

json_t *flowlist_reply(const struct ctl_ctx *x, int service, unsigned int limit)
{
	struct list l = { .x = x, .flows = json_array(), .limit = limit };
	int err = 0;

	status_layout(x, &l.layout);
	for (unsigned int i = 0; i < x->conf->n_services && !err && !l.cut && !l.failed; i++)
		if (service < 0 || (unsigned int)service == i)
			err = walk(&l, i);
	if (err || l.failed || !l.flows) {
		json_decref(l.flows);
		return proto_error(CTL_FAILED, "the connections cannot be read: %s",
				   err ? strerror(-err) : "out of memory");
	}
	return proto_result(json_pack("{s:o, s:i, s:b, s:o}", "local", status_name(x, x->self),
				      "limit", (int)limit, "cut", l.cut, "flows", l.flows));
}

static json_t *queue(const struct ctl_ctx *x, unsigned int i)
{
	struct ctl_queue q = { 0 };

	if (x->conf->service[i].sched == SCHED_HASH || !x->queue || x->queue(x->arg, i, &q))
		return json_null();
	return json_pack("{s:I, s:I, s:I}", "decisions", (json_int_t)q.decisions, "dropped",
			 (json_int_t)q.dropped, "overruns", (json_int_t)q.overruns);
}

json_t *flowlist_counters(const struct ctl_ctx *x)
{
	json_t *services = json_array(), *o;
	struct rules_counters c;

	for (unsigned int i = 0; i < x->conf->n_services; i++) {
		o = json_pack("{s:s, s:o}", "name", x->conf->service[i].name, "queue", queue(x, i));
		if (x->counters && !x->counters(x->arg, i, &c)) {
			json_object_set_new(o, "accepted", json_integer((json_int_t)c.accepted));
			json_object_set_new(o, "foreign", json_integer((json_int_t)c.foreign));
			json_object_set_new(o, "handed", json_integer((json_int_t)c.handed));
			json_object_set_new(o, "second", json_integer((json_int_t)c.second));
			json_object_set_new(o, "unknown", json_integer((json_int_t)c.unknown));
		}
		json_array_append_new(services, o);
	}
	return json_pack("{s:o, s:o}", "local", status_name(x, x->self), "services", services);
}

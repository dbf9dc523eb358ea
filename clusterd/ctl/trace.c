// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/compile.h"
#include "core/repl.h"
#include "ctl/proto.h"
#include "ctl/status.h"
#include "util/jhash.h"

static int port_parse(uint16_t *port, const char *text)
{
	unsigned int v = 0;
	const char *c;

	for (c = text; *c >= '0' && *c <= '9' && v <= UINT16_MAX; c++)
		v = 10 * v + (unsigned int)(*c - '0');
	if (c == text || *c || v > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

/* Cuts "/tcp" or "/udp" off. */
static void proto_cut(char *text, uint8_t *proto)
{
	char *slash = strrchr(text, '/');

	*proto = 0;
	if (!slash)
		return;
	if (!strcmp(slash, "/tcp"))
		*proto = IPPROTO_TCP;
	else if (!strcmp(slash, "/udp"))
		*proto = IPPROTO_UDP;
	else
		return;		/* stays, and no address has a '/' */
	*slash = '\0';
}

int endpoint_parse(struct endpoint *e, const char *text)
{
	char copy[ADDR_STR + 16], *host = copy, *port = NULL;
	struct endpoint out = { .port = 0 };

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	proto_cut(copy, &out.proto);
	if (copy[0] == '[') {
		char *close = strchr(copy, ']');

		if (!close || (close[1] && close[1] != ':'))
			return -EINVAL;
		host = copy + 1;
		*close = '\0';
		port = close[1] ? close + 2 : NULL;
		if (!strchr(host, ':'))
			return -EINVAL;
	} else {
		port = strchr(copy, ':');
		if (port && strchr(port + 1, ':'))
			port = NULL;		/* a bare IPv6 address */
		else if (port)
			*port++ = '\0';
	}
	if (addr_parse(&out.addr, host))
		return -EINVAL;
	if (port && port_parse(&out.port, port))
		return -EINVAL;
	out.has_port = port;
	*e = out;
	return 0;
}

const char *endpoint_str(const struct addr *a, uint16_t port, char buf[ENDPOINT_STR])
{
	char addr[ADDR_STR];

	addr_str(a, addr);
	snprintf(buf, ENDPOINT_STR, a->family == AF_INET6 ? "[%s]:%u" : "%s:%u", addr, port);
	return buf;
}

static bool serves(const struct conf_service *s, const struct endpoint *vip, bool *has_vip)
{
	unsigned int i;

	*has_vip = false;
	for (i = 0; i < s->n_vips; i++)
		*has_vip |= !addr_cmp(&s->vip[i], &vip->addr);
	if (!*has_vip)
		return false;
	for (i = 0; i < s->n_ports; i++) {
		const struct conf_port *p = &s->port[i];

		if (vip->proto && vip->proto != p->proto)
			continue;
		if (!vip->has_port || (vip->port >= p->lo && vip->port <= p->hi))
			return true;
	}
	return false;
}

/* Service index, or -1 with '*refusal'. */
static int find_service(const struct conf *c, const struct endpoint *vip, const char *text,
			json_t **refusal)
{
	bool has_vip, any = false;
	int found = -1;
	unsigned int i;

	for (i = 0; i < c->n_services; i++) {
		if (serves(&c->service[i], vip, &has_vip)) {
			if (found >= 0) {
				*refusal = proto_error(CTL_FAILED, "services %s and %s both have %s: "
						       "say which with VIP:PORT/tcp or VIP:PORT/udp",
						       c->service[found].name, c->service[i].name, text);
				return -1;
			}
			found = (int)i;
		}
		any |= has_vip;
	}
	if (found < 0)
		*refusal = any ? proto_error(CTL_FAILED, "no service has that port at %s; it goes to "
					     "the stack, where the guard drops it", text) :
				 proto_error(CTL_FAILED, "%s is not a VIP of any service", text);
	return found;
}

/* Why the bucket is where it is. */
static json_t *why_phase(const struct ctl_ctx *x, const struct repl_bucket *k, unsigned int owner)
{
	const char *o = k->owner ? x->conf->node[k->owner - 1].name : "nobody";
	const char *other = k->other ? x->conf->node[k->other - 1].name : "nobody";

	if (owner != k->owner)
		return json_sprintf("%s owns it by the group's table but has lost its lease; %s",
				    o, owner == NOBODY ? "nobody may inherit it yet" :
				    "its heir takes new flows until the group confirms");
	switch ((enum repl_phase)k->phase) {
	case PHASE_STABLE:
		return k->owner ? json_sprintf("%s owns it, nothing is moving", o) :
				  json_string("nobody owns it: no node is admitted");
	case PHASE_PREPARE:
		return json_sprintf("%s owns it; it is about to move to %s when all nodes know",
				    o, other);
	case PHASE_HANDOFF:
		return json_sprintf("%s owns it; %s prepares to take new flows", o, other);
	case PHASE_ADOPT:
		return json_sprintf("%s takes new flows handed over by %s, which keeps its "
				    "established ones", o, other);
	case PHASE_DRAIN:
		return json_sprintf("%s takes new flows; %s keeps its established ones until they "
				    "end", o, other);
	case PHASE_GRACE:
		return json_sprintf("%s inherited it from %s, which crashed and may come back for "
				    "its connections", o, other);
	case PHASES_N:
		break;
	}
	return json_string("?");
}

static bool has_moved(const struct repl_bucket *k)
{
	return k->phase == PHASE_ADOPT || k->phase == PHASE_DRAIN || k->phase == PHASE_GRACE;
}

/* What is known about one question. */
struct question {
	const struct ctl_ctx *x;
	const struct conf_service *s;
	unsigned int i;			/* of the service */
	const struct endpoint *client, *vip;
	struct ctl_layout layout;
	uint32_t bucket;
	unsigned int owner;
	struct bucket_action here;
};

static uint32_t bucket_by(const struct question *q, const struct layout *l)
{
	return jhash_bucket(&q->client->addr, q->client->port, l->hash[q->i] == HASH_SOURCE_PORT,
			    l->buckets, q->x->seed[q->i]);
}

static json_t *hash_text(const struct question *q, const struct layout *l, uint32_t bucket)
{
	char addr[ADDR_STR];

	addr_str(&q->client->addr, addr);
	if (l->hash[q->i] == HASH_SOURCE_PORT)
		return json_sprintf("jhash %s . %u mod %" PRIu32 " seed 0x%08" PRIx32 " = %" PRIu32, addr,
				    q->client->port, l->buckets, q->x->seed[q->i], bucket);
	return json_sprintf("jhash %s mod %" PRIu32 " seed 0x%08" PRIx32 " = %" PRIu32, addr,
			    l->buckets, q->x->seed[q->i], bucket);
}

/* Where the packet comes in. */
static json_t *front(const struct question *q)
{
	switch (q->s->dispatch) {
	case DISPATCH_FLOOD:
		return json_string("all");
	case DISPATCH_ANNOUNCE:
		return q->x->holder ? status_name(q->x, q->x->holder(q->x->arg, &q->vip->addr)) :
				      json_null();
	case DISPATCH_ROUTE:
		return json_string("any");
	}
	return json_null();
}

struct flow_search { const struct question *q; unsigned int node; };

static bool flow_match(void *arg, const struct flow *f, uint32_t expires_ms)
{
	struct flow_search *s = arg;
	const struct endpoint *client = s->q->client, *vip = s->q->vip;

	if (f->sport != client->port || addr_cmp(&f->client, &client->addr) ||
	    addr_cmp(&f->vip, &vip->addr) || (vip->has_port && f->dport != vip->port) ||
	    (vip->proto && f->proto != vip->proto))
		return true;
	s->node = f->node;
	return false;
}

/* The node that this node's flow map has for the connection, or NOBODY. */
static unsigned int flow_node(const struct question *q)
{
	struct flow_search s = { .q = q };

	if (q->s->sched == SCHED_HASH || !q->x->flows || !q->client->has_port)
		return NOBODY;
	(void)q->x->flows(q->x->arg, q->i, flow_match, &s);
	return s.node;
}

/* The node that this one hands new flows of the bucket to, or NOBODY. */
static unsigned int hands_to(const struct question *q)
{
	bool flood = q->s->dispatch == DISPATCH_FLOOD;

	switch ((enum bucket_state)q->here.state) {
	case BUCKET_LEAVING:
		return q->here.to;
	case BUCKET_FOREIGN:
	case BUCKET_ARRIVING:
	case BUCKET_DRAINING:
		return flood ? NOBODY : q->here.to;	/* flooded: 'to' has a copy of its own */
	case BUCKET_MINE:
	case BUCKET_ADOPTING:
	case BUCKET_STATES_N:
		break;
	}
	return NOBODY;
}

/* How this node would hand the packet to the node that serves it; null: it does not. */
static json_t *redirect(const struct question *q, unsigned int flow)
{
	unsigned int to = flow != NOBODY ? flow : hands_to(q);

	if (to == NOBODY || to == q->x->self)
		return json_null();
	return json_string(conf_redirect_str(q->s->redirect));
}

/* A rehash: where connections of before may still live. */
static void add_layout(const struct question *q, json_t *o)
{
	const struct ctl_layout *l = &q->layout;
	uint32_t b;

	json_object_set_new(o, "layout", json_pack("{s:I, s:s, s:o}", "buckets",
			    (json_int_t)l->now.buckets, "hash",
			    conf_hash_str((enum conf_hash)l->now.hash[q->i]), "rehash",
			    l->phase ? json_string(l->phase) : json_null()));
	if (!l->has_old || (l->old.hash[q->i] == HASH_SOURCE_PORT && !q->client->has_port)) {
		json_object_set_new(o, "old_bucket", json_null());
		json_object_set_new(o, "old_owner", json_null());
		return;
	}
	b = bucket_by(q, &l->old);
	json_object_set_new(o, "old_bucket", json_integer(b));
	json_object_set_new(o, "old_owner", q->x->old_owner ?
			    status_name(q->x, q->x->old_owner(q->x->arg, q->i, b)) : json_null());
}

static json_t *explain(struct question *q)
{
	const struct ctl_ctx *x = q->x;
	const struct repl *r = agent_repl(x->agent);
	unsigned int previous = NOBODY, next = NOBODY, flow;
	const struct repl_bucket *k;
	struct agent_status st;
	json_t *o;

	q->bucket = bucket_by(q, &q->layout.now);
	k = repl_get_bucket(r, q->i, q->bucket);
	q->here = compile_bucket(r, q->i, q->bucket, x->self, agent_lost(x->agent));
	q->owner = status_owner(x, q->i, q->bucket);
	if (q->owner != k->owner)
		previous = k->owner;
	else if (has_moved(k))
		previous = k->other;
	else
		next = k->other;
	flow = flow_node(q);
	agent_get_status(x->agent, &st);
	o = json_pack("{s:I, s:s, s:o, s:s, s:o}", "bucket", (json_int_t)q->bucket, "service",
		      q->s->name, "owner", status_name(x, q->owner), "state",
		      bucket_state_str(q->here.state), "previous", status_name(x, previous));
	if (!o)
		return NULL;
	json_object_set_new(o, "next", status_name(x, next));
	json_object_set_new(o, "phase", json_string(repl_phase_str(k->phase)));
	json_object_set_new(o, "dispatch", json_string(conf_dispatch_str(q->s->dispatch)));
	json_object_set_new(o, "front", front(q));
	json_object_set_new(o, "redirect", redirect(q, flow));
	json_object_set_new(o, "scheduler", json_string(conf_sched_str(q->s->sched)));
	json_object_set_new(o, "flow", status_name(x, flow));
	json_object_set_new(o, "local", status_name(x, x->self));
	json_object_set_new(o, "hands_to", status_name(x, hands_to(q)));
	json_object_set_new(o, "fenced", json_boolean(st.fenced));
	json_object_set_new(o, "why_silent",
			    st.why_silent ? json_string(st.why_silent) : json_null());
	json_object_set_new(o, "hash", hash_text(q, &q->layout.now, q->bucket));
	json_object_set_new(o, "why", why_phase(x, k, q->owner));
	add_layout(q, o);
	return o;
}

json_t *trace_reply(const struct ctl_ctx *x, const char *client_text, const char *vip_text)
{
	static const char form[] = "ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT";
	struct endpoint client, vip;
	struct question q = { .x = x, .client = &client, .vip = &vip };
	json_t *refusal = NULL;
	int i;

	if (endpoint_parse(&client, client_text))
		return proto_error(CTL_USAGE, "'%s' is not a client: give %s", client_text, form);
	if (endpoint_parse(&vip, vip_text))
		return proto_error(CTL_USAGE, "'%s' is not a VIP: give %s", vip_text, form);
	if (client.addr.family != vip.addr.family)
		return proto_error(CTL_USAGE, "%s and %s are not of the same address family",
				   client_text, vip_text);
	i = find_service(x->conf, &vip, vip_text, &refusal);
	if (i < 0)
		return refusal;
	q.i = (unsigned int)i;
	q.s = &x->conf->service[i];
	status_layout(x, &q.layout);
	if (q.layout.now.hash[i] == HASH_SOURCE_PORT && !client.has_port)
		return proto_error(CTL_USAGE, "service %s hashes the source port as well: give the "
				   "client's port", q.s->name);
	return proto_result(explain(&q));
}

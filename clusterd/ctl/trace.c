// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
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

static json_t *explain(const struct ctl_ctx *x, unsigned int i, const struct endpoint *client)
{
	const struct conf_service *s = &x->conf->service[i];
	bool with_port = s->hash == HASH_SOURCE_PORT;
	uint32_t b = jhash_bucket(&client->addr, client->port, with_port, x->conf->buckets,
				  x->seed[i]);
	const struct repl *r = agent_repl(x->agent);
	const struct repl_bucket *k = repl_get_bucket(r, i, b);
	struct bucket_action a = compile_bucket(r, i, b, x->self, agent_lost(x->agent));
	unsigned int owner = status_owner(x, i, b), previous = NOBODY, next = NOBODY;
	char addr[ADDR_STR];
	struct agent_status st;
	json_t *o;

	if (owner != k->owner)
		previous = k->owner;
	else if (has_moved(k))
		previous = k->other;
	else
		next = k->other;
	agent_get_status(x->agent, &st);
	o = json_pack("{s:I, s:s, s:o, s:s, s:o}", "bucket", (json_int_t)b, "service", s->name,
		      "owner", status_name(x, owner), "state", bucket_state_str(a.state),
		      "previous", status_name(x, previous));
	if (!o)
		return NULL;
	json_object_set_new(o, "next", status_name(x, next));
	json_object_set_new(o, "phase", json_string(repl_phase_str(k->phase)));
	json_object_set_new(o, "local", status_name(x, x->self));
	json_object_set_new(o, "hands_to", status_name(x, a.to));
	json_object_set_new(o, "fenced", json_boolean(st.fenced));
	json_object_set_new(o, "why_silent",
			    st.why_silent ? json_string(st.why_silent) : json_null());
	addr_str(&client->addr, addr);
	json_object_set_new(o, "hash", with_port ?
		json_sprintf("jhash %s . %u mod %" PRIu32 " seed 0x%08" PRIx32 " = %" PRIu32, addr,
			     client->port, x->conf->buckets, x->seed[i], b) :
		json_sprintf("jhash %s mod %" PRIu32 " seed 0x%08" PRIx32 " = %" PRIu32, addr,
			     x->conf->buckets, x->seed[i], b));
	json_object_set_new(o, "why", why_phase(x, k, owner));
	return o;
}

json_t *trace_reply(const struct ctl_ctx *x, const char *client_text, const char *vip_text)
{
	static const char form[] = "ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT";
	struct endpoint client, vip;
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
	if (x->conf->service[i].hash == HASH_SOURCE_PORT && !client.has_port)
		return proto_error(CTL_USAGE, "service %s hashes the source port as well: give the "
				   "client's port", x->conf->service[i].name);
	return proto_result(explain(x, (unsigned int)i, &client));
}

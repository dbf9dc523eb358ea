// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/status.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/compile.h"
#include "core/repl.h"

double status_local_load(void *arg)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	double load;

	if (getloadavg(&load, 1) != 1)
		return -1;
	return load / (cpus > 0 ? (double)cpus : 1);
}

json_t *status_name(const struct ctl_ctx *x, unsigned int node)
{
	const char *name = conf_node_name(x->conf, node);

	return *name ? json_string(name) : json_null();
}

unsigned int status_owner(const struct ctl_ctx *x, unsigned int service, uint32_t bucket)
{
	const struct repl *r = agent_repl(x->agent);
	unsigned int n, owner = repl_get_bucket(r, service, bucket)->owner;
	uint64_t lost = agent_lost(x->agent);

	if (!mask_has(lost, owner))
		return owner;
	for (n = 1; n <= x->conf->n_nodes; n++)
		if (!mask_has(lost, n) && repl_inherits(r, service, bucket, n, lost))
			return n;
	return NOBODY;
}

void status_layout(const struct ctl_ctx *x, struct ctl_layout *out)
{
	memset(out, 0, sizeof(*out));
	if (x->layout)
		x->layout(x->arg, out);
	else
		conf_layout(x->conf, &out->now);
}

static json_t *hex64(uint64_t v)
{
	return json_sprintf("%016" PRIx64, v);
}

static json_t *names(const struct ctl_ctx *x, uint64_t mask)
{
	json_t *array = json_array();
	unsigned int n;

	for (n = 1; n <= x->conf->n_nodes; n++)
		if (mask_has(mask, n))
			json_array_append_new(array, status_name(x, n));
	return array;
}

static json_t *witness(const struct ctl_ctx *x)
{
	if (!x->witness || x->conf->tiebreak != TIEBREAK_WITNESS)
		return json_null();
	switch (x->witness(x->arg)) {
	case CTL_WITNESS_ANSWERS:
		return json_string("answers");
	case CTL_WITNESS_SILENT:
		return json_string("silent");
	case CTL_WITNESS_NONE:
		break;
	}
	return json_null();
}

static json_t *cluster(const struct ctl_ctx *x)
{
	const struct repl *r = agent_repl(x->agent);
	struct agent_status s;
	struct ctl_layout l;
	uint32_t moving = 0;
	unsigned int i;
	json_t *o;

	agent_get_status(x->agent, &s);
	status_layout(x, &l);
	for (i = 0; i < x->conf->n_services; i++)
		moving += repl_moving(r, i);
	o = json_pack("{s:s, s:b, s:I, s:o, s:I, s:b}", "name", x->conf->name,
		      "quorate", s.quorate, "epoch", (json_int_t)repl_epoch(r),
		      "digest", hex64(repl_digest(r)), "buckets", (json_int_t)l.now.buckets,
		      "fenced", s.fenced);
	if (!o)
		return NULL;
	json_object_set_new(o, "leased", json_boolean(s.leased));
	json_object_set_new(o, "why_silent", s.why_silent ? json_string(s.why_silent) : json_null());
	json_object_set_new(o, "synced", json_boolean(s.synced));
	json_object_set_new(o, "group_up", json_boolean(s.group_up));
	json_object_set_new(o, "members", names(x, s.members));
	json_object_set_new(o, "coordinator", status_name(x, s.coordinator));
	json_object_set_new(o, "lost", names(x, agent_lost(x->agent)));
	json_object_set_new(o, "declared_dead", names(x, repl_dead(r)));
	json_object_set_new(o, "moving", json_integer(moving));
	json_object_set_new(o, "rehash", l.phase ? json_string(l.phase) : json_null());
	json_object_set_new(o, "buckets_next",
			    l.has_next ? json_integer(l.next.buckets) : json_null());
	json_object_set_new(o, "orders_done", json_integer((json_int_t)s.orders_back));
	json_object_set_new(o, "plan", json_integer((json_int_t)repl_plan(r)));
	json_object_set_new(o, "config", hex64(conf_digest(x->conf)));
	json_object_set_new(o, "lease_ms", json_integer(x->conf->lease_ms));
	json_object_set_new(o, "lease_left_ms",
			    x->lease_ms ? json_integer(x->lease_ms(x->arg)) : json_null());
	json_object_set_new(o, "witness", witness(x));
	json_object_set_new(o, "digest_mismatches", json_integer((json_int_t)s.digest_mismatches));
	json_object_set_new(o, "snapshots_loaded", json_integer((json_int_t)s.snapshots_loaded));
	json_object_set_new(o, "messages_bad", json_integer((json_int_t)s.messages_bad));
	return o;
}

/* What its monitors say; of this node, while they have said nothing, what the kernel does. */
static json_t *load(const struct ctl_ctx *x, unsigned int id)
{
	const struct sample *s = x->sample ? x->sample(x->arg, id) : NULL;
	double l = id == x->self && x->load ? x->load(x->arg) : -1;

	if (s)
		return status_load(s->load);
	/* Two decimals, as the kernel has them. */
	return l < 0 ? json_null() : json_real((double)(long)(l * 100 + 0.5) / 100);
}

json_t *status_load(unsigned int value)
{
	return json_real((double)value / 1000);
}

/* It gets nothing while it waits for 'failback'; unless all who could have something wait. */
static bool waits(const struct ctl_ctx *x, unsigned int id)
{
	const struct repl *r = agent_repl(x->agent);

	if (!repl_get_node(r, id)->hold_back)
		return false;
	for (unsigned int i = 1; i <= x->conf->n_nodes; i++)
		if (!repl_get_node(r, i)->hold_back && repl_node_weight(r, i))
			return true;
	return false;
}

/* What the node's services multiply their factors with: its weight, less during the slow start. */
static unsigned int node_weight(const struct ctl_ctx *x, unsigned int id, unsigned int ramp)
{
	unsigned int w = waits(x, id) ? 0 : repl_node_weight(agent_repl(x->agent), id);
	unsigned int scaled = (w * ramp + RAMP_FULL / 2) / RAMP_FULL;

	return w && !scaled ? 1 : scaled;
}

static json_t *node(const struct ctl_ctx *x, unsigned int id)
{
	const struct conf_node *c = &x->conf->node[id - 1];
	const struct repl *r = agent_repl(x->agent);
	const struct repl_node *n = repl_get_node(r, id);
	uint16_t configured = n->ever ? n->weight_conf : c->weight;
	bool ordered = n->weight_order != ORDER_AUTO;
	unsigned int ramp = n->ramp ? n->ramp : RAMP_FULL;	/* 0: it never was admitted */
	struct ctl_peer p = { .heard_ms = -1 };
	unsigned int i, left, right;
	json_int_t owned = 0;
	char addr[ADDR_STR];
	json_t *o;

	for (i = 0; i < x->conf->n_services; i++)
		owned += repl_owned(r, i, id);
	o = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:o}", "name", c->name, "id", (int)id,
		      "address", addr_str(&c->addr, addr),
		      "state", agent_node_state(x->agent, id),
		      "weight", ordered ? n->weight_order : configured,
		      "effective_weight", (int)node_weight(x, id, ramp), "load", load(x, id));
	if (!o)
		return NULL;
	json_object_set_new(o, "weight_configured", json_integer(configured));
	json_object_set_new(o, "weight_ordered", json_boolean(ordered));
	json_object_set_new(o, "local", json_boolean(id == x->self));
	json_object_set_new(o, "buckets", json_integer(owned));
	json_object_set_new(o, "term", json_integer(n->term));
	json_object_set_new(o, "drain", json_boolean(n->drain));
	json_object_set_new(o, "leaving", json_boolean(n->leaving));
	json_object_set_new(o, "hold_back", json_boolean(n->hold_back));
	json_object_set_new(o, "refused", json_boolean(n->refused));
	repl_ring(r, id, &left, &right);
	json_object_set_new(o, "left", status_name(x, left));
	json_object_set_new(o, "right", status_name(x, right));
	json_object_set_new(o, "ramp", ramp < RAMP_FULL ? json_integer((ramp + 5) / 10) : json_null());
	json_object_set_new(o, "returning", json_boolean(n->returning));
	if (id == x->self || !x->peer) {
		json_object_set_new(o, "heard_ms", json_null());
		json_object_set_new(o, "grant_ms", json_null());
		json_object_set_new(o, "granted", json_null());
		return o;
	}
	x->peer(x->arg, id, &p);
	json_object_set_new(o, "heard_ms", p.heard_ms < 0 ? json_null() : json_integer(p.heard_ms));
	json_object_set_new(o, "grant_ms", json_integer(p.grant_ms));
	json_object_set_new(o, "granted", json_boolean(p.granted));
	return o;
}

static json_t *nodes(const struct ctl_ctx *x)
{
	json_t *array = json_array();
	unsigned int id;

	for (id = 1; id <= x->conf->n_nodes; id++)
		json_array_append_new(array, node(x, id));
	return array;
}

static json_t *port_json(const struct conf_port *p)
{
	const char *proto = p->proto == IPPROTO_UDP ? "udp" : "tcp";

	return p->lo == p->hi ? json_sprintf("%s/%u", proto, p->lo) :
				json_sprintf("%s/%u-%u", proto, p->lo, p->hi);
}

static json_t *counters(const struct ctl_ctx *x, unsigned int i)
{
	struct rules_counters c;

	if (!x->counters || x->counters(x->arg, i, &c))
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "accepted", (json_int_t)c.accepted,
			 "foreign", (json_int_t)c.foreign, "handed", (json_int_t)c.handed,
			 "second", (json_int_t)c.second, "unknown", (json_int_t)c.unknown);
}

/* {VIP: node or null}; null where no node holds a VIP for itself. */
static json_t *holders(const struct ctl_ctx *x, const struct conf_service *s)
{
	char addr[ADDR_STR];
	json_t *o;

	if (s->dispatch != DISPATCH_ANNOUNCE || !x->holder)
		return json_null();
	o = json_object();
	for (unsigned int k = 0; k < s->n_vips; k++)
		json_object_set_new(o, addr_str(&s->vip[k], addr),
				    status_name(x, x->holder(x->arg, &s->vip[k])));
	return o;
}

static const char *health(const struct repl_node *n, unsigned int i)
{
	if (n->health[i] != FITNESS_DOWN && n->seen_down[i] != NOBODY)
		return "seen_down";
	return fitness_str((enum fitness)n->health[i]);
}

int status_health(const struct ctl_ctx *x, unsigned int i, json_t *o)
{
	const struct repl *r = agent_repl(x->agent);
	json_t *all = json_object(), *seen = json_object();

	for (unsigned int k = 1; k <= x->conf->n_nodes; k++) {
		const struct repl_node *n = repl_get_node(r, k);
		const char *name = x->conf->node[k - 1].name;
		bool here = n->state == NODE_ONLINE;	/* of others only what was is known */

		json_object_set_new(all, name, here ? json_string(health(n, i)) : json_null());
		if (here && n->seen_down[i] != NOBODY)
			json_object_set_new(seen, name, status_name(x, n->seen_down[i]));
	}
	return json_object_set_new(o, "health", all) | json_object_set_new(o, "seen_down", seen) |
	       json_object_set_new(o, "sorry", json_boolean(repl_sorry(r, i)));
}

/* By node: what counts where the service's new connections are given away. */
static json_t *weights(const struct ctl_ctx *x, unsigned int i)
{
	bool direct = x->conf->service[i].sched != SCHED_HASH;
	const struct repl *r = agent_repl(x->agent);
	json_t *o = json_object();

	for (unsigned int k = 1; k <= x->conf->n_nodes; k++) {
		unsigned int w = direct ? repl_serve_weight(r, i, k) : repl_weight(r, i, k);

		json_object_set_new(o, x->conf->node[k - 1].name,
				    json_integer((w + WEIGHT_SCALE / 2) / WEIGHT_SCALE));
	}
	return o;
}

static json_t *service(const struct ctl_ctx *x, unsigned int i, bool with_counters)
{
	const struct conf_service *s = &x->conf->service[i];
	const struct repl *r = agent_repl(x->agent);
	json_t *vips = json_array(), *ports = json_array(), *owned = json_object();
	struct ctl_layout l;
	char addr[ADDR_STR];
	unsigned int k;
	json_t *o;

	status_layout(x, &l);
	for (k = 0; k < s->n_vips; k++)
		json_array_append_new(vips, json_string(addr_str(&s->vip[k], addr)));
	for (k = 0; k < s->n_ports; k++)
		json_array_append_new(ports, port_json(&s->port[k]));
	for (k = 1; k <= x->conf->n_nodes; k++)
		json_object_set_new(owned, x->conf->node[k - 1].name,
				    json_integer(repl_owned(r, i, k)));
	o = json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "name", s->name,
		      "vips", vips, "ports", ports, "dispatch", conf_dispatch_str(s->dispatch),
		      "redirect", conf_redirect_str(s->redirect), "hash",
		      conf_hash_str((enum conf_hash)l.now.hash[i]),
		      "scheduler", conf_sched_str(s->sched), "moving", (json_int_t)repl_moving(r, i),
		      "draining", (json_int_t)repl_draining(r, i), "buckets", owned);
	if (!o)
		return NULL;
	json_object_set_new(o, "policy", json_string(*s->weights ? s->weights : "static"));
	json_object_set_new(o, "weights", weights(x, i));
	status_health(x, i, o);
	json_object_set_new(o, "unowned", json_integer(repl_owned(r, i, NOBODY)));
	json_object_set_new(o, "mac", s->dispatch == DISPATCH_FLOOD ?
			    json_string(conf_mac_str(s->mac)) : json_null());
	json_object_set_new(o, "holders", holders(x, s));
	json_object_set_new(o, "interface", s->interface[0] ? json_string(s->interface) : json_null());
	json_object_set_new(o, "seed", json_sprintf("0x%08" PRIx32, x->seed[i]));
	if (with_counters)
		json_object_set_new(o, "packets", counters(x, i));
	return o;
}

static json_t *services(const struct ctl_ctx *x, bool with_counters)
{
	json_t *array = json_array();
	unsigned int i;

	for (i = 0; i < x->conf->n_services; i++)
		json_array_append_new(array, service(x, i, with_counters));
	return array;
}

json_t *status_all(const struct ctl_ctx *x)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "cluster", cluster(x), "local",
			 status_name(x, x->self), "nodes", nodes(x), "services", services(x, false));
}

json_t *status_nodes(const struct ctl_ctx *x)
{
	return json_pack("{s:o, s:o}", "local", status_name(x, x->self), "nodes", nodes(x));
}

json_t *status_services(const struct ctl_ctx *x)
{
	return json_pack("{s:o, s:o}", "local", status_name(x, x->self), "services", services(x, true));
}

json_t *status_buckets(const struct ctl_ctx *x, unsigned int service_index)
{
	const struct repl *r = agent_repl(x->agent);
	json_t *owner = json_array(), *moving = json_array(), *ids = json_object();
	json_t *states = json_object(), *id[NODES_MAX + 1];
	uint64_t lost = agent_lost(x->agent);
	uint32_t count[BUCKET_STATES_N] = { 0 };
	struct ctl_layout l;
	unsigned int n, i;
	uint32_t b;
	char key[16];

	status_layout(x, &l);
	/* One JSON value per node, shared by all its buckets: 65536 of them fit in little memory. */
	for (n = 0; n <= NODES_MAX; n++)
		id[n] = json_integer(n);
	for (b = 0; b < l.now.buckets; b++) {
		const struct repl_bucket *k = repl_get_bucket(r, service_index, b);
		struct bucket_action a = compile_bucket(r, service_index, b, x->self, lost);

		count[a.state]++;
		json_array_append(owner, id[status_owner(x, service_index, b)]);
		if (k->phase == PHASE_STABLE)
			continue;
		json_array_append_new(moving, json_pack("[I, O, O, s, s]", (json_int_t)b,
							id[k->owner], id[k->other],
							repl_phase_str(k->phase),
							bucket_state_str(a.state)));
	}
	for (n = 0; n <= NODES_MAX; n++)
		json_decref(id[n]);
	for (n = 1; n <= x->conf->n_nodes; n++) {
		snprintf(key, sizeof(key), "%u", n);
		json_object_set_new(ids, key, status_name(x, n));
	}
	for (i = 0; i < BUCKET_STATES_N; i++)
		json_object_set_new(states, bucket_state_str(i), json_integer(count[i]));
	return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "service",
			 x->conf->service[service_index].name, "buckets",
			 (json_int_t)l.now.buckets, "local", status_name(x, x->self),
			 "nodes", ids, "owner", owner, "states", states, "moving", moving);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What the control socket's commands see and do of the daemon, and the reload of the configuration. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/status.h"
#include "plug/registry.h"
#include "turn_priv.h"

static int ctl_order(void *arg, enum order_type type, unsigned int node, uint16_t value,
		     const char **why)
{
	struct turn *t = arg;

	return agent_order(t->agent, type, node, value, why, now_ms());
}

static int ctl_counters(void *arg, unsigned int service, struct rules_counters *out)
{
	struct turn *t = arg;
	int err = rules_counters(t->setup->rules, service, out);

	return err ? err : early_counters(t->setup->early, service, out);
}

static int64_t left_ms(int64_t until_us, int64_t now_us)
{
	return until_us > now_us ? (until_us - now_us) / 1000 : 0;
}

static int64_t ctl_lease_ms(void *arg)
{
	struct turn *t = arg;
	struct heartbeat_status s;

	heartbeat_get_status(t->hb, &s);
	return left_ms(s.lease_until_us, s.now_us);
}

static void ctl_peer(void *arg, unsigned int node, struct ctl_peer *out)
{
	struct turn *t = arg;
	struct heartbeat_status s;

	heartbeat_get_status(t->hb, &s);
	out->heard_ms = s.peer[node].heard_us ? (s.now_us - s.peer[node].heard_us) / 1000 : -1;
	out->grant_ms = left_ms(s.peer[node].grant_until_us, s.now_us);
	out->granted = s.peer[node].granted;
}

static enum ctl_witness ctl_witness(void *arg)
{
	struct turn *t = arg;
	struct heartbeat_status s;

	if (t->conf.tiebreak != TIEBREAK_WITNESS)
		return CTL_WITNESS_NONE;
	heartbeat_get_status(t->hb, &s);
	return s.witness_until_us > s.now_us ? CTL_WITNESS_ANSWERS : CTL_WITNESS_SILENT;
}

/* ---- layout, ways, flows ---- */

static void ctl_layout(void *arg, struct ctl_layout *out)
{
	struct turn *t = arg;
	const struct repl *r = agent_repl(t->agent);
	const struct layout *old = repl_old_layout(r);
	struct layout wanted;

	memset(out, 0, sizeof(*out));
	out->now = *repl_layout(r);
	switch (repl_rehash_phase(r)) {
	case REHASH_NONE:
		break;
	case REHASH_FREEZE:
	case REHASH_SWITCH:
		out->phase = "freeze";
		break;
	case REHASH_MIXED:
		out->phase = "mixed";
		break;
	}
	conf_layout(&t->conf, &wanted);
	if (!layout_equal(&wanted, &out->now)) {
		out->has_next = true;
		out->next = wanted;
		if (!out->phase)
			out->phase = "waiting";
	}
	if (old) {
		out->has_old = true;
		out->old = *old;
	}
}

static unsigned int ctl_old_owner(void *arg, unsigned int service, uint32_t old_bucket)
{
	struct turn *t = arg;
	const uint8_t *owner = repl_old_owner(agent_repl(t->agent), service);

	return owner ? owner[old_bucket] : NOBODY;
}

static unsigned int ctl_holder(void *arg, const struct addr *vip)
{
	return ways_holder(arg, vip);
}

static int ctl_flows(void *arg, unsigned int service, ctl_flow_cb cb, void *cb_arg)
{
	struct turn *t = arg;

	return rules_flows_list(t->setup->rules, service, cb, cb_arg);
}

struct connections { ctl_flow_cb cb; void *arg; uint8_t service, self; };

static bool each_connection(void *arg, const struct flow *flow, uint32_t expires_ms)
{
	const struct connections *c = arg;
	struct flow f = *flow;

	f.service = c->service;
	f.node = c->self;
	return c->cb(c->arg, &f, expires_ms);
}

static int ctl_connections(void *arg, unsigned int service, ctl_flow_cb cb, void *cb_arg)
{
	struct turn *t = arg;
	struct connections c = { cb, cb_arg, (uint8_t)service, (uint8_t)t->self };
	const struct rules_service *v = &t->service[service];
	struct flows_service s = { .conf = v->conf, .seed = v->seed, .buckets = v->buckets,
				   .hash = v->hash };

	return flows_list(t->flows, &s, 1, each_connection, &c);
}

static int ctl_queue(void *arg, unsigned int service, struct ctl_queue *out)
{
	return flowpath_queue_stats(arg, service, out);
}

static void ctl_path_start(void *arg)
{
	flowpath_path_start(arg);
}

static void ctl_path(void *arg, unsigned int node, struct ctl_path *out)
{
	flowpath_path(arg, node, out);
}

/* ---- loads and health ---- */

static unsigned int ctl_monitors(void *arg, struct ctl_monitor *out, unsigned int max)
{
	return observe_monitors(arg, out, max);
}

static unsigned int ctl_checks(void *arg, struct ctl_check *out, unsigned int max)
{
	return observe_checks(arg, out, max);
}

static const struct sample *ctl_sample(void *arg, unsigned int node)
{
	struct turn *t = arg;

	return agent_sample_of(t->agent, node, now_ms());
}

static uint32_t ctl_preview(void *arg, enum order_type order, unsigned int node, uint16_t value,
			    void (*cb)(void *cb_arg, unsigned int service, uint32_t bucket,
				       unsigned int from, unsigned int to), void *cb_arg)
{
	struct turn *t = arg;

	return agent_preview(t->agent, order, node, value, cb, cb_arg);
}

/* ---- reload ---- */

static void note_change(void *arg, const char *section, const char *key, const char *old_text,
			const char *new_text, bool live)
{
	json_t *changes = arg;

	log_msg(LOG_NOTICE, "reload", "[%s] %s: %s -> %s%s", section, key, old_text, new_text,
		live ? "" : " (needs a restart)");
	json_array_append_new(changes, json_pack("{s:s, s:s, s:s, s:s, s:b}", "section", section,
						 "key", key, "old", old_text, "new", new_text,
						 "live", live));
}

static json_t *conf_complaints(const struct turn *t, const struct conf_errors *errs)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	json_t *result;

	if (!f)
		return NULL;
	conf_errors_print(errs, t->conf_path, f);
	fclose(f);
	result = json_pack("{s:s}", "error", text);
	free(text);
	return result;
}

static enum agent_failback failback(enum conf_failback f)
{
	switch (f) {
	case FAILBACK_AUTO: return AGENT_FAILBACK_AUTO;
	case FAILBACK_MANUAL: return AGENT_FAILBACK_MANUAL;
	case FAILBACK_NEVER_WHILE_BUSY: return AGENT_FAILBACK_NEVER_BUSY;
	}
	return AGENT_FAILBACK_AUTO;
}

void control_live_params(struct turn *t)
{
	t->ap.failback = failback(t->conf.failback);
	t->ap.slow_start_ms = t->conf.slow_start_ms;
	t->ap.busy = (uint16_t)(t->conf.busy * 10);
	t->ap.failback_delay_ms = t->conf.failback_delay_ms;
	t->ap.drain_timeout_ms = t->conf.drain_timeout_ms;
	t->ap.grace_ms = t->conf.grace_ms;
	t->ap.weight = t->conf.node[t->self - 1].weight;
}

/*
 * What this node wants from now on.  It comes into force when all nodes want it, see repl_layout();
 * until then, and also when nothing differs, wanting it again does no harm.
 */
static void apply_layout(struct turn *t, const struct conf *c)
{
	struct layout l;

	t->conf.buckets = c->buckets;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		int k = conf_service_by_name(c, t->conf.service[i].name);

		if (k >= 0)
			t->conf.service[i].hash = c->service[k].hash;
	}
	conf_layout(&t->conf, &l);
	if (agent_propose_layout(t->agent, &l, now_ms()))
		log_msg(LOG_ERR, "reload", "the new hash or number of buckets is not possible");
}

/* A check of a service that this process does not know waits for the restart, like the service. */
static void apply_observers(struct turn *t, const struct conf *c)
{
	memcpy(t->conf.monitor, c->monitor, sizeof(t->conf.monitor));
	t->conf.n_monitors = c->n_monitors;
	t->conf.n_checks = 0;
	for (unsigned int i = 0; i < c->n_checks; i++)
		if (conf_service_by_name(&t->conf, c->check[i].service) >= 0)
			t->conf.check[t->conf.n_checks++] = c->check[i];
	memset(&t->conf.check[t->conf.n_checks], 0,
	       (CHECKS_MAX - t->conf.n_checks) * sizeof(t->conf.check[0]));
	observe_reconf(t);
}

/* Only what can change live; the rest stays as it runs, so that the next reload names it again. */
static void apply_live(struct turn *t, const struct conf *c)
{
	uint16_t weight = t->conf.node[t->self - 1].weight;

	t->conf.failback = c->failback;
	t->conf.failback_delay_ms = c->failback_delay_ms;
	t->conf.drain_timeout_ms = c->drain_timeout_ms;
	t->conf.grace_ms = c->grace_ms;
	t->conf.slow_start_ms = c->slow_start_ms;
	t->conf.busy = c->busy;
	memcpy(t->conf.notify, c->notify, sizeof(t->conf.notify));
	if (t->conf.hang_ms != c->hang_ms && !heartbeat_set_hang(t->hb, c->hang_ms))
		t->conf.hang_ms = c->hang_ms;
	for (unsigned int i = 0; i < t->conf.n_nodes; i++) {
		unsigned int id = conf_node_by_name(c, t->conf.node[i].name);

		if (id != NOBODY)
			t->conf.node[i].weight = c->node[id - 1].weight;
	}
	apply_layout(t, c);
	control_live_params(t);
	agent_reconf(t->agent, &t->ap);
	apply_observers(t, c);
	t->weight_pending |= weight != t->ap.weight;
}

int control_reload(void *arg, json_t **result)
{
	struct turn *t = arg;
	struct conf_errors *errs = calloc(1, sizeof(*errs));
	struct conf *c = calloc(1, sizeof(*c));
	json_t *changes = json_array();
	int err = -ENOMEM;

	*result = NULL;
	if (!errs || !c || !changes)
		goto out;
	err = conf_read(c, t->conf_path, errs);
	if (!err && !registry_check_conf(c, errs))
		err = -EINVAL;
	if (err) {
		*result = conf_complaints(t, errs);
		goto out;
	}
	(void)conf_diff(&t->conf, c, note_change, changes);
	apply_live(t, c);
	*result = json_pack("{s:O}", "changes", changes);
out:
	json_decref(changes);
	free(c);
	free(errs);
	return err;
}

void control_fill(struct turn *t)
{
	struct ctl_ctx *x = &t->ctx;

	x->conf = &t->conf;
	x->self = t->self;
	x->agent = t->agent;
	x->events = t->events;
	x->arg = t;
	x->order = ctl_order;
	x->reload = control_reload;
	x->counters = ctl_counters;
	x->load = status_local_load;
	x->lease_ms = ctl_lease_ms;
	x->peer = ctl_peer;
	x->witness = ctl_witness;
	x->layout = ctl_layout;
	x->old_owner = ctl_old_owner;
	x->holder = ctl_holder;
	x->flows = ctl_flows;
	x->connections = ctl_connections;
	x->queue = ctl_queue;
	x->monitors = ctl_monitors;
	x->checks = ctl_checks;
	x->sample = ctl_sample;
	x->preview = ctl_preview;
	x->path_start = ctl_path_start;
	x->path = ctl_path;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/cmds.h"

#include <errno.h>
#include <string.h>

#include "ctl/events.h"
#include "ctl/flowlist.h"
#include "ctl/netcheck.h"
#include "ctl/observers.h"
#include "ctl/plan.h"
#include "ctl/proto.h"
#include "ctl/status.h"
#include "ctl/table.h"
#include "ctl/trace.h"

#define ARGS_MAX 4
#define WEIGHT_MAX 1000

struct request {
	const struct ctl_cmd *cmd;
	const char *arg[ARGS_MAX];
	unsigned int n_args;
	bool follow, yes;
	unsigned int limit;
};

/* NULL, or the refusal. */
static json_t *parse_args(struct request *q, const json_t *args)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(args))
		return proto_error(CTL_USAGE, "\"args\" must be an array of strings");
	if (json_array_size(args) > ARGS_MAX)
		return proto_error(CTL_USAGE, "too many arguments");
	json_array_foreach(args, i, item) {
		if (!json_is_string(item))
			return proto_error(CTL_USAGE, "\"args\" must be an array of strings");
		q->arg[i] = json_string_value(item);
	}
	q->n_args = (unsigned int)json_array_size(args);
	return NULL;
}

static json_t *parse_flag(bool *flag, const struct ctl_cmd *cmd, unsigned int allowed,
			  const char *key, const json_t *value)
{
	if (!json_is_boolean(value))
		return proto_error(CTL_USAGE, "\"%s\" must be true or false", key);
	*flag = json_is_true(value);
	if (*flag && !(cmd->flags & allowed))
		return proto_error(CTL_USAGE, "%s does not know \"%s\"", cmd->name, key);
	return NULL;
}

static json_t *parse_limit(struct request *q, const json_t *value)
{
	json_int_t n = json_integer_value(value);	/* 0 if it is none */

	if (!(q->cmd->flags & CTL_LIMIT))
		return proto_error(CTL_USAGE, "%s does not know \"limit\"", q->cmd->name);
	if (n < 1 || n > FLOWLIST_LIMIT_MAX)
		return proto_error(CTL_USAGE, "\"limit\" must be a number from 1 to %d",
				   FLOWLIST_LIMIT_MAX);
	q->limit = (unsigned int)n;
	return NULL;
}

static json_t *parse_request(struct request *q, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "cmd"));
	json_t *refusal = NULL, *value;
	const char *key;

	if (!name)
		return proto_error(CTL_USAGE, "the request has no \"cmd\"");
	q->cmd = ctl_cmd_find(name, false, NULL);
	if (!q->cmd || !(q->cmd->flags & CTL_DAEMON))
		return proto_error(CTL_USAGE, "clusterd knows no command '%s'", name);
	json_object_foreach((json_t *)request, key, value) {
		if (!strcmp(key, "cmd"))
			continue;
		if (!strcmp(key, "args"))
			refusal = parse_args(q, value);
		else if (!strcmp(key, "follow"))
			refusal = parse_flag(&q->follow, q->cmd, CTL_FOLLOW, key, value);
		else if (!strcmp(key, "yes"))
			refusal = parse_flag(&q->yes, q->cmd, CTL_YES, key, value);
		else if (!strcmp(key, "limit"))
			refusal = parse_limit(q, value);
		else
			refusal = proto_error(CTL_USAGE, "the request has an unknown key \"%s\"", key);
		if (refusal)
			return refusal;
	}
	if (q->n_args < q->cmd->min_args || q->n_args > q->cmd->max_args)
		return proto_error(CTL_USAGE, "usage: %s %s", q->cmd->name, q->cmd->args);
	return NULL;
}

static json_t *order(const struct ctl_ctx *x, enum order_type type, unsigned int node, uint16_t value)
{
	const char *why = NULL;
	int err;

	if (!x->order)
		return proto_error(CTL_FAILED, "this clusterd takes no orders");
	err = x->order(x->arg, type, node, value, &why);
	if (err)
		return proto_error(CTL_FAILED, "refused: %s", why ? why : strerror(-err));
	struct agent_status s;

	/* Whoever asked can wait until status shows that many orders of this node's as done. */
	agent_get_status(x->agent, &s);
	return proto_result(json_pack("{s:b, s:o, s:I}", "ordered", 1, "node", status_name(x, node),
				      "number", (json_int_t)s.orders_sent));
}

unsigned int cmds_node(const struct ctl_ctx *x, const char *name, json_t **refusal)
{
	unsigned int node = conf_node_by_name(x->conf, name);

	if (node == NOBODY)
		*refusal = proto_error(CTL_FAILED, "no node is called '%s' ('clusterctl nodes' lists "
				       "them)", name);
	return node;
}

static json_t *cmd_order(const struct ctl_ctx *x, enum order_type type, const char *name)
{
	json_t *refusal = NULL;
	unsigned int node = cmds_node(x, name, &refusal);

	return node == NOBODY ? refusal : order(x, type, node, 0);
}

json_t *cmds_weight(const char *text, uint16_t *value)
{
	unsigned int v = 0;
	const char *c;

	*value = ORDER_AUTO;
	if (!strcmp(text, "auto"))
		return NULL;
	for (c = text; *c >= '0' && *c <= '9' && v <= WEIGHT_MAX; c++)
		v = 10 * v + (unsigned int)(*c - '0');
	if (c == text || *c || v > WEIGHT_MAX)
		return proto_error(CTL_USAGE, "'%s' is not a weight: give 0..%d or auto", text,
				   WEIGHT_MAX);
	*value = (uint16_t)v;
	return NULL;
}

static json_t *cmd_weight(const struct ctl_ctx *x, const char *name, const char *text)
{
	json_t *refusal = NULL;
	unsigned int node = cmds_node(x, name, &refusal);
	uint16_t value;

	if (node == NOBODY)
		return refusal;
	refusal = cmds_weight(text, &value);
	return refusal ? refusal : order(x, ORDER_WEIGHT, node, value);
}

/*
 * The operator's word replaces a majority, so it must not contradict what we hear: a node whose
 * heartbeats arrive is not dead, and believing otherwise would let two nodes accept at once.
 */
static json_t *cmd_takeover(const struct ctl_ctx *x, const char *name, bool yes)
{
	struct ctl_peer p = { .heard_ms = -1 };
	json_t *refusal = NULL;
	unsigned int node = cmds_node(x, name, &refusal);

	if (node == NOBODY)
		return refusal;
	if (node == x->self)
		return proto_error(CTL_FAILED, "refused: %s is this node", name);
	if (!yes)
		return proto_error(CTL_FAILED, "refused without --yes: if %s still runs, two nodes "
				   "will answer for the same clients", name);
	if (x->peer)
		x->peer(x->arg, node, &p);
	if (p.heard_ms >= 0 && p.heard_ms <= 2 * (int64_t)x->conf->lease_ms)
		return proto_error(CTL_FAILED, "refused: %s is not dead, its heartbeat came %d ms ago",
				   name, (int)p.heard_ms);
	return order(x, ORDER_TAKEOVER, node, 0);
}

/* -1 with '*refusal' if there is no such service. */
static int find_service(const struct ctl_ctx *x, const char *name, json_t **refusal)
{
	int i = conf_service_by_name(x->conf, name);

	if (i < 0)
		*refusal = proto_error(CTL_FAILED, "no service is called '%s' ('clusterctl services' "
				       "lists them)", name);
	return i;
}

static json_t *cmd_buckets(const struct ctl_ctx *x, const char *name)
{
	json_t *refusal = NULL;
	int i = find_service(x, name, &refusal);

	return i < 0 ? refusal : proto_result(status_buckets(x, (unsigned int)i));
}

static json_t *cmd_flows(const struct ctl_ctx *x, const struct request *q)
{
	json_t *refusal = NULL;
	int i = q->n_args ? find_service(x, q->arg[0], &refusal) : -1;

	return refusal ? refusal : flowlist_reply(x, i, q->limit);
}

static json_t *cmd_events(const struct ctl_ctx *x)
{
	if (!x->events)
		return proto_error(CTL_FAILED, "this clusterd keeps no events");
	return proto_result(json_pack("{s:o}", "events", events_json(x->events)));
}

static json_t *cmd_reload(const struct ctl_ctx *x)
{
	json_t *result = NULL, *reply;
	const char *text;
	int err;

	if (!x->reload)
		return proto_error(CTL_FAILED, "this clusterd cannot reload");
	err = x->reload(x->arg, &result);
	if (!err)
		return proto_result(result);
	text = json_string_value(json_object_get(result, "error"));
	reply = proto_error(CTL_FAILED, "nothing was changed: %s", text ? text : strerror(-err));
	json_decref(result);
	return reply;
}

json_t *cmds_handle(void *arg, const json_t *request, bool *follow)
{
	const struct ctl_ctx *x = arg;
	struct request q = { .limit = FLOWLIST_LIMIT };
	json_t *refusal = parse_request(&q, request);

	*follow = false;
	if (refusal)
		return refusal;
	switch (q.cmd->id) {
	case CMD_STATUS:
		return proto_result(status_all(x));
	case CMD_NODES:
		return proto_result(status_nodes(x));
	case CMD_SERVICES:
		return proto_result(status_services(x));
	case CMD_BUCKETS:
		return cmd_buckets(x, q.arg[0]);
	case CMD_TRACE:
		return trace_reply(x, q.arg[0], q.arg[1]);
	case CMD_FLOWS:
		return cmd_flows(x, &q);
	case CMD_COUNTERS:
		return proto_result(flowlist_counters(x));
	case CMD_DOCTOR:
		return netcheck_reply(x);
	case CMD_DRAIN:
		return cmd_order(x, ORDER_DRAIN, q.arg[0]);
	case CMD_UNDRAIN:
		return cmd_order(x, ORDER_UNDRAIN, q.arg[0]);
	case CMD_WEIGHT:
		return cmd_weight(x, q.arg[0], q.arg[1]);
	case CMD_FAILBACK:
		return order(x, ORDER_FAILBACK, NOBODY, 0);
	case CMD_TAKEOVER:
		return cmd_takeover(x, q.arg[0], q.yes);
	case CMD_PLAN:
		return plan_reply(x, q.arg, q.n_args);
	case CMD_MONITORS:
		return proto_result(observers_monitors(x));
	case CMD_CHECKS:
		return proto_result(observers_checks(x));
	case CMD_EVENTS:
		*follow = q.follow && x->events;
		return cmd_events(x);
	case CMD_RELOAD:
		return cmd_reload(x);
	case CMD_PLUGINS:
	case CMD_CHECK:
	case CMD_COROSYNC_CONF:
	case CMD_WATCH:
	case CMD_HELP:
	case CMDS_N:
		break;	/* the table says that clusterctl does these by itself */
	}
	return proto_error(CTL_USAGE, "clusterd knows no command '%s'", q.cmd->name);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/plan.h"

#include <stdlib.h>
#include <string.h>

#include "core/repl.h"
#include "ctl/cmds.h"
#include "ctl/proto.h"
#include "ctl/status.h"

/* How many buckets move: of a service, from, to (NOBODY included). */
struct tally { uint32_t n[SERVICES_MAX][NODES_MAX + 1][NODES_MAX + 1]; };

/* What is not known of one move is not known of the total. */
struct total { uint64_t buckets, connections, kbps; bool known; };

static void count(void *arg, unsigned int service, uint32_t bucket, unsigned int from, unsigned int to)
{
	struct tally *t = arg;

	t->n[service][from][to]++;
}

/* The part of 'all' that 'moved' of 'owned' buckets are, rounded. */
static uint64_t part(uint64_t all, uint32_t moved, uint32_t owned)
{
	return owned ? (all * moved + owned / 2) / owned : 0;
}

static json_t *number(uint64_t n, bool known)
{
	return known ? json_integer((json_int_t)n) : json_null();
}

static json_t *move(const struct ctl_ctx *x, unsigned int service, unsigned int from, unsigned int to,
		    uint32_t n, struct total *total)
{
	const struct sample *s = from != NOBODY && x->sample ? x->sample(x->arg, from) : NULL;
	uint32_t owned = repl_owned(agent_repl(x->agent), service, from);
	bool known = s || from == NOBODY;	/* nobody's buckets have none */
	uint64_t connections = s ? part(s->conns[service], n, owned) : 0;
	uint64_t kbps = s ? part(s->kbps[service], n, owned) : 0;

	total->buckets += n;
	total->connections += connections;
	total->kbps += kbps;
	total->known &= known;
	return json_pack("{s:s, s:o, s:o, s:I, s:o, s:o}", "service", x->conf->service[service].name,
			 "from", status_name(x, from), "to", status_name(x, to), "buckets",
			 (json_int_t)n, "connections", number(connections, known), "kbps",
			 number(kbps, known));
}

static json_t *plan(const struct ctl_ctx *x, const char *order, enum order_type type,
		    unsigned int node, uint16_t value)
{
	struct tally *t = calloc(1, sizeof(*t));
	struct total total = { .known = true };
	json_t *moves = json_array(), *weight;
	unsigned int i, from, to;

	if (!t || !moves) {
		free(t);
		json_decref(moves);
		return NULL;
	}
	x->preview(x->arg, type, node, value, count, t);
	for (i = 0; i < x->conf->n_services; i++)
		for (from = 0; from <= x->conf->n_nodes; from++)
			for (to = 0; to <= x->conf->n_nodes; to++)
				if (t->n[i][from][to])
					json_array_append_new(moves, move(x, i, from, to,
							      t->n[i][from][to], &total));
	free(t);
	if (type != ORDER_WEIGHT)
		weight = json_null();
	else
		weight = value == ORDER_AUTO ? json_string("auto") : json_integer(value);
	return json_pack("{s:s, s:o, s:o, s:o, s:{s:I, s:o, s:o}}", "order", order, "node",
			 status_name(x, node), "weight", weight, "moves", moves, "total", "buckets",
			 (json_int_t)total.buckets, "connections",
			 number(total.connections, total.known), "kbps",
			 number(total.kbps, total.known));
}

json_t *plan_reply(const struct ctl_ctx *x, const char *const *arg, unsigned int n_args)
{
	static const struct { const char *name, *usage; enum order_type type; unsigned int args; } orders[] = {
		{ "drain", "drain NODE", ORDER_DRAIN, 2 },
		{ "undrain", "undrain NODE", ORDER_UNDRAIN, 2 },
		{ "weight", "weight NODE N|auto", ORDER_WEIGHT, 3 },
		{ "failback", "failback", ORDER_FAILBACK, 1 },
	};
	const size_t n = sizeof(orders) / sizeof(orders[0]);
	unsigned int node = NOBODY;
	json_t *refusal = NULL;
	struct agent_status s;
	uint16_t value = 0;
	size_t i;

	for (i = 0; i < n && strcmp(orders[i].name, arg[0]); i++)
		;
	if (i == n)
		return proto_error(CTL_USAGE, "'%s' cannot be planned: give drain, undrain, weight or "
				   "failback", arg[0]);
	if (n_args != orders[i].args)
		return proto_error(CTL_USAGE, "usage: plan %s", orders[i].usage);
	if (n_args > 1)
		node = cmds_node(x, arg[1], &refusal);
	if (n_args > 2 && !refusal)
		refusal = cmds_weight(arg[2], &value);
	if (refusal)
		return refusal;
	if (!x->preview)
		return proto_error(CTL_FAILED, "this clusterd cannot plan");
	/* What it would compute from is not what the cluster does. */
	agent_get_status(x->agent, &s);
	if (!s.synced)
		return proto_error(CTL_FAILED, "this node is not in step with the group; ask another one");
	return proto_result(plan(x, orders[i].name, orders[i].type, node, value));
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What others may know of the agent. */
#include "core/agent_priv.h"

static const char *why_silent(const struct agent *a)
{
	if (a->leased && a->term)
		return NULL;
	if (a->stopping)
		return "this node is stopping";
	if (!a->up)
		return "corosync is not there";
	if (a->config_differs || repl_get_node(a->repl, a->p.self)->refused)
		return "this node's clusterd.ini differs from the cluster's";
	if (!agent_quorate(a))
		return "there is no majority of nodes in the group";
	if (!a->synced)
		return "this node waits for the cluster's state";
	if (!a->reachable)
		return "too few nodes answer this node's heartbeat (is the UDP port open?)";
	if (a->installed != a->version)
		return "the kernel's rules are not installed";
	return "this node waits for its lease";
}

void agent_get_status(const struct agent *a, struct agent_status *s)
{
	*s = (struct agent_status){
		.group_up = a->up, .synced = a->synced, .quorate = agent_quorate(a),
		.leased = a->leased, .fenced = !a->leased, .members = a->members,
		.coordinator = agent_coordinator(a), .why_silent = why_silent(a),
		.digest_mismatches = a->n_mismatch, .snapshots_loaded = a->n_loaded,
		.messages_bad = a->n_bad, .layout_waits = !layout_equal(&a->want, repl_layout(a->repl)),
		.orders_sent = a->n_ordered, .orders_back = a->n_back,
	};
}

const char *agent_node_state(const struct agent *a, unsigned int id)
{
	const struct repl_node *n = repl_get_node(a->repl, id);

	if (n->state != NODE_ONLINE) {
		if (mask_has(a->members, id))
			return "joining";
		return n->state == NODE_FAILED ? "failed" : "offline";
	}
	if (mask_has(a->lost, id))
		return "failed";
	if (!n->drain && !n->leaving)
		return "online";
	for (unsigned int s = 0; s < a->p.repl.n_services; s++)
		if (repl_owned(a->repl, s, id))
			return "draining";
	return repl_count(a->repl, PHASE_DRAIN, NOBODY, id) ? "draining" : "drained";
}

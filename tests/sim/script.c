/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What scripts are made of: the cluster that they begin with, faults, orders, and what "all is well" means. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

/* ---- helpers ---- */

struct node *nd(struct sim *s, unsigned int i) { return &s->node[i]; }

unsigned int pick(struct sim *s) { return (unsigned int)rnd_in(s, 1, s->p.n_nodes); }

unsigned int pick_other(struct sim *s, unsigned int than)
{
	unsigned int i = (unsigned int)rnd_in(s, 1, s->p.n_nodes - 1);

	return i < than ? i : i + 1;
}

void quiet_defaults(struct sim *s, unsigned int nodes)
{
	s->p = (struct sim_params){
		.n_nodes = nodes ? nodes : (unsigned int)rnd_in(s, 3, 5),
		.n_services = 1, .buckets = rnd_chance(s, 300) ? 128 : 64,
		.lease = 150 * MS, .token = rnd_in(s, 2, 10) * 100 * MS, .hang = SEC,
		.failback_delay_ms = (uint32_t)rnd_in(s, 50, 800),
		.drain_timeout_ms = 60000, .grace_ms = 1500,
		.clock_ppm = 10000, .syn_every = 12 * MS, .flow_mean = SEC, .busy = 1000,
	};
	if (rnd_chance(s, 100))
		s->p.n_services = 2;
	s->p.consensus = s->p.token * 12 / 10;
	s->p.flap = rnd_chance(s, 400);
}

void rough_network(struct sim *s)
{
	s->p.loss = (unsigned int)rnd_in(s, 0, 80);
	s->p.dup = (unsigned int)rnd_in(s, 0, 100);
	s->p.slow = (unsigned int)rnd_in(s, 0, 40);
	s->p.late = rnd_chance(s, 500);
}

void build(struct sim *s)
{
	/* By seed, but no draw: which service is handed on, and how many VIPs there are. */
	uint64_t h = s->seed * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	if (!s->p.keys)
		s->p.keys = s->p.buckets;
	s->handed = (unsigned int)h & 3;
	s->n_vips = (unsigned int)(h >> 2) % (SIM_VIPS + 1);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct node *n = nd(s, i);
		int64_t ppm = s->p.clock_ppm;

		n->id = (uint8_t)i;
		n->weight = 100;
		n->file = (struct layout){ .buckets = s->p.buckets };
		/* the worst cases first: as fast and as slow as may be */
		n->ppm = rnd_chance(s, 500) ? rnd_in(s, -ppm, ppm) : rnd_chance(s, 500) ? ppm : -ppm;
		n->capacity = 1000;
		n->offset = rnd_in(s, SEC, 100 * SEC);
		n->wit_to = n->wit_from = true;
		for (unsigned int j = 1; j <= s->p.n_nodes; j++)
			s->path[i][j] = i != j;
	}
	post(s, s->now + s->p.syn_every, EV_SYN, 0, 0, 0, NULL);
}

void power_on_all(struct sim *s, int64_t spread)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		int64_t at = rnd_in(s, 0, spread);

		node_power_on(s, nd(s, i), at, at + rnd_in(s, 0, 300 * MS));
	}
}

/* ---- what "all is well" means ---- */

static bool shares_even(struct sim *s, const struct repl *r, unsigned int v, char *why, size_t size)
{
	struct weights w = { { 0 } };
	uint32_t target[NODES_MAX + 1];

	bool any = false;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		any |= (w.w[i] = repl_weight(r, v, i)) != 0;
	if (!any)	/* all are being drained: the buckets stay where they are */
		return true;
	assign_targets(&w, repl_layout(r)->buckets, repl_get_params(r)->salt[v], target);
	for (unsigned int i = 0; i <= s->p.n_nodes; i++)
		if (repl_owned(r, v, i) != target[i]) {
			snprintf(why, size, "node %u owns %u buckets of %u, not %u", i,
				 repl_owned(r, v, i), v, target[i]);
			return false;
		}
	return true;
}

static bool node_well(struct sim *s, const struct node *n, const struct node *ref, char *why, size_t size)
{
	const struct repl *r = agent_repl(n->agent), *q = agent_repl(ref->agent);
	struct agent_status st;

	agent_get_status(n->agent, &st);
	if (!st.synced || !st.leased || !kernel_leased(s, n))
		snprintf(why, size, "n%u is silent: %s", n->id,
			 st.why_silent ? st.why_silent : "kernel");
	else if (repl_epoch(r) != repl_epoch(q) || repl_digest(r) != repl_digest(q) ||
		 repl_lineage(r) != repl_lineage(q))
		snprintf(why, size, "n%u and n%u hold different states, epochs %llu and %llu", n->id,
			 ref->id, (unsigned long long)repl_epoch(r), (unsigned long long)repl_epoch(q));
	else if (agent_wants_install(n->agent) || n->installing)
		snprintf(why, size, "n%u is installing", n->id);
	else if (repl_get_node(r, n->id)->state != NODE_ONLINE)
		snprintf(why, size, "n%u is not admitted", n->id);
	else if (agent_lost(n->agent))
		snprintf(why, size, "n%u counts %llx as lost", n->id,
			 (unsigned long long)agent_lost(n->agent));
	else
		return true;
	return false;
}

/* Each VIP has one holder, and whoever has weight holds about as many as the others. */
static bool holders_well(struct sim *s, const struct repl *r, char *why, size_t size)
{
	unsigned int low = SIM_VIPS, high = 0;
	bool weighted = false;

	for (unsigned int v = 0; v < s->n_vips; v++) {
		uint64_t mask = 0;

		for (unsigned int i = 1; i <= s->p.n_nodes; i++)
			if (kernel_leased(s, nd(s, i)) && nd(s, i)->held >> v & 1)
				mask |= node_bit(i);
		if (mask != node_bit(repl_holder(r, v, 0))) {
			snprintf(why, size, "VIP %u is of node %u, but %llx answer", v,
				 repl_holder(r, v, 0), (unsigned long long)mask);
			return false;
		}
	}
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		unsigned int n = (unsigned int)__builtin_popcount(nd(s, i)->held);

		if (!repl_node_weight(r, i) || repl_get_node(r, i)->hold_back)
			continue;
		weighted = true;
		low = n < low ? n : low;
		high = n > high ? n : high;
	}
	if (weighted && high - low > 1)
		snprintf(why, size, "one node holds %u VIPs and another %u", low, high);
	return !weighted || high - low <= 1;
}

static bool layout_well(struct sim *s, const struct repl *r, char *why, size_t size)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (nd(s, i)->wanted && !layout_equal(repl_layout(r), &nd(s, i)->file)) {
			snprintf(why, size, "%u buckets and hash %u are not what n%u wants",
				 repl_layout(r)->buckets, repl_layout(r)->hash[0], i);
			return false;
		}
	if (repl_rehash_phase(r) == REHASH_NONE)
		return true;
	snprintf(why, size, "rehash in phase %d, acks %llx, mixed %llx", repl_rehash_phase(r),
		 (unsigned long long)repl_rehash_acks(r), (unsigned long long)repl_mixed(r));
	return false;
}

static bool buckets_well(struct sim *s, const struct repl *r, char *why, size_t size)
{
	for (unsigned int v = 0; v < s->p.n_services; v++) {
		if (repl_moving(r, v)) {
			snprintf(why, size, "%u buckets of %u are moving (prepare %u handoff %u adopt %u "
				 "drain %u grace %u)", repl_moving(r, v), v,
				 repl_count(r, PHASE_PREPARE, 0, 0), repl_count(r, PHASE_HANDOFF, 0, 0),
				 repl_count(r, PHASE_ADOPT, 0, 0), repl_count(r, PHASE_DRAIN, 0, 0),
				 repl_count(r, PHASE_GRACE, 0, 0));
			return false;
		}
		if (!shares_even(s, r, v, why, size))
			return false;
		for (uint32_t b = 0; b < s->p.keys; b++) {
			const struct layout *l = repl_layout(r);
			unsigned int owner = repl_get_bucket(r, v, key_bucket(s, l->buckets, l->hash[v],
									      b))->owner;

			if (owner && kernel_acceptors(s, v, b) != node_bit(owner)) {
				snprintf(why, size, "bucket %u/%u of n%u is accepted by %llx", v, b,
					 owner, (unsigned long long)kernel_acceptors(s, v, b));
				return false;
			}
		}
	}
	return true;
}

bool sim_converged(struct sim *s, char *why, size_t size)
{
	const struct node *ref = NULL;
	uint64_t want = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		const struct node *n = nd(s, i);

		if (!n->wanted)
			continue;
		want |= node_bit(i);
		if (!n->running || n->frozen || n->main_hung) {
			snprintf(why, size, "n%u does not run", i);
			return false;
		}
		if (!ref)
			ref = n;
	}
	for (uint64_t x = want; x; x &= x - 1)
		if (!node_well(s, nd(s, mask_lowest(x)), ref, why, size))
			return false;
	if (!ref)
		return true;
	if (repl_online(agent_repl(ref->agent)) != want || repl_plan(agent_repl(ref->agent))) {
		snprintf(why, size, "online are %llx, plan %llu",
			 (unsigned long long)repl_online(agent_repl(ref->agent)),
			 (unsigned long long)repl_plan(agent_repl(ref->agent)));
		return false;
	}
	return layout_well(s, agent_repl(ref->agent), why, size) &&
	       load_well(s, agent_repl(ref->agent), why, size) &&
	       buckets_well(s, agent_repl(ref->agent), why, size) &&
	       holders_well(s, agent_repl(ref->agent), why, size);
}

static void describe_nodes(struct sim *s)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		const struct node *n = nd(s, i);
		const struct repl *r = n->agent ? agent_repl(n->agent) : NULL;
		struct agent_status st;

		if (!r)
			continue;
		agent_get_status(n->agent, &st);
		trace(s, i, "epoch %llu online %llx%s%s %u buckets, wants %u, rehash %d: %s",
		      (unsigned long long)repl_epoch(r), (unsigned long long)repl_online(r),
		      st.synced ? " synced" : "", st.leased ? " leased" : "",
		      repl_layout(r)->buckets, n->file.buckets, repl_rehash_phase(r),
		      st.why_silent ? st.why_silent : "");
	}
}

/* Runs until all is well, and has been for a while (no plan is pending). */
void settle(struct sim *s, int64_t limit)
{
	int64_t end = s->now + limit, since = -1;
	int64_t hold = (s->p.failback_delay_ms + 300) * MS;
	char why[200] = "";

	for (;;) {
		sim_run(s, 20 * MS);
		if (!sim_converged(s, why, sizeof(why)))
			since = -1;
		else if (since < 0)
			since = s->now;
		else if (s->now - since >= hold)
			return;
		if (s->now > end)
			describe_nodes(s);
		if (s->now > end)
			sim_fail(s, 0, "not well after %lld ms: %s", (long long)limit / 1000, why);
	}
}

void boot(struct sim *s)
{
	build(s);
	power_on_all(s, rnd_chance(s, 500) ? 200 * MS : 2 * SEC);
	settle(s, GROUP_TIME(s) + 20 * SEC);
}

/* Everything that was broken is repaired; in the end all must be well again. */
void heal(struct sim *s)
{
	net_heal(s);
	s->p.loss = s->p.slow = s->p.dup = 0;
	s->p.late = false;
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct node *n = nd(s, i);

		node_freeze(s, n, false);
		node_hang_main(s, n, false);
		n->flow_rule = FLOW_ANY;
		if (!n->wanted)
			continue;
		if (!n->power)
			node_power_on(s, n, rnd_in(s, 0, SEC), rnd_in(s, 0, SEC));
		if (!n->corosync)
			post(s, s->now + rnd_in(s, 0, SEC), EV_COROSYNC, i, 0, 1, NULL);
		if (!n->running)
			post(s, s->now + rnd_in(s, 0, SEC), EV_START, i, 0, 0, NULL);
	}
	if (s->p.keys == REHASH_KEYS)	/* reloads are under way */
		sim_run(s, 1100 * MS);
	for (unsigned int i = 2; i <= s->p.n_nodes; i++)
		if (!layout_equal(&nd(s, i)->file, &nd(s, 1)->file))
			node_reload(s, nd(s, i), &nd(s, 1)->file);
	kernel_watch_gaps(s, -1, 0, false);
	s->no_syn = true;
	flow_drop_all(s);
	settle(s, GROUP_TIME(s) + 40 * SEC);
}

void all_flows(struct sim *s, enum flow_rule rule)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		nd(s, i)->flow_rule = rule;
}

/* From here on nothing may be lost or reset. */
void watch_planned(struct sim *s)
{
	all_flows(s, FLOW_STRICT);
	kernel_watch_gaps(s, 0, 0, false);
}

/* One of the nodes is going to be lost: its buckets may be silent for 2 leases, and no others. */
void watch_loss(struct sim *s, uint64_t victims)
{
	all_flows(s, FLOW_STRICT);
	for (uint64_t x = victims; x; x &= x - 1)
		nd(s, mask_lowest(x))->flow_rule = FLOW_ANY;
	kernel_watch_gaps(s, 2 * s->p.lease + SLACK, victims, false);
}

void order(struct sim *s, enum order_type type, unsigned int node, uint16_t value)
{
	const char *why = NULL;
	unsigned int at = pick(s);

	for (unsigned int k = 0; k < s->p.n_nodes && !nd(s, at)->running; k++)
		at = at % s->p.n_nodes + 1;
	if (!nd(s, at)->running || nd(s, at)->frozen || nd(s, at)->main_hung)
		return;
	int err = agent_order(nd(s, at)->agent, type, node, value, &why, node_ms(s, nd(s, at)));

	trace(s, at, "ORDER %d node %u value %u: %d %s", type, node, value, err, why ? why : "");
	node_settle(s, nd(s, at));
}

void stop_clean(struct sim *s, struct node *n)
{
	if (!n->running || n->frozen || n->main_hung)
		return;
	trace(s, n->id, "clean stop");
	n->wanted = false;
	agent_stop(n->agent, node_ms(s, n));
	node_settle(s, n);
}

void remember_owners(struct sim *s, uint8_t owner[SIM_SERVICES][SIM_BUCKETS])
{
	const struct node *n = NULL;

	for (unsigned int i = 1; i <= s->p.n_nodes && !n; i++)
		if (nd(s, i)->running && nd(s, i)->wanted)
			n = nd(s, i);
	for (unsigned int v = 0; n && v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.buckets; b++)
			owner[v][b] = repl_get_bucket(agent_repl(n->agent), v, b)->owner;
}

/* Between 'before' and now buckets moved only to (or, gone: from) that node. */
void check_moves(struct sim *s, uint8_t before[SIM_SERVICES][SIM_BUCKETS], unsigned int node,
			bool gone)
{
	uint8_t after[SIM_SERVICES][SIM_BUCKETS];

	remember_owners(s, after);
	for (unsigned int v = 0; v < s->p.n_services; v++)
		for (uint32_t b = 0; b < s->p.buckets; b++)
			if (before[v][b] != after[v][b] && (gone ? before[v][b] : after[v][b]) != node)
				sim_fail(s, node, "bucket %u/%u moved from node %u to %u for nothing", v,
					 b, before[v][b], after[v][b]);
}

void fault(struct sim *s, unsigned int victim, unsigned int kind)
{
	struct node *n = nd(s, victim);

	switch (kind) {
	case 0:
		node_power_off(s, n);
		break;
	case 1:
		trace(s, victim, "FAULT SIGKILL");
		node_kill(s, n);
		if (rnd_chance(s, 600))
			post(s, s->now + rnd_in(s, 80 * MS, 900 * MS), EV_START, victim, 0, 0, NULL);
		break;
	case 2:
		node_freeze(s, n, true);
		break;
	case 3:
		net_partition(s, node_bit(victim));
		break;
	case 4:
		node_hang_main(s, n, true);
		break;
	case 5:
		corosync_die(s, n);
		if (rnd_chance(s, 700))
			post(s, s->now + rnd_in(s, 50 * MS, 3 * SEC), EV_COROSYNC, victim, 0, 1, NULL);
		break;
	}
}

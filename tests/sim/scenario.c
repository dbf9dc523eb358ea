/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Scripts: what happens to the cluster, and what must hold meanwhile and afterwards. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define SLACK (60 * MS)

/* ---- helpers ---- */

static struct node *nd(struct sim *s, unsigned int i) { return &s->node[i]; }

static unsigned int pick(struct sim *s) { return (unsigned int)rnd_in(s, 1, s->p.n_nodes); }

static unsigned int pick_other(struct sim *s, unsigned int than)
{
	unsigned int i = (unsigned int)rnd_in(s, 1, s->p.n_nodes - 1);

	return i < than ? i : i + 1;
}

static void quiet_defaults(struct sim *s, unsigned int nodes)
{
	s->p = (struct sim_params){
		.n_nodes = nodes ? nodes : (unsigned int)rnd_in(s, 3, 5),
		.n_services = 1, .buckets = rnd_chance(s, 300) ? 128 : 64,
		.lease = 150 * MS, .token = rnd_in(s, 2, 10) * 100 * MS, .hang = SEC,
		.failback_delay_ms = (uint32_t)rnd_in(s, 50, 800),
		.drain_timeout_ms = 60000, .grace_ms = 1500,
		.clock_ppm = 10000, .syn_every = 12 * MS, .flow_mean = SEC,
	};
	if (rnd_chance(s, 100))
		s->p.n_services = 2;
	s->p.consensus = s->p.token * 12 / 10;
	s->p.flap = rnd_chance(s, 400);
}

static void rough_network(struct sim *s)
{
	s->p.loss = (unsigned int)rnd_in(s, 0, 80);
	s->p.dup = (unsigned int)rnd_in(s, 0, 100);
	s->p.slow = (unsigned int)rnd_in(s, 0, 40);
	s->p.late = rnd_chance(s, 500);
}

static void build(struct sim *s)
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
		n->offset = rnd_in(s, SEC, 100 * SEC);
		n->wit_to = n->wit_from = true;
		for (unsigned int j = 1; j <= s->p.n_nodes; j++)
			s->path[i][j] = i != j;
	}
	post(s, s->now + s->p.syn_every, EV_SYN, 0, 0, 0, NULL);
}

static void power_on_all(struct sim *s, int64_t spread)
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
		any |= (w.w[i] = repl_weight(r, i)) != 0;
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

		if (!repl_weight(r, i))
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
	       buckets_well(s, agent_repl(ref->agent), why, size) &&
	       holders_well(s, agent_repl(ref->agent), why, size);
}

/* Runs until all is well, and has been for a while (no plan is pending). */
static void settle(struct sim *s, int64_t limit)
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
			sim_fail(s, 0, "not well after %lld ms: %s", (long long)limit / 1000, why);
	}
}

#define GROUP_TIME(s) (2 * ((s)->p.token + (s)->p.consensus) + 4 * SEC)

static void boot(struct sim *s)
{
	build(s);
	power_on_all(s, rnd_chance(s, 500) ? 200 * MS : 2 * SEC);
	settle(s, GROUP_TIME(s) + 20 * SEC);
}

/* Everything that was broken is repaired; in the end all must be well again. */
static void heal(struct sim *s)
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
	kernel_watch_gaps(s, -1, 0, false);
	s->no_syn = true;
	flow_drop_all(s);
	settle(s, GROUP_TIME(s) + 40 * SEC);
}

static void all_flows(struct sim *s, enum flow_rule rule)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		nd(s, i)->flow_rule = rule;
}

/* From here on nothing may be lost or reset. */
static void watch_planned(struct sim *s)
{
	all_flows(s, FLOW_STRICT);
	kernel_watch_gaps(s, 0, 0, false);
}

/* One of the nodes is going to be lost: its buckets may be silent for 2 leases, and no others. */
static void watch_loss(struct sim *s, uint64_t victims)
{
	all_flows(s, FLOW_STRICT);
	for (uint64_t x = victims; x; x &= x - 1)
		nd(s, mask_lowest(x))->flow_rule = FLOW_ANY;
	kernel_watch_gaps(s, 2 * s->p.lease + SLACK, victims, false);
}

static void order(struct sim *s, enum order_type type, unsigned int node, uint16_t value)
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

static void stop_clean(struct sim *s, struct node *n)
{
	if (!n->running || n->frozen || n->main_hung)
		return;
	trace(s, n->id, "clean stop");
	n->wanted = false;
	agent_stop(n->agent, node_ms(s, n));
	node_settle(s, n);
}

static void remember_owners(struct sim *s, uint8_t owner[SIM_SERVICES][SIM_BUCKETS])
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
static void check_moves(struct sim *s, uint8_t before[SIM_SERVICES][SIM_BUCKETS], unsigned int node,
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

/* ---- scenarios ---- */

static void sc_boot(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 1, 6));
	boot(s);
	watch_planned(s);
	sim_run(s, 12 * SEC);		/* past a comparison of digests */
	settle(s, SEC * 2);
}

static void sc_power_off(struct sim *s, unsigned int nodes)
{
	uint8_t owner[SIM_SERVICES][SIM_BUCKETS];
	unsigned int victim;

	quiet_defaults(s, nodes);
	boot(s);
	victim = pick(s);
	watch_loss(s, node_bit(victim));
	sim_run(s, rnd_in(s, 0, SEC));
	node_power_off(s, nd(s, victim));
	nd(s, victim)->wanted = false;
	sim_run(s, 2 * s->p.lease + 2 * SLACK);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	remember_owners(s, owner);
	watch_planned(s);
	node_power_on(s, nd(s, victim), rnd_in(s, 0, SEC), rnd_in(s, 0, SEC));
	settle(s, GROUP_TIME(s) + 20 * SEC);
	check_moves(s, owner, victim, false);
	heal(s);
}

static void sc_crash_restart(struct sim *s, unsigned int nodes)
{
	unsigned int victim;

	quiet_defaults(s, nodes);
	boot(s);
	victim = pick(s);
	watch_loss(s, node_bit(victim));
	/* It comes back for its connections in time: nobody may reset them meanwhile. */
	nd(s, victim)->flow_rule = FLOW_NO_RESET;
	sim_run(s, rnd_in(s, 0, SEC));
	trace(s, victim, "FAULT SIGKILL");
	node_kill(s, nd(s, victim));
	post(s, s->now + rnd_in(s, 80 * MS, 200 * MS), EV_START, victim, 0, 0, NULL);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

static void sc_crash_stays(struct sim *s, unsigned int nodes)
{
	unsigned int victim;

	quiet_defaults(s, nodes);
	s->p.grace_ms = 500;
	boot(s);
	victim = pick(s);
	watch_loss(s, node_bit(victim));
	trace(s, victim, "FAULT SIGKILL");
	node_kill(s, nd(s, victim));
	nd(s, victim)->wanted = false;
	settle(s, GROUP_TIME(s) + 20 * SEC);
	nd(s, victim)->wanted = true;
	watch_planned(s);
	node_start(s, nd(s, victim));
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

static void sc_sigstop(struct sim *s, unsigned int nodes)
{
	unsigned int victim;

	quiet_defaults(s, nodes);
	boot(s);
	victim = pick(s);
	watch_loss(s, node_bit(victim));
	sim_run(s, rnd_in(s, 0, SEC));
	node_freeze(s, nd(s, victim), true);
	sim_run(s, rnd_chance(s, 500) ? rnd_in(s, MS, 400 * MS) : rnd_in(s, 400 * MS, 6 * SEC));
	node_freeze(s, nd(s, victim), false);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

static void sc_hang(struct sim *s, unsigned int nodes)
{
	unsigned int victim;

	quiet_defaults(s, nodes);
	boot(s);
	victim = pick(s);
	all_flows(s, FLOW_STRICT);
	nd(s, victim)->flow_rule = FLOW_ANY;
	kernel_watch_gaps(s, s->p.hang + 2 * s->p.lease + SLACK, node_bit(victim), false);
	node_hang_main(s, nd(s, victim), true);
	sim_run(s, rnd_in(s, 10 * MS, 3 * SEC));
	node_hang_main(s, nd(s, victim), false);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

static void sc_isolated(struct sim *s, unsigned int nodes)
{
	unsigned int victim;

	quiet_defaults(s, nodes);
	boot(s);
	victim = pick(s);
	watch_loss(s, node_bit(victim));
	net_partition(s, node_bit(victim));
	sim_run(s, rnd_chance(s, 300) ? rnd_in(s, MS, 500 * MS) : rnd_in(s, SEC, 8 * SEC));
	net_partition(s, 0);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

static void sc_partition(struct sim *s, unsigned int nodes)
{
	uint64_t side;

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 3, 6));
	boot(s);
	side = (rnd(s) & ((UINT64_C(1) << s->p.n_nodes) - 1));
	if (2 * mask_count(side) < s->p.n_nodes && side)
		watch_loss(s, side);
	net_partition(s, side);
	sim_run(s, rnd_in(s, 100 * MS, 8 * SEC));
	heal(s);
}

static void sc_one_way(struct sim *s, unsigned int nodes)
{
	unsigned int a, b;
	bool whole;

	quiet_defaults(s, nodes);
	boot(s);
	a = pick(s);
	b = pick_other(s, a);
	whole = rnd_chance(s, 500);
	if (whole) {		/* one node is not heard, or hears nothing */
		bool out = rnd_chance(s, 500);

		watch_loss(s, node_bit(a));
		for (unsigned int i = 1; i <= s->p.n_nodes; i++)
			if (i != a)
				net_cut(s, out ? a : i, out ? i : a, true);
	} else {
		kernel_watch_gaps(s, 0, 0, true);
		net_cut(s, a, b, true);
	}
	sim_run(s, rnd_in(s, 100 * MS, 6 * SEC));
	heal(s);
}

static void sc_partial_cut(struct sim *s, unsigned int nodes)
{
	unsigned int a, b;

	quiet_defaults(s, nodes);
	boot(s);
	a = pick(s);
	b = pick_other(s, a);
	all_flows(s, FLOW_STRICT);
	kernel_watch_gaps(s, 0, 0, true);
	net_cut_both(s, a, b, true);
	sim_run(s, rnd_chance(s, 300) ? rnd_in(s, MS, 500 * MS) : rnd_in(s, SEC, 10 * SEC));
	net_cut_both(s, a, b, false);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

static void sc_flap_pair(struct sim *s, unsigned int nodes)
{
	unsigned int a, b;

	quiet_defaults(s, nodes);
	boot(s);
	a = pick(s);
	b = pick_other(s, a);
	kernel_watch_gaps(s, 0, 0, true);
	for (unsigned int k = (unsigned int)rnd_in(s, 4, 20); k--; ) {
		net_cut_both(s, a, b, k % 2);
		sim_run(s, rnd_in(s, 20 * MS, 900 * MS));
	}
	net_cut_both(s, a, b, false);
	heal(s);
}

static void sc_flap_all(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes);
	rough_network(s);
	boot(s);
	for (unsigned int k = (unsigned int)rnd_in(s, 5, 40); k--; ) {
		unsigned int a = pick(s), b = pick_other(s, a);

		if (rnd_chance(s, 300))
			net_cut(s, a, b, rnd_chance(s, 600));
		else
			net_cut_both(s, a, b, rnd_chance(s, 600));
		sim_run(s, rnd_in(s, MS, rnd_chance(s, 300) ? SEC : 250 * MS));
	}
	heal(s);
}

/* The group stalls because of one path; then a node is lost, too. */
static void sc_stall_loss(struct sim *s, unsigned int nodes)
{
	unsigned int a, b, victim;

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 4, 6));
	s->p.flap = false;
	boot(s);
	a = pick(s);
	b = pick_other(s, a);
	do
		victim = pick(s);
	while (victim == a || victim == b);
	kernel_watch_gaps(s, 0, 0, true);
	net_cut_both(s, a, b, true);
	sim_run(s, rnd_in(s, 200 * MS, 4 * SEC));
	/* A majority must still hear of each other's reports: with the cut that takes five. */
	if (s->p.n_nodes >= 5)
		watch_loss(s, node_bit(victim));
	else
		kernel_watch_gaps(s, -1, 0, false);
	if (rnd_chance(s, 500))
		node_power_off(s, nd(s, victim));
	else
		node_freeze(s, nd(s, victim), true);
	sim_run(s, rnd_in(s, 500 * MS, 4 * SEC));
	heal(s);
}

static void sc_planned(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 2, 5));
	if (rnd_chance(s, 300))
		s->p.drain_timeout_ms = 800;	/* then connections may be cut, but no SYN lost */
	boot(s);
	watch_planned(s);
	for (unsigned int k = (unsigned int)rnd_in(s, 2, 6); k--; ) {
		unsigned int i = pick(s);

		switch (rnd(s) % 4) {
		case 0:
			order(s, ORDER_DRAIN, i, 0);
			break;
		case 1:
			order(s, ORDER_UNDRAIN, i, 0);
			break;
		case 2:
			order(s, ORDER_WEIGHT, i, (uint16_t)rnd_in(s, 0, 300));
			break;
		case 3:
			order(s, ORDER_WEIGHT, i, ORDER_AUTO);
			break;
		}
		sim_run(s, rnd_chance(s, 500) ? rnd_in(s, 0, 60 * MS) : rnd_in(s, 0, 4 * SEC));
	}
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		order(s, ORDER_UNDRAIN, i, 0);
		order(s, ORDER_WEIGHT, i, ORDER_AUTO);
	}
	settle(s, 40 * SEC);
	heal(s);
}

static void sc_clean_stop(struct sim *s, unsigned int nodes)
{
	uint8_t owner[SIM_SERVICES][SIM_BUCKETS];
	unsigned int who;
	uint64_t stops;

	quiet_defaults(s, nodes);
	boot(s);
	watch_planned(s);
	who = pick(s);
	remember_owners(s, owner);
	stops = s->n_stops;
	stop_clean(s, nd(s, who));
	settle(s, GROUP_TIME(s) + 30 * SEC);
	if (s->n_stops == stops || nd(s, who)->running)
		sim_fail(s, who, "has not stopped");
	check_moves(s, owner, who, true);
	remember_owners(s, owner);
	nd(s, who)->wanted = true;
	node_start(s, nd(s, who));
	settle(s, GROUP_TIME(s) + 30 * SEC);
	check_moves(s, owner, who, false);
	heal(s);
}

/* The whole cluster stops, one by one or at once, and starts again. */
static void sc_stop_all(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 1, 4));
	s->p.flow_mean = 300 * MS;
	boot(s);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		stop_clean(s, nd(s, i));
		sim_run(s, rnd_chance(s, 500) ? 0 : rnd_in(s, 0, SEC));
	}
	sim_run(s, 80 * SEC);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		if (nd(s, i)->running)
			sim_fail(s, i, "has not stopped");
		nd(s, i)->wanted = true;
	}
	heal(s);
}

static void fault(struct sim *s, unsigned int victim, unsigned int kind)
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

/* A node is lost in the middle of a move: at any instant of any phase. */
static void sc_move_loss(struct sim *s, unsigned int nodes)
{
	unsigned int mover, victim;

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 3, 5));
	boot(s);
	mover = pick(s);
	victim = rnd_chance(s, 400) ? mover : pick(s);
	switch (rnd(s) % 4) {
	case 0:
		order(s, ORDER_DRAIN, mover, 0);
		break;
	case 1:
		order(s, ORDER_WEIGHT, mover, 250);
		break;
	case 2:
		stop_clean(s, nd(s, mover));
		nd(s, mover)->wanted = true;
		break;
	case 3:
		node_kill(s, nd(s, mover));
		post(s, s->now + rnd_in(s, 80 * MS, 300 * MS), EV_START, mover, 0, 0, NULL);
		sim_run(s, rnd_in(s, 100 * MS, SEC));
		break;
	}
	sim_run(s, rnd_in(s, 0, rnd_chance(s, 700) ? 80 * MS : 2 * SEC));
	fault(s, victim, (unsigned int)rnd_in(s, 0, 5));
	sim_run(s, rnd_in(s, 0, rnd_chance(s, 500) ? 400 * MS : 5 * SEC));
	if (rnd_chance(s, 400)) {
		victim = pick(s);
		fault(s, victim, (unsigned int)rnd_in(s, 0, 5));
		sim_run(s, rnd_in(s, 0, 3 * SEC));
	}
	heal(s);
	order(s, ORDER_UNDRAIN, mover, 0);
	order(s, ORDER_WEIGHT, mover, ORDER_AUTO);
	heal(s);
}

/* A node comes while others are moving buckets; two come at once. */
static void sc_join_move(struct sim *s, unsigned int nodes)
{
	unsigned int late, late2;

	quiet_defaults(s, nodes);
	build(s);
	late = pick(s);
	late2 = rnd_chance(s, 500) && s->p.n_nodes >= 5 ? pick_other(s, late) : late;
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (i != late && i != late2)
			node_power_on(s, nd(s, i), rnd_in(s, 0, SEC), rnd_in(s, 0, SEC));
	settle(s, GROUP_TIME(s) + 20 * SEC);
	watch_planned(s);
	order(s, ORDER_WEIGHT, pick_other(s, late), (uint16_t)rnd_in(s, 20, 400));
	sim_run(s, rnd_in(s, 0, 100 * MS));
	node_power_on(s, nd(s, late), 0, rnd_in(s, 0, SEC));
	node_power_on(s, nd(s, late2), 0, rnd_in(s, 0, SEC));
	sim_run(s, rnd_in(s, 0, 2 * SEC));
	order(s, ORDER_DRAIN, pick_other(s, late), 0);
	settle(s, GROUP_TIME(s) + 30 * SEC);
	heal(s);
}

/* The processes of a majority die: nobody remembers but the rest, or not even they. */
static void sc_amnesia(struct sim *s, unsigned int nodes)
{
	uint64_t dead = 0;

	quiet_defaults(s, nodes);
	s->p.lease = rnd_chance(s, 500) ? SEC : 150 * MS;
	boot(s);
	while (2 * mask_count(dead) <= s->p.n_nodes || rnd_chance(s, 200))
		dead |= node_bit(pick(s));
	for (uint64_t x = dead; x; x &= x - 1) {
		unsigned int i = mask_lowest(x);

		trace(s, i, "FAULT SIGKILL");
		node_kill(s, nd(s, i));
		post(s, s->now + rnd_in(s, 80 * MS, rnd_chance(s, 700) ? 200 * MS : SEC), EV_START, i,
		     0, 0, NULL);
		if (rnd_chance(s, 300))
			sim_run(s, rnd_in(s, 0, 300 * MS));
	}
	if (rnd_chance(s, 500))
		net_partition(s, dead);		/* those who remember come back later */
	sim_run(s, rnd_in(s, 0, 5 * SEC));
	heal(s);
}

/* Two nodes: what remains of them, by each tie-break. */
static void two_nodes(struct sim *s, enum lease_tiebreak tie)
{
	unsigned int victim = 1 + rnd(s) % 2, kind = rnd(s) % 5;
	bool survives = tie == LEASE_TIE_WITNESS || (tie == LEASE_TIE_LOWEST && victim == 2);

	quiet_defaults(s, 2);
	s->p.tiebreak = tie;
	boot(s);
	if (kind == 3 && tie == LEASE_TIE_WITNESS) {
		/* Both live and both may see the witness: either goes on, but never both. */
		node_kill(s, nd(s, victim));
		sim_run(s, rnd_in(s, 0, 3 * SEC));
		heal(s);
		bool a = rnd_chance(s, 500), b = rnd_chance(s, 500);

		nd(s, 1)->wit_to = a;
		nd(s, 2)->wit_from = b;
		net_cut_both(s, 1, 2, true);
		sim_run(s, rnd_in(s, 0, 5 * SEC));
		heal(s);
		return;
	}
	if (survives)
		watch_loss(s, node_bit(victim));
	if (kind == 4) {
		nd(s, victim)->flow_rule = survives ? FLOW_NO_RESET : FLOW_ANY;
		trace(s, victim, "FAULT SIGKILL");
		node_kill(s, nd(s, victim));
		post(s, s->now + rnd_in(s, 80 * MS, 200 * MS), EV_START, victim, 0, 0, NULL);
		settle(s, GROUP_TIME(s) + 20 * SEC);
		heal(s);
		return;
	}
	if (kind == 0)
		node_power_off(s, nd(s, victim));
	else if (kind == 1)
		node_freeze(s, nd(s, victim), true);
	else
		net_partition(s, node_bit(victim));
	if (kind == 2) {
		nd(s, victim)->wit_to = nd(s, victim)->wit_from = false;
		if (tie == LEASE_TIE_LOWEST && victim == 1)
			watch_loss(s, node_bit(2));
	}
	sim_run(s, rnd_in(s, 500 * MS, 6 * SEC));
	heal(s);
}

static void sc_two_none(struct sim *s, unsigned int nodes) { two_nodes(s, LEASE_TIE_NONE); }
static void sc_two_lowest(struct sim *s, unsigned int nodes) { two_nodes(s, LEASE_TIE_LOWEST); }
static void sc_two_witness(struct sim *s, unsigned int nodes) { two_nodes(s, LEASE_TIE_WITNESS); }

/* quorum = ignore promises nothing about partitions: only the loss of nodes, and convergence. */
static void sc_ignore(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 2, 4));
	s->p.ignore_quorum = true;
	boot(s);
	for (unsigned int i = 2; i <= s->p.n_nodes; i++) {
		node_power_off(s, nd(s, i));
		sim_run(s, rnd_in(s, 0, 4 * SEC));
	}
	heal(s);
}

static void sc_corosync_restart(struct sim *s, unsigned int nodes)
{
	unsigned int who;

	quiet_defaults(s, nodes);
	boot(s);
	who = pick(s);
	watch_loss(s, node_bit(who));
	corosync_die(s, nd(s, who));
	sim_run(s, rnd_chance(s, 500) ? rnd_in(s, 10 * MS, 300 * MS) : rnd_in(s, 300 * MS, 5 * SEC));
	corosync_start(s, nd(s, who));
	settle(s, GROUP_TIME(s) + 20 * SEC);
	heal(s);
}

/* All corosyncs at once, as after an upgrade. */
static void sc_corosync_all(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes);
	boot(s);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		corosync_die(s, nd(s, i));
		post(s, s->now + rnd_in(s, 50 * MS, 4 * SEC), EV_COROSYNC, i, 0, 1, NULL);
		sim_run(s, rnd_in(s, 0, SEC));
	}
	heal(s);
}

static void sc_reorder(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes);
	s->p.loss = (unsigned int)rnd_in(s, 0, 150);
	s->p.dup = (unsigned int)rnd_in(s, 100, 400);
	s->p.slow = (unsigned int)rnd_in(s, 50, 200);
	s->p.late = true;
	build(s);
	power_on_all(s, SEC);
	sim_run(s, 15 * SEC);
	node_power_off(s, nd(s, pick(s)));
	sim_run(s, 5 * SEC);
	heal(s);
}

static void sc_failback_manual(struct sim *s, unsigned int nodes)
{
	uint8_t before[SIM_SERVICES][SIM_BUCKETS];
	unsigned int who;

	quiet_defaults(s, nodes);
	s->p.failback_manual = true;
	boot(s);
	who = pick(s);
	node_power_off(s, nd(s, who));
	nd(s, who)->wanted = false;
	settle(s, GROUP_TIME(s) + 20 * SEC);
	remember_owners(s, before);
	watch_planned(s);
	node_power_on(s, nd(s, who), 0, 0);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	check_moves(s, before, 0, false);
	order(s, ORDER_FAILBACK, 0, 0);
	settle(s, 20 * SEC);
	check_moves(s, before, who, false);
	for (unsigned int v = 0; v < s->p.n_services; v++)
		if (!repl_owned(agent_repl(nd(s, who)->agent), v, who))
			sim_fail(s, who, "got nothing back by failback");
	heal(s);
}

/* Majority lost for good: the operator vouches for the dead. */
static void sc_takeover(struct sim *s, unsigned int nodes)
{
	uint64_t dead = 0;
	const char *why;

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 2, 5));
	boot(s);
	while (2 * (s->p.n_nodes - mask_count(dead)) > s->p.n_nodes)
		dead |= node_bit(pick(s));
	for (uint64_t x = dead; x; x &= x - 1) {
		node_power_off(s, nd(s, mask_lowest(x)));
		nd(s, mask_lowest(x))->wanted = false;
	}
	sim_run(s, GROUP_TIME(s) + 5 * SEC);
	for (unsigned int k = 0; k < 3; k++) {
		for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
			struct node *n = nd(s, i);

			if (!n->wanted)
				continue;
			for (uint64_t x = dead; x; x &= x - 1)
				agent_order(n->agent, ORDER_TAKEOVER, mask_lowest(x), 0, &why,
					    node_ms(s, n));
			node_settle(s, n);
			break;
		}
		sim_run(s, SEC);
	}
	settle(s, 30 * SEC);
	for (uint64_t x = dead; x; x &= x - 1)
		nd(s, mask_lowest(x))->wanted = true;
	heal(s);
}

/* ---- random ---- */

static void random_fault(struct sim *s)
{
	unsigned int a = pick(s), b = s->p.n_nodes > 1 ? pick_other(s, a) : a;
	struct node *n = nd(s, a);

	switch (rnd(s) % 16) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		fault(s, a, (unsigned int)(rnd(s) % 6));
		break;
	case 6:
		node_freeze(s, n, false);
		node_hang_main(s, n, false);
		break;
	case 7:
		if (a != b)
			net_cut(s, a, b, rnd_chance(s, 500));
		break;
	case 8: case 9:
		if (a != b)
			net_cut_both(s, a, b, rnd_chance(s, 500));
		break;
	case 10:
		net_partition(s, rnd(s));
		break;
	case 11:
		net_heal(s);
		break;
	case 12:
		if (a != b)
			post(s, s->now, EV_LINK, 0, 0,
			     (uint64_t)rnd_in(s, 1, 12) << 16 | b << 8 | a, NULL);
		break;
	case 13:
		if (!n->power)
			node_power_on(s, n, rnd_in(s, 0, SEC), rnd_in(s, 0, SEC));
		else if (!n->corosync)
			corosync_start(s, n);
		else if (!n->running)
			node_start(s, n);
		break;
	case 14:
		order(s, (enum order_type)(rnd(s) % 4), a, (uint16_t)rnd_in(s, 0, 1000));
		break;
	case 15:
		if (rnd_chance(s, 300))
			stop_clean(s, n);
		else
			nd(s, a)->wit_to = rnd_chance(s, 500);
		n->wanted = true;
		break;
	}
}

static void sc_random(struct sim *s, unsigned int nodes)
{
	static const uint8_t sizes[] = { 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7, 9, 16 };
	bool rough;

	quiet_defaults(s, nodes ? nodes : sizes[rnd(s) % sizeof(sizes)]);
	s->p.tiebreak = (enum lease_tiebreak)(rnd(s) % 3);
	s->p.failback_manual = rnd_chance(s, 100);
	s->p.grace_ms = (uint32_t)rnd_in(s, 100, 3000);
	rnd_in(s, 1000, 15000);		/* of no use now; without it the seeds in mutants.sh find nothing */
	s->p.drain_timeout_ms = (uint32_t)rnd_in(s, 500, 5000);
	s->p.lease = rnd_chance(s, 150) ? SEC : rnd_in(s, 100, 300) * MS;
	rough = rnd_chance(s, 500);
	/* A witness is no voter: with it, safety rests on HELLOs that are not all lost for a lease. */
	if (rough && (s->p.n_nodes != 2 || s->p.tiebreak != LEASE_TIE_WITNESS))
		rough_network(s);
	build(s);
	power_on_all(s, 2 * SEC);
	if (rnd_chance(s, 700))
		sim_run(s, rnd_in(s, 2 * SEC, 8 * SEC));
	for (unsigned int k = (unsigned int)rnd_in(s, 3, 25); k--; ) {
		random_fault(s);
		sim_run(s, rnd_chance(s, 500) ? rnd_in(s, 0, 60 * MS) :
			   rnd_chance(s, 700) ? rnd_in(s, 0, 500 * MS) : rnd_in(s, 0, 4 * SEC));
	}
	heal(s);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		order(s, ORDER_UNDRAIN, i, 0);
		order(s, ORDER_WEIGHT, i, ORDER_AUTO);
	}
	heal(s);
}

const struct scenario scenarios[] = {
	{ "boot", sc_boot, 3 },
	{ "power-off", sc_power_off, 4 },
	{ "crash-restart", sc_crash_restart, 4 },
	{ "crash-stays", sc_crash_stays, 2 },
	{ "sigstop", sc_sigstop, 4 },
	{ "hang", sc_hang, 3 },
	{ "isolated", sc_isolated, 4 },
	{ "partition", sc_partition, 4 },
	{ "one-way", sc_one_way, 4 },
	{ "partial-cut", sc_partial_cut, 4 },
	{ "flap-pair", sc_flap_pair, 4 },
	{ "flap-all", sc_flap_all, 6 },
	{ "stall-loss", sc_stall_loss, 3 },
	{ "planned", sc_planned, 5 },
	{ "clean-stop", sc_clean_stop, 4 },
	{ "stop-all", sc_stop_all, 1 },
	{ "move-loss", sc_move_loss, 8 },
	{ "join-move", sc_join_move, 3 },
	{ "amnesia", sc_amnesia, 4 },
	{ "two-none", sc_two_none, 2 },
	{ "two-lowest", sc_two_lowest, 3 },
	{ "two-witness", sc_two_witness, 3 },
	{ "quorum-ignore", sc_ignore, 1 },
	{ "corosync-restart", sc_corosync_restart, 3 },
	{ "corosync-all", sc_corosync_all, 2 },
	{ "reorder", sc_reorder, 3 },
	{ "failback-manual", sc_failback_manual, 1 },
	{ "takeover", sc_takeover, 1 },
	{ "random", sc_random, 30 },
};
const unsigned int n_scenarios = sizeof(scenarios) / sizeof(scenarios[0]);

/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Scripts: what happens to the cluster, and what must hold meanwhile and afterwards. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

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

/* Connections of one bucket live at two nodes when one of them dies: a third one takes it over. */
static void sc_move_crash(struct sim *s, unsigned int nodes)
{
	unsigned int victim;

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 3, 5));
	boot(s);
	victim = pick(s);
	order(s, ORDER_WEIGHT, rnd_chance(s, 600) ? victim : pick(s), (uint16_t)rnd_in(s, 20, 400));
	sim_run(s, rnd_in(s, 0, rnd_chance(s, 500) ? 80 * MS : 2 * SEC));
	watch_loss(s, (UINT64_C(1) << s->p.n_nodes) - 1);
	/* Where packets are handed on, not all fronts lead to connections of a bucket on the move. */
	all_flows(s, FLOW_NO_RESET);
	trace(s, victim, "FAULT SIGKILL");
	node_kill(s, nd(s, victim));
	post(s, s->now + rnd_in(s, 80 * MS, 200 * MS), EV_START, victim, 0, 0, NULL);
	settle(s, GROUP_TIME(s) + 40 * SEC);
	order(s, ORDER_WEIGHT, victim, ORDER_AUTO);
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
	s->p.failback = AGENT_FAILBACK_MANUAL;
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

void random_fault(struct sim *s)
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
	s->p.failback = rnd_chance(s, 100) ? AGENT_FAILBACK_MANUAL : AGENT_FAILBACK_AUTO;
	s->p.grace_ms = (uint32_t)rnd_in(s, 100, 3000);
	rnd_in(s, 1000, 15000);		/* of no use now; without it the seeds in mutants.sh find nothing */
	s->p.drain_timeout_ms = (uint32_t)rnd_in(s, 500, 5000);
	s->p.lease = rnd_chance(s, 150) ? SEC : rnd_in(s, 100, 300) * MS;
	rough = rnd_chance(s, 500);
	/* A witness is no voter: with it, safety rests on HELLOs that are not all lost for a lease. */
	if (rough && (s->p.n_nodes != 2 || s->p.tiebreak != LEASE_TIE_WITNESS))
		rough_network(s);
	if (s->seed % 4 == 1)
		s->p.keys = REHASH_KEYS;
	build(s);
	power_on_all(s, 2 * SEC);
	if (rnd_chance(s, 700))
		sim_run(s, rnd_in(s, 2 * SEC, 8 * SEC));
	for (unsigned int k = (unsigned int)rnd_in(s, 3, 25); k--; ) {
		random_fault(s);
		random_reload(s);
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
	{ "move-crash", sc_move_crash, 4 },
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
	{ "rehash", sc_rehash, 3 },
	{ "rehash-crash", sc_rehash_crash, 3 },
	{ "rehash-loss", sc_rehash_loss, 4 },
	{ "load-step", sc_load_step, 1 },
	{ "load-ramp", sc_load_ramp, 1 },
	{ "load-noisy", sc_load_noisy, 1 },
	{ "load-sick", sc_load_sick, 1 },
	{ "load-half", sc_load_half, 1 },
	{ "health", sc_health, 4 },
	{ "sorry", sc_sorry, 2 },
	{ "peer", sc_peer, 2 },
	{ "slow-start", sc_slow_start, 1 },
	{ "never-busy", sc_never_busy, 1 },
	{ "weigh-random", sc_weigh_random, 10 },
	{ "random", sc_random, 30 },
};
const unsigned int n_scenarios = sizeof(scenarios) / sizeof(scenarios[0]);

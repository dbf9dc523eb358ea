/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Loads and fitness: shares follow, and settle; who is not fit has none; who returns takes its time. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

extern const struct clusterd_plugin clusterd_plugin_policy_load, clusterd_plugin_policy_wlc,
	clusterd_plugin_policy_memory_1, clusterd_plugin_policy_memory_2;

#define INTERVAL 5000			/* ms between two REWEIGHs */
#define WINDOW   (4800 * MS)		/* of looking: never two of them in one */
#define WINDOWS  80
#define REST     25			/* the last ones: all must have settled before */

static const struct repl *any_repl_but(struct sim *s, unsigned int but)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (i != but && nd(s, i)->running && nd(s, i)->wanted)
			return agent_repl(nd(s, i)->agent);
	sim_fail(s, 0, "nobody is left");
}

static const struct repl *any_repl(struct sim *s)
{
	return any_repl_but(s, NOBODY);
}

/* ---- loads ---- */

enum kind { STEP, RAMP, NOISY, SICK, HALF };

/* What is seen of one run. */
struct course {
	uint16_t factor[SIM_NODES + 1];
	uint8_t owner[SIM_SERVICES][SIM_BUCKETS], before[SIM_BUCKETS];
	unsigned int changed[WINDOWS];		/* buckets, and one more if weights have */
	unsigned int back;			/* buckets that went to where they had come from */
	int64_t spread;				/* sum of the last REST, in thousandths */
};

static void look_first(struct sim *s, struct course *c)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		c->factor[i] = repl_get_node(any_repl(s), i)->factor[0];
	remember_owners(s, c->owner);
	memset(c->before, 0, sizeof(c->before));
}

static int64_t spread_now(struct sim *s)
{
	int64_t low = INT64_MAX, high = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		low = nd(s, i)->load < low ? nd(s, i)->load : low;
		high = nd(s, i)->load > high ? nd(s, i)->load : high;
	}
	return high - low;
}

static void look(struct sim *s, struct course *c, unsigned int w)
{
	uint8_t owner[SIM_SERVICES][SIM_BUCKETS];
	unsigned int moved = 0, limit = s->p.step * s->p.buckets / 1000;
	bool weights = false;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		uint16_t f = repl_get_node(any_repl(s), i)->factor[0];

		weights |= f != c->factor[i];
		c->factor[i] = f;
	}
	remember_owners(s, owner);
	for (uint32_t b = 0; b < s->p.buckets; b++) {
		if (owner[0][b] == c->owner[0][b])
			continue;
		moved++;
		c->back += owner[0][b] == c->before[b];
		c->before[b] = c->owner[0][b];
	}
	memcpy(c->owner, owner, sizeof(owner));
	if (moved > (limit ? limit : 1))
		sim_fail(s, 0, "%u buckets moved in one interval, not %u", moved, limit);
	s->worst_moved = moved > s->worst_moved ? moved : s->worst_moved;
	c->changed[w] = moved + weights;
	if (w >= WINDOWS - REST)
		c->spread += spread_now(s);
}

/* Where all are equally loaded: 1/1000; see load.c. */
static int64_t ideal_load(struct sim *s)
{
	int64_t work = (int64_t)s->demand * s->p.n_nodes * 1000, capacity = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		work += (int64_t)nd(s, i)->extra * nd(s, i)->capacity;
		capacity += nd(s, i)->capacity;
	}
	return work / capacity;
}

/*
 * The policy's band around the mean; or, where that is more, for what a step of the policy (a fifth of
 * what it is off) would not move a single bucket.
 */
static void check_loads(struct sim *s)
{
	int64_t ideal = ideal_load(s), band = ideal / 16 < 15 ? 15 : ideal / 16 > 50 ? 50 : ideal / 16;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		int64_t load = nd(s, i)->load / 1000, off = load - ideal;
		int64_t fine = 5 * (load > ideal ? load : ideal) / (1 + repl_owned(any_repl(s), 0, i));
		int64_t may = (band > fine ? band : fine) + 25;

		if (off < -may || off > may)
			sim_fail(s, i, "load %lld, not %lld", (long long)nd(s, i)->load / 1000,
				 (long long)ideal);
	}
}

static void check_sick(struct sim *s, unsigned int sick)
{
	uint32_t rest = s->p.buckets / (s->p.n_nodes - 1);

	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		uint32_t owned = repl_owned(any_repl(s), 0, i);

		if (i == sick ? owned > s->p.buckets / 20 : owned < rest * 85 / 100 || owned > rest * 115 / 100)
			sim_fail(s, i, "%u buckets, sick is n%u", owned, sick);
	}
}

/* Told at rest: the slow refresh, and no more. */
static void check_traffic(struct sim *s)
{
	uint64_t told[SIM_NODES + 1];

	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		told[i] = nd(s, i)->n_told;
	sim_run(s, 60 * SEC);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		if (nd(s, i)->n_told - told[i] > (s->noise ? 20 : 3))
			sim_fail(s, i, "told its load %llu times in a minute of rest",
				 (unsigned long long)(nd(s, i)->n_told - told[i]));
}

static void disturb(struct sim *s, enum kind kind, unsigned int who)
{
	switch (kind) {
	case STEP:
		nd(s, who)->extra = (int)rnd_in(s, 100, 300);
		break;
	case RAMP:
		nd(s, who)->capacity = (unsigned int)rnd_in(s, 600, 900);
		s->demand = 200;
		break;
	case NOISY:
		s->noise = s->demand / 10;
		break;
	case SICK:
		nd(s, who)->extra = 1000;
		break;
	case HALF:
		nd(s, who)->capacity = 500;
		break;
	}
}

static void balance(struct sim *s, unsigned int nodes, enum kind kind)
{
	static struct course c;
	unsigned int who, last = 0, busy = 0, late = 0, total = 0;

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 3, 6));
	s->p.n_services = 1;
	s->p.buckets = SIM_BUCKETS;
	s->p.lease = 3 * SEC;		/* this is about minutes */
	s->p.syn_every = 40 * MS;
	s->p.loads = true;
	s->p.policy = clusterd_plugin_policy_load.policy;
	s->p.step = rnd_chance(s, 500) ? 10 : 19;
	s->p.interval_ms = INTERVAL;
	s->demand = (unsigned int)rnd_in(s, kind == HALF ? 120 : 250, 550);
	s->noise = rnd_chance(s, 500) ? 0 : 8;
	boot(s);
	watch_planned(s);
	sim_run(s, 5 * SEC);
	memset(&c, 0, sizeof(c));
	look_first(s, &c);
	who = pick(s);
	disturb(s, kind, who);
	trace(s, who, "FAULT load, kind %d, demand %u", kind, s->demand);
	for (unsigned int w = 0; w < WINDOWS; w++) {
		if (kind == RAMP && s->demand < 600)
			s->demand += 10;
		sim_run(s, WINDOW);
		look(s, &c, w);
		/* With noise a bucket more or less now and then: less than half of a step. */
		last = c.changed[w] > (s->noise ? s->p.step / 4 : 0) ? w + 1 : last;
		busy += c.changed[w] != 0;
		total += c.changed[w];
		late += c.changed[w] && w >= WINDOWS - REST;
	}
	if (kind == NOISY) {
		s->worst_noisy = busy * 100 / WINDOWS;
		/* Of all intervals half at most, and two buckets of a thousand in each on the average. */
		if (busy * 2 > WINDOWS || total * 1000 > WINDOWS * s->p.buckets * 2 || c.back > s->p.buckets / 50)
			sim_fail(s, 0, "noise moved %u buckets in %u of %u intervals, %u to and fro",
				 total, busy, WINDOWS, c.back);
		heal(s);
		return;
	}
	if (last > WINDOWS - REST || late > (s->noise ? REST / 3 : 0))
		sim_fail(s, 0, "has not settled after %u intervals, %u changes in the last %u", last, late, REST);
	if (last * WINDOW > s->worst_settle)
		s->worst_settle = last * WINDOW;
	if (c.back > s->p.buckets / (kind == RAMP ? 50 : 100))	/* one that belongs to two equally, may */
		sim_fail(s, 0, "%u buckets went to and fro", c.back);
	if (kind == SICK)
		check_sick(s, who);
	else
		check_loads(s);
	if (kind == HALF)	/* by hash alone the slow one has twice the load of the others */
		s->worst_spread = (unsigned int)(c.spread / REST / s->demand);
	if (s->worst_spread * 3 > 1000)
		sim_fail(s, 0, "the spread is still %u of 1000", s->worst_spread);
	check_traffic(s);
	heal(s);
}

void sc_load_step(struct sim *s, unsigned int nodes) { balance(s, nodes, STEP); }
void sc_load_ramp(struct sim *s, unsigned int nodes) { balance(s, nodes, RAMP); }
void sc_load_noisy(struct sim *s, unsigned int nodes) { balance(s, nodes, NOISY); }
void sc_load_sick(struct sim *s, unsigned int nodes) { balance(s, nodes, SICK); }
void sc_load_half(struct sim *s, unsigned int nodes) { balance(s, nodes, HALF); }

/* ---- fitness ---- */

static void begin(struct sim *s, unsigned int nodes)
{
	quiet_defaults(s, nodes);
	s->p.loads = true;
	s->demand = 300;
	boot(s);
}

static bool takes(struct sim *s, unsigned int i, unsigned int v)
{
	for (uint32_t b = 0; b < s->p.keys; b++)
		if (mask_has(kernel_acceptors(s, v, b), i))
			return true;
	return false;
}

static unsigned int fit_besides(struct sim *s, unsigned int but, unsigned int v)
{
	unsigned int n = 0;

	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		n += i != but && nd(s, i)->wanted && nd(s, i)->fit[v] == FITNESS_UP;
	return n;
}

/* How long until nothing new goes there? */
static void watch_leave(struct sim *s, unsigned int i, unsigned int v, int64_t limit)
{
	int64_t begin_at = s->now;

	while (takes(s, i, v)) {
		if (s->now - begin_at > limit)
			sim_fail(s, i, "takes new connections of service %u that is not fit", v);
		sim_run(s, MS);
	}
	if (s->now - begin_at > s->worst_leave)
		s->worst_leave = s->now - begin_at;
}

/* Services come and go; nothing is lost besides what those give up that are down. */
void sc_health(struct sim *s, unsigned int nodes)
{
	begin(s, nodes);
	watch_planned(s);
	for (unsigned int k = (unsigned int)rnd_in(s, 3, 9); k--; ) {
		unsigned int i = pick(s), v = (unsigned int)rnd_in(s, 0, s->p.n_services - 1);
		enum fitness h = (enum fitness)rnd_in(s, FITNESS_UP, FITNESS_DOWN);
		bool quiet = !repl_plan(any_repl(s));

		if (!fit_besides(s, i, v))
			h = FITNESS_UP;
		load_fit(s, nd(s, i), v, h);
		/*
		 * Some milliseconds for the group, and four barriers of it and of the kernels.  Who still
		 * works waits for one that still works.
		 */
		if (h == FITNESS_DOWN || (h == FITNESS_WORKS && fit_besides(s, i, v) == s->p.n_nodes - 1))
			watch_leave(s, i, v, quiet ? 200 * MS : 500 * MS);
		sim_run(s, rnd_chance(s, 500) ? rnd_in(s, 0, 60 * MS) : rnd_in(s, 0, 3 * SEC));
	}
	settle(s, 20 * SEC);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		for (unsigned int v = 0; v < s->p.n_services; v++)
			load_fit(s, nd(s, i), v, FITNESS_UP);
	settle(s, 20 * SEC);
	heal(s);
}

/* No node is fit: the buckets stay spread, for somebody has to say sorry. */
void sc_sorry(struct sim *s, unsigned int nodes)
{
	unsigned int first, stops;

	begin(s, nodes);
	watch_planned(s);
	first = pick(s);
	for (unsigned int k = 0; k < s->p.n_nodes; k++) {
		unsigned int i = (first + k - 1) % s->p.n_nodes + 1;

		for (unsigned int v = 0; v < s->p.n_services; v++)
			load_fit(s, nd(s, i), v, rnd_chance(s, 500) ? FITNESS_DOWN : FITNESS_WORKS);
		sim_run(s, rnd_chance(s, 500) ? rnd_in(s, 0, 60 * MS) : rnd_in(s, 0, 2 * SEC));
	}
	settle(s, 20 * SEC);
	stops = pick(s);
	if (rnd_chance(s, 500)) {	/* that does not wait for anybody to be fit */
		stop_clean(s, nd(s, stops));
		settle(s, GROUP_TIME(s) + 5 * SEC);
		if (nd(s, stops)->running)
			sim_fail(s, stops, "has not stopped");
		nd(s, stops)->wanted = true;
		node_start(s, nd(s, stops));
		/* It is not fit when it comes back, and nobody may take it for that. */
		for (int64_t end = s->now + 6 * SEC; s->now < end; sim_run(s, 5 * MS))
			for (unsigned int v = 0; v < s->p.n_services && s->p.n_nodes > 1; v++)
				if (!repl_sorry(any_repl_but(s, stops), v))
					sim_fail(s, stops, "counts as fit for service %u", v);
		settle(s, GROUP_TIME(s) + 20 * SEC);
	}
	for (unsigned int k = 0; k < s->p.n_nodes; k++) {
		for (unsigned int v = 0; v < s->p.n_services; v++)
			load_fit(s, nd(s, (first + k) % s->p.n_nodes + 1), v, FITNESS_UP);
		sim_run(s, rnd_in(s, 0, SEC));
	}
	settle(s, 20 * SEC);
	heal(s);
}

/* Somebody says something of a node that is not its left neighbour. */
static void slander(struct sim *s, unsigned int by, unsigned int node)
{
	struct msg m = { .type = MSG_HEALTH, .from = (uint8_t)by, .incarnation = nd(s, by)->incarnation };

	m.u.health.node = (uint8_t)node;
	m.u.health.health = FITNESS_DOWN;
	trace(s, by, "slanders n%u", node);
	group_send(s, nd(s, by), &m);
	sim_run(s, 300 * MS);
	if (repl_get_node(any_repl(s), node)->seen_down[0] == by)
		sim_fail(s, by, "is believed about n%u", node);
}

static unsigned int right_of(struct sim *s, unsigned int i)
{
	unsigned int left, right;

	repl_ring(any_repl(s), i, &left, &right);
	return right;
}

/* A node serves, but nobody gets there: its right neighbour sees it; and may be lost itself. */
void sc_peer(struct sim *s, unsigned int nodes)
{
	unsigned int who, right, other;

	begin(s, nodes ? nodes : (unsigned int)rnd_in(s, 3, 5));
	watch_planned(s);
	who = pick(s);
	right = right_of(s, who);
	do
		other = pick(s);
	while (other == who || other == right);
	slander(s, other, who);
	for (unsigned int v = 0; v < s->p.n_services; v++)
		nd(s, who)->unreachable[v] = true;
	sim_run(s, 4 * SEC);
	for (unsigned int v = 0; v < s->p.n_services; v++)
		if (repl_get_node(any_repl(s), who)->seen_down[v] != right || takes(s, who, v))
			sim_fail(s, who, "nobody has seen that service %u cannot be reached", v);
	if (rnd_chance(s, 500)) {	/* whoever comes in its place has to see it for itself */
		watch_loss(s, node_bit(right));
		node_power_off(s, nd(s, right));
		for (int64_t end = s->now + GROUP_TIME(s) + 6 * SEC; ; sim_run(s, 20 * MS)) {
			if (repl_get_node(any_repl(s), who)->seen_down[0] == right_of(s, who))
				break;
			if (s->now > end)
				sim_fail(s, who, "the next neighbour has not seen it");
		}
	} else {
		sim_run(s, rnd_in(s, 0, 12 * SEC));	/* trials */
	}
	memset(nd(s, who)->unreachable, 0, sizeof(nd(s, who)->unreachable));
	heal(s);
}

/* ---- coming back ---- */

static void watch_nothing(struct sim *s)
{
	all_flows(s, FLOW_ANY);
	kernel_watch_gaps(s, -1, 0, false);
}

void sc_slow_start(struct sim *s, unsigned int nodes)
{
	unsigned int who, ramp = RAMP_FULL;
	int64_t step_at = 0, began = 0, end;

	quiet_defaults(s, nodes);
	s->p.loads = true;
	s->p.slow_start_ms = (uint32_t)rnd_in(s, 2000, 5000);
	boot(s);
	who = pick(s);
	watch_loss(s, node_bit(who));
	node_power_off(s, nd(s, who));
	nd(s, who)->wanted = false;
	settle(s, GROUP_TIME(s) + 20 * SEC);
	if (rnd_chance(s, 700))
		watch_planned(s);
	else
		watch_nothing(s);
	node_power_on(s, nd(s, who), 0, 0);
	end = s->now + GROUP_TIME(s) + 20 * SEC;
	while (s->now < end) {
		unsigned int is = repl_get_node(any_repl(s), who)->ramp;

		if (is < ramp && ramp < RAMP_FULL)
			sim_fail(s, who, "share goes down from %u to %u", ramp, is);
		if (is > ramp && (is - ramp > RAMP_FULL / 10 ||
				  s->now - step_at < s->p.slow_start_ms * MS / 9 * 9 / 10))
			sim_fail(s, who, "share goes up from %u to %u after %lld ms", ramp, is,
				 (long long)(s->now - step_at) / MS);
		began = is < ramp ? s->now : began;
		step_at = is != ramp ? s->now : step_at;
		ramp = is;
		/* Whoever counts may be lost, and another goes on. */
		if (began && is > 300 && is < 600 && !s->gaps_watched && nd(s, 1)->running && who != 1) {
			trace(s, 1, "FAULT SIGKILL");
			node_kill(s, nd(s, 1));
			post(s, s->now + 150 * MS, EV_START, 1, 0, 0, NULL);
			sim_run(s, GROUP_TIME(s));
			ramp = repl_get_node(any_repl(s), who)->ramp;
			step_at = s->now - SEC;
		}
		sim_run(s, 5 * MS);
	}
	if (!began || ramp != RAMP_FULL)
		sim_fail(s, who, "has %u of its share", ramp);
	if (s->gaps_watched && step_at - began < s->p.slow_start_ms * MS * 9 / 10)
		sim_fail(s, who, "had its share after %lld ms", (long long)(step_at - began) / MS);
	heal(s);
}

void sc_never_busy(struct sim *s, unsigned int nodes)
{
	unsigned int who;

	quiet_defaults(s, nodes);
	s->p.loads = true;
	s->p.failback = AGENT_FAILBACK_NEVER_BUSY;
	s->p.busy = 700;
	s->demand = 800;
	s->noise = 20;
	boot(s);
	who = pick(s);
	sim_run(s, 10 * SEC);		/* connections and averages begin with nothing */
	node_power_off(s, nd(s, who));
	nd(s, who)->wanted = false;
	settle(s, GROUP_TIME(s) + 20 * SEC);
	watch_planned(s);
	node_power_on(s, nd(s, who), 0, 0);
	settle(s, GROUP_TIME(s) + 20 * SEC);
	sim_run(s, 10 * SEC);
	if (repl_owned(any_repl(s), 0, who))
		sim_fail(s, who, "has its share while others are busy");
	s->demand = 300;
	sim_run(s, 5 * SEC);
	settle(s, 20 * SEC);
	if (repl_get_node(any_repl(s), who)->hold_back || !repl_owned(any_repl(s), 0, who))
		sim_fail(s, who, "has no share while all are calm");
	heal(s);
}

/* ---- all of it, under faults ---- */

static void random_change(struct sim *s)
{
	struct node *n = nd(s, pick(s));
	unsigned int v = (unsigned int)rnd_in(s, 0, s->p.n_services - 1);

	switch (rnd(s) % 6) {
	case 0: case 1:
		load_fit(s, n, v, (enum fitness)rnd_in(s, FITNESS_UP, FITNESS_DOWN));
		break;
	case 2:
		n->unreachable[v] = rnd_chance(s, 600);
		break;
	case 3:
		n->capacity = (unsigned int)rnd_in(s, 300, 1500);
		break;
	case 4:
		n->extra = (int)rnd_in(s, 0, 1000);
		break;
	case 5:
		s->demand = (unsigned int)rnd_in(s, 50, 900);
		break;
	}
}

void sc_weigh_random(struct sim *s, unsigned int nodes)
{
	const struct clusterd_policy_ops *const policy[] = {
		clusterd_plugin_policy_load.policy, clusterd_plugin_policy_wlc.policy,
		clusterd_plugin_policy_memory_1.policy, clusterd_plugin_policy_memory_2.policy, NULL,
	};

	quiet_defaults(s, nodes ? nodes : (unsigned int)rnd_in(s, 1, 6));
	s->p.tiebreak = LEASE_TIE_LOWEST;
	s->p.drain_timeout_ms = (uint32_t)rnd_in(s, 500, 5000);
	s->p.failback = (enum agent_failback)(rnd(s) % 3);
	s->p.loads = true;
	s->p.policy = policy[rnd(s) % 5];
	s->p.step = (uint16_t)rnd_in(s, 5, 300);
	s->p.interval_ms = (uint32_t)rnd_in(s, 1000, 3000);
	s->p.slow_start_ms = rnd_chance(s, 500) ? 0 : (uint32_t)rnd_in(s, 500, 5000);
	s->demand = (unsigned int)rnd_in(s, 100, 700);
	s->noise = (unsigned int)rnd_in(s, 0, 100);
	if (rnd_chance(s, 300))
		rough_network(s);
	build(s);
	power_on_all(s, 2 * SEC);
	sim_run(s, rnd_in(s, 2 * SEC, 8 * SEC));
	for (unsigned int k = (unsigned int)rnd_in(s, 5, 25); k--; ) {
		random_change(s);
		if (rnd_chance(s, 500))
			random_fault(s);
		sim_run(s, rnd_chance(s, 500) ? rnd_in(s, 0, 60 * MS) :
			   rnd_chance(s, 700) ? rnd_in(s, 0, 500 * MS) : rnd_in(s, 0, 5 * SEC));
	}
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct node *n = nd(s, i);

		for (unsigned int v = 0; v < s->p.n_services; v++)
			load_fit(s, n, v, FITNESS_UP);
		memset(n->unreachable, 0, sizeof(n->unreachable));
		n->extra = 0;
	}
	/* These intervals are shorter than what loads take to follow: weights may go on for long. */
	s->noise = 0;
	s->demand = 20;
	heal(s);
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		order(s, ORDER_UNDRAIN, i, 0);
		order(s, ORDER_WEIGHT, i, ORDER_AUTO);
	}
	heal(s);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much work each node should get: weights, health, loads, and what a plan makes of them. */
#include <errno.h>
#include <string.h>

#include "core/repl_priv.h"

/* ---- weights ---- */

uint16_t repl_own_weight(const struct repl_node *n)
{
	if (n->state != NODE_ONLINE || n->drain || n->leaving)
		return 0;
	return n->weight_order == ORDER_AUTO ? n->weight_conf : n->weight_order;
}

uint16_t repl_node_weight(const struct repl *r, unsigned int id)
{
	return repl_own_weight(&r->node[id]);
}

bool repl_fit(const struct repl *r, unsigned int service, unsigned int id)
{
	const struct repl_node *n = &r->node[id];

	return n->health[service] == FITNESS_UP && n->seen_down[service] == NOBODY;
}

bool repl_down(const struct repl *r, unsigned int service, unsigned int id)
{
	const struct repl_node *n = &r->node[id];

	return n->health[service] == FITNESS_DOWN || n->seen_down[service] != NOBODY;
}

bool repl_another_fit(const struct repl *r, unsigned int service, unsigned int but)
{
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		if (i != but && repl_own_weight(&r->node[i]) && repl_fit(r, service, i))
			return true;
	return false;
}

bool repl_sorry(const struct repl *r, unsigned int service)
{
	bool any = false, fit = false;

	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		any |= repl_own_weight(&r->node[i]) != 0;
		fit |= r->node[i].state == NODE_ONLINE && repl_fit(r, service, i);
	}
	if (any)
		return !repl_another_fit(r, service, NOBODY);
	return repl_online(r) && !fit;
}

/*
 * Whom else to take when nobody is left: first those that wait for 'failback', then those that the
 * policy would give nothing, and when nobody is fit, who is not.  Bits; tried in ascending order.
 */
enum { ALSO_HELD = 1, ALSO_ZERO = 2, ALSO_UNFIT = 4, LEVELS = 8 };

static uint16_t effective(const struct repl *r, unsigned int service, unsigned int id,
			  unsigned int level, uint16_t factor)
{
	const struct repl_node *n = &r->node[id];
	uint64_t w = repl_own_weight(n);

	if ((n->hold_back && !(level & ALSO_HELD)) ||
	    (!(level & ALSO_UNFIT) && !repl_fit(r, service, id)))
		return 0;
	if (level & ALSO_ZERO)
		factor = CLUSTERD_FACTOR_MAX;
	if (!w || !factor)
		return 0;
	w = w * WEIGHT_SCALE * n->ramp * factor / (RAMP_FULL * CLUSTERD_FACTOR_MAX);
	return w ? (uint16_t)w : 1;
}

/* 'factor' (by node id; NULL: those in force).  'plain': health and factors do not count. */
static void spread(const struct repl *r, unsigned int service, uint64_t without, bool plain,
		   const uint16_t *factor, struct weights *w)
{
	bool any = false;

	memset(w, 0, sizeof(*w));
	for (unsigned int level = plain ? ALSO_ZERO | ALSO_UNFIT : 0; level < LEVELS && !any; level++)
		for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
			if (mask_has(without, i))
				continue;
			w->w[i] = effective(r, service, i, level,
					    factor ? factor[i] : r->node[i].factor[service]);
			any |= w->w[i] != 0;
		}
}

void repl_plan_weights(const struct repl *r, unsigned int service, uint64_t without,
		       struct weights *w)
{
	spread(r, service, without, r->p.policy[service].direct, NULL, w);
}

void repl_node_weights(const struct repl *r, uint64_t without, struct weights *w)
{
	bool any = false;

	memset(w, 0, sizeof(*w));
	for (unsigned int held = 0; held < 2 && !any; held++)
		for (unsigned int i = 1; i <= r->p.n_nodes; i++)
			if (!mask_has(without, i) && (held || !r->node[i].hold_back)) {
				w->w[i] = repl_own_weight(&r->node[i]);
				any |= w->w[i] != 0;
			}
}

uint16_t repl_weight(const struct repl *r, unsigned int service, unsigned int id)
{
	struct weights w;

	repl_plan_weights(r, service, 0, &w);
	return w.w[id];
}

uint16_t repl_serve_weight(const struct repl *r, unsigned int service, unsigned int id)
{
	struct weights w;

	spread(r, service, 0, false, NULL, &w);
	return w.w[id];
}

uint64_t repl_weight_mask(const struct weights *w, unsigned int n_nodes)
{
	uint64_t m = 0;

	for (unsigned int i = 1; i <= n_nodes; i++)
		if (w->w[i])
			m |= node_bit(i);
	return m;
}

void repl_ring(const struct repl *r, unsigned int id, unsigned int *left, unsigned int *right)
{
	uint64_t others = repl_online(r) & ~node_bit(id), below = others & (node_bit(id) - 1);

	*right = mask_next(others, id);
	if (!below)
		below = others;
	*left = below ? 64 - (unsigned int)__builtin_clzll(below) : NOBODY;
}

/* ---- what a plan would do ---- */

/*
 * Who gets the bucket back, whatever the shares say, or NOBODY: a crashed node that is back in time
 * for its connections; and who gave it to a node that is not fit since, while it still serves the
 * rest of its connections.  If it only works by now, another plan gives it to one that is fit.
 */
static unsigned int restore_to(const struct repl *r, unsigned int s, const struct repl_bucket *k,
			       const struct weights *w)
{
	if (k->phase == PHASE_GRACE && w->w[k->other])
		return k->other;
	if (k->phase == PHASE_DRAIN && !w->w[k->owner] &&
	    ((!repl_fit(r, s, k->owner) && repl_fit(r, s, k->other)) ||
	     (repl_down(r, s, k->owner) && !repl_down(r, s, k->other))))
		return k->other;
	return NOBODY;
}

uint32_t repl_share(struct repl *r, unsigned int s, const struct weights *w)
{
	uint32_t restored = 0;

	for (uint32_t b = 0; b < r->layout.buckets; b++) {
		const struct repl_bucket *k = &r->bucket[s][b];
		unsigned int back = restore_to(r, s, k, w);

		r->owner[b] = back ? (uint8_t)back : k->owner;
		r->pinned[b] = k->phase != PHASE_STABLE;
		r->first[b] = k->idle;
		restored += back != NOBODY;
	}
	return restored + assign_share(r->owner, r->pinned, r->first, r->layout.buckets, r->p.salt[s], w,
				       r->next, r->scratch);
}

unsigned int repl_goes_to(const struct repl *r, unsigned int s, uint32_t b, const struct weights *w)
{
	const struct repl_bucket *k = &r->bucket[s][b];

	if (k->phase != PHASE_STABLE)
		return restore_to(r, s, k, w);
	return r->next[b] != k->owner ? r->next[b] : NOBODY;
}

bool repl_plan_needed(struct repl *r)
{
	struct weights w;
	uint8_t holder[HOLDERS_MAX];

	if (r->plan || r->rehash_phase != REHASH_NONE)
		return false;
	repl_node_weights(r, 0, &w);
	if (!repl_weight_mask(&w, r->p.n_nodes))
		return false;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		repl_plan_weights(r, s, 0, &w);
		if (repl_weight_mask(&w, r->p.n_nodes) != r->alive[s] ||
		    memcmp(&w, &r->hw[s], sizeof(w)) || repl_share(r, s, &w))
			return true;
	}
	return repl_hold_plan(r, holder);
}

void repl_set_order(struct repl *r, enum order_type order, unsigned int node, uint16_t value)
{
	struct repl_node *n = &r->node[node];

	if (order == ORDER_DRAIN)
		n->drain = true;
	else if (order == ORDER_UNDRAIN)
		n->drain = n->hold_back = false;
	else if (order == ORDER_WEIGHT)
		n->weight_order = value > WEIGHT_MAX ? ORDER_AUTO : value;
	else if (order == ORDER_FAILBACK)
		for (unsigned int i = 1; i <= r->p.n_nodes; i++)
			r->node[i].hold_back = false;
}

uint32_t repl_preview(struct repl *r, enum order_type order, unsigned int node, uint16_t value,
		      void (*cb)(void *arg, unsigned int service, uint32_t bucket, unsigned int from,
				 unsigned int to), void *arg)
{
	bool drain, held[NODES_MAX + 1];
	uint16_t weight;
	uint32_t n = 0;

	if (order != ORDER_DRAIN && order != ORDER_UNDRAIN && order != ORDER_WEIGHT &&
	    order != ORDER_FAILBACK)
		return 0;
	if (order == ORDER_FAILBACK)
		node = NOBODY;
	else if (node < 1 || node > r->p.n_nodes)
		return 0;
	for (unsigned int i = 0; i <= NODES_MAX; i++)
		held[i] = r->node[i].hold_back;
	drain = r->node[node].drain;
	weight = r->node[node].weight_order;
	repl_set_order(r, order, node, value);
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		struct weights w;

		repl_plan_weights(r, s, 0, &w);
		repl_share(r, s, &w);
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			unsigned int to = repl_goes_to(r, s, b, &w);

			if (to == NOBODY)
				continue;
			n++;
			if (cb)
				cb(arg, s, b, r->bucket[s][b].owner, to);
		}
	}
	for (unsigned int i = 0; i <= NODES_MAX; i++)
		r->node[i].hold_back = held[i];
	r->node[node].drain = drain;
	r->node[node].weight_order = weight;
	return n;
}

/* It has what a plan would give it, of one service at least. */
static bool has_share(const struct repl *r, unsigned int id)
{
	bool any = false;

	for (unsigned int s = 0; s < r->p.n_services; s++) {
		uint32_t target[NODES_MAX + 1];
		struct weights w = r->hw[s];

		if (!mask_has(r->alive[s], id))
			continue;
		for (unsigned int i = 1; i <= NODES_MAX; i++)
			w.w[i] = mask_has(r->alive[s], i) ? w.w[i] : 0;
		assign_targets(&w, r->layout.buckets, r->p.salt[s], target);
		if (repl_owned(r, s, id) < target[id])
			return false;
		any = true;
	}
	return any;
}

void repl_share_back(struct repl *r, struct repl_fx *fx)
{
	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		struct repl_node *n = &r->node[i];
		uint32_t owned = 0;

		if (!n->returning || n->hold_back || n->ramp != RAMP_FULL || !repl_own_weight(n) ||
		    (!has_share(r, i) && repl_plan_needed(r)))
			continue;
		n->returning = false;
		for (unsigned int s = 0; s < r->p.n_services; s++)
			owned += repl_owned(r, s, i);
		repl_note(fx, NOTE_SHARE_BACK, i, NOBODY, owned, 0);
	}
}

/* ---- messages ---- */

/* UP is no news here: its checks may not have said anything yet. */
void repl_take_health(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	struct repl_node *n = &r->node[m->from];

	for (unsigned int s = 0; s < r->p.n_services; s++) {
		uint8_t was = n->health[s];

		n->health[s] = s < m->u.ready.n_links ? m->u.ready.health[s] : FITNESS_UP;
		if (n->health[s] != was && n->health[s] != FITNESS_UP)
			repl_note(fx, NOTE_HEALTH, m->from, m->from, s, n->health[s]);
	}
}

static int apply_peer_health(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int s = m->u.health.service, id = m->u.health.node, left, right;
	struct repl_node *n = &r->node[id];
	bool was = repl_fit(r, s, id);

	if (m->u.health.health == FITNESS_WORKS)
		return -EBADMSG;
	repl_ring(r, id, &left, &right);
	if (n->state != NODE_ONLINE || !repl_admitted(r, m) || m->from != right)
		return 0;
	if (m->u.health.health == FITNESS_UP) {
		fx->changed = n->seen_down[s] != NOBODY;
		n->seen_down[s] = NOBODY;
	} else if (!n->seen_down[s] && repl_another_fit(r, s, id)) {
		fx->changed = true;
		n->seen_down[s] = m->from;
	}
	if (repl_fit(r, s, id) != was)
		repl_note(fx, NOTE_HEALTH, id, m->from, s, m->u.health.health);
	return 0;
}

int repl_apply_health(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int s = m->u.health.service, id = m->u.health.node;
	struct repl_node *n;

	if (s >= r->p.n_services || id < 1 || id > r->p.n_nodes || m->u.health.health >= FITNESS_N)
		return -EBADMSG;
	if (id != m->from)
		return apply_peer_health(r, m, fx);
	n = &r->node[id];
	if (!repl_admitted(r, m) || n->health[s] == m->u.health.health)
		return 0;
	n->health[s] = m->u.health.health;
	repl_note(fx, NOTE_HEALTH, id, id, s, n->health[s]);
	fx->changed = true;
	return 0;
}

static void void_verdict(struct repl *r, unsigned int s, unsigned int id, struct repl_fx *fx)
{
	struct repl_node *n = &r->node[id];

	n->seen_down[s] = NOBODY;
	if (n->state == NODE_ONLINE && n->health[s] == FITNESS_UP)
		repl_note(fx, NOTE_HEALTH, id, NOBODY, s, FITNESS_UP);
}

void repl_forget_verdicts(struct repl *r, unsigned int id, struct repl_fx *fx)
{
	memset(r->node[id].seen_down, 0, sizeof(r->node[id].seen_down));
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		for (unsigned int s = 0; s < r->p.n_services; s++)
			if (r->node[i].seen_down[s] == id)
				void_verdict(r, s, i, fx);
}

bool repl_verdict_stands(const struct repl *r, unsigned int service, unsigned int id)
{
	unsigned int left, right;

	repl_ring(r, id, &left, &right);
	return r->node[id].state == NODE_ONLINE && r->node[id].seen_down[service] == right &&
	       repl_another_fit(r, service, id);
}

void repl_health_step(struct repl *r, struct repl_fx *fx)
{
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		for (unsigned int s = 0; s < r->p.n_services; s++)
			if (r->node[i].seen_down[s] && !repl_verdict_stands(r, s, i))
				void_verdict(r, s, i, fx);
}

int repl_apply_idle(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int s = m->u.idle.service;

	if (s >= r->p.n_services)
		return -EBADMSG;
	if (m->u.idle.epoch < r->switched)	/* its buckets are others */
		return 0;
	if (m->u.idle.size != r->layout.buckets / 8)
		return -EBADMSG;
	if (!repl_admitted(r, m) || r->rehash_phase != REHASH_NONE || m->u.idle.epoch < r->moved[s] ||
	    m->u.idle.epoch > r->epoch)
		return 0;
	for (uint32_t b = 0; b < r->layout.buckets; b++) {
		struct repl_bucket *k = &r->bucket[s][b];

		if (!(m->u.idle.bitmap[b / 8] & (1u << (b % 8))) || k->owner != m->from ||
		    k->phase != PHASE_STABLE || k->idle)
			continue;
		k->idle = true;
		fx->changed = true;
	}
	return 0;
}

void repl_forget_idle(struct repl *r)
{
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++)
			r->bucket[s][b].idle = false;
}

/* ---- factors ---- */

static bool reweigh_sound(const struct repl *r, const struct msg *m)
{
	unsigned int last = 0;

	if (m->u.reweigh.service >= r->p.n_services || m->u.reweigh.n > NODES_MAX)
		return false;
	for (unsigned int i = 0; i < m->u.reweigh.n; i++) {
		const struct policy_sample *p = &m->u.reweigh.node[i];

		if (p->node <= last || p->node > r->p.n_nodes || p->load > 1000 || p->cpu_idle > 1000)
			return false;
		last = p->node;
	}
	return true;
}

/* Largest is CLUSTERD_FACTOR_MAX, what is not 0 stays so.  False: all are 0. */
static bool normalise(const uint32_t *v, uint64_t who, uint16_t *out)
{
	uint64_t max = 0;

	for (unsigned int i = 1; i <= NODES_MAX; i++)
		if (mask_has(who, i) && v[i] > max)
			max = v[i];
	if (!max)
		return false;
	for (unsigned int i = 1; i <= NODES_MAX; i++)
		if (mask_has(who, i) && v[i]) {
			out[i] = (uint16_t)((v[i] * UINT64_C(2) * CLUSTERD_FACTOR_MAX + max) / (2 * max));
			out[i] = out[i] ? out[i] : 1;
		} else if (mask_has(who, i)) {
			out[i] = 0;
		}
	return true;
}

/* The policy's word for the nodes 'who', in want[].  False: nothing that can be used. */
static bool ask_policy(const struct repl *r, const struct msg *m, uint64_t who, uint16_t *want)
{
	const struct repl_policy *p = &r->p.policy[m->u.reweigh.service];
	struct clusterd_policy_node node[NODES_MAX];
	struct clusterd_policy_in in = { .size = sizeof(in), .node = node,
					 .process_memory_kb = p->process_memory_kb,
					 .connections_per_minute = p->connections_per_minute };
	uint32_t factor[NODES_MAX] = { 0 }, v[NODES_MAX + 1] = { 0 };
	const struct policy_sample *k = m->u.reweigh.node, *end = k + m->u.reweigh.n;

	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		struct clusterd_policy_node *n = &node[in.n];

		while (k < end && k->node < i)
			k++;
		if (!mask_has(who, i))
			continue;
		in.n++;
		*n = (struct clusterd_policy_node){ .id = i, .base = repl_node_weight(r, i),
			.factor = r->node[i].factor[m->u.reweigh.service] };
		if (k == end || k->node != i)
			continue;
		n->known = 1;
		n->load = k->load;
		n->cpu_idle = k->cpu_idle;
		n->mem_free_kb = k->mem_free_kb;
		n->blocked = k->blocked;
		n->swapping = k->swapping;
		n->connections = k->conns;
	}
	p->ops->factors(&in, factor);
	for (unsigned int i = 0; i < in.n; i++) {
		if (factor[i] > CLUSTERD_FACTOR_MAX)
			return false;
		v[node[i].id] = factor[i];
	}
	return normalise(v, who, want);
}

/* How far apart the shares by two sets of factors are, in buckets (a scheduler's: as if it had some). */
static uint32_t distance(const struct repl *r, unsigned int s, const uint16_t *from, const uint16_t *to)
{
	uint32_t a[NODES_MAX + 1], b[NODES_MAX + 1], sum = 0;
	struct weights w;

	spread(r, s, 0, false, from, &w);
	assign_targets(&w, r->layout.buckets, r->p.salt[s], a);
	spread(r, s, 0, false, to, &w);
	assign_targets(&w, r->layout.buckets, r->p.salt[s], b);
	for (unsigned int i = 0; i <= NODES_MAX; i++)
		sum += a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
	return sum / 2;
}

#define HYSTERESIS 16	/* what would move less than this part of the step is not worth a plan */
#define MIX_BITS 10	/* steps between the old factors and the new ones */

static void mix_factors(const uint16_t *a, const uint16_t *b, uint32_t k, uint64_t who, uint16_t *out)
{
	uint32_t v[NODES_MAX + 1] = { 0 };

	for (unsigned int i = 1; i <= NODES_MAX; i++)
		v[i] = a[i] * ((1u << MIX_BITS) - k) + b[i] * k;
	normalise(v, who, out);		/* all 0: both were, and it has not come to this */
}

/*
 * As far from now[] to want[] as 'limit' buckets go.  Not monotone to the last bucket, as all is
 * rounded: so each step is looked at before it is taken.
 */
static void approach(const struct repl *r, unsigned int s, uint64_t who, uint32_t limit,
		     const uint16_t *want, uint16_t *now)
{
	uint16_t from[NODES_MAX + 1], some[NODES_MAX + 1], best[NODES_MAX + 1];
	uint32_t v[NODES_MAX + 1], low = 0, high = 1u << MIX_BITS;
	bool halved = false;

	memcpy(best, now, sizeof(best));
	memcpy(some, now, sizeof(some));
	memcpy(from, now, sizeof(from));
	for (unsigned int i = 0; i <= NODES_MAX; i++)
		v[i] = now[i];
	if (!normalise(v, who, from))	/* as weights take it when nobody has any */
		for (unsigned int i = 1; i <= NODES_MAX; i++)
			from[i] = mask_has(who, i) ? CLUSTERD_FACTOR_MAX : from[i];
	for (unsigned int i = 1; i <= NODES_MAX; i++)
		if (mask_has(who, i) && !want[i] && from[i]) {
			from[i] /= 2;
			halved = true;
		}
	if (halved)
		mix_factors(from, want, 0, who, best);
	while (high - low > 1) {
		uint32_t k = (low + high) / 2;

		mix_factors(from, want, k, who, some);
		if (distance(r, s, now, some) > limit) {
			high = k;
			continue;
		}
		low = k;
		memcpy(best, some, sizeof(best));
	}
	memcpy(now, best, sizeof(best));
}

/* Fills factor[] with what the message makes of the service's factors.  True if that is a change. */
static bool reweigh(const struct repl *r, const struct msg *m, uint16_t factor[NODES_MAX + 1])
{
	unsigned int s = m->u.reweigh.service;
	const struct repl_policy *p = &r->p.policy[s];
	uint16_t now[NODES_MAX + 1] = { 0 }, want[NODES_MAX + 1];
	uint64_t share = (uint64_t)p->step * r->layout.buckets, who = 0;
	bool zero = false;

	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		now[i] = r->node[i].factor[s];
		if (repl_node_weight(r, i))
			who |= node_bit(i);
	}
	memcpy(want, now, sizeof(want));
	memcpy(factor, now, sizeof(now));
	if (!p->ops || !who || !ask_policy(r, m, who, want))
		return false;
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		zero |= !now[i] != !want[i];

	uint32_t moves = distance(r, s, now, want);
	uint32_t limit = share < 1000 ? 1 : (uint32_t)(share / 1000);

	if (!zero && UINT64_C(1000) * HYSTERESIS * moves < share)
		return false;
	memcpy(factor, want, sizeof(want));
	if (!p->direct && moves > limit) {
		memcpy(factor, now, sizeof(now));
		approach(r, s, who, limit, want, factor);
	}
	return memcmp(factor, now, sizeof(now)) != 0;
}

bool repl_reweigh_needed(struct repl *r, const struct msg *m)
{
	uint16_t factor[NODES_MAX + 1];

	return reweigh_sound(r, m) && reweigh(r, m, factor);
}

int repl_apply_reweigh(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int s = m->u.reweigh.service;
	uint16_t now[NODES_MAX + 1] = { 0 }, factor[NODES_MAX + 1];
	uint32_t moves;

	if (!reweigh_sound(r, m))
		return -EBADMSG;
	if (!repl_admitted(r, m) || !reweigh(r, m, factor))
		return 0;
	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		now[i] = r->node[i].factor[s];
	moves = r->p.policy[s].direct ? 0 : distance(r, s, now, factor);
	repl_note(fx, NOTE_REWEIGH, NOBODY, m->from, s, moves != 0);
	for (unsigned int i = 1; i <= r->p.n_nodes; i++) {
		r->node[i].factor[s] = factor[i];
		if (!now[i] != !factor[i])
			repl_note(fx, NOTE_REWEIGH, i, m->from, s, moves != 0);
	}
	fx->changed = true;
	return 0;
}

/* ---- what concerns the rules, besides the buckets ---- */

void repl_look(const struct repl *r, struct repl_look *l)
{
	*l = (struct repl_look){ .plan = r->plan };
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		struct weights w;

		if (repl_sorry(r, s))
			l->sorry |= 1u << s;
		if (!r->p.policy[s].direct)
			continue;
		spread(r, s, 0, false, NULL, &w);
		for (unsigned int i = 1; i <= r->p.n_nodes; i++)
			l->serve = repl_mix(l->serve, w.w[i]);
	}
}

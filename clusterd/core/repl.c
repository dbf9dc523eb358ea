/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/repl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/repl_priv.h"

const char *repl_phase_str(enum repl_phase p)
{
	static const char *const name[PHASES_N] = {
		[PHASE_STABLE] = "stable", [PHASE_PREPARE] = "prepare", [PHASE_HANDOFF] = "handoff",
		[PHASE_ADOPT] = "adopt", [PHASE_DRAIN] = "drain", [PHASE_GRACE] = "grace",
	};
	return p < PHASES_N ? name[p] : "?";
}

uint64_t repl_all_nodes(const struct repl *r)
{
	return r->p.n_nodes == 64 ? UINT64_MAX : node_bit(r->p.n_nodes + 1u) - 1;
}

static struct repl *new_tables(const struct repl_params *p)
{
	struct repl *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->p = *p;
	r->old_owner = calloc(p->n_services, BUCKETS_MAX);
	if (!r->old_owner && p->n_services) {
		repl_free(r);
		return NULL;
	}
	for (unsigned int s = 0; s < p->n_services; s++) {
		r->bucket[s] = calloc(BUCKETS_MAX, sizeof(*r->bucket[s]));
		if (!r->bucket[s]) {
			repl_free(r);
			return NULL;
		}
	}
	return r;
}

int repl_new(struct repl **out, const struct repl_params *p)
{
	if (p->n_nodes < 1 || p->n_nodes > NODES_MAX || p->n_services > SERVICES_MAX ||
	    p->n_vips > HOLDERS_MAX || !layout_valid(&p->layout))
		return -EINVAL;

	struct repl *r = new_tables(p);

	if (!r)
		return -ENOMEM;
	r->spare = new_tables(p);
	r->owner = calloc(BUCKETS_MAX, 1);
	r->pinned = calloc(BUCKETS_MAX, 1);
	r->first = calloc(BUCKETS_MAX, 1);
	r->next = calloc(BUCKETS_MAX, 1);
	r->scratch = calloc(1, sizeof(*r->scratch));
	if (!r->spare || !r->owner || !r->pinned || !r->first || !r->next || !r->scratch) {
		repl_free(r);
		return -ENOMEM;
	}
	repl_reset(r);
	*out = r;
	return 0;
}

void repl_free(struct repl *r)
{
	if (!r)
		return;
	repl_free(r->spare);
	for (unsigned int s = 0; s < SERVICES_MAX; s++)
		free(r->bucket[s]);
	free(r->old_owner);
	free(r->owner);
	free(r->pinned);
	free(r->first);
	free(r->next);
	free(r->scratch);
	free(r);
}

static void even_factors(struct repl *r)
{
	for (unsigned int i = 0; i <= NODES_MAX; i++)
		for (unsigned int s = 0; s < SERVICES_MAX; s++)
			r->node[i].factor[s] = CLUSTERD_FACTOR_MAX;
}

void repl_reset(struct repl *r)
{
	r->epoch = r->lineage = r->config = r->dead = r->plan = r->closing = r->acks = 0;
	r->preparing = false;
	r->layout = r->p.layout;
	r->rehash_phase = REHASH_NONE;
	r->rehash = r->rehash_acks = r->mixed = r->switched = 0;
	memset(r->holder, 0, sizeof(r->holder));
	memset(r->alive, 0, sizeof(r->alive));
	memset(r->hw, 0, sizeof(r->hw));
	memset(r->hw_next, 0, sizeof(r->hw_next));
	memset(r->moved, 0, sizeof(r->moved));
	memset(r->node, 0, sizeof(r->node));
	for (unsigned int i = 0; i <= NODES_MAX; i++) {
		r->node[i].weight_conf = 100;
		r->node[i].weight_order = ORDER_AUTO;
		r->node[i].ramp = RAMP_FULL;
	}
	even_factors(r);
	for (unsigned int s = 0; s < r->p.n_services; s++)
		memset(r->bucket[s], 0, r->layout.buckets * sizeof(*r->bucket[s]));
}

/* ---- questions ---- */

uint64_t repl_epoch(const struct repl *r) { return r->epoch; }
uint64_t repl_lineage(const struct repl *r) { return r->lineage; }
uint64_t repl_config(const struct repl *r) { return r->config; }
const struct repl_params *repl_get_params(const struct repl *r) { return &r->p; }
const struct repl_node *repl_get_node(const struct repl *r, unsigned int id) { return &r->node[id]; }
uint64_t repl_dead(const struct repl *r) { return r->dead; }
uint64_t repl_plan(const struct repl *r) { return r->plan; }
uint64_t repl_plan_ack(const struct repl *r) { return r->preparing ? r->plan : r->closing; }
uint64_t repl_plan_acks(const struct repl *r) { return r->acks; }

const struct repl_bucket *repl_get_bucket(const struct repl *r, unsigned int service, uint32_t b)
{
	return &r->bucket[service][b];
}

uint64_t repl_online(const struct repl *r)
{
	uint64_t m = 0;

	for (unsigned int i = 1; i <= r->p.n_nodes; i++)
		if (r->node[i].state == NODE_ONLINE)
			m |= node_bit(i);
	return m;
}

bool repl_majority(const struct repl *r, uint64_t members)
{
	uint64_t count = repl_all_nodes(r) & ~r->dead;

	return r->p.ignore_quorum ? members != 0 : 2 * mask_count(members & count) > mask_count(count);
}

uint32_t repl_count(const struct repl *r, enum repl_phase phase, unsigned int owner,
		    unsigned int other)
{
	uint32_t n = 0;

	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			const struct repl_bucket *k = &r->bucket[s][b];

			n += k->phase == phase && (owner == NOBODY || k->owner == owner) &&
			     (other == NOBODY || k->other == other);
		}
	return n;
}

bool repl_awaits(const struct repl *r, unsigned int id)
{
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			const struct repl_bucket *k = &r->bucket[s][b];

			unsigned int who = k->phase == PHASE_GRACE ? k->other : k->third;

			if (who && (id == NOBODY || who == id))
				return true;
		}
	return false;
}

uint32_t repl_owned(const struct repl *r, unsigned int service, unsigned int owner)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < r->layout.buckets; b++)
		n += r->bucket[service][b].owner == owner;
	return n;
}

uint32_t repl_moving(const struct repl *r, unsigned int service)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < r->layout.buckets; b++)
		n += r->bucket[service][b].phase != PHASE_STABLE;
	return n;
}

uint32_t repl_draining(const struct repl *r, unsigned int service)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < r->layout.buckets; b++)
		n += r->bucket[service][b].phase == PHASE_DRAIN;
	return n;
}

unsigned int repl_heir(const struct repl *r, unsigned int service, uint32_t b, uint64_t lost)
{
	return assign_heir(b, r->p.salt[service], &r->hw[service], lost | ~r->alive[service]);
}

/* While the plan's ACKs are outstanding some may still go by the old weights, some by the new. */
static bool is_heir(const struct repl *r, unsigned int service, uint32_t b, unsigned int self,
		    uint64_t lost)
{
	if (repl_heir(r, service, b, lost) != self)
		return false;
	return !r->preparing || assign_heir(b, r->p.salt[service], &r->hw_next[service],
					    lost | ~repl_online(r)) == self;
}

bool repl_inherits(const struct repl *r, unsigned int service, uint32_t b, unsigned int self,
		   uint64_t lost)
{
	const struct repl_bucket *k = &r->bucket[service][b];

	if (!mask_has(lost, k->owner) || mask_has(lost, self))
		return false;
	switch ((enum repl_phase)k->phase) {
	case PHASE_STABLE:
	case PHASE_ADOPT:
	case PHASE_DRAIN:
	case PHASE_GRACE:
		return is_heir(r, service, b, self, lost);
	case PHASE_PREPARE:
		/* Those who do not know of the move yet go by heir(); those who know more, by 'other'. */
		return k->other == self && is_heir(r, service, b, self, lost);
	case PHASE_HANDOFF:
		return k->other == self;
	case PHASES_N:
		break;
	}
	return false;
}

/* ---- the effects of messages ---- */

#define RAMP_START 100	/* of RAMP_FULL: where a slow start begins */

static void settle(struct repl_bucket *k, unsigned int owner)
{
	*k = (struct repl_bucket){ .owner = (uint8_t)owner, .phase = PHASE_STABLE };
}

static void await_return(struct repl_bucket *k, unsigned int owner, unsigned int crashed)
{
	*k = (struct repl_bucket){ .owner = (uint8_t)owner, .other = (uint8_t)crashed,
				   .phase = owner ? PHASE_GRACE : PHASE_STABLE };
	if (!owner)
		k->other = NOBODY;
}

/* The other party keeps its connections until they end. */
static void let_drain(const struct repl *r, struct repl_bucket *k, unsigned int owner,
		      unsigned int third)
{
	*k = (struct repl_bucket){ .owner = (uint8_t)owner, .other = k->other, .phase = PHASE_DRAIN,
				   .third = third == owner ? NOBODY : (uint8_t)third,
				   .since = (uint32_t)r->epoch };
}

/* DRAIN, and 'other' has no connections any more: one more may. */
static void end_drain(const struct repl *r, struct repl_bucket *k, unsigned int owner)
{
	unsigned int third = k->third;

	if (!third || third == owner) {
		settle(k, owner);
	} else if (r->node[third].state == NODE_ONLINE && owner) {
		k->other = (uint8_t)third;
		let_drain(r, k, owner, NOBODY);
	} else {
		await_return(k, owner, third);
	}
}

/* ADOPT or DRAIN: the owner is gone, and has connections like 'other'. */
static void drain_without_owner(struct repl *r, unsigned int service, uint32_t b, bool crash)
{
	struct repl_bucket *k = &r->bucket[service][b];
	unsigned int heir = repl_heir(r, service, b, 0);

	if (crash)
		k->third = k->owner;
	if (heir == NOBODY)
		settle(k, heir);
	else if (heir == k->other)
		end_drain(r, k, heir);
	else
		let_drain(r, k, heir, k->third);
}

/* One bucket after the failure of 'gone', which is not in r->alive[service] any more. */
static bool bucket_without(struct repl *r, unsigned int service, uint32_t b, unsigned int gone,
			   bool crash)
{
	struct repl_bucket *k = &r->bucket[service][b];
	unsigned int owner = k->owner, other = k->other;

	if (k->third == gone && !crash) {	/* its machine is gone now; it is no other party */
		k->third = NOBODY;
		return true;
	}
	if (owner != gone && other != gone)
		return false;
	switch ((enum repl_phase)k->phase) {
	case PHASE_STABLE:
	case PHASE_PREPARE:
		if (owner == gone) {
			unsigned int heir = repl_heir(r, service, b, 0);

			if (crash)
				await_return(k, heir, gone);
			else if (k->flows && heir != other && heir != NOBODY)
				let_drain(r, k, heir, NOBODY);
			else
				settle(k, heir);
		} else if (k->flows && crash) {	/* it was coming back for its connections */
			await_return(k, owner, gone);
		} else {
			settle(k, owner);
		}
		return true;
	case PHASE_HANDOFF:
		/* Everyone knows of the move: whichever party is left has it. */
		owner = owner == gone ? other : owner;
		if (crash)
			await_return(k, owner, gone);
		else
			settle(k, owner);
		return true;
	case PHASE_ADOPT:
	case PHASE_DRAIN:
		if (owner == gone)
			drain_without_owner(r, service, b, crash);
		else if (crash)
			await_return(k, owner, gone);
		else
			end_drain(r, k, owner);
		return true;
	case PHASE_GRACE:
		/* It was back, but its buckets were not given back yet. */
		if (owner != gone && crash)
			return false;
		if (owner == gone)
			await_return(k, repl_heir(r, service, b, 0), other);
		else
			settle(k, owner);
		return true;
	case PHASES_N:
		break;
	}
	return false;
}

static void take_over(struct repl *r, unsigned int gone, bool crash, struct repl_fx *fx)
{
	uint32_t taken[NODES_MAX + 1] = { 0 };

	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			bool owned = r->bucket[s][b].owner == gone;

			if (bucket_without(r, s, b, gone, crash))
				fx->tables = true;
			if (!owned)
				continue;
			taken[r->bucket[s][b].owner]++;
			r->moved[s] = r->epoch + 1;
		}
	for (unsigned int i = 0; i <= r->p.n_nodes; i++)
		if (taken[i])
			repl_note(fx, NOTE_TAKEN, gone, i, taken[i], 0);
}

/* All know the plan for this service: from now on the parties move.  Returns how many buckets. */
static uint32_t commit(struct repl *r, unsigned int s, uint64_t online)
{
	uint32_t n = 0;

	r->hw[s] = r->hw_next[s];
	r->alive[s] = online & repl_weight_mask(&r->hw[s], r->p.n_nodes);
	for (uint32_t b = 0; b < r->layout.buckets; b++) {
		struct repl_bucket *k = &r->bucket[s][b];

		if (k->phase != PHASE_PREPARE)
			continue;
		n++;
		if (k->owner == NOBODY) {
			settle(k, k->other);
			r->moved[s] = r->epoch + 1;
		} else {
			k->phase = PHASE_HANDOFF;
		}
	}
	return n;
}

/* The end of PREPARE, when every admitted node's kernel knows the plan; and of the plan. */
static void advance_plan(struct repl *r, struct repl_fx *fx)
{
	uint32_t busy = 0, moved = 0;
	uint64_t online = repl_online(r);

	if (!r->plan)
		return;
	if (r->preparing) {
		if (online & ~r->acks)
			return;
		r->preparing = false;
		r->acks = 0;
		fx->tables = fx->changed = true;
		for (unsigned int s = 0; s < r->p.n_services; s++)
			moved += commit(r, s, online);
		if (moved)
			repl_note(fx, NOTE_MOVED, NOBODY, NOBODY, moved, 0);
		else
			r->closing = r->plan;	/* nothing has: nobody needs to know */
	}
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++)
			busy += r->bucket[s][b].phase == PHASE_HANDOFF ||
				r->bucket[s][b].phase == PHASE_ADOPT;
	if (busy)
		return;
	if (!r->closing) {
		r->closing = r->epoch + 1;
		fx->changed = true;
	}
	if (r->closing == r->plan || !(online & ~r->acks)) {
		r->plan = r->closing = r->acks = 0;
		fx->changed = true;
	}
}

/* 'why': FAIL_*, for the note. */
static void fail_node(struct repl *r, unsigned int id, enum fail_kind why, unsigned int by,
		      struct repl_fx *fx)
{
	struct repl_node *n = &r->node[id];

	repl_note(fx, NOTE_FAILED, id, by, n->term, why);
	n->state = NODE_FAILED;
	n->leaving = n->returning = false;
	n->ramp = RAMP_FULL;
	repl_layout_without(r, id, why == FAIL_CRASH);
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		r->alive[s] &= ~node_bit(id);
		r->hw_next[s].w[id] = 0;
	}
	r->acks &= ~node_bit(id);
	take_over(r, id, why == FAIL_CRASH, fx);
	advance_plan(r, fx);
	fx->changed = fx->tables = true;
}

static void apply_fail(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int id = m->u.fail.node;

	if (r->node[id].state == NODE_ONLINE && r->node[id].term == m->u.fail.term)
		fail_node(r, id, m->u.fail.kind, m->from, fx);
}

/*
 * Terms are compared for equality all over, also by nodes that still live in an older history: a
 * plain epoch would come again there.
 */
static uint32_t new_term(const struct repl *r)
{
	uint32_t term = (uint32_t)(r->epoch + 1) + (uint32_t)(repl_mix(0, r->lineage) >> 32);

	return term ? term : 1;
}

static bool ready_sound(const struct msg *m)
{
	bool ok = m->u.ready.n_links <= SERVICES_MAX && m->u.ready.weight <= WEIGHT_MAX;

	for (unsigned int s = 0; s < SERVICES_MAX; s++)
		ok &= m->u.ready.health[s] < FITNESS_N;
	return ok;
}

static void apply_ready(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	struct repl_node *n = &r->node[m->from];

	if (n->state == NODE_ONLINE && n->incarnation == m->incarnation)
		return;
	if (n->state == NODE_ONLINE)	/* an older process of it; this one says that it is gone */
		fail_node(r, m->from, FAIL_CRASH, m->from, fx);
	if (repl_freeze(r) && repl_online(r))
		return;		/* it will be over in a moment, and it asks again */
	if (r->config != m->u.ready.config && repl_online(r)) {
		if (!n->refused)
			repl_note(fx, NOTE_REFUSED, m->from, NOBODY, 0, 0);
		fx->changed |= !n->refused;
		n->refused = true;
		return;
	}
	if (!r->lineage)
		r->lineage = (m->incarnation & ~UINT64_C(63)) | (m->from - 1u);
	if (r->config != m->u.ready.config)	/* other policies, perhaps */
		even_factors(r);
	r->config = m->u.ready.config;
	r->dead &= ~node_bit(m->from);
	n->state = NODE_ONLINE;
	n->refused = n->leaving = false;
	n->incarnation = m->incarnation;
	n->term = new_term(r);
	n->weight_conf = m->u.ready.weight;
	uint32_t returned = n->ever;
	/* Who is awaited by its connections gets its very buckets back, and at once. */
	bool late = returned && !repl_count(r, PHASE_GRACE, NOBODY, m->from);

	n->hold_back = m->u.ready.hold_back && late;
	n->ramp = m->u.ready.slow && late ? RAMP_START : RAMP_FULL;
	n->returning = returned;
	n->ever = true;
	repl_forget_verdicts(r, m->from, fx);
	repl_layout_admitted(r, m->from);
	memset(n->link, 0, sizeof(n->link));
	memcpy(n->link, m->u.ready.link, m->u.ready.n_links * sizeof(n->link[0]));
	repl_note(fx, NOTE_ADMITTED, m->from, NOBODY, n->term, returned);
	repl_take_health(r, m, fx);
	fx->changed = fx->tables = true;
}

static void apply_bye(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	struct repl_node *n = &r->node[m->from];

	if (n->incarnation != m->incarnation || n->state == NODE_OFFLINE)
		return;
	if (n->state == NODE_ONLINE)
		fail_node(r, m->from, FAIL_SELF, m->from, fx);
	repl_layout_without(r, m->from, false);
	fx->n_notes = 0;
	repl_note(fx, NOTE_BYE, m->from, NOBODY, 0, 0);
	n->state = NODE_OFFLINE;
	fx->changed = fx->tables = true;
}

static void apply_plan(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	uint32_t n = 0;

	if (!repl_plan_needed(r))
		return;
	for (unsigned int s = 0; s < r->p.n_services; s++) {
		repl_plan_weights(r, s, 0, &r->hw_next[s]);
		repl_share(r, s, &r->hw_next[s]);
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			struct repl_bucket *k = &r->bucket[s][b];
			unsigned int to = repl_goes_to(r, s, b, &r->hw_next[s]);

			if (to == NOBODY)
				continue;
			n++;
			k->flows = k->phase != PHASE_STABLE;
			k->third = NOBODY;
			k->other = (uint8_t)to;
			k->phase = PHASE_PREPARE;
		}
	}
	repl_forget_idle(r);
	repl_hold_plan(r, r->holder);
	r->plan = r->epoch + 1;
	r->preparing = true;
	r->acks = 0;
	repl_note(fx, NOTE_PLAN, NOBODY, m->from, n, 0);
	fx->changed = fx->tables = true;
}

static void apply_left(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	if (m->u.plan.plan != r->plan || r->preparing)
		return;
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			struct repl_bucket *k = &r->bucket[s][b];

			if (k->phase != PHASE_HANDOFF || k->owner != m->from)
				continue;
			*k = (struct repl_bucket){ .owner = k->other, .other = k->owner,
						   .phase = PHASE_ADOPT };
			r->moved[s] = r->epoch + 1;
			fx->changed = fx->tables = true;
		}
}

static void apply_adopted(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	if (m->u.plan.plan != r->plan || r->preparing)
		return;
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			struct repl_bucket *k = &r->bucket[s][b];

			if (k->phase != PHASE_ADOPT || k->owner != m->from)
				continue;
			k->phase = PHASE_DRAIN;
			k->since = (uint32_t)(r->epoch + 1);
			fx->changed = fx->tables = true;
		}
	advance_plan(r, fx);
}

static int apply_drained(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	uint32_t n = 0;

	if (m->u.drained.service >= r->p.n_services)
		return -EBADMSG;
	if (m->u.drained.epoch < r->switched)	/* its buckets are others */
		return 0;
	if (m->u.drained.size != r->layout.buckets / 8)
		return -EBADMSG;
	for (uint32_t b = 0; b < r->layout.buckets; b++) {
		struct repl_bucket *k = &r->bucket[m->u.drained.service][b];

		/* GRACE: it came back for its connections, and they are gone. */
		if (!(m->u.drained.bitmap[b / 8] & (1u << (b % 8))) || k->other != m->from ||
		    (k->phase != PHASE_DRAIN && k->phase != PHASE_GRACE) ||
		    (int32_t)((uint32_t)m->u.drained.epoch - k->since) < 0)
			continue;
		end_drain(r, k, k->owner);
		n++;
	}
	if (n) {
		repl_note(fx, m->u.drained.forced ? NOTE_DRAIN_FORCED : NOTE_DRAINED, m->from, NOBODY, n,
		     m->u.drained.service);
		fx->changed = fx->tables = true;
	}
	return 0;
}

static void apply_grace_end(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int id = m->u.grace.node;
	uint32_t n = 0;

	if (r->node[id].state == NODE_ONLINE)
		return;
	for (unsigned int s = 0; s < r->p.n_services; s++)
		for (uint32_t b = 0; b < r->layout.buckets; b++) {
			struct repl_bucket *k = &r->bucket[s][b];

			if (k->phase == PHASE_GRACE && k->other == id)
				settle(k, k->owner);
			else if (k->third == id)
				k->third = NOBODY;
			else
				continue;
			n++;
		}
	if (mask_has(r->mixed, id)) {
		repl_layout_without(r, id, false);
		fx->changed = true;
	}
	if (n) {
		repl_note(fx, NOTE_GRACE_END, id, NOBODY, n, 0);
		fx->changed = fx->tables = true;
	}
}

static int apply_order(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	unsigned int id = m->u.order.node;
	struct repl_node *n;
	uint64_t before;

	if (m->u.order.type >= ORDER_TYPES_N)
		return -EBADMSG;
	if (m->u.order.type == ORDER_LEAVE || m->u.order.type == ORDER_CONF_WEIGHT)
		id = m->from;
	if (m->u.order.type != ORDER_FAILBACK && (id < 1 || id > r->p.n_nodes))
		return -EBADMSG;
	n = &r->node[id <= r->p.n_nodes ? id : 0];
	before = repl_node_digest(r, n);
	switch ((enum order_type)m->u.order.type) {
	case ORDER_FAILBACK:
		for (unsigned int i = 1; i <= r->p.n_nodes; i++)
			fx->changed |= r->node[i].hold_back;
		repl_set_order(r, ORDER_FAILBACK, NOBODY, 0);
		break;
	case ORDER_DRAIN:
	case ORDER_UNDRAIN:
	case ORDER_WEIGHT:
		repl_set_order(r, m->u.order.type, id, m->u.order.value);
		break;
	case ORDER_CONF_WEIGHT:
		n->weight_conf = m->u.order.value > WEIGHT_MAX ? WEIGHT_MAX : m->u.order.value;
		break;
	case ORDER_RAMP:
		if (m->u.order.value < 1 || m->u.order.value > RAMP_FULL)
			return -EBADMSG;
		if (n->state == NODE_ONLINE && m->u.order.value > n->ramp)
			n->ramp = m->u.order.value;
		break;
	case ORDER_LEAVE:
		n->leaving = n->state == NODE_ONLINE && n->incarnation == m->incarnation;
		break;
	case ORDER_TAKEOVER:
		/* It may come late: whom it means has been admitted again, and is alive. */
		if (id == m->from ||
		    (n->state == NODE_ONLINE && (uint16_t)n->term != m->u.order.value))
			break;
		fx->changed |= !mask_has(r->dead, id);
		r->dead |= node_bit(id);
		if (n->state == NODE_ONLINE)
			fail_node(r, id, FAIL_LEASE, m->from, fx);
		break;
	case ORDER_TYPES_N:
		return -EBADMSG;
	}
	fx->changed |= before != repl_node_digest(r, n);
	if (fx->changed)
		repl_note(fx, NOTE_ORDER, id, m->from, m->u.order.value, m->u.order.type);
	return 0;
}

static void apply_ack(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	repl_apply_rehash_ack(r, m, fx);
	if (!m->u.plan.plan || m->u.plan.plan != repl_plan_ack(r) || mask_has(r->acks, m->from) ||
	    r->node[m->from].state != NODE_ONLINE || r->node[m->from].incarnation != m->incarnation)
		return;
	r->acks |= node_bit(m->from);
	fx->changed = true;
	advance_plan(r, fx);
}

static int apply_message(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	int err = 0;

	switch (m->type) {
	case MSG_READY:
		if (!ready_sound(m))
			return -EBADMSG;
		apply_ready(r, m, fx);
		break;
	case MSG_FAIL:
		if (m->u.fail.node < 1 || m->u.fail.node > r->p.n_nodes || m->u.fail.kind > FAIL_SELF)
			return -EBADMSG;
		apply_fail(r, m, fx);
		break;
	case MSG_BYE:
		apply_bye(r, m, fx);
		break;
	case MSG_PLAN:
		apply_plan(r, m, fx);
		break;
	case MSG_ACK:
		apply_ack(r, m, fx);
		break;
	case MSG_LEFT:
		apply_left(r, m, fx);
		break;
	case MSG_ADOPTED:
		apply_adopted(r, m, fx);
		break;
	case MSG_DRAINED:
		err = apply_drained(r, m, fx);
		break;
	case MSG_GRACE_END:
		if (m->u.grace.node < 1 || m->u.grace.node > r->p.n_nodes)
			return -EBADMSG;
		apply_grace_end(r, m, fx);
		break;
	case MSG_ORDER:
		err = apply_order(r, m, fx);
		break;
	case MSG_LAYOUT:
		err = repl_apply_layout(r, m, fx);
		break;
	case MSG_UNMIXED:
		repl_apply_unmixed(r, m, fx);
		break;
	case MSG_REWEIGH:
		err = repl_apply_reweigh(r, m, fx);
		break;
	case MSG_IDLE:
		err = repl_apply_idle(r, m, fx);
		break;
	case MSG_HEALTH:
		err = repl_apply_health(r, m, fx);
		break;
	case MSG_LOAD:
	case MSG_NONE:
	case MSG_ROUND:
	case MSG_STATE:
	case MSG_SNAP:
	case MSG_CLEAR_REQ:
	case MSG_CLEAR_ACK:
	case MSG_DIGEST:
	case MSG_TYPES_N:
		return -EBADMSG;
	}
	return err;
}

/* What follows from a change, whichever it was. */
static void follow(struct repl *r, const struct repl_look *before, struct repl_fx *fx)
{
	struct repl_look after;

	repl_health_step(r, fx);
	if (before->plan && !r->plan)
		repl_share_back(r, fx);
	repl_layout_step(r, fx);
	fx->tables |= repl_hold(r);
	repl_look(r, &after);
	fx->tables |= after.serve != before->serve || after.sorry != before->sorry;
	for (unsigned int s = 0; s < r->p.n_services; s++)
		if ((after.sorry ^ before->sorry) & (1u << s))
			repl_note(fx, NOTE_SORRY, NOBODY, NOBODY, s, after.sorry >> s & 1);
	r->epoch++;
}

int repl_apply(struct repl *r, const struct msg *m, struct repl_fx *fx)
{
	struct repl_look before;
	int err;

	memset(fx, 0, sizeof(*fx));
	if (m->from < 1 || m->from > r->p.n_nodes || !msg_is_replicated(m->type))
		return -EBADMSG;
	repl_look(r, &before);
	err = apply_message(r, m, fx);
	if (fx->changed)
		follow(r, &before, fx);
	return err;
}

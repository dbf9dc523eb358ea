/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Being in step with the group: who holds the newest state, and how the others get it. */
#include "core/agent_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define ROUND_MS 1000

int exchange_new(struct agent *a)
{
	a->ex = calloc(1, sizeof(*a->ex));
	if (!a->ex)
		return -ENOMEM;
	a->ex->snap_room = repl_save_max(a->repl);
	a->ex->snap = malloc(a->ex->snap_room);
	return a->ex->snap ? 0 : -ENOMEM;
}

void exchange_free(struct agent *a)
{
	if (!a->ex)
		return;
	free(a->ex->snap);
	free(a->ex);
	a->ex = NULL;
}

/* Something unique: several may ask, and what was sent in an earlier view may arrive in this one. */
static void ask(struct agent *a, int64_t now)
{
	struct msg m = { .type = MSG_ROUND };

	m.u.round = (uint32_t)a->p.self << 24 |
		    ((uint32_t)a->p.incarnation + ++a->ex->asked) % (UINT32_C(1) << 24);
	a->ex->deadline = now + ROUND_MS + 50 * a->p.self;
	agent_send(a, &m);
}

/* Nobody's state counts until the round has been held. */
static void collect(struct agent *a, int64_t now)
{
	struct exchange_state *e = a->ex;

	e->phase = EX_COLLECT;
	e->round = 0;
	e->index = 0;
	e->got = e->heard = 0;
	e->n_kept = 0;
	e->bits_used = 0;
	e->overflow = false;
	e->deadline = now + ROUND_MS + 50 * a->p.self;
}

static void start_round(struct agent *a, uint32_t round, int64_t now)
{
	struct exchange_state *e = a->ex;
	uint64_t heard = e->heard;

	/* What waits to be applied since the view began goes on waiting. */
	if (e->phase != EX_COLLECT || e->overflow)
		collect(a, now);
	e->expect = heard & a->members;
	e->got = e->heard = 0;
	e->round = round;
	e->rounds++;
	e->snap_got = 0;
	e->deadline = now + ROUND_MS + 50 * a->p.self;
	e->own = (struct told){ .epoch = repl_epoch(a->repl), .digest = repl_digest(a->repl),
				.config = a->p.config, .dead = repl_dead(a->repl),
				.primary = a->primary };
	struct msg m = { .type = MSG_STATE };

	m.u.state.round = round;
	m.u.state.epoch = e->own.epoch;
	m.u.state.digest = e->own.digest;
	m.u.state.lineage = repl_lineage(a->repl);
	m.u.state.config = e->own.config;
	m.u.state.dead = e->own.dead;
	m.u.state.primary = e->own.primary;
	agent_send(a, &m);
}

void exchange_view(struct agent *a, uint64_t old, uint64_t members, int64_t now)
{
	/* Whether a round was on is the same at all that were there; newcomers begin with one. */
	if (!(members & ~old) && a->ex->phase == EX_IDLE)
		return;
	collect(a, now);
	a->ex->rounds = 0;
	if (mask_lowest(members) == a->p.self)
		ask(a, now);
}

bool exchange_void(const struct agent *a, const struct msg *m)
{
	switch (m->type) {
	case MSG_READY:
	case MSG_ACK:
	case MSG_LEFT:
	case MSG_ADOPTED:
	case MSG_DRAINED:
	case MSG_LAYOUT:
	case MSG_UNMIXED:
	case MSG_IDLE:
	case MSG_HEALTH:
	case MSG_DIGEST:
		return !mask_has(a->ex->heard, m->from);
	case MSG_NONE:
	case MSG_ROUND:
	case MSG_STATE:
	case MSG_SNAP:
	case MSG_FAIL:		/* names a term: true in every past that knows it */
	case MSG_BYE:
	case MSG_PLAN:
	case MSG_GRACE_END:
	case MSG_ORDER:
	case MSG_CLEAR_REQ:
	case MSG_CLEAR_ACK:
	case MSG_LOAD:
	case MSG_REWEIGH:	/* from samples of its own; sent once by a coordinator, as PLAN is */
	case MSG_TYPES_N:
		break;
	}
	return false;
}

void exchange_saw(struct agent *a, const struct msg *m)
{
	struct exchange_state *e = a->ex;
	uint32_t size = m->type == MSG_DRAINED ? m->u.drained.size :
			m->type == MSG_IDLE ? m->u.idle.size : 0;

	if (e->phase == EX_IDLE)
		return;
	e->index++;
	if (!msg_is_replicated(m->type) || exchange_void(a, m))
		return;
	if (e->n_kept == RING || e->bits_used + size > RING_BITS) {
		e->overflow = true;
		return;
	}
	struct msg *k = &e->kept[e->n_kept];

	*k = *m;
	if (size) {	/* what it borrows */
		uint8_t *bits = e->bits + e->bits_used;

		memcpy(bits, m->type == MSG_IDLE ? m->u.idle.bitmap : m->u.drained.bitmap, size);
		if (m->type == MSG_IDLE)
			k->u.idle.bitmap = bits;
		else
			k->u.drained.bitmap = bits;
		e->bits_used += size;
	}
	e->kept_index[e->n_kept++] = e->index;
}

/* Those that told and run the same configuration as 'of'. */
static uint64_t same_config(const struct exchange_state *e, unsigned int of)
{
	uint64_t mask = 0;

	for (unsigned int i = 1; i <= NODES_MAX; i++)
		if (mask_has(e->got, i) && e->told[i].config == e->told[of].config)
			mask |= node_bit(i);
	return mask;
}

static bool newer(const struct told *x, const struct told *y)
{
	if (x->lineage != y->lineage)	/* a majority had forgotten the older history: it is over */
		return x->lineage > y->lineage;
	return x->primary != y->primary ? x->primary : x->epoch > y->epoch;
}

static unsigned int newest(const struct exchange_state *e, uint64_t among)
{
	unsigned int best = NOBODY;

	for (unsigned int i = 1; i <= NODES_MAX; i++)
		if (mask_has(among, i) && (!best || newer(&e->told[i], &e->told[best])))
			best = i;
	return best;
}

/*
 * Have enough told?  Any majority has a member that was in the last quorate view and so knows the
 * newest state.  Where majorities mean nothing (two nodes, quorum ignored) everyone in the view has
 * to tell, and each repetition of the round does without one more that was silent in the last one:
 * it may hang.
 */
static bool enough(const struct agent *a, uint64_t among)
{
	const struct exchange_state *e = a->ex;
	unsigned int view = mask_count(a->members), n = mask_count(among), n_nodes = a->p.repl.n_nodes;

	if (n_nodes <= 2 || a->p.repl.ignore_quorum)
		return n && n + e->rounds > view && !(e->expect & a->members & ~e->got);
	uint64_t dead = e->told[newest(e, among)].dead, all = UINT64_MAX >> (64 - n_nodes);

	return 2 * mask_count(among & ~dead) > mask_count(all & ~dead);
}

static void send_state(struct agent *a)
{
	struct exchange_state *e = a->ex;
	uint32_t index = e->hold ? 0 : e->index;
	size_t size = repl_save(a->repl, e->snap, e->snap_room);

	for (size_t at = 0; at < size; at += SNAP_CHUNK) {
		struct msg m = { .type = MSG_SNAP };

		m.u.snap.round = e->round;
		m.u.snap.index = index;
		m.u.snap.offset = (uint32_t)at;
		m.u.snap.total = (uint32_t)size;
		m.u.snap.size = (uint32_t)(size - at < SNAP_CHUNK ? size - at : SNAP_CHUNK);
		m.u.snap.data = e->snap + at;
		agent_send(a, &m);
	}
}

static void set_synced(struct agent *a, bool yes)
{
	if (a->synced == yes)
		return;
	a->synced = yes;
	if (!yes)
		a->primary = false;
	agent_event(a, LOG_INFO, yes ? "IN_STEP" : "OUT_OF_STEP", ABOUT(0), yes ?
		    "holds the cluster's state, epoch %llu" : "waits for the cluster's state, has epoch %llu",
		    (unsigned long long)repl_epoch(a->repl));
}

/* What came meanwhile has waited: only now it is known to what it applies. */
static void replay(struct agent *a, uint32_t after, int64_t now)
{
	struct exchange_state *e = a->ex;

	if (!a->synced || !agent_quorate(a))
		return;
	for (unsigned int i = 0; i < e->n_kept; i++)
		if (e->kept_index[i] > after)
			agent_apply(a, &e->kept[i], now);
}

bool exchange_settled(const struct agent *a)
{
	return a->ex->phase == EX_IDLE || (a->ex->phase == EX_SNAP && !a->ex->hold);
}

static void decide(struct agent *a, int64_t now)
{
	struct exchange_state *e = a->ex;
	uint64_t among = 0;

	for (unsigned int i = 1; i <= NODES_MAX; i++) {
		if (!mask_has(e->got, i))
			continue;
		uint64_t group = same_config(e, i);

		/* Of two equal ones (where majorities mean nothing) the one that serves. */
		if (enough(a, group) && (mask_count(group) > mask_count(among) ||
		    (mask_count(group) == mask_count(among) &&
		     newer(&e->told[newest(e, group)], &e->told[newest(e, among)]))))
			among = group;
	}
	if (!among || e->overflow)	/* of the latter everybody thinks alike: another round */
		return;
	e->winner = newest(e, among);
	const struct told *w = &e->told[e->winner];

	if (w->config != a->p.config && !a->config_differs)
		agent_event(a, LOG_ERR, "CONFIG_DIFFERS", ABOUT(0), "this node's clusterd.ini differs from the "
			    "majority's (%s has theirs): it takes no traffic", agent_name(a, e->winner));
	a->config_differs = w->config != a->p.config;
	set_synced(a, !a->config_differs && w->epoch == e->own.epoch && w->digest == e->own.digest);
	uint64_t holders = 0;

	for (unsigned int i = 1; i <= NODES_MAX; i++)
		if (mask_has(a->members & e->got, i) && e->told[i].digest == w->digest &&
		    e->told[i].epoch == w->epoch && e->told[i].config == w->config)
			holders |= node_bit(i);
	e->phase = a->members & ~holders ? EX_SNAP : EX_IDLE;
	/*
	 * As long as no majority holds the state nothing may be built on it: these few could be parted
	 * from the rest, and the rest would go on from where it was.
	 */
	e->hold = e->phase == EX_SNAP && !enough(a, holders);
	if (!e->hold)
		replay(a, 0, now);
	if (e->phase == EX_SNAP && e->winner == a->p.self)
		send_state(a);
}

static void got_state(struct agent *a, const struct msg *m, int64_t now)
{
	struct exchange_state *e = a->ex;

	if (!e->round || m->u.state.round != e->round)
		return;
	e->heard |= node_bit(m->from);
	if (e->phase != EX_COLLECT)
		return;
	e->got |= node_bit(m->from);
	e->told[m->from] = (struct told){
		.epoch = m->u.state.epoch, .digest = m->u.state.digest,
		.lineage = m->u.state.lineage, .config = m->u.state.config,
		.dead = m->u.state.dead, .incarnation = m->incarnation, .primary = m->u.state.primary };
	decide(a, now);
}

static void load(struct agent *a, int64_t now)
{
	struct exchange_state *e = a->ex;
	int err = e->overflow ? -ENOBUFS : repl_load(a->repl, e->snap, e->snap_total);

	if (err) {
		agent_event(a, LOG_WARNING, "SNAPSHOT_BAD", ABOUT(.node = (uint8_t)e->winner),
			    "cannot use the state of %s: %s", agent_name(a, e->winner), strerror(-err));
		return;		/* still out of step: the tick asks for another round */
	}
	a->n_loaded++;
	set_synced(a, true);
	agent_state_loaded(a, now);
	replay(a, e->snap_index, now);
}

static void got_snap(struct agent *a, const struct msg *m, int64_t now)
{
	struct exchange_state *e = a->ex;

	if (e->phase != EX_SNAP || m->from != e->winner || m->u.snap.round != e->round ||
	    m->incarnation != e->told[e->winner].incarnation)
		return;
	if (m->u.snap.offset == 0) {
		e->snap_got = 0;
		e->snap_total = m->u.snap.total;
		e->snap_index = m->u.snap.index;
	}
	/* Whoever needs no state still follows along: the end of the exchange is the same for all. */
	bool mine = !a->synced && !a->config_differs;
	bool fits = m->u.snap.offset == e->snap_got && m->u.snap.total == e->snap_total &&
		    (!mine || e->snap_total <= e->snap_room);

	if (!fits)
		return;
	if (mine)
		memcpy(e->snap + e->snap_got, m->u.snap.data, m->u.snap.size);
	e->snap_got += m->u.snap.size;
	if (e->snap_got < e->snap_total)
		return;
	if (e->hold && e->overflow) {	/* so it is for all of us */
		collect(a, now);
		return;
	}
	e->phase = EX_IDLE;
	if (mine)
		load(a, now);
	else if (e->hold)
		replay(a, 0, now);
}

void exchange_message(struct agent *a, const struct msg *m, int64_t now)
{
	if (m->type == MSG_STATE)
		got_state(a, m, now);
	else if (m->type == MSG_SNAP)
		got_snap(a, m, now);
	else if (m->type == MSG_ROUND && m->u.round && m->u.round != a->ex->round)
		start_round(a, m->u.round, now);
}

void exchange_tick(struct agent *a, int64_t now)
{
	bool waiting = a->ex->phase != EX_IDLE || !a->synced;

	/* With another configuration than the majority nothing will come of asking. */
	if (!a->up || !waiting || now < a->ex->deadline || !mask_has(a->members, a->p.self) ||
	    (a->config_differs && a->ex->phase == EX_IDLE))
		return;
	if (repl_majority(a->repl, a->members) || a->p.repl.n_nodes <= 2)
		ask(a, now);
}

void exchange_heal(struct agent *a, int64_t now)
{
	set_synced(a, false);
	ask(a, now);
}

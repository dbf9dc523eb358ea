/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/lease.h"

#include <string.h>

#define HELLOS_PER_LEASE 5
#define NEVER INT64_MAX
#define FORGET_LEASES 10	/* of silence, then its incarnation is no measure any more */
/* A peer's HELLO must have come by way of the witness that recently for the witness to count. */
#define REFLECTED_US 5000000

int64_t lease_margin_us(int64_t lease_us)
{
	return lease_us / 10 + 5000;
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void emit(struct lease_out *out, enum lease_event_type type, unsigned int node, uint32_t term,
		 uint32_t gen)
{
	if (out->n_events < sizeof(out->event) / sizeof(out->event[0]))
		out->event[out->n_events++] = (struct lease_event){
			.type = type, .node = (uint8_t)node, .term = term, .gen = gen };
}

static bool two_nodes(const struct lease *l)
{
	return l->p.n_nodes == 2 && !l->dead;
}

static unsigned int other_of_two(const struct lease *l)
{
	return 3u - l->p.self;
}

/* The witness counts as a second vote only if HELLOs demonstrably pass through it: otherwise two
 * nodes that both see it, but not each other, would both go on. */
static bool witness_proven(const struct lease *l)
{
	const struct lease_peer *p = &l->peer[other_of_two(l)];

	return p->reflected_us && p->hello_us - p->reflected_us < REFLECTED_US;
}

/* Two probes in a row without an answer, and what lies in between is not known. */
static int64_t witness_gap_us(const struct lease *l)
{
	return 2 * l->interval_us + l->interval_us / 2;
}

/*
 * May we say, on the witness's word, that the other node's lease is over?  The witness answers both
 * nodes, so its answer alone proves nothing.  But had the other one reached it, its HELLOs would
 * have come to us by that way: if our own way to the witness was open all the time that we have not
 * heard it.  A few HELLOs may be lost, and the last grant that it had may be younger than the last
 * HELLO that we heard: hence the additional wait.
 */
static bool witness_says_lost(const struct lease *l, int64_t now_us)
{
	const struct lease_peer *p = &l->peer[other_of_two(l)];
	int64_t wait_us = l->p.lease_us + l->margin_us + 2 * l->interval_us;

	return witness_proven(l) && l->witness_until_us > now_us &&
	       now_us - l->witness_sent_us <= witness_gap_us(l) &&
	       now_us - p->granted_us >= wait_us &&
	       (l->witness_run_us <= p->granted_us + witness_gap_us(l) ||
		now_us - l->witness_run_us >= wait_us);
}

/*
 * Does the witness's grant count?  To keep a lease: yes.  To get one: not while the other node is
 * heard, which may hold a lease by the same witness, but another past than ours.
 */
static bool witness_votes(const struct lease *l, int64_t now_us)
{
	const struct lease_peer *p = &l->peer[other_of_two(l)];

	return witness_proven(l) &&
	       (l->leased || now_us - p->hello_us >= l->p.lease_us + l->margin_us + 2 * l->interval_us);
}

/* Grants that a lease needs, our own included. */
static unsigned int votes_needed(const struct lease *l)
{
	if (l->p.ignore_quorum)
		return 1;
	if (two_nodes(l) && l->p.tiebreak == LEASE_TIE_LOWEST && l->p.self == 1)
		return 1;
	unsigned int n = 0;

	for (unsigned int i = 1; i <= l->p.n_nodes; i++)
		n += !mask_has(l->dead, i);
	return n / 2 + 1;
}

/* Reports that make a peer lost, our own included; 0: no number of reports does. */
static unsigned int reports_needed(const struct lease *l, int64_t now_us)
{
	if (l->p.ignore_quorum)
		return 1;
	if (two_nodes(l)) {
		switch (l->p.tiebreak) {
		case LEASE_TIE_NONE:
			return 0;
		case LEASE_TIE_LOWEST:
			/* Node 2 cannot live without node 1's grant; node 1 can without node 2's. */
			return l->p.self == 1 ? 1 : 0;
		case LEASE_TIE_WITNESS:
			return witness_says_lost(l, now_us) ? 1 : 0;
		}
	}
	return votes_needed(l);
}

/*
 * The instant up to which at least 'need' of the values (and ourselves) hold: the need-1'th largest.
 * 'value' is overwritten.
 */
static int64_t kth_largest(int64_t *value, unsigned int n, unsigned int k)
{
	for (unsigned int i = 0; i < k; i++) {
		unsigned int best = i;

		for (unsigned int j = i + 1; j < n; j++)
			if (value[j] > value[best])
				best = j;
		int64_t t = value[i];

		value[i] = value[best];
		value[best] = t;
	}
	return value[k - 1];
}

/* 'field' of all who may vote: their grants, or how lately they were reached. */
static int64_t votes_until(const struct lease *l, bool grants, int64_t now_us)
{
	int64_t value[NODES_MAX + 1];
	unsigned int n = 0, need = votes_needed(l);

	if (need <= 1)
		return now_us + l->p.lease_us;
	for (unsigned int i = 1; i <= l->p.n_nodes; i++) {
		const struct lease_peer *p = &l->peer[i];

		if (i == l->p.self || mask_has(l->dead, i))
			continue;
		value[n++] = grants ? p->grant_until_us : p->reach_us + l->p.lease_us;
	}
	if (two_nodes(l) && l->p.tiebreak == LEASE_TIE_WITNESS && witness_votes(l, now_us))
		value[n++] = l->witness_until_us;
	if (need - 1 > n)
		return 0;
	return kth_largest(value, n, need - 1);
}

static void become_fenced(struct lease *l, struct lease_out *out)
{
	if (!l->term)
		return;
	emit(out, LEASE_EV_FENCED, l->p.self, l->term, 0);
	if (l->leased)
		out->end = true;
	out->renew = false;
	l->leased = false;
	l->term = 0;
	l->until_us = l->told_us = 0;
}

/* Before anything that arrives may count: what has run out has run out. */
static void check_lapsed(struct lease *l, int64_t now_us, struct lease_out *out)
{
	if (l->leased && now_us >= l->until_us)
		become_fenced(l, out);
}

static void check_expired(struct lease *l, unsigned int i, int64_t now_us, struct lease_out *out)
{
	struct lease_peer *p = &l->peer[i];

	if (p->grant == GRANT_CLEARING && now_us >= p->clear_us) {
		p->grant = GRANT_GRANTING;
		p->granted_us = now_us;
	}
	if (p->grant == GRANT_GRANTING && now_us >= p->granted_us + l->p.lease_us + l->margin_us) {
		p->grant = GRANT_EXPIRED;
		p->gen++;
		p->recover_us = 0;
		p->recovered_told = false;
		emit(out, LEASE_EV_EXPIRED, i, p->term, p->gen);
		/* The others are waiting for this word: not with the next heartbeat, but now. */
		out->send = true;
	}
}

static void check_lost(struct lease *l, int64_t now_us, struct lease_out *out)
{
	unsigned int need = reports_needed(l, now_us);

	if (!need)
		return;
	for (unsigned int i = 1; i <= l->p.n_nodes; i++) {
		struct lease_peer *p = &l->peer[i];
		unsigned int n = 1;

		if (p->grant != GRANT_EXPIRED || p->lost)
			continue;
		for (unsigned int j = 1; j <= l->p.n_nodes; j++) {
			const struct lease_heard *h = &l->heard[j][i];

			if (j == i || j == l->p.self || mask_has(l->dead, j))
				continue;
			n += h->until_us > now_us && h->term == p->term &&
			     !(h->discard_term == p->term && h->gen <= h->discard_gen);
		}
		if (n >= need) {
			p->lost = true;
			emit(out, LEASE_EV_LOST, i, p->term, p->gen);
		}
	}
}

static void check_lease(struct lease *l, int64_t now_us, struct lease_out *out)
{
	if (!l->term || l->stopped)
		return;
	int64_t until = votes_until(l, true, now_us);

	if (until <= now_us)
		return;		/* check_lapsed() decides by the end that was promised */
	if (!l->leased) {
		l->leased = true;
		l->until_us = l->told_us = until;
		out->renew = true;
		out->until_us = until;
		emit(out, LEASE_EV_LEASED, l->p.self, l->term, 0);
		return;
	}
	if (until > l->until_us)
		l->until_us = until;
	/* Not for every HELLO that comes in: a transaction each is what an idle node would pay. */
	if (l->until_us - l->told_us >= l->interval_us * 3 / 4 ||
	    (l->until_us > l->told_us && l->told_us - now_us < 2 * l->interval_us)) {
		l->told_us = l->until_us;
		out->renew = true;
		out->until_us = l->until_us;
	}
}

static void evaluate(struct lease *l, int64_t now_us, struct lease_out *out)
{
	check_lapsed(l, now_us, out);
	for (unsigned int i = 1; i <= l->p.n_nodes; i++)
		check_expired(l, i, now_us, out);
	check_lost(l, now_us, out);
	check_lease(l, now_us, out);
}

void lease_init(struct lease *l, const struct lease_params *p, int64_t now_us)
{
	memset(l, 0, sizeof(*l));
	l->p = *p;
	l->margin_us = lease_margin_us(p->lease_us);
	l->interval_us = p->lease_us / HELLOS_PER_LEASE;
	l->next_hello_us = now_us;
	l->quiet_us = now_us + p->lease_us + l->margin_us;
	l->seq_min = 1;
}

void lease_tick(struct lease *l, int64_t now_us, struct lease_out *out)
{
	evaluate(l, now_us, out);
	if (now_us >= l->next_hello_us && !l->stopped) {
		l->next_hello_us += l->interval_us;
		if (l->next_hello_us <= now_us)		/* we slept: no burst to catch up */
			l->next_hello_us = now_us + l->interval_us;
		out->send = true;
	}
	if (out->send && l->stopped)
		out->send = false;
	if (out->send && l->p.tiebreak == LEASE_TIE_WITNESS && l->p.n_nodes == 2)
		out->witness = true;
}

int64_t lease_deadline(const struct lease *l)
{
	int64_t t = l->stopped ? NEVER : l->next_hello_us;

	if (l->leased)
		t = min64(t, l->until_us);
	for (unsigned int i = 1; i <= l->p.n_nodes; i++) {
		const struct lease_peer *p = &l->peer[i];

		if (p->grant == GRANT_GRANTING)
			t = min64(t, p->granted_us + l->p.lease_us + l->margin_us);
		else if (p->grant == GRANT_CLEARING)
			t = min64(t, p->clear_us);
	}
	return t;
}

/* When we sent HELLO 'seq' of ours; 0: unknown or too long ago. */
static int64_t sent_at(const struct lease *l, uint64_t seq)
{
	if (!seq || seq > l->seq || l->seq - seq >= LEASE_SENT)
		return 0;
	return l->sent_us[seq % LEASE_SENT];
}

/* False: this datagram is a repetition, or older than what we have seen. */
static bool accept_order(struct lease *l, struct lease_peer *p, const struct hello *h,
			 int64_t now_us)
{
	if (h->incarnation == p->hello_incarnation) {
		if (h->seq > p->hello_seq)
			return true;
		l->n_replayed++;
		return false;
	}
	/*
	 * Another process: a newer one, or the one that the group has admitted; after a long silence
	 * any, because a machine may have booted with its clock in the past.
	 */
	if (h->incarnation == p->incarnation || h->incarnation > p->hello_incarnation ||
	    now_us - p->hello_us > FORGET_LEASES * l->p.lease_us)
		return true;
	l->n_stale++;
	return false;
}

/* Our side: the HELLO came in the term in which the group admitted the peer. */
static void heard_admitted(struct lease *l, struct lease_peer *p, unsigned int node, int64_t now_us,
			   int64_t last_us, struct lease_out *out)
{
	if (p->grant == GRANT_GRANTING)
		p->granted_us = now_us;
	if (p->grant != GRANT_EXPIRED || p->lost)
		return;
	if (!p->recover_us || now_us - last_us > l->p.lease_us) {
		p->recover_us = now_us;
		p->recovered_told = false;
	} else if (now_us - p->recover_us >= l->p.lease_us && !p->recovered_told) {
		p->recovered_told = true;
		emit(out, LEASE_EV_RECOVERED, node, p->term, p->gen);
	}
}

static void heard_reports(struct lease *l, const struct hello *h, int64_t until_us)
{
	struct lease_heard *row = l->heard[h->from];

	for (unsigned int i = 1; i <= l->p.n_nodes; i++)
		row[i].until_us = 0;
	if (!until_us)
		return;
	for (unsigned int k = 0; k < h->n_reports; k++) {
		const struct hello_report *r = &h->report[k];

		if (r->node < 1 || r->node > l->p.n_nodes)
			continue;
		row[r->node].term = r->term;
		row[r->node].gen = r->gen;
		row[r->node].until_us = until_us;
	}
}

void lease_heard_hello(struct lease *l, const struct hello *h, bool reflected, int64_t now_us,
		       struct lease_out *out)
{
	if (h->to != l->p.self || h->from == l->p.self || h->from < 1 || h->from > l->p.n_nodes) {
		l->n_stale++;
		return;
	}
	struct lease_peer *p = &l->peer[h->from];

	if (reflected && h->incarnation == p->hello_incarnation && h->seq + LEASE_SENT > p->hello_seq &&
	    h->seq <= p->hello_seq)
		p->reflected_us = now_us;	/* the direct copy was faster: still a proof */
	if (!accept_order(l, p, h, now_us))
		return;
	evaluate(l, now_us, out);

	int64_t last_us = p->hello_us;

	/* A new process counts its reports from 1: what the old one took back is no word of this one. */
	for (unsigned int i = 1; i <= l->p.n_nodes && h->incarnation != p->hello_incarnation; i++)
		l->heard[h->from][i] = (struct lease_heard){ 0 };
	p->hello_incarnation = h->incarnation;
	p->hello_seq = h->seq;
	p->hello_term = h->term;
	p->hello_us = now_us;
	if (reflected)
		p->reflected_us = now_us;
	if (p->term && h->term == p->term && h->incarnation == p->incarnation)
		heard_admitted(l, p, h->from, now_us, last_us, out);
	else if (h->term)
		l->n_foreign_term++;

	int64_t sent = h->echo_incarnation == l->p.incarnation ? sent_at(l, h->echo_seq) : 0;

	if (sent) {
		if (sent > p->reach_us)
			p->reach_us = sent;
		if (l->term && h->echo_seq >= l->seq_min && sent + l->p.lease_us > p->grant_until_us)
			p->grant_until_us = sent + l->p.lease_us;
	}
	heard_reports(l, h, sent ? sent + l->p.lease_us : 0);
	evaluate(l, now_us, out);
}

void lease_heard_witness(struct lease *l, uint64_t seq, int64_t now_us, struct lease_out *out)
{
	int64_t sent = sent_at(l, seq);

	if (l->p.tiebreak != LEASE_TIE_WITNESS || !sent)
		return;
	evaluate(l, now_us, out);
	if (sent > l->witness_sent_us) {
		if (sent - l->witness_sent_us > witness_gap_us(l))
			l->witness_run_us = sent;
		l->witness_sent_us = sent;
	}
	if (sent + l->p.lease_us > l->witness_until_us)
		l->witness_until_us = sent + l->p.lease_us;
	evaluate(l, now_us, out);
}

void lease_begin_round(struct lease *l, int64_t now_us)
{
	l->seq++;
	l->sent_us[l->seq % LEASE_SENT] = now_us;
}

/* May what we send to 'p' be taken as a grant, or as a sign of life for one that holds no term? */
static bool may_echo(const struct lease_peer *p)
{
	if (!p->hello_seq)
		return false;
	if (!p->hello_term)
		return true;	/* it cannot count it: only HELLOs sent in its term make a lease */
	return p->hello_term == p->term && p->hello_incarnation == p->incarnation &&
	       p->grant == GRANT_GRANTING;
}

void lease_hello(const struct lease *l, unsigned int to, struct hello *h)
{
	const struct lease_peer *p = &l->peer[to];

	memset(h, 0, sizeof(*h));
	h->from = l->p.self;
	h->to = (uint8_t)to;
	h->incarnation = l->p.incarnation;
	h->term = l->term;
	h->seq = l->seq;
	if (may_echo(p)) {
		h->echo_incarnation = p->hello_incarnation;
		h->echo_seq = p->hello_seq;
	}
	for (unsigned int i = 1; i <= l->p.n_nodes; i++)
		if (l->peer[i].grant == GRANT_EXPIRED)
			h->report[h->n_reports++] = (struct hello_report){
				.node = (uint8_t)i, .term = l->peer[i].term, .gen = l->peer[i].gen };
}

void lease_set_peer(struct lease *l, unsigned int node, uint32_t term, uint64_t incarnation,
		    int64_t now_us, struct lease_out *out)
{
	struct lease_peer *p = &l->peer[node];

	evaluate(l, now_us, out);
	if (p->term == term && p->incarnation == incarnation)
		return;
	p->term = term;
	p->incarnation = incarnation;
	p->grant = term ? GRANT_GRANTING : GRANT_NONE;
	p->granted_us = now_us;
	/*
	 * The process that ran here before us may have told that its grant to this peer is over, and
	 * its word is fresh to those who heard it for a lease: we must not grant behind their backs.
	 */
	if (term && now_us < l->quiet_us) {
		p->grant = GRANT_CLEARING;
		p->clear_us = l->quiet_us;
	}
	p->lost = p->recovered_told = false;
	p->recover_us = 0;
}

void lease_set_dead(struct lease *l, uint64_t nodes)
{
	l->dead = nodes & ~node_bit(l->p.self);
}

void lease_admit(struct lease *l, uint32_t term, int64_t now_us, struct lease_out *out)
{
	evaluate(l, now_us, out);
	if (l->term == term)
		return;
	become_fenced(l, out);
	l->term = term;
	/* Echoes of what we sent before speak of another term. */
	l->seq_min = l->seq + 1;
	for (unsigned int i = 1; i <= l->p.n_nodes; i++)
		l->peer[i].grant_until_us = 0;
	l->witness_until_us = 0;
	out->send = !l->stopped;
	check_lease(l, now_us, out);
}

void lease_fence(struct lease *l, int64_t now_us, struct lease_out *out)
{
	evaluate(l, now_us, out);
	become_fenced(l, out);
}

void lease_stop(struct lease *l, bool stopped, int64_t now_us, struct lease_out *out)
{
	evaluate(l, now_us, out);
	if (l->stopped && !stopped)
		l->next_hello_us = now_us;
	l->stopped = stopped;
}

void lease_lapsed(struct lease *l, int64_t now_us, struct lease_out *out)
{
	(void)now_us;
	become_fenced(l, out);
}

bool lease_discard(struct lease *l, unsigned int by, unsigned int about, uint32_t term, uint32_t gen)
{
	const struct lease_peer *p = &l->peer[about];
	struct lease_heard *h = &l->heard[by][about];

	if (p->term == term && p->lost)
		return false;
	if (h->discard_term != term || h->discard_gen < gen) {
		h->discard_term = term;
		h->discard_gen = gen;
	}
	return true;
}

void lease_cleared(struct lease *l, unsigned int node, uint32_t term, uint32_t gen, int64_t now_us)
{
	struct lease_peer *p = &l->peer[node];

	if (p->term != term || p->grant != GRANT_EXPIRED || p->gen != gen || p->lost)
		return;
	p->grant = GRANT_CLEARING;
	p->clear_us = now_us + l->p.lease_us + l->margin_us;
}

bool lease_reachable(const struct lease *l, int64_t now_us)
{
	return votes_until(l, false, now_us) > now_us;
}

bool lease_alone(const struct lease *l, int64_t now_us)
{
	/* Since our start we must have listened for that long, too. */
	if (!two_nodes(l) || now_us < l->quiet_us ||
	    now_us - l->peer[other_of_two(l)].hello_us < l->p.lease_us + l->margin_us)
		return false;
	switch (l->p.tiebreak) {
	case LEASE_TIE_NONE:
		return false;
	case LEASE_TIE_LOWEST:
		return l->p.self == 1;
	case LEASE_TIE_WITNESS:
		return witness_votes(l, now_us) && l->witness_until_us > now_us;
	}
	return false;
}

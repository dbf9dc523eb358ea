/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_LEASE_H
#define CLUSTERD_CORE_LEASE_H

/*
 * The failure detector and the lease, as one pure machine: time is an argument, effects are values.
 * The daemon runs it in the heartbeat thread, the simulator runs N of them.
 *
 * Our own lease.  Every HELLO of ours has a sequence number; a peer's echo of it is a grant that
 * lasts 'lease' from the moment we sent it, by our clock.  The lease is valid until the instant at
 * which fewer than a majority of grants (our own never ends) would be left.
 *
 *             admit(term)          majority granted          lapsed, fence(), hang
 *   FENCED ---------------> WAITING ----------------> LEASED ---------------------> FENCED
 *
 * A lapsed lease is final: only a new term, given by the ordered group, starts another one.
 *
 * Our grant to a peer, for the term in which the group admitted it:
 *
 *             no HELLO for lease + margin       agreed clear (see agent.h)    lease + margin
 *   GRANTING ----------------------------> EXPIRED ---------------------> CLEARING --------> GRANTING
 *
 * EXPIRED is told to everybody (a report with a generation number) and is sticky: while it lasts we
 * do not grant to that peer, because somebody may have inherited from it on our word.  A peer is
 * LOST when we and, with us, a majority report it.  Majorities intersect, so its lease is over.
 *
 * Two nodes have no majority that survives one of them; see enum lease_tiebreak.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/hello.h"
#include "core/types.h"

enum lease_tiebreak { LEASE_TIE_NONE, LEASE_TIE_LOWEST, LEASE_TIE_WITNESS };

struct lease_params {
	uint8_t self, n_nodes;
	int64_t lease_us;
	bool ignore_quorum;		/* [cluster] quorum = ignore: our own grant suffices */
	enum lease_tiebreak tiebreak;	/* counts only with two nodes */
	uint64_t incarnation;		/* of this process; differs from every earlier one */
};

/* How much longer than 'lease' we wait before our grant counts as over: clocks that run 1 % apart,
 * with a factor in hand, and the granularity of kernel timers. */
int64_t lease_margin_us(int64_t lease_us);

enum lease_grant { GRANT_NONE, GRANT_GRANTING, GRANT_EXPIRED, GRANT_CLEARING };

enum lease_event_type {
	LEASE_EV_LEASED,	/* our lease is valid for the first time in this term */
	LEASE_EV_FENCED,	/* our lease is over; 'term' was the term of it */
	LEASE_EV_LOST,		/* 'node' in 'term' holds no lease any more: a majority says so */
	LEASE_EV_EXPIRED,	/* our own grant to 'node' ended (for display) */
	LEASE_EV_RECOVERED,	/* an EXPIRED, not LOST peer is heard again: worth a clear. 'gen' */
};
struct lease_event { enum lease_event_type type; uint8_t node; uint32_t term, gen; };

/* What the caller has to do now.  Plain value, filled by every call below that takes it. */
struct lease_out {
	bool send;		/* send a HELLO to every other configured node: lease_hello() */
	bool renew;		/* the kernel's lease must now end at 'until_us' */
	bool end;		/* the kernel's lease must end now */
	bool witness;		/* probe the witness, with lease_probe()'s number */
	int64_t until_us;
	unsigned int n_events;
	struct lease_event event[2 * NODES_MAX + 4];
};

struct lease_peer {
	uint64_t incarnation;	/* admitted; 0: not admitted */
	uint32_t term;		/* admitted; 0: not admitted */
	enum lease_grant grant;
	int64_t granted_us;	/* GRANTING: when we last heard it */
	int64_t clear_us;	/* CLEARING: until then */
	uint32_t gen;		/* of our last report about it */
	bool lost, recovered_told;
	int64_t recover_us;	/* EXPIRED: first of an unbroken run of HELLOs, 0 none */
	uint64_t hello_incarnation, hello_seq;	/* last one accepted, replay guard */
	int64_t hello_us;
	uint32_t hello_term;
	int64_t grant_until_us;	/* its grant to us */
	int64_t reach_us;	/* when we sent the newest HELLO of ours that it echoed */
	int64_t reflected_us;	/* last HELLO of it that came by way of the witness */
};

struct lease_heard { uint32_t term, gen, discard_term, discard_gen; int64_t until_us; };

#define LEASE_SENT 64		/* HELLOs of ours whose send time is remembered */

struct lease {
	struct lease_params p;
	int64_t margin_us, interval_us;
	uint64_t dead;			/* the operator says that these are dead */
	uint32_t term;			/* ours; 0: FENCED */
	bool leased;
	int64_t until_us;		/* end of our lease, while 'leased' */
	int64_t told_us;		/* end that the kernel was told */
	uint64_t seq, seq_min;		/* last sent; first that counts for this term */
	int64_t sent_us[LEASE_SENT];
	int64_t next_hello_us;
	int64_t quiet_us;		/* no grants before: an earlier process may have said that they ended */
	int64_t witness_until_us;	/* the witness's grant to us */
	int64_t witness_sent_us;	/* when the newest probe was sent that it answered */
	int64_t witness_run_us;		/* ... and the first one since it last failed to answer */
	bool stopped;			/* the rest of the daemon hangs: no HELLOs */
	struct lease_peer peer[NODES_MAX + 1];
	struct lease_heard heard[NODES_MAX + 1][NODES_MAX + 1];	/* [from][about] */
	/* counters for status */
	uint64_t n_stale, n_replayed, n_foreign_term;
};

void lease_init(struct lease *l, const struct lease_params *p, int64_t now_us);

/* Time-driven part.  Call at lease_deadline() or later, and never more often than needed. */
void lease_tick(struct lease *l, int64_t now_us, struct lease_out *out);
int64_t lease_deadline(const struct lease *l);

/*
 * A decoded and authenticated HELLO that is addressed to us.  'reflected': it came by way of the
 * witness.  Stale, repeated or senseless ones are counted and ignored.
 */
void lease_heard_hello(struct lease *l, const struct hello *h, bool reflected, int64_t now_us,
		       struct lease_out *out);

/* The witness answered the probe with that number (= a HELLO sequence number of ours). */
void lease_heard_witness(struct lease *l, uint64_t seq, int64_t now_us, struct lease_out *out);

/*
 * Begins a round of HELLOs: takes the next sequence number, sent at 'now_us'.  Then lease_hello()
 * for each peer.  Called by the caller when out->send is set.
 */
void lease_begin_round(struct lease *l, int64_t now_us);
void lease_hello(const struct lease *l, unsigned int to, struct hello *h);

/* ---- orders from the rest of the daemon, in the order in which the group gave rise to them ---- */

/* The group admitted peer 'node' (or not: term 0).  A new term starts GRANTING from now. */
void lease_set_peer(struct lease *l, unsigned int node, uint32_t term, uint64_t incarnation,
		    int64_t now_us, struct lease_out *out);
/* Nodes that the operator declared dead: not counted among the configured ones. */
void lease_set_dead(struct lease *l, uint64_t nodes);
/* The group admitted us and our kernel holds the table that goes with it. */
void lease_admit(struct lease *l, uint32_t term, int64_t now_us, struct lease_out *out);
/* Give up the lease now. */
void lease_fence(struct lease *l, int64_t now_us, struct lease_out *out);
/* The rest of the daemon hangs (true) or lives again. */
void lease_stop(struct lease *l, bool stopped, int64_t now_us, struct lease_out *out);
/* The kernel's lease had ended before it could be renewed. */
void lease_lapsed(struct lease *l, int64_t now_us, struct lease_out *out);
/*
 * Peer 'by' wants to grant to 'about' again: forget its reports up to 'gen'.  False: we count
 * 'about' in that term as lost already and may have inherited from it.
 */
bool lease_discard(struct lease *l, unsigned int by, unsigned int about, uint32_t term, uint32_t gen);
/* All have discarded our report 'gen' about 'node': start granting again, after a pause. */
void lease_cleared(struct lease *l, unsigned int node, uint32_t term, uint32_t gen, int64_t now_us);

/* True if enough peers echo our HELLOs that a lease could be had: worth asking for admission. */
bool lease_reachable(const struct lease *l, int64_t now_us);

/*
 * Of two nodes: true if this one may act for the cluster without the other.  The tie-break alone is
 * for us, and the other one has not been heard for so long that a lease of it would be over.
 */
bool lease_alone(const struct lease *l, int64_t now_us);

#endif

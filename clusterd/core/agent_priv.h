/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_AGENT_PRIV_H
#define CLUSTERD_CORE_AGENT_PRIV_H

/*
 * Shared by agent.c (admission, moves, failures), agent_exchange.c (being in step), agent_drain.c
 * (counting connections), agent_note.c (events), agent_layout.c (change of the layout), agent_load.c
 * (loads, slow start) and agent_health.c (fitness, the ring).
 */

#include "core/agent.h"
#include "core/report.h"

#define RING      192		/* messages kept while a state exchange is on */
#define RING_BITS 65536		/* bytes of their bitmaps */

/*
 * The exchange is the same at every member of the view, because it is driven by the order alone
 * (only the repetition is started by a clock, and asked for by a message):
 *
 *   view with newcomers --> COLLECT --ROUND, a majority has told--> SNAP --last piece--> IDLE
 */
enum exchange { EX_IDLE, EX_COLLECT, EX_SNAP };

struct told { uint64_t epoch, digest, lineage, config, dead, incarnation; bool primary; };

struct exchange_state {
	enum exchange phase;
	uint32_t round;			/* name of the round; 0: it has not begun */
	unsigned int rounds;		/* held in this view */
	uint32_t asked;			/* rounds that we asked for */
	uint32_t index;			/* messages since it began to collect */
	uint64_t got;			/* have told, as long as it counted for the decision */
	uint64_t heard;			/* have told at all */
	uint64_t expect;		/* told in the round before */
	struct told told[NODES_MAX + 1];
	struct told own;		/* what we held when the round began */
	unsigned int winner;
	bool hold;			/* SNAP: too few hold the state yet for anything to be applied to it */
	int64_t deadline;		/* then ask for another round */
	/* pieces of the winner's state */
	uint8_t *snap;
	size_t snap_room, snap_got;
	uint32_t snap_total, snap_index;
	/* messages that we may have to apply on top of it */
	unsigned int n_kept;
	bool overflow;
	struct msg kept[RING];
	uint32_t kept_index[RING];
	size_t bits_used;
	uint8_t bits[RING_BITS];
};

struct sent { uint64_t what; int64_t again; };	/* a message repeated until it shows */

struct clear { bool active; uint32_t term, gen; uint64_t acks; int64_t again; };
struct drain_clock { uint32_t since; int64_t deadline; };
#define DRAIN_CLOCKS 32
#define IDLE_MS 250		/* from REWEIGH to its plan: time for IDLE */

struct heard { bool any; int64_t at; struct sample s; };
/* What we see of our left neighbour. */
struct peer_seen { unsigned int node; bool unreachable; struct sent sent; };

struct agent {
	struct agent_params p;
	const struct agent_ops *ops;
	void *arg;
	struct repl *repl;

	bool up, synced, primary;	/* primary: in step in a quorate view so far */
	bool config_differs;		/* the cluster's majority runs another configuration */
	bool reachable, alone;
	bool held;			/* by agent_hold() */
	uint64_t members;
	uint64_t crashed;		/* their processes died while their machines live */
	struct exchange_state *ex;

	uint64_t version, installed;
	uint64_t lost;
	uint32_t lost_term[NODES_MAX + 1];

	/* what the lease machine was told */
	uint32_t told_term[NODES_MAX + 1];
	uint64_t told_incarnation[NODES_MAX + 1];
	uint64_t told_dead;
	uint32_t term, fenced_term;	/* admitted with; last one that ended */
	int64_t admitted_at;
	bool leased;
	unsigned int fences;		/* lately: slows re-admission down */
	int64_t last_fence;

	struct sent ready, ack, left, adopted, plan, leave, fail[NODES_MAX + 1];
	int64_t due_soon, due_quiet;	/* when to think of a PLAN; 0: no cause */
	int64_t grace_end[NODES_MAX + 1];
	struct clear clear[NODES_MAX + 1];
	int64_t next_digest, next_count[SERVICES_MAX];
	uint64_t counted_epoch[SERVICES_MAX];
	uint64_t counted_switch[SERVICES_MAX];	/* repl_switched() then */
	struct drain_clock clocks[DRAIN_CLOCKS];
	uint8_t *bitmap, *forced;

	struct layout want;		/* of our configuration */
	struct sent want_sent, freeze_ack, unmixed;
	uint64_t followed;		/* the change of the layout that we know of */
	int64_t mixed_deadline;		/* then connections of before it are given up */
	uint32_t mixed_empty;		/* bit per service: no such connection was left here */

	/* loads */
	struct report report;
	struct heard heard[NODES_MAX + 1];	/* ours: the last sample given */
	int64_t next_reweigh[SERVICES_MAX];
	int64_t reweighed[SERVICES_MAX];	/* when buckets were last to move by a REWEIGH */
	int64_t next_ramp[NODES_MAX + 1];	/* 0: does not run */
	int64_t wait_since, calm_since;		/* nodes wait for failback; and no node was busy since; 0: no */
	struct sent failback;

	/* health */
	enum fitness health[SERVICES_MAX];	/* what our checks say */
	struct sent health_sent[SERVICES_MAX];
	struct peer_seen peer[SERVICES_MAX];
	struct sent given_up[SERVICES_MAX];
	uint64_t ring;				/* admitted nodes that REBUILD knows of */

	int64_t last_tick;
	bool stopping, bye_sent, stopped;
	int64_t stop_deadline, bye_deadline;

	uint64_t n_mismatch, n_loaded, n_bad, n_ordered, n_back;
};

/* agent.c */
bool agent_quorate(const struct agent *a);
/* Holds the state that counts, on the majority's side: may speak and apply. */
bool agent_in_step(const struct agent *a);
/* This very process is admitted. */
bool agent_self_online(const struct agent *a);
/* Lowest admitted node of the view, or NOBODY. */
unsigned int agent_coordinator(const struct agent *a);
/* What an event is about, for those who do not read its text: ABOUT(.node = id, ...); ABOUT(0): the cluster. */
struct about {
	uint8_t node, by;
	uint8_t service;		/* OF_SERVICE(index); 0: none */
	uint32_t buckets;
};
#define ABOUT(...) ((struct about){ __VA_ARGS__ })
#define OF_SERVICE(index) ((uint8_t)((index) + 1))
void agent_event(struct agent *a, int priority, const char *name, struct about about,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void agent_send(struct agent *a, struct msg *m);
/* Applies one replicated message and follows it up. */
void agent_apply(struct agent *a, const struct msg *m, int64_t now);
/* True when 'what' is new or due for repetition; notes that it is sent now. */
bool agent_due(struct sent *s, uint64_t what, int64_t now);
/* Think of a PLAN then, if not earlier. */
void agent_plan_soon(struct agent *a, int64_t at);
/* After the whole state has changed. */
void agent_state_loaded(struct agent *a, int64_t now);
const char *agent_name(const struct agent *a, unsigned int id);

/* agent_note.c */
void agent_follow_note(struct agent *a, const struct repl_note *n, int64_t now);

/* agent_load.c */
void load_message(struct agent *a, const struct msg *m, int64_t now);
void load_view(struct agent *a, uint64_t old, uint64_t members);
/* After the whole state has changed. */
void load_state_loaded(struct agent *a, int64_t now);
/* NOTE_REWEIGH, and ORDER_RAMP of that node. */
void load_reweighed(struct agent *a, const struct repl_note *n, int64_t now);
void load_ramped(struct agent *a, unsigned int node, int64_t now);
void load_tick(struct agent *a, int64_t now);
/* A REWEIGH is about to take buckets of that service from this node: it pays to know the idle ones. */
bool load_wants_idle(const struct agent *a, unsigned int service, int64_t now);

/* agent_health.c */
void fitness_tick(struct agent *a, int64_t now);
/* NOTE_HEALTH, NOTE_SORRY */
void fitness_note(struct agent *a, const struct repl_note *n);
/* After the state has changed: 'loaded' as a whole. */
void fitness_ring(struct agent *a, bool loaded);

/* agent_drain.c */
/* Gives up what is leaving this node, where waiting for its connections helps nobody. */
void drain_tick(struct agent *a, int64_t now);

/* agent_layout.c */
/* After the state has changed. */
void layout_follow(struct agent *a, int64_t now);
void layout_tick(struct agent *a, int64_t now);
/* The layouts are mixed: which buckets may hold what belongs elsewhere; and what was counted. */
uint32_t layout_count_wanted(struct agent *a, unsigned int service, uint8_t *wanted);
void layout_counted(struct agent *a, unsigned int service, const uint8_t *empty, int64_t now);

/* agent_exchange.c */
int exchange_new(struct agent *a);
void exchange_free(struct agent *a);
void exchange_view(struct agent *a, uint64_t old, uint64_t members, int64_t now);
/* Every message passes here first; counts and keeps it. */
void exchange_saw(struct agent *a, const struct msg *m);
/*
 * True for a message that speaks of its sender's state, sent before the sender knew of this round:
 * it may come from another past than ours (a view ago it was on the other side), or from one that
 * did not win.  Whoever has a reason repeats it.
 */
bool exchange_void(const struct agent *a, const struct msg *m);
/* Messages are applied as they come. */
bool exchange_settled(const struct agent *a);
void exchange_message(struct agent *a, const struct msg *m, int64_t now);
void exchange_tick(struct agent *a, int64_t now);
/* We do not trust our own state any more. */
void exchange_heal(struct agent *a, int64_t now);

#endif

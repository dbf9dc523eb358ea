/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

/*
 * The cluster simulator: N nodes, each with the real core/agent and core/lease, over a model of
 * everything else, driven by one queue of events and one seeded generator.  See README.md.
 *
 *   event.c     time, the queue, random numbers
 *   net.c       paths, HELLO datagrams, the witness
 *   group.c     corosync: rings, total order, views
 *   node.c      a machine: processes, threads and the queues between them, clocks
 *   kernel.c    its kernel: bucket tables, the lease, connections; and what must always hold
 *   packet.c    the way of one packet through the kernels
 *   load.c      what monitors, checks and neighbours see
 *   script.c    what scripts are made of
 *   scenario.c, rehash.c, weigh.c   scripts with faults and what must hold in each
 *   main.c      command line
 *
 * All times are microseconds of simulated time unless a name says otherwise.
 */

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/agent.h"
#include "core/compile.h"
#include "core/lease.h"
#include "core/repl.h"

#define SIM_NODES    20
#define SIM_SERVICES 2
#define SIM_BUCKETS  512
#define SIM_VIPS     8
#define MS  INT64_C(1000)
#define SEC INT64_C(1000000)
#define CLUSTER "sim"

enum ev_type {
	EV_LEASE_TICK, EV_AGENT_TICK, EV_HELLO, EV_WITNESS, EV_TO_AGENT, EV_TO_LEASE, EV_HANG,
	EV_KLEASE_END, EV_INSTALL, EV_COUNTED,
	EV_ORDER, EV_DELIVER, EV_CONSUME, EV_PROC_GONE, EV_CONNECT, EV_REFORM, EV_STALL,
	EV_SYN, EV_FLOW_END, EV_COROSYNC, EV_START, EV_LINK, EV_RELOAD, EV_SAMPLE,
};

struct event {
	int64_t t;
	uint64_t seq;
	enum ev_type type;
	uint8_t node;
	uint32_t life;		/* void if the node's has moved on; 0: always good */
	uint64_t u;
	void *p;		/* owned by the event */
};

/* What a process or its corosync gets from the group, in order. */
enum entry_type { ENTRY_MSG, ENTRY_VIEW, ENTRY_UP, ENTRY_DOWN, ENTRY_JOIN, ENTRY_LEAVE, ENTRY_TAIL };
struct entry {
	enum entry_type type;
	unsigned int refs;
	uint8_t from;
	uint32_t index;			/* in its ring */
	uint32_t view;
	uint64_t members, crashed;	/* VIEW */
	size_t size;
	uint8_t data[];
};
struct inbox { struct entry *e; int64_t t; };
struct fifo { void **p; unsigned int head, n, size; };

struct ring {
	struct ring *next;
	uint32_t id, n_ordered, view;
	uint64_t nodes, procs;
	uint32_t proc_life[SIM_NODES + 1];	/* which process of the node */
	uint64_t ghosts;		/* nodes whose corosync has died since */
	bool stalled;
	int64_t broken_since;		/* 0: every pair is connected */
	struct fifo held;		/* entries that wait for the token */
};

/*
 * Clients have keys; which bucket a key is in depends on the layout (key_bucket()).  Without a change
 * of the layout there are as many keys as buckets, and they are the same.
 */
struct flow { struct flow *next; uint32_t id; uint8_t service, holder; uint32_t key; bool forced; };

/* What a kernel holds of one service. */
struct ktable {
	uint32_t buckets;		/* 0: nothing yet */
	uint8_t hash;
	bool freeze;
	uint32_t old_buckets;		/* 0: the layouts are not mixed */
	uint8_t old_hash;
	uint8_t old_owner[SIM_BUCKETS];
	struct bucket_action act[SIM_BUCKETS];
};

/* From the lease thread to the main thread or back. */
struct note {
	enum { TO_EVENT, TO_REACHABLE, TO_ALONE, TO_DISCARDED, TO_CMD } type;
	bool yes;
	struct lease_event ev;
	struct lease_cmd cmd;
};

/* A node's look at its left neighbour, as clusterd/peercheck.c does it. */
struct watch { unsigned int left, silent; bool down; int64_t trial_at, trial; };

/* What must hold for the connections that a node has. */
enum flow_rule { FLOW_ANY, FLOW_NO_RESET, FLOW_STRICT };

struct node {
	uint8_t id;
	bool power, corosync, running, frozen, main_hung;
	bool wanted;			/* should run in the end */
	uint32_t life, coro_life, join_life;	/* join_life: of the process in the group */
	uint64_t incarnation;
	int64_t offset, ppm;		/* of its clock */
	uint16_t weight;
	struct agent *agent;
	struct lease lease;
	struct fifo to_agent, to_lease;
	int64_t to_agent_t, to_lease_t;	/* of the last one in each: they keep their order */
	int64_t lease_at, agent_at;	/* next tick; older events are void */
	bool reachable, alone;
	struct event *deferred;		/* what came while frozen */
	unsigned int n_deferred, size_deferred;

	bool table;			/* the process's tables exist */
	struct ktable k[SIM_SERVICES], next[SIM_SERVICES];
	uint32_t held, next_held;	/* bit per VIP that it answers for */
	bool installing;
	uint64_t install_version;
	uint32_t install_pos, install_step;
	int64_t klease_end;		/* 0: none */
	bool counting[SIM_SERVICES];
	struct layout count_layout[SIM_SERVICES];
	struct layout file;		/* that its configuration has */
	enum flow_rule flow_rule;

	unsigned int capacity;		/* of its machine: 1000 is one like the others */
	int extra;			/* load by other things than the service, 0..1000 */
	int64_t load;			/* in thousandths of 1/1000, without noise */
	enum fitness fit[SIM_SERVICES];		/* what its checks say */
	bool unreachable[SIM_SERVICES];		/* its services, by the data path */
	struct watch watch[SIM_SERVICES];
	int64_t told_ms;		/* when it told its load last, by its clock */
	uint64_t n_told, n_samples;

	struct ring *ring;
	bool cpg_joined, connecting, was_connected;
	struct fifo inbox;		/* struct inbox: on its way to this corosync's clients */
	struct fifo queue;		/* struct entry: delivered, not yet read by the process */
	int64_t order_t, deliver_t;
	uint32_t delivered;		/* index in the ring */
	uint32_t view, tail;		/* tail: in the last messages of a view that ends */
	bool view_majority, tail_open;
	bool wit_to, wit_from;		/* paths to and from the witness */
};

struct sim_params {
	unsigned int n_nodes, n_services;
	uint32_t buckets, keys;		/* at first; keys 0: as many */
	int64_t lease, token, consensus, hang;
	bool ignore_quorum;
	enum agent_failback failback;
	enum lease_tiebreak tiebreak;
	uint32_t failback_delay_ms, drain_timeout_ms, grace_ms;
	/* network for HELLOs, in 1/1000 */
	unsigned int loss, dup, slow;
	unsigned int clock_ppm;		/* clocks run within +- this */
	bool flap;			/* a partial cut makes views flap instead of stalling all */
	bool late;			/* threads are sometimes late by milliseconds */
	int64_t syn_every, flow_mean;
	bool loads;			/* nodes have monitors, checks and an eye on their neighbours */
	const struct clusterd_policy_ops *policy;	/* of service 0 */
	uint16_t step, busy;
	uint32_t interval_ms, slow_start_ms;
};

struct digest_seen { uint32_t view; uint64_t epoch, lineage, digest; };

struct sim {
	struct sim_params p;
	uint64_t rng, rng2, seed;	/* rng2: for packets, so that they do not change what happens */
	uint64_t rng3;			/* likewise for loads */
	unsigned int demand, noise;	/* load of a node with an even share; +- */
	int64_t now;
	uint64_t seq, n_events;
	struct event *heap;
	unsigned int n_heap, size_heap;

	struct node node[SIM_NODES + 1];
	bool path[SIM_NODES + 1][SIM_NODES + 1];	/* from, to */
	struct ring *rings;
	uint32_t next_ring, next_view;
	bool reform_posted;
	int64_t next_flap;

	unsigned int handed;		/* bit per service: any node is a front, flood else */
	unsigned int n_vips;
	int64_t unheld_since[SIM_VIPS];	/* 0: somebody answers */
	int64_t unheld_limit;		/* <0: any */
	bool strict;			/* FLOW_STRICT holds even for buckets that may be silent */
	struct flow *flows[SIM_SERVICES][SIM_BUCKETS];
	uint32_t next_flow, n_flows;
	bool no_syn;
	int64_t gap_since[SIM_SERVICES][SIM_BUCKETS];	/* 0: accepted */
	int64_t gap_limit[SIM_SERVICES][SIM_BUCKETS];	/* <0: any */
	uint8_t must_own[SIM_SERVICES][SIM_BUCKETS];	/* only that one accepts; 0: anyone */
	bool gaps_watched;
	struct digest_seen *digests;
	unsigned int n_digests, size_digests;
	uint64_t n_handed, n_rehash;
	int64_t worst_settle, worst_leave;
	unsigned int worst_noisy;	/* per cent of the intervals in which noise alone moved something */
	unsigned int worst_moved, worst_spread;		/* buckets in one interval; of what it was by hash, in 1/1000 */
	uint64_t n_moves, n_resets, n_syns, n_lost_syns, n_views, n_stops;
	int64_t worst_gap;

	const char *scenario;
	int verbose;			/* 0 nothing, 1 keep the last lines, 2 print all */
	char (*lines)[200];
	unsigned int n_lines;
	char failure[400];
	jmp_buf *on_fail;
};

#define TRACE_LINES 70

/* ---- event.c ---- */
uint64_t rnd(struct sim *s);
/* low <= x <= high */
int64_t rnd_in(struct sim *s, int64_t low, int64_t high);
bool rnd_chance(struct sim *s, unsigned int per_mille);
void post(struct sim *s, int64_t t, enum ev_type type, unsigned int node, uint32_t life, uint64_t u,
	  void *p);
bool sim_step(struct sim *s, int64_t until);
void sim_run(struct sim *s, int64_t duration);
void fifo_push(struct fifo *f, void *p);
void *fifo_pop(struct fifo *f);		/* NULL: empty */
static inline void *fifo_at(const struct fifo *f, unsigned int i)
{ return f->p[(f->head + i) % f->size]; }

void sim_trace(struct sim *s, unsigned int node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
#define trace(s, ...) do { if ((s)->verbose) sim_trace(s, __VA_ARGS__); } while (0)
void sim_fail(struct sim *s, unsigned int node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

/* ---- net.c ---- */
void net_hello_round(struct sim *s, struct node *n, bool witness);
void net_on_hello(struct sim *s, struct node *n, const struct hello *h, bool reflected);
void net_on_witness(struct sim *s, struct node *n, uint64_t seq);
/* One direction; then group_topology(). */
void net_cut(struct sim *s, unsigned int a, unsigned int b, bool cut);
void net_cut_both(struct sim *s, unsigned int a, unsigned int b, bool cut);
void net_partition(struct sim *s, uint64_t side);	/* side | the others */
void net_heal(struct sim *s);

/* ---- group.c ---- */
void group_topology(struct sim *s);
void corosync_start(struct sim *s, struct node *n);
void corosync_die(struct sim *s, struct node *n);
void group_send(struct sim *s, struct node *n, const struct msg *m);
void group_connect_later(struct sim *s, struct node *n);
void group_on_connect(struct sim *s, struct node *n);
void group_proc_gone(struct sim *s, struct node *n);
void group_on_order(struct sim *s, struct node *n, struct entry *e);
void group_on_deliver(struct sim *s, struct node *n);
void group_consume(struct sim *s, struct node *n);
void group_on_stall(struct sim *s);
void group_on_reform(struct sim *s);
void group_free(struct sim *s);

/* ---- node.c ---- */
int64_t node_local(const struct node *n, int64_t t);
int64_t node_ms(const struct sim *s, const struct node *n);
int64_t node_global(const struct node *n, int64_t local);	/* first t with node_local(t) >= local */
void node_power_on(struct sim *s, struct node *n, int64_t corosync_in, int64_t start_in);
void node_power_off(struct sim *s, struct node *n);
void node_start(struct sim *s, struct node *n);			/* the process */
void node_kill(struct sim *s, struct node *n);			/* -9 */
void node_freeze(struct sim *s, struct node *n, bool frozen);	/* STOP, CONT */
void node_hang_main(struct sim *s, struct node *n, bool hung);
void node_reload(struct sim *s, struct node *n, const struct layout *file);
void node_handle(struct sim *s, struct event *e);		/* takes e->p over */
void node_settle(struct sim *s, struct node *n);		/* after any input to the agent */
void node_lease_out(struct sim *s, struct node *n, struct lease_out *out);
void node_to_lease(struct sim *s, struct node *n, const struct lease_cmd *cmd);

/* ---- load.c ---- */
void load_begin(struct sim *s, struct node *n);			/* its process has started */
void load_on_sample(struct sim *s, struct node *n);
void load_told(struct sim *s, struct node *n);			/* it multicasts LOAD */
void load_fit(struct sim *s, struct node *n, unsigned int service, enum fitness h);
/* What the group knows of fitness is what there is. */
bool load_well(struct sim *s, const struct repl *r, char *why, size_t size);

/* ---- packet.c ---- */
enum fate {
	FATE_SERVED,		/* by 'at': a connection begins, or goes on */
	FATE_RESET,		/* 'at' does not know it, and says so */
	FATE_DROPPED,
	FATE_CUT,		/* on a path that is cut */
};
struct walk { enum fate fate; unsigned int at, hops; };
uint32_t key_bucket(const struct sim *s, uint32_t buckets, unsigned int hash, uint32_t key);
struct bucket_action packet_action(const struct sim *s, const struct node *n, unsigned int service,
				   uint32_t key);
/* A packet that arrives at 'front'.  'knower': the node that has the connection; NOBODY: a SYN. */
struct walk packet_walk(struct sim *s, unsigned int service, uint32_t key, unsigned int front,
			unsigned int knower);
/* May clients' packets arrive there? */
bool packet_front(const struct sim *s, const struct node *n);

/* ---- kernel.c ---- */
bool kernel_leased(const struct sim *s, const struct node *n);
/* A lease of 'ms' from now (the node's clock).  False: ENOENT, it had ended. */
bool kernel_renew(struct sim *s, struct node *n, int64_t ms, bool start);
void kernel_end(struct sim *s, struct node *n);
void kernel_vanish(struct sim *s, struct node *n);
void kernel_install(struct sim *s, struct node *n);		/* if the agent wants it */
void kernel_on_install(struct sim *s, struct node *n);
void kernel_count(struct sim *s, struct node *n);		/* if the agent wants it */
void kernel_on_counted(struct sim *s, struct node *n, unsigned int service, uint8_t *wanted);
uint64_t kernel_acceptors(struct sim *s, unsigned int service, uint32_t b);
void kernel_check(struct sim *s, unsigned int service, uint32_t key);
void kernel_check_all(struct sim *s);
void kernel_watch_gaps(struct sim *s, int64_t limit, uint64_t owners, bool same_owner);
void kernel_check_gaps(struct sim *s);
void flow_on_syn(struct sim *s);
void flow_on_end(struct sim *s, uint64_t id);
void flow_drop_node(struct sim *s, unsigned int node);
void flow_forced(struct sim *s, unsigned int node, const struct msg *m);
void flow_drop_all(struct sim *s);

/* ---- scenario.c ---- */
struct scenario {
	const char *name;
	void (*run)(struct sim *s, unsigned int nodes);	/* 0: by seed */
	unsigned int share;		/* of 100 seeds, how many it gets by default */
};
extern const struct scenario scenarios[];
extern const unsigned int n_scenarios;
bool sim_converged(struct sim *s, char *why, size_t size);

#endif

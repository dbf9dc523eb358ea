/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_QUEUE_H
#define CLUSTERD_IO_QUEUE_H

/*
 * The queue path: packets that the kernel cannot decide (mark RULES_MARK_QUEUE) wait in NFQUEUE for
 * a verdict.  One thread of its own reads all queues and gives one verdict for each packet, new
 * flows first: a flood of mid-stream packets that nobody knows has a queue and a socket of its own.
 *
 *   new (SYN, UDP)   known -> that node; else the scheduler picks one
 *   mid-stream       known -> that node; else drop and ask the peers; when nobody has claimed it within
 *                    give_up_ms: let in, so that the stack tells the client (a reset)
 *
 *   this node        ACCEPT with mark ACCEPT | LEASED; mid-stream: DROP, conntrack does not know it
 *   a peer           ACCEPT with mark HAND | node: the chain behind the queue sends it there
 *   nobody           DROP
 *
 * queue_decide.h is the pure part.  Fail closed: no listener, a full queue or a full socket means
 * drop.
 *
 * Main thread: queue_fd() is readable -> queue_next() until it returns 0: flows to teach the kernel
 * (rules_flows_add()) and flows to ask the peers about (flowsock).  What they answer goes into
 * queue_learn() and rules_flows_add().  Nothing here blocks the main thread; when it is late and
 * the ring between the threads is full, items are lost and come again with the flow's next packet.
 */

#include "conf/conf.h"
#include "core/flow.h"

struct queue;

struct queue_params {
	uint16_t first, n;		/* rules_want's queue, n_queues */
	uint8_t self;			/* node id */
	uint32_t max_packets;		/* waiting in the kernel, per queue; 0: 4096 */
	uint32_t buffer_bytes;		/* of each socket; 0: 8 MiB */
	uint32_t asks_per_s;		/* flows to ask the peers about; 0: 1000 */
	uint32_t flows;			/* remembered, each kind; 0: 65536 */
};

/* What the scheduler decides by; one per service of the mark's index. */
struct queue_service {
	enum conf_sched sched;
	uint16_t weight[NODES_MAX + 1];	/* 0: no new flows */
	uint32_t conns[NODES_MAX + 1];	/* cluster-wide, as last told; least-conn */
};
struct queue_table {
	unsigned int n_services;
	struct queue_service service[SERVICES_MAX];
	uint64_t nodes;			/* mask: flows that end at others are lost */
	uint32_t give_up_ms;		/* an unknown flow is lost after that */
	unsigned int directors;		/* nodes that decide by the same counts, >= 1 */
};

enum queue_kind { QUEUE_TEACH, QUEUE_ASK };
struct queue_item { enum queue_kind kind; struct flow flow; };

struct queue_stats {
	uint64_t decisions;		/* new flows decided */
	uint64_t accepted, handed, dropped;	/* verdicts, all packets */
	uint64_t unknown;		/* mid-stream packets of flows that nobody claimed */
	uint64_t lost;			/* ... and nobody did in time */
	uint64_t asks, no_budget;	/* asks made; asks not made, because there were too many */
	uint64_t malformed;		/* packets that could not be read: dropped */
	uint64_t learned;		/* flows told by peers */
	uint64_t ring_full;		/* items lost between the threads */
	uint64_t overruns;		/* how often the socket says that it lost some (ENOBUFS) */
	uint64_t queue_dropped, user_dropped;	/* lost packets: queue full, socket full */
	uint32_t waiting;		/* packets in the kernel's queues now */
	uint32_t known, picked, asked;	/* entries, as after the previous call */
};

/*
 * In the current network namespace.  0 or -errno, with '*why' set to a static text that names the
 * step.
 */
int queue_open(struct queue **out, const struct queue_params *p, const char **why);
/* Ends the thread; packets that still wait are dropped.  NULL is fine. */
void queue_close(struct queue *q);

/* To poll for reading. */
int queue_fd(const struct queue *q);
/* Up to 'room' items; 0: nothing more for now. */
unsigned int queue_next(struct queue *q, struct queue_item *item, unsigned int room);

/* Decides by 'table' soon after; until the first call all is dropped.  0, -ENOMEM. */
int queue_set_table(struct queue *q, const struct queue_table *table);
/* Where flows end (flow->node). */
void queue_learn(struct queue *q, const struct flow *flow, unsigned int n);

void queue_stats(struct queue *q, struct queue_stats *out);
/* Of one service: decisions and drops. */
void queue_service_stats(struct queue *q, unsigned int service, uint64_t *decisions,
			 uint64_t *dropped);

#endif

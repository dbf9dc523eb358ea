/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_FLOWSOCK_H
#define CLUSTERD_IO_FLOWSOCK_H

/*
 * How wire/flow messages travel: one UDP socket bound to this node's address, port conf->port + 1.
 * For the main thread; nothing here blocks.  What is lost is lost: ask again.
 *
 * Refused and counted: what is not from the node that it names, not for us, answers that do not
 * echo our incarnation, and replays (a sequence number seen before, or 64 behind the newest, of the
 * sender's incarnation).
 */

#include <stdint.h>

#include "util/addr.h"
#include "wire/flow.h"

struct flowsock;

struct flowsock_params {
	uint8_t self, n_nodes;
	struct addr node[NODES_MAX];	/* by id - 1 */
	uint16_t port;			/* conf->port + 1 */
	const char *interface;		/* scope of link-local addresses; for the call only */
	uint64_t incarnation;		/* another number for every start of the daemon */
	uint8_t key[FLOW_KEY_SIZE];
};

struct flowsock_counters {
	uint64_t sent, received, send_errors;
	uint64_t garbled, version, forged, foreign;	/* as in io/hellosock.h */
	uint64_t stale;		/* replays, and answers to another incarnation of us */
};

/* 0 or -errno, with '*why' set to a static text that names the step. */
int flowsock_open(struct flowsock **out, const struct flowsock_params *p, const char **why);
void flowsock_close(struct flowsock *s);
/* To poll for reading. */
int flowsock_fd(const struct flowsock *s);

/*
 * 1: '*m' is the next one; 0: nothing more; -EBADMSG: one datagram was thrown away, there may be
 * more.
 */
int flowsock_recv(struct flowsock *s, struct flow_msg *m);

/*
 * Sends 'm' to node m->to; fills in from, incarnation and seq, and echo from the last message heard
 * from that node.  0, or -errno (counted); -EMSGSIZE: a PROBE larger than this node's own interface
 * takes.  Probes go with DF set and whatever the kernel believes of the path's MTU.
 */
int flowsock_send(struct flowsock *s, struct flow_msg *m);

/* Helpers for what needs more than one datagram; errors are counted. */
void flowsock_send_flows(struct flowsock *s, enum flow_kind kind, uint8_t to,
			 const struct flow *flow, unsigned int n);
/* Asks node 'to' for all flows of the buckets set in 'bitmap' (bit b: byte b/8, bit b%8). */
void flowsock_ask_buckets(struct flowsock *s, uint8_t to, uint8_t service, uint8_t hash,
			  uint64_t epoch, uint32_t buckets, const uint8_t *bitmap);

/* Size of the IP packet that a PROBE of that payload size travels in, and the other way round. */
unsigned int flowsock_packet_size(const struct flowsock *s, unsigned int payload);
unsigned int flowsock_payload_size(const struct flowsock *s, unsigned int packet);

void flowsock_counters(const struct flowsock *s, struct flowsock_counters *out);

#endif

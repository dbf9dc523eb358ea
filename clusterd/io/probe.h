/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_PROBE_H
#define CLUSTERD_IO_PROBE_H

/*
 * Do packets for a flooded VIP reach the other nodes?  Asks the network itself, on each interface: a
 * frame to broadcast, for comparison, one to each shared MAC, and in frames to the same MAC an IP packet
 * to each VIP, for there are switches that decide by the IP address (a Linux bridge that snoops: what is
 * for no group goes to routers only, net/bridge/br_multicast.c).  Every member that hears one says so in
 * a unicast frame.
 *
 * Frames are of an ethertype of our own (0x88b5, IEEE 802 local experimental 1), packets go to UDP port 9
 * (io/probe_packet.h).  The raw sockets are bound to the ethertype: other packets cost nothing.  For the
 * IP packets one is open only while somebody's round is under way, behind a filter in the kernel; the
 * rules drop these packets like all for ports without a service.
 *
 * A frame after the Ethernet header, and the payload of a packet without the padding, network order:
 *
 *   offset size
 *    0     4    magic "CDPB"
 *    4     1    version, 1
 *    5     1    kind: 1 question in a frame, 2 answer to it, 3 question in a packet, 4 answer to it
 *    6     1    from, node id
 *    7     1    answer: the node that asked; question: 0
 *    8     8    round, chosen by the asker
 *   16     6    what the question was sent to: a shared MAC, or ff:ff:ff:ff:ff:ff
 *   22     1    number of the target, chosen by the asker
 *   23     1    0
 *   24    16    HMAC-SHA256 over the bytes before, with a key made from the cluster's; first 16 bytes
 *
 * Nothing blocks.  A stranger's frame is dropped at the HMAC, before anything is answered; a replayed
 * question gets at most PROBE_ANSWERS answers per second, of the question's size, by all nodes alike.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "core/types.h"

#define PROBE_ETHERTYPE 0x88b5
#define PROBE_FRAME     60	/* bytes: the smallest Ethernet frame, without its checksum */
#define PROBE_WAIT_MS   1000	/* a round lasts that long; all is sent three times in it */
#define PROBE_ANSWERS   400	/* per second */
#define PROBE_MACS_MAX  64	/* different (interface, shared MAC, VIP), broadcast included */

struct probe;

struct probe_target {
	char interface[IFNAME_SIZE];
	uint8_t mac[6];			/* shared MAC of a VIP; broadcast is added by itself */
	struct addr vip;		/* family 0: no packets, frames only */
};

/*
 * Listens on the interfaces of 'target' (each once).  'key': 32 bytes, struct key's 'hello'.  0 or
 * -errno.  An interface that is not there is left out until probe_refresh() finds it.
 */
int probe_open(struct probe **out, const struct probe_target *target, unsigned int n,
	       const uint8_t key[32], unsigned int self);
void probe_close(struct probe *p);	/* NULL is fine */

/* Again for interfaces that have gone and come; cheap when nothing has changed. */
void probe_refresh(struct probe *p);

/* An epoll descriptor: readable when probe_dispatch() has something to do, timers included. */
int probe_fd(const struct probe *p);
/* Reads at most some frames, answers, sends what is due. */
void probe_dispatch(struct probe *p, int64_t now_ms);

/* Starts a round.  -EBUSY: one is under way; -EAGAIN: the last one ended less than a second ago. */
int probe_start(struct probe *p, int64_t now_ms);
bool probe_running(const struct probe *p);
/* When the last round ended, ms; < 0: there was none. */
int64_t probe_done(const struct probe *p);

struct probe_result {
	struct probe_target target;	/* ff:ff:ff:ff:ff:ff: broadcast */
	uint64_t framed;		/* nodes that have said that they heard the frame */
	uint64_t heard;			/* and the packet to the VIP; without a VIP: the frame */
	int send_err;			/* it could not be sent: -errno */
};
/* Of the round under way or the last one; fills at most 'max', returns how many there are. */
unsigned int probe_results(const struct probe *p, struct probe_result *out, unsigned int max);

struct probe_counters { uint64_t questions, answers, forged, garbled, limited; };
void probe_counters(const struct probe *p, struct probe_counters *out);

#endif

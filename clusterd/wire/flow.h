/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_WIRE_FLOW_H
#define CLUSTERD_WIRE_FLOW_H

/*
 * What nodes tell each other about flows <-> one UDP datagram.  All integers in network order, no
 * padding:
 *
 *   offset size
 *    0     4    magic "CDFL"
 *    4     1    protocol version, 1
 *    5     1    kind
 *    6     1    from
 *    7     1    to
 *    8     8    incarnation of the sender
 *   16     8    echo: incarnation of the receiver in answers (FLOWS, PROBE_REPLY), else 0
 *   24     8    seq, grows with every datagram of one incarnation to 'to'
 *   32     n    body by kind
 *   32+n   16   HMAC-SHA256 (RFC 2104) over all bytes before it, its first 16 bytes
 *
 *   ASK, FLOWS    count (1), then of each flow: service (1), protocol (1), size of addresses (1),
 *                 4 or 16, client, vip, client's port (2), vip's port (2)
 *   ASK_BUCKETS   service (1), hash (1), bytes of bitmap (2), epoch (8), buckets (4), first (4),
 *                 bitmap
 *   LOAD          count (1), then by service: connections (4)
 *   PROBE         id (4), then padding up to the size asked for, its bytes 0
 *   PROBE_REPLY   id (4), size of the datagram that arrived (2)
 *
 * The HMAC says "from a member of this cluster"; io/flowsock refuses replays.
 */

#include <stddef.h>

#include "core/flow.h"

#define FLOW_VERSION    1
#define FLOW_HEAD_SIZE  32
#define FLOW_MAC_SIZE   16
#define FLOW_KEY_SIZE   32
#define FLOW_SIZE_MAX   1200	/* of a datagram's payload; probes may be larger */
#define FLOW_PROBE_MIN  (FLOW_HEAD_SIZE + 4 + FLOW_MAC_SIZE)
#define FLOW_PROBE_MAX  9200
#define FLOW_FLOWS_MAX  76	/* IPv4 flows per datagram; of IPv6: 29 */
#define FLOW_BITMAP_MAX 1024	/* bytes: 8192 buckets */

enum flow_kind {
	FLOW_ASK = 1,		/* which of these flows end at you? */
	FLOW_ASK_BUCKETS,	/* which flows of these buckets end at you? */
	FLOW_FLOWS,		/* these end at me; answer to both */
	FLOW_LOAD,		/* so many connections I have */
	FLOW_PROBE,		/* did a datagram of this size arrive? */
	FLOW_PROBE_REPLY,
};

struct flow_msg {
	uint8_t kind;			/* enum flow_kind */
	uint8_t from, to;
	uint64_t incarnation, echo, seq;
	union {
		/* decoded, 'node' is the sender in FLOWS, NOBODY in ASK */
		struct { unsigned int n; struct flow flow[FLOW_FLOWS_MAX]; } flows;
		struct {
			uint8_t service, hash;		/* hash: enum conf_hash */
			uint16_t n_bytes;		/* of bitmap */
			uint64_t epoch;
			uint32_t buckets;		/* of the service */
			uint32_t first;			/* bucket of the first bit; multiple of 8 */
			uint8_t bitmap[FLOW_BITMAP_MAX];	/* byte i/8, bit i%8 */
		} buckets;
		struct { unsigned int n; uint32_t conns[SERVICES_MAX]; } load;
		struct { uint32_t id; uint16_t size; } probe;	/* size of the datagram's payload */
	} u;
};

/* How many of the first 'n' flows fit into one datagram (0 only if n is 0). */
unsigned int flow_fit(const struct flow *flow, unsigned int n);

/*
 * Writes 'm' into 'buf' and returns the bytes used; FLOW_SIZE_MAX suffice, for a PROBE its size.
 */
size_t flow_encode(const struct flow_msg *m, const uint8_t key[FLOW_KEY_SIZE], void *buf,
		   size_t size);

/*
 * 0: '*m' is what a holder of 'key' sent.  Else '*m' is untouched:
 * -EBADMSG garbled, too short or too long, or numbers that do not exist;
 * -EPROTO  another protocol version;
 * -EACCES  the HMAC is wrong: forged, damaged, or a foreign cluster.
 */
int flow_decode(struct flow_msg *m, const uint8_t key[FLOW_KEY_SIZE], const void *buf, size_t size);

#endif

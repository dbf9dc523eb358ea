/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_WIRE_HELLO_H
#define CLUSTERD_WIRE_HELLO_H

/*
 * HELLO heartbeat <-> one UDP datagram.  All integers in network order, no padding:
 *
 *   offset size
 *    0     4    magic "CDHB"
 *    4     1    protocol version, 1
 *    5     1    from
 *    6     1    to
 *    7     1    n_reports
 *    8     4    term
 *   12     8    incarnation
 *   20     8    seq
 *   28     8    echo_incarnation
 *   36     8    echo_seq
 *   44     4    flags, reserved: 0
 *   48     9*n  reports: node (1), term (4), gen (4)
 *   48+9*n 16   HMAC-SHA256 (RFC 2104) over all bytes before it, its first 16 bytes
 *
 * The HMAC says "from a member of this cluster", no more.  Replays are refused by core/lease, which
 * looks at to, incarnation and seq.
 */

#include <stddef.h>

#include "core/hello.h"

#define HELLO_VERSION     1
#define HELLO_HEAD_SIZE   48
#define HELLO_REPORT_SIZE 9
#define HELLO_MAC_SIZE    16
#define HELLO_KEY_SIZE    32
#define HELLO_SIZE_MAX    (HELLO_HEAD_SIZE + NODES_MAX * HELLO_REPORT_SIZE + HELLO_MAC_SIZE)

/* Writes 'h' into 'buf' and returns the bytes used; HELLO_SIZE_MAX always suffice. */
size_t hello_encode(const struct hello *h, const uint8_t key[HELLO_KEY_SIZE],
		    void *buf, size_t size);

/*
 * 0: '*h' is what a holder of 'key' sent.  Else '*h' is untouched:
 * -EBADMSG garbled, too short or too long, or node ids that do not exist;
 * -EPROTO  another protocol version;
 * -EACCES  the HMAC is wrong: forged, damaged, or a foreign cluster.
 */
int hello_decode(struct hello *h, const uint8_t key[HELLO_KEY_SIZE], const void *buf, size_t size);

#endif

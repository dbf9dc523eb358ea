/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_REACH_SEGMENT_H
#define CLUSTERD_IO_REACH_SEGMENT_H

/* Pure: the IP packets of io/reach.h.  RFC 9293 section 3.1, RFC 791, RFC 8200. */

#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

#define REACH_PACKET_MAX (40 + 24)
#define REACH_SYN 0x02
#define REACH_RST 0x04
#define REACH_ACK 0x10

struct reach_segment {
	struct addr from, to;		/* of one family */
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
};

/* Writes the packet, checksums included (a SYN has an MSS option); its size. */
size_t reach_build(uint8_t out[REACH_PACKET_MAX], const struct reach_segment *s);
/* From the IP header on.  0, or -EBADMSG: no whole TCP header in it.  Looks at no checksum. */
int reach_read(const uint8_t *in, size_t size, struct reach_segment *s);

#endif

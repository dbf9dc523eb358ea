/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_PROBE_PACKET_H
#define CLUSTERD_IO_PROBE_PACKET_H

/*
 * The IP packets of io/probe: UDP to port 9 (discard, RFC 863) of a VIP, in a frame to its shared MAC.
 * Whole frames, no sockets of the stack: the VIP is this node's own address as well.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

#define PROBE_PACKET_PORT 9
#define PROBE_PACKET_MAX  (14 + 40 + 8 + 64)	/* bytes of a frame, with at most 64 of payload */

/*
 * Writes a frame that carries 'payload' from 'from' to 'to', which are of one family; its size.
 * TTL 1: it is for this segment only.
 */
size_t probe_packet_build(uint8_t out[PROBE_PACKET_MAX], const uint8_t dst[6], const uint8_t src[6],
			  const struct addr *from, const struct addr *to, const uint8_t *payload,
			  size_t size);

/*
 * The payload of such a frame, which points into 'in', and whom it is for.  0 or -EBADMSG.  Looks at
 * no checksum: who reads the payload knows whether it is whole.
 */
int probe_packet_read(const uint8_t *in, size_t n, struct addr *to, const uint8_t **payload, size_t *size);

/*
 * A raw socket that hears such frames on an interface, and nothing else: those with 'magic' at the
 * start of their payload.  Before any rule: our own drop these packets.  The descriptor or -errno.
 */
int probe_packet_listen(int ifindex, uint32_t magic);

/*
 * An address of that family which is this node's own on the interface; the unspecified one if there is
 * none.  Host prefixes do not count: that is how VIPs are assigned.
 */
void probe_packet_source(const char *interface, uint8_t family, struct addr *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_ANNOUNCE_H
#define CLUSTERD_IO_ANNOUNCE_H

/*
 * Tells the neighbours where a VIP is now: gratuitous ARP (RFC 5227 section 3: an ARP request and a
 * reply whose sender and target are the VIP) and unsolicited neighbour advertisements (RFC 4861
 * section 7.2.6, override set, to ff02::1), with the interface's own MAC.  Raw frames by AF_PACKET: the
 * nft rules that keep this node silent do not see them.  A frame may be lost, so each VIP is announced
 * at once, after 100 ms, 300 ms, 1 s and 3 s, and every 30 s while it is held.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/addr.h"

struct announce;
int announce_open(struct announce **out);
void announce_close(struct announce *a);

/*
 * 'held': this node answers for 'vip' on 'interface' from now on, or does not.  Starts, or stops, the
 * announcements; no change costs nothing.  'now' in ms, monotonic.  0, -ENODEV, -ENOSPC.
 */
int announce_set(struct announce *a, const struct addr *vip, const char *interface, bool held,
		 int64_t now);

/* Sends what is due; a frame that cannot be sent now is tried at the next time. */
void announce_tick(struct announce *a, int64_t now);
/* When announce_tick() is due next; INT64_MAX: never. */
int64_t announce_deadline(const struct announce *a);

/* The frames themselves (pure).  Each returns the size: 42 (ARP) or 86 (NA). */
unsigned int announce_arp(uint8_t frame[64], const uint8_t mac[6], const struct addr *vip, bool reply);
unsigned int announce_na(uint8_t frame[128], const uint8_t mac[6], const struct addr *vip);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_TUNNEL_H
#define CLUSTERD_IO_TUNNEL_H

/*
 * Tunnel devices to the peers, for redirect = ipip and vxlan: made, repaired and removed through
 * rtnetlink.  The underlay is the nodes' cluster addresses.  What is made is written to netif's undo
 * file first, so that a stop, or the next start after a crash, removes it.
 *
 *   inner   underlay IPv4        underlay IPv6
 *   IPv4    ipip   "clu4_N"      ip6tnl (any) "clu6_N"
 *   IPv6    sit    "clu6_N"      the same
 *   both    vxlan  "cluv_N", VNI by the pair of node ids
 *
 * N is the peer's node id.  The outer packet carries no DF and the device's MTU is so large that an inner
 * packet of the path's full size passes (the outer one is fragmented then).  Two drivers have their own
 * mind (net/ipv4/ip_tunnel.c, net/ipv6/ip6_tunnel.c):
 *   ipip    copies DF from the inner packet: clear DF of what is handed over, or a large packet is lost
 *           ("fwd" gives the driver no route by which it could tell the client)
 *   ip6tnl  never fragments the outer packet: only the MSS clamp keeps packets small enough
 *
 * rp_filter of each device is 2, because the client is not reached through it.  In that mode the kernel
 * drops what comes in by a device without any IPv4 address (net/ipv4/fib_frontend.c), so each device
 * has 169.254.193.SELF/32 (ipip) or 169.254.194.SELF/32 (vxlan), scope link.  Next hops are
 * 169.254.193.N or .194.N, and fe80::c1d0:N, with host routes ('dup' looks for one).
 */

#include <stdint.h>

#include "io/netif.h"
#include "io/rules.h"

struct tunnel_want {
	uint8_t self, peer;		/* node ids */
	struct addr local, remote;	/* cluster addresses, of one family */
	bool ipip4, ipip6, vxlan;	/* which are needed (inner families) */
	uint16_t vxlan_port;
};

/*
 * Makes what is missing, alters what differs; what exists and fits is left alone.  Fills for
 * rules.h: the devices and the next hops for IPv4 and IPv6 packets on them, ipip in p[0], vxlan in
 * p[1] (id set; dev "" where not wanted).  0 or -errno: netif_strerror() names the device, and the
 * kernel module that is probably missing.
 */
int tunnel_ensure(struct netif *n, const struct tunnel_want *w, struct rules_peer p[2]);

/* VNI of the pair: the same on both sides, a different one for every pair. */
uint32_t tunnel_vni(uint8_t a, uint8_t b);

/* What the tunnel takes from each packet, in bytes, outer headers in all. */
unsigned int tunnel_overhead(enum conf_redirect r, const struct addr *underlay, bool inner_v6);

#endif

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
 * N is the peer's node id.
 *
 * Underlay IPv4: the outer packet carries no DF and the device's MTU is 65000, so that an inner packet of
 * the path's full size passes (the outer one is fragmented then).  But ipip copies DF from the inner
 * packet (net/ipv4/ip_tunnel.c): clear DF of what 'fwd' hands over, or a large packet is lost: 'fwd'
 * gives the driver no route by which it could tell the client.
 *
 * Underlay IPv6: the kernel never fragments a tunnel's outer packet (net/ipv6/ip6_output.c: ip6_fragment()
 * without ignore_df; net/ipv6/ip6_tunnel.c).  The device's MTU is that of the path less the overhead.  What
 * is larger is lost by 'fwd' (ip6tnl tells the client of an IPv6 packet); by 'dup' the client gets its
 * "fragmentation needed" or "packet too big".
 *
 * rp_filter of each device is 2, because the client is not reached through it.  In that mode the kernel
 * drops what comes in by a device without any IPv4 address (net/ipv4/fib_frontend.c), so each device
 * has 169.254.193.SELF/32 (ipip) or 169.254.194.SELF/32 (vxlan), scope link.  Next hops are
 * 169.254.193.N or .194.N, and fe80::c1d0:N, with host routes ('dup' looks for one).
 *
 * The kernel loads a driver by itself when the first device is made, and ipip, sit and ip6tnl then have
 * a fallback device (tunl0, ...) in every namespace, down, which belongs to the module and stays.
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

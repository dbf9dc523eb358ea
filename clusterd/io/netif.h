/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_NETIF_H
#define CLUSTERD_IO_NETIF_H

/*
 * Interfaces, addresses and sysctls through rtnetlink (libmnl), ioctl and /proc/sys.  Everything
 * changed here is written down first in an undo file, so that a clean stop, or the next start after
 * a crash, puts back exactly what was changed and nothing else.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/addr.h"

struct netif;

/* 'undo_path': e.g. /run/clusterd/undo.  An undo file left by a crash is taken over. */
int netif_open(struct netif **out, const char *undo_path);
/* Does not undo. */
void netif_close(struct netif *n);

struct netif_info {
	int index;
	uint8_t mac[6];
	uint32_t mtu;
	bool up;
	struct addr addr4;	/* first global IPv4 address; never one of 'skip' */
	struct addr addr6;	/* link-local, else first global; never one of 'skip' */
};
/* -ENODEV if there is no such interface.  'skip': addresses that are VIPs. */
int netif_info(struct netif *n, const char *interface, const struct addr *skip, unsigned int n_skip,
	       struct netif_info *out);

/*
 * Makes this node own 'vip': IPv4 as /32 on lo; IPv6 as /128 on 'interface', nodad, preferred
 * lifetime 0 (on lo it would not be answered for).  0 also when it is there already (then it is not
 * undone later, unless the undo file says that it was ours).  -EADDRINUSE: it is the address of an
 * interface with another prefix length, configured by someone else.
 */
int netif_vip_add(struct netif *n, const struct addr *vip, const char *interface);
int netif_vip_del(struct netif *n, const struct addr *vip, const char *interface);

/*
 * The same for dispatch = route: the VIP is on lo for both families and vanishes by itself 'seconds'
 * (at least 1) after the last call; the kernel looks about once a second.  Somebody else's address is
 * left as it is (0).  netif_vip_del(n, vip, "lo") removes it at once.
 */
int netif_vip_lease(struct netif *n, const struct addr *vip, unsigned int seconds);

#define NETIF_ROUTE_PROTO  193	/* "clusterd": rtm_protocol of the signal route ... */
#define NETIF_ROUTE_METRIC 193	/* ... and its metric, so that it replaces nobody else's */
/*
 * The signal that a routing daemon follows: a host route to the VIP in table main, for as long as
 * packets are wanted.  The local table comes first, so it leads no packet anywhere.
 *   IPv4  VIP/32 dev lo src VIP: the kernel removes it together with the address, which must be there
 *         (netif_vip_lease(); -EINVAL if not)
 *   IPv6  VIP/128 dev 'interface' expires 'seconds': renewed by the next call.  (Over lo the kernel
 *         makes a reject route of it that never expires, net/ipv6/route.c.)  The first call lowers
 *         net.ipv6.route.gc_interval to 1 s, or an expired route would stay for up to 30 s.
 * 'on' false removes it; 0 also if there was none.
 */
int netif_route_set(struct netif *n, const struct addr *vip, const char *interface, bool on,
		    unsigned int seconds);

/*
 * Makes the interface receive frames to 'mac': a multicast address as 'ip maddr add' (SIOCADDMULTI), a
 * unicast one as 'bridge fdb add ... self' (an additional unicast filter; -EOPNOTSUPP where the
 * driver has none).
 */
int netif_maddr_add(struct netif *n, const char *interface, const uint8_t mac[6]);
int netif_maddr_del(struct netif *n, const char *interface, const uint8_t mac[6]);

/*
 * Joins an IP multicast group, so that IGMP or MLD tells the switches (mac = igmp).  Held by a socket
 * in 'n' until netif_undo() or netif_close(); joining again costs nothing, and is how an interface
 * that was made anew gets it back.
 */
int netif_group_join(struct netif *n, const char *interface, const struct addr *group);
/* The group whose MAC is addr_flood_mac(vip): 239.x.y.z (RFC 2365), or ff05::x:y (site-local). */
void netif_group_of(const struct addr *vip, struct addr *group);

/* The value without its newline, runs of white space as one blank.  0, -ENOENT, -EFBIG, ... */
int netif_sysctl_get(const char *path, char *value, size_t size);

/* 'path' below /proc/sys, e.g. "net/netfilter/nf_conntrack_tcp_loose".  Remembers the old value. */
int netif_sysctl_set(struct netif *n, const char *path, const char *value);

/* Undoes everything that the undo file lists, newest first, and empties it. */
int netif_undo(struct netif *n);

/* What the last failing call was about. */
const char *netif_strerror(const struct netif *n);

#endif

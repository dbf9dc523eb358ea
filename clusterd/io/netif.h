/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_NETIF_H
#define CLUSTERD_IO_NETIF_H

/*
 * Interfaces, addresses and sysctls through rtnetlink (libmnl), ioctl and /proc/sys.  Everything
 * changed here is written down first in an undo file, so that a clean stop, or the next start after
 * a crash, puts back exactly what was changed and nothing else.
 */

#include <stdbool.h>
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

/* Joins the link-layer multicast address, as 'ip maddr add' (SIOCADDMULTI).  */
int netif_maddr_add(struct netif *n, const char *interface, const uint8_t mac[6]);
int netif_maddr_del(struct netif *n, const char *interface, const uint8_t mac[6]);

/* 'path' below /proc/sys, e.g. "net/netfilter/nf_conntrack_tcp_loose".  Remembers the old value. */
int netif_sysctl_set(struct netif *n, const char *path, const char *value);

/* Undoes everything that the undo file lists, newest first, and empties it. */
int netif_undo(struct netif *n);

/* What the last failing call was about. */
const char *netif_strerror(const struct netif *n);

#endif

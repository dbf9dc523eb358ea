/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_NETIF_PRIV_H
#define CLUSTERD_IO_NETIF_PRIV_H

/*
 * What the parts of io/netif share:
 *
 *   netif.c         the undo file, rtnetlink, netif_info()
 *   netif_vip.c     VIPs, the signal route
 *   netif_mac.c     MAC filters, multicast groups
 *   netif_sysctl.c  sysctls
 *   netif_link.c    devices of our own, for tunnel.c
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

#include "io/netif.h"

#define NETIF_PATH_SIZE  192	/* of an undo file, and of a sysctl below /proc/sys */
#define NETIF_VALUE_SIZE 192	/* of a sysctl */
#define NETIF_KIND_SIZE  16	/* of a device: "vxlan", ... */
#define NETIF_DUMP_TRIES 8
#define NETIF_REQ_SIZE   512	/* of a request that the parts make */

/*
 * One change.  They are undone newest first, so a sysctl that was set twice has two entries and
 * comes back to its first value by way of the second.
 */
enum change_kind { CHANGE_VIP, CHANGE_MADDR, CHANGE_SYSCTL, CHANGE_ROUTE, CHANGE_LINK };

struct change {
	enum change_kind kind;
	char interface[IFNAME_SIZE];		/* all but SYSCTL */
	struct addr vip;			/* VIP, ROUTE */
	uint8_t mac[6];				/* MADDR */
	char link_kind[NETIF_KIND_SIZE];	/* LINK */
	char path[NETIF_PATH_SIZE];		/* SYSCTL */
	char before[NETIF_VALUE_SIZE], after[NETIF_VALUE_SIZE];
};

struct netif_group {
	char interface[IFNAME_SIZE];
	int index, fd;
	struct addr group;
};

struct netif {
	char undo_path[NETIF_PATH_SIZE];
	struct change *change;
	unsigned int n, room;
	struct netif_group *group;
	unsigned int n_groups, room_groups;
	char why[256];
};

/* Notes what failed and returns 'err' (negative). */
int netif_fail(struct netif *n, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* false: it does not fit, or 'from' is NULL. */
bool netif_copy(char *to, size_t size, const char *from);

/* "02:00:00:00:00:01" */
void netif_mac_print(const uint8_t mac[6], char out[18]);

/* Notes a change on disk before it is made. */
int netif_note(struct netif *n, const struct change *c);
/* Forgets change 'i' after it was undone, or not made. */
int netif_forget(struct netif *n, unsigned int i);
/* The change of this kind on this interface; 'vip', 'mac': which, NULL: any.  -1: none. */
int netif_find(const struct netif *n, enum change_kind kind, const char *interface,
	       const struct addr *vip, const uint8_t *mac);

/*
 * One request and its answer on a socket of its own: there are few, and an answer that was given up
 * on cannot be taken for that of the next request.  'nlh' gets its sequence number here.  -EINTR: what
 * a dump lists changed meanwhile.
 */
int netif_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);

struct addr_entry {
	int index;
	uint8_t prefix, scope;
	uint32_t flags;
	struct addr addr;
};
struct addr_walk {
	void (*each)(void *arg, const struct addr_entry *e);
	void *arg;
};
/* 'family' AF_UNSPEC: both. */
int netif_each_addr(uint8_t family, struct addr_walk *walk);

/*
 * RTM_NEWADDR or RTM_DELADDR of a host address.  'valid': seconds to live, UINT32_MAX: for ever.
 * 'ifa_flags': IFA_F_..., for IPv6.
 */
int netif_host_addr(uint16_t type, uint16_t flags, const struct addr *a, int index, uint8_t scope,
		    uint32_t ifa_flags, uint32_t valid);

/* Each 0 or -errno; what is gone already is fine. */
int netif_vip_remove(const struct addr *vip, const char *interface);
int netif_route_remove(const struct addr *vip, const char *interface);
int netif_maddr_remove(const char *interface, const uint8_t mac[6]);
int netif_sysctl_undo(const struct change *c);
int netif_link_remove(const char *name, const char *kind);
void netif_groups_leave(struct netif *n);

bool netif_sysctl_path_valid(const char *path);
/* Without a note: for what vanishes with a device of ours.  Costs a read when it is so already. */
int netif_sysctl_write(const char *path, const char *value);

#endif

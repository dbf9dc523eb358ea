/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/netif_priv.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- MAC filters ---- */

static int maddr_ioctl(unsigned long request, const char *interface, const uint8_t mac[6])
{
	struct ifreq ifr = { 0 };
	int fd, err = 0;

	if (!netif_copy(ifr.ifr_name, sizeof(ifr.ifr_name), interface))
		return -ENODEV;
	ifr.ifr_hwaddr.sa_family = AF_UNSPEC;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, request, &ifr) < 0)
		err = -errno;
	close(fd);
	return err;
}

/*
 * Has somebody joined by SIOCADDMULTI?  Such joins are not counted (net/core/dev_addr_lists.c), so
 * ours would be the same as theirs, and undoing ours would end theirs.  1, 0 or -errno.
 * /proc/net/dev_mcast (net/core/net-procfs.c): index name refcount global_use address.
 */
static int maddr_there(const char *interface, const uint8_t mac[6])
{
	char line[256], name[64], hex[80], want[13];
	int there = 0, global;
	FILE *f;

	snprintf(want, sizeof(want), "%02x%02x%02x%02x%02x%02x",
		 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	f = fopen("/proc/net/dev_mcast", "re");
	if (!f)
		return -errno;
	while (!there && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*d %63s %*d %d %79s", name, &global, hex) == 3 && global &&
		    !strcmp(name, interface) && !strcmp(hex, want))
			there = 1;
	fclose(f);
	return there;
}

/* A unicast address more that the device takes frames for (net/core/rtnetlink.c, ndo_dflt_fdb_add). */
static int umac_change(uint16_t type, uint16_t flags, const char *interface, const uint8_t mac[6])
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ndmsg *ndm;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = AF_BRIDGE;
	ndm->ndm_ifindex = (int)if_nametoindex(interface);
	ndm->ndm_state = NUD_PERMANENT;
	ndm->ndm_flags = NTF_SELF;
	if (ndm->ndm_ifindex == 0)
		return -ENODEV;
	mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
	return netif_talk(nlh, NULL, NULL);
}

int netif_maddr_add(struct netif *n, const char *interface, const uint8_t mac[6])
{
	struct change c = { .kind = CHANGE_MADDR };
	bool ours = netif_find(n, CHANGE_MADDR, interface, NULL, mac) >= 0;
	char text[18];
	int err;

	netif_mac_print(mac, text);
	if (!netif_copy(c.interface, sizeof(c.interface), interface))
		return netif_fail(n, -ENODEV, "interface %.32s", interface);
	memcpy(c.mac, mac, 6);
	if (!ours) {
		err = (mac[0] & 1) ? maddr_there(interface, mac) : 0;
		if (err > 0)
			return 0;
		if (!err)
			err = netif_note(n, &c);
		if (err)
			return netif_fail(n, err, "joining %s on %s", text, interface);
	}
	if (mac[0] & 1)
		err = maddr_ioctl(SIOCADDMULTI, interface, mac);
	else
		err = umac_change(RTM_NEWNEIGH, NLM_F_CREATE | (ours ? 0 : NLM_F_EXCL), interface, mac);
	if (!err)
		return 0;
	if (!ours)
		(void)netif_forget(n, n->n - 1);
	if (err == -EEXIST)	/* somebody else's filter */
		return 0;
	return netif_fail(n, err, "joining %s on %s", text, interface);
}

int netif_maddr_remove(const char *interface, const uint8_t mac[6])
{
	int err = (mac[0] & 1) ? maddr_ioctl(SIOCDELMULTI, interface, mac) :
		  umac_change(RTM_DELNEIGH, 0, interface, mac);

	return err == -ENOENT || err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

int netif_maddr_del(struct netif *n, const char *interface, const uint8_t mac[6])
{
	int i = netif_find(n, CHANGE_MADDR, interface, NULL, mac), err;
	char text[18];

	if (i < 0)
		return 0;
	err = netif_maddr_remove(interface, mac);
	netif_mac_print(mac, text);
	if (err)
		return netif_fail(n, err, "leaving %s on %s", text, interface);
	return netif_forget(n, (unsigned int)i);
}

/* ---- multicast groups ---- */

void netif_group_of(const struct addr *vip, struct addr *group)
{
	memset(group, 0, sizeof(*group));
	group->family = vip->family;
	if (vip->family == AF_INET) {
		group->b[0] = 239;
		group->b[1] = vip->b[1] & 0x7f;
		memcpy(group->b + 2, vip->b + 2, 2);
	} else {
		group->b[0] = 0xff;
		group->b[1] = 0x05;
		memcpy(group->b + 12, vip->b + 12, 4);
	}
}

/* A socket for each: one may join only few (net.ipv4.igmp_max_memberships).  The socket or -errno. */
static int group_socket(const struct addr *group, int index)
{
	struct ipv6_mreq m6 = { .ipv6mr_interface = (unsigned int)index };
	struct ip_mreqn m4 = { .imr_ifindex = index };
	int fd = socket(group->family, SOCK_DGRAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	memcpy(&m4.imr_multiaddr, group->b, sizeof(m4.imr_multiaddr));
	memcpy(&m6.ipv6mr_multiaddr, group->b, sizeof(m6.ipv6mr_multiaddr));
	if (group->family == AF_INET)
		err = setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m4, sizeof(m4));
	else
		err = setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m6, sizeof(m6));
	if (err < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static struct netif_group *group_place(struct netif *n, const char *interface,
				       const struct addr *group)
{
	struct netif_group *g;

	for (unsigned int i = 0; i < n->n_groups; i++) {
		g = &n->group[i];
		if (!strcmp(g->interface, interface) && addr_cmp(&g->group, group) == 0)
			return g;
	}
	if (n->n_groups == n->room_groups) {
		unsigned int room = n->room_groups ? 2 * n->room_groups : 8;

		g = reallocarray(n->group, room, sizeof(*g));
		if (!g)
			return NULL;
		n->group = g;
		n->room_groups = room;
	}
	g = &n->group[n->n_groups];
	*g = (struct netif_group){ .group = *group, .fd = -1 };
	if (!netif_copy(g->interface, sizeof(g->interface), interface))
		return NULL;
	n->n_groups++;
	return g;
}

int netif_group_join(struct netif *n, const char *interface, const struct addr *group)
{
	int index = (int)if_nametoindex(interface), fd;
	struct netif_group *g;
	char text[ADDR_STR];

	addr_str(group, text);
	if (index == 0)
		return netif_fail(n, -ENODEV, "joining %s on %.32s", text, interface);
	g = group_place(n, interface, group);
	if (!g)
		return netif_fail(n, -ENOMEM, "joining %s on %s", text, interface);
	if (g->fd >= 0 && g->index == index)
		return 0;
	fd = group_socket(group, index);
	if (fd < 0)
		return netif_fail(n, fd, "joining %s on %s", text, interface);
	if (g->fd >= 0)		/* that interface is gone, and its name has come back */
		close(g->fd);
	g->fd = fd;
	g->index = index;
	return 0;
}

void netif_groups_leave(struct netif *n)
{
	for (unsigned int i = 0; i < n->n_groups; i++)
		if (n->group[i].fd >= 0)
			close(n->group[i].fd);
	n->n_groups = 0;
}

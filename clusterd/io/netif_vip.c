/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/netif_priv.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* ---- VIPs ---- */

struct vip_walk {
	struct addr vip;
	int index;		/* where it belongs */
	bool there, foreign;
};

static void vip_addr(void *arg, const struct addr_entry *e)
{
	struct vip_walk *w = arg;

	if (addr_cmp(&e->addr, &w->vip) != 0)
		return;
	if (e->prefix != 8 * addr_size(&w->vip))
		w->foreign = true;
	else if (w->vip.family == AF_INET || e->index == w->index)
		w->there = true;
}

static int vip_look(struct vip_walk *w)
{
	struct addr_walk walk = { .each = vip_addr, .arg = w };
	int err = -EINTR;

	for (unsigned int i = 0; err == -EINTR && i < NETIF_DUMP_TRIES; i++) {
		w->there = w->foreign = false;
		err = netif_each_addr(w->vip.family, &walk);
	}
	return err;
}

int netif_host_addr(uint16_t type, uint16_t flags, const struct addr *a, int index, uint8_t scope,
		    uint32_t ifa_flags, uint32_t valid)
{
	/*
	 * IPv6: preferred lifetime 0 makes it deprecated, so that it is never chosen as the source of a
	 * connection of our own (RFC 4862 section 5.5.4).
	 */
	const struct ifa_cacheinfo lifetime = {
		.ifa_prefered = a->family == AF_INET ? valid : 0, .ifa_valid = valid,
	};
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ifaddrmsg *ifa;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = a->family;
	ifa->ifa_prefixlen = (uint8_t)(8 * addr_size(a));
	ifa->ifa_index = (unsigned int)index;
	ifa->ifa_scope = scope;
	mnl_attr_put(nlh, IFA_LOCAL, addr_size(a), a->b);
	mnl_attr_put(nlh, IFA_ADDRESS, addr_size(a), a->b);
	if (ifa_flags)
		mnl_attr_put_u32(nlh, IFA_FLAGS, ifa_flags);
	if (type == RTM_NEWADDR)
		mnl_attr_put(nlh, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
	return netif_talk(nlh, NULL, NULL);
}

/* Scope host (IPv4): or an interface without an address would take it as its source. */
static int vip_change(uint16_t type, uint16_t flags, const struct addr *vip, int index,
		      uint32_t ifa_flags, uint32_t valid)
{
	return netif_host_addr(type, flags, vip, index,
			       vip->family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
			       vip->family == AF_INET ? 0 : ifa_flags, valid);
}

static const char *vip_home(const struct addr *vip, const char *interface)
{
	return vip->family == AF_INET ? "lo" : interface;
}

int netif_vip_add(struct netif *n, const struct addr *vip, const char *interface)
{
	const char *home = vip_home(vip, interface);
	struct change c = { .kind = CHANGE_VIP, .vip = *vip };
	struct vip_walk w = { .vip = *vip };
	char text[ADDR_STR];
	bool ours;
	int err;

	addr_str(vip, text);
	w.index = (int)if_nametoindex(home);
	if (w.index == 0 || !netif_copy(c.interface, sizeof(c.interface), home))
		return netif_fail(n, -ENODEV, "VIP %s: interface %.32s", text, home);
	err = vip_look(&w);
	if (err)
		return netif_fail(n, err, "VIP %s: cannot list addresses", text);
	if (w.foreign)
		return netif_fail(n, -EADDRINUSE, "VIP %s is configured with another prefix length", text);
	if (w.there)
		return 0;
	ours = netif_find(n, CHANGE_VIP, home, vip, NULL) >= 0;	/* somebody took it away */
	if (!ours) {
		err = netif_note(n, &c);
		if (err)
			return err;
	}
	/* nodad: every node has it, that is the point. */
	err = vip_change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, vip, w.index, IFA_F_NODAD,
			 UINT32_MAX);
	if (err && !ours)
		(void)netif_forget(n, n->n - 1);
	if (err == -EEXIST)	/* somebody was faster: it is theirs */
		return 0;
	return err ? netif_fail(n, err, "VIP %s on %s", text, home) : 0;
}

int netif_vip_remove(const struct addr *vip, const char *interface)
{
	int index = (int)if_nametoindex(interface), err;

	if (index == 0)
		return 0;
	err = vip_change(RTM_DELADDR, 0, vip, index, 0, 0);
	return err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

int netif_vip_del(struct netif *n, const struct addr *vip, const char *interface)
{
	const char *home = vip_home(vip, interface);
	int i = netif_find(n, CHANGE_VIP, home, vip, NULL), err;
	char text[ADDR_STR];

	if (i < 0)
		return 0;
	err = netif_vip_remove(vip, home);
	if (err)
		return netif_fail(n, err, "removing VIP %s from %s", addr_str(vip, text), home);
	return netif_forget(n, (unsigned int)i);
}

/* ---- with a lifetime: dispatch = route ---- */

int netif_vip_lease(struct netif *n, const struct addr *vip, unsigned int seconds)
{
	struct change c = { .kind = CHANGE_VIP, .vip = *vip, .interface = "lo" };
	struct vip_walk w = { .vip = *vip, .index = (int)if_nametoindex("lo") };
	bool ours = netif_find(n, CHANGE_VIP, "lo", vip, NULL) >= 0;
	char text[ADDR_STR];
	int err = 0;

	addr_str(vip, text);
	if (w.index == 0 || seconds == 0)
		return netif_fail(n, w.index ? -EINVAL : -ENODEV, "VIP %s on lo", text);
	if (!ours) {
		err = vip_look(&w);
		if (err)
			return netif_fail(n, err, "VIP %s: cannot list addresses", text);
		if (w.foreign)
			return netif_fail(n, -EADDRINUSE, "VIP %s is configured with another prefix length",
					  text);
		if (w.there)
			return 0;
		err = netif_note(n, &c);
		if (err)
			return err;
	}
	/* No prefix route (IPv6): it would look like the signal. */
	err = vip_change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, vip, w.index,
			 IFA_F_NODAD | IFA_F_NOPREFIXROUTE, seconds);
	if (!err)
		return 0;
	if (!ours)
		(void)netif_forget(n, n->n - 1);
	return netif_fail(n, err, "VIP %s on lo", text);
}

/* 'seconds' 0: no end. */
static int route_change(uint16_t type, uint16_t flags, const struct addr *vip, int index,
			unsigned int seconds)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct rtmsg *rt;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	rt->rtm_family = vip->family;
	rt->rtm_dst_len = (uint8_t)(8 * addr_size(vip));
	rt->rtm_table = RT_TABLE_MAIN;
	rt->rtm_protocol = NETIF_ROUTE_PROTO;
	rt->rtm_scope = vip->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put(nlh, RTA_DST, addr_size(vip), vip->b);
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)index);
	mnl_attr_put_u32(nlh, RTA_PRIORITY, NETIF_ROUTE_METRIC);
	if (vip->family == AF_INET)	/* what the kernel removes it by: fib_sync_down_addr() */
		mnl_attr_put(nlh, RTA_PREFSRC, addr_size(vip), vip->b);
	else if (seconds)
		mnl_attr_put_u32(nlh, RTA_EXPIRES, seconds);
	return netif_talk(nlh, NULL, NULL);
}

int netif_route_remove(const struct addr *vip, const char *interface)
{
	int index = (int)if_nametoindex(interface), err;

	if (index == 0)
		return 0;
	err = route_change(RTM_DELROUTE, 0, vip, index, 0);
	return err == -ESRCH || err == -ENODEV || err == -ENOENT ? 0 : err;
}

/* Expired routes are collected every gc_interval; the flush makes the kernel take up the new one now. */
static int route_gc(struct netif *n)
{
	static const char path[] = "net/ipv6/route/gc_interval";
	char value[NETIF_VALUE_SIZE];
	int err = netif_sysctl_get(path, value, sizeof(value));

	if (err)
		return netif_fail(n, err, "reading sysctl %s", path);
	if (!strcmp(value, "1"))
		return 0;
	err = netif_sysctl_set(n, path, "1");
	if (!err) {
		err = netif_sysctl_write("net/ipv6/route/flush", "1");
		if (err)
			netif_fail(n, err, "setting sysctl net/ipv6/route/flush");
	}
	return err;
}

int netif_route_set(struct netif *n, const struct addr *vip, const char *interface, bool on,
		    unsigned int seconds)
{
	struct change c = { .kind = CHANGE_ROUTE, .vip = *vip };
	const char *home = vip->family == AF_INET ? "lo" : interface;
	int i = netif_find(n, CHANGE_ROUTE, home, vip, NULL), index, err = 0;
	char text[ADDR_STR];

	addr_str(vip, text);
	if (!on) {
		if (i < 0)
			return 0;
		err = netif_route_remove(vip, home);
		return err ? netif_fail(n, err, "removing the route to VIP %s", text) :
		       netif_forget(n, (unsigned int)i);
	}
	index = (int)if_nametoindex(home);
	if (index == 0 || !netif_copy(c.interface, sizeof(c.interface), home))
		return netif_fail(n, -ENODEV, "route to VIP %s: interface %.32s", text, home);
	if (seconds == 0)
		return netif_fail(n, -EINVAL, "route to VIP %s", text);
	if (i < 0) {
		if (vip->family == AF_INET6)
			err = route_gc(n);
		if (!err)
			err = netif_note(n, &c);
		if (err)
			return err;
	}
	err = route_change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, vip, index, seconds);
	if (!err)
		return 0;
	if (i < 0)
		(void)netif_forget(n, n->n - 1);
	return netif_fail(n, err, "route to VIP %s dev %s", text, home);
}

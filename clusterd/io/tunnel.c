/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/tunnel.h"
#include "io/netif_priv.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/ip6_tunnel.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

/*
 * Underlay IPv4: whatever fits into one IP packet.  The outer packet is fragmented where needed, so no
 * packet of a client's may be too large for the device.  65535 less the headers is the kernel's limit.
 */
#define MTU_IPV4   65000
#define FLAGS_UP   (IFF_UP | IFF_NOARP)	/* nobody is asked for: next hops are permanent */
#define ATTRS_MAX  12

struct want_attr {
	uint16_t type;
	uint16_t size;
	bool blind;		/* the kernel's answer has more in it than was set: not compared */
	uint8_t b[16];
};

/* One device as it must be. */
struct device {
	char name[IFNAME_SIZE];
	const char *kind, *module;
	bool ethernet, inner4, inner6;
	uint8_t own_mac[6], next_mac[6];	/* ethernet */
	struct addr own4, next4, next6;
	uint32_t mtu;
	unsigned int n;
	struct want_attr attr[ATTRS_MAX];
};

/* One device as it is. */
struct seen {
	const struct device *want;
	int index;
	uint32_t mtu;
	unsigned int flags;
	unsigned int fit;	/* how many of want->attr are as wanted */
	bool kind_fits, mac_fits;
};

/* ---- pure ---- */

/* The pairs' numbers have holes, which does no harm: 64 * 64 fit into the 12 bits that are free. */
uint32_t tunnel_vni(uint8_t a, uint8_t b)
{
	unsigned int lo = a < b ? a : b, hi = a < b ? b : a;

	assert(lo >= 1 && hi <= NODES_MAX);
	return 0xc1d000u | ((lo - 1) * NODES_MAX + (hi - 1));
}
_Static_assert(NODES_MAX * NODES_MAX <= 0x1000, "a pair's number needs 12 bits");

unsigned int tunnel_overhead(enum conf_redirect r, const struct addr *underlay, bool inner_v6)
{
	unsigned int ip = underlay->family == AF_INET ? 20 : 40;

	(void)inner_v6;		/* no driver of ours treats it differently */
	switch (r) {
	case REDIRECT_DIRECT:
		return 0;
	case REDIRECT_IPIP:
		return ip;
	case REDIRECT_VXLAN:
		return ip + 8 + 8 + ETH_HLEN;	/* UDP, VXLAN (RFC 7348), the inner frame's header */
	}
	return 0;
}

static void put(struct device *d, uint16_t type, const void *b, size_t size)
{
	struct want_attr *a = &d->attr[d->n++];

	assert(d->n <= ATTRS_MAX && size <= sizeof(a->b));
	a->type = type;
	a->size = (uint16_t)size;
	memcpy(a->b, b, size);
}

static void put_u8(struct device *d, uint16_t type, uint8_t v)
{
	put(d, type, &v, sizeof(v));
}

static void put_blind(struct device *d, uint16_t type, const void *b, size_t size)
{
	put(d, type, b, size);
	d->attr[d->n - 1].blind = true;
}

static void mac_of(uint8_t mac[6], uint8_t at, uint8_t towards)
{
	const uint8_t m[6] = { 0x02, 0xc1, 0xd0, 0, at, towards };

	memcpy(mac, m, sizeof(m));
}

static void next_hops(struct device *d, const struct tunnel_want *w, uint8_t third)
{
	d->own4 = (struct addr){ AF_INET, { 169, 254, third, w->self } };
	d->next4 = (struct addr){ AF_INET, { 169, 254, third, w->peer } };
	d->next6 = (struct addr){ AF_INET6, { 0xfe, 0x80, [12] = 0xc1, 0xd0, 0, w->peer } };
}

/* ipip and sit: the outer packet has DF as soon as a TTL is given, so it is copied ("inherit"). */
static void want_ipv4(struct device *d, const struct tunnel_want *w, bool inner_v6)
{
	snprintf(d->name, sizeof(d->name), "clu%c_%u", inner_v6 ? '6' : '4', w->peer);
	d->kind = d->module = inner_v6 ? "sit" : "ipip";
	d->inner4 = !inner_v6;
	d->inner6 = inner_v6;
	put(d, IFLA_IPTUN_LOCAL, w->local.b, 4);
	put(d, IFLA_IPTUN_REMOTE, w->remote.b, 4);
	put_u8(d, IFLA_IPTUN_TTL, 0);
	put_u8(d, IFLA_IPTUN_TOS, 1);	/* inherit */
	put_u8(d, IFLA_IPTUN_PMTUDISC, 0);
	put_u8(d, IFLA_IPTUN_PROTO, inner_v6 ? IPPROTO_IPV6 : IPPROTO_IPIP);
}

static void want_ip6tnl(struct device *d, const struct tunnel_want *w)
{
	const uint32_t flags = IP6_TNL_F_IGN_ENCAP_LIMIT | IP6_TNL_F_USE_ORIG_TCLASS;

	snprintf(d->name, sizeof(d->name), "clu6_%u", w->peer);
	d->kind = "ip6tnl";
	d->module = "ip6_tunnel";
	d->inner4 = w->ipip4;
	d->inner6 = w->ipip6;
	put(d, IFLA_IPTUN_LOCAL, w->local.b, 16);
	put(d, IFLA_IPTUN_REMOTE, w->remote.b, 16);
	put_u8(d, IFLA_IPTUN_TTL, 64);
	put_u8(d, IFLA_IPTUN_PROTO, 0);		/* any */
	put_blind(d, IFLA_IPTUN_FLAGS, &flags, sizeof(flags));
}

static void want_vxlan(struct device *d, const struct tunnel_want *w)
{
	const uint32_t vni = tunnel_vni(w->self, w->peer);
	const uint16_t port = htons(w->vxlan_port);
	bool v4 = w->local.family == AF_INET;

	snprintf(d->name, sizeof(d->name), "cluv_%u", w->peer);
	d->kind = d->module = "vxlan";
	d->ethernet = d->inner4 = d->inner6 = true;
	mac_of(d->own_mac, w->self, w->peer);
	mac_of(d->next_mac, w->peer, w->self);
	put(d, IFLA_VXLAN_ID, &vni, sizeof(vni));
	put(d, v4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, w->local.b, addr_size(&w->local));
	put(d, v4 ? IFLA_VXLAN_GROUP : IFLA_VXLAN_GROUP6, w->remote.b, addr_size(&w->remote));
	put(d, IFLA_VXLAN_PORT, &port, sizeof(port));
	put_u8(d, IFLA_VXLAN_LEARNING, 0);
	put_u8(d, IFLA_VXLAN_TOS, 1);	/* inherit */
	put_u8(d, IFLA_VXLAN_DF, VXLAN_DF_UNSET);
}

/* ---- what is there ---- */

static int data_attr(const struct nlattr *attr, void *data)
{
	struct seen *s = data;

	for (unsigned int i = 0; i < s->want->n; i++) {
		const struct want_attr *a = &s->want->attr[i];

		if (a->type == mnl_attr_get_type(attr) &&
		    (a->blind || (mnl_attr_get_payload_len(attr) == a->size &&
				  !memcmp(mnl_attr_get_payload(attr), a->b, a->size))))
			s->fit++;
	}
	return MNL_CB_OK;
}

static int info_attr(const struct nlattr *attr, void *data)
{
	struct seen *s = data;

	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
		s->kind_fits = mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
			       !strcmp(mnl_attr_get_str(attr), s->want->kind);
	/* The kernel puts the kind first; another kind's numbers mean other things. */
	else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA && s->kind_fits)
		mnl_attr_parse_nested(attr, data_attr, s);
	return MNL_CB_OK;
}

static int seen_msg(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	struct seen *s = data;

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return MNL_CB_OK;
	s->index = ifi->ifi_index;
	s->flags = ifi->ifi_flags;
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		if (mnl_attr_get_type(attr) == IFLA_MTU)
			s->mtu = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
			mnl_attr_parse_nested(attr, info_attr, s);
		else if (mnl_attr_get_type(attr) == IFLA_ADDRESS && s->want->ethernet)
			s->mac_fits = mnl_attr_get_payload_len(attr) == 6 &&
				      !memcmp(mnl_attr_get_payload(attr), s->want->own_mac, 6);
	}
	return MNL_CB_OK;
}

/* 0 with s->index 0: there is none. */
static int look(const struct device *d, struct seen *s)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	int err;

	memset(s, 0, sizeof(*s));
	s->want = d;
	s->mac_fits = !d->ethernet;
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, d->name);
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	err = netif_talk(nlh, seen_msg, s);
	return err == -ENODEV ? 0 : err;
}

static bool fits(const struct seen *s)
{
	return s->kind_fits && s->mac_fits && s->fit == s->want->n;
}

/* ---- making it so ---- */

struct path {
	int index;
	uint32_t mtu;		/* of the route; 0: it says nothing */
};

static int metric(const struct nlattr *attr, void *data)
{
	struct path *p = data;

	if (mnl_attr_get_type(attr) == RTAX_MTU && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
		p->mtu = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int path_msg(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attr;
	struct path *p = data;

	if (nlh->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(nlh) < sizeof(struct rtmsg))
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(struct rtmsg)) {
		if (mnl_attr_get_type(attr) == RTA_OIF)
			p->index = (int)mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == RTA_METRICS)
			mnl_attr_parse_nested(attr, metric, p);
	}
	return MNL_CB_OK;
}

/* The largest packet that the way to the peer takes, as far as this node knows; or -errno. */
static int path_mtu(struct netif *n, const struct tunnel_want *w)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct path p = { 0 };
	struct netif_info info;
	char name[IF_NAMESIZE], text[ADDR_STR];
	struct rtmsg *rt;
	int err;

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	rt->rtm_family = w->remote.family;
	rt->rtm_dst_len = rt->rtm_src_len = (uint8_t)(8 * addr_size(&w->remote));
	mnl_attr_put(nlh, RTA_DST, addr_size(&w->remote), w->remote.b);
	mnl_attr_put(nlh, RTA_SRC, addr_size(&w->local), w->local.b);
	err = netif_talk(nlh, path_msg, &p);
	if (err || p.index == 0 || !if_indextoname((unsigned int)p.index, name))
		return netif_fail(n, err ? err : -ENETUNREACH, "the way to node %u (%s)", w->peer,
				  addr_str(&w->remote, text));
	err = netif_info(n, name, NULL, 0, &info);
	if (err)
		return err;
	return (int)(p.mtu && p.mtu < info.mtu ? p.mtu : info.mtu);
}

/*
 * Underlay IPv6: the kernel never fragments a tunnel's outer packet, so the device must say what
 * fits.  Not below what IPv6 needs (RFC 8200 section 5), or the device could not have it at all.
 */
static int find_mtu(struct netif *n, struct device *d, const struct tunnel_want *w)
{
	int mtu, take = (int)tunnel_overhead(d->ethernet ? REDIRECT_VXLAN : REDIRECT_IPIP, &w->local,
					     d->inner6);

	d->mtu = MTU_IPV4;
	if (w->local.family == AF_INET)
		return 0;
	mtu = path_mtu(n, w);
	if (mtu < 0)
		return mtu;
	d->mtu = mtu - take < 1280 ? 1280 : (uint32_t)(mtu - take);
	return 0;
}

static int link_create(const struct device *d)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct nlattr *info, *data;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, d->name);
	mnl_attr_put_u32(nlh, IFLA_MTU, d->mtu);
	if (d->ethernet)
		mnl_attr_put(nlh, IFLA_ADDRESS, 6, d->own_mac);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, d->kind);
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	for (unsigned int i = 0; i < d->n; i++)
		mnl_attr_put(nlh, d->attr[i].type, d->attr[i].size, d->attr[i].b);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return netif_talk(nlh, NULL, NULL);
}

static int link_up(const struct device *d, int index)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = index;
	ifi->ifi_flags = ifi->ifi_change = FLAGS_UP;
	mnl_attr_put_u32(nlh, IFLA_MTU, d->mtu);
	return netif_talk(nlh, NULL, NULL);
}

/* A kernel without IPv6 has no net/ipv6: then there is nothing to be said about it. */
static int set_sysctls(struct netif *n, const struct device *d)
{
	static const struct { const char *family, *key, *value; bool v6; } list[] = {
		{ "ipv4", "rp_filter", "2", false },
		/* Nothing but what is handed over: no address, no router, no neighbour of its own. */
		{ "ipv6", "disable_ipv6", "0", true },
		{ "ipv6", "addr_gen_mode", "1", true },
		{ "ipv6", "accept_ra", "0", true },
		{ "ipv6", "accept_redirects", "0", true },
	};
	char path[NETIF_PATH_SIZE];
	int err;

	for (unsigned int i = 0; i < sizeof(list) / sizeof(*list); i++) {
		snprintf(path, sizeof(path), "net/%s/conf/%s/%s", list[i].family, d->name, list[i].key);
		err = netif_sysctl_write(path, list[i].value);
		if (err && !(list[i].v6 && err == -ENOENT))
			return netif_fail(n, err, "setting sysctl %s", path);
	}
	return 0;
}

static int neighbour(const struct device *d, int index, const struct addr *hop)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ndmsg *ndm;

	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = hop->family;
	ndm->ndm_ifindex = index;
	ndm->ndm_state = NUD_PERMANENT;
	mnl_attr_put(nlh, NDA_DST, addr_size(hop), hop->b);
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(d->next_mac), d->next_mac);
	return netif_talk(nlh, NULL, NULL);
}

static int host_route(int index, const struct addr *hop)
{
	uint8_t req[NETIF_REQ_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct rtmsg *rt;
	int err;

	nlh->nlmsg_type = RTM_NEWROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	rt->rtm_family = hop->family;
	rt->rtm_dst_len = (uint8_t)(8 * addr_size(hop));
	rt->rtm_table = RT_TABLE_MAIN;
	/* Not NETIF_ROUTE_PROTO, which is the signal. */
	rt->rtm_protocol = RTPROT_STATIC;
	rt->rtm_scope = hop->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rt->rtm_type = RTN_UNICAST;
	mnl_attr_put(nlh, RTA_DST, addr_size(hop), hop->b);
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)index);
	err = netif_talk(nlh, NULL, NULL);
	return err == -EEXIST ? 0 : err;
}

/* All of it goes with the device, so none of it is noted. */
static int set_hops(struct netif *n, const struct device *d, int index)
{
	const struct addr *hop[2] = { d->inner4 ? &d->next4 : NULL, d->inner6 ? &d->next6 : NULL };
	char text[ADDR_STR];
	int err;

	if (d->inner4) {
		err = netif_host_addr(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &d->own4, index,
				      RT_SCOPE_LINK, 0, UINT32_MAX);
		if (err && err != -EEXIST)
			return netif_fail(n, err, "address %s on %s", addr_str(&d->own4, text), d->name);
	}
	for (unsigned int i = 0; i < 2; i++) {
		if (!hop[i])
			continue;
		err = d->ethernet ? neighbour(d, index, hop[i]) : 0;
		if (!err)
			err = host_route(index, hop[i]);
		/* vxlan is made for both, also where the kernel has no IPv6 */
		if (err && d->ethernet && hop[i] == &d->next6 &&
		    (err == -EAFNOSUPPORT || err == -EOPNOTSUPP))
			err = 0;
		if (err)
			return netif_fail(n, err, "next hop %s on %s", addr_str(hop[i], text), d->name);
	}
	return 0;
}

static int create_failed(struct netif *n, const struct device *d, int err)
{
	if (err == -EOPNOTSUPP)
		return netif_fail(n, err, "device %s: this kernel has no %s (module %s)", d->name,
				  d->kind, d->module);
	if (err == -EEXIST)
		return netif_fail(n, err, "device %s: there is another %s with the same addresses%s",
				  d->name, d->kind, d->ethernet ? " or the same VNI" : "");
	return netif_fail(n, err, "device %s (%s)", d->name, d->kind);
}

static int create(struct netif *n, const struct device *d, struct seen *s)
{
	struct change c = { .kind = CHANGE_LINK };
	bool ours = netif_find(n, CHANGE_LINK, d->name, NULL, NULL) >= 0;
	int err = 0;

	(void)netif_copy(c.interface, sizeof(c.interface), d->name);
	(void)netif_copy(c.link_kind, sizeof(c.link_kind), d->kind);
	if (!ours)
		err = netif_note(n, &c);
	if (err)
		return err;
	err = link_create(d);
	if (err) {
		if (!ours)
			(void)netif_forget(n, n->n - 1);
		return create_failed(n, d, err);
	}
	err = look(d, s);
	return err || s->index == 0 ? netif_fail(n, err ? err : -ENODEV, "device %s", d->name) : 0;
}

/* Its index, or -errno. */
static int device_ensure(struct netif *n, const struct device *d)
{
	struct seen s;
	int err = look(d, &s), i;

	if (err)
		return netif_fail(n, err, "device %s", d->name);
	if (s.index && !fits(&s)) {
		i = netif_find(n, CHANGE_LINK, d->name, NULL, NULL);
		if (i < 0 || strcmp(n->change[i].link_kind, d->kind) || !s.kind_fits)
			return netif_fail(n, -EEXIST, "device %s is somebody else's", d->name);
		err = netif_link_remove(d->name, d->kind);
		if (err)
			return netif_fail(n, err, "removing device %s", d->name);
		s.index = 0;
	}
	if (s.index == 0)
		err = create(n, d, &s);
	if (!err)
		err = set_sysctls(n, d);
	if (!err && ((s.flags & FLAGS_UP) != FLAGS_UP || s.mtu != d->mtu)) {
		err = link_up(d, s.index);
		if (err)	/* vxlan takes its UDP port here, not before */
			netif_fail(n, err, "setting device %s up%s", d->name, err == -EADDRINUSE ?
				   " (another program has its UDP port)" : "");
	}
	if (!err)
		err = set_hops(n, d, s.index);
	return err ? err : s.index;
}

static int fill(struct netif *n, struct device *d, const struct tunnel_want *w, struct rules_peer *p)
{
	int index = find_mtu(n, d, w);

	if (!index)
		index = device_ensure(n, d);
	if (index < 0)
		return index;
	/* Over IPv6 nothing is fragmented on the way out. */
	p->mtu = w->local.family == AF_INET6 && d->mtu <= UINT16_MAX ? (uint16_t)d->mtu : 0;
	if (d->inner4) {
		(void)netif_copy(p->dev4, sizeof(p->dev4), d->name);
		p->ifindex4 = index;
		p->addr4 = d->next4;
	}
	if (d->inner6) {
		(void)netif_copy(p->dev6, sizeof(p->dev6), d->name);
		p->ifindex6 = index;
		p->addr6 = d->next6;
	}
	return 0;
}

int tunnel_ensure(struct netif *n, const struct tunnel_want *w, struct rules_peer p[2])
{
	struct device d[3] = { 0 };
	unsigned int n_ipip = 0;
	int err = 0, e;

	assert(w->self >= 1 && w->self <= NODES_MAX && w->peer >= 1 && w->peer <= NODES_MAX &&
	       w->self != w->peer);
	memset(p, 0, 2 * sizeof(*p));
	p[0].id = p[1].id = w->peer;
	if (w->local.family != w->remote.family || !w->local.family)
		return netif_fail(n, -EINVAL, "tunnel to node %u", w->peer);
	if (w->local.family == AF_INET) {
		if (w->ipip4)
			want_ipv4(&d[n_ipip++], w, false);
		if (w->ipip6)
			want_ipv4(&d[n_ipip++], w, true);
	} else if (w->ipip4 || w->ipip6) {
		want_ip6tnl(&d[n_ipip++], w);
	}
	/* One that cannot be had must not keep the others away. */
	for (unsigned int i = 0; i < n_ipip; i++) {
		next_hops(&d[i], w, 193);
		e = fill(n, &d[i], w, &p[0]);
		err = err ? err : e;
	}
	if (w->vxlan) {
		want_vxlan(&d[2], w);
		next_hops(&d[2], w, 194);
		e = fill(n, &d[2], w, &p[1]);
		err = err ? err : e;
	}
	return err;
}

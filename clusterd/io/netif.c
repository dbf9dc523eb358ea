/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/netif.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "util/log.h"

#define PATH_SIZE     192	/* of an undo file, and of a sysctl below /proc/sys */
#define VALUE_SIZE    192	/* of a sysctl */
#define RT_BUF_SIZE   32768	/* the kernel fills up to this much per recv of a dump */
#define DUMP_TRIES    8
#define ANSWER_MS     2000

/*
 * One change.  They are undone newest first, so a sysctl that was set twice has two entries and
 * comes back to its first value by way of the second.
 */
enum change_kind { CHANGE_VIP, CHANGE_MADDR, CHANGE_SYSCTL };

struct change {
	enum change_kind kind;
	char interface[IFNAME_SIZE];		/* VIP, MADDR */
	struct addr vip;
	uint8_t mac[6];
	char path[PATH_SIZE];			/* SYSCTL */
	char before[VALUE_SIZE], after[VALUE_SIZE];
};

struct netif {
	char undo_path[PATH_SIZE];
	struct change *change;
	unsigned int n, room;
	char why[256];
};

static int fail(struct netif *n, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Notes what failed and returns 'err' (negative). */
static int fail(struct netif *n, int err, const char *fmt, ...)
{
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(n->why, sizeof(n->why), fmt, ap);
	va_end(ap);
	len = strlen(n->why);
	snprintf(n->why + len, sizeof(n->why) - len, ": %s", strerror(-err));
	return err;
}

const char *netif_strerror(const struct netif *n)
{
	return n->why;
}

/* ---- the undo file: one change per line, fields separated by tabs ---- */

static void mac_print(const uint8_t m[6], char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static bool mac_parse(const char *text, uint8_t m[6])
{
	char end;

	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &m[0], &m[1], &m[2], &m[3],
		      &m[4], &m[5], &end) == 6;
}

/* Only below /proc/sys, and nothing that would break a line of the undo file. */
static bool sysctl_path_valid(const char *path)
{
	return path[0] != '\0' && path[0] != '/' && strlen(path) < PATH_SIZE &&
	       !strstr(path, "..") && !strpbrk(path, "\t\n");
}

static void change_print(const struct change *c, FILE *f)
{
	char text[ADDR_STR], mac[18];

	switch (c->kind) {
	case CHANGE_VIP:
		fprintf(f, "vip\t%s\t%s\n", addr_str(&c->vip, text), c->interface);
		break;
	case CHANGE_MADDR:
		mac_print(c->mac, mac);
		fprintf(f, "maddr\t%s\t%s\n", mac, c->interface);
		break;
	case CHANGE_SYSCTL:
		fprintf(f, "sysctl\t%s\t%s\t%s\n", c->path, c->before, c->after);
		break;
	}
}

static bool copy_field(char *to, size_t size, const char *from)
{
	return from && (size_t)snprintf(to, size, "%s", from) < size;
}

/* 'line' without its newline is cut up. */
static bool change_parse(struct change *c, char *line)
{
	char *kind = strsep(&line, "\t"), *what = strsep(&line, "\t");

	memset(c, 0, sizeof(*c));
	if (!what || !line)
		return false;
	if (!strcmp(kind, "vip")) {
		c->kind = CHANGE_VIP;
		return addr_parse(&c->vip, what) == 0 && *line &&
		       copy_field(c->interface, sizeof(c->interface), line);
	}
	if (!strcmp(kind, "maddr")) {
		c->kind = CHANGE_MADDR;
		return mac_parse(what, c->mac) && *line &&
		       copy_field(c->interface, sizeof(c->interface), line);
	}
	if (!strcmp(kind, "sysctl")) {
		c->kind = CHANGE_SYSCTL;
		return sysctl_path_valid(what) && copy_field(c->path, sizeof(c->path), what) &&
		       copy_field(c->before, sizeof(c->before), strsep(&line, "\t")) &&
		       copy_field(c->after, sizeof(c->after), line);
	}
	return false;
}

/*
 * Replaces the file as a whole, so that a crash leaves the old or the new one.  No fsync: what it
 * describes does not survive a reboot either.
 */
static int undo_save(struct netif *n)
{
	char tmp[PATH_SIZE + 8];
	int fd, err = 0;
	FILE *f;

	if (n->n == 0) {
		if (unlink(n->undo_path) < 0 && errno != ENOENT)
			return fail(n, -errno, "cannot remove %s", n->undo_path);
		return 0;
	}
	snprintf(tmp, sizeof(tmp), "%s.new", n->undo_path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(n, -errno, "cannot create %s", tmp);
	f = fdopen(fd, "w");
	if (!f) {
		err = -errno;
		close(fd);
		return fail(n, err, "cannot write %s", tmp);
	}
	for (unsigned int i = 0; i < n->n; i++)
		change_print(&n->change[i], f);
	if (ferror(f))
		err = -EIO;
	if (fclose(f) != 0 && !err)
		err = -errno;
	if (!err && rename(tmp, n->undo_path) < 0)
		err = -errno;
	return err ? fail(n, err, "cannot write %s", n->undo_path) : 0;
}

static int change_append(struct netif *n, const struct change *c)
{
	if (n->n == n->room) {
		unsigned int room = n->room ? 2 * n->room : 16;
		struct change *p = reallocarray(n->change, room, sizeof(*p));

		if (!p)
			return fail(n, -ENOMEM, "cannot note a change");
		n->change = p;
		n->room = room;
	}
	n->change[n->n++] = *c;
	return 0;
}

/* Notes a change on disk before it is made. */
static int change_note(struct netif *n, const struct change *c)
{
	int err = change_append(n, c);

	if (err)
		return err;
	err = undo_save(n);
	if (err)
		n->n--;
	return err;
}

/* Forgets one change after it was undone (or not made). */
static int change_forget(struct netif *n, unsigned int i)
{
	assert(i < n->n);
	memmove(&n->change[i], &n->change[i + 1], (n->n - i - 1) * sizeof(*n->change));
	n->n--;
	return undo_save(n);
}

static int undo_load(struct netif *n)
{
	char *line = NULL;
	unsigned int number = 0;
	size_t size = 0;
	ssize_t len;
	int err = 0;
	FILE *f;

	f = fopen(n->undo_path, "re");
	if (!f)
		return errno == ENOENT ? 0 : -errno;
	while (!err && (len = getline(&line, &size, f)) > 0) {
		struct change c;

		number++;
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (change_parse(&c, line))
			err = change_append(n, &c);
		else
			log_msg(LOG_WARNING, "netif", "%s line %u is garbled: ignored",
				n->undo_path, number);
	}
	free(line);
	fclose(f);
	return err;
}

int netif_open(struct netif **out, const char *undo_path)
{
	struct netif *n = calloc(1, sizeof(*n));
	int err;

	*out = NULL;
	if (!n)
		return -ENOMEM;
	if (!copy_field(n->undo_path, sizeof(n->undo_path), undo_path)) {
		free(n);
		return -ENAMETOOLONG;
	}
	err = undo_load(n);
	if (err) {
		netif_close(n);
		return err;
	}
	*out = n;
	return 0;
}

void netif_close(struct netif *n)
{
	if (!n)
		return;
	free(n->change);
	free(n);
}

/* ---- rtnetlink ---- */

/*
 * One request and its answer on a socket of its own: there are few, and an answer that was given up
 * on cannot be taken for that of the next request.  'nlh' gets its sequence number here.
 */
static int rt_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	const struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
	static const unsigned int seq = 1;
	struct mnl_socket *nl;
	int err = 0, ret;
	char *buf;

	buf = malloc(RT_BUF_SIZE);
	if (!buf)
		return -ENOMEM;
	nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl) {
		err = -errno;
		free(buf);
		return err;
	}
	nlh->nlmsg_seq = seq;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0) {
		err = -errno;
		goto out;
	}
	do {
		ssize_t got = mnl_socket_recvfrom(nl, buf, RT_BUF_SIZE);

		if (got < 0) {
			err = errno == EAGAIN ? -ETIMEDOUT : -errno;
			break;
		}
		ret = mnl_cb_run(buf, (size_t)got, seq, mnl_socket_get_portid(nl), cb, arg);
		if (ret < 0)
			err = -errno;
	} while (ret > MNL_CB_STOP);
out:
	mnl_socket_close(nl);
	free(buf);
	return err;
}

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

static int addr_msg(const struct nlmsghdr *nlh, void *data)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct addr_walk *walk = data;
	const struct nlattr *attr, *address = NULL, *local = NULL;
	struct addr_entry e = { 0 };

	if (nlh->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa))
		return MNL_CB_OK;
	e.index = (int)ifa->ifa_index;
	e.prefix = ifa->ifa_prefixlen;
	e.scope = ifa->ifa_scope;
	e.flags = ifa->ifa_flags;
	e.addr.family = ifa->ifa_family;
	mnl_attr_for_each(attr, nlh, sizeof(*ifa)) {
		if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			address = attr;
		else if (mnl_attr_get_type(attr) == IFA_LOCAL)
			local = attr;
		else if (mnl_attr_get_type(attr) == IFA_FLAGS)
			e.flags = mnl_attr_get_u32(attr);
	}
	/* On point-to-point links IFA_ADDRESS is the other end. */
	if (local)
		address = local;
	if (!address || addr_size(&e.addr) == 0 ||
	    mnl_attr_get_payload_len(address) != addr_size(&e.addr))
		return MNL_CB_OK;
	memcpy(e.addr.b, mnl_attr_get_payload(address), addr_size(&e.addr));
	walk->each(walk->arg, &e);
	return MNL_CB_OK;
}

static int addr_for_each(uint8_t family, struct addr_walk *walk)
{
	uint8_t req[MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct ifaddrmsg))]
		__attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ifaddrmsg *ifa;

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = family;
	return rt_talk(nlh, addr_msg, walk);
}

/* ---- netif_info ---- */

struct info_walk {
	struct netif_info *info;
	const struct addr *skip;
	unsigned int n_skip;
	struct addr global6;
};

static void info_addr(void *arg, const struct addr_entry *e)
{
	struct info_walk *w = arg;

	if (e->index != w->info->index || (e->flags & IFA_F_DADFAILED))
		return;
	for (unsigned int i = 0; i < w->n_skip; i++)
		if (addr_cmp(&w->skip[i], &e->addr) == 0)
			return;
	if (e->addr.family == AF_INET) {
		if (!w->info->addr4.family && e->scope == RT_SCOPE_UNIVERSE)
			w->info->addr4 = e->addr;
	} else if (e->scope == RT_SCOPE_LINK) {
		if (!w->info->addr6.family)
			w->info->addr6 = e->addr;
	} else if (e->scope == RT_SCOPE_UNIVERSE) {
		if (!w->global6.family)
			w->global6 = e->addr;
	}
}

static int link_msg(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct netif_info *info = data;
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return MNL_CB_OK;
	info->index = ifi->ifi_index;
	info->up = (ifi->ifi_flags & IFF_UP) && (ifi->ifi_flags & IFF_RUNNING);
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		if (mnl_attr_get_type(attr) == IFLA_MTU)
			info->mtu = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == IFLA_ADDRESS &&
			 mnl_attr_get_payload_len(attr) == sizeof(info->mac))
			memcpy(info->mac, mnl_attr_get_payload(attr), sizeof(info->mac));
	}
	return MNL_CB_OK;
}

int netif_info(struct netif *n, const char *interface, const struct addr *skip, unsigned int n_skip,
	       struct netif_info *out)
{
	uint8_t req[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct netif_info info = { 0 };
	struct info_walk w = { .skip = skip, .n_skip = n_skip };
	struct addr_walk walk = { .each = info_addr, .arg = &w };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	int err;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, interface);
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	err = strlen(interface) < IFNAME_SIZE ? rt_talk(nlh, link_msg, &info) : -ENODEV;
	if (err)
		return fail(n, err, "interface %.32s", interface);
	for (unsigned int i = 0; i < DUMP_TRIES; i++) {
		memset(&info.addr4, 0, sizeof(info.addr4));
		memset(&info.addr6, 0, sizeof(info.addr6));
		memset(&w.global6, 0, sizeof(w.global6));
		w.info = &info;
		err = addr_for_each(AF_UNSPEC, &walk);
		if (err != -EINTR)	/* EINTR: the list changed under the dump */
			break;
	}
	if (err)
		return fail(n, err, "addresses of %s", interface);
	if (!info.addr6.family)
		info.addr6 = w.global6;
	*out = info;
	return 0;
}

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

	for (unsigned int i = 0; err == -EINTR && i < DUMP_TRIES; i++) {
		w->there = w->foreign = false;
		err = addr_for_each(w->vip.family, &walk);
	}
	return err;
}

/* RTM_NEWADDR or RTM_DELADDR for a host address. */
static int vip_change(uint16_t type, uint16_t flags, const struct addr *vip, int index)
{
	const struct ifa_cacheinfo lifetime = { .ifa_prefered = 0, .ifa_valid = UINT32_MAX };
	uint8_t req[256] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ifaddrmsg *ifa;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = vip->family;
	ifa->ifa_prefixlen = (uint8_t)(8 * addr_size(vip));
	ifa->ifa_index = (unsigned int)index;
	mnl_attr_put(nlh, IFA_LOCAL, addr_size(vip), vip->b);
	mnl_attr_put(nlh, IFA_ADDRESS, addr_size(vip), vip->b);
	if (vip->family == AF_INET) {
		/* Scope host: or an interface without an address would take it as its source. */
		ifa->ifa_scope = RT_SCOPE_HOST;
	} else {
		/*
		 * nodad: every node has it, that is the point.  Preferred lifetime 0 makes it
		 * deprecated: never chosen as the source of a connection of our own (RFC 4862
		 * section 5.5.4).
		 */
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD);
		if (type == RTM_NEWADDR)
			mnl_attr_put(nlh, IFA_CACHEINFO, sizeof(lifetime), &lifetime);
	}
	return rt_talk(nlh, NULL, NULL);
}

static const char *vip_home(const struct addr *vip, const char *interface)
{
	return vip->family == AF_INET ? "lo" : interface;
}

static int vip_find(const struct netif *n, const struct addr *vip, const char *home)
{
	for (unsigned int i = 0; i < n->n; i++)
		if (n->change[i].kind == CHANGE_VIP && addr_cmp(&n->change[i].vip, vip) == 0 &&
		    !strcmp(n->change[i].interface, home))
			return (int)i;
	return -1;
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
	if (w.index == 0 || !copy_field(c.interface, sizeof(c.interface), home))
		return fail(n, -ENODEV, "VIP %s: interface %.32s", text, home);
	err = vip_look(&w);
	if (err)
		return fail(n, err, "VIP %s: cannot list addresses", text);
	if (w.foreign)
		return fail(n, -EADDRINUSE, "VIP %s is configured with another prefix length", text);
	if (w.there)
		return 0;
	ours = vip_find(n, vip, home) >= 0;	/* somebody took it away */
	if (!ours) {
		err = change_note(n, &c);
		if (err)
			return err;
	}
	err = vip_change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, vip, w.index);
	if (err && !ours)
		(void)change_forget(n, n->n - 1);
	if (err == -EEXIST)	/* somebody was faster: it is theirs */
		return 0;
	return err ? fail(n, err, "VIP %s on %s", text, home) : 0;
}

/* An address or an interface that is gone is what we wanted. */
static int vip_remove(const struct addr *vip, const char *home)
{
	int index = (int)if_nametoindex(home), err;

	if (index == 0)
		return 0;
	err = vip_change(RTM_DELADDR, 0, vip, index);
	return err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

int netif_vip_del(struct netif *n, const struct addr *vip, const char *interface)
{
	const char *home = vip_home(vip, interface);
	int i = vip_find(n, vip, home), err;
	char text[ADDR_STR];

	if (i < 0)
		return 0;
	err = vip_remove(vip, home);
	if (err)
		return fail(n, err, "removing VIP %s from %s", addr_str(vip, text), home);
	return change_forget(n, (unsigned int)i);
}

/* ---- link-layer multicast ---- */

static int maddr_ioctl(unsigned long request, const char *interface, const uint8_t mac[6])
{
	struct ifreq ifr = { 0 };
	int fd, err = 0;

	if (!copy_field(ifr.ifr_name, sizeof(ifr.ifr_name), interface))
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

static int maddr_find(const struct netif *n, const char *interface, const uint8_t mac[6])
{
	for (unsigned int i = 0; i < n->n; i++)
		if (n->change[i].kind == CHANGE_MADDR && !memcmp(n->change[i].mac, mac, 6) &&
		    !strcmp(n->change[i].interface, interface))
			return (int)i;
	return -1;
}

int netif_maddr_add(struct netif *n, const char *interface, const uint8_t mac[6])
{
	struct change c = { .kind = CHANGE_MADDR };
	bool ours = maddr_find(n, interface, mac) >= 0;
	char text[18];
	int err;

	mac_print(mac, text);
	if (!copy_field(c.interface, sizeof(c.interface), interface))
		return fail(n, -ENODEV, "interface %.32s", interface);
	memcpy(c.mac, mac, 6);
	if (!ours) {
		err = maddr_there(interface, mac);
		if (err > 0)
			return 0;
		if (!err)
			err = change_note(n, &c);
		if (err)
			return fail(n, err, "joining %s on %s", text, interface);
	}
	err = maddr_ioctl(SIOCADDMULTI, interface, mac);
	if (!err)
		return 0;
	if (!ours)
		(void)change_forget(n, n->n - 1);
	return fail(n, err, "joining %s on %s", text, interface);
}

static int maddr_remove(const char *interface, const uint8_t mac[6])
{
	int err = maddr_ioctl(SIOCDELMULTI, interface, mac);

	return err == -ENOENT || err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

int netif_maddr_del(struct netif *n, const char *interface, const uint8_t mac[6])
{
	int i = maddr_find(n, interface, mac), err;
	char text[18];

	if (i < 0)
		return 0;
	err = maddr_remove(interface, mac);
	mac_print(mac, text);
	if (err)
		return fail(n, err, "leaving %s on %s", text, interface);
	return change_forget(n, (unsigned int)i);
}

/* ---- sysctls ---- */

static int sysctl_open(const char *path, int flags)
{
	char full[PATH_SIZE + 16];
	int fd;

	snprintf(full, sizeof(full), "/proc/sys/%s", path);
	fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* One line, runs of white space as one blank: the kernel prints lists with tabs. */
static void squeeze(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s != ' ' && *s != '\t' && *s != '\n')
			*to++ = *s;
		else if (s[1] && s[1] != ' ' && s[1] != '\t' && s[1] != '\n')
			*to++ = ' ';
	}
	*to = '\0';
}

static int sysctl_read(const char *path, char value[VALUE_SIZE])
{
	int fd = sysctl_open(path, O_RDONLY), err = 0;
	ssize_t got;

	if (fd < 0)
		return fd;
	got = read(fd, value, VALUE_SIZE);
	if (got < 0)
		err = -errno;
	else if (got == VALUE_SIZE)
		err = -EFBIG;
	else
		value[got] = '\0';
	close(fd);
	if (!err)
		squeeze(value);
	return err;
}

static int sysctl_write(const char *path, const char *value)
{
	int fd = sysctl_open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return fd;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int netif_sysctl_set(struct netif *n, const char *path, const char *value)
{
	struct change c = { .kind = CHANGE_SYSCTL };
	char now[VALUE_SIZE];
	int err;

	if (!sysctl_path_valid(path) || !copy_field(c.path, sizeof(c.path), path) ||
	    !copy_field(c.after, sizeof(c.after), value))
		return fail(n, -EINVAL, "sysctl %.64s", path);
	squeeze(c.after);
	err = sysctl_read(path, c.before);
	if (err)
		return fail(n, err, "reading sysctl %s", path);
	if (!strcmp(c.before, c.after))
		return 0;
	err = change_note(n, &c);
	if (err)
		return err;
	err = sysctl_write(path, c.after);
	if (!err)
		err = sysctl_read(path, now);
	/* A value that the kernel changed on the way in would not be known as ours later. */
	if (!err && strcmp(now, c.after)) {
		(void)sysctl_write(path, c.before);
		err = -ERANGE;
	}
	if (!err)
		return 0;
	(void)change_forget(n, n->n - 1);
	return fail(n, err, "setting sysctl %s to %s", path, c.after);
}

/* Puts the old value back unless somebody else has set another one since. */
static int sysctl_undo(const struct change *c)
{
	char now[VALUE_SIZE];
	int err = sysctl_read(c->path, now);

	if (err == -ENOENT)	/* its interface or module is gone */
		return 0;
	if (err || strcmp(now, c->after))
		return err;
	return sysctl_write(c->path, c->before);
}

/* ---- undo ---- */

static int change_undo(struct netif *n, const struct change *c)
{
	char text[ADDR_STR];
	int err = 0;

	switch (c->kind) {
	case CHANGE_VIP:
		err = vip_remove(&c->vip, c->interface);
		if (err)
			fail(n, err, "removing VIP %s from %s", addr_str(&c->vip, text), c->interface);
		break;
	case CHANGE_MADDR:
		err = maddr_remove(c->interface, c->mac);
		if (err)
			fail(n, err, "leaving a multicast address on %s", c->interface);
		break;
	case CHANGE_SYSCTL:
		err = sysctl_undo(c);
		if (err)
			fail(n, err, "putting sysctl %s back to %s", c->path, c->before);
		break;
	}
	return err;
}

int netif_undo(struct netif *n)
{
	int err = 0, e;

	/* What cannot be undone stays in the file, and must not keep the rest from being undone. */
	for (unsigned int i = n->n; i-- > 0;) {
		e = change_undo(n, &n->change[i]);
		if (!e)
			e = change_forget(n, i);
		if (e && !err)
			err = e;
	}
	return err;
}

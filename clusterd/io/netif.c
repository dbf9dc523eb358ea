/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/netif.h"
#include "io/netif_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "util/log.h"

#define RT_BUF_SIZE   32768	/* the kernel fills up to this much per recv of a dump */
#define ANSWER_MS     2000

int netif_fail(struct netif *n, int err, const char *fmt, ...)
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

void netif_mac_print(const uint8_t m[6], char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static bool mac_parse(const char *text, uint8_t m[6])
{
	char end;

	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &m[0], &m[1], &m[2], &m[3],
		      &m[4], &m[5], &end) == 6;
}

static void change_print(const struct change *c, FILE *f)
{
	char text[ADDR_STR], mac[18];

	switch (c->kind) {
	case CHANGE_VIP:
		fprintf(f, "vip\t%s\t%s\n", addr_str(&c->vip, text), c->interface);
		break;
	case CHANGE_MADDR:
		netif_mac_print(c->mac, mac);
		fprintf(f, "maddr\t%s\t%s\n", mac, c->interface);
		break;
	case CHANGE_SYSCTL:
		fprintf(f, "sysctl\t%s\t%s\t%s\n", c->path, c->before, c->after);
		break;
	case CHANGE_ROUTE:
		fprintf(f, "route\t%s\t%s\n", addr_str(&c->vip, text), c->interface);
		break;
	case CHANGE_LINK:
		fprintf(f, "link\t%s\t%s\n", c->link_kind, c->interface);
		break;
	}
}

bool netif_copy(char *to, size_t size, const char *from)
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
	if (!strcmp(kind, "vip") || !strcmp(kind, "route")) {
		c->kind = kind[0] == 'v' ? CHANGE_VIP : CHANGE_ROUTE;
		return addr_parse(&c->vip, what) == 0 && *line &&
		       netif_copy(c->interface, sizeof(c->interface), line);
	}
	if (!strcmp(kind, "maddr")) {
		c->kind = CHANGE_MADDR;
		return mac_parse(what, c->mac) && *line &&
		       netif_copy(c->interface, sizeof(c->interface), line);
	}
	if (!strcmp(kind, "sysctl")) {
		c->kind = CHANGE_SYSCTL;
		return netif_sysctl_path_valid(what) && netif_copy(c->path, sizeof(c->path), what) &&
		       netif_copy(c->before, sizeof(c->before), strsep(&line, "\t")) &&
		       netif_copy(c->after, sizeof(c->after), line);
	}
	if (!strcmp(kind, "link")) {
		c->kind = CHANGE_LINK;
		return *what && netif_copy(c->link_kind, sizeof(c->link_kind), what) && *line &&
		       netif_copy(c->interface, sizeof(c->interface), line);
	}
	return false;
}

/*
 * Replaces the file as a whole, so that a crash leaves the old or the new one.  No fsync: what it
 * describes does not survive a reboot either.
 */
static int undo_save(struct netif *n)
{
	char tmp[NETIF_PATH_SIZE + 8];
	int fd, err = 0;
	FILE *f;

	if (n->n == 0) {
		if (unlink(n->undo_path) < 0 && errno != ENOENT)
			return netif_fail(n, -errno, "cannot remove %s", n->undo_path);
		return 0;
	}
	snprintf(tmp, sizeof(tmp), "%s.new", n->undo_path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return netif_fail(n, -errno, "cannot create %s", tmp);
	f = fdopen(fd, "w");
	if (!f) {
		err = -errno;
		close(fd);
		return netif_fail(n, err, "cannot write %s", tmp);
	}
	for (unsigned int i = 0; i < n->n; i++)
		change_print(&n->change[i], f);
	if (ferror(f))
		err = -EIO;
	if (fclose(f) != 0 && !err)
		err = -errno;
	if (!err && rename(tmp, n->undo_path) < 0)
		err = -errno;
	return err ? netif_fail(n, err, "cannot write %s", n->undo_path) : 0;
}

static int change_append(struct netif *n, const struct change *c)
{
	if (n->n == n->room) {
		unsigned int room = n->room ? 2 * n->room : 16;
		struct change *p = reallocarray(n->change, room, sizeof(*p));

		if (!p)
			return netif_fail(n, -ENOMEM, "cannot note a change");
		n->change = p;
		n->room = room;
	}
	n->change[n->n++] = *c;
	return 0;
}

int netif_note(struct netif *n, const struct change *c)
{
	int err = change_append(n, c);

	if (err)
		return err;
	err = undo_save(n);
	if (err)
		n->n--;
	return err;
}

int netif_forget(struct netif *n, unsigned int i)
{
	assert(i < n->n);
	memmove(&n->change[i], &n->change[i + 1], (n->n - i - 1) * sizeof(*n->change));
	n->n--;
	return undo_save(n);
}

int netif_find(const struct netif *n, enum change_kind kind, const char *interface,
	       const struct addr *vip, const uint8_t *mac)
{
	for (unsigned int i = 0; i < n->n; i++) {
		const struct change *c = &n->change[i];

		if (c->kind == kind && !strcmp(c->interface, interface) &&
		    (!vip || addr_cmp(&c->vip, vip) == 0) && (!mac || !memcmp(c->mac, mac, 6)))
			return (int)i;
	}
	return -1;
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
	if (!netif_copy(n->undo_path, sizeof(n->undo_path), undo_path)) {
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
	netif_groups_leave(n);
	free(n->group);
	free(n->change);
	free(n);
}

/* ---- rtnetlink ---- */

int netif_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
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

int netif_each_addr(uint8_t family, struct addr_walk *walk)
{
	uint8_t req[MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct ifaddrmsg))]
		__attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(req);
	struct ifaddrmsg *ifa;

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = family;
	return netif_talk(nlh, addr_msg, walk);
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
	err = strlen(interface) < IFNAME_SIZE ? netif_talk(nlh, link_msg, &info) : -ENODEV;
	if (err)
		return netif_fail(n, err, "interface %.32s", interface);
	for (unsigned int i = 0; i < NETIF_DUMP_TRIES; i++) {
		memset(&info.addr4, 0, sizeof(info.addr4));
		memset(&info.addr6, 0, sizeof(info.addr6));
		memset(&w.global6, 0, sizeof(w.global6));
		w.info = &info;
		err = netif_each_addr(AF_UNSPEC, &walk);
		if (err != -EINTR)	/* EINTR: the list changed under the dump */
			break;
	}
	if (err)
		return netif_fail(n, err, "addresses of %s", interface);
	if (!info.addr6.family)
		info.addr6 = w.global6;
	*out = info;
	return 0;
}

/* ---- undo ---- */

static int change_undo(struct netif *n, const struct change *c)
{
	char text[ADDR_STR];
	int err = 0;

	switch (c->kind) {
	case CHANGE_VIP:
		err = netif_vip_remove(&c->vip, c->interface);
		if (err)
			netif_fail(n, err, "removing VIP %s from %s", addr_str(&c->vip, text),
				   c->interface);
		break;
	case CHANGE_ROUTE:
		err = netif_route_remove(&c->vip, c->interface);
		if (err)
			netif_fail(n, err, "removing the route to VIP %s", addr_str(&c->vip, text));
		break;
	case CHANGE_MADDR:
		err = netif_maddr_remove(c->interface, c->mac);
		if (err)
			netif_fail(n, err, "leaving a shared MAC address on %s", c->interface);
		break;
	case CHANGE_SYSCTL:
		err = netif_sysctl_undo(c);
		if (err)
			netif_fail(n, err, "putting sysctl %s back to %s", c->path, c->before);
		break;
	case CHANGE_LINK:
		err = netif_link_remove(c->interface, c->link_kind);
		if (err)
			netif_fail(n, err, "removing device %s", c->interface);
		break;
	}
	return err;
}

int netif_undo(struct netif *n)
{
	int err = 0, e;

	netif_groups_leave(n);
	/* What cannot be undone stays in the file, and must not keep the rest from being undone. */
	for (unsigned int i = n->n; i-- > 0;) {
		e = change_undo(n, &n->change[i]);
		if (!e)
			e = netif_forget(n, i);
		if (e && !err)
			err = e;
	}
	return err;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Facts about this machine, read and not judged.  What cannot be read stays unknown. */
#include "io/doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <unistd.h>

#include "io/key.h"
#include "io/rules.h"

#define COROSYNC_CONF "/etc/corosync/corosync.conf"

/* One line of a file, without its newline; false: cannot be read. */
static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool got = f && fgets(buf, (int)size, f);

	if (f)
		fclose(f);
	if (got)
		buf[strcspn(buf, "\n")] = '\0';
	else
		*buf = '\0';
	return got;
}

static int64_t read_number(const char *path)
{
	char text[32], *end;
	long long v;

	if (!read_line(path, text, sizeof(text)))
		return UNKNOWN;
	v = strtoll(text, &end, 10);
	return end == text ? UNKNOWN : v;
}

/* A number below 'dir'/'name'. */
static int number_in(const char *dir, const char *name, const char *key)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s/%s", dir, name, key);
	return (int)read_number(path);
}

#define CONF4 "/proc/sys/net/ipv4/conf"
#define CONF6 "/proc/sys/net/ipv6/conf"
#define CT    "/proc/sys/net", "netfilter"

/* The last part of where a link points to. */
static void read_link(const char *path, char *buf, size_t size)
{
	char to[256];
	ssize_t n = readlink(path, to, sizeof(to) - 1);
	const char *last;

	*buf = '\0';
	if (n <= 0)
		return;
	to[n] = '\0';
	last = strrchr(to, '/');
	snprintf(buf, size, "%.*s", (int)size - 1, last ? last + 1 : to);
}

/* ---- interfaces ---- */

static void look_ethtool(int fd, struct doctor_if *i)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, i->name, IFNAME_SIZE);
	ifr.ifr_data = (void *)&info;
	if (!ioctl(fd, SIOCETHTOOL, &ifr))
		snprintf(i->driver, sizeof(i->driver), "%.31s", info.driver);
	ifr.ifr_data = (void *)&flags;
	i->lro = ioctl(fd, SIOCETHTOOL, &ifr) ? UNKNOWN : !!(flags.data & ETH_FLAG_LRO);
}

static void look_interface(struct doctor_if *i)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };
	char path[128];

	i->lro = UNKNOWN;
	if (fd < 0)
		return;
	memcpy(ifr.ifr_name, i->name, IFNAME_SIZE);
	i->exists = !ioctl(fd, SIOCGIFFLAGS, &ifr);
	if (i->exists) {
		i->up = (ifr.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
		if (!ioctl(fd, SIOCGIFMTU, &ifr))
			i->mtu = (unsigned int)ifr.ifr_mtu;
		look_ethtool(fd, i);
	}
	close(fd);
	i->rp_filter = number_in(CONF4, i->name, "rp_filter");
	i->arp_ignore = number_in(CONF4, i->name, "arp_ignore");
	i->disable_ipv6 = number_in(CONF6, i->name, "disable_ipv6");
	i->snooping = number_in("/sys/class/net", i->name, "bridge/multicast_snooping");
	snprintf(path, sizeof(path), "/sys/class/net/%s/master", i->name);
	read_link(path, i->master, sizeof(i->master));
}

static unsigned int add_interface(struct doctor_facts *f, const char *name)
{
	for (unsigned int k = 0; k < f->n_ifs; k++)
		if (!strcmp(f->iface[k].name, name))
			return k;
	snprintf(f->iface[f->n_ifs].name, IFNAME_SIZE, "%.15s", name);
	look_interface(&f->iface[f->n_ifs]);
	return f->n_ifs++;
}

static void look_interfaces(struct doctor_facts *f, const struct conf *c)
{
	char own[IFNAME_SIZE] = "";

	f->self = conf_local_node(c, own, &f->self_why);
	for (unsigned int i = 0; i < c->n_services; i++) {
		const char *name = c->service[i].interface[0] ? c->service[i].interface : own;

		f->service_if[i] = add_interface(f, name);
	}
	if (own[0])
		f->own_mtu = f->iface[add_interface(f, own)].mtu;
}

/* ---- corosync ---- */

/* A process of that name in our network namespace? */
static int look_corosync(void)
{
	char path[64], name[32], ours[64], theirs[64];
	DIR *proc = opendir("/proc");
	struct dirent *e;
	int found = 0;

	if (!proc)
		return UNKNOWN;
	read_link("/proc/self/ns/net", ours, sizeof(ours));
	while (!found && (e = readdir(proc))) {
		if (!isdigit((unsigned char)*e->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/comm", e->d_name);
		if (!read_line(path, name, sizeof(name)) || strcmp(name, "corosync"))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/ns/net", e->d_name);
		read_link(path, theirs, sizeof(theirs));
		found = !*theirs || !strcmp(ours, theirs);	/* without root it cannot be read */
	}
	closedir(proc);
	return found;
}

/* "token:" of corosync.conf; 0: not there. */
static int look_token(void)
{
	FILE *f = fopen(COROSYNC_CONF, "re");
	char line[256];
	int token = 0;

	if (!f)
		return UNKNOWN;
	while (!token && fgets(line, sizeof(line), f))
		if (sscanf(line, " token: %d", &token) != 1)
			token = 0;
	fclose(f);
	return token;
}

/* ---- the rest ---- */

static void look_lockdown(struct doctor_facts *f)
{
	char text[128], *open, *close;

	if (!read_line("/sys/kernel/security/lockdown", text, sizeof(text)))
		return;
	open = strchr(text, '[');
	close = open ? strchr(open, ']') : NULL;
	if (close)
		snprintf(f->lockdown, sizeof(f->lockdown), "%.*s", (int)(close - open - 1), open + 1);
}

static int look_clock(void)
{
	struct timex t = { .modes = 0 };
	int state = adjtimex(&t);

	return state < 0 ? UNKNOWN : state != TIME_ERROR && !(t.status & STA_UNSYNC);
}

static void look_key(struct doctor_facts *f, const struct conf *c)
{
	struct key key;

	f->key_err = key_read(&key, c->key_file, c->name, f->key_why);
	explicit_bzero(&key, sizeof(key));
}

void doctor_look(struct doctor_facts *f, const struct conf *c)
{
	memset(f, 0, sizeof(*f));
	f->root = geteuid() == 0;
	look_interfaces(f, c);
	f->rp_filter_all = number_in(CONF4, "all", "rp_filter");
	f->arp_ignore_all = number_in(CONF4, "all", "arp_ignore");
	f->tcp_loose = number_in(CT, "nf_conntrack_tcp_loose");
	f->be_liberal = number_in(CT, "nf_conntrack_tcp_be_liberal");
	f->ct_max = number_in(CT, "nf_conntrack_max");
	f->ct_count = number_in(CT, "nf_conntrack_count");
	read_line("/sys/class/dmi/id/sys_vendor", f->vendor, sizeof(f->vendor));
	look_lockdown(f);
	f->corosync = look_corosync();
	f->token_ms = look_token();
	f->clock_synced = look_clock();
	look_key(f, c);
	if (!f->root)
		return;
	f->rules_err = rules_probe(f->rules_why, sizeof(f->rules_why));
	doctor_features(doctor_needs(c), f->feature);
}

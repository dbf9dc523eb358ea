// SPDX-License-Identifier: GPL-2.0-or-later
#include "setup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"

#define LOCK_FILE        SETUP_DIR "/clusterd.lock"
#define UNDO_FILE        SETUP_DIR "/undo"
#define INCARNATION_FILE SETUP_DIR "/incarnation"

#define ERR(...) log_msg(LOG_ERR, "start", __VA_ARGS__)

static const char *hint(int err)
{
	return err == -EPERM || err == -EACCES ? " (run clusterd as root, or give it CAP_NET_ADMIN)" : "";
}

/* ---- lock ---- */

static int lock_refused(int fd)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	if (n > 0)
		pid[strcspn(pid, "\n")] = '\0';
	ERR("another clusterd is already running (pid %s)", pid[0] ? pid : "?");
	return -EBUSY;
}

/* A lock on a file that its last owner has unlinked in the meantime is worth nothing. */
static bool still_there(int fd)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(LOCK_FILE, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int setup_lock(struct setup *s)
{
	char pid[16];
	int fd, len, err;

	s->lock_fd = -1;
	if (mkdir(SETUP_DIR, 0755) < 0 && errno != EEXIST) {
		err = -errno;
		ERR("cannot create %s: %s%s", SETUP_DIR, strerror(-err), hint(err));
		return err;
	}
	for (;;) {
		fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (fd < 0) {
			err = -errno;
			ERR("cannot open %s: %s%s", LOCK_FILE, strerror(-err), hint(err));
			return err;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			err = errno == EWOULDBLOCK ? lock_refused(fd) : -errno;
			close(fd);
			return err;
		}
		if (still_there(fd))
			break;
		close(fd);
	}
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
		log_msg(LOG_WARNING, "start", "cannot write %s: %s", LOCK_FILE, strerror(errno));
	s->lock_fd = fd;
	return 0;
}

/* ---- incarnation ---- */

int setup_incarnation(uint64_t config, uint64_t *incarnation, bool *same_config)
{
	uint64_t last = 0, last_config = 0;
	struct timespec ts;
	int err = 0;
	FILE *f;

	f = fopen(INCARNATION_FILE, "re");
	if (f) {
		if (fscanf(f, "%" SCNu64 " %" SCNx64, &last, &last_config) != 2)
			last_config = 0;
		fclose(f);
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	*incarnation = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	if (*incarnation <= last)	/* the clock went back */
		*incarnation = last + 1;
	*same_config = last_config == config;

	f = fopen(INCARNATION_FILE ".new", "we");
	if (!f || fprintf(f, "%" PRIu64 " %016" PRIx64 "\n", *incarnation, config) < 0)
		err = -errno;
	if (f && fclose(f) && !err)
		err = -errno;
	if (!err && rename(INCARNATION_FILE ".new", INCARNATION_FILE) < 0)
		err = -errno;
	if (err)
		ERR("cannot write %s: %s", INCARNATION_FILE, strerror(-err));
	return err;
}

/* ---- start ---- */

static int check_interfaces(struct setup *s, const struct rules_want *want)
{
	struct netif_info info;

	for (unsigned int i = 0; i < want->n_services; i++) {
		const struct rules_service *v = &want->service[i];
		int err = netif_info(s->netif, v->interface, s->vip, s->n_vips, &info);

		if (err) {
			ERR("service %s: %s", v->conf->name, err == -ENODEV ?
			    "there is no such interface; see 'interface' in clusterd.ini(5)" :
			    netif_strerror(s->netif));
			return err;
		}
		if (!info.up)
			log_msg(LOG_WARNING, "start", "interface %s is down", v->interface);
	}
	return 0;
}

static int open_changes(struct setup *s)
{
	int err = netif_open(&s->netif, UNDO_FILE);

	if (err)
		ERR("cannot read %s: %s", UNDO_FILE, strerror(-err));
	return err;
}

static int open_rules(struct setup *s)
{
	int err = rules_open(&s->rules, NULL);

	if (err)
		ERR("cannot open a netfilter socket: %s%s", strerror(-err), hint(err));
	return err;
}

static int open_tables(struct setup *s, const struct rules_want *want)
{
	char interface[RULES_INTERFACES_MAX][IFNAME_SIZE];
	unsigned int n = rules_interfaces(want, interface, RULES_INTERFACES_MAX);
	int err = open_rules(s);

	if (err)
		return err;
	err = rules_guard_install(s->rules, want);
	if (err) {
		ERR("cannot install the guard: %s%s", rules_strerror(s->rules), hint(err));
		return err;
	}
	err = lease_table_open(&s->lease, interface, n);
	if (err) {
		ERR("cannot install the lease table: %s%s", strerror(-err), err == -ENOENT ||
		    err == -EOPNOTSUPP ? " (does this kernel have nf_tables with netdev ingress?)" : hint(err));
		return err;
	}
	return 0;
}

/* Before the rules: from the first of them on, nobody else's mark must get through. */
static void open_early(struct setup *s, struct rules_want *want)
{
	char why[256];

	if (!want->early)
		return;
	if (early_open(&s->early, want, why, sizeof(why))) {
		log_msg(LOG_NOTICE, "start", "no fast path, all packets take the rules: %s", why);
		want->early = false;
		return;
	}
	log_msg(LOG_INFO, "start", "fast path: attached");
}

bool setup_renew_early(struct setup *s, struct rules_want *want)
{
	struct early *old = s->early;
	bool had = want->early;

	/* The new one first: it clears marks that are not its own, and must never be missing. */
	s->early = NULL;
	open_early(s, want);
	early_close(old);
	return want->early == had;
}

/* After the rules: they are what makes the kernel load conntrack. */
static int set_sysctls(struct setup *s)
{
	/* Or conntrack would take a stranger's connection for an established one of ours. */
	int err = netif_sysctl_set(s->netif, "net/netfilter/nf_conntrack_tcp_loose", "0");

	if (err)
		ERR("%s%s", netif_strerror(s->netif), err == -ENOENT ?
		    " (does this kernel have nf_conntrack?)" : hint(err));
	return err;
}

static int refresh_tunnels(struct setup *s)
{
	struct rules_peer p[2];

	for (unsigned int i = 0; i < s->n_tunnels; i++) {
		const struct tunnel_want *w = &s->tunnel[i];
		struct rules_peer *old = s->by_tunnel[w->peer - 1];
		int err;

		memset(p, 0, sizeof(p));
		err = tunnel_ensure(s->netif, w, p);
		if (err)
			return err;
		if (!memcmp(p, old, sizeof(p)))
			continue;
		memcpy(old, p, sizeof(p));
		s->tunnels_changed = true;
	}
	return 0;
}

/* A flooded VIP's frames must get through the interface's filter, and through the switch's. */
static int join(struct setup *s, const struct rules_service *v, const struct addr *vip)
{
	struct addr group;
	uint8_t mac[6];

	if (v->conf->dispatch != DISPATCH_FLOOD)
		return 0;
	if (v->conf->mac == MAC_IGMP) {
		netif_group_of(vip, &group);
		return netif_group_join(s->netif, v->interface, &group);
	}
	addr_shared_mac(vip, v->conf->mac == MAC_UNICAST, mac);
	return netif_maddr_add(s->netif, v->interface, mac);
}

static int refresh_vips(struct setup *s, const struct rules_service *v)
{
	int err = 0;

	if (v->conf->dispatch == DISPATCH_ROUTE)	/* on loan, renewed by ways.c */
		return 0;
	for (unsigned int k = 0; k < v->conf->n_vips && !err; k++) {
		err = netif_vip_add(s->netif, &v->conf->vip[k], v->interface);
		if (!err)
			err = join(s, v, &v->conf->vip[k]);
	}
	return err;
}

int setup_refresh(struct setup *s, const struct rules_want *want)
{
	int err = refresh_tunnels(s);

	for (unsigned int i = 0; i < want->n_services && !err; i++)
		err = refresh_vips(s, &want->service[i]);
	if (err)
		return err;
	err = early_refresh(s->early);
	if (err)	/* the rules do without, and this is tried again */
		log_msg(LOG_DEBUG, "refresh", "fast path: %s", strerror(-err));
	return 0;
}

static int wait_commit(struct setup *s, const struct rules_want *want)
{
	int err = -EAGAIN;

	/* Others edit nftables at boot as well. */
	for (unsigned int i = 0; i < 50 && err == -EAGAIN; i++) {
		if (i)
			usleep(10000);
		err = rules_commit(s->rules, want);
	}
	if (err)
		ERR("cannot install the rules: %s%s", rules_strerror(s->rules), hint(err));
	return err;
}

int setup_open_leftovers(struct setup *s)
{
	int err = open_changes(s);

	return err ? err : open_rules(s);
}

int setup_begin(struct setup *s, const struct rules_want *want, bool afresh)
{
	int err;

	for (unsigned int i = 0; i < want->n_services; i++)
		for (unsigned int k = 0; k < want->service[i].conf->n_vips; k++)
			s->vip[s->n_vips++] = want->service[i].conf->vip[k];
	err = open_changes(s);
	if (!err)
		err = check_interfaces(s, want);
	if (err)
		return err;
	/* While the old guard still knows the old VIPs. */
	if (afresh && netif_undo(s->netif))
		log_msg(LOG_WARNING, "start", "left by an earlier start: %s", netif_strerror(s->netif));
	err = refresh_tunnels(s);
	if (err)
		ERR("%s%s", netif_strerror(s->netif), hint(err));
	s->tunnels_changed = false;
	return err;
}

int setup_open(struct setup *s, struct rules_want *want)
{
	int err;

	open_early(s, want);
	err = open_tables(s, want);
	/* Once with every bucket foreign: shows what this kernel lacks before anything is announced. */
	if (!err)
		err = wait_commit(s, want);
	if (!err)
		err = set_sysctls(s);
	if (err)
		return err;
	err = setup_refresh(s, want);
	if (err)
		ERR("%s%s", netif_strerror(s->netif), hint(err));
	return err;
}

int setup_link(struct setup *s, const char *interface, struct link *link)
{
	struct netif_info info;
	int err = netif_info(s->netif, interface, s->vip, s->n_vips, &info);

	if (err)
		return err;
	memset(link, 0, sizeof(*link));
	memcpy(link->mac, info.mac, sizeof(link->mac));
	link->addr4 = info.addr4;
	link->addr6 = info.addr6;
	return 0;
}

/* ---- stop ---- */

int setup_undo(struct setup *s)
{
	int err = 0;

	early_close(s->early);
	s->early = NULL;
	lease_table_close(s->lease);
	s->lease = NULL;
	if (s->netif) {
		err = netif_undo(s->netif);
		if (err)
			log_msg(LOG_ERR, "stop", "%s; the guard stays, 'clusterd --cleanup' tries again",
				netif_strerror(s->netif));
	}
	if (s->rules && !err) {
		err = rules_remove_all(s->rules);
		if (err)
			log_msg(LOG_ERR, "stop", "cannot remove the tables: %s",
				rules_strerror(s->rules));
	}
	rules_close(s->rules);
	s->rules = NULL;
	netif_close(s->netif);
	s->netif = NULL;
	if (s->lock_fd >= 0) {
		unlink(LOCK_FILE);
		close(s->lock_fd);
		s->lock_fd = -1;
	}
	return err;
}

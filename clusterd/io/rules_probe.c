/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Can this kernel do it?  Every kind of service that the rules know, on lo of an empty namespace. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/rules.h"
#include "io/rules_plan.h"

enum { FLOOD, ANNOUNCE, ROUTE, RANDOM, LEAST, N_KINDS };

/*
 * A flooded service, an announced one that hands on by MAC, a routed one that does so by tunnels, and
 * the schedulers.
 */
static int probe_rules(char *why, size_t size)
{
	struct conf_service conf[N_KINDS] = { {
		.name = "flood", .n_vips = 2, .n_ports = 2, .dispatch = DISPATCH_FLOOD,
		.port = { { 6, 80, 80 }, { 17, 1000, 2000 } },
	}, {
		.name = "announce", .n_vips = 2, .n_ports = 2, .dispatch = DISPATCH_ANNOUNCE,
		.port = { { 6, 80, 80 }, { 17, 1000, 2000 } },
	}, {
		.name = "route", .n_vips = 2, .n_ports = 1, .dispatch = DISPATCH_ROUTE,
		.redirect = REDIRECT_VXLAN, .port = { { 6, 80, 80 } },
	}, {
		.name = "probability", .n_vips = 2, .n_ports = 1, .dispatch = DISPATCH_ANNOUNCE,
		.sched = SCHED_PROBABILITY, .port = { { 6, 80, 80 } },
	}, {
		.name = "least-conn", .n_vips = 2, .n_ports = 1, .dispatch = DISPATCH_FLOOD,
		.sched = SCHED_LEAST_CONN, .port = { { 6, 80, 80 } },
	} };
	struct bucket_action action[BUCKETS_MIN] = {
		{ BUCKET_MINE, NOBODY }, { BUCKET_LEAVING, 2 }, { BUCKET_FOREIGN, 2 },
	};
	struct rules_peer peer[2] = { { .id = 2, .mac = { 2, 0, 0, 0, 0, 1 } },
				      { .id = 2, .dev4 = "lo", .ifindex4 = 1, .dev6 = "lo",
					.ifindex6 = 1 } };
	uint8_t owner[BUCKETS_MIN] = { 2 };
	struct rules_service service[N_KINDS];
	struct rules_member member = { .vni = 1 };
	struct rules_want want = { .n_services = N_KINDS, .service = service, .self = 1, .n_held = 1,
				   .held = &conf[1].vip[0], .vxlan_port = 4789, .n_members = 1,
				   .member = &member };
	struct rules *r;
	char text[ADDR_STR];
	unsigned int i;
	int ret;

	for (i = 0; i < N_KINDS; i++) {
		snprintf(text, sizeof(text), "192.0.2.%u", i + 1);
		addr_parse(&conf[i].vip[0], text);
		snprintf(text, sizeof(text), "2001:db8::%u", i + 1);
		addr_parse(&conf[i].vip[1], text);
		service[i] = (struct rules_service){
			.conf = &conf[i], .interface = "lo", .seed = 1, .buckets = BUCKETS_MIN,
			.hash = HASH_SOURCE_PORT, .action = action, .n_peers = 1, .peer = &peer[i == ROUTE],
			.weight = { 0, 100, 100 },
		};
	}
	service[FLOOD].sorry = RULES_SORRY_REDIRECT;
	service[FLOOD].sorry_port = 1;
	service[LEAST].sorry = RULES_SORRY_RESET;
	service[ANNOUNCE].old.owner = owner;
	service[ANNOUNCE].old.buckets = BUCKETS_MIN;
	for (i = 0; i < 2; i++) {
		addr_parse(&peer[i].addr4, "192.0.2.9");
		addr_parse(&peer[i].addr6, "2001:db8::9");
	}
	member.addr = peer[0].addr4;
	ret = rules_open(&r, NULL);
	if (ret) {
		snprintf(why, size, "netfilter netlink socket: %s; needs nfnetlink, nf_tables",
			 strerror(-ret));
		return ret;
	}
	ret = rules_guard_install(r, &want);
	if (!ret)
		ret = rules_commit(r, &want);
	if (ret)
		snprintf(why, size, "%s", rules_strerror(r));
	rules_close(r);
	return ret;
}

static int probe_lease(char *why, size_t size)
{
	char lo[1][IFNAME_SIZE] = { "lo" };
	struct lease_table *t;
	int ret = lease_table_open(&t, lo, 1);

	if (!ret) {
		ret = lease_table_start(t, 1000);
		if (!ret)
			ret = lease_table_renew(t, 1000);
		lease_table_close(t);
	}
	if (ret)
		snprintf(why, size, "table netdev " LEASE_TABLE ": %s", strerror(-ret));
	return ret;
}

struct probe_answer {
	int ret;
	char why[256];
};

int rules_probe(char *why, size_t size)
{
	struct probe_answer a = { .ret = -EIO, .why = "the probe process died" };
	int fd[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		a.ret = -errno;
		close(fd[0]);
		close(fd[1]);
		return a.ret;
	}
	if (!pid) {
		memset(&a, 0, sizeof(a));
		if (unshare(CLONE_NEWNET)) {
			a.ret = -errno;
			snprintf(a.why, sizeof(a.why), "a network namespace: %s%s", strerror(errno),
				 errno == EPERM ? " (run as root)" : "");
		}
		if (!a.ret)
			a.ret = probe_rules(a.why, sizeof(a.why));
		if (!a.ret)
			a.ret = probe_lease(a.why, sizeof(a.why));
		n = write(fd[1], &a, sizeof(a));
		_exit(n != sizeof(a));
	}
	close(fd[1]);
	n = read(fd[0], &a, sizeof(a));
	close(fd[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(a))
		a.ret = -EIO;
	snprintf(why, size, "%s", a.why);
	return a.ret;
}

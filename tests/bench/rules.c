// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * clusterd's own rules without the daemon, in the network namespace where it is started.
 *
 *   rules hold DEVICE BUCKETS          a third of the buckets is ours; until stdin ends, then prints
 *                                      {"accepted": N, "foreign": N}
 *   rules move DEVICE BUCKETS ROUNDS   says "ready", waits for a byte, then: all foreign -> all mine
 *                                      and back, ROUNDS times; one line per commit:
 *                                      {"to": "mine", "ms": X, "longest_ms": X, "transactions": N}
 *                                      and "done"; waits for the end of stdin
 *
 *   rules hand DEVICE BUCKETS WAY      dispatch = announce, redirect = WAY (direct, ipip, vxlan): two
 *                                      thirds of the buckets are handed to the nodes 10.77.0.2 and .3;
 *                                      until stdin ends, then prints {"accepted": N, "handed": N}
 *
 *   early-hold, early-move: with the fast path (io/early.h)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "io/early.h"
#include "io/netif.h"
#include "io/rules.h"
#include "io/tunnel.h"

#define VXLAN_PORT 4789
#define UNDO "/run/bench.undo"

#define LEASE_MS 300000		/* longer than any measurement: the lease is not what is measured */

static struct conf_service conf = {
	.name = "web", .n_vips = 2, .n_ports = 2, .port = { { 6, 80, 80 }, { 6, 443, 443 } },
};
static struct bucket_action action[BUCKETS_MAX];
static struct rules_peer peer[2] = {
	{ .id = 2, .mac = { 2, 0, 0, 0, 0, 2 } }, { .id = 3, .mac = { 2, 0, 0, 0, 0, 3 } },
};
static struct rules_service service = {
	.conf = &conf, .seed = BENCH_SEED, .hash = HASH_SOURCE_PORT, .action = action, .n_peers = 2,
	.peer = peer,
};
static struct rules_want want = { .n_services = 1, .service = &service };
static struct rules_member member[2];
static struct early *early;
static struct rules *rules;
static struct lease_table *lease;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "rules: %s: %s\n", what, rules ? rules_strerror(rules) : strerror(-err));
	exit(1);
}

static void await_stdin(bool end)
{
	char c;

	while (read(0, &c, 1) > 0 && end)
		;
}

static void say(const char *word)
{
	puts(word);
	fflush(stdout);
}

static void commit(void)
{
	int ret;

	early_hold(early, &want);
	ret = rules_commit(rules, &want);
	if (ret)
		die("commit", ret);
	early_release(early, &want);
}

static void install(const char *device)
{
	char dev[RULES_INTERFACES_MAX][IFNAME_SIZE], why[256];
	int ret;

	addr_parse(&conf.vip[0], BENCH_VIP_STR);
	addr_parse(&conf.vip[1], "fd77::250");
	if (conf.redirect == REDIRECT_DIRECT) {
		addr_parse(&peer[0].addr4, "10.77.0.2");
		addr_parse(&peer[0].addr6, "fd77::2");
		addr_parse(&peer[1].addr4, "10.77.0.3");
		addr_parse(&peer[1].addr6, "fd77::3");
	}
	snprintf(service.interface, sizeof(service.interface), "%s", device);
	if (want.early) {
		ret = early_open(&early, &want, why, sizeof(why));
		if (ret)
			die(why, ret);
	}
	ret = rules_open(&rules, NULL);
	if (ret)
		die("socket", ret);
	ret = rules_guard_install(rules, &want);
	if (ret)
		die("guard", ret);
	ret = lease_table_open(&lease, dev, rules_interfaces(&want, dev, RULES_INTERFACES_MAX));
	if (!ret)
		ret = lease_table_start(lease, LEASE_MS);
	if (ret)
		die("lease", ret);
	commit();
}

static void hold(const char *device)
{
	struct rules_counters c;
	uint32_t b;
	int ret;

	for (b = 0; b < service.buckets; b++)
		action[b].state = bench_mine(b) ? BUCKET_MINE : BUCKET_FOREIGN;
	install(device);
	say("ready");
	await_stdin(true);
	ret = rules_counters(rules, 0, &c);
	if (!ret)
		ret = early_counters(early, 0, &c);
	if (ret)
		die("counters", ret);
	printf("{\"accepted\": %llu, \"foreign\": %llu}\n", (unsigned long long)c.accepted,
	       (unsigned long long)c.foreign);
}

/* As clusterd makes them.  They vanish with the namespace. */
static void make_tunnels(void)
{
	struct netif *netif;
	unsigned int i;
	int ret;

	ret = netif_open(&netif, UNDO);
	for (i = 0; !ret && i < service.n_peers; i++) {
		struct rules_peer p[2] = { { 0 }, { 0 } };
		struct tunnel_want w = { .self = 1, .peer = peer[i].id, .vxlan_port = VXLAN_PORT,
					 .ipip4 = conf.redirect == REDIRECT_IPIP,
					 .vxlan = conf.redirect == REDIRECT_VXLAN };

		addr_parse(&w.local, "10.77.0.1");
		addr_parse(&w.remote, i ? "10.77.0.3" : "10.77.0.2");
		ret = tunnel_ensure(netif, &w, p);
		if (ret)
			fprintf(stderr, "rules: %s\n", netif_strerror(netif));
		p[w.vxlan].id = peer[i].id;
		peer[i] = p[w.vxlan];
		member[i] = (struct rules_member){ w.remote, w.vxlan ? tunnel_vni(1, peer[i].id) : 0 };
	}
	netif_close(netif);
	unlink(UNDO);
	if (ret)
		die("tunnels", ret);
	if (conf.redirect == REDIRECT_VXLAN)
		want.vxlan_port = VXLAN_PORT;
	want.member = member;
	want.n_members = service.n_peers;
}

static void hand(const char *device, const char *way)
{
	struct rules_counters c;
	uint32_t b;
	int ret;

	conf.dispatch = DISPATCH_ANNOUNCE;
	conf.redirect = !strcmp(way, "ipip") ? REDIRECT_IPIP : !strcmp(way, "vxlan") ? REDIRECT_VXLAN :
			REDIRECT_DIRECT;
	want.self = 1;
	for (b = 0; b < service.buckets; b++)
		action[b] = (struct bucket_action){
			bench_mine(b) ? BUCKET_MINE : BUCKET_FOREIGN, bench_owner(b) };
	addr_parse(&service.own4, "10.77.0.1");
	if (conf.redirect != REDIRECT_DIRECT)
		make_tunnels();
	install(device);
	say("ready");
	await_stdin(true);
	ret = rules_counters(rules, 0, &c);
	if (ret)
		die("counters", ret);
	printf("{\"accepted\": %llu, \"handed\": %llu}\n", (unsigned long long)c.accepted,
	       (unsigned long long)c.handed);
}

static void move_to(enum bucket_state state)
{
	struct rules_timing t;
	double start;
	uint32_t b;

	for (b = 0; b < service.buckets; b++)
		if (!bench_kept(b, service.buckets))
			action[b].state = (uint8_t)state;
	rules_timing(rules, &t, true);
	start = now_ms();
	commit();
	start = now_ms() - start;
	rules_timing(rules, &t, false);
	printf("{\"to\": \"%s\", \"ms\": %.3f, \"longest_ms\": %.3f, \"transactions\": %llu}\n",
	       bucket_state_str(state), start, (double)t.longest_us / 1e3,
	       (unsigned long long)t.transactions);
}

static void move(const char *device, unsigned int rounds)
{
	uint32_t b;

	for (b = 0; b < service.buckets; b++)
		action[b].state = bench_kept(b, service.buckets) ? BUCKET_MINE : BUCKET_FOREIGN;
	install(device);
	say("ready");
	await_stdin(false);
	while (rounds--) {
		move_to(BUCKET_MINE);
		usleep(30000);
		move_to(BUCKET_FOREIGN);
		usleep(30000);
	}
	say("done");
	await_stdin(true);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strncmp(argv[1], "early-", 6)) {
		want.early = true;
		argv[1] += 6;
	}
	service.buckets = argc >= 4 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0;
	if (service.buckets < BUCKETS_MIN || service.buckets > BUCKETS_MAX)
		argc = 0;
	if (argc == 4 && !strcmp(argv[1], "hold")) {
		hold(argv[2]);
	} else if (argc == 5 && !strcmp(argv[1], "hand") &&
		   (!strcmp(argv[4], "direct") || !strcmp(argv[4], "ipip") || !strcmp(argv[4], "vxlan"))) {
		hand(argv[2], argv[4]);
	} else if (argc == 5 && !strcmp(argv[1], "move")) {
		move(argv[2], (unsigned int)strtoul(argv[4], NULL, 0));
	} else {
		fprintf(stderr, "usage: rules [early-]hold DEVICE BUCKETS | [early-]move DEVICE "
			"BUCKETS ROUNDS | [early-]hand DEVICE BUCKETS direct|ipip|vxlan\n");
		return 2;
	}
	early_close(early);
	lease_table_close(lease);
	rules_close(rules);
	return 0;
}

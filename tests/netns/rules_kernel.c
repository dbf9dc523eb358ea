/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rule set against this machine's kernel, with packets; rules_lab.h shows where. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rules_lab.h"
#include "util/jhash.h"

static void check_listing(void)
{
	int i;

	state(N1, 1, BUCKET_LEAVING);
	state(N1, 2, BUCKET_ARRIVING);
	for (i = N1; i <= N2; i++) {
		enter(i);
		ok(!sh("nft list ruleset >/dev/null"), "nft lists the rule set of node %d", i + 1);
	}
}

static void check_plain(int family)
{
	const char *v = family == AF_INET ? "IPv4" : "IPv6";
	struct rules_counters before, after;
	struct client c;

	states(7, BUCKET_MINE, BUCKET_FOREIGN);
	before = count(N2);
	c = tcp_connect(family, 7);
	after = count(N2);
	ok(c.at == N1 && works(&c), "%s: mine at n1: accepted there, and data flows", v);
	ok(after.foreign > before.foreign && after.accepted == before.accepted,
	   "%s: foreign at n2: counted and dropped", v);
	client_drop(&c);
	ok(quiet(), "%s: n2 said nothing", v);
	states(8, BUCKET_FOREIGN, BUCKET_FOREIGN);
	c = tcp_connect(family, 8);
	ok(c.at < 0 && quiet(), "%s: foreign everywhere: no answer at all", v);
	client_drop(&c);
}

static void check_move(int family)
{
	const char *v = family == AF_INET ? "IPv4" : "IPv6";
	struct rules_counters before, after;
	struct client old, moved, new;

	states(20, BUCKET_FOREIGN, BUCKET_MINE);
	old = tcp_connect(family, 20);
	ok(old.at == N2 && works(&old), "%s: a connection to n2", v);

	states(20, BUCKET_ARRIVING, BUCKET_MINE);
	moved = tcp_connect(family, 20);
	ok(moved.at == N2 && works(&old) && works(&moved) && quiet(),
	   "%s: arriving at n1 while n2 keeps accepting: n2 serves, n1 is silent", v);
	client_drop(&moved);

	states(20, BUCKET_ARRIVING, BUCKET_LEAVING);
	before = count(N2);
	moved = tcp_connect(family, 20);
	after = count(N2);
	ok(moved.at == N1 && after.handed > before.handed,
	   "%s: leaving n2, arriving at n1: the SYN is handed to n1", v);
	ok(works(&moved) && works(&old) && quiet(), "%s: old and new connection both work", v);

	states(20, BUCKET_ADOPTING, BUCKET_LEAVING);
	new = tcp_connect(family, 20);
	ok(new.at == N1 && works(&new) && works(&moved) && works(&old) && quiet(),
	   "%s: adopting at n1, still leaving n2", v);
	client_drop(&new);

	states(20, BUCKET_ADOPTING, BUCKET_DRAINING);
	new = tcp_connect(family, 20);
	ok(new.at == N1 && works(&new) && works(&moved) && works(&old) && quiet(),
	   "%s: adopting at n1, draining at n2", v);
	client_drop(&new);

	states(20, BUCKET_MINE, BUCKET_FOREIGN);
	ok(works(&moved) && quiet(), "%s: move done: the new connection stays", v);
	client_drop(&moved);
	client_drop(&old);
}

static void check_alone(void)
{
	struct rules_counters b1, b2, a1, a2;
	struct client c;

	states(30, BUCKET_ARRIVING, BUCKET_FOREIGN);
	c = tcp_connect(AF_INET, 30);
	ok(c.at < 0 && quiet(), "arriving, not handed over: silent");
	client_drop(&c);
	states(30, BUCKET_DRAINING, BUCKET_FOREIGN);
	c = tcp_connect(AF_INET, 30);
	ok(c.at < 0 && quiet(), "draining: no new connection");
	client_drop(&c);
	states(30, BUCKET_LEAVING, BUCKET_LEAVING);
	b1 = count(N1);
	b2 = count(N2);
	c = tcp_connect(AF_INET, 30);
	sleep_ms(50);
	a1 = count(N1);
	a2 = count(N2);
	ok(c.at < 0 && quiet() && a1.handed == b1.handed + 1 && a2.handed == b2.handed + 1,
	   "leaving on both: each hands the SYN over once, nobody twice (%u, %u)",
	   (unsigned int)(a1.handed - b1.handed), (unsigned int)(a2.handed - b2.handed));
	client_drop(&c);

	node[N1].peer.mac[5] ^= 1;
	states(30, BUCKET_ARRIVING, BUCKET_LEAVING);
	c = tcp_connect(AF_INET, 30);
	ok(c.at < 0 && quiet(), "handed over by a MAC that is no peer's: dropped");
	client_drop(&c);
	node[N1].peer.mac[5] ^= 1;
	states(30, BUCKET_FOREIGN, BUCKET_FOREIGN);
}

static void check_midstream(void)
{
	struct rules_counters before, after;
	struct client c;

	states(40, BUCKET_FOREIGN, BUCKET_MINE);
	c = tcp_connect(AF_INET, 40);
	/* n2 dies with the connection; n1 adopts: it must not answer with a reset */
	states(40, BUCKET_ADOPTING, BUCKET_FOREIGN);
	before = count(N1);
	ok(c.at == N2 && !arrives(c.fd, c.server) && quiet(),
	   "adopting: mid-stream packets of an unknown connection get no reset");
	after = count(N1);
	ok(after.unknown > before.unknown, "... and are counted as unknown");
	states(40, BUCKET_FOREIGN, BUCKET_MINE);
	client_drop(&c);
}

static void check_udp(void)
{
	states(50, BUCKET_MINE, BUCKET_FOREIGN);
	ok(udp_send(1500, 50) == N1, "UDP, port range: mine accepted");
	states(50, BUCKET_FOREIGN, BUCKET_FOREIGN);
	ok(udp_send(1500, 50) < 0 && quiet(), "UDP: foreign dropped");
	states(50, BUCKET_ARRIVING, BUCKET_LEAVING);
	ok(udp_send(1500, 50) == N1, "UDP: handed over");
	states(50, BUCKET_ADOPTING, BUCKET_DRAINING);
	ok(udp_send(1500, 50) == N1, "UDP: adopting accepts, draining does not");
	ok(udp_send(2500, 50) < 0 && quiet(), "UDP: a port of no service: silent");
	states(50, BUCKET_FOREIGN, BUCKET_FOREIGN);
}

static void check_other(void)
{
	enter(CLIENT);
	sniff_reset();
	ok(sh("ping -c1 -W1 " VIP4 " >/dev/null 2>&1") && quiet(), "ping to the VIP: no answer");
	ok(!sh("ping -c1 -W1 10.77.0.1 >/dev/null 2>&1"), "ping to a node's own address: answered");
}

static void check_neighbours(void)
{
	struct client c;

	enter(CLIENT);
	must("ip neigh flush all");
	states(60, BUCKET_MINE, BUCKET_FOREIGN);
	c = tcp_connect(AF_INET, 60);
	sniff();
	ok(c.at == N1 && quiet() && seen.arp_shared >= 2,
	   "ARP for the VIP: %u packets with the shared MAC, %u with another", seen.arp_shared,
	   seen.arp_other);
	client_drop(&c);
	c = tcp_connect(AF_INET6, 60);
	sniff();
	ok(c.at == N1 && quiet() && seen.nd_shared >= 2,
	   "ND for the VIP: %u packets with the shared MAC, %u with another", seen.nd_shared,
	   seen.nd_other);
	client_drop(&c);
	/* A node that must resolve its client speaks with the VIP as sender. */
	enter(N1);
	must("ip neigh flush all");
	sniff_reset();
	c = tcp_connect(AF_INET, 60);
	ok(c.at == N1 && quiet() && seen.arp_shared >= 1,
	   "ARP requests sent from the VIP likewise");
	client_drop(&c);
	enter(N1);
	must("ip neigh flush all");
	c = tcp_connect(AF_INET6, 60);
	ok(c.at == N1 && quiet() && seen.nd_shared >= 1,
	   "ND solicitations sent from the VIP likewise");
	client_drop(&c);
}

static void check_lease(void)
{
	struct client old, c;
	int64_t start;
	int ret;

	states(70, BUCKET_MINE, BUCKET_FOREIGN);
	old = tcp_connect(AF_INET, 70);
	enter(N1);
	ret = lease_table_renew(node[N1].lease, 100);
	start = now_us();
	ok(!ret && works(&old), "lease of 100 ms: works");
	while (now_us() < start + 110000)
		sleep_ms(1);
	ok(!arrives(old.fd, old.server) && quiet(), "lease run out: the connection stops");
	c = tcp_connect(AF_INET, 70);
	ok(c.at < 0 && quiet(), "lease run out: no new connection, no answer");
	client_drop(&c);
	ok(lease_table_renew(node[N1].lease, 100) == -ENOENT, "a lapsed lease cannot be renewed");
	ok(!lease_table_start(node[N1].lease, 600000), "a new lease");
	c = tcp_connect(AF_INET, 70);
	ok(c.at == N1 && works(&c), "new connections come again");
	client_drop(&c);
	ok(!lease_table_end(node[N1].lease) && !lease_table_end(node[N1].lease),
	   "the lease can be ended, twice");
	c = tcp_connect(AF_INET, 70);
	ok(c.at < 0 && quiet(), "lease ended: silent");
	client_drop(&c);
	client_drop(&old);
	ok(!lease_table_start(node[N1].lease, 600000), "a third lease");
}

static bool loopback_works(int i)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(80) };
	int fd, server, ret;

	enter(i);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	memcpy(&a.sin_addr, vip4.b, 4);
	ret = connect(fd, (void *)&a, sizeof(a));
	(void)ret;	/* in progress; accept() tells */
	sleep_ms(20);
	server = accept(node[i].listen4, NULL, NULL);
	close(fd);
	if (server >= 0)
		close(server);
	return server >= 0;
}

/* SYN to the VIP over n1's other interface. */
static bool side_door(void)
{
	struct client c;

	enter(CLIENT);
	must("ip route add " VIP4 "/32 via 10.78.0.1 dev eth1");
	c = tcp_connect(AF_INET, 70);
	client_drop(&c);
	enter(CLIENT);
	must("ip route del " VIP4 "/32");
	return c.at >= 0;
}

static void check_guard(void)
{
	struct client old, c;

	states(70, BUCKET_MINE, BUCKET_FOREIGN);
	old = tcp_connect(AF_INET, 70);
	ok(old.at == N1 && works(&old), "a connection to n1");
	ok(!side_door() && quiet(), "not a public interface: the guard keeps it shut");
	ok(loopback_works(N1), "n1 reaches the VIP over lo");
	state(N2, 70, BUCKET_FOREIGN);
	node_close(N1);
	sniff_reset();
	c = tcp_connect(AF_INET, 70);
	ok(c.at < 0 && quiet(), "daemon of n1 gone: new connections get no answer");
	client_drop(&c);
	c = tcp_connect(AF_INET6, 70);
	ok(c.at < 0 && quiet(), "... nor over IPv6");
	client_drop(&c);
	ok(!arrives(old.fd, old.server) && quiet(), "... and no reset for the old connection");
	ok(loopback_works(N1), "... but lo still works");
	enter(CLIENT);
	node_close(N2);
	must("ip neigh flush all");
	sniff_reset();
	c = tcp_connect(AF_INET, 70);
	client_drop(&c);
	c = tcp_connect(AF_INET6, 70);
	client_drop(&c);
	sniff();
	ok(!seen.arp_shared && !seen.arp_other && !seen.nd_shared && !seen.nd_other,
	   "both daemons gone: no ARP, no ND for the VIP");
	node[N1].action[70].state = BUCKET_DRAINING;
	node_open(N1);
	node_open(N2);
	sniff_reset();
	/* The byte of before is on its way again, with TCP's patience. */
	sleep_ms(1500);
	ok(works(&old) && quiet(), "daemon back: the old connection goes on (draining)");
	client_drop(&old);
}

static void check_flush(void)
{
	struct pollfd p;
	int64_t start;
	int ret;

	states(71, BUCKET_FOREIGN, BUCKET_FOREIGN);
	enter(N1);
	ok(!rules_dispatch(node[N1].rules), "own commits and the lease's do not alarm");
	must("nft add table inet somebody_else");
	ok(!rules_dispatch(node[N1].rules), "nor does somebody else's table");
	must("nft flush ruleset");
	start = now_us();
	p = (struct pollfd){ .fd = rules_fd(node[N1].rules), .events = POLLIN };
	ret = poll(&p, 1, 1000);
	ok(ret == 1 && rules_dispatch(node[N1].rules) == 1, "a foreign flush is noticed");
	ok(sh("nft list table inet clusterd_guard >/dev/null 2>&1"), "... the guard is gone");
	ok(!side_door() && quiet(), "... what is left keeps the VIP shut");
	enter(N1);
	start = now_us();
	ret = rules_repair(node[N1].rules, &node[N1].want);
	ok(!ret && now_us() - start < 1000000 &&
	   !sh("nft list table inet clusterd_guard >/dev/null") &&
	   !sh("nft list table arp clusterd_guard >/dev/null"),
	   "... repaired in %d us", (int)(now_us() - start));
	ok(!rules_dispatch(node[N1].rules), "... and the repair does not alarm");
	ok(sh("nft delete table netdev clusterd 2>/dev/null"), "nobody else can delete our table");
}

/*
 * The bucket that util/jhash computes is the only one that n1 accepts: the packet must be accepted.
 * The one beside it would be found out in 4,095 of 4,096 cases.
 */
static void check_jhash(int family, enum conf_hash hash, unsigned int n)
{
	struct rules_counters before, after;
	unsigned int i, good = 0, tries;
	struct addr from = { .family = (uint8_t)family };
	int fd, ifindex;
	uint32_t b;

	enter(CLIENT);
	ifindex = (int)if_nametoindex("eth0");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	memset(node[N1].action, 0, sizeof(node[N1].action));
	node[N1].service.hash = hash;
	node_commit(N1);
	for (i = 0; i < n; i++) {
		uint16_t port = (uint16_t)(1 + random() % 65535);
		unsigned int k;

		for (k = 0; k < addr_size(&from); k++)
			from.b[k] = (uint8_t)random();
		from.b[0] = family == AF_INET ? (uint8_t)(11 + random() % 80) : 0x20;
		b = jhash_bucket(&from, port, hash == HASH_SOURCE_PORT, B, SEED);
		state(N1, b, BUCKET_MINE);
		before = count(N1);
		raw_udp(fd, ifindex, &from, port);
		for (tries = 0; tries < 1000; tries++) {
			after = count(N1);
			if (after.accepted + after.foreign > before.accepted + before.foreign)
				break;
			usleep(20);
		}
		good += after.accepted == before.accepted + 1 && after.foreign == before.foreign;
		node[N1].action[b].state = BUCKET_FOREIGN;
	}
	state(N1, 0, BUCKET_FOREIGN);
	close(fd);
	ok(good == n, "%s, hash = %s: the kernel's bucket is ours in %u of %u cases",
	   family == AF_INET ? "IPv4" : "IPv6", hash == HASH_SOURCE ? "source" : "source-port",
	   good, n);
}

/* Renews every lease/5 for ten leases.  Returns the number of failures, prints the longest call. */
static int renewer(struct lease_table *t, int lease_ms)
{
	int64_t longest = 0, start = now_us(), now;
	int bad = 0;

	do {
		now = now_us();
		bad += lease_table_renew(t, lease_ms) != 0;
		if (now_us() - now > longest)
			longest = now_us() - now;
		sleep_ms(lease_ms / 5);
	} while (now - start < lease_ms * 10000);
	printf("# lease: longest renewal %d us\n", (int)longest);
	fflush(stdout);
	return bad;
}

static void check_big(void)
{
	char dev[1][IFNAME_SIZE] = { "eth1" };
	struct rules_timing t;
	struct lease_table *lease;
	const int lease_ms = 150 * lab_slow();
	int64_t start, took, best_us = INT64_MAX;
	unsigned int i, n = 0;
	int status, ret = 0;
	pid_t pid;

	enter(N1);
	lease_table_close(node[N1].lease);
	node[N1].lease = NULL;
	if (lease_table_open(&lease, dev, 1) || lease_table_start(lease, 1000))
		die("lease");
	node[N1].service.buckets = BUCKETS_MAX;
	memset(node[N1].action, 0, sizeof(node[N1].action));
	ret |= node_commit(N1);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(renewer(lease, lease_ms) > 0);
	sleep_ms(100);
	for (n = 0; n < 4; n++) {
		for (i = 0; i < BUCKETS_MAX; i++)
			node[N1].action[i].state = n % 2 ? BUCKET_ADOPTING : BUCKET_MINE;
		rules_timing(node[N1].rules, &t, true);
		start = now_us();
		ret |= node_commit(N1);
		took = now_us() - start;
		rules_timing(node[N1].rules, &t, true);
		printf("# commit of 65536 buckets: %d us, %d transactions, longest %d us, "
		       "%d conflicts\n", (int)took, (int)t.transactions, (int)t.longest_us,
		       (int)t.conflicts);
		if (t.longest_us < best_us)
			best_us = t.longest_us;
	}
	/* The best round: in a bad one this process was waiting for a CPU. */
	ok(!ret && best_us < lease_ms * 200,
	   "65536 buckets: all committed, no transaction longer than lease/5 (%d ms)%s%s", lease_ms / 5,
	   ret ? ": " : "", ret ? rules_strerror(node[N1].rules) : "");
	waitpid(pid, &status, 0);
	ok(status == 0, "a lease of %d ms was renewed beside these commits without a failure", lease_ms);
	lease_table_close(lease);
	ret = rules_dispatch(node[N1].rules);
	ok(!ret, "65536 changes of our own do not alarm");
}

/* A second service comes and goes; connections of the first do not notice. */
static void check_services(void)
{
	struct conf_service mail = {
		.name = "mail", .n_vips = 1, .vip = { vip4 }, .n_ports = 1,
		.port = { { IPPROTO_TCP, 25, 25 } },
	};
	static struct bucket_action action[64];
	struct rules_service both[2] = { node[N1].service };
	struct rules_want want = { .n_services = 2, .service = both };
	struct rules_counters before, after;
	struct client c;
	int ret;

	states(80, BUCKET_MINE, BUCKET_FOREIGN);
	c = tcp_connect(AF_INET, 80);
	before = count(N1);
	action[3] = (struct bucket_action){ BUCKET_LEAVING, 9 };
	both[1] = (struct rules_service){ .conf = &mail, .interface = "eth0", .seed = 5,
					  .buckets = 64, .action = action };
	enter(N1);
	early_hold(node[N1].early, &want);
	ret = rules_commit(node[N1].rules, &want);
	ok(!ret && !sh("nft list map netdev clusterd s1_a | grep -q 0x00000109") && works(&c),
	   "a second service is added%s%s", ret ? ": " : "",
	   ret ? rules_strerror(node[N1].rules) : "");
	enter(N1);
	action[3] = (struct bucket_action){ BUCKET_MINE, NOBODY };
	ret = rules_commit(node[N1].rules, &want);
	ok(!ret && sh("nft list map netdev clusterd s1_a | grep -q 0x00000109"),
	   "an action that no bucket needs any more is removed%s%s", ret ? ": " : "",
	   ret ? rules_strerror(node[N1].rules) : "");
	ret = node_commit(N1);
	after = count(N1);
	ok(!ret && sh("nft list map netdev clusterd s1_b >/dev/null 2>&1") && works(&c) &&
	   after.accepted >= before.accepted,
	   "the second service is removed, the first keeps its counters%s%s", ret ? ": " : "",
	   ret ? rules_strerror(node[N1].rules) : "");
	client_drop(&c);
}

/* The public interface is taken away and comes back. */
static void check_interface(void)
{
	struct client c;
	int ret;

	enter(N2);
	/* Before Linux 6.2 an interface that is up keeps its name. */
	must("sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1; ip link set eth0 down;"
	     " ip link set eth0 name eth9");
	ret = rules_repair(node[N2].rules, &node[N2].want);
	ok(ret == -ENODEV, "interface gone: %s", rules_strerror(node[N2].rules));
	must("ip link set eth9 name eth0; ip link set eth0 up");
	ret = rules_repair(node[N2].rules, &node[N2].want);
	states(81, BUCKET_FOREIGN, BUCKET_MINE);
	c = tcp_connect(AF_INET, 81);
	ok(!ret && c.at == N2 && works(&c), "interface back: repaired (%d, %d)", ret, c.at);
	client_drop(&c);
}

static void check_second(void)
{
	struct rules *other;
	char why[256] = "";
	int ret;

	enter(N2);
	if (rules_open(&other, NULL))
		die("rules_open");
	ret = rules_commit(other, &node[N2].want);
	ok(ret == -EPERM, "a second clusterd is refused: %s", rules_strerror(other));
	rules_close(other);
	ret = rules_probe(why, sizeof(why));
	ok(!ret, "probe: %s", ret ? why : "this kernel has it all");
}

static void check_remove(void)
{
	enter(N2);
	ok(!rules_remove_all(node[N2].rules), "everything can be removed");
	lease_table_close(node[N2].lease);
	node[N2].lease = NULL;
	ok(sh("nft list ruleset | grep -q clusterd"), "... nothing is left");
	node_close(N1);
	enter(N1);
	ok(!sh("nft list ruleset | grep -q clusterd_guard"), "closing leaves the guard");
	ok(sh("nft list ruleset | grep -q 'clusterd '"), "... and nothing but the guard");
}

/* rules_kernel [early]: without or with the fast path in front of the rules */
int main(int argc, char **argv)
{
	lab_early = argc > 1 && !strcmp(argv[1], "early");
	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	srandom(1);
	lab_make();
	check_listing();
	check_plain(AF_INET);
	check_plain(AF_INET6);
	check_move(AF_INET);
	check_move(AF_INET6);
	check_alone();
	check_midstream();
	check_udp();
	check_other();
	check_neighbours();
	check_lease();
	check_guard();
	check_flush();
	check_services();
	check_interface();
	check_jhash(AF_INET, HASH_SOURCE_PORT, 2000);
	check_jhash(AF_INET6, HASH_SOURCE_PORT, 2000);
	check_jhash(AF_INET, HASH_SOURCE, 300);
	check_jhash(AF_INET6, HASH_SOURCE, 300);
	check_big();
	check_second();
	check_remove();
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

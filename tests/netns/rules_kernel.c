/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rule set against this machine's kernel, with packets:
 *
 *      hub namespace:        br0
 *                   ┌─────────┼─────────┐
 *                 n1:eth0   n2:eth0   client:eth0        10.77.0.{1,2,9}, fd77::{1,2,9}
 *                 n1:eth1 ────────────  client:eth1      10.78.0.{1,9}: not a public interface
 *
 * Both nodes hold the VIPs and listen on them; the client picks its source port so that it falls
 * into the one bucket that a check is about.  A sniffer at the client sees all answers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/rules.h"
#include "util/jhash.h"

#define VIP4 "10.77.0.250"
#define VIP6 "fd77::250"
#define SEED 0x1badcafeu
#define B    4096u
#define WAIT_MS 300

enum { N1, N2, CLIENT, HUB, N_NS };

struct node {
	struct rules *rules;
	struct lease_table *lease;
	struct conf_service conf;
	struct rules_peer peer;
	struct rules_service service;
	struct rules_want want;
	struct bucket_action action[BUCKETS_MAX];
	int listen4, listen6, udp;
};

static int ns[N_NS], failures, checks;
static struct node node[2];
static struct addr vip4, vip6;
static uint8_t mac4[6], mac6[6];

struct seen {
	unsigned int rst, icmp, arp_shared, arp_other, nd_shared, nd_other, syn_ack;
};
static struct seen seen;

static void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%s - ", good ? "ok" : "not ok");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!good)
		printf("# seen: %u RST, %u SYN+ACK, %u ICMP, ARP %u shared %u other, ND %u shared %u other\n",
		       seen.rst, seen.syn_ack, seen.icmp, seen.arp_shared, seen.arp_other,
		       seen.nd_shared, seen.nd_other);
	fflush(stdout);
	checks++;
	failures += !good;
}

static void die(const char *what)
{
	printf("not ok - %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

static void enter(int which)
{
	if (setns(ns[which], CLONE_NEWNET))
		die("setns");
}

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* In the current namespace. */
static int sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	ret = system(cmd);
	return WIFEXITED(ret) ? WEXITSTATUS(ret) : 128 + WTERMSIG(ret);
}

static void must(const char *cmd)
{
	if (sh("%s", cmd)) {
		printf("not ok - set-up: %s\n", cmd);
		exit(1);
	}
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

/* ---- topology ---- */

static void make_namespaces(void)
{
	int i;

	for (i = 0; i < N_NS; i++) {
		if (unshare(CLONE_NEWNET)) {
			printf("skip - no network namespaces: %s\n", strerror(errno));
			exit(errno == EPERM ? 77 : 1);
		}
		ns[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (ns[i] < 0)
			die("/proc/self/ns/net");
		must("ip link set lo up");
	}
}

static void make_links(void)
{
	char cmd[256];
	int i;

	enter(HUB);
	must("ip link add br0 type bridge mcast_snooping 0 forward_delay 0");
	must("ip link set br0 up");
	for (i = N1; i <= CLIENT; i++) {
		snprintf(cmd, sizeof(cmd), "ip link add p%d type veth peer name eth0 netns "
			 "/proc/%d/fd/%d && ip link set p%d master br0 up", i, getpid(), ns[i], i);
		must(cmd);
	}
	enter(CLIENT);
	snprintf(cmd, sizeof(cmd), "ip link add eth1 type veth peer name eth1 netns /proc/%d/fd/%d",
		 getpid(), ns[N1]);
	must(cmd);
	must("ip link set eth1 up; ip addr add 10.78.0.9/24 dev eth1");
	for (i = N1; i <= CLIENT; i++) {
		enter(i);
		write_file("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
		write_file("/proc/sys/net/ipv4/conf/default/rp_filter", "0");
		/* no second of waiting until the link-local addresses can be used */
		write_file("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0");
		snprintf(cmd, sizeof(cmd), "ip addr add 10.77.0.%d/24 dev eth0; ip addr add "
			 "fd77::%d/64 dev eth0 nodad; ip link set eth0 up",
			 i == CLIENT ? 9 : i + 1, i == CLIENT ? 9 : i + 1);
		must(cmd);
	}
	enter(N1);
	must("ip link set eth1 up; ip addr add 10.78.0.1/24 dev eth1");
	for (i = N1; i <= N2; i++) {
		enter(i);
		must("ip addr add " VIP4 "/32 dev lo");
		must("ip addr add " VIP6 "/128 dev eth0 nodad preferred_lft 0");
		snprintf(cmd, sizeof(cmd), "ip maddr add %02x:%02x:%02x:%02x:%02x:%02x dev eth0",
			 mac4[0], mac4[1], mac4[2], mac4[3], mac4[4], mac4[5]);
		must(cmd);
		snprintf(cmd, sizeof(cmd), "ip maddr add %02x:%02x:%02x:%02x:%02x:%02x dev eth0",
			 mac6[0], mac6[1], mac6[2], mac6[3], mac6[4], mac6[5]);
		must(cmd);
		if (!access("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", W_OK))
			write_file("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0");
	}
}

static int tcp_listener(int family, const char *addr)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) };

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	inet_pton(family, addr, family == AF_INET ? (void *)&a4.sin_addr : &a6.sin6_addr);
	if (bind(fd, family == AF_INET ? (void *)&a4 : (void *)&a6,
		 family == AF_INET ? sizeof(a4) : sizeof(a6)) || listen(fd, 64))
		die("listen");
	return fd;
}

static void node_setup(int i)
{
	struct node *n = &node[i];
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(1500) };
	char cmd[128], text[32];
	FILE *f;

	enter(i);
	n->listen4 = tcp_listener(AF_INET, VIP4);
	n->listen6 = tcp_listener(AF_INET6, VIP6);
	n->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	a.sin_addr.s_addr = inet_addr(VIP4);
	if (bind(n->udp, (void *)&a, sizeof(a)))
		die("udp");
	n->conf = (struct conf_service){
		.name = "web", .n_vips = 2, .vip = { vip4, vip6 }, .n_ports = 3,
		.port = { { IPPROTO_TCP, 80, 80 }, { IPPROTO_UDP, 9000, 9000 },
			  { IPPROTO_UDP, 1000, 2000 } },
		.hash = HASH_SOURCE_PORT,
	};
	enter(!i);
	snprintf(cmd, sizeof(cmd), "ip -br link show dev eth0 | awk '{print $3}'");
	f = popen(cmd, "r");
	if (!f || !fgets(text, sizeof(text), f) ||
	    sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &n->peer.mac[0], &n->peer.mac[1],
		   &n->peer.mac[2], &n->peer.mac[3], &n->peer.mac[4], &n->peer.mac[5]) != 6)
		die("mac");
	pclose(f);
	enter(i);
	n->peer.id = (uint8_t)(i ? 1 : 2);
	addr_parse(&n->peer.addr4, i ? "10.77.0.1" : "10.77.0.2");
	addr_parse(&n->peer.addr6, i ? "fd77::1" : "fd77::2");
	n->service = (struct rules_service){
		.conf = &n->conf, .interface = "eth0", .seed = SEED, .buckets = B,
		.action = n->action, .n_peers = 1, .peer = &n->peer,
	};
	n->want = (struct rules_want){ 1, &n->service };
}

static void node_open(int i)
{
	char dev[1][IFNAME_SIZE] = { "eth0" };
	struct node *n = &node[i];

	enter(i);
	if (rules_open(&n->rules, NULL) || rules_guard_install(n->rules, &n->want) ||
	    rules_commit(n->rules, &n->want)) {
		printf("not ok - node %d: %s\n", i + 1, n->rules ? rules_strerror(n->rules) : "open");
		exit(1);
	}
	if (lease_table_open(&n->lease, dev, 1) || lease_table_start(n->lease, 600000))
		die("lease");
}

static void node_close(int i)
{
	rules_close(node[i].rules);
	lease_table_close(node[i].lease);
	node[i].rules = NULL;
	node[i].lease = NULL;
}

/* ---- the sniffer at the client ---- */

static int sniffer;

static void sniff_tcp(const uint8_t *p)
{
	struct tcphdr tcp;

	memcpy(&tcp, p, sizeof(tcp));
	seen.rst += tcp.rst;
	seen.syn_ack += tcp.syn && tcp.ack;
}

static void sniff_ip4(const uint8_t *p, size_t len)
{
	struct iphdr ip;

	if (len < 40)
		return;
	memcpy(&ip, p, sizeof(ip));
	if (ip.protocol == IPPROTO_ICMP)
		seen.icmp++;
	if (ip.protocol == IPPROTO_TCP && !memcmp(&ip.saddr, vip4.b, 4))
		sniff_tcp(p + 20);
}

static void sniff_ip6(const uint8_t *p, size_t len)
{
	const uint8_t *icmp = p + 40;
	struct ip6_hdr ip;

	if (len < 60)
		return;
	memcpy(&ip, p, sizeof(ip));
	if (ip.ip6_nxt == IPPROTO_TCP && !memcmp(&ip.ip6_src, vip6.b, 16))
		sniff_tcp(p + 40);
	if (ip.ip6_nxt != IPPROTO_ICMPV6)
		return;
	if (icmp[0] < 128)
		seen.icmp++;
	if (len < 72 || !((icmp[0] == 136 && !memcmp(icmp + 8, vip6.b, 16)) ||
			  (icmp[0] == 135 && !memcmp(&ip.ip6_src, vip6.b, 16))))
		return;
	if (!memcmp(icmp + 26, mac6, 6))
		seen.nd_shared++;
	else
		seen.nd_other++;
}

/* Everything that came since the last call. */
static void sniff(void)
{
	uint8_t buf[2048];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(sniffer, buf, sizeof(buf), 0, (void *)&from, &len)) > 0) {
		const struct ether_header *eth = (const void *)buf;

		if (from.sll_pkttype == PACKET_OUTGOING || n < 42)
			continue;
		if (eth->ether_type == htons(ETHERTYPE_IP))
			sniff_ip4(buf + 14, (size_t)n - 14);
		if (eth->ether_type == htons(ETHERTYPE_IPV6))
			sniff_ip6(buf + 14, (size_t)n - 14);
		if (eth->ether_type == htons(ETHERTYPE_ARP) && !memcmp(buf + 14 + 14, vip4.b, 4)) {
			if (!memcmp(buf + 14 + 8, mac4, 6))
				seen.arp_shared++;
			else
				seen.arp_other++;
		}
	}
}

/* From here on. */
static void sniff_reset(void)
{
	sniff();
	memset(&seen, 0, sizeof(seen));
}

static bool quiet(void)
{
	sniff();
	return !seen.rst && !seen.icmp && !seen.arp_other && !seen.nd_other;
}

/* ---- clients ---- */

/* A source port that falls into 'bucket'; a different one each time as far as there are. */
static uint16_t port_for(const struct addr *client, uint32_t bucket)
{
	static uint16_t last = 1024;
	unsigned int i;

	for (i = 0; i < 65536; i++) {
		if (++last < 1024)
			last = 1024;
		if (jhash_bucket(client, last, true, B, SEED) == bucket)
			return last;
	}
	return 0;
}

struct client { int fd, server, at; uint16_t port; };

/* The node (0, 1) that accepts, or -1 when none does in time. */
static struct client tcp_connect(int family, uint32_t bucket)
{
	struct client c = { .at = -1, .server = -1 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	void *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	socklen_t size = family == AF_INET ? sizeof(a4) : sizeof(a6);
	int64_t end = now_us() + WAIT_MS * 1000;
	struct addr from;
	int i;

	enter(CLIENT);
	addr_parse(&from, family == AF_INET ? "10.77.0.9" : "fd77::9");
	c.port = port_for(&from, bucket);
	c.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	memcpy(&a4.sin_addr, from.b, 4);
	memcpy(&a6.sin6_addr, from.b, 16);
	a4.sin_port = a6.sin6_port = htons(c.port);
	if (bind(c.fd, a, size))
		die("bind");
	memcpy(&a4.sin_addr, vip4.b, 4);
	memcpy(&a6.sin6_addr, vip6.b, 16);
	a4.sin_port = a6.sin6_port = htons(80);
	if (connect(c.fd, a, size) && errno != EINPROGRESS)
		die("connect");
	while (c.at < 0 && now_us() < end) {
		for (i = 0; i < 2 && c.at < 0; i++) {
			c.server = accept4(family == AF_INET ? node[i].listen4 : node[i].listen6,
					   NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (c.server >= 0)
				c.at = i;
		}
		sleep_ms(1);
	}
	return c;
}

/* Goes without FIN or RST, so that nothing of it can disturb the next check. */
static void client_drop(struct client *c)
{
	int one = 1;

	setsockopt(c->fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
	close(c->fd);
	if (c->server >= 0) {
		setsockopt(c->server, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
		close(c->server);
	}
}

static bool arrives(int from, int to)
{
	struct pollfd p = { .fd = to, .events = POLLIN };
	char x = 'x';

	return write(from, &x, 1) == 1 && poll(&p, 1, WAIT_MS) == 1 && read(to, &x, 1) == 1;
}

static bool works(const struct client *c)
{
	return arrives(c->fd, c->server) && arrives(c->server, c->fd);
}

static int udp_send(uint16_t dport, uint32_t bucket)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd, i, at = -1;
	int64_t end;
	char x[16];
	struct addr from;

	enter(CLIENT);
	addr_parse(&from, "10.77.0.9");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(&a.sin_addr, from.b, 4);
	a.sin_port = htons(port_for(&from, bucket));
	if (bind(fd, (void *)&a, sizeof(a)))
		die("bind");
	memcpy(&a.sin_addr, vip4.b, 4);
	a.sin_port = htons(dport);
	if (sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) != 1)
		die("sendto");
	for (end = now_us() + WAIT_MS * 500; at < 0 && now_us() < end; sleep_ms(1))
		for (i = 0; i < 2; i++)
			if (recv(node[i].udp, x, sizeof(x), 0) > 0)
				at = i;
	close(fd);
	return at;
}

static void state(int i, uint32_t bucket, enum bucket_state s)
{
	node[i].action[bucket].state = (uint8_t)s;
	node[i].action[bucket].to = s == BUCKET_LEAVING ? node[i].peer.id : NOBODY;
	enter(i);
	if (rules_commit(node[i].rules, &node[i].want)) {
		printf("not ok - commit: %s\n", rules_strerror(node[i].rules));
		exit(1);
	}
}

static void states(uint32_t bucket, enum bucket_state s1, enum bucket_state s2)
{
	state(N1, bucket, s1);
	state(N2, bucket, s2);
	sniff_reset();
}

static struct rules_counters count(int i)
{
	struct rules_counters c;

	if (rules_counters(node[i].rules, 0, &c))
		die(rules_strerror(node[i].rules));
	return c;
}

/* ---- checks ---- */

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
	ok(c.at == N1 && quiet() && seen.arp_shared >= 1, "ARP requests sent from the VIP likewise");
	client_drop(&c);
	enter(N1);
	must("ip neigh flush all");
	c = tcp_connect(AF_INET6, 60);
	ok(c.at == N1 && quiet() && seen.nd_other == 0, "ND solicitations from the VIP likewise");
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

/* One UDP packet to port 9000 of a VIP, from any address and port. */
static void raw_udp(int fd, int ifindex, const struct addr *from, uint16_t port)
{
	bool v4 = from->family == AF_INET;
	uint8_t p[128] = { 0 };
	struct ether_header eth = { .ether_shost = { 2 },
				    .ether_type = htons(v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6) };
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 9, .protocol = IPPROTO_UDP,
			    .tot_len = htons(28) };
	struct ip6_hdr ip6 = { .ip6_flow = htonl(6u << 28), .ip6_plen = htons(8),
			       .ip6_nxt = IPPROTO_UDP, .ip6_hlim = 9 };
	struct udphdr udp = { .source = htons(port), .dest = htons(9000), .len = htons(8) };
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = ifindex };
	size_t size = 14 + (v4 ? 20 : 40) + 8;
	uint32_t sum = 0;
	unsigned int i;

	memcpy(eth.ether_dhost, v4 ? mac4 : mac6, 6);
	memcpy(p, &eth, 14);
	memcpy(&ip.saddr, from->b, 4);
	memcpy(&ip.daddr, vip4.b, 4);
	memcpy(&ip6.ip6_src, from->b, 16);
	memcpy(&ip6.ip6_dst, vip6.b, 16);
	memcpy(p + 14, v4 ? (void *)&ip : &ip6, v4 ? 20 : 40);
	if (v4) {
		for (i = 0; i < 20; i += 2)
			sum += (uint32_t)p[14 + i] << 8 | p[15 + i];
		sum = (sum & 0xffff) + (sum >> 16);
		ip.check = htons((uint16_t)~sum);
		memcpy(p + 14, &ip, 20);
	}
	memcpy(p + size - 8, &udp, 8);
	if (sendto(fd, p, size, 0, (void *)&to, sizeof(to)) != (ssize_t)size)
		die("raw");
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
	node[N1].conf.hash = hash;
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

/* Renews every 30 ms for a second and a half.  Returns the number of failures, prints the longest. */
static int renewer(struct lease_table *t)
{
	int64_t longest = 0, start = now_us(), now;
	int bad = 0;

	do {
		now = now_us();
		bad += lease_table_renew(t, 150) != 0;
		if (now_us() - now > longest)
			longest = now_us() - now;
		sleep_ms(30);
	} while (now - start < 1500000);
	printf("# lease: longest renewal %d us\n", (int)longest);
	fflush(stdout);
	return bad;
}

static void check_big(void)
{
	char dev[1][IFNAME_SIZE] = { "eth1" };
	struct rules_timing t;
	struct lease_table *lease;
	int64_t start, took;
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
	ret |= rules_commit(node[N1].rules, &node[N1].want);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(renewer(lease) > 0);
	sleep_ms(100);
	for (n = 0; n < 4; n++) {
		for (i = 0; i < BUCKETS_MAX; i++)
			node[N1].action[i].state = n % 2 ? BUCKET_ADOPTING : BUCKET_MINE;
		rules_timing(node[N1].rules, &t, true);
		start = now_us();
		ret |= rules_commit(node[N1].rules, &node[N1].want);
		took = now_us() - start;
		rules_timing(node[N1].rules, &t, true);
		printf("# commit of 65536 buckets: %d us, %d transactions, longest %d us, "
		       "%d conflicts\n", (int)took, (int)t.transactions, (int)t.longest_us,
		       (int)t.conflicts);
		if (t.longest_us > 30000)
			ret = -ETIME;
	}
	ok(!ret, "65536 buckets: all committed, no transaction longer than lease/5 (30 ms)%s%s",
	   ret ? ": " : "", ret ? rules_strerror(node[N1].rules) : "");
	waitpid(pid, &status, 0);
	ok(status == 0, "a lease of 150 ms was renewed beside these commits without a failure");
	lease_table_close(lease);
	ret = rules_dispatch(node[N1].rules);
	ok(!ret, "65536 changes of our own do not alarm");
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

int main(void)
{
	struct sockaddr_ll any = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int size = 8 << 20;

	alarm(120);
	srandom(1);
	addr_parse(&vip4, VIP4);
	addr_parse(&vip6, VIP6);
	addr_flood_mac(&vip4, mac4);
	addr_flood_mac(&vip6, mac6);
	make_namespaces();
	make_links();
	node_setup(N1);
	node_setup(N2);
	node_open(N1);
	node_open(N2);
	enter(CLIENT);
	any.sll_ifindex = (int)if_nametoindex("eth0");
	sniffer = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	setsockopt(sniffer, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(sniffer, (void *)&any, sizeof(any)))
		die("sniffer");

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
	check_jhash(AF_INET, HASH_SOURCE_PORT, 2000);
	check_jhash(AF_INET6, HASH_SOURCE_PORT, 2000);
	check_jhash(AF_INET, HASH_SOURCE, 300);
	check_jhash(AF_INET6, HASH_SOURCE, 300);
	check_big();
	check_second();
	check_remove();
	printf("# %d checks, %d failed\n", checks, failures);
	return failures != 0;
}

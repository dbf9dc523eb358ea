/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
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

#include "rules_lab.h"
#include "util/jhash.h"

struct node node[2];
struct addr vip4, vip6;
uint8_t mac4[6], mac6[6];
unsigned int checks, failures;
bool lab_early;
struct seen seen;
static int ns[N_NS];

void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%s - ", good ? "ok" : "not ok");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!good)
		printf("# seen: %u RST, %u SYN+ACK, %u ICMP, ARP %u shared %u other, "
		       "ND %u shared %u other\n", seen.rst, seen.syn_ack, seen.icmp,
		       seen.arp_shared, seen.arp_other,
		       seen.nd_shared, seen.nd_other);
	fflush(stdout);
	checks++;
	failures += !good;
}

void die(const char *what)
{
	printf("not ok - %s: %s\n", what, strerror(errno));
	exit(1);
}

int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int lab_slow(void)
{
	const char *text = getenv("LAB_SLOW");
	int slow = text ? atoi(text) : 1;

	return slow >= 1 && slow <= 100 ? slow : 1;
}

void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

void enter(int which)
{
	if (setns(ns[which], CLONE_NEWNET))
		die("setns");
}

int sh(const char *fmt, ...)
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

void must(const char *cmd)
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
		.hash = HASH_SOURCE_PORT, .action = n->action, .n_peers = 1, .peer = &n->peer,
	};
	n->want = (struct rules_want){ .n_services = 1, .service = &n->service,
				       .self = (uint8_t)(i + 1) };
}

void node_open(int i)
{
	char dev[1][IFNAME_SIZE] = { "eth0" };
	struct node *n = &node[i];
	char why[256];

	enter(i);
	n->want.early = lab_early;
	if (lab_early && early_open(&n->early, &n->want, why, sizeof(why))) {
		printf("skip - no fast path here: %s\n", why);
		exit(77);
	}
	if (rules_open(&n->rules, NULL) || rules_guard_install(n->rules, &n->want) ||
	    node_commit(i)) {
		printf("not ok - node %d: %s\n", i + 1,
		       n->rules ? rules_strerror(n->rules) : "open");
		exit(1);
	}
	if (lease_table_open(&n->lease, dev, 1) || lease_table_start(n->lease, 600000))
		die("lease");
}

void node_close(int i)
{
	early_close(node[i].early);
	rules_close(node[i].rules);
	lease_table_close(node[i].lease);
	node[i].early = NULL;
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
void sniff(void)
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
void sniff_reset(void)
{
	sniff();
	memset(&seen, 0, sizeof(seen));
}

bool quiet(void)
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

/* The node (0, 1) that accepts, or -1 when none does in time. */
struct client tcp_connect(int family, uint32_t bucket)
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

void client_drop(struct client *c)
{
	int one = 1;

	setsockopt(c->fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
	close(c->fd);
	if (c->server >= 0) {
		setsockopt(c->server, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
		close(c->server);
	}
}

bool arrives(int from, int to)
{
	struct pollfd p = { .fd = to, .events = POLLIN };
	char x = 'x';

	return write(from, &x, 1) == 1 && poll(&p, 1, WAIT_MS) == 1 && read(to, &x, 1) == 1;
}

bool works(const struct client *c)
{
	return arrives(c->fd, c->server) && arrives(c->server, c->fd);
}

int udp_send(uint16_t dport, uint32_t bucket)
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

/* One UDP packet to port 9000 of a VIP, from any address and port. */
void raw_udp(int fd, int ifindex, const struct addr *from, uint16_t port)
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

int node_commit(int i)
{
	struct node *n = &node[i];
	int ret;

	early_hold(n->early, &n->want);
	ret = rules_commit(n->rules, &n->want);
	if (ret)
		early_clear(n->early);
	else
		early_release(n->early, &n->want);
	return ret;
}

void state(int i, uint32_t bucket, enum bucket_state s)
{
	node[i].action[bucket].state = (uint8_t)s;
	node[i].action[bucket].to = s == BUCKET_MINE ? NOBODY : node[i].peer.id;
	enter(i);
	if (node_commit(i)) {
		printf("not ok - commit: %s\n", rules_strerror(node[i].rules));
		exit(1);
	}
}

void states(uint32_t bucket, enum bucket_state s1, enum bucket_state s2)
{
	state(N1, bucket, s1);
	state(N2, bucket, s2);
	sniff_reset();
}

struct rules_counters count(int i)
{
	struct rules_counters c;

	if (rules_counters(node[i].rules, 0, &c) || early_counters(node[i].early, 0, &c))
		die(rules_strerror(node[i].rules));
	return c;
}

void lab_make(void)
{
	struct sockaddr_ll any = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int size = 8 << 20;

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
}

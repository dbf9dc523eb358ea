/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is behind the ingress (rules_stack.c, rules_guard.c, the lease), against this machine's kernel,
 * with packets.  The marks that the ingress would set come from a table of the test's own.
 *
 *      hub namespace:        br0
 *                   +---------+---------+
 *                node:eth0  peer:eth0  client:eth0     10.77.0.{1,2,9}, fd77::{1,2,9}
 *                node:eth1 - peer:eth1                 10.79.0.{1,2}, fd79::{1,2}
 *
 * VIPs at the node: .250 (announce, by eth0), .251 (route, by eth1), .252 (flood, unicast MAC).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/rules_build.h"
#include "io/rules_nl.h"
#include "stack_queue.h"

#define WAIT_MS 300
#define PORT    5000
#define LEASE_MS 600000
#define QUEUE   40

enum { NODE, PEER, CLIENT, HUB, N_NS };
enum { ANNOUNCE, ROUTE, FLOOD, N_SERVICES };	/* index, and last digit of the VIP less 250 */

static const int families[] = { AF_INET, AF_INET6 };
static int ns[N_NS];
static unsigned int checks, failures;

/* of the node; 'service' and what it points to is what the next live_open() installs */
static struct conf_service conf[N_SERVICES];
static struct rules_peer peer[N_SERVICES];
static struct rules_service service[N_SERVICES];
static struct rules_member member[2];
static struct rules_want want;
static int ifindex[N_SERVICES];
static struct rules_nl *live;
static struct lease_table *lease;

static int udp[2], tcp[2];			/* at the node, all addresses; IPv4, IPv6 */
static int at_peer[2], at_client;		/* packet sockets: peer's eth0, eth1, client's eth0 */
static uint8_t node_mac[6], peer_mac[2][6], client_mac[6];

/* ---- harness ---- */

static void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%s - ", good ? "ok" : "not ok");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	checks++;
	failures += !good;
}

static void die(const char *what) __attribute__((noreturn));

static void die(const char *what)
{
	printf("not ok - %s: %s\n", what, strerror(errno));
	exit(1);
}

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	ret = system(cmd);
	return WIFEXITED(ret) ? WEXITSTATUS(ret) : 128 + WTERMSIG(ret);
}

#define MUST(...) do { if (sh(__VA_ARGS__)) die("set-up: " #__VA_ARGS__); } while (0)

static void enter(int which)
{
	if (setns(ns[which], CLONE_NEWNET))
		die("setns");
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const char *v(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static struct addr address(int family, unsigned int net, unsigned int host)
{
	struct addr a;
	char text[ADDR_STR];

	snprintf(text, sizeof(text), family == AF_INET ? "10.%u.0.%u" : "fd%u::%u", net, host);
	if (addr_parse(&a, text))
		die(text);
	return a;
}

static struct addr vip(int family, int s)
{
	return address(family, 77, 250 + (unsigned int)s);
}

static const char *text(struct addr a)
{
	static char buf[4][ADDR_STR];
	static unsigned int i;

	return addr_str(&a, buf[i++ % 4]);
}

static socklen_t fill(struct sockaddr_storage *ss, struct addr a, uint16_t port)
{
	struct sockaddr_in *a4 = (void *)ss;
	struct sockaddr_in6 *a6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = a.family;
	if (a.family == AF_INET) {
		a4->sin_port = htons(port);
		memcpy(&a4->sin_addr, a.b, 4);
		return sizeof(*a4);
	}
	a6->sin6_port = htons(port);
	memcpy(&a6->sin6_addr, a.b, 16);
	return sizeof(*a6);
}

/* ---- topology ---- */

static int packet_socket(int which, const char *dev, uint8_t mac[6])
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq ifr = { 0 };
	int fd;

	enter(which);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	ll.sll_ifindex = (int)if_nametoindex(dev);
	strcpy(ifr.ifr_name, dev);
	if (fd < 0 || bind(fd, (void *)&ll, sizeof(ll)) || ioctl(fd, SIOCGIFHWADDR, &ifr))
		die("packet socket");
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	return fd;
}

static int listener(int family, int type)
{
	struct sockaddr_storage ss;
	struct addr any = { .family = (uint8_t)family };
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = fill(&ss, any, type == SOCK_STREAM ? 80 : PORT);

	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len) || (type == SOCK_STREAM && listen(fd, 16)))
		die("listen");
	return fd;
}

static void make_links(void)
{
	static const unsigned int host[] = { 1, 2, 9 };
	uint8_t mac[6];
	int i;

	for (i = 0; i < N_NS; i++) {
		if (unshare(CLONE_NEWNET)) {
			printf("skip - no network namespaces: %s\n", strerror(errno));
			exit(errno == EPERM ? 77 : 1);
		}
		ns[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		MUST("ip link set lo up");
	}
	MUST("ip link add br0 type bridge mcast_snooping 0 forward_delay 0; ip link set br0 up");
	for (i = NODE; i <= CLIENT; i++)
		MUST("ip link add p%d type veth peer name eth0 netns /proc/%d/fd/%d && "
		     "ip link set p%d master br0 up", i, getpid(), ns[i], i);
	enter(NODE);
	MUST("ip link add eth1 type veth peer name eth1 netns /proc/%d/fd/%d", getpid(), ns[PEER]);
	for (i = NODE; i <= CLIENT; i++) {
		enter(i);
		MUST("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
		     "net.ipv4.conf.eth0.rp_filter=0 net.ipv6.conf.eth0.accept_dad=0; "
		     "ip addr add 10.77.0.%u/24 dev eth0; ip addr add fd77::%u/64 dev eth0 nodad; "
		     "ip link set eth0 up", host[i], host[i]);
		if (i != CLIENT)
			MUST("ip addr add 10.79.0.%u/24 dev eth1; ip link set eth1 up; "
			     "ip addr add fd79::%u/64 dev eth1 nodad", host[i], host[i]);
	}
	enter(NODE);
	MUST("for n in 250 251 252; do ip addr add 10.77.0.$n/32 dev lo; done; "
	     "for n in 250 252; do ip addr add fd77::$n/128 dev eth0 nodad preferred_lft 0; done; "
	     "ip addr add fd77::251/128 dev lo nodad");
	at_peer[0] = packet_socket(PEER, "eth0", peer_mac[0]);
	at_peer[1] = packet_socket(PEER, "eth1", peer_mac[1]);
	at_client = packet_socket(CLIENT, "eth0", client_mac);
	close(packet_socket(NODE, "eth0", mac));
	memcpy(node_mac, mac, 6);
}

static void make_services(void)
{
	int i, k;

	enter(NODE);
	for (i = 0; i < N_SERVICES; i++) {
		conf[i] = (struct conf_service){
			.name = "s", .n_vips = 2, .vip = { vip(AF_INET, i), vip(AF_INET6, i) },
			.n_ports = 1, .port = { { IPPROTO_TCP, 80, 80 } },
			.dispatch = i == ANNOUNCE ? DISPATCH_ANNOUNCE : i == ROUTE ? DISPATCH_ROUTE :
				    DISPATCH_FLOOD,
			.mac = MAC_UNICAST,
		};
		k = i == ROUTE;		/* eth1 */
		peer[i] = (struct rules_peer){ .id = 2, .addr4 = address(AF_INET, k ? 79 : 77, 2),
					       .addr6 = address(AF_INET6, k ? 79 : 77, 2) };
		memcpy(peer[i].mac, peer_mac[k], 6);
		service[i] = (struct rules_service){
			.conf = &conf[i], .buckets = 64, .n_peers = 1, .peer = &peer[i],
			.own4 = address(AF_INET, 77, 1), .own6 = address(AF_INET6, 77, 1),
		};
		snprintf(service[i].interface, IFNAME_SIZE, "eth%d", k);
		ifindex[i] = (int)if_nametoindex(service[i].interface);
	}
	service[ANNOUNCE].mss4 = 1200;
	service[ANNOUNCE].mss6 = 1180;
	for (i = 0; i < 2; i++)
		member[i] = (struct rules_member){ address(families[i], 77, 9), 0xc1d001 };
	want = (struct rules_want){
		.n_services = N_SERVICES, .service = service, .self = 1, .queue = QUEUE,
		.n_queues = 2, .vxlan_port = 4789, .n_members = 2, .member = member,
	};
	for (i = 0; i < 2; i++) {
		udp[i] = listener(families[i], SOCK_DGRAM);
		tcp[i] = listener(families[i], SOCK_STREAM);
	}
}

/* ---- rules ---- */

static void install(struct rules_nl *nl, const struct rules_plan *p)
{
	struct rules_batch b = { 0 };
	struct rules_diff d;
	struct rules_result res;
	char what[128] = "";
	unsigned int i;
	int ret;

	if (p->failed || rules_plan_diff(&d, NULL, p))
		die("plan");
	rules_batch_begin(&b);
	for (i = 0; i < d.n; i++)
		rules_batch_op(&b, &d.op[i]);
	rules_batch_end(&b);
	ret = rules_nl_commit(nl, &b, 20, NULL, NULL, &res);
	if (ret) {
		if (b.what[res.message].obj)
			rules_obj_str(p, b.what[res.message].obj, what, sizeof(what));
		errno = -ret;
		die(what);
	}
	rules_diff_free(&d);
	rules_batch_free(&b);
}

static void live_open(void)
{
	struct rules_plan p = { 0 };
	struct rules_mk b = { .p = &p };

	enter(NODE);
	if (rules_nl_open(&live))
		die("netlink");
	build_stack(&b, &want, ifindex);
	install(live, &p);
	rules_plan_free(&p);
}

static void live_close(void)
{
	rules_nl_close(live);
	live = NULL;
}

static void guard_open(void)
{
	struct rules_plan p = { 0 };
	struct rules_nl *nl;

	enter(NODE);
	if (rules_nl_open(&nl) || rules_plan_guard(&p, &want))
		die("guard");
	install(nl, &p);
	rules_nl_close(nl);
	rules_plan_free(&p);
}

static void guard_close(void)
{
	enter(NODE);
	MUST("nft 'delete table inet clusterd_guard; delete table ip6 clusterd_guard; "
	     "delete table arp clusterd_guard'");
}

/* What the ingress would do: packets that match get this mark (before the lease's chain). */
static void mark(uint32_t value, const char *match, ...) __attribute__((format(printf, 2, 3)));

static void mark(uint32_t value, const char *match, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, match);
	vsnprintf(buf, sizeof(buf), match, ap);
	va_end(ap);
	enter(NODE);
	if (sh("nft 'flush chain netdev marks in; add rule netdev marks in %s "
	       "meta mark set 0x%x meta pkttype set host'", buf, value))
		die(buf);
}

static void mark_vip(uint32_t value, int family, int s)
{
	mark(value, "%s daddr %s", family == AF_INET ? "ip" : "ip6", text(vip(family, s)));
}

static void no_mark(void)
{
	enter(NODE);
	MUST("nft flush chain netdev marks in");
}

static unsigned long packets(const char *table, const char *name)
{
	unsigned long n = 0;
	char cmd[128], line[128];
	bool found = false;
	FILE *f;

	enter(NODE);
	snprintf(cmd, sizeof(cmd), "nft list counter %s %s 2>&1", table, name);
	f = popen(cmd, "r");
	while (f && fgets(line, sizeof(line), f))
		found |= sscanf(line, " packets %lu", &n) == 1;
	if (!f || pclose(f) || !found)
		die(cmd);
	return n;
}

static void make_tables(void)
{
	char dev[1][IFNAME_SIZE] = { "eth0" };

	enter(NODE);
	MUST("nft 'add table netdev marks; add chain netdev marks in "
	     "{ type filter hook ingress device eth0 priority -10; }'");
	MUST("nft 'add table inet look; add counter inet look kept; add counter inet look strange; "
	     "add counter inet look leak; "
	     "add chain inet look first { type filter hook prerouting priority -300; }; "
	     "add chain inet look last { type filter hook prerouting priority 0; }; "
	     "add rule inet look first meta mark 0xc1d20311 counter name kept; "
	     "add rule inet look first meta mark 0xc1d00021 counter name strange; "
	     "add rule inet look last meta mark and 0xfff00000 == 0xc1d00000 counter name leak'");
	live_open();
	guard_open();
	MUST("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0");
	if (lease_table_open(&lease, dev, 1) || lease_table_start(lease, LEASE_MS))
		die("lease");
	enter(CLIENT);
	for (unsigned int n = 250; n <= 252; n++)
		for (int i = 0; i < 2; i++)
			MUST("ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev eth0 "
			     "nud permanent", text(address(families[i], 77, n)), node_mac[0],
			     node_mac[1], node_mac[2], node_mac[3], node_mac[4], node_mac[5]);
}

/* ---- packets ---- */

struct frame {
	const struct ether_header *eth;
	const uint8_t *net, *data;	/* network header; transport header, if IP */
	int family, proto, ttl, left;	/* of IP: left = bytes of 'data'; family 0: not IP */
	struct addr from, to;
};

static bool dissect(struct frame *f, const uint8_t *b, ssize_t len)
{
	const struct iphdr *i4 = (const void *)(b + 14);
	const struct ip6_hdr *i6 = (const void *)(b + 14);

	memset(f, 0, sizeof(*f));
	if (len < 42)
		return false;
	f->eth = (const void *)b;
	f->net = b + 14;
	if (f->eth->ether_type == htons(ETH_P_IP)) {
		f->family = AF_INET;
		f->proto = i4->protocol;
		f->ttl = i4->ttl;
		f->data = f->net + i4->ihl * 4;
		memcpy(f->from.b, &i4->saddr, 4);
		memcpy(f->to.b, &i4->daddr, 4);
	} else if (f->eth->ether_type == htons(ETH_P_IPV6) && len >= 54) {
		f->family = AF_INET6;
		f->proto = i6->ip6_nxt;
		f->ttl = i6->ip6_hlim;
		f->data = f->net + 40;
		memcpy(f->from.b, &i6->ip6_src, 16);
		memcpy(f->to.b, &i6->ip6_dst, 16);
	}
	f->from.family = f->to.family = (uint8_t)f->family;
	f->left = f->family ? (int)(b + len - f->data) : 0;
	return true;
}

/* The first frame that 'match' likes, within 'ms'; it stays valid until the next call. */
static bool capture(int fd, int ms, bool (*match)(const struct frame *f), struct frame *f)
{
	static uint8_t buf[4096];
	int64_t end = now_ms() + ms;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left;

	while ((left = end - now_ms()) >= 0) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0)
			poll(&p, 1, (int)left);
		else if (dissect(f, buf, n) && match(f))
			return true;
	}
	return false;
}

static void forget(int fd)
{
	char buf[64];

	while (recv(fd, buf, sizeof(buf), MSG_TRUNC) >= 0)
		;
}

static void forget_all(void)
{
	forget(at_peer[0]);
	forget(at_peer[1]);
	forget(at_client);
	forget(udp[0]);
	forget(udp[1]);
}

/* From the client, from port 6000; 'ttl' 0: the usual 64. */
static void send_udp(struct addr to, uint16_t port, const void *data, size_t size, int ttl)
{
	struct sockaddr_storage ss;
	struct addr any = { .family = to.family };
	bool v4 = to.family == AF_INET;
	socklen_t len = fill(&ss, any, 6000);
	int fd, one = 1;

	enter(CLIENT);
	fd = socket(to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ttl)
		setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_UNICAST_HOPS,
			   &ttl, sizeof(ttl));
	if (bind(fd, (void *)&ss, len))
		die("bind");
	len = fill(&ss, to, port);
	if (sendto(fd, data, size, 0, (void *)&ss, len) < 0)
		die("sendto");
	close(fd);
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* One datagram for the VIP of 's': does the node's socket get it? */
static bool served(int family, int s)
{
	forget_all();
	send_udp(vip(family, s), PORT, "x", 1, 0);
	return readable(udp[family == AF_INET6], WAIT_MS);
}

static int want_proto, want_dport;
static struct addr want_to;

static bool is_wanted(const struct frame *f)
{
	uint16_t port;

	if (!f->family || f->proto != want_proto || addr_cmp(&f->to, &want_to))
		return false;
	memcpy(&port, f->data + 2, 2);
	return port == htons((uint16_t)want_dport);
}

/* Did the peer get, on eth'k', what was sent to the VIP of 's'?  With one hop less, in its own frame. */
static bool peer_got(int k, int proto, int dport, int family, int s)
{
	struct addr client = address(family, 77, 9);
	struct frame f;

	want_proto = proto;
	want_dport = dport;
	want_to = vip(family, s);
	if (!capture(at_peer[k], WAIT_MS, is_wanted, &f))
		return false;
	if (memcmp(f.eth->ether_dhost, peer_mac[k], 6) || f.ttl != 63 || addr_cmp(&f.from, &client)) {
		printf("# at the peer: TTL %d, from %s\n", f.ttl, text(f.from));
		return false;
	}
	return true;
}

static uint32_t sum16(uint32_t sum, const void *data, size_t size)
{
	const uint8_t *b = data;
	size_t i;

	for (i = 0; i < size; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	return sum;
}

/* Of an IP payload with its pseudo-header (RFC 8200 section 8.1); 0xffff: right. */
static uint16_t checksum(const struct addr *from, const struct addr *to, int proto, const void *data,
			 size_t size)
{
	uint32_t sum = (uint32_t)proto + (uint32_t)size;

	sum = sum16(sum, from->b, addr_size(from));
	sum = sum16(sum, to->b, addr_size(to));
	sum = sum16(sum, data, size);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* A TCP segment without SYN, of a connection that nobody knows, to the VIP's port 80. */
static void send_midstream(int family, int s)
{
	struct addr from = address(family, 77, 9), to = vip(family, s);
	uint8_t b[74] = { 0 };
	struct tcphdr *t = (void *)(b + (family == AF_INET ? 34 : 54));
	size_t size = family == AF_INET ? 54 : 74;

	memcpy(b, node_mac, 6);
	memcpy(b + 6, client_mac, 6);
	if (family == AF_INET) {
		struct iphdr *i4 = (void *)(b + 14);

		memcpy(b + 12, "\x08\x00", 2);
		*i4 = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons(40), .ttl = 64,
				      .protocol = IPPROTO_TCP };
		memcpy(&i4->saddr, from.b, 4);
		memcpy(&i4->daddr, to.b, 4);
		/* without the pseudo-header's part it is the header's checksum */
		i4->check = htons((uint16_t)~checksum(&(struct addr){ 0 }, &(struct addr){ 0 }, -20,
						      i4, 20));
	} else {
		struct ip6_hdr *i6 = (void *)(b + 14);

		memcpy(b + 12, "\x86\xdd", 2);
		i6->ip6_vfc = 0x60;
		i6->ip6_plen = htons(20);
		i6->ip6_nxt = IPPROTO_TCP;
		i6->ip6_hlim = 64;
		memcpy(&i6->ip6_src, from.b, 16);
		memcpy(&i6->ip6_dst, to.b, 16);
	}
	*t = (struct tcphdr){ .source = htons(7777), .dest = htons(80), .seq = htonl(1000),
			      .ack_seq = htonl(2000), .doff = 5, .ack = 1, .window = htons(500) };
	t->check = htons((uint16_t)~checksum(&from, &to, IPPROTO_TCP, t, 20));
	if (send(at_client, b, size, 0) != (ssize_t)size)
		die("send");
}

/* ---- checks ---- */

static void check_listing(void)
{
	enter(NODE);
	ok(!sh("nft list ruleset >/dev/null 2>&1"), "nft lists it all");
	/* what the tool is told says what the kernel has */
	ok(rules_queue_native() ==
	   !sh("nft 'add table inet q; add chain inet q c; add rule inet q c queue num 0; "
	       "delete table inet q' 2>/dev/null"),
	   "the probe for queue is right: %d", rules_queue_native());
	ok(sh("nft list tables | grep -q clusterd_try"), "... and leaves nothing");
}

/* ... the client's datagrams to the VIP? */
static bool conntrack_knows(int family, int s)
{
	enter(NODE);
	return !sh("conntrack -L -f %s -p udp -d %s --orig-port-dst %d 2>/dev/null | grep -q .",
		   family == AF_INET ? "ipv4" : "ipv6", text(vip(family, s)), PORT);
}

static void check_hand(int family, int s)
{
	int k = s == ROUTE;

	enter(NODE);
	MUST("conntrack -F 2>/dev/null");
	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(s), family, s);
	forget_all();
	send_udp(vip(family, s), PORT, "x", 1, 0);
	ok(peer_got(k, IPPROTO_UDP, PORT, family, s), "%s, service %d: handed to the peer by eth%d",
	   v(family), s, k);
	ok(!capture(at_peer[!k], 50, is_wanted, &(struct frame){ 0 }) &&
	   !readable(udp[family == AF_INET6], 0), "... once, and not accepted here");
	ok(!conntrack_knows(family, s), "... conntrack remembers nothing");
}

static void check_lost(int family)
{
	const char *table = family == AF_INET ? "ip clusterd" : "ip6 clusterd";
	unsigned long before = packets(table, "lost");

	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(3), family, ANNOUNCE);
	ok(!served(family, ANNOUNCE) && !peer_got(0, IPPROTO_UDP, PORT, family, ANNOUNCE) &&
	   packets(table, "lost") == before + 1, "%s: for a node that there is not: dropped", v(family));
	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(2), family, ANNOUNCE);
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, "x", 1, 1);
	want_proto = IPPROTO_UDP;
	want_dport = PORT;
	want_to = vip(family, ANNOUNCE);
	ok(!capture(at_peer[0], WAIT_MS, is_wanted, &(struct frame){ 0 }) &&
	   packets(table, "lost") == before + 2, "... its last hop used up: dropped");
	enter(NODE);
	lease_table_end(lease);
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, "x", 1, 0);
	ok(!capture(at_peer[0], WAIT_MS, is_wanted, &(struct frame){ 0 }),
	   "... without a lease nothing is handed on");
	if (lease_table_start(lease, LEASE_MS))
		die("lease");
}

static bool is_syn_ack(const struct frame *f)
{
	const struct tcphdr *t = (const void *)f->data;

	return f->proto == IPPROTO_TCP && t->syn && t->ack && !addr_cmp(&f->from, &want_to);
}

static bool is_rst(const struct frame *f)
{
	return f->proto == IPPROTO_TCP && ((const struct tcphdr *)(const void *)f->data)->rst;
}

/* A connection from the client to the VIP of 's'; 'server' is -1 if there is none. */
static int tcp_open(int family, int s, int *server)
{
	struct sockaddr_storage ss;
	socklen_t len = fill(&ss, vip(family, s), 80);
	int fd, i = family == AF_INET6;

	enter(CLIENT);
	forget_all();
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(fd, (void *)&ss, len) && errno != EINPROGRESS)
		die("connect");
	*server = readable(tcp[i], WAIT_MS) ? accept(tcp[i], NULL, NULL) : -1;
	return fd;
}

static void close_both(int fd, int server)
{
	struct linger l = { .l_onoff = 1 };

	if (server >= 0) {
		setsockopt(server, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		close(server);
	}
	close(fd);
}

/* One byte from the client to the server. */
static bool flows(int fd, int server)
{
	char c;

	return server >= 0 && send(fd, "x", 1, MSG_NOSIGNAL) == 1 && readable(server, WAIT_MS) &&
	       recv(server, &c, 1, 0) == 1;
}

static void check_second(int family, int s)
{
	char name[32];
	unsigned long before;
	int fd, server;

	snprintf(name, sizeof(name), "s%d_second", s);
	mark_vip(RULES_MARK_ACCEPT, family, s);
	fd = tcp_open(family, s, &server);
	ok(flows(fd, server), "%s, service %d: a connection", v(family), s);
	before = packets("inet clusterd", name);
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(s), family, s);
	ok(flows(fd, server) && packets("inet clusterd", name) == before,
	   "... known here, so no second chance");
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(RULES_NODE_QUEUE) | RULES_MARK_SERVICE(s), family,
		 s);
	ok(flows(fd, server), "... nor a look at the queue");
	mark_vip(RULES_MARK_CHECK, family, s);
	ok(flows(fd, server), "... and accepted without");

	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(s), family, s);
	forget_all();
	send_midstream(family, s);
	ok(peer_got(s == ROUTE, IPPROTO_TCP, 80, family, s) &&
	   packets("inet clusterd", name) == before + 1, "... unknown here: handed to the peer, counted");
	ok(!capture(at_client, 50, is_rst, &(struct frame){ 0 }), "... no reset");
	close_both(fd, server);
}

static void check_unknown(int family)
{
	unsigned long before = packets("inet clusterd", "unknown");

	mark_vip(RULES_MARK_CHECK, family, ANNOUNCE);
	forget_all();
	send_midstream(family, ANNOUNCE);
	ok(!peer_got(0, IPPROTO_TCP, 80, family, ANNOUNCE) &&
	   !capture(at_client, 50, is_rst, &(struct frame){ 0 }) &&
	   packets("inet clusterd", "unknown") == before + 1,
	   "%s: unknown here, no node named: dropped", v(family));
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(9), family, ANNOUNCE);
	forget_all();
	send_midstream(family, ANNOUNCE);
	ok(!peer_got(0, IPPROTO_TCP, 80, family, ANNOUNCE) &&
	   packets("inet clusterd", "unknown") == before + 2, "... a service that there is not: dropped");
}

static void check_queue(int family)
{
	uint32_t queued = RULES_MARK_QUEUE | RULES_MARK_SERVICE(ANNOUNCE), seen = 0;
	struct stack_queue *q;

	mark_vip(queued, family, ANNOUNCE);
	ok(!served(family, ANNOUNCE), "%s: nobody listens to the queue: dropped", v(family));
	enter(NODE);
	q = stack_queue_open(QUEUE, 2);
	if (!q)
		die("queue");
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, "x", 1, 0);
	ok(stack_queue_answer(q, ACCEPT_LEASED, WAIT_MS, &seen) && seen == (queued | RULES_MARK_LEASED) &&
	   readable(udp[family == AF_INET6], WAIT_MS), "... told to accept: accepted");
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, "x", 1, 0);
	ok(stack_queue_answer(q, HAND_LEASED | RULES_MARK_NODE(2), WAIT_MS, &seen) &&
	   peer_got(0, IPPROTO_UDP, PORT, family, ANNOUNCE) &&
	   !readable(udp[family == AF_INET6], 0), "... told to hand on: handed to the peer");
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, "x", 1, 0);
	ok(stack_queue_answer(q, queued | RULES_MARK_LEASED, WAIT_MS, &seen) &&
	   !readable(udp[family == AF_INET6], WAIT_MS), "... told nothing new: dropped");
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(RULES_NODE_QUEUE) | RULES_MARK_SERVICE(ROUTE),
		 family, ROUTE);
	send_midstream(family, ROUTE);
	ok(stack_queue_answer(q, HAND_LEASED | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(ROUTE), WAIT_MS,
			      &seen) &&
	   seen == (QUEUE_LEASED | RULES_MARK_SERVICE(ROUTE)) &&
	   peer_got(1, IPPROTO_TCP, 80, family, ROUTE), "... unknown here, to be queued: asked");
	stack_queue_close(q);
	mark_vip(queued, family, ANNOUNCE);
	ok(!served(family, ANNOUNCE), "... nobody listens any more: dropped");
}

static void check_lease(int family)
{
	unsigned long kept = packets("inet look", "kept"), strange = packets("inet look", "strange");

	mark_vip(RULES_MARK_ACCEPT, family, ANNOUNCE);
	ok(served(family, ANNOUNCE) && conntrack_knows(family, ANNOUNCE),
	   "%s: accepted with a lease, and in conntrack", v(family));
	mark_vip(RULES_MARK_ACCEPT | RULES_MARK_NODE(3) | RULES_MARK_SERVICE(2), family, ANNOUNCE);
	ok(!served(family, ANNOUNCE) && packets("inet look", "kept") == kept + 1,
	   "... the lease adds its bit, node and service stay");
	mark_vip(RULES_MARK_ACCEPT | 0x20, family, ANNOUNCE);
	ok(!served(family, ANNOUNCE) && packets("inet look", "strange") == strange + 1,
	   "... a mark that is not ours is left alone, and not accepted");
	enter(NODE);
	lease_table_end(lease);
	mark_vip(RULES_MARK_ACCEPT, family, ANNOUNCE);
	ok(!served(family, ANNOUNCE), "... without a lease: dropped");
	if (lease_table_start(lease, LEASE_MS))
		die("lease");
	ok(!packets("inet look", "leak"), "... nobody behind the guard sees a mark of ours");
}

/* The guard alone, and a mark on a packet that is not for a VIP: nobody took it. */
static void check_guard_marks(void)
{
	static const uint32_t marks[] = { RULES_MARK_QUEUE, RULES_MARK_HAND | RULES_MARK_NODE(2),
					  RULES_MARK_CHECK | RULES_MARK_NODE(2) };
	struct addr own = address(AF_INET, 77, 1);
	unsigned int i;

	live_close();
	for (i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		mark(marks[i], "udp dport %d", PORT);
		forget_all();
		send_udp(own, PORT, "x", 1, 0);
		ok(!readable(udp[0], WAIT_MS), "guard alone: mark 0x%x is dropped", marks[i]);
	}
	no_mark();
	forget_all();
	send_udp(own, PORT, "x", 1, 0);
	ok(readable(udp[0], WAIT_MS), "... unmarked, to the node's own address: accepted");
	live_open();
}

/* ---- neighbours ---- */

/* An ARP reply or neighbour advertisement that says who has 'want_to'. */
static bool is_answer(const struct frame *f)
{
	if (want_to.family == AF_INET)
		return f->eth->ether_type == htons(ETH_P_ARP) && f->net[7] == ARPOP_REPLY &&
		       !memcmp(f->net + ARP_SPA, want_to.b, 4);
	return f->proto == IPPROTO_ICMPV6 && f->data[0] == 136 &&
	       !memcmp(f->data + ND_TARGET, want_to.b, 16);
}

/* Who has the VIP?  False: no answer; else the MAC that was said. */
static bool answers(int family, int s, uint8_t mac[6])
{
	struct frame f;

	want_to = vip(family, s);
	enter(CLIENT);
	sh("ip neigh del %s dev eth0 2>/dev/null", text(want_to));
	forget_all();
	send_udp(want_to, PORT, "x", 1, 0);
	if (!capture(at_client, WAIT_MS, is_answer, &f))
		return false;
	memcpy(mac, family == AF_INET ? f.net + ARP_SHA : f.data + ND_OPT_MAC, 6);
	return true;
}

static void mark_question(uint32_t value, int family)
{
	if (family == AF_INET)
		mark(value, "ether type arp");
	else
		mark(value, "icmpv6 type nd-neighbor-solicit");
}

static void check_gate(int family)
{
	uint8_t mac[6], shared[6];
	struct addr flood = vip(family, FLOOD);
	int s;

	no_mark();
	for (s = ANNOUNCE; s <= ROUTE; s++)
		ok(!answers(family, s, mac), "%s, service %d: not its holder: no answer", v(family), s);
	mark_question(RULES_MARK_ACCEPT, family);
	ok(answers(family, ANNOUNCE, mac) && !memcmp(mac, node_mac, 6),
	   "... its holder: answers with its own MAC");
	enter(NODE);
	lease_table_end(lease);
	ok(!answers(family, ANNOUNCE, mac), "... its holder without a lease: no answer");
	if (lease_table_start(lease, LEASE_MS))
		die("lease");
	no_mark();
	guard_close();
	ok(!answers(family, ANNOUNCE, mac), "... not its holder, the guard flushed away: no answer");
	guard_open();
	live_close();
	ok(!answers(family, ANNOUNCE, mac), "... the live tables gone: no answer");
	guard_close();
	ok(answers(family, ANNOUNCE, mac), "... both gone: it would answer");
	guard_open();
	live_open();
	addr_shared_mac(&flood, true, shared);
	ok(answers(family, FLOOD, mac) && !memcmp(mac, shared, 6),
	   "... flood: anybody answers, with the shared MAC");
}

/* The node's question for the client's MAC. */
static bool is_question(const struct frame *f)
{
	struct addr client = address(want_to.family, 77, 9);

	if (memcmp(f->eth->ether_shost, node_mac, 6))
		return false;
	if (want_to.family == AF_INET)
		return f->eth->ether_type == htons(ETH_P_ARP) && f->net[7] == ARPOP_REQUEST &&
		       !memcmp(f->net + ARP_TPA, client.b, 4);
	return f->proto == IPPROTO_ICMPV6 && f->data[0] == 135 &&
	       !memcmp(f->data + ND_TARGET, client.b, 16);
}

/* The node, which has forgotten the client's MAC, sends from the VIP.  False: it asked nobody. */
static bool asks(int family, struct frame *f)
{
	struct sockaddr_storage ss;
	socklen_t len = fill(&ss, vip(family, ANNOUNCE), PORT + 1);
	int fd, one = 1;

	want_to = vip(family, ANNOUNCE);
	enter(NODE);
	MUST("ip neigh flush dev eth0");
	forget_all();
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len))
		die("bind");
	len = fill(&ss, address(family, 77, 9), PORT + 2);
	if (sendto(fd, "x", 1, 0, (void *)&ss, len) != 1)
		die("sendto");
	close(fd);
	return capture(at_client, WAIT_MS, is_question, f);
}

static bool is_from_vip(const struct frame *f)
{
	return f->proto == IPPROTO_UDP && !addr_cmp(&f->from, &want_to);
}

static struct addr asker(const struct frame *f, int family)
{
	struct addr a = { .family = AF_INET };

	if (family == AF_INET6)
		return f->from;
	memcpy(a.b, f->net + ARP_SPA, 4);
	return a;
}

static void check_asking(int family)
{
	struct addr own = address(family, 77, 1), from, vip_addr = vip(family, ANNOUNCE);
	bool v4 = family == AF_INET, good;
	struct rules_service *s = &service[ANNOUNCE];
	struct frame f;

	no_mark();
	good = asks(family, &f);
	from = good ? asker(&f, family) : vip_addr;
	ok(good && !addr_cmp(&from, &own), "%s: the node asks for its client as %s", v(family), text(from));
	if (!v4)
		ok(good && checksum(&f.from, &f.to, IPPROTO_ICMPV6, f.data, (size_t)f.left) == 0xffff,
		   "... with a valid checksum");
	ok(capture(at_client, WAIT_MS, is_from_vip, &f), "... and is answered: its packet comes");

	guard_close();
	s->own4.family = s->own6.family = 0;
	live_close();
	live_open();
	ok(!asks(family, &f), "... it has no address of its own: does not ask");
	guard_open();
	live_close();
	ok(!asks(family, &f), "... the live tables gone: the guard lets it not ask as the VIP");
	guard_close();
	good = asks(family, &f);
	from = good ? asker(&f, family) : own;
	ok(good && !addr_cmp(&from, &vip_addr), "... both gone: it would");
	s->own4 = address(AF_INET, 77, 1);
	s->own6 = address(AF_INET6, 77, 1);
	guard_open();
	live_open();
}

/* With this sysctl the kernel announces all its addresses at some events, as it always does for a bond. */
static void check_unasked(void)
{
	struct frame f;
	bool seen;
	char cmd[128];

	no_mark();
	snprintf(cmd, sizeof(cmd), "sysctl -qw net.ipv6.conf.eth0.ndisc_notify=1; ip link set eth0 "
		 "address %02x:%02x:%02x:%02x:%02x:%02x", node_mac[0], node_mac[1], node_mac[2],
		 node_mac[3], node_mac[4], node_mac[5]);
	enter(NODE);
	forget_all();
	MUST("%s", cmd);
	want_to = address(AF_INET6, 77, 1);
	seen = capture(at_client, WAIT_MS, is_answer, &f);
	enter(NODE);
	forget_all();
	MUST("%s", cmd);
	want_to = vip(AF_INET6, ANNOUNCE);
	ok(seen && !capture(at_client, WAIT_MS, is_answer, &f),
	   "IPv6: the kernel announces the node's own address, and may not the VIP");
	guard_close();
	enter(NODE);
	forget_all();
	MUST("%s", cmd);
	ok(capture(at_client, WAIT_MS, is_answer, &f), "... without the guard it would");
	guard_open();
	enter(NODE);
	MUST("sysctl -qw net.ipv6.conf.eth0.ndisc_notify=0");
}

/* ---- MSS, vxlan ---- */

/* What the node offers in its SYN+ACK; 0: none. */
static unsigned int offered(int family, int s)
{
	unsigned int mss = 0;
	struct frame f;
	int fd, server, i;

	mark_vip(RULES_MARK_ACCEPT, family, s);
	fd = tcp_open(family, s, &server);
	want_to = vip(family, s);
	if (capture(at_client, WAIT_MS, is_syn_ack, &f))
		for (i = 20; i + 4 <= f.left && f.data[i] > 1; i += f.data[i + 1])
			if (f.data[i] == TCPOPT_MAXSEG)
				mss = (unsigned int)f.data[i + 2] << 8 | f.data[i + 3];
	close_both(fd, server);
	return mss;
}

static void check_mss(int family)
{
	unsigned int n = offered(family, ANNOUNCE);

	ok(n == (family == AF_INET ? 1200 : 1180), "%s: clamped MSS: %u", v(family), n);
	n = offered(family, ROUTE);
	ok(n == (family == AF_INET ? 1460 : 1440), "%s: another service's MSS: %u", v(family), n);
}

static void check_members(int family)
{
	static const struct { uint32_t vni; bool good; const char *what; } c[] = {
		{ 0xc1d001, true, "from the member" },
		{ 0xc1d002, false, "another member's tunnel" },
		{ 77, true, "somebody else's network" },
	};
	struct addr to = address(family, 77, 1), any = { .family = (uint8_t)family };
	struct sockaddr_storage ss;
	socklen_t len = fill(&ss, any, 4789);
	int one = 1, fd;
	unsigned int i;

	/* both of the client's VNIs are ours, the second is the peer's */
	member[0] = (struct rules_member){ address(family, 77, 9), 0xc1d001 };
	member[1] = (struct rules_member){ address(family, 77, 2), 0xc1d002 };
	live_close();
	live_open();
	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len))
		die("bind");
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		uint32_t vxlan[4] = { htonl(0x08000000), htonl(c[i].vni << 8 | (i == 0 ? 5 : 0)) };
		unsigned long before = packets("inet clusterd", "forged");

		send_udp(to, 4789, vxlan, sizeof(vxlan), 0);
		ok(readable(fd, WAIT_MS) == c[i].good &&
		   packets("inet clusterd", "forged") == before + !c[i].good, "%s, vxlan, %s: %s",
		   v(family), c[i].what, c[i].good ? "passes" : "dropped and counted");
		forget(fd);
	}
	close(fd);
}

/* As many devices as there can be. */
static void check_devices(void)
{
	enum { N = SERVICES_MAX + 3 * NODES_MAX };
	static char dev[N][IFNAME_SIZE];
	struct lease_table *t;
	int i, ret;

	enter(HUB);
	MUST("for i in $(seq 0 2 %d); do echo link add d$i type veth peer name d$((i + 1)); done | "
	     "ip -batch -", N - 1);
	for (i = 0; i < N; i++)
		snprintf(dev[i], IFNAME_SIZE, "d%d", i);
	ret = lease_table_open(&t, dev, N);
	ok(!ret, "a lease for %d devices%s%s", N, ret ? ": " : "", ret ? strerror(-ret) : "");
	if (!ret)
		lease_table_close(t);
}

int main(void)
{
	int i;

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	make_links();
	make_services();
	enter(NODE);
	want.queue_xt = rules_queue_native() == 0;
	make_tables();
	check_listing();
	for (i = 0; i < 2; i++) {
		check_hand(families[i], ANNOUNCE);
		check_hand(families[i], ROUTE);
		check_lost(families[i]);
		check_second(families[i], ANNOUNCE);
		check_second(families[i], ROUTE);
		check_unknown(families[i]);
		check_queue(families[i]);
		check_lease(families[i]);
		check_mss(families[i]);
		check_members(families[i]);
	}
	check_guard_marks();
	for (i = 0; i < 2; i++) {
		check_gate(families[i]);
		check_asking(families[i]);
	}
	check_unasked();
	check_devices();
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

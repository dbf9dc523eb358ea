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
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/rules_nl.h"
#include "stack_lab.h"

const int families[2] = { AF_INET, AF_INET6 };
unsigned int checks, failures;
struct rules_service service[N_SERVICES];
struct rules_member member[2];
struct rules_want want;
struct lease_table *lease;
int udp[2], tcp[2], at_peer[2], at_client;
uint8_t node_mac[6];
int want_proto, want_dport;
struct addr want_to;

static int ns[N_NS];
static struct conf_service conf[N_SERVICES];
static struct rules_peer peer[N_SERVICES];
static int ifindex[N_SERVICES];
static struct rules_nl *live;
static uint8_t peer_mac[2][6], client_mac[6];

/* ---- harness ---- */

void ok(bool good, const char *fmt, ...)
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

void die(const char *what)
{
	printf("not ok - %s: %s\n", what, strerror(errno));
	exit(1);
}

int sh(const char *fmt, ...)
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

void enter(int which)
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

const char *ip_str(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

struct addr address(int family, unsigned int net, unsigned int host)
{
	struct addr a;
	char text[ADDR_STR];

	snprintf(text, sizeof(text), family == AF_INET ? "10.%u.0.%u" : "fd%u::%u", net, host);
	if (addr_parse(&a, text))
		die(text);
	return a;
}

struct addr vip(int family, int s)
{
	return address(family, 77, 250 + (unsigned int)s);
}

const char *addr_text(struct addr a)
{
	static char buf[4][ADDR_STR];
	static unsigned int i;

	return addr_str(&a, buf[i++ % 4]);
}

socklen_t sock_addr(struct sockaddr_storage *ss, struct addr a, uint16_t port)
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
	socklen_t len = sock_addr(&ss, any, type == SOCK_STREAM ? 80 : PORT);

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
	static const enum conf_dispatch dispatch[N_SERVICES] = {
		[ANNOUNCE] = DISPATCH_ANNOUNCE, [ROUTE] = DISPATCH_ROUTE, [FLOOD] = DISPATCH_FLOOD,
	};
	int i, k;

	enter(NODE);
	for (i = 0; i < N_SERVICES; i++) {
		conf[i] = (struct conf_service){
			.name = "s", .n_vips = 2, .vip = { vip(AF_INET, i), vip(AF_INET6, i) },
			.n_ports = 1, .port = { { IPPROTO_TCP, 80, 80 } },
			.dispatch = dispatch[i],
			.mac = MAC_UNICAST,
		};
		k = i == ROUTE;		/* eth1 */
		peer[i] = (struct rules_peer){ .id = 2, .addr4 = address(AF_INET, k ? 79 : 77, 2),
					       .addr6 = address(AF_INET6, k ? 79 : 77, 2) };
		memcpy(peer[i].mac, peer_mac[k], 6);
		peer[i].ifindex4 = peer[i].ifindex6 = (int)if_nametoindex(k ? "eth1" : "eth0");
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
		.n_queues = N_QUEUES, .vxlan_port = 4789, .n_members = 2, .member = member,
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

void live_open(void)
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

void live_close(void)
{
	rules_nl_close(live);
	live = NULL;
}

void guard_open(void)
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

void guard_close(void)
{
	enter(NODE);
	MUST("nft 'delete table inet clusterd_guard; delete table ip6 clusterd_guard; "
	     "delete table arp clusterd_guard'");
}

/* What the ingress would do: packets that match get this mark (before the lease's chain). */
void mark(uint32_t value, const char *match, ...)
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

void mark_vip(uint32_t value, int family, int s)
{
	mark(value, "%s daddr %s", family == AF_INET ? "ip" : "ip6", addr_text(vip(family, s)));
}

void no_mark(void)
{
	enter(NODE);
	MUST("nft flush chain netdev marks in");
}

unsigned long packets(const char *table, const char *name)
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

void lease_begin(void)
{
	char dev[1][IFNAME_SIZE] = { "eth0" };

	enter(NODE);
	if (lease_table_open(&lease, dev, 1) || lease_table_start(lease, LEASE_MS))
		die("lease");
}

static void make_tables(void)
{
	enter(NODE);
	MUST("nft 'add table netdev marks; add chain netdev marks in "
	     "{ type filter hook ingress device eth0 priority -10; }'");
	MUST("nft 'add table inet look; add counter inet look kept; add counter inet look strange; "
	     "add counter inet look leak; "
	     "add chain inet look first { type filter hook prerouting priority -300; }; "
	     "add chain inet look last { type filter hook prerouting priority 0; }; "
	     "add chain inet look out { type filter hook postrouting priority 0; }; "
	     "add rule inet look out meta mark and 0xfff00000 == 0xc1d00000 counter name leak; "
	     "add rule inet look first meta mark 0xc1d20311 counter name kept; "
	     "add rule inet look first meta mark 0xc1d00021 counter name strange; "
	     "add rule inet look last meta mark and 0xfff00000 == 0xc1d00000 counter name leak'");
	live_open();
	guard_open();
	MUST("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0");
	lease_begin();
	enter(CLIENT);
	for (unsigned int n = 250; n <= 252; n++)
		for (int i = 0; i < 2; i++)
			MUST("ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev eth0 "
			     "nud permanent", addr_text(address(families[i], 77, n)), node_mac[0],
			     node_mac[1], node_mac[2], node_mac[3], node_mac[4], node_mac[5]);
}

/* ---- packets ---- */

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
bool capture(int fd, int ms, bool (*match)(const struct frame *f), struct frame *f)
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

void forget(int fd)
{
	char buf[64];

	while (recv(fd, buf, sizeof(buf), MSG_TRUNC) >= 0)
		;
}

void forget_all(void)
{
	forget(at_peer[0]);
	forget(at_peer[1]);
	forget(at_client);
	forget(udp[0]);
	forget(udp[1]);
}

/* From the client, from port 6000; 'ttl' 0: the usual 64. */
void send_udp(struct addr to, uint16_t port, const void *data, size_t size, int ttl)
{
	struct sockaddr_storage ss;
	struct addr any = { .family = to.family };
	bool v4 = to.family == AF_INET;
	socklen_t len = sock_addr(&ss, any, 6000);
	int fd, one = 1;

	enter(CLIENT);
	fd = socket(to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ttl)
		setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_UNICAST_HOPS,
			   &ttl, sizeof(ttl));
	if (bind(fd, (void *)&ss, len))
		die("bind");
	len = sock_addr(&ss, to, port);
	if (sendto(fd, data, size, 0, (void *)&ss, len) < 0)
		die("sendto");
	close(fd);
}

bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* One datagram for the VIP of 's': does the node's socket get it? */
bool served(int family, int s)
{
	forget_all();
	send_udp(vip(family, s), PORT, "x", 1, 0);
	return readable(udp[family == AF_INET6], WAIT_MS);
}

bool is_wanted(const struct frame *f)
{
	uint16_t port;

	if (!f->family || f->proto != want_proto || addr_cmp(&f->to, &want_to))
		return false;
	memcpy(&port, f->data + 2, 2);
	return port == htons((uint16_t)want_dport);
}

bool peer_got(int k, int proto, int dport, int family, int s)
{
	struct addr client = address(family, 77, 9);
	struct frame f;

	want_proto = proto;
	want_dport = dport;
	want_to = vip(family, s);
	if (!capture(at_peer[k], WAIT_MS, is_wanted, &f))
		return false;
	if (memcmp(f.eth->ether_dhost, peer_mac[k], 6) || f.ttl != 63 ||
	    addr_cmp(&f.from, &client)) {
		printf("# at the peer: TTL %d, from %s\n", f.ttl, addr_text(f.from));
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
uint16_t checksum(const struct addr *from, const struct addr *to, int proto, const void *data,
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
void send_midstream(int family, int s)
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
				      .frag_off = htons(IP_DF),
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

void lab_make(void)
{
	make_links();
	make_services();
	enter(NODE);
	want.queue_xt = rules_queue_native() == 0;
	make_tables();
}

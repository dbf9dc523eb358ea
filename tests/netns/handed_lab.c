/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "handed_lab.h"
#include "util/jhash.h"

#define VXLAN_PORT 4789

enum { WORLD, NODE };

struct rules *rules;
struct lease_table *lease;
struct conf_service conf;
struct rules_service service;
struct rules_peer peers[2];
struct rules_want want;
struct bucket_action action[BUCKETS];
int listen_fd[2];
uint8_t node_mac[6];
unsigned int checks, failures, patience = 3;

static int ns[2], raw, raw_index, udp_fd[2];
static struct addr client[2], vip[2];

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

int lab_slow(void)
{
	const char *slow = getenv("LAB_SLOW");

	return slow && atoi(slow) >= 1 && atoi(slow) <= 100 ? atoi(slow) : 1;
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

void mac_of(unsigned int id, uint8_t mac[6])
{
	static const uint8_t zero[6] = { 2 };

	memcpy(mac, zero, 6);
	mac[5] = (uint8_t)id;
}

static void inner_mac(unsigned int at, unsigned int to, uint8_t mac[6])
{
	static const uint8_t ours[6] = { 2, 0xc1, 0xd0 };

	memcpy(mac, ours, 6);
	mac[4] = (uint8_t)at;
	mac[5] = (uint8_t)to;
}

/* ---- the place ---- */

void make_tunnel(unsigned int id)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "ip link add cluv_%u address 02:c1:d0:00:01:%02x type vxlan id %u "
		 "local 10.77.0.1 remote 10.77.0.%u dstport %d dev eth0 nolearning", id, id, 100 + id, id,
		 VXLAN_PORT);
	must(cmd);
	snprintf(cmd, sizeof(cmd), "ip link set cluv_%u arp off up;"
		 "ip neigh replace 10.99.0.%u lladdr 02:c1:d0:00:%02x:01 dev cluv_%u nud permanent;"
		 "ip neigh replace fe80::99:%u lladdr 02:c1:d0:00:%02x:01 dev cluv_%u nud permanent",
		 id, id, id, id, id, id, id);
	must(cmd);
}

static void make_place(void)
{
	char cmd[512];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (unshare(CLONE_NEWNET)) {
			printf("skip - no network namespaces: %s\n", strerror(errno));
			exit(errno == EPERM ? 77 : 1);
		}
		ns[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		must("ip link set lo up");
		must("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
		     " net.ipv6.conf.default.accept_dad=0"
		     " net.ipv4.tcp_synack_retries=0");
	}
	snprintf(cmd, sizeof(cmd), "ip link add eth0 type veth peer name w0 netns /proc/%d/fd/%d; "
		 "ip link set eth0 up; ip addr add 10.77.0.1/24 dev eth0; "
		 "ip addr add fd77::1/64 dev eth0 nodad", getpid(), ns[WORLD]);
	must(cmd);
	must("ip addr add " VIP4 "/32 dev lo; ip addr add " VIP6 "/128 dev eth0 nodad preferred_lft 0");
	for (i = 2; i < 10; i++) {
		snprintf(cmd, sizeof(cmd), "ip neigh replace 10.77.0.%u lladdr 02:00:00:00:00:%02x dev "
			 "eth0 nud permanent; ip neigh replace fd77::%u lladdr 02:00:00:00:00:%02x dev "
			 "eth0 nud permanent", i, i, i, i);
		must(cmd);
	}
	make_tunnel(2);
	make_tunnel(3);
	enter(WORLD);
	must("sysctl -qw net.ipv6.conf.w0.disable_ipv6=1; ip link set w0 arp off up");
}

static void make_sockets(void)
{
	struct sockaddr_ll any = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(53) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(53) };
	int size = 8 << 20;

	enter(WORLD);
	raw_index = (int)if_nametoindex("w0");
	any.sll_ifindex = raw_index;
	raw = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(raw, (void *)&any, sizeof(any)))
		die("packet socket");
	enter(NODE);
	memcpy(&a4.sin_addr, vip[0].b, 4);
	memcpy(&a6.sin6_addr, vip[1].b, 16);
	udp_fd[0] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	udp_fd[1] = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(udp_fd[0], (void *)&a4, sizeof(a4)) || bind(udp_fd[1], (void *)&a6, sizeof(a6)))
		die("udp");
	a4.sin_port = a6.sin6_port = htons(80);
	listen_fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	listen_fd[1] = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(listen_fd[0], (void *)&a4, sizeof(a4)) ||
	    bind(listen_fd[1], (void *)&a6, sizeof(a6)) || listen(listen_fd[0], 9) ||
	    listen(listen_fd[1], 9))
		die("listen");
}

void handed_make(void)
{
	char line[32];
	unsigned int i;
	FILE *f;

	addr_parse(&client[0], "10.77.0.9");
	addr_parse(&client[1], "fd77::9");
	addr_parse(&vip[0], VIP4);
	addr_parse(&vip[1], VIP6);
	make_place();
	make_sockets();
	f = popen("ip -br link show dev eth0 | awk '{print $3}'", "r");
	if (!f || !fgets(line, sizeof(line), f) ||
	    sscanf(line, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &node_mac[0], &node_mac[1], &node_mac[2],
		   &node_mac[3], &node_mac[4], &node_mac[5]) != 6)
		die("mac");
	pclose(f);
	conf = (struct conf_service){
		.name = "web", .n_vips = 2, .vip = { vip[0], vip[1] }, .n_ports = 3,
		.port = { { IPPROTO_TCP, 80, 80 }, { IPPROTO_UDP, 53, 53 },
			  { IPPROTO_TCP, 1000, 2000 } },
		.dispatch = DISPATCH_ANNOUNCE,
	};
	service = (struct rules_service){
		.conf = &conf, .interface = "eth0", .seed = SEED, .buckets = BUCKETS,
		.hash = HASH_SOURCE_PORT, .action = action, .n_peers = 2, .peer = peers,
	};
	addr_parse(&service.own4, "10.77.0.1");
	addr_parse(&service.own6, "fd77::1");
	want = (struct rules_want){ .n_services = 1, .service = &service, .self = 1 };
	for (i = 0; i < 2; i++) {
		peers[i].id = (uint8_t)(2 + i);
		mac_of(2 + i, peers[i].mac);
	}
}

static void set_ways(void)
{
	bool tunnel = conf.redirect != REDIRECT_DIRECT;
	char name[64];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), tunnel ? "10.99.0.%u" : "10.77.0.%u", i + 2);
		addr_parse(&peers[i].addr4, name);
		snprintf(name, sizeof(name), tunnel ? "fe80::99:%u" : "fd77::%u", i + 2);
		addr_parse(&peers[i].addr6, name);
		snprintf(peers[i].dev4, IFNAME_SIZE, tunnel ? "cluv_%u" : "", i + 2);
		snprintf(peers[i].dev6, IFNAME_SIZE, tunnel ? "cluv_%u" : "", i + 2);
		peers[i].ifindex4 = peers[i].ifindex6 = tunnel ?
			(int)if_nametoindex(peers[i].dev4) : 0;
	}
}

void close_all(void)
{
	rules_close(rules);
	lease_table_close(lease);
	rules = NULL;
	lease = NULL;
}

void install(void)
{
	char dev[RULES_INTERFACES_MAX][IFNAME_SIZE];

	enter(NODE);
	close_all();
	set_ways();
	if (rules_open(&rules, NULL) || rules_guard_install(rules, &want))
		die(rules ? rules_strerror(rules) : "rules_open");
	commit();
	must("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0");	/* there by now */
	if (lease_table_open(&lease, dev, rules_interfaces(&want, dev, RULES_INTERFACES_MAX)) ||
	    lease_table_start(lease, 600000))
		die("lease");
}

void commit(void)
{
	enter(NODE);
	if (rules_commit(rules, &want)) {
		printf("not ok - commit: %s\n", rules_strerror(rules));
		exit(1);
	}
}

void all(enum bucket_state state, unsigned int to)
{
	unsigned int i;

	for (i = 0; i < BUCKETS; i++)
		action[i] = (struct bucket_action){ (uint8_t)state, (uint8_t)to };
	commit();
}

/* ---- packets ---- */

static uint32_t add(uint32_t sum, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < n; i++)
		sum += (uint32_t)p[i] << (i % 2 ? 0 : 8);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static const struct addr *saddr(const struct packet *p)
{
	return p->client.family ? &p->client : &client[p->family == AF_INET6];
}

static const struct addr *daddr(const struct packet *p)
{
	return p->vip.family ? &p->vip : &vip[p->family == AF_INET6];
}

size_t make_l4(const struct packet *p, uint8_t *out)
{
	struct tcphdr tcp = {
		.source = htons(p->sport ? p->sport : 4000), .dest = htons(p->dport ? p->dport : 80),
		.seq = htonl(p->seq), .ack_seq = htonl(p->ack), .doff = 5, .window = htons(9000),
	};
	struct udphdr udp = { .source = tcp.source,
			      .dest = htons(p->dport ? p->dport : 53) };
	uint8_t icmp[8] = { p->icmp_type };
	size_t head = p->proto == IPPROTO_TCP ? 20 : 8, size = head + p->payload;
	uint32_t sum = (uint32_t)size + p->proto;
	size_t at = p->proto == IPPROTO_TCP ? 16 : p->proto == IPPROTO_UDP ? 6 : 2;
	uint16_t check;

	if (p->data) {
		memcpy(out, p->data, p->size);
		return p->size;
	}
	((uint8_t *)&tcp)[13] = p->flags;
	udp.len = htons((uint16_t)size);
	memset(out, 0, size);
	memcpy(out, p->proto == IPPROTO_TCP ? (void *)&tcp : p->proto == IPPROTO_UDP ? (void *)&udp :
	       icmp, head);
	if (p->proto == IPPROTO_ICMP) {
		sum = 0;
	} else {
		sum = add(sum, saddr(p)->b, addr_size(saddr(p)));
		sum = add(sum, daddr(p)->b, addr_size(daddr(p)));
	}
	check = fold(add(sum, out, size));
	memcpy(out + at, &check, 2);
	return size;
}

void icmp_sum(const struct packet *p, uint8_t *data, size_t size)
{
	uint32_t sum = p->family == AF_INET ? 0 : (uint32_t)size + IPPROTO_ICMPV6;
	uint16_t check;

	if (sum) {
		sum = add(sum, saddr(p)->b, 16);
		sum = add(sum, daddr(p)->b, 16);
	}
	memset(data + 2, 0, 2);
	check = fold(add(sum, data, size));
	memcpy(data + 2, &check, 2);
}

static size_t header4(const struct packet *p, uint8_t *out, size_t size)
{
	size_t head = 20 + 4u * p->options;
	struct iphdr ip = {
		.version = 4, .ihl = (unsigned int)head / 4, .ttl = p->ttl ? p->ttl : TTL,
		.protocol = p->proto, .tot_len = htons((uint16_t)(head + size)),
		.id = htons((uint16_t)p->id),
		.frag_off = p->fragment ? htons((uint16_t)(p->offset / 8 | (p->more ? 0x2000 : 0))) : 0,
	};

	memcpy(&ip.saddr, saddr(p)->b, 4);
	memcpy(&ip.daddr, daddr(p)->b, 4);
	memset(out, 1, head);
	memcpy(out, &ip, 20);
	ip.check = fold(add(0, out, head));
	memcpy(out, &ip, 20);
	return head;
}

static size_t header6(const struct packet *p, uint8_t *out, size_t size)
{
	size_t head = p->fragment ? 8 : 0;
	struct ip6_hdr ip = { .ip6_flow = htonl(6u << 28), .ip6_plen = htons((uint16_t)(head + size)),
			      .ip6_nxt = p->fragment ? IPPROTO_FRAGMENT : p->proto,
			      .ip6_hlim = p->ttl ? p->ttl : TTL };
	struct ip6_frag frag = { .ip6f_nxt = p->proto, .ip6f_ident = htonl(p->id),
				 .ip6f_offlg = htons((uint16_t)(p->offset | p->more)) };

	memcpy(&ip.ip6_src, saddr(p)->b, 16);
	memcpy(&ip.ip6_dst, daddr(p)->b, 16);
	memcpy(out, &ip, 40);
	memcpy(out + 40, &frag, head);
	return 40 + head;
}

size_t make_ip(const struct packet *p, uint8_t *out)
{
	uint8_t l4[4096];
	size_t size = make_l4(p, l4);
	size_t head = p->family == AF_INET ? header4(p, out, size) : header6(p, out, size);

	memcpy(out + head, l4, size);
	return head + size;
}

static size_t ethernet(uint8_t *out, const uint8_t *to, const uint8_t *from, uint16_t type)
{
	type = htons(type);
	memcpy(out, to, 6);
	memcpy(out + 6, from, 6);
	memcpy(out + 12, &type, 2);
	return 14;
}

static void send_frame(const uint8_t *frame, size_t size)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = raw_index };

	ssize_t sent;

	/* Full: whoever receives is behind. */
	while ((sent = sendto(raw, frame, size, 0, (void *)&to, sizeof(to))) < 0 &&
	       (errno == EAGAIN || errno == ENOBUFS))
		usleep(1000);
	if (sent != (ssize_t)size)
		die("send");
}

void throw(const struct packet *p)
{
	uint16_t type = p->family == AF_INET ? ETHERTYPE_IP : ETHERTYPE_IPV6;
	uint8_t frame[4096], from[6], mac[6];
	struct packet outer = { .family = AF_INET, .proto = IPPROTO_UDP, .from = p->from };
	uint8_t inside[4096] = { 0 }, *q = inside + 8;
	struct udphdr udp = { .source = htons(5555), .dest = htons(VXLAN_PORT) };
	size_t n = 0;

	mac_of(p->from, from);
	if (!p->tunnel) {
		n = ethernet(frame, node_mac, from, type);
		n += make_ip(p, frame + n);
		if (p->pad)
			memcpy(frame + n, p->pad, p->pad_size);
		send_frame(frame, n + p->pad_size);
		return;
	}
	addr_parse(&outer.client, p->from == 2 ? "10.77.0.2" : "10.77.0.3");
	addr_parse(&outer.vip, "10.77.0.1");
	q[0] = 8;				/* VXLAN: flags, VNI (RFC 7348) */
	q[6] = (uint8_t)(100 + p->from);
	inner_mac(1, p->from, mac);
	inner_mac(p->from, 1, from);
	n = ethernet(q + 8, mac, from, type);
	n += 8 + 8 + make_ip(p, q + 8 + n);
	udp.len = htons((uint16_t)n);
	memcpy(inside, &udp, 8);
	outer.data = inside;
	outer.size = n;
	outer.ttl = 64;
	mac_of(p->from, from);
	n = ethernet(frame, node_mac, from, ETHERTYPE_IP);
	send_frame(frame, n + make_ip(&outer, frame + n));
}

/* ---- what became of it ---- */

static const struct { const char *name; size_t at; } table_counters[] = {
	{ "other", offsetof(struct fate, other) }, { "fragments", offsetof(struct fate, fragments) },
	{ "silenced", offsetof(struct fate, silenced) }, { "frozen", offsetof(struct fate, frozen) },
};

static void count_tables(struct fate *f, int sign)
{
	const size_t known = sizeof(table_counters) / sizeof(table_counters[0]);
	FILE *list = popen("exec nft list counters table netdev clusterd 2>/dev/null", "r");
	char line[128], name[128];
	size_t i = known;
	int n;

	while (list && fgets(line, sizeof(line), list)) {
		if (sscanf(line, " counter %127s", name) == 1)
			for (i = 0; i < known && strcmp(table_counters[i].name, name); i++)
				;
		else if (i < known && sscanf(line, " packets %d", &n) == 1)
			*(int *)((char *)f + table_counters[i].at) += sign * n;
	}
	if (list)
		pclose(list);
}

static void count_now(struct fate *f, int sign, bool tables)
{
	struct rules_counters c;

	if (rules_counters(rules, 0, &c))
		die(rules_strerror(rules));
	f->accepted += sign * (int)c.accepted;
	f->foreign += sign * (int)c.foreign;
	f->handed += sign * (int)c.handed;
	f->unknown += sign * (int)c.unknown;
	f->second += sign * (int)c.second;
	if (tables)
		count_tables(f, sign);
}

static void see_handed(struct fate *f, const uint8_t *ip, unsigned int to, bool tunnel)
{
	if (f->to && f->to != to)
		to = 99;	/* to two nodes at once */
	f->to = to;
	f->by_tunnel = tunnel;
	f->copies++;
	f->ttl = ip[0] >> 4 == 4 ? ip[8] : ip[7];
}

static bool for_vip(const uint8_t *ip, bool destination)
{
	bool v4 = ip[0] >> 4 == 4;

	return v4 ? !memcmp(ip + (destination ? 16 : 12), vip[0].b, 4) :
	       !memcmp(ip + (destination ? 24 : 8), vip[1].b, 16);
}

static void see_reply(struct fate *f, const uint8_t *ip)
{
	const uint8_t *l4 = ip + (ip[0] >> 4 == 4 ? 20 : 40);

	/* what was never whole, from half a minute ago */
	if ((ip[0] >> 4 == 4 && ip[9] == IPPROTO_ICMP && l4[0] == 11) ||
	    (ip[0] >> 4 == 6 && ip[6] == IPPROTO_ICMPV6 && l4[0] == 3))
		return;
	f->replies++;
	f->reply_proto = ip[0] >> 4 == 4 ? ip[9] : ip[6];
	if (f->reply_proto == IPPROTO_TCP) {
		memcpy(&f->reply_seq, l4 + 4, 4);
		memcpy(&f->reply_ack, l4 + 8, 4);
		f->reply_seq = ntohl(f->reply_seq);
		f->reply_ack = ntohl(f->reply_ack);
		f->reply_flags = l4[13];
	} else {
		f->reply_icmp = l4[0];
	}
}

static void see(struct fate *f, const uint8_t *frame, size_t size)
{
	static const uint8_t world[5] = { 2 };
	const uint8_t *ip = frame + 14, *vxlan = ip + 28;

	if (size >= 42 && frame[12] == 8 && frame[13] == 6)
		f->arp += !memcmp(frame + 28, vip[0].b, 4);
	if (size >= 78 && frame[12] == 0x86 && ip[6] == IPPROTO_ICMPV6 && ip[40] == 136 &&
	    !memcmp(ip + 48, vip[1].b, 16)) {
		f->nd++;
		return;
	}
	if (size < 42 || memcmp(frame, world, 5) || (ip[0] >> 4 != 4 && ip[0] >> 4 != 6))
		return;
	if (for_vip(ip, true))
		see_handed(f, ip, frame[5], false);
	else if (for_vip(ip, false) && frame[5] == CLIENT_ID)
		see_reply(f, ip);
	else if (ip[9] == IPPROTO_UDP && ip[0] == 0x45 && ip[22] == VXLAN_PORT >> 8 &&
		 ip[23] == (VXLAN_PORT & 255) && for_vip(vxlan + 22, true))
		see_handed(f, vxlan + 22, vxlan[6] - 100u == ip[19] ? ip[19] : 98, true);
}

static void see_all(struct fate *f)
{
	uint8_t buf[8192];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n;
	unsigned int i;

	while ((n = recvfrom(raw, buf, sizeof(buf), 0, (void *)&from, &len)) > 0) {
		if (from.sll_pkttype != PACKET_OUTGOING)
			see(f, buf, (size_t)n);
		len = sizeof(from);
	}
	for (i = 0; i < 2; i++)
		while ((n = recv(udp_fd[i], buf, sizeof(buf), 0)) >= 0) {
			f->udp++;
			f->udp_size = (size_t)n;
		}
}

/* Everything happens in the softirq that the sending starts; a little patience for a loaded machine. */
static void settle(struct fate *f, bool tables)
{
	struct fate last, now = *f;
	unsigned int same = 0, tries;

	for (tries = 0; tries < 100 && same < patience; tries++) {
		usleep(700);
		last = now;
		see_all(f);
		now = *f;
		count_now(&now, 1, false);
		same = memcmp(&now, &last, sizeof(now)) ? 0 : same + 1;
	}
	count_now(f, 1, tables);
}

struct fate look(const struct packet *p, unsigned int n)
{
	struct fate f = { 0 };
	bool tables = p->fragment || p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6 ||
		      p->options || service.freeze;
	unsigned int i;

	see_all(&f);
	memset(&f, 0, sizeof(f));
	count_now(&f, -1, tables);
	for (i = 0; i < n; i++)
		throw(&p[i]);
	settle(&f, tables);
	return f;
}

struct fate look_frame(const uint8_t *frame, size_t size)
{
	struct fate f = { 0 };

	see_all(&f);
	memset(&f, 0, sizeof(f));
	count_now(&f, -1, true);
	send_frame(frame, size);
	settle(&f, true);
	return f;
}

const char *text(const struct fate *f)
{
	static char buf[256];

	snprintf(buf, sizeof(buf), "accepted %d, foreign %d, handed %d, unknown %d, second %d, other %d, "
		 "fragments %d, silenced %d, frozen %d; to %u%s x%u ttl %d; %d replies (%d: %d, %d), "
		 "%d UDP, %d ARP, %d ND", f->accepted, f->foreign, f->handed, f->unknown, f->second, f->other,
		 f->fragments, f->silenced, f->frozen, f->to, f->by_tunnel ? " by tunnel" : "",
		 f->copies, f->ttl, f->replies, f->reply_proto, f->reply_flags, f->reply_icmp, f->udp,
		 f->arp, f->nd);
	return buf;
}

/* ---- packets of a test ---- */

struct packet tcp(int family, uint8_t flags, unsigned int from)
{
	return (struct packet){ .family = family, .proto = IPPROTO_TCP, .flags = flags, .ack = 1,
				.from = (uint8_t)from };
}

const char *name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

void one(uint32_t bucket, enum bucket_state state, unsigned int to, enum bucket_state others,
		unsigned int others_to)
{
	all(others, others_to);
	action[bucket] = (struct bucket_action){ (uint8_t)state, (uint8_t)to };
	commit();
}

uint32_t bucket_of(int family, uint16_t port, bool with_port)
{
	struct addr a;

	addr_parse(&a, family == AF_INET ? "10.77.0.9" : "fd77::9");
	return jhash_bucket(&a, port, with_port, BUCKETS, SEED);
}

struct packet icmp(int family, uint8_t type)
{
	return (struct packet){ .family = family, .from = CLIENT_ID, .icmp_type = type, .payload = 48,
				.proto = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6 };
}

int establish(int family, struct packet *next)
{
	static uint16_t port = 7000;
	struct packet p = tcp(family, TH_SYN, CLIENT_ID);
	struct fate f;
	int fd;

	p.sport = port++;
	p.seq = 1000;
	p.ack = 0;
	f = look(&p, 1);
	p.flags = TH_ACK;
	p.seq = 1001;
	p.ack = f.reply_seq + 1;
	if (f.replies != 1 || f.reply_flags != (TH_SYN | TH_ACK))
		return -1;
	throw(&p);
	usleep(5000);
	fd = accept4(listen_fd[family == AF_INET6], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	p.flags = TH_ACK | TH_PUSH;
	p.payload = 1;
	*next = p;
	return fd;
}

void end(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
	close(fd);
}

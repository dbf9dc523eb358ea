/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is behind the ingress (rules_stack.c, rules_guard.c, the lease), against this machine's
 * kernel, with packets; stack_lab.h shows where.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "stack_lab.h"
#include "stack_queue.h"
#include "stack_sorry.h"

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
		   family == AF_INET ? "ipv4" : "ipv6", addr_text(vip(family, s)), PORT);
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
	   ip_str(family), s, k);
	ok(!capture(at_peer[!k], 50, is_wanted, &(struct frame){ 0 }) &&
	   !readable(udp[family == AF_INET6], 0), "... once, and not accepted here");
	ok(!conntrack_knows(family, s), "... conntrack remembers nothing");
	guard_close();
	ok(!served(family, s) && peer_got(k, IPPROTO_UDP, PORT, family, s),
	   "... the guard flushed away: neither accepted here");
	guard_open();
}

static bool header_valid(const struct frame *f)
{
	const struct addr none = { 0 };

	return checksum(&none, &none, -20, f->net, 20) == 0xffff;
}

/* Handed on through ipip: the client's DF must not get as far as the tunnel. */
static void check_df(void)
{
	struct conf_service *c = (struct conf_service *)service[ROUTE].conf;
	struct frame f;
	bool got;

	c->redirect = REDIRECT_IPIP;
	live_close();
	live_open();
	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(ROUTE), AF_INET, ROUTE);
	forget_all();
	send_midstream(AF_INET, ROUTE);
	want_proto = IPPROTO_TCP;
	want_dport = 80;
	want_to = vip(AF_INET, ROUTE);
	got = capture(at_peer[1], WAIT_MS, is_wanted, &f);
	ok(got && !f.net[6] && header_valid(&f),
	   "ipip: DF is cleared, the header's checksum right");
	ok(!packets("inet look", "leak"), "... and the mark with it");
	c->redirect = REDIRECT_DIRECT;
	live_close();
	live_open();
	forget_all();
	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(ROUTE), AF_INET, ROUTE);
	send_midstream(AF_INET, ROUTE);
	got = capture(at_peer[1], WAIT_MS, is_wanted, &f);
	ok(got && f.net[6] == 0x40, "... direct: it is kept");
}

static bool is_piece(const struct frame *f)
{
	return f->proto == want_proto && !addr_cmp(&f->to, &want_to) && f->ttl == 63;
}

/* What came in fragments, and was made whole for conntrack, leaves in fragments. */
static void check_large(int family)
{
	static char data[3000];
	struct frame f;
	unsigned int n = 0;

	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(2), family, ANNOUNCE);
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, data, sizeof(data), 0);
	want_proto = family == AF_INET ? IPPROTO_UDP : IPPROTO_FRAGMENT;
	want_to = vip(family, ANNOUNCE);
	while (n < 3 && capture(at_peer[0], WAIT_MS, is_piece, &f))
		n++;
	ok(n == 3, "%s: a datagram of 3000 bytes is handed on in %u fragments", ip_str(family), n);
}

static void check_lost(int family)
{
	const char *table = family == AF_INET ? "ip clusterd" : "ip6 clusterd";
	unsigned long before = packets(table, "lost");

	mark_vip(RULES_MARK_HAND | RULES_MARK_NODE(3), family, ANNOUNCE);
	ok(!served(family, ANNOUNCE) && !peer_got(0, IPPROTO_UDP, PORT, family, ANNOUNCE) &&
	   packets(table, "lost") == before + 1, "%s: for a node that there is not: dropped",
	   ip_str(family));
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
	socklen_t len = sock_addr(&ss, vip(family, s), 80);
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
	ok(flows(fd, server), "%s, service %d: a connection", ip_str(family), s);
	before = packets("inet clusterd", name);
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(s), family, s);
	ok(flows(fd, server) && packets("inet clusterd", name) == before,
	   "... known here, so no second chance");
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(RULES_NODE_QUEUE) | RULES_MARK_SERVICE(s),
		 family, s);
	ok(flows(fd, server), "... nor a look at the queue");
	mark_vip(RULES_MARK_CHECK, family, s);
	ok(flows(fd, server), "... and accepted without");

	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(s), family, s);
	forget_all();
	send_midstream(family, s);
	ok(peer_got(s == ROUTE, IPPROTO_TCP, 80, family, s) &&
	   packets("inet clusterd", name) == before + 1,
	   "... unknown here: handed to the peer, counted");
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
	   "%s: unknown here, no node named: dropped", ip_str(family));
	mark_vip(RULES_MARK_CHECK | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(9), family, ANNOUNCE);
	forget_all();
	send_midstream(family, ANNOUNCE);
	ok(!peer_got(0, IPPROTO_TCP, 80, family, ANNOUNCE) &&
	   packets("inet clusterd", "unknown") == before + 2,
	   "... a service that there is not: dropped");
}

static void check_queue(int family)
{
	uint32_t queued = RULES_MARK_QUEUE | RULES_MARK_SERVICE(ANNOUNCE), seen = 0;
	struct stack_queue *q;

	mark_vip(queued, family, ANNOUNCE);
	ok(!served(family, ANNOUNCE), "%s: nobody listens to the queue: dropped", ip_str(family));
	enter(NODE);
	q = stack_queue_open(QUEUE, N_QUEUES + 1);
	if (!q)
		die("queue");
	forget_all();
	send_udp(vip(family, ANNOUNCE), PORT, "x", 1, 0);
	ok(stack_queue_answer(q, ACCEPT_LEASED, WAIT_MS, &seen) &&
	   seen == (queued | RULES_MARK_LEASED) && readable(udp[family == AF_INET6], WAIT_MS),
	   "... told to accept: accepted");
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
	ok(stack_queue_answer(q, HAND_LEASED | RULES_MARK_NODE(2) | RULES_MARK_SERVICE(ROUTE),
			      WAIT_MS, &seen) &&
	   seen == (QUEUE_LEASED | RULES_MARK_NODE(RULES_NODE_QUEUE) |
		    RULES_MARK_SERVICE(ROUTE)) &&
	   peer_got(1, IPPROTO_TCP, 80, family, ROUTE), "... unknown here, to be queued: asked");
	stack_queue_close(q);
	mark_vip(queued, family, ANNOUNCE);
	ok(!served(family, ANNOUNCE), "... nobody listens any more: dropped");
}

static void check_lease(int family)
{
	unsigned long kept = packets("inet look", "kept");
	unsigned long strange = packets("inet look", "strange");

	mark_vip(RULES_MARK_ACCEPT, family, ANNOUNCE);
	ok(served(family, ANNOUNCE) && conntrack_knows(family, ANNOUNCE),
	   "%s: accepted with a lease, and in conntrack", ip_str(family));
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
	lease_table_close(lease);
	ok(!served(family, ANNOUNCE), "... the heartbeat and its table gone: dropped");
	lease_begin();
	ok(!packets("inet look", "leak"),
	   "... nobody behind the guard, nor on the way out, sees a mark of ours");
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
	sh("ip neigh del %s dev eth0 2>/dev/null", addr_text(want_to));
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
		ok(!answers(family, s, mac), "%s, service %d: not its holder: no answer",
		   ip_str(family), s);
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
	ok(!answers(family, ANNOUNCE, mac),
	   "... not its holder, the guard flushed away: no answer");
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
	socklen_t len = sock_addr(&ss, vip(family, ANNOUNCE), PORT + 1);
	int fd, one = 1;

	want_to = vip(family, ANNOUNCE);
	enter(NODE);
	MUST("ip neigh flush dev eth0");
	forget_all();
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len))
		die("bind");
	len = sock_addr(&ss, address(family, 77, 9), PORT + 2);
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
	ok(good && !addr_cmp(&from, &own), "%s: the node asks for its client as %s",
	   ip_str(family), addr_text(from));
	if (!v4)
		ok(good && checksum(&f.from, &f.to, IPPROTO_ICMPV6, f.data, (size_t)f.left) ==
		   0xffff, "... with a valid checksum");
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

/* With this sysctl the kernel announces its addresses when a MAC changes, as a bond always does. */
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

/* What somebody else announces about the VIP does not reach the node's kernel. */
static void check_announced(void)
{
	struct sockaddr_storage ss;
	struct sockaddr_in6 *a6 = (void *)&ss;
	struct addr all = { .family = AF_INET6, .b = { 0xff, 2, [15] = 1 } };
	struct addr of = vip(AF_INET6, ANNOUNCE);
	socklen_t len = sock_addr(&ss, all, 0);
	unsigned long before = packets("inet clusterd", "silenced");
	uint8_t na[24] = { 136, [4] = 0x20 };
	int fd;

	no_mark();
	enter(CLIENT);
	memcpy(na + ND_TARGET, of.b, 16);
	a6->sin6_scope_id = if_nametoindex("eth0");
	fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	if (sendto(fd, na, sizeof(na), 0, (void *)&ss, len) != sizeof(na))
		die("advertisement");
	close(fd);
	ok(packets("inet clusterd", "silenced") == before + 1,
	   "IPv6: another's announcement of the VIP is dropped");
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

	ok(n == (family == AF_INET ? 1200 : 1180), "%s: clamped MSS: %u", ip_str(family), n);
	n = offered(family, ROUTE);
	ok(n == (family == AF_INET ? 1460 : 1440), "%s: another service's MSS: %u",
	   ip_str(family), n);
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
	socklen_t len = sock_addr(&ss, any, 4789);
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
		   ip_str(family), c[i].what, c[i].good ? "passes" : "dropped and counted");
		forget(fd);
	}
	close(fd);
}

/* A tunnel's outer packet, to or from the member: does conntrack take it up? */
static bool tracked(int family, int proto, bool out)
{
	struct addr to = address(family, 77, out ? 9 : 1);
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(&ss, to, proto == IPPROTO_UDP ? 4789 : 0);
	int fd;

	enter(NODE);
	MUST("conntrack -F 2>/dev/null");
	enter(out ? NODE : CLIENT);
	fd = socket(family, proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_RAW,
		    proto == IPPROTO_UDP ? 0 : proto);
	if (fd < 0 || sendto(fd, "12345678", 8, 0, (void *)&ss, len) != 8)
		die("send");
	close(fd);
	enter(NODE);
	return !sh("conntrack -L -f %s -d %s 2>/dev/null | grep -q '^%s '",
		   family == AF_INET ? "ipv4" : "ipv6", addr_text(to),
		   proto == IPPROTO_UDP ? "udp" : "unknown");
}

static void check_untracked(int family)
{
	static const int proto[] = { IPPROTO_UDP, IPPROTO_IPIP, IPPROTO_IPV6 };
	struct conf_service *c = (struct conf_service *)service[FLOOD].conf;
	bool by_rule;
	unsigned int i;

	member[0] = (struct rules_member){ address(family, 77, 9), 0xc1d001 };
	member[1] = (struct rules_member){ address(family, 77, 2), 0xc1d002 };
	for (want.n_members = 2;; want.n_members = 0) {
		c->redirect = REDIRECT_IPIP;
		live_close();
		live_open();
		by_rule = want.n_members;
		for (i = 0; i < 6; i++)
			ok(tracked(family, proto[i / 2], i % 2) == !by_rule,
			   "%s, protocol %d %s the member: %stracked", ip_str(family), proto[i / 2],
			   i % 2 ? "to" : "from", by_rule ? "un" : "");
		if (!by_rule)
			break;
	}
	want.n_members = 2;
	c->redirect = REDIRECT_DIRECT;
	live_close();
	live_open();
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
	lab_make();
	check_listing();
	for (i = 0; i < 2; i++) {
		check_hand(families[i], ANNOUNCE);
		check_hand(families[i], ROUTE);
		check_large(families[i]);
		check_lost(families[i]);
		check_second(families[i], ANNOUNCE);
		check_second(families[i], ROUTE);
		check_unknown(families[i]);
		check_queue(families[i]);
		check_lease(families[i]);
		check_mss(families[i]);
		check_members(families[i]);
		check_untracked(families[i]);
		check_sorry(families[i]);
	}
	check_df();
	check_guard_marks();
	for (i = 0; i < 2; i++) {
		check_gate(families[i]);
		check_asking(families[i]);
	}
	check_unasked();
	check_announced();
	check_devices();
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

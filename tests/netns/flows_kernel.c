/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flow recovery against this machine's kernel: what conntrack says about live flows (io/flows), and
 * how nodes tell each other (io/flowsock), two nodes in one namespace, on addresses of lo.
 */
#include "kernel_test.h"

#include "io/flows.h"
#include "io/flowsock.h"
#include "util/jhash.h"

#define BUCKETS 64u
#define SEED    77u
#define PORT    5408

static struct conf_service conf;

/* ---- conntrack ---- */

struct pair { int client, server, listener; uint16_t port; };

static struct sockaddr_storage ss;

static int bound(int family, int type, const char *a, uint16_t port)
{
	struct addr at = A(a);
	int fd = socket(family, type | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (void *)&ss, fill_addr(&ss, &at, port)))
		die("bind");
	return fd;
}

static uint16_t port_of(int fd)
{
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (void *)&ss, &len))
		die("getsockname");
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port :
		     ((struct sockaddr_in6 *)&ss)->sin6_port);
}

static struct pair tcp_pair(int family, const char *vip, uint16_t port)
{
	struct pair p = { .listener = bound(family, SOCK_STREAM, vip, port) };
	struct addr to = A(vip);

	if (listen(p.listener, 8))
		die("listen");
	p.client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(p.client, (void *)&ss, fill_addr(&ss, &to, port)))
		die("connect");
	p.server = accept(p.listener, NULL, NULL);
	p.port = port_of(p.client);
	return p;
}

/* A datagram, answered or not: its source port. */
static uint16_t udp_talk(const char *vip, uint16_t port, bool answered)
{
	struct addr to = A(vip);
	int server = bound(AF_INET, SOCK_DGRAM, vip, port), client = bound(AF_INET, SOCK_DGRAM, "10.9.0.9", 0);
	uint16_t from = port_of(client);
	socklen_t len = sizeof(ss);
	char c = 'x';

	if (sendto(client, &c, 1, 0, (void *)&ss, fill_addr(&ss, &to, port)) != 1 ||
	    recvfrom(server, &c, 1, 0, (void *)&ss, &len) != 1)
		die("udp");
	if (answered && sendto(server, &c, 1, 0, (void *)&ss, len) != 1)
		die("udp answer");
	close(client);
	close(server);
	return from;
}

struct found { struct flow flow[64]; uint32_t expires_ms[64]; unsigned int n, most; };

static bool found_cb(void *arg, const struct flow *flow, uint32_t expires_ms)
{
	struct found *f = arg;

	f->expires_ms[f->n] = expires_ms;
	f->flow[f->n++] = *flow;
	return f->n < f->most;
}

static int has(const struct found *f, uint8_t proto, const char *vip, uint16_t sport)
{
	struct addr a = A(vip);

	for (unsigned int i = 0; i < f->n; i++)
		if (f->flow[i].proto == proto && !addr_cmp(&f->flow[i].vip, &a) &&
		    f->flow[i].sport == sport && f->flow[i].service == 0 && f->flow[i].node == NOBODY)
			return (int)i;
	return -1;
}

static void check_flows(void)
{
	struct pair p4 = tcp_pair(AF_INET, "10.9.0.250", 80), p6 = tcp_pair(AF_INET6, "fd99::250", 80);
	struct pair other = tcp_pair(AF_INET, "10.9.0.250", 81), done = tcp_pair(AF_INET, "10.9.0.250", 82);
	uint16_t answered = udp_talk("10.9.0.250", 53, true), silent = udp_talk("10.9.0.250", 53, false);
	uint8_t wanted[BUCKETS / 8] = { 0 };
	struct flows_service s = { .conf = &conf, .seed = SEED, .buckets = BUCKETS, .hash = HASH_SOURCE_PORT };
	struct found all = { .most = 64 }, some = { .most = 64 }, one = { .most = 1 };
	struct flow f;
	uint32_t conns = 99, b;
	struct flows *flows;
	int i, err;

	close(done.client);
	close(done.server);
	if (flows_open(&flows))
		die("flows_open");
	ok(!flows_list(flows, &s, 1, found_cb, &all), "flows: listed");
	i = has(&all, IPPROTO_TCP, "10.9.0.250", p4.port);
	ok(i >= 0 && all.expires_ms[i] > 60000, "flows: TCP over IPv4, with its timeout");
	ok(has(&all, IPPROTO_TCP, "fd99::250", p6.port) >= 0, "flows: TCP over IPv6");
	ok(has(&all, IPPROTO_UDP, "10.9.0.250", answered) >= 0, "flows: UDP that was answered");
	ok(has(&all, IPPROTO_UDP, "10.9.0.250", silent) < 0, "flows: not what was not answered");
	ok(has(&all, IPPROTO_TCP, "10.9.0.250", other.port) < 0, "flows: not a port of no service");
	ok(has(&all, IPPROTO_TCP, "10.9.0.250", done.port) < 0, "flows: not what is closed");
	err = flows_load(flows, &s, 1, &conns);
	ok(!err && conns == 3 && conns == all.n, "flows: %u are counted", conns);
	f = all.flow[i < 0 ? 0 : i];
	b = jhash_bucket(&f.client, f.sport, true, BUCKETS, SEED);
	wanted[b / 8] = (uint8_t)(1 << b % 8);
	s.wanted = wanted;
	err = flows_list(flows, &s, 1, found_cb, &some);
	ok(!err && has(&some, IPPROTO_TCP, "10.9.0.250", p4.port) >= 0 && some.n <= 2,
	   "flows: of one bucket only (%u)", some.n);
	s.wanted = NULL;
	ok(!flows_list(flows, &s, 1, found_cb, &one) && one.n == 1, "flows: a walk ends when it is told to");

	ok(flows_has(flows, &f) == 1, "flows: one look-up finds it");
	f.sport ^= 1;
	ok(flows_has(flows, &f) == 0, "flows: not what is not there");
	f = all.flow[0];
	f.proto = IPPROTO_UDP;
	f.sport = silent;
	f.dport = 53;
	f.client = A("10.9.0.9");
	f.vip = A("10.9.0.250");
	ok(flows_has(flows, &f) == 0, "flows: nor what was not answered");
	f.sport = answered;
	ok(flows_has(flows, &f) == 1, "flows: UDP that was");
	close(p6.client);
	close(p6.server);
	flows_close(flows);
}

/* ---- between nodes ---- */

static struct flowsock *a, *b, *stranger;

static struct flowsock *open_sock(uint8_t self, uint64_t incarnation, uint8_t key, uint16_t port)
{
	struct flowsock_params p = { .self = self, .n_nodes = 3, .port = port, .incarnation = incarnation,
				     .key = { key } };
	struct flowsock *s;
	const char *why;

	p.node[0] = A("10.9.0.1");
	p.node[1] = A("10.9.0.2");
	p.node[2] = A("10.9.0.3");
	if (flowsock_open(&s, &p, &why))
		die(why);
	return s;
}

/* The next message within a moment: what flowsock_recv() says. */
static int next(struct flowsock *s, struct flow_msg *m)
{
	struct pollfd p = { .fd = flowsock_fd(s), .events = POLLIN };

	poll(&p, 1, 300);
	return flowsock_recv(s, m);
}

static void check_sock(void)
{
	static uint8_t bitmap[BUCKETS_MAX / 8];
	struct flow many[200], got[200];
	struct flowsock_counters c;
	struct flow_msg m = { .kind = FLOW_LOAD, .to = 2, .u.load = { .n = 2, .conns = { 7, 8 } } };
	unsigned int n = 0, datagrams = 0, bits = 0;

	a = open_sock(1, 1001, 1, PORT);
	b = open_sock(2, 2002, 1, PORT);
	ok(!flowsock_send(a, &m) && next(b, &m) == 1 && m.kind == FLOW_LOAD && m.from == 1 &&
	   m.u.load.n == 2 && m.u.load.conns[1] == 8, "flowsock: a load");
	ok(next(b, &m) == 0, "flowsock: and nothing else");
	for (unsigned int i = 0; i < 200; i++) {
		many[i] = (struct flow){ .proto = IPPROTO_TCP, .sport = (uint16_t)i, .dport = 80 };
		many[i].client = i % 2 ? A("10.9.0.9") : A("fd99::9");
		many[i].vip = i % 2 ? A("10.9.0.250") : A("fd99::250");
	}
	flowsock_send_flows(b, FLOW_FLOWS, 1, many, 200);
	while (next(a, &m) == 1) {
		memcpy(got + n, m.u.flows.flow, m.u.flows.n * sizeof(*got));
		n += m.u.flows.n;
		datagrams++;
	}
	for (unsigned int i = 0; i < n && i < 200; i++) {
		bits += got[i].node == 2;
		got[i].node = NOBODY;
	}
	ok(n == 200 && datagrams > 4 && bits == 200 && !memcmp(got, many, sizeof(many)),
	   "flowsock: 200 flows, in %u datagrams", datagrams);

	memset(bitmap, 0, sizeof(bitmap));
	bitmap[0] = 1;
	bitmap[sizeof(bitmap) - 1] = 0x80;
	flowsock_ask_buckets(a, 2, 3, HASH_SOURCE, 99, BUCKETS_MAX, bitmap);
	for (n = bits = 0; next(b, &m) == 1; n++) {
		ok(m.kind == FLOW_ASK_BUCKETS && m.u.buckets.service == 3 && m.u.buckets.epoch == 99 &&
		   m.u.buckets.hash == HASH_SOURCE && m.u.buckets.buckets == BUCKETS_MAX,
		   "flowsock: an ask about buckets from %u on", m.u.buckets.first);
		for (unsigned int i = 0; i < m.u.buckets.n_bytes; i++)
			bits += m.u.buckets.bitmap[i] && m.u.buckets.bitmap[i] ==
				bitmap[m.u.buckets.first / 8 + i];
	}
	ok(n == 2 && bits == 2, "flowsock: only where there are any (%u)", n);
	flowsock_counters(b, &c);
	ok(!c.garbled && !c.forged && !c.foreign && !c.stale, "flowsock: nothing was refused");
}

static void check_refused(void)
{
	struct flow one = { .proto = IPPROTO_TCP, .client = A("10.9.0.9"), .vip = A("10.9.0.250") };
	struct flow_msg m = { .kind = FLOW_LOAD, .to = 2 };
	struct flowsock_counters c;
	uint8_t junk[20] = { 1 };
	struct addr to = A("10.9.0.2");
	int fd;

	stranger = open_sock(3, 3003, 2, PORT);		/* of another cluster */
	flowsock_send(stranger, &m);
	ok(next(b, &m) == -EBADMSG, "flowsock: another key: refused");
	flowsock_close(stranger);
	fd = bound(AF_INET, SOCK_DGRAM, "10.9.0.3", 0);
	if (sendto(fd, junk, sizeof(junk), 0, (void *)&ss, fill_addr(&ss, &to, PORT)) < 0)
		die("junk");
	close(fd);
	ok(next(b, &m) == -EBADMSG, "flowsock: junk: refused");
	fd = bound(AF_INET, SOCK_DGRAM, "10.9.0.9", 0);
	if (sendto(fd, junk, sizeof(junk), 0, (void *)&ss, fill_addr(&ss, &to, PORT)) < 0)
		die("junk");
	close(fd);
	ok(next(b, &m) == -EBADMSG, "flowsock: from no node: refused");
	flowsock_counters(b, &c);
	ok(c.forged == 1 && c.garbled == 1 && c.foreign == 1, "flowsock: counted, each as what it is");

	/* b restarts: what answers its former self is old */
	flowsock_close(b);
	b = open_sock(2, 2003, 1, PORT);
	flowsock_send_flows(a, FLOW_FLOWS, 2, &one, 1);
	ok(next(b, &m) == -EBADMSG, "flowsock: an answer to an earlier incarnation: refused");
	m = (struct flow_msg){ .kind = FLOW_LOAD, .to = 1 };
	flowsock_send(b, &m);
	ok(next(a, &m) == 1, "flowsock: the new one is heard");
	flowsock_send_flows(a, FLOW_FLOWS, 2, &one, 1);
	ok(next(b, &m) == 1 && m.kind == FLOW_FLOWS, "flowsock: and gets its answers");
}

/* A datagram recorded on the way and sent once more. */
static void check_replay(void)
{
	struct flow_msg m = { .kind = FLOW_LOAD, .to = 2 };
	struct flowsock_counters c;
	uint8_t buf[2048];
	struct addr to = A("10.9.0.2");
	ssize_t n;
	int fd;

	/* recorded: b away for a moment, somebody else listens at its place */
	flowsock_close(b);
	fd = bound(AF_INET, SOCK_DGRAM, "10.9.0.2", PORT);
	flowsock_send(a, &m);
	n = recv(fd, buf, sizeof(buf), 0);
	close(fd);
	b = open_sock(2, 2004, 1, PORT);
	m = (struct flow_msg){ .kind = FLOW_LOAD, .to = 2 };
	flowsock_send(a, &m);
	ok(n > 0 && next(b, &m) == 1, "flowsock: one message");
	flowsock_close(a);
	fd = bound(AF_INET, SOCK_DGRAM, "10.9.0.1", PORT);
	for (unsigned int i = 0; i < 2; i++)
		if (sendto(fd, buf, (size_t)n, 0, (void *)&ss, fill_addr(&ss, &to, PORT)) < 0)
			die("replay");
	close(fd);
	ok(next(b, &m) == 1 && next(b, &m) == -EBADMSG, "flowsock: late: heard; once more: refused");
	flowsock_counters(b, &c);
	ok(c.stale == 1, "flowsock: counted as stale");
	a = open_sock(1, 1002, 1, PORT);
}

static void check_probe(void)
{
	struct flow_msg m = { .kind = FLOW_PROBE, .to = 2, .u.probe.id = 5 };

	m.u.probe.size = (uint16_t)flowsock_payload_size(a, 9000);
	ok(!flowsock_send(a, &m) && next(b, &m) == 1 && m.kind == FLOW_PROBE && m.u.probe.id == 5 &&
	   flowsock_packet_size(b, m.u.probe.size) == 9000, "flowsock: a probe of 9,000 bytes");
	m = (struct flow_msg){ .kind = FLOW_PROBE_REPLY, .to = 1, .u.probe = { 5, m.u.probe.size } };
	ok(!flowsock_send(b, &m) && next(a, &m) == 1 && m.u.probe.id == 5, "flowsock: its answer");
	run("ip link set lo mtu 1400");
	m = (struct flow_msg){ .kind = FLOW_PROBE, .to = 2, .u.probe.id = 6 };
	m.u.probe.size = (uint16_t)flowsock_payload_size(a, 1401);
	ok(flowsock_send(a, &m) == -EMSGSIZE, "flowsock: one byte more than the MTU does not go");
	m.u.probe.size = (uint16_t)flowsock_payload_size(a, 1400);
	ok(!flowsock_send(a, &m) && next(b, &m) == 1, "flowsock: what just fits does");
	run("ip link set lo mtu 600");
	m = (struct flow_msg){ .kind = FLOW_ASK, .to = 2 };
	m.u.flows.n = 60;
	for (unsigned int i = 0; i < 60; i++)
		m.u.flows.flow[i] = (struct flow){ .proto = IPPROTO_TCP, .client = A("10.9.0.9"),
						   .vip = A("10.9.0.250") };
	ok(!flowsock_send(a, &m) && next(b, &m) == 1 && m.u.flows.n == 60,
	   "flowsock: all else may be cut up on the way");
}

int main(void)
{
	alarm(60);
	new_ns();
	run("ip link set lo up; for i in 1 2 3 9 250; do ip addr add 10.9.0.$i/32 dev lo; done; "
	    "ip addr add fd99::250/128 dev lo; "
	    "nft 'add table inet t; add chain inet t c { type filter hook output priority 0; }; "
	    "add rule inet t c ct state established counter'");
	conf = (struct conf_service){
		.name = "web", .n_vips = 2, .vip = { A("10.9.0.250"), A("fd99::250") }, .n_ports = 3,
		.port = { { IPPROTO_TCP, 80, 80 }, { IPPROTO_UDP, 53, 53 }, { IPPROTO_TCP, 82, 82 } },
	};
	check_flows();
	check_sock();
	check_refused();
	check_replay();
	check_probe();
	flowsock_close(a);
	flowsock_close(b);
	printf("# %u failed\n", failed);
	return failed != 0;
}

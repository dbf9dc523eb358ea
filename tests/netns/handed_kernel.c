/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets that arrive at any node (dispatch = announce, route) against this machine's kernel, on the place
 * of handed_lab.h: every row of the table in rules_action.c, by which MAC or tunnel a packet leaves.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handed_lab.h"
#include "util/jhash.h"

enum { SYN = 0x02, RST = 0x04, ACK = 0x10, PSH = 0x08 };

/* ---- the table ---- */

enum out { ACCEPT, FORWARD, FOREIGN, UNKNOWN, SECOND };	/* to 'to', where a node is meant */
static const char *const out_text[] = { "accepted", "handed on", "dropped", "not known here",
					"not known here, handed on" };

struct row {
	enum bucket_state state;
	unsigned int to;
	enum out new[3], mid[3];	/* from the client, from node 2, from node 3 */
};

/* 'to' is 2, or a node that there is not. */
static const struct row rows[] = {
	{ BUCKET_MINE, NOBODY, { ACCEPT, ACCEPT, ACCEPT }, { ACCEPT, ACCEPT, ACCEPT } },
	{ BUCKET_FOREIGN, 2, { FORWARD, FOREIGN, FOREIGN }, { FORWARD, FOREIGN, FOREIGN } },
	{ BUCKET_ADOPTING, 2, { ACCEPT, ACCEPT, ACCEPT }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_ADOPTING, NOBODY, { ACCEPT, ACCEPT, ACCEPT }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_LEAVING, 2, { FORWARD, FORWARD, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_DRAINING, 2, { FORWARD, FORWARD, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_ARRIVING, 2, { FORWARD, ACCEPT, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_FOREIGN, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_LEAVING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_ARRIVING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_ADOPTING, 9, { ACCEPT, ACCEPT, ACCEPT }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_DRAINING, NOBODY, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_FOREIGN, NOBODY, { FOREIGN, FOREIGN, FOREIGN }, { FOREIGN, FOREIGN, FOREIGN } },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* Flood: everybody has a copy; only new flows of a bucket that is given away are handed on. */
static const struct row flood_rows[] = {
	{ BUCKET_MINE, NOBODY, { ACCEPT, ACCEPT, ACCEPT }, { ACCEPT, ACCEPT, ACCEPT } },
	{ BUCKET_FOREIGN, 2, { FOREIGN, FOREIGN, FOREIGN }, { FOREIGN, FOREIGN, FOREIGN } },
	{ BUCKET_ADOPTING, 2, { ACCEPT, ACCEPT, ACCEPT }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_LEAVING, 2, { FORWARD, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_LEAVING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_DRAINING, 2, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_ARRIVING, 2, { FOREIGN, ACCEPT, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_ARRIVING, NOBODY, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
};
#define N_FLOOD_ROWS (sizeof(flood_rows) / sizeof(flood_rows[0]))

static bool is_out(const struct fate *f, enum out out, unsigned int to, const struct packet *p)
{
	bool tunnel = conf.redirect != REDIRECT_DIRECT;
	bool sent = f->to == to && f->copies == 1 && f->by_tunnel == tunnel && f->ttl == TTL - 1 &&
		    !f->replies && !f->accepted && !f->udp;
	bool quiet = !f->to && !f->replies && !f->accepted && !f->udp && !f->handed && !f->second;

	switch (out) {
	case ACCEPT:
		return f->accepted == 1 && !f->to && !f->foreign &&
		       (p->proto == IPPROTO_UDP ? f->udp == 1 : f->replies == 1);
	case FORWARD:
		return sent && f->handed == 1 && !f->second && !f->unknown && !f->foreign;
	case FOREIGN:
		return quiet && f->foreign == 1 && !f->unknown;
	case UNKNOWN:
		return quiet && f->unknown == 1 && !f->foreign;
	case SECOND:
		return sent && f->second == 1 && !f->handed && !f->unknown && !f->foreign;
	}
	return false;
}

static void check_row(const struct row *r, int family)
{
	static const unsigned int from[] = { CLIENT_ID, 2, 3 };
	static const struct { const char *name; uint8_t proto, flags; bool mid; } kinds[] = {
		{ "SYN", IPPROTO_TCP, SYN, false }, { "UDP", IPPROTO_UDP, 0, false },
		{ "ACK", IPPROTO_TCP, ACK, true }, { "SYN+RST", IPPROTO_TCP, SYN | RST, true },
	};
	unsigned int i, k, good = 0, n = 0;
	char wrong[512] = "";
	static uint16_t port = 5000;

	all(r->state, r->to);
	for (i = 0; i < 3; i++)
		for (k = 0; k < 4; k++) {
			struct packet p = {
				.family = family, .proto = kinds[k].proto, .flags = kinds[k].flags,
				.from = (uint8_t)from[i], .sport = port++, .ack = 1,
				.tunnel = conf.redirect != REDIRECT_DIRECT && from[i] != CLIENT_ID,
				.dport = kinds[k].proto == IPPROTO_UDP ? 53 : k % 2 ? 1500 : 80,
			};
			enum out out = kinds[k].mid ? r->mid[i] : r->new[i];
			struct fate f;

			if (kinds[k].flags & RST && out == ACCEPT)
				continue;	/* nothing answers to that */
			f = look(&p, 1);
			n++;
			if (is_out(&f, out, r->to, &p))
				good++;
			else
				snprintf(wrong, sizeof(wrong), "\n# %s from %u, should be %s: %s",
					 kinds[k].name, from[i], out_text[out], text(&f));
		}
	ok(good == n, "%s, %s, %s(%u): %u of %u right%s", family == AF_INET ? "IPv4" : "IPv6",
	   conf.redirect ? "vxlan" : "direct", bucket_state_str(r->state), r->to, good, n, wrong);
}

static void check_table(enum conf_redirect redirect, const struct row *r, size_t n)
{
	size_t i;

	conf.redirect = redirect;
	memset(action, 0, sizeof(action));
	install();
	ok(!sh("nft list ruleset > /dev/null"), "%s: nft lists the rule set",
	   redirect ? "vxlan" : "direct");
	for (i = 0; i < n; i++) {
		check_row(&r[i], AF_INET);
		check_row(&r[i], AF_INET6);
	}
}

/* ---- the way through the cluster, by the table that the kernel has just kept to ---- */

enum { OLD = 1, NEW = 2, THIRD = 3, ANYBODY = 0 };

/* What the three nodes do in each phase of a planned move (core/compile.c). */
static const struct bucket_action phases[][4] = {
	{ { 0 }, { BUCKET_MINE, NOBODY }, { BUCKET_FOREIGN, OLD }, { BUCKET_FOREIGN, OLD } },
	{ { 0 }, { BUCKET_MINE, NOBODY }, { BUCKET_ARRIVING, OLD }, { BUCKET_FOREIGN, OLD } },
	{ { 0 }, { BUCKET_LEAVING, NEW }, { BUCKET_ARRIVING, OLD }, { BUCKET_FOREIGN, OLD } },
	{ { 0 }, { BUCKET_LEAVING, NEW }, { BUCKET_ADOPTING, OLD }, { BUCKET_FOREIGN, NEW } },
	{ { 0 }, { BUCKET_DRAINING, NEW }, { BUCKET_ADOPTING, OLD }, { BUCKET_FOREIGN, NEW } },
	{ { 0 }, { BUCKET_FOREIGN, NEW }, { BUCKET_MINE, NOBODY }, { BUCKET_FOREIGN, NEW } },
};

/* The node that takes it, or 0; 'hops': how often it was handed on. */
static unsigned int walk(const struct bucket_action *at, unsigned int here, bool new,
			 unsigned int known, unsigned int *hops)
{
	unsigned int from = ANYBODY, next, i;

	for (*hops = 0; *hops < 9; (*hops)++) {
		const struct bucket_action *a = &at[here];
		enum out out;

		for (i = 0; rows[i].state != a->state || (rows[i].to == NOBODY) != (a->to == NOBODY); i++)
			;
		out = (new ? rows[i].new : rows[i].mid)[from == ANYBODY ? 0 : from == a->to ? 1 : 2];
		if (out == ACCEPT || (known == here && (out == UNKNOWN || out == SECOND)))
			return here;
		if (out == FOREIGN || out == UNKNOWN)
			return 0;
		next = a->to;
		from = here;
		here = next;
	}
	return 0;
}

/* Each node may be a phase ahead of the others. */
static void check_moves(void)
{
	unsigned int p, mix, front, hops, most = 0, lost = 0, wrong = 0, known, n = 0;

	for (p = 0; p + 1 < sizeof(phases) / sizeof(phases[0]); p++)
		for (mix = 0; mix < 8; mix++)
			for (front = OLD; front <= THIRD; front++) {
				struct bucket_action at[4];
				unsigned int id;

				for (id = OLD; id <= THIRD; id++)
					at[id] = phases[p + (mix >> (id - 1) & 1)][id];
				lost += !walk(at, front, true, ANYBODY, &hops);
				most = hops > most ? hops : most;
				n++;
				/* as long as there are such connections */
				for (known = p == 4 ? NEW : OLD; known <= (p < 2 ? OLD : NEW); known++) {
					wrong += walk(at, front, false, known, &hops) != known;
					most = hops > most ? hops : most;
				}
				walk(at, front, false, ANYBODY, &hops);
				most = hops > most ? hops : most;
			}
	ok(!lost && !wrong && most == 3, "planned move, %u cases: %u SYNs lost, %u connections not found, "
	   "at most %u hops", n, lost, wrong, most);
}

static struct packet tcp(int family, uint8_t flags, unsigned int from)
{
	return (struct packet){ .family = family, .proto = IPPROTO_TCP, .flags = flags, .ack = 1,
				.from = (uint8_t)from };
}

static const char *name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* A way of its own for a bucket; the others go the other way. */
static void one(uint32_t bucket, enum bucket_state state, unsigned int to, enum bucket_state others,
		unsigned int others_to)
{
	all(others, others_to);
	action[bucket] = (struct bucket_action){ (uint8_t)state, (uint8_t)to };
	commit();
}

static uint32_t bucket_of(int family, uint16_t port, bool with_port)
{
	struct addr a;

	addr_parse(&a, family == AF_INET ? "10.77.0.9" : "fd77::9");
	return jhash_bucket(&a, port, with_port, BUCKETS, SEED);
}

/* ---- connections that are known here ---- */

/* A new connection: the socket at the node; and what the client says next. */
static int establish(int family, struct packet *next)
{
	static uint16_t port = 7000;
	struct packet p = tcp(family, SYN, CLIENT_ID);
	struct fate f;
	int fd;

	p.sport = port++;
	p.seq = 1000;
	p.ack = 0;
	f = look(&p, 1);
	p.flags = ACK;
	p.seq = 1001;
	p.ack = f.reply_seq + 1;
	if (f.replies != 1 || f.reply_flags != (SYN | ACK))
		return -1;
	throw(&p);
	usleep(5000);
	fd = accept4(listen_fd[family == AF_INET6], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	p.flags = ACK | PSH;
	p.payload = 1;
	*next = p;
	return fd;
}

/* Nothing more is said about it. */
static void end(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one));
	close(fd);
}

static void check_known(int family)
{
	static const struct bucket_action some[] = {
		{ BUCKET_LEAVING, 2 }, { BUCKET_DRAINING, 2 }, { BUCKET_ARRIVING, 2 },
		{ BUCKET_ADOPTING, 2 }, { BUCKET_ADOPTING, NOBODY }, { BUCKET_LEAVING, 9 },
	};
	struct packet p;
	struct fate f;
	unsigned int i;
	char c;
	int fd;

	all(BUCKET_MINE, NOBODY);
	fd = establish(family, &p);
	ok(fd >= 0, "%s: a connection", name(family));
	for (i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		all((enum bucket_state)some[i].state, some[i].to);
		f = look(&p, 1);
		p.seq++;
		ok(recv(fd, &c, 1, 0) == 1 && !f.to && !f.second && !f.unknown && !f.handed,
		   "%s: %s(%u): known here, goes on (%s)", name(family),
		   bucket_state_str((enum bucket_state)some[i].state), some[i].to, text(&f));
	}
	all(BUCKET_FOREIGN, 2);
	f = look(&p, 1);
	ok(recv(fd, &c, 1, 0) < 0 && f.to == 2, "%s: foreign: handed on, known or not", name(family));
	end(fd);
}

/* ---- who handed it over ---- */

static void check_from(void)
{
	struct packet p = tcp(AF_INET, SYN, 2);
	struct fate f;
	bool direct = conf.redirect == REDIRECT_DIRECT;

	all(BUCKET_FOREIGN, 2);
	f = look(&p, 1);
	if (direct) {
		p.from = OTHERS;
		ok(f.foreign == 1 && !f.to, "a peer's MAC: handed over, whoever sent it");
		f = look(&p, 1);
		ok(f.to == 2, "any other MAC: a client's");
	} else {
		ok(f.to == 2, "tunnels: a peer's MAC means nothing");
		all(BUCKET_ARRIVING, 2);
		f = look(&p, 1);
		ok(f.to == 2 && !f.accepted, "... nor does it let in what is arriving");
		all(BUCKET_FOREIGN, 2);
	}
	p.from = CLIENT_ID;
	p.ttl = 1;
	f = look(&p, 1);
	ok(!f.to && !f.replies, "TTL 1: not handed on");
	all(BUCKET_ADOPTING, 2);
	p.flags = ACK;
	f = look(&p, 1);
	ok(!f.to && f.second == 1, "TTL 1: no second chance");
	p.ttl = 0;
	f = look(&p, 1);
	ok(f.to == 2, "... with a larger one there is");
}

/* ---- fragments ---- */

enum { PIECE = 1208 };	/* bytes of each but the last; a multiple of 8 */

/* A datagram, or segment, in 3 pieces. */
static void cut(const struct packet *whole, struct packet piece[3], uint8_t *l4)
{
	static uint32_t id = 77;
	size_t size = make_l4(whole, l4), i;

	id++;
	for (i = 0; i < 3; i++) {
		piece[i] = *whole;
		piece[i].data = l4 + i * PIECE;
		piece[i].size = i < 2 ? PIECE : size - 2 * PIECE;
		piece[i].fragment = true;
		piece[i].offset = (uint16_t)(i * PIECE);
		piece[i].more = i < 2;
		piece[i].id = id;
	}
}

static void check_fragments(int family)
{
	bool flood = conf.dispatch == DISPATCH_FLOOD;
	struct packet p = { .family = family, .proto = IPPROTO_UDP, .from = CLIENT_ID, .payload = 3000 };
	struct packet q[3], mixed[3];
	uint8_t l4[4096], l4b[4096];
	uint32_t b = bucket_of(family, 4000, true);
	struct fate f;

	one(b, BUCKET_MINE, NOBODY, BUCKET_FOREIGN, 2);
	cut(&p, q, l4);
	f = look(q, 3);
	ok(f.accepted == 3 && f.udp == 1 && f.udp_size == 3000 && !f.to,
	   "%s: fragments follow the first one: mine (%s)", name(family), text(&f));
	cut(&p, q, l4);
	f = look(q + 1, 2);
	ok(!f.accepted && f.fragments == 2 && !f.to, "%s: without it: dropped (%s)", name(family),
	   text(&f));
	cut(&p, q, l4);
	mixed[0] = q[1];
	mixed[1] = q[0];
	mixed[2] = q[2];
	f = look(mixed, 3);
	ok(f.accepted == 2 && f.fragments == 1 && !f.udp, "%s: what overtakes it: dropped (%s)",
	   name(family), text(&f));

	/* two datagrams of different ways at once */
	cut(&p, q, l4);
	f = look(q, 1);
	p.sport = 4001;
	while (bucket_of(family, p.sport, true) == b)
		p.sport++;
	cut(&p, mixed, l4b);
	f = look(mixed, 1);
	f = look(q + 1, 2);
	ok(f.accepted == 2 && f.udp == 1 && !f.to, "%s: ... each its own way: mine (%s)", name(family),
	   text(&f));
	f = look(mixed + 1, 2);
	ok(!f.accepted && !f.udp && (flood ? f.fragments == 2 : f.to == 2 && f.copies == 2),
	   "%s: ... and the other's (%s)", name(family), text(&f));
	p.sport = 0;

	one(b, BUCKET_FOREIGN, 2, BUCKET_MINE, NOBODY);
	cut(&p, q, l4);
	f = look(q, 3);
	ok(!f.accepted && !f.udp && (flood ? f.foreign == 1 && f.fragments == 2 :
				     f.to == 2 && f.copies == 3 && f.ttl == TTL - 1),
	   "%s: fragments of a foreign datagram (%s)", name(family), text(&f));

	p = tcp(family, ACK, CLIENT_ID);
	p.payload = 3000;
	all(BUCKET_ADOPTING, 2);
	cut(&p, q, l4);
	f = look(q, 3);
	ok(!f.accepted && !f.replies && (flood ? f.unknown == 1 : f.second == 1 && f.to == 2),
	   "%s: fragments of an unknown segment (%s)", name(family), text(&f));
}

/* The flags of the whole are in the second fragment; a SYN's are in the padding of the frame. */
static void check_tiny(int family)
{
	uint8_t l4[64], pad[32];
	struct packet whole = tcp(family, ACK, CLIENT_ID), p[2];
	unsigned int i, size;
	struct fate f;

	memset(pad, SYN, sizeof(pad));
	make_l4(&whole, l4);
	for (size = 8; size <= 16; size += 8) {
		all(BUCKET_MINE, NOBODY);
		for (i = 0; i < 2; i++) {
			p[i] = whole;
			p[i].data = l4 + i * size;
			p[i].size = i ? 20 - size : size;
			p[i].fragment = true;
			p[i].offset = (uint16_t)(i * size);
			p[i].more = !i;
			p[i].id = 4242 + size;
			p[i].pad = pad;
			p[i].pad_size = sizeof(pad);
		}
		f = look(p, 2);
		ok(!f.accepted && f.other == 1 && f.fragments == 1 && !f.replies && !f.to,
		   "%s: a first fragment of %u bytes: dropped (%s)", name(family), size, text(&f));
	}
	/* no fragment, and no flags either */
	whole.data = l4;
	whole.size = 12;
	all(BUCKET_LEAVING, 2);
	f = look(&whole, 1);
	ok(!f.handed && !f.accepted && !f.replies, "%s: TCP without flags is no SYN (%s)", name(family),
	   text(&f));
	whole.size = 1;
	all(BUCKET_MINE, NOBODY);
	f = look(&whole, 1);
	ok(!f.accepted && !f.replies && !f.to, "%s: half a port: dropped (%s)", name(family), text(&f));
}

static void check_options(void)
{
	struct packet p = tcp(AF_INET, SYN, CLIENT_ID);
	struct fate f;

	p.options = 3;
	p.sport = 6100;
	all(BUCKET_FOREIGN, 2);
	f = look(&p, 1);
	ok(f.to == 2 && f.handed == 1, "IP options: handed on (%s)", text(&f));
	all(BUCKET_MINE, NOBODY);
	p.dport = 1500;
	f = look(&p, 1);
	ok(f.accepted == 1 && f.replies == 1, "IP options: accepted (%s)", text(&f));
}

/* hash = source, and no other service has the VIP: nothing need be remembered. */
static void check_by_address(int family)
{
	struct packet p = { .family = family, .proto = IPPROTO_UDP, .from = CLIENT_ID, .payload = 3000 };
	struct packet q[3], mixed[3];
	uint8_t l4[4096];
	struct fate f;

	one(bucket_of(family, 0, false), BUCKET_MINE, NOBODY, BUCKET_FOREIGN, 2);
	cut(&p, q, l4);
	mixed[0] = q[2];
	mixed[1] = q[0];
	mixed[2] = q[1];
	f = look(mixed, 3);
	ok(f.accepted == 3 && f.udp == 1 && f.udp_size == 3000,
	   "%s: hash = source: fragments in any order (%s)", name(family), text(&f));
	one(bucket_of(family, 0, false), BUCKET_FOREIGN, 2, BUCKET_MINE, NOBODY);
	cut(&p, q, l4);
	f = look(q + 1, 2);
	ok(f.to == 2 && f.copies == 2, "... also handed on (%s)", text(&f));
}

/* ---- ICMP ---- */

static struct packet icmp(int family, uint8_t type)
{
	return (struct packet){ .family = family, .from = CLIENT_ID, .icmp_type = type, .payload = 48,
				.proto = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6 };
}

static void check_echo(int family)
{
	struct packet p = icmp(family, family == AF_INET ? 8 : 128), q[3];
	bool flood = conf.dispatch == DISPATCH_FLOOD;
	uint32_t b = bucket_of(family, 0, false);
	uint8_t l4[4096];
	struct fate f;

	one(b, BUCKET_MINE, NOBODY, BUCKET_FOREIGN, 2);
	f = look(&p, 1);
	ok(f.accepted == 1 && f.replies == 1 && f.reply_icmp == (family == AF_INET ? 0 : 129) && !f.to,
	   "%s: ping: answered by the owner of the address' bucket (%s)", name(family), text(&f));
	p.payload = 3000;
	cut(&p, q, l4);
	f = look(q, 3);
	ok(f.accepted == 3 && f.replies >= 1 && !f.to, "%s: a large ping too (%s)", name(family),
	   text(&f));
	p.payload = 48;
	one(b, BUCKET_FOREIGN, 2, BUCKET_MINE, NOBODY);
	f = look(&p, 1);
	ok(!f.replies && f.foreign == flood && (flood ? !f.to : f.to == 2),
	   "%s: ping: not answered by another (%s)", name(family), text(&f));
	if (flood)
		return;
	p.from = 2;
	p.tunnel = conf.redirect != REDIRECT_DIRECT;
	f = look(&p, 1);
	ok(!f.replies && !f.to, "%s: ping: not handed on twice (%s)", name(family), text(&f));
	all(BUCKET_ARRIVING, 2);
	f = look(&p, 1);
	ok(f.replies == 1 && !f.to, "%s: ping: arriving, handed over: answered (%s)", name(family),
	   text(&f));
}

/* An error about a packet from VIP:'sport' to the client's 'dport'. */
static struct packet error(int family, uint8_t type, uint8_t proto, uint16_t sport, uint16_t dport,
			   uint8_t *buf, struct packet *inner)
{
	struct packet p = icmp(family, type), in = { .family = family, .proto = proto, .sport = sport,
						     .dport = dport, .flags = ACK, .payload = 8 };
	size_t n;

	addr_parse(&in.client, family == AF_INET ? VIP4 : VIP6);
	addr_parse(&in.vip, family == AF_INET ? "10.77.0.9" : "fd77::9");
	if (inner) {
		in.options = inner->options;
		in.fragment = inner->fragment;
		in.offset = inner->offset;
		in.seq = inner->seq;
		in.ack = inner->ack;
	}
	memset(buf, 0, 8);
	buf[0] = type;
	if (family == AF_INET && type == 3) {
		buf[1] = 4;	/* fragmentation needed, MTU 1400 */
		buf[6] = 1400 >> 8;
		buf[7] = 1400 & 255;
	}
	if (family == AF_INET6 && type == 2) {
		buf[6] = 1400 >> 8;
		buf[7] = 1400 & 255;
	}
	n = make_ip(&in, buf + 8);
	p.data = buf;
	p.size = 8 + n;
	/* its checksum is as for a payload of its own */
	return p;
}

static void check_errors(int family)
{
	static const uint8_t types4[] = { 3, 11, 12 }, types6[] = { 1, 2, 3, 4 };
	const uint8_t *types = family == AF_INET ? types4 : types6;
	unsigned int n = family == AF_INET ? 3 : 4, i, good = 0;
	uint32_t b = bucket_of(family, 4000, true);
	uint8_t buf[512], too_big = family == AF_INET ? 3 : 2;
	struct packet p, strange = { .options = 1 };
	struct fate f;

	one(b, BUCKET_FOREIGN, 2, BUCKET_MINE, NOBODY);
	for (i = 0; i < n; i++) {
		p = error(family, types[i], IPPROTO_TCP, 80, 4000, buf, NULL);
		f = look(&p, 1);
		good += f.to == 2 && f.handed == 1 && !f.accepted;
		p = error(family, types[i], i % 2 ? IPPROTO_UDP : IPPROTO_TCP, i % 2 ? 53 : 1500, 4000,
			  buf, NULL);
		f = look(&p, 1);
		good += f.to == 2 && f.handed == 1 && !f.accepted;
	}
	ok(good == 2 * n, "%s: errors go where the connection is (%u of %u; %s)", name(family), good,
	   2 * n, text(&f));
	p.from = 3;
	p.tunnel = conf.redirect != REDIRECT_DIRECT;
	f = look(&p, 1);
	ok(!f.to && f.foreign == 1, "%s: ... not twice (%s)", name(family), text(&f));
	one(b, BUCKET_MINE, NOBODY, BUCKET_FOREIGN, 2);
	p = error(family, too_big, IPPROTO_TCP, 80, 4000, buf, NULL);
	f = look(&p, 1);
	ok(f.accepted == 1 && !f.to, "%s: ... and are let in there (%s)", name(family), text(&f));
	all(BUCKET_ADOPTING, 2);
	f = look(&p, 1);
	ok(!f.accepted && f.second == 1 && f.to == 2, "%s: ... unknown: to the old owner (%s)",
	   name(family), text(&f));
	all(BUCKET_LEAVING, 2);
	f = look(&p, 1);
	ok(f.second == 1 && !f.handed, "%s: ... leaving: not taken for something new (%s)",
	   name(family), text(&f));

	all(BUCKET_MINE, NOBODY);
	p = error(family, too_big, IPPROTO_TCP, 81, 4000, buf, NULL);
	f = look(&p, 1);
	ok(f.other == 1 && !f.accepted, "%s: errors about no port of ours: dropped", name(family));
	p = error(family, too_big, IPPROTO_TCP, 80, 4000, buf, NULL);
	p.size = 8 + 20;
	f = look(&p, 1);
	ok(f.other == 1 && !f.accepted, "%s: errors cut short: dropped", name(family));
	p = error(family, family == AF_INET ? 5 : 137, IPPROTO_TCP, 80, 4000, buf, NULL);
	f = look(&p, 1);
	ok(f.other == 1 && !f.accepted, "%s: redirects: dropped", name(family));
	if (family == AF_INET6)
		return;
	p = error(family, too_big, IPPROTO_TCP, 80, 4000, buf, &strange);
	f = look(&p, 1);
	ok(f.other == 1 && !f.accepted, "errors about a header with options: dropped");
	strange = (struct packet){ .fragment = true, .offset = 80 };
	p = error(family, too_big, IPPROTO_TCP, 80, 4000, buf, &strange);
	f = look(&p, 1);
	ok(f.other == 1 && !f.accepted, "errors about a later fragment: dropped");
}

/* ---- who answers for a VIP ---- */

static struct fate ask_arp(const char *who)
{
	uint8_t frame[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, CLIENT_ID, 8, 6,
			      0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, CLIENT_ID, 10, 77, 0, 9 };
	struct addr a;

	addr_parse(&a, who);
	memcpy(frame + 38, a.b, 4);
	return look_frame(frame, sizeof(frame));
}

static struct fate ask_nd(const char *who, bool multicast)
{
	struct packet p = icmp(AF_INET6, 135);
	uint8_t frame[128], data[24] = { 135 };
	uint32_t sum = 32 + IPPROTO_ICMPV6;
	struct addr a;
	unsigned int i;
	size_t n;

	addr_parse(&a, who);
	memcpy(data + 8, a.b, 16);
	addr_parse(&p.vip, multicast ? "ff02::1:ff00:0" : who);
	if (multicast)
		memcpy(p.vip.b + 13, a.b + 13, 3);
	p.ttl = 255;
	p.data = data;
	p.size = sizeof(data);
	addr_parse(&p.client, "fd77::9");
	sum = sizeof(data) + IPPROTO_ICMPV6;
	for (i = 0; i < 16; i += 2)
		sum += ((uint32_t)p.client.b[i] << 8 | p.client.b[i + 1]) +
		       ((uint32_t)p.vip.b[i] << 8 | p.vip.b[i + 1]);
	for (i = 0; i < sizeof(data); i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	data[2] = (uint8_t)(~sum >> 8);
	data[3] = (uint8_t)~sum;
	n = make_ip(&p, frame + 14);
	mac_of(CLIENT_ID, frame + 6);
	memcpy(frame, node_mac, 6);
	if (multicast) {
		frame[0] = frame[1] = 0x33;
		memcpy(frame + 2, p.vip.b + 12, 4);
	}
	frame[12] = 0x86;
	frame[13] = 0xdd;
	return look_frame(frame, 14 + n);
}

static void check_holder(void)
{
	struct addr held[2] = { conf.vip[0], conf.vip[1] };
	struct fate a, m, u;

	all(BUCKET_MINE, NOBODY);
	want.n_held = 0;
	commit();
	a = ask_arp(VIP4);
	m = ask_nd(VIP6, true);
	u = ask_nd(VIP6, false);
	ok(!a.arp && a.silenced == 1, "not the holder: no answer to ARP (%s)", text(&a));
	ok(!m.nd && m.silenced == 1 && !u.nd && u.silenced == 1,
	   "not the holder: no answer to neighbour solicitations (%s)", text(&m));
	want.held = held;
	want.n_held = 2;
	commit();
	a = ask_arp(VIP4);
	m = ask_nd(VIP6, true);
	u = ask_nd(VIP6, false);
	ok(a.arp == 1 && !a.silenced, "the holder: ARP is answered (%s)", text(&a));
	ok(m.nd == 1, "the holder: neighbour solicitations are answered (%s)", text(&m));
	ok(u.nd == 1, "... also to the address itself (%s)", text(&u));
	if (lease_table_end(lease))
		die("lease");
	a = ask_arp(VIP4);
	m = ask_nd(VIP6, true);
	ok(!a.arp && !m.nd, "the holder without a lease: no answer (%s)", text(&a));
	install();
	want.n_held = 1;	/* IPv4 only */
	commit();
	a = ask_arp(VIP4);
	m = ask_nd(VIP6, true);
	ok(a.arp == 1 && !m.nd, "holder of one VIP: no answer for the other");
	want.n_held = 0;
	want.held = NULL;
	commit();
}

/* ---- a change of the hash ---- */

static void check_freeze(int family)
{
	struct packet p, s = tcp(family, SYN, CLIENT_ID), u = s, e = icmp(family, family == AF_INET ?
									    8 : 128);
	struct fate f;
	char c;
	int fd;

	all(BUCKET_MINE, NOBODY);
	fd = establish(family, &p);
	service.freeze = true;
	commit();
	s.sport = 7101;
	f = look(&s, 1);
	ok(f.frozen == 1 && !f.replies && !f.accepted, "%s: frozen: no SYN (%s)", name(family), text(&f));
	u.proto = IPPROTO_UDP;
	f = look(&u, 1);
	ok(f.frozen == 1 && !f.udp, "%s: frozen: no UDP (%s)", name(family), text(&f));
	f = look(&e, 1);
	ok(f.frozen == 1 && !f.replies, "%s: frozen: no ping (%s)", name(family), text(&f));
	f = look(&p, 1);
	ok(recv(fd, &c, 1, 0) == 1 && !f.frozen, "%s: frozen: connections go on (%s)", name(family),
	   text(&f));
	service.freeze = false;
	commit();
	f = look(&s, 1);
	ok(f.replies == 1, "%s: thawed", name(family));
	end(fd);
}

/* The new table is installed; who has what is known from before asks the old one. */
static void check_old(int family)
{
	static uint8_t owner[8192];
	struct packet p = tcp(family, ACK, CLIENT_ID);
	struct rules_counters before, after;
	struct addr a;
	struct fate f;
	uint32_t b;

	addr_parse(&a, family == AF_INET ? "10.77.0.9" : "fd77::9");
	all(BUCKET_ADOPTING, NOBODY);
	memset(owner, 2, sizeof(owner));
	b = jhash_bucket(&a, 0, false, sizeof(owner), SEED);
	owner[b] = 3;
	service.old.owner = owner;
	service.old.buckets = sizeof(owner);
	service.old.hash = HASH_SOURCE;
	commit();
	if (rules_counters(rules, 0, &before))
		die("counters");
	f = look(&p, 1);
	ok(f.to == 3 && f.second == 1 && f.copies == 1, "%s: old table: to who had it (%s)",
	   name(family), text(&f));
	owner[b] = 1;
	commit();
	f = look(&p, 1);
	ok(!f.to && f.unknown == 1, "%s: old table: this node had it (%s)", name(family), text(&f));
	owner[b] = NOBODY;
	commit();
	f = look(&p, 1);
	ok(!f.to && f.unknown == 1, "%s: old table: nobody had it (%s)", name(family), text(&f));
	owner[b] = 2;
	commit();
	p.flags = SYN;
	p.sport = 7200;
	f = look(&p, 1);
	ok(f.accepted == 1 && !f.to, "%s: old table: new connections are ours (%s)", name(family),
	   text(&f));
	p.flags = ACK;
	p.sport = 7201;
	service.old.hash = HASH_SOURCE_PORT;
	owner[jhash_bucket(&a, 7201, true, sizeof(owner), SEED)] = 3;
	commit();
	f = look(&p, 1);
	ok(f.to == 3, "%s: old table: by address and port (%s)", name(family), text(&f));
	service.old.owner = NULL;
	commit();
	f = look(&p, 1);
	ok(!f.to && f.unknown == 1, "%s: the old table is forgotten (%s)", name(family), text(&f));
	if (rules_counters(rules, 0, &after))
		die("counters");
	ok(after.accepted > before.accepted && sh("nft list map netdev clusterd s0_o 2>/dev/null"),
	   "... in place");
}

/* ---- devices ---- */

static void check_devices(void)
{
	char dev[RULES_INTERFACES_MAX][IFNAME_SIZE];
	unsigned int n = rules_interfaces(&want, dev, RULES_INTERFACES_MAX);

	if (conf.redirect == REDIRECT_DIRECT)
		ok(n == 1 && !strcmp(dev[0], "eth0"), "direct: only the service's interface");
	else
		ok(n == 3 && !strcmp(dev[0], "eth0") && !strcmp(dev[1], "cluv_2") &&
		   !strcmp(dev[2], "cluv_3"), "tunnels: their devices too");
}

/* A peer's tunnel goes and comes back; nothing else is disturbed. */
static void check_tunnel_goes(void)
{
	struct packet p = tcp(AF_INET, SYN, 3);
	int index = peers[1].ifindex4, ret;
	struct fate f;

	all(BUCKET_FOREIGN, 3);
	peers[1].ifindex4 = peers[1].ifindex6 = 0;
	commit();
	p.from = CLIENT_ID;
	f = look(&p, 1);
	ok(!f.to && f.foreign == 1, "no tunnel to a peer: dropped (%s)", text(&f));
	peers[1].ifindex4 = peers[1].ifindex6 = index;
	commit();
	f = look(&p, 1);
	ok(f.to == 3 && f.by_tunnel, "a tunnel to it: handed on (%s)", text(&f));
	must("ip link del cluv_3");
	peers[1].ifindex4 = peers[1].ifindex6 = 0;
	ret = rules_commit(rules, &want);
	f = look(&p, 1);
	ok(!ret && !f.to && f.foreign == 1, "its device was removed: %s", ret ? rules_strerror(rules) :
	   "dropped");
	make_tunnel(3);
	index = (int)if_nametoindex("cluv_3");
	peers[1].ifindex4 = peers[1].ifindex6 = index;
	ret = rules_repair(rules, &want);
	f = look(&p, 1);
	ok(!ret && f.to == 3 && f.by_tunnel, "... and is there again: handed on (%s)", text(&f));
	lease_table_close(lease);
	lease = NULL;
	install();
	p.from = 3;
	p.tunnel = true;
	f = look(&p, 1);
	ok(!f.to && f.foreign == 1, "... what comes out of it is not handed on (%s)", text(&f));
	must("ip link del cluv_3");
	make_tunnel(3);
	index = (int)if_nametoindex("cluv_3");
	peers[1].ifindex4 = peers[1].ifindex6 = index;
	ret = rules_repair(rules, &want);
	f = look(&p, 1);
	ok(!ret && !f.to && f.foreign == 1, "... nor when it was changed for another (%s)", text(&f));
}

static void check_family(int family)
{
	check_known(family);
	check_fragments(family);
	check_tiny(family);
	check_echo(family);
	check_errors(family);
	check_freeze(family);
	check_old(family);
}

static void check_flood(void)
{
	conf.dispatch = DISPATCH_FLOOD;
	puts("# flood");
	check_table(REDIRECT_VXLAN, flood_rows, N_FLOOD_ROWS);
	check_table(REDIRECT_DIRECT, flood_rows, N_FLOOD_ROWS);
	check_fragments(AF_INET);
	check_fragments(AF_INET6);
	check_echo(AF_INET);
	check_echo(AF_INET6);
	conf.dispatch = DISPATCH_ANNOUNCE;
}

int main(void)
{
	alarm(240);
	signal(SIGPIPE, SIG_IGN);
	srandom(1);
	handed_make();
	check_table(REDIRECT_DIRECT, rows, N_ROWS);
	check_moves();
	check_devices();
	check_from();
	check_options();
	check_family(AF_INET);
	check_family(AF_INET6);
	check_holder();
	service.hash = HASH_SOURCE;
	install();
	check_by_address(AF_INET);
	check_by_address(AF_INET6);
	service.hash = HASH_SOURCE_PORT;
	check_flood();
	puts("# announce");
	check_table(REDIRECT_VXLAN, rows, N_ROWS);
	check_devices();
	check_from();
	check_family(AF_INET);
	check_family(AF_INET6);
	check_tunnel_goes();
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

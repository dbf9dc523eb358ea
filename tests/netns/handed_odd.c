/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is not just a packet for a port, on the place of handed_lab.h: fragments, odd headers, ICMP, ARP,
 * neighbour discovery.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "handed_lab.h"
#include "util/jhash.h"

enum { SYN = 0x02, ACK = 0x10 };

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

void check_fragments(int family)
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
void check_tiny(int family)
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

void check_options(void)
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
void check_by_address(int family)
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

void check_echo(int family)
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
	icmp_sum(&p, buf, p.size);
	return p;
}

/* About a connection that only conntrack knows. */
static void check_error_known(int family)
{
	uint8_t buf[512], too_big = family == AF_INET ? 3 : 2;
	struct packet next, p;
	struct fate f;
	int fd;

	all(BUCKET_MINE, NOBODY);
	fd = establish(family, &next);
	all(BUCKET_ADOPTING, 2);
	p = error(family, too_big, IPPROTO_TCP, 80, next.sport, buf, NULL);
	f = look(&p, 1);
	ok(fd >= 0 && !f.to && !f.second && !f.unknown, "%s: ... known here: it stays (%s)",
	   name(family), text(&f));
	p = error(family, too_big, IPPROTO_TCP, 80, (uint16_t)(next.sport + 1), buf, NULL);
	f = look(&p, 1);
	ok(f.to == 2, "%s: ... its neighbour: not known (%s)", name(family), text(&f));
	end(fd);
}

void check_errors(int family)
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
	check_error_known(family);

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

/* A question, or (136) an answer that nobody has asked for. */
static struct fate ask_nd(uint8_t type, const char *who, bool multicast)
{
	struct packet p = icmp(AF_INET6, type);
	uint8_t frame[128], data[24] = { type };
	struct addr a;
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
	icmp_sum(&p, data, sizeof(data));
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

void check_holder(void)
{
	struct addr held[2] = { conf.vip[0], conf.vip[1] };
	struct fate a, m, u;

	all(BUCKET_MINE, NOBODY);
	want.n_held = 0;
	commit();
	a = ask_arp(VIP4);
	m = ask_nd(135, VIP6, true);
	u = ask_nd(135, VIP6, false);
	ok(!a.arp && a.silenced == 1, "not the holder: no answer to ARP (%s)", text(&a));
	ok(!m.nd && m.silenced == 1 && !u.nd && u.silenced == 1,
	   "not the holder: no answer to neighbour solicitations (%s)", text(&m));
	want.held = held;
	want.n_held = 2;
	commit();
	a = ask_arp(VIP4);
	m = ask_nd(135, VIP6, true);
	u = ask_nd(135, VIP6, false);
	ok(a.arp == 1 && !a.silenced, "the holder: ARP is answered (%s)", text(&a));
	ok(m.nd == 1, "the holder: neighbour solicitations are answered (%s)", text(&m));
	ok(u.nd == 1, "... also to the address itself (%s)", text(&u));
	m = ask_nd(136, VIP6, true);
	u = ask_nd(136, VIP6, false);
	ok(m.silenced == 1 && u.silenced == 1, "others' answers about a VIP: dropped (%s)", text(&u));
	if (lease_table_end(lease))
		die("lease");
	a = ask_arp(VIP4);
	m = ask_nd(135, VIP6, true);
	ok(!a.arp && !m.nd, "the holder without a lease: no answer (%s)", text(&a));
	install();
	want.n_held = 1;	/* IPv4 only */
	commit();
	a = ask_arp(VIP4);
	m = ask_nd(135, VIP6, true);
	ok(a.arp == 1 && !m.nd, "holder of one VIP: no answer for the other");
	want.n_held = 0;
	want.held = NULL;
	commit();
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets that arrive at any node (dispatch = announce, route) against this machine's kernel, on the
 * place of handed_lab.h: every row of the table in rules_action.c, by which MAC or tunnel a packet
 * leaves.
 */
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handed_lab.h"
#include "util/jhash.h"

enum { SYN = 0x02, RST = 0x04, ACK = 0x10 };

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
	{ BUCKET_DRAINING, 2, { FORWARD, FOREIGN, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_ARRIVING, 2, { FORWARD, ACCEPT, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_FOREIGN, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_LEAVING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_DRAINING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
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

/* ---- connections that are known here ---- */

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
	all(BUCKET_DRAINING, 2);
	p.flags = SYN;
	p.from = 3;
	p.tunnel = conf.redirect != REDIRECT_DIRECT;
	f = look(&p, 1);
	ok(f.foreign == 1 && !f.to, "%s: old table: a new connection that a peer handed over ends (%s)",
	   name(family), text(&f));
	p.from = CLIENT_ID;
	p.tunnel = false;
	f = look(&p, 1);
	ok(f.to == 2, "%s: old table: a client's goes on (%s)", name(family), text(&f));
	p.flags = ACK;
	all(BUCKET_ADOPTING, NOBODY);
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
	ok(!sh("nft list ruleset >/dev/null && nft list map netdev clusterd s0_frag%d | grep -q elements",
	       family == AF_INET ? 4 : 6),
	   "nft lists what fragments have left behind");
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
	alarm(240u * (unsigned int)lab_slow());
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

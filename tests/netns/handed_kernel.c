/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets that arrive at any node (dispatch = announce, route) against this machine's kernel, on the place
 * of handed_lab.h: every row of the table in rules_action.c, by which MAC or tunnel a packet leaves.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
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
	{ BUCKET_LEAVING, 2, { FORWARD, FOREIGN, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_DRAINING, 2, { FORWARD, FOREIGN, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_ARRIVING, 2, { FORWARD, ACCEPT, FORWARD }, { SECOND, UNKNOWN, SECOND } },
	{ BUCKET_FOREIGN, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_LEAVING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_ARRIVING, 9, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_ADOPTING, 9, { ACCEPT, ACCEPT, ACCEPT }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_DRAINING, NOBODY, { FOREIGN, FOREIGN, FOREIGN }, { UNKNOWN, UNKNOWN, UNKNOWN } },
	{ BUCKET_FOREIGN, NOBODY, { FOREIGN, FOREIGN, FOREIGN }, { FOREIGN, FOREIGN, FOREIGN } },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

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

static void check_table(enum conf_redirect redirect)
{
	unsigned int i;

	conf.redirect = redirect;
	memset(action, 0, sizeof(action));
	install();
	ok(!sh("nft list ruleset > /dev/null"), "%s: nft lists the rule set",
	   redirect ? "vxlan" : "direct");
	for (i = 0; i < N_ROWS; i++) {
		check_row(&rows[i], AF_INET);
		check_row(&rows[i], AF_INET6);
	}
}

int main(void)
{
	alarm(240);
	signal(SIGPIPE, SIG_IGN);
	srandom(1);
	handed_make();
	check_table(REDIRECT_DIRECT);
	check_table(REDIRECT_VXLAN);
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Schedulers against this machine's kernel, on the place of handed_lab.h: this node directs, nodes
 * 2 and 3 serve; the flow maps, the queue and the thread behind it, a flood of packets that nobody
 * knows.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "handed_lab.h"
#include "io/queue.h"

enum { SYN = 0x02, ACK = 0x10, NODE_NS = 1, NUMBER = 7, SELF = 1 };
#define FLOOD 200000u		/* packets, fewer on a slow machine */
#define PATIENCE 8
#define QUEUE_PATIENCE 40	/* the thread has to be scheduled, on a machine with other things to do */

static struct queue *queue;
static struct queue_table table;
static struct queue_item items[4096];
static unsigned int n_items;
static uint16_t port = 10000;

/* ---- helpers ---- */

static int64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* As a peer's answer; returns when the thread has it, and every order of before. */
static void learn(const struct flow *f)
{
	struct queue_stats before, now;

	queue_stats(queue, &before);
	queue_learn(queue, f, 1);
	for (unsigned int i = 0; i < 2000; i++) {
		queue_stats(queue, &now);
		if (now.learned != before.learned)
			return;
		usleep(1000);
	}
	die("the queue's thread does not answer");
}

static void set_table(void)
{
	const struct flow nothing = { .proto = IPPROTO_TCP, .node = 2, .client.family = AF_INET,
				      .vip.family = AF_INET };

	if (queue_set_table(queue, &table))
		die("table");
	learn(&nothing);
}

static void open_queue(void)
{
	struct queue_params p = { .first = NUMBER, .n = 2, .self = SELF };
	const char *why;
	int err;

	enter(NODE_NS);
	err = queue_open(&queue, &p, &why);
	if (err) {
		errno = -err;
		die(why);
	}
	set_table();
}

static void weights(uint16_t w1, uint16_t w2, uint16_t w3)
{
	const uint16_t w[] = { 0, w1, w2, w3 };

	memcpy(service.weight, w, sizeof(w));
	memcpy(table.service[0].weight, w, sizeof(w));
	table.service[0].sched = conf.sched;
	if (queue)
		set_table();
}

/* What the thread tells: waits 'ms' for it to begin. */
static void collect(unsigned int ms)
{
	struct pollfd p = { .fd = queue_fd(queue), .events = POLLIN };

	n_items = 0;
	while (n_items < 4096 && poll(&p, 1, (int)ms) > 0) {
		n_items += queue_next(queue, items + n_items, 4096 - n_items);
		ms = ms < 10 ? ms : 10;
	}
}

static struct packet seg(int family, uint8_t flags, uint8_t from)
{
	return (struct packet){ .family = family, .proto = IPPROTO_TCP, .flags = flags, .from = from,
				.sport = ++port, .tunnel = from != CLIENT_ID &&
				conf.redirect != REDIRECT_DIRECT };
}

static struct packet dgram(int family, uint8_t from)
{
	struct packet p = seg(family, 0, from);

	p.proto = IPPROTO_UDP;
	return p;
}

/* This node took it, or that one got it: once, and nobody was answered but by us. */
static bool went(const struct fate *f, unsigned int id, const struct packet *p)
{
	bool tunnel = conf.redirect != REDIRECT_DIRECT;

	if (id == SELF)
		return !f->to && (p->proto == IPPROTO_UDP ? f->udp == 1 : f->replies ?
				  f->replies == 1 && f->reply_flags == (SYN | ACK) :
				  f->accepted == 1);	/* a second SYN-ACK comes later */
	return !f->replies && !f->udp && f->to == id && (!id || f->copies == 1) &&
	       (!id || f->by_tunnel == tunnel);
}

static unsigned int goes(struct packet *p)
{
	struct fate f = look(p, 1);

	for (unsigned int id = 1; id <= 3; id++)
		if (went(&f, id, p))
			return id;
	return went(&f, 0, p) ? 0 : 99;
}

/* By the queue: its thread may be late, and a client sends again. */
static unsigned int goes_at_last(struct packet *p)
{
	unsigned int id = 0;

	for (unsigned int i = 0; i < 10 && (id == 0 || id == 99); i++)
		id = goes(p);
	return id;
}

static struct flow flow_of(const struct packet *p, uint8_t id)
{
	struct flow f = { .proto = p->proto, .node = id, .sport = p->sport,
			  .dport = p->proto == IPPROTO_TCP ? 80 : 53 };

	addr_parse(&f.client, p->family == AF_INET ? "10.77.0.9" : "fd77::9");
	f.vip = conf.vip[p->family == AF_INET6];
	return f;
}

static bool same(const struct flow *a, const struct flow *b)
{
	return a->service == b->service && a->proto == b->proto && a->sport == b->sport &&
	       a->dport == b->dport && a->node == b->node && !addr_cmp(&a->client, &b->client) &&
	       !addr_cmp(&a->vip, &b->vip);
}

struct seek { struct flow flow; unsigned int found, all; uint32_t expires_ms; };

static bool seek_cb(void *arg, const struct flow *flow, uint32_t expires_ms)
{
	struct seek *s = arg;

	s->all++;
	if (same(flow, &s->flow)) {
		s->found++;
		s->expires_ms = expires_ms;
	}
	return true;
}

static struct seek seek(const struct packet *p, uint8_t id)
{
	struct seek s = { .flow = flow_of(p, id) };

	enter(NODE_NS);
	if (rules_flows_list(rules, 0, seek_cb, &s))
		die(rules_strerror(rules));
	return s;
}

static long rss_kb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		die("statm");
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- what the rules do ---- */

static void check_listing(const char *what)
{
	enter(NODE_NS);
	ok(!sh("nft list ruleset >/dev/null"), "%s: nft lists the rules", what);
}

/* New flows by the weights, each flow always to the same node. */
static void check_probability(int family)
{
	const char *v = family == AF_INET ? "IPv4" : "IPv6";
	unsigned int hits[100] = { 0 }, stay = 0, moved = 0, at;
	struct packet p[60], again;

	weights(100, 200, 100);
	all(BUCKET_MINE, NOBODY);
	for (unsigned int i = 0; i < 400; i++) {
		again = seg(family, SYN, CLIENT_ID);
		at = goes(&again);
		hits[at]++;
		if (i < 60)
			p[i] = again;
		if (i >= 20)
			continue;
		for (unsigned int k = 0; k < 4; k++)
			stay += goes(&p[i]) == at;
	}
	/* four standard deviations of 400 draws */
	ok(hits[1] > 65 && hits[1] < 135 && hits[2] > 160 && hits[2] < 240 && hits[3] > 65 &&
	   hits[3] < 135 && hits[1] + hits[2] + hits[3] == 400,
	   "%s: 1:2:1 of 400 new flows: %u, %u, %u, lost %u", v, hits[1], hits[2], hits[3],
	   400 - hits[1] - hits[2] - hits[3]);
	ok(stay == 80, "%s: a repeated SYN goes where the first one went (%u of 80)", v, stay);

	for (unsigned int i = 0; i < 60; i++)
		hits[i] = goes(&p[i]);
	weights(0, 0, 100);
	all(BUCKET_MINE, NOBODY);
	for (unsigned int i = 0; i < 60; i++) {
		p[i].flags = ACK;
		if (hits[i] != SELF)	/* conntrack here may have forgotten a SYN without an ACK */
			moved += goes(&p[i]) != hits[i];
	}
	ok(!moved, "%s: other weights: known flows stay with their nodes (%u did not)", v, moved);
	stay = 0;
	for (unsigned int i = 0; i < 50; i++) {
		again = i % 2 ? dgram(family, CLIENT_ID) : seg(family, SYN, CLIENT_ID);
		stay += goes(&again) == 3;
		stay += goes(&again) == 3;
	}
	ok(stay == 100, "%s: new ones, TCP and UDP, go by the new weights (%u of 100)", v, stay);
}

/* A flow's life in the map: a minute after a SYN, longer when more has come. */
static void check_life(int family)
{
	struct packet p = seg(family, SYN, CLIENT_ID), u = dgram(family, CLIENT_ID);
	struct seek s;
	unsigned int a, b;

	weights(0, 100, 0);
	all(BUCKET_MINE, NOBODY);
	a = goes(&p);
	s = seek(&p, 2);
	ok(a == 2 && s.found == 1 && s.expires_ms > 50000 && s.expires_ms <= 60000,
	   "a SYN is remembered for a minute (%u ms)", s.expires_ms);
	p.flags = ACK;
	a = goes(&p);
	s = seek(&p, 2);
	ok(a == 2 && s.found == 1 && s.expires_ms > 3590000, "what follows makes it an hour (%u ms)",
	   s.expires_ms);
	a = goes(&u);
	b = goes(&u);
	s = seek(&u, 2);
	ok(a == 2 && b == 2 && s.found == 1 && s.expires_ms > 170000 && s.expires_ms <= 180000,
	   "UDP three minutes (%u ms)", s.expires_ms);
}

static void check_taught(int family)
{
	const char *v = family == AF_INET ? "IPv4" : "IPv6";
	static struct flow many[1300];
	struct packet p = seg(family, ACK, CLIENT_ID), q = dgram(family, CLIENT_ID);
	struct flow f[2];
	struct seek s;
	unsigned int to;

	enter(NODE_NS);
	f[0] = flow_of(&p, 2);
	f[1] = flow_of(&q, 3);
	ok(!rules_flows_add(rules, f, 2) && goes(&p) == 2 && goes(&q) == 3,
	   "%s: flows taught to the kernel go to their nodes", v);
	enter(NODE_NS);
	ok(!rules_flows_add(rules, f, 2), "%s: teaching them again is no error", v);
	f[0].node = 3;
	ok(!rules_flows_add(rules, f, 2) && goes(&p) == 3, "%s: a flow taught anew gets the new node", v);
	s = seek(&p, 3);
	ok(s.found == 1 && s.expires_ms > 3590000, "%s: and is listed so", v);

	enter(NODE_NS);
	for (unsigned int i = 0; i < 1300; i++) {
		many[i] = f[0];
		many[i].sport = (uint16_t)(30000 + i % 1250);	/* some twice, the second time elsewhere */
		many[i].node = (uint8_t)(i < 1250 ? 2 : 3);
		many[i].service = i == 7 ? 9 : 0;		/* no such service */
	}
	ok(!rules_flows_add(rules, many, 1300), "%s: 1,300 at once, some of them twice", v);
	p.sport = 30010;
	to = goes(&p);
	p.sport = 30200;
	ok(to == 3 && goes(&p) == 2, "%s: ... the later word counts", v);
	/* a node that is no more */
	service.n_peers = 1;
	all(BUCKET_MINE, NOBODY);
	p.sport = 30010;
	p.flags = SYN;
	weights(0, 100, 100);
	all(BUCKET_MINE, NOBODY);
	ok(goes(&p) == 2 && seek(&p, 2).found == 1 && !seek(&p, 3).found,
	   "%s: a flow of a node that is gone is given anew", v);
	service.n_peers = 2;
	all(BUCKET_MINE, NOBODY);
}

/* ---- the states of a bucket; node 3 is who every new flow goes to ---- */

enum { DROP = 0, QUEUED = 50, SECOND = 60, CHECKED = 70 };

struct row {
	enum bucket_state state;
	unsigned int to;
	unsigned int new[3], mid[3];	/* from the client, from node 2, from node 3 */
};

static const struct row rows[] = {
	{ BUCKET_MINE, NOBODY, { 3, 3, 3 }, { QUEUED, QUEUED, QUEUED } },
	{ BUCKET_ADOPTING, NOBODY, { 3, 3, 3 }, { QUEUED, QUEUED, QUEUED } },
	{ BUCKET_ADOPTING, 9, { 3, 3, 3 }, { QUEUED, QUEUED, QUEUED } },
	{ BUCKET_ADOPTING, 2, { 3, 3, 3 }, { SECOND, CHECKED, SECOND } },
	{ BUCKET_FOREIGN, 2, { 2, SELF, SELF }, { 2, CHECKED, CHECKED } },
	{ BUCKET_FOREIGN, 9, { DROP, SELF, SELF }, { DROP, CHECKED, CHECKED } },
	{ BUCKET_LEAVING, 2, { 2, SELF, 2 }, { SECOND, CHECKED, SECOND } },
	{ BUCKET_DRAINING, 2, { 2, SELF, 2 }, { SECOND, CHECKED, SECOND } },
	{ BUCKET_LEAVING, 9, { DROP, DROP, DROP }, { CHECKED, CHECKED, CHECKED } },
	{ BUCKET_ARRIVING, 2, { 2, SELF, 2 }, { SECOND, CHECKED, SECOND } },
	{ BUCKET_ARRIVING, NOBODY, { DROP, DROP, DROP }, { CHECKED, CHECKED, CHECKED } },
}, flood_rows[] = {
	{ BUCKET_MINE, NOBODY, { 3, 3, 3 }, { QUEUED, QUEUED, QUEUED } },
	{ BUCKET_ADOPTING, 2, { 3, 3, 3 }, { SECOND, CHECKED, SECOND } },
	{ BUCKET_FOREIGN, 2, { DROP, SELF, SELF }, { DROP, CHECKED, CHECKED } },
	{ BUCKET_LEAVING, 2, { 2, SELF, 2 }, { CHECKED, CHECKED, CHECKED } },
	{ BUCKET_DRAINING, 2, { DROP, SELF, DROP }, { DROP, CHECKED, DROP } },
	{ BUCKET_ARRIVING, 2, { DROP, SELF, DROP }, { DROP, CHECKED, DROP } },
};

static bool fits(const struct fate *f, unsigned int want_out, const struct packet *p,
		 uint64_t unknown)
{
	switch (want_out) {
	case QUEUED:
		return unknown == 1 && !f->to && !f->replies && !f->second;
	case SECOND:
		return f->second == 1 && f->to == 2 && f->copies == 1 && !f->replies && !unknown;
	case CHECKED:
		return f->unknown == 1 && !f->to && !f->replies && !f->second && !unknown;
	default:
		return went(f, want_out, p) && !unknown && !f->second && !f->unknown;
	}
}

static void check_row(const struct row *r, int family)
{
	static const uint8_t from[] = { CLIENT_ID, 2, 3 };
	static const char *const kind[] = { "SYN", "mid-stream", "UDP" };
	struct queue_stats before, after;
	struct fate f;

	all(r->state, r->to);
	for (unsigned int i = 0; i < 9; i++) {
		unsigned int want_out = i % 3 == 1 ? r->mid[i / 3] : r->new[i / 3];
		struct packet p = i % 3 == 2 ? dgram(family, from[i / 3]) :
				  seg(family, i % 3 ? ACK : SYN, from[i / 3]);

		queue_stats(queue, &before);
		f = look(&p, 1);
		queue_stats(queue, &after);
		for (unsigned int k = 0; k < 200 && want_out == QUEUED &&
		     after.unknown == before.unknown; k++) {
			usleep(5000);
			queue_stats(queue, &after);
		}
		ok(fits(&f, want_out, &p, after.unknown - before.unknown),
		   "%s to %u, %s from %u: %u (%s, %u to the queue)", bucket_state_str(r->state), r->to,
		   kind[i % 3], from[i / 3], want_out, text(&f),
		   (unsigned int)(after.unknown - before.unknown));
	}
}

static void check_rows(void)
{
	bool flood = conf.dispatch == DISPATCH_FLOOD;
	const struct row *r = flood ? flood_rows : rows;
	size_t n = flood ? sizeof(flood_rows) / sizeof(*r) : sizeof(rows) / sizeof(*r);

	weights(0, 0, 100);
	for (size_t i = 0; i < n; i++) {
		check_row(&r[i], AF_INET);
		check_row(&r[i], AF_INET6);
	}
}

/* The old director hands on what it knows, but not back to where it comes from. */
static void check_no_circle(void)
{
	struct packet p = seg(AF_INET, ACK, 2), q = seg(AF_INET, ACK, 2);
	struct flow f[2] = { flow_of(&p, 3), flow_of(&q, 2) };
	struct fate fate;

	all(BUCKET_LEAVING, 2);
	enter(NODE_NS);
	ok(!rules_flows_add(rules, f, 2), "leaving: two flows, of node 3 and of node 2");
	ok(goes(&p) == 3, "leaving: known here: handed on to its node");
	fate = look(&q, 1);
	ok(!fate.to && fate.unknown == 1, "leaving: not back to the new director (%s)", text(&fate));
	q.from = CLIENT_ID;
	q.tunnel = false;
	ok(goes(&q) == 2, "leaving: from elsewhere: to its node");
}

/* What the map says of a flow: it says node 3, as it did when the client had the port before. */
static void recall(const struct packet *p)
{
	struct flow f = flow_of(p, 3);

	enter(NODE_NS);
	if (rules_flows_add(rules, &f, 1))
		die(rules_strerror(rules));
}

/*
 * A client uses its port again while the bucket moves or is another's: what this node remembers from
 * when it directed the flow before must not outlive the SYN that went past it.
 */
static void check_used_again(int family)
{
	static const struct { enum bucket_state state; uint8_t from; unsigned int to; } pass[] = {
		{ BUCKET_ARRIVING, 2, SELF }, { BUCKET_LEAVING, CLIENT_ID, 2 }, { BUCKET_LEAVING, 2, SELF },
		{ BUCKET_DRAINING, CLIENT_ID, 2 }, { BUCKET_DRAINING, 2, SELF }, { BUCKET_FOREIGN, 2, SELF },
	};
	bool flood = conf.dispatch == DISPATCH_FLOOD, taken, ours;
	struct packet p;
	struct fate f;

	weights(0, 0, 100);
	for (unsigned int i = 0; i < sizeof(pass) / sizeof(*pass); i++) {
		if (flood && pass[i].state == BUCKET_DRAINING && pass[i].from == CLIENT_ID)
			continue;	/* its copy of that is dropped */
		p = seg(family, SYN, pass[i].from);
		all(pass[i].state, 2);
		recall(&p);
		taken = goes(&p) == pass[i].to;
		ok(taken && !seek(&p, 3).found, "%s to 2, SYN from %u: to %u, the former node is forgotten",
		   bucket_state_str(pass[i].state), pass[i].from, pass[i].to);
		ours = pass[i].state == BUCKET_ARRIVING;
		ok(seek(&p, SELF).found == ours, "... and this one %sremembered", ours ? "" : "not ");
		p.flags = ACK;
		p.from = CLIENT_ID;
		p.tunnel = false;
		all(BUCKET_ADOPTING, 2);
		f = look(&p, 1);
		ok(f.to != 3 && (ours ? f.accepted == 1 : f.second + f.accepted == 1),
		   "... then adopting: its ACK does not go there (%s)", text(&f));
	}
}

/* An error about a packet of node 2's goes to node 2. */
static void check_error(int family)
{
	struct packet p = seg(family, SYN, CLIENT_ID), e = { .family = family, .from = CLIENT_ID };
	uint8_t l4[256] = { 0 }, inner[128];
	struct packet in = { .family = family, .proto = IPPROTO_TCP, .flags = ACK, .sport = 80 };
	struct fate f;
	size_t n;

	weights(0, 100, 0);
	all(BUCKET_MINE, NOBODY);
	in.dport = p.sport;
	in.client = conf.vip[family == AF_INET6];
	addr_parse(&in.vip, family == AF_INET ? "10.77.0.9" : "fd77::9");
	n = make_ip(&in, inner);
	e.proto = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	l4[0] = family == AF_INET ? 3 : 2;
	l4[1] = family == AF_INET ? 4 : 0;
	memcpy(l4 + 8, inner, n);
	e.data = l4;
	e.size = 8 + n;
	f = look(&e, 1);
	ok(!f.to && !f.replies, "error about a flow that nobody knows: not handed on (%s)", text(&f));
	ok(goes(&p) == 2, "a flow of node 2");
	f = look(&e, 1);
	ok(f.to == 2 && f.copies == 1, "error about that flow: to node 2 (%s)", text(&f));
}

/* ---- the queue ---- */

static void check_least_conn(int family)
{
	const char *v = family == AF_INET ? "IPv4" : "IPv6";
	unsigned int hits[100] = { 0 }, at[30], taught = 0, right = 0;
	struct queue_stats before, after;
	struct packet p[30];

	queue_close(queue);	/* so that it knows nothing of earlier decisions */
	open_queue();
	weights(100, 100, 100);
	all(BUCKET_MINE, NOBODY);
	queue_stats(queue, &before);
	for (unsigned int i = 0; i < 30; i++) {
		p[i] = i % 2 ? seg(family, SYN, CLIENT_ID) : dgram(family, CLIENT_ID);
		at[i] = goes_at_last(&p[i]);
		hits[at[i]]++;
	}
	queue_stats(queue, &after);
	collect(20);
	for (unsigned int i = 0; i < n_items; i++)
		for (unsigned int k = 0; k < 30; k++) {
			struct flow f = flow_of(&p[k], (uint8_t)at[k]);

			taught += items[i].kind == QUEUE_TEACH && same(&items[i].flow, &f);
		}
	ok(hits[1] == 10 && hits[2] == 10 && hits[3] == 10,
	   "%s: least-conn: 30 new flows: %u, %u, %u", v, hits[1], hits[2], hits[3]);
	ok(taught >= 30 && taught == n_items && after.decisions - before.decisions == 30,
	   "%s: ... each decided once, and told (%u, %u)", v, taught, n_items);
	enter(NODE_NS);
	for (unsigned int i = 0; i < n_items; i++)
		if (rules_flows_add(rules, &items[i].flow, 1))
			die(rules_strerror(rules));
	queue_stats(queue, &before);
	for (unsigned int i = 0; i < 30; i++) {
		if (p[i].proto == IPPROTO_TCP && at[i] != SELF)
			p[i].flags = ACK;
		right += goes(&p[i]) == at[i];
	}
	queue_stats(queue, &after);
	ok(right == 30 && after.handed + after.accepted == before.handed + before.accepted,
	   "%s: what follows stays in the kernel, each with its node (%u of 30)", v, right);
	table.service[0].conns[1] = 500;
	table.service[0].conns[2] = 480;
	table.service[0].conns[3] = 500;
	weights(100, 100, 100);
	memset(hits, 0, sizeof(hits));
	for (unsigned int i = 0; i < 10; i++) {
		p[0] = seg(family, SYN, CLIENT_ID);
		hits[goes_at_last(&p[0])]++;
	}
	ok(hits[2] == 10, "%s: the node with the fewest connections gets the next ones", v);
	memset(table.service[0].conns, 0, sizeof(table.service[0].conns));
}

static void check_unknown(int family)
{
	const char *v = family == AF_INET ? "IPv4" : "IPv6";
	struct packet p = seg(family, ACK, CLIENT_ID);
	struct flow want_flow = flow_of(&p, NOBODY);
	struct fate f;

	collect(20);
	f = look(&p, 1);
	collect(500);
	ok(!f.to && !f.replies && n_items == 1 && items[0].kind == QUEUE_ASK &&
	   same(&items[0].flow, &want_flow), "%s: an unknown mid-stream packet: asked about, no reset", v);
	f = look(&p, 1);
	collect(50);
	ok(!f.to && !f.replies && !n_items, "%s: the next one waits for the answer", v);
	want_flow.node = 3;
	learn(&want_flow);
	ok(goes_at_last(&p) == 3, "%s: the answer came: handed on by the queue", v);
	want_flow.node = SELF;
	learn(&want_flow);
	f = look(&p, 1);
	ok(!f.to && !f.replies, "%s: ours, but conntrack does not know it: no reset", v);
}

/* A datagram of 1,600 bytes in two fragments: the node that gets all of it, this one too; or 0. */
static unsigned int fragments_go(uint16_t sport)
{
	struct packet p = dgram(AF_INET, CLIENT_ID), both[2];
	uint8_t l4[2048];
	static uint32_t id = 77;
	struct fate f;
	size_t size;

	p.sport = sport;
	p.payload = 1600;
	size = make_l4(&p, l4);
	l4[6] = l4[7] = 0;	/* no checksum */
	p.payload = 0;
	p.fragment = true;
	for (unsigned int i = 0; i < 10; i++) {
		p.id = ++id;
		both[0] = both[1] = p;
		both[0].data = l4;
		both[0].size = 800;
		both[0].more = true;
		both[1].data = l4 + 800;
		both[1].size = size - 800;
		both[1].offset = 800;
		f = look(both, 2);
		if (!f.to && f.udp == 1 && f.udp_size == 1600)
			return SELF;
		if (f.to && f.to <= 3 && f.copies == 2 && !f.udp)
			return f.to;
	}
	return 0;
}

/* Fragments of one datagram never part, also when the kernel knows the flow by itself. */
static void check_datagrams(void)
{
	unsigned int whole = 0, again = 0, hits[4] = { 0 }, id;
	struct packet p;
	struct flow f;

	weights(100, 100, 100);
	all(BUCKET_MINE, NOBODY);
	for (unsigned int i = 0; i < 12; i++) {
		p = dgram(AF_INET, CLIENT_ID);
		id = fragments_go(p.sport);
		hits[id]++;
		whole += id != 0;
		f = flow_of(&p, (uint8_t)id);
		enter(NODE_NS);
		if (id && rules_flows_add(rules, &f, 1))
			die(rules_strerror(rules));
		again += id && fragments_go(p.sport) == id;
	}
	ok(whole == 12 && hits[1] && hits[2] + hits[3],
	   "datagrams in fragments: each goes to one node: %u, %u, %u", hits[1], hits[2], hits[3]);
	ok(again == 12, "... and the next ones of the same flow to the same (%u of 12)", again);
}

static void check_flood_of_acks(void)
{
	struct queue_stats before, after;
	struct packet known = seg(AF_INET, ACK, CLIENT_ID), p, own;
	struct flow f = flow_of(&known, 2);
	unsigned int asked = 0, works = 0, tries = 0;
	long kb = rss_kb();
	int64_t start;
	uint32_t flood = lab_slow() > 1 ? FLOOD / 10 : FLOOD;
	uint64_t lost;

	/* the tables' pages come with their first use: as much as there is, before the clock runs */
	weights(100, 0, 0);
	all(BUCKET_MINE, NOBODY);
	learn(&f);
	queue_stats(queue, &before);
	start = clock_us();
	for (uint32_t i = 0; i < flood; i++) {
		p = seg(AF_INET, ACK, CLIENT_ID);
		p.client.family = AF_INET;
		p.client.b[0] = 100;
		p.client.b[1] = (uint8_t)(i >> 16);
		p.client.b[2] = (uint8_t)(i >> 8);
		p.client.b[3] = (uint8_t)i;
		throw(&p);
		if (i % (flood / 20) == 0) {
			own = dgram(AF_INET, CLIENT_ID);
			works += goes_at_last(&own) == SELF;
			tries++;
		}
		if (i % 1000 == 0) {
			collect(0);
			for (unsigned int k = 0; k < n_items; k++)
				asked += items[k].kind == QUEUE_ASK;
		}
	}
	start = clock_us() - start;
	usleep(300000);
	collect(100);
	for (unsigned int k = 0; k < n_items; k++)
		asked += items[k].kind == QUEUE_ASK;
	queue_stats(queue, &after);
	usleep(1100000);
	queue_stats(queue, &after);
	printf("# flood: %u packets in %lld ms; unknown %llu, asks %llu, without budget %llu, queue full %llu, "
	       "socket full %llu\n", flood, (long long)start / 1000,
	       (unsigned long long)(after.unknown - before.unknown),
	       (unsigned long long)(after.asks - before.asks),
	       (unsigned long long)(after.no_budget - before.no_budget),
	       (unsigned long long)(after.queue_dropped - before.queue_dropped),
	       (unsigned long long)(after.user_dropped - before.user_dropped));
	lost = after.queue_dropped - before.queue_dropped + after.user_dropped - before.user_dropped;
	ok(after.unknown - before.unknown + lost >= flood &&
	   after.unknown - before.unknown + lost <= flood + tries,
	   "every packet of the flood is accounted for");
	ok(after.asks - before.asks <= 1000 + 1000 * (uint64_t)(start / 1000000 + 1) &&
	   asked == after.asks - before.asks && after.asks > before.asks,
	   "the peers are asked about %u of them", asked);
	ok(works == tries, "new flows in between are served (%u of %u)", works, tries);
	ok(goes_at_last(&known) == 2, "what was known is still known");
	kb = rss_kb() - kb;
	ok(kb < 24 * 1024, "memory grew by %ld KiB at most", kb);
	ok(!after.waiting, "nothing waits in the kernel");
}

static void check_no_listener(void)
{
	struct packet p = seg(AF_INET, SYN, CLIENT_ID), q = seg(AF_INET, ACK, CLIENT_ID);
	unsigned int id;
	struct fate f;

	weights(100, 100, 100);
	all(BUCKET_MINE, NOBODY);
	queue_close(queue);
	queue = NULL;
	f = look(&p, 1);
	ok(!f.to && !f.replies, "nobody listens: a SYN is dropped (%s)", text(&f));
	f = look(&q, 1);
	ok(!f.to && !f.replies, "... and what is mid-stream, without a reset");
	open_queue();
	p = seg(AF_INET, SYN, CLIENT_ID);
	id = goes_at_last(&p);
	ok(id >= 1 && id <= 3, "somebody listens again");
}

/* ---- */

static void scheduler(enum conf_dispatch dispatch, enum conf_redirect redirect, enum conf_sched sched)
{
	conf.dispatch = dispatch;
	conf.redirect = redirect;
	conf.sched = sched;
	weights(100, 100, 100);
	memset(action, 0, sizeof(action));
	install();
}

int main(void)
{
	int native;

	alarm(240);
	signal(SIGPIPE, SIG_IGN);
	handed_make();
	patience = PATIENCE;
	enter(NODE_NS);
	if (listen(listen_fd[0], 4096) || listen(listen_fd[1], 4096))
		die("listen");
	native = rules_queue_native();
	want.queue = NUMBER;
	want.n_queues = 2;
	want.queue_xt = !native;
	table = (struct queue_table){ .n_services = 1, .nodes = 0xe >> 1, .directors = 1,
					  .give_up_ms = 3000 };
	open_queue();
	printf("# queue: %s\n", native ? "native" : "by nft_compat");

	scheduler(DISPATCH_ANNOUNCE, REDIRECT_DIRECT, SCHED_PROBABILITY);
	check_listing("probability");
	check_probability(AF_INET);
	check_probability(AF_INET6);
	check_life(AF_INET);
	check_life(AF_INET6);
	check_taught(AF_INET);
	check_taught(AF_INET6);
	patience = QUEUE_PATIENCE;
	check_datagrams();
	patience = PATIENCE;
	check_rows();
	check_no_circle();
	check_used_again(AF_INET);
	check_used_again(AF_INET6);
	check_error(AF_INET);
	check_error(AF_INET6);

	scheduler(DISPATCH_ANNOUNCE, REDIRECT_DIRECT, SCHED_LEAST_CONN);
	check_listing("least-conn");
	check_least_conn(AF_INET);
	check_least_conn(AF_INET6);
	check_unknown(AF_INET);
	check_unknown(AF_INET6);
	patience = QUEUE_PATIENCE;
	check_datagrams();
	check_flood_of_acks();
	check_no_listener();
	patience = PATIENCE;

	scheduler(DISPATCH_ANNOUNCE, REDIRECT_VXLAN, SCHED_LEAST_CONN);
	check_listing("least-conn by vxlan");
	check_least_conn(AF_INET);
	check_least_conn(AF_INET6);
	scheduler(DISPATCH_ANNOUNCE, REDIRECT_VXLAN, SCHED_PROBABILITY);
	check_rows();
	check_no_circle();
	check_used_again(AF_INET);

	scheduler(DISPATCH_FLOOD, REDIRECT_DIRECT, SCHED_PROBABILITY);
	check_listing("probability in flood");
	check_rows();
	check_used_again(AF_INET);
	check_used_again(AF_INET6);
	queue_close(queue);
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

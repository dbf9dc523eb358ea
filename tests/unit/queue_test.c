/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "io/queue_decide.h"
#include "io/rules.h"

#define SYN 0x02
#define ACK 0x10
#define QUEUED(s) (RULES_MARK_QUEUE | RULES_MARK_LEASED | RULES_MARK_SERVICE(s))
#define HANDED(s, n) (RULES_MARK_HAND | RULES_MARK_LEASED | RULES_MARK_SERVICE(s) | RULES_MARK_NODE(n))
#define ACCEPTED (RULES_MARK_ACCEPT | RULES_MARK_LEASED)

enum { SELF = 1 };

struct packet { uint8_t b[256]; size_t size; };

static struct packet packet4(uint32_t client, uint16_t sport, uint8_t proto, uint8_t flags)
{
	struct packet p = { .size = proto == IPPROTO_TCP ? 40 : 28 };

	p.b[0] = 0x45;
	p.b[3] = (uint8_t)p.size;
	p.b[9] = proto;
	memcpy(p.b + 12, &client, 4);
	p.b[16] = 10;
	p.b[20] = (uint8_t)(sport >> 8);
	p.b[21] = (uint8_t)sport;
	p.b[23] = 80;
	p.b[33] = flags;
	return p;
}

static struct packet packet6(uint16_t sport, uint8_t flags)
{
	struct packet p = { .size = 60 };

	p.b[0] = 0x60;
	p.b[5] = 20;
	p.b[6] = IPPROTO_TCP;
	p.b[8] = p.b[24] = 0xfd;
	p.b[23] = 9;
	p.b[39] = 250;
	p.b[40] = (uint8_t)(sport >> 8);
	p.b[41] = (uint8_t)sport;
	p.b[43] = 80;
	p.b[53] = flags;
	return p;
}

/* Puts 'n' extension headers of 8 * 'words' bytes between the IPv6 header and TCP. */
static struct packet extended(uint8_t kind, unsigned int n, unsigned int words)
{
	struct packet p = packet6(1000, SYN), q = p;
	size_t at = 40;

	q.b[6] = kind;
	for (unsigned int i = 0; i < n; i++, at += 8 * words) {
		memset(q.b + at, 0, 8 * words);
		q.b[at] = i + 1 < n ? kind : IPPROTO_TCP;
		q.b[at + 1] = (uint8_t)(words - 1);
	}
	memcpy(q.b + at, p.b + 40, 20);
	q.size = at + 20;
	return q;
}

static bool parse(const struct packet *p, struct flow *f, bool *is_new)
{
	uint8_t *exact = malloc(p->size + !p->size);	/* so that a sanitizer sees every overrun */
	bool good;

	memcpy(exact, p->b, p->size);
	memset(f, 0, sizeof(*f));
	good = queue_parse(exact, p->size, f, is_new);
	free(exact);
	return good;
}

static void parsing(void **state)
{
	struct packet p = packet4(0x09004d0a, 4711, IPPROTO_TCP, SYN);
	struct flow f;
	bool is_new;

	assert_true(parse(&p, &f, &is_new) && is_new);
	assert_true(f.proto == IPPROTO_TCP && f.sport == 4711 && f.dport == 80);
	assert_true(f.client.family == AF_INET && f.client.b[0] == 10 && f.client.b[3] == 9);
	assert_true(f.vip.family == AF_INET && f.vip.b[0] == 10 && !f.vip.b[4]);
	p.b[33] = SYN | ACK;
	assert_true(parse(&p, &f, &is_new) && !is_new);
	p.b[33] = ACK;
	assert_true(parse(&p, &f, &is_new) && !is_new);
	p.b[33] = 0;
	assert_true(parse(&p, &f, &is_new) && !is_new);
	p.b[33] = SYN | 0xc0;	/* with ECN */
	assert_true(parse(&p, &f, &is_new) && is_new);
	p = packet4(1, 53, IPPROTO_UDP, 0);
	assert_true(parse(&p, &f, &is_new) && is_new && f.proto == IPPROTO_UDP && f.sport == 53);
	p = packet6(4712, SYN);
	assert_true(parse(&p, &f, &is_new) && is_new && f.sport == 4712);
	assert_true(f.client.family == AF_INET6 && f.client.b[15] == 9 && f.vip.b[15] == 250);
	/* options move the ports */
	p = packet4(1, 4713, IPPROTO_TCP, SYN);
	memmove(p.b + 60, p.b + 20, 20);
	memset(p.b + 20, 1, 40);
	p.b[0] = 0x4f;
	p.b[3] = (uint8_t)(p.size = 80);
	assert_true(parse(&p, &f, &is_new) && is_new && f.sport == 4713);
}

static void garbled(void **state)
{
	struct packet p = packet4(1, 4711, IPPROTO_TCP, SYN), q;
	struct flow f;
	bool is_new;

	for (q = p; q.size > 0;) {
		q.size--;
		assert_false(parse(&q, &f, &is_new));
	}
	for (q = packet6(1, SYN); q.size > 0;) {
		q.size--;
		assert_false(parse(&q, &f, &is_new));
	}
	q = p;
	q.b[0] = 0x44;			/* header too short */
	assert_false(parse(&q, &f, &is_new));
	q.b[0] = 0x4f;			/* header longer than the packet */
	assert_false(parse(&q, &f, &is_new));
	q.b[0] = 0x55;
	assert_false(parse(&q, &f, &is_new));
	q = p;
	q.b[7] = 1;			/* a later fragment */
	assert_false(parse(&q, &f, &is_new));
	q = p;
	q.b[9] = IPPROTO_ICMP;
	assert_false(parse(&q, &f, &is_new));

	q = extended(IPPROTO_HOPOPTS, 1, 1);
	assert_true(parse(&q, &f, &is_new) && is_new && f.sport == 1000);
	q = extended(IPPROTO_DSTOPTS, 2, 4);
	assert_true(parse(&q, &f, &is_new) && is_new && f.sport == 1000);
	q = extended(IPPROTO_DSTOPTS, 8, 1);
	assert_true(parse(&q, &f, &is_new));
	q = extended(IPPROTO_DSTOPTS, 9, 1);	/* a chain without end */
	assert_false(parse(&q, &f, &is_new));
	q = extended(IPPROTO_FRAGMENT, 1, 1);
	assert_true(parse(&q, &f, &is_new));
	q.b[43] = 8;			/* not the first fragment */
	assert_false(parse(&q, &f, &is_new));
	q = extended(IPPROTO_ROUTING, 1, 1);
	q.b[41] = 255;			/* longer than what was copied */
	assert_false(parse(&q, &f, &is_new));
	q = extended(IPPROTO_ESP, 1, 1);
	assert_false(parse(&q, &f, &is_new));
}

static void random_bytes(void **state)
{
	struct packet p = { .size = 0 };
	unsigned int good = 0;
	struct flow f;
	bool is_new;

	srand(815);
	for (unsigned int i = 0; i < 200000; i++) {
		if (i % 3 == 0)
			p = packet4(i, (uint16_t)i, i % 2 ? IPPROTO_TCP : IPPROTO_UDP, SYN);
		else if (i % 3 == 1)
			p = extended(i % 2 ? IPPROTO_HOPOPTS : IPPROTO_FRAGMENT, i % 4, i % 3 + 1);
		for (int n = rand() % 6; n > 0; n--)
			p.b[rand() % 80] = (uint8_t)rand();
		p.size = (size_t)rand() % 129;
		good += parse(&p, &f, &is_new);
	}
	assert_in_range(good, 1000, 199000);
}

/* ---- decisions ---- */

static struct queue_decider *decider(enum conf_sched sched)
{
	static const struct flowtab_params params = {
		.known = 1024, .picked = 1024, .asked = 1024, .known_ms = 100000,
		.picked_ms = 60000, .asks_per_s = 1000, .asks_burst = 1000, .again_ms = 500,
		.give_up_ms = 3000, .forget_ms = 15000, .seed = 9,
	};
	struct queue_decider *d = calloc(1, sizeof(*d));
	struct queue_table t = { .n_services = 2, .nodes = 7, .directors = 1, .give_up_ms = 3000 };

	d->self = SELF;
	d->flows = flowtab_new(&params);
	for (unsigned int i = 0; i < 2; i++)
		t.service[i] = (struct queue_service){ .sched = sched,
						       .weight = { [1] = 100, [2] = 100, [3] = 100 } };
	queue_decide_table(d, &t, 0);
	return d;
}

static void decider_free(struct queue_decider *d)
{
	flowtab_free(d->flows);
	free(d);
}

static struct queue_verdict decide(struct queue_decider *d, uint32_t mark, struct packet p, int64_t now)
{
	return queue_decide(d, mark, p.b, p.size, now);
}

static void new_flows(void **state)
{
	struct queue_decider *d = decider(SCHED_LEAST_CONN);
	unsigned int hits[4] = { 0 };

	for (uint16_t i = 0; i < 300; i++) {
		struct packet p = packet4(1, i, i % 2 ? IPPROTO_TCP : IPPROTO_UDP, SYN);
		struct queue_verdict v = decide(d, QUEUED(1), p, 10), again;

		assert_true(v.accept && v.teach && !v.ask);
		assert_in_range(v.flow.node, 1, 3);
		assert_true(v.flow.service == 1 && v.flow.sport == i && v.flow.dport == 80);
		assert_int_equal(v.mark, v.flow.node == SELF ? ACCEPTED : HANDED(1, v.flow.node));
		hits[v.flow.node]++;
		/* the same again: the same node, and nothing to teach for a second */
		again = decide(d, QUEUED(1), p, 900);
		assert_true(again.mark == v.mark && again.accept && !again.teach);
		again = decide(d, QUEUED(1), p, 1100);
		assert_true(again.mark == v.mark && again.teach);
	}
	assert_true(hits[1] == 100 && hits[2] == 100 && hits[3] == 100);
	assert_int_equal(d->stats.decisions, 300);
	assert_int_equal(d->decided[1], 300);
	assert_int_equal(d->stats.accepted + d->stats.handed, 900);
	decider_free(d);
}

/* Counts of the cluster decide; what was decided since is added, as often as there are directors. */
static void counts(void **state)
{
	struct queue_decider *d = decider(SCHED_LEAST_CONN);
	struct queue_table t = d->table;
	unsigned int hits[4] = { 0 };

	t.service[0].conns[1] = 1000;
	t.service[0].conns[2] = 400;
	t.service[0].conns[3] = 700;
	t.directors = 3;
	queue_decide_table(d, &t, 1000);
	for (uint16_t i = 0; i < 100; i++)
		hits[decide(d, QUEUED(0), packet4(2, i, 6, SYN), 1000).flow.node]++;
	assert_true(hits[2] == 100);	/* 300 more there than known at most */
	for (uint16_t i = 100; i < 300; i++)
		hits[decide(d, QUEUED(0), packet4(2, i, 6, SYN), 1000).flow.node]++;
	assert_true(hits[1] == 0 && hits[2] == 200 && hits[3] == 100);
	/* the next count has some of it, the one after all */
	t.service[0].conns[2] = 600;
	queue_decide_table(d, &t, 1100);	/* too early: nothing ages */
	assert_int_equal(d->picks[0][2], 200);
	queue_decide_table(d, &t, 2000);
	assert_true(!d->picks[0][2] && d->before[0][2] == 200);
	queue_decide_table(d, &t, 3000);
	assert_true(!d->picks[0][2] && !d->before[0][2]);
	assert_int_equal(decide(d, QUEUED(0), packet4(3, 1, 6, SYN), 3000).flow.node, 2);
	decider_free(d);
}

/* A client uses its port again, and the node of its last connection is drained. */
static void port_used_again(void **state)
{
	struct queue_decider *d = decider(SCHED_LEAST_CONN);
	struct queue_table t = d->table;
	unsigned int node = decide(d, QUEUED(0), packet4(9, 1, 6, SYN), 0).flow.node;
	struct queue_verdict v;

	assert_int_equal(decide(d, QUEUED(0), packet4(9, 1, 6, SYN), 100).flow.node, node);
	t.service[0].weight[node] = 0;
	queue_decide_table(d, &t, 200);
	v = decide(d, QUEUED(0) | RULES_MARK_NODE(RULES_NODE_QUEUE), packet4(9, 1, 6, ACK), 300);
	assert_int_equal(v.flow.node, node);	/* what is established stays */
	v = decide(d, QUEUED(0), packet4(9, 1, 6, SYN), 400);
	assert_true(v.flow.node != NOBODY && v.flow.node != node && v.teach);
	decider_free(d);
}

static void shares(void **state)
{
	struct queue_decider *d = decider(SCHED_PROBABILITY);
	struct queue_table t = d->table;
	unsigned int hits[4] = { 0 };

	t.service[0].weight[2] = 200;
	t.service[0].weight[3] = 0;
	queue_decide_table(d, &t, 0);
	for (uint16_t i = 0; i < 3000; i++)
		hits[decide(d, QUEUED(0), packet4(2, i, 17, 0), 1000).flow.node]++;
	assert_true(!hits[0] && !hits[3]);
	assert_in_range(hits[2], 1950, 2050);
	decider_free(d);
}

static void midstream(void **state)
{
	struct queue_decider *d = decider(SCHED_LEAST_CONN);
	struct packet p = packet4(5, 777, IPPROTO_TCP, ACK);
	struct queue_verdict v = decide(d, QUEUED(0) | RULES_MARK_NODE(RULES_NODE_QUEUE), p, 0);
	struct flow f = v.flow;

	assert_true(!v.accept && v.ask && !v.teach);
	v = decide(d, QUEUED(0), p, 100);
	assert_true(!v.accept && !v.ask);
	v = decide(d, QUEUED(0), p, 3100);
	assert_true(v.accept && v.mark == (RULES_MARK_ACCEPT | RULES_MARK_LEASED));
	assert_true(!v.ask && !v.teach && d->stats.lost == 1);
	f.node = 3;
	flowtab_learn(d->flows, &f, 3200);
	v = decide(d, QUEUED(0), p, 3300);
	assert_true(v.accept && !v.ask && v.mark == HANDED(0, 3));
	/* its node dies: unknown again */
	d->table.nodes = 3;
	v = decide(d, QUEUED(0), p, 3400);
	assert_true(!v.accept && v.ask && !v.teach);
	/* ours, but conntrack here does not know it: no reset */
	f.node = SELF;
	flowtab_learn(d->flows, &f, 3500);
	v = decide(d, QUEUED(0), p, 9500);
	assert_true(!v.accept && !v.ask && !v.teach);
	assert_int_equal(d->stats.unknown, 4);
	assert_int_equal(d->stats.asks, 2);
	decider_free(d);
}

static void refused(void **state)
{
	struct queue_decider *d = decider(SCHED_LEAST_CONN);
	struct packet p = packet4(5, 777, IPPROTO_TCP, SYN);
	struct queue_table t;

	assert_false(decide(d, QUEUED(2), p, 0).accept);	/* no such service */
	assert_false(decide(d, 0, p, 0).accept);
	assert_false(decide(d, RULES_MARK_QUEUE, p, 0).accept);	/* without a lease */
	assert_false(decide(d, QUEUED(0) | RULES_MARK_NODE(1), p, 0).accept);
	assert_false(decide(d, QUEUED(0) ^ 0x80000000u, p, 0).accept);
	p.size = 30;
	assert_false(decide(d, QUEUED(0), p, 0).accept);
	assert_int_equal(d->stats.malformed, 6);
	p.size = 40;
	t = d->table;
	memset(t.service[0].weight, 0, sizeof(t.service[0].weight));
	queue_decide_table(d, &t, 0);
	assert_false(decide(d, QUEUED(0), p, 0).accept);	/* nobody takes new flows */
	t.service[0].weight[4] = 100;				/* who has weight is not there */
	queue_decide_table(d, &t, 0);
	assert_false(decide(d, QUEUED(0), p, 0).accept);
	t.n_services = 0;
	queue_decide_table(d, &t, 0);
	assert_false(decide(d, QUEUED(0), p, 0).accept);
	assert_true(!d->stats.decisions && d->stats.dropped == 9);
	decider_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing), cmocka_unit_test(garbled), cmocka_unit_test(random_bytes),
		cmocka_unit_test(new_flows), cmocka_unit_test(counts), cmocka_unit_test(port_used_again),
		cmocka_unit_test(shares),
		cmocka_unit_test(midstream), cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}

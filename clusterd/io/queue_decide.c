/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/queue_decide.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "core/sched.h"
#include "io/rules.h"

#define EXT_HEADERS_MAX 8
#define AGE_MS 900		/* counts come once per second */
#define TCP_SYN_MASK 0x17	/* FIN SYN RST ACK */
#define TCP_SYN_ONLY 0x02
#define RESETS_PER_S 500
#define QUEUED (RULES_MARK_QUEUE | RULES_MARK_LEASED)
#define SERVICE_OF(mark) ((mark) >> 16 & 0xf)

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The transport header's offset, or 0; '*proto' is what it is. */
static size_t parse4(const uint8_t *p, size_t size, struct flow *f, uint8_t *proto)
{
	size_t head;

	if (size < 20)
		return 0;
	head = (size_t)(p[0] & 0xf) * 4;
	if (head < 20 || (get16(p + 6) & 0x1fff) || get16(p + 2) < head)
		return 0;
	*proto = p[9];
	f->client.family = f->vip.family = AF_INET;
	memcpy(f->client.b, p + 12, 4);
	memcpy(f->vip.b, p + 16, 4);
	return head;
}

static size_t parse6(const uint8_t *p, size_t size, struct flow *f, uint8_t *proto)
{
	size_t at = 40;

	if (size < 40)
		return 0;
	*proto = p[6];
	f->client.family = f->vip.family = AF_INET6;
	memcpy(f->client.b, p + 8, 16);
	memcpy(f->vip.b, p + 24, 16);
	for (unsigned int n = 0; n <= EXT_HEADERS_MAX; n++) {
		uint8_t this = *proto;

		if (this != IPPROTO_HOPOPTS && this != IPPROTO_ROUTING &&
		    this != IPPROTO_DSTOPTS && this != IPPROTO_FRAGMENT)
			return at;
		if (size < at + 8 || (this == IPPROTO_FRAGMENT && get16(p + at + 2) & 0xfff8))
			return 0;
		*proto = p[at];
		at += this == IPPROTO_FRAGMENT ? 8 : ((size_t)p[at + 1] + 1) * 8;
	}
	return 0;
}

bool queue_parse(const uint8_t *packet, size_t size, struct flow *f, bool *is_new)
{
	uint8_t proto = 0;
	size_t at = 0;

	memset(&f->client, 0, sizeof(f->client));
	memset(&f->vip, 0, sizeof(f->vip));
	if (size && packet[0] >> 4 == 4)
		at = parse4(packet, size, f, &proto);
	else if (size && packet[0] >> 4 == 6)
		at = parse6(packet, size, f, &proto);
	if (!at || (proto != IPPROTO_TCP && proto != IPPROTO_UDP) ||
	    size < at + (proto == IPPROTO_TCP ? 20 : 8))
		return false;
	f->proto = proto;
	f->sport = get16(packet + at);
	f->dport = get16(packet + at + 2);
	*is_new = proto == IPPROTO_UDP || (packet[at + 13] & TCP_SYN_MASK) == TCP_SYN_ONLY;
	return true;
}

void queue_decide_table(struct queue_decider *d, const struct queue_table *table, int64_t now_ms)
{
	/* tables may come faster than the counts in them */
	if (now_ms - d->aged_ms >= AGE_MS) {
		d->aged_ms = now_ms;
		memcpy(d->before, d->picks, sizeof(d->before));
		memset(d->picks, 0, sizeof(d->picks));
	}
	d->table = *table;
	flowtab_set_give_up(d->flows, table->give_up_ms);
}

/*
 * The counts are as old as the last report.  What was decided here since then, and in the interval
 * before, is added, times the number of directors: they see the same counts and do the same at this
 * moment, else all of them would pour all that is new into the one node that had the least.
 */
static unsigned int least_conn(struct queue_decider *d, unsigned int service)
{
	const struct queue_service *s = &d->table.service[service];
	uint32_t conns[NODES_MAX + 1] = { 0 };
	uint64_t sum;

	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		sum = s->conns[id] + (uint64_t)d->table.directors *
		      (d->picks[service][id] + d->before[service][id]);
		conns[id] = sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
	}
	return sched_least_conn(s->weight, conns, d->tie);
}

/* What the rules decide themselves otherwise; here it is for what came in fragments. */
static unsigned int probability(struct queue_decider *d, unsigned int service)
{
	const struct queue_service *s = &d->table.service[service];
	uint32_t total = 0, at;

	for (unsigned int id = 1; id <= NODES_MAX; id++)
		total += s->weight[id];
	if (!total)
		return NOBODY;
	at = (uint32_t)((uint64_t)(d->tie * UINT32_C(2654435761)) * total >> 32);
	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		if (at < s->weight[id])
			return id;
		at -= s->weight[id];
	}
	return NOBODY;
}

static unsigned int pick(struct queue_decider *d, unsigned int service)
{
	unsigned int node = NOBODY;

	d->tie++;
	switch (d->table.service[service].sched) {
	case SCHED_LEAST_CONN:
		node = least_conn(d, service);
		break;
	case SCHED_PROBABILITY:
		node = probability(d, service);
		break;
	case SCHED_HASH:
		break;
	}
	if (node == NOBODY || !mask_has(d->table.nodes, node))
		return NOBODY;
	d->picks[service][node]++;
	d->stats.decisions++;
	d->decided[service]++;
	return node;
}

/*
 * Everybody was asked, several times, and nobody has it: its node is gone, and the client shall know.  No
 * more of them in a second than a host answers to strangers anyway.
 */
static bool may_reset(struct queue_decider *d, int64_t now_ms)
{
	if (now_ms - d->resets_ms >= 1000) {
		d->resets_ms = now_ms;
		d->n_resets = 0;
	}
	return d->n_resets < RESETS_PER_S && ++d->n_resets;
}

static void ask(struct queue_decider *d, struct queue_verdict *v, int64_t now_ms)
{
	d->stats.unknown++;
	switch (flowtab_ask(d->flows, &v->flow, now_ms)) {
	case FLOWTAB_ASK:
		d->stats.asks++;
		v->ask = true;
		break;
	case FLOWTAB_WAIT:
		break;
	case FLOWTAB_LOST:
		d->stats.lost++;
		v->accept = may_reset(d, now_ms);
		break;
	case FLOWTAB_NO_BUDGET:
		d->stats.no_budget++;
		break;
	}
}

/* The node that this packet goes to, or NOBODY. */
static unsigned int node_for(struct queue_decider *d, struct queue_verdict *v, bool is_new,
			     int64_t now_ms)
{
	unsigned int node = flowtab_find(d->flows, &v->flow, now_ms, &v->teach);

	/* Gone; or the client uses its port again, and the node of then gets nothing new. */
	if (node != NOBODY && (!mask_has(d->table.nodes, node) ||
			       (is_new && !d->table.service[v->flow.service].weight[node]))) {
		flowtab_drop(d->flows, &v->flow);
		v->teach = false;
		node = NOBODY;
	}
	if (node == NOBODY && !is_new) {
		ask(d, v, now_ms);
		return NOBODY;
	}
	if (node == NOBODY) {
		node = pick(d, v->flow.service);
		if (node == NOBODY)
			return NOBODY;
		v->flow.node = (uint8_t)node;
		flowtab_pick(d->flows, &v->flow, now_ms);
		v->teach = true;
	}
	v->flow.node = (uint8_t)node;
	return node;
}

static bool is_queued(uint32_t mark)
{
	return mark == QUEUED || mark == (QUEUED | RULES_MARK_NODE(RULES_NODE_QUEUE));
}

struct queue_verdict queue_decide(struct queue_decider *d, uint32_t mark, const uint8_t *packet,
				  size_t size, int64_t now_ms)
{
	struct queue_verdict v = { .flow.service = (uint8_t)SERVICE_OF(mark) };
	unsigned int node;
	bool is_new;

	/* Only what our own rules have marked; nobody else has business in our queue. */
	if (!is_queued(mark & ~RULES_MARK_SERVICE(0xf)) || v.flow.service >= d->table.n_services ||
	    !queue_parse(packet, size, &v.flow, &is_new)) {
		d->stats.malformed++;
		d->stats.dropped++;
		return v;
	}
	node = node_for(d, &v, is_new, now_ms);
	if (v.accept || (node == d->self && is_new)) {
		v.accept = true;
		v.mark = RULES_MARK_ACCEPT | RULES_MARK_LEASED;
		d->stats.accepted++;
	} else if (node != NOBODY && node != d->self) {
		v.accept = true;
		v.mark = RULES_MARK_HAND | RULES_MARK_LEASED | RULES_MARK_NODE(node) |
			 RULES_MARK_SERVICE(v.flow.service);
		d->stats.handed++;
	} else {
		/* ours, but conntrack does not know it: the stack would answer with a reset */
		v.teach &= node != NOBODY && is_new;
		d->stats.dropped++;
		d->dropped[v.flow.service]++;
	}
	return v;
}

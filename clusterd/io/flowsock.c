/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/flowsock.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sockaddr.h"

#define DATAGRAM     (FLOW_PROBE_MAX + 1)
#define BUFFER_BYTES (4 << 20)		/* an answer about 100,000 flows comes at once */
#define REPLAY_BITS  64

/* What was heard from a node. */
struct heard {
	uint64_t incarnation, newest;
	uint64_t seen;		/* bit i: newest - i has come */
};

struct flowsock {
	struct flowsock_params p;
	int fd;
	unsigned int scope;
	uint64_t seq;
	struct heard heard[NODES_MAX];
	struct flowsock_counters c;
	uint8_t buf[DATAGRAM];
};

static const struct addr *self(const struct flowsock *s)
{
	return &s->p.node[s->p.self - 1];
}

/*
 * Probes travel with DF and disregard what the kernel has learnt about the path, which may be what
 * is to be found out; all else may be cut up on the way if it must.
 */
static int set_probing(const struct flowsock *s, bool probing)
{
	bool v4 = self(s)->family == AF_INET;
	int how = v4 ? probing ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT :
		       probing ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT;
	int dontfrag = probing;

	if (setsockopt(s->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
		       v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &how, sizeof(how)) ||
	    (!v4 && setsockopt(s->fd, IPPROTO_IPV6, IPV6_DONTFRAG, &dontfrag, sizeof(dontfrag))))
		return -errno;
	return 0;
}

static int flowsock_bind(struct flowsock *s)
{
	union sockaddr_any a;
	socklen_t len = sockaddr_from(self(s), s->p.port, s->scope, &a);
	int size = BUFFER_BYTES;

	s->fd = socket(self(s)->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0 || bind(s->fd, &a.sa, len))
		return -errno;
	/* Only a wish: with less, answers are lost sooner. */
	(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return set_probing(s, false);
}

int flowsock_open(struct flowsock **out, const struct flowsock_params *p, const char **why)
{
	struct flowsock *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	*why = "memory";
	if (!s)
		return -ENOMEM;
	assert(p->self >= 1 && p->self <= p->n_nodes && p->n_nodes <= NODES_MAX);
	s->p = *p;
	s->p.interface = NULL;
	s->scope = p->interface ? if_nametoindex(p->interface) : 0;
	*why = "UDP socket for flows";
	err = flowsock_bind(s);
	if (err) {
		flowsock_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void flowsock_close(struct flowsock *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	explicit_bzero(s->p.key, sizeof(s->p.key));
	free(s);
}

int flowsock_fd(const struct flowsock *s)
{
	return s->fd;
}

void flowsock_counters(const struct flowsock *s, struct flowsock_counters *out)
{
	*out = s->c;
}

/* ---- receiving ---- */

/* Is this number new?  Remembers it. */
static bool fresh(struct heard *h, const struct flow_msg *m)
{
	uint64_t ahead;

	if (h->incarnation != m->incarnation) {
		*h = (struct heard){ .incarnation = m->incarnation, .newest = m->seq, .seen = 1 };
		return true;
	}
	if (m->seq > h->newest) {
		ahead = m->seq - h->newest;
		h->seen = ahead < REPLAY_BITS ? h->seen << ahead | 1 : 1;
		h->newest = m->seq;
		return true;
	}
	ahead = h->newest - m->seq;
	if (ahead >= REPLAY_BITS || h->seen & UINT64_C(1) << ahead)
		return false;
	h->seen |= UINT64_C(1) << ahead;
	return true;
}

static bool is_node(const struct flowsock *s, const union sockaddr_any *from)
{
	for (unsigned int i = 0; i < s->p.n_nodes; i++)
		if (sockaddr_is(from, &s->p.node[i]))
			return true;
	return false;
}

static int discard(uint64_t *counter)
{
	(*counter)++;
	return -EBADMSG;
}

int flowsock_recv(struct flowsock *s, struct flow_msg *m)
{
	union sockaddr_any from;
	socklen_t len = sizeof(from);
	ssize_t size = recvfrom(s->fd, s->buf, sizeof(s->buf), MSG_TRUNC, &from.sa, &len);

	if (size < 0)	/* an error of an earlier send, told here, is nothing that arrived */
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -EBADMSG;
	s->c.received++;
	/* Cheap things first: an HMAC for each packet of a flood is what the flood is after. */
	if (!is_node(s, &from))
		return discard(&s->c.foreign);
	if ((size_t)size > FLOW_PROBE_MAX)
		return discard(&s->c.garbled);
	switch (flow_decode(m, s->p.key, s->buf, (size_t)size)) {
	case 0:
		break;
	case -EPROTO:
		return discard(&s->c.version);
	case -EACCES:
		return discard(&s->c.forged);
	default:	/* -EBADMSG: the header knows no others */
		return discard(&s->c.garbled);
	}
	if (m->from > s->p.n_nodes || m->to != s->p.self || m->from == s->p.self ||
	    !sockaddr_is(&from, &s->p.node[m->from - 1]))
		return discard(&s->c.foreign);
	if ((m->kind == FLOW_FLOWS || m->kind == FLOW_PROBE_REPLY) && m->echo != s->p.incarnation)
		return discard(&s->c.stale);
	if (!fresh(&s->heard[m->from - 1], m))
		return discard(&s->c.stale);
	return 1;
}

/* ---- sending ---- */

static int transmit(struct flowsock *s, uint8_t to, size_t size)
{
	union sockaddr_any dst;
	socklen_t len = sockaddr_from(&s->p.node[to - 1], s->p.port, s->scope, &dst);
	int err = 0;

	/* A second try takes the error of an earlier datagram (ICMP unreachable) off the socket. */
	for (unsigned int i = 0; i < 2; i++) {
		if (sendto(s->fd, s->buf, size, 0, &dst.sa, len) >= 0) {
			s->c.sent++;
			return 0;
		}
		err = -errno;
	}
	s->c.send_errors++;
	return err;
}

int flowsock_send(struct flowsock *s, struct flow_msg *m)
{
	bool probe = m->kind == FLOW_PROBE;
	size_t size;
	int err;

	assert(m->to >= 1 && m->to <= s->p.n_nodes);
	m->from = s->p.self;
	m->incarnation = s->p.incarnation;
	m->echo = s->heard[m->to - 1].incarnation;
	m->seq = ++s->seq;
	size = flow_encode(m, s->p.key, s->buf, sizeof(s->buf));
	err = probe ? set_probing(s, true) : 0;
	if (!err)
		err = transmit(s, m->to, size);
	if (probe)
		(void)set_probing(s, false);
	return err;
}

void flowsock_send_flows(struct flowsock *s, enum flow_kind kind, uint8_t to,
			 const struct flow *flow, unsigned int n)
{
	struct flow_msg m = { .kind = (uint8_t)kind, .to = to };
	unsigned int at, fit;

	assert(kind == FLOW_ASK || kind == FLOW_FLOWS);
	for (at = 0; at < n; at += fit) {
		fit = flow_fit(flow + at, n - at);
		m.u.flows.n = fit;
		memcpy(m.u.flows.flow, flow + at, fit * sizeof(*flow));
		(void)flowsock_send(s, &m);	/* counted */
	}
}

void flowsock_ask_buckets(struct flowsock *s, uint8_t to, uint8_t service, uint8_t hash,
			  uint64_t epoch, uint32_t buckets, const uint8_t *bitmap)
{
	struct flow_msg m = { .kind = FLOW_ASK_BUCKETS, .to = to };
	uint32_t bytes = buckets / 8, at, i, n;
	bool any;

	for (at = 0; at < bytes; at += n) {
		n = bytes - at < FLOW_BITMAP_MAX ? bytes - at : FLOW_BITMAP_MAX;
		for (any = false, i = 0; i < n; i++)
			any |= bitmap[at + i] != 0;
		if (!any)
			continue;
		m.u.buckets.service = service;
		m.u.buckets.hash = hash;
		m.u.buckets.epoch = epoch;
		m.u.buckets.buckets = buckets;
		m.u.buckets.first = at * 8;
		m.u.buckets.n_bytes = (uint16_t)n;
		memcpy(m.u.buckets.bitmap, bitmap + at, n);
		(void)flowsock_send(s, &m);	/* counted */
	}
}

static unsigned int headers(const struct flowsock *s)
{
	return (self(s)->family == AF_INET ? 20 : 40) + 8;
}

unsigned int flowsock_packet_size(const struct flowsock *s, unsigned int payload)
{
	return payload + headers(s);
}

unsigned int flowsock_payload_size(const struct flowsock *s, unsigned int packet)
{
	return packet > headers(s) ? packet - headers(s) : 0;
}

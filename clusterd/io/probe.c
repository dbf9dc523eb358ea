// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/probe.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "io/probe_packet.h"
#include "util/buf.h"

#define MAGIC       0x43445042u		/* "CDPB" */
#define VERSION_1   1
#define HEAD        14			/* Ethernet header */
#define BODY        24			/* of our own, before the HMAC */
#define MAC_SIZE    16
#define MESSAGE     (BODY + MAC_SIZE)
#define SENDS       3			/* of each question: one lost frame shall not look like a filter */
#define STEPS       (SENDS + 1)		/* packets follow one step later: who heard a frame listens */
#define STEP_MS     (PROBE_WAIT_MS / (STEPS + 1))
#define EAR_MS      1000		/* for packets, after the last question in a frame */
#define REST_MS     1000		/* between two rounds */
#define BUDGET      64			/* frames per dispatch */
#define NO_ROUND    (-1)

enum kind { QUESTION = 1, ANSWER = 2, PACKET = 3, PACKET_ANSWER = 4 };

struct frame {
	uint8_t dst[6], src[6];
	uint8_t kind, from, to;
	uint64_t round;
	uint8_t asked[6];		/* what the question was sent to */
	uint8_t number;			/* in the asker's 'asked' */
};

struct port {
	char interface[IFNAME_SIZE];
	int fd, index;			/* -1, 0: not there now */
	uint8_t mac[6];
	bool flooded;			/* a VIP is */
	int ear;			/* hears packets; -1: nobody asks */
	int64_t ear_until;
};

struct asked {
	unsigned int port;
	uint8_t mac[6];
	struct addr vip, source;
	uint64_t framed, heard;
	int send_err;
};

struct probe {
	int epoll, timer;
	uint8_t self, key[32];
	struct port port[SERVICES_MAX];
	unsigned int n_ports;
	struct asked asked[PROBE_MACS_MAX];
	unsigned int n_asked;
	uint64_t round;
	unsigned int steps;		/* of the round under way; 0: none is */
	int64_t started, done;
	int64_t second;			/* that 'answered' is about */
	unsigned int answered;
	struct probe_counters counters;
};

static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* ---- frames ---- */

static void sign(const struct probe *p, const uint8_t *body, uint8_t mac[MAC_SIZE])
{
	struct hmac_sha256_ctx h;

	hmac_sha256_set_key(&h, sizeof(p->key), p->key);
	hmac_sha256_update(&h, BODY, body);
	hmac_sha256_digest(&h, MAC_SIZE, mac);
}

static void encode(const struct probe *p, const struct frame *f, uint8_t out[MESSAGE])
{
	struct buf_w w = buf_writer(out, MESSAGE);

	buf_put32(&w, MAGIC);
	buf_put8(&w, VERSION_1);
	buf_put8(&w, f->kind);
	buf_put8(&w, f->from);
	buf_put8(&w, f->to);
	buf_put64(&w, f->round);
	buf_put(&w, f->asked, 6);
	buf_put8(&w, f->number);
	buf_put8(&w, 0);
	assert(!w.err && w.pos == BODY);
	sign(p, out, out + BODY);
}

/* 'ether': the frame that 'in' came in.  0, -EBADMSG, -EACCES: not from a member. */
static int decode(const struct probe *p, const uint8_t *ether, const uint8_t *in, size_t size,
		  struct frame *f)
{
	struct buf_r r = buf_reader(in, size);
	uint8_t mac[MAC_SIZE], version;
	uint32_t magic;

	if (size < MESSAGE)
		return -EBADMSG;
	memcpy(f->dst, ether, 6);
	memcpy(f->src, ether + 6, 6);
	magic = buf_get32(&r);
	version = buf_get8(&r);
	f->kind = buf_get8(&r);
	f->from = buf_get8(&r);
	f->to = buf_get8(&r);
	f->round = buf_get64(&r);
	buf_get(&r, f->asked, 6);
	f->number = buf_get8(&r);
	if (r.err || magic != MAGIC || version != VERSION_1)
		return -EBADMSG;
	sign(p, in, mac);
	if (!memeql_sec(mac, in + BODY, MAC_SIZE))
		return -EACCES;
	if (f->from == NOBODY || f->from > NODES_MAX || f->from == p->self)
		return -EBADMSG;
	return 0;
}

static int transmit(const struct probe *p, const struct port *port, const struct frame *f)
{
	uint8_t out[PROBE_FRAME] = { 0 };
	struct buf_w w = buf_writer(out, HEAD);

	if (port->fd < 0)
		return -ENODEV;
	buf_put(&w, f->dst, 6);
	buf_put(&w, f->src, 6);
	buf_put16(&w, PROBE_ETHERTYPE);
	encode(p, f, out + HEAD);
	return send(port->fd, out, PROBE_FRAME, MSG_DONTWAIT) == PROBE_FRAME ? 0 : -errno;
}

static int transmit_packet(const struct probe *p, const struct port *port, const struct frame *f,
			   const struct addr *from, const struct addr *to)
{
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET, .sll_ifindex = port->index, .sll_halen = 6,
		.sll_protocol = htons(to->family == AF_INET ? ETH_P_IP : ETH_P_IPV6),
	};
	uint8_t message[MESSAGE], out[PROBE_PACKET_MAX];
	size_t size;

	if (port->fd < 0)
		return -ENODEV;
	encode(p, f, message);
	size = probe_packet_build(out, f->dst, f->src, from, to, message, MESSAGE);
	return sendto(port->fd, out, size, MSG_DONTWAIT, (struct sockaddr *)&ll, sizeof(ll)) ==
	       (ssize_t)size ? 0 : -errno;
}

/* ---- interfaces ---- */

static void ear_close(struct port *port)
{
	if (port->ear >= 0)
		close(port->ear);
	port->ear = -1;
}

static void port_close(struct port *port)
{
	ear_close(port);
	if (port->fd >= 0)
		close(port->fd);	/* leaves the epoll set by itself */
	port->fd = -1;
	port->index = 0;
}

static int port_open(struct probe *p, unsigned int i)
{
	struct port *port = &p->port[i];
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET, .sll_protocol = htons(PROBE_ETHERTYPE),
	};
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };
	struct ifreq ifr = { 0 };
	int err;

	/* Protocol 0: it hears nothing before it is bound to interface and ethertype. */
	port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (port->fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, port->interface, IFNAME_SIZE);
	if (ioctl(port->fd, SIOCGIFINDEX, &ifr))
		goto fail;
	ll.sll_ifindex = port->index = ifr.ifr_ifindex;
	if (ioctl(port->fd, SIOCGIFHWADDR, &ifr))
		goto fail;
	memcpy(port->mac, ifr.ifr_hwaddr.sa_data, 6);
	if (bind(port->fd, (struct sockaddr *)&ll, sizeof(ll)) ||
	    epoll_ctl(p->epoll, EPOLL_CTL_ADD, port->fd, &e))
		goto fail;
	return 0;
fail:
	err = -errno;
	port_close(port);
	return err;
}

/* Is it the interface that we have, with the address that we know? */
static bool port_current(const struct port *port)
{
	struct ifreq ifr = { 0 };

	if (port->fd < 0)
		return false;
	memcpy(ifr.ifr_name, port->interface, IFNAME_SIZE);
	if (ioctl(port->fd, SIOCGIFINDEX, &ifr) || ifr.ifr_ifindex != port->index)
		return false;
	return !ioctl(port->fd, SIOCGIFHWADDR, &ifr) && !memcmp(ifr.ifr_hwaddr.sa_data, port->mac, 6);
}

void probe_refresh(struct probe *p)
{
	for (unsigned int i = 0; i < p->n_ports; i++) {
		if (port_current(&p->port[i]))
			continue;
		port_close(&p->port[i]);
		(void)port_open(p, i);	/* tried again next time */
	}
}

/* ---- a round ---- */

/* Wakes us for what is next: a step of the round, or the end of listening. */
static void arm(struct probe *p, int64_t now_ms)
{
	struct itimerspec t = { .it_value = { 0 } };
	int64_t next = p->steps ? p->started + (int64_t)p->steps * STEP_MS : INT64_MAX;

	for (unsigned int i = 0; i < p->n_ports; i++)
		if (p->port[i].ear >= 0 && p->port[i].ear_until < next)
			next = p->port[i].ear_until;
	if (next < INT64_MAX) {
		next = next > now_ms ? next - now_ms : 1;
		t.it_value = (struct timespec){ .tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000 };
	}
	timerfd_settime(p->timer, 0, &t, NULL);
}

static void ask(struct probe *p, unsigned int number, bool frame, bool packet)
{
	struct asked *a = &p->asked[number];
	const struct port *port = &p->port[a->port];
	struct frame f = {
		.kind = QUESTION, .from = p->self, .round = p->round, .number = (uint8_t)number,
	};
	int err;

	memcpy(f.dst, a->mac, 6);
	memcpy(f.src, port->mac, 6);
	memcpy(f.asked, a->mac, 6);
	if (frame)
		a->send_err = transmit(p, port, &f);
	if (packet && a->vip.family) {
		f.kind = PACKET;
		err = transmit_packet(p, port, &f, &a->source, &a->vip);
		a->send_err = err ? err : a->send_err;
	}
}

static void step(struct probe *p)
{
	for (unsigned int i = 0; i < p->n_asked; i++)
		ask(p, i, p->steps < SENDS, p->steps > 0);
	p->steps++;
}

int probe_start(struct probe *p, int64_t now_ms)
{
	if (p->steps)
		return -EBUSY;
	if (p->done != NO_ROUND && now_ms - p->done < REST_MS)
		return -EAGAIN;
	if (getrandom(&p->round, sizeof(p->round), GRND_NONBLOCK) != sizeof(p->round))
		p->round += 1 + (uint64_t)now_ms;	/* only to tell rounds apart */
	probe_refresh(p);
	for (unsigned int i = 0; i < p->n_asked; i++) {
		struct asked *a = &p->asked[i];

		a->framed = a->heard = 0;
		if (a->vip.family)
			probe_packet_source(p->port[a->port].interface, a->vip.family, &a->source);
	}
	p->started = now_ms;
	step(p);
	arm(p, now_ms);
	return 0;
}

/* What is due: in the round, and to end listening. */
static void proceed(struct probe *p, int64_t now_ms)
{
	for (unsigned int i = 0; i < p->n_ports; i++)
		if (now_ms >= p->port[i].ear_until)
			ear_close(&p->port[i]);
	if (p->steps && now_ms - p->started >= PROBE_WAIT_MS) {
		p->steps = 0;
		p->done = now_ms;
	} else if (p->steps && now_ms - p->started >= (int64_t)p->steps * STEP_MS) {
		if (p->steps < STEPS)
			step(p);
		else
			p->steps++;	/* only waits for answers */
	}
	arm(p, now_ms);
}

/* Somebody asks: packets may follow. */
static void listen_for_packets(struct probe *p, unsigned int i, int64_t now_ms)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = SERVICES_MAX + 1 + i };
	struct port *port = &p->port[i];

	if (!port->flooded)
		return;
	port->ear_until = now_ms + EAR_MS;
	if (port->ear >= 0)
		return;
	port->ear = probe_packet_listen(port->index, MAGIC);
	if (port->ear >= 0 && epoll_ctl(p->epoll, EPOLL_CTL_ADD, port->ear, &e))
		ear_close(port);
	if (port->ear < 0)
		port->ear = -1;		/* heard as silence; tried again at the next frame */
	else
		arm(p, now_ms);
}

static bool may_answer(struct probe *p, int64_t now_ms)
{
	if (now_ms / 1000 != p->second) {
		p->second = now_ms / 1000;
		p->answered = 0;
	}
	return p->answered++ < PROBE_ANSWERS;
}

static void answer(struct probe *p, unsigned int port, const struct frame *q, int64_t now_ms)
{
	struct frame f = {
		.kind = q->kind == PACKET ? PACKET_ANSWER : ANSWER,
		.from = p->self, .to = q->from, .round = q->round, .number = q->number,
	};

	/* The frame came to what it says that it was sent to; never to a group by our doing. */
	if (memcmp(q->dst, q->asked, 6) || (q->src[0] & 1)) {
		p->counters.garbled++;
		return;
	}
	if (!may_answer(p, now_ms)) {
		p->counters.limited++;
		return;
	}
	p->counters.questions++;
	if (q->kind == QUESTION)
		listen_for_packets(p, port, now_ms);
	memcpy(f.dst, q->src, 6);
	memcpy(f.src, p->port[port].mac, 6);
	memcpy(f.asked, q->asked, 6);
	(void)transmit(p, &p->port[port], &f);	/* it is asked three times */
}

static void note(struct probe *p, unsigned int port, const struct frame *f)
{
	struct asked *a;

	if (!p->steps || f->to != p->self || f->round != p->round || f->number >= p->n_asked)
		return;
	a = &p->asked[f->number];
	if (a->port != port || memcmp(a->mac, f->asked, 6))
		return;
	p->counters.answers++;
	if (f->kind == ANSWER)
		a->framed |= node_bit(f->from);
	else
		a->heard |= node_bit(f->from);
}

static void receive(struct probe *p, unsigned int port, int64_t now_ms)
{
	uint8_t in[128];
	struct frame f;
	ssize_t n;
	int err;

	for (unsigned int i = 0; i < BUDGET; i++) {
		n = recv(p->port[port].fd, in, sizeof(in), MSG_DONTWAIT);
		if (n < 0)
			return;		/* nothing more, or down: probe_refresh() sees to it */
		err = n < HEAD ? -EBADMSG : decode(p, in, in + HEAD, (size_t)n - HEAD, &f);
		if (err == -EACCES)
			p->counters.forged++;
		else if (!err && f.kind == QUESTION)
			answer(p, port, &f, now_ms);
		else if (!err && (f.kind == ANSWER || f.kind == PACKET_ANSWER))
			note(p, port, &f);
		else
			p->counters.garbled++;
	}
}

static bool is_target(const struct probe *p, unsigned int port, const uint8_t mac[6],
		      const struct addr *vip)
{
	for (unsigned int i = 0; i < p->n_asked; i++) {
		const struct asked *a = &p->asked[i];

		if (a->port == port && !memcmp(a->mac, mac, 6) && !addr_cmp(&a->vip, vip))
			return true;
	}
	return false;
}

static void receive_packets(struct probe *p, unsigned int port, int64_t now_ms)
{
	uint8_t in[PROBE_PACKET_MAX];
	const uint8_t *message;
	struct addr to;
	struct frame f;
	size_t size;
	ssize_t n;
	int err;

	for (unsigned int i = 0; i < BUDGET && p->port[port].ear >= 0; i++) {
		n = recv(p->port[port].ear, in, sizeof(in), MSG_DONTWAIT);
		if (n < 0)
			return;
		err = probe_packet_read(in, (size_t)n, &to, &message, &size);
		if (!err)
			err = decode(p, in, message, size, &f);
		if (err == -EACCES)
			p->counters.forged++;
		else if (!err && f.kind == PACKET && is_target(p, port, f.asked, &to))
			answer(p, port, &f, now_ms);
		else
			p->counters.garbled++;
	}
}

void probe_dispatch(struct probe *p, int64_t now_ms)
{
	struct epoll_event e[2 * SERVICES_MAX + 1];
	uint64_t ticks;
	int n = epoll_wait(p->epoll, e, 2 * SERVICES_MAX + 1, 0);

	for (int i = 0; i < n; i++) {
		if (e[i].data.u32 < p->n_ports)
			receive(p, e[i].data.u32, now_ms);
		else if (e[i].data.u32 > SERVICES_MAX)
			receive_packets(p, e[i].data.u32 - SERVICES_MAX - 1, now_ms);
		else if (read(p->timer, &ticks, sizeof(ticks)) == sizeof(ticks))
			proceed(p, now_ms);
	}
}

/* ---- open, close, results ---- */

static void add_target(struct probe *p, unsigned int port, const uint8_t mac[6], const struct addr *vip)
{
	struct asked *a = &p->asked[p->n_asked];

	p->port[port].flooded |= vip->family != 0;
	if (p->n_asked == PROBE_MACS_MAX || is_target(p, port, mac, vip))
		return;
	a->port = port;
	a->vip = *vip;
	memcpy(a->mac, mac, 6);
	p->n_asked++;
}

/* The ones that do not fit are not asked; broadcast comes first, so that there is something to compare. */
static int add_targets(struct probe *p, const struct probe_target *t, unsigned int n)
{
	const struct addr none = { .family = 0 };

	for (unsigned int i = 0; i < n; i++) {
		unsigned int k = 0;

		while (k < p->n_ports && strcmp(p->port[k].interface, t[i].interface))
			k++;
		if (k < p->n_ports)
			continue;
		if (k == SERVICES_MAX)
			return -EINVAL;
		memcpy(p->port[k].interface, t[i].interface, IFNAME_SIZE);
		p->port[k].fd = p->port[k].ear = -1;
		p->n_ports++;
		add_target(p, k, broadcast, &none);
	}
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int k = 0; k < p->n_ports; k++)
			if (!strcmp(p->port[k].interface, t[i].interface))
				add_target(p, k, t[i].mac, &t[i].vip);
	return 0;
}

int probe_open(struct probe **out, const struct probe_target *target, unsigned int n,
	       const uint8_t key[32], unsigned int self)
{
	static const char use[] = "clusterd flood probe";
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = SERVICES_MAX };
	struct probe *p = calloc(1, sizeof(*p));
	struct hmac_sha256_ctx h;
	int err;

	if (!p)
		return -ENOMEM;
	assert(self != NOBODY && self <= NODES_MAX);
	p->self = (uint8_t)self;
	p->done = NO_ROUND;
	/* A key of its own: what is signed here must not pass for a HELLO, nor the other way round. */
	hmac_sha256_set_key(&h, 32, key);
	hmac_sha256_update(&h, sizeof(use), (const uint8_t *)use);
	hmac_sha256_digest(&h, sizeof(p->key), p->key);
	p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->timer < 0 || p->epoll < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->timer, &e))
		err = -errno;
	else
		err = add_targets(p, target, n);
	for (unsigned int i = 0; i < p->n_ports && !err; i++) {
		err = port_open(p, i);
		if (err == -ENODEV)
			err = 0;
	}
	if (err) {
		probe_close(p);
		return err;
	}
	*out = p;
	return 0;
}

void probe_close(struct probe *p)
{
	if (!p)
		return;
	for (unsigned int i = 0; i < p->n_ports; i++)
		port_close(&p->port[i]);
	if (p->timer >= 0)
		close(p->timer);
	if (p->epoll >= 0)
		close(p->epoll);
	explicit_bzero(p->key, sizeof(p->key));
	free(p);
}

int probe_fd(const struct probe *p)
{
	return p->epoll;
}

bool probe_running(const struct probe *p)
{
	return p->steps;
}

int64_t probe_done(const struct probe *p)
{
	return p->done;
}

unsigned int probe_results(const struct probe *p, struct probe_result *out, unsigned int max)
{
	unsigned int n = p->n_asked < max ? p->n_asked : max;

	memset(out, 0, n * sizeof(*out));
	for (unsigned int i = 0; i < n; i++) {
		const struct asked *a = &p->asked[i];

		memcpy(out[i].target.interface, p->port[a->port].interface, IFNAME_SIZE);
		memcpy(out[i].target.mac, a->mac, 6);
		out[i].target.vip = a->vip;
		out[i].framed = a->framed;
		out[i].heard = a->vip.family ? a->heard : a->framed;
		out[i].send_err = a->send_err;
	}
	return n;
}

void probe_counters(const struct probe *p, struct probe_counters *out)
{
	*out = p->counters;
}

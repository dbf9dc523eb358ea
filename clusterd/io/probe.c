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

#include "util/buf.h"

#define MAGIC       0x43445042u		/* "CDPB" */
#define VERSION_1   1
#define HEAD        14			/* Ethernet header */
#define BODY        24			/* of our own, before the HMAC */
#define MAC_SIZE    16
#define SENDS       3			/* of each question: one lost frame shall not look like a filter */
#define SEND_GAP_MS (PROBE_WAIT_MS / 4)
#define REST_MS     1000		/* between two rounds */
#define BUDGET      64			/* frames per dispatch */
#define NO_ROUND    (-1)

enum kind { QUESTION = 1, ANSWER = 2 };

struct frame {
	uint8_t dst[6], src[6];
	uint8_t kind, from, to;
	uint64_t round;
	uint8_t asked[6];		/* what the question was sent to */
};

struct port {
	char interface[IFNAME_SIZE];
	int fd, index;			/* -1, 0: not there now */
	uint8_t mac[6];
};

struct asked {
	unsigned int port;
	uint8_t mac[6];
	uint64_t heard;
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
	unsigned int sends;		/* of the round under way; 0: none is */
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

static void encode(const struct probe *p, const struct frame *f, uint8_t out[PROBE_FRAME])
{
	struct buf_w w = buf_writer(out, PROBE_FRAME);

	memset(out, 0, PROBE_FRAME);
	buf_put(&w, f->dst, 6);
	buf_put(&w, f->src, 6);
	buf_put16(&w, PROBE_ETHERTYPE);
	buf_put32(&w, MAGIC);
	buf_put8(&w, VERSION_1);
	buf_put8(&w, f->kind);
	buf_put8(&w, f->from);
	buf_put8(&w, f->to);
	buf_put64(&w, f->round);
	buf_put(&w, f->asked, 6);
	buf_put16(&w, 0);
	assert(!w.err && w.pos == HEAD + BODY);
	sign(p, out + HEAD, out + HEAD + BODY);
}

/* 0, -EBADMSG, -EACCES: not from a member. */
static int decode(const struct probe *p, const uint8_t *in, size_t size, struct frame *f)
{
	struct buf_r r = buf_reader(in, size);
	uint8_t mac[MAC_SIZE], version;
	uint32_t magic;

	if (size < HEAD + BODY + MAC_SIZE)
		return -EBADMSG;
	buf_get(&r, f->dst, 6);
	buf_get(&r, f->src, 6);
	(void)buf_get16(&r);
	magic = buf_get32(&r);
	version = buf_get8(&r);
	f->kind = buf_get8(&r);
	f->from = buf_get8(&r);
	f->to = buf_get8(&r);
	f->round = buf_get64(&r);
	buf_get(&r, f->asked, 6);
	if (r.err || magic != MAGIC || version != VERSION_1)
		return -EBADMSG;
	sign(p, in + HEAD, mac);
	if (!memeql_sec(mac, in + HEAD + BODY, MAC_SIZE))
		return -EACCES;
	if (f->from == NOBODY || f->from > NODES_MAX || f->from == p->self ||
	    (f->kind != QUESTION && f->kind != ANSWER))
		return -EBADMSG;
	return 0;
}

static int transmit(const struct port *port, const uint8_t frame[PROBE_FRAME])
{
	if (port->fd < 0)
		return -ENODEV;
	return send(port->fd, frame, PROBE_FRAME, MSG_DONTWAIT) == PROBE_FRAME ? 0 : -errno;
}

/* ---- interfaces ---- */

static void port_close(struct port *port)
{
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

static void arm(struct probe *p, int64_t ms)
{
	struct itimerspec t = {
		.it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 },
	};

	timerfd_settime(p->timer, 0, &t, NULL);
}

static void ask(struct probe *p)
{
	uint8_t frame[PROBE_FRAME];

	for (unsigned int i = 0; i < p->n_asked; i++) {
		struct asked *a = &p->asked[i];
		const struct port *port = &p->port[a->port];
		struct frame f = { .kind = QUESTION, .from = p->self, .round = p->round };

		memcpy(f.dst, a->mac, 6);
		memcpy(f.src, port->mac, 6);
		memcpy(f.asked, a->mac, 6);
		encode(p, &f, frame);
		a->send_err = transmit(port, frame);
	}
	p->sends++;
}

int probe_start(struct probe *p, int64_t now_ms)
{
	if (p->sends)
		return -EBUSY;
	if (p->done != NO_ROUND && now_ms - p->done < REST_MS)
		return -EAGAIN;
	if (getrandom(&p->round, sizeof(p->round), GRND_NONBLOCK) != sizeof(p->round))
		p->round += 1 + (uint64_t)now_ms;	/* only to tell rounds apart */
	probe_refresh(p);
	for (unsigned int i = 0; i < p->n_asked; i++)
		p->asked[i].heard = 0;
	p->started = now_ms;
	ask(p);
	arm(p, SEND_GAP_MS);
	return 0;
}

/* What is due in the round. */
static void proceed(struct probe *p, int64_t now_ms)
{
	if (!p->sends)
		return;
	if (now_ms - p->started >= PROBE_WAIT_MS) {
		p->sends = 0;
		p->done = now_ms;
		arm(p, 0);
		return;
	}
	if (p->sends < SENDS && now_ms - p->started >= (int64_t)p->sends * SEND_GAP_MS)
		ask(p);
	arm(p, SEND_GAP_MS);
}

static bool may_answer(struct probe *p, int64_t now_ms)
{
	if (now_ms / 1000 != p->second) {
		p->second = now_ms / 1000;
		p->answered = 0;
	}
	return p->answered++ < PROBE_ANSWERS;
}

static void answer(struct probe *p, const struct port *port, const struct frame *q, int64_t now_ms)
{
	struct frame f = { .kind = ANSWER, .from = p->self, .to = q->from, .round = q->round };
	uint8_t frame[PROBE_FRAME];

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
	memcpy(f.dst, q->src, 6);
	memcpy(f.src, port->mac, 6);
	memcpy(f.asked, q->asked, 6);
	encode(p, &f, frame);
	(void)transmit(port, frame);	/* it is asked three times */
}

static void note(struct probe *p, unsigned int port, const struct frame *f)
{
	if (!p->sends || f->to != p->self || f->round != p->round)
		return;
	p->counters.answers++;
	for (unsigned int i = 0; i < p->n_asked; i++)
		if (p->asked[i].port == port && !memcmp(p->asked[i].mac, f->asked, 6))
			p->asked[i].heard |= node_bit(f->from);
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
		err = decode(p, in, (size_t)n, &f);
		if (err == -EACCES)
			p->counters.forged++;
		else if (err)
			p->counters.garbled++;
		else if (f.kind == QUESTION)
			answer(p, &p->port[port], &f, now_ms);
		else
			note(p, port, &f);
	}
}

void probe_dispatch(struct probe *p, int64_t now_ms)
{
	struct epoll_event e[SERVICES_MAX + 1];
	uint64_t ticks;
	int n = epoll_wait(p->epoll, e, SERVICES_MAX + 1, 0);

	for (int i = 0; i < n; i++) {
		if (e[i].data.u32 < p->n_ports)
			receive(p, e[i].data.u32, now_ms);
		else if (read(p->timer, &ticks, sizeof(ticks)) == sizeof(ticks))
			proceed(p, now_ms);
	}
}

/* ---- open, close, results ---- */

static bool add_target(struct probe *p, unsigned int port, const uint8_t mac[6])
{
	for (unsigned int i = 0; i < p->n_asked; i++)
		if (p->asked[i].port == port && !memcmp(p->asked[i].mac, mac, 6))
			return true;
	if (p->n_asked == PROBE_MACS_MAX)
		return false;
	p->asked[p->n_asked].port = port;
	memcpy(p->asked[p->n_asked++].mac, mac, 6);
	return true;
}

/* The ones that do not fit are not asked; broadcast comes first, so that there is something to compare. */
static int add_targets(struct probe *p, const struct probe_target *t, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int k = 0;

		while (k < p->n_ports && strcmp(p->port[k].interface, t[i].interface))
			k++;
		if (k < p->n_ports)
			continue;
		if (k == SERVICES_MAX)
			return -EINVAL;
		memcpy(p->port[k].interface, t[i].interface, IFNAME_SIZE);
		p->port[k].fd = -1;
		p->n_ports++;
		add_target(p, k, broadcast);
	}
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int k = 0; k < p->n_ports; k++)
			if (!strcmp(p->port[k].interface, t[i].interface))
				add_target(p, k, t[i].mac);
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
	return p->sends;
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
		out[i].heard = a->heard;
		out[i].send_err = a->send_err;
	}
	return n;
}

void probe_counters(const struct probe *p, struct probe_counters *out)
{
	*out = p->counters;
}

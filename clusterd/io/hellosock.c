// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/hellosock.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sockaddr.h"
#include "util/csum.h"

#define TOS_CS6     0xc0	/* network control, RFC 4594 */
#define PRIORITY    6		/* TC_PRIO_INTERACTIVE: the highest that needs no capability */
#define ECHO_HEAD   8		/* type, code, checksum, identifier, sequence number */
#define ECHO_ID     0xcd48
#define DATAGRAM    2048

#ifndef ICMP_FILTER
#define ICMP_FILTER 1		/* linux/icmp.h, which clashes with netinet/ip_icmp.h */
#endif
#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36		/* linux/in6.h, which clashes with netinet/in.h */
#endif

struct hellosock {
	struct hellosock_params p;
	int udp;
	int icmp;		/* probes, and all answers */
	int spoof;		/* reflections: we write the IP header */
	unsigned int scope;
	struct hellosock_counters c;
	bool udp_first;		/* takes turns, so that neither socket starves the other */
};

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* An opened socket with our priority, bound to our address, or -errno. */
static int open_bound(const struct hellosock *s, int type, int protocol, uint16_t port)
{
	const struct addr *self = &s->p.node[s->p.self - 1];
	union sockaddr_any to;
	socklen_t len = sockaddr_from(self, port, s->scope, &to);
	int fd, err;

	fd = socket(self->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return -errno;
	/* Only a wish: without them HELLOs travel as other packets do. */
	(void)set(fd, SOL_SOCKET, SO_PRIORITY, PRIORITY);
	if (self->family == AF_INET)
		(void)set(fd, IPPROTO_IP, IP_TOS, TOS_CS6);
	else
		(void)set(fd, IPPROTO_IPV6, IPV6_TCLASS, TOS_CS6);
	if (bind(fd, &to.sa, len) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* Echo replies only: the socket would get a copy of all ICMP there is. */
static int filter_icmp(int fd, int family)
{
	struct icmp6_filter only;
	uint32_t drop = ~(UINT32_C(1) << ICMP_ECHOREPLY);

	if (family == AF_INET)
		return setsockopt(fd, SOL_RAW, ICMP_FILTER, &drop, sizeof(drop)) < 0 ? -errno : 0;
	ICMP6_FILTER_SETBLOCKALL(&only);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &only);
	return setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &only, sizeof(only)) < 0 ? -errno : 0;
}

static int open_witness(struct hellosock *s, const char **why)
{
	int family = s->p.witness.family, err;

	if (s->p.n_nodes != 2 || s->p.node[0].family != family || s->p.node[1].family != family) {
		*why = "the witness must be of the same address family as the nodes";
		return -EAFNOSUPPORT;
	}
	*why = "ICMP socket for the witness";
	s->icmp = open_bound(s, SOCK_RAW, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6, 0);
	if (s->icmp < 0)
		return s->icmp;
	err = filter_icmp(s->icmp, family);
	if (err)
		return err;
	*why = "raw socket for reflections";
	s->spoof = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (s->spoof < 0)
		return -errno;
	(void)set(s->spoof, SOL_SOCKET, SO_PRIORITY, PRIORITY);
	return family == AF_INET ? set(s->spoof, IPPROTO_IP, IP_HDRINCL, 1) :
				   set(s->spoof, IPPROTO_IPV6, IPV6_HDRINCL, 1);
}

int hellosock_open(struct hellosock **out, const struct hellosock_params *p, const char **why)
{
	struct hellosock *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	*why = "memory";
	if (!s)
		return -ENOMEM;
	assert(p->self >= 1 && p->self <= p->n_nodes && p->n_nodes <= NODES_MAX);
	s->p = *p;
	s->p.interface = NULL;
	s->scope = p->interface ? if_nametoindex(p->interface) : 0;
	s->icmp = s->spoof = -1;
	*why = "UDP socket for heartbeats";
	s->udp = open_bound(s, SOCK_DGRAM, 0, p->port);
	err = s->udp < 0 ? s->udp : 0;
	if (!err && p->witness.family)
		err = open_witness(s, why);
	if (err) {
		hellosock_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void hellosock_close(struct hellosock *s)
{
	if (!s)
		return;
	if (s->udp >= 0)
		close(s->udp);
	if (s->icmp >= 0)
		close(s->icmp);
	if (s->spoof >= 0)
		close(s->spoof);
	explicit_bzero(s->p.key, sizeof(s->p.key));
	free(s);
}

int hellosock_fd(const struct hellosock *s)
{
	return s->udp;
}

int hellosock_witness_fd(const struct hellosock *s)
{
	return s->icmp;
}

void hellosock_counters(const struct hellosock *s, struct hellosock_counters *out)
{
	*out = s->c;
}

/* ---- receiving ---- */

static int decode(struct hellosock *s, const uint8_t *data, size_t size, struct hello *h)
{
	switch (hello_decode(h, s->p.key, data, size)) {
	case 0:
		return 0;
	case -EPROTO:
		s->c.version++;
		break;
	case -EACCES:
		s->c.forged++;
		break;
	default:	/* -EBADMSG: the header knows no others */
		s->c.garbled++;
		break;
	}
	return -EBADMSG;
}

/* Bytes, or 0: nothing there.  An error of an earlier send, told here, is nothing that arrived. */
static ssize_t receive(int fd, uint8_t buf[DATAGRAM], union sockaddr_any *from)
{
	socklen_t len = sizeof(*from);
	ssize_t size = recvfrom(fd, buf, DATAGRAM, MSG_TRUNC, &from->sa, &len);

	if (size == 0)
		return -EBADMSG;
	if (size < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -EBADMSG;
	return size;
}

static bool is_node(const struct hellosock *s, const union sockaddr_any *from)
{
	for (unsigned int i = 0; i < s->p.n_nodes; i++)
		if (sockaddr_is(from, &s->p.node[i]))
			return true;
	return false;
}

static int recv_udp(struct hellosock *s, struct hellosock_item *item)
{
	union sockaddr_any from;
	uint8_t buf[DATAGRAM];
	ssize_t size = receive(s->udp, buf, &from);

	if (size <= 0)
		return (int)size;
	s->c.received++;
	/* Cheap things first: an HMAC for each packet of a flood is what the flood is after. */
	if (!is_node(s, &from)) {
		s->c.foreign++;
		return -EBADMSG;
	}
	if (size > DATAGRAM) {
		s->c.garbled++;
		return -EBADMSG;
	}
	if (decode(s, buf, (size_t)size, &item->hello))
		return -EBADMSG;
	if (item->hello.from > s->p.n_nodes || item->hello.to != s->p.self ||
	    !sockaddr_is(&from, &s->p.node[item->hello.from - 1])) {
		s->c.foreign++;
		return -EBADMSG;
	}
	item->kind = HELLOSOCK_HELLO;
	return 1;
}

/* Other programs ping as well: what is not ours goes by uncounted. */
static int recv_icmp(struct hellosock *s, struct hellosock_item *item)
{
	union sockaddr_any from;
	uint8_t buf[DATAGRAM];
	ssize_t size = receive(s->icmp, buf, &from);
	size_t head = 0;

	if (size <= 0)
		return (int)size;
	if (size > DATAGRAM || !sockaddr_is(&from, &s->p.witness))
		return -EBADMSG;
	if (s->p.witness.family == AF_INET)	/* raw IPv4 comes with its header, raw IPv6 without */
		head = (size_t)(buf[0] & 0xf) * 4;
	if ((size_t)size < head + ECHO_HEAD ||
	    buf[head] != (s->p.witness.family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) ||
	    buf[head + 4] != ECHO_ID >> 8 || buf[head + 5] != (ECHO_ID & 0xff))
		return -EBADMSG;
	if (decode(s, buf + head + ECHO_HEAD, (size_t)size - head - ECHO_HEAD, &item->hello))
		return -EBADMSG;
	if (item->hello.to != s->p.self || item->hello.from > s->p.n_nodes)
		return -EBADMSG;
	if (item->hello.from != s->p.self)
		item->kind = HELLOSOCK_REFLECTED;
	else if (item->hello.incarnation == s->p.incarnation)
		item->kind = HELLOSOCK_WITNESS;
	else
		return -EBADMSG;
	return 1;
}

int hellosock_recv(struct hellosock *s, struct hellosock_item *item)
{
	int ret;

	if (s->icmp < 0)
		return recv_udp(s, item);
	s->udp_first = !s->udp_first;
	ret = s->udp_first ? recv_udp(s, item) : recv_icmp(s, item);
	if (ret)
		return ret;
	return s->udp_first ? recv_icmp(s, item) : recv_udp(s, item);
}

/* ---- sending ---- */

static void transmit(struct hellosock *s, int fd, const struct addr *to, uint16_t port,
		     const void *data, size_t size)
{
	union sockaddr_any dst;
	socklen_t len = sockaddr_from(to, port, s->scope, &dst);

	/* A second try takes the error of an earlier datagram (ICMP unreachable) off the socket. */
	for (unsigned int i = 0; i < 2; i++) {
		if (sendto(fd, data, size, 0, &dst.sa, len) >= 0) {
			s->c.sent++;
			return;
		}
	}
	s->c.send_errors++;
}

/* Writes an echo request (RFC 792, RFC 4443) with 'h' as payload and no checksum; its size. */
static size_t put_echo(const struct hellosock *s, const struct hello *h, uint8_t *p, size_t room)
{
	memset(p, 0, ECHO_HEAD);
	p[0] = s->p.witness.family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	p[4] = ECHO_ID >> 8;
	p[5] = ECHO_ID & 0xff;
	p[6] = (uint8_t)(h->seq >> 8);
	p[7] = (uint8_t)h->seq;
	return ECHO_HEAD + hello_encode(h, s->p.key, p + ECHO_HEAD, room - ECHO_HEAD);
}

static void put_checksum(uint8_t *p, uint32_t pseudo, size_t size)
{
	csum_put(p + 2, csum_add(pseudo, p, size));
}

void hellosock_probe(struct hellosock *s, uint64_t seq)
{
	const struct hello h = { .from = s->p.self, .to = s->p.self, .seq = seq,
				 .incarnation = s->p.incarnation };
	uint8_t buf[ECHO_HEAD + HELLO_SIZE_MAX];
	size_t size;

	if (s->icmp < 0)
		return;
	size = put_echo(s, &h, buf, sizeof(buf));
	if (s->p.witness.family == AF_INET)	/* of raw ICMPv6 the kernel writes it */
		put_checksum(buf, 0, size);
	transmit(s, s->icmp, &s->p.witness, 0, buf, size);
}

static void reflect4(struct hellosock *s, const struct hello *h)
{
	uint8_t buf[sizeof(struct iphdr) + ECHO_HEAD + HELLO_SIZE_MAX];
	struct iphdr ip = { .version = 4, .ihl = 5, .tos = TOS_CS6, .ttl = 64,
			    .protocol = IPPROTO_ICMP };
	size_t size;

	size = put_echo(s, h, buf + sizeof(ip), sizeof(buf) - sizeof(ip));
	put_checksum(buf + sizeof(ip), 0, size);
	/* The kernel writes identification and checksum. */
	ip.tot_len = htons((uint16_t)(sizeof(ip) + size));
	memcpy(&ip.saddr, s->p.node[h->to - 1].b, 4);
	memcpy(&ip.daddr, s->p.witness.b, 4);
	memcpy(buf, &ip, sizeof(ip));
	transmit(s, s->spoof, &s->p.witness, 0, buf, sizeof(ip) + size);
}

static void reflect6(struct hellosock *s, const struct hello *h)
{
	uint8_t buf[sizeof(struct ip6_hdr) + ECHO_HEAD + HELLO_SIZE_MAX];
	struct ip6_hdr ip = { 0 };
	uint32_t pseudo;
	size_t size;

	size = put_echo(s, h, buf + sizeof(ip), sizeof(buf) - sizeof(ip));
	ip.ip6_flow = htonl(UINT32_C(6) << 28 | TOS_CS6 << 20);
	ip.ip6_plen = htons((uint16_t)size);
	ip.ip6_nxt = IPPROTO_ICMPV6;
	ip.ip6_hlim = 64;
	memcpy(&ip.ip6_src, s->p.node[h->to - 1].b, 16);
	memcpy(&ip.ip6_dst, s->p.witness.b, 16);
	pseudo = csum_add(csum_add(0, &ip.ip6_src, 16), &ip.ip6_dst, 16) + (uint32_t)size + IPPROTO_ICMPV6;
	put_checksum(buf + sizeof(ip), pseudo, size);
	memcpy(buf, &ip, sizeof(ip));
	transmit(s, s->spoof, &s->p.witness, 0, buf, sizeof(ip) + size);
}

void hellosock_send(struct hellosock *s, const struct hello *h, bool reflect)
{
	uint8_t buf[HELLO_SIZE_MAX];
	size_t size = hello_encode(h, s->p.key, buf, sizeof(buf));

	assert(h->to >= 1 && h->to <= s->p.n_nodes);
	transmit(s, s->udp, &s->p.node[h->to - 1], s->p.port, buf, size);
	if (!reflect || s->spoof < 0)
		return;
	if (s->p.witness.family == AF_INET)
		reflect4(s, h);
	else
		reflect6(s, h);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/probe_packet.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/csum.h"

#define ETHER     14
#define IP4       20
#define IP6       40
#define UDP       8
#define DONT_FRAG 0x4000

/* ---- frames ---- */

size_t probe_packet_build(uint8_t out[PROBE_PACKET_MAX], const uint8_t dst[6], const uint8_t src[6],
			  const struct addr *from, const struct addr *to, const uint8_t *payload,
			  size_t size)
{
	struct buf_w w = buf_writer(out, PROBE_PACKET_MAX);
	bool v4 = to->family == AF_INET;
	uint16_t length = (uint16_t)(UDP + size);
	uint8_t *udp = out + ETHER + (v4 ? IP4 : IP6);

	assert(from->family == to->family && size <= PROBE_PACKET_MAX - ETHER - IP6 - UDP);
	buf_put(&w, dst, 6);
	buf_put(&w, src, 6);
	buf_put16(&w, v4 ? ETH_P_IP : ETH_P_IPV6);
	if (v4) {
		buf_put16(&w, 0x4500);
		buf_put16(&w, (uint16_t)(IP4 + length));
		buf_put16(&w, 0);
		buf_put16(&w, DONT_FRAG);
		buf_put8(&w, 1);
		buf_put8(&w, IPPROTO_UDP);
		buf_put16(&w, 0);
	} else {
		buf_put32(&w, 0x60000000);
		buf_put16(&w, length);
		buf_put8(&w, IPPROTO_UDP);
		buf_put8(&w, 1);
	}
	buf_put(&w, from->b, addr_size(from));
	buf_put(&w, to->b, addr_size(to));
	if (v4)
		csum_put(out + ETHER + 10, csum_add(0, out + ETHER, IP4));
	buf_put16(&w, PROBE_PACKET_PORT);
	buf_put16(&w, PROBE_PACKET_PORT);
	buf_put16(&w, length);
	buf_put16(&w, 0);
	buf_put(&w, payload, size);
	assert(!w.err);
	csum_put(udp + 6, csum_add(csum_add(csum_add(IPPROTO_UDP + (uint32_t)length, from->b, addr_size(from)),
					    to->b, addr_size(to)), udp, length));
	if (!udp[6] && !udp[7])
		udp[6] = udp[7] = 0xff;		/* RFC 768: 0 would be "none" */
	return w.pos;
}

int probe_packet_read(const uint8_t *in, size_t n, struct addr *to, const uint8_t **payload, size_t *size)
{
	bool v4 = n > ETHER && in[12] == ETH_P_IP >> 8 && in[13] == (ETH_P_IP & 0xff);
	size_t head = ETHER + (v4 ? IP4 : IP6), length;

	if (n < head + UDP || in[ETHER] >> 4 != (v4 ? 4 : 6))
		return -EBADMSG;
	length = (size_t)in[head + 4] << 8 | in[head + 5];
	if (length < UDP || length > n - head)
		return -EBADMSG;
	memset(to, 0, sizeof(*to));
	to->family = v4 ? AF_INET : AF_INET6;
	memcpy(to->b, in + head - addr_size(to), addr_size(to));
	*payload = in + head + UDP;
	*size = length - UDP;
	return 0;
}

/* ---- sockets and interfaces ---- */

#define LOAD(size, offset) BPF_STMT(BPF_LD | (size) | BPF_ABS, offset)
#define ELSE(value, skip)  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)	/* over 'skip' */

int probe_packet_listen(int ifindex, uint32_t magic)
{
	struct sock_filter code[] = {
		LOAD(BPF_H, 12),
		ELSE(ETH_P_IP, 11),
		LOAD(BPF_B, ETHER),
		ELSE(0x45, 17),
		LOAD(BPF_H, ETHER + 6),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 15, 0),	/* a fragment */
		LOAD(BPF_B, ETHER + 9),
		ELSE(IPPROTO_UDP, 13),
		LOAD(BPF_H, ETHER + IP4 + 2),
		ELSE(PROBE_PACKET_PORT, 11),
		LOAD(BPF_W, ETHER + IP4 + UDP),
		ELSE(magic, 9),
		BPF_STMT(BPF_RET | BPF_K, PROBE_PACKET_MAX),
		ELSE(ETH_P_IPV6, 7),
		LOAD(BPF_B, ETHER + 6),
		ELSE(IPPROTO_UDP, 5),
		LOAD(BPF_H, ETHER + IP6 + 2),
		ELSE(PROBE_PACKET_PORT, 3),
		LOAD(BPF_W, ETHER + IP6 + UDP),
		ELSE(magic, 1),
		BPF_STMT(BPF_RET | BPF_K, PROBE_PACKET_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	/* All protocols: a socket for ETH_P_IP alone comes after the ingress rules (net/core/dev.c). */
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, err;

	if (fd < 0)
		return -errno;
	/* Spares what we send the filter; a kernel without it (before 4.20) does no harm. */
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    bind(fd, (struct sockaddr *)&ll, sizeof(ll))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static bool all_ones(const uint8_t *p, size_t size)
{
	while (size && *p == 0xff)
		p++, size--;
	return !size;
}

void probe_packet_source(const char *interface, uint8_t family, struct addr *out)
{
	size_t at = family == AF_INET ? offsetof(struct sockaddr_in, sin_addr) :
					offsetof(struct sockaddr_in6, sin6_addr);
	struct ifaddrs *list = NULL;

	memset(out, 0, sizeof(*out));
	out->family = family;
	if (getifaddrs(&list))
		return;
	for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
		if (!a->ifa_addr || !a->ifa_netmask || a->ifa_addr->sa_family != family ||
		    strcmp(a->ifa_name, interface))
			continue;
		if (all_ones((const uint8_t *)a->ifa_netmask + at, addr_size(out)))
			continue;
		memcpy(out->b, (const uint8_t *)a->ifa_addr + at, addr_size(out));
		break;
	}
	freeifaddrs(list);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/announce.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_packet.h>

#include "util/csum.h"
#include "util/log.h"

#define VIPS_ALL  (SERVICES_MAX * VIPS_MAX)
#define PERIOD_MS 30000

/* After becoming the holder; then every PERIOD_MS. */
static const int64_t after_ms[] = { 0, 100, 300, 1000, 3000 };
#define STEPS (sizeof(after_ms) / sizeof(*after_ms))

struct held {
	struct addr vip;
	char interface[IFNAME_SIZE];
	int64_t since, due;		/* ms, monotonic */
	bool failed;			/* said so already */
};

struct announce {
	int fd;
	unsigned int n;
	struct held held[VIPS_ALL];
};

int announce_open(struct announce **out)
{
	struct announce *a = calloc(1, sizeof(*a));

	*out = NULL;
	if (!a)
		return -ENOMEM;
	/* Protocol 0: sends, and gets nothing. */
	a->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0) {
		int err = -errno;

		free(a);
		return err;
	}
	*out = a;
	return 0;
}

void announce_close(struct announce *a)
{
	if (!a)
		return;
	close(a->fd);
	free(a);
}

/* ---- frames ---- */

static const uint8_t all_ones[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static void put16(uint8_t *b, uint16_t v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static void ether(uint8_t *f, const uint8_t to[6], const uint8_t from[6], uint16_t type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, from, 6);
	put16(f + 12, type);
}

unsigned int announce_arp(uint8_t frame[64], const uint8_t mac[6], const struct addr *vip, bool reply)
{
	uint8_t *a = frame + ETH_HLEN;

	memset(frame, 0, 64);
	ether(frame, all_ones, mac, ETHERTYPE_ARP);
	put16(a, ARPHRD_ETHER);
	put16(a + 2, ETHERTYPE_IP);
	a[4] = 6;
	a[5] = 4;
	put16(a + 6, reply ? ARPOP_REPLY : ARPOP_REQUEST);
	memcpy(a + 8, mac, 6);
	memcpy(a + 14, vip->b, 4);
	/* RFC 5227 section 3 leaves the target MAC of a request open: zero; a reply names the sender. */
	if (reply)
		memcpy(a + 18, mac, 6);
	memcpy(a + 24, vip->b, 4);
	return ETH_HLEN + 28;
}

unsigned int announce_na(uint8_t frame[128], const uint8_t mac[6], const struct addr *vip)
{
	static const uint8_t group_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	static const uint8_t group[16] = { 0xff, 2, [15] = 1 };	/* ff02::1, all nodes */
	uint8_t *ip = frame + ETH_HLEN, *na = ip + 40;
	const unsigned int size = 24 + 8;	/* the advertisement, the option */

	memset(frame, 0, 128);
	ether(frame, group_mac, mac, ETHERTYPE_IPV6);
	ip[0] = 0x60;
	put16(ip + 4, size);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;		/* or it is not believed: RFC 4861 section 7.1.2 */
	memcpy(ip + 8, vip->b, 16);
	memcpy(ip + 24, group, 16);
	na[0] = ND_NEIGHBOR_ADVERT;
	na[4] = 0x20;		/* override; neither router nor solicited */
	memcpy(na + 8, vip->b, 16);
	na[24] = ND_OPT_TARGET_LINKADDR;
	na[25] = 1;		/* times 8 bytes */
	memcpy(na + 26, mac, 6);
	/* Over the pseudo header (RFC 8200 section 8.1), too: addresses, size and protocol. */
	csum_put(na + 2, csum_add(csum_add(size + IPPROTO_ICMPV6, ip + 8, 32), na, size));
	return ETH_HLEN + 40 + size;
}

/* ---- sending ---- */

static int send_frame(const struct announce *a, int index, const uint8_t *frame, unsigned int size)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = index, .sll_halen = 6 };

	memcpy(&to.sll_protocol, frame + 12, 2);
	memcpy(to.sll_addr, frame, 6);
	return sendto(a->fd, frame, size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0 ?
	       -errno : 0;
}

/* Looked up each time: the interface may have been made anew, or got another MAC. */
static int interface_now(const struct announce *a, const char *interface, int *index, uint8_t mac[6])
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	if (ioctl(a->fd, SIOCGIFINDEX, &ifr) < 0)
		return -errno;
	*index = ifr.ifr_ifindex;
	if (ioctl(a->fd, SIOCGIFHWADDR, &ifr) < 0)
		return -errno;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EOPNOTSUPP;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	return 0;
}

static int send_vip(const struct announce *a, const struct held *h)
{
	uint8_t mac[6], arp[64], na[128];
	int index = 0, err, e;

	err = interface_now(a, h->interface, &index, mac);
	if (err)
		return err;
	if (h->vip.family == AF_INET6)
		return send_frame(a, index, na, announce_na(na, mac, &h->vip));
	/* Both: some believe only the one, some only the other. */
	err = send_frame(a, index, arp, announce_arp(arp, mac, &h->vip, false));
	e = send_frame(a, index, arp, announce_arp(arp, mac, &h->vip, true));
	return err ? err : e;
}

static void announce_one(const struct announce *a, struct held *h, int64_t now)
{
	int err = send_vip(a, h);
	char text[ADDR_STR];
	unsigned int i = 0;

	if (err && !h->failed)
		log_msg(LOG_WARNING, "announce", "cannot announce %s on %s: %s; still trying",
			addr_str(&h->vip, text), h->interface, strerror(-err));
	h->failed = err != 0;
	while (i < STEPS && h->since + after_ms[i] <= now)
		i++;
	/* What was missed is not made up for. */
	if (i < STEPS)
		h->due = h->since + after_ms[i];
	else
		h->due = h->since + after_ms[STEPS - 1] +
			 ((now - h->since - after_ms[STEPS - 1]) / PERIOD_MS + 1) * PERIOD_MS;
}

int announce_set(struct announce *a, const struct addr *vip, const char *interface, bool held,
		 int64_t now)
{
	struct held *h;
	unsigned int i;

	for (i = 0; i < a->n; i++)
		if (addr_cmp(&a->held[i].vip, vip) == 0 && !strcmp(a->held[i].interface, interface))
			break;
	if (i < a->n) {
		if (!held)
			a->held[i] = a->held[--a->n];
		return 0;
	}
	if (!held)
		return 0;
	if (strlen(interface) >= IFNAME_SIZE || if_nametoindex(interface) == 0)
		return -ENODEV;
	if (a->n == VIPS_ALL)
		return -ENOSPC;
	h = &a->held[a->n++];
	*h = (struct held){ .vip = *vip, .since = now };
	snprintf(h->interface, sizeof(h->interface), "%s", interface);
	announce_one(a, h, now);
	return 0;
}

void announce_tick(struct announce *a, int64_t now)
{
	for (unsigned int i = 0; i < a->n; i++)
		if (a->held[i].due <= now)
			announce_one(a, &a->held[i], now);
}

int64_t announce_deadline(const struct announce *a)
{
	int64_t first = INT64_MAX;

	for (unsigned int i = 0; i < a->n; i++)
		if (a->held[i].due < first)
			first = a->held[i].due;
	return first;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_UTIL_ADDR_H
#define CLUSTERD_UTIL_ADDR_H

/* IP addresses and MAC addresses as plain values. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr {
	uint8_t family;		/* AF_INET, AF_INET6, or 0: none */
	uint8_t b[16];		/* network order; IPv4 uses the first 4, the rest is 0 */
};

#define ADDR_STR 46		/* room for any address as text, NUL included */

/* Parses a numeric IPv4 or IPv6 address, nothing else.  0 or -EINVAL ('a' untouched). */
int addr_parse(struct addr *a, const char *text);

/* Writes the canonical text form into 'buf' and returns 'buf'; "-" for family 0. */
const char *addr_str(const struct addr *a, char buf[ADDR_STR]);

/* <0, 0, >0 as memcmp: family first, then bytes. */
int addr_cmp(const struct addr *a, const struct addr *b);

/* 4, 16 or 0 bytes that count. */
size_t addr_size(const struct addr *a);

/* Unspecified, loopback, multicast or IPv4 broadcast: not usable for a node or a VIP. */
bool addr_is_special(const struct addr *a);

/*
 * The shared Ethernet address that stands for a VIP in flood dispatch: the multicast MAC of the
 * group with the same low bits (RFC 1112 section 6.4: 01:00:5e + 23 bits; RFC 2464 section 7:
 * 33:33 + 32 bits).
 */
void addr_flood_mac(const struct addr *vip, uint8_t mac[6]);

/*
 * The same as the service wants it: that multicast address, or for switches that treat multicast
 * badly a unicast one, made up, which no machine sends from: 02:c1 + the 4 low bytes of the VIP.
 */
void addr_shared_mac(const struct addr *vip, bool unicast, uint8_t mac[6]);

#endif

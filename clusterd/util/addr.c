// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

int addr_parse(struct addr *a, const char *text)
{
	struct addr out = { 0 };

	if (inet_pton(AF_INET, text, out.b) == 1)
		out.family = AF_INET;
	else if (inet_pton(AF_INET6, text, out.b) == 1)
		out.family = AF_INET6;
	else
		return -EINVAL;
	*a = out;
	return 0;
}

const char *addr_str(const struct addr *a, char buf[ADDR_STR])
{
	if (!addr_size(a) || !inet_ntop(a->family, a->b, buf, ADDR_STR))
		strcpy(buf, "-");
	return buf;
}

int addr_cmp(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->b, b->b, addr_size(a));
}

size_t addr_size(const struct addr *a)
{
	if (a->family == AF_INET)
		return 4;
	return a->family == AF_INET6 ? 16 : 0;
}

static bool v4_is_special(const uint8_t *b)
{
	static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

	/* 0/8 "this network", 127/8, 224/4 (RFC 6890); 240/4 is reserved but seen in private use. */
	return b[0] == 0 || b[0] == 127 || (b[0] & 0xf0) == 0xe0 || !memcmp(b, broadcast, 4);
}

bool addr_is_special(const struct addr *a)
{
	static const uint8_t zero[15], v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->family == AF_INET)
		return v4_is_special(a->b);
	if (a->family != AF_INET6)
		return true;
	if (a->b[0] == 0xff)
		return true;
	if (!memcmp(a->b, v4_mapped, 12))	/* never on the wire: nobody could reach it */
		return true;
	return !memcmp(a->b, zero, 15) && a->b[15] <= 1;
}

void addr_flood_mac(const struct addr *vip, uint8_t mac[6])
{
	assert(vip->family == AF_INET || vip->family == AF_INET6);
	if (vip->family == AF_INET) {
		mac[0] = 0x01;
		mac[1] = 0x00;
		mac[2] = 0x5e;
		mac[3] = vip->b[1] & 0x7f;
		mac[4] = vip->b[2];
		mac[5] = vip->b[3];
		return;
	}
	mac[0] = 0x33;
	mac[1] = 0x33;
	memcpy(mac + 2, vip->b + 12, 4);
}

void addr_shared_mac(const struct addr *vip, bool unicast, uint8_t mac[6])
{
	if (!unicast) {
		addr_flood_mac(vip, mac);
		return;
	}
	assert(vip->family == AF_INET || vip->family == AF_INET6);
	mac[0] = 0x02;
	mac[1] = 0xc1;
	memcpy(mac + 2, vip->b + addr_size(vip) - 4, 4);
}

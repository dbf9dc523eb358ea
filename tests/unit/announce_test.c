/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <linux/if_packet.h>

#include "io/announce.h"

/* ---- the kernel, as far as the module sees it ---- */

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
static struct { int index, error; unsigned int sent, size[64]; uint8_t first[64][128]; } world;

int socket(int domain, int type, int protocol)
{
	assert_int_equal(domain, AF_PACKET);
	assert_int_equal(type, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_int_equal(protocol, 0);
	return 1000;
}

unsigned int if_nametoindex(const char *name)
{
	return !strcmp(name, "e0") ? (unsigned int)world.index : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	struct ifreq *ifr;
	va_list ap;

	va_start(ap, request);
	ifr = va_arg(ap, struct ifreq *);
	va_end(ap);
	assert_int_equal(fd, 1000);
	if (world.index == 0 || strcmp(ifr->ifr_name, "e0")) {
		errno = ENODEV;
		return -1;
	}
	if (request == SIOCGIFINDEX) {
		ifr->ifr_ifindex = world.index;
	} else {
		assert_int_equal(request, SIOCGIFHWADDR);
		ifr->ifr_hwaddr.sa_family = 1;
		memcpy(ifr->ifr_hwaddr.sa_data, mac, 6);
	}
	return 0;
}

ssize_t sendto(int fd, const void *b, size_t size, int flags, const struct sockaddr *to, socklen_t len)
{
	const struct sockaddr_ll *ll = (const void *)to;

	assert_int_equal(fd, 1000);
	assert_int_equal(len, sizeof(*ll));
	assert_int_equal(ll->sll_ifindex, world.index);
	assert_true(flags & MSG_DONTWAIT);
	assert_true(world.sent < 64 && size <= 128);
	if (world.error) {
		errno = world.error;
		return -1;
	}
	memcpy(world.first[world.sent], b, size);
	world.size[world.sent++] = (unsigned int)size;
	return (ssize_t)size;
}

static struct addr A(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text), 0);
	return a;
}

static int fresh(void **state)
{
	memset(&world, 0, sizeof(world));
	world.index = 7;
	return 0;
}

/* ---- frames ---- */

static void arp_request(void **state)
{
	static const uint8_t want[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
		0, 1, 0x08, 0, 6, 4, 0, 1,
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 77, 0, 250,
		0, 0, 0, 0, 0, 0, 10, 77, 0, 250,
	};
	struct addr vip = A("10.77.0.250");
	uint8_t f[64];

	memset(f, 0xaa, sizeof(f));
	assert_int_equal(announce_arp(f, mac, &vip, false), 42);
	assert_memory_equal(f, want, 42);
}

static void arp_reply(void **state)
{
	static const uint8_t want[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
		0, 1, 0x08, 0, 6, 4, 0, 2,
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 77, 0, 250,
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 77, 0, 250,
	};
	struct addr vip = A("10.77.0.250");
	uint8_t f[64];

	memset(f, 0xaa, sizeof(f));
	assert_int_equal(announce_arp(f, mac, &vip, true), 42);
	assert_memory_equal(f, want, 42);
}

/* The checksum was worked out by hand (RFC 1071), and by tcpdump, which finds it correct. */
static void advertisement(void **state)
{
	static const uint8_t want[86] = {
		0x33, 0x33, 0, 0, 0, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
		0x60, 0, 0, 0, 0, 32, 58, 255,
		0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x50,
		0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		136, 0, 0xee, 0x76, 0x20, 0, 0, 0,
		0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x50,
		2, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55,
	};
	struct addr vip = A("fd77::250");
	uint8_t f[128];

	memset(f, 0xaa, sizeof(f));
	assert_int_equal(announce_na(f, mac, &vip), 86);
	assert_memory_equal(f, want, 86);
}

/* A frame whose sum would be 0xffff or carry twice: every checksum must verify. */
static void checksums_verify(void **state)
{
	struct addr vip = A("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0");

	for (unsigned int i = 0; i < 65536; i++) {
		uint32_t sum = 32 + 58;
		uint8_t f[128];

		vip.b[14] = (uint8_t)(i >> 8);
		vip.b[15] = (uint8_t)i;
		announce_na(f, mac, &vip);
		for (unsigned int k = 14 + 8; k < 86; k += 2)
			sum += (uint32_t)f[k] << 8 | f[k + 1];
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal(sum, 0xffff);
	}
}

/* ---- the schedule ---- */

static void schedule(void **state)
{
	static const int64_t want[] = { 0, 100, 300, 1000, 3000, 33000, 63000, 93000 };
	struct addr vip = A("10.77.0.250");
	const int64_t start = 123456;
	struct announce *a;

	assert_int_equal(announce_open(&a), 0);
	assert_true(announce_deadline(a) == INT64_MAX);
	assert_int_equal(announce_set(a, &vip, "e0", true, start), 0);
	for (unsigned int i = 0; i < sizeof(want) / sizeof(*want); i++) {
		/* Not a moment early, at the moment yes; saying again that it is held changes nothing. */
		if (i) {
			assert_true(announce_deadline(a) == start + want[i]);
			announce_tick(a, start + want[i] - 1);
			assert_int_equal(announce_set(a, &vip, "e0", true, start + want[i] - 1), 0);
			assert_int_equal(world.sent, 2 * i);
			announce_tick(a, start + want[i]);
		}
		assert_int_equal(world.sent, 2 * (i + 1));
		assert_int_equal(world.first[2 * i][21], 1);		/* a request, then a reply */
		assert_int_equal(world.first[2 * i + 1][21], 2);
	}
	announce_close(a);
}

static void late_tick(void **state)
{
	struct addr vip = A("fd77::250");
	struct announce *a;

	assert_int_equal(announce_open(&a), 0);
	assert_int_equal(announce_set(a, &vip, "e0", true, 1000), 0);
	assert_int_equal(world.sent, 1);
	assert_int_equal(world.size[0], 86);
	announce_tick(a, 1000 + 2000);		/* 100, 300 and 1000 are over: one frame, not three */
	assert_int_equal(world.sent, 2);
	assert_true(announce_deadline(a) == 1000 + 3000);
	announce_tick(a, 1000 + 3000 + 2 * 30000 + 5);
	assert_int_equal(world.sent, 3);
	assert_true(announce_deadline(a) == 1000 + 3000 + 3 * 30000);
	announce_close(a);
}

static void given_up(void **state)
{
	struct addr v4 = A("10.77.0.250"), v6 = A("fd77::250");
	struct announce *a;

	assert_int_equal(announce_open(&a), 0);
	assert_int_equal(announce_set(a, &v4, "e0", false, 0), 0);
	assert_int_equal(announce_set(a, &v4, "e0", true, 0), 0);
	assert_int_equal(announce_set(a, &v6, "e0", true, 50), 0);
	assert_int_equal(world.sent, 3);
	assert_true(announce_deadline(a) == 100);
	assert_int_equal(announce_set(a, &v4, "e0", false, 60), 0);
	assert_true(announce_deadline(a) == 150);
	announce_tick(a, 5000);
	assert_int_equal(world.sent, 4);
	assert_int_equal(world.size[3], 86);
	/* Held once more: from the beginning. */
	assert_int_equal(announce_set(a, &v4, "e0", true, 6000), 0);
	assert_int_equal(world.sent, 6);
	assert_true(announce_deadline(a) == 6100);
	announce_close(a);
}

static void interface_gone(void **state)
{
	struct addr vip = A("10.77.0.250");
	struct announce *a;

	assert_int_equal(announce_open(&a), 0);
	assert_int_equal(announce_set(a, &vip, "nope", true, 0), -ENODEV);
	assert_int_equal(announce_set(a, &vip, "a-name-that-is-too-long", true, 0), -ENODEV);
	assert_true(announce_deadline(a) == INT64_MAX);
	assert_int_equal(announce_set(a, &vip, "e0", true, 0), 0);
	world.index = 0;
	announce_tick(a, 100);
	assert_int_equal(world.sent, 2);
	assert_true(announce_deadline(a) == 300);
	world.index = 9;	/* made anew */
	announce_tick(a, 300);
	assert_int_equal(world.sent, 4);
	world.error = ENETDOWN;
	announce_tick(a, 1000);
	world.error = 0;
	announce_tick(a, 3000);
	assert_int_equal(world.sent, 6);
	announce_close(a);
}

static void full(void **state)
{
	struct addr vip = A("fd77::");
	unsigned int n = 0;
	struct announce *a;
	int err = 0;

	assert_int_equal(announce_open(&a), 0);
	while (!err && n < 100000) {
		world.sent = 0;
		vip.b[14] = (uint8_t)(n >> 8);
		vip.b[15] = (uint8_t)n;
		err = announce_set(a, &vip, "e0", true, 0);
		n += !err;
	}
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(n, SERVICES_MAX * VIPS_MAX);
	vip.b[14] = vip.b[15] = 0;
	assert_int_equal(announce_set(a, &vip, "e0", false, 0), 0);
	vip.b[13] = 1;
	assert_int_equal(announce_set(a, &vip, "e0", true, 0), 0);
	announce_close(a);
	announce_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_request), cmocka_unit_test(arp_reply),
		cmocka_unit_test(advertisement), cmocka_unit_test(checksums_verify),
		cmocka_unit_test_setup(schedule, fresh), cmocka_unit_test_setup(late_tick, fresh),
		cmocka_unit_test_setup(given_up, fresh), cmocka_unit_test_setup(interface_gone, fresh),
		cmocka_unit_test_setup(full, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

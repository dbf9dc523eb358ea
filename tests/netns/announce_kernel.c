/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/announce against the kernel, in network namespaces of its own:
 *
 *     A (the new holder)              C (a neighbour, which still knows the old holder's MAC)
 *     a0 10.8.0.1/24 ------veth------ c0 10.8.0.2/24
 *        fd08::1/64                      fd08::2/64
 *
 * A's rules let no ARP and no ICMPv6 out, as the guard does for a VIP: announcements go all the same.
 *
 * Prints "ok - ", "not ok - " and "skip - " lines; exit 0, 1, or 77 when nothing could be tested.
 */
#include "kernel_test.h"

#include "io/announce.h"

#define VIP4 "10.8.0.250"
#define VIP6 "fd08::250"
#define MAC_A "02:00:00:00:08:01"
#define OLD_MAC "02:00:00:00:08:99"

static int ns_a, ns_c;

static void link_up(void)
{
	run("ip link add a0 address " MAC_A " type veth peer name c0; ip link set c0 netns /proc/%d/fd/%d;"
	    " ip link set a0 up; ip addr add 10.8.0.1/24 dev a0; ip addr add fd08::1/64 dev a0 nodad",
	    getpid(), ns_c);
	go(ns_c);
	run("ip link set c0 up; ip addr add 10.8.0.2/24 dev c0; ip addr add fd08::2/64 dev c0 nodad");
	go(ns_a);
	usleep(500000);		/* until the link is up on both sides */
}

static void set_up(void)
{
	const char *sysctls = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
			      " net.ipv6.conf.default.router_solicitations=0; ip link set lo up";

	ns_c = new_ns();
	run("%s", sysctls);
	ns_a = new_ns();
	run("%s", sysctls);
	link_up();
	run("nft 'table arp g { chain o { type filter hook output priority 0; policy drop; }; };"
	    " table ip6 g { chain o { type filter hook output priority 0; policy drop; }; }'");
}

static bool neighbour_is(const char *vip, const char *mac)
{
	char command[128];
	bool yes;

	snprintf(command, sizeof(command), "ip neigh show %s dev c0", vip);
	go(ns_c);
	yes = prints(command, mac);
	go(ns_a);
	return yes;
}

static void teach_old(void)
{
	go(ns_c);
	run("ip neigh replace " VIP4 " lladdr " OLD_MAC " dev c0 nud reachable;"
	    " ip neigh replace " VIP6 " lladdr " OLD_MAC " dev c0 nud reachable");
	go(ns_a);
	ok(neighbour_is(VIP4, OLD_MAC) && neighbour_is(VIP6, OLD_MAC),
	   "the neighbour knows the old holder");
}

/* 1: ARP request, 2: ARP reply, 3: advertisement of our VIPs; 0: something else; -1: nothing there. */
static int next_frame(int fd)
{
	struct addr v4 = A(VIP4), v6 = A(VIP6);
	uint8_t f[2048];
	ssize_t got = recv(fd, f, sizeof(f), 0);

	if (got < 0)
		return -1;
	if (got >= 42 && f[12] == 8 && f[13] == 6 && !memcmp(f + 28, v4.b, 4) && !memcmp(f + 38, v4.b, 4))
		return f[21];
	if (got >= 86 && f[12] == 0x86 && f[13] == 0xdd && f[54] == 136 && !memcmp(f + 62, v6.b, 16))
		return 3;
	return 0;
}

/* Runs the module as a loop would, for 'ms', and notes when frames of each kind came. */
static void watch(struct announce *a, int fd, int64_t start, int64_t ms, unsigned int count[4],
		  int64_t when[4][16])
{
	int64_t now = now_ms();
	int kind;

	while (now < start + ms) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t until = announce_deadline(a) < start + ms ? announce_deadline(a) : start + ms;

		(void)poll(&p, 1, until > now ? (int)(until - now) : 0);
		now = now_ms();
		while ((kind = next_frame(fd)) >= 0)
			if (kind && kind < 4 && count[kind] < 16)
				when[kind][count[kind]++] = now - start;
		announce_tick(a, now);
	}
}

static void test_schedule(struct announce *a)
{
	static const int64_t want[] = { 0, 100, 300, 1000, 3000 };
	static const char *const name[] = { "", "ARP requests", "ARP replies", "advertisements" };
	struct addr v4 = A(VIP4), v6 = A(VIP6);
	unsigned int count[4] = { 0 };
	int64_t when[4][16] = { { 0 } }, start;
	int fd;

	go(ns_c);
	fd = packet_socket("c0");
	go(ns_a);
	start = now_ms();
	ok(announce_set(a, &v4, "a0", true, start) == 0 && announce_set(a, &v6, "a0", true, start) == 0,
	   "announced");
	watch(a, fd, start, 3600, count, when);
	close(fd);
	for (unsigned int kind = 1; kind < 4; kind++) {
		bool good = count[kind] == 5;

		for (unsigned int i = 0; good && i < 5; i++)
			good = when[kind][i] >= want[i] && when[kind][i] < want[i] + 400;
		ok(good, "%u %s, at %ld, %ld, %ld, %ld and %ld ms", count[kind], name[kind],
		   (long)when[kind][0], (long)when[kind][1], (long)when[kind][2], (long)when[kind][3],
		   (long)when[kind][4]);
	}
	ok(neighbour_is(VIP4, MAC_A) && neighbour_is(VIP6, MAC_A),
	   "the neighbour has learned the new holder");
}

/* How many frames of ours come at once, when it is 'later' ms from now. */
static unsigned int frames_at(struct announce *a, int64_t later)
{
	unsigned int n = 0;
	int fd, kind;

	go(ns_c);
	fd = packet_socket("c0");
	go(ns_a);
	announce_tick(a, now_ms() + later);
	usleep(100000);
	while ((kind = next_frame(fd)) >= 0)
		n += kind > 0 && kind < 4;
	close(fd);
	return n;
}

static void test_interface(struct announce *a)
{
	struct addr v4 = A(VIP4), v6 = A(VIP6);

	run("ip link del a0");
	announce_tick(a, now_ms() + 31000);
	ok(announce_deadline(a) > now_ms() + 31000, "no interface: goes on");
	link_up();
	teach_old();
	ok(frames_at(a, 62000) == 3, "interface made anew: announced again");
	ok(neighbour_is(VIP4, MAC_A) && neighbour_is(VIP6, MAC_A), "and the neighbour learns it again");
	run("ip link set a0 down");
	announce_tick(a, now_ms() + 93000);
	run("ip link set a0 up address 02:00:00:00:08:03");
	usleep(500000);
	teach_old();
	ok(frames_at(a, 124000) == 3 && neighbour_is(VIP4, "02:00:00:00:08:03") &&
	   neighbour_is(VIP6, "02:00:00:00:08:03"), "interface that was down, with another MAC");
	ok(announce_set(a, &v4, "a0", false, now_ms()) == 0 && frames_at(a, 155000) == 1,
	   "one VIP was given up");
	ok(announce_set(a, &v6, "a0", false, now_ms()) == 0 && frames_at(a, 186000) == 0 &&
	   announce_deadline(a) == INT64_MAX, "so was the other");
	ok(announce_set(a, &v4, "nope", true, now_ms()) == -ENODEV, "no such interface");
}

int main(void)
{
	struct announce *a;

	set_up();
	if (announce_open(&a) < 0)
		die("announce_open");
	teach_old();
	test_schedule(a);
	test_interface(a);
	announce_close(a);
	printf("announce_kernel: %u failed\n", failed);
	return failed ? 1 : 0;
}

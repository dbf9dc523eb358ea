/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/netif and io/flows against the kernel, in two network namespaces of its own:
 *
 *     A (the node)                    B (a client)
 *     lo   VIPs                       e1  10.9.0.2/24
 *     e0   10.9.0.1/24 ------veth---- e1  fd09::2/64
 *          fd09::1/64
 *
 * The last 24 bits of a VIP differ from those of e0's addresses: the kernel leaves the solicited-node
 * group of an address that is deleted before its delayed work has joined it, and so would take it from
 * another address with the same group (net/ipv6/addrconf.c).
 *
 * Prints "ok - ", "not ok - " and "skip - " lines; exit 0, 1, or 77 when nothing could be tested.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/flows.h"
#include "io/netif.h"
#include "util/jhash.h"

static unsigned int failed;
static char dir[] = "/tmp/clusterd-netif-XXXXXX", undo[64];
static int ns_a, ns_b;

static void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	fputs(good ? "ok - " : "not ok - ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	failed += !good;
}

static void run(const char *command)
{
	if (system(command) != 0) {
		printf("not ok - set-up failed: %s\n", command);
		exit(1);
	}
}

/* What 'command' prints; to be freed. */
static char *output(const char *command)
{
	size_t size = 0, got;
	char *text = NULL, chunk[4096];
	FILE *p = popen(command, "r"), *f = open_memstream(&text, &size);

	if (!p || !f)
		exit(1);
	while ((got = fread(chunk, 1, sizeof(chunk), p)) > 0)
		fwrite(chunk, 1, got, f);
	pclose(p);
	fclose(f);
	return text;
}

static bool prints(const char *command, const char *want)
{
	char *text = output(command);
	bool found = strstr(text, want) != NULL;

	free(text);
	return found;
}

#define STATE "ip -o addr; ip maddr; ip route show table all; ip -6 route show table all; " \
	"sysctl -a 2>/dev/null | grep -E '^net.ipv[46].(conf|neigh|route|ip_|tcp_mem|tcp_rmem)'; " \
	"bridge fdb; ip -o link"

static char *before;

static void unchanged(const char *after_what)
{
	char *now = output(STATE);
	bool same = !strcmp(now, before);

	ok(same && access(undo, F_OK) < 0, "state is exactly as before after %s", after_what);
	if (!same) {
		char path[160];
		FILE *f;

		snprintf(path, sizeof(path), "%s/was", dir);
		f = fopen(path, "w");
		if (f) {
			fputs(before, f);
			fclose(f);
		}
		snprintf(path, sizeof(path), "%s/now", dir);
		f = fopen(path, "w");
		if (f) {
			fputs(now, f);
			fclose(f);
		}
		snprintf(path, sizeof(path), "diff %s/was %s/now; rm -f %s/was %s/now",
			 dir, dir, dir, dir);
		(void)!system(path);
	}
	free(now);
}

static struct addr A(const char *text)
{
	struct addr a;

	if (addr_parse(&a, text) < 0)
		exit(1);
	return a;
}

static void go(int ns)
{
	if (setns(ns, CLONE_NEWNET) < 0)
		exit(1);
}

static socklen_t fill(struct sockaddr_storage *ss, const char *text, uint16_t port)
{
	struct addr a = A(text);
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *s4 = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = a.family;
	if (a.family == AF_INET) {
		s4->sin_port = htons(port);
		memcpy(&s4->sin_addr, a.b, 4);
		return sizeof(*s4);
	}
	s6->sin6_port = htons(port);
	memcpy(&s6->sin6_addr, a.b, 16);
	return sizeof(*s6);
}

static struct netif *open_netif(void)
{
	struct netif *n;

	if (netif_open(&n, undo) < 0) {
		printf("not ok - netif_open\n");
		exit(1);
	}
	return n;
}

static void test_info(void)
{
	struct netif *n = open_netif();
	struct addr skip = A("10.9.0.1"), a;
	struct netif_info i;
	uint8_t mac[6] = { 2, 0, 0, 0, 9, 1 };

	ok(netif_info(n, "e0", NULL, 0, &i) == 0 && i.up && i.mtu == 1400 && i.index > 0 &&
	   !memcmp(i.mac, mac, 6), "info: link");
	a = A("fe80::ff:fe00:901");
	ok(addr_cmp(&i.addr4, &skip) == 0 && addr_cmp(&i.addr6, &a) == 0, "info: addresses");
	run("ip addr add 10.9.0.77/24 dev e0");
	a = A("10.9.0.77");
	ok(netif_info(n, "e0", &skip, 1, &i) == 0 && addr_cmp(&i.addr4, &a) == 0,
	   "info: skips VIPs");
	run("ip addr del 10.9.0.77/24 dev e0; ip link set e0 down");
	ok(netif_info(n, "e0", NULL, 0, &i) == 0 && !i.up, "info: interface that is down");
	run("ip link set e0 up; ip addr replace fd09::1/64 dev e0");
	ok(netif_info(n, "nope", NULL, 0, &i) == -ENODEV && strstr(netif_strerror(n), "nope"),
	   "info: no such interface: %s", netif_strerror(n));
	netif_close(n);
}

static void test_vip(const char *vip, const char *where, const char *shown)
{
	struct netif *n = open_netif();
	struct addr v = A(vip);
	char list[64], del[96];

	snprintf(list, sizeof(list), "ip -o addr show dev %s", where);
	ok(netif_vip_add(n, &v, "e0") == 0 && prints(list, shown), "vip %s: is there", vip);
	ok(netif_vip_add(n, &v, "e0") == 0, "vip %s: adding it twice is fine", vip);
	ok(netif_vip_del(n, &v, "e0") == 0, "vip %s: deleted", vip);
	unchanged("vip add and del");

	/* Taken away by somebody, put back, and still ours. */
	netif_vip_add(n, &v, "e0");
	snprintf(del, sizeof(del), "ip addr del %s/%d dev %s", vip, v.family == AF_INET ? 32 : 128,
		 where);
	run(del);
	ok(netif_vip_add(n, &v, "e0") == 0 && prints(list, shown), "vip %s: put back", vip);
	run(del);
	ok(netif_undo(n) == 0, "vip %s: undo when somebody has removed it", vip);
	unchanged("that");

	/* Somebody else's stays. */
	memcpy(strstr(del, " del ") + 1, "add", 3);
	run(del);
	ok(netif_vip_add(n, &v, "e0") == 0 && netif_vip_del(n, &v, "e0") == 0 &&
	   netif_undo(n) == 0 && prints(list, vip), "vip %s: somebody else's stays", vip);
	memcpy(strstr(del, " add ") + 1, "del", 3);
	run(del);
	unchanged("that");
	netif_close(n);
}

static void test_vip_in_use(void)
{
	struct netif *n = open_netif();
	struct addr v4 = A("10.9.0.1"), v6 = A("fd09::1"), v = A("10.9.1.1"), w = A("fd09::99");

	ok(netif_vip_add(n, &v4, "e0") == -EADDRINUSE, "vip is the interface's address: %s",
	   netif_strerror(n));
	ok(netif_vip_add(n, &v6, "e0") == -EADDRINUSE, "the same for IPv6");
	ok(netif_vip_add(n, &w, "nope") == -ENODEV, "vip on no interface: %s", netif_strerror(n));
	ok(netif_vip_del(n, &v, "e0") == 0, "deleting what is not there");
	netif_close(n);
	unchanged("refused ones");
}

static void test_maddr(void)
{
	static const uint8_t mac[6] = { 1, 0, 0x5e, 9, 8, 7 };
	struct netif *n = open_netif();

	ok(netif_maddr_add(n, "e0", mac) == 0 && netif_maddr_add(n, "e0", mac) == 0 &&
	   prints("ip maddr show dev e0", "01:00:5e:09:08:07"), "maddr: joined");
	ok(netif_maddr_del(n, "e0", mac) == 0 && netif_maddr_del(n, "e0", mac) == 0,
	   "maddr: left");
	unchanged("maddr add and del");
	ok(netif_maddr_add(n, "nope", mac) == -ENODEV, "maddr: no interface: %s",
	   netif_strerror(n));
	unchanged("that");
	run("ip maddr add 01:00:5e:09:08:07 dev e0");
	ok(netif_maddr_add(n, "e0", mac) == 0 && netif_undo(n) == 0 &&
	   prints("ip maddr show dev e0", "01:00:5e:09:08:07"), "maddr: somebody else's stays");
	run("ip maddr del 01:00:5e:09:08:07 dev e0");
	unchanged("that");
	netif_close(n);
}

static void test_sysctl(void)
{
	struct netif *n = open_netif();

	run("sysctl -qw net.ipv4.conf.e0.arp_announce=0");
	ok(netif_sysctl_set(n, "net/ipv4/conf/e0/arp_announce", "2") == 0 &&
	   prints("sysctl -n net.ipv4.conf.e0.arp_announce", "2"), "sysctl: set");
	ok(netif_sysctl_set(n, "net/ipv4/conf/e0/arp_announce", "1") == 0 &&
	   netif_sysctl_set(n, "net/ipv4/conf/e0/arp_announce", "1") == 0 &&
	   prints("sysctl -n net.ipv4.conf.e0.arp_announce", "1"), "sysctl: set again");
	ok(netif_sysctl_set(n, "net/ipv4/tcp_rmem", "4096  65536 131072") == 0 &&
	   prints("sysctl -n net.ipv4.tcp_rmem", "4096\t65536\t131072"), "sysctl: a list");
	ok(netif_undo(n) == 0, "sysctl: undone");
	unchanged("sysctls");

	netif_sysctl_set(n, "net/ipv4/conf/e0/arp_announce", "2");
	run("sysctl -qw net.ipv4.conf.e0.arp_announce=1");
	ok(netif_undo(n) == 0 && prints("sysctl -n net.ipv4.conf.e0.arp_announce", "1"),
	   "sysctl: a later change of somebody else's stays");
	run("sysctl -qw net.ipv4.conf.e0.arp_announce=0");

	ok(netif_sysctl_set(n, "net/ipv4/conf/nope/arp_announce", "1") == -ENOENT,
	   "sysctl: not there: %s", netif_strerror(n));
	ok(netif_sysctl_set(n, "net/ipv4/ip_forward", "soup") == -EINVAL,
	   "sysctl: bad value: %s", netif_strerror(n));
	ok(netif_sysctl_set(n, "net/../kernel/hostname", "x") == -EINVAL &&
	   netif_sysctl_set(n, "/etc/passwd", "x") == -EINVAL, "sysctl: only below /proc/sys");
	unchanged("refused ones");
	netif_close(n);
}

static void test_unicast_mac(void)
{
	static const uint8_t mac[6] = { 2, 0xc1, 9, 8, 7, 6 };
	struct netif *n = open_netif();
	const char *show = "bridge fdb show dev e0";

	ok(netif_maddr_add(n, "e0", mac) == 0 && netif_maddr_add(n, "e0", mac) == 0 &&
	   prints(show, "02:c1:09:08:07:06 self permanent"), "unicast mac: added");
	run("bridge fdb del 02:c1:09:08:07:06 dev e0 self");
	ok(netif_maddr_add(n, "e0", mac) == 0 && prints(show, "02:c1:09:08:07:06"),
	   "unicast mac: put back");
	ok(netif_maddr_del(n, "e0", mac) == 0 && netif_maddr_del(n, "e0", mac) == 0,
	   "unicast mac: removed");
	unchanged("unicast mac add and del");
	ok(netif_maddr_add(n, "nope", mac) == -ENODEV, "unicast mac: no interface: %s",
	   netif_strerror(n));
	unchanged("that");
	run("bridge fdb add 02:c1:09:08:07:06 dev e0 self permanent");
	ok(netif_maddr_add(n, "e0", mac) == 0 && netif_undo(n) == 0 &&
	   prints(show, "02:c1:09:08:07:06"), "unicast mac: somebody else's stays");
	run("bridge fdb del 02:c1:09:08:07:06 dev e0 self");
	unchanged("that");
	netif_close(n);
}

static int packet_socket(const char *interface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(interface) };
	const struct timeval limit = { .tv_usec = 100000 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		exit(1);
	return fd;
}

/* Does a membership report for the group come by within three seconds?  RFC 3376, RFC 3810. */
static bool reported(int fd, const struct addr *group)
{
	uint8_t f[2048];

	for (int i = 0; i < 30; i++) {
		ssize_t got = recv(fd, f, sizeof(f), 0);
		bool v4 = got > 34 && f[12] == 8 && f[13] == 0 && f[23] == IPPROTO_IGMP;
		/* hop-by-hop header with the router alert, then ICMPv6 type 143 */
		bool v6 = got > 70 && f[12] == 0x86 && f[13] == 0xdd && f[54] == IPPROTO_ICMPV6 &&
			  f[62] == 143;

		if ((group->family == AF_INET ? v4 : v6) &&
		    memmem(f + 34, (size_t)got - 34, group->b, addr_size(group)))
			return true;
	}
	return false;
}

static void test_group(void)
{
	struct addr v4 = A("10.137.9.1"), v6 = A("fd09:9::12:34"), g4, g6, want4 = A("239.9.9.1"),
		    want6 = A("ff05::12:34");
	struct netif *n = open_netif();
	uint8_t mac[6];
	char text[32];
	int fd4, fd6;

	netif_group_of(&v4, &g4);
	netif_group_of(&v6, &g6);
	ok(addr_cmp(&g4, &want4) == 0 && addr_cmp(&g6, &want6) == 0, "group: from the VIP");
	go(ns_b);
	fd4 = packet_socket("e1");
	fd6 = packet_socket("e1");
	go(ns_a);
	ok(netif_group_join(n, "e0", &g4) == 0 && netif_group_join(n, "e0", &g4) == 0 &&
	   netif_group_join(n, "e0", &g6) == 0 &&
	   prints("ip maddr show dev e0", "inet  239.9.9.1\n") &&
	   prints("ip maddr show dev e0", "inet6 ff05::12:34\n"), "group: joined, once");
	addr_flood_mac(&v4, mac);
	snprintf(text, sizeof(text), "link  01:00:5e:%02x:%02x:%02x\n", mac[3], mac[4], mac[5]);
	ok(prints("ip maddr show dev e0", text), "group: its MAC is the VIP's");
	addr_flood_mac(&v6, mac);
	snprintf(text, sizeof(text), "link  33:33:%02x:%02x:%02x:%02x\n", mac[2], mac[3], mac[4],
		 mac[5]);
	ok(prints("ip maddr show dev e0", text), "group: the same for IPv6");
	ok(reported(fd4, &g4), "group: switches are told by IGMP");
	ok(reported(fd6, &g6), "group: switches are told by MLD");
	close(fd4);
	close(fd6);
	ok(netif_group_join(n, "nope", &g4) == -ENODEV && netif_group_join(n, "e0", &v4) == -EINVAL,
	   "group: no interface, no group: %s", netif_strerror(n));
	ok(netif_undo(n) == 0, "group: left");
	unchanged("groups");

	run("ip link add x0 type veth peer name x1; ip link set x0 up");
	ok(netif_group_join(n, "x0", &g4) == 0 && prints("ip maddr show dev x0", "239.9.9.1"),
	   "group: on another interface");
	run("ip link del x0; ip link add x0 type veth peer name x1; ip link set x0 up");
	ok(netif_group_join(n, "x0", &g4) == 0 && prints("ip maddr show dev x0", "239.9.9.1"),
	   "group: joined again when the interface was made anew");
	run("ip link del x0");
	netif_close(n);
	unchanged("that");
}

static void change_everything(struct netif *n)
{
	static const uint8_t m1[6] = { 1, 0, 0x5e, 1, 1, 1 }, m2[6] = { 0x33, 0x33, 0, 0, 1, 1 };
	static const uint8_t m3[6] = { 2, 0xc1, 0, 0, 1, 1 };
	struct addr v4 = A("10.9.9.1"), v6 = A("fd09:9::71"), l4 = A("10.9.9.3"), l6 = A("fd09:9::73");

	ok(netif_vip_add(n, &v4, "e0") == 0 && netif_vip_add(n, &v6, "e0") == 0 &&
	   netif_maddr_add(n, "e0", m1) == 0 && netif_maddr_add(n, "e0", m2) == 0 &&
	   netif_maddr_add(n, "e0", m3) == 0 &&
	   netif_vip_lease(n, &l4, 100) == 0 && netif_vip_lease(n, &l6, 100) == 0 &&
	   netif_route_set(n, &l4, "e0", true, 100) == 0 &&
	   netif_route_set(n, &l6, "e0", true, 100) == 0 &&
	   netif_sysctl_set(n, "net/ipv4/conf/e0/arp_announce", "2") == 0 &&
	   netif_sysctl_set(n, "net/ipv4/conf/all/rp_filter", "2") == 0, "change everything");
}

static void in_child(void (*f)(struct netif *n))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		failed = 0;
		f(open_netif());
		_exit(failed ? 1 : 0);	/* no close, no undo: a crash */
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a process crashed");
}

static void test_crash(void)
{
	struct netif *n;
	struct stat st;
	FILE *f;

	in_child(change_everything);
	ok(stat(undo, &st) == 0 && (st.st_mode & 0777) == 0600, "undo file is there, mode 0600");
	n = open_netif();
	ok(netif_undo(n) == 0, "the next one undoes it");
	netif_close(n);
	unchanged("a crash and undo");

	in_child(change_everything);
	in_child(change_everything);	/* restarted over it, and crashed again */
	n = open_netif();
	change_everything(n);
	ok(netif_undo(n) == 0, "undone after two crashes");
	netif_close(n);
	unchanged("two crashes and undo");

	/* Crashed between the note and the change, and a file that is not quite ours. */
	f = fopen(undo, "w");
	if (!f)
		exit(1);
	fputs("route\t10.9.9.2\tlo\nroute\tfd09:9::72\te0\nroute\tfd09:9::72\tgone0\n"
	      "link\tvxlan\tgone0\nlink\tvxlan\te0\nlink\te0\nlink\t\te0\n"
	      "maddr\t02:c1:02:02:02:02\te0\nmaddr\t02:c1:02:02:02:02\tgone0\n"
	      "vip\t10.9.9.2\tlo\nvip\tfd09:9::72\te0\nvip\tfd09:9::72\tgone0\n"
	      "maddr\t01:00:5e:02:02:02\te0\nmaddr\t01:00:5e:02:02:02\tgone0\n"
	      "sysctl\tnet/ipv4/conf/e0/arp_announce\t0\t2\n"
	      "sysctl\tnet/ipv4/conf/gone0/arp_announce\t0\t2\n"
	      "soup\nvip\n\nvip\t10.9.9.9.9\tlo\nmaddr\t01:00\te0\nsysctl\t../x\t0\t1\n", f);
	fclose(f);
	n = open_netif();
	ok(netif_undo(n) == 0, "undo of changes that were never made: %s", netif_strerror(n));
	netif_close(n);
	unchanged("that");
}

/* One change cannot be noted: then it must not be made either. */
static void test_no_undo_file(void)
{
	struct addr v = A("10.9.9.1");
	struct netif *n;

	if (netif_open(&n, "/proc/self/undo") < 0) {
		ok(false, "netif_open");
		return;
	}
	ok(netif_vip_add(n, &v, "e0") < 0, "no undo file, no change: %s", netif_strerror(n));
	netif_close(n);
	unchanged("that");
}

/* ---- with a lifetime ---- */

static const char *const leased[4] = {
	"ip -o -4 addr show dev lo | grep -c 10.9.9.1/32",
	"ip -o -6 addr show dev lo | grep -c fd09:9::71/128",
	"ip -4 route show table main proto 193 | grep -c '^10.9.9.1 dev lo.* src 10.9.9.1 metric 193'",
	"ip -6 route show table main proto 193 | grep -c '^fd09:9::71 dev e0 metric 193 expires'",
};

/* Which of the four are there. */
static unsigned int there(void)
{
	unsigned int mask = 0;

	for (unsigned int i = 0; i < 4; i++)
		mask |= prints(leased[i], "1") ? 1u << i : 0;
	return mask;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A datagram from B to the VIP is delivered in A. */
static bool delivered(const char *vip)
{
	const struct timeval limit = { .tv_sec = 2 };
	struct sockaddr_storage to;
	socklen_t len = fill(&to, vip, 4321);
	int in = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), out;
	char c = 'x';
	bool good;

	if (in < 0 || bind(in, (void *)&to, len) < 0 ||
	    setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		exit(1);
	go(ns_b);
	out = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	good = out >= 0 && sendto(out, &c, 1, 0, (void *)&to, len) == 1;
	go(ns_a);
	good = good && recv(in, &c, 1, 0) == 1;
	close(out);
	close(in);
	return good;
}

/* An emulated machine is so much slower that even a look takes long. */
static unsigned int slow(void)
{
	const char *text = getenv("LAB_SLOW");
	int n = text ? atoi(text) : 1;

	return n >= 1 && n <= 100 ? (unsigned int)n : 1;
}

static bool renew(struct netif *n, const struct addr *v4, const struct addr *v6)
{
	unsigned int s = 2 * slow();

	return netif_vip_lease(n, v4, s) == 0 && netif_vip_lease(n, v6, s) == 0 &&
	       netif_route_set(n, v4, "e0", true, s) == 0 && netif_route_set(n, v6, "e0", true, s) == 0;
}

static void test_lease(void)
{
	struct addr v4 = A("10.9.9.1"), v6 = A("fd09:9::71");
	struct netif *n = open_netif();
	int64_t last;
	unsigned int mask;
	unsigned int early = 0;

	ok(netif_route_set(n, &v4, "e0", true, 2) == -EINVAL, "route: not without the address: %s",
	   netif_strerror(n));
	ok(netif_vip_lease(n, &v4, 0) == -EINVAL && netif_route_set(n, &v6, "e0", true, 0) == -EINVAL &&
	   netif_route_set(n, &v6, "nope", true, 2) == -ENODEV, "route: bad calls: %s",
	   netif_strerror(n));
	unchanged("refused ones");
	/* Makes the kernel look for expired routes in half a minute, not before. */
	run("ip -6 route add fd09:77::/64 dev e0 expires 1000");
	ok(renew(n, &v4, &v6) && there() == 15, "lease: addresses and routes are there");
	ok(prints("ip -o -6 addr show dev lo", "nodad deprecated dynamic noprefixroute"),
	   "lease: IPv6 is no source for others");
	ok(delivered("10.9.9.1") && delivered("fd09:9::71"), "lease: packets are delivered here");
	for (int i = 0; i < 4; i++) {
		usleep(800000 * slow());
		early |= there() ^ 15;
		ok(renew(n, &v4, &v6), "lease: renewed");
	}
	last = now_ms();
	ok(!early, "lease: nothing vanished while it was renewed (%x)", early);
	usleep(1000000 * slow());
	mask = there();
	ok(now_ms() - last > 1900 * (int64_t)slow() || mask == 15, "lease: lives its time");
	do {
		usleep(200000);
		mask = there();
	} while (mask && now_ms() - last < 8000 * (int64_t)slow());
	ok(mask == 0, "lease: all is gone %ld ms after the last call (left: %x)",
	   (long)(now_ms() - last), mask);
	ok(renew(n, &v4, &v6) && there() == 15, "lease: put back after it has run out");
	ok(netif_route_set(n, &v4, "e0", false, 0) == 0 && netif_route_set(n, &v6, "e0", false, 0) == 0 &&
	   netif_route_set(n, &v6, "e0", false, 0) == 0 && there() == 3, "route: withdrawn at once");
	ok(netif_vip_del(n, &v4, "lo") == 0 && netif_vip_del(n, &v6, "lo") == 0 && there() == 0,
	   "lease: deleted");
	ok(netif_undo(n) == 0, "lease: undone");
	run("ip -6 route del fd09:77::/64 dev e0");
	unchanged("leases");

	run("ip addr add 10.9.9.1/32 dev lo; ip addr add fd09:9::71/128 dev lo");
	ok(netif_vip_lease(n, &v4, 1) == 0 && netif_vip_lease(n, &v6, 1) == 0 && netif_undo(n) == 0 &&
	   prints("ip -o addr show dev lo", "10.9.9.1/32 scope global lo\\       valid_lft forever") &&
	   prints("ip -o addr show dev lo", "fd09:9::71/128 scope global \\       valid_lft forever"),
	   "lease: somebody else's address stays as it is");
	run("ip addr del 10.9.9.1/32 dev lo; ip addr del fd09:9::71/128 dev lo");
	unchanged("that");
	netif_close(n);
}

/* ---- flows ---- */

#define BUCKETS 256
#define SEED    0x12345678

static int sock(int family)
{
	const struct timeval limit = { .tv_sec = 5 };
	const int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		exit(1);
	return fd;
}

static int listen_at(const char *addr, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = fill(&ss, addr, port);
	int fd = sock(ss.ss_family);

	if (bind(fd, (void *)&ss, len) < 0 || listen(fd, 64) < 0) {
		printf("not ok - listen at %s %u: %s\n", addr, port, strerror(errno));
		exit(1);
	}
	return fd;
}

struct pair { int client, server; };

/* From 'src' port 'sport' in B to a listener in A. */
static struct pair connect_pair(int listener, const char *src, uint16_t sport, const char *dst,
				uint16_t dport)
{
	struct sockaddr_storage from, to;
	socklen_t len = fill(&from, src, sport);
	struct pair p;

	fill(&to, dst, dport);
	go(ns_b);
	p.client = sock(from.ss_family);
	if (bind(p.client, (void *)&from, len) < 0 || connect(p.client, (void *)&to, len) < 0) {
		printf("not ok - connect to %s %u: %s\n", dst, dport, strerror(errno));
		exit(1);
	}
	go(ns_a);
	p.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (p.server < 0)
		exit(1);
	return p;
}

static unsigned int sum(const uint16_t *count)
{
	unsigned int s = 0;

	for (unsigned int i = 0; i < BUCKETS; i++)
		s += count[i];
	return s;
}

#define PER_KIND 20

static uint16_t want[2][BUCKETS], got[2][BUCKETS];
static uint8_t all[BUCKETS / 8], some[BUCKETS / 8];
static struct pair conn[3][PER_KIND];

static void open_connections(int l4, int l6, int lr)
{
	struct addr c4 = A("10.9.0.2"), c6 = A("fd09::2");

	for (unsigned int i = 0; i < PER_KIND; i++) {
		uint16_t sport = (uint16_t)(20000 + 77 * i);

		conn[0][i] = connect_pair(l4, "10.9.0.2", sport, "10.9.9.1", 80);
		want[0][jhash_bucket(&c4, sport, true, BUCKETS, SEED)]++;
		conn[1][i] = connect_pair(l6, "fd09::2", sport, "fd09:9::71", 80);
		want[0][jhash_bucket(&c6, sport, true, BUCKETS, SEED)]++;
		conn[2][i] = connect_pair(lr, "10.9.0.2", sport, "10.9.9.1", 8005);
		want[1][jhash_bucket(&c4, sport, false, BUCKETS, SEED + 1)]++;
	}
}

static void close_some(void)
{
	const struct linger reset = { .l_onoff = 1 };
	char c;

	/* Client closes first: CLOSE_WAIT here is alive until the server closes too. */
	close(conn[0][0].client);
	(void)!read(conn[0][0].server, &c, 1);
	/* Both closed: TIME_WAIT. */
	close(conn[0][1].client);
	(void)!read(conn[0][1].server, &c, 1);
	close(conn[0][1].server);
	/* Reset: CLOSE. */
	setsockopt(conn[1][0].client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(conn[1][0].client);
	(void)!read(conn[1][0].server, &c, 1);
	usleep(100000);
}

static void count_flows(struct flows *f, struct conf_service conf[2])
{
	struct flows_service s[2] = {
		{ .conf = &conf[0], .seed = SEED, .buckets = BUCKETS, .hash = conf[0].hash,
		  .wanted = all, .count = got[0] },
		{ .conf = &conf[1], .seed = SEED + 1, .buckets = BUCKETS, .hash = conf[1].hash,
		  .wanted = all, .count = got[1] },
	};
	unsigned int n_some = 0;
	int err;

	err = flows_count(f, s, 2);
	ok(err == 0 && !memcmp(got, want, sizeof(got)) &&
	   sum(got[0]) == 2 * PER_KIND && sum(got[1]) == PER_KIND,
	   "flows: every connection is counted in its bucket (%u, %u)", sum(got[0]), sum(got[1]));

	for (unsigned int b = 0; b < BUCKETS; b++)
		n_some += mask_has(some[b / 8], b % 8 + 1) ? want[0][b] : 0u;
	s[0].wanted = some;
	err = flows_count(f, s, 1);
	ok(err == 0 && sum(got[0]) == n_some && n_some > 0 &&
	   n_some < 2 * PER_KIND, "flows: only wanted buckets (%u of %u)", sum(got[0]),
	   2 * PER_KIND);
	s[0].wanted = all;

	conf[0].n_vips = 1;
	ok(flows_count(f, s, 1) == 0 && sum(got[0]) == PER_KIND, "flows: IPv4 VIP only");
	conf[0].vip[0] = conf[0].vip[1];
	ok(flows_count(f, s, 1) == 0 && sum(got[0]) == PER_KIND, "flows: IPv6 VIP only");
	conf[0].vip[0] = A("10.9.9.1");
	conf[0].n_vips = 2;
	conf[0].port[0].proto = IPPROTO_UDP;
	ok(flows_count(f, s, 1) == 0 && sum(got[0]) == 0, "flows: not for a UDP port");
	conf[0].port[0].proto = IPPROTO_TCP;

	close_some();
	err = flows_count(f, s, 2);
	ok(err == 0 && sum(got[0]) == 2 * PER_KIND - 2,
	   "flows: half-closed counts, closed and reset do not (%u)", sum(got[0]));
}

static void test_flows(void)
{
	struct conf_service conf[2] = {
		{ .name = "web", .n_vips = 2, .vip = { A("10.9.9.1"), A("fd09:9::71") },
		  .n_ports = 1, .port = { { IPPROTO_TCP, 80, 80 } }, .hash = HASH_SOURCE_PORT },
		{ .name = "range", .n_vips = 1, .vip = { A("10.9.9.1") },
		  .n_ports = 2, .port = { { IPPROTO_UDP, 53, 53 }, { IPPROTO_TCP, 8000, 8010 } },
		  .hash = HASH_SOURCE },
	};
	struct netif *n = open_netif();
	struct flows *f;
	int other, err;

	if (system("nft 'add table inet t; add chain inet t c { type filter hook input priority 0; };"
		   " add rule inet t c ct state new accept' 2>/dev/null") != 0) {
		printf("skip - flows: no nft or no conntrack\n");
		netif_close(n);
		return;
	}
	ok(netif_vip_add(n, &conf[0].vip[0], "e0") == 0 &&
	   netif_vip_add(n, &conf[0].vip[1], "e0") == 0, "flows: VIPs are there");
	err = flows_open(&f);
	ok(err == 0, "flows: opened");
	if (err)
		return;
	memset(all, 0xff, sizeof(all));
	memset(some, 0x55, sizeof(some));
	open_connections(listen_at("10.9.9.1", 80), listen_at("fd09:9::71", 80),
			 listen_at("10.9.9.1", 8005));
	/* To a port, and to an address, that is no service's. */
	other = listen_at("10.9.9.1", 81);
	connect_pair(other, "10.9.0.2", 30000, "10.9.9.1", 81);
	other = listen_at("10.9.0.1", 80);
	connect_pair(other, "10.9.0.2", 30001, "10.9.0.1", 80);
	count_flows(f, conf);
	flows_close(f);
	ok(netif_undo(n) == 0, "flows: undone");
	netif_close(n);
	run("nft delete table inet t");
}

static void set_up(void)
{
	char command[128];

	if (unshare(CLONE_NEWNET) < 0) {
		printf("skip - no network namespace: %s\n", strerror(errno));
		exit(77);
	}
	ns_b = open("/proc/self/ns/net", O_RDONLY);
	if (unshare(CLONE_NEWNET) < 0 || ns_b < 0)
		exit(1);
	ns_a = open("/proc/self/ns/net", O_RDONLY);
	if (ns_a < 0 || !mkdtemp(dir))
		exit(1);
	snprintf(undo, sizeof(undo), "%s/undo", dir);
	for (int i = 0; i < 2; i++) {
		go(i ? ns_a : ns_b);
		run("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
		    " net.ipv6.conf.default.router_solicitations=0; ip link set lo up");
	}
	run("ip link add e0 mtu 1400 address 02:00:00:00:09:01 type veth peer name e1");
	snprintf(command, sizeof(command), "ip link set e1 netns /proc/%d/fd/%d", getpid(), ns_b);
	run(command);
	run("ip addr add 10.9.0.1/24 dev e0; ip addr add fd09::1/64 dev e0; ip link set e0 up");
	go(ns_b);
	run("ip addr add 10.9.0.2/24 dev e1; ip addr add fd09::2/64 dev e1; ip link set e1 up;"
	    " ip route add 10.9.9.0/24 via 10.9.0.1; ip route add fd09:9::/64 via fd09::1");
	go(ns_a);
	usleep(300000);		/* routes of a link that just came up */
}

int main(void)
{
	set_up();
	test_info();
	usleep(300000);
	before = output(STATE);
	test_vip("10.9.9.1", "lo", "inet 10.9.9.1/32 scope host lo");
	test_vip("fd09:9::71", "e0", "inet6 fd09:9::71/128 scope global nodad deprecated");
	test_vip_in_use();
	test_maddr();
	test_unicast_mac();
	test_group();
	test_lease();
	test_sysctl();
	test_crash();
	test_no_undo_file();
	test_flows();
	free(before);
	if (rmdir(dir) < 0)
		ok(false, "nothing left in %s", dir);
	printf("netif_kernel: %u failed\n", failed);
	return failed ? 1 : 0;
}

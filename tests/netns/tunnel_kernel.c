/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/tunnel against the kernel, in network namespaces of its own:
 *
 *     C (client)                 A (node 1)                              B (node 2)
 *     c0 10.8.0.2/24 --veth-- a0 10.8.0.1/24   a1 10.9.0.1/24 --veth-- b1 10.9.0.2/24
 *        fd08::2/64              fd08::1/64       fd09::1/64              fd09::2/64
 *                                lo VIPs                                  lo VIPs
 *
 * C sends datagrams to a VIP; A hands them to B through a tunnel, by 'fwd' at ingress or by 'dup'
 * after prerouting; a socket in B gets them.  Every link has an MTU of 1500 bytes.
 *
 * Prints "ok - ", "not ok - " and "skip - " lines; exit 0, 1, or 77 when nothing could be tested.
 */
#include "kernel_test.h"

#include <netinet/ip.h>
#include <sys/wait.h>

#include "io/netif.h"
#include "io/tunnel.h"

#define VIP4 "10.9.9.1"
#define VIP6 "fd09:9::71"
#define PORT 4321

static char dir[] = "/tmp/clusterd-tunnel-XXXXXX", undo[2][64];
static int ns_a, ns_b, ns_c;

/* What becomes of a packet of the path's full size that must not be fragmented. */
enum fate { PASSES, TOLD, LOST };
static const char *const fate_text[] = { "passes", "is refused with its size", "is lost" };

struct way {
	const char *name, *probe;	/* probe: the driver that it needs */
	bool underlay6, vxlan;
	enum fate full[2][2];		/* [inner IPv6][dup] */
};

/*
 * ipip behind 'dup', which sets DF: the driver says so to the client.  Outer IPv6 packets are never
 * fragmented: behind 'dup' the device's MTU says so to the client, behind 'fwd' ip6tnl itself, and
 * only for IPv6, because an ICMP error needs a route on the packet.
 */
static const struct way ways[] = {
	{ "vxlan over IPv4", "vxlan id 1 remote 10.9.0.2 dstport 4789", false, true,
	  { { PASSES, PASSES }, { PASSES, PASSES } } },
	{ "vxlan over IPv6", "vxlan id 1 remote fd09::2 dstport 4789", true, true,
	  { { LOST, TOLD }, { LOST, TOLD } } },
	{ "ipip and sit", "ipip remote 10.9.0.2", false, false,
	  { { PASSES, TOLD }, { PASSES, PASSES } } },
	{ "ip6tnl", "ip6tnl mode any remote fd09::2", true, false,
	  { { LOST, TOLD }, { TOLD, TOLD } } },
};

static struct tunnel_want want_of(const struct way *w, bool at_b)
{
	struct tunnel_want t = {
		.self = at_b ? 2 : 1, .peer = at_b ? 1 : 2,
		.local = A(w->underlay6 ? "fd09::1" : "10.9.0.1"),
		.remote = A(w->underlay6 ? "fd09::2" : "10.9.0.2"),
		.ipip4 = !w->vxlan, .ipip6 = !w->vxlan, .vxlan = w->vxlan, .vxlan_port = 4789,
	};

	if (at_b) {
		struct addr a = t.local;

		t.local = t.remote;
		t.remote = a;
	}
	return t;
}

static struct netif *open_netif(int side)
{
	struct netif *n;

	if (netif_open(&n, undo[side]) < 0)
		die("netif_open");
	return n;
}

#define STATE "ip -d -o link; ip -o addr; ip -4 route show table all; ip -6 route show table all | sort; " \
	"ip neigh show nud permanent; cd /proc/sys/net; grep . ipv4/conf/*/rp_filter " \
	"ipv6/conf/*/disable_ipv6 ipv6/conf/*/a*_[grm]* ipv6/route/gc_interval 2>/dev/null"

static char *before;

static void save(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f)
		die(path);
	fputs(text, f);
	fclose(f);
}

static bool same_state(const char *was)
{
	char *now = output(STATE);
	bool same = !strcmp(now, was);

	if (!same) {
		save("was", was);
		save("now", now);
		run("cd %s; diff was now | sed 's/^/# /'; rm was now", dir);
	}
	free(now);
	return same;
}

static void unchanged(const char *after_what)
{
	ok(same_state(before) && access(undo[0], F_OK) < 0, "state is exactly as before after %s",
	   after_what);
}

/* ---- traffic ---- */

static void hand_over(bool v6, bool dup, const struct rules_peer *p)
{
	const char *dev = v6 ? p->dev6 : p->dev4, *ip = v6 ? "ip6" : "ip", *vip = v6 ? VIP6 : VIP4;
	char hop[ADDR_STR];

	addr_str(v6 ? &p->addr6 : &p->addr4, hop);
	run("nft list table inet mark >/dev/null 2>&1 || :; for t in 'netdev t' 'ip t' 'ip6 t'; do "
	    "nft delete table $t 2>/dev/null; done; :");
	if (dup)
		run("nft 'table %s t { chain c { type filter hook prerouting priority -145;"
		    " %s daddr %s dup to %s device \"%s\"; %s daddr %s drop; }; }'", ip, ip, vip, hop,
		    dev, ip, vip);
	else
		run("nft 'table netdev t { chain c { type filter hook ingress device a0 priority -10;"
		    " ip frag-off & 0x4000 == 0x4000 ip daddr %s ip frag-off set 0;"
		    " %s daddr %s fwd %s to %s device \"%s\"; }; }'", VIP4, ip, vip, ip, hop, dev);
}

struct ends { int from, to; };

static struct ends open_ends(bool v6)
{
	const int probe = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;
	struct addr vip = A(v6 ? VIP6 : VIP4);
	struct sockaddr_storage ss;
	socklen_t len = fill_addr(&ss, &vip, PORT);
	struct ends e;

	go(ns_b);
	e.to = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (e.to < 0 || bind(e.to, (void *)&ss, len) < 0)
		die("socket in B");
	go(ns_c);
	run("ip route flush cache; ip -6 route flush cache");
	e.from = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (e.from < 0 || connect(e.from, (void *)&ss, len) < 0 ||
	    setsockopt(e.from, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
		       &probe, sizeof(probe)) < 0)
		die("socket in C");
	go(ns_a);
	return e;
}

/* One datagram whose IP packet has 'size' bytes. */
static enum fate send_one(const struct ends *e, bool v6, size_t size)
{
	size_t payload = size - (v6 ? 40 : 20) - 8;
	char out[2048], in[2048];
	struct pollfd p[2] = { { .fd = e->to, .events = POLLIN }, { .fd = e->from, .events = POLLIN } };
	ssize_t got;

	memset(out, (int)size, sizeof(out));
	if (send(e->from, out, payload, 0) != (ssize_t)payload)
		return errno == EMSGSIZE ? TOLD : LOST;
	if (poll(p, 2, 1500) <= 0)
		return LOST;
	if (p[1].revents)
		return send(e->from, out, payload, 0) < 0 && errno == EMSGSIZE ? TOLD : LOST;
	got = recv(e->to, in, sizeof(in), MSG_DONTWAIT);
	return got == (ssize_t)payload && !memcmp(in, out, payload) ? PASSES : LOST;
}

/* Looks at what came over the underlay for the last packet: outer sizes, and how many have DF. */
static void check_outer(int fd, const struct way *w, size_t inner, bool v6, bool want_df)
{
	const struct addr underlay = A(w->underlay6 ? "fd09::1" : "10.9.0.1");
	unsigned int frames = 0, df = 0;
	size_t largest = 0;
	uint8_t f[4096];
	ssize_t got;

	while ((got = recv(fd, f, sizeof(f), 0)) > 0) {
		bool ip4 = f[12] == 8 && f[13] == 0, ip6 = f[12] == 0x86 && f[13] == 0xdd;

		/* outer packets from A only */
		if (ip4 && !w->underlay6 && !memcmp(f + 26, underlay.b, 4))
			df += (f[20] & 0x40) != 0;
		else if (!(ip6 && w->underlay6 && !memcmp(f + 22, underlay.b, 16)) || f[20] == IPPROTO_ICMPV6)
			continue;
		frames++;
		largest = (size_t)got - 14 > largest ? (size_t)got - 14 : largest;
	}
	if (inner < 1000)
		ok(frames == 1 && df == want_df &&
		   largest == inner + tunnel_overhead(w->vxlan ? REDIRECT_VXLAN : REDIRECT_IPIP,
						      &underlay, v6),
		   "%s: overhead is as told (%zu for %zu bytes in %u packet)", w->name, largest, inner,
		   frames);
	else
		ok(frames == 2 && df == 0 && largest <= 1500,
		   "%s: a full packet goes in two outer ones without DF (%u, DF in %u)", w->name, frames,
		   df);
}

/* The client was told how much fits, and that does. */
static void check_told(const struct way *w, const struct ends *e, bool v6)
{
	const struct addr underlay = A(w->underlay6 ? "fd09::1" : "10.9.0.1");
	unsigned int fits = 1500 - tunnel_overhead(w->vxlan ? REDIRECT_VXLAN : REDIRECT_IPIP, &underlay,
						   v6);
	int mtu = 0, pending;
	socklen_t len = sizeof(mtu);
	enum fate got;

	(void)getsockopt(e->from, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &len);
	len = sizeof(pending);
	(void)getsockopt(e->from, SOL_SOCKET, SO_ERROR, &pending, &len);	/* clears it */
	got = send_one(e, v6, fits);
	ok(mtu == (int)fits && got == PASSES, "%s: IPv%c: told %d of %u, which %s", w->name,
	   v6 ? '6' : '4', mtu, fits, fate_text[got]);
}

static void traffic(const struct way *w, const struct rules_peer *p, bool v6, bool dup)
{
	enum fate want = w->full[v6][dup], got;
	struct ends e;
	int fd;

	hand_over(v6, dup, p);
	e = open_ends(v6);
	go(ns_b);
	fd = packet_socket("b1");
	go(ns_a);
	got = send_one(&e, v6, 600);
	ok(got == PASSES, "%s: IPv%c by %s: a small packet %s", w->name, v6 ? '6' : '4',
	   dup ? "dup" : "fwd", fate_text[got]);
	/* ipip copies the DF that 'dup' sets, and 'fwd' did not have. */
	check_outer(fd, w, 600, v6, dup && !v6 && !w->vxlan && !w->underlay6);
	got = send_one(&e, v6, 1500);
	ok(got == want, "%s: IPv%c by %s: a full packet %s", w->name, v6 ? '6' : '4',
	   dup ? "dup" : "fwd", fate_text[got]);
	if (want == PASSES)
		check_outer(fd, w, 1500, v6, false);
	if (want == TOLD)
		check_told(w, &e, v6);
	close(fd);
	close(e.from);
	close(e.to);
}

static void test_way(const struct way *w)
{
	struct tunnel_want ta = want_of(w, false), tb = want_of(w, true);
	struct netif *a, *b;
	struct rules_peer p[2], q[2];
	const struct rules_peer *use = &p[w->vxlan];
	bool good;

	a = open_netif(0);
	good = tunnel_ensure(a, &ta, p) == 0;
	ok(good, "%s: made at A%s%s", w->name, good ? "" : ": ", good ? "" : netif_strerror(a));
	go(ns_b);
	b = open_netif(1);
	ok(tunnel_ensure(b, &tb, q) == 0, "%s: made at B", w->name);
	go(ns_a);
	ok(use->id == 2 && use->ifindex4 == (int)if_nametoindex(use->dev4) && use->ifindex4 > 0 &&
	   use->ifindex6 == (int)if_nametoindex(use->dev6) && use->ifindex6 > 0 &&
	   p[!w->vxlan].dev4[0] == '\0' && p[!w->vxlan].id == 2, "%s: %s and %s", w->name, use->dev4,
	   use->dev6);
	for (unsigned int i = 0; good && i < 4; i++)
		traffic(w, use, i & 1, i & 2);
	run("for t in 'netdev t' 'ip t' 'ip6 t'; do nft delete table $t 2>/dev/null; done; :");
	ok(netif_undo(a) == 0, "%s: undone", w->name);
	netif_close(a);
	unchanged(w->name);
	go(ns_b);
	ok(netif_undo(b) == 0 && !prints("ip -o link", "clu"), "%s: undone at B", w->name);
	netif_close(b);
	go(ns_a);
}

/* ---- repair ---- */

static void test_repair(const struct way *w)
{
	struct tunnel_want ta = want_of(w, false), tb = want_of(w, true);
	struct netif *a = open_netif(0), *b;
	struct rules_peer p[2], q[2], *use = &p[w->vxlan];
	const char *const harm[] = {
		"ip link set $D down", "ip link set $D mtu 1400", "ip addr flush dev $D",
		"ip -4 route flush dev $D; ip -6 route flush dev $D",
		"sysctl -qw net.ipv4.conf.$D.rp_filter=1", "ip neigh flush nud permanent dev $D",
		"ip link set $D arp on", "ip link del $D",
	};
	char *was, command[128];
	int index;

	go(ns_b);
	b = open_netif(1);
	ok(tunnel_ensure(b, &tb, q) == 0, "repair: B");
	go(ns_a);
	ok(tunnel_ensure(a, &ta, p) == 0, "repair: A");
	index = use->ifindex4;
	was = output(STATE);
	ok(tunnel_ensure(a, &ta, p) == 0 && use->ifindex4 == index && same_state(was),
	   "repair: what fits is left alone");
	for (unsigned int i = 0; i + 1 < sizeof(harm) / sizeof(*harm); i++) {
		snprintf(command, sizeof(command), "D=%s; %s", use->dev4, harm[i]);
		run("%s", command);
		ok(tunnel_ensure(a, &ta, p) == 0 && use->ifindex4 == index && same_state(was),
		   "repair: after '%s'", command);
	}
	free(was);
	run("ip link del %s", use->dev4);
	ok(tunnel_ensure(a, &ta, p) == 0 && use->ifindex4 != index &&
	   use->ifindex4 == (int)if_nametoindex(use->dev4), "repair: made anew");
	traffic(w, use, false, true);
	run("nft delete table ip t");
	index = use->ifindex4;
	ta.remote = A(w->underlay6 ? "fd09::77" : "10.9.0.77");
	ok(tunnel_ensure(a, &ta, p) == 0 && use->ifindex4 != index &&
	   prints("ip -d -o link", w->underlay6 ? "remote fd09::77" : "remote 10.9.0.77"),
	   "repair: another peer address");
	ok(netif_undo(a) == 0, "repair: undone");
	netif_close(a);
	unchanged("repairs");
	go(ns_b);
	ok(netif_undo(b) == 0, "repair: undone at B");
	netif_close(b);
	go(ns_a);
}

/* ---- what is not ours, crashes, what cannot be ---- */

static void test_foreign(void)
{
	struct tunnel_want t = want_of(&ways[0], false);
	struct netif *n = open_netif(0);
	struct rules_peer p[2];
	char *was;

	run("ip link add cluv_2 type veth peer name x1");
	was = output(STATE);
	ok(tunnel_ensure(n, &t, p) == -EEXIST && p[1].dev4[0] == '\0', "foreign: another kind: %s",
	   netif_strerror(n));
	ok(netif_undo(n) == 0 && same_state(was), "foreign: it stays");
	free(was);
	run("ip link del cluv_2; ip link add cluv_2 type vxlan id 7 remote 10.9.0.2 dstport 4789");
	was = output(STATE);
	ok(tunnel_ensure(n, &t, p) == -EEXIST, "foreign: another vxlan: %s", netif_strerror(n));
	ok(netif_undo(n) == 0 && same_state(was), "foreign: it stays");
	free(was);
	run("ip link del cluv_2; ip link add other type vxlan id %u remote 10.9.0.3 dstport 4789",
	    tunnel_vni(1, 2));
	was = output(STATE);
	ok(tunnel_ensure(n, &t, p) == -EEXIST, "foreign: the same VNI: %s", netif_strerror(n));
	ok(netif_undo(n) == 0 && same_state(was) && access(undo[0], F_OK) < 0,
	   "foreign: it stays, and nothing is noted");
	free(was);
	run("ip link del other");
	/* Somebody took our device away and the name for something else. */
	ok(tunnel_ensure(n, &t, p) == 0, "foreign: ours");
	run("ip link del cluv_2; ip link add cluv_2 type veth peer name x1");
	ok(tunnel_ensure(n, &t, p) == -EEXIST && netif_undo(n) == 0 &&
	   prints("ip -o link", "cluv_2@x1"), "foreign: a name that was taken: %s", netif_strerror(n));
	run("ip link del cluv_2");
	netif_close(n);
	unchanged("foreign devices");
}

static void test_refused(void)
{
	struct tunnel_want t = want_of(&ways[0], false);
	struct addr any = A("10.9.0.1");
	struct sockaddr_storage ss;
	socklen_t len = fill_addr(&ss, &any, 4789);
	struct netif *n = open_netif(0);
	struct rules_peer p[2];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (void *)&ss, len) < 0)
		die("UDP port");
	/* The port is taken when the device is set up, not when it is made. */
	ok(tunnel_ensure(n, &t, p) == -EADDRINUSE, "refused: %s", netif_strerror(n));
	close(fd);
	ok(tunnel_ensure(n, &t, p) == 0, "refused: works once the port is free");
	ok(netif_undo(n) == 0, "refused: undone");
	t.remote = A("fd09::2");
	ok(tunnel_ensure(n, &t, p) == -EINVAL, "refused: two families: %s", netif_strerror(n));
	netif_close(n);
	unchanged("refused ones");
}

static void test_missing(const struct way *w)
{
	struct tunnel_want t = want_of(w, false);
	struct netif *n = open_netif(0);
	struct rules_peer p[2];

	t.vxlan = true;
	ok(tunnel_ensure(n, &t, p) == -EOPNOTSUPP && strstr(netif_strerror(n), "module") &&
	   p[0].dev4[0] == '\0' && p[0].dev6[0] == '\0' && p[1].dev4[0] != '\0',
	   "%s: missing in this kernel, vxlan is there all the same: %s", w->name, netif_strerror(n));
	ok(netif_undo(n) == 0, "%s: undone", w->name);
	netif_close(n);
	unchanged("that");
}

static void test_crash(const struct way *w)
{
	struct tunnel_want t = want_of(w, false);
	struct rules_peer p[2];
	struct netif *n;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(tunnel_ensure(open_netif(0), &t, p) == 0 ? 0 : 1);
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && prints("ip -o link", "clu"),
	   "crash: the devices are left");
	n = open_netif(0);
	ok(tunnel_ensure(n, &t, p) == 0, "crash: the next one takes them over");
	ok(netif_undo(n) == 0, "crash: and removes them");
	netif_close(n);
	unchanged("a crash");
}

static void test_vni(void)
{
	static bool used[1 << 24];
	bool good = true;

	for (unsigned int a = 1; a <= NODES_MAX; a++)
		for (unsigned int b = a + 1; b <= NODES_MAX; b++) {
			uint32_t vni = tunnel_vni((uint8_t)a, (uint8_t)b);

			good = good && vni == tunnel_vni((uint8_t)b, (uint8_t)a) &&
			       vni < sizeof(used) && !used[vni];
			if (vni < sizeof(used))
				used[vni] = true;
		}
	ok(good, "vni: one for each pair, the same on both sides");
}

/* ---- set-up ---- */

static void sysctls(void)
{
	/* Strict everywhere: what is handed over must pass all the same. */
	run("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
	    " net.ipv6.conf.default.router_solicitations=0 net.ipv4.conf.all.rp_filter=1"
	    " net.ipv4.conf.default.rp_filter=1; ip link set lo up");
}

static void veth(const char *here, const char *there, int ns)
{
	run("ip link add %s type veth peer name %s; ip link set %s netns /proc/%d/fd/%d", here, there,
	    there, getpid(), ns);
}

static void address(const char *dev, const char *v4, const char *v6)
{
	run("ip link set %s up; ip addr add %s/24 dev %s; ip addr add %s/64 dev %s nodad", dev, v4, dev,
	    v6, dev);
}

static void vips(void)
{
	run("ip addr add " VIP4 "/32 dev lo scope host; ip addr add " VIP6 "/128 dev lo nodad");
}

static void set_up(void)
{
	ns_c = new_ns();
	sysctls();
	ns_b = new_ns();
	sysctls();
	ns_a = new_ns();
	sysctls();
	if (!mkdtemp(dir))
		die("mkdtemp");
	for (int i = 0; i < 2; i++)
		snprintf(undo[i], sizeof(undo[i]), "%s/undo%d", dir, i);
	veth("a0", "c0", ns_c);
	veth("a1", "b1", ns_b);
	address("a0", "10.8.0.1", "fd08::1");
	address("a1", "10.9.0.1", "fd09::1");
	vips();
	go(ns_c);
	address("c0", "10.8.0.2", "fd08::2");
	run("ip route add default via 10.8.0.1; ip -6 route add default via fd08::1");
	go(ns_b);
	address("b1", "10.9.0.2", "fd09::2");
	run("ip route add default via 10.9.0.1; ip -6 route add default via fd09::1");
	vips();
	go(ns_a);
	/* Loading a driver makes its fallback device in every namespace: before we look. */
	for (unsigned int i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		run("ip link add probe type %s 2>/dev/null && ip link del probe; :", ways[i].probe);
	run("ip link add probe type sit remote 10.9.0.2 2>/dev/null && ip link del probe; :");
	usleep(500000);
	run("ping -qc1 -W5 10.9.0.2 >/dev/null; ping -qc1 -W5 fd09::2 >/dev/null;"
	    " ping -qc1 -W5 10.8.0.2 >/dev/null; ping -qc1 -W5 fd08::2 >/dev/null");
}

int main(void)
{
	set_up();
	before = output(STATE);
	test_vni();
	for (unsigned int i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		char command[128];

		snprintf(command, sizeof(command), "ip link add probe type %s 2>&1 && ip link del probe",
			 ways[i].probe);
		if (!prints(command, "nknown device type") && !prints(command, "not supported")) {
			test_way(&ways[i]);
			test_repair(&ways[i]);
			test_crash(&ways[i]);
		} else {
			test_missing(&ways[i]);
			printf("skip - %s: this kernel has no such device\n", ways[i].name);
		}
	}
	test_foreign();
	test_refused();
	free(before);
	if (rmdir(dir) < 0)
		ok(false, "nothing left in %s", dir);
	printf("tunnel_kernel: %u failed\n", failed);
	return failed ? 1 : 0;
}

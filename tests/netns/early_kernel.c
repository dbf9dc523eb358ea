/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fast path (io/early.h) on the place of rules_lab.h: what it decides, what it leaves alone, and
 * that nothing of it outlives its process.  'rules_kernel early' holds the whole of the rules' behaviour
 * against it.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <net/ethernet.h>

#include "rules_lab.h"
#include "util/jhash.h"

static int raw_fd, raw_ifindex;

static struct rules_counters early_count(int i)
{
	struct rules_counters c = { 0 };

	if (early_counters(node[i].early, 0, &c))
		die("early_counters");
	return c;
}

static struct rules_counters rules_count(int i)
{
	struct rules_counters c;

	if (rules_counters(node[i].rules, 0, &c))
		die(rules_strerror(node[i].rules));
	return c;
}

static void set(int i, uint32_t bucket, enum bucket_state s)
{
	node[i].action[bucket].state = (uint8_t)s;
}

static struct addr random_client(int family)
{
	struct addr a = { .family = (uint8_t)family };

	for (size_t k = 0; k < addr_size(&a); k++)
		a.b[k] = (uint8_t)random();
	a.b[0] = family == AF_INET ? (uint8_t)(11 + random() % 80) : 0x20;
	return a;
}

/* Who decided about one packet, at n1. */
enum decided { NOBODY_DID, EARLY_DROPPED, EARLY_ACCEPTED, RULES_DROPPED, RULES_ACCEPTED };

static enum decided decided_by(struct rules_counters e, struct rules_counters r)
{
	for (unsigned int tries = 0; tries < 2000; tries++) {
		struct rules_counters now = early_count(N1);

		if (now.foreign != e.foreign)
			return EARLY_DROPPED;
		if (now.accepted != e.accepted)
			return EARLY_ACCEPTED;
		if (tries % 16)
			continue;
		now = rules_count(N1);
		if (now.foreign != r.foreign)
			return RULES_DROPPED;
		if (now.accepted != r.accepted)
			return RULES_ACCEPTED;
		usleep(20);
	}
	return NOBODY_DID;
}

static enum decided fate_of(const struct addr *from, uint16_t port)
{
	struct rules_counters e = early_count(N1), r = rules_count(N1);

	raw_udp(raw_fd, raw_ifindex, from, port);
	return decided_by(e, r);
}

/*
 * The bucket that util/jhash computes is the only one that is ours, so that any other would be found
 * out; then the same the other way round.
 */
static void check_buckets(int family, enum conf_hash hash, unsigned int n)
{
	unsigned int mine = 0, foreign = 0;

	node_close(N1);
	node[N1].service.hash = hash;
	memset(node[N1].action, 0, sizeof(node[N1].action));
	node_open(N1);
	for (unsigned int i = 0; i < n; i++) {
		struct addr from = random_client(family);
		uint16_t port = (uint16_t)(1 + random() % 65535);
		uint32_t b = jhash_bucket(&from, port, hash == HASH_SOURCE_PORT, B, SEED);

		state(N1, b, BUCKET_MINE);
		mine += fate_of(&from, port) == EARLY_ACCEPTED;
		state(N1, b, BUCKET_FOREIGN);
		foreign += fate_of(&from, port) == EARLY_DROPPED;
	}
	ok(mine == n && foreign == n, "%s, hash = %s: of %u clients %u were let in when theirs was our "
	   "only bucket, %u dropped when it was not", family == AF_INET ? "IPv4" : "IPv6",
	   hash == HASH_SOURCE ? "source" : "source-port", n, mine, foreign);
}

static void check_way_in(int family)
{
	const char *name = family == AF_INET ? "IPv4" : "IPv6";
	struct rules_counters e, r, e2, r2;
	struct client c;

	states(5, BUCKET_MINE, BUCKET_FOREIGN);
	e = early_count(N1);
	r = rules_count(N1);
	e2 = early_count(N2);
	c = tcp_connect(family, 5);
	ok(c.at == N1 && works(&c) && quiet(), "%s: mine: a connection, through lease and guard", name);
	client_drop(&c);
	r2 = rules_count(N1);
	ok(early_count(N1).accepted > e.accepted + 2 && r2.accepted == r.accepted,
	   "... the program let it in, not the rules");
	ok(early_count(N2).foreign > e2.foreign + 2, "... and dropped it at the other node");

	enter(N1);
	if (lease_table_end(node[N1].lease))
		die("lease");
	e = early_count(N1);
	c = tcp_connect(family, 5);
	ok(c.at < 0 && quiet() && early_count(N1).accepted > e.accepted,
	   "... but nothing gets in without a lease");
	client_drop(&c);
	node_close(N1);
	node_open(N1);
}

/* What is on the move is for the rules. */
static void check_others_states(void)
{
	static const struct { enum bucket_state state; enum decided fate; } some[] = {
		{ BUCKET_ARRIVING, RULES_DROPPED }, { BUCKET_ADOPTING, RULES_ACCEPTED },
		{ BUCKET_DRAINING, RULES_DROPPED },
	};
	struct rules_counters e, r;
	struct addr from;
	uint32_t b;

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		from = random_client(AF_INET);
		b = jhash_bucket(&from, 99, true, B, SEED);
		state(N1, b, some[i].state);
		ok(fate_of(&from, 99) == some[i].fate, "%s: the rules decide",
		   bucket_state_str(some[i].state));
		state(N1, b, BUCKET_FOREIGN);
	}
	b = jhash_bucket(&from, 99, true, B, SEED);
	state(N1, b, BUCKET_LEAVING);
	e = early_count(N1);
	r = rules_count(N1);
	raw_udp(raw_fd, raw_ifindex, &from, 99);
	sleep_ms(20);
	ok(early_count(N1).accepted == e.accepted && early_count(N1).foreign == e.foreign &&
	   rules_count(N1).handed == r.handed + 1, "leaving: the rules hand it over");
	state(N1, b, BUCKET_FOREIGN);

	state(N1, 7, BUCKET_MINE);
	e = early_count(N1);
	ok(udp_send(1500, 7) == N1 && early_count(N1).accepted == e.accepted,
	   "a port of a range: the rules decide");
	state(N1, 7, BUCKET_FOREIGN);
	enter(CLIENT);
	ok(!sh("ping -c1 -W1 10.77.0.1 >/dev/null") && early_count(N1).accepted == e.accepted,
	   "other addresses: left alone");
}

/* Announce and route: what is foreign is handed on, which only the rules can. */
static void check_handed(void)
{
	struct addr from = random_client(AF_INET);
	uint32_t b = jhash_bucket(&from, 99, true, B, SEED);
	struct rules_counters e, r;

	node_close(N1);
	node[N1].conf.dispatch = DISPATCH_ANNOUNCE;
	node_open(N1);
	state(N1, b, BUCKET_MINE);
	ok(fate_of(&from, 99) == NOBODY_DID, "announce: another host's frame: nobody's business");
	memcpy(mac4, node[!N1].peer.mac, sizeof(mac4));	/* the other one knows it */
	ok(fate_of(&from, 99) == EARLY_ACCEPTED, "announce: mine: the program");
	state(N1, b, BUCKET_FOREIGN);
	e = early_count(N1);
	r = rules_count(N1);
	raw_udp(raw_fd, raw_ifindex, &from, 99);
	sleep_ms(20);
	ok(early_count(N1).accepted == e.accepted && early_count(N1).foreign == e.foreign &&
	   rules_count(N1).handed == r.handed + 1, "announce: foreign: the rules hand it over");
	state(N1, b, BUCKET_MINE);
	node[N1].service.freeze = true;
	node_commit(N1);
	ok(fate_of(&from, 99) == NOBODY_DID, "frozen: the program lets nothing in");
	node[N1].service.freeze = false;
	node_commit(N1);
	ok(fate_of(&from, 99) == EARLY_ACCEPTED, "thawed: the program again");
	addr_flood_mac(&vip4, mac4);
	state(N1, b, BUCKET_FOREIGN);
	node_close(N1);
	node[N1].conf.dispatch = DISPATCH_FLOOD;
	node[N1].conf.sched = SCHED_PROBABILITY;
	node_open(N1);
	state(N1, b, BUCKET_MINE);
	e = early_count(N1);
	raw_udp(raw_fd, raw_ifindex, &from, 99);
	sleep_ms(20);
	ok(early_count(N1).accepted == e.accepted && early_count(N1).foreign == e.foreign,
	   "a scheduler: not the program's business");
	state(N1, b, BUCKET_FOREIGN);
	node_close(N1);
	node[N1].conf.sched = SCHED_HASH;
	node_open(N1);
}

/* Before a commit the program forgets what changes, and nothing else. */
static void check_order(void)
{
	struct addr a = random_client(AF_INET), b = random_client(AF_INET);
	uint32_t at = jhash_bucket(&a, 99, true, B, SEED), bt = jhash_bucket(&b, 99, true, B, SEED);

	set(N1, at, BUCKET_MINE);
	state(N1, bt, BUCKET_MINE);
	set(N1, at, BUCKET_FOREIGN);
	early_hold(node[N1].early, &node[N1].want);
	ok(fate_of(&a, 99) == RULES_ACCEPTED, "before a commit: the rules decide about what changes");
	ok(fate_of(&b, 99) == EARLY_ACCEPTED, "... and the program goes on with the rest");
	enter(N1);
	node_commit(N1);
	ok(fate_of(&a, 99) == EARLY_DROPPED, "after it: the program again");
	early_clear(node[N1].early);
	ok(fate_of(&a, 99) == RULES_DROPPED && fate_of(&b, 99) == RULES_ACCEPTED,
	   "all forgotten: the rules decide the same");
	early_release(node[N1].early, &node[N1].want);
	node[N1].service.seed++;
	early_hold(node[N1].early, &node[N1].want);
	early_release(node[N1].early, &node[N1].want);
	node[N1].service.seed--;
	ok(fate_of(&a, 99) == RULES_DROPPED, "another seed than the program's: it decides nothing");
	early_release(node[N1].early, &node[N1].want);
	state(N1, bt, BUCKET_FOREIGN);
}

/* IPv4 UDP for the VIP that a well-behaved client does not send; 'words' of header. */
static void odd(unsigned int words, uint16_t frag, int more_length, uint16_t vlan)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = raw_ifindex };
	struct iphdr ip = {
		.version = 4, .ihl = words & 15, .ttl = 9, .protocol = IPPROTO_UDP,
		.tot_len = htons((uint16_t)((int)words * 4 + 8 + more_length)),
		.frag_off = htons(frag), .saddr = htonl(0x0b000001),
	};
	struct udphdr udp = { .source = htons(99), .dest = htons(9000), .len = htons(8) };
	struct ether_header eth = { .ether_shost = { 2 }, .ether_type = htons(ETHERTYPE_IP) };
	uint8_t p[128] = { 0 };
	size_t at = 14;
	uint32_t sum = 0;

	memcpy(&ip.daddr, vip4.b, 4);
	memcpy(eth.ether_dhost, mac4, 6);
	if (vlan) {
		eth.ether_type = htons(ETHERTYPE_VLAN);
		p[14] = (uint8_t)(vlan >> 8);
		p[15] = (uint8_t)vlan;
		p[16] = ETHERTYPE_IP >> 8;
		at += 4;
	}
	memcpy(p, &eth, 14);
	memcpy(p + at, &ip, 20);
	memset(p + at + 20, 1, words * 4 - 20);		/* option: no operation */
	for (unsigned int i = 0; i < words * 4; i += 2)
		sum += (uint32_t)p[at + i] << 8 | p[at + i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	ip.check = htons((uint16_t)~(sum + (sum >> 16)));
	memcpy(p + at, &ip, 20);
	memcpy(p + at + words * 4, &udp, 8);
	if (sendto(raw_fd, p, at + words * 4 + 8, 0, (void *)&to, sizeof(to)) < 0)
		die("raw");
}

static void check_odd(void)
{
	struct addr from;
	struct rules_counters e, r;

	addr_parse(&from, "11.0.0.1");
	state(N1, jhash_bucket(&from, 99, true, B, SEED), BUCKET_MINE);
	e = early_count(N1);
	r = rules_count(N1);
	odd(5, 0, 0, 0);
	ok(decided_by(e, r) == EARLY_ACCEPTED, "a plain packet: the program");
	e = early_count(N1);
	odd(6, 0, 0, 0);
	ok(decided_by(e, r) == RULES_ACCEPTED, "IP options: the rules");
	odd(5, 0x2000, 0, 0);
	odd(5, 1, 0, 0);
	odd(5, 0, 0, 7);
	sleep_ms(20);
	ok(early_count(N1).accepted == e.accepted && early_count(N1).foreign == e.foreign,
	   "fragments, VLAN tags: not the program");
	state(N1, jhash_bucket(&from, 99, true, B, SEED), BUCKET_FOREIGN);
}

/*
 * A veth pair within one namespace, where a mark survives the wire: somebody's RULES_MARK_ACCEPT must
 * not pass for the program's.
 */
static void check_forged(void)
{
	int fd, mark = (int)RULES_MARK_ACCEPT, index;
	struct rules_service service = node[N1].service;
	struct rules_want want = { .n_services = 1, .service = &service, .early = true };
	struct rules_counters before, after;
	struct rules *rules = NULL;
	struct early *early = NULL;
	struct addr from = random_client(AF_INET);
	char why[256];

	if (unshare(CLONE_NEWNET))
		die("unshare");
	must("ip link set lo up; ip link add here type veth peer name there; ip link set here up; "
	     "ip link set there up; ip addr add " VIP4 "/32 dev lo");
	snprintf(service.interface, sizeof(service.interface), "there");
	if (early_open(&early, &want, why, sizeof(why)) || rules_open(&rules, NULL) ||
	    rules_commit(rules, &want))
		die("a second place");
	index = (int)if_nametoindex("here");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		die("SO_MARK");
	/* As the program stands now, it leaves all to the rules, by which every bucket is foreign. */
	if (rules_counters(rules, 0, &before))
		die("counters");
	raw_udp(fd, index, &from, 99);
	sleep_ms(20);
	if (rules_counters(rules, 0, &after))
		die("counters");
	ok(after.foreign == before.foreign + 1, "a forged mark does not pass for the program's");
	early_close(early);
	if (rules_counters(rules, 0, &before))
		die("counters");
	raw_udp(fd, index, &from, 99);
	sleep_ms(20);
	if (rules_counters(rules, 0, &after))
		die("counters");
	ok(after.foreign == before.foreign, "... and would without the program (the test can fail)");
	close(fd);
	rules_close(rules);
}

static void check_close(void)
{
	struct addr from = random_client(AF_INET);
	struct rules_counters before, after;

	state(N1, jhash_bucket(&from, 99, true, B, SEED), BUCKET_FOREIGN);
	ok(fate_of(&from, 99) == EARLY_DROPPED, "the program drops");
	before = rules_count(N1);
	early_close(node[N1].early);
	node[N1].early = NULL;
	raw_udp(raw_fd, raw_ifindex, &from, 99);
	sleep_ms(20);
	after = rules_count(N1);
	ok(after.foreign == before.foreign + 1, "closed: the rules drop");
}

static bool counted_again(struct early *early, int fd, int index)
{
	struct addr from = random_client(AF_INET);
	struct rules_counters before = { 0 }, after;
	unsigned int tries;

	early_counters(early, 1, &before);
	raw_udp(fd, index, &from, 99);
	for (tries = 0; tries < 1000; tries++) {
		memset(&after, 0, sizeof(after));
		early_counters(early, 1, &after);
		if (after.foreign == before.foreign + 1)
			return true;
		usleep(20);
	}
	return false;
}

/* Not over the place's bridge, which discards them itself. */
static void check_lengths(struct early *early, int fd, int index)
{
	static const int wrong[] = { 1, -9 };
	struct rules_counters before = { 0 }, after;
	int old_fd = raw_fd, old_index = raw_ifindex;

	raw_fd = fd;
	raw_ifindex = index;
	early_counters(early, 1, &before);
	for (unsigned int i = 0; i <= 2; i++) {
		memset(&after, 0, sizeof(after));
		odd(5, 0, i < 2 ? wrong[i] : 0, 0);
		sleep_ms(20);
		early_counters(early, 1, &after);
		ok(after.foreign == before.foreign + (i == 2), "IP length %s", i == 2 ?
		   "right: the program" : i ? "too short: not the program" : "too long: not the program");
	}
	raw_fd = old_fd;
	raw_ifindex = old_index;
}

/* As systemd's unit limits the daemon. */
static int opens_with_little(const struct rules_want *want)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };
	struct early *early;
	char why[256];
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		caps[0].permitted = caps[0].effective = CAP_TO_MASK(CAP_NET_ADMIN);
		caps[1].permitted = caps[1].effective = CAP_TO_MASK(CAP_BPF);
		if (syscall(SYS_capset, &head, caps))
			_exit(2);
		if (!early_open(&early, want, why, sizeof(why)))
			_exit(0);
		printf("# %s\n", why);
		fflush(stdout);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	return status;
}

/* More keys than the program compares one by one, and a second service's buckets behind the first's. */
static void check_far(void)
{
	static struct bucket_action action[2][128];
	struct conf_service conf[2] = { node[N1].conf, node[N1].conf };
	struct rules_service service[2];
	struct rules_want want = { .n_services = 2, .service = service, .early = true };
	struct rules_counters c = { 0 }, first = { 0 };
	struct early *early;
	unsigned int good = 0;
	char why[256];
	int fd, index;

	if (unshare(CLONE_NEWNET))
		die("unshare");
	must("ip link set lo up; ip link add here type veth peer name there; ip link set here up; "
	     "ip link set there up");
	conf[0].n_ports = 8;
	for (unsigned int i = 0; i < conf[0].n_ports; i++)
		conf[0].port[i] = (struct conf_port){ IPPROTO_UDP, (uint16_t)(7000 + i),
						      (uint16_t)(7000 + i) };
	for (unsigned int i = 0; i < 2; i++)
		service[i] = (struct rules_service){ .conf = &conf[i], .interface = "there",
			.seed = 100 + i, .buckets = 128, .hash = HASH_SOURCE_PORT,
			.action = action[i] };
	if (early_open(&early, &want, why, sizeof(why)))
		die(why);
	index = (int)if_nametoindex("here");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	for (unsigned int i = 1; i <= 200; i++) {
		struct addr from = random_client(i % 2 ? AF_INET : AF_INET6);
		uint32_t b = jhash_bucket(&from, 99, true, 128, 101);

		memset(&c, 0, sizeof(c));
		action[1][b].state = BUCKET_MINE;
		early_release(early, &want);
		raw_udp(fd, index, &from, 99);
		for (unsigned int tries = 0; tries < 1000 && c.accepted != i; tries++) {
			memset(&c, 0, sizeof(c));
			early_counters(early, 1, &c);
			usleep(20);
		}
		good += c.accepted == i && !c.foreign;
		action[1][b].state = BUCKET_FOREIGN;
	}
	early_counters(early, 0, &first);
	ok(good == 200 && !first.accepted && !first.foreign,
	   "many ports, a second service: %u of 200 clients found in its buckets", good);
	ok(early_counters(early, 2, &c) == -ENOENT, "... and there is no third");
	close(fd);
	must("ip link del here; ip link add here type veth peer name there; ip link set here up; "
	     "ip link set there up");
	index = (int)if_nametoindex("here");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	ok(!early_refresh(early) && counted_again(early, fd, index), "an interface that comes back gets "
	   "the program again");
	check_lengths(early, fd, index);
	early_close(early);
	close(fd);
	ok(!opens_with_little(&want), "CAP_NET_ADMIN and CAP_BPF are enough");
}

static bool comes_through(int udp, int fd, int index, const struct addr *from)
{
	struct pollfd p = { .fd = udp, .events = POLLIN };
	char x;

	raw_udp(fd, index, from, 99);
	return poll(&p, 1, WAIT_MS) == 1 && recv(udp, &x, 1, MSG_DONTWAIT) >= 0;
}

/* A process that has nothing but the program, every bucket foreign, is killed. */
static void check_killed(void)
{
	struct rules_service service = node[N1].service;
	struct rules_want want = { .n_services = 1, .service = &service, .early = true };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9000) };
	struct addr from;
	struct early *early;
	int pair[2], fd, udp, index, status;
	char why[256], c;
	pid_t pid;

	if (unshare(CLONE_NEWNET) || pipe(pair))
		die("unshare");
	must("ip link set lo up; ip link add here type veth peer name there; ip link set here up; "
	     "ip link set there up; ip addr add " VIP4 "/32 dev lo; ip route add default dev there; "
	     "echo 0 > /proc/sys/net/ipv4/conf/there/rp_filter; "
	     "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; "
	     "ip maddr add 01:00:5e:4d:00:fa dev there; ip link set there promisc on");
	snprintf(service.interface, sizeof(service.interface), "there");
	memset(node[N1].action, 0, sizeof(node[N1].action));
	addr_parse(&from, "11.0.0.1");
	index = (int)if_nametoindex("here");
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(&a.sin_addr, vip4.b, 4);
	if (bind(udp, (void *)&a, sizeof(a)))
		die("bind");
	pid = fork();
	if (!pid) {
		if (early_open(&early, &want, why, sizeof(why)))
			_exit(1);
		early_release(early, &want);
		if (write(pair[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	close(pair[1]);
	if (read(pair[0], &c, 1) != 1)
		die("child");
	ok(!comes_through(udp, fd, index, &from), "another process' program drops");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(comes_through(udp, fd, index, &from), "... and is gone when the process is killed");
	close(fd);
	close(udp);
	close(pair[0]);
}

int main(void)
{
	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	srandom(1);
	lab_early = true;
	lab_make();
	enter(CLIENT);
	raw_ifindex = (int)if_nametoindex("eth0");
	raw_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	check_way_in(AF_INET);
	check_way_in(AF_INET6);
	check_others_states();
	check_handed();
	check_order();
	check_odd();
	check_buckets(AF_INET, HASH_SOURCE, 300);
	check_buckets(AF_INET6, HASH_SOURCE, 300);
	check_buckets(AF_INET6, HASH_SOURCE_PORT, 2000);
	check_buckets(AF_INET, HASH_SOURCE_PORT, 2000);
	check_close();
	check_far();
	check_forged();
	check_killed();
	printf("# %u checks, %u failed\n", checks, failures);
	return failures != 0;
}

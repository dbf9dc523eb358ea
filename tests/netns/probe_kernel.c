/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/probe with real frames, in a network namespace of its own: three probes, two of them (and a
 * stranger) on the far ends of a bridge whose ports can be told to filter.
 *
 *     a0 --- a1 [br0] b1 --- b0      node 1 on a0, node 2 on b0, node 3 on c0
 *                     c1 --- c0
 *
 * Prints "ok - ", "not ok - " and "skip - " lines; exit 0, 1, or 77 when nothing could be tested.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "io/probe.h"
#include "io/probe_packet.h"
#include "kernel_test.h"

static const uint8_t key[32] = "the cluster's key", other_key[32] = "another cluster's key";
static const struct addr vip4 = { AF_INET, { 10, 77, 0, 250 } };
static const struct addr vip6 = { AF_INET6, { 0xfd, 0x77, [15] = 0xfa } };
static bool unicast;		/* the kind of shared MAC */
static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static struct probe *probe[4];

/* Serves all probes, woken by their descriptors only, until that moment. */
static void serve(int64_t until)
{
	struct pollfd p[4];
	int64_t left;

	while ((left = until - now_ms()) > 0) {
		for (unsigned int i = 0; i < 4; i++)
			p[i] = (struct pollfd){ .fd = probe[i] ? probe_fd(probe[i]) : -1, .events = POLLIN };
		if (poll(p, 4, (int)left) < 0)
			return;
		for (unsigned int i = 0; i < 4; i++)
			if (p[i].revents)
				probe_dispatch(probe[i], now_ms());
	}
}

static struct probe *open_probe(const char *interface, const uint8_t k[32], unsigned int self)
{
	struct probe_target t[2] = { { .vip = vip4 }, { .vip = vip6 } };
	struct probe *p = NULL;
	int err;

	for (unsigned int i = 0; i < 2; i++) {
		strcpy(t[i].interface, interface);
		addr_shared_mac(&t[i].vip, unicast, t[i].mac);
	}
	err = probe_open(&p, t, 2, k, self);
	if (err)
		ok(false, "probe_open(%s): %s", interface, strerror(-err));
	return p;
}

/* Who has heard what. */
struct heard { uint64_t broadcast, frame4, frame6, packet4, packet6; };

/* Of what is for the VIPs, just those, and all 'b' a broadcast. */
static bool all_heard(const struct heard *h, uint64_t b, uint64_t frames, uint64_t packets)
{
	printf("# broadcast %llx, frames %llx %llx, packets %llx %llx\n", (unsigned long long)h->broadcast,
	       (unsigned long long)h->frame4, (unsigned long long)h->frame6,
	       (unsigned long long)h->packet4, (unsigned long long)h->packet6);
	return h->broadcast == b && h->frame4 == frames && h->frame6 == frames &&
	       h->packet4 == packets && h->packet6 == packets;
}

/* In one round of probe[0]. */
static struct heard round_of(void)
{
	struct heard h = { 0 };
	struct probe_result r[4];
	int64_t start = now_ms();
	unsigned int n;

	while (probe_start(probe[0], now_ms()) && now_ms() - start < 3000)
		serve(now_ms() + 20);
	start = now_ms();
	serve(start + PROBE_WAIT_MS / 2);
	ok(probe_running(probe[0]), "a round is under way");
	ok(probe_start(probe[0], now_ms()) == -EBUSY, "a second one is refused");
	serve(start + PROBE_WAIT_MS + 300);
	ok(!probe_running(probe[0]) && probe_done(probe[0]) >= start, "it ends by itself");
	ok(probe_start(probe[0], now_ms()) == -EAGAIN, "no other one right after it");
	n = probe_results(probe[0], r, 4);
	ok(n == 3, "%u targets: broadcast and two VIPs", n);
	for (unsigned int i = 0; i < n; i++) {
		if (r[i].send_err)
			ok(false, "sending: %s", strerror(-r[i].send_err));
		if (!memcmp(r[i].target.mac, broadcast, 6)) {
			h.broadcast = r[i].heard;
		} else if (r[i].target.vip.family == AF_INET) {
			h.frame4 = r[i].framed;
			h.packet4 = r[i].heard;
		} else {
			h.frame6 = r[i].framed;
			h.packet6 = r[i].heard;
		}
	}
	return h;
}

static int raw_socket(const char *interface, struct sockaddr_ll *to, uint8_t mac[6])
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROBE_ETHERTYPE));
	struct ifreq ifr = { 0 };

	strcpy(ifr.ifr_name, interface);
	ioctl(fd, SIOCGIFHWADDR, &ifr);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	*to = (struct sockaddr_ll){ .sll_family = AF_PACKET, .sll_protocol = htons(PROBE_ETHERTYPE),
				    .sll_ifindex = (int)if_nametoindex(interface), .sll_halen = 6 };
	if (bind(fd, (struct sockaddr *)to, sizeof(*to)))
		ok(false, "bind");
	return fd;
}

/* An answer of an earlier round, sent once more when its sender is gone, says nothing. */
static void old_answers(void)
{
	uint8_t frame[PROBE_FRAME], answer[PROBE_FRAME] = { 0 }, mac[6];
	struct sockaddr_ll to;
	int near = raw_socket("a0", &to, mac), far = raw_socket("c0", &to, mac);
	struct heard h = round_of();
	uint64_t s;

	ok(all_heard(&h, node_bit(2), node_bit(2), node_bit(2)), "node 2 answers");
	while (recv(near, frame, sizeof(frame), MSG_DONTWAIT) == PROBE_FRAME)
		if (frame[19] == 2)
			memcpy(answer, frame, sizeof(answer));
	ok(answer[19] == 2 && answer[20] == 2, "its answer was overheard");
	probe_close(probe[1]);
	probe[1] = NULL;
	serve(now_ms() + 1100);
	ok(!probe_start(probe[0], now_ms()), "another round");
	send(far, answer, sizeof(answer), 0);
	serve(now_ms() + PROBE_WAIT_MS + 200);
	s = 0;
	for (unsigned int i = 0; i < 3; i++) {
		struct probe_result r[3] = { { .heard = 0 } };

		probe_results(probe[0], r, 3);
		s |= r[i].heard | r[i].framed;
	}
	ok(!s, "nobody has heard it, whatever an old answer says");
	probe[1] = open_probe("b0", key, 2);
	close(near);
	close(far);
}

/* A stranger on c0 sends rubbish, and what it overheard once more. */
static void strangers(void)
{
	struct probe_counters before, after;
	uint8_t frame[2000] = { 0 }, mac[6], real[PROBE_FRAME];
	struct sockaddr_ll to;
	int fd = raw_socket("c0", &to, mac);
	uint32_t seed = 1;
	ssize_t n;

	/* A real question of node 1, overheard. */
	while (probe_start(probe[0], now_ms()))
		serve(now_ms() + 50);
	n = recv(fd, real, sizeof(real), 0);
	ok(n == PROBE_FRAME, "overheard a question of %zd bytes", n);
	serve(now_ms() + PROBE_WAIT_MS + 200);
	while (recv(fd, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
	probe_counters(probe[1], &before);
	for (unsigned int i = 0; i < 3000; i++) {
		size_t size = 14 + (seed >> 16) % 100;

		memcpy(frame, real, sizeof(real));
		for (unsigned int k = 14; k < 80; k++) {
			seed = seed * 1103515245 + 12345;
			if (i % 2 || !(seed >> 16 & 15))	/* rubbish, and almost right */
				frame[k] = (uint8_t)(seed >> 16);
		}
		frame[37] = real[37] ^ 1;	/* at least this, of what is signed */
		if (send(fd, frame, size < 60 ? 60 : size, 0) < 0)
			break;
		if (i % 50 == 0)
			serve(now_ms() + 1);
	}
	serve(now_ms() + 100);
	probe_counters(probe[1], &after);
	ok(after.questions == before.questions, "rubbish gets no answer");
	ok(after.forged + after.garbled >= before.forged + before.garbled + 2900, "it is counted (%llu)",
	   (unsigned long long)(after.forged + after.garbled - before.forged - before.garbled));
	n = recv(fd, frame, sizeof(frame), MSG_DONTWAIT);
	ok(n < 0, "and nothing came back");

	/* The overheard question again and again: a bounded number of answers. */
	before = after;
	serve((now_ms() / 1000 + 1) * 1000 + 10);	/* just after a second has begun */
	for (unsigned int i = 0; i < 5 * PROBE_ANSWERS; i++) {
		send(fd, real, sizeof(real), 0);
		if (i % 50 == 0)
			serve(now_ms() + 1);
	}
	serve(now_ms() + 100);
	probe_counters(probe[1], &after);
	ok(after.questions - before.questions <= 2 * PROBE_ANSWERS && after.limited > before.limited,
	   "replays get %llu answers, %llu get none", (unsigned long long)(after.questions - before.questions),
	   (unsigned long long)(after.limited - before.limited));

	/* Sent to a peer's own MAC it says nothing about flooding: no answer. */
	before = after;
	serve(now_ms() + 1100);
	memcpy(frame, real, sizeof(real));
	close(raw_socket("b0", &to, frame));	/* its MAC becomes the destination */
	send(fd, frame, PROBE_FRAME, 0);
	serve(now_ms() + 100);
	probe_counters(probe[1], &after);
	ok(after.questions == before.questions, "a question that was sent elsewhere than it says gets no answer");
	close(fd);
}

/* Raw sockets of this namespace that hear all protocols: those that wait for packets. */
static unsigned int listening(void)
{
	FILE *f = fopen("/proc/net/packet", "re");
	unsigned int n = 0, protocol;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		n += sscanf(line, "%*s %*s %*s %x", &protocol) == 1 && protocol == 3;
	if (f)
		fclose(f);
	return n;
}

/* Packets are listened for only while somebody asks. */
static void ears(void)
{
	int64_t start;

	serve(now_ms() + 1300);
	ok(!listening(), "nobody listens for packets while nobody asks");
	while (probe_start(probe[0], now_ms()))
		serve(now_ms() + 50);
	start = now_ms();
	serve(start + PROBE_WAIT_MS / 2);
	ok(listening() == 1, "in a round %u does: the one that heard the question", listening());
	serve(start + PROBE_WAIT_MS + 1500);
	ok(!listening(), "and stops");
}

/* Broken and forged packets, while node 2 listens; not by the bridge, which drops what is cut off. */
static void rubbish_packets(void)
{
	uint8_t frame[PROBE_PACKET_MAX], mac[6], dst[6], payload[40] = "CDPB\1\3\1";
	struct probe_counters before, after;
	struct sockaddr_ll to;
	int fd = raw_socket("b1", &to, mac);
	uint32_t seed = 7;

	while (probe_start(probe[0], now_ms()))
		serve(now_ms() + 50);
	serve(now_ms() + PROBE_WAIT_MS / 2);
	probe_counters(probe[1], &before);
	for (unsigned int i = 0; i < 400; i++) {
		const struct addr *vip = i & 1 ? &vip6 : &vip4;
		size_t size;

		addr_shared_mac(vip, false, dst);
		memcpy(payload + 16, dst, 6);
		size = probe_packet_build(frame, dst, mac, vip, vip, payload, sizeof(payload));
		seed = seed * 1103515245 + 12345;
		if (i >= 100)		/* the length that UDP claims */
			frame[size - 40 - 3] = (uint8_t)(seed >> 16);
		if (i >= 200)		/* that of the frame */
			size -= seed >> 24 & 31;
		to.sll_protocol = htons(i & 1 ? ETH_P_IPV6 : ETH_P_IP);
		if (sendto(fd, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			break;
		if (i % 20 == 0)
			serve(now_ms() + 1);
	}
	serve(now_ms() + 100);
	probe_counters(probe[1], &after);
	ok(after.forged >= before.forged + 100 && after.garbled >= before.garbled + 200,
	   "packets with a false key (%llu) or broken (%llu) are told apart",
	   (unsigned long long)(after.forged - before.forged), (unsigned long long)(after.garbled - before.garbled));
	ok(after.questions - before.questions <= 9, "and get no answer");
	serve(now_ms() + PROBE_WAIT_MS);
	close(fd);
}

/*
 * A bridge that snoops by IP, with a querier: packets for the VIP are for no group, so they go to routers
 * only, whatever the frame's destination; frames of another type are not its business.
 */
static void snooping(void)
{
	uint64_t both = node_bit(2) | node_bit(3);
	struct heard h;

	/* IPv6 queries need an address. */
	run("ip addr add fe80::99/64 dev br0 nodad; ip link set br0 type bridge mcast_query_response_interval 20 && "
	    "ip link set br0 type bridge mcast_snooping 1 mcast_querier 1");
	probe_close(probe[2]);
	probe[2] = open_probe("c0", key, 3);
	serve(now_ms() + 1000);
	h = round_of();
	ok(all_heard(&h, both, both, 0), "a bridge that snoops: frames to the group MAC pass, packets do not");
	unicast = true;
	for (unsigned int i = 0; i < 3; i++)
		probe_close(probe[i]);
	probe[0] = open_probe("a0", key, 1);
	probe[1] = open_probe("b0", key, 2);
	probe[2] = open_probe("c0", key, 3);
	h = round_of();
	ok(all_heard(&h, both, both, both), "the unicast one passes it");
}

int main(void)
{
	uint64_t both = node_bit(2) | node_bit(3);
	struct heard h;

	if (unshare(CLONE_NEWNET)) {
		printf("skip - needs root\n");
		return 77;
	}
	run("ip link add name br0 type bridge mcast_snooping 0 && ip link set br0 up");
	run("for i in a b c; do ip link add ${i}0 type veth peer name ${i}1 && ip link set ${i}1 master br0 && "
	    "ip link set ${i}0 up && ip link set ${i}1 up || exit 1; done");
	run("ip addr add 10.77.0.1/24 dev a0 && ip addr add fd77::1/64 dev a0 nodad");
	run("nft -f - <<'EOF'\ntable netdev drops {\nchain in {\n type filter hook ingress devices = { b0, c0 } "
	    "priority 0;\n udp dport 9 counter drop\n}\n}\nEOF");
	probe[0] = open_probe("a0", key, 1);
	probe[1] = open_probe("b0", key, 2);
	probe[2] = open_probe("c0", key, 3);
	if (failed)
		return 1;
	ok(probe_done(probe[0]) < 0, "no round yet");
	h = round_of();
	ok(all_heard(&h, both, both, both), "a plain switch: all hear all, before the rules that drop it");

	run("bridge link set dev b1 mcast_flood off");
	h = round_of();
	ok(all_heard(&h, both, node_bit(3), node_bit(3)), "a port without multicast flooding: heard the broadcast only");
	run("bridge link set dev b1 mcast_flood on");

	run("ip link set c0 down");
	h = round_of();
	ok(all_heard(&h, node_bit(2), node_bit(2), node_bit(2)), "a cut node: hears nothing");
	run("ip link set c0 up");

	/* The interface goes and comes back. */
	run("ip link del b0 && ip link add b0 type veth peer name b1 && ip link set b1 master br0 && "
	    "ip link set b0 up && ip link set b1 up");
	probe_refresh(probe[1]);
	h = round_of();
	ok(all_heard(&h, both, both, both), "an interface that was made again is listened on again");

	/* A node of another cluster on the same wire. */
	probe_close(probe[2]);
	probe[2] = open_probe("c0", other_key, 3);
	h = round_of();
	ok(all_heard(&h, node_bit(2), node_bit(2), node_bit(2)), "another cluster's node does not count");
	old_answers();
	strangers();
	ears();
	rubbish_packets();
	snooping();
	for (unsigned int i = 0; i < 4; i++)
		probe_close(probe[i]);
	return failed > 0;
}

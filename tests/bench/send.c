// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sends 64-byte TCP segments (60 bytes and the checksum that the card adds) for the VIP to a
 * multicast MAC address, as flooding switches deliver them, from many clients in random order.
 *
 *   send rounds CPU COUNT ROUNDS DEVICE[=other]...
 *       "other": the same frames to another machine's MAC address, which IP discards at its door.
 *       Per round and device COUNT packets, all on one processor; on a veth pair the receiver runs
 *       within the sender's system call.  None of them is for this node: neither by the bucket table
 *       (4096 and 65536 buckets), nor by the three-node hash of the source address alone that
 *       xt_cluster and the IPaddr2 recipe compute.  One line each:
 *       {"device": D, "round": R, "ns": processor time per packet, "lost": packets that did not arrive}
 *   send flows CPU FLOWS COUNT ROUNDS DEVICE[=other]...
 *       The same with this number of connections and this node's own MAC address, as a front gets them:
 *       before the first round each connection's SYN, then only its ACKs.
 *   send stream CPU BUCKETS PER_SECOND DEVICE
 *       For the buckets that this node keeps, until SIGTERM; then {"sent": N}.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#include "bench.h"
#include "util/jhash.h"

#define IP_DF   0x4000u
#define CLIENTS 65536u
#define FEW     512u		/* of a stream: one in 4,096 tuples is right for it */
#define BATCH   64u

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
	uint8_t pad[6];
} __attribute__((packed));

/* as on the wire */
struct client { uint32_t saddr; uint16_t sport, ip_check, tcp_check, syn_check; };

struct device {
	char name[IFNAMSIZ];
	bool other;
	int fd;
};

static struct client client[CLIENTS];
static unsigned int n_clients;
static unsigned int n_syn;		/* connections to begin first */
static struct frame frame[BATCH];
static struct iovec iov[BATCH];
static struct mmsghdr msg[BATCH];
static volatile sig_atomic_t stop;

static void die(const char *what)
{
	fprintf(stderr, "send: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t random_u64(void)	/* splitmix64: the same clients in every run */
{
	static uint64_t state = 1;
	uint64_t z = (state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* RFC 1071 over 'size' bytes (even) and what was summed up before. */
static uint32_t sum16(const void *data, size_t size, uint32_t sum)
{
	uint16_t w;
	size_t i;

	for (i = 0; i < size; i += sizeof(w)) {
		memcpy(&w, (const char *)data + i, sizeof(w));
		sum += w;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

/* Both must be right: conntrack looks at TCP's. */
static void set_checksums(struct client *c, const struct frame *f)
{
	struct iphdr ip = f->ip;
	struct tcphdr tcp = f->tcp;

	ip.saddr = c->saddr;
	c->ip_check = fold(sum16(&ip, sizeof(ip), 0));
	tcp.source = c->sport;
	c->tcp_check = fold(sum16(&tcp, sizeof(tcp), sum16(&ip.saddr, 8, 0) + htons(IPPROTO_TCP) +
				  htons(sizeof(tcp))));
	tcp.syn = 1;
	tcp.ack = 0;
	c->syn_check = fold(sum16(&tcp, sizeof(tcp), sum16(&ip.saddr, 8, 0) + htons(IPPROTO_TCP) +
				  htons(sizeof(tcp))));
}

static uint32_t bucket_of(const struct client *c, uint32_t buckets)
{
	uint8_t key[8] = { 0 };

	memcpy(key, &c->saddr, 4);
	memcpy(key + 4, &c->sport, 2);
	return reciprocal_scale(jhash(key, sizeof(key), BENCH_SEED), buckets);
}

static bool foreign_to_all(const struct client *c)
{
	return !bench_mine(bucket_of(c, 4096)) && !bench_mine(bucket_of(c, 65536)) &&
	       reciprocal_scale(jhash(&c->saddr, 4, BENCH_SEED), BENCH_NODES) != 0;
}

/* kept_of 0: foreign clients */
static void choose_clients(unsigned int want, uint32_t kept_of)
{
	while (n_clients < want) {
		uint64_t r = random_u64();
		struct client c = {
			.saddr = htonl(0x0b000000u | (uint32_t)(r & 0xffffff)),
			.sport = htons((uint16_t)(1024 + (r >> 32) % 64512)),
		};

		if (kept_of ? !bench_kept(bucket_of(&c, kept_of), kept_of) : !foreign_to_all(&c))
			continue;
		set_checksums(&c, &frame[0]);
		client[n_clients++] = c;
	}
}

static void make_frames(void)
{
	struct frame f = {
		.eth = { .h_dest = { 0x01, 0, 0x5e, 0x4d, 0, 0xfa }, .h_source = { 2, 0, 0, 0, 0, 0x64 },
			 .h_proto = htons(ETH_P_IP) },
		.ip = { .version = 4, .ihl = 5, .tot_len = htons(40), .ttl = 64, .protocol = IPPROTO_TCP,
			.daddr = htonl(BENCH_VIP) },
		.tcp = { .dest = htons(BENCH_PORT), .doff = 5, .ack = 1, .window = htons(1000) },
	};
	unsigned int i;

	for (i = 0; i < BATCH; i++) {
		frame[i] = f;
		iov[i] = (struct iovec){ &frame[i], sizeof(f) };
		msg[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
}

static void open_device(struct device *d, const char *arg)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	const char *eq = strchr(arg, '=');
	int one = 1;

	snprintf(d->name, sizeof(d->name), "%.*s", (int)(eq ? eq - arg : (long)strlen(arg)), arg);
	d->other = eq && !strcmp(eq, "=other");
	to.sll_ifindex = (int)if_nametoindex(d->name);
	if (!to.sll_ifindex)
		die(d->name);
	d->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (d->fd < 0 || setsockopt(d->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    bind(d->fd, (struct sockaddr *)&to, sizeof(to)))
		die("packet socket");
}

static void send_batch(const struct device *d, unsigned int *at, unsigned int n, bool syn)
{
	unsigned int i, done;

	for (i = 0; i < n; i++) {
		const struct client *c = &client[(*at)++ % n_clients];

		frame[i].eth.h_dest[0] = d->other ? 0x02 : n_syn ? 0x06 : 0x01;
		frame[i].ip.saddr = c->saddr;
		frame[i].ip.check = c->ip_check;
		frame[i].tcp.source = c->sport;
		frame[i].tcp.check = syn ? c->syn_check : c->tcp_check;
		frame[i].tcp.syn = syn;
		frame[i].tcp.ack = !syn;
	}
	for (done = 0; done < n;) {
		int ret = sendmmsg(d->fd, msg + done, n - done, 0);

		if (ret < 0 && errno != ENOBUFS && errno != EINTR)
			die(d->name);
		if (ret > 0)
			done += (unsigned int)ret;
	}
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* What left the device reached the other end of a veth pair: its queue refuses aloud. */
static unsigned long long sent_by(const char *device)
{
	size_t len = strlen(device);
	unsigned long long n = 0;
	bool found = false;
	char line[512];
	FILE *f = fopen("/proc/net/dev", "r");

	if (!f)
		die("/proc/net/dev");
	while (!found && fgets(line, sizeof(line), f)) {
		const char *p = line + strspn(line, " ");

		/* eight numbers of what was received come first */
		found = !strncmp(p, device, len) && p[len] == ':' &&
			sscanf(p + len + 1, "%*u%*u%*u%*u%*u%*u%*u%*u%*u%llu", &n) == 1;
	}
	fclose(f);
	if (!found)
		die(device);
	return n;
}

static void rounds(unsigned int count, unsigned int n_rounds, struct device *d, unsigned int n)
{
	unsigned int warm = n_syn ? n_syn : CLIENTS, r, i, k, at = 0;

	for (i = 0; i < n; i++)
		for (k = 0; k < n_syn; k += BATCH)
			send_batch(&d[i], &at, BATCH, true);
	for (r = 0; r < n_rounds; r++)
		for (i = 0; i < n; i++) {
			/* each round begins with another device: no one always comes after the same */
			const struct device *dev = &d[(i + r) % n];
			unsigned long long before = sent_by(dev->name);
			double start;

			at = 0;
			for (k = 0; k < warm; k += BATCH)	/* its tables */
				send_batch(dev, &at, BATCH, false);
			start = cpu_ns();
			for (k = 0; k < count; k += BATCH)
				send_batch(dev, &at, BATCH, false);
			start = (cpu_ns() - start) / k;
			printf("{\"device\": \"%s\", \"round\": %u, \"ns\": %.1f, \"lost\": %lld}\n",
			       dev->name, r, start,
			       (long long)(k + warm) - (long long)(sent_by(dev->name) - before));
			fflush(stdout);
		}
}

static void on_term(int sig)
{
	stop = sig;
}

static void stream(const struct device *d, unsigned int per_second)
{
	unsigned long long due, sent = 0;
	struct timespec start, t;
	unsigned int at = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!stop) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		due = (unsigned long long)(((double)(t.tv_sec - start.tv_sec) +
					    (double)(t.tv_nsec - start.tv_nsec) / 1e9) * per_second);
		if (due < sent + 8) {
			usleep(50);
			continue;
		}
		send_batch(d, &at, 8, false);
		sent += 8;
	}
	printf("{\"sent\": %llu}\n", sent);
}

static void pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)atoi(cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("processor");
}

int main(int argc, char **argv)
{
	struct device dev[32];
	int i;

	make_frames();
	if (argc >= 6 && argc <= 5 + 32 && !strcmp(argv[1], "rounds")) {
		pin(argv[2]);
		choose_clients(CLIENTS, 0);
		for (i = 5; i < argc; i++)
			open_device(&dev[i - 5], argv[i]);
		rounds((unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]), dev,
		       (unsigned int)argc - 5);
	} else if (argc >= 7 && argc <= 6 + 32 && !strcmp(argv[1], "flows")) {
		pin(argv[2]);
		n_syn = (unsigned int)atoi(argv[3]) / BATCH * BATCH;
		if (!n_syn || n_syn > CLIENTS)
			die("flows");
		for (i = 0; i < (int)BATCH; i++)	/* as TCP does */
			frame[i].ip.frag_off = htons(IP_DF);
		choose_clients(n_syn, 0);
		for (i = 6; i < argc; i++)
			open_device(&dev[i - 6], argv[i]);
		rounds((unsigned int)atoi(argv[4]), (unsigned int)atoi(argv[5]), dev,
		       (unsigned int)argc - 6);
	} else if (argc == 6 && !strcmp(argv[1], "stream")) {
		signal(SIGTERM, on_term);
		pin(argv[2]);
		choose_clients(FEW, (uint32_t)atoi(argv[3]));
		open_device(&dev[0], argv[5]);
		stream(&dev[0], (unsigned int)atoi(argv[4]));
	} else {
		fprintf(stderr, "usage: send rounds CPU COUNT ROUNDS DEVICE[=other]...\n"
			"       send flows CPU FLOWS COUNT ROUNDS DEVICE[=other]...\n"
			"       send stream CPU BUCKETS PER_SECOND DEVICE\n");
		return 2;
	}
	return 0;
}

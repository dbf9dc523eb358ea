/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a decision in userspace costs, on the place of tests/netns/handed_lab.h: SYNs of ever new
 * clients come in over a veth, the service is least-conn, every flow goes to one of two other nodes
 * by their MACs.
 *
 *   rate      as many SYNs as the sender can make, while the queue's thread has a CPU of its own:
 *             verdicts per second by the clock, and per second of that thread's CPU time (the same if
 *             it is busy all the time).  What a packet costs behind the verdict (copy, route,
 *             transmission) is paid by that thread as well.
 *   latency   one SYN at a time, from its transmission until it has left for its node; the same
 *             with scheduler = probability, which stays in the kernel.  Added = the difference.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "io/queue.h"
#include "netns/handed_lab.h"

enum { WORLD_NS, NODE_NS, NUMBER = 7, SAMPLES = 3000, BURST = 64 };
#define RATE_MS 3000

static struct queue *queue;
static struct queue_table table;
static int raw;
static struct sockaddr_ll to;
static uint32_t client_no;

static int64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* CPU time of the queue's thread: all of the process that is not ours. */
static int64_t thread_ns(void)
{
	struct timespec all_ts, own;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all_ts);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
	return (int64_t)(all_ts.tv_sec - own.tv_sec) * 1000000000 + all_ts.tv_nsec - own.tv_nsec;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("affinity");
}

static size_t frame(uint8_t *out)
{
	struct packet p = { .family = AF_INET, .proto = IPPROTO_TCP, .flags = 2,
			    .client = { .family = AF_INET, .b = { 100 } } };
	uint8_t mac[6];

	p.sport = (uint16_t)(1024 + client_no % 60000);
	client_no++;
	p.client.b[1] = (uint8_t)(client_no >> 16);
	p.client.b[2] = (uint8_t)(client_no >> 8);
	p.client.b[3] = (uint8_t)client_no;
	mac_of(CLIENT_ID, mac);
	memcpy(out, node_mac, 6);
	memcpy(out + 6, mac, 6);
	out[12] = 8;
	out[13] = 0;
	return 14 + make_ip(&p, out + 14);
}

static void open_socket(int protocol)
{
	struct sockaddr_ll any = { .sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol) };

	enter(WORLD_NS);
	to = (struct sockaddr_ll){ .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("w0") };
	any.sll_ifindex = to.sll_ifindex;
	raw = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons((uint16_t)protocol));
	if (raw < 0 || bind(raw, (void *)&any, sizeof(any)))
		die("packet socket");
}

static void scheduler(enum conf_sched sched)
{
	const uint16_t weight[] = { 0, 0, 100, 100 };

	conf.sched = sched;
	memcpy(service.weight, weight, sizeof(weight));
	table = (struct queue_table){ .n_services = 1, .nodes = 7, .directors = 1,
					  .give_up_ms = 3000 };
	table.service[0].sched = sched;
	memcpy(table.service[0].weight, weight, sizeof(weight));
	install();
	all(BUCKET_MINE, NOBODY);
	if (queue && queue_set_table(queue, &table))
		die("table");
	usleep(20000);
}

static void drain_items(void)
{
	struct queue_item item[256];

	while (queue_next(queue, item, 256))
		;
}

/* ---- rate ---- */

static void rate(void)
{
	static uint8_t buf[BURST][128];
	struct mmsghdr msg[BURST] = { 0 };
	struct iovec iov[BURST];
	struct queue_stats before, after;
	int64_t start, spent, cpu;
	uint64_t sent = 0, n;

	open_socket(0);		/* nothing is read from it */
	for (unsigned int i = 0; i < BURST; i++) {
		iov[i].iov_base = buf[i];
		msg[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1, .msg_name = &to,
						  .msg_namelen = sizeof(to) };
	}
	queue_stats(queue, &before);
	cpu = thread_ns();
	start = clock_ns();
	do {
		for (unsigned int i = 0; i < BURST; i++)
			iov[i].iov_len = frame(buf[i]);
		sent += (uint64_t)sendmmsg(raw, msg, BURST, 0);
		drain_items();
	} while (clock_ns() - start < RATE_MS * INT64_C(1000000));
	queue_stats(queue, &after);
	spent = clock_ns() - start;
	cpu = thread_ns() - cpu;
	n = after.handed - before.handed;
	printf("queue: %llu SYNs sent in %.1f s, %llu handed on, %llu dropped by the full queue, "
	       "%llu by the full socket\n",
	       (unsigned long long)sent, (double)spent / 1e9, (unsigned long long)n,
	       (unsigned long long)(after.queue_dropped - before.queue_dropped),
	       (unsigned long long)(after.user_dropped - before.user_dropped));
	/* the rest of the core was somebody else's, or there was nothing to do */
	printf("queue: the thread ran for %.0f %% of the time\n", 100.0 * (double)cpu / (double)spent);
	printf("queue: decisions per second, by the clock: %.0f\n", (double)n * 1e9 / (double)spent);
	printf("queue: decisions per second of one core: %.0f\n", (double)n * 1e9 / (double)cpu);
	close(raw);
	usleep(300000);
}

/* ---- latency ---- */

/* ns until the SYN that was sent just now has come out again, or -1. */
static int64_t one_way(void)
{
	uint8_t buf[256], got[256];
	size_t size = frame(buf);
	int64_t start = clock_ns(), now;

	if (sendto(raw, buf, size, 0, (void *)&to, sizeof(to)) < 0)
		die("send");
	do {
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(raw, got, sizeof(got), 0, (void *)&from, &len);

		now = clock_ns();
		if (n >= 54 && from.sll_pkttype != PACKET_OUTGOING && !memcmp(got + 26, buf + 26, 4) &&
		    !memcmp(got + 34, buf + 34, 2))
			return now - start;
	} while (now - start < 100000000);
	return -1;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void latency(int64_t out[2], const char *what)
{
	static int64_t sample[SAMPLES];
	unsigned int n = 0, lost = 0;
	int64_t t;

	open_socket(ETH_P_IP);
	for (unsigned int i = 0; i < SAMPLES; i++) {
		t = one_way();
		if (t < 0)
			lost++;
		else
			sample[n++] = t;
		if (queue)
			drain_items();
		usleep(200);
	}
	close(raw);
	if (n < SAMPLES / 2) {
		printf("not ok - %s: %u of %d SYNs lost\n", what, lost, SAMPLES);
		exit(1);
	}
	qsort(sample, n, sizeof(*sample), by_size);
	out[0] = sample[n / 2];
	out[1] = sample[n * 99 / 100];
	printf("queue: %-12s p50 %.1f us, p99 %.1f us, %u of %d lost\n", what, (double)out[0] / 1e3,
	       (double)out[1] / 1e3, lost, SAMPLES);
}

int main(void)
{
	struct queue_params p = { .first = NUMBER, .n = 1, .self = 1 };
	int64_t kernel[2], user[2];
	const char *why;
	int native;

	alarm(120);
	handed_make();
	enter(NODE_NS);
	native = rules_queue_native();
	want.queue = NUMBER;
	want.n_queues = 1;
	want.queue_xt = !native;
	/* The thread inherits it: one CPU for the decisions, the other one for the sender. */
	pin(sysconf(_SC_NPROCESSORS_ONLN) > 1);
	if (queue_open(&queue, &p, &why))
		die(why);
	pin(0);
	printf("queue: %s\n", native ? "native" : "by nft_compat");
	scheduler(SCHED_LEAST_CONN);
	rate();
	latency(user, "least-conn");
	scheduler(SCHED_PROBABILITY);
	latency(kernel, "probability");
	printf("queue: added latency p50: %.1f us\nqueue: added latency p99: %.1f us\n",
	       (double)(user[0] - kernel[0]) / 1e3, (double)(user[1] - kernel[1]) / 1e3);
	queue_close(queue);
	close_all();
	return 0;
}

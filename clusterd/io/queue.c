/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/queue.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include "io/queue_decide.h"
#include "util/clock.h"

#define COPY_BYTES   128u	/* IPv6, an extension header, TCP without options */
#define MAX_PACKETS  4096u
#define BUFFER_BYTES (8u << 20)
#define ASKS_PER_S   1000u
#define FLOWS        65536u
#define GIVE_UP_MS   3000	/* until there is a table */
#define FORGET_MS    70000	/* beyond the longest grace */
#define BATCH        64u	/* packets per wake-up: one read, one write */
#define NEW_BATCHES  8u
#define MESSAGE      1024u	/* a packet's message: 128 bytes of it and some 200 of attributes */
#define VERDICT      64u	/* header 20, verdict 12, mark 8 */
#define RING         8192u	/* a power of two */
#define ANSWER_S     2

/* One writer, one reader, of two threads.  Positions only grow; what is between them is there. */
struct ring { _Atomic uint32_t head, tail; };

struct queue {
	struct queue_params p;
	struct mnl_socket *nl[2];	/* new flows; unknown mid-stream packets */
	int proc;			/* the kernel's counters */
	pthread_t thread;
	bool running;
	atomic_bool stop;

	/* thread -> main */
	int out_fd;
	struct ring out;
	struct queue_item *item;	/* RING */
	/* main -> thread */
	int in_fd;
	struct ring in;
	struct flow *learn;		/* RING */
	_Atomic(struct queue_table *) table;
	atomic_bool count;		/* somebody wants to know how many entries there are */

	/* the thread's own */
	struct queue_decider d;
	int64_t counted_ms;
	uint8_t buf[BATCH][MESSAGE];
	uint8_t verdict[BATCH * VERDICT];
	size_t verdict_size;

	/* what the thread tells about itself; nothing but copying happens under the lock */
	pthread_mutex_t lock;
	struct queue_stats stats;
	uint64_t decided[SERVICES_MAX], dropped[SERVICES_MAX];
	_Atomic uint64_t not_learnt;
};

static void wake(int fd)
{
	uint64_t one = 1;

	/* it can only fail because it is readable already */
	(void)!write(fd, &one, sizeof(one));
}

static void calm(int fd)
{
	uint64_t n;

	(void)!read(fd, &n, sizeof(n));
}

/* Room for one: its index, or -1. */
static int64_t ring_room(struct ring *r)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&r->tail, memory_order_acquire) == RING)
		return -1;
	return head % RING;
}

static void ring_push(struct ring *r)
{
	atomic_fetch_add_explicit(&r->head, 1, memory_order_release);
}

/* The next one: its index, or -1. */
static int64_t ring_next(struct ring *r)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
		return -1;
	return tail % RING;
}

static void ring_pop(struct ring *r)
{
	atomic_fetch_add_explicit(&r->tail, 1, memory_order_release);
}

/* ---- the thread ---- */

static bool tell(struct queue *q, enum queue_kind kind, const struct flow *f)
{
	int64_t at = ring_room(&q->out);

	if (at < 0) {
		q->d.stats.ring_full++;
		return false;
	}
	q->item[at] = (struct queue_item){ .kind = kind, .flow = *f };
	ring_push(&q->out);
	return true;
}

/* The one place where a packet gets its verdict. */
static void put_verdict(struct queue *q, uint16_t queue_num, uint32_t id,
			const struct queue_verdict *v)
{
	struct nlmsghdr *nlh = nfq_nlmsg_put((char *)q->verdict + q->verdict_size,
					     NFQNL_MSG_VERDICT, queue_num);

	nfq_nlmsg_verdict_put(nlh, (int)id, v->accept ? NF_ACCEPT : NF_DROP);
	if (v->accept)
		nfq_nlmsg_verdict_put_mark(nlh, v->mark);
	assert(nlh->nlmsg_len <= VERDICT);
	q->verdict_size += MNL_ALIGN(nlh->nlmsg_len);
}

/* A packet without an id cannot get a verdict; the kernel sends none. */
static bool one_packet(struct queue *q, const struct nlmsghdr *nlh, int64_t now)
{
	struct nlattr *attr[NFQA_MAX + 1] = { 0 };
	const struct nfqnl_msg_packet_hdr *head;
	const struct nfgenmsg *nfg;
	struct queue_verdict v = { 0 };
	bool told = false;

	if (nlh->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) ||
	    nfq_nlmsg_parse(nlh, attr) < 0 || !attr[NFQA_PACKET_HDR] ||
	    mnl_attr_get_payload_len(attr[NFQA_PACKET_HDR]) < sizeof(*head))
		return false;
	head = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
	nfg = mnl_nlmsg_get_payload(nlh);
	if (attr[NFQA_MARK] && attr[NFQA_PAYLOAD]) {
		v = queue_decide(&q->d, ntohl(mnl_attr_get_u32(attr[NFQA_MARK])),
				 mnl_attr_get_payload(attr[NFQA_PAYLOAD]),
				 mnl_attr_get_payload_len(attr[NFQA_PAYLOAD]), now);
	} else {
		q->d.stats.malformed++;
		q->d.stats.dropped++;
	}
	put_verdict(q, ntohs(nfg->res_id), ntohl(head->packet_id), &v);
	if (v.teach)
		told |= tell(q, QUEUE_TEACH, &v.flow);
	if (v.ask)
		told |= tell(q, QUEUE_ASK, &v.flow);
	return told;
}

static void send_verdicts(struct queue *q, struct mnl_socket *nl)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (!q->verdict_size)
		return;
	/* The kernel has them all when sendto() returns: nothing to wait for. */
	(void)!sendto(mnl_socket_get_fd(nl), q->verdict, q->verdict_size, 0,
		      (struct sockaddr *)&kernel, sizeof(kernel));
	q->verdict_size = 0;
}

/* One batch.  False: there was less than that. */
static bool read_packets(struct queue *q, struct mnl_socket *nl)
{
	struct mmsghdr msg[BATCH] = { 0 };
	struct iovec iov[BATCH];
	bool told = false;
	int64_t now;
	int n, left;

	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ .iov_base = q->buf[i], .iov_len = MESSAGE };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(mnl_socket_get_fd(nl), msg, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0) {
		q->d.stats.overruns += errno == ENOBUFS;
		return errno == ENOBUFS || errno == EINTR;
	}
	now = now_ms();
	for (int i = 0; i < n; i++) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)q->buf[i];

		left = (int)msg[i].msg_len;
		if (msg[i].msg_hdr.msg_flags & MSG_TRUNC)
			left = 0;	/* not ours: no packet's message is that long */
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			if (q->verdict_size + VERDICT > sizeof(q->verdict))
				send_verdicts(q, nl);
			told |= one_packet(q, nlh, now);
		}
	}
	send_verdicts(q, nl);
	if (told)
		wake(q->out_fd);
	return n == BATCH;
}

/* What the main thread has said. */
static void take_orders(struct queue *q)
{
	struct queue_table *t = atomic_exchange(&q->table, NULL);
	int64_t now = now_ms(), at;
	struct flowtab_counts c;

	if (t)
		queue_decide_table(&q->d, t, now);
	free(t);
	while ((at = ring_next(&q->in)) >= 0) {
		flowtab_learn(q->d.flows, &q->learn[at], now);
		q->d.stats.learned++;
		ring_pop(&q->in);
	}
	if (now - q->counted_ms >= 1000 && atomic_exchange(&q->count, false)) {
		q->counted_ms = now;
		flowtab_count(q->d.flows, now, &c);
		q->d.stats.known = c.known;
		q->d.stats.picked = c.picked;
		q->d.stats.asked = c.asked;
	}
}

static void publish(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stats = q->d.stats;
	memcpy(q->decided, q->d.decided, sizeof(q->decided));
	memcpy(q->dropped, q->d.dropped, sizeof(q->dropped));
	pthread_mutex_unlock(&q->lock);
}

static void *queue_main(void *arg)
{
	struct queue *q = arg;
	struct pollfd p[3] = {
		{ .fd = mnl_socket_get_fd(q->nl[0]), .events = POLLIN },
		{ .fd = mnl_socket_get_fd(q->nl[1]), .events = POLLIN },
		{ .fd = q->in_fd, .events = POLLIN },
	};
	unsigned int n;

	while (!atomic_load(&q->stop)) {
		if (poll(p, 3, -1) < 0)
			continue;
		if (p[2].revents)
			calm(q->in_fd);
		take_orders(q);
		/* Orders wait for some batches at most, new flows for one of the others. */
		for (n = 0; p[0].revents && n < NEW_BATCHES && read_packets(q, q->nl[0]); n++)
			;
		if (p[1].revents)
			(void)read_packets(q, q->nl[1]);
		publish(q);
	}
	return NULL;
}

/* ---- opening ---- */

/* Sends one configuration message and waits for its acknowledgement. */
static int configure(struct mnl_socket *nl, struct nlmsghdr *nlh)
{
	uint8_t buf[4096];
	ssize_t n;

	nlh->nlmsg_flags |= NLM_F_ACK;
	nlh->nlmsg_seq = 1;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		const struct nlmsghdr *a = (const struct nlmsghdr *)buf;

		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		/* a packet of a queue that is bound already: gets no verdict, ever */
		if (mnl_nlmsg_ok(a, (int)n) && a->nlmsg_type == NLMSG_ERROR && a->nlmsg_seq == 1)
			return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(a))->error;
	}
}

static int bind_queue(const struct queue *q, struct mnl_socket *nl, uint16_t number)
{
	char buf[256];
	struct nlmsghdr *nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, number);
	int err;

	nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	err = configure(nl, nlh);
	if (err)
		return err;
	nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, number);
	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, COPY_BYTES);
	nfq_nlmsg_cfg_put_qmaxlen(nlh, q->p.max_packets);
	/* large packets as they are; never "accept" because there is no room */
	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_GSO));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN));
	return configure(nl, nlh);
}

static int open_socket(const struct queue *q, struct mnl_socket **out)
{
	const struct timeval limit = { .tv_sec = ANSWER_S };
	int size = (int)q->p.buffer_bytes, fd;

	*out = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!*out || mnl_socket_bind(*out, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	fd = mnl_socket_get_fd(*out);
	/* Only a wish: with less, packets are lost sooner. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

static int open_queues(struct queue *q, const char **why)
{
	int err;

	*why = "socket for packets from the kernel";
	err = open_socket(q, &q->nl[0]);
	if (!err)
		err = open_socket(q, &q->nl[1]);
	if (err)
		return err;
	*why = "NFQUEUE (kernel module nfnetlink_queue)";
	for (unsigned int i = 0; i <= q->p.n && !err; i++)
		err = bind_queue(q, q->nl[i == q->p.n], (uint16_t)(q->p.first + i));
	/* Of the opening thread's network namespace; not there: counters stay 0. */
	q->proc = open("/proc/thread-self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC);
	return err;
}

static int open_memory(struct queue *q, const char **why)
{
	struct flowtab_params t = {
		.known = q->p.flows, .picked = q->p.flows, .asked = q->p.flows,
		.known_ms = 3600000, .picked_ms = 60000,
		.asks_per_s = q->p.asks_per_s, .asks_burst = q->p.asks_per_s,
		.again_ms = 500, .give_up_ms = GIVE_UP_MS, .forget_ms = FORGET_MS,
	};

	*why = "memory";
	if (getrandom(&t.seed, sizeof(t.seed), 0) != sizeof(t.seed) ||
	    getrandom(&q->d.tie, sizeof(q->d.tie), 0) != sizeof(q->d.tie))
		return -EIO;
	q->d.self = q->p.self;
	q->d.flows = flowtab_new(&t);
	q->item = calloc(RING, sizeof(*q->item));
	q->learn = calloc(RING, sizeof(*q->learn));
	return q->d.flows && q->item && q->learn ? 0 : -ENOMEM;
}

static int start(struct queue *q, const char **why)
{
	sigset_t all, old;
	int err;

	*why = "thread for the queue";
	q->out_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->in_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->out_fd < 0 || q->in_fd < 0)
		return -errno;
	/* Signals are the main thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&q->thread, NULL, queue_main, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	q->running = !err;
	return -err;
}

int queue_open(struct queue **out, const struct queue_params *p, const char **why)
{
	struct queue *q = calloc(1, sizeof(*q));
	int err;

	*out = NULL;
	*why = "memory";
	if (!q)
		return -ENOMEM;
	assert(p->n && p->self != NOBODY && p->self <= NODES_MAX);
	q->p = *p;
	q->p.max_packets = p->max_packets ? p->max_packets : MAX_PACKETS;
	q->p.buffer_bytes = p->buffer_bytes ? p->buffer_bytes : BUFFER_BYTES;
	q->p.asks_per_s = p->asks_per_s ? p->asks_per_s : ASKS_PER_S;
	q->p.flows = p->flows ? p->flows : FLOWS;
	q->proc = q->in_fd = q->out_fd = -1;
	q->counted_ms = INT64_MIN / 2;
	pthread_mutex_init(&q->lock, NULL);
	err = open_memory(q, why);
	if (!err)
		err = open_queues(q, why);
	if (!err)
		err = start(q, why);
	if (err) {
		queue_close(q);
		return err;
	}
	*out = q;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void queue_close(struct queue *q)
{
	if (!q)
		return;
	if (q->running) {
		atomic_store(&q->stop, true);
		wake(q->in_fd);
		pthread_join(q->thread, NULL);
	}
	for (unsigned int i = 0; i < 2; i++)
		if (q->nl[i])
			mnl_socket_close(q->nl[i]);
	close_fd(q->proc);
	close_fd(q->in_fd);
	close_fd(q->out_fd);
	free(atomic_load(&q->table));
	flowtab_free(q->d.flows);
	free(q->item);
	free(q->learn);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

/* ---- the main thread's side ---- */

int queue_fd(const struct queue *q)
{
	return q->out_fd;
}

unsigned int queue_next(struct queue *q, struct queue_item *item, unsigned int room)
{
	unsigned int n = 0;
	int64_t at;

	while (n < room) {
		at = ring_next(&q->out);
		if (at < 0 && !n) {
			/* readable while something is there: hence a second look */
			calm(q->out_fd);
			at = ring_next(&q->out);
		}
		if (at < 0)
			break;
		item[n++] = q->item[at];
		ring_pop(&q->out);
	}
	return n;
}

int queue_set_table(struct queue *q, const struct queue_table *table)
{
	struct queue_table *t = malloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	assert(table->n_services <= SERVICES_MAX && table->directors >= 1);
	*t = *table;
	free(atomic_exchange(&q->table, t));
	wake(q->in_fd);
	return 0;
}

void queue_learn(struct queue *q, const struct flow *flow, unsigned int n)
{
	int64_t at;

	for (unsigned int i = 0; i < n; i++) {
		at = ring_room(&q->in);
		if (at < 0) {
			atomic_fetch_add(&q->not_learnt, n - i);
			break;
		}
		q->learn[at] = flow[i];
		ring_push(&q->in);
	}
	wake(q->in_fd);
}

/* A line per queue: number, port id, waiting, mode, range, dropped, dropped by the socket, ... */
static void read_proc(struct queue *q, struct queue_stats *out)
{
	unsigned int number, waiting, dropped, user;
	char buf[8192], *line, *save = NULL;
	ssize_t n;

	n = q->proc < 0 ? -1 : pread(q->proc, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		return;
	buf[n] = '\0';
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%u %*u %u %*u %*u %u %u", &number, &waiting, &dropped,
			   &user) != 4 || number < q->p.first || number > q->p.first + q->p.n)
			continue;
		out->waiting += waiting;
		out->queue_dropped += dropped;
		out->user_dropped += user;
	}
}

void queue_stats(struct queue *q, struct queue_stats *out)
{
	pthread_mutex_lock(&q->lock);
	*out = q->stats;
	pthread_mutex_unlock(&q->lock);
	out->ring_full += atomic_load(&q->not_learnt);
	read_proc(q, out);
	atomic_store(&q->count, true);
	wake(q->in_fd);
}

void queue_service_stats(struct queue *q, unsigned int service, uint64_t *decisions,
			 uint64_t *dropped)
{
	*decisions = *dropped = 0;
	if (service >= SERVICES_MAX)
		return;
	pthread_mutex_lock(&q->lock);
	*decisions = q->decided[service];
	*dropped = q->dropped[service];
	pthread_mutex_unlock(&q->lock);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/reach.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "io/reach_segment.h"

#define TRIES 3
#define READS 64	/* packets per call and socket */

struct asked {
	bool open;
	struct reach_question q;
	uint32_t seq;
	unsigned int tries;
	int64_t next, end, step;
};

struct reach {
	int epoll, fd[2];		/* IPv4, IPv6 */
	int ifindex;
	struct asked asked[REACH_OPEN_MAX];
};

/*
 * TCP with RST, or with SYN and ACK: the answers, and hardly anything that comes to a server.  The socket
 * sees packets from the IP header on.
 */
static int filter(int fd, bool v6)
{
	struct sock_filter head4[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, REACH_SYN | REACH_RST | REACH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, REACH_RST, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REACH_SYN | REACH_ACK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 128),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter head6[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 5),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40 + 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, REACH_SYN | REACH_RST | REACH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, REACH_RST, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REACH_SYN | REACH_ACK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 128),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog p = {
		.len = v6 ? sizeof(head6) / sizeof(*head6) : sizeof(head4) / sizeof(*head4),
		.filter = v6 ? head6 : head4,
	};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)) < 0 ? -errno : 0;
}

/* The filter before the address: nothing else may get in between. */
static int listen_to(const struct reach *r, bool v6)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_ifindex = r->ifindex };
	struct epoll_event e = { .events = EPOLLIN };
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	err = filter(fd, v6);
	a.sll_protocol = htons(v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (!err && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err = -errno;
	if (!err && epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

int reach_open(struct reach **out, const char *interface)
{
	struct reach *r = calloc(1, sizeof(*r));
	int err = 0;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->fd[0] = r->fd[1] = -1;
	r->ifindex = (int)if_nametoindex(interface);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!r->ifindex || r->epoll < 0)
		err = -errno;
	for (unsigned int v6 = 0; v6 < 2 && !err; v6++) {
		r->fd[v6] = listen_to(r, v6);
		err = r->fd[v6] < 0 ? r->fd[v6] : 0;
	}
	if (err)
		reach_close(r);
	else
		*out = r;
	return err;
}

void reach_close(struct reach *r)
{
	if (!r)
		return;
	for (unsigned int v6 = 0; v6 < 2; v6++)
		if (r->fd[v6] >= 0)
			close(r->fd[v6]);
	if (r->epoll >= 0)
		close(r->epoll);
	free(r);
}

int reach_fd(const struct reach *r)
{
	return r->epoll;
}

static int send_segment(const struct reach *r, const struct asked *k, uint8_t flags, uint32_t seq)
{
	struct reach_segment s = { .from = k->q.from, .to = k->q.vip, .sport = k->q.sport,
				   .dport = k->q.dport, .seq = seq, .flags = flags };
	bool v6 = k->q.vip.family == AF_INET6;
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = r->ifindex, .sll_halen = 6,
				  .sll_protocol = htons(v6 ? ETH_P_IPV6 : ETH_P_IP) };
	uint8_t packet[REACH_PACKET_MAX];
	size_t size = reach_build(packet, &s);

	memcpy(to.sll_addr, k->q.mac, 6);
	return sendto(r->fd[v6], packet, size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0 ?
	       -errno : 0;
}

int reach_ask(struct reach *r, const struct reach_question *q, int timeout_ms, int64_t now_ms)
{
	struct asked *k = r->asked;
	int err;

	while (k < r->asked + REACH_OPEN_MAX && k->open)
		k++;
	if (k == r->asked + REACH_OPEN_MAX)
		return -EBUSY;
	*k = (struct asked){ .q = *q, .tries = 1, .step = timeout_ms / TRIES + 1,
			     .end = now_ms + timeout_ms };
	if (getrandom(&k->seq, sizeof(k->seq), GRND_NONBLOCK) != sizeof(k->seq))
		k->seq = (uint32_t)now_ms;	/* early at boot; nobody gains by guessing it */
	k->next = now_ms + k->step;
	err = send_segment(r, k, REACH_SYN, k->seq);
	k->open = !err;
	return err;
}

static struct asked *find(struct reach *r, const struct reach_segment *s)
{
	for (struct asked *k = r->asked; k < r->asked + REACH_OPEN_MAX; k++)
		if (k->open && k->q.sport == s->dport && k->q.dport == s->sport &&
		    s->ack == k->seq + 1 && (s->flags & REACH_ACK) &&
		    !addr_cmp(&k->q.vip, &s->from) && !addr_cmp(&k->q.from, &s->to))
			return k;
	return NULL;
}

static void heard(struct reach *r, const struct reach_segment *s, reach_cb cb, void *arg)
{
	struct asked *k = find(r, s);

	if (!k)
		return;
	k->open = false;
	if (!(s->flags & REACH_RST))	/* it would wait for the rest of a handshake */
		send_segment(r, k, REACH_RST, k->seq + 1);
	cb(arg, k->q.tag, s->flags & REACH_RST ? REACH_REFUSED : REACH_YES);
}

void reach_dispatch(struct reach *r, int64_t now_ms, reach_cb cb, void *arg)
{
	struct reach_segment s;
	uint8_t packet[128];
	ssize_t n = 0;

	for (unsigned int v6 = 0; v6 < 2; v6++)
		for (unsigned int i = 0; i < READS; i++) {
			n = recv(r->fd[v6], packet, sizeof(packet), MSG_DONTWAIT);
			if (n < 0)
				break;
			if (!reach_read(packet, (size_t)n, &s))
				heard(r, &s, cb, arg);
		}
	for (struct asked *k = r->asked; k < r->asked + REACH_OPEN_MAX; k++) {
		if (!k->open || now_ms < k->next)
			continue;
		if (now_ms >= k->end) {
			k->open = false;
			cb(arg, k->q.tag, REACH_SILENT);
		} else {
			k->next = k->tries < TRIES - 1 ? now_ms + k->step : k->end;
			k->tries++;
			send_segment(r, k, REACH_SYN, k->seq);
		}
	}
}

int64_t reach_deadline(const struct reach *r)
{
	int64_t at = INT64_MAX;

	for (const struct asked *k = r->asked; k < r->asked + REACH_OPEN_MAX; k++)
		if (k->open && k->next < at)
			at = k->next;
	return at;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "io/rules.h"
#include "io/rules_nl.h"

#ifndef ERESTART
#define ERESTART 85
#endif

#define SOCKET_BUFFER (64 << 20)	/* a limit: 64 nodes and 16 services are 65,000 answers in one batch */
#define GENID_SEQ     0x7fffffffu	/* never the number of a message in a batch */

struct rules_nl {
	int fd;
	uint32_t portid;
	uint8_t buf[32768];
};

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/*
 * At the death of a process the kernel releases its files with the highest descriptor first (exit
 * queues them as task work, which runs last in, first out: kernel/task_work.c; measured).  The
 * tables must be gone before corosync's socket is, which tells the group that we are.
 */
static int move_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, RULES_FD_MIN), err = errno;

	close(fd);
	errno = err;
	return high;
}

int rules_nl_open(struct rules_nl **out)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(addr);
	struct rules_nl *nl = calloc(1, sizeof(*nl));
	int size = SOCKET_BUFFER, one = 1, err;

	if (!nl)
		return -ENOMEM;
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	if (nl->fd >= 0)
		nl->fd = move_up(nl->fd);
	if (nl->fd < 0 || bind(nl->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    getsockname(nl->fd, (struct sockaddr *)&addr, &len))
		goto fail;
	nl->portid = addr.nl_pid;
	/* Without CAP_NET_ADMIN these fail, and so will everything else, with a better message. */
	setsockopt(nl->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(nl->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	/* Errors come without a copy of the message that they are about. */
	setsockopt(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	*out = nl;
	return 0;
fail:
	err = -errno;
	rules_nl_close(nl);
	return err;
}

void rules_nl_close(struct rules_nl *nl)
{
	if (!nl)
		return;
	if (nl->fd >= 0)
		close(nl->fd);
	free(nl);
}

uint32_t rules_nl_portid(const struct rules_nl *nl)
{
	return nl->portid;
}

static int transmit(struct rules_nl *nl, const void *buf, size_t size)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n = sendto(nl->fd, buf, size, 0, (struct sockaddr *)&kernel, sizeof(kernel));

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EMSGSIZE;
}

/* The kernel answers within sendto(), so what is not there now will never come: 0 at the end. */
static ssize_t receive(struct rules_nl *nl)
{
	struct sockaddr_nl from;
	socklen_t len = sizeof(from);
	ssize_t n;

	do {
		n = recvfrom(nl->fd, nl->buf, sizeof(nl->buf), MSG_TRUNC,
			     (struct sockaddr *)&from, &len);
	} while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid != 0));
	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ENOBUFS ? -EAGAIN : -errno;
	return (size_t)n > sizeof(nl->buf) ? -EAGAIN : n;
}

static void drain(struct rules_nl *nl)
{
	while (receive(nl) != 0)
		;
}

static int nl_error(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	return mnl_nlmsg_get_payload_len(nlh) < sizeof(e->error) ? -EBADMSG : e->error;
}

int rules_nl_get(struct rules_nl *nl, struct nlmsghdr *request,
		 void (*cb)(const struct nlmsghdr *answer, void *arg), void *arg)
{
	bool dump = request->nlmsg_flags & NLM_F_DUMP, done = false;
	ssize_t n;
	int ret;

	drain(nl);
	ret = transmit(nl, request, request->nlmsg_len);
	while (!ret && !done && (n = receive(nl)) != 0) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)nl->buf;
		int left = (int)n;

		if (n < 0)
			return (int)n;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			if (nlh->nlmsg_seq != request->nlmsg_seq)
				continue;
			if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
				ret = -EAGAIN;
			if (nlh->nlmsg_type == NLMSG_ERROR) {
				ret = nl_error(nlh);
				done = true;
			} else if (nlh->nlmsg_type == NLMSG_DONE) {
				done = true;
			} else {
				cb(nlh, arg);
				done = !dump;
			}
		}
	}
	return ret ? ret : done ? 0 : -EAGAIN;
}

static void genid_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == NFTA_GEN_ID && mnl_attr_get_payload_len(attr) == 4)
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(attr));
}

static int read_genid(struct rules_nl *nl, uint32_t *genid)
{
	uint8_t buf[64] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;
	int ret;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = GENID_SEQ;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->version = NFNETLINK_V0;
	*genid = 0;
	ret = rules_nl_get(nl, nlh, genid_cb, genid);
	return ret ? ret : *genid ? 0 : -EBADMSG;
}

/* All answers to the batch; the first error in the order of the messages wins. */
static int collect(struct rules_nl *nl, const struct rules_batch *b, struct rules_result *res)
{
	unsigned int acks = 0, worst = b->n;
	int err = 0;
	ssize_t n;

	while ((n = receive(nl)) != 0) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)nl->buf;
		int left = (int)n;

		if (n < 0)
			return (int)n;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			int e;

			if (nlh->nlmsg_type != NLMSG_ERROR || nlh->nlmsg_seq >= b->n)
				continue;
			e = nl_error(nlh);
			if (!e) {
				acks++;
			} else if (nlh->nlmsg_seq < worst) {
				worst = nlh->nlmsg_seq;
				err = e;
			}
		}
	}
	if (err) {
		res->message = worst;
		return err;
	}
	return acks == b->n - 2 ? 0 : -EAGAIN;	/* all but begin and end */
}

int rules_nl_commit(struct rules_nl *nl, struct rules_batch *b, unsigned int tries,
		    int (*prepare)(void *arg), void *arg, struct rules_result *res)
{
	uint32_t before, after;
	int64_t start;
	int ret;

	memset(res, 0, sizeof(*res));
	if (b->failed)
		return -ENOMEM;
	if (b->n == 2)
		return 0;	/* begin and end only */
	for (;;) {
		ret = read_genid(nl, &before);
		if (ret)
			return ret;
		/* after the read: what 'prepare' computes from the clock is older than no commit */
		ret = prepare ? prepare(arg) : 0;
		if (ret)
			return ret;
		rules_batch_genid(b, before);
		start = now_us();
		ret = transmit(nl, b->buf, b->used);
		res->us = now_us() - start;
		if (ret)
			return ret;
		ret = collect(nl, b, res);
		if (ret != -ERESTART || res->conflicts + 1 >= tries)
			break;
		res->conflicts++;
	}
	if (ret)
		return ret;
	ret = read_genid(nl, &after);
	return ret ? ret : after != before ? 0 : -EAGAIN;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include "stack_queue.h"

struct stack_queue {
	struct mnl_socket *nl;
};

static struct nlmsghdr *message(void *buf, uint8_t type, uint16_t queue, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(queue);
	return nlh;
}

static bool bind_queue(struct mnl_socket *nl, uint16_t queue)
{
	struct nfqnl_msg_config_cmd cmd = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params params = { .copy_range = htonl(64),
						  .copy_mode = NFQNL_COPY_PACKET };
	uint8_t buf[8192] = { 0 };
	struct nlmsghdr *nlh = message(buf, NFQNL_MSG_CONFIG, queue, NLM_F_ACK);
	ssize_t n;

	mnl_attr_put(nlh, NFQA_CFG_CMD, sizeof(cmd), &cmd);
	mnl_attr_put(nlh, NFQA_CFG_PARAMS, sizeof(params), &params);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return false;
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	return n > 0 && mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(nl), NULL, NULL) >= 0;
}

struct stack_queue *stack_queue_open(uint16_t first, uint16_t n)
{
	struct stack_queue *q = calloc(1, sizeof(*q));
	uint16_t i;

	if (!q)
		return NULL;
	q->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!q->nl || mnl_socket_bind(q->nl, 0, MNL_SOCKET_AUTOPID))
		goto fail;
	for (i = 0; i < n; i++)
		if (!bind_queue(q->nl, (uint16_t)(first + i)))
			goto fail;
	return q;
fail:
	stack_queue_close(q);
	return NULL;
}

void stack_queue_close(struct stack_queue *q)
{
	if (q->nl)
		mnl_socket_close(q->nl);
	free(q);
}

bool stack_queue_answer(struct stack_queue *q, uint32_t mark, int ms, uint32_t *had)
{
	struct pollfd p = { .fd = mnl_socket_get_fd(q->nl), .events = POLLIN };
	struct nfqnl_msg_verdict_hdr v = { .verdict = htonl(NF_ACCEPT) };
	uint8_t buf[8192];
	const struct nlmsghdr *got = (const void *)buf;
	const struct nlattr *a;
	struct nlmsghdr *nlh;
	bool found = false;
	uint16_t queue;
	ssize_t n;

	if (poll(&p, 1, ms) != 1)
		return false;
	n = mnl_socket_recvfrom(q->nl, buf, sizeof(buf));
	if (n <= 0 || !mnl_nlmsg_ok(got, (int)n) || (got->nlmsg_type & 0xff) != NFQNL_MSG_PACKET)
		return false;
	queue = ntohs(((const struct nfgenmsg *)mnl_nlmsg_get_payload(got))->res_id);
	*had = 0;
	mnl_attr_for_each(a, got, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(a) == NFQA_PACKET_HDR) {
			const struct nfqnl_msg_packet_hdr *h = mnl_attr_get_payload(a);

			v.id = h->packet_id;
			found = true;
		} else if (mnl_attr_get_type(a) == NFQA_MARK) {
			*had = ntohl(mnl_attr_get_u32(a));
		}
	}
	memset(buf, 0, 256);
	nlh = message(buf, NFQNL_MSG_VERDICT, queue, 0);
	mnl_attr_put(nlh, NFQA_VERDICT_HDR, sizeof(v), &v);
	mnl_attr_put_u32(nlh, NFQA_MARK, htonl(mark));
	return found && mnl_socket_sendto(q->nl, nlh, nlh->nlmsg_len) >= 0;
}

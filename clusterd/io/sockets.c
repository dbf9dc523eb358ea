// SPDX-License-Identifier: GPL-2.0-or-later
#include "io/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>

/* All that a client may wait on; what is closed on both sides ends by itself. */
#define STATES (1u << TCP_ESTABLISHED | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | \
		1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING)
#define REQUEST_SIZE (MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct inet_diag_req_v2)))

struct found { uint8_t family; struct inet_diag_sockid id; };

struct search {
	const struct conf_service *s;
	sockets_cb wanted;
	void *arg;
	unsigned int n;
	struct found found[SOCKETS_ABORT_MAX];
};

/* A socket that serves both families shows IPv4 as ::ffff:a.b.c.d. */
static struct addr address(uint8_t family, const uint32_t raw[4])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct addr a = { .family = family };

	memcpy(a.b, raw, family == AF_INET ? 4 : 16);
	if (family != AF_INET6 || memcmp(a.b, mapped, sizeof(mapped)))
		return a;
	a.family = AF_INET;
	memmove(a.b, a.b + 12, 4);
	memset(a.b + 4, 0, 12);
	return a;
}

static bool of_service(const struct conf_service *s, const struct addr *vip, uint16_t port)
{
	bool address = false;

	for (unsigned int i = 0; i < s->n_vips && !address; i++)
		address = !addr_cmp(&s->vip[i], vip);
	for (unsigned int i = 0; i < s->n_ports && address; i++)
		if (s->port[i].proto == IPPROTO_TCP && port >= s->port[i].lo && port <= s->port[i].hi)
			return true;
	return false;
}

static int take(const struct nlmsghdr *nlh, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct search *f = arg;
	struct addr vip, client;

	if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY || mnl_nlmsg_get_payload_len(nlh) < sizeof(*m) ||
	    f->n == SOCKETS_ABORT_MAX)
		return MNL_CB_OK;
	vip = address(m->idiag_family, m->id.idiag_src);
	client = address(m->idiag_family, m->id.idiag_dst);
	if (of_service(f->s, &vip, ntohs(m->id.idiag_sport)) &&
	    f->wanted(f->arg, &client, ntohs(m->id.idiag_dport)))
		f->found[f->n++] = (struct found){ m->idiag_family, m->id };
	return MNL_CB_OK;
}

static struct nlmsghdr *request(char *buf, uint16_t type, uint16_t flags, uint8_t family,
				const struct inet_diag_sockid *id)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *r = mnl_nlmsg_put_extra_header(nlh, sizeof(*r));

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	r->sdiag_family = family;
	r->sdiag_protocol = IPPROTO_TCP;
	r->idiag_states = STATES;
	if (id)
		r->id = *id;
	return nlh;
}

/* Sends it and reads until the end of the answer.  0 or -errno. */
static int ask(struct mnl_socket *nl, const struct nlmsghdr *nlh, char *buf, size_t size, mnl_cb_t cb,
	       void *arg)
{
	int ret;

	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(nl, buf, size);

		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		ret = mnl_cb_run(buf, (size_t)n, 0, 0, cb, arg);
	} while (ret > MNL_CB_STOP);
	return ret < 0 ? -errno : 0;
}

static int find_and_end(struct mnl_socket *nl, struct search *f)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	char out[REQUEST_SIZE], in[32768];
	int err = 0, ended = 0;

	for (unsigned int i = 0; i < 2 && !err; i++)
		err = ask(nl, request(out, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, families[i], NULL), in,
			  sizeof(in), take, f);
	for (unsigned int i = 0; i < f->n && !err; i++) {
		err = ask(nl, request(out, SOCK_DESTROY, NLM_F_ACK, f->found[i].family, &f->found[i].id),
			  in, sizeof(in), NULL, NULL);
		ended += !err;
		if (err == -ENOENT)	/* has ended meanwhile */
			err = 0;
	}
	return err ? err : ended;
}

int sockets_abort(const struct conf_service *s, sockets_cb wanted, void *arg)
{
	const struct timeval patience = { .tv_usec = 200000 };	/* the kernel answers at once */
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct search *f = calloc(1, sizeof(*f));
	int ret = -errno;

	if (nl && f && mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == 0) {
		setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		f->s = s;
		f->wanted = wanted;
		f->arg = arg;
		ret = find_and_end(nl, f);
	} else if (nl) {
		ret = f ? -errno : -ENOMEM;
	}
	free(f);
	if (nl)
		mnl_socket_close(nl);
	return ret;
}

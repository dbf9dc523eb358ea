/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/flows.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "util/jhash.h"

#define BUF_SIZE  32768		/* the kernel fills up to this much per recv of a dump */
#define ANSWER_MS 2000

/*
 * The dump goes over libmnl rather than nfct_query(): that one neither sets close-on-exec on its
 * socket nor says when a dump was interrupted.
 */
struct flows {
	struct mnl_socket *nl;	/* NULL after an error: what is left in it is of no use */
	uint32_t seq;
	uint8_t buf[BUF_SIZE] __attribute__((aligned(MNL_ALIGNTO)));
};

/* One walk through the table: 'one' gets each live flow of ours. */
struct dump {
	const struct flows_service *s;
	unsigned int n;
	/* 'bucket' of flow->service; false ends the walk */
	bool (*one)(void *arg, const struct flow *flow, uint32_t bucket, uint32_t expires_ms);
	void *arg;
	bool stop;
	int err;
};

static int flows_connect(struct flows *f)
{
	const struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
	int err;

	f->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!f->nl)
		return -errno;
	if (mnl_socket_bind(f->nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(f->nl), SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof(limit)) < 0) {
		err = -errno;
		mnl_socket_close(f->nl);
		f->nl = NULL;
		return err;
	}
	return 0;
}

int flows_open(struct flows **out)
{
	struct flows *f = calloc(1, sizeof(*f));
	int err;

	*out = NULL;
	if (!f)
		return -ENOMEM;
	err = flows_connect(f);
	if (err) {
		flows_close(f);
		return err;
	}
	*out = f;
	return 0;
}

void flows_close(struct flows *f)
{
	if (!f)
		return;
	if (f->nl)
		mnl_socket_close(f->nl);
	free(f);
}

static bool alive(const struct nf_conntrack *ct, uint8_t proto)
{
	/* UDP has no end; what was never answered is no flow */
	if (proto == IPPROTO_UDP)
		return nfct_attr_is_set(ct, ATTR_STATUS) &&
		       nfct_get_attr_u32(ct, ATTR_STATUS) & IPS_SEEN_REPLY;
	if (proto != IPPROTO_TCP || !nfct_attr_is_set(ct, ATTR_TCP_STATE))
		return false;
	switch (nfct_get_attr_u8(ct, ATTR_TCP_STATE)) {
	case TCP_CONNTRACK_SYN_RECV:
	case TCP_CONNTRACK_ESTABLISHED:
	case TCP_CONNTRACK_FIN_WAIT:
	case TCP_CONNTRACK_CLOSE_WAIT:
	case TCP_CONNTRACK_LAST_ACK:
		return true;
	default:		/* the kernel's enum, it may grow */
		return false;
	}
}

static void get_addr(const struct nf_conntrack *ct, enum nf_conntrack_attr attr4,
		     enum nf_conntrack_attr attr6, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	if (nfct_attr_is_set(ct, attr4)) {
		out->family = AF_INET;
		memcpy(out->b, nfct_get_attr(ct, attr4), 4);
	} else if (nfct_attr_is_set(ct, attr6)) {
		out->family = AF_INET6;
		memcpy(out->b, nfct_get_attr(ct, attr6), 16);
	}
}

static bool serves(const struct conf_service *c, const struct flow *f)
{
	unsigned int v = 0, p = 0;

	while (v < c->n_vips && addr_cmp(&c->vip[v], &f->vip) != 0)
		v++;
	while (p < c->n_ports && (c->port[p].proto != f->proto || f->dport < c->port[p].lo ||
				  f->dport > c->port[p].hi))
		p++;
	return v < c->n_vips && p < c->n_ports;
}

static bool get_flow(const struct nf_conntrack *ct, struct flow *f)
{
	memset(f, 0, sizeof(*f));
	if (!nfct_attr_is_set(ct, ATTR_ORIG_L4PROTO) ||
	    !nfct_attr_is_set(ct, ATTR_ORIG_PORT_SRC) || !nfct_attr_is_set(ct, ATTR_ORIG_PORT_DST))
		return false;
	f->proto = nfct_get_attr_u8(ct, ATTR_ORIG_L4PROTO);
	get_addr(ct, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, &f->client);
	get_addr(ct, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, &f->vip);
	f->sport = ntohs(nfct_get_attr_u16(ct, ATTR_ORIG_PORT_SRC));
	f->dport = ntohs(nfct_get_attr_u16(ct, ATTR_ORIG_PORT_DST));
	return f->client.family && f->client.family == f->vip.family && alive(ct, f->proto);
}

static void one_entry(struct dump *d, const struct nf_conntrack *ct)
{
	uint32_t expires = nfct_attr_is_set(ct, ATTR_TIMEOUT) ?
			   nfct_get_attr_u32(ct, ATTR_TIMEOUT) : 0;
	struct flow f;

	if (d->stop || !get_flow(ct, &f))
		return;
	for (unsigned int i = 0; i < d->n; i++) {
		const struct flows_service *s = &d->s[i];
		uint32_t b;

		if (!serves(s->conf, &f))
			continue;
		b = jhash_bucket(&f.client, f.sport, s->hash == HASH_SOURCE_PORT, s->buckets,
				 s->seed);
		assert(b < s->buckets);
		f.service = (uint8_t)i;
		if (!s->wanted || s->wanted[b / 8] & (1 << b % 8))
			d->stop = !d->one(d->arg, &f, b, expires > UINT32_MAX / 1000 ?
					  UINT32_MAX : expires * 1000);
		return;		/* services do not overlap */
	}
}

static int flow_msg(const struct nlmsghdr *nlh, void *data)
{
	struct dump *d = data;
	struct nf_conntrack *ct;

	if (nlh->nlmsg_type != ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW))
		return MNL_CB_OK;
	/* A new one for each: parsing sets what the message has and clears nothing. */
	ct = nfct_new();
	if (!ct) {
		d->err = -ENOMEM;
		return MNL_CB_STOP;
	}
	if (nfct_nlmsg_parse(nlh, ct) == 0)
		one_entry(d, ct);
	nfct_destroy(ct);
	return MNL_CB_OK;
}

/* The family all VIPs have, or AF_UNSPEC: the kernel then leaves the other one out of the dump. */
static uint8_t family_of(const struct flows_service *s, unsigned int n)
{
	uint8_t family = AF_UNSPEC;

	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int v = 0; v < s[i].conf->n_vips; v++) {
			if (family != AF_UNSPEC && s[i].conf->vip[v].family != family)
				return AF_UNSPEC;
			family = s[i].conf->vip[v].family;
		}
	}
	return family;
}

static int flows_dump(struct flows *f, uint8_t family, struct dump *d)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(f->buf);
	struct nfgenmsg *nfg;
	int ret;

	nlh->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++f->seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	if (mnl_socket_sendto(f->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t got = mnl_socket_recvfrom(f->nl, f->buf, sizeof(f->buf));

		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		ret = mnl_cb_run(f->buf, (size_t)got, f->seq, mnl_socket_get_portid(f->nl),
				 flow_msg, d);
		if (ret < 0)
			return -errno;
	} while (ret > MNL_CB_STOP);
	return d->err;
}

static int flows_walk(struct flows *f, struct dump *d)
{
	int err;

	if (!f->nl) {
		err = flows_connect(f);
		if (err)
			return err;
	}
	err = flows_dump(f, family_of(d->s, d->n), d);
	if (err) {
		mnl_socket_close(f->nl);
		f->nl = NULL;
	}
	return err;
}

static bool count_one(void *arg, const struct flow *flow, uint32_t bucket, uint32_t expires_ms)
{
	struct flows_service *s = (struct flows_service *)arg + flow->service;

	if (flow->proto == IPPROTO_TCP && s->count[bucket] < UINT16_MAX)
		s->count[bucket]++;
	return true;
}

int flows_count(struct flows *f, struct flows_service *s, unsigned int n)
{
	struct dump d = { .s = s, .n = n, .one = count_one, .arg = s };

	for (unsigned int i = 0; i < n; i++)
		memset(s[i].count, 0, s[i].buckets * sizeof(*s[i].count));
	return flows_walk(f, &d);
}

struct list {
	bool (*cb)(void *arg, const struct flow *flow, uint32_t expires_ms);
	void *arg;
};

static bool list_one(void *arg, const struct flow *flow, uint32_t bucket, uint32_t expires_ms)
{
	const struct list *l = arg;

	return l->cb(l->arg, flow, expires_ms);
}

int flows_list(struct flows *f, const struct flows_service *s, unsigned int n,
	       bool (*cb)(void *arg, const struct flow *flow, uint32_t expires_ms), void *arg)
{
	struct list l = { .cb = cb, .arg = arg };
	struct dump d = { .s = s, .n = n, .one = list_one, .arg = &l };

	return flows_walk(f, &d);
}

static bool load_one(void *arg, const struct flow *flow, uint32_t bucket, uint32_t expires_ms)
{
	((uint32_t *)arg)[flow->service]++;
	return true;
}

int flows_load(struct flows *f, const struct flows_service *s, unsigned int n, uint32_t *conns)
{
	struct dump d = { .s = s, .n = n, .one = load_one, .arg = conns };

	memset(conns, 0, n * sizeof(*conns));
	return flows_walk(f, &d);
}

static int has_msg(const struct nlmsghdr *nlh, void *data)
{
	struct nf_conntrack *ct;
	struct flow f;

	if (nlh->nlmsg_type != ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW))
		return MNL_CB_OK;
	ct = nfct_new();
	if (!ct)
		return MNL_CB_OK;
	if (nfct_nlmsg_parse(nlh, ct) == 0 && get_flow(ct, &f))
		*(bool *)data = true;
	nfct_destroy(ct);
	return MNL_CB_OK;
}

static int put_tuple(struct flows *f, struct nlmsghdr *nlh, const struct flow *flow)
{
	struct nf_conntrack *ct = nfct_new();
	bool v4 = flow->client.family == AF_INET;
	int ret;

	if (!ct)
		return -ENOMEM;
	nfct_set_attr_u8(ct, ATTR_ORIG_L3PROTO, flow->client.family);
	nfct_set_attr_u8(ct, ATTR_ORIG_L4PROTO, flow->proto);
	nfct_set_attr(ct, v4 ? ATTR_ORIG_IPV4_SRC : ATTR_ORIG_IPV6_SRC, flow->client.b);
	nfct_set_attr(ct, v4 ? ATTR_ORIG_IPV4_DST : ATTR_ORIG_IPV6_DST, flow->vip.b);
	nfct_set_attr_u16(ct, ATTR_ORIG_PORT_SRC, htons(flow->sport));
	nfct_set_attr_u16(ct, ATTR_ORIG_PORT_DST, htons(flow->dport));
	ret = nfct_nlmsg_build(nlh, ct) < 0 ? -EINVAL : 0;
	nfct_destroy(ct);
	return ret;
}

/* The answer is the entry and an acknowledgement, or an error. */
static int flows_get(struct flows *f, const struct flow *flow)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(f->buf);
	struct nfgenmsg *nfg;
	bool found = false;
	int ret;

	nlh->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = ++f->seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = flow->client.family;
	nfg->version = NFNETLINK_V0;
	ret = put_tuple(f, nlh, flow);
	if (ret)
		return ret;
	if (mnl_socket_sendto(f->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t got = mnl_socket_recvfrom(f->nl, f->buf, sizeof(f->buf));

		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		ret = mnl_cb_run(f->buf, (size_t)got, f->seq, mnl_socket_get_portid(f->nl),
				 has_msg, &found);
		if (ret < 0)
			return errno == ENOENT ? 0 : -errno;
	} while (ret > MNL_CB_STOP);
	return found;
}

int flows_has(struct flows *f, const struct flow *flow)
{
	int ret = f->nl ? 0 : flows_connect(f);

	if (ret)
		return ret;
	ret = flows_get(f, flow);
	if (ret < 0) {
		mnl_socket_close(f->nl);
		f->nl = NULL;
	}
	return ret;
}

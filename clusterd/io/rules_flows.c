/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The contents of the flow maps that rules_sched.c makes. */
#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "io/rules_enc.h"
#include "io/rules_priv.h"
#include "io/rules_sched.h"

#define CHUNK     512u		/* flows per transaction */
#define TRIES     20
#define LIST_BUF  32768
#define ANSWER_S  2

_Static_assert(RULES_FLOW_KEY6 == 2 * 16 + 2 * 4 + 4, "key of an IPv6 flow");

/* One flow as the kernel's map has it. */
struct item {
	uint8_t key[RULES_FLOW_KEY6];
	uint32_t key_size, node, timeout_ms;
	char set[24];
	enum { ITEM_ADD, ITEM_MOVE, ITEM_THERE } todo;	/* MOVE: there with another node */
};

static void set_name(char set[24], unsigned int service, bool v4)
{
	snprintf(set, 24, "s%u_fm%d", service, v4 ? 4 : 6);
}

static void make_item(struct item *it, const struct flow *f)
{
	bool v4 = f->client.family == AF_INET;
	uint32_t size = v4 ? 4 : 16;
	uint16_t port;

	memset(it, 0, sizeof(*it));
	set_name(it->set, f->service, v4);
	memcpy(it->key, f->client.b, size);
	port = htons(f->sport);
	memcpy(it->key + size, &port, 2);
	memcpy(it->key + size + 4, f->vip.b, size);
	port = htons(f->dport);
	memcpy(it->key + 2 * size + 4, &port, 2);
	it->key[2 * size + 8] = f->proto;
	it->key_size = v4 ? RULES_FLOW_KEY4 : RULES_FLOW_KEY6;
	it->node = f->node;
	it->timeout_ms = f->proto == IPPROTO_TCP ? RULES_FLOW_TCP_MS : RULES_FLOW_UDP_MS;
}

static void read_item(struct flow *f, unsigned int service, bool v4, const uint8_t *key,
		      uint32_t node)
{
	uint32_t size = v4 ? 4 : 16;
	uint16_t port;

	memset(f, 0, sizeof(*f));
	f->service = (uint8_t)service;
	f->node = (uint8_t)node;
	f->client.family = f->vip.family = v4 ? AF_INET : AF_INET6;
	memcpy(f->client.b, key, size);
	memcpy(&port, key + size, 2);
	f->sport = ntohs(port);
	memcpy(f->vip.b, key + size + 4, size);
	memcpy(&port, key + 2 * size + 4, 2);
	f->dport = ntohs(port);
	f->proto = key[2 * size + 8];
}

/* ---- reading elements ---- */

struct element { const uint8_t *key; uint32_t key_size, node; uint64_t expires_ms; };

static const struct nlattr *find(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static const struct nlattr *value(const struct nlattr *elem, uint16_t type)
{
	const struct nlattr *attr = find(elem, type);

	return attr ? find(attr, NFTA_DATA_VALUE) : NULL;
}

static bool read_element(const struct nlattr *elem, struct element *e)
{
	const struct nlattr *key = value(elem, NFTA_SET_ELEM_KEY);
	const struct nlattr *data = value(elem, NFTA_SET_ELEM_DATA);
	const struct nlattr *left = find(elem, NFTA_SET_ELEM_EXPIRATION);

	if (!key || !data || mnl_attr_get_payload_len(data) != 4)
		return false;
	e->key = mnl_attr_get_payload(key);
	e->key_size = mnl_attr_get_payload_len(key);
	e->node = mnl_attr_get_u32(data);
	e->expires_ms = left && mnl_attr_get_payload_len(left) == 8 ?
			be64toh(mnl_attr_get_u64(left)) : 0;
	return true;
}

static const struct nlattr *elements(const struct nlmsghdr *nlh)
{
	const struct nlattr *attr;

	if (nlh->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM))
		return NULL;
	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS)
			return attr;
	return NULL;
}

static struct nlmsghdr *request(void *buf, const char *set, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nlh->nlmsg_seq = 1;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = RULES_NETDEV;
	nfg->version = NFNETLINK_V0;
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, "clusterd");
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set);
	return nlh;
}

/* ---- adding ---- */

static void look_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *list = elements(nlh), *elem;
	struct item *it = arg;
	struct element e;

	if (!list)
		return;
	mnl_attr_for_each_nested(elem, list)
		if (read_element(elem, &e) && e.key_size == it->key_size &&
		    !memcmp(e.key, it->key, e.key_size))
			it->todo = e.node == it->node ? ITEM_THERE : ITEM_MOVE;
}

static int look(struct rules *r, struct item *it)
{
	uint8_t buf[256] = { 0 };
	struct nlmsghdr *nlh = request(buf, it->set, 0);
	struct nlattr *list, *elem, *key;
	int ret;

	list = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
	elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	key = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, it->key_size, it->key);
	mnl_attr_nest_end(nlh, key);
	mnl_attr_nest_end(nlh, elem);
	mnl_attr_nest_end(nlh, list);
	assert(nlh->nlmsg_len <= sizeof(buf));
	it->todo = ITEM_ADD;
	ret = rules_nl_get(rules_priv_nl(r), nlh, look_cb, it);
	return ret == -ENOENT ? 0 : ret;
}

static int commit(struct rules *r, const struct item *it, unsigned int n)
{
	struct rules_batch b = { 0 };
	struct rules_result res;
	int ret;

	rules_batch_begin(&b);
	for (unsigned int i = 0; i < n; i++) {
		if (it[i].todo == ITEM_MOVE)
			rules_batch_number(&b, false, it[i].set, it[i].key, it[i].key_size, 0, 0);
		if (it[i].todo != ITEM_THERE)
			rules_batch_number(&b, true, it[i].set, it[i].key, it[i].key_size,
					   it[i].node, it[i].timeout_ms);
	}
	rules_batch_end(&b);
	ret = rules_nl_commit(rules_priv_nl(r), &b, TRIES, NULL, NULL, &res);
	rules_batch_free(&b);
	return ret;
}

/* The same flow twice: the later word counts. */
static unsigned int unique(struct item *it, unsigned int n)
{
	unsigned int i, k, kept = 0;

	for (i = 0; i < n; i++) {
		for (k = i + 1; k < n; k++)
			if (!memcmp(it[i].key, it[k].key, sizeof(it[i].key)) &&
			    !strcmp(it[i].set, it[k].set))
				break;
		if (k == n)
			it[kept++] = it[i];
	}
	return kept;
}

static bool again(int err)
{
	return err == -EBUSY || err == -EEXIST || err == -ENOENT || err == -EAGAIN ||
	       err == -ERESTART;
}

static bool all_there(const struct item *it, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (it[i].todo != ITEM_THERE)
			return false;
	return true;
}

/*
 * Most flows are new to the map, so the first try adds them all.  The kernel refuses (EBUSY) to
 * give an element other data, and a transaction that changes nothing is none (EAGAIN): only then
 * each is looked up, and what is there with another node removed first.  The rules may add or
 * remove elements at any time in between, hence some more tries.
 */
static int add_chunk(struct rules *r, struct item *it, unsigned int n)
{
	int ret = commit(r, it, n), err;
	unsigned int tries, i;

	for (tries = 0; tries < 3 && again(ret); tries++) {
		if (!tries)
			n = unique(it, n);
		for (i = 0; i < n; i++) {
			err = look(r, &it[i]);
			if (err)
				return err;
		}
		ret = all_there(it, n) ? 0 : commit(r, it, n);
	}
	if (again(ret))
		return -EAGAIN;
	return ret == -ENFILE ? -ENOSPC : ret;
}

/* Which maps there are: 1 yes, -1 no, 0 not asked yet. */
static bool has_map(struct rules *r, int8_t have[SERVICES_MAX][2], const struct item *it,
		    const struct flow *f)
{
	int8_t *h;

	if (f->service >= SERVICES_MAX)
		return false;
	h = &have[f->service][f->client.family == AF_INET];
	if (!*h)
		*h = rules_priv_has_set(r, it->set) ? 1 : -1;
	return *h > 0;
}

int rules_flows_add(struct rules *r, const struct flow *flow, unsigned int n)
{
	struct item *it = calloc(CHUNK, sizeof(*it));
	int8_t have[SERVICES_MAX][2] = { 0 };
	unsigned int i, used = 0;
	int ret = it ? 0 : -ENOMEM;

	for (i = 0; !ret && i < n; i++) {
		make_item(&it[used], &flow[i]);
		used += has_map(r, have, &it[used], &flow[i]);
		if (used == CHUNK) {
			ret = add_chunk(r, it, used);
			used = 0;
		}
	}
	if (!ret && used)
		ret = add_chunk(r, it, used);
	free(it);
	return ret ? rules_priv_fail(r, ret, "flow map") : 0;
}

/* ---- listing ---- */

struct walk {
	unsigned int service;
	bool v4, stop;
	bool (*cb)(void *arg, const struct flow *flow, uint32_t expires_ms);
	void *arg;
};

static int list_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *list = elements(nlh), *elem;
	struct walk *w = arg;
	struct element e;
	struct flow f;

	if (!list)
		return MNL_CB_OK;
	mnl_attr_for_each_nested(elem, list) {
		if (w->stop || !read_element(elem, &e) ||
		    e.key_size != (w->v4 ? RULES_FLOW_KEY4 : RULES_FLOW_KEY6) ||
		    e.node == NOBODY || e.node > NODES_MAX)
			continue;
		read_item(&f, w->service, w->v4, e.key, e.node);
		w->stop = !w->cb(w->arg, &f, e.expires_ms > UINT32_MAX ? UINT32_MAX :
				 (uint32_t)e.expires_ms);
	}
	return MNL_CB_OK;
}

/*
 * Over a socket of its own: the other one must not be left with half a dump.  Each lease that is
 * renewed meanwhile makes the kernel call the dump inconsistent, which it is not for one map.
 */
static int list_map(struct walk *w, void *buf)
{
	const struct timeval limit = { .tv_sec = ANSWER_S };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct nlmsghdr *nlh, *p;
	char set[24];
	int ret = MNL_CB_OK, left;

	if (!nl)
		return -errno;
	set_name(set, w->service, w->v4);
	nlh = request(buf, set, NLM_F_DUMP);
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		ret = -errno;
	while (ret > MNL_CB_STOP) {
		ssize_t got = mnl_socket_recvfrom(nl, buf, LIST_BUF);

		if (got < 0) {
			ret = errno == EAGAIN ? -ETIMEDOUT : -errno;
			break;
		}
		for (p = buf, left = (int)got; mnl_nlmsg_ok(p, left); p = mnl_nlmsg_next(p, &left))
			p->nlmsg_flags &= (uint16_t)~NLM_F_DUMP_INTR;
		ret = mnl_cb_run(buf, (size_t)got, 1, mnl_socket_get_portid(nl), list_cb, w);
		if (ret < 0)
			ret = -errno;
	}
	mnl_socket_close(nl);
	return ret < 0 ? ret : 0;
}

int rules_flows_list(struct rules *r, unsigned int service,
		     bool (*cb)(void *arg, const struct flow *flow, uint32_t expires_ms), void *arg)
{
	struct walk w = { .service = service, .v4 = true, .cb = cb, .arg = arg };
	char set[24];
	void *buf;
	int ret;

	set_name(set, service, true);
	if (!rules_priv_has_set(r, set))
		return 0;	/* no scheduler: no map */
	buf = malloc(LIST_BUF);
	if (!buf)
		return rules_priv_fail(r, -ENOMEM, "flow map");
	ret = list_map(&w, buf);
	w.v4 = false;
	if (!ret && !w.stop)
		ret = list_map(&w, buf);
	free(buf);
	return ret ? rules_priv_fail(r, ret, "flow map") : 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "io/rules.h"
#include "io/rules_nl.h"
#include "io/rules_build.h"
#include "io/rules_plan.h"
#include "io/rules_priv.h"

#define MAX_ELEMENTS 1024
#define TRIES        20
#define EVENT_BUFFER (4 << 20)

/* What the codes in the kernel were made for: if it changes, they mean nothing any more. */
struct ident {
	char name[NAME_SIZE];
	uint32_t seed, buckets;
	enum conf_hash hash;
};

/* The numbers in one map of one service; 'n' 0: there is no such map. */
struct codes {
	uint32_t n;
	uint16_t *c;
};
#define N_CODES (2 * SERVICES_MAX)	/* of service i: 2 i is map sI_b, 2 i + 1 is sI_o */

struct rules {
	struct rules_nl *nl;
	int event_fd;
	uint32_t max_elements;
	struct rules_batch batch;
	/* what is installed */
	bool known;			/* 'plan', 'ident' and 'code' are what the kernel has */
	bool guard;
	struct rules_plan plan;
	unsigned int n_services;
	struct ident ident[SERVICES_MAX];
	struct codes code[N_CODES];
	struct rules_timing timing;
	char error[256];
};

static int fail(struct rules *r, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct rules *r, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->error, sizeof(r->error), fmt, ap);
	va_end(ap);
	return err;
}

const char *rules_strerror(const struct rules *r)
{
	return r->error[0] ? r->error : "no error";
}

/* ---- for rules_flows.c ---- */

struct rules_nl *rules_priv_nl(struct rules *r)
{
	return r->nl;
}

bool rules_priv_has_set(const struct rules *r, const char *name)
{
	unsigned int i;

	for (i = 0; r->known && i < r->plan.n_obj; i++)
		if (r->plan.obj[i].kind == OBJ_SET && r->plan.obj[i].family == RULES_NETDEV &&
		    !strcmp(r->plan.obj[i].name, name))
			return true;
	return false;
}

int rules_priv_fail(struct rules *r, int err, const char *what)
{
	return fail(r, err, "%s: %s", what, strerror(-err));
}

void rules_timing(struct rules *r, struct rules_timing *out, bool reset)
{
	*out = r->timing;
	if (reset)
		memset(&r->timing, 0, sizeof(r->timing));
}

/* ---- sockets ---- */

/*
 * Lets through only what others did: not our own commits (65,536 notifications for a large one),
 * not the lease table's (one every 30 ms), not the "new generation" that ends each commit.  A packet
 * holds messages of one commit only, so its first one speaks for all.
 */
static int filter_events(int fd, uint32_t portid)
{
	static const char lease[] = LEASE_TABLE;
	enum { AT_TYPE = 4, AT_PID = 12, AT_NAME = 24 };	/* attribute 1: the table's name */
	uint32_t w[3];
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_PID),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(portid), 9, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT_TYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			 htons(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN), 7, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_NAME),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_NAME + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_NAME + 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	unsigned int i;

	memcpy(w, lease, sizeof(w));
	for (i = 0; i < 3; i++)
		code[5 + 2 * i].k = ntohl(w[i]);
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

static int open_events(struct rules *r)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int group = NFNLGRP_NFTABLES, size = EVENT_BUFFER;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	int ret;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	ret = filter_events(fd, rules_nl_portid(r->nl));
	if (!ret && (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
		     setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group))))
		ret = -errno;
	if (ret) {
		close(fd);
		return ret;
	}
	r->event_fd = fd;
	return 0;
}

int rules_open(struct rules **out, const struct rules_params *params)
{
	struct rules *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->event_fd = -1;
	r->max_elements = params && params->max_elements ? params->max_elements : MAX_ELEMENTS;
	ret = rules_nl_open(&r->nl);
	if (!ret)
		ret = open_events(r);
	if (ret) {
		rules_close(r);
		return ret;
	}
	*out = r;
	return 0;
}

static void forget(struct rules *r)
{
	unsigned int i;

	for (i = 0; i < N_CODES; i++) {
		free(r->code[i].c);
		r->code[i] = (struct codes){ 0 };
	}
	rules_plan_free(&r->plan);
	r->n_services = 0;
	r->known = false;
}

void rules_close(struct rules *r)
{
	if (!r)
		return;
	forget(r);
	rules_batch_free(&r->batch);
	if (r->event_fd >= 0)
		close(r->event_fd);
	rules_nl_close(r->nl);
	free(r);
}

/* ---- transactions ---- */

static void explain(struct rules *r, int err, const struct rules_result *res)
{
	const struct rules_batch_what *what = &r->batch.what[res->message];
	char obj[128];

	if (err == -EAGAIN) {
		fail(r, err, "nftables: answers of the kernel were lost");
		return;
	}
	if (err == -ERESTART) {
		fail(r, err, "nftables: others keep changing the rules, gave up after %u tries",
		     res->conflicts + 1);
		return;
	}
	if (!res->message) {
		fail(r, err, "nftables: %s%s", strerror(-err),
		     err == -EPERM ? " (CAP_NET_ADMIN is needed)" : "");
		return;
	}
	if (!what->obj) {
		fail(r, err, "nftables: buckets: %s", strerror(-err));
		return;
	}
	rules_obj_str(what->plan, what->obj, obj, sizeof(obj));
	if (err == -EPERM || err == -EOPNOTSUPP) {
		if (what->obj->kind == OBJ_TABLE && what->obj->u.table.flags) {
			fail(r, err, "%s: %s (is another clusterd running? is the kernel older "
			     "than 5.12?)", obj, strerror(-err));
			return;
		}
	}
	fail(r, err, "%s: %s%s%s", obj, strerror(-err),
	     rules_obj_module(what->plan, what->obj)[0] ? "; needs " : "",
	     rules_obj_module(what->plan, what->obj));
}

/* Seals and sends r->batch. */
static int commit(struct rules *r)
{
	struct rules_result res;
	int ret;

	rules_batch_end(&r->batch);
	ret = rules_nl_commit(r->nl, &r->batch, TRIES, NULL, NULL, &res);
	r->timing.transactions++;
	r->timing.conflicts += res.conflicts;
	if (res.us > r->timing.longest_us)
		r->timing.longest_us = res.us;
	if (ret)
		explain(r, ret, &res);
	return ret == -ERESTART ? -EAGAIN : ret;
}

int rules_guard_install(struct rules *r, const struct rules_want *want)
{
	struct rules_plan plan = { 0 };
	struct rules_diff d;
	unsigned int i;
	int ret;

	ret = rules_plan_guard(&plan, want);
	if (!ret)
		ret = rules_plan_diff(&d, NULL, &plan);
	if (ret) {
		rules_plan_free(&plan);
		return fail(r, ret, "guard: %s", strerror(-ret));
	}
	rules_batch_begin(&r->batch);
	for (i = 0; i < d.n; i++)
		rules_batch_op(&r->batch, &d.op[i]);
	ret = commit(r);
	if (!ret)
		r->guard = true;
	rules_diff_free(&d);
	rules_plan_free(&plan);
	return ret;
}

/* One call of rules_commit(). */
struct change {
	struct rules_plan plan;
	struct rules_diff diff;
	struct ident ident[SERVICES_MAX];
	struct codes code[N_CODES];
	uint32_t n_buckets;	/* differing, over all maps */
};

static void change_free(struct change *c)
{
	unsigned int i;

	for (i = 0; i < N_CODES; i++)
		free(c->code[i].c);
	rules_diff_free(&c->diff);
	rules_plan_free(&c->plan);
}

static int codes_make(struct codes *c, uint32_t n)
{
	c->c = calloc(n, sizeof(*c->c));
	if (!c->c)
		return -ENOMEM;
	c->n = n;
	return 0;
}

static int change_codes(struct rules *r, struct change *c, const struct rules_want *want)
{
	unsigned int i;
	uint32_t b;

	for (i = 0; i < want->n_services; i++) {
		const struct rules_service *s = &want->service[i];
		struct codes *now = &c->code[2 * i], *old = &c->code[2 * i + 1];
		struct ident *id = &c->ident[i];

		memset(id, 0, sizeof(*id));
		snprintf(id->name, sizeof(id->name), "%s", s->conf->name);
		id->seed = s->seed;
		id->buckets = s->buckets;
		id->hash = s->hash;
		if (codes_make(now, s->buckets) ||
		    (build_has_old(s) && codes_make(old, s->old.buckets)))
			return fail(r, -ENOMEM, "out of memory");
		for (b = 0; b < now->n; b++)
			now->c[b] = rules_code(s, &s->action[b]);
		for (b = 0; b < old->n; b++)
			old->c[b] = rules_old_code(s->old.owner[b], want->self);
	}
	return 0;
}

static bool same_idents(const struct rules *r, const struct change *c, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n && i < r->n_services; i++)
		if (memcmp(&r->ident[i], &c->ident[i], sizeof(c->ident[i])))
			return false;
	return true;
}

static int change_make(struct rules *r, struct change *c, const struct rules_want *want)
{
	int ifindex[SERVICES_MAX] = { 0 };
	unsigned int i;
	int ret;

	for (i = 0; i < want->n_services && i < SERVICES_MAX; i++) {
		ifindex[i] = (int)if_nametoindex(want->service[i].interface);
		if (!ifindex[i])
			return fail(r, -ENODEV, "service %s: there is no interface %s",
				    want->service[i].conf->name, want->service[i].interface);
	}
	ret = rules_plan_live(&c->plan, want, ifindex);
	if (ret)
		return fail(r, ret, "rules cannot be built: %s", strerror(-ret));
	ret = change_codes(r, c, want);
	if (ret)
		return ret;
	ret = rules_plan_diff(&c->diff, r->known && same_idents(r, c, want->n_services) ?
			      &r->plan : NULL, &c->plan);
	return ret ? fail(r, ret, "rules cannot be compared: %s", strerror(-ret)) : 0;
}

/* Brings the code arrays to the shape of 'want': empty maps where they are new. */
static int shape_codes(struct rules *r, const struct change *c, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < N_CODES; i++) {
		if (r->code[i].n == c->code[i].n && !c->diff.rebuild)
			continue;
		free(r->code[i].c);
		r->code[i] = (struct codes){ 0 };
		if (c->code[i].n && codes_make(&r->code[i], c->code[i].n))
			return -ENOMEM;
	}
	memcpy(r->ident, c->ident, sizeof(r->ident));
	r->n_services = n;
	return 0;
}

/* What map 'i' holds before the change. */
static const uint16_t *had(const struct rules *r, const struct change *c, unsigned int i)
{
	static const uint16_t zero[BUCKETS_MAX];

	return r->code[i].n == c->code[i].n && !c->diff.rebuild ? r->code[i].c : zero;
}

static void put_codes(struct rules *r, unsigned int i, const uint16_t *have, const uint16_t *want,
		      uint32_t from, uint32_t to)
{
	rules_batch_buckets(&r->batch, i / 2, i % 2 ? 'o' : 'b', have, want, from, to);
}

/* The operations before the buckets, and if all fits, everything. */
static int commit_first(struct rules *r, struct change *c, const struct rules_want *want, bool all)
{
	unsigned int i;
	int ret;

	rules_batch_begin(&r->batch);
	for (i = 0; i < c->diff.n_pre; i++)
		rules_batch_op(&r->batch, &c->diff.op[i]);
	if (all) {
		for (i = 0; i < N_CODES; i++)
			put_codes(r, i, had(r, c, i), c->code[i].c, 0, c->code[i].n);
		for (i = c->diff.n_pre; i < c->diff.n; i++)
			rules_batch_op(&r->batch, &c->diff.op[i]);
	}
	ret = commit(r);
	if (ret)
		return ret;
	if (shape_codes(r, c, want->n_services))
		return fail(r, -ENOMEM, "out of memory");
	for (i = 0; all && i < N_CODES; i++)
		if (c->code[i].n)
			memcpy(r->code[i].c, c->code[i].c, c->code[i].n * sizeof(uint16_t));
	return 0;
}

static int commit_codes(struct rules *r, struct change *c, unsigned int i)
{
	uint32_t total = c->code[i].n, from, to, n;
	uint16_t *have = r->code[i].c, *want = c->code[i].c;
	int ret;

	for (from = 0; from < total; from = to) {
		to = rules_chunk(have, want, total, from, r->max_elements, &n);
		if (!n)
			continue;
		rules_batch_begin(&r->batch);
		put_codes(r, i, have, want, from, to);
		ret = commit(r);
		if (ret)
			return ret;
		memcpy(have + from, want + from, (to - from) * sizeof(*have));
	}
	return 0;
}

static int commit_last(struct rules *r, struct change *c)
{
	unsigned int i;

	if (c->diff.n_pre == c->diff.n)
		return 0;
	rules_batch_begin(&r->batch);
	for (i = c->diff.n_pre; i < c->diff.n; i++)
		rules_batch_op(&r->batch, &c->diff.op[i]);
	return commit(r);
}

static uint32_t count_codes(const struct rules *r, const struct change *c)
{
	uint32_t sum = 0, b;
	unsigned int i;

	for (i = 0; i < N_CODES; i++) {
		const uint16_t *have = had(r, c, i);

		for (b = 0; b < c->code[i].n; b++)
			sum += c->code[i].c[b] != have[b];
	}
	return sum;
}

static int change_apply(struct rules *r, struct change *c, const struct rules_want *want)
{
	bool all = c->n_buckets <= r->max_elements;
	unsigned int i;
	int ret = 0;

	/* Until the end, 'plan' does not say what the kernel has, unless nothing was done. */
	if (c->diff.n || all) {
		ret = commit_first(r, c, want, all);
		if (ret) {
			/* refused as a whole, except when answers were lost or memory ran out */
			r->known = r->known && ret != -EAGAIN && ret != -ENOMEM;
			return ret;
		}
		r->known = false;
	}
	for (i = N_CODES; !all && !ret && i-- > 0;)
		ret = commit_codes(r, c, i);	/* sI_o first: sI_b makes use of it */
	if (!all && !ret)
		ret = commit_last(r, c);
	/*
	 * A failure among the buckets leaves what the code arrays say; whoever still has things to
	 * remove starts afresh next time.
	 */
	if (ret == -EAGAIN || (ret && c->diff.n_pre < c->diff.n)) {
		r->known = false;
		return ret;
	}
	rules_plan_free(&r->plan);
	r->plan = c->plan;
	memset(&c->plan, 0, sizeof(c->plan));
	r->known = true;
	return ret;
}

static int commit_change(struct rules *r, const struct rules_want *want)
{
	struct change c = { 0 };
	int ret = change_make(r, &c, want);

	if (!ret) {
		c.n_buckets = count_codes(r, &c);
		if (c.diff.n || c.n_buckets)
			ret = change_apply(r, &c, want);
	}
	change_free(&c);
	return ret;
}

int rules_commit(struct rules *r, const struct rules_want *want)
{
	int ret = commit_change(r, want);

	/* Before Linux 6.16 a device that goes takes its chain along: there is less than we thought. */
	if (ret == -ENOENT && r->known) {
		r->known = false;
		ret = commit_change(r, want);
	}
	return ret;
}

/* ---- what is really there ---- */

struct found {
	struct { uint8_t family; bool owned; uint32_t owner; char name[32]; } table[64];
	unsigned int n_tables;
	unsigned int n_chains;		/* of netdev clusterd */
};

static const char *attr_str(const struct nlmsghdr *nlh, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == type)
			return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0 ? NULL :
			       mnl_attr_get_str(attr);
	return NULL;
}

static void table_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct found *f = arg;
	const char *name = attr_str(nlh, NFTA_TABLE_NAME);
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	if (!name || strncmp(name, "clusterd", 8) || strlen(name) >= sizeof(f->table[0].name) ||
	    f->n_tables == sizeof(f->table) / sizeof(f->table[0]))
		return;
	strcpy(f->table[f->n_tables].name, name);
	f->table[f->n_tables].family = nfg->nfgen_family;
	f->table[f->n_tables].owned = false;
	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == NFTA_TABLE_OWNER &&
		    mnl_attr_get_payload_len(attr) == 4) {
			f->table[f->n_tables].owned = true;
			f->table[f->n_tables].owner = ntohl(mnl_attr_get_u32(attr));
		}
	f->n_tables++;
}

static void chain_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct found *f = arg;
	const char *name = attr_str(nlh, NFTA_CHAIN_TABLE);

	if (name && !strcmp(name, "clusterd"))
		f->n_chains++;
}

static int dump(struct rules *r, uint16_t type, uint8_t family,
		void (*cb)(const struct nlmsghdr *nlh, void *arg), struct found *f)
{
	uint8_t buf[64] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = 1;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	return rules_nl_get(r->nl, nlh, cb, f);
}

/* A dump that others' commits disturb must be read again. */
static int look(struct rules *r, struct found *f)
{
	int ret = -EAGAIN;
	unsigned int i;

	for (i = 0; i < TRIES && ret == -EAGAIN; i++) {
		memset(f, 0, sizeof(*f));
		ret = dump(r, NFT_MSG_GETTABLE, AF_UNSPEC, table_cb, f);
		if (!ret)
			ret = dump(r, NFT_MSG_GETCHAIN, RULES_NETDEV, chain_cb, f);
	}
	return ret ? fail(r, ret, "nftables: cannot list tables: %s", strerror(-ret)) : 0;
}

static bool found_table(const struct rules *r, const struct found *f, uint8_t family)
{
	unsigned int i;

	for (i = 0; i < f->n_tables; i++)
		if (f->table[i].family == family && !strcmp(f->table[i].name, "clusterd"))
			return f->table[i].owned && f->table[i].owner == rules_nl_portid(r->nl);
	return false;
}

int rules_remove_all(struct rules *r)
{
	struct found f;
	unsigned int i;
	int ret = look(r, &f);

	if (ret)
		return ret;
	rules_batch_begin(&r->batch);
	for (i = 0; i < f.n_tables; i++)
		if (!f.table[i].owned || f.table[i].owner == rules_nl_portid(r->nl))
			rules_batch_del_table(&r->batch, f.table[i].family, f.table[i].name);
	forget(r);
	r->guard = false;
	return commit(r);
}

int rules_fd(const struct rules *r)
{
	return r->event_fd;
}

int rules_dispatch(struct rules *r)
{
	uint8_t buf[16384];
	unsigned int budget = 64;
	int touched = 0;
	ssize_t n;

	while (budget--) {
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int left;

		n = recv(r->event_fd, buf, sizeof(buf), MSG_TRUNC);
		if (n < 0 && errno == ENOBUFS)
			touched = 1;
		if (n < 0 && (errno == EINTR || errno == ENOBUFS))
			continue;
		if (n <= 0)
			break;
		if ((size_t)n > sizeof(buf)) {
			touched = 1;
			continue;
		}
		for (left = (int)n; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			/* the table's name is attribute 1 of every kind of message */
			const char *name = nlh->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 |
					   NFT_MSG_NEWGEN) ? NULL : attr_str(nlh, NFTA_TABLE_NAME);

			if (name && !strncmp(name, "clusterd", 8) && strcmp(name, LEASE_TABLE) &&
			    nlh->nlmsg_pid != rules_nl_portid(r->nl))
				touched = 1;
		}
	}
	return touched;
}

int rules_repair(struct rules *r, const struct rules_want *want)
{
	unsigned int chains = 0, i;
	struct found f;
	int ret = look(r, &f);

	if (ret)
		return ret;
	if (r->guard) {
		ret = rules_guard_install(r, want);
		if (ret)
			return ret;
	}
	for (i = 0; i < r->plan.n_obj; i++) {
		const struct rules_obj *o = &r->plan.obj[i];

		chains += o->kind == OBJ_CHAIN && o->family == RULES_NETDEV;
		if (o->kind == OBJ_TABLE && !found_table(r, &f, o->family))
			r->known = false;
	}
	/* Nobody can change a table that we own, but a device that goes takes its chain along. */
	if (f.n_chains != chains)
		r->known = false;
	return rules_commit(r, want);
}

/* ---- counters ---- */

static void counter_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr, *nest;
	uint64_t *packets = arg;

	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_OBJ_DATA)
			continue;
		mnl_attr_for_each_nested(nest, attr)
			if (mnl_attr_get_type(nest) == NFTA_COUNTER_PACKETS &&
			    mnl_attr_get_payload_len(nest) == 8)
				*packets = be64toh(mnl_attr_get_u64(nest));
	}
}

static int counter(struct rules *r, uint8_t family, const char *name, uint64_t *packets)
{
	uint8_t buf[256] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;
	int ret;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = 1;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, "clusterd");
	mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, name);
	mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	*packets = 0;
	ret = rules_nl_get(r->nl, nlh, counter_cb, packets);
	return ret ? fail(r, ret, "counter %s: %s", name, strerror(-ret)) : 0;
}

int rules_counters(struct rules *r, unsigned int service, struct rules_counters *out)
{
	char name[OBJ_NAME];
	int ret;

	memset(out, 0, sizeof(*out));
	if (service >= r->n_services)
		return fail(r, -ENOENT, "there is no service %u", service);
	snprintf(name, sizeof(name), "s%u_accepted", service);
	ret = counter(r, RULES_NETDEV, name, &out->accepted);
	snprintf(name, sizeof(name), "s%u_foreign", service);
	if (!ret)
		ret = counter(r, RULES_NETDEV, name, &out->foreign);
	snprintf(name, sizeof(name), "s%u_handed", service);
	if (!ret)
		ret = counter(r, RULES_NETDEV, name, &out->handed);
	if (!ret)
		ret = counter(r, RULES_INET, "unknown", &out->unknown);
	if (ret)
		return ret;
	snprintf(name, sizeof(name), "s%u_second", service);
	ret = counter(r, RULES_INET, name, &out->second);
	return ret == -ENOENT ? 0 : ret;	/* only there if packets can be handed on */
}

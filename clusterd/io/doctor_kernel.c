// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tries features one by one in a network namespace that nobody else sees, and that goes away with
 * the process that made it.
 */
#include "io/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE "clusterd_probe"
#define CHAIN "c"
#define LO    1			/* its interface index in a new namespace */
#define ATTACH_TCX_INGRESS 46	/* BPF_TCX_INGRESS, Linux 6.6 */

/* ---- nf_tables: one table, one chain, one rule with the expression in question ---- */

static struct nftnl_expr *add_expr(struct nftnl_rule *r, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (e)
		nftnl_rule_add_expr(r, e);
	return e;
}

static void add_imm(struct nftnl_rule *r, uint32_t reg, const void *data, uint32_t len)
{
	struct nftnl_expr *e = add_expr(r, "immediate");

	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, data, len);
}

static void add_dup(struct nftnl_rule *r, uint32_t addr_len)
{
	static const uint8_t addr[16] = { 1 };
	const uint32_t dev = LO;
	struct nftnl_expr *e;

	add_imm(r, NFT_REG_1, addr, addr_len);
	add_imm(r, NFT_REG_2, &dev, sizeof(dev));
	e = add_expr(r, "dup");
	if (!e)
		return;
	nftnl_expr_set_u32(e, NFTNL_EXPR_DUP_SREG_ADDR, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DUP_SREG_DEV, NFT_REG_2);
}

static void add_feature(struct nftnl_rule *r, enum doctor_feature f)
{
	/* struct xt_NFQ_info_v3, aligned as xtables wants it: queue 0, one queue, no flags. */
	static const uint16_t nfqueue[4] = { 0, 1, 0, 0 };
	const uint32_t dev = LO;
	struct nftnl_expr *e;
	void *info;

	switch (f) {
	case FEATURE_FWD:
		add_imm(r, NFT_REG_1, &dev, sizeof(dev));
		e = add_expr(r, "fwd");
		if (e)
			nftnl_expr_set_u32(e, NFTNL_EXPR_FWD_SREG_DEV, NFT_REG_1);
		return;
	case FEATURE_DUP4:
		add_dup(r, 4);
		return;
	case FEATURE_DUP6:
		add_dup(r, 16);
		return;
	case FEATURE_NUMGEN:
		e = add_expr(r, "numgen");
		if (!e)
			return;
		nftnl_expr_set_u32(e, NFTNL_EXPR_NG_DREG, NFT_REG_1);
		nftnl_expr_set_u32(e, NFTNL_EXPR_NG_MODULUS, 1024);
		nftnl_expr_set_u32(e, NFTNL_EXPR_NG_TYPE, NFT_NG_RANDOM);
		return;
	case FEATURE_QUEUE:
		e = add_expr(r, "queue");
		if (e)
			nftnl_expr_set_u16(e, NFTNL_EXPR_QUEUE_NUM, 0);
		if (e)
			nftnl_expr_set_u16(e, NFTNL_EXPR_QUEUE_TOTAL, 1);
		return;
	case FEATURE_XTQUEUE:
		e = add_expr(r, "target");
		info = e ? calloc(1, sizeof(nfqueue)) : NULL;
		if (!info)
			return;
		memcpy(info, nfqueue, sizeof(nfqueue));
		nftnl_expr_set_str(e, NFTNL_EXPR_TG_NAME, "NFQUEUE");
		nftnl_expr_set_u32(e, NFTNL_EXPR_TG_REV, 3);
		nftnl_expr_set(e, NFTNL_EXPR_TG_INFO, info, sizeof(nfqueue));	/* takes 'info' */
		return;
	case FEATURE_IPIP:
	case FEATURE_SIT:
	case FEATURE_IP6TNL:
	case FEATURE_VXLAN:
	case FEATURE_TCX:
	case FEATURES_N:
		return;
	}
}

static uint16_t family_of(enum doctor_feature f)
{
	return f == FEATURE_FWD ? NFPROTO_NETDEV : f == FEATURE_DUP6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
}

static void put_table(struct mnl_nlmsg_batch *b, uint16_t family, uint32_t seq)
{
	struct nftnl_table *t = nftnl_table_alloc();
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(b), NFT_MSG_NEWTABLE, family,
						   NLM_F_CREATE | NLM_F_ACK, seq);

	nftnl_table_set_str(t, NFTNL_TABLE_NAME, TABLE);
	nftnl_table_nlmsg_build_payload(h, t);
	nftnl_table_free(t);
	mnl_nlmsg_batch_next(b);
}

static void put_chain(struct mnl_nlmsg_batch *b, uint16_t family, uint32_t seq)
{
	struct nftnl_chain *c = nftnl_chain_alloc();
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(b), NFT_MSG_NEWCHAIN, family,
						   NLM_F_CREATE | NLM_F_ACK, seq);

	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, TABLE);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, CHAIN);
	nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
	nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, family == NFPROTO_NETDEV ?
			    NF_NETDEV_INGRESS : NF_INET_PRE_ROUTING);
	nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, 0);
	if (family == NFPROTO_NETDEV)
		nftnl_chain_set_str(c, NFTNL_CHAIN_DEV, "lo");
	nftnl_chain_nlmsg_build_payload(h, c);
	nftnl_chain_free(c);
	mnl_nlmsg_batch_next(b);
}

static void put_rule(struct mnl_nlmsg_batch *b, enum doctor_feature f, uint32_t seq)
{
	struct nftnl_rule *r = nftnl_rule_alloc();
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(b), NFT_MSG_NEWRULE,
						   family_of(f), NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK,
						   seq);

	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, TABLE);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, CHAIN);
	add_feature(r, f);
	nftnl_rule_nlmsg_build_payload(h, r);
	nftnl_rule_free(r);
	mnl_nlmsg_batch_next(b);
}

/* Reads 'n' acknowledgements; the first error, or 0. */
static int acks(struct mnl_socket *nl, unsigned int n)
{
	char buf[16384];

	while (n) {
		ssize_t size = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
		int left = (int)size;

		if (size < 0)
			return -errno;
		for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			if (e->error)
				return e->error;
			n--;
		}
	}
	return 0;
}

static struct mnl_socket *open_socket(int bus)
{
	struct mnl_socket *nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	struct timeval patience = { .tv_sec = 5 };

	if (!nl)
		return NULL;
	setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(nl);
		return NULL;
	}
	return nl;
}

static enum doctor_known try_nft(enum doctor_feature f)
{
	struct mnl_socket *nl = open_socket(NETLINK_NETFILTER);
	char buf[8192];
	struct mnl_nlmsg_batch *b;
	uint32_t seq = 1;
	int err;

	if (!nl)
		return MISSING;
	b = mnl_nlmsg_batch_start(buf, sizeof(buf) / 2);
	nftnl_batch_begin(mnl_nlmsg_batch_current(b), seq++);
	mnl_nlmsg_batch_next(b);
	put_table(b, family_of(f), seq++);
	put_chain(b, family_of(f), seq++);
	put_rule(b, f, seq++);
	nftnl_batch_end(mnl_nlmsg_batch_current(b), seq++);
	mnl_nlmsg_batch_next(b);
	err = mnl_socket_sendto(nl, mnl_nlmsg_batch_head(b), mnl_nlmsg_batch_size(b)) < 0 ? -errno :
	      acks(nl, 3);
	mnl_nlmsg_batch_stop(b);
	/* The namespace is ours alone, and the next try wants a clean one. */
	if (!err) {
		struct nlmsghdr *h;

		b = mnl_nlmsg_batch_start(buf, sizeof(buf) / 2);
		nftnl_batch_begin(mnl_nlmsg_batch_current(b), seq++);
		mnl_nlmsg_batch_next(b);
		h = nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(b), NFT_MSG_DELTABLE, family_of(f),
					  NLM_F_ACK, seq++);
		mnl_attr_put_strz(h, NFTA_TABLE_NAME, TABLE);
		mnl_nlmsg_batch_next(b);
		nftnl_batch_end(mnl_nlmsg_batch_current(b), seq++);
		mnl_nlmsg_batch_next(b);
		if (mnl_socket_sendto(nl, mnl_nlmsg_batch_head(b), mnl_nlmsg_batch_size(b)) > 0)
			(void)acks(nl, 1);
		mnl_nlmsg_batch_stop(b);
	}
	mnl_socket_close(nl);
	return err ? MISSING : THERE;
}

/* ---- devices ---- */

/* Whatever else is wrong with the request, only an unknown kind is EOPNOTSUPP. */
static enum doctor_known try_link(const char *kind)
{
	struct mnl_socket *nl = open_socket(NETLINK_ROUTE);
	char buf[512] = "";
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nlattr *info;
	int err;

	if (!nl)
		return NOT_KNOWN;
	h->nlmsg_type = RTM_NEWLINK;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	h->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(h, IFLA_IFNAME, "probe0");
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, kind);
	mnl_attr_nest_end(h, info);
	err = mnl_socket_sendto(nl, h, h->nlmsg_len) < 0 ? -errno : acks(nl, 1);
	if (!err) {
		h = mnl_nlmsg_put_header(buf);
		h->nlmsg_type = RTM_DELLINK;
		h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
		h->nlmsg_seq = 2;
		mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
		mnl_attr_put_strz(h, IFLA_IFNAME, "probe0");
		if (mnl_socket_sendto(nl, h, h->nlmsg_len) > 0)
			(void)acks(nl, 1);
	}
	mnl_socket_close(nl);
	return err == -EOPNOTSUPP ? MISSING : THERE;
}

/* ---- BPF ---- */

/* Asks who is attached at lo's ingress: a kernel without tcx does not know the place. */
static enum doctor_known try_tcx(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.query.target_fd = LO;		/* target_ifindex, in headers of Linux 6.6 and later */
	a.query.attach_type = ATTACH_TCX_INGRESS;
	if (!syscall(SYS_bpf, BPF_PROG_QUERY, &a, sizeof(a)))
		return THERE;
	return errno == EPERM ? NOT_KNOWN : MISSING;
}

static enum doctor_known try_feature(enum doctor_feature f)
{
	switch (f) {
	case FEATURE_FWD:
	case FEATURE_DUP4:
	case FEATURE_DUP6:
	case FEATURE_NUMGEN:
	case FEATURE_QUEUE:
	case FEATURE_XTQUEUE:
		return try_nft(f);
	case FEATURE_IPIP:
		return try_link("ipip");
	case FEATURE_SIT:
		return try_link("sit");
	case FEATURE_IP6TNL:
		return try_link("ip6tnl");
	case FEATURE_VXLAN:
		return try_link("vxlan");
	case FEATURE_TCX:
		return try_tcx();
	case FEATURES_N:
		break;
	}
	return NOT_KNOWN;
}

void doctor_features(uint32_t wanted, uint8_t known[FEATURES_N])
{
	uint8_t found[FEATURES_N] = { NOT_KNOWN };
	int fd[2], status;
	ssize_t n;
	pid_t pid;

	memset(known, NOT_KNOWN, FEATURES_N);
	if (pipe2(fd, O_CLOEXEC))
		return;
	pid = fork();
	if (!pid) {
		if (!unshare(CLONE_NEWNET))
			for (unsigned int f = 0; f < FEATURES_N; f++)
				if (wanted & 1u << f)
					found[f] = (uint8_t)try_feature((enum doctor_feature)f);
		_exit(write(fd[1], found, sizeof(found)) != sizeof(found));
	}
	close(fd[1]);
	n = pid < 0 ? -1 : read(fd[0], found, sizeof(found));
	close(fd[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n == sizeof(found))
		memcpy(known, found, sizeof(found));
}

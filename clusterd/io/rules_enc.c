/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>

#include "io/rules_enc.h"

/* Room kept for each message: the largest is one of elements, whose list has a 16-bit length. */
#define MESSAGE_MAX   65536u
#define LIST_ELEMENTS 1000u	/* a bucket takes 32 bytes to add: 32,000 of at most 65,535 */

/* The genid attribute is the first after begin's headers. */
#define GENID_AT (NLMSG_HDRLEN + sizeof(struct nfgenmsg) + MNL_ATTR_HDRLEN)

static bool reserve(struct rules_batch *b)
{
	if (b->failed)
		return false;
	if (b->room - b->used < MESSAGE_MAX) {
		size_t room = b->room ? 2 * b->room : 4 * MESSAGE_MAX;
		uint8_t *buf = realloc(b->buf, room);

		if (!buf) {
			b->failed = true;
			return false;
		}
		b->buf = buf;
		b->room = room;
	}
	if (b->n == b->room_what) {
		unsigned int room = b->room_what ? 2 * b->room_what : 256;
		struct rules_batch_what *what = reallocarray(b->what, room, sizeof(*what));

		if (!what) {
			b->failed = true;
			return false;
		}
		b->what = what;
		b->room_what = room;
	}
	return true;
}

/* NULL: out of memory, remembered in 'failed'. */
static struct nlmsghdr *start(struct rules_batch *b, uint16_t type, uint8_t family, uint16_t flags,
			      const struct rules_plan *plan, const struct rules_obj *obj)
{
	struct nlmsghdr *nlh;

	if (!reserve(b))
		return NULL;
	b->what[b->n].plan = plan;
	b->what[b->n].obj = obj;
	memset(b->buf + b->used, 0, 256);	/* padding is sent too */
	nlh = nftnl_nlmsg_build_hdr((char *)b->buf + b->used, type, family,
				    (uint16_t)(flags | NLM_F_ACK), b->n++);
	return nlh;
}

static void finish(struct rules_batch *b, const struct nlmsghdr *nlh)
{
	assert(nlh->nlmsg_len <= MESSAGE_MAX);
	b->used += MNL_ALIGN(nlh->nlmsg_len);
}

static void marker(struct rules_batch *b, uint16_t type)
{
	struct nlmsghdr *nlh;
	struct nfgenmsg *nfg;

	if (!reserve(b))
		return;
	memset(&b->what[b->n], 0, sizeof(*b->what));
	nlh = mnl_nlmsg_put_header(b->buf + b->used);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = b->n++;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = AF_UNSPEC;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(NFNL_SUBSYS_NFTABLES);
	if (type == NFNL_MSG_BATCH_BEGIN)
		mnl_attr_put_u32(nlh, NFNL_BATCH_GENID, 0);
	finish(b, nlh);
}

void rules_batch_begin(struct rules_batch *b)
{
	b->used = 0;
	b->n = 0;
	b->failed = false;
	marker(b, NFNL_MSG_BATCH_BEGIN);
}

void rules_batch_end(struct rules_batch *b)
{
	marker(b, NFNL_MSG_BATCH_END);
}

void rules_batch_genid(struct rules_batch *b, uint32_t genid)
{
	uint32_t be = htonl(genid);

	assert(b->used > GENID_AT + 4);
	memcpy(b->buf + GENID_AT, &be, 4);
}

void rules_batch_free(struct rules_batch *b)
{
	free(b->buf);
	free(b->what);
	memset(b, 0, sizeof(*b));
}

/* ---- objects ---- */

static void put_table(struct rules_batch *b, uint16_t type, const struct rules_op *op)
{
	const struct rules_obj *o = op->obj;
	struct nlmsghdr *nlh = start(b, type, o->family,
				     type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0, op->plan, o);

	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, o->table);
	if (type == NFT_MSG_NEWTABLE)
		mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, htonl(o->u.table.flags));
	finish(b, nlh);
}

void rules_batch_del_table(struct rules_batch *b, uint8_t family, const char *name)
{
	struct nlmsghdr *nlh = start(b, NFT_MSG_DELTABLE, family, 0, NULL, NULL);

	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, name);
	finish(b, nlh);
}

static void put_counter(struct rules_batch *b, uint16_t type, uint16_t flags,
			const struct rules_op *op)
{
	const struct rules_obj *o = op->obj;
	struct nlmsghdr *nlh = start(b, type, o->family, flags, op->plan, o);
	struct nlattr *nest;

	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, o->table);
	mnl_attr_put_strz(nlh, NFTA_OBJ_NAME, o->name);
	mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	if (type == NFT_MSG_NEWOBJ) {
		nest = mnl_attr_nest_start(nlh, NFTA_OBJ_DATA);
		mnl_attr_nest_end(nlh, nest);
	}
	finish(b, nlh);
}

/* Byte orders as nft keeps them in a set's user data; without them it prints numbers swapped. */
static void put_byteorder(struct nlmsghdr *nlh, const struct rules_obj *o)
{
	enum { ORDER_HOST = 1, ORDER_BIG = 2 };
	struct nftnl_udata_buf *ud = nftnl_udata_buf_alloc(64);

	if (!ud)
		return;		/* only the look of a listing depends on it */
	nftnl_udata_put_u32(ud, NFTNL_UDATA_SET_KEYBYTEORDER,
			    o->u.set.host_order ? ORDER_HOST : ORDER_BIG);
	if (o->u.set.data_type && o->u.set.data_type < NFT_DATA_RESERVED_MASK)	/* no verdict */
		nftnl_udata_put_u32(ud, NFTNL_UDATA_SET_DATABYTEORDER, ORDER_HOST);
	mnl_attr_put(nlh, NFTA_SET_USERDATA, nftnl_udata_buf_len(ud), nftnl_udata_buf_data(ud));
	nftnl_udata_buf_free(ud);
}

static void put_set(struct rules_batch *b, uint16_t type, uint16_t flags, const struct rules_op *op)
{
	const struct rules_obj *o = op->obj;
	struct nlmsghdr *nlh = start(b, type, o->family, flags, op->plan, o);
	struct nlattr *nest;

	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_SET_TABLE, o->table);
	mnl_attr_put_strz(nlh, NFTA_SET_NAME, o->name);
	if (type == NFT_MSG_NEWSET) {
		mnl_attr_put_u32(nlh, NFTA_SET_FLAGS, htonl(o->u.set.flags));
		mnl_attr_put_u32(nlh, NFTA_SET_KEY_TYPE, htonl(o->u.set.key_type));
		mnl_attr_put_u32(nlh, NFTA_SET_KEY_LEN, htonl(o->u.set.key_len));
		if (o->u.set.flags & NFT_SET_MAP) {
			mnl_attr_put_u32(nlh, NFTA_SET_DATA_TYPE, htonl(o->u.set.data_type));
			mnl_attr_put_u32(nlh, NFTA_SET_DATA_LEN, htonl(o->u.set.data_len));
		}
		if (o->u.set.size) {
			nest = mnl_attr_nest_start(nlh, NFTA_SET_DESC);
			mnl_attr_put_u32(nlh, NFTA_SET_DESC_SIZE, htonl(o->u.set.size));
			mnl_attr_nest_end(nlh, nest);
		}
		if (o->u.set.timeout_ms)
			mnl_attr_put_u64(nlh, NFTA_SET_TIMEOUT, htobe64(o->u.set.timeout_ms));
		mnl_attr_put_u32(nlh, NFTA_SET_ID, htonl(b->n));
		put_byteorder(nlh, o);
	}
	finish(b, nlh);
}

static void put_chain(struct rules_batch *b, uint16_t type, uint16_t flags,
		      const struct rules_op *op)
{
	const struct rules_obj *o = op->obj;
	struct nlmsghdr *nlh = start(b, type, o->family, flags, op->plan, o);
	struct nlattr *nest;

	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, o->table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, o->name);
	if (type == NFT_MSG_NEWCHAIN && o->u.chain.hook >= 0) {
		nest = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
		mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl((uint32_t)o->u.chain.hook));
		mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)o->u.chain.prio));
		if (o->u.chain.device[0])
			mnl_attr_put_strz(nlh, NFTA_HOOK_DEV, o->u.chain.device);
		mnl_attr_nest_end(nlh, nest);
		mnl_attr_put_u32(nlh, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
		mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, o->u.chain.nat ? "nat" : "filter");
	}
	finish(b, nlh);
}

/* ---- elements ---- */

static void put_value(struct nlmsghdr *nlh, uint16_t type, const void *data, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, type);

	mnl_attr_put(nlh, NFTA_DATA_VALUE, len, data);
	mnl_attr_nest_end(nlh, nest);
}

static struct nlattr *elements_start(struct nlmsghdr *nlh, const char *table, const char *set)
{
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set);
	return mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_elem(struct rules_batch *b, uint16_t type, uint16_t flags,
		     const struct rules_op *op)
{
	const struct rules_obj *o = op->obj;
	struct nlmsghdr *nlh = start(b, type, o->family, flags, op->plan, o);
	struct nlattr *list, *nest, *data, *verdict;

	if (!nlh)
		return;
	list = elements_start(nlh, o->table, o->name);
	nest = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	put_value(nlh, NFTA_SET_ELEM_KEY, o->u.elem.key, o->u.elem.key_len);
	if (o->u.elem.chain[0] && type == NFT_MSG_NEWSETELEM) {
		data = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
		verdict = mnl_attr_nest_start(nlh, NFTA_DATA_VERDICT);
		mnl_attr_put_u32(nlh, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_GOTO));
		mnl_attr_put_strz(nlh, NFTA_VERDICT_CHAIN, o->u.elem.chain);
		mnl_attr_nest_end(nlh, verdict);
		mnl_attr_nest_end(nlh, data);
	}
	if (o->u.elem.data_len && type == NFT_MSG_NEWSETELEM)
		put_value(nlh, NFTA_SET_ELEM_DATA, o->u.elem.data, o->u.elem.data_len);
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_nest_end(nlh, list);
	finish(b, nlh);
}

/* One message: up to LIST_ELEMENTS deletions or additions from '*i' on, which it moves forward. */
static void put_buckets(struct rules_batch *b, bool add, const char *set, const uint16_t *have,
			const uint16_t *want, uint32_t *i, uint32_t to)
{
	struct nlmsghdr *nlh = start(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
				     RULES_NETDEV, add ? NLM_F_CREATE | NLM_F_EXCL : 0, NULL, NULL);
	struct nlattr *list, *nest;
	unsigned int n = 0;

	if (!nlh)
		return;
	list = elements_start(nlh, "clusterd", set);
	for (; *i < to && n < LIST_ELEMENTS; (*i)++) {
		uint32_t bucket = *i, code = want[bucket];

		if (have[bucket] == want[bucket] || !(add ? want : have)[bucket])
			continue;
		nest = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
		put_value(nlh, NFTA_SET_ELEM_KEY, &bucket, 4);
		if (add)
			put_value(nlh, NFTA_SET_ELEM_DATA, &code, 4);
		mnl_attr_nest_end(nlh, nest);
		n++;
	}
	mnl_attr_nest_end(nlh, list);
	if (n)
		finish(b, nlh);
	else
		b->n--;		/* nothing to say */
}

void rules_batch_buckets(struct rules_batch *b, unsigned int service, char map,
			 const uint16_t *have, const uint16_t *want, uint32_t from, uint32_t to)
{
	char set[OBJ_NAME];
	uint32_t i;

	snprintf(set, sizeof(set), "s%u_%c", service, map);
	for (i = from; i < to && !b->failed;)
		put_buckets(b, false, set, have, want, &i, to);
	for (i = from; i < to && !b->failed;)
		put_buckets(b, true, set, have, want, &i, to);
}

void rules_batch_number(struct rules_batch *b, bool add, const char *map, const void *key,
			uint32_t key_size, uint32_t number, uint32_t timeout_ms)
{
	struct nlmsghdr *nlh = start(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, RULES_NETDEV,
				     add ? NLM_F_CREATE : 0, NULL, NULL);
	struct nlattr *list, *nest;

	if (!nlh)
		return;
	list = elements_start(nlh, "clusterd", map);
	nest = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	put_value(nlh, NFTA_SET_ELEM_KEY, key, key_size);
	if (add) {
		put_value(nlh, NFTA_SET_ELEM_DATA, &number, 4);
		mnl_attr_put_u64(nlh, NFTA_SET_ELEM_TIMEOUT, htobe64(timeout_ms));
	}
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_nest_end(nlh, list);
	finish(b, nlh);
}

void rules_batch_lease(struct rules_batch *b, uint32_t ms)
{
	struct nlmsghdr *nlh = start(b, ms ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, RULES_NETDEV,
				     ms ? NLM_F_CREATE | NLM_F_EXCL : 0, NULL, NULL);
	struct nlattr *list, *nest;
	uint32_t key = LEASE_KEY;

	if (!nlh)
		return;
	list = elements_start(nlh, LEASE_TABLE, LEASE_SET);
	nest = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	put_value(nlh, NFTA_SET_ELEM_KEY, &key, 4);
	if (ms)
		mnl_attr_put_u64(nlh, NFTA_SET_ELEM_TIMEOUT, htobe64(ms));
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_nest_end(nlh, list);
	finish(b, nlh);
}

/* ---- rules ---- */

static const char *expr_name(enum rules_expr_op op)
{
	switch (op) {
	case EXPR_META:
	case EXPR_META_SET:
		return "meta";
	case EXPR_PAYLOAD:
	case EXPR_PAYLOAD_SET:
		return "payload";
	case EXPR_CMP:
		return "cmp";
	case EXPR_RANGE:
		return "range";
	case EXPR_MASK:
		return "bitwise";
	case EXPR_IMM:
	case EXPR_VERDICT:
		return "immediate";
	case EXPR_LOOKUP:
	case EXPR_MAP:
	case EXPR_VMAP:
		return "lookup";
	case EXPR_JHASH:
		return "hash";
	case EXPR_CT_STATE:
		return "ct";
	case EXPR_COUNTER:
		return "objref";
	case EXPR_FWD:
		return "fwd";
	case EXPR_DUP:
		return "dup";
	case EXPR_NUMGEN:
		return "numgen";
	case EXPR_DYNSET:
		return "dynset";
	case EXPR_EXTHDR:
	case EXPR_TCPOPT_SET:
		return "exthdr";
	case EXPR_QUEUE:
		return "queue";
	case EXPR_QUEUE_XT:
		return "target";
	case EXPR_RESET:
		return "reject";
	case EXPR_DNAT_PORT:
		return "nat";
	case EXPR_NOTRACK:
		return "notrack";
	}
	return "";
}

static void fill_payload(struct nftnl_expr *x, const struct rules_expr *e)
{
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_BASE, e->base);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_OFFSET, e->offset);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_LEN, e->len);
	if (e->op == EXPR_PAYLOAD) {
		nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_DREG, e->reg);
		return;
	}
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_SREG, e->reg);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_CSUM_TYPE,
			   e->key ? NFT_PAYLOAD_CSUM_INET : NFT_PAYLOAD_CSUM_NONE);
	nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, e->key ? e->key - 1 : 0);
	if (e->reg2)
		nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR);
}

static void fill_hash(struct nftnl_expr *x, const struct rules_expr *e)
{
	uint32_t seed;

	memcpy(&seed, e->more, 4);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_SREG, e->reg);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_DREG, e->reg2);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_LEN, e->len);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_MODULUS, e->key);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_SEED, seed);
	nftnl_expr_set_u32(x, NFTNL_EXPR_HASH_OFFSET, 0);
}

static void fill_lookup(struct nftnl_expr *x, const struct rules_expr *e)
{
	nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, e->reg);
	nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, e->name);
	if (e->op == EXPR_MAP)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, e->reg2);
	else if (e->op == EXPR_VMAP)
		nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

static void fill_dynset(struct nftnl_expr *x, const struct rules_expr *e)
{
	nftnl_expr_set_str(x, NFTNL_EXPR_DYNSET_SET_NAME, e->name);
	nftnl_expr_set_u32(x, NFTNL_EXPR_DYNSET_OP, e->base ? e->base : NFT_DYNSET_OP_UPDATE);
	nftnl_expr_set_u32(x, NFTNL_EXPR_DYNSET_SREG_KEY, e->reg);
	if (e->reg2)
		nftnl_expr_set_u32(x, NFTNL_EXPR_DYNSET_SREG_DATA, e->reg2);
	if (e->key)
		nftnl_expr_set_u64(x, NFTNL_EXPR_DYNSET_TIMEOUT, e->key);
}

static void fill_exthdr(struct nftnl_expr *x, const struct rules_expr *e)
{
	bool set = e->op == EXPR_TCPOPT_SET;

	nftnl_expr_set_u32(x, set ? NFTNL_EXPR_EXTHDR_SREG : NFTNL_EXPR_EXTHDR_DREG, e->reg);
	nftnl_expr_set_u8(x, NFTNL_EXPR_EXTHDR_TYPE, (uint8_t)e->key);
	nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_OFFSET, e->offset);
	nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_LEN, e->len);
	nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_OP,
			   set ? NFT_EXTHDR_OP_TCPOPT : NFT_EXTHDR_OP_IPV6);
}

static bool fill_queue_xt(struct nftnl_expr *x, const struct rules_expr *e)
{
	struct xt_NFQ_info_v3 *info = calloc(1, sizeof(*info));

	if (!info)
		return false;
	info->queuenum = e->offset;
	info->queues_total = e->len;
	info->flags = NFQ_FLAG_CPU_FANOUT;
	nftnl_expr_set_str(x, NFTNL_EXPR_TG_NAME, "NFQUEUE");
	nftnl_expr_set_u32(x, NFTNL_EXPR_TG_REV, 3);
	nftnl_expr_set(x, NFTNL_EXPR_TG_INFO, info, sizeof(*info));	/* the library's now */
	return true;
}

/* False: out of memory. */
static bool fill_expr(struct nftnl_expr *x, const struct rules_expr *e)
{
	switch ((enum rules_expr_op)e->op) {
	case EXPR_META:
		nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, e->key);
		nftnl_expr_set_u32(x, NFTNL_EXPR_META_DREG, e->reg);
		break;
	case EXPR_META_SET:
		nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, e->key);
		nftnl_expr_set_u32(x, NFTNL_EXPR_META_SREG, e->reg);
		break;
	case EXPR_PAYLOAD:
	case EXPR_PAYLOAD_SET:
		fill_payload(x, e);
		break;
	case EXPR_CMP:
		nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_SREG, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_OP, e->base);
		nftnl_expr_set(x, NFTNL_EXPR_CMP_DATA, e->data, e->len);
		break;
	case EXPR_RANGE:
		nftnl_expr_set_u32(x, NFTNL_EXPR_RANGE_SREG, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_RANGE_OP, NFT_RANGE_EQ);
		nftnl_expr_set(x, NFTNL_EXPR_RANGE_FROM_DATA, e->data, e->len);
		nftnl_expr_set(x, NFTNL_EXPR_RANGE_TO_DATA, e->more, e->len);
		break;
	case EXPR_MASK:
		nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_SREG, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_DREG, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_LEN, e->len);
		nftnl_expr_set(x, NFTNL_EXPR_BITWISE_MASK, e->data, e->len);
		nftnl_expr_set(x, NFTNL_EXPR_BITWISE_XOR, e->more, e->len);
		break;
	case EXPR_IMM:
		nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, e->reg);
		nftnl_expr_set(x, NFTNL_EXPR_IMM_DATA, e->data, e->len);
		break;
	case EXPR_VERDICT:
		nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
		nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, e->key);
		if (e->name[0])
			nftnl_expr_set_str(x, NFTNL_EXPR_IMM_CHAIN, e->name);
		break;
	case EXPR_LOOKUP:
	case EXPR_MAP:
	case EXPR_VMAP:
		fill_lookup(x, e);
		break;
	case EXPR_JHASH:
		fill_hash(x, e);
		break;
	case EXPR_CT_STATE:
		nftnl_expr_set_u32(x, NFTNL_EXPR_CT_KEY, e->key);
		nftnl_expr_set_u32(x, NFTNL_EXPR_CT_DREG, e->reg);
		break;
	case EXPR_COUNTER:
		nftnl_expr_set_u32(x, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
		nftnl_expr_set_str(x, NFTNL_EXPR_OBJREF_IMM_NAME, e->name);
		break;
	case EXPR_FWD:
		nftnl_expr_set_u32(x, NFTNL_EXPR_FWD_SREG_DEV, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_FWD_SREG_ADDR, e->reg2);
		nftnl_expr_set_u32(x, NFTNL_EXPR_FWD_NFPROTO, e->key);
		break;
	case EXPR_DUP:
		nftnl_expr_set_u32(x, NFTNL_EXPR_DUP_SREG_ADDR, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_DUP_SREG_DEV, e->reg2);
		break;
	case EXPR_NUMGEN:
		nftnl_expr_set_u32(x, NFTNL_EXPR_NG_DREG, e->reg);
		nftnl_expr_set_u32(x, NFTNL_EXPR_NG_MODULUS, e->key);
		nftnl_expr_set_u32(x, NFTNL_EXPR_NG_TYPE, NFT_NG_RANDOM);
		nftnl_expr_set_u32(x, NFTNL_EXPR_NG_OFFSET, 0);
		break;
	case EXPR_DYNSET:
		fill_dynset(x, e);
		break;
	case EXPR_EXTHDR:
	case EXPR_TCPOPT_SET:
		fill_exthdr(x, e);
		break;
	case EXPR_QUEUE:
		nftnl_expr_set_u16(x, NFTNL_EXPR_QUEUE_NUM, e->offset);
		nftnl_expr_set_u16(x, NFTNL_EXPR_QUEUE_TOTAL, e->len);
		nftnl_expr_set_u16(x, NFTNL_EXPR_QUEUE_FLAGS, NFT_QUEUE_FLAG_CPU_FANOUT);
		break;
	case EXPR_QUEUE_XT:
		return fill_queue_xt(x, e);
	case EXPR_RESET:
		nftnl_expr_set_u32(x, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
		nftnl_expr_set_u8(x, NFTNL_EXPR_REJECT_CODE, 0);
		break;
	case EXPR_DNAT_PORT:
		nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
		nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY, e->key);
		nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MIN, e->reg);
		break;
	case EXPR_NOTRACK:
		break;		/* has no attributes */
	}
	return true;
}

static void put_rule(struct rules_batch *b, const struct rules_op *op)
{
	const struct rules_obj *o = op->obj;
	struct nlmsghdr *nlh = start(b, NFT_MSG_NEWRULE, o->family, NLM_F_CREATE | NLM_F_APPEND,
				     op->plan, o);
	struct nftnl_rule *r = nftnl_rule_alloc();
	unsigned int i;

	if (!nlh || !r)
		goto fail;
	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, o->table);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, o->name);
	for (i = 0; i < o->u.rule.n; i++) {
		const struct rules_expr *e = &op->plan->expr[o->u.rule.first + i];
		struct nftnl_expr *x = nftnl_expr_alloc(expr_name((enum rules_expr_op)e->op));

		if (!x)
			goto fail;
		nftnl_rule_add_expr(r, x);
		if (!fill_expr(x, e))
			goto fail;
	}
	nftnl_rule_nlmsg_build_payload(nlh, r);
	nftnl_rule_free(r);
	finish(b, nlh);
	return;
fail:
	b->failed = true;
	if (r)
		nftnl_rule_free(r);
}

static void put_flush(struct rules_batch *b, const struct rules_op *op)
{
	struct nlmsghdr *nlh = start(b, NFT_MSG_DELRULE, op->obj->family, 0, op->plan, op->obj);

	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, op->obj->table);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, op->obj->name);
	finish(b, nlh);
}

void rules_batch_op(struct rules_batch *b, const struct rules_op *op)
{
	bool del = op->verb == VERB_DEL;
	uint16_t flags = del ? 0 : NLM_F_CREATE | NLM_F_EXCL;

	switch ((enum rules_kind)op->obj->kind) {
	case OBJ_TABLE:
		if (op->verb == VERB_REPLACE) {
			put_table(b, NFT_MSG_NEWTABLE, op);	/* so that there is one to remove */
			put_table(b, NFT_MSG_DELTABLE, op);
		}
		put_table(b, del ? NFT_MSG_DELTABLE : NFT_MSG_NEWTABLE, op);
		break;
	case OBJ_COUNTER:
		put_counter(b, del ? NFT_MSG_DELOBJ : NFT_MSG_NEWOBJ, flags, op);
		break;
	case OBJ_SET:
		put_set(b, del ? NFT_MSG_DELSET : NFT_MSG_NEWSET, flags, op);
		break;
	case OBJ_CHAIN:
		if (op->verb == VERB_FLUSH)
			put_flush(b, op);
		else
			put_chain(b, del ? NFT_MSG_DELCHAIN : NFT_MSG_NEWCHAIN, flags, op);
		break;
	case OBJ_ELEM:
		put_elem(b, del ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM, flags, op);
		break;
	case OBJ_RULE:
		assert(op->verb == VERB_ADD);	/* single rules are never removed */
		put_rule(b, op);
		break;
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/tcp.h>

#include "io/rules_mk.h"

struct rules_obj *mk_add_obj(struct rules_mk *b, enum rules_kind kind, const char *name)
{
	struct rules_plan *p = b->p;
	struct rules_obj *o;

	if (p->n_obj == p->room_obj) {
		unsigned int room = p->room_obj ? 2 * p->room_obj : 64;

		o = reallocarray(p->obj, room, sizeof(*o));
		if (!o) {
			p->failed = true;
			return NULL;
		}
		p->obj = o;
		p->room_obj = room;
	}
	o = &p->obj[p->n_obj++];
	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->family = b->family;
	assert(strlen(b->table) < sizeof(o->table) && strlen(name) < sizeof(o->name));
	strcpy(o->table, b->table);
	strcpy(o->name, name);
	return o;
}

void mk_table(struct rules_mk *b, enum rules_family family, const char *name, uint32_t flags)
{
	struct rules_obj *o;

	b->family = family;
	b->table = name;
	o = mk_add_obj(b, OBJ_TABLE, "");
	if (o)
		o->u.table.flags = flags;
}

void mk_base_chain(struct rules_mk *b, const char *name, int hook, int prio, const char *device)
{
	struct rules_obj *o = mk_add_obj(b, OBJ_CHAIN, name);

	if (!o)
		return;
	strcpy(b->chain, name);
	o->u.chain.hook = hook;
	o->u.chain.prio = prio;
	if (device) {
		assert(strlen(device) < sizeof(o->u.chain.device));
		strcpy(o->u.chain.device, device);
	}
}

void mk_nat_chain(struct rules_mk *b, const char *name, int hook, int prio)
{
	mk_base_chain(b, name, hook, prio, NULL);
	if (!b->p->failed)
		b->p->obj[b->p->n_obj - 1].u.chain.nat = 1;
}

void mk_chain(struct rules_mk *b, const char *name)
{
	mk_base_chain(b, name, -1, 0, NULL);
}

void mk_set(struct rules_mk *b, const char *name, uint32_t key_type, uint32_t key_len)
{
	struct rules_obj *o = mk_add_obj(b, OBJ_SET, name);

	if (!o)
		return;
	o->u.set.key_type = key_type;
	o->u.set.key_len = key_len;
	o->u.set.host_order = key_type == TYPE_MARK;
}

void mk_map(struct rules_mk *b, const char *name, uint32_t key_type, uint32_t key_len,
	    uint32_t data_type)
{
	mk_set(b, name, key_type, key_len);
	if (b->p->failed)
		return;
	b->p->obj[b->p->n_obj - 1].u.set.flags = NFT_SET_MAP;
	b->p->obj[b->p->n_obj - 1].u.set.data_type = data_type;
	b->p->obj[b->p->n_obj - 1].u.set.data_len = data_type == DATA_VERDICT ? 16 : 4;
}

void mk_bound(struct rules_mk *b, uint32_t size)
{
	if (!b->p->failed)
		b->p->obj[b->p->n_obj - 1].u.set.size = size;
}

void mk_dynamic(struct rules_mk *b, const char *name, uint32_t key_type, uint32_t key_len,
		uint32_t data_type, uint32_t size, uint32_t timeout_ms)
{
	struct rules_obj *o;

	assert(timeout_ms);
	if (data_type)
		mk_map(b, name, key_type, key_len, data_type);
	else
		mk_set(b, name, key_type, key_len);
	if (b->p->failed)
		return;
	o = &b->p->obj[b->p->n_obj - 1];
	o->u.set.flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
	o->u.set.size = size;
	o->u.set.timeout_ms = timeout_ms;
}

/* 'to' "": no verdict. */
void mk_elem(struct rules_mk *b, const char *set_name, const void *key, uint32_t len,
	     const char *to)
{
	struct rules_obj *o = mk_add_obj(b, OBJ_ELEM, set_name);

	assert(len <= KEY_MAX && strlen(to) < sizeof(o->u.elem.chain));
	if (!o)
		return;
	o->u.elem.key_len = len;
	memcpy(o->u.elem.key, key, len);
	strcpy(o->u.elem.chain, to);
}

void mk_elem_number(struct rules_mk *b, const char *map, const void *key, uint32_t len,
		    uint32_t data)
{
	mk_elem(b, map, key, len, "");
	if (b->p->failed)
		return;
	b->p->obj[b->p->n_obj - 1].u.elem.data_len = 4;
	memcpy(b->p->obj[b->p->n_obj - 1].u.elem.data, &data, 4);
}

/* Where the same key may come twice, as a VIP of two services does. */
void mk_elem_once(struct rules_mk *b, const char *set_name, const void *key, uint32_t len)
{
	unsigned int i;

	/* back to the set itself: its elements come after it */
	for (i = b->p->n_obj; i > 0; i--) {
		const struct rules_obj *o = &b->p->obj[i - 1];

		if (o->kind == OBJ_SET && !strcmp(o->name, set_name))
			break;
		if (o->kind == OBJ_ELEM && !strcmp(o->name, set_name) &&
		    !memcmp(o->u.elem.key, key, len))
			return;
	}
	mk_elem(b, set_name, key, len, "");
}

/* ---- rules: mk_rule() starts one in the chain added last, the others append to it ---- */

void mk_rule(struct rules_mk *b)
{
	b->rule = mk_add_obj(b, OBJ_RULE, b->chain);
	if (b->rule)
		b->rule->u.rule.first = b->p->n_expr;
}

void mk_expr(struct rules_mk *b, const struct rules_expr *e)
{
	struct rules_plan *p = b->p;

	if (p->failed)
		return;
	if (p->n_expr == p->room_expr) {
		unsigned int room = p->room_expr ? 2 * p->room_expr : 256;
		struct rules_expr *x = reallocarray(p->expr, room, sizeof(*x));

		if (!x) {
			p->failed = true;
			return;
		}
		p->expr = x;
		p->room_expr = room;
	}
	p->expr[p->n_expr++] = *e;
	b->rule->u.rule.n++;
}

void mk_set_name(struct rules_expr *e, const char *name)
{
	assert(strlen(name) < sizeof(e->name));
	strcpy(e->name, name);
}

void mk_meta(struct rules_mk *b, uint32_t key, uint8_t reg)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META, .key = key, .reg = reg });
}

void mk_payload(struct rules_mk *b, uint8_t base, uint16_t offset, uint16_t len, uint8_t reg)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_PAYLOAD, .base = base, .offset = offset,
				      .len = len, .reg = reg });
}

void mk_cmp(struct rules_mk *b, uint8_t how, uint8_t reg, const void *data, uint16_t len)
{
	struct rules_expr e = { .op = EXPR_CMP, .base = how, .reg = reg, .len = len };

	memcpy(e.data, data, len);
	mk_expr(b, &e);
}

void mk_cmp8(struct rules_mk *b, uint8_t reg, uint8_t v)
{
	mk_cmp(b, NFT_CMP_EQ, reg, &v, 1);
}

void mk_cmp32(struct rules_mk *b, uint8_t reg, uint32_t host_order)
{
	mk_cmp(b, NFT_CMP_EQ, reg, &host_order, 4);
}

void mk_range(struct rules_mk *b, uint8_t reg, const void *lo, const void *hi, uint16_t len)
{
	struct rules_expr e = { .op = EXPR_RANGE, .reg = reg, .len = len };

	memcpy(e.data, lo, len);
	memcpy(e.more, hi, len);
	mk_expr(b, &e);
}

/* reg = (reg & mask) ^ xor, a number in host order */
void mk_mask32(struct rules_mk *b, uint8_t reg, uint32_t mask, uint32_t xor)
{
	struct rules_expr e = { .op = EXPR_MASK, .reg = reg, .len = 4 };

	memcpy(e.data, &mask, 4);
	memcpy(e.more, &xor, 4);
	mk_expr(b, &e);
}

void mk_mask8(struct rules_mk *b, uint8_t reg, uint8_t mask)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_MASK, .reg = reg, .len = 1, .data = { mask } });
}

void mk_imm(struct rules_mk *b, uint8_t reg, const void *data, uint16_t len)
{
	struct rules_expr e = { .op = EXPR_IMM, .reg = reg, .len = len };

	memcpy(e.data, data, len);
	mk_expr(b, &e);
}

void mk_lookup(struct rules_mk *b, enum rules_expr_op op, uint8_t reg, const char *name)
{
	struct rules_expr e = { .op = op, .reg = reg, .reg2 = reg };

	mk_set_name(&e, name);
	mk_expr(b, &e);
}

void mk_verdict(struct rules_mk *b, int code)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_VERDICT, .key = (uint32_t)code });
}

void mk_go(struct rules_mk *b, const char *to)
{
	struct rules_expr e = { .op = EXPR_VERDICT, .key = (uint32_t)NFT_GOTO };

	mk_set_name(&e, to);
	mk_expr(b, &e);
}

void mk_counter(struct rules_mk *b, const char *name)
{
	struct rules_expr e = { .op = EXPR_COUNTER };

	mk_set_name(&e, name);
	mk_expr(b, &e);
}

void mk_is_protocol(struct rules_mk *b, uint16_t ethertype)
{
	uint16_t v = htons(ethertype);

	mk_meta(b, NFT_META_PROTOCOL, REG(0));
	mk_cmp(b, NFT_CMP_EQ, REG(0), &v, 2);
}

void mk_is_l4proto(struct rules_mk *b, uint8_t proto)
{
	mk_meta(b, NFT_META_L4PROTO, REG(0));
	mk_cmp8(b, REG(0), proto);
}

void mk_is_nfproto(struct rules_mk *b, uint8_t proto)
{
	mk_meta(b, NFT_META_NFPROTO, REG(0));
	mk_cmp8(b, REG(0), proto);
}

void mk_is_mark(struct rules_mk *b, uint32_t mark)
{
	mk_meta(b, NFT_META_MARK, REG(0));
	mk_cmp32(b, REG(0), mark);
}

void mk_set_mark(struct rules_mk *b, uint32_t mark)
{
	mk_imm(b, REG(0), &mark, 4);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					 .reg = REG(0) });
}

/* To the stack: flood frames come as PACKET_MULTICAST, which TCP discards. */
void mk_to_stack(struct rules_mk *b, uint32_t mark)
{
	uint8_t host = PACKET_HOST;

	mk_imm(b, REG(0), &host, 1);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_PKTTYPE,
				      .reg = REG(0) });
	mk_set_mark(b, mark);
	mk_verdict(b, NF_ACCEPT);
}

void mk_is_mark_bits(struct rules_mk *b, uint32_t mask, uint32_t value)
{
	mk_meta(b, NFT_META_MARK, REG(0));
	mk_mask32(b, REG(0), mask, 0);
	mk_cmp32(b, REG(0), value);
}

void mk_change_mark(struct rules_mk *b, uint32_t mask, uint32_t xor)
{
	mk_meta(b, NFT_META_MARK, REG(0));
	mk_mask32(b, REG(0), mask, xor);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_META_SET, .key = NFT_META_MARK,
					 .reg = REG(0) });
}

void mk_dup(struct rules_mk *b, uint8_t addr, uint8_t dev)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_DUP, .reg = addr, .reg2 = dev });
}

void mk_random(struct rules_mk *b, uint32_t mod, uint8_t reg)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_NUMGEN, .key = mod, .reg = reg });
}

void mk_dynset(struct rules_mk *b, const char *name, uint8_t key, uint8_t data, uint32_t timeout_ms)
{
	struct rules_expr e = { .op = EXPR_DYNSET, .reg = key, .reg2 = data, .key = timeout_ms };

	mk_set_name(&e, name);
	mk_expr(b, &e);
}

void mk_dynset_delete(struct rules_mk *b, const char *name, uint8_t key, uint8_t data)
{
	struct rules_expr e = { .op = EXPR_DYNSET, .base = NFT_DYNSET_OP_DELETE, .reg = key,
				.reg2 = data };

	mk_set_name(&e, name);
	mk_expr(b, &e);
}

void mk_exthdr(struct rules_mk *b, uint8_t proto, uint16_t offset, uint16_t len, uint8_t reg)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_EXTHDR, .key = proto, .offset = offset,
					 .len = len, .reg = reg });
}

void mk_lower_mss(struct rules_mk *b, uint16_t mss)
{
	uint16_t be = htons(mss);

	mk_imm(b, REG(0), &be, 2);
	mk_expr(b, &(struct rules_expr){ .op = EXPR_TCPOPT_SET, .key = TCPOPT_MAXSEG, .offset = 2,
					 .len = 2, .reg = REG(0) });
}

void mk_queue(struct rules_mk *b, uint16_t first, uint16_t n, bool xt)
{
	assert(n);
	mk_expr(b, &(struct rules_expr){ .op = xt ? EXPR_QUEUE_XT : EXPR_QUEUE, .offset = first,
					 .len = n });
}

void mk_reset(struct rules_mk *b)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_RESET });
}

void mk_dnat_port(struct rules_mk *b, bool v4, uint8_t port)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_DNAT_PORT, .reg = port,
					 .key = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6 });
}

void mk_notrack(struct rules_mk *b)
{
	mk_expr(b, &(struct rules_expr){ .op = EXPR_NOTRACK });
}

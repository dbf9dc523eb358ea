/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_plan.h"

void rules_plan_free(struct rules_plan *p)
{
	free(p->obj);
	free(p->expr);
	memset(p, 0, sizeof(*p));
}

bool rules_plan_equal(const struct rules_plan *a, const struct rules_plan *b)
{
	return a->n_obj == b->n_obj && a->n_expr == b->n_expr &&
	       (!a->n_obj || !memcmp(a->obj, b->obj, a->n_obj * sizeof(*a->obj))) &&
	       (!a->n_expr || !memcmp(a->expr, b->expr, a->n_expr * sizeof(*a->expr)));
}

/* ---- buckets ---- */

uint32_t rules_chunk(const uint16_t *have, const uint16_t *want, uint32_t total, uint32_t from,
		     uint32_t max, uint32_t *n)
{
	uint32_t i;

	*n = 0;
	for (i = from; i < total; i++)
		if (have[i] != want[i] && (*n)++ == max) {
			(*n)--;
			return i;
		}
	return total;
}

/* ---- difference ---- */

/* Same table, kind and name (of an element: same set and key)? */
static int obj_order(const struct rules_obj *a, const struct rules_obj *b)
{
	int d = (int)a->kind - (int)b->kind;

	if (!d)
		d = (int)a->family - (int)b->family;
	if (!d)
		d = strcmp(a->table, b->table);
	if (!d)
		d = strcmp(a->name, b->name);
	if (!d && a->kind == OBJ_ELEM)
		d = memcmp(a->u.elem.key, b->u.elem.key, KEY_MAX);
	return d;
}

static int ptr_order(const void *a, const void *b)
{
	return obj_order(*(const struct rules_obj *const *)a, *(const struct rules_obj *const *)b);
}

struct index {
	const struct rules_obj **p;
	unsigned int n;
};

static int index_make(struct index *x, const struct rules_plan *p)
{
	unsigned int i;

	x->n = 0;
	x->p = calloc(p->n_obj + 1, sizeof(*x->p));
	if (!x->p)
		return -ENOMEM;
	for (i = 0; i < p->n_obj; i++)
		if (p->obj[i].kind != OBJ_RULE)
			x->p[x->n++] = &p->obj[i];
	qsort(x->p, x->n, sizeof(*x->p), ptr_order);
	return 0;
}

static const struct rules_obj *index_find(const struct index *x, const struct rules_obj *key)
{
	const struct rules_obj **hit = bsearch(&key, x->p, x->n, sizeof(*x->p), ptr_order);

	return hit ? *hit : NULL;
}

static void add_op(struct rules_diff *d, enum rules_verb verb, const struct rules_plan *p,
		   const struct rules_obj *o)
{
	if (d->n == d->room) {
		unsigned int room = d->room ? 2 * d->room : 64;
		struct rules_op *op = reallocarray(d->op, room, sizeof(*op));

		if (!op) {
			d->failed = true;
			return;
		}
		d->op = op;
		d->room = room;
	}
	d->op[d->n++] = (struct rules_op){ .verb = (uint8_t)verb, .plan = p, .obj = o };
}

static unsigned int chain_rules(const struct rules_plan *p, const struct rules_obj *chain)
{
	const struct rules_obj *end = p->obj + p->n_obj, *o;

	for (o = chain + 1; o < end && o->kind == OBJ_RULE; o++)
		;
	return (unsigned int)(o - chain - 1);
}

static bool same_rules(const struct rules_plan *a, const struct rules_obj *ca,
		       const struct rules_plan *b, const struct rules_obj *cb)
{
	unsigned int n = chain_rules(a, ca), i;

	if (n != chain_rules(b, cb))
		return false;
	for (i = 1; i <= n; i++)
		if (ca[i].u.rule.n != cb[i].u.rule.n ||
		    memcmp(&a->expr[ca[i].u.rule.first], &b->expr[cb[i].u.rule.first],
			   ca[i].u.rule.n * sizeof(*a->expr)))
			return false;
	return true;
}

static void add_rules(struct rules_diff *d, const struct rules_plan *p,
		      const struct rules_obj *chain)
{
	unsigned int n = chain_rules(p, chain), i;

	for (i = 1; i <= n; i++)
		add_op(d, VERB_ADD, p, &chain[i]);
}

static void replace_all(struct rules_diff *d, const struct rules_plan *want)
{
	unsigned int kind, i;

	d->rebuild = true;
	for (kind = OBJ_TABLE; kind <= OBJ_RULE; kind++)
		for (i = 0; i < want->n_obj; i++)
			if (want->obj[i].kind == kind)
				add_op(d, kind == OBJ_TABLE ? VERB_REPLACE : VERB_ADD, want,
				       &want->obj[i]);
	d->n_pre = d->n;
}

/* Can 'want' be reached from 'have' without changing what the kernel cannot change in place? */
static bool changeable(const struct rules_plan *have, const struct index *hx,
		       const struct rules_plan *want)
{
	unsigned int i, tables = 0;

	for (i = 0; i < want->n_obj; i++) {
		const struct rules_obj *w = &want->obj[i], *h;

		if (w->kind > OBJ_CHAIN)
			continue;
		h = index_find(hx, w);
		if (h && memcmp(h, w, sizeof(*w)))
			return false;
		if (w->kind == OBJ_TABLE && !h)
			return false;
		tables += w->kind == OBJ_TABLE;
	}
	for (i = 0; i < have->n_obj; i++)
		tables -= have->obj[i].kind == OBJ_TABLE;
	return !tables;
}

/* What comes before the buckets: all that is new, and all that takes the place of something. */
static void diff_pre(struct rules_diff *d, const struct rules_plan *have, const struct index *hx,
		     const struct rules_plan *want, const struct index *wx)
{
	unsigned int kind, i;
	const struct rules_obj *h, *w;

	for (kind = OBJ_COUNTER; kind <= OBJ_CHAIN; kind++)
		for (i = 0; i < want->n_obj; i++)
			if (want->obj[i].kind == kind && !index_find(hx, &want->obj[i]))
				add_op(d, VERB_ADD, want, &want->obj[i]);
	for (i = 0; i < want->n_obj; i++) {
		w = &want->obj[i];
		h = w->kind == OBJ_CHAIN ? index_find(hx, w) : NULL;
		if (h && !same_rules(have, h, want, w))
			add_op(d, VERB_FLUSH, want, w);
	}
	for (i = 0; i < have->n_obj; i++) {
		h = &have->obj[i];
		w = h->kind == OBJ_ELEM ? index_find(wx, h) : NULL;
		if (h->kind == OBJ_ELEM && (!w || memcmp(h, w, sizeof(*h))))
			add_op(d, VERB_DEL, have, h);
	}
	for (i = 0; i < want->n_obj; i++) {
		w = &want->obj[i];
		h = w->kind == OBJ_ELEM ? index_find(hx, w) : NULL;
		if (w->kind == OBJ_ELEM && (!h || memcmp(h, w, sizeof(*w))))
			add_op(d, VERB_ADD, want, w);
	}
	for (i = 0; i < want->n_obj; i++) {
		w = &want->obj[i];
		h = w->kind == OBJ_CHAIN ? index_find(hx, w) : NULL;
		if (w->kind == OBJ_CHAIN && (!h || !same_rules(have, h, want, w)))
			add_rules(d, want, w);
	}
}

/* What must wait until no bucket needs it.  Rules first, they refer to everything. */
static void diff_post(struct rules_diff *d, const struct rules_plan *have, const struct index *wx)
{
	static const uint8_t order[] = { OBJ_CHAIN, OBJ_SET, OBJ_CHAIN, OBJ_COUNTER };
	unsigned int pass, i;

	for (pass = 0; pass < sizeof(order); pass++)
		for (i = 0; i < have->n_obj; i++)
			if (have->obj[i].kind == order[pass] && !index_find(wx, &have->obj[i]))
				add_op(d, pass ? VERB_DEL : VERB_FLUSH, have, &have->obj[i]);
}

int rules_plan_diff(struct rules_diff *d, const struct rules_plan *have,
		    const struct rules_plan *want)
{
	struct index hx = { 0 }, wx = { 0 };
	int ret = -ENOMEM;

	memset(d, 0, sizeof(*d));
	if (have && rules_plan_equal(have, want))
		return 0;
	if (!have) {
		replace_all(d, want);
	} else {
		if (index_make(&hx, have) || index_make(&wx, want))
			goto out;
		if (changeable(have, &hx, want)) {
			diff_pre(d, have, &hx, want, &wx);
			d->n_pre = d->n;
			diff_post(d, have, &wx);
		} else {
			replace_all(d, want);
		}
	}
	if (!d->failed)
		ret = 0;
out:
	free(hx.p);
	free(wx.p);
	if (ret)
		rules_diff_free(d);
	return ret;
}

void rules_diff_free(struct rules_diff *d)
{
	free(d->op);
	memset(d, 0, sizeof(*d));
}

/* ---- text ---- */

static const char *family_str(uint8_t family)
{
	switch ((enum rules_family)family) {
	case RULES_INET:
		return "inet";
	case RULES_IP:
		return "ip";
	case RULES_ARP:
		return "arp";
	case RULES_NETDEV:
		return "netdev";
	case RULES_IP6:
		return "ip6";
	}
	return "?";
}

static const char *kind_str(uint8_t kind)
{
	switch ((enum rules_kind)kind) {
	case OBJ_TABLE:
		return "table";
	case OBJ_COUNTER:
		return "counter";
	case OBJ_SET:
		return "set";
	case OBJ_CHAIN:
		return "chain";
	case OBJ_ELEM:
		return "element of";
	case OBJ_RULE:
		return "rule";
	}
	return "?";
}

void rules_obj_str(const struct rules_plan *p, const struct rules_obj *o, char *buf, size_t size)
{
	const struct rules_obj *c = o;

	switch ((enum rules_kind)o->kind) {
	case OBJ_TABLE:
		snprintf(buf, size, "table %s %s", family_str(o->family), o->table);
		return;
	case OBJ_RULE:
		while (c->kind == OBJ_RULE)
			c--;
		snprintf(buf, size, "rule %d of chain %s in table %s %s", (int)(o - c), o->name,
			 family_str(o->family), o->table);
		return;
	case OBJ_CHAIN:
		if (o->u.chain.device[0]) {
			snprintf(buf, size, "chain %s on device %s in table %s %s", o->name,
				 o->u.chain.device, family_str(o->family), o->table);
			return;
		}
		break;
	case OBJ_COUNTER:
	case OBJ_SET:
	case OBJ_ELEM:
		break;
	}
	snprintf(buf, size, "%s %s in table %s %s", kind_str(o->kind), o->name,
		 family_str(o->family), o->table);
}

const char *rules_obj_module(const struct rules_plan *p, const struct rules_obj *o)
{
	unsigned int i;

	switch ((enum rules_kind)o->kind) {
	case OBJ_TABLE:
		return o->family == RULES_NETDEV ? "nf_tables (CONFIG_NF_TABLES_NETDEV)" :
		       o->family == RULES_ARP ? "nf_tables (CONFIG_NF_TABLES_ARP)" :
		       o->family == RULES_IP6 ? "nf_tables (CONFIG_NF_TABLES_IPV6)" :
		       o->family == RULES_IP ? "nf_tables (CONFIG_NF_TABLES_IPV4)" :
		       "nf_tables (CONFIG_NF_TABLES_INET)";
	case OBJ_CHAIN:
		return o->family == RULES_NETDEV ? "nf_tables (CONFIG_NETFILTER_INGRESS)" : "";
	case OBJ_RULE:
		break;
	case OBJ_COUNTER:
		return "nf_tables (counter objects)";
	case OBJ_SET:
	case OBJ_ELEM:
		return "";
	}
	for (i = 0; i < o->u.rule.n; i++) {
		switch ((enum rules_expr_op)p->expr[o->u.rule.first + i].op) {
		case EXPR_JHASH:
			return "nft_hash";
		case EXPR_FWD:
			return "nft_fwd_netdev, nf_dup_netdev";
		case EXPR_CT_STATE:
		case EXPR_NOTRACK:
			return "nft_ct, nf_conntrack";
		case EXPR_RESET:
			return "nft_reject_inet, nft_reject";
		case EXPR_DNAT_PORT:
			return "nft_nat, nf_nat";
		case EXPR_DUP:
			return o->family == RULES_IP ? "nft_dup_ipv4, nf_dup_ipv4" :
			       "nft_dup_ipv6, nf_dup_ipv6";
		case EXPR_NUMGEN:
			return "nft_numgen";
		case EXPR_QUEUE:
			return "nft_queue, nfnetlink_queue";
		case EXPR_QUEUE_XT:
			return "nft_compat, xt_NFQUEUE, nfnetlink_queue";
		case EXPR_META:
		case EXPR_META_SET:
		case EXPR_PAYLOAD:
		case EXPR_PAYLOAD_SET:
		case EXPR_CMP:
		case EXPR_RANGE:
		case EXPR_MASK:
		case EXPR_IMM:
		case EXPR_LOOKUP:
		case EXPR_MAP:
		case EXPR_VMAP:
		case EXPR_COUNTER:
		case EXPR_VERDICT:
		case EXPR_DYNSET:
		case EXPR_EXTHDR:
		case EXPR_TCPOPT_SET:
			break;
		}
	}
	return "";
}

static void hex(FILE *out, const uint8_t *p, size_t len)
{
	while (len--)
		fprintf(out, "%02x", *p++);
}

/* The less common half of print_expr(). */
static void print_expr_more(const struct rules_expr *e, FILE *out)
{
	unsigned int r = e->reg - REG(0), r2 = e->reg2 - REG(0);

	if (e->op == EXPR_DUP)
		fprintf(out, " [dup to r%u device r%u]", r, r2);
	else if (e->op == EXPR_NUMGEN)
		fprintf(out, " [random mod %" PRIu32 " -> r%u]", e->key, r);
	else if (e->op == EXPR_DYNSET && e->base == NFT_DYNSET_OP_DELETE)
		fprintf(out, " [delete @%s r%u]", e->name, r);
	else if (e->op == EXPR_DYNSET && e->reg2)
		fprintf(out, " [update @%s r%u : r%u timeout %" PRIu32 "]", e->name, r, r2, e->key);
	else if (e->op == EXPR_DYNSET)
		fprintf(out, " [update @%s r%u timeout %" PRIu32 "]", e->name, r, e->key);
	else if (e->op == EXPR_EXTHDR)
		fprintf(out, " [exthdr %" PRIu32 "+%u,%u -> r%u]", e->key, e->offset, e->len, r);
	else if (e->op == EXPR_TCPOPT_SET)
		fprintf(out, " [r%u -> tcp option %" PRIu32 "+%u,%u]", r, e->key, e->offset,
			e->len);
	else if (e->op == EXPR_NOTRACK)
		fputs(" [notrack]", out);
	else if (e->op == EXPR_RESET)
		fputs(" [reset]", out);
	else if (e->op == EXPR_DNAT_PORT)
		fprintf(out, " [dnat %s to port r%u]", e->key == NFPROTO_IPV4 ? "ip" : "ip6", r);
	else
		fprintf(out, " [queue %u-%u%s]", e->offset, e->offset + e->len - 1u,
			e->op == EXPR_QUEUE ? "" : " xt");
}

/* Numbers in this machine's order appear byte by byte, as in the kernel's registers. */
static void print_expr(const struct rules_expr *e, FILE *out)
{
	static const char base[] = "lnt";	/* link layer, network, transport header */
	unsigned int r = e->reg - REG(0), r2 = e->reg2 - REG(0);
	uint32_t seed;

	switch ((enum rules_expr_op)e->op) {
	case EXPR_META:
		fprintf(out, " [meta %" PRIu32 " -> r%u]", e->key, r);
		break;
	case EXPR_META_SET:
		fprintf(out, " [r%u -> meta %" PRIu32 "]", r, e->key);
		break;
	case EXPR_PAYLOAD:
		fprintf(out, " [%ch+%u,%u -> r%u]", base[e->base], e->offset, e->len, r);
		break;
	case EXPR_PAYLOAD_SET:
		fprintf(out, " [r%u -> %ch+%u,%u", r, base[e->base], e->offset, e->len);
		if (e->key)
			fprintf(out, " csum +%" PRIu32, e->key - 1);
		if (e->reg2)
			fputs(" csum pseudo", out);
		fputc(']', out);
		break;
	case EXPR_CMP:
		fprintf(out, " [r%u %s ", r, 
			e->base == NFT_CMP_EQ ? "==" : e->base == NFT_CMP_GT ? ">" : "!=");
		hex(out, e->data, e->len);
		fputc(']', out);
		break;
	case EXPR_RANGE:
		fprintf(out, " [r%u in ", r);
		hex(out, e->data, e->len);
		fputc('-', out);
		hex(out, e->more, e->len);
		fputc(']', out);
		break;
	case EXPR_MASK:
		fprintf(out, " [r%u = r%u & ", r, r);
		hex(out, e->data, e->len);
		fputs(" ^ ", out);
		hex(out, e->more, e->len);
		fputc(']', out);
		break;
	case EXPR_IMM:
		fprintf(out, " [r%u = ", r);
		hex(out, e->data, e->len);
		fputc(']', out);
		break;
	case EXPR_LOOKUP:
		fprintf(out, " [r%u in @%s]", r, e->name);
		break;
	case EXPR_MAP:
		fprintf(out, " [@%s(r%u) -> r%u]", e->name, r, r2);
		break;
	case EXPR_VMAP:
		fprintf(out, " [@%s(r%u) -> verdict]", e->name, r);
		break;
	case EXPR_JHASH:
		memcpy(&seed, e->more, sizeof(seed));
		fprintf(out, " [jhash(r%u,%u, seed 0x%" PRIx32 ") mod %" PRIu32 " -> r%u]", r,
			e->len, seed, e->key, r2);
		break;
	case EXPR_CT_STATE:
		fprintf(out, " [ct %s -> r%u]", e->key == NFT_CT_STATUS ? "status" : "state", r);
		break;
	case EXPR_COUNTER:
		fprintf(out, " [count %s]", e->name);
		break;
	case EXPR_FWD:
		fprintf(out, " [fwd ip%s to r%u device r%u]", e->key == NFPROTO_IPV4 ? "" : "6",
			r2, r);
		break;
	case EXPR_VERDICT:
		if ((int)e->key == NFT_GOTO || (int)e->key == NFT_JUMP)
			fprintf(out, " [%s %s]", (int)e->key == NFT_GOTO ? "goto" : "jump", e->name);
		else
			fprintf(out, " [%s]", e->key == NF_ACCEPT ? "accept" : "drop");
		break;
	case EXPR_DUP:
	case EXPR_NUMGEN:
	case EXPR_DYNSET:
	case EXPR_EXTHDR:
	case EXPR_TCPOPT_SET:
	case EXPR_QUEUE:
	case EXPR_QUEUE_XT:
	case EXPR_RESET:
	case EXPR_DNAT_PORT:
	case EXPR_NOTRACK:
		print_expr_more(e, out);
		break;
	}
}

static void print_obj(const struct rules_plan *p, const struct rules_obj *o, FILE *out)
{
	unsigned int i;

	switch ((enum rules_kind)o->kind) {
	case OBJ_TABLE:
		fprintf(out, "table %s %s%s\n", family_str(o->family), o->table,
			o->u.table.flags ? " owner" : "");
		break;
	case OBJ_COUNTER:
		fprintf(out, "  counter %s\n", o->name);
		break;
	case OBJ_SET:
		fprintf(out, "  set %s flags 0x%" PRIx32 " key 0x%" PRIx32 ",%" PRIu32, o->name,
			o->u.set.flags, o->u.set.key_type, o->u.set.key_len);
		if (o->u.set.flags & NFT_SET_MAP)
			fprintf(out, " data 0x%" PRIx32, o->u.set.data_type);
		if (o->u.set.size)
			fprintf(out, " size %" PRIu32, o->u.set.size);
		if (o->u.set.timeout_ms)
			fprintf(out, " timeout %" PRIu32, o->u.set.timeout_ms);
		fputc('\n', out);
		break;
	case OBJ_CHAIN:
		fprintf(out, "  chain %s", o->name);
		if (o->u.chain.hook >= 0)
			fprintf(out, "%s hook %" PRId32 " prio %" PRId32 " %s",
				o->u.chain.nat ? " nat" : "", o->u.chain.hook, o->u.chain.prio,
				o->u.chain.device);
		fputc('\n', out);
		break;
	case OBJ_ELEM:
		fprintf(out, "  @%s ", o->name);
		hex(out, o->u.elem.key, o->u.elem.key_len);
		if (o->u.elem.chain[0])
			fprintf(out, " : goto %s", o->u.elem.chain);
		if (o->u.elem.data_len) {
			fputs(" : ", out);
			hex(out, o->u.elem.data, o->u.elem.data_len);
		}
		fputc('\n', out);
		break;
	case OBJ_RULE:
		fputs("   ", out);
		for (i = 0; i < o->u.rule.n; i++)
			print_expr(&p->expr[o->u.rule.first + i], out);
		fputc('\n', out);
		break;
	}
}

void rules_plan_print(const struct rules_plan *p, FILE *out)
{
	unsigned int i;

	for (i = 0; i < p->n_obj; i++)
		print_obj(p, &p->obj[i], out);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Batches, taken apart again with libmnl.  The golden files show every attribute of small ones
 * (UPDATE_GOLDEN=1 rewrites them).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <endian.h>
#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "io/rules_enc.h"
#include "io/rules_mk.h"

static void print_attrs(FILE *f, const void *data, size_t size, int depth)
{
	const struct nlattr *a;
	size_t i;

	for (a = data; mnl_attr_ok(a, (int)((const uint8_t *)data + size - (const uint8_t *)a));
	     a = mnl_attr_next(a)) {
		const uint8_t *p;

		p = mnl_attr_get_payload(a);
		fprintf(f, "%*s%u", depth * 2, "", mnl_attr_get_type(a));
		if (a->nla_type & NLA_F_NESTED) {
			fputs(" {\n", f);
			print_attrs(f, p, mnl_attr_get_payload_len(a), depth + 1);
			fprintf(f, "%*s}\n", depth * 2, "");
			continue;
		}
		fputc(' ', f);
		for (i = 0; i < mnl_attr_get_payload_len(a); i++)
			fprintf(f, "%02x", p[i]);
		fputc('\n', f);
	}
}

/* Walks a batch and checks its frame: numbered messages, begin first, end last, no byte beyond. */
static void print_batch(FILE *f, const struct rules_batch *b)
{
	const struct nlmsghdr *nlh = (const void *)b->buf;
	int left = (int)b->used;
	unsigned int n = 0;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);

		assert_int_equal(nlh->nlmsg_seq, n);
		assert_true(nlh->nlmsg_len <= 65536);
		assert_int_equal(nlh->nlmsg_type == NFNL_MSG_BATCH_BEGIN, n == 0);
		assert_int_equal(nlh->nlmsg_type == NFNL_MSG_BATCH_END, n == b->n - 1);
		if (n && n < b->n - 1)
			assert_true(nlh->nlmsg_flags & NLM_F_ACK);
		fprintf(f, "message %u type 0x%x flags 0x%x family %u\n", n, nlh->nlmsg_type,
			nlh->nlmsg_flags, g->nfgen_family);
		print_attrs(f, mnl_nlmsg_get_payload_offset(nlh, sizeof(*g)),
			    mnl_nlmsg_get_payload_len(nlh) - MNL_ALIGN(sizeof(*g)), 1);
		n++;
	}
	assert_int_equal(left, 0);
	assert_int_equal(n, b->n);
}

static void golden(const struct rules_batch *b, const char *path)
{
	char *got = NULL, *text;
	size_t size = 0, len;
	FILE *f;

	f = open_memstream(&got, &size);
	print_batch(f, b);
	fclose(f);
	if (getenv("UPDATE_GOLDEN")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fwrite(got, 1, size, f);
		fclose(f);
	}
	f = fopen(path, "r");
	assert_non_null(f);
	text = calloc(1, size + 2);
	len = fread(text, 1, size + 1, f);
	fclose(f);
	assert_int_equal(len, size);
	assert_string_equal(text, got);
	free(text);
	free(got);
}

static void test_golden(void **state)
{
	struct conf_service conf = {
		.name = "web", .n_vips = 2, .n_ports = 2,
		.port = { { 6, 80, 80 }, { 17, 1000, 2000 } },
	};
	struct bucket_action action[64] = { { BUCKET_MINE, NOBODY } };
	struct rules_peer peer = { .id = 2, .mac = { 2, 0, 0, 0, 0, 2 } };
	struct rules_service service = {
		.conf = &conf, .interface = "eth0", .seed = 0x12345678, .hash = HASH_SOURCE_PORT, .buckets = 64,
		.action = action, .n_peers = 1, .peer = &peer,
	};
	struct rules_want want = { .n_services = 1, .service = &service };
	uint16_t have[64] = { [1] = 1, [3] = 2 }, codes[64] = { [0] = 1, [3] = 0x102 };
	struct rules_plan p = { 0 };
	struct rules_batch b = { 0 };
	struct rules_diff d;
	unsigned int i;
	int ifindex = 7;

	addr_parse(&conf.vip[0], "10.77.0.250");
	addr_parse(&conf.vip[1], "fd77::250");
	addr_parse(&peer.addr4, "10.77.0.2");
	addr_parse(&peer.addr6, "fe80::2");
	assert_int_equal(rules_plan_live(&p, &want, &ifindex), 0);
	assert_int_equal(rules_plan_diff(&d, NULL, &p), 0);
	rules_batch_begin(&b);
	for (i = 0; i < d.n; i++)
		rules_batch_op(&b, &d.op[i]);
	rules_batch_buckets(&b, 0, 'b', have, codes, 0, 64);
	rules_batch_del_table(&b, RULES_INET, "clusterd_guard");
	rules_batch_end(&b);
	rules_batch_genid(&b, 0xabcd);
	assert_false(b.failed);

	golden(&b, "tests/golden/rules_enc.batch");
	rules_batch_free(&b);
	rules_diff_free(&d);
	rules_plan_free(&p);
}

/* The expressions and sets that flood does without. */
static void test_handed(void **state)
{
	struct rules_plan p = { 0 };
	struct rules_mk m = { .p = &p };
	struct rules_batch b = { 0 };
	struct rules_diff d;
	uint32_t key = 0x20000;
	unsigned int i;

	mk_table(&m, RULES_IP6, "clusterd", NFT_TABLE_F_OWNER);
	mk_dynamic(&m, "flow", TYPE_CONCAT4(TYPE_IP6ADDR, TYPE_SERVICE, TYPE_IP6ADDR, TYPE_SERVICE),
		   40, TYPE_MARK, 65536, 180000);
	mk_dynamic(&m, "seen", TYPE_CONCAT2(TYPE_IP6ADDR, TYPE_MARK), 20, 0, 1000, 30000);
	mk_map(&m, "p", TYPE_MARK, 4, TYPE_MARK);
	mk_elem_number(&m, "p", &key, 4, 0x200);
	mk_chain(&m, "all");
	mk_rule(&m);
	mk_random(&m, 1024, REG(0));
	mk_dynset(&m, "flow", REG(0), REG(12), 3600000);
	mk_dynset(&m, "seen", REG(0), 0, 0);
	mk_exthdr(&m, 44, 2, 2, REG(0));
	mk_lower_mss(&m, 1400);
	mk_dup(&m, REG(4), REG(0));
	mk_expr(&m, &(struct rules_expr){ .op = EXPR_PAYLOAD_SET, .reg = REG(4), .reg2 = 1,
			.len = 16, .base = NFT_PAYLOAD_NETWORK_HEADER, .offset = 8 });
	mk_rule(&m);
	mk_queue(&m, 40, 2, false);
	mk_rule(&m);
	mk_queue(&m, 40, 2, true);
	mk_rule(&m);
	mk_notrack(&m);
	assert_int_equal(rules_plan_diff(&d, NULL, &p), 0);
	rules_batch_begin(&b);
	for (i = 0; i < d.n; i++)
		rules_batch_op(&b, &d.op[i]);
	rules_batch_end(&b);
	assert_false(b.failed);
	golden(&b, "tests/golden/rules_enc_handed.batch");
	rules_batch_free(&b);
	rules_diff_free(&d);
	rules_plan_free(&p);
}

/* One attribute of 'type' in [data, size), or NULL. */
static const struct nlattr *find(const void *data, size_t size, uint16_t type)
{
	const struct nlattr *a = data;

	for (; mnl_attr_ok(a, (int)((const uint8_t *)data + size - (const uint8_t *)a));
	     a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) == type)
			return a;
	return NULL;
}

static uint32_t host32(const struct nlattr *elem, uint16_t type)
{
	const struct nlattr *a = find(mnl_attr_get_payload(elem), mnl_attr_get_payload_len(elem),
				      type);
	const struct nlattr *v;

	assert_non_null(a);
	v = find(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), NFTA_DATA_VALUE);
	assert_non_null(v);
	assert_int_equal(mnl_attr_get_payload_len(v), 4);
	return mnl_attr_get_u32(v);
}

/* What a kernel would do: applies a batch of bucket changes to 'map'. */
static void apply(const struct rules_batch *b, uint16_t *map)
{
	const struct nlmsghdr *nlh = (const void *)b->buf;
	int left = (int)b->used;
	bool adding = false;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		const void *p = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg));
		size_t size = mnl_nlmsg_get_payload_len(nlh) - 4;
		const struct nlattr *list, *elem;
		unsigned int n = 0;

		if (nlh->nlmsg_type < NFNL_SUBSYS_NFTABLES << 8)
			continue;
		list = find(p, size, NFTA_SET_ELEM_LIST_ELEMENTS);
		assert_non_null(list);
		assert_string_equal(mnl_attr_get_str(find(p, size, NFTA_SET_ELEM_LIST_SET)),
				    "s3_b");
		mnl_attr_for_each_nested(elem, list) {
			uint32_t key = host32(elem, NFTA_SET_ELEM_KEY);

			assert_true(key < BUCKETS_MAX);
			if ((nlh->nlmsg_type & 0xff) == NFT_MSG_DELSETELEM) {
				assert_false(adding);
				assert_int_not_equal(map[key], 0);	/* ENOENT */
				map[key] = 0;
			} else {
				adding = true;
				assert_int_equal(map[key], 0);		/* EEXIST */
				map[key] = (uint16_t)host32(elem, NFTA_SET_ELEM_DATA);
				assert_int_not_equal(map[key], 0);
			}
			n++;
		}
		assert_int_not_equal(n, 0);
	}
	assert_int_equal(left, 0);
}

static void test_buckets(void **state)
{
	static uint16_t have[BUCKETS_MAX], want[BUCKETS_MAX], map[BUCKETS_MAX];
	struct rules_batch b = { 0 };
	unsigned int round, i;

	srandom(2);
	for (round = 0; round < 6; round++) {
		for (i = 0; i < BUCKETS_MAX; i++) {
			have[i] = map[i];
			want[i] = round == 1 ? 2 : round == 4 ? 0 : (uint16_t)(random() % 4);
		}
		rules_batch_begin(&b);
		rules_batch_buckets(&b, 3, 'b', have, want, 0, BUCKETS_MAX);
		rules_batch_end(&b);
		assert_false(b.failed);
		apply(&b, map);
		assert_memory_equal(map, want, sizeof(map));
	}
	rules_batch_begin(&b);
	rules_batch_buckets(&b, 3, 'b', want, want, 0, BUCKETS_MAX);
	rules_batch_end(&b);
	assert_int_equal(b.n, 2);	/* nothing to say: begin and end */
	rules_batch_free(&b);
}

static void test_genid(void **state)
{
	struct rules_batch b = { 0 };
	const struct nlattr *a;
	const struct nlmsghdr *nlh;

	rules_batch_begin(&b);
	rules_batch_lease(&b, 150);
	rules_batch_end(&b);
	rules_batch_genid(&b, 77);
	nlh = (const void *)b.buf;
	a = find(mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg)),
		 mnl_nlmsg_get_payload_len(nlh) - 4, NFNL_BATCH_GENID);
	assert_non_null(a);
	assert_int_equal(ntohl(mnl_attr_get_u32(a)), 77);
	rules_batch_free(&b);
}

static void test_lease(void **state)
{
	struct rules_batch b = { 0 };
	const struct nlmsghdr *nlh;
	const struct nlattr *list, *elem, *t;
	int left;

	rules_batch_begin(&b);
	rules_batch_lease(&b, 0);
	rules_batch_lease(&b, 150);
	rules_batch_end(&b);
	assert_int_equal(b.n, 4);
	left = (int)b.used;
	nlh = mnl_nlmsg_next((const void *)b.buf, &left);
	assert_int_equal(nlh->nlmsg_type & 0xff, NFT_MSG_DELSETELEM);
	nlh = mnl_nlmsg_next(nlh, &left);
	assert_int_equal(nlh->nlmsg_type & 0xff, NFT_MSG_NEWSETELEM);
	list = find(mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg)),
		    mnl_nlmsg_get_payload_len(nlh) - 4, NFTA_SET_ELEM_LIST_ELEMENTS);
	elem = mnl_attr_get_payload(list);
	assert_int_equal(host32(elem, NFTA_SET_ELEM_KEY), LEASE_KEY);
	t = find(mnl_attr_get_payload(elem), mnl_attr_get_payload_len(elem),
		 NFTA_SET_ELEM_TIMEOUT);
	assert_non_null(t);
	assert_int_equal(be64toh(mnl_attr_get_u64(t)), 150);
	rules_batch_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_handed),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_genid),
		cmocka_unit_test(test_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

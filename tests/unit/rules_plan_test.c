/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans against golden files (UPDATE_GOLDEN=1 rewrites them: read the difference before you commit
 * it), and the order and smallness of differences.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "io/rules_plan.h"

#define N_BUCKETS 64u

/* Two services on one wire: one has all there is, the other hashes addresses only. */
struct setup {
	struct conf_service conf[2];
	struct bucket_action action[2][N_BUCKETS];
	struct rules_peer peer[2];
	struct rules_service service[2];
	struct rules_want want;
	int ifindex[2];
};

static void make(struct setup *s)
{
	unsigned int i;

	memset(s, 0, sizeof(*s));
	s->conf[0] = (struct conf_service){
		.name = "web", .n_vips = 2, .n_ports = 3,
		.port = { { 6, 80, 80 }, { 17, 53, 53 }, { 6, 8000, 8010 } },
	};
	addr_parse(&s->conf[0].vip[0], "10.77.0.250");
	addr_parse(&s->conf[0].vip[1], "fd77::250");
	s->conf[1] = (struct conf_service){
		.name = "mail", .n_vips = 1, .n_ports = 1,
		.port = { { 6, 25, 25 } },
	};
	addr_parse(&s->conf[1].vip[0], "10.77.0.250");
	s->peer[0] = (struct rules_peer){ .id = 2, .mac = { 2, 0, 0, 0, 0, 2 } };
	addr_parse(&s->peer[0].addr4, "10.77.0.2");
	addr_parse(&s->peer[0].addr6, "fe80::2");
	s->peer[1] = (struct rules_peer){ .id = 3 };	/* its MAC is not known */
	addr_parse(&s->peer[1].addr4, "10.77.0.3");
	for (i = 0; i < 2; i++) {
		s->service[i] = (struct rules_service){
			.conf = &s->conf[i], .interface = "eth0", .seed = 0x1000 + i,
			.buckets = N_BUCKETS, .action = s->action[i], .n_peers = 2, .peer = s->peer,
			.hash = i ? HASH_SOURCE : HASH_SOURCE_PORT,
		};
		s->ifindex[i] = 4;
	}
	s->want = (struct rules_want){ .n_services = 2, .service = s->service };
}

static void live(struct rules_plan *p, const struct setup *s)
{
	memset(p, 0, sizeof(*p));
	assert_int_equal(rules_plan_live(p, &s->want, s->ifindex), 0);
}

static void golden(const struct rules_plan *p, const char *name)
{
	char path[128], *got = NULL, *want;
	size_t size = 0;
	FILE *f = open_memstream(&got, &size);
	long len;

	rules_plan_print(p, f);
	fclose(f);
	snprintf(path, sizeof(path), "tests/golden/%s", name);
	if (getenv("UPDATE_GOLDEN")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fwrite(got, 1, size, f);
		fclose(f);
	}
	f = fopen(path, "r");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	rewind(f);
	want = calloc(1, (size_t)len + 1);
	assert_int_equal(fread(want, 1, (size_t)len, f), len);
	fclose(f);
	assert_string_equal(got, want);
	free(want);
	free(got);
}

static void test_golden(void **state)
{
	char dev[2][IFNAME_SIZE] = { "eth0", "eth1" };
	struct rules_plan p = { 0 };
	struct setup s;

	make(&s);
	s.action[0][5] = (struct bucket_action){ BUCKET_LEAVING, 9 };	/* 9 is no peer */
	live(&p, &s);
	golden(&p, "rules_live.plan");
	rules_plan_free(&p);
	assert_int_equal(rules_plan_guard(&p, &s.want), 0);
	golden(&p, "rules_guard.plan");
	rules_plan_free(&p);
	assert_int_equal(rules_plan_lease(&p, dev, 2), 0);
	golden(&p, "rules_lease.plan");
	rules_plan_free(&p);
}

/* Which of the ops of a difference are about 'kind' and 'verb', and with this name? */
static unsigned int ops(const struct rules_diff *d, enum rules_verb verb, enum rules_kind kind,
			const char *name)
{
	unsigned int i, n = 0;

	for (i = 0; i < d->n; i++)
		n += d->op[i].verb == verb && d->op[i].obj->kind == kind &&
		     (!name || !strcmp(d->op[i].obj->name, name));
	return n;
}

/* One service of announce by tunnels, in the middle of a change of its hash. */
static void make_handed(struct setup *s)
{
	static uint8_t owner[32] = { 2 };

	make(s);
	s->want.n_services = 1;
	s->conf[0].dispatch = DISPATCH_ANNOUNCE;
	s->conf[0].redirect = REDIRECT_IPIP;
	snprintf(s->peer[0].dev4, IFNAME_SIZE, "clu4_2");
	snprintf(s->peer[0].dev6, IFNAME_SIZE, "clu6_2");
	s->peer[0].ifindex4 = 11;
	s->peer[0].ifindex6 = 12;
	s->service[0].freeze = true;
	s->service[0].old.owner = owner;
	s->service[0].old.buckets = 32;
	s->want.self = 1;
	s->want.n_held = 1;
	s->want.held = &s->conf[0].vip[1];
	addr_parse(&s->service[0].own4, "10.77.0.1");
	addr_parse(&s->service[0].own6, "fe80::1");
}

static void test_handed(void **state)
{
	char dev[RULES_INTERFACES_MAX][IFNAME_SIZE];
	struct rules_plan a, b, netdev;
	struct rules_diff d;
	struct setup s;

	make_handed(&s);
	live(&a, &s);
	netdev = a;	/* the rest is rules_stack_test's */
	for (netdev.n_obj = 0; netdev.n_obj < a.n_obj; netdev.n_obj++)
		if (a.obj[netdev.n_obj].family != RULES_NETDEV)
			break;
	golden(&netdev, "rules_handed.plan");
	assert_int_equal(rules_interfaces(&s.want, dev, RULES_INTERFACES_MAX), 3);
	assert_string_equal(dev[2], "clu6_2");
	assert_int_equal(rules_interfaces(&s.want, dev, 2), 2);

	/* the end of the freeze and of the old table: nothing that packets have left behind is lost */
	s.service[0].freeze = false;
	s.service[0].old.owner = NULL;
	live(&b, &s);
	assert_int_equal(rules_plan_diff(&d, &a, &b), 0);
	assert_false(d.rebuild);
	assert_int_equal(ops(&d, VERB_FLUSH, OBJ_CHAIN, NULL), 4 + 1 + 2 + 1);
	assert_int_equal(ops(&d, VERB_FLUSH, OBJ_CHAIN, "s0_4"), 1);
	assert_int_equal(ops(&d, VERB_FLUSH, OBJ_CHAIN, "s0_ado0"), 1);
	assert_int_equal(ops(&d, VERB_FLUSH, OBJ_CHAIN, "s0_gave2"), 1);
	assert_int_equal(ops(&d, VERB_DEL, OBJ_SET, "s0_o"), 1);
	rules_diff_free(&d);
	rules_plan_free(&a);

	/* another peer's tunnel comes: a base chain more, no other one changes */
	snprintf(s.peer[1].dev4, IFNAME_SIZE, "clu4_3");
	s.peer[1].ifindex4 = 13;
	live(&a, &s);
	assert_int_equal(rules_plan_diff(&d, &b, &a), 0);
	assert_false(d.rebuild);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_CHAIN, "in_clu4_3"), 1);
	rules_diff_free(&d);
	assert_int_equal(rules_plan_diff(&d, &a, &b), 0);
	assert_false(d.rebuild);
	assert_int_equal(ops(&d, VERB_DEL, OBJ_CHAIN, "in_clu4_3"), 1);
	rules_diff_free(&d);
	rules_plan_free(&a);
	rules_plan_free(&b);

	memset(s.peer[0].dev4, 'x', IFNAME_SIZE);
	memset(&a, 0, sizeof(a));
	assert_int_equal(rules_plan_live(&a, &s.want, s.ifindex), -EINVAL);
	assert_int_equal(a.n_obj, 0);
}

static void test_bad_input(void **state)
{
	static const uint32_t bad[] = { 0, 1, BUCKETS_MAX + 1 };
	struct rules_plan p = { 0 };
	struct setup s;
	unsigned int i;

	make(&s);
	for (i = 0; i < 3; i++) {
		s.service[1].buckets = bad[i];
		assert_int_equal(rules_plan_live(&p, &s.want, s.ifindex), -EINVAL);
	}
	s.service[1].buckets = N_BUCKETS;
	memset(s.service[1].interface, 'x', IFNAME_SIZE);
	assert_int_equal(rules_plan_live(&p, &s.want, s.ifindex), -EINVAL);
	assert_int_equal(p.n_obj, 0);
}

static uint16_t code_of(const struct setup *s, unsigned int state, unsigned int to)
{
	return rules_code(&s->service[0], &(struct bucket_action){ (uint8_t)state, (uint8_t)to });
}

static void test_codes(void **state)
{
	static const enum bucket_state kinds[] = {
		BUCKET_FOREIGN, BUCKET_MINE, BUCKET_ARRIVING, BUCKET_ADOPTING, BUCKET_LEAVING,
		BUCKET_DRAINING,
	};
	unsigned int i, k, id;
	struct setup s;

	make(&s);
	/* flood: what the other node of a foreign, adopting or draining bucket is does not matter */
	assert_int_equal(code_of(&s, BUCKET_FOREIGN, 5), 0);
	assert_int_equal(code_of(&s, BUCKET_ADOPTING, 5), code_of(&s, BUCKET_ADOPTING, NOBODY));
	assert_int_equal(code_of(&s, BUCKET_DRAINING, 5), code_of(&s, BUCKET_LEAVING, NOBODY));
	assert_int_not_equal(code_of(&s, BUCKET_LEAVING, 5), code_of(&s, BUCKET_LEAVING, 6));
	assert_int_not_equal(code_of(&s, BUCKET_ARRIVING, 5), code_of(&s, BUCKET_ARRIVING, 6));
	s.conf[0].dispatch = DISPATCH_ROUTE;
	for (id = 1; id <= NODES_MAX; id++) {
		for (i = 0; i < 6; i++) {
			for (k = 0; k < i; k++)
				assert_int_not_equal(code_of(&s, kinds[i], id),
						     code_of(&s, kinds[k], id));
			if (kinds[i] != BUCKET_MINE)
				assert_int_not_equal(code_of(&s, kinds[i], id),
						     code_of(&s, kinds[i], id - 1));
		}
	}
	assert_int_equal(code_of(&s, BUCKET_FOREIGN, NOBODY), 0);
	assert_int_equal(rules_old_code(NOBODY, 1), 0);
	assert_int_equal(rules_old_code(1, 1), 0);
	assert_int_equal(rules_old_code(2, 1), RULES_MARK_NODE(2));
}

static void test_chunks(void **state)
{
	uint16_t have[1000] = { 0 }, want[1000] = { 0 };
	uint32_t max, from, to, n, sum, i;
	unsigned int round;

	srandom(1);
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 1000; i++)
			want[i] = random() % 3 == 0;
		max = 1 + (uint32_t)random() % 400;
		for (from = 0, sum = 0; from < 1000; from = to) {
			uint32_t real = 0;

			to = rules_chunk(have, want, 1000, from, max, &n);
			assert_true(to > from && to <= 1000 && n <= max);
			for (i = from; i < to; i++)
				real += have[i] != want[i];
			assert_int_equal(real, n);
			assert_true(n == max || to == 1000);
			sum += n;
		}
		for (i = 0; i < 1000; i++)
			sum -= want[i];
		assert_int_equal(sum, 0);
	}
}

static void test_first(void **state)
{
	struct rules_plan p;
	struct rules_diff d;
	struct setup s;
	unsigned int i;

	make(&s);
	live(&p, &s);
	assert_int_equal(rules_plan_diff(&d, NULL, &p), 0);
	assert_true(d.rebuild);
	assert_int_equal(d.n, p.n_obj);
	assert_int_equal(d.n_pre, d.n);
	assert_int_equal(ops(&d, VERB_REPLACE, OBJ_TABLE, NULL), 4);	/* netdev, inet, ip6, arp */
	/* nothing refers to what comes later */
	for (i = 1; i < d.n; i++)
		assert_true(d.op[i].obj->kind >= d.op[i - 1].obj->kind);
	rules_diff_free(&d);
	rules_plan_free(&p);
}

static void test_same(void **state)
{
	struct rules_plan a, b;
	struct rules_diff d;
	struct setup s, t;

	make(&s);
	make(&t);
	t.action[0][3].state = BUCKET_MINE;	/* buckets are no part of the plan */
	t.action[1][4] = (struct bucket_action){ BUCKET_LEAVING, 2 };
	live(&a, &s);
	live(&b, &t);
	assert_true(rules_plan_equal(&a, &b));
	assert_int_equal(rules_plan_diff(&d, &a, &b), 0);
	assert_int_equal(d.n, 0);
	assert_false(d.rebuild);
	rules_diff_free(&d);
	rules_plan_free(&a);
	rules_plan_free(&b);
}

static void test_peer_moves(void **state)
{
	struct rules_plan a, b;
	struct rules_diff d;
	struct setup s;

	make(&s);
	live(&a, &s);
	s.peer[1].mac[0] = 2;	/* now it is known: chains for it, the sets have it */
	s.peer[1].mac[5] = 3;
	live(&b, &s);
	assert_int_equal(rules_plan_diff(&d, &a, &b), 0);
	assert_false(d.rebuild);
	assert_int_equal(ops(&d, VERB_FLUSH, OBJ_CHAIN, NULL), 0);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_CHAIN, NULL), 6);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_CHAIN, "s0_to3"), 1);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_ELEM, NULL), 6);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_ELEM, "s1_peers"), 1);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_RULE, "s0_fwd3"), 2);	/* IPv4, and none else */
	assert_int_equal(d.n_pre, d.n);
	rules_diff_free(&d);

	/* a bucket says 'to 3', and it is forgotten: the element leads elsewhere before the chain goes */
	rules_plan_free(&a);
	s.peer[1].mac[0] = s.peer[1].mac[5] = 0;
	s.action[0][7] = (struct bucket_action){ BUCKET_LEAVING, 3 };
	live(&a, &s);
	assert_int_equal(rules_plan_diff(&d, &b, &a), 0);
	assert_false(d.rebuild);
	assert_int_equal(ops(&d, VERB_DEL, OBJ_ELEM, "s0_peers"), 1);
	assert_int_equal(ops(&d, VERB_DEL, OBJ_ELEM, "s0_a"), 2);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_ELEM, "s0_a"), 1);
	assert_int_equal(ops(&d, VERB_DEL, OBJ_CHAIN, NULL), 6);
	assert_int_equal(d.n - d.n_pre, 12);
	rules_diff_free(&d);
	rules_plan_free(&a);
	rules_plan_free(&b);
}

static void test_service_comes_and_goes(void **state)
{
	struct rules_plan one, two;
	struct rules_diff d;
	unsigned int i, flushed = 0, sets = 0, chains = 0;
	struct setup s;

	make(&s);
	live(&two, &s);
	s.want.n_services = 1;
	live(&one, &s);
	assert_int_equal(rules_plan_diff(&d, &one, &two), 0);
	assert_false(d.rebuild);
	assert_int_equal(d.n_pre, d.n);
	assert_int_equal(ops(&d, VERB_DEL, OBJ_CHAIN, NULL), 0);
	assert_int_equal(ops(&d, VERB_ADD, OBJ_SET, "s1_b"), 1);
	rules_diff_free(&d);

	assert_int_equal(rules_plan_diff(&d, &two, &one), 0);
	assert_false(d.rebuild);
	assert_true(d.n_pre < d.n);
	for (i = 0; i < d.n; i++) {
		const struct rules_op *op = &d.op[i];

		if (op->obj->kind == OBJ_ELEM)
			assert_true(op->verb == VERB_DEL && i < d.n_pre);
		if (op->verb == VERB_FLUSH && i >= d.n_pre) {
			assert_int_equal(sets + chains, 0);
			flushed++;
		}
		if (op->verb == VERB_DEL && op->obj->kind == OBJ_SET) {
			assert_int_equal(chains, 0);
			assert_true(i >= d.n_pre);
			sets++;
		}
		if (op->verb == VERB_DEL && op->obj->kind == OBJ_CHAIN)
			chains++;
	}
	assert_int_equal(chains, flushed);
	assert_int_equal(sets, 6);
	rules_diff_free(&d);
	rules_plan_free(&one);
	rules_plan_free(&two);
}

static void test_rebuild(void **state)
{
	struct rules_plan a, b;
	struct rules_diff d;
	struct setup s;

	make(&s);
	live(&a, &s);
	s.service[1].buckets = 32;	/* a set cannot change its size */
	live(&b, &s);
	assert_int_equal(rules_plan_diff(&d, &a, &b), 0);
	assert_true(d.rebuild);
	rules_diff_free(&d);
	rules_plan_free(&b);

	make(&s);
	strcpy(s.service[0].interface, "eth1");	/* nor a base chain its device */
	live(&b, &s);
	assert_int_equal(rules_plan_diff(&d, &a, &b), 0);
	assert_true(d.rebuild);
	rules_diff_free(&d);
	rules_plan_free(&a);
	rules_plan_free(&b);
}

static void test_names(void **state)
{
	struct rules_plan p;
	struct setup s;
	unsigned int i, found = 0;
	char buf[128];

	make(&s);
	live(&p, &s);
	for (i = 0; i < p.n_obj; i++) {
		rules_obj_str(&p, &p.obj[i], buf, sizeof(buf));
		if (!strcmp(rules_obj_module(&p, &p.obj[i]), "nft_hash")) {
			found++;
			assert_non_null(strstr(buf, "rule 1 of chain s"));
		}
		if (!strcmp(buf, "rule 1 of chain s0_fwd2 in table netdev clusterd")) {
			found++;
			assert_string_equal(rules_obj_module(&p, &p.obj[i]),
					    "nft_fwd_netdev, nf_dup_netdev");
		}
	}
	assert_int_equal(found, 12);
	rules_plan_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_handed),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_first),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_peer_moves),
		cmocka_unit_test(test_service_comes_and_goes),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

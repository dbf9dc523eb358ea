/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is behind the ingress when packets are handed on, queued or answered for by a holder: the
 * live tables and the guard of such a configuration (UPDATE_GOLDEN=1 rewrites the golden files),
 * and what turns each piece on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/rules_build.h"

#define N 3

/* One service of each dispatch, the last through tunnels. */
struct setup {
	struct conf_service conf[N];
	struct rules_peer peer[N];
	struct rules_service service[N];
	struct rules_member member[2];
	struct rules_want want;
	int ifindex[N];
};

static void make(struct setup *s)
{
	static const char *const vip[N][2] = {
		{ "10.77.0.250", "fd77::250" }, { "10.77.0.251", "fd77::251" },
		{ "192.0.2.1", "2001:db8::1" },
	};
	unsigned int i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < N; i++) {
		s->conf[i] = (struct conf_service){
			.name = "web", .n_vips = 2, .n_ports = 1, .port = { { 6, 80, 80 } },
			.dispatch = (enum conf_dispatch)i,
		};
		addr_parse(&s->conf[i].vip[0], vip[i][0]);
		addr_parse(&s->conf[i].vip[1], vip[i][1]);
		s->peer[i] = (struct rules_peer){ .id = 2, .mac = { 2, 0, 0, 0, 0, 2 } };
		addr_parse(&s->peer[i].addr4, "10.77.0.2");
		addr_parse(&s->peer[i].addr6, "fe80::2");
		s->service[i] = (struct rules_service){
			.conf = &s->conf[i], .interface = "eth0", .seed = i, .buckets = 64,
			.n_peers = 1, .peer = &s->peer[i],
		};
		s->ifindex[i] = 4 + (int)i;
	}
	s->conf[0].mac = MAC_UNICAST;
	addr_parse(&s->service[1].own4, "10.77.0.1");
	addr_parse(&s->service[1].own6, "fe80::1");
	s->conf[2].redirect = REDIRECT_VXLAN;
	s->peer[2].ifindex4 = 21;
	s->peer[2].ifindex6 = 22;
	s->service[2].mss4 = 1400;
	s->service[2].mss6 = 1380;
	addr_parse(&s->member[0].addr, "10.77.0.2");
	s->member[0].vni = 0xc1d001;
	addr_parse(&s->member[1].addr, "fd77::2");
	s->member[1].vni = 0xc1d001;
	s->want = (struct rules_want){
		.n_services = N, .service = s->service, .self = 1, .queue = 40, .n_queues = 2,
		.vxlan_port = 4789, .n_members = 2, .member = s->member,
	};
}

static char *text(const struct rules_plan *p)
{
	char *got = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&got, &size);

	rules_plan_print(p, f);
	fclose(f);
	return got;
}

/* As text; to be freed. */
static char *stack(const struct setup *s)
{
	struct rules_plan p = { 0 };
	struct rules_mk b = { .p = &p };
	char *got;

	build_stack(&b, &s->want, s->ifindex);
	assert_false(p.failed);
	got = text(&p);
	rules_plan_free(&p);
	return got;
}

static char *guard(const struct setup *s)
{
	struct rules_plan p = { 0 };
	char *got;

	assert_int_equal(rules_plan_guard(&p, &s->want), 0);
	got = text(&p);
	rules_plan_free(&p);
	return got;
}

/* Frees 'got'. */
static void golden(char *got, const char *path)
{
	char *want;
	FILE *f;
	long len;

	if (getenv("UPDATE_GOLDEN")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fputs(got, f);
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
	struct setup s;

	make(&s);
	golden(stack(&s), "tests/golden/rules_stack.plan");
	golden(guard(&s), "tests/golden/rules_stack_guard.plan");
}

/* Frees 'got'. */
static bool has(char *got, const char *what)
{
	bool found = strstr(got, what) != NULL;

	free(got);
	return found;
}

/* Flood and a hash alone: no mark of a service or node is looked for, no table of family ip. */
static void test_flood_alone(void **state)
{
	struct setup s;

	make(&s);
	s.want.n_services = 1;
	s.want.n_members = 0;
	assert_false(has(stack(&s), "table ip clusterd"));
	assert_false(has(stack(&s), "queue"));
	assert_false(has(stack(&s), "dup"));
	assert_false(has(stack(&s), "_second"));
	assert_false(has(stack(&s), "gated"));
	assert_false(has(stack(&s), "vnis"));
	assert_false(has(guard(&s), "gated"));
	s.conf[0].sched = SCHED_LEAST_CONN;
	assert_true(has(stack(&s), "table ip clusterd"));
	assert_true(has(stack(&s), "[queue 40-41]"));
	assert_true(has(stack(&s), "s0_second"));
	assert_false(has(stack(&s), "gated"));
}

static void test_queue(void **state)
{
	struct setup s;

	make(&s);
	s.want.queue_xt = true;
	assert_true(has(stack(&s), "[queue 40-41 xt]"));
	assert_false(has(stack(&s), "[queue 40-41]"));
	s.want.n_queues = 0;
	assert_false(has(stack(&s), "[queue"));
}

/* No own address to speak in: nothing is said. */
static void test_no_own_address(void **state)
{
	struct setup s;

	make(&s);
	s.want.n_services = 2;
	assert_true(has(stack(&s), "[r0 = 0a4d0001] [r0 -> nh+14,4]"));
	assert_true(has(stack(&s), "-> nh+8,16 csum pseudo]"));
	s.service[1].own4.family = 0;
	s.service[1].own6.family = 0;
	assert_true(has(stack(&s), "[nh+14,4 -> r0] [r0 == 0a4d00fb] [nh+6,2 -> r0] "
			"[r0 == 0001] [drop]"));
	assert_false(has(stack(&s), "csum pseudo"));
}

/* ipip alone wants DF cleared, of IPv4 alone. */
static void test_df(void **state)
{
	struct setup s;

	make(&s);
	assert_false(has(stack(&s), "chain df"));
	s.conf[2].redirect = REDIRECT_IPIP;
	assert_true(has(stack(&s), "[nh+6,2 -> r0] [r0 = r0 & bfff0000 ^ 00000000] "
			"[r0 -> nh+6,2 csum +10] [r0 = 00000000] [r0 -> meta 3]"));
	assert_true(has(stack(&s), "chain s2_hand2\n    [r4 = 0a4d0002]"));
	assert_true(has(stack(&s), "chain s2_hand2\n    [r0 = 00000000] [r0 -> meta 3] "
			"[r4 = fe80"));
}

/* Of tunnels only, and of no more than there are. */
static void test_untracked(void **state)
{
	static const char out4[] = "[meta 16 -> r0] [r0 == 04] [meta 15 -> r0] [r0 == 02] "
				   "[nh+16,4 -> r4] [r4 in @ends4] [notrack] [accept]",
			  in6[] = "[meta 16 -> r0] [r0 == 29] [meta 15 -> r0] [r0 == 0a] "
				  "[nh+8,16 -> r4] [r4 in @ends6] [notrack] [accept]";
	struct setup s;

	make(&s);
	assert_true(has(stack(&s), "chain raw_out hook 3 prio -300"));
	assert_true(has(stack(&s), "chain raw_in hook 0 prio -300"));
	assert_false(has(stack(&s), out4));
	assert_false(has(stack(&s), in6));
	s.conf[2].redirect = REDIRECT_IPIP;
	assert_true(has(stack(&s), out4));
	assert_true(has(stack(&s), in6));
	assert_true(has(stack(&s), "@vnis"));
	s.want.vxlan_port = 0;
	s.member[0].vni = s.member[1].vni = 0;
	assert_true(has(stack(&s), out4));
	assert_true(has(stack(&s), in6));
	assert_false(has(stack(&s), "r0 == 12b5"));
	assert_false(has(stack(&s), "@vnis"));
	s.conf[2].redirect = REDIRECT_DIRECT;
	assert_false(has(stack(&s), "notrack"));
	assert_false(has(stack(&s), "raw_"));
	assert_false(has(stack(&s), "@ends"));
}

/* No way to a peer: no chain; what is marked for it is dropped. */
static void test_no_way(void **state)
{
	struct setup s;

	make(&s);
	assert_true(has(stack(&s), "chain s2_hand2"));
	s.peer[2].ifindex4 = 0;
	s.peer[2].addr6.family = 0;
	assert_false(has(stack(&s), "chain s2_hand2"));
	assert_true(has(stack(&s), "chain s1_hand2"));
}

/* The part of a plan from the first line that begins with 'from' to the one that begins with 'to'. */
static char *cut(char *got, const char *from, const char *to)
{
	char *a = strstr(got, from), *b = a ? strstr(a, to) : NULL, *out;

	assert_non_null(b);
	out = strndup(a, (size_t)(b - a));
	free(got);
	return out;
}

/* One service of each kind, behind the guard, and none of it while they are fit. */
static void test_sorry(void **state)
{
	static const enum rules_sorry sorry[N] = {
		RULES_SORRY_RESET, RULES_SORRY_DROP, RULES_SORRY_REDIRECT,
	};
	struct setup s;
	char *got;

	make(&s);
	assert_false(has(stack(&s), "sorry"));
	for (unsigned int i = 0; i < N; i++) {
		s.conf[i].port[1] = (struct conf_port){ 17, 5000, 5010 };
		s.conf[i].n_ports = 2;
		s.service[i].sorry = sorry[i];
		s.service[i].sorry_port = 5409;
	}
	got = stack(&s);
	assert_true(has(strdup(got), "counter sorry"));
	golden(cut(got, "chain sorry ", "\ntable "), "tests/golden/rules_stack_sorry.plan");
	/* No nat chain, which costs every connection something, where none is redirected. */
	s.service[2].sorry = RULES_SORRY_DROP;
	assert_true(has(stack(&s), "chain sorry "));
	assert_false(has(stack(&s), "sorry_nat"));
	assert_true(PRIO_SORRY > PRIO_GUARD && PRIO_SORRY_NAT > PRIO_GUARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_flood_alone),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_no_own_address),
		cmocka_unit_test(test_df),
		cmocka_unit_test(test_no_way),
		cmocka_unit_test(test_untracked),
		cmocka_unit_test(test_sorry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chains of services with a scheduler, as text: what each state of a bucket leads to.  What
 * they do to packets is held in tests/netns/queue_kernel.c; here what the kernel would not complain
 * about.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "io/rules_build.h"
#include "io/rules_plan.h"
#include "io/rules_sched.h"

struct setup {
	struct conf_service conf;
	struct bucket_action action[BUCKETS_MIN];
	struct rules_peer peer[2];
	struct rules_service service;
	struct rules_want want;
};

static void make(struct setup *s, enum conf_sched sched, enum conf_dispatch dispatch)
{
	memset(s, 0, sizeof(*s));
	s->conf = (struct conf_service){
		.name = "web", .n_vips = 2, .n_ports = 2, .sched = sched, .dispatch = dispatch,
		.port = { { IPPROTO_TCP, 80, 80 }, { IPPROTO_UDP, 53, 53 } },
	};
	addr_parse(&s->conf.vip[0], "10.77.0.250");
	addr_parse(&s->conf.vip[1], "fd77::250");
	for (unsigned int i = 0; i < 2; i++) {
		s->peer[i].id = (uint8_t)(2 + i);
		s->peer[i].mac[0] = 2;
		s->peer[i].mac[5] = (uint8_t)(2 + i);
		addr_parse(&s->peer[i].addr4, i ? "10.77.0.3" : "10.77.0.2");
		addr_parse(&s->peer[i].addr6, i ? "fd77::3" : "fd77::2");
	}
	s->service = (struct rules_service){
		.conf = &s->conf, .interface = "eth0", .seed = 1, .buckets = BUCKETS_MIN,
		.hash = HASH_SOURCE_PORT, .action = s->action, .n_peers = 2, .peer = s->peer,
		.weight = { [1] = 100, [2] = 200, [3] = 100 },
	};
	s->want = (struct rules_want){ .n_services = 1, .service = &s->service, .self = 1,
				       .queue = 40, .n_queues = 2 };
}

static char *text(const struct setup *s)
{
	struct rules_plan p = { 0 };
	int ifindex[SERVICES_MAX] = { 5 };
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	assert_int_equal(rules_plan_live(&p, &s->want, ifindex), 0);
	rules_plan_print(&p, f);
	fclose(f);
	rules_plan_free(&p);
	return out;
}

static unsigned int times(const char *in, const char *what)
{
	unsigned int n = 0;

	while ((in = strstr(in, what))) {
		in += strlen(what);
		n++;
	}
	return n;
}

/* The number of elements of map 'set' with that data or chain, as the plan has them. */
static unsigned int elements(const struct setup *s, const char *set, uint32_t data, const char *chain)
{
	struct rules_plan p = { 0 };
	int ifindex[SERVICES_MAX] = { 5 };
	unsigned int n = 0;
	uint32_t have;

	assert_int_equal(rules_plan_live(&p, &s->want, ifindex), 0);
	for (unsigned int i = 0; i < p.n_obj; i++) {
		const struct rules_obj *o = &p.obj[i];

		if (o->kind != OBJ_ELEM || strcmp(o->name, set))
			continue;
		memcpy(&have, o->u.elem.data, 4);
		n += chain ? !strcmp(o->u.elem.chain, chain) : have == data;
	}
	rules_plan_free(&p);
	return n;
}

/* Where code 'code' of map 'set' leads, or "". */
static const char *leads(const struct setup *s, const char *set, enum bucket_state state, uint8_t to)
{
	static char chain[OBJ_NAME];
	uint32_t code = rules_code(&s->service, &(struct bucket_action){ (uint8_t)state, to });
	struct rules_plan p = { 0 };
	int ifindex[SERVICES_MAX] = { 5 };

	chain[0] = '\0';
	assert_int_equal(rules_plan_live(&p, &s->want, ifindex), 0);
	for (unsigned int i = 0; i < p.n_obj; i++)
		if (p.obj[i].kind == OBJ_ELEM && !strcmp(p.obj[i].name, set) &&
		    !memcmp(p.obj[i].u.elem.key, &code, 4))
			strcpy(chain, p.obj[i].u.elem.chain);
	rules_plan_free(&p);
	return chain;
}

static void states(void **state)
{
	struct setup s;

	make(&s, SCHED_PROBABILITY, DISPATCH_ANNOUNCE);
	assert_string_equal(leads(&s, "s0_a", BUCKET_MINE, NOBODY), "s0_dmine");
	assert_string_equal(leads(&s, "s0_a", BUCKET_ADOPTING, NOBODY), "s0_dmine");
	assert_string_equal(leads(&s, "s0_a", BUCKET_ADOPTING, 3), "s0_dado3");
	assert_string_equal(leads(&s, "s0_a", BUCKET_LEAVING, 2), "s0_dto2");
	assert_string_equal(leads(&s, "s0_a", BUCKET_DRAINING, 2), "s0_dto2");
	assert_string_equal(leads(&s, "s0_a", BUCKET_ARRIVING, 3), "s0_darr3");
	assert_string_equal(leads(&s, "s0_a", BUCKET_FOREIGN, 3), "s0_dfor3");
	assert_string_equal(leads(&s, "s0_g", BUCKET_MINE, NOBODY), "s0_dfrag");
	assert_string_equal(leads(&s, "s0_g", BUCKET_ADOPTING, 2), "s0_dfrag");
	assert_string_equal(leads(&s, "s0_g", BUCKET_FOREIGN, 2), "s0_dfor2");
	assert_string_equal(leads(&s, "s0_m", BUCKET_MINE, NOBODY), "s0_derr");
	assert_string_equal(leads(&s, "s0_m", BUCKET_FOREIGN, 2), "s0_dfer2");
	assert_string_equal(leads(&s, "s0_m", BUCKET_ARRIVING, 2), "s0_chk2");
	/* nodes that are no peers, where buckets name them */
	assert_string_equal(leads(&s, "s0_a", BUCKET_LEAVING, 9), "");
	for (unsigned int i = 0; i < 4; i++)
		s.action[i] = (struct bucket_action){ (uint8_t[]){ BUCKET_LEAVING, BUCKET_ADOPTING,
						      BUCKET_FOREIGN, BUCKET_ARRIVING }[i], 9 };
	assert_string_equal(leads(&s, "s0_a", BUCKET_LEAVING, 9), "s0_dnone");
	assert_string_equal(leads(&s, "s0_a", BUCKET_ADOPTING, 9), "s0_dmine");
	assert_string_equal(leads(&s, "s0_a", BUCKET_FOREIGN, 9), "s0_dfor0");
	assert_string_equal(leads(&s, "s0_a", BUCKET_ARRIVING, 9), "s0_dnone");

	make(&s, SCHED_PROBABILITY, DISPATCH_FLOOD);
	assert_string_equal(leads(&s, "s0_a", BUCKET_LEAVING, 2), "s0_dto2");
	assert_string_equal(leads(&s, "s0_a", BUCKET_DRAINING, 2), "s0_ddra2");
	assert_string_equal(leads(&s, "s0_a", BUCKET_FOREIGN, 2), "s0_dfor2");
}

static void slots(void **state)
{
	struct setup s;

	make(&s, SCHED_PROBABILITY, DISPATCH_ANNOUNCE);
	assert_int_equal(elements(&s, "s0_w", 1, NULL), 256);
	assert_int_equal(elements(&s, "s0_w", 2, NULL), 512);
	assert_int_equal(elements(&s, "s0_w", 3, NULL), 256);
	/* a weight of somebody who cannot be reached is nobody's */
	s.service.n_peers = 1;
	s.service.weight[9] = 500;
	assert_int_equal(elements(&s, "s0_w", 1, NULL), 341);
	assert_int_equal(elements(&s, "s0_w", 2, NULL), 683);
	assert_int_equal(elements(&s, "s0_n", 0, "s0_mine"), 1);
	assert_int_equal(elements(&s, "s0_n", 0, "s0_fwd2"), 1);
	assert_int_equal(elements(&s, "s0_n", 0, "s0_fwd3"), 0);
	/* none: no slot, every new flow is dropped */
	memset(s.service.weight, 0, sizeof(s.service.weight));
	for (uint32_t id = 0; id < 4; id++)
		assert_int_equal(elements(&s, "s0_w", id, NULL), 0);
}

static void queues(void **state)
{
	struct setup s;
	char *t;

	make(&s, SCHED_LEAST_CONN, DISPATCH_ANNOUNCE);
	t = text(&s);
	assert_non_null(strstr(t, "chain s0_new\n"));
	assert_non_null(strstr(t, "[r0 = 0300d0c1] [r0 -> meta 3] [accept]"));	/* QUEUE */
	assert_non_null(strstr(t, "[r0 = 02ffd0c1] [r0 -> meta 3] [accept]"));	/* CHECK, to the queue */
	assert_null(strstr(t, "random"));
	free(t);
	s.want.n_queues = 0;	/* nobody will listen */
	t = text(&s);
	assert_null(strstr(t, "[r0 = 0300d0c1]"));
	assert_null(strstr(t, "[r0 = 02ffd0c1]"));
	free(t);
	make(&s, SCHED_PROBABILITY, DISPATCH_ANNOUNCE);
	t = text(&s);
	assert_int_equal(times(t, "[random mod 1024 -> r0]"), 1);
	free(t);
}

/* Flow maps are bounded, their entries mortal; a service with a hash has none. */
static void maps(void **state)
{
	struct setup s;
	char *t;

	make(&s, SCHED_LEAST_CONN, DISPATCH_ROUTE);
	t = text(&s);
	assert_int_equal(times(t, "  set s0_fm4 "), 1);
	assert_int_equal(times(t, "  set s0_fm6 "), 1);
	assert_non_null(strstr(t, " data 0x13 size 262144"));
	assert_int_equal(times(t, "[update @s0_fm4 r0 : r12 timeout 3600000]"), 1);
	assert_int_equal(times(t, "[update @s0_fm6 r0 : r12 timeout 180000]"), 1);
	assert_int_equal(times(t, "[delete @s0_fm4 r0]"), 1);
	/* of a node that is gone; and at a SYN from a port used before: of one that gets nothing new; of
	 * any, when another director decides: take, final, and from and to each peer */
	assert_int_equal(times(t, "[jump s0_lose]"), 2 + 2 + 2 * 2);
	free(t);
	make(&s, SCHED_HASH, DISPATCH_ROUTE);
	t = text(&s);
	assert_null(strstr(t, "s0_fm"));
	assert_null(strstr(t, "s0_d"));
	free(t);
}

/* New weights change slots, nothing else; the maps with the flows stay. */
static void weights(void **state)
{
	struct rules_plan old = { 0 }, new = { 0 };
	int ifindex[SERVICES_MAX] = { 5 };
	struct rules_diff d;
	struct setup s;

	make(&s, SCHED_PROBABILITY, DISPATCH_ANNOUNCE);
	assert_int_equal(rules_plan_live(&old, &s.want, ifindex), 0);
	s.service.weight[2] = 202;
	assert_int_equal(rules_plan_live(&new, &s.want, ifindex), 0);
	assert_int_equal(rules_plan_diff(&d, &old, &new), 0);
	assert_false(d.rebuild);
	assert_in_range(d.n, 2, 20);
	for (unsigned int i = 0; i < d.n; i++)
		assert_true(d.op[i].obj->kind == OBJ_ELEM && !strcmp(d.op[i].obj->name, "s0_w"));
	rules_diff_free(&d);
	rules_plan_free(&new);
	/* a peer that goes takes its chains along; the maps with the flows stay */
	s.service.n_peers = 1;
	assert_int_equal(rules_plan_live(&new, &s.want, ifindex), 0);
	assert_int_equal(rules_plan_diff(&d, &old, &new), 0);
	assert_false(d.rebuild);
	for (unsigned int i = 0; i < d.n; i++)
		assert_int_not_equal(d.op[i].obj->kind, OBJ_SET);
	rules_diff_free(&d);
	rules_plan_free(&new);
	rules_plan_free(&old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states), cmocka_unit_test(slots), cmocka_unit_test(queues),
		cmocka_unit_test(maps), cmocka_unit_test(weights),
	};

	return cmocka_run_group_tests_name("rules_sched", tests, NULL, NULL);
}

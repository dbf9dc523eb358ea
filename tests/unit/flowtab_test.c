/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "core/flowtab.h"

#define KNOWN  4096u
#define PICKED 1024u
#define ASKED  512u

static const struct flowtab_params params = {
	.known = KNOWN, .picked = PICKED, .asked = ASKED, .known_ms = 100000, .picked_ms = 10000,
	.asks_per_s = 1000, .asks_burst = 100, .again_ms = 500, .give_up_ms = 3000,
	.forget_ms = 15000, .seed = 0x5eed,
};

static struct flow flow_no(uint32_t i)
{
	struct flow f = { .service = 1, .proto = IPPROTO_TCP, .sport = (uint16_t)(1024 + i % 60000),
			  .dport = 443, .client.family = AF_INET, .vip.family = AF_INET };

	memcpy(f.client.b, &i, 4);
	f.vip.b[0] = 10;
	return f;
}

static unsigned int find(struct flowtab *t, struct flow f, int64_t now)
{
	bool retell;

	return flowtab_find(t, &f, now, &retell);
}

static void life(void **state)
{
	struct flowtab *t = flowtab_new(&params);
	struct flow f = flow_no(1), g = f;
	bool retell;

	assert_non_null(t);
	assert_int_equal(find(t, f, 0), NOBODY);
	f.node = 3;
	flowtab_pick(t, &f, 1000);
	assert_int_equal(flowtab_find(t, &f, 1999, &retell), 3);
	assert_false(retell);
	assert_int_equal(flowtab_find(t, &f, 2000, &retell), 3);
	assert_true(retell);
	assert_int_equal(flowtab_find(t, &f, 2001, &retell), 3);
	assert_false(retell);
	/* every part of the key counts */
	g.dport = 80;
	assert_int_equal(find(t, g, 2001), NOBODY);
	g = f;
	g.proto = IPPROTO_UDP;
	assert_int_equal(find(t, g, 2001), NOBODY);
	g = f;
	g.service = 2;
	assert_int_equal(find(t, g, 2001), NOBODY);
	g = f;
	g.client.family = AF_INET6;
	assert_int_equal(find(t, g, 2001), NOBODY);
	g = f;
	g.vip.b[15] = 1;
	assert_int_equal(find(t, g, 2001), NOBODY);
	/* use prolongs */
	assert_int_equal(find(t, f, 12000), 3);
	assert_int_equal(find(t, f, 21999), 3);
	assert_int_equal(find(t, f, 31999), NOBODY);
	flowtab_free(t);
}

static void learn(void **state)
{
	struct flowtab *t = flowtab_new(&params);
	struct flowtab_counts c;
	struct flow f = flow_no(1);

	assert_int_equal(flowtab_ask(t, &f, 0), FLOWTAB_ASK);
	f.node = 2;
	flowtab_learn(t, &f, 10);
	assert_int_equal(find(t, f, 50000), 2);
	f.node = 4;	/* a later word of a peer counts */
	flowtab_learn(t, &f, 60000);
	assert_int_equal(find(t, f, 60001), 4);
	flowtab_count(t, 60001, &c);
	assert_true(c.known == 1 && !c.picked && !c.asked);
	flowtab_drop(t, &f);
	assert_int_equal(find(t, f, 60002), NOBODY);
	/* a pick takes the question away, a peer's word the pick */
	assert_int_equal(flowtab_ask(t, &f, 60003), FLOWTAB_ASK);
	flowtab_pick(t, &f, 60004);
	flowtab_count(t, 60005, &c);
	assert_true(!c.known && c.picked == 1 && !c.asked);
	f.node = 5;
	flowtab_learn(t, &f, 60006);
	flowtab_count(t, 60007, &c);
	assert_true(c.known == 1 && !c.picked && !c.asked);
	assert_int_equal(find(t, f, 60007), 5);
	flowtab_free(t);
}

static void asking(void **state)
{
	struct flowtab *t = flowtab_new(&params);
	struct flow f = flow_no(1);

	assert_int_equal(flowtab_ask(t, &f, 0), FLOWTAB_ASK);
	assert_int_equal(flowtab_ask(t, &f, 499), FLOWTAB_WAIT);
	assert_int_equal(flowtab_ask(t, &f, 500), FLOWTAB_ASK);
	assert_int_equal(flowtab_ask(t, &f, 900), FLOWTAB_WAIT);
	assert_int_equal(flowtab_ask(t, &f, 2999), FLOWTAB_ASK);
	assert_int_equal(flowtab_ask(t, &f, 3000), FLOWTAB_LOST);
	assert_int_equal(flowtab_ask(t, &f, 14999), FLOWTAB_LOST);
	assert_int_equal(flowtab_ask(t, &f, 15000), FLOWTAB_ASK);
	flowtab_free(t);
}

static unsigned int asks(struct flowtab *t, uint32_t from, unsigned int n, int64_t now)
{
	unsigned int made = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct flow f = flow_no(from + i);

		made += flowtab_ask(t, &f, now) == FLOWTAB_ASK;
	}
	return made;
}

static void budget(void **state)
{
	struct flowtab *t = flowtab_new(&params);

	assert_int_equal(asks(t, 0, 1000, 5000), 100);		/* the burst */
	assert_int_equal(asks(t, 1000, 1000, 5000), 0);
	assert_int_equal(asks(t, 2000, 1000, 5001), 1);		/* 1000 per second */
	assert_int_equal(asks(t, 3000, 1000, 5051), 50);
	assert_int_equal(asks(t, 4000, 1000, 9000), 100);	/* never more than the burst */
	assert_int_equal(asks(t, 5000, 1000, INT64_MAX / 2), 100);
	assert_int_equal(asks(t, 6000, 1000, 0), 0);		/* a clock that jumps back gives nothing */
	flowtab_free(t);
}

/* Half of what there is room for is known; a million spoofed packets and a million SYNs come. */
static void flood(void **state)
{
	struct flowtab *t = flowtab_new(&params);
	size_t bytes = flowtab_bytes(t);
	struct flowtab_counts c;
	unsigned int made = 0, kept = 0, before = 0;

	for (uint32_t i = 0; i < KNOWN / 2; i++) {
		struct flow f = flow_no(i);

		f.node = (uint8_t)(1 + i % 64);
		flowtab_learn(t, &f, 0);
	}
	for (uint32_t i = 0; i < KNOWN / 2; i++)
		before += find(t, flow_no(i), 1) == 1 + i % 64;
	for (uint32_t i = 0; i < 1000000; i++) {
		struct flow f = flow_no(0x10000000u + i), g = flow_no(0x20000000u + i);
		int64_t now = 2 + i / 1000;	/* a million per second */

		made += flowtab_ask(t, &f, now) == FLOWTAB_ASK;
		g.node = 7;
		flowtab_pick(t, &g, now);
	}
	assert_in_range(made, 1000, 1101);	/* a second's budget and the burst */
	for (uint32_t i = 0; i < KNOWN / 2; i++)
		kept += find(t, flow_no(i), 1002) == 1 + i % 64;
	assert_int_equal(kept, before);
	assert_in_range(before, KNOWN / 2 * 99 / 100, KNOWN / 2);
	flowtab_count(t, 1002, &c);
	assert_in_range(c.known, before, KNOWN / 2);
	assert_in_range(c.picked, PICKED * 9 / 10, PICKED);
	assert_in_range(c.asked, 1, ASKED);
	assert_int_equal(flowtab_bytes(t), bytes);
	assert_in_range(bytes, 1, (KNOWN + PICKED + ASKED) * 80 + 1024);
	flowtab_free(t);
}

/* The oldest go first. */
static void eviction(void **state)
{
	struct flowtab_params p = params;
	struct flowtab *t;
	unsigned int n = 0;

	p.picked = 1;	/* one row */
	t = flowtab_new(&p);
	for (uint32_t i = 0; i < 9; i++) {
		struct flow f = flow_no(i);

		f.node = 1;
		flowtab_pick(t, &f, i);
		if (i == 7)	/* used again: not the oldest any more */
			assert_int_equal(find(t, flow_no(0), 8), 1);
	}
	for (uint32_t i = 0; i < 9; i++)
		n += find(t, flow_no(i), 9) == 1;
	assert_int_equal(n, 8);
	assert_int_equal(find(t, flow_no(0), 9), 1);
	assert_int_equal(find(t, flow_no(1), 9), NOBODY);
	flowtab_free(t);
	flowtab_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(life), cmocka_unit_test(learn), cmocka_unit_test(asking),
		cmocka_unit_test(budget), cmocka_unit_test(flood), cmocka_unit_test(eviction),
	};

	return cmocka_run_group_tests_name("flowtab", tests, NULL, NULL);
}

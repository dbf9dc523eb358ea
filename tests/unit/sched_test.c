/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/sched.h"

static void nobody(void **state)
{
	uint16_t w[NODES_MAX + 1] = { 0 };
	uint32_t c[NODES_MAX + 1] = { 0 };
	uint8_t slot[SCHED_SLOTS];

	w[0] = 100;	/* no node */
	assert_int_equal(sched_least_conn(w, c, 7), NOBODY);
	w[0] = 0;
	assert_false(sched_slots(w, slot));
	for (unsigned int i = 0; i < SCHED_SLOTS; i++)
		assert_int_equal(slot[i], NOBODY);
}

static void least(void **state)
{
	uint16_t w[NODES_MAX + 1] = { [1] = 100, [2] = 100, [5] = 100 };
	uint32_t c[NODES_MAX + 1] = { [1] = 10, [2] = 9, [5] = 11 };

	assert_int_equal(sched_least_conn(w, c, 0), 2);
	w[2] = 0;
	assert_int_equal(sched_least_conn(w, c, 0), 1);
	w[5] = 200;	/* 11/200 < 10/100 */
	assert_int_equal(sched_least_conn(w, c, 0), 5);
	c[5] = 20;	/* 20/200 == 10/100 */
	assert_int_equal(sched_least_conn(w, c, 0), 1);
	assert_int_equal(sched_least_conn(w, c, 1), 5);
	c[5] = 21;
	assert_int_equal(sched_least_conn(w, c, 1), 1);
	/* the largest numbers there are */
	w[64] = 65535;
	c[64] = UINT32_MAX;
	w[1] = 65534;
	c[1] = UINT32_MAX;
	w[5] = 0;
	assert_int_equal(sched_least_conn(w, c, 0), 64);
}

/* Starting from nothing, every node ends with its share. */
static void least_fills(void **state)
{
	uint16_t w[NODES_MAX + 1] = { [1] = 100, [2] = 50, [3] = 25, [4] = 1 };
	uint32_t c[NODES_MAX + 1] = { 0 };

	for (uint32_t i = 0; i < 17600; i++)
		c[sched_least_conn(w, c, i * 2654435761u)]++;
	assert_int_equal(c[1], 10000);
	assert_int_equal(c[2], 5000);
	assert_int_equal(c[3], 2500);
	assert_int_equal(c[4], 100);
	/* a node that comes back empty gets everything until it is level */
	c[2] = 0;
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(sched_least_conn(w, c, i), 2);
}

static void ties(void **state)
{
	uint16_t w[NODES_MAX + 1] = { [3] = 7, [4] = 7, [9] = 7 };
	uint32_t c[NODES_MAX + 1] = { 0 };
	unsigned int hits[NODES_MAX + 1] = { 0 };

	for (uint32_t i = 0; i < 300; i++)
		hits[sched_least_conn(w, c, i)]++;
	assert_true(hits[3] == 100 && hits[4] == 100 && hits[9] == 100);
}

static void count(const uint16_t w[NODES_MAX + 1], unsigned int n[NODES_MAX + 1])
{
	uint8_t slot[SCHED_SLOTS];

	memset(n, 0, (NODES_MAX + 1) * sizeof(*n));
	assert_true(sched_slots(w, slot));
	for (unsigned int i = 0; i < SCHED_SLOTS; i++) {
		n[slot[i]]++;
		assert_true(!i || slot[i] >= slot[i - 1]);
	}
	assert_int_equal(n[NOBODY], 0);
}

static void slots(void **state)
{
	uint16_t w[NODES_MAX + 1] = { [1] = 100, [2] = 100, [3] = 100 };
	unsigned int n[NODES_MAX + 1];

	count(w, n);	/* 341 1/3 each: the lowest id gets the odd one */
	assert_true(n[1] == 342 && n[2] == 341 && n[3] == 341);
	w[3] = 50;	/* 409.6, 409.6, 204.8 */
	count(w, n);
	assert_true(n[1] == 410 && n[2] == 409 && n[3] == 205);
	w[1] = w[2] = 0;
	count(w, n);
	assert_int_equal(n[3], SCHED_SLOTS);
	for (unsigned int id = 1; id <= NODES_MAX; id++)
		w[id] = UINT16_MAX;
	count(w, n);
	for (unsigned int id = 1; id <= NODES_MAX; id++)
		assert_int_equal(n[id], SCHED_SLOTS / NODES_MAX);
	/* never more than one slot off the exact share */
	for (unsigned int id = 1; id <= NODES_MAX; id++)
		w[id] = (uint16_t)(id * id);
	count(w, n);
	for (unsigned int id = 1; id <= NODES_MAX; id++) {
		unsigned int exact = SCHED_SLOTS * id * id / 89440;

		assert_in_range(n[id], exact, exact + 1);
	}
}

/* A percent of weight more or less changes few slots. */
static void slots_stay(void **state)
{
	uint16_t w[NODES_MAX + 1] = { [1] = 100, [2] = 100, [3] = 100, [4] = 100 };
	uint8_t a[SCHED_SLOTS], b[SCHED_SLOTS];
	unsigned int changed = 0;

	assert_true(sched_slots(w, a));
	w[2] = 101;
	assert_true(sched_slots(w, b));
	for (unsigned int i = 0; i < SCHED_SLOTS; i++)
		changed += a[i] != b[i];
	assert_in_range(changed, 1, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody), cmocka_unit_test(least), cmocka_unit_test(least_fills),
		cmocka_unit_test(ties), cmocka_unit_test(slots), cmocka_unit_test(slots_stay),
	};

	return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}

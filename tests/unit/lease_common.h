/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_LEASE_COMMON_H
#define TESTS_UNIT_LEASE_COMMON_H

/* Lease machines on a network of cuts, for the tests of core/lease. */

#include "core/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS 1000
#define LEASE (150 * MS)
#define STEP (LEASE / 5)
#define MARGIN lease_margin_us(LEASE)
#define N_MAX 6
#define START (1000 * MS)

/* N lease machines, a datagram network between them, and what each kernel was told. */
static struct lease node[N_MAX + 1];
static bool cut[N_MAX + 1][N_MAX + 1];		/* [from][to] */
static int64_t kernel_until[N_MAX + 1];		/* 0: closed */
static unsigned int n_events[N_MAX + 1][LEASE_EV_RECOVERED + 1], n_rounds[N_MAX + 1], n_renewals;
static struct lease_event last_event[N_MAX + 1][LEASE_EV_RECOVERED + 1];
static unsigned int n_nodes;
static uint64_t halted;				/* SIGSTOP: no ticks, nothing is read */
static int64_t now;

static inline uint64_t incarnation(unsigned int i)
{
	return 1000 * i;
}

static inline void setup_with(unsigned int n, enum lease_tiebreak tie, bool ignore_quorum)
{
	memset(cut, 0, sizeof(cut));
	memset(kernel_until, 0, sizeof(kernel_until));
	memset(n_events, 0, sizeof(n_events));
	memset(n_rounds, 0, sizeof(n_rounds));
	n_nodes = n;
	halted = 0;
	n_renewals = 0;
	now = START;
	for (unsigned int i = 1; i <= n; i++) {
		struct lease_params p = { .self = (uint8_t)i, .n_nodes = (uint8_t)n, .lease_us = LEASE,
					  .ignore_quorum = ignore_quorum, .tiebreak = tie,
					  .incarnation = incarnation(i) };

		/* They were started long ago: nothing that one of them told before still counts. */
		lease_init(&node[i], &p, now - 10 * LEASE);
		node[i].next_hello_us = now;
	}
}

static inline void setup(unsigned int n)
{
	setup_with(n, LEASE_TIE_NONE, false);
}

static inline void note(unsigned int i, const struct lease_out *out)
{
	assert_false(out->renew && out->end);
	if (out->end)
		kernel_until[i] = 0;
	if (out->renew) {
		assert_true(out->until_us > now);
		assert_true(out->until_us <= now + LEASE);
		kernel_until[i] = out->until_us;
		n_renewals++;
	}
	for (unsigned int k = 0; k < out->n_events; k++) {
		n_events[i][out->event[k].type]++;
		last_event[i][out->event[k].type] = out->event[k];
	}
}

static inline void send_round(unsigned int i);

static inline void perform(unsigned int i, const struct lease_out *out)
{
	note(i, out);
	if (out->send)
		send_round(i);
}

static inline void send_round(unsigned int i)
{
	lease_begin_round(&node[i], now);
	n_rounds[i]++;
	for (unsigned int j = 1; j <= n_nodes; j++) {
		struct lease_out out = { 0 };
		struct hello h;

		if (j == i || cut[i][j] || mask_has(halted, j))
			continue;
		lease_hello(&node[i], j, &h);
		lease_heard_hello(&node[j], &h, false, now, &out);
		perform(j, &out);
	}
}

static inline void run(int64_t us)
{
	for (int64_t end = now + us; now < end; now += MS)
		for (unsigned int i = 1; i <= n_nodes; i++) {
			struct lease_out out = { 0 };

			if (mask_has(halted, i) || lease_deadline(&node[i]) > now)
				continue;
			lease_tick(&node[i], now, &out);
			perform(i, &out);
		}
}

static inline void set_peers(unsigned int i, uint32_t term)
{
	for (unsigned int j = 1; j <= n_nodes; j++) {
		struct lease_out out = { 0 };

		if (j == i)
			continue;
		lease_set_peer(&node[j], i, term, incarnation(i), now, &out);
		perform(j, &out);
	}
}

static inline void admit(unsigned int i, uint32_t term)
{
	struct lease_out out = { 0 };

	lease_admit(&node[i], term, now, &out);
	perform(i, &out);
}

static inline void admit_all(void)
{
	for (unsigned int i = 1; i <= n_nodes; i++)
		set_peers(i, i);
	for (unsigned int i = 1; i <= n_nodes; i++)
		admit(i, i);
}

static inline void up(unsigned int n)
{
	setup(n);
	admit_all();
	run(10 * STEP);
	for (unsigned int i = 1; i <= n; i++)
		assert_true(node[i].leased);
}

static inline void cut_pair(unsigned int a, unsigned int b, bool yes)
{
	cut[a][b] = cut[b][a] = yes;
}

static inline void isolate(unsigned int a, bool yes)
{
	for (unsigned int j = 1; j <= n_nodes; j++)
		if (j != a)
			cut_pair(a, j, yes);
}

/* A HELLO of 'from' to node 1 made by hand. */
static inline struct lease_out hear(unsigned int from, uint32_t term, uint64_t seq, uint64_t echo)
{
	struct hello h = { .from = (uint8_t)from, .to = 1, .incarnation = incarnation(from), .term = term,
			   .seq = seq, .echo_incarnation = echo ? incarnation(1) : 0, .echo_seq = echo };
	struct lease_out out = { 0 };

	lease_heard_hello(&node[1], &h, false, now, &out);
	note(1, &out);
	return out;
}

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Time of whole steps of the core at its greatest size, 64 nodes x 65,536 buckets x 1 service.
 * Promise: applying a message and compiling the table that follows from it takes at most 5 ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/compile.h"
#include "core/repl.h"

#define ROUNDS 11
#define NODES NODES_MAX
#define SELF 1
#define GONE 17
#define LIMIT_MS 5.0

static struct repl *r;
static struct repl_fx fx;
static struct bucket_action action[BUCKETS_MAX];
static uint8_t all_ones[BUCKETS_MAX / 8];
static uint64_t incarnation = 1000;

enum step { STEP_PLAN, STEP_ACK, STEP_LEFT, STEP_ADOPTED, STEP_DRAINED, STEP_FAIL, STEP_READY, STEP_DIGEST,
	    STEP_NEEDED, STEPS };

static const char *const step_name[STEPS] = {
	"PLAN, a node returned", "ACK, the last one", "LEFT", "ADOPTED", "DRAINED", "FAIL", "READY",
	"(digest)", "(is a plan needed?)",
};
static double apply_ms[STEPS][ROUNDS], compile_ms[STEPS][ROUNDS];
static unsigned int n_round;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "core_bench: %s\n", what);
	exit(2);
}

static void apply(enum step s, const struct msg *m, uint64_t lost)
{
	double start = now_ms();

	check(!repl_apply(r, m, &fx) && fx.changed, step_name[s]);
	apply_ms[s][n_round] = now_ms() - start;
	start = now_ms();
	compile_service(r, 0, SELF, lost, action);
	compile_ms[s][n_round] = now_ms() - start;
}

static struct msg base(enum msg_type t, unsigned int from)
{
	return (struct msg){ .type = t, .from = (uint8_t)from,
			     .incarnation = repl_get_node(r, from)->incarnation };
}

static void ready(unsigned int id)
{
	struct msg m = base(MSG_READY, id);

	m.incarnation = incarnation++;
	m.u.ready.weight = 100;
	m.u.ready.n_links = 1;
	apply(STEP_READY, &m, 0);
}

static void acks(void)
{
	for (unsigned int i = 1; i <= NODES; i++) {
		struct msg m = base(MSG_ACK, i);

		m.u.plan.plan = repl_plan_ack(r);
		apply(STEP_ACK, &m, 0);
	}
}

static void plan(void)
{
	struct msg m = base(MSG_PLAN, SELF);
	double start = now_ms();

	check(repl_plan_needed(r), "no plan needed");
	apply_ms[STEP_NEEDED][n_round] = now_ms() - start;
	apply(STEP_PLAN, &m, 0);
	acks();
	for (unsigned int i = 1; i <= NODES; i++) {
		if (!repl_count(r, PHASE_HANDOFF, i, NOBODY))
			continue;
		m = base(MSG_LEFT, i);
		m.u.plan.plan = repl_plan(r);
		apply(STEP_LEFT, &m, 0);
	}
	for (unsigned int i = 1; i <= NODES; i++) {
		if (!repl_count(r, PHASE_ADOPT, i, NOBODY))
			continue;
		m = base(MSG_ADOPTED, i);
		m.u.plan.plan = repl_plan(r);
		apply(STEP_ADOPTED, &m, 0);
	}
	acks();
	for (unsigned int i = 1; i <= NODES; i++) {
		if (!repl_count(r, PHASE_DRAIN, NOBODY, i))
			continue;
		m = base(MSG_DRAINED, i);
		m.u.drained.epoch = repl_epoch(r);
		m.u.drained.size = sizeof(all_ones);
		m.u.drained.bitmap = all_ones;
		apply(STEP_DRAINED, &m, 0);
	}
	check(!repl_plan(r) && !repl_moving(r, 0), "the plan did not end");
}

static void fail(unsigned int id)
{
	struct msg m = base(MSG_FAIL, SELF);

	m.u.fail.node = (uint8_t)id;
	m.u.fail.term = repl_get_node(r, id)->term;
	apply(STEP_FAIL, &m, node_bit(id));
}

int main(void)
{
	static const struct repl_params p = { .n_nodes = NODES, .n_services = 1,
					      .layout = { .buckets = BUCKETS_MAX }, .salt = { 1 } };
	double worst = 0;

	check(!repl_new(&r, &p), "no memory");
	memset(all_ones, 255, sizeof(all_ones));
	for (unsigned int i = 1; i <= NODES; i++)
		ready(i);
	plan();
	printf("core, %u nodes x %u buckets x 1 service, %u rounds, ms\n", NODES, BUCKETS_MAX, ROUNDS);
	for (n_round = 0; n_round < ROUNDS; n_round++) {
		fail(GONE);
		ready(GONE);
		plan();
		double start = now_ms();

		check(repl_digest(r) != 0, "digest");
		apply_ms[STEP_DIGEST][n_round] = now_ms() - start;
	}
	printf("  %-24s %8s %8s %8s %8s\n", "step", "apply", "compile", "median", "max");
	for (unsigned int s = 0; s < STEPS; s++) {
		double sum[ROUNDS];

		for (unsigned int i = 0; i < ROUNDS; i++)
			sum[i] = apply_ms[s][i] + compile_ms[s][i];
		qsort(sum, ROUNDS, sizeof(*sum), cmp);
		qsort(apply_ms[s], ROUNDS, sizeof(double), cmp);
		qsort(compile_ms[s], ROUNDS, sizeof(double), cmp);
		printf("  %-24s %8.3f %8.3f %8.3f %8.3f\n", step_name[s], apply_ms[s][ROUNDS / 2],
		       compile_ms[s][ROUNDS / 2], sum[ROUNDS / 2], sum[ROUNDS - 1]);
		worst = sum[ROUNDS / 2] > worst ? sum[ROUNDS / 2] : worst;
	}
	printf("  slowest step: %.3f ms (to reach: %.0f ms)\n", worst, LIMIT_MS);
	repl_free(r);
	return worst <= LIMIT_MS ? 0 : 1;
}

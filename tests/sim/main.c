/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

struct result { int64_t simulated, worst_gap, settle, leave; unsigned int moved, spread, noisy, noise_sum; uint64_t events, views, syns, lost, resets; };

static void sim_free(struct sim *s)
{
	for (unsigned int i = 1; i <= s->p.n_nodes; i++) {
		struct node *n = &s->node[i];

		node_kill(s, n);
		free(n->deferred);
		free(n->to_agent.p);
		free(n->to_lease.p);
	}
	group_free(s);
	flow_drop_all(s);
	for (unsigned int i = 0; i < s->n_heap; i++)
		free(s->heap[i].p);
	free(s->heap);
	free(s->digests);
	free(s->lines);
	free(s);
}

/* True if the run went well. */
static bool run_one(const struct scenario *sc, uint64_t seed, unsigned int nodes, int verbose,
		    struct result *r)
{
	struct sim *volatile s = calloc(1, sizeof(*s));
	volatile bool ok = false;
	jmp_buf on_fail, ignored;

	if (!s)
		abort();
	s->seed = seed;
	s->rng = seed * UINT64_C(0x2545f4914f6cdd1d);
	for (const char *c = sc->name; *c; c++)
		s->rng = s->rng * 31 + (unsigned char)*c;
	s->rng2 = s->rng ^ UINT64_C(0x5851f42d4c957f2d);
	s->rng3 = s->rng ^ UINT64_C(0x6a09e667f3bcc909);
	s->scenario = sc->name;
	s->verbose = verbose;
	s->lines = calloc(TRACE_LINES, sizeof(*s->lines));
	s->on_fail = &on_fail;
	if (!setjmp(on_fail)) {
		sc->run(s, nodes);
		ok = true;
	}
	r->simulated += s->now;
	r->events += s->n_events;
	r->views += s->n_views;
	r->syns += s->n_syns;
	r->lost += s->n_lost_syns;
	r->resets += s->n_resets;
	if (s->worst_gap > r->worst_gap)
		r->worst_gap = s->worst_gap;
	r->settle = s->worst_settle > r->settle ? s->worst_settle : r->settle;
	r->leave = s->worst_leave > r->leave ? s->worst_leave : r->leave;
	r->moved = s->worst_moved > r->moved ? s->worst_moved : r->moved;
	r->noisy = s->worst_noisy > r->noisy ? s->worst_noisy : r->noisy;
	r->noise_sum += s->worst_noisy;
	r->spread = s->worst_spread > r->spread ? s->worst_spread : r->spread;
	if (!ok && verbose) {
		unsigned int from = s->n_lines > TRACE_LINES ? s->n_lines - TRACE_LINES : 0;

		for (unsigned int i = from; verbose == 1 && i < s->n_lines; i++)
			printf("    %s\n", s->lines[i % TRACE_LINES]);
		printf("FAILED %s -s %llu (%u nodes): %s\n", sc->name, (unsigned long long)seed,
		       s->p.n_nodes, s->failure);
	}
	/* What still fails while we clean up is of no interest. */
	s->on_fail = &ignored;
	s->verbose = 0;
	s->gaps_watched = false;
	for (unsigned int i = 0; i <= SIM_NODES; i++)
		s->node[i].flow_rule = FLOW_ANY;
	memset(s->must_own, 0, sizeof(s->must_own));
	for (unsigned int i = 1; i <= s->p.n_nodes; i++)
		s->node[i].klease_end = 0;
	if (!setjmp(ignored))
		sim_free(s);
	return ok;
}

/* Returns the number of seeds that failed. */
static unsigned int run_scenario(const struct scenario *sc, uint64_t seed, unsigned int count,
				 unsigned int nodes, bool verbose, bool first_only)
{
	struct result r = { 0 }, again = { 0 };
	struct timespec t0, t1;
	unsigned int failed = 0, n = 0;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (; n < count; n++) {
		if (run_one(sc, seed + n, nodes, verbose ? 2 : 0, &r))
			continue;
		failed++;
		/* The same seed is the same run: once more, with its trace. */
		if (!verbose && !first_only && failed <= 2)
			run_one(sc, seed + n, nodes, 1, &again);
		if (failed >= 10 || first_only)
			break;
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	printf("%-17s %5u seeds %8.0f s simulated %9llu events %6llu views %7llu SYNs %6llu lost "
	       "%5llu resets  gap <= %3lld ms %6.1f s%s\n", sc->name, n < count ? n + 1 : n,
	       (double)r.simulated / 1e6,
	       (unsigned long long)r.events, (unsigned long long)r.views, (unsigned long long)r.syns,
	       (unsigned long long)r.lost, (unsigned long long)r.resets,
	       (long long)r.worst_gap / 1000,
	       (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9,
	       failed ? "  FAILED" : "");
	if (r.settle)
		printf("    settled after <= %.0f s, <= %u buckets moved in an interval, spread <= %.3f of "
		       "that by hash\n", (double)r.settle / 1e6, r.moved, r.spread / 1e3);
	if (r.noise_sum)
		printf("    noise moved <= %u buckets in <= %u %% of the intervals, %u %% on the average\n",
		       r.moved, r.noisy, r.noise_sum / (n ? n : 1));
	if (r.leave)
		printf("    unfit nodes took nothing after <= %lld ms\n", (long long)r.leave / 1000);
	fflush(stdout);
	return failed;
}

static int usage(void)
{
	fputs("usage: sim [-n NODES] [-s SEED] [-c COUNT] [-v] [-x] [SCENARIO...]\n"
	      "  -n  nodes (default: by seed)    -s  first seed (default 1)\n"
	      "  -c  seeds in all, shared out between the scenarios (default 1000); with scenarios\n"
	      "      named: for each of them\n"
	      "  -v  print everything that happens   -x  stop at the first failure, without its trace\n"
	      "scenarios:", stderr);
	for (unsigned int i = 0; i < n_scenarios; i++)
		fprintf(stderr, " %s", scenarios[i].name);
	fputc('\n', stderr);
	return 2;
}

int main(int argc, char **argv)
{
	unsigned int nodes = 0, count = 1000, passed = 0, failed = 0, shares = 0;
	uint64_t seed = 1;
	bool verbose = false, first_only = false;
	int c;

	while ((c = getopt(argc, argv, "n:s:c:vx")) != -1) {
		if (c == 'n')
			nodes = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'c')
			count = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 'v')
			verbose = true;
		else if (c == 'x')
			first_only = true;
		else
			return usage();
	}
	if (nodes > SIM_NODES)
		return usage();
	for (int i = optind; i < argc; i++) {
		bool known = false;

		for (unsigned int k = 0; k < n_scenarios; k++)
			known |= !strcmp(scenarios[k].name, argv[i]);
		if (!known)
			return usage();
	}
	for (unsigned int k = 0; k < n_scenarios; k++)
		shares += scenarios[k].share;
	for (unsigned int k = 0; k < n_scenarios; k++) {
		bool wanted = optind == argc;
		unsigned int n = count;

		for (int i = optind; i < argc; i++)
			wanted |= !strcmp(scenarios[k].name, argv[i]);
		if (!wanted)
			continue;
		if (optind == argc)
			n = (count * scenarios[k].share + shares - 1) / shares;
		if (run_scenario(&scenarios[k], seed, n, nodes, verbose, first_only))
			failed++;
		else
			passed++;
		if (failed && first_only)
			break;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}

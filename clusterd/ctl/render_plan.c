// SPDX-License-Identifier: GPL-2.0-or-later
/* What monitors, checks and a dry run say, in tables. */
#include <string.h>

#include "ctl/grid.h"
#include "ctl/render_priv.h"

/* "about 120"; what is not known is "?". */
static void cell_about(struct grid *g, const json_t *o, const char *key)
{
	if (!json_is_integer(json_object_get(o, key)))
		grid_cell(g, YELLOW, "?");
	else
		grid_cell(g, PLAIN, "%s%lld", num(o, key) ? "about " : "", num(o, key));
}

void render_plan(const struct render *r, const json_t *result)
{
	const json_t *m, *list = json_object_get(result, "moves"), *total;
	const json_t *weight = json_object_get(result, "weight");
	struct grid *g;
	size_t i;

	fprintf(r->out, "%s", str(result, "order"));
	if (json_is_string(json_object_get(result, "node")))
		fprintf(r->out, " %s", str(result, "node"));
	if (json_is_integer(weight))
		fprintf(r->out, " %lld", num(result, "weight"));
	else if (json_is_string(weight))
		fprintf(r->out, " %s", str(result, "weight"));
	fprintf(r->out, " would move %s; nothing has been changed\n",
		json_array_size(list) ? "this" : "nothing");
	if (!json_array_size(list) || grid_new(&g, "SERVICE|FROM|TO|>BUCKETS|>CONNECTIONS|>KBIT/S"))
		return;
	json_array_foreach(list, i, m) {
		bool from = json_is_string(json_object_get(m, "from"));
		bool to = json_is_string(json_object_get(m, "to"));

		grid_cell(g, PLAIN, "%s", str(m, "service"));
		grid_cell(g, PLAIN, "%s", from ? str(m, "from") : "nobody");
		grid_cell(g, to ? PLAIN : RED, "%s", to ? str(m, "to") : "nobody");
		grid_cell(g, PLAIN, "%lld", num(m, "buckets"));
		cell_about(g, m, "connections");
		cell_about(g, m, "kbps");
	}
	total = json_object_get(result, "total");
	grid_cell(g, BOLD, "total");
	grid_cell(g, PLAIN, "%s", "");
	grid_cell(g, PLAIN, "%s", "");
	grid_cell(g, PLAIN, "%lld", num(total, "buckets"));
	cell_about(g, total, "connections");
	cell_about(g, total, "kbps");
	fputc('\n', r->out);
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

/* What an observer says; that it cannot be started comes first. */
static void cell_why(struct grid *g, const json_t *o)
{
	if (!yes(o, "open"))
		grid_cell(g, RED, "cannot be started, see the log; tried again every 10 s");
	else
		grid_cell(g, PLAIN, "%s", str(o, "why"));
}

/* What each node has told: connections and traffic of all its services together. */
static void told(const struct render *r, const json_t *result)
{
	const json_t *n, *list = json_object_get(result, "nodes");
	struct grid *g;
	size_t i;

	if (grid_new(&g, "NODE|>LOAD|>CPU IDLE|>MEMORY FREE|>BLOCKED|>SWAPPED|>CONNECTIONS|>KBIT/S"))
		return;
	json_array_foreach(list, i, n) {
		static const char *const sums[] = { "connections", "kbps" };
		const json_t *idle = json_object_get(n, "cpu_idle");
		bool known = json_is_number(idle);

		grid_cell(g, PLAIN, "%s", str(n, "name"));
		cell_load(g, n, "load");
		if (known)
			grid_cell(g, PLAIN, "%.0f%%", 100 * json_number_value(idle));
		else
			grid_cell(g, PLAIN, "-");
		if (json_is_integer(json_object_get(n, "mem_free_kb")))
			grid_cell(g, PLAIN, "%lld MiB", num(n, "mem_free_kb") / 1024);
		else
			grid_cell(g, PLAIN, "-");
		cell_num(g, n, "blocked");
		cell_num(g, n, "swapping");
		for (size_t k = 0; k < 2; k++) {
			long long sum = 0;
			const char *name;
			json_t *value;

			json_object_foreach(json_object_get(n, sums[k]), name, value)
				sum += json_integer_value(value);
			if (known)
				grid_cell(g, PLAIN, "%lld", sum);
			else
				grid_cell(g, PLAIN, "-");
		}
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

void render_monitors(const struct render *r, const json_t *result)
{
	const json_t *m, *list = json_object_get(result, "monitors");
	struct grid *g;
	size_t i;

	if (grid_new(&g, "MONITOR|TYPE|>0..1000|>WEIGHT|>LOAD|>AGE|>CPU TIME|WHAT IT SAYS"))
		return;
	json_array_foreach(list, i, m) {
		grid_cell(g, PLAIN, "%s", str(m, "name"));
		grid_cell(g, PLAIN, "%s", str(m, "type"));
		cell_num(g, m, "value");
		grid_cell(g, PLAIN, "%lld%%", num(m, "weight"));
		cell_load(g, m, "load");
		if (json_is_integer(json_object_get(m, "age_ms")))
			grid_cell(g, PLAIN, "%.1f s", (double)num(m, "age_ms") / 1000);
		else
			grid_cell(g, PLAIN, "-");
		grid_cell(g, PLAIN, "%lld ms", num(m, "cpu_us") / 1000);
		cell_why(g, m);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
	fputc('\n', r->out);
	told(r, result);
}

static void cell_check_state(struct grid *g, const json_t *k)
{
	const char *state = str(k, "state");

	if (yes(k, "given_up"))
		grid_cell(g, RED, "%s, given up", state);
	else if (!strcmp(state, "good"))
		grid_cell(g, yes(k, "known") ? GREEN : DIM, "%s", yes(k, "known") ? state : "good?");
	else
		grid_cell(g, !strcmp(state, "repair") ? YELLOW : RED, "%s (%s)", state, str(k, "verdict"));
}

void render_checks(const struct render *r, const json_t *result)
{
	const json_t *k, *list = json_object_get(result, "checks");
	struct grid *g;
	size_t i;

	if (!json_array_size(list)) {
		fprintf(r->out, "no checks are configured on %s\n", str(result, "local"));
		render_unfit(r, result);
		return;
	}
	if (grid_new(&g, "CHECK|SERVICE|TYPE|STATE|>FOR|>LOOKS|>LATE|ACTION|>TRIES|WHAT IT SAYS"))
		return;
	json_array_foreach(list, i, k) {
		grid_cell(g, PLAIN, "%s", str(k, "name"));
		grid_cell(g, PLAIN, "%s", str(k, "service"));
		grid_cell(g, PLAIN, "%s", str(k, "type"));
		cell_check_state(g, k);
		grid_cell(g, PLAIN, "%lld s", num(k, "for_ms") / 1000);
		cell_num(g, k, "looks");
		cell_num(g, k, "late");
		grid_cell(g, PLAIN, "%s", str(k, "action"));
		cell_num(g, k, "tries");
		cell_why(g, k);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
	render_unfit(r, result);
}

void render_plugins(const struct render *r, const json_t *result)
{
	const json_t *p, *list = json_object_get(result, "plugins");
	struct grid *g;
	size_t i;

	if (grid_new(&g, "KIND|NAME|VERSION|FILE|WHAT IT DOES"))
		return;
	json_array_foreach(list, i, p) {
		bool usable = yes(p, "usable");

		grid_cell(g, PLAIN, "%s", str(p, "kind"));
		grid_cell(g, usable ? PLAIN : RED, "%s", str(p, "name"));
		grid_cell(g, PLAIN, "%s", str(p, "version"));
		grid_cell(g, PLAIN, "%s", str(p, "file"));
		grid_cell(g, usable ? PLAIN : RED, "%s", usable ? str(p, "summary") : str(p, "why"));
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/render.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "ctl/grid.h"
#include "ctl/render_priv.h"

void render_init(struct render *r, FILE *out)
{
	const char *no = getenv("NO_COLOR");

	r->out = out;
	r->colours = isatty(fileno(out)) && !(no && *no);
}

/* "a, b, c" of an array of strings; to be freed. */
static char *joined(const json_t *array)
{
	const json_t *item;
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	json_array_foreach(array, i, item)
		fprintf(f, "%s%s", i ? ", " : "", json_string_value(item) ? json_string_value(item) : "-");
	fclose(f);
	return text;
}

static void cell_joined(struct grid *g, const json_t *array)
{
	char *text = joined(array);

	grid_cell(g, PLAIN, "%s", text && *text ? text : "-");
	free(text);
}

static enum colour state_colour(const char *state)
{
	static const struct { const char *state; enum colour colour; } map[] = {
		{ "online", GREEN }, { "joining", YELLOW }, { "draining", YELLOW },
		{ "drained", DIM }, { "offline", DIM }, { "failed", RED },
	};
	size_t i;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (!strcmp(map[i].state, state))
			return map[i].colour;
	return PLAIN;
}

static void line_cluster(const struct render *r, const json_t *c, const char *local)
{
	bool fenced = yes(c, "fenced"), quorate = yes(c, "quorate");
	const json_t *left = json_object_get(c, "lease_left_ms");
	const char *off = colour_off(r->colours);
	FILE *f = r->out;

	fprintf(f, "%scluster %s%s   ", colour_on(BOLD, r->colours), str(c, "name"), off);
	fprintf(f, "%s%s%s   ", colour_on(quorate ? GREEN : RED, r->colours),
		quorate ? "quorate" : "NOT QUORATE", off);
	fprintf(f, "epoch %lld   digest %s   coordinator %s", num(c, "epoch"), str(c, "digest"),
		str(c, "coordinator"));
	if (num(c, "moving"))
		fprintf(f, "   %s%lld buckets moving%s", colour_on(YELLOW, r->colours),
			num(c, "moving"), off);
	if (json_is_string(json_object_get(c, "rehash")))
		fprintf(f, "   %srehash: %s%s", colour_on(YELLOW, r->colours), str(c, "rehash"), off);
	fprintf(f, "\n%sthis node %s%s   ", colour_on(BOLD, r->colours), local, off);
	if (fenced)
		fprintf(f, "%sSILENT: %s%s", colour_on(RED, r->colours), str(c, "why_silent"), off);
	else
		fprintf(f, "%sserving%s", colour_on(GREEN, r->colours), off);
	if (json_is_integer(left) && !fenced)
		fprintf(f, "   lease %lld of %lld ms", num(c, "lease_left_ms"), num(c, "lease_ms"));
	if (json_is_string(json_object_get(c, "witness")))
		fprintf(f, "   witness %s", str(c, "witness"));
	if (num(c, "digest_mismatches"))
		fprintf(f, "   %s%lld digest mismatches healed%s", colour_on(YELLOW, r->colours),
			num(c, "digest_mismatches"), off);
	fprintf(f, "\n");
}

/* What is special about a node, in one word. */
static void cell_remark(struct grid *g, const json_t *n)
{
	if (yes(n, "refused"))
		grid_cell(g, RED, "refused: its configuration differs");
	else if (yes(n, "hold_back"))
		grid_cell(g, YELLOW, "waits for 'failback'");
	else if (yes(n, "leaving"))
		grid_cell(g, PLAIN, "is stopping");
	else if (json_is_integer(json_object_get(n, "ramp")))
		grid_cell(g, YELLOW, "slow start: %lld%%", num(n, "ramp"));
	else if (yes(n, "weight_ordered"))
		grid_cell(g, PLAIN, "weight set by order");
	else if (yes(n, "returning"))
		grid_cell(g, PLAIN, "is getting its share back");
	else
		grid_cell(g, PLAIN, "%s", "");
}

static void cell_heard(struct grid *g, const json_t *n)
{
	const json_t *heard = json_object_get(n, "heard_ms");

	if (yes(n, "local"))
		grid_cell(g, DIM, "this node");
	else if (json_is_integer(heard))
		grid_cell(g, PLAIN, "%lld ms ago", (long long)json_integer_value(heard));
	else
		grid_cell(g, DIM, "never");
}

static void cell_grant(struct grid *g, const json_t *n)
{
	if (!json_is_integer(json_object_get(n, "grant_ms")))
		grid_cell(g, PLAIN, "-");
	else
		grid_cell(g, PLAIN, "%s/%s", num(n, "grant_ms") > 0 ? "yes" : "no",
			  yes(n, "granted") ? "yes" : "no");
}

static void nodes(const struct render *r, const json_t *result, bool wide)
{
	const json_t *n, *list = json_object_get(result, "nodes");
	long long total = 0;
	struct grid *g;
	size_t i;

	if (grid_new(&g, wide ? "NODE|>ID|ADDRESS|STATE|>WEIGHT|>SHARE|>BUCKETS|>LOAD|>HEARD|"
			 "GRANTS US/IT|>TERM|LEFT|RIGHT|REMARK" :
			 "NODE|ADDRESS|STATE|>WEIGHT|>SHARE|>BUCKETS|>LOAD|>HEARD|REMARK"))
		return;
	json_array_foreach(list, i, n)
		total += num(n, "buckets");
	json_array_foreach(list, i, n) {
		const char *state = str(n, "state");

		grid_cell(g, yes(n, "local") ? BOLD : PLAIN, "%s", str(n, "name"));
		if (wide)
			grid_cell(g, PLAIN, "%lld", num(n, "id"));
		grid_cell(g, PLAIN, "%s", str(n, "address"));
		grid_cell(g, state_colour(state), "%s", state);
		if (num(n, "weight") == num(n, "effective_weight"))
			grid_cell(g, PLAIN, "%lld", num(n, "weight"));
		else	/* drained or held back: what counts, and what would */
			grid_cell(g, YELLOW, "%lld (%lld)", num(n, "effective_weight"), num(n, "weight"));
		grid_cell(g, PLAIN, "%.1f%%", total ? 100.0 * (double)num(n, "buckets") / (double)total : 0);
		grid_cell(g, PLAIN, "%lld", num(n, "buckets"));
		cell_load(g, n, "load");
		cell_heard(g, n);
		if (wide) {
			cell_grant(g, n);
			grid_cell(g, PLAIN, "%lld", num(n, "term"));
			grid_cell(g, PLAIN, "%s", str(n, "left"));
			grid_cell(g, PLAIN, "%s", str(n, "right"));
		}
		cell_remark(g, n);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

/* "n1 1366, n2 1365", nodes that own none left out. */
static void cell_owners(struct grid *g, const json_t *service)
{
	const char *name;
	json_t *count;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	bool any = false;

	if (!f)
		return;
	json_object_foreach(json_object_get(service, "buckets"), name, count) {
		if (!json_integer_value(count))
			continue;
		fprintf(f, "%s%s %lld", any ? ", " : "", name, (long long)json_integer_value(count));
		any = true;
	}
	if (num(service, "unowned"))
		fprintf(f, "%snobody %lld", any ? ", " : "", num(service, "unowned"));
	fclose(f);
	grid_cell(g, num(service, "unowned") ? RED : PLAIN, "%s", text);
	free(text);
}

/* "10.0.0.1 at n1, 10.0.0.2 at n2" where a node holds each VIP, else just the VIPs. */
static void cell_vips(struct grid *g, const json_t *service)
{
	const json_t *vip, *list = json_object_get(service, "vips");
	const json_t *holders = json_object_get(service, "holders");
	char *text = NULL;
	bool lone = false;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	json_array_foreach(list, i, vip) {
		const char *name = json_string_value(vip);
		const json_t *holder = json_object_get(holders, name ? name : "");

		fprintf(f, "%s%s", i ? ", " : "", name ? name : "-");
		if (json_is_string(holder))
			fprintf(f, " at %s", json_string_value(holder));
		else if (json_is_object(holders))
			fprintf(f, " at nobody");
		lone |= json_is_object(holders) && !json_is_string(holder);
	}
	fclose(f);
	grid_cell(g, lone ? RED : PLAIN, "%s", text && *text ? text : "-");
	free(text);
}

static void services(const struct render *r, const json_t *result)
{
	const json_t *s, *list = json_object_get(result, "services");
	struct grid *g;
	size_t i;

	if (grid_new(&g, "SERVICE|VIP|PORTS|DISPATCH|HASH|SCHEDULER|>MOVING|BUCKETS"))
		return;
	json_array_foreach(list, i, s) {
		grid_cell(g, PLAIN, "%s", str(s, "name"));
		cell_vips(g, s);
		cell_joined(g, json_object_get(s, "ports"));
		/* Flooded packets are handed on only while buckets move. */
		if (!strcmp(str(s, "dispatch"), "flood") && !strcmp(str(s, "redirect"), "direct"))
			grid_cell(g, PLAIN, "flood");
		else
			grid_cell(g, PLAIN, "%s/%s", str(s, "dispatch"), str(s, "redirect"));
		grid_cell(g, PLAIN, "%s", str(s, "hash"));
		grid_cell(g, PLAIN, "%s", str(s, "scheduler"));
		grid_cell(g, num(s, "moving") ? YELLOW : PLAIN, "%lld", num(s, "moving"));
		cell_owners(g, s);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

/* Where a service is not fit to serve, one line each; nothing while all is well. */
void render_unfit(const struct render *r, const json_t *result)
{
	const json_t *s, *list = json_object_get(result, "services");
	const char *off = colour_off(r->colours), *red = colour_on(RED, r->colours);
	json_t *value;
	bool any = false;
	const char *node;
	FILE *f = r->out;
	size_t i;

	json_array_foreach(list, i, s) {
		const char *name = str(s, "name");

		if (yes(s, "sorry"))
			fprintf(f, "%s%sSORRY: no node is fit for %s%s\n", any ? "" : "\n", red, name, off);
		any |= yes(s, "sorry");
		json_object_foreach(json_object_get(s, "health"), node, value) {
			const char *health = json_string_value(value);

			if (!health || !strcmp(health, "up"))
				continue;
			if (!any)
				fputc('\n', f);
			any = true;
			if (!strcmp(health, "works"))
				fprintf(f, "%s%s at %s gets NO NEW WORK: a check has failed%s\n",
					colour_on(YELLOW, r->colours), name, node, off);
			else if (!strcmp(health, "seen_down"))
				fprintf(f, "%s%s at %s is DOWN: %s cannot reach it%s\n", red, name, node,
					str(json_object_get(s, "seen_down"), node), off);
			else
				fprintf(f, "%s%s at %s is DOWN%s\n", red, name, node, off);
		}
	}
}

/* "n1 100, n2 50" */
static void cell_weights(struct grid *g, const json_t *service)
{
	char *text = NULL;
	json_t *weight;
	const char *name, *sep = "";
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	json_object_foreach(json_object_get(service, "weights"), name, weight) {
		fprintf(f, "%s%s %lld", sep, name, (long long)json_integer_value(weight));
		sep = ", ";
	}
	fclose(f);
	grid_cell(g, PLAIN, "%s", text);
	free(text);
}

static void service_weights(const struct render *r, const json_t *result)
{
	const json_t *s, *list = json_object_get(result, "services");
	struct grid *g;
	size_t i;

	if (grid_new(&g, "WEIGHTS|POLICY|NODES"))
		return;
	json_array_foreach(list, i, s) {
		grid_cell(g, PLAIN, "%s", str(s, "name"));
		grid_cell(g, PLAIN, "%s", str(s, "policy"));
		cell_weights(g, s);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

static void packets(const struct render *r, const json_t *result)
{
	static const char *const keys[] = { "accepted", "foreign", "handed", "unknown" };
	const json_t *s, *p, *list = json_object_get(result, "services");
	struct grid *g;
	size_t i, k;

	if (grid_new(&g, "PACKETS HERE|INTERFACE|>ACCEPTED|>FOREIGN|>HANDED ON|>UNKNOWN"))
		return;
	json_array_foreach(list, i, s) {
		p = json_object_get(s, "packets");
		grid_cell(g, PLAIN, "%s", str(s, "name"));
		grid_cell(g, PLAIN, "%s", str(s, "interface"));
		for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			cell_num(g, p, keys[k]);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

static void status(const struct render *r, const json_t *result)
{
	line_cluster(r, json_object_get(result, "cluster"), str(result, "local"));
	fputc('\n', r->out);
	nodes(r, result, false);
	fputc('\n', r->out);
	services(r, result);
	render_unfit(r, result);
}

static const char *node_name(const json_t *names, const json_t *id)
{
	char key[24];

	snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(id));
	return json_integer_value(id) ? str(names, key) : "nobody";
}

/* Neighbours with the same owner are one line. */
static void buckets(const struct render *r, const json_t *result)
{
	const json_t *names = json_object_get(result, "nodes"), *m;
	const json_t *owner = json_object_get(result, "owner");
	size_t i, first = 0, n = json_array_size(owner);
	const char *state;
	struct grid *g;
	json_t *count;

	fprintf(r->out, "service %s, %zu buckets; on %s:", str(result, "service"), n,
		str(result, "local"));
	json_object_foreach(json_object_get(result, "states"), state, count)
		if (json_integer_value(count))
			fprintf(r->out, " %s %lld", state, (long long)json_integer_value(count));
	fprintf(r->out, "\n\n");
	m = json_object_get(result, "moving");
	if (json_array_size(m) && !grid_new(&g, ">MOVING|OWNER|OTHER|PHASE|STATE HERE")) {
		const json_t *row;

		json_array_foreach(m, i, row) {
			grid_cell(g, PLAIN, "%lld",
				  (long long)json_integer_value(json_array_get(row, 0)));
			grid_cell(g, PLAIN, "%s", node_name(names, json_array_get(row, 1)));
			grid_cell(g, PLAIN, "%s", node_name(names, json_array_get(row, 2)));
			grid_cell(g, PLAIN, "%s", json_string_value(json_array_get(row, 3)));
			grid_cell(g, PLAIN, "%s", json_string_value(json_array_get(row, 4)));
		}
		grid_print(g, r->out, r->colours);
		grid_free(g);
		fputc('\n', r->out);
	}
	if (grid_new(&g, ">BUCKETS|OWNER"))
		return;
	for (i = 1; i <= n; i++) {
		if (i < n && json_equal(json_array_get(owner, i), json_array_get(owner, first)))
			continue;
		if (i - first == 1)
			grid_cell(g, PLAIN, "%zu", first);
		else
			grid_cell(g, PLAIN, "%zu-%zu", first, i - 1);
		grid_cell(g, PLAIN, "%s", node_name(names, json_array_get(owner, first)));
		first = i;
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

/* How the packet gets from where it comes in to where it is served. */
static void trace_way(const struct render *r, const json_t *t)
{
	const char *dispatch = str(t, "dispatch"), *front = str(t, "front");
	FILE *f = r->out;

	fprintf(f, "front     %s (%s)\n", !strcmp(dispatch, "flood") ? "every node" :
		!strcmp(dispatch, "route") ? "the node that the router picks" :
		json_is_string(json_object_get(t, "front")) ? front : "nobody", dispatch);
	if (json_is_string(json_object_get(t, "redirect")))
		fprintf(f, "redirect  %s, from %s\n", str(t, "redirect"), str(t, "local"));
}

static void trace_flow(const struct render *r, const json_t *t)
{
	const char *scheduler = str(t, "scheduler");

	if (!strcmp(scheduler, "hash") || !strcmp(scheduler, "-"))
		return;
	if (json_is_string(json_object_get(t, "flow")))
		fprintf(r->out, "flow      at %s (%s, in the flow map of %s)\n", str(t, "flow"), scheduler,
			str(t, "local"));
	else
		fprintf(r->out, "flow      not in the flow map of %s (%s)\n", str(t, "local"), scheduler);
}

static void trace_layout(const struct render *r, const json_t *t)
{
	const json_t *layout = json_object_get(t, "layout");

	if (!json_is_string(json_object_get(layout, "rehash")))
		return;
	fprintf(r->out, "rehash    %s", str(layout, "rehash"));
	if (json_is_integer(json_object_get(t, "old_bucket")))
		fprintf(r->out, ", connections of before live by bucket %lld at %s",
			num(t, "old_bucket"), json_is_string(json_object_get(t, "old_owner")) ?
			str(t, "old_owner") : "nobody");
	fputc('\n', r->out);
}

static void trace(const struct render *r, const json_t *t)
{
	bool director = strcmp(str(t, "scheduler"), "hash") && strcmp(str(t, "scheduler"), "-");
	FILE *f = r->out;

	fprintf(f, "service   %s\n", str(t, "service"));
	trace_way(r, t);
	fprintf(f, "bucket    %lld   %s\n", num(t, "bucket"), str(t, "hash"));
	fprintf(f, "%s  %s%s%s\n", director ? "director" : "owner   ", colour_on(BOLD, r->colours),
		json_is_string(json_object_get(t, "owner")) ? str(t, "owner") : "nobody",
		colour_off(r->colours));
	if (json_is_string(json_object_get(t, "previous")))
		fprintf(f, "previous  %s\n", str(t, "previous"));
	if (json_is_string(json_object_get(t, "next")))
		fprintf(f, "next      %s\n", str(t, "next"));
	trace_flow(r, t);
	fprintf(f, "here      %s on %s", str(t, "state"), str(t, "local"));
	if (json_is_string(json_object_get(t, "hands_to")))
		fprintf(f, ", hands new flows to %s", str(t, "hands_to"));
	if (yes(t, "fenced"))
		fprintf(f, ", but %ssilent: %s%s", colour_on(RED, r->colours), str(t, "why_silent"),
			colour_off(r->colours));
	fprintf(f, "\nwhy       %s\n", str(t, "why"));
	trace_layout(r, t);
}

static void flows(const struct render *r, const json_t *result)
{
	const json_t *w, *list = json_object_get(result, "flows");
	struct grid *g;
	size_t i;

	if (!json_array_size(list)) {
		fprintf(r->out, "all connections of %s follow their buckets\n", str(result, "local"));
		return;
	}
	if (grid_new(&g, "SERVICE|PROTO|CLIENT|VIP|NODE|BUCKET OF|WHY HERE|>EXPIRES"))
		return;
	json_array_foreach(list, i, w) {
		grid_cell(g, PLAIN, "%s", str(w, "service"));
		grid_cell(g, PLAIN, "%s", str(w, "proto"));
		grid_cell(g, PLAIN, "%s", str(w, "client"));
		grid_cell(g, PLAIN, "%s", str(w, "vip"));
		grid_cell(g, PLAIN, "%s", str(w, "node"));
		grid_cell(g, PLAIN, "%s", str(w, "owner"));
		grid_cell(g, PLAIN, "%s", str(w, "kind"));
		grid_cell(g, PLAIN, "%lld s", num(w, "expires_ms") / 1000);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
	if (yes(result, "cut"))
		fprintf(r->out, "%sthere are more: --limit %lld was reached%s\n",
			colour_on(YELLOW, r->colours), num(result, "limit"), colour_off(r->colours));
}

static void counters(const struct render *r, const json_t *result)
{
	static const char *const keys[] = { "accepted", "foreign", "handed", "second", "unknown" };
	static const char *const queue[] = { "decisions", "dropped", "overruns" };
	const json_t *s, *list = json_object_get(result, "services");
	struct grid *g;
	size_t i, k;

	fprintf(r->out, "packets on %s, since clusterd was started there (UNKNOWN: of all services)\n\n",
		str(result, "local"));
	if (grid_new(&g, "SERVICE|>ACCEPTED|>FOREIGN|>HANDED ON|>2ND CHANCE|>UNKNOWN|>QUEUED|"
		     ">Q DROPPED|>Q OVERRUN"))
		return;
	json_array_foreach(list, i, s) {
		grid_cell(g, PLAIN, "%s", str(s, "name"));
		for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			cell_num(g, s, keys[k]);
		for (k = 0; k < sizeof(queue) / sizeof(queue[0]); k++)
			cell_num(g, json_object_get(s, "queue"), queue[k]);
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

void render_event(const struct render *r, const json_t *e)
{
	static const char *const words[] = { "emerg", "alert", "crit", "error", "warning", "notice",
					     "info", "debug" };
	long long ms = num(e, "time_ms"), priority = num(e, "priority") & 7;
	enum colour colour = priority <= LOG_ERR ? RED : priority == LOG_WARNING ? YELLOW : PLAIN;
	time_t sec = (time_t)(ms / 1000);
	char when[32] = "-";
	struct tm tm;

	if (localtime_r(&sec, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	fprintf(r->out, "%s.%03lld  %s%-7s%s  %-14s  %s\n", when, ms % 1000,
		colour_on(colour, r->colours), words[priority], colour_off(r->colours),
		str(e, "name"), str(e, "text"));
}

/* Since when a change counts.  What the whole cluster goes over to together waits for the others. */
static const char *applied(const json_t *change)
{
	const char *key = str(change, "key");

	if (!yes(change, "live"))
		return "not before a restart of clusterd";
	return !strcmp(key, "buckets") || !strcmp(key, "hash") ? "when all nodes have it" : "now";
}

static void reload(const struct render *r, const json_t *result)
{
	const json_t *c, *list = json_object_get(result, "changes");
	struct grid *g;
	size_t i;

	if (!json_array_size(list)) {
		fprintf(r->out, "nothing has changed\n");
		return;
	}
	if (grid_new(&g, "SECTION|KEY|OLD|NEW|APPLIED"))
		return;
	json_array_foreach(list, i, c) {
		bool live = yes(c, "live");

		grid_cell(g, PLAIN, "%s", str(c, "section"));
		grid_cell(g, PLAIN, "%s", str(c, "key"));
		grid_cell(g, PLAIN, "%s", str(c, "old"));
		grid_cell(g, PLAIN, "%s", str(c, "new"));
		grid_cell(g, live ? GREEN : YELLOW, "%s", applied(c));
	}
	grid_print(g, r->out, r->colours);
	grid_free(g);
}

void render_result(const struct render *r, enum ctl_id cmd, const json_t *result)
{
	const json_t *event;
	size_t i;

	switch (cmd) {
	case CMD_STATUS:
	case CMD_WATCH:
		status(r, result);
		return;
	case CMD_NODES:
		nodes(r, result, true);
		return;
	case CMD_SERVICES:
		services(r, result);
		fputc('\n', r->out);
		service_weights(r, result);
		fputc('\n', r->out);
		packets(r, result);
		render_unfit(r, result);
		return;
	case CMD_BUCKETS:
		buckets(r, result);
		return;
	case CMD_TRACE:
		trace(r, result);
		return;
	case CMD_FLOWS:
		flows(r, result);
		return;
	case CMD_COUNTERS:
		counters(r, result);
		return;
	case CMD_PLAN:
		render_plan(r, result);
		return;
	case CMD_MONITORS:
		render_monitors(r, result);
		return;
	case CMD_CHECKS:
		render_checks(r, result);
		return;
	case CMD_PLUGINS:
		render_plugins(r, result);
		return;
	case CMD_EVENTS:
		json_array_foreach(json_object_get(result, "events"), i, event)
			render_event(r, event);
		return;
	case CMD_RELOAD:
		reload(r, result);
		return;
	case CMD_DRAIN:
	case CMD_UNDRAIN:
	case CMD_WEIGHT:
	case CMD_FAILBACK:
	case CMD_TAKEOVER:
		fprintf(r->out, "ordered; 'clusterctl status' shows how it goes\n");
		return;
	case CMD_CHECK:
	case CMD_DOCTOR:
	case CMD_COROSYNC_CONF:
	case CMD_HELP:
	case CMDS_N:
		return;		/* clusterctl prints these as it makes them */
	}
}

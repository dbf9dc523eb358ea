/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands tell of dispatch, redirects, schedulers, a rehash, and of the network tests. */
#include "ctl_common.h"

#include <sys/socket.h>
#include <time.h>

#include "ctl/cmds.h"
#include "ctl/flowlist.h"
#include "ctl/netcheck.h"
#include "ctl/render.h"
#include "ctl/trace.h"
#include "util/jhash.h"

static int setup(void **state)
{
	make_cluster();
	fill_ctx();
	return 0;
}

/* The result of a request, or the error as a JSON string. */
static json_t *ask(const char *request, bool ok)
{
	json_t *q = json_loads(request, 0, NULL), *reply, *part;
	bool follow;

	assert_non_null(q);
	reply = cmds_handle(&ctx, q, &follow);
	json_decref(q);
	if (json_is_true(json_object_get(reply, "ok")) != ok)
		fail_msg("%s: %s", request, json_dumps(reply, 0));
	part = json_incref(json_object_get(reply, ok ? "result" : "error"));
	json_decref(reply);
	return part;
}

static void refused(const char *request, const char *part)
{
	json_t *error = ask(request, false);

	if (!strstr(json_string_value(error), part))
		fail_msg("%s: '%s' does not say '%s'", request, json_string_value(error), part);
	json_decref(error);
}

static char *rendered(enum ctl_id id, const char *request)
{
	json_t *result = ask(request, true);
	char *text = NULL;
	struct render r = { .colours = false };
	size_t size;

	r.out = open_memstream(&text, &size);
	render_result(&r, id, result);
	fclose(r.out);
	json_decref(result);
	return text;
}

/* "-" stands for null. */
static void has(const json_t *o, const char *key, const char *want)
{
	const json_t *v = json_object_get(o, key);
	const char *got = json_is_string(v) ? json_string_value(v) : json_is_null(v) ? "-" : "(missing)";

	if (strcmp(got, want))
		fail_msg("%s is %s, not %s", key, got, want);
}

#define CLIENT "192.0.2.9:4711"
#define TRACE  "{\"cmd\":\"trace\",\"args\":[\"" CLIENT "\",\"10.77.0.250:80/tcp\"]}"

/* The bucket of CLIENT in service web, which then belongs to 'owner'. */
static uint32_t give(unsigned int owner)
{
	struct endpoint e;
	uint32_t b;

	endpoint_parse(&e, CLIENT);
	b = jhash_bucket(&e.addr, 4711, true, BUCKETS, SEED);
	table[0][b] = (struct repl_bucket){ .owner = (uint8_t)owner };
	return b;
}

static void trace_tells_the_way(void **state)
{
	static const struct {
		enum conf_dispatch dispatch;
		enum conf_redirect redirect;
		unsigned int owner, holder;
		const char *front, *by, *to;
	} cases[] = {
		{ DISPATCH_FLOOD, REDIRECT_DIRECT, 1, 0, "all", "-", "-" },
		{ DISPATCH_FLOOD, REDIRECT_VXLAN, 2, 0, "all", "-", "-" },	/* it has its own copy */
		{ DISPATCH_ANNOUNCE, REDIRECT_DIRECT, 2, 3, "n3", "direct", "n2" },
		{ DISPATCH_ANNOUNCE, REDIRECT_IPIP, 1, 3, "n3", "-", "-" },	/* it is here */
		{ DISPATCH_ANNOUNCE, REDIRECT_IPIP, 2, 0, "-", "ipip", "n2" },
		{ DISPATCH_ROUTE, REDIRECT_VXLAN, 3, 0, "any", "vxlan", "n3" },
	};
	static const char *const dispatch[] = { "flood", "announce", "route" };
	json_t *t;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		conf.service[0].dispatch = cases[i].dispatch;
		conf.service[0].redirect = cases[i].redirect;
		holder_now = cases[i].holder;
		give(cases[i].owner);
		t = ask(TRACE, true);
		has(t, "dispatch", dispatch[cases[i].dispatch]);
		has(t, "front", cases[i].front);
		has(t, "redirect", cases[i].by);
		has(t, "hands_to", cases[i].to);
		has(t, "flow", "-");
		json_decref(t);
	}
	/* Flooded packets are handed on only by the node that gives the bucket away. */
	conf.service[0].dispatch = DISPATCH_FLOOD;
	table[0][give(1)] = (struct repl_bucket){ .owner = 1, .other = 3, .phase = PHASE_HANDOFF };
	t = ask(TRACE, true);
	has(t, "state", "leaving");
	has(t, "hands_to", "n3");
	has(t, "redirect", "vxlan");
	json_decref(t);
}

static void add_flow(unsigned int service, const char *client, uint16_t sport, unsigned int node_id)
{
	struct flow *f = &flow_now[n_flows++];

	*f = (struct flow){ .service = (uint8_t)service, .proto = IPPROTO_TCP, .node = (uint8_t)node_id,
			    .sport = sport, .dport = 80 };
	addr_parse(&f->client, client);
	addr_parse(&f->vip, f->client.family == AF_INET ? "10.77.0.250" : "fd77::250");
}

static void trace_finds_the_flow(void **state)
{
	char *text;
	json_t *t;

	conf.service[0].sched = SCHED_LEAST_CONN;
	give(1);
	add_flow(0, "192.0.2.9", 4712, 2);	/* another port */
	add_flow(0, "192.0.2.8", 4711, 2);	/* another client */
	t = ask(TRACE, true);
	has(t, "flow", "-");
	json_decref(t);
	add_flow(0, "192.0.2.9", 4711, 3);
	t = ask(TRACE, true);
	has(t, "flow", "n3");
	has(t, "redirect", "direct");
	has(t, "scheduler", "least-conn");
	has(t, "owner", "n1");
	json_decref(t);
	text = rendered(CMD_TRACE, TRACE);
	assert_non_null(strstr(text, "director  n1\nflow      at n3 (least-conn, in the flow map of n1)\n"));
	free(text);
	/* A flow map cannot know what no scheduler decides. */
	conf.service[0].sched = SCHED_HASH;
	t = ask(TRACE, true);
	has(t, "flow", "-");
	json_decref(t);
}

static void trace_in_a_rehash(void **state)
{
	struct endpoint e;
	json_t *t, *layout;
	uint32_t old;
	char *text;
	int n;

	endpoint_parse(&e, CLIENT);
	layout_now.old = layout_now.now;
	layout_now.old.buckets = 2 * BUCKETS;
	layout_now.old.hash[0] = HASH_SOURCE;
	layout_now.has_old = true;
	layout_now.phase = "mixed";
	conf.buckets = 8192;
	give(2);
	old = jhash_bucket(&e.addr, 4711, false, 2 * BUCKETS, SEED);
	t = ask(TRACE, true);
	assert_int_equal(json_integer_value(json_object_get(t, "old_bucket")), old);
	has(t, "old_owner", (const char *[]){ "n1", "n2", "n3" }[old % 3]);
	layout = json_object_get(t, "layout");
	assert_int_equal(json_unpack(layout, "{s:i}", "buckets", &n), 0);
	assert_int_equal(n, BUCKETS);
	has(layout, "hash", "source-port");
	has(layout, "rehash", "mixed");
	json_decref(t);
	text = rendered(CMD_TRACE, TRACE);
	assert_non_null(strstr(text, "rehash    mixed, connections of before live by bucket "));
	free(text);
	text = rendered(CMD_STATUS, "{\"cmd\":\"status\"}");
	assert_non_null(strstr(text, "   rehash: mixed\n"));
	free(text);
	/* The layout in force counts, not the one that the configuration has by now. */
	layout_now.now.hash[0] = HASH_SOURCE;
	t = ask("{\"cmd\":\"trace\",\"args\":[\"192.0.2.9\",\"10.77.0.250:80/tcp\"]}", true);
	assert_int_equal(json_integer_value(json_object_get(t, "bucket")),
			 jhash_bucket(&e.addr, 0, false, BUCKETS, SEED));
	json_decref(t);
}

static void trace_reads_well(void **state)
{
	struct endpoint e;
	char *text, want[900];

	endpoint_parse(&e, CLIENT);
	conf.service[0].dispatch = DISPATCH_ANNOUNCE;
	conf.service[0].redirect = REDIRECT_VXLAN;
	holder_now = 3;
	snprintf(want, sizeof(want),
		 "service   web\n"
		 "front     n3 (announce)\n"
		 "redirect  vxlan, from n1\n"
		 "bucket    %u   jhash 192.0.2.9 . 4711 mod 64 seed 0x1234abcd = %u\n"
		 "owner     n2\n"
		 "here      foreign on n1, hands new flows to n2\n"
		 "why       n2 owns it, nothing is moving\n", give(2), give(2));
	text = rendered(CMD_TRACE, TRACE);
	assert_string_equal(text, want);
	free(text);
}

static void holders_are_shown(void **state)
{
	json_t *s, *web;
	char *text;

	conf.service[0].dispatch = DISPATCH_ANNOUNCE;
	conf.service[0].redirect = REDIRECT_IPIP;
	conf.service[0].sched = SCHED_PROBABILITY;
	holder_now = 2;
	s = ask("{\"cmd\":\"status\"}", true);
	web = json_array_get(json_object_get(s, "services"), 0);
	has(web, "dispatch", "announce");
	has(web, "redirect", "ipip");
	has(web, "scheduler", "probability");
	has(json_object_get(web, "holders"), "10.77.0.250", "n2");
	has(json_object_get(web, "holders"), "fd77::250", "-");
	assert_true(json_is_null(json_object_get(json_array_get(json_object_get(s, "services"), 1),
						 "holders")));
	assert_true(json_is_null(json_object_get(json_object_get(s, "cluster"), "rehash")));
	json_decref(s);
	text = rendered(CMD_SERVICES, "{\"cmd\":\"services\"}");
	assert_non_null(strstr(text,
		"SERVICE  VIP                                     PORTS      DISPATCH       HASH         SCHEDULER    MOVING  BUCKETS\n"
		"web      10.77.0.250 at n2, fd77::250 at nobody  tcp/80     announce/ipip  source-port  probability       0  n1 22, n2 21, n3 21\n"
		"dns      10.77.0.250, fd77::250                  udp/53-80  flood          source       hash              0  n1 22, n2 21, n3 21\n"));
	free(text);
}

static void flows_that_do_not_follow_their_bucket(void **state)
{
	struct endpoint e;
	json_t *r, *f;
	char *text;

	endpoint_parse(&e, CLIENT);
	conf.buckets = 8192;	/* reloaded, but not in force yet */
	give(2);
	add_flow(0, "192.0.2.9", 4711, 0);		/* here, and the bucket is n2's */
	/* And one whose bucket is ours is nothing special. */
	for (uint16_t port = 1; n_flows < 2; port++)
		if (jhash_bucket(&e.addr, port, true, BUCKETS, SEED) % 3 == 0)
			add_flow(0, "192.0.2.9", port, 0);
	r = ask("{\"cmd\":\"flows\"}", true);
	f = json_object_get(r, "flows");
	assert_int_equal(json_array_size(f), 1);
	f = json_array_get(f, 0);
	has(f, "service", "web");
	has(f, "kind", "kept");
	has(f, "proto", "tcp");
	has(f, "client", "192.0.2.9:4711");
	has(f, "vip", "10.77.0.250:80");
	has(f, "node", "n1");
	has(f, "owner", "n2");
	assert_int_equal(json_integer_value(json_object_get(f, "expires_ms")), 61000);
	assert_true(json_is_false(json_object_get(r, "cut")));
	json_decref(r);

	conf.service[0].sched = SCHED_PROBABILITY;
	flow_now[0].node = 3;
	flow_now[1].node = 1;				/* served here: not redirected */
	add_flow(0, "fd77::9", 1, 2);
	text = rendered(CMD_FLOWS, "{\"cmd\":\"flows\",\"args\":[\"web\"]}");
	assert_non_null(strstr(text,
		"SERVICE  PROTO  CLIENT          VIP             NODE  BUCKET OF  WHY HERE    EXPIRES\n"
		"web      tcp    192.0.2.9:4711  10.77.0.250:80  n3    n2         redirected     61 s\n"
		"web      tcp    [fd77::9]:1     [fd77::250]:80  n2    "));
	assert_null(strstr(text, "there are more"));
	free(text);
	text = rendered(CMD_FLOWS, "{\"cmd\":\"flows\",\"limit\":1}");
	assert_non_null(strstr(text, "there are more: --limit 1 was reached\n"));
	free(text);
	text = rendered(CMD_FLOWS, "{\"cmd\":\"flows\",\"args\":[\"dns\"]}");
	assert_string_equal(text, "all connections of n1 follow their buckets\n");
	free(text);
	refused("{\"cmd\":\"flows\",\"args\":[\"nothing\"]}", "no service is called 'nothing'");
	refused("{\"cmd\":\"flows\",\"limit\":0}", "from 1 to");
	refused("{\"cmd\":\"flows\",\"limit\":20001}", "from 1 to");
	refused("{\"cmd\":\"flows\",\"limit\":\"5\"}", "from 1 to");
	refused("{\"cmd\":\"status\",\"limit\":5}", "does not know");
	flows_err = -EAGAIN;
	refused("{\"cmd\":\"flows\"}", "cannot be read");
}

static void counters_read_well(void **state)
{
	char *text;

	conf.service[0].sched = SCHED_LEAST_CONN;
	text = rendered(CMD_COUNTERS, "{\"cmd\":\"counters\"}");
	assert_string_equal(text,
		"packets on n1, since clusterd was started there (UNKNOWN: of all services)\n"
		"\n"
		"SERVICE  ACCEPTED  FOREIGN  HANDED ON  2ND CHANCE  UNKNOWN  QUEUED  Q DROPPED  Q OVERRUN\n"
		"web             5        6          7           0        8      40          2          1\n"
		"dns             -        -          -           -        -       -          -          -\n");
	free(text);
}

static void reload_says_when(void **state)
{
	static const char result[] = "{\"changes\":["
		"{\"section\":\"cluster\",\"key\":\"buckets\",\"old\":\"64\",\"new\":\"128\",\"live\":true},"
		"{\"section\":\"service web\",\"key\":\"hash\",\"old\":\"a\",\"new\":\"b\",\"live\":true},"
		"{\"section\":\"cluster\",\"key\":\"hang\",\"old\":\"1s\",\"new\":\"2s\",\"live\":true},"
		"{\"section\":\"cluster\",\"key\":\"lease\",\"old\":\"1s\",\"new\":\"2s\",\"live\":false}]}";
	json_t *j = json_loads(result, 0, NULL);
	struct render r = { .colours = false };
	char *text = NULL;
	size_t size;

	r.out = open_memstream(&text, &size);
	render_result(&r, CMD_RELOAD, j);
	fclose(r.out);
	assert_string_equal(text,
		"SECTION      KEY      OLD  NEW  APPLIED\n"
		"cluster      buckets  64   128  when all nodes have it\n"
		"service web  hash     a    b    when all nodes have it\n"
		"cluster      hang     1s   2s   now\n"
		"cluster      lease    1s   2s   not before a restart of clusterd\n");
	free(text);
	json_decref(j);
}

static void no_callbacks_no_crash(void **state)
{
	json_t *r;

	ctx.layout = NULL;
	ctx.holder = NULL;
	ctx.flows = NULL;
	ctx.connections = NULL;
	ctx.queue = NULL;
	ctx.counters = NULL;
	ctx.path = NULL;
	ctx.path_start = NULL;
	conf.service[0].dispatch = DISPATCH_ANNOUNCE;
	conf.service[0].sched = SCHED_LEAST_CONN;
	give(2);
	r = ask(TRACE, true);
	has(r, "front", "-");
	has(r, "owner", "n2");
	json_decref(r);
	json_decref(ask("{\"cmd\":\"status\"}", true));
	json_decref(ask("{\"cmd\":\"flows\"}", true));
	json_decref(ask("{\"cmd\":\"counters\"}", true));
	r = ask("{\"cmd\":\"doctor\"}", true);
	assert_true(json_is_null(json_object_get(r, "flood")));
	assert_true(json_is_null(json_object_get(r, "paths")));
	assert_true(json_is_false(json_object_get(r, "running")));
	json_decref(r);
}

static void the_network_is_tried_once(void **state)
{
	char text[ADDR_STR];
	struct timespec ts;
	json_t *r, *f;
	int64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	ctx.probe = (struct probe *)&probe_now;
	probe_now.n = 2;
	memset(probe_now.result[0].target.mac, 0xff, 6);
	strcpy(probe_now.result[0].target.interface, "eth0");
	probe_now.result[0].heard = node_bit(2) | node_bit(3);
	probe_now.result[1] = probe_now.result[0];
	memcpy(probe_now.result[1].target.mac, "\x01\x00\x5e\x4d\x00\xfa", 6);
	probe_now.result[1].target.vip = ctx.conf->service[0].vip[0];
	probe_now.result[1].framed = node_bit(2);
	probe_now.result[1].heard = node_bit(3) | node_bit(1);	/* 1 is this node */
	r = ask("{\"cmd\":\"doctor\"}", true);
	assert_int_equal(probe_now.started, 1);
	assert_true(json_is_true(json_object_get(r, "running")));
	json_decref(r);
	/* While it runs, and for a while after, it is not started again. */
	json_decref(ask("{\"cmd\":\"doctor\"}", true));
	probe_now.running = 0;
	probe_now.done = now;
	path_now = (struct ctl_path){ .answers = true, .mtu = 1450 };
	r = ask("{\"cmd\":\"doctor\"}", true);
	assert_int_equal(probe_now.started, 1);
	assert_true(json_is_false(json_object_get(r, "running")));
	f = json_array_get(json_object_get(r, "flood"), 1);
	has(f, "interface", "eth0");
	has(f, "mac", "01:00:5e:4d:00:fa");
	has(f, "vip", addr_str(&ctx.conf->service[0].vip[0], text));
	assert_string_equal(json_string_value(json_array_get(json_object_get(f, "framed"), 0)), "n2");
	has(f, "error", "-");
	assert_true(json_is_false(json_object_get(f, "broadcast")));
	assert_int_equal(json_array_size(json_object_get(f, "heard")), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(f, "heard"), 0)), "n3");
	assert_string_equal(json_string_value(json_array_get(json_object_get(f, "silent"), 0)), "n2");
	assert_int_equal(json_array_size(json_object_get(f, "silent")), 1);
	f = json_array_get(json_object_get(r, "paths"), 0);
	has(f, "node", "n2");
	assert_int_equal(json_integer_value(json_object_get(f, "mtu")), 1450);
	json_decref(r);
	probe_now.done = now - NETCHECK_FRESH_MS - 1000;
	json_decref(ask("{\"cmd\":\"doctor\"}", true));
	assert_int_equal(probe_now.started, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(trace_tells_the_way, setup),
		cmocka_unit_test_setup(trace_finds_the_flow, setup),
		cmocka_unit_test_setup(trace_in_a_rehash, setup),
		cmocka_unit_test_setup(trace_reads_well, setup),
		cmocka_unit_test_setup(holders_are_shown, setup),
		cmocka_unit_test_setup(flows_that_do_not_follow_their_bucket, setup),
		cmocka_unit_test_setup(counters_read_well, setup),
		cmocka_unit_test_setup(reload_says_when, setup),
		cmocka_unit_test_setup(no_callbacks_no_crash, setup),
		cmocka_unit_test_setup(the_network_is_tried_once, setup),
	};

	return cmocka_run_group_tests_name("ctl_ways", tests, NULL, NULL);
}

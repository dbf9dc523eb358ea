/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands tell of loads, weights, health, the ring and events, and the dry run. */
#include "ctl_common.h"

#include "ctl/cmds.h"
#include "ctl/render.h"

static int setup(void **state)
{
	make_cluster();
	fill_ctx();
	return 0;
}

/* The whole reply. */
static json_t *request(const char *text)
{
	json_t *q = json_loads(text, 0, NULL), *reply;
	bool follow;

	assert_non_null(q);
	reply = cmds_handle(&ctx, q, &follow);
	json_decref(q);
	assert_non_null(reply);
	return reply;
}

static json_t *ask(const char *text)
{
	json_t *reply = request(text), *result = json_incref(json_object_get(reply, "result"));

	if (!json_is_true(json_object_get(reply, "ok")))
		fail_msg("%s: %s", text, json_dumps(reply, 0));
	json_decref(reply);
	return result;
}

static void refused(const char *text, int code, const char *part)
{
	json_t *reply = request(text);
	const char *error = json_string_value(json_object_get(reply, "error"));

	if (!error || !strstr(error, part))
		fail_msg("%s: '%s' does not say '%s'", text, error, part);
	assert_int_equal(json_integer_value(json_object_get(reply, "code")), code);
	json_decref(reply);
}

static char *rendered(enum ctl_id id, const char *text)
{
	json_t *result = ask(text);
	struct render r = { .colours = false };
	char *out = NULL;
	size_t size;

	r.out = open_memstream(&out, &size);
	render_result(&r, id, result);
	fclose(r.out);
	json_decref(result);
	return out;
}

/* 'path' is "nodes/0/left"; 'want' is JSON. */
static void is(const json_t *o, const char *path, const char *want)
{
	char part[64], *got;
	const char *p = path;
	size_t len;

	for (; o && *p; p += len + (p[len] == '/')) {
		len = strcspn(p, "/");
		snprintf(part, sizeof(part), "%.*s", (int)len, p);
		o = json_is_array(o) ? json_array_get(o, (size_t)atoi(part)) : json_object_get(o, part);
	}
	got = json_dumps(o, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (!got || strcmp(got, want))
		fail_msg("%s is %s, not %s", path, got ? got : "missing", want);
	free(got);
}

#define STATUS "{\"cmd\":\"status\"}"

static void loads_and_weights(void **state)
{
	json_t *s;
	char *text;

	conf.service[0].sched = SCHED_HASH;
	strcpy(conf.service[0].weights, "load");
	sample_now[2].load = 337;
	factor_now[2] = 504;
	factor_now[3] = 505;
	node[3].ramp = 300;
	node[3].returning = true;
	s = ask(STATUS);
	is(s, "nodes/0/load", "0.04");		/* its monitors have said nothing: the kernel's */
	is(s, "nodes/1/load", "0.337");
	is(s, "nodes/2/load", "null");
	is(s, "nodes/0/effective_weight", "100");
	is(s, "nodes/2/effective_weight", "30");
	is(s, "nodes/2/weight", "100");
	is(s, "nodes/0/ramp", "null");
	is(s, "nodes/2/ramp", "30");
	is(s, "nodes/0/returning", "false");
	is(s, "nodes/2/returning", "true");
	is(s, "nodes/0/left", "\"n3\"");
	is(s, "nodes/0/right", "\"n2\"");
	is(s, "nodes/2/right", "null");
	is(s, "services/0/policy", "\"load\"");
	is(s, "services/1/policy", "\"static\"");
	is(s, "services/0/weights", "{\"n1\":100,\"n2\":50,\"n3\":51}");	/* 504, 505 */
	is(s, "services/1/weights", "{\"n1\":100,\"n2\":100,\"n3\":100}");
	json_decref(s);
	/* With a scheduler it counts what that one gives to whom. */
	conf.service[0].sched = SCHED_PROBABILITY;
	sample_now[1].load = 40;
	node[3].ramp = 1;
	s = ask(STATUS);
	is(s, "services/0/weights", "{\"n1\":50,\"n2\":25,\"n3\":25}");
	is(s, "nodes/0/load", "0.04");
	is(s, "nodes/2/effective_weight", "1");		/* little is not nothing */
	json_decref(s);
	node[3].ramp = 300;
	text = rendered(CMD_STATUS, STATUS);
	assert_non_null(strstr(text,
		"NODE  ADDRESS    STATE     WEIGHT  SHARE  BUCKETS  LOAD      HEARD  REMARK\n"
		"n1    10.77.0.1  online       100  34.4%       44  0.04  this node  \n"
		"n2    10.77.0.2  online       100  32.8%       42  0.34  12 ms ago  \n"
		"n3    10.77.0.3  online  30 (100)  32.8%       42     -  12 ms ago  slow start: 30%\n"));
	free(text);
	text = rendered(CMD_SERVICES, "{\"cmd\":\"services\"}");
	assert_non_null(strstr(text, "WEIGHTS  POLICY  NODES\n"
			       "web      load    n1 50, n2 25, n3 25\n"
			       "dns      static  n1 100, n2 100, n3 100\n"));
	free(text);
	text = rendered(CMD_NODES, "{\"cmd\":\"nodes\"}");
	assert_non_null(strstr(text, "TERM  LEFT  RIGHT  REMARK\n"));
	assert_non_null(strstr(text, "0  n3    n2     \n"));
	free(text);
}

static void nodes_that_wait(void **state)
{
	json_t *s;
	char *text;

	node[3].hold_back = true;
	s = ask(STATUS);
	is(s, "nodes/1/effective_weight", "100");
	is(s, "nodes/2/effective_weight", "0");
	is(s, "nodes/2/weight", "100");
	json_decref(s);
	text = rendered(CMD_STATUS, STATUS);
	assert_non_null(strstr(text, "online  0 (100)  32.8%       42     -  12 ms ago  waits for 'failback'\n"));
	free(text);
	/* Who else should have the work? */
	node[1].hold_back = node[2].drain = true;
	s = ask(STATUS);
	is(s, "nodes/0/effective_weight", "100");
	is(s, "nodes/1/effective_weight", "0");
	is(s, "nodes/2/effective_weight", "100");
	json_decref(s);
}

static void what_is_not_well_is_seen(void **state)
{
	char *text = rendered(CMD_STATUS, STATUS);
	json_t *s = ask(STATUS);

	is(s, "services/0/health", "{\"n1\":\"up\",\"n2\":\"up\",\"n3\":\"up\"}");
	is(s, "services/0/seen_down", "{}");
	is(s, "services/0/sorry", "false");
	json_decref(s);
	assert_null(strstr(text, "DOWN"));
	assert_null(strstr(text, "SORRY"));
	assert_string_equal(text + strlen(text) - 2, "1\n");	/* no empty line at the end */
	free(text);
	node[1].health[0] = FITNESS_WORKS;
	node[2].health[0] = FITNESS_DOWN;
	node[3].seen_down[0] = 2;
	node[2].health[1] = FITNESS_DOWN;
	node[2].seen_down[1] = 1;	/* its own checks know best */
	s = ask(STATUS);
	is(s, "services/0/health", "{\"n1\":\"works\",\"n2\":\"down\",\"n3\":\"seen_down\"}");
	is(s, "services/0/seen_down", "{\"n3\":\"n2\"}");
	is(s, "services/1/health", "{\"n1\":\"up\",\"n2\":\"down\",\"n3\":\"up\"}");
	is(s, "services/1/seen_down", "{\"n2\":\"n1\"}");
	json_decref(s);
	text = rendered(CMD_STATUS, STATUS);
	assert_non_null(strstr(text, "n3 21\n\n"
			       "web at n1 gets NO NEW WORK: a check has failed\n"
			       "web at n2 is DOWN\n"
			       "web at n3 is DOWN: n2 cannot reach it\n"
			       "dns at n2 is DOWN\n"));
	free(text);
	/* Of a node that is gone nothing is known. */
	node[2].state = NODE_FAILED;
	node[3].seen_down[0] = NOBODY;
	sorry_now = true;
	s = ask(STATUS);
	is(s, "services/0/health", "{\"n1\":\"works\",\"n2\":null,\"n3\":\"up\"}");
	is(s, "services/0/sorry", "true");
	is(s, "services/1/seen_down", "{}");
	json_decref(s);
	text = rendered(CMD_STATUS, STATUS);
	assert_non_null(strstr(text, "n3 21\n\nSORRY: no node is fit for web\n"
			       "web at n1 gets NO NEW WORK: a check has failed\n"));
	assert_null(strstr(text, "n2 is DOWN"));
	free(text);
}

#define PLAN(args) "{\"cmd\":\"plan\",\"args\":[" args "]}"

static void dry_run(void **state)
{
	json_t *p;
	char *text;

	/* n3 has 21 of the buckets of web: 11 go to n1, 10 to n2. */
	sample_now[3] = (struct sample){ .load = 1, .conns = { 210 }, .kbps = { 1000 } };
	p = ask(PLAN("\"drain\",\"n3\""));
	is(p, "order", "\"drain\"");
	is(p, "node", "\"n3\"");
	is(p, "weight", "null");
	is(p, "moves/0", "{\"service\":\"web\",\"from\":\"n3\",\"to\":\"n1\",\"buckets\":11,"
	   "\"connections\":110,\"kbps\":524}");
	is(p, "moves/1", "{\"service\":\"web\",\"from\":\"n3\",\"to\":\"n2\",\"buckets\":10,"
	   "\"connections\":100,\"kbps\":476}");
	is(p, "moves/2", "{\"service\":\"dns\",\"from\":null,\"to\":\"n3\",\"buckets\":1,"
	   "\"connections\":0,\"kbps\":0}");
	is(p, "total", "{\"buckets\":22,\"connections\":210,\"kbps\":1000}");
	json_decref(p);
	text = rendered(CMD_PLAN, PLAN("\"drain\",\"n3\""));
	assert_string_equal(text,
		"drain n3 would move this; nothing has been changed\n"
		"\n"
		"SERVICE  FROM    TO  BUCKETS  CONNECTIONS      KBIT/S\n"
		"web      n3      n1       11    about 110   about 524\n"
		"web      n3      n2       10    about 100   about 476\n"
		"dns      nobody  n3        1            0           0\n"
		"total                     22    about 210  about 1000\n");
	free(text);
	/* It has told nothing lately. */
	sample_now[3].load = 0;
	p = ask(PLAN("\"drain\",\"n3\""));
	is(p, "moves/0/connections", "null");
	is(p, "moves/0/kbps", "null");
	is(p, "moves/2/connections", "0");
	is(p, "total", "{\"buckets\":22,\"connections\":null,\"kbps\":null}");
	json_decref(p);
	text = rendered(CMD_PLAN, PLAN("\"drain\",\"n3\""));
	assert_non_null(strstr(text, "web      n3      n1       11            ?       ?\n"));
	free(text);
	assert_int_equal(order.n, 0);
	assert_int_equal(preview_now.calls, 4);
}

static void dry_runs_of_all_orders(void **state)
{
	json_t *p;
	char *text;

	p = ask(PLAN("\"weight\",\"n2\",\"250\""));
	assert_int_equal(preview_now.type, ORDER_WEIGHT);
	assert_int_equal(preview_now.node, 2);
	assert_int_equal(preview_now.value, 250);
	is(p, "weight", "250");
	is(p, "moves", "[]");
	is(p, "total", "{\"buckets\":0,\"connections\":0,\"kbps\":0}");
	json_decref(p);
	p = ask(PLAN("\"weight\",\"n2\",\"auto\""));
	assert_int_equal(preview_now.value, ORDER_AUTO);
	is(p, "weight", "\"auto\"");
	json_decref(p);
	text = rendered(CMD_PLAN, PLAN("\"weight\",\"n2\",\"0\""));
	assert_string_equal(text, "weight n2 0 would move nothing; nothing has been changed\n");
	free(text);
	json_decref(ask(PLAN("\"undrain\",\"n3\"")));
	assert_int_equal(preview_now.type, ORDER_UNDRAIN);
	assert_int_equal(preview_now.node, 3);
	p = ask(PLAN("\"failback\""));
	assert_int_equal(preview_now.type, ORDER_FAILBACK);
	assert_int_equal(preview_now.node, NOBODY);
	is(p, "node", "null");
	json_decref(p);

	preview_now.calls = 0;
	refused(PLAN("\"takeover\",\"n2\""), 2, "'takeover' cannot be planned: give drain, undrain, weight");
	refused(PLAN("\"drain\""), 2, "usage: plan drain NODE");
	refused(PLAN("\"drain\",\"n1\",\"n2\""), 2, "usage: plan drain NODE");
	refused(PLAN("\"weight\",\"n1\""), 2, "usage: plan weight NODE N|auto");
	refused(PLAN("\"failback\",\"n1\""), 2, "usage: plan failback");
	refused(PLAN("\"weight\",\"n1\",\"1001\""), 2, "0..1000");
	refused(PLAN("\"drain\",\"n9\""), 1, "no node is called 'n9'");
	refused(PLAN("\"weight\",\"n9\",\"5000\""), 1, "no node is called 'n9'");
	refused(PLAN(""), 2, "usage: plan");
	agent_now.synced = false;
	refused(PLAN("\"drain\",\"n1\""), 1, "not in step");
	assert_int_equal(preview_now.calls, 0);
}

static void monitors_read_well(void **state)
{
	json_t *m;
	char *text;

	sample_now[2] = (struct sample){ .load = 720, .cpu_idle = 305, .mem_free_kb = 2048 * 1024,
					 .blocked = 3, .swapping = 40, .conns = { 100, 20 },
					 .kbps = { 5000, 1 } };
	sample_now[3].load = 40;	/* it has no monitor for memory */
	m = ask("{\"cmd\":\"monitors\"}");
	is(m, "nodes/2/mem_free_kb", "null");
	is(m, "nodes/2/load", "0.04");
	is(m, "monitors/0", "{\"name\":\"cpu\",\"type\":\"cpu\",\"value\":312,\"weight\":50,"
	   "\"load\":0.156,\"why\":\"31% of 2 processors\",\"age_ms\":420,\"open\":true,"
	   "\"cpu_us\":12345}");
	is(m, "monitors/1", "{\"name\":\"disk-a\",\"type\":\"disk\",\"value\":null,\"weight\":100,"
	   "\"load\":null,\"why\":null,\"age_ms\":null,\"open\":false,\"cpu_us\":0}");
	is(m, "nodes/0", "{\"name\":\"n1\",\"load\":null,\"cpu_idle\":null,\"mem_free_kb\":null,"
	   "\"blocked\":null,\"swapping\":null,\"connections\":null,\"kbps\":null}");
	is(m, "nodes/1", "{\"name\":\"n2\",\"load\":0.72,\"cpu_idle\":0.305,\"mem_free_kb\":2097152,"
	   "\"blocked\":3,\"swapping\":40,\"connections\":{\"web\":100,\"dns\":20},"
	   "\"kbps\":{\"web\":5000,\"dns\":1}}");
	json_decref(m);
	text = rendered(CMD_MONITORS, "{\"cmd\":\"monitors\"}");
	assert_string_equal(text,
		"MONITOR  TYPE  0..1000  WEIGHT  LOAD    AGE  CPU TIME  WHAT IT SAYS\n"
		"cpu      cpu       312     50%  0.16  0.4 s     12 ms  31% of 2 processors\n"
		"disk-a   disk        -    100%     -      -      0 ms  cannot be started, see the log; "
		"tried again every 10 s\n"
		"\n"
		"NODE  LOAD  CPU IDLE  MEMORY FREE  BLOCKED  SWAPPED  CONNECTIONS  KBIT/S\n"
		"n1       -         -            -        -        -            -       -\n"
		"n2    0.72       30%     2048 MiB        3       40          120    5001\n"
		"n3    0.04        0%            -        0        0            0       0\n");
	free(text);
}

static void checks_read_well(void **state)
{
	static const char request_text[] = "{\"cmd\":\"checks\"}";
	json_t *k, *first;
	char *text;

	node[1].health[0] = FITNESS_DOWN;
	k = ask(request_text);
	first = json_array_get(json_object_get(k, "checks"), 0);
	assert_true(json_integer_value(json_object_get(first, "for_ms")) > 0);
	json_object_set_new(first, "for_ms", json_integer(0));
	is(first, "", "{\"name\":\"web-http\",\"type\":\"http\",\"service\":\"web\",\"state\":\"repair\","
	   "\"for_ms\":0,\"known\":true,\"verdict\":\"down\",\"value\":0,\"passed\":0,\"failed\":7,"
	   "\"why\":\"status 500\",\"action\":\"restart:nginx.service\",\"tries\":2,"
	   "\"given_up\":false,\"looks\":100,\"late\":3,\"open\":true,\"cpu_us\":0}");
	is(k, "checks/1/value", "null");
	is(k, "checks/1/action", "null");
	is(k, "checks/1/known", "false");
	is(k, "services/0", "{\"name\":\"web\",\"health\":{\"n1\":\"down\",\"n2\":\"up\",\"n3\":\"up\"},"
	   "\"seen_down\":{},\"sorry\":false}");
	json_decref(k);
	text = rendered(CMD_CHECKS, request_text);
	assert_non_null(strstr(text, "web-http  web      http  repair (down)"));
	assert_non_null(strstr(text, "restart:nginx.service      2  status 500\n"));
	assert_non_null(strstr(text, "dns-udp   dns      dns   good? "));
	assert_non_null(strstr(text, "cannot be started, see the log; tried again every 10 s\n\n"
			       "web at n1 is DOWN\n"));
	free(text);
	ctx.checks = NULL;
	text = rendered(CMD_CHECKS, request_text);
	assert_string_equal(text, "no checks are configured on n1\n\nweb at n1 is DOWN\n");
	free(text);
}

static json_t *followed;
static void follow(void *arg, const json_t *event) { followed = json_deep_copy(event); }

static void events_name_whom_they_are_about(void **state)
{
	struct agent_event e = { .priority = LOG_WARNING, .name = "TAKE_OVER", .text = "n1 takes over",
				 .node = 3, .by = 1, .service = 0, .buckets = 1365 };
	json_t *all;

	assert_int_equal(events_new(&ctx.events, follow, NULL), 0);
	events_add(ctx.events, &conf, 1700000000123, &e);
	is(followed, "", "{\"seq\":1,\"time_ms\":1700000000123,\"priority\":4,\"name\":\"TAKE_OVER\","
	   "\"text\":\"n1 takes over\",\"node\":\"n3\",\"by\":\"n1\",\"service\":\"web\","
	   "\"buckets\":1365}");
	json_decref(followed);
	/* Nobody, no service; and what the configuration does not have (any more). */
	e = (struct agent_event){ .priority = LOG_INFO, .name = "X", .text = "a\nb\x7f\xc3", .service = -1 };
	events_add(ctx.events, &conf, 1, &e);
	json_decref(followed);
	strcpy(conf.node[3].name, "ghost");
	strcpy(conf.service[2].name, "ghost");
	e.node = 4;
	e.by = 64;
	e.service = 2;
	events_add(ctx.events, &conf, 1, &e);
	json_decref(followed);
	conf.n_nodes = 0;	/* the names are those of then */
	all = events_json(ctx.events);
	is(all, "0/node", "\"n3\"");
	is(all, "1", "{\"seq\":2,\"time_ms\":1,\"priority\":6,\"name\":\"X\",\"text\":\"a?b??\","
	   "\"node\":null,\"by\":null,\"service\":null,\"buckets\":0}");
	is(all, "2/node", "null");
	is(all, "2/by", "null");
	is(all, "2/service", "null");
	json_decref(all);
	events_free(ctx.events);
	ctx.events = NULL;
}

static void no_callbacks_no_crash(void **state)
{
	json_t *r;

	ctx.sample = NULL;
	ctx.monitors = NULL;
	ctx.checks = NULL;
	r = ask(PLAN("\"drain\",\"n3\""));
	is(r, "total/connections", "null");
	json_decref(r);
	ctx.preview = NULL;
	refused(PLAN("\"drain\",\"n3\""), 1, "cannot plan");
	r = ask("{\"cmd\":\"monitors\"}");
	is(r, "monitors", "[]");
	is(r, "nodes/0/load", "null");
	json_decref(r);
	r = ask("{\"cmd\":\"checks\"}");
	is(r, "checks", "[]");
	json_decref(r);
	refused("{\"cmd\":\"plugins\"}", 2, "knows no command");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(loads_and_weights, setup),
		cmocka_unit_test_setup(nodes_that_wait, setup),
		cmocka_unit_test_setup(what_is_not_well_is_seen, setup),
		cmocka_unit_test_setup(dry_run, setup),
		cmocka_unit_test_setup(dry_runs_of_all_orders, setup),
		cmocka_unit_test_setup(monitors_read_well, setup),
		cmocka_unit_test_setup(checks_read_well, setup),
		cmocka_unit_test_setup(events_name_whom_they_are_about, setup),
		cmocka_unit_test_setup(no_callbacks_no_crash, setup),
	};

	return cmocka_run_group_tests_name("ctl_plan", tests, NULL, NULL);
}

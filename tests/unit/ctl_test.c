/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket with a made-up daemon behind it.  'ctl_test serve PATH' only serves, for
 * tests/cli_test.sh.
 */
#include "ctl_common.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/cmds.h"
#include "ctl/events.h"
#include "ctl/render.h"
#include "ctl/server.h"
#include "ctl/status.h"
#include "ctl/trace.h"
#include "util/jhash.h"
/* ---- the server, and clients that are turned by hand ---- */

static sd_event *loop;
static struct server *server;
static char dir[] = "/tmp/clusterd-ctl-XXXXXX", path[64];

static void publish(void *arg, const json_t *event)
{
	if (server)
		server_publish(server, event);
}

static int setup(void **state)
{
	make_cluster();
	fill_ctx();
	if (events_new(&ctx.events, publish, NULL) || sd_event_new(&loop) < 0)
		return -1;
	return server_open(&server, loop, path, cmds_handle, &ctx);
}

static int teardown(void **state)
{
	server_close(server);
	server = NULL;
	sd_event_unref(loop);
	events_free(ctx.events);
	return access(path, F_OK) ? 0 : -1;	/* the socket is gone */
}

static int group_setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	/* A directory that the server has to make. */
	snprintf(path, sizeof(path), "%s/run/clusterd.sock", dir);
	return 0;
}

static int group_teardown(void **state)
{
	char sub[64];

	snprintf(sub, sizeof(sub), "%s/run", dir);
	return rmdir(sub) || rmdir(dir);
}

static void turn(unsigned int times)
{
	while (times--)
		assert_true(sd_event_run(loop, 1000) >= 0);
}

static void dial(struct client_conn *c)
{
	char why[CLIENT_WHY_SIZE];

	assert_int_equal(client_open(c, path, why), 0);
	turn(2);
}

/* The next line the daemon sends, or NULL when it has closed. */
static json_t *hear(struct client_conn *c)
{
	char why[200], *line;
	unsigned int i;
	ssize_t n;
	size_t len;

	for (i = 0; i < 2000; i++) {
		if (proto_in_line(&c->in, &line, &len) > 0) {
			json_t *j = proto_parse(line, len, why, sizeof(why));

			assert_non_null(j);
			return j;
		}
		n = proto_in_read(&c->in, c->fd);
		if (!n || n == -ECONNRESET)
			return NULL;
		if (n == -EAGAIN)
			assert_true(sd_event_run(loop, 10000) >= 0);
	}
	fail_msg("no answer");
	return NULL;
}

static void say(struct client_conn *c, const char *text)
{
	assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Asks and checks "ok"; the result, or the error as a JSON string. */
static json_t *ask(const char *request, bool ok)
{
	struct client_conn c;
	json_t *reply, *part;

	dial(&c);
	say(&c, request);
	say(&c, "\n");
	reply = hear(&c);
	assert_non_null(reply);
	if (json_is_true(json_object_get(reply, "ok")) != ok)
		fail_msg("%s: %s", request, json_dumps(reply, 0));
	part = json_incref(json_object_get(reply, ok ? "result" : "error"));
	assert_non_null(part);
	json_decref(reply);
	client_close(&c);
	turn(1);
	return part;
}

static void refused(const char *request, const char *part)
{
	json_t *error = ask(request, false);

	if (!strstr(json_string_value(error), part))
		fail_msg("%s: '%s' does not say '%s'", request, json_string_value(error), part);
	json_decref(error);
}

/* ---- tests ---- */

static void socket_is_private(void **state)
{
	struct server *second = NULL;
	struct stat st;
	char sub[64];

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	snprintf(sub, sizeof(sub), "%s/run", dir);
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(server_open(&second, loop, path, cmds_handle, &ctx), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0);	/* the loser took nothing away */
	turn(2);
	refused("{\"cmd\":\"nothing\"}", "nothing");
}

static void stale_socket_is_replaced_a_file_is_not(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct server *s = NULL;
	char other[64];
	int fd;

	snprintf(other, sizeof(other), "%s/other", dir);
	strcpy(addr.sun_path, other);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(server_open(&s, loop, other, cmds_handle, &ctx), 0);
	server_close(s);
	assert_int_not_equal(access(other, F_OK), 0);
	fd = open(other, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(server_open(&s, loop, other, cmds_handle, &ctx), -EEXIST);
	assert_int_equal(access(other, F_OK), 0);
	close(fd);
	unlink(other);
}

/* A stranger who can open the file (somebody relaxed its mode) is still turned away. */
static void strangers_are_turned_away(void **state)
{
	struct client_conn c;
	int status, n;
	pid_t pid;

	if (getuid())
		skip();
	assert_int_equal(chmod(path, 0666) | chmod(dir, 0755), 0);
	pid = fork();
	if (!pid) {
		char why[CLIENT_WHY_SIZE];
		json_t *line = NULL;

		if (setgid(65534) || setuid(65534) || client_open(&c, path, why))
			_exit(2);
		if (client_next(&c, 5, &line, why))
			_exit(3);
		_exit(json_is_false(json_object_get(line, "ok")) ? 0 : 4);
	}
	for (n = 0; n < 100 && !waitpid(pid, &status, WNOHANG); n++)
		sd_event_run(loop, 50000);
	assert_true(n < 100 && WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(server_clients(server), 0);
}

static void status_keeps_the_contract(void **state)
{
	json_t *s = ask("{\"cmd\":\"status\",\"args\":[]}", true), *o, *n;
	const char *name, *local, *state_text, *digest;
	int epoch, buckets, quorate, fenced, id, weight, effective, moving, n1;
	double load;

	assert_int_equal(json_unpack(s, "{s:{s:s, s:b, s:i, s:s, s:i, s:b}, s:s}", "cluster",
				     "name", &name, "quorate", &quorate, "epoch", &epoch,
				     "digest", &digest, "buckets", &buckets, "fenced", &fenced,
				     "local", &local), 0);
	assert_string_equal(name, "web");
	assert_true(quorate && !fenced);
	assert_int_equal(epoch, 17);
	assert_string_equal(digest, "00000000f2c0ffee");
	assert_int_equal(buckets, BUCKETS);
	assert_string_equal(local, "n1");
	n = json_object_get(s, "nodes");
	assert_int_equal(json_array_size(n), 3);
	assert_int_equal(json_unpack(json_array_get(n, 0), "{s:s, s:i, s:s, s:s, s:i, s:i, s:f}",
				     "name", &name, "id", &id, "address", &local, "state", &state_text,
				     "weight", &weight, "effective_weight", &effective, "load", &load), 0);
	assert_string_equal(state_text, "online");
	assert_string_equal(local, "10.77.0.1");
	assert_true(load == 0.04);
	assert_true(json_is_null(json_object_get(json_array_get(n, 1), "load")));
	o = json_array_get(json_object_get(s, "services"), 0);
	assert_int_equal(json_unpack(o, "{s:s, s:[s, s!], s:[s!], s:s, s:s, s:s, s:s, s:i, s:{s:i}}",
				     "name", &name, "vips", &name, &name, "ports", &local, "dispatch", &name,
				     "redirect", &name, "hash", &name, "scheduler", &name,
				     "moving", &moving, "buckets", "n1", &n1), 0);
	assert_string_equal(local, "tcp/80");
	assert_int_equal(n1, 22);
	assert_int_equal(moving, 0);
	json_decref(s);
}

/* A service's sum is the number of buckets, and 'buckets' agrees with it. */
static void buckets_add_up(void **state)
{
	json_t *s, *row;

	table[0][5].phase = PHASE_DRAIN;
	table[0][5].other = 3;
	s = ask("{\"cmd\":\"buckets\",\"args\":[\"web\"]}", true);
	assert_int_equal(json_array_size(json_object_get(s, "owner")), BUCKETS);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(s, "owner"), 4)), 2);
	assert_int_equal(json_array_size(json_object_get(s, "moving")), 1);
	row = json_array_get(json_object_get(s, "moving"), 0);
	assert_int_equal(json_integer_value(json_array_get(row, 0)), 5);
	assert_int_equal(json_integer_value(json_array_get(row, 2)), 3);
	assert_string_equal(json_string_value(json_array_get(row, 3)), "drain");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(s, "states"), "mine")), 22);
	json_decref(s);
}

static void endpoints(void **state)
{
	static const struct { const char *text; int family, port, proto; } good[] = {
		{ "192.0.2.1", AF_INET, -1, 0 }, { "192.0.2.1:80", AF_INET, 80, 0 },
		{ "2001:db8::1", AF_INET6, -1, 0 }, { "[2001:db8::1]", AF_INET6, -1, 0 },
		{ "[2001:db8::1]:65535", AF_INET6, 65535, 0 }, { "192.0.2.1:0", AF_INET, 0, 0 },
		{ "192.0.2.1:53/udp", AF_INET, 53, IPPROTO_UDP },
		{ "[::1]:53/tcp", AF_INET6, 53, IPPROTO_TCP },
		{ "1111:2222:3333:4444:5555:6666:7777:8888", AF_INET6, -1, 0 },
	};
	static const char *const bad[] = {
		"", ":", "x", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:8x", "[::1",
		"[::1]80", "[::1]:", "[192.0.2.1]:80", "192.0.2.1:80:90", "192.0.2.1:80/icmp", "[]:80",
		"300.1.1.1", "192.0.2.1:99999999999999999999", "192.0.2.1:80 ",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct endpoint e;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (endpoint_parse(&e, good[i].text))
			fail_msg("refused: %s", good[i].text);
		assert_int_equal(e.addr.family, good[i].family);
		assert_int_equal(e.has_port, good[i].port >= 0);
		if (e.has_port)
			assert_int_equal(e.port, good[i].port);
		assert_int_equal(e.proto, good[i].proto);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!endpoint_parse(&e, bad[i]))
			fail_msg("accepted: %s", bad[i]);
}

#define TRACE(client, vip) "{\"cmd\":\"trace\",\"args\":[\"" client "\",\"" vip "\"]}"

static void trace_follows_the_table(void **state)
{
	static const enum repl_phase moved[] = { PHASE_ADOPT, PHASE_DRAIN, PHASE_GRACE };
	const char *owner, *service, *state_text, *previous;
	struct endpoint e;
	uint32_t want;
	json_t *t;
	size_t i;
	int b;

	endpoint_parse(&e, "192.0.2.9:4711");
	want = jhash_bucket(&e.addr, 4711, true, BUCKETS, SEED);
	table[0][want] = (struct repl_bucket){ .owner = 2, .other = 1, .phase = PHASE_HANDOFF };
	t = ask(TRACE("192.0.2.9:4711", "10.77.0.250:80/tcp"), true);
	assert_int_equal(json_unpack(t, "{s:i, s:s, s:s, s:s, s:n}", "bucket", &b, "service", &service,
				     "owner", &owner, "state", &state_text, "previous"), 0);
	assert_int_equal(b, want);
	assert_string_equal(service, "web");
	assert_string_equal(owner, "n2");
	assert_string_equal(state_text, "foreign");
	assert_string_equal(json_string_value(json_object_get(t, "next")), "n1");
	json_decref(t);

	for (i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		table[0][want] = (struct repl_bucket){ .owner = 1, .other = 2, .phase = moved[i] };
		t = ask(TRACE("192.0.2.9:4711", "10.77.0.250:80/tcp"), true);
		assert_int_equal(json_unpack(t, "{s:s, s:s}", "owner", &owner, "previous", &previous), 0);
		assert_string_equal(owner, "n1");
		assert_string_equal(previous, "n2");
		assert_true(json_is_null(json_object_get(t, "next")));
		json_decref(t);
	}

	/* The owner has lost its lease and the group has not spoken: the heir serves. */
	table[0][want] = (struct repl_bucket){ .owner = 2 };
	lost = node_bit(2);
	heirs = node_bit(3);
	t = ask(TRACE("192.0.2.9:4711", "10.77.0.250:80/tcp"), true);
	assert_int_equal(json_unpack(t, "{s:s, s:s}", "owner", &owner, "previous", &previous), 0);
	assert_string_equal(owner, "n3");
	assert_string_equal(previous, "n2");
	json_decref(t);
	heirs = 0;
	t = ask(TRACE("192.0.2.9:4711", "10.77.0.250:80/tcp"), true);
	assert_true(json_is_null(json_object_get(t, "owner")));
	json_decref(t);
}

static void trace_says_what_is_missing(void **state)
{
	json_t *t;

	refused(TRACE("192.0.2.9:1", "10.77.0.250:80"), "which");
	refused(TRACE("192.0.2.9:1", "10.77.0.250"), "which");
	refused(TRACE("192.0.2.9", "10.77.0.250:80/tcp"), "source port");
	refused(TRACE("192.0.2.9:1", "10.77.0.250:8080"), "no service has that port");
	refused(TRACE("192.0.2.9:1", "10.77.0.251:80"), "not a VIP");
	refused(TRACE("192.0.2.9:1", "[fd77::250]:80"), "family");
	refused(TRACE("300.1.1.1", "10.77.0.250"), "not a client");
	t = ask(TRACE("fd77::9", "[fd77::250]:53"), true);	/* hash = source needs no port */
	assert_string_equal(json_string_value(json_object_get(t, "service")), "dns");
	json_decref(t);
}

static void orders_reach_the_agent(void **state)
{
	json_decref(ask("{\"cmd\":\"drain\",\"args\":[\"n3\"]}", true));
	assert_int_equal(order.type, ORDER_DRAIN);
	assert_int_equal(order.node, 3);
	json_decref(ask("{\"cmd\":\"weight\",\"args\":[\"n2\",\"0\"]}", true));
	assert_int_equal(order.type, ORDER_WEIGHT);
	assert_int_equal(order.value, 0);
	json_decref(ask("{\"cmd\":\"weight\",\"args\":[\"n2\",\"auto\"]}", true));
	assert_int_equal(order.value, ORDER_AUTO);
	json_decref(ask("{\"cmd\":\"failback\"}", true));
	assert_int_equal(order.type, ORDER_FAILBACK);
	assert_int_equal(order.n, 4);
	refused("{\"cmd\":\"weight\",\"args\":[\"n2\",\"1001\"]}", "0..1000");
	refused("{\"cmd\":\"weight\",\"args\":[\"n2\",\"99999999999\"]}", "0..1000");
	refused("{\"cmd\":\"weight\",\"args\":[\"n2\",\"\"]}", "0..1000");
	refused("{\"cmd\":\"weight\",\"args\":[\"n2\",\"5x\"]}", "0..1000");
	refused("{\"cmd\":\"drain\",\"args\":[\"n9\"]}", "n9");
	assert_int_equal(order.n, 4);
	order.err = -EAGAIN;
	refused("{\"cmd\":\"undrain\",\"args\":[\"n3\"]}", "not in step");
	refused("{\"cmd\":\"reload\"}", "nonsense");
}

static void takeover_needs_a_dead_node_and_a_yes(void **state)
{
	refused("{\"cmd\":\"takeover\",\"args\":[\"n1\"],\"yes\":true}", "this node");
	refused("{\"cmd\":\"takeover\",\"args\":[\"n2\"]}", "--yes");
	refused("{\"cmd\":\"takeover\",\"args\":[\"n2\"],\"yes\":true}", "heartbeat");
	assert_int_equal(order.n, 0);
	heard_ms = 400;
	json_decref(ask("{\"cmd\":\"takeover\",\"args\":[\"n2\"],\"yes\":true}", true));
	assert_int_equal(order.type, ORDER_TAKEOVER);
	assert_int_equal(order.node, 2);
}

static void bad_requests_are_answered(void **state)
{
	static const char *const bad[] = {
		"", "x", "[]", "{}", "{\"cmd\":1}", "{\"cmd\":\"stat\"}", "{\"cmd\":\"watch\"}",
		"{\"cmd\":\"status\",\"args\":[\"x\"]}", "{\"cmd\":\"status\",\"args\":1}",
		"{\"cmd\":\"drain\",\"args\":[1]}", "{\"cmd\":\"drain\"}", "{\"cmd\":\"status\",\"x\":1}",
		"{\"cmd\":\"drain\",\"args\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\"]}",
		"{\"cmd\":\"status\",\"follow\":true}", "{\"cmd\":\"events\",\"follow\":1}",
		"{\"cmd\":\"drain\",\"args\":[\"\\u0000\"]}",
	};
	struct client_conn c;
	json_t *reply;
	size_t i;

	/* All over one connection: an error in one request does not end it. */
	dial(&c);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		say(&c, bad[i]);
		say(&c, "\n");
		reply = hear(&c);
		assert_non_null(reply);
		assert_true(json_is_false(json_object_get(reply, "ok")));
		json_decref(reply);
	}
	client_close(&c);
	assert_int_equal(order.n, 0);
}

static void oversized_request_is_refused_and_closed(void **state)
{
	char text[CTL_REQUEST_MAX + 1];
	struct client_conn c;
	json_t *reply;

	memset(text, 'A', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	dial(&c);
	say(&c, text);
	reply = hear(&c);
	assert_non_null(strstr(json_string_value(json_object_get(reply, "error")), "4096"));
	json_decref(reply);
	assert_null(hear(&c));
	client_close(&c);
	assert_int_equal(server_clients(server), 0);
}

/* printf '{"cmd":"status"}\n' | nc -U: the answer comes although the client has said all it will. */
static void half_closed_clients_get_their_answers(void **state)
{
	char text[300 * 20] = "";
	struct client_conn c;
	json_t *reply;
	int i;

	/* More answers than the socket's buffer takes, and all its questions are read long before. */
	dial(&c);
	for (i = 0; i < 300; i++)
		strcat(text, "{\"cmd\":\"status\"}\n");
	say(&c, text);
	shutdown(c.fd, SHUT_WR);
	for (i = 0; i < 300; i++)
		sd_event_run(loop, 0);
	assert_int_equal(server_clients(server), 1);
	for (i = 0; i < 300; i++) {
		reply = hear(&c);
		assert_true(json_is_true(json_object_get(reply, "ok")));
		json_decref(reply);
	}
	assert_null(hear(&c));
	client_close(&c);
	assert_int_equal(server_clients(server), 0);
}

static void too_many_clients_are_told_so(void **state)
{
	struct client_conn c[SERVER_CLIENTS + 1];
	json_t *reply;
	unsigned int i;

	for (i = 0; i <= SERVER_CLIENTS; i++)
		dial(&c[i]);
	assert_int_equal(server_clients(server), SERVER_CLIENTS);
	reply = hear(&c[SERVER_CLIENTS]);
	assert_non_null(strstr(json_string_value(json_object_get(reply, "error")), "too many"));
	json_decref(reply);
	assert_null(hear(&c[SERVER_CLIENTS]));
	for (i = 0; i <= SERVER_CLIENTS; i++)
		client_close(&c[i]);
	for (i = 0; i < 100 && server_clients(server); i++)
		turn(1);
	json_decref(ask("{\"cmd\":\"nodes\"}", true));
}

/* A client that asks and never reads stops being read, and is dropped after the stall time. */
static void slow_client_is_dropped(void **state)
{
	static const char request[] = "{\"cmd\":\"status\"}\n";
	struct client_conn c;
	unsigned int i;
	ssize_t n = 0;

	dial(&c);
	for (i = 0; i < 100000 && n >= 0; i++) {
		n = send(c.fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT);
		sd_event_run(loop, 0);
	}
	assert_int_equal(n, -1);		/* the server held it back */
	assert_int_equal(server_clients(server), 1);
	json_decref(ask("{\"cmd\":\"nodes\"}", true));	/* others are served meanwhile */
	for (i = 0; i < (SERVER_STALL_MS + 3000) / 100 && server_clients(server); i++)
		sd_event_run(loop, 100000);
	assert_int_equal(server_clients(server), 0);
	client_close(&c);
}

static void followers_get_events(void **state)
{
	struct client_conn c;
	json_t *reply, *event;
	unsigned int i;

	for (i = 0; i < EVENTS_KEPT + 10; i++)
		add_event(i, LOG_INFO, "test", "old");
	dial(&c);
	say(&c, "{\"cmd\":\"events\",\"follow\":true}\n");
	reply = hear(&c);
	event = json_object_get(json_object_get(reply, "result"), "events");
	assert_int_equal(json_array_size(event), EVENTS_KEPT);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(event, 0), "seq")), 11);
	json_decref(reply);
	json_decref(ask("{\"cmd\":\"drain\",\"args\":[\"n3\"]}", true));
	reply = hear(&c);
	event = json_object_get(reply, "event");
	assert_int_equal(json_integer_value(json_object_get(event, "seq")), EVENTS_KEPT + 11);
	assert_string_equal(json_string_value(json_object_get(event, "text")), "an order?was given");
	json_decref(reply);
	/* One that does not read is dropped when its backlog is full. */
	for (i = 0; i < 20000; i++)
		add_event(i, LOG_INFO, "test", "a flood of events for a slow follower");
	for (i = 0; i < 30 && server_clients(server); i++)
		sd_event_run(loop, 100000);
	assert_int_equal(server_clients(server), 0);
	client_close(&c);
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

static void tables_read_well(void **state)
{
	char *text;

	node[3].drain = true;
	text = rendered(CMD_STATUS, "{\"cmd\":\"status\"}");
	assert_string_equal(text,
		"cluster web   quorate   epoch 17   digest 00000000f2c0ffee   coordinator n1\n"
		"this node n1   serving   lease 112 of 150 ms\n"
		"\n"
		"NODE  ADDRESS    STATE     WEIGHT  SHARE  BUCKETS  LOAD      HEARD  REMARK\n"
		"n1    10.77.0.1  online       100  34.4%       44  0.04  this node  \n"
		"n2    10.77.0.2  online       100  32.8%       42     -  12 ms ago  \n"
		"n3    10.77.0.3  drained  0 (100)  32.8%       42     -  12 ms ago  \n"
		"\n"
		"SERVICE  VIP                     PORTS      DISPATCH  HASH         SCHEDULER  MOVING  BUCKETS\n"
		"web      10.77.0.250, fd77::250  tcp/80     flood     source-port  hash            0  n1 22, n2 21, n3 21\n"
		"dns      10.77.0.250, fd77::250  udp/53-80  flood     source       hash            0  n1 22, n2 21, n3 21\n");
	free(text);
	agent_now.fenced = true;
	agent_now.quorate = false;
	agent_now.why_silent = "no majority of the nodes grants a lease";
	text = rendered(CMD_STATUS, "{\"cmd\":\"status\"}");
	assert_non_null(strstr(text, "NOT QUORATE"));
	assert_non_null(strstr(text, "SILENT: no majority of the nodes grants a lease\n"));
	free(text);
	text = rendered(CMD_SERVICES, "{\"cmd\":\"services\"}");
	assert_non_null(strstr(text, "web           -                 5        6          7        8\n"));
	assert_non_null(strstr(text, "dns           -                 -        -          -        -\n"));
	free(text);
}

static int serve(const char *at)
{
	snprintf(path, sizeof(path), "%s", at);
	if (setup(NULL))
		return 1;
	addr_parse(&flow_now[0].client, "192.0.2.9");
	addr_parse(&flow_now[0].vip, "10.77.0.250");
	flow_now[0].proto = IPPROTO_TCP;
	flow_now[0].dport = 80;
	for (n_flows = 0; n_flows < 4; n_flows++) {	/* at least two of them in buckets of others */
		flow_now[n_flows] = flow_now[0];
		flow_now[n_flows].sport = (uint16_t)(5000 + n_flows);
	}
	add_event(1700000000123, LOG_WARNING, "STARTED", "the made-up daemon runs");
	printf("ready\n");
	fflush(stdout);
	while (getppid() != 1 && sd_event_run(loop, 1000000) >= 0)
		;
	return teardown(NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(socket_is_private, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_socket_is_replaced_a_file_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers_are_turned_away, setup, teardown),
		cmocka_unit_test_setup_teardown(status_keeps_the_contract, setup, teardown),
		cmocka_unit_test_setup_teardown(buckets_add_up, setup, teardown),
		cmocka_unit_test(endpoints),
		cmocka_unit_test_setup_teardown(trace_follows_the_table, setup, teardown),
		cmocka_unit_test_setup_teardown(trace_says_what_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(orders_reach_the_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(takeover_needs_a_dead_node_and_a_yes, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_requests_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(oversized_request_is_refused_and_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(half_closed_clients_get_their_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_clients_are_told_so, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_client_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(followers_get_events, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_read_well, setup, teardown),
	};

	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	return cmocka_run_group_tests_name("ctl", tests, group_setup, group_teardown);
}

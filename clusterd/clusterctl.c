// SPDX-License-Identifier: GPL-2.0-or-later
/* clusterctl: asks clusterd on this node, and does by itself what needs no daemon. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "ctl/client.h"
#include "ctl/doctor.h"
#include "ctl/flowlist.h"
#include "ctl/local.h"
#include "ctl/render.h"
#include "ctl/table.h"
#include "ctl/watch.h"

#define JSON_FLAGS (JSON_INDENT(2) | JSON_REAL_PRECISION(6))
#define WAIT_POLL_MS 500
#define ORDER_POLL_MS 5
#define WAIT_ORDER_MS 10000	/* until an order of ours must have come back from the group */

struct options {
	const char *socket, *conf;
	bool json, wait, yes, follow;
	unsigned int limit;		/* 0: not given */
	unsigned int flags;		/* CTL_*: of the command options that were given */
};

static void print_help(FILE *out)
{
	unsigned int i;
	char left[64];

	fprintf(out, "usage: clusterctl [-s SOCKET] [-c FILE] [--json] COMMAND [ARGUMENT ...]\n\n"
		"Commands (a unique prefix is enough):\n");
	for (i = 0; i < CMDS_N; i++) {
		snprintf(left, sizeof(left), "%s %s", ctl_cmds[i].name, ctl_cmds[i].args);
		fprintf(out, "  %-32s %s\n", left, ctl_cmds[i].help);
	}
	fprintf(out, "\nOptions:\n"
		"  -c, --config FILE   configuration for check, doctor and corosync-conf\n"
		"                      (" CONF_PATH ")\n"
		"  -s, --socket PATH   control socket (" CTL_SOCKET ")\n"
		"      --json          machine-readable output, where a command prints state\n"
		"      --wait          drain: until the node is drained\n"
		"      --yes           takeover: you have made sure that the node is dead\n"
		"      --follow        events: go on with new ones\n"
		"      --limit N       flows: print at most so many (1000)\n"
		"  -V, --version       print the version\n"
		"  -h, --help          print this list\n\n"
		"Exit status: 0 done, 1 refused or failed, 2 usage.\n");
}

static int usage_error(const char *what, const char *problem)
{
	fprintf(stderr, "clusterctl: %s: %s; see 'clusterctl help'\n", what, problem);
	return CTL_USAGE;
}

/* Says what would have been valid. */
static int unknown_command(const char *name, unsigned int matches)
{
	size_t len = matches ? strlen(name) : 0;
	unsigned int i;

	fprintf(stderr, matches ? "clusterctl: '%s' may be any of:" :
		"clusterctl: there is no command '%s'; there are:", name);
	for (i = 0; i < CMDS_N; i++)
		if (!strncmp(ctl_cmds[i].name, name, len))
			fprintf(stderr, " %s", ctl_cmds[i].name);
	fputc('\n', stderr);
	return CTL_USAGE;
}

static int out_of_memory(void)
{
	fprintf(stderr, "clusterctl: out of memory\n");
	return CTL_FAILED;
}

/* What was printed must have arrived: a full disk is a failure, a pager that was left is none. */
static int finish(int code)
{
	if ((fflush(stdout) || ferror(stdout)) && errno != EPIPE) {
		fprintf(stderr, "clusterctl: cannot write: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	return code;
}

static void print_result(const struct options *o, enum ctl_id cmd, const json_t *result)
{
	struct render r;

	if (o->json) {
		json_dumpf(result, stdout, JSON_FLAGS);
		putchar('\n');
		return;
	}
	render_init(&r, stdout);
	render_result(&r, cmd, result);
}

/* Asks once; CTL_DONE with '*result', or the exit status after the error was printed. */
static int ask(struct client_conn *c, const json_t *request, json_t **result)
{
	char *error = NULL;
	int code = client_call(c, request, result, &error);

	if (code != CTL_DONE)
		fprintf(stderr, "clusterctl: %s\n", error ? error : "out of memory");
	free(error);
	return code;
}

static const json_t *find_node(const json_t *nodes, const char *name)
{
	const json_t *n;
	size_t i;

	json_array_foreach(json_object_get(nodes, "nodes"), i, n) {
		const char *this = json_string_value(json_object_get(n, "name"));

		if (this && !strcmp(this, name))
			return n;
	}
	return NULL;
}

/* Until the order has come back from the group: what is asked next shall show it. */
static int wait_ordered(struct client_conn *c, json_int_t number)
{
	json_t *request = json_pack("{s:s}", "cmd", "status"), *status;
	unsigned int waited_ms = 0;
	int code = -1;

	while (code < 0) {
		status = NULL;
		code = ask(c, request, &status);
		if (code)
			break;
		const json_t *done = json_object_get(json_object_get(status, "cluster"), "orders_done");

		if (json_integer_value(done) < number) {
			code = -1;
			usleep(ORDER_POLL_MS * 1000);
			waited_ms += ORDER_POLL_MS;
		}
		json_decref(status);
		if (code < 0 && waited_ms > WAIT_ORDER_MS) {
			fprintf(stderr, "clusterctl: the group has not confirmed the order\n");
			code = CTL_FAILED;
		}
	}
	json_decref(request);
	return code;
}

/*
 * Polls until the node is drained.  The order comes back through the group, so at first the node
 * may still be online; once it was draining, online again means that somebody undid the order.
 */
static int wait_drained(struct client_conn *c, const char *name)
{
	json_t *request = json_pack("{s:s}", "cmd", "nodes"), *nodes;
	bool seen = false, tty = isatty(STDERR_FILENO);
	unsigned int waited_ms = 0;
	int code = -1, err;

	while (code < 0) {
		const json_t *n;
		const char *state;

		nodes = NULL;
		err = ask(c, request, &nodes);
		if (err) {
			code = err;
			break;
		}
		n = find_node(nodes, name);
		state = json_string_value(json_object_get(n, "state"));
		seen |= json_is_true(json_object_get(n, "drain"));
		if (state && !strcmp(state, "drained")) {
			code = CTL_DONE;
		} else if (!state || !strcmp(state, "offline") || !strcmp(state, "failed")) {
			fprintf(stderr, "%sclusterctl: %s is %s\n", tty ? "\r\033[K" : "", name,
				state ? state : "gone");
			code = CTL_FAILED;
		} else if (!json_is_true(json_object_get(n, "drain")) &&
			   (seen || waited_ms > WAIT_ORDER_MS)) {
			fprintf(stderr, "%sclusterctl: %s\n", tty ? "\r\033[K" : "", seen ?
				"the order was taken back" : "the group has not confirmed the order");
			code = CTL_FAILED;
		} else {
			if (tty)
				fprintf(stderr, "\r\033[K%s is %s, %lld buckets left", name, state,
					(long long)json_integer_value(json_object_get(n, "buckets")));
			usleep(WAIT_POLL_MS * 1000);
			waited_ms += WAIT_POLL_MS;
		}
		json_decref(nodes);
	}
	if (tty && code == CTL_DONE)
		fprintf(stderr, "\r\033[K");
	json_decref(request);
	return code;
}

static int follow(struct client_conn *c, const struct options *o)
{
	char why[CLIENT_WHY_SIZE];
	struct render r;
	json_t *line;
	int err;

	render_init(&r, stdout);
	while (!fflush(stdout)) {
		err = client_next(c, 0, &line, why);
		if (err == -EINTR)
			continue;
		if (err) {
			fprintf(stderr, "clusterctl: %s\n", why);
			return CTL_FAILED;
		}
		if (o->json) {
			json_dumpf(json_object_get(line, "event"), stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			render_event(&r, json_object_get(line, "event"));
		}
		json_decref(line);
	}
	return CTL_DONE;
}

/* As 'follow' prints them: with --json --follow all events are one line each, the old ones too. */
static void print_event_lines(const json_t *result)
{
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(result, "events"), i, e) {
		json_dumpf(e, stdout, JSON_COMPACT);
		putchar('\n');
	}
}

static int cmd_daemon(const struct ctl_cmd *cmd, const struct options *o, char **args, int n_args)
{
	json_t *request, *array = json_array(), *result = NULL;
	char why[CLIENT_WHY_SIZE];
	struct client_conn c;
	int i, code;

	for (i = 0; i < n_args; i++) {
		if (json_array_append_new(array, json_string(args[i]))) {
			json_decref(array);
			return usage_error(cmd->name, "an argument is not UTF-8");
		}
	}
	request = json_pack("{s:s, s:o}", "cmd", cmd->name, "args", array);
	if (!request)
		return out_of_memory();
	if (o->follow)
		json_object_set_new(request, "follow", json_true());
	if (o->yes)
		json_object_set_new(request, "yes", json_true());
	if (o->limit)
		json_object_set_new(request, "limit", json_integer(o->limit));
	if (client_open(&c, o->socket, why)) {
		fprintf(stderr, "clusterctl: %s\n", why);
		json_decref(request);
		return CTL_FAILED;
	}
	code = ask(&c, request, &result);
	json_decref(request);
	const json_t *number = json_object_get(result, "number");

	if (code == CTL_DONE && number)
		code = wait_ordered(&c, json_integer_value(number));
	if (code == CTL_DONE && o->wait)
		code = wait_drained(&c, args[0]);
	if (code == CTL_DONE) {
		if (o->wait && !o->json)
			printf("%s is drained\n", args[0]);
		else if (o->follow && o->json)
			print_event_lines(result);
		else
			print_result(o, cmd->id, result);
	}
	if (code == CTL_DONE && o->follow)
		code = follow(&c, o);
	json_decref(result);
	client_close(&c);
	return code;
}

static int run(const struct ctl_cmd *cmd, const struct options *o, char **args, int n_args)
{
	switch (cmd->id) {
	case CMD_CHECK:
		return local_check(n_args ? args[0] : o->conf, o->json);
	case CMD_DOCTOR:
		return doctor_run(o->conf, o->socket, o->json);
	case CMD_COROSYNC_CONF:
		return local_corosync_conf(o->conf);
	case CMD_WATCH:
		return watch_run(o->socket, o->json);
	case CMD_PLUGINS:
		return local_plugins(o->json);
	case CMD_HELP:
		print_help(stdout);
		return CTL_DONE;
	case CMD_STATUS:
	case CMD_NODES:
	case CMD_SERVICES:
	case CMD_BUCKETS:
	case CMD_TRACE:
	case CMD_FLOWS:
	case CMD_COUNTERS:
	case CMD_DRAIN:
	case CMD_UNDRAIN:
	case CMD_WEIGHT:
	case CMD_FAILBACK:
	case CMD_TAKEOVER:
	case CMD_PLAN:
	case CMD_MONITORS:
	case CMD_CHECKS:
	case CMD_EVENTS:
	case CMD_RELOAD:
		return cmd_daemon(cmd, o, args, n_args);
	case CMDS_N:
		break;
	}
	return CTL_FAILED;
}

/* 0: it is not a number from 1 to the most that the daemon gives. */
static unsigned int parse_limit(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return *text < '0' || *text > '9' || *end || n > FLOWLIST_LIMIT_MAX ? 0 : (unsigned int)n;
}

int main(int argc, char **argv)
{
	enum { OPT_JSON = 256, OPT_WAIT, OPT_YES, OPT_FOLLOW, OPT_LIMIT };
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' }, { "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, OPT_JSON }, { "wait", no_argument, NULL, OPT_WAIT },
		{ "yes", no_argument, NULL, OPT_YES }, { "follow", no_argument, NULL, OPT_FOLLOW },
		{ "limit", required_argument, NULL, OPT_LIMIT },
		{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct options o = { .socket = CTL_SOCKET, .conf = CONF_PATH };
	const struct ctl_cmd *cmd;
	unsigned int matches, n;
	int opt;

	signal(SIGPIPE, SIG_IGN);	/* write errors are looked at instead */
	while ((opt = getopt_long(argc, argv, "c:s:Vh", longs, NULL)) != -1) {
		switch (opt) {
		case 'c': o.conf = optarg; o.flags |= CTL_CONF; break;
		case 's': o.socket = optarg; break;
		case OPT_JSON: o.json = true; o.flags |= CTL_JSON; break;
		case OPT_WAIT: o.wait = true; o.flags |= CTL_WAIT; break;
		case OPT_YES: o.yes = true; o.flags |= CTL_YES; break;
		case OPT_FOLLOW: o.follow = true; o.flags |= CTL_FOLLOW; break;
		case OPT_LIMIT:
			o.flags |= CTL_LIMIT;
			o.limit = parse_limit(optarg);
			if (!o.limit)
				return usage_error(optarg, "--limit takes a number from 1 to 20000");
			break;
		case 'V': puts("clusterctl " VERSION); return finish(CTL_DONE);
		case 'h': print_help(stdout); return finish(CTL_DONE);
		default: return CTL_USAGE;	/* getopt has said why */
		}
	}
	if (optind == argc) {
		print_help(stderr);
		return CTL_USAGE;
	}
	cmd = ctl_cmd_find(argv[optind], true, &matches);
	if (!cmd)
		return unknown_command(argv[optind], matches);
	n = (unsigned int)(argc - optind - 1);
	if (n < cmd->min_args || n > cmd->max_args) {
		fprintf(stderr, "usage: clusterctl %s %s\n", cmd->name, cmd->args);
		return CTL_USAGE;
	}
	if (o.flags & ~cmd->flags)
		return usage_error(cmd->name, "it does not know one of these options");
	return finish(run(cmd, &o, argv + optind + 1, (int)n));
}

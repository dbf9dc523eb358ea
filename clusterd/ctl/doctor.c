// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/grid.h"
#include "ctl/proto.h"
#include "ctl/render.h"

#define POLL_MS 200
#define WAIT_MS 10000		/* for the daemon's tests, which take a second or two */

/* Too large for a stack by taste. */
struct visit {
	struct conf conf;
	struct conf_errors errs;
	struct doctor_facts facts;
	struct doctor doctor;
};

/* The daemon's results, or NULL with a finding. */
static json_t *ask_network(struct visit *v, const char *socket)
{
	json_t *request = json_pack("{s:s}", "cmd", "doctor"), *net = NULL;
	char why[CLIENT_WHY_SIZE], *error = NULL;
	struct client_conn c;
	unsigned int waited;

	if (client_open(&c, socket, why)) {
		doctor_add(&v->doctor, DOCTOR_PROBLEM, "clusterd", "this node serves nothing, and "
			   "the network between the nodes was not tried", "systemctl enable --now "
			   "clusterd", "%s", why);
		json_decref(request);
		return NULL;
	}
	v->facts.daemon = 1;
	for (waited = 0; waited < WAIT_MS; waited += POLL_MS) {
		json_decref(net);
		net = NULL;
		if (client_call(&c, request, &net, &error))
			break;
		if (!json_is_true(json_object_get(net, "running")))
			break;
		usleep(POLL_MS * 1000);
	}
	if (!net)
		doctor_add(&v->doctor, DOCTOR_PROBLEM, "clusterd", "the network between the nodes "
			   "was not tried", "see the log of clusterd; its version must be the one "
			   "of clusterctl", "%s", error ? error : "clusterd gave no answer");
	free(error);
	client_close(&c);
	json_decref(request);
	return net;
}

static void print_json(const struct visit *v, json_t *net)
{
	json_t *list = json_array(), *o;

	for (unsigned int i = 0; i < v->doctor.n; i++) {
		const struct doctor_finding *f = &v->doctor.finding[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:o, s:s}", "level",
			doctor_level_str(f->level), "topic", f->topic, "found", f->what,
			"why", f->why[0] ? json_string(f->why) : json_null(),
			"change", f->change[0] ? json_string(f->change) : json_null(),
			"services", f->services));
	}
	o = json_pack("{s:i, s:i, s:o, s:O?}", "problems",
		      (int)doctor_count(&v->doctor, DOCTOR_PROBLEM), "hints",
		      (int)doctor_count(&v->doctor, DOCTOR_HINT), "findings", list, "network", net);
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

static void print_finding(const struct render *r, const struct doctor_finding *f)
{
	static const enum colour colours[] = {
		[DOCTOR_GOOD] = GREEN, [DOCTOR_HINT] = YELLOW, [DOCTOR_PROBLEM] = RED,
	};

	fprintf(r->out, "%s%-7s%s  %-9s  %s%s%s%s\n", colour_on(colours[f->level], r->colours),
		doctor_level_str(f->level), colour_off(r->colours), f->topic, f->what,
		f->services[0] ? " (service " : "", f->services, f->services[0] ? ")" : "");
	if (f->why[0])
		fprintf(r->out, "%20swhy:    %s\n", "", f->why);
	if (f->change[0])
		fprintf(r->out, "%20schange: %s\n", "", f->change);
}

static void print_text(const struct visit *v)
{
	unsigned int problems = doctor_count(&v->doctor, DOCTOR_PROBLEM);
	unsigned int hints = doctor_count(&v->doctor, DOCTOR_HINT);
	struct render r;

	render_init(&r, stdout);
	for (unsigned int i = 0; i < v->doctor.n; i++)
		print_finding(&r, &v->doctor.finding[i]);
	printf("\n%u problem%s, %u hint%s\n", problems, problems == 1 ? "" : "s", hints,
	       hints == 1 ? "" : "s");
}

int doctor_run(const char *conf_path, const char *socket, bool json)
{
	struct visit *v = calloc(1, sizeof(*v));
	json_t *net;
	int code = CTL_USAGE;

	if (!v) {
		fprintf(stderr, "clusterctl: out of memory\n");
		return CTL_FAILED;
	}
	if (conf_read(&v->conf, conf_path, &v->errs)) {
		conf_errors_print(&v->errs, conf_path, stderr);
		goto out;
	}
	doctor_look(&v->facts, &v->conf);
	net = ask_network(v, socket);
	doctor_judge(&v->doctor, &v->conf, &v->facts);
	if (net)
		doctor_judge_net(&v->doctor, &v->conf, v->facts.own_mtu, net);
	if (json)
		print_json(v, net);
	else
		print_text(v);
	json_decref(net);
	code = v->doctor.failed || doctor_count(&v->doctor, DOCTOR_PROBLEM) ? CTL_FAILED : CTL_DONE;
	doctor_free(&v->doctor);
out:
	free(v);
	return code;
}

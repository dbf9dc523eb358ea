// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/local.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "ctl/proto.h"
#include "ctl/render.h"
#include "io/rules.h"
#include "plug/registry.h"

/* Too large for a stack by taste; one allocation for both. */
struct reading {
	struct conf conf;
	struct conf_errors errs;
};

static struct reading *reading_new(void)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (!r)
		fprintf(stderr, "clusterctl: out of memory\n");
	return r;
}

static json_t *errors_json(const struct conf_errors *errs)
{
	json_t *array = json_array();
	unsigned int i;

	for (i = 0; i < errs->n && i < CONF_ERRORS_MAX; i++)
		json_array_append_new(array, json_pack("{s:i, s:s, s:s, s:s}",
						       "line", (int)errs->e[i].line,
						       "section", errs->e[i].section,
						       "key", errs->e[i].key,
						       "reason", errs->e[i].reason));
	return array;
}

static void check_json(const struct reading *r, const char *path, bool bad, const char *kernel)
{
	json_t *o = json_pack("{s:{s:s, s:b, s:o}, s:{s:b, s:o}}", "config", "file", path,
			      "ok", !bad, "errors", errors_json(&r->errs),
			      "kernel", "ok", !kernel, "why",
			      kernel ? json_string(kernel) : json_null());

	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

int local_check(const char *path, bool json)
{
	struct reading *r = reading_new();
	const char *kernel = NULL;
	char why[512] = "";
	bool bad;
	int err;

	if (!r)
		return CTL_FAILED;
	bad = conf_read(&r->conf, path, &r->errs) || !registry_check_conf(&r->conf, &r->errs);
	err = rules_probe(why, sizeof(why));
	if (err)
		kernel = why[0] ? why : strerror(-err);
	if (json) {
		check_json(r, path, bad, kernel);
	} else {
		if (bad)
			conf_errors_print(&r->errs, path, stderr);
		else
			printf("%s: good (cluster %s; nodes: %u, services: %u, buckets: %u)\n",
			       path, r->conf.name, r->conf.n_nodes, r->conf.n_services,
			       r->conf.buckets);
		if (kernel)
			fprintf(stderr, "this kernel: %s\n", kernel);
		else
			printf("this kernel: has all that is needed\n");
	}
	free(r);
	if (bad)
		return CTL_USAGE;
	return kernel ? CTL_FAILED : CTL_DONE;
}

int local_corosync_conf(const char *path)
{
	struct reading *r = reading_new();
	int code = CTL_DONE;

	if (!r)
		return CTL_FAILED;
	if (conf_read(&r->conf, path, &r->errs)) {
		conf_errors_print(&r->errs, path, stderr);
		code = CTL_USAGE;
	} else {
		conf_corosync(&r->conf, stdout);
	}
	free(r);
	return code;
}

/* Names come from files: what is no UTF-8 is no plugin of ours, and no reason to stop. */
static void add_plugin(void *arg, const struct registry_entry *e)
{
	json_t *o = json_pack("{s:s, s:s, s:s*, s:s*, s:s, s:b, s:s*}", "kind",
			      registry_kind_str(e->kind), "name", e->name, "version", e->version,
			      "summary", e->summary, "file", e->file, "usable", !e->why, "why", e->why);

	if (o)
		json_array_append_new(arg, o);
}

int local_plugins(bool json)
{
	json_t *list = json_array(), *o;
	struct render r;

	registry_list(add_plugin, list);
	o = json_pack("{s:o}", "plugins", list);
	if (!o) {
		fprintf(stderr, "clusterctl: out of memory\n");
		return CTL_FAILED;
	}
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		render_init(&r, stdout);
		render_result(&r, CMD_PLUGINS, o);
	}
	json_decref(o);
	return CTL_DONE;
}

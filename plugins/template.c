/* SPDX-License-Identifier: MIT */
/*
 * The smallest complete monitor, to be copied: clusterd-plugin(7) says how to go on from here.
 * It reports the load average of the last minute; "full" is the one that counts as 1000.
 *
 *     [monitor template]
 *     full = 8
 *
 * Built by the Makefile as build/plugins/monitor-template.so; it is not installed.  Outside the tree:
 *
 *     gcc -O2 -fPIC -shared -I/usr/include/clusterd -o monitor-template.so template.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The only header of clusterd that a plugin includes. */
#include "plug/plugin.h"

/* One instance: one [monitor] section.  There may be several of one plugin: no static variables. */
struct template {
	const struct clusterd_host *host;	/* what we may ask for */
	struct clusterd_inst *inst;		/* who we are; first argument of all that 'host' offers */
	unsigned long full;
};

/* The options of the section: validate() and open() see the same ones. */
static int read_options(const struct clusterd_option *opt, size_t n, unsigned long *full,
			const char **bad, char *err, size_t err_size)
{
	char *end;
	size_t i;

	*full = 8;
	for (i = 0; i < n; i++) {
		*bad = opt[i].key;
		if (strcmp(opt[i].key, "full") != 0) {
			snprintf(err, err_size, "unknown key; template has: full");
			return -EINVAL;
		}
		*full = strtoul(opt[i].value, &end, 10);
		if (end == opt[i].value || *end || *full < 1 || *full > 10000) {
			snprintf(err, err_size, "must be a number from 1 to 10000");
			return -EINVAL;
		}
	}
	*bad = NULL;
	return 0;
}

/*
 * Are the options right?  Looks at nothing else: 'clusterctl check' calls it on machines that are
 * no node.  Must refuse what it does not know: a key with a typing error must not go unnoticed.
 */
static int template_validate(const struct clusterd_option *opt, size_t n, const char **bad,
			     char *err, size_t err_size)
{
	unsigned long full;

	return read_options(opt, n, &full, bad, err, err_size);
}

/*
 * The daemon starts, or a reload brought the section: makes the instance.  Opens what it needs; on
 * failure it leaves nothing behind and returns why: clusterd logs that and tries again.
 */
static int template_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
			 const struct clusterd_option *opt, size_t n)
{
	struct template *t = calloc(1, sizeof(*t));
	const char *bad;
	char err[64];

	if (!t)
		return -ENOMEM;
	t->host = host;
	t->inst = inst;
	if (read_options(opt, n, &t->full, &bad, err, sizeof(err)) < 0) {
		free(t);
		return -EINVAL;
	}
	/* A node of twice the capacity is full at twice the load. */
	t->full = t->full * host->capacity(inst) / 100;
	if (t->full < 1)
		t->full = 1;
	*priv = t;
	return 0;
}

/* The daemon ends, or the section is gone: the last call. */
static void template_close(void *priv)
{
	free(priv);
}

/*
 * Time to look, once per 'interval'.  Answers with report(), here or later, but never waits: a
 * monitor that asks somebody over a socket sends its question here, has host->watch() tell when the
 * answer is there, and reports in io().  A file of /proc may be read at once.
 */
static void template_start(void *priv, int timeout_ms)
{
	struct template *t = priv;
	double average = 0;
	char why[64];
	FILE *f;
	int n;

	(void)timeout_ms;	/* it answers at once */
	f = fopen("/proc/loadavg", "re");
	n = f ? fscanf(f, "%lf", &average) : 0;
	if (f)
		fclose(f);
	if (n != 1) {
		/* No report: what was reported last goes on to count for a while. */
		t->host->log(t->inst, 3 /* LOG_ERR */, "/proc/loadavg cannot be read");
		return;
	}
	snprintf(why, sizeof(why), "load average %.2f of %lu", average, t->full);
	/* 0: idle, 1000: full.  clusterd cuts off what is beyond. */
	t->host->report(t->inst, average < t->full ? (int)(average * 1000 / t->full) : 1000, why);
}

static const struct clusterd_observer_ops template_ops = {
	.validate = template_validate,
	.open = template_open,
	.close = template_close,
	.start = template_start,
	/* Not needed here, so NULL, as everything that is not named:
	 * .stop	checks only: give up what start() began, its time is over
	 * .io		an fd given to host->watch() is ready
	 * .timer	the time set with host->timer() has come
	 * .done	the program started with host->run() has ended
	 */
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "template",		/* the file is KIND-NAME.so */
	.version = "1",
	.summary = "load average, as an example of a plugin",
	.observer = &template_ops,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'psi', pressure stall information: the share of time in which work stood still for want of
 * processors, memory or the disk.
 *
 * value = 1000 * (growth of 'total' between two looks) / elapsed, of the line 'kind' in
 * /proc/pressure/RESOURCE, or in RESOURCE.pressure of a control group of version 2.  The kernel brings
 * 'total' up to date when it is read (kernel/sched/psi.c: psi_show), so this is the pressure of just
 * that time; its own avg10 still shows what ended ten seconds ago, and would delay the policy's loop.
 *
 * 'some': at least one task waited.  'full': all that were not idle waited, nothing was done.
 */

#include "monitor.h"

struct psi {
	struct mon m;
	struct mon_file file;
	const char *kind, *resource;
	bool seen;
	uint64_t total_us;
	int64_t at;
};

static const char *const resources[] = { "cpu", "memory", "io", NULL };
static const char *const kinds[] = { "some", "full", NULL };

static const char *one_of(const char *const *list, const char *value)
{
	while (*list && strcmp(*list, value) != 0)
		list++;
	return *list;
}

static bool is_resource(const char *value)
{
	return one_of(resources, value);
}

static bool is_kind(const char *value)
{
	return one_of(kinds, value);
}

static const struct mon_key psi_keys[] = {
	{ "resource", false, is_resource, "must be cpu, memory or io" },
	{ "kind", false, is_kind, "must be some or full" },
	{ "cgroup", false, mon_is_cgroup, MON_MUST_CGROUP },
};

static const char *resource_of(const struct clusterd_option *opt, size_t n)
{
	const char *v = mon_option(opt, n, "resource");

	return v ? one_of(resources, v) : "cpu";
}

static const char *kind_of(const struct clusterd_option *opt, size_t n)
{
	const char *v = mon_option(opt, n, "kind");

	return v ? one_of(kinds, v) : "some";
}

static int psi_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			size_t size)
{
	int r = mon_validate(psi_keys, sizeof(psi_keys) / sizeof(psi_keys[0]), opt, n, bad, err, size);

	if (r < 0)
		return r;
	/* Documentation/accounting/psi.rst: "CPU full is undefined at the system level" and always 0. */
	if (strcmp(resource_of(opt, n), "cpu") == 0 && strcmp(kind_of(opt, n), "full") == 0 &&
	    !mon_option(opt, n, "cgroup")) {
		*bad = "kind";
		snprintf(err, size, "'full' of the machine's processors is always 0: use 'some', or name a 'cgroup'");
		return -EINVAL;
	}
	return 0;
}

static void psi_close(void *priv)
{
	struct psi *p = priv;

	mon_close(&p->file);
	free(p);
}

static int psi_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		    const struct clusterd_option *opt, size_t n)
{
	const char *dir = mon_option(opt, n, "cgroup");
	struct psi *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->m.host = host;
	p->m.inst = inst;
	p->resource = resource_of(opt, n);
	p->kind = kind_of(opt, n);
	r = dir ? mon_open(&p->file, "%s/%s.pressure", dir, p->resource) :
		  mon_open(&p->file, "/proc/pressure/%s", p->resource);
	if (r < 0) {
		host->log(inst, LOG_ERR, "%s: %s%s", p->file.path, strerror(-r),
			  dir ? "" : "; the kernel needs CONFIG_PSI, and maybe psi=1 on its command line");
		psi_close(p);
		return r;
	}
	*priv = p;
	return 0;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123" */
static int read_total(struct psi *p, uint64_t *total)
{
	size_t len = strlen(p->kind);
	struct mon_lines l;
	const char *s;

	mon_lines(&l, &p->file);
	while ((s = mon_line(&l))) {
		if (strncmp(s, p->kind, len) != 0 || s[len] != ' ')
			continue;
		s = strstr(s, " total=");
		return s && mon_field(s + 1, "total", total) ? 0 : -EPROTO;
	}
	return l.err < 0 ? l.err : -EPROTO;
}

static void psi_start(void *priv, int timeout_ms)
{
	struct psi *p = priv;
	int64_t now = p->m.host->now_ms(p->m.inst), elapsed = mon_elapsed(p->seen, now, p->at);
	uint64_t total = 0;
	int r, value;
	char why[96];

	(void)timeout_ms;
	if (elapsed == 0)
		return;
	r = read_total(p, &total);
	if (r < 0) {
		if (r == -EPROTO)
			mon_trouble(&p->m, "%s: no line '%s' with a total", p->file.path, p->kind);
		else
			mon_trouble(&p->m, "%s: %s", p->file.path, strerror(-r));
		p->seen = false;
		return;
	}
	if (elapsed > 0 && total >= p->total_us) {
		value = mon_per_mille(mon_grown(total, p->total_us), (uint64_t)elapsed * 1000);
		snprintf(why, sizeof(why), "%s waited for %s %d.%d %% of the time",
			 p->kind[0] == 's' ? "some" : "all", p->resource, value / 10, value % 10);
		mon_report(&p->m, value, why);
	}
	p->total_us = total;
	p->at = now;
	p->seen = true;
}

static const struct clusterd_observer_ops psi_ops = {
	.validate = psi_validate,
	.open = psi_open,
	.close = psi_close,
	.start = psi_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "psi",
	.version = "1",
	.summary = "share of time in which work stood still for want of processors, memory or disk",
	.observer = &psi_ops,
};

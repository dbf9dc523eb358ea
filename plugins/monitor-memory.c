/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'memory': how much memory is taken.
 *
 * Of the machine: value = 1000 * (1 - MemAvailable / MemTotal), from /proc/meminfo.  Pages swapped
 * in or out since the last look (pswpin, pswpout of /proc/vmstat) raise it to 900 at least: memory is
 * short already, whatever the figures say.
 *
 * With 'cgroup': value = 1000 * (1 - free / limit), free = limit - (usage - inactive file pages): what the
 * kernel can drop without a loss is free, as in MemAvailable.  Version 2: memory.max, memory.current,
 * inactive_file of memory.stat.  Version 1: memory.limit_in_bytes, memory.usage_in_bytes,
 * total_inactive_file.  A group without a limit may have all of MemTotal.  Swapping is told by pswpin
 * and pswpout of memory.stat, and where the kernel does not count these, by how much the group's swap has
 * grown (memory.swap.current; total_swap).
 *
 * Facts: MEM_FREE_KB = MemAvailable, or the group's 'free'.  SWAPPING = those pages.
 */

#include "monitor.h"

#define SWAPPING_VALUE 900
#define UNKNOWN UINT64_MAX

struct memory {
	struct mon m;
	bool group, v2, has_swap;
	struct mon_file info, vmstat;		/* the machine */
	struct mon_file usage, limit, stat;	/* a group */
	struct mon_file swap;			/* if has_swap */
	uint64_t total_kb;			/* of the machine, at open */
	uint64_t page_size;
	bool swap_seen;
	uint64_t swapped;			/* pages, ever; of a group maybe its swap in pages */
	bool no_vmstat;				/* that was said */
};

static const struct mon_key memory_keys[] = {
	{ "cgroup", false, mon_is_cgroup, MON_MUST_CGROUP },
};

static int memory_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			   size_t size)
{
	return mon_validate(memory_keys, 1, opt, n, bad, err, size);
}

static void memory_close(void *priv)
{
	struct memory *p = priv;

	mon_close(&p->info);
	mon_close(&p->vmstat);
	mon_close(&p->usage);
	mon_close(&p->limit);
	mon_close(&p->stat);
	mon_close(&p->swap);
	free(p);
}

/* kB; what is not in it is UNKNOWN. */
static int read_info(struct memory *p, uint64_t *total, uint64_t *available)
{
	struct mon_lines l;
	const char *s;

	*total = *available = UNKNOWN;
	mon_lines(&l, &p->info);
	while ((*total == UNKNOWN || *available == UNKNOWN) && (s = mon_line(&l)))
		if (!mon_field(s, "MemTotal", total))
			mon_field(s, "MemAvailable", available);
	return l.err;
}

static int open_group(struct memory *p, const char *dir)
{
	uint64_t available;
	int r;

	p->v2 = mon_open(&p->usage, "%s/memory.usage_in_bytes", dir) < 0;
	if (p->v2) {
		r = mon_open(&p->usage, "%s/memory.current", dir);
		if (r < 0) {
			p->m.host->log(p->m.inst, LOG_ERR, "%s: no control group with the controller of memory: "
				       "it has neither memory.current nor memory.usage_in_bytes (%s)",
				       dir, strerror(-r));
			return r;
		}
	}
	r = mon_open_or_say(&p->m, &p->limit, p->v2 ? "%s/memory.max" : "%s/memory.limit_in_bytes", dir);
	if (r == 0)
		r = mon_open_or_say(&p->m, &p->stat, "%s/memory.stat", dir);
	if (r == 0)
		r = mon_open_or_say(&p->m, &p->info, "/proc/meminfo");
	if (r < 0)
		return r;
	r = read_info(p, &p->total_kb, &available);
	if (r < 0 || p->total_kb == UNKNOWN || p->total_kb > UINT64_MAX / 1024) {
		p->m.host->log(p->m.inst, LOG_ERR, "/proc/meminfo: %s", r < 0 ? strerror(-r) : "no MemTotal in it");
		return r < 0 ? r : -EPROTO;
	}
	mon_close(&p->info);
	p->has_swap = p->v2 && mon_open(&p->swap, "%s/memory.swap.current", dir) == 0;
	return 0;
}

static int memory_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		       const struct clusterd_option *opt, size_t n)
{
	const char *dir = mon_option(opt, n, "cgroup");
	struct memory *p = calloc(1, sizeof(*p));
	long page = sysconf(_SC_PAGESIZE);
	int r;

	if (!p)
		return -ENOMEM;
	p->m.host = host;
	p->m.inst = inst;
	p->info.fd = p->vmstat.fd = p->usage.fd = p->limit.fd = p->stat.fd = p->swap.fd = -1;
	p->group = dir != NULL;
	p->page_size = page > 0 ? (uint64_t)page : 4096;
	if (dir) {
		r = open_group(p, dir);
	} else {
		r = mon_open_or_say(&p->m, &p->info, "/proc/meminfo");
		mon_open(&p->vmstat, "/proc/vmstat");	/* without it swapping is not seen: said at a look */
	}
	if (r < 0) {
		memory_close(p);
		return r;
	}
	*priv = p;
	return 0;
}

/* 'pages': a count that grows; UNKNOWN: there is none.  Pages since the last look. */
static uint64_t swapping(struct memory *p, uint64_t pages)
{
	uint64_t more = p->swap_seen && pages != UNKNOWN ? mon_grown(pages, p->swapped) : 0;

	p->swap_seen = pages != UNKNOWN;
	p->swapped = pages;
	return more;
}

static uint64_t both(uint64_t in, uint64_t out)
{
	return in == UNKNOWN || out == UNKNOWN || in > UINT64_MAX / 2 || out > UINT64_MAX / 2 ?
		UNKNOWN : in + out;
}

/* In KiB. */
static void tell(struct memory *p, uint64_t free_kb, uint64_t total_kb, uint64_t swapped)
{
	int value = 1000 - mon_per_mille(free_kb, total_kb);
	char why[96];

	if (swapped && value < SWAPPING_VALUE)
		value = SWAPPING_VALUE;
	snprintf(why, sizeof(why), "%llu of %llu MB free%s", (unsigned long long)free_kb / 1024,
		 (unsigned long long)total_kb / 1024, swapped ? ", swapping" : "");
	p->m.host->fact(p->m.inst, CLUSTERD_MEM_FREE_KB, free_kb);
	p->m.host->fact(p->m.inst, CLUSTERD_SWAPPING, swapped);
	mon_report(&p->m, value, why);
}

static uint64_t vmstat_pages(struct memory *p)
{
	uint64_t in = UNKNOWN, out = UNKNOWN;
	struct mon_lines l;
	const char *s;

	mon_lines(&l, &p->vmstat);
	while ((in == UNKNOWN || out == UNKNOWN) && (s = mon_line(&l)))
		if (!mon_field(s, "pswpin", &in))
			mon_field(s, "pswpout", &out);
	if ((in == UNKNOWN || out == UNKNOWN) && !p->no_vmstat) {
		p->no_vmstat = true;
		p->m.host->log(p->m.inst, LOG_WARNING, "/proc/vmstat: %s: swapping is not seen",
			       l.err ? strerror(-l.err) : "no pswpin and pswpout in it");
	}
	return both(in, out);
}

static void look_machine(struct memory *p)
{
	uint64_t total, available;
	int r = read_info(p, &total, &available);

	if (r < 0 || total == UNKNOWN || available == UNKNOWN || !total || total > UINT64_MAX / 2000) {
		mon_trouble(&p->m, "/proc/meminfo: %s",
			    r < 0 ? strerror(-r) : "no MemTotal and MemAvailable in it that could be true");
		return;
	}
	tell(p, available < total ? available : total, total, swapping(p, vmstat_pages(p)));
}

static int read_group(struct memory *p, uint64_t *usage, uint64_t *limit, uint64_t *inactive,
		      uint64_t *pages)
{
	uint64_t in = UNKNOWN, out = UNKNOWN, swap = UNKNOWN;
	struct mon_lines l;
	const char *s;
	int r = mon_read_number(&p->usage, usage);

	if (r < 0)
		return r;
	r = mon_read_number(&p->limit, limit);
	if (r < 0)
		return r;
	*inactive = UNKNOWN;
	mon_lines(&l, &p->stat);
	while ((s = mon_line(&l))) {
		mon_field(s, p->v2 ? "inactive_file" : "total_inactive_file", inactive);
		mon_field(s, "pswpin", &in);
		mon_field(s, "pswpout", &out);
		mon_field(s, "total_swap", &swap);
	}
	if (l.err < 0)
		return l.err;
	*pages = both(in, out);
	if (*pages == UNKNOWN && p->has_swap && mon_read_number(&p->swap, &swap) < 0)
		swap = UNKNOWN;
	if (*pages == UNKNOWN && swap != UNKNOWN)
		*pages = swap / p->page_size;
	return *inactive == UNKNOWN ? -EPROTO : 0;
}

static void look_group(struct memory *p)
{
	uint64_t usage, limit, inactive, pages;
	int r = read_group(p, &usage, &limit, &inactive, &pages);

	if (r < 0) {
		mon_trouble(&p->m, "%s: %s", p->usage.path,
			    r == -EPROTO ? "usage, limit or statistics are not what was expected" :
					   strerror(-r));
		p->swap_seen = false;
		return;
	}
	if (limit > p->total_kb * 1024)
		limit = p->total_kb * 1024;
	usage = usage > inactive ? usage - inactive : 0;
	tell(p, usage < limit ? (limit - usage) / 1024 : 0, limit / 1024, swapping(p, pages));
}

static void memory_start(void *priv, int timeout_ms)
{
	struct memory *p = priv;

	(void)timeout_ms;
	if (p->group)
		look_group(p);
	else
		look_machine(p);
}

static const struct clusterd_observer_ops memory_ops = {
	.validate = memory_validate,
	.open = memory_open,
	.close = memory_close,
	.start = memory_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "memory",
	.version = "1",
	.summary = "how much memory is taken, of the machine or of a control group",
	.observer = &memory_ops,
};

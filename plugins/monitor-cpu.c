/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'cpu': how busy the processors are.
 *
 * Of the machine: value = 1000 * busy / (busy + idle), of the ticks that /proc/stat counts between two
 * looks over all processors.  Idle are 'idle' and 'iowait'; all else is busy, 'steal' too: what
 * the hypervisor gives to others is not there to be used.
 *
 * With 'cgroup': value = 1000 * used / (elapsed * allowed), where 'used' is the processor time of
 * the group and 'allowed' its own quota / period in processors, or all processors if it has none.
 * Version 2: cpu.stat and cpu.max.  Version 1: cpuacct.usage, cpu.cfs_quota_us and cpu.cfs_period_us;
 * where the hierarchies cpu and cpuacct are mounted apart, 'cpu_cgroup' is the group in that of cpu.
 *
 * Facts: CPU_IDLE = 1000 - value.  BLOCKED = procs_blocked, for the machine only: the kernel does not
 * count it per group.
 */

#include "monitor.h"

#define N_TIMES 8			/* user nice system idle iowait irq softirq steal */
#define T_IDLE  3
#define T_IOWAIT 4
#define LIMIT_MAX 1000000		/* thousandths of a processor: more is no limit */

struct cpu {
	struct mon m;
	bool group, v2, limited, seen;
	/* of the machine */
	struct mon_file stat;
	uint64_t times[N_TIMES];
	/* of a group; 'limit' and 'period' only if 'limited', and 'period' is of version 1 */
	struct mon_file usage, limit, period;
	uint64_t used_us;
	int64_t at;
};

static const struct mon_key cpu_keys[] = {
	{ "cgroup", false, mon_is_cgroup, MON_MUST_CGROUP },
	{ "cpu_cgroup", false, mon_is_cgroup, MON_MUST_CGROUP },
};

static int cpu_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			size_t size)
{
	int r = mon_validate(cpu_keys, sizeof(cpu_keys) / sizeof(cpu_keys[0]), opt, n, bad, err, size);

	if (r == 0 && mon_option(opt, n, "cpu_cgroup") && !mon_option(opt, n, "cgroup")) {
		*bad = "cpu_cgroup";
		snprintf(err, size, "needs 'cgroup' as well");
		return -EINVAL;
	}
	return r;
}

static void cpu_close(void *priv)
{
	struct cpu *c = priv;

	mon_close(&c->stat);
	mon_close(&c->usage);
	mon_close(&c->limit);
	mon_close(&c->period);
	free(c);
}

static int open_group(struct cpu *c, const char *dir, const char *limit_dir)
{
	int r;

	if (mon_open(&c->usage, "%s/cpuacct.usage", dir) == 0) {
		r = mon_open(&c->limit, "%s/cpu.cfs_quota_us", limit_dir ? limit_dir : dir);
		if (r == 0)
			r = mon_open(&c->period, "%s/cpu.cfs_period_us", limit_dir ? limit_dir : dir);
		if (r < 0 && limit_dir) {
			c->m.host->log(c->m.inst, LOG_ERR, "%s: %s",
				       c->limit.fd < 0 ? c->limit.path : c->period.path, strerror(-r));
			return r;
		}
	} else {
		c->v2 = true;
		r = mon_open(&c->usage, "%s/cpu.stat", dir);
		if (r < 0) {
			c->m.host->log(c->m.inst, LOG_ERR,
				       "%s: no control group: it has neither cpu.stat nor cpuacct.usage (%s)",
				       dir, strerror(-r));
			return r;
		}
		r = mon_open(&c->limit, "%s/cpu.max", limit_dir ? limit_dir : dir);
	}
	c->limited = r == 0;
	if (!c->limited) {
		c->m.host->log(c->m.inst, LOG_INFO, "%s has no limit of processor time (%s): "
			       "measured against all processors", dir, strerror(-r));
	}
	return 0;
}

static int cpu_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		    const struct clusterd_option *opt, size_t n)
{
	const char *dir = mon_option(opt, n, "cgroup");
	struct cpu *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->m.host = host;
	c->m.inst = inst;
	c->stat.fd = c->usage.fd = c->limit.fd = c->period.fd = -1;
	c->group = dir != NULL;
	r = dir ? open_group(c, dir, mon_option(opt, n, "cpu_cgroup")) :
		  mon_open_or_say(&c->m, &c->stat, "/proc/stat");
	if (r < 0) {
		cpu_close(c);
		return r;
	}
	*priv = c;
	return 0;
}

static void say(struct cpu *c, int value, const char *of)
{
	char why[96];

	snprintf(why, sizeof(why), "%d.%d %% of %s busy", value / 10, value % 10, of);
	c->m.host->fact(c->m.inst, CLUSTERD_CPU_IDLE, (uint64_t)(1000 - value));
	mon_report(&c->m, value, why);
}

/* 0, -errno, -EPROTO.  Kernels before 2.6.11 have fewer times: the first five must be there. */
static int read_stat(struct cpu *c, uint64_t *times, uint64_t *blocked, bool *has_blocked)
{
	struct mon_lines l;
	const char *s;
	bool found = false;

	mon_lines(&l, &c->stat);
	*has_blocked = false;
	while ((s = mon_line(&l))) {
		if (strncmp(s, "cpu ", 4) == 0 && !found) {
			s += 4;
			for (unsigned int i = 0; i < N_TIMES; i++) {
				const char *end = mon_number(s, &times[i]);

				if (!end && i <= T_IOWAIT)
					return -EPROTO;
				if (!end)
					break;
				s = end;
			}
			found = true;
		} else if (mon_field(s, "procs_blocked", blocked)) {
			*has_blocked = true;
			break;
		}
	}
	return l.err < 0 ? l.err : found ? 0 : -EPROTO;
}

static void look_machine(struct cpu *c)
{
	uint64_t times[N_TIMES] = { 0 }, blocked = 0, all = 0, idle = 0;
	bool has_blocked;
	int r = read_stat(c, times, &blocked, &has_blocked);

	if (r < 0) {
		mon_trouble(&c->m, "/proc/stat: %s", r == -EPROTO ? "no line 'cpu' with its times" :
								    strerror(-r));
		c->seen = false;
		return;
	}
	if (has_blocked)
		c->m.host->fact(c->m.inst, CLUSTERD_BLOCKED, blocked);
	for (unsigned int i = 0; i < N_TIMES; i++) {
		/* idle and iowait of a processor may go backwards a little: proc(5) */
		uint64_t more = mon_grown(times[i], c->times[i]);

		all += more;
		idle += i == T_IDLE || i == T_IOWAIT ? more : 0;
	}
	memcpy(c->times, times, sizeof(times));
	if (c->seen && all)
		say(c, mon_per_mille(all - idle, all), "all processors");
	c->seen = true;
}

static int read_usage(struct cpu *c, uint64_t *us)
{
	struct mon_lines l;
	const char *s;
	int r;

	if (!c->v2) {
		r = mon_read_number(&c->usage, us);
		*us /= 1000;		/* it counts nanoseconds */
		return r;
	}
	mon_lines(&l, &c->usage);
	while ((s = mon_line(&l)))
		if (mon_field(s, "usage_usec", us))
			return 0;
	return l.err < 0 ? l.err : -EPROTO;
}

/* In thousandths of a processor; 0: that is no limit. */
static uint64_t per_period(uint64_t quota, uint64_t period)
{
	if (!period || quota > UINT64_MAX / 1000 || quota * 1000 / period > LIMIT_MAX)
		return 0;
	return quota * 1000 / period ? quota * 1000 / period : 1;
}

/*
 * What the group may use, as per_period().  A limit that cannot be read any more counts as none: then
 * the usage cannot be read either, or it was taken away.
 */
static uint64_t read_limit(struct cpu *c)
{
	uint64_t quota, period = 0;
	char buf[64];
	const char *s;
	ssize_t n;

	if (!c->limited)
		return 0;
	if (!c->v2)	/* -1: no limit; it is no number for us */
		return mon_read_number(&c->limit, &quota) == 0 &&
		       mon_read_number(&c->period, &period) == 0 ? per_period(quota, period) : 0;
	n = mon_pread(&c->limit, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	s = mon_number(buf, &quota);	/* "max 100000": no limit */
	return s && mon_number(s, &period) ? per_period(quota, period) : 0;
}

static void look_group(struct cpu *c)
{
	int64_t now = c->m.host->now_ms(c->m.inst), elapsed = mon_elapsed(c->seen, now, c->at);
	uint64_t used = 0, more, allowed;
	long all;
	int r = read_usage(c, &used);

	if (r < 0) {
		mon_trouble(&c->m, "%s: %s", c->usage.path, r == -EPROTO ? "no usage in it" : strerror(-r));
		c->seen = false;
		return;
	}
	if (elapsed == 0)
		return;
	if (elapsed > 0 && used >= c->used_us) {
		more = mon_grown(used, c->used_us);
		allowed = read_limit(c);
		all = sysconf(_SC_NPROCESSORS_ONLN);
		if (allowed)
			say(c, mon_per_mille(more, (uint64_t)elapsed * allowed), "the group's limit");
		else
			say(c, mon_per_mille(more, (uint64_t)elapsed * 1000 * (all > 0 ? (uint64_t)all : 1)),
			    "all processors");
	}
	c->used_us = used;
	c->at = now;
	c->seen = true;
}

static void cpu_start(void *priv, int timeout_ms)
{
	struct cpu *c = priv;

	(void)timeout_ms;
	if (c->group)
		look_group(c);
	else
		look_machine(c);
}

static const struct clusterd_observer_ops cpu_ops = {
	.validate = cpu_validate,
	.open = cpu_open,
	.close = cpu_close,
	.start = cpu_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "cpu",
	.version = "1",
	.summary = "how busy the processors are, of the machine or of a control group",
	.observer = &cpu_ops,
};

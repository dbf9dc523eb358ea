/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'disk': how busy the busiest disk is.
 *
 * value = 1000 * (milliseconds in which the disk had something to do) / elapsed, of the 10th field of
 * /proc/diskstats (Documentation/admin-guide/iostats.rst: io_ticks).  A disk that does several
 * requests at once (NVMe, RAID) may take more while it is "1000" already: the value says that
 * there was always something under way, not that nothing more would go.
 *
 * 'device = sda, vdb': those only.  Else all whole disks that are disks themselves: not loop, ram, zram,
 * sr and fd, and not dm and md, whose disks are counted already.
 */

#include "monitor.h"

#define DISKS_MAX 256			/* partitions and such are remembered too */
#define NAME_MAX_ 31

struct a_disk {
	char name[NAME_MAX_ + 1];
	bool wanted, seen;		/* seen: 'ticks' is of the last look */
	bool here;			/* in this look */
	uint32_t ticks;			/* unsigned int in the kernel: it wraps */
};

struct disk {
	struct mon m;
	struct mon_file stats;
	bool chosen;			/* the configuration names them */
	bool again;			/* 'at' is set */
	bool full;			/* that was said */
	int64_t at;
	unsigned int n;
	struct a_disk disk[DISKS_MAX];
};

/* The next name of a list "a, b"; returns its length, 0: the end; '*s' goes on behind it. */
static size_t next_name(const char **s, const char **name)
{
	size_t len;

	*s += strspn(*s, " \t,");
	*name = *s;
	len = strcspn(*s, ", \t");
	*s += len;
	return len;
}

static bool is_devices(const char *value)
{
	const char *name;
	unsigned int n = 0;
	size_t len;

	while ((len = next_name(&value, &name))) {
		n++;
		if (len > NAME_MAX_ || n > DISKS_MAX)
			return false;
		for (size_t i = 0; i < len; i++)
			if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-!/",
				    name[i]))
				return false;
		if (name[0] == '/' || name[0] == '.')
			return false;
	}
	return n > 0;
}

static const struct mon_key disk_keys[] = {
	{ "device", false, is_devices,
	  "must be names of disks as in /proc/diskstats, such as: sda, nvme0n1" },
};

static int disk_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t size)
{
	return mon_validate(disk_keys, 1, opt, n, bad, err, size);
}

/* Is it a disk of its own?  Partitions are not in /sys/block. */
static bool is_whole(const char *name)
{
	static const char *const not[] = { "loop", "ram", "zram", "dm-", "md", "sr", "fd" };
	char path[64];

	for (unsigned int i = 0; i < sizeof(not) / sizeof(not[0]); i++)
		if (strncmp(name, not[i], strlen(not[i])) == 0)
			return false;
	snprintf(path, sizeof(path), "/sys/block/%s", name);
	for (char *p = path + strlen("/sys/block/"); *p; p++)
		*p = *p == '/' ? '!' : *p;	/* as sysfs writes them */
	return access(path, F_OK) == 0;
}

static struct a_disk *find(struct disk *d, const char *name)
{
	for (unsigned int i = 0; i < d->n; i++)
		if (strcmp(d->disk[i].name, name) == 0)
			return &d->disk[i];
	return NULL;
}

static struct a_disk *add(struct disk *d, const char *name, bool wanted)
{
	struct a_disk *new = NULL;

	if (d->n < DISKS_MAX) {
		new = &d->disk[d->n++];
	} else {
		/* the place of one that has gone */
		for (unsigned int i = 0; i < d->n && !new; i++)
			new = d->disk[i].seen || d->chosen ? NULL : &d->disk[i];
		if (!new && !d->full)
			d->m.host->log(d->m.inst, LOG_WARNING,
				       "more than %d disks and partitions: name those that count with 'device'",
				       DISKS_MAX);
		d->full = true;
		if (!new)
			return NULL;
	}
	memset(new, 0, sizeof(*new));
	snprintf(new->name, sizeof(new->name), "%s", name);
	new->wanted = wanted;
	return new;
}

/* "  8  0 sda 1 2 3 ...": its name and 10th number.  A line of another form: false. */
static bool parse(const char *line, char *name, uint64_t *ticks)
{
	const char *s = line;
	uint64_t x;
	size_t len;

	if (!(s = mon_number(s, &x)) || !(s = mon_number(s, &x)))
		return false;
	s += strspn(s, " \t");
	len = strcspn(s, " \t");
	if (!len || len > NAME_MAX_)
		return false;
	memcpy(name, s, len);
	name[len] = '\0';
	s += len;
	for (unsigned int i = 0; i < 10; i++)
		if (!(s = mon_number(s, ticks)))
			return false;
	return *ticks <= UINT32_MAX;
}

struct busiest {
	int value;			/* -1: none that was there at the last look too */
	const char *name;
};

/*
 * Milliseconds between the looks are known to 1 ms only, and the kernel counts in its own ticks: a bit
 * more than 'elapsed' is just busy.  Much more: the disk is another one of the same name.
 */
static void count(struct a_disk *k, uint32_t ticks, int64_t elapsed, struct busiest *b)
{
	uint32_t more = ticks - k->ticks;
	int value;

	k->here = true;
	if (k->seen && elapsed > 0 && more <= elapsed * 2 + 1000) {
		value = mon_per_mille(more, (uint64_t)elapsed);
		if (value > b->value) {
			b->value = value;
			b->name = k->name;
		}
	}
	k->ticks = ticks;
	k->seen = true;
}

static int walk(struct disk *d, int64_t elapsed, struct busiest *b, unsigned int *lines)
{
	char name[NAME_MAX_ + 1];
	struct mon_lines l;
	const char *s;
	uint64_t ticks;

	for (unsigned int i = 0; i < d->n; i++)
		d->disk[i].here = false;
	*lines = 0;
	mon_lines(&l, &d->stats);
	while ((s = mon_line(&l))) {
		struct a_disk *k;

		if (!parse(s, name, &ticks))
			continue;
		++*lines;
		k = find(d, name);
		if (!k && !d->chosen)
			k = add(d, name, is_whole(name));
		if (k && k->wanted)
			count(k, (uint32_t)ticks, elapsed, b);
		else if (k)
			k->here = k->seen = true;
	}
	for (unsigned int i = 0; i < d->n; i++)
		d->disk[i].seen = d->disk[i].here;
	return l.err;
}

static void disk_close(void *priv)
{
	struct disk *d = priv;

	mon_close(&d->stats);
	free(d);
}

/* Are the named ones there?  A name with a typing error must not look like a disk at rest. */
static int check_chosen(struct disk *d)
{
	struct busiest b = { .value = -1 };
	unsigned int lines;

	walk(d, 0, &b, &lines);
	for (unsigned int i = 0; i < d->n; i++) {
		if (d->disk[i].here)
			continue;
		d->m.host->log(d->m.inst, LOG_ERR, "device '%s' is not in /proc/diskstats", d->disk[i].name);
		return -ENODEV;
	}
	return 0;
}

static int disk_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	const char *list = mon_option(opt, n, "device"), *name;
	struct disk *d = calloc(1, sizeof(*d));
	size_t len;
	int r;

	if (!d)
		return -ENOMEM;
	d->m.host = host;
	d->m.inst = inst;
	r = mon_open_or_say(&d->m, &d->stats, "/proc/diskstats");
	while (list && (len = next_name(&list, &name))) {
		char one[NAME_MAX_ + 1];

		snprintf(one, sizeof(one), "%.*s", (int)len, name);
		if (!find(d, one))
			add(d, one, true);
		d->chosen = true;
	}
	if (r == 0 && d->chosen)
		r = check_chosen(d);
	if (r < 0) {
		disk_close(d);
		return r;
	}
	*priv = d;
	return 0;
}

static void disk_start(void *priv, int timeout_ms)
{
	struct disk *d = priv;
	int64_t now = d->m.host->now_ms(d->m.inst), elapsed = mon_elapsed(d->again, now, d->at);
	struct busiest b = { .value = -1 };
	unsigned int lines;
	char why[80];
	int r;

	(void)timeout_ms;
	if (elapsed == 0)
		return;
	r = walk(d, elapsed, &b, &lines);
	if (r < 0 || !lines) {
		mon_trouble(&d->m, "/proc/diskstats: %s", r < 0 ? strerror(-r) : "no disk with statistics in it");
		d->again = false;
		return;
	}
	for (unsigned int i = 0; d->chosen && i < d->n; i++)
		if (!d->disk[i].here)
			mon_trouble(&d->m, "device '%s' is not in /proc/diskstats any more", d->disk[i].name);
	d->at = now;
	if (b.value >= 0) {
		bool said = d->m.said && d->chosen;

		snprintf(why, sizeof(why), "%s busy %d.%d %% of the time", b.name, b.value / 10, b.value % 10);
		mon_report(&d->m, b.value, why);
		/* one of several is missing: said once, as long as it is */
		for (unsigned int i = 0; said && !d->m.said && i < d->n; i++)
			d->m.said = !d->disk[i].here;
	}
	d->again = true;
}

static const struct clusterd_observer_ops disk_ops = {
	.validate = disk_validate,
	.open = disk_open,
	.close = disk_close,
	.start = disk_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "disk",
	.version = "1",
	.summary = "how busy the busiest disk is",
	.observer = &disk_ops,
};

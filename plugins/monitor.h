/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MONITOR_H
#define MONITOR_H

/*
 * What the monitors of this directory share: options, small files of /proc and /sys, differences of
 * counters.  Only static inline functions, so each plugin stays one file.
 *
 * Files are opened once and read with pread(2) at each look.  A file whose subject has gone (a
 * control group or an interface that was removed) says ENODEV from then on: it is opened again, for
 * it may have come back under the same name.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "plug/plugin.h"

/* ---- options ---- */

struct mon_key {
	const char *key;
	bool required;
	bool (*good)(const char *value);
	const char *must;		/* what 'good' wants: "must ..." */
};

static inline const char *mon_option(const struct clusterd_option *opt, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(opt[i].key, key) == 0)
			return opt[i].value;
	return NULL;
}

/* As clusterd_observer_ops.validate, by a table. */
static inline int mon_validate(const struct mon_key *keys, size_t n_keys,
			       const struct clusterd_option *opt, size_t n, const char **bad,
			       char *err, size_t size)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		*bad = opt[i].key;
		while (k < n_keys && strcmp(keys[k].key, opt[i].key) != 0)
			k++;
		if (k == n_keys) {
			int len = snprintf(err, size, "unknown key; this monitor has:");

			for (k = 0; k < n_keys && len > 0 && (size_t)len < size; k++)
				len += snprintf(err + len, size - (size_t)len, "%s %s", k ? "," : "",
						keys[k].key);
			return -EINVAL;
		}
		if (!keys[k].good(opt[i].value)) {
			snprintf(err, size, "%s", keys[k].must);
			return -EINVAL;
		}
	}
	for (size_t k = 0; k < n_keys; k++) {
		if (!keys[k].required || mon_option(opt, n, keys[k].key))
			continue;
		*bad = keys[k].key;
		snprintf(err, size, "is missing: %s", keys[k].must);
		return -EINVAL;
	}
	*bad = NULL;
	return 0;
}

/* ---- numbers ---- */

/* A decimal number after blanks; returns what follows it, NULL: there is none, or it is too large. */
static inline const char *mon_number(const char *s, uint64_t *out)
{
	char *end;

	s += strspn(s, " \t");
	if (*s < '0' || *s > '9')
		return NULL;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return errno ? NULL : end;
}

/* All of 's' is one number within [min, max]. */
static inline bool mon_whole(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *end = *s >= '0' && *s <= '9' ? mon_number(s, out) : NULL;

	return end && !*end && *out >= min && *out <= max;
}

/* "name 12", "name: 12 kB", "name=12" */
static inline bool mon_field(const char *line, const char *name, uint64_t *out)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || !strchr(" \t:=", line[len]) || !line[len])
		return false;
	return mon_number(line + len + 1, out) != NULL;
}

/*
 * What a counter has grown by.  Backwards: it was reset, or its subject made anew; forwards by more than
 * any machine can do between two looks: likewise.  Both count as nothing.
 */
static inline uint64_t mon_grown(uint64_t now, uint64_t before)
{
	return now < before || now - before > (UINT64_C(1) << 50) ? 0 : now - before;
}

/* 0..1000, rounded; of nothing: 0.  'part' is below 2^53. */
static inline int mon_per_mille(uint64_t part, uint64_t whole)
{
	if (part >= whole)
		return whole ? 1000 : 0;
	return (int)((part * 1000 + whole / 2) / whole);
}

/*
 * Milliseconds since the last look, > 0; 0: the clock stands still, this look is none; -1: there was no
 * last look, or the clock has jumped: begin anew.
 */
static inline int64_t mon_elapsed(bool seen, int64_t now, int64_t before)
{
	const int64_t day = 24 * 3600 * 1000;

	return !seen || now < before || now - before > day ? -1 : now - before;
}

/* ---- an instance's trouble ---- */

struct mon {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	bool said;			/* the trouble at hand has been logged */
};

/* Once per trouble, not once per look. */
#define mon_trouble(m, ...) do { \
	if (!(m)->said) \
		(m)->host->log((m)->inst, LOG_ERR, __VA_ARGS__); \
	(m)->said = true; \
} while (0)

static inline void mon_report(struct mon *m, int value, const char *why)
{
	m->said = false;
	m->host->report(m->inst, value, why);
}

/* ---- files ---- */

#define MON_PATH_MAX 1280		/* a value of clusterd.ini has at most 1000 bytes */

struct mon_file {
	int fd;				/* -1: not open */
	char path[MON_PATH_MAX];
};

/* 0 or -errno; the path stays known for mon_line() to try again. */
__attribute__((format(printf, 2, 3)))
static inline int mon_open(struct mon_file *f, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(f->path, sizeof(f->path), fmt, ap);
	va_end(ap);
	f->fd = -1;
	if (len < 0 || (size_t)len >= sizeof(f->path))
		return -ENAMETOOLONG;
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	return f->fd < 0 ? -errno : 0;
}

/* As mon_open(), and says so when it fails. */
#define mon_open_or_say(m, f, ...) ({ \
	int mon_err_ = mon_open((f), __VA_ARGS__); \
	if (mon_err_ < 0) \
		(m)->host->log((m)->inst, LOG_ERR, "%s: %s", (f)->path, strerror(-mon_err_)); \
	mon_err_; })

static inline void mon_close(struct mon_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Walks over the lines of a file; make it with mon_lines(). */
struct mon_lines {
	struct mon_file *file;
	off_t off;
	size_t pos, len;
	bool skip;			/* the rest of a line that was too long */
	int err;			/* -errno that ended it, 0: the end of the file */
	char buf[4096];
};

static inline void mon_lines(struct mon_lines *l, struct mon_file *f)
{
	l->file = f;
	l->off = 0;
	l->pos = l->len = 0;
	l->skip = false;
	l->err = 0;
}

/* pread(2), and once again with a new fd if that one's subject has gone. */
static inline ssize_t mon_pread(struct mon_file *f, void *buf, size_t size, off_t off)
{
	ssize_t n;

	do {
		n = f->fd < 0 ? (errno = EBADF, -1) : pread(f->fd, buf, size, off);
	} while (n < 0 && errno == EINTR);
	if (n >= 0 || off)
		return n < 0 ? -errno : n;
	mon_close(f);
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	n = pread(f->fd, buf, size, off);
	return n < 0 ? -errno : n;
}

/* The next line without its end, valid until the next call; one that is too long is cut off.  NULL: no more. */
static inline char *mon_line(struct mon_lines *l)
{
	for (;;) {
		char *line = l->buf + l->pos, *nl = memchr(line, '\n', l->len - l->pos);
		bool skip = l->skip;
		ssize_t n;

		if (nl) {
			*nl = '\0';
			l->pos = (size_t)(nl - l->buf) + 1;
			l->skip = false;
			if (skip)
				continue;
			return line;
		}
		if (skip)
			l->pos = l->len;
		memmove(l->buf, l->buf + l->pos, l->len - l->pos);
		l->len -= l->pos;
		l->pos = 0;
		n = l->len < sizeof(l->buf) - 1 ?
			mon_pread(l->file, l->buf + l->len, sizeof(l->buf) - 1 - l->len, l->off) : 0;
		if (n > 0) {
			l->off += n;
			l->len += (size_t)n;
			continue;
		}
		l->err = (int)n;
		if (n < 0 || !l->len)
			return NULL;
		/* too long, or the last one without an end */
		l->buf[l->len] = '\0';
		l->pos = l->len;
		l->skip = true;
		return l->buf;
	}
}

/* The number that is all there is in a file; "max": UINT64_MAX.  0, -errno, -EPROTO: something else. */
static inline int mon_read_number(struct mon_file *f, uint64_t *out)
{
	char buf[64];
	ssize_t n = mon_pread(f, buf, sizeof(buf) - 1, 0);
	const char *end;

	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	*out = UINT64_MAX;
	if (strcmp(buf, "max") == 0)
		return 0;
	end = mon_number(buf, out);
	return end && !*end ? 0 : -EPROTO;
}

/* ---- values of options ---- */

static inline bool mon_is_cgroup(const char *s)
{
	static const char root[] = "/sys/fs/cgroup";

	return strncmp(s, root, sizeof(root) - 1) == 0 &&
	       (!s[sizeof(root) - 1] || s[sizeof(root) - 1] == '/') && !strstr(s, "/..");
}

#define MON_MUST_CGROUP "must be the directory of a control group, such as /sys/fs/cgroup/web"

#endif

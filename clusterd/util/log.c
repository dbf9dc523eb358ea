// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#define SD_JOURNAL_SUPPRESS_LOCATION	/* a line of this file tells nobody anything */
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 1024
#define JOURNAL_FIELDS 8

/* Written by log_setup() and read by any thread; all are plain words, so relaxed order will do. */
static atomic_int log_level = LOG_INFO;
static atomic_bool log_timestamps, log_journal;

/*
 * sd-journal(3), "JOURNAL_STREAM": device and inode of the journal's stream.  The variable alone proves
 * nothing, a shell in a unit inherits it and redirects stderr.
 */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	char stream[64];
	struct stat st;

	if (!text || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(text, stream);
}

void log_setup(int max_level, bool timestamps)
{
	atomic_store(&log_level, max_level);
	atomic_store(&log_timestamps, timestamps);
	atomic_store(&log_journal, stderr_is_journal());
}

/* "12:34:56.789 ", local time: for a person at a terminal; the journal has its own clock. */
static size_t time_prefix(char *line, size_t size)
{
	struct timespec ts;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	len = strftime(line, size, "%H:%M:%S", &tm);
	return len + (size_t)snprintf(line + len, size - len, ".%03ld ", ts.tv_nsec / 1000000);
}

/* One line break per message, whatever bytes came in: nobody may forge a second line. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

void log_msg(int level, const char *subsystem, const char *fmt, ...)
{
	static const char *const words[] = { "emerg", "alert", "crit", "error", "warning", "notice",
					     "info", "debug" };
	int saved_errno = errno, n;
	bool terminal;
	char line[LINE_SIZE];
	size_t len = 0, start;
	ssize_t written;
	va_list ap;

	if (level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	terminal = isatty(STDERR_FILENO);
	if (!terminal)
		len = (size_t)snprintf(line, sizeof(line), "<%d>", level & 7);
	if (terminal || atomic_load_explicit(&log_timestamps, memory_order_relaxed))
		len += time_prefix(line + len, sizeof(line) - len);
	start = len;
	if (terminal)
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s ", words[level & 7]);
	len += (size_t)snprintf(line + len, sizeof(line) - len, "%s: ", subsystem);
	if (len < sizeof(line) - 1) {
		va_start(ap, fmt);
		errno = saved_errno;	/* for %m */
		n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
		va_end(ap);
		len += n > 0 ? (size_t)n : 0;
	}
	if (len > sizeof(line) - 2) {		/* cut: show that it was */
		len = sizeof(line) - 2;
		memcpy(line + len - 3, "...", 3);
	}
	line[len] = '\0';
	flatten(line + start);
	line[len++] = '\n';
	/* One write per line: threads never mix theirs.  Nobody is left to tell if it fails. */
	written = write(STDERR_FILENO, line, len);
	(void)written;
	errno = saved_errno;
}

struct journal {
	struct iovec iov[JOURNAL_FIELDS];
	char text[JOURNAL_FIELDS][LINE_SIZE];
	int n;
};

static void journal_field(struct journal *j, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void journal_field(struct journal *j, const char *name, const char *fmt, ...)
{
	char *text = j->text[j->n];
	int len = snprintf(text, LINE_SIZE, "%s=", name);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, LINE_SIZE - (size_t)len, fmt, ap);
	va_end(ap);
	flatten(text);
	j->iov[j->n].iov_base = text;
	j->iov[j->n++].iov_len = strlen(text);
}

/* False: it did not get there. */
static bool to_journal(int level, const char *subsystem, const struct log_event *e, const char *text)
{
	struct journal j = { .n = 0 };

	journal_field(&j, "MESSAGE", "%s: %s: %s", subsystem, e->name, text);
	journal_field(&j, "PRIORITY", "%d", level & 7);
	journal_field(&j, "SYSLOG_IDENTIFIER", "clusterd");
	journal_field(&j, "CLUSTERD_EVENT", "%s", e->name);
	if (e->node && *e->node)
		journal_field(&j, "CLUSTERD_NODE", "%s", e->node);
	if (e->by && *e->by)
		journal_field(&j, "CLUSTERD_BY", "%s", e->by);
	if (e->service && *e->service)
		journal_field(&j, "CLUSTERD_SERVICE", "%s", e->service);
	if (e->buckets)
		journal_field(&j, "CLUSTERD_BUCKETS", "%" PRIu32, e->buckets);
	return sd_journal_sendv(j.iov, j.n) >= 0;
}

void log_event(int level, const char *subsystem, const struct log_event *e, const char *text)
{
	int saved_errno = errno;

	if (level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	if (!atomic_load_explicit(&log_journal, memory_order_relaxed) ||
	    !to_journal(level, subsystem, e, text))
		log_msg(level, subsystem, "%s: %s", e->name, text);
	errno = saved_errno;
}

bool log_allow(struct log_limit *lim, int64_t now_ms, int64_t interval_ms, uint64_t *suppressed)
{
	if (lim->next_ms && now_ms < lim->next_ms) {
		lim->swallowed++;
		return false;
	}
	*suppressed = lim->swallowed;
	lim->swallowed = 0;
	lim->next_ms = now_ms + interval_ms;
	return true;
}

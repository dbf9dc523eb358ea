// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 1024

/* Written by log_setup() and read by any thread; both are plain words, so relaxed order will do. */
static atomic_int log_level = LOG_INFO;
static atomic_bool log_timestamps;

void log_setup(int max_level, bool timestamps)
{
	atomic_store(&log_level, max_level);
	atomic_store(&log_timestamps, timestamps);
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

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_UTIL_LOG_H
#define CLUSTERD_UTIL_LOG_H

/*
 * One log for the whole daemon.  Thread-safe.  Goes to stderr with the "<N>" priority prefix that
 * the journal understands when stderr is not a terminal, in plain text with a time when it is.
 * No newline in 'fmt'.  'subsystem' is a short constant such as "group", "rules", "lease".
 */

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>	/* LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG */

void log_setup(int max_level, bool timestamps);
void log_msg(int level, const char *subsystem, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * An event that programs can search the journal for.  Where stderr is the journal it goes there with
 * MESSAGE, PRIORITY, SYSLOG_IDENTIFIER=clusterd, CLUSTERD_EVENT and, as far as there are any,
 * CLUSTERD_NODE, CLUSTERD_BY, CLUSTERD_SERVICE and CLUSTERD_BUCKETS; elsewhere as log_msg() prints
 * "NAME: text".
 */
struct log_event {
	const char *name;			/* "TAKE_OVER" */
	const char *node, *by, *service;	/* NULL or "": none */
	uint32_t buckets;			/* 0: none */
};
void log_event(int level, const char *subsystem, const struct log_event *e, const char *text);

/*
 * True at most once per 'interval_ms' for one 'state'; counts what it swallowed in '*suppressed'.
 * For messages that outside bytes can trigger: if (log_allow(&lim, now_ms, 1000, &n)) log_msg(...).
 */
struct log_limit { int64_t next_ms; uint64_t swallowed; };
bool log_allow(struct log_limit *lim, int64_t now_ms, int64_t interval_ms, uint64_t *suppressed);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MONITOR_COMMON_H
#define MONITOR_COMMON_H

/*
 * A host for one monitor, and a /proc and /sys of files that the test writes.  The monitors are the very
 * objects that are linked into clusterd: the linker leads their open() and access() here (--wrap).
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "plug/plugin.h"

struct clusterd_inst {
	const struct clusterd_plugin *plugin;
	void *priv;			/* NULL: not open */
	int64_t now;
	int64_t connections;
	unsigned int capacity;
	/* what it said */
	unsigned int logs, reports;
	char log[512], why[256];
	int value;
	uint64_t fact[4];
	bool has_fact[4];
	/* what it wants to run */
	unsigned int runs;
	int run_result, timeout_ms;
	char argv[256];			/* each in [] */
};

extern const struct clusterd_host fake_host;

/* Where /proc and /sys are for the monitors: "" is the real one. */
extern char fake_root[];
/* Calls of open() by monitors so far. */
extern unsigned int fake_opens;

int fake_setup(void **state);		/* makes an empty root */
int fake_teardown(void **state);	/* and removes it */

/* Writes below the root, making directories; the file stays the same one for who has it open. */
void put(const char *path, const char *text);
void gone(const char *path);

/* "key=value", ends with NULL. */
struct fake_options { struct clusterd_option opt[8]; size_t n; char text[8][1100]; };
void fake_options(struct fake_options *o, const char *const *pairs);

/* validate(): 0, or -1 and 'text' is "key: sentence". */
int validate(const struct clusterd_plugin *p, const char *const *pairs, char *text, size_t size);
void assert_bad(const struct clusterd_plugin *p, const char *const *pairs, const char *says);

/* validate() must be fine; the result of open(). */
int start(struct clusterd_inst *i, const struct clusterd_plugin *p, const char *const *pairs);
void stop(struct clusterd_inst *i);
/* 'ms' later; true: it reported. */
bool look(struct clusterd_inst *i, int ms);

#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_PAIRS ((const char *const[]){ NULL })

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_PLUG_REGISTRY_H
#define CLUSTERD_PLUG_REGISTRY_H

/*
 * Finds plugins: the built-in ones, then PLUGINDIR/KIND-NAME.so.  Both go through the same test of
 * symbol, abi, size, kind, name and callbacks.  What was loaded stays loaded until the process ends.
 * The daemon and clusterctl (for 'check') share it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "plug/plugin.h"

/* "monitor", "check", "policy" */
const char *registry_kind_str(enum clusterd_kind kind);

/*
 * The directory of the .so files; borrowed; NULL: PLUGINDIR as built.  The environment's
 * CLUSTERD_PLUGINDIR goes before.
 */
void registry_set_dir(const char *dir);

/*
 * The plugin of that kind and name; it lives as long as the process.  NULL: '*why' gets a sentence for
 * the operator (file, what is wrong with it, what to do; names of those there are, when there is no
 * such file).
 */
const struct clusterd_plugin *registry_find(enum clusterd_kind kind, const char *name, char *why,
					    size_t why_size);

/* The test itself: 'p' as found under 'kind' and 'name' in 'file' ("built in"). */
bool registry_check(const struct clusterd_plugin *p, enum clusterd_kind kind, const char *name,
		    const char *file, char *why, size_t why_size);

/* Every plugin there is, built in or in the directory: for 'clusterd --plugins' and clusterctl. */
struct registry_entry {
	enum clusterd_kind kind;
	const char *name, *version, *summary, *file;	/* file: "built in" or its path; for the call */
	const char *why;		/* why it cannot be used; NULL: it can */
};
void registry_list(void (*cb)(void *arg, const struct registry_entry *e), void *arg);

/*
 * All that plugins have to say about a configuration: every monitor's and check's type and options,
 * every service's policy.  Complaints are added to 'errs' with section, key and line, as conf_read() does.
 * True if there is none.
 */
bool registry_check_conf(const struct conf *c, struct conf_errors *errs);

/*
 * The options that an instance gets: "@..." of the service in front for a check.  Returns how many;
 * opt[] points into 'c', 'buf' and static text.  'interface': where the service's clients come in, "".
 */
#define REGISTRY_OPTIONS_MAX (CONF_OPTIONS_MAX + 5)
struct registry_buf { char address[64], port[8]; };
size_t registry_monitor_options(const struct conf_monitor *m,
				struct clusterd_option opt[REGISTRY_OPTIONS_MAX]);
size_t registry_check_options(const struct conf *c, const struct conf_check *k, const char *interface,
			      struct registry_buf *buf,
			      struct clusterd_option opt[REGISTRY_OPTIONS_MAX]);

#endif

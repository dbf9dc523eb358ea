// SPDX-License-Identifier: GPL-2.0-or-later
#include "plug/builtin.h"

/*
 * One line per plugin.  Each defines 'clusterd_plugin' in its source; the Makefile renames it when
 * it is built in, so that all of them fit into one program.
 */
#define BUILTIN_LIST(X) \
	X(monitor_cpu) \
	X(monitor_disk) \
	X(monitor_memory) \
	X(monitor_psi) \
	X(monitor_conn) \
	X(monitor_net) \
	X(monitor_exec) \
	X(check_tcp) \
	X(check_exec) \
	X(check_systemd) \
	X(check_link) \
	X(check_disk) \
	X(check_dns) \
	X(policy_load) \
	X(policy_wlc) \
	X(policy_memory_1) \
	X(policy_memory_2)

#define DECLARE(name) extern const struct clusterd_plugin clusterd_plugin_##name;
BUILTIN_LIST(DECLARE)

#define ENTRY(name) &clusterd_plugin_##name,
const struct clusterd_plugin *const builtin_plugins[] = {
	BUILTIN_LIST(ENTRY)
	NULL
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_TABLE_H
#define CLUSTERD_CTL_TABLE_H

/*
 * Every command of clusterctl, once.  The daemon dispatches by it, clusterctl parses by it and
 * prints its help from it, tests/man_sync.sh holds clusterctl(8) against it.  Both sides switch over
 * enum ctl_id without a default, so the compiler finds a command that one of them lacks.
 */

#include <stdbool.h>

enum {
	CTL_DAEMON = 1 << 0,	/* the daemon answers it */
	CTL_JSON   = 1 << 1,	/* prints state: --json */
	CTL_CONF   = 1 << 2,	/* reads a configuration: -c FILE */
	CTL_WAIT   = 1 << 3,	/* --wait */
	CTL_YES    = 1 << 4,	/* --yes */
	CTL_FOLLOW = 1 << 5,	/* --follow */
	CTL_LIMIT  = 1 << 6,	/* --limit N */
};

/* X(ID, name, arguments, fewest, most, flags, help) */
#define CTL_COMMANDS(X) \
	X(STATUS,   "status",   "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "the cluster, its nodes and its services at a glance") \
	X(NODES,    "nodes",    "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "nodes with state, weight, share and heartbeat") \
	X(SERVICES, "services", "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "services with VIPs, ports, buckets per node and packet counters") \
	X(BUCKETS,  "buckets",  "SERVICE", 1, 1, CTL_DAEMON | CTL_JSON, \
	  "who owns which bucket of SERVICE, and which are moving") \
	X(TRACE,    "trace",    "CLIENT[:PORT] VIP[:PORT]", 2, 2, CTL_DAEMON | CTL_JSON, \
	  "which bucket and node serves CLIENT, and why") \
	X(FLOWS,    "flows",    "[SERVICE] [--limit N]", 0, 1, CTL_DAEMON | CTL_JSON | CTL_LIMIT, \
	  "connections of this node that do not follow their bucket") \
	X(COUNTERS, "counters", "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "what this node did with the services' packets") \
	X(DRAIN,    "drain",    "NODE [--wait]", 1, 1, CTL_DAEMON | CTL_JSON | CTL_WAIT, \
	  "give NODE no new work and hand over what it has") \
	X(UNDRAIN,  "undrain",  "NODE", 1, 1, CTL_DAEMON | CTL_JSON, \
	  "give NODE work again") \
	X(WEIGHT,   "weight",   "NODE N|auto", 2, 2, CTL_DAEMON | CTL_JSON, \
	  "set the weight of NODE to 0..1000, or back to the configured one") \
	X(FAILBACK, "failback", "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "let returned nodes take their share (failback = manual)") \
	X(TAKEOVER, "takeover", "NODE --yes", 1, 1, CTL_DAEMON | CTL_JSON | CTL_YES, \
	  "vouch that NODE is dead, so that the others may take over") \
	X(PLAN,     "plan",     "ORDER [NODE [N]]", 1, 3, CTL_DAEMON | CTL_JSON, \
	  "dry run of drain, undrain, weight or failback: what would move, and to whom") \
	X(MONITORS, "monitors", "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "how loaded this node is, by monitor, and the others as they told") \
	X(CHECKS,   "checks",   "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "the checks of this node, and how fit each service is at each node") \
	X(PLUGINS,  "plugins",  "", 0, 0, CTL_JSON, \
	  "the plugins there are: monitors, checks, policies") \
	X(EVENTS,   "events",   "[--follow]", 0, 0, CTL_DAEMON | CTL_JSON | CTL_FOLLOW, \
	  "what happened lately on this node") \
	X(CHECK,    "check",    "[FILE]", 0, 1, CTL_JSON | CTL_CONF, \
	  "check the configuration, and what this kernel can do") \
	X(DOCTOR,   "doctor",   "", 0, 0, CTL_DAEMON | CTL_JSON | CTL_CONF, \
	  "try out what kernel, NIC and network do with this configuration") \
	X(COROSYNC_CONF, "corosync-conf", "", 0, 0, CTL_CONF, \
	  "print a corosync.conf made from the configuration") \
	X(RELOAD,   "reload",   "", 0, 0, CTL_DAEMON | CTL_JSON, \
	  "make clusterd on this node read its configuration again") \
	X(WATCH,    "watch",    "", 0, 0, CTL_JSON, \
	  "status, refreshed each second; q ends") \
	X(HELP,     "help",     "", 0, 0, 0, \
	  "this list")

enum ctl_id {
#define X(id, name, args, min, max, flags, help) CMD_##id,
	CTL_COMMANDS(X)
#undef X
	CMDS_N
};

struct ctl_cmd {
	enum ctl_id id;
	const char *name, *args, *help;
	unsigned int min_args, max_args, flags;
};

extern const struct ctl_cmd ctl_cmds[CMDS_N];

/*
 * By exact name, or with 'prefix' by unique prefix.  NULL: none or several; '*n' (may be NULL) says
 * how many match.
 */
const struct ctl_cmd *ctl_cmd_find(const char *name, bool prefix, unsigned int *n);

#endif

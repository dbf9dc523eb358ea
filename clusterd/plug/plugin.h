/* SPDX-License-Identifier: MIT */
#ifndef CLUSTERD_PLUGIN_H
#define CLUSTERD_PLUGIN_H

/*
 * The plugin interface: the only clusterd header that a plugin may include, and it includes nothing
 * of clusterd itself.  Prose: clusterd-plugin(7).
 *
 * A plugin is one shared object that exports one constant,
 *
 *     const struct clusterd_plugin clusterd_plugin = { ... };
 *
 * and has no constructor.  clusterd looks the symbol up in PLUGINDIR/KIND-NAME.so, checks 'abi',
 * 'size', 'kind' and 'name', and calls nothing until the configuration names the plugin.  Plugins
 * that are built in are found and checked the same way.
 *
 * Two families, with opposite rules:
 *
 *   Observers (MONITOR, CHECK) run on one node and see that node's world.  They may use clocks,
 *   files and sockets but must not block: they ask the host for readiness of fds, a timer, and
 *   for programs to be run.  What they find they report.  A report decides nothing: hysteresis,
 *   thresholds and log lines are the host's, and what concerns all nodes goes through the group.
 *
 *   Policies (POLICY) say how large each node's share should be.  They run on all nodes and must
 *   give the same answer on all of them: pure functions of their arguments, integers only, no
 *   state, no host.
 *
 * Threads: all calls come from one thread, one at a time.  Memory: what is passed in is valid for
 * the call only, unless it says otherwise.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Goes up when a member changes its meaning.  New members go to the end of a struct and are covered
 * by its 'size': a plugin may be older than clusterd, and must not be newer.
 */
#define CLUSTERD_PLUGIN_ABI 1u

enum clusterd_kind {
	CLUSTERD_MONITOR = 1,		/* "monitor-NAME.so": how loaded is this node? */
	CLUSTERD_CHECK = 2,		/* "check-NAME.so": is a service here fit to serve? */
	CLUSTERD_POLICY = 3,		/* "policy-NAME.so": how large should each node's share be? */
};

struct clusterd_inst;			/* the host's side of one [monitor] or [check] section */

/* ---- observers ---- */

/*
 * Things that policies go by besides the load.  A monitor that knows one tells it along with its
 * report; when several do, the last one counts.
 */
enum clusterd_fact {
	CLUSTERD_CPU_IDLE = 0,		/* 0..1000: share of the processors' time that is idle */
	CLUSTERD_MEM_FREE_KB = 1,	/* KiB that programs can still get (MemAvailable) */
	CLUSTERD_BLOCKED = 2,		/* processes in uninterruptible sleep now */
	CLUSTERD_SWAPPING = 3,		/* pages swapped in and out since the last report */
};

/* What a CHECK reports.  Anything between counts as CLUSTERD_WORKS. */
#define CLUSTERD_DEAD	0		/* does not serve at all: its connections are lost already */
#define CLUSTERD_WORKS	500		/* serves, but should not get new work */
#define CLUSTERD_FIT	1000

/* What an observer may ask of the host.  Members never move; ask 'size' before using a new one. */
struct clusterd_host {
	size_t size;			/* sizeof(struct clusterd_host) as the host was built */

	/* A log line without newline; 'priority' as in syslog(3).  Rate limited per instance. */
	void (*log)(struct clusterd_inst *inst, int priority, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));

	/* CLOCK_MONOTONIC, milliseconds. */
	int64_t (*now_ms)(struct clusterd_inst *inst);

	/*
	 * Calls ops->io() whenever 'fd' is ready for 'events' (POLLIN, POLLOUT; POLLERR and
	 * POLLHUP come unasked); 0 stops that, and must be said before the fd is closed.  The
	 * plugin keeps owning the fd.  At most 64 fds per instance.  0, -EINVAL, -ENOMEM, -ENOSPC.
	 */
	int (*watch)(struct clusterd_inst *inst, int fd, short events);

	/* Calls ops->timer() once, 'ms' from now; again: replaces; -1: cancels.  One per instance. */
	void (*timer)(struct clusterd_inst *inst, int ms);

	/*
	 * MONITOR: 'value' is the load, 0..1000; what is above counts as 1000.  CHECK: see
	 * CLUSTERD_DEAD ...; answers the ops->start() under way, one without is ignored.  'why' is
	 * for the operator, one line, copied; NULL: none.
	 */
	void (*report)(struct clusterd_inst *inst, int value, const char *why);

	/* MONITOR: tells a fact, before report(). */
	void (*fact)(struct clusterd_inst *inst, enum clusterd_fact fact, uint64_t value);

	/*
	 * Runs a program: argv[0] is its absolute path, argv ends with NULL, 'env' holds additional
	 * variables "NAME=value" (PATH and LANG are set) and ends with NULL, or is NULL.  It runs in a
	 * session of its own, in /, with stdin from /dev/null, stderr to the log, default signals.  It
	 * is killed with all processes of its group when it takes longer than 'timeout_ms' or when
	 * the instance is closed; what it leaves behind in the group is killed when it ends.  Of what
	 * it prints the first 4096 bytes count: the rest is cut off, it goes on.  ops->done() tells the
	 * end.  One at a time per instance.  0, -EBUSY, -EINVAL, -ENOENT, -EACCES, ...: done() is not
	 * called, and the log has said why, once until it succeeds.
	 */
	int (*run)(struct clusterd_inst *inst, const char *const argv[], const char *const env[],
		   int timeout_ms);

	/* Live connections of a service at this node now (of about a second ago); -1: not known. */
	int64_t (*connections)(struct clusterd_inst *inst, const char *service);

	/* [node] capacity of this node in percent: 100 is a node like the others. */
	unsigned int (*capacity)(struct clusterd_inst *inst);
};

/*
 * Keys of the instance's section that are not the host's own, in the order of the file.  A check
 * gets, before these, what its service says: "@service" its name, "@address" its first VIP,
 * "@port" and "@proto" ("tcp", "udp") its first port, "@interface" the interface its clients come
 * in on (empty while a configuration is only checked).
 */
struct clusterd_option {
	const char *key, *value;
};

/* For MONITOR and CHECK. */
struct clusterd_observer_ops {
	/*
	 * Looks at the options only: no sockets, no files.  Runs for 'clusterd --check' as well, on a
	 * machine that may be no node.  0, or -EINVAL with '*bad' set to the key it is about (NULL:
	 * none) and a sentence for the operator in 'err': what is wrong and what to do.  Must
	 * refuse keys that it does not know.  Never NULL.
	 */
	int (*validate)(const struct clusterd_option *opt, size_t n, const char **bad,
			char *err, size_t err_size);

	/*
	 * Makes an instance; its state goes to '*priv', the plugin's until close().  'host' and 'inst'
	 * stay valid until then, the options do not.  validate() has accepted them.  0, or a negative
	 * errno with nothing left behind: the host says so and tries again every 10 s.  Never NULL.
	 */
	int (*open)(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		    const struct clusterd_option *opt, size_t n);

	/* Watches, timer and program are gone before it.  Never NULL. */
	void (*close)(void *priv);

	/*
	 * Time to look: once per 'interval'.  A monitor reports, now or later.  A check reports within
	 * 'timeout_ms'; the host counts a late one as CLUSTERD_DEAD and calls stop().  Never NULL.
	 */
	void (*start)(void *priv, int timeout_ms);

	/* CHECK: give up what start() began, and do not report it.  NULL: never in need of it. */
	void (*stop)(void *priv);

	void (*io)(void *priv, int fd, short revents);	/* NULL: never watches */
	void (*timer)(void *priv);			/* NULL: never sets it */
	/*
	 * The program of host->run() has ended: 'status' as of waitpid(2), or -1: killed because it took
	 * too long.  'out': what it printed, NUL-terminated, 'size' bytes.  NULL: never runs any.
	 */
	void (*done)(void *priv, int status, const char *out, size_t size);
};

/* ---- policies ---- */

#define CLUSTERD_FACTOR_MAX 1000u

/* One node, as a policy sees it. */
struct clusterd_policy_node {
	uint32_t id;			/* 1.., ascending */
	uint32_t base;			/* weight by configuration or order, 1..1000 */
	uint32_t factor;		/* in force: what the policy gave last, 0..1000 */
	uint32_t known;			/* 0: nothing has been heard of it, the rest means nothing */
	uint32_t load;			/* 0..1000 */
	uint32_t cpu_idle;		/* 0..1000 */
	uint32_t mem_free_kb;
	uint32_t blocked;		/* processes in uninterruptible sleep, at most of the last samples */
	uint32_t swapping;		/* pages swapped, likewise */
	uint32_t connections;		/* live, of this service */
};

struct clusterd_policy_in {
	size_t size;			/* sizeof(struct clusterd_policy_in) */
	uint32_t n;			/* nodes, >= 1: those that take part in this service */
	const struct clusterd_policy_node *node;
	uint32_t process_memory_kb;	/* [service] process_memory: P of the memory policies */
	uint32_t connections_per_minute;	/* [service] connections_per_minute: R */
};

/* Pure: same input, same output, on every node, in every version of the same name. */
struct clusterd_policy_ops {
	/*
	 * Fills factor[0..n-1], 0..1000: a node's effective weight is base * factor / 1000.  Only the
	 * proportions matter; 0: the node gets no new work.  If all are 0, the host keeps what is in
	 * force.  The host limits how fast shares follow.
	 */
	void (*factors)(const struct clusterd_policy_in *in, uint32_t *factor);
	uint32_t interval_ms;		/* >= 1000; [service] weights_interval goes before */
};

/* ---- the descriptor ---- */

struct clusterd_plugin {
	uint32_t abi;			/* CLUSTERD_PLUGIN_ABI */
	uint32_t size;			/* sizeof(struct clusterd_plugin) */
	enum clusterd_kind kind;
	const char *name;		/* [a-z0-9-]+, unique within its kind */
	const char *version;		/* POLICY: all nodes must have the same one */
	const char *summary;		/* one line */
	const struct clusterd_observer_ops *observer;	/* MONITOR, CHECK; else NULL */
	const struct clusterd_policy_ops *policy;	/* POLICY; else NULL */
};

/*
 * Defined by the plugin.  Declared here so that it stays visible when the rest of the object is
 * built with -fvisibility=hidden.  A plugin that is built in is compiled with
 * -Dclusterd_plugin=clusterd_plugin_KIND_NAME.
 */
extern const struct clusterd_plugin clusterd_plugin __attribute__((visibility("default")));

#ifdef __cplusplus
}
#endif

#endif

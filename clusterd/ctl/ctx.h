/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_CTX_H
#define CLUSTERD_CTL_CTX_H

/*
 * What the control commands see of the daemon: read-only views and callbacks.  All of it lives in
 * the main thread; a callback that needs the heartbeat thread's data takes care of that itself.
 * Every callback may be NULL: what it would tell is then null in the JSON, what it would do refused.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "core/agent.h"
#include "core/health.h"
#include "io/rules.h"

struct events;

struct ctl_peer {
	int64_t heard_ms;	/* since its last accepted HELLO; -1: never heard */
	int64_t grant_ms;	/* for how long its grant to us still lasts; 0: it grants nothing */
	bool granted;		/* we grant to it */
};

enum ctl_witness { CTL_WITNESS_NONE, CTL_WITNESS_ANSWERS, CTL_WITNESS_SILENT };

/* How packets become buckets now; what 'clusterctl trace' computes with. */
struct ctl_layout {
	struct layout now;		/* in force in this node's kernel */
	/* Of a rehash under way, static: "waiting" (for other nodes), "freeze", "mixed"; NULL: none. */
	const char *phase;
	struct layout next;		/* the one to come; only while 'phase' is set and it is not in force yet */
	bool has_next;
	struct layout old;		/* the one before: flows of then may live at old_owner() */
	bool has_old;
};

/* Decisions about new connections in userspace since the start. */
struct ctl_queue {
	uint64_t decisions;	/* packets decided */
	uint64_t dropped;	/* of these: dropped, because nobody knew the flow, or nobody may take it */
	uint64_t overruns;	/* lost because the queue or its socket was full */
};

/* Path to a peer by the cluster addresses. */
struct ctl_path {
	bool answers;		/* false: nothing came back yet, the rest means nothing */
	bool measuring;		/* not done yet */
	uint16_t mtu;		/* largest IP packet that got there and back unfragmented, bytes */
};

/* A monitor of this node, as 'clusterctl monitors' shows it.  Texts are borrowed for the call. */
struct ctl_monitor {
	const char *name, *type;
	int value;		/* 0..1000; -1: none yet */
	unsigned int weight;	/* percent */
	const char *why;	/* its words, "" */
	int64_t age_ms;		/* of the value */
	bool open;		/* false: it could not be started, tried again */
	uint64_t cpu_us;	/* time that it has taken */
};

/* A check of this node, as 'clusterctl checks' shows it. */
struct ctl_check {
	const char *name, *type, *service, *why;
	const char *action;	/* "restart:nginx.service"; "": none */
	bool open;
	uint64_t cpu_us;
	struct health_status health;
};

/* One connection, as 'clusterctl flows' lists it.  False from the callback ends the walk. */
typedef bool (*ctl_flow_cb)(void *arg, const struct flow *flow, uint32_t expires_ms);

struct probe;

struct ctl_ctx {
	const struct conf *conf;	/* the running configuration */
	unsigned int self;		/* our node id */
	const struct agent *agent;
	uint32_t seed[SERVICES_MAX];	/* of the kernel's jhash, by service index */
	struct events *events;		/* may be NULL */
	void *arg;			/* first argument of all callbacks */

	/* agent_order() with the present time; same results. */
	int (*order)(void *arg, enum order_type type, unsigned int node, uint16_t value,
		     const char **why);
	/*
	 * Reads the configuration again and applies what can be applied.  0: '*result' is
	 * {"changes":[{"section","key","old","new","live"}]}; -errno: nothing was changed, and
	 * '*result' is NULL or {"error":"text"}, possibly of several lines.
	 */
	int (*reload)(void *arg, json_t **result);
	/* 0 or -errno. */
	int (*counters)(void *arg, unsigned int service, struct rules_counters *out);
	/* 1-minute load average per CPU of this node, < 0: not known.  status_local_load() fits. */
	double (*load)(void *arg);
	/* For how long our own lease still lasts, ms; 0: none. */
	int64_t (*lease_ms)(void *arg);
	void (*peer)(void *arg, unsigned int node, struct ctl_peer *out);
	enum ctl_witness (*witness)(void *arg);

	/* NULL: the configuration's layout is in force. */
	void (*layout)(void *arg, struct ctl_layout *out);
	/* has_old: who owned that bucket of the layout before; NOBODY. */
	unsigned int (*old_owner)(void *arg, unsigned int service, uint32_t old_bucket);
	/* Who answers ARP and ND for a VIP of an announce service; NOBODY. */
	unsigned int (*holder)(void *arg, const struct addr *vip);
	/* rules_flows_list(): the ingress flow maps of a service with a scheduler. */
	int (*flows)(void *arg, unsigned int service, ctl_flow_cb cb, void *cb_arg);
	/*
	 * flows_list() without a set of buckets: the flows of that service that live in this node's
	 * conntrack; flow->node is not looked at.
	 */
	int (*connections)(void *arg, unsigned int service, ctl_flow_cb cb, void *cb_arg);
	/* 0 or -errno; asked for services with scheduler = least-conn or probability only. */
	int (*queue)(void *arg, unsigned int service, struct ctl_queue *out);
	/* Fill at most 'max'; return how many there are. */
	unsigned int (*monitors)(void *arg, struct ctl_monitor *out, unsigned int max);
	unsigned int (*checks)(void *arg, struct ctl_check *out, unsigned int max);
	/* agent_sample_of() with the present time. */
	const struct sample *(*sample)(void *arg, unsigned int node);
	/* repl_preview() on the agent's state. */
	uint32_t (*preview)(void *arg, enum order_type order, unsigned int node, uint16_t value,
			    void (*cb)(void *cb_arg, unsigned int service, uint32_t bucket,
				       unsigned int from, unsigned int to), void *cb_arg);
	/* io/probe.h; NULL: the interfaces cannot be listened on. */
	struct probe *probe;
	/* Measures the paths to all peers; has an answer after about a second. */
	void (*path_start)(void *arg);
	void (*path)(void *arg, unsigned int node, struct ctl_path *out);
};

#endif

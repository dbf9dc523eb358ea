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
#include "io/rules.h"

struct events;

struct ctl_peer {
	int64_t heard_ms;	/* since its last accepted HELLO; -1: never heard */
	int64_t grant_ms;	/* for how long its grant to us still lasts; 0: it grants nothing */
	bool granted;		/* we grant to it */
};

enum ctl_witness { CTL_WITNESS_NONE, CTL_WITNESS_ANSWERS, CTL_WITNESS_SILENT };

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
};

#endif

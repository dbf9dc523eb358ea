/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_TURN_PRIV_H
#define CLUSTERD_TURN_PRIV_H

/* What turn.c (the loop and its effects) and control.c (what clusterctl asks) share. */

#include <systemd/sd-event.h>
#include <time.h>

#include "core/agent.h"
#include "ctl/ctx.h"
#include "flowpath.h"
#include "heartbeat.h"
#include "io/flows.h"
#include "io/group.h"
#include "observe.h"
#include "turn.h"
#include "util/clock.h"
#include "util/log.h"
#include "ways.h"

struct server;

#define BAD_MS 5000	/* between two lines about bad messages */

struct turn {
	struct conf conf;
	const char *conf_path;
	unsigned int self;
	struct setup *setup;

	/* rules */
	struct rules_want want;
	struct rules_service service[SERVICES_MAX];
	struct rules_peer peer[SERVICES_MAX][NODES_MAX];
	struct bucket_action *action[SERVICES_MAX];
	struct layout early_layout;	/* that the fast path was made for */
	bool repair;
	int64_t install_at;
	char install_why[256];		/* last reason logged; "": it works */

	/* draining */
	struct flows *flows;
	uint8_t *wanted[SERVICES_MAX], *empty, *before;
	uint64_t wanted_switch[SERVICES_MAX];	/* repl_switched() that 'wanted' is by */
	uint16_t *count[SERVICES_MAX];
	int count_err;
	bool give_up;			/* giveup.c */
	int give_up_err;		/* last one logged */

	struct ways *ways;		/* ways.c */
	struct flowpath *flowpath;	/* flowpath.c */
	struct observe *observe;	/* observe.c */

	struct agent *agent;
	struct agent_params ap;
	struct heartbeat *hb;
	struct hellosock_params net;
	struct probe *probe;		/* NULL: the interfaces cannot be listened on */

	struct group *group;
	bool group_up, stay_out;
	bool more;			/* group_dispatch() has more */
	int64_t group_at, waiting_at;
	struct log_limit bad_limit, full_limit;
	uint8_t buf[MSG_SIZE_MAX];

	sd_event *event;
	struct server *server;
	struct events *events;
	struct ctl_ctx ctx;

	int64_t refresh_at, status_at, watchdog_at, watchdog_ms;
	char status[128], refresh_why[256];
	bool weight_pending;		/* our configured weight is still to be told */
	bool stopping, done;
	bool left;			/* agent_stop() was called */
	int64_t leave_at, stop_at;
	int exit_status;
};

/* Into the log, the list of events, and to the notify hook. */
void turn_event(struct turn *t, const struct agent_event *e);

/* turn_group.c */
extern const struct group_ops turn_group_ops;
/* Flushes what was said in this turn; (re)connects. */
void turn_tick_group(struct turn *t, int64_t now);

/* Fills t->ctx; the agent and the events are there. */
void control_fill(struct turn *t);
/* t->ap gets what can change live, from t->conf. */
void control_live_params(struct turn *t);
/* As ctl_ctx.reload; 'arg' is the turn. */
int control_reload(void *arg, json_t **result);

#endif

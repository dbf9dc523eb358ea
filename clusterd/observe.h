/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_OBSERVE_H
#define CLUSTERD_OBSERVE_H

/*
 * Eyes and reflexes of this node: runs the configured monitors and checks (plug/host), feeds what
 * they see to core/health and core/agent, runs actions (io/unit, plug/child), the peer check (io/reach)
 * and the notify hook, and says what goes on to clusterctl.  Part of turn.c's main loop.
 */

#include <stdint.h>

#include "core/health.h"
#include "ctl/ctx.h"

struct turn;

/* Fills t->ap.repl.policy[] from t->conf; before agent_new().  0 or -errno, logged. */
int observe_prepare(struct turn *t);
/* Opens monitors and checks of t->conf; the agent and t->event are there.  0 or -errno, logged. */
int observe_open(struct turn *t);
void observe_close(struct turn *t);
/*
 * After a reload: t->conf has the new monitors and checks; unchanged ones go on as they are, changed
 * monitors begin anew, changed checks look in another way but keep their verdict and their action.
 */
void observe_reconf(struct turn *t);
int64_t observe_deadline(const struct turn *t);
void observe_tick(struct turn *t, int64_t now);
int observe_fd(const struct turn *t);	/* of the peer check; -1: none */
void observe_dispatch(struct turn *t);
/* Every event passes here: the notify hook. */
void observe_event(struct turn *t, const struct agent_event *e);

/* For clusterctl. */
unsigned int observe_monitors(const struct turn *t, struct ctl_monitor *out, unsigned int max);
unsigned int observe_checks(const struct turn *t, struct ctl_check *out, unsigned int max);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_WAYS_H
#define CLUSTERD_WAYS_H

/*
 * Every way by which packets reach this node or leave it for a peer, as the agent's state wants it:
 * tunnels, the VIPs that this node answers for (dispatch = announce), the signal for routers
 * (dispatch = route), the layout in force, what the schedulers need to know.
 *
 *   ways_prepare()   once, before the agent exists: names the VIPs that have holders
 *   ways_open()      once, after setup_open()
 *   ways_fill()      before each rules_commit(): the peers, the held VIPs, the layout of 'want'
 *   ways_installed() after it
 *   ways_tick()      renews and repeats what has a time of its own
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/addr.h"

struct turn;

/* 0 or -ENOMEM. */
int ways_prepare(struct turn *t);
/* 0 or -errno, logged. */
int ways_open(struct turn *t);
void ways_close(struct turn *t);
void ways_fill(struct turn *t);
void ways_installed(struct turn *t, int64_t now);
void ways_tick(struct turn *t, int64_t now);
int64_t ways_deadline(const struct turn *t);
/*
 * How long, ms, this node should go on after a stop was asked for, so that routers have followed before it
 * is gone: packets on their way to it are served, or handed on.
 */
int64_t ways_farewell(const struct turn *t);
/* Who answers ARP and ND for a VIP of an announce service; NOBODY. */
unsigned int ways_holder(const struct turn *t, const struct addr *vip);

#endif

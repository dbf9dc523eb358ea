/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_NETCHECK_H
#define CLUSTERD_CTL_NETCHECK_H

/* The daemon's part of 'clusterctl doctor': tries the network out between the members. */

#include <jansson.h>

#include "ctl/ctx.h"

#define NETCHECK_FRESH_MS 5000	/* results that are no older are given again */

/*
 * Starts a round of tests, or tells of the one under way or just done:
 *  {"local", "running", "members":[name, ...],
 *   "flood":[{"interface", "mac", "vip", "broadcast", "framed":[name, ...], "heard":[name, ...],
 *            "silent":[name, ...], "error"}],
 *   "paths":[{"node", "answers", "mtu"}]}
 * 'heard' is about a packet to the VIP in a frame to the MAC, 'framed' about a frame that carries no IP;
 * with "vip": null, for the broadcast, there is only the frame.  'silent' are members that are not in
 * 'heard'.  null: not possible here.
 */
json_t *netcheck_reply(const struct ctl_ctx *x);

#endif

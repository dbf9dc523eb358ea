/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_GIVEUP_H
#define CLUSTERD_GIVEUP_H

/*
 * Connections of a service that is down here, in buckets that are others' by now: a client that waits for
 * an answer of a program that hangs would learn of it from its own next packet, which may never come.
 * They are reset from here (io/sockets), and nothing of them is left when the service is back.
 */

#include <stdbool.h>

struct turn;

/* The kernel holds another table: some may have to go. */
void giveup_installed(struct turn *t);
/* Some more.  True: not all were done, come again. */
bool giveup_tick(struct turn *t);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_WATCH_H
#define CLUSTERD_CTL_WATCH_H

/* 'clusterctl watch': the status once a second until q, Ctrl-C or a signal. */

#include <stdbool.h>

/*
 * Takes the terminal (alternate screen, no echo) and always gives it back as it was; goes on when
 * clusterd is away for a while.  'json': a line of JSON per second instead, no terminal needed.
 * Returns the exit status.
 */
int watch_run(const char *socket_path, bool json);

#endif

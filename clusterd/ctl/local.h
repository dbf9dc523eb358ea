/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_LOCAL_H
#define CLUSTERD_CTL_LOCAL_H

/* The commands of clusterctl that need no daemon.  They print, and return the exit status. */

#include <stdbool.h>

/* Everything wrong with 'path' (CTL_USAGE), and whether this kernel will do (CTL_FAILED if not). */
int local_check(const char *path, bool json);

/* The plugins that are built in or in PLUGINDIR, and what is wrong with those that cannot be used. */
int local_plugins(bool json);

/* A corosync.conf made from 'path'. */
int local_corosync_conf(const char *path);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_PLUG_BUILTIN_H
#define CLUSTERD_PLUG_BUILTIN_H

/*
 * The plugins that are linked in: Makefile's PLUGINS_BUILTIN.  registry.c looks here first; tests
 * link a table of their own.
 */

#include "plug/plugin.h"

extern const struct clusterd_plugin *const builtin_plugins[];	/* ends with NULL */

#endif

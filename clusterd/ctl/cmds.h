/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_CMDS_H
#define CLUSTERD_CTL_CMDS_H

/* The daemon's side of the commands in ctl/table.h. */

#include <jansson.h>
#include <stdbool.h>

#include "ctl/ctx.h"

/*
 * A ctl_handler (ctl/server.h): 'arg' is a struct ctl_ctx.  Any request, however wrong, gets a
 * reply; NULL only without memory.
 */
json_t *cmds_handle(void *arg, const json_t *request, bool *follow);

#endif

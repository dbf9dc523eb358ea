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

/* Arguments of several commands.  NOBODY with '*refusal' (a reply) if there is no such node. */
unsigned int cmds_node(const struct ctl_ctx *x, const char *name, json_t **refusal);
/* "0".."1000", "auto" (ORDER_AUTO): NULL, or the refusal. */
json_t *cmds_weight(const char *text, uint16_t *value);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_RENDER_H
#define CLUSTERD_CTL_RENDER_H

/* The daemon's JSON -> what a human reads.  A key that is missing or null is printed as "-". */

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "ctl/table.h"

struct render {
	FILE *out;
	bool colours;
};

/* Colours if 'out' is a terminal and NO_COLOR (no-color.org) is not set. */
void render_init(struct render *r, FILE *out);

/* The result of that command. */
void render_result(const struct render *r, enum ctl_id cmd, const json_t *result);

/* One event, one line. */
void render_event(const struct render *r, const json_t *event);

#endif

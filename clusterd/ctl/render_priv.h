/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_RENDER_PRIV_H
#define CLUSTERD_CTL_RENDER_PRIV_H

/* For the files of ctl/render.h only. */

#include <jansson.h>
#include <stdbool.h>

#include "ctl/grid.h"
#include "ctl/render.h"

static inline const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "-";
}

static inline long long num(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static inline bool yes(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static inline void cell_load(struct grid *g, const json_t *o, const char *key)
{
	const json_t *load = json_object_get(o, key);

	if (json_is_number(load))
		grid_cell(g, PLAIN, "%.2f", json_number_value(load));
	else
		grid_cell(g, PLAIN, "-");
}

static inline void cell_num(struct grid *g, const json_t *o, const char *key)
{
	if (json_is_integer(json_object_get(o, key)))
		grid_cell(g, PLAIN, "%lld", num(o, key));
	else
		grid_cell(g, PLAIN, "-");
}

/* Where a service is not fit to serve, one line each; nothing while all is well. */
void render_unfit(const struct render *r, const json_t *result);

void render_plan(const struct render *r, const json_t *result);
void render_monitors(const struct render *r, const json_t *result);
void render_checks(const struct render *r, const json_t *result);
void render_plugins(const struct render *r, const json_t *result);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/grid.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct cell { char *text; enum colour colour; };

struct grid {
	unsigned int n_columns, n_cells, room;
	bool right[GRID_COLUMNS];
	struct cell *cell;		/* row by row, the heads first */
};

const char *colour_on(enum colour c, bool colours)
{
	static const char *const codes[] = {
		[PLAIN] = "", [BOLD] = "\033[1m", [DIM] = "\033[2m", [RED] = "\033[1;31m",
		[GREEN] = "\033[32m", [YELLOW] = "\033[33m",
	};

	return colours ? codes[c] : "";
}

const char *colour_off(bool colours)
{
	return colours ? "\033[0m" : "";
}

/* Takes ownership of 'text'. */
static void add(struct grid *g, enum colour colour, char *text)
{
	if (g->n_cells == g->room) {
		unsigned int room = g->room ? 2 * g->room : 64;
		struct cell *cell = realloc(g->cell, room * sizeof(*cell));

		if (!cell) {
			free(text);
			return;
		}
		g->cell = cell;
		g->room = room;
	}
	g->cell[g->n_cells++] = (struct cell){ .text = text, .colour = colour };
}

int grid_new(struct grid **out, const char *heads)
{
	struct grid *g = calloc(1, sizeof(*g));
	size_t len;

	if (!g)
		return -ENOMEM;
	for (; g->n_columns < GRID_COLUMNS; heads += len + 1) {
		bool right = *heads == '>';

		heads += right;
		len = strcspn(heads, "|");
		g->right[g->n_columns++] = right;
		add(g, BOLD, strndup(heads, len));
		if (!heads[len])
			break;
	}
	*out = g;
	return 0;
}

void grid_free(struct grid *g)
{
	unsigned int i;

	if (!g)
		return;
	for (i = 0; i < g->n_cells; i++)
		free(g->cell[i].text);
	free(g->cell);
	free(g);
}

void grid_cell(struct grid *g, enum colour colour, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add(g, colour, text);
}

static const char *text_of(const struct cell *c)
{
	return c->text ? c->text : "";
}

void grid_print(const struct grid *g, FILE *out, bool colours)
{
	int width[GRID_COLUMNS] = { 0 }, len, pad;
	unsigned int i, col;

	for (i = 0; i < g->n_cells; i++) {
		len = (int)strlen(text_of(&g->cell[i]));
		if (len > width[i % g->n_columns])
			width[i % g->n_columns] = len;
	}
	for (i = 0; i < g->n_cells; i++) {
		const struct cell *c = &g->cell[i];
		bool last;

		col = i % g->n_columns;
		last = col + 1 == g->n_columns;
		pad = width[col] - (int)strlen(text_of(c));
		if (g->right[col])
			fprintf(out, "%*s", pad, "");
		fprintf(out, "%s%s%s", c->colour ? colour_on(c->colour, colours) : "", text_of(c),
			c->colour ? colour_off(colours) : "");
		if (last)
			fputc('\n', out);
		else
			fprintf(out, "%*s  ", g->right[col] ? 0 : pad, "");
	}
}

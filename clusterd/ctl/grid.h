/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_GRID_H
#define CLUSTERD_CTL_GRID_H

/* A table of text with aligned columns, for clusterctl. */

#include <stdbool.h>
#include <stdio.h>

#define GRID_COLUMNS 14

enum colour { PLAIN, BOLD, DIM, RED, GREEN, YELLOW };

struct grid;

/* 'heads' separated by '|'; a head that begins with '>' aligns its column to the right. */
int grid_new(struct grid **out, const char *heads);
void grid_free(struct grid *g);
/* Appends a cell; the first one after a full row begins the next row.  Lost without memory. */
void grid_cell(struct grid *g, enum colour colour, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void grid_print(const struct grid *g, FILE *out, bool colours);

/* Escape sequences, or "" when 'colours' is false. */
const char *colour_on(enum colour c, bool colours);
const char *colour_off(bool colours);

#endif

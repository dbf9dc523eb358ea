/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_PRIV_H
#define CLUSTERD_IO_RULES_PRIV_H

/* What rules.c lends to rules_flows.c.  Nobody else includes this. */

#include "io/rules.h"
#include "io/rules_nl.h"

/* The socket that owns the live tables: only it may change them. */
struct rules_nl *rules_priv_nl(struct rules *r);
/* Is set 'name' part of what is installed in netdev clusterd? */
bool rules_priv_has_set(const struct rules *r, const char *name);
/* Sets rules_strerror() and returns 'err'. */
int rules_priv_fail(struct rules *r, int err, const char *what);

#endif

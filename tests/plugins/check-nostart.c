/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: a callback that must be there is not. */
#include "bad.h"

static const struct clusterd_observer_ops without = {
	.validate = validate, .open = open_it, .close = close_it, .start = NULL,
};

DESCRIPTOR(.name = "nostart", .observer = &without);

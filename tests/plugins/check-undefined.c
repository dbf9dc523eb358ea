/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Must be refused: it needs a function that nobody has. */
#include "bad.h"

int nobody_has_this(void);

static int needs_it(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
		    size_t err_size)
{
	return validate(opt, n, bad, err, err_size) + nobody_has_this();
}

static const struct clusterd_observer_ops undefined = {
	.validate = needs_it, .open = open_it, .close = close_it, .start = start,
};

DESCRIPTOR(.name = "undefined", .observer = &undefined);

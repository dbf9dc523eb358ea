/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one that is fine: what is bad around it does not matter. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bad.h"

/* Takes "port", and refuses what the service has no port for. */
static int picky(const struct clusterd_option *opt, size_t n, const char **bad, char *err, size_t err_size)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (strcmp(opt[i].key, "@proto") == 0 && strcmp(opt[i].value, "tcp") != 0) {
			*bad = "@proto";
			snprintf(err, err_size, "needs a service with a TCP port");
			return -EINVAL;
		}
		if (opt[i].key[0] != '@' && strcmp(opt[i].key, "port") != 0) {
			*bad = opt[i].key;
			snprintf(err, err_size, "unknown key; good has: port");
			return -EINVAL;
		}
	}
	return validate(opt, n, bad, err, err_size);
}

static const struct clusterd_observer_ops good = {
	.validate = picky, .open = open_it, .close = close_it, .start = start,
};

DESCRIPTOR(.name = "good", .summary = "fine", .observer = &good);

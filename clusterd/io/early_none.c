// SPDX-License-Identifier: GPL-2.0-or-later
/* Takes the place of early.c in a build without clang or libbpf. */
#include "io/early.h"

#include <errno.h>
#include <stdio.h>

int early_open(struct early **out, const struct rules_want *want, char *why, size_t size)
{
	snprintf(why, size, "built without clang or libbpf");
	*out = NULL;
	return -EOPNOTSUPP;
}

void early_close(struct early *e)
{
}

void early_hold(struct early *e, const struct rules_want *want)
{
}

void early_release(struct early *e, const struct rules_want *want)
{
}

void early_clear(struct early *e)
{
}

int early_counters(struct early *e, unsigned int service, struct rules_counters *sum)
{
	return 0;
}

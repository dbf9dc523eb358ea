// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/types.h"

#include <string.h>

const char *bucket_state_str(enum bucket_state s)
{
	static const char *const names[BUCKET_STATES_N] = {
#define X(name, text) [BUCKET_##name] = text,
		BUCKET_STATES(X)
#undef X
	};

	return (unsigned int)s < BUCKET_STATES_N ? names[s] : "?";
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
	return a->buckets == b->buckets && !memcmp(a->hash, b->hash, sizeof(a->hash));
}

bool layout_valid(const struct layout *l)
{
	return l->buckets >= BUCKETS_MIN && l->buckets <= BUCKETS_MAX && !(l->buckets & (l->buckets - 1));
}

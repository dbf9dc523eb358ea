// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/types.h"

const char *bucket_state_str(enum bucket_state s)
{
	static const char *const names[BUCKET_STATES_N] = {
#define X(name, text) [BUCKET_##name] = text,
		BUCKET_STATES(X)
#undef X
	};

	return (unsigned int)s < BUCKET_STATES_N ? names[s] : "?";
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/msg.h"

const char *msg_type_str(enum msg_type t)
{
	static const char *const names[MSG_TYPES_N] = {
#define X(name, text, repl) [MSG_##name] = text,
		MSG_TYPES(X)
#undef X
	};

	return t > MSG_NONE && t < MSG_TYPES_N ? names[t] : "?";
}

bool msg_is_replicated(enum msg_type t)
{
	static const bool replicated[MSG_TYPES_N] = {
#define X(name, text, repl) [MSG_##name] = repl,
		MSG_TYPES(X)
#undef X
	};

	return t > MSG_NONE && t < MSG_TYPES_N && replicated[t];
}

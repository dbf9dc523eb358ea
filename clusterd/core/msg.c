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

const char *fitness_str(enum fitness f)
{
	static const char *const names[FITNESS_N] = {
		[FITNESS_UP] = "up", [FITNESS_WORKS] = "works", [FITNESS_DOWN] = "down",
	};

	return (unsigned int)f < FITNESS_N ? names[f] : "?";
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_COMPILE_H
#define CLUSTERD_CORE_COMPILE_H

/* Replicated bucket -> what this node's kernel does with it.  Pure. */

#include "core/repl.h"
#include "core/types.h"

struct bucket_action compile_bucket(const struct repl *r, unsigned int service, uint32_t b,
				    unsigned int self, uint64_t lost);

/* A whole service: fills action[0..buckets). */
void compile_service(const struct repl *r, unsigned int service, unsigned int self, uint64_t lost,
		     struct bucket_action *action);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_HELLO_H
#define CLUSTERD_CORE_HELLO_H

/*
 * The content of one HELLO heartbeat as a plain value.  core/lease decides with it, wire/hello
 * turns it into bytes and back.  Node ids in a decoded one are checked: 1..NODES_MAX.
 */

#include "core/types.h"

/* "My grant to 'node' in its term 'term' has expired; 'gen' counts my reports about it." */
struct hello_report { uint8_t node; uint32_t term; uint32_t gen; };

struct hello {
	uint8_t from, to;
	uint64_t incarnation;		/* of the sender: another number for every start of the daemon */
	uint32_t term;			/* the sender's: a new one for every admission */
	uint64_t seq;			/* grows with every HELLO to 'to' within one incarnation */
	uint64_t echo_incarnation;	/* of 'to', with echo_seq */
	uint64_t echo_seq;		/* last seq heard from 'to' = a grant; 0: no grant to you now */
	uint8_t n_reports;
	struct hello_report report[NODES_MAX];
};

#endif

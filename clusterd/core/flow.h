/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_FLOW_H
#define CLUSTERD_CORE_FLOW_H

/* One flow of a service, seen from the client, and the node that serves it.  Values only. */

#include <stdint.h>

#include "core/types.h"
#include "util/addr.h"

struct flow {
	uint8_t service;
	uint8_t proto;			/* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t node;			/* NOBODY: not known */
	struct addr client, vip;	/* of one family */
	uint16_t sport, dport;		/* host order */
};

#endif

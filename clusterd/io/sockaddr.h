/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_SOCKADDR_H
#define CLUSTERD_IO_SOCKADDR_H

/* struct addr <-> what the socket calls take. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "util/addr.h"

union sockaddr_any {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/*
 * Fills 'out', 'port' in host order; 'scope' is the interface's index, for link-local addresses.  Returns
 * the bytes that count.
 */
socklen_t sockaddr_from(const struct addr *a, uint16_t port, unsigned int scope,
			union sockaddr_any *out);
/* The same address, whatever the port. */
bool sockaddr_is(const union sockaddr_any *from, const struct addr *a);

#endif

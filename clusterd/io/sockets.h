/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_SOCKETS_H
#define CLUSTERD_IO_SOCKETS_H

/*
 * This machine's TCP connections to a service, and their end: sock_diag(7), SOCK_DESTROY of
 * linux/sock_diag.h.  The program behind it gets ECONNABORTED, the client a reset.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

#define SOCKETS_ABORT_MAX 4096	/* per call: the caller has other things to do */

/*
 * Ends those connections to the service's VIPs and TCP ports for which 'wanted' is true (client's
 * address and port).  How many were, at most SOCKETS_ABORT_MAX: then there may be more; -EOPNOTSUPP: this
 * kernel cannot (CONFIG_INET_DIAG_DESTROY); -errno.
 */
typedef bool (*sockets_cb)(void *arg, const struct addr *client, uint16_t port);
int sockets_abort(const struct conf_service *s, sockets_cb wanted, void *arg);

#endif

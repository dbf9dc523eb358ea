/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_SORRY_H
#define CLUSTERD_IO_SORRY_H

/*
 * Answers for services that no node is fit for (sorry = redirect URL): a small HTTP server, on
 * libmicrohttpd with a thread of its own, to which the rules redirect new connections of such a service.
 * Every request gets 302 with Location: URL, Retry-After, Cache-Control: no-store and a short page;
 * which URL goes by the local port that the client meant (SO_ORIGINAL_DST).  It answers on plain HTTP only:
 * clients of TLS ports see their handshake fail.
 */

#include <stdint.h>

#include "util/addr.h"

#define SORRY_MAX_CONNECTIONS 256
#define SORRY_TARGETS_MAX 256

struct sorry;

struct sorry_target { struct addr vip; uint16_t lo, hi; const char *url; };	/* url copied */

/* Listens on 'port', IPv4 and IPv6.  0 or -errno with '*why' set to a static text. */
int sorry_open(struct sorry **out, uint16_t port, const char **why);
/* NULL is fine. */
void sorry_close(struct sorry *s);
/* Replaces the list; what is in no target gets 503. */
int sorry_set(struct sorry *s, const struct sorry_target *target, unsigned int n);
uint64_t sorry_answered(const struct sorry *s);

#endif

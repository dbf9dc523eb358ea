/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_FLOWS_H
#define CLUSTERD_IO_FLOWS_H

/*
 * Conntrack, read only: how many live connections are left in each draining bucket, and which flows
 * end at this node.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "core/flow.h"

struct flows;
int flows_open(struct flows **out);
void flows_close(struct flows *f);

struct flows_service {
	const struct conf_service *conf;
	uint32_t seed, buckets;
	enum conf_hash hash;		/* in force (conf->hash may be one that is to come) */
	/* bit per bucket (byte b/8, bit b%8): count only these; borrowed for the call */
	const uint8_t *wanted;
	/* out: one count per bucket, saturating at 65535; entries not wanted stay 0 */
	uint16_t *count;
};

/*
 * Counts TCP connections to the services' VIPs and ports that are still alive (SYN_RECV,
 * ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK; not TIME_WAIT or CLOSE) with one dump of the table.
 * 0, or -errno with all counts undefined.
 */
int flows_count(struct flows *f, struct flows_service *s, unsigned int n);

/*
 * Calls 'cb' for each live flow of the services whose bucket is in 'wanted' (NULL: all), with one
 * dump, until it returns false: TCP connections as flows_count() counts them, and UDP flows that
 * were answered. flow->service is the index in 's', flow->node NOBODY; 'expires_ms' is conntrack's
 * timeout.  'count' is not used.  0 or -errno.
 */
int flows_list(struct flows *f, const struct flows_service *s, unsigned int n,
	       bool (*cb)(void *arg, const struct flow *flow, uint32_t expires_ms), void *arg);

/* How many live flows each of the services has here, conns[i] for s[i]; one dump.  0 or -errno. */
int flows_load(struct flows *f, const struct flows_service *s, unsigned int n, uint32_t *conns);

/* Does this live flow end here?  1, 0, or -errno.  One look-up, no dump. */
int flows_has(struct flows *f, const struct flow *flow);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_FLOWS_H
#define CLUSTERD_IO_FLOWS_H

/* Conntrack, read only: how many live connections are left in each draining bucket. */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct flows;
int flows_open(struct flows **out);
void flows_close(struct flows *f);

struct flows_service {
	const struct conf_service *conf;
	uint32_t seed, buckets;
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

#endif

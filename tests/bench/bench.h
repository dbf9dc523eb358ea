/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_BENCH_H
#define CLUSTERD_BENCH_H

/* What the sender, the rule sets and the XDP program of one measurement must agree on. */

#define BENCH_SEED  0x5eed1234u
#define BENCH_NODES 3			/* this node is the first of them and owns a third */
#define BENCH_VIP   0x0a4d00fau		/* 10.77.0.250 */
#define BENCH_VIP_STR "10.77.0.250"
#define BENCH_PORT  80

/* Rows "ns per packet": the buckets that this node owns. */
#define bench_mine(bucket) ((bucket) % BENCH_NODES == 0)
#define bench_owner(bucket) ((uint8_t)(1 + (bucket) % BENCH_NODES))

/* Row "commit": the few buckets that stay this node's while all others come and go. */
#define BENCH_KEPT 16u
#define bench_kept(bucket, buckets) ((bucket) % ((buckets) / BENCH_KEPT) == 5)

#endif

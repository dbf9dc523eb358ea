/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_BPF_EARLY_MAP_H
#define CLUSTERD_BPF_EARLY_MAP_H

/* What io/early.c and bpf/early.bpf.c must agree on.  Plain kernel types: both sides include it. */

#include <linux/types.h>

#define EARLY_SERVICES 16	/* SERVICES_MAX; a power of two */
#define EARLY_NEAR     4	/* keys per family that are compared one by one, before the hash map */
#define EARLY_MARK     0xc1d00001u	/* RULES_MARK_ACCEPT */

/* One byte per bucket, the buckets of all services in a row. */
enum early_verdict { EARLY_PASS = 0, EARLY_DROP = 1, EARLY_ACCEPT = 2 };

/* Address, protocol and port as on the wire; IPv4 in the first word. */
struct early_key {
	__u32 addr[4];
	__u16 port;
	__u8 proto;
	__u8 v6;
};

struct early_near {
	struct early_key key;
	__u32 service;
};

struct early_service {
	__u32 seed, buckets;
	__u32 first;		/* where its buckets begin */
	__u32 with_port;	/* hash = source-port */
	__u32 to_us;		/* only frames for this node's own MAC (announce, route) */
};

/* Constants of the program once it is loaded: the verifier drops what they make unreachable. */
struct early_conf {
	__u32 total;		/* bytes in the one value of 'verdict' */
	__u32 n4, n6;		/* keys in near4, near6 */
	__u32 more4, more6;	/* there are others, in 'services' */
	struct early_near near4[EARLY_NEAR], near6[EARLY_NEAR];
};

struct early_count { __u64 accepted, foreign; };

#endif

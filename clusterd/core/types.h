/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CORE_TYPES_H
#define CLUSTERD_CORE_TYPES_H

/* Words that every layer shares.  Values only. */

#include <stdbool.h>
#include <stdint.h>

#define NODES_MAX     64	/* a node set is one 64-bit mask */
#define SERVICES_MAX  16
#define BUCKETS_MIN   64
#define BUCKETS_MAX   65536
#define NAME_SIZE     32	/* of nodes and services, NUL included */
#define NOBODY        0		/* the node id that no node has */
#define HOLDERS_MAX   256	/* different VIPs of announce services, all services together */

/* Node ids are 1..NODES_MAX: the position in [cluster] nodes, and corosync's nodeid. */
static inline uint64_t node_bit(unsigned int id) { return UINT64_C(1) << (id - 1); }
static inline bool mask_has(uint64_t mask, unsigned int id)
{ return id != NOBODY && (mask & node_bit(id)); }
static inline unsigned int mask_count(uint64_t mask) { return (unsigned int)__builtin_popcountll(mask); }
/* Lowest id in 'mask', or NOBODY. */
static inline unsigned int mask_lowest(uint64_t mask)
{ return mask ? (unsigned int)__builtin_ctzll(mask) + 1 : NOBODY; }
/* The next one above 'id' in 'mask', around the end: 'id' itself if there is no other, NOBODY. */
static inline unsigned int mask_next(uint64_t mask, unsigned int id)
{
	uint64_t above = id < NODES_MAX ? mask & ~(node_bit(id + 1) - 1) : 0;

	return mask_lowest(above ? above : mask);
}

/*
 * What this node's kernel does with one bucket (DESIGN "data plane").  X(NAME, text)
 * The names are the ones that 'clusterctl buckets' and 'trace' print.
 */
#define BUCKET_STATES(X) \
	X(FOREIGN,  "foreign")	/* somebody else's: drop; or hand to 'to' */ \
	X(MINE,     "mine")	/* accept all */ \
	X(ARRIVING, "arriving")	/* 'to' still owns: SYN only from there; established: accept */ \
	X(ADOPTING, "adopting")	/* SYN: accept; established here: accept; else drop, never RST */ \
	X(LEAVING,  "leaving")	/* SYN: hand to 'to', even back; established here: accept; else drop */ \
	X(DRAINING, "draining")	/* SYN: drop (the new owner has its copy); established here: accept; else drop */

enum bucket_state {
#define X(name, text) BUCKET_##name,
	BUCKET_STATES(X)
#undef X
	BUCKET_STATES_N
};
const char *bucket_state_str(enum bucket_state s);

/* One bucket as the kernel is to see it. */
struct bucket_action {
	uint8_t state;		/* enum bucket_state */
	/*
	 * The other node that matters, or NOBODY.  FOREIGN, ARRIVING: who takes new flows now; LEAVING,
	 * DRAINING: the new owner; ADOPTING: the old owner, while it may still know flows; MINE: NOBODY.
	 */
	uint8_t to;
};

/* How packets become bucket numbers; the same on all nodes. */
struct layout {
	uint32_t buckets;		/* of every service */
	uint8_t hash[SERVICES_MAX];	/* enum conf_hash; the core only compares it */
};
bool layout_equal(const struct layout *a, const struct layout *b);
bool layout_valid(const struct layout *l);

#endif

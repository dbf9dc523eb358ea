/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_UTIL_JHASH_H
#define CLUSTERD_UTIL_JHASH_H

/*
 * Bit-exact twin of the kernel's jhash() (include/linux/jhash.h, Bob Jenkins' lookup3, public
 * domain) and of reciprocal_scale() (include/linux/kernel.h), as nft_hash uses them.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/addr.h"

uint32_t jhash(const void *key, size_t size, uint32_t seed);

static inline uint32_t reciprocal_scale(uint32_t value, uint32_t range)
{ return (uint32_t)(((uint64_t)value * range) >> 32); }

/*
 * The bucket of a client as the kernel rules compute it: jhash over the address (4 or 16 bytes) and,
 * if 'with_port', the source port in network order padded with two zero bytes.  'port' in host order.
 */
uint32_t jhash_bucket(const struct addr *client, uint16_t port, bool with_port,
		      uint32_t buckets, uint32_t seed);

/* A well-mixed 32-bit hash of two words, for everything of ours that the kernel does not compute. */
uint32_t hash2(uint32_t a, uint32_t b, uint32_t seed);

#endif

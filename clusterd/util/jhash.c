// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/jhash.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

static inline uint32_t rol32(uint32_t v, unsigned int n)
{
	return v << n | v >> (32 - n);
}

/* Words are read in the machine's own byte order, as the kernel does (__get_unaligned_cpu32). */
static inline uint32_t word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void mix(uint32_t s[3])
{
	static const uint8_t rot[6] = { 4, 6, 8, 16, 19, 4 };

	for (unsigned int i = 0; i < 6; i++) {
		uint32_t *a = &s[i % 3], *b = &s[(i + 1) % 3], *c = &s[(i + 2) % 3];

		*a -= *c;
		*a ^= rol32(*c, rot[i]);
		*c += *b;
	}
}

static void final(uint32_t s[3])
{
	static const uint8_t rot[7] = { 14, 11, 25, 16, 4, 14, 24 };

	/* c by b, a by c, b by a, and so on. */
	for (unsigned int i = 0; i < 7; i++) {
		uint32_t *to = &s[(i + 2) % 3], *from = &s[(i + 1) % 3];

		*to ^= *from;
		*to -= rol32(*from, rot[i]);
	}
}

uint32_t jhash(const void *key, size_t size, uint32_t seed)
{
	const uint8_t *p = key;
	uint32_t init = 0xdeadbeef + (uint32_t)size + seed;
	uint32_t s[3] = { init, init, init };

	if (!size)
		return init;
	/* The last 1..12 bytes go to final(), so a whole block of 12 stays for it. */
	for (; size > 12; size -= 12, p += 12) {
		s[0] += word(p);
		s[1] += word(p + 4);
		s[2] += word(p + 8);
		mix(s);
	}
	/* The tail is little-endian by definition, whatever the machine. */
	for (size_t i = 0; i < size; i++)
		s[i / 4] += (uint32_t)p[i] << (8 * (i % 4));
	final(s);
	return s[2];
}

uint32_t jhash_bucket(const struct addr *client, uint16_t port, bool with_port,
		      uint32_t buckets, uint32_t seed)
{
	uint8_t key[20] = { 0 };
	size_t size = addr_size(client);

	assert(size && buckets > 1);
	memcpy(key, client->b, size);
	if (with_port) {
		key[size] = (uint8_t)(port >> 8);
		key[size + 1] = (uint8_t)port;
		size += 4;	/* nft pads each part of a concatenation to a whole register */
	}
	return reciprocal_scale(jhash(key, size, seed), buckets);
}

/* murmur3's block step and finalizer (Austin Appleby, public domain). */
uint32_t hash2(uint32_t a, uint32_t b, uint32_t seed)
{
	uint32_t in[2] = { a, b }, h = seed;

	for (unsigned int i = 0; i < 2; i++) {
		h ^= rol32(in[i] * 0xcc9e2d51, 15) * 0x1b873593;
		h = rol32(h, 13) * 5 + 0xe6546b64;
	}
	h ^= 8;		/* bytes hashed */
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ h >> 16;
}

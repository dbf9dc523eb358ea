/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_UTIL_CSUM_H
#define CLUSTERD_UTIL_CSUM_H

/* The Internet checksum (RFC 1071), of bytes as they are on the wire. */

#include <stddef.h>
#include <stdint.h>

/* 'sum' goes on from 0, a pseudo header's numbers, or earlier pieces of even length. */
static inline uint32_t csum_add(uint32_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

/* Writes what belongs into the checksum field at 'at', which was 0 when it was added up. */
static inline void csum_put(void *at, uint32_t sum)
{
	uint8_t *p = at;

	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	p[0] = (uint8_t)(~sum >> 8);
	p[1] = (uint8_t)~sum;
}

#endif

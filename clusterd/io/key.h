/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_KEY_H
#define CLUSTERD_IO_KEY_H

/*
 * The cluster key: one file of 32..4096 bytes, the same on every node (corosync's authkey will do).
 * The file's bytes are never used or kept themselves; everything is derived from them by HMAC-SHA256
 * (RFC 2104) together with the cluster's name, so that two clusters with one key file do not
 * understand each other.
 *
 * The file may be binary or text.  In a file that is nothing but text, white space at the end does
 * not count (an editor's newline must not make a different key).
 */

#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE_MIN 32
#define KEY_SIZE_MAX 4096
#define KEY_WHY_SIZE 256

struct key {
	uint8_t hello[32];	/* for the HMAC of HELLOs */
	uint8_t seeds[32];	/* what key_seed() starts from */
};

/*
 * Reads 'path'.  0: good.  1: good, but 'why' holds a warning (others than its owner can get at the
 * file).  -ENOENT, -EACCES, ...: cannot be read; -EINVAL: not a regular file, too short, too long,
 * or the same byte throughout; 'why' is a sentence that names the file.
 */
int key_read(struct key *k, const char *path, const char *cluster, char why[KEY_WHY_SIZE]);

/* The seed of a service's bucket hash; the same on all nodes, not to be guessed by clients. */
uint32_t key_seed(const struct key *k, const char *service);

#endif

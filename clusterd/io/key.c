/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/key.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* out = HMAC-SHA256(secret, label NUL name): the NUL keeps label and name apart. */
static void derive(const uint8_t *secret, size_t size, const char *label, const char *name,
		   uint8_t out[32])
{
	struct hmac_sha256_ctx ctx;

	hmac_sha256_set_key(&ctx, size, secret);
	hmac_sha256_update(&ctx, strlen(label) + 1, (const uint8_t *)label);
	hmac_sha256_update(&ctx, strlen(name), (const uint8_t *)name);
	hmac_sha256_digest(&ctx, 32, out);
	explicit_bzero(&ctx, sizeof(ctx));
}

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The bytes that count: all, or without the white space at the end if it is all ASCII text. */
static size_t key_trim(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!is_space(p[i]) && (p[i] < '!' || p[i] > '~'))
			return size;
	while (size > 0 && is_space(p[size - 1]))
		size--;
	return size;
}

static int read_file(const char *path, uint8_t *buf, size_t size, size_t *got, struct stat *st)
{
	int fd, err = 0;

	*got = 0;
	/* O_NONBLOCK: a FIFO must not hang us before fstat() says what it is. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, st) < 0) {
		err = -errno;
	} else if (S_ISREG(st->st_mode)) {
		while (*got < size) {
			ssize_t n = read(fd, buf + *got, size - *got);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				err = -errno;
			if (n <= 0)
				break;
			*got += (size_t)n;
		}
	}
	close(fd);
	return err;
}

static int check(const char *path, const uint8_t *p, size_t got, size_t size,
		 const struct stat *st, char why[KEY_WHY_SIZE])
{
	if (!S_ISREG(st->st_mode)) {
		snprintf(why, KEY_WHY_SIZE, "cluster key %s is not a regular file", path);
		return -EINVAL;
	}
	if (got > KEY_SIZE_MAX) {
		snprintf(why, KEY_WHY_SIZE, "cluster key %s is longer than %d bytes", path,
			 KEY_SIZE_MAX);
		return -EINVAL;
	}
	if (size < KEY_SIZE_MIN) {
		snprintf(why, KEY_WHY_SIZE,
			 "cluster key %s has %zu bytes, at least %d are needed; "
			 "corosync-keygen makes one", path, size, KEY_SIZE_MIN);
		return -EINVAL;
	}
	if (memcmp(p, p + 1, size - 1) == 0) {
		snprintf(why, KEY_WHY_SIZE, "cluster key %s is one byte repeated: no secret", path);
		return -EINVAL;
	}
	if (st->st_mode & S_IRWXO) {
		snprintf(why, KEY_WHY_SIZE,
			 "cluster key %s is open to every user (mode %04o); chmod 0400 it", path,
			 (unsigned int)(st->st_mode & 07777));
		return 1;
	}
	return 0;
}

int key_read(struct key *k, const char *path, const char *cluster, char why[KEY_WHY_SIZE])
{
	uint8_t buf[KEY_SIZE_MAX + 1];	/* one more, to notice a longer file */
	size_t got, size;
	struct stat st;
	int err;

	why[0] = '\0';
	err = read_file(path, buf, sizeof(buf), &got, &st);
	if (err < 0) {
		snprintf(why, KEY_WHY_SIZE, "cluster key %s: %s%s", path, strerror(-err),
			 err == -ENOENT ? "; corosync-keygen makes one, copy it to every node" : "");
		goto out;
	}
	size = key_trim(buf, got);
	err = check(path, buf, got, size, &st, why);
	if (err >= 0) {
		derive(buf, size, "clusterd hello 1", cluster, k->hello);
		derive(buf, size, "clusterd seeds 1", cluster, k->seeds);
	}
out:
	explicit_bzero(buf, sizeof(buf));
	return err;
}

uint32_t key_seed(const struct key *k, const char *service)
{
	uint8_t d[32];

	derive(k->seeds, sizeof(k->seeds), "service", service, d);
	return (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
}

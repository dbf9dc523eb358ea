/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/netif_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Only below /proc/sys, and nothing that would break a line of the undo file. */
bool netif_sysctl_path_valid(const char *path)
{
	return path[0] != '\0' && path[0] != '/' && strlen(path) < NETIF_PATH_SIZE &&
	       !strstr(path, "..") && !strpbrk(path, "\t\n");
}

static int sysctl_open(const char *path, int flags)
{
	char full[NETIF_PATH_SIZE + 16];
	int fd;

	snprintf(full, sizeof(full), "/proc/sys/%s", path);
	fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* One line, runs of white space as one blank: the kernel prints lists with tabs. */
static void squeeze(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s != ' ' && *s != '\t' && *s != '\n')
			*to++ = *s;
		else if (s[1] && s[1] != ' ' && s[1] != '\t' && s[1] != '\n')
			*to++ = ' ';
	}
	*to = '\0';
}

int netif_sysctl_get(const char *path, char *value, size_t size)
{
	int fd, err = 0;
	ssize_t got;

	if (!netif_sysctl_path_valid(path) || size == 0)
		return -EINVAL;
	fd = sysctl_open(path, O_RDONLY);
	if (fd < 0)
		return fd;
	got = read(fd, value, size);
	if (got < 0)
		err = -errno;
	else if ((size_t)got == size)
		err = -EFBIG;
	else
		value[got] = '\0';
	close(fd);
	if (!err)
		squeeze(value);
	return err;
}

static int sysctl_write(const char *path, const char *value)
{
	int fd = sysctl_open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return fd;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int netif_sysctl_write(const char *path, const char *value)
{
	char now[NETIF_VALUE_SIZE];

	if (!netif_sysctl_path_valid(path))
		return -EINVAL;
	/* Some can only be written, and only the writing counts. */
	if (netif_sysctl_get(path, now, sizeof(now)) == 0 && !strcmp(now, value))
		return 0;
	return sysctl_write(path, value);
}

int netif_sysctl_set(struct netif *n, const char *path, const char *value)
{
	struct change c = { .kind = CHANGE_SYSCTL };
	char now[NETIF_VALUE_SIZE];
	int err;

	if (!netif_sysctl_path_valid(path) || !netif_copy(c.path, sizeof(c.path), path) ||
	    !netif_copy(c.after, sizeof(c.after), value))
		return netif_fail(n, -EINVAL, "sysctl %.64s", path);
	squeeze(c.after);
	err = netif_sysctl_get(path, c.before, sizeof(c.before));
	if (err)
		return netif_fail(n, err, "reading sysctl %s", path);
	if (!strcmp(c.before, c.after))
		return 0;
	err = netif_note(n, &c);
	if (err)
		return err;
	err = sysctl_write(path, c.after);
	if (!err)
		err = netif_sysctl_get(path, now, sizeof(now));
	/* A value that the kernel changed on the way in would not be known as ours later. */
	if (!err && strcmp(now, c.after)) {
		(void)sysctl_write(path, c.before);
		err = -ERANGE;
	}
	if (!err)
		return 0;
	(void)netif_forget(n, n->n - 1);
	return netif_fail(n, err, "setting sysctl %s to %s", path, c.after);
}

/* Puts the old value back unless somebody else has set another one since. */
int netif_sysctl_undo(const struct change *c)
{
	char now[NETIF_VALUE_SIZE];
	int err = netif_sysctl_get(c->path, now, sizeof(now));

	if (err == -ENOENT)	/* its interface or module is gone */
		return 0;
	if (err || strcmp(now, c->after))
		return err;
	return sysctl_write(c->path, c->before);
}

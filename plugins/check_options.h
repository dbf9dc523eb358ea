/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CHECK_OPTIONS_H
#define CHECK_OPTIONS_H

/*
 * What the checks of this directory share: options by a table, addresses, the end of a look.  All of
 * it is in this header, so that each plugin stays one source file with one symbol.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "plug/plugin.h"

enum check_type {
	CHECK_TEXT,		/* min..max characters, all printable (tabs and UTF-8 count as such) */
	CHECK_NUMBER,		/* min..max */
	CHECK_ADDRESS,		/* an IPv4 or IPv6 address, no name */
	CHECK_YESNO,
	CHECK_PATH,		/* absolute */
};

struct check_rule {
	const char *key;
	enum check_type type;
	long min, max;
	bool required;
};

/* The value of 'key', NULL if the section has none or an empty one. */
static inline const char *check_get(const struct clusterd_option *opt, size_t n, const char *key)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!strcmp(opt[i].key, key))
			return opt[i].value[0] ? opt[i].value : NULL;
	}
	return NULL;
}

/* The value of 'key', else what the service says. */
static inline const char *check_get_or(const struct clusterd_option *opt, size_t n,
				       const char *key, const char *of_service)
{
	const char *v = check_get(opt, n, key);

	return v ? v : check_get(opt, n, of_service);
}

static inline bool check_number(const char *s, long min, long max, long *out)
{
	char *end;
	long v;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

static inline bool check_address(const char *s, struct in6_addr *v6, struct in_addr *v4)
{
	return inet_pton(AF_INET, s, v4) == 1 || inet_pton(AF_INET6, s, v6) == 1;
}

static inline bool check_yes(const char *value, bool otherwise)
{
	return value ? !strcmp(value, "yes") : otherwise;
}

/* Address and port of validated options; 0, or -EINVAL. */
static inline int check_sockaddr(struct sockaddr_storage *ss, socklen_t *len, const char *address,
				 long port)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *in = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	if (!address)
		return -EINVAL;
	if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		*len = sizeof(*in);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		*len = sizeof(*in6);
		return 0;
	}
	return -EINVAL;
}

/* How many characters must be inserted, removed or replaced; for words shorter than 24. */
static inline unsigned int check_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), i, j;
	unsigned int row[24], diag, up;

	if (la >= 24 || lb >= 24)
		return 99;
	for (j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (i = 1; i <= la; i++) {
		diag = row[0];
		row[0] = (unsigned int)i;
		for (j = 1; j <= lb; j++) {
			up = row[j];
			row[j] = diag + (a[i - 1] != b[j - 1]);
			if (up + 1 < row[j])
				row[j] = up + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			diag = up;
		}
	}
	return row[lb];
}

static inline void check_unknown(const struct check_rule *r, size_t n, const char *name,
				 const char *key, char *err, size_t err_size)
{
	unsigned int d, least = 99;
	size_t i, near = 0, used;

	for (i = 0; i < n; i++) {
		d = check_distance(key, r[i].key);
		if (d < least) {
			least = d;
			near = i;
		}
	}
	if (n && least <= 1 + strlen(r[near].key) / 3) {
		snprintf(err, err_size, "unknown key; did you mean \"%s\"?", r[near].key);
		return;
	}
	used = (size_t)snprintf(err, err_size, "unknown key; %s has:", name);
	for (i = 0; i < n && used < err_size; i++)
		used += (size_t)snprintf(err + used, err_size - used, " %s", r[i].key);
}

static inline bool check_value(const struct check_rule *r, const char *v, char *err,
			       size_t err_size)
{
	size_t len = strlen(v), i;
	struct in6_addr v6;
	struct in_addr v4;
	long number;

	switch (r->type) {
	case CHECK_NUMBER:
		if (check_number(v, r->min, r->max, &number))
			return true;
		snprintf(err, err_size, "must be a number from %ld to %ld", r->min, r->max);
		return false;
	case CHECK_ADDRESS:
		if (check_address(v, &v6, &v4))
			return true;
		snprintf(err, err_size, "must be an IPv4 or IPv6 address; names are not looked up");
		return false;
	case CHECK_YESNO:
		if (!strcmp(v, "yes") || !strcmp(v, "no"))
			return true;
		snprintf(err, err_size, "must be yes or no");
		return false;
	case CHECK_PATH:
		if (v[0] == '/' && len < 4096)
			return true;
		snprintf(err, err_size, "must be an absolute path");
		return false;
	case CHECK_TEXT:
		if (len < (size_t)r->min || len > (size_t)r->max) {
			snprintf(err, err_size, "must have %ld to %ld characters", r->min, r->max);
			return false;
		}
		for (i = 0; i < len; i++) {
			if (((unsigned char)v[i] < 32 && v[i] != '\t') || v[i] == 127) {
				snprintf(err, err_size, "must not have control characters");
				return false;
			}
		}
		return true;
	}
	return false;
}

/*
 * All that the table can say: unknown, repeated, missing and ill-formed keys.  What the service says
 * ("@...") passes, also what later versions add.  As clusterd_observer_ops.validate.
 */
static inline int check_options(const struct check_rule *r, size_t n_rules, const char *name,
				const struct clusterd_option *opt, size_t n, const char **bad,
				char *err, size_t err_size)
{
	size_t i, j;

	for (i = 0; i < n; i++) {
		if (opt[i].key[0] == '@')
			continue;
		*bad = opt[i].key;
		for (j = 0; j < n_rules && strcmp(r[j].key, opt[i].key) != 0; j++)
			;
		if (j == n_rules) {
			check_unknown(r, n_rules, name, opt[i].key, err, err_size);
			return -EINVAL;
		}
		if (check_get(opt, i, opt[i].key)) {
			snprintf(err, err_size, "given twice");
			return -EINVAL;
		}
		if (!check_value(&r[j], opt[i].value, err, err_size))
			return -EINVAL;
	}
	for (j = 0; j < n_rules; j++) {
		if (r[j].required && !check_get(opt, n, r[j].key)) {
			*bad = r[j].key;
			snprintf(err, err_size, "is missing; %s needs it", name);
			return -EINVAL;
		}
	}
	*bad = NULL;
	return 0;
}

/* An address and a port must come from somewhere, and the port must be one of TCP. */
static inline int check_target(const struct clusterd_option *opt, size_t n, const char **bad,
			       char *err, size_t err_size)
{
	const char *proto = check_get(opt, n, "@proto"), *port = check_get(opt, n, "@port");
	long v;

	if (!check_get_or(opt, n, "address", "@address")) {
		*bad = "address";
		snprintf(err, err_size, "is missing: the service has no address");
		return -EINVAL;
	}
	if (check_get(opt, n, "port"))
		return 0;
	*bad = "port";
	if (!port || !check_number(port, 1, 65535, &v)) {
		snprintf(err, err_size, "is missing: the service has no single port");
		return -EINVAL;
	}
	if (proto && strcmp(proto, "tcp") != 0) {
		snprintf(err, err_size, "is missing: the service's port %s is one of %s, not of tcp",
			 port, proto);
		return -EINVAL;
	}
	*bad = NULL;
	return 0;
}

/*
 * A look ends by our own timer a little before the host's, because we know better what was missing.
 */
static inline int check_before(int timeout_ms)
{
	return timeout_ms > 10 ? timeout_ms - 2 : timeout_ms;
}

/* strerror() of what a connection may die of, as an operator would say it. */
static inline const char *check_errno(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return "connection refused";
	case ECONNRESET:
	case EPIPE:
		return "connection reset";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "no route to the address";
	case ETIMEDOUT:
		return "connection timed out";
	case EADDRNOTAVAIL:
		return "no free port, or the address is not there";
	case EMFILE:
	case ENFILE:
		return "too many open files";
	default:
		return strerror(err);
	}
}

#endif

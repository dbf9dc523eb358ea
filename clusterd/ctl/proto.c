// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/proto.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_SIZE 1024

void proto_in_init(struct proto_in *in, size_t max)
{
	*in = (struct proto_in){ .max = max };
}

void proto_in_free(struct proto_in *in)
{
	free(in->buf);
	in->buf = NULL;
	in->size = in->len = in->scanned = in->taken = 0;
}

/* Forgets the line that proto_in_line() gave away last. */
static void drop_taken(struct proto_in *in)
{
	if (!in->taken)
		return;
	memmove(in->buf, in->buf + in->taken, in->len - in->taken);
	in->len -= in->taken;
	in->scanned = 0;
	in->taken = 0;
}

ssize_t proto_in_read(struct proto_in *in, int fd)
{
	ssize_t n;

	drop_taken(in);
	if (in->len >= in->max)
		return -EMSGSIZE;
	if (in->len == in->size) {
		size_t size = in->size ? 2 * in->size : FIRST_SIZE;
		char *buf;

		if (size > in->max)
			size = in->max;
		buf = realloc(in->buf, size);
		if (!buf)
			return -ENOMEM;
		in->buf = buf;
		in->size = size;
	}
	do
		n = read(fd, in->buf + in->len, in->size - in->len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	in->len += (size_t)n;
	return n;
}

int proto_in_line(struct proto_in *in, char **line, size_t *len)
{
	char *end = NULL;

	drop_taken(in);
	if (in->len > in->scanned)
		end = memchr(in->buf + in->scanned, '\n', in->len - in->scanned);
	if (!end) {
		in->scanned = in->len;
		return in->len >= in->max ? -EMSGSIZE : 0;
	}
	*end = '\0';
	*line = in->buf;
	*len = (size_t)(end - in->buf);
	in->taken = *len + 1;
	return 1;
}

void proto_out_init(struct proto_out *out, size_t max)
{
	*out = (struct proto_out){ .max = max };
}

void proto_out_free(struct proto_out *out)
{
	free(out->buf);
	out->buf = NULL;
	out->size = out->len = out->sent = 0;
}

static int out_append(struct proto_out *out, const char *data, size_t size)
{
	size_t want;
	char *buf;

	if (out->sent) {
		memmove(out->buf, out->buf + out->sent, out->len - out->sent);
		out->len -= out->sent;
		out->sent = 0;
	}
	want = out->len + size;
	if (want > out->max)
		return -ENOBUFS;
	if (want > out->size) {
		buf = realloc(out->buf, want);
		if (!buf)
			return -ENOMEM;
		out->buf = buf;
		out->size = want;
	}
	memcpy(out->buf + out->len, data, size);
	out->len = want;
	return 0;
}

int proto_out_json(struct proto_out *out, const json_t *json)
{
	/* Six digits are enough for a load; 17 would print 0.04 as 0.040000000000000001. */
	char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
	size_t len;
	int err;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len] = '\n';	/* takes the place of the NUL, which is not sent */
	err = out_append(out, text, len + 1);
	free(text);
	return err;
}

ssize_t proto_out_write(struct proto_out *out, int fd)
{
	ssize_t n;

	if (!proto_out_left(out))
		return 0;
	do
		n = send(fd, out->buf + out->sent, proto_out_left(out), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	out->sent += (size_t)n;
	if (out->sent == out->len)
		proto_out_free(out);	/* a big reply need not stay in memory */
	return (ssize_t)proto_out_left(out);
}

json_t *proto_parse(const char *line, size_t len, char *why, size_t size)
{
	json_error_t err;
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &err);

	if (!json) {
		snprintf(why, size, "this is not JSON: %s (byte %d)", err.text, err.position);
		return NULL;
	}
	if (!json_is_object(json)) {
		snprintf(why, size, "this is not a JSON object");
		json_decref(json);
		return NULL;
	}
	return json;
}

json_t *proto_result(json_t *result)
{
	if (!result)
		return proto_error(CTL_FAILED, "clusterd is out of memory");
	return json_pack("{s:b, s:o}", "ok", 1, "result", result);
}

json_t *proto_error(int code, const char *fmt, ...)
{
	json_t *text;
	va_list ap;

	va_start(ap, fmt);
	text = json_vsprintf(fmt, ap);
	va_end(ap);
	if (!text)	/* bytes that are not UTF-8 */
		text = json_string("the request has bytes that cannot be repeated");
	return json_pack("{s:b, s:o, s:i}", "ok", 0, "error", text, "code", code);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_PROTO_H
#define CLUSTERD_CTL_PROTO_H

/*
 * The control socket's framing, for both sides: one request is one line of JSON, one reply is one
 * line of JSON.
 *
 *   request  {"cmd":"drain","args":["n3"]}          options: "follow":true, "yes":true
 *   reply    {"ok":true,"result":{...}}
 *            {"ok":false,"error":"one sentence","code":1}     code: exit status of clusterctl
 *
 * After {"cmd":"events","follow":true} the daemon sends {"event":{...}} lines until the client goes.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_SOCKET      "/run/clusterd/clusterd.sock"
#define CTL_GROUP       "clusterd"
#define CTL_REQUEST_MAX 4096			/* bytes of a request, its newline included */
#define CTL_REPLY_MAX   (4u << 20)		/* bytes of a reply, its newline included */

/* Exit status of clusterctl, and "code" of a refusal. */
enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* Collects bytes into lines; grows on demand, never beyond 'max'. */
struct proto_in { char *buf; size_t size, len, scanned, taken, max; };

void proto_in_init(struct proto_in *in, size_t max);
void proto_in_free(struct proto_in *in);
/*
 * One read(2).  Bytes read, 0 at the end of the stream, -EAGAIN, -EMSGSIZE: 'max' bytes and still no
 * newline (take the lines first), -ENOMEM, or another -errno.
 */
ssize_t proto_in_read(struct proto_in *in, int fd);
/*
 * The next whole line, without its newline and NUL-terminated; valid until the next call.
 * 1, or 0: there is none yet, -EMSGSIZE: the line is longer than 'max'.
 */
int proto_in_line(struct proto_in *in, char **line, size_t *len);

/* Bytes that wait to be written. */
struct proto_out { char *buf; size_t size, len, sent, max; };

void proto_out_init(struct proto_out *out, size_t max);
void proto_out_free(struct proto_out *out);
/* Appends 'json' as one line.  -ENOBUFS: more than 'max' would wait; -ENOMEM; unchanged then. */
int proto_out_json(struct proto_out *out, const json_t *json);
/* One send(2), never SIGPIPE.  Bytes still to go (0: all sent), -EAGAIN, or another -errno. */
ssize_t proto_out_write(struct proto_out *out, int fd);
static inline size_t proto_out_left(const struct proto_out *out) { return out->len - out->sent; }

/* JSON object from a line, or NULL with the reason in 'why'. */
json_t *proto_parse(const char *line, size_t len, char *why, size_t size);

/* Replies; new references.  proto_result() steals 'result' and turns NULL into an error. */
json_t *proto_result(json_t *result);
json_t *proto_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

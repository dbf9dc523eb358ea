// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/clock.h"

static void explain(char why[CLIENT_WHY_SIZE], const char *path, int err)
{
	switch (err) {
	case ENOENT:
	case ECONNREFUSED:
		snprintf(why, CLIENT_WHY_SIZE, "clusterd is not running on this node (%s %s); start it "
			 "with systemctl start clusterd", err == ENOENT ? "no" : "nobody listens at",
			 path);
		break;
	case EACCES:
	case EPERM:
		snprintf(why, CLIENT_WHY_SIZE, "no permission for %s: only root and members of group "
			 CTL_GROUP " may talk to clusterd", path);
		break;
	case EAGAIN:
		snprintf(why, CLIENT_WHY_SIZE, "clusterd does not answer at %s: it is overloaded or "
			 "hangs", path);
		break;
	default:
		snprintf(why, CLIENT_WHY_SIZE, "cannot connect to %s: %s", path, strerror(err));
		break;
	}
}

int client_open(struct client_conn *c, const char *path, char why[CLIENT_WHY_SIZE])
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int err;

	c->fd = -1;
	proto_in_init(&c->in, CTL_REPLY_MAX);
	if (strlen(path) >= sizeof(addr.sun_path)) {
		snprintf(why, CLIENT_WHY_SIZE, "the socket's path is too long");
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	/* Nonblocking: a daemon that hangs fills its backlog, and connect() would then wait for ever. */
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd >= 0 && !connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	err = errno;
	explain(why, path, err);
	client_close(c);
	return -err;
}

void client_close(struct client_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	proto_in_free(&c->in);
}

static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = -1;
	int n;

	if (deadline_ms) {
		left = deadline_ms - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
	}
	n = poll(&p, 1, (int)left);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* A sentence for a conversation that broke off. */
static int broken(int err, char why[CLIENT_WHY_SIZE])
{
	if (err == -ETIMEDOUT)
		snprintf(why, CLIENT_WHY_SIZE, "clusterd does not answer");
	else if (err == -ECONNRESET || err == -EPIPE)
		snprintf(why, CLIENT_WHY_SIZE, "clusterd closed the connection");
	else
		snprintf(why, CLIENT_WHY_SIZE, "control socket: %s", strerror(-err));
	return err;
}

int client_next(struct client_conn *c, unsigned int timeout_s, json_t **json,
		char why[CLIENT_WHY_SIZE])
{
	int64_t deadline = timeout_s ? now_ms() + 1000 * (int64_t)timeout_s : 0;
	ssize_t n;
	char *line;
	size_t len;
	int ret;

	for (;;) {
		ret = proto_in_line(&c->in, &line, &len);
		if (ret < 0)
			return broken(ret, why);
		if (ret) {
			*json = proto_parse(line, len, why, CLIENT_WHY_SIZE);
			return *json ? 0 : -EBADMSG;
		}
		ret = wait_for(c->fd, POLLIN, deadline);
		if (ret)
			return broken(ret, why);
		n = proto_in_read(&c->in, c->fd);
		if (!n)
			return broken(-ECONNRESET, why);
		if (n < 0 && n != -EAGAIN)
			return broken((int)n, why);
	}
}

static int send_request(struct client_conn *c, const json_t *request, char why[CLIENT_WHY_SIZE])
{
	int64_t deadline = now_ms() + 1000 * CLIENT_TIMEOUT_S;
	struct proto_out out;
	ssize_t left;
	int err;

	proto_out_init(&out, CTL_REQUEST_MAX);
	err = proto_out_json(&out, request);
	if (err == -ENOBUFS)
		snprintf(why, CLIENT_WHY_SIZE, "the arguments are too long");
	else if (err)
		snprintf(why, CLIENT_WHY_SIZE, "out of memory");
	while (!err && proto_out_left(&out)) {
		left = proto_out_write(&out, c->fd);
		if (left == -EAGAIN)
			err = wait_for(c->fd, POLLOUT, deadline);
		else if (left < 0)
			err = (int)left;
		/* It may have turned us away and closed; what it said is still there to be read. */
		if (err == -EPIPE || err == -ECONNRESET) {
			err = 0;
			break;
		}
		if (err)
			broken(err, why);
	}
	proto_out_free(&out);
	return err;
}

int client_call(struct client_conn *c, const json_t *request, json_t **result, char **error)
{
	char why[CLIENT_WHY_SIZE] = "";
	const char *text = why;
	json_t *reply = NULL;
	int code = CTL_FAILED;

	if (send_request(c, request, why) || client_next(c, CLIENT_TIMEOUT_S, &reply, why))
		goto fail;
	if (json_is_true(json_object_get(reply, "ok")) && json_object_get(reply, "result")) {
		*result = json_incref(json_object_get(reply, "result"));
		json_decref(reply);
		return CTL_DONE;
	}
	text = json_string_value(json_object_get(reply, "error"));
	if (!text)
		text = "clusterd sent a reply that this clusterctl does not understand";
	if (json_integer_value(json_object_get(reply, "code")) == CTL_USAGE)
		code = CTL_USAGE;
fail:
	*error = strdup(text);
	json_decref(reply);
	return code;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-tcp: does something accept connections, and say what it should?
 *
 * Each look connects, optionally sends and compares, and closes with a reset: our side would else
 * leave a socket in TIME-WAIT per look.  A connection to the VIP goes over lo: the address is local.
 */
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include "check_options.h"

#define TEXT_MAX 256

struct tcp {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	struct sockaddr_storage to;
	socklen_t to_len;
	char send[TEXT_MAX + 1], expect[TEXT_MAX + 1];
	size_t send_size, expect_size;
	int fd;				/* -1: no look under way */
	int timeout_ms;
	bool connected, timed;
	size_t sent, got;		/* bytes of 'send', and of 'expect' that came and are right */
};

static const struct check_rule rules[] = {
	{ "address", CHECK_ADDRESS, 0, 0, false },
	{ "port", CHECK_NUMBER, 1, 65535, false },
	{ "send", CHECK_TEXT, 1, TEXT_MAX, false },
	{ "expect", CHECK_TEXT, 1, TEXT_MAX, false },
};

/* "\r", "\n", "\t", "\\" and "\xHH" of a line of configuration; false: some other escape. */
static bool unescape(const char *s, char *out, size_t *size)
{
	char hex[3] = "";
	char *end;

	for (*size = 0; *s; s++) {
		if (*s != '\\') {
			out[(*size)++] = *s;
			continue;
		}
		switch (*++s) {
		case 'r': out[(*size)++] = '\r'; break;
		case 'n': out[(*size)++] = '\n'; break;
		case 't': out[(*size)++] = '\t'; break;
		case '\\': out[(*size)++] = '\\'; break;
		case 'x':
			strncpy(hex, s + 1, 2);
			out[(*size)++] = (char)strtoul(hex, &end, 16);
			if (end != hex + 2)
				return false;
			s += 2;
			break;
		default:
			return false;
		}
	}
	return true;
}

static int tcp_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			size_t err_size)
{
	static const char *const texts[] = { "send", "expect" };
	int ret = check_options(rules, sizeof(rules) / sizeof(rules[0]), "tcp", opt, n, bad, err,
				err_size);
	char text[TEXT_MAX + 1];
	const char *v;
	size_t i, size;

	for (i = 0; !ret && i < 2; i++) {
		v = check_get(opt, n, texts[i]);
		if (v && !unescape(v, text, &size)) {
			*bad = texts[i];
			snprintf(err, err_size, "knows \\r \\n \\t \\\\ and \\xHH after a backslash");
			ret = -EINVAL;
		}
	}
	return ret ? ret : check_target(opt, n, bad, err, err_size);
}

static int tcp_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		    const struct clusterd_option *opt, size_t n)
{
	const char *port = check_get_or(opt, n, "port", "@port"), *v;
	struct tcp *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->host = host;
	t->inst = inst;
	t->fd = -1;
	if (!port || check_sockaddr(&t->to, &t->to_len, check_get_or(opt, n, "address", "@address"),
				    atol(port)) < 0) {
		free(t);
		return -EINVAL;
	}
	v = check_get(opt, n, "send");
	if (v)
		unescape(v, t->send, &t->send_size);
	v = check_get(opt, n, "expect");
	if (v)
		unescape(v, t->expect, &t->expect_size);
	*priv = t;
	return 0;
}

static void tcp_stop(void *priv)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct tcp *t = priv;

	if (t->fd < 0)
		return;
	if (t->timed) {
		t->host->timer(t->inst, -1);
		t->host->watch(t->inst, t->fd, 0);
	}
	setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(t->fd);
	t->fd = -1;
}

static void tcp_close(void *priv)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct tcp *t = priv;

	if (t->fd >= 0) {
		setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(t->fd);
	}
	free(t);
}

/* The last thing that is done with 't': the host may close the instance. */
static void finish(struct tcp *t, int value, const char *why)
{
	tcp_stop(t);
	t->host->report(t->inst, value, why);
}

/*
 * 0: connected; -EINPROGRESS: not yet; else what it died of.  A local port that nobody listens at may be
 * chosen as the source port of a connection to itself (RFC 9293, 3.5, simultaneous open): such a
 * connection succeeds, with us at both ends.
 */
static int connection_state(int fd)
{
	struct sockaddr_storage a = { 0 }, b = { 0 };
	socklen_t la = sizeof(a), lb = sizeof(b), len = sizeof(int);
	int err = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
		return err ? -err : -errno;
	if (getpeername(fd, (struct sockaddr *)&b, &lb) < 0)
		return errno == ENOTCONN ? -EINPROGRESS : -errno;
	if (getsockname(fd, (struct sockaddr *)&a, &la) < 0)
		return -errno;
	return la == lb && !memcmp(&a, &b, la) ? -ECONNREFUSED : 0;
}

static void await(struct tcp *t, short events)
{
	int ret = t->host->watch(t->inst, t->fd, events);

	if (ret < 0) {
		finish(t, CLUSTERD_DEAD, strerror(-ret));
	} else if (!t->timed) {
		t->timed = true;
		t->host->timer(t->inst, check_before(t->timeout_ms));
	}
}

/* Goes on as far as it can without waiting. */
static void talk(struct tcp *t)
{
	char buf[TEXT_MAX];
	ssize_t r;

	while (t->sent < t->send_size) {
		r = send(t->fd, t->send + t->sent, t->send_size - t->sent, MSG_NOSIGNAL);
		if (r < 0 && errno == EAGAIN)
			return await(t, POLLOUT);
		if (r < 0)
			return finish(t, CLUSTERD_DEAD, check_errno(errno));
		t->sent += (size_t)r;
	}
	while (t->got < t->expect_size) {
		r = recv(t->fd, buf, t->expect_size - t->got, 0);
		if (r < 0 && errno == EAGAIN)
			return await(t, POLLIN);
		if (r < 0)
			return finish(t, CLUSTERD_DEAD, check_errno(errno));
		if (r == 0 && t->got == 0)
			return finish(t, CLUSTERD_DEAD, "connection closed without an answer");
		if (r == 0 || memcmp(buf, t->expect + t->got, (size_t)r) != 0)
			return finish(t, CLUSTERD_WORKS, "the answer is not the expected one");
		t->got += (size_t)r;
	}
	finish(t, CLUSTERD_FIT, NULL);
}

/* On lo a connection is made, or refused, by the time that connect() returns: no need to wait. */
static void connected(struct tcp *t)
{
	int ret = connection_state(t->fd);

	if (ret == -EINPROGRESS)
		return await(t, POLLOUT);
	if (ret < 0)
		return finish(t, CLUSTERD_DEAD, check_errno(-ret));
	t->connected = true;
	talk(t);
}

static void tcp_start(void *priv, int timeout_ms)
{
	struct tcp *t = priv;

	tcp_stop(t);
	t->connected = t->timed = false;
	t->sent = t->got = 0;
	t->timeout_ms = timeout_ms;
	t->fd = socket(t->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return t->host->report(t->inst, CLUSTERD_DEAD, check_errno(errno));
	if (connect(t->fd, (struct sockaddr *)&t->to, t->to_len) < 0 && errno != EINPROGRESS)
		return finish(t, CLUSTERD_DEAD, check_errno(errno));
	connected(t);
}

static void tcp_io(void *priv, int fd, short revents)
{
	struct tcp *t = priv;

	if (fd != t->fd)
		return;
	if (!t->connected)
		connected(t);
	else
		talk(t);
}

static void tcp_timer(void *priv)
{
	struct tcp *t = priv;
	char why[80];

	if (t->fd < 0)
		return;
	snprintf(why, sizeof(why), "%s within %d ms",
		 t->connected ? "connected, but no answer" : "no connection", t->timeout_ms);
	finish(t, CLUSTERD_DEAD, why);
}

static const struct clusterd_observer_ops ops = {
	.validate = tcp_validate,
	.open = tcp_open,
	.close = tcp_close,
	.start = tcp_start,
	.stop = tcp_stop,
	.io = tcp_io,
	.timer = tcp_timer,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = "tcp",
	.version = "1",
	.summary = "connects to a TCP port, optionally sends and compares",
	.observer = &ops,
};

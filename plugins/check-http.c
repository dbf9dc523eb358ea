/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-http, and with -DCHECK_HTTPS check-https: does a web server answer, and what?
 *
 * libcurl does the protocol (its multi interface on the host's watches and timer).  It is told where
 * to connect (CURLOPT_CONNECT_TO with an address), so names are never looked up; proxies, redirects,
 * other protocols and reuse of connections are off: a look is one connection and one request.
 * One multi handle per instance keeps the certificates of the trusted authorities between looks.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <strings.h>
#include <unistd.h>

#include "check_options.h"

#ifdef CHECK_HTTPS
#define NAME "https"
#define HTTPS 1
#else
#define NAME "http"
#define HTTPS 0
#endif

struct http {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	CURLM *multi;
	CURL *easy;
	bool looking;			/* 'easy' is in 'multi' */
	bool closing;			/* the host is not to be asked any more */
	int own;			/* a duplicate of 'fd', libcurl's socket; -1: none */
	curl_socket_t fd;
	short wanted, watched;		/* events: of 'fd' by libcurl, of 'own' by the host */
	bool renewed;			/* 'fd' is another socket than 'own' */
	int timer_ms;			/* as libcurl said last */
	bool timer_changed;
	bool connected;
	int timeout_ms;
	struct curl_slist *to;
	long status_min, status_max;
	char *text;			/* what the body must have in it; NULL: anything */
	regex_t regex;
	bool has_regex;
	char *body;			/* of 'body_max' bytes, if something is looked for in it */
	size_t body_size, body_max;
	bool body_full;
	char error[CURL_ERROR_SIZE];
};

static const struct check_rule rules[] = {
	{ "address", CHECK_ADDRESS, 0, 0, false },
	{ "port", CHECK_NUMBER, 1, 65535, false },
	{ "path", CHECK_TEXT, 1, 1024, false },
	{ "host", CHECK_TEXT, 1, 253, false },
	{ "method", CHECK_TEXT, 1, 8, false },
	{ "status", CHECK_TEXT, 3, 7, false },
	{ "body", CHECK_TEXT, 1, 1024, false },
	{ "body_regex", CHECK_TEXT, 1, 1024, false },
	{ "max_body", CHECK_NUMBER, 1, 1048576, false },
#if HTTPS
	{ "verify", CHECK_YESNO, 0, 0, false },
	{ "ca_file", CHECK_PATH, 0, 0, false },
#endif
};

/* "200" or "200-399". */
static bool read_status(const char *s, long *min, long *max)
{
	const char *dash = strchr(s, '-');
	char first[8];

	snprintf(first, sizeof(first), "%.*s", dash ? (int)(dash - s) : 7, s);
	if (!check_number(first, 100, 599, min))
		return false;
	*max = *min;
	return !dash || check_number(dash + 1, *min, 599, max);
}

static bool is_host(const char *s)
{
	return s[0] != '-' && s[0] != '.' &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] == '\0';
}

/*
 * Back references make the time to match exponential, and it is the daemon's.  Without them the C
 * library's matcher takes time in proportion to the body.
 */
static const char *read_regex(const char *s, regex_t *re, char buf[80])
{
	const char *p;
	int ret;

	for (p = s; *p; p++) {
		if (*p == '\\' && p[1] >= '1' && p[1] <= '9')
			return "has a back reference, which may take too long to match";
		if (*p == '\\' && p[1])
			p++;
	}
	ret = regcomp(re, s, REG_EXTENDED | REG_NEWLINE | REG_NOSUB);
	if (!ret)
		return NULL;
	regerror(ret, re, buf, 80);
	return buf;
}

static const char *wrong(const struct clusterd_option *opt, size_t n, const char **bad, char buf[80])
{
	const char *v, *why;
	long min, max;
	regex_t re;

	*bad = "path";
	v = check_get(opt, n, "path");
	if (v && (v[0] != '/' || strchr(v, ' ') || strchr(v, '\t') || strchr(v, '#')))
		return "must begin with /, without spaces and # (write %20, %23)";
	*bad = "host";
	v = check_get(opt, n, "host");
	if (v && !is_host(v))
		return "must be a host name, without port";
	*bad = "method";
	v = check_get(opt, n, "method");
	if (v && strcmp(v, "GET") != 0 && strcmp(v, "HEAD") != 0)
		return "must be GET or HEAD";
	if (v && !strcmp(v, "HEAD") && (check_get(opt, n, "body") || check_get(opt, n, "body_regex")))
		return "HEAD has no body to look at";
	*bad = "status";
	v = check_get(opt, n, "status");
	if (v && !read_status(v, &min, &max))
		return "must be a status or a range of them, as 200 or 200-399";
	*bad = "body_regex";
	v = check_get(opt, n, "body_regex");
	why = v ? read_regex(v, &re, buf) : NULL;
	if (why)
		return why;
	if (v)
		regfree(&re);
	*bad = "ca_file";
	v = check_get(opt, n, "verify");
	if (v && !strcmp(v, "no") && check_get(opt, n, "ca_file"))
		return "means nothing with verify = no";
	*bad = NULL;
	return NULL;
}

static int http_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t err_size)
{
	int ret = check_options(rules, sizeof(rules) / sizeof(rules[0]), NAME, opt, n, bad, err,
				err_size);
	const char *why;
	char buf[80];

	if (ret)
		return ret;
	why = wrong(opt, n, bad, buf);
	if (why) {
		snprintf(err, err_size, "%s", why);
		return -EINVAL;
	}
	return check_target(opt, n, bad, err, err_size);
}

/* ---- libcurl's callbacks ---- */

/* The end of a watch. */
static void release(struct http *h)
{
	if (h->own < 0)
		return;
	if (!h->closing)
		h->host->watch(h->inst, h->own, 0);
	close(h->own);
	h->own = -1;
	h->watched = 0;
}

/*
 * What is to be watched, and when to be called, is only noted while libcurl is at work: it changes
 * its mind several times per call.  settle() tells the host.
 */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	struct http *h = arg;

	h->fd = fd;
	h->wanted = 0;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) {
		h->wanted |= POLLIN;
		h->connected = true;
	}
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		h->wanted |= POLLOUT;
	return 0;
}

/*
 * libcurl's own way would let programs that the daemon starts inherit it.  Closed with a reset, so
 * that looks leave no TIME-WAIT.
 */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct http *h = arg;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);

	h->renewed = true;
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct http *h = arg;

	h->timer_ms = (int)ms;
	h->timer_changed = true;
	return 0;
}

/* Keeps what may be looked for; what is too long ends the transfer. */
static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct http *h = arg;
	size_t take = size < h->body_max - h->body_size ? size : h->body_max - h->body_size;

	if (h->body)
		memcpy(h->body + h->body_size, data, take);
	h->body_size += take;
	h->body_full = take < size;
	return take;
}

/* ---- the instance ---- */

static void http_stop(void *priv)
{
	struct http *h = priv;

	if (!h->looking)
		return;
	h->looking = false;
	curl_multi_remove_handle(h->multi, h->easy);
	release(h);
	h->wanted = 0;
	h->timer_changed = false;
	h->host->timer(h->inst, -1);
}

static void http_close(void *priv)
{
	struct http *h = priv;

	h->closing = true;
	if (h->looking)
		curl_multi_remove_handle(h->multi, h->easy);
	curl_easy_cleanup(h->easy);
	curl_multi_cleanup(h->multi);
	release(h);
	curl_slist_free_all(h->to);
	if (h->has_regex)
		regfree(&h->regex);
	free(h->text);
	free(h->body);
	free(h);
}

/* "http://HOST:PORT/path", and that a connection to whatever host goes to our address and port. */
static int set_target(struct http *h, const char *address, const char *port, const char *host,
		      const char *path)
{
	const char *open = strchr(address, ':') ? "[" : "", *close = open[0] ? "]" : "";
	char url[1500], to[128];
	int ret;

	if (host)
		snprintf(url, sizeof(url), NAME "://%s:%s%s", host, port, path);
	else
		snprintf(url, sizeof(url), NAME "://%s%s%s:%s%s", open, address, close, port, path);
	snprintf(to, sizeof(to), "::%s%s%s:%s", open, address, close, port);
	h->to = curl_slist_append(NULL, to);
	if (!h->to)
		return -ENOMEM;
	ret = curl_easy_setopt(h->easy, CURLOPT_URL, url);
	ret = ret ? ret : (int)curl_easy_setopt(h->easy, CURLOPT_CONNECT_TO, h->to);
	return ret ? -ENOMEM : 0;
}

static int set_tls(struct http *h, const struct clusterd_option *opt, size_t n)
{
	const char *file = check_get(opt, n, "ca_file");
	long verify = check_yes(check_get(opt, n, "verify"), true);
	int bad = 0;

	if (file && access(file, R_OK) < 0)
		return -errno;
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYPEER, verify);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
	/* A session that is taken up again shows no certificate: it would be looked at only once. */
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_SSL_ENABLE_ALPN, 0L);
	if (file)
		bad |= (int)curl_easy_setopt(h->easy, CURLOPT_CAINFO, file);
	/* libcurl caches what is in a file, not what is in a directory. */
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_CAPATH, NULL);
	return bad ? -EINVAL : 0;
}

static int set_easy(struct http *h, const struct clusterd_option *opt, size_t n)
{
	const char *method = check_get(opt, n, "method");
	int bad = 0;

	if (method && !strcmp(method, "HEAD"))
		bad |= (int)curl_easy_setopt(h->easy, CURLOPT_NOBODY, 1L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, NAME);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_PATH_AS_IS, 1L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_FOLLOWLOCATION, 0L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_NOPROXY, "*");
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_FRESH_CONNECT, 1L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_FORBID_REUSE, 1L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_TCP_KEEPALIVE, 0L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_NOSIGNAL, 1L);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_USERAGENT, "clusterd-check");
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->error);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, on_body);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, h);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	bad |= (int)curl_easy_setopt(h->easy, CURLOPT_OPENSOCKETDATA, h);
	return bad ? -EINVAL : HTTPS ? set_tls(h, opt, n) : 0;
}

static int set_multi(struct http *h)
{
	int bad = 0;

	bad |= (int)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	bad |= (int)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	bad |= (int)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	bad |= (int)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return bad ? -EINVAL : 0;
}

/* What is wanted of the answer. */
static int set_wanted(struct http *h, const struct clusterd_option *opt, size_t n)
{
	const char *v = check_get(opt, n, "status");
	long max = 65536;
	char buf[80];

	if (!v || !read_status(v, &h->status_min, &h->status_max)) {
		h->status_min = 200;
		h->status_max = 399;
	}
	v = check_get(opt, n, "max_body");
	if (v)
		check_number(v, 1, 1048576, &max);
	h->body_max = (size_t)max;
	v = check_get(opt, n, "body");
	h->text = v ? strdup(v) : NULL;
	if (v && !h->text)
		return -ENOMEM;
	v = check_get(opt, n, "body_regex");
	if (v && read_regex(v, &h->regex, buf))
		return -EINVAL;
	h->has_regex = v != NULL;
	if (h->text || h->has_regex) {
		h->body = malloc(h->body_max);
		return h->body ? 0 : -ENOMEM;
	}
	return 0;
}

static int http_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	const char *address = check_get_or(opt, n, "address", "@address");
	const char *port = check_get_or(opt, n, "port", "@port"), *path = check_get(opt, n, "path");
	struct http *h;
	int ret;

	/* Counts its calls; never undone, as the plugin stays loaded. */
	if (!address || !port || curl_global_init(CURL_GLOBAL_DEFAULT))
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->host = host;
	h->inst = inst;
	h->own = -1;
	h->multi = curl_multi_init();
	h->easy = curl_easy_init();
	ret = h->multi && h->easy ? set_multi(h) : -ENOMEM;
	ret = ret ? ret : set_target(h, address, port, check_get(opt, n, "host"), path ? path : "/");
	ret = ret ? ret : set_easy(h, opt, n);
	ret = ret ? ret : set_wanted(h, opt, n);
	if (ret) {
		http_close(h);
		return ret;
	}
	*priv = h;
	return 0;
}

/* ---- a look ---- */

static bool body_matches(struct http *h)
{
	regmatch_t all = { .rm_so = 0, .rm_eo = (regoff_t)h->body_size };

	if (h->text && !memmem(h->body, h->body_size, h->text, strlen(h->text)))
		return false;
	return !h->has_regex || regexec(&h->regex, h->body, 1, &all, REG_STARTEND) == 0;
}

static int judge_answer(struct http *h, char *why, size_t size)
{
	long status = 0;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status >= h->status_min && status <= h->status_max) {
		if (body_matches(h))
			return CLUSTERD_FIT;
		snprintf(why, size, "status %ld, but the body does not match", status);
	} else if (h->status_min == h->status_max) {
		snprintf(why, size, "status %ld, not %ld", status, h->status_min);
	} else {
		snprintf(why, size, "status %ld, not %ld-%ld", status, h->status_min,
			 h->status_max);
	}
	return CLUSTERD_WORKS;
}

static void say_late(struct http *h, char *why, size_t size)
{
	curl_off_t first = 0;

	curl_easy_getinfo(h->easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
	snprintf(why, size, "%s within %d ms", first ? "no complete answer" :
		 h->connected ? "connected, but no answer" : "no connection", h->timeout_ms);
}

static int judge(struct http *h, CURLcode code, char *why, size_t size)
{
	long err = 0;

	curl_easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &err);
	switch ((int)code) {
	case CURLE_OK:
		return judge_answer(h, why, size);
	case CURLE_WRITE_ERROR:
		if (h->body_full)
			return judge_answer(h, why, size);
		break;
	case CURLE_COULDNT_CONNECT:
		snprintf(why, size, "%s", err ? check_errno((int)err) : "no connection");
		return CLUSTERD_DEAD;
	case CURLE_OPERATION_TIMEDOUT:
		say_late(h, why, size);
		return CLUSTERD_DEAD;
	case CURLE_GOT_NOTHING:
		snprintf(why, size, "connection closed without an answer");
		return CLUSTERD_DEAD;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		snprintf(why, size, "connection reset");
		return CLUSTERD_DEAD;
	case CURLE_UNSUPPORTED_PROTOCOL:	/* "HTTP/0.9": no status line */
	case CURLE_WEIRD_SERVER_REPLY:
		snprintf(why, size, "the answer is not HTTP");
		return CLUSTERD_DEAD;
	case CURLE_PARTIAL_FILE:
		snprintf(why, size, "the answer is cut off");
		return CLUSTERD_WORKS;
	case CURLE_PEER_FAILED_VERIFICATION:
		snprintf(why, size, "%s", h->error);
		return CLUSTERD_WORKS;
	default:
		break;
	}
	snprintf(why, size, "%s", h->error[0] ? h->error : curl_easy_strerror(code));
	return CLUSTERD_DEAD;
}

/* 0, or -errno: libcurl's socket cannot be watched. */
static int settle(struct http *h)
{
	int ret;

	if (h->renewed || !h->wanted)
		release(h);
	h->renewed = false;
	if (h->timer_changed)
		h->host->timer(h->inst, h->timer_ms);
	h->timer_changed = false;
	if (h->wanted == h->watched)
		return 0;
	/* A duplicate of our own, because libcurl closes a socket before it says so. */
	if (h->own < 0)
		h->own = fcntl(h->fd, F_DUPFD_CLOEXEC, 3);
	if (h->own < 0)
		return -errno;
	ret = h->host->watch(h->inst, h->own, h->wanted);
	h->watched = ret < 0 ? 0 : h->wanted;
	return ret;
}

/* After each call of libcurl.  The last thing that is done with 'h': the host may close it. */
static void look_done(struct http *h)
{
	char why[CURL_ERROR_SIZE + 40] = "";
	struct CURLMsg *m;
	int left, value, ret;
	CURLcode code;

	if (!h->looking)
		return;
	m = curl_multi_info_read(h->multi, &left);
	if (!m || m->msg != CURLMSG_DONE) {
		ret = settle(h);
		if (ret < 0) {
			http_stop(h);
			h->host->report(h->inst, CLUSTERD_DEAD, check_errno(-ret));
		}
		return;
	}
	code = m->data.result;
	value = judge(h, code, why, sizeof(why));
	http_stop(h);
	why[strcspn(why, "\r\n")] = '\0';
	h->host->report(h->inst, value, why[0] ? why : NULL);
}

/* On lo a connection is made, or refused, by the time that connect() returns: no need to wait. */
static void go_on_if_connected(struct http *h)
{
	struct pollfd p = { .fd = h->fd, .events = POLLOUT };
	int running;

	if (h->wanted == POLLOUT && poll(&p, 1, 0) == 1)
		curl_multi_socket_action(h->multi, h->fd, CURL_CSELECT_OUT, &running);
}

static void http_start(void *priv, int timeout_ms)
{
	struct http *h = priv;
	int running;

	http_stop(h);
	h->timeout_ms = timeout_ms;
	h->body_size = 0;
	h->body_full = h->connected = false;
	h->error[0] = '\0';
	curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, (long)check_before(timeout_ms));
	curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)check_before(timeout_ms));
	if (curl_multi_add_handle(h->multi, h->easy)) {
		h->host->report(h->inst, CLUSTERD_DEAD, "out of memory");
		return;
	}
	h->looking = true;
	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	go_on_if_connected(h);
	look_done(h);
}

static void http_io(void *priv, int fd, short revents)
{
	struct http *h = priv;
	int running, what = 0;

	if (fd != h->own)
		return;
	what |= revents & POLLIN ? CURL_CSELECT_IN : 0;
	what |= revents & POLLOUT ? CURL_CSELECT_OUT : 0;
	what |= revents & (POLLERR | POLLHUP) ? CURL_CSELECT_ERR : 0;
	curl_multi_socket_action(h->multi, h->fd, what, &running);
	look_done(h);
}

static void http_timer(void *priv)
{
	struct http *h = priv;
	int running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look_done(h);
}

static const struct clusterd_observer_ops ops = {
	.validate = http_validate,
	.open = http_open,
	.close = http_close,
	.start = http_start,
	.stop = http_stop,
	.io = http_io,
	.timer = http_timer,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = NAME,
	.version = "1",
	.summary = HTTPS ? "asks a web server over TLS for a page: certificate, status, body" :
			   "asks a web server for a page: status, body",
	.observer = &ops,
};

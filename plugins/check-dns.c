/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-dns: does a name server answer, and what?  One datagram per look (RFC 1035), from a socket of
 * its own: a new source port and a random id each time; what does not answer our question is ignored.
 */
#include <arpa/nameser.h>
#include <poll.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "check_options.h"

#define QUERY_MAX (NS_HFIXEDSZ + NS_MAXCDNAME + NS_QFIXEDSZ)
#define FLAG_RD 0x0100

static const struct { const char *name; ns_type type; } types[] = {
	{ "A", ns_t_a }, { "AAAA", ns_t_aaaa }, { "NS", ns_t_ns }, { "SOA", ns_t_soa },
	{ "MX", ns_t_mx }, { "TXT", ns_t_txt }, { "PTR", ns_t_ptr }, { "SRV", ns_t_srv },
	{ "CNAME", ns_t_cname },
};

struct dns {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	struct sockaddr_storage to;
	socklen_t to_len;
	const char *type_name;
	ns_type type;
	uint8_t query[QUERY_MAX];
	size_t query_size;
	uint8_t expect[16];		/* an address as in the answer */
	size_t expect_size;		/* 0: any answer will do */
	int fd;				/* -1: no look under way */
	bool watched;
	int timeout_ms;
};

static const struct check_rule rules[] = {
	{ "name", CHECK_TEXT, 1, 253, true },
	{ "record", CHECK_TEXT, 1, 8, false },
	{ "server", CHECK_ADDRESS, 0, 0, false },
	{ "port", CHECK_NUMBER, 1, 65535, false },
	{ "expect", CHECK_ADDRESS, 0, 0, false },
};

static int find_type(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!strcasecmp(types[i].name, name))
			return (int)i;
	}
	return -1;
}

/* The question, with id 0; its size, or 0: 'name' is none. */
static size_t make_query(uint8_t q[QUERY_MAX], const char *name, ns_type type)
{
	uint8_t *p = q + NS_HFIXEDSZ;
	int len;

	memset(q, 0, QUERY_MAX);
	ns_put16(FLAG_RD, q + 2);
	ns_put16(1, q + 4);		/* one question */
	len = ns_name_compress(name, p, NS_MAXCDNAME, NULL, NULL);
	if (len <= 0)
		return 0;
	p += len;
	ns_put16((unsigned int)type, p);
	ns_put16(ns_c_in, p + 2);
	return (size_t)(p + NS_QFIXEDSZ - q);
}

static int dns_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			size_t err_size)
{
	int ret = check_options(rules, sizeof(rules) / sizeof(rules[0]), "dns", opt, n, bad, err,
				err_size);
	const char *type, *expect;
	uint8_t query[QUERY_MAX];
	int i;

	if (ret)
		return ret;
	type = check_get(opt, n, "record");
	i = type ? find_type(type) : 0;
	expect = check_get(opt, n, "expect");
	if (i < 0) {
		*bad = "record";
		snprintf(err, err_size, "must be A, AAAA, NS, SOA, MX, TXT, PTR, SRV or CNAME");
	} else if (!make_query(query, check_get(opt, n, "name"), ns_t_a)) {
		*bad = "name";
		snprintf(err, err_size, "is no domain name");
	} else if (expect && types[i].type != (strchr(expect, ':') ? ns_t_aaaa : ns_t_a)) {
		*bad = "expect";
		snprintf(err, err_size, "is an address that no %s record has", types[i].name);
	} else if (!check_get_or(opt, n, "server", "@address")) {
		*bad = "server";
		snprintf(err, err_size, "is missing: the service has no address");
	} else {
		return 0;
	}
	return -EINVAL;
}

static int dns_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		    const struct clusterd_option *opt, size_t n)
{
	const char *type = check_get(opt, n, "record"), *port = check_get(opt, n, "port");
	const char *expect = check_get(opt, n, "expect"), *name = check_get(opt, n, "name");
	int i = type ? find_type(type) : 0;
	struct dns *d;

	if (i < 0 || !name)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->host = host;
	d->inst = inst;
	d->fd = -1;
	d->type = types[i].type;
	d->type_name = types[i].name;
	d->query_size = make_query(d->query, name, d->type);
	if (!d->query_size || check_sockaddr(&d->to, &d->to_len,
					     check_get_or(opt, n, "server", "@address"),
					     port ? atol(port) : 53) < 0) {
		free(d);
		return -EINVAL;
	}
	if (expect) {
		d->expect_size = d->type == ns_t_aaaa ? 16 : 4;
		inet_pton(d->type == ns_t_aaaa ? AF_INET6 : AF_INET, expect, d->expect);
	}
	*priv = d;
	return 0;
}

static void dns_stop(void *priv)
{
	struct dns *d = priv;

	if (d->fd < 0)
		return;
	if (d->watched) {
		d->host->watch(d->inst, d->fd, 0);
		d->host->timer(d->inst, -1);
		d->watched = false;
	}
	close(d->fd);
	d->fd = -1;
}

static void dns_close(void *priv)
{
	struct dns *d = priv;

	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static void finish(struct dns *d, int value, const char *why)
{
	dns_stop(d);
	d->host->report(d->inst, value, why);
}

static void dns_start(void *priv, int timeout_ms)
{
	struct dns *d = priv;
	int ret;

	dns_stop(d);
	d->timeout_ms = timeout_ms;
	if (getrandom(d->query, 2, GRND_NONBLOCK) != 2)
		ns_put16((unsigned int)d->host->now_ms(d->inst) & 0xffff, d->query);
	d->fd = socket(d->to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0)
		return d->host->report(d->inst, CLUSTERD_DEAD, check_errno(errno));
	if (connect(d->fd, (struct sockaddr *)&d->to, d->to_len) < 0 ||
	    send(d->fd, d->query, d->query_size, MSG_NOSIGNAL) < 0)
		return finish(d, CLUSTERD_DEAD, check_errno(errno));
	ret = d->host->watch(d->inst, d->fd, POLLIN);
	if (ret < 0)
		return finish(d, CLUSTERD_DEAD, strerror(-ret));
	d->watched = true;
	d->host->timer(d->inst, check_before(timeout_ms));
}

/* Is it the answer to what we asked?  The question must be the same but for upper and lower case. */
static bool is_ours(const struct dns *d, const uint8_t *buf, size_t size)
{
	size_t i;

	if (size < d->query_size || memcmp(buf, d->query, 2) || !(buf[2] & 0x80) ||
	    ns_get16(buf + 4) != 1)
		return false;
	for (i = NS_HFIXEDSZ; i < d->query_size; i++) {
		if (buf[i] != d->query[i] &&
		    ((buf[i] ^ d->query[i]) != 0x20 || (buf[i] & 0xdf) < 'A' || (buf[i] & 0xdf) > 'Z'))
			return false;
	}
	return true;
}

static const char *rcode_str(int rcode, char buf[32])
{
	static const char *const names[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",
					     "REFUSED" };

	if (rcode < (int)(sizeof(names) / sizeof(names[0])))
		return names[rcode];
	snprintf(buf, 32, "response code %d", rcode);
	return buf;
}

/* Records of our type, and whether the wanted address is one of them. */
static int count_answers(const struct dns *d, ns_msg *msg, bool *found)
{
	int i, n = 0;
	ns_rr rr;

	*found = false;
	for (i = 0; i < ns_msg_count(*msg, ns_s_an); i++) {
		if (ns_parserr(msg, ns_s_an, i, &rr) < 0)
			return -1;
		if (ns_rr_type(rr) != d->type || ns_rr_class(rr) != ns_c_in)
			continue;
		n++;
		if (d->expect_size && ns_rr_rdlen(rr) == d->expect_size &&
		    !memcmp(ns_rr_rdata(rr), d->expect, d->expect_size))
			*found = true;
	}
	return n;
}

static int judge(const struct dns *d, const uint8_t *buf, size_t size, char *why, size_t why_size)
{
	bool found;
	ns_msg msg;
	char text[32];
	int n;

	/* A server that is overrun or limits its answers says only that there is more (TC). */
	if (ns_initparse(buf, (int)size, &msg) < 0 || (n = count_answers(d, &msg, &found)) < 0)
		snprintf(why, why_size, "the answer is not DNS");
	else if (ns_msg_getflag(msg, ns_f_rcode) != ns_r_noerror)
		snprintf(why, why_size, "%s", rcode_str(ns_msg_getflag(msg, ns_f_rcode), text));
	else if (n == 0)
		snprintf(why, why_size, "no %s record in the answer", d->type_name);
	else if (d->expect_size && !found)
		snprintf(why, why_size, "the expected address is not in the answer");
	else
		return CLUSTERD_FIT;
	return CLUSTERD_WORKS;
}

static void dns_io(void *priv, int fd, short revents)
{
	struct dns *d = priv;
	uint8_t buf[4096];
	char why[80] = "";
	ssize_t r;
	int value, tries;

	/* Somebody who floods us does not keep the daemon. */
	for (tries = 0; tries < 8 && fd == d->fd; tries++) {
		r = recv(d->fd, buf, sizeof(buf), 0);
		if (r < 0 && errno == EAGAIN)
			return;
		if (r < 0)
			return finish(d, CLUSTERD_DEAD, check_errno(errno));
		if (!is_ours(d, buf, (size_t)r))
			continue;
		value = judge(d, buf, (size_t)r, why, sizeof(why));
		return finish(d, value, why[0] ? why : NULL);
	}
}

static void dns_timer(void *priv)
{
	struct dns *d = priv;
	char why[80];

	if (d->fd < 0)
		return;
	snprintf(why, sizeof(why), "no answer within %d ms", d->timeout_ms);
	finish(d, CLUSTERD_DEAD, why);
}

static const struct clusterd_observer_ops ops = {
	.validate = dns_validate,
	.open = dns_open,
	.close = dns_close,
	.start = dns_start,
	.stop = dns_stop,
	.io = dns_io,
	.timer = dns_timer,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = "dns",
	.version = "1",
	.summary = "asks a name server for a record",
	.observer = &ops,
};

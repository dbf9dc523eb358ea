/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'conn': live connections of a service at this node.
 *
 * value = 1000 * connections / (capacity * [node] capacity / 100).  'capacity' is how many connections a
 * node like the others takes: 200 of 400 are 500.  While the number is not known, as
 * shortly after the start, nothing is reported.
 */

#include "monitor.h"

#define CAPACITY_MAX UINT64_C(1000000000)

struct conn {
	struct mon m;
	uint64_t full;
	char service[];
};

static bool is_service(const char *value)
{
	return *value;
}

static bool is_capacity(const char *value)
{
	uint64_t x;

	return mon_whole(value, 1, CAPACITY_MAX, &x);
}

static const struct mon_key conn_keys[] = {
	{ "service", true, is_service, "must be the name of a service" },
	{ "capacity", true, is_capacity,
	  "must be a number from 1 to 1000000000: the connections that count as full load" },
};

static int conn_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t size)
{
	return mon_validate(conn_keys, sizeof(conn_keys) / sizeof(conn_keys[0]), opt, n, bad, err, size);
}

static int conn_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	const char *service = mon_option(opt, n, "service");
	struct conn *c = calloc(1, sizeof(*c) + strlen(service) + 1);

	if (!c)
		return -ENOMEM;
	c->m.host = host;
	c->m.inst = inst;
	memcpy(c->service, service, strlen(service) + 1);
	mon_whole(mon_option(opt, n, "capacity"), 1, CAPACITY_MAX, &c->full);
	c->full = c->full * host->capacity(inst) / 100;
	if (!c->full)
		c->full = 1;
	*priv = c;
	return 0;
}

static void conn_close(void *priv)
{
	free(priv);
}

static void conn_start(void *priv, int timeout_ms)
{
	struct conn *c = priv;
	int64_t have = c->m.host->connections(c->m.inst, c->service);
	char why[96];

	(void)timeout_ms;
	if (have < 0) {
		if (!c->m.said)
			c->m.host->log(c->m.inst, LOG_INFO, "the connections of service '%s' are not known now",
				       c->service);
		c->m.said = true;
		return;
	}
	snprintf(why, sizeof(why), "%lld of %llu connections", (long long)have, (unsigned long long)c->full);
	mon_report(&c->m, mon_per_mille((uint64_t)have, c->full), why);
}

static const struct clusterd_observer_ops conn_ops = {
	.validate = conn_validate,
	.open = conn_open,
	.close = conn_close,
	.start = conn_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "conn",
	.version = "1",
	.summary = "live connections of a service at this node",
	.observer = &conn_ops,
};

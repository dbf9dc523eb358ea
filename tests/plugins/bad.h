/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_PLUGINS_BAD_H
#define TESTS_PLUGINS_BAD_H

/* A check that would be fine: each file here spoils one thing. */

#include "plug/plugin.h"

static int validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
		    size_t err_size)
{
	return 0;
}

static int open_it(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		   const struct clusterd_option *opt, size_t n)
{
	return 0;
}

static void close_it(void *priv)
{
}

static void start(void *priv, int timeout_ms)
{
}

static const struct clusterd_observer_ops ops = {
	.validate = validate, .open = open_it, .close = close_it, .start = start,
};

#define DESCRIPTOR(...)                                                                    \
	const struct clusterd_plugin clusterd_plugin = {                                   \
		.abi = CLUSTERD_PLUGIN_ABI, .size = sizeof(struct clusterd_plugin),        \
		.kind = CLUSTERD_CHECK, .version = "1", .summary = "refused", .observer = &ops, \
		__VA_ARGS__                                                                \
	}

#endif

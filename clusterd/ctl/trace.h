/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_TRACE_H
#define CLUSTERD_CTL_TRACE_H

/* 'clusterctl trace': the same computation as the kernel rules, and the reasons in words. */

#include <jansson.h>
#include <stdint.h>

#include "ctl/ctx.h"
#include "util/addr.h"

struct endpoint {
	struct addr addr;
	bool has_port;
	uint16_t port;		/* host order */
	uint8_t proto;		/* IPPROTO_TCP, IPPROTO_UDP, or 0: not said */
};

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80", "192.0.2.1:53/udp".  0, -EINVAL. */
int endpoint_parse(struct endpoint *e, const char *text);

/* As endpoint_parse() takes it: "192.0.2.1:80", "[2001:db8::1]:80". */
#define ENDPOINT_STR (ADDR_STR + 8)
const char *endpoint_str(const struct addr *a, uint16_t port, char buf[ENDPOINT_STR]);

/* The whole reply, a refusal as well. */
json_t *trace_reply(const struct ctl_ctx *x, const char *client, const char *vip);

#endif

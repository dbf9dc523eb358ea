// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/netcheck.h"

#include <errno.h>
#include <string.h>

#include "ctl/proto.h"
#include "ctl/status.h"
#include "io/probe.h"
#include "util/clock.h"

static json_t *names(const struct ctl_ctx *x, uint64_t mask)
{
	json_t *array = json_array();

	for (unsigned int n = 1; n <= x->conf->n_nodes; n++)
		if (mask_has(mask, n))
			json_array_append_new(array, status_name(x, n));
	return array;
}

static json_t *flood(const struct ctl_ctx *x, uint64_t others)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct probe_result r[PROBE_MACS_MAX];
	json_t *array = json_array();
	unsigned int n = probe_results(x->probe, r, PROBE_MACS_MAX);

	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *m = r[i].target.mac;
		const struct addr *vip = &r[i].target.vip;
		char text[ADDR_STR];

		json_array_append_new(array, json_pack("{s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o}",
			"interface", r[i].target.interface,
			"mac", json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
					    m[4], m[5]),
			"vip", vip->family ? json_string(addr_str(vip, text)) : json_null(),
			"broadcast", !memcmp(m, broadcast, 6),
			"framed", names(x, r[i].framed & others),
			"heard", names(x, r[i].heard & others),
			"silent", names(x, others & ~r[i].heard),
			"error", r[i].send_err ? json_string(strerror(-r[i].send_err)) :
						 json_null()));
	}
	return array;
}

static json_t *paths(const struct ctl_ctx *x, uint64_t others, bool *running)
{
	json_t *array = json_array();

	for (unsigned int n = 1; n <= x->conf->n_nodes; n++) {
		struct ctl_path p = { .mtu = 0 };

		if (!mask_has(others, n))
			continue;
		x->path(x->arg, n, &p);
		*running |= p.measuring;
		json_array_append_new(array, json_pack("{s:o, s:b, s:o}", "node", status_name(x, n),
						       "answers", p.answers, "mtu", p.answers ?
						       json_integer(p.mtu) : json_null()));
	}
	return array;
}

json_t *netcheck_reply(const struct ctl_ctx *x)
{
	bool running = false, fresh = false;
	int64_t now = now_ms(), done;
	struct agent_status s;
	uint64_t others;
	json_t *o;

	agent_get_status(x->agent, &s);
	others = s.members & ~node_bit(x->self);
	if (x->probe) {
		done = probe_done(x->probe);
		fresh = probe_running(x->probe) || (done >= 0 && now - done <= NETCHECK_FRESH_MS);
		/* One order for both: the paths are measured while the frames travel. */
		if (!fresh && !probe_start(x->probe, now) && x->path_start)
			x->path_start(x->arg);
		running = probe_running(x->probe);
	}
	o = json_pack("{s:o, s:o}", "local", status_name(x, x->self), "members", names(x, s.members));
	if (!o)
		return proto_result(NULL);
	json_object_set_new(o, "flood", x->probe ? flood(x, others) : json_null());
	json_object_set_new(o, "paths", x->path ? paths(x, others, &running) : json_null());
	json_object_set_new(o, "running", json_boolean(running));
	return proto_result(o);
}

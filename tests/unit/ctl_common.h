/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_CTL_COMMON_H
#define TESTS_UNIT_CTL_COMMON_H

/*
 * A made-up daemon behind the control commands: the accessors of agent, repl, compile and probe are
 * faked here at link time.
 */

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "core/compile.h"
#include "core/repl.h"
#include "ctl/ctx.h"
#include "ctl/events.h"
#include "io/probe.h"

#define BUCKETS 64
#define SEED 0x1234abcdu

static struct conf conf;
static struct repl_bucket table[2][BUCKETS];
static struct repl_node node[4];
static struct agent_status agent_now;
static uint64_t lost, heirs;
static struct { int n; enum order_type type; unsigned int node; uint16_t value; int err; } order;
static int64_t heard_ms;
static struct ctl_ctx ctx;
static struct ctl_layout layout_now;
static unsigned int holder_now;
static struct flow flow_now[4];		/* flow map and conntrack, both */
static unsigned int n_flows;
static int flows_err;
static struct { int running, started; int64_t done; unsigned int n; struct probe_result result[4]; } probe_now;
static struct ctl_path path_now;
static struct sample sample_now[4];	/* by node id; known if its load is not 0 */
static bool sorry_now;
static uint16_t factor_now[4];		/* per mille, by node id, of service 0 */
static struct { enum order_type type; unsigned int node; uint16_t value, calls; } preview_now;

const struct repl *agent_repl(const struct agent *a) { return NULL; }
uint64_t agent_lost(const struct agent *a) { return lost; }
void agent_get_status(const struct agent *a, struct agent_status *s) { *s = agent_now; }
const char *agent_node_state(const struct agent *a, unsigned int id)
{ return node[id].drain ? "drained" : "online"; }

uint64_t repl_epoch(const struct repl *r) { return 17; }
uint64_t repl_digest(const struct repl *r) { return 0x00f2c0ffee; }
uint64_t repl_dead(const struct repl *r) { return 0; }
uint64_t repl_plan(const struct repl *r) { return 0; }
const struct repl_node *repl_get_node(const struct repl *r, unsigned int id) { return &node[id]; }
const struct repl_bucket *repl_get_bucket(const struct repl *r, unsigned int s, uint32_t b)
{ return &table[s][b]; }
uint16_t repl_node_weight(const struct repl *r, unsigned int id) { return node[id].drain ? 0 : 100; }
uint16_t repl_weight(const struct repl *r, unsigned int s, unsigned int id)
{ return (uint16_t)(repl_node_weight(r, id) * WEIGHT_SCALE * (s ? 1000 : factor_now[id]) / 1000); }
uint16_t repl_serve_weight(const struct repl *r, unsigned int s, unsigned int id)
{ return (uint16_t)(repl_weight(r, s, id) / 2); }
bool repl_sorry(const struct repl *r, unsigned int s) { return sorry_now && !s; }
void repl_ring(const struct repl *r, unsigned int id, unsigned int *left, unsigned int *right)
{
	*left = id == 1 ? 3 : id - 1;
	*right = id == 3 ? NOBODY : id + 1;
}

const char *fitness_str(enum fitness f) { return (const char *[]){ "up", "works", "down" }[f]; }
const char *check_state_str(enum check_state s) { return (const char *[]){ "good", "bad", "repair" }[s]; }
bool repl_inherits(const struct repl *r, unsigned int s, uint32_t b, unsigned int self, uint64_t l)
{ return mask_has(heirs, self); }
const char *repl_phase_str(enum repl_phase p)
{
	static const char *const names[] = { "stable", "prepare", "handoff", "adopt", "drain", "grace" };

	return names[p];
}

uint32_t repl_owned(const struct repl *r, unsigned int s, unsigned int owner)
{
	uint32_t b, n = 0;

	for (b = 0; b < BUCKETS; b++)
		n += table[s][b].owner == owner;
	return n;
}

uint32_t repl_draining(const struct repl *r, unsigned int s)
{
	return 0;
}

uint32_t repl_moving(const struct repl *r, unsigned int s)
{
	uint32_t b, n = 0;

	for (b = 0; b < BUCKETS; b++)
		n += table[s][b].phase != PHASE_STABLE;
	return n;
}

struct bucket_action compile_bucket(const struct repl *r, unsigned int s, uint32_t b,
				    unsigned int self, uint64_t l)
{
	const struct repl_bucket *k = &table[s][b];

	if (k->owner == self && k->phase == PHASE_HANDOFF)
		return (struct bucket_action){ .state = BUCKET_LEAVING, .to = k->other };
	if (k->owner == self)
		return (struct bucket_action){ .state = BUCKET_MINE };
	return (struct bucket_action){ .state = BUCKET_FOREIGN, .to = k->owner };
}

uint64_t conf_digest(const struct conf *c) { return 1; }
static void add_event(int64_t ms, int priority, const char *name, const char *text)
{
	const struct agent_event e = { .priority = priority, .name = name, .text = text, .service = -1 };

	if (ctx.events)
		events_add(ctx.events, &conf, ms, &e);
}

static int fake_order(void *arg, enum order_type type, unsigned int id, uint16_t value,
		      const char **why)
{
	order.n++;
	order.type = type;
	order.node = id;
	order.value = value;
	*why = order.err ? "this node is not in step with the group" : NULL;
	if (!order.err && id && type == ORDER_DRAIN)
		node[id].drain = true;
	if (!order.err && id && type == ORDER_UNDRAIN)
		node[id].drain = false;
	add_event(1700000000123, LOG_NOTICE, "ORDER", "an order\nwas given");
	return order.err;
}

static int fake_reload(void *arg, json_t **result)
{
	*result = json_pack("{s:s}", "error", "clusterd.ini:3: [cluster] nonsense: unknown key");
	return -EINVAL;
}

static int fake_counters(void *arg, unsigned int service, struct rules_counters *out)
{
	*out = (struct rules_counters){ .accepted = 5, .foreign = 6, .handed = 7, .unknown = 8 };
	return service ? -ENOENT : 0;
}

static double fake_load(void *arg) { return 0.0449; }
static int64_t fake_lease(void *arg) { return 112; }
static void fake_peer(void *arg, unsigned int id, struct ctl_peer *out)
{ *out = (struct ctl_peer){ .heard_ms = heard_ms, .grant_ms = 90, .granted = true }; }

static void fake_layout(void *arg, struct ctl_layout *out) { *out = layout_now; }
static unsigned int fake_old_owner(void *arg, unsigned int service, uint32_t b) { return b % 3 + 1; }
static unsigned int fake_holder(void *arg, const struct addr *vip)
{ return vip->family == AF_INET ? holder_now : NOBODY; }

static int fake_flows(void *arg, unsigned int service, ctl_flow_cb cb, void *cb_arg)
{
	for (unsigned int i = 0; i < n_flows && !flows_err; i++)
		if (flow_now[i].service == service && !cb(cb_arg, &flow_now[i], 61000))
			break;
	return flows_err;
}

static int fake_queue(void *arg, unsigned int service, struct ctl_queue *out)
{
	*out = (struct ctl_queue){ .decisions = 40, .dropped = 2, .overruns = 1 };
	return 0;
}

/* io/probe.h */
bool probe_running(const struct probe *p) { return probe_now.running; }
int64_t probe_done(const struct probe *p) { return probe_now.done; }
int probe_start(struct probe *p, int64_t now_ms)
{
	probe_now.started++;
	probe_now.running = 1;
	return 0;
}

unsigned int probe_results(const struct probe *p, struct probe_result *out, unsigned int max)
{
	memcpy(out, probe_now.result, probe_now.n * sizeof(*out));
	return probe_now.n;
}

static const struct sample *fake_sample(void *arg, unsigned int id)
{ return sample_now[id].load ? &sample_now[id] : NULL; }

static unsigned int fake_monitors(void *arg, struct ctl_monitor *out, unsigned int max)
{
	out[0] = (struct ctl_monitor){ .name = "cpu", .type = "cpu", .value = 312, .weight = 50,
				       .why = "31% of 2 processors", .age_ms = 420, .open = true,
				       .cpu_us = 12345 };
	out[1] = (struct ctl_monitor){ .name = "disk-a", .type = "disk", .value = -1, .weight = 100,
				       .why = "" };
	return 2;
}

static unsigned int fake_checks(void *arg, struct ctl_check *out, unsigned int max)
{
	out[0] = (struct ctl_check){ .name = "web-http", .type = "http", .service = "web", .open = true,
				     .why = "status 500", .action = "restart:nginx.service",
				     .health = { .state = CHECK_REPAIR, .known = true,
						 .verdict = FITNESS_DOWN, .failed = 7, .value = 0,
						 .tries = 2, .looks = 100, .late = 3 } };
	out[1] = (struct ctl_check){ .name = "dns-udp", .type = "dns", .service = "dns", .why = "",
				     .action = "", .health = { .value = -1 } };
	return 2;
}

/* All buckets of 'node' in service 0 to n1 and n2 in turn; in service 1 one bucket from nobody to it. */
static uint32_t fake_preview(void *arg, enum order_type type, unsigned int id, uint16_t value,
			     void (*cb)(void *cb_arg, unsigned int service, uint32_t bucket,
					unsigned int from, unsigned int to), void *cb_arg)
{
	uint32_t b, n = 0;

	preview_now.type = type;
	preview_now.node = id;
	preview_now.value = value;
	preview_now.calls++;
	if (type != ORDER_DRAIN)
		return 0;
	for (b = 0; b < BUCKETS; b++)
		if (table[0][b].owner == id)
			cb(cb_arg, 0, b, id, n++ % 2 + 1);
	cb(cb_arg, 1, 5, NOBODY, id);
	return n + 1;
}

static void fake_path_start(void *arg) { path_now.measuring = true; }
static void fake_path(void *arg, unsigned int id, struct ctl_path *out) { *out = path_now; }

static void fill_ctx(void)
{
	ctx = (struct ctl_ctx){ .conf = &conf, .self = 1, .seed = { SEED, SEED }, .order = fake_order,
				.reload = fake_reload, .counters = fake_counters, .load = fake_load,
				.lease_ms = fake_lease, .peer = fake_peer, .layout = fake_layout,
				.old_owner = fake_old_owner, .holder = fake_holder,
				.flows = fake_flows, .connections = fake_flows, .queue = fake_queue,
				.path_start = fake_path_start, .path = fake_path,
				.sample = fake_sample, .monitors = fake_monitors,
				.checks = fake_checks, .preview = fake_preview };
}

static void make_cluster(void)
{
	unsigned int i, s;

	memset(&conf, 0, sizeof(conf));
	strcpy(conf.name, "web");
	conf.n_nodes = 3;
	conf.n_services = 2;
	conf.buckets = BUCKETS;
	conf.lease_ms = 150;
	for (i = 0; i < 3; i++) {
		char text[ADDR_STR];

		snprintf(conf.node[i].name, NAME_SIZE, "n%u", i + 1);
		snprintf(text, sizeof(text), "10.77.0.%u", i + 1);
		addr_parse(&conf.node[i].addr, text);
		conf.node[i].weight = 100;
		node[i + 1] = (struct repl_node){ .state = NODE_ONLINE, .ever = true, .weight_conf = 100,
						  .weight_order = ORDER_AUTO, .ramp = RAMP_FULL };
		factor_now[i + 1] = 1000;
	}
	strcpy(conf.service[0].name, "web");
	strcpy(conf.service[1].name, "dns");
	for (s = 0; s < 2; s++) {
		conf.service[s].n_vips = 2;
		addr_parse(&conf.service[s].vip[0], "10.77.0.250");
		addr_parse(&conf.service[s].vip[1], "fd77::250");
		conf.service[s].n_ports = 1;
		for (i = 0; i < BUCKETS; i++)
			table[s][i] = (struct repl_bucket){ .owner = (uint8_t)(i % 3 + 1) };
	}
	conf.service[0].hash = HASH_SOURCE_PORT;
	conf.service[0].port[0] = (struct conf_port){ IPPROTO_TCP, 80, 80 };
	conf.service[1].hash = HASH_SOURCE;
	conf.service[1].port[0] = (struct conf_port){ IPPROTO_UDP, 53, 80 };
	agent_now = (struct agent_status){ .group_up = true, .synced = true, .quorate = true,
					   .leased = true, .members = 7, .coordinator = 1 };
	lost = heirs = 0;
	heard_ms = 12;
	memset(&order, 0, sizeof(order));
	memset(&layout_now, 0, sizeof(layout_now));
	conf_layout(&conf, &layout_now.now);
	memset(&probe_now, 0, sizeof(probe_now));
	probe_now.done = -1;
	memset(&path_now, 0, sizeof(path_now));
	memset(sample_now, 0, sizeof(sample_now));
	memset(&preview_now, 0, sizeof(preview_now));
	sorry_now = false;
	holder_now = NOBODY;
	n_flows = 0;
	flows_err = 0;
	memset(flow_now, 0, sizeof(flow_now));
}

#endif

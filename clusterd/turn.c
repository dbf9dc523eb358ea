// SPDX-License-Identifier: GPL-2.0-or-later
#include "turn.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "core/compile.h"
#include "ctl/cmds.h"
#include "ctl/events.h"
#include "ctl/proto.h"
#include "ctl/server.h"
#include "giveup.h"
#include "io/probe.h"
#include "turn_priv.h"
#include "util/jhash.h"
#include "wire/msg.h"

#define TURN_MAX_MS     100
#define N_FDS           9
#define GROUP_BUDGET    64	/* messages per turn */
#define INSTALL_PRIORITY 40
#define AGAIN_MS        5	/* rules_commit() said -EAGAIN */
#define RETRY_MS        1000	/* it said something worse */
#define REFRESH_MS      5000	/* links and VIPs */
#define STATUS_MS       500
#define STOP_EXTRA_MS   15000	/* beyond drain_timeout: then we stop whatever still drains */

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Something that must not happen has happened: stop, so that systemd starts us afresh. */
static void give_up(struct turn *t, const char *why)
{
	log_msg(LOG_CRIT, "turn", "%s: giving up", why);
	t->done = true;
	t->exit_status = 1;
}

/* ---- effects of the agent ---- */

static void op_send(void *arg, const struct msg *m)
{
	struct turn *t = arg;
	size_t size = msg_encode(m, t->conf.name, t->buf, sizeof(t->buf));
	uint64_t swallowed;
	int err;

	if (!size) {
		log_msg(LOG_ERR, "group", "a message '%s' cannot be encoded", msg_type_str(m->type));
		return;
	}
	err = group_send(t->group, t->buf, size);
	/* Not connected: the agent says again what matters. */
	if (err && err != -ENOTCONN && log_allow(&t->full_limit, now_ms(), BAD_MS, &swallowed))
		log_msg(LOG_WARNING, "group", "cannot send a message '%s': %s", msg_type_str(m->type),
			strerror(-err));
}

static void op_lease(void *arg, const struct lease_cmd *cmd)
{
	struct turn *t = arg;

	if (heartbeat_command(t->hb, cmd))
		give_up(t, "the heartbeat does not take commands any more");
}

void turn_event(struct turn *t, const struct agent_event *e)
{
	struct log_event l = {
		.name = e->name, .node = conf_node_name(&t->conf, e->node),
		.by = conf_node_name(&t->conf, e->by),
		.service = conf_service_name(&t->conf, e->service), .buckets = e->buckets,
	};
	struct timespec ts;

	log_event(e->priority, "cluster", &l, e->text);
	clock_gettime(CLOCK_REALTIME, &ts);
	events_add(t->events, &t->conf, (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000, e);
	observe_event(t, e);
}

static void op_event(void *arg, const struct agent_event *e)
{
	turn_event(arg, e);
}

static void op_stopped(void *arg)
{
	struct turn *t = arg;

	t->done = true;
}

static const struct agent_ops agent_ops = {
	.send = op_send, .lease = op_lease, .event = op_event, .stopped = op_stopped,
};

static void publish_event(void *arg, const json_t *event)
{
	struct turn *t = arg;

	if (t->server)
		server_publish(t->server, event);
}

/* ---- the heartbeat ---- */

static void handle_heartbeat(struct turn *t)
{
	struct heartbeat_event e;

	while (heartbeat_next(t->hb, &e)) {
		switch (e.type) {
		case HEARTBEAT_LEASE:
			agent_lease_event(t->agent, &e.lease, now_ms());
			break;
		case HEARTBEAT_REACHABLE:
			agent_reachable(t->agent, e.yes, now_ms());
			break;
		case HEARTBEAT_ALONE:
			agent_alone(t->agent, e.yes, now_ms());
			break;
		case HEARTBEAT_DISCARDED:
			agent_discarded(t->agent, &e.cmd, e.yes, now_ms());
			break;
		case HEARTBEAT_LOG:
			log_msg(e.level, "lease", "%s", e.text);
			break;
		}
	}
}

static enum lease_tiebreak lease_tiebreak(enum conf_tiebreak t)
{
	switch (t) {
	case TIEBREAK_NONE: return LEASE_TIE_NONE;
	case TIEBREAK_LOWEST: return LEASE_TIE_LOWEST;
	case TIEBREAK_WITNESS: return LEASE_TIE_WITNESS;
	}
	assert(!"tiebreak");
	return LEASE_TIE_NONE;
}

static int start_heartbeat(struct turn *t)
{
	struct heartbeat_params p = {
		.lease = {
			.self = (uint8_t)t->self,
			.n_nodes = (uint8_t)t->conf.n_nodes,
			.lease_us = (int64_t)t->conf.lease_ms * 1000,
			.ignore_quorum = t->conf.quorum == QUORUM_IGNORE,
			.tiebreak = lease_tiebreak(t->conf.tiebreak),
			.incarnation = t->ap.incarnation,
		},
		.hang_ms = t->conf.hang_ms,
	};
	struct heartbeat_status s;
	const char *why;
	int err;

	err = hellosock_open(&p.sock, &t->net, &why);
	explicit_bzero(t->net.key, sizeof(t->net.key));
	if (err) {
		log_msg(LOG_ERR, "start", "%s, port %u: %s", why, t->conf.port, strerror(-err));
		return err;
	}
	p.table = t->setup->lease;
	t->setup->lease = NULL;
	err = heartbeat_start(&t->hb, &p, &why);
	if (err) {
		log_msg(LOG_ERR, "start", "cannot start the heartbeat: %s: %s", why, strerror(-err));
		return err;
	}
	heartbeat_get_status(t->hb, &s);
	if (!s.realtime)
		log_msg(LOG_WARNING, "start", "no permission for real-time priority: on a busy machine "
			"the heartbeat may be late (CAP_SYS_NICE, or LimitRTPRIO=50)");
	return 0;
}

/* ---- rules ---- */

static void install_failed(struct turn *t, int err, int64_t now)
{
	const char *why = rules_strerror(t->setup->rules);

	early_clear(t->setup->early);	/* nobody knows what the rules are now */
	if (err == -EAGAIN) {
		t->install_at = now + AGAIN_MS;
		return;
	}
	t->install_at = now + RETRY_MS;
	if (!strcmp(why, t->install_why))
		return;
	snprintf(t->install_why, sizeof(t->install_why), "%s", why);
	log_msg(LOG_ERR, "rules", "%s", why);
}

/*
 * While we hold the kernel's commit lock, the heartbeat's renewal waits for it: nobody may take the
 * processor from us in that time.  Below the heartbeat's own priority.  Without the right to do so
 * it goes on as it is: start has warned about the heartbeat already.
 */
static void hurry(bool yes)
{
	const struct sched_param p = { .sched_priority = yes ? INSTALL_PRIORITY : 0 };

	sched_setscheduler(0, (yes ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &p);
}

/* The fast path is made for one layout.  While that changes it decides nothing. */
static void renew_early(struct turn *t)
{
	const struct repl *r = agent_repl(t->agent);
	const struct layout *l = repl_layout(r);

	if (layout_equal(l, &t->early_layout) || repl_freeze(r) || repl_old_layout(r))
		return;
	t->early_layout = *l;
	if (!t->want.early)
		return;
	if (!setup_renew_early(t->setup, &t->want))
		t->repair = true;
	early_release(t->setup->early, &t->want);
}

/* True if the agent has news of it. */
static bool install(struct turn *t, int64_t now)
{
	/* Before the compilation: what changes meanwhile is another version. */
	uint64_t version = agent_version(t->agent);
	int err;

	if ((!agent_wants_install(t->agent) && !t->repair) || now < t->install_at)
		return false;
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		compile_service(agent_repl(t->agent), i, t->self, agent_lost(t->agent), t->action[i]);
	ways_fill(t);
	hurry(true);
	if (t->repair) {
		early_clear(t->setup->early);
		err = rules_repair(t->setup->rules, &t->want);
	} else {
		early_hold(t->setup->early, &t->want);
		err = rules_commit(t->setup->rules, &t->want);
	}
	if (!err)
		early_release(t->setup->early, &t->want);
	hurry(false);
	if (err) {
		install_failed(t, err, now);
		return false;
	}
	if (t->install_why[0])
		log_msg(LOG_NOTICE, "rules", "installed again");
	t->install_why[0] = '\0';
	t->repair = false;
	agent_installed(t->agent, version, now_ms());
	ways_installed(t, now);
	flowpath_installed(t, now);
	giveup_installed(t);
	renew_early(t);
	return true;
}

static void handle_rules(struct turn *t)
{
	if (!rules_dispatch(t->setup->rules) || t->repair)
		return;
	log_msg(LOG_WARNING, "rules", "somebody changed clusterd's tables: repairing");
	t->repair = true;
	t->install_at = 0;
}

/* ---- draining ---- */

static bool bit(const uint8_t *map, uint32_t b)
{
	return map[b / 8] >> (b % 8) & 1;
}

static void tell_counted(struct turn *t, unsigned int service, bool counted)
{
	uint32_t buckets = repl_layout(agent_repl(t->agent))->buckets;

	memset(t->empty, 0, buckets / 8);
	for (uint32_t b = 0; counted && b < buckets; b++)
		if (bit(t->wanted[service], b) && !t->count[service][b])
			t->empty[b / 8] |= (uint8_t)(1u << b % 8);
	agent_counted(t->agent, service, t->empty, now_ms());
}

/* As agent_count_wanted().  With a scheduler also t->before: what was wanted last, by the same layout. */
static bool count_wanted(struct turn *t, unsigned int service, int64_t now)
{
	uint64_t switched = repl_switched(agent_repl(t->agent));
	uint32_t size = repl_layout(agent_repl(t->agent))->buckets / 8;

	if (t->conf.service[service].sched != SCHED_HASH)
		memcpy(t->before, t->wanted[service], size);
	if (!agent_count_wanted(t->agent, service, t->wanted[service], now))
		return false;
	if (t->wanted_switch[service] != switched)
		memset(t->before, 0, size);
	t->wanted_switch[service] = switched;
	return true;
}

/*
 * With a scheduler a bucket is who directs, and the flows stay where they are.  The new director asks
 * for them as soon as it is that; until it has the answers it relies on what we know, so we go on for
 * one count (half a second) more.  Not while a node is missing: two directors that do not know a flow
 * drop it, only one gives it up, and that is what a lost node's clients wait for.
 */
static void tell_directed(struct turn *t, unsigned int service)
{
	const struct repl *r = agent_repl(t->agent);
	bool stay = mask_count(repl_online(r)) == t->conf.n_nodes;

	for (uint32_t b = 0; b < repl_layout(r)->buckets; b++)
		t->count[service][b] = stay && !bit(t->before, b);
	tell_counted(t, service, true);
}

/* One dump of conntrack for all services.  True if the agent has news of it. */
static bool count_flows(struct turn *t, int64_t now)
{
	const struct layout *l = repl_layout(agent_repl(t->agent));
	struct flows_service s[SERVICES_MAX];
	unsigned int index[SERVICES_MAX], n = 0;
	bool any = false;
	int err;

	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		if (!count_wanted(t, i, now))
			continue;
		any = true;
		if (t->conf.service[i].sched != SCHED_HASH) {
			tell_directed(t, i);
			continue;
		}
		memset(t->count[i], 0, l->buckets * sizeof(*t->count[i]));
		index[n] = i;
		s[n++] = (struct flows_service){
			.conf = &t->conf.service[i], .seed = t->service[i].seed,
			.buckets = l->buckets, .hash = (enum conf_hash)l->hash[i],
			.wanted = t->wanted[i], .count = t->count[i],
		};
	}
	if (!n)
		return any;
	err = flows_count(t->flows, s, n);
	if (err && err != t->count_err)
		log_msg(LOG_WARNING, "flows", "connections cannot be counted: %s", strerror(-err));
	t->count_err = err;
	/* Told as "none is empty" when it failed: drain_timeout goes on. */
	for (unsigned int i = 0; i < n; i++)
		tell_counted(t, index[i], !err);
	return true;
}

/* ---- links and VIPs ---- */

static void refresh(struct turn *t, int64_t now)
{
	int err = setup_refresh(t->setup, &t->want);
	const char *why = err ? netif_strerror(t->setup->netif) : "";
	struct link link;

	t->refresh_at = now + REFRESH_MS;
	if (t->setup->tunnels_changed) {
		log_msg(LOG_WARNING, "netif", "a tunnel was made anew: attaching the rules to it; until "
			"clusterd is restarted nothing is accepted from it");
		t->setup->tunnels_changed = false;
		t->repair = true;
	}
	if (t->probe)
		probe_refresh(t->probe);
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		if (setup_link(t->setup, t->service[i].interface, &link))
			continue;
		if (!memcmp(&link, &t->ap.link[i], sizeof(link)))
			continue;
		t->ap.link[i] = link;
		agent_set_link(t->agent, i, &link);
	}
	if (strcmp(why, t->refresh_why)) {
		snprintf(t->refresh_why, sizeof(t->refresh_why), "%s", why);
		if (err)
			log_msg(LOG_ERR, "netif", "%s", why);
	}
}

/* ---- signals ---- */

static void tell_weight(struct turn *t)
{
	const char *why;

	if (t->weight_pending && !agent_order(t->agent, ORDER_CONF_WEIGHT, t->self, t->ap.weight, &why,
					      now_ms()))
		t->weight_pending = false;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct turn *t = arg;

	if (t->stopping) {
		log_msg(LOG_WARNING, "turn", "second signal: stopping at once");
		t->done = true;
		return 0;
	}
	log_msg(LOG_NOTICE, "turn", "stopping: handing over");
	t->stopping = true;
	t->leave_at = now_ms() + ways_farewell(t);
	t->stop_at = t->leave_at + t->conf.drain_timeout_ms + STOP_EXTRA_MS;
	sd_notify(0, "STOPPING=1");
	return 0;
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct turn *t = arg;
	const char *line, *text;
	json_t *result;
	int err = control_reload(t, &result);

	if (err) {
		text = json_string_value(json_object_get(result, "error"));
		log_msg(LOG_ERR, "reload", "nothing was changed: %s", text ? "" : strerror(-err));
		for (line = text; line && *line; line += strcspn(line, "\n"), line += *line == '\n')
			log_msg(LOG_ERR, "reload", "%.*s", (int)strcspn(line, "\n"), line);
	} else {
		log_msg(LOG_NOTICE, "reload", "done, %zu changes",
			json_array_size(json_object_get(result, "changes")));
	}
	json_decref(result);
	return 0;
}

/* ---- systemd ---- */

static void tell_systemd(struct turn *t, int64_t now)
{
	struct agent_status s;
	uint32_t owned = 0;
	char text[sizeof(t->status)];

	if (t->watchdog_ms && now >= t->watchdog_at) {
		t->watchdog_at = now + t->watchdog_ms;
		/* Draining may take longer than systemd would wait for a stop. */
		sd_notify(0, t->stopping ? "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=30000000" : "WATCHDOG=1");
	}
	if (now < t->status_at)
		return;
	t->status_at = now + STATUS_MS;
	agent_get_status(t->agent, &s);
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		owned += repl_owned(agent_repl(t->agent), i, t->self);
	if (s.why_silent)
		snprintf(text, sizeof(text), "silent: %s", s.why_silent);
	else
		snprintf(text, sizeof(text), "serves %u of %u buckets", owned,
			 repl_layout(agent_repl(t->agent))->buckets * t->conf.n_services);
	if (!strcmp(text, t->status))
		return;
	memcpy(t->status, text, sizeof(text));
	sd_notifyf(0, "STATUS=%s", text);
}

static void start_watchdog(struct turn *t)
{
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) > 0)
		t->watchdog_ms = (int64_t)(usec / 3000) + 1;
}

/* ---- the loop ---- */

static int wait_ms(const struct turn *t, int64_t now)
{
	int64_t at = now + min64(TURN_MAX_MS, t->conf.hang_ms / 4);

	at = min64(at, agent_deadline(t->agent));
	at = min64(at, t->group_at);
	at = min64(at, ways_deadline(t));
	at = min64(at, flowpath_deadline(t));
	at = min64(at, observe_deadline(t));
	if (t->repair || agent_wants_install(t->agent))
		at = min64(at, t->install_at);
	if (t->more || t->give_up || at < now)
		return 0;
	return (int)(at - now);
}

/* The loop of the group is ours, because its fds come and go; sd-event's is one fd among them. */
static int wait_for_input(struct turn *t)
{
	struct pollfd fds[N_FDS];
	int ready = sd_event_prepare(t->event);

	if (ready < 0)
		return ready;
	fds[0].fd = sd_event_get_fd(t->event);
	fds[1].fd = heartbeat_fd(t->hb);
	fds[2].fd = rules_fd(t->setup->rules);
	fds[3].fd = t->group ? group_fd(t->group) : -1;
	fds[4].fd = t->group ? group_quorum_fd(t->group) : -1;
	fds[5].fd = flowpath_fd(t);
	fds[6].fd = flowpath_queue_fd(t);
	fds[7].fd = t->probe ? probe_fd(t->probe) : -1;
	fds[8].fd = observe_fd(t);
	for (unsigned int i = 0; i < N_FDS; i++) {
		fds[i].events = POLLIN;
		fds[i].revents = 0;
	}
	if (poll(fds, N_FDS, ready ? 0 : wait_ms(t, now_ms())) < 0)
		for (unsigned int i = 0; i < N_FDS; i++)
			fds[i].revents = 0;
	heartbeat_alive(t->hb);
	if (!ready)
		ready = sd_event_wait(t->event, 0);
	if (ready > 0)
		ready = sd_event_dispatch(t->event);
	if (ready < 0)
		return ready;
	if (fds[1].revents)
		handle_heartbeat(t);
	if (fds[2].revents)
		handle_rules(t);
	if (fds[3].revents || fds[4].revents || t->more)
		t->more = t->group && group_dispatch(t->group, GROUP_BUDGET) > 0;
	if (fds[5].revents)
		flowpath_dispatch(t);
	if (fds[6].revents)
		flowpath_queue_dispatch(t);
	if (fds[7].revents)
		probe_dispatch(t->probe, now_ms());
	if (fds[8].revents)
		observe_dispatch(t);
	return 0;
}

static void turn_end(struct turn *t)
{
	int64_t now = now_ms();

	if (t->stopping && !t->left && now >= t->leave_at) {
		t->left = true;
		agent_stop(t->agent, now);
	}
	observe_tick(t, now);
	agent_tick(t->agent, now);
	/* Each may let the agent go on at once. */
	if (install(t, now))
		agent_tick(t->agent, now_ms());
	if (count_flows(t, now))
		agent_tick(t->agent, now_ms());
	giveup_tick(t);
	tell_weight(t);
	now = now_ms();
	ways_tick(t, now);
	flowpath_tick(t, now);
	if (now >= t->refresh_at)
		refresh(t, now);
	turn_tick_group(t, now);
	tell_systemd(t, now);
	heartbeat_alive(t->hb);
	if (t->stopping && now >= t->stop_at && !t->done) {
		log_msg(LOG_WARNING, "turn", "handing over took too long: stopping at once");
		t->done = true;
	}
}

int turn_run(struct turn *t)
{
	while (!t->done) {
		if (wait_for_input(t) < 0)
			give_up(t, "the event loop is broken");
		else
			turn_end(t);
	}
	return t->exit_status;
}

/* ---- start and end ---- */

static int alloc_arrays(struct turn *t)
{
	/* The number of buckets may change; pages that are never touched cost nothing. */
	size_t buckets = BUCKETS_MAX;

	t->empty = malloc(buckets / 8);
	t->before = malloc(buckets / 8);
	if (!t->empty || !t->before)
		return -ENOMEM;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		t->action[i] = calloc(buckets, sizeof(*t->action[i]));
		t->wanted[i] = calloc(1, buckets / 8);
		t->count[i] = malloc(buckets * sizeof(*t->count[i]));
		if (!t->action[i] || !t->wanted[i] || !t->count[i])
			return -ENOMEM;
	}
	return 0;
}

static void fill_services(struct turn *t, const struct turn_params *p)
{
	t->want.n_services = t->conf.n_services;
	t->want.service = t->service;
	t->want.early = t->conf.accelerate == ACCELERATE_AUTO;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		const struct conf_service *c = &t->conf.service[i];
		struct rules_service *s = &t->service[i];

		s->conf = c;
		snprintf(s->interface, sizeof(s->interface), "%s",
			 c->interface[0] ? c->interface : p->interface);
		s->hash = c->hash;
		s->seed = key_seed(p->key, c->name);
		s->buckets = t->conf.buckets;
		s->action = t->action[i];
		s->peer = t->peer[i];
		t->ctx.seed[i] = s->seed;
	}
}

static void fill_agent_params(struct turn *t, const struct turn_params *p)
{
	struct agent_params *a = &t->ap;

	a->repl.n_nodes = (uint8_t)t->conf.n_nodes;
	a->repl.n_services = (uint8_t)t->conf.n_services;
	a->repl.layout.buckets = t->conf.buckets;
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		a->repl.layout.hash[i] = (uint8_t)t->conf.service[i].hash;
	a->repl.ignore_quorum = t->conf.quorum == QUORUM_IGNORE;
	a->self = (uint8_t)t->self;
	a->incarnation = p->incarnation;
	a->config = conf_digest(&t->conf);
	/* A node out of the group for longer than any reconfiguration of it takes is not coming back. */
	for (unsigned int i = 0; i < t->conf.n_nodes; i++)
		memcpy(a->node_name[i + 1], t->conf.node[i].name, NAME_SIZE);
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		const char *name = t->conf.service[i].name;

		memcpy(a->service_name[i], name, NAME_SIZE);
		a->repl.salt[i] = jhash(name, strlen(name), 0);
	}
	control_live_params(t);
}

static void fill_net(struct turn *t, const struct turn_params *p)
{
	t->net.self = (uint8_t)t->self;
	t->net.n_nodes = (uint8_t)t->conf.n_nodes;
	for (unsigned int i = 0; i < t->conf.n_nodes; i++)
		t->net.node[i] = t->conf.node[i].addr;
	t->net.port = t->conf.port;
	if (t->conf.tiebreak == TIEBREAK_WITNESS)
		t->net.witness = t->conf.witness;
	t->net.interface = p->interface;
	t->net.incarnation = p->incarnation;
	memcpy(t->net.key, p->key->hello, sizeof(t->net.key));
}

int turn_new(struct turn **out, const struct turn_params *p)
{
	struct turn *t = calloc(1, sizeof(*t));
	int err;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->conf = *p->conf;
	t->conf_path = p->conf_path;
	t->self = p->self;
	err = alloc_arrays(t);
	if (!err) {
		fill_services(t, p);
		fill_agent_params(t, p);
		fill_net(t, p);
		err = ways_prepare(t);
	}
	if (!err)
		err = observe_prepare(t);
	if (!err)
		err = agent_new(&t->agent, &t->ap, &agent_ops, t);
	if (!err)
		err = events_new(&t->events, publish_event, t);
	if (err) {
		log_msg(LOG_ERR, "start", "cannot prepare: %s", strerror(-err));
		turn_free(t);
		return err;
	}
	control_fill(t);
	*out = t;
	return 0;
}

/* One device per peer and kind, for all services that want that kind. */
static void want_tunnels(struct turn *t)
{
	struct tunnel_want w = { .self = (uint8_t)t->self, .vxlan_port = t->conf.vxlan_port };

	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		const struct conf_service *c = &t->conf.service[i];

		w.vxlan |= c->redirect == REDIRECT_VXLAN;
		for (unsigned int k = 0; c->redirect == REDIRECT_IPIP && k < c->n_vips; k++) {
			w.ipip4 |= c->vip[k].family == AF_INET;
			w.ipip6 |= c->vip[k].family == AF_INET6;
		}
	}
	if (!w.ipip4 && !w.ipip6 && !w.vxlan)
		return;
	w.local = t->conf.node[t->self - 1].addr;
	for (unsigned int id = 1; id <= t->conf.n_nodes; id++) {
		if (id == t->self)
			continue;
		w.peer = (uint8_t)id;
		w.remote = t->conf.node[id - 1].addr;
		t->setup->tunnel[t->setup->n_tunnels++] = w;
	}
}

int turn_setup(struct turn *t, struct setup *setup, bool afresh)
{
	int err;

	t->setup = setup;
	want_tunnels(t);
	err = setup_begin(setup, &t->want, afresh);
	/* The queues before the rules: a queue that nobody reads drops. */
	if (!err)
		err = flowpath_open(t);
	if (!err)
		err = ways_open(t);
	if (err)
		return err;
	ways_fill(t);
	t->early_layout = *repl_layout(agent_repl(t->agent));
	return setup_open(setup, &t->want);
}

static void open_probe(struct turn *t)
{
	struct probe_target target[SERVICES_MAX * VIPS_MAX];
	unsigned int n = 0;
	int err;

	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		const struct conf_service *c = &t->conf.service[i];

		for (unsigned int k = 0; k < c->n_vips; k++, n++) {
			memcpy(target[n].interface, t->service[i].interface, IFNAME_SIZE);
			target[n].vip = (struct addr){ .family = 0 };
			if (c->dispatch == DISPATCH_FLOOD) {
				addr_shared_mac(&c->vip[k], c->mac == MAC_UNICAST, target[n].mac);
				target[n].vip = c->vip[k];
			} else {
				memset(target[n].mac, 0xff, sizeof(target[n].mac));
			}
		}
	}
	err = probe_open(&t->probe, target, n, t->net.key, t->self);
	if (err) {
		log_msg(LOG_WARNING, "start", "no frames can be probed: %s", strerror(-err));
		t->probe = NULL;
	}
	t->ctx.probe = t->probe;
}

static int start_ctl(struct turn *t)
{
	int err = server_open(&t->server, t->event, CTL_SOCKET, cmds_handle, &t->ctx);

	if (err) {
		log_msg(LOG_ERR, "start", "control socket %s: %s", CTL_SOCKET, strerror(-err));
		return err;
	}
	err = sd_event_add_signal(t->event, NULL, SIGTERM, on_stop, t);
	if (err >= 0)
		err = sd_event_add_signal(t->event, NULL, SIGINT, on_stop, t);
	if (err >= 0)
		err = sd_event_add_signal(t->event, NULL, SIGHUP, on_hup, t);
	if (err < 0)
		log_msg(LOG_ERR, "start", "signals: %s", strerror(-err));
	return err < 0 ? err : 0;
}

int turn_start(struct turn *t)
{
	int64_t now = now_ms();
	int err;

	err = flows_open(&t->flows);
	if (!err)
		err = sd_event_new(&t->event);
	if (err < 0) {
		log_msg(LOG_ERR, "start", "cannot prepare: %s", strerror(-err));
		return err;
	}
	open_probe(t);	/* before the heartbeat: it takes the key */
	err = start_heartbeat(t);
	if (!err)
		err = observe_open(t);
	if (!err)
		err = start_ctl(t);
	if (err)
		return err;
	refresh(t, now);
	start_watchdog(t);
	/* A corosync that is starting too needs no line in the log. */
	t->waiting_at = now + 1000;
	err = group_open(&t->group, t->conf.name, &turn_group_ops, t);
	if (err) {
		log_msg(LOG_ERR, "start", "group: %s", strerror(-err));
		return err;
	}
	log_msg(LOG_NOTICE, "start", "clusterd %s, node %s of cluster %s", VERSION,
		t->conf.node[t->self - 1].name, t->conf.name);
	sd_notify(0, "READY=1");
	return 0;
}

void turn_free(struct turn *t)
{
	if (!t)
		return;
	/* Silent first, then gone from the group. */
	heartbeat_stop(t->hb);
	group_close(t->group);
	observe_close(t);
	server_close(t->server);
	sd_event_unref(t->event);
	events_free(t->events);
	probe_close(t->probe);
	flowpath_close(t);
	ways_close(t);
	flows_close(t->flows);
	agent_free(t->agent);
	for (unsigned int i = 0; i < SERVICES_MAX; i++) {
		free(t->action[i]);
		free(t->wanted[i]);
		free(t->count[i]);
	}
	free(t->empty);
	free(t->before);
	explicit_bzero(t->net.key, sizeof(t->net.key));
	free(t);
}

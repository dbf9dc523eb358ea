// SPDX-License-Identifier: GPL-2.0-or-later
#include "observe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/sorry.h"
#include "io/unit.h"
#include "peercheck.h"
#include "plug/child.h"
#include "plug/host.h"
#include "plug/notify.h"
#include "plug/registry.h"
#include "turn_priv.h"
#include "util/jhash.h"

#define SAMPLE_MS     1000
#define CONNS_MS      1000	/* connections are counted that often if something goes by them, ... */
#define CONNS_IDLE_MS 30000	/* ... else that often, for 'clusterctl plan' */
#define CONNS_SHARE   50	/* counting may take that part of the time */
#define TRAFFIC_MS    10000
#define HOLD_MS       1000	/* less than [cluster] grace: a restarted daemon has to be back by then */
#define STALE_LOOKS   5		/* a monitor that has said nothing for so many intervals counts no more */
#define ACTION_MS     90000	/* systemd's own limit for the start of a unit */
#define WHY_SIZE      160
#define SECTION_TEXT  (NAME_SIZE + 16)

struct monitor {
	struct conf_monitor conf;
	struct clusterd_inst *inst;
	struct turn *turn;
	int value;			/* -1: none yet */
	unsigned int facts;		/* told by it: bits of enum clusterd_fact */
	int64_t at, next;
	char why[WHY_SIZE];
};

struct check {
	struct conf_check conf;
	struct clusterd_inst *inst;
	struct turn *turn;
	unsigned int number;
	uint32_t timeout_ms;		/* of a look */
	struct unit_restart *restart;	/* the action under way */
	struct child *child;
	uint32_t looks_before, late_before;	/* by another version of its section */
	char why[WHY_SIZE];
};

struct observe {
	struct host *host;
	struct health *health;
	struct notify *notify;
	struct peercheck *peer;
	struct sorry *sorry;
	unsigned int n_monitors, n_checks;
	struct monitor *monitor[MONITORS_MAX];
	struct check *check[CHECKS_MAX];
	struct sample sample;
	int64_t sample_at;
	bool load_known;		/* once, at least */
	int64_t hold_until;		/* the group hears of us when the first looks are done; 0: it may */
	bool conns_matter, conns_known;
	int64_t conns_at;
	uint64_t octets[SERVICES_MAX];	/* of the services' interfaces */
	int64_t octets_at;
};

static bool late(int64_t now, int64_t at)
{
	return now >= at;
}

/* ---- policies ---- */

static int prepare_policy(struct turn *t, unsigned int i)
{
	const struct conf_service *c = &t->conf.service[i];
	struct repl_policy *p = &t->ap.repl.policy[i];
	const struct clusterd_plugin *plugin;
	char why[256];

	p->direct = c->sched != SCHED_HASH;
	p->step = c->rebalance_step;
	p->process_memory_kb = c->process_memory_kb;
	p->connections_per_minute = c->connections_per_minute;
	if (!strcmp(c->weights, "static"))
		return 0;
	plugin = registry_find(CLUSTERD_POLICY, c->weights, why, sizeof(why));
	if (!plugin) {
		log_msg(LOG_ERR, "start", "[service %s] weights: %s", c->name, why);
		return -EINVAL;
	}
	p->ops = plugin->policy;
	t->ap.weights_interval_ms[i] = c->weights_interval_ms ? c->weights_interval_ms :
							       plugin->policy->interval_ms;
	/* It computes what all must agree on: another version is another configuration. */
	t->ap.config ^= (uint64_t)jhash(plugin->version, strlen(plugin->version), i + 1) << 16;
	return 0;
}

int observe_prepare(struct turn *t)
{
	int err = 0;

	for (unsigned int i = 0; i < t->conf.n_services && !err; i++)
		err = prepare_policy(t, i);
	return err;
}

/* ---- events ---- */

static void tell(struct turn *t, int priority, const char *name, int service, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static void tell(struct turn *t, int priority, const char *name, int service, const char *fmt, ...)
{
	char text[EVENT_TEXT];
	struct agent_event e = { .priority = priority, .name = name, .text = text,
				 .node = (uint8_t)t->self, .service = (int8_t)service };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	turn_event(t, &e);
}

void observe_event(struct turn *t, const struct agent_event *e)
{
	if (t->observe && t->observe->notify)
		notify_add(t->observe->notify, e);
}

/* ---- monitors ---- */

static void monitor_report(void *arg, unsigned int tag, int value, const char *why)
{
	struct monitor *m = arg;

	m->value = value;
	m->at = now_ms();
	snprintf(m->why, sizeof(m->why), "%s", why);
}

static void monitor_fact(void *arg, unsigned int tag, enum clusterd_fact fact, uint64_t value)
{
	struct monitor *m = arg;
	struct sample *s = &m->turn->observe->sample;

	m->facts |= 1u << fact;
	switch (fact) {
	case CLUSTERD_CPU_IDLE:
		s->cpu_idle = value > 1000 ? 1000 : (uint16_t)value;
		break;
	case CLUSTERD_MEM_FREE_KB:
		s->mem_free_kb = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
		break;
	case CLUSTERD_BLOCKED:
		s->blocked = value > UINT16_MAX ? UINT16_MAX : (uint16_t)value;
		break;
	case CLUSTERD_SWAPPING:
		s->swapping = value > UINT16_MAX ? UINT16_MAX : (uint16_t)value;
		break;
	}
}

/*
 * Whoever told them is silent or gone: nobody must stay without work for what was true once.  How idle the
 * processors were is kept: a monitor of them needs two looks to tell, and none would read as "busy".
 */
static void forget_facts(struct observe *o, struct monitor *m)
{
	if (m->facts & 1u << CLUSTERD_MEM_FREE_KB)
		o->sample.mem_free_kb = 0;
	if (m->facts & 1u << CLUSTERD_BLOCKED)
		o->sample.blocked = 0;
	if (m->facts & 1u << CLUSTERD_SWAPPING)
		o->sample.swapping = 0;
	m->facts = 0;
}

static const struct clusterd_plugin *find(enum clusterd_kind kind, const char *type, const char *section)
{
	char why[256];
	const struct clusterd_plugin *p = registry_find(kind, type, why, sizeof(why));

	if (!p)
		log_msg(LOG_ERR, "plugin", "[%s] type: %s", section, why);
	return p;
}

/* One that does not open is tried again by the host; what cannot be had at all is left out. */
static bool open_monitor(struct turn *t, const struct conf_monitor *c)
{
	struct observe *o = t->observe;
	struct clusterd_option opt[REGISTRY_OPTIONS_MAX];
	char section[SECTION_TEXT];
	struct monitor *m = calloc(1, sizeof(*m));
	struct host_open p = { .section = section, .opt = opt, .report = monitor_report,
			       .fact = monitor_fact, .arg = m };

	snprintf(section, sizeof(section), "monitor %s", c->name);
	p.plugin = find(CLUSTERD_MONITOR, c->type, section);
	if (!m || !p.plugin) {
		free(m);
		return false;
	}
	m->conf = *c;
	m->turn = t;
	m->value = -1;
	p.n_opt = registry_monitor_options(&m->conf, opt);
	if (host_open(o->host, &m->inst, &p) == -ENOMEM) {
		free(m);
		return false;
	}
	o->monitor[o->n_monitors++] = m;
	return true;
}

static void close_monitor(struct observe *o, struct monitor *m)
{
	forget_facts(o, m);
	host_close(m->inst);
	free(m);
}

/* So that a section is the same wherever it stands in the file. */
static void take_lines(struct conf_option *to, const struct conf_option *from)
{
	for (unsigned int i = 0; i < CONF_OPTIONS_MAX; i++)
		to[i].line = from[i].line;
}

static bool same_monitor(const struct conf_monitor *a, const struct conf_monitor *b)
{
	struct conf_monitor x = *a;

	take_lines(x.option, b->option);
	return !memcmp(&x, b, sizeof(x));
}

/* One that is the same just goes on: what it looks at is measured between two looks. */
static void set_monitor(struct turn *t, const struct conf_monitor *c, struct monitor *old[], unsigned int n_old)
{
	struct observe *o = t->observe;

	for (unsigned int i = 0; i < n_old; i++)
		if (old[i] && same_monitor(&old[i]->conf, c)) {
			o->monitor[o->n_monitors++] = old[i];
			old[i] = NULL;
			return;
		}
	if (!open_monitor(t, c))
		log_msg(LOG_ERR, "plugin", "[monitor %s] is left out", c->name);
}

/* Policies of others may go by connections, too. */
static bool by_connections(const char *policy)
{
	return strcmp(policy, "static") != 0 && strcmp(policy, "load") != 0 &&
	       strcmp(policy, "memory-1") != 0 && strcmp(policy, "memory-2") != 0;
}

/* The memory policies would find all nodes alike, and say nothing. */
static void say_blind(const struct turn *t, const char *type)
{
	bool has = !t->conf.n_monitors && !strcmp(type, "cpu");

	for (unsigned int i = 0; i < t->conf.n_monitors; i++)
		has |= !strcmp(t->conf.monitor[i].type, type);
	for (unsigned int i = 0; i < t->conf.n_services && !has; i++)
		if (!strncmp(t->conf.service[i].weights, "memory-", 7))
			log_msg(LOG_WARNING, "plugin", "[service %s] weights: %s goes by what the monitor '%s' "
				"tells, and this node has none: add [monitor %s]", t->conf.service[i].name,
				t->conf.service[i].weights, type, type);
}

static void set_monitors(struct turn *t)
{
	/* Nothing is configured: loads are worth being seen anyway. */
	static const struct conf_monitor cpu = {
		.name = "cpu", .type = "cpu", .interval_ms = SAMPLE_MS, .weight = 100,
	};
	struct observe *o = t->observe;
	struct monitor *old[MONITORS_MAX];
	unsigned int n_old = o->n_monitors;

	memcpy(old, o->monitor, sizeof(old));
	o->n_monitors = 0;
	o->conns_matter = false;
	for (unsigned int i = 0; i < t->conf.n_monitors; i++) {
		o->conns_matter |= !strcmp(t->conf.monitor[i].type, "conn");
		set_monitor(t, &t->conf.monitor[i], old, n_old);
	}
	if (!t->conf.n_monitors)
		set_monitor(t, &cpu, old, n_old);
	for (unsigned int i = 0; i < n_old; i++)
		if (old[i])
			close_monitor(o, old[i]);
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		o->conns_matter |= by_connections(t->conf.service[i].weights);
	say_blind(t, "memory");
	say_blind(t, "cpu");
}

static void tick_monitors(struct observe *o, int64_t now)
{
	for (unsigned int i = 0; i < o->n_monitors; i++) {
		struct monitor *m = o->monitor[i];

		if (!late(now, m->next))
			continue;
		m->next = now + m->conf.interval_ms;
		host_start(m->inst, (int)m->conf.interval_ms);
	}
}

/*
 * The busiest resource is what a node is short of: the mean would hide it.  -1: no monitor says anything,
 * which does not mean that the node is idle.
 */
static int busiest(struct observe *o, int64_t now)
{
	int load = -1;

	for (unsigned int i = 0; i < o->n_monitors; i++) {
		struct monitor *m = o->monitor[i];
		int counts = m->value * (int)m->conf.weight / 100;

		if (m->value < 0)
			continue;
		if (now - m->at > STALE_LOOKS * (int64_t)m->conf.interval_ms)
			forget_facts(o, m);
		else if (counts > load)
			load = counts;
	}
	return load;
}

static void count_connections(struct turn *t, int64_t now)
{
	struct observe *o = t->observe;
	int64_t took;

	if (!late(now, o->conns_at))
		return;
	o->conns_known = !flowpath_connections(t, o->sample.conns, now);
	took = now_ms() - now;
	o->conns_at = now + (o->conns_matter ? CONNS_MS : CONNS_IDLE_MS);
	if (o->conns_at < now + took * CONNS_SHARE)
		o->conns_at = now + took * CONNS_SHARE;
}

/* Octets in and out of an interface since it was made.  False: it is not there. */
static bool octets(const char *interface, uint64_t *out)
{
	static const char *const counter[] = { "rx_bytes", "tx_bytes" };
	char path[96], text[32];

	*out = 0;
	for (unsigned int i = 0; i < 2; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", interface, counter[i]);
		f = fopen(path, "re");
		if (!f)
			return false;
		if (fgets(text, sizeof(text), f))
			*out += strtoull(text, NULL, 10);
		fclose(f);
	}
	return true;
}

/*
 * Traffic of a service: that of its interface, by its part of the connections there.  To count its own
 * packets would cost every packet something, for the sake of an estimate.
 */
static void measure_traffic(struct turn *t, int64_t now)
{
	struct observe *o = t->observe;
	int64_t ms = now - o->octets_at;

	if (ms < TRAFFIC_MS)
		return;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		uint64_t octets_now, conns = 0;

		if (!octets(t->service[i].interface, &octets_now))
			continue;
		for (unsigned int k = 0; k < t->conf.n_services; k++)
			if (!strcmp(t->service[k].interface, t->service[i].interface))
				conns += o->sample.conns[k];
		o->sample.kbps[i] = 0;
		if (o->octets_at && octets_now >= o->octets[i] && conns)
			o->sample.kbps[i] = (uint32_t)((octets_now - o->octets[i]) * 8 / (uint64_t)ms *
						       o->sample.conns[i] / conns);
		o->octets[i] = octets_now;
	}
	o->octets_at = now;
}

static void take_sample(struct turn *t, int64_t now)
{
	struct observe *o = t->observe;
	int load;

	if (!late(now, o->sample_at))
		return;
	o->sample_at = now + SAMPLE_MS;
	count_connections(t, now);
	measure_traffic(t, now);
	load = busiest(o, now);
	/* Else what was known last, or nothing: as an idle one, a node without eyes would draw work. */
	if (load >= 0) {
		o->sample.load = (uint16_t)load;
		o->load_known = true;
	}
	if (o->load_known || o->conns_matter)
		agent_sample(t->agent, &o->sample, now);
}

static int64_t host_connections(void *arg, const char *service)
{
	struct turn *t = arg;
	int i = conf_service_by_name(&t->conf, service);

	if (i < 0 || !t->observe->conns_known)
		return -1;
	return t->observe->sample.conns[i];
}

/* ---- checks ---- */

static void check_report(void *arg, unsigned int tag, int value, const char *why)
{
	struct check *k = arg;

	snprintf(k->why, sizeof(k->why), "%s", why);
	health_result(k->turn->observe->health, k->number, value, now_ms());
}

static void op_look(void *arg, unsigned int i)
{
	struct turn *t = arg;
	struct check *k = t->observe->check[i];

	host_start(k->inst, (int)k->timeout_ms);
}

static void op_give_up(void *arg, unsigned int i)
{
	struct turn *t = arg;
	struct check *k = t->observe->check[i];

	host_stop(k->inst);
	snprintf(k->why, sizeof(k->why), "no answer within %u ms", k->timeout_ms);
}

static void acted(struct check *k, const char *why)
{
	struct turn *t = k->turn;

	k->restart = NULL;
	k->child = NULL;
	log_msg(why ? LOG_WARNING : LOG_NOTICE, "check", "%s: the action %s%s", k->conf.name,
		why ? "failed: " : "is done", why ? why : "");
	health_acted(t->observe->health, k->number, !why, now_ms());
}

static void restarted(void *arg, const char *why)
{
	struct check *k = arg;

	unit_restart_free(k->restart);
	acted(k, why);
}

static void child_done(void *arg, int status, const char *out, size_t size)
{
	char why[CHILD_STATUS_STR];
	struct check *k = arg;

	child_free(k->child);
	acted(k, status ? child_status_str(status, why) : NULL);
}

static int run_action(struct check *k, unsigned int attempt)
{
	struct turn *t = k->turn;
	char env[5][CONF_TEXT], name[SECTION_TEXT];
	const char *argv[] = { k->conf.action_arg, NULL };
	const char *const envp[] = { env[0], env[1], env[2], env[3], env[4], NULL };
	struct child_params p = { .event = t->event, .name = name, .argv = argv, .env = envp,
				  .timeout_ms = ACTION_MS, .keeps_rest = true, .done = child_done,
				  .arg = k };

	snprintf(name, sizeof(name), "action of %s", k->conf.name);
	snprintf(env[0], sizeof(env[0]), "CLUSTERD_CHECK=%s", k->conf.name);
	snprintf(env[1], sizeof(env[1]), "CLUSTERD_SERVICE=%s", k->conf.service);
	snprintf(env[2], sizeof(env[2]), "CLUSTERD_LOCAL=%s", t->conf.node[t->self - 1].name);
	snprintf(env[3], sizeof(env[3]), "CLUSTERD_ATTEMPT=%u", attempt);
	snprintf(env[4], sizeof(env[4]), "CLUSTERD_TEXT=%s", k->why);
	return child_run(&k->child, &p);
}

static void op_act(void *arg, unsigned int i, unsigned int attempt)
{
	struct turn *t = arg;
	struct check *k = t->observe->check[i];
	int err = -EINVAL;

	switch (k->conf.action) {
	case ACTION_NONE:
		break;
	case ACTION_RESTART:
		err = unit_restart(&k->restart, t->event, NULL, k->conf.action_arg, ACTION_MS, restarted, k);
		break;
	case ACTION_EXEC:
		err = run_action(k, attempt);
		break;
	}
	if (err)
		acted(k, strerror(-err));
}

static void op_verdict(void *arg, unsigned int service, enum fitness f)
{
	struct turn *t = arg;

	agent_health(t->agent, service, f, now_ms());
}

static void op_health_event(void *arg, unsigned int i, int priority, const char *name)
{
	struct turn *t = arg;
	const struct check *k = t->observe->check[i];
	int service = conf_service_by_name(&t->conf, k->conf.service);
	struct health_status s;

	health_get(t->observe->health, i, &s);
	if (!strcmp(name, "REPAIR"))
		tell(t, priority, name, service, "check %s: %s, attempt %u: %s:%s", k->conf.name, k->why,
		     s.tries, k->conf.action == ACTION_RESTART ? "restart" : "exec", k->conf.action_arg);
	else if (!strcmp(name, "REPAIR_FAILED"))
		tell(t, priority, name, service, "check %s: given up after %u attempts: %s", k->conf.name,
		     s.tries, k->why);
	else
		tell(t, priority, name, service, "check %s of %s: %s", k->conf.name, k->conf.service,
		     k->why[0] ? k->why : "good");
}

static const struct health_ops health_ops = {
	.look = op_look, .give_up = op_give_up, .act = op_act, .verdict = op_verdict,
	.event = op_health_event,
};

/* Who looks, by 'c' from now on.  False: there is nobody who could. */
static bool open_look(struct check *k, const struct conf_check *c)
{
	struct turn *t = k->turn;
	struct clusterd_option opt[REGISTRY_OPTIONS_MAX];
	struct registry_buf buf;
	char section[SECTION_TEXT];
	struct host_open p = { .section = section, .opt = opt, .report = check_report, .arg = k };
	int service = conf_service_by_name(&t->conf, c->service);

	host_close(k->inst);
	k->inst = NULL;
	k->conf = *c;
	snprintf(section, sizeof(section), "check %s", c->name);
	p.plugin = find(CLUSTERD_CHECK, c->type, section);
	if (!p.plugin || service < 0)
		return false;
	p.n_opt = registry_check_options(&t->conf, &k->conf, t->service[service].interface, &buf, opt);
	return host_open(t->observe->host, &k->inst, &p) != -ENOMEM;
}

static struct check *open_check(struct turn *t, const struct conf_check *c)
{
	struct check *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->turn = t;
	if (open_look(k, c))
		return k;
	free(k);
	return NULL;
}

static bool unchanged(const struct conf_check *a, const struct conf_check *b)
{
	struct conf_check x = *a;

	take_lines(x.option, b->option);
	return !memcmp(&x, b, sizeof(x));
}

static void close_check(struct check *k)
{
	if (!k)
		return;
	host_close(k->inst);
	unit_restart_free(k->restart);
	child_free(k->child);
	free(k);
}

static struct health_check health_of(const struct turn *t, const struct conf_check *c)
{
	return (struct health_check){
		.service = (uint8_t)conf_service_by_name(&t->conf, c->service),
		.interval_ms = c->interval_ms, .timeout_ms = c->timeout_ms, .rise = c->rise,
		.fall = c->fall, .on_fail = (enum health_on_fail)c->on_fail,
		.action = c->action != ACTION_NONE, .action_tries = c->action_tries,
		.action_backoff_ms = c->action_backoff_ms,
	};
}

/*
 * The check of old[] that 'c' is about, no longer in there; its number in *number, -1: none.  One whose
 * section has changed looks in another way, but what it knows stays, and so does the action under way: a
 * service that is down must not get work because somebody edits its check.
 */
static struct check *take_over(struct turn *t, struct check *old[], unsigned int n_old,
			       const struct conf_check *c, int *number)
{
	struct health_status s;
	struct check *k;
	unsigned int i = 0;

	*number = -1;
	while (i < n_old && (!old[i] || strcmp(old[i]->conf.name, c->name) != 0 ||
			     strcmp(old[i]->conf.service, c->service) != 0))
		i++;
	if (i == n_old)
		return NULL;
	k = old[i];
	if (!unchanged(&k->conf, c)) {
		if (!open_look(k, c))
			return NULL;
		health_get(t->observe->health, i, &s);
		k->looks_before = s.looks;
		k->late_before = s.late;
	}
	old[i] = NULL;
	*number = (int)i;
	return k;
}

/* The checks of t->conf in place of what there is; those whose section is the same just go on. */
static void set_checks(struct turn *t, int64_t now)
{
	struct observe *o = t->observe;
	struct check *old[CHECKS_MAX];
	struct health_check list[CHECKS_MAX];
	int keep[CHECKS_MAX];
	unsigned int n_old = o->n_checks, n = 0;

	memcpy(old, o->check, sizeof(old));
	for (unsigned int i = 0; i < t->conf.n_checks; i++) {
		const struct conf_check *c = &t->conf.check[i];
		struct check *k = take_over(t, old, n_old, c, &keep[n]);

		if (!k)
			k = open_check(t, c);
		if (!k) {
			log_msg(LOG_ERR, "plugin", "[check %s] is left out", c->name);
			continue;
		}
		k->number = n;
		o->check[n] = k;
		list[n] = health_of(t, c);
		k->timeout_ms = health_timeout_ms(&list[n++]);
	}
	o->n_checks = n;
	health_set(o->health, list, keep, n, now);
	for (unsigned int i = 0; i < n_old; i++)
		close_check(old[i]);
}

/* ---- sorry ---- */

static int open_sorry(struct turn *t)
{
	struct sorry_target target[SORRY_TARGETS_MAX];
	unsigned int n = 0;
	const char *why;
	int err;

	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		const struct conf_service *c = &t->conf.service[i];

		for (unsigned int v = 0; c->sorry == SORRY_REDIRECT && v < c->n_vips; v++)
			for (unsigned int p = 0; p < c->n_ports && n < SORRY_TARGETS_MAX; p++)
				target[n++] = (struct sorry_target){ c->vip[v], c->port[p].lo,
								     c->port[p].hi, c->sorry_url };
	}
	if (!n)
		return 0;
	err = sorry_open(&t->observe->sorry, t->conf.sorry_port, &why);
	if (err) {
		log_msg(LOG_ERR, "start", "sorry page, port %u: %s: %s", t->conf.sorry_port, why,
			strerror(-err));
		return err;
	}
	return sorry_set(t->observe->sorry, target, n);
}

/* ---- life ---- */

static const struct host_ops host_ops = { .connections = host_connections };

int observe_open(struct turn *t)
{
	struct observe *o = calloc(1, sizeof(*o));
	int err;

	t->observe = o;
	if (!o)
		return -ENOMEM;
	err = host_new(&o->host, t->event, t->conf.node[t->self - 1].capacity, &host_ops, t);
	if (!err)
		err = health_new(&o->health, &health_ops, t);
	if (!err)
		err = notify_new(&o->notify, t->event, &t->conf, t->self);
	if (!err)
		err = peercheck_open(&o->peer, t);
	if (err)
		log_msg(LOG_ERR, "start", "monitors and checks: %s", strerror(-err));
	else
		err = open_sorry(t);
	if (err)
		return err;
	notify_set(o->notify, t->conf.notify);
	set_monitors(t);
	set_checks(t, now_ms());
	agent_hold(t->agent, true);
	o->hold_until = now_ms() + HOLD_MS;
	return 0;
}

void observe_close(struct turn *t)
{
	struct observe *o = t->observe;

	if (!o)
		return;
	while (o->n_monitors)
		close_monitor(o, o->monitor[--o->n_monitors]);
	for (unsigned int i = 0; i < o->n_checks; i++)
		close_check(o->check[i]);
	peercheck_close(o->peer);
	sorry_close(o->sorry);
	notify_free(o->notify);
	health_free(o->health);
	host_free(o->host);
	free(o);
	t->observe = NULL;
}

void observe_reconf(struct turn *t)
{
	struct observe *o = t->observe;

	notify_set(o->notify, t->conf.notify);
	set_monitors(t);
	set_checks(t, now_ms());
}

int64_t observe_deadline(const struct turn *t)
{
	const struct observe *o = t->observe;
	int64_t at = o->sample_at, next;

	for (unsigned int i = 0; i < o->n_monitors; i++)
		if (o->monitor[i]->next < at)
			at = o->monitor[i]->next;
	next = health_deadline(o->health);
	if (next < at)
		at = next;
	next = peercheck_deadline(o->peer);
	return next < at ? next : at;
}

void observe_tick(struct turn *t, int64_t now)
{
	struct observe *o = t->observe;

	tick_monitors(o, now);
	take_sample(t, now);
	health_tick(o->health, now);
	if (o->hold_until && (health_settled(o->health) || late(now, o->hold_until))) {
		o->hold_until = 0;
		agent_hold(t->agent, false);
	}
	peercheck_tick(o->peer, now);
}

int observe_fd(const struct turn *t)
{
	return peercheck_fd(t->observe->peer);
}

void observe_dispatch(struct turn *t)
{
	peercheck_dispatch(t->observe->peer, now_ms());
}

/* ---- for clusterctl ---- */

unsigned int observe_monitors(const struct turn *t, struct ctl_monitor *out, unsigned int max)
{
	const struct observe *o = t->observe;
	int64_t now = now_ms();

	for (unsigned int i = 0; i < o->n_monitors && i < max; i++) {
		const struct monitor *m = o->monitor[i];

		out[i] = (struct ctl_monitor){
			.name = m->conf.name, .type = m->conf.type, .value = m->value,
			.weight = m->conf.weight, .why = m->why, .age_ms = m->value < 0 ? 0 : now - m->at,
			.open = host_is_open(m->inst), .cpu_us = host_cpu_us(m->inst),
		};
	}
	return o->n_monitors;
}

unsigned int observe_checks(const struct turn *t, struct ctl_check *out, unsigned int max)
{
	const struct observe *o = t->observe;

	for (unsigned int i = 0; i < o->n_checks && i < max; i++) {
		const struct check *k = o->check[i];

		out[i] = (struct ctl_check){
			.name = k->conf.name, .type = k->conf.type, .service = k->conf.service,
			.why = k->why, .action = k->conf.action == ACTION_NONE ? "" : k->conf.action_arg,
			.open = host_is_open(k->inst), .cpu_us = host_cpu_us(k->inst),
		};
		health_get(o->health, i, &out[i].health);
		out[i].health.looks -= k->looks_before;
		out[i].health.late -= k->late_before;
	}
	return o->n_checks;
}

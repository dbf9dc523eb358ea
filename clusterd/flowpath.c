// SPDX-License-Identifier: GPL-2.0-or-later
#include "flowpath.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/sched.h"
#include "io/flowsock.h"
#include "io/queue.h"
#include "turn_priv.h"

#define QUEUE_FIRST   49616	/* 0xc1d0 */
#define QUEUES_MAX    4u
#define TEACH_MAX     2048	/* flows that wait for the kernel's maps; what does not fit comes again */
#define BATCH         256
#define LOAD_MS       1000
#define LOAD_SHARE    50	/* counting may take that part of the time */
#define MERGE_MS      40	/* one question about buckets comes in several datagrams */
#define ASK_TIMES     3		/* datagrams get lost */
#define ASK_AGAIN_MS  150
#define GIVE_UP_MS    1000	/* a flow that nobody has claimed is lost after that */
#define PATH_TRIES    3
#define PATH_AGAIN_MS 200
#define PATH_WAIT_MS  1000

/* Sizes of IP packets that paths are known to allow: interfaces, PPPoE, tunnels, the least of IPv6. */
static const uint16_t path_sizes[] = {
	9000, 4352, 2000, 1500, 1492, 1480, 1468, 1460, 1450, 1440, 1430, 1420, 1400, 1380, 1360, 1280, 576,
};

struct question { uint64_t epoch; uint32_t buckets; uint8_t hash; bool asked; uint8_t *bitmap; };

struct flowpath {
	struct flowsock *sock;
	struct queue *queue;
	bool scheduled;			/* some service has a scheduler */
	bool least_conn;
	uint32_t conns[SERVICES_MAX][NODES_MAX + 1];
	int64_t load_at;
	int64_t counted_at;		/* when conns[][self] were counted; 0: not, or it failed */
	struct flow teach[TEACH_MAX];
	unsigned int n_teach;

	/* buckets that this node directs; what of them is still to be asked about */
	uint8_t *directs[SERVICES_MAX], *ask[SERVICES_MAX];
	struct layout layout;		/* that these bits are by */
	unsigned int asks_left;
	int64_t ask_at;

	struct question question[NODES_MAX + 1][SERVICES_MAX];
	int64_t answer_at;		/* 0: nobody has asked */

	uint16_t path_mtu[NODES_MAX + 1];
	unsigned int path_tries;
	int64_t path_at, path_end;
};

static bool scheduled(const struct turn *t, unsigned int service)
{
	return t->conf.service[service].sched != SCHED_HASH;
}

static uint64_t others(const struct turn *t)
{
	return repl_online(agent_repl(t->agent)) & ~node_bit(t->self);
}

static bool bit(const uint8_t *map, uint32_t b)
{
	return map[b / 8] >> (b % 8) & 1;
}

static void set_bit(uint8_t *map, uint32_t b)
{
	map[b / 8] |= (uint8_t)(1u << b % 8);
}

/* What io/flows needs to know of a service; 'wanted' NULL: every bucket. */
static struct flows_service flows_service(const struct turn *t, unsigned int i, const uint8_t *wanted)
{
	const struct rules_service *s = &t->service[i];

	return (struct flows_service){ .conf = s->conf, .seed = s->seed, .buckets = s->buckets,
				       .hash = s->hash, .wanted = wanted };
}

/* ---- teaching the kernel ---- */

static void teach(struct flowpath *f, const struct flow *flow, unsigned int n)
{
	if (n > TEACH_MAX - f->n_teach)
		n = TEACH_MAX - f->n_teach;
	memcpy(f->teach + f->n_teach, flow, n * sizeof(*flow));
	f->n_teach += n;
}

static void flush_teach(struct turn *t)
{
	struct flowpath *f = t->flowpath;

	if (!f->n_teach || rules_flows_add(t->setup->rules, f->teach, f->n_teach) == -EAGAIN)
		return;
	f->n_teach = 0;		/* another error: their packets come to the queue again */
}

/* ---- the queue ---- */

void flowpath_queue_dispatch(struct turn *t)
{
	struct flowpath *f = t->flowpath;
	struct queue_item item[BATCH];
	struct flow ask[BATCH];
	unsigned int n, n_ask, rounds = 0;

	do {
		n = queue_next(f->queue, item, BATCH);
		n_ask = 0;
		for (unsigned int i = 0; i < n; i++) {
			if (item[i].kind == QUEUE_TEACH)
				teach(f, &item[i].flow, 1);
			else
				ask[n_ask++] = item[i].flow;
		}
		for (uint64_t left = others(t); n_ask && left; left &= left - 1)
			flowsock_send_flows(f->sock, FLOW_ASK, (uint8_t)mask_lowest(left), ask, n_ask);
		flush_teach(t);
	} while (n == BATCH && ++rounds < 16);
}

static void set_table(struct turn *t)
{
	struct flowpath *f = t->flowpath;
	struct queue_table table = { .n_services = t->conf.n_services };

	table.nodes = repl_online(agent_repl(t->agent)) & ~agent_lost(t->agent);
	table.directors = mask_count(table.nodes);
	if (!table.directors)
		table.directors = 1;
	table.give_up_ms = GIVE_UP_MS;
	/* A daemon that has crashed may come back and know them. */
	if (repl_awaits(agent_repl(t->agent), NOBODY))
		table.give_up_ms += t->conf.grace_ms;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		struct queue_service *s = &table.service[i];

		s->sched = t->conf.service[i].sched;
		memcpy(s->weight, t->service[i].weight, sizeof(s->weight));
		memcpy(s->conns, f->conns[i], sizeof(s->conns));
	}
	if (queue_set_table(f->queue, &table))
		log_msg(LOG_WARNING, "queue", "no memory for the scheduler's new weights");
}

/* ---- loads ---- */

/* Into conns[][self]; all 0 after an error. */
static int count_own(struct turn *t, int64_t now)
{
	struct flowpath *f = t->flowpath;
	struct flows_service s[SERVICES_MAX];
	uint32_t conns[SERVICES_MAX] = { 0 };
	int err;

	for (unsigned int i = 0; i < t->conf.n_services; i++)
		s[i] = flows_service(t, i, NULL);
	err = flows_load(t->flows, s, t->conf.n_services, conns);
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		f->conns[i][t->self] = err ? 0 : conns[i];
	f->counted_at = err ? 0 : now;
	return err;
}

int flowpath_connections(struct turn *t, uint32_t conns[SERVICES_MAX], int64_t now)
{
	struct flowpath *f = t->flowpath;
	int err = f->counted_at && now - f->counted_at < LOAD_MS ? 0 : count_own(t, now);

	for (unsigned int i = 0; i < t->conf.n_services && !err; i++)
		conns[i] = f->conns[i][t->self];
	return err;
}

static void tell_load(struct turn *t, int64_t now)
{
	struct flowpath *f = t->flowpath;
	struct flow_msg m = { .kind = FLOW_LOAD };
	int64_t took;

	count_own(t, now);
	took = now_ms() - now;
	f->load_at = now + (took * LOAD_SHARE > LOAD_MS ? took * LOAD_SHARE : LOAD_MS);
	m.u.load.n = t->conf.n_services;
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		m.u.load.conns[i] = f->conns[i][t->self];
	for (uint64_t left = others(t); left; left &= left - 1) {
		m.to = (uint8_t)mask_lowest(left);
		flowsock_send(f->sock, &m);
	}
	set_table(t);
}

/* ---- recovery: this node directs buckets that it did not direct before ---- */

static bool directs(uint8_t state)
{
	return state == BUCKET_MINE || state == BUCKET_ADOPTING;
}

void flowpath_installed(struct turn *t, int64_t now)
{
	struct flowpath *f = t->flowpath;
	const struct layout *l = repl_layout(agent_repl(t->agent));
	bool fresh = false;

	if (!f->scheduled)
		return;
	if (!layout_equal(l, &f->layout)) {
		f->layout = *l;
		for (unsigned int i = 0; i < t->conf.n_services; i++)
			if (scheduled(t, i))
				memset(f->directs[i], 0, BUCKETS_MAX / 8);
	}
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		for (uint32_t b = 0; scheduled(t, i) && b < l->buckets; b++) {
			bool mine = directs(t->action[i][b].state);

			if (mine == bit(f->directs[i], b))
				continue;
			f->directs[i][b / 8] ^= (uint8_t)(1u << b % 8);
			if (!mine)
				continue;
			set_bit(f->ask[i], b);
			fresh = true;
		}
	}
	if (f->queue)
		set_table(t);
	if (fresh) {
		f->asks_left = ASK_TIMES;
		f->ask_at = now;
	}
}

static void ask_buckets(struct turn *t, int64_t now)
{
	struct flowpath *f = t->flowpath;

	f->asks_left--;
	f->ask_at = now + ASK_AGAIN_MS;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		if (!scheduled(t, i))
			continue;
		for (uint64_t left = others(t); left; left &= left - 1)
			flowsock_ask_buckets(f->sock, (uint8_t)mask_lowest(left), (uint8_t)i,
					     f->layout.hash[i], repl_epoch(agent_repl(t->agent)),
					     f->layout.buckets, f->ask[i]);
		if (!f->asks_left)
			memset(f->ask[i], 0, BUCKETS_MAX / 8);
	}
}

/* ---- answering ---- */

static void heard_question(struct turn *t, const struct flow_msg *m, int64_t now)
{
	struct flowpath *f = t->flowpath;
	struct question *q;
	uint32_t n_bits = (uint32_t)m->u.buckets.n_bytes * 8;

	if (m->u.buckets.service >= t->conf.n_services || m->u.buckets.hash > HASH_SOURCE_PORT ||
	    m->u.buckets.buckets < BUCKETS_MIN || m->u.buckets.buckets > BUCKETS_MAX ||
	    m->u.buckets.first % 8 || m->u.buckets.first > m->u.buckets.buckets ||
	    n_bits > m->u.buckets.buckets - m->u.buckets.first)
		return;
	q = &f->question[m->from][m->u.buckets.service];
	if (!q->bitmap)
		q->bitmap = calloc(1, BUCKETS_MAX / 8);
	if (!q->bitmap)
		return;		/* it asks again */
	if (!q->asked || q->epoch != m->u.buckets.epoch || q->buckets != m->u.buckets.buckets ||
	    q->hash != m->u.buckets.hash)
		memset(q->bitmap, 0, BUCKETS_MAX / 8);
	q->asked = true;
	q->epoch = m->u.buckets.epoch;
	q->buckets = m->u.buckets.buckets;
	q->hash = m->u.buckets.hash;
	for (unsigned int i = 0; i < m->u.buckets.n_bytes; i++)
		q->bitmap[m->u.buckets.first / 8 + i] |= m->u.buckets.bitmap[i];
	if (!f->answer_at)
		f->answer_at = now + MERGE_MS;
}

struct answer {
	struct flowsock *sock;
	uint8_t to, service;
	unsigned int n;
	struct flow flow[BATCH];
};

static bool add_answer(void *arg, const struct flow *flow, uint32_t expires_ms)
{
	struct answer *a = arg;

	a->flow[a->n] = *flow;
	a->flow[a->n].service = a->service;
	if (++a->n == BATCH) {
		flowsock_send_flows(a->sock, FLOW_FLOWS, a->to, a->flow, a->n);
		a->n = 0;
	}
	return true;
}

static void answer_buckets(struct turn *t)
{
	struct flowpath *f = t->flowpath;
	struct answer a = { .sock = f->sock };

	f->answer_at = 0;
	for (unsigned int id = 1; id <= t->conf.n_nodes; id++) {
		for (unsigned int i = 0; i < t->conf.n_services; i++) {
			struct question *q = &f->question[id][i];
			struct flows_service s = flows_service(t, i, q->bitmap);

			if (!q->asked)
				continue;
			q->asked = false;
			s.buckets = q->buckets;
			s.hash = (enum conf_hash)q->hash;
			a.to = (uint8_t)id;
			a.service = (uint8_t)i;
			a.n = 0;
			if (flows_list(t->flows, &s, 1, add_answer, &a))
				log_msg(LOG_WARNING, "flows", "connections cannot be listed for %s",
					t->conf.node[id - 1].name);
			if (a.n)
				flowsock_send_flows(f->sock, FLOW_FLOWS, a.to, a.flow, a.n);
		}
	}
}

static void answer_flows(struct turn *t, const struct flow_msg *m)
{
	struct flow here[FLOW_FLOWS_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->u.flows.n; i++)
		if (m->u.flows.flow[i].service < t->conf.n_services &&
		    flows_has(t->flows, &m->u.flows.flow[i]) > 0)
			here[n++] = m->u.flows.flow[i];
	if (n)
		flowsock_send_flows(t->flowpath->sock, FLOW_FLOWS, m->from, here, n);
}

/* ---- the peers' words ---- */

static void learn(struct turn *t, const struct flow_msg *m)
{
	struct flow flow[FLOW_FLOWS_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->u.flows.n; i++)
		if (m->u.flows.flow[i].service < t->conf.n_services &&
		    scheduled(t, m->u.flows.flow[i].service))
			flow[n++] = m->u.flows.flow[i];
	if (!n)
		return;
	teach(t->flowpath, flow, n);
	if (t->flowpath->queue)
		queue_learn(t->flowpath->queue, flow, n);
}

static void path_reply(struct turn *t, const struct flow_msg *m)
{
	struct flowpath *f = t->flowpath;
	unsigned int size = flowsock_packet_size(f->sock, m->u.probe.size);

	if (size > f->path_mtu[m->from] && size <= UINT16_MAX)
		f->path_mtu[m->from] = (uint16_t)size;
}

static void heard(struct turn *t, struct flow_msg *m, int64_t now)
{
	switch ((enum flow_kind)m->kind) {
	case FLOW_ASK:
		answer_flows(t, m);
		break;
	case FLOW_ASK_BUCKETS:
		heard_question(t, m, now);
		break;
	case FLOW_FLOWS:
		learn(t, m);
		break;
	case FLOW_LOAD:
		for (unsigned int i = 0; i < m->u.load.n && i < t->conf.n_services; i++)
			t->flowpath->conns[i][m->from] = m->u.load.conns[i];
		break;
	case FLOW_PROBE:
		m->kind = FLOW_PROBE_REPLY;
		m->to = m->from;
		flowsock_send(t->flowpath->sock, m);
		break;
	case FLOW_PROBE_REPLY:
		path_reply(t, m);
		break;
	}
}

void flowpath_dispatch(struct turn *t)
{
	struct flow_msg m;
	int64_t now = now_ms();
	int got = 1;

	for (unsigned int n = 0; n < BATCH && got; n++) {
		got = flowsock_recv(t->flowpath->sock, &m);
		if (got > 0)
			heard(t, &m, now);
	}
	flush_teach(t);
}

/* ---- paths ---- */

static void probe_paths(struct turn *t, int64_t now)
{
	struct flowpath *f = t->flowpath;
	struct flow_msg m;

	f->path_tries--;
	f->path_at = now + PATH_AGAIN_MS;
	for (unsigned int id = 1; id <= t->conf.n_nodes; id++) {
		for (unsigned int i = 0; id != t->self && i < sizeof(path_sizes) / sizeof(*path_sizes); i++) {
			unsigned int size = flowsock_payload_size(f->sock, path_sizes[i]);

			if (path_sizes[i] <= f->path_mtu[id] || size < FLOW_PROBE_MIN ||
			    size > FLOW_PROBE_MAX)
				continue;
			m = (struct flow_msg){ .kind = FLOW_PROBE, .to = (uint8_t)id };
			m.u.probe.id = i;
			m.u.probe.size = (uint16_t)size;
			flowsock_send(f->sock, &m);	/* -EMSGSIZE: no such packet leaves here */
		}
	}
}

void flowpath_path_start(struct turn *t)
{
	struct flowpath *f = t->flowpath;
	int64_t now = now_ms();

	if (now < f->path_end)
		return;
	memset(f->path_mtu, 0, sizeof(f->path_mtu));
	f->path_tries = PATH_TRIES;
	f->path_at = now;
	f->path_end = now + PATH_WAIT_MS;
}

void flowpath_path(struct turn *t, unsigned int node, struct ctl_path *out)
{
	struct flowpath *f = t->flowpath;

	out->mtu = f->path_mtu[node];
	out->answers = out->mtu != 0;
	out->measuring = now_ms() < f->path_end;
}

/* ---- turns ---- */

int64_t flowpath_deadline(const struct turn *t)
{
	const struct flowpath *f = t->flowpath;
	int64_t at = INT64_MAX;

	if (f->asks_left)
		at = f->ask_at;
	if (f->answer_at && f->answer_at < at)
		at = f->answer_at;
	if (f->least_conn && f->load_at < at)
		at = f->load_at;
	if (f->path_tries && f->path_at < at)
		at = f->path_at;
	return at;
}

void flowpath_tick(struct turn *t, int64_t now)
{
	struct flowpath *f = t->flowpath;

	flush_teach(t);
	if (f->asks_left && now >= f->ask_at)
		ask_buckets(t, now);
	if (f->answer_at && now >= f->answer_at)
		answer_buckets(t);
	if (f->least_conn && now >= f->load_at)
		tell_load(t, now);
	if (f->path_tries && now >= f->path_at)
		probe_paths(t, now);
}

int flowpath_fd(const struct turn *t)
{
	return flowsock_fd(t->flowpath->sock);
}

int flowpath_queue_fd(const struct turn *t)
{
	return t->flowpath->queue ? queue_fd(t->flowpath->queue) : -1;
}

int flowpath_queue_stats(struct turn *t, unsigned int service, struct ctl_queue *out)
{
	struct queue_stats s;

	if (!t->flowpath->queue)
		return -ENOENT;
	queue_stats(t->flowpath->queue, &s);
	queue_service_stats(t->flowpath->queue, service, &out->decisions, &out->dropped);
	out->overruns = s.overruns + s.queue_dropped + s.user_dropped;
	return 0;
}

/* ---- start and end ---- */

static int open_sock(struct turn *t)
{
	struct flowsock_params p = {
		.self = (uint8_t)t->self, .n_nodes = (uint8_t)t->conf.n_nodes,
		.port = (uint16_t)(t->conf.port + 1), .interface = t->net.interface,
		.incarnation = t->ap.incarnation,
	};
	const char *why;
	int err;

	for (unsigned int i = 0; i < t->conf.n_nodes; i++)
		p.node[i] = t->conf.node[i].addr;
	memcpy(p.key, t->net.key, sizeof(p.key));
	err = flowsock_open(&t->flowpath->sock, &p, &why);
	explicit_bzero(p.key, sizeof(p.key));
	if (err)
		log_msg(LOG_ERR, "start", "%s, port %u: %s", why, p.port, strerror(-err));
	return err;
}

static int open_queue(struct turn *t)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct queue_params p = { .first = QUEUE_FIRST, .self = (uint8_t)t->self };
	const char *why;
	int err, native;

	for (unsigned int i = 0; (native = rules_queue_native()) == -EAGAIN && i < 50; i++)
		usleep(10000);		/* others edit nftables at boot as well */
	if (native < 0) {
		log_msg(LOG_ERR, "start", "cannot try nftables' queue: %s", strerror(-native));
		return native;
	}
	p.n = (uint16_t)(cpus < 1 ? 1 : cpus > (long)QUEUES_MAX ? QUEUES_MAX : cpus);
	t->want.queue = p.first;
	t->want.n_queues = p.n;
	t->want.queue_xt = !native;
	err = queue_open(&t->flowpath->queue, &p, &why);
	if (err)
		log_msg(LOG_ERR, "start", "%s: %s; a scheduler needs the kernel's nfnetlink_queue", why,
			strerror(-err));
	return err;
}

int flowpath_open(struct turn *t)
{
	struct flowpath *f = calloc(1, sizeof(*f));
	int err;

	t->flowpath = f;
	if (!f)
		return -ENOMEM;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		if (!scheduled(t, i))
			continue;
		f->scheduled = true;
		f->least_conn |= t->conf.service[i].sched == SCHED_LEAST_CONN;
		f->directs[i] = calloc(1, BUCKETS_MAX / 8);
		f->ask[i] = calloc(1, BUCKETS_MAX / 8);
		if (!f->directs[i] || !f->ask[i])
			return -ENOMEM;
	}
	err = open_sock(t);
	if (!err && f->scheduled)
		err = open_queue(t);
	return err;
}

void flowpath_close(struct turn *t)
{
	struct flowpath *f = t->flowpath;

	if (!f)
		return;
	queue_close(f->queue);
	if (f->sock)
		flowsock_close(f->sock);
	for (unsigned int i = 0; i < SERVICES_MAX; i++) {
		free(f->directs[i]);
		free(f->ask[i]);
		for (unsigned int id = 0; id <= NODES_MAX; id++)
			free(f->question[id][i].bitmap);
	}
	free(f);
	t->flowpath = NULL;
}

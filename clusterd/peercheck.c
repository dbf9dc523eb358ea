// SPDX-License-Identifier: GPL-2.0-or-later
#include "peercheck.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "io/reach.h"
#include "turn_priv.h"
#include "util/jhash.h"

#define ASK_MS     600		/* for an answer; less than PEERCHECK_MS */
#define PORT_FIRST 20000	/* source ports; nobody else's, for the frame is all that there is */
#define PORTS      32768
#define TRIAL_MAX  (20 * PEERCHECK_TRIAL_MS)

struct watch {
	bool wanted;
	struct reach *reach;		/* of the service's interface, shared */
	unsigned int left;		/* whom it is about; NOBODY */
	unsigned int silent;		/* in a row */
	bool down;			/* said so */
	int64_t trial_at, trial_ms;
	bool asked;
	uint16_t port;			/* begin to look for one there */
};

struct peercheck {
	struct turn *turn;
	int epoll;
	int64_t next;
	struct reach *reach[SERVICES_MAX];	/* one per interface, at its first service */
	struct watch watch[SERVICES_MAX];
};

static void forget(struct watch *w, unsigned int left)
{
	w->left = left;
	w->silent = 0;
	w->down = false;
	w->trial_ms = PEERCHECK_TRIAL_MS;
}

static void answered(void *arg, unsigned int tag, enum reach_answer a)
{
	struct peercheck *p = arg;
	struct watch *w = &p->watch[tag];
	int64_t now = now_ms();

	w->asked = false;
	if (a == REACH_YES) {
		w->silent = 0;
		w->trial_ms = PEERCHECK_TRIAL_MS;
		return;
	}
	if (++w->silent < PEERCHECK_FALL || w->down || !w->left)
		return;
	w->down = true;
	w->trial_at = now + w->trial_ms;
	w->trial_ms = w->trial_ms * 2 > TRIAL_MAX ? TRIAL_MAX : w->trial_ms * 2;
	agent_peer_health(p->turn->agent, tag, w->left, false, now);
}

static bool listens(const struct turn *t)
{
	struct agent_status s;

	agent_get_status(t->agent, &s);
	return s.leased && s.synced;
}

static bool stable(const struct repl *r, unsigned int service, uint32_t b, unsigned int owner)
{
	const struct repl_bucket *k = repl_get_bucket(r, service, b);

	return k->phase == PHASE_STABLE && k->owner == owner;
}

/* A source port whose bucket 'owner' has for sure.  False: none was found. */
static bool find_port(const struct turn *t, unsigned int service, const struct addr *from,
		      unsigned int owner, struct watch *w)
{
	const struct repl *r = agent_repl(t->agent);
	const struct rules_service *s = &t->service[service];

	for (unsigned int i = 0; i < 4096; i++) {
		uint16_t port = (uint16_t)(PORT_FIRST + (w->port + i) % PORTS);

		if (!stable(r, service, jhash_bucket(from, port, true, s->buckets, s->seed), owner))
			continue;
		w->port = (uint16_t)((w->port + i + 1) % PORTS);
		return true;
	}
	return false;
}

static void ask(struct peercheck *p, unsigned int service, int64_t now)
{
	static const uint8_t no_mac[6];
	struct turn *t = p->turn;
	struct watch *w = &p->watch[service];
	const struct conf_service *c = &t->conf.service[service];
	const struct link *peer = &repl_get_node(agent_repl(t->agent), w->left)->link[service];
	struct reach_question q = { .vip = c->vip[0], .tag = service };
	unsigned int i;

	q.from = q.vip.family == AF_INET ? t->ap.link[service].addr4 : t->ap.link[service].addr6;
	for (i = 0; i < c->n_ports && c->port[i].proto != IPPROTO_TCP; i++)
		;
	if (i == c->n_ports || !q.from.family || !memcmp(peer->mac, no_mac, sizeof(no_mac)) ||
	    !find_port(t, service, &q.from, w->left, w))
		return;
	q.dport = c->port[i].lo;
	q.sport = (uint16_t)(PORT_FIRST + (w->port + PORTS - 1) % PORTS);
	memcpy(q.mac, peer->mac, sizeof(q.mac));
	w->asked = !reach_ask(w->reach, &q, ASK_MS, now);
}

static void look(struct peercheck *p, unsigned int service, int64_t now)
{
	struct turn *t = p->turn;
	struct watch *w = &p->watch[service];
	unsigned int left, right;

	repl_ring(agent_repl(t->agent), t->self, &left, &right);
	if (left != w->left)
		forget(w, left);
	if (w->down && now >= w->trial_at) {
		w->down = false;
		w->silent = 0;
		agent_peer_health(t->agent, service, w->left, true, now);
	}
	if (left && !w->asked && !w->down && listens(t))
		ask(p, service, now);
}

void peercheck_tick(struct peercheck *p, int64_t now)
{
	if (p->epoll < 0)
		return;
	for (unsigned int i = 0; i < p->turn->conf.n_services; i++)
		if (p->reach[i] && now >= reach_deadline(p->reach[i]))
			reach_dispatch(p->reach[i], now, answered, p);
	if (now < p->next)
		return;
	p->next = now + PEERCHECK_MS;
	for (unsigned int i = 0; i < p->turn->conf.n_services; i++)
		if (p->watch[i].reach)
			look(p, i, now);
}

int64_t peercheck_deadline(const struct peercheck *p)
{
	int64_t at = p->next;

	if (p->epoll < 0)
		return INT64_MAX;
	for (unsigned int i = 0; i < SERVICES_MAX; i++)
		if (p->reach[i] && reach_deadline(p->reach[i]) < at)
			at = reach_deadline(p->reach[i]);
	return at;
}

int peercheck_fd(const struct peercheck *p)
{
	return p->epoll;
}

void peercheck_dispatch(struct peercheck *p, int64_t now)
{
	for (unsigned int i = 0; i < SERVICES_MAX; i++)
		if (p->reach[i])
			reach_dispatch(p->reach[i], now, answered, p);
}

/* ---- life ---- */

static int listen_on(struct peercheck *p, unsigned int service)
{
	const struct turn *t = p->turn;
	struct epoll_event e = { .events = EPOLLIN };
	int err;

	for (unsigned int i = 0; i < service; i++)
		if (p->reach[i] && !strcmp(t->service[i].interface, t->service[service].interface)) {
			p->watch[service].reach = p->reach[i];
			return 0;
		}
	err = reach_open(&p->reach[service], t->service[service].interface);
	if (err)
		return err;
	p->watch[service].reach = p->reach[service];
	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, reach_fd(p->reach[service]), &e) < 0 ? -errno : 0;
}

int peercheck_open(struct peercheck **out, struct turn *t)
{
	struct peercheck *p = calloc(1, sizeof(*p));
	bool any = false;

	*out = p;
	if (!p)
		return -ENOMEM;
	p->turn = t;
	p->epoll = -1;
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		any |= t->conf.service[i].peer_check == SWITCH_ON;
	if (!any)
		return 0;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll < 0)
		return -errno;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		int err;

		if (t->conf.service[i].peer_check != SWITCH_ON)
			continue;
		forget(&p->watch[i], NOBODY);
		err = listen_on(p, i);
		if (err)
			log_msg(LOG_WARNING, "start", "[service %s] peer_check: cannot listen on %s: %s",
				t->conf.service[i].name, t->service[i].interface, strerror(-err));
	}
	return 0;
}

void peercheck_close(struct peercheck *p)
{
	if (!p)
		return;
	for (unsigned int i = 0; i < SERVICES_MAX; i++)
		reach_close(p->reach[i]);
	if (p->epoll >= 0)
		close(p->epoll);
	free(p);
}

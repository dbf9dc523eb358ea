// SPDX-License-Identifier: GPL-2.0-or-later
#include "ways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/announce.h"
#include "turn_priv.h"
#include "util/jhash.h"

/*
 * The address of a route service's VIP lives that long without us.  Longer than any turn of the loop
 * takes, shorter than clients wait.
 */
#define ROUTE_LIFE_S    5
#define ROUTE_RENEW_MS  1000
#define FAREWELL_MS     2000	/* BIRD's scan of one second, and the flooding of what it finds */

struct ways {
	/* VIPs of announce services, each once; the order is the configuration's, so the same everywhere */
	unsigned int n_vips;
	struct addr vip[HOLDERS_MAX], held[HOLDERS_MAX];
	const char *interface[HOLDERS_MAX];
	uint8_t holder[HOLDERS_MAX];
	struct announce *announce;
	struct rules_member member[NODES_MAX];
	bool signalled;
	int64_t route_at;
	char why[256];		/* last complaint */
};

static bool leased(const struct turn *t)
{
	struct agent_status s;

	agent_get_status(t->agent, &s);
	return s.leased;
}

static void complain(struct turn *t, int err, const char *what, const char *why)
{
	char text[sizeof(t->ways->why)];

	snprintf(text, sizeof(text), "%s: %s", what, err ? why : "");
	if (!strcmp(text, t->ways->why))
		return;
	memcpy(t->ways->why, text, sizeof(text));
	if (err)
		log_msg(LOG_ERR, "netif", "%s", text);
}

/* ---- who holds which VIP ---- */

static void name_vip(struct turn *t, const struct rules_service *s, const struct addr *vip)
{
	struct ways *w = t->ways;

	for (unsigned int i = 0; i < w->n_vips; i++)
		if (!addr_cmp(&w->vip[i], vip))
			return;
	if (w->n_vips == HOLDERS_MAX)	/* SERVICES_MAX * VIPS_MAX of them fit */
		return;
	w->vip[w->n_vips] = *vip;
	w->interface[w->n_vips] = s->interface;
	t->ap.repl.vip_salt[w->n_vips] = jhash(vip->b, addr_size(vip), vip->family);
	w->n_vips++;
}

int ways_prepare(struct turn *t)
{
	t->ways = calloc(1, sizeof(*t->ways));
	if (!t->ways)
		return -ENOMEM;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		const struct conf_service *c = &t->conf.service[i];

		for (unsigned int k = 0; c->dispatch == DISPATCH_ANNOUNCE && k < c->n_vips; k++)
			name_vip(t, &t->service[i], &c->vip[k]);
	}
	t->ap.repl.n_vips = (uint16_t)t->ways->n_vips;
	return 0;
}

unsigned int ways_holder(const struct turn *t, const struct addr *vip)
{
	for (unsigned int i = 0; i < t->ways->n_vips; i++)
		if (!addr_cmp(&t->ways->vip[i], vip))
			return repl_holder(agent_repl(t->agent), i, agent_lost(t->agent));
	return NOBODY;
}

static void fill_held(struct turn *t)
{
	struct ways *w = t->ways;

	repl_holders(agent_repl(t->agent), agent_lost(t->agent), w->holder);
	t->want.n_held = 0;
	t->want.held = w->held;
	for (unsigned int i = 0; i < w->n_vips; i++)
		if (w->holder[i] == t->self)
			w->held[t->want.n_held++] = w->vip[i];
}

static void announce(struct turn *t, int64_t now)
{
	struct ways *w = t->ways;
	bool mine = leased(t);

	for (unsigned int i = 0; i < w->n_vips; i++) {
		int err = announce_set(w->announce, &w->vip[i], w->interface[i],
				       mine && w->holder[i] == t->self, now);
		char text[ADDR_STR];

		if (err)	/* tried again at every turn */
			log_msg(LOG_DEBUG, "announce", "%s on %s: %s", addr_str(&w->vip[i], text),
				w->interface[i], strerror(-err));
	}
}

/* ---- peers ---- */

static bool direct_peer(const struct turn *t, unsigned int service, unsigned int id,
			struct rules_peer *p)
{
	static const uint8_t no_mac[6];
	const struct link *l = &repl_get_node(agent_repl(t->agent), id)->link[service];

	if (!memcmp(l->mac, no_mac, sizeof(no_mac)))
		return false;
	*p = (struct rules_peer){ .id = (uint8_t)id, .addr4 = l->addr4, .addr6 = l->addr6 };
	memcpy(p->mac, l->mac, sizeof(p->mac));
	return true;
}

static bool tunnel_peer(const struct turn *t, enum conf_redirect redirect, unsigned int id,
			struct rules_peer *p)
{
	if (!t->setup)
		return false;
	*p = t->setup->by_tunnel[id - 1][redirect == REDIRECT_VXLAN];
	return p->id == id;
}

/*
 * With a scheduler a flow's node is remembered: one that is gone must not be a peer any more, so that its
 * flows are unknown, asked about, and in the end reset.
 */
static bool gone(const struct turn *t, const struct rules_service *s, unsigned int id)
{
	return s->conf->sched != SCHED_HASH &&
	       (repl_get_node(agent_repl(t->agent), id)->state != NODE_ONLINE ||
		mask_has(agent_lost(t->agent), id));
}

static void fill_peers(struct turn *t, unsigned int service)
{
	struct rules_service *s = &t->service[service];

	s->n_peers = 0;
	for (unsigned int id = 1; id <= t->conf.n_nodes; id++) {
		struct rules_peer *p = &t->peer[service][s->n_peers];

		if (id == t->self || !(s->conf->redirect == REDIRECT_DIRECT ?
				       direct_peer(t, service, id, p) :
				       tunnel_peer(t, s->conf->redirect, id, p)))
			continue;
		p->gone = gone(t, s, id);
		s->n_peers++;
	}
}

static void fill_members(struct turn *t)
{
	struct ways *w = t->ways;
	bool vxlan = false, any = false;

	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		vxlan |= t->conf.service[i].redirect == REDIRECT_VXLAN;
		any |= t->conf.service[i].redirect != REDIRECT_DIRECT;
	}
	t->want.vxlan_port = vxlan ? t->conf.vxlan_port : 0;
	t->want.member = w->member;
	t->want.n_members = 0;
	for (unsigned int id = 1; any && id <= t->conf.n_nodes; id++)
		if (id != t->self)
			w->member[t->want.n_members++] = (struct rules_member){
				.addr = t->conf.node[id - 1].addr,
				.vni = vxlan ? tunnel_vni((uint8_t)t->self, (uint8_t)id) : 0,
			};
}

/* Nodes that may get new flows, with their weights. */
static void fill_weights(struct turn *t, unsigned int service, struct rules_service *s)
{
	const struct repl *r = agent_repl(t->agent);
	uint64_t lost = agent_lost(t->agent);

	memset(s->weight, 0, sizeof(s->weight));
	if (s->conf->sched == SCHED_HASH)
		return;
	for (unsigned int id = 1; id <= t->conf.n_nodes; id++)
		if (!mask_has(lost, id))
			s->weight[id] = repl_serve_weight(r, service, id);
}

/* What new connections get while no node is fit for the service. */
static enum rules_sorry sorry(const struct turn *t, unsigned int service)
{
	if (!repl_sorry(agent_repl(t->agent), service))
		return RULES_SORRY_NONE;
	switch (t->conf.service[service].sorry) {
	case SORRY_RESET: return RULES_SORRY_RESET;
	case SORRY_DROP: return RULES_SORRY_DROP;
	case SORRY_REDIRECT: return RULES_SORRY_REDIRECT;
	}
	return RULES_SORRY_DROP;
}

static void fill_layout(struct turn *t, unsigned int service)
{
	const struct repl *r = agent_repl(t->agent);
	const struct layout *now = repl_layout(r), *old = repl_old_layout(r);
	struct rules_service *s = &t->service[service];

	s->buckets = now->buckets;
	s->hash = (enum conf_hash)now->hash[service];
	s->freeze = repl_freeze(r);
	memset(&s->old, 0, sizeof(s->old));
	if (!old)
		return;
	s->old.buckets = old->buckets;
	s->old.hash = (enum conf_hash)old->hash[service];
	s->old.owner = repl_old_owner(r, service);
}

static void fill_mss(struct turn *t, struct rules_service *s)
{
	const struct addr *underlay = &t->conf.node[t->self - 1].addr;
	struct netif_info info;
	unsigned int lost4, lost6;

	if (s->conf->redirect == REDIRECT_DIRECT ||
	    netif_info(t->setup->netif, s->interface, t->setup->vip, t->setup->n_vips, &info))
		return;
	lost4 = 40 + tunnel_overhead(s->conf->redirect, underlay, false);
	lost6 = 60 + tunnel_overhead(s->conf->redirect, underlay, true);
	/* No less than what every host must take anyway (RFC 9293 section 3.7.1, RFC 8200 section 5). */
	s->mss4 = info.mtu > lost4 + 536 ? (uint16_t)(info.mtu - lost4) : 536;
	s->mss6 = info.mtu > lost6 + 1220 ? (uint16_t)(info.mtu - lost6) : 1220;
}

void ways_fill(struct turn *t)
{
	t->want.self = (uint8_t)t->self;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		struct rules_service *s = &t->service[i];

		fill_peers(t, i);
		fill_weights(t, i, s);
		s->sorry = sorry(t, i);
		s->sorry_port = t->conf.sorry_port;
		fill_layout(t, i);
		s->own4 = t->ap.link[i].addr4;
		s->own6 = t->ap.link[i].addr6;
		if (!s->mss4 && t->setup)
			fill_mss(t, s);
	}
	fill_members(t);
	fill_held(t);
}

void ways_installed(struct turn *t, int64_t now)
{
	announce(t, now);
}

/* ---- dispatch = route ---- */

static bool wants_packets(const struct turn *t)
{
	const struct repl_node *n = repl_get_node(agent_repl(t->agent), t->self);

	return !t->stopping && n->state == NODE_ONLINE && !n->drain && !n->leaving && leased(t);
}

static void route_service(struct turn *t, const struct rules_service *s, bool on)
{
	struct netif *n = t->setup->netif;
	int err = 0;

	for (unsigned int k = 0; k < s->conf->n_vips && !err; k++) {
		err = netif_vip_lease(n, &s->conf->vip[k], ROUTE_LIFE_S);
		if (!err)
			err = netif_route_set(n, &s->conf->vip[k], s->interface, on, ROUTE_LIFE_S);
	}
	complain(t, err, s->conf->name, netif_strerror(n));
}

static bool has_route(const struct turn *t)
{
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		if (t->conf.service[i].dispatch == DISPATCH_ROUTE)
			return true;
	return false;
}

int64_t ways_farewell(const struct turn *t)
{
	return t->ways->signalled ? FAREWELL_MS : 0;
}

static void signal_routers(struct turn *t, bool on, int64_t now)
{
	struct ways *w = t->ways;

	if (on == w->signalled && now < w->route_at)
		return;
	if (on != w->signalled)
		log_msg(LOG_INFO, "route", on ? "routers may send packets here" :
			"routers shall send no packets here");
	w->signalled = on;
	w->route_at = now + ROUTE_RENEW_MS;
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		if (t->conf.service[i].dispatch == DISPATCH_ROUTE)
			route_service(t, &t->service[i], on);
}

void ways_tick(struct turn *t, int64_t now)
{
	if (has_route(t))
		signal_routers(t, wants_packets(t), now);
	/* The lease may have come or gone without a new table. */
	announce(t, now);
	announce_tick(t->ways->announce, now);
}

int64_t ways_deadline(const struct turn *t)
{
	int64_t at = announce_deadline(t->ways->announce);

	return has_route(t) && t->ways->route_at < at ? t->ways->route_at : at;
}

/* ---- start and end ---- */

int ways_open(struct turn *t)
{
	int err = announce_open(&t->ways->announce);

	if (err)
		log_msg(LOG_ERR, "start", "cannot send announcements: %s", strerror(-err));
	return err;
}

void ways_close(struct turn *t)
{
	if (!t->ways)
		return;
	announce_close(t->ways->announce);
	free(t->ways);
	t->ways = NULL;
}

// SPDX-License-Identifier: GPL-2.0-or-later
#include "giveup.h"

#include <string.h>

#include "io/sockets.h"
#include "turn_priv.h"
#include "util/jhash.h"

struct whose { const struct turn *turn; unsigned int service; };

/* While no node is fit, or the layouts are mixed, all stay where they are. */
static bool gives_up(const struct turn *t, unsigned int service)
{
	const struct repl *r = agent_repl(t->agent);

	return repl_down(r, service, t->self) && !repl_sorry(r, service) && !repl_old_layout(r);
}

/* The node's own connections to the VIP, over lo, are its own business. */
static bool is_own(const struct turn *t, unsigned int service, const struct addr *client)
{
	const struct conf_service *c = &t->conf.service[service];
	const struct link *l = &t->ap.link[service];

	for (unsigned int i = 0; i < c->n_vips; i++)
		if (!addr_cmp(&c->vip[i], client))
			return true;
	return !addr_cmp(&l->addr4, client) || !addr_cmp(&l->addr6, client);
}

/* With a scheduler all connections of the service that end here are this node's own matter. */
static bool is_given_up(void *arg, const struct addr *client, uint16_t port)
{
	const struct whose *w = arg;
	const struct turn *t = w->turn;
	const struct repl *r = agent_repl(t->agent);
	const struct rules_service *s = &t->service[w->service];
	const struct repl_bucket *k;

	if (is_own(t, w->service, client))
		return false;
	if (t->conf.service[w->service].sched != SCHED_HASH)
		return true;
	k = repl_get_bucket(r, w->service, jhash_bucket(client, port, s->hash == HASH_SOURCE_PORT,
							s->buckets, s->seed));
	return k->owner != t->self && k->other != t->self;
}

void giveup_installed(struct turn *t)
{
	for (unsigned int i = 0; i < t->conf.n_services; i++)
		t->give_up |= gives_up(t, i);
}

bool giveup_tick(struct turn *t)
{
	if (!t->give_up)
		return false;
	t->give_up = false;
	for (unsigned int i = 0; i < t->conf.n_services; i++) {
		struct whose w = { t, i };
		int n = gives_up(t, i) ? sockets_abort(&t->conf.service[i], is_given_up, &w) : 0;

		if (n > 0)
			log_msg(LOG_INFO, "flows", "%s is down here: %d connections are reset",
				t->conf.service[i].name, n);
		else if (n < 0 && n != t->give_up_err)
			log_msg(LOG_WARNING, "flows", "connections that are given up cannot be reset: %s",
				strerror(-n));
		if (n < 0)
			t->give_up_err = n;
		t->give_up |= n == SOCKETS_ABORT_MAX;
	}
	return t->give_up;
}

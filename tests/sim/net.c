/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "sim.h"

/* Microseconds on the way; now and then long enough to overtake and be late. */
static int64_t delay(struct sim *s)
{
	if (rnd_chance(s, s->p.slow))
		return rnd_in(s, 10 * MS, 200 * MS);
	if (s->p.slow && rnd_chance(s, 50))
		return rnd_in(s, 3 * MS, 15 * MS);
	return rnd_in(s, 50, rnd_chance(s, 100) ? 3000 : 400);
}

static void send_one(struct sim *s, unsigned int to, const struct hello *h, bool reflected)
{
	unsigned int copies = 1 + rnd_chance(s, s->p.dup);

	if (rnd_chance(s, s->p.loss) || !s->node[to].running)
		return;
	for (unsigned int i = 0; i < copies; i++) {
		struct hello *copy = malloc(sizeof(*copy));

		if (!copy)
			abort();
		*copy = *h;
		post(s, s->now + delay(s) * (1 + reflected), EV_HELLO, to, s->node[to].life,
		     reflected, copy);
	}
}

void net_hello_round(struct sim *s, struct node *n, bool witness)
{
	lease_begin_round(&n->lease, node_local(n, s->now));
	for (unsigned int to = 1; to <= s->p.n_nodes; to++) {
		struct hello h;

		if (to == n->id)
			continue;
		lease_hello(&n->lease, to, &h);
		if (s->path[n->id][to])
			send_one(s, to, &h, false);
		if (witness && n->wit_to && s->node[to].wit_from)
			send_one(s, to, &h, true);
	}
	if (witness && n->wit_to && n->wit_from && !rnd_chance(s, s->p.loss))
		post(s, s->now + 2 * delay(s), EV_WITNESS, n->id, n->life, n->lease.seq, NULL);
}

void net_on_hello(struct sim *s, struct node *n, const struct hello *h, bool reflected)
{
	struct lease_out out = { 0 };

	lease_heard_hello(&n->lease, h, reflected, node_local(n, s->now), &out);
	node_lease_out(s, n, &out);
}

void net_on_witness(struct sim *s, struct node *n, uint64_t seq)
{
	struct lease_out out = { 0 };

	lease_heard_witness(&n->lease, seq, node_local(n, s->now), &out);
	node_lease_out(s, n, &out);
}

void net_cut(struct sim *s, unsigned int a, unsigned int b, bool cut)
{
	if (s->path[a][b] == !cut)
		return;
	trace(s, 0, "FAULT path %u>%u %s", a, b, cut ? "cut" : "healed");
	s->path[a][b] = !cut;
	group_topology(s);
}

void net_cut_both(struct sim *s, unsigned int a, unsigned int b, bool cut)
{
	net_cut(s, a, b, cut);
	net_cut(s, b, a, cut);
}

void net_partition(struct sim *s, uint64_t side)
{
	for (unsigned int a = 1; a <= s->p.n_nodes; a++)
		for (unsigned int b = 1; b <= s->p.n_nodes; b++)
			if (a != b)
				net_cut(s, a, b, mask_has(side, a) != mask_has(side, b));
}

void net_heal(struct sim *s)
{
	for (unsigned int a = 1; a <= s->p.n_nodes; a++) {
		for (unsigned int b = 1; b <= s->p.n_nodes; b++)
			if (a != b)
				net_cut(s, a, b, false);
		s->node[a].wit_to = s->node[a].wit_from = true;
	}
}

/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The way of one packet: it enters at a front and goes from kernel to kernel by their tables, in no
 * time.  "From" is the node that handed it over.  See the table in core/types.h and DESIGN.
 */

#include <stdio.h>

#include "sim.h"

#define HOPS_MAX 4	/* kernels on the way of a packet */

uint32_t key_bucket(const struct sim *s, uint32_t buckets, unsigned int hash, uint32_t key)
{
	uint32_t h = hash ? (key * 37 + 11 * hash) % s->p.keys : key;

	return (uint32_t)((uint64_t)h * buckets / s->p.keys);
}

struct bucket_action packet_action(const struct sim *s, const struct node *n, unsigned int service,
				   uint32_t key)
{
	const struct ktable *k = &n->k[service];

	if (!k->buckets)
		return (struct bucket_action){ .state = BUCKET_FOREIGN };
	return k->act[key_bucket(s, k->buckets, k->hash, key)];
}

/* Whom to ask about connections of before a change of the layout. */
static unsigned int old_owner(const struct sim *s, const struct node *n, unsigned int service,
			      uint32_t key)
{
	const struct ktable *k = &n->k[service];

	return k->old_buckets ? k->old_owner[key_bucket(s, k->old_buckets, k->old_hash, key)] : NOBODY;
}

enum verdict { DROP, ACCEPT, CHECK, CHECK_ELSE, FORWARD };

static enum verdict decide_syn(const struct bucket_action *a, unsigned int from, bool two_layouts)
{
	switch ((enum bucket_state)a->state) {
	case BUCKET_MINE:
	case BUCKET_ADOPTING:
		return ACCEPT;
	case BUCKET_FOREIGN:
		return from ? DROP : FORWARD;
	case BUCKET_LEAVING:	/* even back: it takes the SYN only from us as yet */
		return FORWARD;
	/* The new owner takes SYNs by itself, or is not up to date; nothing moves while the layout changes. */
	case BUCKET_DRAINING:
		return from && (two_layouts || from == a->to) ? DROP : FORWARD;
	case BUCKET_ARRIVING:
		return from && from == a->to ? ACCEPT : FORWARD;
	case BUCKET_STATES_N:
		break;
	}
	return DROP;
}

static enum verdict decide_mid(const struct bucket_action *a, unsigned int from)
{
	switch ((enum bucket_state)a->state) {
	case BUCKET_MINE:
		return ACCEPT;
	case BUCKET_FOREIGN:
		return from ? DROP : FORWARD;
	case BUCKET_ADOPTING:
	case BUCKET_LEAVING:
	case BUCKET_DRAINING:
	case BUCKET_ARRIVING:
		return from == a->to || a->to == NOBODY ? CHECK : CHECK_ELSE;
	case BUCKET_STATES_N:
		break;
	}
	return DROP;
}

struct walk packet_walk(struct sim *s, unsigned int service, uint32_t key, unsigned int front,
			unsigned int knower)
{
	struct walk w = { .fate = FATE_DROPPED, .at = front };
	unsigned int from = NOBODY;

	for (;;) {
		const struct node *n = &s->node[w.at];
		struct bucket_action a = packet_action(s, n, service, key);
		bool leased = kernel_leased(s, n);
		enum verdict v;

		if (!n->table)
			return w;
		if (++w.hops > HOPS_MAX)
			sim_fail(s, w.at, "a packet of client %u/%u goes in a circle", service, key);
		if (a.state == BUCKET_ADOPTING && a.to == NOBODY && knower)
			a.to = (uint8_t)old_owner(s, n, service, key);
		if (a.to == w.at)
			a.to = NOBODY;
		v = knower ? decide_mid(&a, from) : n->k[service].freeze ? DROP :
		    decide_syn(&a, from, n->k[service].old_buckets != 0);
		if (v == ACCEPT && leased) {
			w.fate = !knower || knower == w.at ? FATE_SERVED : FATE_RESET;
			return w;
		}
		if ((v == CHECK || v == CHECK_ELSE) && knower == w.at && leased) {
			w.fate = FATE_SERVED;
			return w;
		}
		/* What is handed on at ingress does not ask for the lease; a second chance does. */
		if (!(v == FORWARD || (v == CHECK_ELSE && leased && knower != w.at)) || a.to == NOBODY)
			return w;
		if (!s->path[w.at][a.to]) {
			w.fate = FATE_CUT;
			return w;
		}
		from = w.at;
		w.at = a.to;
		s->n_handed++;
	}
}

/* A router or a switch sends no packets to a node that is silent; but it may be late to know. */
bool packet_front(const struct sim *s, const struct node *n)
{
	return kernel_leased(s, n);
}

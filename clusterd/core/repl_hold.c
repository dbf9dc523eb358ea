/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who answers ARP and ND for which VIP. */
#include <string.h>

#include "core/repl_priv.h"

static uint64_t score(const struct repl *r, unsigned int vip, unsigned int node)
{
	return repl_mix(repl_mix(0, r->p.vip_salt[vip]), node);
}

/* Of 'among' (not empty) the node that holds the fewest. */
static unsigned int least(const struct repl *r, unsigned int vip, uint64_t among,
			  const unsigned int count[NODES_MAX + 1])
{
	unsigned int best = NOBODY;

	for (uint64_t x = among; x; x &= x - 1) {
		unsigned int i = mask_lowest(x);

		if (!best || count[i] < count[best] ||
		    (count[i] == count[best] && score(r, vip, i) < score(r, vip, best)))
			best = i;
	}
	return best;
}

/* Those that are neither drained nor leaving; if all are, all. */
static uint64_t steady(const struct repl *r, uint64_t online)
{
	uint64_t mask = 0;

	for (uint64_t x = online; x; x &= x - 1) {
		const struct repl_node *n = &r->node[mask_lowest(x)];

		if (!n->drain && !n->leaving)
			mask |= x & -x;
	}
	return mask ? mask : online;
}

/* Whoever may hold keeps what it has; the rest goes to those that a plan would give work. */
void repl_holders(const struct repl *r, uint64_t lost, uint8_t holder[HOLDERS_MAX])
{
	uint64_t online = repl_online(r) & ~lost, keep = steady(r, online), among;
	unsigned int count[NODES_MAX + 1] = { 0 };
	struct weights w;

	repl_node_weights(r, ~online, &w);
	among = repl_weight_mask(&w, r->p.n_nodes);
	if (!among)
		among = keep;
	for (unsigned int v = 0; v < r->p.n_vips; v++) {
		holder[v] = mask_has(keep, r->holder[v]) ? r->holder[v] : NOBODY;
		count[holder[v]]++;
	}
	for (unsigned int v = 0; v < r->p.n_vips && among; v++)
		if (!holder[v]) {
			holder[v] = (uint8_t)least(r, v, among, count);
			count[holder[v]]++;
		}
}

unsigned int repl_holder(const struct repl *r, unsigned int vip, uint64_t lost)
{
	uint8_t holder[HOLDERS_MAX];

	if (!(repl_online(r) & lost))
		return r->holder[vip];
	repl_holders(r, lost, holder);
	return holder[vip];
}

bool repl_hold(struct repl *r)
{
	uint8_t holder[HOLDERS_MAX] = { 0 };

	repl_holders(r, 0, holder);
	if (!memcmp(holder, r->holder, sizeof(holder)))
		return false;
	memcpy(r->holder, holder, sizeof(holder));
	return true;
}

/* A VIP of one that has most goes to one that has fewest: that one which 'to' likes best. */
static void give_one(const struct repl *r, uint8_t *holder, unsigned int most, unsigned int to)
{
	unsigned int best = r->p.n_vips;

	for (unsigned int v = 0; v < r->p.n_vips; v++)
		if (holder[v] == most && (best == r->p.n_vips || score(r, v, to) < score(r, best, to)))
			best = v;
	holder[best] = (uint8_t)to;
}

bool repl_hold_plan(const struct repl *r, uint8_t holder[HOLDERS_MAX])
{
	unsigned int count[NODES_MAX + 1] = { 0 };
	bool changed = false;
	struct weights w;
	uint64_t among;

	repl_node_weights(r, 0, &w);
	among = repl_weight_mask(&w, r->p.n_nodes);
	memmove(holder, r->holder, sizeof(r->holder));
	if (!among)
		return false;
	for (unsigned int v = 0; v < r->p.n_vips; v++) {
		if (!mask_has(among, holder[v]))
			holder[v] = NOBODY;
		count[holder[v]]++;
	}
	for (unsigned int v = 0; v < r->p.n_vips; v++)
		if (!holder[v]) {
			holder[v] = (uint8_t)least(r, v, among, count);
			count[holder[v]]++;
			changed = true;
		}
	for (;;) {
		unsigned int low = mask_lowest(among), high = low;

		for (uint64_t x = among; x; x &= x - 1) {
			unsigned int i = mask_lowest(x);

			low = count[i] < count[low] ? i : low;
			high = count[i] > count[high] ? i : high;
		}
		if (count[high] - count[low] <= 1)
			return changed;
		give_one(r, holder, high, low);
		count[high]--;
		count[low]++;
		changed = true;
	}
}

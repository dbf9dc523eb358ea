/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inet clusterd: what new connections get of a service that no node is fit for.  Behind the guard, which
 * has taken the mark off: what comes here has been accepted, by this node alone, or comes from this
 * machine; its own checks must see the service, not the excuse.  The chains are there only while they are
 * needed: a nat chain costs every new connection of this machine a little.
 */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "io/rules_build.h"

static void vip_set(struct rules_mk *b, unsigned int i, const struct conf_service *s, bool v4)
{
	char name[OBJ_NAME];
	unsigned int k;

	mk_set(b, v4 ? NAME(name, i, "sorry4") : NAME(name, i, "sorry6"),
	       v4 ? TYPE_IPADDR : TYPE_IP6ADDR, v4 ? 4 : 16);
	for (k = 0; k < s->n_vips; k++)
		if (is4(&s->vip[k]) == v4)
			mk_elem_once(b, name, s->vip[k].b, v4 ? 4 : 16);
}

static void from_outside(struct rules_mk *b)
{
	const uint32_t lo = 1;		/* LOOPBACK_IFINDEX of the kernel, in every namespace */

	mk_meta(b, NFT_META_IIF, REG(0));
	mk_cmp(b, NFT_CMP_NEQ, REG(0), &lo, sizeof(lo));
}

/* Rule: a new connection (UDP: any datagram), accepted, for this port of the service. */
static void match(struct rules_mk *b, unsigned int i, const struct conf_port *p, bool v4)
{
	uint16_t lo = htons(p->lo), hi = htons(p->hi);
	char name[OBJ_NAME];

	mk_rule(b);
	from_outside(b);
	build_to_vip(b, v4, v4 ? NAME(name, i, "sorry4") : NAME(name, i, "sorry6"));
	if (p->proto == IPPROTO_TCP)
		build_syn(b);
	else
		mk_is_l4proto(b, p->proto);
	mk_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TH_DPORT, 2, REG(0));
	mk_range(b, REG(0), &lo, &hi, 2);
	mk_counter(b, "sorry");
}

static bool redirects(const struct rules_service *s, const struct conf_port *p)
{
	return s->sorry == RULES_SORRY_REDIRECT && p->proto == IPPROTO_TCP;
}

static void refuse_rules(struct rules_mk *b, unsigned int i, const struct rules_service *s, bool v4)
{
	for (unsigned int k = 0; k < s->conf->n_ports; k++) {
		const struct conf_port *p = &s->conf->port[k];

		if (redirects(s, p))
			continue;
		match(b, i, p, v4);
		if (s->sorry == RULES_SORRY_RESET && p->proto == IPPROTO_TCP)
			mk_reset(b);
		else
			mk_verdict(b, NF_DROP);
	}
}

static void redirect_rules(struct rules_mk *b, unsigned int i, const struct rules_service *s, bool v4)
{
	uint16_t port = htons(s->sorry_port);

	for (unsigned int k = 0; k < s->conf->n_ports; k++) {
		if (!redirects(s, &s->conf->port[k]))
			continue;
		match(b, i, &s->conf->port[k], v4);
		mk_imm(b, REG(0), &port, 2);
		mk_dnat_port(b, v4, REG(0));
	}
}

void build_sorry(struct rules_mk *b, const struct rules_want *w)
{
	bool any = false, redirect = false;
	unsigned int i;

	for (i = 0; i < w->n_services; i++) {
		any |= w->service[i].sorry != RULES_SORRY_NONE;
		redirect |= w->service[i].sorry == RULES_SORRY_REDIRECT;
	}
	if (!any)
		return;
	mk_add_obj(b, OBJ_COUNTER, "sorry");
	for (i = 0; i < w->n_services; i++)
		for (int v4 = 1; v4 >= 0 && w->service[i].sorry != RULES_SORRY_NONE; v4--)
			vip_set(b, i, w->service[i].conf, v4);
	mk_base_chain(b, "sorry", NF_INET_PRE_ROUTING, PRIO_SORRY, NULL);
	for (i = 0; i < w->n_services; i++)
		for (int v4 = 1; v4 >= 0 && w->service[i].sorry != RULES_SORRY_NONE; v4--)
			refuse_rules(b, i, &w->service[i], v4);
	if (!redirect)
		return;
	mk_nat_chain(b, "sorry_nat", NF_INET_PRE_ROUTING, PRIO_SORRY_NAT);
	for (i = 0; i < w->n_services; i++)
		for (int v4 = 1; v4 >= 0; v4--)
			redirect_rules(b, i, &w->service[i], v4);
}

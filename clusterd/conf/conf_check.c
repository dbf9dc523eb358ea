// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules that need more than one value.  What is wrong by itself has been complained about already;
 * a rule says nothing when one of its values was, because it would judge a default.
 */
#include "conf/conf_table.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define COROSYNC_PORT 5405	/* knet's default, and the port below it in older transports */

static void check_nodes(const struct conf *c, struct conf_report *r)
{
	char a[ADDR_STR];
	bool mixed = false;

	for (unsigned int i = 0; i < c->n_nodes; i++) {
		const struct conf_node *n = &c->node[i];

		if (n->addr.family != c->node[0].addr.family && !mixed) {
			mixed = true;
			conf_complain(r, "cluster", "nodes", "%s and %s have addresses of "
				      "different families; use IPv4 for all nodes or IPv6 for all",
				      c->node[0].name, n->name);
		}
		for (unsigned int j = 0; j < i; j++) {
			/* iniparser does not tell [node N1] from [node n1]. */
			if (!strcasecmp(c->node[j].name, n->name))
				conf_complain(r, "cluster", "nodes", "name '%s' is there twice%s; "
					      "give each node its own", n->name,
					      strcmp(c->node[j].name, n->name) ?
					      " (upper and lower case are the same here)" : "");
			if (!addr_cmp(&c->node[j].addr, &n->addr))
				conf_complain(r, "cluster", "nodes", "%s and %s have the same "
					      "address %s; give each node its own",
					      c->node[j].name, n->name, addr_str(&n->addr, a));
		}
	}
}

static void check_weights(const struct conf *c, struct conf_report *r)
{
	char section[SECTION_SIZE];

	for (unsigned int i = 0; i < c->n_nodes; i++) {
		conf_section(section, KIND_NODE, c->node[i].name);
		if (c->node[i].weight || conf_is_bad(r, section, "weight"))
			return;
	}
	if (c->n_nodes && !conf_is_bad(r, "cluster", "nodes"))
		conf_complain(r, section, "weight", "all nodes have weight 0, so nobody would "
			      "serve; give one of them more");
}

/* The responder's socket is this node's, and the rules send it what no service takes. */
static void check_sorry(const struct conf *c, struct conf_report *r)
{
	bool used = false;

	for (unsigned int i = 0; i < c->n_services; i++)
		used |= c->service[i].sorry == SORRY_REDIRECT;
	for (unsigned int i = 0; used && i < c->n_services; i++) {
		const struct conf_service *s = &c->service[i];

		for (unsigned int k = 0; k < s->n_ports; k++)
			if (s->port[k].proto == IPPROTO_TCP && s->port[k].lo <= c->sorry_port &&
			    c->sorry_port <= s->port[k].hi)
				conf_complain(r, "cluster", "sorry_port", "%u is a TCP port of "
					      "service %s; use another one", c->sorry_port, s->name);
	}
}

static bool has_tcp(const struct conf_service *s)
{
	for (unsigned int i = 0; i < s->n_ports; i++)
		if (s->port[i].proto == IPPROTO_TCP)
			return true;
	return false;
}

/* The neighbour asks from a port whose bucket the node owns: that must decide who answers. */
static void check_peer_check(const struct conf_service *s, const char *section,
			     struct conf_report *r)
{
	if (s->peer_check != SWITCH_ON)
		return;
	if (s->sched != SCHED_HASH && !conf_is_bad(r, section, "scheduler"))
		conf_complain(r, section, "peer_check", "needs scheduler = hash, and this service "
			      "has %s; use off", conf_sched_str(s->sched));
	if (s->hash != HASH_SOURCE_PORT && !conf_is_bad(r, section, "hash"))
		conf_complain(r, section, "peer_check", "needs hash = source-port, and this service "
			      "has %s; use off", conf_hash_str(s->hash));
	if (s->redirect != REDIRECT_DIRECT && !conf_is_bad(r, section, "redirect"))
		conf_complain(r, section, "peer_check", "needs redirect = direct, because it asks with a "
			      "frame to the neighbour, and this service has %s; use off",
			      conf_redirect_str(s->redirect));
	if (!has_tcp(s) && !conf_is_bad(r, section, "port"))
		conf_complain(r, section, "peer_check", "asks by TCP, and this service has no TCP "
			      "port; use off");
}

static void check_checks(const struct conf *c, struct conf_report *r)
{
	char section[SECTION_SIZE];

	for (unsigned int i = 0; i < c->n_checks; i++) {
		const struct conf_check *k = &c->check[i];

		conf_section(section, KIND_CHECK, k->name);
		if (conf_service_by_name(c, k->service) < 0 && !conf_is_bad(r, section, "service"))
			conf_complain(r, section, "service", "there is no section [service %s]; "
				      "give the name of a service", k->service);
		if (k->timeout_ms > k->interval_ms && !conf_is_bad(r, section, "timeout") &&
		    !conf_is_bad(r, section, "interval"))
			conf_complain(r, section, "timeout", "%u ms is longer than interval (%u ms); "
				      "use interval or less", k->timeout_ms, k->interval_ms);
	}
}

static bool has_addr(const struct conf_service *s, const struct addr *a)
{
	for (unsigned int i = 0; i < s->n_vips; i++)
		if (!addr_cmp(&s->vip[i], a))
			return true;
	return false;
}

static void check_tiebreak(const struct conf *c, struct conf_report *r)
{
	char a[ADDR_STR];

	if (c->tiebreak == TIEBREAK_NONE)
		return;
	if (c->n_nodes != 2 && !conf_is_bad(r, "cluster", "nodes"))
		conf_complain(r, "cluster", "tiebreak", "there are %u nodes, and only two need a "
			      "tie-break; use none", c->n_nodes);
	if (c->tiebreak != TIEBREAK_WITNESS)
		return;
	addr_str(&c->witness, a);
	for (unsigned int i = 0; i < c->n_nodes; i++)
		if (!addr_cmp(&c->node[i].addr, &c->witness))
			conf_complain(r, "cluster", "tiebreak", "%s is node %s, which cannot be "
				      "its own witness; use a third machine, the gateway say", a,
				      c->node[i].name);
	for (unsigned int i = 0; i < c->n_services; i++)
		if (has_addr(&c->service[i], &c->witness))
			conf_complain(r, "cluster", "tiebreak", "%s is a VIP of service %s, which "
				      "every node would answer itself; use a third machine, the "
				      "gateway say",
				      a, c->service[i].name);
}

static void check_cluster(const struct conf *c, struct conf_report *r)
{
	if (c->hang_ms < c->lease_ms && !conf_is_bad(r, "cluster", "hang") &&
	    !conf_is_bad(r, "cluster", "lease"))
		conf_complain(r, "cluster", "hang", "%u ms is shorter than lease (%u ms): the "
			      "daemon would fence itself at each delay; use lease or more",
			      c->hang_ms, c->lease_ms);
	/* Ours are 'port' and the next one; corosync's are its port and the one before. */
	if (c->port >= COROSYNC_PORT - 2 && c->port <= COROSYNC_PORT)
		conf_complain(r, "cluster", "port", "%u or the port after it, which is used as well, "
			      "is corosync's own; use another one, 5407 say", c->port);
	if (!c->n_services)
		conf_complain(r, "", "", "there is no service; add a section [service NAME] with "
			      "vip and port");
}

static bool uses_vxlan(const struct conf *c)
{
	for (unsigned int i = 0; i < c->n_services; i++)
		if (c->service[i].redirect == REDIRECT_VXLAN)
			return true;
	return false;
}

/* The kernel's vxlan socket takes its port on all addresses of the node. */
static void check_vxlan(const struct conf *c, struct conf_report *r)
{
	if (!uses_vxlan(c) || conf_is_bad(r, "cluster", "vxlan_port"))
		return;
	if (c->vxlan_port == c->port || c->vxlan_port == c->port + 1)
		conf_complain(r, "cluster", "vxlan_port", "%u is a port of clusterd itself (port = "
			      "%u, and the next one); use another one, 8472 say", c->vxlan_port,
			      c->port);
	if (c->vxlan_port == COROSYNC_PORT || c->vxlan_port == COROSYNC_PORT - 1)
		conf_complain(r, "cluster", "vxlan_port", "%u is corosync's own port; use another "
			      "one, 8472 say", c->vxlan_port);
	for (unsigned int i = 0; i < c->n_services; i++) {
		const struct conf_service *s = &c->service[i];

		for (unsigned int k = 0; k < s->n_ports; k++)
			if (s->port[k].proto == IPPROTO_UDP && s->port[k].lo <= c->vxlan_port &&
			    c->vxlan_port <= s->port[k].hi)
				conf_complain(r, "cluster", "vxlan_port", "%u is a UDP port of "
					      "service %s; give the tunnels another one, the same "
					      "on all nodes", c->vxlan_port, s->name);
	}
}

static bool ports_overlap(const struct conf_port *a, const struct conf_port *b)
{
	return a->proto == b->proto && a->lo <= b->hi && b->lo <= a->hi;
}

static const char *port_str(const struct conf_port *p, char buf[32])
{
	int len = snprintf(buf, 32, "%s/%u", p->proto == IPPROTO_UDP ? "udp" : "tcp", p->lo);

	if (p->hi != p->lo)
		snprintf(buf + len, 32 - (size_t)len, "-%u", p->hi);
	return buf;
}

static void check_service(const struct conf *c, const struct conf_service *s,
			  struct conf_report *r)
{
	char section[SECTION_SIZE], a[ADDR_STR], p[32], q[32];

	conf_section(section, KIND_SERVICE, s->name);
	if (s->mac != MAC_MULTICAST && s->dispatch != DISPATCH_FLOOD &&
	    !conf_is_bad(r, section, "dispatch"))
		conf_complain(r, section, "mac", "%s means something only with dispatch = flood, and "
			      "this service has %s; take one of the two lines out",
			      conf_mac_str(s->mac), conf_dispatch_str(s->dispatch));
	if (s->weights_interval_ms && s->weights_interval_ms < 1000)
		conf_complain(r, section, "weights_interval", "%u ms is too often for the group; use "
			      "1s or more, or 0s for what the policy wants", s->weights_interval_ms);
	check_peer_check(s, section, r);
	for (unsigned int i = 0; i < s->n_vips; i++) {
		for (unsigned int j = 0; j < c->n_nodes; j++)
			if (!addr_cmp(&s->vip[i], &c->node[j].addr))
				conf_complain(r, section, "vip", "%s is the address of node %s; "
					      "use one that no machine has",
					      addr_str(&s->vip[i], a), c->node[j].name);
		for (unsigned int j = 0; j < i; j++)
			if (!addr_cmp(&s->vip[i], &s->vip[j]))
				conf_complain(r, section, "vip", "%s is there twice; take one out",
					      addr_str(&s->vip[i], a));
	}
	for (unsigned int i = 0; i < s->n_ports; i++)
		for (unsigned int j = 0; j < i; j++)
			if (ports_overlap(&s->port[i], &s->port[j]))
				conf_complain(r, section, "port", "%s and %s overlap; take one out",
					      port_str(&s->port[j], p), port_str(&s->port[i], q));
}

/* 's' is the later one: the complaints are about it. */
static void check_pair(const struct conf_service *before, const struct conf_service *s,
		       struct conf_report *r)
{
	char section[SECTION_SIZE], earlier[SECTION_SIZE], a[ADDR_STR], p[32];
	const struct addr *shared = NULL;

	conf_section(section, KIND_SERVICE, s->name);
	conf_section(earlier, KIND_SERVICE, before->name);
	for (unsigned int i = 0; i < s->n_vips && !shared; i++)
		if (has_addr(before, &s->vip[i]))
			shared = &s->vip[i];
	if (!shared)
		return;
	addr_str(shared, a);
	for (unsigned int i = 0; i < s->n_ports; i++)
		for (unsigned int j = 0; j < before->n_ports; j++)
			if (ports_overlap(&s->port[i], &before->port[j]))
				conf_complain(r, section, "port", "service %s has %s at %s "
					      "already; give each service its own ports or VIPs",
					      before->name, port_str(&before->port[j], p), a);
	if (strcmp(s->interface, before->interface) && !conf_is_bad(r, section, "interface") &&
	    !conf_is_bad(r, earlier, "interface"))
		conf_complain(r, section, "interface", "service %s has %s too, but another "
			      "interface; give both the same", before->name, a);
	/* An address is answered for in one way. */
	if (s->dispatch != before->dispatch && !conf_is_bad(r, section, "dispatch") &&
	    !conf_is_bad(r, earlier, "dispatch"))
		conf_complain(r, section, "dispatch", "service %s has %s too, with dispatch = %s; "
			      "give both the same, or each its own VIP", before->name, a,
			      conf_dispatch_str(before->dispatch));
	else if (s->mac != before->mac && !conf_is_bad(r, section, "mac") &&
		 !conf_is_bad(r, earlier, "mac"))
		conf_complain(r, section, "mac", "service %s has %s too, with mac = %s; give both "
			      "the same, or each its own VIP", before->name, a,
			      conf_mac_str(before->mac));
}

void conf_check(const struct conf *c, struct conf_report *r)
{
	check_nodes(c, r);
	check_weights(c, r);
	check_tiebreak(c, r);
	check_cluster(c, r);
	check_vxlan(c, r);
	check_sorry(c, r);
	check_checks(c, r);
	for (unsigned int i = 0; i < c->n_services; i++) {
		check_service(c, &c->service[i], r);
		for (unsigned int j = 0; j < i; j++)
			check_pair(&c->service[j], &c->service[i], r);
	}
}

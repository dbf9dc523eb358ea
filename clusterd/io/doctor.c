// SPDX-License-Identifier: GPL-2.0-or-later
/* Facts against configuration.  Pure: tests make up the facts. */
#include "io/doctor.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IP4_HEADER    20
#define IP6_HEADER    40
#define VXLAN_HEADERS 30	/* UDP 8, VXLAN 8, inner Ethernet 14 */

const char *doctor_level_str(enum doctor_level l)
{
	switch (l) {
	case DOCTOR_GOOD: return "good";
	case DOCTOR_HINT: return "hint";
	case DOCTOR_PROBLEM: return "problem";
	}
	return "?";
}

void doctor_add(struct doctor *d, enum doctor_level level, const char *topic, const char *why,
		const char *change, const char *fmt, ...)
{
	struct doctor_finding *f;
	va_list ap;

	if (d->n == d->room) {
		unsigned int room = d->room ? 2 * d->room : 16;

		f = realloc(d->finding, room * sizeof(*f));
		if (!f) {
			d->failed = true;
			return;
		}
		d->finding = f;
		d->room = room;
	}
	f = &d->finding[d->n++];
	memset(f, 0, sizeof(*f));
	f->level = level;
	snprintf(f->topic, sizeof(f->topic), "%s", topic);
	snprintf(f->why, sizeof(f->why), "%s", why ? why : "");
	snprintf(f->change, sizeof(f->change), "%s", change ? change : "");
	va_start(ap, fmt);
	vsnprintf(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
}

unsigned int doctor_count(const struct doctor *d, enum doctor_level level)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < d->n; i++)
		n += d->finding[i].level == level;
	return n;
}

void doctor_free(struct doctor *d)
{
	free(d->finding);
	memset(d, 0, sizeof(*d));
}

bool doctor_hands_on(const struct conf_service *s)
{
	return s->dispatch != DISPATCH_FLOOD || s->sched != SCHED_HASH;
}

bool doctor_has_family(const struct conf_service *s, uint8_t family)
{
	for (unsigned int i = 0; i < s->n_vips; i++)
		if (s->vip[i].family == family)
			return true;
	return false;
}

/* ---- kernel ---- */

static uint32_t needs(const struct conf *c, const struct conf_service *s)
{
	bool v4 = doctor_has_family(s, AF_INET), v6 = doctor_has_family(s, AF_INET6);
	uint32_t n = 1u << FEATURE_FWD;

	if (doctor_hands_on(s) && v4)
		n |= 1u << FEATURE_DUP4;
	if (doctor_hands_on(s) && v6)
		n |= 1u << FEATURE_DUP6;
	if (s->sched == SCHED_PROBABILITY)
		n |= 1u << FEATURE_NUMGEN;
	if (s->sched != SCHED_HASH)
		n |= 1u << FEATURE_QUEUE | 1u << FEATURE_XTQUEUE;
	if (s->redirect == REDIRECT_VXLAN)
		n |= 1u << FEATURE_VXLAN;
	if (s->redirect == REDIRECT_IPIP && c->node[0].addr.family == AF_INET6)
		n |= 1u << FEATURE_IP6TNL;
	else if (s->redirect == REDIRECT_IPIP)
		n |= (v4 ? 1u << FEATURE_IPIP : 0) | (v6 ? 1u << FEATURE_SIT : 0);
	return n;
}

uint32_t doctor_needs(const struct conf *c)
{
	uint32_t n = c->accelerate == ACCELERATE_AUTO ? 1u << FEATURE_TCX : 0;

	for (unsigned int i = 0; i < c->n_services; i++)
		n |= needs(c, &c->service[i]);
	return n;
}

static const struct { const char *text, *module; } features[FEATURES_N] = {
#define X(name, text, module) [FEATURE_##name] = { text, module },
	DOCTOR_FEATURES(X)
#undef X
};

/* The first service that needs it; NULL: none alone. */
static const char *who_needs(const struct conf *c, unsigned int feature)
{
	for (unsigned int i = 0; i < c->n_services; i++)
		if (needs(c, &c->service[i]) & 1u << feature)
			return c->service[i].name;
	return NULL;
}

static void feature_missing(struct doctor *d, const struct conf *c, unsigned int f)
{
	const char *service = who_needs(c, f);
	char why[160], change[160];

	if (f == FEATURE_TCX) {
		doctor_add(d, DOCTOR_HINT, "kernel", "all packets take the nftables rules, at some "
			   "150 ns more each; nothing else is lost", "use Linux 6.6 or later, or "
			   "set accelerate = off to say that this is known", "no %s",
			   features[f].text);
		return;
	}
	snprintf(why, sizeof(why), "service %s needs it to hand packets on", service ? service :
		 "?");
	snprintf(change, sizeof(change), "load the module (modprobe %s), or use a kernel that has "
		 "it", features[f].module);
	if (f == FEATURE_IPIP || f == FEATURE_SIT || f == FEATURE_IP6TNL)
		snprintf(change, sizeof(change), "load the module (modprobe %s), or set redirect = "
			 "vxlan or direct", features[f].module);
	doctor_add(d, DOCTOR_PROBLEM, "kernel", why, change, "this kernel has no %s",
		   features[f].text);
}

static void judge_features(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	uint32_t wanted = doctor_needs(c), queues = 1u << FEATURE_QUEUE | 1u << FEATURE_XTQUEUE;
	char have[256] = "";
	size_t len = 0;

	/* One of the two will do. */
	if (wanted & queues) {
		if (f->feature[FEATURE_QUEUE] == THERE)
			wanted &= ~(1u << FEATURE_XTQUEUE);
		else if (f->feature[FEATURE_XTQUEUE] == THERE)
			wanted &= ~(1u << FEATURE_QUEUE);
		else
			wanted &= ~(1u << FEATURE_XTQUEUE);
	}
	for (unsigned int i = 0; i < FEATURES_N; i++) {
		if (!(wanted & 1u << i))
			continue;
		if (f->feature[i] == MISSING)
			feature_missing(d, c, i);
		else if (f->feature[i] == THERE && len < sizeof(have))
			len += (size_t)snprintf(have + len, sizeof(have) - len, "%s%s", len ? ", " : "",
						features[i].text);
	}
	if (len)
		doctor_add(d, DOCTOR_GOOD, "kernel", NULL, NULL, "has %s", have);
}

static void judge_kernel(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	if (!f->root) {
		doctor_add(d, DOCTOR_HINT, "kernel", "what the kernel can do is tried in a network "
			   "namespace, which only root may make", "run clusterctl doctor as root",
			   "rules, tunnels and queues were not tried");
	} else if (f->rules_err) {
		doctor_add(d, DOCTOR_PROBLEM, "kernel", "clusterd will not start",
			   "load the module that is named, or use a kernel that has it; "
			   "clusterctl check tries it again", "the rules cannot be installed: %s",
			   f->rules_why);
	} else {
		doctor_add(d, DOCTOR_GOOD, "kernel", NULL, NULL, "takes the nftables rules");
	}
	if (f->root)
		judge_features(d, c, f);
	if (!strcmp(f->lockdown, "confidentiality") && c->accelerate == ACCELERATE_AUTO)
		doctor_add(d, DOCTOR_HINT, "kernel", "BPF programs may be refused then; the "
			   "nftables rules do the work at a higher cost per packet",
			   "boot with lockdown=integrity, or set accelerate = off",
			   "kernel lockdown is in confidentiality mode");
}

/* ---- conntrack ---- */

static void judge_conntrack(struct doctor *d, const struct doctor_facts *f)
{
	if (f->daemon == 1 && f->tcp_loose > 0)
		doctor_add(d, DOCTOR_PROBLEM, "conntrack", "conntrack takes any packet in the "
			   "middle of a connection for the start of one, so this node answers for "
			   "connections that are another's", "find out who sets it (sysctl.d?) and "
			   "remove that; then restart clusterd, which sets it to 0",
			   "nf_conntrack_tcp_loose is %d while clusterd runs", f->tcp_loose);
	if (f->be_liberal > 0)
		doctor_add(d, DOCTOR_HINT, "conntrack", "packets outside the window of a "
			   "connection count as established: a forged one may reach the stack, "
			   "which drops it", "sysctl -w "
			   "net.netfilter.nf_conntrack_tcp_be_liberal=0, unless something else "
			   "needs it", "nf_conntrack_tcp_be_liberal is %d", f->be_liberal);
	if (f->ct_max > 0 && f->ct_count >= 0 && f->ct_count > f->ct_max / 10 * 8)
		doctor_add(d, DOCTOR_PROBLEM, "conntrack", "when it is full, new connections are "
			   "dropped, and connections that are not in it do not survive a move",
			   "raise net.netfilter.nf_conntrack_max (some 300 bytes per connection)",
			   "the table holds %" PRId64 " of at most %" PRId64 " connections",
			   f->ct_count, f->ct_max);
	else if (f->ct_max > 0)
		doctor_add(d, DOCTOR_GOOD, "conntrack", NULL, NULL, "holds %" PRId64 " of at most %"
			   PRId64 " connections", f->ct_count < 0 ? 0 : f->ct_count, f->ct_max);
}

/* ---- interfaces ---- */

static int max(int a, int b)
{
	return a > b ? a : b;
}

static void judge_arp(struct doctor *d, const struct conf_service *s, const struct doctor_if *i,
		      const struct doctor_facts *f)
{
	int ignore = max(f->arp_ignore_all, i->arp_ignore);
	char change[160];

	if (ignore < 1 || s->dispatch == DISPATCH_ROUTE || !doctor_has_family(s, AF_INET))
		return;
	snprintf(change, sizeof(change), "sysctl -w net.ipv4.conf.all.arp_ignore=0 "
		 "net.ipv4.conf.%s.arp_ignore=0: clusterd itself keeps quiet who must be", i->name);
	doctor_add(d, DOCTOR_PROBLEM, "arp", "the VIP is an address of lo, and with this setting "
		   "no node answers ARP for it", change, "arp_ignore of %s is %d",
		   i->name, ignore);
}

static void judge_rp_filter(struct doctor *d, const struct conf_service *s, const struct doctor_if *i,
			    const struct doctor_facts *f)
{
	char change[160];

	/* Tunnel devices get 2 from clusterd, and the larger of 'all' and its own counts. */
	if (max(f->rp_filter_all, i->rp_filter) != 1 || !doctor_has_family(s, AF_INET))
		return;
	snprintf(change, sizeof(change), "sysctl -w net.ipv4.conf.%s.rp_filter=2 (loose)", i->name);
	doctor_add(d, DOCTOR_HINT, "rp_filter", s->dispatch == DISPATCH_ROUTE ? "a router may send "
		   "packets in here whose answers leave by another interface; the kernel drops "
		   "these" : "packets of clients that this node does not reach through this "
		   "interface are dropped; right if the default route is there", change,
		   "rp_filter of %s is strict", i->name);
}

/* What drivers tell of the switch behind the card. */
static const struct { const char *driver, *where, *change; bool cloud; } nics[] = {
	{ "vmxnet3", "a VMware switch", "allow promiscuous mode and forged transmits on the port group, or "
	  "set dispatch = announce", false },
	{ "hv_netvsc", "a Hyper-V switch", "enable MAC address spoofing for the virtual machine, or set "
	  "dispatch = announce", false },
	{ "ena", "Amazon's network", "set dispatch = route with VPC routes, and redirect = vxlan", true },
	{ "gve", "Google's network", "set dispatch = route with VPC routes, and redirect = vxlan", true },
	{ "mana", "Azure's network", "set dispatch = route with user-defined routes, and redirect = vxlan",
	  true },
};

static void judge_nic(struct doctor *d, const struct conf_service *s, const struct doctor_if *i)
{
	char what[32];

	if (s->dispatch == DISPATCH_ROUTE)
		return;
	snprintf(what, sizeof(what), "dispatch = %s", conf_dispatch_str(s->dispatch));
	for (size_t k = 0; k < sizeof(nics) / sizeof(*nics); k++) {
		if (strcmp(i->driver, nics[k].driver) ||
		    (!nics[k].cloud && s->dispatch != DISPATCH_FLOOD))
			continue;
		doctor_add(d, nics[k].cloud ? DOCTOR_PROBLEM : DOCTOR_HINT, "switch", nics[k].cloud
			   ? "it delivers by IP address, for addresses that it knows, and carries "
			   "neither floods nor an ARP answer for a VIP" : "it delivers frames for "
			   "a MAC address only to the machine that it belongs to, unless told "
			   "otherwise", nics[k].change, "%s is on %s (driver %s), with %s",
			   i->name, nics[k].where, i->driver, what);
	}
	if (s->dispatch == DISPATCH_FLOOD && i->snooping == 1 && s->mac == MAC_MULTICAST)
		doctor_add(d, DOCTOR_HINT, "switch", "once a querier is on the network, the bridge "
			   "passes multicast only to ports that have joined", "set mac = igmp",
			   "%s is a bridge with multicast_snooping", i->name);
	if (!strcmp(i->driver, "ipvlan"))
		doctor_add(d, s->redirect == REDIRECT_DIRECT ? DOCTOR_PROBLEM : DOCTOR_HINT,
			   "switch", "all ipvlan interfaces of one parent have one MAC address, so "
			   "peers there cannot be told apart", "use macvlan or a bridge, or a "
			   "tunnel as redirect", "%s is an ipvlan interface", i->name);
}

static unsigned int overhead(const struct conf *c, enum conf_redirect r)
{
	unsigned int outer = c->node[0].addr.family == AF_INET6 ? IP6_HEADER : IP4_HEADER;

	switch (r) {
	case REDIRECT_DIRECT:
		return 0;
	case REDIRECT_IPIP:
		return outer;
	case REDIRECT_VXLAN:
		return outer + VXLAN_HEADERS;
	}
	return 0;
}

static void judge_mtu(struct doctor *d, const struct conf_service *s, const struct doctor_if *i)
{
	if (i->mtu < 1280)
		doctor_add(d, doctor_has_family(s, AF_INET6) ? DOCTOR_PROBLEM : DOCTOR_HINT, "mtu",
			   "IPv6 needs 1280, and many networks drop the messages that shorter "
			   "paths depend on", "raise the MTU of the interface", "MTU of %s is %u",
			   i->name, i->mtu);
}

/* Tunnels go between the nodes' own addresses, whatever interface the service has. */
static void judge_tunnels(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	enum conf_redirect worst = REDIRECT_DIRECT;
	char change[192];
	unsigned int more;

	for (unsigned int i = 0; i < c->n_services; i++)
		if (doctor_hands_on(&c->service[i]) && overhead(c, c->service[i].redirect) > overhead(c, worst))
			worst = c->service[i].redirect;
	more = overhead(c, worst);
	if (!more || !f->own_mtu || f->own_mtu >= 1500 + more)
		return;
	snprintf(change, sizeof(change), "raise the MTU between the nodes to %u or more, or let it "
		 "be", 1500 + more);
	doctor_add(d, DOCTOR_HINT, "mtu", "full-size packets that are handed on travel as two "
		   "fragments; clusterd lowers the segment size of TCP so that few are that large",
		   change, "MTU between the nodes is %u, and redirect = %s takes %u bytes of it",
		   f->own_mtu, conf_redirect_str(worst), more);
}

static void judge_interface(struct doctor *d, const struct conf_service *s, const struct doctor_if *i,
			    const struct doctor_facts *f)
{
	unsigned int before = d->n;
	char change[128];

	if (!i->exists) {
		doctor_add(d, DOCTOR_PROBLEM, "interface", "clusterd will not start",
			   "correct 'interface' of the service; the same name is used on every "
			   "node", "there is no interface '%s'", i->name);
		return;
	}
	if (!i->up)
		doctor_add(d, DOCTOR_PROBLEM, "interface", "no packet for the VIP comes in",
			   "bring it up, and see that its cable or peer is there",
			   "%s is down", i->name);
	if (i->master[0]) {
		snprintf(change, sizeof(change), "set interface = %s", i->master);
		doctor_add(d, DOCTOR_PROBLEM, "interface", "packets go up through the bridge or "
			   "bond, not through its port", change, "%s is a port of %s",
			   i->name, i->master);
	}
	if (i->disable_ipv6 == 1 && doctor_has_family(s, AF_INET6)) {
		snprintf(change, sizeof(change), "sysctl -w net.ipv6.conf.%s.disable_ipv6=0",
			 i->name);
		doctor_add(d, DOCTOR_PROBLEM, "interface", "the service has an IPv6 VIP", change,
			   "IPv6 is off on %s", i->name);
	}
	if (i->lro == 1) {
		snprintf(change, sizeof(change), "ethtool -K %s lro off", i->name);
		doctor_add(d, doctor_hands_on(s) ? DOCTOR_PROBLEM : DOCTOR_HINT, "nic",
			   "packets that the card has merged by LRO cannot be handed on to a peer",
			   change, "large receive offload of %s is on", i->name);
	}
	judge_arp(d, s, i, f);
	judge_rp_filter(d, s, i, f);
	judge_nic(d, s, i);
	judge_mtu(d, s, i);
	if (d->n == before)
		doctor_add(d, DOCTOR_GOOD, "interface", NULL, NULL, "%s is fit", i->name);
}

/* Appends 'f' as a finding about 'service', unless an earlier service has the same: then that gets both. */
static void merge(struct doctor *d, unsigned int first, const struct doctor_finding *f, const char *service)
{
	struct doctor_finding *same = NULL;
	size_t len;

	for (unsigned int i = first; i < d->n && !same; i++)
		if (!strcmp(d->finding[i].what, f->what) && !strcmp(d->finding[i].why, f->why) &&
		    !strcmp(d->finding[i].change, f->change))
			same = &d->finding[i];
	if (!same) {
		doctor_add(d, f->level, f->topic, f->why, f->change, "%s", f->what);
		if (d->failed)
			return;
		same = &d->finding[d->n - 1];
	}
	if (f->level > same->level)
		same->level = f->level;
	len = strlen(same->services);
	snprintf(same->services + len, sizeof(same->services) - len, "%s%s", len ? ", " : "", service);
}

static void judge_interfaces(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	unsigned int first = d->n;

	for (unsigned int i = 0; i < c->n_services; i++) {
		const struct doctor_if *n = &f->iface[f->service_if[i]];
		struct doctor one = { .n = 0 };

		if (!n->name[0])	/* it is the one of an address that is not here */
			continue;
		judge_interface(&one, &c->service[i], n, f);
		for (unsigned int k = 0; k < one.n; k++)
			merge(d, first, &one.finding[k], c->service[i].name);
		d->failed |= one.failed;
		doctor_free(&one);
	}
}

/* ---- everything else ---- */

static void judge_corosync(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	char change[] = "clusterctl corosync-conf > /etc/corosync/corosync.conf on every node, then restart "
			"corosync on all";

	if (!f->corosync)
		doctor_add(d, DOCTOR_PROBLEM, "corosync", "without the group this node takes no "
			   "traffic", "systemctl enable --now corosync", "corosync does not run "
			   "here");
	if (f->token_ms == UNKNOWN)
		doctor_add(d, DOCTOR_PROBLEM, "corosync", "corosync does not start without it",
			   change, "/etc/corosync/corosync.conf cannot be read");
	else if ((uint32_t)f->token_ms != c->token_ms)
		doctor_add(d, DOCTOR_HINT, "corosync", "planned moves wait for the group, which "
			   "finds a lost node by its own token; takeover does not wait for it",
			   change, "token is %s%.0d%s in corosync.conf, and clusterd.ini says %u "
			   "ms", f->token_ms ? "" : "not set", f->token_ms, f->token_ms ? " ms" :
			   "", c->token_ms);
	else if (f->corosync)
		doctor_add(d, DOCTOR_GOOD, "corosync", NULL, NULL, "runs, token as configured");
}

static void judge_machine(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	if (f->self == NOBODY)
		doctor_add(d, DOCTOR_PROBLEM, "node", "clusterd finds out by it which node it is",
			   "correct [cluster] nodes, or configure the address", "%s",
			   f->self_why ? f->self_why : "this machine is no node");
	if (f->key_err < 0)
		doctor_add(d, DOCTOR_PROBLEM, "key", "heartbeats are signed with it",
			   "corosync-keygen on one node, and the file copied to all", "%s",
			   f->key_why);
	else if (f->key_err)
		doctor_add(d, DOCTOR_HINT, "key", "whoever has the key can speak for any node",
			   "chmod 0400, owner root", "%s", f->key_why);
	else
		doctor_add(d, DOCTOR_GOOD, "key", NULL, NULL, "%s is good", c->key_file);
	if (f->clock_synced == 0)
		doctor_add(d, DOCTOR_HINT, "clock", "clusterd measures time by itself, but the "
			   "times in the logs of the nodes do not match", "run an NTP client "
			   "(chrony, systemd-timesyncd)", "the clock is not synchronised");
}

void doctor_judge(struct doctor *d, const struct conf *c, const struct doctor_facts *f)
{
	judge_machine(d, c, f);
	judge_kernel(d, c, f);
	judge_conntrack(d, f);
	judge_interfaces(d, c, f);
	judge_tunnels(d, c, f);
	judge_corosync(d, c, f);
}

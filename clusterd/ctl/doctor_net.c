// SPDX-License-Identifier: GPL-2.0-or-later
/* What the daemon's tests between the members mean for the configuration. */
#include "ctl/doctor.h"

#include <stdio.h>
#include <string.h>

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool has(const json_t *array, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
		if (json_string_value(item) && !strcmp(json_string_value(item), name))
			return true;
	return false;
}

/*
 * "n2, n3" of those in 'array' that 'unless' has not (NULL: has none) and 'only' has (NULL: has all);
 * how many there are.
 */
static unsigned int join(char *buf, size_t size, const json_t *array, const json_t *unless, const json_t *only)
{
	const json_t *item;
	unsigned int n = 0;
	size_t i, len = 0;

	*buf = '\0';
	json_array_foreach(array, i, item) {
		const char *name = json_string_value(item);

		if (!name || has(unless, name) || (only && !has(only, name)))
			continue;
		if (len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", n ? ", " : "", name);
		n++;
	}
	return n;
}

static const json_t *broadcast_of(const json_t *flood, const char *interface)
{
	const json_t *t;
	size_t i;

	json_array_foreach(flood, i, t)
		if (json_is_true(json_object_get(t, "broadcast")) && !strcmp(str(t, "interface"), interface))
			return t;
	return NULL;
}

/* What to try next where the shared MAC does not get through. */
static const char *instead(bool group)
{
	return group ? "set mac = igmp (the switch snoops) or mac = unicast (it filters multicast); if neither "
	       "helps, dispatch = announce" :
	       "let the switch flood unknown unicast (port security, UU flood protection), or set dispatch = announce";
}

/* And where it does, but not with a packet for the VIP in the frame: by the address in the packet. */
static const char *instead_by_ip(bool group)
{
	return group ? "set mac = unicast; or turn snooping off there (mcast_snooping 0), or set dispatch = announce" :
	       "let the switch pass what is for the VIP (address checks per port, filters), or set dispatch = announce";
}

static void judge_shared(struct doctor *d, const json_t *flood, const json_t *t)
{
	const char *interface = str(t, "interface"), *mac = str(t, "mac"), *vip = str(t, "vip");
	const json_t *b = broadcast_of(flood, interface), *silent = json_object_get(t, "silent");
	const json_t *framed = json_object_get(t, "framed");
	unsigned int first = 0, bad;
	char names[128];
	bool group;

	(void)sscanf(mac, "%2x", &first);
	group = first & 1;
	bad = framed ? join(names, sizeof(names), silent, NULL, framed) : 0;
	if (bad)
		doctor_add(d, DOCTOR_PROBLEM, "flood", group ? "what is between decides by the IP address, as "
			   "a Linux bridge that snoops multicast does when there is a querier: clients of "
			   "these nodes get no answer, with mac = igmp neither" : "what is between filters "
			   "by the IP address: clients of these nodes get no answer", instead_by_ip(group),
			   "%s: %s heard a frame to %s, but not the packet to %s in another", interface, names,
			   mac, vip);
	/* Who does not even hear broadcasts is another finding. */
	if (join(names, sizeof(names), silent, framed, json_object_get(b, "heard"))) {
		doctor_add(d, DOCTOR_PROBLEM, "flood", "with dispatch = flood every node must get "
			   "every packet for the VIP; clients of these nodes get no answer",
			   instead(group), "%s: %s heard a broadcast, but not the frame to %s",
			   interface, names, mac);
		bad++;
	}
	if (!bad && join(names, sizeof(names), json_object_get(t, "heard"), NULL, NULL))
		doctor_add(d, DOCTOR_GOOD, "flood", NULL, NULL, "%s: a packet to %s reached %s by %s",
			   interface, vip, names, mac);
}

/* Do services on it depend on a common Ethernet segment? */
static bool needs_segment(const struct conf *c)
{
	for (unsigned int i = 0; i < c->n_services; i++)
		if (c->service[i].redirect == REDIRECT_DIRECT || c->service[i].dispatch == DISPATCH_FLOOD)
			return true;
	return false;
}

static void judge_segment(struct doctor *d, const struct conf *c, const json_t *t)
{
	const char *interface = str(t, "interface");
	char names[128];

	if (join(names, sizeof(names), json_object_get(t, "silent"), NULL, NULL))
		doctor_add(d, needs_segment(c) ? DOCTOR_PROBLEM : DOCTOR_HINT, "segment",
			   needs_segment(c) ? "dispatch = flood and redirect = direct need all "
			   "nodes on one Ethernet segment" : "not needed with this configuration; "
			   "moves to redirect = direct would be", "put the nodes' interfaces into "
			   "one VLAN, see that 'interface' is right and no filter drops ethertype "
			   "0x88b5; or set redirect = vxlan with dispatch = route",
			   "%s: %s did not hear a broadcast from here", interface, names);
	else if (join(names, sizeof(names), json_object_get(t, "heard"), NULL, NULL))
		doctor_add(d, DOCTOR_GOOD, "segment", NULL, NULL, "%s: one segment with %s",
			   interface, names);
}

static void judge_flood(struct doctor *d, const struct conf *c, const json_t *flood)
{
	const json_t *t;
	size_t i;

	json_array_foreach(flood, i, t) {
		if (json_is_string(json_object_get(t, "error")))
			doctor_add(d, DOCTOR_PROBLEM, "segment", "the network there could not be "
				   "tried", "see that the interface is up", "%s: a frame to %s "
				   "could not be sent: %s", str(t, "interface"), str(t, "mac"),
				   str(t, "error"));
		else if (json_is_true(json_object_get(t, "broadcast")))
			judge_segment(d, c, t);
		else
			judge_shared(d, flood, t);
	}
}

/*
 * The daemon tries sizes that are common: 1500 and less in small steps, then 2000 to 9000 in large
 * ones.  So a path that takes less than the interface may still be all right between the large steps.
 */
static bool path_is_short(json_int_t mtu, unsigned int own_mtu)
{
	return mtu < (own_mtu && own_mtu < 1500 ? own_mtu : 1500) || (own_mtu >= 9000 && mtu < 9000);
}

static void judge_paths(struct doctor *d, const struct conf *c, unsigned int own_mtu, const json_t *paths)
{
	char good[200] = "", change[160];
	size_t i, len = 0;
	const json_t *p;

	json_array_foreach(paths, i, p) {
		json_int_t mtu = json_integer_value(json_object_get(p, "mtu"));

		if (!json_is_true(json_object_get(p, "answers"))) {
			snprintf(change, sizeof(change), "let UDP ports %u and %u through between "
				 "the nodes, in both directions", c->port, c->port + 1);
			doctor_add(d, DOCTOR_PROBLEM, "path", "nodes ask each other there which "
				   "connections they hold when one takes over from another", change,
				   "%s does not answer at UDP port %u", str(p, "node"), c->port +
				   1);
		} else if (path_is_short(mtu, own_mtu)) {
			doctor_add(d, DOCTOR_HINT, "path", "what the nodes hand to each other must "
				   "be fragmented or cut to this size; where the message about it "
				   "is filtered, it is lost", "give both ends and what is between "
				   "them the same MTU", "to %s packets of up to %lld bytes get "
				   "through, and the interface here sends %u", str(p, "node"),
				   (long long)mtu, own_mtu ? own_mtu : 1500);
		} else if (len < sizeof(good)) {
			len += (size_t)snprintf(good + len, sizeof(good) - len, "%s%s %lld", len ? ", " : "",
						str(p, "node"), (long long)mtu);
		}
	}
	if (len)
		doctor_add(d, DOCTOR_GOOD, "path", NULL, NULL, "packets get through whole, up to: "
			   "%s", good);
}

void doctor_judge_net(struct doctor *d, const struct conf *c, unsigned int own_mtu, const json_t *net)
{
	const json_t *members = json_object_get(net, "members"), *flood = json_object_get(net, "flood");
	const json_t *paths = json_object_get(net, "paths");

	if (c->n_nodes > 1 && json_array_size(members) < 2) {
		doctor_add(d, DOCTOR_HINT, "network", "the network is tried between the members of "
			   "the group", "start clusterd on the other nodes, then run this again",
			   "no other node is there");
		return;
	}
	if (json_is_array(flood))
		judge_flood(d, c, flood);
	else
		doctor_add(d, DOCTOR_HINT, "network", "whether frames reach the other nodes is not "
			   "known", "see the log of clusterd", "this clusterd cannot send test "
			   "frames");
	if (json_is_array(paths))
		judge_paths(d, c, own_mtu, paths);
	if (json_array_size(members) < c->n_nodes)
		doctor_add(d, DOCTOR_HINT, "network", "nodes that are not there were not tried",
			   "start clusterd on them, then run this again", "%zu of %u nodes are in "
			   "the group", json_array_size(members), c->n_nodes);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The one list of all sections and keys.  Reader, checker, printer, reload and the check of
 * clusterd.ini(5) walk it: a new key is a new line here (and one in the man page, or the test
 * fails).
 */
#include "conf/conf_table.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static const struct conf_word quorum_words[] = {
	{ "require", QUORUM_REQUIRE },
	{ "ignore", QUORUM_IGNORE },
	{ 0 },
};
static const struct conf_word failback_words[] = {
	{ "auto", FAILBACK_AUTO },
	{ "manual", FAILBACK_MANUAL },
	{ "never-while-busy", FAILBACK_NEVER_WHILE_BUSY },
	{ 0 },
};
static const struct conf_word accelerate_words[] = {
	{ "auto", ACCELERATE_AUTO },
	{ "off", ACCELERATE_OFF },
	{ 0 },
};
static const struct conf_word dispatch_words[] = {
	{ "flood", DISPATCH_FLOOD },
	{ "announce", DISPATCH_ANNOUNCE },
	{ "route", DISPATCH_ROUTE },
	{ 0 },
};
static const struct conf_word redirect_words[] = {
	{ "direct", REDIRECT_DIRECT },
	{ "ipip", REDIRECT_IPIP },
	{ "vxlan", REDIRECT_VXLAN },
	{ 0 },
};
static const struct conf_word hash_words[] = {
	{ "source", HASH_SOURCE },
	{ "source-port", HASH_SOURCE_PORT },
	{ 0 },
};
static const struct conf_word sched_words[] = {
	{ "hash", SCHED_HASH },
	{ "probability", SCHED_PROBABILITY },
	{ "least-conn", SCHED_LEAST_CONN },
	{ 0 },
};
static const struct conf_word mac_words[] = {
	{ "multicast", MAC_MULTICAST },
	{ "igmp", MAC_IGMP },
	{ "unicast", MAC_UNICAST },
	{ 0 },
};
static const struct conf_word switch_words[] = {
	{ "off", SWITCH_OFF },
	{ "on", SWITCH_ON },
	{ 0 },
};
static const struct conf_word on_fail_words[] = {
	{ "auto", ON_FAIL_AUTO },
	{ "drain", ON_FAIL_DRAIN },
	{ "now", ON_FAIL_NOW },
	{ 0 },
};
/* Of TYPE_SORRY: a URL follows the last one. */
static const struct conf_word sorry_words[] = {
	{ "reset", SORRY_RESET },
	{ "drop", SORRY_DROP },
	{ "redirect", SORRY_REDIRECT },
	{ 0 },
};

#define RESTART false
#define LIVE    true
#define AT(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)
#define NO_WORDS NULL

const struct conf_key conf_table[] = {
	{ KIND_CLUSTER, "name", TYPE_NAME, 0, 0, NULL, RESTART, AT(conf, name), NO_WORDS,
	  "name of the cluster; nodes of another name are refused" },
	{ KIND_CLUSTER, "nodes", TYPE_NODES, 1, NODES_MAX, NULL, RESTART, AT(conf, node), NO_WORDS,
	  "all nodes as name=address, in an order that never changes" },
	{ KIND_CLUSTER, "buckets", TYPE_POWER_OF_TWO, BUCKETS_MIN, BUCKETS_MAX, "4096", LIVE,
	  AT(conf, buckets), NO_WORDS, "number of hash buckets that the clients are spread over" },
	{ KIND_CLUSTER, "quorum", TYPE_WORD, 0, 0, "require", RESTART, AT(conf, quorum),
	  quorum_words, "what a node without a majority of the nodes does" },
	{ KIND_CLUSTER, "failback", TYPE_WORD, 0, 0, "auto", LIVE, AT(conf, failback),
	  failback_words, "whether a node that returns gets its share back by itself" },
	{ KIND_CLUSTER, "failback_delay", TYPE_TIME, 0, 3600000, "5s", LIVE,
	  AT(conf, failback_delay_ms), NO_WORDS, "how long a node must be back before that" },
	{ KIND_CLUSTER, "busy", TYPE_NUMBER, 1, 100, "70", LIVE, AT(conf, busy), NO_WORDS,
	  "load in percent above which failback = never-while-busy waits" },
	{ KIND_CLUSTER, "slow_start", TYPE_TIME, 0, 3600000, "0s", LIVE, AT(conf, slow_start_ms),
	  NO_WORDS, "how long a node that returns takes to get to its whole share" },
	{ KIND_CLUSTER, "drain_timeout", TYPE_TIME, 0, 86400000, "60s", LIVE,
	  AT(conf, drain_timeout_ms), NO_WORDS,
	  "how long connections of a moved bucket may stay at the old owner" },
	{ KIND_CLUSTER, "token", TYPE_TIME, 50, 60000, "1s", RESTART, AT(conf, token_ms), NO_WORDS,
	  "token timeout for corosync.conf" },
	{ KIND_CLUSTER, "lease", TYPE_TIME, 30, 10000, "150ms", RESTART, AT(conf, lease_ms),
	  NO_WORDS, "how long a node's kernel accepts traffic without being told again" },
	{ KIND_CLUSTER, "hang", TYPE_TIME, 30, 60000, "1s", LIVE, AT(conf, hang_ms), NO_WORDS,
	  "how late the daemon may be before its heartbeat stops" },
	{ KIND_CLUSTER, "grace", TYPE_TIME, 0, 60000, "2s", LIVE, AT(conf, grace_ms), NO_WORDS,
	  "how long heirs hold back resets after a daemon crashed" },
	{ KIND_CLUSTER, "tiebreak", TYPE_TIEBREAK, 0, 0, "none", RESTART, AT(conf, tiebreak),
	  NO_WORDS, "which of two nodes goes on alone" },
	{ KIND_CLUSTER, "port", TYPE_NUMBER, 1, 65534, "5407", RESTART, AT(conf, port), NO_WORDS,
	  "UDP port of the heartbeats; the next one is used as well" },
	{ KIND_CLUSTER, "vxlan_port", TYPE_NUMBER, 1, 65535, "4789", RESTART,
	  AT(conf, vxlan_port), NO_WORDS, "UDP port of the tunnels of redirect = vxlan" },
	{ KIND_CLUSTER, "key_file", TYPE_PATH, 0, 0, "/etc/corosync/authkey", RESTART,
	  AT(conf, key_file), NO_WORDS, "file with the key that heartbeats are signed with" },
	{ KIND_CLUSTER, "accelerate", TYPE_WORD, 0, 0, "auto", RESTART, AT(conf, accelerate),
	  accelerate_words, "whether a BPF program decides about most packets before the rules" },
	{ KIND_CLUSTER, "notify", TYPE_EXEC, 0, 0, "", LIVE, AT(conf, notify), NO_WORDS,
	  "program that is run for each event, as exec:PATH" },
	{ KIND_CLUSTER, "sorry_port", TYPE_NUMBER, 1, 65535, "5409", RESTART,
	  AT(conf, sorry_port), NO_WORDS, "TCP port of the responder of sorry = redirect" },

	{ KIND_SERVICE, "vip", TYPE_VIPS, 1, VIPS_MAX, NULL, RESTART, AT(conf_service, vip),
	  NO_WORDS, "virtual addresses of the service" },
	{ KIND_SERVICE, "port", TYPE_PORTS, 1, PORTS_MAX, NULL, RESTART, AT(conf_service, port),
	  NO_WORDS, "ports as tcp/N, udp/N or with a range N-M" },
	{ KIND_SERVICE, "dispatch", TYPE_WORD, 0, 0, "flood", RESTART, AT(conf_service, dispatch),
	  dispatch_words, "how packets reach the nodes" },
	{ KIND_SERVICE, "redirect", TYPE_WORD, 0, 0, "direct", RESTART, AT(conf_service, redirect),
	  redirect_words, "how a node hands a packet to a peer" },
	{ KIND_SERVICE, "hash", TYPE_WORD, 0, 0, "source-port", LIVE, AT(conf_service, hash),
	  hash_words, "what of a client decides its bucket" },
	{ KIND_SERVICE, "scheduler", TYPE_WORD, 0, 0, "hash", RESTART, AT(conf_service, sched),
	  sched_words, "who decides where a new connection goes" },
	{ KIND_SERVICE, "mac", TYPE_WORD, 0, 0, "multicast", RESTART, AT(conf_service, mac),
	  mac_words, "which Ethernet address stands for a flooded VIP" },
	{ KIND_SERVICE, "interface", TYPE_INTERFACE, 0, 0, "", RESTART,
	  AT(conf_service, interface), NO_WORDS, "interface that the clients' packets come in on" },
	{ KIND_SERVICE, "weights", TYPE_ID, 0, 0, "static", RESTART, AT(conf_service, weights),
	  NO_WORDS, "policy that the nodes' shares follow; static: the configured weights only" },
	{ KIND_SERVICE, "weights_interval", TYPE_TIME, 0, 3600000, "0s", RESTART,
	  AT(conf_service, weights_interval_ms), NO_WORDS,
	  "how often the policy is asked; 0s: as it wants itself" },
	{ KIND_SERVICE, "rebalance_step", TYPE_NUMBER, 1, 1000, "10", RESTART,
	  AT(conf_service, rebalance_step), NO_WORDS,
	  "per mille of the buckets that may move each time" },
	{ KIND_SERVICE, "process_memory", TYPE_NUMBER, 1, 16777216, "3500", RESTART,
	  AT(conf_service, process_memory_kb), NO_WORDS,
	  "KiB that one process of the service takes, for the memory policies" },
	{ KIND_SERVICE, "connections_per_minute", TYPE_NUMBER, 1, 10000000, "2000", RESTART,
	  AT(conf_service, connections_per_minute), NO_WORDS,
	  "new connections that the memory policies reckon with" },
	{ KIND_SERVICE, "peer_check", TYPE_WORD, 0, 0, "off", RESTART,
	  AT(conf_service, peer_check), switch_words,
	  "whether a neighbour asks each node's service through the data path" },
	{ KIND_SERVICE, "sorry", TYPE_SORRY, 0, 0, "reset", RESTART, AT(conf_service, sorry),
	  sorry_words, "what clients get while no node is fit for the service" },

	{ KIND_NODE, "weight", TYPE_NUMBER, 0, 1000, "100", LIVE, AT(conf_node, weight), NO_WORDS,
	  "share of the node relative to the others; 0: no new work" },
	{ KIND_NODE, "capacity", TYPE_NUMBER, 1, 10000, "100", RESTART, AT(conf_node, capacity),
	  NO_WORDS, "percent of a plain node's work that the node can do, for its monitors" },

	{ KIND_MONITOR, "type", TYPE_ID, 0, 0, "", LIVE, AT(conf_monitor, type), NO_WORDS,
	  "plugin that looks; without it the one of the section's name" },
	{ KIND_MONITOR, "interval", TYPE_TIME, 100, 3600000, "1s", LIVE,
	  AT(conf_monitor, interval_ms), NO_WORDS, "how often it looks" },
	{ KIND_MONITOR, "weight", TYPE_NUMBER, 0, 100, "100", LIVE, AT(conf_monitor, weight),
	  NO_WORDS, "percent of its value that count as the node's load; 0: only shown" },

	{ KIND_CHECK, "service", TYPE_NAME, 0, 0, NULL, LIVE, AT(conf_check, service), NO_WORDS,
	  "service that it is about" },
	{ KIND_CHECK, "type", TYPE_ID, 0, 0, NULL, LIVE, AT(conf_check, type), NO_WORDS,
	  "plugin that looks" },
	{ KIND_CHECK, "interval", TYPE_TIME, 50, 3600000, "1s", LIVE,
	  AT(conf_check, interval_ms), NO_WORDS, "how often it looks" },
	{ KIND_CHECK, "timeout", TYPE_TIME, 0, 3600000, "0s", LIVE, AT(conf_check, timeout_ms),
	  NO_WORDS, "how long a look may take; 0s: half the interval" },
	{ KIND_CHECK, "rise", TYPE_NUMBER, 1, 1000, "2", LIVE, AT(conf_check, rise), NO_WORDS,
	  "successes in a row until it counts as good again" },
	{ KIND_CHECK, "fall", TYPE_NUMBER, 1, 1000, "3", LIVE, AT(conf_check, fall), NO_WORDS,
	  "failures in a row until it counts as bad" },
	{ KIND_CHECK, "on_fail", TYPE_WORD, 0, 0, "auto", LIVE, AT(conf_check, on_fail),
	  on_fail_words, "how the service's share leaves the node" },
	{ KIND_CHECK, "action", TYPE_ACTION, 0, 0, "", LIVE, AT(conf_check, action), NO_WORDS,
	  "what is tried against a failure: restart:UNIT or exec:PATH" },
	{ KIND_CHECK, "action_tries", TYPE_NUMBER, 1, 100, "3", LIVE,
	  AT(conf_check, action_tries), NO_WORDS, "how often that is tried" },
	{ KIND_CHECK, "action_backoff", TYPE_TIME, 0, 3600000, "5s", LIVE,
	  AT(conf_check, action_backoff_ms), NO_WORDS,
	  "pause after the first try, doubled after each further one" },
};
const unsigned int conf_table_len = sizeof(conf_table) / sizeof(*conf_table);

const char *conf_kind_str(enum conf_kind kind)
{
	switch (kind) {
	case KIND_CLUSTER: return "cluster";
	case KIND_SERVICE: return "service";
	case KIND_NODE: return "node";
	case KIND_MONITOR: return "monitor";
	case KIND_CHECK: return "check";
	}
	assert(!"kind");
	return NULL;
}

const char *conf_type_str(enum conf_type type)
{
	switch (type) {
	case TYPE_NAME: return "name";
	case TYPE_NODES: return "name=address list";
	case TYPE_NUMBER: return "number";
	case TYPE_POWER_OF_TWO: return "power of two";
	case TYPE_TIME: return "time";
	case TYPE_WORD: return "word";
	case TYPE_TIEBREAK: return "address or word";
	case TYPE_VIPS: return "address list";
	case TYPE_PORTS: return "port list";
	case TYPE_INTERFACE: return "interface";
	case TYPE_PATH: return "path";
	case TYPE_ID: return "plugin";
	case TYPE_EXEC: return "exec:PATH";
	case TYPE_ACTION: return "restart:UNIT or exec:PATH";
	case TYPE_SORRY: return "word, and a URL";
	}
	assert(!"type");
	return NULL;
}

const char *conf_section(char buf[SECTION_SIZE], enum conf_kind kind, const char *name)
{
	snprintf(buf, SECTION_SIZE, "%s%s%s", conf_kind_str(kind), *name ? " " : "", name);
	return buf;
}

const struct conf_key *conf_key_find(enum conf_kind kind, const char *key)
{
	for (unsigned int i = 0; i < conf_table_len; i++)
		if (conf_table[i].kind == kind && !strcasecmp(conf_table[i].key, key))
			return &conf_table[i];
	return NULL;
}

/* Levenshtein's distance; words longer than any key of ours are "far". */
static unsigned int distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	unsigned int row[32], diagonal, above;

	if (a_len >= 32 || b_len >= 32)
		return 32;
	for (unsigned int j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned int i = 1; i <= a_len; i++) {
		diagonal = row[0];
		row[0] = i;
		for (unsigned int j = 1; j <= b_len; j++) {
			above = row[j];
			row[j] = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
			if (above + 1 < row[j])
				row[j] = above + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			diagonal = above;
		}
	}
	return row[b_len];
}

const struct conf_key *conf_key_nearest(enum conf_kind kind, const char *key)
{
	const struct conf_key *best = NULL;
	unsigned int best_distance = 1 + (unsigned int)strlen(key) / 3, d;

	if (best_distance > 3)
		best_distance = 3;
	for (unsigned int i = 0; i < conf_table_len; i++) {
		if (conf_table[i].kind != kind)
			continue;
		d = distance(key, conf_table[i].key);
		if (d <= best_distance && (!best || d < best_distance)) {
			best = &conf_table[i];
			best_distance = d;
		}
	}
	return best;
}

void conf_keys(FILE *out)
{
	for (unsigned int i = 0; i < conf_table_len; i++) {
		const struct conf_key *k = &conf_table[i];

		fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", conf_kind_str(k->kind), k->key,
			conf_type_str(k->type), !k->def ? "(required)" : *k->def ? k->def : "-",
			k->live ? "live" : "restart", k->meaning);
	}
}

static const char *word_text(const struct conf_word *words, unsigned int value)
{
	while (words->text && words->value != value)
		words++;
	assert(words->text);
	return words->text;
}

const char *conf_dispatch_str(enum conf_dispatch d) { return word_text(dispatch_words, d); }
const char *conf_redirect_str(enum conf_redirect r) { return word_text(redirect_words, r); }
const char *conf_hash_str(enum conf_hash h) { return word_text(hash_words, h); }
const char *conf_sched_str(enum conf_sched s) { return word_text(sched_words, s); }
const char *conf_mac_str(enum conf_mac m) { return word_text(mac_words, m); }
const char *conf_sorry_str(enum conf_sorry s) { return word_text(sorry_words, s); }
const char *conf_failback_str(enum conf_failback f) { return word_text(failback_words, f); }

bool conf_kind_takes_options(enum conf_kind kind)
{
	return kind == KIND_MONITOR || kind == KIND_CHECK;
}

void conf_layout(const struct conf *c, struct layout *out)
{
	memset(out, 0, sizeof(*out));
	out->buckets = c->buckets;
	for (unsigned int i = 0; i < c->n_services; i++)
		out->hash[i] = (uint8_t)c->service[i].hash;
}

const char *conf_node_name(const struct conf *c, unsigned int id)
{
	return id == NOBODY || id > c->n_nodes ? "" : c->node[id - 1].name;
}

const char *conf_service_name(const struct conf *c, int service)
{
	return service < 0 || (unsigned int)service >= c->n_services ? "" : c->service[service].name;
}

unsigned int conf_node_by_name(const struct conf *c, const char *name)
{
	for (unsigned int i = 0; i < c->n_nodes; i++)
		if (!strcmp(c->node[i].name, name))
			return i + 1;
	return NOBODY;
}

int conf_service_by_name(const struct conf *c, const char *name)
{
	for (unsigned int i = 0; i < c->n_services; i++)
		if (!strcmp(c->service[i].name, name))
			return (int)i;
	return -1;
}

const struct conf_option *conf_option_find(const struct conf_option *opt, unsigned int n,
					   const char *key)
{
	for (unsigned int i = 0; i < n; i++)
		if (!strcmp(opt[i].key, key))
			return &opt[i];
	return NULL;
}

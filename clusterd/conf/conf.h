/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CONF_CONF_H
#define CLUSTERD_CONF_CONF_H

/*
 * The configuration as a plain value.  One table (conf_table.c) lists every section, key, type,
 * range, default, meaning and whether it can change live; the reader, checker, printer, reload
 * classifier and the man page's check all walk that table.
 *
 *   conf_read()   text -> struct conf, and every complaint there is (not only the first)
 *   conf_print()  struct conf -> canonical text; conf_read(conf_print(c)) equals c
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/types.h"
#include "util/addr.h"

#define CONF_PATH    "/etc/clusterd.ini"
#define VIPS_MAX     16		/* per service */
#define PORTS_MAX    32		/* per service, a range counts once */
#define CONF_ERRORS_MAX 64
#define IFNAME_SIZE  16
#define MONITORS_MAX 16
#define CHECKS_MAX   64		/* all services together */
#define CONF_OPTIONS_MAX 16	/* of one monitor or check */
#define CONF_TEXT    256	/* bytes of a path, an action, an option's value */

enum conf_quorum   { QUORUM_REQUIRE, QUORUM_IGNORE };
enum conf_failback { FAILBACK_AUTO, FAILBACK_MANUAL, FAILBACK_NEVER_WHILE_BUSY };
enum conf_switch   { SWITCH_OFF, SWITCH_ON };
enum conf_sorry    { SORRY_RESET, SORRY_DROP, SORRY_REDIRECT };
enum conf_on_fail  { ON_FAIL_AUTO, ON_FAIL_DRAIN, ON_FAIL_NOW };
enum conf_action   { ACTION_NONE, ACTION_RESTART, ACTION_EXEC };
enum conf_accelerate { ACCELERATE_AUTO, ACCELERATE_OFF };
enum conf_tiebreak { TIEBREAK_NONE, TIEBREAK_LOWEST, TIEBREAK_WITNESS };
enum conf_dispatch { DISPATCH_FLOOD, DISPATCH_ANNOUNCE, DISPATCH_ROUTE };
enum conf_redirect { REDIRECT_DIRECT, REDIRECT_IPIP, REDIRECT_VXLAN };
enum conf_hash     { HASH_SOURCE, HASH_SOURCE_PORT };
enum conf_sched    { SCHED_HASH, SCHED_PROBABILITY, SCHED_LEAST_CONN };
enum conf_mac      { MAC_MULTICAST, MAC_IGMP, MAC_UNICAST };	/* flood: the shared MAC */

struct conf_port { uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */ uint16_t lo, hi; };

struct conf_node {
	char name[NAME_SIZE];		/* [A-Za-z0-9._-]+ */
	struct addr addr;
	uint16_t weight;		/* 0..1000, default 100 */
	uint16_t capacity;		/* percent, 1..10000, default 100: scales what monitors call full */
};

/* A key that belongs to a plugin: passed on as it is, in the order of the file. */
struct conf_option { char key[NAME_SIZE], value[CONF_TEXT]; unsigned int line; };

/* [monitor NAME] */
struct conf_monitor {
	char name[NAME_SIZE];
	char type[NAME_SIZE];		/* of the plugin; default: the section's name */
	uint32_t interval_ms;
	uint16_t weight;		/* percent of its value that count: 0..100; 0: only shown */
	unsigned int n_options;
	struct conf_option option[CONF_OPTIONS_MAX];
};

/* [check NAME] */
struct conf_check {
	char name[NAME_SIZE];
	char service[NAME_SIZE];	/* a service's name; conf_check() has looked */
	char type[NAME_SIZE];
	uint32_t interval_ms, timeout_ms;
	uint16_t rise, fall;
	enum conf_on_fail on_fail;
	enum conf_action action;
	char action_arg[CONF_TEXT];	/* ACTION_RESTART: the unit; ACTION_EXEC: the program's path */
	uint16_t action_tries;
	uint32_t action_backoff_ms;
	unsigned int n_options;
	struct conf_option option[CONF_OPTIONS_MAX];
};

struct conf_service {
	char name[NAME_SIZE];
	unsigned int n_vips, n_ports;
	struct addr vip[VIPS_MAX];
	struct conf_port port[PORTS_MAX];
	enum conf_dispatch dispatch;
	enum conf_redirect redirect;
	enum conf_hash hash;
	enum conf_sched sched;
	enum conf_mac mac;
	char interface[IFNAME_SIZE];	/* "" = the interface that holds this node's address */
	char weights[NAME_SIZE];	/* policy plugin, or "static" */
	uint32_t weights_interval_ms;	/* 0: as the policy says */
	uint16_t rebalance_step;	/* per mille of the buckets that may move per interval: 1..1000 */
	uint32_t process_memory_kb, connections_per_minute;	/* for the memory policies */
	enum conf_switch peer_check;
	enum conf_sorry sorry;
	char sorry_url[CONF_TEXT];	/* SORRY_REDIRECT */
};

struct conf {
	char name[NAME_SIZE];		/* [cluster] name */
	unsigned int n_nodes, n_services;
	struct conf_node node[NODES_MAX];	/* node id = index + 1 */
	struct conf_service service[SERVICES_MAX];
	unsigned int n_monitors, n_checks;
	struct conf_monitor monitor[MONITORS_MAX];
	struct conf_check check[CHECKS_MAX];
	uint32_t buckets;
	enum conf_quorum quorum;
	enum conf_failback failback;
	enum conf_tiebreak tiebreak;
	enum conf_accelerate accelerate;
	struct addr witness;		/* TIEBREAK_WITNESS */
	uint32_t failback_delay_ms, drain_timeout_ms, token_ms, lease_ms, hang_ms, grace_ms;
	uint32_t slow_start_ms;		/* 0: a node that returns takes its whole share at once */
	uint16_t busy;			/* percent: FAILBACK_NEVER_WHILE_BUSY waits while a node's load is above */
	char notify[CONF_TEXT];		/* program that is run for each event; "": none */
	uint16_t sorry_port;		/* TCP port of the sorry responder, default 5409 */
	uint16_t port;			/* UDP port of the HELLOs, default 5407; flow questions: + 1 */
	uint16_t vxlan_port;		/* UDP port of redirect = vxlan, default 4789 */
	char key_file[256];		/* cluster key, default /etc/corosync/authkey */
};

struct conf_error {
	unsigned int line;		/* 0: not known */
	char section[64], key[64];
	char reason[256];		/* what is wrong and what to do, one sentence */
};
struct conf_errors {
	unsigned int n;			/* may exceed CONF_ERRORS_MAX: the rest is only counted */
	struct conf_error e[CONF_ERRORS_MAX];
};

/*
 * Reads and checks 'path'.  0: '*c' is complete and valid.  -EINVAL: '*errs' says everything that
 * is wrong; -ENOENT, -EACCES, ...: the file could not be read ('errs' has one entry that says so).
 * '*c' is undefined after an error.  No side effects, no look at this machine.
 */
int conf_read(struct conf *c, const char *path, struct conf_errors *errs);

/* As conf_read(), from text in memory; 'path' only names it in messages. */
int conf_parse(struct conf *c, const char *text, size_t size, const char *path,
	       struct conf_errors *errs);

/* "FILE:LINE: [section] key: reason", one line each. */
void conf_errors_print(const struct conf_errors *errs, const char *path, FILE *out);

/* Canonical text with every key. */
void conf_print(const struct conf *c, FILE *out);

/*
 * The node whose address is local to this machine: its id, or NOBODY with '*why' set to a static
 * text (none is local; more than one is).  Looks at the kernel's addresses (getifaddrs); when
 * 'interface' is not NULL it gets the name of the interface that holds it.
 */
unsigned int conf_local_node(const struct conf *c, char interface[IFNAME_SIZE], const char **why);

/*
 * Digest of all that must be the same on every node (name, nodes, quorum, lease, tiebreak, ports,
 * services; not what a reload can change: that, the layout too, is told through the group).
 */
uint64_t conf_digest(const struct conf *c);

/*
 * Compares a running configuration with a new one; calls 'cb' for each key that differs, 'live'
 * says whether it is applied without a restart.  Returns the number of differences.
 */
unsigned int conf_diff(const struct conf *old, const struct conf *new,
		       void (*cb)(void *arg, const char *section, const char *key,
				  const char *old_text, const char *new_text, bool live),
		       void *arg);

/* How 'c' wants packets to become bucket numbers.  A reload can change it. */
void conf_layout(const struct conf *c, struct layout *out);

/* A corosync.conf made from 'c': the same text on every node. */
void conf_corosync(const struct conf *c, FILE *out);

/*
 * The table, for 'clusterd --keys' (section, key, type, default, meaning, live), which tests hold
 * against clusterd.ini(5).
 */
void conf_keys(FILE *out);

/* "" for NOBODY, for -1, and for whom the configuration does not know. */
const char *conf_node_name(const struct conf *c, unsigned int id);
const char *conf_service_name(const struct conf *c, int service);

/* Node id by name, or NOBODY.  Service index by name, or -1. */
unsigned int conf_node_by_name(const struct conf *c, const char *name);
int conf_service_by_name(const struct conf *c, const char *name);

const char *conf_dispatch_str(enum conf_dispatch d);
const char *conf_redirect_str(enum conf_redirect r);
const char *conf_hash_str(enum conf_hash h);
const char *conf_sched_str(enum conf_sched s);
const char *conf_mac_str(enum conf_mac m);
const char *conf_sorry_str(enum conf_sorry s);
const char *conf_failback_str(enum conf_failback f);

/*
 * One more complaint, about a key of a section ("check web-http"; '*key' NULL: the section), for those
 * who know more than conf/ does.  'line' 0: not known.
 */
void conf_errors_add(struct conf_errors *errs, unsigned int line, const char *section, const char *key,
		     const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif

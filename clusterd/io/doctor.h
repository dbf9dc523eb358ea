/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_DOCTOR_H
#define CLUSTERD_IO_DOCTOR_H

/*
 * What of this machine gets in the way of a configuration.
 *
 *   doctor_look.c    effect  reads /proc/sys, /sys, ethtool, corosync.conf: struct doctor_facts
 *   doctor_kernel.c  effect  tries what the kernel can do, in a network namespace of its own
 *   doctor.c         pure    facts and configuration -> findings
 *
 * Changes nothing.  Works without the daemon and, with less to tell, without root.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

/* X(NAME, what it is, module or configuration option that brings it) */
#define DOCTOR_FEATURES(X) \
	X(FWD,     "nft fwd at netdev ingress", "nft_fwd_netdev") \
	X(DUP4,    "nft dup for IPv4", "nft_dup_ipv4") \
	X(DUP6,    "nft dup for IPv6", "nft_dup_ipv6") \
	X(NUMGEN,  "nft numgen", "nft_numgen") \
	X(QUEUE,   "nft queue", "nft_queue") \
	X(XTQUEUE, "NFQUEUE through nft_compat", "nft_compat and xt_NFQUEUE") \
	X(IPIP,    "ipip tunnels", "ipip") \
	X(SIT,     "sit tunnels", "sit") \
	X(IP6TNL,  "ip6tnl tunnels", "ip6_tunnel") \
	X(VXLAN,   "vxlan tunnels", "vxlan") \
	X(TCX,     "BPF at tcx ingress", "Linux 6.6 with CONFIG_NET_XGRESS")

enum doctor_feature {
#define X(name, text, module) FEATURE_##name,
	DOCTOR_FEATURES(X)
#undef X
	FEATURES_N
};

enum doctor_known { NOT_KNOWN, MISSING, THERE };

#define UNKNOWN (-1)		/* of a number below: cannot be read, or does not exist here */

struct doctor_if {
	char name[IFNAME_SIZE];
	bool exists, up;
	unsigned int mtu;
	char driver[32];		/* "virtio_net", "bridge", ...; "" */
	char master[IFNAME_SIZE];	/* bridge or bond that it is a port of; "" */
	int rp_filter, arp_ignore, disable_ipv6;	/* its own values, without those of 'all' */
	int lro;			/* 1: on */
	int snooping;			/* of a bridge: multicast_snooping */
};

struct doctor_facts {
	bool root;
	int rules_err;			/* of rules_probe() */
	char rules_why[512];
	uint8_t feature[FEATURES_N];	/* enum doctor_known */
	int rp_filter_all, arp_ignore_all, tcp_loose, be_liberal;
	int64_t ct_max, ct_count;
	char lockdown[24];		/* "none", "integrity", "confidentiality"; "" */
	char vendor[64];		/* of the machine, as DMI tells it */
	int corosync;			/* 1: runs in this network namespace, 0: does not */
	int token_ms;			/* in corosync.conf; 0: not set there */
	int clock_synced;
	int key_err;			/* of key_read() */
	char key_why[256];
	unsigned int self;		/* NOBODY: 'self_why' tells */
	const char *self_why;
	int daemon;			/* 1: clusterd runs here */
	/* The service interfaces, and the one of this node's address if it is another. */
	unsigned int n_ifs;
	struct doctor_if iface[SERVICES_MAX + 1];
	unsigned int service_if[SERVICES_MAX];	/* index in 'iface' */
	unsigned int own_mtu;		/* of the interface of this node's address; 0: not known */
};

enum doctor_level { DOCTOR_GOOD, DOCTOR_HINT, DOCTOR_PROBLEM };
const char *doctor_level_str(enum doctor_level l);

struct doctor_finding {
	enum doctor_level level;
	char topic[24];
	char what[256];		/* what was found */
	char why[256];		/* why that matters for this configuration; "" of GOOD */
	char change[256];	/* what to do; "" of GOOD */
	char services[128];	/* that it is about, "web, dns"; "": all, or none in particular */
};

/* Collects findings; begin with all zero. */
struct doctor { struct doctor_finding *finding; unsigned int n, room; bool failed; };

/* 'why' and 'change' may be NULL. */
void doctor_add(struct doctor *d, enum doctor_level level, const char *topic, const char *why,
		const char *change, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
unsigned int doctor_count(const struct doctor *d, enum doctor_level level);
void doctor_free(struct doctor *d);

/* Fills all of '*f' but 'daemon'.  Takes a second or so: it forks and unshares. */
void doctor_look(struct doctor_facts *f, const struct conf *c);

/* Bit per enum doctor_feature: what this configuration needs, or makes use of if it is there. */
uint32_t doctor_needs(const struct conf *c);

/*
 * Tries the features in 'wanted'; the others, and all without root, are NOT_KNOWN.  The kernel may load
 * a module for it, as it will for clusterd; so only what is needed should be tried.
 */
void doctor_features(uint32_t wanted, uint8_t known[FEATURES_N]);

void doctor_judge(struct doctor *d, const struct conf *c, const struct doctor_facts *f);

/* What several judgements ask. */
bool doctor_hands_on(const struct conf_service *s);	/* more than planned moves do */
bool doctor_has_family(const struct conf_service *s, uint8_t family);

#endif

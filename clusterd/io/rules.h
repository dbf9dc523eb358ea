/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_H
#define CLUSTERD_IO_RULES_H

/*
 * The nftables adapter: makes the kernel's tables look like what we want, and says whether it
 * worked.  The caller always hands over the complete wanted state; the adapter works out the
 * difference from what it last installed.
 *
 *   rules_build.c pure    wanted state -> objects (tables, chains, rules, sets, elements)
 *   rules_plan.c  pure    difference of two such lists, text
 *   rules_enc.c   pure    operations -> bytes of one netlink batch (libnftnl)
 *   rules_nl.c    effect  socket, acknowledgements, generation id
 *   rules.c       effect  what is installed, splitting, notifications, repair
 *
 * Tables (all names begin with "clusterd"):
 *   netdev clusterd        live, owned by rules' socket: acceptance by service and bucket
 *   inet   clusterd        live, owned: "established here" check after conntrack
 *   ip     clusterd        live, owned: what goes to userspace, what is handed to a peer after all
 *   ip6    clusterd        live, owned: the same; neighbour discovery for the VIP
 *   arp    clusterd        live, owned: ARP likewise
 *   inet   clusterd_guard, arp clusterd_guard   persistent, not owned: drops VIP traffic that the
 *          live tables have not marked, keeps this node silent in ARP/ND for the VIP
 *   netdev clusterd_lease  owned by the lease's own socket (struct lease_table below)
 *
 * Marks on a packet (skb->mark; the outside cannot set them): 0xc1dS_NNLC, S = service index, NN =
 * node id or 0, L = 1 once the lease chain has seen it, C:
 *   ACCEPT  live ingress: accept (S = NN = 0)
 *   CHECK   live ingress: accept if conntrack knows it as established; else NN != 0: HAND to NN;
 *           NN = RULES_NODE_QUEUE: QUEUE; NN = 0: drop
 *   QUEUE   userspace decides; NN = RULES_NODE_QUEUE: it was CHECK, and conntrack does not know it
 *   HAND    to node NN, behind prerouting ('dup')
 * The lease chain, which comes after the live one at ingress, adds LEASED or drops.
 * The guard lets in only packets for a VIP that are ACCEPT | LEASED, or come over lo.
 *
 * Every function returns 0 or -errno; rules_strerror() then names the object that was refused.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "core/flow.h"
#include "core/types.h"
#include "util/addr.h"

#define RULES_MARK_ACCEPT 0xc1d00001u
#define RULES_MARK_CHECK  0xc1d00002u
#define RULES_MARK_QUEUE  0xc1d00003u
#define RULES_MARK_HAND   0xc1d00004u
#define RULES_MARK_LEASED 0x00000010u
#define RULES_MARK_NODE(id)	((uint32_t)(id) << 8)
#define RULES_MARK_SERVICE(i)	((uint32_t)(i) << 16)
#define RULES_MARK_OURS		0xfff000f0u	/* of a mark before the lease chain: these bits are ... */
#define RULES_MARK_BASE		0xc1d00000u	/* ... these */
#define RULES_NODE_QUEUE 0xffu	/* as a node id in CHECK and QUEUE */

struct rules;

#define RULES_FD_MIN 600	/* below the usual soft limit of 1024; nothing else of ours gets there */

/*
 * How one service's packets get to a peer: by MAC on the service's interface, or through a tunnel
 * device.  Which of the two goes for inner IPv4 and inner IPv6 alike (conf->redirect).
 */
struct rules_peer {
	uint8_t id;
	bool gone;			/* its devices are there, but nothing is handed to it, or taken from it */
	uint8_t mac[6];			/* redirect = direct: on the service's interface; zero: not known */
	struct addr addr4, addr6;	/* next hop for IPv4 and IPv6 packets; family 0: none, nothing is handed */
	char dev4[IFNAME_SIZE], dev6[IFNAME_SIZE];	/* tunnel device for IPv4, IPv6; "": none */
	int ifindex4, ifindex6;			/* of these; 0: none */
	uint16_t mtu;	/* larger ones must not go there by 'fwd', which tells nobody; 0: all may */
};

struct rules_service {
	const struct conf_service *conf;	/* VIPs, ports, dispatch, redirect, scheduler; borrowed */
	char interface[IFNAME_SIZE];		/* resolved */
	uint32_t seed;
	uint32_t buckets;
	enum conf_hash hash;			/* in force (conf->hash may be one that is to come) */
	const struct bucket_action *action;	/* 'buckets' of them; borrowed for the call only */
	unsigned int n_peers;
	const struct rules_peer *peer;		/* borrowed for the call only */
	struct addr own4, own6;			/* this node's own addresses there; family 0: none */
	uint16_t mss4, mss6;			/* clamp what is sent from the VIPs; 0: do not */
	bool freeze;				/* drop every new flow: the hash is about to change */
	/* owner != NULL: flows of before such a change may live at old.owner[old bucket]; borrowed */
	struct { uint32_t buckets; enum conf_hash hash; const uint8_t *owner; } old;
	uint16_t weight[NODES_MAX + 1];		/* scheduler != hash: of each node that may get new flows */
	/*
	 * No node is fit for the service: what its new TCP connections get here, behind the lease and
	 * the guard (so only where they would be accepted).  Datagrams are dropped.  Established
	 * connections are not touched.
	 */
	enum rules_sorry { RULES_SORRY_NONE, RULES_SORRY_DROP, RULES_SORRY_RESET, RULES_SORRY_REDIRECT } sorry;
	uint16_t sorry_port;			/* RULES_SORRY_REDIRECT: to this port of this node */
};

/*
 * The other end of our tunnels to a peer.  vxlan packets are taken only with this outer source address
 * and this VNI (0: no vxlan).  What carries ipip or vxlan from and to this address is not tracked.
 */
struct rules_member { struct addr addr; uint32_t vni; };

struct rules_want {
	unsigned int n_services;
	const struct rules_service *service;
	bool early;	/* packets come with RULES_MARK_ACCEPT if io/early.h has accepted them, only then */
	uint8_t self;				/* node id of this node */
	unsigned int n_held;			/* VIPs of announce services that this node answers for */
	const struct addr *held;		/* borrowed for the call only */
	/*
	 * NFQUEUE numbers queue .. queue + n_queues - 1 for new flows, queue + n_queues for mid-stream
	 * packets that nobody knows; n_queues 0: none
	 */
	uint16_t queue, n_queues;
	bool queue_xt;				/* rules_queue_native() said no */
	uint16_t vxlan_port;			/* 0: no vxlan; else UDP port */
	unsigned int n_members;			/* 0: no tunnels */
	const struct rules_member *member;	/* borrowed for the call only */
};

struct rules_params {
	/*
	 * No transaction may hold the kernel's commit lock for longer than the lease can wait: larger
	 * changes are split; each part is consistent by itself because buckets are independent.
	 */
	unsigned int max_elements;	/* per transaction; 0: 1024 */
};

/*
 * Opens the socket in the current network namespace (close-on-exec).  Its descriptor, like the lease
 * table's, is RULES_FD_MIN or higher: at the death of the process the kernel releases the highest
 * descriptor first, and the tables must be gone before the group can see us leave.
 */
int rules_open(struct rules **out, const struct rules_params *params);

/* Closes the socket; owned tables vanish with it, the guard stays.  NULL is fine. */
void rules_close(struct rules *r);

/* Installs the guard for these services (their VIPs), replacing any older guard. */
int rules_guard_install(struct rules *r, const struct rules_want *want);

/* Removes every table whose name begins with "clusterd" that we may remove, guard included. */
int rules_remove_all(struct rules *r);

/*
 * Makes the live tables match 'want'.  A call whose difference is empty costs no transaction.
 *   -EAGAIN   somebody else edited nftables at the same moment (ERESTART) or no answer in time: call
 *             again; what was committed so far stays and is consistent.
 *   others    the kernel's errno for the first object that it refused
 */
int rules_commit(struct rules *r, const struct rules_want *want);

/* Readable when somebody changed nftables. */
int rules_fd(const struct rules *r);

/*
 * Reads notifications.  Returns 0 if nothing of ours was touched by others, 1 if something was (or
 * notifications were lost): then rules_repair() is due.
 */
int rules_dispatch(struct rules *r);

/* Looks what is really there and puts back what is missing or altered. */
int rules_repair(struct rules *r, const struct rules_want *want);

const char *rules_strerror(const struct rules *r);

/*
 * The interfaces that VIP packets arrive at, each once: those of the services, then the tunnel devices
 * of their peers.  At most 'max'; RULES_INTERFACES_MAX is enough.  Returns how many.
 */
#define RULES_INTERFACES_MAX (SERVICES_MAX + 3 * NODES_MAX)
unsigned int rules_interfaces(const struct rules_want *want, char (*name)[IFNAME_SIZE],
			      unsigned int max);

/*
 * Packets per service index: accepted, dropped as foreign, handed on at ingress, handed on because
 * unknown here (second chances).  'unknown' (mid-stream packets that conntrack does not know) is
 * counted for the whole node, the same for every service.
 */
struct rules_counters { uint64_t accepted, foreign, handed, unknown, second; };
int rules_counters(struct rules *r, unsigned int service, struct rules_counters *out);

/*
 * Puts flows into the ingress flow maps of services with a scheduler; one that is there already gets
 * this node.  Of services without a scheduler, or not installed: skipped.  0, -EAGAIN (nothing is lost
 * by calling again), -ENOSPC (a map is full), or the kernel's errno.
 */
int rules_flows_add(struct rules *r, const struct flow *flow, unsigned int n);
/* Calls 'cb' for every entry of a service's flow maps, until it returns false. */
int rules_flows_list(struct rules *r, unsigned int service,
		     bool (*cb)(void *arg, const struct flow *flow, uint32_t expires_ms),
		     void *arg);

/* Transactions since the start or the last reset; 'longest_us' is time inside the kernel. */
struct rules_timing { uint64_t transactions, conflicts; int64_t longest_us; };
void rules_timing(struct rules *r, struct rules_timing *out, bool reset);

/*
 * Tries the whole rule set in a throw-away network namespace (forks and unshares): can this kernel
 * do it?  0, or -errno with 'why' naming the object and the kernel module that is probably missing.
 */
int rules_probe(char *why, size_t size);

/*
 * Has this kernel's nftables "queue" (module nft_queue)?  1, or 0: want->queue_xt is to be true.
 * -errno: not known, -EAGAIN: others changed nftables all the time.
 */
int rules_queue_native(void);

/* ---- the lease: a table and a socket of their own, for the heartbeat thread only ---- */

struct lease_table;

/* Creates 'netdev clusterd_lease' on 'interfaces' with no lease in it.  Own netlink socket. */
int lease_table_open(struct lease_table **out, char (*interfaces)[IFNAME_SIZE], unsigned int n);
/* Closes the socket; the table vanishes.  NULL is fine. */
void lease_table_close(struct lease_table *t);
/* First grant: adds the element with 'ms' to live.  */
int lease_table_start(struct lease_table *t, uint32_t ms);
/*
 * Renews: delete + add in one transaction.  -ENOENT: it has expired in the meantime; it is NOT
 * added again: a lapsed lease is final.  Waits for other transactions, at most until the moment that
 * 'ms' names, which the element never outlives (-ETIMEDOUT: that moment has come).
 */
int lease_table_renew(struct lease_table *t, uint32_t ms);
/* Ends it now.  0 also if there was none. */
int lease_table_end(struct lease_table *t);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_HANDED_LAB_H
#define TESTS_HANDED_LAB_H

/*
 * The place where handed_kernel.c works: one real node, everybody else is made of raw frames.
 *
 *     world:w0 ---------- node:eth0      10.77.0.1, fd77::1; node id 1
 *                         node:cluv_2, cluv_3      vxlan devices to nodes 2 and 3
 *
 * In the world live the client .9 and the nodes 2 and 3, with MACs 02:00:00:00:00:ID.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/rules.h"
#include "rules_lab.h"

#define CLIENT_ID 9u
#define OTHERS    0x77u		/* a MAC that is nobody's */
#define BUCKETS   64u
#define TTL       9

/* One packet; what is zero is left out. */
struct packet {
	int family;
	uint8_t proto;			/* IPPROTO_* */
	uint8_t flags;			/* of TCP */
	uint8_t from;			/* whose MAC it has: CLIENT_ID, 2, 3; OTHERS */
	bool tunnel;			/* out of the tunnel of node 'from' */
	uint16_t sport, dport;		/* 0: 4000, 80 */
	uint32_t seq, ack;
	uint8_t ttl;			/* 0: TTL */
	uint8_t options;		/* IPv4: words of "no operation" */
	uint8_t icmp_type;		/* proto ICMP, ICMPV6 */
	const uint8_t *data;		/* instead of what is behind the IP header; size bytes */
	size_t size;
	size_t payload;			/* zeros behind the header of TCP, UDP, ICMP */
	bool fragment;			/* this is one: */
	uint16_t offset;		/* in bytes */
	bool more;
	uint32_t id;
	struct addr client;		/* family 0: the usual one */
	struct addr vip;		/* family 0: the usual one */
	const uint8_t *pad;		/* behind the IP packet, in the frame */
	size_t pad_size;
};

/* What became of it: differences of counters, and frames that came out. */
struct fate {
	int accepted, foreign, handed, unknown, second;
	int other, fragments, silenced, frozen;	/* of the table */
	unsigned int to;		/* node that a frame for a VIP went to; 0: none */
	bool by_tunnel;
	unsigned int copies;		/* how many such frames */
	int ttl;			/* of the last of them */
	int replies;			/* frames from a VIP to the client */
	uint8_t reply_proto, reply_flags, reply_icmp;	/* of the last of them */
	uint32_t reply_seq, reply_ack;
	int arp, nd;			/* answers that say where a VIP is */
	int udp;			/* datagrams that the node's own socket got, port 53 */
	size_t udp_size;
};

extern struct rules *rules;
extern struct lease_table *lease;
extern struct conf_service conf;
extern struct rules_service service;
extern struct rules_peer peers[2];
extern struct rules_want want;
extern struct bucket_action action[BUCKETS];
extern unsigned int patience;	/* for so many looks nothing may change any more */
extern int listen_fd[2];	/* port 80 of the VIPs: IPv4, IPv6 */

void handed_make(void);
void make_tunnel(unsigned int id);
/* Installs 'want' afresh: rules, guard, lease. */
void install(void);
void close_all(void);
void commit(void);
void all(enum bucket_state state, unsigned int to);

/* Sends without looking; sends one, or several, and looks what became of them. */
void throw(const struct packet *p);
struct fate look(const struct packet *p, unsigned int n);
/* One raw frame (ARP, ND). */
struct fate look_frame(const uint8_t *frame, size_t size);
/* Fills in the checksum of an ICMP or ICMPv6 message between the addresses of 'p'. */
void icmp_sum(const struct packet *p, uint8_t *data, size_t size);
/* What is behind the IP header of 'p', with checksum; returns its size. */
size_t make_l4(const struct packet *p, uint8_t *out);
/* The IP packet; returns its size. */
size_t make_ip(const struct packet *p, uint8_t *out);
const char *text(const struct fate *f);

/* "IPv4" */
const char *name(int family);
/* TCP from node 'from'; ICMP from the client. */
struct packet tcp(int family, uint8_t flags, unsigned int from);
struct packet icmp(int family, uint8_t type);
/* The usual client's bucket. */
uint32_t bucket_of(int family, uint16_t port, bool with_port);
/* A way of its own for a bucket; the others go the other way. */
void one(uint32_t bucket, enum bucket_state state, unsigned int to, enum bucket_state others,
	 unsigned int others_to);

/* A new connection: the socket at the node; and what the client says next. */
int establish(int family, struct packet *next);
/* Nothing more is said about it. */
void end(int fd);

/* handed_odd.c */
void check_fragments(int family);
void check_tiny(int family);
void check_options(void);
void check_by_address(int family);
void check_echo(int family);
void check_errors(int family);
void check_holder(void);

void mac_of(unsigned int id, uint8_t mac[6]);
extern uint8_t node_mac[6];

#endif

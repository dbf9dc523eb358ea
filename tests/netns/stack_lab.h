/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_STACK_LAB_H
#define TESTS_STACK_LAB_H

/*
 * The place where stack_kernel.c works.  The marks that the ingress would set come from a table
 * of the test's own.
 *
 *      hub namespace:        br0
 *                   +---------+---------+
 *                node:eth0  peer:eth0  client:eth0     10.77.0.{1,2,9}, fd77::{1,2,9}
 *                node:eth1 - peer:eth1                 10.79.0.{1,2}, fd79::{1,2}
 *
 * VIPs at the node: .250 (announce, by eth0), .251 (route, by eth1), .252 (flood, unicast MAC).
 * The client sends from port 6000.
 */

#include <net/ethernet.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "io/rules_build.h"

#define WAIT_MS  300
#define PORT     5000		/* UDP, at the node */
#define LEASE_MS 600000
#define QUEUE    40
#define N_QUEUES 2

enum { NODE, PEER, CLIENT, HUB, N_NS };
enum { ANNOUNCE, ROUTE, FLOOD, N_SERVICES };	/* index, and last digit of the VIP less 250 */

extern const int families[2];
extern unsigned int checks, failures;
/* of the node; what the next live_open() installs */
extern struct rules_service service[N_SERVICES];
extern struct rules_member member[2];
extern struct rules_want want;
extern struct lease_table *lease;
extern int udp[2], tcp[2];		/* at the node, all addresses; IPv4, IPv6 */
extern int at_peer[2], at_client;	/* packet sockets: peer's eth0, eth1, client's eth0 */
extern uint8_t node_mac[6];

/* Builds it all, with the rules and a long lease; ends the program if it cannot. */
void lab_make(void);

/* One line per check. */
void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void die(const char *what) __attribute__((noreturn));
/* This process, and what it opens from now on, is in namespace 'which'. */
void enter(int which);
/* A shell command in the current namespace: its exit code. */
int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define MUST(...) do { if (sh(__VA_ARGS__)) die("set-up: " #__VA_ARGS__); } while (0)

const char *ip_str(int family);
/* 10.NET.0.HOST or fdNET::HOST. */
struct addr address(int family, unsigned int net, unsigned int host);
struct addr vip(int family, int s);
const char *addr_text(struct addr a);	/* one of four buffers */
socklen_t sock_addr(struct sockaddr_storage *ss, struct addr a, uint16_t port);

/* The live tables, and the guard: there or gone. */
void live_open(void);
void live_close(void);
void guard_open(void);
void guard_close(void);
/* A new table for the lease, with a long one in it. */
void lease_begin(void);
/* What the ingress would do: packets that match get this mark; no others do. */
void mark(uint32_t value, const char *match, ...) __attribute__((format(printf, 2, 3)));
void mark_vip(uint32_t value, int family, int s);
void no_mark(void);
/* Of a counter of the node, table "inet clusterd" say. */
unsigned long packets(const char *table, const char *name);

struct frame {
	const struct ether_header *eth;
	const uint8_t *net, *data;	/* network header; transport header, if IP */
	int family, proto, ttl, left;	/* of IP: left = bytes of 'data'; family 0: not IP */
	struct addr from, to;
};
/* The first frame that 'match' likes, within 'ms'; it stays valid until the next call. */
bool capture(int fd, int ms, bool (*match)(const struct frame *f), struct frame *f);
/* What was captured or received so far: of one socket, of all. */
void forget(int fd);
void forget_all(void);

/* From the client; 'ttl' 0: the usual 64. */
void send_udp(struct addr to, uint16_t port, const void *data, size_t size, int ttl);
/* A TCP segment without SYN, of a connection that nobody knows, to the VIP's port 80. */
void send_midstream(int family, int s);
bool readable(int fd, int ms);
/* One datagram for the VIP of 's': does the node's socket get it? */
bool served(int family, int s);
/* What is_wanted() looks for: IP for 'want_to', ports as TCP and UDP have them. */
extern int want_proto, want_dport;
extern struct addr want_to;
bool is_wanted(const struct frame *f);
/* Did the peer get, on eth'k', what was sent to the VIP of 's'?  One hop less, in its own frame. */
bool peer_got(int k, int proto, int dport, int family, int s);
/* Of an IP payload with its pseudo-header (RFC 8200 section 8.1); 0xffff: right. */
uint16_t checksum(const struct addr *from, const struct addr *to, int proto, const void *data,
		  size_t size);

#endif

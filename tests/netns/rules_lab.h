/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_RULES_LAB_H
#define TESTS_RULES_LAB_H

/*
 * The place where rules_kernel.c works:
 *
 *      hub namespace:        br0
 *                   +---------+---------+
 *                 n1:eth0   n2:eth0   client:eth0        10.77.0.{1,2,9}, fd77::{1,2,9}
 *                 n1:eth1 ------------- client:eth1      10.78.0.{1,9}: not a public interface
 *
 * Both nodes hold the VIPs and listen on them; the client picks its source port so that it falls
 * into the one bucket that a check is about.  A sniffer at the client sees all answers.
 */

#include "io/early.h"
#include "io/rules.h"

#define VIP4 "10.77.0.250"
#define VIP6 "fd77::250"
#define SEED 0x1badcafeu
#define B    4096u
#define WAIT_MS 300

enum { N1, N2, CLIENT, HUB, N_NS };

struct node {
	struct rules *rules;
	struct early *early;		/* NULL: only the rules */
	struct lease_table *lease;
	struct conf_service conf;
	struct rules_peer peer;
	struct rules_service service;
	struct rules_want want;
	struct bucket_action action[BUCKETS_MAX];
	int listen4, listen6, udp;
};

extern struct node node[2];
extern struct addr vip4, vip6;
extern uint8_t mac4[6], mac6[6];
extern unsigned int checks, failures;
extern bool lab_early;		/* node_open() opens the fast path too; skips the test without it */

/* What the client was sent for the VIPs since the last sniff_reset(). */
struct seen {
	unsigned int rst, icmp, arp_shared, arp_other, nd_shared, nd_other, syn_ack;
};
extern struct seen seen;

/* Builds it all, with the rules and a long lease on both nodes; ends the program if it cannot. */
void lab_make(void);

/* One line per check. */
void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void die(const char *what) __attribute__((noreturn));
int64_t now_us(void);
/* How many times slower than usual this machine is: LAB_SLOW of the environment, or 1. */
int lab_slow(void);
void sleep_ms(unsigned int ms);

/* This process, and what it opens from now on, is in namespace 'which'. */
void enter(int which);
/* A shell command in the current namespace: its exit code. */
int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void must(const char *cmd);

void node_open(int i);
void node_close(int i);
/* As the daemon does it, the fast path before and after; what rules_commit() says. */
int node_commit(int i);
/* Sets one bucket on one node, or on both (then sniffing starts anew). */
void state(int i, uint32_t bucket, enum bucket_state s);
void states(uint32_t bucket, enum bucket_state s1, enum bucket_state s2);
struct rules_counters count(int i);

void sniff(void);
void sniff_reset(void);
/* No reset, no ICMP, no ARP or ND with a MAC other than the shared one. */
bool quiet(void);

/* A connection from 'bucket'; 'at' is the node that accepted it, or -1. */
struct client { int fd, server, at; uint16_t port; };
struct client tcp_connect(int family, uint32_t bucket);
/* Goes without FIN or RST, so that nothing of it can disturb the next check. */
void client_drop(struct client *c);
bool arrives(int from, int to);
/* Data flows both ways. */
bool works(const struct client *c);
/* One empty datagram for the VIP, port 9000, through packet socket 'fd'; for a flooded MAC address. */
void raw_udp(int fd, int ifindex, const struct addr *from, uint16_t port);
/* The node that a datagram from 'bucket' reaches, or -1. */
int udp_send(uint16_t dport, uint32_t bucket);

#endif

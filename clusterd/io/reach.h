/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_REACH_H
#define CLUSTERD_IO_REACH_H

/*
 * The peer check (peer_check = on): does a peer take a new connection for a VIP through the data path, i.e.
 * its rules, its lease, its listening socket?  A TCP handshake from a raw socket: a SYN from our own address
 * to the VIP, in a frame to the peer's own MAC, with a source port whose bucket the peer owns; SYN-ACK
 * is "yes" (and gets a RST), RST is "no", silence is "no".  Our own stack never sees it as a connection:
 * what comes from a VIP, an address of ours, it drops as a martian (IPv6: answers with a RST over lo).
 *
 * Source addresses and ports (RFC 9293 for the segments); nothing blocks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct reach;

enum reach_answer { REACH_YES, REACH_REFUSED, REACH_SILENT };

/* On that interface; packet sockets with a filter, bound while a question is under way.  0 or -errno. */
int reach_open(struct reach **out, const char *interface);
void reach_close(struct reach *r);	/* NULL is fine */
int reach_fd(const struct reach *r);	/* readable: reach_dispatch() */

struct reach_question {
	struct addr from, vip;		/* of one family */
	uint16_t sport, dport;
	uint8_t mac[6];			/* of the peer on that interface */
	unsigned int tag;		/* given back */
};
/* Asks: at once, after 1/3 and 2/3 of timeout_ms.  -EBUSY: REACH_OPEN_MAX are under way; -errno. */
#define REACH_OPEN_MAX 16
int reach_ask(struct reach *r, const struct reach_question *q, int timeout_ms, int64_t now_ms);
typedef void (*reach_cb)(void *arg, unsigned int tag, enum reach_answer a);
/* Reads answers, repeats, gives up; calls 'cb' once per question. */
void reach_dispatch(struct reach *r, int64_t now_ms, reach_cb cb, void *arg);
int64_t reach_deadline(const struct reach *r);	/* INT64_MAX: nothing is under way */

#endif

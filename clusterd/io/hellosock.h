/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_HELLOSOCK_H
#define CLUSTERD_IO_HELLOSOCK_H

/*
 * How HELLOs travel: one UDP socket bound to this node's address, and, for two nodes with a witness,
 * ICMP echoes.  For the heartbeat thread alone; nothing here blocks, logs or allocates after open.
 *
 * The witness is any machine that answers pings.  Two kinds of echo request go to it, both with an
 * encoded HELLO (wire/hello.h) as payload, so that what comes back is known to be ours:
 *
 *   probe        from us, HELLO from us to us: the answer says that we reach the witness
 *   reflection   with the peer's address as IP source, HELLO from us to the peer: the answer goes
 *                to the peer and says that the witness reaches it, and by whom it was asked
 */

#include <stdint.h>

#include "core/hello.h"
#include "util/addr.h"
#include "wire/hello.h"

struct hellosock;

struct hellosock_params {
	uint8_t self, n_nodes;
	struct addr node[NODES_MAX];	/* by id - 1 */
	uint16_t port;
	struct addr witness;		/* family 0: none; needs two nodes of the same family */
	const char *interface;		/* scope of link-local addresses; for the call only */
	uint64_t incarnation;		/* in our own HELLOs: answers to probes of others do not count */
	uint8_t key[HELLO_KEY_SIZE];
};

enum hellosock_kind {
	HELLOSOCK_HELLO,	/* from a peer */
	HELLOSOCK_REFLECTED,	/* from the peer, by way of the witness */
	HELLOSOCK_WITNESS,	/* the witness answered our probe number 'hello.seq' */
};
struct hellosock_item { enum hellosock_kind kind; struct hello hello; };

/* Datagrams that were not used, by reason. */
struct hellosock_counters {
	uint64_t sent, received, send_errors;
	uint64_t garbled;	/* no HELLO, or damaged */
	uint64_t version;	/* another protocol version */
	uint64_t forged;	/* wrong HMAC: forged, or of another cluster */
	uint64_t foreign;	/* from an address that is not the sender's */
};

/*
 * 0 or -errno, with '*why' set to a static text that names the step.  -EAFNOSUPPORT: the witness is
 * not of the nodes' address family.
 */
int hellosock_open(struct hellosock **out, const struct hellosock_params *p, const char **why);
void hellosock_close(struct hellosock *s);

/* fds to poll for reading; the second is -1 without a witness. */
int hellosock_fd(const struct hellosock *s);
int hellosock_witness_fd(const struct hellosock *s);

/*
 * 1: '*item' is the next one; 0: nothing more; -EBADMSG: one datagram was thrown away, there may be
 * more.
 */
int hellosock_recv(struct hellosock *s, struct hellosock_item *item);

/* To node h->to; with 'reflect' by way of the witness as well.  Errors are counted. */
void hellosock_send(struct hellosock *s, const struct hello *h, bool reflect);
/* Probes the witness with that number. */
void hellosock_probe(struct hellosock *s, uint64_t seq);

void hellosock_counters(const struct hellosock *s, struct hellosock_counters *out);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_PEERCHECK_H
#define CLUSTERD_PEERCHECK_H

/*
 * peer_check = on: looks once a second whether the left neighbour in the ring takes new connections of
 * the service through the data path (io/reach), and tells the agent when it does not, PEERCHECK_FALL times
 * in a row.  A neighbour that has lost its buckets that way cannot be tried any more: after a while,
 * doubling each time, the verdict is taken back, and it gets them again for another trial.
 */

#include <stdint.h>

#define PEERCHECK_MS       1000
#define PEERCHECK_FALL     3
#define PEERCHECK_TRIAL_MS 30000	/* first wait before another trial; up to twenty times that */

struct peercheck;
struct turn;

/* 0, -ENOMEM.  Interfaces that cannot be listened on are logged and left out. */
int peercheck_open(struct peercheck **out, struct turn *t);
void peercheck_close(struct peercheck *p);	/* NULL is fine */
int peercheck_fd(const struct peercheck *p);	/* epoll over the interfaces; -1: no service wants it */
void peercheck_dispatch(struct peercheck *p, int64_t now);
void peercheck_tick(struct peercheck *p, int64_t now);
int64_t peercheck_deadline(const struct peercheck *p);

#endif

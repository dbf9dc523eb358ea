/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_EARLY_H
#define CLUSTERD_IO_EARLY_H

/*
 * The fast path: a BPF program at TC ingress (bpf/early.bpf.c), which a packet meets before the nft
 * rules.  The rules stay complete and authoritative; the program only takes from them what costs
 * most, packets for single ports whose bucket is BUCKET_FOREIGN (dropped; in flood only) or BUCKET_MINE
 * (marked RULES_MARK_ACCEPT, which the first ingress rule accepts: rules_want.early).  The lease chain and
 * the guard see the marked packets as before.  What the program does not know it leaves to the rules;
 * so it does with services that are frozen or have a scheduler, and what comes out of a tunnel.
 *
 * It never decides what the installed rules would decide otherwise:
 *   early_hold()      before rules_commit(): forgets the buckets whose action is about to change
 *   early_release()   after it succeeded: knows them again
 *   early_clear()     when it failed, and before a repair: forgets all
 * Each is a walk over plain bytes that the program shares with us; no system call.
 *
 * The program is attached by links (TCX, Linux 6.6), which end with the process: nothing of it can be
 * left behind.
 *
 *   early.c        with libbpf
 *   early_none.c   built without clang or libbpf: early_open() says -EOPNOTSUPP
 */

#include <stddef.h>
#include <stdint.h>

#include "io/rules.h"

struct early;

/*
 * Loads the program for the services of 'want' and attaches it to their interfaces; it decides nothing
 * before the first early_release().  Descriptors are close-on-exec and below RULES_FD_MIN.  -errno with
 * 'why' saying what failed; -EOPNOTSUPP: built without it.
 */
int early_open(struct early **out, const struct rules_want *want, char *why, size_t size);

/* Detaches and frees.  NULL is fine, here and in all that follows. */
void early_close(struct early *e);

void early_hold(struct early *e, const struct rules_want *want);
void early_release(struct early *e, const struct rules_want *want);
void early_clear(struct early *e);

/* Attaches it again to an interface that has gone and come back.  0 or -errno of the last failure. */
int early_refresh(struct early *e);

/* Adds what the program has counted to 'accepted' and 'foreign'.  0 or -errno. */
int early_counters(struct early *e, unsigned int service, struct rules_counters *sum);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_IO_RULES_NL_H
#define CLUSTERD_IO_RULES_NL_H

/* A netlink socket for nf_tables: one batch in, one result out. */

#include <stdint.h>

#include "io/rules_enc.h"

struct nlmsghdr;
struct rules_nl;

int rules_nl_open(struct rules_nl **out);
void rules_nl_close(struct rules_nl *nl);
uint32_t rules_nl_portid(const struct rules_nl *nl);

struct rules_result {
	unsigned int message;	/* of an error: which message was refused, 0: none in particular */
	unsigned int conflicts;	/* how often somebody else was faster */
	int64_t us;		/* time inside the last sendmsg */
};

/*
 * Sends a sealed batch and reads all answers.  0 only if every message was acknowledged and the
 * generation moved: an acknowledgement alone is no commit.
 *
 * Somebody else's commit between the read of the generation and ours makes the kernel refuse the
 * batch; it is sent again at once, up to 'tries' times in all, with 'prepare' (may be NULL) called
 * before each.  If 'prepare' returns nonzero, that is the result.
 *   -ERESTART  still refused after 'tries'
 *   -EAGAIN    answers were lost: what the kernel did is not known
 *   others     the kernel's errno
 */
int rules_nl_commit(struct rules_nl *nl, struct rules_batch *b, unsigned int tries,
		    int (*prepare)(void *arg), void *arg, struct rules_result *res);

/* Sends one GET request (with NLM_F_DUMP or without) and hands each answer to 'cb'. */
int rules_nl_get(struct rules_nl *nl, struct nlmsghdr *request,
		 void (*cb)(const struct nlmsghdr *answer, void *arg), void *arg);

#endif

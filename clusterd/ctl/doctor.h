/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_DOCTOR_H
#define CLUSTERD_CTL_DOCTOR_H

/*
 * 'clusterctl doctor': what this machine has (io/doctor.h) and what the daemon finds out from the
 * network (ctl/netcheck.h), held against the configuration.  Prints findings: what was found, why it
 * matters for this configuration, what to change.
 */

#include <jansson.h>
#include <stdbool.h>

#include "io/doctor.h"

/* The exit status: CTL_DONE without problems, CTL_FAILED with, CTL_USAGE for a bad configuration. */
int doctor_run(const char *conf_path, const char *socket, bool json);

/* What netcheck_reply()'s result means for 'c'; 'own_mtu' as in struct doctor_facts.  Pure. */
void doctor_judge_net(struct doctor *d, const struct conf *c, unsigned int own_mtu, const json_t *net);

#endif

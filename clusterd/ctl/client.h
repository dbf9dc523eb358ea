/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_CLIENT_H
#define CLUSTERD_CTL_CLIENT_H

/* clusterctl's end of the control socket.  Blocks, with a bound. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/proto.h"

#define CLIENT_TIMEOUT_S 10
#define CLIENT_WHY_SIZE  256

struct client_conn { int fd; struct proto_in in; };

/* Connects.  0, or -errno with a sentence in 'why' that says what to do. */
int client_open(struct client_conn *c, const char *path, char why[CLIENT_WHY_SIZE]);
void client_close(struct client_conn *c);

/*
 * The next line from the daemon as a JSON object.  -ETIMEDOUT after 'timeout_s' (0: waits for ever),
 * -EINTR: a signal came, -ECONNRESET: the daemon closed.
 */
int client_next(struct client_conn *c, unsigned int timeout_s, json_t **line,
		char why[CLIENT_WHY_SIZE]);

/*
 * Sends 'request' (borrowed) and waits for the reply.  CTL_DONE with '*result' (new reference), or
 * the exit status with the sentence in '*error' (to be freed).
 */
int client_call(struct client_conn *c, const json_t *request, json_t **result, char **error);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CTL_SERVER_H
#define CLUSTERD_CTL_SERVER_H

/*
 * The control socket on an sd-event loop.  Nonblocking throughout; everything a client can make it
 * hold is bounded: SERVER_CLIENTS of them, a request of CTL_REQUEST_MAX, a reply of CTL_REPLY_MAX,
 * SERVER_STALL_MS within a request or without taking what was sent, SERVER_IDLE_MS without asking.
 */

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#define SERVER_CLIENTS  32
#define SERVER_STALL_MS 5000
#define SERVER_IDLE_MS  60000
#define SERVER_BACKLOG_MAX (256u << 10)	/* bytes of events that a slow follower may leave unread */

struct server;

/*
 * Answers one request (a JSON object, borrowed): returns the reply (new reference; NULL: no memory).
 * '*follow' = true: from now on the client gets what server_publish() sends, and asks no more.
 */
typedef json_t *(*ctl_handler)(void *arg, const json_t *request, bool *follow);

/*
 * Creates 'path' (and its directory, 0755) with mode 0660, owner root, group 'clusterd' if there is
 * such a group; without it root alone may connect.  Peers are checked by SO_PEERCRED too.  A stale
 * socket is replaced.  -EADDRINUSE: another daemon answers there; -EEXIST: something that is not a
 * socket is there; else -errno.  'event' is referenced.
 */
int server_open(struct server **out, sd_event *event, const char *path, ctl_handler handler,
		void *arg);
/* Drops all clients and removes the socket.  NULL is fine. */
void server_close(struct server *s);

/* Sends {"event":'event'} to all followers.  May be called from within the handler. */
void server_publish(struct server *s, const json_t *event);

/* For tests and status. */
unsigned int server_clients(const struct server *s);

#endif

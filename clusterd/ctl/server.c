// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/server.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/proto.h"
#include "util/log.h"

#define TICK_US 1000000		/* how often overdue clients are looked for, while there are any */
#define GROUPS_MAX 256

struct client {
	struct server *server;
	struct client *next;
	int fd;
	sd_event_source *io;
	struct proto_in in;
	struct proto_out out;
	bool eof, follow;
	bool closing;		/* as soon as all is sent */
	bool dead;		/* to be dropped from a safe place */
	uint64_t active_us;	/* last request, or last byte that it took */
};

struct server {
	sd_event *event;
	ctl_handler handler;
	void *arg;
	int fd;
	sd_event_source *io, *tick;
	bool has_group;
	gid_t group;
	struct client *clients;
	unsigned int n_clients;
	struct sockaddr_un addr;
};

static uint64_t now_us(struct server *s)
{
	uint64_t now = 0;

	sd_event_now(s->event, CLOCK_MONOTONIC, &now);
	return now;
}

static void client_drop(struct client *c)
{
	struct server *s = c->server;
	struct client **p;

	for (p = &s->clients; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	s->n_clients--;
	sd_event_source_disable_unref(c->io);
	close(c->fd);
	proto_in_free(&c->in);
	proto_out_free(&c->out);
	free(c);
}

static void client_watch(struct client *c)
{
	uint32_t mask = 0;

	/* While a reply waits we read no further: the socket's buffer holds the client back. */
	if (!c->eof && !c->closing && (c->follow || !proto_out_left(&c->out)))
		mask |= EPOLLIN;
	if (proto_out_left(&c->out))
		mask |= EPOLLOUT;
	sd_event_source_set_io_events(c->io, mask);
}

/* Takes ownership of 'reply'. */
static void client_send(struct client *c, json_t *reply)
{
	int err = reply ? proto_out_json(&c->out, reply) : -ENOMEM;

	json_decref(reply);
	if (err) {
		log_msg(LOG_WARNING, "ctl", "dropped a client: reply cannot be queued: %s",
			strerror(-err));
		c->dead = true;
	}
}

static void client_request(struct client *c, const char *line, size_t len)
{
	json_t *request, *reply;
	bool follow = false;
	char why[200];

	request = proto_parse(line, len, why, sizeof(why));
	if (!request) {
		client_send(c, proto_error(CTL_USAGE, "%s", why));
		return;
	}
	reply = c->server->handler(c->server->arg, request, &follow);
	json_decref(request);
	client_send(c, reply);
	c->follow = follow;
	/* Events have a bound of their own, beyond the reply that came first. */
	if (follow)
		c->out.max = c->out.len + SERVER_BACKLOG_MAX;
}

/* Answers what has arrived, one request at a time.  False: the client is gone. */
static bool client_serve(struct client *c)
{
	ssize_t left = 0;
	char *line;
	size_t len;
	int ret;

	while (!c->dead && !c->closing) {
		left = proto_out_write(&c->out, c->fd);
		if (left || c->follow)
			break;
		ret = proto_in_line(&c->in, &line, &len);
		if (!ret)
			break;
		if (ret < 0) {
			client_send(c, proto_error(CTL_USAGE, "the request is longer than %d bytes",
						   CTL_REQUEST_MAX));
			c->closing = true;
			break;
		}
		c->active_us = now_us(c->server);
		client_request(c, line, len);
	}
	if (!c->dead && c->closing)
		left = proto_out_write(&c->out, c->fd);
	if (c->dead || (left < 0 && left != -EAGAIN) || (!left && (c->closing || c->eof))) {
		client_drop(c);
		return false;
	}
	client_watch(c);
	return true;
}

static int client_io(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct client *c = arg;
	char sink[256];
	ssize_t n;

	if (events & EPOLLERR)
		c->dead = true;
	if (events & EPOLLOUT)
		c->active_us = now_us(c->server);
	if (!c->dead && (events & (EPOLLIN | EPOLLHUP)) && !c->eof) {
		if (c->follow)	/* it has nothing more to ask; only its end matters */
			n = read(fd, sink, sizeof(sink)) > 0 ? 1 : 0;
		else
			n = proto_in_read(&c->in, fd);
		if (!n)
			c->eof = true;
		else if (n < 0 && n != -EAGAIN)
			c->dead = true;
	}
	/* Nobody is left who could read the answer. */
	if ((events & EPOLLHUP) && c->eof)
		c->dead = true;
	client_serve(c);
	return 0;
}

/* Does one of the peer's groups, its first one included, match? */
static bool peer_in_group(int fd, gid_t first, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);
	unsigned int i;

	if (first == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
		return false;
	for (i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool peer_allowed(const struct server *s, int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size))
		return false;
	return cred.uid == 0 || (s->has_group && peer_in_group(fd, cred.gid, s->group));
}

/* One line on the way out; whether it arrives does not matter. */
static void turn_away(int fd, const char *text)
{
	json_t *reply = proto_error(CTL_FAILED, "%s", text);
	struct proto_out out;

	proto_out_init(&out, CTL_REQUEST_MAX);
	if (reply && !proto_out_json(&out, reply))
		(void)proto_out_write(&out, fd);
	json_decref(reply);
	proto_out_free(&out);
	close(fd);
}

static int tick_arm(struct server *s)
{
	int err = sd_event_source_set_time_relative(s->tick, TICK_US);

	return err < 0 ? err : sd_event_source_set_enabled(s->tick, SD_EVENT_ONESHOT);
}

static int client_new(struct server *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->fd = fd;
	c->active_us = now_us(s);
	proto_in_init(&c->in, CTL_REQUEST_MAX);
	proto_out_init(&c->out, CTL_REPLY_MAX);
	err = sd_event_add_io(s->event, &c->io, fd, EPOLLIN, client_io, c);
	if (err < 0) {
		free(c);
		return err;
	}
	c->next = s->clients;
	s->clients = c;
	s->n_clients++;
	tick_arm(s);
	return 0;
}

static int accept_io(sd_event_source *source, int listener, uint32_t events, void *arg)
{
	struct server *s = arg;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* It stays readable: without a pause the loop would spin. */
			log_msg(LOG_WARNING, "ctl", "cannot accept a client: %s", strerror(errno));
			sd_event_source_set_enabled(s->io, SD_EVENT_OFF);
			tick_arm(s);
		}
		return 0;
	}
	if (!peer_allowed(s, fd))
		turn_away(fd, s->has_group ? "only root and members of group clusterd may do this" :
					     "only root may do this (there is no group clusterd)");
	else if (s->n_clients >= SERVER_CLIENTS)
		turn_away(fd, "clusterd serves too many clients already; try again later");
	else if (client_new(s, fd))
		turn_away(fd, "clusterd is out of memory");
	return 0;
}

static bool overdue(const struct client *c, uint64_t now)
{
	uint64_t quiet_ms = (now - c->active_us) / 1000;

	if (proto_out_left(&c->out) || c->in.len > c->in.taken)	/* half a reply, half a request */
		return quiet_ms > SERVER_STALL_MS;
	return !c->follow && quiet_ms > SERVER_IDLE_MS;
}

static int tick(sd_event_source *source, uint64_t usec, void *arg)
{
	struct server *s = arg;
	struct client *c, *next;
	uint64_t now = now_us(s);

	for (c = s->clients; c; c = next) {
		next = c->next;
		if (c->dead || overdue(c, now))
			client_drop(c);
	}
	sd_event_source_set_enabled(s->io, SD_EVENT_ON);
	if (s->clients)
		tick_arm(s);
	return 0;
}

void server_publish(struct server *s, const json_t *event)
{
	json_t *line = NULL;
	struct client *c;

	for (c = s->clients; c; c = c->next) {
		if (!c->follow || c->dead)
			continue;
		if (!line)
			line = json_pack("{s:O}", "event", event);
		/* The stall clock starts when something begins to wait, not at the last event. */
		if (!proto_out_left(&c->out))
			c->active_us = now_us(s);
		if (!line || proto_out_json(&c->out, line))
			c->dead = true;	/* tick() drops it: our caller may be walking the list */
		else
			client_watch(c);
	}
	json_decref(line);
}

unsigned int server_clients(const struct server *s)
{
	return s->n_clients;
}

/* The directory of the socket; its parent must exist. */
static int make_dir(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char *slash;

	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (!mkdir(dir, 0755))
		return chmod(dir, 0755) ? -errno : 0;	/* whatever the umask is */
	return errno == EEXIST ? 0 : -errno;
}

/* Removes what a dead daemon left at the socket's place; nothing else. */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN)
		err = -EADDRINUSE;
	else if (errno != ECONNREFUSED)
		err = -errno;
	close(fd);
	if (!err && unlink(addr->sun_path) && errno != ENOENT)
		err = -errno;
	return err;
}

static int listen_at(struct server *s)
{
	const struct sockaddr *addr = (const struct sockaddr *)&s->addr;
	struct group *g = getgrnam(CTL_GROUP);

	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	/* bind() takes the socket's own mode, so there is no moment at which all may connect. */
	if (fchmod(s->fd, 0600))
		return -errno;
	if (bind(s->fd, addr, sizeof(s->addr)))
		return -errno;
	s->has_group = g;
	if (g)
		s->group = g->gr_gid;
	if (chown(s->addr.sun_path, (uid_t)-1, g ? g->gr_gid : (gid_t)-1) ||
	    chmod(s->addr.sun_path, 0660) || listen(s->fd, SERVER_CLIENTS)) {
		int err = -errno;

		unlink(s->addr.sun_path);
		return err;
	}
	return 0;
}

int server_open(struct server **out, sd_event *event, const char *path, ctl_handler handler,
		void *arg)
{
	struct server *s;
	int err;

	if (strlen(path) >= sizeof(s->addr.sun_path))
		return -ENAMETOOLONG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fd = -1;
	s->handler = handler;
	s->arg = arg;
	s->addr.sun_family = AF_UNIX;
	strcpy(s->addr.sun_path, path);
	s->event = sd_event_ref(event);
	err = make_dir(path);
	if (!err)
		err = remove_stale(&s->addr);
	if (!err)
		err = listen_at(s);
	if (err < 0) {
		/* What is there belongs to somebody else: keep server_close() away from it. */
		s->addr.sun_path[0] = '\0';
		goto fail;
	}
	err = sd_event_add_io(event, &s->io, s->fd, EPOLLIN, accept_io, s);
	if (err < 0)
		goto fail;
	err = sd_event_add_time_relative(event, &s->tick, CLOCK_MONOTONIC, TICK_US, 0, tick, s);
	if (err < 0)
		goto fail;
	*out = s;
	return 0;
fail:
	server_close(s);
	return err;
}

void server_close(struct server *s)
{
	if (!s)
		return;
	while (s->clients)
		client_drop(s->clients);
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->tick);
	if (s->fd >= 0)
		close(s->fd);
	if (s->addr.sun_path[0])
		unlink(s->addr.sun_path);
	sd_event_unref(s->event);
	free(s);
}

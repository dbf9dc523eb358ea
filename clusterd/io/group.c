/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "io/group.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <corosync/corotypes.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>

#define QUEUE_MAX        4096
#define QUEUE_BYTES_MAX  (16u << 20)
#define BACKOFF_MIN_MS   100
#define BACKOFF_MAX_MS   2000
#define DYING_MS         100
#define RETRY_MS         5	/* after CS_ERR_TRY_AGAIN on a message */

/*
 *          connect         join accepted       own process in a view
 *   NONE ----------> OPEN --------------> JOINING ------------------> UP
 *    ^   <--- any error, corosync gone ----------------------------------
 */
enum phase { PHASE_NONE, PHASE_OPEN, PHASE_JOINING, PHASE_UP };

struct message {
	struct message *next;
	size_t size;
	uint8_t data[];
};

struct group {
	const struct group_ops *ops;
	void *arg;
	struct cpg_name name;
	enum phase phase;
	cpg_handle_t cpg;
	quorum_handle_t quorum;		/* valid while quorum_fd >= 0 */
	int fd, quorum_fd;
	int server;			/* pidfd of corosync, or -1 */
	uint32_t pid;
	unsigned int local;
	bool lost;			/* seen in a place where 'down' must not be called */
	bool busy;			/* in dispatch or tick: callbacks are running */
	struct message *head, **tail;
	unsigned int n_queued;
	size_t queued_bytes;
	int64_t next_ms, backoff_ms, quorum_next_ms;
	unsigned int delivered;		/* callbacks in this group_dispatch() */
	struct group_counters c;
	char why[160];
};

static void note(struct group *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct group *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->why, sizeof(g->why), fmt, ap);
	va_end(ap);
}

/* A callback says the connection is of no use any more: dispatch or tick will end it. */
static void lose(struct group *g, const char *what, cs_error_t err)
{
	if (g->lost)
		return;
	g->lost = true;
	note(g, "%s: %s", what, cs_strerror(err));
}

/* ---- what corosync calls ---- */

static struct group *group_of(cpg_handle_t handle)
{
	void *g = NULL;

	if (cpg_context_get(handle, &g) != CS_OK)
		return NULL;
	return g;
}

static uint64_t mask_of(struct group *g, const struct cpg_address *list, size_t n, bool count)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < n; i++) {
		if (list[i].nodeid >= 1 && list[i].nodeid <= NODES_MAX)
			mask |= node_bit(list[i].nodeid);
		else if (count)
			g->c.foreign++;
	}
	return mask;
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *name,
		       const struct cpg_address *member, size_t n_member,
		       const struct cpg_address *left, size_t n_left,
		       const struct cpg_address *joined, size_t n_joined)
{
	struct group *g = group_of(handle);
	uint64_t members, crashed = 0;
	bool self = false;

	if (!g)
		return;
	g->delivered++;
	members = mask_of(g, member, n_member, true);
	for (size_t i = 0; i < n_member; i++)
		if (member[i].nodeid == g->local && member[i].pid == g->pid)
			self = true;
	for (size_t i = 0; i < n_left; i++)
		if (left[i].reason == CPG_REASON_PROCDOWN || left[i].reason == CPG_REASON_LEAVE)
			crashed |= mask_of(g, &left[i], 1, false);
	/* A process that was replaced by a new one of the same node is no loss of the node. */
	crashed &= ~members;

	if (!self) {
		/* We did not leave: this corosync has forgotten us. */
		if (g->phase == PHASE_UP)
			lose(g, "corosync dropped this process from the group", CS_ERR_NOT_EXIST);
		return;
	}
	if (g->phase == PHASE_JOINING) {
		g->phase = PHASE_UP;
		g->backoff_ms = BACKOFF_MIN_MS;
		g->ops->up(g->arg, g->local);
	}
	g->ops->view(g->arg, members, crashed);
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *name, uint32_t nodeid,
		       uint32_t pid, void *data, size_t size)
{
	struct group *g = group_of(handle);

	if (!g)
		return;
	g->delivered++;
	if (nodeid < 1 || nodeid > NODES_MAX) {
		g->c.foreign++;
		return;
	}
	/* Between the join and the view with us in it nothing is ours to see. */
	if (g->phase != PHASE_UP)
		return;
	g->c.received++;
	g->ops->message(g->arg, nodeid, data, size);
}

static void on_quorum(quorum_handle_t handle, uint32_t quorate, uint64_t ring_seq,
		      uint32_t n, uint32_t *list)
{
	const void *arg = NULL;
	struct group *g;

	if (quorum_context_get(handle, &arg) != CS_OK || !arg)
		return;
	g = (struct group *)(uintptr_t)arg;
	g->delivered++;
	g->ops->quorum(g->arg, quorate != 0);
}

/* ---- connection ---- */

static void cloexec(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

static void quorum_drop(struct group *g)
{
	if (g->quorum_fd < 0)
		return;
	quorum_finalize(g->quorum);
	g->quorum_fd = -1;
}

/* For display only: without it the group works, so an error is not one of the group. */
static void quorum_connect(struct group *g, int64_t now_ms)
{
	quorum_model_v0_data_t model = {
		.model = QUORUM_MODEL_V0,
		.quorum_notify_fn = on_quorum,
	};
	uint32_t type;
	int fd;

	if (g->quorum_fd >= 0 || now_ms < g->quorum_next_ms)
		return;
	g->quorum_next_ms = now_ms + BACKOFF_MAX_MS;
	if (quorum_model_initialize(&g->quorum, QUORUM_MODEL_V0, (quorum_model_data_t *)&model,
				    &type, g) != CS_OK)
		return;
	if (quorum_fd_get(g->quorum, &fd) != CS_OK ||
	    quorum_trackstart(g->quorum, CS_TRACK_CURRENT | CS_TRACK_CHANGES) != CS_OK) {
		quorum_finalize(g->quorum);
		return;
	}
	cloexec(fd);
	g->quorum_fd = fd;
}

static void queue_drop(struct group *g)
{
	while (g->head) {
		struct message *m = g->head;

		g->head = m->next;
		free(m);
	}
	g->tail = &g->head;
	g->c.dropped_down += g->n_queued;
	g->n_queued = 0;
	g->queued_bytes = 0;
}

static void disconnect(struct group *g)
{
	if (g->phase != PHASE_NONE)
		cpg_finalize(g->cpg);
	quorum_drop(g);
	if (g->server >= 0)
		close(g->server);
	g->fd = g->server = -1;
	g->phase = PHASE_NONE;
	g->lost = false;
	g->local = NOBODY;
	queue_drop(g);
}

/* Who is at the other end.  Not to be had (an old kernel, another pid namespace): -1. */
static int open_server(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

/* A dying process closes its sockets some moments before it is gone: it gets them. */
static bool server_lives(const struct group *g)
{
	struct pollfd p = { .fd = g->server, .events = POLLIN };

	return g->server >= 0 && poll(&p, 1, DYING_MS) == 0;
}

/* Ends a connection that is lost; says so if it ever was up.  Not from within libcpg's callbacks. */
static void check_lost(struct group *g)
{
	bool was_up = g->phase == PHASE_UP;
	char why[sizeof(g->why)];

	if (!g->lost)
		return;
	if (was_up && server_lives(g))
		g->ops->broken(g->arg, g->why);
	disconnect(g);
	if (was_up) {
		/* The callback may make us write another reason. */
		memcpy(why, g->why, sizeof(why));
		g->next_ms = 0;
		g->ops->down(g->arg, why);
	}
}

static void connect_cpg(struct group *g)
{
	cpg_model_v1_data_t model = {
		.model = CPG_MODEL_V1,
		.cpg_deliver_fn = on_deliver,
		.cpg_confchg_fn = on_confchg,
	};
	unsigned int id = 0;
	cs_error_t err;

	err = cpg_model_initialize(&g->cpg, CPG_MODEL_V1, (cpg_model_data_t *)&model, g);
	if (err != CS_OK) {
		note(g, "cannot connect to corosync: %s", cs_strerror(err));
		return;
	}
	g->phase = PHASE_OPEN;
	err = cpg_fd_get(g->cpg, &g->fd);
	if (err == CS_OK)
		err = cpg_local_get(g->cpg, &id);
	if (err != CS_OK) {
		lose(g, "cannot talk to corosync", err);
		return;
	}
	cloexec(g->fd);
	g->server = open_server(g->fd);
	if (id < 1 || id > NODES_MAX) {
		g->lost = true;
		note(g, "corosync's nodeid of this node is %u: it must be 1..%d, "
		     "as 'clusterctl corosync-conf' writes it", id, NODES_MAX);
		return;
	}
	g->local = id;
	g->pid = (uint32_t)getpid();
}

static void join(struct group *g)
{
	cs_error_t err = cpg_join(g->cpg, &g->name);

	if (err == CS_OK)
		g->phase = PHASE_JOINING;
	else if (err == CS_ERR_TRY_AGAIN || err == CS_ERR_INTERRUPT)
		note(g, "corosync is not ready yet");
	else
		lose(g, "cannot join the group", err);
}

int group_open(struct group **out, const char *name, const struct group_ops *ops, void *arg)
{
	struct group *g;
	int len;

	*out = NULL;
	assert(ops->view && ops->message && ops->up && ops->down && ops->broken && ops->quorum);
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	len = snprintf(g->name.value, sizeof(g->name.value), "clusterd:%s", name);
	if (len < 0 || (size_t)len >= sizeof(g->name.value)) {
		free(g);
		return -ENAMETOOLONG;
	}
	g->name.length = (uint32_t)len;
	g->ops = ops;
	g->arg = arg;
	g->fd = g->quorum_fd = g->server = -1;
	g->tail = &g->head;
	g->backoff_ms = BACKOFF_MIN_MS;
	*out = g;
	return 0;
}

void group_close(struct group *g)
{
	if (!g)
		return;
	assert(!g->busy);
	if ((g->phase == PHASE_JOINING || g->phase == PHASE_UP) && !g->lost)
		(void)cpg_leave(g->cpg, &g->name);
	disconnect(g);
	free(g);
}

int group_fd(const struct group *g)
{
	return g->fd;
}

int group_quorum_fd(const struct group *g)
{
	return g->quorum_fd;
}

void group_counters(const struct group *g, struct group_counters *out)
{
	*out = g->c;
}

const char *group_strerror(const struct group *g)
{
	return g->why;
}

/* ---- sending ---- */

/* 0: gone out; -EAGAIN: not now; -ENOTCONN: never on this connection. */
static int transmit(struct group *g, const void *data, size_t size)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	cs_error_t err = cpg_mcast_joined(g->cpg, CPG_TYPE_AGREED, &iov, 1);

	if (err == CS_OK) {
		g->c.sent++;
		return 0;
	}
	if (err == CS_ERR_TRY_AGAIN || err == CS_ERR_INTERRUPT) {
		g->c.try_again++;
		return -EAGAIN;
	}
	lose(g, "multicast failed", err);
	return -ENOTCONN;
}

static void queue_flush(struct group *g)
{
	while (g->head && !g->lost && transmit(g, g->head->data, g->head->size) == 0) {
		struct message *m = g->head;

		g->head = m->next;
		if (!g->head)
			g->tail = &g->head;
		g->n_queued--;
		g->queued_bytes -= m->size;
		free(m);
	}
}

int group_send(struct group *g, const void *data, size_t size)
{
	struct message *m;
	int err;

	if (size == 0 || size > GROUP_MESSAGE_MAX)
		return -EMSGSIZE;
	if (g->phase != PHASE_UP || g->lost)
		return -ENOTCONN;
	if (!g->head) {		/* else it would overtake */
		err = transmit(g, data, size);
		if (err != -EAGAIN)
			return err;
	}
	m = g->n_queued < QUEUE_MAX && g->queued_bytes + size <= QUEUE_BYTES_MAX ?
	    malloc(sizeof(*m) + size) : NULL;
	if (!m) {
		g->c.dropped_full++;
		return -ENOBUFS;
	}
	m->next = NULL;
	m->size = size;
	memcpy(m->data, data, size);
	*g->tail = m;
	g->tail = &m->next;
	g->n_queued++;
	g->queued_bytes += size;
	return 0;
}

/* ---- turns ---- */

int group_dispatch(struct group *g, unsigned int budget)
{
	cs_error_t err = CS_OK;

	assert(!g->busy);
	g->busy = true;
	g->delivered = 0;
	while (g->quorum_fd >= 0 && g->delivered < budget && err == CS_OK)
		err = quorum_dispatch(g->quorum, CS_DISPATCH_ONE_NONBLOCKING);
	if (err != CS_OK && err != CS_ERR_TRY_AGAIN && err != CS_ERR_INTERRUPT)
		quorum_drop(g);

	err = CS_OK;
	while (g->phase != PHASE_NONE && !g->lost && g->delivered < budget && err == CS_OK)
		err = cpg_dispatch(g->cpg, CS_DISPATCH_ONE_NONBLOCKING);
	if (err != CS_OK && err != CS_ERR_TRY_AGAIN && err != CS_ERR_INTERRUPT)
		lose(g, "connection to corosync lost", err);
	check_lost(g);
	g->busy = false;
	return g->delivered >= budget;
}

/*
 * After a loss the first attempt is made at once; then 100 ms, 200 ms ... 2 s until the group is up.
 * The same steps serve a join that corosync puts off.
 */
int group_tick(struct group *g, int64_t now_ms)
{
	int64_t wait_ms = -1;

	assert(!g->busy);
	g->busy = true;
	check_lost(g);
	if (g->phase < PHASE_JOINING && now_ms >= g->next_ms) {
		g->next_ms = now_ms + g->backoff_ms;
		g->backoff_ms = g->backoff_ms * 2 < BACKOFF_MAX_MS ? g->backoff_ms * 2 :
				BACKOFF_MAX_MS;
		if (g->phase == PHASE_NONE)
			connect_cpg(g);
		if (g->phase == PHASE_OPEN && !g->lost)
			join(g);
		check_lost(g);
	}
	if (g->phase == PHASE_UP && g->head) {
		queue_flush(g);
		check_lost(g);
	}
	if (g->phase >= PHASE_JOINING)
		quorum_connect(g, now_ms);

	if (g->phase < PHASE_JOINING)
		wait_ms = g->next_ms > now_ms ? g->next_ms - now_ms : 0;
	else if (g->head)
		wait_ms = RETRY_MS;
	else if (g->quorum_fd < 0)
		wait_ms = g->quorum_next_ms > now_ms ? g->quorum_next_ms - now_ms : 0;
	g->busy = false;
	return (int)wait_ms;
}

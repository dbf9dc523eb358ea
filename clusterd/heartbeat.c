// SPDX-License-Identifier: GPL-2.0-or-later
#include "heartbeat.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE    (128u << 10)
#define RT_PRIORITY   50
#define WAIT_MAX_US   100000	/* the hang watch looks at least that often */
#define WAIT_HUNG_US  10000
#define DATAGRAMS     64	/* handled before time-driven things get their turn */
#define EVENTS_QUEUED 256
#define CMDS_QUEUED   256

enum cmd_type { CMD_LEASE, CMD_HANG, CMD_QUIT };
struct cmd {
	enum cmd_type type;
	uint32_t hang_ms;
	struct lease_cmd lease;
};

struct published {
	_Atomic int64_t lease_until_us, witness_until_us;
	_Atomic uint64_t stale, replayed, foreign_term, events_lost;
	_Atomic uint64_t sent, received, send_errors, garbled, version, forged, foreign;
	atomic_bool reachable, hung;
	struct {
		_Atomic int64_t heard_us, grant_until_us;
		atomic_bool granted;
	} peer[NODES_MAX + 1];
};

struct heartbeat {
	/* the main thread's */
	pthread_t thread;
	bool started, realtime;
	int main_cmd, main_ev;		/* our ends of the socketpairs */
	unsigned int cmd_head, cmd_n;
	struct cmd cmd[CMDS_QUEUED];

	/* shared */
	_Atomic int64_t alive_us;
	struct published pub;

	/* the thread's */
	struct lease lease;
	struct hellosock *sock;
	struct lease_table *table;
	int cmd_fd, ev_fd;
	int64_t hang_us;
	bool active;			/* the kernel's lease was started */
	bool reachable, alone, hung, quit;
	bool net_ready, cmd_ready;	/* worth reading */
	bool net_more;			/* not all of it was read */
	unsigned int ev_head, ev_n;
	struct heartbeat_event ev[EVENTS_QUEUED];
	uint64_t ev_lost;
	int last_renew_err;
};

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- events to the main thread ---- */

static void events_flush(struct heartbeat *hb)
{
	while (hb->ev_n) {
		if (send(hb->ev_fd, &hb->ev[hb->ev_head], sizeof(hb->ev[0]),
			 MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		hb->ev_head = (hb->ev_head + 1) % EVENTS_QUEUED;
		hb->ev_n--;
	}
}

/* The queue is full: an event that says the same of the same node is worth no second place. */
static bool event_replaces(struct heartbeat *hb, const struct heartbeat_event *e)
{
	for (unsigned int i = 0; i < hb->ev_n; i++) {
		struct heartbeat_event *old = &hb->ev[(hb->ev_head + i) % EVENTS_QUEUED];
		bool same = old->type == e->type && e->type != HEARTBEAT_DISCARDED &&
			    old->lease.type == e->lease.type && old->lease.node == e->lease.node;

		if (same || old->type == HEARTBEAT_LOG) {
			*old = *e;
			return true;
		}
	}
	return false;
}

static void event_put(struct heartbeat *hb, const struct heartbeat_event *e)
{
	events_flush(hb);
	if (hb->ev_n < EVENTS_QUEUED) {
		hb->ev[(hb->ev_head + hb->ev_n) % EVENTS_QUEUED] = *e;
		hb->ev_n++;
		events_flush(hb);
	} else if (e->type == HEARTBEAT_LOG || !event_replaces(hb, e)) {
		hb->ev_lost++;
	}
}

static void tell(struct heartbeat *hb, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The main thread logs: writing to a log may block. */
static void tell(struct heartbeat *hb, int level, const char *fmt, ...)
{
	struct heartbeat_event e = { .type = HEARTBEAT_LOG, .level = level };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	event_put(hb, &e);
}

/* ---- performing what the lease machine wants ---- */

static void perform(struct heartbeat *hb, const struct lease_out *out, int64_t now);

static void lapse(struct heartbeat *hb)
{
	struct lease_out out = { 0 };
	int64_t now = now_us();

	lease_lapsed(&hb->lease, now, &out);
	assert(!out.renew);
	perform(hb, &out, now);
}

static void end(struct heartbeat *hb)
{
	int err = lease_table_end(hb->table);

	hb->active = false;
	if (err)
		tell(hb, LOG_ERR, "cannot end the kernel's lease, it runs out by itself: %s",
		     strerrordesc_np(-err));
}

static void renew(struct heartbeat *hb, int64_t until_us)
{
	int64_t ms = (until_us - now_us()) / 1000;
	int err;

	if (ms <= 0)
		err = -ETIMEDOUT;
	else if (hb->active)
		err = lease_table_renew(hb->table, (uint32_t)ms);
	else
		err = lease_table_start(hb->table, (uint32_t)ms);
	if (!err) {
		hb->active = true;
		hb->last_renew_err = 0;
		return;
	}
	if (err == -ENOENT || err == -ETIMEDOUT)
		tell(hb, LOG_WARNING, "the lease could not be renewed in time");
	else if (err != hb->last_renew_err)
		tell(hb, LOG_ERR, "the kernel refuses the lease: %s", strerrordesc_np(-err));
	hb->last_renew_err = err;
	/* Whatever the kernel did with our request: nothing of it may last. */
	lapse(hb);
	end(hb);
}

static void send_round(struct heartbeat *hb, bool witness, int64_t now)
{
	struct lease *l = &hb->lease;
	struct hello h;

	lease_begin_round(l, now);
	for (unsigned int i = 1; i <= l->p.n_nodes; i++) {
		if (i == l->p.self)
			continue;
		lease_hello(l, i, &h);
		hellosock_send(hb->sock, &h, witness);
	}
	if (witness)
		hellosock_probe(hb->sock, l->seq);
}

/* 'now' is not after the call that filled 'out': what is sent counts from then, if anything too early. */
static void perform(struct heartbeat *hb, const struct lease_out *out, int64_t now)
{
	if (out->end)
		end(hb);
	if (out->send)
		send_round(hb, out->witness, now);
	for (unsigned int i = 0; i < out->n_events; i++) {
		const struct heartbeat_event e = { .type = HEARTBEAT_LEASE, .lease = out->event[i] };

		event_put(hb, &e);
	}
	if (out->renew)
		renew(hb, out->until_us);
}

/* ---- inputs ---- */

static void handle_datagrams(struct heartbeat *hb)
{
	struct hellosock_item item;
	int ret = hb->net_ready ? -EBADMSG : 0;

	for (unsigned int i = 0; i < DATAGRAMS && ret; i++) {
		struct lease_out out = { 0 };
		int64_t now;

		ret = hellosock_recv(hb->sock, &item);
		if (ret <= 0)
			continue;
		/* A clock reading each: the one before may be from before a sleep. */
		now = now_us();
		if (item.kind == HELLOSOCK_WITNESS)
			lease_heard_witness(&hb->lease, item.hello.seq, now, &out);
		else
			lease_heard_hello(&hb->lease, &item.hello, item.kind == HELLOSOCK_REFLECTED,
					  now, &out);
		perform(hb, &out, now);
	}
	hb->net_more = ret;
}

static void discard(struct heartbeat *hb, const struct lease_cmd *c)
{
	struct heartbeat_event e = { .type = HEARTBEAT_DISCARDED, .cmd = *c };

	e.yes = lease_discard(&hb->lease, c->by, c->node, c->term, c->gen);
	event_put(hb, &e);
}

static void lease_command(struct heartbeat *hb, const struct lease_cmd *c)
{
	struct lease *l = &hb->lease;
	struct lease_out out = { 0 };
	int64_t now = now_us();

	switch (c->type) {
	case LCMD_SET_PEER:
		lease_set_peer(l, c->node, c->term, c->incarnation, now, &out);
		break;
	case LCMD_DEAD:
		lease_set_dead(l, c->mask);
		break;
	case LCMD_ADMIT:
		lease_admit(l, c->term, now, &out);
		break;
	case LCMD_FENCE:
		lease_fence(l, now, &out);
		break;
	case LCMD_DISCARD:
		discard(hb, c);
		break;
	case LCMD_CLEARED:
		lease_cleared(l, c->node, c->term, c->gen, now);
		break;
	}
	perform(hb, &out, now);
}

static void handle_commands(struct heartbeat *hb)
{
	struct lease_out out = { 0 };
	struct cmd c;
	int64_t now;

	while (hb->cmd_ready && !hb->quit && recv(hb->cmd_fd, &c, sizeof(c), MSG_DONTWAIT) == sizeof(c)) {
		switch (c.type) {
		case CMD_LEASE:
			lease_command(hb, &c.lease);
			break;
		case CMD_HANG:
			hb->hang_us = (int64_t)c.hang_ms * 1000;
			break;
		case CMD_QUIT:
			hb->quit = true;
			now = now_us();
			lease_fence(&hb->lease, now, &out);
			perform(hb, &out, now);
			break;
		}
	}
}

/* ---- the thread ---- */

static void watch_main(struct heartbeat *hb)
{
	int64_t now = now_us(), late_us = now - atomic_load(&hb->alive_us);
	bool hung = late_us > hb->hang_us;
	struct lease_out out = { 0 };

	if (hung == hb->hung)
		return;
	hb->hung = hung;
	lease_stop(&hb->lease, hung, now, &out);
	perform(hb, &out, now);
	if (hung)
		tell(hb, LOG_ERR, "the daemon has hung for %lld ms: its heartbeat stops",
		     (long long)(late_us / 1000));
	else
		tell(hb, LOG_NOTICE, "the daemon lives again: its heartbeat goes on");
}

static void tick(struct heartbeat *hb)
{
	struct heartbeat_event e = { .type = HEARTBEAT_REACHABLE };
	struct lease_out out = { 0 };
	int64_t now = now_us();

	lease_tick(&hb->lease, now, &out);
	perform(hb, &out, now);
	e.yes = lease_reachable(&hb->lease, now_us());
	if (e.yes != hb->reachable) {
		hb->reachable = e.yes;
		event_put(hb, &e);
	}
	e.type = HEARTBEAT_ALONE;
	e.yes = lease_alone(&hb->lease, now_us());
	if (e.yes != hb->alone) {
		hb->alone = e.yes;
		event_put(hb, &e);
	}
}

#define PUBLISH(field, value) atomic_store_explicit(&hb->pub.field, value, memory_order_relaxed)

static void publish(struct heartbeat *hb)
{
	const struct lease *l = &hb->lease;
	struct hellosock_counters c;

	hellosock_counters(hb->sock, &c);
	PUBLISH(lease_until_us, l->leased ? l->until_us : 0);
	PUBLISH(witness_until_us, l->witness_until_us);
	PUBLISH(stale, l->n_stale);
	PUBLISH(replayed, l->n_replayed);
	PUBLISH(foreign_term, l->n_foreign_term);
	PUBLISH(events_lost, hb->ev_lost);
	PUBLISH(sent, c.sent);
	PUBLISH(received, c.received);
	PUBLISH(send_errors, c.send_errors);
	PUBLISH(garbled, c.garbled);
	PUBLISH(version, c.version);
	PUBLISH(forged, c.forged);
	PUBLISH(foreign, c.foreign);
	PUBLISH(reachable, hb->reachable);
	PUBLISH(hung, hb->hung);
	for (unsigned int i = 1; i <= l->p.n_nodes; i++) {
		const struct lease_peer *p = &l->peer[i];

		PUBLISH(peer[i].heard_us, p->hello_us);
		PUBLISH(peer[i].grant_until_us, p->grant_until_us);
		PUBLISH(peer[i].granted, p->grant == GRANT_GRANTING);
	}
}

/*
 * Does it matter when a HELLO is read?  A lease counts from when the HELLO was sent, and what we
 * hear is echoed with our next HELLO.  So while all is well HELLOs are read together, just before
 * ours are sent: the echoes are as fresh as they can be, and one wake-up per interval does for what
 * may be 63 peers.  Once somebody is late, each HELLO may be the one that decides: a peer was missed
 * at two readings, or our lease is older than the two intervals that reading so can make it.
 */
static bool attentive(const struct heartbeat *hb, int64_t now)
{
	const struct lease *l = &hb->lease;
	int64_t half_us = l->interval_us / 2;

	if (!l->leased || l->stopped || !hb->reachable ||
	    now + l->p.lease_us - l->until_us > 5 * half_us)
		return true;
	for (unsigned int i = 1; i <= l->p.n_nodes; i++) {
		const struct lease_peer *p = &l->peer[i];

		if (p->grant == GRANT_CLEARING || (p->grant == GRANT_EXPIRED && !p->lost) ||
		    (p->grant == GRANT_GRANTING && now - p->granted_us > 3 * half_us))
			return true;
	}
	return false;
}

static void wait_for_input(struct heartbeat *hb)
{
	int64_t now = now_us(), deadline = lease_deadline(&hb->lease), wait = deadline - now;
	bool net = attentive(hb, now);
	struct pollfd fds[3] = {
		{ .fd = hb->cmd_fd, .events = POLLIN },
		{ .fd = net ? hellosock_fd(hb->sock) : -1, .events = POLLIN },
		{ .fd = net ? hellosock_witness_fd(hb->sock) : -1, .events = POLLIN },
	};
	struct timespec ts;

	if (wait > WAIT_MAX_US)
		wait = WAIT_MAX_US;
	if (hb->hung && wait > WAIT_HUNG_US)
		wait = WAIT_HUNG_US;
	if (wait < 0 || hb->net_more)
		wait = 0;
	ts.tv_sec = wait / 1000000;
	ts.tv_nsec = wait % 1000000 * 1000;
	if (ppoll(fds, net ? 3 : 1, &ts, NULL) < 0)
		fds[0].revents = fds[1].revents = fds[2].revents = 0;
	hb->cmd_ready = fds[0].revents;
	/* The deadline may be an expiry's: time decides nothing before what has arrived was read. */
	hb->net_ready = hb->net_more || fds[1].revents || fds[2].revents || now_us() >= deadline;
}

static void *run(void *arg)
{
	struct heartbeat *hb = arg;

	pthread_setname_np(pthread_self(), "heartbeat");
	while (!hb->quit) {
		wait_for_input(hb);
		watch_main(hb);
		handle_datagrams(hb);
		handle_commands(hb);
		if (!hb->quit)
			tick(hb);
		events_flush(hb);
		publish(hb);
	}
	return NULL;
}

/* ---- the main thread's side ---- */

static int start_thread(struct heartbeat *hb)
{
	const struct sched_param priority = { .sched_priority = RT_PRIORITY };
	pthread_attr_t attr;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	err = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!err)
		err = pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	if (!err)
		err = pthread_attr_setschedpolicy(&attr, SCHED_RR);
	if (!err)
		err = pthread_attr_setschedparam(&attr, &priority);
	if (!err) {
		err = pthread_create(&hb->thread, &attr, run, hb);
		hb->realtime = !err;
	}
	if (err == EPERM) {
		(void)pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED);
		err = pthread_create(&hb->thread, &attr, run, hb);
	}
	pthread_attr_destroy(&attr);
	hb->started = !err;
	return -err;
}

static int open_pairs(struct heartbeat *hb)
{
	int cmd[2], ev[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, cmd) < 0)
		return -errno;
	hb->main_cmd = cmd[0];
	hb->cmd_fd = cmd[1];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ev) < 0)
		return -errno;
	hb->main_ev = ev[0];
	hb->ev_fd = ev[1];
	return 0;
}

int heartbeat_start(struct heartbeat **out, const struct heartbeat_params *p, const char **why)
{
	struct heartbeat *hb = calloc(1, sizeof(*hb));
	int err;

	*out = NULL;
	*why = "memory";
	if (!hb) {
		lease_table_close(p->table);
		hellosock_close(p->sock);
		return -ENOMEM;
	}
	hb->main_cmd = hb->main_ev = hb->cmd_fd = hb->ev_fd = -1;
	hb->sock = p->sock;
	hb->table = p->table;
	hb->hang_us = (int64_t)p->hang_ms * 1000;
	lease_init(&hb->lease, &p->lease, now_us());
	heartbeat_alive(hb);
	*why = "socketpair";
	err = open_pairs(hb);
	if (!err) {
		*why = "thread";
		err = start_thread(hb);
	}
	if (err) {
		heartbeat_stop(hb);
		return err;
	}
	*out = hb;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void commands_flush(struct heartbeat *hb)
{
	while (hb->cmd_n) {
		if (send(hb->main_cmd, &hb->cmd[hb->cmd_head], sizeof(hb->cmd[0]),
			 MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		hb->cmd_head = (hb->cmd_head + 1) % CMDS_QUEUED;
		hb->cmd_n--;
	}
}

static int command(struct heartbeat *hb, const struct cmd *c)
{
	commands_flush(hb);
	if (hb->cmd_n == CMDS_QUEUED)
		return -ENOBUFS;
	hb->cmd[(hb->cmd_head + hb->cmd_n) % CMDS_QUEUED] = *c;
	hb->cmd_n++;
	commands_flush(hb);
	return 0;
}

void heartbeat_stop(struct heartbeat *hb)
{
	const struct cmd quit = { .type = CMD_QUIT };

	if (!hb)
		return;
	if (hb->started) {
		hb->cmd_n = 0;		/* nothing that came before matters any more */
		while (command(hb, &quit) || hb->cmd_n) {
			usleep(1000);
			commands_flush(hb);
		}
		pthread_join(hb->thread, NULL);
	}
	close_fd(hb->main_cmd);
	close_fd(hb->main_ev);
	close_fd(hb->cmd_fd);
	close_fd(hb->ev_fd);
	lease_table_close(hb->table);
	hellosock_close(hb->sock);
	free(hb);
}

int heartbeat_fd(const struct heartbeat *hb)
{
	return hb->main_ev;
}

int heartbeat_next(struct heartbeat *hb, struct heartbeat_event *e)
{
	return recv(hb->main_ev, e, sizeof(*e), MSG_DONTWAIT) == sizeof(*e);
}

int heartbeat_command(struct heartbeat *hb, const struct lease_cmd *cmd)
{
	const struct cmd c = { .type = CMD_LEASE, .lease = *cmd };

	return command(hb, &c);
}

int heartbeat_set_hang(struct heartbeat *hb, uint32_t hang_ms)
{
	const struct cmd c = { .type = CMD_HANG, .hang_ms = hang_ms };

	return command(hb, &c);
}

void heartbeat_alive(struct heartbeat *hb)
{
	atomic_store(&hb->alive_us, now_us());
	commands_flush(hb);
}

#define COPY(to, field) \
	((to) = atomic_load_explicit(&hb->pub.field, memory_order_relaxed))

void heartbeat_get_status(struct heartbeat *hb, struct heartbeat_status *out)
{
	memset(out, 0, sizeof(*out));
	out->now_us = now_us();
	out->realtime = hb->realtime;
	COPY(out->lease_until_us, lease_until_us);
	COPY(out->witness_until_us, witness_until_us);
	COPY(out->stale, stale);
	COPY(out->replayed, replayed);
	COPY(out->foreign_term, foreign_term);
	COPY(out->events_lost, events_lost);
	COPY(out->net.sent, sent);
	COPY(out->net.received, received);
	COPY(out->net.send_errors, send_errors);
	COPY(out->net.garbled, garbled);
	COPY(out->net.version, version);
	COPY(out->net.forged, forged);
	COPY(out->net.foreign, foreign);
	COPY(out->reachable, reachable);
	COPY(out->hung, hung);
	for (unsigned int i = 1; i <= NODES_MAX; i++) {
		COPY(out->peer[i].heard_us, peer[i].heard_us);
		COPY(out->peer[i].grant_until_us, peer[i].grant_until_us);
		COPY(out->peer[i].granted, peer[i].granted);
	}
}

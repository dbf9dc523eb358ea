// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's side of the group: what comes goes to the agent, in order. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "turn_priv.h"
#include "wire/msg.h"

#define REJOIN_MS       10000	/* after corosync had a wrong node id for us */
#define WAITING_MS      60000	/* between two lines about a corosync that is not there */

static void group_view(void *arg, uint64_t members, uint64_t crashed)
{
	struct turn *t = arg;

	if (!t->stay_out)
		agent_view(t->agent, members, crashed, now_ms());
}

static void bad_message(struct turn *t, unsigned int from, const char *what)
{
	uint64_t swallowed;

	if (log_allow(&t->bad_limit, now_ms(), BAD_MS, &swallowed))
		log_msg(LOG_WARNING, "group", "ignored a message of node %u: %s (%llu more like it)",
			from, what, (unsigned long long)swallowed);
}

static void group_message(void *arg, unsigned int from, const void *data, size_t size)
{
	struct turn *t = arg;
	struct msg m;

	if (t->stay_out)
		return;
	switch (msg_decode(&m, t->conf.name, data, size)) {
	case 0:
		break;
	case -EPROTO:
		bad_message(t, from, "another protocol version; run the same clusterd on all nodes");
		return;
	case -EXDEV:
		bad_message(t, from, "of another cluster; [cluster] name differs");
		return;
	default:	/* -EBADMSG: the header knows no others */
		bad_message(t, from, "garbled");
		return;
	}
	if (m.from != from) {
		bad_message(t, from, "it claims to come from another node");
		return;
	}
	agent_message(t->agent, &m, now_ms());
}

static void group_is_up(void *arg, unsigned int local_id)
{
	struct turn *t = arg;

	/* See rules.h: our tables must die before our place in the group. */
	assert(group_fd(t->group) < RULES_FD_MIN);
	if (local_id != t->self) {
		log_msg(LOG_ERR, "group", "corosync's nodeid of this node is %u, but in clusterd.ini %s is "
			"number %u; use the corosync.conf that 'clusterctl corosync-conf' prints",
			local_id, t->conf.node[t->self - 1].name, t->self);
		t->stay_out = true;
		return;
	}
	log_msg(LOG_INFO, "group", "connected to corosync");
	t->group_up = true;
	agent_group_up(t->agent, now_ms());
}

/* The end of the process takes its tables along, in the right order (setup.c); then the others act. */
static void group_is_broken(void *arg, const char *why)
{
	log_msg(LOG_CRIT, "group", "corosync lives but has let go of us (%s): ending at once, so that "
		"nothing is served twice", why);
	_exit(EXIT_FAILURE);
}

static void group_is_down(void *arg, const char *why)
{
	struct turn *t = arg;

	if (t->stay_out)
		return;
	log_msg(LOG_WARNING, "group", "%s", why);
	t->group_up = false;
	t->waiting_at = now_ms() + WAITING_MS;
	agent_group_down(t->agent, now_ms());
}

static void group_quorum(void *arg, bool quorate)
{
	log_msg(LOG_DEBUG, "group", "corosync says: %s", quorate ? "quorate" : "not quorate");
}

const struct group_ops turn_group_ops = {
	.view = group_view, .message = group_message, .up = group_is_up, .down = group_is_down,
	.broken = group_is_broken,
	.quorum = group_quorum,
};

/* Flushes what was said in this turn; (re)connects. */
void turn_tick_group(struct turn *t, int64_t now)
{
	int wait_ms = -1;

	if (t->stay_out && t->group) {
		group_close(t->group);
		t->group = NULL;
		t->group_at = now + REJOIN_MS;
	}
	if (!t->group && now >= t->group_at) {
		t->stay_out = false;
		if (group_open(&t->group, t->conf.name, &turn_group_ops, t))
			t->group_at = now + REJOIN_MS;
	}
	if (!t->group)
		return;
	wait_ms = group_tick(t->group, now);
	t->group_at = wait_ms < 0 ? INT64_MAX : now + wait_ms;
	if (!t->group_up && !t->stay_out && now >= t->waiting_at) {
		log_msg(LOG_WARNING, "group", "waiting for corosync (is it running?): %s",
			group_strerror(t->group));
		t->waiting_at = now + WAITING_MS;
	}
}

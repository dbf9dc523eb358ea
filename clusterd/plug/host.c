// SPDX-License-Identifier: GPL-2.0-or-later
#include "plug/host.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "plug/child.h"
#include "util/clock.h"

#define WATCHES_MAX 64
#define RETRY_MS 10000
#define BLOCKED_MS 50		/* a callback that takes longer has blocked the daemon */
#define WHY_SIZE 256

struct watch {
	int fd;
	short events;
	sd_event_source *source;	/* NULL: free */
};

struct clusterd_inst {
	struct host *host;
	struct clusterd_inst *next;
	enum clusterd_kind kind;
	const struct clusterd_observer_ops *ops;
	void *priv;			/* the plugin's, while open */
	char section[80];
	struct clusterd_option *opt;	/* copied: open() may be tried again */
	size_t n_opt;

	unsigned int tag;
	host_report_cb report;
	host_fact_cb fact;
	void *arg;

	bool open;
	bool wanted;			/* a report would count now */
	unsigned int depth;		/* callbacks of the plugin that we are in */
	bool doomed;			/* closed from within one of them */
	int start_again;		/* started from within one of them, with this timeout; 0: no */
	int open_error, run_error;	/* what was last said about it; about its program */
	bool said_blocked, said_range;

	struct watch watch[WATCHES_MAX];
	sd_event_source *timer, *retry;
	struct child *child;
	struct child_quota log_quota, child_quota;

	int64_t cpu_ns, cpu_since;	/* taken until now; when the present callback began */
	int64_t wall_ns, wall_since;	/* likewise, of the present callback */
};

struct host {
	sd_event *event;
	unsigned int capacity;
	const struct host_ops *ops;
	void *arg;
	struct clusterd_inst *inst;
	struct clusterd_host offer;	/* what plugins see */
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- around every callback ---- */

static void inst_free(struct clusterd_inst *inst);

/* The clock runs while the plugin's own code does: not while it has called us and we call our user. */
static void clock_start(struct clusterd_inst *inst)
{
	inst->cpu_since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	inst->wall_since = clock_ns(CLOCK_MONOTONIC);
}

static void clock_stop(struct clusterd_inst *inst)
{
	inst->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - inst->cpu_since;
	inst->wall_ns += clock_ns(CLOCK_MONOTONIC) - inst->wall_since;
}

static void enter(struct clusterd_inst *inst)
{
	if (inst->depth++ == 0) {
		inst->wall_ns = 0;
		clock_start(inst);
	}
}

static void say_blocked(struct clusterd_inst *inst, const char *what)
{
	if (inst->wall_ns > BLOCKED_MS * 1000000ll && !inst->said_blocked) {
		inst->said_blocked = true;
		log_msg(LOG_WARNING, "plugin", "%s: %s() blocked the daemon for %lld ms: "
			"the plugin must not wait (not said again)", inst->section, what, (long long)(inst->wall_ns / 1000000));
	}
}

/* The instance may be gone afterwards: false. */
static bool leave(struct clusterd_inst *inst, const char *what)
{
	int timeout;

	if (--inst->depth > 0)
		return true;
	clock_stop(inst);
	say_blocked(inst, what);
	if (inst->doomed) {
		inst_free(inst);
		return false;
	}
	timeout = inst->start_again;
	if (timeout) {
		inst->start_again = 0;
		host_start(inst, timeout);	/* nothing of ours follows: it may be gone, too */
		return false;
	}
	return true;
}

/* ---- what plugins may ask for ---- */

__attribute__((format(printf, 3, 4)))
static void offer_log(struct clusterd_inst *inst, int priority, const char *fmt, ...)
{
	unsigned int dropped;
	char text[512];
	va_list ap;

	if (!child_quota_take(&inst->log_quota, now_ms(), &dropped))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (dropped)
		log_msg(LOG_NOTICE, "plugin", "%s: %u lines were not shown", inst->section, dropped);
	/* Nothing that a plugin finds is worse than an error of ours. */
	log_msg(priority < LOG_ERR ? LOG_ERR : priority > LOG_DEBUG ? LOG_DEBUG : priority, "plugin",
		"%s: %s", inst->section, text);
}

static int64_t offer_now_ms(struct clusterd_inst *inst)
{
	return now_ms();
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct clusterd_inst *inst = arg;

	enter(inst);
	/* The bits are the same ones (bits/poll.h, sys/epoll.h). */
	inst->ops->io(inst->priv, fd, (short)(revents & (POLLIN | POLLOUT | POLLERR | POLLHUP)));
	leave(inst, "io");
	return 0;
}

static void watch_end(struct watch *w)
{
	w->source = sd_event_source_disable_unref(w->source);
	w->fd = -1;
}

static int offer_watch(struct clusterd_inst *inst, int fd, short events)
{
	struct watch *w, *found = NULL, *unused = NULL;
	int r;

	if (fd < 0 || (events & ~(POLLIN | POLLOUT)) || !inst->ops->io)
		return -EINVAL;
	for (w = inst->watch; w < inst->watch + WATCHES_MAX; w++) {
		if (w->source && w->fd == fd)
			found = w;
		else if (!w->source && !unused)
			unused = w;
	}
	if (found && events && sd_event_source_set_io_events(found->source, (uint32_t)events) >= 0)
		return 0;
	if (found) {
		/* The end; or it was closed behind our back, and is another one's number now. */
		watch_end(found);
		unused = found;
	}
	if (!events || inst->doomed)
		return 0;
	if (!unused)
		return -ENOSPC;
	r = sd_event_add_io(inst->host->event, &unused->source, fd, (uint32_t)events, on_io, inst);
	if (r < 0) {
		unused->source = NULL;
		return r == -ENOMEM ? r : -EINVAL;	/* no fd, or one that cannot be waited for */
	}
	unused->fd = fd;
	return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct clusterd_inst *inst = arg;

	inst->timer = sd_event_source_disable_unref(inst->timer);
	enter(inst);
	inst->ops->timer(inst->priv);
	leave(inst, "timer");
	return 0;
}

static void offer_timer(struct clusterd_inst *inst, int ms)
{
	inst->timer = sd_event_source_disable_unref(inst->timer);
	if (ms < 0 || inst->doomed)
		return;
	if (!inst->ops->timer ||
	    sd_event_add_time_relative(inst->host->event, &inst->timer, CLOCK_MONOTONIC,
				       (uint64_t)ms * 1000, 1000, on_timer, inst) < 0)
		log_msg(LOG_ERR, "plugin", "%s: no timer: %s", inst->section,
			inst->ops->timer ? "out of memory" : "the plugin has no timer()");
}

/* One line, whatever the plugin said. */
static void one_line(char out[WHY_SIZE], const char *text)
{
	char *p;

	snprintf(out, WHY_SIZE, "%s", text ? text : "");
	for (p = out; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	while (p > out && p[-1] == ' ')
		*--p = '\0';
}

static int in_range(struct clusterd_inst *inst, int value)
{
	int in = value < 0 ? 0 : value > 1000 ? 1000 : value;

	if (in != value && !inst->said_range) {
		inst->said_range = true;
		log_msg(LOG_WARNING, "plugin", "%s: reported %d, which is not from 0 to 1000: counts as %d "
			"(not said again)", inst->section, value, in);
	}
	if (inst->kind == CLUSTERD_CHECK && in > CLUSTERD_DEAD && in < CLUSTERD_FIT)
		in = CLUSTERD_WORKS;
	return in;
}

static void offer_report(struct clusterd_inst *inst, int value, const char *why)
{
	char line[WHY_SIZE];

	if (!inst->wanted || inst->doomed)
		return;
	if (inst->kind == CLUSTERD_CHECK)
		inst->wanted = false;		/* one answer per question */
	one_line(line, why);
	value = in_range(inst, value);
	if (inst->depth)
		clock_stop(inst);
	inst->depth++;			/* its user may close it: not under our feet */
	inst->report(inst->arg, inst->tag, value, line);
	inst->depth--;
	if (inst->depth)
		clock_start(inst);
}

static void offer_fact(struct clusterd_inst *inst, enum clusterd_fact fact, uint64_t value)
{
	if (inst->kind != CLUSTERD_MONITOR || !inst->wanted || inst->doomed || !inst->fact ||
	    (unsigned int)fact > CLUSTERD_SWAPPING)
		return;
	if (fact == CLUSTERD_CPU_IDLE && value > 1000)
		value = 1000;
	if (inst->depth)
		clock_stop(inst);
	inst->depth++;
	inst->fact(inst->arg, inst->tag, fact, value);
	inst->depth--;
	if (inst->depth)
		clock_start(inst);
}

static void on_done(void *arg, int status, const char *out, size_t size)
{
	struct clusterd_inst *inst = arg;
	struct child *c = inst->child;

	inst->child = NULL;		/* done() may start the next one */
	enter(inst);
	inst->ops->done(inst->priv, status, out, size);
	leave(inst, "done");
	child_free(c);
}

static int offer_run(struct clusterd_inst *inst, const char *const argv[], const char *const env[],
		     int timeout_ms)
{
	struct child_params p = {
		.event = inst->host->event, .name = inst->section, .argv = argv, .env = env,
		.timeout_ms = timeout_ms, .quota = &inst->child_quota, .done = on_done, .arg = inst,
	};
	int r;

	if (inst->child)
		return -EBUSY;
	if (!inst->ops->done || inst->doomed)
		return -EINVAL;
	r = child_run(&inst->child, &p);
	if (r < 0 && r != inst->run_error)	/* once, not once per look */
		offer_log(inst, LOG_ERR, "%.200s cannot be run: %s", argv[0] ? argv[0] : "",
			  child_error_str(argv[0] ? argv[0] : "", r));
	inst->run_error = r;
	return r;
}

static int64_t offer_connections(struct clusterd_inst *inst, const char *service)
{
	const struct host *h = inst->host;

	return h->ops && h->ops->connections && service ? h->ops->connections(h->arg, service) : -1;
}

static unsigned int offer_capacity(struct clusterd_inst *inst)
{
	return inst->host->capacity;
}

/* ---- instances ---- */

/* Nothing of ours calls the plugin after this. */
static void drop_sources(struct clusterd_inst *inst)
{
	size_t i;

	for (i = 0; i < WATCHES_MAX; i++)
		watch_end(&inst->watch[i]);
	inst->timer = sd_event_source_disable_unref(inst->timer);
	child_free(inst->child);
	inst->child = NULL;
}

static int on_retry(sd_event_source *s, uint64_t usec, void *arg);

/* 0 or the plugin's error, then it is tried again. */
static int try_open(struct clusterd_inst *inst)
{
	int r;

	enter(inst);
	r = inst->ops->open(&inst->priv, &inst->host->offer, inst, inst->opt, inst->n_opt);
	if (r >= 0)
		inst->open = true;
	else
		drop_sources(inst);	/* it should have left nothing behind */
	if (!leave(inst, "open"))
		return 0;		/* cannot happen: nothing is reported before it is open */
	if (r >= 0) {
		inst->retry = sd_event_source_disable_unref(inst->retry);
		if (inst->open_error)
			log_msg(LOG_NOTICE, "plugin", "%s: open now", inst->section);
		inst->open_error = 0;
		return 0;
	}
	if (r != inst->open_error)
		log_msg(LOG_ERR, "plugin", "%s: cannot be opened: %s; tried again every %d s", inst->section,
			strerror(-r), RETRY_MS / 1000);
	inst->open_error = r;
	inst->retry = sd_event_source_disable_unref(inst->retry);
	sd_event_add_time_relative(inst->host->event, &inst->retry, CLOCK_MONOTONIC, RETRY_MS * 1000ull,
				   100000, on_retry, inst);
	return r;
}

static int on_retry(sd_event_source *s, uint64_t usec, void *arg)
{
	try_open(arg);
	return 0;
}

/* The texts follow the table in one piece of memory. */
static struct clusterd_option *copy_options(const struct clusterd_option *opt, size_t n)
{
	size_t size = n * sizeof(*opt), i;
	struct clusterd_option *copy;
	char *text;

	for (i = 0; i < n; i++)
		size += strlen(opt[i].key) + strlen(opt[i].value) + 2;
	copy = malloc(size + 1);
	if (!copy)
		return NULL;
	text = (char *)(copy + n);
	for (i = 0; i < n; i++) {
		copy[i].key = text;
		text = stpcpy(text, opt[i].key) + 1;
		copy[i].value = text;
		text = stpcpy(text, opt[i].value) + 1;
	}
	return copy;
}

int host_open(struct host *h, struct clusterd_inst **out, const struct host_open *p)
{
	struct clusterd_inst *inst = calloc(1, sizeof(*inst));
	size_t i;

	assert(p->plugin->kind == CLUSTERD_MONITOR || p->plugin->kind == CLUSTERD_CHECK);
	*out = NULL;
	if (!inst)
		return -ENOMEM;
	inst->opt = copy_options(p->opt, p->n_opt);
	if (!inst->opt) {
		free(inst);
		return -ENOMEM;
	}
	inst->n_opt = p->n_opt;
	inst->host = h;
	inst->kind = p->plugin->kind;
	inst->ops = p->plugin->observer;
	inst->tag = p->tag;
	inst->report = p->report;
	inst->fact = p->fact;
	inst->arg = p->arg;
	snprintf(inst->section, sizeof(inst->section), "%s", p->section);
	for (i = 0; i < WATCHES_MAX; i++)
		inst->watch[i].fd = -1;
	inst->next = h->inst;
	h->inst = inst;
	*out = inst;
	return try_open(inst);
}

static void inst_free(struct clusterd_inst *inst)
{
	struct clusterd_inst **p = &inst->host->inst;

	while (*p != inst)
		p = &(*p)->next;
	*p = inst->next;
	drop_sources(inst);
	inst->retry = sd_event_source_disable_unref(inst->retry);
	inst->doomed = true;		/* its last words are not heard, its last wishes not granted */
	if (inst->open) {
		inst->open = false;
		enter(inst);
		inst->ops->close(inst->priv);
		clock_stop(inst);
		say_blocked(inst, "close");
	}
	free(inst->opt);
	free(inst);
}

void host_close(struct clusterd_inst *inst)
{
	if (!inst)
		return;
	if (inst->depth) {
		inst->doomed = true;
		inst->wanted = false;
		return;
	}
	inst_free(inst);
}

bool host_is_open(const struct clusterd_inst *inst)
{
	return inst->open;
}

void host_start(struct clusterd_inst *inst, int timeout_ms)
{
	char why[WHY_SIZE];

	if (inst->doomed)
		return;
	if (inst->depth) {		/* its user asks the next question while it still talks */
		inst->start_again = timeout_ms > 0 ? timeout_ms : 1;
		return;
	}
	inst->wanted = true;
	if (inst->open) {
		enter(inst);
		inst->ops->start(inst->priv, timeout_ms);
		leave(inst, "start");
	} else if (inst->kind == CLUSTERD_CHECK) {
		snprintf(why, sizeof(why), "cannot be opened: %s", strerror(-inst->open_error));
		enter(inst);
		offer_report(inst, CLUSTERD_DEAD, why);
		inst->start_again = 0;		/* asking again at once would go round for ever */
		leave(inst, "start");
	}
}

void host_stop(struct clusterd_inst *inst)
{
	inst->start_again = 0;
	inst->wanted = false;
	if (!inst->open || !inst->ops->stop || inst->doomed || inst->depth)
		return;			/* within a callback: it is answering, there is nothing to give up */
	enter(inst);
	inst->ops->stop(inst->priv);
	leave(inst, "stop");
}

uint64_t host_cpu_us(const struct clusterd_inst *inst)
{
	return (uint64_t)inst->cpu_ns / 1000;
}

/* ---- the host ---- */

int host_new(struct host **out, sd_event *event, unsigned int capacity_percent,
	     const struct host_ops *ops, void *arg)
{
	struct host *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->event = event;
	h->capacity = capacity_percent;
	h->ops = ops;
	h->arg = arg;
	h->offer = (struct clusterd_host) {
		.size = sizeof(h->offer), .log = offer_log, .now_ms = offer_now_ms, .watch = offer_watch,
		.timer = offer_timer, .report = offer_report, .fact = offer_fact, .run = offer_run,
		.connections = offer_connections, .capacity = offer_capacity,
	};
	*out = h;
	return 0;
}

void host_free(struct host *h)
{
	if (!h)
		return;
	while (h->inst) {
		assert(!h->inst->depth);
		inst_free(h->inst);
	}
	free(h);
}

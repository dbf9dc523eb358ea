/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'net': how much of an interface's speed is used.
 *
 * value = 1000 * max(received, sent) / (elapsed * speed * [node] capacity / 100), bytes by
 * /sys/class/net/INTERFACE/statistics between two looks.  Both ways have the whole speed, so the fuller
 * one counts.  The speed is 'speed' in Mbit/s, or what the driver says (/sys/class/net/INTERFACE/speed,
 * asked again once a minute: a link may come back slower).
 */

#include "monitor.h"

#define SPEED_MAX      1000000		/* Mbit/s */
#define SPEED_AGAIN_MS 60000
#define NAME_SIZE      16		/* IFNAMSIZ */

struct net {
	struct mon m;
	struct mon_file rx, tx, speed;	/* speed: closed if it is configured */
	uint64_t mbits, percent;
	int64_t at, speed_at;
	bool seen;
	uint64_t in, out;
	char name[NAME_SIZE];
};

static bool is_interface(const char *value)
{
	return *value && strlen(value) < NAME_SIZE && !strpbrk(value, "/ \t:") &&
	       strcmp(value, ".") != 0 && strcmp(value, "..") != 0;
}

static bool is_speed(const char *value)
{
	uint64_t x;

	return mon_whole(value, 1, SPEED_MAX, &x);
}

static const struct mon_key net_keys[] = {
	{ "interface", true, is_interface, "must be the name of an interface, such as eth0" },
	{ "speed", false, is_speed, "must be a number from 1 to 1000000: Mbit/s" },
};

static int net_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			size_t size)
{
	return mon_validate(net_keys, sizeof(net_keys) / sizeof(net_keys[0]), opt, n, bad, err, size);
}

static void net_close(void *priv)
{
	struct net *p = priv;

	mon_close(&p->rx);
	mon_close(&p->tx);
	mon_close(&p->speed);
	free(p);
}

/* What the driver says; "-1" and EINVAL: it does not know, or the link is down. */
static bool ask_speed(struct net *p)
{
	uint64_t x;

	if (mon_read_number(&p->speed, &x) < 0 || x < 1 || x > SPEED_MAX)
		return false;
	p->mbits = x;
	return true;
}

static int open_files(struct net *p)
{
	int r = mon_open_or_say(&p->m, &p->rx, "/sys/class/net/%s/statistics/rx_bytes", p->name);

	if (r == 0)
		r = mon_open_or_say(&p->m, &p->tx, "/sys/class/net/%s/statistics/tx_bytes", p->name);
	if (r < 0 || p->mbits)
		return r;
	mon_open(&p->speed, "/sys/class/net/%s/speed", p->name);
	if (ask_speed(p))
		return 0;
	p->m.host->log(p->m.inst, LOG_ERR,
		       "the speed of %s is not known: set 'speed' to its Mbit/s, or bring its link up", p->name);
	return -ENODATA;
}

static int net_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		    const struct clusterd_option *opt, size_t n)
{
	const char *speed = mon_option(opt, n, "speed"), *name = mon_option(opt, n, "interface");
	struct net *p = calloc(1, sizeof(*p));
	int r;

	if (!p || !name) {
		free(p);
		return p ? -EINVAL : -ENOMEM;
	}
	p->m.host = host;
	p->m.inst = inst;
	p->rx.fd = p->tx.fd = p->speed.fd = -1;
	snprintf(p->name, sizeof(p->name), "%s", name);
	if (speed)
		mon_whole(speed, 1, SPEED_MAX, &p->mbits);
	p->percent = host->capacity(inst);
	if (!p->percent)
		p->percent = 1;
	p->speed_at = host->now_ms(inst);
	r = open_files(p);
	if (r < 0) {
		net_close(p);
		return r;
	}
	*priv = p;
	return 0;
}

static void net_start(void *priv, int timeout_ms)
{
	struct net *p = priv;
	int64_t now = p->m.host->now_ms(p->m.inst), elapsed = mon_elapsed(p->seen, now, p->at);
	uint64_t in = 0, out = 0, more_in, more_out, most;
	char why[96];
	int r, value;

	(void)timeout_ms;
	if (elapsed == 0)
		return;
	r = mon_read_number(&p->rx, &in);
	if (r == 0)
		r = mon_read_number(&p->tx, &out);
	if (r < 0) {
		mon_trouble(&p->m, "the counters of %s cannot be read: %s", p->name,
			    r == -EPROTO ? "no numbers" : strerror(-r));
		p->seen = false;
		return;
	}
	if (p->speed.path[0] && (now < p->speed_at || now - p->speed_at >= SPEED_AGAIN_MS)) {
		ask_speed(p);
		p->speed_at = now;
	}
	if (elapsed > 0 && in >= p->in && out >= p->out) {
		more_in = mon_grown(in, p->in);
		more_out = mon_grown(out, p->out);
		most = more_in > more_out ? more_in : more_out;
		/* Mbit/s = 125 bytes per millisecond */
		value = mon_per_mille(most, p->mbits * 125 * p->percent / 100 * (uint64_t)elapsed);
		snprintf(why, sizeof(why), "%llu of %llu Mbit/s %s",
			 (unsigned long long)(most / 125 / (uint64_t)elapsed),
			 (unsigned long long)(p->mbits * p->percent / 100),
			 more_in > more_out ? "in" : "out");
		mon_report(&p->m, value, why);
	}
	p->in = in;
	p->out = out;
	p->at = now;
	p->seen = true;
}

static const struct clusterd_observer_ops net_ops = {
	.validate = net_validate,
	.open = net_open,
	.close = net_close,
	.start = net_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "net",
	.version = "1",
	.summary = "how much of an interface's speed is used",
	.observer = &net_ops,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-link: has the interface a carrier?
 *
 * One ioctl() says all, in the daemon's own network namespace (unlike /sys) and without the lock that
 * a netlink request waits for while others change interfaces: IFF_RUNNING is the operational state of
 * RFC 2863 (net/core/dev.c, dev_get_flags(): up, or unknown where a driver does not tell).
 */
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check_options.h"

struct link {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	int fd;
	char name[IFNAMSIZ];
};

static const struct check_rule rules[] = {
	{ "interface", CHECK_TEXT, 1, IFNAMSIZ - 1, false },
};

static int link_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t err_size)
{
	return check_options(rules, sizeof(rules) / sizeof(rules[0]), "link", opt, n, bad, err,
			     err_size);
}

static int link_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	const char *name = check_get_or(opt, n, "interface", "@interface");
	struct link *l;

	if (!name || strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->host = host;
	l->inst = inst;
	strcpy(l->name, name);
	l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0) {
		free(l);
		return -errno;
	}
	*priv = l;
	return 0;
}

static void link_close(void *priv)
{
	struct link *l = priv;

	close(l->fd);
	free(l);
}

static void link_start(void *priv, int timeout_ms)
{
	struct link *l = priv;
	struct ifreq ifr = { 0 };
	char why[64];

	strcpy(ifr.ifr_name, l->name);
	if (ioctl(l->fd, SIOCGIFFLAGS, &ifr) < 0)
		snprintf(why, sizeof(why), "%s: %s", l->name,
			 errno == ENODEV ? "no such interface" : strerror(errno));
	else if (!(ifr.ifr_flags & IFF_UP))
		snprintf(why, sizeof(why), "%s is down", l->name);
	else if (!(ifr.ifr_flags & IFF_RUNNING))
		snprintf(why, sizeof(why), "%s has no carrier", l->name);
	else
		return l->host->report(l->inst, CLUSTERD_FIT, NULL);
	l->host->report(l->inst, CLUSTERD_DEAD, why);
}

static const struct clusterd_observer_ops ops = {
	.validate = link_validate,
	.open = link_open,
	.close = link_close,
	.start = link_start,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = "link",
	.version = "1",
	.summary = "looks whether an interface has a carrier",
	.observer = &ops,
};

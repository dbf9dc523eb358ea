// SPDX-License-Identifier: GPL-2.0-or-later
#include "plug/registry.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "util/addr.h"

/* What the configuration and the plugins have to tell each other. */

#define WHY_SIZE 256		/* as conf_error.reason */

static size_t add_options(const struct conf_option *option, unsigned int n_options, size_t n,
			  struct clusterd_option *opt)
{
	unsigned int i;

	for (i = 0; i < n_options; i++)
		opt[n++] = (struct clusterd_option){ option[i].key, option[i].value };
	return n;
}

size_t registry_monitor_options(const struct conf_monitor *m,
				struct clusterd_option opt[REGISTRY_OPTIONS_MAX])
{
	return add_options(m->option, m->n_options, 0, opt);
}

size_t registry_check_options(const struct conf *c, const struct conf_check *k, const char *interface,
			      struct registry_buf *buf,
			      struct clusterd_option opt[REGISTRY_OPTIONS_MAX])
{
	int i = conf_service_by_name(c, k->service);
	const struct conf_service *s = i >= 0 ? &c->service[i] : NULL;
	const char *proto = "";

	buf->address[0] = buf->port[0] = '\0';
	if (s && s->n_vips)
		addr_str(&s->vip[0], buf->address);
	if (s && s->n_ports) {
		snprintf(buf->port, sizeof(buf->port), "%u", s->port[0].lo);
		proto = s->port[0].proto == IPPROTO_TCP ? "tcp" : "udp";
	}
	opt[0] = (struct clusterd_option){ "@service", k->service };
	opt[1] = (struct clusterd_option){ "@address", buf->address };
	opt[2] = (struct clusterd_option){ "@port", buf->port };
	opt[3] = (struct clusterd_option){ "@proto", proto };
	opt[4] = (struct clusterd_option){ "@interface", interface };
	return add_options(k->option, k->n_options, 5, opt);
}

static unsigned int line_of(const struct conf_option *option, unsigned int n, const char *key)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (strcmp(option[i].key, key) == 0)
			return option[i].line;
	return 0;
}

/* One section; 'own': its options in the file, for their lines. */
static bool check_section(enum clusterd_kind kind, const char *type, const char *section,
			  const struct clusterd_option *opt, size_t n, const struct conf_option *own,
			  unsigned int n_own, struct conf_errors *errs)
{
	const struct clusterd_plugin *p;
	char why[WHY_SIZE] = "";
	const char *bad = NULL;
	unsigned int line = 0;

	p = registry_find(kind, type, why, sizeof(why));
	if (!p) {
		conf_errors_add(errs, 0, section, "type", "%s", why);
		return false;
	}
	if (p->observer->validate(opt, n, &bad, why, sizeof(why)) == 0)
		return true;
	why[sizeof(why) - 1] = '\0';
	/* What is in front of the options came from the service. */
	if (bad && bad[0] == '@')
		bad = "service";
	if (bad)
		line = line_of(own, n_own, bad);
	if (!line && !bad && n_own)
		line = own[0].line;
	conf_errors_add(errs, line, section, bad, "%s",
			why[0] ? why : "is refused by the plugin, which does not say why");
	return false;
}

/* Plugins do not know the services: one that does not exist would be a monitor that never says a thing. */
static bool check_service(const struct conf *c, const struct conf_monitor *m, const char *section,
			  struct conf_errors *errs)
{
	unsigned int i;

	for (i = 0; i < m->n_options; i++) {
		if (strcmp(m->type, "conn") != 0 || strcmp(m->option[i].key, "service") != 0 ||
		    conf_service_by_name(c, m->option[i].value) >= 0)
			continue;
		conf_errors_add(errs, m->option[i].line, section, "service",
				"there is no section [service %s]; give the name of a service",
				m->option[i].value);
		return false;
	}
	return true;
}

bool registry_check_conf(const struct conf *c, struct conf_errors *errs)
{
	struct clusterd_option opt[REGISTRY_OPTIONS_MAX];
	struct registry_buf buf;
	char section[NAME_SIZE + 16], why[WHY_SIZE];
	unsigned int i;
	bool ok = true;
	size_t n;

	for (i = 0; i < c->n_monitors; i++) {
		const struct conf_monitor *m = &c->monitor[i];

		snprintf(section, sizeof(section), "monitor %s", m->name);
		n = registry_monitor_options(m, opt);
		ok &= check_section(CLUSTERD_MONITOR, m->type, section, opt, n, m->option, m->n_options, errs);
		ok &= check_service(c, m, section, errs);
	}
	for (i = 0; i < c->n_checks; i++) {
		const struct conf_check *k = &c->check[i];

		snprintf(section, sizeof(section), "check %s", k->name);
		n = registry_check_options(c, k, "", &buf, opt);
		ok &= check_section(CLUSTERD_CHECK, k->type, section, opt, n, k->option, k->n_options, errs);
	}
	for (i = 0; i < c->n_services; i++) {
		const struct conf_service *s = &c->service[i];

		if (strcmp(s->weights, "static") == 0 ||
		    registry_find(CLUSTERD_POLICY, s->weights, why, sizeof(why)))
			continue;
		snprintf(section, sizeof(section), "service %s", s->name);
		conf_errors_add(errs, 0, section, "weights", "%s", why);
		ok = false;
	}
	return ok;
}

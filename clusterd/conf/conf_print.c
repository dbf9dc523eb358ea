// SPDX-License-Identifier: GPL-2.0-or-later
/* struct conf -> canonical text, differences, digest. */
#include "conf/conf_table.h"

#include <stdlib.h>
#include <string.h>

/*
 * One line.  A value that came in quotes has none of these inside, and one that came without does
 * not begin with one: there is always a way to write it.
 */
static void print_pair(const char *key, const char *text, FILE *out)
{
	size_t len = strlen(text);
	const char *quote = "";

	if (strpbrk(text, ";#") || strchr("\"' \t", *text) || strchr(" \t\\", text[len - 1]))
		quote = strchr(text, '"') ? "'" : "\"";
	fprintf(out, "%-14s = %s%s%s\n", key, quote, text, quote);
}

static void print_options(const struct conf_option *opt, unsigned int n, FILE *out)
{
	for (unsigned int i = 0; i < n; i++)
		print_pair(opt[i].key, opt[i].value, out);
}

static void print_section(enum conf_kind kind, const char *name, const void *base, FILE *out)
{
	char section[SECTION_SIZE], text[VALUE_SIZE];

	fprintf(out, "[%s]\n", conf_section(section, kind, name));
	for (unsigned int i = 0; i < conf_table_len; i++) {
		const struct conf_key *k = &conf_table[i];

		if (k->kind != kind)
			continue;
		conf_value_text(k, base, text);
		if (*text)		/* no interface, no action: said by leaving it out */
			print_pair(k->key, text, out);
	}
}

void conf_print(const struct conf *c, FILE *out)
{
	print_section(KIND_CLUSTER, "", c, out);
	for (unsigned int i = 0; i < c->n_services; i++) {
		fputc('\n', out);
		print_section(KIND_SERVICE, c->service[i].name, &c->service[i], out);
	}
	for (unsigned int i = 0; i < c->n_nodes; i++) {
		fputc('\n', out);
		print_section(KIND_NODE, c->node[i].name, &c->node[i], out);
	}
	for (unsigned int i = 0; i < c->n_monitors; i++) {
		fputc('\n', out);
		print_section(KIND_MONITOR, c->monitor[i].name, &c->monitor[i], out);
		print_options(c->monitor[i].option, c->monitor[i].n_options, out);
	}
	for (unsigned int i = 0; i < c->n_checks; i++) {
		fputc('\n', out);
		print_section(KIND_CHECK, c->check[i].name, &c->check[i], out);
		print_options(c->check[i].option, c->check[i].n_options, out);
	}
}

struct diff {
	void (*cb)(void *arg, const char *section, const char *key, const char *old_text,
		   const char *new_text, bool live);
	void *arg;
	unsigned int n;
};

static void diff_tell(struct diff *d, const char *section, const char *key, const char *old_text,
		      const char *new_text, bool live)
{
	d->n++;
	if (d->cb)
		d->cb(d->arg, section, key, *old_text ? old_text : "-",
		      *new_text ? new_text : "-", live);
}

static void diff_section(struct diff *d, enum conf_kind kind, const char *name, const void *old,
			 const void *new)
{
	char section[SECTION_SIZE], old_text[VALUE_SIZE], new_text[VALUE_SIZE];

	conf_section(section, kind, name);
	for (unsigned int i = 0; i < conf_table_len; i++) {
		const struct conf_key *k = &conf_table[i];

		if (k->kind != kind)
			continue;
		conf_value_text(k, old, old_text);
		conf_value_text(k, new, new_text);
		if (strcmp(old_text, new_text))
			diff_tell(d, section, k->key, old_text, new_text, k->live);
	}
}

static void diff_options(struct diff *d, enum conf_kind kind, const char *name,
			 const struct conf_option *old, unsigned int n_old,
			 const struct conf_option *new, unsigned int n_new)
{
	char section[SECTION_SIZE];

	conf_section(section, kind, name);
	for (unsigned int i = 0; i < n_old; i++) {
		const struct conf_option *to = conf_option_find(new, n_new, old[i].key);

		if (!to || strcmp(to->value, old[i].value))
			diff_tell(d, section, old[i].key, old[i].value, to ? to->value : "", true);
	}
	for (unsigned int i = 0; i < n_new; i++)
		if (!conf_option_find(old, n_old, new[i].key))
			diff_tell(d, section, new[i].key, "", new[i].value, true);
}

/* A section that only one of the two has. */
static void diff_whole(struct diff *d, enum conf_kind kind, const char *name, bool added)
{
	char section[SECTION_SIZE];

	diff_tell(d, conf_section(section, kind, name), "", added ? "" : "present",
		  added ? "present" : "", conf_kind_takes_options(kind));
}

static const struct conf_monitor *monitor_find(const struct conf *c, const char *name)
{
	for (unsigned int i = 0; i < c->n_monitors; i++)
		if (!strcmp(c->monitor[i].name, name))
			return &c->monitor[i];
	return NULL;
}

static void diff_monitors(struct diff *d, const struct conf *old, const struct conf *new)
{
	for (unsigned int i = 0; i < old->n_monitors; i++) {
		const struct conf_monitor *from = &old->monitor[i];
		const struct conf_monitor *to = monitor_find(new, from->name);

		if (!to) {
			diff_whole(d, KIND_MONITOR, from->name, false);
			continue;
		}
		diff_section(d, KIND_MONITOR, from->name, from, to);
		diff_options(d, KIND_MONITOR, from->name, from->option, from->n_options,
			     to->option, to->n_options);
	}
	for (unsigned int i = 0; i < new->n_monitors; i++)
		if (!monitor_find(old, new->monitor[i].name))
			diff_whole(d, KIND_MONITOR, new->monitor[i].name, true);
}

static const struct conf_check *check_find(const struct conf *c, const char *name)
{
	for (unsigned int i = 0; i < c->n_checks; i++)
		if (!strcmp(c->check[i].name, name))
			return &c->check[i];
	return NULL;
}

static void diff_checks(struct diff *d, const struct conf *old, const struct conf *new)
{
	for (unsigned int i = 0; i < old->n_checks; i++) {
		const struct conf_check *from = &old->check[i], *to = check_find(new, from->name);

		if (!to) {
			diff_whole(d, KIND_CHECK, from->name, false);
			continue;
		}
		diff_section(d, KIND_CHECK, from->name, from, to);
		diff_options(d, KIND_CHECK, from->name, from->option, from->n_options,
			     to->option, to->n_options);
	}
	for (unsigned int i = 0; i < new->n_checks; i++)
		if (!check_find(old, new->check[i].name))
			diff_whole(d, KIND_CHECK, new->check[i].name, true);
}

unsigned int conf_diff(const struct conf *old, const struct conf *new,
		       void (*cb)(void *arg, const char *section, const char *key,
				  const char *old_text, const char *new_text, bool live),
		       void *arg)
{
	struct diff d = { .cb = cb, .arg = arg };
	bool same_set = old->n_services == new->n_services, moved = false;

	diff_section(&d, KIND_CLUSTER, "", old, new);
	for (unsigned int i = 0; i < old->n_services; i++) {
		const char *name = old->service[i].name;
		int at = conf_service_by_name(new, name);

		if (at >= 0)
			diff_section(&d, KIND_SERVICE, name, &old->service[i], &new->service[at]);
		else
			diff_whole(&d, KIND_SERVICE, name, false);
		same_set &= at >= 0;
		moved |= at != (int)i;
	}
	for (unsigned int i = 0; i < new->n_services; i++) {
		const char *name = new->service[i].name;

		if (conf_service_by_name(old, name) < 0)
			diff_whole(&d, KIND_SERVICE, name, true);
	}
	/* Services are known by their position in tables and messages. */
	if (same_set && moved)
		diff_tell(&d, "service", "", "in this order", "in another order", false);
	for (unsigned int i = 0; i < old->n_nodes; i++) {
		const char *name = old->node[i].name;
		unsigned int id = conf_node_by_name(new, name);

		if (id != NOBODY)	/* else 'nodes' differs and has been told */
			diff_section(&d, KIND_NODE, name, &old->node[i], &new->node[id - 1]);
	}
	diff_monitors(&d, old, new);
	diff_checks(&d, old, new);
	return d.n;
}

/* FNV-1a, 64 bits, over the NUL-terminated texts, so that "a" "bc" is not "ab" "c". */
static void digest_text(uint64_t *h, const char *text)
{
	do {
		*h ^= (uint8_t)*text;
		*h *= UINT64_C(0x100000001b3);
	} while (*text++);
}

static bool is_digested(const struct conf_key *k)
{
	static const char *const local[] = { "token", "key_file", "accelerate", "interface" };

	/* What a reload can change is told through the group, and may differ for a while. */
	if (k->live)
		return false;
	for (size_t i = 0; i < sizeof(local) / sizeof(*local); i++)
		if (!strcmp(k->key, local[i]))
			return false;
	return true;
}

static void digest_section(uint64_t *h, enum conf_kind kind, const void *base)
{
	char text[VALUE_SIZE];

	for (unsigned int i = 0; i < conf_table_len; i++) {
		const struct conf_key *k = &conf_table[i];

		if (k->kind != kind || !is_digested(k))
			continue;
		digest_text(h, k->key);
		digest_text(h, conf_value_text(k, base, text));
	}
}

uint64_t conf_digest(const struct conf *c)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	digest_section(&h, KIND_CLUSTER, c);
	for (unsigned int i = 0; i < c->n_services; i++) {
		digest_text(&h, c->service[i].name);
		digest_section(&h, KIND_SERVICE, &c->service[i]);
	}
	return h;
}

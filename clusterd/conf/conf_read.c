// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text -> struct conf.  iniparser (4.1 in Debian 12) finds the values, but it knows no line
 * numbers, merges repeated sections and keys without a word, lowers the case of section names,
 * drops what follows a closing quote, joins lines at a trailing backslash (comments too), takes no
 * comment after a section header and gives up altogether on lines of 1024 bytes.  So a scan goes
 * over the text first: it notes where everything is, complains about all of the above, and writes
 * the lines that are sound to a file in memory, which iniparser reads.
 */
#include "conf/conf_table.h"

#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <iniparser.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE_SIZE_MAX 1000		/* below iniparser's 1024 */
#define FILE_SIZE_MAX (1024 * 1024)

struct item {
	unsigned int line;
	enum conf_kind kind;
	char section[SECTION_SIZE];	/* "service web" */
	char key[64];			/* "": the section's header */
	char *value;			/* what we expect iniparser to find; NULL for a header */
};

struct conf_scan {
	struct item *item;
	unsigned int n, room;
	struct conf_report *r;
	FILE *out;			/* for iniparser */
	enum conf_kind kind;		/* of the current section */
	char section[SECTION_SIZE];	/* the current section, "" before the first */
	bool ignore;			/* the current section is wrong as a whole */
	bool repeated;			/* it was there before: its keys are not used */
	bool failed;			/* out of memory */
};

static void add_error(struct conf_report *r, unsigned int line, const char *section,
		      const char *key, const char *fmt, va_list ap)
{
	struct conf_errors *errs = r->errs;
	struct conf_error *e;

	if (errs->n++ >= CONF_ERRORS_MAX)
		return;
	e = &errs->e[errs->n - 1];
	e->line = line;
	snprintf(e->section, sizeof(e->section), "%s", section);
	snprintf(e->key, sizeof(e->key), "%s", key);
	vsnprintf(e->reason, sizeof(e->reason), fmt, ap);
	/* The text may quote any bytes; a terminal must not obey them. */
	for (char *p = e->reason; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
}

void conf_errors_add(struct conf_errors *errs, unsigned int line, const char *section,
		     const char *key, const char *fmt, ...)
{
	struct conf_report r = { .errs = errs };
	va_list ap;

	va_start(ap, fmt);
	add_error(&r, line, section, key ? key : "", fmt, ap);
	va_end(ap);
}

void conf_complain_at(struct conf_report *r, unsigned int line, const char *section,
		      const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_error(r, line, section, key, fmt, ap);
	va_end(ap);
}

void conf_complain(struct conf_report *r, const char *section, const char *key,
		   const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_error(r, conf_scan_line(r->scan, section, key), section, key, fmt, ap);
	va_end(ap);
}

bool conf_is_bad(const struct conf_report *r, const char *section, const char *key)
{
	for (unsigned int i = 0; i < r->errs->n && i < CONF_ERRORS_MAX; i++)
		if (!strcasecmp(r->errs->e[i].section, section) &&
		    !strcasecmp(r->errs->e[i].key, key))
			return true;
	return false;
}

static const struct item *scan_find(const struct conf_scan *s, const char *section, const char *key)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (!strcasecmp(s->item[i].section, section) && !strcasecmp(s->item[i].key, key))
			return &s->item[i];
	return NULL;
}

unsigned int conf_scan_line(const struct conf_scan *s, const char *section, const char *key)
{
	const struct item *it = NULL;

	if (s)
		it = scan_find(s, section, key);
	if (s && !it)
		it = scan_find(s, section, "");
	return it ? it->line : 0;
}

static void scan_add(struct conf_scan *s, unsigned int line, const char *key, const char *value)
{
	struct item *it;

	if (s->n == s->room) {
		unsigned int room = s->room ? 2 * s->room : 64;
		struct item *bigger = realloc(s->item, room * sizeof(*bigger));

		if (!bigger) {
			s->failed = true;
			return;
		}
		s->item = bigger;
		s->room = room;
	}
	it = &s->item[s->n++];
	*it = (struct item){ .line = line, .kind = s->kind };
	strcpy(it->section, s->section);
	snprintf(it->key, sizeof(it->key), "%s", key);
	if (!value)
		return;
	it->value = strdup(value);
	if (!it->value)
		s->failed = true;
}

static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

/* "[service web] ; comment" */
static void scan_header(struct conf_scan *s, unsigned int line, char *text)
{
	char *close = strchr(text, ']'), *rest, *kind, *name;
	const struct item *before;
	const char *flaw;

	s->ignore = true;
	if (!close) {
		snprintf(s->section, sizeof(s->section), "%.60s", text + 1);
		conf_complain_at(s->r, line, "", "", "section header has no ']'; write [cluster], "
				 "[service NAME], ...");
		return;
	}
	*close = '\0';
	rest = trim(close + 1);
	kind = trim(text + 1);
	snprintf(s->section, sizeof(s->section), "%.60s", kind);
	if (*rest && *rest != ';' && *rest != '#')
		conf_complain_at(s->r, line, s->section, "",
				 "text after ']'; begin a comment with ; or take it out");
	name = kind + strcspn(kind, " \t");
	if (*name)
		*name++ = '\0';
	name = trim(name);
	for (s->kind = KIND_CLUSTER; s->kind <= KIND_LAST; s->kind++)
		if (!strcasecmp(kind, conf_kind_str(s->kind)))
			break;
	if (s->kind > KIND_LAST) {
		conf_complain_at(s->r, line, s->section, "", "unknown section; there are [cluster], "
				 "[service NAME], [node NAME], [monitor NAME] and [check NAME]");
		return;
	}
	flaw = s->kind == KIND_CLUSTER ? NULL : conf_name_flaw(name);
	if (s->kind == KIND_CLUSTER && *name) {
		conf_complain_at(s->r, line, s->section, "",
				 "takes no name here; write [cluster] and name = %.40s in it",
				 name);
		return;
	}
	if (flaw) {
		conf_complain_at(s->r, line, s->section, "", "name '%.40s' %s; write [%s NAME]",
				 name, flaw, conf_kind_str(s->kind));
		return;
	}
	conf_section(s->section, s->kind, name);
	before = scan_find(s, s->section, "");
	s->ignore = false;
	s->repeated = before != NULL;
	if (before) {
		conf_complain_at(s->r, line, s->section, "", "section is in line %u already%s; "
				 "merge the two",
				 before->line, strcmp(before->section, s->section) ?
				 " (upper and lower case are the same here)" : "");
		return;
	}
	scan_add(s, line, "", NULL);
	fprintf(s->out, "[%s]", s->section);
}

/*
 * The end of the value at 'text' by iniparser's rules: quotes to the next quote, else up to ; or #.
 * NULL and a complaint if iniparser would lose some of it.  '*inner' is the value without quotes.
 */
static char *value_end(struct conf_scan *s, unsigned int line, const char *key, char *text,
		       char **inner)
{
	char *end, *rest;

	*inner = text;
	if (*text != '"' && *text != '\'')
		return text + strcspn(text, ";#");
	end = strchr(text + 1, *text);
	if (!end) {
		conf_complain_at(s->r, line, s->section, key, "no closing quote; add it or take "
				 "the opening one out");
		return NULL;
	}
	rest = end + 1;
	while (isspace((unsigned char)*rest))
		rest++;
	if (*rest && *rest != ';' && *rest != '#') {
		conf_complain_at(s->r, line, s->section, key,
				 "text after the closing quote; begin a comment with ; or take "
				 "it out");
		return NULL;
	}
	*inner = text + 1;
	return end;
}

/* What is not ours is for the plugin, which refuses what it does not know itself. */
static bool scan_option(struct conf_scan *s, unsigned int line, const char *key)
{
	const char *p = key;

	while (isalnum((unsigned char)*p) || *p == '_' || *p == '-')
		p++;
	if (*p)
		conf_complain_at(s->r, line, s->section, key, "'%.40s' has characters other than "
				 "letters, digits, '_' and '-', and so no plugin has it as a key",
				 key);
	else if (p - key >= NAME_SIZE)
		conf_complain_at(s->r, line, s->section, key, "key is longer than %d characters",
				 NAME_SIZE - 1);
	return !*p && p - key < NAME_SIZE;
}

/* Is 'key' one of this section's?  Complains if not. */
static bool scan_known(struct conf_scan *s, unsigned int line, const char *key)
{
	const struct conf_key *near;

	if (conf_key_find(s->kind, key))
		return true;
	if (conf_kind_takes_options(s->kind))
		return scan_option(s, line, key);
	near = conf_key_nearest(s->kind, key);
	if (near) {
		conf_complain_at(s->r, line, s->section, key, "unknown key; did you mean '%s'?",
				 near->key);
		return false;
	}
	for (enum conf_kind k = KIND_CLUSTER; k <= KIND_LAST; k++) {
		near = conf_key_nearest(k, key);
		if (!near)
			continue;
		conf_complain_at(s->r, line, s->section, key, "unknown key here; '%s' "
				 "belongs in [%s%s]",
				 near->key, conf_kind_str(k), k == KIND_CLUSTER ? "" : " NAME");
		return false;
	}
	conf_complain_at(s->r, line, s->section, key,
			 "unknown key; clusterd.ini(5) lists the keys of [%s]",
			 conf_kind_str(s->kind));
	return false;
}

/* "key = value ; comment" */
static void scan_pair(struct conf_scan *s, unsigned int line, char *text)
{
	char *equals = strchr(text, '='), *comment = strpbrk(text, ";#");
	char *key, *value, *end, *inner;
	const struct item *before;

	if (!*s->section) {
		conf_complain_at(s->r, line, "", "", "'%.40s' stands before the first [section]; "
				 "move it into one", text);
		return;
	}
	if (s->ignore)
		return;
	if (!equals || (comment && comment < equals)) {
		conf_complain_at(s->r, line, s->section, "", "'%.40s' has no '='; write key = "
				 "value, or begin a comment with ;", text);
		return;
	}
	*equals = '\0';
	key = trim(text);
	value = trim(equals + 1);
	if (!*key) {
		conf_complain_at(s->r, line, s->section, "", "no key before '='; write key = "
				 "value");
		return;
	}
	if (!scan_known(s, line, key))
		return;
	before = scan_find(s, s->section, key);
	if (before || s->repeated) {
		if (before)
			conf_complain_at(s->r, line, s->section, key,
					 "key is in line %u already; keep one of them",
					 before->line);
		return;
	}
	end = value_end(s, line, key, value, &inner);
	if (!end) {
		scan_add(s, line, key, "");
		return;
	}
	if (inner != value) {
		fprintf(s->out, "%s = %.*s", key, (int)(end + 1 - value), value);
		*end = '\0';
	} else {
		*end = '\0';
		inner = trim(value);
		if (*inner && inner[strlen(inner) - 1] == '\\') {
			conf_complain_at(s->r, line, s->section, key, "value ends with a \\, which "
					 "does not join lines here; take it out, or put the value "
					 "into quotes");
			*inner = '\0';
		}
		fprintf(s->out, "%s = %s", key, inner);
	}
	scan_add(s, line, key, inner);
}

/* The key of the line if it is one of the section's, else "". */
static const char *line_key(const struct conf_scan *s, const char *text)
{
	char key[64];
	size_t len = strspn(text, " \t"), end = len + strcspn(text + len, "= \t");
	const struct conf_key *k = NULL;

	if (*s->section && !s->ignore && strchr(text, '=') && end - len < sizeof(key)) {
		snprintf(key, sizeof(key), "%.*s", (int)(end - len), text + len);
		k = conf_key_find(s->kind, key);
	}
	return k ? k->key : "";
}

/* Bytes that iniparser, a terminal or a C string would treat in their own way. */
static bool scan_bytes(struct conf_scan *s, unsigned int line, const char *text, size_t size)
{
	const char *p = text + strspn(text, " \t"), *key = line_key(s, text);
	bool comment = *p == ';' || *p == '#';
	char quote = 0;

	if (memchr(text, '\0', size)) {
		conf_complain_at(s->r, line, s->section, key,
				 "line has a NUL byte; is this a text file?");
		return false;
	}
	if (!comment && size > LINE_SIZE_MAX) {
		conf_complain_at(s->r, line, s->section, key, "line has %zu bytes and %u is the "
				 "most; use shorter names or leave blanks out",
				 size, LINE_SIZE_MAX);
		return false;
	}
	for (; *p && !comment; p++) {
		unsigned char b = (unsigned char)*p;

		if (b == quote)
			quote = 0;
		else if (!quote && (b == '"' || b == '\''))
			quote = (char)b;	/* a ; in quotes begins no comment */
		comment = !quote && (b == ';' || b == '#');
		if (comment || b == '\t' || (b >= ' ' && b <= '~'))
			continue;
		conf_complain_at(s->r, line, s->section, key, "byte 0x%02x is not allowed outside "
				 "comments; use plain ASCII", b);
		return false;
	}
	return true;
}

static void scan_line(struct conf_scan *s, unsigned int line, const char *text, size_t size)
{
	char *body;

	if (size && text[size - 1] == '\r')	/* written elsewhere: harmless */
		size--;
	body = malloc(size + 1);
	if (!body) {
		s->failed = true;
		return;
	}
	memcpy(body, text, size);
	body[size] = '\0';
	if (scan_bytes(s, line, body, size)) {
		char *start = trim(body);

		if (*start == '[')
			scan_header(s, line, start);
		else if (*start && *start != ';' && *start != '#')
			scan_pair(s, line, start);
	} else if (body[strspn(body, " \t")] == '[') {
		s->ignore = true;	/* do not blame what follows on the section before */
		snprintf(s->section, sizeof(s->section), "?");
	} else {
		const char *key = line_key(s, body);

		/* It is there, if unreadable: not "missing" as well. */
		if (*key && !scan_find(s, s->section, key))
			scan_add(s, line, key, "");
	}
	free(body);
	fputc('\n', s->out);
}

static void scan(struct conf_scan *s, const char *text, size_t size)
{
	unsigned int line = 1;
	size_t at = 0;

	if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		conf_complain_at(s->r, 1, "", "", "file begins with a UTF-8 byte order mark; save "
				 "it without");
		at = 3;
	}
	for (; at < size; line++) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t len = newline ? (size_t)(newline - (text + at)) : size - at;

		scan_line(s, line, text + at, len);
		at += len + 1;
	}
}

/* iniparser writes to stderr otherwise. */
static int silent(const char *fmt, ...)
{
	return 0;
}

/*
 * Parses the keys of one section; what the section does not give gets its default.  'base' is the
 * struct that the table's offsets of 'kind' count from.
 */
static void read_section(struct conf_report *r, const dictionary *d, enum conf_kind kind,
			 const char *section, void *base)
{
	char path[SECTION_SIZE + 64];

	for (unsigned int i = 0; i < conf_table_len; i++) {
		const struct conf_key *k = &conf_table[i];
		const struct item *it;
		const char *value;

		if (k->kind != kind)
			continue;
		if (k->def && *k->def)
			conf_value_parse(k, base, k->def, section, r);
		it = r->scan ? scan_find(r->scan, section, k->key) : NULL;
		if (!it) {
			if (!k->def && !conf_is_bad(r, section, k->key))
				conf_complain(r, section, k->key, "missing, and it has no "
					      "default: %s",
					      k->meaning);
			continue;
		}
		if (conf_is_bad(r, section, k->key) && !*it->value)
			continue;	/* the scan could not make out the value and said so */
		snprintf(path, sizeof(path), "%s:%s", section, k->key);
		value = iniparser_getstring(d, path, NULL);
		if (!value || strcmp(value, it->value))
			conf_complain(r, section, k->key, "cannot be read as written; write the "
				      "value without quotes or unusual characters");
		else
			conf_value_parse(k, base, value, section, r);
	}
}

/* One key for a plugin; false and a complaint if it cannot be passed on. */
static bool read_option(struct conf_report *r, const dictionary *d, const struct item *it,
			struct conf_option *opt)
{
	char path[SECTION_SIZE + 64];
	const char *value;
	size_t i;

	snprintf(path, sizeof(path), "%s:%s", it->section, it->key);
	value = iniparser_getstring(d, path, NULL);
	if (!*it->value) {
		conf_complain(r, it->section, it->key, "no value; give one or take the line out");
	} else if (!value || strcmp(value, it->value)) {
		conf_complain(r, it->section, it->key, "cannot be read as written; write the value "
			      "without quotes or unusual characters");
	} else if (strlen(value) >= sizeof(opt->value)) {
		conf_complain(r, it->section, it->key, "value is too long; %zu characters is the "
			      "most", sizeof(opt->value) - 1);
	} else {
		for (i = 0; it->key[i]; i++)
			opt->key[i] = (char)tolower((unsigned char)it->key[i]);
		opt->key[i] = '\0';
		strcpy(opt->value, value);
		opt->line = it->line;
		return true;
	}
	return false;
}

/* The keys of a section that belong to its plugin, in the order of the file. */
static unsigned int read_options(struct conf_report *r, const dictionary *d, const char *section,
				 struct conf_option opt[CONF_OPTIONS_MAX])
{
	const struct conf_scan *s = r->scan;
	struct conf_option extra;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n; i++) {
		const struct item *it = &s->item[i];
		bool full = n == CONF_OPTIONS_MAX;

		if (!*it->key || strcasecmp(it->section, section) ||
		    conf_key_find(it->kind, it->key) || conf_is_bad(r, section, it->key) ||
		    !read_option(r, d, it, full ? &extra : &opt[n]))
			continue;
		if (full)
			conf_complain(r, section, it->key, "one key too many for the plugin of a "
				      "section; %d is the most", CONF_OPTIONS_MAX);
		else
			n++;
	}
	return n;
}

static void read_monitors(struct conf *c, struct conf_report *r, const dictionary *d)
{
	const struct conf_scan *s = r->scan;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n; i++) {
		struct conf_monitor *m = &c->monitor[c->n_monitors];
		const char *section = s->item[i].section, *name;

		if (s->item[i].kind != KIND_MONITOR || *s->item[i].key || ++n > MONITORS_MAX)
			continue;
		name = section + strlen("monitor ");
		strcpy(m->name, name);
		c->n_monitors++;
		read_section(r, d, KIND_MONITOR, section, m);
		m->n_options = read_options(r, d, section, m->option);
		if (*m->type || conf_is_bad(r, section, "type"))
			continue;
		if (conf_id_flaw(name))
			conf_complain(r, section, "type", "missing, and no plugin is named '%s', "
				      "which %s; say which one it is", name, conf_id_flaw(name));
		else
			strcpy(m->type, name);
	}
	if (n > MONITORS_MAX)
		conf_complain_at(r, 0, "", "", "%u monitors are too many; %d is the most", n,
				 MONITORS_MAX);
}

static void read_checks(struct conf *c, struct conf_report *r, const dictionary *d)
{
	const struct conf_scan *s = r->scan;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n; i++) {
		struct conf_check *k = &c->check[c->n_checks];
		const char *section = s->item[i].section;

		if (s->item[i].kind != KIND_CHECK || *s->item[i].key || ++n > CHECKS_MAX)
			continue;
		strcpy(k->name, section + strlen("check "));
		c->n_checks++;
		read_section(r, d, KIND_CHECK, section, k);
		k->n_options = read_options(r, d, section, k->option);
		if (!k->timeout_ms)
			k->timeout_ms = k->interval_ms / 2;
	}
	if (n > CHECKS_MAX)
		conf_complain_at(r, 0, "", "", "%u checks are too many; %d is the most", n,
				 CHECKS_MAX);
}

static void read_nodes(struct conf *c, struct conf_report *r, const dictionary *d)
{
	const struct conf_scan *s = r->scan;
	const char *name;
	struct conf_node ignored;
	unsigned int id;

	for (unsigned int i = 0; i < c->n_nodes; i++) {
		for (unsigned int k = 0; k < conf_table_len; k++)
			if (conf_table[k].kind == KIND_NODE)
				conf_value_parse(&conf_table[k], &c->node[i], conf_table[k].def,
						 "node", r);
	}
	for (unsigned int i = 0; i < s->n; i++) {
		if (s->item[i].kind != KIND_NODE || *s->item[i].key)
			continue;
		name = s->item[i].section + strlen("node ");
		id = conf_node_by_name(c, name);
		if (id == NOBODY && !conf_is_bad(r, "cluster", "nodes"))
			conf_complain_at(r, s->item[i].line, s->item[i].section, "", "[cluster] "
					 "nodes has no node '%s'; add it there or take this section "
					 "out", name);
		/* Its keys are checked in any case. */
		read_section(r, d, KIND_NODE, s->item[i].section,
			     id == NOBODY ? &ignored : &c->node[id - 1]);
	}
}

static void read_services(struct conf *c, struct conf_report *r, const dictionary *d)
{
	const struct conf_scan *s = r->scan;
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n; i++) {
		struct conf_service *sv = &c->service[c->n_services];

		if (s->item[i].kind != KIND_SERVICE || *s->item[i].key)
			continue;
		if (++n > SERVICES_MAX)
			continue;
		strcpy(sv->name, s->item[i].section + strlen("service "));
		c->n_services++;
		read_section(r, d, KIND_SERVICE, s->item[i].section, sv);
	}
	if (n > SERVICES_MAX)
		conf_complain_at(r, 0, "", "", "%u services are too many; %u is the most", n,
				 SERVICES_MAX);
}

/* By line; what has no line comes last.  Few entries, and the order of equals must stay. */
static void sort_errors(struct conf_errors *errs)
{
	unsigned int n = errs->n < CONF_ERRORS_MAX ? errs->n : CONF_ERRORS_MAX;

	for (unsigned int i = 1; i < n; i++) {
		struct conf_error e = errs->e[i];
		unsigned int j = i;

		for (; j && e.line - 1 < errs->e[j - 1].line - 1; j--)	/* 0 - 1 is the largest */
			errs->e[j] = errs->e[j - 1];
		errs->e[j] = e;
	}
}

static int fail(struct conf_report *r, int err, const char *what)
{
	conf_complain_at(r, 0, "", "", "%s: %s", what, strerror(-err));
	return err;
}

/* Gives the lines that are sound to iniparser. */
static int scan_and_load(struct conf_scan *s, const char *text, size_t size, dictionary **d)
{
	int fd = memfd_create("clusterd.ini", MFD_CLOEXEC), err = -EIO;
	char path[64];

	if (fd < 0)
		return -errno;
	s->out = fdopen(fd, "w");
	if (!s->out) {
		err = -errno;
		close(fd);
		return err;
	}
	scan(s, text, size);
	if (s->failed)
		err = -ENOMEM;
	else if (!fflush(s->out) && !ferror(s->out)) {
		/* iniparser_load() takes a name only. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		iniparser_set_error_callback(silent);
		*d = iniparser_load(path);
		iniparser_set_error_callback(NULL);
		err = *d ? 0 : -EIO;
	}
	fclose(s->out);
	return err;
}

int conf_parse(struct conf *c, const char *text, size_t size, const char *path,
	       struct conf_errors *errs)
{
	struct conf_report r = { .errs = errs };
	struct conf_scan s = { .r = &r };
	dictionary *d = NULL;
	int err;

	memset(c, 0, sizeof(*c));
	errs->n = 0;
	if (size > FILE_SIZE_MAX)
		return fail(&r, -EFBIG, "cannot be a configuration");
	r.scan = &s;
	err = scan_and_load(&s, text, size, &d);
	if (err) {
		fail(&r, err, "cannot be parsed (is /proc mounted?)");
		goto out;
	}
	read_section(&r, d, KIND_CLUSTER, "cluster", c);
	read_services(c, &r, d);
	read_nodes(c, &r, d);
	read_monitors(c, &r, d);
	read_checks(c, &r, d);
	conf_check(c, &r);
	sort_errors(errs);
	err = errs->n ? -EINVAL : 0;
out:
	if (d)
		iniparser_freedict(d);
	for (unsigned int i = 0; i < s.n; i++)
		free(s.item[i].value);
	free(s.item);
	return err;
}

int conf_read(struct conf *c, const char *path, struct conf_errors *errs)
{
	struct conf_report r = { .errs = errs };
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	int err;

	errs->n = 0;
	if (!f)
		return fail(&r, -errno, "cannot be opened");
	text = malloc(FILE_SIZE_MAX + 1);
	if (!text) {
		err = fail(&r, -ENOMEM, "cannot be read");
		goto out;
	}
	errno = 0;
	size = fread(text, 1, FILE_SIZE_MAX + 1, f);
	if (ferror(f)) {
		err = fail(&r, errno ? -errno : -EIO, "cannot be read");
		goto out;
	}
	err = conf_parse(c, text, size, path, errs);
out:
	free(text);
	fclose(f);
	return err;
}

void conf_errors_print(const struct conf_errors *errs, const char *path, FILE *out)
{
	for (unsigned int i = 0; i < errs->n && i < CONF_ERRORS_MAX; i++) {
		const struct conf_error *e = &errs->e[i];

		fprintf(out, "%s:", path);
		if (e->line)
			fprintf(out, "%u:", e->line);
		if (*e->section)
			fprintf(out, " [%s]", e->section);
		fprintf(out, "%s%s%s %s\n", *e->key ? " " : "", e->key,
			*e->section || *e->key ? ":" : "", e->reason);
	}
	if (errs->n > CONF_ERRORS_MAX)
		fprintf(out, "%s: and %u more\n", path, errs->n - CONF_ERRORS_MAX);
}

static unsigned int node_by_addr(const struct conf *c, const struct sockaddr *sa)
{
	struct addr a = { 0 };

	if (sa->sa_family == AF_INET)
		memcpy(a.b, &((const struct sockaddr_in *)sa)->sin_addr, 4);
	else if (sa->sa_family == AF_INET6)
		memcpy(a.b, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	else
		return NOBODY;
	a.family = (uint8_t)sa->sa_family;
	for (unsigned int i = 0; i < c->n_nodes; i++)
		if (!addr_cmp(&c->node[i].addr, &a))
			return i + 1;
	return NOBODY;
}

unsigned int conf_local_node(const struct conf *c, char interface[IFNAME_SIZE], const char **why)
{
	unsigned int found = NOBODY, id;
	struct ifaddrs *list;

	if (getifaddrs(&list)) {
		*why = "the kernel's addresses cannot be read";
		return NOBODY;
	}
	*why = "no address of [cluster] nodes is an address of this machine";
	for (struct ifaddrs *ifa = list; ifa; ifa = ifa->ifa_next) {
		id = ifa->ifa_addr ? node_by_addr(c, ifa->ifa_addr) : NOBODY;
		if (id == NOBODY || id == found)
			continue;
		if (found != NOBODY) {
			*why = "this machine has the addresses of more than one of [cluster] nodes";
			found = NOBODY;
			break;
		}
		found = id;
		if (interface)
			snprintf(interface, IFNAME_SIZE, "%s", ifa->ifa_name);
	}
	freeifaddrs(list);
	return found;
}

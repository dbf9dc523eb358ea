// SPDX-License-Identifier: GPL-2.0-or-later
/* Values: text -> member of a struct, and back. */
#include "conf/conf_table.h"

#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

/* What one value's parser needs, so that each takes the text only. */
struct ctx {
	const struct conf_key *k;
	const char *section;
	struct conf_report *r;
};

#define COMPLAIN(x, ...) conf_complain((x)->r, (x)->section, (x)->k->key, __VA_ARGS__)

/*
 * Digits only, at least one, to '*end' (or to the end of the text if 'end' is NULL).  Numbers that
 * do not fit become one that is out of every range, in any unit, and does not overflow.
 */
static bool digits(const char *text, uint64_t *v, const char **end)
{
	const char *p = text;

	for (*v = 0; isdigit((unsigned char)*p); p++)
		*v = *v > UINT32_MAX ? UINT64_C(1) << 40 : *v * 10 + (uint64_t)(*p - '0');
	if (p == text || (!end && *p))
		return false;
	if (end)
		*end = p;
	return true;
}

static void time_text(char *buf, size_t size, uint32_t ms)
{
	if (ms % 1000)
		snprintf(buf, size, "%ums", ms);
	else
		snprintf(buf, size, "%us", ms / 1000);
}

const char *conf_name_flaw(const char *name)
{
	size_t len = strlen(name);

	if (!len)
		return "is empty";
	if (len >= NAME_SIZE)
		return "is longer than 31 characters";
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return "has characters other than letters, digits, '.', '_' and '-'";
	return NULL;
}

const char *conf_id_flaw(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= NAME_SIZE)
		return len ? "is longer than 31 characters" : "is empty";
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return "has characters other than a to z, 0 to 9 and '-'";
	return NULL;
}

static void store_number(const struct conf_key *k, void *base, uint32_t v)
{
	uint8_t *to = (uint8_t *)base + k->offset;
	uint16_t v16 = (uint16_t)v;

	assert(k->size == sizeof(v) || k->size == sizeof(v16));
	if (k->size == sizeof(v16))
		memcpy(to, &v16, sizeof(v16));
	else
		memcpy(to, &v, sizeof(v));
}

static uint32_t load_number(const struct conf_key *k, const void *base)
{
	const uint8_t *from = (const uint8_t *)base + k->offset;
	uint16_t v16;
	uint32_t v;

	if (k->size == sizeof(v16)) {
		memcpy(&v16, from, sizeof(v16));
		return v16;
	}
	memcpy(&v, from, sizeof(v));
	return v;
}

static void parse_number(const struct ctx *x, void *base, const char *text)
{
	const struct conf_key *k = x->k;
	bool power = k->type == TYPE_POWER_OF_TWO;
	uint64_t v;

	if (!digits(text, &v, NULL)) {
		COMPLAIN(x, "'%.60s' is not a whole number; use %s%u to %u", text,
			 power ? "a power of two from " : "", k->min, k->max);
	} else if (v < k->min || v > k->max) {
		COMPLAIN(x, "%.60s is out of range; use %s%u to %u", text,
			 power ? "a power of two from " : "", k->min, k->max);
	} else if (power && (v & (v - 1))) {
		uint64_t below = k->min;

		while (below * 2 <= v)
			below *= 2;
		COMPLAIN(x, "%.20s is not a power of two; use %u or %u", text, (unsigned int)below,
			 (unsigned int)below * 2);
	} else {
		store_number(k, base, (uint32_t)v);
	}
}

static void parse_time(const struct ctx *x, void *base, const char *text)
{
	static const struct { const char *unit; uint32_t ms; } units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 },
	};
	char min[16], max[16];
	const char *unit;
	uint64_t v;

	if (!digits(text, &v, &unit)) {
		COMPLAIN(x, "'%.60s' is not a time; write a whole number and ms, s or m, as in %s",
			 text, x->k->def);
		return;
	}
	if (!*unit) {
		COMPLAIN(x, "%.20s has no unit; write %.20sms, %.20ss or %.20sm",
			 text, text, text, text);
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(unit, units[i].unit))
			continue;
		v *= units[i].ms;
		if (v >= x->k->min && v <= x->k->max) {
			store_number(x->k, base, (uint32_t)v);
			return;
		}
		time_text(min, sizeof(min), x->k->min);
		time_text(max, sizeof(max), x->k->max);
		COMPLAIN(x, "%.60s is out of range; use %s to %s", text, min, max);
		return;
	}
	COMPLAIN(x, "'%.60s' is not a unit of time; use ms, s or m", unit);
}

static void parse_word(const struct ctx *x, void *base, const char *text)
{
	char known[128] = "";
	size_t len = 0;

	for (const struct conf_word *w = x->k->words; w->text; w++) {
		if (!strcmp(w->text, text)) {
			store_number(x->k, base, w->value);
			return;
		}
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
					!len ? "" : w[1].text ? ", " : " or ", w->text);
	}
	COMPLAIN(x, "'%.60s' is not known here; use %s", text, known);
}

/* True if nodes and VIPs may have that address. */
static bool usable(const struct ctx *x, const struct addr *a, const char *text)
{
	if (addr_is_special(a)) {
		COMPLAIN(x, "%.60s is an unspecified, loopback, multicast or broadcast address; "
			 "use an address of the network", text);
		return false;
	}
	if (a->family == AF_INET6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80) {
		COMPLAIN(x, "%.60s is link-local and means nothing without an interface; "
			 "use a global or unique local address", text);
		return false;
	}
	return true;
}

static bool parse_addr(const struct ctx *x, struct addr *a, const char *text)
{
	if (addr_parse(a, text)) {
		COMPLAIN(x, "'%.60s' is not a numeric IPv4 or IPv6 address (no names, no /prefix)",
			 text);
		return false;
	}
	return usable(x, a, text);
}

static void parse_tiebreak(const struct ctx *x, struct conf *c, const char *text)
{
	struct addr a;

	if (!strcmp(text, "none")) {
		c->tiebreak = TIEBREAK_NONE;
	} else if (!strcmp(text, "lowest")) {
		c->tiebreak = TIEBREAK_LOWEST;
	} else if (addr_parse(&a, text)) {
		COMPLAIN(x, "'%.60s' is not known here; use none, lowest or the numeric address of "
			 "a witness", text);
	} else if (usable(x, &a, text)) {
		c->tiebreak = TIEBREAK_WITNESS;
		c->witness = a;
	}
}

static void parse_node(const struct ctx *x, struct conf *c, char *item)
{
	char *equals = strchr(item, '='), *addr, *end;
	const char *flaw;
	struct addr a;

	if (!equals) {
		COMPLAIN(x, "'%.60s' has no address; write name=address", item);
		return;
	}
	*equals = '\0';
	for (end = equals; end > item && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	for (addr = equals + 1; isspace((unsigned char)*addr);)
		addr++;
	flaw = conf_name_flaw(item);
	if (flaw)
		COMPLAIN(x, "node name '%.40s' %s", item, flaw);
	if (!parse_addr(x, &a, addr) || flaw)
		return;
	if (c->n_nodes < NODES_MAX) {
		struct conf_node *n = &c->node[c->n_nodes++];

		strcpy(n->name, item);
		n->addr = a;
	}
}

static void parse_vip(const struct ctx *x, struct conf_service *s, char *item)
{
	struct addr a;

	if (parse_addr(x, &a, item) && s->n_vips < VIPS_MAX)
		s->vip[s->n_vips++] = a;
}

static void parse_port(const struct ctx *x, struct conf_service *s, char *item)
{
	struct conf_port p = { .proto = IPPROTO_TCP };
	const char *rest = item + 4;
	uint64_t lo, hi;

	if (!strncmp(item, "udp/", 4)) {
		p.proto = IPPROTO_UDP;
	} else if (strncmp(item, "tcp/", 4)) {
		COMPLAIN(x, "'%.60s' does not begin with tcp/ or udp/; write, say, tcp/80", item);
		return;
	}
	if (!digits(rest, &lo, &rest))
		goto syntax;
	hi = lo;
	if (*rest == '-' && !digits(rest + 1, &hi, &rest))
		goto syntax;
	if (*rest)
		goto syntax;
	if (lo < 1 || hi < 1 || lo > 65535 || hi > 65535) {
		COMPLAIN(x, "'%.60s' is out of range; ports go from 1 to 65535", item);
	} else if (hi < lo) {
		COMPLAIN(x, "'%.60s' is reversed; write %.4s%u-%u", item, item, (unsigned int)hi,
			 (unsigned int)lo);
	} else if (s->n_ports < PORTS_MAX) {
		p.lo = (uint16_t)lo;
		p.hi = (uint16_t)hi;
		s->port[s->n_ports++] = p;
	}
	return;
syntax:
	COMPLAIN(x, "'%.60s' is not a port; write %.4sN or %.4sN-M", item, item, item);
}

/* Cuts a comma list and hands each item on, without blanks around it. */
static void parse_list(const struct ctx *x, void *base, const char *text)
{
	char copy[2048], *item = copy, *comma, *end;
	unsigned int n = 0;

	assert(strlen(text) < sizeof(copy));	/* a line is shorter: conf_read.c */
	strcpy(copy, text);
	for (; item; item = comma ? comma + 1 : NULL) {
		comma = strchr(item, ',');
		end = comma ? comma : item + strlen(item);
		while (end > item && isspace((unsigned char)end[-1]))
			end--;
		*end = '\0';
		while (isspace((unsigned char)*item))
			item++;
		n++;
		if (!*item)
			COMPLAIN(x, "item %u of the list is empty; take a comma out", n);
		else if (x->k->type == TYPE_NODES)
			parse_node(x, base, item);
		else if (x->k->type == TYPE_VIPS)
			parse_vip(x, base, item);
		else
			parse_port(x, base, item);
	}
	if (n > x->k->max)
		COMPLAIN(x, "%u items are too many; %u is the most", n, x->k->max);
}

static void parse_interface(const struct ctx *x, void *base, const char *text)
{
	/* What the kernel's dev_valid_name() allows. */
	if (strlen(text) >= IFNAME_SIZE)
		COMPLAIN(x, "'%.40s' is too long; interface names have at most %u characters", text,
			 IFNAME_SIZE - 1);
	else if (strpbrk(text, "/: \t") || !strcmp(text, ".") || !strcmp(text, ".."))
		COMPLAIN(x, "'%.60s' cannot be an interface; give one name, as in eth0", text);
	else
		strcpy((char *)base + x->k->offset, text);
}

static bool parse_path(const struct ctx *x, char *to, size_t size, const char *text)
{
	if (*text != '/')
		COMPLAIN(x, "'%.60s' is not an absolute path; begin with /", text);
	else if (strlen(text) >= size)
		COMPLAIN(x, "path is too long; %zu characters is the most", size - 1);
	else
		strcpy(to, text);
	return *text == '/' && strlen(text) < size;
}

static bool parse_program(const struct ctx *x, char *to, size_t size, const char *text)
{
	if (!strpbrk(text, " \t"))
		return parse_path(x, to, size, text);
	COMPLAIN(x, "'%.60s' has a blank, and programs are run without arguments here; put them into "
		 "a script", text);
	return false;
}

static void parse_exec(const struct ctx *x, void *base, const char *text)
{
	if (strncmp(text, "exec:", 5))
		COMPLAIN(x, "'%.60s' does not begin with exec:; write exec:/the/program", text);
	else
		parse_program(x, (char *)base + x->k->offset, x->k->size, text + 5);
}

/* systemd.unit(5): characters of names, and the types of unit that mean something here. */
static bool parse_unit(const struct ctx *x, char to[CONF_TEXT], const char *unit)
{
	static const char *const types[] = {
		".service", ".socket", ".target", ".timer", ".mount", ".path",
	};
	size_t len = strlen(unit);

	if (len >= CONF_TEXT) {
		COMPLAIN(x, "name of the unit is too long; %d characters is the most", CONF_TEXT - 1);
		return false;
	}
	for (const char *p = unit; *p; p++) {
		if (isalnum((unsigned char)*p) || strchr(":-_.@", *p))
			continue;
		COMPLAIN(x, "'%.60s' cannot be a unit because of '%c'; give one name, as in "
			 "restart:nginx.service", unit, *p);
		return false;
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		size_t n = strlen(types[i]);

		if (len > n && !strcmp(unit + len - n, types[i])) {
			strcpy(to, unit);
			return true;
		}
	}
	COMPLAIN(x, "'%.60s' does not end in the type of a unit; write its whole name, as in "
		 "restart:nginx.service", unit);
	return false;
}

static void parse_action(const struct ctx *x, struct conf_check *c, const char *text)
{
	if (!strncmp(text, "restart:", 8)) {
		if (parse_unit(x, c->action_arg, text + 8))
			c->action = ACTION_RESTART;
	} else if (!strncmp(text, "exec:", 5)) {
		if (parse_program(x, c->action_arg, sizeof(c->action_arg), text + 5))
			c->action = ACTION_EXEC;
	} else {
		COMPLAIN(x, "'%.60s' is not known here; use restart:UNIT or exec:/the/program", text);
	}
}

/* It becomes a Location header (RFC 9110, 10.2.2) and the link of a page: nothing breaks out. */
static void parse_redirect(const struct ctx *x, struct conf_service *s, const char *url)
{
	size_t scheme = !strncasecmp(url, "http://", 7) ? 7 : !strncasecmp(url, "https://", 8) ? 8 : 0;

	if (!*url)
		COMPLAIN(x, "redirect needs a URL; write redirect http://other.example/");
	else if (!scheme)
		COMPLAIN(x, "'%.60s' does not begin with http:// or https://", url);
	else if (!isalnum((unsigned char)url[scheme]) && url[scheme] != '[')
		COMPLAIN(x, "'%.60s' has no host; write redirect http://other.example/", url);
	else if (strpbrk(url, " \t\"'<>`{}|^\\"))
		COMPLAIN(x, "URL has the character '%c', which URLs cannot have; encode it, as in "
			 "%%20", *strpbrk(url, " \t\"'<>`{}|^\\"));
	else if (strlen(url) >= sizeof(s->sorry_url))
		COMPLAIN(x, "URL is too long; %zu characters is the most", sizeof(s->sorry_url) - 1);
	else
		strcpy(s->sorry_url, url);
	if (*s->sorry_url)
		s->sorry = SORRY_REDIRECT;
}

static void parse_sorry(const struct ctx *x, struct conf_service *s, const char *text)
{
	size_t word = strcspn(text, " \t");

	if (word == strlen("redirect") && !strncmp(text, "redirect", word)) {
		text += word;
		parse_redirect(x, s, text + strspn(text, " \t"));
		return;
	}
	for (const struct conf_word *w = x->k->words; w->text; w++)
		if (!strcmp(w->text, text)) {
			s->sorry = w->value;
			return;
		}
	COMPLAIN(x, "'%.60s' is not known here; use reset, drop or redirect URL", text);
}

static void parse_id(const struct ctx *x, void *base, const char *text)
{
	const char *flaw = conf_id_flaw(text);

	if (flaw)
		COMPLAIN(x, "'%.40s' %s, and so no plugin has it as its name", text, flaw);
	else
		strcpy((char *)base + x->k->offset, text);
}

void conf_value_parse(const struct conf_key *k, void *base, const char *text,
		      const char *section, struct conf_report *r)
{
	const struct ctx ctx = { k, section, r }, *x = &ctx;
	const char *flaw;

	if (!*text) {
		COMPLAIN(x, "no value; give one%s", k->def ? " or take the line out" : "");
		return;
	}
	switch (k->type) {
	case TYPE_NAME:
		flaw = conf_name_flaw(text);
		if (flaw)
			COMPLAIN(x, "name '%.40s' %s", text, flaw);
		else
			strcpy((char *)base + k->offset, text);
		break;
	case TYPE_NODES:
	case TYPE_VIPS:
	case TYPE_PORTS:
		parse_list(x, base, text);
		break;
	case TYPE_NUMBER:
	case TYPE_POWER_OF_TWO:
		parse_number(x, base, text);
		break;
	case TYPE_TIME:
		parse_time(x, base, text);
		break;
	case TYPE_WORD:
		parse_word(x, base, text);
		break;
	case TYPE_TIEBREAK:
		parse_tiebreak(x, base, text);
		break;
	case TYPE_INTERFACE:
		parse_interface(x, base, text);
		break;
	case TYPE_PATH:
		parse_path(x, (char *)base + k->offset, k->size, text);
		break;
	case TYPE_ID:
		parse_id(x, base, text);
		break;
	case TYPE_EXEC:
		parse_exec(x, base, text);
		break;
	case TYPE_ACTION:
		parse_action(x, base, text);
		break;
	case TYPE_SORRY:
		parse_sorry(x, base, text);
		break;
	}
}

static void append(char buf[VALUE_SIZE], size_t *len, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char buf[VALUE_SIZE], size_t *len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	*len += (size_t)vsnprintf(buf + *len, VALUE_SIZE - *len, fmt, ap);
	va_end(ap);
	assert(*len < VALUE_SIZE);
}

static void nodes_text(const struct conf *c, char buf[VALUE_SIZE])
{
	char a[ADDR_STR];
	size_t len;

	/* With blanks if the line stays readable for iniparser (1024 bytes), else without. */
	for (unsigned int blank = 1;; blank = 0) {
		len = 0;
		for (unsigned int i = 0; i < c->n_nodes; i++)
			append(buf, &len, "%s%s=%s", !i ? "" : blank ? ", " : ",", c->node[i].name,
			       addr_str(&c->node[i].addr, a));
		if (!blank || len < 900)
			return;
	}
}

static void ports_text(const struct conf_service *s, char buf[VALUE_SIZE])
{
	size_t len = 0;

	for (unsigned int i = 0; i < s->n_ports; i++) {
		const struct conf_port *p = &s->port[i];

		append(buf, &len, "%s%s/%u", i ? ", " : "",
		       p->proto == IPPROTO_UDP ? "udp" : "tcp", p->lo);
		if (p->hi != p->lo)
			append(buf, &len, "-%u", p->hi);
	}
}

static void tiebreak_text(const struct conf *c, char buf[VALUE_SIZE])
{
	switch (c->tiebreak) {
	case TIEBREAK_NONE:
		strcpy(buf, "none");
		break;
	case TIEBREAK_LOWEST:
		strcpy(buf, "lowest");
		break;
	case TIEBREAK_WITNESS:
		addr_str(&c->witness, buf);
		break;
	}
}

static void action_text(const struct conf_check *c, char buf[VALUE_SIZE])
{
	switch (c->action) {
	case ACTION_NONE:
		break;
	case ACTION_RESTART:
		snprintf(buf, VALUE_SIZE, "restart:%s", c->action_arg);
		break;
	case ACTION_EXEC:
		snprintf(buf, VALUE_SIZE, "exec:%s", c->action_arg);
		break;
	}
}

const char *conf_value_text(const struct conf_key *k, const void *base, char buf[VALUE_SIZE])
{
	const struct conf_service *s = base;
	const struct conf_word *w = k->words;
	char a[ADDR_STR];
	size_t len = 0;

	*buf = '\0';
	switch (k->type) {
	case TYPE_NAME:
	case TYPE_INTERFACE:
	case TYPE_PATH:
	case TYPE_ID:
		append(buf, &len, "%s", (const char *)base + k->offset);
		break;
	case TYPE_NODES:
		nodes_text(base, buf);
		break;
	case TYPE_VIPS:
		for (unsigned int i = 0; i < s->n_vips; i++)
			append(buf, &len, "%s%s", i ? ", " : "", addr_str(&s->vip[i], a));
		break;
	case TYPE_PORTS:
		ports_text(s, buf);
		break;
	case TYPE_NUMBER:
	case TYPE_POWER_OF_TWO:
		append(buf, &len, "%u", load_number(k, base));
		break;
	case TYPE_TIME:
		time_text(buf, VALUE_SIZE, load_number(k, base));
		break;
	case TYPE_WORD:
		while (w->value != load_number(k, base))
			w++;
		strcpy(buf, w->text);
		break;
	case TYPE_TIEBREAK:
		tiebreak_text(base, buf);
		break;
	case TYPE_EXEC:
		if (((const char *)base)[k->offset])
			append(buf, &len, "exec:%s", (const char *)base + k->offset);
		break;
	case TYPE_ACTION:
		action_text(base, buf);
		break;
	case TYPE_SORRY:
		append(buf, &len, "%s%s%s", conf_sorry_str(s->sorry),
		       s->sorry == SORRY_REDIRECT ? " " : "", s->sorry_url);
		break;
	}
	return buf;
}

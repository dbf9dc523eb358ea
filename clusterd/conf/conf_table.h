/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CLUSTERD_CONF_CONF_TABLE_H
#define CLUSTERD_CONF_CONF_TABLE_H

/* What the files of conf/ share with each other; nobody else includes this. */

#include "conf/conf.h"

enum conf_kind { KIND_CLUSTER, KIND_SERVICE, KIND_NODE, KIND_MONITOR, KIND_CHECK };
#define KIND_LAST KIND_CHECK

enum conf_type {
	TYPE_NAME,		/* char[NAME_SIZE] */
	TYPE_NODES,		/* the node list of struct conf */
	TYPE_NUMBER,		/* uint16_t or uint32_t, min..max */
	TYPE_POWER_OF_TWO,	/* likewise */
	TYPE_TIME,		/* uint32_t milliseconds, min..max */
	TYPE_WORD,		/* an enum, one of 'words' */
	TYPE_TIEBREAK,		/* enum conf_tiebreak and the witness of struct conf */
	TYPE_VIPS,		/* the VIP list of struct conf_service */
	TYPE_PORTS,		/* the port list of struct conf_service */
	TYPE_INTERFACE,		/* char[IFNAME_SIZE], "" allowed as the default only */
	TYPE_PATH,		/* char[256], absolute */
	TYPE_ID,		/* char[NAME_SIZE]: a plugin's name */
	TYPE_EXEC,		/* char[CONF_TEXT]: the path of "exec:PATH"; "" as the default only */
	TYPE_ACTION,		/* enum conf_action and the argument of struct conf_check */
	TYPE_SORRY,		/* enum conf_sorry and the URL of struct conf_service */
};

struct conf_word {
	const char *text;	/* NULL ends the list */
	unsigned int value;
};

struct conf_key {
	enum conf_kind kind;
	const char *key;
	enum conf_type type;
	uint32_t min, max;
	const char *def;	/* NULL: the key must be given */
	bool live;		/* a reload applies it without a restart */
	size_t offset, size;	/* in the struct that 'kind' has: conf, conf_service, ... */
	const struct conf_word *words;	/* TYPE_WORD */
	const char *meaning;
};

extern const struct conf_key conf_table[];
extern const unsigned int conf_table_len;

const char *conf_kind_str(enum conf_kind kind);
const char *conf_type_str(enum conf_type type);

/* Do sections of that kind have keys that belong to a plugin? */
bool conf_kind_takes_options(enum conf_kind kind);

/* The key of that name (case does not count) in sections of 'kind', or NULL. */
const struct conf_key *conf_key_find(enum conf_kind kind, const char *key);

/* The key of sections of 'kind' that 'key' was probably meant to be, or NULL. */
const struct conf_key *conf_key_nearest(enum conf_kind kind, const char *key);

/*
 * Where complaints go.  'scan' finds the line that a section and key came from; NULL when there is
 * no text.
 */
struct conf_scan;
struct conf_report { struct conf_errors *errs; const struct conf_scan *scan; };

void conf_complain(struct conf_report *r, const char *section, const char *key,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void conf_complain_at(struct conf_report *r, unsigned int line, const char *section,
		      const char *key, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Has that key been complained about?  Then do not draw conclusions from its value. */
bool conf_is_bad(const struct conf_report *r, const char *section, const char *key);

/* The line of 'key' in 'section'; of the section if the key is not there; 0. */
unsigned int conf_scan_line(const struct conf_scan *scan, const char *section, const char *key);

/* "service web"; 'name' is "" for [cluster]. */
#define SECTION_SIZE 64
const char *conf_section(char buf[SECTION_SIZE], enum conf_kind kind, const char *name);

/*
 * Parses 'text' into the member of 'base' (struct conf, conf_service, ... by its kind) that 'k'
 * describes.  Complains about each thing that is wrong with it.
 */
void conf_value_parse(const struct conf_key *k, void *base, const char *text,
		      const char *section, struct conf_report *r);

/* The value as canonical text, room for the longest list included. */
#define VALUE_SIZE 8192
const char *conf_value_text(const struct conf_key *k, const void *base, char buf[VALUE_SIZE]);

/* Is it a name for a cluster, node, service ...?  NULL, or what is wrong with it. */
const char *conf_name_flaw(const char *name);
/* Likewise for the name of a plugin. */
const char *conf_id_flaw(const char *name);

/* The option of that name, or NULL. */
const struct conf_option *conf_option_find(const struct conf_option *opt, unsigned int n,
					   const char *key);

/* Rules that need more than one value.  Pure. */
void conf_check(const struct conf *c, struct conf_report *r);

#endif

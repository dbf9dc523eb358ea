// SPDX-License-Identifier: GPL-2.0-or-later
#include "plug/registry.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plug/builtin.h"

#define BUILT_IN "built in"
#define SYMBOL "clusterd_plugin"
#define WHY_SIZE 512
/* As it was when interface 1 began: members that come later are asked for by 'size'. */
#define SIZE_MIN (offsetof(struct clusterd_plugin, policy) + sizeof(void *))

static const char *plugin_dir;

const char *registry_kind_str(enum clusterd_kind kind)
{
	switch (kind) {
	case CLUSTERD_MONITOR: return "monitor";
	case CLUSTERD_CHECK: return "check";
	case CLUSTERD_POLICY: return "policy";
	}
	return "?";		/* a plugin may say anything */
}

void registry_set_dir(const char *dir)
{
	plugin_dir = dir;
}

static const char *directory(void)
{
	const char *env = secure_getenv("CLUSTERD_PLUGINDIR");

	return env && *env ? env : plugin_dir ? plugin_dir : PLUGINDIR;
}

/* It becomes part of a file's name, so it must not lead anywhere else. */
static bool name_ok(const char *name)
{
	return *name && strlen(name) < NAME_SIZE &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name);
}

static const char *observer_lacks(const struct clusterd_observer_ops *ops)
{
	return !ops ? "callbacks (observer)" : !ops->validate ? "validate()" : !ops->open ? "open()" :
	       !ops->close ? "close()" : !ops->start ? "start()" : NULL;
}

static const char *policy_lacks(const struct clusterd_policy_ops *ops)
{
	return !ops ? "callbacks (policy)" : !ops->factors ? "factors()" :
	       ops->interval_ms < 1000 ? "interval_ms of at least 1000" : NULL;
}

bool registry_check(const struct clusterd_plugin *p, enum clusterd_kind kind, const char *name,
		    const char *file, char *why, size_t why_size)
{
	const char *lacks;

	/* In this order: what comes later means something only if what comes before is right. */
	if (p->abi != CLUSTERD_PLUGIN_ABI) {
		snprintf(why, why_size, "%s: built for plugin interface %u, this clusterd has %u: "
			 "build it again", file, p->abi, CLUSTERD_PLUGIN_ABI);
		return false;
	}
	if (p->size > sizeof(*p)) {
		snprintf(why, why_size, "%s: built for a newer clusterd (descriptor of %u bytes, %zu here): "
			 "update clusterd or build it again", file, p->size, sizeof(*p));
		return false;
	}
	if (p->size < SIZE_MIN) {
		snprintf(why, why_size, "%s: its descriptor is too short (%u bytes of %zu): "
			 "'size' must be sizeof(struct clusterd_plugin)", file, p->size, SIZE_MIN);
		return false;
	}
	if (p->kind != kind) {
		snprintf(why, why_size, "%s: is a %s (kind %u), not a %s: "
			 "its file must be named after what it is", file,
			 registry_kind_str(p->kind), (unsigned int)p->kind, registry_kind_str(kind));
		return false;
	}
	if (!p->name || strcmp(p->name, name) != 0) {
		snprintf(why, why_size, "%s: calls itself '%.40s', not '%s': its file must be named after it",
			 file, p->name ? p->name : "", name);
		return false;
	}
	lacks = kind == CLUSTERD_POLICY ? policy_lacks(p->policy) : observer_lacks(p->observer);
	if (!lacks && (!p->version || !*p->version))
		lacks = "version";
	if (!lacks && !p->summary)
		lacks = "summary";
	if (lacks)
		snprintf(why, why_size, "%s: has no %s: ask who wrote it", file, lacks);
	return !lacks;
}

static const struct clusterd_plugin *find_builtin(enum clusterd_kind kind, const char *name)
{
	const struct clusterd_plugin *const *p;

	for (p = builtin_plugins; *p; p++)
		if ((*p)->kind == kind && (*p)->name && strcmp((*p)->name, name) == 0)
			return *p;
	return NULL;
}

/* The symbol, if it is as large as a descriptor: reading beyond it would be our fault. */
static const struct clusterd_plugin *descriptor(void *handle)
{
	const struct clusterd_plugin *p = dlsym(handle, SYMBOL);
	const ElfW(Sym) *sym = NULL;
	Dl_info info;

	if (!p || !dladdr1(p, &info, (void **)&sym, RTLD_DL_SYMENT) || !sym)
		return NULL;
	return sym->st_size >= SIZE_MIN ? p : NULL;
}

static const struct clusterd_plugin *load(enum clusterd_kind kind, const char *name, const char *file,
					  char *why, size_t why_size)
{
	const struct clusterd_plugin *p = NULL;
	void *handle;
	const char *text;

	handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		/* Names the file, or the library that it needs. */
		text = dlerror();
		if (text && strncmp(text, file, strlen(file)) == 0)
			snprintf(why, why_size, "%s: build it again or remove it", text);
		else
			snprintf(why, why_size, "%s: cannot be loaded: %s", file, text ? text : "unknown error");
		return NULL;
	}
	p = descriptor(handle);
	if (!p)
		snprintf(why, why_size, "%s: is no plugin of clusterd: it exports no constant '" SYMBOL "', "
			 "see clusterd-plugin(7)", file);
	else if (!registry_check(p, kind, name, file, why, why_size))
		p = NULL;
	/* What can be used stays until the end.  The rest may be mended and come again. */
	if (!p)
		dlclose(handle);
	return p;
}

/* ---- what there is ---- */

struct found {
	enum clusterd_kind kind;
	char name[NAME_SIZE];
	const struct clusterd_plugin *builtin;	/* NULL: a file */
};
struct list {
	struct found *entry;
	size_t n, size;
};

static void list_add(struct list *l, enum clusterd_kind kind, const char *name,
		     const struct clusterd_plugin *builtin)
{
	struct found *more;

	if (!name_ok(name))
		return;
	if (l->n == l->size) {
		more = realloc(l->entry, (l->size + 32) * sizeof(*more));
		if (!more)
			return;		/* a listing for people: shorter rather than none */
		l->entry = more;
		l->size += 32;
	}
	l->entry[l->n].kind = kind;
	l->entry[l->n].builtin = builtin;
	snprintf(l->entry[l->n++].name, NAME_SIZE, "%s", name);
}

static void list_add_file(struct list *l, const char *file)
{
	static const enum clusterd_kind kinds[] = { CLUSTERD_MONITOR, CLUSTERD_CHECK, CLUSTERD_POLICY };
	size_t len = strlen(file), i, k;
	char name[NAME_SIZE];

	if (len < 4 || strcmp(file + len - 3, ".so") != 0)
		return;
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		k = strlen(registry_kind_str(kinds[i]));
		if (strncmp(file, registry_kind_str(kinds[i]), k) == 0 && file[k] == '-' &&
		    len > k + 4 && len - k - 4 < NAME_SIZE) {
			snprintf(name, sizeof(name), "%.*s", (int)(len - k - 4), file + k + 1);
			list_add(l, kinds[i], name, NULL);
		}
	}
}

static int by_name(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (strcmp(x->name, y->name) != 0)
		return strcmp(x->name, y->name);
	return !x->builtin - !y->builtin;	/* the built-in one first: it is the one that is used */
}

static struct list list_make(void)
{
	struct list l = { 0 };
	const struct clusterd_plugin *const *p;
	struct dirent *e;
	DIR *dir;

	for (p = builtin_plugins; *p; p++)
		if ((*p)->name)
			list_add(&l, (*p)->kind, (*p)->name, *p);
	dir = opendir(directory());
	while (dir && (e = readdir(dir)))
		list_add_file(&l, e->d_name);
	if (dir)
		closedir(dir);
	if (l.n)
		qsort(l.entry, l.n, sizeof(l.entry[0]), by_name);
	return l;
}

static void say_names(enum clusterd_kind kind, char *why, size_t why_size)
{
	struct list l = list_make();
	size_t i, len = strlen(why);
	const char *last = "";

	if (kind == CLUSTERD_POLICY) {
		last = "static";		/* no plugin, but what one may say as well */
		len += (size_t)snprintf(why + len, why_size - len, "; there are: %s", last);
	}
	for (i = 0; i < l.n && len < why_size; i++) {
		if (l.entry[i].kind != kind || strcmp(l.entry[i].name, last) == 0)
			continue;
		len += (size_t)snprintf(why + len, why_size - len, "%s%s", *last ? ", " : "; there are: ",
					l.entry[i].name);
		last = l.entry[i].name;
	}
	free(l.entry);
}

/* ---- finding one ---- */

const struct clusterd_plugin *registry_find(enum clusterd_kind kind, const char *name, char *why,
					    size_t why_size)
{
	const struct clusterd_plugin *p;
	char file[PATH_MAX];

	if (!name_ok(name)) {
		snprintf(why, why_size, "'%.40s' cannot be the name of a plugin: it may have a-z, 0-9 and '-'",
			 name);
		return NULL;
	}
	p = find_builtin(kind, name);
	if (p)
		return registry_check(p, kind, name, BUILT_IN, why, why_size) ? p : NULL;

	snprintf(file, sizeof(file), "%s/%s-%s.so", directory(), registry_kind_str(kind), name);
	if (access(file, F_OK) == 0)
		return load(kind, name, file, why, why_size);
	if (errno == ENOENT || errno == ENOTDIR) {
		snprintf(why, why_size, "there is no %s '%s'", registry_kind_str(kind), name);
		say_names(kind, why, why_size);
	} else {
		snprintf(why, why_size, "%s: %s", file, strerror(errno));
	}
	return NULL;
}

void registry_list(void (*cb)(void *arg, const struct registry_entry *e), void *arg)
{
	struct list l = list_make();
	const struct clusterd_plugin *p;
	const struct found *f;
	char why[WHY_SIZE], file[PATH_MAX];
	size_t i;

	for (i = 0; i < l.n; i++) {
		struct registry_entry e = { .version = "", .summary = "", .file = file };

		f = &l.entry[i];
		why[0] = '\0';
		snprintf(file, sizeof(file), "%s/%s-%s.so", directory(), registry_kind_str(f->kind), f->name);
		p = f->builtin;
		if (p) {
			e.file = BUILT_IN;
			if (!registry_check(p, f->kind, f->name, BUILT_IN, why, sizeof(why)))
				p = NULL;
		} else if (find_builtin(f->kind, f->name)) {
			snprintf(why, sizeof(why), "not used: there is a built-in one of that name");
		} else {
			p = load(f->kind, f->name, file, why, sizeof(why));
		}
		e.kind = f->kind;
		e.name = f->name;
		if (p) {
			e.version = p->version;
			e.summary = p->summary;
		} else {
			e.why = why;
		}
		cb(arg, &e);
	}
	free(l.entry);
}

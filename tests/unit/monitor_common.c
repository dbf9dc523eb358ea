/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor_common.h"

#include <ftw.h>

char fake_root[64];
unsigned int fake_opens;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);

static const char *lead(const char *path, char *to, size_t size)
{
	if (strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/sys/", 5) != 0)
		return path;
	snprintf(to, size, "%s%s", fake_root, path);
	return to;
}

int __wrap_open(const char *path, int flags, ...)
{
	char to[2048];

	/* a root daemon that forks must not leave its files to others */
	assert_true(flags & O_CLOEXEC);
	fake_opens++;
	return __real_open(lead(path, to, sizeof(to)), flags);
}

int __wrap_access(const char *path, int mode)
{
	char to[2048];

	return __real_access(lead(path, to, sizeof(to)), mode);
}

/* ---- the host ---- */

__attribute__((format(printf, 3, 4)))
static void host_log(struct clusterd_inst *i, int priority, const char *fmt, ...)
{
	va_list ap;

	assert_in_range(priority, 0, 7);
	va_start(ap, fmt);
	vsnprintf(i->log, sizeof(i->log), fmt, ap);
	va_end(ap);
	assert_null(strchr(i->log, '\n'));
	i->logs++;
}

static int64_t host_now(struct clusterd_inst *i)
{
	return i->now;
}

static void host_report(struct clusterd_inst *i, int value, const char *why)
{
	assert_in_range(value, 0, 1000);
	assert_null(strchr(why, '\n'));
	i->value = value;
	snprintf(i->why, sizeof(i->why), "%s", why);
	i->reports++;
}

static void host_fact(struct clusterd_inst *i, enum clusterd_fact fact, uint64_t value)
{
	i->fact[fact] = value;
	i->has_fact[fact] = true;
}

static int host_run(struct clusterd_inst *i, const char *const argv[], const char *const env[],
		    int timeout_ms)
{
	assert_null(env);
	i->argv[0] = '\0';
	for (; *argv; argv++)
		snprintf(i->argv + strlen(i->argv), sizeof(i->argv) - strlen(i->argv), "[%s]", *argv);
	i->timeout_ms = timeout_ms;
	i->runs++;
	return i->run_result;
}

static int64_t host_connections(struct clusterd_inst *i, const char *service)
{
	return strcmp(service, "web") == 0 ? i->connections : -1;
}

static unsigned int host_capacity(struct clusterd_inst *i)
{
	return i->capacity;
}

const struct clusterd_host fake_host = {
	.size = sizeof(struct clusterd_host),
	.log = host_log,
	.now_ms = host_now,
	.report = host_report,
	.fact = host_fact,
	.run = host_run,
	.connections = host_connections,
	.capacity = host_capacity,
};

/* ---- files ---- */

int fake_setup(void **state)
{
	strcpy(fake_root, "/tmp/monitor_test.XXXXXX");
	return mkdtemp(fake_root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int fake_teardown(void **state)
{
	return nftw(fake_root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void put(const char *path, const char *text)
{
	char to[2048];
	FILE *f;

	snprintf(to, sizeof(to), "%s%s", fake_root, path);
	for (char *p = strchr(to + strlen(fake_root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		assert_true(mkdir(to, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
	f = fopen(to, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

void gone(const char *path)
{
	char to[2048];

	snprintf(to, sizeof(to), "%s%s", fake_root, path);
	assert_int_equal(remove(to), 0);
}

/* ---- an instance ---- */

void fake_options(struct fake_options *o, const char *const *pairs)
{
	for (o->n = 0; pairs[o->n]; o->n++) {
		char *eq;

		assert_true(o->n < 8);
		snprintf(o->text[o->n], sizeof(o->text[0]), "%s", pairs[o->n]);
		eq = strchr(o->text[o->n], '=');
		assert_non_null(eq);
		*eq = '\0';
		o->opt[o->n] = (struct clusterd_option){ o->text[o->n], eq + 1 };
	}
}

int validate(const struct clusterd_plugin *p, const char *const *pairs, char *text, size_t size)
{
	const char *bad = "?";
	struct fake_options o;
	char err[200] = "";
	int r;

	fake_options(&o, pairs);
	r = p->observer->validate(o.opt, o.n, &bad, err, sizeof(err));
	if (r == 0)
		return 0;
	assert_int_equal(r, -EINVAL);
	snprintf(text, size, "%s: %s", bad, err);
	return -1;
}

void assert_bad(const struct clusterd_plugin *p, const char *const *pairs, const char *says)
{
	char text[300] = "(accepted)";

	validate(p, pairs, text, sizeof(text));
	if (strcmp(text, says) != 0)
		fail_msg("%s: got '%s', expected '%s'", p->name, text, says);
}

int start(struct clusterd_inst *i, const struct clusterd_plugin *p, const char *const *pairs)
{
	struct fake_options o;
	char text[300];
	int r;

	memset(i, 0, sizeof(*i));
	i->plugin = p;
	i->now = 1000000;
	i->capacity = 100;
	i->connections = -1;
	if (validate(p, pairs, text, sizeof(text)) < 0)
		fail_msg("%s", text);
	fake_options(&o, pairs);
	r = p->observer->open(&i->priv, &fake_host, i, o.opt, o.n);
	assert_true((r == 0) == (i->priv != NULL));
	/* the options are not valid any longer */
	memset(&o, 0x5a, sizeof(o));
	return r;
}

void stop(struct clusterd_inst *i)
{
	if (i->priv)
		i->plugin->observer->close(i->priv);
	i->priv = NULL;
}

bool look(struct clusterd_inst *i, int ms)
{
	unsigned int before = i->reports;

	i->now += ms;
	i->plugin->observer->start(i->priv, 1000);
	return i->reports != before;
}

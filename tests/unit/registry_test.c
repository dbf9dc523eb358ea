/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "plug/builtin.h"
#include "plug/registry.h"

/* Where the Makefile has put tests/plugins and the template: beside this program. */
static char bad_dir[512], good_dir[512], tmp_dir[] = "/tmp/clusterd-registry-XXXXXX";

/* ---- what is "built in" here ---- */

static int validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err, size_t err_size)
{
	return 0;
}

static int silent(const struct clusterd_option *opt, size_t n, const char **bad, char *err, size_t err_size)
{
	return -22;
}

static int open_it(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		   const struct clusterd_option *opt, size_t n)
{
	return 0;
}

static void close_it(void *priv)
{
}

static void start(void *priv, int timeout_ms)
{
}

static void factors(const struct clusterd_policy_in *in, uint32_t *factor)
{
}

static const struct clusterd_observer_ops ops = {
	.validate = validate, .open = open_it, .close = close_it, .start = start,
};
static const struct clusterd_observer_ops silent_ops = {
	.validate = silent, .open = open_it, .close = close_it, .start = start,
};
static const struct clusterd_policy_ops policy = { .factors = factors, .interval_ms = 1000 };

#define HEAD .abi = CLUSTERD_PLUGIN_ABI, .size = sizeof(struct clusterd_plugin), .version = "1"
static const struct clusterd_plugin cpu = {
	HEAD, .kind = CLUSTERD_MONITOR, .name = "cpu", .summary = "first", .observer = &ops,
};
static const struct clusterd_plugin quiet = {
	HEAD, .kind = CLUSTERD_MONITOR, .name = "quiet", .summary = "", .observer = &silent_ops,
};
static const struct clusterd_plugin load = {
	HEAD, .kind = CLUSTERD_POLICY, .name = "load", .summary = "third", .policy = &policy,
};
/* Built in or not makes no difference. */
static const struct clusterd_plugin stale = {
	.abi = CLUSTERD_PLUGIN_ABI + 7, .size = 4, .kind = CLUSTERD_POLICY, .name = "stale",
};
/* There is a file of this name as well. */
static const struct clusterd_plugin template = {
	HEAD, .kind = CLUSTERD_MONITOR, .name = "template", .summary = "inside", .observer = &ops,
};
const struct clusterd_plugin *const builtin_plugins[] = { &cpu, &quiet, &load, &stale, &template, NULL };

/* ---- finding ---- */

static void finds_both_ways(void **state)
{
	const struct clusterd_plugin *p;
	char why[256] = "";

	assert_ptr_equal(registry_find(CLUSTERD_MONITOR, "cpu", why, sizeof(why)), &cpu);
	assert_ptr_equal(registry_find(CLUSTERD_POLICY, "load", why, sizeof(why)), &load);
	p = registry_find(CLUSTERD_CHECK, "good", why, sizeof(why));
	assert_non_null(p);
	assert_string_equal(p->summary, "fine");
	/* It stays where it is. */
	assert_ptr_equal(registry_find(CLUSTERD_CHECK, "good", why, sizeof(why)), p);
	assert_ptr_equal(registry_find(CLUSTERD_MONITOR, "template", why, sizeof(why)), &template);
}

static void every_fault_has_its_sentence(void **state)
{
	static const struct { enum clusterd_kind kind; const char *name, *says; } rows[] = {
		{ CLUSTERD_CHECK, "abi", "interface 2, this clusterd has 1" },
		{ CLUSTERD_CHECK, "newer", "newer clusterd" },
		{ CLUSTERD_CHECK, "short", "too short (16 bytes" },
		{ CLUSTERD_CHECK, "kind", "is a monitor (kind 1), not a check" },
		{ CLUSTERD_CHECK, "alien", "kind 77" },
		{ CLUSTERD_CHECK, "name", "calls itself 'eman', not 'name'" },
		{ CLUSTERD_CHECK, "nameless", "calls itself ''" },
		{ CLUSTERD_CHECK, "noops", "has no callbacks" },
		{ CLUSTERD_CHECK, "nostart", "has no start()" },
		{ CLUSTERD_CHECK, "noversion", "has no version" },
		{ CLUSTERD_CHECK, "nosymbol", "exports no constant 'clusterd_plugin'" },
		{ CLUSTERD_CHECK, "pointer", "is no plugin of clusterd" },
		{ CLUSTERD_CHECK, "function", "is no plugin of clusterd" },
		{ CLUSTERD_CHECK, "undefined", "nobody_has_this" },
		{ CLUSTERD_POLICY, "lazy", "interval_ms of at least 1000" },
		{ CLUSTERD_POLICY, "nofactors", "has no factors()" },
	};
	char why[512], file[64];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		why[0] = '\0';
		assert_null(registry_find(rows[i].kind, rows[i].name, why, sizeof(why)));
		if (!strstr(why, rows[i].says))
			fail_msg("%s: '%s' does not say '%s'", rows[i].name, why, rows[i].says);
		snprintf(file, sizeof(file), "/%s-%s.so: ", registry_kind_str(rows[i].kind), rows[i].name);
		if (!strstr(why, file))
			fail_msg("%s: '%s' does not name the file", rows[i].name, why);
	}
	assert_null(registry_find(CLUSTERD_POLICY, "stale", why, sizeof(why)));
	assert_string_equal(why, "built in: built for plugin interface 8, this clusterd has 1: build it again");
	/* After all that the good ones are there as before. */
	finds_both_ways(state);
}

static void none_of_that_name(void **state)
{
	char why[1024], small[24];

	assert_null(registry_find(CLUSTERD_MONITOR, "gpu", why, sizeof(why)));
	assert_string_equal(why, "there is no monitor 'gpu'; there are: cpu, quiet, template");
	assert_null(registry_find(CLUSTERD_POLICY, "x", why, sizeof(why)));
	assert_string_equal(why, "there is no policy 'x'; there are: static, lazy, load, nofactors, stale");
	assert_null(registry_find(CLUSTERD_POLICY, "x", small, sizeof(small)));
	assert_int_equal(strlen(small), sizeof(small) - 1);
	registry_set_dir("/no/such/directory");
	assert_null(registry_find(CLUSTERD_CHECK, "good2", why, sizeof(why)));
	assert_string_equal(why, "there is no check 'good2'");
	registry_set_dir("/dev/null");
	assert_null(registry_find(CLUSTERD_CHECK, "good2", why, sizeof(why)));
	assert_string_equal(why, "there is no check 'good2'");
	registry_set_dir(bad_dir);
}

static void names_lead_nowhere(void **state)
{
	static const char *const names[] = { "", "../x", "a/b", "Good", "a.b", "a b", "\xc3\xa4",
					     "12345678901234567890123456789012" };
	char why[256];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_null(registry_find(CLUSTERD_CHECK, names[i], why, sizeof(why)));
		assert_non_null(strstr(why, "cannot be the name of a plugin"));
	}
}

static void put(const char *name, const char *text, size_t size)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", tmp_dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fwrite(text, 1, size, f);
	fclose(f);
}

static void take(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", tmp_dir, name);
	assert_int_equal(remove(path), 0);
}

static void odd_files(void **state)
{
	char why[512], path[128];

	registry_set_dir(tmp_dir);
	put("check-text.so", "hello\n", 6);
	put("check-empty.so", "", 0);
	put("check-elf.so", "\177ELF\2\1\1\0garbage that goes on for a while, and more and more of it", 64);
	snprintf(path, sizeof(path), "%s/check-dir.so", tmp_dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/check-dangling.so", tmp_dir);
	assert_int_equal(symlink("nowhere", path), 0);

	assert_null(registry_find(CLUSTERD_CHECK, "text", why, sizeof(why)));
	assert_non_null(strstr(why, "check-text.so: file too short"));
	assert_null(registry_find(CLUSTERD_CHECK, "empty", why, sizeof(why)));
	assert_non_null(strstr(why, "check-empty.so: file too short"));
	assert_null(registry_find(CLUSTERD_CHECK, "elf", why, sizeof(why)));
	assert_non_null(strstr(why, "check-elf.so: "));
	assert_null(registry_find(CLUSTERD_CHECK, "dir", why, sizeof(why)));
	assert_non_null(strstr(why, "check-dir.so: "));
	assert_null(registry_find(CLUSTERD_CHECK, "dangling", why, sizeof(why)));
	assert_non_null(strstr(why, "there is no check 'dangling'"));

	take("check-text.so");
	take("check-empty.so");
	take("check-elf.so");
	take("check-dir.so");
	take("check-dangling.so");
	registry_set_dir(bad_dir);
}

/* A library that it needs is not there: another file of the machine is at fault. */
static void missing_library(void **state)
{
	char why[512], command[1024];

	snprintf(command, sizeof(command),
		 "cd %s && echo 'int clusterd_gone;' > gone.c && "
		 "gcc -shared -fPIC -o libclusterd-gone.so gone.c && "
		 "echo 'extern int clusterd_gone; int *p = &clusterd_gone;' > needs.c && "
		 "gcc -shared -fPIC -o check-needs.so needs.c -L. -lclusterd-gone && "
		 "rm gone.c needs.c libclusterd-gone.so", tmp_dir);
	assert_int_equal(system(command), 0);
	registry_set_dir(tmp_dir);
	assert_null(registry_find(CLUSTERD_CHECK, "needs", why, sizeof(why)));
	assert_non_null(strstr(why, "check-needs.so: cannot be loaded: libclusterd-gone.so"));
	take("check-needs.so");
	registry_set_dir(bad_dir);
}

/* A plugin that was bad can be mended while the daemon runs. */
static void mended(void **state)
{
	char why[512], command[2048];

	registry_set_dir(tmp_dir);
	snprintf(command, sizeof(command), "cp %s/check-abi.so %s/check-good.so", bad_dir, tmp_dir);
	assert_int_equal(system(command), 0);
	assert_null(registry_find(CLUSTERD_CHECK, "good", why, sizeof(why)));
	assert_non_null(strstr(why, "interface 2"));
	take("check-good.so");
	snprintf(command, sizeof(command), "cp %s/check-good.so %s/check-good.so", bad_dir, tmp_dir);
	assert_int_equal(system(command), 0);
	assert_non_null(registry_find(CLUSTERD_CHECK, "good", why, sizeof(why)));
	take("check-good.so");
	registry_set_dir(bad_dir);
}

static void environment_goes_first(void **state)
{
	char why[256];

	setenv("CLUSTERD_PLUGINDIR", tmp_dir, 1);
	assert_null(registry_find(CLUSTERD_CHECK, "good", why, sizeof(why)));
	setenv("CLUSTERD_PLUGINDIR", "", 1);
	assert_non_null(registry_find(CLUSTERD_CHECK, "good", why, sizeof(why)));
	unsetenv("CLUSTERD_PLUGINDIR");
}

/* ---- the list ---- */

struct listed { unsigned int n, usable; char text[8192]; };

static void on_entry(void *arg, const struct registry_entry *e)
{
	struct listed *l = arg;
	size_t len = strlen(l->text);

	l->n++;
	l->usable += !e->why;
	snprintf(l->text + len, sizeof(l->text) - len, "%s-%s|%s|%s|%s\n", registry_kind_str(e->kind), e->name,
		 e->summary, strcmp(e->file, "built in") == 0 ? "inside" : "file", e->why ? e->why : "ok");
}

static void lists_all(void **state)
{
	struct listed l = { 0 };

	registry_list(on_entry, &l);
	/* 5 built in, 17 files of which one can be used. */
	assert_int_equal(l.n, 22);
	assert_int_equal(l.usable, 5);
	assert_non_null(strstr(l.text, "monitor-cpu|first|inside|ok\n"));
	assert_non_null(strstr(l.text, "check-good|fine|file|ok\n"));
	assert_non_null(strstr(l.text, "check-noops||file|"));
	assert_true(strncmp(l.text, "monitor-cpu|", 12) == 0);

	memset(&l, 0, sizeof(l));
	registry_set_dir(good_dir);
	registry_list(on_entry, &l);
	registry_set_dir(bad_dir);
	assert_non_null(strstr(l.text, "monitor-template|inside|inside|ok\n"
			       "monitor-template||file|not used: there is a built-in one of that name\n"));
}

/* ---- the configuration ---- */

static struct conf c;
static struct conf_errors errs;

static void option(struct conf_option *o, unsigned int *n, const char *key, const char *value, unsigned int line)
{
	snprintf(o[*n].key, sizeof(o[*n].key), "%s", key);
	snprintf(o[*n].value, sizeof(o[*n].value), "%s", value);
	o[(*n)++].line = line;
}

static void make_conf(void)
{
	memset(&c, 0, sizeof(c));
	memset(&errs, 0, sizeof(errs));
	c.n_services = 2;
	strcpy(c.service[0].name, "web");
	strcpy(c.service[0].weights, "static");
	c.service[0].n_vips = 1;
	assert_int_equal(addr_parse(&c.service[0].vip[0], "2001:db8::1"), 0);
	c.service[0].n_ports = 2;
	c.service[0].port[0] = (struct conf_port){ IPPROTO_TCP, 8080, 8090 };
	c.service[0].port[1] = (struct conf_port){ IPPROTO_UDP, 53, 53 };
	strcpy(c.service[1].name, "dns");
	strcpy(c.service[1].weights, "load");
	c.service[1].n_ports = 1;
	c.service[1].port[0] = (struct conf_port){ IPPROTO_UDP, 53, 53 };
	c.n_monitors = 1;
	strcpy(c.monitor[0].name, "processor");
	strcpy(c.monitor[0].type, "cpu");
	c.n_checks = 1;
	strcpy(c.check[0].name, "http");
	strcpy(c.check[0].service, "web");
	strcpy(c.check[0].type, "good");
	option(c.check[0].option, &c.check[0].n_options, "port", "80", 17);
}

static void options_of_a_check(void **state)
{
	struct clusterd_option opt[REGISTRY_OPTIONS_MAX];
	struct registry_buf buf;
	size_t n;

	make_conf();
	n = registry_check_options(&c, &c.check[0], "eth1", &buf, opt);
	assert_int_equal(n, 6);
	assert_string_equal(opt[0].key, "@service");
	assert_string_equal(opt[0].value, "web");
	assert_string_equal(opt[1].key, "@address");
	assert_string_equal(opt[1].value, "2001:db8::1");
	assert_string_equal(opt[2].key, "@port");
	assert_string_equal(opt[2].value, "8080");
	assert_string_equal(opt[3].key, "@proto");
	assert_string_equal(opt[3].value, "tcp");
	assert_string_equal(opt[4].key, "@interface");
	assert_string_equal(opt[4].value, "eth1");
	assert_string_equal(opt[5].key, "port");
	assert_string_equal(opt[5].value, "80");
	assert_int_equal(registry_monitor_options(&c.monitor[0], opt), 0);
}

static void good_configuration(void **state)
{
	make_conf();
	assert_true(registry_check_conf(&c, &errs));
	assert_int_equal(errs.n, 0);
}

static void expect(unsigned int i, unsigned int line, const char *section, const char *key, const char *says)
{
	assert_true(i < errs.n);
	assert_int_equal(errs.e[i].line, line);
	assert_string_equal(errs.e[i].section, section);
	assert_string_equal(errs.e[i].key, key);
	if (!strstr(errs.e[i].reason, says))
		fail_msg("'%s' does not say '%s'", errs.e[i].reason, says);
}

static void every_complaint(void **state)
{
	make_conf();
	strcpy(c.monitor[0].type, "gpu");
	c.n_monitors = 2;
	strcpy(c.monitor[1].name, "q");
	strcpy(c.monitor[1].type, "quiet");
	option(c.monitor[1].option, &c.monitor[1].n_options, "volume", "0", 5);
	option(c.check[0].option, &c.check[0].n_options, "prot", "80", 18);
	c.n_checks = 3;
	c.check[1] = c.check[0];
	strcpy(c.check[1].name, "names");
	strcpy(c.check[1].service, "dns");
	c.check[2] = c.check[0];
	strcpy(c.check[2].name, "old");
	strcpy(c.check[2].type, "abi");
	strcpy(c.service[1].weights, "fair");
	assert_false(registry_check_conf(&c, &errs));
	assert_int_equal(errs.n, 6);
	expect(0, 0, "monitor processor", "type", "there is no monitor 'gpu'; there are: cpu");
	expect(1, 5, "monitor q", "", "does not say why");
	expect(2, 18, "check http", "prot", "unknown key; good has: port");
	expect(3, 0, "check names", "service", "needs a service with a TCP port");
	expect(4, 0, "check old", "type", "interface 2");
	expect(5, 0, "service dns", "weights", "there is no policy 'fair'; there are: static, lazy, load");
}

static int setup(void **state)
{
	ssize_t n = readlink("/proc/self/exe", bad_dir, sizeof(bad_dir) - 32);
	char *slash;

	if (n < 0 || !mkdtemp(tmp_dir))
		return -1;
	bad_dir[n] = '\0';
	slash = strrchr(bad_dir, '/');
	*slash = '\0';
	snprintf(good_dir, sizeof(good_dir), "%.480s/../plugins", bad_dir);
	strcpy(slash, "/plugins");
	unsetenv("CLUSTERD_PLUGINDIR");
	registry_set_dir(bad_dir);
	return 0;
}

static int teardown(void **state)
{
	return rmdir(tmp_dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_both_ways),
		cmocka_unit_test(every_fault_has_its_sentence),
		cmocka_unit_test(none_of_that_name),
		cmocka_unit_test(names_lead_nowhere),
		cmocka_unit_test(odd_files),
		cmocka_unit_test(missing_library),
		cmocka_unit_test(mended),
		cmocka_unit_test(environment_goes_first),
		cmocka_unit_test(lists_all),
		cmocka_unit_test(options_of_a_check),
		cmocka_unit_test(good_configuration),
		cmocka_unit_test(every_complaint),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

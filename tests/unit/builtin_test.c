/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "plug/builtin.h"
#include "plug/registry.h"

/* What every plugin of ours must do, built in and as a file. */

static const struct clusterd_option service[] = {
	{ "@service", "web" }, { "@address", "192.0.2.80" }, { "@port", "80" }, { "@proto", "tcp" },
	{ "@interface", "" }, { "no-such-key", "1" },
};

static void try_observer(const struct clusterd_plugin *p, const char *file)
{
	const struct clusterd_option *opt = p->kind == CLUSTERD_CHECK ? service : service + 5;
	size_t n = p->kind == CLUSTERD_CHECK ? 6 : 1;
	char err[256] = "";
	const char *bad = NULL;

	/* A typing error must not go unnoticed; a small buffer must not hurt. */
	if (p->observer->validate(opt, n, &bad, err, sizeof(err)) != -EINVAL || !err[0])
		fail_msg("%s: accepts the key no-such-key, or does not say why not", file);
	p->observer->validate(opt, n, &bad, err, 1);
	assert_int_equal(err[0], '\0');
	p->observer->validate(opt, n - 1, &bad, err, sizeof(err));
}

static void try_policy(const struct clusterd_plugin *p, const char *file)
{
	struct clusterd_policy_node node[4] = {
		{ .id = 1, .base = 100, .factor = 1000 },
		{ .id = 2, .base = 1, .factor = 0, .known = 1, .load = 1000, .blocked = UINT32_MAX,
		  .swapping = UINT32_MAX, .connections = UINT32_MAX, .mem_free_kb = UINT32_MAX, .cpu_idle = 1000 },
		{ .id = 5, .base = 1000, .factor = 500, .known = 1 },
		{ .id = 6, .base = 100, .factor = 1000, .known = 1, .load = 500, .connections = 100,
		  .mem_free_kb = 1000000, .cpu_idle = 500 },
	};
	struct clusterd_policy_in in = { .size = sizeof(in), .node = node };
	uint32_t one[5], two[5], n, i;

	for (n = 1; n <= 4; n++) {
		in.n = n;
		for (i = 0; i < 5; i++)
			one[i] = two[i] = 12345 + i;
		p->policy->factors(&in, one);
		p->policy->factors(&in, two);
		assert_memory_equal(one, two, sizeof(one));
		for (i = 0; i < n; i++)
			if (one[i] > CLUSTERD_FACTOR_MAX)
				fail_msg("%s: factor %u of node %u", file, one[i], node[i].id);
		assert_int_equal(one[n], 12345 + n);
	}
	/* Its parameters may be anything that the configuration allows. */
	in.process_memory_kb = UINT32_MAX;
	in.connections_per_minute = UINT32_MAX;
	p->policy->factors(&in, one);
	for (i = 0; i < 4; i++)
		assert_in_range(one[i], 0, CLUSTERD_FACTOR_MAX);
}

static void try(const struct clusterd_plugin *p, const char *file)
{
	char why[256];

	if (!registry_check(p, p->kind, p->name, file, why, sizeof(why)))
		fail_msg("%s", why);
	if (!p->summary[0] || strchr(p->summary, '\n') || strlen(p->summary) > 100)
		fail_msg("%s: '%s' is no summary", file, p->summary);
	if (p->kind == CLUSTERD_POLICY)
		try_policy(p, file);
	else
		try_observer(p, file);
}

static void built_in(void **state)
{
	const struct clusterd_plugin *const *p, *const *q;
	char file[64];

	for (p = builtin_plugins; *p; p++) {
		snprintf(file, sizeof(file), "%s-%s (built in)", registry_kind_str((*p)->kind), (*p)->name);
		try(*p, file);
		for (q = builtin_plugins; q < p; q++)
			if ((*p)->kind == (*q)->kind)
				assert_string_not_equal((*p)->name, (*q)->name);
	}
	assert_int_equal(p - builtin_plugins, 17);
}

static void as_files(void **state)
{
	const struct clusterd_plugin *p;
	char dir[512], file[1024], want[300];
	struct dirent *e;
	int seen = 0;
	void *handle;
	DIR *d;
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 32);

	assert_true(n > 0);
	dir[n] = '\0';
	strcpy(strrchr(dir, '/'), "/../plugins");
	d = opendir(dir);
	assert_non_null(d);
	while ((e = readdir(d))) {
		if (!strstr(e->d_name, ".so"))
			continue;
		snprintf(file, sizeof(file), "%s/%s", dir, e->d_name);
		handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
		if (!handle)
			fail_msg("%s", dlerror());
		p = dlsym(handle, "clusterd_plugin");
		assert_non_null(p);
		try(p, file);
		snprintf(want, sizeof(want), "%s-%s.so", registry_kind_str(p->kind), p->name);
		assert_string_equal(want, e->d_name);
		seen++;		/* not closed: libraries of theirs need not like that */
	}
	closedir(d);
	assert_true(seen >= 18);	/* all that are built in and the template; with libcurl two more */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in),
		cmocka_unit_test(as_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

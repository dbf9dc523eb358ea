/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-exec: asks a program.  Exit status 0: fit; 1: serves, but should get no new work; anything
 * else, a signal, or too late: dead.  The first line that it prints is the reason.
 */
#include <signal.h>
#include <sys/wait.h>

#include "check_options.h"

#define ARGS 4

struct exec {
	const struct clusterd_host *host;
	struct clusterd_inst *inst;
	const char *argv[ARGS + 2];	/* strings of our own */
	const char *env[5];
	int timeout_ms;
	bool looking;
};

static const struct check_rule rules[] = {
	{ "path", CHECK_PATH, 0, 0, true },
	{ "arg1", CHECK_TEXT, 0, 1024, false },
	{ "arg2", CHECK_TEXT, 0, 1024, false },
	{ "arg3", CHECK_TEXT, 0, 1024, false },
	{ "arg4", CHECK_TEXT, 0, 1024, false },
};

static const char *find(const struct clusterd_option *opt, size_t n, const char *key)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!strcmp(opt[i].key, key))
			return opt[i].value;
	}
	return NULL;
}

static int exec_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t err_size)
{
	int ret = check_options(rules, sizeof(rules) / sizeof(rules[0]), "exec", opt, n, bad, err,
				err_size);
	char key[8];
	int i;

	for (i = ARGS; !ret && i > 1; i--) {
		snprintf(key, sizeof(key), "arg%d", i);
		if (!find(opt, n, key))
			continue;
		snprintf(key, sizeof(key), "arg%d", i - 1);
		if (find(opt, n, key))
			continue;
		*bad = rules[i].key;
		snprintf(err, err_size, "needs arg%d before it", i - 1);
		ret = -EINVAL;
	}
	return ret;
}

static void exec_close(void *priv)
{
	struct exec *e = priv;
	size_t i;

	for (i = 0; e->argv[i]; i++)
		free((char *)(uintptr_t)e->argv[i]);
	for (i = 0; e->env[i]; i++)
		free((char *)(uintptr_t)e->env[i]);
	free(e);
}

static int add_env(struct exec *e, size_t i, const char *name, const char *value)
{
	char *text;

	if (asprintf(&text, "%s=%s", name, value ? value : "") < 0)
		return -ENOMEM;
	e->env[i] = text;
	return 0;
}

static int exec_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	static const char *const names[] = { "CLUSTERD_SERVICE", "CLUSTERD_ADDRESS", "CLUSTERD_PORT",
					     "CLUSTERD_INTERFACE" };
	static const char *const keys[] = { "@service", "@address", "@port", "@interface" };
	struct exec *e = calloc(1, sizeof(*e));
	const char *v;
	size_t i;

	if (!e)
		return -ENOMEM;
	e->host = host;
	e->inst = inst;
	for (i = 0; i <= ARGS; i++) {
		v = find(opt, n, rules[i].key);
		if (!v)
			break;
		e->argv[i] = strdup(v);
		if (!e->argv[i])
			goto out;
	}
	for (i = 0; i < 4; i++) {
		if (add_env(e, i, names[i], check_get(opt, n, keys[i])) < 0)
			goto out;
	}
	*priv = e;
	return 0;
out:
	exec_close(e);
	return -ENOMEM;
}

static void exec_start(void *priv, int timeout_ms)
{
	struct exec *e = priv;
	char why[128];
	int ret;

	e->timeout_ms = timeout_ms;
	ret = e->host->run(e->inst, e->argv, e->env, check_before(timeout_ms));
	e->looking = ret == 0;
	if (!ret)
		return;
	snprintf(why, sizeof(why), "cannot start the program: %s",
		 ret == -EBUSY ? "the last one still runs" : strerror(-ret));
	e->host->report(e->inst, CLUSTERD_DEAD, why);
}

/* The host ends the program when its time is up: here it is only not waited for. */
static void exec_stop(void *priv)
{
	struct exec *e = priv;

	e->looking = false;
}

static void exec_done(void *priv, int status, const char *out, size_t size)
{
	struct exec *e = priv;
	char why[200];
	int value = CLUSTERD_DEAD;
	size_t len = strcspn(out, "\r\n"), i;

	if (!e->looking)
		return;
	e->looking = false;
	if (status == -1) {
		snprintf(why, sizeof(why), "did not end within %d ms", e->timeout_ms);
	} else if (WIFSIGNALED(status)) {
		snprintf(why, sizeof(why), "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	} else {
		if (WEXITSTATUS(status) == 0)
			value = CLUSTERD_FIT;
		else if (WEXITSTATUS(status) == 1)
			value = CLUSTERD_WORKS;
		if (len)
			snprintf(why, sizeof(why), "%.*s", (int)len, out);
		else
			snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(status));
	}
	/* It goes to logs and terminals. */
	for (i = 0; why[i]; i++)
		why[i] = (unsigned char)why[i] < 32 || why[i] == 127 ? '?' : why[i];
	e->host->report(e->inst, value, value == CLUSTERD_FIT && !len ? NULL : why);
}

static const struct clusterd_observer_ops ops = {
	.validate = exec_validate,
	.open = exec_open,
	.close = exec_close,
	.start = exec_start,
	.stop = exec_stop,
	.done = exec_done,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_CHECK,
	.name = "exec",
	.version = "1",
	.summary = "asks a program by its exit status",
	.observer = &ops,
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor 'exec': a program says how loaded the node is.
 *
 * The first line that it prints is a whole number, 0 to 1000, and after a blank whatever should be shown
 * with it.  It ends with status 0, before the next look is due.  Anything else is logged, once until it
 * changes, and reports nothing: the last value gets old.
 */

#include <sys/wait.h>

#include "monitor.h"

#define ARGS_MAX 4

#define NONSENSE (-2)		/* besides what waitpid(2) says, and -1 */

struct exec {
	struct mon m;
	int trouble;			/* as it has been logged; 0: none */
	char *argv[ARGS_MAX + 2];
};

static bool is_path(const char *value)
{
	return value[0] == '/' && value[1] && value[strlen(value) - 1] != '/';
}

static bool is_any(const char *value)
{
	(void)value;
	return true;
}

static const struct mon_key exec_keys[] = {
	{ "path", true, is_path, "must be the absolute path of a program" },
	{ "arg1", false, is_any, "" },
	{ "arg2", false, is_any, "" },
	{ "arg3", false, is_any, "" },
	{ "arg4", false, is_any, "" },
};
#define N_KEYS (sizeof(exec_keys) / sizeof(exec_keys[0]))

static int exec_validate(const struct clusterd_option *opt, size_t n, const char **bad, char *err,
			 size_t size)
{
	int r = mon_validate(exec_keys, N_KEYS, opt, n, bad, err, size);

	for (unsigned int i = 2; r == 0 && i < N_KEYS; i++) {
		if (!mon_option(opt, n, exec_keys[i].key) || mon_option(opt, n, exec_keys[i - 1].key))
			continue;
		*bad = exec_keys[i].key;
		snprintf(err, size, "needs '%s' as well", exec_keys[i - 1].key);
		return -EINVAL;
	}
	return r;
}

static void exec_close(void *priv)
{
	struct exec *x = priv;

	for (unsigned int i = 0; x->argv[i]; i++)
		free(x->argv[i]);
	free(x);
}

static int exec_open(void **priv, const struct clusterd_host *host, struct clusterd_inst *inst,
		     const struct clusterd_option *opt, size_t n)
{
	struct exec *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->m.host = host;
	x->m.inst = inst;
	for (unsigned int i = 0; i < N_KEYS; i++) {
		const char *v = mon_option(opt, n, exec_keys[i].key);

		if (!v)
			break;
		x->argv[i] = strdup(v);
		if (!x->argv[i]) {
			exec_close(x);
			return -ENOMEM;
		}
	}
	*priv = x;
	return 0;
}

static void exec_start(void *priv, int timeout_ms)
{
	struct exec *x = priv;
	const char *argv[ARGS_MAX + 2] = { NULL };

	for (unsigned int i = 0; x->argv[i]; i++)
		argv[i] = x->argv[i];
	/* If it cannot be started the host has said so; one that still runs has a log line coming. */
	x->m.host->run(x->m.inst, argv, NULL, timeout_ms > 0 ? timeout_ms : 1000);
}

/* The line at 's', without what a terminal or the log could stumble over. */
static void copy_line(char *to, size_t size, const char *s)
{
	size_t len = 0;

	for (; s[len] && s[len] != '\n' && s[len] != '\r' && len < size - 1; len++)
		to[len] = (unsigned char)s[len] < ' ' || s[len] == 0x7f ? '?' : s[len];
	to[len] = '\0';
}

/* "500 queue is long\nmore": the number, and the rest of the first line for people. */
static bool parse(const char *out, int *value, char *why, size_t size)
{
	uint64_t x;
	const char *s = mon_number(out, &x);

	if (!s || x > 1000 || !strchr(" \t\r\n", *s))	/* the NUL at the end counts as one of them */
		return false;
	copy_line(why, size, s + strspn(s, " \t"));
	*value = (int)x;
	return true;
}

static void say(struct exec *x, int trouble, const char *line)
{
	const char *path = x->argv[0];

	if (trouble == x->trouble)
		return;
	x->trouble = trouble;
	if (trouble == -1)
		x->m.host->log(x->m.inst, LOG_ERR, "%s took too long and was killed", path);
	else if (trouble == NONSENSE)
		x->m.host->log(x->m.inst, LOG_ERR,
			       "%s: its first line must be a number from 0 to 1000 and a text, not '%.60s'",
			       path, line);
	else if (WIFSIGNALED(trouble))
		x->m.host->log(x->m.inst, LOG_ERR, "%s was ended by signal %d", path, WTERMSIG(trouble));
	else
		x->m.host->log(x->m.inst, LOG_ERR, "%s ended with status %d", path, WEXITSTATUS(trouble));
}

static void exec_done(void *priv, int status, const char *out, size_t size)
{
	struct exec *x = priv;
	char why[128];
	int value;

	(void)size;
	if (status) {
		say(x, status, NULL);
	} else if (parse(out, &value, why, sizeof(why))) {
		x->trouble = 0;
		mon_report(&x->m, value, why);
	} else {
		copy_line(why, sizeof(why), out);
		say(x, NONSENSE, why);
	}
}

static const struct clusterd_observer_ops exec_ops = {
	.validate = exec_validate,
	.open = exec_open,
	.close = exec_close,
	.start = exec_start,
	.done = exec_done,
};

const struct clusterd_plugin clusterd_plugin = {
	.abi = CLUSTERD_PLUGIN_ABI,
	.size = sizeof(struct clusterd_plugin),
	.kind = CLUSTERD_MONITOR,
	.name = "exec",
	.version = "1",
	.summary = "a program says how loaded the node is",
	.observer = &exec_ops,
};

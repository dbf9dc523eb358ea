// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/grid.h"
#include "ctl/render.h"

#define PERIOD_MS 1000

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

/* Signals only end poll(): no SA_RESTART, and nothing of the terminal is touched in the handler. */
static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct sigaction redraw = { .sa_handler = SIG_IGN };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGPIPE, &redraw, NULL);
	sigaction(SIGTSTP, &redraw, NULL);	/* a stopped watch would leave the terminal taken */
}

/* The status, or NULL with the reason; keeps the connection for the next time. */
static json_t *fetch(struct client_conn *c, const char *path, char why[CLIENT_WHY_SIZE])
{
	json_t *request, *result = NULL;
	char *error = NULL;

	if (c->fd < 0 && client_open(c, path, why))
		return NULL;
	request = json_pack("{s:s}", "cmd", "status");
	if (client_call(c, request, &result, &error)) {
		snprintf(why, CLIENT_WHY_SIZE, "%s", error ? error : "out of memory");
		free(error);
		client_close(c);
	}
	json_decref(request);
	return result;
}

/* Prints as many lines as fit; long ones are cut by the terminal (autowrap is off). */
static void show(const char *text)
{
	struct winsize w;
	unsigned int row = 0;
	const char *end;

	/* A serial line says 0. */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_row)
		w.ws_row = 24;
	fputs("\033[H", stdout);
	while (*text && row + 1 < w.ws_row) {
		end = strchrnul(text, '\n');
		fwrite(text, 1, (size_t)(end - text), stdout);
		fputs("\033[K\n", stdout);
		text = *end ? end + 1 : end;
		row++;
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void draw(const json_t *status, const char *why)
{
	struct render r;
	char *text = NULL, when[32];
	size_t size;
	time_t now = time(NULL);
	struct tm tm;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	render_init(&r, stdout);
	r.out = f;
	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	fprintf(f, "%s%s   q ends%s\n\n", colour_on(DIM, r.colours), when, colour_off(r.colours));
	if (status)
		render_result(&r, CMD_STATUS, status);
	else
		fprintf(f, "%s%s%s\n", colour_on(RED, r.colours), why, colour_off(r.colours));
	fclose(f);
	if (text)
		show(text);
	free(text);
}

/* Waits for the period or a key.  True: the user wants to leave. */
static bool pause_or_key(bool keys)
{
	struct pollfd p = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
	char c;

	if (poll(&p, 1, PERIOD_MS) <= 0 || !p.revents)
		return false;
	/* The end of stdin would be readable for ever: leave. */
	return read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 'Q';
}

static int watch_json(const char *path)
{
	struct client_conn c = { .fd = -1 };
	char why[CLIENT_WHY_SIZE] = "";
	int code = CTL_DONE;
	json_t *status;

	while (!stop) {
		status = fetch(&c, path, why);
		if (!status) {
			if (!stop) {
				fprintf(stderr, "clusterctl: %s\n", why);
				code = CTL_FAILED;
			}
			break;
		}
		json_dumpf(status, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
		json_decref(status);
		if (putchar('\n') == EOF || fflush(stdout))
			break;		/* the reader has gone */
		pause_or_key(false);
	}
	client_close(&c);
	return code;
}

int watch_run(const char *path, bool json)
{
	struct client_conn c = { .fd = -1 };
	char why[CLIENT_WHY_SIZE] = "";
	struct termios before, raw;
	bool keys;
	json_t *status;

	catch_signals();
	if (json)
		return watch_json(path);
	if (!isatty(STDOUT_FILENO)) {
		fprintf(stderr, "clusterctl: watch needs a terminal; use 'status', or 'watch --json'\n");
		return CTL_FAILED;
	}
	/* Not there at the start: say so and leave; later on it may go and come back. */
	status = fetch(&c, path, why);
	if (!status) {
		fprintf(stderr, "clusterctl: %s\n", why);
		return CTL_FAILED;
	}
	keys = !tcgetattr(STDIN_FILENO, &before);
	if (keys) {
		raw = before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs("\033[?1049h\033[?25l\033[?7l", stdout);
	for (;;) {
		draw(status, why);
		json_decref(status);
		if (pause_or_key(keys) || stop)
			break;
		status = fetch(&c, path, why);
	}
	fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (keys)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	client_close(&c);
	return CTL_DONE;
}

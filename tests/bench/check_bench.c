/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What checks cost: many instances in the daemon's own host, each kind for some seconds, against
 * servers in processes of their own.  Prints CPU time per look and the share of a core.
 *
 *     build/tests/check_bench [LOOKS PER SECOND [SECONDS]]
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "plug/host.h"

#define INSTANCES 50

static struct {
	sd_event *event;
	struct host *host;
	struct clusterd_inst *inst[INSTANCES];
	unsigned int next, looks, fit;
	uint64_t every_us, at_us;
	char why[200];
} bench;

static int64_t no_connections(void *arg, const char *service)
{
	return -1;
}

static void on_report(void *arg, unsigned int tag, int value, const char *why)
{
	bench.fit += value == CLUSTERD_FIT;
	if (value != CLUSTERD_FIT)
		snprintf(bench.why, sizeof(bench.why), "%s", why);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	host_start(bench.inst[bench.next++ % INSTANCES], 500);
	bench.looks++;
	bench.at_us += bench.every_us;
	sd_event_source_set_time(s, bench.at_us);
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static double cpu_us(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return 1e6 * (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void run_ms(int ms)
{
	uint64_t now, until;

	sd_event_now(bench.event, CLOCK_MONOTONIC, &now);
	for (until = now + (uint64_t)ms * 1000; now < until;) {
		sd_event_run(bench.event, until - now);
		sd_event_now(bench.event, CLOCK_MONOTONIC, &now);
	}
}

static const struct clusterd_plugin *load(const char *name)
{
	char self[400] = "", path[500];
	void *so;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return NULL;
	*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%s/../plugins/check-%s.so", self, name);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!so)
		printf("%s\n", dlerror());
	return so ? dlsym(so, "clusterd_plugin") : NULL;
}

/* 'opt' ends with a key NULL; 'rate' looks per second. */
static void measure(const char *name, const struct clusterd_option *opt, int rate, int seconds)
{
	struct host_open p = { .section = "check bench", .opt = opt, .report = on_report };
	sd_event_source *tick = NULL;
	double used;
	size_t i;

	p.plugin = load(name);
	if (!p.plugin)
		return;
	while (opt[p.n_opt].key)
		p.n_opt++;
	for (i = 0; i < INSTANCES; i++)
		host_open(bench.host, &bench.inst[i], &p);
	bench.looks = bench.fit = 0;
	bench.every_us = 1000000 / (uint64_t)rate;
	sd_event_now(bench.event, CLOCK_MONOTONIC, &bench.at_us);
	sd_event_add_time(bench.event, &tick, CLOCK_MONOTONIC, bench.at_us, 1, on_tick, NULL);
	/* The first look of each instance is another matter: buffers, certificates, the bus. */
	run_ms(1000 + 1000 * INSTANCES / rate);
	bench.looks = bench.fit = 0;
	used = cpu_us();
	run_ms(seconds * 1000);
	used = cpu_us() - used;
	printf("%-8s %4d looks/s: %6.1f us each, %5.2f %% of a core; %u looks, %u fit %s\n", name, rate,
	       used / bench.looks, used / seconds / 1e4, bench.looks, bench.fit, bench.why);
	sd_event_source_disable_unref(tick);
	for (i = 0; i < INSTANCES; i++)
		host_close(bench.inst[i]);
	bench.why[0] = '\0';
}

/* ---- servers ---- */

static pid_t web_server(void)
{
	static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n";
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(8000),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	char buf[2048];
	pid_t pid;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(s, 1024) < 0)
		return -1;
	pid = fork();
	if (pid) {
		close(s);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((fd = accept(s, NULL, NULL)) >= 0) {
		if (recv(fd, buf, sizeof(buf), 0) > 0)
			send(fd, page, sizeof(page) - 1, MSG_NOSIGNAL);
		close(fd);
	}
	_exit(0);
}

static pid_t tls_server(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	setpgid(0, 0);
	freopen("/dev/null", "r", stdin);
	execlp("sh", "sh", "-c", "d=$(mktemp -d); trap 'rm -r $d' EXIT; trap exit TERM; cd $d; openssl req -x509 -newkey "
	       "ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -keyout k -out c "
	       "2>/dev/null; cat k c > kc; rm k c; openssl s_server -accept 127.0.0.1:4433 -cert kc "
	       "-www -quiet", (char *)NULL);
	_exit(127);
}

static int lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd, ret;

	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ret = ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return ret;
}

int main(int argc, char **argv)
{
	static const struct host_ops ops = { .connections = no_connections };
	int rate = argc > 1 ? atoi(argv[1]) : 200, seconds = argc > 2 ? atoi(argv[2]) : 3;
	const struct clusterd_option tcp[] = { { "address", "127.0.0.1" }, { "port", "8000" }, { 0 } };
	const struct clusterd_option http[] = { { "address", "127.0.0.1" }, { "port", "8000" },
						{ "body", "world" }, { 0 } };
	const struct clusterd_option https[] = { { "address", "127.0.0.1" }, { "port", "4433" },
						 { "verify", "no" }, { 0 } };
	const struct clusterd_option link[] = { { "interface", "lo" }, { 0 } };
	const struct clusterd_option disk[] = { { "path", "/tmp" }, { "free", "1" }, { 0 } };
	const struct clusterd_option exec[] = { { "path", "/bin/true" }, { 0 } };
	pid_t web, tls;

	if (rate < 1 || seconds < 1 || lo_up() < 0)
		return 1;
	web = web_server();
	tls = tls_server();
	if (web < 0 || tls < 0 || sd_event_new(&bench.event) < 0 ||
	    host_new(&bench.host, bench.event, 100, &ops, NULL) < 0)
		return 1;
	measure("tcp", tcp, rate, seconds);
	measure("http", http, rate, seconds);
	measure("https", https, rate < 10 ? rate : rate / 10, seconds);
	measure("link", link, rate, seconds);
	measure("disk", disk, rate, seconds);
	measure("exec", exec, rate / 4 + 1, seconds);
	host_free(bench.host);
	sd_event_unref(bench.event);
	kill(web, SIGKILL);
	kill(-tls, SIGTERM);
	waitpid(tls, NULL, 0);
	waitpid(web, NULL, 0);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io/group against real corosyncs: nodes 1, 2 and 100 (an id that no node of ours can have), each in
 * its own network and mount namespace, on one bridge:
 *
 *      [1] eth0 10.99.0.1 ---+
 *      [2] eth0 10.99.0.2 ---+--- br0 (this process' network namespace)
 *    [100] eth0 10.99.0.3 ---+
 *
 * A client is a process in a node's namespaces that runs one struct group, takes commands from a
 * pipe and writes every callback as a line: "up 1", "view 3 0", "msg 1 0 5 hello", ...
 * Prints "ok - ", "not ok - " and "skip - " lines; exit 0, 1, or 77 when nothing could be tested.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <corosync/cpg.h>

#include "io/group.h"

#define NODES   3
#define WAIT_MS (15000 * slow)

static const unsigned int nodeid[NODES] = { 1, 2, 100 };

static unsigned int failed;
static int slow = 1;	/* how many times slower than usual this machine is: LAB_SLOW */

static void ok(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	fputs(good ? "ok - " : "not ok - ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	failed += !good;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what)
{
	printf("not ok - %s: %s\n", what, strerror(errno));
	exit(1);		/* children die with us: PR_SET_PDEATHSIG */
}

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command) != 0)
		die(command);
}

/* ---- the client process ---- */

struct client_state { int out; bool up; unsigned int big_next; bool big_good; };

static void cb_view(void *arg, uint64_t members, uint64_t crashed)
{
	struct client_state *s = arg;

	dprintf(s->out, "view %llx %llx\n", (unsigned long long)members,
		(unsigned long long)crashed);
}

/* Numbered big messages are only checked for order and content; others are printed. */
static void cb_message(void *arg, unsigned int from, const void *data, size_t size)
{
	struct client_state *s = arg;
	const uint8_t *p = data;
	unsigned int number;

	if (size == GROUP_MESSAGE_MAX) {
		memcpy(&number, p, sizeof(number));
		for (size_t i = sizeof(number); i < size; i++)
			if (p[i] != (uint8_t)(number + i))
				s->big_good = false;
		if (number != s->big_next++)
			s->big_good = false;
		return;
	}
	dprintf(s->out, "msg %u %.*s\n", from, (int)size, (const char *)data);
}

static void cb_up(void *arg, unsigned int local)
{
	struct client_state *s = arg;

	s->up = true;
	dprintf(s->out, "up %u\n", local);
}

static void cb_down(void *arg, const char *why)
{
	struct client_state *s = arg;

	s->up = false;
	dprintf(s->out, "down %s\n", why);
}

static void cb_quorum(void *arg, bool quorate)
{
	dprintf(((struct client_state *)arg)->out, "quorum %d\n", quorate);
}

static void cb_broken(void *arg, const char *why)
{
	struct client_state *s = arg;

	dprintf(s->out, "broken %s\n", why);
	_exit(3);
}

static const struct group_ops ops = { cb_view, cb_message, cb_up, cb_down, cb_broken, cb_quorum };

static void client_big(struct group *g, struct client_state *s, unsigned int n)
{
	static uint8_t buf[GROUP_MESSAGE_MAX];
	unsigned int sent = 0, full = 0;
	struct group_counters c;

	for (unsigned int k = 0; k < n; k++) {
		memcpy(buf, &sent, sizeof(sent));
		for (size_t i = sizeof(sent); i < sizeof(buf); i++)
			buf[i] = (uint8_t)(sent + i);
		if (group_send(g, buf, sizeof(buf)) == 0)
			sent++;
		else
			full++;
	}
	group_counters(g, &c);
	dprintf(s->out, "big %u %u %d %d\n", sent, full, c.try_again > 0, c.dropped_full == full);
	while (group_send(g, "bigend", 6) == -ENOBUFS) {
		group_tick(g, now_ms());
		group_dispatch(g, 100);
	}
}

static void client_command(struct group *g, struct client_state *s, char *line)
{
	struct group_counters c;
	char text[64];
	unsigned int n;

	if (sscanf(line, "flood %u", &n) == 1) {
		for (unsigned int i = 0; i < n; i++) {
			snprintf(text, sizeof(text), "flood %u", i);
			if (group_send(g, text, strlen(text)) < 0)
				dprintf(s->out, "send failed\n");
		}
	} else if (!strncmp(line, "send ", 5)) {
		int err = group_send(g, line + 5, strlen(line + 5));

		if (err)
			dprintf(s->out, "send %s\n", strerrorname_np(-err));
	} else if (sscanf(line, "big %u", &n) == 1) {
		client_big(g, s, n);
	} else if (!strcmp(line, "bigcheck")) {
		dprintf(s->out, "bigcheck %u %d\n", s->big_next, s->big_good);
	} else if (!strcmp(line, "toolong")) {
		uint8_t *p = calloc(1, GROUP_MESSAGE_MAX + 1);

		dprintf(s->out, "toolong %d %d\n",
			group_send(g, p, GROUP_MESSAGE_MAX + 1) == -EMSGSIZE,
			group_send(g, p, 0) == -EMSGSIZE);
		free(p);
	} else if (!strcmp(line, "foreign")) {
		group_counters(g, &c);
		dprintf(s->out, "foreign %llu\n", (unsigned long long)c.foreign);
	} else if (!strcmp(line, "why")) {
		dprintf(s->out, "why %s\n", group_strerror(g));
	} else if (!strcmp(line, "fds")) {
		unsigned int bad = 0;

		/* Our two pipes are close-on-exec as well. */
		for (int fd = 3; fd < 256; fd++)
			if (fcntl(fd, F_GETFD) >= 0 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
				bad++;
		dprintf(s->out, "fds %d %u\n", group_fd(g) >= 0 && group_quorum_fd(g) >= 0, bad);
	} else if (!strcmp(line, "shut")) {
		shutdown(group_fd(g), SHUT_RDWR);
	} else if (!strcmp(line, "quit")) {
		group_close(g);
		dprintf(s->out, "closed\n");
		_exit(0);
	}
}

static void client_main(int in, int out)
{
	struct client_state s = { .out = out, .big_good = true };
	char buf[512];
	size_t used = 0;
	struct group *g;

	if (group_open(&g, "kt", &ops, &s) < 0)
		_exit(1);
	dprintf(out, "open %d %d %d\n", group_fd(g), group_send(g, "x", 1) == -ENOTCONN,
		group_dispatch(g, 1));
	for (;;) {
		int wait = group_tick(g, now_ms());
		struct pollfd p[3] = {
			{ .fd = in, .events = POLLIN },
			{ .fd = group_fd(g), .events = POLLIN },
			{ .fd = group_quorum_fd(g), .events = POLLIN },
		};
		ssize_t got;
		char *end;

		/* Connected, joined perhaps, not in a view yet: corosync would lose it. */
		if (!s.up && group_send(g, "early", 5) != -ENOTCONN)
			dprintf(out, "early message taken\n");
		if (poll(p, 3, wait) < 0)
			_exit(1);
		if (p[1].revents || p[2].revents)
			group_dispatch(g, 7);
		if (!p[0].revents)
			continue;
		got = read(in, buf + used, sizeof(buf) - 1 - used);
		if (got <= 0)
			_exit(1);
		used += (size_t)got;
		buf[used] = '\0';
		while ((end = strchr(buf, '\n'))) {
			*end++ = '\0';
			client_command(g, &s, buf);
			used -= (size_t)(end - buf);
			memmove(buf, end, used + 1);
		}
	}
}

/* ---- the conductor ---- */

static pid_t holder[NODES], corosync[NODES];

struct client { pid_t pid; int in, out; char *log; size_t len, mark; };

/* Forks a process into a node's namespaces; 0 in the child. */
static pid_t fork_into(unsigned int node)
{
	char path[64];
	pid_t pid;
	int net, mnt;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", holder[node]);
	net = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", holder[node]);
	mnt = open(path, O_RDONLY | O_CLOEXEC);
	if (net < 0 || mnt < 0 || setns(net, CLONE_NEWNET) < 0 || setns(mnt, CLONE_NEWNS) < 0)
		_exit(126);
	close(net);
	close(mnt);
	return 0;
}

static void reap(pid_t pid)
{
	if (pid > 0 && waitpid(pid, NULL, 0) < 0)
		die("waitpid");
}

static void corosync_start(unsigned int node)
{
	int null;

	corosync[node] = fork_into(node);
	if (corosync[node] != 0)
		return;
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execlp("corosync", "corosync", "-f", (char *)NULL);
	_exit(127);
}

static void corosync_kill(unsigned int node)
{
	kill(corosync[node], SIGKILL);
	reap(corosync[node]);
	corosync[node] = 0;
}

static void client_start(struct client *c, unsigned int node)
{
	int in[2], out[2];

	free(c->log);
	memset(c, 0, sizeof(*c));
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		die("pipe");
	c->pid = fork_into(node);
	if (c->pid == 0) {
		client_main(in[0], out[1]);
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
}

static void client_end(struct client *c)
{
	reap(c->pid);
	close(c->in);
	close(c->out);
	c->pid = 0;
}

static void tell(struct client *c, const char *line)
{
	dprintf(c->in, "%s\n", line);
}

/* Reads what there is, waiting for it at most 'ms'.  False at the end or when nothing came. */
static bool client_read(struct client *c, int ms)
{
	struct pollfd p = { .fd = c->out, .events = POLLIN };
	char buf[4096], *log;
	ssize_t got;

	if (poll(&p, 1, ms) <= 0)
		return false;
	got = read(c->out, buf, sizeof(buf));
	if (got <= 0)
		return false;
	log = realloc(c->log, c->len + (size_t)got + 1);
	if (!log)
		die("realloc");
	memcpy(log + c->len, buf, (size_t)got);
	c->log = log;
	c->len += (size_t)got;
	c->log[c->len] = '\0';
	return true;
}

/* The next line after the mark that starts with 'start', or NULL after 'ms'; moves the mark behind. */
static const char *await(struct client *c, const char *start, int ms)
{
	static char found[512];
	int64_t end = now_ms() + ms;

	for (;;) {
		size_t at = c->mark;
		char *nl;

		while (c->log && (nl = memchr(c->log + at, '\n', c->len - at))) {
			size_t len = (size_t)(nl - c->log) - at;

			if (len >= strlen(start) && !strncmp(c->log + at, start, strlen(start))) {
				snprintf(found, sizeof(found), "%.*s", (int)len, c->log + at);
				c->mark = at + len + 1;
				return found;
			}
			at += len + 1;
		}
		if (now_ms() >= end)
			return NULL;
		client_read(c, (int)(end - now_ms()));
	}
}

static void expect(struct client *c, const char *line, const char *what)
{
	const char *got = await(c, line, WAIT_MS);

	ok(got && !strcmp(got, line), "%s (\"%s\")", what, line);
	if (!got)
		printf("# instead: %s\n", c->log ? c->log + c->mark : "");
}

static void holder_main(unsigned int node, int ready)
{
	static const char *const dirs[] = {
		"/run", "/dev/shm", "/var/lib/corosync", "/etc/corosync",
	};
	FILE *f;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(1);
	for (unsigned int i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mount("tmpfs", dirs[i], "tmpfs", 0, "mode=0755") < 0)
			_exit(1);
	f = fopen("/etc/corosync/corosync.conf", "w");
	if (!f)
		_exit(1);
	fprintf(f, "totem {\n version: 2\n cluster_name: kt\n transport: udpu\n token: %d\n"
		   " token_coefficient: 0\n}\nquorum {\n provider: corosync_votequorum\n}\n"
		   "system {\n move_to_root_cgroup: no\n}\n"
		   "logging {\n to_stderr: no\n to_syslog: no\n}\nnodelist {\n", 1000 * slow);
	for (unsigned int i = 0; i < NODES; i++)
		fprintf(f, " node {\n  nodeid: %u\n  name: n%u\n  ring0_addr: 10.99.0.%u\n }\n",
			nodeid[i], nodeid[i], i + 1);
	fprintf(f, "}\n");
	fclose(f);
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void set_up(void)
{
	int ready[2];
	char c;

	if (system("command -v corosync >/dev/null && test -d /var/lib/corosync") != 0) {
		printf("skip - corosync is not installed\n");
		exit(77);
	}
	if (unshare(CLONE_NEWNET) < 0) {
		printf("skip - no network namespace: %s\n", strerror(errno));
		exit(77);
	}
	if (pipe2(ready, O_CLOEXEC) < 0)
		die("pipe");
	run("ip link add br0 type bridge; ip link set br0 up");
	for (unsigned int i = 0; i < NODES; i++) {
		holder[i] = fork();
		if (holder[i] == 0)
			holder_main(i, ready[1]);
		if (read(ready[0], &c, 1) != 1)
			die("a node's namespaces");
		run("ip link add v%u type veth peer name eth0 netns %d && "
		    "ip link set v%u master br0 up", i, holder[i], i);
		run("nsenter -t %d -n sh -c 'ip link set lo up; ip addr add 10.99.0.%u/24 dev eth0; "
		    "ip link set eth0 up'", holder[i], i + 1);
	}
}

static void tear_down(void)
{
	for (unsigned int i = 0; i < NODES; i++) {
		if (corosync[i] > 0)
			corosync_kill(i);
		kill(holder[i], SIGKILL);
		reap(holder[i]);
	}
}

/* ---- tests ---- */

static void test_total_order(struct client *a, struct client *b)
{
	size_t at_a, at_b, len;

	at_a = a->mark;
	at_b = b->mark;
	tell(a, "flood 300");
	tell(b, "flood 300");
	tell(a, "send end1");
	tell(b, "send end2");
	expect(a, "msg 1 end1", "own messages come back");
	a->mark = at_a;
	expect(a, "msg 2 end2", "the peer's come too");
	expect(b, "msg 2 end2", "at the peer as well");
	b->mark = at_b;
	expect(b, "msg 1 end1", "ours arrive there");
	/* Both have both ends: everything before is there. */
	len = a->len - at_a;
	ok(len > 600 * 8 && b->len - at_b == len && !memcmp(a->log + at_a, b->log + at_b, len),
	   "602 messages in the same order at both (%zu bytes)", len);
	a->mark = a->len;
	b->mark = b->len;
	tell(a, "toolong");
	expect(a, "toolong 1 1", "too long and empty messages are refused");
}

/* More than corosync takes at once: the queue keeps the order, then refuses. */
static void test_queue(struct client *a, struct client *b)
{
	unsigned int sent = 0, full = 0, try_again = 0, counted = 0;
	const char *line;
	char want[64];

	tell(a, "big 700");
	line = await(a, "big ", WAIT_MS);
	if (line)
		sscanf(line, "big %u %u %u %u", &sent, &full, &try_again, &counted);
	ok(sent > 200 && full > 0 && sent + full == 700 && try_again && counted,
	   "42 MB at once: %u messages taken, %u refused, none unaccounted", sent, full);
	expect(b, "msg 1 bigend", "what was queued arrives");
	expect(a, "msg 1 bigend", "at the sender too");
	snprintf(want, sizeof(want), "bigcheck %u 1", sent);
	tell(a, "bigcheck");
	tell(b, "bigcheck");
	expect(a, want, "in order and whole");
	expect(b, want, "there as well");
}

static void test_crash_and_leave(struct client *a, struct client *b)
{
	int64_t start = now_ms();

	kill(b->pid, SIGKILL);
	client_end(b);
	expect(a, "view 1 2", "a killed process is seen as crashed");
	ok(now_ms() - start < 700 * slow, "without waiting for the token (%lld ms)",
	   (long long)(now_ms() - start));
	client_start(b, 1);
	expect(b, "up 2", "it comes back");
	expect(a, "view 3 0", "and is seen");
	expect(b, "view 3 0", "and sees");
	tell(b, "quit");
	expect(b, "closed", "it leaves");
	client_end(b);
	expect(a, "view 1 2", "a clean leave is no loss of the node either");
	client_start(b, 1);
	expect(b, "view 3 0", "back again");
	expect(a, "view 3 0", "seen again");
	tell(b, "shut");
	ok(await(b, "broken ", 5000 * slow), "connection lost while corosync lives: the process must end");
	client_end(b);
	expect(a, "view 1 2", "the group takes it for dead");
	client_start(b, 1);
	expect(b, "view 3 0", "it comes back after that");
	expect(a, "view 3 0", "the other sees it");
}

static void test_corosync_lost(struct client *a, struct client *b)
{
	corosync_kill(1);
	ok(await(b, "down connection to corosync lost", 5000 * slow), "corosync killed: down");
	tell(b, "send x");
	expect(b, "send ENOTCONN", "no message while down");
	expect(a, "view 1 0", "the peer sees a lost node, not a crashed process");
	corosync_start(1);
	expect(b, "up 2", "corosync restarted: up by itself");
	expect(b, "view 3 0", "both are members");
	expect(a, "view 3 0", "at the peer too");
	tell(b, "send again");
	expect(a, "msg 2 again", "messages flow again");
}

static void deliver(cpg_handle_t h, const struct cpg_name *n, uint32_t id, uint32_t pid, void *m,
		    size_t s)
{
}

static void confchg(cpg_handle_t h, const struct cpg_name *n, const struct cpg_address *m, size_t nm,
		    const struct cpg_address *l, size_t nl, const struct cpg_address *j, size_t nj)
{
}

/* A member that is none of ours, as another program with our group's name would be. */
static void stranger_main(void)
{
	cpg_callbacks_t cb = { deliver, confchg };
	struct cpg_name name = { .length = 11, .value = "clusterd:kt" };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)"stranger", .iov_len = 8 };
	cpg_handle_t h;

	for (int i = 0; cpg_initialize(&h, &cb) != CS_OK; i++) {
		if (i == 100)
			_exit(1);
		usleep(100000);
	}
	if (cpg_join(h, &name) != CS_OK)
		_exit(1);
	usleep(500000 * slow);
	if (cpg_dispatch(h, CS_DISPATCH_ALL) != CS_OK ||
	    cpg_mcast_joined(h, CPG_TYPE_AGREED, &iov, 1) != CS_OK)
		_exit(1);
	usleep(300000 * slow);
	_exit(cpg_finalize(h) == CS_OK ? 0 : 1);
}

static void test_foreign(struct client *a)
{
	struct client c = { 0 };
	const char *line;
	int status = -1;
	pid_t pid;

	client_start(&c, 2);
	usleep(1500000 * slow);
	tell(&c, "why");
	line = await(&c, "why ", WAIT_MS);
	ok(line && strstr(line, "nodeid of this node is 100"), "nodeid 100 is refused: %s",
	   line ? line : "");
	kill(c.pid, SIGKILL);
	client_end(&c);
	ok(!strstr(c.log, "\nup "), "and never up");
	free(c.log);

	a->mark = a->len;
	pid = fork_into(2);
	if (pid == 0)
		stranger_main();
	ok(waitpid(pid, &status, 0) == pid && status == 0, "a stranger was in the group");
	expect(a, "view 3 0", "it is not in the view");
	tell(a, "send after");
	a->mark = a->len;
	expect(a, "msg 1 after", "the group goes on");
	tell(a, "foreign");
	line = await(a, "foreign ", WAIT_MS);
	/* The view with it, and its message. */
	ok(line && !strcmp(line, "foreign 2"), "it is counted: %s", line ? line : "");
	ok(!strstr(a->log, "stranger"), "its message is not delivered");
}

int main(void)
{
	struct client a = { 0 }, b = { 0 };
	const char *text = getenv("LAB_SLOW");

	if (text && atoi(text) >= 1 && atoi(text) <= 100)
		slow = atoi(text);
	signal(SIGPIPE, SIG_IGN);
	close_range(3, ~0u, 0);		/* what we inherited would look like a leak */
	set_up();
	client_start(&a, 0);
	expect(&a, "open -1 1 0", "opened; nothing can be sent before the group is up");
	usleep(500000 * slow);
	tell(&a, "why");
	ok(await(&a, "why cannot connect to corosync", WAIT_MS), "no corosync: the reason is told");
	for (unsigned int i = 0; i < NODES; i++)
		corosync_start(i);
	expect(&a, "up 1", "up once corosync runs");
	ok(strstr(a.log, "view") >= a.log + a.mark || !strstr(a.log, "view"),
	   "up comes before the first view");
	expect(&a, "view 1 0", "a view of itself");
	a.mark = 0;
	expect(&a, "quorum 1", "quorum is told");
	tell(&a, "fds");
	expect(&a, "fds 1 0", "all descriptors are close-on-exec");
	client_start(&b, 1);
	expect(&b, "up 2", "the second is up");
	expect(&b, "view 3 0", "and sees both");
	expect(&a, "view 3 0", "and is seen");

	test_total_order(&a, &b);
	test_queue(&a, &b);
	test_crash_and_leave(&a, &b);
	test_corosync_lost(&a, &b);
	test_foreign(&a);
	ok(!strstr(a.log, "early") && !strstr(b.log, "early"), "no message was taken before up");

	tell(&a, "quit");
	tell(&b, "quit");
	client_end(&a);
	client_end(&b);
	free(a.log);
	free(b.log);
	tear_down();
	printf("group_kernel: %u failed\n", failed);
	return failed ? 1 : 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FAKE_SYSTEMD_H
#define FAKE_SYSTEMD_H

/*
 * A bus with systemd on it, as far as clusterd asks: one child process, one connection at a time,
 * D-Bus without a daemon.  What it says is in 'fake', which both processes share.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

struct fake_systemd {
	char address[64], path[48];
	pid_t pid;
	/* Units. */
	char active[32], load[32];	/* of each unit; "": no answer */
	char error[64];			/* instead of an answer; "": none */
	char asked[256];		/* object path of the last question */
	/* Jobs: result; "": never ends. */
	char result[32];
	int other_job;			/* another one ends before ours */
	int hang_up;			/* closes the connection instead of ending the job */
	unsigned int connections, restarts;
	char restarted[128];
};

static struct fake_systemd *fake;

static void job_removed(sd_bus *bus, uint32_t id, const char *job, const char *result)
{
	sd_bus_message *m = NULL;

	/* From a unique name, as a bus would deliver it. */
	if (sd_bus_message_new_signal(bus, &m, "/org/freedesktop/systemd1",
				      "org.freedesktop.systemd1.Manager", "JobRemoved") < 0 ||
	    sd_bus_message_set_sender(m, ":1.9") < 0 ||
	    sd_bus_message_append(m, "uoss", id, job, "x.service", result) < 0 ||
	    sd_bus_send(bus, m, NULL) < 0)
		_exit(1);
	sd_bus_message_unref(m);
}

static int fake_manager(sd_bus_message *m, sd_bus *bus, const char *member)
{
	const char *unit, *mode;

	if (strcmp(member, "RestartUnit") != 0)
		return sd_bus_reply_method_return(m, NULL);
	if (sd_bus_message_read(m, "ss", &unit, &mode) < 0 || strcmp(mode, "replace") != 0)
		return sd_bus_reply_method_errorf(m, "x.y.Bad", "bad");
	fake->restarts++;
	snprintf(fake->restarted, sizeof(fake->restarted), "%s", unit);
	if (fake->error[0])
		return sd_bus_reply_method_errorf(m, fake->error, "because");
	sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/7");
	if (fake->hang_up) {
		sd_bus_flush(bus);
		sd_bus_close(bus);
		return 1;
	}
	if (fake->other_job)
		job_removed(bus, 6, "/org/freedesktop/systemd1/job/6", "failed");
	if (fake->result[0])
		job_removed(bus, 7, "/org/freedesktop/systemd1/job/7", fake->result);
	return 1;
}

static int fake_property(sd_bus_message *m)
{
	const char *interface, *property, *value;

	if (sd_bus_message_read(m, "ss", &interface, &property) < 0)
		return sd_bus_reply_method_errorf(m, "x.y.Bad", "bad");
	snprintf(fake->asked, sizeof(fake->asked), "%s", sd_bus_message_get_path(m));
	if (fake->error[0])
		return sd_bus_reply_method_errorf(m, fake->error, "because");
	value = !strcmp(property, "LoadState") ? fake->load : fake->active;
	return value[0] ? sd_bus_reply_method_return(m, "v", "s", value) : 1;
}

static int fake_filter(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m);
	sd_bus *bus = arg;

	if (!sd_bus_message_is_method_call(m, NULL, NULL) || !interface || !member)
		return 0;
	if (!strcmp(interface, "org.freedesktop.DBus") && !strcmp(member, "Hello"))
		return sd_bus_reply_method_return(m, "s", ":1.1");
	if (!strcmp(interface, "org.freedesktop.systemd1.Manager"))
		return fake_manager(m, bus, member);
	if (!strcmp(interface, "org.freedesktop.DBus.Properties"))
		return fake_property(m);
	return sd_bus_reply_method_return(m, NULL);
}

static void fake_serve(int fd)
{
	sd_bus *bus = NULL;
	sd_id128_t id;
	int ret;

	sd_id128_randomize(&id);
	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
	    sd_bus_set_server(bus, 1, id) < 0 || sd_bus_set_anonymous(bus, 1) < 0 ||
	    sd_bus_add_filter(bus, NULL, fake_filter, bus) < 0 || sd_bus_start(bus) < 0)
		_exit(1);
	do {
		ret = sd_bus_process(bus, NULL);
		if (ret == 0)
			ret = sd_bus_wait(bus, UINT64_MAX);
	} while (ret >= 0);
	sd_bus_close_unref(bus);
}

static inline int fake_systemd_run(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	pid_t pid;

	strcpy(un.sun_path, fake->path);
	unlink(fake->path);
	if (bind(listener, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(listener, 64) < 0)
		return -1;
	pid = fork();
	if (pid) {
		close(listener);
		fake->pid = pid;	/* not the child's 0: it is shared */
		return pid < 0 ? -1 : 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		fake->connections++;
		fake_serve(fd);
	}
	_exit(0);
}

static inline int fake_systemd_start(void **state)
{
	char dir[32] = "/tmp/fake_systemd.XXXXXX";

	fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fake == MAP_FAILED || !mkdtemp(dir))
		return -1;
	snprintf(fake->path, sizeof(fake->path), "%s/bus", dir);
	snprintf(fake->address, sizeof(fake->address), "unix:path=%s", fake->path);
	strcpy(fake->active, "active");
	strcpy(fake->load, "loaded");
	strcpy(fake->result, "done");
	return fake_systemd_run();
}

/* Never to pid 0, which is whoever runs the tests. */
static inline void fake_systemd_signal(int signo)
{
	if (fake->pid > 0)
		kill(fake->pid, signo);
}

static inline void fake_systemd_kill(void)
{
	if (fake->pid <= 0)
		return;
	kill(fake->pid, SIGKILL);
	waitpid(fake->pid, NULL, 0);
	fake->pid = 0;
}

static inline int fake_systemd_stop(void **state)
{
	fake_systemd_kill();
	unlink(fake->path);
	*strrchr(fake->path, '/') = '\0';
	rmdir(fake->path);
	return munmap(fake, sizeof(*fake));
}

#endif

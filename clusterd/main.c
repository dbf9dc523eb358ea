// SPDX-License-Identifier: GPL-2.0-or-later
/* clusterd(8): arguments, and who is started before whom. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "ctl/proto.h"
#include "io/key.h"
#include "plug/registry.h"
#include "setup.h"
#include "turn.h"
#include "util/log.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum mode { MODE_RUN, MODE_CHECK, MODE_CLEANUP, MODE_KEYS, MODE_HELP, MODE_VERSION };

struct options {
	enum mode mode;
	bool verbose;
	const char *conf;
};

static const char usage[] =
	"usage: clusterd [-c FILE] [-nvV]\n"
	"  -c, --config FILE  configuration (default: " CONF_PATH ")\n"
	"  -n, --check        check the configuration and end\n"
	"  -v, --verbose      log more\n"
	"  -V, --version      print the version\n"
	"      --keys         list all keys of the configuration\n"
	"      --cleanup      remove what a crashed clusterd has left behind\n"
	"  -h, --help         this text\n"
	"clusterd(8) says more.\n";

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'n' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ "keys", no_argument, NULL, 'k' },
		{ "cleanup", no_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:nvVh", options, NULL)) >= 0) {
		switch (c) {
		case 'c': o->conf = optarg; break;
		case 'n': o->mode = MODE_CHECK; break;
		case 'v': o->verbose = true; break;
		case 'V': o->mode = MODE_VERSION; break;
		case 'k': o->mode = MODE_KEYS; break;
		case 'x': o->mode = MODE_CLEANUP; break;
		case 'h': o->mode = MODE_HELP; break;
		default: return false;
		}
	}
	if (optind < argc)
		fprintf(stderr, "clusterd: unexpected argument '%s'\n", argv[optind]);
	return optind == argc;
}

/* So that no socket of ours becomes what somebody prints to. */
static bool open_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* 0, or the exit status. */
static int read_conf(struct conf *c, const char *path)
{
	struct conf_errors *errs = calloc(1, sizeof(*errs));
	int err = errs ? conf_read(c, path, errs) : -ENOMEM;

	if (!err && !registry_check_conf(c, errs))
		err = -EINVAL;
	if (err && errs)
		conf_errors_print(errs, path, stderr);
	free(errs);
	return err ? EXIT_USAGE : EXIT_DONE;
}

static int check(const char *path)
{
	struct conf *c = calloc(1, sizeof(*c));
	int status = c ? read_conf(c, path) : EXIT_FAILED;

	if (!status)
		printf("%s: good\n", path);
	free(c);
	return status;
}

static int cleanup(void)
{
	struct setup s = { .lock_fd = -1 };
	int err = setup_lock(&s);

	if (err)
		return EXIT_FAILED;
	err = setup_open_leftovers(&s);
	if (!err && unlink(CTL_SOCKET) < 0 && errno != ENOENT)
		log_msg(LOG_WARNING, "cleanup", "cannot remove %s: %s", CTL_SOCKET, strerror(errno));
	if (setup_undo(&s))
		err = -EIO;
	return err ? EXIT_FAILED : EXIT_DONE;
}

static int read_key(struct key *key, const struct conf *c)
{
	char why[KEY_WHY_SIZE];
	int err = key_read(key, c->key_file, c->name, why);

	if (err)
		log_msg(err < 0 ? LOG_ERR : LOG_WARNING, "start", "%s", why);
	return err < 0 ? err : 0;
}

/* Only what is touched: the heartbeat must not wait for a disk. */
static void lock_memory(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_msg(LOG_WARNING, "start", "memory cannot be locked: %s; when it is short the "
			"heartbeat may be late (CAP_IPC_LOCK, or LimitMEMLOCK=infinity)",
			strerror(errno));
}

/* With the lock held. */
static int run_locked(struct setup *s, struct turn_params *p)
{
	bool same_config, leftovers = false;
	struct turn *t = NULL;
	int status = EXIT_FAILED, err;

	err = setup_incarnation(conf_digest(p->conf), &p->incarnation, &same_config);
	if (!err)
		err = turn_new(&t, p);
	if (!err) {
		leftovers = true;
		err = turn_setup(t, s, !same_config);
	}
	if (!err)
		err = turn_start(t);
	if (!err)
		status = turn_run(t);
	turn_free(t);
	if (leftovers && setup_undo(s))
		status = EXIT_FAILED;
	if (!status)
		log_msg(LOG_NOTICE, "stop", "stopped, nothing is left behind");
	return status;
}

static int run(const char *path)
{
	static struct conf conf;
	char interface[IFNAME_SIZE];
	struct setup s = { .lock_fd = -1 };
	struct turn_params p = { .conf_path = path, .interface = interface };
	const char *why;
	struct key key;
	int status = read_conf(&conf, path);

	if (status)
		return status;
	p.conf = &conf;
	p.key = &key;
	p.self = conf_local_node(&conf, interface, &why);
	if (p.self == NOBODY) {
		log_msg(LOG_ERR, "start", "%s: %s", path, why);
		return EXIT_FAILED;
	}
	if (read_key(&key, &conf) || setup_lock(&s))
		return EXIT_FAILED;
	block_signals();
	lock_memory();
	status = run_locked(&s, &p);
	explicit_bzero(&key, sizeof(key));
	return status;
}

int main(int argc, char **argv)
{
	struct options o = { .conf = CONF_PATH };

	if (!open_standard_fds())
		return EXIT_FAILED;
	if (!parse(&o, argc, argv)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	umask(022);
	log_setup(o.verbose ? LOG_DEBUG : LOG_INFO, false);
	switch (o.mode) {
	case MODE_RUN:
		return run(o.conf);
	case MODE_CHECK:
		return check(o.conf);
	case MODE_CLEANUP:
		return cleanup();
	case MODE_KEYS:
		conf_keys(stdout);
		return EXIT_DONE;
	case MODE_HELP:
		fputs(usage, stdout);
		return EXIT_DONE;
	case MODE_VERSION:
		puts("clusterd " VERSION);
		return EXIT_DONE;
	}
	return EXIT_USAGE;
}

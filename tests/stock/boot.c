// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The first program of the stock kernel, alone in its initrd: loads the modules that lie in
 * /modules (sorted by name), mounts the host's root read-only over 9p with a tmpfs over it, moves
 * there and becomes /bin/sh with the script that run.py passed through QEMU's firmware interface.
 *
 * Linked statically.  When it fails it says why and ends, which the kernel answers with a panic,
 * and QEMU with its end: run.py notices.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEWROOT "/new"
#define JOB "/sys/firmware/qemu_fw_cfg/by_name/opt/clusterd/job/raw"
#define COMPRESSED 4	/* MODULE_INIT_COMPRESSED_FILE, linux/module.h */

static void die(const char *what)
{
	printf("boot: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static void put(const char *dev, const char *dir, const char *type, unsigned long flags,
		const char *data)
{
	mkdir(dir, 0755);
	if (mount(dev, dir, type, flags, data) < 0)
		die(dir);
}

static int is_module(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void load_modules(void)
{
	struct dirent **list;
	int n = scandir("/modules", &list, is_module, alphasort);

	if (n < 0 || chdir("/modules") < 0)
		die("/modules");
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		int fd = open(name, O_RDONLY | O_CLOEXEC);
		int flags = strcmp(name + strlen(name) - 3, ".ko") ? COMPRESSED : 0;

		if (fd < 0 || (syscall(SYS_finit_module, fd, "", flags) < 0 && errno != EEXIST))
			die(name);
		close(fd);
	}
}

static void copy_job(const char *to)
{
	char buf[4096];
	ssize_t n;
	int in = open(JOB, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (in < 0 || out < 0)
		die("no job");
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, n) != n)
			die(to);
	if (n < 0)
		die("job");
	close(in);
	close(out);
}

int main(void)
{
	char *argv[] = { "sh", "/run/job", NULL };
	char *envp[] = { "HOME=/root", "TERM=dumb", "LANG=C.UTF-8",
			 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };

	load_modules();
	put("root", "/lower", "9p", MS_RDONLY,
	    "trans=virtio,version=9p2000.L,cache=loose,msize=512000");
	put("over", "/over", "tmpfs", 0, "mode=755,size=75%");
	if (mkdir("/over/upper", 0755) < 0 || mkdir("/over/work", 0755) < 0)
		die("/over");
	put("root", NEWROOT, "overlay", 0, "lowerdir=/lower,upperdir=/over/upper,workdir=/over/work");
	put("proc", NEWROOT "/proc", "proc", 0, NULL);
	put("sysfs", NEWROOT "/sys", "sysfs", 0, NULL);
	put("dev", NEWROOT "/dev", "devtmpfs", 0, NULL);
	put("run", NEWROOT "/run", "tmpfs", 0, "mode=755");
	/* As switch_root(8) does it: rootfs itself can neither be unmounted nor pivoted away. */
	if (chdir(NEWROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		die("root");
	copy_job("/run/job");
	execve("/bin/sh", argv, envp);
	die("/bin/sh");
}

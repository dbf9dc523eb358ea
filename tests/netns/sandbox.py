# SPDX-License-Identifier: GPL-2.0-or-later
"""A place where a test may do as it likes: own process, mount, network, uts and ipc namespaces.

enter() moves the calling program into it.  Three processes come of it: the one that was started
(outside; waits and passes signals on), process 1 of the new namespace (reaps orphans) and the
program itself.  When any of the three ends, by SIGKILL too, the kernel ends all the others and
everything they started, and with the last process go the namespaces: interfaces, addresses, rules,
mounts and files in /run.  So nothing has to be cleaned up, and no name can clash with another lab.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
ALL = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
ROOT = "/run/lab"    # logs, captures, configurations: a tmpfs that only the sandbox sees

_libc = ctypes.CDLL(None, use_errno=True)


def _check(rc, what):
    if rc != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{what}: {os.strerror(err)}")


def unshare(flags=ALL):
    _check(_libc.unshare(flags), "unshare")


def mount(source, target, kind=None, flags=0, data=None):
    enc = lambda s: None if s is None else s.encode()
    _check(_libc.mount(enc(source), enc(target), enc(kind), ctypes.c_ulong(flags), enc(data)),
           f"mount {target}")


def tmpfs(target):
    mount("lab", target, "tmpfs", 0, "mode=755")


def die_with_parent():
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def reap(until):
    """As process 1: collects orphans until process 'until' ends; returns its exit code."""
    while True:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        if pid == until:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _pass_on(pid):
    def handler(sig, _frame):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, handler)


def _terminated(_sig, _frame):
    raise KeyboardInterrupt


def enter():
    """Returns inside the sandbox, in a new process; the caller's process never returns."""
    if os.geteuid() != 0:
        sys.exit("this needs root (it makes network namespaces)")
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        unshare()
    except OSError as err:
        sys.exit(f"cannot make namespaces: {err}")
    first = os.fork()
    if first:
        _pass_on(first)
        os._exit(reap(first))
    die_with_parent()
    os.setsid()    # Ctrl-C arrives once, passed on from outside, and not at every daemon
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc")
    program = os.fork()
    if program:
        _pass_on(program)
        os._exit(reap(program))
    die_with_parent()
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, _terminated)
    _prepare()


def _prepare():
    tmpfs("/run")
    os.makedirs(ROOT + "/etc")
    # A copy of /etc, so that each node can have its own files there.
    subprocess.run(["cp", "-a", "/etc/.", ROOT + "/etc/"], check=True)
    mount(ROOT + "/etc", "/etc", None, MS_BIND)
    open("/etc/clusterd.ini", "w").close()
    os.makedirs("/etc/corosync", exist_ok=True)
    # The sandbox's own network is the switch: it must not speak itself.
    for name, value in (("ipv6/conf/default/disable_ipv6", "1"), ("ipv6/conf/all/disable_ipv6", "1"),
                        ("bridge/bridge-nf-call-iptables", "0"),
                        ("bridge/bridge-nf-call-ip6tables", "0"),
                        ("bridge/bridge-nf-call-arptables", "0")):
        try:
            with open("/proc/sys/net/" + name, "w") as f:
                f.write(value)
        except FileNotFoundError:
            pass


def node_main(name):
    """python3 sandbox.py NAME: becomes a machine called NAME; prints its process 1 and 'ready'."""
    unshare()
    pid = os.fork()
    if pid:
        os.write(1, b"%d\n" % pid)
        os._exit(reap(pid))
    die_with_parent()
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    _check(_libc.sethostname(name.encode(), len(name)), "sethostname")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    for path in ("/run", "/dev/shm", "/etc/corosync", "/var/lib/corosync", "/var/lib/nginx",
                 "/var/log"):
        if os.path.isdir(path):
            tmpfs(path)
    open("/run/clusterd.ini", "w").close()
    mount("/run/clusterd.ini", "/etc/clusterd.ini", None, MS_BIND)
    os.write(1, b"ready\n")    # print() may write a line in two pieces
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)    # nothing runs yet, or any more
        except InterruptedError:
            pass


if __name__ == "__main__":
    node_main(sys.argv[1])

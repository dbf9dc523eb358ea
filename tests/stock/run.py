#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
run.py [-v] [WORD...]                runs the stages whose names hold one of the WORDs (default: all)
run.py [--timeout S] --shell 'CMD'   runs CMD there, prints what it says and ends with its status
run.py -l                            lists the stages

Boots Debian's stock kernel (fetch.sh) in QEMU's emulator, with this machine's root file system as
its own: read-only over 9p (QEMU refuses writes) beneath a tmpfs, so that a test may write anywhere
and nothing of it is left.  No network card.  All stages run in one boot, one after the other, each
in its own process namespace, in the project's directory, with BUILD, STOCK=1 and LAB_SLOW (multiply
all patience by it) in the environment.

Stages run with one processor whose clock counts its instructions (one per ns, in truth 3 to 6): what
is late there does not depend on what else this machine does.  LAB_SLOW is 2.  --shell has two
processors and true time, is 10 to 30 times slower than this machine, and LAB_SLOW is 10.

  -v            prints the kernel's console, too (otherwise only after a failure)
  --timeout S   the limit for --shell, in seconds (default 300)
  --mem M       MiB of memory (default 2560)
  --exact       --shell as the stages run
BUILD=DIR takes the programs from DIR instead of build/.

A test that says "skip" here counts as failed, because this kernel has everything, unless
ALLOWED_SKIPS says otherwise.
"""

import contextlib
import ctypes
import io
import os
import re
import secrets
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

import check                        # noqa: E402

BUILD = os.environ.get("BUILD", "build")
DIR = os.path.join(TOP, "build", "stock")
# What must be loaded before the root is there; their dependencies are found by modprobe.
EARLY_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "qemu_fw_cfg")
BOOT_SECONDS = 300
GRACE_SECONDS = 60      # beyond a stage's limit: then the guest itself hangs
EXACT_SECONDS = 15      # of ours, at most, pass in one second by the clock that counts instructions

# name, seconds by the guest's clock, command
STAGES = (
    ("rules_kernel", 120, "$BUILD/tests/rules_kernel"),
    ("handed_kernel", 240, "$BUILD/tests/handed_kernel"),
    ("stack_kernel", 120, "$BUILD/tests/stack_kernel"),
    ("queue_kernel", 240, "$BUILD/tests/queue_kernel"),
    ("early_kernel", 60, "$BUILD/tests/early_kernel"),
    ("netif_kernel", 120, "$BUILD/tests/netif_kernel"),
    ("tunnel_kernel", 60, "$BUILD/tests/tunnel_kernel"),
    ("announce_kernel", 60, "$BUILD/tests/announce_kernel"),
    ("group_kernel", 120, "$BUILD/tests/group_kernel"),
    ("probe_kernel", 60, "$BUILD/tests/probe_kernel"),
    ("sockets_kernel", 60, "$BUILD/tests/sockets_kernel"),
    # Every way in and on, with the tunnels that only this kernel has.
    ("cluster", 240, "/usr/bin/python3 -u tests/netns/run.py test_way_"),
)

# (expression that a "skip" line must match, why it may: none without a reason)
ALLOWED_SKIPS = (
    (r"^skip - no fast path here: .*Linux 6\.6 can", "TCX came with Linux 6.6, Debian 12 has 6.1"),
)

# What the kernel may never say.
KERNEL_BUG = re.compile(r"\b(BUG:|Oops|WARNING: CPU|general protection|Kernel panic|"
                        r"unregister_netdevice: waiting|possible circular|list_add corruption)")
# The emulator's fault, not the kernel's: a virtual CPU that did not run for a while.
EMULATOR = re.compile(r"soft lockup|rcu_.*stall|workqueue lockup|clocksource")


class GuestError(Exception):
    pass


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)     # PR_SET_PDEATHSIG


def newc(entries):
    """An initrd (cpio "newc", Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = io.BytesIO()
    for number, (name, mode, data) in enumerate(entries + [("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        for part in (b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0", data):
            out.write(part)
            out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def module_files(root, release):
    files = []
    for name in EARLY_MODULES:
        r = subprocess.run(["modprobe", "-d", root, "-S", release, "--show-depends", name],
                           capture_output=True, text=True,
                           env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))
        if r.returncode:
            raise GuestError(f"modprobe --show-depends {name}: {r.stderr.strip()}")
        for line in r.stdout.splitlines():
            word = line.split()
            if word[0] == "insmod" and word[1] not in files:
                files.append(word[1])
    return files


def kernel():
    """(image, initrd, modules' directory) of the stock kernel; makes the initrd when it is old."""
    try:
        with open(os.path.join(DIR, "kernel")) as f:
            release = f.read().strip()
    except OSError:
        raise GuestError("no stock kernel here: run tests/stock/fetch.sh, or make deps") from None
    root = os.path.join(DIR, "root")
    initrd, source = os.path.join(DIR, "initrd"), os.path.join(HERE, "boot.c")
    parts = (source, os.path.abspath(__file__), os.path.join(DIR, "kernel"))
    if not os.path.exists(initrd) or any(os.path.getmtime(p) > os.path.getmtime(initrd) for p in parts):
        entries = [("dev", 0o40755, b""), ("modules", 0o40755, b"")]
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run(["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
                            "-o", tmp + "/init", source], check=True)
            with open(tmp + "/init", "rb") as f:
                entries.append(("init", 0o100755, f.read()))
        for number, path in enumerate(module_files(root, release)):
            with open(path, "rb") as f:
                entries.append((f"modules/{number:02}-{os.path.basename(path)}", 0o100644, f.read()))
        part = f"{initrd}.{os.getpid()}"
        with open(part, "wb") as f:
            f.write(newc(entries))
        os.rename(part, initrd)
    return f"{root}/boot/vmlinuz-{release}", initrd, f"{root}/lib/modules"


class Guest:
    """
    One boot.  'jobs' is a list of (seconds, command).  events() yields ("up", release),
    ("begin", n), ("line", bytes), ("end", n, status) in order; GuestError when the guest dies or
    hangs.  close() ends it at any moment and leaves nothing.
    """

    def __init__(self, jobs, memory, exact=False):
        image, initrd, modules = kernel()
        self.mark = "@stock-" + secrets.token_hex(8)
        self.console = b""
        self.jobs = jobs
        with open(os.path.join(HERE, "init")) as f:
            script = f.read()
        head = "".join(f"{k}={shlex.quote(v)}\n" for k, v in (
            ("TOP", TOP), ("BUILD", BUILD), ("MODULES", modules), ("MARK", self.mark),
            ("LAB_SLOW", "2" if exact else "10")))
        self.stretch = EXACT_SECONDS if exact else 1
        tail = "".join(f"stage {i} {s} {shlex.quote(c)}\n" for i, (s, c) in enumerate(jobs))
        self.job = tempfile.TemporaryFile()
        self.job.write((head + script + tail + "printf '\\n%s done\\n' \"$MARK\" >&3\nsleep 100000\n").encode())
        self.job.flush()
        self.port, theirs = socket.socketpair()
        # "rep stosb" would count as one instruction per byte: without erms the kernel fills by words.
        how = ["tcg,thread=single", "-icount", "shift=0,sleep=on", "-smp", "1",
               "-cpu", "max,la57=off,erms=off,fsrm=off"] if exact else \
            ["tcg,thread=multi", "-smp", "2", "-cpu", "max,la57=off"]
        args = ["qemu-system-x86_64", "-accel", *how,
                "-m", str(memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-serial", "stdio", "-kernel", image, "-initrd", initrd,
                "-append", "console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr tsc=reliable "
                           "clocksource=tsc",
                "-fsdev", "local,id=r,path=/,security_model=none,multidevs=remap,readonly=on",
                "-device", "virtio-9p-pci,fsdev=r,mount_tag=root",
                "-device", "virtio-serial-pci", "-chardev", f"socket,id=p,fd={theirs.fileno()}",
                "-device", "virtserialport,chardev=p,nr=1,name=clusterd",
                "-device", "virtio-rng-pci",
                "-fw_cfg", f"name=opt/clusterd/job,file=/proc/self/fd/{self.job.fileno()}"]
        if not shutil.which(args[0]):
            raise GuestError(f"no {args[0]}: run make deps")
        self.qemu = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, start_new_session=True,
                                     pass_fds=(theirs.fileno(), self.job.fileno()),
                                     preexec_fn=die_with_parent)
        theirs.close()

    def close(self):
        if self.qemu.poll() is None:
            self.qemu.kill()
        self.qemu.wait()
        self.console += self.qemu.stdout.read()
        self.qemu.stdout.close()
        self.port.close()
        self.job.close()

    def console_lines(self):
        return self.console.decode(errors="replace").replace("\r", "").splitlines()

    def lines(self):
        """The port's lines without their ends, or None when the deadline has passed."""
        sel = selectors.DefaultSelector()
        sel.register(self.port, selectors.EVENT_READ)
        sel.register(self.qemu.stdout, selectors.EVENT_READ)
        rest = b""
        with sel:
            while True:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    yield None
                    continue
                for key, _ in sel.select(left):
                    data = os.read(key.fd, 65536)
                    if key.fileobj is self.qemu.stdout:
                        self.console += data
                        if data:
                            continue
                        raise GuestError("the emulator ended")
                    if not data:
                        raise GuestError("the emulator ended")
                    parts = (rest + data).split(b"\n")
                    rest = parts.pop()
                    yield from parts

    def events(self):
        mark = self.mark.encode() + b" "
        self.deadline = time.monotonic() + BOOT_SECONDS
        where = "the boot"
        held = 0        # empty lines: the last before a mark belongs to the mark
        for line in self.lines():
            if line is None:
                raise GuestError(f"{where}: no end in time; the guest hangs")
            if line and not line.startswith(mark):
                for text in [b""] * held + [line]:
                    yield "line", text
                held = 0
                continue
            if not line:
                held += 1
                continue
            for _ in range(held - 1):
                yield "line", b""
            held = 0
            word = line[len(mark):].decode().split()
            if word[0] == "done":
                return
            if word[0] == "begin":
                n = int(word[1])
                where = f"stage {n}"
                self.deadline = time.monotonic() + self.jobs[n][0] * self.stretch + GRACE_SECONDS
                yield "begin", n
            elif word[0] == "end":
                self.deadline = time.monotonic() + GRACE_SECONDS
                yield "end", int(word[1]), int(word[2])
            else:
                self.deadline = time.monotonic() + GRACE_SECONDS
                yield tuple(word)


def judge(text, status, seconds, name):
    """(passed, failed, skipped, names) of one stage's output, by the rules of this kernel."""
    with contextlib.redirect_stdout(io.StringIO()):
        passed, failed, skipped, names = check.count(text)
    seen = re.findall(r"(?m)^(?:skip\b.*|ok\b.*# SKIP.*)$", text)
    bad = [s for s in seen if not any(re.search(e, s) for e, _ in ALLOWED_SKIPS)]
    bad += ["a test that it does not name"] * max(0, skipped - len(seen))
    skipped -= min(skipped, len(bad))
    failed += len(bad)
    names = names + [f"not ok - {name}: skipped what the stock kernel can do: {s}" for s in bad]
    if status == 124:
        names.append(f"not ok - {name}: not finished after {seconds} s")
        failed += 1
    elif status and not failed and not (status == 77 and skipped):
        names.append(f"not ok - {name}: exit status {status}")
        failed += 1
    elif not passed and not failed and not skipped:
        names.append(f"not ok - {name}: ran no test")
        failed += 1
    return passed, failed, skipped, names


def kernel_complaints(guest):
    return [line for line in guest.console_lines() if KERNEL_BUG.search(line) and not EMULATOR.search(line)]


def run_stages(chosen, memory, verbose):
    sums = [0, 0, 0]
    start = begun = time.monotonic()
    guest = Guest([(s, c) for _, s, c in chosen], memory, exact=True)
    text, left = [], [name for name, _, _ in chosen]
    try:
        for event in guest.events():
            if event[0] == "up":
                print(f"# Linux {event[1]}, up after {time.monotonic() - start:.1f} s", flush=True)
            elif event[0] == "begin":
                print(f"# {chosen[event[1]][0]}", flush=True)
                text, begun = [], time.monotonic()
            elif event[0] == "line":
                text.append(event[1].decode(errors="replace"))
                print(text[-1], flush=True)
            elif event[0] == "end":
                name, seconds, _ = chosen[event[1]]
                left.remove(name)
                *n, names = judge("\n".join(text), event[2], seconds, name)
                print("\n".join([x for x in names if x not in text] + [
                    f"# {name}: {n[0]} passed, {n[1]} failed, {n[2]} skipped, "
                    f"{time.monotonic() - begun:.1f} s"]), flush=True)
                sums = [a + b for a, b in zip(sums, n)]
                text = []
    except GuestError as err:
        print(f"not ok - {left[0] if left else 'end'}: {err}")
        sums[1] += 1
        for name in left[1:]:
            print(f"not ok - {name}: not run")
            sums[1] += 1
    finally:
        guest.close()
    said = kernel_complaints(guest)
    for line in said[:10]:
        print(f"not ok - the kernel says: {line}")
    sums[1] += bool(said)
    if verbose or said or left:
        print("\n".join("# console: " + line for line in guest.console_lines()[-120:]))
    print(f"{sums[0]} passed, {sums[1]} failed, {sums[2]} skipped")
    return 1 if sums[1] or not sums[0] else 0


def run_shell(command, seconds, memory, flags):
    """The command's status; 124 when it took too long, 125 when the guest broke."""
    guest, status = Guest([(seconds, command)], memory, "--exact" in flags), 125
    verbose = "-v" in flags
    try:
        for event in guest.events():
            if event[0] == "line":
                sys.stdout.buffer.write(event[1] + b"\n")
                sys.stdout.buffer.flush()
            elif event[0] == "end":
                status = event[2]
    except GuestError as err:
        print(f"run.py: {err}", file=sys.stderr)
        verbose = True
    finally:
        guest.close()
    said = kernel_complaints(guest)
    if verbose or said:
        print("\n".join("# console: " + line for line in guest.console_lines()[-200:]), file=sys.stderr)
    return status


def main():
    args, words, options = sys.argv[1:], [], {"--timeout": "300", "--mem": "2560"}
    flags = set()
    while args:
        a = args.pop(0)
        if a in ("--timeout", "--mem", "--shell") and args:
            options[a] = args.pop(0)
        elif a in ("-v", "-l", "--exact"):
            flags.add(a)
        elif a.startswith("-"):
            print(__doc__)
            return 0 if a in ("-h", "--help") else 2
        else:
            words.append(a)
    if not options["--timeout"].isdigit() or not options["--mem"].isdigit():
        print("run.py: --timeout and --mem take a number", file=sys.stderr)
        return 2
    chosen = [s for s in STAGES if not words or any(w in s[0] for w in words)]
    if "-l" in flags:
        for name, seconds, command in chosen:
            print(f"{name:24} {seconds:5} s  {command}")
        return 0
    if not chosen or words and "--shell" in options:
        print("run.py: no such stage; -l lists them", file=sys.stderr)
        return 2
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda n, _: sys.exit(128 + n))
    try:
        if "--shell" in options:
            return run_shell(options["--shell"], int(options["--timeout"]), int(options["--mem"]), flags)
        return run_stages(chosen, int(options["--mem"]), "-v" in flags)
    except GuestError as err:
        print(f"not ok - stock: {err}")
        print("0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())

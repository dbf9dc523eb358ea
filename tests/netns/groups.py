# SPDX-License-Identifier: GPL-2.0-or-later
"""Control groups of the nodes of a lab: what a "machine" of it may use, and what it has used.

    with groups.Groups() as g:
        node = g.make("n1", cores=0.05, memory=128 << 20)
        node.add(pid)
        node.cpu_us(), node.memory_used()
        node.show(c[1])      # the node's own /sys/fs/cgroup, for its monitors

Only groups of our own, below one of our own, removed at the end; those of an earlier run that was killed
are removed at the next start.  Version 1 and version 2, whichever has the controllers.
"""

import glob
import os
import secrets
import time

ROOT = "/sys/fs/cgroup"
NAME = "clusterd-lab-"
PERIOD_US = 40000    # short, so that a group that has used its part does not sleep for long
CONTROLLERS = ("cpu", "cpuacct", "memory")


def write(path, value):
    with open(path, "w") as f:
        f.write(str(value))


def read(path):
    with open(path) as f:
        return f.read()


def fields(path):
    return {k: int(v) for k, v in (line.split()[:2] for line in read(path).splitlines() if line)}


def find():
    """(2, {controller: directory}), (1, ...) or (0, why not)"""
    try:
        if {"cpu", "memory"} <= set(read(f"{ROOT}/cgroup.subtree_control").split()):
            return 2, {c: ROOT for c in CONTROLLERS}
    except OSError:
        pass
    tops = {}
    for line in read("/proc/mounts").splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup":
            for c in set(CONTROLLERS) & set(options.split(",")):
                tops.setdefault(c, where)
    if len(tops) == len(CONTROLLERS) and all(os.access(t, os.W_OK) for t in tops.values()):
        return 1, tops
    return 0, "no control groups with the controllers of processors and memory"


def needs():
    """For @case."""
    version, why = find()
    return None if version else why


class Group:
    """One machine's.  'path': as its monitors see it (see show())."""

    def __init__(self, owner, name, cores, memory):
        self.v2 = owner.version == 2
        self.name = name
        self.dirs = {c: f"{top}/{name}" for c, top in owner.tops.items()}
        self.below = os.path.join(os.path.basename(owner.tops["memory"]), name)
        for d in set(self.dirs.values()):
            os.mkdir(d)
        self.cores = cores
        if cores:
            self.limit_cores(cores)
        if memory:
            self.limit_memory(memory)

    def limit_cores(self, cores):
        self.cores = cores
        quota = round(cores * PERIOD_US)
        if self.v2:
            write(self.dirs["cpu"] + "/cpu.max", f"{quota} {PERIOD_US}")
        else:
            write(self.dirs["cpu"] + "/cpu.cfs_period_us", PERIOD_US)
            write(self.dirs["cpu"] + "/cpu.cfs_quota_us", quota)

    def limit_memory(self, octets):
        write(self.dirs["memory"] + ("/memory.max" if self.v2 else "/memory.limit_in_bytes"), octets)

    def add(self, *pids):
        for d in set(self.dirs.values()):
            for pid in pids:
                write(d + "/cgroup.procs", pid)

    def pids(self):
        return [int(x) for x in read(self.dirs["cpu"] + "/cgroup.procs").split()]

    def cpu_us(self):
        """Processor time used so far."""
        if self.v2:
            return fields(self.dirs["cpu"] + "/cpu.stat")["usage_usec"]
        return int(read(self.dirs["cpuacct"] + "/cpuacct.usage")) // 1000

    def memory_used(self):
        """Octets, without what the kernel could drop: as the monitor 'memory' counts."""
        d = self.dirs["memory"]
        if self.v2:
            return max(0, int(read(d + "/memory.current")) - fields(d + "/memory.stat")["inactive_file"])
        return max(0, int(read(d + "/memory.usage_in_bytes")) - fields(d + "/memory.stat")["total_inactive_file"])

    def show(self, node):
        """Mounts the groups in the node, whose /sys is its own; their paths there, by controller."""
        # by what is there: what lies under the new /sys is still in the list of mounts
        def there(where, kind):
            return f'[ "$(stat -f -c %T {where})" = {kind} ]'
        if self.v2:
            node.run(f"{there(ROOT, 'cgroup2fs')} || mount -t cgroup2 none {ROOT}")
        else:
            node.run(f"{there(ROOT, 'tmpfs')} || mount -t tmpfs none {ROOT}")
            for c in CONTROLLERS:
                at = f"{ROOT}/{c}"
                node.run(f"mkdir -p {at}; {there(at, 'cgroupfs')} || mount -t cgroup -o {c} none {at}")
        return {c: f"{ROOT}/{self.below}" if self.v2 else f"{ROOT}/{c}/{self.below}" for c in CONTROLLERS}

    def monitors(self, node, *kinds):
        """{section: {key: value}} for this node's configuration."""
        at, out = self.show(node), {}
        for kind in kinds:
            key = {"cpu": "cpuacct", "memory": "memory"}[kind]
            out[f"monitor {kind}"] = {"cgroup": at[key]}
            if kind == "cpu" and not self.v2:
                out["monitor cpu"]["cpu_cgroup"] = at["cpu"]
        return out

    def remove(self):
        for pid in self.pids():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        for d in set(self.dirs.values()):
            remove(d)


def remove(path, seconds=3):
    end = time.monotonic() + seconds
    while True:
        try:
            return os.rmdir(path)
        except FileNotFoundError:
            return None
        except OSError:    # its last processes are still going
            if time.monotonic() > end:
                return None
            time.sleep(0.05)


class Groups:
    def __init__(self):
        self.version, tops = find()
        if not self.version:
            raise RuntimeError(tops)
        self.sweep(tops)
        name = NAME + secrets.token_hex(4)
        self.tops = {c: f"{top}/{name}" for c, top in tops.items()}
        self.groups = []
        for d in set(self.tops.values()):
            os.mkdir(d)
        if self.version == 2:
            write(self.tops["cpu"] + "/cgroup.subtree_control", "+cpu +memory")

    @staticmethod
    def sweep(tops):
        """What is left of a run that was killed: no process is in it, and it is old."""
        for old in {p for top in tops.values() for p in glob.glob(f"{top}/{NAME}*")}:
            try:
                if time.time() - os.stat(old).st_mtime > 3600:
                    for sub in glob.glob(old + "/*/"):
                        os.rmdir(sub)
                    os.rmdir(old)
            except OSError:
                pass

    def make(self, name, cores=None, memory=None):
        self.groups.append(Group(self, name, cores, memory))
        return self.groups[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        for g in self.groups:
            g.remove()
        for d in set(self.tops.values()):
            remove(d)

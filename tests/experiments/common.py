# SPDX-License-Identifier: GPL-2.0-or-later
"""Sites whose nodes are control groups, clients, and one look at everything per second."""

import contextlib
import json
import os
import signal
import statistics
import struct
import time

import groups
import lab as labs
from lab import VIP4, Lab, wait

SITE = os.path.join(labs.BUILD, "tests", "experiment_site")
CLIENTS = os.path.join(labs.BUILD, "tests", "experiment_clients")
# A machine that is shared with the measurement itself: the lease is not the question here.
CLUSTER = {"lease": "500ms", "buckets": "4096"}


def start_site(node):
    """In place of nginx."""
    node.site = node.popen([SITE, "80", node.name, "/run/counts"], "site")
    wait(lambda: node.run("ss -Hltn sport = :80").stdout.strip(), 5, f"{node.name}'s site")


@contextlib.contextmanager
def cluster(n, service, cores=(), memory=(), cluster=None, nodes=None, monitors=(), web=start_site,
            default_cluster=CLUSTER):
    """
    A running cluster, each node's web server in a group of its own: yields (lab, [group], groups).
    cores, memory: limits, one per node.  nodes: {name: {key: value}}.  monitors: "cpu", "memory".
    """
    start_web = labs.Node.start_web
    conf = {"cluster": default_cluster | (cluster or {}), "service web": {"vip": VIP4, "port": "tcp/80"} | service}
    conf |= {f"node {name}": keys for name, keys in (nodes or {}).items()}
    labs.Node.start_web = lambda node: web(node)
    try:
        with groups.Groups() as owner, Lab(n, conf, with_clusterd=True) as c:
            found = []
            for i, node in enumerate(c.nodes):
                group = owner.make(node.name, cores[i] if cores else None, memory[i] if memory else None)
                found.append(group)
                if monitors:
                    node.write_ini(c.ini + c.render(group.monitors(node, *monitors)))
            c.start()
            for node, group in zip(c.nodes, found):
                group.add(*(p for p in tree(node.site.pid)))
            yield c, found, owner
    finally:
        labs.Node.start_web = start_web


def tree(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [pid] + [p for child in f.read().split() for p in tree(int(child))]


def cpu_seconds(pid):
    return time.clock_gettime(~pid << 3 | 2)    # the process' own clock, all its threads


class Watch:
    """One row per second while clients ask."""

    def __init__(self, c, found):
        self.c, self.found = c, found
        self.rows, self.clients = [], []
        self.start, self.last = time.monotonic(), None

    def counts(self, node):
        with open(node.path("/run/counts"), "rb") as f:
            return list(struct.unpack("3Q", f.read(24)))

    def look(self):
        now = time.monotonic()
        here = {"cpu": [g.cpu_us() for g in self.found], "asked": [self.counts(n) for n in self.c.nodes],
                "at": now}
        status = self.c[1].status()
        service = status["services"][0] if status else None
        if self.last:
            seconds = now - self.last["at"]
            self.rows.append({
                "t": round(now - self.start, 2),
                "cpu": [round((b - a) / 1e6 / seconds / (g.cores or 1), 4)
                        for a, b, g in zip(self.last["cpu"], here["cpu"], self.found)],
                "requests": [sum(b) - sum(a) for a, b in zip(self.last["asked"], here["asked"])],
                "cgi": [b[2] - a[2] for a, b in zip(self.last["asked"], here["asked"])],
                "used_kib": [g.memory_used() >> 10 for g in self.found],
                "buckets": [service["buckets"].get(n.name, 0) for n in self.c.nodes] if service else None})
        self.last = here

    def ask(self, seconds, rate, mix, seed=1, targets=VIP4):
        """Runs clients for so long, looking each second; their lines of JSON are kept."""
        out = f"{self.c.dir}/clients.{len(self.clients)}.{time.monotonic():.0f}"
        with open(out, "wb") as f:
            p = self.c.client.popen([CLIENTS, str(seconds), str(rate), str(seed), targets, *mix], stdout=f)
        self.last = None
        end = time.monotonic() + seconds
        self.look()
        begin = len(self.rows)
        while time.monotonic() < end - 0.5:
            time.sleep(max(0, self.last["at"] + 1 - time.monotonic()))
            self.look()
        p.wait(15)
        with open(out) as f:
            said = [json.loads(line) for line in f]
        self.clients += said
        return self.rows[begin:], said


def column(rows, key, i):
    return [r[key][i] for r in rows]


def mean_cpu(rows):
    """Per node, of its own limit."""
    return [statistics.fmean(column(rows, "cpu", i)) for i in range(len(rows[0]["cpu"]))]


def spread(values):
    return max(values) - min(values)


def answers(said):
    """(failed, mean ms, worst ms) of the clients' lines."""
    ok = sum(s["ok"] for s in said)
    return (sum(s["failed"] for s in said), sum(s["ms"] * s["ok"] for s in said) / max(1, ok),
            max((s["worst"] for s in said), default=0))


def stop(proc):
    proc.kill(signal.SIGKILL)
    proc.wait()


class Report:
    """What one experiment hands back: tables, raw data and plots, written into a directory."""

    def __init__(self, name, title, directory):
        self.name, self.title, self.directory = name, title, directory
        self.parts, self.raw = [], {}

    def say(self, text):
        self.parts.append(text + "\n")
        print(text, flush=True)

    def table(self, head, rows):
        rows = [[str(x) for x in row] for row in [head, *rows]]
        width = [max(len(row[i]) for row in rows) for i in range(len(head))]
        pad = lambda row: "| " + " | ".join(f"{x:<{w}}" for x, w in zip(row, width)) + " |"
        text = "\n".join([pad(rows[0]), "|" + "|".join("-" * (w + 2) for w in width) + "|",
                          *(pad(r) for r in rows[1:])])
        self.say("\n" + text)

    def path(self, suffix):
        return os.path.join(self.directory, f"{self.name}{suffix}")

    def plot(self, suffix, text):
        self.parts.append(f"![{text}]({self.name}{suffix})\n")
        return self.path(suffix)

    def keep(self, name, data):
        self.raw[name] = data

    def csv(self, suffix, rows):
        """Rows of look(): one line per second."""
        with open(self.path(suffix), "w") as f:
            n = len(rows[0]["cpu"])
            keys = ("cpu", "requests", "cgi", "used_kib", "buckets")
            f.write("t," + ",".join(f"{k}_n{i + 1}" for k in keys for i in range(n)) + "\n")
            for r in rows:
                f.write(f"{r['t']}," + ",".join(str(r[k][i]) if r[k] else "" for k in keys for i in range(n)) + "\n")

    def write(self):
        with open(self.path(".json"), "w") as f:
            json.dump(self.raw, f, indent=1)
            f.write("\n")
        return f"## {self.title}\n\n" + "\n".join(self.parts)

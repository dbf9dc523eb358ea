# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows that need the daemon: HTTP throughput, outages, false fencings, idle cost."""

import collections
import contextlib
import errno
import math
import os
import re
import signal
import statistics
import subprocess
import time

import measure
from lab import VIP4, VIP6, Lab, LabError, sh, wait
from packets import spread

LEASE_MS = 150
FENCINGS = ("FENCED", "FAIL_DOWN")


# ---- HTTP

def pin(pid, cpu):
    """The process and its children; with one processor there is nothing to choose."""
    if os.cpu_count() < 2:
        return
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        for p in [pid] + [int(x) for x in f.read().split()]:
            os.sched_setaffinity(p, {cpu})


def wrk(c, seconds):
    """Requests per second to the VIP."""
    c.client.run("ip neigh flush dev eth0")
    cpu = str(min(1, os.cpu_count() - 1))
    out = c.client.run(["taskset", "-c", cpu, "wrk", "-t1", "-c32", f"-d{seconds}s", f"http://{VIP4}/"],
                       timeout=seconds + 20).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise LabError(out)
    return float(re.search(r"Requests/sec:\s*([0-9.]+)", out).group(1))


@contextlib.contextmanager
def wire(c):
    """
    A wire from the client to n1 instead of the switch: a bridge in software also takes flooded frames
    for itself, on the processors that we measure.
    """
    sh("nft", "-f", "-", text_in="".join(f"""
table netdev wire_{a} {{
    chain c {{
        type filter hook ingress device {a} priority 0
        fwd to {b}
    }}
}}""" for a, b in ((c[1].port, c.client.port), (c.client.port, c[1].port))))
    try:
        yield
    finally:
        # Their chains would wait for the next devices of these names.
        for port in (c[1].port, c.client.port):
            sh("nft", "delete", "table", "netdev", "wire_" + port)


def rows_http(opts, add):
    seconds, rounds = (5, 15) if opts.full else (2, 7)
    with_it, slow, without = [], [], []
    with Lab(1, {"cluster": {"lease": f"{LEASE_MS}ms"}}, with_clusterd=True) as c:
        c.start()
        with wire(c):
            pin(c[1].nginx.pid, 0)
            wrk(c, 1)
            for _ in range(rounds):
                with_it.append(wrk(c, seconds))
                c[1].stop_clusterd()
                c[1].write_ini(c.ini.replace("[cluster]\n", "[cluster]\naccelerate = off\n"))
                c[1].start_clusterd()
                c.settle()
                slow.append(wrk(c, seconds))
                c[1].stop_clusterd()
                c[1].write_ini(c.ini)
                c[1].vip_by_hand()
                without.append(wrk(c, seconds))
                c[1].run(f"ip addr del {VIP4}/32 dev eth0; ip addr del {VIP6}/128 dev eth0")
                c[1].start_clusterd()
                c.settle()
    how = (f"wrk -t1 -c32 -d{seconds}s over the VIP; one node and its client on a wire, the same nginx; "
           f"{rounds} rounds by turns")
    add("HTTP with clusterd", spread(with_it), "requests/s", None, how)
    add("HTTP with clusterd, accelerate = off", spread(slow), "requests/s", None, how)
    add("HTTP without clusterd", spread(without), "requests/s", None, "the same address set by hand")
    add("HTTP with / without clusterd", [statistics.median(with_it) / statistics.median(without)],
        "ratio", (">=", 0.97), "of the medians above")
    add("  with accelerate = off", [statistics.median(slow) / statistics.median(without)], "ratio", None,
        "of the medians above")


# ---- the cost of doing nothing

def cpu_seconds(pid):
    return time.clock_gettime(~pid << 3 | 2)    # the process' own clock, all its threads


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1)) / 1024


def rows_idle(opts, add, c):
    daemons = [n.clusterd.pid for n in c.nodes]
    others = [n.corosync.pid for n in c.nodes]
    seconds = 20
    time.sleep(1)
    before = {p: cpu_seconds(p) for p in daemons + others}
    time.sleep(seconds)
    used = {p: (cpu_seconds(p) - t) / seconds * 100 for p, t in before.items()}
    add("idle CPU of clusterd", spread([used[p] for p in daemons]), "% of a core", ("max<=", 0.5),
        f"user + system time over {seconds} s, one value per node of three, lease {LEASE_MS} ms")
    add("idle CPU of corosync, for comparison", spread([used[p] for p in others]), "% of a core", None,
        "the same seconds, token 1 s")
    add("resident memory of clusterd", spread([resident_mib(p) for p in daemons]), "MiB",
        ("max<=", 16), "VmRSS, one value per node of three")


# ---- false fencings

def fencings(c):
    """{(node, sequence number): (name, text)}"""
    return {(n.name, e["seq"]): (e["name"], e["text"]) for n in c.nodes
            for e in n.json("events")["events"] if e["name"] in FENCINGS}


def incidents(events):
    """A node that loses its lease says FENCED, once; everyone who heard of it says FAIL_DOWN."""
    fenced = sum(name == "FENCED" for name, _text in events.values())
    down = collections.Counter(node for (node, _seq), (name, _text) in events.items()
                               if name == "FAIL_DOWN")
    return max([fenced, *down.values()])


def rows_fencing(opts, add, c):
    minutes = 10 if opts.full else 1
    before = fencings(c)
    loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"], stdin=subprocess.DEVNULL)
             for _ in range(4)]
    found = {}
    try:
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            time.sleep(5)
            found |= fencings(c)    # a daemon keeps only its last events
    finally:
        for p in loops:
            p.kill()
            p.wait()
    c.settle()
    found |= fencings(c)
    new = {key: event for key, event in found.items() if key not in before}
    for (node, _seq), (name, text) in new.items():
        print(f"# {node} says {name}: {text}", flush=True)
    add(f"false fencings in {minutes} min of four busy loops", [incidents(new)], "fencings", ("==", 0),
        f"{', '.join(FENCINGS)} in 'clusterctl events' of three nodes on {os.cpu_count()} cores")


# ---- outages

class Watch:
    """Probes (and long-lived connections) with a capture around an event."""

    serial = 0

    def __init__(self, c, conns=0, rate=500, ports=250, family="46", interval=1):
        # Source ports of its own: what the one before left behind is not to be seen in this one.
        first = 10000 + Watch.serial * ports % 22000
        Watch.serial += 1
        ports = f"{first}:{ports}"
        self.capture = c.capture()
        self.probe = c.load("probe", rate=rate, ports=ports, family=family)
        self.hold = c.load("hold", conns=conns, interval=interval) if conns else None
        time.sleep(interval + 0.4)
        self.t0 = time.monotonic()

    def stop(self):
        if self.hold:
            self.hold.stop()
        self.probe.stop()
        # not a failure of any node: the client's own end of the last connection is still there
        self.probes = [r for r in self.probe.records("p") if r[7] != os.strerror(errno.EADDRNOTAVAIL)]
        self.packets = self.capture.stop()

    def owner(self):
        return measure.owners(self.probes, self.t0 - 0.05)

    def outage_ms(self, keys):
        if not keys:
            raise LabError("the node that was lost had served nobody")
        lost = measure.outage(self.probes, keys, self.t0)
        return math.inf if lost is None else lost * 1000


def explain(what, w, events):
    """The first of what should not have been, in seconds after the event."""
    for t, text in events[:6]:
        print(f"# {what}: at {t - w.t0:+.3f} s {text}", flush=True)


class Outages:
    def __init__(self):
        self.ms, self.others = [], 0

    def judge(self, w, name):
        owner = w.owner()
        self.ms.append(w.outage_ms({k for k, server in owner.items() if server == name}))
        bad = [r for r in w.probes if r[1] >= w.t0 and measure.failed(r)]
        others = [r for r in bad if owner.get((r[2], r[3])) not in (name, None)]
        self.others += len(others)
        if self.ms[-1] > 2 * LEASE_MS:
            explain(f"{name} lost, {self.ms[-1]:.0f} ms", w, [(r[1], r[2:]) for r in bad])
        elif others:
            explain(f"{name} lost, others failed too", w, [(r[1], r[2:]) for r in others])


class Planned:
    """What must not happen when nothing was lost."""

    def __init__(self):
        self.resets = self.lost_syns = self.runs = 0

    def judge(self, w):
        self.runs += 1
        resets, lost = measure.resets(w.packets), measure.lost_syns(w.packets)
        self.resets += len(resets)
        self.lost_syns += len(lost)
        if resets:
            explain("resets", w, [(p.t, f"by n{p.who} to {p.client}") for p in resets])
        if lost:
            explain("lost SYNs", w, lost)


def counts(node):
    """Buckets by node's name, as 'node' sees it; {} while it does not answer or is fenced."""
    status = node.status()
    if not status or status["cluster"]["fenced"]:
        return {}
    return status["services"][0]["buckets"]


def without(c, name):
    """The others serve everything, and nothing moves any more."""
    for status in (n.status() for n in c.up() if n.name != name):
        if not status or any(s["moving"] or s["buckets"].get(name) for s in status["services"]):
            return False
    return True


def lose(c, victim, act, restore, out, back):
    """One loss and one return.  'act' and 'restore' get the node."""
    node = c[victim]
    w = Watch(c)
    act(node)
    time.sleep(1.2)
    w.stop()
    out.judge(w, node.name)
    wait(lambda: without(c, node.name), 15, f"the others to do without {node.name}", 0.1)
    w = Watch(c, conns=30)
    restore(node)
    wait(lambda: counts(node).get(node.name), 20, f"{node.name} to get its buckets back", 0.1)
    time.sleep(1)
    w.stop()    # ends the long-lived connections, which hold buckets until they are drained
    back.judge(w)
    c.settle()


def resume(node):
    node.clusterd.kill(signal.SIGCONT)


LOSSES = (
    ("power-off", lambda n: n.power_off(), lambda n: n.power_on()),
    ("SIGKILL of clusterd", lambda n: n.kill_clusterd(signal.SIGKILL), lambda n: n.start_clusterd()),
    ("SIGSTOP of clusterd", lambda n: n.kill_clusterd(signal.SIGSTOP), resume),
)


def clean_stop(c, victim, stop):
    w = Watch(c, conns=30)
    c[victim].clusterd.kill(signal.SIGTERM)
    time.sleep(1)
    w.hold.stop()    # its clients end their connections: the stop can complete
    c[victim].clusterd.wait(20)
    time.sleep(0.3)
    w.stop()
    stop.judge(w)
    c[victim].start_clusterd()
    c.settle()


def rows_failover(opts, add, c):
    runs = 10 if opts.full else 5
    others, back = 0, Planned()
    for text, act, restore in LOSSES:
        out = Outages()
        for i in range(runs):
            lose(c, i % 3 + 1, act, restore, out, back)
        add(f"outage, {text}", spread(out.ms), "ms", ("<=", 2 * LEASE_MS),
            f"clients of the lost node, {runs} runs, lease {LEASE_MS} ms, a new connection every 2 ms")
        others += out.others
    add("failed requests to other nodes in these runs", [others], "requests", ("==", 0),
        f"{3 * runs} losses")
    stop = Planned()
    for i in range(runs):
        clean_stop(c, i % 3 + 1, stop)
    for text, p in (("clean stop", stop), ("return of a node", back)):
        how = f"{p.runs} runs, new connections and 30 long-lived ones, from a capture at the client"
        add(f"resets, {text}", [p.resets], "packets", ("==", 0), how)
        add(f"lost SYNs, {text}", [p.lost_syns], "packets", ("==", 0), how)


KEEPALIVED = """\
vrrp_instance web {{
    version {version}
    state BACKUP
    interface eth0
    virtual_router_id 77
    priority {priority}
    advert_int {interval}
    virtual_ipaddress {{
        {vip}/32
    }}
}}
"""


def start_keepalived(node, interval):
    node.start_web()
    with open(node.path("/run/keepalived.conf"), "w") as f:
        f.write(KEEPALIVED.format(version=2 if interval >= 1 else 3,    # 2 knows whole seconds only
                                  priority=110 - 10 * node.number, interval=interval, vip=VIP4))
    node.popen(["keepalived", "-n", "-l", "-f", "/run/keepalived.conf", "-p", "/run/keepalived.pid",
                "-r", "/run/vrrp.pid"], "keepalived")


def has_vip(node):
    return VIP4 in node.run("ip -4 -o addr show dev eth0").stdout


def rows_keepalived(opts, add):
    for interval, text, runs in ((1, "its defaults", 3), (0.1, "adverts every 100 ms", 5)):
        runs = 10 if opts.full else runs
        ms = []
        with Lab(3, with_clusterd=False) as c:
            for node in c.nodes:
                start_keepalived(node, interval)
            for _ in range(runs):
                wait(lambda: has_vip(c[1]) and not has_vip(c[2]) and not has_vip(c[3]), 30,
                     "keepalived to settle", 0.1)
                time.sleep(0.5)
                w = Watch(c, ports=4000, family="4")
                c[1].power_off()
                time.sleep(4 * interval + 1)
                w.stop()
                ms.append(w.outage_ms({(r[2], r[3]) for r in w.probes}))
                c[1].power_on(services=False)
                start_keepalived(c[1], interval)
        add(f"outage, power-off, keepalived at {text}", spread(ms), "ms", None,
            f"all clients of the master, {runs} runs, three nodes, one address")

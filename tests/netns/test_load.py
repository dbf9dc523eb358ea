# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares that follow loads: memory and processors of control groups, schedulers, the group's traffic."""

import collections
import contextlib
import json
import os
import signal

import groups
from harness import *
from test_moves import counts

BUCKETS = 1024
HEAR = os.path.join(labs.HERE, "cpg_hear.py")
LOAD_TEXT = "#!/bin/sh\nread n </run/load\necho $n\n"


def service(**keys):
    return {"service web": keys}


def watch_with(node, monitors):
    """Gives one node monitors of its own, while it runs."""
    node.write_ini(node.lab.ini + node.lab.render(monitors))
    node.ctl("reload")
    names = {section.split()[1] for section in monitors}

    def all_look():
        known = {m["name"] for m in node.json("monitors")["monitors"] if m["load"] is not None}
        return names == known
    wait(all_look, 10, f"{node.name}'s monitors to say something")


def says(node, per_mille):
    """The node's load, for its monitor 'said'.  The file is always whole."""
    with open(node.path("/run/load.new"), "w") as f:
        f.write(f"{int(min(1000, per_mille))}\n")
    os.rename(node.path("/run/load.new"), node.path("/run/load"))


def said(c, **more):
    """Monitors that say what says() says."""
    for node in c.nodes:
        says(node, 300)
        with open(node.path("/run/load.sh"), "w") as f:
            f.write(LOAD_TEXT)
        os.chmod(node.path("/run/load.sh"), 0o755)
        watch_with(node, {"monitor said": {"type": "exec", "path": "/run/load.sh", "interval": "500ms"}} | more)


@contextlib.contextmanager
def grouped(c, **limits):
    with groups.Groups() as g:
        try:
            yield [g.make(n.name, **limits) for n in c.nodes]
        finally:
            for node in c.nodes:    # the monitors must let go of the groups
                node.ini = None
                node.write_ini()
                node.ctl("reload", check=False)


def busy(node, group, code):
    p = node.popen([labs.PYTHON, "-c", code])
    group.add(p.pid)
    return p


def end(proc):
    proc.kill(signal.SIGKILL)
    proc.wait()


def spread_of(c):
    return max(counts(c).values()) - min(counts(c).values())


class Moves:
    """Buckets that moved while somebody looks."""

    def __init__(self, c):
        self.c, self.start, self.last = c, time.monotonic(), counts(c)
        self.total, self.moved_at = 0, time.monotonic()
        self.looks = [(self.start, 0)]    # (when, buckets moved since the one before)

    def look(self):
        now = counts(self.c)
        moved = sum(max(0, now.get(n, 0) - self.last.get(n, 0)) for n in now)
        if moved:
            self.moved_at = time.monotonic()
        self.looks.append((time.monotonic(), moved))
        self.total, self.last = self.total + moved, now
        return now

    def seconds(self):
        return time.monotonic() - self.start

    def quiet_for(self):
        return time.monotonic() - self.moved_at

    def bounded(self, step, interval):
        """At most 'step' buckets per 'interval'."""
        limit = step * (self.seconds() / interval + 1)
        expect(self.total <= limit, f"{self.total} buckets moved in {self.seconds():.1f} s: more than {limit:.0f}")
        for (before, _), (now, moved) in zip(self.looks, self.looks[1:]):
            most = step * ((now - before) // interval + 1)
            expect(moved <= most, f"{moved} buckets moved at once, more than {most:.0f}")


@case(conf=service(weights="memory-1", weights_interval="1s", process_memory="4096", rebalance_step="100"),
      needs=groups.needs)
def test_load_memory_hog(c):
    """A hog in a node's group: that node gets almost nothing, and all of it back."""
    with grouped(c, memory=512 << 20) as g:
        for node, group in zip(c.nodes, g):
            watch_with(node, group.monitors(node, "memory"))
        # until all had the monitor, those without seemed to have no memory
        wait(lambda: spread_of(c) < 10, 20, "even shares of nodes that are alike")
        with Watched(c, conns=60, rate=150, baseline=1) as w:
            w.mark()
            hog = busy(c[2], g[1], "import time; time.sleep(0.5); x = b'x' * (200 << 20); time.sleep(99)")
            wait(lambda: counts(c)["n2"] < 20, 20, "n2 to lose its share")
            lost = time.monotonic() - w.t0
            end(hog)
            back = time.monotonic()
            wait(lambda: counts(c)["n2"] >= 336, 20, "n2 to have its share again")
            back = time.monotonic() - back
            time.sleep(1)
        w.nobody_noticed()
        note(c, f"share gone after {lost:.1f} s, back after {back:.1f} s")
        expect(spread_of(c) < 10, lambda: f"shares afterwards: {counts(c)}")


@case(conf=service(weights="load", weights_interval="1s", rebalance_step="10"), timeout=120)
def test_load_half_speed(c):
    """A node that becomes half as fast: at most 1 % moves per interval, it settles, and all comes back."""
    said(c)

    def drive(speeds, moves, until, seconds):
        """Loads that follow the shares, as a site's would."""
        stop = time.monotonic() + seconds * SLOW
        while time.monotonic() < stop:
            now = moves.look()
            for node, speed in zip(c.nodes, speeds):
                says(node, 1200 * now[node.name] / BUCKETS / speed)
            if until(moves):
                return now
            time.sleep(0.2)
        raise Failed(f"no end after {seconds} s: {moves.last}, quiet for {moves.quiet_for():.1f} s")

    # no move in the last four intervals
    settled = lambda m: m.seconds() > 6 and m.quiet_for() > 4
    even = lambda m: m.seconds() > 2 and max(m.last.values()) < 1.25 * min(m.last.values())
    with Watched(c, conns=60, rate=150, baseline=1) as w:
        w.mark()
        moves = Moves(c)
        now = drive((1, 1, .5), moves, settled, 45)
        moves.bounded(BUCKETS // 100 + 1, 1)
        loads = [now["n1"], now["n2"], 2 * now["n3"]]
        note(c, f"{dict(sorted(now.items()))} after {moves.moved_at - moves.start:.0f} s")
        expect(max(loads) < 1.3 * min(loads), f"loads are not evened out: {loads}")
        moves = Moves(c)
        now = drive((1, 1, 1), moves, even, 45)
        moves.bounded(BUCKETS // 100 + 1, 1)
        note(c, f"back {dict(sorted(now.items()))} after {moves.moved_at - moves.start:.0f} s")
        moves = Moves(c)    # much too busy: the policy wants more than the step allows
        for node, load in zip(c.nodes, (100, 100, 1000)):
            says(node, load)
        while moves.seconds() < 4:
            moves.look()
            time.sleep(0.2)
        moves.bounded(BUCKETS // 100 + 1, 1)
        expect(moves.total > BUCKETS // 100, f"only {moves.total} buckets moved from a node that is much too busy")
    w.nobody_noticed()


@case(conf=service(weights="load", weights_interval="1s", rebalance_step="50"), needs=groups.needs)
def test_load_busy_group(c):
    """A node that has used up the processor time of its group gets less."""
    with grouped(c, cores=0.1) as g:
        for node, group in zip(c.nodes, g):
            watch_with(node, group.monitors(node, "cpu"))
        spin = busy(c[3], g[2], "while True: pass")
        wait(lambda: counts(c)["n3"] < 200, 15, "n3 to lose buckets")
        value = next(m for m in c[3].json("monitors")["monitors"] if m["name"] == "cpu")
        expect(value["value"] > 850, f"the monitor says {value}")
        end(spin)
        # loads are smoothed; then all are idle, and idle nodes say nothing about speed
        wait(lambda: max(n["load"] or 0 for n in c[1].json("monitors")["nodes"]) < 0.1, 20, "all to be idle")
        time.sleep(1.5)
        now = counts(c)
        time.sleep(2.5)
        same(counts(c), now, "shares of idle nodes")


def scheduled(scheduler):
    @case(conf=service(weights="load", weights_interval="1s", rebalance_step="10", scheduler=scheduler))
    def test(c):
        said(c)
        for number, load in ((1, 300), (2, 300), (3, 1000)):
            says(c[number], load)
        time.sleep(10)    # seven steps of a fifth
        if scheduler == "probability":
            found = collections.Counter(once(c, ports="50000:300").values())
        else:
            hold = c.load("hold", conns=150, interval=1.5)
            time.sleep(3)
            found = collections.Counter(r[5] for r in hold.stop().records("c"))
        note(c, f"{dict(sorted(found.items()))}")
        total = sum(found.values())
        expect(found["n3"] < 0.22 * total, f"n3 still gets {found['n3']} of {total}")
        expect(found["n3"] > 0, "n3 gets nothing: how should it be seen to recover?")
        expect(spread_of(c) <= 1, f"buckets moved, though they only direct: {counts(c)}")
    test.__name__ = f"test_load_{scheduler.replace('-', '_')}"
    test.__doc__ = f"scheduler = {scheduler}: weights count at once, no bucket moves."


scheduled("probability")
scheduled("least-conn")


@case(conf=service(weights="static"))
def test_load_traffic_at_rest(c):
    """What the group says about loads is bounded, at rest and with loads that jump."""
    said(c)
    time.sleep(3)

    def hear(seconds):
        found = json.loads(c[1].run([labs.PYTHON, HEAR, "clusterd:web", str(seconds)], timeout=seconds + 20).stdout)
        loads = {n: kinds.get("load", [0, 0]) for n, kinds in found.items()}
        return loads, sum(x[0] for kinds in found.values() for x in kinds.values())

    loads, _all = hear(5)
    told = [n for n, _ in loads.values()]
    expect(sum(told) <= 3, f"at rest, within 5 s: {loads}")
    stop = time.monotonic() + 10 * SLOW
    listener = c[1].popen([labs.PYTHON, HEAR, "clusterd:web", "5"], stdout=open(c.dir + "/heard", "w"))
    while time.monotonic() < stop and listener.alive():
        for node in c.nodes:
            says(node, 100 if time.monotonic() % 1 < .5 else 900)
        time.sleep(0.1)
    listener.wait()
    with open(c.dir + "/heard") as f:
        found = json.load(f)
    jumping = {n: kinds.get("load", [0, 0]) for n, kinds in found.items()}
    note(c, f"messages per node in 5 s at rest {told}, in 5 s of jumps {[n for n, _ in jumping.values()]}")
    for name, (messages, octets) in jumping.items():
        expect(1 <= messages <= 6, f"{name} told {messages} times in 5 s")
        expect(octets <= 250 * messages, f"{name}: {octets} octets in {messages} messages")


@case(nodes=4, conf={"cluster": {"buckets": "4096"}, "node n1": {"weight": 100}, "node n2": {"weight": 50},
                     "node n3": {"weight": 25}, "node n4": {"weight": 400}})
def test_load_shares_exact(c):
    """Weighted shares are within 1 % of the ideal at 4,096 buckets."""
    weights = {"n1": 100, "n2": 50, "n3": 25, "n4": 400}
    found = counts(c)
    for name, weight in weights.items():
        ideal = 4096 * weight / sum(weights.values())
        off = abs(found[name] - ideal) / ideal
        note(c, f"{name} {found[name]} ({100 * off:.2f} %)")
        expect(off <= 0.01, f"{name} has {found[name]} buckets, ideal are {ideal:.1f}")

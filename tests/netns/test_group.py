# SPDX-License-Identifier: GPL-2.0-or-later
"""The group beneath: corosync dies, comes back, splits and merges; late and odd starters."""

import signal

from harness import *


OUTAGE_MAX = 0.6


@case(fresh=True)
def test_start_together(c):
    """All start at once under load: nobody answers twice, and within seconds all serve."""
    load = c.load("probe", rate=100, ports="20000:200", timeout=2)
    cap = c.capture()
    start = time.monotonic()
    c.start()
    took = time.monotonic() - start
    time.sleep(1)
    load.stop()
    both = measure.double_accepts(cap.stop())
    expect(not both, lambda: f"connections accepted by two nodes: {few(both)}")
    serves_evenly(c, ["n1", "n2", "n3"])
    note(c, f"serving after {took:.1f} s")


@case(fresh=True)
def test_start_before_corosync(c):
    """clusterd waits for a corosync that is not there, says so, and accepts nothing meanwhile."""
    for node in c.nodes:
        node.start_web()
        node.start_clusterd()
    time.sleep(2)
    for node in c.nodes:
        expect(node.clusterd.alive(), f"{node.name}: clusterd ended without corosync")
        s = node.status()
        expect(s and not s["cluster"]["quorate"], f"{node.name}: status without corosync: {s}")
    with open(c[1].logfile("clusterd")) as f:
        expect("corosync" in f.read(), "nothing about corosync in the log")
    recs = c.load("probe", once=True, ports="40000:10", timeout=1).wait().records()
    same([r for r in recs if r[6]], [], "answers without a group")
    for node in c.nodes:
        node.start_corosync()
    c.settle()
    serves_evenly(c, ["n1", "n2", "n3"])


@case(fresh=True)
def test_start_one_by_one(c):
    """A lone node of three serves nothing; with the second one service begins; the third gets its share."""
    c[1].boot()
    time.sleep(3)
    recs = c.load("probe", once=True, ports="40000:10", timeout=1).wait().records()
    same([r for r in recs if r[6]], [], "answers without a majority")
    c[2].boot()
    wait(lambda: {n.name: n.status() for n in c.nodes[:2]} and _online(c, {"n1", "n2"}), 30, "two online")
    serves_evenly(c, ["n1", "n2"])
    with Watched(c, conns=40) as w:
        w.mark()
        c[3].boot()
        c.settle(draining=True)
        time.sleep(1)
    w.nobody_noticed()
    serves_evenly(c, ["n1", "n2", "n3"])


def _online(c, names):
    s = c[1].status()
    return s and {n["name"] for n in s["nodes"] if n["state"] == "online"} == names and \
        set(k for k, v in s["services"][0]["buckets"].items() if v) == names and \
        not s["services"][0]["moving"]


@case(timeout=120)
def test_corosync_killed(c):
    """corosync dies underneath one node and is restarted: only that node's clients notice."""
    with Watched(c) as w:
        w.mark()
        c[2].kill_corosync()
        time.sleep(3.5)
    w.others_untouched("n2")
    w.one_speaker([(2, w.t0, float("inf"))])
    outage = w.outage("n2")
    expect(outage < 1.0, f"outage of {outage * 1000:.0f} ms")
    expect(c[2].clusterd.alive(), "clusterd ended with corosync")
    with Watched(c, conns=30) as w:
        w.mark()
        c[2].start_corosync()
        c.settle(draining=True)
        time.sleep(0.5)
    # It may have served on with its lease until now, and is a new member now.
    w.others_untouched("n2")
    w.one_speaker([(2, w.t0, float("inf"))])
    again = measure.gap(w.probes, w.keys_of("n2"))
    expect(again < OUTAGE_MAX, f"outage of {again * 1000:.0f} ms at the return")
    note(c, f"outages {outage * 1000:.0f} and {again * 1000:.0f} ms")


@case(timeout=120)
def test_corosync_stopped(c):
    """corosync hangs for three seconds on one node: nothing is accepted twice, all heals."""
    with Watched(c) as w:
        w.mark()
        c[3].corosync.kill(signal.SIGSTOP)
        time.sleep(3)
        c[3].corosync.kill(signal.SIGCONT)
        time.sleep(3)
    w.others_untouched("n3")
    w.one_speaker([(3, w.t0, float("inf"))])
    c.settle(30)
    serves_evenly(c, ["n1", "n2", "n3"])


@case(nodes=5, timeout=120)
def test_partition(c):
    """Five nodes part 3:2; the minority falls silent, the majority serves all; then they merge."""
    with Watched(c) as w:
        w.mark()
        for a in (1, 2, 3):
            for b in (4, 5):
                c.cut(a, b)
        time.sleep(3)
    gone = [(n, w.t0, float("inf")) for n in (4, 5)]
    w.one_speaker(gone)
    for n in (4, 5):
        w.quiet(n, 2.5 * LEASE_MS / 1000 + 0.1)
        w.silent_before_heirs(f"n{n}")
    bad = [r for r in w.probes if w.before.get((r[2], r[3])) in ("n1", "n2", "n3")
           and measure.failed(r)]
    expect(not bad, lambda: f"requests to the majority failed: {few(bad)}")
    with Watched(c, conns=30) as w:
        w.mark()
        c.heal()
        c.settle(30, draining=True)
        time.sleep(1)
    w.others_untouched(None)
    w.one_speaker()
    serves_evenly(c, [n.name for n in c.nodes])


@case()
def test_config_mismatch(c):
    """A node with another configuration stays joining, says why and serves nothing."""
    c[3].power_off()
    wait(c.settled, 15, "the survivors to settle")
    c[3].ini = c.ini.replace("udp/5353", "udp/5354")
    with Watched(c, conns=30) as w:
        w.mark()
        c[3].power_on()
        wait(lambda: c.state_of("n3", 1) == "joining", 15, "n3 to be joining")
        time.sleep(3)
        same(c.state_of("n3", 1), "joining", "state")
        same(c.state_of("n3", 3), "joining", "state as it sees itself")
        text = c[3].ctl("status", check=False).stdout
    w.nobody_noticed()
    w.quiet(3, 0)
    with open(c[3].logfile("clusterd")) as f:
        log = f.read()
    expect("differs" in text, f"status does not say why: {text}")
    expect("differs" in log, f"the log does not say why: {log}")
    c[3].ini = None
    c[3].write_ini()
    c[3].stop_clusterd()
    c[3].start_clusterd()
    c.settle()


@case(nodes=16, timeout=200)
def test_sixteen(c):
    """Sixteen nodes: all serve, and the loss of one is nobody else's business."""
    serves_evenly(c, [n.name for n in c.nodes], low=0.2)
    with Watched(c, conns=64, ports=400, baseline=3) as w:
        w.mark()
        c[7].power_off()
        time.sleep(2.5)
    w.others_untouched("n7", slowest_ms=1000)
    w.one_speaker([(7, w.t0, float("inf"))])
    note(c, f"outage {w.outage('n7') * 1000:.0f} ms")

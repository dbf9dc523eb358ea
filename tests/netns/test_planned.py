# SPDX-License-Identifier: GPL-2.0-or-later
"""Planned moves: no connection is reset, no SYN lost, nobody sees anything."""

import collections

from harness import *


def counts(c, number=1):
    return c[number].status()["services"][0]["buckets"]


def moved(w, c):
    """{key: (before, now)} of the source ports whose node changed."""
    after = once(c, ports=f"20000:{w.ports}")
    return {k: (s, after[k]) for k, s in w.before.items() if k in after and after[k] != s}


def state_is(c, name, state, seen_by=1):
    return lambda: c.state_of(name, seen_by) == state


@case()
def test_drain(c):
    """drain and undrain under load: nobody notices, the drained node gets nothing new."""
    with Watched(c) as w:
        w.mark()
        c[1].ctl("drain n3")
        wait(lambda: not counts(c).get("n3"), 10, "n3 to own nothing")
        time.sleep(0.5)
        quiet_from = time.monotonic() - w.t0
        time.sleep(1)
        quiet_to = time.monotonic()
        c[2].ctl("undrain n3")
        wait(lambda: counts(c).get("n3"), 10, "n3 to own buckets again")
        time.sleep(1.5)
    w.nobody_noticed()
    w.quiet(3, quiet_from, quiet_to)


@case()
def test_drain_wait(c):
    """drain --wait returns when the last established connection has ended, not before."""
    hold = c.load("hold", conns=30)
    time.sleep(0.6)
    expect(any(r[5] == "n3" for r in hold.records("c")), "n3 has no connection")
    waiting = c[1].popen([labs.CLUSTERCTL, "drain", "n3", "--wait"])
    time.sleep(2)
    expect(waiting.alive(), "drain --wait did not wait for the connections")
    same(c.state_of("n3", 1), "draining", "state while connections are left")
    hold.stop()
    same(waiting.wait(15), 0, "exit code of drain --wait")
    same([r for r in hold.records() if r[0] in "xm"], [], "connections that ended")
    same(c.state_of("n3", 1), "drained", "state")
    c[1].ctl("undrain n3")
    c.settle()


@case(conf={"cluster": {"drain_timeout": "2s"}})
def test_drain_timeout(c):
    """Connections that do not end are given up after drain_timeout."""
    hold = c.load("hold", conns=30)
    time.sleep(0.6)
    start = time.monotonic()
    c[1].ctl("drain n3")
    wait(state_is(c, "n3", "drained"), 10, "n3 to be drained")
    took = time.monotonic() - start
    expect(1.5 < took < 4.5, f"drain_timeout 2 s took {took:.1f} s")
    hold.stop()
    c[1].ctl("undrain n3")
    c.settle()


@case()
def test_weight(c):
    """A weight moves the right number of buckets, only away from or to that node; nobody notices."""
    with Watched(c) as w:
        w.mark()
        c[1].ctl("weight n2 25")
        wait(lambda: abs(counts(c)["n2"] - 1024 * 25 / 225) < 2, 10, "n2's share of weight 25")
        time.sleep(1.2)
    w.nobody_noticed()
    changed = moved(w, c)
    expect(changed, "nothing moved")
    wrong = {k: v for k, v in changed.items() if v[0] != "n2"}
    expect(not wrong, lambda: f"buckets of others moved: {few(wrong.items())}")
    c[2].ctl("weight n2 auto")
    wait(lambda: max(counts(c).values()) - min(counts(c).values()) <= 1, 10, "even shares afterwards")
    c.settle()


@case()
def test_weight_zero(c):
    """Weight 0: no new work, old connections go on."""
    with Watched(c) as w:
        w.mark()
        c[1].ctl("weight n1 0")
        wait(lambda: not counts(c).get("n1"), 10, "n1 to own nothing")
        time.sleep(1)
    w.nobody_noticed()
    c[1].ctl("weight n1 auto")
    c.settle()


@case()
def test_return(c):
    """A node that comes back gets its share; only that moves, and nobody notices."""
    c[3].power_off()
    # Settled, and the survivors' shares evened out: what moves from here on is n3's return.
    wait(lambda: c.settled() and not counts(c).get("n3") and
         abs(counts(c)["n1"] - counts(c)["n2"]) <= 1, 15, "the survivors to settle")
    with Watched(c) as w:
        w.mark()
        c[3].power_on()
        c.settle(20, draining=True)
        time.sleep(1)
    w.nobody_noticed()
    changed = moved(w, c)
    expect(changed, "nothing moved to n3")
    wrong = {k: v for k, v in changed.items() if v[1] != "n3"}
    expect(not wrong, lambda: f"third parties' buckets moved: {few(wrong.items())}")


@case(conf={"cluster": {"failback": "manual"}})
def test_failback_manual(c):
    """failback = manual: the node waits until 'clusterctl failback'."""
    c[2].power_off()
    wait(lambda: c.settled() and not counts(c).get("n2"), 15, "the survivors to settle")
    c[2].power_on()
    wait(state_is(c, "n2", "online"), 20, "n2 to be online")
    time.sleep(2)
    same(counts(c).get("n2", 0), 0, "buckets of n2 before the order")
    with Watched(c) as w:
        w.mark()
        c[1].ctl("failback")
        c.settle(draining=True)
        time.sleep(1)
    w.nobody_noticed()


@case()
def test_clean_stop(c):
    """SIGTERM is a planned leave: nobody notices, and nothing is left behind."""
    node = c[3]
    same(node.stop_clusterd(), 0, "exit code")
    wait(lambda: c[1].status()["services"][0]["buckets"].get("n3", 0) == 0, 10, "n3 to leave")
    before = node.footprint()
    expect("clusterd" not in before, "a table is left after the first stop")
    node.start_clusterd()
    c.settle()
    expect(node.footprint() != before, "the footprint does not show clusterd at work")
    with Watched(c) as w:
        w.mark()
        node.clusterd.kill(15)
        time.sleep(1.5)
        w.loads[1].stop()    # its clients end their connections, the stop can complete
        same(node.clusterd.wait(15), 0, "exit code")
        time.sleep(1)
    w.nobody_noticed()
    after = node.footprint()
    expect(after == before, lambda: f"left behind: {labs.difference(before, after)}")
    expect(c.state_of("n3", 1) != "failed", "a clean stop counts as a failure")
    for _ in range(3):
        same(set(once(c, ports="44000:60").values()), {"n1", "n2"}, "nodes that answer")


@case()
def test_stop_all(c):
    """All stop, one after the other: each leaves nothing; the last one has nobody to hand over to."""
    for node in (c[1], c[2], c[3]):
        same(node.stop_clusterd(40), 0, f"{node.name}'s exit code")
        expect("clusterd" not in node.run("nft list ruleset").stdout, f"{node.name} left a table")
        expect(VIP4 not in node.run("ip addr").stdout, f"{node.name} still has the VIP")
    for node in c.nodes:
        node.start_clusterd()
    c.settle()


@case()
def test_downloads(c):
    """Slow downloads cross a drain and a return of all their buckets whole."""
    curls = [c.client.popen(["curl", "-s", "-m", "40", "-o", f"/run/slow.{i}",
                             f"http://{VIP4}/slow" if i % 2 else f"http://[{VIP6}]/slow"])
             for i in range(12)]
    time.sleep(0.5)
    for name in ("n1", "n2"):
        c[3].ctl(f"drain {name}")
        time.sleep(1.5)
        c[3].ctl(f"undrain {name}")
        time.sleep(1.5)
    codes = collections.Counter(p.wait(40) for p in curls)
    same(dict(codes), {0: 12}, "curl's exit codes")
    sizes = set(c.client.run("stat -c %s /run/slow.*").stdout.split())
    same(sizes, {str(1 << 20)}, "bytes received")


@case()
def test_reload(c):
    """reload applies a weight live and says what it cannot apply."""
    for node in c.nodes:
        node.write_ini(c.ini + "[node n1]\nweight = 50\n")
    for node in c.nodes:
        node.ctl("reload")
    wait(lambda: abs(counts(c)["n1"] - 1024 / 5) < 2, 10, "n1's share of weight 50")
    c[1].write_ini(c.ini.replace("buckets = 1024", "buckets = 2048"))
    r = c[1].ctl("reload", check=False)
    expect("buckets" in r.stdout + r.stderr, f"reload says nothing about buckets: {r.stdout}{r.stderr}")
    expect(c[1].clusterd.alive(), "clusterd ended")
    c[1].write_ini("[cluster]\nnonsense = 1\n")
    r = c[1].ctl("reload", check=False)
    expect(r.returncode == 1 and "nonsense" in r.stdout + r.stderr, f"reload of nonsense: {r}")
    for node in c.nodes:
        node.ini = None
        node.write_ini()
        node.ctl("reload")
    c[1].ctl("weight n1 auto")
    c.settle()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes: no majority survives one of them without a tie-break."""

from harness import *

FOREVER = float("inf")


def lose(c, victim, after=2.5):
    with Watched(c, conns=30) as w:
        w.mark()
        c[victim].power_off()
        time.sleep(after)
    w.one_speaker([(victim, w.t0, FOREVER)])
    return w


def survives(c, victim):
    w = lose(c, victim)
    w.others_untouched(f"n{victim}")
    outage = w.outage(f"n{victim}")
    expect(outage < 1.0, f"outage of {outage * 1000:.0f} ms")
    note(c, f"outage {outage * 1000:.0f} ms")
    serves_evenly(c, [f"n{3 - victim}"])


def returns(c, victim):
    """The one that served alone goes on as if nothing were."""
    with Watched(c, conns=30) as w:
        w.mark()
        c[victim].power_on()
        c.settle(draining=True)
        time.sleep(1)
    w.nobody_noticed()
    c.settle()


def falls_silent(c, victim):
    w = lose(c, victim)
    w.quiet(3 - victim, 1.0)
    same(c[3 - victim].status()["cluster"]["fenced"], True, "fenced")


def parted(c):
    """The two lose each other, not their clients: at most one of them has a bucket."""
    with Watched(c, conns=30) as w:
        w.mark()
        c.cut(1, 2)
        time.sleep(3)
    speaking = {p.who for p in measure.syn_acks(w.packets) if p.t > w.t0 + 1.0}
    w.one_speaker([(n, w.t0, FOREVER) for n in {1, 2} - speaking])
    if len(speaking) == 2:
        # Through the witness they still agree: then nothing may have happened at all.
        w.others_untouched(None)
    c.heal()
    c.settle()
    serves_evenly(c, ["n1", "n2"])
    return speaking


@case(nodes=2)
def test_two_none(c):
    """tiebreak = none: the survivor waits for the operator; two serve again."""
    serves_evenly(c, ["n1", "n2"])
    falls_silent(c, 2)
    c[2].power_on()
    c.settle()
    serves_evenly(c, ["n1", "n2"])


@case(nodes=2)
def test_two_takeover(c):
    """tiebreak = none: the survivor serves alone once the operator vouches that the other is dead."""
    refused = c[1].ctl("takeover n2 --yes", check=False)
    expect(refused.returncode == 1 and "not dead" in refused.stderr, f"a living node: {refused.stderr}")
    falls_silent(c, 2)
    same(c[1].ctl("takeover n2", check=False).returncode, 1, "without --yes")
    order = wait(lambda: (r := c[1].ctl("takeover n2 --yes", check=False)).returncode == 0 and r, 10,
                 "the order to be taken")
    same(order.returncode, 0, "exit status")
    wait(lambda: not c[1].status()["cluster"]["fenced"], 10, "n1 to serve alone")
    serves_evenly(c, ["n1"])
    c[2].power_on()
    c.settle(draining=True)
    serves_evenly(c, ["n1", "n2"])


@case(nodes=2, conf={"cluster": {"tiebreak": "lowest"}})
def test_two_lowest(c):
    """tiebreak = lowest: n1 goes on without n2, never n2 without n1."""
    survives(c, 2)
    returns(c, 2)
    falls_silent(c, 1)
    c[1].power_on()
    c.settle()
    same(parted(c), {1}, "who goes on when the two are parted")


@case(nodes=2, conf={"cluster": {"tiebreak": CLIENT4}}, timeout=120)
def test_two_witness(c):
    """tiebreak = ADDRESS: either survivor that reaches the witness goes on; parted, never both alone."""
    for victim in (1, 2):
        survives(c, victim)
        returns(c, victim)
    parted(c)


@case(nodes=2, conf={"cluster": {"tiebreak": CLIENT4}})
def test_two_witness_lost(c):
    """Cut off from peer and witness at once: silent."""
    with Watched(c, conns=30) as w:
        w.mark()
        c.isolate(1)
        time.sleep(2.5)
    w.one_speaker([(1, w.t0, FOREVER)])
    expect(w.outage("n1") < 1.0, "n2 did not take over")
    same(c[1].status()["cluster"]["fenced"], True, "fenced on the isolated node")
    c.heal()
    c.settle()


@case(nodes=1, conf={})
def test_one(c):
    """A cluster of one node serves everything."""
    serves_evenly(c, ["n1"])

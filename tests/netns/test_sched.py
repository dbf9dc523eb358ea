# SPDX-License-Identifier: GPL-2.0-or-later
"""Services with a scheduler: shares, connections that stay, directors that move and die."""

import collections
import random
import time

import frames
from harness import *
from test_moves import counts, has, has_none
from test_ways import CALM, answered_straight, ask_all, conf_of

PLANNED = (("probability", "announce", "direct"), ("least-conn", "flood", "direct"),
           ("least-conn", "route", "vxlan"))
UNPLANNED = (("probability", "flood", "direct"), ("least-conn", "announce", "direct"))


# A lost node's flows are given up after the second or third time that their clients send again.  While a
# bucket moves nobody gives up; so the shares are evened out later, as they are by default (5 s).
LATER = {"cluster": CALM["cluster"] | {"failback_delay": "3s"}}


def cell(scheduler, dispatch, redirect, what, text, **more):
    """Marks a test of one kind of service."""
    def mark(func):
        def test(c):
            func(c, scheduler, dispatch)
        test.__name__ = f"test_sched_{what}_{scheduler.replace('-', '_')}_{dispatch}"
        test.__doc__ = f"scheduler = {scheduler}, dispatch = {dispatch}: {text}"
        case(conf=conf_of(dispatch, redirect, scheduler=scheduler) | more, router=True, timeout=120,
             alike=what != "planned")(test)
    return mark


def holder(c, vip):
    name = (c[1].status()["services"][0].get("holders") or {}).get(vip)
    return int(name[1:]) if name else None


def shares_by_weight(c, scheduler):
    """Half the weight, half the share."""
    c[1].ctl("weight n3 50")
    wait(lambda: abs(counts(c)["n3"] - 1024 / 5) < 2, 10, "n3's share of weight 50")
    time.sleep(1.2)    # all have told their loads
    if scheduler == "probability":
        found = collections.Counter(once(c, ports="50000:300").values())
    else:
        hold = c.load("hold", conns=150, interval=1.5)    # so they come over 1.5 s
        time.sleep(3.5)
        found = collections.Counter(r[5] for r in hold.stop().records("c"))
    total = sum(found.values())
    want = {"n1": total * 0.4, "n2": total * 0.4, "n3": total * 0.2}
    off = {n: round(found[n] - want[n]) for n in want}
    note(c, f"{dict(sorted(found.items()))}")
    expect(all(abs(v) < 0.08 * total for v in off.values()), lambda: f"{dict(found)}, not {want}")
    c[1].ctl("weight n3 auto")
    wait(lambda: max(counts(c).values()) - min(counts(c).values()) <= 1, 10, "even shares")
    time.sleep(1.2)    # none counts the connections that have ended


def stays(c):
    """Datagrams of one source port go to one node, and come straight from it."""
    recs = c.load("udp", ports="51000:40", rate=200, seconds=1.5).wait().records()
    by = collections.defaultdict(set)
    for r in recs:
        by[r[2], r[3]].add(r[5])
    lost = [r for r in recs if r[4] is None]
    expect(not lost, lambda: f"datagrams were lost: {few(lost)}")
    moved = {k: v for k, v in by.items() if len(v) > 1}
    expect(len(by) == 80 and not moved, lambda: f"flows changed their node: {few(moved.items())}")
    found = collections.Counter(n for v in by.values() for n in v)
    expect(len(found) == 3, f"not all nodes serve: {dict(found)}")


def stays_until_asked(c):
    """A former director helps until the new one has asked everybody for the flows: half a second."""
    moved, late = None, []
    for e in c[1].json("events")["events"]:
        if e["name"] == "MOVE":
            moved = e["time_ms"]
        elif e["name"] == "DRAINED" and moved:
            late.append(e["time_ms"] - moved)
    expect(len(late) >= 3 and min(late) >= 490, f"drained {late} ms after the buckets moved")


def planned(c, scheduler, dispatch):
    shares_by_weight(c, scheduler)    # first: old flows, UDP's for some time, count as connections
    found, packets = ask_all(c, c.user, "49000:60", "udp port 5353")
    answered_straight(found, packets, c.user, c)
    stays(c)
    with Watched(c, conns=100, rate=200) as w:
        w.mark()
        c[1].ctl("drain n2")
        wait(has_none(c, "n2"), 10, "n2 to direct nothing")
        time.sleep(0.8)
        start = time.monotonic()
        fresh = once(c, ports="52000:50")
        quiet = start - w.t0, time.monotonic()
        c[1].ctl("undrain n2")
        wait(has(c, "n2"), 10, "n2 to direct buckets again")
        time.sleep(1)
    w.nobody_noticed()
    same(set(fresh.values()), {"n1", "n3"}, "nodes that get new clients while n2 is drained")
    w.quiet(2, *quiet)    # nor new connections of old clients' ports
    stays_until_asked(c)


def unplanned(c, scheduler, dispatch):
    """A director dies: what it had directed elsewhere lives on."""
    victim = holder(c, c.vip4) or 2
    name = f"n{victim}"
    with Watched(c, conns=120, rate=150) as w:
        w.mark()
        c[victim].power_off()
        time.sleep(7.5)    # clients send again after 0.2, 0.6, 1.4, 3, 6.2 s
    server = {i: recs[0][5] for i, recs in w.connections().items()}
    ended = [r for r in w.held if r[0] in "xm" and server.get(r[2]) != name]
    expect(not ended, lambda: f"connections to living nodes ended: {few(ended)}")
    hung = [r for r in w.held if r[0] == "e" and server.get(r[2]) != name and (r[6] or 0) > 1500]
    expect(not hung, lambda: f"connections to living nodes hang: {few(hung)}")
    slowest = max(r[4] for r in w.held if r[0] == "e" and server.get(r[2]) != name)
    note(c, f"longest pause of the others {slowest:.0f} ms")
    mine = [i for i, s in server.items() if s == name]
    back = [i for i in mine if len(w.connections()[i]) > 1]
    expect(mine and len(back) == len(mine), f"{len(back)} of {len(mine)} clients of {name} came back")
    late = [r for r in w.probes if r[1] > w.t0 + 2.5 and measure.failed(r)]
    expect(not late, lambda: f"new connections fail long after: {few(late)}")
    w.one_speaker([(victim, w.t0, float("inf"))])
    c[victim].power_on()
    c.settle(25, draining=True)


def rss(node):
    with open(f"/proc/{node.clusterd.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def ack_flood(c, scheduler, dispatch):
    """ACKs of connections that do not exist, from anywhere, to every node."""
    rnd = random.Random(4)
    before = [rss(n) for n in c.nodes]

    def some(n, count):
        out = []
        for _ in range(count):
            sport = rnd.randrange(1024, 65536)
            if rnd.random() < 0.5:
                src, dst, kind = f"198.18.{rnd.randrange(256)}.{rnd.randrange(1, 255)}", c.vip4, 0x0800
            else:
                src, dst, kind = f"2001:db8::{rnd.randrange(65536):x}", c.vip6, 0x86dd
            body = frames.tcp(src, sport, dst, 80, frames.ACK, seq=rnd.getrandbits(32), ack=rnd.getrandbits(32))
            packet = frames.ip4(src, dst, 6, body) if kind == 0x0800 else frames.ip6(src, dst, 6, body)
            out.append(frames.ether("02:00:00:00:00:fe", n.mac, kind, packet))
        return out

    floods = [(n, some(n, 3000)) for n in c.nodes]
    with Watched(c, conns=80, rate=150) as w:
        w.mark()
        for n, flood in floods:
            measure.inject([n.port], flood, 1.0)
        for n in c.nodes:
            measure.inject([n.port], [frames.ether("02:00:00:00:00:63", n.mac, kind, body)[:1514]
                                      for kind, body in frames.nasty("10.77.0.99", "fd77::99", c.vip4, c.vip6)],
                           0.5)
        time.sleep(1.5)
    w.nobody_noticed()
    expect(all(n.clusterd.alive() for n in c.nodes), "a daemon ended")
    grown = max(rss(n) - b for n, b in zip(c.nodes, before))
    note(c, f"memory grew by {grown} kB at most")
    expect(grown < 16 << 10, f"a daemon grew by {grown} kB")
    queue = [n.json("counters")["services"][0]["queue"] for n in c.nodes]
    note(c, f"queue: {queue[0]}")


for _cell in PLANNED:
    cell(*_cell, "planned", "shares by weight, flows stay, directors move unnoticed.")(planned)
for _cell in UNPLANNED:
    cell(*_cell, "unplanned", "a director dies, connections at other nodes live on.", **LATER)(unplanned)
cell(*UNPLANNED[-1], "ack_flood", "spoofed ACKs and nonsense harm nothing.")(ack_flood)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves in the modes that hand on: planned ones nobody notices; a lost front is replaced."""

import collections
import signal

from harness import *
from test_ways import conf_of, needs

FOREVER = float("inf")
# Heirs of a daemon that crashed hold their resets back for 2 s; then the clients must send again.
GRACE = 6
SIX = "10.77.0.250, 10.77.0.251, 10.77.0.252, fd77::250, fd77::251, fd77::252"


def counts(c, number=1):
    return c[number].status()["services"][0]["buckets"]


def has(c, name, seen_by=1):
    return lambda: counts(c, seen_by).get(name, 0) > 0


def has_none(c, name, seen_by=1):
    return lambda: not counts(c, seen_by).get(name, 0)


def sheds_and_takes(c):
    """drain, undrain and a weight, under 120 connections that do not end."""
    with Watched(c, conns=120, rate=250) as w:
        w.mark()
        c[1].ctl("drain n3")
        wait(has_none(c, "n3"), 10, "n3 to own nothing")
        time.sleep(0.5)
        quiet = time.monotonic() - w.t0, time.monotonic() + 0.7
        time.sleep(0.8)
        c[2].ctl("undrain n3")
        wait(has(c, "n3"), 10, "n3 to own buckets again")
        time.sleep(0.7)
        c[1].ctl("weight n1 30")
        wait(lambda: abs(counts(c)["n1"] - 1024 * 30 / 230) < 2, 10, "n1's share of weight 30")
        time.sleep(0.7)
        c[1].ctl("weight n1 auto")
        wait(lambda: max(counts(c).values()) - min(counts(c).values()) <= 1, 10, "even shares")
        time.sleep(0.7)
    w.nobody_noticed()
    w.quiet(3, *quiet)
    expect(len(w.connections()) == 120, "connections are missing")


def stops_and_returns(c):
    """A clean stop and the return of a node; the stop ends when the last connection there ends."""
    node = c[2]
    with Watched(c, conns=120, rate=250) as w:
        w.mark()
        node.clusterd.kill(signal.SIGTERM)
        wait(has_none(c, "n2"), 10, "n2 to own nothing")
        c.gate.ways([c[1], c[3]])    # as a routing daemon would: the signal is gone
        time.sleep(0.7)
        expect(node.clusterd.alive(), "the stop did not wait for the connections")
        w.loads[1].stop()
        same(node.clusterd.wait(15), 0, "exit code")
        time.sleep(0.5)
        w.loads.append(c.load("hold", conns=60))
        time.sleep(0.5)
        node.start_clusterd()
        c.settle(20, draining=True)
        c.gate.ways(c.nodes)
        time.sleep(0.7)
    later = w.loads[-1].records()
    w.nobody_noticed()
    bad = [r for r in later if r[0] in "xm" or r[0] == "s" and r[3] > 500]
    expect(len(later) >= 60 and not bad, lambda: f"connections noticed the return: {few(bad)}")
    c.settle(draining=True)


def moves(dispatch, redirect):
    conf = conf_of(dispatch, redirect)

    def test_move(c):
        sheds_and_takes(c)

    def test_stop(c):
        stops_and_returns(c)

    for test, what in ((test_move, "drain, undrain, weights"), (test_stop, "clean stop, return")):
        test.__name__ += f"_{dispatch}_{redirect}"
        test.__doc__ = f"dispatch = {dispatch}, redirect = {redirect}: {what}: no reset, no lost SYN."
        case(conf=conf, router=True, needs=needs(redirect), alike=True)(test)


for _dispatch in ("announce", "route"):
    for _redirect in ("direct", "vxlan", "ipip"):
        moves(_dispatch, _redirect)


# ---- announce: who answers for a VIP

def holders(c, number=1):
    """{vip: number of its holder} in the eyes of one node."""
    return {v: int(n[1:]) if n else None
            for v, n in c[number].status()["services"][0]["holders"].items()}


def speakers(packets, vip, since=0.0, until=FOREVER):
    """{number: times} of those that said in ARP or ND that they have 'vip'."""
    found = collections.Counter()
    for p in packets:
        if p.t <= since or p.t > until:
            continue
        if isinstance(p, measure.Arp) and p.spa == vip and p.who != 100:
            found[p.who] += 1
        elif isinstance(p, measure.Nd) and p.type == 136 and p.target == vip:
            found[p.who] += 1
    return found


def told_without_asking(packets, vip, since):
    """{number: times} of gratuitous ARP: it asks for, or answers to, the address that it tells."""
    return collections.Counter(p.who for p in packets if isinstance(p, measure.Arp) and p.t > since
                               and p.spa == p.tpa == vip)


def ask_for(c, vips):
    """The client forgets its neighbours and asks for each VIP again."""
    for vip in vips:
        c.client.run(f"ip neigh flush to {vip}; ip neigh del {vip} dev eth0; "
                     f"ping -c 1 -W 1 -n {vip} >/dev/null", check=False)


def one_answers(c, vips, silent=(), seen_by=1):
    """Each VIP is claimed by its holder, and by nobody else."""
    cap = c.capture()
    for _ in range(3):
        ask_for(c, vips)
    packets = cap.stop()
    held = holders(c, seen_by)
    for vip in vips:
        said = speakers(packets, vip)
        same(set(said), {held[vip]}, f"nodes that answer for {vip}")
        expect(said[held[vip]] >= 3, f"{vip}: {said} answers to 3 questions")
    for n in silent:
        expect(n not in held.values(), f"n{n} still holds a VIP: {held}")


@case(conf=conf_of("announce", vip=SIX), router=True, timeout=120, alike=True)
def test_holders(c):
    """Six VIPs: spread over the nodes, each answered by one; dead and hung daemons stay silent."""
    held = holders(c)
    same(sorted(collections.Counter(held.values()).values()), [2, 2, 2], "VIPs by holder")
    for n in (2, 3):
        same(holders(c, n), held, f"the holders in the eyes of n{n}")
    vips = list(held)
    one_answers(c, vips)
    # Frames to the VIP's holder only: the other nodes have the addresses, too, but not the MAC.
    for family, vip in ((4, vips[1]), (6, vips[4])):
        found = once(c, ports="41000:60", family=family, **{f"dst{family}": vip})
        same(set(found.values()), {"n1", "n2", "n3"}, f"nodes behind {vip}")

    c[2].kill_clusterd(signal.SIGKILL)
    wait(lambda: 2 not in holders(c).values(), 5, "others to hold n2's VIPs")
    one_answers(c, vips, silent=[2])
    c[2].start_clusterd()
    c.settle(draining=True)

    c[3].clusterd.kill(signal.SIGSTOP)
    wait(lambda: 3 not in holders(c).values(), 5, "others to hold n3's VIPs")
    one_answers(c, vips, silent=[3])
    c[3].clusterd.kill(signal.SIGCONT)
    c.settle(25, draining=True)
    wait(lambda: sorted(collections.Counter(holders(c).values()).values()) == [2, 2, 2], 10,
         "the VIPs to be spread again")
    one_answers(c, vips)


# What a lost node had is moved only when its clients have had their resets from the heirs: as by default.
PATIENT = conf_of("announce")
PATIENT = PATIENT | {"cluster": PATIENT["cluster"] | {"failback_delay": "6s"}}


def packets_of(w, clients):
    """The last ones of these long-lived connections, with their times after the event."""
    ports = {r[4] for r in w.held if r[0] == "c" and r[2] in clients}
    return [(round(p.t - w.t0, 3), p.who, p.flags) for p in w.packets
            if isinstance(p, measure.Segment) and p.t > w.t0 - 0.2 and p.client[1] in ports][-40:]


def front_lost(c, act, name_it, after=4.5):
    """The holder of vip4 is lost; (watched, old holder, new holder)."""
    held = holders(c)
    old = held[c.vip4]
    with Watched(c, conns=100, rate=250) as w:
        w.mark()
        act(old)
        time.sleep(after)
        until = time.monotonic()
    other = old % 3 + 1
    new = holders(c, other)[c.vip4]
    expect(new and new != old, f"n{new} holds the VIP after n{old} was lost")
    # Those who had a connection at another node keep it, though it may have stalled.
    server = {i: recs[0][5] for i, recs in w.connections().items()}
    ended = [r for r in w.held if r[0] in "xm" and server.get(r[2]) != f"n{old}"]
    expect(not ended, lambda: f"connections to living nodes ended: {few(ended)}")
    mine = [i for i, s in server.items() if s == f"n{old}"]
    back = [i for i in mine if len(w.connections()[i]) > 1]
    late = {i: [(r[0], round(r[1] - w.t0, 3), *r[3:]) for r in w.held if r[2] == i] for i in mine if i not in back}
    expect(not late, lambda: f"{len(late)} of {len(mine)} clients of the lost node did not come back: {late}; "
           f"their packets: {packets_of(w, late)}")
    w.one_speaker([(old, w.t0, until)])
    # Nobody but the holder speaks for the VIP, before and after.
    lease = 0.5
    expect(set(speakers(w.packets, c.vip4, w.t0 + 2.5 * lease)) <= {new}, "others speak for the VIP")
    expect(set(speakers(w.packets, c.vip4, 0, w.t0)) <= {old}, "others spoke for the VIP before")
    garp = told_without_asking(w.packets, c.vip4, w.t0)
    expect(set(garp) == {new} and garp[new] >= 2, f"gratuitous ARP: {dict(garp)}, new holder n{new}")
    nas = speakers(w.packets, c.vip6, w.t0) if held[c.vip6] == old else None
    expect(nas is None or nas, "no neighbour advertisement for the IPv6 VIP")
    first = min(p.t for p in w.packets if isinstance(p, measure.Arp) and p.spa == c.vip4
                and p.who == new and p.t > w.t0)
    keys = {k for k in w.before if k[0] == 4}
    outage = measure.outage(w.probes, keys, w.t0)
    expect(outage is not None, "the service did not come back")
    note(c, f"{name_it}: announced by n{new} after {(first - w.t0) * 1000:.0f} ms, "
            f"all served after {outage * 1000:.0f} ms")
    expect(first - w.t0 < 2.5 * lease and outage < 2.5 * lease + 0.5,
           f"takeover of the VIP took {first - w.t0:.2f} s, of its service {outage:.2f} s")
    return w, old, new


@case(conf=PATIENT, router=True, timeout=120, alike=True)
def test_front_power_off(c):
    """The VIP's holder loses power: taken over, announced; only its own connections break; it returns."""
    _, old, _ = front_lost(c, lambda n: c[n].power_off(), "power off")
    c[old].power_on()
    with Watched(c, conns=60, rate=250) as w:
        w.mark()
        c.settle(25, draining=True)
        time.sleep(1)
    w.nobody_noticed()


@case(conf=PATIENT, router=True, timeout=120, alike=True)
def test_front_sigkill(c):
    """The holder's daemon is killed, or hangs: the same, and the node is silent for the VIP."""
    w, old, _ = front_lost(c, lambda n: c[n].kill_clusterd(signal.SIGKILL), "SIGKILL", GRACE)
    w.quiet(old, 0.1)
    one_answers(c, [c.vip4, c.vip6], silent=[old], seen_by=old % 3 + 1)
    c[old].start_clusterd()
    c.settle(25, draining=True)
    w, old, _ = front_lost(c, lambda n: c[n].clusterd.kill(signal.SIGSTOP), "SIGSTOP")
    w.quiet(old, 2.5 * 0.5)
    one_answers(c, [c.vip4, c.vip6], silent=[old], seen_by=old % 3 + 1)
    c[old].clusterd.kill(signal.SIGCONT)
    c.settle(25, draining=True)


@case(conf=conf_of("announce"), router=True, timeout=120, alike=True)
def test_front_drained(c):
    """The holder is drained, and stopped: the VIP moves, announced, and nobody notices."""
    old = holders(c)[c.vip4]
    other = old % 3 + 1
    with Watched(c, conns=80, rate=250) as w:
        w.mark()
        c[other].ctl(f"drain n{old}")
        wait(lambda: holders(c, other)[c.vip4] != old, 5, "another holder")
        time.sleep(1)
        c[other].ctl(f"undrain n{old}")
        wait(has(c, f"n{old}", other), 10, "the node to own buckets again")
        time.sleep(1)
        c[old].clusterd.kill(signal.SIGTERM)
        wait(lambda: holders(c, other)[c.vip4] != old, 5, "another holder after the stop")
        time.sleep(0.5)
        w.loads[1].stop()
        same(c[old].clusterd.wait(15), 0, "exit code")
        time.sleep(1)
    w.nobody_noticed()
    new = holders(c, other)[c.vip4]
    garp = told_without_asking(w.packets, c.vip4, w.t0)
    expect(garp[new] >= 2, f"gratuitous ARP: {dict(garp)}, new holder n{new}")


@case(conf=conf_of("route"), router=True, alike=True)
def test_ecmp_width(c):
    """The router's set of ways shrinks and grows while all nodes serve: no connection notices."""
    with Watched(c, conns=120, rate=250) as w:
        w.mark()
        for ways in ([1, 2], [3], [2, 3], [1, 2, 3], [3, 2, 1]):
            c.gate.ways([c[n] for n in ways])
            time.sleep(0.7)
    w.nobody_noticed()


# ---- route: BIRD follows

def ways_are(c, numbers):
    return lambda: c.gate.hops(4) == numbers and c.gate.hops(6) == numbers


@case(conf=conf_of("route"), router="bird", timeout=150)
def test_bird(c):
    """BIRD: drained, fenced, stopped, hung nodes are withdrawn; more or fewer ways break nothing."""
    every = {1, 2, 3}
    wait(ways_are(c, every), 40, "BIRD to know all ways", every=0.2)

    def gone(number, what, limit):
        start = time.monotonic()
        wait(ways_are(c, every - {number}), limit, f"the way to n{number} to go ({what})")
        note(c, f"{what}: withdrawn after {time.monotonic() - start:.1f} s")

    with Watched(c, conns=100, rate=250) as w:
        w.mark()
        c[1].ctl("drain n3")
        gone(3, "drained", 10)
        time.sleep(0.5)
        c[1].ctl("undrain n3")
        wait(ways_are(c, every), 20, "the way to n3 to come back", every=0.2)
        time.sleep(0.5)
        c[2].clusterd.kill(signal.SIGTERM)
        gone(2, "stopping", 10)
        time.sleep(0.5)
    w.nobody_noticed()
    same(c[2].clusterd.wait(20), 0, "exit code")
    c[2].start_clusterd()
    c.settle(25, draining=True)
    wait(ways_are(c, every), 20, "the way to n2 to come back", every=0.2)

    with Watched(c, conns=0, rate=250) as w:
        w.mark()
        c[2].clusterd.kill(signal.SIGTERM)    # without a connection there is nothing to wait for
        gone(2, "stopping, idle", 10)
        time.sleep(0.5)
    same(c[2].clusterd.wait(20), 0, "exit code")
    w.nobody_noticed()
    c[2].start_clusterd()
    c.settle(25, draining=True)
    wait(ways_are(c, every), 20, "the way to n2 to come back", every=0.2)

    c.cut(1, 2)
    c.cut(1, 3)
    gone(1, "fenced", 10)
    c.heal()
    c.settle(25, draining=True)
    wait(ways_are(c, every), 20, "the way to n1 to come back", every=0.2)

    with Watched(c, conns=60, rate=250) as w:
        w.mark()
        c[3].clusterd.kill(signal.SIGSTOP)
        gone(3, "SIGSTOP", 15)
        time.sleep(2)
    server = {i: recs[0][5] for i, recs in w.connections().items()}
    ended = [r for r in w.held if r[0] in "xm" and server.get(r[2]) != "n3"]
    expect(not ended, lambda: f"connections to living nodes ended: {few(ended)}")
    w.quiet(3, 2.5 * 0.5)
    c[3].clusterd.kill(signal.SIGCONT)
    c.settle(25, draining=True)
    wait(ways_are(c, every), 20, "the way to n3 to come back", every=0.2)

# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests share: the @case mark, scenarios under load, and the judgement on their captures."""

import collections
import time

import lab as labs
import measure
from lab import CLIENT4, CLIENT6, VIP4, VIP6, wait

SLOW = labs.SLOW
LEASE_MS = 150 * SLOW
CASES = []


class Skip(Exception):
    pass


class Failed(Exception):
    pass


def case(nodes=3, conf=None, bare=False, timeout=90, fresh=False, router=False, needs=None, alike=False):
    """
    Marks a test.  It gets a settled cluster of 'nodes' with 'conf' (see lab.Lab); tests that ask for
    the same one share it.  bare: the nodes are on, nothing runs and clusterd is not needed.
    fresh: nothing was started yet and the lab is thrown away afterwards.  router: see lab.Lab.
    needs(): called before anything is started; says what this kernel lacks, or None.
    alike: if the test before had the same nodes and [cluster] settings, only clusterd starts again.
    """
    def mark(func):
        func.router, func.needs, func.alike = router, needs, alike
        func.nodes, func.conf, func.bare, func.timeout, func.fresh = nodes, conf, bare, timeout, fresh
        CASES.append(func)
        return func
    return mark


def expect(cond, why):
    if not cond:
        raise Failed(why() if callable(why) else why)


def same(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r} instead of {wanted!r}")


def few(items, n=5):
    items = list(items)
    return f"{len(items)}: {items[:n]}"


def addresses(family):
    return (CLIENT4, VIP4) if family == 4 else (CLIENT6, VIP6)


class Watched:
    """
    Load and a capture while something happens:

        with Watched(c) as w:      # settles for a moment, learns who serves which source port
            w.mark()               # the moment of the event
            ...
        w.untouched(...)           # after the block everything has ended and can be judged
    """

    def __init__(self, c, conns=60, rate=300, ports=300, baseline=2.2, udp=False):
        self.c, self.conns, self.rate, self.ports = c, conns, rate, ports
        self.baseline, self.udp = baseline, udp
        self.t0 = None

    def __enter__(self):
        c = self.c
        self.capture = c.capture()
        self.loads = [c.load("probe", rate=self.rate, ports=f"20000:{self.ports}")]
        if self.conns:
            self.loads.append(c.load("hold", conns=self.conns))
        if self.udp:
            self.loads.append(c.load("udp", rate=200, ports="30000:200"))
        time.sleep(self.baseline * SLOW)
        return self

    def mark(self):
        self.t0 = time.monotonic()
        return self.t0

    def __exit__(self, kind, _value, _trace):
        try:
            for load in self.loads:
                load.stop()
            self.packets = self.capture.stop()
        except (labs.LabError, RuntimeError):
            if kind is None:
                raise
            return
        self.probes = self.loads[0].records("p")
        self.held = self.loads[1].records() if self.conns else []
        self.datagrams = self.loads[-1].records("u") if self.udp else []
        self.t0 = self.t0 or time.monotonic()
        self.before = measure.owners(self.probes, self.t0 - 0.05)
        early = [r for r in self.probes if r[1] < self.t0 - 0.05 and measure.failed(r)]
        if kind is None:
            expect(not early, lambda: f"requests failed before anything happened: {few(early)}")
            expect(self.before, "no request was answered before anything happened")

    # -- who is who

    def keys_of(self, name):
        return {k for k, server in self.before.items() if server == name}

    def connections(self):
        """{id: [first answer's record]} of long-lived connections, in order."""
        conns = collections.defaultdict(list)
        for r in self.held:
            if r[0] == "c":
                conns[r[2]].append(r)
        return conns

    # -- judgement

    def outage(self, name):
        """Seconds for which new connections of 'name' (the lost node) were not accepted."""
        mine = self.keys_of(name)
        expect(mine, f"{name} served nothing before")
        lost = measure.outage(self.probes, mine, self.t0)
        expect(lost is not None, lambda: f"connections of {name} were not taken over")
        return lost

    def others_untouched(self, name, slowest_ms=500):
        """Nobody but the clients of 'name' (None: really nobody) noticed anything."""
        bad = [r for r in self.probes if self.before.get((r[2], r[3])) not in (name, None)
               and measure.failed(r)]
        expect(not bad, lambda: f"requests to other nodes failed: {few(map(self.told, bad), 12)}")
        server = {}
        for r in self.held:
            if r[0] == "c":
                server[r[2]] = r[5]
            elif r[0] == "x":
                expect(server.get(r[2]) == name,
                       lambda: f"a connection to {server.get(r[2])} ended: {r[3]}, "
                               f"{r[1] - self.t0:.2f} s after the event")
            elif r[0] == "m":
                raise Failed(f"connection {r[2]} was answered by {r[3]} and then by {r[4]}")
            elif r[0] == "e" and r[5] != name:
                expect(r[4] < slowest_ms, lambda: f"a request on a connection to {r[5]} took {r[4]} ms")
                expect((r[6] or 0) < slowest_ms, lambda: f"{r[5]} does not answer for {r[6]} ms")
        bad = [r for r in self.datagrams if r[4] is None and self.udp_owner(r) not in (name, None)]
        expect(not bad, lambda: f"datagrams to other nodes were lost: {few(bad)}")

    def told(self, probe):
        """A failed request in words."""
        _, start, family, sport, connect, _, server, error = probe
        return (f"IPv{family} port {sport} of {self.before.get((family, sport))} at {start - self.t0:+.3f} s: "
                f"{error or f'SYN lost, then {server} after {connect:.0f} ms'}")

    def udp_owner(self, record):
        for r in self.datagrams:
            if r[1] < self.t0 and r[2:4] == record[2:4] and r[5]:
                return r[5]
        return None

    def nobody_noticed(self):
        """The promise on planned moves: no reset, no lost SYN, no stall."""
        self.others_untouched(None)
        resets = measure.resets(self.packets)
        expect(not resets, lambda: f"nodes sent resets: {few(resets)}")
        lost = measure.lost_syns(self.packets)
        expect(not lost, lambda: f"SYNs were lost: {few((round(t - self.t0, 3), c) for t, c in lost)}")
        self.one_speaker()

    def connections_survived(self):
        """No long-lived connection ended or changed its server, though it may have stalled."""
        bad = [r for r in self.held if r[0] in "xm"]
        expect(not bad, lambda: f"long-lived connections ended: {few(bad)}")
        waiting = [r for r in self.held if r[0] == "e" and (r[6] or 0) > 1500]
        expect(not waiting, lambda: f"long-lived connections hang: {few(waiting)}")

    def one_speaker(self, gone=()):
        """No SYN was answered by two nodes; no node reset a connection of a living other one."""
        both = measure.double_accepts(self.packets)
        expect(not both, lambda: f"connections accepted by two nodes: {few(both)}")
        bad = measure.foreign_resets(self.packets, gone)
        expect(not bad, lambda: f"resets for another node's connections: {few(bad)}")

    def silent_before_heirs(self, name, until=None):
        """
        From t0 (to 'until') the last SYN-ACK of 'name' came before the first one of an heir to its
        connections.
        """
        number = int(name[1:])
        until = until or float("inf")
        mine = {port for _, port in self.keys_of(name)}
        acks = [p for p in measure.syn_acks(self.packets) if self.t0 < p.t < until]
        last = max((p.t for p in acks if p.who == number), default=self.t0)
        keys = self.keys_of(name)
        heirs = [p for p in acks if p.who != number and
                 (6 if ":" in p.client[0] else 4, p.client[1]) in keys]
        expect(mine and heirs, f"nobody inherited from {name}")
        first = min(p.t for p in heirs)
        expect(last < first, f"{name} still accepted {last - first:.3f} s after an heir had spoken")
        return last - self.t0, first - self.t0

    def quiet(self, number, after, until=None):
        """Node 'number' accepted nothing later than 'after' seconds past t0."""
        late = [p for p in measure.syn_acks(self.packets)
                if p.who == number and self.t0 + after < p.t < (until or float("inf"))]
        expect(not late, lambda: f"n{number} accepted connections {late[0].t - self.t0:.3f} s after "
                                 f"the event ({len(late)} in all)")


def once(c, what="probe", ports="40000:200", **options):
    """One request from each source port of both families; all must be answered."""
    recs = c.load(what, once=True, ports=ports, rate=400, **options).wait().records()
    bad = [r for r in recs if (r[7] if what == "probe" else r[4] is None)]
    expect(recs and not bad, lambda: f"{what}: not answered: {few(bad)}")
    found = {(r[2], r[3]): r[6] if what == "probe" else r[5] for r in recs}
    first, count = map(int, ports.split(":"))
    missing = {(int(f), p) for f in str(options.get("family", 46)) for p in range(first, first + count)} - set(found)
    expect(not missing, lambda: f"{what}: not even tried: {few(sorted(missing))}")
    return found


def serves_evenly(c, servers, low=0.5):
    """All requests are answered, by exactly these nodes, by none much less than its share."""
    found = collections.Counter(once(c).values())
    same(set(found), set(servers), "nodes that answered")
    share = sum(found.values()) / len(servers)
    expect(min(found.values()) > low * share, lambda: f"uneven shares: {dict(found)}")


def note(c, text):
    """A line that the runner prints behind the test's name."""
    c.notes.append(text)


__all__ = ["case", "expect", "same", "few", "Skip", "Failed", "Watched", "once", "serves_evenly",
           "note", "wait", "measure", "labs", "addresses", "VIP4", "VIP6", "CLIENT4", "CLIENT6",
           "LEASE_MS", "SLOW", "time"]

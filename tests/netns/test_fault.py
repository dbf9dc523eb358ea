# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way to lose a node: silent before an heir speaks, and only its own clients notice."""

import signal

from harness import *

FOREVER = float("inf")
# The promise is a median of 2 leases on a machine with nothing else to do (make bench measures it);
# here other programs may run beside us, and only a takeover that waits for the group must fail.
OUTAGE_MAX = 0.6


def lost_one(c, victim, act, after=2.0, gone=True, restore=None, conns=60):
    """Something happens to node 'victim' under load.  Returns (watched, outage in seconds)."""
    name = f"n{victim}"
    with Watched(c, conns=conns) as w:
        w.mark()
        act()
        time.sleep(after)
        until = time.monotonic()
    w.until = until
    w.others_untouched(name)
    w.one_speaker([(victim, w.t0, FOREVER)] if gone else [])
    w.silent_before_heirs(name)
    outage = w.outage(name)
    expect(outage < OUTAGE_MAX, f"outage of {outage * 1000:.0f} ms")
    return w, outage


@case(timeout=150)
def test_power_off(c):
    """Power off, each node in turn: an outage of its clients only."""
    outages = []
    for victim in (1, 2, 3):
        w, outage = lost_one(c, victim, c[victim].power_off)
        outages.append(outage)
        w.quiet(victim, 0.05)
        wait(lambda: c.state_of(f"n{victim}", victim % 3 + 1) in ("failed", "offline"), 10,
             "status to show the loss")
        wait(lambda: c.settled(draining=True), 15, "the survivors to settle")
        c[victim].power_on()
        c.settle(draining=True)
    note(c, f"median outage {measure.median(outages) * 1000:.0f} ms of the lost node's clients")
    expect(measure.median(outages) < 2 * LEASE_MS / 1000 + 0.1,
           f"median outage {measure.median(outages) * 1000:.0f} ms")


@case()
def test_power_off_clients_return(c):
    """Clients of a lost node get their reset from the heir at once and connect again."""
    w, _ = lost_one(c, 2, c[2].power_off, after=4)
    ended = {r[2]: r[1] for r in w.held if r[0] == "x"}
    mine = {i for i, recs in w.connections().items() if recs[0][5] == "n2"}
    expect(mine and set(ended) == mine, f"connections that ended: {len(ended)} of {len(mine)}")
    late = [i for i in mine if len(w.connections()[i]) < 2]
    expect(not late, f"{len(late)} of {len(mine)} clients did not get a new connection")


@case(timeout=120)
def test_sigkill(c):
    """SIGKILL of clusterd, not restarted: as a power-off for its clients, nothing for the others."""
    outages = []
    for victim in (1, 2):
        w, outage = lost_one(c, victim, lambda: c[victim].kill_clusterd(signal.SIGKILL), gone=True)
        outages.append(outage)
        w.quiet(victim, 0.1)
        c[victim].start_clusterd()
        c.settle(draining=True)
    note(c, f"outage {max(outages) * 1000:.0f} ms")


@case(timeout=120)
def test_sigkill_overlap(c):
    """The tables of a killed daemon are gone before its heirs hear of its death: twelve kills, dense SYNs."""
    both = []
    for victim in (1, 2, 3) * 4:
        with Watched(c, conns=0, rate=1500, ports=1500, baseline=0.5) as w:
            w.mark()
            c[victim].kill_clusterd(signal.SIGKILL)
            time.sleep(0.3)
        both.append(len(measure.double_accepts(w.packets)))
        c[victim].start_clusterd()
        c.settle(draining=True)
    expect(not any(both), f"connections accepted by two nodes, kill by kill: {both}")


@case()
def test_sigkill_restart(c):
    """SIGKILL and restart within the grace, as systemd does it: established connections survive."""
    def act():
        c[2].kill_clusterd(signal.SIGKILL)
        time.sleep(0.1)
        c[2].start_clusterd()

    with Watched(c) as w:
        w.mark()
        act()
        time.sleep(4)
    w.others_untouched("n2")
    w.connections_survived()
    w.one_speaker()
    resets = measure.resets(w.packets)
    expect(not resets, lambda: f"nodes sent resets: {few(resets)}")
    note(c, f"outage for new connections {w.outage('n2') * 1000:.0f} ms")
    c.settle(draining=True)


@case()
def test_sigstop(c):
    """SIGSTOP: fenced by the kernel before an heir speaks; after SIGCONT fenced until re-admitted."""
    w, outage = lost_one(c, 3, lambda: c[3].clusterd.kill(signal.SIGSTOP), after=2.5)
    w.quiet(3, 2.5 * LEASE_MS / 1000)
    note(c, f"outage {outage * 1000:.0f} ms")
    with Watched(c, conns=30) as w:
        w.mark()
        c[3].clusterd.kill(signal.SIGCONT)
        c.settle(25, draining=True)
        time.sleep(0.5)
    w.others_untouched(None)
    w.one_speaker()


@case()
def test_sigstop_short(c):
    """A stop of a third of the lease goes unnoticed."""
    with Watched(c) as w:
        w.mark()
        for _ in range(5):
            c[2].clusterd.kill(signal.SIGSTOP)
            time.sleep(LEASE_MS / 3000)
            c[2].clusterd.kill(signal.SIGCONT)
            time.sleep(0.3)
    w.nobody_noticed()


@case()
def test_isolated_from_all(c):
    """A node that is cut off from everybody, clients too, and comes back."""
    _, outage = lost_one(c, 1, lambda: c.isolate(1))
    note(c, f"outage {outage * 1000:.0f} ms")
    merge(c)


def merge(c):
    """Heals all cuts under load: the two sides find together and nobody notices."""
    with Watched(c, conns=30) as w:
        w.mark()
        c.heal()
        c.settle(25, draining=True)
        time.sleep(0.5)
    w.others_untouched(None)
    w.one_speaker()


@case()
def test_isolated_from_peers(c):
    """A node that loses its peers but not its clients: it must fall silent by itself."""
    def act():
        c.cut(3, 1)
        c.cut(3, 2)
    w, outage = lost_one(c, 3, act, after=3)
    w.quiet(3, 2.5 * LEASE_MS / 1000)
    same(c[3].status()["cluster"]["fenced"], True, "fenced on the isolated node")
    note(c, f"outage {outage * 1000:.0f} ms")
    merge(c)


def oneway(c, outward):
    def act():
        for peer in (1, 3):
            c.cut(*((2, peer) if outward else (peer, 2)), oneway=True)
    w, outage = lost_one(c, 2, act, after=3)
    w.quiet(2, 2.5 * LEASE_MS / 1000)
    note(c, f"outage {outage * 1000:.0f} ms")
    merge(c)


@case()
def test_oneway_mute(c):
    """One-way cut: the peers do not hear a node which hears them."""
    oneway(c, True)


@case()
def test_oneway_deaf(c):
    """One-way cut: a node does not hear its peers, which hear it."""
    oneway(c, False)


@case(timeout=120)
def test_single_path(c):
    """One path cut (1-3): for ten seconds no service is interrupted, nor when it heals."""
    with Watched(c) as w:
        w.mark()
        c.cut(1, 3)
        for _ in range(20):
            time.sleep(0.5)
            fenced = [n.name for n in c.nodes if (n.status() or {"cluster": {"fenced": 1}})
                      ["cluster"]["fenced"]]
            expect(not fenced, lambda: f"fenced by a single cut path: {fenced}")
    w.others_untouched(None)
    w.one_speaker()
    merge(c)


@case()
def test_flapping(c):
    """A node's paths come and go every 300 ms: nothing is ever accepted twice, and all heals."""
    with Watched(c) as w:
        w.mark()
        for _ in range(6):
            c.cut(2, 1)
            c.cut(2, 3)
            time.sleep(0.3)
            c.heal()
            time.sleep(0.3)
        time.sleep(1)
    w.others_untouched("n2")
    w.one_speaker([(2, w.t0, FOREVER)])
    c.settle(30, draining=True)
    serves_evenly(c, ["n1", "n2", "n3"])


@case()
def test_majority_lost(c):
    """Both others lose power: the last one falls silent, and serves again with a second one."""
    with Watched(c, conns=30) as w:
        w.mark()
        c[2].power_off()
        c[3].power_off()
        time.sleep(3)
    w.quiet(1, 2.5 * LEASE_MS / 1000 + 0.1)
    w.one_speaker([(2, w.t0, FOREVER), (3, w.t0, FOREVER)])
    s = c[1].status()["cluster"]
    same((s["fenced"], s["quorate"]), (True, False), "fenced, quorate of the last node")
    same(c[1].run(["curl", "-s", "-m", "2", f"http://{VIP4}/"]).stdout.strip(), "n1",
         "its own connection to the VIP")
    c[2].power_on()
    c.settle(draining=True)
    serves_evenly(c, ["n1", "n2"])


@case(nodes=5, timeout=120)
def test_two_of_five(c):
    """Two of five lost at once: the three others serve all, untouched."""
    with Watched(c) as w:
        w.mark()
        c[2].power_off()
        c[5].power_off()
        time.sleep(2.5)
    gone = {"n2", "n5"}
    bad = [r for r in w.probes if w.before.get((r[2], r[3])) not in gone | {None}
           and measure.failed(r)]
    expect(not bad, lambda: f"requests to others failed: {few(bad)}")
    w.one_speaker([(2, w.t0, FOREVER), (5, w.t0, FOREVER)])
    outage = max(w.outage("n2"), w.outage("n5"))
    expect(outage < OUTAGE_MAX, f"outage of {outage * 1000:.0f} ms")
    note(c, f"outage {outage * 1000:.0f} ms")
    wait(lambda: c.settled(draining=True), 15, "the survivors to settle")
    serves_evenly(c, ["n1", "n3", "n4"])


@case()
def test_replayed_hello(c):
    """A dead node's HELLOs, played back to its peers, do not keep it alive."""
    frames = measure.record(c[2].port, c.dir + "/hello.pcap", "udp port 5407", 0.5)
    expect(len(frames) > 10, f"only {len(frames)} HELLOs of n2 in 0.5 s")

    def act():
        c[2].power_off()
        for _ in range(3):
            measure.inject([c[1].port, c[3].port], frames, 0.5)
    lost_one(c, 2, act)
    c[2].power_on()
    c.settle(draining=True)

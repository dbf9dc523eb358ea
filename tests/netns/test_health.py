# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks: a service that fails at a node loses that node's share of its clients, in time and no other's."""

import contextlib
import os
import random
import signal

from harness import *
from test_moves import FOREVER, counts, has, has_none
from test_ways import CALM

BOTH = f"{VIP4}, {VIP6}"
# Three services at one address: web, on ports 80 and 5353/udp; echo; and the same web server on port 81.
CONF = CALM | {
    "service web": {"sorry": "redirect http://elsewhere.example/"},
    "service echo": {"vip": BOTH, "port": "tcp/5353"},
    "service more": {"vip": BOTH, "port": "tcp/81", "sorry": "drop"},
}
ANNOUNCE = CALM | {"service web": {"dispatch": "announce"}}
SCHED = CALM | {
    "service web": {"scheduler": "least-conn"},
    "service more": {"vip": BOTH, "port": "tcp/81", "scheduler": "probability"},
}


def ms(n):
    return f"{n * SLOW}ms"


INTERVAL, FALL = 200, 3
# A service that fails has lost its clients by then, seconds.
BOUND = (FALL * INTERVAL + 200) / 1000 * SLOW
EVERY = {"service": "web", "interval": ms(INTERVAL), "fall": FALL, "rise": 2}
TCP = {"check web-tcp": EVERY | {"type": "tcp"}}
HTTP = {"check web-http": EVERY | {"type": "http", "path": "/health"}}


@contextlib.contextmanager
def configured(c, extra, nodes=None):
    """With these sections, or keys, more; by reload."""
    nodes = nodes or c.nodes
    conf = {k: dict(v) for k, v in c.conf.items()}
    for section, keys in extra.items():
        conf.setdefault(section, {}).update(keys)
    try:
        for n in nodes:
            n.write_ini(c.render(conf))
            n.ctl("reload")
        yield
    finally:
        for n in nodes:
            n.ini = None
            if n.pid:
                n.write_ini()
                n.ctl("reload", check=False)


def health(c, name, service=0, seen_by=1):
    return c[seen_by].status()["services"][service]["health"][name]


def share(c, name, service=0, seen_by=1):
    return c[seen_by].status()["services"][service]["buckets"].get(name, 0)


def events(c, *names, since=0, seen_by=1):
    """[(name, node, by, service)] of these names, in order."""
    return [(e["name"], e["node"], e["by"], e["service"]) for e in c[seen_by].json("events")["events"]
            if e["seq"] > since and e["name"] in names]


def last_event(c, seen_by=1):
    return max((e["seq"] for e in c[seen_by].json("events")["events"]), default=0)


def all_known(c, number=2):
    """Every check of that node has given its verdict."""
    checks = c[number].json("checks")["checks"]
    return checks and all(k["known"] and k["state"] == "good" for k in checks)


def sick(node, yes=True, name="sick"):
    path = node.path("/run/" + name)
    if yes:
        open(path, "w").close()
    elif os.path.exists(path):
        os.unlink(path)


def script(node, name, text):
    path = node.path("/run/" + name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return "/run/" + name


def in_time(c, w, name, what, bound=BOUND):
    took = w.outage(name)
    note(c, f"{what}: {took:.3f} s of {bound:.1f}")
    expect(took <= bound, f"{what}: clients of {name} waited {took:.3f} s, not {bound:.1f}")


def comes_back(c, start, name="n2"):
    """'start' makes the service good again: its share comes back, and nobody notices."""
    with Watched(c, conns=40) as w:
        w.mark()
        start()
        wait(has(c, name), 10, f"{name} to get its share back")
        c.settle(draining=True)
        time.sleep(0.8)
    w.nobody_noticed()


# ---- the ways to fail

def stopped(c, checks):
    with configured(c, checks):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c)
        with Watched(c, conns=40) as w:
            w.mark()
            c[2].signal_nginx(signal.SIGKILL)
            wait(has_none(c, "n2"), 10, "n2 to lose its share")
            time.sleep(1)
        in_time(c, w, "n2", "stopped")
        w.others_untouched("n2")
        w.one_speaker([(2, w.t0, FOREVER)])    # heirs reset what n2 has given up
        same(events(c, "SERVICE_DOWN", since=since), [("SERVICE_DOWN", "n2", "n2", "web")], "events")
        same(set(once(c).values()), {"n1", "n3"}, "nodes that answer")
        comes_back(c, c[2].start_nginx)


@case(conf=CONF, timeout=120)
def test_health_stopped_tcp(c):
    """nginx killed, check tcp: its clients are served by others in time, back unnoticed."""
    stopped(c, TCP)


def connections_end(recs, name, t0, until):
    """Who waits for an answer of 'name', and who waits for nothing yet, is reset by then."""
    first = {r[2]: r for r in reversed(recs) if r[0] == "c"}
    ended = {r[2]: r[1] for r in reversed(recs) if r[0] == "x"}
    mine = {i for i, r in first.items() if r[5] == name and r[1] < t0}
    left = {i: ended.get(i) and round(ended[i] - t0, 3) for i in mine if i not in ended or ended[i] > until}
    expect(len(mine) > 5 and not left, lambda: f"{len(left)} of {len(mine)} connections were not reset in time, "
           f"{until - t0:.2f} s: {few(left.items())}")


def own_connections(node):
    """Of programs of this node to the VIP that do nothing: they are the node's own business."""
    return len(node.run("ss -Htnp state established dst 10.77.0.250:80 | grep '\"bash\"'", check=False).stdout.splitlines())


@case(conf=CONF, timeout=120)
def test_health_hung(c):
    """nginx hangs (SIGSTOP): in time as well; its connections are reset, clients do not wait; back at SIGCONT."""
    own = [c[2].popen(["bash", "-c", "exec 3<>/dev/tcp/10.77.0.250/80; sleep 60; :"]) for _ in range(8)]
    wait(lambda: own_connections(c[2]) == len(own), 5, "n2's own connections")
    with configured(c, HTTP | TCP):
        wait(lambda: all_known(c), 10, "the checks to know")
        hold = c.load("hold", conns=1200, interval=60)    # idle: 20 more each second
        with Watched(c, conns=40, baseline=3) as w:
            w.mark()
            c[2].signal_nginx(signal.SIGSTOP)
            wait(has_none(c, "n2"), 10, "n2 to lose its share", every=0.02)
            moved = time.monotonic()
            time.sleep(1.5 * SLOW)
        in_time(c, w, "n2", "hung")
        w.others_untouched("n2")
        w.one_speaker([(2, w.t0, FOREVER)])    # heirs reset what n2 has given up
        connections_end(w.held, "n2", w.t0, moved + 0.3 * SLOW)
        connections_end(hold.stop().records(), "n2", w.t0, moved + 0.3 * SLOW)
        same(own_connections(c[2]), len(own), "n2's own connections to the VIP")
        for p in own:
            p.kill()
        # Nothing is left there of the same clients' connections: they can come back by the same ports.
        comes_back(c, lambda: c[2].signal_nginx(signal.SIGCONT))


@case(conf=CONF, timeout=120)
def test_health_works(c):
    """The check gets status 500: a planned move there and back, nobody notices."""
    with configured(c, HTTP):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c)
        with Watched(c) as w:
            w.mark()
            start = time.monotonic()
            sick(c[2])
            wait(has_none(c, "n2"), 10, "n2 to own nothing", every=0.02)
            note(c, f"500: share gone after {time.monotonic() - start:.2f} s")
            same(health(c, "n2"), "works", "health of n2")
            time.sleep(0.5)
            quiet = time.monotonic() - w.t0, time.monotonic() + 0.7
            time.sleep(0.8)
            sick(c[2], False)
            wait(has(c, "n2"), 10, "n2 to get its share back")
            c.settle(draining=True)
            time.sleep(0.8)
        w.nobody_noticed()
        w.quiet(2, *quiet)
        same(events(c, "SERVICE_WORKS", "SERVICE_DOWN", "SERVICE_UP", since=since),
             [("SERVICE_WORKS", "n2", "n2", "web"), ("SERVICE_UP", "n2", "n2", "web")], "events")


@case(conf=CONF)
def test_health_on_fail(c):
    """on_fail = now gives connections up though the service works; drain keeps them though it is dead."""
    now = {"check web-http": HTTP["check web-http"] | {"on_fail": "now"}}
    with configured(c, now):
        wait(lambda: all_known(c), 10, "the checks to know")
        with Watched(c) as w:
            w.mark()
            sick(c[2])
            wait(has_none(c, "n2"), 10, "n2 to own nothing")
            time.sleep(1)
        sick(c[2], False)
        same(health(c, "n2"), "down", "health of n2 with on_fail = now")
        w.others_untouched("n2")
        first = {i: recs[0] for i, recs in w.connections().items()}
        mine = {i for i, r in first.items() if r[5] == "n2"}
        ended = {r[2] for r in w.held if r[0] == "x"}
        expect(mine and ended == mine, f"{len(ended)} of {len(mine)} connections of n2 ended")
        wait(has(c, "n2"), 10, "n2 to get its share back")
    drain = {"check web-tcp": TCP["check web-tcp"] | {"on_fail": "drain", "port": "82"}}    # nobody is there
    with configured(c, drain, [c[2]]):
        wait(lambda: health(c, "n2") == "works", 10, "n2 to be unfit")
        wait(has_none(c, "n2"), 10, "n2 to own nothing")
    wait(lambda: c.settled(draining=True), 10, "everything to come back")


@case(conf=CONF)
def test_health_one_service(c):
    """Only the service that fails moves; clients of the other one at the same nodes notice nothing."""
    check = {"check echo": EVERY | {"type": "tcp", "service": "echo"}}
    with configured(c, check | TCP):
        wait(lambda: all_known(c), 10, "the checks to know")
        before = counts(c)
        with Watched(c, conns=40) as w:
            w.mark()
            c[2].echo.kill()
            wait(lambda: not share(c, "n2", 1), 10, "n2 to lose its share of echo")
            time.sleep(0.8)
            found = c.load("transfer", ports="45000:20", up=100, down=100).wait().records("t")
        w.nobody_noticed()
        bad = [r for r in found if r[6]]
        expect(not bad, lambda: f"echo does not answer: {few(bad)}")
        same({r[5] for r in found}, {"n1", "n3"}, "nodes that answer echo")
        same(counts(c), before, "shares of web")
        same([health(c, "n2", i) for i in range(3)], ["up", "down", "up"], "health of n2")
        c[2].start_echo()
        wait(lambda: share(c, "n2", 1), 10, "n2 to get its share of echo back")
    c.settle()


@case(conf=CONF, timeout=120)
def test_health_flapping(c):
    """Shorter than fall x interval: nothing moves.  Longer, but back shorter than rise: one move."""
    rnd = random.Random(7)
    with configured(c, HTTP | TCP):
        wait(lambda: all_known(c), 10, "the checks to know")
        since, epoch = last_event(c), c[1].status()["cluster"]["epoch"]
        end = time.monotonic() + 5 * SLOW
        while time.monotonic() < end:
            c[2].signal_nginx(signal.SIGSTOP)
            time.sleep(rnd.uniform(0.1, 0.3) * SLOW)
            c[2].signal_nginx(signal.SIGCONT)
            time.sleep(rnd.uniform(0.25, 0.5) * SLOW)
        same(events(c, "SERVICE_DOWN", "SERVICE_WORKS", "CHECK_FAILED", since=since), [], "events")
        same(c[1].status()["cluster"]["epoch"], epoch, "epoch")
    slow = {"check web-tcp": TCP["check web-tcp"] | {"rise": 8}}
    with configured(c, slow):
        wait(lambda: all_known(c), 10, "the checks to know")
        since = last_event(c)
        for _ in range(4):
            c[2].signal_nginx(signal.SIGKILL)
            time.sleep(0.9 * SLOW)
            c[2].start_nginx()
            time.sleep(0.9 * SLOW)
        same(share(c, "n2"), 0, "buckets of n2 while it flaps")
        wait(has(c, "n2"), 10, "n2 to get its share back")
        same(events(c, "SERVICE_DOWN", "SERVICE_WORKS", "SERVICE_UP", since=since),
             [("SERVICE_DOWN", "n2", "n2", "web"), ("SERVICE_UP", "n2", "n2", "web")], "events")
        expect(len(events(c, "PLAN", since=since)) <= 4, "many plans")
        c.settle()


def stops_while_draining(c, leave, back, why):
    """n1's new work goes elsewhere by leave(), then the service stops at n2, which got half of it."""
    hold = c.load("hold", conns=150)
    time.sleep(0.8 * SLOW)
    leave()
    wait(has_none(c, "n1"), 10, "n1 to own nothing")
    with Watched(c, conns=0, baseline=2) as w:
        w.mark()
        c[2].signal_nginx(signal.SIGKILL)
        time.sleep(2.2 * SLOW)
    back()
    in_time(c, w, "n2", f"stopped while n1 {why}")
    w.others_untouched("n2")
    recs = hold.stop().records()
    server = {r[2]: r[5] for r in reversed(recs) if r[0] == "c"}
    bad = [r for r in recs if r[0] in "xm" and server[r[2]] != "n2"]
    expect(not bad, lambda: f"connections of n1 or n3 ended: {few(bad)}")
    c[2].start_nginx()
    wait(has(c, "n2"), 10, "n2 to get its share back")
    c.settle()


@case(conf=CONF, timeout=120)
def test_health_while_draining(c):
    """A service stops at a node that has just taken buckets whose connections are still elsewhere."""
    with configured(c, TCP | HTTP):
        for n in c.nodes:
            wait(lambda n=n: all_known(c, n.number), 10, "the checks to know")
        stops_while_draining(c, lambda: c[3].ctl("drain n1"), lambda: c[3].ctl("undrain n1"), "drains")
        stops_while_draining(c, lambda: sick(c[1]), lambda: sick(c[1], False), "only works")


# ---- other checks

@case(conf=CONF)
def test_health_disk(c):
    """A full disk: no new work, nobody notices; room again: back."""
    node = c[2]
    node.run("mkdir -p /run/data; mount -t tmpfs -o size=4m tmpfs /run/data")
    check = {"check space": EVERY | {"type": "disk", "path": "/run/data", "free": "20%"}}
    with configured(c, check, [node]):
        wait(lambda: all_known(c), 10, "the check to know")
        with Watched(c, conns=40) as w:
            w.mark()
            node.run("dd if=/dev/zero of=/run/data/full bs=64k 2>/dev/null", check=False)
            wait(has_none(c, "n2"), 10, "n2 to own nothing")
            same(health(c, "n2"), "works", "health of n2")
            time.sleep(0.5)
            node.run("rm /run/data/full")
            wait(has(c, "n2"), 10, "n2 to get its share back")
            time.sleep(1)
        w.nobody_noticed()
        same(node.run("ls -A /run/data").stdout, "", "files that are left")
    node.run("umount /run/data")
    c.settle()


def rss(node):
    with open(f"/proc/{node.clusterd.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def children(node):
    """Command lines of the processes in the node that are scripts of ours or what they left."""
    return [x for x in node.run("ps -eo args").stdout.splitlines() if "/run/check" in x or "sleep 77" in x]


@case(conf=CONF)
def test_health_exec(c):
    """check exec: exit status 1 and 2; it hangs, leaves processes behind, floods: killed, told, no harm."""
    node, mark = c[2], c[2].path("/run/mode")

    def mode(text):
        with open(mark + ".new", "w") as f:
            f.write(text + "\n")
        os.rename(mark + ".new", mark)

    mode("exit 0")
    path = script(node, "check.sh", ". /run/mode\n")
    check = {"check script": EVERY | {"type": "exec", "path": path}}
    logged = os.path.getsize(node.logfile("clusterd"))
    with configured(c, check | TCP, [node]):
        wait(lambda: all_known(c), 10, "the checks to know")
        before = rss(node)
        for text, want in (("exit 1", "works"), ("exit 0", "up"), ("exit 2", "down"), ("exit 0", "up"),
                           ("sleep 77", "down"), ("exit 0", "up"),
                           ("for i in 1 2 3 4 5 6 7 8; do sleep 77 & done; exit 0", "up"),
                           ("head -c 10000000 /dev/zero | tr '\\0' x; exit 1", "works"),
                           ("head -c 10000000 /dev/zero | tr '\\0' y >&2; exit 0", "up")):
            mode(text)
            wait(lambda want=want: health(c, "n2") == want, 10, f"'{text}' to mean '{want}'")
            if text.startswith("for"):
                time.sleep(0.6 * SLOW)
                left = children(node)
                expect(len(left) <= 9, lambda: f"processes are left: {few(left)}")
            # The other check goes on in time all the while.
            looks = node.json("checks")["checks"]
            tcp = next(k for k in looks if k["name"] == "web-tcp")
            expect(tcp["state"] == "good" and not tcp["late"], f"check tcp suffers: {tcp}")
        time.sleep(0.5 * SLOW)
        mode("exit 0")
        time.sleep(0.5 * SLOW)
        grown = rss(node) - before
        note(c, f"memory grew by {grown} kB")
        expect(grown < 4096, f"the daemon grew by {grown} kB")
        same(children(node), [], "processes that are left")
        logged = os.path.getsize(node.logfile("clusterd")) - logged
        note(c, f"{logged} bytes of log")
        expect(logged < 64 << 10, f"{logged} bytes of log")
    c.settle(draining=True)


# ---- other ways in

@case(conf=ANNOUNCE, timeout=120, alike=True)
def test_health_stopped_announce(c):
    """dispatch = announce, check http: the same."""
    stopped(c, HTTP)


@case(conf=SCHED, timeout=120, alike=True)
def test_health_sched(c):
    """least-conn and probability: an unfit node gets no new connections, whoever directs them."""
    check = {"check web": HTTP["check web-http"], "check more": HTTP["check web-http"] | {"service": "more"}}
    with configured(c, check):
        wait(lambda: all_known(c), 10, "the checks to know")
        for service, port, base in ((0, 80, 40000), (1, 81, 42000)):
            found = set(once(c, ports=f"{base}:80", port=port).values())
            same(found, {"n1", "n2", "n3"}, f"nodes that answer on port {port}")
        # Dead: its connections end, those of others do not, whoever directs them.
        with Watched(c) as w:
            w.mark()
            c[2].signal_nginx(signal.SIGSTOP)
            wait(lambda: health(c, "n2") == "down", 10, "n2 to be down", every=0.02)
            down = time.monotonic()
            time.sleep(1)
        in_time(c, w, "n2", "hung, least-conn")
        w.others_untouched("n2")
        connections_end(w.held, "n2", w.t0, down + 0.3 * SLOW)
        c[2].signal_nginx(signal.SIGCONT)
        wait(lambda: health(c, "n2") == "up", 10, "n2 to be fit")
        with Watched(c) as w:
            w.mark()
            sick(c[2])
            wait(lambda: health(c, "n2") == "works" and health(c, "n2", 1) == "works", 10, "n2 to be unfit")
            time.sleep(0.3)
            for service, port, base in ((0, 80, 44000), (1, 81, 46000)):
                found = set(once(c, ports=f"{base}:80", port=port).values())
                same(found, {"n1", "n3"}, f"nodes that get new clients on port {port}")
            sick(c[2], False)
            wait(lambda: health(c, "n2") == "up" and health(c, "n2", 1) == "up", 10, "n2 to be fit")
            time.sleep(1)
        w.nobody_noticed()
        for service, port, base in ((0, 80, 48000), (1, 81, 50000)):
            found = set(once(c, ports=f"{base}:80", port=port).values())
            same(found, {"n1", "n2", "n3"}, f"nodes that answer on port {port} afterwards")
    wait(lambda: c.settled(draining=True), 10, "everything to come back")

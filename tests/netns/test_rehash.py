# SPDX-License-Identifier: GPL-2.0-or-later
"""Another hash, another number of buckets: by 'reload' on all nodes, without a reset."""

import json

from harness import *
from test_ways import conf_of

ONE_BY_ONE = 0.4


def rehash_of(node):
    return node.status()["cluster"]["rehash"]


def buckets_of(node):
    return node.status()["cluster"]["buckets"]


def hash_of(node):
    return node.status()["services"][0]["hash"]


def tell(c, changes):
    """Writes the new file on every node; {old: new} in the text."""
    text = c.ini
    for old, new in changes.items():
        expect(old in text, f"'{old}' is not in the configuration")
        text = text.replace(old, new)
    for node in c.nodes:
        node.write_ini(text)


def finished(c, buckets, mode):
    """All nodes work with the new layout and nothing of the change is left to do."""
    def check():
        views = [n.status() for n in c.nodes]
        return all(v and v["cluster"]["buckets"] == buckets and v["services"][0]["hash"] == mode and
                   v["cluster"]["rehash"] in (None, "mixed") for v in views)
    return check


def changed(c, changes, buckets, mode):
    """
    The file changes on all nodes, then each reloads.  Until the last one has, everything is as it
    was, and says what it waits for.  Nobody notices any of it.
    """
    before = buckets_of(c[1]), hash_of(c[1])
    with Watched(c, conns=90, rate=200) as w:
        w.mark()
        tell(c, changes)
        for node in c.nodes[:-1]:
            node.ctl("reload")
            time.sleep(ONE_BY_ONE)
            same((buckets_of(node), hash_of(node)), before, "the layout while one node has not reloaded")
            same(rehash_of(node), "waiting", f"rehash in {node.name}'s status")
        text = c[1].ctl("status").stdout
        expect("wait" in text, f"status does not say that a change waits: {text}")
        c.nodes[-1].ctl("reload")
        wait(finished(c, buckets, mode), 15, f"{buckets} buckets, hash = {mode}")
        took = time.monotonic() - w.t0 - ONE_BY_ONE * (c.n - 1)
        time.sleep(1.5)
    rehash_unnoticed(w)
    return took


def rehash_unnoticed(w):
    """No reset, nothing changed its server.  New connections wait for some ms while all switch."""
    w.connections_survived()
    slow = [r for r in w.held if r[0] == "e" and r[4] > 900]
    expect(not slow, lambda: f"requests on old connections were slow: {few(slow)}")
    resets = measure.resets(w.packets)
    expect(not resets, lambda: f"nodes sent resets: {few(resets)}")
    w.one_speaker()
    dead = [r for r in w.probes if r[7] and r[7] != "unanswered"]
    expect(not dead, lambda: f"requests failed: {few(dead)}")
    lost = measure.lost_syns(w.packets)
    span = max((t for t, _ in lost), default=0) - min((t for t, _ in lost), default=0)
    expect(span < 0.3, lambda: f"{len(lost)} SYNs were lost over {span * 1000:.0f} ms")
    return len(lost)


def attached(node):
    """How often it says that the fast path was made."""
    with open(node.logfile("clusterd")) as f:
        return f.read().count("fast path: attached")


def there_and_back(c, stops):
    """Through layouts that need more, or fewer, buckets, and back to the first one."""
    took, before = [], [attached(n) for n in c.nodes]
    if "more" in stops:
        took.append(changed(c, {"buckets = 1024": "buckets = 4096"}, 4096, "source-port"))
    took.append(changed(c, {"buckets = 1024": "buckets = 256", "hash = source-port": "hash = source"},
                        256, "source"))
    c.settle(draining=True)     # fewer, larger buckets: the shares are evened out
    same(len({s for (f, _), s in once(c, ports="45000:40").items() if f == 4}), 1,
         "nodes that serve one client by hash = source")
    took.append(changed(c, {}, 1024, "source-port"))
    note(c, "switched after " + ", ".join(f"{t * 1000:.0f}" for t in took) + " ms")
    serves_evenly(c, [n.name for n in c.nodes])
    by_trace = c.trace([(c.user.addr4, p, c.vip4, 80) for p in range(46000, 46020)])
    found = once(c, ports="46000:20", family=4)
    wrong = [(p, t["owner"]) for p, t in zip(range(46000, 46020), by_trace)
             if t["owner"] != found[4, p]]
    expect(not wrong, lambda: f"trace is wrong after the change: {few(wrong)}")
    for node, was in zip(c.nodes, before):        # it is made for one layout
        n = attached(node) - was
        expect(n == (len(took) if was else 0), f"{node.name}: the fast path was attached {n} times, for "
               f"{len(took)} layouts")


def rehash(dispatch, redirect, stops):
    def test(c):
        there_and_back(c, stops)
    test.__name__ = f"test_rehash_{dispatch}"
    test.__doc__ = f"dispatch = {dispatch}: buckets and hash change by reload: nobody notices."
    case(conf=conf_of(dispatch, redirect, hash="source-port"), router=True, timeout=120, alike=True)(test)


rehash("flood", "direct", ["fewer"])
rehash("announce", "direct", ["more", "fewer"])
rehash("route", "vxlan", ["fewer"])


@case(conf=conf_of("announce", hash="source-port"), router=True, alike=True)
def test_rehash_taken_back(c):
    """A change that not all nodes want is never made; taking it back ends the waiting."""
    tell(c, {"buckets = 1024": "buckets = 2048"})
    for node in (c[1], c[2]):
        node.ctl("reload")
    time.sleep(0.5)
    same([(buckets_of(n), rehash_of(n)) for n in c.nodes],
         [(1024, "waiting"), (1024, "waiting"), (1024, None)], "layout, rehash")
    wanted = json.loads(c[1].ctl("status --json").stdout)["cluster"]["buckets_next"]
    same(wanted, 2048, "buckets_next of a node that waits")
    for node in c.nodes:
        node.ini = None
        node.write_ini()
        node.ctl("reload")
    wait(lambda: [rehash_of(n) for n in c.nodes] == [None] * 3, 5, "nobody to wait any more")
    same([buckets_of(n) for n in c.nodes], [1024] * 3, "buckets")
    serves_evenly(c, ["n1", "n2", "n3"])


@case(conf=conf_of("announce", hash="source-port"), router=True, timeout=120, alike=True)
def test_rehash_without_one(c):
    """One node is off while the others change: it comes back with the new file, then with the old one."""
    c[3].power_off()
    wait(lambda: c.settled(draining=True), 15, "the survivors to settle")
    new = c.ini.replace("buckets = 1024", "buckets = 2048")
    for node in (c[1], c[2]):
        node.write_ini(new)
        node.ctl("reload")
    wait(lambda: [buckets_of(n) for n in (c[1], c[2])] == [2048] * 2, 10, "2048 buckets at those that are there")
    c[3].ini = new
    c[3].power_on()
    # settled() compares with status itself, so the number is the one in force
    c.settle(25, draining=True)
    same([buckets_of(n) for n in c.nodes], [2048] * 3, "buckets")
    serves_evenly(c, ["n1", "n2", "n3"])

    same(c[2].stop_clusterd(30), 0, "exit code")
    c[2].write_ini(c.ini)
    c[2].start_clusterd()
    c.settle(25, draining=True)
    same([buckets_of(n) for n in c.nodes], [2048] * 3, "buckets with one old file")
    same(rehash_of(c[2]), "waiting", "rehash in the status of the node with the old file")
    serves_evenly(c, ["n1", "n2", "n3"])
    for node in c.nodes:
        node.ini = None
        node.write_ini()
        node.ctl("reload")
    wait(finished(c, 1024, "source-port"), 15, "1024 buckets again")


@case(conf=conf_of("announce", hash="source-port"), router=True, timeout=120, alike=True)
def test_rehash_power_off(c):
    """A node is lost in the midst of the change: the others make it, and keep their connections."""
    with Watched(c, conns=90, rate=200) as w:
        tell(c, {"buckets = 1024": "buckets = 2048"})
        for node in c.nodes[:-1]:
            node.ctl("reload")
        w.mark()
        last = c.nodes[-1].popen([labs.CLUSTERCTL, "reload"])
        time.sleep(0.1)
        c[2].power_off()
        time.sleep(4)
    last.wait(10)
    server = {i: recs[0][5] for i, recs in w.connections().items()}
    ended = [r for r in w.held if r[0] in "xm" and server.get(r[2]) != "n2"]
    expect(not ended, lambda: f"connections to living nodes ended: {few(ended)}")
    w.one_speaker([(2, w.t0, float("inf"))])
    left = [n for n in c.nodes if n.pid]
    wait(lambda: [buckets_of(n) for n in left] == [2048] * 2, 10, "2048 buckets at the survivors")
    c[2].power_on()
    c.settle(25, draining=True)
    same([buckets_of(n) for n in c.nodes], [2048] * 3, "buckets")
    for node in c.nodes:
        node.ini = None
        node.write_ini()
        node.ctl("reload")
    wait(finished(c, 1024, "source-port"), 15, "1024 buckets again")

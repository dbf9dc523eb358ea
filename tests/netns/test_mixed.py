# SPDX-License-Identifier: GPL-2.0-or-later
"""Many services in one cluster: every dispatch and redirect side by side, and what is left of them."""

import collections
import signal

from harness import *
from test_ways import CALM

API4, API6 = "10.77.0.251", "fd77::251"
FILES4, FILES6 = "10.77.0.252", "fd77::252"
MIXED = CALM | {
    "service web": {"vip": f"{VIP4}, {VIP6}", "port": "tcp/80", "dispatch": "flood"},
    "service dns": {"vip": f"{VIP4}, {VIP6}", "port": "udp/5353", "dispatch": "flood", "hash": "source"},
    "service api": {"vip": f"{API4}, {API6}", "port": "tcp/80, udp/5353", "dispatch": "announce",
                    "redirect": "vxlan"},
    "service files": {"vip": f"{FILES4}, {FILES6}", "port": "tcp/80", "dispatch": "announce",
                      "scheduler": "least-conn"},
    "service logs": {"vip": FILES4, "port": "udp/5353", "dispatch": "announce", "scheduler": "probability"},
    "service edge": {"vip": f"{labs.ROUTE_VIP4}, {labs.ROUTE_VIP6}", "port": "tcp/80", "dispatch": "route",
                     "redirect": "vxlan"},
    "service feed": {"vip": f"{labs.ROUTE_VIP4}, {labs.ROUTE_VIP6}", "port": "udp/5353", "dispatch": "route",
                     "redirect": "direct"},
}
EDGE = {"dst4": labs.ROUTE_VIP4, "dst6": labs.ROUTE_VIP6}
# service: (load, VIPs, families, nodes that one client of many ports gets)
ASK = {
    "web": ("probe", {}, "46", 3), "dns": ("udp", {}, "46", None),
    "api": ("probe", {"dst4": API4, "dst6": API6}, "46", 3),
    "files": ("probe", {"dst4": FILES4, "dst6": FILES6}, "46", 3),
    "logs": ("udp", {"dst4": FILES4}, "4", 3),
    "edge": ("probe", EDGE, "46", 3), "feed": ("udp", EDGE, "46", 3),
}


def all_answer(c, ports, nodes=3):
    for name, (what, vips, family, many) in ASK.items():
        host = c.far if vips is EDGE else c.client
        found = collections.Counter(once(c, what, f"{ports}:60", host=host, family=family, **vips).values())
        expect(set(found) <= {n.name for n in c.up()}, f"{name}: answers of {dict(found)}")
        if many:
            same(len(found), nodes, f"{name}: nodes that answered ({dict(found)})")


@case(conf=MIXED, router=True, timeout=120)
def test_mixed(c):
    """Seven services, some at one VIP: each goes its own way; then one node is drained."""
    all_answer(c, 50000)
    c[1].ctl("drain n2")
    wait(lambda: not any(s["buckets"].get("n2") for s in c[1].status()["services"]), 10, "n2 to own nothing")
    c.gate.ways([c[1], c[3]])
    all_answer(c, 51000, 2)
    c[1].ctl("undrain n2")
    c.settle(draining=True)
    c.gate.ways(c.nodes)
    all_answer(c, 52000)


@case(conf=MIXED, router=True, fresh=True, timeout=120)
def test_mixed_footprint(c):
    """After a stop nothing is left of any of it, nor after a crash, a restart and a stop."""
    wait(lambda: not any("tentative" in n.run("ip addr").stdout for n in c.nodes), 10, "link-local addresses")
    before = [n.footprint() for n in c.nodes]
    c.start()
    all_answer(c, 53000)
    during = c[2].footprint()
    for what in ("cluv_1", "cluv_3", labs.ROUTE_VIP4, "proto 193", API6):
        expect(what in during, f"the footprint does not show {what}")
    c[2].kill_clusterd(signal.SIGKILL)
    time.sleep(0.5)
    c[2].start_clusterd()
    c.settle(25, draining=True)
    for node in c.nodes:
        same(node.stop_clusterd(40), 0, f"{node.name}'s exit code")
    for node, was in zip(c.nodes, before):
        now = node.footprint()
        expect(now == was, lambda: f"{node.name}: left behind: {labs.difference(was, now)}")


@case(conf={"cluster": CALM["cluster"] | {"nodes": ", ".join(f"n{i}=fd77::{i}" for i in (1, 2, 3))},
            "service web": {"dispatch": "announce", "redirect": "vxlan",
                            "port": "tcp/80, tcp/5353, udp/5353"}}, router=True)
def test_ipv6_underlay(c):
    """The nodes know each other by IPv6 addresses: tunnels over IPv6, 1 MB both ways."""
    found = once(c, ports="54000:60")
    same(set(found.values()), {n.name for n in c.nodes}, "nodes that answer")
    recs = c.load("transfer", ports="55000:8", rate=20, timeout=15).wait(90).records()
    bad = [r for r in recs if r[6]]
    expect(len(recs) == 16 and not bad, lambda: f"transfers: {few(bad)}")

# SPDX-License-Identifier: GPL-2.0-or-later
"""
Every way in and every way on: dispatch x redirect x TCP, UDP x IPv4, IPv6.

One cluster per dispatch and redirect.  Requests from many source ports, from the client on the same
switch and (route, announce) from one behind the router: all are answered, each by the node that
'clusterctl trace' names, straight from that node, and once.
"""

import collections
import json
import os

from harness import *

DISPATCH, REDIRECT = ("flood", "announce", "route"), ("direct", "ipip", "vxlan")
# Beside other programs a node may be late; what a late node does is not the question here.
CALM = {"cluster": {"lease": "500ms"}}
# Source ports per host and family; how many of them 'trace' is asked about.
PORTS, TRACED = (90, 10) if SLOW == 1 else (24, 3)


def conf_of(dispatch, redirect="direct", **more):
    vips = f"{labs.ROUTE_VIP4}, {labs.ROUTE_VIP6}" if dispatch == "route" else f"{VIP4}, {VIP6}"
    return CALM | {"service web": {"vip": vips, "dispatch": dispatch, "redirect": redirect} | more}


def lacks(kind, local="10.0.0.1", remote="10.0.0.2"):
    """Tried in a network of its own; None or what the kernel said."""
    r = labs.sh("unshare", "-n", "ip", "link", "add", "probe0", "type", kind, "local", local,
                "remote", remote, check=False)
    return f"this kernel has no {kind}: {r.stderr.strip().splitlines()[0]}" if r.returncode else None


def lacks_ipip():
    return lacks("ipip") or lacks("sit")


def lacks_ip6tnl():
    return lacks("ip6tnl", "fd00::1", "fd00::2")


def needs(redirect):
    return lacks_ipip if redirect == "ipip" else None


def ends(c, host):
    """Addresses of 'host', the VIPs: {family: (client, vip)}."""
    return {4: (host.addr4, c.vip4), 6: (host.addr6, c.vip6)}


def ask_all(c, host, ports, also):
    """Requests from each port, both families, TCP and UDP; (answers by kind, capture)."""
    cap = c.capture(c.client if host is c.client else c.gate, also)
    tcp = c.load("probe", host, once=True, ports=ports, rate=300)
    udp = c.load("udp", host, once=True, ports=ports, rate=300)
    tcp = tcp.wait().records()
    udp = udp.wait().records()
    packets = cap.stop()
    bad = [r for r in tcp if measure.failed(r)]
    expect(tcp and not bad, lambda: f"TCP from {host.name}: not answered at once: {few(bad)}")
    bad = [r for r in udp if r[4] is None]
    expect(udp and not bad, lambda: f"UDP from {host.name}: not answered: {few(bad)}")
    return {("tcp", r[2], r[3]): r[6] for r in tcp} | {("udp", r[2], r[3]): r[5] for r in udp}, packets


def answered_straight(found, packets, host, c):
    """Each answer on the wire came from the node that served, and once."""
    wrong, times = [], collections.Counter()
    for p in packets:
        if isinstance(p, measure.Datagram) and p.to_client:
            times["udp", p.client, p.data] += 1
            key = "udp"
        elif isinstance(p, measure.Segment) and p.to_client and p.flags & measure.SYN:
            times["tcp", p.client, p.ack] += 1
            key = "tcp"
        else:
            continue
        if p.client[0] not in (host.addr4, host.addr6):
            continue
        server = found.get((key, 6 if ":" in p.client[0] else 4, p.client[1]))
        if f"n{p.who}" != server:
            wrong.append((key, p.client, server, f"sent by n{p.who}"))
    expect(len(times) >= len(found), f"{len(times)} answers captured of {len(found)}")
    expect(not wrong, lambda: f"not straight from the node that serves: {few(wrong)}")
    twice = [k for k, n in times.items() if n > 1]
    expect(not twice, lambda: f"answered twice: {few(twice)}")


def owners_as_traced(c, host, found, count=TRACED):
    """'trace' says the same about some of each kind."""
    keys = []
    for proto in ("tcp", "udp"):
        for family in (4, 6):
            keys += sorted(k for k in found if k[:2] == (proto, family))[:count]
    side = ends(c, host)
    port = {"tcp": 80, "udp": 5353}
    said = c.trace([(side[f][0], sport, side[f][1], port[proto]) for proto, f, sport in keys])
    wrong = [(k, s["owner"], found[k]) for k, s in zip(keys, said) if s["owner"] != found[k]]
    expect(len(said) == len(keys) and not wrong, lambda: f"trace is wrong: {few(wrong)}")


def shares(c, found):
    """Every kind of request is spread over all nodes."""
    by = collections.defaultdict(set)
    for (proto, family, _), server in found.items():
        by[proto, family].add(server)
    for kind, servers in by.items():
        same(servers, {n.name for n in c.nodes}, f"nodes that answered {kind}")


def handed(c):
    """Packets that nodes have handed on until now."""
    total = 0
    for node in c.up():
        text = node.run("nft list counters table netdev clusterd").stdout
        for part in text.split("counter ")[1:]:
            if part.split()[0].endswith("_handed"):
                total += int(part.split("packets ")[1].split()[0])
    return total


def every_packet(c, dispatch, redirect):
    wait(c.even, 20, "even shares")
    status = c[1].status()["services"][0]
    same((status["dispatch"], status["redirect"]), (dispatch, redirect), "the service")
    hosts = [c.far] if dispatch == "route" else [c.client, c.far]
    for i, host in enumerate(hosts):
        also = "udp port 5353"
        before = handed(c)
        found, packets = ask_all(c, host, f"{30000 + 1000 * i}:{PORTS}", also)
        shares(c, found)
        answered_straight(found, packets, host, c)
        if status["scheduler"] == "hash":
            owners_as_traced(c, host, found)
        passed_on = handed(c) - before
        if dispatch == "flood":
            same(passed_on, 0, "packets handed on")
        else:
            # Two of three packets arrive at another node than their owner.
            expect(passed_on > len(found), f"only {passed_on} packets handed on for {len(found)} flows")


def way(dispatch, redirect):
    def test(c):
        every_packet(c, dispatch, redirect)
    test.__name__ = f"test_way_{dispatch}_{redirect}"
    test.__doc__ = (f"dispatch = {dispatch}, redirect = {redirect}: TCP and UDP over IPv4 and IPv6, "
                    "each answer straight from the owner, once.")
    case(conf=conf_of(dispatch, redirect), router=True, needs=needs(redirect), alike=True)(test)


for _dispatch in DISPATCH:
    for _redirect in REDIRECT:
        way(_dispatch, _redirect)


@case(conf=conf_of("announce", scheduler="least-conn"), router=True, alike=True)
def test_way_least_conn(c):
    """A userspace scheduler: every new flow by the queue, its packets by the node that got it."""
    every_packet(c, "announce", "direct")


@case(conf=conf_of("announce", "vxlan", scheduler="probability"), router=True, alike=True)
def test_way_probability(c):
    """A scheduler in the kernel: its random choice is kept for the whole flow."""
    every_packet(c, "announce", "vxlan")


@case(conf=conf_of("announce", "ipip") | {"cluster": CALM["cluster"] | {
    "nodes": ", ".join(f"n{i}=fd77::{i}" for i in (1, 2, 3))}}, router=True, needs=lacks_ip6tnl)
def test_way_ipip_over_ipv6(c):
    """The nodes know each other by IPv6 addresses: both families go through ip6tnl."""
    every_packet(c, "announce", "ipip")

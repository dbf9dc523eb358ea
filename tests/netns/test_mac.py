# SPDX-License-Identifier: GPL-2.0-or-later
"""dispatch = flood: the shared MAC and what switches make of it."""

import struct
import threading

import frames
from harness import *
from test_ways import conf_of

GROUP4, GROUP6 = "239.77.0.250", "ff05::250"    # of the lab's VIPs
QUERIER = "02:00:00:00:00:fd"


def shared_macs(c):
    """{family: MAC} that the client knows for the VIPs."""
    once(c, ports="43000:5")
    found = {}
    for family, vip in ((4, VIP4), (6, VIP6)):
        text = c.client.run(f"ip neigh show {vip} dev eth0").stdout
        expect("lladdr " in text, f"the client has no neighbour {vip}: {text}")
        found[family] = text.split("lladdr ")[1].split()[0]
    return found


def spilled(c, macs):
    """Frames to the shared MACs that leave the switch by the router's port, while all are answered."""
    seen = []
    what = " or ".join(f"ether dst {m}" for m in set(macs.values()))
    c.serial += 1
    path = f"{c.dir}/spilled.{c.serial}.pcap"
    t = threading.Thread(target=lambda: seen.extend(measure.record(c.gate.port, path, what, 2.5, "out")))
    t.start()
    time.sleep(0.5)
    serves_evenly(c, [n.name for n in c.nodes])
    t.join()
    return len(seen)


def unlearned(c, macs):
    table = labs.sh("bridge", "fdb", "show", "br", "br0").stdout
    expect(c[1].mac in table, f"the switch has learned nothing: {table}")
    bad = [line for line in table.splitlines() if line.split()[0] in macs.values()]
    expect(not bad, f"the switch has learned the shared MAC: {bad}")


def queries():
    """What a querier says every two minutes, IGMPv3 and MLDv2 (RFC 3376 4.1, RFC 3810 5.1)."""
    igmp = struct.pack("!BBHIBBH", 0x11, 5, 0, 0, 2, 125, 0)
    igmp = igmp[:2] + struct.pack("!H", frames.checksum(igmp)) + igmp[4:]
    yield frames.ether(QUERIER, "01:00:5e:00:00:01", 0x0800,
                       frames.ip4("10.77.0.253", "224.0.0.1", 2, igmp, ttl=1, options=b"\x94\x04\0\0"))
    src, dst = "fe80::fd", "ff02::1"
    mld = struct.pack("!BBHHH16sBBH", 130, 0, 0, 500, 0, b"\0" * 16, 2, 125, 0)
    mld = mld[:2] + struct.pack("!H", frames.checksum(frames.pseudo(src, dst, 58, len(mld)) + mld)) + mld[4:]
    alert = struct.pack("!BBBBHBB", 58, 0, 5, 2, 0, 1, 0)
    yield frames.ether(QUERIER, "33:33:00:00:00:01", 0x86dd,
                       frames.ip6(src, dst, 0, alert + mld, hops=1))


def members(c, group):
    """The ports from which a report for 'group' comes after a query."""
    found = {}
    c.serial += 1

    def listen(host):
        path = f"{c.dir}/reports.{c.serial}.{host.name}.pcap"
        found[host.port] = measure.record(host.port, path, "igmp or (ip6 and ip6[6] == 0)", 1.5)
    hosts = c.nodes + [c.client, c.gate]
    threads = [threading.Thread(target=listen, args=(h,)) for h in hosts]
    for t in threads:
        t.start()
    time.sleep(0.4)
    measure.inject([h.port for h in hosts], list(queries()), 0.01)
    for t in threads:
        t.join()

    def joins(frame):
        """A record of IGMPv3 or MLDv2: type, 3 bytes, group; 2 and 4: wants it from all sources."""
        at = frame.rfind(frames.packed(group))
        return at >= 4 and frame[at - 4] in (2, 4)
    return {port for port, seen in found.items() if any(map(joins, seen))}


def snoop(c, macs):
    """
    A switch that snoops by MAC, as hardware does: frames to a group's MAC go to its members.  (Linux's
    own snooping goes by the IP destination, which is no group here; a querier makes it drop them.)
    """
    rules = []
    for mac, group in ((macs[4], GROUP4), (macs[6], GROUP6)):
        ports = members(c, group)
        same(ports, {n.port for n in c.up() if n.clusterd.alive()}, f"members of {group}")
        rules.append(f"ether daddr {mac} oifname != {{ {', '.join(sorted(ports))} }} drop")
    labs.sh("nft", "-f", "-", text_in="\n".join(
        ["add table bridge snoop", "delete table bridge snoop", "table bridge snoop {", "chain forward {",
         "type filter hook forward priority 0"] + rules + ["}", "}", ""]))


@case(conf=conf_of("flood", mac="igmp"), router=True, fresh=True)
def test_mac_igmp(c):
    """mac = igmp: a switch that snoops sends the VIP's frames to members only."""
    c.start()
    macs = shared_macs(c)
    same(macs, {4: "01:00:5e:4d:00:fa", 6: "33:33:00:00:02:50"}, "MACs")    # of GROUP4 and GROUP6
    flooded = spilled(c, macs)
    expect(flooded > 400, f"a switch that does not snoop: {flooded} frames at a port that is no member")
    try:
        snoop(c, macs)
        same(spilled(c, macs), 0, "frames at a port that is no member")
        same(c[2].stop_clusterd(), 0, "exit code")
        wait(lambda: c[1].status()["services"][0]["buckets"].get("n2", 0) == 0, 10, "n2 to leave")
        snoop(c, macs)
        same(set(once(c, ports="44000:60").values()), {"n1", "n3"}, "nodes that answer")
        unlearned(c, macs)
    finally:
        labs.sh("nft", "delete", "table", "bridge", "snoop", check=False)


@case(conf=conf_of("flood", mac="unicast"), router=True, alike=True)
def test_mac_unicast(c):
    """mac = unicast: no multicast MAC in ARP and ND, and the switch never learns where it lives."""
    macs = shared_macs(c)
    expect(not any(int(m[:2], 16) & 1 for m in macs.values()), f"MACs: {macs}")
    expect(not set(macs.values()) & {n.mac for n in c.nodes}, f"a node's own MAC: {macs}")
    expect(spilled(c, macs) > 400, "the switch does not flood")
    for n in c.nodes:
        n.run(f"ping -c 1 -W 1 {CLIENT4} >/dev/null; ping -c 1 -W 1 {CLIENT6} >/dev/null; true")
    c.client.run(f"ip neigh flush all; ping -c 2 -i 0.2 -W 1 {VIP4}; ping -c 2 -i 0.2 -W 1 {VIP6}; true")
    unlearned(c, macs)
    found = once(c, "udp")
    same(set(found.values()), {n.name for n in c.nodes}, "nodes that answer UDP")
    unlearned(c, macs)
    # A Linux bridge that snoops, with a querier: the other kinds of MAC would fail there.
    labs.sh("ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1",
            "mcast_query_response_interval", "50")
    time.sleep(1.5)
    try:
        serves_evenly(c, [n.name for n in c.nodes])
    finally:
        labs.sh("ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0", "mcast_querier", "0")


@case(conf=conf_of("flood"), router=True, alike=True)
def test_mac_multicast(c):
    """mac = multicast: the switch learns no MAC but the nodes' own."""
    macs = shared_macs(c)
    serves_evenly(c, [n.name for n in c.nodes])
    unlearned(c, macs)

# SPDX-License-Identifier: GPL-2.0-or-later
"""'clusterctl doctor', 'flows' and 'counters' on a running cluster: what is so, and what was broken on purpose."""

import json
import threading

from harness import *
from test_ways import conf_of


def doctor(c, number=1):
    """(exit code, result); never earlier than the last round's results have become old."""
    time.sleep(5.5)
    r = c[number].ctl("doctor --json", check=False, timeout=30)
    expect(r.returncode in (0, 1), f"doctor: exit {r.returncode}: {r.stderr or r.stdout}")
    return r.returncode, json.loads(r.stdout)


def found(result, topic, level):
    return [f["found"] for f in result["findings"] if f["topic"] == topic and f["level"] == level]


@case()
def test_doctor_all_well(c):
    """On this network and machine nothing is in the way, and the peers have heard the frames."""
    code, d = doctor(c)
    problems = [f for f in d["findings"] if f["level"] == "problem"]
    expect(not problems and code == 0, f"exit {code}: {problems}")
    flood = d["network"]["flood"]
    expect(len(flood) == 3, f"broadcast and two shared MACs: {flood}")
    for t in flood:
        same(sorted(t["heard"]), ["n2", "n3"], f"who heard {t['mac']}")
    for p in d["network"]["paths"]:
        same(p["mtu"], 1500, f"path MTU to {p['node']}")


@case()
def test_doctor_switch_filters(c):
    """A port that gets no unknown multicast, then one that is cut: told apart, and by name."""
    try:
        labs.sh("bridge", "link", "set", "dev", "p2", "mcast_flood", "off")
        code, d = doctor(c)
        same(code, 1, "exit code")
        told = found(d, "flood", "problem")
        expect(told and all("n2 heard a broadcast, but not" in t for t in told), f"flood: {told}")
        same(found(d, "segment", "problem"), [], "findings about the segment")
    finally:
        labs.sh("bridge", "link", "set", "dev", "p2", "mcast_flood", "on")


def no_ipv6(value):
    with open("/proc/sys/net/ipv6/conf/br0/disable_ipv6", "w") as f:
        f.write(value)


def snooping(c):
    """doctor's answer behind a bridge that snoops, with a querier (for IPv6 that needs an address)."""
    with open("/proc/sys/net/ipv6/conf/br0/disable_ipv6") as f:
        before = f.read()
    try:
        no_ipv6("0")
        labs.sh("ip", "addr", "add", "fe80::99/64", "dev", "br0", "nodad")
        labs.sh("ip", "link", "set", "br0", "type", "bridge", "mcast_query_response_interval", "20")
        labs.sh("ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1")
        return doctor(c)
    finally:
        labs.sh("ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0", "mcast_querier", "0")
        labs.sh("ip", "addr", "del", "fe80::99/64", "dev", "br0", check=False)
        no_ipv6(before)


def group_mac_fails(c):
    code, d = snooping(c)
    same(code, 1, "exit code")
    for vip in (VIP4, VIP6):
        told = [f for f in d["findings"] if f["topic"] == "flood" and f"not the packet to {vip}" in f["found"]]
        expect(len(told) == 1 and told[0]["level"] == "problem", f"findings: {d['findings']}")
        expect("n2, n3 heard a frame" in told[0]["found"] and "set mac = unicast" in told[0]["change"], f"{told}")
    same(found(d, "segment", "problem"), [], "findings about the segment")
    code, d = doctor(c)
    same(found(d, "flood", "problem"), [], "findings without snooping")


@case()
def test_doctor_bridge_snoops(c):
    """A bridge that snoops sends packets for the VIP nowhere; frames that are no IP pass it."""
    group_mac_fails(c)


@case(conf=conf_of("flood", mac="igmp"))
def test_doctor_bridge_snoops_igmp(c):
    """That the nodes have joined the group does not help: the packets are not for the group."""
    group_mac_fails(c)


@case(conf=conf_of("flood", mac="unicast"))
def test_doctor_bridge_snoops_unicast(c):
    """The unicast MAC passes it, and doctor says so."""
    code, d = snooping(c)
    same(found(d, "flood", "problem"), [], "findings")
    same(len(found(d, "flood", "good")), 2, f"VIPs that are fine: {d['findings']}")


@case()
def test_doctor_packet_is_quiet(c):
    """The packets to the VIP arrive everywhere, and nobody answers them, not even with an ICMP error."""
    seen = {}

    def listen(node):
        path = f"{c.dir}/quiet.{node.port}.pcap"
        seen[node.port] = measure.record(node.port, path, "udp port 9 or icmp or icmp6[0] = 1 or icmp6[0] = 3",
                                         9, "in")
    threads = [threading.Thread(target=listen, args=(n,)) for n in c.nodes]
    for t in threads:
        t.start()
    doctor(c)
    for t in threads:
        t.join()
    same(len(seen[c[1].port]), 6, "packets that n1 sent: three for each VIP")
    same([len(seen[n.port]) for n in c.nodes[1:]], [0, 0], "packets that n2 and n3 sent")


@case()
def test_doctor_path_is_short(c):
    """A smaller MTU at a peer is found, though no message about it comes back."""
    try:
        c[3].run("ip link set eth0 mtu 1400")
        labs.sh("ip", "link", "set", "p3", "mtu", "1400")
        code, d = doctor(c)
        told = found(d, "path", "hint")
        expect(any("to n3 packets of up to 1400 bytes" in t for t in told), f"paths: {told}")
        expect(not any("n2" in t for t in told), f"paths: {told}")
    finally:
        labs.sh("ip", "link", "set", "p3", "mtu", "1500")
        c[3].run("ip link set eth0 mtu 1500")


@case()
def test_doctor_settings(c):
    """What somebody has turned on this machine."""
    try:
        c[2].run("echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore; "
                 "echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")
        code, d = doctor(c, 2)
        same(code, 1, "exit code")
        expect(any("arp_ignore of eth0 is 1" in t for t in found(d, "arp", "problem")), "arp_ignore")
        expect(any("tcp_loose is 1" in t for t in found(d, "conntrack", "problem")), "tcp_loose")
    finally:
        c[2].run("echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore; "
                 "echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose")


@case()
def test_counters(c):
    """Each node counts what it accepted; together that is what was sent."""
    def accepted():
        return [next(s["accepted"] for s in n.json("counters")["services"]) for n in c.nodes]

    before = accepted()
    once(c, ports="45000:100")
    after = accepted()
    expect(all(b > a for a, b in zip(before, after)), f"accepted on n1..n3: {before}, then {after}")
    for n in c.nodes:
        same(n.json("flows")["flows"], [], f"flows of {n.name} that do not follow their bucket")


@case()
def test_flows_of_a_drain(c):
    """While n1 is drained, 'flows' there lists just the connections that it keeps, with their new owners."""
    hold = c.load("hold", conns=60)
    time.sleep(1.5)
    try:
        c[1].ctl("drain n1")
        wait(lambda: c[1].status()["nodes"][0]["buckets"] == 0, 10, "n1 to own nothing")
        flows = c[1].json("flows")["flows"]
        some = c[1].json("flows --limit 2")
    finally:
        c[1].ctl("undrain n1")
    hold.stop()
    held = {(addresses(r[3])[0], r[4]) for r in hold.records("c") if r[5] == "n1"}
    told = {tuple(f["client"].replace("[", "").replace("]", "").rsplit(":", 1)) for f in flows}
    same(told, {(a, str(port)) for a, port in held}, "connections that n1 kept")
    expect(all(f["kind"] == "kept" and f["node"] == "n1" and f["owner"] in ("n2", "n3") for f in flows),
           lambda: few(flows))
    same((len(some["flows"]), some["cut"]), (2, True), "flows --limit 2")
    note(c, f"{len(held)} kept")
    c.settle()

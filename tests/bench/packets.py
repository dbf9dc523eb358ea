# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows that need no daemon: nanoseconds per foreign packet, time of a large commit.

    sender (this network namespace)  s0 s1 s2 ...   one veth pair for each rule set
                                     |  |  |
    receivers, namespaces v0 v1 ...  eth0 eth0 eth0

All rule sets are installed at once, each in its own namespace, and measured by turns.
"""

import json
import os
import signal
import statistics
import subprocess

from lab import BUILD, VIP4, sh, wait

SEED = "0x5eed1234"    # bench.h
TOOLS = os.path.join(BUILD, "tests")


def tool(name):
    return os.path.join(TOOLS, "bench_" + name)


def spread(values):
    """(median, lowest, highest)"""
    return statistics.median(values), min(values), max(values)


class Receiver:
    """A network namespace behind its own veth pair."""

    count = 0

    def __init__(self):
        number = Receiver.count
        Receiver.count += 1
        self.name, self.device = f"v{number}", f"s{number}"
        self.holder = None
        sh("ip", "netns", "add", self.name)
        sh("ip", "link", "add", self.device, "type", "veth", "peer", "name", "eth0", "address",
           "02:00:00:00:00:01", "netns", self.name)
        sh("ip", "link", "set", self.device, "up")
        self.run("sh", "-c", f"""
            echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6
            ip link set lo up
            ip addr add {VIP4}/32 dev lo
            ip addr add 10.77.0.1/24 dev eth0
            ip link set eth0 up
            ip route add default dev eth0""")

    def run(self, *args, text_in=None):
        return sh("ip", "netns", "exec", self.name, *args, text_in=text_in)

    def nft(self, text):
        self.run("nft", "-f", "-", text_in=text)

    def hold(self, *args):
        """Starts a program that keeps something installed; it has said 'ready' on return."""
        self.holder = subprocess.Popen(["ip", "netns", "exec", self.name, *args], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{' '.join(args)}: exit {self.holder.wait()}")

    def close(self):
        """Ends the holder; returns what else it said."""
        said = ""
        if self.holder:
            self.holder.stdin.close()
            said = self.holder.stdout.read()
            self.holder.wait(10)
            self.holder.stdout.close()
            self.holder = None
        sh("ip", "netns", "del", self.name)
        sh("ip", "link", "del", self.device, check=False)
        return said

    def tcp_segments(self):
        """How many segments the TCP of this namespace got to see."""
        for line in self.run("cat", "/proc/net/snmp").stdout.splitlines():
            if line.startswith("Tcp:") and "InSegs" in line:
                at = line.split().index("InSegs")
            elif line.startswith("Tcp:"):
                return int(line.split()[at])
        raise RuntimeError("no TCP statistics")


# ---- the rule sets that are compared

def bare(r):
    r.nft("""
table netdev bare {
    chain c {
        type filter hook ingress device eth0 priority 0
        drop
    }
}""")


def recipe(r):
    """As resource-agents' heartbeat/IPaddr2 sets it up with clusterip_firewall=nft, IPv4, node 1 of 3."""
    r.nft(f"""
table ip IPaddr2_10_77_0_250 {{
    chain prerouting {{
        type filter hook prerouting priority mangle;
        iif "eth0" ip daddr {VIP4} jhash ip saddr mod 3 seed {SEED} offset 1 == 1 meta pkttype set host accept
        iif "eth0" ip daddr {VIP4} drop
    }}
}}""")


def xt_cluster(r):
    """As the same script does with clusterip_firewall=iptables."""
    chain = ["iptables", "-w", "-t", "mangle", "-A", "PREROUTING", "-d", VIP4, "-i", "eth0"]
    r.run(*chain, "-m", "cluster", "--cluster-total-nodes", "3", "--cluster-local-node", "1",
          "--cluster-hash-seed", SEED, "-j", "ACCEPT")
    r.run(*chain, "-j", "DROP")


def clusterd(buckets, verb="hold", *way):
    return lambda r: r.hold(tool("rules"), verb, "eth0", str(buckets), *way)


def xdp(what):
    return lambda r: r.hold(tool("xdp"), os.path.join(TOOLS, "bench_drop.bpf.o"), "eth0", str(what))


RULE_SETS = {
    "bare": ("bare drop, nft ingress", bare),
    "xdp_all": ("bare drop, XDP generic", xdp("all")),
    "own4": ("clusterd, 4,096 buckets", clusterd(4096, "early-hold")),
    "own64": ("clusterd, 65,536 buckets", clusterd(65536, "early-hold")),
    "own4nft": ("clusterd without the fast path, 4,096 buckets", clusterd(4096)),
    "own64nft": ("clusterd without the fast path, 65,536 buckets", clusterd(65536)),
    "xdp4": ("XDP generic hash-drop, 4,096 buckets", xdp(4096)),
    "xdp64": ("XDP generic hash-drop, 65,536 buckets", xdp(65536)),
    "recipe": ("IPaddr2 clone recipe, nft", recipe),
    "xt": ("xt_cluster", xt_cluster),
}


def check_dropped(key, passed, said, sent):
    """A rule set that lets packets through is not measured but wrong."""
    if passed:
        raise RuntimeError(f"{RULE_SETS[key][0]}: {passed} packets passed")
    if key.startswith("own") and json.loads(said) != {"accepted": 0, "foreign": sent}:
        raise RuntimeError(f"{RULE_SETS[key][0]}: {said.strip()}, but {sent} foreign packets were sent")


def measure_packets(count, rounds, cpu=0):
    """{key: [ns per packet above the sender's own cost, one per round]}"""
    receivers = {"sender": Receiver()}
    try:
        for key, (_text, install) in RULE_SETS.items():
            receivers[key] = Receiver()
            install(receivers[key])
        by_device = {r.device: key for key, r in receivers.items()}
        args = [r.device + ("=other" if key == "sender" else "")
                for key, r in receivers.items()]
        out = sh(tool("send"), "rounds", str(cpu), str(count), str(rounds), *args).stdout
        passed = {key: r.tcp_segments() for key, r in receivers.items()}
    finally:
        said = {key: r.close() for key, r in receivers.items()}
    table = {}
    for line in out.splitlines():
        rec = json.loads(line)
        if rec["lost"]:
            raise RuntimeError(f"{rec['lost']} packets were lost on the way to {rec['device']}")
        table.setdefault(by_device[rec["device"]], {})[rec["round"]] = rec["ns"]
    sent = rounds * ((count + 63) // 64 * 64 + 65536)
    for key in RULE_SETS:
        check_dropped(key, passed[key], said[key], sent)
    base = table["sender"]
    found = {key: [table[key][i] - base[i] for i in sorted(base)] for key in RULE_SETS}
    found["sender"] = list(base.values())
    return found


def rows_packets(opts, add):
    ns = measure_packets(400000 if opts.full else 200000, 31 if opts.full else 15)
    med = {key: statistics.median(v) for key, v in ns.items()}
    method = "median of rounds by turns; foreign 64-byte TCP segments, veth, one core; cost above sending"
    add("sender and veth without any filter", spread(ns["sender"]), "ns/packet", None,
        "same frames to another MAC address, discarded by IP at once; subtracted from the rows below")
    for key, (text, _install) in RULE_SETS.items():
        add(f"foreign packet: {text}", spread(ns[key]), "ns/packet", None, {
            "recipe": "jhash of the source address, prerouting (resource-agents c9f42fe4e, 2026-06)",
            "xt": "iptables mangle PREROUTING, conntrack (the same script's iptables variant)",
            "bare": "no look at the packet: what any filter there costs at least",
            "xdp_all": "no look at the packet; includes making room for XDP in the packet buffer",
        }.get(key, method))
    for own, other, text in (("own4", "xdp4", "4,096"), ("own64", "xdp64", "65,536")):
        add(f"clusterd / xt_cluster, {text} buckets", [med[own] / med["xt"]], "ratio", ("<=", 0.25),
            "of the medians above")
        add(f"clusterd / XDP generic, {text} buckets", [med[own] / med[other]], "ratio", ("<=", 1.15),
            "of the medians above")


# ---- commits

def measure_commits(buckets, rounds, per_second=60000):
    """Moves all but 16 buckets back and forth while a stream runs to the 16 that stay."""
    r = Receiver()
    try:
        r.nft("""
table inet count {
    counter seen { }
    chain c { type filter hook prerouting priority 0; iif "eth0" counter name seen drop; }
}""")
        r.hold(tool("rules"), "move", "eth0", str(buckets), str(rounds))
        sender = subprocess.Popen([tool("send"), "stream", "0", str(buckets), str(per_second), r.device],
                                  stdout=subprocess.PIPE, text=True)
        try:
            wait(lambda: seen(r) > 0, 10, "the stream", 0.02)
            os.sched_setaffinity(r.holder.pid, {os.cpu_count() - 1})
            r.holder.stdin.write("\n")
            r.holder.stdin.flush()
            lines = []
            while not lines or lines[-1] not in ("done", ""):
                lines.append(r.holder.stdout.readline().strip())
        finally:
            sender.send_signal(signal.SIGTERM)
            sent = json.loads(sender.communicate(timeout=10)[0])["sent"]
        got = seen(r)
    finally:
        r.close()
    if lines.pop() != "done":
        raise RuntimeError("the commits failed")
    return [json.loads(line) for line in lines], sent, got


def seen(r):
    out = json.loads(r.run("nft", "-j", "list", "counter", "inet", "count", "seen").stdout)
    return next(x["counter"]["packets"] for x in out["nftables"] if "counter" in x)


def rows_commit(opts, add):
    for buckets, target in ((4096, 15), (65536, 200)):
        commits, sent, got = measure_commits(buckets, 20 if opts.full else 8)
        n = commits[0]["transactions"]
        for to, text in (("mine", "all foreign -> all mine"), ("foreign", "all mine -> all foreign")):
            add(f"commit of {buckets:,} buckets, {text}",
                spread([c["ms"] for c in commits if c["to"] == to]), "ms", ("<=", target),
                f"rules_commit(): {n} transaction{'s' * (n > 1)}; under a stream of 60,000 packets/s")
        add(f"longest single transaction of these, {buckets:,} buckets",
            spread([c["longest_ms"] for c in commits]), "ms", ("max<=", 30),
            "a fifth of the 150 ms lease: the heartbeat must not wait longer for the kernel's lock")
        add(f"packets lost while {buckets:,} buckets moved", [sent - got], "packets", ("==", 0),
            f"{sent:,} sent to 16 buckets that stay here, all counted behind the guard")

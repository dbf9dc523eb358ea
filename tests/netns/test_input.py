# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input and rude neighbours: a clear error, and no harm."""

import os
import socket

from harness import *

SAY_GROUP = os.path.join(labs.HERE, "cpg_say.py")


def harmless(c, before):
    """The cluster is as it was: same owners, nobody fenced, all agree."""
    views = wait(c.settled, 10, "the cluster to be settled")
    same(views[0]["services"][0]["buckets"], before[0]["services"][0]["buckets"], "buckets")
    serves_evenly(c, [n.name for n in c.nodes])


@case()
def test_wrong_config(c):
    """A wrong file: every error is told with file, key and reason, exit 2, nothing touched."""
    text = c.ini.replace("buckets = 1024", "buckets = 1000\nfoo = 1") + "[service x]\nvip = nonsense\n"
    c[1].run("cat > /run/wrong.ini", text_in=text)
    before = c[1].footprint()
    for args in ([labs.CLUSTERD, "-c", "/run/wrong.ini"], [labs.CLUSTERD, "-c", "/run/wrong.ini", "-n"],
                 [labs.CLUSTERCTL, "check", "/run/wrong.ini"]):
        r = c[1].run(args, check=False)
        out = r.stdout + r.stderr
        same(r.returncode, 2, f"exit code of {args[0]}")
        for word in ("/run/wrong.ini", "buckets", "foo", "vip"):
            expect(word in out, f"'{word}' is not mentioned: {out}")
    after = c[1].footprint()
    expect(after == before, lambda: labs.difference(before, after))
    same(c[1].run([labs.CLUSTERD, "-c", "/run/none.ini"], check=False).returncode, 2, "exit, no file")
    same(c[1].run([labs.CLUSTERD, "-c", "/etc/clusterd.ini", "-n"], check=False).returncode, 0,
         "exit code for a good file")
    same(c[1].run([labs.CLUSTERD, "--nonsense"], check=False).returncode, 2, "exit, unknown option")
    r = c.client.run([labs.CLUSTERD, "-c", "/dev/stdin"], check=False, text_in=c.ini)
    expect(r.returncode not in (0, None) and r.stderr.strip(), f"on a machine without node address: {r}")


@case()
def test_second_clusterd(c):
    """A second clusterd on the node refuses to start and harms nothing."""
    before = wait(c.settled, 10, "settled")
    tables = c[2].run("nft list tables").stdout
    r = c[2].run([labs.CLUSTERD, "-c", "/etc/clusterd.ini"], check=False, timeout=10)
    expect(r.returncode not in (0, 2) and "running" in r.stdout + r.stderr, f"second clusterd: {r}")
    same(c[2].run("nft list tables").stdout, tables, "tables")
    harmless(c, before)


@case()
def test_clusterctl_errors(c):
    """clusterctl: exit 2 for wrong usage, 1 for refusals, clear text without a daemon."""
    for args in ("", "nonsense", "drain", "weight n1", "trace", "buckets"):
        r = c[1].ctl(args, check=False)
        same(r.returncode, 2, f"exit code of 'clusterctl {args}'")
        expect(r.stderr.strip(), f"'clusterctl {args}' says nothing")
    for args in ("drain nobody", "weight n1 nonsense", "weight n1 100000", "buckets nothing",
                 "trace 300.1.1.1 10.77.0.250", "trace 10.77.0.100:1 10.99.99.99:80"):
        r = c[1].ctl(args, check=False)
        expect(r.returncode in (1, 2) and r.stderr.strip(), f"'clusterctl {args}': {r}")
    r = c.client.run([labs.CLUSTERCTL, "status"], check=False)
    expect(r.returncode == 1 and "clusterd" in r.stderr, f"without a daemon: {r}")
    r = c[1].run(["setpriv", "--reuid", "65534", "--clear-groups", "--regid", "65534",
                  labs.CLUSTERCTL, "drain", "n1"], check=False)
    expect(r.returncode == 1, f"a stranger may give orders: {r}")
    same({n["state"] for n in c.status_nodes()}, {"online"}, "states")


@case()
def test_control_socket(c):
    """Oversized, garbled, slow and many control requests harm nothing."""
    before = wait(c.settled, 10, "settled")
    path = c[1].path("/run/clusterd/clusterd.sock")
    rss = memory(c[1])

    def connect():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(2)
        # A path through /proc may be longer than a socket's name can be.
        fd = os.open(os.path.dirname(path), os.O_RDONLY)
        s.connect(f"/proc/self/fd/{fd}/clusterd.sock")
        os.close(fd)
        return s

    for data in (b"A" * (4 << 20), b"\0" * 65536, b"{" * 100000, b'{"command":"status"', b"\xff\n" * 1000):
        with connect() as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
        expect(c[1].status(), "no status after a bad request")
    idle = []
    try:
        for _ in range(300):
            s = connect()
            idle.append(s)
            s.send(b"{")
    except OSError:
        pass    # refusing is fine
    time.sleep(0.5)
    expect(c[1].clusterd.alive(), "clusterd ended")
    for s in idle:
        s.close()
    wait(c[1].status, 5, "status after many connections")
    expect(memory(c[1]) < rss + 8192, f"memory grew from {rss} to {memory(c[1])} kB")
    harmless(c, before)


def memory(node):
    with open(f"/proc/{node.clusterd.pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


@case()
def test_garbled_messages(c):
    """Garbled, truncated and foreign messages in the group are counted and ignored."""
    before = wait(c.settled, 10, "settled")
    with Watched(c, conns=30) as w:
        w.mark()
        c[2].run([labs.PYTHON, SAY_GROUP, "clusterd:web"])
        time.sleep(1)
    w.nobody_noticed()
    for node in c.nodes:
        expect(node.clusterd.alive(), f"{node.name}: clusterd ended")
    harmless(c, before)


@case()
def test_garbled_hello(c):
    """Noise, and real HELLOs with one bit changed, on the heartbeat's port harm nothing."""
    before = wait(c.settled, 10, "settled")
    frames = measure.record(c[2].port, c.dir + "/noise.pcap", "udp port 5407 and dst 10.77.0.1", 0.3)
    expect(frames, "no HELLO was seen")
    bent = [f[:i] + bytes([f[i] ^ 1]) + f[i + 1:] for f in frames[:3] for i in range(42, len(f))]
    short = [f[:n] for f in frames[:2] for n in range(42, len(f), 3)]
    with Watched(c, conns=30) as w:
        w.mark()
        measure.inject([c[1].port], measure.without_udp_checksum(bent + short), 1.0)
        c.client.run([labs.PYTHON, "-c", "import os,socket\n"
                      "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
                      "for n in range(2000): s.sendto(os.urandom(n % 1400), ('10.77.0.1', 5407))"])
        time.sleep(0.5)
    w.nobody_noticed()
    harmless(c, before)


@case()
def test_ruleset_flushed(c):
    """'nft flush ruleset' and deleted tables are repaired within a second, closed meanwhile."""
    def normal(node):
        """Tables, chains and rules without what changes by itself, in any order of tables."""
        out, skip = [], False
        for line in node.run("nft -s list ruleset").stdout.splitlines():
            skip = skip and "}" not in line or "elements = {" in line and "}" not in line
            if not skip and "elements = {" not in line and line.strip():
                out.append(line.strip())
        return "\n".join(sorted(out))

    before = wait(c.settled, 10, "settled")
    was = normal(c[2])
    for order in ("nft flush ruleset", "nft delete table inet clusterd_guard"):
        with Watched(c, conns=30) as w:
            w.mark()
            c[2].run(order, check=False)
            try:
                wait(lambda: normal(c[2]) == was, 1.0, f"the repair after '{order}'", every=0.02)
            except labs.LabError as err:
                raise Failed(f"{err}: {labs.difference(was, normal(c[2]))}") from None
            time.sleep(0.5)
        w.others_untouched(None)
        w.one_speaker()
    harmless(c, before)


@case()
def test_events(c):
    """The event log tells of a drain; --json is JSON."""
    import json
    c[1].ctl("drain n2")
    wait(lambda: c.state_of("n2", 1) in ("draining", "drained"), 5, "n2 to drain")
    text = c[1].ctl("events").stdout
    expect("n2" in text, f"events: {text[-300:]}")
    expect("n2" in str(json.loads(c[1].ctl("events --json").stdout)), "events --json")
    c[1].ctl("undrain n2")
    c.settle()


@case()
def test_check(c):
    """'clusterctl check' accepts the running configuration on this kernel; corosync-conf is one for all."""
    r = c[1].ctl("check", check=False)
    same(r.returncode, 0, f"exit code of check: {r.stdout}{r.stderr}")
    texts = {n.ctl("corosync-conf").stdout for n in c.nodes}
    expect(len(texts) == 1 and "token_coefficient: 0" in texts.pop(), "corosync-conf")

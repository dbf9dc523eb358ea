# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiment 3: free memory of two servers under WLC, memory-1 and memory-2 (paper E, table 2)."""

import statistics
import time

import lab as labs
import svg
from common import Watch, answers, cluster, column, stop

LIMIT_KIB = 192 << 10
BALLAST_KIB = 16 << 10    # what else runs on server 1
CGI_KIB, CGI_US, CGI_MS = 3400, 1000, 500
MIX = ("60:/file/8192", "25:/file/51200", f"15:/cgi/{CGI_KIB}/{CGI_US}/{CGI_MS}")
RATE = 4000 / 30
SECONDS = 120
INTERVAL = 12    # seconds, where the paper has 60
# The paper's R, and one that gives method 2 weights that differ: see doc/experiments.
WAYS = (("WLC", "static", {}), ("method 1", "memory-1", {}), ("method 2", "memory-2", {}),
        ("method 2, R = 20", "memory-2", {"connections_per_minute": 20}))
PAPER = {"WLC": (129680.1, 145873.9, -16193.1), "method 1": (132279.8, 143608.1, -11328.3),
         "method 2": (134530.9, 141352.6, -6821.7)}

TOGETHER = 20
ASK = f"""
import socket, sys
open = [socket.create_connection((sys.argv[1], 80)) for _ in range({TOGETHER})]
for s in open:
    s.sendall(b"GET /cgi/{CGI_KIB}/0/3000 HTTP/1.0\\r\\n\\r\\n")
for s in open:
    while s.recv(65536):
        pass
"""
BALLAST = f"import time; time.sleep(0.5); x = b'x' * ({BALLAST_KIB} << 10); time.sleep(1e6)"


def measure_process(c, group):
    """KiB of one CGI process: many of them at once, asked directly."""
    time.sleep(0.5)
    before = group.memory_used()
    p = c.client.popen([labs.PYTHON, "-c", ASK, c[1].addr4])
    time.sleep(1.8)
    used = (group.memory_used() - before) / TOGETHER / 1024
    p.wait(15)
    if used < CGI_KIB / 2:
        raise labs.LabError(f"a CGI process seems to take {used:.0f} KiB")
    return used


def one(policy, more, process_kib, seconds):
    service = {"scheduler": "least-conn", "weights": policy, "process_memory": round(process_kib)} | more
    if policy != "static":
        service["weights_interval"] = f"{INTERVAL}s"
    limit = LIMIT_KIB << 10
    with cluster(2, service, memory=(limit, limit), cluster={"tiebreak": "lowest"},
                 monitors=("memory", "cpu")) as (c, found, _owner):
        before = found[0].memory_used()
        ballast = c[1].popen([labs.PYTHON, "-c", BALLAST])
        found[0].add(ballast.pid)
        time.sleep(1.5)    # it takes its memory when it is in the group
        ballast_kib = (found[0].memory_used() - before) >> 10
        w = Watch(c, found)
        warm, _ = w.ask(max(4, round(2 * INTERVAL * seconds / SECONDS)), RATE, MIX, seed=9)
        rows, said = w.ask(seconds, RATE, MIX, seed=3)
        stop(ballast)
    return rows, said, ballast_kib


def run(report, scale):
    seconds = max(20, round(SECONDS * scale))
    with cluster(2, {}, memory=(LIMIT_KIB << 10,) * 2, cluster={"tiebreak": "lowest"}) as (c, found, _owner):
        process = measure_process(c, found[0])
    report.say(f"P, the memory of one CGI process, measured: {process:.0f} KB (paper: 3,500 KB).")
    table, results, plot = [], {}, {}
    for name, policy, more in WAYS:
        rows, said, ballast = one(policy, more, process, seconds)
        free = [[LIMIT_KIB - x for x in column(rows, "used_kib", i)] for i in range(2)]
        mean = [statistics.fmean(x) for x in free]
        diff = [a - b for a, b in zip(*free)]
        failed, ms, worst = answers(said)
        cgi = [sum(column(rows, "cgi", i)) for i in range(2)]
        results[name] = {"free_kib": mean, "difference": mean[0] - mean[1], "std_of_difference": statistics.pstdev(diff),
                         "ballast_kib": ballast, "cgi": cgi, "failed": failed, "ms": ms, "seconds": seconds}
        paper = [f"{x:.1f}" for x in PAPER[name]] if name in PAPER else ["", "", ""]
        table.append((name, f"{mean[0]:.0f}", f"{mean[1]:.0f}", f"{mean[0] - mean[1]:+.0f}",
                      f"{statistics.pstdev(diff):.0f}", f"{cgi[0]} / {cgi[1]}", failed,
                      *paper))
        plot[name] = [(r["t"] - rows[0]["t"], statistics.fmean(diff[max(0, i - INTERVAL + 1):i + 1]) / 1024)
                      for i, r in enumerate(rows)][INTERVAL - 1:]
        report.csv(f"-{policy}{'-r20' if more else ''}.csv", rows)
    report.keep("process_kib", process)
    report.keep("ways", results)
    report.table(("weights", "free 1, KB", "free 2, KB", "difference", "its std", "CGI 1 / 2", "failed",
                  "paper: free 1", "free 2", "difference"), table)
    report.say("What server 1 has in use besides: " +
               ", ".join(f"{r['ballast_kib']}" for r in results.values()) + " KB in these runs.")
    svg.lines(report.plot(".svg", "difference of free memory over time"),
              "Free memory of server 1 less that of server 2", "seconds", f"MiB, mean of {INTERVAL} s", plot)

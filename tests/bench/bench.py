#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sudo make bench: measures what clusterd promises and what else there is, and prints one table.

Everything runs in namespaces of its own, and nothing is left behind.  Other programs on the machine
show up as noise: the column "spread" has the lowest and the highest of the measurements.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "netns")]

import cluster
import moves
import packets
import redirect
import sandbox
from lab import BUILD, CLUSTERD, Lab, LabError, sh


def rows_core(opts, add):
    for program, pattern, name, how in (
            ("core_bench", "slowest step", "core step, 64 nodes x 65,536 buckets",
             "slowest of seven kinds of ordered event (median of 11 each): state machine and compilation"),
            ("assign_bench", "slowest share and heirs", "  of it: assignment of buckets",
             "slowest of six changes of membership (median of 21 each), shares and heirs together")):
        out = sh(os.path.join(BUILD, "tests", program), check=False).stdout
        found = re.search(pattern + r": ([0-9.]+) ms", out)
        if not found:
            raise LabError(f"{program} says nothing")
        add(name, [float(found.group(1))], "ms", ("<=", 5), how)


def rows_queue(opts, add):
    out = sh(os.path.join(BUILD, "tests", "queue_bench"), check=False).stdout

    def said(pattern):
        found = re.search(r"queue: " + pattern, out)
        if not found:
            raise LabError(f"queue_bench: {out[-200:]}")
        return [float(x) for x in found.groups()]

    how = "least-conn, one queue: SYNs of ever new clients, each handed to one of two other nodes"
    add("queue: decisions per second of one core", said(r"decisions per second of one core: (\d+)"), "/s",
        (">=", 50000), how + "; by the CPU time of the queue's thread")
    add("queue: decisions per second, by the clock", said(r"decisions per second, by the clock: (\d+)"),
        "/s", None, "the sender and all else shares the processors with it")
    for p in ("p50", "p99"):
        add(f"queue: added latency, {p}", said(rf"added latency {p}: ([0-9.-]+) us"), "us", None,
            "one SYN at a time; least-conn (userspace) less probability (in the kernel)")


# name, rows, what it needs: None or a settled cluster of three nodes, which the sections share
SECTIONS = (
    ("packets", packets.rows_packets, None, "ns per foreign packet"),
    ("redirect", redirect.rows_redirect, None, "cost of a redirected packet"),
    ("queue", rows_queue, None, "decisions in userspace"),
    ("commit", packets.rows_commit, None, "time of large commits"),
    ("core", rows_core, None, "time of a core step"),
    ("http", cluster.rows_http, None, "HTTP requests per second"),
    ("idle", cluster.rows_idle, 3, "idle CPU and memory"),
    ("fencing", cluster.rows_fencing, 3, "false fencings under load"),
    ("failover", cluster.rows_failover, 3, "outages, resets, lost SYNs"),
    ("moves", moves.rows_moves, None, "planned moves in every mode"),
    ("loss", moves.rows_loss, None, "planned moves over a network that loses frames"),
    ("keepalived", cluster.rows_keepalived, None, "outages of keepalived, for comparison"),
)

JUDGES = {"<=": lambda v, t: v[0] <= t, ">=": lambda v, t: v[0] >= t, "==": lambda v, t: v[0] == t,
          "max<=": lambda v, t: max(v) <= t}


def number(x):
    if x == float("inf"):
        return "never"
    if x == 0:
        return "0"
    if isinstance(x, int) or abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.3f}" if abs(x) < 1 else f"{x:.2f}" if abs(x) < 10 else f"{x:.1f}"


class Table:
    def __init__(self):
        self.rows, self.section = [], None

    def add(self, name, values, unit, target, how):
        """'values': [measured], or (median, lowest, highest).  'target': None or (judge, number)."""
        met = None if target is None else JUDGES[target[0]](values, target[1])
        self.rows.append({
            "section": self.section, "name": name, "measured": values[0],
            "lowest": values[1] if len(values) > 1 else None,
            "highest": values[2] if len(values) > 1 else None, "unit": unit,
            "target": None if target is None else target[1],
            "compare": None if target is None else target[0], "met": met, "how": how})

    def fail(self, name, why):
        self.rows.append({"section": self.section, "name": name, "measured": None, "lowest": None,
                          "highest": None, "unit": "", "target": None, "compare": None, "met": None,
                          "how": "NOT MEASURED: " + " ".join(str(why).split())[:150]})

    def text(self):
        """Rows of five columns, the head first."""
        out = [("name", "measured", "spread", "target", "met", "how")]
        for r in self.rows:
            unit = " " + r["unit"] if r["unit"] != "ratio" else ""
            measured = "-" if r["measured"] is None else number(r["measured"])
            measured += unit if measured not in ("-", "never") else ""
            wide = "" if r["lowest"] is None else f"{number(r['lowest'])} .. {number(r['highest'])}"
            target = "" if r["target"] is None else \
                f"{r['compare'].replace('max', 'all ').replace('==', '=')} {number(r['target'])}"
            met = {None: "", True: "yes", False: "NO"}[r["met"]]
            out.append((r["name"], measured, wide, target, met, r["how"]))
        return out

    def plain(self):
        rows = self.text()
        width = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join([*(f"{row[i]:<{width[i]}}" for i in range(5)), row[5]]).rstrip()
                 for row in rows]
        lines.insert(1, "-" * max(len(line) for line in lines))
        return "\n".join(lines)

    def markdown(self, head):
        rows = self.text()
        lines = [head, "", "| " + " | ".join(rows[0]) + " |", "|---" * 6 + "|"]
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows[1:]]) + "\n"


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"Linux {os.uname().release}, {os.cpu_count()} x {model}"


def write(out, table, head, seconds):
    if out.name.endswith(".md"):
        out.write(table.markdown(head))
    else:
        json.dump({"machine": head, "seconds": round(seconds), "rows": [
            {k: ("never" if v == float("inf") else v) for k, v in r.items()} for r in table.rows]},
            out, indent=1)
        out.write("\n")
    out.close()


class Runner:
    def __init__(self, opts):
        self.opts, self.table, self.lab = opts, Table(), None

    def close(self):
        if self.lab:
            self.lab.close()
            self.lab = None

    def run(self, name, func, nodes, text):
        print(f"measuring {text} ...", flush=True)
        start = time.monotonic()
        self.table.section = name
        try:
            if nodes and not self.lab:
                self.lab = Lab(nodes, {"cluster": {"lease": f"{cluster.LEASE_MS}ms"}}, with_clusterd=True)
                self.lab.start()
            if nodes:
                func(self.opts, self.table.add, self.lab)
            else:
                self.close()
                func(self.opts, self.table.add)
        except (LabError, RuntimeError, OSError, ValueError, subprocess.SubprocessError) as err:
            print(f"# {name}: {type(err).__name__}: {err}")
            if self.lab:
                print("\n".join("# " + line for line in self.lab.tails().splitlines()), flush=True)
            self.table.fail(text, err)
            self.close()
        print(f"    {time.monotonic() - start:.0f} s", flush=True)


def main():
    names = [s[0] for s in SECTIONS]
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--only", metavar="NAMES", help="comma-separated: " + ", ".join(names))
    p.add_argument("--full", action="store_true",
                   help="more runs and ten minutes of busy loops: half an hour instead of ten minutes")
    p.add_argument("--out", metavar="FILE", type=argparse.FileType("w"),
                   help="write the table there too, as markdown (FILE.md) or JSON")
    opts = p.parse_args()
    chosen = opts.only.split(",") if opts.only else names
    if set(chosen) - set(names):
        p.error(f"--only: unknown {', '.join(sorted(set(chosen) - set(names)))}; "
                f"there are {', '.join(names)}")
    if not os.path.exists(CLUSTERD):
        p.error(f"{CLUSTERD} is not built")
    sandbox.enter()
    start = time.monotonic()
    runner = Runner(opts)
    try:
        for section in SECTIONS:
            if section[0] in chosen:
                runner.run(*section)
    except KeyboardInterrupt:
        print("interrupted")
    finally:
        runner.close()
    table = runner.table
    judged = [r for r in table.rows if r["met"] is not None]
    missing = sum(r["measured"] is None for r in table.rows)
    print(f"\n{machine()}\n\n{table.plain()}\n\n{sum(r['met'] for r in judged)} of {len(judged)} targets met"
          + (f", {missing} not measured" if missing else ""))
    if opts.out:
        write(opts.out, table, machine(), time.monotonic() - start)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sudo make experiments: what the papers measured, measured here, beside their figures.

Everything runs in namespaces and control groups of its own, and nothing is left behind.  Results go to
build/experiments; with --doc to doc/experiments, where the README reads them.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "netns"), os.path.join(os.path.dirname(HERE), "bench")]

import groups
import lab as labs
import sandbox
from common import Report

EXPERIMENTS = (
    ("growth", "1. Growth: requests per second of 2, 4 and 8 nodes (paper A)"),
    ("evenness", "2. Evenness of the distribution (paper A)"),
    ("memory", "3. Free memory of two servers (paper E, table 2)"),
    ("feedback", "4. Load feedback with one half-speed node"),
)


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"Linux {os.uname().release}, {os.cpu_count()} x {model}"


def busy_elsewhere():
    """Load average before we begin: what other programs take is noise in all of this."""
    with open("/proc/loadavg") as f:
        return f.read().split()[0]


def main():
    names = [name for name, _ in EXPERIMENTS]
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--only", metavar="NAMES", help="comma-separated: " + ", ".join(names))
    p.add_argument("--quick", action="store_true", help="a quarter of the time: to see that it works")
    p.add_argument("--doc", action="store_true", help="write to doc/experiments")
    p.add_argument("--out", metavar="DIR", help="write there")
    opts = p.parse_args()
    chosen = opts.only.split(",") if opts.only else names
    if set(chosen) - set(names):
        p.error(f"--only: unknown {', '.join(sorted(set(chosen) - set(names)))}; there are {', '.join(names)}")
    why = groups.needs()
    if why:
        p.error(why)
    out = opts.out or os.path.join(labs.TOP, "doc" if opts.doc else os.path.relpath(labs.BUILD, labs.TOP), "experiments")
    os.makedirs(out, exist_ok=True)
    head = f"{machine()}; load average before: {busy_elsewhere()}"
    sandbox.enter()
    failed, print_name = 0, len(chosen) > 1
    for name, title in EXPERIMENTS:
        if name not in chosen:
            continue
        print(f"\n{title}\n", flush=True)
        start = time.monotonic()
        report = Report(name, title, out)
        try:
            importlib.import_module(name).run(report, 0.25 if opts.quick else 1)
        except (labs.LabError, RuntimeError, OSError, ValueError, subprocess.SubprocessError) as err:
            print(f"# {name}: {type(err).__name__}: {err}", flush=True)
            failed += 1
            continue
        except KeyboardInterrupt:
            print("interrupted")
            return 1
        text = report.write()
        seconds = time.monotonic() - start
        with open(report.path(".md"), "w") as f:
            f.write(f"{text}\n{head}; {seconds:.0f} s{', --quick' if opts.quick else ''}\n")
        print(f"\n{seconds:.0f} s", flush=True)
    print(f"\n{head}\nresults: {out}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

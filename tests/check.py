#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs every test of `make check`, one stage after the other, and adds up what they say.

A stage is a command.  Its tests are counted from what it prints: TAP-like lines ("ok ...",
"not ok ...", "skip - ..." or "ok ... # SKIP"), or a closing line "N passed, N failed[, N skipped]".
A stage that fails without naming a failed test counts as one.
"""
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOTAL = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")


def count(text):
    """(passed, failed, skipped, names of failed) in a stage's output."""
    passed = failed = skipped = 0
    names = []
    total = None
    for line in text.splitlines():
        m = TOTAL.match(line)
        if m:
            total = (int(m[1]), int(m[2]), int(m[3] or 0))
        elif re.match(r"^not ok\b", line):
            failed += 1
            names.append(line)
        elif re.match(r"^skip\b", line) or re.match(r"^ok\b.*# SKIP", line):
            skipped += 1
            print("  " + line, flush=True)
        elif re.match(r"^ok\b", line):
            passed += 1
    if total:
        return total + (names,)
    return passed, failed, skipped, names


def run(name, command, seconds, env):
    start = time.monotonic()
    proc = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace", env=env,
                            start_new_session=True)
    late = False
    try:
        out, _ = proc.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        late = True
        # SIGTERM first: the network tests clean up after themselves.
        os.killpg(proc.pid, signal.SIGTERM)
        try:
            out, _ = proc.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(proc.pid, signal.SIGKILL)
            out, _ = proc.communicate()
    passed, failed, skipped, names = count(out)
    if late:
        names.append(f"not ok - {name}: not finished after {seconds} s")
        failed += 1
    elif proc.returncode != 0 and not failed:
        names.append(f"not ok - {name}: exit status {proc.returncode}")
        failed += 1
    elif not passed and not failed and not skipped:
        names.append(f"not ok - {name}: ran no test")
        failed += 1
    word = "ok  " if not failed else "FAIL"
    print(f"{word} {name:<28} {passed:5} passed {failed:3} failed {skipped:3} skipped "
          f"{time.monotonic() - start:7.1f} s", flush=True)
    if failed:
        print("\n".join("     " + n for n in names))
        print("     ---- its output, the last 150 lines ----")
        print("\n".join("     " + line for line in out.splitlines()[-150:]), flush=True)
    return passed, failed, skipped


def stages():
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    env.pop("MAKEFLAGS", None)
    quiet = ["make", "-s", "--no-print-directory"]
    yield "headers", ["tests/headers.sh"], 300, env
    yield "layers", ["tests/layers.sh"], 60, env
    yield "unit", quiet + ["unit"], 900, env
    yield "unit (address sanitizer)", quiet + ["SAN=address", "unit"], 900, env
    yield "unit (undefined behaviour)", quiet + ["SAN=undefined", "unit"], 900, env
    yield "man pages", ["tests/man_sync.sh"], 60, env
    yield "clusterctl", ["tests/cli_test.sh"], 120, env
    yield "simulator", quiet + ["sim"], 900, env
    yield "simulator mutants", ["tests/sim/mutants.sh"], 900, env
    yield "kernel", quiet + ["kernel"], 600, env
    yield "cluster", ["/usr/bin/python3", "tests/netns/run.py"], 2400, env
    yield "stock kernel", quiet + ["stock"], 2700, env


def main():
    only = sys.argv[1:]
    sums = [0, 0, 0]
    start = time.monotonic()
    for name, command, seconds, env in stages():
        if only and not any(o in name for o in only):
            continue
        for i, n in enumerate(run(name, command, seconds, env)):
            sums[i] += n
    print(f"in {time.monotonic() - start:.0f} s")
    print(f"{sums[0]} passed, {sums[1]} failed, {sums[2]} skipped")
    return 1 if sums[1] or not sums[0] else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo: three nodes, one address.  Shows what happens when one of them loses power and returns.

Everything runs in namespaces of its own; nothing of this machine is touched, and nothing is left.
Exit status 0 if every promise held, 1 if one was broken, 130 after Ctrl-C.
"""

import collections
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "netns"))

import harness                      # noqa: E402
import lab as labs                  # noqa: E402
import measure                      # noqa: E402
import sandbox                      # noqa: E402

STEPS = 6
VICTIM = 2
COLOUR = sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb")
BROKEN = []
START = time.monotonic()


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def step(number, text):
    clock = f"{time.monotonic() - START:5.1f} s"
    print(f"\n{paint('1', f'[{number}/{STEPS}] {text}')}{' ' * max(2, 72 - len(text))}{clock}", flush=True)


def say(text=""):
    print("      " + text, flush=True)


def promise(held, text):
    """One line with a verdict."""
    say(f"{paint('32', 'yes') if held else paint('1;31', 'NO ')}  {text}")
    if not held:
        BROKEN.append(text)


def show(text):
    for line in text.rstrip().splitlines():
        print("      | " + line, flush=True)


def ask(c):
    """Single requests over both families: answered by whom?"""
    found = collections.Counter()
    for family in "46":
        recs = c.load("probe", once=True, ports="40000:150", rate=600, family=family).wait().records("p")
        found += collections.Counter(r[6] or "nobody" for r in recs)
    return found


def start(c):
    step(1, "Starting three nodes: corosync, nginx, clusterd on each")
    say("n1 10.77.0.1   n2 10.77.0.2   n3 10.77.0.3      one switch, one client")
    say(f"all of them are {labs.VIP4} and {labs.VIP6}")
    begun = time.monotonic()
    c.start()
    say(f"they have agreed and serve after {time.monotonic() - begun:.1f} s")


def look(c):
    step(2, "300 requests to the one address")
    found = ask(c)
    total = sum(found.values())
    for name, n in sorted(found.items()):
        say(f"{name:7} {n:4}  {'#' * round(n * 40 / total)}")
    promise(set(found) == {"n1", "n2", "n3"}, "every request was answered, by all three nodes")
    step(3, "clusterctl status")
    show(c[1].ctl("status").stdout)


def timeline(w, mine, since, until, width=0.05):
    """One character per 'width' seconds: were the new connections of these clients taken at once?"""
    cells = collections.defaultdict(list)
    for r in w.probes:
        if (r[2], r[3]) in mine:
            cells[int((r[1] - w.t0 - since) // width)].append(measure.failed(r))
    out = ""
    for i in range(round((until - since) / width)):
        cell = cells.get(i)
        if cell:
            out += "x" if all(cell) else "+" if any(cell) else "."
        else:
            out += out[-1:] or "."    # nobody asked just then
    return out


def power_off(c):
    name = f"n{VICTIM}"
    step(4, f"Power off {name}, under load")
    say("60 connections that stay, a request on each every 150 ms; 300 new connections per second")
    with harness.Watched(c, baseline=3) as w:
        say(f"power off {name}: no goodbye, no link, from one instant to the next")
        w.mark()
        c[VICTIM].power_off()
        time.sleep(3.5)
    mine = w.keys_of(name)
    outage = measure.outage(w.probes, mine, w.t0)
    say()
    say("new connections, 50 ms per character; '.' taken at once, 'x' had to wait")
    pointer = " " * (20 + 10) + "v power off"
    say(pointer)
    for node in ("n1", "n2", "n3"):
        line = timeline(w, w.keys_of(node), -0.5, 1.5)
        say(f"  clients of {node}:    {line}")
    say()
    others = {k for k, s in w.before.items() if s != name}
    hurt = [r for r in w.probes if (r[2], r[3]) in others and measure.failed(r)]
    conns = {i: recs[0][5] for i, recs in w.connections().items()}
    ended = [r for r in w.held if r[0] == "x"]
    strangers = [r for r in ended if conns[r[2]] != name]
    slowest = max((r[4] for r in w.held if r[0] == "e" and r[5] != name), default=0)
    kept = sum(1 for s in conns.values() if s != name)
    lost = sum(1 for s in conns.values() if s == name)
    say(f"{name} served {len(mine)} of {len(w.before)} source ports and {lost} of 60 connections")
    if outage is None:
        promise(False, f"{name}'s clients were taken over by n1 and n3")
    else:
        promise(outage < 1, f"new connections of {name}'s clients: refused for {outage * 1000:.0f} ms")
    promise(len({r[2] for r in ended} - {r[2] for r in strangers}) == lost,
            f"the {lost} connections to {name} were reset by the heirs, and made anew")
    promise(not hurt, f"new connections of all others: {len(hurt)} failed")
    promise(not strangers and slowest < 500,
            f"the {kept} connections to the others: {len(strangers)} ended, "
            f"slowest answer {slowest:.0f} ms")
    promise(not measure.double_accepts(w.packets), "no connection was accepted by two nodes")
    labs.wait(lambda: c.settled(draining=True), 15, "the survivors to settle")
    show(c[1].ctl("status").stdout)


def power_on(c):
    name = f"n{VICTIM}"
    step(5, f"Power on {name}, under load")
    with harness.Watched(c, baseline=2.5) as w:
        w.mark()
        c[VICTIM].power_on()
        c.settle(30, draining=True)
        took = time.monotonic() - w.t0
        time.sleep(1)
    say(f"{name} has booted, joined and has its share again after {took:.1f} s")
    ended = [r for r in w.held if r[0] in "xm"]
    bad = [r for r in w.probes if measure.failed(r)]
    resets, syns = measure.resets(w.packets), measure.lost_syns(w.packets)
    requests = sum(r[3] for r in w.held if r[0] == "e")
    promise(not ended, f"of 60 connections with {requests} requests, {len(ended)} ended "
                       "or changed their server")
    promise(not bad, f"of {len(w.probes)} new connections, {len(bad)} failed or waited")
    promise(not resets, f"on the wire: {len(resets)} resets by a node")
    promise(not syns, f"on the wire: {len(syns)} SYNs that had to be sent again")
    promise(not measure.double_accepts(w.packets), "no connection was accepted by two nodes")
    after = w.keys_of(name)
    now = ask(c)
    promise(not after and now[name] > 0, f"{name} serves again: {now[name]} of {sum(now.values())} requests")
    show(c[1].ctl("status").stdout)


def main():
    if not labs.BUILT:
        print(f"{labs.CLUSTERD} is not built: run 'make' first", file=sys.stderr)
        return 1
    sandbox.enter()
    c = None
    code = 1
    try:
        c = labs.Lab(3, {"cluster": {"buckets": "4096", "failback_delay": "1s"}})
        start(c)
        look(c)
        power_off(c)
        power_on(c)
        code = 1 if BROKEN else 0
    except KeyboardInterrupt:
        print("\ninterrupted", flush=True)
        code = 130
    except (labs.LabError, harness.Failed) as err:
        print(f"\n{paint('1;31', 'The demo failed')}: {err}")
        if c:
            print(c.tails())
    finally:
        if c:
            step(STEPS, "Removing everything")
            c.close()
    if code == 0:
        print(f"\n{paint('1;32', 'Every promise held.')}  That took {time.monotonic() - START:.0f} s.")
    for text in BROKEN:
        print(paint("1;31", "Broken: ") + text)
    return code


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""
run.py [-l] [-v] [NAME...]     runs the tests whose names contain one of the NAMEs (default: all)

  -l   lists them
  -v   prints the daemons' logs after every test, not only after failures
BUILD=DIR takes clusterd from DIR instead of build/.  LAB_KEEP=DIR copies logs and captures of failed
tests there.  STOCK=1: this kernel has everything, to skip a test is a failure.
"""

import glob
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness                      # noqa: E402
import lab as labs                  # noqa: E402
import sandbox                      # noqa: E402

MODULES = ("test_lab", "test_traffic", "test_planned", "test_fault", "test_group", "test_input",
           "test_two", "test_doctor", "test_ways", "test_moves",
           "test_rehash", "test_packets", "test_sched", "test_mac", "test_mixed", "test_load", "test_health", "test_health2",
           "test_observe")


class TooLong(Exception):
    pass


def alarm(_sig, _frame):
    raise TooLong


class Runner:
    def __init__(self, verbose):
        self.verbose = verbose
        self.lab, self.signature = None, None
        self.broken = {}    # signature -> why such a cluster did not start
        self.passed = self.failed = self.skipped = 0

    def close(self):
        if self.lab:
            self.lab.close()
            self.lab = None

    def provide(self, test):
        """The cluster that 'test' wants, settled."""
        signature = json.dumps([test.nodes, test.conf, test.bare, test.router])
        if self.lab and self.signature == signature and not test.fresh and self.restore(self.lab):
            return self.lab
        if self.lab and self.signature and test.alike and self.same_nodes(test):
            self.signature = None
            self.lab.change_conf(test.conf)
            self.signature = signature
            return self.lab
        self.close()
        self.signature = None
        for why in [self.broken[signature]] if signature in self.broken else \
                list(self.broken.values())[2:]:
            if not test.fresh:
                raise harness.Failed(f"such clusters did not start before: {why}")
        self.lab = labs.Lab(test.nodes, test.conf, with_clusterd=not test.bare,
                            router=test.router)
        self.lab.notes = []
        if not test.bare and not test.fresh:
            try:
                self.lab.start()
            except labs.LabError as err:
                self.broken[signature] = str(err)
                raise
            self.signature = signature
        return self.lab

    def same_nodes(self, test):
        cluster = (test.conf or {}).get("cluster")
        nodes, conf, bare, router = json.loads(self.signature)
        return [nodes, (conf or {}).get("cluster"), bare, router] == [test.nodes, cluster, test.bare, test.router]

    @staticmethod
    def restore(lab):
        """Puts the lab back into its first state; False if that cannot be had soon."""
        try:
            lab.heal()
            for client in [lab.client] + ([lab.far] if lab.router else []):
                for proc in client.procs:
                    proc.kill(signal.SIGKILL)
                client.procs = []
            for node in lab.nodes:
                node.ini = None
                if not node.pid:
                    node.power_on()
                node.write_ini()
                if not node.corosync.alive():
                    node.start_corosync()
                if node.bird and not node.bird.alive():
                    node.start_bird()
                if not node.clusterd.alive():
                    node.start_clusterd()
            lab.settle(15)
            for node in lab.status_nodes():
                if node["state"] != "online" or node["weight"] != 100:
                    return False
            return True
        except (labs.LabError, OSError, KeyError):
            return False

    def run(self, test):
        name, start, why, kind = test.__name__[5:], time.monotonic(), None, "ok"
        if not test.bare and not labs.BUILT:
            print(f"skip - {name}: clusterd is not built", flush=True)
            self.skipped += 1
            return
        signal.signal(signal.SIGALRM, alarm)
        trace = ""
        try:
            signal.alarm((test.timeout + 60) * labs.SLOW)
            lacking = test.needs() if test.needs else None
            if lacking:
                raise harness.Skip(lacking)
            lab = self.provide(test)
            lab.notes = []
            signal.alarm(test.timeout * labs.SLOW)
            start = time.monotonic()
            test(lab)
        except harness.Skip as skip:
            kind, why = "not ok" if os.environ.get("STOCK") else "skip", str(skip)
        except TooLong:
            kind, why, trace = "not ok", "takes too long", traceback.format_exc()
        except (harness.Failed, labs.LabError) as err:
            kind, why = "not ok", str(err)
            trace = "".join(t for t in traceback.format_tb(err.__traceback__) if "/test_" in t)
        except Exception as err:    # a bug in the test must not end the others
            kind, why, trace = "not ok", f"{type(err).__name__}: {err}", traceback.format_exc()
        finally:
            signal.alarm(0)
        self.report(test, name, kind, why, trace, time.monotonic() - start)

    def report(self, test, name, kind, why, trace, seconds):
        notes = "".join(f"; {n}" for n in self.lab.notes) if self.lab else ""
        if kind == "ok":
            self.passed += 1
            print(f"ok - {name} ({seconds:.1f} s){notes}", flush=True)
        elif kind == "skip":
            self.skipped += 1
            print(f"skip - {name}: {why}", flush=True)
        else:
            self.failed += 1
            print(f"not ok - {name}: {why}{notes}", flush=True)
            self.explain(name, trace)
        if self.verbose and kind == "ok" and self.lab:
            print(self.lab.tails((("clusterd", 200), ("corosync", 50))), flush=True)
        if kind == "not ok" or test.fresh or test.bare:
            self.close()

    @staticmethod
    def brief(status):
        if not status:
            return "no status"
        c = status["cluster"]
        return " ".join([
            "fenced" if c["fenced"] else "not fenced", "quorate" if c["quorate"] else "not quorate",
            f"epoch {c['epoch']} {c['digest']}:",
            ", ".join(f"{n['name']} {n['state']}" for n in status["nodes"]), "-",
            "; ".join(f"{s['name']} {s['buckets']} moving {s['moving']}" for s in status["services"])])

    def explain(self, name, trace):
        print("\n".join("# " + line for line in trace.splitlines()))
        if not self.lab:
            return
        for node in self.lab.up():
            try:
                status = node.status()
            except Exception:
                status = None
            print(f"# {node.name}: {self.brief(status)}")
        print("\n".join("# " + line for line in self.lab.tails().splitlines()), flush=True)
        keep = os.environ.get("LAB_KEEP")
        if keep:
            shutil.copytree(self.lab.dir, os.path.join(keep, name), dirs_exist_ok=True)


def main():
    args = sys.argv[1:]
    flags = {a for a in args if a.startswith("-")}
    names = [a for a in args if not a.startswith("-")]
    if flags - {"-l", "-v"}:
        print(__doc__)
        return 2
    found = {os.path.basename(p)[:-3] for p in glob.glob(os.path.join(labs.HERE, "test_*.py"))}
    if found != set(MODULES):
        print(f"run.py and the directory disagree about {sorted(found ^ set(MODULES))}")
        return 2
    for module in MODULES:
        importlib.import_module(module)
    tests = [t for t in harness.CASES if not names or any(n in t.__name__ for n in names)]
    if "-l" in flags:
        for test in tests:
            print(f"{test.__name__[5:]:32} {(test.__doc__ or '').strip().splitlines()[0]}")
        return 0
    if not tests:
        print("no such test")
        return 2
    sandbox.enter()
    runner = Runner("-v" in flags)
    try:
        for test in tests:
            runner.run(test)
    except KeyboardInterrupt:
        print("interrupted")
        runner.failed += 1
    finally:
        signal.alarm(0)
        runner.close()
    print(f"{runner.passed} passed, {runner.failed} failed, {runner.skipped} skipped")
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients.  Writes one JSON list per line to standard output; times are CLOCK_MONOTONIC seconds.

  load.py probe ...  fresh connections at a steady rate from a fixed pool of source ports
      ["p", start, family, sport, connect_ms, total_ms, server, error]
      A connect of more than 900 ms is a lost SYN (the kernel sends it again after one second).
      A port that is still taken is left out; with --once it is tried again for some seconds, then
      that is its error.
  load.py hold ...   long-lived connections, a request every --interval on each
      ["c", time, id, family, sport, server]     its first answer
      ["s", sent, id, ms, server]                an answer that took more than 150 ms
      ["m", time, id, before, now]               another server answered: never legal
      ["x", time, id, error]                     ended by somebody else; a new one takes its place
      ["e", time, id, requests, slowest_ms, server, waiting_ms]   at the end, one per connection
  load.py udp ...    datagrams at a steady rate from a fixed pool of source ports
      ["u", sent, family, sport, ms, server, None]     lost ones after 500 ms: ms is None
  load.py transfer ...   from each source port once: --up bytes there, --down bytes back, compared
      ["t", start, family, sport, seconds, server, error]
All end at SIGTERM or after --seconds.  LAB_SLOW=N, for a machine that slow: times N, rates / N.
"""

import argparse
import errno
import hashlib
import heapq
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time

now = time.monotonic
SLOW = int(os.environ.get("LAB_SLOW", "1"))
TAKEN_S = 5
REQUEST_ONCE = b"GET / HTTP/1.0\r\nHost: vip\r\n\r\n"
REQUEST_KEEP = b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n"


class Loop:
    def __init__(self, args):
        self.args = args
        self.sel = selectors.DefaultSelector()
        self.timers = []
        self.serial = 0
        self.out = []
        self.stop = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.families = [int(c) for c in args.family]
        self.dst = {4: (args.dst4, args.port), 6: (args.dst6, args.port)}

    def _stop(self, _sig, _frame):
        self.stop = True

    def at(self, when, func, *params):
        self.serial += 1
        heapq.heappush(self.timers, (when, self.serial, func, params))

    def say(self, *record):
        self.out.append(json.dumps(record))

    def flush(self):
        if self.out:
            sys.stdout.write("\n".join(self.out) + "\n")
            sys.stdout.flush()
            self.out = []

    def socket(self, family, kind, sport=0):
        s = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)
        s.setblocking(False)
        if sport:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("0.0.0.0" if family == 4 else "::", sport))
        return s

    def run(self, finish):
        end = now() + self.args.seconds if self.args.seconds else None
        flushed = now()
        while not self.stop and (end is None or now() < end):
            t = now()
            while self.timers and self.timers[0][0] <= t:
                _, _, func, params = heapq.heappop(self.timers)
                func(*params)
            wait = min(0.1, max(0, self.timers[0][0] - now())) if self.timers else 0.1
            for key, _ in self.sel.select(wait):
                key.data()
            if t - flushed > 0.1:
                self.flush()
                flushed = t
        finish()
        self.flush()


def body(data):
    head, _, rest = data.partition(b"\r\n\r\n")
    return rest.decode(errors="replace").strip() if head.startswith(b"HTTP/1.1 200") else None


class Probe:
    """One fresh connection."""
    open = {}    # (family, sport) -> Probe

    def __init__(self, loop, family, sport):
        self.loop, self.family, self.sport = loop, family, sport
        self.start, self.connected, self.data = now(), None, b""
        self.taken = False    # the port belongs to what an earlier load left behind
        try:
            self.sock = loop.socket(family, socket.SOCK_STREAM, sport)
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                self.taken = True
                return
            raise
        self.open[family, sport] = self
        rc = self.sock.connect_ex(loop.dst[family])
        if rc == errno.EADDRNOTAVAIL:
            self.taken = True
            return self.close()
        if rc not in (0, errno.EINPROGRESS):
            return self.done(os.strerror(rc))
        loop.sel.register(self.sock, selectors.EVENT_WRITE, self.writable)
        loop.at(self.start + loop.args.timeout, self.expire)

    def expire(self):
        if self.open.get((self.family, self.sport)) is self:
            self.done("timeout")

    def writable(self):
        err = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if err:
            return self.done(os.strerror(err))
        self.connected = now()
        try:
            self.sock.send(REQUEST_ONCE)
        except OSError as exc:
            return self.done(exc.strerror)
        self.loop.sel.modify(self.sock, selectors.EVENT_READ, self.readable)

    def readable(self):
        try:
            chunk = self.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as exc:
            return self.done(exc.strerror)
        if chunk:
            self.data += chunk
            return
        name = body(self.data)
        self.done(None if name else "bad answer", name)

    def done(self, error, server=None):
        t = now()
        ms = lambda x: None if x is None else round((x - self.start) * 1000, 1)
        self.loop.say("p", round(self.start, 4), self.family, self.sport, ms(self.connected), ms(t),
                      server, error)
        self.close()

    def close(self):
        self.open.pop((self.family, self.sport), None)
        try:
            self.loop.sel.unregister(self.sock)
        except (KeyError, ValueError):
            pass
        self.sock.close()


def pool(args, families):
    first, count = (int(x) for x in args.ports.split(":"))
    return [(f, first + i) for i in range(count) for f in families]


def probe(args):
    loop = Loop(args)
    todo = pool(args, loop.families)
    start = now()
    state = {"n": 0}
    taken = {}    # with --once: key -> how long it is tried again

    def attempt(key):
        if not Probe(loop, *key).taken or not args.once:
            taken.pop(key, None)
        elif now() < taken.setdefault(key, now() + TAKEN_S * SLOW):
            loop.at(now() + 0.1, attempt, key)
        else:
            del taken[key]
            loop.say("p", round(now(), 4), *key, None, None, None, "the port is taken at the client")

    def tick():
        n = state["n"]
        if args.once and n >= len(todo):
            if Probe.open or taken:
                loop.at(now() + 0.02, tick)
            else:
                loop.stop = True
            return
        key = todo[n % len(todo)]
        if key not in Probe.open:
            attempt(key)
        state["n"] += 1
        loop.at(max(start + state["n"] / args.rate, now() - 0.05), tick)

    def finish():
        for p in list(Probe.open.values()):
            if now() - p.start > 0.3 * SLOW:
                p.done("unanswered")
            else:
                p.close()

    tick()
    loop.run(finish)


class Held:
    """One long-lived connection."""

    def __init__(self, loop, ident, family):
        self.loop, self.id, self.family = loop, ident, family
        self.server, self.requests, self.slowest, self.data = None, 0, 0.0, b""
        self.sent = None
        self.sock = loop.socket(family, socket.SOCK_STREAM)
        rc = self.sock.connect_ex(loop.dst[family])
        if rc not in (0, errno.EINPROGRESS):
            return self.lost(os.strerror(rc))
        loop.sel.register(self.sock, selectors.EVENT_WRITE, self.writable)

    def writable(self):
        err = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if err:
            return self.lost(os.strerror(err))
        self.loop.sel.modify(self.sock, selectors.EVENT_READ, self.readable)
        self.ask()

    def ask(self):
        if self.sock is None:
            return
        self.sent = now()
        try:
            self.sock.send(REQUEST_KEEP)
        except OSError as exc:
            self.lost(exc.strerror)

    def readable(self):
        try:
            chunk = self.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as exc:
            return self.lost(exc.strerror)
        if not chunk:
            return self.lost("closed by server")
        self.data += chunk
        if b"\r\n\r\n" not in self.data or not self.data.endswith(b"\n"):
            return
        name = body(self.data)
        if not name:
            return    # the body is still to come
        self.data = b""
        self.answered(name)

    def answered(self, name):
        t, ms = now(), (now() - self.sent) * 1000
        if self.server is None:
            sport = self.sock.getsockname()[1]
            self.loop.say("c", round(t, 4), self.id, self.family, sport, name)
        elif self.server != name:
            self.loop.say("m", round(t, 4), self.id, self.server, name)
        if ms > 150 * SLOW:
            self.loop.say("s", round(self.sent, 4), self.id, round(ms, 1), name)
        self.server, self.slowest = name, max(self.slowest, ms)
        self.requests += 1
        self.loop.at(max(t, self.sent + self.loop.args.interval), self.ask)
        self.sent = None

    def lost(self, error):
        self.loop.say("x", round(now(), 4), self.id, error)
        self.end()
        self.loop.at(now() + 0.2, self.again)

    def again(self):
        HELD[self.id] = Held(self.loop, self.id, self.family)

    def end(self):
        if self.sock is None:
            return
        waiting = round((now() - self.sent) * 1000, 1) if self.sent else None
        self.loop.say("e", round(now(), 4), self.id, self.requests, round(self.slowest, 1), self.server,
                      waiting)
        try:
            self.loop.sel.unregister(self.sock)
        except (KeyError, ValueError):
            pass
        if waiting is not None and waiting > 300 * SLOW:
            # Nobody is there: do not leave a socket behind that goes on sending its FIN.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.sock = None


HELD = {}


def hold(args):
    loop = Loop(args)

    def start(ident):
        HELD[ident] = Held(loop, ident, loop.families[ident % len(loop.families)])

    t = now()
    for i in range(args.conns):
        loop.at(t + i * args.interval / args.conns, start, i)
    loop.run(lambda: [h.end() for h in list(HELD.values())])


def udp(args):
    loop = Loop(args)
    todo = pool(args, loop.families)
    socks, waiting = {}, {}
    start = now()
    state = {"n": 0}

    def readable(key):
        try:
            data = socks[key].recv(65535)
        except OSError:
            return
        name, _, text = data.decode(errors="replace").partition(" ")
        sent = waiting.pop(text, None)
        if sent is not None:
            loop.say("u", round(sent, 4), *key, round((now() - sent) * 1000, 1), name, None)

    def expire(text, key):
        sent = waiting.pop(text, None)
        if sent is not None:
            loop.say("u", round(sent, 4), *key, None, None, None)

    def tick():
        n = state["n"]
        if args.once and n >= len(todo):
            loop.stop = not waiting
            loop.at(now() + 0.02, tick)
            return
        key = todo[n % len(todo)]
        if key not in socks:
            s = socks[key] = loop.socket(key[0], socket.SOCK_DGRAM, key[1])
            s.connect(loop.dst[key[0]])
            loop.sel.register(s, selectors.EVENT_READ, lambda: readable(key))
        text, t = str(n).ljust(args.size, "."), now()
        waiting[text] = t
        loop.at(t + 0.5 * SLOW, expire, text, key)
        try:
            socks[key].send(text.encode())
        except OSError:
            pass    # counts as lost
        state["n"] += 1
        loop.at(max(start + state["n"] / args.rate, now() - 0.05), tick)

    tick()
    loop.run(lambda: None)


def one_transfer(args, family, sport, data):
    server, start = None, now()
    try:
        with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.settimeout(args.timeout)
            s.bind(("", sport))
            s.connect((args.dst4 if family == 4 else args.dst6, args.port))
            s.sendall(struct.pack("!II", len(data), args.down) + data)
            with s.makefile("rb") as f:
                name, digest = f.readline().decode().split()
                got = f.read(args.down)
        want = (data * (args.down // len(data) + 1))[:args.down]
        same = digest == hashlib.sha256(data).hexdigest() and got == want
        server, error = name, None if same else "other content"
    except (OSError, ValueError) as exc:
        error = str(exc) or "nothing came back"
    print(json.dumps(["t", round(start, 4), family, sport, round(now() - start, 3), server, error]),
          flush=True)


def transfer(args):
    data = os.urandom(max(1, args.up))
    threads = [threading.Thread(target=one_transfer, args=(args, f, sport, data))
               for f, sport in pool(args, [int(c) for c in args.family])]
    for t in threads:
        t.start()
        time.sleep(1 / args.rate)
    for t in threads:
        t.join()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["probe", "hold", "udp", "transfer"])
    p.add_argument("--dst4", default="10.77.0.250")
    p.add_argument("--dst6", default="fd77::250")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--family", default="46")
    p.add_argument("--ports", default="20000:400", help="FIRST:COUNT source ports")
    p.add_argument("--rate", type=float, default=200)
    p.add_argument("--once", action="store_true", help="each source port once, then end")
    p.add_argument("--timeout", type=float, default=8)
    p.add_argument("--size", type=int, default=0, help="of a datagram, at least")
    p.add_argument("--up", type=int, default=1 << 20)
    p.add_argument("--down", type=int, default=1 << 20)
    p.add_argument("--conns", type=int, default=60)
    p.add_argument("--interval", type=float, default=0.15)
    p.add_argument("--seconds", type=float, default=0)
    args = p.parse_args()
    args.rate, args.interval, args.timeout = args.rate / SLOW, args.interval * SLOW, args.timeout * SLOW
    args.port = args.port or (5353 if args.what in ("udp", "transfer") else 80)
    {"probe": probe, "hold": hold, "udp": udp, "transfer": transfer}[args.what](args)


if __name__ == "__main__":
    main()

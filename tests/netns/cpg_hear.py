# SPDX-License-Identifier: GPL-2.0-or-later
"""cpg_hear.py GROUP SECONDS: joins a closed process group and counts what is said there.

Prints {"from name": {"text of the message's type": [messages, octets]}} as JSON.
"""

import collections
import ctypes
import json
import os
import re
import struct
import sys
import time

from cpg_say import Callbacks, Name

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../clusterd/core/msg.h")


def kinds():
    """{number: name} of messages, as the header numbers them."""
    with open(HEADER) as f:
        return dict(enumerate(re.findall(r'^\tX\(\w+,\s*"([^"]+)"', f.read(), re.M), 1))


def main():
    cpg, handle, known = ctypes.CDLL("libcpg.so.4"), ctypes.c_uint64(), kinds()
    found = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    start = None

    def deliver(_handle, _group, node, _pid, msg, size):
        data = ctypes.string_at(msg, size)
        if start and size > 8:
            magic, _version, kind = struct.unpack_from("!IBB", data)
            if magic != 0x4344474d:
                sys.exit("what is said there is not of clusterd")
            n = found[f"n{node}"][known.get(kind, str(kind))]
            n[0] += 1
            n[1] += size

    types = dict(Callbacks._fields_)
    callbacks = Callbacks(types["deliver"](deliver), types["confchg"](lambda *_: None))
    name = Name(len(sys.argv[1]), sys.argv[1].encode())
    if cpg.cpg_initialize(ctypes.byref(handle), ctypes.byref(callbacks)) != 1:
        sys.exit("no corosync")
    if cpg.cpg_join(handle, ctypes.byref(name)) != 1:
        sys.exit("cannot join")
    # What our own coming makes them say is not what is asked for.
    for begin, seconds in ((None, 2), (time.monotonic(), float(sys.argv[2]))):
        start, end = begin, time.monotonic() + seconds
        while time.monotonic() < end:
            if cpg.cpg_dispatch(handle, 2) != 1:
                sys.exit("the group is gone")
            time.sleep(0.05)
    print(json.dumps(found))
    cpg.cpg_leave(handle, ctypes.byref(name))
    cpg.cpg_finalize(handle)


if __name__ == "__main__":
    main()

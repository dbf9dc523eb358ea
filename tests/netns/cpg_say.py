# SPDX-License-Identifier: GPL-2.0-or-later
"""cpg_say.py GROUP: joins a closed process group and says all sorts of nonsense in it."""

import ctypes
import os
import random
import struct
import sys
import time


class Name(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("value", ctypes.c_char * 128)]


class Callbacks(ctypes.Structure):
    _fields_ = [("deliver", ctypes.CFUNCTYPE(
                    None, ctypes.c_uint64, ctypes.POINTER(Name), ctypes.c_uint32, ctypes.c_uint32,
                    ctypes.c_void_p, ctypes.c_size_t)),
                ("confchg", ctypes.CFUNCTYPE(
                    None, ctypes.c_uint64, ctypes.POINTER(Name), ctypes.c_void_p, ctypes.c_size_t,
                    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t))]


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("size", ctypes.c_size_t)]


HEARD = []


def main():
    cpg = ctypes.CDLL("libcpg.so.4")
    handle = ctypes.c_uint64()

    def deliver(_handle, _group, _node, _pid, msg, size):
        HEARD.append(ctypes.string_at(msg, size))

    types = dict(Callbacks._fields_)
    callbacks = Callbacks(types["deliver"](deliver), types["confchg"](lambda *_: None))
    name = Name(len(sys.argv[1]), sys.argv[1].encode())

    def check(rc, what):
        if rc != 1:
            sys.exit(f"{what}: {rc}")

    def say(data):
        vec = Iovec(data, len(data))
        while True:
            rc = cpg.cpg_mcast_joined(handle, 2, ctypes.byref(vec), 1)    # 2: agreed order
            if rc != 6:    # 6: try again
                return check(rc, "mcast")
            time.sleep(0.01)

    check(cpg.cpg_initialize(ctypes.byref(handle), ctypes.byref(callbacks)), "initialize")
    check(cpg.cpg_join(handle, ctypes.byref(name)), "join")
    cpg.cpg_dispatch(handle, 1)
    rnd = random.Random(7)
    for size in (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 64, 1000, 60000):
        say(os.urandom(size))
        say(b"\0" * size)
    time.sleep(0.3)
    cpg.cpg_dispatch(handle, 2)
    real = [m for m in HEARD if m][:40]
    # What was really said in the group meanwhile, and our own noise with plausible heads.
    for version in range(4):
        for kind in range(32):
            say(struct.pack("!BBH", version, kind, 8) + os.urandom(4))
            say(struct.pack("<HHI", version, kind, 8) + os.urandom(rnd.randrange(64)))
    for msg in real:
        cut = bytearray(msg)
        cut[rnd.randrange(len(cut))] ^= 1 << rnd.randrange(8)
        say(bytes(cut[:rnd.randrange(1, len(cut) + 1)]))
    check(cpg.cpg_leave(handle, ctypes.byref(name)), "leave")
    cpg.cpg_finalize(handle)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What TCP itself costs on a link: two processes send each other BYTES at once, in pieces of 256 KiB, and do nothing with them.

    bare_tcp.py 0 ADDRESS BYTES     # at ADDRESS; prints a line of JSON: seconds, and core seconds of the whole machine
    bare_tcp.py 1 ADDRESS BYTES     # at the other end

Medians of five rounds. Core seconds are those that the kernel counts as busy, interrupts and this program
included: nothing else may run meanwhile.
"""

import json
import os
import socket
import statistics
import sys
import threading
import time

PORT = 29410
PIECE = 1 << 18
ROUNDS = 5


def connected(rank, address):
    if rank == 0:
        with socket.create_server((address, PORT)) as server:
            server.settimeout(30)
            return server.accept()[0]
    for _ in range(100):
        try:
            return socket.create_connection((address, PORT))
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nobody answers at {address}:{PORT}")


def busy_seconds():
    with open("/proc/stat") as file:
        user, nice, system, _, _, hard, soft = map(int, file.readline().split()[1:8])
    return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")


def exchange(peer, count):
    out, into = memoryview(bytearray(PIECE)), memoryview(bytearray(PIECE))

    def send():
        left = count
        while left:
            left -= peer.send(out[: min(PIECE, left)])

    sender = threading.Thread(target=send)
    begun, busy = time.time(), busy_seconds()
    sender.start()
    left = count
    while left:
        got = peer.recv_into(into, min(PIECE, left))
        if got == 0:
            sys.exit("the other end is gone")
        left -= got
    sender.join()
    return time.time() - begun, busy_seconds() - busy


def main():
    rank, address, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with connected(rank, address) as peer:
        rounds = [exchange(peer, count) for _ in range(ROUNDS)]
    if rank == 0:
        seconds, core_seconds = (statistics.median(of) for of in zip(*rounds))
        print(json.dumps({"seconds": seconds, "core_seconds": core_seconds}))


if __name__ == "__main__":
    main()

"""Two ends of plain UDP that the link is checked with: ``receive``, and ``send COUNT SIZE HZ``.

A datagram carries its number and the time it was sent at; the receiver prints, as one line of JSON,
[number, delay in ns, arrival in ns] of each, once nothing has come for a second.
"""

import json
import socket
import struct
import sys
import time

STAMP = struct.Struct("<QQ")
HEADERS = 28
PORT = 9
SILENCE_S = 1.0


def receive() -> None:
    """Print "ready", then what came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 8 << 20)
        udp.bind(("0.0.0.0", PORT))
        print("ready", flush=True)
        came = []
        # Python 3.11's sockets have a time-out of their own; the first datagram may take longer.
        udp.settimeout(10 * SILENCE_S)
        while True:
            try:
                content = udp.recv(2048)
            except TimeoutError:
                break
            now = time.monotonic_ns()
            number, sent = STAMP.unpack_from(content)
            came.append((number, now - sent, now))
            if len(came) == 1:
                udp.settimeout(SILENCE_S)
    print(json.dumps(came), flush=True)


def send(address: str, count: int, size: int, hertz: float) -> None:
    """Send *count* datagrams of *size* bytes, headers included, *hertz* per second."""
    body = bytes(size - HEADERS - STAMP.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((address, PORT))
        began = time.monotonic_ns()
        for number in range(count):
            due = began + int(number * 1e9 / hertz)
            while (left := due - time.monotonic_ns()) > 0:
                if left > 200_000:
                    time.sleep((left - 100_000) / 1e9)
            udp.send(STAMP.pack(number, time.monotonic_ns()) + body)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive()
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))

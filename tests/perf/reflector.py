"""A controller that decides nothing: for each packet-in two flow-mods and a packet-out, made beforehand.

What the generator reaches against it is the most that it could show of any controller.
"""

from __future__ import annotations

import socket
import sys

from perf import wire
from perf.switch import TIMEOUT
from zethane.adapters.openflow.hotpath import write_packet_out, write_verified
from zethane.net.flowkey import TCP, FlowKey
from zethane.pipeline.verified import both_directions

_CHUNK = 1 << 18


def answers() -> tuple[bytes, bytes]:
    """The two flow-mods, and the packet-out without its frame, for one flow."""
    flow = wire.NewFlow(0)
    key = FlowKey(flow.client.ip, flow.server.ip, TCP, flow.source_port, wire.SERVICE_PORT)
    there, back = both_directions(key, 1, 2, 1, 2, 1)
    mods = b"".join(write_verified(way, 0, notify=True, lease=0, idle=300) for way in (back, there))
    frame = flow.frame
    return mods, write_packet_out(1, frame, 0)[: -len(frame)]


def reflect(connection: socket.socket) -> None:
    """Answer until the other end closes."""
    mods, head = answers()
    size, frame = len(wire.NewFlow(0).from_pipeline(1)), len(wire.NewFlow(0).frame)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    greeted = False
    while chunk := connection.recv(_CHUNK):
        rest += chunk
        if not greeted:
            if len(rest) < wire.HEADER.size:
                continue
            rest, greeted = rest[wire.HEADER.size :], True
        whole = len(rest) // size * size
        connection.sendall(b"".join(mods + head + rest[at - frame : at] for at in range(size, whole + 1, size)))
        rest = rest[whole:]


def main() -> int:
    """Listen on loopback, print the port, and serve one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(TIMEOUT)
            reflect(connection)
    return 0


if __name__ == "__main__":
    sys.exit(main())

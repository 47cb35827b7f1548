"""A bad network in one process: a proxy on the loopback that is slow, cuts, falls silent, or sends again.

It counts bytes in each direction from `arm` on, over all connections together, and does its fault at one byte.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

REQUEST, RESPONSE = "request", "response"
_PIECE = 65_536


@dataclass(frozen=True)
class Fault:
    """What happens at byte `after` of a direction: `cut` resets the connection, once; `silence` lets nothing more pass.

    `seconds` is the delay of every piece, in both directions.
    """

    kind: str = "pass"
    direction: str = REQUEST
    after: int = 0
    seconds: float = 0.0


class FaultProxy:
    """Carries connections from its own `port` to another one of the loopback."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._mutex = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.arm(Fault())
        self._threads[0].start()

    def arm(self, fault: Fault) -> None:
        """Count from nothing, and do this fault."""
        with self._mutex:
            self.fault, self.seen = fault, {REQUEST: 0, RESPONSE: 0}
            self._requests: dict[socket.socket, bytearray] = {}

    def forget_connections(self) -> None:
        """Reset every connection, as a router does that starts again."""
        with self._mutex:
            living = list(self._sockets)
        for each in living:
            self._reset(each)

    def send_again(self) -> int:
        """Send once more, on new connections, all that clients have sent since `arm`; gives how many bytes."""
        with self._mutex:
            streams = [bytes(stream) for stream in self._requests.values()]
        for stream in streams:
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                server.sendall(stream)
                server.settimeout(1.0)
                with suppress(TimeoutError, ConnectionResetError):
                    while server.recv(_PIECE):
                        pass
        return sum(map(len, streams))

    def close(self) -> None:
        """End every connection and every thread."""
        self._listener.close()
        self.forget_connections()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener], [], [], 0.2) if self._listener.fileno() >= 0 else ([], [], [])
            if self._listener.fileno() < 0:
                return
            if not ready:
                continue
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                continue  # the target is down, or this proxy ends
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._mutex:
                self._sockets |= {client, server}
                self._requests[client] = bytearray()
            for source, target, direction in ((client, server, REQUEST), (server, client, RESPONSE)):
                thread = threading.Thread(target=self._pump, args=(source, target, direction), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                fault, passing = self._judge(source, piece, direction)
                if fault.seconds:
                    time.sleep(fault.seconds)
                target.sendall(passing)
                if fault.kind == "cut" and len(passing) < len(piece):
                    break
            else:
                with suppress(OSError):
                    target.shutdown(socket.SHUT_WR)
                return
            self._reset(source)
            self._reset(target)

    def _judge(self, source: socket.socket, piece: bytes, direction: str) -> tuple[Fault, bytes]:
        """Say what is done with a piece, and give what of it passes."""
        with self._mutex:
            fault, before = self.fault, self.seen[direction]
            self.seen[direction] += len(piece)
            if direction == REQUEST:
                self._requests.setdefault(source, bytearray()).extend(piece)
            if fault.kind == "pass" or fault.direction != direction or before + len(piece) <= fault.after:
                return Fault(seconds=fault.seconds), piece
            if fault.kind == "cut":
                self.fault = Fault()
            return fault, piece[: max(0, fault.after - before)]

    def _reset(self, each: socket.socket) -> None:
        with suppress(OSError):
            # Closed with a reset, not with a polite end.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            each.close()
        with self._mutex:
            self._sockets.discard(each)


@contextmanager
def fault_proxy(target: int) -> Iterator[FaultProxy]:
    """Run a proxy to a port of the loopback."""
    proxy = FaultProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()

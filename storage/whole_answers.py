"""HTTP answers whose headers came whole (RFC 9112 §2.1: they end with an empty line).

Python's client takes the end of a connection for the end of the headers: of an answer that was cut inside them it would
believe a shorter date, a shorter version id, or the absence of a lock.
"""

from __future__ import annotations

import http.client
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _Lines:
    """The stream of a response, which remembers that a line was asked for after its end."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.ended = stream, False

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self.stream.readline(limit)
        self.ended = self.ended or not line
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _WholeResponse(http.client.HTTPResponse):
    def begin(self) -> None:
        """Read the headers; http.client.IncompleteRead when the connection ended inside them."""
        lines = _Lines(self.fp)
        self.fp = lines  # type: ignore[assignment] # it reads as the stream does
        super().begin()
        if lines.ended:
            raise http.client.IncompleteRead(b"")
        if self.fp is lines:  # type: ignore[comparison-overlap] # unless the answer has no more to give
            self.fp = lines.stream


class _Connection(HTTPConnection):
    response_class = _WholeResponse


class _SecureConnection(HTTPSConnection):
    response_class = _WholeResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


WHOLE_ANSWERS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _SecurePool}
"""For `pool_classes_by_scheme` of a urllib3.PoolManager: an answer cut inside its headers is then a ProtocolError."""

"""The HTTP door of the supervision: bundles and answers in, status and challenges out.

Deny by default: six paths, three of them take a body.
"""

from __future__ import annotations

import json
import re
import sqlite3
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from minutier import challenge, journal_stamp
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.trace_bundle import MAX_BYTES
from supervision.challenges import standing
from supervision.notices import send_due
from supervision.page import page, status
from supervision.watch import Watch, look, receive, receive_answer, receive_stamp

_CHALLENGE = re.compile(r"/v1/archives/([a-z0-9][a-z0-9-]{0,62})/challenge\Z")
_TAKEN = re.compile(r"/v1/archives/([a-z0-9][a-z0-9-]{0,62})/(bundles|answers|stamps)\Z")
_TAKERS: dict[str, tuple[Callable[[Watch, str, bytes], bytes], int]] = {
    "bundles": (receive, MAX_BYTES),
    "answers": (receive_answer, challenge.MAX_BYTES),
    "stamps": (receive_stamp, journal_stamp.MAX_BYTES),
}
"""What is taken under which name, and its most bytes."""
_TICK_SECONDS = 10.0
_PATIENCE_SECONDS = 60


class Door(ThreadingHTTPServer):
    """The server and its clock: every ten seconds it looks for silence and sends the notices that are due."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], watch: Watch, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__(address, _Handler)
        self.watch = watch
        # One bundle at a time: each is judged against the head that the one before left.
        self.receiving = threading.Lock()
        self._stopping = threading.Event()
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def serve(self, *, tick: float = _TICK_SECONDS, said: Callable[[str], None] = lambda _line: None) -> None:
        """Serve until `stop`; looks at the deadlines every `tick` seconds."""
        ticking = threading.Thread(target=self._tick, args=(tick, said), daemon=True)
        ticking.start()
        self.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Stop serving; what was acknowledged is kept."""
        self._stopping.set()
        self.shutdown()
        self.server_close()

    def _tick(self, seconds: float, said: Callable[[str], None]) -> None:
        while not self._stopping.wait(seconds):
            try:
                look(self.watch)
                send_due(self.watch)
            except sqlite3.Error as error:
                said(f"the register does not answer: {error}")


class _Handler(BaseHTTPRequestHandler):
    server: Door
    server_version, sys_version = "minutier-supervision", ""
    timeout = _PATIENCE_SECONDS

    def do_GET(self) -> None:
        """Answer with the status page, or the status as JSON."""
        if self.path == "/":
            self._answer(200, page(self.server.watch), "text/html; charset=utf-8")
        elif self.path == "/v1/status":
            self._json(200, status(self.server.watch))
        elif match := _CHALLENGE.match(self.path):
            asked = standing(self.server.watch.register, match[1])
            if asked is None:
                self._answer(204, b"", "application/json")
            else:
                self._answer(200, challenge.encode_challenge(asked), "application/json")
        else:
            self._json(404, {"code": "NOT_FOUND", "message": "There is nothing here."})

    def do_POST(self) -> None:
        """Take a bundle, an answer to a challenge, or a time-stamp of the journal."""
        match = _TAKEN.match(self.path)
        length = self.headers.get("Content-Length", "")
        if match is None or not length.isascii() or not length.isdigit():
            self._json(404, {"code": "NOT_FOUND", "message": "A bundle is sent to /v1/archives/NAME/bundles."})
            return
        take, most = _TAKERS[match[2]]
        if int(length) > most:
            self._json(413, {"code": "TOO_LARGE", "message": f"It has at most {most} bytes."})
        else:
            self._take(take, match[1], self.rfile.read(int(length)))

    def _take(self, take: Callable[[Watch, str, bytes], bytes], name: str, data: bytes) -> None:
        try:
            with self.server.receiving:
                self._answer(200, take(self.server.watch, name, data), "application/json")
        except BadInputError as error:
            self._json(404, {"code": error.code, "message": error.message})
        except IntegrityFailureError as error:
            self._json(409, {"code": error.code, "message": error.message})
        except sqlite3.Error:
            self._json(503, {"code": "NOT_KEPT", "message": "It could not be kept: send it again."})

    def _json(self, code: int, value: dict[str, Any]) -> None:
        self._answer(code, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class has
        """Say nothing: what matters is in the register."""

"""Client of the ClamAV daemon: one INSTREAM scan per file. Only an exact `OK` or `FOUND` is a verdict."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from minutier.errors import ServiceUnavailableError

_CHUNK = 1 << 17
_MAX_REPLY = 4096
_REPLY = re.compile(rb"stream: (?:(OK)|(.+) FOUND)\Z", re.DOTALL)
# ClamAV reports its own limits as if they were finds when AlertExceedsMax is on.
_LIMIT = "Heuristics.Limits.Exceeded"


@dataclass(frozen=True, slots=True)
class Scan:
    """Result of one scan: the name of what was found ("" = clean)."""

    found: str


def signatures_of(address: str, *, timeout: float = 10.0) -> datetime | None:
    """Ask when the daemon's signatures were made; None when it does not say (it has only its operator's own)."""
    reply = _exchange(address, b"zVERSION\0", None, timeout)
    try:
        # As ctime(3) writes it, in the daemon's local time: an hour or two matter to nobody here.
        return datetime.strptime(reply.decode("ascii").split("/", 2)[2], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except (ValueError, IndexError):
        return None


def version(address: str, *, timeout: float = 10.0) -> str:
    """Ask engine and signature versions: `clamav 1.4.6/27500`. ServiceUnavailableError `ANTIVIRUS_DOWN` on failure."""
    reply = _exchange(address, b"zVERSION\0", None, timeout)
    match = re.match(rb"ClamAV ([\w.+-]+(?:/\d+)?)", reply)
    if match is None:
        raise _down(address, f"it answered {reply[:80]!r} to VERSION")
    return f"clamav {match.group(1).decode()}"


def scan(path: Path, address: str, *, timeout: float = 60.0) -> Scan:
    """Send the file to the daemon and give its verdict.

    Raises ServiceUnavailableError: `ANTIVIRUS_DOWN` when it does not answer or its answer is not a verdict,
    `ANTIVIRUS_LIMIT` when the file is over a limit of the daemon (the file was then not scanned to its end).
    """
    reply = _exchange(address, b"zINSTREAM\0", path, timeout)
    match = _REPLY.match(reply)
    if match is None:
        if b"size limit exceeded" in reply:
            raise _over_limit(path)
        raise _down(address, f"it answered {reply[:80]!r}")
    found = (match.group(2) or b"").decode("utf-8", "replace")
    if found.startswith(_LIMIT):
        raise _over_limit(path)
    return Scan(found)


def _down(address: str, reason: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "ANTIVIRUS_DOWN",
        f"The antivirus at {address} gave no verdict: {reason}.",
        remedy="Start clamd or correct MINUTIER_CLAMD, then try again; the document waits.",
    )


def _over_limit(path: Path) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "ANTIVIRUS_LIMIT",
        f"The antivirus did not scan the whole file ({path.stat().st_size} bytes): it is over a limit of the daemon.",
        remedy="Raise StreamMaxLength, MaxFileSize and MaxScanSize in clamd.conf to the deposit limit, then try again.",
    )


def _connect(address: str, timeout: float) -> socket.socket:
    """Open `unix:/path`, `/path`, `tcp:host:port` or `host:port`."""
    plain = address.removeprefix("unix:").removeprefix("tcp:")
    if plain.startswith("/"):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(timeout)
        try:
            link.connect(plain)
        except OSError:
            link.close()
            raise
        return link
    host, _, port = plain.rpartition(":")
    if not host or not port.isdigit():
        raise _down(address, "an address is unix:/path or host:port")
    return socket.create_connection((host.strip("[]"), int(port)), timeout)


def _exchange(address: str, command: bytes, path: Path | None, timeout: float) -> bytes:
    """Send one command (and a file in chunks) and read the reply up to its NUL."""
    try:
        with _connect(address, timeout) as link:
            try:
                link.sendall(command)
                if path is not None:
                    _send_file(link, path)
            except (BrokenPipeError, ConnectionResetError):
                pass  # over a limit the daemon closes early; its reason is still to be read
            return _read_reply(link)
    except (OSError, ValueError) as error:
        raise _down(address, str(error)) from error


def _send_file(link: socket.socket, path: Path) -> None:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            link.sendall(struct.pack(">I", len(chunk)) + chunk)
    link.sendall(struct.pack(">I", 0))


def _read_reply(link: socket.socket) -> bytes:
    reply = b""
    while len(reply) < _MAX_REPLY and not reply.endswith(b"\0"):
        piece = link.recv(_MAX_REPLY)
        if not piece:
            break
        reply += piece
    return reply.rstrip(b"\0\n")

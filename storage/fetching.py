"""Bytes from an address that a certificate names: bounded in size and time, and never from inside our own network.

Whoever writes a certificate chooses these addresses. So: http or https, no password in the address, no redirection; the
name is resolved once, every address of it must be public, and the connection goes to the one that was looked at.
Hosts that the operator named may be anywhere.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Collection
from functools import cache
from urllib.parse import SplitResult, urlsplit

import httpx

from minutier.errors import ServiceUnavailableError

_PORTS = {"http": 80, "https": 443}


@cache
def tls() -> ssl.SSLContext:
    """Read the roots of the system once: it takes longer than a token."""
    return ssl.create_default_context()


def read_bounded(reply: httpx.Response, limit: int, deadline: float) -> bytes:
    """Read a body of at most `limit` bytes before `deadline` (monotonic seconds): a slow sender is cut off too.

    Raises httpx.ReadTimeout, or ValueError when there is more.
    """
    body = bytearray()
    for piece in reply.iter_bytes():
        body += piece
        if len(body) > limit:
            raise ValueError(f"sent more than {limit} bytes")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("too slow")
    return bytes(body)


def fetch(
    url: str,
    *,
    allowed: Collection[str],
    timeout: float,
    limit: int,
    body: bytes | None = None,
    content_type: str = "",
) -> bytes:
    """GET an address, or POST `body` to it, and give what came with status 200.

    `allowed` hosts may have private addresses, `timeout` is in seconds for each wait and twice that in all, `limit` in
    bytes. Raises ServiceUnavailableError (`REVOCATION_SOURCE`) whatever went wrong: the caller tries again later.
    """
    deadline = time.monotonic() + 2 * timeout
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or _PORTS.get(parts.scheme, 0)
        address = _address(parts, host, port, allowed)
        bracketed = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{bracketed}:{port}", fragment="").geturl()
        headers = {"Host": parts.netloc} | ({"Content-Type": content_type} if content_type else {})
        method = "GET" if body is None else "POST"
        with (
            httpx.Client(timeout=timeout, verify=tls(), follow_redirects=False) as client,
            client.stream(method, target, content=body, headers=headers, extensions={"sni_hostname": host}) as reply,
        ):
            if reply.status_code != 200:
                raise _failed(url, f"answered {reply.status_code}")
            return read_bounded(reply, limit, deadline)
    except (httpx.HTTPError, OSError) as error:
        raise _failed(url, str(error) or type(error).__name__) from error
    except (ValueError, httpx.InvalidURL) as error:
        raise _failed(url, str(error)) from error


def _address(parts: SplitResult, host: str, port: int, allowed: Collection[str]) -> str:
    """Give the address to connect to; ValueError when the address may not be asked."""
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
        raise ValueError("is not a plain http or https address")
    found = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if host not in allowed:
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            if not (mapped or address).is_global or (mapped or address).is_multicast:
                raise ValueError("is not on the public network, and its host is not in revocation_hosts")
    return found[0]


def _failed(url: str, reason: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "REVOCATION_SOURCE", f"{url}: {reason}.", remedy="Nothing is lost: it is asked again each night."
    )

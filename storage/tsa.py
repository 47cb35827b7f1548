"""Time-stamp authority over HTTP (RFC 3161 §3.4). It only carries bytes: acceptance is minutier.timestamp's."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import httpx
from cryptography import x509

from minutier.errors import IntegrityFailureError, MinutierError, ServiceUnavailableError
from minutier.timestamp import TimestampToken, accept_response, build_request

_MAX_REPLY = 1 << 20


@cache
def _tls() -> ssl.SSLContext:
    """Read the roots of the system once: it takes longer than a token."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Stamped:
    """A verified token and the URL of the authority that gave it."""

    token: TimestampToken
    url: str


@dataclass(frozen=True)
class TimestampAuthorities:
    """One or more authorities, asked in order; the first token that passes all checks is used."""

    urls: tuple[str, ...]
    roots: tuple[x509.Certificate, ...]
    intermediates: Sequence[x509.Certificate] = ()
    crls: Sequence[x509.CertificateRevocationList] = ()
    policy: str | None = None
    timeout: float = 10.0
    tolerance: timedelta = timedelta(seconds=60)

    def stamp(
        self,
        digest: bytes,
        clock: Callable[[], datetime],
        previous: Mapping[str, datetime] | None = None,
        *,
        algorithm: str = "sha256",
    ) -> Stamped:
        """Get a verified token over a digest, and the URL it came from.

        `previous` gives, by URL, the genTime of the last token known before this call: a later one is not older.

        Raises ServiceUnavailableError (`TSA_DOWN`) when none answers, IntegrityFailureError when the answers were
        refused by the checks.
        """
        failures: list[str] = []
        refused: MinutierError | None = None
        for url in self.urls:
            nonce = secrets.randbits(64) | 1 << 63
            try:
                response = self._ask(url, build_request(digest, nonce, algorithm))
            except httpx.HTTPError as error:
                failures.append(f"{url}: {str(error) or type(error).__name__}")
                continue
            except ServiceUnavailableError as error:
                failures.append(error.message)
                continue
            try:
                token = accept_response(
                    response,
                    digest,
                    nonce,
                    clock(),
                    policy=self.policy,
                    roots=self.roots,
                    intermediates=self.intermediates,
                    crls=self.crls,
                    not_before=(previous or {}).get(url),
                    tolerance=self.tolerance,
                    algorithm=algorithm,
                )
            except IntegrityFailureError as error:
                refused = error
                failures.append(f"{url}: {error.message}")
                continue
            return Stamped(token, url)
        if refused is not None:
            raise refused
        raise ServiceUnavailableError(
            "TSA_DOWN",
            f"No time-stamp authority answers ({'; '.join(failures) or 'none is configured'}).",
            remedy="Nothing is lost: the deposit waits, sealed. Run the same command again when it answers.",
        )

    def _ask(self, url: str, request: bytes) -> bytes:
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        with httpx.stream("POST", url, content=request, headers=headers, timeout=self.timeout, verify=_tls()) as reply:
            kind = reply.headers.get("content-type", "").split(";")[0].strip().lower()
            if reply.status_code != 200 or kind != "application/timestamp-reply":
                raise ServiceUnavailableError(
                    "TSA_DOWN", f"{url} answered {reply.status_code} {kind}.", remedy="Try again later."
                )
            body = bytearray()
            for piece in reply.iter_bytes():
                body += piece
                if len(body) > _MAX_REPLY:
                    raise ServiceUnavailableError(
                        "TSA_DOWN", f"{url} sent more than {_MAX_REPLY} bytes.", remedy="Check the address."
                    )
        return bytes(body)

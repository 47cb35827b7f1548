"""Time-stamp authority over HTTP (RFC 3161 §3.4). It only carries bytes: acceptance is minutier.timestamp's."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from cryptography import x509

from minutier.errors import IntegrityFailureError, MinutierError, ServiceUnavailableError
from minutier.timestamp import TimestampToken, accept_response, build_request, check_order, check_token
from storage.fetching import read_bounded, tls
from storage.revocation_source import RevocationItem, RevocationSource, answers_of, lists_of
from storage.seam import crossing

_MAX_REPLY = 1 << 20


@dataclass(frozen=True, slots=True)
class Stamped:
    """A verified token, who gave it, and what says that its certificates stand.

    `silent` has one sentence for each address of revocation data that did not answer: it is asked again later.
    """

    token: TimestampToken
    url: str
    revocation: tuple[RevocationItem, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimestampAuthorities:
    """One or more authorities, asked in order; the first token that passes all checks is used.

    `crls` are lists at hand, `source` collects the others beside each token. `timeout` is in seconds for each wait, and
    twice that for a whole answer.
    """

    urls: tuple[str, ...]
    roots: tuple[x509.Certificate, ...]
    intermediates: Sequence[x509.Certificate] = ()
    crls: Sequence[x509.CertificateRevocationList] = ()
    policy: str | None = None
    timeout: float = 10.0
    tolerance: timedelta = timedelta(seconds=60)
    source: RevocationSource | None = None

    def stamp(
        self,
        digest: bytes,
        clock: Callable[[], datetime],
        previous: Mapping[str, datetime] | None = None,
        *,
        algorithm: str = "sha256",
        sealed_at: datetime | None = None,
    ) -> Stamped:
        """Get a verified token over a digest (`algorithm` as in `hashlib`), with the revocation data of that moment.

        `previous` gives, by URL, the genTime of the last token known before this call: a later one is not older.
        `sealed_at` is the journal's time of the last thing that the digest is about: the token is not older either.

        Raises ServiceUnavailableError (`TSA_DOWN`) when none answers, IntegrityFailureError when the answers were
        refused by the checks.
        """
        failures: list[str] = []
        refused: MinutierError | None = None
        for url in self.urls:
            try:
                token = self._accepted(url, digest, clock, (previous or {}).get(url), algorithm)
                check_order(token, after=sealed_at, before=clock(), tolerance=self.tolerance)
                return self._with_revocation(token, url)
            except httpx.HTTPError as error:
                failures.append(f"{url}: {str(error) or type(error).__name__}")
            except ServiceUnavailableError as error:
                failures.append(error.message)
            except IntegrityFailureError as error:
                refused = error
                failures.append(f"{url}: {error.message}")
        if refused is not None:
            raise refused
        raise ServiceUnavailableError(
            "TSA_DOWN",
            f"No time-stamp authority answers ({'; '.join(failures) or 'none is configured'}).",
            remedy="Nothing is lost: the deposit waits, sealed, and is taken up again when one answers.",
        )

    def _accepted(
        self, url: str, digest: bytes, clock: Callable[[], datetime], not_before: datetime | None, algorithm: str
    ) -> TimestampToken:
        nonce = secrets.randbits(64) | 1 << 63
        with crossing("tsa", "stamp", url):
            response = self._ask(url, build_request(digest, nonce, algorithm))
        return accept_response(
            response,
            digest,
            nonce,
            clock(),
            policy=self.policy,
            roots=self.roots,
            intermediates=self.intermediates,
            tolerance=self.tolerance,
            algorithm=algorithm,
            crls=self.crls,
            not_before=not_before,
        )

    def _with_revocation(self, token: TimestampToken, url: str) -> Stamped:
        """Collect what speaks of the token's certificates now, and judge the token again under it (check 8)."""
        if self.source is None:
            return Stamped(token, url)
        found = self.source.collect(token.path, token.gen_time)
        judged = check_token(
            token.der,
            token.imprint,
            self.roots,
            (*self.crls, *lists_of(found.items)),
            self.policy,
            intermediates=self.intermediates,
            algorithm=token.imprint_algorithm,
            ocsp=answers_of(found.items),
        )
        return Stamped(judged, url, found.items, found.failures)

    def _ask(self, url: str, request: bytes) -> bytes:
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        deadline = time.monotonic() + 2 * self.timeout
        with httpx.stream("POST", url, content=request, headers=headers, timeout=self.timeout, verify=tls()) as reply:
            kind = reply.headers.get("content-type", "").split(";")[0].strip().lower()
            if reply.status_code != 200 or kind != "application/timestamp-reply":
                raise ServiceUnavailableError(
                    "TSA_DOWN", f"{url} answered {reply.status_code} {kind}.", remedy="Try again later."
                )
            try:
                return read_bounded(reply, _MAX_REPLY, deadline)
            except ValueError as error:
                raise ServiceUnavailableError("TSA_DOWN", f"{url} {error}.", remedy="Check the address.") from error

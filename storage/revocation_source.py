"""Revocation lists and OCSP answers for a certification path: from its own addresses, and from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from minutier import ocsp, revocation
from minutier.certificates import extension_value, load_crl, load_ocsp
from minutier.container import MAX_SMALL_BYTES
from minutier.errors import ServiceUnavailableError
from storage.fetching import fetch

_LIFE, _SILENCE = 600.0, 60.0  # seconds that an answer, or a failure, is remembered
_REQUEST = "application/ocsp-request"
_MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class RevocationItem:
    """One list (`crl`) or answer (`ocsp`) in DER; `made_at` is its thisUpdate (the latest, of an answer)."""

    kind: str
    data: bytes
    made_at: datetime

    @property
    def sha256(self) -> str:
        """Give the digest that names it."""
        return sha256(self.data).hexdigest()

    def moment(self, gen_time: datetime) -> str:
        """Say whether it was made `before` a token, or `after` (at or after its time)."""
        return "after" if self.made_at >= gen_time else "before"


def parse_item(kind: str, data: bytes) -> RevocationItem:
    """Read a list or an answer; ValueError when it is not one."""
    if kind == "crl":
        return RevocationItem(kind, data, load_crl(data).last_update_utc)
    statuses = load_ocsp(data).statuses
    if not statuses:
        raise ValueError("the OCSP answer is about nothing")
    return RevocationItem(kind, data, max(item.this_update for item in statuses))


def lists_of(items: Sequence[RevocationItem]) -> list[x509.CertificateRevocationList]:
    """Give the revocation lists among the items."""
    return [load_crl(item.data) for item in items if item.kind == "crl"]


def answers_of(items: Sequence[RevocationItem]) -> list[ocsp.OcspResponse]:
    """Give the OCSP answers among the items."""
    return [load_ocsp(item.data) for item in items if item.kind == "ocsp"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found for a path, what did not answer (one sentence each), and whether anyone could be asked at all."""

    items: tuple[RevocationItem, ...]
    failures: tuple[str, ...]
    sources: int


@dataclass(frozen=True)
class RevocationSource:
    """Where revocation data comes from.

    `lists` are files (DER) or http(s) addresses named by the settings, for certificates that name none. `hosts` may
    have private addresses. What came is remembered for ten minutes, a failure for one, so that a deposit does not wait
    for a silent server each time.
    """

    lists: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()
    timeout: float = 5.0
    _seen: dict[bytes, tuple[float, bytes | str]] = field(default_factory=dict, compare=False, repr=False)

    def collect(self, path: Sequence[x509.Certificate], at: datetime, *, fresh: bool = False) -> Collected:
        """Collect what speaks of the certificates of `path` (leaf first, root last) at `at`; nothing is raised.

        `fresh` forgets what is remembered: what was made before the question is no answer to it.
        """
        if fresh:
            self._seen.clear()
        found, failures, sources = dict[str, RevocationItem](), list[str](), 0
        for kind, ask in self._questions(path):
            sources += 1
            try:
                item = parse_item(kind, ask())
            except ServiceUnavailableError as error:
                failures.append(error.message)
            except (ValueError, OSError) as error:
                failures.append(f"A {kind} could not be read: {error}.")
            else:
                found[item.sha256] = item
        lists = lists_of(list(found.values()))
        items = tuple(item for item in found.values() if _speaks(path, at, item, lists))
        return Collected(items, tuple(failures), sources)

    def _questions(self, path: Sequence[x509.Certificate]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        asked = set[str]()
        for place in self.lists:
            asked.add(place)
            yield "crl", partial(self._listed, place)
        for certificate, issuer in pairwise(path):
            for url in _list_addresses(certificate):
                if url not in asked:
                    asked.add(url)
                    yield "crl", partial(self._ask, url)
            request = ocsp.build_request(certificate, issuer)
            for url in _responder_addresses(certificate):
                yield "ocsp", partial(self._ask, url, request)

    def _listed(self, place: str) -> bytes:
        return self._ask(place) if place.startswith(("http://", "https://")) else Path(place).read_bytes()

    def _ask(self, url: str, request: bytes | None = None) -> bytes:
        key = sha256(url.encode() + b"\0" + (request or b"")).digest()
        when, known = self._seen.get(key, (0.0, ""))
        if known and time.monotonic() - when < (_SILENCE if isinstance(known, str) else _LIFE):
            if isinstance(known, str):
                raise ServiceUnavailableError("REVOCATION_SOURCE", known, remedy="It is asked again in a minute.")
            return known
        try:
            found = fetch(
                url,
                allowed=self.hosts,
                timeout=self.timeout,
                limit=MAX_SMALL_BYTES,
                body=request,
                content_type=_REQUEST if request else "",
            )
        except ServiceUnavailableError as error:
            self._seen[key] = (time.monotonic(), error.message)
            raise
        self._seen[key] = (time.monotonic(), found)
        return found


def _speaks(
    path: Sequence[x509.Certificate],
    at: datetime,
    item: RevocationItem,
    lists: Sequence[x509.CertificateRevocationList],
) -> bool:
    if item.kind == "crl":
        return revocation.list_speaks(path, at, load_crl(item.data))
    return revocation.answer_speaks(path, at, load_ocsp(item.data), lists)


def _list_addresses(certificate: x509.Certificate) -> list[str]:
    """Give the addresses of complete lists of the issuer (RFC 5280 §4.2.1.13), the first of each point."""
    points = extension_value(certificate, x509.CRLDistributionPoints) or ()
    found = []
    for point in points:
        if point.reasons is None and point.crl_issuer is None:
            names = [item.value for item in point.full_name or () if isinstance(item, x509.UniformResourceIdentifier)]
            found += [url for url in names if url.startswith(("http://", "https://"))][:1]
    return found[:_MAX_ADDRESSES]


def _responder_addresses(certificate: x509.Certificate) -> list[str]:
    """Give the addresses of OCSP responders (RFC 5280 §4.2.2.1)."""
    found = [
        item.access_location.value
        for item in extension_value(certificate, x509.AuthorityInformationAccess) or ()
        if item.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(item.access_location, x509.UniformResourceIdentifier)
    ]
    return [url for url in found if url.startswith(("http://", "https://"))][:_MAX_ADDRESSES]

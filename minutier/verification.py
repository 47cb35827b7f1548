"""One verification under way: what the steps of `verify` share, and how a failed check becomes a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from minutier import evidence, seal, timestamp
from minutier.container import Container
from minutier.errors import IntegrityFailureError
from minutier.fingerprint import Fingerprint
from minutier.ocsp import OcspResponse
from minutier.report import Finding, Verdict
from minutier.trust import Trust

CLOCK_SKEW = timedelta(minutes=5)
FORMAT_PAGE = "docs/format/proof-v2.md"


@dataclass
class Run:
    """The inputs, what earlier steps established, and the findings so far.

    `fingerprints` has the second digest of the data group only, an empty text for other files.
    """

    container: Container
    trust: Trust
    at: datetime
    format: str
    findings: list[Finding] = field(default_factory=list)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, x509.CertificateRevocationList] = field(default_factory=dict)
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    answers: dict[str, OcspResponse] = field(default_factory=dict)
    given: tuple[x509.Certificate, ...] = ()  # beside the tokens: an authority may leave its certificate out
    archive_id: str | None = None
    manifest: dict[str, Any] | None = None
    second: seal.SealInfo | None = None
    seal: seal.SealInfo | None = None
    record: evidence.EvidenceRecord | None = None
    token: timestamp.TimestampToken | None = None
    tokens: list[timestamp.TimestampToken] = field(default_factory=list)

    def failed(self, code: str, where: str, message: str, clause: str = FORMAT_PAGE) -> None:
        """Add a finding that makes the verdict FAILED."""
        self.findings.append(Finding(code, where, message, clause))

    def unknown(self, code: str, where: str, message: str, clause: str) -> None:
        """Add a finding that leaves the verdict INDETERMINATE at best."""
        self.findings.append(Finding(code, where, message, clause, Verdict.INDETERMINATE))

    @contextmanager
    def guard(self, where: str, code: str = "") -> Iterator[None]:
        """Turn a failed check into a finding about `where`; a ValueError (unreadable file) becomes `code`."""
        try:
            yield
        except IntegrityFailureError as error:
            self.failed(error.code, where, error.message, error.clause)
        except ValueError as error:
            self.failed(code, where, f"{where} is not readable: {error}.")

    def read(self, path: str) -> bytes:
        """Read a small file; one that is absent reads as nothing, which no check accepts (step 2 names it)."""
        return self.container.read(path) or b""

    def note_trust(self, where: str, roots: Sequence[x509.Certificate], *, known: bool) -> None:
        """Say what was missing to judge a signature: any anchor (`roots`), or revocation data (`known` is false)."""
        if not roots:
            message = "No root certificate was given to judge by: who signed is not known."
            self.unknown("NO_TRUST_ANCHOR", where, message, "ETSI EN 319 102-1 §5.2.6")
        elif not known and not any(finding.where == where for finding in self.findings):
            message = "No usable revocation list or OCSP answer covers the certificate at the time of the token."
            self.unknown("REVOCATION_UNKNOWN", where, message, "ETSI EN 319 102-1 §5.2.5")


def as_object(value: Any, expected: str) -> dict[str, Any]:
    """Give a JSON object of a format; ValueError for anything else."""
    if not isinstance(value, dict) or value.get("format") != expected:
        raise ValueError(f"it is not of the format {expected}")
    return value


def text_of(value: Any, name: str) -> str:
    """Give a string member; ValueError when it is not one."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{name} is not a string")
    return found


def list_of(value: dict[str, Any], name: str, kind: type = dict) -> list[Any]:
    """Give a list member whose elements are all of a kind; ValueError when it is not one."""
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise ValueError(f"{name} is not a list of the right kind")
    return found


def number_of(value: Any) -> int:
    """Give an integer; ValueError when it is not one."""
    if not isinstance(value, int):
        raise ValueError("a number is missing")
    return value

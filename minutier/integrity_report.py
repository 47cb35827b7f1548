"""The integrity report of one retrieved document (docs/format/integrity-report-v1.md), machine-readable part.

Regulation (EU) No 910/2014, article 45j(1)(d), as inserted by Regulation (EU) 2024/1183: relying parties receive, in an
automated manner, a report that confirms that a retrieved document enjoys the presumption of integrity from the
beginning of the preservation to the retrieval; it bears the qualified signature or seal of the provider. What this code
writes is that report's content. Whether the presumption holds depends on who seals it: `Issuer` says so, plainly.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from minutier import canonical, evidence, indications, proof, timestamp
from minutier.algorithm_dates import AlgorithmDates
from minutier.certificates import name_of
from minutier.container import Container, open_container
from minutier.errors import IntegrityFailureError
from minutier.events import format_time
from minutier.report import Report, Verdict
from minutier.trust import Trust
from minutier.verify import verify
from minutier.verify_evidence import rests_on

FORMAT = "minutier-integrity-report/1"
NAME = "report.json"
_DEVELOPMENT = "no legal value"


class SealKind(StrEnum):
    """What stands behind a report. Qualification is never claimed: no list of trusted services is read here."""

    ABSENT = "unsealed"
    DEVELOPMENT = "development"
    GIVEN = "qualification-not-checked"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who makes the report: the subject of the sealing certificate ("" without seal), and the program's version."""

    software: str
    certificate: x509.Certificate | None = None

    @property
    def kind(self) -> SealKind:
        """Tell what the seal is worth on its face: a development authority says "no legal value" in its names."""
        if self.certificate is None:
            return SealKind.ABSENT
        names = f"{name_of(self.certificate)} {self.certificate.issuer.rfc4514_string()}"
        return SealKind.DEVELOPMENT if _DEVELOPMENT in names else SealKind.GIVEN


@dataclass(frozen=True, slots=True)
class IntegrityReport:
    """A verification and what it was about: `body` is the canonical JSON that is sealed, never written again."""

    verification: Report
    value: dict[str, Any]
    body: bytes


def make_report(bundle: Path, trust: Trust, at: datetime, issuer: Issuer) -> IntegrityReport:
    """Verify a proof as of `at` (the retrieval) and write the report on it.

    The same inputs give the same bytes. Raises BadInputError when there is no such file.
    """
    verification = verify(bundle, trust, at)
    value: dict[str, Any] = {
        "format": FORMAT,
        "issued_at": format_time(at),
        "issuer": {
            "seal": issuer.kind.value,
            "sealed_by": name_of(issuer.certificate) if issuer.certificate else "",
            "software": issuer.software,
        },
        "legal_basis": "Regulation (EU) No 910/2014, article 45j(1)(d)",
        "proof": _digest_of(bundle),
        "document": {},
        "period": _period(verification, at),
        "verdict": verification.verdict.value,
        "indication": indications.of_verdict(verification.verdict.value),
        "sub_indications": sorted({indications.of_finding(item.code)[1] for item in verification.findings} - {""}),
        "presumption": presumption(verification, issuer.kind),
        "steps": [
            {
                "number": step.number,
                "title": step.title,
                "verdict": step.verdict.value if step.verdict else "NOT_REACHED",
            }
            for step in verification.steps
        ],
        "findings": [{**item.as_dict(), "verdict": item.verdict.value} for item in verification.findings],
        "facts": dict(verification.facts),
        "algorithms": [],
        "anchors": _anchors(trust),
    }
    with suppress(IntegrityFailureError, ValueError), open_container(bundle) as container:
        value["document"] = _document(container)
        value["algorithms"] = _algorithms(container, trust.dates, at)
    return IntegrityReport(verification, value, canonical.encode(value))


def presumption(verification: Report, kind: SealKind) -> dict[str, str]:
    """Say, in French and in English, what may be concluded: never more than the token proves and the seal allows.

    The presumption itself is that of article 45i(2); article 45j(1)(d) asks for this report.
    """
    if verification.verdict is not Verdict.PASSED:
        fr = "L’intégrité n’est pas confirmée : voir le verdict et les constats."
        return {
            "status": "not-confirmed",
            "fr": fr,
            "en": "Integrity is not confirmed: see the verdict and the findings.",
        }
    since, start = (verification.facts.get(name, "?") for name in ("gen_time", "deposited_at"))
    fr = (
        f"Selon les contrôles ci-dessous, le document est intègre depuis l’horodatage du {since} ; le début de"
        f" conservation, {start}, est déclaré par l’archive. "
    )
    en = (
        f"By the checks below, the document is intact since the time-stamp of {since}; the start of the preservation,"
        f" {start}, is the archive’s word. "
    )
    if kind is SealKind.GIVEN:
        fr += (
            "La présomption de l’article 45 decies (45i), § 2, y est attachée si ce rapport émane d’un service"
            " d’archivage électronique qualifié et porte son cachet qualifié. Ce programme ne lit pas la liste de"
            " confiance : lisez-la."
        )
        en += (
            "The presumption of article 45i(2) is attached to it if this report is that of a qualified electronic"
            " archiving service and bears its qualified seal: this program reads no trusted list, the reader must."
        )
        return {"status": "confirmed-if-qualified", "fr": fr, "en": en}
    fr += (
        "Ce rapport n’émane pas d’un service d’archivage électronique qualifié : la présomption de l’article 45 decies"
        " (45i), § 2, n’y est pas attachée."
    )
    en += (
        "This report is not that of a qualified electronic archiving service: the presumption of article 45i(2) is not"
        " attached to it."
    )
    return {"status": "confirmed-without-legal-effect", "fr": fr, "en": en}


def _digest_of(bundle: Path) -> dict[str, str | int]:
    with bundle.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"sha256": digest, "size": stream.tell()}


def _period(verification: Report, at: datetime) -> dict[str, str]:
    """Give the period: its start by the archive's word, since when the time-stamping authority dates it, its end."""
    facts = verification.facts
    return {
        "start": facts.get("deposited_at", ""),
        "dated_since": facts.get("gen_time", ""),
        "renewed_at": facts.get("renewed_at", ""),
        "end": format_time(at),
    }


def _document(container: Container) -> dict[str, str | int]:
    """Describe the original as found, beside what the manifest states; no name, which may be of a person."""
    path = next(filter(proof.is_original, container.entries), None)
    if path is None:
        return {}
    first, second, size = hashlib.sha256(), hashlib.sha3_512(), 0
    for piece in container.stream(path):
        first.update(piece)
        second.update(piece)
        size += len(piece)
    return {
        "described": _described(container),
        "fingerprint": f"sha256:{first.hexdigest()}+sha3-512:{second.hexdigest()}",
        "path": path,
        "size": size,
    }


def _described(container: Container) -> str:
    """Give the fingerprint that the manifest states of the original, "" when it is not readable."""
    with suppress(IntegrityFailureError, ValueError, KeyError, IndexError, TypeError):
        original = canonical.decode(container.read(proof.MANIFEST) or b"")["objects"][0]
        stated = f"sha256:{original['sha256']}+sha3-512:{original['sha3_512']}"
        return stated if re.fullmatch(r"sha256:[0-9a-f]{64}\+sha3-512:[0-9a-f]{128}", stated) else ""
    return ""


def _algorithms(container: Container, dates: AlgorithmDates, at: datetime) -> list[dict[str, str]]:
    """Name what the evidence rests on today: the last archive time-stamp, which stands for all before it."""
    stamps = evidence.decode_record(container.read(proof.RECORD) or b"").stamps
    last = stamps[-1]
    names = sorted(rests_on(last, timestamp.inspect_token(last.token)))
    return [{"name": name, "status": _status(dates, name, at), "until": _until(dates, name)} for name in names]


def _status(dates: AlgorithmDates, name: str, at: datetime) -> str:
    return "ended" if dates.ended([name], at) else "counts"


def _until(dates: AlgorithmDates, name: str) -> str:
    """Give the first day on which an algorithm no longer counts, "" when none is known."""
    end = dates.ends.get(name)
    return f"{end:%Y-%m-%d}" if end else ""


def _anchors(trust: Trust) -> dict[str, Sequence[str] | str]:
    return {
        "roots": sorted(root.fingerprint(SHA256()).hex() for root in trust.all_roots),
        "journal_keys": sorted(key.vkey() for key in trust.journal_keys),
        "algorithm_dates": trust.dates.source,
    }

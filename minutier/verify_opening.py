"""The step after a proof's own: an opened commitment links a sealed ciphertext to a document in clear.

docs/format/blind-v1.md §4. Needs no key: hashes alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from minutier import blind, canonical, proof
from minutier.container import open_container
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.fingerprint import fingerprint_file
from minutier.report import Finding, Report, Step, Verdict, overall

TITLE = "opened commitment is the sealed one, and is about this document"
MAX_OPENING = 64 << 10


def verify_opening(report: Report, bundle: Path, opening: Path, document: Path) -> Report:
    """Add to the report on a blind document's proof whether `document` is what its depositor encrypted.

    Findings: `OPENING_NOT_BLIND`, `OPENING_COMMITMENT`, `OPENING_DOCUMENT`. A proof that FAILED is not looked into: the
    step is then not reached. Raises BadInputError (`FILE_MISSING`).
    """
    for path in (opening, document):
        if not path.is_file():
            raise BadInputError("FILE_MISSING", f"There is no file {path}.", remedy="Check the name.")
    findings = [] if report.verdict is Verdict.FAILED else _judge(bundle, opening, document)
    verdict = None if report.verdict is Verdict.FAILED else overall(findings)
    together = (*report.findings, *findings)
    steps = (*report.steps, Step(len(report.steps) + 1, TITLE, verdict))
    return replace(report, verdict=overall(together), findings=together, steps=steps)


def _judge(bundle: Path, opening: Path, document: Path) -> list[Finding]:
    with open_container(bundle) as container:
        screening: Any = canonical.decode(container.read(proof.MANIFEST) or b"{}").get("screening")
    text = screening.get("blind") if isinstance(screening, dict) else None
    if not isinstance(text, str):
        return [_finding("OPENING_NOT_BLIND", "This document was not deposited blind: its proof is about it as it is.")]
    try:
        statement = blind.read_statement(text.encode())
        with opening.open("rb") as stream:
            expected = blind.read_opening(statement, stream.read(MAX_OPENING))
    except (BadInputError, IntegrityFailureError) as error:
        return [_finding("OPENING_COMMITMENT", error.message)]
    if fingerprint_file(document) != expected:
        return [_finding("OPENING_DOCUMENT", f"{document.name} is not the document that the depositor committed to.")]
    return []


def _finding(code: str, message: str) -> Finding:
    return Finding(code, proof.MANIFEST, message, "docs/format/blind-v1.md §4")

"""What a verification of altered files says: the findings of chosen codes, written in full."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from minutier.report import Finding, Report, Verdict
from minutier.trust import Trust
from minutier.verify import verify
from tests.support.bundle import repack
from tests.support.full_bundle import FULL_JUDGED_AT, full_trust

PAGE = "docs/format/proof-v2.md"


def judged(
    files: Mapping[str, bytes | None],
    folder: Path,
    *,
    trust: Trust | None = None,
    at: datetime = FULL_JUDGED_AT,
    reindex: bool = True,
) -> Report:
    """Pack files (without those that are None) and verify them, by default as the whole proof of `full_bundle`."""
    kept = {path: data for path, data in files.items() if data is not None}
    return verify(repack(kept, folder / "Q.zip", reindex=reindex), trust or full_trust(), at)


def failed(code: str, where: str, message: str, clause: str = PAGE) -> Finding:
    return Finding(code, where, message, clause, Verdict.FAILED)


def unreadable(code: str, where: str, why: str) -> Finding:
    return failed(code, where, f"{where} is not readable: {why}.")


def said(report: Report, *codes: str) -> list[Finding]:
    """Give the findings with these codes, in their order."""
    return [finding for finding in report.findings if finding.code in codes]

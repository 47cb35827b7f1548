"""The demo: two sample feeds travel through the real flows; every sentence it prints at the end was checked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from deployments.cli import table
from storage import catalogue
from storage.archive import Archive
from tasks.samples.feeds import generate
from tasks.samples.model import Expected

FEEDS = ("garage", "mairie")
_AN_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence of the summary and whether it held."""

    sentence: str
    ok: bool
    detail: str = ""


@dataclass
class DemoReport:
    """What the demo did: a line per dossier, a line per refusal, and the checks."""

    dossiers: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Say whether every check held."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return {
            "ok": self.ok,
            "dossiers": self.dossiers,
            "refusals": self.refusals,
            "checks": [asdict(check) for check in self.checks],
        }

    def words(self, address: str, *, left_up: bool) -> str:
        """Lay the report out for a person."""
        dossiers: list[tuple[object, ...]] = [
            (item["feed"], item["dossier"], item["archived"], item["refused"]) for item in self.dossiers
        ]
        refusals: list[tuple[object, ...]] = [(item["reference"], item["code"], item["fr"]) for item in self.refusals]
        lines = [
            "",
            "Dossiers received",
            table(("feed", "dossier", "pieces archived", "pieces refused"), dossiers),
            "",
            "What was refused, and what its depositor is told",
            table(("reference", "code", "sentence"), refusals),
            "",
            "Checks",
            *(f"  {'✓' if check.ok else '✗'} {check.sentence} {check.detail}".rstrip() for check in self.checks),
            "",
            "The embedded instance has no legal value: development authority, both replicas on one disk, no antivirus.",
        ]
        if left_up:
            lines += [f"Prefect UI: {address}", "Stop everything: make down"]
        return "\n".join(lines)


def run_demo(archive: Archive, say: Callable[[str], None]) -> DemoReport:
    """Generate the samples, take both feeds twice, sweep, export one proof and verify it offline."""
    from deployments.commands_archive import run_sweep
    from deployments.commands_documents import failure, run_intake

    report, expected = DemoReport(), []
    for feed in FEEDS:
        door = archive.settings.home / "demo" / feed
        say(f"sample feed {feed}: writing its files in {door}")
        expected += _generate(archive, feed)
        _, state = run_intake(archive, feed, door)
        if not state.is_completed():
            raise failure(state)
    lines = _lines(archive)
    _describe(archive, report, lines, expected)
    before = _counts(archive)
    say("both feeds once more: nothing may be added")
    for feed in FEEDS:
        run_intake(archive, feed, archive.settings.home / "demo" / feed)
    report.checks.append(Check("A second delivery of both feeds adds no document.", _counts(archive) == before))
    swept = run_sweep(archive, timedelta(hours=1))
    report.checks.append(
        Check(
            "Every copy was re-read and is exactly what was stored.",
            swept["verdict"] == "clean",
            f"({swept['copies']} copies)",
        )
    )
    report.checks.append(_prove(archive, say))
    return report


def _generate(archive: Archive, feed: str) -> list[Expected]:
    door = archive.settings.home / "demo" / feed
    door.mkdir(parents=True, exist_ok=True)
    found = generate(door, feed)
    # Delivered an hour ago: what is missing by now is missing for good.
    for manifest in door.glob("*/bordereau.csv"):
        past = archive.clock().timestamp() - _AN_HOUR
        os.utime(manifest, (past, past))
    return found


def _lines(archive: Archive) -> list[dict[str, Any]]:
    with archive.database.transaction() as connection:
        rows = connection.execute("SELECT feed, name, report FROM batch ORDER BY feed, name, taken_at").fetchall()
    return [line | {"feed": row["feed"], "batch": row["name"]} for row in rows for line in row["report"]["lines"]]


def _describe(archive: Archive, report: DemoReport, lines: list[dict[str, Any]], expected: list[Expected]) -> None:
    found = Counter((line["feed"], line["batch"], line["motif"] or "archived") for line in lines)
    wanted = Counter(
        (item.feed, item.batch, "archived" if item.outcome == "duplicate" else item.outcome) for item in expected
    )
    wrong = (wanted - found) + (found - wanted)
    report.checks.append(
        Check(
            "Every line ended as it should: archived, or refused with its own code.",
            not wrong,
            str(dict(wrong)) if wrong else f"({len(lines)} lines)",
        )
    )
    with archive.database.transaction() as connection:
        deposits = [item for feed in FEEDS for item in catalogue.list_deposits(connection, feed)]
    dossiers = sorted({(item.safe, item.dossier) for item in deposits if item.dossier})
    for safe, dossier in dossiers:
        states = Counter(item.state for item in deposits if (item.safe, item.dossier) == (safe, dossier))
        report.dossiers.append(
            {"feed": safe, "dossier": dossier, "archived": states["ARCHIVED"], "refused": states["REFUSED"]}
        )
    report.refusals += [
        {"reference": item.reference, "code": item.refusal_code, "fr": item.refusal_fr or ""}
        for item in deposits
        if item.refusal_code
    ]
    archived = sum(item.state == "ARCHIVED" for item in deposits)
    report.checks.append(
        Check(
            "At least 40 documents in at least 16 dossiers are archived.",
            archived >= 40 and len(dossiers) >= 16,
            f"({archived} in {len(dossiers)})",
        )
    )


def _counts(archive: Archive) -> dict[str, int]:
    with archive.database.transaction() as connection:
        return catalogue.count_by_state(connection)


def _prove(archive: Archive, say: Callable[[str], None]) -> Check:
    from minutier.report import Verdict
    from minutier.trust import load_trust
    from minutier.verify import verify
    from storage.proofs import export_proof

    with archive.database.transaction() as connection:
        first = next(item for item in catalogue.list_deposits(connection, FEEDS[0]) if item.state == "ARCHIVED")
    target = archive.settings.home / "demo" / "proof.zip"
    say(f"proof of {first.reference}: exporting and verifying offline")
    export_proof(archive, first, target)
    verdict = verify(target, load_trust(archive.settings.trust_dir), archive.clock()).verdict
    return Check("One proof was exported and verified offline.", verdict is Verdict.PASSED, f"({target})")

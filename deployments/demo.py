"""The demo: two sample feeds travel through the real flows; every sentence it prints at the end was checked."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from deployments.cli import table
from storage import catalogue
from storage.archive import Archive
from tasks.bordereau import RECEIPT, REPORT
from tasks.dossiers import dossiers_of
from tasks.samples.feeds import generate
from tasks.samples.model import Expected
from tasks.samples.profiles import profiled_batch

FEEDS = ("garage", "mairie")


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
    pieces: list[dict[str, str]] = field(default_factory=list)
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
            "pieces": self.pieces,
            "refusals": self.refusals,
            "checks": [asdict(check) for check in self.checks],
        }

    def words(self, address: str, *, left_up: bool) -> str:
        """Lay the report out for a person."""
        dossiers: list[tuple[object, ...]] = [
            (item["feed"], item["dossier"], item["archived"], item["refused"]) for item in self.dossiers
        ]
        pieces: list[tuple[object, ...]] = [tuple(item.values()) for item in self.pieces]
        refusals: list[tuple[object, ...]] = [(item["reference"], item["code"], item["fr"]) for item in self.refusals]
        lines = [
            "",
            "Dossiers received",
            table(("feed", "dossier", "pieces archived", "pieces refused"), dossiers),
            "",
            "Pieces of the dossiers that follow a profile, as their depositor is told",
            table(("feed", "dossier", "operation", "pieces"), pieces),
            "",
            "What was refused, and what its depositor is told",
            table(("reference", "code", "sentence"), refusals),
            "",
            "Checks",
            *(f"  {'✓' if check.ok else '✗'} {check.sentence} {check.detail}".rstrip() for check in self.checks),
            "",
            "The embedded instance has no legal value: development authority, both replicas on one disk, no antivirus",
            "(MALWARE above is the built-in test signature only).",
        ]
        if left_up:
            lines += [f"Prefect UI: {address}", "Stop everything: make down"]
        return "\n".join(lines)


def run_demo(archive: Archive, say: Callable[[str], None]) -> DemoReport:
    """Generate the samples, take both feeds twice, sweep, export one proof and verify it offline."""
    from deployments.commands_archive import run_sweep

    report, home = DemoReport(), archive.settings.home / "demo"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="second-", dir=home) as second:
        expected = []
        for feed in FEEDS:
            say(f"sample feed {feed}: writing its files in {home / feed}")
            expected += generate(_door(home, feed), feed)
            expected += profiled_batch(_door(home, feed), feed, _sample(feed))
            _deliver_again(home / feed, _door(Path(second), feed))
        for feed in FEEDS:
            _take(archive, feed, home / feed, say)
        lines = _lines(archive, {item.batch for item in expected})
        _describe(archive, report, lines, expected)
        _tell_pieces(archive, report)
        before = _counts(archive)
        say("both feeds once more, by another door and under other batch names: nothing may be added")
        again = [line for feed in FEEDS for line in _take(archive, feed, Path(second) / feed, say)]
    report.checks.append(second_delivery(lines, again, before, _counts(archive)))
    say("every copy is re-read")
    report.checks.append(every_copy(run_sweep(archive, timedelta(hours=1))[0]))
    report.checks.append(_prove(archive, say))
    _end_of_life(archive, report, home, say)
    return report


def _end_of_life(archive: Archive, report: DemoReport, home: Path, say: Callable[[str], None]) -> None:
    from deployments import demo_life

    with archive.database.transaction() as connection:
        archived = [item for item in catalogue.list_deposits(connection, FEEDS[0]) if item.state == "ARCHIVED"]
    for sentence, ok, detail in (
        demo_life.show_hold(archive, archived[0], say),
        demo_life.show_restitution(archive, archived[:3], home / "restitution", say),
        demo_life.show_purge(archive, home / "purge", say),
        *demo_life.show_supervision(archive, home / "supervision", say),
    ):
        report.checks.append(Check(sentence, ok, detail))


def _sample(feed: str) -> Callable[[int], bytes]:
    from tasks.samples import garage, mairie

    return garage.request if feed == "garage" else mairie.request


def _tell_pieces(archive: Archive, report: DemoReport) -> None:
    """Say which dossiers are complete and what the others lack, and check it against what was sent."""
    with archive.database.transaction() as connection:
        found = [each for feed in FEEDS for each in dossiers_of(feed, catalogue.list_deposits(connection, feed))]
    report.pieces += [
        {"feed": each.feed, "dossier": each.number, "operation": each.operation, "pieces": each.words(profile)}
        for profile, each in found
    ]
    lacking = {each.operation: each.missing for _, each in found}
    report.checks.append(
        Check(
            "Each dossier names the very pieces that it lacks.",
            lacking == {"DA": (), "ADR": (("MANDAT",),), "CUa": (), "DP": (("DP2",),)},
            f"({len(found)} dossiers that follow a profile)",
        )
    )


def second_delivery(
    first: list[dict[str, Any]], again: list[dict[str, Any]], before: dict[str, int], after: dict[str, int]
) -> Check:
    """Check that every line got the very answer that it had the first time, and that no document was added."""
    answers = [sorted((line["reference"], line["archive_id"]) for line in lines) for lines in (first, again)]
    return Check(
        "A second delivery of both feeds gets the same answers and adds no document.",
        bool(again) and answers[0] == answers[1] and before == after,
        f"({len(again)} lines)",
    )


def every_copy(swept: dict[str, Any]) -> Check:
    """Check that a sweep found copies, left none unread, and found nothing wrong."""
    return Check(
        "Every copy was re-read and is exactly what was stored.",
        swept["verdict"] == "clean" and swept["copies"] > 0 and swept["remaining"] == 0,
        f"({swept['copies']} copies, {swept['remaining']} left)",
    )


def _door(folder: Path, feed: str) -> Path:
    door = folder / feed
    door.mkdir(exist_ok=True)
    return door


def _deliver_again(first: Path, second: Path) -> None:
    """Bring the batches of a door to another one, under names that no batch had before."""
    mark = second.parent.name.rpartition("-")[2]
    for batch in first.iterdir():
        shutil.copytree(batch, second / f"{batch.name}-{mark}", ignore=shutil.ignore_patterns(RECEIPT, REPORT))


def _take(archive: Archive, feed: str, door: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Take what waits at a door and give the lines of its receipts; the error of a run that did not complete."""
    from deployments.commands_documents import failure, run_intake
    from tasks.door import seconds_to_wait

    while (seconds := seconds_to_wait(archive, feed, door)) > 0:
        say(f"feed {feed}: a listed file is missing; the batch is left alone for {seconds:.0f} s, it may still come")
        time.sleep(min(seconds + 0.1, 5.0))
    reports, state = run_intake(archive, feed, door)
    if not state.is_completed():
        raise failure(state)
    return [line for batch in reports for line in batch["lines"]]


def _lines(archive: Archive, batches: set[str]) -> list[dict[str, Any]]:
    """Give the lines of the last receipt of each of these batches."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT DISTINCT ON (feed, name) feed, name, report FROM batch WHERE name = ANY(%s)"
            " ORDER BY feed, name, taken_at DESC",
            (sorted(batches),),
        ).fetchall()
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
    from tasks.statement import make_statement

    with archive.database.transaction() as connection:
        first = next(item for item in catalogue.list_deposits(connection, FEEDS[0]) if item.state == "ARCHIVED")
    target = archive.settings.home / "demo" / "proof.zip"
    say(f"proof of {first.reference}: exporting and verifying offline")
    export_proof(archive, first, target, make_statement)
    verdict = verify(target, load_trust(archive.settings.trust_dir), archive.clock()).verdict
    return Check("One proof was exported and verified offline.", verdict is Verdict.PASSED, f"({target})")

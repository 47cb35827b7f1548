"""The morning report: what a night left, in one page that is read in a minute. Green only if every line holds.

Each line looks at what the other runs recorded, and at what nobody recorded: a run that did not come is a line that
does not hold. No line is about what a document says, or whose it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from minutier.errors import MinutierError
from minutier.events import format_time, parse_time
from storage import catalogue, coverage, disposal, journal_stamps, traces, waiting
from storage.archive import Archive
from storage.database import Connection
from storage.production import stand_ins
from storage.renewal import heads
from tasks import clamd
from tasks.backups import newest
from tasks.drill import last_drill
from tasks.leaving import last_exit
from tasks.postgres_programs import Places, embedded_port

GOOD, LOOK, BAD = "good", "look", "bad"
"""What a line is: it holds; somebody should look, nothing is wrong yet; it does not hold."""
_NIGHT = timedelta(hours=26)
_WEEK = timedelta(days=8)
_MONTH = timedelta(days=33)
_SIGNATURES = timedelta(days=3)
_SPOKEN = timedelta(minutes=30)
_ENDS_SOON = timedelta(days=90)
_ROOM = (0.05, 0.15)
_TITLES = {BAD: "Does not hold", LOOK: "To look at", GOOD: "Holds"}
_MARKS = {GOOD: "✓", LOOK: "●", BAD: "✗"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what it is about, how it stands, a sentence, and what to do ("" where nothing is to be done)."""

    about: str
    level: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class MorningReport:
    """The lines of one morning."""

    at: datetime
    lines: tuple[Line, ...]

    @property
    def verdict(self) -> str:
        """Give green when every line holds, red when one does not, amber when somebody should look."""
        levels = {line.level for line in self.lines}
        return "red" if BAD in levels else "amber" if LOOK in levels else "green"

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return {
            "format": "minutier-morning/1",
            "at": format_time(self.at),
            "verdict": self.verdict,
            "lines": [asdict(line) for line in self.lines],
        }

    def headline(self) -> str:
        """Say it in one line."""
        bad = sum(line.level == BAD for line in self.lines)
        look = sum(line.level == LOOK for line in self.lines)
        if self.verdict == "green":
            return "All is well: every line holds."
        parts = [f"{bad} line(s) do not hold"] if bad else []
        return ", ".join([*parts, *([f"{look} to look at"] if look else [])]) + "."


def morning_report(archive: Archive) -> MorningReport:
    """Look at everything that a night should have left."""
    now = archive.clock()
    lines: list[Line] = []
    for about, look in _LINES:
        try:
            lines += [Line(about, *found) for found in look(archive, now)]
        except MinutierError as error:
            lines.append(Line(about, BAD, error.message, error.remedy))
    return MorningReport(now, tuple(lines))


def last_morning(home: Path) -> MorningReport | None:
    """Read the last report that was kept in HOME/reports, None when there is none."""
    found = sorted((home / "reports").glob("*/morning-*.json"))
    if not found:
        return None
    value = json.loads(found[-1].read_bytes())
    return MorningReport(parse_time(value["at"]), tuple(Line(**each) for each in value["lines"]))


Found = tuple[str, str] | tuple[str, str, str]


def _sweep(archive: Archive, now: datetime) -> Iterator[Found]:
    with archive.database.transaction() as connection:
        row = connection.execute(
            "SELECT ended_at, report FROM sweep WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1"
        ).fetchone()
        debt = coverage.debt(connection, now)
    if row is None or now - row["ended_at"] > _NIGHT:
        since = f"since {format_time(row['ended_at'])}" if row else "yet"
        yield BAD, f"No sweep ended {since}.", "See the run integrity/nightly: minutier sweep"
    else:
        report = row["report"]
        sentence = f"{report['copies']} copies read, {report['healed']} healed, {report['unhealed']} not healed."
        bad = report["verdict"] == "alarm"
        yield BAD if bad else GOOD, sentence, "Read the report `sweep`: it names each copy." if bad else ""
    level = BAD if debt.damaged else LOOK if debt.late else GOOD
    yield level, f"Verification: {debt.sentence()}.", "" if level == GOOD else "Give the sweep a longer budget."


def _tables(archive: Archive, now: datetime) -> Iterator[Found]:
    found = sorted((archive.settings.home / "reports").glob("*/coherence-*.json"))
    value = json.loads(found[-1].read_bytes()) if found else None
    if value is None or now - parse_time(value["at"]) > _NIGHT:
        yield BAD, "The tables were not compared this night.", "See the run integrity/nightly: minutier sweep"
    elif not value["ok"]:
        broken = ", ".join(each["name"] for each in value["rules"] if not each["ok"])
        yield BAD, f"Tables do not agree: {broken}.", "Read the report `coherence`."
    else:
        yield GOOD, "Documents, objects, copies, time-stamps and journal agree."


def _stores(archive: Archive, now: datetime) -> Iterator[Found]:
    with archive.database.transaction() as connection:
        rows = {row["replica"]: row for row in connection.execute("SELECT replica, at, ok FROM store_probe").fetchall()}
    for store in archive.replicas:
        row = rows.get(store.name)
        if row is None or now - row["at"] > _NIGHT:
            yield BAD, f"The locks of {store.name} were not tried this night.", "minutier store probe"
        elif not row["ok"]:
            yield BAD, f"{store.name} does not lock as it must.", "minutier store probe; rely on no new deposit there"
        else:
            yield GOOD, f"{store.name} refused every attempt to delete or to shorten."


def _deposits(archive: Archive, now: datetime) -> Iterator[Found]:
    with archive.database.transaction() as connection:
        counts, late = catalogue.count_by_state(connection), waiting.alarm(connection, now)
        waits = waiting.summary(connection)
    if late:
        yield BAD, late, "minutier resume"
    on_way = sum(count for state, count in counts.items() if state in catalogue.STATES and state != "ARCHIVED")
    sentence = waits or f"{counts.get('ARCHIVED', 0)} documents archived, {on_way} on their way."
    yield LOOK if waits else GOOD, sentence, "minutier resume" if waits else ""


def _journal(archive: Archive, now: datetime) -> Iterator[Found]:
    with archive.database.transaction() as connection:
        stamp, told = journal_stamps.last(connection), traces.standing(connection)
    if stamp is None or now - stamp.gen_time > _NIGHT:
        yield BAD, "The journal was not time-stamped for a day.", "See the run traces/nightly: minutier ship --nightly"
    else:
        yield GOOD, f"The journal was time-stamped at {format_time(stamp.gen_time)}."
    if archive.settings.supervision_url is None:
        yield LOOK, "Nobody supervises this archive.", "Set supervision_url and supervision_key (docs/supervision.md)"
        return
    at = told["acknowledged_at"]
    if at is None or now - at > _SPOKEN:
        yield BAD, f"The supervision has heard nothing since {format_time(at) if at else 'ever'}.", "minutier ship"
    else:
        yield GOOD, f"The supervision holds entry {told['entries']}; {told['waiting']} wait for the next bundle."


def _backups(archive: Archive, now: datetime) -> Iterator[Found]:
    if embedded_port(archive.settings) is None:
        yield GOOD, "The catalogue is in a server of your own: so are its backups."
        return
    places = Places(archive.settings.home)
    backup, drill = newest(places), last_drill(places)
    if backup is None or now - backup.started_at > _NIGHT:
        yield BAD, "The database has no backup of this night.", "minutier backup"
    else:
        yield GOOD, f"The database was backed up at {format_time(backup.started_at)}."
    yield _rehearsal("A restore", drill, now, _WEEK, "minutier drill")


def _exit(archive: Archive, now: datetime) -> Iterator[Found]:
    yield _rehearsal("The exit", last_exit(archive.settings.home), now, _MONTH, "minutier rehearse-exit")


def _rehearsal(what: str, report: dict[str, Any] | None, now: datetime, within: timedelta, remedy: str) -> Found:
    if report is None:
        return LOOK, f"{what} was never rehearsed.", remedy
    if report["verdict"] == "red":
        return BAD, f"{what} was rehearsed at {report['at']}, and did not hold.", f"Read its report, then {remedy}"
    if now - parse_time(report["at"]) > within:
        return LOOK, f"{what} was not rehearsed since {report['at']}.", remedy
    return GOOD, f"{what} was rehearsed at {report['at']}, and held."


def _evidence(archive: Archive, now: datetime) -> Iterator[Found]:
    first = next(iter(heads(archive)), None)
    if first is None:
        yield GOOD, "No time-stamp is to be renewed."
        return
    days = (first.ends - now).days
    level = BAD if days < 0 else LOOK if first.ends - now < _ENDS_SOON else GOOD
    yield level, f"The first time-stamp ends in {days} days.", "" if level == GOOD else "minutier renew"


def _life(archive: Archive, now: datetime) -> Iterator[Found]:
    with archive.database.transaction() as connection:
        due, held = len(disposal.due(archive, connection)), _held(connection)
        awaiting = disposal.awaiting(archive, connection)
        begun = connection.execute("SELECT count(*) AS n FROM deposit WHERE state = 'DESTROYING'").fetchone()
    if begun and begun["n"]:
        yield BAD, f"{begun['n']} destructions have begun and not ended.", "minutier purge"
    waits = f", {awaiting} wait for their event" if awaiting else ""
    yield GOOD, f"{due} documents have come to their term, {held} are under legal hold{waits}."


def _held(connection: Connection) -> int:
    row = connection.execute(
        "SELECT count(DISTINCT archive_id) AS n FROM legal_hold WHERE released_at IS NULL"
    ).fetchone()
    return int(row["n"]) if row else 0


def _antivirus(archive: Archive, now: datetime) -> Iterator[Found]:
    address = archive.settings.clamd
    if address is None:
        yield LOOK, "There is no antivirus.", "Install clamav-daemon and set MINUTIER_CLAMD"
        return
    made = clamd.signatures_of(address)
    if made is None:
        yield LOOK, "The antivirus does not say of when its signatures are.", "Look at freshclam"
    else:
        old = now - made > _SIGNATURES
        yield (
            BAD if old else GOOD,
            f"The antivirus has signatures of {made:%Y-%m-%d}.",
            "Look at freshclam" if old else "",
        )


def _machine(archive: Archive, _now: datetime) -> Iterator[Found]:
    usage = shutil.disk_usage(archive.settings.home)
    share = usage.free / usage.total
    level = BAD if share < _ROOM[0] else LOOK if share < _ROOM[1] else GOOD
    yield (
        level,
        f"{usage.free / 2**30:.0f} GiB are free, {share:.0%} of the disk.",
        "" if level == GOOD else "Make room",
    )
    if found := stand_ins(archive.settings):
        yield LOOK, f"{len(found)} parts are stand-ins for trials.", "minutier doctor names them"


_LINES: tuple[tuple[str, Callable[[Archive, datetime], Iterator[Found]]], ...] = (
    ("copies", _sweep),
    ("tables", _tables),
    ("stores", _stores),
    ("deposits", _deposits),
    ("journal", _journal),
    ("backups", _backups),
    ("exit", _exit),
    ("evidence", _evidence),
    ("life cycle", _life),
    ("antivirus", _antivirus),
    ("machine", _machine),
)


def as_markdown(report: MorningReport) -> str:
    """Write the report for the Prefect page: what does not hold first. Lists, because cells there do not wrap."""
    parts = [f"## {report.verdict.upper()} · {report.headline()}"]
    for level, title in _TITLES.items():
        if lines := [line for line in report.lines if line.level == level]:
            parts += ["", f"### {title}", ""]
            parts += [f"- {_MARKS[level]} **{line.about}** · {line.sentence}{_what_to_do(line)}" for line in lines]
    return "\n".join(parts)


def _what_to_do(line: Line) -> str:
    return f" → {line.remedy}" if line.remedy else ""


def as_text(report: MorningReport) -> str:
    """Write the report for a mail."""
    lines = [f"{report.verdict.upper()} - {report.headline()}", format_time(report.at), ""]
    for line in sorted(report.lines, key=lambda line: list(_TITLES).index(line.level)):
        lines.append(f"{_MARKS[line.level]} {line.about}: {line.sentence}")
        if line.remedy:
            lines.append(f"    -> {line.remedy}")
    return "\n".join(lines) + "\n"

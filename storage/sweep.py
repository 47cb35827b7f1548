"""Integrity sweep: re-read copies within a budget, heal a bad one from a good one, judge proofs again, report.

Never-read copies first, then those unread for longest. What was done is written with the marks of the copies, so that
a sweep that is killed goes on where it was; one sweep runs at a time. How a copy is judged and mended is in
storage/healing.py, what is left unverified in storage/coverage.py, who touched the stores in storage/watch.py.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from psycopg.types.json import Jsonb

from minutier.errors import ServiceUnavailableError
from minutier.events import Event, format_time
from storage import coverage, journal, journal_stamps
from storage.archive import Archive
from storage.collector import clean_spool, collect_strays
from storage.coverage import Debt, Subject
from storage.database import Connection
from storage.healing import act_on, judge
from storage.proof_checks import ProofJudge, journal_broken
from storage.quarantine import empty_old
from storage.reading import CopyFinding
from storage.watch import StoreFinding, watch_stores

_LISTED, _SLICE = 10_000, 200
_SILENT_AFTER = 3
"""Answers in a row that a replica may owe before its other copies are left to the next sweep."""
_FINDINGS = 1000
"""Findings that a report holds; its counts and the journal have all."""
_RESUMED_WITHIN = timedelta(hours=24)
_NICE = 5
_FOR_COPIES = 0.9
"""Share of the budget for copies; proofs have the rest, and what copies leave."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did. `verdict`: clean, healed (all bad copies were mended) or alarm (something could not be).

    `remaining`: copies that the budget left. `unreachable`: copies whose replica did not answer. `proofs`: documents
    whose proof was judged; `proofs_bad`: archive_id and code. `stores`: what somebody did to the stores.
    """

    sweep_id: str
    started_at: datetime
    ended_at: datetime
    copies: int
    bytes_read: int
    good: int
    healed: int
    unhealed: int
    unreachable: int
    remaining: int
    strays: int
    journal_entries: int
    proofs: int
    debt: Debt
    resumed: bool = False
    findings: tuple[CopyFinding, ...] = field(default=())
    proofs_bad: tuple[tuple[str, str], ...] = field(default=())
    stores: tuple[StoreFinding, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """Give the word that an operator reads first."""
        if self.unhealed or self.unreachable or self.proofs_bad or any(found.alarm for found in self.stores):
            return "alarm"
        return "healed" if self.healed else "clean"

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        values = asdict(self)
        values["verdict"] = self.verdict
        values["started_at"], values["ended_at"] = format_time(self.started_at), format_time(self.ended_at)
        values["debt"] = self.debt.as_dict()
        values["findings"] = [asdict(finding) for finding in self.findings]
        values["proofs_bad"] = [{"archive_id": owner, "code": code} for owner, code in self.proofs_bad]
        values["stores"] = [asdict(found) for found in self.stores]
        return values


def sweep(
    archive: Archive, *, budget: timedelta, progress: Callable[[int, int], None] = lambda done, left: None
) -> SweepReport:
    """Re-read every copy not yet read in this sweep until none is left or the budget is spent.

    `progress` is told how many copies were read and how many wait. The journal's chain is recomputed as well. Raises
    IntegrityFailureError (`JOURNAL_BROKEN`), and ServiceUnavailableError (`BUSY`) when another sweep is at work.
    """
    deadline = time.monotonic() + budget.total_seconds()
    with archive.database.exclusive("sweep"):
        run = _Run.open(archive)
        # Apart, for it is long: deposits wait for nothing while the whole journal is recomputed.
        with archive.database.transaction() as connection:
            entries = journal.check_chain(connection)
            journal.check_checkpoint(connection, archive.journal_key.public_key())
            journal_stamps.check_last(archive, connection)
        run.read_copies(deadline - (1 - _FOR_COPIES) * budget.total_seconds(), progress)
        run.judge_proofs(deadline)
        stores = watch_stores(archive)
        collected = collect_strays(archive)
        clean_spool(archive)
        empty_old(archive)
        return run.end(entries, collected, stores)


@dataclass
class _Run:
    """One sweep under way: its counts and findings, which are kept with each slice."""

    archive: Archive
    sweep_id: str
    started: datetime
    resumed: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[CopyFinding] = field(default_factory=list)
    proofs_bad: dict[str, str] = field(default_factory=dict)
    silent: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, archive: Archive) -> _Run:
        """Take up the last sweep, where it was killed, or begin one."""
        now = archive.clock()
        with archive.database.transaction() as connection:
            row = connection.execute(
                "SELECT * FROM sweep WHERE ended_at IS NULL AND progress IS NOT NULL AND started_at > %s"
                " AND started_at >= ALL (SELECT started_at FROM sweep) LIMIT 1",
                (now - _RESUMED_WITHIN,),
            ).fetchone()
            if row is not None:
                run = cls(archive, str(row["sweep_id"]), row["started_at"], resumed=True)
                run.counts = Counter(row["progress"]["counts"])
                run.findings = [CopyFinding(**each) for each in row["progress"]["findings"]]
                run.proofs_bad = dict(row["progress"]["proofs_bad"])
            else:
                run = cls(archive, str(uuid.uuid4()), now)
                connection.execute(
                    "INSERT INTO sweep (sweep_id, started_at, progress) VALUES (%s, %s, %s)",
                    (run.sweep_id, now, Jsonb(run._progress())),
                )
            details: dict[str, str | int] = {"sweep": run.sweep_id, "resumed": int(run.resumed)}
            journal.append(connection, Event.SWEEP_STARTED, now, details=details)
            journal.sequence(connection)
        return run

    def read_copies(self, deadline: float, progress: Callable[[int, int], None]) -> None:
        """Read slices of copies until none is left or the time is spent; each replica by a thread of its own."""
        with ThreadPoolExecutor(max(len(self.archive.replicas), 1), "sweep", _stand_back) as readers:
            while time.monotonic() < deadline:
                with self.archive.database.transaction() as connection:
                    listed = coverage.copies_to_check(connection, self.started, _LISTED, self._silent())
                    left = coverage.count_to_check(connection, self.started)
                if not listed:
                    return
                for start in range(0, len(listed), _SLICE):
                    judged = self._judge(readers, listed[start : start + _SLICE], deadline)
                    self._mark(judged)
                    left -= len(judged)
                    progress(self.counts["copies"], left)
                    if time.monotonic() >= deadline:
                        return

    def _judge(
        self, readers: ThreadPoolExecutor, waiting: list[Subject], deadline: float
    ) -> list[tuple[Subject, CopyFinding]]:
        silent = self._silent()
        replicas = sorted({subject.copy.replica for subject in waiting}.difference(silent))
        shares = [[each for each in waiting if each.copy.replica == replica] for replica in replicas]
        return [each for judged in readers.map(partial(self._read, deadline), shares) for each in judged]

    def _mark(self, judged: list[tuple[Subject, CopyFinding]]) -> None:
        """Mend what is bad of a slice, and write down all of it."""
        looked_at = []
        for subject, finding in judged:
            outcome = "good" if finding.outcome == "good" else act_on(self.archive, subject, finding)
            self._count(finding, outcome, subject.item.size)
            # One only unlocked was read whole; the mark of one that was replaced touches nothing.
            looked_at.append((subject.copy, "good" if outcome == "healed" else outcome))
        with self.archive.database.transaction() as connection:
            coverage.mark(connection, looked_at, max(self.archive.clock(), self.started))
            self._keep(connection)

    def _read(self, deadline: float, share: list[Subject]) -> list[tuple[Subject, CopyFinding]]:
        """Judge copies of one replica until its time is spent or it answers no more."""
        judged = []
        for subject in share:
            finding = judge(self.archive, subject)
            judged.append((subject, finding))
            silent = finding.outcome == "unreachable"
            self.silent[finding.replica] = self.silent[finding.replica] + 1 if silent else 0
            if self.silent[finding.replica] >= _SILENT_AFTER or time.monotonic() >= deadline:
                break
        return judged

    def judge_proofs(self, deadline: float) -> None:
        """Judge the proofs that are due until none is left or the time is spent."""
        judge_of, now = ProofJudge(self.archive), self.archive.clock()
        while time.monotonic() < deadline:
            with self.archive.database.transaction() as connection:
                due = coverage.proofs_to_check(connection, self.started, _SLICE)
            if not due:
                return
            judged = list(self._judged(judge_of, due, deadline))
            with self.archive.database.transaction() as connection:
                coverage.mark_proofs(connection, judged, max(now, self.started))
                for archive_id, code in judged:
                    if code:
                        journal_broken(connection, self.archive, archive_id, code)
                self._keep(connection)
            if len(judged) < len(due):
                return

    def _judged(self, judge_of: ProofJudge, due: list[str], deadline: float) -> Iterator[tuple[str, str]]:
        for archive_id in due:
            try:
                code = judge_of.judge(archive_id)
            except ServiceUnavailableError:
                continue  # said by the copies of that replica; the proof stays due
            self.counts["proofs"] += 1
            if code:
                self.proofs_bad[archive_id] = code
            yield archive_id, code
            if time.monotonic() >= deadline:
                return

    def _count(self, finding: CopyFinding, outcome: str, size: int) -> None:
        if outcome == "moved":
            # Not read: what was listed is no longer what the catalogue points to.
            self.counts.update({outcome: 1})
            return
        self.counts.update({outcome: 1, "copies": 1, "bytes": size})
        if finding.outcome != "good" and len(self.findings) < _FINDINGS:
            self.findings.append(finding)

    def _silent(self) -> list[str]:
        return [replica for replica, count in self.silent.items() if count >= _SILENT_AFTER]

    def _progress(self) -> dict[str, Any]:
        findings = [asdict(finding) for finding in self.findings]
        return {"counts": dict(self.counts), "findings": findings, "proofs_bad": self.proofs_bad}

    def _keep(self, connection: Connection) -> None:
        """Write what was done so far in the transaction of the marks: the cursor of a sweep that is killed."""
        connection.execute(
            "UPDATE sweep SET progress = %s WHERE sweep_id = %s", (Jsonb(self._progress()), self.sweep_id)
        )

    def end(self, entries: int, strays: int, stores: tuple[StoreFinding, ...]) -> SweepReport:
        """Record the report and its journal entry in one transaction."""
        ended = self.archive.clock()
        with self.archive.database.transaction() as connection:
            remaining = coverage.count_to_check(connection, self.started)
            left_out = remaining - coverage.count_to_check(connection, self.started, self._silent())
            report = SweepReport(
                self.sweep_id,
                self.started,
                ended,
                copies=self.counts["copies"],
                bytes_read=self.counts["bytes"],
                good=self.counts["good"],
                healed=self.counts["healed"],
                unhealed=self.counts["unhealed"],
                unreachable=self.counts["unreachable"] + left_out,
                remaining=remaining,
                strays=strays,
                journal_entries=entries,
                proofs=self.counts["proofs"],
                debt=coverage.debt(connection, ended),
                resumed=self.resumed,
                findings=tuple(self.findings),
                proofs_bad=tuple(sorted(self.proofs_bad.items())),
                stores=stores,
            )
            connection.execute(
                "UPDATE sweep SET ended_at = %s, report = %s, progress = NULL WHERE sweep_id = %s",
                (ended, Jsonb(report.as_dict()), self.sweep_id),
            )
            names = ("copies", "good", "healed", "unhealed", "unreachable", "remaining", "proofs")
            details: dict[str, str | int] = {name: getattr(report, name) for name in names}
            details |= {"proofs_bad": len(report.proofs_bad), "stores": len(report.stores)}
            journal.append(connection, Event.SWEEP_ENDED, ended, details=details)
            journal.sequence(connection)
        return report


def _stand_back() -> None:
    """Let deposits go first: a thread of Linux has a priority of its own, and what reads every byte has all night."""
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), _NICE))

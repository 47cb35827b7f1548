"""Commands on the archive as a whole: sweep, renewal, stores."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

import typer

from deployments.cli import app, running_archive, say, settings, show, table
from minutier.errors import BadInputError

store_app = typer.Typer(help="Look at the WORM stores.", no_args_is_help=True)
app.add_typer(store_app, name="store")

_BUDGET = re.compile(r"(\d+)([smh]?)\Z")


@app.command()
def sweep(
    budget: Annotated[str, typer.Option(help="how long it may take: 90s, 30m, 2h")] = "2h",
    coherence: Annotated[bool, typer.Option(help="check that the tables agree, too")] = True,
) -> int:
    """Re-read every copy now, heal what can be healed, and print the report."""
    match = _BUDGET.match(budget)
    if match is None:
        raise BadInputError("BAD_BUDGET", f"{budget!r} is not a duration.", remedy="Write 90s, 30m or 2h.")
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
    with running_archive() as archive:
        report, state = run_sweep(archive, timedelta(seconds=seconds), coherence=coherence)
    lists = ("findings", "proofs_bad", "stores")
    words = [(name, len(report[name]) if name in lists else report[name]) for name in report if name != "debt"]
    words += [(f"debt: {name}", figure) for name, figure in report["debt"].items()]
    rows: list[tuple[object, ...]] = [
        (item["archive_id"], item["role"], item["replica"], item["outcome"]) for item in report["findings"]
    ]
    found = table(("archive_id", "object", "replica", "found"), rows) if rows else "No damaged copy."
    for each in (*report["proofs_bad"], *report["stores"]):
        say(", ".join(f"{name} {value}" for name, value in each.items()))
    if state.is_failed():
        say(state.message or "")
    show(report, f"{table(('what', 'figure'), list(words))}\n\n{found}")
    return 1 if report["verdict"] == "alarm" or state.is_failed() else 0


def run_sweep(archive: Any, budget: timedelta, *, coherence: bool = True) -> tuple[dict[str, Any], Any]:
    """Run the integrity flow here; gives the report that it recorded, and how the whole run ended."""
    from deployments.commands_documents import failure
    from flows.integrity import sweep_archive

    started = archive.clock()
    say("sweep: re-reading copies")
    state = sweep_archive(int(budget.total_seconds()), coherence, return_state=True)
    with archive.database.transaction() as connection:
        row = connection.execute(
            # By its end: a sweep that was killed goes on under its old start.
            "SELECT report FROM sweep WHERE ended_at >= %s AND report IS NOT NULL ORDER BY ended_at DESC LIMIT 1",
            (started,),
        ).fetchone()
    if row is None:
        raise failure(state)
    report: dict[str, Any] = row["report"]
    return report, state


@app.command()
def morning() -> int:
    """Say in one page whether the night left everything as it must be."""
    from deployments.commands_documents import failure

    with running_archive() as archive:
        from flows.morning import report_morning
        from tasks.morning import as_text, last_morning

        before = last_morning(archive.settings.home)
        state = report_morning(return_state=True)
        report = last_morning(archive.settings.home)
    if report is None or report == before or (report.verdict != "red" and not state.is_completed()):
        raise failure(state)
    show(report.as_dict(), as_text(report))
    return 1 if report.verdict == "red" else 0


@app.command()
def renew(
    margin: Annotated[int, typer.Option(help="days before the end at which to renew", min=1, max=36500)] = 180,
) -> None:
    """Renew evidence whose certificates or algorithms end soon; no document is read."""
    with running_archive() as archive:
        report = run_renewal(archive, margin)
    due = report["next_due"] or "nothing to renew yet"
    rows: list[tuple[object, ...]] = [
        ("new tokens", len(report["new_tokens"])),
        ("old tokens renewed", report["tokens_renewed"]),
        ("documents under a new hash", report["documents_rehashed"]),
        ("next renewal due", due),
    ]
    show(report, "\n".join((table(("what", "figure"), rows), *(f"- {reason}" for reason in report["reasons"]))))


def run_renewal(archive: Any, margin_days: int) -> dict[str, Any]:
    """Run the renewal flow in this process and give its report."""
    from deployments.commands_documents import failure
    from flows.renewal import renew_evidence

    say("renewal: looking for what ends soon")
    state = renew_evidence(margin_days, return_state=True)
    if not state.is_completed():
        raise failure(state)
    report: Any = state.result()
    return dict(report)


@store_app.command("probe")
def probe() -> int:
    """Try to break the lock of every replica: each attempt must be refused."""
    from storage.bootstrap import probe_store

    with running_archive() as archive:
        found = [(store.name, probe_store(archive, store.name)) for store in archive.replicas]
    value = [{"replica": name, **report.as_dict()} for name, report in found]
    rows: list[tuple[object, ...]] = [
        (name, act.act, act.expected, act.outcome, ("!" if act.warning else "✓") if act.ok else "✗")
        for name, report in found
        for act in report.acts
    ]
    show(value, table(("replica", "tried", "expected", "answer", ""), rows))
    return 0 if all(report.ok for _, report in found) else 1


@store_app.command("create")
def create_store(name: str) -> None:
    """Make an empty store in the place of a replica that is lost for good; the next sweep fills it."""
    from deployments.instance import connected
    from storage.bootstrap import make_replica

    made = make_replica(connected(settings()), name)
    empty = f"{name} is an empty store now. Fill it from the others: minutier sweep"
    show({"replica": name, "created": made}, empty if made else f"{name} was there already; what it holds is kept.")

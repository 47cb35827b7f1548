"""Commands for the day that the database is lost: backups, their rehearsal, and the rebuild from the stores alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli import app, running_archive, say, settings, show, table
from minutier.errors import BadInputError, ServiceUnavailableError

if TYPE_CHECKING:
    from storage.comparison import Comparison
    from storage.settings import Settings

_NOT_OURS = "The catalogue is in a server of your own: so are its backups."


@app.command()
def rebuild(
    into: Annotated[str, typer.Option(help="URL of an empty database: postgresql://USER@HOST:PORT/NAME")],
    compare: Annotated[bool, typer.Option(help="compare with the live database, when it answers")] = True,
) -> int:
    """Make catalogue and journal again from the stores and the keys alone, then compare with the live database."""
    from storage.bootstrap import rebuild_sources
    from storage.rebuild import rebuild as make

    chosen = settings()
    report = make(rebuild_sources(chosen), into, datetime.now(UTC), say)
    found = _compare(chosen, into) if compare else None
    value: dict[str, Any] = report.as_dict() | {"comparison": found.as_dict() if found else None}
    show(value, _words(value, found))
    return 0 if not report.findings and not report.silent and (found is None or found.equal) else 1


def _compare(chosen: Settings, into: str) -> Comparison | None:
    """Compare with the live database; None, with a word of why, when none answers, or it is the same one."""
    from deployments.instance import connected
    from storage.comparison import compare as side_by_side

    try:
        live = connected(chosen).database_url or ""
        return side_by_side(live, into, say)
    except (BadInputError, ServiceUnavailableError) as error:
        say(f"Not compared: {error.message}")
        return None


def _words(report: dict[str, Any], found: Comparison | None) -> str:
    names = ("segments", "last_entry", "rows", "documents", "seals", "copies", "checkpoint")
    parts = [table(("made", "figure"), [(name, report[name]) for name in names])]
    parts += [f"{name} did not answer: its copies were not looked at." for name in report["silent"]]
    if report["findings"]:
        rows: list[tuple[object, ...]] = [(each["code"], each["about"], each["message"]) for each in report["findings"]]
        parts.append(table(("finding", "about", "what"), rows))
    if found is None:
        return "\n\n".join([*parts, "It was not compared with a live database."])
    counted: list[tuple[object, ...]] = [
        (each.table, each.rows, each.equal, each.different, each.missing, each.extra, each.later)
        for each in found.tables
    ]
    parts.append(table(("table", "rows", "equal", "different", "missing", "extra", "later"), counted))
    parts += [f"- {name} is not compared: {why}" for name, why in _left_out(found)]
    if any(each.later for each in found.tables):
        parts.append("Rows that are `later` changed after the last segment: `minutier sweep` keeps the journal up.")
    return "\n\n".join([*parts, "Equal, to the last row." if found.equal else "NOT equal."])


def _left_out(found: Comparison) -> list[tuple[str, str]]:
    value = found.as_dict()
    return [*value["transient"].items(), *value["not_compared"].items()]


@app.command()
def backup(base: Annotated[bool, typer.Option(help="take a base backup too")] = True) -> None:
    """Back up the embedded database now, and copy elsewhere what is new."""
    from deployments.commands_documents import failure

    with running_archive():
        from flows.backup import back_up  # Prefect takes its settings when it is imported: not before they are known

        say("backup: at work")
        state = back_up(base, return_state=True)
    if not state.is_completed():
        raise failure(state)
    report: Any = None if state.name == "NotOurs" else state.result()
    show(report, table(("what", "figure"), list(report.items())) if report else _NOT_OURS)


@app.command()
def drill(
    documents: Annotated[int, typer.Option(help="documents to verify, taken at random", min=0, max=100_000)] = 20,
) -> int:
    """Restore the last backup of the embedded database aside, and compare it with life."""
    from deployments.commands_documents import failure
    from deployments.instance import connected
    from tasks.drill import last_drill
    from tasks.postgres_programs import Places, embedded_port

    chosen = connected(settings())
    if embedded_port(chosen) is None:
        show(None, _NOT_OURS)
        return 0
    before = last_drill(Places(chosen.home))
    with running_archive():
        from flows.drill import rehearse

        say("drill: restoring the last backup aside")
        state = rehearse(documents, return_state=True)
    report = last_drill(Places(chosen.home))
    if report is None or report == before:  # a run that died leaves the report of another day
        raise failure(state)
    show(report, table(("what", "found"), list(report.items())))
    return 0 if report["verdict"] == "green" else 1


@app.command("rehearse-exit")
def rehearse_exit(
    documents: Annotated[int, typer.Option(help="documents to let leave, taken at random", min=1, max=10_000)] = 20,
) -> int:
    """Let some documents leave in a bag, verify them, and take them in again in an empty archive aside."""
    from deployments.commands_documents import failure

    with running_archive() as archive:
        from flows.leaving import rehearse_leaving
        from tasks.leaving import last_exit

        before = last_exit(archive.settings.home)
        say("exit rehearsal: at work")
        state = rehearse_leaving(documents, return_state=True)
        report = last_exit(archive.settings.home)
    if report is None or report == before:
        raise failure(state)
    bad = report.pop("bad")
    words = [table(("what", "found"), list(report.items())), *(f"- {each}" for each in bad)]
    show(report | {"bad": bad}, "\n".join(words))
    return 1 if report["verdict"] == "red" else 0

"""Commands on the end of a document's life: hold, release, destroy, purge, and the certificate that stays."""

from __future__ import annotations

import getpass
import re
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli import app, running_archive, say, show, table
from deployments.commands_documents import ID
from deployments.inputs import require_text
from minutier.errors import BadInputError, MinutierError

if TYPE_CHECKING:
    from storage.acts import Act
    from storage.archive import Archive

REASON = Annotated[str, typer.Option("--reason", help="why, in one line")]
BY = Annotated[str, typer.Option("--by", metavar="NAME", help="who acts; default: this account")]
VISA = Annotated[str, typer.Option("--visa", metavar="TEXT", help="number of the archives' visa, where one is needed")]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@app.command()
def hold(identifier: ID, reason: REASON, by: BY = "") -> None:
    """Put a document under legal hold: nothing destroys it while the hold stands."""
    from storage import holds, reading

    require_text(reason=reason, by=by)
    with running_archive() as archive:
        found = reading.find(archive, identifier)
        placed, new = holds.place_hold(archive, found.archive_id, reason, by or account())
    words = f"{'Held' if new else 'Held already'}: {found.archive_id}, hold {placed.hold_id}"
    show(asdict(placed) | {"new": new}, words)


@app.command()
def release(
    identifier: ID,
    reason: REASON,
    hold_id: Annotated[str, typer.Option("--hold", metavar="HOLD", help="which one, where several stand")] = "",
    by: BY = "",
) -> None:
    """Release a legal hold; its class decides again what becomes of the document."""
    from storage import holds, reading

    require_text(reason=reason, by=by, hold=hold_id)
    with running_archive() as archive:
        found = reading.find(archive, identifier)
        released = holds.release_holds(archive, found.archive_id, reason, by or account(), hold_id)
        with archive.database.transaction() as connection:
            left = len(holds.standing(connection, found.archive_id))
    value = {"archive_id": found.archive_id, "released": [each.hold_id for each in released], "standing": left}
    words = f"Released: {released[0].hold_id}; {left} stand still." if released else "No hold stood on it."
    show(value, words)


@app.command("holds")
def list_holds() -> None:
    """List the holds that stand."""
    from storage import holds

    with running_archive() as archive, archive.database.transaction() as connection:
        found = holds.all_standing(connection)
    rows: list[tuple[object, ...]] = [
        (each.archive_id, each.hold_id, each.placed_at.date(), each.placed_by, each.reason) for each in found
    ]
    show([asdict(each) for each in found], table(("archive_id", "hold", "since", "by", "reason"), rows))


@app.command("begin-term")
def begin_term(
    identifiers: Annotated[list[str] | None, typer.Argument(metavar="ID", help="archive_ids or fingerprints")] = None,
    on: Annotated[str, typer.Option("--on", metavar="DATE", help="day of the event, YYYY-MM-DD")] = "",
    reason: Annotated[str, typer.Option("--reason", help="which event, in one line")] = "",
    dossier: Annotated[str, typer.Option("--dossier", help="every archived document of this dossier")] = "",
    safe: Annotated[str, typer.Option("--safe", help="safe of the dossier")] = "demo",
    by: BY = "",
) -> None:
    """Declare the event (end of a contract, of an activity) from which the term of documents runs."""
    from storage import catalogue, reading, terms
    from storage.safes import require_safe

    require_text(reason=reason, by=by, dossier=dossier, safe=safe)
    day = _day(on)
    with running_archive() as archive:
        found = {each.archive_id: each for each in (reading.find(archive, name) for name in identifiers or [])}
        with archive.database.transaction() as connection:
            if dossier:
                require_safe(connection, safe)
                held = catalogue.of_dossiers(connection, safe, [dossier])
                # Others of the dossier wait for no event: a class of its own, or a text, which follows its document.
                waiting = [each for each in held if each.state == "ARCHIVED" and terms.awaits_event(connection, each)]
                found |= {each.archive_id: each for each in waiting}
            if not found:
                raise BadInputError(
                    "NOTHING_NAMED",
                    "No archived document whose class waits for an event is named.",
                    remedy="Give archive_ids, or --dossier NAME.",
                )
            # All are looked at before the first is changed.
            for archive_id in found:
                terms.require_declarable(connection, archive_id, day)
        done = []
        for each in found.values():
            try:
                done.append((each, *terms.begin(archive, each.archive_id, day, reason, by or account())))
            except MinutierError as error:
                error.message += f" Declared before that: {len(done)} of {len(found)} documents."
                raise
    value = [{"archive_id": each.archive_id, "new": new, **term.as_dict()} for each, term, new in done]
    rows: list[tuple[object, ...]] = [
        (each.archive_id, each.reference, term.event_on, term.until.date(), "" if new else "known")
        for each, term, new in done
    ]
    show(value, table(("archive_id", "reference", "event", "kept until", ""), rows))


def _day(text: str) -> date:
    try:
        # Python takes weeks and days without hyphens too: a week is not the day of an event.
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    wrong = f"{text!r} is not a day." if text else "The day of the event is not given."
    raise BadInputError("BAD_DATE", wrong, remedy="Write it YYYY-MM-DD: --on 2026-11-27")


@app.command()
def destroy(identifier: ID, reason: REASON, by: BY = "", visa: VISA = "") -> None:
    """Destroy a document whose term has come, on every replica; gives the number of its sealed certificate."""
    from storage import acts, destruction, reading
    from storage.segments import keep_journal

    require_text(reason=reason, by=by, visa=visa)
    with running_archive() as archive:
        found = reading.find(archive, identifier)
        decision = destruction.Decision(
            acts.require_reason(reason), acts.require_person(by or account(), "who destroys"), visa=visa.strip()
        )
        paper = destruction.destroy(archive, found.archive_id, decision)
        keep_journal(archive)
    value = {"archive_id": found.archive_id, "state": "DESTROYED", "certificate": paper.value}
    words = (
        f"Destroyed: {found.archive_id}, {len(paper.value['versions'])} versions on every replica."
        f"\nIts sealed certificate: minutier certificate {found.archive_id} -o DIR"
    )
    show(value, words)


@app.command()
def certificate(
    identifier: ID,
    output: Annotated[Path, typer.Option("-o", "--output", help="directory to write the two files in")],
) -> None:
    """Write the sealed certificate of a destroyed document: the same bytes each time."""
    from storage import destruction, reading

    require_directory(output)
    with running_archive() as archive:
        found = reading.find(archive, identifier)
        names = write_act(destruction.certificate(archive, found.archive_id), output, found.archive_id)
    show({"archive_id": found.archive_id, "files": names}, f"Written: {', '.join(names)}")


@app.command()
def purge(
    approve: Annotated[str, typer.Option("--approve", metavar="LIST", help="destroy what this list names")] = "",
    reason: Annotated[str, typer.Option("--reason", help="why, in one line; with --approve")] = "",
    by: BY = "",
    visa: VISA = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="directory to write the sealed list in")] = None,
) -> int:
    """List what its class lets go now; with --approve, by another person, destroy what such a list names."""
    require_text(reason=reason, by=by, visa=visa, list=approve)
    if output is not None:
        require_directory(output)
    if approve:
        return _destroy_list(approve, reason, by or account(), visa.strip())
    return _make_list(by or account(), output)


def _make_list(by: str, output: Path | None) -> int:
    from storage import disposal

    with running_archive() as archive:
        # Imported here: Prefect reads its settings once, when it is first imported, and they are those of the instance.
        from flows.purge import review_due

        report = _result(review_due(return_state=True))
        paper = disposal.list_due(archive, by)
        files = write_act(paper, output, paper.act_id) if paper and output else []
        with archive.database.transaction() as connection:
            awaiting = disposal.awaiting(archive, connection)
    documents = paper.value["documents"] if paper else []
    value = {
        "list_id": paper.act_id if paper else None,
        "documents": documents,
        "files": files,
        "awaiting": awaiting,
        **report,
    }
    rows: list[tuple[object, ...]] = [
        (each["archive_id"], each["class"], each["retained_until"], each["visa"]) for each in documents
    ]
    words = "Nothing may go now."
    if paper:
        words = table(("archive_id", "class", "kept until", "visa"), rows)
        words += f"\n\nList {paper.act_id}: nothing goes before another person approves it:"
        words += f"\n  minutier purge --approve {paper.act_id} --by NAME --reason …"
    if awaiting:
        words += f"\n{awaiting} more wait for an event: `minutier begin-term` declares it."
    show(value, words)
    return 1 if report["left"] else 0


def _destroy_list(list_id: str, reason: str, by: str, visa: str) -> int:
    from storage import disposal

    with running_archive() as archive:
        from flows.purge import destroy_approved

        disposal.approve(archive, list_id, by, reason, visa)
        say("purge: destroying what was approved")
        report = _result(destroy_approved(list_id, return_state=True))
        outcomes = _outcomes(archive, list_id)
    rows: list[tuple[object, ...]] = [(each["archive_id"], each["state"], each["certificate_id"]) for each in outcomes]
    words = f"{table(('archive_id', 'state', 'certificate'), rows)}\n\n{report['destroyed']} destroyed."
    words += "".join(f"\n{count} left: {code}" for code, count in report["left"].items())
    show({"list_id": list_id, **report, "documents": outcomes}, words)
    return 1 if report["left"] else 0


def _outcomes(archive: Archive, list_id: str) -> list[dict[str, Any]]:
    from storage import acts

    wanted = [each["archive_id"] for each in acts.get(archive, list_id).value["documents"]]
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT d.archive_id, d.state, x.certificate_id FROM deposit d LEFT JOIN destruction x USING (archive_id)"
            " WHERE d.archive_id = ANY(%s::uuid[]) ORDER BY d.archive_id",
            (wanted,),
        ).fetchall()
    return [
        {
            "archive_id": str(row["archive_id"]),
            "state": row["state"],
            "certificate_id": str(row["certificate_id"]) if row["certificate_id"] else None,
        }
        for row in rows
    ]


def _result(state: Any) -> dict[str, Any]:
    """Give the report of a run that ended, be it that something waits still; raises what stopped it otherwise."""
    from deployments.commands_documents import failure

    report = state.result(raise_on_failure=False)
    if not isinstance(report, dict):
        raise failure(state)
    return report


def write_act(paper: Act, folder: Path, name: str) -> list[str]:
    """Write a sealed paper and its seal in a directory; gives both paths."""
    from storage.files import write_durably

    body = folder / f"{name}.{paper.act}.json"
    files = {body: paper.body, body.with_name(f"{body.name}.p7s"): paper.seal}
    for path, data in files.items():
        write_durably(path, data, mode=0o644)
    return [str(path) for path in files]


def require_directory(output: Path) -> None:
    """Raise BadInputError (`BAD_OUTPUT`) unless a path is a directory."""
    if not output.is_dir():
        raise BadInputError("BAD_OUTPUT", f"There is no directory {output}.", remedy="Give one that exists.")


def account() -> str:
    """Give the name of the account that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "unnamed"

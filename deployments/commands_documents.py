"""Commands on documents: deposit, intake, metadata, list, count, journal, verify."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli import app, printable, running_archive, say, settings, show, table, tell_error
from deployments.inputs import DEPOSITOR, moment, own_reference, read_metadata, require_file, require_text
from minutier.errors import BadInputError, MinutierError

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.catalogue import Deposit

ID = Annotated[str, typer.Argument(metavar="ID", help="archive_id or fingerprint")]

# A state that lasts longer than this is spoken of again.
_PATIENCE_SECONDS = 9.0


@app.command()
def deposit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", readable=False)],
    safe: Annotated[str, typer.Option(help="safe (coffre) to deposit in")] = "demo",
    lifecycle_class: Annotated[str, typer.Option("--class", help="lifecycle class")] = "default",
    reference: Annotated[str, typer.Option(help="the depositor's own reference; one file only")] = "",
    metadata: Annotated[Path | None, typer.Option(help="JSON file: an object of strings")] = None,
    expect: Annotated[str, typer.Option(help="digest that the file must have, ALG:HEX; one file only")] = "",
    blind: Annotated[Path | None, typer.Option(help="the .blind.json of a file that seal-local encrypted")] = None,
) -> int:
    """Archive documents: runs the whole journey and says how each ended."""
    if len(files) > 1 and (reference or expect or blind):
        raise BadInputError(
            "USAGE", "--reference, --expect and --blind go with one file.", remedy="Deposit one by one."
        )
    require_text(reference=reference, safe=safe, **{"class": lifecycle_class})
    described = read_metadata(metadata)
    with running_archive() as archive:
        deposits = _deposit(archive, files, safe, lifecycle_class, reference, described, expect, blind)
    show([_outcome(item) for item in deposits], _outcome_table(deposits))
    return 2 if any(item.state == "REFUSED" for item in deposits) else 0


def _deposit(
    archive: Archive,
    files: list[Path],
    safe: str,
    lifecycle_class: str,
    reference: str,
    metadata: dict[str, str],
    expect: str,
    blind: Path | None,
) -> list[Deposit]:
    from storage.blind import load_delivery
    from storage.reception import Delivery, current, parse_expected, receive

    sealed = load_delivery(blind) if blind else None
    expected = dict([parse_expected(expect)]) if expect else {}
    for path in files:
        if not path.is_file():
            what = "is a directory" if path.is_dir() else "is not there"
            raise BadInputError(
                "FILE_MISSING" if not path.is_dir() else "NOT_A_FILE",
                f"{path} {what}.",
                remedy="Check the name; nothing was deposited.",
            )
        if not os.access(path, os.R_OK):
            raise BadInputError("NOT_READABLE", f"{path} may not be read.", remedy="Check the rights on it.")
    received = []
    for path in files:
        named = reference or own_reference(archive, path)
        say(f"{path.name}: receiving")
        # A name in another encoding (old shares are full of them) is no reason to turn a document away.
        delivery = Delivery(
            path,
            safe,
            lifecycle_class,
            named,
            DEPOSITOR,
            name=printable(path.name),
            metadata=metadata,
            expected=expected,
            blind=sealed,
        )
        received.append(receive(archive, delivery))
    waiting = [item for item in received if item.state not in ("ARCHIVED", "REFUSED")]
    if waiting:
        run_deposit(archive, f"command line · {len(waiting)} document(s)", waiting)
    return [current(archive, item.archive_id) for item in received]


def run_deposit(archive: Archive, title: str, deposits: list[Deposit]) -> None:
    """Run the deposit flow here, on the instance's Prefect server, and raise what stopped it, if anything did."""
    from flows.deposit import deposit_documents
    from tasks.prefect_step import ticket_of

    say(f"{title}: running the deposit flow (screen, render, seal, time-stamp, store, commit, lock, attest)")
    with progress(archive, [item.archive_id for item in deposits]):
        state = deposit_documents(title, [ticket_of(item) for item in deposits], return_state=True)
    if not state.is_completed():
        raise failure(state)


def failure(state: Any) -> MinutierError:
    """Give the error that a failed run ended with."""
    from minutier.errors import ServiceUnavailableError

    error = state.result(raise_on_failure=False)
    if isinstance(error, MinutierError):
        return error
    return ServiceUnavailableError(
        "RUN_FAILED",
        f"The run did not end well ({state.message or state.name}).",
        remedy="Nothing is lost. Run the same command again; the Prefect UI shows the step.",
    )


def _outcome(item: Deposit) -> dict[str, Any]:
    from storage.reading import refusal

    found: dict[str, Any] = {
        "archive_id": item.archive_id,
        "reference": item.reference,
        "state": item.state,
        "fingerprint": item.fingerprint,
    }
    if item.refusal_code:
        found["refusal"] = refusal(item)
    return found


def _outcome_table(deposits: list[Deposit]) -> str:
    rows: list[tuple[object, ...]] = [
        (item.archive_id, item.reference, item.name, item.state, _reason(item)) for item in deposits
    ]
    return table(("archive_id", "reference", "file", "state", "reason"), rows)


def _reason(item: Deposit) -> str:
    if item.refusal_code:
        return f"{item.refusal_code}: {item.refusal_en} / {item.refusal_fr}"
    if item.rendition is None or item.rendition["verdict"] == "passed":
        return ""
    why = [item.rendition["reason"], *item.rendition.get("findings", [])[:1]]
    return f"PDF/A rendition {item.rendition['verdict']}: {', '.join(why)}"


@contextmanager
def progress(archive: Archive, documents: list[str] | None = None, *, safe: str | None = None) -> Iterator[None]:
    """Say every few seconds where the documents given, or those of a safe, stand, while the block runs."""
    from storage import catalogue

    ended = threading.Event()

    def tell() -> None:
        last, line, since, states = "", "", time.monotonic(), dict[str, int]()
        while not ended.wait(3.0):
            with suppress(MinutierError), archive.database.transaction() as connection:
                states = catalogue.count_by_state(connection, safe, documents)
                line = "  " + ", ".join(f"{states[name]} {name.lower()}" for name in sorted(states))
            still = time.monotonic() - since
            if line.strip() and line != last:
                say(line)
                last, since = line, time.monotonic()
            elif last and still >= _PATIENCE_SECONDS:
                # With documents on their way, most likely a service that does not answer is asked again.
                on_their_way = set(states) - {*catalogue.ENDED_STATES, "ARCHIVED", *catalogue.DESTROYED_STATES}
                doing = "what did not answer is tried again" if on_their_way else "the rest of the work goes on"
                say(f"{last} (for {int(still)} s: {doing})")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


@app.command()
def intake(
    feed: Annotated[str, typer.Argument(metavar="FEED")],
    directory: Annotated[Path | None, typer.Option("--dir", help="the feed's directory of batches")] = None,
) -> int:
    """Take one feed's waiting batches now."""
    require_text(feed=feed)
    with running_archive() as archive:
        # Imported here: Prefect reads its settings once, when it is first imported, and they are those of the instance.
        from tasks.door import inbox, left_alone

        reports, state = run_intake(archive, feed, directory)
        waiting = left_alone(archive, feed, inbox(archive, feed, str(directory) if directory else None))
    lines = [line | {"batch": report["batch"]} for report in reports for line in report["lines"]]
    rows: list[tuple[object, ...]] = [
        (line["batch"], line["reference"], line["etat"], line["motif"], line["explication"]) for line in lines
    ]
    words = table(("batch", "reference", "état", "motif", "explication"), rows) if rows else "Nothing was taken."
    for name, seconds in waiting:
        words += f"\n{name}: a file is absent or short; it may still be coming. Taken as it is in {seconds} s."
    value: dict[str, Any] = {
        "feed": feed,
        "batches": reports,
        "waiting": [{"batch": name, "seconds": seconds} for name, seconds in waiting],
    }
    if not state.is_completed():
        error = failure(state)
        show(value | {"error": error.as_dict()}, words)
        tell_error(error)
        return error.exit_code
    show(value, words)
    return 1 if any(line["motif"] for line in lines) else 0


@app.command()
def dossiers(
    feed: Annotated[str, typer.Argument(metavar="FEED")],
    missing: Annotated[bool, typer.Option("--missing", help="incomplete ones only")] = False,
) -> int:
    """Show the dossiers of a feed that follows a profile: which pieces are there, which are missing."""
    from storage import catalogue
    from storage.safes import require_safe
    from tasks.dossiers import dossiers_of

    require_text(feed=feed)
    with running_archive() as archive, archive.database.transaction() as connection:
        require_safe(connection, feed)
        found = dossiers_of(feed, catalogue.list_deposits(connection, feed))
    shown = [(profile, each) for profile, each in found if not (missing and each.complete)]
    value = [each.as_dict() | {"fr": each.words(profile), "en": each.words(profile, "en")} for profile, each in shown]
    rows: list[tuple[object, ...]] = [
        (each.number, each.title, "complet" if each.complete else "incomplet", each.words(profile))
        for profile, each in shown
    ]
    words = table(("dossier", "opération", "état", "pièces"), rows)
    show(value, words if rows else "No dossier" + (" lacks a piece." if found else " that follows a profile."))
    return 1 if any(not each.complete for _, each in shown) else 0


def run_intake(archive: Archive, feed: str, directory: Path | None) -> tuple[list[dict[str, Any]], Any]:
    """Run the intake flow here; gives the reports of the batches taken, and the run's state."""
    from flows.intake import take_feed
    from tasks.door import inbox

    inbox(archive, feed, str(directory) if directory else None)
    started = archive.clock()
    say(f"feed {feed}: taking what waits")
    with progress(archive, safe=feed):
        state = take_feed(feed, str(directory.absolute()) if directory else None, return_state=True)
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT report FROM batch WHERE feed = %s AND taken_at >= %s ORDER BY name", (feed, started)
        ).fetchall()
    return [row["report"] for row in rows], state


@app.command()
def metadata(identifier: ID) -> None:
    """Show the technical metadata of a document (NF Z42-020)."""
    from storage import reading

    with running_archive() as archive:
        value = reading.technical_metadata(archive, reading.find(archive, identifier))
    show(value, json.dumps(value, ensure_ascii=False, indent=2))


@app.command("list")
def list_documents(safe: Annotated[str | None, typer.Option(help="one safe only")] = None) -> None:
    """List deposits with their state."""
    from storage import catalogue, waiting
    from storage.safes import require_safe

    with running_archive() as archive, archive.database.transaction() as connection:
        if safe:
            require_safe(connection, safe)
        found = catalogue.list_deposits(connection, safe)
        waits, sentence = waiting.waits(connection), waiting.summary(connection)
    value = [_outcome(item) | {"safe": item.safe, "dossier": item.dossier, "name": item.name} for item in found]
    value = [item | waiting.member(waits, item["archive_id"]) for item in value]
    rows: list[tuple[object, ...]] = [
        (item.archive_id, item.safe, item.dossier, item.reference, item.name, item.state,
         item.refusal_code or waiting.code(waits, item.archive_id))
        for item in found
    ]  # fmt: skip
    if sentence:
        say(sentence)
    show(value, table(("archive_id", "safe", "dossier", "reference", "file", "state", "reason"), rows))


@app.command()
def count(safe: Annotated[str | None, typer.Option(help="one safe only")] = None) -> None:
    """Count archived documents (and deposits by state)."""
    from storage import catalogue
    from storage.safes import require_safe

    with running_archive() as archive, archive.database.transaction() as connection:
        if safe:
            require_safe(connection, safe)
        states = catalogue.count_by_state(connection, safe)
    archived = states.get("ARCHIVED", 0)
    others = [f"{states[name]} {name.lower()}" for name in sorted(states) if name != "ARCHIVED"]
    show({"count": archived, "states": states}, ", ".join([f"{archived} archived", *others]))


@app.command("verify")
def verify_proof(
    bundle: Annotated[Path, typer.Argument(metavar="P.zip")],
    trust: Annotated[Path | None, typer.Option(help="directory of trust anchors")] = None,
    at: Annotated[str, typer.Option(help="time to judge at, RFC 3339; now by default")] = "",
    opening: Annotated[Path | None, typer.Option(help="the .opening.json of a blind document")] = None,
    document: Annotated[Path | None, typer.Option(help="with --opening: the document in clear")] = None,
    report: Annotated[Path | None, typer.Option(help="directory for an integrity report (eIDAS, article 45j)")] = None,
) -> int:
    """Check a proof offline; needs no running instance."""
    from deployments.reports import judges, show_report
    from minutier.report import Verdict, as_text
    from minutier.trust import load_trust
    from minutier.verify import verify
    from minutier.verify_opening import verify_opening

    if (opening is None) != (document is None):
        raise BadInputError("USAGE", "--opening and --document go together.", remedy="Give both, or none.")

    require_file(bundle)
    if report is not None and (at or opening is not None):
        what = "A report is about the moment at which it is made, and about the proof alone."
        raise BadInputError("USAGE", what, remedy="Leave --at and --opening out.")
    directory = _trust_directory(trust)
    anchors = load_trust(directory)
    judged_by = judges(directory, anchors)
    say(f"judged by: {judged_by}")
    if report is not None:
        return show_report(bundle, anchors, report, judged_by)
    found = verify(bundle, anchors, moment(at))
    if opening is not None and document is not None:
        found = verify_opening(found, bundle, opening, document)
    value = found.as_dict()
    value["facts"]["judged_by"] = judged_by
    show(value, as_text(found))
    return 0 if found.verdict is Verdict.PASSED else 1


def _trust_directory(named: Path | None) -> Path | None:
    """Give the directory of trust anchors: the one named, else the instance's, else none (never the bundle's own)."""
    if named is not None:
        return named
    own = settings().trust_dir
    return own if own.is_dir() else None

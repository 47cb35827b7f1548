"""Commands that give documents back, and that empty a safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli import app, running_archive, say, show, table
from deployments.commands_lifecycle import BY, REASON, VISA, account
from deployments.commands_reading import IDENTITY, archive_with
from deployments.inputs import require_text
from minutier.errors import BadInputError

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.catalogue import Deposit


@app.command()
def restitute(
    output: Annotated[Path, typer.Option("-o", "--output", help="directory of the bag, new or empty")],
    identifiers: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="archive_ids or fingerprints")
    ] = None,
    safe: Annotated[str, typer.Option(help="every archived document of this safe")] = "",
    dossier: Annotated[str, typer.Option(help="with --safe: of this dossier only")] = "",
    to: Annotated[str, typer.Option(help="to whom, for the attestation")] = "",
    identity: IDENTITY = None,
) -> int:
    """Give documents back with their proofs, in open formats, and attest it; run again, it goes on."""
    from tasks.restituting import restitute as give
    from tasks.restituting import summary

    require_text(safe=safe, dossier=dossier, to=to)
    with archive_with(identity) as archive:
        chosen = _chosen(archive, identifiers or [], safe, dossier)
        done = give(archive, chosen, output, to=to, progress=_progress("restitute"))
    words = f"Given: {len(done.given)} documents, {done.bytes} bytes, checked: {output}"
    words += f"\nThe sealed attestation: {output / 'restitution.json'} and its seal .p7s"
    if done.missing:
        rows: list[tuple[object, ...]] = list(done.missing)
        words += f"\n\nNot given:\n{table(('archive_id', 'why'), rows)}"
    show(summary(done), words)
    return 1 if done.missing else 0


def _chosen(archive: Archive, identifiers: list[str], safe: str, dossier: str) -> list[Deposit]:
    from storage import catalogue, reading
    from storage.safes import require_safe

    if bool(identifiers) == bool(safe) or (dossier and not safe):
        raise BadInputError(
            "USAGE", "Name the documents, or a safe.", remedy="minutier restitute ID… -o DIR, or --safe S [--dossier D]"
        )
    if identifiers:
        found = {each.archive_id: each for each in (reading.find(archive, one) for one in identifiers)}
        for each in found.values():
            reading.require_archived(each)
        return list(found.values())
    with archive.database.transaction() as connection:
        require_safe(connection, safe)
        known = catalogue.list_deposits(connection, safe)
    return [each for each in known if each.state == "ARCHIVED" and dossier in ("", each.dossier)]


@app.command()
def empty(safe: Annotated[str, typer.Argument(metavar="SAFE")], reason: REASON, by: BY = "", visa: VISA = "") -> int:
    """Destroy every document of a safe whose term has come; what may not go is left, and said."""
    from storage import acts, destruction, disposal
    from storage.segments import keep_journal

    require_text(reason=reason, by=by, visa=visa, safe=safe)
    with running_archive() as archive:
        decision = destruction.Decision(
            acts.require_reason(reason), acts.require_person(by or account(), "who empties"), visa=visa.strip()
        )
        outcomes = disposal.empty_safe(archive, safe, decision, _progress("empty"))
        keep_journal(archive)
    left = [each for each in outcomes if each.outcome != "destroyed"]
    value = {
        "safe": safe,
        "empty": not left,
        "destroyed": [each.archive_id for each in outcomes if each.outcome == "destroyed"],
        "left": [asdict(each) for each in left],
    }
    rows: list[tuple[object, ...]] = [(each.archive_id, each.outcome, each.detail) for each in left]
    words = f"{len(outcomes) - len(left)} destroyed."
    words += f"\n\nLeft:\n{table(('archive_id', 'code', 'why'), rows)}" if left else f" The safe {safe} is empty."
    show(value, words)
    return 4 if left else 0


def _progress(name: str) -> Callable[[int, int], None]:
    def tell(done: int, of: int) -> None:
        if of and (done == of or done % max(1, of // 20) == 0):
            say(f"{name}: {done} of {of}")

    return tell

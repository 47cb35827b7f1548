"""Commands on how a deposit ends: abandoned on purpose, or attested."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli import app, running_archive, show
from deployments.commands_documents import ID
from minutier.errors import BadInputError


@app.command()
def abandon(
    identifier: ID,
    reason: Annotated[str, typer.Option(help="why, in one line; kept in the journal, so name no person")],
) -> None:
    """Give up a deposit that is not in the archive yet; its bytes wait in quarantine."""
    from storage import abandoning, reading

    with running_archive() as archive:
        ended = abandoning.abandon(archive, reading.find(archive, identifier).archive_id, reason)
    value = {"archive_id": ended.archive_id, "reference": ended.reference, "state": ended.state}
    show(value, f"Abandoned: {ended.archive_id} ({ended.reference}). The same reference may be sent again.")


@app.command()
def attestation(
    identifier: ID,
    output: Annotated[Path, typer.Option("-o", "--output", help="directory to write the two files in")],
) -> None:
    """Write the sealed attestation of an archived document: the same bytes each time."""
    from storage import outbox, reading
    from storage.files import write_durably

    if not output.is_dir():
        raise BadInputError("BAD_OUTPUT", f"There is no directory {output}.", remedy="Give one that exists.")
    with running_archive() as archive:
        found = reading.find(archive, identifier)
        kept = outbox.attestation(archive, found)
    body = output / f"{found.archive_id}.attestation.json"
    files = {body: kept.body, body.with_name(f"{body.name}.p7s"): kept.seal}
    for path, data in files.items():
        write_durably(path, data, mode=0o644)
    names = [str(path) for path in files]
    show({"archive_id": found.archive_id, "files": names}, f"Written: {', '.join(names)}")

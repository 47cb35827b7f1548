"""Commands on what was refused: list it, give it back, delete it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli import app, running_archive, show, table
from deployments.commands_documents import ID
from deployments.commands_lifecycle import REASON
from deployments.commands_reading import writable
from deployments.inputs import require_text

quarantine_app = typer.Typer(help="What was refused or given up, and waits for its depositor.", no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")


@quarantine_app.command("list")
def list_waiting() -> None:
    """List what waits in quarantine, and when it goes by itself."""
    from storage import quarantine

    with running_archive() as archive:
        found = quarantine.waiting(archive)
    rows: list[tuple[object, ...]] = [
        (each.name, each.safe, each.reference, each.code, each.until.date() if each.until else "never", each.bytes)
        for each in found
    ]
    words = table(("archive_id", "safe", "reference", "refused for", "until", "bytes"), rows)
    show([asdict(each) for each in found], words if rows else "Nothing waits in quarantine.")


@quarantine_app.command("release")
def release_waiting(
    identifier: ID,
    reason: REASON,
    output: Annotated[Path, typer.Option("-o", "--output", help="where to write the refused bytes")],
) -> None:
    """Give refused bytes back as they came; they may be harmful, and stay in quarantine."""
    from storage import quarantine

    require_text(reason=reason)
    target = writable(output)
    with running_archive() as archive:
        quarantine.release(archive, identifier, target, reason)
    show({"archive_id": identifier, "output": str(output)}, f"Written as it came, refused: {output}")


@quarantine_app.command("delete")
def delete_waiting(identifier: ID, reason: REASON) -> None:
    """Delete refused bytes before their term."""
    from storage import quarantine

    require_text(reason=reason)
    with running_archive() as archive:
        quarantine.delete(archive, identifier, reason)
    show({"archive_id": identifier, "deleted": True}, f"Deleted from quarantine: {identifier}")

"""The command that reads scanned documents by machine."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli import app, running_archive, say, show
from minutier.errors import ServiceUnavailableError


@app.command("texts")
def read_texts(
    limit: Annotated[int, typer.Option(help="documents to look at", min=1, max=100_000)] = 200,
) -> None:
    """Recognise the text of scanned documents now, and archive it as documents of their own."""
    from deployments.commands_documents import failure
    from tasks import ocr, sandbox

    if not sandbox.version_of(ocr.PROGRAM):
        raise ServiceUnavailableError(
            "NO_OCR",
            "There is no tesseract on this machine: no text can be recognised.",
            remedy="Install it with its French data (Debian: tesseract-ocr tesseract-ocr-fra), then run this again.",
        )
    with running_archive():
        # Imported here: Prefect reads its settings once, when it is first imported, and they are those of the instance.
        from flows.texts import recognise_texts

        say(f"texts: looking at up to {limit} documents")
        state = recognise_texts(limit, return_state=True)
        if not state.is_completed():
            raise failure(state)
        looked_at, found = state.result()
    show({"looked_at": looked_at, "texts": found}, f"{looked_at} documents looked at, {found} texts archived.")

"""Commands that give a document back or prove it: read, check, proof. A client's identities go with each."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli import app, running_archive, show, table
from deployments.commands_documents import ID
from minutier.errors import BadInputError, MinutierError

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.catalogue import Deposit

IDENTITY = Annotated[
    list[Path] | None, typer.Option("--identity", help="age identity file of the client; may be repeated")
]
_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})\Z")


@contextmanager
def archive_with(identities: list[Path] | None) -> Iterator[Archive]:
    """Open the archive of a running instance, holding identities that stay in the memory of this command."""
    from storage.keys import read_identity_file

    held = [identity for path in identities or () for identity in read_identity_file(path)]
    with running_archive() as archive:
        yield dataclasses.replace(archive, keys=archive.keys.holding(held))


@app.command()
def read(
    identifier: ID,
    output: Annotated[Path, typer.Option("-o", "--output", help="where to write the document")],
    rendition: Annotated[bool, typer.Option("--rendition", help="the PDF/A rendition instead of the original")] = False,
    text: Annotated[bool, typer.Option("--text", help="the PDF/A with the text that a machine recognised")] = False,
    identity: IDENTITY = None,
    encrypted: Annotated[bool, typer.Option("--encrypted", help="the stored bytes and the wrapped key")] = False,
    span: Annotated[str, typer.Option("--range", metavar="A-B", help="bytes A to B only, from 0")] = "",
) -> None:
    """Give a document back, bit for bit, verified against its sealed manifest."""
    from storage import opening, reading

    bounds = _bounds(span)
    if encrypted and bounds:
        raise BadInputError("USAGE", "--range and --encrypted do not go together.", remedy="Use one of them.")
    target, role = writable(output), "rendition" if rendition else "original"
    value: dict[str, Any] = {"output": str(output)}
    with _or_encrypted(), archive_with(identity) as archive:
        found = reading.find(archive, identifier)
        if text:
            found, role = _text_of(archive, found), "original"
        if bounds:
            value |= {"bytes": _write_range(archive, found, role, bounds, target), "verified": "chunks"}
            words = f"{value['bytes']} bytes written: {output}. Authenticated, not compared with the sealed digests."
        elif encrypted:
            key = target.with_name(f"{target.name.removesuffix('.age')}.key.age")
            opening.write_wrapped(archive, found, key)
            reading.read_encrypted(archive, found, target, role=role)
            value |= {"wrapped_key": str(key), "verified": "ciphertext"}
            words = f"Written as stored: {output}, and its wrapped key: {key}"
        else:
            reading.read(archive, found, target, role=role)
            words = f"Written and verified: {output}"
    show({"archive_id": found.archive_id} | value, words)


def _text_of(archive: Archive, source: Deposit) -> Deposit:
    from storage import reading, texts

    with archive.database.transaction() as connection:
        text_id = texts.text_of(connection, source.archive_id)
    if text_id is None:
        raise BadInputError(
            "NO_TEXT",
            "No recognised text is archived for this document.",
            remedy="`minutier texts` reads scanned documents that wait; a document with text of its own has none.",
        )
    return reading.find(archive, text_id)


@contextmanager
def _or_encrypted() -> Iterator[None]:
    """Say of a document that needs an identity what `read`, alone of all commands, gives without one."""
    try:
        yield
    except BadInputError as error:
        if error.code != "IDENTITY_NEEDED":
            raise
        remedy = f"{error.remedy} Or take the ciphertext: minutier read ID --encrypted -o FILE"
        raise BadInputError("IDENTITY_NEEDED", error.message, remedy=remedy) from error


def _bounds(span: str) -> tuple[int, int] | None:
    if not span:
        return None
    match = _RANGE.match(span)
    if match is None:
        raise BadInputError("BAD_RANGE", f"{span!r} is not a range.", remedy="Write A-B, two numbers of bytes from 0.")
    return int(match[1]), int(match[2])


def _write_range(archive: Archive, found: Deposit, role: str, bounds: tuple[int, int], target: Path) -> int:
    from storage.files import write_durably
    from storage.opening import read_range
    from storage.reading import require_archived

    require_archived(found)
    data = read_range(archive, found, role, *bounds)
    write_durably(target, data)
    return len(data)


@app.command()
def check(identifier: ID, identity: IDENTITY = None) -> int:
    """Re-read every copy of a document and check its whole proof."""
    from minutier.report import Verdict

    with archive_with(identity) as archive:
        from storage import reading

        found = reading.find(archive, identifier)
        copies = reading.check_copies(archive, found)
        bad = [item for item in copies if item.outcome != "good"]
        report, not_checked = None, "no good copy"
        if len(bad) < len(copies):
            report, not_checked = _check_proof(archive, found)
    verdict = Verdict.FAILED if bad else report.verdict if report else Verdict.INDETERMINATE
    value = {
        "archive_id": found.archive_id,
        "copies": [dataclasses.asdict(item) for item in copies],
        "proof": report.as_dict() if report else None,
        "not_checked": not_checked,
        "verdict": verdict.value,
        "good": verdict is Verdict.PASSED,
    }
    rows: list[tuple[object, ...]] = [(item.role, item.replica, item.outcome, item.detail) for item in copies]
    words = table(("object", "replica", "found", "detail"), rows)
    told = report.verdict.value if report else f"not checked: {not_checked}"
    show(value, f"{words}\n\nproof: {told}\nverdict: {verdict.value}")
    return 0 if value["good"] else 1


def _check_proof(archive: Archive, found: Deposit) -> tuple[Any, str]:
    """Give the report on the proof; or none, and why, when the document does not open without its client."""
    from minutier.trust import load_trust
    from minutier.verify import verify
    from storage.proofs import write_proof
    from storage.reading import require_sealed

    with tempfile.TemporaryDirectory(prefix="minutier-check-") as folder:
        target = Path(folder) / "proof.zip"
        try:
            write_proof(archive, found, target)
        except MinutierError as error:
            if error.code != "IDENTITY_NEEDED":
                raise
            # What needs no key is checked all the same; what it raises is the answer.
            require_sealed(archive, found)
            return None, "the clients of its safe hold the keys: give --identity to compare the document with its seal"
        return verify(target, load_trust(archive.settings.trust_dir), archive.clock()), ""


@app.command()
def proof(
    identifier: ID,
    output: Annotated[Path, typer.Option("-o", "--output", help="the zip to write")],
    identity: IDENTITY = None,
) -> None:
    """Export the self-contained proof of one document."""
    from storage import proofs, reading
    from tasks.statement import make_statement

    target = writable(output)
    value: dict[str, Any] = {"output": str(output)}
    words = f"Proof written: {output}"
    with archive_with(identity) as archive:
        found = reading.find(archive, identifier)
        proofs.export_proof(archive, found, target, make_statement)
        if identity and (opening := _write_opening(archive, found, target)):
            value["opening"] = str(opening)
            words += f"\nThe opened commitment, which links it to the document in clear: {opening}"
    show({"archive_id": found.archive_id} | value, words)


def _write_opening(archive: Archive, found: Deposit, target: Path) -> Path | None:
    """Write beside the proof of a blind document what its commitment says of the document in clear."""
    from storage.blind import is_blind, opened
    from storage.files import write_durably
    from storage.opening import document_identity

    if not is_blind(found):
        return None
    path = target.with_name(f"{target.name.removesuffix('.zip')}.opening.json")
    write_durably(path, opened(found, document_identity(archive, found))[0])
    return path


def writable(output: Path) -> Path:
    """Refuse a place that cannot be written before any work is done; gives the absolute path."""
    folder = output.absolute().parent
    if output.is_dir() or not folder.is_dir():
        what = f"{output} is a directory." if output.is_dir() else f"There is no directory {folder}."
        raise BadInputError("BAD_OUTPUT", what, remedy="Give the name of a file in a directory that exists.")
    return output.absolute()

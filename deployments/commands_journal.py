"""The command on the legal journal: show it, prove one of its entries to others, verify such a proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli import app, running_archive, settings, show, table
from deployments.commands_reading import writable
from minutier.errors import BadInputError


@app.command()
def journal(
    identifier: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    proof: Annotated[int | None, typer.Option("--proof", metavar="N", help="prove entry N to others", min=1)] = None,
    check: Annotated[Path | None, typer.Option("--check", metavar="FILE", help="verify such a proof, offline")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="where to write the proof")] = None,
    trust: Annotated[Path | None, typer.Option(help="directory of the journal's keys, for --check")] = None,
) -> None:
    """Show the journal, whole or of one document; prove that one entry is in it, or verify such a proof."""
    if check is not None:
        _check_line(check, trust)
        return
    if (proof is None) != (output is None):
        raise BadInputError("USAGE", "--proof and -o go together.", remedy="minutier journal --proof N -o FILE")
    if proof is not None and output is not None:
        _prove_line(proof, writable(output))
        return
    from storage import journal as store
    from storage import reading

    with running_archive() as archive:
        wanted = reading.find(archive, identifier).archive_id if identifier else None
        with archive.database.transaction() as connection:
            lines = list(store.lines(connection, wanted))
    value = [{"seq": line.seq} | json.loads(line.entry) for line in lines]
    rows: list[tuple[object, ...]] = [
        (item["seq"], item["at"], item["event"], item["archive_id"], json.dumps(item["details"])) for item in value
    ]
    show(value, table(("seq", "at", "event", "archive_id", "details"), rows))


def _prove_line(seq: int, target: Path) -> None:
    from storage.files import write_durably
    from storage.proofs import prove_line

    with running_archive() as archive:
        write_durably(target, prove_line(archive, seq), mode=0o644)
    show({"seq": seq, "output": str(target)}, f"Proof of entry {seq} written: {target}")


def _check_line(path: Path, trust: Path | None) -> None:
    """Verify a proof; IntegrityFailureError, exit 1, says what does not hold."""
    from minutier import tlog_proof
    from minutier.trust import load_trust

    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError("NOT_READABLE", f"{path} cannot be read.", remedy="Give a proof of one entry.") from error
    anchors = load_trust(trust or settings().trust_dir)
    found, checkpoint = tlog_proof.verify(data, anchors.journal_keys)
    try:
        entry = json.loads(found.entry)
        said = f"{entry['event']} at {entry['at']}"
    except (ValueError, KeyError, TypeError):  # in the tree all the same, whatever it says
        entry, said = found.entry.decode("utf-8", "replace"), "whose words this version cannot read"
    words = f"PASSED: entry {found.index + 1} of {checkpoint.size}, {said}"
    show({"verdict": "PASSED", "seq": found.index + 1, "size": checkpoint.size, "entry": entry}, words)

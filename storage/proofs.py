"""Checkpoints of the journal, and the self-contained proof of one document (docs/format/proof-v1.md)."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePath

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minutier import evidence, merkle, proof
from minutier.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from minutier.seal import inspect_seal
from minutier.timestamp import inspect_token
from storage import catalogue, journal
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.database import Connection
from storage.dev_ca import JOURNAL_NAME
from storage.files import publish
from storage.reading import fetch, require_archived

ORIGIN = JOURNAL_NAME


def make_checkpoint(archive: Archive, connection: Connection) -> Checkpoint:
    """Number what waits, then sign a checkpoint over the whole journal and keep it; the last one if nothing is new."""
    while journal.sequence(connection):
        pass
    size, _ = journal.head(connection)
    row = connection.execute("SELECT root FROM journal_checkpoint WHERE size = %s", (size,)).fetchone()
    if row is not None:
        return Checkpoint(ORIGIN, size, bytes(row["root"]))
    checkpoint = Checkpoint(ORIGIN, size, merkle.root(journal.leaves(connection, size)))
    key = NoteKey(ORIGIN, archive.journal_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    note = sign_checkpoint(checkpoint, key, archive.journal_key.sign)
    connection.execute(
        "INSERT INTO journal_checkpoint (size, root, note, at) VALUES (%s, %s, %s, %s)",
        (size, checkpoint.root, note.decode(), archive.clock()),
    )
    return checkpoint


def export_proof(archive: Archive, deposit: Deposit, target: Path) -> None:
    """Write the proof of an archived document to `target`, whole or not at all; the act is journaled."""
    write_proof(archive, deposit, target)
    with archive.database.transaction() as connection:
        journal.append(
            connection, Event.PROOF_EXPORTED, archive.clock(), archive_id=deposit.archive_id, safe=deposit.safe
        )


def write_proof(archive: Archive, deposit: Deposit, target: Path) -> None:
    """Write the proof of an archived document to `target`, whole or not at all, for the archive's own checks."""
    require_archived(deposit)
    if deposit.manifest is None or deposit.seal is None or deposit.evidence is None:
        raise IntegrityFailureError(
            "PART_MISSING", "The catalogue has lost a part of the proof.", remedy="Rebuild it from the stores."
        )
    with archive.database.transaction() as connection:
        line = journal.committed_line(connection, deposit.archive_id)
        checkpoint = make_checkpoint(archive, connection)
        line = journal.committed_line(connection, deposit.archive_id)
        leaves = journal.leaves(connection, checkpoint.size)
        row = connection.execute("SELECT note FROM journal_checkpoint WHERE size = %s", (checkpoint.size,)).fetchone()
        roles = catalogue.objects(connection, deposit.archive_id)
    if line.seq is None or row is None:
        raise IntegrityFailureError(
            "JOURNAL_ENTRY_COUNT", "The commit entry has no number.", remedy="Run the same command again."
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".proof-") as folder:
        original, rendition = Path(folder) / "original", Path(folder) / "rendition.pdf"
        fetch(archive, deposit, "original", original)
        if "rendition" in roles:
            fetch(archive, deposit, "rendition", rendition)
        # The certificates of the time: those of today may have followed them.
        token = inspect_token(evidence.decode_record(deposit.evidence).first.token)
        sealed = inspect_seal(deposit.manifest, deposit.seal)
        chain = [sealed.signer, *(c for c in sealed.certificates if c != sealed.signer)]
        parts = proof.ProofParts(
            archive_id=deposit.archive_id,
            original=original,
            original_extension=PurePath(deposit.name).suffix.removeprefix("."),
            manifest=deposit.manifest,
            seal=deposit.seal,
            record=deposit.evidence,
            seal_chain=chain,
            token_chain=[token.signer, *(c for c in token.certificates if c != token.signer)],
            roots=archive.roots,
            entry=line.entry,
            entry_index=line.seq - 1,
            tree_size=checkpoint.size,
            tree_root=checkpoint.root,
            inclusion_path=merkle.inclusion_proof(leaves, line.seq - 1),
            checkpoint=row["note"].encode(),
            rendition=rendition if rendition.exists() else None,
            crls={f"crl-{n}": crl.public_bytes(Encoding.DER) for n, crl in enumerate(archive.crls, 1)},
        )
        written = Path(folder) / "proof.zip"
        proof.assemble(parts, written)
        publish(written, target)

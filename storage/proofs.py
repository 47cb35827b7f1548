"""Checkpoints of the journal, and the self-contained proof of one document (docs/format/proof-v1.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePath

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minutier import evidence, merkle, proof, tlog_proof
from minutier.certificates import signed_by, validate_path
from minutier.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.events import Event
from minutier.seal import SECOND_PREFIX, inspect_seal, inspect_second_seal
from minutier.timestamp import inspect_token
from storage import catalogue, journal, revocation, tiles
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.database import Connection
from storage.dev_ca import JOURNAL_NAME
from storage.evidence_store import TokenLine, anchor_of, record_of
from storage.files import publish
from storage.reading import fetch, require_archived
from storage.sealer import Sealed

ORIGIN = JOURNAL_NAME
# Draws the page for people of a proof (PDF/A), as of a time: the drawing is the business of tasks.
Statement = Callable[[proof.ProofParts, datetime], bytes]


def make_checkpoint(archive: Archive, connection: Connection) -> Checkpoint:
    """Number what waits, then sign a checkpoint over the whole journal and keep it; the last one if nothing is new."""
    while journal.sequence(connection):
        pass
    size, _ = journal.head(connection)
    return _checkpoint(archive, connection, size)[0]


def checkpoint_of(archive: Archive, connection: Connection, size: int) -> bytes:
    """Give the signed note of a checkpoint over the first `size` entries, all of them numbered: kept, or made now."""
    return _checkpoint(archive, connection, size)[1]


def _checkpoint(archive: Archive, connection: Connection, size: int) -> tuple[Checkpoint, bytes]:
    row = connection.execute("SELECT root, note FROM journal_checkpoint WHERE size = %s", (size,)).fetchone()
    if row is not None:
        return Checkpoint(ORIGIN, size, bytes(row["root"])), str(row["note"]).encode()
    checkpoint = Checkpoint(ORIGIN, size, merkle.root(journal.leaves(connection, size)))
    key = NoteKey(ORIGIN, archive.journal_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    note = sign_checkpoint(checkpoint, key, archive.journal_key.sign)
    connection.execute(
        "INSERT INTO journal_checkpoint (size, root, note, at) VALUES (%s, %s, %s, %s)",
        (size, checkpoint.root, note.decode(), archive.clock()),
    )
    return checkpoint, note


def export_proof(archive: Archive, deposit: Deposit, target: Path, statement: Statement | None = None) -> None:
    """Write the proof of an archived document to `target`, whole or not at all; the act is journaled.

    With `statement`, the proof holds that page for people too, sealed by the archive.
    """
    sealed = write_proof(archive, deposit, target, statement)
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.PROOF_EXPORTED,
            archive.clock(),
            archive_id=deposit.archive_id,
            safe=deposit.safe,
            details=sealed.journaled(connection) if sealed else None,
        )


def write_proof(archive: Archive, deposit: Deposit, target: Path, statement: Statement | None = None) -> Sealed | None:
    """Write the proof of an archived document to `target`, whole or not at all, for the archive's own checks.

    Gives the seal over the statement, if there is one, which the act that it is for takes into the journal.
    """
    require_archived(deposit)
    if deposit.manifest is None or deposit.seal is None:
        raise IntegrityFailureError(
            "PART_MISSING", "The catalogue has lost a part of the proof.", remedy="Rebuild it from the stores."
        )
    with archive.database.transaction() as connection:
        line = TokenLine(connection)
        record = record_of(connection, deposit, line)
        entry = _numbered_entry(archive, connection, deposit, line)
        kept = [item for items in revocation.of_tokens(connection, line.read).values() for item in items]
        roles = catalogue.objects(connection, deposit.archive_id)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".proof-") as folder:
        original, rendition = Path(folder) / "original", Path(folder) / "rendition.pdf"
        fetch(archive, deposit, "original", original)
        if "rendition" in roles:
            fetch(archive, deposit, "rendition", rendition)
        # The certificates of the time: those of today may have followed them.
        sealed = inspect_seal(deposit.manifest, deposit.seal)
        seal_chain = list(dict.fromkeys((sealed.signer, *sealed.certificates)))
        token_chain, second_chain = _token_chain(record), _second_chain(archive, deposit)
        issuers = (*archive.roots, *seal_chain, *token_chain, *second_chain)
        lists = [crl for crl in archive.crls if any(signed_by(crl, issuer) for issuer in issuers)]
        own_lists = {f"crl-{n}": crl.public_bytes(Encoding.DER) for n, crl in enumerate(lists, 1)}
        parts = proof.ProofParts(
            archive_id=deposit.archive_id,
            original=original,
            original_extension=PurePath(deposit.name).suffix.removeprefix("."),
            manifest=deposit.manifest,
            seal=deposit.seal,
            record=evidence.encode_record(record),
            seal_chain=seal_chain,
            token_chain=token_chain,
            second_seal=deposit.second_seal,
            second_chain=second_chain,
            roots=archive.roots,
            entry=entry.entry,
            entry_index=entry.index,
            tree_size=entry.checkpoint.size,
            tree_root=entry.checkpoint.root,
            inclusion_path=entry.path,
            checkpoint=entry.note,
            anchor=entry.anchor,
            rendition=rendition if rendition.exists() else None,
            crls=own_lists | revocation.proof_files(kept, "crl"),
            ocsps=revocation.proof_files(kept, "ocsp"),
        )
        stated = None
        if statement is not None:
            now = archive.clock()
            page = statement(parts, now)
            stated = archive.signer.seal(page, now, "statement", deposit.archive_id)
            parts = replace(parts, statement=page, statement_seal=stated.signature)
        written = Path(folder) / "proof.zip"
        proof.assemble(parts, written)
        publish(written, target)
        return stated


@dataclass(frozen=True, slots=True)
class _NumberedEntry:
    """The commit entry of a document, its place in the tree of a checkpoint, and its anchor where it has one."""

    entry: bytes
    index: int
    checkpoint: Checkpoint
    note: bytes
    path: list[bytes]
    anchor: bytes | None


def _numbered_entry(archive: Archive, connection: Connection, deposit: Deposit, tokens: TokenLine) -> _NumberedEntry:
    """Give the commit entry under a checkpoint: that of its anchor, which covers its very bytes; else the newest one.

    Before the newest comes the last one that the supervision cosigned, where it covers the entry.
    """
    newest = make_checkpoint(archive, connection)
    line = journal.committed_line(connection, deposit.archive_id)
    found = anchor_of(connection, deposit.archive_id, line.entry, tokens)
    anchor, size = (evidence.encode_record(found[0]), found[1]) if found else (None, newest.size)
    row = connection.execute("SELECT root, note FROM journal_checkpoint WHERE size = %s", (size,)).fetchone()
    if line.seq is None or row is None:
        raise IntegrityFailureError(
            "JOURNAL_ENTRY_COUNT", "The commit entry has no number.", remedy="Run the same command again."
        )
    note = str(row["note"])
    if anchor is None and (cosigned := _cosigned(connection, line.seq)) is not None:
        size, root, note = cosigned
    else:
        root = bytes(row["root"])
    path = _path(connection, line.seq, line.leaf, size, root)
    return _NumberedEntry(line.entry, line.seq - 1, Checkpoint(ORIGIN, size, root), note.encode(), path, anchor)


def _path(connection: Connection, seq: int, leaf: bytes, size: int, root: bytes) -> list[bytes]:
    """Give the audit path of entry `seq` under a root: through tiles, else through every leaf."""
    path = tiles.Tree(connection, size).inclusion(seq - 1)
    if merkle.verify_inclusion(leaf, seq - 1, size, path, root):
        return path
    return merkle.inclusion_proof(journal.leaves(connection, size), seq - 1)


def _cosigned(connection: Connection, seq: int) -> tuple[int, bytes, str] | None:
    """Give size, root and cosigned note of the last checkpoint that the supervision acknowledged over an entry."""
    row = connection.execute(
        "SELECT b.last_seq, b.note, c.root FROM trace_bundle b JOIN journal_checkpoint c ON c.size = b.last_seq"
        " WHERE b.note IS NOT NULL AND b.last_seq >= %s ORDER BY b.number DESC LIMIT 1",
        (seq,),
    ).fetchone()
    return (int(row["last_seq"]), bytes(row["root"]), str(row["note"])) if row else None


def _second_chain(archive: Archive, deposit: Deposit) -> list[x509.Certificate]:
    """Give the certificates of the second seal, its signer's first, then its root; none without a second seal."""
    if deposit.manifest is None or deposit.second_seal is None:
        return []
    sealed = inspect_second_seal(deposit.manifest, deposit.second_seal)
    path = validate_path(
        sealed.signer, sealed.certificates, archive.second_roots, sealed.signing_time, prefix=SECOND_PREFIX
    )
    return [*dict.fromkeys((sealed.signer, *sealed.certificates)), path.certificates[-1]]


def _token_chain(record: evidence.EvidenceRecord) -> list[x509.Certificate]:
    """Give the certificates of all tokens, each once, the first signer's first."""
    tokens = [inspect_token(stamp.token) for stamp in record.stamps]
    return list(dict.fromkeys(item for token in tokens for item in (token.signer, *token.certificates)))


def prove_line(archive: Archive, seq: int) -> bytes:
    """Give the proof that entry `seq` (from 1) is in the journal, as a C2SP tlog-proof.

    Under the last checkpoint that the supervision cosigned, else the last one that was signed, over that entry; a new
    one is signed where there is none. BadInputError (`NO_SUCH_LINE`) where the journal has no such entry.
    """
    with archive.database.transaction() as connection:
        row = connection.execute("SELECT entry, leaf FROM journal_event WHERE seq = %s", (seq,)).fetchone()
        if row is None:
            raise BadInputError(
                "NO_SUCH_LINE", f"The journal has no entry {seq}.", remedy="`minutier journal` has them."
            )
        size, root, note = _cosigned(connection, seq) or _signed(archive, connection, seq)
        path = _path(connection, seq, bytes(row["leaf"]), size, root)
    return tlog_proof.encode(tlog_proof.LineProof(bytes(row["entry"]), seq - 1, tuple(path), note.encode()))


def _signed(archive: Archive, connection: Connection, seq: int) -> tuple[int, bytes, str]:
    row = connection.execute(
        "SELECT size, root, note FROM journal_checkpoint WHERE size >= %s ORDER BY size DESC LIMIT 1", (seq,)
    ).fetchone()
    if row is not None:
        return int(row["size"]), bytes(row["root"]), str(row["note"])
    made = make_checkpoint(archive, connection)
    return made.size, made.root, checkpoint_of(archive, connection, made.size).decode()

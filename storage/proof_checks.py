"""Proofs judged again while nobody asks for them: seal, tokens, evidence record, journal entry, and their stored bytes.

A bad proof is found while its authorities still answer and its other copies still exist, not on the day it is needed.
The cost is bounded: a document is judged once in thirty days (storage/coverage.py), a token once in a sweep however
many documents rest on it. The chain of the whole journal is recomputed by the sweep itself.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minutier import canonical
from minutier.errors import IntegrityFailureError, MinutierError, ServiceUnavailableError
from minutier.events import Event, format_time
from minutier.evidence import EvidenceRecord
from minutier.manifest import read_parts
from minutier.timestamp import check_token, inspect_token
from storage import catalogue, journal
from storage.archive import Archive
from storage.catalogue import Copy, Deposit, StoredObject
from storage.database import Connection
from storage.evidence_store import TokenLine, anchor_of, record_of
from storage.keys import decrypt_stream
from storage.opening import document_identity, from_any_copy, stored_part
from storage.reading import require_sealed
from storage.vault import stored_record

_KEYS_ELSEWHERE = {"IDENTITY_NEEDED"}


@dataclass
class ProofJudge:
    """Judges the proofs of one sweep; `_known` are tokens whose path was found good, and what they are about."""

    archive: Archive
    _known: set[tuple[bytes, bytes]] = field(default_factory=set)

    def judge(self, archive_id: str) -> str:
        """Give the code of what is wrong with the proof of a document, "" when it is good; it is asked twice.

        The second look is for a renewal that was being written during the first. ServiceUnavailableError when a store
        or the database does not answer: nothing is known then.
        """
        return self._judged(archive_id) and self._judged(archive_id)

    def _judged(self, archive_id: str) -> str:
        try:
            with self.archive.database.transaction() as connection:
                deposit = catalogue.get(connection, archive_id)
                _check_manifest(deposit)
                line = journal.committed_line(connection, archive_id)
                tokens = TokenLine(connection)
                records = [record_of(connection, deposit, tokens)]
                if (anchor := anchor_of(connection, archive_id, line.entry, tokens)) is not None:
                    records.append(anchor[0])
                stored = self._kept_beside(connection, deposit)
            require_sealed(self.archive, deposit)
            _check_entry(deposit, line.entry)
            for record in records:
                self._check_stamps(record)
            for role, data in stored.items():
                self._check_stored(deposit, role, data)
        except ServiceUnavailableError:
            raise
        except MinutierError as error:
            return error.code
        return ""

    def _kept_beside(self, connection: Connection, deposit: Deposit) -> dict[str, bytes]:
        """Give the bytes of the catalogue that are objects too, by role."""
        kept = {"record": stored_record(deposit)} | {
            "manifest": deposit.manifest,
            "seal": deposit.seal,
            "seal-mldsa65": deposit.second_seal,
        }
        roles = catalogue.objects(connection, deposit.archive_id)
        return {role: data for role, data in kept.items() if data is not None and role in roles}

    def _check_stamps(self, record: EvidenceRecord) -> None:
        """Check that each token is about the root of its path, trusted at its genTime, and in order (RFC 4998 §5.3)."""
        before = None
        for stamp in record.stamps:
            token = inspect_token(stamp.token)
            if (token.imprint_algorithm, token.imprint) != (stamp.algorithm, stamp.root):
                raise _broken("EVIDENCE_IMPRINT", "The token is about another value than the root of the record.")
            if before is not None and token.gen_time < before:
                raise _broken("EVIDENCE_ORDER", "A renewal is earlier than what it renews.")
            before = token.gen_time
            if (stamp.token, stamp.root) not in self._known:
                check_token(
                    stamp.token,
                    stamp.root,
                    self.archive.tsa.roots,
                    self.archive.tsa.crls,
                    algorithm=stamp.algorithm,
                    intermediates=self.archive.tsa.intermediates,
                )
                self._known.add((stamp.token, stamp.root))

    def _check_stored(self, deposit: Deposit, role: str, expected: bytes) -> None:
        """Open one small object as it is stored and compare it with the catalogue, unless only a client has the key."""
        try:
            identity = document_identity(self.archive, deposit)
        except MinutierError as error:
            if error.code in _KEYS_ELSEWHERE:
                return
            raise
        item, copies = stored_part(self.archive, deposit, role)
        if from_any_copy(copies, partial(_clear, self.archive, item, identity)) != expected:
            raise _broken("PART_DIFFERS", f"The {role} in the stores is not the one of the catalogue.")


def journal_broken(connection: Connection, archive: Archive, archive_id: str, code: str) -> None:
    """Take a bad proof into the journal."""
    journal.append(connection, Event.PROOF_BROKEN, archive.clock(), archive_id=archive_id, details={"code": code})


def _clear(archive: Archive, item: StoredObject, identity: Any, copy: Copy) -> bytes:
    clear = io.BytesIO()
    with archive.replica(copy.replica).open(item.key, copy.version_id) as stream:
        decrypt_stream(stream, clear, identity)
    return clear.getvalue()


def _check_manifest(deposit: Deposit) -> None:
    """Compare the sealed manifest with the row of the catalogue that people search by."""
    try:
        said = canonical.decode(deposit.manifest or b"")
        parts = {part.role: part.fingerprint for part in read_parts(deposit.manifest or b"")}
        sealed = (
            said["archive_id"], said["safe"], said["class"], said["reference"], said["retention"]["until"],
            parts["original"].sha256, parts["original"].sha3_512, parts["original"].size,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise _broken("MANIFEST_ALTERED", f"The manifest cannot be read ({error}).") from error
    known = (
        deposit.archive_id, deposit.safe, deposit.lifecycle_class, deposit.reference,
        format_time(deposit.retain_until) if deposit.retain_until else None,
        deposit.sha256, deposit.sha3_512, deposit.size,
    )  # fmt: skip
    if sealed != known:
        raise _broken("CATALOGUE_DIFFERS", "The catalogue does not say what the sealed manifest says.")


def _check_entry(deposit: Deposit, entry: bytes) -> None:
    """Check that the journal committed this very manifest."""
    digest = hashlib.sha256(deposit.manifest or b"").hexdigest()
    try:
        said = canonical.decode(entry)
        committed = (said["archive_id"], said["details"]["manifest_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise _broken("JOURNAL_ENTRY_DIFFERS", f"The commit entry cannot be read ({error}).") from error
    if committed != (deposit.archive_id, digest):
        raise _broken("JOURNAL_ENTRY_DIFFERS", "The journal committed another manifest than the one that is kept.")


def _broken(code: str, message: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        code, message, remedy="Keep the instance as it is; compare with an exported proof and with the stores."
    )

"""Reading verbs: find a document, give its bytes back verified, list, and check every copy."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minutier.age import Identity
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event, format_time
from minutier.fingerprint import Fingerprint, fingerprint_file, parse_fingerprint
from minutier.identifiers import is_archive_id
from minutier.seal import check_seal, check_second_seal
from storage import catalogue, journal, terms
from storage.archive import Archive
from storage.blind import decrypt_document, is_blind
from storage.catalogue import Copy, Deposit, StoredObject
from storage.evidence_store import first_token
from storage.files import durable_writer, publish, sync_directory
from storage.keys import decrypt_stream
from storage.opening import document_identity, from_any_copy, stored_part
from storage.placing import read_fingerprint
from storage.vault import sealed_parts


@dataclass(frozen=True, slots=True)
class CopyFinding:
    """What re-reading one copy found: `outcome` is good, altered, missing or unreachable."""

    archive_id: str
    role: str
    replica: str
    outcome: str
    detail: str = ""


def find(archive: Archive, identifier: str) -> Deposit:
    """Find a document by archive_id or fingerprint; BadInputError when there is none, or several share the bytes."""
    with archive.database.transaction() as connection:
        if is_archive_id(identifier):
            return catalogue.get(connection, identifier)
        try:
            sha256, sha3_512 = parse_fingerprint(identifier)
        except ValueError:
            raise catalogue.unknown(identifier) from None
        found = catalogue.find_by_digest(connection, sha256, sha3_512)
    if not found:
        raise catalogue.unknown(identifier)
    if len(found) > 1:
        names = ", ".join(deposit.archive_id for deposit in found)
        raise BadInputError(
            "AMBIGUOUS_ID", "Several deposits hold these same bytes.", remedy=f"Use an archive_id: {names}"
        )
    return found[0]


def require_archived(deposit: Deposit) -> None:
    """Raise BadInputError (`NOT_ARCHIVED`) for a deposit that has not reached its end.

    PolicyRefusedError (`DESTROYED`) for a document that is no longer there.
    """
    if deposit.state in catalogue.DESTROYED_STATES:
        raise PolicyRefusedError(
            "DESTROYED",
            f"The document {deposit.archive_id} was destroyed at the end of its life; nothing can read it any more.",
            remedy=f"`minutier certificate {deposit.archive_id} -o DIR` gives the sealed certificate of it.",
        )
    if deposit.state != "ARCHIVED":
        raise BadInputError(
            "NOT_ARCHIVED",
            f"This document is {deposit.state}, not archived.",
            remedy="`minutier list` shows where each deposit stands.",
        )


def read(archive: Archive, deposit: Deposit, target: Path, *, role: str = "original") -> None:
    """Give the document back into `target`, verified against its sealed manifest; the act is journaled."""
    require_archived(deposit)
    require_sealed(archive, deposit)
    if role == "original" and is_blind(deposit):
        _read_blind(archive, deposit, target)
    else:
        fetch(archive, deposit, role, target)
    _journal_read(archive, deposit, role)


def read_encrypted(archive: Archive, deposit: Deposit, target: Path, *, role: str = "original") -> None:
    """Give the stored, encrypted bytes of a part, as they were stored; needs no key; the act is journaled."""
    require_archived(deposit)
    fetch(archive, deposit, role, target, encrypted=True)
    _journal_read(archive, deposit, role)


def _read_blind(archive: Archive, deposit: Deposit, target: Path) -> None:
    identity = document_identity(archive, deposit)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".blind-") as folder:
        sealed, clear = Path(folder) / "sealed", Path(folder) / "clear"
        fetch(archive, deposit, "original", sealed)
        decrypt_document(deposit, sealed, clear, identity)
        publish(clear, target)


def _journal_read(archive: Archive, deposit: Deposit, role: str) -> None:
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.DOCUMENT_READ,
            archive.clock(),
            archive_id=deposit.archive_id,
            safe=deposit.safe,
            details={"role": role},
        )


def fetch(archive: Archive, deposit: Deposit, role: str, target: Path, *, encrypted: bool = False) -> None:
    """Give a part, as the manifest describes it, from the first copy that proves good.

    Of a blind document the original is its ciphertext. `encrypted` gives the stored bytes of any part. Raises
    IntegrityFailureError when no copy is good, else as `opening.document_identity`.
    """
    identity = None
    if not encrypted and not (role == "original" and is_blind(deposit)):
        identity = document_identity(archive, deposit)
    item, copies = stored_part(archive, deposit, role)
    from_any_copy(copies, lambda copy: _fetch_copy(archive, deposit, item, copy, target, identity))


def _fetch_copy(
    archive: Archive, deposit: Deposit, item: StoredObject, copy: Copy, target: Path, identity: Identity | None
) -> None:
    """Write one copy to `target`, decrypted where there is an identity, if its bytes are what they must be."""
    replica = archive.replica(copy.replica)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.reading")
    try:
        with replica.open(item.key, copy.version_id) as source, durable_writer(aside) as sink:
            if identity is None:
                shutil.copyfileobj(source, sink)
            else:
                decrypt_stream(source, sink, identity)
        wanted = _wanted(deposit, item, clear=identity is not None)
        if wanted and {fingerprint_file(aside)} != wanted:
            raise IntegrityFailureError(
                "DOCUMENT_ALTERED", "The bytes are not those of the sealed manifest.", remedy="Run a sweep."
            )
        aside.replace(target)
        sync_directory(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def _wanted(deposit: Deposit, item: StoredObject, *, clear: bool) -> set[Fingerprint]:
    """Give what the bytes must be: the sealed manifest knows the clear ones, the catalogue the stored ones.

    Of a blind original both know the same bytes.
    """
    sealed = _expected(deposit, item.role) if clear or (item.role == "original" and is_blind(deposit)) else None
    stored = None if clear else Fingerprint(item.sha256, item.sha3_512, item.size)
    return {value for value in (sealed, stored) if value is not None}


def _expected(deposit: Deposit, role: str) -> Fingerprint | None:
    for part in sealed_parts(deposit):
        if part.role == role:
            return part.fingerprint
    return None


def require_sealed(archive: Archive, deposit: Deposit) -> None:
    """Check the seal over the manifest, and the second one where there is one, at the time of the token.

    Raises IntegrityFailureError when a part is missing, or with the codes of minutier.seal.
    """
    if deposit.manifest is None or deposit.seal is None:
        raise IntegrityFailureError(
            "PART_MISSING",
            "The catalogue has lost a part of the proof.",
            remedy="Restore the database from its backup.",
        )
    with archive.database.transaction() as connection:
        stamped_at = first_token(connection, deposit.archive_id).gen_time
    check_seal(deposit.manifest, deposit.seal, archive.seal_roots, stamped_at, archive.crls)
    if deposit.second_seal is not None:
        check_second_seal(deposit.manifest, deposit.second_seal, archive.second_roots, stamped_at, archive.crls)


def technical_metadata(archive: Archive, deposit: Deposit) -> dict[str, Any]:
    """Give the technical metadata of NF Z42-020: object id, depositor, deposit date, size, algorithms, digests."""
    with archive.database.transaction() as connection:
        copies = catalogue.copies(connection, deposit.archive_id)
        token = connection.execute("SELECT gen_time FROM token WHERE token_id = %s", (deposit.token_id,)).fetchone()
        term = terms.term_of(connection, deposit, archive.clock())
    return {
        "archive_id": deposit.archive_id,
        "reference": deposit.reference,
        "dossier": deposit.dossier,
        "safe": deposit.safe,
        "class": deposit.lifecycle_class,
        "depositor": deposit.depositor,
        "state": deposit.state,
        "name": deposit.name,
        "deposited_at": format_time(deposit.received_at),
        "retained_until": format_time(deposit.kept_until) if deposit.kept_until else None,
        "term": term.as_dict() if term else None,
        "timestamp": format_time(token["gen_time"]) if token else None,
        "size": deposit.size,
        "digest_algorithms": ["sha256", "sha3-512"],
        "digests": {"sha256": deposit.sha256, "sha3-512": deposit.sha3_512},
        "fingerprint": deposit.fingerprint,
        "screening": deposit.screening,
        "rendition": deposit.rendition,
        "metadata": deposit.metadata,
        "refusal": refusal(deposit),
        "copies": [
            {
                "role": copy.role,
                "replica": copy.replica,
                "locked_until": format_time(copy.locked_until) if copy.locked_until else None,
                "checked_at": format_time(copy.checked_at),
                "health": copy.health,
            }
            for copy in copies
        ],
    }


def refusal(deposit: Deposit) -> dict[str, str | None] | None:
    """Give the refusal of a deposit as code and sentences, None when it was not refused."""
    if deposit.refusal_code is None:
        return None
    return {"code": deposit.refusal_code, "en": deposit.refusal_en, "fr": deposit.refusal_fr}


def check_copies(archive: Archive, deposit: Deposit) -> list[CopyFinding]:
    """Re-read every copy of every object of an archived document and compare both digests; the act is journaled."""
    require_archived(deposit)
    with archive.database.transaction() as connection:
        items = catalogue.objects(connection, deposit.archive_id)
        copies = catalogue.copies(connection, deposit.archive_id)
    findings = [examine(archive, items[copy.role], copy) for copy in copies]
    bad = sum(finding.outcome != "good" for finding in findings)
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.DOCUMENT_CHECKED,
            archive.clock(),
            archive_id=deposit.archive_id,
            safe=deposit.safe,
            details={"copies": len(findings), "bad": bad},
        )
    return findings


def examine(archive: Archive, item: StoredObject, copy: Copy) -> CopyFinding:
    """Re-read one copy; a bad answer is asked for a second time before it is believed."""
    finding = _examine_once(archive, item, copy)
    return finding if finding.outcome == "good" else _examine_once(archive, item, copy)


def _examine_once(archive: Archive, item: StoredObject, copy: Copy) -> CopyFinding:
    def found(outcome: str, detail: str = "") -> CopyFinding:
        return CopyFinding(copy.archive_id, copy.role, copy.replica, outcome, detail)

    try:
        replica = archive.replica(copy.replica)
    except KeyError:
        return found("unreachable", "this replica is no longer in the settings")
    try:
        digest = read_fingerprint(replica, item.key, copy.version_id)
    except KeyError:
        return found("missing", "the version is not there")
    except IntegrityFailureError as error:
        return found("altered", error.message)
    except ServiceUnavailableError as error:
        return found("unreachable", error.message)
    if (digest.sha256, digest.sha3_512, digest.size) != (item.sha256, item.sha3_512, item.size):
        return found("altered", "the bytes differ from those that were stored")
    return found("good")

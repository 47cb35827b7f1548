"""Restitution: documents given back with all that proves them, and a sealed attestation of what was given.

One folder for each document: `original/NAME`, `rendition.pdf` where there is one, `metadata.json`, `proof.zip`. Of a
document that only its client opens: the stored bytes and the wrapped key, which `age` opens with the client's identity.
A folder is whole or not there, so that a restitution that was stopped goes on.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from minutier.errors import MinutierError
from minutier.events import Event
from minutier.fingerprint import Fingerprint, fingerprint_file
from storage import acts, catalogue, journal
from storage.archive import Archive
from storage.blind import is_blind
from storage.catalogue import Deposit
from storage.files import remove, sync_directory, write_durably
from storage.opening import write_wrapped
from storage.proofs import write_proof
from storage.reading import fetch, require_archived, require_sealed, technical_metadata

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]')
_LONGEST_NAME, _LONGEST_EXTENSION = 160, 20
# Windows opens a device under these names, whatever the extension.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|\Z)")


def safe_name(name: str) -> str:
    """Give a document's own name as every file system takes it: NFC, no separator or control, 160 bytes at most."""
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" .")
    plain = plain.encode("utf-8", "replace").decode("utf-8")
    if _DEVICES.match(plain):
        plain = f"_{plain}"
    extension = PurePath(plain).suffix
    extension = extension if len(extension.encode()) <= _LONGEST_EXTENSION else ""
    room = _LONGEST_NAME - len(extension.encode())
    stem = plain.removesuffix(extension).encode()[:room].decode("utf-8", "ignore").rstrip(" .")
    return (stem + extension) or "document"


def give_document(archive: Archive, deposit: Deposit, folder: Path) -> bool:
    """Put a document and its proof in `folder/ARCHIVE_ID`; False where a run before gave the same bytes already.

    Raises as `reading.read`: IntegrityFailureError where no copy is good, ServiceUnavailableError where one that might
    be good did not answer, or the disk is full.
    """
    target, aside = folder / deposit.archive_id, folder / f".{deposit.archive_id}.partial"
    remove(aside)
    require_archived(deposit)
    if target.is_dir() and _whole(deposit, target):
        _give_metadata(archive, deposit, target)
        return False
    require_sealed(archive, deposit)
    remove(target)
    try:
        (aside / "original").mkdir(parents=True)
        _give_metadata(archive, deposit, aside)
        roles = _give_parts(archive, deposit, aside)
        sync_directory(aside)
        aside.rename(target)
        sync_directory(folder)
    finally:
        # What could be given of a document that is not whole does not stay in the bag.
        remove(aside)
    with archive.database.transaction() as connection:
        journal.append(
            connection,
            Event.DOCUMENT_RESTITUTED,
            archive.clock(),
            archive_id=deposit.archive_id,
            safe=deposit.safe,
            details={"roles": " ".join(roles)},
        )
    return True


def _give_metadata(archive: Archive, deposit: Deposit, folder: Path) -> None:
    value = technical_metadata(archive, deposit)
    write_durably(
        folder / "metadata.json", json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n", mode=0o644
    )


def _give_parts(archive: Archive, deposit: Deposit, aside: Path) -> list[str]:
    with archive.database.transaction() as connection:
        known = catalogue.objects(connection, deposit.archive_id)
    original = aside / "original" / safe_name(deposit.name)
    try:
        fetch(archive, deposit, "original", original)
        roles = ["original"]
        if "rendition" in known:
            fetch(archive, deposit, "rendition", aside / "rendition.pdf")
            roles.append("rendition")
        write_proof(archive, deposit, aside / "proof.zip")
        if is_blind(deposit):
            write_wrapped(archive, deposit, aside / "document.key.age")
    except MinutierError as error:
        if error.code != "IDENTITY_NEEDED":
            raise
        return _give_encrypted(archive, deposit, aside, sorted(known))
    return roles


def _give_encrypted(archive: Archive, deposit: Deposit, aside: Path, roles: Sequence[str]) -> list[str]:
    """Give the stored bytes of every part: only its client opens this document."""
    for role in roles:
        fetch(archive, deposit, role, aside / f"{role}.age", encrypted=True)
    write_wrapped(archive, deposit, aside / "document.key.age")
    (aside / "original").rmdir()
    return [f"{role}.age" for role in roles]


def _whole(deposit: Deposit, target: Path) -> bool:
    """Say whether what an earlier run gave is the document still; one given encrypted is given again."""
    files = list((target / "original").glob("*"))
    expected = Fingerprint(deposit.sha256 or "", deposit.sha3_512 or "", deposit.size or 0)
    return len(files) == 1 and (target / "proof.zip").is_file() and fingerprint_file(files[0]) == expected


def attest(
    archive: Archive, given: Sequence[Deposit], missing: Sequence[Deposit], to: str, known: str = ""
) -> acts.Act:
    """Seal the attestation of a restitution; the one that an earlier run sealed, `known`, where it says the same."""
    members = {"to": to, "documents": [_line(each) for each in given], "missing": [_line(each) for each in missing]}
    if known:
        found = acts.get(archive, known)
        if {name: found.value.get(name) for name in members} == members:
            return found
    drawn = acts.draw(archive, acts.RESTITUTION, members)
    with archive.database.transaction() as connection:
        details = acts.keep(connection, drawn) | {"documents": len(given), "missing": len(missing)}
        journal.append(connection, Event.RESTITUTION_ATTESTED, drawn.act.at, details=details)
    return drawn.act


def _line(deposit: Deposit) -> dict[str, Any]:
    return {
        "archive_id": deposit.archive_id,
        "safe": deposit.safe,
        "reference": deposit.reference,
        "fingerprint": deposit.fingerprint,
        "size": deposit.size or 0,
    }

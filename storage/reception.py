"""Reception: a delivery becomes durable bytes in the spool and one row, however often it is sent (protocol step 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from psycopg.errors import UniqueViolation

from minutier.errors import BadInputError, IntegrityFailureError, RefusedDocumentError, ServiceUnavailableError
from minutier.fingerprint import Digesting, Fingerprint, fingerprint_file
from minutier.identifiers import new_archive_id
from minutier.manifest import read_parts
from storage import catalogue
from storage.archive import Archive
from storage.blind import CIPHERTEXT, BlindDelivery, record, require_mode
from storage.catalogue import Deposit
from storage.database import lock
from storage.files import durable_writer, move, remove
from storage.safes import require_safe

# A refusal of the content itself: the same bytes under the same name get the same answer. Others may pass corrected.
_CONTENT_REFUSALS = frozenset(
    ("EMPTY", "TOO_LARGE", "MALWARE", "DAMAGED", "ENCRYPTED", "NO_PAGES", "FORMAT_UNKNOWN", "FORMAT_MISMATCH")
) | {"POLYGLOT", "BLIND_NOT_AGE"}
SPOOL_NAMES = {"original": "original", "rendition": "rendition.pdf"}
# Outcomes of the rendition that come with a file of their own (tasks/render.py).
RUNGS_WITH_FILE = frozenset(("pdfa-structural", "pdfa-image", "pdfa-office", "pdfa-raster"))
_DIGESTS = {"sha256": 64, "sha512": 128, "sha3-512": 128}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a depositor hands over: a file, its names, and what it says about the bytes (`expected` digests by name)."""

    path: Path
    safe: str
    lifecycle_class: str
    reference: str
    depositor: str
    dossier: str = ""
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    expected_size: int | None = None
    blind: BlindDelivery | None = None
    """What came with a document that its depositor encrypted."""


def receive(archive: Archive, delivery: Delivery) -> Deposit:
    """Take a delivery into the spool and give its deposit: new, or the one that the same delivery made before.

    Raises BadInputError for what is not a readable file, an unknown safe or class. A refusal of the document is not
    an error: it is the returned deposit, in state REFUSED, with its bytes in quarantine.
    """
    with archive.database.transaction() as connection:
        require_safe(connection, delivery.safe)
        require_mode(connection, delivery.safe, delivery.lifecycle_class, delivery.blind)
    if delivery.blind is not None:
        expected = {**delivery.expected, **delivery.blind.expected}
        delivery = replace(delivery, expected=expected, expected_size=delivery.blind.statement.ciphertext.size)
    size = _require_file(delivery.path)
    if size > archive.settings.max_document_bytes:
        return refuse(archive, delivery, _too_large(size, archive.settings.max_document_bytes))
    archive_id = new_archive_id(archive.clock())
    folder = archive.spool / archive_id
    try:
        try:
            fingerprint, others = _spool(delivery, folder / "original")
        except FileNotFoundError as error:
            if folder.exists() or error.filename == str(delivery.path):
                raise
            raise _spool_taken() from error
        mismatch = _mismatch(delivery, fingerprint, others)
        if mismatch is not None:
            return refuse(archive, delivery, mismatch, fingerprint=fingerprint, spooled=folder)
        return _record(archive, delivery, archive_id, fingerprint)
    finally:
        _drop_unless_claimed(archive, archive_id)


def refuse(
    archive: Archive,
    delivery: Delivery,
    refusal: RefusedDocumentError,
    *,
    fingerprint: Fingerprint | None = None,
    spooled: Path | None = None,
) -> Deposit:
    """Record a refusal of a delivery (once per reference, code and content) and quarantine its bytes, if any."""
    archive_id = new_archive_id(archive.clock())
    with archive.database.transaction() as connection:
        for known in catalogue.find_by_reference(connection, delivery.safe, delivery.reference):
            digest = fingerprint.sha256 if fingerprint else None
            if known.refusal_code == refusal.code and known.sha256 == digest:
                return known
        if spooled is not None:
            quarantine(archive, spooled, archive_id)
        row = _row(archive, delivery, archive_id, fingerprint) | {
            "state": "REFUSED",
            "refusal_code": refusal.code,
            "refusal_en": refusal.message,
            "refusal_fr": refusal.message_fr,
        }
        catalogue.insert_deposit(connection, row)
        return catalogue.get(connection, archive_id)


def refuse_deposit(archive: Archive, deposit: Deposit, refusal: RefusedDocumentError) -> Deposit:
    """End a live deposit as REFUSED: its bytes go to quarantine, its reason to the catalogue and the journal."""
    with archive.database.transaction() as connection:
        refused = catalogue.advance(
            connection,
            deposit,
            "REFUSED",
            archive.clock(),
            details={"code": refusal.code},
            refusal_code=refusal.code,
            refusal_en=refusal.message,
            refusal_fr=refusal.message_fr,
        )
    quarantine(archive, archive.spool / deposit.archive_id, deposit.archive_id)
    return refused


def do_step(archive: Archive, archive_id: str, state: str, step: Callable[[Deposit], Deposit]) -> Deposit:
    """Run one step on a deposit that stands at `state`, alone; gives the deposit as it stands afterwards.

    One that stands elsewhere is given as it is: the step was done before, or is not due. Raises what the step raises,
    and ServiceUnavailableError (`BUSY`) when another worker holds the deposit.
    """
    with archive.database.transaction() as connection:
        deposit = catalogue.get(connection, archive_id)
        if deposit.state != state:
            return deposit
        # On this connection, for as long as the step lasts: the lock ends with it, whatever kills the process.
        lock(connection, f"deposit {archive_id}")
        deposit = catalogue.get(connection, archive_id)
        return step(deposit) if deposit.state == state else deposit


def current(archive: Archive, archive_id: str) -> Deposit:
    """Read where a deposit stands now."""
    with archive.database.transaction() as connection:
        return catalogue.get(connection, archive_id)


def _require_file(path: Path) -> int:
    try:
        if path.is_dir():
            raise BadInputError("NOT_A_FILE", f"{path} is a directory.", remedy="Give the files themselves.")
        if not path.is_file():
            raise BadInputError("FILE_MISSING", f"There is no file {path}.", remedy="Check the name and the folder.")
        with path.open("rb"):
            return path.stat().st_size
    except PermissionError as error:
        raise BadInputError("NOT_READABLE", f"{path} may not be read.", remedy="Check the rights on it.") from error


def _spool(delivery: Delivery, target: Path) -> tuple[Fingerprint, dict[str, str]]:
    """Copy, make durable, read back; gives the fingerprint and the other digests that the depositor announced."""
    taken = Digesting()
    others = {name: hashlib.new(name) for name in delivery.expected if name == "sha512"}
    with delivery.path.open("rb") as source, durable_writer(target) as stream:
        while piece := source.read(1 << 20):
            taken.update(piece)
            for digest in others.values():
                digest.update(piece)
            stream.write(piece)
    captured = taken.fingerprint()
    if not target.is_file() or fingerprint_file(target) != captured:
        raise IntegrityFailureError(
            "SPOOL_ALTERED",
            "The bytes read back from the spool are not those that were written.",
            remedy="Check the disk of the instance, then run the same command again.",
        )
    return captured, {name: digest.hexdigest() for name, digest in others.items()}


def _mismatch(delivery: Delivery, found: Fingerprint, others: dict[str, str]) -> RefusedDocumentError | None:
    digests = {"sha256": found.sha256, "sha3-512": found.sha3_512, **others}
    wrong = [name for name, value in delivery.expected.items() if digests.get(name) != value]
    if delivery.expected_size is not None and delivery.expected_size != found.size:
        wrong.append("size")
    if not wrong:
        return None
    return RefusedDocumentError(
        "DIGEST_MISMATCH",
        f"The file received is not the one announced: {', '.join(wrong)} differs.",
        f"Le fichier reçu n’est pas celui annoncé : {', '.join(wrong)} différent.",
        remedy="Send the file again, with its own digest.",
    )


def parse_expected(text: str) -> tuple[str, str]:
    """Read `ALG:HEX`; BadInputError for another algorithm than sha256, sha512, sha3-512 or a wrong length."""
    name, _, value = text.partition(":")
    value = value.lower()
    if _DIGESTS.get(name) != len(value) or not set(value) <= set("0123456789abcdef"):
        raise BadInputError(
            "BAD_DIGEST", f"{text!r} is not a digest.", remedy=f"Write ALG:HEX with one of {', '.join(_DIGESTS)}."
        )
    return name, value


def _record(archive: Archive, delivery: Delivery, archive_id: str, fingerprint: Fingerprint) -> Deposit:
    try:
        with archive.database.transaction() as connection:
            for known in catalogue.find_by_reference(connection, delivery.safe, delivery.reference):
                same = (known.sha256, known.sha3_512) == (fingerprint.sha256, fingerprint.sha3_512)
                if known.refusal_code is None and known.state not in ("ABANDONED", *catalogue.DESTROYED_STATES):
                    return _same_or_conflict(archive, delivery, known, archive_id, fingerprint, same=same)
                if same and known.refusal_code in _CONTENT_REFUSALS and known.name == _name(delivery):
                    return known
            # From here on no sweep takes these files for ones that no deposit claims (storage/collector.py).
            lock(connection, spool_lock(archive_id))
            if not archive.spooled(archive_id, "original").is_file():
                raise _spool_taken()
            row = _row(archive, delivery, archive_id, fingerprint) | {"state": "RECEIVED"}
            catalogue.insert_deposit(connection, row)
            if delivery.blind is not None:
                record(connection, archive_id, delivery.safe, delivery.blind)
            return catalogue.get(connection, archive_id)
    except UniqueViolation:
        # Another worker inserted the same reference between our look and our insert: look again, once, for good;
        # or from the start, where that deposit has ended meanwhile.
        with archive.database.transaction() as connection:
            known = catalogue.find_by_reference(connection, delivery.safe, delivery.reference)[0]
        if known.state in (*catalogue.ENDED_STATES, *catalogue.DESTROYED_STATES):
            return _record(archive, delivery, archive_id, fingerprint)
        same = (known.sha256, known.sha3_512) == (fingerprint.sha256, fingerprint.sha3_512)
        return _same_or_conflict(archive, delivery, known, archive_id, fingerprint, same=same)


def _same_or_conflict(
    archive: Archive, delivery: Delivery, known: Deposit, archive_id: str, fingerprint: Fingerprint, *, same: bool
) -> Deposit:
    if same:
        if known.reached("RECEIVED") and not known.reached("STORED"):
            _mend_spool(archive, known, archive_id, fingerprint)
            found = current(archive, known.archive_id)
            # Ended since it was found: these bytes are a new delivery.
            ended = found.state in catalogue.ENDED_STATES
            return _record(archive, delivery, archive_id, fingerprint) if ended else found
        return known
    conflict = RefusedDocumentError(
        "REFERENCE_CONFLICT",
        f"Another document is already archived or under way under the reference {delivery.reference}.",
        f"Un autre document est déjà archivé ou en cours sous la référence {delivery.reference}.",
        remedy="Give this document its own reference.",
    )
    return refuse(archive, delivery, conflict, fingerprint=fingerprint, spooled=archive.spool / archive_id)


def _mend_spool(archive: Archive, known: Deposit, archive_id: str, fingerprint: Fingerprint) -> None:
    """Start an unfinished deposit again from these bytes, where its spool was lost or altered.

    What was made of the lost files (rendition, manifest, seal, token) is dropped with them: nothing rests on it yet.
    """
    if _spool_whole(archive, known, fingerprint):
        return
    with archive.database.exclusive(f"deposit {known.archive_id}"):
        deposit = current(archive, known.archive_id)
        ended = deposit.state in catalogue.ENDED_STATES
        if ended or deposit.reached("STORED") or _spool_whole(archive, deposit, fingerprint):
            return
        folder = archive.spool / known.archive_id
        remove(folder)
        move(archive.spool / archive_id, folder)
        if deposit.state != "RECEIVED":
            with archive.database.transaction() as connection:
                catalogue.start_again(connection, deposit, archive.clock())


def _spool_whole(archive: Archive, deposit: Deposit, fingerprint: Fingerprint) -> bool:
    """Say whether the files that the next step needs are there as they were captured, or sealed."""
    if deposit.manifest is not None:
        expected = {SPOOL_NAMES[part.role]: part.fingerprint for part in read_parts(deposit.manifest)}
    else:
        expected = {SPOOL_NAMES["original"]: fingerprint}
    rendered = deposit.manifest is None and (deposit.rendition or {}).get("rung") in RUNGS_WITH_FILE
    if rendered and not archive.spooled(deposit.archive_id, SPOOL_NAMES["rendition"]).is_file():
        return False
    paths = {archive.spooled(deposit.archive_id, name): value for name, value in expected.items()}
    return all(path.is_file() and fingerprint_file(path) == value for path, value in paths.items())


def _name(delivery: Delivery) -> str:
    name = delivery.name or delivery.path.name
    # What a proof holds under this name is a ciphertext, whatever the depositor calls it.
    return name if delivery.blind is None or name.endswith(CIPHERTEXT) else name + CIPHERTEXT


def _row(archive: Archive, delivery: Delivery, archive_id: str, fingerprint: Fingerprint | None) -> dict[str, object]:
    return {
        "archive_id": archive_id,
        "safe": delivery.safe,
        "class": delivery.lifecycle_class,
        "reference": delivery.reference,
        "dossier": delivery.dossier,
        "depositor": delivery.depositor,
        "name": _name(delivery),
        "metadata": dict(delivery.metadata),
        "received_at": archive.clock(),
        "sha256": fingerprint.sha256 if fingerprint else None,
        "sha3_512": fingerprint.sha3_512 if fingerprint else None,
        "size": fingerprint.size if fingerprint else None,
    }


def quarantine(archive: Archive, folder: Path, archive_id: str) -> None:
    """Move a spool folder to where refused bytes wait for their depositor; nothing to do when it went there before."""
    target = archive.quarantine / archive_id
    archive.quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.exists() and not target.exists():
        move(folder, target)


def _drop_unless_claimed(archive: Archive, archive_id: str) -> None:
    """Remove a spool folder that no row claims: the delivery was a duplicate, a refusal, or failed."""
    folder = archive.spool / archive_id
    if not folder.exists():
        return
    try:
        with archive.database.transaction() as connection:
            claimed = catalogue.state_of(connection, archive_id) is not None
    except ServiceUnavailableError:
        return  # unknown whether it is claimed: the sweep drops it later
    if not claimed:
        remove(folder)


def spool_lock(archive_id: str) -> str:
    """Give the name of the lock under which files in the spool are claimed, or set aside because nobody does."""
    return f"spool {archive_id}"


def _spool_taken() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "SPOOL_TAKEN",
        "The files of this delivery were set aside before it was recorded: the clock of this machine moved by days.",
        remedy="Nothing was acknowledged. Correct the clock, then send the document again.",
    )


def _too_large(size: int, limit: int) -> RefusedDocumentError:
    return RefusedDocumentError(
        "TOO_LARGE",
        f"The file has {size} bytes; the limit is {limit}.",
        f"Le fichier pèse {size} octets ; la limite est de {limit}.",
        remedy="Split it, or raise max_document_bytes in minutier.toml.",
    )

"""Blind deposits: the depositor's machine encrypts (`seal_local`), the archive keeps what it cannot read.

docs/format/blind-v1.md. Nothing here but `seal_local` ever has a document in clear.
"""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minutier.age import Identity, generate_identity, parse_recipients, read_header
from minutier.blind import (
    SALT_BYTES,
    Statement,
    encode_opening,
    encode_statement,
    not_opened,
    open_statement,
    read_statement,
    screening,
)
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, RefusedDocumentError
from minutier.fingerprint import fingerprint_file
from storage import safes
from storage.catalogue import Deposit
from storage.classes import BLIND, get_class
from storage.database import Connection
from storage.files import write_durably
from storage.keys import decrypt_stream, encrypt_file, wrap_key

CIPHERTEXT, WRAPPED, STATEMENT = ".age", ".key.age", ".blind.json"
_MAX_WRAPPED = 256 << 10


@dataclass(frozen=True, slots=True)
class BlindDelivery:
    """What comes with a ciphertext: the statement as it was written and as it reads, the wrapped key."""

    text: bytes
    statement: Statement
    wrapped: bytes

    @property
    def expected(self) -> dict[str, str]:
        """The digests that the ciphertext must have."""
        return {"sha256": self.statement.ciphertext.sha256, "sha3-512": self.statement.ciphertext.sha3_512}


def seal_local(source: Path, folder: Path, recipients: Sequence[str], client: str) -> tuple[Path, Path, Path]:
    """Encrypt a file for a blind deposit; gives the paths of ciphertext, wrapped key and statement, in `folder`.

    Needs no archive. The document key is made here, wrapped for the recipients, and forgotten. BadInputError:
    `OUTPUT_EXISTS` (a key is never written over), `BAD_RECIPIENT`, `MIXED_RECIPIENTS`. OSError of the disk.
    """
    parsed = parse_recipients(recipients)
    texts = [str(recipient) for recipient in parsed]
    paths = [folder / f"{source.name}{ending}" for ending in (CIPHERTEXT, WRAPPED, STATEMENT)]
    for path in paths:
        if path.exists():
            raise BadInputError("OUTPUT_EXISTS", f"{path} is there already.", remedy="Choose another directory.")
    key = generate_identity(parsed[0].kind)
    clear = fingerprint_file(source)
    encrypt_file(source, paths[0], str(key.recipient), clear)
    write_durably(paths[1], wrap_key(key, parsed))
    opening = encode_opening(clear, secrets.token_bytes(SALT_BYTES))
    media_type = mimetypes.guess_type(source.name)[0] or "application/octet-stream"
    statement = encode_statement(
        fingerprint_file(paths[0]), opening, key.recipient, texts, media_type=media_type, client=client
    )
    write_durably(paths[2], statement)
    return paths[0], paths[1], paths[2]


def load_delivery(statement: Path) -> BlindDelivery:
    """Read `NAME.blind.json` and the `NAME.key.age` beside it.

    BadInputError: `FILE_MISSING`, `BAD_BLIND`, `BAD_RECIPIENT`, `BAD_WRAPPED_KEY`.
    """
    wrapped = statement.with_name(statement.name.removesuffix(STATEMENT) + WRAPPED)
    for path in (statement, wrapped):
        if not path.is_file():
            raise BadInputError(
                "FILE_MISSING", f"There is no file {path}.", remedy="Give NAME.blind.json with NAME.key.age beside it."
            )
    text = statement.read_bytes()
    found, key = read_statement(text), wrapped.read_bytes()
    _require_wrapped(wrapped, key, found)
    return BlindDelivery(text, found, key)


def _require_wrapped(path: Path, wrapped: bytes, statement: Statement) -> None:
    """Check what can be checked without a key: an age file with a stanza for each recipient, of their kind."""
    kinds = [recipient.kind for recipient in parse_recipients(statement.recipients)]
    try:
        with path.open("rb") as stream:
            stanzas = [stanza.arguments[0] for stanza in read_header(stream).stanzas]
    except IntegrityFailureError:
        stanzas = []
    if len(wrapped) > _MAX_WRAPPED or sorted(stanzas) != sorted(kinds):
        raise BadInputError(
            "BAD_WRAPPED_KEY",
            f"{path} is not a key wrapped for the {len(kinds)} recipients of the statement.",
            remedy="Give the NAME.key.age that seal-local wrote with this statement.",
        )


def require_mode(connection: Connection, safe: str, lifecycle_class: str, delivery: BlindDelivery | None) -> None:
    """Refuse a document that does not fit the mode of its class, before one byte of it is taken.

    PolicyRefusedError: `BLIND_REQUIRED`, `BLIND_NOT_ALLOWED`, `SAFE_NOT_CLIENT_HELD`, `RECIPIENT_MISSING`.
    """
    blind = get_class(connection, lifecycle_class).mode == BLIND
    if blind and delivery is None:
        raise PolicyRefusedError(
            "BLIND_REQUIRED",
            f"The class {lifecycle_class} takes only documents that their depositor encrypted. Nothing was copied.",
            remedy="Run `minutier seal-local FILE` and deposit what it wrote, with --blind.",
        )
    if delivery is None:
        return
    if not blind:
        raise PolicyRefusedError(
            "BLIND_NOT_ALLOWED",
            f"The class {lifecycle_class} takes documents that the archive can look at.",
            remedy="Use a class of mode blind: `minutier class list`.",
        )
    _require_recipients(safe, safes.recipients_of(connection, safe), delivery)


def _require_recipients(safe: str, recipients: safes.Recipients, delivery: BlindDelivery) -> None:
    if recipients.host:
        raise PolicyRefusedError(
            "SAFE_NOT_CLIENT_HELD",
            f"The host holds a key of the safe {safe}.",
            remedy="Use a safe made with --recipient: `minutier safe list`.",
        )
    missing = sorted(set(recipients.all) - set(delivery.statement.recipients))
    if missing:
        raise PolicyRefusedError(
            "RECIPIENT_MISSING",
            f"The document key is not wrapped for every recipient of the safe: {missing[0]} is missing.",
            remedy="Run seal-local again with each --recipient that `minutier safe list` shows for this safe.",
        )


def record(connection: Connection, archive_id: str, safe: str, delivery: BlindDelivery) -> None:
    """Keep statement and wrapped key of a deposit that was just inserted; errors as `require_mode`."""
    # Looked at again, for the recipients may have changed since: a key is not kept for those of yesterday.
    _require_recipients(safe, safes.recipients_of(connection, safe, lock="SHARE"), delivery)
    connection.execute(
        "INSERT INTO blind_statement (archive_id, statement) VALUES (%s, %s)", (archive_id, delivery.text)
    )
    connection.execute(
        "INSERT INTO document_key (archive_id, recipient, wrapped, wrapped_for) VALUES (%s, %s, %s, %s)",
        (archive_id, delivery.statement.recipient, delivery.wrapped, safes.set_id(delivery.statement.recipients)),
    )


def statement_of(connection: Connection, archive_id: str) -> bytes | None:
    """Give the statement of a blind deposit, None for another."""
    row = connection.execute("SELECT statement FROM blind_statement WHERE archive_id = %s", (archive_id,)).fetchone()
    return bytes(row["statement"]) if row else None


def screen_ciphertext(original: Path, text: bytes) -> dict[str, str | int | list[str]]:
    """Give the report for a ciphertext; RefusedDocumentError (`BLIND_NOT_AGE`) when it has not the form of one."""
    try:
        with original.open("rb") as stream:
            read_header(stream)
    except IntegrityFailureError as error:
        raise RefusedDocumentError(
            "BLIND_NOT_AGE",
            "The file is not an age file.",
            "Le fichier n’est pas un fichier chiffré au format age.",
            remedy="Deposit the .age file that seal-local wrote.",
        ) from error
    return screening(read_statement(text), text.decode())


def is_blind(deposit: Deposit) -> bool:
    """Say whether the archived original is a ciphertext made by the depositor."""
    return (deposit.screening or {}).get("mode") == BLIND


def opened(deposit: Deposit, identity: Identity) -> tuple[bytes, Statement]:
    """Give the opening of a blind document, checked against its commitment, and the statement."""
    statement = read_statement(str((deposit.screening or {}).get("blind", "")).encode())
    return open_statement(statement, identity)[0], statement


def decrypt_document(deposit: Deposit, ciphertext: Path, target: Path, identity: Identity) -> None:
    """Decrypt an archived ciphertext into `target`, and check the clear bytes against the salted commitment.

    IntegrityFailureError: `CIPHERTEXT_ALTERED`, `BLIND_NOT_OPENED`; `target` may then hold bytes: it is for the caller
    to keep it aside.
    """
    statement = read_statement(str((deposit.screening or {}).get("blind", "")).encode())
    _, expected = open_statement(statement, identity)
    with ciphertext.open("rb") as source, target.open("xb") as sink:
        decrypt_stream(source, sink, identity)
    if fingerprint_file(target) != expected:
        raise not_opened("The clear bytes are not those that the depositor committed to.")

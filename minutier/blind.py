"""Blind deposits: what a depositor says about a document that it encrypted itself (docs/format/blind-v1.md)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minutier import canonical
from minutier.age import Identity, Recipient, parse_recipient, parse_recipients
from minutier.age_stream import decrypt_bytes, encrypt_bytes
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.fingerprint import Fingerprint, fingerprint_bytes

FORMAT = "minutier-blind/1"
OPENING_FORMAT = "minutier-blind-opening/1"
MEDIA_TYPE = "application/age"
MAX_STATEMENT = 256 << 10
SALT_BYTES = 32
_MEMBERS = {"format", "ciphertext", "commitment", "opening", "media_type", "recipient", "recipients", "client"}


@dataclass(frozen=True, slots=True)
class Statement:
    """What `NAME.blind.json` says; `opening` is an age file, `commitment` covers its content."""

    ciphertext: Fingerprint
    commitment: tuple[str, str]
    opening: bytes
    media_type: str
    recipient: str
    recipients: tuple[str, ...]
    client: str


def encode_opening(clear: Fingerprint, salt: bytes) -> bytes:
    """Give the bytes committed to: digests and size of the clear document, hidden by 32 bytes of fresh salt."""
    if len(salt) != SALT_BYTES:
        raise ValueError("the salt has 32 bytes")
    return canonical.encode({"format": OPENING_FORMAT, "salt": salt.hex(), **_digests(clear), "size": clear.size})


def encode_statement(
    ciphertext: Fingerprint, opening: bytes, key: Recipient, recipients: Sequence[str], *, media_type: str, client: str
) -> bytes:
    """Give the statement about a ciphertext; `opening` (from `encode_opening`) is encrypted to the document key."""
    return canonical.encode(
        {
            "format": FORMAT,
            "ciphertext": {**_digests(ciphertext), "size": ciphertext.size},
            "commitment": _digests(fingerprint_bytes(opening)),
            "opening": base64.b64encode(encrypt_bytes(opening, [key])).decode(),
            "media_type": media_type,
            "recipient": str(key),
            "recipients": list(recipients),
            "client": client,
        }
    )


def read_statement(data: bytes) -> Statement:
    """Read a statement; BadInputError (`BAD_BLIND`) for anything that is not one, `BAD_RECIPIENT` for a bad key."""
    if len(data) > MAX_STATEMENT:
        raise _bad("it is too large")
    try:
        value = canonical.decode(data)
        if not isinstance(value, dict) or set(value) != _MEMBERS or value["format"] != FORMAT:
            raise _bad("it is not of the format minutier-blind/1")
        statement = Statement(
            _fingerprint(value["ciphertext"]),
            (_hexadecimal(value["commitment"]["sha256"], 64), _hexadecimal(value["commitment"]["sha3_512"], 128)),
            base64.b64decode(_text(value["opening"]), validate=True),
            _text(value["media_type"]),
            _text(value["recipient"]),
            tuple(_text(each) for each in value["recipients"]),
            _text(value["client"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(f"it cannot be read ({error})") from error
    if not statement.recipients:
        raise _bad("it names no recipient")
    kinds = {recipient.kind for recipient in parse_recipients(statement.recipients)}
    if parse_recipient(statement.recipient).kind not in kinds:
        raise _bad("the document key is of another kind than its recipients")
    return statement


def open_statement(statement: Statement, identity: Identity) -> tuple[bytes, Fingerprint]:
    """Give the opening and what it says of the clear document, the commitment checked.

    IntegrityFailureError: `BLIND_NOT_OPENED` when it is not what was committed to, else as `age_stream.decrypt`.
    """
    opening = decrypt_bytes(statement.opening, [identity])
    return opening, read_opening(statement, opening)


def read_opening(statement: Statement, opening: bytes) -> Fingerprint:
    """Give what an opening says of the clear document; IntegrityFailureError (`BLIND_NOT_OPENED`) unless it is the one.

    It is the one when the statement, which the archive sealed, commits to its bytes.
    """
    measured = fingerprint_bytes(opening)
    if (measured.sha256, measured.sha3_512) != statement.commitment:
        raise not_opened("The opening is not the one that was committed to.")
    try:
        value = canonical.decode(opening)
        if value["format"] != OPENING_FORMAT or len(bytes.fromhex(value["salt"])) != SALT_BYTES:
            raise not_opened("The opening is not of the format minutier-blind-opening/1.")
        return _fingerprint(value)
    except (ValueError, KeyError, TypeError) as error:
        raise not_opened(f"The opening cannot be read ({error}).") from error


def screening(statement: Statement, text: str) -> dict[str, str | int | list[str]]:
    """Give the report that stands in the manifest for a screening; `text` is the statement as it came."""
    return {
        "mode": "blind",
        "digests_of": "ciphertext",
        "media_type": MEDIA_TYPE,
        "declared_media_type": statement.media_type,
        "format": "age",
        "antivirus": "not-possible",
        "flags": [],
        "pages": 0,
        "size": statement.ciphertext.size,
        "blind": text,
    }


def not_opened(why: str) -> IntegrityFailureError:
    """Give the error for clear bytes that are not those committed to."""
    return IntegrityFailureError(
        "BLIND_NOT_OPENED", why, remedy="The depositor's client made it so, or the key of another document was used."
    )


def _digests(value: Fingerprint) -> dict[str, str]:
    return {"sha256": value.sha256, "sha3_512": value.sha3_512}


def _fingerprint(value: Any) -> Fingerprint:
    size = value["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError("a size is a number of bytes")
    return Fingerprint(_hexadecimal(value["sha256"], 64), _hexadecimal(value["sha3_512"], 128), size)


def _hexadecimal(value: Any, length: int) -> str:
    if not isinstance(value, str) or len(value) != length or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"a digest has {length} hexadecimal digits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("a text is missing, or holds characters that cannot be shown")
    return value


def _bad(why: str) -> BadInputError:
    return BadInputError("BAD_BLIND", f"The blind statement is refused: {why}.", remedy="Make it with seal-local.")

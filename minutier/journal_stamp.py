"""The time-stamp of the journal as it is told to the supervision (docs/format/trace-v1.md §3)."""

from __future__ import annotations

import base64

from minutier import canonical
from minutier.errors import IntegrityFailureError

FORMAT = "minutier-journal-stamp/1"
MAX_BYTES = 1 << 20


def encode_stamp(note: bytes, token: bytes) -> bytes:
    """Write a stamp: the signed note of a checkpoint, and the token (DER) over its very bytes."""
    return canonical.encode({"format": FORMAT, "note": note.decode(), "token": base64.b64encode(token).decode()})


def decode_stamp(data: bytes) -> tuple[bytes, bytes]:
    """Read note and token; IntegrityFailureError (`STAMP_FORMAT`). What they say is for the reader to judge."""
    try:
        value = canonical.decode(data) if len(data) <= MAX_BYTES else None
        if not isinstance(value, dict) or set(value) != {"format", "note", "token"} or value["format"] != FORMAT:
            raise ValueError(f"it is not one of {FORMAT}")
        return value["note"].encode(), canonical.strict_base64(value["token"])
    except (ValueError, TypeError, AttributeError) as error:
        raise refused("STAMP_FORMAT", str(error)) from error


def refused(code: str, reason: str) -> IntegrityFailureError:
    """Make the error for a stamp that does not hold: `STAMP_…` and why."""
    return IntegrityFailureError(
        code,
        f"The time-stamp of the journal does not hold: {reason}.",
        remedy="Keep the archive and the supervision as they are, and have journal and time-stamp authority examined.",
        clause="docs/format/trace-v1.md §3",
    )

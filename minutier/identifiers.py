"""Names that leave the safe: UUIDv7 (RFC 9562 §5.7) says nothing about the content, unlike a fingerprint."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime


def new_archive_id(now: datetime) -> str:
    """Give a fresh UUIDv7: 48 bits of milliseconds, then 74 random bits."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    value = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def is_archive_id(text: str) -> bool:
    """Say whether `text` is a UUID in its usual lower-case form."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False

"""Names of journal events, in one place, and the canonical entry that carries one (docs/format/journal-v1.md)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from minutier import canonical

ENTRY_FORMAT = "minutier-journal/1"


class Event(StrEnum):
    """What the legal journal can say. A name, once used, keeps its meaning."""

    SAFE_CREATED = "safe:created"
    SAFE_RECIPIENTS = "safe:recipients"
    SAFE_REKEYED = "safe:rekeyed"
    CLASS_CREATED = "class:created"
    DEPOSIT_RECEIVED = "deposit:received"
    DEPOSIT_SCREENED = "deposit:screened"
    DEPOSIT_RENDERED = "deposit:rendered"
    DEPOSIT_SEALED = "deposit:sealed"
    DEPOSIT_STAMPED = "deposit:stamped"
    DEPOSIT_STORED = "deposit:stored"
    DEPOSIT_COMMITTED = "deposit:committed"
    DEPOSIT_LOCKED = "deposit:locked"
    DEPOSIT_ARCHIVED = "deposit:archived"
    DEPOSIT_REFUSED = "deposit:refused"
    DEPOSIT_ABANDONED = "deposit:abandoned"
    DEPOSIT_DESTROYING = "deposit:destroying"
    DEPOSIT_DESTROYED = "deposit:destroyed"
    DOCUMENT_READ = "document:read"
    DOCUMENT_CHECKED = "document:checked"
    PROOF_EXPORTED = "proof:exported"
    REPORT_SEALED = "report:sealed"
    SWEEP_STARTED = "sweep:started"
    SWEEP_ENDED = "sweep:ended"
    COPY_DAMAGED = "copy:damaged"
    COPY_HEALED = "copy:healed"
    COPY_RELOCKED = "copy:relocked"
    CATALOGUE_DIFFERS = "catalogue:differs"
    PROOF_BROKEN = "proof:broken"
    STORE_CHANGED = "store:changed"
    STRAY_DELETED = "stray:deleted"
    EVIDENCE_RENEWED = "evidence:renewed"
    STORE_MADE = "store:made"
    STORE_PROBED = "store:probed"
    STAMP_REVOKED = "token:revoked"
    KEY_ACTIVATED = "key:activated"
    KEY_ROTATED = "key:rotated"
    KEY_REVOKED = "key:revoked"
    DOCUMENT_HELD = "document:held"
    DOCUMENT_RELEASED = "document:released"
    TERM_BEGUN = "term:begun"
    QUARANTINE_RELEASED = "quarantine:released"
    QUARANTINE_DELETED = "quarantine:deleted"
    DISPOSAL_LISTED = "disposal:listed"
    DISPOSAL_APPROVED = "disposal:approved"
    DOCUMENT_RESTITUTED = "document:restituted"
    JOURNAL_STAMPED = "journal:stamped"
    CHALLENGE_ANSWERED = "challenge:answered"
    RESTITUTION_ATTESTED = "restitution:attested"


def format_time(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC with seconds; ValueError for a time without zone."""
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Read a time in the one form that `format_time` writes; ValueError for any other."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if format_time(moment) == text:
            return moment
    except ValueError:
        pass
    raise ValueError("a time is YYYY-MM-DDThh:mm:ssZ")


def encode_entry(
    event: Event,
    *,
    event_uuid: str,
    at: datetime,
    actor: str,
    archive_id: str = "",
    safe: str = "",
    details: Mapping[str, str | int] | None = None,
) -> bytes:
    """Give the canonical bytes of one entry; its place in the journal is given later, by the sequencer.

    `event_uuid` makes two entries with the same content distinct. `details` holds no personal data.
    """
    return canonical.encode(
        {
            "format": ENTRY_FORMAT,
            "event": event.value,
            "id": event_uuid,
            "at": format_time(at),
            "actor": actor,
            "archive_id": archive_id,
            "safe": safe,
            "details": dict(details or {}),
        }
    )

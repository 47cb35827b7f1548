"""Recognised texts: which documents are to be read by a machine, and which document holds the text of which.

A text is a document of its own, deposited later, sealed and kept like any, in the safe and class of its source. It is
destroyed before its source, never after: what was destroyed is not to be read in a copy.
"""

from __future__ import annotations

from datetime import datetime

from minutier.errors import PolicyRefusedError
from storage.database import Connection

DEPOSITOR = "minutier"
_ENDED = ("REFUSED", "ABANDONED", "DESTROYED")


def reference_of(archive_id: str) -> str:
    """Give the reference of the text of a document: always the same, so that it is never deposited twice."""
    return f"texte {archive_id}"


def waiting(connection: Connection, limit: int) -> list[str]:
    """Give archived documents with a PDF/A rendition that nobody looked at yet, the oldest first.

    Not those of a safe whose keys its client holds, and no recognised text.
    """
    rows = connection.execute(
        "SELECT d.archive_id FROM deposit d WHERE d.state = 'ARCHIVED' AND d.rendition ->> 'verdict' = 'passed'"
        " AND NOT EXISTS (SELECT 1 FROM recognised_text t WHERE d.archive_id IN (t.archive_id, t.text_id))"
        " AND d.depositor <> %s AND EXISTS (SELECT 1 FROM safe_recipient r WHERE r.safe = d.safe AND r.holder = 'host')"
        " ORDER BY d.received_at, d.archive_id LIMIT %s",
        (DEPOSITOR, limit),
    )
    return [str(row["archive_id"]) for row in rows]


def keep(connection: Connection, archive_id: str, at: datetime, outcome: str, text_id: str | None = None) -> None:
    """Remember that a document was looked at, and its text or why it has none; the first answer stays."""
    connection.execute(
        "INSERT INTO recognised_text (archive_id, looked_at, outcome, text_id) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (archive_id, at, outcome, text_id),
    )


def text_of(connection: Connection, archive_id: str) -> str | None:
    """Give the archive_id of the text of a document while there is one, None otherwise."""
    row = connection.execute(
        "SELECT t.text_id FROM recognised_text t JOIN deposit d ON d.archive_id = t.text_id"
        " WHERE t.archive_id = %s AND d.state <> ALL(%s)",
        (archive_id, list(_ENDED)),
    ).fetchone()
    return str(row["text_id"]) if row else None


def source_of(connection: Connection, archive_id: str) -> str | None:
    """Give the archive_id of the document in which a text was recognised; None for what is no recognised text."""
    row = connection.execute("SELECT archive_id FROM recognised_text WHERE text_id = %s", (archive_id,)).fetchone()
    return str(row["archive_id"]) if row else None


def require_none(connection: Connection, archive_id: str) -> None:
    """Raise PolicyRefusedError (`TEXT_FIRST`) for a document whose recognised text is still there."""
    if text_id := text_of(connection, archive_id):
        raise PolicyRefusedError(
            "TEXT_FIRST",
            f"The text recognised in {archive_id} is still there: what is destroyed must not stay readable in a copy.",
            remedy=f"Destroy {text_id} first; it may be locked a little longer than its source.",
        )

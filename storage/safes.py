"""Safes (coffres): who may open their documents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minutier.age import X25519, parse_recipients
from minutier.errors import BadInputError, PolicyRefusedError
from minutier.events import Event
from storage import journal
from storage.archive import Archive
from storage.database import Connection

HOST, CLIENT, ESCROW = "host", "client", "escrow"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEYS_LOCK = 0x6B657972696E6731  # "keyring1"


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom the document keys of a safe are wrapped for. `host` is empty when clients hold the keys."""

    host: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    escrow: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every recipient, in a fixed order."""
        return (*self.host, *self.client, *self.escrow)

    @property
    def set_id(self) -> str:
        """Name this set: the same recipients have the same name."""
        return set_id(self.all)


def set_id(recipients: Sequence[str]) -> str:
    """Name a set of recipients, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(set(recipients))).encode()).hexdigest()[:16]


def recipient_id(recipient: str) -> str:
    """Give a short name of a recipient for the journal: post-quantum ones have 2000 characters."""
    return hashlib.sha256(recipient.encode()).hexdigest()[:16]


def recipient_ids(recipients: Sequence[str]) -> str:
    """Give the short names of several recipients as one text."""
    return " ".join(recipient_id(each) for each in recipients)


def safes(connection: Connection) -> Iterator[dict[str, Any]]:
    """Iterate over safes with their number of archived documents."""
    yield from connection.execute(
        "SELECT s.name, s.title, s.created_at, count(d.archive_id) FILTER (WHERE d.state = 'ARCHIVED') AS documents"
        " FROM safe s LEFT JOIN deposit d ON d.safe = s.name GROUP BY s.name ORDER BY s.name"
    )


def safe_names(connection: Connection) -> list[str]:
    """Give the names of all safes, in their order."""
    return [row["name"] for row in connection.execute("SELECT name FROM safe ORDER BY name")]


def require_safe(connection: Connection, name: str) -> None:
    """Raise BadInputError (`UNKNOWN_SAFE`) unless the safe exists."""
    known = safe_names(connection)
    if name not in known:
        raise BadInputError(
            "UNKNOWN_SAFE",
            f"There is no safe {name!r}.",
            remedy=f"Use one of: {', '.join(known)}; or create it: minutier safe create {name}",
        )


def check_safe_name(name: str) -> None:
    """Raise BadInputError (`BAD_NAME`) unless a text can name a safe or a feed: it becomes part of keys and paths."""
    if not _NAME.fullmatch(name):
        raise BadInputError(
            "BAD_NAME", f"{name!r} cannot name a safe.", remedy="Use small letters, digits and hyphens, 63 at most."
        )


def recipients_of(connection: Connection, name: str, *, lock: str = "") -> Recipients:
    """Give the recipients of a safe; BadInputError (`UNKNOWN_SAFE`) without it.

    `lock` is SHARE while a key is wrapped for them, UPDATE while they change: a key is never wrapped for a set that
    has just been replaced.
    """
    require_safe(connection, name)
    if lock == "SHARE":
        connection.execute("SELECT 1 FROM safe WHERE name = %s FOR SHARE", (name,))
    elif lock == "UPDATE":
        connection.execute("SELECT 1 FROM safe WHERE name = %s FOR UPDATE", (name,))
    rows = connection.execute(
        "SELECT recipient, holder FROM safe_recipient WHERE safe = %s ORDER BY recipient", (name,)
    ).fetchall()
    held = {who: tuple(row["recipient"] for row in rows if row["holder"] == who) for who in (HOST, CLIENT, ESCROW)}
    return Recipients(held[HOST], held[CLIENT], held[ESCROW])


def put_recipients(connection: Connection, name: str, recipients: Recipients) -> None:
    """Make these the recipients of a safe, in the place of those it had."""
    connection.execute("DELETE FROM safe_recipient WHERE safe = %s", (name,))
    for holder, texts in ((HOST, recipients.host), (CLIENT, recipients.client), (ESCROW, recipients.escrow)):
        for text in texts:
            connection.execute(
                "INSERT INTO safe_recipient (safe, recipient, holder) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (name, text, holder),
            )


def create_safe(
    archive: Archive, name: str, title: str, *, recipients: Sequence[str] = (), escrow: str | None = None
) -> bool:
    """Create a safe; False when it was there already (its recipients are then left as they are).

    Without `recipients` the host makes and holds its key. With them, clients hold the keys and the host makes none:
    `escrow`, or the setting `escrow_recipient`, is then the only other one. Raises BadInputError (`BAD_NAME`,
    `BAD_RECIPIENT`, `MIXED_RECIPIENTS`), PolicyRefusedError (`KEY_HELD_HERE`).
    """
    check_safe_name(name)
    with archive.database.transaction() as connection:
        # One at a time: rivals would leave the key of one in the file and the recipient of the other in the table.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_KEYS_LOCK,))
        if connection.execute("SELECT 1 AS one FROM safe WHERE name = %s", (name,)).fetchone():
            return False
        given = escrow or archive.settings.escrow_recipient
        if recipients:
            chosen = client_recipients(archive, recipients, given)
        else:
            found = given or house_escrow(connection) or archive.keys.create_escrow_key()
            require_x25519([found])
            chosen = Recipients(host=(archive.keys.create_safe_key(name),), escrow=(found,))
        connection.execute(
            "INSERT INTO safe (name, title, created_at) VALUES (%s, %s, %s)", (name, title, archive.clock())
        )
        put_recipients(connection, name, chosen)
        details: dict[str, str | int] = {
            "holder": CLIENT if recipients else HOST,
            "recipients": recipient_ids(chosen.all),
        }
        journal.append(connection, Event.SAFE_CREATED, archive.clock(), safe=name, details=details)
    return True


def require_same(archive: Archive, name: str, title: str, recipients: Sequence[str], escrow: str | None) -> None:
    """Raise BadInputError (`SAFE_EXISTS`) when a safe that is there has other terms than those asked for.

    What is empty or None was not asked for, and is not compared.
    """
    with archive.database.transaction() as connection:
        current = recipients_of(connection, name)
        row = connection.execute("SELECT title FROM safe WHERE name = %s", (name,)).fetchone()
    wanted = set(current.client)
    if recipients:  # an escrow among them is one, as when a safe is created
        wanted = {str(each) for each in parse_recipients(recipients)} - {escrow, *current.escrow}
    differs = []
    if title and row and row["title"] != title:
        differs.append("title")
    if wanted != set(current.client):
        differs.append("recipients")
    if escrow and (escrow,) != current.escrow:
        differs.append("escrow")
    if differs:
        raise BadInputError(
            "SAFE_EXISTS",
            f"There is a safe {name!r} with other {' and '.join(differs)}; nothing was changed.",
            remedy=f"`minutier safe list` shows it. For other recipients or escrow: minutier safe rekey {name}",
        )


def client_recipients(archive: Archive, recipients: Sequence[str], escrow: str | None) -> Recipients:
    """Give the recipients of a safe whose clients hold the keys, checked.

    Raises BadInputError (`BAD_RECIPIENT`, `MIXED_RECIPIENTS`), PolicyRefusedError (`KEY_HELD_HERE`) for one whose
    private half lies in the keys directory: the host could read what it is said not to read.
    """
    texts = tuple(str(each) for each in parse_recipients([*recipients, *([escrow] if escrow else [])]))
    if here := archive.keys.held_here() & set(texts):
        raise PolicyRefusedError(
            "KEY_HELD_HERE",
            f"The private half of {min(here)} is in the keys directory of this host, which could read the safe.",
            remedy="Give recipients whose identities are elsewhere, or move the escrow key off this machine first.",
        )
    own = tuple(text for text in texts if text != escrow)
    if not own:
        raise BadInputError("USAGE", "The escrow is the only recipient.", remedy="Give --recipient for the client too.")
    return Recipients(client=own, escrow=(escrow,) if escrow else ())


def require_x25519(recipients: Sequence[str]) -> None:
    """Refuse a post-quantum escrow beside the host's own key: BadInputError (`MIXED_RECIPIENTS`)."""
    if any(recipient.kind != X25519 for recipient in parse_recipients(recipients)):
        raise BadInputError(
            "MIXED_RECIPIENTS",
            "The key that this host makes for a safe is an ordinary one (age1…), and the escrow is post-quantum.",
            remedy="Give an age1… escrow, or give the safe --recipient age1pq1… of its client.",
        )


def house_escrow(connection: Connection) -> str | None:
    """Give the escrow of the oldest safe: made with the first one; afterwards its file may be kept elsewhere."""
    row = connection.execute(
        "SELECT r.recipient FROM safe_recipient r JOIN safe s ON s.name = r.safe WHERE r.holder = 'escrow'"
        " AND EXISTS (SELECT 1 FROM safe_recipient h WHERE h.safe = s.name AND h.holder = 'host')"
        " ORDER BY s.created_at, s.name LIMIT 1"
    ).fetchone()
    return str(row["recipient"]) if row else None

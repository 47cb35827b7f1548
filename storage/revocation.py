"""Revocation data kept with each token: captured before it, completed after it (docs/format/timestamp-v1.md §4).

A revocation becomes known some time after the fact: only data made at or after genTime settles that a token stands.
`complete` fetches it, later and again; nothing is lost while a server is down, it is only said.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from minutier.certificates import ValidPath, validate_path
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from minutier.timestamp import TimestampToken, inspect_token
from storage import journal
from storage.archive import Archive
from storage.database import Connection
from storage.revocation_source import Collected, RevocationItem, RevocationSource, answers_of, lists_of, parse_item


@dataclass(frozen=True, slots=True)
class CompletionReport:
    """What a completion found, in numbers of tokens.

    `confirmed`: settled for good. `pending`: the authority has published nothing newer yet. `unanswered`: an address in
    `silent` did not answer. `sourceless`: nothing names an address. `too_late`: the certificate ended before.
    `revoked` has the ids of tokens that no longer stand, whenever that was found; `unjudged` of those that cannot be
    judged any more, with the code.
    """

    confirmed: int = 0
    pending: int = 0
    unanswered: int = 0
    sourceless: int = 0
    too_late: int = 0
    revoked: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        """Say whether a token no longer stands: its documents need another proof of their time."""
        return bool(self.revoked or self.unjudged)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as a JSON object."""
        return asdict(self)


def keep(
    connection: Connection,
    token_id: str,
    items: Sequence[RevocationItem],
    *,
    gen_time: datetime,
    at: datetime,
) -> int:
    """Keep items with a token, each once; gives how many were new. `at` is when they were captured."""
    kept = 0
    for item in items:
        done = connection.execute(
            "INSERT INTO token_revocation (token_id, sha256, kind, moment, captured_at, data)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (token_id, item.sha256, item.kind, item.moment(gen_time), at, item.data),
        )
        kept += done.rowcount
    return kept


def of_tokens(connection: Connection, token_ids: Sequence[str]) -> dict[str, tuple[RevocationItem, ...]]:
    """Give the items kept with each of these tokens, those made first first; a token without any has no entry."""
    rows = connection.execute(
        "SELECT token_id, kind, data FROM token_revocation WHERE token_id = ANY(%s::uuid[])"
        " ORDER BY captured_at, sha256",
        ([str(uuid.UUID(each)) for each in token_ids],),
    )
    found: dict[str, tuple[RevocationItem, ...]] = {}
    for row in rows:
        token_id = str(row["token_id"])
        found[token_id] = (*found.get(token_id, ()), parse_item(row["kind"], bytes(row["data"])))
    return found


def proof_files(items: Sequence[RevocationItem], kind: str) -> dict[str, bytes]:
    """Give the items of a kind under the short names that they have in a proof: the first digits of their digest."""
    return {f"{item.kind}-{item.sha256[:16]}": item.data for item in items if item.kind == kind}


def complete(archive: Archive, *, limit: int = 10_000) -> CompletionReport:
    """Fetch what was made after each token that lacks it, up to `limit` tokens, the oldest first; may run at any time.

    A path of certificates is asked for once, however many tokens rest on it. Nothing is raised for a server that is
    down: the report says it, and the next run asks again.
    """
    found, collected = dict[str, list[str]](), dict[tuple[x509.Certificate, ...], Collected]()
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT token_id, token FROM token WHERE revocation_state = 'open' ORDER BY gen_time LIMIT %s", (limit,)
        ).fetchall()
        gone = connection.execute("SELECT token_id FROM token WHERE revocation_state = 'revoked' ORDER BY gen_time")
        found["revoked"] = [str(row["token_id"]) for row in gone]
    for row in rows:
        token_id = str(row["token_id"])
        try:
            outcome = _complete_one(archive, token_id, bytes(row["token"]), collected)
        except IntegrityFailureError as error:
            # Its root is no longer trusted here, or its bytes were altered: the checks of documents say more.
            found.setdefault("unjudged", []).append(f"{token_id}: {error.code}")
        else:
            found.setdefault(outcome, []).append(token_id)
    counts = {name: len(found.get(name, ())) for name in ("confirmed", "pending", "unanswered", "sourceless")}
    return CompletionReport(
        **counts,
        too_late=len(found.get("too-late", ())),
        revoked=tuple(found["revoked"]),
        unjudged=tuple(found.get("unjudged", ())),
        silent=tuple(sorted({sentence for each in collected.values() for sentence in each.failures})),
    )


def _complete_one(
    archive: Archive, token_id: str, encoded: bytes, collected: dict[tuple[x509.Certificate, ...], Collected]
) -> str:
    """Complete one token, and give how it stands then; IntegrityFailureError when it cannot be judged at all."""
    token = inspect_token(encoded)
    path = _path(archive, token, ()).certificates
    if path not in collected:
        source = archive.tsa.source or RevocationSource()
        collected[path] = source.collect(path, token.gen_time, fresh=True)
    found = collected[path]
    later = [item for item in found.items if item.moment(token.gen_time) == "after"]
    state = _state_under(archive, token_id, token, later)
    if state != "open":
        _settle(archive, token_id, token, state, later)
        return state
    if found.failures:
        return "unanswered"
    return "pending" if found.sources else "sourceless"


def _state_under(archive: Archive, token_id: str, token: TimestampToken, later: Sequence[RevocationItem]) -> str:
    with archive.database.transaction() as connection:
        stored = of_tokens(connection, [token_id]).get(token_id, ())
    try:
        judged = _path(archive, token, (*stored, *later))
    except IntegrityFailureError:
        return "revoked"
    if judged.revocation_confirmed:
        return "confirmed"
    # Expired certificates may leave the lists (RFC 5280 §3.3): what is made from now on says nothing of them.
    ended = any(item.not_valid_after_utc < archive.clock() for item in judged.certificates[:-1])
    return "too-late" if ended else "open"


def _path(archive: Archive, token: TimestampToken, items: Sequence[RevocationItem]) -> ValidPath:
    """Judge the path of a token that is whole (check 8): with no items, only whether it leads to a root."""
    return validate_path(
        token.signer,
        (*token.certificates, *archive.tsa.intermediates),
        archive.roots,
        token.gen_time,
        lists_of(items),
        prefix="TOKEN",
        strict_reasons=True,
        ocsp=answers_of(items),
    )


def _settle(
    archive: Archive, token_id: str, token: TimestampToken, state: str, later: Sequence[RevocationItem]
) -> None:
    """Keep what was fetched and record what it settles; that a token no longer stands is an event of the journal."""
    now = archive.clock()
    with archive.database.transaction() as connection:
        keep(connection, token_id, later, gen_time=token.gen_time, at=now)
        done = connection.execute(
            "UPDATE token SET revocation_state = %s WHERE token_id = %s AND revocation_state = 'open'",
            (state, token_id),
        )
        if done.rowcount and state == "revoked":
            journal.append(connection, Event.STAMP_REVOKED, now, details={"token": token_id})

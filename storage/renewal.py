"""Renewal (RFC 4998 §5): new tokens before certificates end, new trees before a hash does. No document is read.

A time-stamp renewal has one leaf for each old token, and serves all of its documents at once. A hash-tree renewal has
a leaf for each document, computed from the sealed manifest, which holds the second hash, and a leaf for each commit
entry of the journal, whose own tree is of SHA-256. Either takes one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from minutier import evidence
from minutier.errors import IntegrityFailureError, PolicyRefusedError
from minutier.events import Event, format_time
from minutier.evidence import EvidenceRecord
from minutier.timestamp import inspect_token
from minutier.verify_evidence import token_algorithms
from storage import catalogue, journal, revocation
from storage.archive import Archive
from storage.batches import lock_batch, store_batch
from storage.database import Connection
from storage.evidence_store import (
    TokenLine,
    anchor_members,
    build_from,
    chain_rows,
    keep_token,
    leaves_of,
    members,
    start_chains,
)
from storage.proofs import make_checkpoint
from storage.sealing import previous_tokens
from storage.tsa import Stamped

MARGIN = timedelta(days=180)
DOCUMENTS_PER_TOKEN = 50_000
_AT_ONCE = 500  # documents whose manifests are in memory together
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Head:
    """The last token of some chains that are still open: when what it rests on ends, and the hash of its chains."""

    token_id: str
    algorithm: str
    ends: datetime
    rests_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenewalReport:
    """What a renewal did. `next_due` is when the next token is to be renewed, the margin taken off."""

    tokens_renewed: int = 0
    documents_rehashed: int = 0
    new_tokens: tuple[str, ...] = ()
    next_due: datetime | None = None
    reasons: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return {
            "tokens_renewed": self.tokens_renewed,
            "documents_rehashed": self.documents_rehashed,
            "new_tokens": list(self.new_tokens),
            "next_due": format_time(self.next_due) if self.next_due else None,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class _Group:
    """One leaf of a hash-tree renewal: the chain that it begins, and the first list of its path."""

    archive_id: str
    subject: str
    number: int
    renewals: int  # of the chain before it, which this one closes
    checkpoint: int | None
    members: list[bytes]


def renew(
    archive: Archive, *, margin: timedelta = MARGIN, progress: Progress = lambda done, total: None
) -> RenewalReport:
    """Renew all that ends within the margin: first the trees whose hash ends, then the tokens that are left.

    Safe to run again at any point: each batch is one transaction. Raises ServiceUnavailableError (`BUSY`, `TSA_DOWN`),
    PolicyRefusedError (`RENEWAL_GAINS_NOTHING`) when the new token would not outlast the old ones.
    """
    horizon = archive.clock() + margin
    reasons: list[str] = []
    made: list[str] = []
    rehashed = 0
    with archive.database.exclusive("renewal"):
        _finish(archive)
        ending = archive.dates.ended(evidence.SIZES, horizon)
        for algorithm in ending:
            successor = _successor(archive, horizon)
            while batch := _rehash(archive, algorithm, successor, horizon, progress):
                reasons.append(f"{algorithm} ends on {archive.dates.end_of([algorithm]):%Y-%m-%d}")
                made.append(batch[0])
                rehashed += batch[1]
        # What still waits under an ending hash is on its way to be archived: the next run makes its new tree.
        due = [head for head in heads(archive) if head.ends <= horizon and head.algorithm not in ending]
        for algorithm in sorted({head.algorithm for head in due}):
            batch_heads = [head for head in due if head.algorithm == algorithm]
            reasons.append(f"{len(batch_heads)} tokens end from {min(head.ends for head in batch_heads):%Y-%m-%d}")
            made.append(_renew_tokens(archive, batch_heads, algorithm, horizon))
    left = [head.ends for head in heads(archive)]
    return RenewalReport(len(due), rehashed, tuple(made), min(left) - margin if left else None, tuple(reasons))


def heads(archive: Archive) -> list[Head]:
    """Give the tokens that stand at the end of an open chain, the first to end first."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "WITH RECURSIVE live AS (SELECT DISTINCT token_id FROM evidence_chain WHERE renewals IS NULL"
            " UNION SELECT r.by_token FROM live JOIN token_renewal r USING (token_id))"
            " SELECT t.token_id, t.algorithm, t.stands_until, t.rests_on, t.token"
            " FROM live JOIN token t USING (token_id)"
            " WHERE NOT EXISTS (SELECT 1 FROM token_renewal r WHERE r.token_id = t.token_id)"
        ).fetchall()
        found = [_head(archive, connection, row) for row in rows]
    return sorted(found, key=lambda head: (head.ends, head.token_id))


def _head(archive: Archive, connection: Connection, row: dict[str, Any]) -> Head:
    stands_until, rests_on = row["stands_until"], row["rests_on"]
    if stands_until is None:  # kept by an earlier release
        token = inspect_token(bytes(row["token"]))
        stands_until, rests_on = token.signer.not_valid_after_utc, sorted(token_algorithms(token))
        query = "UPDATE token SET stands_until = %s, rests_on = %s WHERE token_id = %s"
        connection.execute(query, (stands_until, rests_on, row["token_id"]))
    ends = archive.dates.end_of([*rests_on, row["algorithm"]])
    return Head(
        str(row["token_id"]), row["algorithm"], min(stands_until, ends) if ends else stands_until, tuple(rests_on)
    )


def _successor(archive: Archive, horizon: datetime) -> str:
    """Give the hash that new trees are made with: the last of those known that does not end."""
    ended = archive.dates.ended(evidence.SIZES, horizon)
    lasting = [name for name in evidence.SIZES if name not in ended]
    if not lasting:
        raise PolicyRefusedError(
            "NO_HASH_LEFT",
            "Every hash that evidence records can be made with is said to end.",
            remedy="Check algorithms.json in the trust directory, or take a newer release.",
            clause="RFC 4998 §5.2",
        )
    return lasting[-1]


def _stamp(archive: Archive, root: bytes, algorithm: str, horizon: datetime) -> Stamped:
    """Get a token, and refuse one that would have to be renewed at once: its authority needs a new certificate."""
    stamped = archive.tsa.stamp(root, archive.clock, previous_tokens(archive), algorithm=algorithm)
    token = stamped.token
    ended = archive.dates.ended(token_algorithms(token) | {algorithm}, horizon)
    if token.signer.not_valid_after_utc <= horizon or ended:
        what = ", ".join(ended) or f"a certificate until {token.signer.not_valid_after_utc:%Y-%m-%d}"
        raise PolicyRefusedError(
            "RENEWAL_GAINS_NOTHING",
            f"{stamped.url} gave a token that rests on {what}: it would end within the margin too.",
            remedy="Ask the authority for its new certificate, or name another one first in tsa_urls; then try again.",
            clause="RFC 4998 §5.2",
        )
    return stamped


def _keep(
    archive: Archive, connection: Connection, stamped: Stamped, root: bytes, leaves: Sequence[bytes], algorithm: str
) -> str:
    token_id = keep_token(connection, stamped.token, stamped.url, root, leaves, algorithm)
    gen_time = stamped.token.gen_time
    revocation.keep(connection, token_id, stamped.revocation, gen_time=gen_time, at=archive.clock())
    return token_id


def _renew_tokens(archive: Archive, old: Sequence[Head], algorithm: str, horizon: datetime) -> str:
    """Time-stamp renewal: one new token over the old ones; gives its id."""
    with archive.database.transaction() as connection:
        line = TokenLine(connection)
        groups = [[evidence.renewal_leaf(line.token(head.token_id), algorithm)] for head in old]
    root, paths = evidence.build_batch(groups, algorithm)
    stamped = _stamp(archive, root, algorithm, horizon)
    values, leaves = leaves_of(paths, algorithm)
    with archive.database.transaction() as connection:
        token_id = _keep(archive, connection, stamped, root, values, algorithm)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO token_renewal (token_id, by_token, leaf, siblings) VALUES (%s, %s, %s, %s)",
                [(head.token_id, token_id, leaf.index, leaf.siblings) for head, leaf in zip(old, leaves, strict=True)],
            )
        _journal(archive, connection, token_id, {"kind": "time-stamp", "tokens": len(old), "algorithm": algorithm})
    _keep_file(archive, token_id)
    return token_id


def _rehash(
    archive: Archive, algorithm: str, successor: str, horizon: datetime, progress: Progress
) -> tuple[str, int] | None:
    """Hash-tree renewal of some thousands of documents: the token's id and how many, None when none was left."""
    with archive.database.transaction() as connection:
        checkpoint = make_checkpoint(archive, connection)
        total = _count_open(connection, algorithm)
        groups = list(_groups(connection, algorithm, successor, checkpoint.size, lambda done: progress(done, total)))
    if not groups:
        return None
    root, paths = evidence.build_batch([group.members for group in groups], successor)
    stamped = _stamp(archive, root, successor, horizon)
    values, leaves = leaves_of(paths, successor)
    documents = sum(group.subject == "document" for group in groups)
    with archive.database.transaction() as connection:
        token_id = _keep(archive, connection, stamped, root, values, successor)
        _close_chains(connection, groups)
        chains = (
            (group.archive_id, group.subject, group.number, leaf, group.checkpoint)
            for group, leaf in zip(groups, leaves, strict=True)
        )
        start_chains(connection, successor, token_id, chains)
        details: dict[str, str | int] = {"kind": "hash-tree", "documents": documents, "algorithm": successor}
        _journal(archive, connection, token_id, details)
    _keep_file(archive, token_id)
    return token_id, documents


def _close_chains(connection: Connection, groups: Sequence[_Group]) -> None:
    """Close the chain before each, if there is one, at the stamps that the new one covers: later ones are of others."""
    rows = [(group.renewals, group.archive_id, group.subject, group.number - 1) for group in groups if group.number > 1]
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE evidence_chain SET renewals = %s WHERE archive_id = %s AND subject = %s AND number = %s"
            " AND renewals IS NULL",
            rows,
        )
        if rows and cursor.rowcount != len(rows):
            raise IntegrityFailureError(
                "EVIDENCE_MOVED",
                "A chain was closed meanwhile.",
                remedy="Run `minutier renew` again: nothing was changed.",
            )


def _count_open(connection: Connection, algorithm: str) -> int:
    row = connection.execute(
        "SELECT count(*) AS n FROM evidence_chain JOIN deposit USING (archive_id)"
        " WHERE subject = 'document' AND renewals IS NULL AND algorithm = %s AND state = 'ARCHIVED'",
        (algorithm,),
    ).fetchone()
    return int(row["n"]) if row else 0


def _groups(
    connection: Connection, algorithm: str, successor: str, newest: int, progress: Callable[[int], None]
) -> Iterator[_Group]:
    rows = connection.execute(
        "SELECT d.archive_id FROM evidence_chain c JOIN deposit d USING (archive_id) WHERE c.subject = 'document'"
        " AND c.renewals IS NULL AND c.algorithm = %s AND d.state = 'ARCHIVED' ORDER BY d.archive_id LIMIT %s",
        (algorithm, DOCUMENTS_PER_TOKEN),
    ).fetchall()
    ids, line = [str(row["archive_id"]) for row in rows], TokenLine(connection)
    for place in range(0, len(ids), _AT_ONCE):
        some = ids[place : place + _AT_ONCE]
        yield from _groups_of(connection, some, successor, newest, line)
        progress(place + len(some))


def _groups_of(
    connection: Connection, archive_ids: Sequence[str], successor: str, newest: int, line: TokenLine
) -> Iterator[_Group]:
    chains, entries = chain_rows(connection, archive_ids), journal.committed_entries(connection, archive_ids)
    anchored = {owner: int(rows[0]["checkpoint"]) for (owner, subject), rows in chains.items() if subject == "journal"}
    notes = _notes(connection, {newest, *anchored.values()})
    for deposit in catalogue.get_all(connection, archive_ids):
        owner, digests = deposit.archive_id, members(deposit)
        record = build_from(chains.get((owner, "document"), ()), digests, line)
        yield _group(owner, "document", record, successor, digests[successor], None)
        size = anchored.get(owner, newest)
        anchor_digests = anchor_members(entries[owner], notes[size])
        anchor = EvidenceRecord(())
        if owner in anchored:
            anchor = build_from(chains[owner, "journal"], anchor_digests, line)
        yield _group(owner, "journal", anchor, successor, anchor_digests[successor], size)


def _notes(connection: Connection, sizes: set[int]) -> dict[int, bytes]:
    """Give the signed notes of checkpoints by their size."""
    rows = connection.execute("SELECT size, note FROM journal_checkpoint WHERE size = ANY(%s)", (list(sizes),))
    found = {int(row["size"]): row["note"].encode() for row in rows}
    if set(found) != sizes:
        raise IntegrityFailureError(
            "CHECKPOINT_MISSING", "The checkpoint of an anchor is gone.", remedy="Restore the database."
        )
    return found


def _group(
    archive_id: str, subject: str, record: EvidenceRecord, successor: str, digests: Sequence[bytes], size: int | None
) -> _Group:
    first = evidence.first_list(record.chains, (), successor, digests)
    renewals = len(record.chains[-1]) - 1 if record.chains else 0
    return _Group(archive_id, subject, len(record.chains) + 1, renewals, size, first)


def _journal(archive: Archive, connection: Connection, token_id: str, details: dict[str, str | int]) -> None:
    journal.append(connection, Event.EVIDENCE_RENEWED, archive.clock(), details={"token": token_id, **details})


def _keep_file(archive: Archive, token_id: str) -> None:
    store_batch(archive, token_id)
    lock_batch(archive, token_id)


def _finish(archive: Archive) -> None:
    """Store and lock the batch files of renewals that an earlier run kept in the database and did not get to store."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT DISTINCT t.token_id FROM token t"
            " LEFT JOIN object o ON o.archive_id = t.token_id AND o.role = 'batch'"
            " WHERE o.retain_until IS NULL AND t.leaves IS NOT NULL AND (EXISTS (SELECT 1 FROM token_renewal r"
            " WHERE r.by_token = t.token_id) OR EXISTS (SELECT 1 FROM evidence_chain c WHERE c.token_id = t.token_id"
            " AND (c.number > 1 OR c.subject = 'journal')))"
        ).fetchall()
    for row in rows:
        _keep_file(archive, str(row["token_id"]))

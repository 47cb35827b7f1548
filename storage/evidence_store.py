"""Evidence in the catalogue: each token once, a short path per document, one renewal for all documents of a token.

Records (docs/format/evidence-v2.md) are not kept: they are built from the paths, the tokens and the sealed manifest.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minutier import evidence
from minutier.errors import IntegrityFailureError
from minutier.evidence import ArchiveTimestamp, Chain, EvidenceRecord
from minutier.fingerprint import fingerprint_bytes
from minutier.manifest import read_parts
from minutier.timestamp import TimestampToken, inspect_token
from minutier.verify_evidence import token_algorithms
from storage.catalogue import Deposit
from storage.database import Connection

Digests = Mapping[str, Sequence[bytes]]
ChainRows = Sequence[Mapping[str, Any]]
_START = (
    "INSERT INTO evidence_chain (archive_id, subject, number, algorithm, leaf, siblings, token_id, checkpoint)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of a batch: what it stands for, its place in the tree, and the siblings of its path."""

    index: int
    siblings: bytes


@dataclass
class TokenLine:
    """Tokens and what renewed them, read once each: thousands of documents share a few."""

    connection: Connection
    _tokens: dict[str, bytes] = field(default_factory=dict)
    _renewals: dict[str, tuple[str, bytes] | None] = field(default_factory=dict)

    def token(self, token_id: str) -> bytes:
        """Give the token in DER."""
        if token_id not in self._tokens:
            row = self.connection.execute("SELECT token FROM token WHERE token_id = %s", (token_id,)).fetchone()
            self._tokens[token_id] = bytes(row["token"]) if row else b""
        return self._tokens[token_id]

    @property
    def read(self) -> list[str]:
        """Give the ids of the tokens that were read so far."""
        return list(self._tokens)

    def renewal(self, token_id: str) -> tuple[str, bytes] | None:
        """Give the token that renewed this one, and the siblings of its leaf; None for the last one."""
        if token_id not in self._renewals:
            query = "SELECT by_token, siblings FROM token_renewal WHERE token_id = %s"
            row = self.connection.execute(query, (token_id,)).fetchone()
            self._renewals[token_id] = (str(row["by_token"]), bytes(row["siblings"])) if row else None
        return self._renewals[token_id]


def keep_token(
    connection: Connection, token: TimestampToken, url: str, root: bytes, leaves: Sequence[bytes], algorithm: str
) -> str:
    """Keep a verified token and the leaves of its tree; give its new id.

    Raises IntegrityFailureError (`TOKEN_SERIAL`) when the authority has given this serial number before.
    """
    token_id = str(uuid.uuid4())
    done = connection.execute(
        "INSERT INTO token (token_id, gen_time, serial, root, token, tsa, algorithm, leaves, stands_until, rests_on)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tsa, serial) DO NOTHING",
        (
            token_id, token.gen_time, str(token.serial), root, token.der, url, algorithm, b"".join(leaves),
            token.signer.not_valid_after_utc, sorted(token_algorithms(token)),
        ),
    )  # fmt: skip
    if done.rowcount != 1:
        raise IntegrityFailureError(
            "TOKEN_SERIAL",
            f"{url} has given the serial number {token.serial} before.",
            remedy="Do not rely on this time-stamp authority; name another one in tsa_urls.",
            clause="RFC 3161 §2.4.2",
        )
    return token_id


def leaves_of(paths: Sequence[evidence.HashPath], algorithm: str) -> tuple[list[bytes], list[Leaf]]:
    """Give the value of each leaf of a tree, and what is kept of each path: all but its first list."""
    values = [evidence.path_root(path[:1], algorithm) for path in paths]
    kept = [Leaf(index, b"".join(item for level in path[1:] for item in level)) for index, path in enumerate(paths)]
    return values, kept


def members(deposit: Deposit) -> Digests:
    """Give, for each hash of trees, the digests of a document's data group (RFC 4998 §4.2). No document is read.

    Original and rendition by the digests of the sealed manifest, manifest and seals by their bytes.
    """
    if deposit.manifest is None or deposit.seal is None:
        raise IntegrityFailureError(
            "PART_MISSING",
            "The catalogue has lost a part of the proof.",
            remedy="Restore the database from its backup.",
        )
    prints = [part.fingerprint for part in read_parts(deposit.manifest)]
    sealed = (deposit.manifest, deposit.seal, deposit.second_seal)
    prints += [fingerprint_bytes(data) for data in sealed if data is not None]
    return {
        "sha256": [bytes.fromhex(item.sha256) for item in prints],
        "sha3_512": [bytes.fromhex(item.sha3_512) for item in prints],
    }


def anchor_members(entry: bytes, note: bytes) -> Digests:
    """Give the digests of the data group of a journal anchor: the entry and the checkpoint."""
    return {name: [hashlib.new(name, data).digest() for data in (entry, note)] for name in evidence.SIZES}


def start_chain(
    connection: Connection,
    archive_id: str,
    subject: str,
    number: int,
    algorithm: str,
    leaf: Leaf,
    token_id: str,
    checkpoint: int | None = None,
) -> None:
    """Begin a chain of a document or of its journal anchor; the one before it must be closed."""
    row = (archive_id, subject, number, algorithm, leaf.index, leaf.siblings, token_id, checkpoint)
    connection.execute(_START, row)


def start_chains(
    connection: Connection,
    algorithm: str,
    token_id: str,
    chains: Iterable[tuple[str, str, int, Leaf, int | None]],
) -> None:
    """Begin many chains of one token: document, subject, number, leaf and checkpoint of each, as `start_chain`."""
    rows = [
        (archive_id, subject, number, algorithm, leaf.index, leaf.siblings, token_id, checkpoint)
        for archive_id, subject, number, leaf, checkpoint in chains
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_START, rows)


def record_of(connection: Connection, deposit: Deposit, line: TokenLine | None = None) -> EvidenceRecord:
    """Build the evidence record of a document; IntegrityFailureError (`PART_MISSING`) when it has none."""
    return build(connection, deposit.archive_id, "document", members(deposit), line)


def build(
    connection: Connection, archive_id: str, subject: str, digests: Digests, line: TokenLine | None = None
) -> EvidenceRecord:
    """Build the evidence record of a document or of its journal anchor."""
    rows = chain_rows(connection, [archive_id]).get((str(archive_id), subject), ())
    return build_from(rows, digests, line or TokenLine(connection))


def chain_rows(connection: Connection, archive_ids: Sequence[str]) -> dict[tuple[str, str], ChainRows]:
    """Give the chains of some documents and of their journal anchors, the first one first, by document and subject."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in connection.execute(
        "SELECT archive_id, subject, algorithm, siblings, token_id, renewals, checkpoint FROM evidence_chain"
        " WHERE archive_id = ANY(%s::uuid[]) ORDER BY number",
        (list(archive_ids),),
    ):
        found[str(row["archive_id"]), row["subject"]].append(row)
    return dict(found)


def build_from(rows: ChainRows, digests: Digests, line: TokenLine) -> EvidenceRecord:
    """Build an evidence record from the rows of its chains."""
    chains: list[Chain] = []
    for row in rows:
        name = row["algorithm"]
        first = evidence.first_list(chains, (), name, digests[name])
        chains.append(tuple(_chain(line, name, first, bytes(row["siblings"]), str(row["token_id"]), row["renewals"])))
    if not chains:
        raise IntegrityFailureError(
            "PART_MISSING",
            "The catalogue has lost the evidence of this document.",
            remedy="Restore the database from its backup.",
        )
    return EvidenceRecord(tuple(chains))


def _chain(
    line: TokenLine, algorithm: str, first: Sequence[bytes], siblings: bytes, token_id: str, renewals: int | None
) -> Iterator[ArchiveTimestamp]:
    token = line.token(token_id)
    yield _stamp(algorithm, first, siblings, token)
    done = 0
    while (renewals is None or done < renewals) and (found := line.renewal(token_id)) is not None:
        leaf = evidence.renewal_leaf(token, algorithm)
        token_id, siblings = found
        token = line.token(token_id)
        yield _stamp(algorithm, [leaf], siblings, token)
        done += 1


def _stamp(algorithm: str, first: Sequence[bytes], siblings: bytes, token: bytes) -> ArchiveTimestamp:
    size = evidence.SIZES[algorithm]
    above = [(siblings[place : place + size],) for place in range(0, len(siblings), size)]
    return ArchiveTimestamp(algorithm, (tuple(first), *above), token)


def anchor_of(
    connection: Connection, archive_id: str, entry: bytes, line: TokenLine | None = None
) -> tuple[EvidenceRecord, int] | None:
    """Give the record of a document's journal anchor and the size of its checkpoint; None when there is none."""
    row = connection.execute(
        "SELECT p.size, p.note FROM evidence_chain c JOIN journal_checkpoint p ON p.size = c.checkpoint"
        " WHERE c.archive_id = %s AND c.subject = 'journal' ORDER BY c.number LIMIT 1",
        (archive_id,),
    ).fetchone()
    if row is None:
        return None
    digests = anchor_members(entry, row["note"].encode())
    return build(connection, archive_id, "journal", digests, line), int(row["size"])


def first_token(connection: Connection, archive_id: str) -> TimestampToken:
    """Give the token that dates a document; IntegrityFailureError (`PART_MISSING`) when it has none."""
    row = connection.execute(
        "SELECT token FROM token JOIN evidence_chain USING (token_id)"
        " WHERE archive_id = %s AND subject = 'document' AND number = 1",
        (archive_id,),
    ).fetchone()
    if row is None:
        raise IntegrityFailureError(
            "PART_MISSING",
            "The catalogue has lost the evidence of this document.",
            remedy="Restore the database from its backup.",
        )
    return inspect_token(bytes(row["token"]))


def adopt_whole_records(connection: Connection) -> int:
    """Take the records that an earlier release kept whole apart into paths; gives how many."""
    rows = connection.execute(
        "SELECT archive_id, token_id, evidence FROM deposit WHERE evidence IS NOT NULL"
    ).fetchall()
    for row in rows:
        stamp = evidence.decode_record(bytes(row["evidence"])).first
        siblings = b"".join(item for level in stamp.path[1:] for item in level)
        start_chain(connection, row["archive_id"], "document", 1, stamp.algorithm, Leaf(0, siblings), row["token_id"])
        connection.execute("UPDATE deposit SET evidence = NULL WHERE archive_id = %s", (row["archive_id"],))
    return len(rows)

"""What must hold, whatever happened (docs/testing.md, Simulation).

P1  A document with an attestation is ARCHIVED; every object of it, and the batch file of its token, is on each replica,
    in the very bytes that the catalogue names, locked to its term with the hold; the original opens to what was
    delivered; its evidence is about its manifest and its seal; it was committed once and the journal names the
    attestation. At all times.
P2  A deposit without attestation can be completed, or abandoned and sent again, by the ordinary commands. What no
    catalogue entry points to is not held, is locked for the staging period at most by the clock that the archive had,
    and is gone after the collector's first visit past that date.
P3  One delivery = one live entry = one reception, one commit and one attestation in the journal, however many times it
    is sent; the attestation is the same bytes each time; nothing follows a refusal or an abandonment in the journal;
    its chain fits.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from minutier import canonical, evidence, merkle
from minutier.age_stream import decrypt_bytes
from minutier.errors import MinutierError
from minutier.timestamp import inspect_token
from storage import catalogue, collector, journal
from storage.evidence_store import members, record_of
from storage.ports import LockState
from tests.simulation.world import World

STAGING = timedelta(days=7)
"""The longest that anything may stay locked before its deposit is committed (docs/architecture.md)."""
_SECOND = timedelta(seconds=1)


@dataclass
class Delivered:
    """What a case delivered, and what it was told: the bytes by reference, the attestations seen so far."""

    data: Mapping[str, bytes]
    attested: dict[str, bytes] = field(default_factory=dict)
    planted: set[str] = field(default_factory=set)
    """Versions that somebody else put, or damaged: no promise is about them."""
    latest: datetime | None = None
    """The latest time that the archive's clock showed."""


class Facts:
    """What the catalogue, the journal and the stores say now about the references of a case."""

    def __init__(self, world: World, case: Delivered) -> None:
        self.world, self.case, run = world, case, world.watch.execute
        rows = run("SELECT * FROM deposit WHERE reference = ANY(%s)", (list(case.data),)).fetchall()
        self.deposits = {str(row["archive_id"]): row for row in rows}
        ids = list(self.deposits)
        tokens = [str(row["token_id"]) for row in rows if row["token_id"]]
        self.outbox = {
            str(row["archive_id"]): row for row in run("SELECT * FROM outbox WHERE archive_id = ANY(%s)", (ids,))
        }
        self.events: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in run("SELECT * FROM journal_event WHERE archive_id = ANY(%s) ORDER BY event_id", (ids,)):
            self.events[str(row["archive_id"])].append(row)
        self.copies: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in run(
            "SELECT o.*, c.replica, c.version_id, c.health FROM object o LEFT JOIN replica_copy c"
            " USING (archive_id, role) WHERE archive_id = ANY(%s)",
            (ids + tokens,),
        ):
            self.copies[str(row["archive_id"])].append(row)

    def entries(self, archive_id: str, event: str) -> list[dict[str, Any]]:
        """Give the details of the entries of a kind about a deposit."""
        rows = (row for row in self.events[archive_id] if row["event"] == event)
        return [canonical.decode(bytes(row["entry"]))["details"] for row in rows]


def broken_now(world: World, case: Delivered) -> list[str]:
    """Give what does not hold at this moment, in words; to be asked after every attempt, whatever became of it."""
    facts = Facts(world, case)
    case.latest = max(world.app(), case.latest or world.app())
    return [*_attested(facts), *_told_once(facts), *_unclaimed(facts)]


def broken_at_the_end(world: World, case: Delivered) -> list[str]:
    """Give what does not hold once all documents are archived: they are read, and the staging period passes."""
    facts = Facts(world, case)
    return [*_opens(facts), *_chain(world), *_strays(facts)]


def _attested(facts: Facts) -> Iterator[str]:
    for archive_id, row in facts.outbox.items():
        deposit = facts.deposits[archive_id]
        digest = hashlib.sha256(bytes(row["body"])).hexdigest()
        if deposit["state"] != "ARCHIVED":
            yield f"P1 attested and {deposit['state']}"
        if [each.get("attestation_sha256") for each in facts.entries(archive_id, "deposit:archived")] != [digest]:
            yield "P1 the journal does not name the attestation"
        if len(facts.entries(archive_id, "deposit:committed")) != 1:
            yield "P1 not committed once"
        if not {"original", "manifest", "record"} & {each["role"] for each in facts.copies[archive_id]}:
            yield "P1 no objects"
        for owner in (archive_id, str(deposit["token_id"])):
            yield from _on_every_replica(facts, owner, deposit["retain_until"])
        if facts.case.attested.setdefault(archive_id, bytes(row["body"]) + bytes(row["seal"])) != bytes(
            row["body"]
        ) + bytes(row["seal"]):
            yield "P3 the attestation changed"
    for archive_id, deposit in facts.deposits.items():
        if deposit["state"] == "ARCHIVED" and archive_id not in facts.outbox:
            yield "P1 archived without attestation"


def _on_every_replica(facts: Facts, owner: str, term: datetime) -> Iterator[str]:
    held = facts.copies[owner]
    for role in {each["role"] for each in held} or {"batch"}:
        places = {each["replica"]: each for each in held if each["role"] == role}
        for store in facts.world.stores:
            found = places.get(store.name)
            entry = next(
                (
                    entry
                    for entry in store._entries.get(found["key"], ())
                    if entry.version.version_id == found["version_id"]
                ),
                None,
            ) if found else None  # fmt: skip
            if found is None or entry is None:
                yield f"P1 no {role} on {store.name}"
            elif hashlib.sha256(entry.data).hexdigest() != found["sha256"]:
                yield f"P1 other bytes of {role} on {store.name}"
            elif not _locked(entry.lock, term):
                yield f"P1 {role} on {store.name} is not locked to its term"


def _locked(lock: LockState, term: datetime) -> bool:
    return lock.legal_hold and lock.retain_until is not None and lock.retain_until >= term - _SECOND


def _told_once(facts: Facts) -> Iterator[str]:
    live = Counter(row["reference"] for row in facts.deposits.values() if row["state"] not in catalogue.ENDED_STATES)
    yield from (f"P3 {count} entries for one reference" for count in live.values() if count > 1)
    for archive_id, row in facts.deposits.items():
        events = Counter(each["event"] for each in facts.events[archive_id])
        events["deposit:received"] -= sum("again_from" in d for d in facts.entries(archive_id, "deposit:received"))
        # What is refused at the door was never received.
        if events["deposit:received"] != 1 and (row["state"] != "REFUSED" or events["deposit:received"]):
            yield f"P3 {events['deposit:received']} receptions of one entry"
        for name in ("committed", "locked", "archived", "abandoned"):
            if events[f"deposit:{name}"] > 1:
                yield f"P3 {name} {events[f'deposit:{name}']} times"
        told = [each["event"] for each in facts.events[archive_id] if each["event"].startswith("deposit:")]
        if any(event in ("deposit:abandoned", "deposit:refused") for event in told[:-1]):
            yield f"P3 the journal goes on after the end of a deposit: {told[-1]}"
        reached = row["state"] in catalogue.STATES and catalogue.STATES.index(row["state"])
        for name in ("stamped", "committed", "locked", "archived"):
            if (
                reached is not False
                and reached >= catalogue.STATES.index(name.upper())
                and not events[f"deposit:{name}"]
            ):
                yield f"P3 {row['state']} and the journal does not say {name}"


def _unclaimed(facts: Facts) -> Iterator[str]:
    claimed = {(row["replica"], row["version_id"]) for rows in facts.copies.values() for row in rows}
    bound = (facts.case.latest or facts.world.app()) + STAGING
    for store in facts.world.stores:
        for key, entries in store._entries.items():
            for entry in entries:
                name = (store.name, entry.version.version_id)
                if key.startswith("canary/") or name in claimed or name[1] in facts.case.planted:
                    continue
                until = entry.lock.retain_until
                if entry.lock.legal_hold or (until is not None and until > bound + _SECOND):
                    yield f"P2 an unclaimed version of {key.split('/')[-1]} stays locked"


def _opens(facts: Facts) -> Iterator[str]:
    archive = facts.world.archive
    wanted = [row for row in facts.deposits.values() if row["state"] == "ARCHIVED"]
    if sorted(row["reference"] for row in wanted) != sorted(facts.case.data):
        yield "P2 not every document is archived"
    with archive.database.transaction() as connection:
        for row in wanted:
            deposit = catalogue.get(connection, str(row["archive_id"]))
            try:
                record = record_of(connection, deposit)
                evidence.check_record(record, members(deposit))
                if any(stamp.root != inspect_token(stamp.token).imprint for stamp in record.stamps):
                    yield "P1 the token is about something else"
            except (ValueError, LookupError, MinutierError) as error:
                yield f"P1 the evidence does not fit the document: {error}"
            key = connection.execute(
                "SELECT wrapped FROM document_key WHERE archive_id = %s", (deposit.archive_id,)
            ).fetchone()
            copy = next(each for each in facts.copies[deposit.archive_id] if each["role"] == "original")
            store = archive.replica(copy["replica"])
            with store.open(copy["key"], copy["version_id"]) as stream:
                identity = archive.keys.unwrap(deposit.safe, bytes(key["wrapped"]) if key else b"")
                if decrypt_bytes(stream.read(), (identity,)) != facts.case.data[deposit.reference]:
                    yield "P1 the original does not open to what was delivered"


def _chain(world: World) -> Iterator[str]:
    with world.archive.database.transaction() as connection:
        while journal.sequence(connection):
            pass
        seq, chain = world.head
        for row in connection.execute("SELECT * FROM journal_event WHERE seq > %s ORDER BY seq", (seq,)):
            seq, leaf = seq + 1, bytes(row["leaf"])
            chain = hashlib.sha256(chain + leaf).digest()
            if (row["seq"], bytes(row["chain"]), merkle.leaf_hash(bytes(row["entry"]))) != (seq, chain, leaf):
                yield "P3 the journal's chain does not fit"
        world.head = seq, chain


def _strays(facts: Facts) -> Iterator[str]:
    """Move past the staging period, let the collector run, and name what is left that nothing points to."""
    world = facts.world
    off = (facts.case.latest or world.time()) - world.time() + STAGING + timedelta(hours=1)
    world.app.off = world.store_clock.off = off
    collector.collect_strays(world.archive)
    claimed = {(row["replica"], row["version_id"]) for rows in facts.copies.values() for row in rows}
    owners: Sequence[str] = [*facts.deposits]
    for store in world.stores:
        for key, entries in store._entries.items():
            for entry in entries:
                name = (store.name, entry.version.version_id)
                if not key.startswith("canary/") and name not in claimed and name[1] not in facts.case.planted:
                    whose = "deposit" if key.split("/")[1] in owners else "token"
                    yield f"P2 a stray of a {whose} is left: {key.split('/')[-1]}"
    world.right_clocks()

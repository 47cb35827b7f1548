"""Planted bugs: mistakes that an archive could make. The simulation is worth something if it catches each of them.

Each is put in the place of what the archive does, for the length of a block, and says where to look for it first: the
kinds of event, and the calls at which they happen. `Look((), ...)` with no kind means that nothing need go wrong.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

import psycopg
from psycopg.rows import dict_row

from storage import abandoning, batches, catalogue, collector, journal, placing, sealing, vault
from storage.files import remove
from storage.reception import current
from tests.simulation.schedule import CRASH, ERROR, Event, Seen


@dataclass(frozen=True, slots=True)
class Look:
    """Where a bug is looked for: these kinds of event, at calls with these acts, the last ones first."""

    kinds: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    moments: tuple[str, ...] = ("before",)

    def events(self, seen: list[Seen]) -> Iterator[tuple[Event, ...]]:
        if not self.kinds:
            yield ()
        for each in reversed(seen):
            if each.call.act in self.acts and (each.lasting or each.call.act != "commit"):
                for moment in self.moments:
                    yield from ((Event(0, each.call.number, moment, kind),) for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug: its name says what the archive does wrong."""

    name: str
    plant: Callable[[ExitStack], None]
    look: Look


PLANTED: list[Planted] = []


def _planted(look: Look) -> Callable[[Callable[[ExitStack], None]], Callable[[ExitStack], None]]:
    def register(plant: Callable[[ExitStack], None]) -> Callable[[ExitStack], None]:
        PLANTED.append(Planted(plant.__name__, plant, look))
        return plant

    return register


@contextmanager
def planted(bug: Planted) -> Iterator[None]:
    """Put the bug in the place of what the archive does."""
    with ExitStack() as stack:
        bug.plant(stack)
        yield


def _replace(stack: ExitStack, original: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Put `other` in the place of a function in every module of the archive that knows it by its name."""
    for name, module in list(sys.modules.items()):
        if name.startswith("storage.") and getattr(module, original.__name__, None) is original:
            stack.enter_context(mock.patch.object(module, original.__name__, other))


@_planted(Look())
def locks_are_not_extended(stack: ExitStack) -> None:
    _replace(stack, placing.lock_version, lambda *_: None)


@_planted(Look())
def the_hold_is_not_set(stack: ExitStack) -> None:
    def lock(replica: Any, key: str, version_id: str, until: Any) -> None:
        replica.extend_lock(key, version_id, until, legal_hold=False)

    _replace(stack, placing.lock_version, lock)


@_planted(Look())
def the_batch_file_is_not_locked(stack: ExitStack) -> None:
    _replace(stack, batches.lock_batch, lambda *_: None)


@_planted(Look())
def one_replica_is_taken_for_all(stack: ExitStack) -> None:
    place, lock = placing.place, placing.lock_version
    _replace(stack, place, lambda archive, _replica, item, path: place(archive, archive.replicas[0], item, path))
    _replace(stack, placing.require_there, lambda *_: None)

    def lock_first(replica: Any, *rest: Any) -> None:
        if replica.name == "replica-a":
            lock(replica, *rest)

    _replace(stack, lock, lock_first)


@_planted(Look((CRASH,), ("put",), ("before", "after")))
def the_spool_is_dropped_once_a_first_copy_is_placed(stack: ExitStack) -> None:
    place = placing.place

    def dropping(archive: Any, replica: Any, item: Any, path: Any) -> Any:
        found = place(archive, replica, item, path)
        if path.parent.name == "objects":
            remove(path.parent.parent)
        return found

    _replace(stack, place, dropping)


@_planted(Look((CRASH,), ("put",), ("after",)))
def the_full_lock_is_set_at_the_first_put(stack: ExitStack) -> None:
    place = placing.place

    def lasting(archive: Any, *rest: Any) -> Any:
        settings = archive.settings.model_copy(update={"staging_days": 5 * 365})
        return place(dataclasses.replace(archive, settings=settings), *rest)

    _replace(stack, place, lasting)


@_planted(Look(("later:+7d",), ("put", "versions", "lock_state")))
def the_collector_asks_for_no_claims(stack: ExitStack) -> None:
    def everything(archive: Any, store: Any) -> Iterator[tuple[Any, list[Any]]]:
        for version in list(store.list_objects("")):
            if not version.key.startswith("canary/"):
                owner = version.key.split("/")[1]
                yield collector._Owner(owner, f"nobody {owner}", is_token=False), [version]

    stack.enter_context(mock.patch.object(collector, "_candidates", everything))
    stack.enter_context(mock.patch.object(collector, "_unclaimed", lambda *given: given[-1]))


@_planted(Look(("plant:corrupt",), ("versions",)))
def what_is_there_is_adopted_unread(stack: ExitStack) -> None:
    _replace(stack, placing.matches, lambda _replica, version, item: version.size == item.size)


@_planted(Look(("plant:bitrot",), ("put",), ("after",)))
def what_was_put_is_not_read_back(stack: ExitStack) -> None:
    def place(archive: Any, replica: Any, item: Any, staged: Any) -> Any:
        until = archive.clock() + timedelta(days=archive.settings.staging_days)
        found = [version for version in replica.versions(item.key) if placing.matches(replica, version, item)]
        return found[0] if found else replica.put(item.key, staged, until)

    _replace(stack, placing.place, place)


@_planted(Look((CRASH,), ("extend_lock",)))
def the_attestation_comes_before_the_lock(stack: ExitStack) -> None:
    lock, attest = vault.lock_deposit, vault.attest_deposits

    def later(archive: Any, archive_id: str) -> Any:
        deposit = current(archive, archive_id)
        if deposit.state == "COMMITTED":
            with archive.database.transaction() as connection:
                catalogue.advance(connection, deposit, "LOCKED", archive.clock())
        return current(archive, archive_id)

    def early(archive: Any, archive_ids: Any) -> Any:
        done, get = attest(archive, archive_ids), catalogue.get
        with ExitStack() as as_it_was:
            as_if = lambda *given: dataclasses.replace(get(*given), state="COMMITTED")  # noqa: E731
            as_it_was.enter_context(mock.patch.object(catalogue, "get", as_if))
            as_it_was.enter_context(mock.patch.object(catalogue, "advance", lambda *_args, **_named: None))
            for each in done:
                lock(archive, each.archive_id)
        return done

    _replace(stack, lock, later)
    _replace(stack, attest, early)


@_planted(Look(("rival:carry", "rival:abandon"), ("begin",)))
def a_state_is_swapped_without_comparing(stack: ExitStack) -> None:
    advance, advance_all = catalogue.advance, catalogue.advance_all

    def blind(connection: Any, deposit: Any, *rest: Any, **named: Any) -> Any:
        return advance(connection, catalogue.get(connection, deposit.archive_id), *rest, **named)

    def blind_all(connection: Any, deposits: Any, *rest: Any, **named: Any) -> None:
        now = [(catalogue.get(connection, deposit.archive_id), details) for deposit, details in deposits]
        advance_all(connection, now, *rest, **named)

    _replace(stack, advance, blind)
    _replace(stack, advance_all, blind_all)
    stack.enter_context(mock.patch.object(catalogue, "_FINAL_STATES", ()))


@_planted(Look(("rival:unlocked",), ("write",)))
def what_was_placed_can_be_staged_anew(stack: ExitStack) -> None:
    put = catalogue.put_object
    _replace(stack, put, lambda connection, item, **_named: put(connection, item, anew=True))


@_planted(Look((CRASH, ERROR), ("commit",)))
def the_journal_is_written_outside_the_transaction(stack: ExitStack) -> None:
    def apart(append: Callable[..., None]) -> Callable[..., None]:
        def append_apart(connection: Any, *rest: Any, **named: Any) -> None:
            with psycopg.connect(connection.info.dsn, autocommit=True, row_factory=dict_row) as other:
                append(other, *rest, **named)

        return append_apart

    for append in (journal.append, journal.append_all):
        stack.enter_context(mock.patch.object(journal, append.__name__, apart(append)))


@_planted(Look((CRASH,), ("commit",)))
def a_token_is_used_before_the_path_to_it_is_kept(stack: ExitStack) -> None:
    stamp, start = sealing.stamp_batch, sealing.start_chains

    def in_two(archive: Any, archive_ids: Any) -> Any:
        kept: list[tuple[Any, ...]] = []
        with mock.patch.object(sealing, "start_chains", lambda _connection, *rest: kept.append(rest)):
            token_id = stamp(archive, archive_ids)
        with archive.database.transaction() as connection:
            for rest in kept:
                start(connection, *rest)
        return token_id

    from tests.support import rig

    stack.enter_context(mock.patch.object(rig, "stamp_batch", in_two))


@_planted(Look((CRASH,), ("put",), ("after",)))
def each_attempt_has_a_key_of_its_own(stack: ExitStack) -> None:
    store, place, point = vault.store_deposit, placing.place, catalogue.put_copy
    attempt = [""]

    def named(item: Any) -> Any:
        return dataclasses.replace(item, key=item.key.replace(".age", f"-{attempt[0]}.age"))

    def new_attempt(*given: Any) -> Any:
        attempt[0] = uuid.uuid4().hex[:8]
        return store(*given)

    def point_there(connection: Any, item: Any, *rest: Any) -> None:
        point(connection, item, *rest)
        query = "UPDATE object SET key = %s WHERE archive_id = %s AND role = %s"
        connection.execute(query, (named(item).key, item.archive_id, item.role))

    _replace(stack, store, new_attempt)
    _replace(stack, place, lambda archive, replica, item, path: place(archive, replica, named(item), path))
    _replace(stack, point, point_there)


@_planted(Look((ERROR,), ("commit",), ("after",)))
def a_delivery_is_not_looked_for_before_it_is_recorded(stack: ExitStack) -> None:
    insert = catalogue.insert_deposit

    def under_another_name(connection: Any, row: Any) -> None:
        held = connection.execute("SELECT 1 AS one FROM deposit WHERE reference = %s", (row["reference"],)).fetchone()
        insert(connection, {**row, "safe": "town"} if held else row)

    _replace(stack, catalogue.find_by_reference, lambda *_: [])
    _replace(stack, insert, under_another_name)


@_planted(Look(("rival:abandon",), ("begin", "commit", "extend_lock", "lock_state")))
def what_is_in_the_archive_can_be_abandoned(stack: ExitStack) -> None:
    _replace(stack, abandoning._require_live, lambda _deposit: None)


@_planted(Look())
def an_attestation_is_made_anew_when_asked_again(stack: ExitStack) -> None:
    attest = vault.attest_deposits

    def again(archive: Any, archive_ids: Any) -> Any:
        done = attest(archive, archive_ids)
        with archive.database.transaction() as connection:
            connection.execute(
                "UPDATE outbox SET seal = %s WHERE archive_id = ANY(%s::uuid[])",
                (hashlib.sha256(uuid.uuid4().bytes).digest(), list(archive_ids)),
            )
        return done

    _replace(stack, attest, again)

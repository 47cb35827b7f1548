"""What must hold after any fault, counted on the archive itself (P1 to P3 of the promise).

Lost: acknowledged, and not archived under the archive_id that was given. Altered: bytes on a replica, or given back,
that are not those delivered. Duplicate: a second archive of a reference, a second attestation, a second journal entry
of an act. Stray: a version that nothing points to and that the collector leaves, or one locked otherwise than promised.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path

from minutier.errors import MinutierError
from storage import catalogue, collector, journal, reading
from storage.archive import Archive
from storage.bootstrap import opened_archive
from storage.placing import fingerprint_of, read_fingerprint
from storage.worm import PROBE_PREFIX
from tests.support import moved_clock
from tests.support.machine import Instance, Machine
from tests.support.rig import carry
from tests.support.worker import insist

ONCE = ("deposit:received", "deposit:committed", "deposit:locked", "deposit:archived")


@dataclass
class Findings:
    """What was broken, a sentence each; nothing in a good archive."""

    lost: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    documents: int = 0
    copies: int = 0
    """How many documents, and how many copies of their objects, were looked at whole."""

    def broken(self) -> dict[str, list[str]]:
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, list) and value}


def finish(archive: Archive) -> int:
    """Carry on what was received and not ended, as the archive itself does; gives how many there were."""
    with archive.database.transaction() as connection:
        left = [deposit.archive_id for deposit in catalogue.list_deposits(connection, unfinished=True)]
    for archive_id in left:
        insist(lambda: carry(archive, [archive_id]))  # noqa: B023 - called at once
    return len(left)


def faults(
    archive: Archive, acknowledged: Mapping[str, str], delivered: Callable[[str], bytes], *, alone: bool = False
) -> list[str]:
    """Carry on what was received, look as `check` does, and give what is broken, errors of the archive included."""
    try:
        finish(archive)
        broken = check(archive, acknowledged, delivered, alone=alone).broken()
    except (MinutierError, KeyError) as error:
        return [f"{type(error).__name__}: {error}"]
    return [sentence for sentences in broken.values() for sentence in sentences]


def check(
    archive: Archive, acknowledged: Mapping[str, str], delivered: Callable[[str], bytes], *, alone: bool = False
) -> Findings:
    """Look at every document whole, on every replica; `alone`, at those acknowledged and nothing else.

    `acknowledged` gives the archive_id that was told under each reference; `delivered` the bytes of a reference.
    """
    found = Findings()
    with archive.database.transaction() as connection:
        deposits = [each for each in catalogue.list_deposits(connection) if each.state != "ABANDONED"]
    if alone:
        deposits = [deposit for deposit in deposits if deposit.reference in acknowledged]
    by_reference = {deposit.reference: deposit for deposit in deposits}
    for reference, archive_id in acknowledged.items():
        deposit = by_reference.get(reference)
        if deposit is None or deposit.archive_id != archive_id or deposit.state != "ARCHIVED":
            found.lost.append(f"{reference}: {deposit and (deposit.archive_id, deposit.state)}, told {archive_id}")
    once(found, archive, [deposit.archive_id for deposit in deposits], (d.reference for d in deposits))
    with tempfile.TemporaryDirectory() as folder:
        for deposit in deposits:
            target = Path(folder) / "back"
            reading.read(archive, deposit, target)
            if target.read_bytes() != delivered(deposit.reference):
                found.altered.append(f"{deposit.reference} is given back with other bytes")
    found.documents = len(deposits)
    exact(found, archive, {owner for each in deposits for owner in (each.archive_id, each.token_id)} if alone else None)
    return found


def once(found: Findings, archive: Archive, archive_ids: list[str], references: Iterable[str]) -> None:
    """Find what was done twice, or not at all."""
    with archive.database.transaction() as connection:
        while journal.sequence(connection):
            pass
        journal.check_chain(connection)
        events = Counter((str(line.archive_id), line.event) for line in journal.lines(connection))
        rows = connection.execute("SELECT archive_id, count(*) AS n FROM outbox GROUP BY archive_id").fetchall()
    attested = {str(row["archive_id"]): int(row["n"]) for row in rows}
    for reference, times in Counter(references).items():
        if times > 1:
            found.duplicates.append(f"{reference} is archived {times} times")
    for archive_id in archive_ids:
        if attested.get(archive_id) != 1:
            found.duplicates.append(f"{archive_id} has {attested.get(archive_id, 0)} attestations")
        for event in ONCE:
            if events[archive_id, event] != 1:
                found.duplicates.append(
                    f"{archive_id}: {event} stands {events[archive_id, event]} times in the journal"
                )


def exact(found: Findings, archive: Archive, owners: set[str | None] | None = None) -> None:
    """Read every object, or those of some documents and tokens, on every replica, and look at its lock."""
    if owners is None:
        with archive.database.transaction() as connection:
            owners = {str(row["archive_id"]) for row in connection.execute("SELECT DISTINCT archive_id FROM object")}
    for owner in filter(None, owners):
        with archive.database.transaction() as connection:
            items, copies = catalogue.objects(connection, owner), catalogue.copies(connection, owner)
            terms = {role: catalogue.term_of(connection, item) for role, item in items.items()}
        placed = Counter(copy.role for copy in copies)
        for role, item in items.items():
            if placed[role] != len(archive.replicas):
                found.lost.append(f"{item.key} has {placed[role]} copies")
        for copy in copies:
            store, item, term = archive.replica(copy.replica), items[copy.role], terms[copy.role]
            found.copies += 1
            if read_fingerprint(store, item.key, copy.version_id) != fingerprint_of(item):
                found.altered.append(f"{item.key} on {copy.replica}")
            lock = store.lock_state(item.key, copy.version_id)
            held = lock.legal_hold and lock.retain_until is not None and term is not None
            if not held or lock.retain_until < term - timedelta(seconds=1):  # type: ignore[operator] # held says so
                found.strays.append(f"{item.key} on {copy.replica} is not locked to its term {term}: {lock}")


def strays(machine: Machine, instance: Instance) -> list[str]:
    """Let the collector's date come for the archive and for its stores, run it, and give what it leaves behind."""
    seconds = (instance.settings.staging_days + 1) * 24 * 3600
    program = [sys.executable, "-m", "tests.support.promises", instance.home, json.dumps(instance.environment)]
    if machine.minio is not None:
        machine.minio.kill()
        machine.minio.start(moved=seconds)
    try:
        done = subprocess.run(moved_clock.command(seconds, program), capture_output=True, text=True, check=False)
    finally:
        if machine.minio is not None:
            machine.minio.kill()
            machine.minio.start()
    if done.returncode != 0:
        raise RuntimeError(f"the collector failed:\n{done.stderr}")
    return list(json.loads(done.stdout))


def left_behind(archive: Archive) -> list[str]:
    """Run the collector now, then name every version that no catalogue row points to."""
    collected = collector.collect_strays(archive)
    print(f"{collected} versions collected", file=sys.stderr)
    with archive.database.transaction() as connection:
        rows = connection.execute("SELECT replica, version_id FROM replica_copy").fetchall()
    claimed = {(row["replica"], row["version_id"]) for row in rows}
    return [
        f"{version.key} {version.version_id} on {store.name}"
        for store in archive.replicas
        for version in store.list_objects("")
        if not version.key.startswith(PROBE_PREFIX) and (store.name, version.version_id) not in claimed
    ]


def main() -> None:
    """Print what the collector leaves behind, in a process whose clock is at the collector's date."""
    instance = Instance(Path(sys.argv[1]), json.loads(sys.argv[2]))
    with opened_archive(instance.settings) as archive, closing(archive.database):
        print(json.dumps(left_behind(archive)))


if __name__ == "__main__":
    main()

"""A WORM store in memory, with a clock that obeys and a hook that can break any call.

It is the reference model of the port: what S3 Object Lock does, in one page, for simulations and fault injection.
Nothing survives the process. `damage` alters bytes below the lock, as a bad disk would.
"""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from minutier.errors import ServiceUnavailableError
from storage import seam
from storage.ports import NOTHING_SET, LockState, ObjectVersion, StoreSettings
from storage.worm import (
    check_deletable,
    check_future,
    check_key,
    check_not_shorter,
    check_prefix,
    refusal,
    whole_second,
)


class Fault(Enum):
    """How a call fails: never seen by the store, or done while the answer got lost."""

    LOST = "lost"
    UNANSWERED = "done but unanswered"


@dataclass(frozen=True, slots=True)
class Call:
    """One call about to be made: its number from 0, the name of the method, the key ("" where there is none)."""

    number: int
    act: str
    key: str


FaultHook = Callable[[Call], Fault | None]
"""Asked before every call. It may also raise, to play a crash of the caller before the call."""


def fail_call(number: int, fault: Fault) -> FaultHook:
    """Make a hook that breaks exactly the call of that number."""
    return lambda call: fault if call.number == number else None


class ManualClock:
    """A clock that moves only when told to. Call it to read it."""

    def __init__(self, now: datetime) -> None:
        self.now = now.astimezone(UTC)

    def __call__(self) -> datetime:
        """Read the clock."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, backwards when negative."""
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True)
class _Entry:
    version: ObjectVersion
    data: bytes
    lock: LockState
    marker: bool = False


@seam.store
class MemoryStore:
    """`ObjectStore` in memory. `clock` gives the store's time (UTC); `fault_hook` may be changed at any time."""

    def __init__(
        self,
        name: str = "memory",
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        fault_hook: FaultHook | None = None,
    ) -> None:
        self.name = name
        self.fault_hook = fault_hook
        self.told = NOTHING_SET
        self.calls = 0
        self._clock = clock
        self._entries: dict[str, list[_Entry]] = {}
        self._mutex = threading.RLock()

    @contextmanager
    def _call(self, act: str, key: str = "") -> Iterator[None]:
        with self._mutex:
            call = Call(self.calls, act, key)
            self.calls += 1
            fault = self.fault_hook(call) if self.fault_hook else None
            if fault is Fault.LOST:
                raise _unanswered(self.name, act)
            try:
                yield
            finally:
                if fault is Fault.UNANSWERED:
                    raise _unanswered(self.name, act)

    def put(self, key: str, source: Path, retain_until: datetime) -> ObjectVersion:
        """See the port. OSError when the source cannot be read."""
        check_key(key)
        data = source.read_bytes()
        with self._call("put", key):
            now, until = self._clock(), whole_second(retain_until)
            check_future(self.name, until, now)
            version = ObjectVersion(key, str(uuid.uuid4()), len(data), now)
            self._entries.setdefault(key, []).append(_Entry(version, data, LockState(until, legal_hold=False)))
            return version

    def versions(self, key: str) -> list[ObjectVersion]:
        """See the port."""
        check_key(key)
        with self._call("versions", key):
            return self._listed(key)

    def list_objects(self, prefix: str) -> Iterator[ObjectVersion]:
        """See the port."""
        check_prefix(prefix)
        with self._call("list_objects", prefix):
            keys = sorted(key for key in self._entries if key.startswith(prefix))
            return iter([version for key in keys for version in self._listed(key)])

    def open(self, key: str, version_id: str, *, offset: int = 0, length: int = 0) -> AbstractContextManager[BinaryIO]:
        """See the port."""
        with self._call("open", key):
            data = self._find(key, version_id).data[offset:]
            return io.BytesIO(data[:length] if length else data)

    def lock_state(self, key: str, version_id: str) -> LockState:
        """See the port."""
        with self._call("lock_state", key):
            return self._find(key, version_id).lock

    def extend_lock(self, key: str, version_id: str, retain_until: datetime, *, legal_hold: bool) -> None:
        """See the port."""
        with self._call("extend_lock", key):
            entry, until = self._find(key, version_id), whole_second(retain_until)
            check_not_shorter(self.name, f"shorten the lock of {key}", entry.lock, until)
            if until != entry.lock.retain_until:
                check_future(self.name, until, self._clock())
            entry.lock = LockState(until, legal_hold)

    def delete_version(self, key: str, version_id: str) -> None:
        """See the port. A delete marker can be deleted too, by its own id."""
        with self._call("delete_version", key):
            entry = self._find(key, version_id, markers=True)
            check_deletable(self.name, key, entry.lock, self._clock())
            self._entries[key].remove(entry)

    def suspend_versioning(self) -> None:
        """See the port: always refused."""
        with self._call("suspend_versioning"):
            raise refusal(self.name, "suspend versioning", "every version is kept")

    def shorten_lock(self, key: str, version_id: str, retain_until: datetime) -> None:
        """See the port."""
        with self._call("shorten_lock", key):
            entry, until = self._find(key, version_id), whole_second(retain_until)
            check_not_shorter(self.name, f"shorten the lock of {key}", entry.lock, until)
            entry.lock = LockState(until, entry.lock.legal_hold)

    def downgrade_lock(self, key: str, version_id: str) -> None:
        """See the port: always refused."""
        with self._call("downgrade_lock", key):
            self._find(key, version_id)
            raise refusal(self.name, f"weaken the lock of {key}", "there is no weaker lock")

    def delete_with_bypass(self, key: str, version_id: str) -> None:
        """See the port: nothing passes by a lock."""
        with self._call("delete_with_bypass", key):
            check_deletable(self.name, key, self._find(key, version_id).lock, self._clock())

    def clock(self) -> datetime:
        """See the port."""
        with self._call("clock"):
            return self._clock()

    def list_markers(self, prefix: str) -> Iterator[ObjectVersion]:
        """See the port."""
        check_prefix(prefix)
        with self._call("list_markers", prefix):
            keys = sorted(key for key in self._entries if key.startswith(prefix))
            return iter([each.version for key in keys for each in reversed(self._entries[key]) if each.marker])

    def settings(self) -> StoreSettings:
        """See the port; a test may change `told`."""
        with self._call("settings"):
            return self.told

    def hide(self, key: str) -> str:
        """Put a delete marker on top of `key`, as S3 allows even under lock, and give the id of the marker."""
        check_key(key)
        with self._call("hide", key):
            marker = ObjectVersion(key, str(uuid.uuid4()), 0, self._clock())
            self._entries.setdefault(key, []).append(_Entry(marker, b"", LockState(None, False), marker=True))
            return marker.version_id

    def damage(self, key: str, version_id: str, data: bytes) -> None:
        """Replace the bytes of a version below its lock, without a trace: bitrot, or somebody with the disk."""
        with self._mutex:
            entry = self._find(key, version_id)
            entry.data, entry.version = data, replace(entry.version, size=len(data))

    def _listed(self, key: str) -> list[ObjectVersion]:
        return [entry.version for entry in reversed(self._entries.get(key, [])) if not entry.marker]

    def _find(self, key: str, version_id: str, *, markers: bool = False) -> _Entry:
        for entry in self._entries.get(check_key(key), []):
            if entry.version.version_id == version_id and (markers or not entry.marker):
                return entry
        raise KeyError(f"{self.name}: no version {version_id} of {key}")


def _unanswered(store: str, act: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "STORE_UNANSWERED",
        f"The store {store} did not answer {act}; whether it was done is unknown.",
        remedy="Try again: the archive looks at what is stored before it writes.",
    )

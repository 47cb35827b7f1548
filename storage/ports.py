"""Ports: what the vault needs from the outside, with the duties each adapter promises.

Every adapter of `ObjectStore` passes tests/ports/test_object_store.py. All times are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One stored version of an object: its key, the store's version id, its size in bytes and when it was written."""

    key: str
    version_id: str
    size: int
    written_at: datetime


@dataclass(frozen=True, slots=True)
class LockState:
    """WORM state of one version: COMPLIANCE until `retain_until` (None = not locked) and the legal hold flag."""

    retain_until: datetime | None
    legal_hold: bool


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a store is told to do by itself, outside of any object; None: this key may not look, or the store has none.

    `default_lock` is what a write without a lock gets: "", or mode and days, as `COMPLIANCE 1826`. `lifecycle` holds
    the rules that expire objects. `policy` says who else may do what, in the store's own words.
    """

    versioning: bool | None
    default_lock: str | None
    lifecycle: tuple[str, ...] | None
    policy: str | None


NOTHING_SET = StoreSettings(versioning=True, default_lock="", lifecycle=(), policy="")
"""A store that keeps every version and does nothing by itself."""


class ObjectStore(Protocol):
    """A WORM replica under the S3 Object Lock contract.

    Errors: `ServiceUnavailableError` when the store does not answer (the outcome of a write is then unknown: look
    with `versions` before writing again); `PolicyRefusedError` (code `WORM_REFUSED`) when a lock forbids the act;
    `KeyError` when the key or version does not exist.
    """

    name: str

    def put(self, key: str, source: Path, retain_until: datetime) -> ObjectVersion:
        """Write the file as a NEW version under COMPLIANCE until `retain_until`; durable when it returns.

        Never replaces nor alters an earlier version. The bytes are checked in transit where the store can.
        """

    def versions(self, key: str) -> list[ObjectVersion]:
        """List all versions of exactly `key`, newest first, strongly consistent; delete markers are left out."""

    def list_objects(self, prefix: str) -> Iterator[ObjectVersion]:
        """Iterate over all versions of all keys beginning with `prefix`, in key order; delete markers left out."""

    def open(self, key: str, version_id: str, *, offset: int = 0, length: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open one version for streaming reads, always by version id, so that no marker can hide it.

        From byte `offset` on, and `length` bytes of it (0: to the end): a store that can sends no others.

        A store or disk that fails while the stream is read, at its first byte or in the middle, is
        `ServiceUnavailableError` too, raised by `read` and `readinto` themselves: a reader then takes another replica.
        """

    def lock_state(self, key: str, version_id: str) -> LockState:
        """Read the lock of one version from the store itself."""

    def extend_lock(self, key: str, version_id: str, retain_until: datetime, *, legal_hold: bool) -> None:
        """Extend COMPLIANCE to `retain_until` (never shortens: PolicyRefusedError) and set or clear the hold.

        The version and its lock are durable when it returns, also where nothing was to be changed.
        """

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one version for good; PolicyRefusedError while its lock or hold stands."""

    def suspend_versioning(self) -> None:
        """Try to suspend versioning: a store that really locks answers PolicyRefusedError (used by the canary)."""

    def shorten_lock(self, key: str, version_id: str, retain_until: datetime) -> None:
        """Try to shorten a lock: a store that really locks answers PolicyRefusedError (used by the canary)."""

    def downgrade_lock(self, key: str, version_id: str) -> None:
        """Try to turn COMPLIANCE into GOVERNANCE, with the right to bypass: PolicyRefusedError (used by the canary)."""

    def delete_with_bypass(self, key: str, version_id: str) -> None:
        """Try to delete a locked version with the right to bypass GOVERNANCE: PolicyRefusedError (the canary's)."""

    def clock(self) -> datetime:
        """Give the store's own time, as it says it: retention rests on it."""

    def list_markers(self, prefix: str) -> Iterator[ObjectVersion]:
        """Iterate over the delete markers on keys beginning with `prefix`, in key order; they have no bytes."""

    def settings(self) -> StoreSettings:
        """Read what the store is told to do by itself."""

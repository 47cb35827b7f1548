"""What every WORM store agrees on: safe keys, whole seconds, and the words of a refusal.

Object keys are made by the archive, never by a depositor; a key outside the allow-list is a programming error that is
stopped here before it reaches a path or a URL.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from minutier.errors import BadInputError, PolicyRefusedError
from storage.ports import LockState

PROBE_PREFIX = "canary/"
"""Keys of the canary live here and nowhere else: `rebuild` and the sweep leave them out."""

CLOCK_SECONDS = 60
"""A store this far from our clock takes no write, no lock and no deletion: retention rests on its clock."""

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_KEY = re.compile(rf"(?:{_SEGMENT}/){{0,15}}{_SEGMENT}\Z")
_PREFIX = re.compile(rf"(?:{_SEGMENT}/){{0,15}}(?:{_SEGMENT})?\Z")


def check_key(key: str) -> str:
    """Give `key` back if it is safe: 1 to 16 segments of `A-Za-z0-9._-`, none hidden; BadInputError otherwise."""
    if _KEY.match(key) is None:
        raise BadInputError(
            "KEY_UNSAFE",
            f"The object key {key!r} is not allowed.",
            remedy="Build keys from identifiers: letters, digits, '.', '_', '-', joined by '/'.",
        )
    return key


def check_prefix(prefix: str) -> str:
    """Give `prefix` back if some safe key can begin with it; BadInputError otherwise. The empty prefix means all."""
    if _PREFIX.match(prefix) is None:
        raise BadInputError(
            "KEY_UNSAFE",
            f"The key prefix {prefix!r} is not allowed.",
            remedy="Give the beginning of a key made of letters, digits, '.', '_', '-' and '/'.",
        )
    return prefix


def whole_second(moment: datetime) -> datetime:
    """Give `moment` in UTC, rounded UP to a whole second, so that no lock ends before it was asked to.

    ValueError when the time has no zone: a lock in an unknown zone could end hours early.
    """
    if moment.tzinfo is None:
        raise ValueError("a lock needs a timezone-aware time")
    moment = moment.astimezone(UTC)
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + timedelta(seconds=1)


def refusal(store: str, act: str, why: str) -> PolicyRefusedError:
    """Make the refusal of `act` by the lock of a store."""
    return PolicyRefusedError(
        "WORM_REFUSED",
        f"The store {store} refused to {act}: {why}.",
        remedy="Wait for the end of the retention and release the legal hold; a COMPLIANCE lock cannot be lifted.",
        clause="NF Z42-013:2020, WORM",
    )


def check_not_shorter(store: str, act: str, current: LockState, wanted: datetime) -> None:
    """Refuse (PolicyRefusedError) a new end of lock that comes before the recorded one."""
    if current.retain_until is not None and wanted < current.retain_until:
        raise refusal(store, act, f"its lock ends on {stamp(current.retain_until)}, later than {stamp(wanted)}")


def check_future(store: str, wanted: datetime, now: datetime) -> None:
    """Refuse (BadInputError) a lock whose end has already passed for the clock of the store."""
    if wanted <= now:
        raise retain_in_past(store)


def retain_in_past(store: str) -> BadInputError:
    """Make the error for a lock that would end before it begins."""
    return BadInputError(
        "RETAIN_IN_PAST",
        f"The end of the lock asked of store {store} is not in the future.",
        remedy="Give a later date, and compare the clock of this machine with the clock of the store.",
    )


def check_deletable(store: str, key: str, current: LockState, now: datetime) -> None:
    """Refuse (PolicyRefusedError) the deletion of a version whose hold or lock still stands at `now`."""
    if current.legal_hold:
        raise refusal(store, f"delete a version of {key}", "a legal hold stands on it")
    if current.retain_until is not None and now < current.retain_until:
        raise refusal(store, f"delete a version of {key}", f"it is locked until {stamp(current.retain_until)}")


def does_not_lock(store: str, why: str) -> PolicyRefusedError:
    """Make the error that stops deposits: this store takes bytes without locking them."""
    return PolicyRefusedError(
        "STORE_DOES_NOT_LOCK",
        f"The store {store} does not lock what it keeps: {why}.",
        remedy="Use a bucket made with Object Lock on a store that passes `minutier store probe`; no deposit is taken.",
        clause="NF Z42-013:2020, WORM",
    )


def stamp(moment: datetime) -> str:
    """Write a UTC time as RFC 3339 with whole seconds, for people and for sidecar files."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

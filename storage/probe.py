"""The canary: try to break the lock of a store, and refuse deposits unless every attempt is refused.

It runs at start-up and every night. It writes one object locked for 60 seconds and attacks it with the archive's own
key; what it writes is removed by a later canary, once its lock has ended. A store that accepts one attempt, gives back
other bytes, expires objects by itself, or lives at another time than this machine takes no deposits (code
STORE_DOES_NOT_LOCK). What is weaker than it should be and does not harm is a warning.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from storage.ports import ObjectStore, ObjectVersion, StoreSettings
from storage.worm import CLOCK_SECONDS, PROBE_PREFIX, does_not_lock, whole_second

LOCK_SECONDS = 60
CLOCK_WARNING_SECONDS = 5


@runtime_checkable
class HidesKeys(Protocol):
    """A store that knows delete markers: `hide` puts one on top of a key and gives its version id."""

    def hide(self, key: str) -> str:
        """Put a delete marker on top of `key`."""


@dataclass(frozen=True, slots=True)
class ProbeAct:
    """One attempt: what was done, what a store that locks answers, what this one answered."""

    act: str
    expected: str
    outcome: str
    ok: bool
    warning: bool = False


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a canary tried on one store, in order."""

    store: str
    at: datetime
    acts: tuple[ProbeAct, ...]

    @property
    def ok(self) -> bool:
        """Tell whether the store behaved as a WORM store in every attempt."""
        return all(act.ok for act in self.acts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Give what is not as it should be, and does not stop deposits."""
        return tuple(f"{self.store}: {act.act}: {act.outcome}" for act in self.acts if act.ok and act.warning)

    def require(self) -> None:
        """Raise PolicyRefusedError STORE_DOES_NOT_LOCK, naming each bad answer, unless the report is good."""
        if not self.ok:
            bad = "; ".join(f"{act.act}: expected {act.expected}, got {act.outcome}" for act in self.acts if not act.ok)
            raise does_not_lock(self.store, bad)

    def as_dict(self) -> dict[str, object]:
        """Give the report as JSON-ready values."""
        acts = [asdict(act) for act in self.acts]
        return {"store": self.store, "at": self.at.isoformat(), "ok": self.ok, "acts": acts}


def probe(store: ObjectStore, now: datetime) -> ProbeReport:
    """Attack `store` at the time `now` (UTC) and report; ServiceUnavailableError when it does not answer.

    Only the rights of the key in use are tried: AccessDenied for want of a right looks like a lock on some stores.
    """
    return _Canary(store, now).run()


class _Canary:
    def __init__(self, store: ObjectStore, now: datetime) -> None:
        self._store = store
        self._now = now
        self._key = f"{PROBE_PREFIX}{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._bytes = secrets.token_bytes(256)
        self._acts: list[ProbeAct] = []

    def run(self) -> ProbeReport:
        store_now = self._store.clock()
        gap = abs((store_now - self._now).total_seconds())
        expected = f"within {CLOCK_WARNING_SECONDS} s"
        apart = f"{gap:.0f} s apart"
        far = gap > CLOCK_WARNING_SECONDS
        self._note("compare clocks", expected, apart, ok=gap <= CLOCK_SECONDS, warning=far)
        self._check_settings()
        self._remove_lapsed(store_now)
        # By the store's own clock, so that a wrong clock does not keep the other attempts from being made.
        until = whole_second(store_now + timedelta(seconds=LOCK_SECONDS))
        version = self._put("write a locked object", self._bytes, until)
        if version is not None:
            self._attack(version, until)
        return ProbeReport(self._store.name, self._now, tuple(self._acts))

    def _attack(self, version: ObjectVersion, until: datetime) -> None:
        store, key, version_id = self._store, self._key, version.version_id
        self._check("read it back", version)
        self._check_lock("read its lock", version, until)
        shorter = until - timedelta(seconds=LOCK_SECONDS // 2)
        self._refused("shorten its lock", lambda: store.shorten_lock(key, version_id, shorter))
        self._refused("downgrade it to GOVERNANCE", lambda: store.downgrade_lock(key, version_id))
        self._refused("delete the version", lambda: store.delete_version(key, version_id))
        self._refused("delete it with bypass", lambda: store.delete_with_bypass(key, version_id))
        self._refused("suspend versioning", store.suspend_versioning)
        self._put("write a new version on top", secrets.token_bytes(64), until)
        marker = None
        if isinstance(store, HidesKeys):
            marker = store.hide(key)
            self._note("put a delete marker on top", "done", "done", ok=True)
        self._check("read the first version after all this", version)
        self._check_lock("read its lock after all this", version, until)
        if marker is not None:
            self._quietly_delete(key, marker)

    def _check_settings(self) -> None:
        settings = self._store.settings()
        found = weaknesses(settings)
        hidden = [name for name, value in asdict(settings).items() if value is None]
        note = f"this key may not look at: {', '.join(hidden)}" if hidden else "nothing weakens the lock"
        self._note("read its settings", "nothing weakens the lock", "; ".join(found) or note, ok=not found,
                   warning=bool(hidden))  # fmt: skip

    def _put(self, act: str, data: bytes, until: datetime) -> ObjectVersion | None:
        with tempfile.TemporaryDirectory(prefix="minutier-canary-") as folder:
            source = Path(folder) / "canary"
            source.write_bytes(data)
            try:
                version = self._store.put(self._key, source, until)
            except (PolicyRefusedError, BadInputError, ServiceUnavailableError) as error:
                if isinstance(error, ServiceUnavailableError) and error.code != "STORE_CLOCK":
                    raise
                self._note(act, "done", error.message, ok=False)
                return None
        self._note(act, "done", "done", ok=True)
        return version

    def _refused(self, act: str, attempt: Callable[[], None]) -> None:
        try:
            attempt()
        except PolicyRefusedError:
            self._note(act, "refused", "refused", ok=True)
        except (BadInputError, KeyError) as error:
            self._note(act, "refused", f"failed otherwise: {error}", ok=False)
        else:
            self._note(act, "refused", "ACCEPTED", ok=False)

    def _check(self, act: str, version: ObjectVersion) -> None:
        try:
            listed = version.version_id in {found.version_id for found in self._store.versions(self._key)}
            with self._store.open(self._key, version.version_id) as stream:
                equal = stream.read() == self._bytes
        except KeyError:
            listed = equal = False
        outcome = "equal" if equal and listed else "other bytes" if listed else "gone"
        self._note(act, "equal", outcome, ok=equal and listed)

    def _check_lock(self, act: str, version: ObjectVersion, until: datetime) -> None:
        try:
            found = self._store.lock_state(self._key, version.version_id).retain_until
        except KeyError:
            found = None
        ok = found is not None and found >= until
        self._note(
            act, f"locked until {until:%H:%M:%SZ}", f"locked until {found:%H:%M:%SZ}" if found else "no lock", ok=ok
        )

    def _remove_lapsed(self, store_now: datetime) -> None:
        for version in list(self._store.list_objects(PROBE_PREFIX)):
            lock = self._store.lock_state(version.key, version.version_id)
            if lock.retain_until is not None and lock.retain_until < store_now:
                self._quietly_delete(version.key, version.version_id)

    def _quietly_delete(self, key: str, version_id: str) -> None:
        """Tidy up; a key without the right to delete is a good key, and leaves a few hundred bytes a night."""
        try:
            self._store.delete_version(key, version_id)
        except (PolicyRefusedError, KeyError):
            return

    def _note(self, act: str, expected: str, outcome: str, *, ok: bool, warning: bool = False) -> None:
        self._acts.append(ProbeAct(act, expected, outcome, ok, warning))


def weaknesses(settings: StoreSettings) -> list[str]:
    """Say what a store was told that weakens the lock of what is written later, or opens it to anybody.

    Versioning off, lifecycle rules, a default lock that a right lifts, a policy that allows anybody anything.
    """
    found = []
    if settings.versioning is False:
        found.append("versioning is not enabled")
    if settings.lifecycle:
        found.append(f"lifecycle rules expire objects: {', '.join(settings.lifecycle)}")
    if settings.default_lock and not settings.default_lock.startswith("COMPLIANCE"):
        found.append(f"the default lock is {settings.default_lock}, which a right lifts")
    if settings.policy and _allows_anybody(settings.policy):
        found.append("the bucket's policy allows anybody")
    return found


def _allows_anybody(policy: str) -> bool:
    """Say whether a policy has an Allow for all principals; one that cannot be read might."""
    try:
        statements = json.loads(policy)["Statement"]
        for each in statements if isinstance(statements, list) else [statements]:
            principal = each.get("Principal", "")
            names = principal.get("AWS", "") if isinstance(principal, dict) else principal
            if each["Effect"] == "Allow" and "*" in (names if isinstance(names, list) else [names]):
                return True
    except (ValueError, KeyError, TypeError, AttributeError):
        return True
    return False

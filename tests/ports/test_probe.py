"""The canary: it accepts the stores that lock, and finds out each way in which a store does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from storage.memory import Fault, ManualClock, MemoryStore
from storage.ports import LockState
from storage.probe import HidesKeys, probe
from storage.worm import PROBE_PREFIX

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_store_that_locks_passes(harness):
    report = probe(harness.store, harness.now())
    assert report.ok, report.as_dict()
    report.require()
    acts = [act.act for act in report.acts]
    for wanted in (
        "compare clocks",
        "read its settings",
        "shorten its lock",
        "downgrade it to GOVERNANCE",
        "delete the version",
        "delete it with bypass",
        "suspend versioning",
        "write a new version on top",
    ):
        assert wanted in acts
    assert report.warnings == ()
    assert ("put a delete marker on top" in acts) == isinstance(harness.store, HidesKeys)
    assert {act.outcome for act in report.acts if act.expected == "refused"} == {"refused"}
    assert report.as_dict()["ok"] is True
    assert {version.key[: len(PROBE_PREFIX)] for version in harness.store.list_objects("")} == {PROBE_PREFIX}


def test_a_later_canary_removes_what_earlier_ones_left():
    clock = ManualClock(NOON)
    store = MemoryStore(clock=clock)
    for _ in range(3):
        probe(store, clock())
        clock.advance(300)
    assert len(list(store.list_objects(""))) == 2
    assert sum(len(entries) for entries in store._entries.values()) == 2  # no delete marker stays either


class Lax(MemoryStore):
    """A store of many faults, one at a time."""

    def __init__(self, fault: str) -> None:
        super().__init__("lax", clock=ManualClock(NOON))
        self.fault = fault

    def shorten_lock(self, key, version_id, retain_until):
        if self.fault == "shorten":
            self._find(key, version_id).lock = LockState(retain_until, legal_hold=False)
        elif self.fault == "shorten in silence":
            self._find(key, version_id).lock = LockState(retain_until, legal_hold=False)
            super().shorten_lock(key, version_id, NOON)
        elif self.fault == "shorten unknown":
            raise BadInputError("STORE_SPEC", "not implemented", remedy="")
        else:
            super().shorten_lock(key, version_id, retain_until)

    def delete_version(self, key, version_id):
        if self.fault == "delete":
            self._entries[key] = [entry for entry in self._entries[key] if entry.version.version_id != version_id]
        else:
            super().delete_version(key, version_id)

    def downgrade_lock(self, key, version_id):
        if self.fault != "downgrade":
            super().downgrade_lock(key, version_id)

    def delete_with_bypass(self, key, version_id):
        if self.fault != "bypass":
            super().delete_with_bypass(key, version_id)

    def settings(self):
        told = {"lifecycle": {"lifecycle": ("expire",)}, "weak default": {"default_lock": "GOVERNANCE 1"}}
        return replace(super().settings(), **told.get(self.fault, {}))

    def suspend_versioning(self):
        if self.fault != "suspend":
            super().suspend_versioning()

    def put(self, key, source, retain_until):
        if self.fault == "put refused":
            raise BadInputError("RETAIN_IN_PAST", "The end of the lock is not in the future.", remedy="")
        if self.fault == "no versions":
            self._entries.pop(key, None)
        version = super().put(key, source, retain_until)
        if self.fault == "no lock":
            self._find(key, version.version_id).lock = LockState(None, legal_hold=False)
        if self.fault == "bytes":
            self.damage(key, version.version_id, b"other")
        return version

    def hide(self, key):
        marker = super().hide(key)
        if self.fault == "marker hides":
            self._entries[key] = [entry for entry in self._entries[key] if entry.marker]
        return marker

    def versions(self, key):
        found = super().versions(key)
        return [replace(version, version_id="x") for version in found] if self.fault == "list" else found

    def clock(self):
        return NOON + timedelta(seconds=61) if self.fault == "clock" else NOON


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("shorten", {"shorten its lock", "read its lock after all this"}),
        ("shorten in silence", {"read its lock after all this"}),
        ("shorten unknown", {"shorten its lock"}),
        ("delete", {"delete the version", "read the first version after all this", "read its lock after all this"}),
        ("downgrade", {"downgrade it to GOVERNANCE"}),
        ("bypass", {"delete it with bypass"}),
        ("lifecycle", {"read its settings"}),
        ("weak default", {"read its settings"}),
        ("suspend", {"suspend versioning"}),
        ("put refused", {"write a locked object"}),
        ("no versions", {"read the first version after all this", "read its lock after all this"}),
        ("no lock", {"read its lock", "shorten its lock"}),
        ("bytes", {"read it back", "read the first version after all this"}),
        ("marker hides", {"read the first version after all this", "read its lock after all this"}),
        ("list", {"read it back", "read the first version after all this"}),
        ("clock", {"compare clocks"}),
    ],
)
def test_a_lax_store_takes_no_deposit(fault, found):
    report = probe(Lax(fault), NOON)
    assert not report.ok
    assert found <= {act.act for act in report.acts if not act.ok}
    with pytest.raises(PolicyRefusedError) as refused:
        report.require()
    assert refused.value.code == "STORE_DOES_NOT_LOCK"
    assert all(act in refused.value.message for act in found)


def test_the_same_store_without_the_fault_passes():
    assert probe(Lax(""), NOON).ok


def test_a_silent_store_is_unavailable_not_lax():
    for number in range(12):
        store = MemoryStore(clock=ManualClock(NOON))
        store.fault_hook = lambda call, number=number: Fault.LOST if call.number == number else None
        with pytest.raises(ServiceUnavailableError):
            probe(store, NOON)


@pytest.mark.parametrize("seconds", [-60, -6, 6, 60])
def test_a_clock_a_little_apart_is_a_warning(seconds):
    store = MemoryStore("late", clock=ManualClock(NOON + timedelta(seconds=seconds)))
    report = probe(store, NOON)
    assert report.ok
    (warning,) = report.warnings
    assert f"{abs(seconds)} s apart" in warning


def test_settings_that_the_key_may_not_see_are_a_warning():
    store = MemoryStore("blind", clock=ManualClock(NOON))
    store.told = replace(store.told, policy=None, lifecycle=None)
    report = probe(store, NOON)
    assert report.ok
    (warning,) = report.warnings
    assert "lifecycle, policy" in warning


def test_a_key_without_the_right_to_delete_is_a_good_key():
    clock = ManualClock(NOON)

    class NoDelete(MemoryStore):
        def delete_version(self, key, version_id):
            raise PolicyRefusedError("WORM_REFUSED", "denied", remedy="")

    store = NoDelete(clock=clock)
    for _ in range(2):
        assert probe(store, clock()).ok
        clock.advance(300)

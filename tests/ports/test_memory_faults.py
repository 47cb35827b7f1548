"""The fault hook of the memory store: every call can be lost, or done and left unanswered."""

from datetime import UTC, datetime, timedelta

import pytest

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage.memory import Fault, ManualClock, MemoryStore, fail_call

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=7)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"bytes")
    return path


@pytest.mark.parametrize(("fault", "kept"), [(Fault.LOST, 0), (Fault.UNANSWERED, 1)])
def test_a_write_is_lost_or_done_and_the_caller_cannot_tell(source, fault, kept):
    store = MemoryStore(clock=ManualClock(NOON), fault_hook=fail_call(0, fault))
    with pytest.raises(ServiceUnavailableError) as error:
        store.put("demo/a", source, LATER)
    assert (error.value.code, error.value.retryable) == ("STORE_UNANSWERED", True)
    assert len(store.versions("demo/a")) == kept


@pytest.mark.parametrize("fault", list(Fault))
def test_every_method_of_the_port_can_fail(source, fault):
    seen = []

    def hook(call):
        seen.append(call)
        return fault if broken else None

    store, broken = MemoryStore(clock=ManualClock(NOON), fault_hook=hook), False
    version = store.put("demo/a", source, LATER).version_id
    acts = {
        "put": lambda: store.put("demo/a", source, LATER),
        "versions": lambda: store.versions("demo/a"),
        "list_objects": lambda: store.list_objects("demo/"),
        "open": lambda: store.open("demo/a", version),
        "lock_state": lambda: store.lock_state("demo/a", version),
        "extend_lock": lambda: store.extend_lock("demo/a", version, LATER, legal_hold=True),
        "shorten_lock": lambda: store.shorten_lock("demo/a", version, NOON),
        "delete_version": lambda: store.delete_version("demo/a", version),
        "suspend_versioning": store.suspend_versioning,
        "clock": store.clock,
        "hide": lambda: store.hide("demo/b"),
    }
    broken = True
    for act in acts.values():
        with pytest.raises(ServiceUnavailableError):
            act()
    assert [call.act for call in seen[1:]] == list(acts)
    assert [call.number for call in seen] == list(range(len(acts) + 1))


def test_a_refusal_whose_answer_is_lost_is_an_unknown_outcome(source):
    store = MemoryStore(clock=ManualClock(NOON))
    version = store.put("demo/a", source, LATER).version_id
    store.fault_hook = lambda call: Fault.UNANSWERED
    with pytest.raises(ServiceUnavailableError):
        store.delete_version("demo/a", version)
    store.fault_hook = None
    with pytest.raises(PolicyRefusedError):
        store.delete_version("demo/a", version)


def test_damage_goes_under_the_lock(source):
    store = MemoryStore(clock=ManualClock(NOON))
    version = store.put("demo/a", source, LATER)
    store.damage("demo/a", version.version_id, b"other bytes")
    with store.open("demo/a", version.version_id) as stream:
        assert stream.read() == b"other bytes"
    assert store.versions("demo/a")[0].size == 11
    assert store.lock_state("demo/a", version.version_id).retain_until == LATER

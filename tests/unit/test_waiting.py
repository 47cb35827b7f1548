"""Deposits that no authority stamps wait in plain sight, and are taken up again without anyone's help."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flows.deposit import final_state
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from storage import waiting
from storage.reception import current
from storage.sealing import seal_deposit, stamp_batch
from tests.support.rig import carry, pass_screening

DOWN = ServiceUnavailableError("TSA_DOWN", "No time-stamp authority answers.", remedy="It waits.")


def sealed(rig, number):
    deposit = rig.deliver(f"document {number}".encode(), f"R-{number}")
    pass_screening(rig.archive, deposit.archive_id)
    seal_deposit(rig.archive, deposit.archive_id, {"minutier": "test"})
    return deposit.archive_id


def stamp(rig, ids):
    with waiting.noted(rig.archive, ids):
        return stamp_batch(rig.archive, ids)


def seen(rig):
    with rig.archive.database.transaction() as connection:
        return waiting.waits(connection), waiting.summary(connection), waiting.to_resume(connection, rig.clock())


def left_behind(rig):
    with rig.archive.database.transaction() as connection:
        return waiting.to_resume(connection, rig.clock(), left_behind=True)


def test_all_authorities_down_and_then_up_again(rig):
    ids = [sealed(rig, number) for number in (1, 2)]
    assert seen(rig) == ({}, "", [])
    rig.archive.tsa.down.append(True)
    begun = rig.clock()
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            stamp(rig, ids)
        rig.clock.advance(600)
    waits, sentence, resumable = seen(rig)
    assert set(waits) == set(ids)
    assert {(wait.code, wait.since, wait.tried_at) for wait in waits.values()} == {
        ("TSA_DOWN", begun, begun + timedelta(seconds=600))
    }
    assert "is down" in waits[ids[0]].reason
    assert waiting.member(waits, ids[0])["waiting"]["code"] == waiting.code(waits, ids[0]) == "TSA_DOWN"
    assert (waiting.member(waits, "another"), waiting.code(waits, "another")) == ({}, "")
    assert sentence.startswith("2 deposits wait for a time-stamp since ")
    assert "not archived yet: [TSA_DOWN]" in sentence
    assert sorted(resumable, key=str) == sorted([(ids[0], "R-1"), (ids[1], "R-2")], key=str)
    assert current(rig.archive, ids[0]).state == "SEALED"

    rig.archive.tsa.down.clear()
    assert stamp(rig, ids)
    assert seen(rig) == ({}, "", [])
    assert [deposit.state for deposit in carry(rig.archive, ids)] == ["ARCHIVED", "ARCHIVED"]


def test_a_refused_token_is_a_reason_to_wait_too(rig):
    (archive_id,) = [sealed(rig, 1)]
    answer = rig.archive.tsa.answer
    object.__setattr__(rig.archive.tsa, "answer", lambda request: answer(request) + b"\0")
    with pytest.raises(IntegrityFailureError):
        stamp(rig, [archive_id])
    waits, sentence, _ = seen(rig)
    assert waits[archive_id].code == "TOKEN_DER"
    assert sentence.startswith("1 deposit waits")


def test_only_what_is_about_time_stamps_is_noted(rig):
    archive_id = sealed(rig, 1)
    for error in (ServiceUnavailableError("STORE_DOWN", "x", remedy=""), KeyError("x")):
        with pytest.raises(type(error)), waiting.noted(rig.archive, [archive_id]):
            raise error
    assert seen(rig)[0] == {}


def test_what_went_on_waits_no_more(rig):
    archive_id = sealed(rig, 1)
    rig.archive.tsa.down.append(True)
    with pytest.raises(ServiceUnavailableError):
        stamp(rig, [archive_id])
    rig.archive.tsa.down.clear()
    stamp_batch(rig.archive, [archive_id])  # by another worker, that notes nothing
    assert seen(rig) == ({}, "", [])


def test_what_nothing_has_moved_for_an_hour_is_taken_up(rig):
    left, ended = rig.deliver(b"left", "R-left"), rig.deposit(b"ended", "R-ended")
    assert ended.state == "ARCHIVED"
    rig.clock.advance(64 * 60)
    assert left_behind(rig) == []
    rig.clock.advance(2 * 60)
    assert seen(rig)[2] == []
    assert left_behind(rig) == [(left.archive_id, "R-left")]


def test_what_is_stuck_does_not_keep_the_others_from_their_turn(rig):
    left = [rig.deliver(f"left {number}".encode(), f"R-{number}").archive_id for number in range(3)]
    rig.clock.advance(66 * 60)
    with rig.archive.database.transaction() as connection:

        def turn():
            return waiting.to_resume(connection, rig.clock(), left_behind=True, limit=1)

        # One of three is left out of sixty turns once in 10^10.
        turns = [turn() for _ in range(60)]
        everyone = waiting.to_resume(connection, rig.clock(), left_behind=True, limit=3)
    assert {len(found) for found in turns} == {1}
    assert {found[0][0] for found in turns} == set(left)
    assert [archive_id for archive_id, _ in everyone] == sorted(left)


def test_a_run_says_by_its_name_that_it_waits():
    state = final_state({"SEALED": 2, "ARCHIVED": 1}, None, no_token=DOWN)
    assert (state.name, state.type.value) == ("WaitingForTimestamp", "FAILED")
    assert "1 archived, 0 refused, 2 waiting for a time-stamp, not archived yet" in state.message
    assert state.data is DOWN
    assert final_state({"ARCHIVED": 2}, None, no_token=DOWN).name == "Archived"
    refused = IntegrityFailureError("TOKEN_TIME", "x", remedy="")
    with pytest.raises(IntegrityFailureError):
        final_state({"SEALED": 1}, None, no_token=refused)

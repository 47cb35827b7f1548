"""Wrong clocks, of the application and of the store: what is refused, what is alarmed, and what stays locked."""

import json
import subprocess
import sys

import pytest

from minutier.errors import IntegrityFailureError
from storage.abandoning import abandon
from storage.bootstrap import opened_archive, require_probed
from storage.reception import current
from tests.support import moved_clock
from tests.support.promises import faults
from tests.support.rig import carry
from tests.support.worker import Work, content, receive_one

SEED = 20261206
HOUR, DAY = 3600, 86_400
SHIFTS = (HOUR, -HOUR, -400 * DAY, 2_200 * DAY)
"""The last one is past the end of the class of the documents, five years: their legal hold is what remains."""

pytestmark = [
    pytest.mark.skipif(moved_clock.supported() is not None, reason=str(moved_clock.supported())),
    pytest.mark.timeout(600),
]


def original(reference):
    return content(SEED, reference)


def moved(seconds, act, instance, *rest):
    """Do one act in a process whose clock is moved."""
    program = [sys.executable, "-m", "tests.support.moved_acts", act, instance.home, json.dumps(instance.environment)]
    done = subprocess.run(moved_clock.command(seconds, [*program, *rest]), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def kept(machine, tmp_path):
    """An archive with one document in it, made while every clock was right."""
    instance = machine.instance()
    with opened_archive(instance.settings) as archive:
        require_probed(archive)
        (found,) = carry(archive, [receive_one(archive, Work(instance, (), tmp_path / "log", tmp_path, SEED), "kept")])
    return instance, {"kept": found.archive_id}


def test_an_application_whose_clock_is_wrong_archives_nothing(machine, kept, tmp_path):
    instance, acknowledged = kept
    said = {}
    for seconds in SHIFTS:
        path = tmp_path / "document"
        path.write_bytes(original(f"moved {seconds}"))
        said[seconds] = moved(seconds, "deposit", instance, path, f"moved {seconds}")
    print(said)
    assert "ARCHIVED" not in said.values(), said
    with opened_archive(instance.settings) as archive:
        require_probed(archive)
        for seconds in SHIFTS:
            found = archived_at_last(archive, Work(instance, (), tmp_path / "log", tmp_path, SEED), f"moved {seconds}")
            acknowledged[found.reference] = found.archive_id
        assert faults(archive, acknowledged, original) == []


def archived_at_last(archive, work, reference):
    """Carry a deposit on under the right clock; one that was sealed in the future is abandoned and delivered again."""
    archive_id = receive_one(archive, work, reference)
    try:
        (found,) = carry(archive, [archive_id])
    except IntegrityFailureError as error:
        assert error.code == "TOKEN_TIME"
        assert current(archive, archive_id).state == "SEALED"
        abandon(archive, archive_id, "sealed under a clock that was ahead")
        (found,) = carry(archive, [receive_one(archive, work, reference)])
    assert found.state == "ARCHIVED"
    return found


@pytest.mark.minio
@pytest.mark.parametrize("seconds", [*SHIFTS[2:], *(pytest.param(each, marks=pytest.mark.long) for each in SHIFTS[:2])])
def test_a_store_whose_clock_is_wrong_is_told_and_keeps_what_is_locked(minio_machine, tmp_path, seconds):
    instance = minio_machine.instance()
    with opened_archive(instance.settings) as archive:
        require_probed(archive)
        (found,) = carry(archive, [receive_one(archive, Work(instance, (), tmp_path / "log", tmp_path, SEED), "kept")])
    minio_machine.minio.kill()
    minio_machine.minio.start(moved=seconds)
    try:
        path = tmp_path / "document"
        path.write_bytes(original("late"))
        alarm, refused = moved(0, "canary", instance), moved(0, "deposit", instance, path, "late")
        stolen = moved(seconds, "steal", instance)
    finally:
        minio_machine.minio.kill()
        minio_machine.minio.start()
    print(alarm, refused, stolen)
    assert "ok" not in alarm.values()
    assert refused == "STORE_CLOCK"
    assert set(stolen) == {"refused"}
    with opened_archive(instance.settings) as archive:
        assert faults(archive, {"kept": found.archive_id}, original) == []

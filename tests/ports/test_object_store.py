"""The contract of `ObjectStore`, one suite for every adapter."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from minutier.errors import BadInputError, PolicyRefusedError
from minutier.fingerprint import fingerprint_bytes, fingerprint_stream

NO_VERSION = "00000000-0000-4000-8000-000000000000"


def test_what_was_put_is_given_back_by_version_id(harness):
    data = random.Random(1).randbytes(100_003)
    version = harness.put("demo/0190a/original.pdf", data)
    assert version.key == "demo/0190a/original.pdf"
    assert version.size == len(data)
    assert abs((version.written_at - harness.now()).total_seconds()) < 30
    with harness.store.open(version.key, version.version_id) as stream:
        assert fingerprint_stream(stream) == fingerprint_bytes(data)


def test_an_empty_object_is_an_object(harness):
    version = harness.put("demo/empty", b"")
    assert version.size == 0
    assert harness.read("demo/empty", version.version_id) == b""


def test_an_object_of_several_parts_is_locked_and_whole(harness):
    """17 MiB cross the part size of the S3 client: a multipart upload must carry the lock too."""
    data = random.Random(2).randbytes(17 << 20)
    version = harness.put("demo/large", data)
    digest = hashlib.sha256()
    with harness.store.open("demo/large", version.version_id) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(data).digest()
    assert harness.store.lock_state("demo/large", version.version_id).retain_until is not None
    with pytest.raises(PolicyRefusedError):
        harness.store.delete_version("demo/large", version.version_id)


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 1), (5, 10), (2_000_000, 200_000), (2_999_999, 1), (7, 0)])
def test_a_part_is_read_from_where_it_begins(harness, offset, length):
    data = bytes(range(250)) * 12_000
    version = harness.put("demo/parts", data)
    with harness.store.open("demo/parts", version.version_id, offset=offset, length=length) as stream:
        assert stream.read() == (data[offset : offset + length] if length else data[offset:])


def test_a_reader_may_stop_in_the_middle(harness):
    version = harness.put("demo/stopped", bytes(300_000))
    with harness.store.open("demo/stopped", version.version_id) as stream:
        assert stream.read(10) == bytes(10)
    assert len(harness.read("demo/stopped", version.version_id)) == 300_000


def test_a_second_put_is_a_new_version_and_the_first_stays(harness):
    first = harness.put("demo/twice", b"first")
    second = harness.put("demo/twice", b"second")
    assert first.version_id != second.version_id
    assert harness.store.versions("demo/twice") == [second, first]
    assert harness.read("demo/twice", first.version_id) == b"first"
    assert harness.read("demo/twice", second.version_id) == b"second"


def test_same_bytes_twice_are_two_versions(harness):
    assert harness.put("demo/same", b"x").version_id != harness.put("demo/same", b"x").version_id
    assert len(harness.store.versions("demo/same")) == 2


def test_versions_are_those_of_exactly_that_key(harness):
    version = harness.put("demo/a", b"1")
    for neighbour in ("demo/a.json", "demo/ab", "demo/a-b", "demo/A"):
        harness.put(neighbour, b"other")
    assert harness.store.versions("demo/a") == [version]
    assert harness.store.versions("demo/absent") == []
    assert harness.store.versions("demo") == []


def test_listing_is_in_key_order_with_all_versions(harness):
    keys = ["b/x/original", "a-b/x", "a/z", "a/y", "a.b", "b/x-y/original", "B/x", "a_b/c/d"]
    wanted = {key: harness.put(key, key.encode()) for key in keys}
    newer = harness.put("a/y", b"newer")
    expected = []
    for key in sorted(keys):
        expected += [newer, wanted[key]] if key == "a/y" else [wanted[key]]
    assert list(harness.store.list_objects("")) == expected
    assert [item.key for item in harness.store.list_objects("a/")] == ["a/y", "a/y", "a/z"]
    assert [item.key for item in harness.store.list_objects("b/x")] == ["b/x-y/original", "b/x/original"]
    assert list(harness.store.list_objects("nothing/")) == []


def test_a_lock_is_never_shorter_than_asked(harness):
    until = harness.now() + timedelta(hours=1, microseconds=1)
    source = harness.folder / "source"
    source.write_bytes(b"x")
    version = harness.store.put("demo/lock", source, until)
    lock = harness.store.lock_state("demo/lock", version.version_id)
    assert until <= lock.retain_until < until + timedelta(seconds=1)
    assert lock.retain_until.utcoffset() == timedelta(0)
    assert lock.legal_hold is False


def test_a_locked_version_is_not_deleted(harness):
    version = harness.put("demo/locked", b"x")
    with pytest.raises(PolicyRefusedError) as refused:
        harness.store.delete_version("demo/locked", version.version_id)
    assert refused.value.code == "WORM_REFUSED"
    assert harness.read("demo/locked", version.version_id) == b"x"


def test_a_lapsed_version_is_deleted_for_good_and_alone(harness):
    kept = harness.put("demo/lapsed", b"kept")
    gone = harness.put("demo/lapsed", b"gone", seconds=1)
    harness.pass_time(3)
    harness.store.delete_version("demo/lapsed", gone.version_id)
    assert harness.store.versions("demo/lapsed") == [kept]
    with pytest.raises(KeyError):
        harness.store.delete_version("demo/lapsed", gone.version_id)
    with pytest.raises(KeyError):
        harness.read("demo/lapsed", gone.version_id)


def test_a_hold_outlives_the_lock_and_a_released_version_goes(harness):
    version = harness.put("demo/held", b"x", seconds=1)
    until = harness.store.lock_state("demo/held", version.version_id).retain_until
    harness.store.extend_lock("demo/held", version.version_id, until, legal_hold=True)
    harness.pass_time(3)
    with pytest.raises(PolicyRefusedError):
        harness.store.delete_version("demo/held", version.version_id)
    # The term has ended: only the hold changes, so the same date is accepted.
    harness.store.extend_lock("demo/held", version.version_id, until, legal_hold=False)
    assert harness.store.lock_state("demo/held", version.version_id).legal_hold is False
    harness.store.delete_version("demo/held", version.version_id)
    assert harness.store.versions("demo/held") == []


def test_a_lock_is_extended_and_repeating_it_changes_nothing(harness):
    version = harness.put("demo/extended", b"x")
    until = (harness.now() + timedelta(days=365 * 5)).replace(microsecond=0)
    for _ in range(2):
        harness.store.extend_lock("demo/extended", version.version_id, until, legal_hold=True)
        lock = harness.store.lock_state("demo/extended", version.version_id)
        assert (lock.retain_until, lock.legal_hold) == (until, True)
    assert harness.store.versions("demo/extended") == [version]


def test_extending_one_version_leaves_the_others(harness):
    first, second = harness.put("demo/two", b"1"), harness.put("demo/two", b"2")
    before = harness.store.lock_state("demo/two", second.version_id)
    harness.store.extend_lock("demo/two", first.version_id, harness.now() + timedelta(days=9), legal_hold=True)
    assert harness.store.lock_state("demo/two", second.version_id) == before


@pytest.mark.parametrize("legal_hold", [True, False])
def test_a_lock_is_not_shortened(harness, legal_hold):
    version = harness.put("demo/short", b"x")
    before = harness.store.lock_state("demo/short", version.version_id)
    shorter = harness.now() + timedelta(minutes=30)
    with pytest.raises(PolicyRefusedError) as refused:
        harness.store.shorten_lock("demo/short", version.version_id, shorter)
    assert refused.value.code == "WORM_REFUSED"
    with pytest.raises(PolicyRefusedError):
        harness.store.extend_lock("demo/short", version.version_id, shorter, legal_hold=legal_hold)
    assert harness.store.lock_state("demo/short", version.version_id) == before


def test_versioning_is_not_suspended(harness):
    with pytest.raises(PolicyRefusedError) as refused:
        harness.store.suspend_versioning()
    assert refused.value.code == "WORM_REFUSED"


def test_a_lock_that_ends_in_the_past_is_bad_input(harness):
    with pytest.raises(BadInputError) as refused:
        harness.put("demo/past", b"x", seconds=-3600)
    assert refused.value.code == "RETAIN_IN_PAST"
    assert harness.store.versions("demo/past") == []


def test_a_lapsed_lock_is_extended_into_the_future_only(harness):
    version = harness.put("demo/again", b"x", seconds=1)
    harness.pass_time(4)
    with pytest.raises(BadInputError) as refused:
        harness.store.extend_lock(
            "demo/again", version.version_id, harness.now() - timedelta(seconds=1), legal_hold=False
        )
    assert refused.value.code == "RETAIN_IN_PAST"
    harness.store.extend_lock("demo/again", version.version_id, harness.now() + timedelta(hours=1), legal_hold=False)
    with pytest.raises(PolicyRefusedError):
        harness.store.delete_version("demo/again", version.version_id)


def test_a_time_without_zone_is_a_mistake(harness):
    source = harness.folder / "source"
    source.write_bytes(b"x")
    with pytest.raises(ValueError, match="timezone-aware"):
        harness.store.put("demo/naive", source, datetime(2099, 1, 1))  # noqa: DTZ001
    assert harness.store.versions("demo/naive") == []


@pytest.mark.parametrize("version_id", [NO_VERSION, "junk", "../../etc/passwd", ""])
def test_a_version_that_does_not_exist_is_a_key_error(harness, version_id):
    harness.put("demo/exists", b"x")
    later = harness.now() + timedelta(days=2)
    for key in ("demo/exists", "demo/absent"):
        with pytest.raises(KeyError):
            harness.read(key, version_id)
        with pytest.raises(KeyError):
            harness.store.lock_state(key, version_id)
        with pytest.raises(KeyError):
            harness.store.extend_lock(key, version_id, later, legal_hold=False)
        with pytest.raises(KeyError):
            harness.store.shorten_lock(key, version_id, later)
        with pytest.raises(KeyError):
            harness.store.delete_version(key, version_id)
    assert len(harness.store.versions("demo/exists")) == 1


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        "a/.aside",
        "a b",
        "é",
        "a\x00b",
        "a\n",
        "a\\b",
        "x" * 129,
        "/".join("a" * 17),
        "-rf",
        "a:b",
        "a%2fb",
    ],
)
def test_an_unsafe_key_goes_nowhere(harness, key):
    later = harness.now() + timedelta(days=2)
    for act in (
        lambda: harness.put(key, b"x"),
        lambda: harness.store.versions(key),
        lambda: harness.read(key, NO_VERSION),
        lambda: harness.store.lock_state(key, NO_VERSION),
        lambda: harness.store.extend_lock(key, NO_VERSION, later, legal_hold=False),
        lambda: harness.store.shorten_lock(key, NO_VERSION, later),
        lambda: harness.store.delete_version(key, NO_VERSION),
    ):
        with pytest.raises(BadInputError) as refused:
            act()
        assert refused.value.code == "KEY_UNSAFE"


@pytest.mark.parametrize("prefix", ["/", "../", "a/..", ".", "a//", "é"])
def test_an_unsafe_prefix_is_refused_at_the_call(harness, prefix):
    with pytest.raises(BadInputError):
        harness.store.list_objects(prefix)


def test_a_source_that_cannot_be_read_writes_nothing(harness):
    with pytest.raises(OSError, match="absent"):
        harness.store.put("demo/none", harness.folder / "absent", harness.now() + timedelta(days=1))
    assert harness.store.versions("demo/none") == []


def test_the_clock_of_the_store_is_told_in_utc(harness):
    said = harness.store.clock()
    assert said.utcoffset() == timedelta(0)
    assert abs((said - harness.now()).total_seconds()) < 5


@pytest.mark.parametrize("harness", ["memory", pytest.param("minio", marks=pytest.mark.minio)], indirect=True)
def test_a_delete_marker_hides_nothing(harness):
    version = harness.put("demo/marked", b"x")
    marker = harness.store.hide("demo/marked")
    assert harness.store.versions("demo/marked") == [version]
    assert list(harness.store.list_objects("demo/marked")) == [version]
    assert harness.read("demo/marked", version.version_id) == b"x"
    assert harness.store.lock_state("demo/marked", version.version_id).retain_until is not None
    with pytest.raises(KeyError):
        harness.read("demo/marked", marker)
    with pytest.raises(KeyError):
        harness.store.lock_state("demo/marked", marker)
    harness.store.delete_version("demo/marked", marker)
    assert harness.store.versions("demo/marked") == [version]


def test_two_writers_of_one_key_make_two_versions(harness):
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda number: harness.put("demo/rivals", bytes([number])), range(8)))
    versions = harness.store.versions("demo/rivals")
    assert len({version.version_id for version in versions}) == 8
    for number, version in enumerate(written):
        assert harness.read("demo/rivals", version.version_id) == bytes([number])

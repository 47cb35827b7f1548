"""Byte ranges from the stores: few bytes asked for, a bad copy passed over, the act journaled."""

import json

import pytest

from minutier.age_stream import CHUNK
from minutier.errors import BadInputError, IntegrityFailureError, ServiceUnavailableError
from storage import catalogue, journal
from storage.directory import DirectoryStore
from storage.memory import MemoryStore
from storage.opening import read_range, wrapped_key

DATA = b"%PDF-1.7\n" + b"".join(b"%07d\n" % number for number in range(100_000))


@pytest.fixture
def deposit(rig):
    return rig.deposit(DATA)


def original(rig, deposit, index):
    store, key = rig.stores[index], f"demo/{deposit.archive_id}/original.age"
    return store, key, store.versions(key)[0].version_id


def alter(rig, deposit, index, place):
    store, key, version = original(rig, deposit, index)
    data = bytearray(store.open(key, version).read())
    data[place] ^= 1
    store.damage(key, version, bytes(data))


def test_only_the_chunks_that_are_needed_are_asked_for(rig, deposit, monkeypatch):
    asked, plain = [], MemoryStore.open

    def watched(store, key, version_id, *, offset=0, length=0):
        asked.append((store.name, offset, length))
        return plain(store, key, version_id, offset=offset, length=length)

    monkeypatch.setattr(MemoryStore, "open", watched)
    place = 5 * CHUNK + 1000
    assert read_range(rig.archive, deposit, "original", place, place + 99) == DATA[place : place + 100]
    assert {name for name, _, _ in asked} == {"replica-a"}
    assert all(length for _, _, length in asked)
    assert sum(length for _, _, length in asked) < 3 * CHUNK < len(DATA) / 4


def test_a_copy_that_is_bad_where_it_is_read_is_passed_over(rig, deposit):
    alter(rig, deposit, 0, 5 * CHUNK + 2000)  # header and tags come before
    assert read_range(rig.archive, deposit, "original", 5 * CHUNK, 5 * CHUNK + 9) == DATA[5 * CHUNK : 5 * CHUNK + 10]
    # Elsewhere the same copy is good.
    assert read_range(rig.archive, deposit, "original", 0, 9) == DATA[:10]
    alter(rig, deposit, 1, 5 * CHUNK + 2000)  # header and tags come before
    with pytest.raises(IntegrityFailureError) as caught:
        read_range(rig.archive, deposit, "original", 5 * CHUNK, 5 * CHUNK + 9)
    assert caught.value.code == "NO_GOOD_COPY"


def test_a_store_that_is_down_is_not_a_bad_copy(rig, deposit, monkeypatch):
    def down(*_arguments, **_options):
        raise ServiceUnavailableError("STORE_UNANSWERED", "It does not answer.", remedy="Wait.")

    monkeypatch.setattr(MemoryStore, "open", down)
    with pytest.raises(ServiceUnavailableError) as caught:
        read_range(rig.archive, deposit, "original", 0, 9)
    assert caught.value.code == "STORE_DOWN"


def test_a_store_that_gives_fewer_bytes_than_asked_is_not_believed(rig, deposit, monkeypatch):
    plain = MemoryStore.open

    def short(store, key, version_id, *, offset=0, length=0):
        return plain(store, key, version_id, offset=offset, length=max(1, length - 1))

    monkeypatch.setattr(MemoryStore, "open", short)
    with pytest.raises(IntegrityFailureError) as caught:
        read_range(rig.archive, deposit, "original", 0, 9)
    assert caught.value.code == "NO_GOOD_COPY"


def test_the_read_is_journaled_with_its_bounds(rig, deposit):
    assert len(read_range(rig.archive, deposit, "original", len(DATA) - 5, len(DATA) + 5)) == 5
    with rig.archive.database.transaction() as connection:
        entries = [json.loads(line.entry) for line in journal.lines(connection) if line.event == "document:read"]
    assert entries[-1]["details"] == {"role": "original", "first": len(DATA) - 5, "last": len(DATA) - 1}


def test_what_is_not_there_is_said(rig, deposit):
    for role, first, wanted in (("rendition", 0, "NO_SUCH_PART"), ("original", len(DATA), "BAD_RANGE")):
        with pytest.raises(BadInputError) as caught:
            read_range(rig.archive, deposit, role, first, first + 1)
        assert caught.value.code == wanted


def test_a_wrapped_key_that_the_database_lost_is_in_the_keys_directory(rig, deposit):
    before = wrapped_key(rig.archive, deposit)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM document_key")
        assert catalogue.get(connection, deposit.archive_id)
    assert wrapped_key(rig.archive, deposit) == before
    assert read_range(rig.archive, deposit, "original", 0, 7) == DATA[:8]


def test_a_directory_reads_on_from_the_middle(tmp_path, rig):
    source = tmp_path / "source"
    source.write_bytes(DATA)
    store = DirectoryStore("d", tmp_path / "d", create=True, clock=rig.clock)
    version = store.put("demo/x", source, rig.clock().replace(year=rig.clock().year + 1))
    with store.open("demo/x", version.version_id, offset=100_000, length=10) as stream:
        assert (stream.read(4), stream.read(), stream.read()) == (DATA[100_000:100_004], DATA[100_004:100_010], b"")

"""Tiles of the journal: every path made through them is that of the plain tree, whole tiles or not, all sizes."""

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from minutier import merkle, tlog_proof
from minutier.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from minutier.errors import IntegrityFailureError
from minutier.events import Event
from storage import journal, tiles
from storage.proofs import prove_line

SIZES = (1, 2, 3, 255, 256, 257, 511, 512, 700, 1023, 1025)


def fill(rig, count):
    with rig.archive.database.transaction() as connection:
        about = [("", "demo", {"n": number}) for number in range(count)]
        journal.append_all(connection, Event.STORE_PROBED, rig.clock(), about)
    with rig.archive.database.transaction() as connection:
        while journal.sequence(connection, limit=300):
            pass
        return journal.head(connection)[0]


def test_paths_through_tiles_are_those_of_the_plain_tree(rig, monkeypatch):
    monkeypatch.setattr(tiles, "HEIGHT", 3)
    monkeypatch.setattr(tiles, "WIDTH", 8)
    monkeypatch.setattr(
        tiles, "_leaves", lambda connection, number: tiles._leaves_between(connection, number * 8, number * 8 + 8)
    )
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_tile DROP CONSTRAINT journal_tile_hashes_check")
    last = fill(rig, 1100)
    drawn = random.Random(7)
    with rig.archive.database.transaction() as connection:
        leaves = journal.leaves(connection, last)
        count = connection.execute("SELECT max(level) AS level, count(*) AS n FROM journal_tile").fetchone()
        assert (count["level"], count["n"] > 150) == (2, True)
        for size in (*SIZES, last):
            tree = tiles.Tree(connection, size)
            assert tree.root() == merkle.root(leaves[:size])
            for index in {0, size - 1, size // 2, *(drawn.randrange(size) for _ in range(10))}:
                assert tree.inclusion(index) == merkle.inclusion_proof(leaves[:size], index), (size, index)
        for wrong in (-1, last):
            with pytest.raises(IndexError):
                tiles.Tree(connection, last).inclusion(wrong)


def test_a_journal_without_tiles_gets_them_little_by_little(rig):
    last = fill(rig, 600)
    with rig.archive.database.transaction() as connection:
        made = connection.execute("SELECT level, number, hashes FROM journal_tile ORDER BY 1, 2").fetchall()
        assert [(row["level"], row["number"]) for row in made] == [(0, 0), (0, 1)]
        leaves = journal.leaves(connection, last)
        assert bytes(made[1]["hashes"]) == b"".join(leaves[256:512])
        connection.execute("DELETE FROM journal_tile")
        assert tiles.Tree(connection, last).inclusion(300) == merkle.inclusion_proof(leaves, 300)
        assert tiles.extend(connection, last, most=1) == 1
        assert tiles.Tree(connection, last).inclusion(300) == merkle.inclusion_proof(leaves, 300)
        assert tiles.extend(connection, last) == 1
        assert tiles.extend(connection, last) == 0


def test_a_line_is_proven_to_who_has_the_key_alone(rig):
    fill(rig, 300)
    data = prove_line(rig.archive, 200)
    key = NoteKey(journal.JOURNAL_NAME, rig.archive.journal_key.public_key().public_bytes_raw())
    proof, checkpoint = tlog_proof.verify(data, [key])
    assert proof.index == 199
    assert checkpoint.size >= 300
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT entry FROM journal_event WHERE seq = 200").fetchone()
    assert proof.entry == bytes(row["entry"])
    assert tlog_proof.encode(proof) == data
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nextra ")


KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAMED = NoteKey("journal.example", KEY.public_key().public_bytes_raw())


def small_proof():
    entries = [b"entry %d" % number for number in range(7)]
    leaves = [merkle.leaf_hash(each) for each in entries]
    note = sign_checkpoint(Checkpoint("journal.example", 7, merkle.root(leaves)), NAMED, KEY.sign)
    return tlog_proof.encode(tlog_proof.LineProof(entries[4], 4, tuple(merkle.inclusion_proof(leaves, 4)), note))


def test_every_changed_byte_of_a_proof_is_refused():
    data = small_proof()
    assert tlog_proof.verify(data, [NAMED])[0].entry == b"entry 4"
    for place in range(len(data)):
        for flip in (1, 0x20):
            changed = bytearray(data)
            changed[place] ^= flip
            with pytest.raises(IntegrityFailureError):
                tlog_proof.verify(bytes(changed), [NAMED])
        with pytest.raises(IntegrityFailureError):
            tlog_proof.verify(data[:place], [NAMED])
        with pytest.raises(IntegrityFailureError):
            tlog_proof.verify(data[:place] + b"\n" + data[place:], [NAMED])


@pytest.mark.parametrize(
    "data", [b"", b"x" * (300 << 10), b"c2sp.org/tlog-proof@v1\nextra \nindex 00\n\n", b"\xff\n\n"]
)
def test_what_is_no_proof_says_so(data):
    with pytest.raises(IntegrityFailureError) as caught:
        tlog_proof.decode(data)
    assert caught.value.code == "TLOG_PROOF_FORMAT"

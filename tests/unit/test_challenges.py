"""The supervision asks for a document at random; every copy must answer alike, and as it did before."""

import hashlib
import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import canonical
from minutier.challenge import CopyAnswer, decode_answer, decode_challenge, encode_answer, encode_challenge
from minutier.checkpoint import NoteKey
from minutier.errors import BadInputError, IntegrityFailureError, ServiceUnavailableError
from storage import catalogue
from storage.challenges import answer, meet_challenge
from storage.destruction import Decision, destroy
from storage.dev_ca import JOURNAL_NAME
from storage.memory import Fault
from storage.traces import Answer, ship
from supervision import challenges
from supervision.notices import DOCUMENT, remedy
from supervision.register import Register
from supervision.watch import Deadlines, Watch, look, receive, receive_answer
from tests.unit.test_supervision import codes, refused, served


class Straight:
    """The whole wire, straight into a watch."""

    def __init__(self, watch):
        self.watch, self.replies = watch, []

    def send(self, data):
        return Answer(200, receive(self.watch, "rig", data))

    def challenge(self):
        found = challenges.standing(self.watch.register, "rig")
        return Answer(200, encode_challenge(found)) if found else Answer(204, b"")

    def reply(self, data):
        self.replies.append(data)
        try:
            return Answer(200, receive_answer(self.watch, "rig", data))
        except BadInputError as error:
            return Answer(404, json.dumps({"code": error.code, "message": error.message}).encode())
        except IntegrityFailureError as error:
            return Answer(409, json.dumps({"code": error.code, "message": error.message}).encode())


@pytest.fixture
def asked(rig, tmp_path):
    """An archive with one document, shipped, and a challenge about it."""
    register = Register(tmp_path / "register.db")
    key = NoteKey(JOURNAL_NAME, rig.archive.journal_key.public_key().public_bytes_raw())
    register.add_archive("rig", key.vkey(), rig.clock())
    watch = Watch(register, "witness", Ed25519PrivateKey.generate(), Deadlines(), (), (), rig.clock)
    wire, deposit = Straight(watch), rig.deposit()
    ship(rig.archive, wire, watch.witness)
    look(watch)
    yield rig, watch, wire, deposit
    register.close()


def drawn(watch):
    return challenges.standing(watch.register, "rig")


def next_challenge(rig, watch, wire):
    """Let an hour pass and have another one drawn."""
    rig.clock.advance(3600)
    ship(rig.archive, wire, watch.witness)
    look(watch)
    return drawn(watch)


def original(rig, deposit):
    with rig.archive.database.transaction() as connection:
        item = catalogue.objects(connection, deposit.archive_id)["original"]
        copies = [each for each in catalogue.copies(connection, deposit.archive_id) if each.role == "original"]
    return item, copies


def damage(rig, deposit, replicas):
    item, copies = original(rig, deposit)
    for copy in copies:
        if copy.replica in replicas:
            rig.archive.replica(copy.replica).damage(item.key, copy.version_id, b"x" * item.size)


def test_each_copy_answers_with_the_nonce_and_nothing_is_alarmed(asked):
    rig, watch, wire, deposit = asked
    challenge = drawn(watch)
    assert (challenge.number, challenge.archive_id) == (1, deposit.archive_id)
    assert meet_challenge(rig.archive, wire) == 1
    assert (drawn(watch), codes(watch)) == (None, [])
    told = decode_answer(wire.replies[0], rig.archive.journal_key.public_key())
    item, copies = original(rig, deposit)
    with rig.archive.replica("replica-a").open(item.key, copies[0].version_id) as stream:
        data = stream.read()
    wanted = hashlib.sha256(bytes.fromhex(challenge.nonce) + data).hexdigest()
    assert [(each.replica, each.answer, each.sha256) for each in told.copies] == [
        (name, wanted, item.sha256) for name in ("replica-a", "replica-b")
    ]
    assert meet_challenge(rig.archive, wire) is None
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT entry FROM journal_event WHERE event = 'challenge:answered'").fetchall()
    assert [json.loads(bytes(row["entry"]))["details"] for row in rows] == [{"number": 1, "copies": 2, "gone": 0}]


def test_a_challenge_is_drawn_each_hour_with_another_nonce_among_what_stands(asked):
    rig, watch, wire, _ = asked
    rig.deposit(b"another", "R-2")
    seen = [drawn(watch)]
    for _ in range(20):
        meet_challenge(rig.archive, wire)
        look(watch)
        assert drawn(watch) is None  # not before the hour is over
        seen.append(next_challenge(rig, watch, wire))
    assert [each.number for each in seen] == list(range(1, 22))
    assert len({each.nonce for each in seen}) == 21
    assert len({each.archive_id for each in seen}) == 2


@pytest.mark.parametrize("replicas", [("replica-a",), ("replica-b",)])
def test_a_copy_that_was_altered_in_silence_is_found(asked, replicas):
    rig, watch, wire, deposit = asked
    damage(rig, deposit, replicas)
    with pytest.raises(IntegrityFailureError) as stopped:
        meet_challenge(rig.archive, wire)
    assert (stopped.value.code, deposit.archive_id in stopped.value.message) == ("CHALLENGE_FAILED", True)
    assert (codes(watch), drawn(watch)) == (["CHALLENGE_DIFFERS"], None)
    assert watch.register.evidence("rig") == [("CHALLENGE_DIFFERS", wire.replies[0])]
    assert remedy("CHALLENGE_DIFFERS") == DOCUMENT


def test_copies_altered_alike_are_found_when_one_was_shown_before(asked):
    rig, watch, wire, deposit = asked
    meet_challenge(rig.archive, wire)
    damage(rig, deposit, ("replica-a", "replica-b"))
    assert next_challenge(rig, watch, wire) is not None
    with pytest.raises(IntegrityFailureError):
        meet_challenge(rig.archive, wire)
    assert codes(watch) == ["CHALLENGE_CHANGED"]


def test_a_copy_that_is_gone_is_found(asked):
    rig, watch, wire, deposit = asked
    item, copies = original(rig, deposit)
    rig.archive.replica(copies[0].replica)._entries[item.key].clear()
    with pytest.raises(IntegrityFailureError) as stopped:
        meet_challenge(rig.archive, wire)
    assert copies[0].replica in stopped.value.message
    assert codes(watch) == ["CHALLENGE_COPY_GONE"]


def test_a_document_that_the_catalogue_lost_is_found(asked):
    rig, watch, wire, deposit = asked
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM replica_copy WHERE archive_id = %s", (deposit.archive_id,))
    with pytest.raises(IntegrityFailureError):
        meet_challenge(rig.archive, wire)
    assert codes(watch) == ["CHALLENGE_COPY_GONE"]


def test_fewer_copies_than_the_last_time_are_an_alarm(asked):
    rig, watch, wire, _ = asked
    meet_challenge(rig.archive, wire)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM replica_copy WHERE replica = 'replica-b' AND role = 'original'")
    next_challenge(rig, watch, wire)
    with pytest.raises(IntegrityFailureError):
        meet_challenge(rig.archive, wire)
    assert codes(watch) == ["CHALLENGE_COPIES"]


def test_one_that_is_not_answered_is_an_alarm_until_it_is(asked):
    rig, watch, wire, _ = asked
    rig.stores[0].fault_hook = lambda call: Fault.LOST if call.act == "open" else None
    with pytest.raises(ServiceUnavailableError):
        meet_challenge(rig.archive, wire)
    rig.clock.advance(45 * 60)
    ship(rig.archive, wire, watch.witness)
    look(watch)
    assert codes(watch) == []
    rig.clock.advance(1)
    look(watch)
    assert codes(watch) == ["CHALLENGE_LATE"]
    rig.stores[0].fault_hook = None
    assert meet_challenge(rig.archive, wire) == 1
    assert codes(watch) == []


def test_one_about_a_document_that_was_destroyed_is_taken_back(asked):
    rig, watch, wire, deposit = asked
    rig.clock.advance(timedelta(days=366 * 6).total_seconds())
    look(watch)
    assert "CHALLENGE_LATE" in codes(watch)
    destroy(rig.archive, deposit.archive_id, Decision("end of its class", "archivist-1"))
    assert meet_challenge(rig.archive, wire) is None
    ship(rig.archive, wire, watch.witness, "nightly")
    look(watch)
    assert (drawn(watch), codes(watch)) == (None, [])


def test_an_answer_that_was_lost_is_taken_when_it_comes_again_and_no_other(asked):
    rig, watch, _, _ = asked
    challenge = drawn(watch)
    data = answer(rig.archive, challenge)
    first = receive_answer(watch, "rig", data)
    assert receive_answer(watch, "rig", data) == first == canonical.encode({"number": 1})
    rig.clock.advance(60)
    with pytest.raises(BadInputError) as stopped:
        receive_answer(watch, "rig", answer(rig.archive, challenge))
    assert (stopped.value.code, codes(watch)) == ("NOT_ASKED", [])


def test_an_answer_about_another_document_or_nonce_does_not_hold(asked):
    rig, watch, _, _ = asked
    challenge, sign = drawn(watch), rig.archive.journal_key.sign
    copies = [CopyAnswer("a", 1, "00" * 32, "11" * 32)]
    for changed in (
        replace(challenge, nonce="00" * 32),
        replace(challenge, archive_id=rig.deposit(b"2", "2").archive_id),
    ):
        data = encode_answer(changed, copies, rig.clock(), sign)
        assert refused(lambda data=data: receive_answer(watch, "rig", data)) == "CHALLENGE_OTHER"
    twice = encode_answer(challenge, copies * 2, rig.clock(), sign)
    assert refused(lambda: receive_answer(watch, "rig", twice)) == "CHALLENGE_COPY_GONE"


def test_every_byte_of_an_answer_counts(asked):
    rig, watch, _, _ = asked
    data, key = answer(rig.archive, drawn(watch)), rig.archive.journal_key.public_key()
    for place in range(len(data)):
        altered = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        assert refused(lambda altered=altered: decode_answer(altered, key)) in (
            "CHALLENGE_FORMAT",
            "CHALLENGE_SIGNATURE",
        )
    for altered in (data[:-1], data + b"\n", b"", b"\n\n", data * 2, data + b"x" * 70000):
        assert refused(lambda altered=altered: decode_answer(altered, key)) == "CHALLENGE_FORMAT"
    assert refused(lambda: receive_answer(watch, "rig", data[:-3] + b"A=\n")) == "CHALLENGE_SIGNATURE"
    assert watch.register.evidence("rig") == []


def test_a_challenge_is_read_as_it_was_written_and_nothing_else(asked):
    _, watch, _, _ = asked
    data = encode_challenge(drawn(watch))
    assert decode_challenge(data) == drawn(watch)
    value = canonical.decode(data)
    for name, other in (
        ("nonce", "00"),
        ("number", 0),
        ("archive_id", "x"),
        ("format", "y"),
        ("until", "z"),
        ("more", 1),
    ):
        with pytest.raises(ValueError, match=r"."):
            decode_challenge(canonical.encode(value | {name: other}))


def test_a_register_from_before_challenges_learns_its_documents(asked, tmp_path):
    rig, watch, wire, deposit = asked
    rig.deposit(b"another", "R-2")
    ship(rig.archive, wire, watch.witness)
    watch.register.close()
    shutil.copy(tmp_path / "register.db", tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as connection:
        for sentence in (
            "DROP TABLE document",
            "DROP TABLE challenge",
            "ALTER TABLE alarm DROP COLUMN closed_by",
            "PRAGMA user_version = 0",
        ):
            connection.execute(sentence)
    connection.close()
    register = Register(tmp_path / "old.db")
    assert challenges.draw(register, "rig", timedelta(hours=1), timedelta(hours=1), rig.clock())
    with register.transaction() as connection:
        known = {row[0] for row in connection.execute("SELECT archive_id FROM document WHERE NOT gone")}
    assert (deposit.archive_id in known, len(known)) == (True, 2)
    register.close()


def test_zero_minutes_ask_for_nothing(asked):
    rig, watch, wire, _ = asked
    meet_challenge(rig.archive, wire)
    rig.clock.advance(7200)
    ship(rig.archive, wire, watch.witness)
    look(replace(watch, deadlines=Deadlines(challenge=timedelta(0))))
    assert drawn(watch) is None


def test_over_http_it_is_asked_and_answered(asked):
    from tasks.shipping import HttpWire

    rig, watch, _, deposit = asked
    with served(watch) as url:
        wire = HttpWire(f"{url}/v1/archives/rig")
        assert meet_challenge(rig.archive, wire) == 1
        assert wire.challenge().status == 204
        assert HttpWire(f"{url}/v1/archives/other").challenge().status == 204
        assert wire.reply(b"x" * 70000).status == 413
        assert next_challenge(rig, watch, wire) is not None
        damage(rig, deposit, ("replica-b",))
        with pytest.raises(IntegrityFailureError):
            meet_challenge(rig.archive, wire)
    assert codes(watch) == ["CHALLENGE_DIFFERS"]


def test_what_is_no_challenge_is_not_answered(asked):
    rig, _, wire, _ = asked
    for status, body in ((200, b"<html>"), (503, b"")):
        wire.challenge = lambda status=status, body=body: Answer(status, body)
        with pytest.raises(ServiceUnavailableError):
            meet_challenge(rig.archive, wire)
    wire.challenge = lambda: Answer(404, b"")
    assert meet_challenge(rig.archive, wire) is None

"""The supervision judges the time-stamps of the journal itself: a bad token is an alarm at once, none for a day too."""

import base64
import hashlib
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import canonical
from minutier.certificates import load_pem
from minutier.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from minutier.errors import BadInputError, IntegrityFailureError, ServiceUnavailableError
from minutier.journal_stamp import decode_stamp, encode_stamp
from storage.dev_ca import JOURNAL_NAME, create_development_ca
from storage.dev_tsa import authority_in_process
from storage.journal_stamps import last, stamp_journal, tell_last
from storage.proofs import checkpoint_of
from storage.traces import Answer, ship
from supervision import stamps
from supervision.__main__ import main
from supervision.register import Register
from supervision.watch import Deadlines, Watch, look, receive_stamp
from tests.unit.test_supervision import Straight, codes, refused, served


@pytest.fixture
def told(rig, tmp_path):
    """An archive with a document, stamped and shipped to a supervision that knows its authority."""
    register = Register(tmp_path / "register.db")
    register.add_archive("rig", note_key(rig).vkey(), rig.clock())
    register.add_tsa_root("rig", root_of(rig))
    watch = Watch(register, "witness", Ed25519PrivateKey.generate(), Deadlines(), (), (), rig.clock)
    rig.deposit()
    night(rig, watch)
    yield rig, watch
    register.close()


def note_key(rig):
    return NoteKey(JOURNAL_NAME, rig.archive.journal_key.public_key().public_bytes_raw())


def root_of(rig):
    return (rig.archive.settings.trust_dir / "root.pem").read_text()


def night(rig, watch):
    stamp_journal(rig.archive)
    ship(rig.archive, Straight(watch), watch.witness, "nightly")


def message(rig):
    with rig.archive.database.transaction() as connection:
        known = last(connection)
        return encode_stamp(checkpoint_of(rig.archive, connection, known.size), known.token)


def token_over(rig, note):
    return rig.archive.tsa.stamp(hashlib.sha256(note).digest(), rig.clock).token.der


class Wire:
    def __init__(self, watch, status=None):
        self.watch, self.status = watch, status

    def stamp(self, data):
        if self.status:
            return Answer(self.status, b"")
        try:
            return Answer(200, receive_stamp(self.watch, "rig", data))
        except BadInputError:
            return Answer(404, b"")
        except IntegrityFailureError as error:
            return Answer(409, canonical.encode({"code": error.code, "message": error.message}))


def test_a_good_stamp_is_kept_and_taken_again(told):
    rig, watch = told
    size = tell_last(rig.archive, Wire(watch))
    assert size == stamps.last(watch.register, "rig")[0] > 0
    assert tell_last(rig.archive, Wire(watch)) == size
    assert codes(watch) == []


def test_night_after_night_each_root_is_recomputed_from_the_last(told):
    rig, watch = told
    sizes = [tell_last(rig.archive, Wire(watch))]
    for number in range(4):
        rig.deposit(str(number).encode(), f"R-{number + 2}")
        ship(rig.archive, Straight(watch), watch.witness)
        rig.clock.advance(24 * 3600)
        night(rig, watch)
        sizes.append(tell_last(rig.archive, Wire(watch)))
    assert sizes == sorted(set(sizes))
    assert codes(watch) == []


def test_no_stamp_for_a_day_is_an_alarm_until_one_comes(told):
    rig, watch = told
    look(watch)
    assert codes(watch) == []
    tell_last(rig.archive, Wire(watch))
    stamped = stamps.last(watch.register, "rig")[1]
    rig.clock.now = stamped + timedelta(hours=26)
    ship(rig.archive, Straight(watch), watch.witness, "nightly")
    look(watch)
    assert "STAMP_MISSED" not in codes(watch)
    rig.clock.advance(60)
    look(watch)
    assert "STAMP_MISSED" in codes(watch)
    night(rig, watch)
    tell_last(rig.archive, Wire(watch))
    assert "STAMP_MISSED" not in codes(watch)


def test_without_a_registered_authority_nothing_is_asked_and_nothing_alarmed(rig, tmp_path):
    register = Register(tmp_path / "register.db")
    register.add_archive("rig", note_key(rig).vkey(), rig.clock())
    watch = Watch(register, "witness", Ed25519PrivateKey.generate(), Deadlines(), (), (), rig.clock)
    rig.deposit()
    night(rig, watch)
    assert tell_last(rig.archive, Wire(watch)) is None
    rig.clock.advance(30 * 3600)
    look(watch)
    assert "STAMP_MISSED" not in codes(watch)
    register.close()


def test_a_token_of_another_authority_or_over_other_bytes_does_not_count(told, tmp_path):
    rig, watch = told
    note, token = decode_stamp(message(rig))
    create_development_ca(tmp_path / "other", rig.clock())
    other = authority_in_process(tmp_path / "other", rig.archive.roots, rig.clock)
    request_of = replace(rig.archive.tsa, answer=other.answer, roots=())
    foreign = replace(request_of, roots=load_pem((tmp_path / "other" / "trust" / "root.pem").read_bytes()))
    digest = hashlib.sha256(note).digest()
    for bad in (
        foreign.stamp(digest, rig.clock).token.der,
        token_over(rig, note + b"x"),
        token[:-1] + bytes((token[-1] ^ 1,)),
        b"no token",
    ):
        assert refused(lambda bad=bad: receive_stamp(watch, "rig", encode_stamp(note, bad))) == "STAMP_TOKEN"
    assert codes(watch) == ["STAMP_TOKEN"]
    assert {code for code, _ in watch.register.evidence("rig")} == {"STAMP_TOKEN"}


def signed(rig, size, root):
    return sign_checkpoint(Checkpoint(JOURNAL_NAME, size, root), note_key(rig), rig.archive.journal_key.sign)


def test_a_checkpoint_over_another_history_does_not_hold(told):
    """Who has the journal's key can sign any root, and have it time-stamped: it is not the one that was told."""
    rig, watch = told
    told_last = watch.register.archive("rig").head.last
    for note in (
        signed(rig, told_last, b"\0" * 32),
        signed(rig, told_last + 1, b"\0" * 32),
        signed(rig, 0, b"\0" * 32),
    ):
        data = encode_stamp(note, token_over(rig, note))
        assert refused(lambda data=data: receive_stamp(watch, "rig", data)) == "STAMP_ROOT"
    stranger = Ed25519PrivateKey.generate()
    key = NoteKey(JOURNAL_NAME, stranger.public_key().public_bytes_raw())
    note = sign_checkpoint(Checkpoint(JOURNAL_NAME, 1, b"\0" * 32), key, stranger.sign)
    assert refused(lambda: receive_stamp(watch, "rig", encode_stamp(note, token_over(rig, note)))) == "STAMP_NOTE"
    assert {code for code, _ in watch.register.evidence("rig")} == {"STAMP_ROOT"}


def test_a_time_that_is_yet_to_come_or_goes_back_is_refused(told):
    rig, watch = told
    data = message(rig)
    behind = replace(watch, clock=lambda: rig.clock() - timedelta(minutes=6))
    assert refused(lambda: receive_stamp(behind, "rig", data)) == "STAMP_CLOCK"
    rig.clock.advance(7200)
    small, _ = decode_stamp(data)
    receive_stamp(watch, "rig", encode_stamp(small, token_over(rig, small)))
    rig.deposit(b"later", "R-2")
    ship(rig.archive, Straight(watch), watch.witness)
    with rig.archive.database.transaction() as connection:
        note = checkpoint_of(rig.archive, connection, watch.register.archive("rig").head.last)
    rig.clock.advance(-3600)
    earlier = encode_stamp(note, token_over(rig, note))
    rig.clock.advance(3600)
    assert refused(lambda: receive_stamp(watch, "rig", earlier)) == "STAMP_CLOCK"


def test_what_is_no_stamp_is_told_from_one(told):
    rig, watch = told
    good = canonical.decode(message(rig))
    for bad in (
        b"", b"{}", b"x" * (2 << 20), canonical.encode(good | {"more": "x"}), canonical.encode(good | {"format": "y"}),
        canonical.encode(good | {"token": "!"}), canonical.encode(good | {"note": 1}),
        canonical.encode(good | {"token": base64.b64encode(b"a").decode()[:-1] + "\n"}),
    ):  # fmt: skip
        assert refused(lambda bad=bad: receive_stamp(watch, "rig", bad)) == "STAMP_FORMAT"
    assert watch.register.evidence("rig") == []


def test_the_archive_says_what_the_supervision_says(told):
    rig, watch = told
    for status, error in ((503, ServiceUnavailableError), (409, IntegrityFailureError)):
        with pytest.raises(error):
            tell_last(rig.archive, Wire(watch, status))
    assert tell_last(rig.archive, Wire(watch, 404)) is None


def test_over_http(told):
    from tasks.shipping import HttpWire

    rig, watch = told
    with served(watch) as url:
        wire = HttpWire(f"{url}/v1/archives/rig")
        assert tell_last(rig.archive, wire) == stamps.last(watch.register, "rig")[0]
        assert wire.stamp(b"{}").status == 409
        assert wire.stamp(b"x" * (2 << 20)).status == 413


def test_a_register_from_before_has_no_authority_and_is_given_one(told, tmp_path, capsys):
    rig, watch = told
    watch.register.close()
    home = tmp_path / "supervision"
    home.mkdir()
    shutil.copy(tmp_path / "register.db", home / "register.db")
    with sqlite3.connect(home / "register.db") as connection:
        for sentence in ("DROP TABLE stamp", "ALTER TABLE archive DROP COLUMN tsa_roots", "PRAGMA user_version = 2"):
            connection.execute(sentence)
    connection.close()
    (tmp_path / "journal.vkey").write_text(note_key(rig).vkey())
    (tmp_path / "root.pem").write_text(root_of(rig))
    (tmp_path / "bad.pem").write_text("no certificate")
    words = ["register", "rig", "--key", str(tmp_path / "journal.vkey"), "--home", str(home), "--tsa-root"]
    assert main([*words, str(tmp_path / "bad.pem")]) == 2
    assert main([*words, str(tmp_path / "none.pem")]) == 2
    for _ in range(2):
        assert main([*words, str(tmp_path / "root.pem")]) == 0
    register = Register(home / "register.db")
    assert register.archive("rig").tsa_roots.count("BEGIN CERTIFICATE") == 1
    assert receive_stamp(replace(watch, register=register), "rig", message(rig))
    register.close()

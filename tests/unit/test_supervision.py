"""The other side: what it takes, what it refuses, when it alarms, and that it tells the right people once."""

import hashlib
import itertools
import json
import random
import shutil
import smtplib
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import merkle, segment
from minutier.canonical import decode
from minutier.checkpoint import Checkpoint, NoteKey, sign_checkpoint, verify_cosignature
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.events import Event, encode_entry, format_time
from minutier.report import Verdict
from minutier.trace_bundle import Head as TraceHead
from minutier.trace_bundle import count_events, decode_bundle, encode_bundle
from minutier.trust import load_trust
from minutier.verify import verify
from storage import seam, traces
from storage.memory import ManualClock
from storage.proofs import export_proof
from storage.traces import Answer, ship, standing
from supervision.__main__ import main
from supervision.judge import Head, judge
from supervision.notices import check_target, send_due
from supervision.page import page, status
from supervision.register import Register
from supervision.server import Door
from supervision.watch import Deadlines, Watch, look, receive
from tests.support.rig import Killed

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "minutier-development-journal"
NOTE_KEY = NoteKey(NAME, KEY.public_key().public_bytes_raw())


class Teller:
    """An archive that tells its journal, as it is or as somebody made it."""

    def __init__(self, key=KEY):
        self.entries, self.key, self.number, self.last, self.previous = [], key, 0, 0, ""

    def write(self, count, event=Event.DOCUMENT_READ):
        for _ in range(count):
            identifier = f"00000000-0000-4000-8000-{len(self.entries):012d}"
            self.entries.append(encode_entry(event, event_uuid=identifier, at=NOW, actor="minutier"))

    def bundle(self, now=NOW, **changes):
        entries = self.entries[self.last :]
        before = segment.chain_after(segment.START, self.entries[: self.last])
        checkpoint = Checkpoint(NAME, len(self.entries), merkle.root(map(merkle.leaf_hash, self.entries)))
        values = {
            "number": self.number + 1,
            "kind": "heartbeat",
            "first": self.last + 1,
            "last": len(self.entries),
            "chain_before": before.hex(),
            "chain_after": segment.chain_after(before, entries).hex(),
            "counts": count_events(entries),
            "previous": self.previous,
            "checkpoint": sign_checkpoint(
                checkpoint, NoteKey(NAME, self.key.public_key().public_bytes_raw()), self.key.sign
            ).decode(),
            "at": format_time(now),
        }
        return encode_bundle(TraceHead(**values | changes), entries, self.key.sign)

    def told(self, data):
        self.number, self.last = self.number + 1, len(self.entries)
        self.previous = hashlib.sha256(data).hexdigest()
        return data


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def watch(tmp_path, clock):
    register = Register(tmp_path / "register.db")
    register.add_archive("archive", NOTE_KEY.vkey(), NOW)
    yield Watch(
        register,
        "witness",
        Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))),
        Deadlines(nightly=time(6, 0)),
        ("https://alerts.test/hook",),
        ("smtp://mail.test:25/chief@example.org",),
        clock,
    )
    register.close()


def refused(call):
    with pytest.raises(IntegrityFailureError) as stopped:
        call()
    return stopped.value.code


def codes(watch, *, standing=True):
    return [each.code for each in watch.register.alarms(standing=standing)]


# --- judgement ---------------------------------------------------------------------------------------------------


def test_a_history_told_in_pieces_is_taken_and_cosigned(watch):
    teller = Teller()
    for count in (3, 0, 1, 700):
        teller.write(count)
        answer = decode(receive(watch, "archive", teller.told(teller.bundle())))
        assert answer["number"] == teller.number
        assert verify_cosignature(answer["note"].encode(), watch.witness) == NOW
    archive = watch.register.archive("archive")
    assert (archive.head.last, archive.head.number) == (704, 4)
    assert merkle.Frontier(704, archive.head.subtrees).root() == merkle.root(map(merkle.leaf_hash, teller.entries))
    assert codes(watch) == []


def test_sent_again_it_is_answered_the_same(watch, clock):
    teller = Teller()
    teller.write(2)
    data = teller.bundle()
    first = receive(watch, "archive", data)
    clock.advance(60)
    assert receive(watch, "archive", data) == first
    assert watch.register.archive("archive").received_at == clock()
    teller.told(data)
    receive(watch, "archive", teller.told(teller.bundle(now=clock())))
    assert receive(watch, "archive", data) == first
    assert codes(watch) == []


def test_what_the_archive_did_not_sign_is_no_evidence(watch):
    assert refused(lambda: receive(watch, "archive", b"anything\n" * 3)) == "TRACE_FORMAT"
    assert watch.register.evidence("archive") == []
    assert codes(watch) == ["TRACE_FORMAT"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": 3}, "TRACE_GAP"),
        ({"number": 1}, "TRACE_FORK"),
        ({"previous": "ab" * 32}, "TRACE_GAP"),
        ({"chain_before": "00" * 32}, "TRACE_FORK"),
        ({"chain_after": "00" * 32}, "TRACE_CHAIN"),
        ({"counts": {"document:read": 3}}, "TRACE_COUNTS"),
        ({"counts": {}}, "TRACE_COUNTS"),
        ({"at": "2026-11-26T11:59:59Z"}, "TRACE_CLOCK"),
        ({"at": "2026-11-26T12:05:01Z"}, "TRACE_CLOCK"),
        ({"at": "noon"}, "TRACE_FORMAT"),
        ({"kind": "weekly"}, "TRACE_FORMAT"),
        ({"first": 2}, "TRACE_FORMAT"),
        ({"last": 99}, "TRACE_FORMAT"),
        ({"checkpoint": "x"}, "TRACE_CHECKPOINT"),
    ],
    ids=lambda value: "-".join(map(str, value))[:24] if isinstance(value, dict) else value,
)
def test_each_field_of_a_head_is_judged(watch, changes, code):
    teller = Teller()
    teller.write(2)
    receive(watch, "archive", teller.told(teller.bundle()))
    teller.write(2)
    assert refused(lambda: receive(watch, "archive", teller.bundle(**changes))) == code
    assert codes(watch) == [code]
    assert watch.register.archive("archive").head.number == 1
    receive(watch, "archive", teller.bundle())


def test_a_checkpoint_over_other_entries_is_refused(watch):
    teller, other = Teller(), Teller()
    teller.write(2)
    other.write(2, Event.DOCUMENT_CHECKED)
    signed = decode_bundle(other.bundle(), KEY.public_key()).head.checkpoint
    assert refused(lambda: receive(watch, "archive", teller.bundle(checkpoint=signed))) == "TRACE_ROOT"
    other.write(1)
    longer = decode_bundle(other.bundle(), KEY.public_key()).head.checkpoint
    assert refused(lambda: receive(watch, "archive", teller.bundle(checkpoint=longer))) == "TRACE_CHECKPOINT"


def test_every_byte_of_a_bundle_counts():
    teller = Teller()
    teller.write(3)
    data = teller.bundle()
    for place in range(len(data)):
        altered = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        refused(lambda altered=altered: judge(Head(), altered, NOTE_KEY, NOW))
    for cut in (1, 10, len(data) // 2):
        refused(lambda cut=cut: judge(Head(), data[:-cut], NOTE_KEY, NOW))
    refused(lambda: judge(Head(), data + b"x\n", NOTE_KEY, NOW))


def test_another_key_tells_nothing(watch):
    teller = Teller(Ed25519PrivateKey.generate())
    teller.write(1)
    assert refused(lambda: receive(watch, "archive", teller.bundle())) == "TRACE_SIGNATURE"


def test_a_fork_is_kept_as_evidence_that_speaks_for_itself(watch):
    teller = Teller()
    teller.write(3)
    first = teller.bundle()
    receive(watch, "archive", first)
    teller.entries[1] = encode_entry(
        Event.DEPOSIT_ARCHIVED, event_uuid="00000000-0000-4000-8000-00000000ffff", at=NOW, actor="minutier"
    )
    other = teller.bundle()
    assert refused(lambda: receive(watch, "archive", other)) == "TRACE_FORK"
    ((code, kept),) = watch.register.evidence("archive")
    taken, _ = watch.register.bundle("archive", 1)
    assert (code, kept, taken) == ("TRACE_FORK", other, first)
    # Both are signed by the archive, both are bundle 1, and they differ: whoever has its key sees that it told both.
    one, two = (decode_bundle(data, KEY.public_key()) for data in (kept, taken))
    assert (one.head.number, one.sha256 != two.sha256) == (two.head.number, True)


def test_an_insider_is_found_at_the_next_bundle():
    """Who may do all in the database, and has the journal's key, edits, inserts, deletes, reorders, cuts, re-chains."""
    draw = random.Random(20261126)
    found = 0
    for attempt in range(1000):
        teller = Teller()
        teller.write(draw.randint(4, 30))
        data = teller.told(teller.bundle())
        head, _ = judge(Head(), data, NOTE_KEY, NOW)
        place, entries = draw.randrange(len(teller.entries)), teller.entries
        if attempt % 5 == 0:
            entries[place] = entries[place].replace(b"document:read", b"proof:exported")
        elif attempt % 5 == 1:
            entries.insert(place, entries[place].replace(b"00000000-0000", b"ffffffff-0000"))
        elif attempt % 5 == 2:
            del entries[place]
        elif attempt % 5 == 3:
            other = (place + draw.randint(1, len(entries) - 1)) % len(entries)
            entries[place], entries[other] = entries[other], entries[place]
        else:
            del entries[-draw.randint(1, 3) :]
        # What is told next is chained anew over the altered history, with a true signature.
        teller.last = min(teller.last, len(entries)) if draw.random() < 0.5 else len(entries)
        teller.write(draw.randint(1, 4))
        try:
            judge(head, teller.bundle(), NOTE_KEY, NOW)
        except IntegrityFailureError as error:
            assert error.code.startswith("TRACE_")
            found += 1
    assert found == 1000


# --- deadlines and notices ---------------------------------------------------------------------------------------


def test_silence_is_an_alarm_after_fifteen_minutes_and_ends_with_the_next_word(watch, clock):
    teller = Teller()
    receive(watch, "archive", teller.told(teller.bundle()))
    clock.advance(15 * 60)
    look(watch)
    assert codes(watch) == []
    clock.advance(1)
    for _ in range(3):
        look(watch)
    assert codes(watch) == ["SILENT"]
    receive(watch, "archive", teller.told(teller.bundle(now=clock())))
    assert codes(watch) == []
    assert codes(watch, standing=False) == ["SILENT"]


def test_an_archive_that_never_spoke_is_silent_too(watch, clock):
    clock.advance(16 * 60)
    look(watch)
    assert codes(watch) == ["SILENT"]


@pytest.mark.parametrize("hours", [1, 24, 7 * 24])
def test_after_a_cut_all_is_told_and_no_gap_is_left(watch, clock, hours):
    teller = Teller()
    teller.write(5)
    receive(watch, "archive", teller.told(teller.bundle(kind="nightly")))
    clock.advance(hours * 3600)
    look(watch)
    assert "SILENT" in codes(watch)
    teller.write(50)
    receive(watch, "archive", teller.told(teller.bundle(now=clock(), kind="nightly")))
    look(watch)
    assert (codes(watch), watch.register.archive("archive").head.last) == ([], 55)


def test_a_night_without_its_bundle_is_an_alarm_half_an_hour_later(watch, clock):
    teller = Teller()

    def heartbeat(kind="heartbeat"):
        receive(watch, "archive", teller.told(teller.bundle(now=clock(), kind=kind)))
        look(watch)

    clock.now = datetime(2026, 11, 27, 4, tzinfo=UTC)
    heartbeat("nightly")
    clock.now = datetime(2026, 11, 28, 6, 29, 59, tzinfo=UTC)
    heartbeat()
    assert codes(watch) == []
    clock.now = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)
    heartbeat()
    assert codes(watch) == ["NIGHTLY_MISSED"]
    heartbeat("nightly")
    assert codes(watch) == []


def test_each_target_is_told_once_and_others_when_nobody_answers(watch, clock):
    said = []
    clock.advance(16 * 60)
    look(watch)
    for _ in range(3):
        send_due(watch, lambda target, alarm: said.append((target, alarm.code)))
    assert said == [("https://alerts.test/hook", "SILENT")]
    clock.advance(31 * 60)
    look(watch)
    send_due(watch, lambda target, alarm: said.append((target, alarm.code)))
    assert said[1:] == [("smtp://mail.test:25/chief@example.org", "SILENT")]
    clock.advance(24 * 3600)
    look(watch)
    send_due(watch, lambda target, alarm: said.append((target, alarm.code)))
    assert [each for each in said if each[1] == "SILENT"] == said[:2]


def test_an_alarm_that_somebody_saw_goes_no_further(watch, clock):
    clock.advance(16 * 60)
    look(watch)
    (alarm,) = watch.register.alarms()
    assert watch.register.acknowledge(alarm.id, "night operator", clock())
    assert not watch.register.acknowledge(999, "night operator", clock())
    clock.advance(3600)
    look(watch)
    assert [each.target for each, _ in watch.register.notices_due(clock())] == ["https://alerts.test/hook"]
    assert codes(watch) == ["SILENT"]


def test_a_target_that_does_not_answer_is_tried_again_later_and_later(watch, clock):
    tries = []

    def broken(_target, _alarm):
        tries.append(clock())
        raise smtplib.SMTPServerDisconnected

    clock.advance(16 * 60)
    look(watch)
    for _ in range(60):
        send_due(watch, broken)
        clock.advance(60)
    waits = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(tries)]
    assert waits == [60, 120, 240, 480, 960]
    assert send_due(watch, lambda _target, _alarm: None) == 0
    clock.advance(3600)
    assert send_due(watch, lambda _target, _alarm: None) == 1


@contextmanager
def hook_sink():
    """A real web server that keeps what is posted to it."""
    kept = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self):
            kept.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", kept
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mail_sink():
    """A real server of RFC 5321, no more of it than one message needs; keeps what it takes."""
    import socketserver

    kept = []

    class Sink(socketserver.StreamRequestHandler):
        def handle(self):
            def answer(text):
                self.wfile.write(f"{text}\r\n".encode())

            answer("220 sink")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"DATA":
                    answer("354 go on")
                    lines = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text)
                    kept.append(b"".join(lines).decode())
                    answer("250 taken")
                elif verb == b"QUIT":
                    answer("221 bye")
                    return
                else:
                    answer("250 sink")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"smtp://127.0.0.1:{server.server_address[1]}/operator@example.org", kept
        server.shutdown()


def test_alarms_arrive_by_mail_and_webhook_once_with_the_remedy(watch, clock):
    with hook_sink() as (hook, posted), mail_sink() as (mail, mails):
        told = replace(watch, targets=(check_target(hook), check_target(mail)))
        clock.advance(16 * 60)
        look(told)
        assert (send_due(told), send_due(told)) == (2, 0)
    (body,) = posted
    assert (body["archive"], body["code"]) == ("archive", "SILENT")
    assert "minutier status" in body["remedy"]
    (message,) = mails
    assert "Subject: Minutier: SILENT (archive)" in message
    assert "Nothing was heard for 16 minutes." in message


@pytest.mark.parametrize("target", ["ftp://x/y", "smtp://host/nobody", "https://", "file:///etc/passwd", "x"])
def test_a_target_is_mail_or_webhook(target):
    with pytest.raises(BadInputError) as stopped:
        check_target(target)
    assert stopped.value.code == "BAD_TARGET"


# --- the door ----------------------------------------------------------------------------------------------------


@contextmanager
def served(watch):
    door = Door(("127.0.0.1", 0), watch)
    thread = threading.Thread(target=door.serve, kwargs={"tick": 3600}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.server_address[1]}"
    finally:
        door.stop()
        thread.join(5)


def ask(url, data=None):
    try:
        with urllib.request.urlopen(url, data, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_door_takes_bundles_and_shows_the_status(watch):
    teller = Teller()
    teller.write(2)
    with served(watch) as url:
        data = teller.told(teller.bundle())
        code, body = ask(f"{url}/v1/archives/archive/bundles", data)
        assert (code, decode(body)["number"]) == (200, 1)
        assert ask(f"{url}/v1/archives/archive/bundles", b"nonsense\n")[0] == 409
        assert ask(f"{url}/v1/archives/nosuch/bundles", data)[0] == 404
        assert ask(f"{url}/v1/archives/../bundles", data)[0] == 404
        assert ask(f"{url}/elsewhere")[0] == 404
        code, body = ask(f"{url}/v1/status")
        found = json.loads(body)
        assert (code, found["good"], found["archives"][0]["entries"]) == (200, False, 2)
        code, body = ask(f"{url}/")
        text = body.decode()
        assert (code, "1 alarme(s) en cours." in text, "http" not in text.replace("http-equiv", "")) == (
            200,
            True,
            True,
        )


def test_the_page_escapes_what_it_shows_and_is_green_when_all_is_well(watch):
    assert "Tout est en ordre." in page(watch).decode()
    watch.register.open_alarm("archive", "SILENT", "<script>alert(1)</script>", NOW, ())
    text = page(watch).decode()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert status(watch)["good"] is False


def test_an_archive_is_registered_once_and_its_key_never_replaced(watch):
    assert not watch.register.add_archive("archive", NOTE_KEY.vkey(), NOW)
    other = NoteKey(NAME, Ed25519PrivateKey.generate().public_key().public_bytes_raw()).vkey()
    for vkey, code in ((other, "ARCHIVE_EXISTS"), ("nonsense", "BAD_KEY")):
        with pytest.raises(BadInputError) as stopped:
            watch.register.add_archive("archive", vkey, NOW)
        assert stopped.value.code == code


def test_the_command_registers_tells_and_acknowledges(tmp_path, capsys):
    home, vkey = tmp_path / "supervision", tmp_path / "journal.vkey"
    vkey.write_text(NOTE_KEY.vkey())
    assert main(["register", "archive", "--key", str(vkey), "--home", str(home)]) == 0
    assert main(["register", "archive", "--key", str(vkey), "--home", str(home)]) == 0
    assert main(["register", "Not A Name", "--key", str(vkey), "--home", str(home)]) == 2
    assert main(["register", "b", "--key", str(tmp_path / "none"), "--home", str(home)]) == 2
    capsys.readouterr()
    assert main(["status", "--home", str(home)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["good"], [each["name"] for each in found["archives"]]) == (True, ["archive"])
    assert (home / "witness.vkey").read_text().strip() == found["witness"]
    assert (home / "witness.pem").stat().st_mode & 0o077 == 0
    Register(home / "register.db").open_alarm("archive", "TRACE_FORK", "two histories", NOW, ())
    assert main(["status", "--home", str(home)]) == 1
    assert main(["acknowledge", "1", "--by", "me", "--home", str(home)]) == 0
    assert main(["acknowledge", "9", "--home", str(home)]) == 2
    assert main(["close", "1", "--home", str(home), "--reason", "  "]) == 2
    assert main(["close", "1", "--home", str(home), "--by", "me", "--reason", "the host was off"]) == 0
    assert main(["close", "1", "--home", str(home), "--by", "me", "--reason", "again"]) == 2
    (closed,) = Register(home / "register.db").alarms()
    assert (closed.closed_by, closed.closed_because, closed.closed_at is not None) == ("me", "the host was off", True)
    assert main(["evidence", "archive", "--home", str(home), "-o", str(tmp_path)]) == 0
    assert main(["evidence", "archive", "--home", str(home), "-o", str(tmp_path / "none")]) == 2


# --- shipping ----------------------------------------------------------------------------------------------------


class Straight:
    """A wire that leads straight into a watch; `broken` answers before or after, or not at all."""

    def __init__(self, watch):
        self.watch, self.sent, self.broken = watch, [], ""

    def send(self, data):
        self.sent.append(data)
        if self.broken == "lost":
            raise ServiceUnavailableError("SUPERVISION_DOWN", "It is away.", remedy="Wait.")
        try:
            answer = Answer(200, receive(self.watch, "rig", data))
        except IntegrityFailureError as error:
            return Answer(409, json.dumps({"code": error.code, "message": error.message}).encode())
        if self.broken == "unanswered":
            raise ServiceUnavailableError("SUPERVISION_DOWN", "It does not answer.", remedy="Wait.")
        return answer


@pytest.fixture
def shipping(rig, watch):
    key = NoteKey(NAME, rig.archive.journal_key.public_key().public_bytes_raw())
    watch.register.add_archive("rig", key.vkey(), NOW)
    told = replace(watch, clock=rig.clock)
    return rig, told, Straight(told)


def test_the_journal_is_shipped_and_a_sign_of_life_when_nothing_is_new(shipping):
    rig, watch, wire = shipping
    rig.deposit()
    first = ship(rig.archive, wire, watch.witness)
    assert (first.bundles, first.entries) == (1, first.last)
    again = ship(rig.archive, wire, watch.witness)
    assert (again.bundles, again.entries, again.last) == (1, 0, first.last)
    with rig.archive.database.transaction() as connection:
        assert standing(connection)["waiting"] == 0
    assert codes(watch) == []


@pytest.mark.parametrize("broken", ["lost", "unanswered"])
def test_what_was_not_answered_is_sent_again_as_the_same_bytes(shipping, broken):
    rig, watch, wire = shipping
    rig.deposit()
    wire.broken = broken
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            ship(rig.archive, wire, watch.witness)
    rig.deposit(b"later", "R-2")
    wire.broken = ""
    done = ship(rig.archive, wire, watch.witness)
    assert wire.sent[0] == wire.sent[1] == wire.sent[2]
    assert done.bundles == 2
    assert codes(watch) == []
    assert watch.register.archive("rig").head.last == done.last


def test_killed_at_any_call_it_ships_every_entry_once(shipping):
    rig, watch, wire = shipping
    for number in range(100):
        rig.deposit(str(number).encode(), f"R-{number}")

        def kill(call, at=number):
            if call.number == at:
                raise Killed

        try:
            with seam.installed(kill):
                ship(rig.archive, wire, watch.witness)
            break
        except Killed:
            pass
    assert number > 3
    ship(rig.archive, wire, watch.witness)
    assert codes(watch) == []


def test_a_tampered_database_is_alarmed_at_the_next_bundle(shipping):
    rig, watch, wire = shipping
    rig.deposit()
    ship(rig.archive, wire, watch.witness)
    with rig.archive.database.transaction() as connection:
        connection.execute("ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows")
        connection.execute("UPDATE trace_bundle SET chain = sha256('forged'::bytea)")
        connection.execute("ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows")
    rig.deposit(b"later", "R-2")
    with pytest.raises(PolicyRefusedError) as stopped:
        ship(rig.archive, wire, watch.witness)
    assert stopped.value.code == "TRACE_REFUSED"
    assert "TRACE_" in stopped.value.message
    assert codes(watch) == ["TRACE_FORK"]


def test_an_answer_of_somebody_else_is_not_believed(shipping):
    rig, watch, wire = shipping
    rig.deposit()
    other = NoteKey("witness", Ed25519PrivateKey.generate().public_key().public_bytes_raw(), 0x04)
    with pytest.raises(IntegrityFailureError) as stopped:
        ship(rig.archive, wire, other)
    assert stopped.value.code == "COSIGNATURE"
    for answer, code in ((Answer(404, b"{}"), "ARCHIVE_NOT_WATCHED"), (Answer(500, b""), "SUPERVISION_DOWN")):
        wire.send = lambda _data, answer=answer: answer
        with pytest.raises((BadInputError, ServiceUnavailableError)) as wrong:
            ship(rig.archive, wire, watch.witness)
        assert wrong.value.code == code


def test_without_a_supervision_in_the_settings_nothing_is_shipped(rig, tmp_path):
    with pytest.raises(BadInputError) as stopped:
        traces.load_witness(rig.archive)
    assert stopped.value.code == "NO_SUPERVISION"
    path = tmp_path / "witness.vkey"
    settings = rig.archive.settings.model_copy(
        update={"supervision_url": "http://127.0.0.1:1/v1/archives/a", "supervision_key": path}
    )
    with pytest.raises(BadInputError) as unreadable:
        traces.load_witness(replace(rig.archive, settings=settings))
    assert unreadable.value.code == "BAD_KEY"


def test_over_http_what_the_archive_ships_is_taken(shipping):
    from tasks.shipping import HttpWire

    rig, watch, _ = shipping
    rig.deposit()
    with served(watch) as url:
        done = ship(rig.archive, HttpWire(f"{url}/v1/archives/rig"), watch.witness)
        assert done.last == watch.register.archive("rig").head.last
    with pytest.raises(ServiceUnavailableError) as stopped:
        ship(rig.archive, HttpWire(f"{url}/v1/archives/rig"), watch.witness)
    assert stopped.value.code == "SUPERVISION_DOWN"


def test_a_proof_carries_the_cosignature_and_each_verifier_takes_it(shipping, tmp_path):
    rig, watch, wire = shipping
    deposit = rig.deposit()
    ship(rig.archive, wire, watch.witness)
    rig.deposit(b"later", "R-2")
    export_proof(rig.archive, deposit, tmp_path / "proof.zip")
    with zipfile.ZipFile(tmp_path / "proof.zip") as packed:
        packed.extractall(tmp_path / "proof")
    note = (tmp_path / "proof" / "journal/checkpoint.txt").read_bytes()
    assert verify_cosignature(note, watch.witness) == rig.clock()
    trust = tmp_path / "trust"
    shutil.copytree(rig.archive.settings.trust_dir, trust)
    (trust / "witness.vkey").write_text(watch.witness.vkey())
    for anchors in (rig.archive.settings.trust_dir, trust):
        report = verify(tmp_path / "proof.zip", load_trust(anchors), rig.clock())
        assert report.verdict is Verdict.PASSED, report.findings
    root, key = trust / "root.pem", trust / "journal.vkey"
    script = ["sh", "verify.sh", str(root), str(key)]
    assert subprocess.run(script, cwd=tmp_path / "proof", check=False, capture_output=True).returncode == 0
    program = [sys.executable, "verify.py", "--root", str(root), "--journal-key", str(key), str(tmp_path / "proof.zip")]
    assert subprocess.run(program, cwd=tmp_path / "proof", check=False, capture_output=True).returncode == 0
    (trust / "witness.vkey").write_text(
        NoteKey("witness", Ed25519PrivateKey.generate().public_key().public_bytes_raw(), 0x04).vkey()
    )
    report = verify(tmp_path / "proof.zip", load_trust(trust), rig.clock())
    assert report.verdict is Verdict.PASSED  # a line of an unknown key proves nothing and costs nothing

"""Checkpoints: C2SP signed notes, their keys, and cosignatures of witnesses."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier.checkpoint import (
    Checkpoint,
    NoteKey,
    cosign,
    parse_checkpoint,
    parse_vkey,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignature,
)
from minutier.errors import IntegrityFailureError

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = NoteKey("journal.example", SECRET.public_key().public_bytes_raw())
OTHER = NoteKey("journal.example", Ed25519PrivateKey.generate().public_key().public_bytes_raw())
WITNESS = NoteKey("witness.example", KEY.public, 0x04)
CHECKPOINT = Checkpoint("journal.example", 42, bytes(range(32)))
NOTE = sign_checkpoint(CHECKPOINT, KEY, SECRET.sign)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def refusal(call) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        call()
    return caught.value.code


def test_the_text_of_a_note():
    lines = NOTE.decode().split("\n")
    assert lines[:4] == ["journal.example", "42", base64.b64encode(bytes(range(32))).decode(), ""]
    assert lines[4].startswith("— journal.example ")
    assert lines[5:] == [""]


def test_a_signed_checkpoint_there_and_back():
    assert verify_checkpoint(NOTE, [OTHER, KEY]) == CHECKPOINT


def test_a_verifier_key_there_and_back():
    assert parse_vkey(KEY.vkey()) == KEY
    assert parse_vkey(WITNESS.vkey() + "\n") == WITNESS


def test_a_verifier_key_of_the_specification():
    # The example key of the signed note format.
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = parse_vkey(text)
    assert (key.name, key.key_id.hex(), key.vkey()) == ("PeterNeumann", "c74f20a3", text)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000", KEY.vkey()[:-4], KEY.vkey().replace("+", "+0", 1), "a b" + KEY.vkey(), "n+00+!!!!"],
)
def test_malformed_verifier_keys_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_vkey(text)


def test_an_unknown_signer_is_not_trusted():
    assert refusal(lambda: verify_checkpoint(NOTE, [OTHER])) == "CHECKPOINT_SIGNATURE"
    assert refusal(lambda: verify_checkpoint(NOTE, [])) == "CHECKPOINT_SIGNATURE"
    assert refusal(lambda: verify_checkpoint(NOTE, [WITNESS])) == "CHECKPOINT_SIGNATURE"


def test_a_note_for_another_size_does_not_verify():
    assert refusal(lambda: verify_checkpoint(NOTE.replace(b"\n42\n", b"\n43\n"), [KEY])) == "CHECKPOINT_SIGNATURE"


def test_no_altered_byte_of_a_note_passes():
    for index in range(len(NOTE)):
        spoiled = NOTE[:index] + bytes((NOTE[index] ^ 1,)) + NOTE[index + 1 :]
        assert refusal(lambda spoiled=spoiled: verify_checkpoint(spoiled, [KEY])).startswith("CHECKPOINT_")


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xff",
        bytes(70_000),
        NOTE[:-1],
        CHECKPOINT.text(),
        CHECKPOINT.text() + b"\n",
        NOTE.replace(b"\n\n", b"\nextension\n\n"),
        NOTE.replace(b"\n42\n", b"\n042\n"),
        NOTE.replace(b"\n42\n", b"\n-1\n"),
        NOTE.replace(b"journal.example\n42", b"journal example\n42"),
        NOTE + b"no dash\n",
        NOTE + "— name AAAA\n".encode(),
        NOTE + "— name AAAAAAA\n".encode(),
    ],
)
def test_malformed_notes_are_refused(note):
    assert refusal(lambda: parse_checkpoint(note)) == "CHECKPOINT_FORMAT"


def test_an_origin_must_be_a_name():
    with pytest.raises(ValueError, match="origin"):
        sign_checkpoint(Checkpoint("two words", 1, bytes(32)), KEY, SECRET.sign)


def test_a_witness_adds_its_cosignature_and_the_note_still_verifies():
    cosigned = cosign(NOTE, WITNESS, SECRET.sign, NOW)
    assert verify_checkpoint(cosigned, [KEY]) == CHECKPOINT
    assert verify_cosignature(cosigned, WITNESS) == NOW
    assert refusal(lambda: verify_cosignature(NOTE, WITNESS)) == "CHECKPOINT_COSIGNATURE"
    assert refusal(lambda: verify_cosignature(cosigned, KEY)) == "CHECKPOINT_COSIGNATURE"
    forged = cosign(NOTE, WITNESS, Ed25519PrivateKey.generate().sign, NOW + timedelta(days=1))
    assert refusal(lambda: verify_cosignature(forged, WITNESS)) == "CHECKPOINT_COSIGNATURE"


def test_a_known_witness_is_checked_and_does_not_stand_for_the_journal():
    cosigned = cosign(NOTE, WITNESS, SECRET.sign, NOW)
    assert verify_checkpoint(cosigned, [KEY, WITNESS]) == CHECKPOINT
    assert verify_checkpoint(NOTE, [KEY, WITNESS]) == CHECKPOINT
    assert refusal(lambda: verify_checkpoint(cosigned, [WITNESS])) == "CHECKPOINT_SIGNATURE"
    forged = cosign(NOTE, WITNESS, Ed25519PrivateKey.generate().sign, NOW)
    assert verify_checkpoint(forged, [KEY]) == CHECKPOINT
    assert refusal(lambda: verify_checkpoint(forged, [KEY, WITNESS])) == "CHECKPOINT_COSIGNATURE"


@pytest.mark.parametrize(
    "value", [b"", bytes(71), bytes(73), b"\xff" * 72], ids=["none", "short", "long", "year-never"]
)
def test_a_cosignature_of_another_shape_is_refused(value):
    encoded = base64.b64encode(WITNESS.key_id + (value or b"\0")).decode()
    line = f"— {WITNESS.name} {encoded}\n".encode()
    assert refusal(lambda: verify_checkpoint(NOTE + line, [KEY, WITNESS])) == "CHECKPOINT_COSIGNATURE"
    assert refusal(lambda: verify_cosignature(NOTE + line, WITNESS)) == "CHECKPOINT_COSIGNATURE"


def test_time_is_part_of_a_cosignature():
    # What a witness signs is written out here as the specification has it.
    signature = SECRET.sign(b"cosignature/v1\ntime 1795392000\n" + CHECKPOINT.text())
    value = base64.b64encode(WITNESS.key_id + (1795392000).to_bytes(8, "big") + signature).decode()
    assert NOTE + f"— {WITNESS.name} {value}\n".encode() == cosign(NOTE, WITNESS, SECRET.sign, NOW)


def told(call) -> tuple[str, str]:
    with pytest.raises(IntegrityFailureError) as caught:
        call()
    error = caught.value
    assert error.clause == "C2SP tlog-checkpoint"
    assert error.remedy == "Compare with the copies of the checkpoint that supervision and other proofs hold."
    return error.code, error.message


def test_what_each_refusal_says():
    forged = cosign(NOTE, WITNESS, Ed25519PrivateKey.generate().sign, NOW)
    spoiled = NOTE.replace(b"\n42\n", b"\n43\n")
    unsigned = "No trusted journal key signed the checkpoint."
    signature, cosignature = "CHECKPOINT_SIGNATURE", "CHECKPOINT_COSIGNATURE"
    assert told(lambda: verify_checkpoint(NOTE, [OTHER])) == (signature, unsigned)
    assert told(lambda: verify_checkpoint(spoiled, [KEY])) == (
        signature, "The signature of journal.example does not verify.",
    )  # fmt: skip
    assert told(lambda: verify_checkpoint(forged, [KEY, WITNESS])) == (
        cosignature, "The cosignature of witness.example does not verify.",
    )  # fmt: skip
    assert told(lambda: verify_cosignature(NOTE, WITNESS)) == (
        cosignature, "witness.example did not cosign the checkpoint.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("note", "why"),
    [
        (bytes(64 * 1024 + 1), "it is too large"),
        (bytes(64 * 1024), "three lines, an empty one and signature lines are expected"),
        (NOTE[:-1], "three lines, an empty one and signature lines are expected"),
        (CHECKPOINT.text(), "three lines, an empty one and signature lines are expected"),
        (NOTE.replace(b"\n42\n", b"\n"), "three lines, an empty one and signature lines are expected"),
        (NOTE.replace(b"\n42\n", b"\n042\n"), "origin, size or root is malformed"),
        (NOTE.replace(b"\n42\n", b"\n4x\n"), "origin, size or root is malformed"),
        (NOTE.replace(b"journal.example\n", b"a+b\n"), "origin, size or root is malformed"),
        (NOTE.replace(CHECKPOINT.text(), Checkpoint("o", 1, bytes(31)).text()), "origin, size or root is malformed"),
        (NOTE.replace("—".encode(), b"-"), "a signature line is malformed"),
        (NOTE.replace("— journal".encode(), "— a+journal".encode()), "a signature line is malformed"),
        (NOTE + "— name AAAAAA==\n".encode(), "a signature line is malformed"),
        (NOTE + "— name AAAAAAB=\n".encode(), "base64 is not canonical"),
        (NOTE + "— name A\n".encode(), "not base64"),
        (NOTE + "— name AAAA*AAE=\n".encode(), "not base64"),
        (NOTE + "— name é\n".encode(), "string argument should contain only ASCII characters"),
    ],
    ids=range(16),
)  # fmt: skip
def test_why_a_note_is_not_read(note, why):
    assert told(lambda: parse_checkpoint(note)) == (
        "CHECKPOINT_FORMAT", f"The checkpoint is not a C2SP signed note: {why}.",
    )  # fmt: skip


def test_a_signature_of_one_octet_is_read_and_an_empty_size_is_zero():
    found, lines = parse_checkpoint(Checkpoint("o", 0, bytes(32)).text() + "\n— name AAAAAAE=\n".encode())
    assert (found, lines) == (Checkpoint("o", 0, bytes(32)), (("name", bytes(4), b"\x01"),))


@pytest.mark.parametrize(
    "checkpoint", [Checkpoint("two words", 1, bytes(32)), Checkpoint("o", 1, bytes(31)), Checkpoint("o", -1, bytes(32))]
)
def test_what_is_no_checkpoint_is_not_signed(checkpoint):
    with pytest.raises(ValueError, match="a checkpoint has an origin without blank"):
        sign_checkpoint(checkpoint, KEY, SECRET.sign)
    empty = Checkpoint("o", 0, bytes(32))
    assert verify_checkpoint(sign_checkpoint(empty, KEY, SECRET.sign), [KEY]) == empty


@pytest.mark.parametrize(
    ("seconds", "counts"), [(0, True), ((1 << 36) - 1, True), (1 << 36, False), (1 << 36 | 1, False)]
)
def test_a_cosignature_ends_with_the_dates_that_it_can_tell(seconds, counts):
    signature = SECRET.sign(f"cosignature/v1\ntime {seconds}\n".encode() + CHECKPOINT.text())
    value = base64.b64encode(WITNESS.key_id + seconds.to_bytes(8, "big") + signature).decode()
    note = NOTE + f"— {WITNESS.name} {value}\n".encode()
    if counts:
        assert verify_cosignature(note, WITNESS) == datetime.fromtimestamp(seconds, UTC)
    else:
        assert told(lambda: verify_cosignature(note, WITNESS))[0] == "CHECKPOINT_COSIGNATURE"


def test_a_line_of_the_right_name_and_another_key_is_a_stranger_s():
    stranger = "— journal.example " + base64.b64encode(b"abcd" + bytes(64)).decode() + "\n"
    assert verify_checkpoint(NOTE + stranger.encode(), [KEY]) == CHECKPOINT
    other_name = NoteKey("other.example", KEY.public)
    assert told(lambda: verify_checkpoint(NOTE, [other_name]))[0] == "CHECKPOINT_SIGNATURE"
    two = [WITNESS, NoteKey("second.example", KEY.public, 0x04)]
    cosigned = cosign(cosign(NOTE, two[0], SECRET.sign, NOW), two[1], SECRET.sign, NOW + timedelta(hours=1))
    assert [verify_cosignature(cosigned, witness) for witness in two] == [NOW, NOW + timedelta(hours=1)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a b+00000000+" + KEY.vkey().rpartition("+")[2], "not a C2SP Ed25519 verifier key"),
        ("name+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(), "not a C2SP Ed25519 verifier key"),
        ("name+00000000+" + base64.b64encode(b"\x01" + bytes(31)).decode(), "not a C2SP Ed25519 verifier key"),
        ("name+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(), "the id in the verifier key is not that"),
    ],
)
def test_why_a_verifier_key_is_not_read(text, why):
    with pytest.raises(ValueError, match=why):
        parse_vkey(text)

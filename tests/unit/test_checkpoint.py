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

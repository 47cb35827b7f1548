"""Checkpoints and verifier keys of the journal."""

from __future__ import annotations

from contextlib import suppress

from minutier.checkpoint import NoteKey, parse_checkpoint, parse_vkey, verify_checkpoint, verify_cosignature
from minutier.errors import IntegrityFailureError
from tests.fuzz.seeds import anchors, proofs


def check(data: bytes) -> None:
    with suppress(ValueError):
        key = parse_vkey(data.decode("utf-8"))
        assert parse_vkey(key.vkey()) == key
    witness = NoteKey("witness.example", bytes(32), 4)
    with suppress(IntegrityFailureError):
        parse_checkpoint(data)
        with suppress(IntegrityFailureError):
            verify_cosignature(data, witness)
        found = verify_checkpoint(data, (*anchors().journal_keys, witness))
        genuine = [files["journal/checkpoint.txt"].partition(b"\n\n")[0] + b"\n" for files in proofs()]
        assert found.text() in genuine, "a checkpoint that the journal did not sign was accepted"

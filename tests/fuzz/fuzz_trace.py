"""Trace bundles, challenges and answers as anybody may send them, and as an archive that signs anything might."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import canonical, merkle
from minutier.challenge import decode_answer, decode_challenge, encode_challenge
from minutier.checkpoint import NoteKey, verify_checkpoint
from minutier.errors import IntegrityFailureError
from minutier.journal_stamp import decode_stamp, encode_stamp
from minutier.trace_bundle import decode_bundle
from supervision.judge import Head, judge

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOTE_KEY = NoteKey("minutier-development-journal", KEY.public_key().public_bytes_raw())


def check(data: bytes) -> None:
    with suppress(IntegrityFailureError):
        decode_bundle(data, KEY.public_key())
    head, _, rest = data.partition(b"\n")
    signed = head + b"\n" + base64.b64encode(KEY.sign(head)) + b"\n" + rest.partition(b"\n")[2]
    with suppress(IntegrityFailureError):
        answer = decode_answer(signed, KEY.public_key())
        assert all(each.gone == (not each.answer) for each in answer.copies)
    with suppress(ValueError):
        challenge = decode_challenge(head)
        assert encode_challenge(challenge) == canonical.encode(canonical.decode(head)) == head
    with suppress(IntegrityFailureError):
        note, token = decode_stamp(data)
        assert encode_stamp(note, token) == data
    with suppress(IntegrityFailureError):
        after, bundle = judge(Head(), signed, NOTE_KEY, NOW)
        # What is taken is what its checkpoint was signed over, to the last entry.
        root = merkle.root(map(merkle.leaf_hash, bundle.entries))
        assert verify_checkpoint(bundle.head.checkpoint.encode(), [NOTE_KEY]).root == root
        assert (after.number, after.last) == (1, len(bundle.entries))

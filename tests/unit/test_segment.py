"""Segments of the journal: what is written is read, and nothing else is."""

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import segment
from minutier.errors import IntegrityFailureError
from minutier.segment import Head

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ENTRIES = [b'{"at":"2026-11-23T10:00:02Z"}', b'{"at":"2026-11-23T10:00:03Z"}']


def head(**more):
    after = segment.chain_after(segment.START, ENTRIES).hex()
    values = {
        "number": 1, "first": 1, "last": 2, "chain_before": segment.START.hex(), "chain_after": after,
        "previous": "", "ledger": "ab" * 32, "rows": 3, "at": "2026-11-23T10:01:00Z",
    }  # fmt: skip
    return Head(**(values | more))


def written(entries=ENTRIES, key=KEY, **more):
    return segment.encode_segment(head(**more), entries, key.sign)


def code_of(data):
    with pytest.raises(IntegrityFailureError) as caught:
        segment.decode_segment(data, KEY.public_key())
    return caught.value.code


def test_a_segment_is_read_as_it_was_written():
    found = segment.decode_segment(written(), KEY.public_key())
    assert found.head == head()
    assert found.entries == tuple(ENTRIES)


def test_a_segment_without_entries_is_one():
    empty = written([], first=3, last=2, chain_after=segment.START.hex())
    assert segment.decode_segment(empty, KEY.public_key()).entries == ()


def test_every_bit_counts():
    data = written()
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= 1
        assert code_of(bytes(altered)).startswith("SEGMENT_"), place


def test_a_segment_that_is_cut_anywhere_is_refused():
    data = written()
    assert {code_of(data[:size]) for size in range(len(data))} == {"SEGMENT_FORMAT", "SEGMENT_CHAIN"}


def test_the_key_of_another_journal_signs_no_segment():
    assert code_of(written(key=Ed25519PrivateKey.generate())) == "SEGMENT_SIGNATURE"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"last": 3}, "SEGMENT_CHAIN"),
        ({"chain_after": "00" * 32}, "SEGMENT_CHAIN"),
        ({"ledger": "AB" * 32}, "SEGMENT_FORMAT"),
        ({"ledger": ""}, "SEGMENT_FORMAT"),
        ({"rows": -1}, "SEGMENT_FORMAT"),
        ({"previous": "short"}, "SEGMENT_FORMAT"),
        ({"at": 7}, "SEGMENT_FORMAT"),
    ],
)
def test_a_head_that_is_signed_and_wrong_is_refused(change, code):
    assert code_of(written(**change)) == code


def test_a_segment_continues_the_one_before():
    first = segment.decode_segment(written(), KEY.public_key())
    segment.require_follows(first, None)
    chain = first.head.chain_after
    good = {
        "number": 2, "first": 3, "last": 4, "chain_before": chain, "previous": first.sha256,
        "chain_after": segment.chain_after(bytes.fromhex(chain), ENTRIES).hex(),
    }  # fmt: skip
    second = segment.decode_segment(written(**good), KEY.public_key())
    segment.require_follows(second, first)
    for wrong in ({"number": 3}, {"first": 4}, {"previous": "00" * 32}, {"chain_before": "00" * 32}):
        other = dataclasses.replace(second, head=dataclasses.replace(second.head, **wrong))
        with pytest.raises(IntegrityFailureError, match="does not continue"):
            segment.require_follows(other, first)
    with pytest.raises(IntegrityFailureError, match="does not continue"):
        segment.require_follows(second, None)

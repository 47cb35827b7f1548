"""The sealed record: one object for the manifest and its seals, with one spelling only."""

import json

import pytest

from minutier.sealed_record import SealedRecord, decode_sealed_record, encode_sealed_record

PARTS = (SealedRecord(b"{}", b"0\0"), SealedRecord(b'{"a":1}', bytes(range(256)), b"second"))


@pytest.mark.parametrize("record", PARTS)
def test_a_record_comes_back_as_it_was(record):
    assert decode_sealed_record(encode_sealed_record(record)) == record


def test_the_example_of_the_page():
    example = b'{"format":"minutier-record/1","manifest":"e30=","seal":"MAA="}'
    assert encode_sealed_record(PARTS[0]) == example


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("seal"),
        lambda value: value.update(format="minutier-record/2"),
        lambda value: value.update(more="e30="),
        lambda value: value.update(manifest="e30"),
        lambda value: value.update(manifest="e31="),
        lambda value: value.update(manifest="e3 0="),
        lambda value: value.update(manifest=7),
        lambda value: value.update(second_seal="é"),
    ],
    ids=["no seal", "other format", "more members", "unpadded", "stray bits", "space", "number", "not ascii"],
)
def test_another_spelling_is_refused(change):
    value = json.loads(encode_sealed_record(PARTS[0]))
    change(value)
    with pytest.raises(ValueError, match=r"record|canonical"):
        decode_sealed_record(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"{}", b'"text"', b' {"format":"minutier-record/1"}'])
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ValueError, match=r"record|canonical|Expecting"):
        decode_sealed_record(data)

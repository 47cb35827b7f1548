"""RFC 8785, restricted: one value, one sequence of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minutier.canonical import decode, encode

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    TEXT | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_there_and_back(value):
    assert decode(encode(value)) == value


@given(VALUES)
def test_the_bytes_are_one_line_of_utf8(value):
    assert b"\n" not in encode(value)


def test_names_are_sorted_by_utf16_code_units():
    # RFC 8785 §3.2.3: U+1F600 is written with surrogates (D83D…) and so comes before U+FB33.
    assert encode({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize("value", [1.5, True, None, {"a": None}, [False], 2**53, {1: "a"}, b"x"])
def test_types_with_more_than_one_spelling_are_refused(value):
    with pytest.raises(ValueError, match=r"allowed|integer outside|member names"):
        encode(value)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b"1.0", b"null", b"[1,]", b"\xff", b'"\\u0041"', b"1\n"]
)
def test_other_spellings_are_refused(data):
    with pytest.raises(ValueError, match=r"."):
        decode(data)


def test_depth_is_bounded():
    with pytest.raises(ValueError, match="deep"):
        decode(b"[" * 100000 + b"]" * 100000)


def test_text_is_written_as_it_is():
    assert encode({"é": "ü€"}) == '{"é":"ü€"}'.encode()


@pytest.mark.parametrize("lone", ["\ud800", {"\udfff": 1}, [["\udc00"]]])
def test_lone_surrogates_are_refused(lone):
    with pytest.raises(UnicodeEncodeError):
        encode(lone)


def test_the_bounds_are_exact():
    assert decode(encode([2**53 - 1, -(2**53) + 1])) == [2**53 - 1, -(2**53) + 1]
    for outside in (2**53, -(2**53)):
        with pytest.raises(ValueError, match="outside"):
            encode(outside)
    assert decode(b"[" * 33 + b"]" * 33) is not None
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        with pytest.raises(ValueError, match="deep"):
            decode(opening * 33 + b"[]" + closing * 33)
        decode(opening * 32 + b"[]" + closing * 32)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf1", "é".encode("latin-1"), '"é"'.encode("utf-16"), b"[1"])
def test_other_encodings_are_refused(data):
    with pytest.raises(ValueError, match=r"."):
        decode(data)

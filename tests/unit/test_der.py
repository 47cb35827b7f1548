"""Strict DER: what is written is read back, and every other spelling is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from minutier import der
from minutier.der import DerError

OIDS = st.tuples(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**40), max_size=6)).map(
    lambda parts: ".".join(str(arc) for arc in (parts[0], parts[1], *parts[2]))
)


@given(st.integers(-(2**130), 2**130))
def test_integers_there_and_back_as_asn1crypto_writes_them(value):
    assert der.integer(value) == core.Integer(value).dump()
    assert der.read(der.integer(value)).as_integer() == value


@given(OIDS)
def test_object_identifiers_there_and_back(dotted):
    assert der.oid(dotted) == core.ObjectIdentifier(dotted).dump()
    assert der.read(der.oid(dotted)).as_oid() == dotted


@given(st.binary(max_size=70_000))
def test_octets_of_any_length_there_and_back(data):
    assert der.read(der.octets(data)).as_octets() == data


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 - the zone is added below
def test_times_there_and_back(moment):
    moment = moment.replace(tzinfo=UTC)
    assert der.read(der.generalized_time(moment)).as_time() == moment


@pytest.mark.parametrize("year", [1950, 1999, 2000, 2049, 2050])
def test_cms_times_change_form_in_2050(year):
    moment = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    element = der.read(der.cms_time(moment))
    assert element.tag == (der.UTC_TIME if year < 2050 else der.GENERALIZED_TIME)
    assert der.read_cms_time(element) == moment


def test_times_are_written_in_utc():
    paris = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert der.read(der.generalized_time(paris)).content == b"20260701100000Z"


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    try:
        element = der.read(data)
        element.children()
    except DerError:
        return
    assert element.encoded == data


REFUSED = {
    "nothing": b"",
    "one-byte": b"\x30",
    "content-cut": b"\x04\x02a",
    "length-cut": b"\x04\x82\x01",
    "indefinite-length": b"\x30\x80\x00\x00",
    "long-form-for-a-short-length": b"\x04\x81\x01a",
    "length-with-leading-zero": b"\x04\x82\x00\x80" + bytes(128),
    "length-of-five-octets": b"\x04\x85\x00\x00\x00\x00\x01a",
    "high-tag-number": b"\x1f\x81\x01\x00",
    "trailing-byte": b"\x05\x00\x00",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_encodings_are_refused(name):
    with pytest.raises(DerError):
        der.read(REFUSED[name])


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"\x02\x00", der.Element.as_integer),
        (b"\x02\x02\x00\x01", der.Element.as_integer),
        (b"\x02\x02\xff\x80", der.Element.as_integer),
        (b"\x01\x01\x01", der.Element.as_boolean),
        (b"\x06\x00", der.Element.as_oid),
        (b"\x06\x01\x80", der.Element.as_oid),
        (b"\x06\x03\x2a\x80\x01", der.Element.as_oid),
        (b"\x31\x00", der.Element.set_members),
        (b"\x31\x04\x05\x00\x05\x00", der.Element.set_members),
        (b"\x31\x06\x02\x01\x02\x02\x01\x01", der.Element.set_members),
        (b"\x04\x00", der.Element.children),
        (b"\x04\x00", der.Element.reader),
        (b"\x18\x0f20261323100000Z", der.Element.as_time),
        (b"\x18\x0f20261123100060Z", der.Element.as_time),
        (b"\x18\x0d202611231000Z", der.Element.as_time),
    ],
)
def test_other_values_are_refused(data, read):
    with pytest.raises(DerError):
        read(der.read(data))


def test_a_reader_insists_on_order_and_end():
    fields = der.read(der.sequence(der.integer(1), der.null())).reader()
    assert fields.optional(der.OID) is None
    with pytest.raises(DerError):
        fields.next(der.NULL)
    assert fields.next(der.INTEGER).as_integer() == 1
    with pytest.raises(DerError):
        fields.end()
    fields.next()
    fields.end()
    with pytest.raises(DerError):
        fields.next()
    assert der.read(der.boolean(True)).as_boolean()
    assert not der.read(der.boolean(False)).as_boolean()


LENGTHS = {
    0: "00", 1: "01", 126: "7e", 127: "7f", 128: "8180", 129: "8181", 255: "81ff", 256: "820100", 65535: "82ffff",
    65536: "83010000", 2**24 - 1: "83ffffff", 2**24: "8401000000",
}  # fmt: skip


@pytest.mark.parametrize("size", LENGTHS)
def test_lengths_by_the_letter(size):
    encoded = der.octets(bytes(size))
    head = bytes.fromhex("04" + LENGTHS[size])
    assert encoded == head + bytes(size)
    element = der.read(encoded)
    assert (element.tag, len(element.content), element.encoded) == (0x04, size, encoded)
    two = der.read(der.sequence(encoded, b"\x05\x00")).children()
    assert [item.encoded for item in two] == [encoded, b"\x05\x00"]
    with pytest.raises(DerError, match="element is cut"):
        der.read(encoded[:-1] if size else encoded[:1])


@pytest.mark.parametrize(
    ("value", "content"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "0080"), (255, "00ff"), (256, "0100"), (32767, "7fff"), (32768, "008000"),
     (-1, "ff"), (-127, "81"), (-128, "80"), (-129, "ff7f"), (-255, "ff01"), (-256, "ff00"), (-32768, "8000")],
)  # fmt: skip
def test_integers_by_the_letter(value, content):
    encoded = bytes((0x02, len(content) // 2)) + bytes.fromhex(content)
    assert der.integer(value) == encoded
    assert der.read(encoded).as_integer() == value


@pytest.mark.parametrize("spelled", ["", "0000", "007f", "ffff", "ff80", "000080"])
def test_integers_have_one_spelling(spelled):
    with pytest.raises(DerError, match="INTEGER is not minimal"):
        der.read(bytes((0x02, len(spelled) // 2)) + bytes.fromhex(spelled)).as_integer()


def test_elements_by_the_letter():
    assert (
        der.sequence(der.null(), der.boolean(True), der.boolean(False)).hex() == "3008" + "0500" + "0101ff" + "010100"
    )
    assert der.set_of(b"\x05\x00", b"\x02\x01\x01", b"\x01\x01\x00").hex() == "3108" + "010100" + "020101" + "0500"
    assert der.set_of(b"\x05\x00", tag=0xA0).hex() == "a0020500"
    assert [der.context(number, der.null()).hex() for number in (0, 1, 2, 5)] == [
        "a0020500", "a1020500", "a2020500", "a5020500",
    ]  # fmt: skip
    assert der.tlv(0x80, b"a", b"", b"bc").hex() == "8003616263"
    assert der.octets(b"ab").hex() == "04026162"


@pytest.mark.parametrize(
    ("dotted", "content"),
    [("0.0", "00"), ("0.39", "27"), ("1.0", "28"), ("1.39", "4f"), ("2.0", "50"), ("2.39", "77"), ("2.47", "7f"),
     ("2.48", "8100"), ("2.999.1", "883701"), ("1.2.840.113549", "2a864886f70d"), ("1.2.127.128.16383.16384",
     "2a7f8100ff7f818000"), ("2.5.29.0", "551d00")],
)  # fmt: skip
def test_object_identifiers_by_the_letter(dotted, content):
    encoded = bytes((0x06, len(content) // 2)) + bytes.fromhex(content)
    assert der.oid(dotted) == encoded
    assert der.read(encoded).as_oid() == dotted


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "element is cut"), ("30", "element is cut"), ("040261", "element is cut"),
        ("048201", "length is not minimal"),
        ("0482010061", "element is cut"), ("3080" + "0000", "length is indefinite or too long"),
        ("0485000000000161", "length is indefinite or too long"), ("04ff61", "length is indefinite or too long"),
        ("048161", "length is not minimal"), ("04817f" + "00" * 127, "length is not minimal"),
        ("0482007f" + "00" * 127, "length is not minimal"), ("04820080" + "00" * 128, "length is not minimal"),
        ("1f810100", "high tag numbers are not used here"), ("1f00", "high tag numbers are not used here"),
        ("3f00", "high tag numbers are not used here"), ("bf0100", "high tag numbers are not used here"),
        ("050000", "1 bytes follow the element"), ("0500050005", "3 bytes follow the element"),
    ],
)  # fmt: skip
def test_why_bytes_are_not_an_element(data, why):
    with pytest.raises(DerError) as caught:
        der.read(bytes.fromhex(data))
    assert str(caught.value) == why


@pytest.mark.parametrize("tag", [0x00, 0x01, 0x1E, 0x20, 0x30, 0x3E, 0x80, 0x9E, 0xA0, 0xBE, 0xC0, 0xFE])
def test_every_low_tag_is_read(tag):
    element = der.read(bytes((tag, 0)))
    assert (element.tag, element.content) == (tag, b"")
    if tag & 0x20:
        assert element.children() == []
    else:
        with pytest.raises(DerError, match=f"element 0x{tag:02x} is primitive"):
            element.children()


def test_what_a_reader_says():
    fields = der.read(der.sequence(der.integer(1), der.null())).reader()
    with pytest.raises(DerError, match="tag 0x05 was expected, 0x02 found"):
        fields.next(der.NULL)
    with pytest.raises(DerError, match="unexpected field 0x02"):
        fields.end()
    assert fields.optional(der.NULL) is None
    found = fields.optional(der.INTEGER)
    assert found is not None
    assert found.as_integer() == 1
    with pytest.raises(DerError, match="unexpected field 0x05"):
        fields.end()
    assert fields.next().tag == der.NULL
    assert fields.optional(der.NULL) is None
    fields.end()
    with pytest.raises(DerError, match="a field is missing"):
        fields.next()
    with pytest.raises(DerError, match="tag 0x31 was expected, 0x30 found"):
        der.read(der.sequence()).reader(der.SET)
    assert der.read(der.context(3, der.null())).reader(0xA3).next().encoded == der.null()


def test_the_same_content_under_another_tag():
    element = der.read(der.octets(b"ab")).retagged(0x80)
    assert (element.tag, element.content, element.encoded) == (0x80, b"ab", b"\x80\x02ab")
    with pytest.raises(DerError, match="tag 0x04 was expected, 0x80 found"):
        element.as_octets()
    assert element.retagged(0x04).as_octets() == b"ab"


def test_sets_are_sorted_without_twins():
    first, second = der.integer(1), der.integer(2)
    assert [item.encoded for item in der.read(der.tlv(0xA0, first, second)).set_members(0xA0)] == [first, second]
    for members in ((), (second, first), (first, first)):
        with pytest.raises(DerError, match="a SET OF is not empty"):
            der.read(der.tlv(der.SET, *members)).set_members()
    with pytest.raises(DerError, match="tag 0x31 was expected"):
        der.read(der.sequence(first)).set_members()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20261123100000Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("20261123100000.5Z", datetime(2026, 11, 23, 10, 0, 0, 500000, tzinfo=UTC)),
        ("20261123100000.000001Z", datetime(2026, 11, 23, 10, 0, 0, 1, tzinfo=UTC)),
        ("20261123235959.123456Z", datetime(2026, 11, 23, 23, 59, 59, 123456, tzinfo=UTC)),
        ("00010101000000Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_by_the_letter(text, moment):
    encoded = der.tlv(der.GENERALIZED_TIME, text.encode())
    assert der.generalized_time(moment) == encoded
    assert der.read(encoded).as_time() == moment


@pytest.mark.parametrize(
    "text",
    ["20261123100000", "20261123100000+0100", "20261123100000.Z", "20261123100000.50Z", "20261123100000.1234567Z",
     "20261123100000,5Z", "20261123100000.0Z", "2026112310000Z", "202611231000000Z", "20261123100000Z\n",
     "20261323100000Z", "20260230100000Z", "00000101000000Z"],
)  # fmt: skip
def test_times_have_one_spelling(text):
    with pytest.raises(DerError, match="GeneralizedTime"):
        der.read(der.tlv(der.GENERALIZED_TIME, text.encode())).as_time()


@pytest.mark.parametrize(
    ("text", "year"),
    [("000203040506Z", 2000), ("490203040506Z", 2049), ("500203040506Z", 1950), ("990203040506Z", 1999)],
)
def test_years_of_two_digits(text, year):
    moment = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert der.read_cms_time(der.read(der.tlv(der.UTC_TIME, text.encode()))) == moment
    if year >= 2000:
        assert der.cms_time(moment.replace(microsecond=7)) == der.tlv(der.UTC_TIME, text.encode())
    assert der.cms_time(datetime(2050, 1, 1, microsecond=7, tzinfo=UTC)).hex().endswith(b"20500101000000Z".hex())


@pytest.mark.parametrize("content", ["", "00ff", "01", "fe"])
def test_booleans_have_two_spellings(content):
    with pytest.raises(DerError, match="BOOLEAN is 0x00 or 0xFF"):
        der.read(bytes((0x01, len(content) // 2)) + bytes.fromhex(content)).as_boolean()


def test_values_are_not_read_under_another_tag():
    null = der.read(der.null())
    for read in (null.as_integer, null.as_boolean, null.as_octets, null.as_oid, null.as_time):
        with pytest.raises(DerError, match=r"tag 0x\d\d was expected, 0x05 found"):
            read()
    for cut in ("", "80", "2a81"):
        with pytest.raises(DerError, match="OBJECT IDENTIFIER is cut"):
            der.read(bytes((0x06, len(cut) // 2)) + bytes.fromhex(cut)).as_oid()
    for padded in ("2a8001", "8001"):
        with pytest.raises(DerError, match="arc is not minimal"):
            der.read(bytes((0x06, len(padded) // 2)) + bytes.fromhex(padded)).as_oid()


def test_an_integer_has_at_most_128_octets():
    longest = der.integer(1 << 1022)
    assert len(der.read(longest).content) == 128
    assert der.read(longest).as_integer() == 1 << 1022
    with pytest.raises(der.DerError, match="too long"):
        der.read(der.integer(1 << 1023)).as_integer()

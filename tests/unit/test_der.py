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

"""Small values of the domain: identifiers, retention, events, errors."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minutier import canonical
from minutier.errors import BadInputError, MinutierError, ServiceUnavailableError
from minutier.events import Event, encode_entry, format_time
from minutier.identifiers import is_archive_id, new_archive_id
from minutier.retention import retain_until

NOW = datetime(2026, 11, 23, 10, 0, 0, 999_000, tzinfo=UTC)


def test_an_identifier_is_a_uuid_version_7_of_its_millisecond():
    text = new_archive_id(NOW)
    found = uuid.UUID(text)
    assert (found.version, found.variant, found.int >> 80) == (7, uuid.RFC_4122, int(NOW.timestamp() * 1000))
    assert is_archive_id(text)
    assert len({new_archive_id(NOW) for _ in range(50)}) == 50
    assert new_archive_id(NOW) < new_archive_id(NOW + timedelta(milliseconds=1))


@pytest.mark.parametrize("text", ["", "x", "0193A2F0-7C11-7ABC-8DEF-0123456789AB", "0193a2f07c117abc8def0123456789ab"])
def test_other_spellings_are_no_identifiers(text):
    assert not is_archive_id(text)


def test_a_retention_ends_on_the_same_day_and_never_earlier():
    assert retain_until(NOW, 5) == NOW.replace(year=2031)
    assert retain_until(datetime(2028, 2, 29, tzinfo=UTC), 1) == datetime(2029, 3, 1, tzinfo=UTC)
    assert retain_until(datetime(2028, 2, 29, tzinfo=UTC), 4) == datetime(2032, 2, 29, tzinfo=UTC)
    for years in (0, -1):
        with pytest.raises(ValueError, match="at least one year"):
            retain_until(NOW, years)


@settings(max_examples=60, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)), st.integers(1, 99))  # noqa: DTZ001 - zone is put below
def test_a_retention_lasts_at_least_its_years(start, years):
    start = start.replace(tzinfo=UTC)
    end = retain_until(start, years)
    assert timedelta(days=365 * years) <= end - start <= timedelta(days=365 * years + years // 4 + 2)


def test_times_are_written_in_utc_with_seconds():
    assert format_time(NOW) == "2026-11-23T10:00:00Z"
    assert format_time(NOW.astimezone(timezone(timedelta(hours=2)))) == "2026-11-23T10:00:00Z"
    with pytest.raises(ValueError, match="zone"):
        format_time(NOW.replace(tzinfo=None))


def test_an_entry_names_everything_even_when_it_is_empty():
    entry = canonical.decode(encode_entry(Event.SWEEP_STARTED, event_uuid="u", at=NOW, actor="minutier"))
    assert entry == {
        "format": "minutier-journal/1", "event": "sweep:started", "id": "u", "at": "2026-11-23T10:00:00Z",
        "actor": "minutier", "archive_id": "", "safe": "", "details": {},
    }  # fmt: skip


def test_the_names_of_events_are_what_they_were():
    # Entries live longer than the code: a name is added, never changed.
    assert {"deposit:committed", "deposit:archived", "safe:created", "document:read"} <= {
        event.value for event in Event
    }
    assert all(event.value.count(":") == 1 and event.value == event.value.lower() for event in Event)


def test_an_error_says_what_why_and_what_to_do():
    error = BadInputError("SOME_CODE", "This happened.", remedy="Do that.", clause="RFC 1")
    assert str(error) == "[SOME_CODE] This happened. Do that."
    assert error.as_dict() == {
        "code": "SOME_CODE", "message": "This happened.", "remedy": "Do that.", "clause": "RFC 1", "retryable": False,
    }  # fmt: skip
    assert (error.exit_code, isinstance(error, MinutierError)) == (2, True)
    assert ServiceUnavailableError("X", "Y.", remedy="Z.").as_dict()["retryable"] is True

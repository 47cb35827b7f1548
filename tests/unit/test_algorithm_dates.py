"""Until when algorithms count: the table is read strictly, an absent algorithm never counts, an end is exclusive."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from minutier.algorithm_dates import AlgorithmDates, parse_dates, published_dates

END = datetime(2030, 6, 1, tzinfo=UTC)
EARLIER = datetime(2029, 1, 1, tzinfo=UTC)
ALWAYS = datetime.min.replace(tzinfo=UTC)
TABLE = {
    "format": "minutier-algorithm-dates/1",
    "source": "a norm",
    "ends": {"a": "2030-06-01", "b": None, "c": "2029-01-01"},
}


def read(table: object) -> AlgorithmDates:
    return parse_dates(json.dumps(table).encode())


def test_a_table_is_read():
    assert read(TABLE) == AlgorithmDates("a norm", {"a": END, "b": None, "c": EARLIER})


def test_the_first_end_counts_and_an_absent_algorithm_never_did():
    dates = read(TABLE)
    assert dates.end_of(["a"]) == END
    assert dates.end_of(["b"]) is None
    assert dates.end_of([]) is None
    assert dates.end_of(["a", "b", "c"]) == EARLIER
    assert dates.end_of(["a", "md5"]) == ALWAYS


def test_an_algorithm_counts_until_its_end_and_not_at_it():
    dates = read(TABLE)
    assert dates.ended(["a"], END - timedelta(microseconds=1)) == []
    assert dates.ended(["a"], END) == ["a"]
    assert dates.ended(["c", "b", "a", "c"], END) == ["a", "c"]
    assert dates.ended(["b", "md5"], ALWAYS) == ["md5"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([], "not of the format minutier-algorithm-dates/1"),
        ({}, "not of the format"),
        ({**TABLE, "format": "minutier-algorithm-dates/2"}, "not of the format"),
        ({**TABLE, "more": 1}, "not of the format"),
        ({key: TABLE[key] for key in ("format", "ends")}, "not of the format"),
        ({**TABLE, "source": 1}, "source is a text and ends an object"),
        ({**TABLE, "ends": []}, "source is a text and ends an object"),
        ({**TABLE, "ends": {"a": 1}}, "an end is a day or null"),
        ({**TABLE, "ends": {"a": "soon"}}, "soon"),
    ],
)
def test_another_table_is_refused(table, said):
    with pytest.raises(ValueError, match=said):
        read(table)


def test_the_published_table():
    dates = published_dates()
    assert dates.source.startswith("ETSI TS 119 312")
    assert dates.end_of(["sha256", "sha3_512", "ecdsa", "ed25519"]) is None
    assert dates.end_of(["rsa-pkcs1"]) == datetime(2034, 1, 1, tzinfo=UTC)
    assert dates.ended(["sha1", "md5", "rsa-2048"], datetime(2026, 11, 1, tzinfo=UTC)) == ["md5", "rsa-2048", "sha1"]

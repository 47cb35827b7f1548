"""Canonical JSON, and what is read from it: manifests, tables of algorithm dates."""

from __future__ import annotations

from contextlib import suppress

from minutier import canonical
from minutier.algorithm_dates import parse_dates
from minutier.manifest import read_parts


def check(data: bytes) -> None:
    with suppress(ValueError):
        parse_dates(data)
    with suppress(ValueError):
        read_parts(data)
    try:
        value = canonical.decode(data)
    except ValueError:
        return
    assert canonical.encode(value) == data, "one value has two spellings"

"""What every refusal must say: a sentence, the clause of a norm, what to do."""

from __future__ import annotations

import re

from minutier.errors import MinutierError

_PLACE = r"§[\d.]+(?: \([a-z]\)(?:\(\d\))?)?"
_BOOK = r"(?:RFC \d{4}|ETSI EN \d{3} \d{3}(?:-\d)?|FIPS \d{3}|docs/format/[a-z0-9-]+\.md)"
_NORM = rf"{_BOOK} {_PLACE}(?:, {_PLACE})*"
_CLAUSE = re.compile(rf"(?:{_NORM}|ETSI TS 119 312|C2SP [a-z-]+)(?:, (?:{_NORM}|ETSI TS 119 312))*")
_CODE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")


def well_said(error: MinutierError) -> str:
    """Check how a refusal is put, and give its code."""
    message = error.message
    assert _CODE.fullmatch(error.code), error.code
    assert message[:1] == message[:1].upper(), message
    assert message.endswith("."), message
    assert message != message.upper(), message
    assert not re.search(r"XX|\bNone\b|\.\.", message), message
    assert _CLAUSE.fullmatch(error.clause), error.clause
    assert len(error.remedy) > 20
    return error.code

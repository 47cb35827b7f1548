"""Blind deposits: statements, openings, age files, recipients and identities."""

from __future__ import annotations

import io
from contextlib import suppress

from minutier.age import parse_identities, parse_recipient, read_header
from minutier.age_stream import decrypt_bytes
from minutier.blind import Statement, read_opening, read_statement
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.fingerprint import fingerprint_bytes
from tests.fuzz.seeds import fixed_identity


def check(data: bytes) -> None:
    with suppress(BadInputError):
        statement = read_statement(data)
        with suppress(IntegrityFailureError):
            decrypt_bytes(statement.opening, [fixed_identity()])
    measured = fingerprint_bytes(data)
    committed = Statement(measured, (measured.sha256, measured.sha3_512), b"", "", "", (), "")
    with suppress(IntegrityFailureError):
        read_opening(committed, data)
    with suppress(IntegrityFailureError):
        header = read_header(io.BytesIO(data))
        assert header.stanzas
        decrypt_bytes(data, [fixed_identity()])
    text = data.decode("utf-8", "replace")
    with suppress(BadInputError):
        assert str(parse_recipient(text)) == text
    with suppress(BadInputError):
        assert all(parse_identities(each.text(), "x") == (each,) for each in parse_identities(text, "x"))

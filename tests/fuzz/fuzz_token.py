"""Time-stamp tokens and responses: `inspect_token`, `check_token`, `accept_response`."""

from __future__ import annotations

from contextlib import suppress

from minutier.errors import IntegrityFailureError
from minutier.timestamp import accept_response, check_token, inspect_token
from tests.fuzz.seeds import JUDGED_AT, anchors


def check(data: bytes) -> None:
    with suppress(IntegrityFailureError):
        accept_response(data, bytes(32), 1, JUDGED_AT, None, anchors().roots)
        raise AssertionError("a response about another value was accepted")
    with suppress(IntegrityFailureError):
        token = inspect_token(data)
        assert token.der == data
        check_token(data, token.imprint, anchors().roots, (), algorithm=token.imprint_algorithm)

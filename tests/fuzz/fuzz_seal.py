"""Seals: first and second ones, over the two documents that the seeds seal."""

from __future__ import annotations

from contextlib import suppress

from minutier import proof
from minutier.errors import IntegrityFailureError
from minutier.seal import check_seal, check_second_seal, inspect_seal, inspect_second_seal
from tests.fuzz.seeds import JUDGED_AT, anchors, proofs


def check(data: bytes) -> None:
    for name in (proof.MANIFEST, proof.STATEMENT):
        content = proofs()[0][name]
        with suppress(IntegrityFailureError):
            inspect_seal(content, data)
            check_seal(content, data, anchors().roots, JUDGED_AT)
        with suppress(IntegrityFailureError):
            inspect_second_seal(content, data)
            check_second_seal(content, data, anchors().second_roots, JUDGED_AT)

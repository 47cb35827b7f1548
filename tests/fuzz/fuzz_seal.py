"""Seals: `inspect_seal` and `check_seal` over the two documents that the seeds seal."""

from __future__ import annotations

from contextlib import suppress

from minutier import proof
from minutier.errors import IntegrityFailureError
from minutier.seal import check_seal, inspect_seal
from tests.fuzz.seeds import JUDGED_AT, anchors, proofs


def check(data: bytes) -> None:
    for name in (proof.MANIFEST, proof.STATEMENT):
        content = proofs()[0][name]
        with suppress(IntegrityFailureError):
            inspect_seal(content, data)
            check_seal(content, data, anchors().roots, JUDGED_AT)

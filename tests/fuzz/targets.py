"""The targets: each takes any bytes and raises only when the code under test does what it must never do.

What a parser may do with hostile bytes is read them or raise the documented error (`MinutierError`, `ValueError`). What
`verify` may never do is raise, or pass a proof that is not one of the seeds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import (
    fuzz_blind,
    fuzz_bundle,
    fuzz_certificates,
    fuzz_checkpoint,
    fuzz_forged,
    fuzz_manifest,
    fuzz_record,
    fuzz_seal,
    fuzz_token,
    fuzz_trace,
)
from tests.fuzz.mutators import Plain, change_der, change_json

Change = Callable[[bytes, random.Random, Plain], bytes]


@dataclass(frozen=True)
class Target:
    """`check` is what runs on each input; `change`, when there is one, knows the shape of a good input."""

    check: Callable[[bytes], None]
    change: Change | None = None


TARGETS: dict[str, Target] = {
    "token": Target(fuzz_token.check, change_der),
    "seal": Target(fuzz_seal.check, change_der),
    "manifest": Target(fuzz_manifest.check, change_json),
    "record": Target(fuzz_record.check, change_der),
    "bundle": Target(fuzz_bundle.check, fuzz_bundle.change),
    "forged": Target(fuzz_forged.check, fuzz_forged.change),
    "checkpoint": Target(fuzz_checkpoint.check),
    "trace": Target(fuzz_trace.check),
    "blind": Target(fuzz_blind.check, change_json),
    "certificates": Target(fuzz_certificates.check, change_der),
}

"""Planted alterations of seals, tokens and evidence records: each is wrong in the one way that its name says.

The tokens inside are genuine unless the name says otherwise, as a forger's or a faulty archive's would be. `blind`
names the verifiers that cannot see an alteration, with the reason; every other verifier has to refuse it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from minutier import cms
from tests.support.verifiers import Question

Maker = Callable[[], Question]


@dataclass(frozen=True)
class Plant:
    """How to make a wrong subject, and which verifiers cannot see what is wrong with it."""

    make: Maker
    blind: Mapping[str, str]


class Table(dict[str, Plant]):
    """Plants by name."""

    def plant(self, name: str, **blind: str) -> Callable[[Maker], Maker]:
        """Enter an alteration; keywords are verifiers (_ for -) and why they cannot see it."""

        def enter(make: Maker) -> Maker:
            assert name not in self, name
            reasons = {key.replace("_", "-"): why for key, why in blind.items()}
            self[name] = Plant(lambda: replace(make(), name=name), reasons)
            return make

        return enter


def flipped(data: bytes, at: int = -1) -> bytes:
    altered = bytearray(data)
    altered[at] ^= 1
    return bytes(altered)


def tst_info(token: bytes) -> bytes:
    """Give the TSTInfo inside a token."""
    content = cms.parse(token, "TOKEN").content
    assert content is not None
    return content

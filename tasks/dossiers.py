"""Dossiers: which pieces of each are there, which are missing, in words that a garage or a town hall reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from storage.catalogue import Deposit
from tasks.feed_profiles import Profile, load_profile, piece_code

PROFILE, EXPIRED = "profile", "expired"
"""Members of a deposit's metadata: the profile of its line, and `yes` for a piece that is too old to count."""
_GONE = ("REFUSED", "ABANDONED", "DESTROYING", "DESTROYED")


@dataclass(frozen=True, slots=True)
class Dossier:
    """One dossier: the groups of pieces that it expects, and which of them are there. Codes, no personal value."""

    feed: str
    number: str
    operation: str
    title: str
    expected: int
    present: tuple[str, ...]
    missing: tuple[tuple[str, ...], ...]
    expired: tuple[str, ...]
    documents: int

    @property
    def complete(self) -> bool:
        """Say whether every expected piece is there, and none of them too old."""
        return not self.missing

    def words(self, profile: Profile, language: str = "fr") -> str:
        """Say it in one sentence, as `3 pièces sur 8 ; il manque : mandat (Cerfa 13757)`."""
        there = self.expected - len(self.missing)
        names = ", ".join(missing_words(profile, group, language) for group in self.missing)
        if language == "en":
            text = f"{there} of {self.expected}" + (f", missing: {names}" if names else ", complete")
            return text + (f", too old: {', '.join(self.expired)}" if self.expired else "")
        plural = "s" if there > 1 else ""
        text = f"{there} pièce{plural} sur {self.expected}" + (f" ; il manque : {names}" if names else " : complet")
        return text + (f" ; périmé : {', '.join(self.expired)}" if self.expired else "")

    def as_dict(self) -> dict[str, Any]:
        """Give the dossier as JSON values."""
        return {
            "feed": self.feed,
            "dossier": self.number,
            "operation": self.operation,
            "complete": self.complete,
            "expected": self.expected,
            "present": list(self.present),
            "missing": ["|".join(group) for group in self.missing],
            "expired": list(self.expired),
            "documents": self.documents,
        }


def missing_words(profile: Profile, group: Iterable[str], language: str) -> str:
    """Say which piece is missing: any one of a group would do."""
    return (" or " if language == "en" else " ou ").join(profile.pieces[code] for code in group)


def judge(
    profile: Profile, feed: str, number: str, operation: str, pieces: Iterable[tuple[str, bool]]
) -> Dossier:  # fmt: skip
    """Say what a dossier has and lacks; `pieces` are codes, each with whether the piece is too old to count."""
    found = [(piece_code(code), expired) for code, expired in pieces]
    good = {code for code, expired in found if not expired}
    known = profile.operations.get(operation)
    groups = known.pieces if known else ()
    expired = sorted({code for code, old in found if old} - good)
    return Dossier(
        feed=feed,
        number=number,
        operation=operation,
        title=known.title if known else operation,
        expected=len(groups),
        present=tuple(sorted(good)),
        missing=tuple(group for group in groups if not good & set(group)),
        expired=tuple(expired),
        documents=len(found),
    )


def dossiers_of(feed: str, deposits: Iterable[Deposit]) -> list[tuple[Profile, Dossier]]:
    """Give the dossiers of a feed that follow a profile, by number, from its live deposits."""
    grouped: dict[tuple[str, str], list[Deposit]] = {}
    for deposit in deposits:
        name = deposit.metadata.get(PROFILE, "")
        if name and deposit.dossier and deposit.state not in _GONE:
            grouped.setdefault((name, deposit.dossier), []).append(deposit)
    found = []
    for (name, number), members in sorted(grouped.items()):
        profile = load_profile(name)
        # The last line says what the dossier is about, where several say different things.
        operation = members[-1].metadata.get("operation", "")
        pieces = [(each.metadata.get("piece", ""), each.metadata.get(EXPIRED) == "yes") for each in members]
        found.append((profile, judge(profile, feed, number, operation, pieces)))
    return found


def table_row(profile: Profile, dossier: Dossier) -> Mapping[str, str]:
    """Give a dossier as a line of a table for people: it names codes, never a person."""
    return {
        "dossier": dossier.number,
        "opération": dossier.title,
        "état": "complet" if dossier.complete else "incomplet",
        "pièces": dossier.words(profile),
    }

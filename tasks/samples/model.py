"""Words shared by the sample feeds: pieces of a dossier, lines of a slip (bordereau), and what is expected of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a dossier: its code in the feed's list, its title, its file name, its bytes."""

    code: str
    title: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Dossier:
    """A case sent by the depositor: its number, its date (ISO 8601), its pieces."""

    number: str
    date: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the archive must answer to one line.

    `outcome` is "archived", "duplicate" (the deposit already made is given again) or the code of a refusal.
    """

    feed: str
    batch: str
    reference: str
    dossier: str
    outcome: str

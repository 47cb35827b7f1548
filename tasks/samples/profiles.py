"""Sample dossiers that follow a profile: rows of a manifest, complete or not, each with what must be found in it.

The same seed gives the same rows. Every name, plate and number is made up; check digits are right.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from tasks.feed_profiles import Operation, Profile, load_profile, luhn
from tasks.samples.model import Expected

_PLATE_LETTERS = "ABCDEFGHJKLMNPQRTVWXYZ"
_VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_DAY = date(2026, 11, 2)
_SHOWN = {"siv": (("DA", ""), ("ADR", "MANDAT")), "planning": (("CUa", ""), ("DP", "DP2"))}
"""Operations in a sample batch, each with the piece that it lacks."""
_WRONG = {"siv": {"siret": "123", "no_ligne": "99"}, "planning": {"insee": "13055", "piece_version": "9"}}
"""What makes the last line of a sample batch one that is refused."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One dossier: its rows without the columns of files, and the groups of pieces that it lacks."""

    profile: str
    number: str
    operation: str
    rows: tuple[dict[str, str], ...]
    missing: tuple[tuple[str, ...], ...]
    expired: tuple[str, ...]


def labelled_dossiers(name: str, each: int, seed: int = 2026) -> Iterator[Labelled]:
    """Give `each` dossiers of every operation of a profile: a third complete, the others with pieces missing or old."""
    profile = load_profile(name)
    for operation in profile.operations.values():
        draw = random.Random(f"{seed} {name} {operation.code}")  # noqa: S311 - samples, drawn again by the same seed
        for number in range(each):
            yield _dossier(profile, operation, number, draw)


def _dossier(profile: Profile, operation: Operation, number: int, draw: random.Random) -> Labelled:
    groups = list(operation.pieces)
    count = 0 if number % 3 == 0 else draw.randint(1, len(groups))
    missing = {draw.randrange(len(groups)) for _ in range(count)} if number % 3 else set()
    common = _vehicle(draw, number) if profile.name == "siv" else _planning(operation, draw, number)
    common[profile.operation] = operation.code
    # One piece may serve two groups: a piece that any kept group needs makes up for another group too.
    kept = [group for place, group in enumerate(groups) if place not in missing]
    codes = list(dict.fromkeys(draw.choice(group) for group in kept))
    if not codes:
        codes = ["AUTRE"] if profile.name == "siv" else ["ZZ9"]
    expired = ("DOMICILE",) if number % 3 == 2 and "DOMICILE" in codes else ()
    good = set(codes) - set(expired)
    rows = tuple(
        common | _piece(profile, code, place, old=code in expired) for place, code in enumerate(codes, start=1)
    )
    lacking = tuple(group for group in groups if not good & set(group))
    return Labelled(profile.name, profile.dossier_of(rows[0]), operation.code, rows, lacking, expired)


def _vehicle(draw: random.Random, number: int) -> dict[str, str]:
    def letters() -> str:
        return "".join(draw.choice(_PLATE_LETTERS) for _ in range(2))

    return {
        "ref_depot": f"DEP-{draw.randrange(10**6):06d}-{number:03d}",
        "siret": with_luhn(f"{draw.randrange(10**13):013d}"),
        "vin": "".join(draw.choice(_VIN_LETTERS) for _ in range(17)),
        "immatriculation": f"{letters()}-{draw.randint(1, 999):03d}-{letters()}".replace("SS", "ST"),
        "date_operation": (_DAY - timedelta(days=draw.randrange(300))).isoformat(),
        "titulaire_type": draw.choice("PM"),
    }


def _planning(operation: Operation, draw: random.Random, number: int) -> dict[str, str]:
    commune = draw.randint(1, 999)
    letters = "CU" if operation.code.startswith("CU") else operation.code
    return {
        "no_dossier": f"{letters} 075 {commune:03d} 26 {draw.randrange(10)}{number:04d}",
        "insee": f"75{commune:03d}",
        "date_depot": (_DAY - timedelta(days=draw.randrange(300))).isoformat(),
        "piece_nature": "initiale",
    }


def _piece(profile: Profile, code: str, place: int, *, old: bool) -> dict[str, str]:
    if profile.name == "siv":
        return {"no_ligne": str(place), "type_piece": code} | ({"date_piece": "2020-01-01"} if old else {})
    return {"piece_code": code, "piece_version": "1"}


def with_luhn(digits: str) -> str:
    """Give digits with the check digit that makes them a SIREN or a SIRET."""
    return next(found for last in "0123456789" if luhn(found := digits + last))


def profiled_batch(directory: Path, feed: str, document: Callable[[int], bytes]) -> list[Expected]:
    """Write one batch that follows the profile of a feed: a complete dossier, one that lacks a piece, one bad line.

    `document` gives the bytes of a PDF by its number. Gives what the archive must answer to each line.
    """
    name = {"garage": "siv", "mairie": "planning"}[feed]
    profile, folder = load_profile(name), directory / f"2026-11-02_{feed}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(f"demo {name}")  # noqa: S311 - samples, drawn again by the same seed
    rows, expected = list[dict[str, str]](), list[Expected]()
    for number, (code, without) in enumerate(_SHOWN[name]):
        operation = profile.operations[code]
        common = _vehicle(draw, number) if name == "siv" else _planning(operation, draw, number)
        common[profile.operation] = code
        pieces = [group[0] for group in operation.pieces if group[0] != without]
        rows += [common | _piece(profile, piece, place, old=False) for place, piece in enumerate(pieces, start=1)]
    for number, row in enumerate(rows, start=1):
        data, file = document(number), f"piece-{number:02d}.pdf"
        (folder / file).write_bytes(data)
        row |= {"fichier": file, "taille": str(len(data)), "sha256": hashlib.sha256(data).hexdigest()}
        expected.append(Expected(feed, folder.name, profile.reference_of(row), profile.dossier_of(row), "archived"))
    wrong = rows[-1] | _WRONG[name]
    rows.append(wrong)
    expected.append(Expected(feed, folder.name, profile.reference_of(wrong), "", "MANIFEST_LINE_BAD"))
    lines = [";".join(profile.columns), *(";".join(row.get(column, "") for column in profile.columns) for row in rows)]
    # The slip comes last: a batch without its slip is not complete.
    (folder / "bordereau.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode())
    return expected

"""Profiles of feeds: which columns, rules and pieces a kind of file has. Data in `tasks/profiles/`, read once.

A rule of level `refuse` refuses its line alone; one of level `warn` is told and refuses nothing. An empty value breaks
no rule unless its column is one of those that a line must have.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as member
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

REFUSE, WARN = "refuse", "warn"
_PROFILES = ("siv", "planning")
_FILE_COLUMNS = ("fichier", "taille", "sha256")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about one field. `expired` says that a piece which breaks it does not count for its dossier."""

    code: str
    field: str
    kind: str
    level: str
    fr: str
    en: str
    value: Any = None
    when: Mapping[str, str] = member(default_factory=dict)
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A kind of dossier and the pieces that it expects: of each group of codes, one."""

    code: str
    title: str
    pieces: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of feed, as its data file says it."""

    name: str
    title: str
    lifecycle_class: str
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    dossier: tuple[str, ...]
    reference: str
    piece: str
    operation: str
    day: str
    piece_day: str
    rules: tuple[Rule, ...]
    operations: Mapping[str, Operation]
    pieces: Mapping[str, str]
    classes: Mapping[str, str]

    def accepts(self, header: tuple[str, ...]) -> bool:
        """Say whether a manifest with these columns, in whatever order, is of this profile."""
        known = {*self.columns, *self.optional}
        return len(set(header)) == len(header) and set(self.columns) <= set(header) <= known

    def broken_rules(self, values: Mapping[str, str], today: date) -> list[Rule]:
        """Give the rules that a line breaks, in their order."""
        return [rule for rule in self.rules if self._applies(rule, values) and not self._holds(rule, values, today)]

    def class_of(self, values: Mapping[str, str]) -> str:
        """Give the lifecycle class of a line's document."""
        return self.classes.get(values.get(self.operation, ""), self.lifecycle_class)

    def dossier_of(self, values: Mapping[str, str]) -> str:
        """Give the number of the dossier of a line: the first of its columns that has one."""
        found = next((values[name] for name in self.dossier if values.get(name)), "")
        return " ".join(found.split())

    def reference_of(self, values: Mapping[str, str]) -> str:
        """Give the reference of a line, empty where a part of it is missing."""
        try:
            return " ".join(self.reference.format_map(values).split())
        except KeyError:
            return ""

    def _applies(self, rule: Rule, values: Mapping[str, str]) -> bool:
        given = bool(values.get(rule.field)) or rule.field in self.columns
        return given and all(values.get(name) == wanted for name, wanted in rule.when.items())

    def _holds(self, rule: Rule, values: Mapping[str, str], today: date) -> bool:
        return _KINDS[rule.kind](self, rule, values, today)


def profile_of(header: tuple[str, ...]) -> Profile | None:
    """Give the profile whose columns a manifest has, None for another manifest."""
    return next((each for each in map(load_profile, _PROFILES) if each.accepts(header)), None)


@cache
def load_profile(name: str) -> Profile:
    """Read one profile; KeyError or ValueError when its data file is not one."""
    text = files("tasks.profiles").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    rules = tuple(Rule(**each) for each in data["rule"])
    operations = {
        each["code"]: Operation(each["code"], each["title"], tuple(tuple(group) for group in each["pieces"]))
        for each in data["expects"]
    }
    known = set(data["pieces"])
    strange = [code for each in operations.values() for group in each.pieces for code in group if code not in known]
    columns = (*data["columns"], *data["optional"])
    wrong = [rule.code for rule in rules if rule.kind not in _KINDS or rule.level not in (REFUSE, WARN)]
    wrong += [rule.code for rule in rules if rule.field not in columns or set(rule.when) - set(columns)]
    if strange or wrong or not set(_FILE_COLUMNS) <= set(data["columns"]):
        raise ValueError(f"the profile {name} is not whole: {strange or wrong or _FILE_COLUMNS}")
    return Profile(
        name=data["name"],
        title=data["title"],
        lifecycle_class=data["class"],
        columns=tuple(data["columns"]),
        optional=tuple(data["optional"]),
        dossier=tuple(data["dossier"]),
        reference=data["reference"],
        piece=data["piece"],
        operation=data["operation"],
        day=data["date"],
        piece_day=data["piece_date"],
        rules=rules,
        operations=operations,
        pieces=data["pieces"],
        classes=data.get("classes", {}),
    )


def parse_day(text: str) -> date | None:
    """Read a day in its one spelling, YYYY-MM-DD; None for any other text."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.isoformat() == text else None


def luhn(digits: str) -> bool:
    """Say whether the last digit of a number is its check digit (Luhn, as SIREN and SIRET have it)."""
    doubled = [int(each) * (2 if place % 2 else 1) for place, each in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def months_before(day: date, months: int) -> date:
    """Give the same day some months before; the last of the month where there is no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, min(day.day, last))
        except ValueError:
            continue
    raise ValueError("no such day")


_Kind = Callable[[Profile, Rule, Mapping[str, str], date], bool]
_LA_POSTE = "356000000"  # its establishments have a SIRET whose digits add up to a multiple of 5
# Without I, O, U; no SS; WW stands for provisional plates.
_LETTERS = "(?!SS)[A-HJ-NP-TV-Z]{2}"
_PLATE = re.compile(rf"{_LETTERS}-?(?!000)\d{{3}}-?{_LETTERS}")
_FORMER_PLATE = re.compile(r"\d{1,4} ?[A-HJ-NP-TV-Z]{1,3} ?(?:\d{2,3}|2[AB])")


def _pattern(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    return re.fullmatch(rule.value, values.get(rule.field, "")) is not None


def _operation(profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    return values.get(rule.field) in profile.operations


def _known_piece(profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    return piece_code(values.get(rule.field, "")) in profile.pieces


def _date(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    return parse_day(values.get(rule.field, "")) is not None


def _not_future(_profile: Profile, rule: Rule, values: Mapping[str, str], today: date) -> bool:
    found = parse_day(values.get(rule.field, ""))
    return found is None or found <= today


def _not_older(_profile: Profile, rule: Rule, values: Mapping[str, str], today: date) -> bool:
    found = parse_day(values.get(rule.field, ""))
    return found is None or found >= months_before(today, 12 * int(rule.value))


def _max_age(profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    made, used = parse_day(values.get(rule.field, "")), parse_day(values.get(profile.day, ""))
    return made is None or used is None or made >= months_before(used, int(rule.value))


def _siren(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    found = "".join(values.get(rule.field, "").split())
    return re.fullmatch(r"[0-9]{9}", found) is not None and luhn(found)


def _siret(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    found = "".join(values.get(rule.field, "").split())
    if not re.fullmatch(r"[0-9]{14}", found):
        return False
    return luhn(found) or (found.startswith(_LA_POSTE) and sum(map(int, found)) % 5 == 0)


def _plate(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    found = values.get(rule.field, "").upper()
    return bool(_PLATE.fullmatch(found) or _FORMER_PLATE.fullmatch(found))


def _cerfa(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    # By its five digits: versions (`*07`) follow each other within a year.
    match = re.fullmatch(r"([0-9]{5})(?:\s?[*#]\s?[0-9]{1,2})?", values.get(rule.field, ""))
    return match is not None and match[1] in rule.value


def _insee_of(_profile: Profile, rule: Rule, values: Mapping[str, str], _today: date) -> bool:
    match = re.match(r"[A-Z]+(\w{3})(\d{3})", re.sub(r"\s", "", values.get(rule.value, "")))
    if match is None:
        return True
    # 075 + 056 is 75056; overseas, 974 + 411 is 97411.
    department, commune = match[1], match[2]
    wanted = department[1:] + commune if department.startswith("0") else department + commune[1:]
    return values.get(rule.field) == wanted


_KINDS: Mapping[str, _Kind] = {
    "pattern": _pattern,
    "operation": _operation,
    "known_piece": _known_piece,
    "date": _date,
    "not_future": _not_future,
    "not_older_years": _not_older,
    "max_age_months": _max_age,
    "siren": _siren,
    "siret": _siret,
    "plate": _plate,
    "cerfa": _cerfa,
    "insee_of": _insee_of,
}


def piece_code(text: str) -> str:
    """Give a code in its one spelling: writers say `PCMI01`, `pcmi1` and `PCMI02a` for PCMI1 and PCMI2."""
    match = re.fullmatch(r"([A-Z_]+?)0*([0-9]+)[A-Z]?", text.upper())
    return f"{match[1]}{match[2]}" if match else text.upper()

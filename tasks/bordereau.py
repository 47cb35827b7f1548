"""The generic folder feed: one directory per batch, a `bordereau.csv` and the files that it lists.

`bordereau.csv` is UTF-8 with semicolons and the columns of `COLUMNS`; it is written last. Each row is checked on its
own, so that one bad line never holds back the others. Names never become paths: a listed file lies in the batch itself.
File names may name a person: an error that goes further than the depositor's receipt never repeats one.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import re
import stat
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from minutier.errors import BadInputError, RefusedDocumentError
from tasks.feed_profiles import REFUSE, Profile, piece_code, profile_of

COLUMNS = ("dossier", "reference", "piece", "titre", "fichier", "taille", "sha256", "date")
MANIFEST = "bordereau.csv"
RECEIPT = "accuse.csv"
REPORT = "rapport.txt"
ABSENT = "absent"
_MAX_MANIFEST = 16 << 20
_NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,119}$"
_Name = Annotated[str, Field(pattern=_NAME)]
# What Linux file systems take for one name, in bytes.
_MAX_FILE_NAME = 255
_SPELLINGS = {"taille": r"0|[1-9][0-9]{0,14}", "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}"}
# Control characters have no place in a title or a file name, and PostgreSQL refuses the null one.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


class Row(BaseModel):
    """One listed file: `taille` in bytes, `sha256` in lower-case hexadecimal, `date` as YYYY-MM-DD."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True, extra="forbid")

    dossier: _Name
    reference: _Name
    piece: _Name
    titre: Annotated[str, Field(max_length=300, pattern=_PRINTABLE)]
    fichier: Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTABLE)]
    taille: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    date: date
    # Of a manifest that follows a profile: what else it says of the document, kept in its metadata, and its class.
    attributes: dict[str, str] = {}
    lifecycle_class: str = "default"

    @field_validator("taille", "date", mode="before")
    @classmethod
    def _one_spelling(cls, value: object, info: ValidationInfo) -> object:
        # Left to itself the model reads 1_000 and +1 as sizes, and 0 as the first of January 1970.
        if not re.fullmatch(_SPELLINGS[str(info.field_name)], str(value).strip()):
            raise ValueError("must be YYYY-MM-DD" if info.field_name == "date" else "must be a number of bytes")
        return value

    @field_validator("fichier")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        # The receipt is written under its own name: a document of that name would be lost under it.
        if value in (".", "..", MANIFEST, RECEIPT, REPORT) or any(mark in value for mark in "/\\\0"):
            raise ValueError("must be the plain name of a file in the same folder")
        if len(value.encode()) > _MAX_FILE_NAME:
            raise ValueError(f"must be at most {_MAX_FILE_NAME} bytes in UTF-8")
        return value


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a line breaks: which field, which rule, what it says. Never the value: it may name a person."""

    line: int
    field: str
    rule: str
    level: str
    fr: str
    en: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a manifest: its number in the file (the header is 1) and its row, or why it cannot be taken."""

    number: int
    row: Row | None
    refusal: RefusedDocumentError | None = None
    reference: str = ""
    findings: tuple[Finding, ...] = ()


class OtherRow(Row):
    """A file listed by another kind of manifest: its digest may be SHA-512, or none where nobody announced any."""

    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    sha512: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as read: its folder, the SHA-256 of its manifest, and its lines.

    `files` is where the listed files lie; `manifest` is the manifest's own file. Of a package (ZIP) `package` names it:
    its files lie in `files` only while it is unpacked, and its answers are written beside it. Without a manifest at all
    `manifest` is empty.
    """

    name: str
    folder: Path
    manifest_sha256: str
    lines: tuple[Line, ...]
    profile: str = ""
    manifest: Path = Path(MANIFEST)
    files: Path = Path()
    package: Path | None = None
    announced: bool = True
    """Whether the depositor said how large each file is: else a file that is still growing looks whole."""

    def file(self, row: Row) -> Path:
        """Give the path of a listed file."""
        return (self.folder / self.files) / row.fichier

    def state(self, row: Row) -> str:
        """Give what tells one state of a listed file from the next: of a package, that of the whole."""
        return file_state(self.package or self.file(row))

    def answer(self, name: str) -> Path:
        """Give where the receipt or the report of this batch is written."""
        return self.package.with_name(f"{self.package.name}.{name}") if self.package else self.folder / name


def read_batch(folder: Path, today: date | None = None) -> Batch:
    """Read a batch folder; BadInputError (`BAD_MANIFEST`) when its name or its manifest as a whole cannot be read.

    The columns say which profile it follows (docs/feeds.md), if any; `today` is the day that its rules are judged on.
    """
    path = folder / MANIFEST
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise bad_manifest(folder, "the name of its folder is not UTF-8") from error
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            raise bad_manifest(folder, f"it is larger than {_MAX_MANIFEST} bytes")
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True)
        header = tuple(name.strip() for name in next(reader, []))
        profile = profile_of(header)
        if header != COLUMNS and profile is None:
            raise bad_manifest(folder, f"its first line must be {';'.join(COLUMNS)}, or the columns of a profile")
        day = today or datetime.now(UTC).date()
        lines = tuple(
            _profile_line(profile, reader.line_num, header, values, day) if profile else _line(reader.line_num, values)
            for values in reader
            if any(values)
        )
    except UnicodeDecodeError as error:
        raise bad_manifest(folder, f"it is not UTF-8 (byte {error.start})") from error
    except csv.Error as error:
        raise bad_manifest(folder, f"it is not a semicolon CSV ({error})") from error
    except OSError as error:
        raise bad_manifest(folder, error.strerror or "it cannot be opened") from None
    return Batch(folder.name, folder, hashlib.sha256(data).hexdigest(), lines, profile.name if profile else "")


def file_state(path: Path) -> str:
    """Give what tells one state of a listed file from the next, `ABSENT` when no plain file lies there.

    The change time counts too: it moves when a right is given, and when a tool sets the date back after writing.
    OSError when the folder does not let itself be looked into.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except OSError as error:
        # A file system with shorter names than usual cannot hold this file either.
        if error.errno == errno.ENAMETOOLONG:
            return ABSENT
        raise
    if not stat.S_ISREG(found.st_mode):
        return ABSENT
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _line(number: int, values: list[str]) -> Line:
    reference = values[1].strip() if len(values) > 1 and re.match(_NAME, values[1].strip()) else ""
    try:
        if len(values) != len(COLUMNS):
            raise ValueError(f"it has {len(values)} fields, not {len(COLUMNS)}")
        return Line(number, Row.model_validate(dict(zip(COLUMNS, values, strict=True))), reference=reference)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Line(number, None, bad_line(number, f"{first['loc'][0]}: {first['msg']}"), reference)
    except ValueError as error:
        return Line(number, None, bad_line(number, str(error)), reference)


def _profile_line(profile: Profile, number: int, header: tuple[str, ...], values: list[str], today: date) -> Line:
    """Read a line of a manifest that follows a profile; the first refusing rule that it breaks says why."""
    if len(values) != len(header):
        return Line(number, None, bad_line(number, f"it has {len(values)} fields, not {len(header)}"))
    given = {name: value.strip() for name, value in zip(header, values, strict=True) if value.strip()}
    findings = tuple(
        Finding(number, rule.field, rule.code, rule.level, rule.fr, rule.en)
        for rule in profile.broken_rules(given, today)
    )
    reference = profile.reference_of(given)
    reference = reference if re.match(_NAME, reference) else ""
    if refusing := [each for each in findings if each.level == REFUSE]:
        return Line(number, None, _broken(refusing[0]), reference, findings)
    expired = {rule.code for rule in profile.rules if rule.expired} & {each.rule for each in findings}
    own = (profile.piece, "fichier", "taille", "sha256")
    attributes = {name: value for name, value in given.items() if name not in own}
    attributes |= {"profile": profile.name, "operation": given.get(profile.operation, "")}
    attributes |= {"expired": "yes"} if expired else {}
    try:
        row = Row.model_validate({
            "dossier": profile.dossier_of(given),
            "reference": reference,
            "piece": given.get(profile.piece, ""),
            "titre": profile.pieces.get(piece_code(given.get(profile.piece, "")), given.get(profile.piece, "")),
            "fichier": given.get("fichier", ""),
            "taille": given.get("taille", ""),
            "sha256": given.get("sha256", "").lower(),
            "date": given.get(profile.piece_day) or given.get(profile.day, ""),
            "attributes": attributes,
            "lifecycle_class": profile.class_of(given),
        })  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Line(number, None, bad_line(number, f"{first['loc'][0]}: {first['msg']}"), reference, findings)
    return Line(number, row, None, reference, findings)


def _broken(finding: Finding) -> RefusedDocumentError:
    return RefusedDocumentError(
        "MANIFEST_LINE_BAD",
        f"Line {finding.line}, field {finding.field}, rule {finding.rule}: {finding.en}",
        f"Ligne {finding.line}, champ {finding.field}, règle {finding.rule} : {finding.fr}",
        remedy="Correct this line and send the batch again; the other lines are taken.",
    )


def bad_line(number: int, reason: str, source: str = MANIFEST) -> RefusedDocumentError:
    """Say that one line of a manifest cannot be used, and why."""
    return RefusedDocumentError(
        "MANIFEST_LINE_BAD",
        f"Line {number} of {source} cannot be used: {reason}.",
        f"La ligne {number} de {source} est inutilisable ({reason.partition(':')[0]}).",
        remedy="Correct this line and send the batch again; the other lines are taken.",
    )


def bad_manifest(folder: Path, reason: str, source: str = MANIFEST) -> BadInputError:
    """Say that a batch cannot be read at all; what a terminal or a database would not take of its name is escaped."""
    name = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in folder.name)
    return BadInputError(
        "BAD_MANIFEST",
        f"The {source} of batch {name} cannot be read: {reason}.",
        remedy="Correct the manifest; nothing of this batch was taken.",
    )

"""Step: give documents back in a bag, with an index, a page that says what is what, and the sealed attestation."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from minutier import canonical
from minutier.errors import BadInputError, IntegrityFailureError, ServiceUnavailableError
from minutier.fingerprint import fingerprint_file
from storage.acts import Act
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.files import write_durably
from storage.restitution import attest, give_document
from tasks import dip, eark
from tasks.bag import PAYLOAD, payload_files, read_bag, write_bag

ATTESTATION = "restitution.json"
_DOCUMENTS = f"{PAYLOAD}/documents"
_OWN = {PAYLOAD, "bagit.txt", "bag-info.txt", ATTESTATION, f"{ATTESTATION}.p7s", "LISEZMOI-README.txt"}
# What a document takes: itself, again inside its proof, its rendition twice, and some room for the proof's own files.
_TIMES, _BESIDE = 4, 200_000
_README = """\
RESTITUTION – Minutier                                                              (English below)

Ce dossier est un « sac » BagIt (RFC 8493). Il contient, pour chaque document, dans data/documents/NUMÉRO/ :
  original/        le document, bit pour bit, tel qu'il a été déposé ;
  rendition.pdf    sa copie PDF/A, s'il y en a une ;
  proof.zip        sa preuve, que l'on vérifie sans l'archive (lire le README qu'elle contient) ;
  metadata.json    ce que l'archive sait de lui.
Si le client détient les clés : fichiers .age chiffrés et leur clé document.key.age. Pour les ouvrir :
  age --decrypt -i IDENTITÉ document.key.age > cle.txt ; age --decrypt -i cle.txt original.age > document
data/index.csv donne la liste, data/manifest.xml la même description en SEDA 2.3, data/METS.xml en E-ARK (DIP).
restitution.json et son scellement .p7s attestent ce qui a été remis.
Vérifier le sac :  sha256sum --check manifest-sha256.txt

This directory is a BagIt bag (RFC 8493). For each document, in data/documents/NUMBER/:
  original/        the document, bit for bit, as it was deposited;
  rendition.pdf    its PDF/A copy, where there is one;
  proof.zip        its proof, checked without the archive (read the README inside);
  metadata.json    what the archive knows of it.
Where the client holds the keys: encrypted .age files and their key document.key.age. To open them:
  age --decrypt -i IDENTITY document.key.age > key.txt ; age --decrypt -i key.txt original.age > document
data/index.csv is the list, data/manifest.xml describes the same in SEDA 2.3, data/METS.xml in E-ARK (DIP).
restitution.json and its seal .p7s attest what was given.
Check the bag:  sha256sum --check manifest-sha256.txt
"""


@dataclass(frozen=True, slots=True)
class Restitution:
    """What was given. `missing` are documents of which no good copy could be had, each with the reason."""

    folder: Path
    act: Act
    given: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    files: int
    bytes: int


@dataclass
class _Progress:
    given: list[Deposit] = field(default_factory=list)
    missing: list[tuple[Deposit, str]] = field(default_factory=list)


def restitute(
    archive: Archive,
    deposits: Sequence[Deposit],
    folder: Path,
    *,
    to: str = "",
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Restitution:
    """Give documents back in a bag at `folder`, an absent or empty directory, or one that an earlier run left.

    A document of which no copy is good is said and hinders no other. Raises BadInputError (`BAD_OUTPUT`,
    `NOTHING_TO_GIVE`), ServiceUnavailableError (`DISK_FULL`, `STORE_DOWN`…): run again, it goes on.
    """
    if not deposits:
        raise BadInputError(
            "NOTHING_TO_GIVE", "There is no archived document to give.", remedy="`minutier list` shows what there is."
        )
    known = _open_folder(folder)
    _require_room(folder, deposits)
    # A bag is not whole while it changes.
    (folder / "bagit.txt").unlink(missing_ok=True)
    state, documents = _Progress(), folder / _DOCUMENTS
    documents.mkdir(parents=True, exist_ok=True)
    _clear(documents, deposits)
    for place, deposit in enumerate(deposits):
        progress(place, len(deposits))
        try:
            give_document(archive, deposit, documents)
            state.given.append(deposit)
        except IntegrityFailureError as error:
            state.missing.append((deposit, error.code))
    progress(len(deposits), len(deposits))
    write_durably(folder / PAYLOAD / "index.csv", _index(state, folder), mode=0o644)
    act = attest(archive, state.given, [deposit for deposit, _ in state.missing], to, known)
    _describe(act, state, folder / PAYLOAD)
    size, count = write_bag(folder, _info(act, len(state.given)), _tags(act))
    read_bag(folder)
    return Restitution(
        folder,
        act,
        tuple(deposit.archive_id for deposit in state.given),
        tuple((deposit.archive_id, code) for deposit, code in state.missing),
        count,
        size,
    )


def _describe(act: Act, state: _Progress, payload: Path) -> None:
    """Write what describes the payload in the words of others: SEDA, and METS over the whole."""
    for folder, name, text in (
        (eark.DOCUMENTATION, "LISEZMOI-README.txt", _README),
        (eark.SCHEMAS, "SCHEMAS.txt", eark.SCHEMAS_PAGE),
    ):
        (payload / folder).mkdir(exist_ok=True)
        write_durably(payload / folder / name, text.encode(), mode=0o644)
    for name in (dip.NAME, eark.NAME):
        (payload / name).unlink(missing_ok=True)
    digests = {path: fingerprint_file(path) for path in payload_files(payload)}
    missing = [deposit for deposit, _ in state.missing]
    write_durably(payload / dip.NAME, dip.describe(act, state.given, missing, payload, digests), mode=0o644)
    digests[payload / dip.NAME] = fingerprint_file(payload / dip.NAME)
    kinds = {
        path: kind
        for deposit in state.given
        for _, path, kind in dip.files(deposit, payload / "documents" / deposit.archive_id)
    }
    write_durably(payload / eark.NAME, eark.describe(act, payload, digests, kinds), mode=0o644)


def _open_folder(folder: Path) -> str:
    """Refuse a directory that holds anything else; gives the number of the attestation that an earlier run left."""
    if folder.exists() and not folder.is_dir():
        raise BadInputError("BAD_OUTPUT", f"{folder} is not a directory.", remedy="Give a new directory.")
    if not folder.absolute().parent.is_dir():
        raise BadInputError(
            "BAD_OUTPUT", f"There is no directory {folder.absolute().parent}.", remedy="Make it, then run again."
        )
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    strange = sorted(name for name in names - _OWN if not name.startswith(("manifest-", "tagmanifest-")))
    if strange or (names and not (folder / _DOCUMENTS).is_dir()):
        raise BadInputError(
            "BAD_OUTPUT",
            f"{folder} holds other files ({(strange or sorted(names))[0]}).",
            remedy="Give a new or empty directory.",
        )
    folder.mkdir(exist_ok=True)
    try:
        return str(canonical.decode((folder / ATTESTATION).read_bytes())["act_id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def _clear(documents: Path, deposits: Sequence[Deposit]) -> None:
    """Refuse a bag of other documents: what lies there and was not asked for would be attested by nobody."""
    wanted = {deposit.archive_id for deposit in deposits}
    for path in documents.iterdir():
        if path.name.startswith("."):
            shutil.rmtree(path)
        elif path.name not in wanted:
            raise BadInputError(
                "BAD_OUTPUT",
                f"The directory holds another restitution (of {path.name}).",
                remedy="Ask for the same documents to complete it, or give a new directory.",
            )


def _require_room(folder: Path, deposits: Iterable[Deposit]) -> None:
    there = sum(path.stat().st_size for path in (folder / PAYLOAD).rglob("*") if path.is_file())
    needed = sum((deposit.size or 0) * _TIMES + _BESIDE for deposit in deposits) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ServiceUnavailableError(
            "DISK_FULL",
            f"This restitution may take {needed >> 20} MiB; {free >> 20} MiB are free at {folder}.",
            remedy="Give a directory on a larger disk, or make room. Nothing was given.",
        )


def _index(state: _Progress, folder: Path) -> bytes:
    """Write the list of what was given, one line each, as spreadsheets open it."""
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=";", lineterminator="\r\n")
    writer.writerow(("archive_id", "safe", "dossier", "reference", "name", "size", "sha256", "file", "missing"))
    lines = [(deposit, "") for deposit in state.given] + state.missing
    for deposit, code in sorted(lines, key=lambda line: line[0].archive_id):
        base = folder / _DOCUMENTS / deposit.archive_id
        found = next(iter(sorted((base / "original").glob("*")) or sorted(base.glob("original.age"))), None)
        file = found.relative_to(folder).as_posix() if found and not code else ""
        writer.writerow([
            deposit.archive_id, _cell(deposit.safe), _cell(deposit.dossier), _cell(deposit.reference),
            _cell(deposit.name), deposit.size, deposit.sha256, _cell(file), code,
        ])  # fmt: skip
    return b"\xef\xbb\xbf" + sink.getvalue().encode("utf-8", "replace")


def _cell(text: str) -> str:
    # A spreadsheet takes a cell that begins so for a formula, and runs it.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _info(act: Act, documents: int) -> dict[str, str]:
    return {
        "Source-Organization": "Minutier",
        "External-Identifier": act.act_id,
        "External-Description": f"Restitution of {documents} documents",
        "Bagging-Date": act.at.date().isoformat(),
        "Bag-Software-Agent": f"minutier {version('minutier')}",
    }


def _tags(act: Act) -> dict[str, bytes]:
    return {ATTESTATION: act.body, f"{ATTESTATION}.p7s": act.seal, "LISEZMOI-README.txt": _README.encode()}


def summary(done: Restitution) -> dict[str, Any]:
    """Give a restitution as JSON values."""
    return {
        "output": str(done.folder),
        "act_id": done.act.act_id,
        "given": list(done.given),
        "missing": [{"archive_id": archive_id, "code": code} for archive_id, code in done.missing],
        "files": done.files,
        "bytes": done.bytes,
    }

"""Write the sample feeds: one directory per batch with its slip (`bordereau.csv`) and its files, good and bad.

`generate` gives what the archive must answer to each line, so a demonstration or a test can check every answer.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tasks.malware import test_signature
from tasks.samples import garage, mairie, varied
from tasks.samples.model import Dossier, Expected

FEEDS = ("garage", "mairie")
SLIP = "bordereau.csv"
COLUMNS = ("dossier", "reference", "piece", "titre", "fichier", "taille", "sha256", "date")
ARCHIVED, DUPLICATE = "archived", "duplicate"


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a slip; `data` None = the file is announced but missing; `size` and `digest` "" = as the data is."""

    batch: str
    dossier: str
    reference: str
    piece: str
    title: str
    file: str
    data: bytes | None
    outcome: str = ARCHIVED
    size: str = ""
    digest: str = ""

    def text(self) -> str:
        data = self.data or b""
        size = self.size or str(len(data))
        digest = self.digest or hashlib.sha256(data).hexdigest()
        day = self.batch.rpartition("_")[0]
        return ";".join((self.dossier, self.reference, self.piece, self.title, self.file, size, digest, day))


def generate(directory: Path, feed: str) -> list[Expected]:
    """Write the batches of `feed` ("garage" or "mairie") under `directory`; the same bytes at each run.

    Gives one `Expected` per line, in the order of the batches and their lines. ValueError on another feed name.
    """
    if feed not in FEEDS:
        raise ValueError(f"the sample feeds are {', '.join(FEEDS)}")
    lines = _garage() if feed == "garage" else _mairie()
    for batch in dict.fromkeys(line.batch for line in lines):
        target = directory / batch
        target.mkdir(parents=True, exist_ok=True)
        of_batch = [line for line in lines if line.batch == batch]
        for line in of_batch:
            if line.data is not None:
                (target / line.file).write_bytes(line.data)
        rows = [";".join(COLUMNS), *(line.text() for line in of_batch)]
        # The slip comes last: a batch without its slip is not complete.
        (target / SLIP).write_bytes(("\r\n".join(rows) + "\r\n").encode("utf-8"))
        evening = datetime.fromisoformat(f"{batch.rpartition('_')[0]}T18:00:00+00:00").timestamp()
        for path in target.iterdir():
            os.utime(path, (evening, evening))
    return [Expected(feed, line.batch, line.reference, line.dossier, line.outcome) for line in lines]


def _good(feed: str, dossiers: list[Dossier]) -> list[_Line]:
    prefix = {"garage": "GTC", "mairie": "SALP"}[feed]
    return [
        _Line(
            f"{dossier.date}_{feed}",
            dossier.number,
            f"{prefix}-{dossier.number}-{rank:02d}",
            piece.code,
            piece.title,
            piece.name,
            piece.data,
        )
        for dossier in dossiers
        for rank, piece in enumerate(dossier.pieces, start=1)
    ]


def _garage() -> list[_Line]:
    dossiers = garage.dossiers()
    lines = _good("garage", dossiers)
    extra = _extra(lines)
    whole = garage.request(1)
    bad = [
        replace(
            extra(dossiers[0], 91, "DOMICILE", "Justificatif de domicile", "domicile-tronque.pdf"),
            data=whole[: len(whole) * 2 // 3],
            outcome="DAMAGED",
        ),
        replace(
            extra(dossiers[1], 92, "MANDAT", "Mandat au professionnel", "mandat-protege.pdf"),
            data=garage.request(1, password="secret-du-garage"),  # noqa: S106 - a sample that nobody must open
            outcome="ENCRYPTED",
        ),
        replace(
            extra(dossiers[3], 93, "ASSURANCE", "Attestation d'assurance", "assurance.pdf"),
            data=_zip(),
            outcome="FORMAT_MISMATCH",
        ),
        replace(
            extra(dossiers[4], 94, "AUTRE", "Note jointe", "note-jointe.txt"),
            data=test_signature(),
            outcome="MALWARE",
        ),
        replace(extra(dossiers[6], 95, "PERMIS", "Permis de conduire", "permis.jpg"), data=b"", outcome="EMPTY"),
    ]
    person = ["Nom : ESTRELLE", "Prénom : Joachim", "N° de permis : 26ZZ00042", "Valable jusqu'au 12/03/2031"]
    mandate = ["Mandat au professionnel (exemple)", "Je soussigné donne mandat pour l'immatriculation du véhicule."]
    sent = [
        replace(
            extra(dossiers[2], 81, "PERMIS", "Permis de conduire, photographié", "permis-photo.jpg"),
            data=varied.photograph("Permis de conduire", person, 8_100),
        ),
        replace(
            extra(dossiers[5], 82, "MANDAT", "Mandat au professionnel (Word)", "mandat.docx"), data=varied.docx(mandate)
        ),
    ]
    last = lines[-1].batch
    again = replace(lines[0], batch=last, outcome=DUPLICATE)
    return _ordered([*lines, *sent, *bad, again])


def _mairie() -> list[_Line]:
    dossiers = mairie.dossiers()
    lines = _good("mairie", dossiers)
    extra = _extra(lines)
    wrong = hashlib.sha256(b"another file").hexdigest()
    notice = mairie.decision(2)
    bad = [
        replace(
            extra(dossiers[1], 4, "ARRETE", "Arrêté (PDF/A)", "arrete-pdfa.pdf"), data=_as_pdfa(mairie.decision(1))
        ),
        replace(
            extra(dossiers[0], 91, "PCMI7", "Photographie proche", "photo-proche.pdf"),
            data=notice,
            digest=wrong,
            outcome="DIGEST_MISMATCH",
        ),
        replace(
            extra(dossiers[2], 92, "PCMI8", "Photographie lointaine", "photo-lointaine.pdf"),
            size=str(len(notice)),
            digest=hashlib.sha256(notice).hexdigest(),
            outcome="FILE_MISSING",
        ),
        replace(
            extra(dossiers[4], 93, "PCMI3", "Plan de coupe", "plan-de-coupe.pdf"),
            data=mairie.decision(4),
            size="douze kilo-octets",
            outcome="MANIFEST_LINE_BAD",
        ),
        replace(
            extra(dossiers[5], 94, "PCMI5", "Façades et toitures", "facades.pdf"),
            data=notice[: len(notice) // 2],
            outcome="DAMAGED",
        ),
    ]
    opinion = ["Avis du service des eaux : favorable", "Avis de l'architecte-conseil : réservé", "Voir le plan joint"]
    notice_text = ["Notice descriptive (exemple)", "Le terrain descend vers le sud et ne porte aucune construction."]
    sent = [
        replace(
            extra(dossiers[3], 81, "AVIS", "Avis des services, télécopiés", "avis.tif"),
            data=varied.fax("Avis des services", [opinion, opinion[:1]], 8_200),
        ),
        replace(
            extra(dossiers[3], 82, "PCMI4", "Notice descriptive (LibreOffice)", "notice.odt"),
            data=varied.odt(notice_text),
        ),
        replace(
            extra(dossiers[6], 83, "PCMI2", "Plan de masse au format A1", "plan-a1.pdf"),
            data=varied.large_plan("Plan de masse, échelle 1/200", 8_300),
        ),
        replace(
            extra(dossiers[6], 84, "ARRETE", "Arrêté signé électroniquement", "arrete-signe.pdf"),
            data=varied.signed(mairie.decision(6)),
        ),
    ]
    last = lines[-1].batch
    again = replace(lines[3], batch=last, outcome=DUPLICATE)
    other = replace(
        lines[0], batch=last, file="formulaire-modifie.pdf", data=mairie.request(7), outcome="REFERENCE_CONFLICT"
    )
    return _ordered([*lines, *sent, *bad, again, other])


def _extra(lines: list[_Line]) -> Callable[[Dossier, int, str, str, str], _Line]:
    """Give a maker of further lines in the batch and with the prefix of the dossier's own lines."""

    def make(dossier: Dossier, rank: int, piece: str, title: str, file: str) -> _Line:
        first = next(line for line in lines if line.dossier == dossier.number)
        reference = f"{first.reference[:-2]}{rank:02d}"
        return _Line(first.batch, dossier.number, reference, piece, title, file, None)

    return make


def _ordered(lines: list[_Line]) -> list[_Line]:
    """Sort by batch, keeping the order inside a batch."""
    return sorted(lines, key=lambda line: line.batch)


def _zip() -> bytes:
    """Build a ZIP file that its sender calls a PDF."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as package:
        package.writestr(
            zipfile.ZipInfo("attestation.txt", (2026, 3, 2, 9, 0, 0)), "Attestation d'assurance (exemple).\n"
        )
    return target.getvalue()


def _as_pdfa(document: bytes) -> bytes:
    """Turn a drawn paper into PDF/A-2b, for a piece that arrives in this form."""
    from tasks.pdfa import convert_pdf

    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "source.pdf", Path(directory) / "target.pdf"
        source.write_bytes(document)
        answer = convert_pdf(str(source), str(target))
        if answer["rung"] != "pdfa-structural":
            raise RuntimeError(f"the sample did not become PDF/A: {answer}")
        return target.read_bytes()

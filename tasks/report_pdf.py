"""The integrity report for people: what `report.json` says, in French and English, PDF/A (integrity-report-v1.md)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from minutier.integrity_report import IntegrityReport, SealKind
from tasks.pages import Block, Both, Fields, Grid, Heading, Notice, Sheet, draw

_STEPS_FR = (
    "fichier de preuve lisible, borné, dans la seule forme admise",
    "la liste nomme exactement les fichiers, avec leurs empreintes",
    "la description est dans la seule forme admise et décrit ces fichiers",
    "la description porte un cachet (scellement), d’un certificat admis à la date du premier horodatage",
    "l’enregistrement de preuve porte sur ces fichiers, exactement",
    "les contremarques de temps sont admises, et renouvelées à temps",
    "le journal consigne cette description",
    "l’état du journal est signé par une clé admise",
    "les fichiers d’accompagnement disent la même chose",
)
_VERDICT_FR = {
    "PASSED": "conforme", "FAILED": "non conforme", "INDETERMINATE": "indéterminé", "NOT_REACHED": "non atteint",
}  # fmt: skip
_SUBJECTS_FR = {
    "NO_TRUST_ANCHOR": "Aucun certificat racine donné", "NO_JOURNAL_KEY": "Aucune clé du journal donnée",
    "REVOCATION_UNKNOWN": "Révocation non connue", "ALGORITHM_ENDED": "Algorithme qui n’est plus admis",
    "JOURNAL_ALGORITHM_ENDED": "Algorithme du journal qui n’est plus admis", "RENEWAL_LATE": "Renouvellement tardif",
    "CERTIFICATE_MISMATCH": "Certificats joints", "CHECKPOINT": "État signé du journal",
    "CONTAINER": "Fichier de preuve", "CRL": "Liste de révocation", "EVIDENCE": "Enregistrement de preuve",
    "FILE": "Fichiers présents", "INCLUSION": "Place au journal", "INDEX": "Liste des fichiers",
    "JOURNAL": "Inscription au journal", "KIT": "Textes et programmes joints", "MANIFEST": "Description du document",
    "MANIFEST_OBJECT": "Document", "OCSP": "Réponse sur la révocation", "ROOT": "Certificat racine",
    "SEAL": "Cachet", "SEAL2": "Second cachet", "TOKEN": "Contremarque de temps",
}  # fmt: skip
_TONES = {"PASSED": "good", "FAILED": "bad", "INDETERMINATE": "open"}
_SEALS = {
    SealKind.ABSENT.value: (
        "Rapport sans cachet (non scellé) : fait par un vérificateur qui n’en a pas.",
        "Unsealed: made by a verifier without seal.",
    ),
    SealKind.DEVELOPMENT.value: (
        "Cachet de développement, sans valeur juridique.",
        "Development seal, no legal value.",
    ),
    SealKind.GIVEN.value: (
        "Porte un cachet (fichiers .p7s). Qualification du cachet non contrôlée ici.",
        "Sealed (.p7s files). Qualification of the seal not checked here.",
    ),
}
_LEGAL = Both(
    "Règlement (UE) n° 910/2014, articles insérés par le règlement (UE) 2024/1183. Article 45 decies (45i), § 2 : la"
    " présomption d’intégrité et d’origine, que seul emporte un service d’archivage électronique qualifié. Article 45"
    " undecies (45j), § 1, point d) : ce service délivre de façon automatisée un rapport qui la confirme, du début de"
    " la conservation au retrait, et qui porte le cachet ou la signature qualifiés du prestataire.",
    "Regulation (EU) No 910/2014, articles inserted by Regulation (EU) 2024/1183. Article 45i(2): the presumption of"
    " integrity and origin, which only a qualified electronic archiving service gives. Article 45j(1)(d): that service"
    " delivers, in an automated manner, a report that confirms it from the beginning of the preservation to the"
    " retrieval, and that bears the provider’s qualified seal or signature.",
)


def draw_report(report: IntegrityReport) -> bytes:
    """Draw the report; the same report gives the same bytes. IntegrityFailureError PAGE_NOT_PDFA as `pages.draw`."""
    value = report.value
    seal_fr, seal_en = _SEALS[value["issuer"]["seal"]]
    word = value["verdict"]
    presumed = value["presumption"]
    blocks: list[Block] = [
        Notice(f"{word} ({_VERDICT_FR[word]}) – {presumed['fr']}", f"{word} – {presumed['en']}", _TONES[word]),
        Notice(seal_fr, seal_en, "plain" if value["issuer"]["seal"] == SealKind.GIVEN.value else "bad"),
        *_subject(value),
        Heading("Les neuf contrôles", "The nine checks"),
        Grid((0.05, 0.4, 0.37, 0.18), [("N°", "Contrôle", "Check", "Verdict"), *_steps(value)]),
        *_findings(value),
        *_algorithms(value),
        Heading("Jugé d’après", "Judged by"),
        Fields(_anchors(value)),
        Heading("Base légale", "Legal basis"),
        _LEGAL,
    ]
    digest = hashlib.sha256(report.body).hexdigest()
    return draw(
        Sheet(
            "Rapport d’intégrité",
            "Integrity report",
            f"{value['issued_at']} – {value['facts'].get('archive_id', value['proof']['sha256'])}",
            blocks,
            f"report.json, SHA-256 {digest}",
            datetime.fromisoformat(value["issued_at"]),
        )
    )


def _subject(value: dict[str, Any]) -> list[Block]:
    period, document, proof = value["period"], value["document"], value["proof"]
    rows = [
        ("Fichier de preuve, SHA-256", "Proof file, SHA-256", f"{proof['sha256']} – {proof['size']} octets/bytes"),
        *_fingerprints(document),
        ("Début de conservation, selon l’archive", "Start, says the archive", period["start"] or "?"),
        ("Existait, selon l’autorité d’horodatage", "Existed, says the authority", period["dated_since"] or "?"),
        ("Horodatages renouvelés", "Time-stamps renewed", period["renewed_at"] or "aucun / none"),
        ("Retrait et contrôle", "Retrieval and check", period["end"]),
        ("Cachet de", "Sealed by", value["facts"].get("sealed_by", "?")),
        ("Horodaté par", "Time-stamped by", value["facts"].get("timestamped_by", "?")),
        ("Rapport émis par", "Report issued by", value["issuer"]["sealed_by"] or value["issuer"]["software"]),
    ]
    return [Heading("Objet", "Subject"), Fields(rows)]


def _fingerprints(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    found, described = document.get("fingerprint", "?"), document.get("described", "")
    rows = [("Empreintes du document tel que trouvé", "Fingerprints as found", found.replace("+", " + "))]
    if described not in ("", found):
        rows.append(("Empreintes attendues", "Fingerprints expected", described.replace("+", " + ")))
    return rows


def _steps(value: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (str(step["number"]), french, step["title"], f"{step['verdict']} ({_VERDICT_FR[step['verdict']]})")
        for step, french in zip(value["steps"], _STEPS_FR, strict=True)
    ]


def _findings(value: dict[str, Any]) -> list[Block]:
    if not value["findings"]:
        return []
    head = (("Code", "ETSI EN 319 102-1"), "Où / Where", "Constat / Finding")
    # The names of the standard are long: a column that holds the longest, so that none is cut.
    rows = [
        (
            (item["code"], item["indication"], item["sub_indication"]),
            item["where"],
            (f"{_subject_fr(item['code'])} : {_VERDICT_FR[item['verdict']]}.", item["message"]),
        )
        for item in value["findings"]
    ]
    return [Heading("Constats", "Findings"), Grid((0.4, 0.22, 0.38), [head, *rows])]


def _subject_fr(code: str) -> str:
    """Say in French what a finding is about: by its code, else by the first word of it."""
    return _SUBJECTS_FR.get(code) or _SUBJECTS_FR.get(code.partition("_")[0], "Contrôle")


def _algorithms(value: dict[str, Any]) -> list[Block]:
    if not value["algorithms"]:
        return []
    words = {"counts": "admis / counts", "ended": "n’est plus admis / ended"}
    head = ("Algorithme / Algorithm", "État / Status", "Jusqu’au / Until")
    rows = [
        (item["name"], words[item["status"]], item["until"] or "sans échéance / no end known")
        for item in value["algorithms"]
    ]
    title = Heading("Algorithmes de la dernière preuve", "Algorithms of the last evidence")
    return [title, Grid((0.4, 0.35, 0.25), [head, *rows])]


def _anchors(value: dict[str, Any]) -> list[tuple[str, str, str]]:
    anchors = value["anchors"]
    rows = [("Certificat racine, SHA-256", "Root certificate, SHA-256", item) for item in anchors["roots"]]
    rows += [("Clé du journal", "Journal key", item) for item in anchors["journal_keys"]]
    rows.append(("Dates des algorithmes", "Dates of algorithms", anchors["algorithm_dates"]))
    if not anchors["roots"]:
        rows.insert(0, ("Certificat racine", "Root certificate", "aucun / none"))
    return rows

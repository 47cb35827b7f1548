"""The integrity report for people: what `report.json` says, in French and English, PDF/A (integrity-report-v1.md)."""

from __future__ import annotations

import hashlib
from typing import Any

from minutier.integrity_report import IntegrityReport, SealKind
from tasks.pages import Block, Both, Fields, Grid, Heading, Notice, Sheet, draw

_STEPS_FR = (
    "fichier de preuve lisible, borné, dans sa seule forme",
    "la liste nomme exactement les fichiers, avec leurs empreintes",
    "la description est dans sa seule forme et décrit ces fichiers",
    "la description est scellée, par un certificat admis à la date du premier horodatage",
    "l’enregistrement de preuve porte sur ces fichiers, exactement",
    "les contremarques de temps sont admises, et renouvelées à temps",
    "le journal consigne cette description",
    "l’état du journal est signé par une clé admise",
    "les fichiers d’accompagnement disent la même chose",
)
_VERDICT_FR = {
    "PASSED": "tient", "FAILED": "ne tient pas", "INDETERMINATE": "indéterminé", "NOT_REACHED": "non atteint",
}  # fmt: skip
_TONES = {"PASSED": "good", "FAILED": "bad", "INDETERMINATE": "open"}
_SEALS = {
    SealKind.ABSENT.value: (
        "Rapport non scellé : fait par un vérificateur sans cachet.",
        "Unsealed: made by a verifier without seal.",
    ),
    SealKind.DEVELOPMENT.value: (
        "Cachet de développement, sans valeur juridique.",
        "Development seal, no legal value.",
    ),
    SealKind.GIVEN.value: (
        "Scellé (fichiers .p7s). Qualification du cachet non contrôlée ici.",
        "Sealed (.p7s files). Qualification of the seal not checked here.",
    ),
}
_LEGAL = Both(
    "Base : règlement (UE) n° 910/2014, article 45j, paragraphe 1, point d), inséré par le règlement (UE) 2024/1183. Un"
    " service d’archivage électronique qualifié délivre de façon automatisée un rapport confirmant la présomption"
    " d’intégrité, du début de la conservation au retrait ; le rapport porte le cachet ou la signature qualifiés du"
    " prestataire.",
    "Basis: Regulation (EU) No 910/2014, article 45j(1)(d), inserted by Regulation (EU) 2024/1183. A qualified"
    " electronic archiving service gives, in an automated manner, a report that confirms the presumption of integrity"
    " from the beginning of the preservation to the retrieval; the report bears the provider’s qualified seal or"
    " signature.",
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
        )
    )


def _subject(value: dict[str, Any]) -> list[Block]:
    period, document, proof = value["period"], value["document"], value["proof"]
    rows = [
        ("Fichier de preuve, SHA-256", "Proof file, SHA-256", f"{proof['sha256']} – {proof['size']} octets/bytes"),
        ("Document, empreintes", "Document, fingerprints", document.get("fingerprint", "?").replace("+", " + ")),
        ("Début de conservation, selon l’archive", "Start, says the archive", period["start"] or "?"),
        ("Daté par un tiers depuis", "Dated by a third party since", period["dated_since"] or "?"),
        ("Horodatages renouvelés", "Time-stamps renewed", period["renewed_at"] or "–"),
        ("Retrait et contrôle", "Retrieval and check", period["end"]),
        ("Scellé par", "Sealed by", value["facts"].get("sealed_by", "?")),
        ("Horodaté par", "Time-stamped by", value["facts"].get("timestamped_by", "?")),
        ("Rapport émis par", "Report issued by", value["issuer"]["sealed_by"] or value["issuer"]["software"]),
    ]
    return [Heading("Objet", "Subject"), Fields(rows)]


def _steps(value: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (str(step["number"]), french, step["title"], f"{step['verdict']} ({_VERDICT_FR[step['verdict']]})")
        for step, french in zip(value["steps"], _STEPS_FR, strict=True)
    ]


def _findings(value: dict[str, Any]) -> list[Block]:
    if not value["findings"]:
        return []
    head = ("Code", "Où / Where", "Constat / Finding", "ETSI EN 319 102-1")
    rows = [
        (item["code"], item["where"], item["message"], f"{item['indication']} {item['sub_indication']}")
        for item in value["findings"]
    ]
    return [Heading("Constats", "Findings"), Grid((0.25, 0.2, 0.32, 0.23), [head, *rows])]


def _algorithms(value: dict[str, Any]) -> list[Block]:
    if not value["algorithms"]:
        return []
    words = {"counts": "admis / counts", "ended": "n’est plus admis / ended"}
    head = ("Algorithme / Algorithm", "État / Status", "Jusqu’au / Until")
    rows = [(item["name"], words[item["status"]], item["until"] or "–") for item in value["algorithms"]]
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

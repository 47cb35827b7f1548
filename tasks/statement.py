"""The statement that goes with a proof: one page or two for people, French and English, PDF/A, sealed by the archive.

It says what the files of the proof say and adds nothing to them: what counts is the verification. The caller seals it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256

from minutier import canonical, evidence, timestamp
from minutier.certificates import name_of
from minutier.events import format_time
from minutier.proof import ProofParts, statement_mark
from tasks.pages import Block, Both, Fields, Heading, Notice, Sheet, draw

_DEVELOPMENT = "no legal value"
_VERDICTS = Both(
    "PASSED : tout est vérifié. FAILED : un contrôle au moins ne tient pas, il est nommé, et le document ne vaut pas"
    " preuve. INDETERMINATE : rien n’est contredit, mais il manque de quoi juger (certificat racine, clé du journal,"
    " liste de révocation, algorithme encore admis).",
    "PASSED: everything holds. FAILED: at least one check does not hold, it is named, and the document is no proof."
    " INDETERMINATE: nothing is contradicted, but something needed to judge is missing (root certificate, journal key,"
    " revocation list, an algorithm that still counts).",
)
_CHECKS = (
    Both(
        "1. Dans le dossier décompressé, avec openssl et les outils usuels : sh verify.sh RACINE.pem",
        "1. In the unzipped folder, with openssl and the usual tools: sh verify.sh ROOT.pem",
    ),
    Both(
        "2. Sur le fichier .zip, avec Python et openssl : python3 verify.py --root RACINE.pem --journal-key"
        " JOURNAL.vkey PREUVE.zip",
        "2. On the .zip file, with Python and openssl: python3 verify.py --root ROOT.pem --journal-key JOURNAL.vkey"
        " PROOF.zip",
    ),
    Both(
        "3. Avec le paquet Minutier : python -m minutier verify PREUVE.zip --trust RÉPERTOIRE",
        "3. With the Minutier package: python -m minutier verify PROOF.zip --trust DIRECTORY",
    ),
    Both(
        "Les trois suivent les mêmes neuf étapes. Prenez les programmes sur les pages de l’archive, non dans un fichier"
        " dont vous doutez.",
        "All three follow the same nine steps. Take the programs from the archive’s pages, not from a file that you"
        " doubt.",
    ),
)
_TRUST = Both(
    "Le certificat racine décide qui l’on croit. Demandez son empreinte à l’archive, ou à l’autorité qui l’a émis, par"
    " une autre voie que ce fichier, et comparez-la à celle-ci.",
    "The root certificate decides who is believed. Ask the archive, or the authority that issued it, for its"
    " fingerprint by another way than this file, and compare it with this one.",
)


def make_statement(parts: ProofParts, at: datetime) -> bytes:
    """Draw the statement of a proof as of `at`; the same parts and time give the same bytes.

    ValueError when the manifest is not canonical; IntegrityFailureError when a token is not whole.
    """
    described = canonical.decode(parts.manifest)
    tokens = [timestamp.inspect_token(stamp.token) for stamp in evidence.decode_record(parts.record).stamps]
    authorities = [name_of(item) for item in (*parts.seal_chain, *parts.token_chain, *parts.roots)]
    blocks: list[Block] = []
    if any(_DEVELOPMENT in name for name in authorities):
        blocks.append(
            Notice(
                "Sans valeur juridique : une autorité de développement a signé. Ceci n’est qu’un essai.",
                "No legal value: a development authority signed. This is a trial only.",
                "bad",
            )
        )
    blocks += _what(described)
    blocks += _when(described, tokens, at)
    blocks += _who(parts, tokens)
    blocks += [Heading("Ce que valent les verdicts", "What the verdicts mean"), _VERDICTS]
    blocks += [Heading("Comment vérifier", "How to check"), *_CHECKS]
    return draw(
        Sheet(
            "Fiche de preuve d’un document archivé",
            "Statement of proof of an archived document",
            f"Document {described['archive_id']}",
            blocks,
            "Cette fiche répète ce que disent les fichiers de la preuve. / It repeats what the files of the proof say.",
            statement_mark(parts.manifest).decode(),
        )
    )


def _what(described: dict[str, Any]) -> list[Block]:
    rows: list[tuple[str, str, str]] = [
        ("Coffre", "Safe", described["safe"]),
        ("Référence du déposant", "Depositor’s reference", described["reference"]),
        ("Déposant", "Depositor", described["depositor"]),
    ]
    if described["dossier"]:
        rows.append(("Dossier", "Dossier", described["dossier"]))
    names = {"original": ("Document déposé", "Document deposited"), "rendition": ("Copie de lecture", "Reading copy")}
    for item in described["objects"]:
        fr, en = names[item["role"]]
        rows.append((fr, en, f"{item['name']} – {item['media_type']} – {item['size']} octets/bytes"))
        rows.append(("Empreinte SHA-256", "SHA-256 fingerprint", item["sha256"]))
        rows.append(("Empreinte SHA3-512", "SHA3-512 fingerprint", item["sha3_512"]))
    return [Heading("Quoi, et par qui", "What, and by whom"), Fields(rows)]


def _when(described: dict[str, Any], tokens: Sequence[timestamp.TimestampToken], at: datetime) -> list[Block]:
    rows = [
        ("Déposé, selon l’archive", "Deposited, says the archive", described["deposited_at"]),
        ("Existait, selon un tiers", "Existed, says a third party", _dated(tokens[0])),
    ]
    rows += [("Horodatage renouvelé", "Time-stamp renewed", _dated(token)) for token in tokens[1:]]
    rows += [
        ("Conservé au moins jusqu’au", "Kept at least until", described["retention"]["until"]),
        ("Date de cette fiche", "Date of this page", format_time(at)),
    ]
    return [Heading("Quand (UTC)", "When (UTC)"), Fields(rows)]


def _dated(token: timestamp.TimestampToken) -> str:
    return f"{format_time(token.gen_time)} – {name_of(token.signer)}"


def _who(parts: ProofParts, tokens: Sequence[timestamp.TimestampToken]) -> list[Block]:
    rows = [
        ("Scellé par", "Sealed by", name_of(parts.seal_chain[0])),
        ("Horodaté par", "Time-stamped by", ", ".join(dict.fromkeys(name_of(token.signer) for token in tokens))),
        ("Journal", "Journal", f"{parts.entry_index + 1} / {parts.tree_size} – {_origin(parts)}"),
        ("Empreinte de la description", "Fingerprint of the description", hashlib.sha256(parts.manifest).hexdigest()),
    ]
    for root in parts.roots:
        value = f"{name_of(root)} – SHA-256 {root.fingerprint(SHA256()).hex()}"
        rows.append(("Certificat racine", "Root certificate", value))
    return [Heading("Qui en répond", "Who vouches for it"), Fields(rows), _TRUST]


def _origin(parts: ProofParts) -> str:
    return parts.checkpoint.partition(b"\n")[0].decode("utf-8", "replace")

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
from tasks.pages import Block, Both, Command, Fields, Heading, Notice, Sheet, draw

_DEVELOPMENT = "no legal value"
_VERDICTS = Both(
    "PASSED : tout est vérifié. FAILED : un contrôle au moins ne tient pas, il est nommé, et ce dossier ne"
    " prouve rien. INDETERMINATE : rien n’est contredit, mais il manque de quoi juger (certificat racine, clé du"
    " journal, liste de révocation, algorithme encore admis).",
    "PASSED: everything holds. FAILED: at least one check does not hold, it is named, and this file proves nothing."
    " INDETERMINATE: nothing is contradicted, but something needed to judge is missing (root certificate, journal key,"
    " revocation list, an algorithm that still counts).",
)
_CHECKS = (
    Command("1. Dossier décompressé", "unzipped folder", "sh verify.sh ROOT.pem JOURNAL.vkey"),
    Command(
        "2. Fichier .zip", "the .zip file", "python3 verify.py --root ROOT.pem --journal-key JOURNAL.vkey PROOF.zip"
    ),
    Command("3. Paquet Minutier", "the package", "python -m minutier verify PROOF.zip --trust DIRECTORY"),
    Both(
        "ROOT.pem (certificat racine) et JOURNAL.vkey (clé publique du journal) : obtenus par vous-même ; DIRECTORY :"
        " un dossier qui contient les deux. Les façons 1 et 2 demandent openssl ; toutes suivent les mêmes neuf étapes."
        " Prenez les programmes sur les pages de l’archive, non dans un fichier dont vous doutez.",
        "ROOT.pem (root certificate) and JOURNAL.vkey (the journal’s public key): obtained by yourself; DIRECTORY: a"
        " folder that holds both. Ways 1 and 2 need openssl; all follow the same nine steps. Take the programs from"
        " the archive’s pages, not from a file that you doubt.",
    ),
)
_BLIND = Notice(
    "Document chiffré par le déposant ; la preuve porte sur le fichier chiffré. Pour le lier au texte en clair :"
    " P.opening.json, que remet le détenteur de la clé (voir README.fr.txt).",
    "Document encrypted by the depositor; the proof is about the encrypted file. To link it to the text in clear:"
    " P.opening.json, which the holder of the key gives (see README.en.txt).",
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
    if described["screening"].get("mode") == "blind":
        blocks.append(_BLIND)
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
            at,
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
        ("Existait, selon l’autorité d’horodatage", "Existed, says the authority", _dated(tokens[0])),
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
        ("Cachet (scellement) de", "Sealed by", name_of(parts.seal_chain[0])),
        ("Horodaté par", "Time-stamped by", ", ".join(dict.fromkeys(name_of(token.signer) for token in tokens))),
        ("Journal", "Journal", f"{_place(parts)} – {_origin(parts)}"),
        ("Empreinte de la description", "Fingerprint of the description", hashlib.sha256(parts.manifest).hexdigest()),
    ]
    for root in parts.roots:
        value = f"{name_of(root)} – SHA-256 {root.fingerprint(SHA256()).hex()}"
        rows.append(("Certificat racine", "Root certificate", value))
    return [Heading("Qui en répond", "Who vouches for it"), Fields(rows), _TRUST]


def _place(parts: ProofParts) -> str:
    number, size = parts.entry_index + 1, parts.tree_size
    return f"inscription n° {number} sur {size} / entry no. {number} of {size}"


def _origin(parts: ProofParts) -> str:
    return parts.checkpoint.partition(b"\n")[0].decode("utf-8", "replace")

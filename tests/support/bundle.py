"""A whole proof, made as the archive makes one, and the means to alter it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from minutier import canonical, der, merkle, proof
from minutier.checkpoint import Checkpoint, sign_checkpoint
from minutier.container import open_container, pack
from minutier.events import Event, encode_entry
from minutier.evidence import build_batch, encode_record, initial_record
from minutier.fingerprint import fingerprint_bytes
from minutier.manifest import Description, Part, encode_manifest
from minutier.proof import ProofParts, assemble
from minutier.seal import seal, second_seal
from minutier.timestamp import build_request, inspect_token
from minutier.trust import Trust
from storage.dev_tsa import issue_token
from tests.support.pki import NONCE, NOW, Pki, SecondSigner, default_pki

ARCHIVE_ID = "0193a2f0-7c11-7abc-8def-0123456789ab"
ORIGINAL = b"%PDF-1.7 the document as it was deposited\n" * 20
RENDITION = b"%PDF-1.7 the rendition\n" * 20


def trust_of(pki: Pki) -> Trust:
    return Trust((pki.root,), (pki.note_key,))


def make_parts(
    pki: Pki | None = None,
    *,
    original: bytes = ORIGINAL,
    rendition: bytes | None = RENDITION,
    batch: int = 5,
    moment: datetime = NOW,
    archive_id: str = ARCHIVE_ID,
    second: SecondSigner | None = None,
) -> ProofParts:
    """Make the parts of a proof: the third document of a batch, the fourth entry of a journal of seven."""
    pki = pki or default_pki()
    described = [Part("original", "dossier 12/façade.pdf", "application/pdf", fingerprint_bytes(original))]
    if rendition is not None:
        described.append(Part("rendition", "rendition.pdf", "application/pdf", fingerprint_bytes(rendition)))
    manifest = encode_manifest(
        Description(
            archive_id=archive_id,
            safe="demo",
            lifecycle_class="default",
            reference='R-12 "role":"original"',
            dossier="12",
            depositor="mairie",
            deposited_at=moment - timedelta(minutes=1),
            retain_until=moment + timedelta(days=1826),
            metadata={"titre": "Façade"},
            screening={"verdict": "accepted"},
            rendition={"verdict": "passed"},
            software={"minutier": "0"},
        ),
        described,
    )
    sealed = seal(manifest, pki.signer, moment)
    objects = [original, *([rendition] if rendition is not None else []), manifest, sealed]
    second_sealed = second_seal(manifest, second, moment) if second else None
    objects += [second_sealed] if second_sealed else []
    group = [hashlib.sha256(data).digest() for data in objects]
    others = [[hashlib.sha256(bytes((index, side))).digest() for side in (0, 1)] for index in range(batch - 1)]
    groups = [*others[:2], group, *others[2:]]
    root, paths = build_batch(groups)
    response = issue_token(build_request(root, NONCE), pki.tsa_key, [pki.tsa], moment, 4)
    token = proof_token(response)
    entry = encode_entry(
        Event.DEPOSIT_COMMITTED,
        event_uuid="7a1f0a51-0b7a-4f7e-9b39-6a2f1f1e8f10",
        at=moment,
        actor="minutier",
        archive_id=archive_id,
        safe="demo",
        details={"manifest_sha256": hashlib.sha256(manifest).hexdigest(), "objects": 4},
    )
    leaves = [merkle.leaf_hash(bytes((index,))) for index in range(7)]
    leaves[3] = merkle.leaf_hash(entry)
    tree_root = merkle.root(leaves)
    note = sign_checkpoint(Checkpoint(pki.note_key.name, 7, tree_root), pki.note_key, pki.journal_key.sign)
    return ProofParts(
        archive_id=archive_id,
        original=original,
        original_extension="pdf",
        rendition=rendition,
        manifest=manifest,
        seal=sealed,
        record=encode_record(initial_record(paths[groups.index(group)], token)),
        seal_chain=pki.signer.chain,
        token_chain=[inspect_token(token).signer],
        roots=[pki.root],
        crls={"root": pki.crl.public_bytes(Encoding.DER)},
        entry=entry,
        entry_index=3,
        tree_size=7,
        tree_root=tree_root,
        inclusion_path=merkle.inclusion_proof(leaves, 3),
        checkpoint=note,
        second_seal=second_sealed,
        second_chain=[*second.chain, second.root] if second else (),
    )


def committed_at(parts: ProofParts, at: str) -> ProofParts:
    """Give the parts with the commit entry of another time, alone in a journal signed by the default PKI."""
    pki, entry = default_pki(), with_json(parts.entry, at=at)
    root = merkle.leaf_hash(entry)
    note = sign_checkpoint(Checkpoint(pki.note_key.name, 1, root), pki.note_key, pki.journal_key.sign)
    return replace(parts, entry=entry, entry_index=0, tree_size=1, tree_root=root, inclusion_path=[], checkpoint=note)


def proof_token(response: bytes) -> bytes:
    """Take the token out of a response."""

    return der.read(response).children()[1].encoded


def make_bundle(target: Path, pki: Pki | None = None, **options) -> Path:
    assemble(make_parts(pki, **options), target)
    return target


def unpack(bundle: Path) -> dict[str, bytes]:
    with open_container(bundle) as container:
        return {path: container.read(path) or b"" for path in container.entries}


def repack(files: Mapping[str, bytes], target: Path, *, reindex: bool = True) -> Path:
    """Pack altered files canonically, with an index that fits them, as a careful forger would."""
    chosen = dict(files)
    if reindex:
        chosen.pop(proof.INDEX, None)
        archive_id = json.loads(files[proof.INDEX])["archive_id"]
        chosen[proof.INDEX] = proof.encode_index(archive_id, chosen)
    pack(chosen, target)
    return target


def with_json(data: bytes, **changes) -> bytes:
    """Give canonical JSON with some members replaced."""
    return canonical.encode({**canonical.decode(data), **changes})

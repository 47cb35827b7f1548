"""What every target starts from: the proof, keys and tokens kept in `corpus/`, made once by `write_seeds`.

The private keys are thrown away, so no run can sign in their name: an input that passes and is not one of the seeds is
a forgery.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from minutier import evidence, proof
from minutier.age import X25519, Identity, generate_identity
from minutier.age_stream import encrypt_bytes
from minutier.blind import encode_opening, encode_statement
from minutier.certificates import load_pem
from minutier.fingerprint import fingerprint_bytes
from minutier.trust import Trust, load_trust
from tests.support.bundle import make_bundle, unpack
from tests.support.full_bundle import FULL_JUDGED_AT, make_full_bundle
from tests.support.pki import NOW, make_response, new_pki, new_second_signer, write_trust

CORPUS = Path(__file__).parent / "corpus"
ANCHORS = Path(__file__).parent / "anchors"
JUDGED_AT: datetime = FULL_JUDGED_AT


@cache
def anchors() -> Trust:
    return load_trust(ANCHORS)


@cache
def proofs() -> tuple[dict[str, bytes], ...]:
    """Give the files of the two good proofs: the full one first, the smallest one second."""
    return tuple(unpack(CORPUS / "bundle" / f"{name}.zip") for name in ("full", "plain"))


def kept(target: str) -> list[Path]:
    """Give the kept inputs of a target."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def write_seeds() -> None:
    """Make proofs under new keys and spread their parts over the corpora; what fuzzing has found stays."""
    pki, second = new_pki("Fuzz", NOW), new_second_signer()
    write_trust(ANCHORS, pki)
    (ANCHORS / "second.pem").write_bytes(second.root.public_bytes(Encoding.PEM))
    with tempfile.TemporaryDirectory() as place:
        full = make_full_bundle(Path(place) / "full.zip", pki, second)
        plain = make_bundle(Path(place) / "plain.zip", pki, rendition=None, batch=1)
        _put("bundle", "full.zip", full.read_bytes())
        _put("bundle", "plain.zip", plain.read_bytes())
        files, small = unpack(full), unpack(plain)
    for number, stamp in enumerate(evidence.decode_record(files[proof.RECORD]).stamps, 1):
        _put("token", f"token-{number}", stamp.token)
        _put("token", f"response-{number}", make_response(stamp.token))
    for name in (proof.SEAL, proof.SECOND_SEAL, proof.STATEMENT_SEAL):
        _put("seal", name, files[name])
    for name, source in ((proof.RECORD, files), ("plain.ers", small), (proof.ANCHOR, files)):
        _put("record", Path(name).name, source.get(name, source[proof.RECORD]))
    for name in (proof.MANIFEST, proof.ENTRY, proof.INCLUSION, proof.INDEX):
        _put("manifest", Path(name).name, files[name])
    _put("checkpoint", "checkpoint.txt", files[proof.CHECKPOINT])
    _put("checkpoint", "journal.vkey", (ANCHORS / "journal.vkey").read_bytes())
    _put("certificates", "root.crl", files["revocation/root.crl"])
    _put("certificates", "tsa.ocsp", files["revocation/tsa.ocsp"])
    for name in (proof.ROOTS, proof.SEAL_CHAIN, proof.TOKEN_CHAIN, proof.SECOND_CHAIN):
        _put("certificates", Path(name).name, files[name])
        _put("certificates", Path(name).stem + ".der", _der_of(files[name]))
    key = generate_identity()
    opening = encode_opening(fingerprint_bytes(b"clear"), bytes(32))
    statement = encode_statement(
        fingerprint_bytes(b"hidden"), opening, key.recipient, [str(key.recipient)], media_type="text/plain", client="x"
    )
    _put("blind", "statement.json", statement)
    _put("blind", "opening.json", opening)
    _put("blind", "recipient", str(key.recipient).encode())
    _put("blind", "document.age", encrypt_bytes(b"clear", [fixed_identity().recipient]))
    _put("blind", "identity", fixed_identity().text().encode())


def fixed_identity() -> Identity:
    """Give the identity that opens the kept age file."""
    return Identity(X25519, bytes(range(32)))


def _der_of(pem: bytes) -> bytes:
    return load_pem(pem)[0].public_bytes(Encoding.DER)


def _put(target: str, name: str, data: bytes) -> None:
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(data)


def archive_id(files: dict[str, bytes]) -> str:
    return str(json.loads(files[proof.INDEX])["archive_id"])

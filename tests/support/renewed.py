"""Proofs of version 2 with renewals, written here from the pages on formats and not by the code of the archive."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from minutier import algorithms, canonical, der, kit
from minutier.container import pack
from tests.support.bundle import make_bundle, unpack
from tests.support.pki import PSS_SHA256, TIME_STAMPING, Key, Pki, issue, make_crl, make_info, make_token, new_key

DAY = timedelta(days=1)
MEMBERS = ("document/", "manifest.json")


@dataclass(frozen=True)
class Stamp:
    """One archive time-stamp: hash of its chain, lists of its path, token; and whether it begins a chain."""

    algorithm: str
    path: list[list[bytes]]
    token: bytes
    begins: bool


@dataclass(frozen=True)
class Renewal:
    """What the next archive time-stamp is: "time" or "tree", when, by whom, in a batch of how many."""

    kind: str
    moment: datetime
    tsa: x509.Certificate
    key: Key
    batch: int = 3
    algorithm: str = "sha3_512"
    pss: bool = False
    bare: bool = False
    """Whether the token embeds no certificate (certReq false)."""
    beside: tuple[x509.Certificate, ...] = ()
    """Certificates that are in certificates/tsa.pem only."""


def long_pki(moment: datetime, *, tsa_days: int = 300) -> Pki:
    """Make a PKI whose root lives thirty years from `moment`, and its authority for `tsa_days`."""
    start = moment - 30 * DAY
    root_key, tsa_key, seal_key = new_key(), new_key(), new_key()
    root = issue("Long root", root_key, ca=True, start=start, end=moment + 30 * 365 * DAY)
    tsa = issue(
        "Long TSA 1", tsa_key, issuer=(root, root_key), eku=TIME_STAMPING, start=start, end=moment + tsa_days * DAY
    )
    seal = issue(
        "Long seal", seal_key, issuer=(root, root_key), non_repudiation=True, start=start, end=moment + 365 * DAY
    )
    crl = make_crl(root, root_key, start=start, end=moment + 60 * DAY)
    return Pki(root_key, root, tsa_key, tsa, seal_key, seal, ed25519.Ed25519PrivateKey.generate(), crl)


def next_tsa(pki: Pki, moment: datetime, days: int = 300, key: Key | None = None) -> tuple[x509.Certificate, Key]:
    """Issue the next certificate of the authority, with a key of its own."""
    key = key or new_key()
    certificate = issue(
        f"Long TSA {moment:%Y-%m-%d}", key, issuer=(pki.root, pki.root_key), eku=TIME_STAMPING,
        start=moment - DAY, end=moment + days * DAY,
    )  # fmt: skip
    return certificate, key


def members(files: Mapping[str, bytes]) -> list[bytes]:
    """Give the files of the data group."""
    return [data for path, data in files.items() if path.startswith(MEMBERS)]


def climb(first: list[bytes], batch: int, algorithm: str) -> tuple[list[list[bytes]], bytes]:
    """Make a path of one sibling per level, and the value that it leads to."""

    def value(*hashes: bytes) -> bytes:
        return hashlib.new(algorithm, b"".join(sorted(hashes))).digest()

    path = [sorted(first)]
    top = first[0] if len(first) == 1 else value(*first)
    for level in range((batch - 1).bit_length()):
        sibling = hashlib.new(algorithm, bytes((level,)) * 7).digest()
        path.append([sibling])
        top = value(top, sibling)
    return path, top


def der_of(stamps: Sequence[Stamp]) -> bytes:
    """Write the ArchiveTimeStampSequence."""
    chains: list[list[bytes]] = []
    for stamp in stamps:
        lists = b"".join(der.sequence(*(der.octets(item) for item in hashes)) for hashes in stamp.path)
        algorithm = der.tlv(0xA0, der.read(algorithms.hash_identifier(stamp.algorithm)).content)
        if stamp.begins:
            chains.append([])
        chains[-1].append(der.sequence(algorithm, der.context(2, lists), stamp.token))
    return der.sequence(*(der.sequence(*chain) for chain in chains))


def record_of(stamps: Sequence[Stamp]) -> bytes:
    """Write the EvidenceRecord."""
    used = dict.fromkeys(stamp.algorithm for stamp in stamps)
    return der.sequence(
        der.integer(1), der.sequence(*(algorithms.hash_identifier(name) for name in used)), der_of(stamps)
    )


def text_of(path: Sequence[Sequence[bytes]]) -> bytes:
    return "".join(" ".join(item.hex() for item in hashes) + "\n" for hashes in path).encode()


def renew(files: Mapping[str, bytes], pki: Pki, renewals: Sequence[Renewal]) -> dict[str, bytes]:
    """Give the files of a proof with these renewals, in version 2, without index."""
    result = {path: data for path, data in files.items() if path != "proof.json"}
    first = [[bytes.fromhex(item) for item in line.split()] for line in files["path.txt"].decode().splitlines()]
    stamps = [Stamp("sha256", first, files["token.tst"], begins=True)]
    certificates = [files["certificates/tsa.pem"]]
    for number, renewal in enumerate(renewals, 2):
        tree = renewal.kind == "tree"
        algorithm = renewal.algorithm if tree else stamps[-1].algorithm

        def hashed(data: bytes, name: str = algorithm) -> bytes:
            return hashlib.new(name, data).digest()

        if tree:
            ha = hashed(der_of(stamps))
            leaf = [hashed(hashed(data) + ha) for data in members(files)]
        else:
            leaf = [hashed(stamps[-1].token)]
        path, root = climb(leaf, renewal.batch, algorithm)
        info = make_info(
            root,
            gen_time=renewal.moment,
            serial=100 + number,
            imprint_algorithm=algorithms.hash_identifier(algorithm),
        )
        token = make_token(
            pki,
            info,
            certificate=renewal.tsa,
            key=renewal.key,
            signature_algorithm=PSS_SHA256 if renewal.pss else None,
            embedded=[] if renewal.bare else None,
        )
        stamps.append(Stamp(algorithm, path, token, begins=tree))
        for item in (renewal.tsa, *renewal.beside):
            pem = item.public_bytes(Encoding.PEM)
            if pem not in certificates:
                certificates.append(pem)
        result[f"renewals/{number:02}.path.txt"] = text_of(path)
        result[f"renewals/{number:02}.tst"] = token
        crl = make_crl(pki.root, pki.root_key, start=renewal.moment - DAY, end=renewal.moment + 60 * DAY)
        result[f"revocation/root-{number}.crl"] = crl.public_bytes(Encoding.DER)
    result.setdefault("verify.py", kit.VERIFY_PY.encode())
    result["evidence.ers"] = record_of(stamps)
    result["certificates/tsa.pem"] = b"".join(certificates)
    return result


def with_index(files: Mapping[str, bytes], archive_id: str) -> dict[str, bytes]:
    """Add proof.json in version 2."""
    listed = [
        {"path": path, "sha256": hashlib.sha256(files[path]).hexdigest(), "size": len(files[path])}
        for path in sorted(files)
        if path != "proof.json"
    ]
    index = canonical.encode({"format": "minutier-proof/2", "archive_id": archive_id, "files": listed})
    return {**files, "proof.json": index}


def renewed_files(
    folder: Path, pki: Pki, moment: datetime, renewals: Sequence[Renewal], archive_id: str, **options: object
) -> dict[str, bytes]:
    """Make a proof as the archive makes one, then renew it."""
    files = unpack(make_bundle(folder / "fresh.zip", pki, moment=moment, **options))
    return with_index(renew(files, pki, renewals), archive_id)


def written(files: Mapping[str, bytes], folder: Path) -> Path:
    """Lay the files out in a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pack_files(files: Mapping[str, bytes], target: Path) -> Path:
    pack(files, target)
    return target


def ocsp_answer(
    pki: Pki,
    certificate: x509.Certificate,
    issued: datetime,
    *,
    spoil: bool = False,
    revoked: datetime | None = None,
    reason: x509.ReasonFlags | None = None,
    days: int = 5,
) -> bytes:
    """Make an OCSP response of the root for a certificate: good, or revoked since a time."""
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate, pki.root, hashes.SHA1(), status, issued, issued + days * DAY, revoked, reason
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, pki.root)
    made = builder.sign(pki.root_key, hashes.SHA256()).public_bytes(Encoding.DER)
    return made[:-1] + bytes((made[-1] ^ 1,)) if spoil else made  # the last byte is of the signature

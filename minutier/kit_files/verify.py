#!/usr/bin/env python3
"""Checks one proof of an archived document, offline. Needs Python 3.8 or later and the command openssl 3.0 or later.

    python3 verify.py [--root ROOT.pem]... [--journal-key JOURNAL.vkey]... [--algorithms ALGORITHMS.json]
                      [--at TIME] [--json] PROOF.zip|FOLDER

ROOT.pem and JOURNAL.vkey are the root certificate and the journal's key that you obtained and checked yourself: those
in the proof are never believed. It was written from the pages on formats (docs/format/), apart from the program of the
archive, so that one may be held against the other. The numbers of the steps are those of the other two verifiers:

 1. The container is readable, bounded and in its only form.
 2. proof.json lists exactly the files present, with their digests.
 3. The manifest is canonical; its objects are the files, by both digests and size.
 4. The seal is over the manifest, by a certificate good at the time of the first token under a given root.
 5. The evidence record is about exactly these files, renewals included; path texts and tokens say the same.
 6. Each token is over the root of its path and good at its own time under a given root; each renewal came in time.
 7. The journal entry commits this document and this manifest; its inclusion proof leads to the checkpoint's root.
 8. The checkpoint is signed by a given journal key.
 9. The files that are there for convenience agree with what was verified.

Exit: 0 PASSED, everything holds; 1 FAILED, something does not; 3 INDETERMINATE, something needed to judge is missing;
2 the command was misused. What is done by openssl: signatures, and paths of certificates. All else is done here.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, BinaryIO, Iterator

TITLES = (
    "container readable, bounded, canonical",
    "index lists exactly the files, with their digests",
    "manifest canonical, its objects are the files",
    "seal over the manifest, trusted at the time of the first token",
    "evidence record about exactly these files",
    "time-stamp tokens trusted, over the evidence, renewed in time",
    "journal entry commits this manifest, included under the checkpoint",
    "checkpoint signed by a trusted journal key",
    "accompanying files agree with what was verified",
)
UTC = timezone.utc
SKEW = timedelta(minutes=5)
SMALL, PIECE, MAX_FILES = 8 << 20, 1 << 20, 512
PATH = re.compile(r"(?:[a-z]{1,20}/)?[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
REQUIRED = (
    "proof.json", "manifest.json", "manifest.json.p7s", "evidence.ers", "path.txt", "token.tst", "journal/entry.json",
    "journal/inclusion.json", "journal/checkpoint.txt", "certificates/seal.pem", "certificates/tsa.pem",
    "certificates/root.pem", "README.fr.txt", "README.en.txt", "verify.sh",
)  # fmt: skip
OPTIONAL = re.compile(
    r"document/rendition\.pdf|document/original(?:\.[a-z0-9]{1,10})?|revocation/[A-Za-z0-9_-]{1,40}\.crl"
)
LATER = re.compile(  # version 2 of the proof
    r"renewals/[0-9]{2,3}\.(?:path\.txt|tst)|revocation/[A-Za-z0-9_-]{1,40}\.ocsp|verify\.py|statement\.pdf(?:\.p7s)?"
    r"|manifest\.json\.mldsa65\.p7s|certificates/seal-mldsa65\.pem|journal/anchor\.ers"
)
HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3_256", "2.16.840.1.101.3.4.2.9": "sha3_384", "2.16.840.1.101.3.4.2.10": "sha3_512",
}  # fmt: skip
TREE_SIZES, TREE_OIDS = {"sha256": 32, "sha3_512": 64}, {"sha256": "01", "sha3_512": "0a"}
SIGNATURES = {  # the hash that the identifier fixes; None: that of the signer's digest
    "1.2.840.10045.4.3.2": ("ecdsa", "sha256"), "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
    "1.2.840.10045.4.3.4": ("ecdsa", "sha512"), "2.16.840.1.101.3.4.3.10": ("ecdsa", "sha3_256"),
    "2.16.840.1.101.3.4.3.11": ("ecdsa", "sha3_384"), "2.16.840.1.101.3.4.3.12": ("ecdsa", "sha3_512"),
    "1.2.840.113549.1.1.1": ("rsa-pkcs1", None), "1.2.840.113549.1.1.11": ("rsa-pkcs1", "sha256"),
    "1.2.840.113549.1.1.12": ("rsa-pkcs1", "sha384"), "1.2.840.113549.1.1.13": ("rsa-pkcs1", "sha512"),
    "1.2.840.113549.1.1.10": ("rsa-pss", None), "1.3.101.112": ("ed25519", None), "1.3.101.113": ("ed448", None),
    "2.16.840.1.101.3.4.3.18": ("ml-dsa-65", None),
}  # fmt: skip
CURVES = {
    "1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35", "1.3.36.3.3.2.8.1.1.7", "1.3.36.3.3.2.8.1.1.11",
    "1.3.36.3.3.2.8.1.1.13",
}  # fmt: skip
# Until when they count, after ETSI TS 119 312 V2.1.1 (2026-02); --algorithms brings a newer list.
ENDS = dict.fromkeys((*TREE_SIZES, *HASHES.values(), "ecdsa", "rsa-pss", "ed25519", "ed448", "ml-dsa-65"), "")
ENDS.update({"rsa-pkcs1": "2034-01-01", "rsa-2048": "2026-04-01"})
CT_DATA, CT_SIGNED, CT_TST = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
A_TYPE, A_DIGEST, A_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
A_ESS = "1.2.840.113549.1.9.16.2.47"
KEY_USAGE, BASIC, EXTENDED = "2.5.29.15", "2.5.29.19", "2.5.29.37"
TIME_STAMPING, SEALING = "1.3.6.1.5.5.7.3.8", {"1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36"}
# RFC 3161 §4: after these reasons a token made before the revocation stands.
HARMLESS = {0, 3, 4, 5}


class Refused(Exception):
    """One check that did not hold: its code, and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


# --- DER, strict (ITU-T X.690) ----------------------------------------------------------------------------------------


class Element:
    """One element: tag octet, content, whole encoding."""

    def __init__(self, tag: int, body: bytes, raw: bytes) -> None:
        self.tag, self.body, self.raw = tag, body, raw

    def all(self, tag: int | None = None) -> list[Element]:
        """Read the content as a run of elements; with `tag`, the element must carry it."""
        if (tag is not None and self.tag != tag) or not self.tag & 0x20:
            raise ValueError(f"another DER element was expected, 0x{self.tag:02x} found")
        return read_all(self.body)

    def fields(self, tag: int = 0x30) -> Fields:
        return Fields(self.all(tag))

    def set_of(self, tag: int = 0x31) -> list[Element]:
        found = self.all(tag)
        if not found or any(a.raw >= b.raw for a, b in zip(found, found[1:])):
            raise ValueError("a SET OF is empty, or not sorted")
        return found

    def integer(self, tag: int = 0x02) -> int:
        if self.tag != tag or not self.body or self.body[:2] in (b"\x00", b"\xff") and len(self.body) > 1:
            raise ValueError("not an INTEGER")
        if len(self.body) > 1 and (self.body[0], self.body[1] >> 7) in ((0, 0), (255, 1)):
            raise ValueError("INTEGER is not minimal")
        return int.from_bytes(self.body, "big", signed=True)

    def oid(self) -> str:
        if self.tag != 0x06 or not self.body or self.body[-1] & 0x80:
            raise ValueError("not an OBJECT IDENTIFIER")
        arcs, value, start = [], 0, True
        for octet in self.body:
            if start and octet == 0x80:
                raise ValueError("OBJECT IDENTIFIER is not minimal")
            value, start = value << 7 | octet & 0x7F, not octet & 0x80
            if start:
                arcs.append(value)
                value = 0
        top = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in [top, arcs[0] - 40 * top] + arcs[1:])

    def time(self) -> datetime:
        text = self.body.decode("ascii")
        if self.tag == 0x17:  # UTCTime: 1950 to 2049
            text = ("19" if text[:1] >= "5" else "20") + text
        match = re.fullmatch(r"(\d{14})(?:\.(\d{0,5}[1-9]))?Z", text)
        if self.tag not in (0x17, 0x18) or match is None:
            raise ValueError("not a time")
        whole = datetime.strptime(match.group(1), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return whole + timedelta(microseconds=int((match.group(2) or "0").ljust(6, "0")))


class Fields:
    """The fields of a SEQUENCE, in order."""

    def __init__(self, items: list[Element]) -> None:
        self.items = items

    def next(self, tag: int | None = None) -> Element:
        if not self.items or (tag is not None and self.items[0].tag != tag):
            raise ValueError("a DER field is missing")
        return self.items.pop(0)

    def maybe(self, tag: int) -> Element | None:
        return self.items.pop(0) if self.items and self.items[0].tag == tag else None

    def end(self) -> None:
        if self.items:
            raise ValueError("a DER field too many")


def read_all(data: bytes) -> list[Element]:
    found, at = [], 0
    while at < len(data):
        if len(data) - at < 2 or data[at] & 0x1F == 0x1F:
            raise ValueError("DER is cut, or has a high tag")
        size, start = data[at + 1], at + 2
        if size >= 0x80:
            count = size - 0x80
            size = int.from_bytes(data[start : start + count], "big")
            if not 1 <= count <= 4 or data[start : start + 1] == b"\x00" or size < 0x80:
                raise ValueError("a DER length is not minimal")
            start += count
        if len(data) - start < size:
            raise ValueError("DER is cut")
        found.append(Element(data[at], data[start : start + size], data[at : start + size]))
        at = start + size
    return found


def read(data: bytes) -> Element:
    found = read_all(data)
    if len(found) != 1:
        raise ValueError("one DER element was expected")
    return found[0]


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def hash_of(element: Element) -> str:
    """Give the name of the hash of an AlgorithmIdentifier; parameters are absent or NULL."""
    fields = element.fields(element.tag)
    name = HASHES.get(fields.next().oid())
    fields.maybe(0x05)
    fields.end()
    if name is None:
        raise Refused("ALGORITHM", "A hash that is not on the list.")
    return name


# --- openssl ----------------------------------------------------------------------------------------------------------


class OpenSsl:
    """Runs the command in a folder of its own; inputs are files there, and no setting of the machine is read."""

    def __init__(self) -> None:
        hidden = ("OPENSSL_MODULES", "SSL_CERT_FILE", "SSL_CERT_DIR")
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environment["OPENSSL_CONF"] = os.devnull  # no setting of this computer has a say
        said = self.run("version")[1].rpartition("Library: ")[2].split()
        self.version = tuple(int(part) for part in re.findall(r"\d+", said[1] if len(said) > 1 else "0")[:2])
        if said[:1] != ["OpenSSL"] or self.version < (3, 0):
            raise OSError("openssl 3.0 or later is needed")

    def run(self, *arguments: str, **files: bytes) -> tuple[bool, str, bytes]:
        """Run openssl; `{name}` in an argument is the file with these bytes, `{out}` where it may write."""
        with tempfile.TemporaryDirectory() as folder:
            places = {name: str(Path(folder, name)) for name in [*files, "out"]}
            for name, data in files.items():
                Path(places[name]).write_bytes(data)
            command = ["openssl"] + [argument.format(**places) for argument in arguments]
            done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  check=False, timeout=60)  # fmt: skip
            out = Path(places["out"])
            written = out.read_bytes() if out.exists() else b""
            return done.returncode == 0, done.stdout.decode("utf-8", "replace"), written


# --- certificates and lists -------------------------------------------------------------------------------------------


class Certificate:
    """What is read of an X.509 certificate (RFC 5280)."""

    def __init__(self, raw: bytes) -> None:
        outer = read(raw).fields()
        body = outer.next(0x30).fields()
        outer.next(0x30)
        if outer.next(0x03).body[:1] != b"\x00" or body.next(0xA0).body != b"\x02\x01\x02":
            raise ValueError("not an X.509 certificate of version 3")
        outer.end()
        number = body.next()
        self.raw, self.serial, self.serial_raw = raw, number.integer(), number.raw
        self.signature = body.next(0x30).fields().next().oid()
        self.issuer = body.next(0x30).raw
        start, end = body.next(0x30).all()
        self.start, self.end = start.time(), end.time()
        self.subject = body.next(0x30).raw
        self.key = body.next(0x30)
        self.extensions: dict[str, tuple[bool, bytes]] = {}
        extensions = body.items[-1] if body.items and body.items[-1].tag == 0xA3 else None
        for item in read(extensions.body).all(0x30) if extensions else ():
            fields = item.fields()
            name, critical = fields.next().oid(), fields.maybe(0x01)
            if name in self.extensions:
                raise ValueError("a certificate has an extension twice")
            self.extensions[name] = (critical is not None, fields.next(0x04).body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def pem(self) -> bytes:
        text = base64.b64encode(self.raw).decode()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]).encode()

    @property
    def name(self) -> str:
        """The values of the subject, for people; nothing is decided by it."""
        values = [list(pair.all())[1].body for part in read(self.subject).all() for pair in part.all()]
        text = ", ".join(value.decode("utf-8", "replace") for value in values)
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    @property
    def key_kind(self) -> str:
        """Give rsa, ecdsa, ed25519, ed448, ml, or nothing known."""
        kind = self.key.all()[0].all()[0].oid()
        named = {"1.2.840.113549.1.1.1": "rsa", "1.2.840.10045.2.1": "ecdsa"}
        return named.get(kind, SIGNATURES.get(kind, ("",))[0].partition("-")[0])

    @property
    def is_ca(self) -> bool:
        found = read(self.extensions[BASIC][1]).all() if BASIC in self.extensions else []
        return bool(found) and found[0].raw == b"\x01\x01\xff"

    def usage(self, bit: int) -> bool:
        """Say whether a key usage (0 digitalSignature, 1 nonRepudiation, 6 cRLSign) is allowed; no list allows all."""
        if KEY_USAGE not in self.extensions:
            return True
        body = read(self.extensions[KEY_USAGE][1]).body
        return len(body) > 1 + bit // 8 and bool(body[1 + bit // 8] & 0x80 >> bit % 8)

    def purposes(self) -> tuple[bool, list[str]]:
        critical, value = self.extensions.get(EXTENDED, (False, b"\x30\x00"))
        return critical, [item.oid() for item in read(value).all()]

    def algorithms(self, *, root: bool) -> list[str]:
        """Name what trust in this certificate rests on; ValueError for a key that is not on the list."""
        kind, *rest = self.key.all()[0].all()
        found = kind.oid()
        names = []
        if found == "1.2.840.113549.1.1.1":
            modulus = read(self.key.all()[1].body[1:]).all()[0].integer().bit_length()
            if modulus < 2048:
                raise ValueError(f"an RSA key of {modulus} bits")
            names += ["rsa-2048"] if modulus < 3000 else []
        elif not (found == "1.2.840.10045.2.1" and rest[0].oid() in CURVES or found in SIGNATURES):
            raise ValueError("a key that is not on the list")
        if not root and self.signature not in SIGNATURES:
            raise ValueError("a certificate signed by an algorithm that is not on the list")
        family, hashed = SIGNATURES.get(self.signature, ("", None))
        return names if root else [*names, family, *([hashed] if hashed else [])]


def read_pem(data: bytes) -> list[Certificate]:
    """Read a PEM file of certificates in its only form: each once, 64 columns, nothing else."""
    pattern = rb"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n"
    found = [Certificate(base64.b64decode(item, validate=False)) for item in re.findall(pattern, data)]
    if not found or b"".join(item.pem for item in dict.fromkeys(found)) != data:
        raise ValueError("not a PEM file of certificates in its only form")
    return found


def load_roots(data: bytes) -> list[Certificate]:
    """Read the verifier's own PEM file, which may hold text around."""
    pattern = rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
    return [Certificate(base64.b64decode(item)) for item in re.findall(pattern, data)]


class RevocationList:
    """What is read of a revocation list (RFC 5280 §5)."""

    def __init__(self, raw: bytes) -> None:
        outer = read(raw).fields()
        body = outer.next(0x30).fields()
        outer.next(0x30)
        if outer.next(0x03).body[:1] != b"\x00":
            raise ValueError("the signature is not a whole number of octets")
        outer.end()
        self.raw = raw
        body.maybe(0x02)
        self.signature = body.next(0x30).fields().next().oid()
        self.issuer = body.next(0x30).raw
        self.issued = body.next().time()
        self.until = body.next().time() if body.items and body.items[0].tag in (0x17, 0x18) else None
        self.entries: dict[int, tuple[datetime, int | None]] = {}
        revoked, extensions = body.maybe(0x30), body.maybe(0xA0)
        body.end()
        listed = read(extensions.body).all(0x30) if extensions else []
        self.plain = all(item.all()[1].tag != 0x01 for item in listed)  # no critical extension
        for item in revoked.all() if revoked else ():
            fields = item.fields()
            serial, when, more, reason = fields.next().integer(), fields.next().time(), fields.maybe(0x30), None
            for extension in more.all() if more else ():
                parts = extension.all()
                if parts[0].oid() == "2.5.29.21":
                    reason = read(parts[-1].body).integer(0x0A)
            self.entries[serial] = (when, reason)


# --- CMS: seals and tokens (RFC 5652, RFC 5035, RFC 3161) -------------------------------------------------------------


class Signed:
    """A SignedData with one signer, its structure and digests checked; the signature is openssl's to check."""

    def __init__(self, raw: bytes, expected: str, content: bytes | None, pool: list[Certificate]) -> None:
        info = read(raw).fields()
        if info.next().oid() != CT_SIGNED:
            raise ValueError("not SignedData")
        fields = read(info.next(0xA0).body).fields()
        info.end()
        version = fields.next().integer()
        listed = [hash_of(item) for item in fields.next().set_of()]
        inner = fields.next(0x30).fields()
        content_type, wrapped = inner.next().oid(), inner.maybe(0xA0)
        inner.end()
        embedded = fields.maybe(0xA0)
        fields.maybe(0xA1)
        signers = fields.next().set_of()
        fields.end()
        if version not in (1, 3) or len(signers) != 1:
            raise Refused("SIGNER", "One signer is expected.")
        self.raw = raw
        self.embedded = [Certificate(item.raw) for item in embedded.set_of(0xA0)] if embedded else []
        signer = signers[0].fields()
        if signer.next().integer() != 1:
            raise ValueError("the signer is not named by issuer and serial number")
        issuer, serial = signer.next(0x30).all()
        named = [item for item in dict.fromkeys(self.embedded or pool)
                 if (item.issuer, item.serial) == (issuer.raw, serial.integer())]  # fmt: skip
        if len(named) != 1:
            raise Refused("SIGNER", f"The signer names {len(named)} certificates.")
        self.signer = named[0]
        self.hash = hash_of(signer.next())
        attributes = signer.next(0xA0)
        algorithm = signer.next(0x30).fields().next().oid()
        signer.next(0x04)
        signer.maybe(0xA1)
        signer.end()
        if algorithm not in SIGNATURES or SIGNATURES[algorithm][1] not in (None, self.hash) or self.hash not in listed:
            raise Refused("ALGORITHM", "The signature algorithm is not on the list, or not that of its digest.")
        self.family = SIGNATURES[algorithm][0]
        if self.family.partition("-")[0] != self.signer.key_kind:
            raise Refused("ALGORITHM", "The signature algorithm is not that of the signer's key.")
        self.attributes: dict[str, Element] = {}
        for item in attributes.set_of(0xA0):
            name, values = item.all(0x30)
            if name.oid() in self.attributes or len(values.set_of()) != 1:
                raise ValueError("a signed attribute comes twice")
            self.attributes[name.oid()] = values.set_of()[0]
        attribute = self.attributes.get(A_TYPE)
        if content_type != expected or attribute is None or attribute.oid() != expected:
            raise Refused("CONTENT_TYPE", "The content is of another type.")
        if (wrapped is None) != (content is not None):
            raise ValueError("detached where it should hold its content, or the reverse")
        self.content = content if content is not None else read(wrapped.body if wrapped else b"").body
        digest = self.attributes.get(A_DIGEST)
        if digest is None or digest.raw != tlv(0x04, hashlib.new(self.hash, self.content).digest()):
            raise Refused("DIGEST", "The signed digest is not that of the content.")
        self._check_ess()

    def _check_ess(self) -> None:
        """signingCertificateV2: the first certificate it names is the signer's (RFC 5035 §3, §4)."""
        try:
            fields = self.attributes[A_ESS].all(0x30)[0].all(0x30)[0].fields()
            algorithm = fields.maybe(0x30)
            named = fields.next(0x04).body
            place = fields.maybe(0x30)
            fields.end()
        except (KeyError, IndexError, ValueError) as error:
            raise Refused("ESS", "signingCertificateV2 is missing or not readable.") from error
        if named != hashlib.new(hash_of(algorithm) if algorithm else "sha256", self.signer.raw).digest():
            raise Refused("ESS", "signingCertificateV2 names another certificate.")
        named_by = tlv(0x30, tlv(0xA4, self.signer.issuer)), self.signer.serial_raw
        if place is not None and place.raw != tlv(0x30, *named_by):
            raise Refused("ESS", "signingCertificateV2 names another issuer or serial number.")

    def check_purpose(self, *, stamps: bool) -> None:
        critical, purposes = self.signer.purposes()
        fits = critical and purposes == [TIME_STAMPING] if stamps else not purposes or SEALING & set(purposes)
        if not fits or self.signer.is_ca or not (self.signer.usage(0) or self.signer.usage(1)):
            raise Refused("PURPOSE", f"{self.signer.name} is not a certificate for this.")


class Token(Signed):
    """A time-stamp token: TSTInfo (RFC 3161 §2.4.2)."""

    def __init__(self, raw: bytes, pool: list[Certificate]) -> None:
        super().__init__(raw, CT_TST, None, pool)
        self.check_purpose(stamps=True)
        fields = read(self.content).fields()
        if fields.next().integer() != 1:
            raise ValueError("TSTInfo is version 1")
        fields.next().oid()
        imprint = fields.next().fields()
        self.imprint_hash, self.imprint = hash_of(imprint.next()), imprint.next(0x04).body
        imprint.end()
        fields.next().integer()
        self.time = fields.next(0x18).time()
        accuracy = fields.maybe(0x30)
        self.accuracy = timedelta()
        parts = accuracy.fields() if accuracy else Fields([])
        for tag, unit, most in ((0x02, "seconds", 86400), (0x80, "milliseconds", 999), (0x81, "microseconds", 999)):
            item = parts.maybe(tag)
            value = item.integer(tag) if item else 0
            if not 0 <= value <= most:
                raise ValueError("accuracy is out of bounds")
            self.accuracy += timedelta(**{unit: value})
        parts.end()
        ordering, nonce = fields.maybe(0x01), fields.maybe(0x02)
        if (ordering and ordering.body != b"\xff") or (nonce and nonce.integer() < 0):
            raise ValueError("TSTInfo is not in DER, or its nonce is negative")
        fields.maybe(0xA0)
        extensions = fields.maybe(0xA1)
        fields.end()
        if extensions and any(item.all()[1].tag == 0x01 for item in extensions.all()):
            raise ValueError("TSTInfo has a critical extension")


# --- evidence record (RFC 4998, docs/format/evidence-v2.md) -----------------------------------------------------------


class Stamp:
    """One archive time-stamp: hash of its chain, lists, token; `older` is the DER of all older chains."""

    def __init__(self, element: Element) -> None:
        fields = element.fields()
        self.hash = hash_of(fields.next(0xA0))
        self.path = [[item.body for item in hashes.all(0x30) if item.tag == 0x04 or fail("not a hash")]
                     for hashes in fields.next(0xA2).all()]  # fmt: skip
        self.token = fields.next(0x30).raw
        fields.end()
        size = TREE_SIZES.get(self.hash)
        if not 1 <= len(self.path) <= 64 or any(len(item) != size for hashes in self.path for item in hashes):
            raise ValueError("a hash has not the length of its algorithm")
        if not 1 <= len(self.path[0]) <= 64 or any(len(hashes) != 1 for hashes in self.path[1:]):
            raise ValueError("a list above the first holds one sibling")

    def combine(self, hashes: list[bytes]) -> bytes:
        return hashes[0] if len(hashes) == 1 else hashlib.new(self.hash, b"".join(sorted(hashes))).digest()

    @property
    def root(self) -> bytes:
        value = self.combine(self.path[0])
        for hashes in self.path[1:]:
            value = self.combine([value, *hashes])
        return value

    @property
    def text(self) -> bytes:
        return "".join(" ".join(item.hex() for item in hashes) + "\n" for hashes in self.path).encode()


def fail(message: str) -> bool:
    raise ValueError(message)


def read_record(data: bytes) -> list[list[Stamp]]:
    """Read an EvidenceRecord of this profile: chains of archive time-stamps, in the one form they can have."""
    fields = read(data).fields()
    version, listed = fields.next().integer(), [item.raw for item in fields.next().all(0x30)]
    chains = [[Stamp(stamp) for stamp in chain.all(0x30)] for chain in fields.next().all(0x30)]
    fields.end()
    if len(data) > 512 << 10 or version != 1 or not 1 <= len(chains) <= 8:
        raise ValueError("not an evidence record of this profile")
    used = []
    for number, chain in enumerate(chains):
        if not 1 <= len(chain) <= 32 or len({stamp.hash for stamp in chain}) != 1:
            raise ValueError("a chain has one algorithm, and 1 to 32 time-stamps")
        if number and chain[0].hash == chains[number - 1][0].hash:
            raise ValueError("a new chain has another algorithm")
        for index, stamp in enumerate(chain):
            if (len(stamp.path[0]) == 1) != (index > 0) or stamp.path[0] != sorted(stamp.path[0]):
                raise ValueError("a first list is not that of its place, or not sorted")
        used.append(bytes.fromhex("300b06096086480165030402" + TREE_OIDS[chain[0].hash]))
    if listed != list(dict.fromkeys(used)):
        raise ValueError("digestAlgorithms does not list the algorithms of the chains")
    return chains


def older_chains(data: bytes, count: int) -> bytes:
    """Give the DER of the ArchiveTimeStampSequence of the first `count` chains, for ha of a hash-tree renewal."""
    return tlv(0x30, *(chain.raw for chain in read(data).all()[2].all()[:count]))


# --- the container (docs/format/proof-v1.md §1) -----------------------------------------------------------------------


class Zip:
    """A .zip file in its only form: stored, sorted, nothing between. Nothing is unpacked to the disk."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.places: dict[str, tuple[int, int, int]] = {}
        whole, at, before, directory = stream.seek(0, 2), 0, "", b""
        while True:
            stream.seek(at)
            head = stream.read(30)
            if head[:4] == b"PK\x01\x02" and self.places:
                break
            if not at and head[:2] != b"PK":
                raise Refused("CONTAINER_NOT_CANONICAL", "This is not a .zip file: give the proof as it was received.")
            if len(head) < 30 or len(self.places) >= MAX_FILES or at > 0xFFFFFFFE:
                raise Refused("CONTAINER_NOT_CANONICAL", "The file ends in a header, or holds too many files.")
            crc, size, _, length, _ = struct.unpack("<3I2H", head[14:])
            name = stream.read(min(length, 101)).decode("ascii", "replace")
            only = struct.pack("<5H3I2H", 20, 0, 0, 0, 33, crc, size, size, len(name), 0)
            if head[4:] != only or head[:4] != b"PK\x03\x04" or not PATH.fullmatch(name) or len(name) > 100:
                raise Refused("CONTAINER_NOT_CANONICAL", "A header or a path is not in its only form; if another "
                              "program packed it again, check the .zip as it was received.")  # fmt: skip
            if name <= before or (size > SMALL and not name.startswith("document/")):
                raise Refused("CONTAINER_NOT_CANONICAL", f"{name} comes out of order, or is too large.")
            mode = (0o100755 if name.endswith(".sh") else 0o100644) << 16
            directory += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 0x0314, 20, 0, 0, 0, 33, crc, size, size,
                                     len(name), 0, 0, 0, 0, mode, at) + name.encode()  # fmt: skip
            self.places[name] = (at + 30 + len(name), size, crc)
            at, before = at + 30 + len(name) + size, name
        count = len(self.places)
        directory += struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), at, 0)
        stream.seek(at)
        if whole > 0xFFFFFFFE or stream.read(len(directory) + 1) != directory:
            raise Refused("CONTAINER_NOT_CANONICAL", "The directory is not that of the files, or bytes follow it.")

    def pieces(self, name: str) -> Iterator[bytes]:
        start, left, crc = self.places[name]
        self.stream.seek(start)
        found = 0
        while left:
            piece = self.stream.read(min(left, PIECE))
            if not piece:
                raise Refused("CONTAINER_CRC", f"{name} became shorter.")
            found, left = zlib.crc32(piece, found), left - len(piece)
            yield piece
        if found != crc:
            raise Refused("CONTAINER_CRC", f"{name} was altered inside the container.")


class Folder:
    """An unzipped proof: plain files only, none followed elsewhere."""

    def __init__(self, root: Path) -> None:
        self.places: dict[str, Path] = {}
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_dir() and not path.is_symlink() and "/" not in name:
                continue
            if path.is_symlink() or not path.is_file() or not PATH.fullmatch(name) or len(self.places) >= MAX_FILES:
                raise Refused("CONTAINER_NOT_CANONICAL", "The folder holds something else than the files of a proof.")
            if path.stat().st_size > SMALL and not name.startswith("document/"):
                raise Refused("CONTAINER_NOT_CANONICAL", f"{name} is too large.")
            self.places[name] = path

    def pieces(self, name: str) -> Iterator[bytes]:
        with self.places[name].open("rb") as stream:
            while True:
                piece = stream.read(PIECE)
                if not piece:
                    return
                yield piece


# --- JSON in its only form (RFC 8785, docs/format/manifest-v1.md §1) --------------------------------------------------


def canonical(data: bytes, expected: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member comes twice")
        return found

    def write(value: Any) -> str:
        if isinstance(value, dict):
            names = sorted(value, key=lambda name: name.encode("utf-16-be"))
            return "{" + ",".join(write(name) + ":" + write(value[name]) for name in names) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(write, value)) + "]"
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError("a value of a kind that has no place here")
        return json.dumps(value, ensure_ascii=False)

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        if write(value).encode("utf-8") != data:
            raise ValueError("not in its only form (RFC 8785)")
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(value, dict) or not re.fullmatch(expected, str(value.get("format"))):
        raise ValueError("not of the format that was expected")
    return value


# --- the verification -------------------------------------------------------------------------------------------------


class Check:
    """One verification: what is given, what was found so far."""

    def __init__(self, source: Zip | Folder, given: argparse.Namespace, openssl: OpenSsl) -> None:
        self.source, self.openssl = source, openssl
        self.roots: list[Certificate] = given.roots
        self.keys: list[tuple[str, bytes, bytes]] = given.keys
        self.at: datetime = given.time
        self.ends: dict[str, str | None] = given.ends
        self.findings: list[dict[str, str]] = []
        self.facts: dict[str, str] = {}
        self.notes: list[str] = []
        self.measured: dict[str, tuple[str, str, int]] = {}
        self.small: dict[str, bytes] = {}
        self.lists: dict[str, RevocationList] = {}
        self.signed_lists: dict[tuple[bytes, bytes], bool] = {}
        self.archive_id: str | None = None
        self.manifest: dict[str, Any] | None = None
        self.seal: Signed | None = None
        self.chains: list[list[Stamp]] = []
        self.tokens: list[Token] = []

    def add(self, code: str, where: str, message: str, verdict: str = "FAILED") -> None:
        self.findings.append({"code": code, "where": where, "message": message, "verdict": verdict})

    @contextlib.contextmanager
    def guard(self, where: str, prefix: str, code: str = "FORMAT") -> Iterator[None]:
        """Turn what is not readable into a finding; a Refused without underscore gets the prefix."""
        try:
            yield
        except Refused as refused:
            whole = refused.code if "_" in refused.code and refused.code not in ("CONTENT_TYPE",) else ""
            self.add(whole or f"{prefix}_{refused.code}", where, refused.message)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            self.add(f"{prefix}_{code}", where, f"{where} is not readable: {error}.")

    def file(self, name: str) -> bytes:
        return self.small.get(name, b"")

    def pem(self, name: str) -> list[Certificate]:
        with contextlib.suppress(ValueError, IndexError):
            return read_pem(self.file(name))
        return []

    def run(self) -> tuple[str, list[dict[str, Any]]]:
        steps: list[dict[str, Any]] = [{"number": 1, "title": TITLES[0], "verdict": "PASSED"}]
        checks = (self.index, self.objects, self.sealing, self.evidence, self.stamps, self.journal, self.checkpoint,
                  self.accompanying)  # fmt: skip
        for number, check in enumerate(checks, 2):
            before = len(self.findings)
            check()
            steps.append({"number": number, "title": TITLES[number - 1], "verdict": verdict(self.findings[before:])})
        return verdict(self.findings), steps

    # 2. Files and index.
    def index(self) -> None:
        for name in self.source.places:
            first, second, size, kept = hashlib.sha256(), hashlib.sha3_512(), 0, []
            with self.guard(name, "CONTAINER", "CRC"):
                for piece in self.source.pieces(name):
                    first.update(piece)
                    second.update(piece)
                    size += len(piece)
                    if not name.startswith("document/"):
                        kept.append(piece)
            self.measured[name], self.small[name] = (first.hexdigest(), second.hexdigest(), size), b"".join(kept)
        format_of = 2
        with self.guard("proof.json", "INDEX"):
            index = canonical(self.file("proof.json"), r"minutier-proof/[12]")
            format_of, self.archive_id = int(index["format"][-1]), index["archive_id"]
            items = index["files"]
            listed = {item["path"]: item for item in items}
            if set(index) != {"format", "archive_id", "files"} or [item["path"] for item in items] != sorted(listed):
                raise ValueError("unknown members, or files that are not sorted")
            for name in sorted(set(listed) ^ (set(self.measured) - {"proof.json"})):
                self.add("INDEX_FILES", name, f"{name} is in the index or in the container, not in both.")
            for name, item in listed.items():
                if name in self.measured:
                    sha256, _, size = self.measured[name]
                    if item != {"path": name, "sha256": sha256, "size": size}:
                        self.add("INDEX_DIGEST", name, f"{name} is not the file that the index lists.")
        pairs = (("statement.pdf", "statement.pdf.p7s"),
                 ("manifest.json.mldsa65.p7s", "certificates/seal-mldsa65.pem"))  # fmt: skip
        lone = [other for pair in pairs for name, other in (pair, pair[::-1]) if name in self.measured]
        for name in sorted({*REQUIRED, *lone} - set(self.measured)):
            self.add("FILE_MISSING", name, f"{name} is missing.")
        originals = [name for name in self.measured if name.startswith("document/original")]
        if len(originals) != 1:
            self.add("FILE_MISSING", "document/original", f"{len(originals)} originals, one is expected.")
        for name in self.measured:
            known = name in REQUIRED or OPTIONAL.fullmatch(name) or (format_of == 2 and LATER.fullmatch(name))
            if not known:
                self.add("FILE_UNEXPECTED", name, f"{name} has no place in a proof.")
        self.original = originals[0] if originals else "document/original"
        for name in [item for item in self.measured if item.endswith(".crl")]:
            with self.guard(name, "CRL"):
                self.lists[name] = RevocationList(self.file(name))

    # 3. The manifest.
    def objects(self) -> None:
        with self.guard("manifest.json", "MANIFEST"):
            found = canonical(self.file("manifest.json"), "minutier-manifest/1")
            roles = [item["role"] for item in found["objects"]]
            if roles not in (["original"], ["original", "rendition"]):
                raise ValueError("objects are the original, then the rendition if there is one")
            self.manifest = found
            for name in ("archive_id", "safe", "deposited_at"):
                self.facts[name] = str(found[name])
            if found["archive_id"] != self.archive_id:
                self.add("MANIFEST_ID", "manifest.json", "The manifest and the index name different documents.")
            for role, item in zip(roles, found["objects"]):
                name = self.original if role == "original" else "document/rendition.pdf"
                if self.measured.get(name) != (item["sha256"], item["sha3_512"], item["size"]):
                    self.add("MANIFEST_OBJECT", name, f"{name} is not the document that the manifest describes.")
            if ("rendition" in roles) != ("document/rendition.pdf" in self.measured):
                self.add("MANIFEST_OBJECT", "document/rendition.pdf", "The rendition is in one place, not in both.")

    # What steps 4, 6 and 9 share: a signature, its certificates at a time of the past, revocation.
    def trust(self, signed: Signed, prefix: str, where: str, at: datetime, extra: list[Certificate]) -> None:
        stamps = isinstance(signed, Token)
        if signed.family in ("ed25519", "ed448", "ml-dsa-65") and self.openssl.version < (3, 5):
            self.add("ALGORITHM_UNSUPPORTED", where, f"This openssl cannot check {signed.family}; 3.5 or later can.",
                     "INDETERMINATE")  # fmt: skip
            return
        files = {"signed": signed.raw, "signer": signed.signer.pem, "content": signed.content,
                 "chain": b"".join(item.pem for item in [*signed.embedded, *extra]),
                 "roots": b"".join(root.pem for root in self.roots)}  # fmt: skip
        detached = [] if stamps else ["-binary", "-content", "{content}"]
        if not self.openssl.run("cms", "-verify", "-noverify", "-inform", "DER", "-in", "{signed}", *detached, "-out",
                                "{out}", "-no-CAfile", "-certfile", "{signer}", **files)[0]:  # fmt: skip
            raise Refused("SIGNATURE", "The signature does not verify.")
        if not self.roots:
            self.add("NO_TRUST_ANCHOR", where, "No root certificate was given: who signed is not known.",
                     "INDETERMINATE")  # fmt: skip
            return
        purpose = ["-purpose", "timestampsign"] if stamps else []
        done, said, _ = self.openssl.run("verify", "-CAfile", "{roots}", "-no-CApath", "-no-CAstore", "-untrusted",
                                         "{chain}", "-attime", str(int(at.timestamp())), *purpose, "{signer}",
                                         **files)  # fmt: skip
        if not done:
            reasons = re.findall(r"^error \d+ at \d+ depth lookup: (.*)$", said, re.MULTILINE)
            reason = reasons[0] if reasons else "no path"
            raise Refused("CHAIN", f"{signed.signer.name} is not good under your root at {utc(at)}: {reason}. "
                          "Or the root given is not the one of this archive: check it first.")  # fmt: skip
        path = self.climb(signed.signer, [*signed.embedded, *extra])
        for certificate in path:
            try:
                names = certificate.algorithms(root=certificate in self.roots)
            except (ValueError, IndexError) as error:
                raise Refused("ALGORITHM", f"{certificate.name}: {error}.") from error
            if "rsa-2048" in names and self.ended(["rsa-2048"], at):
                raise Refused("ALGORITHM", f"{certificate.name} has an RSA key that no longer counted then.")
        known = [self.revocation(item, at, prefix, path[1:], strict=stamps) for item in path if item not in self.roots]
        if not all(known):
            self.add("REVOCATION_UNKNOWN", where, "No usable revocation data covers the certificate at that time.",
                     "INDETERMINATE")  # fmt: skip

    def climb(self, leaf: Certificate, pool: list[Certificate]) -> list[Certificate]:
        """List the certificates from the leaf to a root, by name; openssl has verified that there is such a path."""
        path = [leaf]
        while path[-1] not in self.roots and len(path) < 8:
            wanted = path[-1].issuer
            found = [item for item in [*self.roots, *pool] if item.subject == wanted and item not in path]
            if not found:
                break
            path.append(found[0])
        return path

    def revocation(self, subject: Certificate, at: datetime, prefix: str, issuers: list[Certificate],
                   *, strict: bool) -> bool:  # fmt: skip
        """Say whether lists or answers cover the certificate; refuse when one says revoked (RFC 5280 §6.3)."""
        known = False
        for crl in self.lists.values():
            issuer = next((item for item in issuers if item.subject == crl.issuer == subject.issuer), None)
            if issuer is None or max(crl.issued, crl.until or crl.issued) < at or crl.issued > subject.end:
                continue
            if not crl.plain or not issuer.usage(6) or not self.list_signed(crl, issuer):
                continue
            known = True
            when, reason = crl.entries.get(subject.serial, (None, None))
            if when is not None and (when <= at or (strict and reason not in HARMLESS)):
                raise Refused("REVOKED", f"{subject.name} was revoked on {utc(when)}.")
        issuer = next((item for item in issuers if item.subject == subject.issuer), None)
        for name in [item for item in self.small if item.endswith(".ocsp")] if issuer else []:
            known |= self.answered(name, subject, issuer, at, prefix, strict=strict)
        return known

    def answered(self, name: str, subject: Certificate, issuer: Any, at: datetime, prefix: str,
                 *, strict: bool) -> bool:  # fmt: skip
        """Read one OCSP response (RFC 6960) through openssl: good for this certificate, at that time or later?"""
        files = {"answer": self.file(name), "subject": subject.pem, "issuer": issuer.pem,
                 "roots": b"".join(root.pem for root in self.roots)}  # fmt: skip
        options = ["ocsp", "-respin", "{answer}", "-issuer", "{issuer}", "-cert", "{subject}", "-no_nonce"]
        _, said, _ = self.openssl.run(*options, "-noverify", **files)
        found = dict(re.findall(r"^\s*(This Update|Next Update|Revocation Time|Reason): (.*)$", said, re.MULTILINE))
        # On a line of its own when openssl has complained that the answer is old: that is judged here.
        state = re.search(r"^(?:[^\n]*subject: )?(good|revoked|unknown)$", said, re.MULTILINE)
        if state is None or "This Update" not in found:
            return False
        issued, until = openssl_time(found["This Update"]), openssl_time(found.get("Next Update", ""))
        if issued is None or (until or issued) < at or issued > subject.end:
            return False
        moment = str(int(max(at, issued).timestamp()))
        done, said, _ = self.openssl.run(*options, "-CAfile", "{roots}", "-verify_other", "{issuer}", "-attime", moment,
                                         **files)  # fmt: skip
        if not done or "Response verify OK" not in said:
            return False
        if state.group(1) == "revoked":
            when = openssl_time(found.get("Revocation Time", ""))
            harmless = {"unspecified", "affiliationChanged", "superseded", "cessationOfOperation"}
            if when is None or when <= at or (strict and found.get("Reason") not in harmless):
                raise Refused("REVOKED", f"{subject.name} was revoked.")
        return state.group(1) != "unknown"

    def list_signed(self, crl: RevocationList, issuer: Certificate) -> bool:
        both = (crl.raw, issuer.raw)
        if both not in self.signed_lists:
            _, said, _ = self.openssl.run("crl", "-inform", "DER", "-in", "{crl}", "-noout", "-CAfile", "{issuer}",
                                          crl=crl.raw, issuer=issuer.pem)  # fmt: skip
            self.signed_lists[both] = crl.signature in SIGNATURES and "verify OK" in said
        return self.signed_lists[both]

    def ended(self, names: list[str], at: datetime) -> list[str]:
        day = at.strftime("%Y-%m-%d")
        return sorted({name for name in names if name not in self.ends or (self.ends[name] or "9999") <= day})

    # 4. The seal.
    def sealing(self) -> None:
        extra = self.pem("certificates/seal.pem")
        with self.guard("manifest.json.p7s", "SEAL", "DER"):
            self.seal = signed = Signed(self.file("manifest.json.p7s"), CT_DATA, self.file("manifest.json"), [])
            signed.check_purpose(stamps=False)
            self.facts["sealed_by"] = signed.signer.name
            claimed = signed.attributes[A_TIME].time()
            at = self.at
            with contextlib.suppress(ValueError, Refused, KeyError, IndexError):
                at = Token(self.file("token.tst"), self.pem("certificates/tsa.pem")).time
            if self.roots and claimed > at + SKEW:
                raise Refused("TIME", "The seal claims a time after the token that dates it.")
            self.trust(signed, "SEAL", "manifest.json.p7s", at, extra)

    # 5. The evidence record.
    def evidence(self) -> None:
        group = sorted(name for name in self.measured if name.startswith("document/"))
        group += ["manifest.json", "manifest.json.p7s"]
        group += [name for name in ("manifest.json.mldsa65.p7s",) if name in self.measured]
        with self.guard("evidence.ers", "EVIDENCE"):
            self.chains = read_record(self.file("evidence.ers"))
            stamps = [stamp for chain in self.chains for stamp in chain]
            if self.chains[0][0].hash != "sha256":
                raise ValueError("the first chain is of SHA-256")
            names = {}
            for number, stamp in enumerate(stamps, 1):
                text, token = ("path.txt", "token.tst") if number == 1 else (
                    f"renewals/{number:02}.path.txt", f"renewals/{number:02}.tst")  # fmt: skip
                names.update({text: stamp.text, token: stamp.token})
                if self.file(text) != stamp.text:
                    self.add("EVIDENCE_PATH_TEXT", text, f"{text} differs from the evidence record.")
                if self.file(token) != stamp.token:
                    self.add("EVIDENCE_TOKEN", token, f"{token} is not the token of the evidence record.")
            for name in [item for item in self.measured if item.startswith("renewals/") and item not in names]:
                self.add("FILE_UNEXPECTED", name, "The evidence record has no such renewal.")
            self.about("evidence.ers", self.chains, group)

    def about(self, where: str, chains: list[list[Stamp]], group: list[str]) -> None:
        """Check the first list of each archive time-stamp: the files, or the token before (evidence-v2.md §2)."""
        for number, chain in enumerate(chains):
            for index, stamp in enumerate(chain):
                if index:
                    if stamp.path[0] != [hashlib.new(stamp.hash, chain[index - 1].token).digest()]:
                        self.add("EVIDENCE_RENEWAL", where, "A renewal is about another token than the one before it.")
                    continue
                column = 0 if stamp.hash == "sha256" else 1
                hashes = {name: bytes.fromhex(str(self.measured[name][column])) for name in group}
                if number:
                    ha = hashlib.new(stamp.hash, older_chains(self.file(where), number)).digest()
                    hashes = {name: hashlib.new(stamp.hash, item + ha).digest() for name, item in hashes.items()}
                for name, item in hashes.items():
                    if item not in stamp.path[0]:
                        self.add("EVIDENCE_FILE", name, f"The evidence record is not about this {name}.")
                if sorted(hashes.values()) != stamp.path[0]:
                    self.add("EVIDENCE_GROUP", where, "The evidence record is about other files than these.")

    # 6. The tokens.
    def stamps(self) -> None:
        stamps = [stamp for chain in self.chains for stamp in chain]
        names = ["token.tst"] + [f"renewals/{number:02}.tst" for number in range(2, len(stamps) + 1)]
        self.tokens = self.dated(stamps, names, self.pem("certificates/tsa.pem"))
        if self.tokens:
            self.facts["gen_time"] = utc(self.tokens[0].time)
            self.facts["timestamped_by"] = self.tokens[0].signer.name
        if self.tokens[1:]:
            self.facts["renewed_at"] = ", ".join(utc(token.time) for token in self.tokens[1:])

    def dated(self, stamps: list[Stamp], names: list[str], pool: list[Certificate]) -> list[Token]:
        """Judge tokens in their order: each at its own time, each after the one before, each renewal in time."""
        found: list[tuple[Stamp, Token]] = []
        for stamp, where in zip(stamps, names):
            with self.guard(where, "TOKEN", "DER"):
                token = Token(stamp.token, pool)
                if token.time > self.at + token.accuracy + SKEW:
                    self.add("TOKEN_TIME", where, "The token is later than the time of judgement.")
                if (token.imprint_hash, token.imprint) != (stamp.hash, stamp.root):
                    self.add("TOKEN_IMPRINT", where, "The token is about another value than the root of its path.")
                if found and token.time < found[-1][1].time:
                    self.add("EVIDENCE_ORDER", where, "The token is earlier than the one before it.")
                if found and token.time > found[-1][1].signer.end:
                    self.add("RENEWAL_LATE", where, "It came when the certificate of the one before had ended.",
                             "INDETERMINATE")  # fmt: skip
                found.append((stamp, token))
                self.trust(token, "TOKEN", where, token.time, pool)
        for number, (stamp, token) in enumerate(found):
            until = found[number + 1][1].time if number + 1 < len(found) else self.at
            rests = [stamp.hash, token.hash, token.family]
            with contextlib.suppress(ValueError, IndexError):
                for item in self.climb(token.signer, [*token.embedded, *pool]):
                    rests += item.algorithms(root=item in self.roots)
            self.facts["algorithms"] = " ".join(sorted({*self.facts.get("algorithms", "").split(), *rests}))
            ended = self.ended(rests, until)
            if ended:
                message = f"{', '.join(ended)} no longer counted on {until:%Y-%m-%d}."
                self.add("ALGORITHM_ENDED", names[number], message, "INDETERMINATE")
        return [token for _, token in found]

    # 7. The journal.
    def journal(self) -> None:
        data = self.file("journal/entry.json")
        where = "journal/entry.json"
        with self.guard(where, "JOURNAL_ENTRY"):
            entry = canonical(data, "minutier-journal/1")
            if entry["event"] != "deposit:committed":
                self.add("JOURNAL_EVENT", where, "The entry is not that of the commit of a document.")
            if entry["archive_id"] != self.archive_id:
                self.add("JOURNAL_ID", where, "The entry is about another document.")
            details = entry["details"] if isinstance(entry["details"], dict) else {}
            if details.get("manifest_sha256") != hashlib.sha256(self.file("manifest.json")).hexdigest():
                self.add("JOURNAL_MANIFEST", where, "The entry commits another manifest.")
            if self.manifest is not None and entry["safe"] != self.manifest["safe"]:
                self.add("JOURNAL_SAFE", where, "The entry names another safe than the manifest.")
            committed = datetime.strptime(entry["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            if utc(committed) != entry["at"]:
                raise ValueError("a time is YYYY-MM-DDThh:mm:ssZ")
            if self.tokens and committed < self.tokens[0].time - self.tokens[0].accuracy - SKEW:
                self.add("JOURNAL_TIME", where, "The document was committed before its token says that it existed.")
            if committed > self.at + SKEW:
                self.add("JOURNAL_TIME", where, "The commit is later than the time of judgement.")
        where = "journal/inclusion.json"
        with self.guard(where, "INCLUSION"):
            found = canonical(self.file(where), "minutier-inclusion/1")
            if set(found) != {"format", "index", "size", "root", "path"}:
                raise ValueError("unknown members")
            if not all(re.fullmatch("[0-9a-f]{64}", item) for item in [found["root"], *found["path"]]):
                raise ValueError("a hash is not 64 digits in lower case")
            value = hashlib.sha256(b"\x00" + data).digest()
            node, last = int(found["index"]), int(found["size"]) - 1
            good = 0 <= node <= last
            for sibling in [bytes.fromhex(item) for item in found["path"]]:  # RFC 9162 §2.1.3.2
                good = good and last > 0
                if node & 1 or node == last:
                    value = hashlib.sha256(b"\x01" + sibling + value).digest()
                    while not node & 1 and node:
                        node, last = node >> 1, last >> 1
                else:
                    value = hashlib.sha256(b"\x01" + value + sibling).digest()
                node, last = node >> 1, last >> 1
            if not good or last != 0 or value.hex() != found["root"]:
                self.add("INCLUSION_PATH", where, "The entry is not in the tree of this root.")
            with contextlib.suppress(ValueError):  # step 8 names what is not readable there
                origin, size, root, _ = read_note(self.file("journal/checkpoint.txt"))
                self.facts.update({"journal": origin, "journal_size": str(size)})
                if (size, root.hex()) != (found["size"], found["root"]):
                    self.add("INCLUSION_CHECKPOINT", where, "The inclusion proof is for another checkpoint.")
        anchored = False
        if "journal/anchor.ers" in self.measured:
            where = "journal/anchor.ers"
            with self.guard(where, "EVIDENCE"):
                chains = read_record(self.file(where))
                self.about(where, chains, ["journal/entry.json", "journal/checkpoint.txt"])
                stamps = [stamp for chain in chains for stamp in chain]
                tokens = self.dated(stamps, [where] * len(stamps), self.pem("certificates/tsa.pem"))
                # In time: made while the tree of SHA-256 still stood.
                anchored = bool(tokens) and not self.ended(["sha256"], tokens[0].time)
        if self.ended(["sha256"], self.at) and not anchored:
            self.add("JOURNAL_ALGORITHM_ENDED", "journal/inclusion.json", "SHA-256 no longer counts, and no anchor "
                     "bound the journal to another hash in time.", "INDETERMINATE")  # fmt: skip

    # 8. The checkpoint.
    def checkpoint(self) -> None:
        where = "journal/checkpoint.txt"
        with self.guard(where, "CHECKPOINT"):
            origin, size, root, lines = read_note(self.file(where))
            text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
            signed = 0
            for name, number, material in self.keys:
                for who, which, signature in lines:
                    if (who, which) != (name, number):
                        continue
                    message, rest, kind = text, signature, "SIGNATURE"
                    if material[0] == 4:  # a witness: cosignature/v1
                        kind, rest = "COSIGNATURE", signature[8:]
                        message = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n{text}"
                    key = bytes.fromhex("302a300506032b6570032100") + material[1:]
                    good = self.openssl.run("pkeyutl", "-verify", "-pubin", "-inkey", "{key}", "-keyform", "DER",
                                            "-rawin", "-in", "{text}", "-sigfile", "{signature}", key=key,
                                            text=message.encode(), signature=rest)[0]  # fmt: skip
                    if not good or len(rest) != 64:
                        raise Refused("CHECKPOINT_" + kind, f"The signature of {name} does not verify.")
                    signed += material[0] == 1
            if self.keys and not signed:
                raise Refused("CHECKPOINT_SIGNATURE", "No given journal key signed the checkpoint.")
        if not self.keys:
            self.add("NO_JOURNAL_KEY", where, "No journal key was given: who kept the journal is not known.",
                     "INDETERMINATE")  # fmt: skip

    def answer_signed(self, name: str, issuers: list[Certificate]) -> None:
        """Every OCSP response is signed by an issuer of this proof, or by a responder that it appointed."""
        pool = b"".join(item.pem for item in dict.fromkeys(issuers))
        roots = b"".join(item.pem for item in self.roots or self.pem("certificates/root.pem"))
        done, said, _ = self.openssl.run("ocsp", "-respin", "{answer}", "-noverify", "-resp_text",
                                         answer=self.file(name))  # fmt: skip
        produced = re.search(r"^\s*Produced At: (.*)$", said, re.MULTILINE)
        at = openssl_time(produced.group(1)) if produced else None
        if not done or at is None:
            self.add("OCSP_FORMAT", name, f"{name} is not readable.")
            return
        said = self.openssl.run("ocsp", "-respin", "{answer}", "-CAfile", "{roots}", "-verify_other", "{pool}",
                                "-attime", str(int(at.timestamp())), answer=self.file(name), roots=roots,
                                pool=pool)[1]  # fmt: skip
        if "Response verify OK" not in said:
            self.add("OCSP_SIGNATURE", name, f"{name} is not signed by an issuer of this proof.")

    def second_seal(self) -> list[Certificate]:
        """A second seal (ML-DSA-65) has a root of its own, the last certificate beside it; gives these certificates."""
        name, beside = "manifest.json.mldsa65.p7s", "certificates/seal-mldsa65.pem"
        found: list[Certificate] = []
        with self.guard(beside, "CERTIFICATE"):
            found = read_pem(self.file(beside))
        with self.guard(name, "SEAL2", "DER"):
            signed = Signed(self.file(name), CT_DATA, self.file("manifest.json"), [])
            signed.check_purpose(stamps=False)
            if (signed.family, signed.hash) != ("ml-dsa-65", "sha512"):
                raise Refused("ALGORITHM", "A second seal is ML-DSA-65 over SHA-512.")
            if found and (found[0] != signed.signer or set(found[:-1]) != set(signed.embedded) - {found[-1]}):
                self.add("CERTIFICATE_MISMATCH", beside, "These are not the certificates of the second seal.")
            if self.openssl.version < (3, 5):
                self.notes.append("The signature of the second seal (ML-DSA-65) was not checked: openssl 3.5 can.")
            elif found and found[-1] in self.roots:
                self.trust(signed, "SEAL2", name, self.tokens[0].time if self.tokens else self.at, found)
            elif not self.openssl.run("cms", "-verify", "-binary", "-noverify", "-inform", "DER", "-in", "{signed}",
                                      "-content", "{content}", "-no-CAfile", "-out", "{out}", signed=signed.raw,
                                      content=signed.content)[0]:  # fmt: skip
                raise Refused("SIGNATURE", "The second seal does not verify.")
            else:
                self.notes.append("The second seal is whole; who made it is not judged: its root is not among yours.")
        return found

    # 9. What comes along.
    def accompanying(self) -> None:
        issuers = [*self.roots]
        expected: dict[str, tuple[list[Certificate], set[Certificate]]] = {}
        if self.seal is not None:
            expected["certificates/seal.pem"] = ([self.seal.signer], set(self.seal.embedded))
        if self.tokens:
            used = {item for token in self.tokens for item in [*token.embedded, token.signer]}
            expected["certificates/tsa.pem"] = ([self.tokens[0].signer], used)
        for name in ("certificates/seal.pem", "certificates/tsa.pem", "certificates/root.pem"):
            with self.guard(name, "CERTIFICATE"):
                found = read_pem(self.file(name))
                issuers += found
                leaf, wanted = expected.get(name, ([], set()))
                # Beside those embedded, the ones that a token left out and that lead from it to its root.
                beside = {item for token in self.tokens for item in self.climb(token.signer, found)}
                if wanted and (found[:1] != leaf or not wanted <= set(found) <= wanted | beside):
                    self.add("CERTIFICATE_MISMATCH", name, f"{name} is not the certificates of the signatures.")
                if name == "certificates/root.pem" and self.roots and not set(found) <= set(self.roots):
                    self.add("ROOT_FOREIGN", name, "The root that comes with the proof is not one of yours. "
                             "Or the root given is not the one of this archive: check it first.")  # fmt: skip
        if "certificates/seal-mldsa65.pem" in self.measured:
            issuers += self.second_seal()
        for name in [item for item in self.small if item.endswith(".ocsp")]:
            self.answer_signed(name, issuers)
        for name, crl in self.lists.items():
            if SIGNATURES.get(crl.signature, ("",))[0] == "ml-dsa-65" and self.openssl.version < (3, 5):
                self.notes.append(f"{name} was not checked: it needs openssl 3.5 or later.")
            elif not any(item.subject == crl.issuer and self.list_signed(crl, item) for item in dict.fromkeys(issuers)):
                self.add("CRL_SIGNATURE", name, f"{name} is not signed by an issuer of this proof.")
        if "statement.pdf" in self.measured:
            mark = "manifest.json sha256:" + hashlib.sha256(self.file("manifest.json")).hexdigest()
            page = self.file("statement.pdf")
            if not page.startswith(b"%PDF-") or mark.encode() not in page:
                self.add("STATEMENT_MISMATCH", "statement.pdf", "The statement is not about this document.")
            with self.guard("statement.pdf.p7s", "SEAL", "DER"):
                signed = Signed(self.file("statement.pdf.p7s"), CT_DATA, self.file("statement.pdf"), [])
                signed.check_purpose(stamps=False)
                claimed = signed.attributes[A_TIME].time()
                if claimed > self.at + SKEW:
                    raise Refused("TIME", "The statement is later than the time of judgement.")
                roots = self.roots or self.pem("certificates/root.pem")
                files = {"signed": signed.raw, "content": signed.content, "chain": self.file("certificates/seal.pem"),
                         "roots": b"".join(item.pem for item in roots)}  # fmt: skip
                done, _, _ = self.openssl.run("cms", "-verify", "-binary", "-cades", "-inform", "DER", "-in",
                                              "{signed}", "-content", "{content}", "-CAfile", "{roots}", "-no-CApath",
                                              "-no-CAstore", "-certfile", "{chain}", "-attime",
                                              str(int(claimed.timestamp())), "-out", "{out}", **files)  # fmt: skip
                if not done:
                    raise Refused("CHAIN", "The seal over the statement does not verify at the time that it claims.")
                self.notes.append(
                    "Nothing dates statement.pdf but its seal: what it says is judged by the other steps."
                )
        self.notes.append("The texts README.*.txt and the scripts are not judged: take yours from the archive's pages.")


def read_note(data: bytes) -> tuple[str, int, bytes, list[tuple[str, bytes, bytes]]]:
    """Read a C2SP checkpoint: origin, size, root, and its signature lines (name, key id, signature)."""
    body, separator, rest = data.decode("utf-8").partition("\n\n")
    origin, size, root = body.split("\n")
    if not separator or not rest.endswith("\n") or len(data) > 64 << 10:
        raise ValueError("not a signed note")
    if not re.fullmatch(r"[^\s+]{1,200}", origin) or not re.fullmatch(r"0|[1-9][0-9]{0,15}", size):
        raise ValueError("origin or size is malformed")
    lines = []
    for line in rest[:-1].split("\n"):
        dash, name, value = line.split(" ")
        raw = unbase64(value)
        if dash != "\u2014" or len(raw) < 5 or not re.fullmatch(r"[^\s+]{1,200}", name):
            raise ValueError("a signature line is malformed")
        lines.append((name, raw[:4], raw[4:]))
    if len(unbase64(root)) != 32:
        raise ValueError("the root is malformed")
    return origin, int(size), unbase64(root), lines


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    return data if base64.b64encode(data).decode() == text else b""


def read_key(text: str) -> tuple[str, bytes, bytes]:
    """Read a C2SP verifier key: name, id, type octet and public key."""
    name, _, rest = text.strip().partition("+")
    number, _, value = rest.partition("+")
    material = unbase64(value)
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if len(material) != 33 or material[0] not in (1, 4) or expected.hex() != number:
        raise ValueError("not a C2SP verifier key")
    return name, expected, material


def openssl_time(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        return datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    return None


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def verdict(findings: list[dict[str, str]]) -> str:
    found = {item["verdict"] for item in findings}
    return "FAILED" if "FAILED" in found else "INDETERMINATE" if found else "PASSED"


def told(path: Path, text: bool = False) -> Any:
    """Read a file that the user names; ValueError with a sentence that names it."""
    try:
        return path.read_text(encoding="utf-8") if text else path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check its name and its place") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text") from error


def anchors(given: argparse.Namespace) -> None:
    """Read what the user judges by; ValueError with a sentence that says which file, and what to give instead."""
    given.roots, given.keys, given.ends = [], [], ENDS
    for path in given.root:
        data = told(path)
        try:
            found = load_roots(data)
        except (ValueError, IndexError, Refused):
            found = []
        if not found:
            raise ValueError(f"--root {path} holds no PEM certificate that is readable: give the root certificate")
        given.roots += found
    for path in given.journal_key:
        text = told(path, text=True)
        try:
            given.keys.append(read_key(text))
        except ValueError as error:
            message = f"--journal-key {path} is not a journal's key, one line NAME+ID+KEY: give JOURNAL.vkey"
            raise ValueError(message) from error
    if given.algorithms:
        text = told(given.algorithms, text=True)
        try:
            given.ends = dict(json.loads(text)["ends"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--algorithms {given.algorithms} is not a list of dates of algorithms") from error
    try:
        given.time = datetime.fromisoformat(given.at.replace("Z", "+00:00")) if given.at else datetime.now(UTC)
        zoned = given.time.tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        raise ValueError(f"--at {given.at} is not a time with its zone: write it as 2030-01-01T00:00:00Z")
    if not given.proof.exists():
        raise ValueError(f"there is no {given.proof}: give the .zip file of the proof, or its folder")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Checks one proof of an archived document, offline.")
    parser.add_argument("proof", type=Path, metavar="PROOF.zip|FOLDER")
    parser.add_argument("--root", type=Path, action="append", default=[], help="root certificate that you checked")
    parser.add_argument("--journal-key", type=Path, action="append", default=[], help="journal.vkey that you checked")
    parser.add_argument("--algorithms", type=Path, help="a newer list of dates of algorithms")
    parser.add_argument("--at", help="judge as of this time, for example 2030-01-01T00:00:00Z (default: now)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    try:
        anchors(given)
    except ValueError as error:
        parser.error(f"not checked: {error}")
    return given


def main() -> int:
    given = options()
    steps: list[dict[str, Any]] = []
    try:
        openssl = OpenSsl()
        with contextlib.ExitStack() as stack:
            folder = given.proof.is_dir()
            source = Folder(given.proof) if folder else Zip(stack.enter_context(given.proof.open("rb")))
            check = Check(source, given, openssl)
            if folder:
                check.notes.append("The container was not judged: a folder was given.")
            result, steps = check.run()
            findings, facts, notes = check.findings, check.facts, check.notes
    except Refused as refused:
        result, facts, notes = "FAILED", {}, []
        findings = [{"code": refused.code, "where": given.proof.name, "message": refused.message, "verdict": "FAILED"}]
        steps = [{"number": n, "title": t, "verdict": None if n > 1 else "FAILED"} for n, t in enumerate(TITLES, 1)]
    except (OSError, subprocess.TimeoutExpired) as error:
        what = error.filename if isinstance(error, OSError) and error.filename else ""
        advice = "install openssl 3.0 or later" if what == "openssl" else "check that it can be read, and try again"
        message = f"{what}: {error.strerror}; {advice}" if isinstance(error, OSError) and what else str(error)
        sys.stderr.write(f"Not checked: {message}.\n")
        return 2
    if given.json:
        document = {"verdict": result, "findings": findings, "steps": steps, "facts": facts, "notes": notes}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        signs = {"PASSED": "ok", "FAILED": "FAILED", "INDETERMINATE": "unknown", None: "not reached"}
        lines = [f"{item['number']}. {item['title']}: {signs[item['verdict']]}" for item in steps]
        lines += [f"   {name}: {value}" for name, value in facts.items()]
        lines += [f"- {item['code']} {item['where']}: {item['message']}" for item in findings]
        lines += ["Note: " + note for note in notes]
        text = "\n".join([*lines, "Verdict: " + result])
        shown = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
        sys.stdout.write(shown.encode(sys.stdout.encoding or "ascii", "replace").decode(sys.stdout.encoding or "ascii"))
        sys.stdout.write("\n")
    return {"PASSED": 0, "FAILED": 1, "INDETERMINATE": 3}[result]


if __name__ == "__main__":
    sys.exit(main())

"""Trust anchors: what a verifier brings along, from a directory that the bundle has no part in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from minutier.algorithm_dates import FILE_NAME, AlgorithmDates, parse_dates, published_dates
from minutier.certificates import load_crl, load_pem
from minutier.checkpoint import NoteKey, parse_vkey
from minutier.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Trust:
    """Roots of time-stamp and seal certificates, keys of journals, and revocation lists that the verifier holds.

    `dates` says until when algorithms count: those of the verifier, else those that this release comes with.
    """

    roots: tuple[x509.Certificate, ...] = ()
    journal_keys: tuple[NoteKey, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    dates: AlgorithmDates = field(default_factory=published_dates)


def load_trust(directory: Path | None) -> Trust:
    """Read a trust directory: `*.pem` roots, `*.vkey` journal keys, `*.crl` (DER), and `algorithms.json`.

    None gives no anchor at all. Raises BadInputError TRUST_UNREADABLE when the directory or one of these files is
    unusable.
    """
    if directory is None:
        return Trust()
    if not directory.is_dir():
        raise _unreadable(f"{directory} is not a directory")
    try:
        return Trust(
            roots=tuple(root for data in _files(directory, "*.pem") for root in load_pem(data)),
            journal_keys=tuple(parse_vkey(data.decode("ascii")) for data in _files(directory, "*.vkey")),
            crls=tuple(load_crl(data) for data in _files(directory, "*.crl")),
            dates=next((parse_dates(data) for data in _files(directory, FILE_NAME)), None) or published_dates(),
        )
    except (ValueError, OSError) as error:
        raise _unreadable(f"a file in {directory} is no certificate, key, list or table of dates: {error}") from error


def _files(directory: Path, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob(pattern))]


def _unreadable(reason: str) -> BadInputError:
    return BadInputError(
        "TRUST_UNREADABLE",
        f"The trust directory is not usable: {reason}.",
        remedy="Put in it only *.pem roots, *.vkey keys, *.crl lists and algorithms.json, which you checked yourself.",
    )

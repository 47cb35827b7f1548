"""Trust anchors: what a verifier brings along, from a directory that the bundle has no part in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from minutier.algorithm_dates import FILE_NAME, AlgorithmDates, parse_dates, published_dates
from minutier.algorithms import is_post_quantum
from minutier.certificates import load_crl, load_pem
from minutier.checkpoint import NoteKey, parse_vkey
from minutier.errors import BadInputError

POLICY_NAME = "policy.toml"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Trust:
    """Roots of time-stamp and seal certificates, keys of journals, and revocation lists that the verifier holds.

    `dates` says until when algorithms count: those of the verifier, else those that this release comes with.
    `second_roots` are the roots of second seals (their key is ML-DSA-65, and they judge nothing else);
    `second_seal_from` is the year from which a proof must hold one, None where that is not asked.
    """

    roots: tuple[x509.Certificate, ...] = ()
    journal_keys: tuple[NoteKey, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    dates: AlgorithmDates = field(default_factory=published_dates)
    second_roots: tuple[x509.Certificate, ...] = ()
    second_seal_from: int | None = None
    stamp_only: tuple[x509.Certificate, ...] = ()
    seal_only: tuple[x509.Certificate, ...] = ()

    @property
    def stamp_roots(self) -> tuple[x509.Certificate, ...]:
        """Give the roots that time-stamp certificates may lead to."""
        return (*self.roots, *self.stamp_only)

    @property
    def seal_roots(self) -> tuple[x509.Certificate, ...]:
        """Give the roots that sealing certificates may lead to: that of an authority of time-stamps seals nothing."""
        return (*self.roots, *self.seal_only)

    @property
    def all_roots(self) -> tuple[x509.Certificate, ...]:
        """Give every root but those of second seals."""
        return (*self.roots, *self.stamp_only, *self.seal_only)


def load_trust(directory: Path | None) -> Trust:
    """Read a trust directory: `*.pem` roots (`tsa-*.pem` for time-stamps alone, `seal-*.pem` for seals alone, others
    for both), `*.vkey` journal keys, `*.crl` (DER), `algorithms.json`, `policy.toml`.

    None gives no anchor at all. Raises BadInputError TRUST_UNREADABLE when the directory or one of these files is
    unusable.
    """
    if directory is None:
        return Trust()
    if not directory.is_dir():
        raise _unreadable(f"{directory} is not a directory")
    found = [
        (name, *each) for name, all_ in _read(directory, "*.pem", _roots, "no certificate in PEM") for each in all_
    ]
    classical = [(name, root) for name, root, second in found if not second]
    dates = _read(directory, FILE_NAME, parse_dates, "no table of dates")
    policies = _read(directory, POLICY_NAME, _policy, "no policy")
    return Trust(
        roots=tuple(root for name, root in classical if not name.startswith(("tsa-", "seal-"))),
        stamp_only=tuple(root for name, root in classical if name.startswith("tsa-")),
        seal_only=tuple(root for name, root in classical if name.startswith("seal-")),
        journal_keys=tuple(key for _, key in _read(directory, "*.vkey", _journal_key, "no key of a journal")),
        crls=tuple(crl for _, crl in _read(directory, "*.crl", load_crl, "no revocation list in DER")),
        dates=next((table for _, table in dates), None) or published_dates(),
        second_roots=tuple(root for _, root, second in found if second),
        second_seal_from=next((year for _, year in policies), None),
    )


def _policy(data: bytes) -> int:
    """Read `policy.toml`, which says `second_seal_required_from = YEAR` and nothing else."""
    value = tomllib.loads(data.decode("utf-8"))
    year = value.get("second_seal_required_from")
    if set(value) != {"second_seal_required_from"} or type(year) is not int or not 2000 <= year <= 9999:
        raise ValueError(f"{POLICY_NAME} holds one line: second_seal_required_from = YEAR")
    return year


def _roots(data: bytes) -> list[tuple[x509.Certificate, bool]]:
    """Read certificates, and whether each is for second seals; ValueError for a key that cannot be read, too."""
    return [(root, is_post_quantum(root.public_key())) for root in load_pem(data)]


def _journal_key(data: bytes) -> NoteKey:
    return parse_vkey(data.decode("ascii"))


def _read(directory: Path, pattern: str, parse: Callable[[bytes], _T], otherwise: str) -> list[tuple[str, _T]]:
    """Parse the files of one kind, in order of name, which goes with each; a refusal says what a file is not."""
    found = []
    for path in sorted(directory.glob(pattern)):
        try:
            found.append((path.name, parse(path.read_bytes())))
        except OSError as error:
            raise _unreadable(f"{path} cannot be read ({error.strerror})") from error
        except ValueError as error:
            # What libraries say of certificates and lists speaks to programmers; our own parsers speak to people.
            own = "" if parse in (_roots, load_crl) else f" ({error})"
            raise _unreadable(f"{path} is {otherwise}{own}") from error
    return found


def _unreadable(reason: str) -> BadInputError:
    return BadInputError(
        "TRUST_UNREADABLE",
        f"The trust directory is not usable: {reason}.",
        remedy="Put in it only *.pem roots, *.vkey keys, *.crl lists, algorithms.json, policy.toml, all checked.",
    )

"""The integrity report as files: `minutier verify P.zip --report DIR` (docs/format/integrity-report-v1.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.cli import running_archive, say, settings, show
from minutier.errors import BadInputError, ServiceUnavailableError

if TYPE_CHECKING:
    from cryptography import x509

    from minutier.integrity_report import IntegrityReport
    from minutier.trust import Trust
    from storage.settings import Settings

_JSON, _PDF, _SEAL = "report.json", "report.pdf", ".p7s"


@dataclass(frozen=True, slots=True)
class Sealing:
    """The archive's seal: its certificate, and how it seals bytes at a time (detached CAdES-B in DER)."""

    certificate: x509.Certificate
    seal: Callable[[bytes, datetime], bytes]


@contextmanager
def sealing_of(own: Settings) -> Iterator[Sealing | None]:
    """Give the seal of the instance, which must run so that each use is counted; None where there is no instance."""
    if not (own.home / "pki").is_dir():
        yield None
        return
    from storage.report_seals import seal_report

    with running_archive() as archive:
        yield Sealing(archive.signer.chain[0], partial(seal_report, archive))


def write_report(
    bundle: Path, trust: Trust, at: datetime, directory: Path, sealing: Sealing | None
) -> tuple[IntegrityReport, list[str]]:
    """Verify a proof and write the report on it; gives it, and the names of the files written.

    BadInputError REPORT_EXISTS when a file of that name is there: a report is never overwritten.
    """
    from minutier.integrity_report import Issuer, make_report
    from storage.files import make_directories, write_durably
    from tasks.report_pdf import draw_report

    names = [_JSON, _PDF, *((_JSON + _SEAL, _PDF + _SEAL) if sealing else ())]
    for name in (_JSON, _PDF, _JSON + _SEAL, _PDF + _SEAL):
        if (directory / name).exists():
            raise BadInputError(
                "REPORT_EXISTS", f"{directory / name} is there already.", remedy="Give another directory."
            )
    if directory.exists() and not directory.is_dir():
        raise BadInputError("BAD_OUTPUT", f"{directory} is not a directory.", remedy="Give the name of a directory.")
    issuer = Issuer(f"minutier {metadata.version('minutier')}", sealing.certificate if sealing else None)
    report = make_report(bundle, trust, at, issuer)
    contents = {_JSON: report.body, _PDF: draw_report(report)}
    if sealing:
        contents |= {f"{name}{_SEAL}": sealing.seal(body, at) for name, body in list(contents.items())}
    make_directories(directory)
    for name in names:
        write_durably(directory / name, contents[name], mode=0o644)
    return report, names


def judges(directory: Path | None, anchors: Trust) -> str:
    """Say which anchors judge a proof: their directory, and the SHA-256 of each root certificate, in hexadecimal."""
    from cryptography.hazmat.primitives.hashes import SHA256

    if directory is None:
        return "no trust anchor"
    roots = [f"root SHA-256 {root.fingerprint(SHA256()).hex()}" for root in (*anchors.all_roots, *anchors.second_roots)]
    return ", ".join([str(directory), *(roots or ["no root"])])


def show_report(bundle: Path, anchors: Trust, directory: Path, judged_by: str) -> int:
    """Make the report on a proof as of now, print what was found and where it is; gives the exit code of `verify`."""
    from minutier.report import Verdict, as_text
    from minutier.verify import verify

    now = datetime.now(UTC).replace(microsecond=0)
    try:
        with sealing_of(settings()) as sealing:
            made, names = write_report(bundle, anchors, now, directory, sealing)
    except ServiceUnavailableError as error:
        if error.code.startswith("DISK_"):  # the place of the report, not the instance
            raise
        say(f"{as_text(verify(bundle, anchors, now))}\nNo report was written.")
        unsealed = "Or give --home of a directory without instance, and --trust: that report is unsealed."
        raise ServiceUnavailableError(error.code, error.message, remedy=f"{error.remedy} {unsealed}") from error
    kind = made.value["issuer"]["seal"]
    value = {**made.verification.as_dict(), "report": {"directory": str(directory), "files": names, "seal": kind}}
    value["facts"]["judged_by"] = judged_by
    words = {
        "unsealed": "unsealed: made by a verifier without seal",
        "development": "sealed by a development authority: no legal value",
    }.get(kind, "sealed; whether the seal is qualified was not checked")
    show(value, f"{as_text(made.verification)}\nReport written to {directory} ({words}).")
    return 0 if made.verification.verdict is Verdict.PASSED else 1

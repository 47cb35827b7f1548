"""Verifiers that we did not write, driven from the tests: Bouncy Castle and EU DSS, one JVM for many questions.

`infra/verifiers.sh` prepares them; the judges are in tests/independent/java. Our own verifier answers the same
questions, so that a case on which they differ shows.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import evidence
from minutier.errors import IntegrityFailureError
from minutier.ocsp import load_ocsp
from minutier.report import Finding
from minutier.seal import check_seal
from minutier.timestamp import check_token
from minutier.trust import Trust
from minutier.verification import Run
from minutier.verify_evidence import check_stamps

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 900
NAMES = ("bouncy-castle", "bouncy-castle-recent", "dss", "ours")
SCRIPT = ROOT / "infra" / "verifiers.sh"
BOUNCY_CASTLE = [f"/usr/share/java/{name}.jar" for name in ("bcprov", "bcpkix", "bcutil")]


@dataclass(frozen=True)
class Question:
    """What a verifier is asked: whether `subject` proves `data` at `moment` under these roots and revocation data.

    `kind` is record (an evidence record over the group of `data`), seal or token (over the one item of `data`).
    """

    name: str
    kind: str
    subject: bytes
    data: tuple[bytes, ...]
    moment: datetime
    roots: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    ocsp: tuple[bytes, ...] = ()  # responses in DER, for records


@dataclass(frozen=True)
class Answer:
    """What it said; `reasons` is empty when it accepted."""

    accepted: bool
    reasons: str


@dataclass(frozen=True)
class Judge:
    """One verifier in Java: its class, and what it needs on the class path."""

    name: str
    main: str
    class_path: str

    def answers(self, questions: Sequence[Question], folder: Path) -> dict[str, Answer]:
        """Ask all questions in one run; files go to `folder`. Every question gets an answer, or AssertionError."""
        names = [question.name for question in questions]
        assert len(set(names)) == len(names), "two questions have one name"
        lines = "".join(_line(question, folder) for question in questions)
        done = subprocess.run(
            ["java", "-XX:TieredStopAtLevel=1", "-cp", self.class_path, self.main],
            input=lines.encode(), capture_output=True, check=False, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        found = {}
        for line in done.stdout.decode().splitlines():
            name, verdict, reasons = line.split("\t")
            found[name] = Answer(verdict == "PASSED", reasons)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        assert list(found) == names, done.stderr.decode()[-2000:]
        return found


@cache
def find_judges() -> dict[str, Judge] | None:
    """Give Bouncy Castle of Debian, that which DSS brings, and DSS; None where `infra/verifiers.sh` was not run."""
    said = subprocess.run([str(SCRIPT), "where"], capture_output=True, text=True, check=False)
    if said.returncode != 0 or shutil.which("java") is None:
        return None
    folder = Path(said.stdout.strip())
    jars = str(folder / "jars" / "*")
    paths = {
        "bouncy-castle": ("BouncyCastleJudge", [str(folder / "bouncy-castle"), *BOUNCY_CASTLE]),
        "bouncy-castle-recent": ("BouncyCastleJudge", [str(folder / "bouncy-castle"), jars]),
        "dss": ("DssJudge", [str(folder / "dss"), jars]),
    }
    return {name: Judge(name, main, ":".join(entries)) for name, (main, entries) in paths.items()}


def all_answers(
    judges: Mapping[str, Judge], questions: Sequence[Question], folder: Path
) -> dict[str, dict[str, Answer]]:
    """Ask every verifier, ours too."""
    found = {name: judge.answers(questions, folder) for name, judge in judges.items()}
    found["ours"] = our_answers(questions)
    assert tuple(found) == NAMES
    return found


def _line(question: Question, folder: Path) -> str:
    trust = _trust(question, folder)
    files = [_file(data, folder) for data in (question.subject, *question.data)]
    seconds = str(int(question.moment.timestamp()))
    return "\t".join([question.name, question.kind, seconds, str(trust), *map(str, files)]) + "\n"


def _file(data: bytes, folder: Path) -> Path:
    """Write bytes under their own digest: what several questions share is one file."""
    path = folder / hashlib.sha256(data).hexdigest()
    if not path.exists():
        path.write_bytes(data)
    return path


def _trust(question: Question, folder: Path) -> Path:
    files = {f"{number}.pem": root.public_bytes(Encoding.PEM) for number, root in enumerate(question.roots)}
    files |= {f"{number}.crl": crl.public_bytes(Encoding.DER) for number, crl in enumerate(question.crls)}
    files |= {f"{number}.ocsp": response for number, response in enumerate(question.ocsp)}
    path = folder / ("trust-" + hashlib.sha256(b"".join(files.values())).hexdigest())
    if not path.exists():
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
    return path


def our_answers(questions: Iterable[Question]) -> dict[str, Answer]:
    """Ask our own verifier."""
    return {question.name: _our_answer(question) for question in questions}


def _our_answer(question: Question) -> Answer:
    try:
        findings = _our_findings(question)
    except IntegrityFailureError as error:
        return Answer(accepted=False, reasons=error.code)
    return Answer(not findings, " ".join(finding.code for finding in findings))


def _our_findings(question: Question) -> list[Finding]:
    roots, crls = question.roots, question.crls
    if question.kind == "token":
        (data,) = question.data
        check_token(question.subject, hashlib.sha256(data).digest(), roots, crls)
        return []
    if question.kind == "seal":
        (data,) = question.data
        check_seal(data, question.subject, roots, question.moment, crls)
        return []
    record = evidence.decode_record(question.subject)
    digests = {name: [hashlib.new(name, data).digest() for data in question.data] for name in evidence.SIZES}
    evidence.check_record(record, digests)
    answers = {str(number): load_ocsp(response) for number, response in enumerate(question.ocsp)}
    run = Run(None, Trust(roots), question.moment, "", crls=crls, answers=answers)
    check_stamps(run, record, [f"stamp {number}" for number in range(len(record.stamps))])
    return run.findings

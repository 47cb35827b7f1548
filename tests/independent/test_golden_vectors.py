"""The golden vectors before verifiers that are not ours: they take good records, seals and tokens, and no bad one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from minutier.certificates import load_pem
from minutier.evidence import decode_record
from minutier.timestamp import inspect_token
from tests.independent.test_exported_proofs import judged, questions
from tests.support.bundle import unpack
from tests.support.verifiers import NAMES, Question, all_answers
from tests.vectors import generate

FOLDER = Path(generate.__file__).parent
FRESH = ("v1", "v2")
RENEWED = ("v2-time-stamp-renewal", "v2-hash-tree-renewal", "v2-both-renewals")
BAD = ("bad-document", "bad-renewal", "bad-renewal-order", "bad-tree-renewal", "bad-authority")


def asked(name: str) -> list[Question]:
    """Ask about the parts of a proof, a month after its last token."""
    files = unpack(FOLDER / "proofs" / f"{name}.zip")
    (root,) = load_pem((FOLDER / "trust" / "root.pem").read_bytes())
    last = max(inspect_token(stamp.token).gen_time for stamp in decode_record(files["evidence.ers"]).stamps)
    return questions(files, name, root, last + timedelta(days=30))


def test_good_vectors_are_accepted(judges, tmp_path):
    everything = [question for name in FRESH for question in asked(name)]
    # The certificate of the seal has ended when the last token was made: test_exported_proofs.py is about that.
    everything += [asked(name)[0] for name in RENEWED]
    assert judged(judges, everything, tmp_path) == {judge: {} for judge in NAMES}


def test_bad_records_are_refused(judges, tmp_path):
    records = [asked(name)[0] for name in BAD]
    accepted = {
        judge: [name for name, answer in answers.items() if answer.accepted]
        for judge, answers in all_answers(judges, records, tmp_path).items()
    }
    # DSS does not compare the times of the tokens of a chain (docs/other-verifiers.md).
    assert accepted == {**{judge: [] for judge in NAMES}, "dss": ["bad-renewal-order record"]}

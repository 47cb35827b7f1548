"""Bouncy Castle and EU DSS accept the records of batches of every size, at first and after each renewal.

DSS judges with its own policy and the whole path: when judged, the certificates of renewed tokens have ended, so what
it accepts rests on the renewals.
"""

import random
from collections.abc import Iterable

import pytest

from tests.support import verifiers
from tests.support.renewals import NAMES, batch, century, stages
from tests.support.verifiers import all_answers

SIZES = (1, 2, 3, 1000, 10_000)
DRAWN = 3


def chosen(size: int) -> list[int]:
    """The first, the last (the promoted one of an odd level), the one before it, and some drawn ones."""
    drawn = random.Random(size).sample(range(size), min(size, DRAWN))
    return sorted({0, size - 1, max(0, size - 2), *drawn})


def questions(size: int, numbers: Iterable[int]):
    made = batch(size)
    found = stages(made)
    assert tuple(found) == NAMES
    return [
        century().question(f"{size} {name} #{number}", stage.records[number], made.documents[number], stage.moments)
        for name, stage in found.items()
        for number in numbers
    ]


@pytest.fixture(scope="module")
def answers(judges, tmp_path_factory):
    """One run of each verifier for all batches: it is its start that costs."""
    asked = [question for size in SIZES for question in questions(size, chosen(size))]
    return all_answers(judges, asked, tmp_path_factory.mktemp("batches"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", NAMES)
@pytest.mark.parametrize("judge", verifiers.NAMES)
def test_every_chosen_document_is_accepted(answers, judge, stage, size):
    found = {name: answer for name, answer in answers[judge].items() if name.startswith(f"{size} {stage} #")}
    assert len(found) == len(chosen(size))
    assert {name: answer.reasons for name, answer in found.items() if not answer.accepted} == {}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("size", "drawn"), [(1000, 300), (10_000, 300)])
def test_hundreds_of_documents_are_accepted(judges, tmp_path, size, drawn):
    numbers = random.Random(size).sample(range(size), drawn)
    for name, answers in all_answers(judges, questions(size, numbers), tmp_path).items():
        assert len(answers) == drawn * len(NAMES)
        assert {each: answer.reasons for each, answer in answers.items() if not answer.accepted} == {}, name

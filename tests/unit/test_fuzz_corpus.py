"""Every input that fuzzing kept goes through its target again: what once failed stays mended."""

from __future__ import annotations

import random

import pytest

from minutier.report import Verdict
from minutier.trust import Trust
from minutier.verify import verify
from tests.fuzz.fuzz_bundle import judge, scratch
from tests.fuzz.fuzz_forged import Part, build, forger, seeds
from tests.fuzz.run import NAMES
from tests.fuzz.seeds import CORPUS, JUDGED_AT, anchors, kept
from tests.fuzz.targets import TARGETS
from tests.support.bundle import repack, trust_of

# cryptography says so of a name longer than X.520 allows; it reads it all the same.
pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length must be")


def test_each_target_has_its_corpus():
    assert set(NAMES) == set(TARGETS) == {place.name for place in CORPUS.iterdir()}
    assert sum(path.stat().st_size for name in NAMES for path in kept(name)) < 450_000


@pytest.mark.parametrize("name", NAMES)
def test_kept_inputs_do_what_they_may(name):
    assert kept(name)
    for path in kept(name):
        TARGETS[name].check(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_changes_that_keep_the_shape_do_what_they_may(name):
    dice = random.Random(7)

    def plain(data: bytes) -> bytes:
        at = dice.randrange(len(data) + 1)
        return data[:at] + dice.randbytes(dice.randrange(3)) + data[at + dice.randrange(2) :]

    target = TARGETS[name]
    for path in kept(name)[:20]:
        for _ in range(2 if name in ("bundle", "forged") else 5):
            target.check((target.change or (lambda data, _, plain: plain(data)))(path.read_bytes(), dice, plain))


@pytest.mark.parametrize("name", ["full", "plain"])
def test_the_seeds_pass_so_that_fuzzing_starts_behind_every_check(name):
    seed = CORPUS / "bundle" / f"{name}.zip"
    assert verify(seed, anchors(), JUDGED_AT).verdict is Verdict.PASSED
    assert verify(seed, Trust(), JUDGED_AT).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("name", [name for name in seeds() if name != "inclusion"])
def test_the_forger_passes_under_his_own_root_and_no_other(name):
    data = seeds()[name]
    bundle = repack(build(Part(data[0]), data[1:]), scratch()).read_bytes()
    assert judge(bundle, trust_of(forger())).verdict is Verdict.PASSED
    assert judge(bundle, anchors()).verdict is Verdict.FAILED


def test_a_target_that_meets_a_bug_says_so(monkeypatch):
    # The checks of the targets can fail: here with a parser that takes anything.
    monkeypatch.setattr("minutier.canonical.decode", lambda data: [1])
    with pytest.raises(AssertionError, match="two spellings"):
        TARGETS["manifest"].check(b"[1] ")

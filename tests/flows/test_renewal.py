"""The renewal on a running instance: its flow, its command and its report."""

from __future__ import annotations

import pytest

from tests.support.cli import minutier

pytestmark = pytest.mark.embedded


def test_nothing_is_due_and_the_next_date_is_said(instance, tmp_path):
    document = tmp_path / "letter.txt"
    document.write_text("a letter whose evidence lasts ten years\n")
    assert minutier(instance, "deposit", str(document)).code == 0
    answer = minutier(instance, "renew")
    assert answer.code == 0, answer.err
    assert (answer.json["tokens_renewed"], answer.json["documents_rehashed"], answer.json["new_tokens"]) == (0, 0, [])
    assert answer.json["next_due"] > "2030"


def test_a_renewal_that_gains_nothing_is_refused_in_a_sentence(instance, tmp_path):
    document = tmp_path / "other.txt"
    document.write_text("another letter\n")
    assert minutier(instance, "deposit", str(document)).code == 0
    answer = minutier(instance, "renew", "--margin", "5000")
    assert (answer.code, answer.error) == (4, "RENEWAL_GAINS_NOTHING")
    assert "Traceback" not in answer.err

"""The texts that travel with a proof: both languages say the same, and they are the ones that were published."""

from __future__ import annotations

import re

import pytest

from minutier import kit, proof

READMES = {"fr": kit.README_FR, "en": kit.README_EN}
TEXTS = {"README.fr.txt": kit.README_FR, "README.en.txt": kit.README_EN}
TEXTS |= {"verify.sh": kit.VERIFY_SH, "verify.py": kit.VERIFY_PY}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_each_text_is_published_under_its_own_name(name):
    data = TEXTS[name].encode()
    assert kit.is_published(name, data)
    assert not kit.is_published(name, data + b"\n")
    assert not any(kit.is_published(other, data) for other in TEXTS if other != name)


@pytest.mark.parametrize("language", sorted(READMES))
def test_a_readme_names_every_file_and_every_way(language):
    text = READMES[language]
    for path in (*proof.REQUIRED[proof.FORMAT], *proof.OPTIONAL[proof.FORMAT]):
        folder, _, name = path.rpartition("/")
        assert (f"{folder}/" if folder else name) in text or name.startswith("README"), path
    for words in ("sh verify.sh", "python3 verify.py --root", "python -m minutier verify", "renewals/", "revocation/"):
        assert words in text
    for verdict in ("PASSED", "FAILED", "INDETERMINATE"):
        assert re.search(rf"^  {verdict} ", text, re.MULTILINE)


def test_both_readmes_have_the_same_parts():
    parts = {name: [line for line in text.splitlines() if line.isupper()] for name, text in READMES.items()}
    assert len(parts["fr"]) == len(parts["en"]) == 8
    assert all(len(line) <= 128 for text in READMES.values() for line in text.splitlines())


def test_they_say_that_a_blind_proof_is_of_the_encrypted_file():
    for text, word in ((kit.README_EN, "encrypted"), (kit.README_FR, "chiffré")):
        assert word in text
        assert "--opening P.opening.json --document" in text


def test_they_say_what_no_legal_value_means():
    assert "no legal value" in kit.README_EN
    assert "sans valeur juridique" in kit.README_FR

"""A trust directory: each kind of file is read, in order of name, and a bad one is named."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier.algorithm_dates import published_dates
from minutier.certificates import encode_pem
from minutier.errors import BadInputError
from minutier.trust import Trust, load_trust
from tests.support.pki import default_pki, new_pki, write_trust

PKI = default_pki()


def test_no_directory_gives_no_anchor():
    assert load_trust(None) == Trust()
    assert (Trust().roots, Trust().journal_keys, Trust().crls) == ((), (), ())
    assert Trust().dates == published_dates()


def test_every_kind_of_file_is_read(tmp_path):
    place = write_trust(tmp_path / "trust", PKI)
    other = new_pki("Other")
    (place / "a-first.pem").write_bytes(encode_pem([other.root, other.tsa]))
    (place / "list.crl").write_bytes(PKI.crl.public_bytes(Encoding.DER))
    (place / "z-last.vkey").write_text(other.note_key.vkey())
    (place / "notes.txt").write_text("left alone")
    found = load_trust(place)
    assert found.roots == (other.root, other.tsa, PKI.root)
    assert found.journal_keys == (PKI.note_key, other.note_key)
    assert found.crls == (PKI.crl,)
    assert found.dates == published_dates()


def test_dates_of_the_verifier_come_first(tmp_path):
    table = {"format": "minutier-algorithm-dates/1", "source": "mine", "ends": {"sha256": None}}
    (tmp_path / "algorithms.json").write_text(json.dumps(table))
    assert load_trust(tmp_path).dates.source == "mine"
    assert load_trust(tmp_path).dates.ends == {"sha256": None}


def refusal(place) -> BadInputError:
    with pytest.raises(BadInputError) as caught:
        load_trust(place)
    assert caught.value.code == "TRUST_UNREADABLE"
    assert caught.value.message.startswith("The trust directory is not usable: ")
    assert caught.value.remedy == (
        "Put in it only *.pem roots, *.vkey keys, *.crl lists, algorithms.json, policy.toml, all checked."
    )
    return caught.value


def test_what_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "none"):
        assert f"{place} is not a directory." in refusal(place).message


NO_LIST, NO_ROOT = "no revocation list in DER", "no certificate in PEM"
UNUSABLE = {
    # What a library says of a certificate or a list is left out; what our parsers say follows.
    "a.pem": dict.fromkeys((b"", b"\xff\xfe", b"text"), f"{NO_ROOT}."),
    "a.crl": dict.fromkeys((b"", b"\xff\xfe", b"text"), f"{NO_LIST}."),
    "a.vkey": {
        b"text": "no key of a journal (not a C2SP Ed25519 verifier key (name+id+base64)).",
        b"\xff\xfe": "no key of a journal ('ascii' codec can't decode byte 0xff in position 0: ",
    },
    "algorithms.json": {b"": "no table of dates (", b"{}": "no table of dates ("},
    "policy.toml": {
        b"": "no policy (policy.toml holds one line: second_seal_required_from = YEAR).",
        b"\xff\xfe": "no policy ('utf-8' codec can't decode byte 0xff in position 0: ",
    },
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, said in UNUSABLE.items() for data in said])
def test_an_unusable_file_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    message = refusal(tmp_path).message
    assert message.startswith(f"The trust directory is not usable: {tmp_path / name} is {UNUSABLE[name][data]}")
    assert message.endswith(".")
    assert "https:" not in message


@pytest.mark.parametrize(("year", "fits"), [(1999, False), (2000, True), (9999, True), (10000, False)])
def test_the_year_of_a_policy_has_four_digits_of_ours(tmp_path, year, fits):
    (tmp_path / "policy.toml").write_text(f"second_seal_required_from = {year}\n")
    if fits:
        assert load_trust(tmp_path).second_seal_from == year
    else:
        assert "holds one line: second_seal_required_from = YEAR" in refusal(tmp_path).message


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "a.pem").mkdir()
    assert f"{tmp_path / 'a.pem'} cannot be read (Is a directory)." in refusal(tmp_path).message

"""No other bytes pass for a proof: every member, every place of the file, and forgeries packed with a fitting index."""

from __future__ import annotations

import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minutier import canonical, proof
from minutier.container import open_container, pack
from minutier.report import Report, Verdict
from minutier.verify import verify
from tests.support.bundle import ARCHIVE_ID, make_bundle, repack, trust_of, unpack
from tests.support.pki import NOW, default_pki

TRUST = trust_of(default_pki())
LATER = NOW + timedelta(days=1)
MEMBERS = sorted(
    (*proof.REQUIRED[proof.FORMAT], proof.PROGRAM, proof.RENDITION, "document/original.pdf", "revocation/root.crl")
)
PLACES = {"first": 0.0, "middle": 0.5, "last": 1.0}
# Bounded and the same on every run: about half a minute in all.
BOUNDED = settings(max_examples=120, deadline=None, derandomize=True, database=None)
FEWER = settings(BOUNDED, max_examples=60)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mutations")


@pytest.fixture(scope="module")
def good(place) -> Path:
    return make_bundle(place / "good.zip")


@pytest.fixture(scope="module")
def files(good) -> dict[str, bytes]:
    return unpack(good)


def judge(data: bytes, place: Path) -> Report:
    (place / "altered.zip").write_bytes(data)
    return verify(place / "altered.zip", TRUST, LATER)


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def index_at(size: int, fraction: float) -> int:
    return min(size - 1, int(size * fraction))


def named(report: Report) -> set[str]:
    return {finding.where for finding in report.findings if finding.verdict is Verdict.FAILED}


def assert_fails_at(report: Report, member: str) -> None:
    assert report.verdict is Verdict.FAILED
    assert member in named(report)


def test_the_members_are_those_of_the_proof_and_it_passes(good, files):
    assert sorted(files) == MEMBERS
    report = verify(good, TRUST, LATER)
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())


@pytest.mark.parametrize("fraction", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("member", MEMBERS)
def test_one_altered_byte_of_a_member_fails_and_names_it(good, place, member, fraction):
    data = good.read_bytes()
    with open_container(good) as container:
        entry = container.entries[member]
    at = entry.offset + index_at(entry.size, fraction)
    for mask in (0x01, 0x20, 0x80):
        assert_fails_at(judge(flip(data, at, mask), place), member)


@pytest.mark.parametrize("fraction", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("member", [member for member in MEMBERS if member != proof.INDEX])
def test_one_altered_byte_of_a_member_that_the_checksum_hides_is_named_by_the_index(files, place, member, fraction):
    # The CRC-32 of the container is made to fit, the index is not.
    altered = {**files, member: flip(files[member], index_at(len(files[member]), fraction))}
    pack(altered, place / "altered.zip")
    report = verify(place / "altered.zip", TRUST, LATER)
    assert_fails_at(report, member)
    assert "INDEX_DIGEST" in {finding.code for finding in report.findings if finding.where == member}


@pytest.mark.parametrize("fraction", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("member", MEMBERS)
def test_one_altered_byte_fails_even_when_checksum_and_index_fit(files, place, member, fraction):
    # What a careful forger does: no check but those of the content itself is left.
    altered = {**files, member: flip(files[member], index_at(len(files[member]), fraction))}
    report = verify(repack(altered, place / "altered.zip", reindex=member != proof.INDEX), TRUST, LATER)
    assert report.verdict is Verdict.FAILED


@BOUNDED
@given(st.sampled_from(MEMBERS), st.floats(0, 1), st.integers(1, 255))
def test_any_altered_byte_of_any_member_fails_and_names_it(good, place, member, fraction, mask):
    with open_container(good) as container:
        entry = container.entries[member]
    at = entry.offset + index_at(entry.size, fraction)
    assert_fails_at(judge(flip(good.read_bytes(), at, mask), place), member)


@BOUNDED
@given(st.sampled_from(MEMBERS), st.floats(0, 1), st.integers(1, 255))
def test_any_altered_byte_fails_even_when_checksum_and_index_fit(files, place, member, fraction, mask):
    altered = {**files, member: flip(files[member], index_at(len(files[member]), fraction), mask)}
    report = verify(repack(altered, place / "altered.zip", reindex=member != proof.INDEX), TRUST, LATER)
    assert report.verdict is Verdict.FAILED


@BOUNDED
@given(st.data())
def test_any_altered_byte_of_the_file_fails(good, place, data):
    # Headers, directory and end record included: nothing of the file is left unread.
    whole = good.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    assert judge(flip(whole, at, data.draw(st.integers(1, 255))), place).verdict is Verdict.FAILED


def test_every_byte_around_the_members_is_read(good, place):
    whole = bytearray(good.read_bytes())
    with open_container(good) as container:
        content = {at for e in container.entries.values() for at in range(e.offset, e.offset + e.size)}
    around = sorted(set(range(len(whole))) - content)
    assert len(around) > 30 * len(MEMBERS)
    for at in around:
        whole[at] ^= 0x04
        assert judge(bytes(whole), place).verdict is Verdict.FAILED, at
        whole[at] ^= 0x04


@BOUNDED
@given(st.data())
def test_a_cut_or_lengthened_file_fails(good, place, data):
    whole = good.read_bytes()
    assert judge(whole[: data.draw(st.integers(0, len(whole) - 1))], place).verdict is Verdict.FAILED
    assert judge(whole + data.draw(st.binary(min_size=1, max_size=40)), place).verdict is Verdict.FAILED


@pytest.mark.parametrize("member", MEMBERS)
def test_a_removed_member_is_missed(files, place, member):
    left = {path: data for path, data in files.items() if path != member}
    pack(left, place / "altered.zip")
    assert_fails_at(verify(place / "altered.zip", TRUST, LATER), member)


@pytest.mark.parametrize("member", [m for m in MEMBERS if m not in (proof.INDEX, proof.PROGRAM, "revocation/root.crl")])
def test_a_removed_member_is_missed_even_when_the_index_fits(files, place, member):
    left = {path: data for path, data in files.items() if path != member}
    report = verify(repack(left, place / "altered.zip"), TRUST, LATER)
    assert report.verdict is Verdict.FAILED
    # An original may have any extension: what is missing is named without one.
    assert member.replace("original.pdf", "original") in named(report)


def test_a_removed_revocation_list_leaves_no_verdict(files, place):
    left = {path: data for path, data in files.items() if path != "revocation/root.crl"}
    assert verify(repack(left, place / "altered.zip"), TRUST, LATER).verdict is Verdict.INDETERMINATE


STRAYS = ["notes.txt", "a", "document/annex.pdf", "document/original.txt", "journal/entry.txt", "certificates/x.pem"]
STRAYS += ["revocation/other.crl", "proof.json.bak", "zzz/last.bin"]


@pytest.mark.parametrize("reindex", [False, True], ids=["index-as-it-was", "index-fits"])
@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_member_is_named(files, place, stray, reindex):
    report = verify(repack({**files, stray: b"stray"}, place / "altered.zip", reindex=reindex), TRUST, LATER)
    assert_fails_at(report, stray)


def test_a_revocation_list_of_strangers_is_named(files, place):
    stranger = make_bundle(place / "stranger.zip", None, original=b"other")
    crl = unpack(stranger)["revocation/root.crl"]
    altered = {**files, "revocation/other.crl": crl[:-1] + bytes((crl[-1] ^ 1,))}
    report = verify(repack(altered, place / "altered.zip"), TRUST, LATER)
    assert_fails_at(report, "revocation/other.crl")


@FEWER
@given(st.lists(st.sampled_from(MEMBERS), min_size=2, max_size=2, unique=True), st.booleans())
def test_two_swapped_members_fail_and_are_named(files, place, pair, reindex):
    left, right = pair
    assume(files[left] != files[right])
    altered = {**files, left: files[right], right: files[left]}
    report = verify(repack(altered, place / "altered.zip", reindex=reindex and proof.INDEX not in pair), TRUST, LATER)
    assert report.verdict is Verdict.FAILED
    assert named(report) & set(pair)


@FEWER
@given(st.data())
def test_an_index_with_other_values_fails(files, place, data):
    # The index is signed by nothing: each of its values must be bound to something else.
    index = json.loads(files[proof.INDEX])
    item = data.draw(st.sampled_from(index["files"]))
    change = data.draw(st.sampled_from(["path", "sha256", "size", "archive_id", "drop", "add"]))
    if change == "archive_id":
        index["archive_id"] = ARCHIVE_ID[:-1] + "c"
    elif change == "drop":
        index["files"].remove(item)
    elif change == "add":
        index["files"].append({**item, "path": "zzz.txt"})
    else:
        item[change] = {"path": item["path"] + "x", "sha256": "0" * 64, "size": item["size"] + 1}[change]
    index["files"].sort(key=lambda entry: entry["path"])
    altered = {**files, proof.INDEX: canonical.encode(index)}
    assert verify(repack(altered, place / "altered.zip", reindex=False), TRUST, LATER).verdict is Verdict.FAILED


def test_the_same_members_packed_by_another_tool_are_another_file(good, files, place):
    with zipfile.ZipFile(place / "other.zip", "w", zipfile.ZIP_STORED) as writer:
        for path, data in files.items():
            writer.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), data)
    assert verify(place / "other.zip", TRUST, LATER).verdict is Verdict.FAILED
    # And packed by ours they are the same file.
    assert repack(files, place / "again.zip").read_bytes() == good.read_bytes()

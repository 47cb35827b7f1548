"""What a verification says, to the letter: steps 1 to 3, of a proof with every part that is altered in one place."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from minutier import canonical, evidence, proof
from minutier.report import Step, Verdict
from minutier.verify import verify
from tests.support.bundle import make_bundle, make_parts, repack, unpack, with_json
from tests.support.findings import PAGE, failed, judged, said, unreadable
from tests.support.full_bundle import FULL_JUDGED_AT, full_trust, make_full_bundle
from tests.support.pki import END, NOW, default_pki, make_info, make_token

TRUST = full_trust()
ORIGINAL = "document/original.pdf"
TITLES = (
    "container readable, bounded, canonical",
    "index lists exactly the files, with their digests",
    "manifest canonical, its objects are the files",
    "seal over the manifest, trusted at the time of the token",
    "evidence record about exactly these files",
    "time-stamp token trusted, over the evidence",
    "journal entry commits this manifest, included under the checkpoint",
    "checkpoint signed by a trusted journal key",
    "accompanying files agree with what was verified",
)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    return unpack(make_full_bundle(tmp_path_factory.mktemp("full") / "P.zip"))


@pytest.fixture
def files(genuine):
    return dict(genuine)


def steps(*verdicts: Verdict | None) -> tuple[Step, ...]:
    titled = zip(TITLES, verdicts, strict=True)
    return tuple(Step(number, title, verdict) for number, (title, verdict) in enumerate(titled, 1))


# --- step 1 and the report


def test_a_file_that_is_no_container_stops_at_step_1(tmp_path):
    (tmp_path / "P.zip").write_bytes(b"hello")
    report = verify(tmp_path / "P.zip", TRUST, NOW)
    message = "P.zip is not a ZIP file."
    assert report.findings == (failed("CONTAINER_NOT_CANONICAL", "P.zip", message, f"{PAGE} §1"),)
    assert (report.verdict, report.facts) == (Verdict.FAILED, {})
    assert report.steps == steps(Verdict.FAILED, *[None] * 8)


def test_every_step_passes_under_its_own_title(files, tmp_path):
    assert judged(files, tmp_path).steps == steps(*[Verdict.PASSED] * 9)


@pytest.mark.parametrize(
    ("path", "failing"),
    [
        ("notes.txt", {2}),
        (proof.PATH_TEXT, {5}),
        (proof.INCLUSION, {7}),
        (proof.CHECKPOINT, {7, 8}),
        (proof.SCRIPT, {9}),
    ],
)
def test_a_step_has_the_verdict_of_its_own_findings(files, tmp_path, path, failing):
    report = judged({**files, path: files.get(path, b"") + b"\n"}, tmp_path)
    assert report.verdict is Verdict.FAILED
    assert {step.number for step in report.steps if step.verdict is Verdict.FAILED} == failing
    assert {step.verdict for step in report.steps if step.number not in failing} == {Verdict.PASSED}


def test_a_step_is_not_blamed_for_those_before(files, tmp_path):
    files["notes.txt"] = b"x"
    report = judged(files, tmp_path, trust=replace(TRUST, journal_keys=()))
    unknown, passed = Verdict.INDETERMINATE, Verdict.PASSED
    assert report.steps == steps(passed, Verdict.FAILED, *[passed] * 5, unknown, passed)
    assert report.verdict is Verdict.FAILED


def test_a_seal_is_judged_at_the_time_of_a_token_that_leaves_its_certificate_out(tmp_path):
    parts = make_parts()
    first = evidence.decode_record(parts.record).first
    token = make_token(default_pki(), make_info(first.root, gen_time=NOW), embedded=[])
    proof.assemble(
        replace(parts, record=evidence.encode_record(evidence.initial_record(first.path, token))), tmp_path / "P.zip"
    )
    report = verify(tmp_path / "P.zip", TRUST, END + timedelta(days=1))
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())


# --- step 2


def test_every_byte_of_a_large_file_is_measured(tmp_path):
    files = unpack(make_bundle(tmp_path / "P.zip", original=b"%PDF" + bytes(3 << 20)))
    assert judged(files, tmp_path, trust=replace(TRUST, second_roots=())).findings == ()


@pytest.mark.parametrize("path", [ORIGINAL, proof.SEAL_CHAIN])
def test_a_byte_altered_inside_the_container(files, tmp_path, path):
    bundle = repack(files, tmp_path / "P.zip")
    data = bundle.read_bytes()
    place = data.index(files[path])
    bundle.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
    found = verify(bundle, TRUST, FULL_JUDGED_AT)
    assert said(found, "CONTAINER_CRC", "INDEX_DIGEST") == [
        failed("CONTAINER_CRC", path, f"{path} was altered inside the container.", f"{PAGE} §1"),
        failed("INDEX_DIGEST", path, f"{path} is not the file that the index lists."),
    ]


@pytest.mark.parametrize("path", sorted({*proof.REQUIRED[proof.FORMAT]} - {proof.INDEX}))
def test_a_required_file_that_is_absent(files, tmp_path, path):
    report = judged({**files, path: None}, tmp_path)
    assert said(report, "FILE_MISSING", "KIT_UNKNOWN", "INDEX_FILES") == [
        failed("FILE_MISSING", path, f"{path} is missing.")
    ]


def test_originals_are_counted(files, tmp_path):
    two = judged({**files, "document/original.txt": b"x"}, tmp_path)
    none = judged({**files, ORIGINAL: None}, tmp_path)
    for number, report in ((2, two), (0, none)):
        assert said(report, "FILE_MISSING", "FILE_UNEXPECTED", "MANIFEST_OBJECT") == [
            failed("FILE_MISSING", "document/original", f"{number} originals, exactly one is expected.")
        ]


@pytest.mark.parametrize("path", ["notes.txt", "document/other.pdf", "revocation/x.txt", "renewals/x.tst"])
def test_a_file_without_a_place(files, tmp_path, path):
    report = judged({**files, path: b"x"}, tmp_path)
    assert said(report, "FILE_UNEXPECTED") == [failed("FILE_UNEXPECTED", path, f"{path} has no place in a proof.")]


INDEXES = {
    "a-file-is-not-listed": (
        lambda index: index["files"].pop(),
        [failed("INDEX_FILES", "verify.sh", "verify.sh is in the index or in the container, not in both.")],
    ),
    "a-listed-file-is-absent": (
        lambda index: index["files"].append({"path": "z", "sha256": "", "size": 0}),
        [failed("INDEX_FILES", "z", "z is in the index or in the container, not in both.")],
    ),
    "the-index-lists-itself": (
        lambda index: index["files"].insert(
            next(n for n, item in enumerate(index["files"]) if item["path"] > "proof.json"),
            {"path": "proof.json", "sha256": "", "size": 0},
        ),
        [
            failed("INDEX_FILES", "proof.json", "proof.json is in the index or in the container, not in both."),
            failed("INDEX_DIGEST", "proof.json", "proof.json is not the file that the index lists."),
        ],
    ),
    "another-digest": (
        lambda index: index["files"][0].update(sha256="00" * 32),
        [failed("INDEX_DIGEST", "README.en.txt", "README.en.txt is not the file that the index lists.")],
    ),
    "another-size": (
        lambda index: index["files"][0].update(size=1),
        [failed("INDEX_DIGEST", "README.en.txt", "README.en.txt is not the file that the index lists.")],
    ),
    "not-sorted": (
        lambda index: index["files"].reverse(),
        [unreadable("INDEX_FORMAT", "proof.json", "files are not sorted by path, or one comes twice")],
    ),
    "one-twice": (
        lambda index: index["files"].append(dict(index["files"][-1])),
        [unreadable("INDEX_FORMAT", "proof.json", "files are not sorted by path, or one comes twice")],
    ),
    "another-member": (
        lambda index: index.update(note="x"),
        [unreadable("INDEX_FORMAT", "proof.json", "unknown members")],
    ),
    "another-format": (
        lambda index: index.update(format="minutier-proof/3"),
        [unreadable("INDEX_FORMAT", "proof.json", "it is not of the format minutier-proof/2")],
    ),
    "no-format": (
        lambda index: index.pop("format"),
        [unreadable("INDEX_FORMAT", "proof.json", "it is not of the format minutier-proof/2")],
    ),
    "an-identifier-that-is-no-text": (
        lambda index: index.update(archive_id=7),
        [unreadable("INDEX_FORMAT", "proof.json", "archive_id is not a string")],
    ),
    "files-that-are-no-list": (
        lambda index: index.update(files="x"),
        [unreadable("INDEX_FORMAT", "proof.json", "files is not a list of the right kind")],
    ),
    "a-path-that-is-no-text": (
        lambda index: index["files"][0].update(path=1),
        [unreadable("INDEX_FORMAT", "proof.json", "path is not a string")],
    ),
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_that_does_not_fit(files, tmp_path, name):
    change, expected = INDEXES[name]
    index = json.loads(files[proof.INDEX])
    change(index)
    files[proof.INDEX] = canonical.encode(index)
    report = judged(files, tmp_path, reindex=False)
    assert said(report, "INDEX_FORMAT", "INDEX_FILES", "INDEX_DIGEST") == expected


def test_an_index_that_is_no_object(files, tmp_path):
    for data in (b"[]", b"x", b""):
        found = said(judged({**files, proof.INDEX: data}, tmp_path, reindex=False), "INDEX_FORMAT")
        assert [(item.where, item.verdict) for item in found] == [(proof.INDEX, Verdict.FAILED)]


# --- proofs of version 1


def of_version_1(files):
    """Give the index of a proof of the first version to files."""
    index = json.loads(proof.encode_index(json.loads(files[proof.INDEX])["archive_id"], without_index(files)))
    return {**files, proof.INDEX: canonical.encode({**index, "format": proof.OLD_FORMAT})}


def without_index(files):
    return {path: data for path, data in files.items() if path != proof.INDEX}


def test_a_proof_of_version_1_holds_only_what_it_could(tmp_path, genuine):
    old = unpack(make_bundle(tmp_path / "P.zip"))
    del old[proof.PROGRAM]
    assert judged(of_version_1(old), tmp_path, reindex=False).findings == ()
    later = {"renewals/02.tst", "revocation/tsa.ocsp", proof.PROGRAM, proof.SECOND_SEAL, proof.STATEMENT, proof.ANCHOR}
    for path in sorted(later):
        report = judged(of_version_1({**old, path: genuine[path]}), tmp_path, reindex=False)
        assert said(report, "FILE_UNEXPECTED", "INDEX_FORMAT") == [
            failed("FILE_UNEXPECTED", path, f"{path} has no place in a proof.")
        ]


# --- step 3


def manifest_with(files, **changes):
    return {**files, proof.MANIFEST: with_json(files[proof.MANIFEST], **changes)}


def objects_with(files, number, **changes):
    """Give the files with members of one object of the manifest replaced."""
    objects = json.loads(files[proof.MANIFEST])["objects"]
    objects[number] |= changes
    return manifest_with(files, objects=objects)


NO_DOCUMENT = "objects are the original, then the rendition if there is one"
MANIFESTS = {
    "of-another-format": (
        lambda files: manifest_with(files, format="x"),
        "it is not of the format minutier-manifest/1",
    ),
    "without-a-safe": (lambda files: manifest_with(files, safe=1), "safe is not a string"),
    "without-an-identifier": (lambda files: manifest_with(files, archive_id=1), "archive_id is not a string"),
    "without-a-date": (lambda files: manifest_with(files, deposited_at=1), "deposited_at is not a string"),
    "without-objects": (lambda files: manifest_with(files, objects=1), "objects is not a list of the right kind"),
    "of-no-object": (lambda files: manifest_with(files, objects=[]), NO_DOCUMENT),
    "of-two-originals": (lambda files: objects_with(files, 1, role="original"), NO_DOCUMENT),
    "of-a-rendition-alone": (lambda files: objects_with(files, 0, role="rendition"), NO_DOCUMENT),
    "of-a-role-without-name": (lambda files: objects_with(files, 0, role=1), "role is not a string"),
    "of-an-object-without-digest": (lambda files: objects_with(files, 0, sha256=1), "sha256 is not a string"),
    "of-an-object-without-second-digest": (
        lambda files: objects_with(files, 0, sha3_512=1),
        "sha3_512 is not a string",
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_not_readable(files, tmp_path, name):
    change, why = MANIFESTS[name]
    report = judged(change(files), tmp_path)
    assert said(report, "MANIFEST_FORMAT", "MANIFEST_OBJECT", "MANIFEST_ID") == [
        unreadable("MANIFEST_FORMAT", proof.MANIFEST, why)
    ]


def test_a_manifest_of_another_document(files, tmp_path):
    report = judged(manifest_with(files, archive_id="other"), tmp_path)
    message = "The manifest and the index name different documents."
    assert said(report, "MANIFEST_ID", "MANIFEST_FORMAT") == [failed("MANIFEST_ID", proof.MANIFEST, message)]
    assert report.facts["archive_id"] == "other"


@pytest.mark.parametrize(("number", "path"), [(0, ORIGINAL), (1, proof.RENDITION)])
@pytest.mark.parametrize("changes", [{"sha256": "00"}, {"sha3_512": "00"}, {"size": 1}, {"size": "1"}])
def test_an_object_is_its_file_by_both_digests_and_size(files, tmp_path, number, path, changes):
    report = judged(objects_with(files, number, **changes), tmp_path)
    message = f"{path} is not the document that the manifest describes."
    assert said(report, "MANIFEST_OBJECT", "MANIFEST_FORMAT") == [
        failed("MANIFEST_OBJECT", path, message, "NF Z42-013")
    ]


def test_a_rendition_is_in_the_manifest_and_here_or_in_neither(files, tmp_path):
    expected = [failed("MANIFEST_OBJECT", proof.RENDITION, "The rendition is in the manifest or here, not in both.")]
    objects = json.loads(files[proof.MANIFEST])["objects"]
    for changed in ({**files, proof.RENDITION: None}, manifest_with(files, objects=objects[:1])):
        assert said(judged(changed, tmp_path), "MANIFEST_OBJECT", "MANIFEST_FORMAT") == expected

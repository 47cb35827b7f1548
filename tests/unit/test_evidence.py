"""RFC 4998: each document's path leads to the one root, and no other document has it."""

from __future__ import annotations

import hashlib

import pytest
from asn1crypto import algos, cms, core
from hypothesis import given, settings
from hypothesis import strategies as st

from minutier import der
from minutier.errors import IntegrityFailureError
from minutier.evidence import (
    build_batch,
    check_record,
    decode_record,
    encode_record,
    initial_record,
    path_root,
    path_text,
)
from tests.support.pki import default_pki, make_info, make_token


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


TOKEN = make_token(default_pki(), make_info(sha256(b"root")))
HASHES = st.binary(min_size=32, max_size=32)
GROUPS = st.lists(st.lists(HASHES, min_size=2, max_size=5), min_size=1, max_size=40)


def group(number: int, size: int = 2) -> list[bytes]:
    return [sha256(b"%d/%d" % (number, member)) for member in range(size)]


@settings(max_examples=60)
@given(GROUPS)
def test_every_path_leads_to_the_root(groups):
    root, paths = build_batch(groups)
    for members, path in zip(groups, paths, strict=True):
        assert path[0] == sorted(members)
        assert path_root(path) == root
        assert all(len(siblings) == 1 for siblings in path[1:])


def test_one_document_is_its_own_root():
    members = group(1, 4)
    root, paths = build_batch([members])
    assert paths == [[sorted(members)]]
    assert root == sha256(b"".join(sorted(members)))


def test_the_odd_one_is_promoted_and_adds_no_list():
    groups = [group(number) for number in range(5)]
    root, paths = build_batch(groups)
    assert [len(path) for path in paths] == [4, 4, 4, 4, 2]
    leaves = [sha256(b"".join(sorted(members))) for members in groups]

    def node(left: bytes, right: bytes) -> bytes:
        return sha256(b"".join(sorted((left, right))))

    four = node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3]))
    assert root == node(four, leaves[4])
    assert paths[4][1] == [four]


@pytest.mark.parametrize("groups", [[], [[b"short", b"short"]], [group(1), []], [group(1, 65)]])
def test_unusable_batches_are_refused(groups):
    with pytest.raises(ValueError, match=r"batch|group"):
        build_batch(groups)


def test_the_text_of_a_path():
    _, paths = build_batch([group(1), group(2)])
    lines = path_text(paths[0]).split("\n")
    assert lines == [" ".join(item.hex() for item in sorted(group(1))), paths[0][1][0].hex(), ""]


def test_a_record_there_and_back():
    root, paths = build_batch([group(number, 4) for number in range(3)])
    for number, path in enumerate(paths):
        record = decode_record(encode_record(initial_record(path, TOKEN)))
        assert (record.first.token, record.first.root) == (TOKEN, root)
        assert encode_record(record) == encode_record(initial_record(path, TOKEN))
        check_record(record, {"sha256": list(reversed(group(number, 4)))})


class Algorithms(core.SequenceOf):
    _child_spec = algos.DigestAlgorithm


class HashList(core.SequenceOf):
    _child_spec = core.OctetString


class HashLists(core.SequenceOf):
    _child_spec = HashList


class ArchiveTimeStamp(core.Sequence):
    """RFC 4998 §4.1."""

    _fields = [  # noqa: RUF012 - asn1crypto's way
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("reduced_hashtree", HashLists, {"implicit": 2, "optional": True}),
        ("time_stamp", cms.ContentInfo),
    ]


class Chain(core.SequenceOf):
    _child_spec = ArchiveTimeStamp


class Chains(core.SequenceOf):
    _child_spec = Chain


class Record(core.Sequence):
    """RFC 4998 §3.1. asn1crypto's own EvidenceRecord lacks the level of chains."""

    _fields = [  # noqa: RUF012 - asn1crypto's way
        ("version", core.Integer),
        ("digest_algorithms", Algorithms),
        ("chains", Chains),
    ]


def test_the_structure_of_a_record_as_another_reader_sees_it():
    _, paths = build_batch([group(1), group(2)])
    record = Record.load(encode_record(initial_record(paths[0], TOKEN)), strict=True).native
    assert (record["version"], record["digest_algorithms"][0]["algorithm"]) == (1, "sha256")
    stamp = record["chains"][0][0]
    assert stamp["digest_algorithm"]["algorithm"] == "sha256"
    assert stamp["reduced_hashtree"] == paths[0]
    assert stamp["time_stamp"]["content_type"] == "signed_data"


def test_the_group_is_exactly_the_members():
    _, paths = build_batch([group(1, 4), group(2, 4)])
    record = decode_record(encode_record(initial_record(paths[0], TOKEN)))
    for wrong in (group(2, 4), group(1, 3), group(1, 5), [*group(1, 3), sha256(b"x")], []):
        with pytest.raises(IntegrityFailureError) as caught:
            check_record(record, {"sha256": wrong})
        assert caught.value.code == "EVIDENCE_GROUP"


ALGORITHM = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
SHA512 = der.sequence(der.oid("2.16.840.1.101.3.4.2.3"))


def record(
    members=None, *, version=1, listed=ALGORITHM, algorithm=None, siblings=(), stamps=1, chains=1, with_list=True
) -> bytes:
    members = sorted(group(1)) if members is None else members
    lists = der.sequence(*(der.octets(item) for item in members))
    lists += b"".join(der.sequence(*(der.octets(item) for item in level)) for level in siblings)
    stamp = der.sequence(
        der.read(algorithm or ALGORITHM).retagged(0xA0).encoded, der.context(2, lists) if with_list else b"", TOKEN
    )
    return der.sequence(
        der.integer(version), der.sequence(listed), der.sequence(*([der.sequence(*[stamp] * stamps)] * chains))
    )


REFUSED = {
    "empty": b"",
    "too-large": bytes(600_000),
    "trailing-byte": record() + b"\x00",
    "version-2": record(version=2),
    "two-chains": record(chains=2),
    "two-stamps": record(stamps=2),
    "no-hash-list": record(with_list=False),
    "other-algorithm": record(algorithm=SHA512, listed=SHA512),
    "algorithm-not-listed": record(listed=SHA512),
    "one-member": record(group(1)[:1]),
    "members-not-sorted": record(sorted(group(1), reverse=True)),
    "short-hash": record([b"a", b"b"]),
    "two-siblings": record(siblings=[[sha256(b"1"), sha256(b"2")]]),
    "empty-level": record(siblings=[[]]),
    "too-many-levels": record(siblings=[[sha256(b"1")]] * 64),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_records_are_refused(name):
    with pytest.raises(IntegrityFailureError) as caught:
        decode_record(REFUSED[name])
    assert caught.value.code == "EVIDENCE_FORMAT"

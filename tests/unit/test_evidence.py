"""RFC 4998: each document's path leads to the one root, and no other document has it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from asn1crypto import algos, cms, core
from hypothesis import given, settings
from hypothesis import strategies as st

from minutier import der
from minutier.algorithms import hash_identifier
from minutier.errors import IntegrityFailureError
from minutier.evidence import (
    MAX_RECORD_BYTES,
    ArchiveTimestamp,
    EvidenceRecord,
    build_batch,
    check_record,
    decode_record,
    encode_record,
    encode_sequence,
    first_list,
    initial_record,
    older_hash,
    path_root,
    path_text,
    rehash_member,
    renewal_leaf,
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


PKI = default_pki()


def sha3(data: bytes) -> bytes:
    return hashlib.sha3_512(data).digest()


def token_over(root: bytes, algorithm: str = "sha256", serial: int = 7) -> bytes:
    return make_token(PKI, make_info(root, imprint_algorithm=hash_identifier(algorithm), serial=serial))


def stamp_over(members: list[bytes], algorithm: str = "sha256", serial: int = 7) -> ArchiveTimestamp:
    """Make an archive time-stamp of a batch of one."""
    root, paths = build_batch([members], algorithm)
    return ArchiveTimestamp(algorithm, tuple(map(tuple, paths[0])), token_over(root, algorithm, serial))


OBJECTS = (b"original", b"manifest", b"seal")
DIGESTS = {"sha256": [sha256(data) for data in OBJECTS], "sha3_512": [sha3(data) for data in OBJECTS]}
FIRST = stamp_over(DIGESTS["sha256"])
SECOND = stamp_over([sha256(FIRST.token)], serial=8)
CHAIN = (FIRST, SECOND)


def test_the_hash_of_older_chains_and_the_members_of_a_renewal_by_definition():
    # RFC 4998 §5.2: ha = H(DER of the older chains), members H(H(object) || ha); the other kind has H(token).
    older = der.sequence(
        der.sequence(*(der.read(encode_record(EvidenceRecord((CHAIN,)))).children()[2].children()[0].content,))
    )
    assert encode_sequence([CHAIN]) == older
    ha = sha3(older)
    assert older_hash([CHAIN], "sha3_512") == ha
    assert rehash_member(DIGESTS["sha3_512"][0], ha, "sha3_512") == sha3(DIGESTS["sha3_512"][0] + ha)
    assert renewal_leaf(FIRST.token, "sha256") == sha256(FIRST.token)
    assert renewal_leaf(FIRST.token, "sha3_512") == sha3(FIRST.token)


def test_the_first_list_of_each_kind_of_archive_time_stamp():
    assert first_list((), (), "sha256", DIGESTS["sha256"]) == sorted(DIGESTS["sha256"])
    assert first_list((), (FIRST,), "sha256", ()) == [sha256(FIRST.token)]
    assert first_list((), CHAIN, "sha256", ()) == [sha256(SECOND.token)]
    ha = older_hash([CHAIN], "sha3_512")
    expected = sorted(sha3(item + ha) for item in DIGESTS["sha3_512"])
    assert first_list((CHAIN,), (), "sha3_512", DIGESTS["sha3_512"]) == expected
    third = stamp_over(expected, "sha3_512")
    assert first_list((CHAIN,), (third,), "sha3_512", DIGESTS["sha3_512"]) == [sha3(third.token)]


def renewed_record() -> EvidenceRecord:
    third = stamp_over(first_list((CHAIN,), (), "sha3_512", DIGESTS["sha3_512"]), "sha3_512", 9)
    fourth = stamp_over(first_list((CHAIN,), (third,), "sha3_512", ()), "sha3_512", 10)
    return EvidenceRecord((CHAIN, (third, fourth)))


def test_a_record_with_both_renewals_there_and_back():
    record = renewed_record()
    assert decode_record(encode_record(record)) == record
    assert [stamp.algorithm for stamp in record.stamps] == ["sha256", "sha256", "sha3_512", "sha3_512"]
    assert record.first == FIRST
    check_record(record, DIGESTS)
    listed = der.read(encode_record(record)).children()[1].children()
    assert [item.encoded for item in listed] == [hash_identifier("sha256"), hash_identifier("sha3_512")]


def refusal_of(record: EvidenceRecord, digests=None) -> tuple[str, str, str]:
    with pytest.raises(IntegrityFailureError) as caught:
        check_record(record, digests or DIGESTS)
    assert caught.value.remedy == "Ask the archive for the proof again, and compare both."
    return caught.value.code, caught.value.message, caught.value.clause


CLAUSE = "RFC 4998 §4.3, §5.3"
RENEWAL = ("EVIDENCE_RENEWAL", "A time-stamp renewal is about another token than the one before it.", CLAUSE)
GROUP = ("EVIDENCE_GROUP", "The evidence record is about other files than those of this proof.", CLAUSE)


@pytest.mark.parametrize("place", range(4))
def test_each_archive_time_stamp_must_be_about_what_it_renews(place):
    stamps = list(renewed_record().stamps)
    wrong = [(bytes(len(item))) for item in stamps[place].path[0]]
    stamps[place] = replace(stamps[place], path=(tuple(wrong),))
    found = refusal_of(EvidenceRecord((tuple(stamps[:2]), tuple(stamps[2:]))))
    assert found == (RENEWAL if place % 2 else GROUP)


def test_a_renewed_tree_is_over_all_older_chains_as_they_are():
    record = renewed_record()
    other = replace(SECOND, token=token_over(SECOND.root, serial=99))
    assert refusal_of(EvidenceRecord(((FIRST, other), record.chains[1]))) == GROUP


def test_documents_broken_under_the_old_hash_alone_are_seen_by_the_new_one():
    # The drill of a broken SHA-256: another document with the same SHA-256 does not pass.
    assert refusal_of(renewed_record(), {**DIGESTS, "sha3_512": [sha3(b"collides"), *DIGESTS["sha3_512"][1:]]}) == GROUP


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_batches_by_another_hash(size):
    groups = [[sha3(b"%d" % number)] for number in range(size)]
    root, paths = build_batch(groups, "sha3_512")
    assert all(path_root(path, "sha3_512") == root for path in paths)
    assert (root == groups[0][0]) == (size == 1)


def test_a_group_has_at_most_64_members():
    root, paths = build_batch([group(1, 64)])
    assert (len(paths[0][0]), path_root(paths[0])) == (64, root)
    assert decode_record(encode_record(initial_record(paths[0], TOKEN))).first.path[0] == tuple(paths[0][0])
    with pytest.raises(ValueError, match="sha512 is not a hash"):
        build_batch([group(1)], "sha512")
    for wrong in ([], group(1, 65), [sha256(b""), sha3(b"")]):
        with pytest.raises(ValueError, match="1 to 64 sha256 hashes"):
            build_batch([wrong])
    with pytest.raises(ValueError, match="1 to 64 sha3_512 hashes"):
        build_batch([[sha256(b"")]], "sha3_512")


def reason(data: bytes) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        decode_record(data)
    assert (caught.value.code, caught.value.clause) == ("EVIDENCE_FORMAT", CLAUSE)
    assert caught.value.message.startswith("The evidence record is not readable: ")
    assert caught.value.message.endswith(".")
    return caught.value.message


def many(stamps: int) -> EvidenceRecord:
    chain = [FIRST]
    while len(chain) < stamps:
        chain.append(ArchiveTimestamp("sha256", ((sha256(chain[-1].token),),), TOKEN))
    return EvidenceRecord((tuple(chain),))


def chains(count: int) -> EvidenceRecord:
    hashes = [ArchiveTimestamp("sha256", (tuple(sorted(group(1))),), TOKEN)]
    hashes.append(ArchiveTimestamp("sha3_512", (tuple(sorted((sha3(b"1"), sha3(b"2")))),), TOKEN))
    return EvidenceRecord(tuple((hashes[number % 2],) for number in range(count)))


def levels(count: int) -> EvidenceRecord:
    path = (tuple(sorted(group(1))), *[(sha256(b"%d" % number),) for number in range(count - 1)])
    return EvidenceRecord(((ArchiveTimestamp("sha256", path, TOKEN),),))


@pytest.mark.parametrize(
    ("make", "most", "said"), [(many, 32, "1 to 32"), (chains, 8, "1 to 8"), (levels, 64, "1 to 64")]
)
def test_the_bounds_of_a_record_are_exact(make, most, said):
    record = make(most)
    assert decode_record(encode_record(record)) == record
    assert said in reason(encode_record(make(most + 1)))


def test_a_record_has_at_least_one_of_each():
    empty = der.sequence()
    for sequence, said in ((empty, "chains"), (der.sequence(empty), "time-stamps")):
        assert said in reason(der.sequence(der.integer(1), der.sequence(ALGORITHM), sequence))
    stamp = der.sequence(der.read(ALGORITHM).retagged(0xA0).encoded, der.context(2), TOKEN)
    assert "1 to 64 lists" in reason(
        der.sequence(der.integer(1), der.sequence(ALGORITHM), der.sequence(der.sequence(stamp)))
    )


def test_a_large_record_is_read_and_a_larger_one_is_not():
    assert "too large" not in reason(bytes(MAX_RECORD_BYTES))
    assert "too large" in reason(bytes(MAX_RECORD_BYTES + 1))
    assert MAX_RECORD_BYTES == 512 * 1024


def test_chains_and_stamps_have_their_own_rules():
    third = renewed_record().chains[1][0]
    assert "a chain has one algorithm" in reason(
        encode_record(EvidenceRecord(((FIRST, replace(third, path=((sha3(b"x"),),))),)))
    )
    assert "a new chain has a new algorithm" in reason(encode_record(EvidenceRecord(((FIRST,), (FIRST,)))))
    two = replace(SECOND, path=(tuple(sorted(group(1))),))
    assert "or that of the renewed token" in reason(encode_record(EvidenceRecord(((FIRST, two),))))
    one = replace(FIRST, path=(FIRST.path[0][:1],))
    assert "or that of the renewed token" in reason(encode_record(EvidenceRecord(((one,),))))
    assert "not sorted" in reason(record(sorted(group(1), reverse=True)))
    assert "one sibling" in reason(record(siblings=[[sha256(b"1"), sha256(b"2")]]))
    assert "length of its algorithm" in reason(record(siblings=[[b"short"]]))
    assert "version 1" in reason(record(version=0))
    assert "only form" in reason(record(listed=SHA512))
    assert "not a hash of evidence records" in reason(record(algorithm=SHA512))


def test_no_field_follows_and_none_is_of_another_type():
    fields = [item.encoded for item in der.read(record()).children()]
    assert "unexpected field" in reason(der.sequence(*fields, der.null()))
    assert "tag" in reason(der.sequence(fields[0], der.set_of(ALGORITHM), fields[2]))
    assert "tag" in reason(der.sequence(fields[0], fields[1], der.set_of(TOKEN)))
    stamp = [item.encoded for item in der.read(fields[2]).children()[0].children()[0].children()]

    def with_stamp(*parts: bytes, tag: int = der.SEQUENCE) -> bytes:
        return der.sequence(fields[0], fields[1], der.sequence(der.tlv(tag, der.sequence(*parts))))

    assert reason(with_stamp(*stamp, der.null()))
    assert "tag" in reason(with_stamp(*stamp, tag=der.SET))
    assert "tag" in reason(with_stamp(stamp[0], stamp[1], der.octets(TOKEN)))
    lists = der.tlv(0xA2, der.set_of(*(der.octets(item) for item in sorted(group(1)))))
    assert "tag" in reason(with_stamp(stamp[0], lists, stamp[2]))

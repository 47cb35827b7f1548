"""Planted alterations of evidence records: of the files, the hash lists, the tokens, both renewals, the structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509

from minutier import algorithms, der
from minutier.evidence import (
    ArchiveTimestamp,
    EvidenceRecord,
    build_batch,
    encode_record,
    encode_sequence,
    older_hash,
    rehash_member,
    renewal_leaf,
)
from tests.support import pki
from tests.support.plants import Table, flipped, tst_info
from tests.support.renewals import (
    NEW,
    OLD,
    RENEWED,
    RENEWED_AGAIN,
    STAMPED,
    YEAR,
    Batch,
    batch,
    century,
    hashed,
    stages,
)
from tests.support.verifiers import Question

DOCUMENT = 1  # of the batch of five; it has four members
MOMENTS = (STAMPED, RENEWED, RENEWED_AGAIN)
RECORDS = Table()
plant = RECORDS.plant


# --- what is altered


@cache
def five() -> Batch:
    return batch(5)


@cache
def whole() -> EvidenceRecord:
    """A record with both renewals: two archive time-stamps by SHA-256, then one by SHA3-512."""
    return stages(five())["time-stamp then hash tree renewed"].records[DOCUMENT]


def parts() -> tuple[ArchiveTimestamp, ArchiveTimestamp, ArchiveTimestamp]:
    (first, second), (third,) = whole().chains
    return first, second, third


def members() -> tuple[bytes, ...]:
    return five().documents[DOCUMENT]


def ask(
    record: EvidenceRecord | bytes, data: Sequence[bytes] = (), moments: Sequence[datetime] = MOMENTS, **changes
) -> Question:
    return century().question("", record, data or members(), moments, **changes)


def chains(*each: Sequence[ArchiveTimestamp]) -> EvidenceRecord:
    return EvidenceRecord(tuple(tuple(chain) for chain in each))


def raw_stamp(stamp: ArchiveTimestamp, *, named: str | None = None) -> bytes:
    """Write an archive time-stamp under the name of another algorithm."""
    lists = b"".join(der.sequence(*(der.octets(item) for item in hashes)) for hashes in stamp.path)
    algorithm = der.read(algorithms.hash_identifier(named or stamp.algorithm)).retagged(0xA0).encoded
    return der.sequence(algorithm, der.context(2, lists), stamp.token)


def raw_record(*each: Sequence[bytes], version: int = 1, listed: Sequence[str] = (OLD, NEW)) -> bytes:
    names = der.sequence(*(algorithms.hash_identifier(name) for name in listed))
    return der.sequence(der.integer(version), names, der.sequence(*(der.sequence(*chain) for chain in each)))


def with_path(stamp: ArchiveTimestamp, path: Sequence[Sequence[bytes]]) -> ArchiveTimestamp:
    return replace(stamp, path=tuple(tuple(hashes) for hashes in path))


def time_stamp_renewal(leaf: bytes) -> EvidenceRecord:
    """The first archive time-stamp, renewed over `leaf` whatever it is."""
    token = century().authorities[1].token(leaf, OLD, RENEWED)
    return chains([parts()[0], ArchiveTimestamp(OLD, ((leaf,),), token)])


def hash_tree_renewal(group: Sequence[bytes], older: Sequence[ArchiveTimestamp] = ()) -> EvidenceRecord:
    """The first two archive time-stamps, then one by SHA3-512 over `group` whatever it is."""
    root, (path, _) = build_batch([group, [hashed(NEW, b"x"), hashed(NEW, b"y")]], NEW)
    token = century().authorities[2].token(root, NEW, RENEWED_AGAIN)
    return chains(older or whole().chains[0], [with_path(ArchiveTimestamp(NEW, (), token), path)])


def digests(algorithm: str) -> list[bytes]:
    return [hashed(algorithm, item) for item in members()]


# --- the files


@plant("a byte flipped in the original")
def _() -> Question:
    return ask(whole(), (flipped(members()[0]), *members()[1:]))


@plant("a byte flipped in the last member")
def _() -> Question:
    return ask(whole(), (*members()[:-1], flipped(members()[-1])))


@plant("a member dropped")
def _() -> Question:
    return ask(whole(), members()[:-1])


@plant("a member added")
def _() -> Question:
    return ask(whole(), (*members(), b"one more"))


@plant("a member of another document in the place of one")
def _() -> Question:
    return ask(whole(), (*members()[:-1], five().documents[2][0]))


@plant("the files of another document of the batch")
def _() -> Question:
    return ask(whole(), five().documents[4][:4])


# --- the hash lists


@plant("a hash added to the first list, under a token of its own")
def _() -> Question:
    group = sorted([*digests(OLD), hashed(OLD, b"one more")])
    token = century().authorities[0].token(hashed(OLD, *group), OLD, STAMPED)
    return ask(chains([ArchiveTimestamp(OLD, (tuple(group),), token)]), moments=(STAMPED,))


@plant("a hash left out of the first list, under a token of its own")
def _() -> Question:
    group = sorted(digests(OLD))[:-1]
    token = century().authorities[0].token(hashed(OLD, *group), OLD, STAMPED)
    return ask(chains([ArchiveTimestamp(OLD, (tuple(group),), token)]), moments=(STAMPED,))


@plant("the first list is another document's")
def _() -> Question:
    first, *_ = parts()
    other = five().stamped[2][0][0]
    return ask(chains([with_path(first, [other.path[0], *first.path[1:]])]), moments=(STAMPED,))


@plant("two levels of siblings swapped")
def _() -> Question:
    first, *_ = parts()
    leaf, one, two, *rest = first.path
    return ask(chains([with_path(first, [leaf, two, one, *rest])]), moments=(STAMPED,))


@plant("a byte flipped in a sibling")
def _() -> Question:
    first, *_ = parts()
    leaf, (sibling,), *rest = first.path
    return ask(chains([with_path(first, [leaf, [flipped(sibling)], *rest])]), moments=(STAMPED,))


@plant("a level of siblings left out")
def _() -> Question:
    first, *_ = parts()
    return ask(chains([with_path(first, first.path[:-1])]), moments=(STAMPED,))


@plant("a level of siblings added")
def _() -> Question:
    first, *_ = parts()
    return ask(chains([with_path(first, [*first.path, [hashed(OLD, b"x")]])]), moments=(STAMPED,))


@plant("the siblings of another document")
def _() -> Question:
    first, *_ = parts()
    return ask(chains([with_path(first, [first.path[0], *five().stamped[2][0][0].path[1:]])]), moments=(STAMPED,))


# --- the first token


def with_token(token: bytes) -> Question:
    return ask(chains([replace(parts()[0], token=token)]), moments=(STAMPED,))


@plant("the token of another batch")
def _() -> Question:
    return with_token(batch(3).stamped[0][0][0].token)


@plant("a token whose imprint is another value")
def _() -> Question:
    return with_token(century().authorities[0].token(hashed(OLD, b"x"), OLD, STAMPED))


@plant("a token over the root by another hash")
def _() -> Question:
    return with_token(century().authorities[0].token(hashed(NEW, parts()[0].root), NEW, STAMPED))


@plant("a byte flipped in the signature of the token")
def _() -> Question:
    return with_token(flipped(parts()[0].token))


@plant("a byte flipped in the genTime of the token")
def _() -> Question:
    token = parts()[0].token
    return with_token(flipped(token, token.index(b"20261101") + 7))


@plant("a token of an authority under another root")
def _() -> Question:
    stranger = pki.new_pki("Stranger", STAMPED)
    info = pki.make_info(parts()[0].root, gen_time=STAMPED)
    return with_token(pki.make_token(stranger, info))


@plant("a token of a certificate that is not for time-stamps")
def _() -> Question:
    plain = century().authority(STAMPED - YEAR / 12, STAMPED + YEAR, eku=None)
    return with_token(plain.token(parts()[0].root, OLD, STAMPED))


@plant("a token without signingCertificate")
def _() -> Question:
    authority = century().authorities[0]
    info = pki.make_info(parts()[0].root, gen_time=STAMPED)
    return with_token(
        pki.make_token(pki.default_pki(), info, certificate=authority.certificate, key=authority.key, ess=None)
    )


@plant("a token made after the end of its certificate")
def _() -> Question:
    late = century().authority(STAMPED - YEAR / 2, STAMPED - timedelta(days=1))
    return with_token(late.token(parts()[0].root, OLD, STAMPED))


@plant(
    "a token of a revoked certificate", bouncy_castle="it is given no revocation list: no path validation of its own"
)
def _() -> Question:
    found = with_token(parts()[0].token)
    issued = STAMPED + timedelta(days=1)
    revoked = [(century().authorities[0].certificate, STAMPED - timedelta(days=2), x509.ReasonFlags.key_compromise)]
    stated = pki.make_crl(
        century().root, century().root_key, revoked, start=issued, end=found.moment + timedelta(days=30)
    )
    return replace(found, crls=(stated,))


@plant("a token later than the time of judgement", dss="it takes a token of the future for the time of a proof")
def _() -> Question:
    return replace(with_token(parts()[0].token), moment=STAMPED - timedelta(days=7))


# --- time-stamp renewal


@plant("renewed over the token of another batch")
def _() -> Question:
    leaf = renewal_leaf(batch(3).stamped[0][0][0].token, OLD)
    return ask(time_stamp_renewal(leaf), moments=MOMENTS[:2])


@plant("renewed over the TSTInfo in the place of the ContentInfo")
def _() -> Question:
    return ask(time_stamp_renewal(hashed(OLD, tst_info(parts()[0].token))), moments=MOMENTS[:2])


@plant("renewed over the SignedData in the place of the ContentInfo")
def _() -> Question:
    signed = der.read(der.read(parts()[0].token).children()[1].content).encoded
    return ask(time_stamp_renewal(hashed(OLD, signed)), moments=MOMENTS[:2])


@plant("renewed over the whole archive time-stamp in the place of its token")
def _() -> Question:
    return ask(time_stamp_renewal(hashed(OLD, raw_stamp(parts()[0]))), moments=MOMENTS[:2])


@plant("renewed over the document in the place of the token")
def _() -> Question:
    return ask(time_stamp_renewal(hashed(OLD, *sorted(digests(OLD)))), moments=MOMENTS[:2])


@plant("renewed by another hash inside a chain")
def _() -> Question:
    leaf = renewal_leaf(parts()[0].token, NEW)
    token = century().authorities[1].token(leaf, NEW, RENEWED)
    return ask(chains([parts()[0], ArchiveTimestamp(NEW, ((leaf,),), token)]), moments=MOMENTS[:2])


@plant("renewed before what it renews", dss="it does not compare the times of archive time-stamps")
def _() -> Question:
    leaf = renewal_leaf(parts()[0].token, OLD)
    early = century().authority(STAMPED - YEAR, STAMPED + 3 * YEAR).token(leaf, OLD, STAMPED - timedelta(days=9))
    return ask(chains([parts()[0], ArchiveTimestamp(OLD, ((leaf,),), early)]), moments=(STAMPED, RENEWED))


@plant(
    "renewed after the certificate of the renewed token had ended",
    bouncy_castle="it looks at a certificate at the genTime of its own token only",
)
def _() -> Question:
    leaf = renewal_leaf(parts()[0].token, OLD)
    moment = STAMPED + 1.5 * YEAR
    token = century().authorities[1].token(leaf, OLD, moment)
    return ask(chains([parts()[0], ArchiveTimestamp(OLD, ((leaf,),), token)]), moments=(STAMPED, moment))


@plant("the two archive time-stamps of a chain swapped")
def _() -> Question:
    first, second, _ = parts()
    return ask(chains([second, first]), moments=MOMENTS[:2])


@plant("a renewal twice in a chain")
def _() -> Question:
    first, second, _ = parts()
    return ask(chains([first, second, second]), moments=MOMENTS[:2])


@plant(
    "never renewed, and judged after the end",
    bouncy_castle="it looks at a certificate at the genTime of its own token only",
    ours="by its rules a token is judged at its own genTime, until an algorithm ends (docs/format/evidence-v2.md)",
)
def _() -> Question:
    return ask(chains([parts()[0]]), moments=(STAMPED, RENEWED_AGAIN))


# --- hash-tree renewal


def ha() -> bytes:
    return older_hash(whole().chains[:1], NEW)


@plant("ha before the hash of the object")
def _() -> Question:
    return ask(hash_tree_renewal([hashed(NEW, ha(), digest) for digest in digests(NEW)]))


@plant("the hash of the object and ha sorted, as figure 4 of RFC 4998 has it")
def _() -> Question:
    first, second, _ = parts()
    while True:
        older = older_hash([[first, second]], NEW)
        if any(digest > older for digest in digests(NEW)):
            group = [hashed(NEW, *sorted((digest, older))) for digest in digests(NEW)]
            return ask(hash_tree_renewal(group, (first, second)))
        # Sorted and unsorted are the same by chance: another signature makes another ha.
        second = replace(second, token=century().authorities[1].token(second.root, OLD, RENEWED))


@plant("the hash of the object alone, without ha")
def _() -> Question:
    return ask(hash_tree_renewal(digests(NEW)))


@plant("ha of the first archive time-stamp only")
def _() -> Question:
    older = older_hash([[parts()[0]]], NEW)
    return ask(hash_tree_renewal([rehash_member(digest, older, NEW) for digest in digests(NEW)]))


@plant("ha of the chain in the place of the sequence of chains")
def _() -> Question:
    chain = der.read(encode_sequence(whole().chains[:1])).children()[0].encoded
    return ask(hash_tree_renewal([hashed(NEW, digest, hashed(NEW, chain)) for digest in digests(NEW)]))


@plant("ha of the older chains of another document")
def _() -> Question:
    other = stages(five())["time-stamp renewed"].records[2].chains
    older = older_hash(other, NEW)
    return ask(hash_tree_renewal([rehash_member(digest, older, NEW) for digest in digests(NEW)]))


@plant("ha by the old hash")
def _() -> Question:
    older = older_hash(whole().chains[:1], OLD)
    return ask(hash_tree_renewal([hashed(NEW, digest, older) for digest in digests(NEW)]))


@plant("the SHA-256 of the object in a SHA3-512 chain")
def _() -> Question:
    return ask(hash_tree_renewal([hashed(NEW, digest, ha()) for digest in digests(OLD)]))


@plant("a leaf of SHA-256 in a SHA3-512 chain")
def _() -> Question:
    group = sorted(hashed(OLD, digest, ha()) for digest in digests(NEW))
    token = century().authorities[2].token(hashed(NEW, *group), NEW, RENEWED_AGAIN)
    return ask(chains(whole().chains[0], [ArchiveTimestamp(NEW, (tuple(group),), token)]))


@plant("a chain of SHA3-512 over other files than the first chain")
def _() -> Question:
    other = [rehash_member(hashed(NEW, item), ha(), NEW) for item in five().documents[2]]
    return ask(hash_tree_renewal(other))


@plant("the first chain left out")
def _() -> Question:
    return ask(raw_record([raw_stamp(parts()[2])], listed=[NEW]))


@plant("the middle archive time-stamp left out")
def _() -> Question:
    first, _, third = parts()
    return ask(chains([first], [third]))


@plant("the first archive time-stamp left out")
def _() -> Question:
    _, second, third = parts()
    return ask(chains([second], [third]))


@plant("the chains swapped")
def _() -> Question:
    first, second, third = parts()
    return ask(chains([third], [first, second]))


@plant("a byte flipped in the first chain under a hash-tree renewal")
def _() -> Question:
    first, second, third = parts()
    leaf, (sibling,), *rest = first.path
    return ask(chains([with_path(first, [leaf, [flipped(sibling)], *rest]), second], [third]))


# --- the structure


def raw_parts() -> tuple[list[bytes], list[bytes]]:
    first, second, third = parts()
    return [raw_stamp(first), raw_stamp(second)], [raw_stamp(third)]


@plant("digestAlgorithm of the first archive time-stamp is SHA3-512")
def _() -> Question:
    first, *_ = parts()
    return ask(raw_record([raw_stamp(first, named=NEW)], listed=[NEW]), moments=(STAMPED,))


@plant("digestAlgorithm of the hash-tree renewal is SHA-256")
def _() -> Question:
    older, _ = raw_parts()
    return ask(raw_record(older, [raw_stamp(parts()[2], named=OLD)]))


@plant("digestAlgorithm of a time-stamp renewal is SHA3-512")
def _() -> Question:
    first, second, _ = parts()
    return ask(raw_record([raw_stamp(first), raw_stamp(second, named=NEW)]), moments=MOMENTS[:2])


@plant(
    "digestAlgorithms does not list SHA3-512",
    bouncy_castle="it does not compare the list with the archive time-stamps",
    dss="it does not compare the list with the archive time-stamps",
)
def _() -> Question:
    return ask(raw_record(*raw_parts(), listed=[OLD]))


@plant("version 2")
def _() -> Question:
    return ask(raw_record(*raw_parts(), version=2))


@plant("the record is cut")
def _() -> Question:
    return ask(encode_record(whole())[:-1])


@plant("a byte follows the record")
def _() -> Question:
    return ask(encode_record(whole()) + b"\x00")


@plant("no archive time-stamp")
def _() -> Question:
    return ask(raw_record([], listed=[OLD]), moments=(STAMPED,))


@plant("no chain")
def _() -> Question:
    return ask(raw_record(listed=[OLD]), moments=(STAMPED,))

"""Steps 5 and 6 of `verify`: evidence records and their tokens, with renewals (docs/format/evidence-v2.md §4).

5.1 The record is in its only form, and the texts and tokens beside it say the same.
5.2 Each first list is exactly the hashes of these files, or the hash of the renewed token.
6.1 Each token is whole, and over the root of its path, by the hash of its chain.
6.2 No genTime is earlier than the one before, nor after the time of judgement.
6.3 Each token's certificate leads to a trusted root at its own genTime, and was not revoked.
6.4 What an archive time-stamp rests on still counted when the next one took over, or counts when judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from cryptography import x509

from minutier import algorithms, certificates, evidence, proof, timestamp
from minutier.evidence import ArchiveTimestamp, EvidenceRecord
from minutier.timestamp import TimestampToken
from minutier.verification import CLOCK_SKEW, Run

_CLAUSE = "RFC 4998 §5.3"
FIRST_HASH = "sha256"


def check_evidence(run: Run) -> None:
    """Step 5."""
    with run.guard(proof.RECORD):
        run.record = record = evidence.decode_record(run.read(proof.RECORD))
        if record.first.algorithm != FIRST_HASH:
            run.failed("EVIDENCE_FORMAT", proof.RECORD, f"The first chain of a document is of {FIRST_HASH}.")
        _check_texts(run, record)
        digests = {path: _digests(run, path) for path in run.fingerprints if proof.is_member(path)}
        for path, values in digests.items():
            if values[record.first.algorithm] not in record.first.path[0]:
                run.failed("EVIDENCE_FILE", path, f"The evidence record is not about this {path}.", "RFC 4998 §4.3")
        evidence.check_record(record, by_algorithm(list(digests.values())))


def _check_texts(run: Run, record: EvidenceRecord) -> None:
    """5.1: neither more nor less than the record's stamps, and the same bytes."""
    expected = proof.evidence_files(record)
    present = {path for path in run.container.entries if path.startswith("renewals/")}
    for path in sorted(present - set(expected)):
        run.failed("EVIDENCE_FORMAT", path, f"{path} belongs to no archive time-stamp of the record.")
    for path, data in expected.items():
        if run.read(path) == data:
            continue
        if path.endswith(".tst"):
            run.failed("EVIDENCE_TOKEN", path, f"{path} is not the token of the evidence record.")
        else:
            run.failed("EVIDENCE_PATH_TEXT", path, f"{path} differs from the evidence record.")


def _digests(run: Run, path: str) -> dict[str, bytes]:
    found = run.fingerprints[path]
    return {"sha256": bytes.fromhex(found.sha256), "sha3_512": bytes.fromhex(found.sha3_512)}


def by_algorithm(digests: Sequence[Mapping[str, bytes]]) -> dict[str, list[bytes]]:
    """Turn the digests of each file into the digests of all files by algorithm."""
    return {name: [values[name] for values in digests] for name in evidence.SIZES}


def check_tokens(run: Run) -> None:
    """Step 6."""
    if run.record is None:  # step 5 has said why; the token that dates the document is judged all the same
        with run.guard(proof.TOKEN):
            run.token = timestamp.inspect_token(run.read(proof.TOKEN), run.given)
        run.note_trust(proof.TOKEN, run.trust.stamp_roots, known=True)
        return
    places = [proof.renewal_paths(number)[1] for number in range(1, len(run.record.stamps) + 1)]
    run.tokens = check_stamps(run, run.record, places)
    if run.tokens:
        run.token = run.tokens[0]
        run.facts |= {
            "gen_time": f"{run.token.gen_time:%Y-%m-%dT%H:%M:%SZ}",
            "timestamped_by": certificates.name_of(run.token.signer),
            "time_stamp_certificate_until": f"{run.tokens[-1].signer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            "revocation": "settled by data made after the last token"
            if run.tokens[-1].revocation_confirmed
            else "not settled by data made after the last token",
        }
    if len(run.tokens) > 1:
        run.facts["renewed_at"] = ", ".join(f"{token.gen_time:%Y-%m-%dT%H:%M:%SZ}" for token in run.tokens[1:])


def check_stamps(run: Run, record: EvidenceRecord, places: Sequence[str]) -> list[TimestampToken]:
    """Judge the tokens of a record, of which `places` are the paths to name; give them, or none when one is not whole.

    Findings are added to the run: 6.1 to 6.4.
    """
    tokens: list[TimestampToken] = []
    for stamp, where in zip(record.stamps, places, strict=True):
        token = _whole_token(run, stamp, where)
        if token is None:
            return []
        tokens.append(token)
    _check_order(run, tokens, places)
    for number, where in enumerate(places):
        known = True
        if run.trust.stamp_roots:
            with run.guard(where):
                token = tokens[number]
                judged = timestamp.check_token(
                    token.der,
                    token.imprint,
                    run.trust.stamp_roots,
                    run.crls,
                    algorithm=token.imprint_algorithm,
                    signers=run.given,
                    ocsp=tuple(run.answers.values()),
                )
                known = judged.revocation_known
                tokens[number] = judged
        run.note_trust(where, run.trust.stamp_roots, known=known)
    _check_algorithms(run, record.stamps, tokens, places)
    return tokens


def _whole_token(run: Run, stamp: ArchiveTimestamp, where: str) -> TimestampToken | None:
    """6.1."""
    with run.guard(where):
        token = timestamp.inspect_token(stamp.token, run.given)
        if (token.imprint_algorithm, token.imprint) != (stamp.algorithm, stamp.root):
            message = "The token is about another value than the root of the evidence record."
            run.failed("TOKEN_IMPRINT", where, message, "RFC 4998 §4.3")
        return token
    return None


def _check_order(run: Run, tokens: Sequence[TimestampToken], places: Sequence[str]) -> None:
    """6.2, and that a renewal came before the certificate of the renewed token had ended."""
    for token, where in zip(tokens, places, strict=True):
        if token.gen_time > run.at + token.accuracy + CLOCK_SKEW:
            run.failed("TOKEN_TIME", where, "The token is later than the time of judgement.", "RFC 3161 §2.4.2")
    for (before, after), where in zip(pairwise(tokens), places[1:], strict=True):
        if after.gen_time < before.gen_time:
            run.failed("EVIDENCE_ORDER", where, "A renewal is earlier than what it renews.", _CLAUSE)
        elif after.gen_time > before.signer.not_valid_after_utc:
            message = "The renewal came after the certificate of the token before it had ended."
            run.unknown("RENEWAL_LATE", where, message, _CLAUSE)


def _check_algorithms(
    run: Run, stamps: Sequence[ArchiveTimestamp], tokens: Sequence[TimestampToken], places: Sequence[str]
) -> None:
    """6.4."""
    until = [token.gen_time for token in tokens[1:]] + [run.at]
    for stamp, token, moment, where in zip(stamps, tokens, until, places, strict=True):
        ended = run.trust.dates.ended(rests_on(stamp, token), moment)
        if ended:
            message = f"{', '.join(ended)} no longer counted at {moment:%Y-%m-%d}, and nothing later stands in."
            run.unknown("ALGORITHM_ENDED", where, message, "ETSI EN 319 102-1 §5.2.8, ETSI TS 119 312")


def rests_on(stamp: ArchiveTimestamp, token: TimestampToken) -> set[str]:
    """Give the names of the algorithms that an archive time-stamp rests on (docs/format/algorithm-dates-v1.md)."""
    return {stamp.algorithm, *token_algorithms(token)}


def token_algorithms(token: TimestampToken) -> set[str]:
    """Give the names of the algorithms of a token, of its certificates, and of the path to its root if it was judged.

    Nothing rests on the signature of a root: its key alone counts.
    """
    names = {token.imprint_algorithm, token.digest_name}
    names |= algorithms.key_names(token.signer.public_key(), token.signature_algorithm)
    for certificate in {token.signer, *token.certificates, *token.path}:
        names |= algorithms.size_names(certificate.public_key())
        if certificate.issuer != certificate.subject and certificate not in token.path[-1:]:
            names |= certificate_algorithms(certificate)
    return names


def certificate_algorithms(certificate: x509.Certificate) -> set[str]:
    """Give the names of the signature on a certificate and of its hash; EdDSA and ML-DSA have their own."""
    used = certificate.signature_hash_algorithm
    names = {algorithms.signature_name(certificate.signature_algorithm_oid.dotted_string)}
    return names | ({used.name.replace("-", "_")} if used is not None else set())

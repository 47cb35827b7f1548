"""Step 4 of `verify`: the seals over the manifest (docs/format/seal-v1.md §3, §4).

4.1 The seal is whole, over the manifest, and trusted at the genTime of the token.
4.2 A second seal that is there is whole and over the manifest; with roots to judge it by, it is trusted too.
4.3 A second seal is there when the policy of the verifier asks for one in the year of the token.
"""

from __future__ import annotations

from minutier import certificates, proof, seal
from minutier.verification import Run


def check_seals(run: Run) -> None:
    """Step 4."""
    content, signature = run.read(proof.MANIFEST), run.read(proof.SEAL)
    moment = run.token.gen_time if run.token else run.at
    with run.guard(proof.SEAL):
        run.seal = seal.inspect_seal(content, signature)
        run.facts["sealed_by"] = certificates.name_of(run.seal.signer)
        if run.trust.seal_roots:
            run.seal = seal.check_seal(
                content, signature, run.trust.seal_roots, moment, run.crls, tuple(run.answers.values())
            )
    run.note_trust(proof.SEAL, run.trust.seal_roots, known=run.seal is None or run.seal.revocation_known)
    year = run.trust.second_seal_from
    required = year is not None and moment.year >= year
    if proof.SECOND_SEAL in run.container.entries:
        _check_second(run, content, required=required)
    elif required:
        message = f"A second seal is asked of proofs from {year} on, and this one of {moment.year} has none."
        run.failed("SEAL2_MISSING", proof.SECOND_SEAL, message, "docs/format/seal-v1.md §4")


def _check_second(run: Run, content: bytes, *, required: bool) -> None:
    signature = run.read(proof.SECOND_SEAL)
    moment = run.token.gen_time if run.token else run.at
    with run.guard(proof.SECOND_SEAL):
        run.second = seal.inspect_second_seal(content, signature)
        run.facts["second_sealed_by"] = certificates.name_of(run.second.signer)
        if run.trust.second_roots:
            roots, answers = run.trust.second_roots, tuple(run.answers.values())
            run.second = seal.check_second_seal(content, signature, roots, moment, run.crls, answers)
            if not run.second.revocation_known:
                message = "No usable revocation list covers the certificate of the second seal at the token's time."
                run.unknown("REVOCATION_UNKNOWN", proof.SECOND_SEAL, message, "ETSI EN 319 102-1 §5.2.5")
        elif required:
            message = "No ML-DSA-65 root was given: who made the second seal, which the policy asks for, is not known."
            run.unknown("NO_TRUST_ANCHOR", proof.SECOND_SEAL, message, "ETSI EN 319 102-1 §5.2.6")
        else:
            run.facts["second_sealed_by"] += " (not judged: no ML-DSA-65 root was given)"

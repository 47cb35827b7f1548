"""A proof as the archive exports it: its files, unzipped, are all that Bouncy Castle and EU DSS need beside the root.

A seal is good long after its certificate: EU DSS takes the evidence record for the proof of when it existed.
"""

import dataclasses
from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from minutier import evidence, proof
from minutier.algorithm_dates import AlgorithmDates, published_dates
from storage import proofs, renewal
from tests.support import planted_seals
from tests.support.authority import change_authority
from tests.support.bundle import make_bundle, unpack
from tests.support.pki import NOW, default_pki, make_crl
from tests.support.renewals import Batch, century, stages
from tests.support.rig import carry
from tests.support.verifiers import NAMES, Question, all_answers

YEAR, DAY = timedelta(days=365), timedelta(days=1)


def questions(files, name, root, moment) -> list[Question]:
    """Ask about the record, the seal and the first token of an unzipped proof."""
    crls = tuple(x509.load_der_x509_crl(data) for path, data in files.items() if path.startswith("revocation/"))
    documents = [data for path, data in files.items() if path.startswith("document/")]
    manifest, sealed = files[proof.MANIFEST], files[proof.SEAL]
    second = [files[proof.SECOND_SEAL]] if proof.SECOND_SEAL in files else []
    values = {"moment": moment, "roots": (root,), "crls": crls}
    return [
        Question(f"{name} record", "record", files[proof.RECORD], (*documents, manifest, sealed, *second), **values),
        Question(f"{name} seal", "seal", sealed, (manifest,), **values),
        Question(f"{name} token", "token", files[proof.TOKEN], (last_step(files[proof.RECORD]),), **values),
    ]


def last_step(record: bytes) -> bytes:
    """Give the bytes whose hash the first token dates: the two top nodes of the tree, sorted, or the one group."""
    stamp = evidence.decode_record(record).first
    if len(stamp.path) == 1:
        return b"".join(stamp.path[0])
    return b"".join(sorted((evidence.path_root(stamp.path[:-1]), *stamp.path[-1])))


def judged(judges, asked, folder) -> dict[str, dict[str, str]]:
    """Give, for each verifier, the reasons of what it refused."""
    return {
        judge: {name: answer.reasons for name, answer in found.items() if not answer.accepted}
        for judge, found in all_answers(judges, asked, folder).items()
    }


def test_proofs_made_by_hand(judges, tmp_path):
    asked = []
    for batch in (1, 2, 5):
        files = unpack(make_bundle(tmp_path / f"{batch}.zip", batch=batch))
        asked += questions(files, f"of {batch}", default_pki().root, NOW + 30 * DAY)
    assert judged(judges, asked, tmp_path) == {judge: {} for judge in NAMES}


# --- long after


MEMBERS = (b"original", b"rendition", planted_seals.MANIFEST, planted_seals.good_seal())
SEALED = Batch((MEMBERS, (b"another", b"document"), (b"and", b"another")))


def dated(name: str, record: bytes, stage) -> Question:
    """Ask EU DSS for the seal with its manifest and its evidence record, when every early certificate has ended."""
    asked = century().question(name, record, MEMBERS, stage.moments)
    return replace(asked, kind="dated seal", subject=planted_seals.good_seal(), data=(record, planted_seals.MANIFEST))


def test_a_renewed_record_keeps_the_seal_good_after_its_certificate(judges, tmp_path):
    asked, bare, strange = [], [], []
    for name, stage in list(stages(SEALED).items())[1:]:
        records = [evidence.encode_record(record) for record in stage.records]
        asked.append(dated(name, records[0], stage))
        assert asked[-1].moment > planted_seals.seal_key().chain[0].not_valid_after_utc
        bare.append(replace(asked[-1], name=f"bare: {name}", kind="seal", data=(planted_seals.MANIFEST,)))
        strange.append(dated(f"strange: {name}", records[1], stage))
    answers = judges["dss"].answers([*asked, *bare, *strange], tmp_path)
    assert {each.name: answers[each.name].reasons for each in asked} == {each.name: "" for each in asked}
    for each in (*bare, *strange):
        assert "INDETERMINATE OUT_OF_BOUNDS_NOT_REVOKED" in answers[each.name].reasons


# --- renewed by the archive itself


def later(rig, *, years: int, sha256_ends_in: timedelta | None = None):
    """Let a day pass, and name an authority whose certificate lasts some years; say that SHA-256 ends, if so.

    A revocation list comes with it: EU DSS takes none that is older than the certificate.
    """
    rig.clock.advance(DAY.total_seconds())
    end, start = rig.clock() + years * YEAR, rig.clock() - timedelta(hours=1)
    rig = change_authority(rig, end=end, start=start, strong=sha256_ends_in is not None)
    key = load_pem_private_key((rig.archive.settings.home / "pki" / "root.key").read_bytes(), None)
    fresh = make_crl(rig.archive.roots[0], key, start=rig.clock(), end=rig.clock() + YEAR)
    dates = published_dates()
    if sha256_ends_in is not None:
        dates = AlgorithmDates("a drill", {**dates.ends, "sha256": rig.clock() + sha256_ends_in})
    return dataclasses.replace(
        rig, archive=dataclasses.replace(rig.archive, dates=dates, crls=(*rig.archive.crls, fresh))
    )


def exported(rig, deposits, stage: str) -> list[Question]:
    """Export every proof, and ask about it and about its anchor of the journal."""
    asked = []
    for deposit in deposits:
        target = rig.folder / f"{stage} {deposit.reference}.zip"
        proofs.export_proof(rig.archive, deposit, target)
        files = unpack(target)
        (root,) = x509.load_pem_x509_certificates(files["certificates/root.pem"])
        assert root == rig.archive.roots[0]
        name = f"{stage} {deposit.reference}"
        asked += questions(files, name, root, rig.clock() + 30 * DAY)
        if proof.ANCHOR in files:
            members = (files[proof.ENTRY], files[proof.CHECKPOINT])
            asked.append(replace(asked[-3], name=f"{name} anchor", subject=files[proof.ANCHOR], data=members))
    return asked


def test_the_archive_renews_and_every_proof_is_still_accepted(judges, rig):
    ids = [rig.deliver(b"document %d" % number, f"R-{number}").archive_id for number in range(3)]
    rig.archive.spooled(ids[1], "rendition.pdf").write_bytes(b"%PDF-1.7 rendition")
    deposits = carry(rig.archive, ids)
    asked = exported(rig, deposits, "at first")
    rig = later(rig, years=20)
    assert len(renewal.renew(rig.archive, margin=11 * YEAR).new_tokens) == 1
    asked += exported(rig, deposits, "time-stamp renewed")
    rig = later(rig, years=21, sha256_ends_in=30 * DAY)
    assert renewal.renew(rig.archive).documents_rehashed == len(deposits)
    asked += exported(rig, deposits, "and hash tree renewed")
    rig = later(rig, years=40, sha256_ends_in=30 * DAY)
    assert len(renewal.renew(rig.archive, margin=22 * YEAR).new_tokens) == 1
    asked += exported(rig, deposits, "and time-stamp renewed again")
    stamps = [len(evidence.decode_record(each.subject).stamps) for each in asked if each.name.endswith("record")]
    assert stamps == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert sum(each.name.endswith("anchor") for each in asked) == 2 * len(deposits)
    assert judged(judges, asked, rig.folder) == {judge: {} for judge in NAMES}

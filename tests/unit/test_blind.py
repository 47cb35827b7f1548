"""A depositor who encrypts: the archive keeps, seals and proves what it cannot read."""

import base64
import hashlib
import json
import shutil
import subprocess
import zipfile
from datetime import timedelta

import pytest

from minutier import blind, canonical
from minutier.__main__ import main as auditor
from minutier.age import HYBRID, X25519, generate_identity, parse_identities
from minutier.age_stream import decrypt_bytes, encrypt_bytes
from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError
from minutier.fingerprint import fingerprint_bytes
from minutier.report import Verdict
from minutier.trust import load_trust
from minutier.verify import verify
from minutier.verify_opening import verify_opening
from storage import reading, reception, sweep
from storage.blind import load_delivery, opened, seal_local
from storage.opening import document_identity, read_range
from storage.proofs import export_proof
from storage.reception import Delivery, receive
from storage.rekey import rekey_safe
from tasks.aside import carry_through
from tests.support.clients import CLASS, blind_delivery, client_safe, deposit_blind, holding

TEXT = b"Acte de vente, dossier 4711: " + b"un texte que personne ici ne lit. " * 4000


def code(call) -> str:
    with pytest.raises((BadInputError, PolicyRefusedError, IntegrityFailureError)) as caught:
        call()
    return caught.value.code


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "acte.txt"
    path.write_bytes(TEXT)
    return path


@pytest.mark.parametrize("kind", [X25519, HYBRID])
def test_a_blind_document_comes_back_to_its_client_alone(rig, source, tmp_path, kind):
    client = client_safe(rig, kind=kind)
    found = deposit_blind(rig, source, [str(client.recipient)])
    assert found.state == "ARCHIVED"
    assert code(lambda: reading.read(rig.archive, found, tmp_path / "back")) == "IDENTITY_NEEDED"
    reading.read(holding(rig.archive, client), found, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == TEXT
    assert read_range(holding(rig.archive, client), found, "original", 70_000, 70_010) == TEXT[70_000:70_011]
    other = holding(rig.archive, generate_identity(kind))
    assert code(lambda: reading.read(other, found, tmp_path / "no")) == "KEY_DOES_NOT_OPEN"
    assert not (tmp_path / "no").exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_manifest_is_about_the_ciphertext_and_says_so(rig, source, tmp_path):
    client = client_safe(rig)
    found = deposit_blind(rig, source, [str(client.recipient)])
    reading.read_encrypted(rig.archive, found, tmp_path / "sealed.age")
    sealed = (tmp_path / "sealed.age").read_bytes()
    manifest = canonical.decode(found.manifest)
    assert len(manifest["objects"]) == 1
    described = manifest["objects"][0]
    assert (described["sha256"], described["size"]) == (hashlib.sha256(sealed).hexdigest(), len(sealed))
    assert described["media_type"] == "application/age"
    report = manifest["screening"]
    assert (report["mode"], report["digests_of"], report["antivirus"]) == ("blind", "ciphertext", "not-possible")
    assert report["declared_media_type"] == "text/plain"
    assert (manifest["rendition"]["verdict"], manifest["rendition"]["reason"]) == ("not_checked", "BLIND")
    assert hashlib.sha256(TEXT).hexdigest().encode() not in found.manifest


def test_the_proof_of_a_blind_document_needs_no_key_and_the_opening_links_it_to_the_clear_text(rig, source, tmp_path):
    client = client_safe(rig)
    found = deposit_blind(rig, source, [str(client.recipient)])
    bundle = tmp_path / "proof.zip"
    export_proof(rig.archive, found, bundle)
    report = verify(bundle, load_trust(rig.archive.settings.trust_dir), rig.clock())
    assert report.verdict is Verdict.PASSED
    with zipfile.ZipFile(bundle) as archive:
        sealed = archive.read("document/original.age")
        manifest = json.loads(archive.read("manifest.json"))
    # The steps of the format page, with nothing but hashes.
    key = document_identity(holding(rig.archive, client), found)
    opening, _ = opened(found, key)
    statement = json.loads(manifest["screening"]["blind"])
    assert hashlib.sha256(opening).hexdigest() == statement["commitment"]["sha256"]
    assert json.loads(opening)["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert json.loads(opening)["sha3_512"] == hashlib.sha3_512(TEXT).hexdigest()
    assert decrypt_bytes(sealed, [key]) == TEXT
    # The same by the verifier, of the archive and of the auditor.
    paths = (tmp_path / "opening.json", source)
    paths[0].write_bytes(opening)
    linked = verify_opening(report, bundle, *paths)
    assert (linked.verdict, linked.steps[-1].verdict) == (Verdict.PASSED, Verdict.PASSED)
    words = ["verify", str(bundle), "--trust", str(rig.archive.settings.trust_dir), "--opening", str(paths[0])]
    assert auditor([*words, "--document", str(source)]) == 0
    assert auditor([*words, "--document", str(bundle)]) == 1
    with pytest.raises(SystemExit):
        auditor(words)
    # And the proof alone by the script inside it.
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "proof")
    (root,) = rig.archive.settings.trust_dir.glob("*.pem")
    done = subprocess.run(
        ["sh", "verify.sh", root, root.with_name("journal.vkey")],
        cwd=tmp_path / "proof", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_opening_or_a_document_that_is_another_is_found(rig, source, tmp_path):
    client = client_safe(rig)
    found = deposit_blind(rig, source, [str(client.recipient)])
    plain = rig.deposit()
    bundle, other = tmp_path / "proof.zip", tmp_path / "plain.zip"
    export_proof(rig.archive, found, bundle)
    export_proof(rig.archive, plain, other)
    opening, _ = opened(found, document_identity(holding(rig.archive, client), found))
    (tmp_path / "opening").write_bytes(opening)
    (tmp_path / "altered").write_bytes(opening.replace(b'"size":', b'"size":1'))
    (tmp_path / "huge").write_bytes(opening + bytes(1 << 20))
    (tmp_path / "document").write_bytes(TEXT + b"x")
    trust = load_trust(rig.archive.settings.trust_dir)
    for proof, first, second, wanted in (
        (bundle, "altered", "acte.txt", "OPENING_COMMITMENT"),
        (bundle, "huge", "acte.txt", "OPENING_COMMITMENT"),
        (bundle, "opening", "document", "OPENING_DOCUMENT"),
        (other, "opening", "acte.txt", "OPENING_NOT_BLIND"),
    ):
        before = verify(proof, trust, rig.clock())
        assert before.verdict is Verdict.PASSED
        after = verify_opening(before, proof, tmp_path / first, tmp_path / second)
        assert (after.verdict, [item.code for item in after.findings]) == (Verdict.FAILED, [wanted])
    with pytest.raises(BadInputError):
        verify_opening(before, bundle, tmp_path / "none", source)
    bundle.write_bytes(bundle.read_bytes()[:-1])
    failed = verify_opening(verify(bundle, trust, rig.clock()), bundle, tmp_path / "opening", source)
    assert (failed.verdict, failed.steps[-1].verdict) == (Verdict.FAILED, None)


def test_copies_are_checked_and_healed_without_any_key(rig, source):
    client = client_safe(rig)
    found = deposit_blind(rig, source, [str(client.recipient)])
    assert {item.outcome for item in reading.check_copies(rig.archive, found)} == {"good"}
    for role in ("original", "record"):
        store, key = rig.stores[0], f"notary/{found.archive_id}/{role}.age"
        store.damage(key, store.versions(key)[0].version_id, b"altered")
    rig.clock.advance(86400)
    report = sweep.sweep(rig.archive, budget=timedelta(hours=1))
    assert (report.verdict, report.healed) == ("healed", 2)
    assert {item.outcome for item in reading.check_copies(rig.archive, found)} == {"good"}


def test_the_age_command_opens_a_blind_document_in_two_steps(rig, source, tmp_path):
    if shutil.which("age") is None:
        pytest.skip("the age command is not installed: apt install age")
    client = client_safe(rig)
    found = deposit_blind(rig, source, [str(client.recipient)])
    reading.read_encrypted(rig.archive, found, tmp_path / "sealed.age")
    (tmp_path / "wrapped.age").write_bytes(rig.archive.keys.kept(found.archive_id))
    (tmp_path / "client.identity").write_text(client.text() + "\n", encoding="ascii")
    for words in (
        ["-i", "client.identity", "-o", "document.key", "wrapped.age"],
        ["-i", "document.key", "-o", "out", "sealed.age"],
    ):
        subprocess.run(["age", "-d", *words], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes() == TEXT


def test_a_ciphertext_is_called_one_whatever_its_depositor_says(rig, source):
    client = client_safe(rig)
    found = receive(rig.archive, blind_delivery(rig, source, [str(client.recipient)], name="acte.pdf"))
    assert found.name == "acte.pdf.age"


def test_recipients_that_change_while_a_document_arrives_are_seen(rig, source, monkeypatch):
    client, after = client_safe(rig), generate_identity()
    delivery = blind_delivery(rig, source, [str(client.recipient)])
    spool = reception._spool

    def slow(*arguments):
        rekey_safe(rig.archive, "notary", recipients=[str(after.recipient)])
        return spool(*arguments)

    monkeypatch.setattr(reception, "_spool", slow)
    assert code(lambda: receive(rig.archive, delivery)) == "RECIPIENT_MISSING"
    with rig.archive.database.transaction() as connection:
        assert not connection.execute("SELECT 1 FROM deposit").fetchall()
    assert not list(rig.archive.spool.glob("*"))


def test_the_same_delivery_again_is_the_same_deposit(rig, source):
    client = client_safe(rig)
    delivery = blind_delivery(rig, source, [str(client.recipient)])
    first = receive(rig.archive, delivery)
    assert receive(rig.archive, delivery).archive_id == first.archive_id
    (found,) = carry_through(rig.archive, [first.archive_id])
    assert receive(rig.archive, delivery) == found


def test_what_does_not_fit_the_class_is_refused_before_a_byte_is_taken(rig, source):
    client = client_safe(rig)
    delivery = blind_delivery(rig, source, [str(client.recipient)])
    clear = Delivery(source, "notary", CLASS, "R", "tests")
    other = generate_identity()
    without = blind_delivery(rig, source.rename(source.with_name("b.txt")), [str(other.recipient)], reference="other")
    assert code(lambda: receive(rig.archive, clear)) == "BLIND_REQUIRED"
    for lifecycle_class, safe, given, wanted in (
        ("default", "notary", delivery, "BLIND_NOT_ALLOWED"),
        (CLASS, "demo", delivery, "SAFE_NOT_CLIENT_HELD"),
        (CLASS, "notary", without, "RECIPIENT_MISSING"),
    ):
        again = Delivery(given.path, safe, lifecycle_class, "R", "tests", blind=given.blind)
        assert code(lambda again=again: receive(rig.archive, again)) == wanted
    assert not list(rig.archive.spool.glob("*"))
    assert not list(rig.archive.quarantine.glob("*"))


def test_a_ciphertext_that_is_not_the_one_stated_or_not_age_is_refused(rig, source, tmp_path):
    client = client_safe(rig)
    delivery = blind_delivery(rig, source, [str(client.recipient)])
    (tmp_path / "other").write_bytes(b"something else")
    wrong = Delivery(tmp_path / "other", "notary", CLASS, "R-1", "tests", blind=delivery.blind)
    assert receive(rig.archive, wrong).refusal_code == "DIGEST_MISMATCH"
    # A statement that is true about bytes that are no age file.
    statement = canonical.decode(delivery.blind.text)
    measured = fingerprint_bytes(b"something else")
    statement["ciphertext"] = {"sha256": measured.sha256, "sha3_512": measured.sha3_512, "size": measured.size}
    sealed = tmp_path / "depositor-acte.txt"
    (sealed / "acte.txt.blind.json").write_bytes(canonical.encode(statement))
    lying = load_delivery(sealed / "acte.txt.blind.json")
    received = receive(rig.archive, Delivery(tmp_path / "other", "notary", CLASS, "R-2", "tests", blind=lying))
    from tasks.screening import screen_deposit

    refused = screen_deposit(rig.archive, received.archive_id)
    assert (refused.state, refused.refusal_code, "age" in refused.refusal_fr) == ("REFUSED", "BLIND_NOT_AGE", True)


def test_sealing_needs_no_archive_and_leaves_no_key_in_clear(tmp_path, source):
    client = generate_identity()
    out = tmp_path / "out"
    out.mkdir()
    ciphertext, wrapped, statement = seal_local(source, out, [str(client.recipient)], "minutier tests")
    assert sorted(path.name for path in out.iterdir()) == ["acte.txt.age", "acte.txt.blind.json", "acte.txt.key.age"]
    written = b"".join(path.read_bytes() for path in out.iterdir())
    assert b"AGE-SECRET-KEY" not in written
    for digest in (hashlib.sha256, hashlib.sha3_512):
        assert digest(TEXT).hexdigest().encode() not in written
    assert all(path.stat().st_mode & 0o077 == 0 for path in out.iterdir())
    (key,) = parse_identities(decrypt_bytes(wrapped.read_bytes(), [client]).decode(), "wrapped")
    assert decrypt_bytes(ciphertext.read_bytes(), [key]) == TEXT
    assert code(lambda: seal_local(source, out, [str(client.recipient)], "again")) == "OUTPUT_EXISTS"
    assert load_delivery(statement).statement.client == "minutier tests"


def test_two_statements_about_the_same_bytes_share_nothing_that_can_be_compared(tmp_path, source):
    client, statements = generate_identity(), []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        statements.append(json.loads(seal_local(source, tmp_path / name, [str(client.recipient)], "c")[2].read_bytes()))
    for member in ("ciphertext", "commitment", "opening", "recipient"):
        assert statements[0][member] != statements[1][member]


def statement_with(**changes):
    key = generate_identity()
    opening = blind.encode_opening(fingerprint_bytes(TEXT), bytes(32))
    text = blind.encode_statement(
        fingerprint_bytes(b"c"),
        opening,
        key.recipient,
        [str(generate_identity().recipient)],
        media_type="a/b",
        client="c",
    )
    return key, canonical.encode({**canonical.decode(text), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "minutier-blind/2"},
        {"more": "members"},
        {"recipients": []},
        {"recipients": [str(generate_identity(HYBRID).recipient)]},
        {"opening": "not base64!"},
        {"ciphertext": {"sha256": "00", "sha3_512": "00", "size": 1}},
        {"ciphertext": {"sha256": "a" * 64, "sha3_512": "b" * 128, "size": -1}},
        {"commitment": []},
        {"media_type": ""},
        {"media_type": "text/plain\0"},
        {"client": "x" * (blind.MAX_STATEMENT + 1)},
    ],
)
def test_a_statement_of_another_form_is_refused(changes):
    assert code(lambda: blind.read_statement(statement_with(**changes)[1])) == "BAD_BLIND"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"not json", b'{"format":"minutier-blind/1"}', b"\xff"])
def test_what_is_no_statement_is_refused(text):
    assert code(lambda: blind.read_statement(text)) == "BAD_BLIND"


def test_an_opening_that_is_not_the_one_committed_to_is_refused():
    key, text = statement_with()
    assert blind.open_statement(blind.read_statement(text), key)[1] == fingerprint_bytes(TEXT)
    other = blind.encode_opening(fingerprint_bytes(b"another document"), bytes(32))
    swapped = base64.b64encode(encrypt_bytes(other, [key.recipient])).decode()
    harmed = blind.read_statement(canonical.encode({**canonical.decode(text), "opening": swapped}))
    assert code(lambda: blind.open_statement(harmed, key)) == "BLIND_NOT_OPENED"
    # Committed to, and not of the format.
    for inner in (b"free text", b"[]", canonical.encode({"format": "x", "salt": "00"})):
        measured = fingerprint_bytes(inner)
        changed = {
            "opening": base64.b64encode(encrypt_bytes(inner, [key.recipient])).decode(),
            "commitment": {"sha256": measured.sha256, "sha3_512": measured.sha3_512},
        }
        odd = blind.read_statement(canonical.encode({**canonical.decode(text), **changed}))
        assert code(lambda odd=odd: blind.open_statement(odd, key)) == "BLIND_NOT_OPENED"


def test_a_client_that_committed_to_other_bytes_is_found_out_when_it_reads(rig, source, tmp_path, monkeypatch):
    client = client_safe(rig)
    wrong = fingerprint_bytes(b"what it says it encrypted")
    true_opening = blind.encode_opening
    monkeypatch.setattr("storage.blind.encode_opening", lambda _clear, salt: true_opening(wrong, salt))
    found = deposit_blind(rig, source, [str(client.recipient)])
    assert code(lambda: reading.read(holding(rig.archive, client), found, tmp_path / "back")) == "BLIND_NOT_OPENED"
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("harm", [lambda d: b"x" + d, lambda d: b"", lambda d: encrypt_bytes(b"k", [])])
def test_a_wrapped_key_without_a_stanza_for_each_recipient_is_refused(tmp_path, source, harm):
    out = tmp_path / "out"
    out.mkdir()
    _, wrapped, statement = seal_local(source, out, [str(generate_identity().recipient)], "c")
    wrapped.write_bytes(harm(wrapped.read_bytes()))
    assert code(lambda: load_delivery(statement)) == "BAD_WRAPPED_KEY"
    wrapped.unlink()
    assert code(lambda: load_delivery(statement)) == "FILE_MISSING"

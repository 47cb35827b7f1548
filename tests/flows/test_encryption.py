"""Encryption from the command line of a running instance: blind deposits, client-held safes, ranges, rotation."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import pytest

from minutier.age import generate_identity
from tests.support.cli import minutier

pytestmark = pytest.mark.embedded
TEXT = b"Acte de vente, dossier 4711.\n" * 5000


@pytest.fixture
def client(tmp_path):
    """The identity file of a client, and its recipient."""
    identity = generate_identity()
    path = tmp_path / "client.identity"
    path.write_text(f"# a client\n{identity.text()}\n", encoding="ascii")
    path.chmod(0o600)
    return path, str(identity.recipient)


def test_a_depositor_seals_without_any_instance(tmp_path, client):
    (tmp_path / "acte.txt").write_bytes(TEXT)
    home, out = tmp_path / "no instance", tmp_path / "out"
    answer = minutier(home, "seal-local", tmp_path / "acte.txt", "--recipient", client[1], "-o", out)
    assert (answer.code, answer.error) == (2, "BAD_OUTPUT")
    out.mkdir()
    answer = minutier(home, "seal-local", tmp_path / "acte.txt", "--recipient", client[1], "-o", out)
    assert answer.code == 0, answer.err
    assert len(list(out.iterdir())) == 3
    assert not home.exists()
    for given, wanted in (("age1nonsense", "BAD_RECIPIENT"), (client[1], "OUTPUT_EXISTS")):
        again = minutier(home, "seal-local", tmp_path / "acte.txt", "--recipient", given, "-o", out)
        assert (again.code, again.error) == (2, wanted)


def test_a_blind_document_from_end_to_end(instance, tmp_path, client):
    identity, recipient = client
    source, out = tmp_path / "acte.txt", tmp_path / "out"
    source.write_bytes(TEXT)
    out.mkdir()
    assert minutier(instance, "safe", "create", "notary", "--recipient", recipient).json["holder"] == "client"
    made = minutier(instance, "class", "create", "sealed", "--years", 10, "--mode", "blind")
    assert (made.json["class"], made.json["created"], made.json["mode"]) == ("sealed", True, "blind")
    where = ("--safe", "notary", "--class", "sealed")
    clear = minutier(instance, "deposit", source, *where)
    assert (clear.code, clear.error) == (4, "BLIND_REQUIRED")
    (sealed,) = minutier(instance, "seal-local", source, "--recipient", recipient, "-o", out).json
    answer = minutier(instance, "deposit", sealed["ciphertext"], "--blind", sealed["statement"], *where)
    assert answer.code == 0, answer.err
    archive_id = answer.json[0]["archive_id"]
    back = tmp_path / "back"
    without = minutier(instance, "read", archive_id, "-o", back)
    assert (without.code, without.error) == (2, "IDENTITY_NEEDED")
    assert minutier(instance, "read", archive_id, "-o", back, "--identity", identity).code == 0
    assert back.read_bytes() == TEXT
    assert minutier(instance, "read", archive_id, "-o", back, "--encrypted").code == 0
    assert back.read_bytes() == (out / "acte.txt.age").read_bytes()
    assert back.with_name("back.key.age").read_bytes() == (out / "acte.txt.key.age").read_bytes()
    proof = minutier(instance, "proof", archive_id, "-o", tmp_path / "p.zip", "--identity", identity)
    opening = json.loads((tmp_path / "p.opening.json").read_bytes())
    assert proof.json["opening"] == str(tmp_path / "p.opening.json")
    assert opening["sha256"] == hashlib.sha256(TEXT).hexdigest()
    words = ("verify", tmp_path / "p.zip", "--opening", tmp_path / "p.opening.json")
    assert minutier(instance, *words, "--document", source).json["verdict"] == "PASSED"
    assert minutier(instance, *words, "--document", identity).json["findings"][0]["code"] == "OPENING_DOCUMENT"
    assert minutier(instance, *words).error == "USAGE"
    assert minutier(instance, "check", archive_id).json["verdict"] == "PASSED"


def places_of(home: Path) -> set[str]:
    """The files under a home, raw files of its database included, that hold any 16 bytes of the text."""
    windows = {TEXT[at : at + 16] for at in range(29)}
    found = set()
    for path in home.rglob("*"):
        with suppress(FileNotFoundError):  # the services of the instance go on working
            if path.is_file() and any(window in data for data in [path.read_bytes()] for window in windows):
                found.add(str(path.relative_to(home)))
    return found


def test_a_managed_document_of_a_client_held_safe(instance, tmp_path, client):
    identity, recipient = client
    source, after = tmp_path / "note.txt", generate_identity()
    source.write_bytes(TEXT)
    (instance / "spool" / "planted").write_bytes(TEXT)
    assert places_of(instance) == {"spool/planted"}
    (instance / "spool" / "planted").unlink()
    assert minutier(instance, "safe", "create", "office", "--recipient", recipient).json["escrow"] is False
    (found,) = minutier(instance, "deposit", source, "--safe", "office").json
    assert found["state"] == "ARCHIVED"
    # Database with its log, Prefect's own tables, logs, temporary files, replicas.
    assert (instance / "postgres" / "data" / "pg_wal").is_dir()
    assert places_of(instance) == set()
    checked = minutier(instance, "check", found["archive_id"])
    assert (checked.code, checked.json["verdict"]) == (1, "INDETERMINATE")
    assert {copy["outcome"] for copy in checked.json["copies"]} == {"good"}
    assert "--identity" in checked.json["not_checked"]
    checked = minutier(instance, "check", found["archive_id"], "--identity", identity)
    assert (checked.code, checked.json["verdict"]) == (0, "PASSED")
    part = tmp_path / "part"
    answer = minutier(
        instance, "read", found["archive_id"], "-o", part, "--identity", identity, "--range", "70000-70009"
    )
    assert (answer.json["bytes"], part.read_bytes()) == (10, TEXT[70_000:70_010])
    for span, wanted in (("9-1", "BAD_RANGE"), ("x", "BAD_RANGE"), ("999999999-9999999999", "BAD_RANGE")):
        refused = minutier(instance, "read", found["archive_id"], "-o", part, "--identity", identity, "--range", span)
        assert (refused.code, refused.error) == (2, wanted)
    refused = minutier(instance, "safe", "rekey", "office", "--recipient", after.recipient)
    assert (refused.code, refused.error) == (2, "IDENTITY_NEEDED")
    done = minutier(instance, "safe", "rekey", "office", "--recipient", after.recipient, "--identity", identity)
    assert (done.json["keys"], done.json["recipients"]) == (1, [str(after.recipient)])
    refused = minutier(instance, "read", found["archive_id"], "-o", part, "--identity", identity)
    assert (refused.code, refused.error) == (1, "KEY_DOES_NOT_OPEN")
    identity.chmod(0o644)
    refused = minutier(instance, "read", found["archive_id"], "-o", part, "--identity", identity)
    assert (refused.code, refused.error) == (4, "KEY_READABLE_BY_OTHERS")

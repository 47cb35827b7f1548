"""What a new user tries and gets wrong: an exit code of the contract, a sentence, and nothing lost."""

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.samples.feeds import generate
from tests.support.cli import command, environment, minutier
from tests.support.postgres import free_port
from tests.support.prefect_api import paused

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(600)]

PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R>>endobj
4 0 obj<</Length 24>>stream
0 0 1 rg 20 20 99 99 re f
endstream endobj
"""


def pdf(path, mark="one"):
    """Write a small whole PDF; `mark` makes it unlike another."""
    data = bytearray(PDF + f"% {mark}\n".encode())
    places = [data.index(f"{number} 0 obj".encode()) for number in range(1, 5)]
    start = len(data)
    data += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    data += b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start
    path.write_bytes(data)
    return path


def sparse(path, size):
    path.touch()
    os.truncate(path, size)


def counted(home):
    return minutier(home, "count").json["states"]


def refused(home, code, exit_code, *arguments, env=None):
    """Run a command that must fail: its code, its exit code, a sentence for the person, no deposit more than before."""
    before = counted(home)
    answer = minutier(home, *arguments, env=env)
    assert (answer.code, answer.error) == (exit_code, code), answer
    said = answer.json["error"]
    assert said["message"] in answer.err
    assert said["remedy"]
    assert counted(home) == before
    return said


def test_the_whole_verbs_on_one_document(instance, tmp_path):
    generate(tmp_path / "feed", "mairie")
    source = next(path for path in (tmp_path / "feed").rglob("*.pdf") if "plan" in path.name)
    # Unlike the sample that another test deposits: a fingerprint names one document only when no other has its bytes.
    source = Path(shutil.copy(source, tmp_path / "plan.pdf"))
    source.write_bytes(source.read_bytes() + b"\n")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    note = tmp_path / "note.json"
    note.write_text('{"title": "Façade nord"}', "utf-8")
    arguments = ("deposit", source, "--reference", "W-1", "--expect", f"sha256:{digest}", "--metadata", note)
    first, second = minutier(instance, *arguments), minutier(instance, *arguments)
    assert (first.code, second.code) == (0, 0), first.err
    assert first.json == second.json
    (told,) = first.json
    assert (told["reference"], told["state"]) == ("W-1", "ARCHIVED")
    assert told["fingerprint"].startswith(f"sha256:{digest}+sha3-512:")
    for name in (told["archive_id"], told["fingerprint"]):
        assert minutier(instance, "metadata", name).json["metadata"] == {"title": "Façade nord"}
    assert minutier(instance, "read", told["archive_id"], "-o", tmp_path / "back.pdf").code == 0
    assert (tmp_path / "back.pdf").read_bytes() == source.read_bytes()
    assert minutier(instance, "read", told["archive_id"], "--rendition", "-o", tmp_path / "rendition.pdf").code == 0
    checked = minutier(instance, "check", told["archive_id"])
    assert (checked.code, checked.json["good"], len(checked.json["copies"])) == (0, True, 6)
    assert minutier(instance, "proof", told["archive_id"], "-o", tmp_path / "P.zip").code == 0
    for arguments, code, verdict in (
        (("verify", tmp_path / "P.zip"), 0, "PASSED"),
        (("verify", tmp_path / "P.zip", "--trust", instance / "trust"), 0, "PASSED"),
    ):
        answer = minutier(instance, *arguments)
        assert (answer.code, answer.json["verdict"]) == (code, verdict)
    elsewhere = minutier(tmp_path / "no-instance", "verify", tmp_path / "P.zip")
    assert (elsewhere.code, elsewhere.json["verdict"]) == (1, "INDETERMINATE")
    assert elsewhere.json["findings"]
    events = [line["event"] for line in minutier(instance, "journal", told["archive_id"]).json]
    assert events.count("deposit:committed") == 1
    assert events[-3:] == ["document:read", "document:checked", "proof:exported"]
    # Its end is years away: it is held, given back, and not destroyed.
    assert minutier(instance, "hold", told["archive_id"], "--reason", "a case").json["new"]
    assert minutier(instance, "destroy", told["archive_id"], "--reason", "asked").error == "HELD"
    assert minutier(instance, "release", told["archive_id"], "--reason", "closed").json["standing"] == 0
    early = minutier(instance, "destroy", told["archive_id"], "--reason", "asked")
    assert (early.code, early.error) == (4, "RETENTION")
    given = minutier(instance, "restitute", told["archive_id"], "-o", tmp_path / "bag")
    assert (given.code, given.json["given"]) == (0, [told["archive_id"]])
    (back,) = (tmp_path / "bag" / "data" / "documents" / told["archive_id"] / "original").iterdir()
    assert back.read_bytes() == source.read_bytes()
    purged = minutier(instance, "purge", "--by", "archivist")
    assert (purged.code, purged.json["list_id"], purged.json["due"]) == (0, None, {})


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("deposit", "absent.pdf"), "FILE_MISSING"),
        (("deposit", "."), "NOT_A_FILE"),
        (("deposit", "good.pdf", "--class", "eternity"), "UNKNOWN_CLASS"),
        (("deposit", "good.pdf", "--safe", "nowhere"), "UNKNOWN_SAFE"),
        (("deposit", "good.pdf", "--expect", "md5:00"), "BAD_DIGEST"),
        (("deposit", "good.pdf", "--metadata", "good.pdf"), "BAD_METADATA"),
        (("deposit", "good.pdf", "--metadata", "list.json"), "BAD_METADATA"),
        (("deposit", "good.pdf", "good.pdf", "--reference", "R"), "USAGE"),
        (("read", "nobody", "-o", "out"), "UNKNOWN_ID"),
        (("read", "nobody", "-o", "absent/out"), "BAD_OUTPUT"),
        (("proof", "nobody", "-o", "."), "BAD_OUTPUT"),
        (("intake", "garage", "--dir", "absent"), "NO_SUCH_DOOR"),
        (("sweep", "--budget", "soon"), "BAD_BUDGET"),
        (("safe", "create", "Not A Name"), "BAD_NAME"),
        (("store", "create", "replica-z"), "UNKNOWN_REPLICA"),
        (("verify", "absent.zip"), "FILE_MISSING"),
        (("verify", "good.pdf", "--at", "tomorrow"), "BAD_TIME"),
        (("destroy", "nobody", "--reason", "x"), "UNKNOWN_ID"),
        (("ship",), "NO_SUPERVISION"),
        (("purge", "--approve", "nosuch", "--by", "x", "--reason", "x"), "UNKNOWN_ACT"),
    ],
)
def test_bad_usage_is_exit_2_and_a_sentence(instance, tmp_path, monkeypatch, arguments, code):
    pdf(tmp_path / "good.pdf")
    (tmp_path / "list.json").write_text("[1]", "ascii")
    monkeypatch.chdir(tmp_path)
    refused(instance, code, 2, *arguments)


@pytest.mark.parametrize("arguments", [("nonsense",), ("deposit",), ("read", "x"), ("count", "--colour", "red")])
def test_unknown_usage_is_exit_2(instance, arguments):
    answer = minutier(instance, *arguments)
    assert (answer.code, "[USAGE]" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("empty.pdf", lambda path: path.write_bytes(b""), "EMPTY"),
        ("large.pdf", lambda path: sparse(path, 3 * 2**30), "TOO_LARGE"),
        ("cut.pdf", lambda path: path.write_bytes(PDF[:60]), "DAMAGED"),
        ("noise.bin", lambda path: path.write_bytes(bytes(range(256)) * 10), "FORMAT_UNKNOWN"),
        ("image.pdf", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), None),
    ],
)
def test_a_bad_document_ends_refused_with_both_sentences(instance, tmp_path, name, make, code):
    path = tmp_path / name
    make(path)
    answer = minutier(instance, "deposit", path, "--reference", f"bad-{name}-{tmp_path.name}")
    (told,) = answer.json
    assert (answer.code, told["state"]) == (2, "REFUSED")
    assert code in (None, told["refusal"]["code"])
    assert told["refusal"]["en"] != told["refusal"]["fr"]
    assert path.exists()


def test_a_digest_that_differs_is_a_refusal(instance, tmp_path):
    answer = minutier(instance, "deposit", pdf(tmp_path / "a.pdf", "digest"), "--expect", "sha256:" + "0" * 64)
    assert (answer.code, answer.json[0]["refusal"]["code"]) == (2, "DIGEST_MISMATCH")


def completed_later(home, source, env, code, exit_code=3):
    """A deposit that a broken dependency stops; without the fault the same command completes the same deposit."""
    stopped = minutier(home, "deposit", source, env=env)
    assert stopped.code == exit_code, stopped
    assert stopped.error == code, stopped
    assert stopped.json["error"]["retryable"] is (exit_code == 3)
    later = minutier(home, "deposit", source)
    assert (later.code, [item["state"] for item in later.json]) == (0, ["ARCHIVED"])


def test_with_the_authority_down_the_deposit_waits(instance, tmp_path):
    env = {"MINUTIER_TSA_URLS": f"http://127.0.0.1:{free_port()}/"}
    # The worker has its authority: it would take up what waits here.
    with paused(instance, "resume/waiting"), paused(instance, "resume/left-behind"):
        completed_later(instance, pdf(tmp_path / "tsa.pdf", "tsa"), env, "TSA_DOWN")


def test_with_the_database_down_nothing_is_taken(instance, tmp_path):
    env = {"MINUTIER_DATABASE_URL": f"postgresql://minutier@127.0.0.1:{free_port()}/minutier"}
    completed_later(instance, pdf(tmp_path / "db.pdf", "db"), env, "DATABASE_DOWN")


def test_with_a_store_away_the_deposit_waits_and_reading_goes_on(instance, tmp_path):
    source = pdf(tmp_path / "before.pdf", "before")
    (told,) = minutier(instance, "deposit", source).json
    home = instance / "replicas" / "b"
    home.rename(home.with_name("b.unmounted"))
    try:
        waiting = pdf(tmp_path / "store.pdf", "store")
        stopped = minutier(instance, "deposit", waiting)
        assert (stopped.code, stopped.error) == (3, "STORE_MISSING"), stopped
        assert minutier(instance, "read", told["archive_id"], "-o", tmp_path / "out").code == 0
        swept = minutier(instance, "sweep")
        assert (swept.code, swept.json["verdict"]) == (1, "alarm")
        assert swept.json["unreachable"] > 0
        assert not home.exists()
    finally:
        home.with_name("b.unmounted").rename(home)
    later = minutier(instance, "deposit", waiting)
    assert (later.code, later.json[0]["state"]) == (0, "ARCHIVED")
    assert minutier(instance, "sweep").json["verdict"] == "clean"


@contextmanager
def small_disk(folder):
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_with_a_full_disk_nothing_is_lost(instance, tmp_path):
    source = tmp_path / "big.pdf"
    pdf(source, "x" * 3_000_000)
    with small_disk(instance / "spool"):
        refused(instance, "DISK_FULL", 3, "deposit", source)
        assert list((instance / "spool").glob("*/*")) == []
    later = minutier(instance, "deposit", source)
    assert (later.code, later.json[0]["state"]) == (0, "ARCHIVED")


def test_with_a_limit_on_file_size_nothing_is_lost(instance, tmp_path):
    """As above where no disk can be mounted: the system refuses to let the file grow."""
    source = tmp_path / "limited.pdf"
    pdf(source, "y" * 3_000_000)
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 2000; exec "$@"', "sh", *command(instance, "--json", "deposit", source)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "[DISK_FULL]" in done.stderr) == (3, True), done.stderr
    assert minutier(instance, "deposit", source).json[0]["state"] == "ARCHIVED"


def test_an_instance_that_is_not_up_is_said(tmp_path):
    answer = minutier(tmp_path / "home", "count")
    assert (answer.code, answer.error, "minutier up" in answer.err) == (3, "NOT_UP", True)


def test_the_listing_verbs_agree(instance):
    states = counted(instance)
    listed = minutier(instance, "list").json
    assert len(listed) == sum(states.values())
    assert {item["name"] for item in minutier(instance, "safe", "list").json} >= {"demo"}
    assert "default" in {item["name"] for item in minutier(instance, "class", "list").json}
    status = minutier(instance, "status")
    assert (status.code, {item["health"] for item in status.json}) == (0, {"healthy"})
    probed = minutier(instance, "store", "probe")
    assert probed.code == 0
    assert {item["replica"] for item in probed.json} == {"replica-a", "replica-b"}
    assert minutier(instance, "doctor").json

"""The edge of the process: whatever happens, an exit code of the contract, a sentence, and one JSON document."""

import dataclasses
import hashlib
import json
import os
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import typer

from deployments import (
    cli,
    commands_documents,
    commands_instance,
    commands_reading,
    commands_safes,
    inputs,
    reports,
)
from deployments.cli import run
from minutier.age import generate_identity
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from storage import catalogue
from tests.support.cli import command, environment
from tests.support.clients import client_safe
from tests.support.rig import carry

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "instance").mkdir()
    return tmp_path / "instance"


def failing(monkeypatch, error):
    """Let the code below `minutier status` end with an error."""

    def end():
        raise error

    monkeypatch.setattr(commands_instance, "settings", end)


def told(capsys):
    """The code of the error in the one JSON document on stdout; nothing on the terminal is a traceback."""
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    error = json.loads(out)["error"]
    assert f"Error [{error['code']}]: {error['message']}" in err
    assert error["remedy"]
    return error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "deposit"),
        ("--json", "bogus"),
        ("deposit", "--colour", "--json"),
        ("--json", "--home"),
        ("--home=", "--json"),
        ("--home", "--json"),
        ("--json",),
        ("--json", "store"),
        ("--json", "read", "x"),
        ("--json", "deposit", "a", "b", "--reference", "R"),
    ],
)
def test_bad_usage_is_one_json_document(capsys, arguments):
    assert run(list(arguments)) == 2
    assert told(capsys)["code"] == "USAGE"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_one_json_document(capsys, monkeypatch, home, error):
    failing(monkeypatch, error)
    assert run(["--json", "--home", str(home), "status"]) == 3
    assert told(capsys)["code"] == "INTERRUPTED"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("the cause"), UnicodeEncodeError("utf-8", "\udce9", 0, 1, "the cause")]
)
def test_a_fault_is_said_and_its_traceback_kept_aside(capsys, monkeypatch, home, error):
    failing(monkeypatch, error)
    log = home / "logs" / "command.log"
    for number in (1, 2):
        assert run(["--json", "--home", str(home), "status"]) == 3
        found = told(capsys)
        assert found["code"] == "INTERNAL"
        assert found["message"].startswith("This is a fault of Minutier")
        assert str(log) in found["remedy"]
        assert log.read_text("utf-8").count("Traceback (most recent call last)") == number
    assert "the cause" in log.read_text("utf-8")
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_prefect_server_that_does_not_answer_is_a_service_down(capsys, monkeypatch, home):
    error = RuntimeError("Failed to reach API")
    error.__cause__ = httpx.ConnectError("Connection refused")
    failing(monkeypatch, error)
    assert run(["--json", "--home", str(home), "status"]) == 3
    assert told(capsys)["code"] == "PREFECT_DOWN"
    assert list(home.iterdir()) == []


def test_a_fault_without_a_home_makes_none(capsys, monkeypatch, tmp_path):
    failing(monkeypatch, ZeroDivisionError())
    assert run(["--json", "--home", str(tmp_path / "absent"), "status"]) == 3
    assert told(capsys)["code"] == "INTERNAL"
    assert not (tmp_path / "absent").exists()


def test_a_log_that_cannot_be_written_changes_nothing(capsys, monkeypatch, home):
    failing(monkeypatch, ZeroDivisionError())
    (home / "logs").write_bytes(b"a file")
    assert run(["--json", "--home", str(home), "status"]) == 3
    assert told(capsys)["code"] == "INTERNAL"


def test_a_failure_after_the_document_is_no_second_one(capsys, monkeypatch, home):
    monkeypatch.setattr(commands_instance, "_status_table", lambda found: cli.show(["told"], "") or 1 // 0)
    assert run(["--json", "--home", str(home), "status"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == ["told"]
    assert "Error [INTERNAL]" in err


def test_what_a_library_prints_is_not_in_the_document(capsys, monkeypatch, home):
    monkeypatch.setattr(commands_instance, "_status_table", lambda found: print("noise"))
    run(["--json", "--home", str(home), "status"])
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), list)
    assert "noise" in err


def test_the_help_names_the_common_options(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "--home" in out
    assert "--json" in out


def test_the_release_is_said_without_any_instance(capsys):
    known = version("minutier")
    assert (run(["--version"]), capsys.readouterr().out) == (0, f"minutier {known}\n")
    assert (run(["--version", "--json"]), json.loads(capsys.readouterr().out)) == (0, {"version": known})


def test_without_a_command_the_help_is_all_that_is_said(capsys):
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert "Commands" in out
    assert err == ""


def test_a_directory_is_no_proof_and_no_document(capsys, tmp_path):
    for arguments in (("verify",), ("seal-local", "--recipient", "age1", "-o", str(tmp_path))):
        assert run(["--json", *arguments, str(tmp_path)]) == 2
        error = told(capsys)
        assert (error["code"], error["message"]) == ("NOT_A_FILE", f"{tmp_path} is a directory.")


def test_seal_local_prints_a_command_with_safe_and_class(capsys, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a")
    recipient = str(generate_identity().recipient)
    assert run(["seal-local", str(tmp_path / "a.txt"), "--recipient", recipient, "-o", str(tmp_path)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    statement = tmp_path / "a.txt.blind.json"
    assert line == f"minutier deposit {tmp_path / 'a.txt.age'} --blind {statement} --safe SAFE --class CLASS"


def test_verify_says_which_anchors_judged(capsys, home):
    root = hashlib.sha256(ssl.PEM_cert_to_DER_cert((VECTORS / "trust" / "root.pem").read_text("ascii"))).hexdigest()
    said = f"{VECTORS / 'trust'}, root SHA-256 {root}"
    proof = str(VECTORS / "proofs" / "v2.zip")
    assert run(["--json", "verify", proof, "--trust", str(VECTORS / "trust")]) in (0, 1)
    out, err = capsys.readouterr()
    assert json.loads(out)["facts"]["judged_by"] == said
    assert f"judged by: {said}\n" in err
    (home / "trust").mkdir()
    run(["--home", str(home), "verify", proof])
    assert f"judged by: {home / 'trust'}, no root\n" in capsys.readouterr().err
    (home / "trust").rmdir()
    run(["--home", str(home), "verify", proof])
    assert "judged by: no trust anchor\n" in capsys.readouterr().err


def test_a_report_without_its_instance_gives_the_verdict_and_another_way(capsys, monkeypatch, tmp_path):
    @contextmanager
    def down(own):
        raise ServiceUnavailableError("DATABASE_DOWN", "It is down.", remedy="Start it.")
        yield

    monkeypatch.setattr(reports, "sealing_of", down)
    proof, trust, out = str(VECTORS / "proofs" / "v2.zip"), str(VECTORS / "trust"), tmp_path / "out"
    assert run(["verify", proof, "--trust", trust, "--report", str(out)]) == 3
    err = capsys.readouterr().err
    assert err.index("Verdict: ") < err.index("Error [DATABASE_DOWN]: It is down.\n→ Start it. Or give --home of")
    assert not out.exists()


def started(home, *arguments, **more):
    """Run the command in a process of its own; arguments may be bytes."""
    return subprocess.run(
        [*command(home), *arguments], env=environment(more.pop("env", None)), capture_output=True, check=False, **more
    )


@pytest.mark.parametrize("option", ["--reference", "--safe", "--class"])
def test_an_option_in_another_encoding_is_a_bad_name(home, option):
    done = started(home, "--json", "deposit", "a.pdf", option, b"caf\xe9")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "BAD_NAME"), done
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "ascii"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_path_in_another_encoding_is_told_in_any_terminal(home, encoding, options):
    done = started(home, *options, "verify", b"caf\xe9\xe2\x82\xac.zip", env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, b"FILE_MISSING" in done.stderr) == (2, True), done
    if options:
        assert json.loads(done.stdout)["error"]["message"] == "There is no file caf\N{REPLACEMENT CHARACTER}€.zip."


def test_a_reader_that_goes_away_is_no_error(home):
    """`minutier --help | head -0`, with an answer larger than the pipe."""
    program = "from deployments import cli; cli.show([], 'x' * 10**6); cli.say('done')"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"done\n")


def test_with_the_output_on_a_full_disk_the_error_is_said(home):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            command(home, "--json", "doctor"), env=environment(), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, b"SYSTEM_ERROR" in done.stderr, b"Traceback" in done.stderr) == (3, True, False), done


@pytest.fixture
def archive(rig, monkeypatch):
    """The archive that `minutier deposit` finds, in this process and without an engine."""

    @contextmanager
    def running():
        yield rig.archive

    for module in (commands_documents, commands_reading, commands_safes):
        monkeypatch.setattr(module, "running_archive", running)
    monkeypatch.setattr(
        commands_documents,
        "run_deposit",
        lambda archive, title, deposits: carry(archive, [item.archive_id for item in deposits]),
    )
    return rig.archive


def deposited(capsys, *arguments):
    code = run(["--json", "deposit", *arguments])
    answer = json.loads(capsys.readouterr().out)
    return code, answer


def names(archive):
    with archive.database.transaction() as connection:
        return [item.name for item in catalogue.list_deposits(connection)]


def test_a_file_named_in_another_encoding_is_archived_under_a_name_that_can_be_read(archive, capsys, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.pdf")  # noqa: PTH118
    with open(path, "wb") as stream:  # noqa: PTH123
        stream.write(b"%PDF-1.7")
    code, answer = deposited(capsys, os.fsdecode(path))
    assert (code, [item["state"] for item in answer]) == (0, ["ARCHIVED"])
    assert names(archive) == ["caf\N{REPLACEMENT CHARACTER}.pdf"]


@pytest.mark.parametrize(
    ("verdict", "reason", "findings", "said"),
    [
        ("passed", "", [], ""),
        ("not_checked", "NO_CONVERTER", [], "PDF/A rendition not_checked: NO_CONVERTER"),
        ("failed", "PDFA_NOT_PASSED", ["6.2.11 a", "b"], "PDF/A rendition failed: PDFA_NOT_PASSED, 6.2.11 a"),
    ],
)
def test_a_document_without_a_rendition_that_passed_says_why(rig, verdict, reason, findings, said):
    found = {"verdict": verdict, "reason": reason, "findings": findings}
    deposit = dataclasses.replace(rig.deposit(), rendition=found)
    line = commands_documents._outcome_table([deposit]).splitlines()[-1]
    assert line.endswith(f"ARCHIVED  {said}".strip())


@pytest.mark.parametrize("text", [r'{"title": "a\u0000b"}', r'{"title": "\ud800"}', r'{"\udfff": "b"}', '{"a": 1}'])
def test_metadata_that_cannot_be_kept_are_refused(archive, capsys, tmp_path, text):
    (tmp_path / "note.json").write_text(text, "ascii")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    code, answer = deposited(capsys, str(tmp_path / "a.pdf"), "--metadata", str(tmp_path / "note.json"))
    assert (code, answer["error"]["code"]) == (2, "BAD_METADATA")
    assert names(archive) == []


@pytest.mark.parametrize("value", ["a\0b", "caf\udce9"])
@pytest.mark.parametrize("option", ["--reference", "--safe", "--class"])
def test_an_option_that_cannot_be_kept_is_refused(archive, capsys, tmp_path, option, value):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    code, answer = deposited(capsys, str(tmp_path / "a.pdf"), option, value)
    assert (code, answer["error"]["code"]) == (2, "BAD_NAME")
    assert answer["error"]["message"].isprintable()
    assert names(archive) == []


def test_a_safe_is_not_said_to_be_there_for_a_client_it_is_not_for(archive, capsys):
    alice, bob = (str(generate_identity().recipient) for _ in range(2))
    create = ["--json", "safe", "create", "notary", "--recipient"]
    for made in (True, False):
        assert run([*create, alice]) == 0
        assert json.loads(capsys.readouterr().out)["created"] is made
    assert run([*create, bob]) == 2
    assert told(capsys)["code"] == "SAFE_EXISTS"
    assert run(["safe", "rekey", "notary"]) == 0
    assert capsys.readouterr().out.startswith("Nothing to do: all 0 document keys are wrapped for ")


def test_what_a_client_must_give_is_said_for_the_command(archive, rig, capsys, tmp_path):
    client_safe(rig)
    name = rig.deposit(safe="notary").archive_id
    for arguments, helps in ((["read", name], True), (["proof", name], False)):
        assert run(["--json", *arguments, "-o", str(tmp_path / "out")]) == 2
        error = told(capsys)
        assert (error["code"], "--encrypted" in error["remedy"]) == ("IDENTITY_NEEDED", helps)


def test_an_unknown_class_can_be_made(archive, capsys, tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    code, answer = deposited(capsys, str(tmp_path / "a.pdf"), "--class", "none")
    assert (code, answer["error"]["code"]) == (2, "UNKNOWN_CLASS")
    assert "minutier class create NAME --years N" in answer["error"]["remedy"]


def key_file(archive):
    return archive.settings.home / "keys" / "reference.key"


def test_the_same_bytes_have_the_same_reference(archive, capsys, tmp_path):
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(b"%PDF-1.7")
    answers = [deposited(capsys, str(tmp_path / name)) for name in ("a.pdf", "b.pdf")]
    assert answers[0] == answers[1]
    assert key_file(archive).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key_file(archive).parent.iterdir() if path.name.startswith(".")] == []


def test_first_runs_at_once_agree_on_the_key(rig, tmp_path):
    source = tmp_path / "a.pdf"
    source.write_bytes(b"%PDF-1.7")
    for _ in range(20):
        key_file(rig.archive).unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: inputs.own_reference(rig.archive, source), range(8)))
        assert found == {inputs.own_reference(rig.archive, source)}


@pytest.mark.parametrize("lose", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_key_that_named_deposits_is_never_made_again(archive, capsys, tmp_path, lose):
    source = tmp_path / "a.pdf"
    source.write_bytes(b"%PDF-1.7")
    key = deposited(capsys, str(source)) and key_file(archive).read_bytes()
    lose(key_file(archive))
    code, answer = deposited(capsys, str(source))
    assert (code, answer["error"]["code"]) == (1, "KEYS_MISSING")
    assert "--reference" in answer["error"]["remedy"]
    assert len(names(archive)) == 1
    assert deposited(capsys, str(source), "--reference", "R-1")[0] == 0
    key_file(archive).write_bytes(key)
    assert deposited(capsys, str(source))[0] == 0
    assert len(names(archive)) == 2


def test_a_key_is_made_where_only_others_gave_references(rig, tmp_path):
    rig.deposit(reference="file-0123456789abcdef0123")  # of a feed
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    assert inputs.own_reference(rig.archive, tmp_path / "a.pdf").startswith("file-")


def test_a_key_made_by_another_run_meanwhile_is_taken(rig, tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")

    def other_run(archive):
        key_file(archive).write_bytes(bytes(32))
        return True

    monkeypatch.setattr(inputs, "_named_before", other_run)
    assert inputs.own_reference(rig.archive, tmp_path / "a.pdf").startswith("file-")
    key_file(rig.archive).unlink()
    monkeypatch.setattr(inputs, "_named_before", lambda archive: True)
    with pytest.raises(IntegrityFailureError):
        inputs.own_reference(rig.archive, tmp_path / "a.pdf")

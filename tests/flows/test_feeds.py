"""The flows on a real Prefect server: by the worker from a deployment, and by the command line."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest

from deployments.definitions import DEFINITIONS
from tasks.bordereau import COLUMNS
from tasks.samples import mairie
from tasks.samples.feeds import generate
from tests.support.cli import command, environment, minutier

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(600)]

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def prefect(instance):
    """A client of the instance's Prefect API."""
    (address,) = [item["address"] for item in minutier(instance, "status").json if item["name"] == "prefect"]
    with httpx.Client(base_url=f"{address}/api", timeout=30) as client:
        yield client


def ask(client, path, **body):
    answer = client.post(path, json=body)
    answer.raise_for_status()
    return answer.json()


def deliver(folder, feed, batch):
    """Put one sample batch at a door, with the dates of its source; gives its expected lines and its folder."""
    made = folder / "made"
    expected = [line for line in generate(made, feed) if line.batch == batch]
    target = folder / "door" / batch
    shutil.copytree(made / batch, target)
    return expected, target


def receipt(folder):
    text = (folder / "accuse.csv").read_text("utf-8-sig")
    return list(csv.DictReader(text.splitlines(), delimiter=";"))


def run_of(client, deployment, **parameters):
    """Start a run of a deployment and wait for its end."""
    found = client.get(f"/deployments/name/{deployment}").raise_for_status().json()
    run = ask(client, f"/deployments/{found['id']}/create_flow_run", parameters=parameters)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        now = client.get(f"/flow_runs/{run['id']}").raise_for_status().json()
        if now["state_type"] in ENDED:
            return now
        time.sleep(0.5)
    raise AssertionError(f"the run did not end: {now['state_name']}")


def below(client, run):
    """Give every run started by a run, with their task runs."""
    tasks = ask(client, "/task_runs/filter", task_runs={}, flow_runs={"id": {"any_": [run["id"]]}}, limit=200)
    runs = ask(
        client,
        "/flow_runs/filter",
        flow_runs={"parent_task_run_id": {"any_": [each["id"] for each in tasks]}},
        limit=200,
    )
    ids = [each["id"] for each in runs]
    inner = ask(client, "/task_runs/filter", flow_runs={"id": {"any_": ids}}, limit=200)
    return runs, tasks + inner


@pytest.fixture(scope="module")
def taken(instance, prefect, tmp_path_factory):
    """One batch taken by the worker: its run, the lines expected, and the folder it was left in."""
    expected, folder = deliver(tmp_path_factory.mktemp("garage"), "garage", "2026-03-04_garage")
    run = run_of(prefect, "intake/garage", feed="garage", directory=str(folder.parent))
    return run, expected, folder


def test_the_worker_takes_a_batch_to_its_end(instance, taken):
    run, expected, folder = taken
    assert (run["state_type"], run["name"], "garage" in run["tags"]) == ("COMPLETED", "intake · garage", True)
    wanted = Counter("" if line.outcome in ("archived", "duplicate") else line.outcome for line in expected)
    lines = receipt(folder)
    assert Counter(line["motif"] for line in lines) == wanted
    assert len(wanted) >= 2
    for line in lines:
        assert line["etat"] == ("refusé" if line["motif"] else "archivé")
        assert bool(line["explication"]) == bool(line["motif"])
    again = minutier(instance, "intake", "garage", "--dir", folder.parent)
    assert (again.code, again.json["batches"]) == (0, [])


def test_runs_and_steps_bear_names_that_people_understand(prefect, taken):
    runs, tasks = below(prefect, taken[0])
    dossiers = {line.dossier for line in taken[1] if line.outcome == "archived"}
    for dossier in dossiers:
        assert any(dossier in run["name"] for run in runs), dossier
    reference = next(line.reference for line in taken[1] if line.outcome == "archived")
    steps = {task["name"].split(" · ")[0] for task in tasks if reference in task["name"]}
    assert steps == {"screen", "render", "seal", "store", "lock"}
    dossier = next(each for each in dossiers if any(reference in run["name"] or each in run["name"] for run in runs))
    batches = {task["name"].split(" · ")[0] for task in tasks if dossier in task["name"]}
    assert batches >= {"time-stamp", "commit", "attest"}
    assert {run["state_name"] for run in runs} >= {"Archived"}


def test_prefect_holds_no_file_name_and_no_title(prefect, taken):
    run, _, folder = taken
    runs, tasks = below(prefect, run)
    ids = [run["id"], *(each["id"] for each in runs)]
    logs = ask(prefect, "/logs/filter", logs={"flow_run_id": {"any_": ids}}, limit=200)
    artifacts = ask(prefect, "/artifacts/filter", artifacts={"flow_run_id": {"any_": ids}}, limit=200)
    assert artifacts
    assert "archived" in str(artifacts)
    held = str((run, runs, tasks, logs, artifacts))
    with (folder / "bordereau.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    for row in rows:
        assert row["fichier"] not in held
        assert row["titre"] not in held


def test_the_nightly_sweep_heals_and_says_so_on_its_page(instance, prefect, taken):
    archive_id = next(line["archive_id"] for line in receipt(taken[2]) if not line["motif"])
    (path,) = (instance / "replicas" / "a" / "garage" / archive_id / "original.age").glob("*.bin")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    run = run_of(prefect, "integrity/nightly")
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Healed")
    shown = ask(prefect, "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}}, limit=50)
    by_key = {artifact["key"]: artifact for artifact in shown}
    assert {"sweep", "sweep-findings", "sweep-progress"} <= by_key.keys()
    assert "| healed | 1 |" in by_key["sweep"]["data"]
    assert archive_id in by_key["sweep-findings"]["data"]
    events = [line["event"] for line in minutier(instance, "journal", archive_id).json]
    assert events[-2:] == ["copy:damaged", "copy:healed"]
    second = run_of(prefect, "integrity/nightly")
    assert second["state_name"] == "Clean"


def test_every_schedule_is_on_paris_time_and_has_runs_to_come(prefect, instance):
    found = ask(prefect, "/deployments/filter", limit=50)
    names = {each["name"] for each in found}
    assert names == {each.name for each in DEFINITIONS}
    schedules = [schedule["schedule"] for each in found for schedule in each["schedules"]]
    assert {schedule["timezone"] for schedule in schedules} == {"Europe/Paris"}
    assert all(each["global_concurrency_limit"]["limit"] >= 1 for each in found)
    deadline = time.monotonic() + 120
    while not (coming := ask(prefect, "/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})):
        assert time.monotonic() < deadline, "no scheduled run was made"
        time.sleep(1)
    assert {run["deployment_id"] for run in coming} <= {each["id"] for each in found}


def test_one_bad_manifest_holds_back_no_other_batch(instance, tmp_path):
    _, folder = deliver(tmp_path, "mairie", "2026-03-03_mairie")
    broken = folder.parent / "2026-03-03_broken"
    broken.mkdir()
    (broken / "bordereau.csv").write_text("what is this\n", "ascii")
    answer = minutier(instance, "intake", "mairie", "--dir", folder.parent)
    assert (answer.code, answer.json["error"]["code"]) == (2, "BAD_MANIFEST")
    assert "2026-03-03_broken" in answer.err
    assert [batch["batch"] for batch in answer.json["batches"]] == ["2026-03-03_mairie"]
    assert "en cours" not in {line["etat"] for line in receipt(folder)}


@contextmanager
def coming(path, stamp):
    """Touch a file while the block runs, however long that takes; what it says of its own age stays old."""
    ended = threading.Event()

    def touch():
        while not ended.wait(0.5):
            os.utime(path, (stamp, stamp))

    writer = threading.Thread(target=touch)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def test_a_batch_whose_files_are_still_coming_waits(instance, tmp_path):
    _, folder = deliver(tmp_path, "mairie", "2026-03-02_mairie")
    late = next(path for path in sorted(folder.iterdir()) if path.suffix == ".pdf")
    kept = late.read_bytes()
    late.write_bytes(kept[:100])
    # The manifest came first, with its old date: what came last still counts.
    past = time.time() - 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (past, past))
    with coming(late, past):
        answer = minutier(instance, "intake", "mairie", "--dir", folder.parent)
    assert (answer.code, answer.json["batches"]) == (0, [])
    assert not (folder / "accuse.csv").exists()


def small_batch(door, name, data, reference):
    """Put a batch of one file at a door."""
    folder = door / name
    folder.mkdir(parents=True)
    (folder / "dupont-identite.pdf").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    row = f"PC-9;{reference};piece;titre de dupont;dupont-identite.pdf;{len(data)};{digest};2026-03-02"
    (folder / "bordereau.csv").write_text(f"{';'.join(COLUMNS)}\n{row}\n", "utf-8")
    return folder


def limited(home, blocks, *arguments):
    """Run a command that may write no file larger than so many blocks: the disk is full for large documents only."""
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", *command(home, "--json", *arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_a_batch_that_fails_holds_back_no_other_and_is_taken_at_the_next_visit(instance, prefect, tmp_path):
    door = tmp_path / "door"
    data = mairie.request(1)
    large = small_batch(door, "1-large", data + b"\n%" + b"x" * 3_000_000, "LIMIT-1")
    small = small_batch(door, "2-small", data, "LIMIT-2")
    code, told = limited(instance, 2000, "intake", "mairie", "--dir", door)
    assert (code, told["error"]["code"]) == (3, "DISK_FULL")
    assert [batch["batch"] for batch in told["batches"]] == ["2-small"]
    assert not (large / "accuse.csv").exists()
    assert "en cours" not in {line["etat"] for line in receipt(small)}
    runs = ask(prefect, "/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["FAILED"]}}}, limit=200)
    steps = ask(prefect, "/task_runs/filter", task_runs={"state": {"type": {"any_": ["FAILED"]}}}, limit=200)
    assert any(run["name"] == "intake · mairie" and "DISK_FULL" in run["state"]["message"] for run in runs)
    assert "receive · 1-large" in {step["name"] for step in steps}
    assert "dupont" not in str((runs, steps))
    later = minutier(instance, "intake", "mairie", "--dir", door)
    assert [batch["batch"] for batch in later.json["batches"]] == ["1-large"], later.err
    assert "en cours" not in {line["etat"] for line in receipt(large)}


def test_what_one_batch_missed_is_taken_when_it_comes(instance, tmp_path):
    door, data = tmp_path / "door", b"une note pour le dossier\n" * 20
    folder = small_batch(door, "late", data, "LATE-1")
    file = folder / "dupont-identite.pdf"
    # The announced size, and other bytes: taken at once, and refused.
    file.write_bytes(bytes(reversed(data)))
    first = minutier(instance, "intake", "mairie", "--dir", door)
    assert (first.code, receipt(folder)[0]["motif"]) == (1, "DIGEST_MISMATCH")
    assert minutier(instance, "intake", "mairie", "--dir", door).json["batches"] == []
    file.write_bytes(data)
    minutier(instance, "intake", "mairie", "--dir", door)
    assert receipt(folder)[0]["motif"] != "DIGEST_MISMATCH"


def test_a_feed_that_cannot_name_a_safe_is_said(instance, tmp_path):
    answer = minutier(instance, "intake", "../../../evil", "--dir", tmp_path)
    assert (answer.code, answer.error) == (2, "BAD_NAME")
    assert not list(instance.rglob("*evil*"))

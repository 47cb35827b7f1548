"""A list is approved in a form of the Prefect pages, by another person; what was typed there does not stay there."""

import json
import time

import psycopg
import pytest

from deployments import instance as embedded
from storage.settings import load_settings
from tests.flows.test_wrong_input import pdf
from tests.support.cli import minutier
from tests.support.prefect_api import api

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
DAYS = 366 * 10


@pytest.fixture
def listed(instance, tmp_path):
    """A list of one document, whose term somebody moved in the database: what the stores say of it stays true."""
    reference = f"decision-{tmp_path.name}"
    path, words = pdf(tmp_path / "a.pdf", tmp_path.name), ("--safe", "demo", "--class", "default")
    answer = minutier(instance, "deposit", path, *words, "--reference", reference)
    assert answer.code == 0, answer.err
    archive_id = answer.json[0]["archive_id"]
    url = embedded.embedded_database_url(load_settings(instance, {}))

    def move(days):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "UPDATE deposit SET retain_until = retain_until + %s * interval '1 day' WHERE archive_id = %s",
                (days, archive_id),
            )

    move(-DAYS)
    answer = minutier(instance, "purge", "--by", "Archivist One")
    yield answer.json["list_id"], archive_id, url
    move(DAYS)


def waited(instance, run_id, *kinds):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        run = api(instance, "GET", f"/flow_runs/{run_id}")
        if run["state"]["type"] in kinds:
            return run
        time.sleep(0.5)
    raise AssertionError(run["state"])


def decided(instance, list_id, **typed):
    """Start the run, wait for its form, and send what a person types."""
    deployment = api(instance, "GET", "/deployments/name/decision/with-a-form")
    run = api(
        instance, "POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"list_id": list_id}}
    )
    held = waited(instance, run["id"], "PAUSED")
    assert held["state"]["name"] == "Suspended"
    assert set(held["state"]["state_details"]["run_input_keyset"]) >= {"schema", "response"}
    api(instance, "POST", f"/flow_runs/{run['id']}/resume", {"run_input": typed})
    ended = waited(instance, run["id"], "COMPLETED", "FAILED", "CRASHED")
    assert api(instance, "POST", f"/flow_runs/{run['id']}/input/filter", {"prefix": "", "limit": 100}) == []
    logs = api(instance, "POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200})
    assert "Archivist" not in json.dumps([ended, logs])
    return ended


def register(url, list_id):
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT approved_by, reason FROM disposal_list WHERE list_id = %s", (list_id,)
        ).fetchone()


def test_another_person_decides_in_a_form(instance, listed):
    list_id, archive_id, url = listed
    ended = decided(instance, list_id)
    assert (ended["state"]["name"], register(url, list_id)) == ("NotApproved", (None, None))

    ended = decided(instance, list_id, approve=True, name="Archivist One", reason="end of its class")
    assert (ended["state"]["name"], "SAME_PERSON" in ended["state"]["message"]) == ("NotTaken", True)
    assert register(url, list_id) == (None, None)

    ended = decided(instance, list_id, approve=True, name="Archivist Two", reason="end of its class")
    assert register(url, list_id) == ("Archivist Two", "end of its class")
    # The database was tampered with: the stores hold the document still, and say so.
    assert (ended["state"]["name"], "1 left" in ended["state"]["message"]) == ("Destroyed", True)
    assert minutier(instance, "metadata", archive_id).json["state"] == "ARCHIVED"

"""`minutier key …`: thin, and its exit code says when a count does not fit."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from deployments import commands_keys
from deployments.cli import run


@pytest.fixture
def key(rig, monkeypatch, capsys):
    @contextmanager
    def running():
        yield rig.archive

    monkeypatch.setattr(commands_keys, "running_archive", running)

    def command(*arguments: str) -> tuple[int, object, str]:
        code = run(["--json", "key", *arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out), err

    return command


def test_keys_are_listed_with_their_uses(rig, key, capsys):
    rig.deposit()
    code, (found,), _ = key("list")
    assert code == 0
    assert {name: found[name] for name in ("kind", "state", "uses", "journaled", "waiting", "trouble")} == {
        "kind": "seal", "state": "active", "uses": 2, "journaled": 2, "waiting": 0, "trouble": "",
    }  # fmt: skip
    assert "no legal value" in found["subject"]
    assert run(["key", "list"]) == 0
    assert found["key"] in capsys.readouterr().out


def test_a_use_without_its_act_is_shown_with_what_it_was_for(rig, key, capsys):
    rig.archive.signer.seal(b"{}", rig.clock(), "statement")
    code, (found,), _ = key("list")
    assert (code, found["waiting"], found["waiting_uses"][0]["act"]) == (0, 1, "statement")
    assert run(["key", "list"]) == 0
    assert "statement" in capsys.readouterr().out


def test_a_count_that_does_not_fit_is_a_finding(rig, key):
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE seal_key SET uses = uses + 1")
    code, (found,), _ = key("list")
    assert code == 1
    assert "neither in the journal" in found["trouble"]


def test_a_key_is_rotated_and_the_former_one_revoked(rig, key):
    _, (first,), _ = key("list")
    code, made, _ = key("rotate")
    assert (code, made["state"]) == (0, "active")
    assert made["key"] != first["key"]
    code, found, told = key("revoke", first["key"], "--reason", "superseded")
    assert (code, found["state"], found["reason"], found["listed"]) == (0, "revoked", "superseded", True)
    assert "root.crl" in told
    assert {each["state"] for each in key("list")[1]} == {"revoked", "active"}
    assert rig.deposit().state == "ARCHIVED"


def test_wrong_input_is_said(key):
    for arguments, code, error in (
        (("revoke", "ffff", "--reason", "superseded"), 2, "UNKNOWN_KEY"),
        (("revoke", "ffff", "--reason", "boredom"), 2, "UNKNOWN_REASON"),
        (("rotate", "--second"), 2, "NO_SECOND_SEAL"),
        (("revoke", "ffff"), 2, "USAGE"),
    ):
        found = key(*arguments)
        assert (found[0], found[1]["error"]["code"]) == (code, error)

"""`minutier demo --once`, as `make demo ONCE=1` runs it: every check holds, and a second run adds nothing."""

import pytest

from tests.support.cli import minutier

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(900)]


def test_the_demo_holds_and_its_second_run_adds_nothing(tmp_path):
    first = minutier(tmp_path / "home", "demo", "--once", timeout=600)
    assert first.code == 0, first.err
    told = first.json
    assert told["ok"]
    assert all(check["ok"] for check in told["checks"])
    assert len(told["checks"]) >= 5
    assert sum(item["archived"] for item in told["dossiers"]) >= 40
    assert len(told["dossiers"]) >= 16
    assert len({item["code"] for item in told["refusals"]}) >= 6
    assert all(item["fr"] for item in told["refusals"])
    assert "archived" in first.err
    second = minutier(tmp_path / "home", "demo", "--once", timeout=600)
    assert second.code == 0, second.err
    assert second.json["dossiers"] == told["dossiers"]
    assert second.json["refusals"] == told["refusals"]

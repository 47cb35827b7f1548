"""`doctor` says whether post-quantum files open with the `age` command of this machine."""

import pytest

from deployments import doctor


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.1.1", "too old"), ("v1.2.9", "too old"), ("v1.3.1", ""), ("2.0", ""), ("(devel)", "too old")],
)
def test_the_age_of_this_machine(tmp_path, monkeypatch, version, said):
    program = tmp_path / "age"
    program.write_text(f"#!/bin/sh\necho '{version}'\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor._post_quantum()
    assert found.level == "ok"
    assert version in found.detail
    assert ("too old" in found.detail) == bool(said)


def test_without_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._post_quantum().detail.endswith("of cryptography)")

"""The wheel holds the packages and nothing else, and each top-level name has one owner."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"minutier", "storage", "tasks", "flows", "deployments", "supervision"}


def uv() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "minutier")
    for candidate in [os.environ.get("UV"), shutil.which("uv"), *sorted(cache.glob("uv-*/bin/uv"))]:
        if candidate:
            return str(candidate)
    pytest.skip("uv is not here: run infra/bootstrap.sh run")


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    for attempt in (["--offline"], []):  # the build back end is in uv's cache after the first time
        built = run(uv(), "build", "--wheel", "--quiet", *attempt, "--out-dir", target, ROOT)
        if built.returncode == 0:
            (found,) = target.glob("*.whl")
            return found
    pytest.fail(built.stderr)


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_packages_alone(wheel):
    tops = {name.split("/", 1)[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_what_the_code_reads(wheel):
    """Every file of the packages that is not Python: migrations, templates, samples."""
    listed = run("git", "ls-files", *sorted(PACKAGES), cwd=ROOT)
    if listed.returncode != 0:
        pytest.skip("this is not a checkout")
    assert set(listed.stdout.split("\n")) - {""} <= set(names_in(wheel))


def test_an_auditor_needs_three_libraries(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    base = [
        re.match(r"[\w-]+", each).group() for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each
    ]
    assert sorted(base) == ["cryptography", "pydantic", "rfc3161-client"]
    assert metadata["Requires-Python"] == "<3.13,>=3.11"


def test_each_name_has_one_owner(wheel, tmp_path):
    """Beside every dependency of the archive, installed from the wheel as an operator would."""
    site = tmp_path / "site"
    installed = run(uv(), "pip", "install", "--offline", "--quiet", "--no-deps", "--target", site, wheel)
    assert installed.returncode == 0, installed.stderr
    question = (
        "import importlib.metadata as m, json; d = m.packages_distributions();"
        f"print(json.dumps({{n: sorted(set(d.get(n, []))) for n in {sorted(PACKAGES)!r}}}))"
    )
    answer = run(
        sys.executable, "-c", question, env={"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}, cwd=tmp_path
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {name: ["minutier"] for name in PACKAGES}


def test_the_verifier_runs_from_the_wheel_alone(wheel, tmp_path):
    site = tmp_path / "site"
    assert run(uv(), "pip", "install", "--offline", "--no-deps", "--target", site, wheel).returncode == 0
    program = "import minutier.verify, sys; print(minutier.verify.__file__); print('prefect' in sys.modules)"
    answer = run(sys.executable, "-c", program, env={"PYTHONPATH": str(site)}, cwd=tmp_path)
    assert answer.stdout.splitlines() == [str(site / "minutier" / "verify.py"), "False"], answer.stderr

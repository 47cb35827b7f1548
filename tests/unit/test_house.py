"""The rules of the house that no linter knows (docs/adr and README say why)."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("minutier", "storage", "tasks", "flows", "deployments", "supervision")
MODULE_LINES, FUNCTION_LINES = 400, 70
# Not a module of the house: a program of one file that travels with each proof, and shares nothing with the package.
ONE_FILE_PROGRAM = ROOT / "minutier" / "kit_files" / "verify.py"
# Spelled in pieces: this file is one of those looked at.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "proxy.golang" + ".org", "crates" + ".io"]
REGISTRIES += ["deb.debian" + ".org", "archive.ubuntu" + ".com", "repo1.maven" + ".org"]
MACHINE_PATHS = re.compile(r"(?<![\w.:/-])/(?:" + "home" + r"/\w|" + "root" + r"/|" + "work" + r"/|Users/\w)")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked_texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is not a checkout")
    found = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in found if path.is_file() and path.name != "uv.lock" and b"\0" not in path.read_bytes()]


@pytest.mark.parametrize("path", [path for path in sources() if path != ONE_FILE_PROGRAM], ids=named)
def test_a_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES


@pytest.mark.parametrize("path", sources(), ids=named)
def test_its_functions_are_short(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES]
    assert long == []


@pytest.mark.parametrize("path", [p for p in sources() if p.parts[len(ROOT.parts)] in PACKAGES[:2]], ids=named)
def test_the_domain_and_the_storage_catch_no_exception_they_do_not_know(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    broad = {"Exception", "BaseException"}

    def names(node: ast.expr | None) -> set[str]:
        if node is None:
            return broad
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}

    caught = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and names(node.type) & broad
    ]
    assert caught == []


def test_package_files_are_empty():
    full = [named(path) for path in sources() if path.name == "__init__.py" and path.stat().st_size]
    assert full == []
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_module_takes_the_name_of_a_package_or_of_the_standard_library():
    taken = sys.stdlib_module_names | set(PACKAGES)
    assert [named(path) for path in sources() if path.stem in taken] == []


def test_no_text_names_a_registry_or_a_place_of_one_machine():
    found = []
    for path in tracked_texts():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{named(path)}: {host}" for host in REGISTRIES if host in text]
        found += [f"{named(path)}: {match.group()}" for match in MACHINE_PATHS.finditer(text)]
    assert found == []

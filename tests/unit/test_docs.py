"""What the pages say is true of the code: links, commands, options, modules, settings, error codes, exit codes."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer.main

from deployments import (
    commands_archive,
    commands_deposits,
    commands_documents,
    commands_instance,
    commands_journal,
    commands_keys,
    commands_lifecycle,
    commands_quarantine,
    commands_reading,
    commands_recovery,
    commands_restitution,
    commands_safes,
    commands_texts,
    commands_traces,
)
from deployments.cli import app
from minutier import errors
from storage.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PACKAGES = ("minutier", "storage", "tasks", "flows", "deployments", "supervision")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "infra").rglob("*.md"))]
README, CLI, OPERATIONS = ROOT / "README.md", ROOT / "docs" / "cli.md", ROOT / "docs" / "operations.md"
REGISTERED = (
    commands_archive, commands_deposits, commands_documents, commands_instance, commands_journal, commands_keys,
    commands_lifecycle, commands_quarantine, commands_reading, commands_recovery, commands_restitution,
    commands_safes, commands_texts, commands_traces,
)  # fmt: skip

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:`|\$ |uv run |^)minutier ((?:--json )?[a-z][a-z-]*(?: [a-z][a-z-]*)?)", re.MULTILINE)
MODULE = re.compile(
    r"`((?:minutier|storage|tasks|flows|deployments|supervision|infra|tests|benchmarks|docs)/(?:[\w.-]+/?)*)`"
)
CODE = re.compile(r"`([A-Z][A-Z0-9_]{3,})`")
ERROR_ROW = re.compile(r"^\| ((?:`[A-Z0-9_]+`(?:, )?)+) \| ([0-4](?:, [0-4])*) \|", re.MULTILINE)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@cache
def parser() -> dict[str, set[str]]:
    """Every command, as it is written, with its options."""
    found: dict[str, set[str]] = {}
    for name, command in typer.main.get_command(app).commands.items():
        below = {f"{name} {sub}": each for sub, each in getattr(command, "commands", {}).items()}
        for full, each in {name: command, **below}.items():
            found[full] = {option for parameter in each.params for option in parameter.opts if option.startswith("-")}
    return found


@cache
def sources() -> str:
    return "\n".join(read(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


@cache
def exits() -> dict[str, set[int]]:
    """Exit codes by error code, for the errors that are made by naming class and code."""
    found: dict[str, set[int]] = {}
    for node in ast.walk(ast.parse(sources().replace("from __future__ import annotations", ""))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            made, code = getattr(errors, node.func.id, None), node.args[0]
            if made is not None and isinstance(code, ast.Constant):
                found.setdefault(str(code.value), set()).add(made.exit_code)
    return found


def test_the_pages_are_there():
    for name in ("architecture", "cli", "glossary", "operations", "threat-model"):
        assert (ROOT / "docs" / f"{name}.md").is_file()
    assert len(list((ROOT / "docs" / "adr").glob("[0-9]*.md"))) >= 3
    assert len(read(README).splitlines()) <= 220


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    for target in LINK.findall(read(page)):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_named_exist(page):
    for words in COMMAND.findall(read(page)):
        first, *second = words.removeprefix("--json ").split()
        group = any(name.startswith(f"{first} ") for name in parser())
        assert first in parser(), words
        assert not group or (second and f"{first} {second[0]}" in parser()), words


def test_every_command_and_option_has_its_place_on_the_page():
    text = read(CLI)
    for name, options in parser().items():
        assert any(name in each for each in parser() if each != name and each.startswith(name)) or name in text, name
        for option in options - {"--help", "-o"}:
            assert option in text or option == "--output", f"{name} {option}"


def test_commands_to_come_are_listed_as_such():
    to_come = {name for name, command in typer.main.get_command(app).commands.items() if "Not yet" in str(command.help)}
    for page in (README, CLI):
        section = read(page).partition("## Not available yet")[2].partition("\n## ")[0]
        assert set(re.findall(r"`(?:minutier )?([a-z]+)`", section)) == to_come


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_exist(page):
    for name in MODULE.findall(read(page)):
        assert (ROOT / name).exists(), name


def test_error_codes_that_are_named_exist():
    for code in sorted(set(CODE.findall(read(CLI)))):
        assert f'"{code}"' in sources(), code


def test_exit_codes_are_those_of_the_errors():
    rows = ERROR_ROW.findall(read(CLI))
    assert len(rows) > 40
    for codes, numbers in rows:
        for code in re.findall(r"[A-Z0-9_]+", codes):
            assert not exits().get(code) or exits()[code] & {int(number) for number in numbers.split(", ")}, code


def test_every_setting_is_in_the_table():
    table = read(OPERATIONS)
    for name in Settings.model_fields:
        assert name == "home" or f"| `{name}` | `{PREFIX}{name.upper()}`" in table, name

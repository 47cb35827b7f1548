"""The command line as a person runs it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The code of the error in the JSON document."""
        return str(self.json["error"]["code"])


def command(home: Path, *arguments: object) -> list[str]:
    return [str(Path(sys.executable).with_name("minutier")), "--home", str(home), *(str(each) for each in arguments)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MINUTIER_", "PREFECT_"))}
    return {**clean, **(extra or {})}


def minutier(home: Path, *arguments: object, env: Mapping[str, str] | None = None, timeout: float = 240) -> Answer:
    """Run one command with --json and give its answer; what a person must never see is asserted on every run."""
    done = subprocess.run(
        command(home, "--json", *arguments),
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)

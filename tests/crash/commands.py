"""A depositor at the command line, during chaos: `minutier deposit` through its flow, given again until it says 0."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

from tests.support.cli import command, environment
from tests.support.machine import Instance

PATIENCE = 300.0


class Depositor:
    """One command at a time, one document each, as a script of an office would do it."""

    def __init__(self, instance: Instance, folder: Path, seed: int) -> None:
        self._instance, self._folder, self._seed = instance, folder, seed
        self._number, self._process = 0, None
        self._paths: dict[str, Path] = {}
        self.acknowledged: dict[str, str] = {}
        self.troubles: list[str] = []

    def contents(self) -> dict[str, bytes]:
        """Give the bytes of every document that a command was given."""
        return {reference: path.read_bytes() for reference, path in self._paths.items()}

    def tend(self) -> None:
        """Look at the command: the next document after a success, the same one after a kill or a service away."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            self._hear(self._process.returncode)
        self._start()

    def kill(self) -> bool:
        """Kill the command and its helpers with SIGKILL; False when it had ended by itself."""
        if self._process is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait() == -signal.SIGKILL

    def finish(self) -> list[str]:
        """Let the last document come to its end, with every service there; gives what went wrong in all."""
        deadline, last = time.monotonic() + PATIENCE, self._reference
        while self._process is not None and last not in self.acknowledged and time.monotonic() < deadline:
            self._hear(self._process.wait(PATIENCE))
            if last not in self.acknowledged:
                self._start()
        if last not in self.acknowledged and self._process is not None:
            self.troubles.append(f"{last}: the command does not come to its end")
        return self.troubles

    @property
    def _reference(self) -> str:
        return f"command-{self._number}"

    def _start(self) -> None:
        path = self._folder / f"{self._reference}.pdf"
        if self._reference not in self._paths:
            page = Canvas(str(path))
            page.drawString(72, 720, f"{self._seed} {self._reference}")
            page.save()
            self._paths[self._reference] = path
        arguments = command(self._instance.home, "--json", "deposit", path, "--safe", "demo", "--class", "default")
        with path.with_suffix(".out").open("wb") as out, path.with_suffix(".err").open("wb") as err:
            self._process = subprocess.Popen(
                [*arguments, "--reference", self._reference],
                env=environment(self._instance.environment),
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _hear(self, code: int) -> None:
        path = self._paths[self._reference]
        said = path.with_suffix(".out").read_text("utf-8")
        if code == 0:
            (line,) = json.loads(said)
            self.acknowledged[self._reference] = line["archive_id"]
            self._number += 1
        elif code not in (-signal.SIGKILL, 3):
            self.troubles.append(
                f"{self._reference}: code {code}\n{said}\n{path.with_suffix('.err').read_text('utf-8')}"
            )
            self._number += 1

"""What the supervisor writes for others to read: `run/services.json` in the instance, replaced as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.processes import Identity
from minutier.errors import ServiceUnavailableError
from storage.files import write_durably

FORMAT = "minutier-services/1"


@dataclass(slots=True)
class Record:
    """One service as last seen by its supervisor. `state`: waiting, preparing, starting, running, failing, stopped."""

    name: str
    address: str
    port: int | None
    launch: str
    """Digest of command and environment: a process started in another way is not adopted."""
    process: Identity | None = None
    state: str = "waiting"
    restarts: int = 0
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON form."""
        names = ("name", "address", "port", "launch", "state", "restarts", "detail")
        process = self.process.as_dict() if self.process else None
        return {name: getattr(self, name) for name in names} | {"process": process}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Record:
        """Read the JSON form back."""
        return cls(**{**value, "process": Identity.from_dict(value["process"])})


@dataclass(slots=True)
class State:
    """The supervisor and its services, in the order of their start."""

    supervisor: Identity | None = None
    records: list[Record] = field(default_factory=list)

    def ports(self) -> dict[str, int]:
        """Give the port of each service that has one."""
        return {record.name: record.port for record in self.records if record.port is not None}

    def living(self) -> list[Record]:
        """Give the services whose process runs."""
        return [record for record in self.records if record.process is not None and record.process.alive()]


def read(home: Path) -> State:
    """Give the last state; an empty one when the instance never ran or its file is damaged."""
    try:
        value = json.loads((home / "run" / "services.json").read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            return State()
        return State(Identity.from_dict(value["supervisor"]), [Record.from_dict(each) for each in value["services"]])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return State()
    except OSError as error:
        raise ServiceUnavailableError(
            "HOME_UNREADABLE",
            f"The instance in {home} cannot be read: {error}.",
            remedy="Use the account that owns it.",
        ) from error


def write(home: Path, state: State) -> None:
    """Replace the state file."""
    value = {
        "format": FORMAT,
        "supervisor": state.supervisor.as_dict() if state.supervisor else None,
        "services": [record.as_dict() for record in state.records],
    }
    write_durably(home / "run" / "services.json", json.dumps(value, indent=1).encode())
